/* What the files of the engine share. */
#ifndef HOLDFAST_SERVICE_ENGINE_PRIV_H
#define HOLDFAST_SERVICE_ENGINE_PRIV_H

#include "base/rng.h"
#include "service/engine.h"

/* A shard of this process. */
typedef struct {
    ShardId shard;
    Replica *replica;
    Record *open_first; /* appended, not committed, in lsn order, linked by next */
    Record *open_last;
    Lsn logged_lsn;    /* highest lsn that came back durable */
    bool logged_news;  /* EVENT_STORED is owed */
    Mutation *waiting; /* answered already, told when their wait_lsn commits; linked by next */
} EngineShard;

struct Engine {
    EngineOptions options;
    Store *store;
    StoreReader *reader;
    Rng rng;
    EngineShard *shards[SHARD_COUNT_MAX];
    uint8_t *replicas; /* memory of all of them: pages that are not used are not taken */
    ShardId shard_list[PLACE_SHARDS_MAX + 1];
    size_t shard_count;
    size_t primaries; /* shards that are primary */
    Effects effects;
    ControlShard *cas; /* configurations to be swapped in one go */
    size_t cas_count;
    size_t log_items;        /* at the writer */
    size_t bucket_changes;   /* appended bucket creations and deletions, not committed */
    Mutation *stalled_first; /* wait for room, in order of arrival */
    Mutation *stalled_last;
    size_t in_flight;
    bool committed_news; /* io.committed is owed */
    bool first_bucket_asked;
    bool first_bucket_done;
    bool ready;
    bool full;
    bool draining;
    bool failed;    /* the log */
    bool read_only; /* the applier */
    Mutation first_bucket;
    OMap *usage; /* until it is ready: what buckets hold, by uid: BucketStatRow */
};

/* decide.c: checks m against the state and appends its entry, or answers it. */
void engine_decide(Engine *engine, Mutation *m);
/* repeat.c: was the change of m, which has a request, made before? Then m is answered, or will be.
 */
bool engine_decide_repeat(Engine *engine, Mutation *m);
/* The key of a new file whose request names none; view into m. */
MUST_USE ErrCode engine_request_key(Mutation *m, Str *key, Err *err);
/* Answers m: code and text, done(). */
void engine_answer(Engine *engine, Mutation *m, ErrCode code);
/* Answers m with code when lsn of shard is committed; at once if it is. With OK, m is as durable as
 * that. */
void engine_answer_after(Engine *engine, Mutation *m, ErrCode code, ShardId shard, Lsn lsn);
/* Gives the entry its place, and the time unless it has one, seals it, appends. m (may be NULL) is
 * answered by its commit. */
MUST_USE ErrCode engine_append(Engine *engine, Entry *entry, Mutation *m, Err *err);
EngineShard *engine_shard(const Engine *engine, ShardId shard);
/* May this shard take another entry now (window, log queue, backlog)? */
bool engine_has_room(const Engine *engine, const EngineShard *shard);

#endif
