/* Engine: the core. It owns the replicas of this process, gives every change its lsn at one place,
 * decides preconditions there against committed plus pending state, carries out the replicas'
 * effects and answers when they commit. All its functions belong to one thread (the core loop, or
 * the simulator's only one); what it wants of other threads it says through EngineIo.
 *
 *   engine_submit(mutation) -> decide -> seal entry -> replica: APPEND -> io.log(item)
 *   WAL writer: log_item_append() … store_log_sync() -> (core) engine_logged(item)
 *   replica: STORED -> commit -> store_committed(), mutation->done()
 *
 * A process has one storage root, or up to ENGINE_ROOTS_MAX. Each has a replica of every shard, of
 * which those that the shard's placement class does not need are no members and have nothing.
 * Their messages go through a queue that the engine empties before it returns. All shards of a
 * class stand on the same root, the class's *lead*, as long as it is well: changes are decided
 * there, and a listing is one scan of its index. The system's shard goes with the standard class.
 * A root whose log fails is silent from then on; the others go on without it.
 *
 * Locks: none. It waits for nobody but, at its start, the control store; what cannot go on now
 * stands in its lists, all bounded. */
#ifndef HOLDFAST_SERVICE_ENGINE_H
#define HOLDFAST_SERVICE_ENGINE_H

#include "control/control.h"
#include "replica/replica.h"
#include "service/buckets.h"
#include "service/classes.h"
#include "service/keys.h"
#include "service/mutation.h"
#include "store/seed.h"
#include "store/store.h"

#define ENGINE_ROOTS_MAX 5
#define ENGINE_SHARDS_MAX (PLACE_SHARDS_MAX + 1) /* of all classes together */
#define ENGINE_TICK_MS 250

typedef struct Engine Engine;

/* One thing for the WAL writer of a root: a record, a replica's promise, or the end of a tail. The
 * writer appends it, syncs its batch, sets code, and hands it back. Freed by engine_logged(). */
typedef struct LogItem LogItem;
struct LogItem {
    unsigned root;  /* of whose log */
    Record *record; /* … */
    bool is_truncate;
    Truncate truncate;  /* is_truncate */
    bool is_reset;      /* the log begins anew behind state's last entry */
    ReplicaState state; /* neither, or is_reset */
    uint64_t cuts;      /* the engine's: of its replica, when it was made */
    ErrCode code;       /* the writer's answer */
    LogItem *next;      /* whoever holds it */
    uint8_t bytes[];    /* what state views */
};
/* The writer: item into the batch of store; errors as store_log_append(). */
MUST_USE ErrCode log_item_append(Store *store, const LogItem *item, Err *err);

/* Entries that are to be read from the log of a root, for a member that lacks them. Whoever reads
 * log segments does fetch_job_read() and hands it back. Freed by engine_fetched(). */
typedef struct FetchJob FetchJob;
struct FetchJob {
    unsigned root; /* of whose log */
    ShardId shard;
    Uuid to;
    uint32_t count; /* of places, in rising lsn */
    WalPos places[REPLICA_SEND_MAX];
    uint32_t lens[REPLICA_SEND_MAX];
    uint32_t read; /* how many are in sealed; fewer than count: the log was cut, or is damaged */
    Sealed *sealed[REPLICA_SEND_MAX];
    FetchJob *next; /* whoever holds it */
};
/* Any thread: reads from the log of store. */
void fetch_job_read(FetchJob *job, Store *store);
/* Of one that nobody waits for any more. */
void fetch_job_free(FetchJob *job);

/* What the lead has of some shards, to be put into a root that is behind the start of every log, or
 * new. Whoever applies to that root does seed_job_step() between its other work, until that says
 * that the job is over, and hands it back. Freed by engine_seeded(), or seed_job_free(). */
typedef struct SeedJob SeedJob;
struct SeedJob {
    unsigned root;   /* into it */
    unsigned source; /* from it */
    Seed *seed;
    ErrCode code;   /* of its end */
    uint64_t *cuts; /* the engine's: of each shard's replica, when it was made */
};
bool seed_job_step(SeedJob *job);
void seed_job_free(SeedJob *job);

/* What one replica asks of the control store. */
typedef struct {
    ShardId shard;
    unsigned root;
    bool looks; /* only; else `wanted` is to be swapped in: */
    ShardConfig wanted;
    ErrCode code; /* … what came of that */
    bool found;   /* row is that in force: of a look, and of what was refused (ERR_PRECONDITION) */
    ShardConfig row;
} ControlAsk;

/* What the replicas of a process ask, in one go, and rows of a class that are to be there. Whoever
 * may wait does control_job_run() and hands it back. Freed by engine_controlled(), or
 * control_job_free(). */
typedef struct {
    ControlAsk *asks; /* swaps in one transaction; if that was refused, each by itself */
    size_t count;
    size_t capacity;
    bool retires; /* roots but those in kept are declared lost … */
    Uuid *kept;
    size_t kept_count;
    ControlShard *made; /* rows, made if there are none; then those in force */
    size_t made_count;
    unsigned made_class;
    ErrCode made_code;
    bool retired; /* … which was done */
    ErrCode code; /* of the transaction */
    Err err;
} ControlJob;
void control_job_run(ControlJob *job, Control *control);
void control_job_free(ControlJob *job); /* NULL is fine */

