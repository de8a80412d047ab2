/* A cluster of replicas of one shard in memory: each member has a log that is durable up to where
 * the test says, messages lie in a bag until the test delivers, repeats or loses them, and the
 * control store is one row that is compared and swapped. After every step the invariants of
 * REPLICATION.md section 2 that concern several members are checked (I1..I5, I8, I9); the first
 * broken one is kept in `wrong`. Deterministic from the seed. One thread.
 *
 * Members are called A, B, C …; learners come behind them. */
#ifndef HOLDFAST_TEST_LIB_REPLICA_KIT_H
#define HOLDFAST_TEST_LIB_REPLICA_KIT_H

#include "base/buf.h"
#include "replica/replica.h"

#define REPLICA_KIT_MAX 7 /* members and learners */

typedef struct {
    uint64_t seed;
    unsigned members;
    unsigned learners;
    uint32_t min_isr;
    bool trace;      /* writes the story into kit->story */
    bool heartbeats; /* else ticks send none */
    bool configs;    /* CONFIG entries are appended when a replica asks for one; else never */
} ReplicaKitOptions;

/* One thing that a member asked its log to keep. */
typedef struct {
    bool is_state;
    Lsn lsn;   /* entry */
    Term term; /* state */
    Uuid voted_for;
} ReplicaKitItem;

typedef struct {
    Term term;
    Uuid voted_for;
} ReplicaKitVote;

typedef struct {
    Uuid root;
    uint64_t incarnation;
    bool up;
    Replica *replica;
    LogEntry *log; /* entry lsn at [lsn - 1] */
    size_t log_len;
    size_t log_room;
    Lsn durable;
    uint64_t cuts;         /* of the log; they are durable at once here */
    ReplicaKitItem *items; /* asked to be kept, in order; durable when they are gone from here */
    size_t item_count;
    size_t item_room;
    Term term; /* durable */
    Uuid voted_for;
    ReplicaKitVote *votes; /* all that were ever durable */
    size_t vote_count;
    size_t vote_room;
    Lsn commit;       /* highest that it ever called committed */
    Lsn commit_noted; /* durable with its log: what a restart knows */
} ReplicaKitMember;

typedef enum {
    KIT_CAS_PLAIN,          /* decided, and told */
    KIT_CAS_UNKNOWN_DONE,   /* decided, but told as unknown */
    KIT_CAS_UNKNOWN_IGNORED /* not decided, told as unknown */
} ReplicaKitCasFate;

typedef struct {
    unsigned member;
    uint64_t incarnation;
    bool decided;
    EventType answer;
    ShardConfig asked;
    ShardConfig in_force; /* after the decision */
} ReplicaKitCas;

typedef struct {
    ReplicaKitOptions options;
    unsigned count;
    ReplicaKitMember members[REPLICA_KIT_MAX];
    Message **bag;
    size_t bag_len;
    size_t bag_room;
    ReplicaKitCas cas[32];
    size_t cas_count;
    ShardConfig row; /* the control store */
    ShardConfig row_before;
    uint64_t next_id;  /* of uids and of entries' contents */
    Sha256 *committed; /* hash of lsn at [lsn - 1], once a primary committed it */
    size_t committed_len;
    size_t committed_room;
    unsigned leader[4096]; /* who had START in a term, + 1 */
    bool blind;            /* who stands has not read the row */
    uint64_t now_ns;       /* of all; who stands or starts has waited for 5 s */
    ShardConfig **configs; /* that CONFIG entries point to */
    size_t config_count;
    size_t config_room;
    uint64_t steps;
    uint64_t starts;
    Effects effects;
    Buf story;
    char wrong[160]; /* "" or the first broken invariant */
} ReplicaKit;

/* All members up and restarted once, the row made: all in sync, no primary. */
ReplicaKit *replica_kit_new(const ReplicaKitOptions *options);
void replica_kit_free(ReplicaKit *kit);

/* Events. Of a member that is down they do nothing. */
void replica_kit_stand(ReplicaKit *kit, unsigned member);
void replica_kit_tick(ReplicaKit *kit, unsigned member);
/* A client's entry. False if the replica takes none. */
bool replica_kit_append(ReplicaKit *kit, unsigned member);
/* Makes the next count items of its log durable, and tells the replica. */
void replica_kit_store(ReplicaKit *kit, unsigned member, size_t count);
/* Stops it, and of what its log was asked to keep keeps the first `keep` items. */
void replica_kit_stop(ReplicaKit *kit, unsigned member, size_t keep);
/* Starts it again in its next incarnation, which leaves the ISR of a row with others in it. */
void replica_kit_start(ReplicaKit *kit, unsigned member);

/* Takes message number i out of the bag: delivers it (only then) if deliver. */
void replica_kit_take(ReplicaKit *kit, size_t i, bool deliver);
/* Puts a copy of message number i into the bag. */
void replica_kit_repeat(ReplicaKit *kit, size_t i);
/* Delivers message, which need not be from the bag. */
void replica_kit_deliver(ReplicaKit *kit, const Message *message);
/* Delivers the first message of that type from one to another; false if there is none. */
bool replica_kit_pass(ReplicaKit *kit, MessageType type, unsigned from, unsigned to);
/* Loses all messages of a type (0: any) from one to another (REPLICA_KIT_MAX: any). */
void replica_kit_lose(ReplicaKit *kit, MessageType type, unsigned from, unsigned to);
/* A message of that type with a head as the sender would fill it in. */
Message replica_kit_message(const ReplicaKit *kit, MessageType type, unsigned from, unsigned to);

/* The control store: decides request number i; tells its answer, and forgets it. */
void replica_kit_cas_decide(ReplicaKit *kit, size_t i, ReplicaKitCasFate fate);
void replica_kit_cas_tell(ReplicaKit *kit, size_t i);
/* Puts another row in force, with a new uid. */
void replica_kit_set_row(ReplicaKit *kit, const ShardConfig *row);
/* The last change of the row never was: a standby without it was promoted. */
void replica_kit_roll_back(ReplicaKit *kit);

/* Delivers, stores and decides, in order, until nothing is left to do. */
void replica_kit_settle(ReplicaKit *kit);
/* Everything of settle() that concerns one member's log. */
void replica_kit_store_all(ReplicaKit *kit, unsigned member);

const Replica *replica_kit_replica(const ReplicaKit *kit, unsigned member);
ReplicaRole replica_kit_role(const ReplicaKit *kit, unsigned member);

#endif
