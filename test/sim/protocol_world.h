/* A cluster of one shard in one thread: the real replicas, the real control interface with its
 * simulated driver, and around them a network, logs, clocks and clients that do what they may at
 * worst. Everything follows from one seed.
 *
 * A node is a process with one storage root. Its log is a list of items in the order in which they
 * were written; a sync makes a prefix of them durable, a crash keeps that and any part of what
 * follows. What a store would keep (the values of keys, with the lsn that each is from) is kept
 * across crashes up to what was applied. Each node has a clock of its own, of the same rate. */
#ifndef HOLDFAST_TEST_SIM_PROTOCOL_WORLD_H
#define HOLDFAST_TEST_SIM_PROTOCOL_WORLD_H

#include "control/sim/sim.h"
#include "history.h"
#include "replica/replica.h"

#define NODES_MAX 8
#define KEYS 6     /* live at once */
#define KEY_OPS 24 /* then another key takes its place, so that no history grows too long */
#define CLIENTS 6
#define READERS 2 /* of the clients only read: writes that wait never stop them */
#define SHARD ((ShardId)4097)
#define MS REPLICA_MS

/* Bugs of the driver, not of the replica: names as in planted.txt. */
typedef enum {
    WORLD_LOST_DISK = 1 << 0,           /* an empty disk keeps the identity of the one before */
    WORLD_PAGE_CACHE = 1 << 1,          /* what a crash may lose is called durable after kill -9 */
    WORLD_VOTES_CUT = 1 << 2,           /* term and vote are cut away with the log */
    WORLD_READ_UNCHECKED = 1 << 3,      /* whoever believes itself primary serves reads */
    WORLD_DECIDE_ON_COMMITTED = 1 << 4, /* conditions are decided without what is pending */
    WORLD_REFUSE_UNCHECKED = 1 << 8,    /* a refusal by what is committed asks for no lease */
    WORLD_NO_PREV_CONFIG = 1 << 7       /* a restart remembers the last CONFIG only */
} WorldBug;

/* What a client asked for. */
typedef struct {
    uint64_t op; /* of the history; READ: the moment when it began */
    unsigned key;
    HistoryKind kind;
    uint64_t value;
    uint64_t expected;
    unsigned client;
    uint64_t number; /* of the client's requests */
} Request;

typedef enum { ITEM_ENTRY, ITEM_STATE, ITEM_CUT, ITEM_RESET, ITEM_WHOLE } ItemType;
typedef struct {
    ItemType type;
    LogEntry entry; /* ENTRY; CUT, RESET: lsn, hash, term of the last that counts */
    Term term;      /* STATE */
    Uuid voted_for;
    Lsn lsn; /* RESET: lsn of its CONFIG; WHOLE: where the snapshot is whole */
} Item;

typedef struct {
    uint64_t value; /* 0: absent */
    Lsn lsn;
} Row;

typedef struct {
    Lsn lsn; /* the answer waits for this to be committed */
    Term term;
    const Request *request;
    bool refused;
} Waiting;