/* A message may be lost, repeated or late: the protocol must bear it, and simulators see to it. */
typedef struct {
    unsigned copies; /* that arrive; 0: it is lost */
    unsigned turns;  /* of engine_turn() that it stays away */
} MailFate;

typedef struct {
    void *ctx;
    /* Hands item to the WAL writer of its root. Room is sure: at most engine_log_max() are under
     * way. */
    void (*log)(void *ctx, LogItem *item);
    /* Records of root were committed: its applier has work. */
    void (*committed)(void *ctx, unsigned root);
    /* With several roots: job is to be read. At most one a shard and root is under way. */
    void (*fetch)(void *ctx, FetchJob *job);
    /* The same: job is to be done. At most one a root is under way. NULL: whoever needs one waits.
     */
    void (*seed)(void *ctx, SeedJob *job);
    /* record was acknowledged before it was committed, and is committed now, on the lead. NULL:
     * nobody cares. */
    void (*told)(void *ctx, const Record *record);
    /* The same: job is to be run. At most one is under way; until then the control store belongs to
     * whoever runs it. NULL: the engine runs them itself, and waits. */
    void (*control)(void *ctx, ControlJob *job);
    /* What becomes of a message between two roots; NULL: it arrives, once and at once. */
    MailFate (*mail)(void *ctx, const Message *message);
} EngineIo;

/* Of asynchronous writes: how much may be acknowledged and not committed, of all shards together.
 */
typedef struct {
    uint64_t entries;
    uint64_t bytes; /* of their records in the log */
    uint64_t ns;    /* since the oldest was acknowledged */
} EngineLag;
#define ENGINE_LAG_DEFAULT                                                                         \
    ((EngineLag){.entries = 1000, .bytes = 16 * MIB, .ns = UINT64_C(5000000000)})

typedef struct {
    Store *stores[ENGINE_ROOTS_MAX];    /* not owned; of each root */
    uint64_t devices[ENGINE_ROOTS_MAX]; /* which disk each root is on: equal ones are one */
    unsigned root_count;
    unsigned roots_max; /* that this process may be given; 0: ENGINE_ROOTS_MAX */
    unsigned
        copies; /* directories that were given, some of which may not be served; 0: root_count */
    Control *control; /* not owned */
    Buckets *buckets; /* not owned; filled by the engine */
    Keys *keys;       /* the same; NULL: nobody asks for any */
    Classes *classes; /* the same */
    Clock *clock;
    uint64_t seed;           /* of file ids and bucket uids: from the system, or the simulator's */
    PlacementClass standard; /* class of new buckets; copies: root_count */
    size_t backlog_max;      /* un-applied records at which writers wait; 0: STORE_BACKLOG_MAX */
    uint64_t backlog_bytes_max; /* the same for their bytes; 0: STORE_BACKLOG_BYTES_MAX */
    EngineLag async_lag;        /* all zero: ENGINE_LAG_DEFAULT */
    EngineIo io;
} EngineOptions;

#define ENGINE_LOG_MAX 65536 /* items at the WAL writer at once */

MUST_USE ErrCode engine_open(const EngineOptions *options, Engine **out, Err *err);
void engine_free(Engine *engine); /* answers nobody; NULL is fine */
/* Makes missing shards, takes the primary role for each (a new term, fenced), replays. Afterwards
 * log items flow; engine_ready() tells when all shards are primary and the first bucket exists. */
MUST_USE ErrCode engine_start(Engine *engine, Err *err);
/* What a tick says of a root's log. */
typedef struct {
    uint64_t sync_age_ns; /* of the oldest write that waits for its sync */
    uint64_t sync_p99_ns;
    bool full;  /* no room above its reserve */
    bool roomy; /* there is plenty */
} EngineHealth;
/* Every ENGINE_TICK_MS, with one root now and then: whoever waited for 20 s is told so, be it that
 * too few copies answer or that the log has no room. With several roots also: heartbeats, who is
 * dropped or added, who stands. */
void engine_tick(Engine *engine, const EngineHealth health[ENGINE_ROOTS_MAX]);
/* Is it worth one now? The lead stands, and has no promises yet: nothing could be read. */
bool engine_wants_tick(const Engine *engine);
/* root is of no use any more: silent from here on. With one root: no more writes. */
void engine_root_failed(Engine *engine, unsigned root);
/* The applier of root failed: no more writes there. Of the only root: from now on every mutation is
 * refused with ERR_ROOT_FAILED; what is under way still ends as the log says. */
