/* What the files of the workers share. */
#ifndef HOLDFAST_NODE_WORKERS_PRIV_H
#define HOLDFAST_NODE_WORKERS_PRIV_H

#include "base/thread.h"
#include "node/asker.h"
#include "node/workers.h"

/* What an administrator asked for; lives with whoever waits. */
typedef struct {
    WorkersAction action;
    unsigned root;
    bool begun;
    uint64_t until_ns; /* done by then, it is said to be so though shards still follow the lead */
    ErrCode code;
    Err err;
    Wake done;
} CoreJob;

struct Workers {
    WorkersOptions options;
    StorageRoot *roots[ENGINE_ROOTS_MAX];
    Engine *engine; /* the core's */
    Queue *mutations;
    Queue *logged; /* LogItems back from the writers */
    Queue *told;   /* Told, for whoever reads them back; with several roots, like the next */
    _Atomic uint64_t told_missed;
    Queue *fetched; /* FetchJobs back from the readers */
    Queue *seeded;  /* SeedJobs back from the appliers */
    Queue *swapped; /* ControlJobs back from the asker; NULL with one root, like the two before */
    Asker *asker;   /* the same */
    Wake core_wake;
    Thread core;
    bool stuck[ENGINE_ROOTS_MAX];      /* a thread of it did not end … */
    bool told_stuck[ENGINE_ROOTS_MAX]; /* … which was said */
    _Atomic bool ready;
    _Atomic bool opened; /* roots[] is whole */
    _Atomic bool full;
    _Atomic uint64_t room; /* bytes */
    ClassState states[CLASSES_MAX];
    _Atomic unsigned spared; /* bit r: root r has no room, and others have */
    uint64_t looked_at;      /* the core's: engine_appended() when it looked at the space */
    uint64_t tick_ns;        /* the core's: the next one */
    bool noted;              /* the core's: it was ready; changes are told from then on */
    _Atomic bool failed;
    _Atomic bool giving_up; /* what waits for room is answered now */
    _Atomic bool stopping;  /* core: drain and end */
    _Atomic size_t in_flight;
    Lock lock;         /* LOCK_RANK_STORE: the snapshot, durability, what the core could not do */
    Err start_failure; /* code OK: none */
    Durability durability[CLASSES_MAX];
    unsigned needed[CLASSES_MAX];
    EngineShardStatus *shards;
    size_t shard_count;
    EngineAsync async; /* with the snapshot, like the next two */
    uint64_t lead_moves;
    uint64_t sync_changes;
    uint64_t behind_ns[ENGINE_ROOTS_MAX]; /* under lock: not in sync since then; 0: it is */
    bool evicted[ENGINE_ROOTS_MAX];       /* the core's: what the roots know of it */
    _Atomic(CoreJob *) job;               /* NULL: none */
    uint64_t shards_ns;                   /* when the snapshot was made; the core's … */
    unsigned snapshot_classes;            /* … of these, by number */
};

/* workers_tell.c: the core, after a turn: what other threads see of the engine. */
void workers_publish(Workers *workers);
/* For messages. */
const char *workers_dir(const Workers *workers, unsigned root);

#endif