typedef struct {
    unsigned index;
    Uuid root;
    uint64_t incarnation;
    uint64_t tried; /* durable: the highest incarnation that it may have asked for */
    bool up;
    bool starting;     /* its next start is in the queue */
    bool gone;         /* its disk is an older one; what it acknowledged meanwhile is lost */
    unsigned life;     /* events of another one are void */
    int64_t clock_ns;  /* its clock is ahead of the world's by this */
    uint64_t pause_ns; /* until then nothing happens here */
    Replica *replica;

    Item *items;
    size_t item_count;
    size_t item_room;
    size_t durable_items;
    size_t syncing_items; /* what the sync under way will make durable; 0: none is */
    uint64_t sync_since_ns;
    uint64_t sync_ns; /* how long a sync takes here */

    LogEntry *log; /* entries base + 1 … */
    size_t *log_item;
    size_t log_len;
    size_t log_room;
    Lsn base;
    Term base_term;
    Sha256 base_hash;
    Lsn cut_lsn; /* entries up to this are read no more */
    LogConfig base_config;
    Lsn *config_lsns; /* of the CONFIGs in log */
    size_t config_count;
    size_t config_room;
    uint64_t cuts;

    bool incomplete; /* durable, too */
    Lsn complete_lsn;
    uint64_t stream;   /* number of the snapshot that arrives */
    Uuid announced_by; /* whose SNAPSHOT began the log anew in this life, … */
    Term announced_term;
    Row *rows; /* by key */
    size_t row_count;
    Lsn applied;
    Lsn commit;      /* highest that it ever called committed */
    size_t reset_at; /* item number of the last RESET, and what the commit was before it */
    Lsn reset_commit;
    Term vote_term; /* highest that was durable here */
    Waiting *waiting;
    size_t waiting_count;
    size_t waiting_room;
    uint64_t stand_after_ns;
    bool elected_once;
    bool suspect; /* its log is damaged: it counts for nothing until it is seeded anew */
} Node;

typedef enum {
    WORLD_TICK = 1,
    WORLD_DELIVER,
    WORLD_SYNCED,
    WORLD_START,
    WORLD_CAS,    /* arrives at the control store */
    WORLD_ANSWER, /* of the control store, at the node */
    WORLD_ROW,    /* a row that was read, at the node */
    WORLD_FETCHED,
    WORLD_STREAM,  /* a part of a snapshot */
    WORLD_CLIENT,  /* a client's next request */
    WORLD_REQUEST, /* … at a node */
    WORLD_READ,    /* … fetched, about to be checked */
    WORLD_REPLY,   /* … at the client */
    WORLD_TIMEOUT,
    WORLD_FAULT,
    WORLD_PLAN,
    WORLD_TURN
} WorldEventType;

typedef struct {
    uint64_t at_ns;
    uint64_t order;
    WorldEventType type;
    unsigned node;
    unsigned life;
    union {
        uint32_t slot; /* DELIVER: of the message */
        struct {
            EventType answer;
            uint32_t config; /* index into configs; for UNKNOWN the one asked for */
            Uuid uid;
        } cas;
        struct {
            Uuid root;
            Lsn lsn;
        } fetch;
        struct {
            Uuid root;
            unsigned from;
            unsigned from_life;
            unsigned part;
            uint64_t stream;
            Term term;
            Lsn base;
        } stream;
        struct {
            const Request *request;
            uint64_t value;
            uint64_t fetched_ns;
            bool confirm;
            bool refused;
            bool done;
        } client;
    };
} WorldEvent;

typedef struct {
    uint64_t seed;
    uint64_t bugs;       /* of the replicas */
    unsigned world_bugs; /* WorldBug */
    bool trace;
} WorldOptions;

/* How bad this run is; drawn from the seed. */
typedef struct {
    uint32_t lose; /* chances in a million, of each message */
    uint32_t repeat;
    uint64_t delay_ns;
    uint32_t unknown; /* of a change of the control store */
    uint32_t stale;   /* of a read there */
    uint32_t crash;   /* of each fault step, and so on */
    uint32_t partition;
    uint32_t pause;
    uint32_t store_down;
    uint32_t roll_back;
    uint32_t lose_disk;
    uint32_t change;
    uint32_t hand_over;
    uint32_t slow_disk;
    uint32_t cut_log;
    uint32_t clone;
    uint32_t plot;        /* of each fault step: what is worst for a lease (protocol_plot.c) */
    uint32_t damage;      /* of a crash: the log is damaged */
    uint32_t slow_read;   /* of a read: long between the look-up and the answer */
    uint64_t patience_ns; /* of a client */
    uint32_t eager;       /* of a tick of a follower: it stands although it hears a primary */
} Rates;

typedef struct {
    Term term;
    Uuid root;
    Uuid voted_for;
} Vote;

