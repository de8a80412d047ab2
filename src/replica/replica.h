/* Replica: one copy of one shard on one storage root, as a pure state machine (no I/O, clock,
 * random number, thread or malloc): replica_step(event) -> effects. The driver carries effects out
 * and tells their outcome by later events. The protocol and its invariants I1..I9: README.md of
 * this folder.
 *
 *            EVENT_RESTART            EFFECT_CAS               fence quorum, EFFECT_START
 *   (new) --------------> FOLLOWER --------------> CANDIDATE --------------> STARTING
 *                            ^   EVENT_STAND      (polls, then CAS,             | START committed
 *                            |                     then FENCE)                  v
 *                            '--------- a higher term is seen ------------- PRIMARY
 *   LEARNER: copies, never votes. INCOMPLETE: a snapshot is arriving. QUARANTINED: gave itself up.
 *
 * Messages may be lost, repeated and reordered: EVENT_TICK repeats what is not answered.
 *
 * One thread at a time: the core loop. */
#ifndef HOLDFAST_REPLICA_REPLICA_H
#define HOLDFAST_REPLICA_REPLICA_H

#include "format/config_entry.h"
#include "format/segment.h"

/* Newest entries whose lineage is kept in memory; back-pressure above. */
#define REPLICA_WINDOW 1024
#define REPLICA_SEND_MAX 16 /* entries in one message */
#define REPLICA_EFFECTS_MAX 64

typedef enum {
    ROLE_FOLLOWER = 1,
    ROLE_CANDIDATE,
    ROLE_STARTING, /* fenced, its START is not committed yet */
    ROLE_PRIMARY,
    ROLE_LEARNER,
    ROLE_INCOMPLETE,
    ROLE_QUARANTINED
} ReplicaRole;

/* What the protocol must know of a log entry. handle is the driver's: it stays valid as long as the
 * driver keeps it, the replica only hands it on. */
typedef struct {
    Lsn lsn;
    Term term;
    Sha256 prev_hash;
    Sha256 hash;
    bool is_config;
    bool is_start;
    void *handle;
} LogEntry;

typedef enum {
    MSG_APPEND = 1, /* primary -> member: entries behind prev, commit index */
    MSG_APPENDED,   /* member -> primary: durable up to lsn, under cfg_uid */
    MSG_MISMATCH,   /* member -> primary: no such prev here; my tail is (term, lsn) */
    MSG_POLL,       /* candidate -> member: who is how far? */
    MSG_POLLED,
    MSG_FENCE,  /* candidate -> member: vote for me in term */
    MSG_FENCED, /* member -> candidate: granted or not, and my tail and last CONFIG */
    /* Of the copies issue; received today they are counted and ignored. */
    MSG_HEARTBEAT,
    MSG_PROMISE,
    MSG_FETCH,
    MSG_FETCHED,
    MSG_SNAPSHOT,
    MSG_HAND_OVER
} MessageType;
#define MESSAGE_TYPE_MAX MSG_HAND_OVER

typedef struct {
    MessageType type;
    ShardId shard;
    Uuid from; /* root */
    uint64_t from_incarnation;
    Uuid to;
    uint64_t to_incarnation;
    Term term;       /* sender's */
    Uuid cfg_uid;    /* configuration the sender acts under */
    Lsn lsn;         /* APPEND: prev lsn; APPENDED: durable, and on the primary's lineage;
                        others: sender's last lsn */
    Term lsn_term;   /* of the sender's last entry */
    Sha256 lsn_hash; /* of entry lsn; APPENDED: of the sender's last */
    Lsn commit_lsn;
    bool granted;   /* FENCED */
    Lsn config_lsn; /* FENCED: last CONFIG in the sender's log */
    uint32_t entry_count;
    LogEntry entries[REPLICA_SEND_MAX];
} Message;

