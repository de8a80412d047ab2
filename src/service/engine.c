#include "service/engine.h"

#include <string.h>

#include "base/log.h"
#include "service/engine_priv.h"

static void carry_out(Engine *engine, EngineShard *shard);
static void fail_all(Engine *engine);

EngineShard *engine_shard(const Engine *engine, ShardId shard)
{
    return engine->shards[shard];
}

static void step(Engine *engine, EngineShard *shard, Event *event)
{
    event->now_ns = clock_boot_ns(engine->options.clock);
    replica_step(shard->replica, event, &engine->effects);
    carry_out(engine, shard);
}

/* --- effects --- */

static void send_to_log(Engine *engine, Record *record, const ReplicaState *state)
{
    LogItem *item = mem_new(sizeof *item);
    item->record = record;
    if (state != NULL) item->state = *state;
    engine->log_items++;
    engine->options.io.log(engine->options.io.ctx, item);
}

static void log_entries(Engine *engine, EngineShard *shard, const Effect *effect)
{
    for (uint32_t i = 0; i < effect->entry_count; i++) {
        Record *record = effect->entries[i].handle;
        record->next = NULL;
        if (shard->open_last == NULL)
            shard->open_first = record;
        else
            shard->open_last->next = record;
        shard->open_last = record;
        send_to_log(engine, record, NULL);
    }
}

/* A bucket's creation or deletion took effect. */
static void commit_bucket(Engine *engine, const Record *record)
{
    const Entry *entry = &record->entry;
    Str prefix = STR(BUCKET_KEY_PREFIX);
    if (entry->bucket != BUCKET_UID_SYSTEM || !str_starts_with(record->key, prefix)) return;
    Str name = str_slice(record->key, prefix.len, record->key.len);
    Str value;
    BucketRecord bucket;
    if (entry->op == OP_DELETE) {
        buckets_remove(engine->options.buckets, name);
    } else if (bucket_name_valid(name) && attr_get(entry->attrs, ATTR_BUCKET_RECORD, &value) &&
               bucket_record_decode(value, &bucket, NULL) == OK) {
        buckets_put(engine->options.buckets, name, &bucket);
    }
    if (record->request != NULL) {
        ASSERT(engine->bucket_changes > 0);
        engine->bucket_changes--;
    }
}

/* Answers m, which waited for an lsn of shard. */
static void answer_committed(Engine *engine, const EngineShard *shard, Mutation *m, ErrCode code)
{
    if (code == OK) { /* a repeat */
        unsigned synced = 0;
        unsigned copies = 0;
        replica_copies(shard->replica, m->wait_lsn, &synced, &copies);
        m->durability = (Durability){.synced = synced, .copies = copies, .disks = 1, .zones = 1};
    }
    engine_answer(engine, m, code);
}

static void answer_waiting(Engine *engine, EngineShard *shard, Lsn lsn)
{
    Mutation **link = &shard->waiting;
    while (*link != NULL) {
        Mutation *m = *link;
        if (m->wait_lsn > lsn) {
            link = &m->next;
            continue;
        }
        *link = m->next;
        answer_committed(engine, shard, m, m->code);
    }
}

static void commit_to(Engine *engine, EngineShard *shard, Lsn lsn)
{
    while (shard->open_first != NULL && shard->open_first->entry.lsn <= lsn) {
        Record *record = shard->open_first;
        shard->open_first = record->next;
        if (shard->open_first == NULL) shard->open_last = NULL;
        Mutation *m = record->request;
        commit_bucket(engine, record);
        unsigned synced = 0;
        unsigned copies = 0;
        replica_copies(shard->replica, record->entry.lsn, &synced, &copies);
        buckets_committed(engine->options.buckets, record->entry.bucket, record->files_delta,
                          record->bytes_delta);
        record->request = NULL;
        store_committed(engine->store, record); /* record may be gone from here on */
        engine->committed_news = true;
        if (m == NULL) continue;
        m->durability = (Durability){.synced = synced, .copies = copies, .disks = 1, .zones = 1};
        engine_answer(engine, m, OK);
    }
    answer_waiting(engine, shard, lsn);
}