/* A plot against the primary, in three acts; 0: none is under way. */
typedef struct {
    unsigned act;
    uint64_t at_ns; /* of the next one */
    unsigned victim;
    unsigned heir;
    unsigned voter;
    bool quiet;        /* act 1: nobody writes, so that no log is longer than another */
    uint64_t stand_ns; /* act 2: the heir stands from then on */
    bool rob;          /* the row that the heir gets is taken back, and another stands */
} Plot;

/* Two who take turns at the lead (protocol_rivals.c). */
typedef struct {
    unsigned turns; /* 0: none are under way */
    unsigned turn;  /* from 1 on */
    unsigned who[2];
    bool elected;
    bool mute;         /* nothing leaves who is elected, not even START */
    uint64_t sync_ns;  /* of who votes */
    uint64_t until_ns; /* end of the turn */
} Rivals;

/* What a member says in this life, to another, arrives when it lives again. */
typedef struct {
    bool held;
    unsigned from;
    unsigned to;
    unsigned life;
    uint64_t stop_ns; /* when it stops, … */
    uint64_t
        down_ns; /* … when the control store goes down behind its start; 0: it has not stopped */
    uint64_t until_ns;
} Line;

typedef struct {
    WorldOptions options;
    Rates rates;
    Rng rng;
    Rng chance; /* of protocol_rivals.c */
    uint64_t now_ns;
    uint64_t order;
    uint64_t events;
    bool healing;
    unsigned initial; /* members at first */
    unsigned node_count;
    Node nodes[NODES_MAX];
    bool cut[NODES_MAX][NODES_MAX]; /* nothing gets from one to the other */
    ControlStore *store;
    Control *control;

    WorldEvent *queue; /* a heap */
    size_t queue_len;
    size_t queue_room;
    Message **messages;
    uint32_t *free_slots;
    size_t message_count;
    size_t free_count;
    size_t message_room;
    ShardConfig **configs;
    size_t config_count;
    size_t config_room;
    Request **requests;
    size_t request_count;
    size_t request_room;
    uint64_t next_uid;
    Plot plot;
    Rivals rivals;
    Line line;
    const Message *delivered; /* what the present step takes in, if it is a message */

    History *history;
    unsigned key_of[KEYS];
    unsigned key_ops[KEYS];
    unsigned key_count;
    uint64_t next_value;
    uint64_t client_number[CLIENTS];
    bool client_waits[CLIENTS];

    Sha256 *committed;     /* of lsn at [lsn - 1] */
    Term *committed_terms; /* of who committed it first */
    size_t committed_len;
    size_t committed_room;
    size_t term_room;
    Vote *votes;
    size_t vote_count;
    size_t vote_room;
    uint64_t hash; /* of all that happened */
    uint64_t acknowledged;
    uint64_t reads;
    uint64_t starts;
    uint64_t snapshots;
    uint64_t changes;
    uint64_t truncations;
    uint64_t roll_backs;
    uint64_t lost_disks;
    uint64_t repairs;
    Effects effects;
    char wrong[200]; /* "" or what was broken first */
} World;

/* protocol_world.c */
World *world_new(const WorldOptions *options);
void world_free(World *world);
/* One event. */
void world_step(World *world);
uint64_t world_clock(const World *world, const Node *node);
/* protocol_net.c: takes the next event; sends a message, unless it is lost. */
WorldEvent world_pop(World *world);
void world_send(World *world, Node *node, const Message *message);
void world_push(World *world, WorldEvent event, uint64_t delay_ns);
void world_replica_step(World *world, Node *node, Event *event);
void world_append(World *world, Node *node, const Request *request, const ShardConfig *config,
                  bool is_start);
void world_stop(World *world, Node *node, bool lose_tail);
void world_start(World *world, Node *node, uint64_t delay_ns);
Uuid world_uid(World *world);
uint32_t world_keep_config(World *world, const ShardConfig *config);
Node *world_node_of(World *world, Uuid root);
PRINTF_LIKE(2, 3) void world_wrong(World *world, const char *format, ...);
PRINTF_LIKE(2, 3) void world_say(World *world, const char *format, ...);
void *world_grow(void *items, size_t len, size_t *room, size_t size);
bool world_is_leading(const Node *node);

