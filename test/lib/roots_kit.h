/* A process of one to five storage roots in one thread, over any Disks: control store, stores and
 * engine, and what the threads would do as functions to call in any order. Like node_kit.h, which
 * is the same for one root with less to say. */
#ifndef HOLDFAST_TEST_LIB_ROOTS_KIT_H
#define HOLDFAST_TEST_LIB_ROOTS_KIT_H

#include "control/local/local.h"
#include "service/engine.h"

typedef struct {
    Disk *disk; /* not owned */
    RootInfo info;
    Store *store;
    StoreReader *reader;
    LogItem *log_first; /* handed to the WAL writer, not appended */
    LogItem *log_last;
    LogItem *batch_first; /* appended, not synced */
    LogItem *batch_last;
    FetchJob *fetch_first;
    SeedJob *seed;
    bool opened;
    bool dead; /* its log failed */
} KitRoot;

typedef struct {
    unsigned count;
    KitRoot roots[ENGINE_ROOTS_MAX];
    Rng rng;
    ManualClock *clock; /* not owned */
    Control *control;
    ControlJob *control_job; /* handed to who asks the control store … */
    bool control_run;        /* … and done there */
    Buckets *buckets;
    MailFate (*mail)(void *ctx, const Message *message);
    void *mail_ctx;
    void (*told)(void *ctx, const Record *record);
    Engine *engine;
    bool keep_logs;
    uint64_t *cuts; /* not owned; may be NULL */
    uint64_t *seeds;
    uint64_t *events;
} RootsKit;

typedef struct {
    uint64_t seed;
    unsigned shards;
    ManualClock *clock;
    bool keep_logs;   /* no checkpoints: whoever is behind finds what it lacks in a log */
    uint64_t *cuts;   /* counts the ends of logs that were cut; may be NULL */
    uint64_t *seeds;  /* counts snapshots that were put in whole; may be NULL */
    uint64_t *events; /* counts what threads do, and messages; may be NULL */
    MailFate (*mail)(void *ctx, const Message *message); /* as EngineIo has it; may be NULL */
    void *mail_ctx;
    EngineLag async_lag;                           /* as EngineOptions has it */
    void (*told)(void *ctx, const Record *record); /* as EngineIo has it, with mail_ctx; or NULL */
} RootsKitOptions;

/* Opens and starts; log items flow, nothing is pumped. On failure nothing is left open. */
MUST_USE ErrCode roots_kit_open(RootsKit *kit, Disk *const *disks, unsigned count,
                                const RootsKitOptions *options, Err *err);
/* As kill -9. */
void roots_kit_drop(RootsKit *kit);
/* The WAL writer of a root: appends up to max items to its batch; syncs the batch and hands its
 * items back. */
void roots_kit_append(RootsKit *kit, unsigned root, size_t max);
void roots_kit_sync(RootsKit *kit, unsigned root);
/* Whoever reads logs: all that is asked of root. */
void roots_kit_fetch(RootsKit *kit, unsigned root);
/* The applier of a root: a part of the snapshot that is put into it, if there is one. */
void roots_kit_seed(RootsKit *kit, unsigned root);
/* Whoever asks the control store: does what it was given; tells what came of it. Told before it
 * was done, or not known, its swaps are unknown. */
void roots_kit_control_run(RootsKit *kit);
void roots_kit_control_tell(RootsKit *kit, bool known);
/* The applier of a root. */
MUST_USE ErrCode roots_kit_apply(RootsKit *kit, unsigned root, Err *err);
/* Until nothing moves without the clock. */
void roots_kit_settle(RootsKit *kit);
/* ms of the clock, a tick every ENGINE_TICK_MS, settled after each. */
void roots_kit_wait(RootsKit *kit, uint64_t ms);
/* Until the lead stands and nothing waits; false: not within ms. */
bool roots_kit_ready(RootsKit *kit, uint64_t ms);
/* Submits m and waits up to ms for its answer, which is given back. The same of a PUT into "files".
 */
ErrCode roots_kit_do(RootsKit *kit, Mutation *m, uint64_t ms);
ErrCode roots_kit_put(RootsKit *kit, Str key, Str body, uint64_t ms, Err *err);
/* What root has committed of a key of the bucket "files"; ERR_NOT_FOUND. */
MUST_USE ErrCode roots_kit_get(RootsKit *kit, unsigned root, Str key, Buf *body, Err *err);
/* The same of another bucket. */
MUST_USE ErrCode roots_kit_get_of(RootsKit *kit, unsigned root, Str bucket, Str key, Buf *body,
                                  Err *err);

/* For tests on simulated disks; what cannot be had fails the test. `count` new ones; a kit on them,
 * ready within ms of the clock; its end as by kill -9, which the disks are told; the end of all. */
void roots_kit_disks(Disk **disks, unsigned count);
void roots_kit_start(RootsKit *kit, Disk *const *disks, unsigned count,
                     const RootsKitOptions *options, uint64_t ms);
void roots_kit_kill(RootsKit *kit, Disk *const *disks, unsigned count);
void roots_kit_end(RootsKit *kit, Disk **disks, unsigned count);
/* Each write and sync of a simulated disk fails from now on, or is well again. */
void roots_kit_disk_fails(Disk *disk, bool fails);

#endif