static void append_start(Engine *engine, EngineShard *shard)
{
    Entry entry = {.op = OP_START, .shard = shard->shard};
    Err err = {0};
    ErrCode code = engine_append(engine, &entry, NULL, &err);
    /* A START carries nothing that could fail but memory. A node that is not ready yet gives up, so
     * that it can be started again; later this shard stays unready. */
    if (code == OK) return;
    if (!engine->ready) engine->failed = true;
    LOG(ERROR, "engine.start_failed", "shard=%u error=" LOG_STR, shard->shard,
        LOG_CSTR(err_text(&err)));
}

static void change_role(Engine *engine, EngineShard *shard, ReplicaRole role)
{
    LOG(DEBUG, "shard.role", "shard=%u role=%s term=%u", shard->shard, replica_role_name(role),
        replica_term(shard->replica));
    if (role == ROLE_PRIMARY) engine->primaries++;
}

/* Effects are copied out one by one: carrying one out may step the same replica again. */
static void carry_out(Engine *engine, EngineShard *shard)
{
    uint32_t count = engine->effects.count;
    bool start = false;
    bool quarantined = false;
    Lsn commit = 0;
    for (uint32_t i = 0; i < count; i++) {
        const Effect *effect = &engine->effects.items[i];
        switch (effect->type) {
        case EFFECT_STORE_ENTRIES: log_entries(engine, shard, effect); break;
        case EFFECT_STORE_STATE: send_to_log(engine, NULL, &effect->state); break;
        case EFFECT_CAS:
            engine->cas[engine->cas_count++] = (ControlShard){.shard = shard->shard,
                                                              .config = effect->config};
            break;
        case EFFECT_START: start = true; break;
        case EFFECT_COMMIT: commit = effect->lsn; break;
        case EFFECT_ROLE: change_role(engine, shard, effect->role); break;
        case EFFECT_SEND: break; /* no other member is reachable from one root */
        case EFFECT_QUARANTINE: quarantined = true; break;
        }
    }
    if (commit != 0) commit_to(engine, shard, commit);
    if (start) append_start(engine, shard);
    if (quarantined && !engine->failed) fail_all(engine);
}

/* --- appending --- */

static bool backlog_is_full(const Engine *engine)
{
    return store_backlog(engine->store) >= engine->options.backlog_max ||
           store_backlog_bytes(engine->store) >= engine->options.backlog_bytes_max;
}

bool engine_has_room(const Engine *engine, const EngineShard *shard)
{
    return replica_can_append(shard->replica) && engine->log_items < ENGINE_LOG_MAX / 2 &&
           !backlog_is_full(engine);
}

ErrCode engine_append(Engine *engine, Entry *entry, Mutation *m, Err *err)
{
    EngineShard *shard = engine_shard(engine, entry->shard);
    ASSERT(replica_can_append(shard->replica));
    replica_next(shard->replica, &entry->lsn, &entry->term, &entry->prev_hash);
    entry->record_id = id128_random(&engine->rng);
    if (entry->time_ms == 0) entry->time_ms = clock_wall_ms(engine->options.clock);
    entry_seal(entry);
    Record *record = NULL;
    TRY(store_add(engine->store, entry, &record, err));
    record->request = m;
    if (m != NULL) {
        record->files_delta = m->files_delta;
        record->bytes_delta = m->bytes_delta;
        buckets_appended(engine->options.buckets, entry->bucket, m->files_delta, m->bytes_delta);
    }
    Event event = {.type = EVENT_APPEND,
                   .entry = {.lsn = entry->lsn,
                             .term = entry->term,
                             .prev_hash = entry->prev_hash,
                             .hash = entry->checksum,
                             .is_start = entry->op == OP_START,
                             .is_config = entry->op == OP_CONFIG,
                             .handle = record}};
    step(engine, shard, &event);
    return OK;
}

/* --- answers --- */

void engine_answer(Engine *engine, Mutation *m, ErrCode code)
{
    ASSERT(engine->in_flight > 0);
    engine->in_flight--;
    m->next = NULL;
    m->code = code;
    m->done(m);
}

void engine_answer_after(Engine *engine, Mutation *m, ErrCode code, ShardId shard_id, Lsn lsn)
{
    EngineShard *shard = engine_shard(engine, shard_id);
    m->wait_lsn = lsn;
    if (lsn <= replica_commit_lsn(shard->replica)) {
        answer_committed(engine, shard, m, code);
        return;
    }
    m->code = code;
    m->next = shard->waiting;
    shard->waiting = m;
}

static void answer_stalled(Engine *engine, ErrCode code)
{
    Mutation *list = engine->stalled_first;
    engine->stalled_first = NULL;
    engine->stalled_last = NULL;
    while (list != NULL) {
        Mutation *m = list;
        list = m->next;
        engine_answer(engine, m, code);
    }
}