/* protocol_disk.c: the log of a node, and what of it is durable */
void disk_item(World *world, Node *node, const Item *item);
void disk_sync(World *world, Node *node); /* begins one, if there is something to sync */
void disk_synced(World *world, Node *node);
void disk_crash(World *world, Node *node, bool lose_tail);
void disk_wipe(Node *node);
/* CONFIG number back of the log, 0: the last; NULL: there is none. */
const ShardConfig *disk_config(const Node *node, unsigned back, Lsn *lsn);
const LogEntry *disk_entry(const Node *node, Lsn lsn);
bool disk_has_durable(const Node *node, Lsn lsn, const Sha256 *hash);
Lsn disk_last(const Node *node);
/* What a start reads. configs: room for two. */
void disk_state(const Node *node, ReplicaState *state, LogConfig *configs, uint32_t *count,
                unsigned bugs);

/* protocol_check.c: the invariants of REPLICATION.md section 2 */
void check_commit(World *world, Node *node, Lsn lsn, bool leading);
void check_start(World *world, Node *node);
void check_sent(World *world, Node *node, const Message *message);
void check_cut(World *world, Node *node, Lsn lsn);
void check_vote(World *world, Node *node, Term term, Uuid voted_for);
void check_read(World *world, const Node *node);
void check_cas(World *world, Node *node, const ShardConfig *asked);
void check_restart(World *world, Node *node);

/* protocol_clients.c */
void clients_begin(World *world);
void clients_event(World *world, const WorldEvent *event);
/* node applied what is committed up to lsn: answers what waited. */
void clients_committed(World *world, Node *node, Lsn lsn);
/* node leads no more: what waits there gets no answer. */
void clients_forget(Node *node);
void clients_apply(Node *node, Lsn lsn);
Row *clients_row(Node *node, unsigned key);

/* protocol_plot.c: what is worst for a lease, and for votes */
void plot_step(World *world);
/* node's configuration is in force. */
void plot_elected(World *world, const Node *node);
/* One of those whom node calls in sync, other than a and b; a if there is none. */
unsigned plot_other_than(World *world, const Node *node, unsigned a, unsigned b);

/* protocol_rivals.c: tails of several terms, and words of an earlier life */
bool rivals_under_way(const World *world);
/* Perhaps, if this is one of their seeds. */
void rivals_begin(World *world);
void rivals_turn(World *world);
/* node has another role. */
void rivals_role(World *world, const Node *node);
/* node has synced some of its log, and told so. */
void rivals_synced(World *world, const Node *node);
/* Only who has the turn stands by itself. */
bool rivals_may_stand(const World *world, const Node *node);
/* How long what is said now stands still on its way. */
uint64_t rivals_delay(World *world, unsigned from, unsigned to);

/* protocol_faults.c */
Node *faults_primary(World *world);
/* Whether all that is committed is kept if this node's disk is lost: enough others have it, and
 * enough members are left for a fence. */
bool faults_can_lose_disk(World *world, const Node *node);
void world_stand(World *world, Node *node);
void faults_draw(World *world);
void faults_step(World *world);
/* Changes of the members, one upon the other. */
void faults_change_thrice(World *world, Node *primary);
void faults_plan(World *world);
/* Everything works from here on. */
void faults_heal(World *world);
/* Nobody can become primary by the row that there is, since it was rolled back: the operator writes
 * it from the highest CONFIG of a fence quorum (REPLICATION.md 8, `admin repair-config`). */
void faults_repair_config(World *world);
/* Is a configuration that counts without a fence quorum of whole members, so that only an operator
 * could help (decision 0011)? */
bool faults_excused(World *world);
/* Does a majority serve, with every member that it can have in sync? */
bool faults_healed(World *world);

#endif