typedef enum {
    EVENT_RESTART = 1,  /* after recovery: what the log says, what the control store says */
    EVENT_STAND,        /* the driver asks this replica to become primary */
    EVENT_APPEND,       /* primary: one new sealed entry (replica_next() gave its place) */
    EVENT_STORED,       /* own log: entries up to lsn are durable */
    EVENT_STATE_STORED, /* own log: the state with this term and vote is durable */
    EVENT_MESSAGE,
    EVENT_CAS_DONE,    /* control store: our configuration is in force */
    EVENT_CAS_REFUSED, /* control store: somebody was first; `config` is what is in force */
    EVENT_CAS_UNKNOWN, /* control store: nobody knows (never taken as failed) */
    EVENT_TICK         /* every 250 ms: repeats what was not answered since the last one */
} EventType;

typedef struct {
    EventType type;
    uint64_t now_ns;           /* CLOCK_BOOTTIME */
    const ReplicaState *state; /* RESTART */
    const ShardConfig *config; /* RESTART, CAS_DONE, CAS_REFUSED: the row in force; STAND: the same,
                                  or NULL: the last one seen */
    Uuid new_cfg_uid;          /* STAND: a fresh random uid for the CAS; CAS_*: the uid that
                                  was asked for: a late answer is not taken for another's */
    LogEntry entry;            /* APPEND */
    Lsn lsn;                   /* STORED */
    Term term;                 /* STATE_STORED: max_term and voted_for of that state */
    Uuid voted_for;
    const Message *message; /* MESSAGE */
} Event;

typedef enum {
    EFFECT_STORE_ENTRIES = 1, /* append to the own log; later EVENT_STORED */
    EFFECT_STORE_STATE,       /* append a FRAME_STATE; later EVENT_STATE_STORED */
    EFFECT_SEND,
    EFFECT_CAS,       /* compare-and-swap on parent_uid in the control store */
    EFFECT_START,     /* build, seal and EVENT_APPEND a START entry, first in the term */
    EFFECT_COMMIT,    /* commit_lsn has risen to lsn: apply and reply */
    EFFECT_ROLE,      /* the role changed: `role` */
    EFFECT_QUARANTINE /* the log contradicts what was committed: stop this replica */
} EffectType;

typedef struct {
    EffectType type;
    const LogEntry *entries; /* STORE_ENTRIES: view into the event */
    uint32_t entry_count;
    ReplicaState state; /* STORE_STATE (config bytes not filled in) */
    ShardConfig config; /* CAS */
    Message message;    /* SEND */
    Lsn lsn;            /* COMMIT */
    ReplicaRole role;   /* ROLE */
} Effect;

typedef struct {
    uint32_t count;
    Effect items[REPLICA_EFFECTS_MAX];
} Effects;

typedef struct Replica Replica;

/* Bytes of a Replica; the caller gives zeroed memory of that size, aligned to 16. */
size_t replica_size(void);
/* For shard on this root. Nothing works before EVENT_RESTART. */
Replica *replica_init(void *memory, ShardId shard, Uuid root, uint64_t incarnation);
/* One event in, effects out (count is set to 0 first). Every invariant that a single replica can
 * see is asserted before and after. */
void replica_step(Replica *replica, const Event *event, Effects *effects);

/* May an entry be appended now? False: not primary, or the window is full (back-pressure). A START
 * is allowed in ROLE_STARTING only, as the first. */
bool replica_can_append(const Replica *replica);
/* Place of the next entry: seal it with these, then EVENT_APPEND at once. */
void replica_next(const Replica *replica, Lsn *lsn, Term *term, Sha256 *prev_hash);
/* May reads be served here now (lease or sole member)? */
bool replica_can_read(const Replica *replica, uint64_t now_ns);
ReplicaRole replica_role(const Replica *replica);
Lsn replica_last_lsn(const Replica *replica);
Lsn replica_durable_lsn(const Replica *replica);
Lsn replica_commit_lsn(const Replica *replica);
Term replica_term(const Replica *replica);
const ShardConfig *replica_config(const Replica *replica);
/* How many copies have lsn synced, and of how many: for Holdfast-Durability. */
void replica_copies(const Replica *replica, Lsn lsn, unsigned *synced, unsigned *copies);
const char *replica_role_name(ReplicaRole role);

#endif