void engine_refuse_writes(Engine *engine)
{
    engine->read_only = true;
    answer_stalled(engine, ERR_ROOT_FAILED);
}

static ErrCode outcome_unknown(Mutation *m)
{
    return err_set(&m->err, ERR_OUTCOME_UNKNOWN, "outcome: unknown; the log failed");
}

/* A repeat of what may or may not be there knows as little. What waits with a refusal changed
 * nothing, whatever it rests on. */
static void fail_waiting(Engine *engine, EngineShard *shard)
{
    while (shard->waiting != NULL) {
        Mutation *m = shard->waiting;
        shard->waiting = m->next;
        engine_answer(engine, m, m->code == OK ? outcome_unknown(m) : ERR_ROOT_FAILED);
    }
}

/* The log failed: whatever is appended may or may not be there after a restart. */
static void fail_all(Engine *engine)
{
    engine->failed = true;
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        for (Record *record = shard->open_first; record != NULL; record = record->next) {
            Mutation *m = record->request;
            record->request = NULL;
            if (m == NULL) continue;
            engine_answer(engine, m, outcome_unknown(m));
        }
        fail_waiting(engine, shard);
    }
    answer_stalled(engine, ERR_ROOT_FAILED);
}

/* --- the log's answers --- */

void engine_logged(Engine *engine, LogItem *item)
{
    ASSERT(engine->log_items > 0);
    engine->log_items--;
    if (item->code != OK) {
        if (!engine->failed) fail_all(engine);
        mem_free(item);
        return;
    }
    ShardId id = item->record != NULL ? item->record->entry.shard : item->state.shard;
    EngineShard *shard = engine_shard(engine, id);
    if (item->record != NULL) {
        Record *record = item->record;
        store_logged(engine->store, record);
        ASSERT(record->entry.lsn > shard->logged_lsn);
        shard->logged_lsn = record->entry.lsn;
        shard->logged_news = true;
    } else if (!engine->failed) {
        Event event = {.type = EVENT_STATE_STORED,
                       .term = item->state.max_term,
                       .voted_for = item->state.voted_for};
        step(engine, shard, &event);
    }
    mem_free(item);
}

static void step_stored(Engine *engine)
{
    if (engine->failed) return;
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        if (!shard->logged_news) continue;
        shard->logged_news = false;
        Event event = {.type = EVENT_STORED, .lsn = shard->logged_lsn};
        step(engine, shard, &event);
    }
}

static void first_bucket_done(Mutation *m)
{
    Engine *engine = m->ctx;
    engine->first_bucket_done = m->code == OK || m->code == ERR_BUCKET_EXISTS;
    if (!engine->first_bucket_done) {
        engine->failed = true; /* not ready, and never would be */
        LOG(ERROR, "engine.first_bucket_failed", "error=" LOG_STR, LOG_CSTR(err_text(&m->err)));
    }
}

static void free_usage(Engine *engine)
{
    if (engine->usage == NULL) return;
    const OMapNode *node = omap_first(engine->usage, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node))
        mem_free(omap_value(node));
    omap_free(TAKE(engine->usage));
}

/* Everything that was replayed is committed, and nothing is new yet. */
static void set_usage(Engine *engine)
{
    const OMapNode *node = omap_first(engine->usage, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        BucketUid uid = 0;
        memcpy(&uid, omap_key(node).ptr, sizeof uid);
        buckets_set_usage(engine->options.buckets, uid, omap_value(node));
    }
    free_usage(engine);
}

static void note_usage(void *ctx, BucketUid uid, const BucketStatRow *usage)
{
    Engine *engine = ctx;
    BucketStatRow *copy = mem_new(sizeof *copy);
    *copy = *usage;
    void *before = omap_put(engine->usage, str_of(&uid, sizeof uid), copy);
    ASSERT(before == NULL);
}