void engine_root_refuses(Engine *engine, unsigned root);
/* It failed, in either way. */
bool engine_root_is_out(const Engine *engine, unsigned root);
/* What a placement class is kept with now. */
typedef struct {
    bool there;    /* its shards are taken; else nothing of the rest is set */
    bool failed;   /* too many of its roots: no changes */
    unsigned lead; /* the root on which its shards stand */
    /* What was looked up there may be given until then, by clock_boot_ns() asked behind the
     * look-up. 0: not now; UINT64_MAX: no other could promise anything to anybody else. */
    uint64_t read_until;
    unsigned in_sync; /* bit r: root r did not fail, and is in sync with the lead on all shards */
    unsigned members; /* bit r: root r is to have it, of some shard */
    unsigned needed;  /* copies in sync that a change needs */
    Durability durability; /* of committed files, of all shards the least */
} EngineClass;
EngineClass engine_class(const Engine *engine, unsigned number);
/* Of the standard class, and so of the system: the root on which they stand; may what was read
 * there before now be given; who is in sync; how safe it is. */
unsigned engine_lead(const Engine *engine);
bool engine_may_read(const Engine *engine);
unsigned engine_in_sync(const Engine *engine);
Durability engine_durability(const Engine *engine);
bool engine_ready(const Engine *engine);
/* Is root in no in-sync set: is nothing acknowledged on its word? */
bool engine_is_left(const Engine *engine, unsigned root);

/* Takes mutation and what is chained to it by also; done() may be called before this returns. */
void engine_submit(Engine *engine, Mutation *mutation);
/* item comes back from the WAL writer; several of one batch one after the other. */
void engine_logged(Engine *engine, LogItem *item);
void engine_fetched(Engine *engine, FetchJob *job);
void engine_seeded(Engine *engine, SeedJob *job);
void engine_controlled(Engine *engine, ControlJob *job);
/* Call after a run of engine_logged() and now and then: commits, answers, lets waiting ones on. */
void engine_turn(Engine *engine);
/* Bytes of the disks that may be taken from now on, by mutations of a class and by what waits in
 * the log. Those with a body for which that is not enough are refused with ERR_NO_SPACE.
 * UINT64_MAX: any.
 */
void engine_set_room(Engine *engine, unsigned class, uint64_t room);
/* Bytes given to the log so far. */
uint64_t engine_appended(const Engine *engine);
/* From now on every mutation is refused with ERR_SHUTTING_DOWN. */
void engine_drain(Engine *engine);
/* The same of those too that wait for room. */
void engine_give_up(Engine *engine);
/* Mutations taken and not yet answered. */
size_t engine_in_flight(const Engine *engine);
/* Nothing is under way: no mutation, and nothing at the WAL writer of a root whose disk does not
 * stand still. */
bool engine_idle(const Engine *engine);

/* With several roots: the lead goes to root, of the standard class and of each other one that is in
 * sync there, as soon as what is under way is committed; changes wait meanwhile, and it is given up
 * after two seconds (the leads are what they were). ERR_PRECONDITION: root is left out, not in sync
 * or the only one; ERR_BUSY; ERR_NOT_READY. */
MUST_USE ErrCode engine_hand_over(Engine *engine, unsigned root, Err *err);
/* root is left out until it is added again or the next start, as one that failed; the lead is
 * handed over first. Errors as before; ERR_PRECONDITION also if too few would be left for changes.
 */
MUST_USE ErrCode engine_evict(Engine *engine, unsigned root, Err *err);
/* A root that was left out so is a copy again: it catches up, then it is in sync. OK also if it is
 * not out. ERR_PRECONDITION: it failed; others as of engine_hand_over(). */
MUST_USE ErrCode engine_add(Engine *engine, unsigned root, Err *err);
/* Is it out for that reason, and has not failed since? */
bool engine_root_is_evicted(const Engine *engine, unsigned root);
/* Is the lead still being handed over? */
bool engine_is_moving(const Engine *engine);

/* What was acknowledged of asynchronous writes, and is not committed: what a fail-over may lose. */
typedef struct {
    uint64_t entries;
    uint64_t bytes;
    uint64_t age_ns; /* of the oldest */
    uint64_t told;   /* acknowledged so since the start */
} EngineAsync;
EngineAsync engine_async(const Engine *engine);

/* The copy of a shard on a root of this process. */
typedef struct {
    ReplicaRole role;
    Term term;
    Lsn last_lsn;
    Lsn durable_lsn;
    Lsn commit_lsn;
    bool is_member; /* by the lead's configuration, like the next three: */
    bool is_learner;
    bool in_sync;
    bool electable;       /* in the ELR */
    uint64_t lag_entries; /* that the lead has and that are not synced here */
    bool lag_known;       /* these are: */
    uint64_t lag_bytes;
    uint64_t lag_from_ms; /* when the first of them was made, wall clock; 0: there is none */
} EngineCopy;

typedef struct {
    ShardId shard;
    ReplicaRole role; /* on the lead, like what follows */
    Term term;
    Lsn last_lsn;
    Lsn durable_lsn;
    Lsn commit_lsn;
    uint64_t config_version;
    unsigned member_count;
    unsigned min_isr;
    unsigned lead; /* of its class */
    EngineCopy copies[ENGINE_ROOTS_MAX];
} EngineShardStatus;
/* Shards in rising order, at most max; returns how many there are. */
size_t engine_shards(const Engine *engine, EngineShardStatus *out, size_t max);
bool engine_failed(const Engine *engine); /* the log or the applier failed: no more writes */

AUTO_DEFINE(Engine, engine_free);

#endif