/* All shards are primary: bucket names, then the bucket that exists from the start. */
static void become_ready(Engine *engine)
{
    if (engine->ready || engine->failed || engine->primaries < engine->shard_count) return;
    if (!engine->first_bucket_asked) {
        engine->first_bucket_asked = true;
        Err err = {0};
        if (buckets_load(engine->options.buckets, engine->reader, &err) != OK) {
            LOG(ERROR, "engine.buckets_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
            engine->failed = true;
            return;
        }
        set_usage(engine);
        engine->first_bucket_done = buckets_count(engine->options.buckets) > 0;
        if (!engine->first_bucket_done) {
            engine->in_flight++;
            engine_decide(engine, &engine->first_bucket);
        }
    }
    if (engine->first_bucket_done) engine->ready = true;
}

static void let_on(Engine *engine)
{
    if (backlog_is_full(engine)) return;
    if (engine->log_items >= ENGINE_LOG_MAX / 2) return;
    Mutation *list = engine->stalled_first;
    engine->stalled_first = NULL;
    engine->stalled_last = NULL;
    while (list != NULL) {
        Mutation *m = list;
        list = m->next;
        m->next = NULL;
        engine_decide(engine, m); /* puts it back if there is still no room */
    }
}

void engine_turn(Engine *engine)
{
    step_stored(engine);
    become_ready(engine);
    if (engine->stalled_first != NULL) let_on(engine);
    if (engine->committed_news) {
        engine->committed_news = false;
        engine->options.io.committed(engine->options.io.ctx);
    }
}

static void submit_one(Engine *engine, Mutation *m)
{
    engine->in_flight++;
    ErrCode code = OK;
    if (engine->draining)
        code = ERR_SHUTTING_DOWN;
    else if (engine_failed(engine))
        code = ERR_ROOT_FAILED;
    else if (!engine->ready)
        code = ERR_NOT_READY;
    else if (engine->full && (m->size > 0 || m->type == MUTATION_BUCKET_CREATE))
        code = ERR_NO_SPACE;
    if (code == ERR_NO_SPACE && m->has_request && engine_decide_repeat(engine, m)) return;
    if (code != OK)
        engine_answer(engine, m, code);
    else
        engine_decide(engine, m);
}

void engine_submit(Engine *engine, Mutation *m)
{
    while (m != NULL) {
        Mutation *also = m->also; /* m is its door's again once it is answered */
        submit_one(engine, m);
        m = also;
    }
}

void engine_set_full(Engine *engine, bool full)
{
    engine->full = full;
}

void engine_drain(Engine *engine)
{
    engine->draining = true;
}

size_t engine_in_flight(const Engine *engine)
{
    return engine->in_flight;
}

bool engine_idle(const Engine *engine)
{
    return engine->in_flight == 0 && engine->log_items == 0;
}

bool engine_ready(const Engine *engine)
{
    return engine->ready;
}

bool engine_failed(const Engine *engine)
{
    return engine->failed || engine->read_only;
}

size_t engine_shards(const Engine *engine, EngineShardStatus *out, size_t max)
{
    for (size_t i = 0; i < MIN(max, engine->shard_count); i++) {
        const Replica *replica = engine->shards[engine->shard_list[i]]->replica;
        out[i] = (EngineShardStatus){.shard = engine->shard_list[i],
                                     .role = replica_role(replica),
                                     .term = replica_term(replica),
                                     .last_lsn = replica_last_lsn(replica),
                                     .durable_lsn = replica_durable_lsn(replica),
                                     .commit_lsn = replica_commit_lsn(replica)};
    }
    return engine->shard_count;
}

/* --- life --- */

/* replica_size(), aligned as a Replica wants it. */
static size_t replica_stride(void)
{
    return (replica_size() + 15) / 16 * 16;
}

static void add_shard(Engine *engine, ShardId id)
{
    EngineShard *shard = mem_new(sizeof *shard);
    const RootInfo *root = store_root(engine->store);
    shard->shard = id;
    shard->replica = replica_init(engine->replicas + engine->shard_count * replica_stride(), id,
                                  root->uuid, root->incarnation);
    engine->shards[id] = shard;
    engine->shard_list[engine->shard_count++] = id;
}

ErrCode engine_open(const EngineOptions *options, Engine **out, Err *err)
{
    TRY(placement_class_check(&options->standard, err));
    AUTO(Engine, engine_free) engine = mem_new(sizeof *engine);
    engine->options = *options;
    EngineOptions *o = &engine->options;
    if (o->backlog_max == 0) o->backlog_max = STORE_BACKLOG_MAX;
    if (o->backlog_bytes_max == 0) o->backlog_bytes_max = STORE_BACKLOG_BYTES_MAX;
    engine->store = options->store;
    rng_init(&engine->rng, options->seed);
    engine->cas = mem_new_array(PLACE_SHARDS_MAX + 1, sizeof *engine->cas);
    TRY(store_reader_open(options->store, &engine->reader, err));
    engine->replicas = mem_new_array(1 + options->standard.shard_count, replica_stride());
    add_shard(engine, SHARD_SYSTEM);
    for (unsigned i = 0; i < options->standard.shard_count; i++) {
        add_shard(engine, shard_id(options->standard.number, i));
    }
    mutation_init(&engine->first_bucket, MUTATION_BUCKET_CREATE);
    engine->first_bucket.bucket = STR("files");
    engine->first_bucket.done = first_bucket_done;
    engine->first_bucket.ctx = engine;
    *out = TAKE(engine);
    return OK;
}

void engine_free(Engine *engine)
{
    if (engine == NULL) return;
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        mem_free(shard);
    }
    free_usage(engine);
    mem_free(engine->replicas);
    mutation_deinit(&engine->first_bucket);
    store_reader_free(engine->reader);
    mem_free(engine->cas);
    mem_free(engine);
}

/* The configuration of a shard that never was, or of which control.json was lost: this root is its
 * only member. */
static ShardConfig first_config(Engine *engine)
{
    const RootInfo *root = store_root(engine->store);
    ShardConfig config = {.cfg_uid = id128_random(&engine->rng),
                          .version = 1,
                          .min_isr = 1,
                          .member_count = 1,
                          .isr = 1,
                          .primary = MEMBERS_MAX};
    /* Its log was rebuilt once: root.json tells for good, by another uuid of what it stores. */
    if (!id128_eq(root_storage(root), root->uuid)) config.unclean_epoch = 1;
    config.members[0] = (Member){.root = root->uuid, .incarnation = root->incarnation};
    return config;
}

/* Rows for the shards that have none, all in one transaction. */
static ErrCode make_configs(Engine *engine, Err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < engine->shard_count; i++) {
        ShardConfig config;
        bool found = false;
        TRY(control_get(engine->options.control, engine->shard_list[i], &config, &found, err));
        if (found) continue;
        engine->cas[count++] = (ControlShard){.shard = engine->shard_list[i],
                                              .config = first_config(engine)};
    }
    return count == 0 ? OK : control_cas(engine->options.control, engine->cas, count, err);
}

static ErrCode restart_shard(Engine *engine, EngineShard *shard, Err *err)
{
    ReplicaState state;
    store_replica_state(engine->store, shard->shard, &state);
    ShardConfig config;
    bool found = false;
    TRY(control_get(engine->options.control, shard->shard, &config, &found, err));
    if (!found) return err_set(err, ERR_CORRUPT, "shard %u has no configuration", shard->shard);
    shard->open_first = store_replayed(engine->store, shard->shard);
    for (Record *r = shard->open_first; r != NULL; r = r->next)
        shard->open_last = r;
    shard->logged_lsn = state.last_lsn;
    Event event = {.type = EVENT_RESTART, .state = &state, .config = &config};
    step(engine, shard, &event);
    event = (Event){.type = EVENT_STAND, .new_cfg_uid = id128_random(&engine->rng)};
    step(engine, shard, &event);
    if (replica_role(shard->replica) == ROLE_CANDIDATE) return OK;
    return err_set(err, ERR_FOREIGN,
                   "shard %u: by the control store this root may not be its primary; "
                   "control.json may be another directory's; moved away, it is made again",
                   shard->shard);
}

ErrCode engine_start(Engine *engine, Err *err)
{
    engine->usage = omap_new(rng_u64(&engine->rng));
    TRY(store_usage(engine->store, note_usage, engine, err));
    TRY(make_configs(engine, err));
    engine->cas_count = 0;
    for (size_t i = 0; i < engine->shard_count; i++) {
        TRY(restart_shard(engine, engine->shards[engine->shard_list[i]], err));
    }
    size_t count = engine->cas_count;
    engine->cas_count = 0;
    ErrCode code = count == 0 ? OK : control_cas(engine->options.control, engine->cas, count, err);
    if (code != OK) return err_wrap(err, code, "take the primary role in the control store");
    for (size_t i = 0; i < count; i++) {
        const ShardConfig *config = &engine->cas[i].config;
        Event event = {.type = EVENT_CAS_DONE, .new_cfg_uid = config->cfg_uid, .config = config};
        step(engine, engine_shard(engine, engine->cas[i].shard), &event);
    }
    return OK;
}
