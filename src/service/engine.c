#include "service/engine.h"

#include <string.h>

#include "base/log.h"
#include "service/engine_priv.h"

#define GROUPS_NS                                                                                  \
    UINT64_C(5000000000) /* that a start waits for classes whose roots may be gone                 \
                          */

EngineShard *engine_shard(const Engine *engine, ShardId shard)
{
    return engine->shards[shard];
}

/* --- commits --- */

bool engine_is_bucket_change(const Record *record)
{
    return record->entry.bucket == BUCKET_UID_SYSTEM && record_has_name(record) &&
           str_starts_with(record->key, STR(BUCKET_KEY_PREFIX));
}

/* A bucket's creation or deletion took effect. */
static void commit_bucket(Engine *engine, const Record *record)
{
    const Entry *entry = &record->entry;
    if (!engine_is_bucket_change(record)) return;
    Str name = str_slice(record->key, sizeof BUCKET_KEY_PREFIX - 1, record->key.len);
    Str value;
    BucketRecord bucket;
    if (entry->op == OP_DELETE) {
        buckets_remove(engine->options.buckets, name);
    } else if (bucket_name_valid(name) && attr_get(entry->attrs, ATTR_BUCKET_RECORD, &value) &&
               bucket_record_decode(value, &bucket, NULL) == OK) {
        buckets_put(engine->options.buckets, name, &bucket);
    }
    ASSERT(engine->bucket_changes > 0);
    engine->bucket_changes--;
}

/* Answers m, which waited for an lsn of shard. */
static void answer_committed(Engine *engine, EngineShard *shard, Mutation *m, ErrCode code)
{
    if (code == OK) /* a repeat */
        m->durability = engine_durability_of(engine, shard, engine_lead_member(shard), m->wait_lsn);
    engine_answer(engine, m, code);
}

/* Does what m waits for hold? What it says of an asynchronous bucket is true when that is told. */
static bool is_due(const Engine *engine, const EngineShard *shard, const Mutation *m)
{
    Lsn lsn = replica_commit_lsn(engine_lead_replica(shard));
    if (m->async) lsn = MAX(lsn, shard->told_lsn);
    if (m->wait_lsn > lsn || !engine_class_stands(engine, m)) return false;
    return m->code != OK || !m->require_all || engine_all_have(engine, shard, m->wait_lsn);
}

void engine_answer_due(Engine *engine, EngineShard *shard)
{
    Mutation **link = &shard->waiting;
    while (*link != NULL) {
        Mutation *m = *link;
        if (!is_due(engine, shard, m)) {
            link = &m->next;
            continue;
        }
        *link = m->next;
        answer_committed(engine, shard, m, m->code);
    }
}

/* What the lead commits counts, once: another that led before may have committed it. */
static void count(Engine *engine, EngineShard *shard, const Record *record)
{
    const Entry *entry = &record->entry;
    engine_count_told(shard->group, record, true);
    if (entry->lsn <= shard->counted_lsn) return;
    shard->counted_lsn = entry->lsn;
    commit_bucket(engine, record);
    engine_commit_key(engine, record);
    engine_commit_class(engine, record);
    buckets_committed(engine->options.buckets, entry->bucket, record->sealed->files_delta,
                      record->sealed->bytes_delta);
}

void engine_commit_to(Engine *engine, EngineShard *shard, EngineMember *member, Lsn lsn)
{
    EngineRoot *root = &engine->roots[member->root];
    bool leads = member->root == shard->group->lead;
    while (member->open_first != NULL && member->open_first->entry.lsn <= lsn) {
        Record *record = member->open_first;
        ASSERT(record->pos.segment != 0); /* what a replica commits is durable in its own log */
        member->open_first = record->next;
        if (member->open_first == NULL) member->open_last = NULL;
        Mutation *m = record->request;
        Lsn at = record->entry.lsn;
        if (leads) count(engine, shard, record);
        if (leads && record->told_ns != 0 && engine->options.io.told != NULL)
            engine->options.io.told(engine->options.io.ctx, record);
        record->request = NULL;
        store_committed(root->store, record); /* record may be gone from here on */
        root->committed_news = true;
        if (m == NULL) continue;
        engine_answer_after(engine, m, OK, shard->shard, at);
    }
    if (leads) engine_answer_due(engine, shard);
    engine_forget(engine, shard, member);
}

/* --- appending --- */

static bool backlog_is_full(const Engine *engine, const EngineGroup *group)
{
    const Store *store = engine_group_store(engine, group);
    return store_backlog(store) >= engine->options.backlog_max ||
           store_backlog_bytes(store) >= engine->options.backlog_bytes_max;
}

/* Roots whose disk stands still have what they were given; they are given no more. */
static bool logs_are_full(const Engine *engine)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        const EngineRoot *root = &engine->roots[r];
        if (!root->still && root->log_items >= ENGINE_LOG_MAX / 2) return true;
    }
    return false;
}

bool engine_has_room(const Engine *engine, const EngineShard *shard)
{
    return !engine->moving && replica_can_append(engine_lead_replica(shard)) &&
           !logs_are_full(engine) && !backlog_is_full(engine, shard->group);
}

/* What waits in the log takes its bytes once more where it is put, and of some of it even the log's
 * own are not yet written: measured free space knows nothing of either. */
bool engine_fits_disk(const Engine *engine, const EngineGroup *group, const Mutation *m)
{
    const Store *store = engine_group_store(engine, group);
    if (m->size == 0) return true;
    if (group->room == 0) return false;
    return 2 * (store_backlog_bytes(store) + m->inline_body.len) <= group->room;
}

ErrCode engine_append_on(Engine *engine, EngineMember *member, Entry *entry, Mutation *m, Err *err)
{
    EngineShard *shard = engine_shard(engine, entry->shard);
    replica_next(member->replica, &entry->lsn, &entry->term, &entry->prev_hash);
    entry->record_id = id128_random(&engine->rng);
    if (entry->time_ms == 0) entry->time_ms = clock_wall_ms(engine->options.clock);
    entry_seal(entry);
    Sealed *sealed = NULL;
    TRY(sealed_new(entry, &sealed, err));
    if (m != NULL) {
        sealed->files_delta = m->files_delta;
        sealed->bytes_delta = m->bytes_delta;
        buckets_appended(engine->options.buckets, entry->bucket, m->files_delta, m->bytes_delta);
    }
    Record *record = store_add(engine->roots[member->root].store, sealed);
    record->request = m;
    if (m != NULL && m->async) {
        shard->has_async = true;
        engine->has_async = true;
    }
    engine->appended += record->log_len;
    engine->appending = record;
    LogEntry place = engine_log_entry(sealed);
    Event event = {.type = EVENT_APPEND, .entry = place};
    engine_step(engine, shard, member, &event);
    sealed_drop_body(sealed);
    sealed_unref(sealed);
    return OK;
}

ErrCode engine_append(Engine *engine, Entry *entry, Mutation *m, Err *err)
{
    EngineMember *member = engine_lead_member(engine_shard(engine, entry->shard));
    ASSERT(replica_can_append(member->replica));
    return engine_append_on(engine, member, entry, m, err);
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
    m->code = code;
    if (is_due(engine, shard, m)) {
        answer_committed(engine, shard, m, code);
        return;
    }
    m->next = shard->waiting;
    shard->waiting = m;
    shard->has_async = shard->has_async || m->async;
    shard->has_whole = shard->has_whole || m->require_all;
    engine->has_async = engine->has_async || m->async;
    engine->has_whole = engine->has_whole || m->require_all;
    engine->class_waits = engine->class_waits || m->type == MUTATION_CLASS_SET;
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

void engine_root_refuses(Engine *engine, unsigned root)
{
    if (engine->options.root_count > 1) {
        engine_root_failed(engine, root);
        return;
    }
    engine->read_only = true;
    answer_stalled(engine, ERR_ROOT_FAILED);
}

bool engine_root_is_out(const Engine *engine, unsigned root)
{
    return engine->roots[root].failed || (engine->options.root_count == 1 && engine_failed(engine));
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

void engine_answer_unknown(Engine *engine, EngineShard *shard)
{
    EngineMember *member = engine_lead_member(shard);
    for (Record *record = member->open_first; record != NULL; record = record->next) {
        Mutation *m = record->request;
        record->request = NULL;
        if (m == NULL) continue;
        engine_answer(engine, m, outcome_unknown(m));
    }
    fail_waiting(engine, shard);
}

/* Whatever is appended may or may not be there after a restart. Without the system's shard nothing
 * can be changed. */
void engine_fail_group(Engine *engine, EngineGroup *group)
{
    unsigned class = 0;
    if (group->failed) return;
    group->failed = true;
    for (size_t i = 0; i < group->count; i++)
        engine_answer_unknown(engine, engine_group_shard(engine, group, i));
    if (group != engine->base) {
        if (!engine->failed) engine_tell_class_failed(group);
        return;
    }
    engine->failed = true;
    for (EngineGroup *other; (other = engine_next_group(engine, &class)) != NULL;)
        engine_fail_group(engine, other);
    answer_stalled(engine, ERR_ROOT_FAILED);
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

void engine_free_usage(Engine *engine)
{
    if (!engine->usage_kept) return;
    engine->usage_kept = false;
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++) {
        OMap *usage = TAKE(engine->roots[r].usage);
        const OMapNode *node = usage == NULL ? NULL : omap_first(usage, (Str){NULL, 0});
        for (; node != NULL; node = omap_next(node))
            mem_free(omap_value(node));
        omap_free(usage);
    }
}

/* Of the buckets that a group leads; everything that was replayed is committed, and nothing is new
 * yet. */
void engine_set_usage(Engine *engine, const EngineGroup *group)
{
    const OMap *usage = engine->roots[group->lead].usage;
    const OMapNode *node = usage == NULL ? NULL : omap_first(usage, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        BucketUid uid = 0;
        BucketRecord bucket;
        memcpy(&uid, omap_key(node).ptr, sizeof uid);
        bool there = buckets_by_uid(engine->options.buckets, uid, &bucket);
        if (there && engine->groups[bucket.placement_class] == group)
            buckets_set_usage(engine->options.buckets, uid, omap_value(node));
    }
}

static void note_usage(void *ctx, BucketUid uid, const BucketStatRow *usage)
{
    EngineRoot *root = ctx;
    BucketStatRow *copy = mem_new(sizeof *copy);
    *copy = *usage;
    void *before = omap_put(root->usage, str_of(&uid, sizeof uid), copy);
    ASSERT(before == NULL);
}

/* What the system's records say. */
static ErrCode load_system(Engine *engine, Err *err)
{
    StoreReader *reader = engine_system_reader(engine);
    const EngineOptions *o = &engine->options;
    ErrCode code = buckets_load(o->buckets, reader, err);
    if (code == OK) code = classes_load(o->classes, reader, err);
    if (code == OK) engine_set_usage(engine, engine->base);
    if (code == OK) code = engine_count_uploads(engine, engine->base, err);
    engine->base->stood = code == OK;
    if (code != OK) LOG(ERROR, "engine.buckets_failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    TRY(code);
    engine->groups_due = true;
    engine->groups_until_ns = clock_boot_ns(o->clock) + GROUPS_NS;
    if (o->keys == NULL) return OK;
    code = keys_load(o->keys, reader, err);
    if (code != OK) LOG(ERROR, "engine.keys_failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    return code;
}

/* All shards are primary: bucket names, then the bucket that exists from the start. */
static void become_ready(Engine *engine)
{
    if (engine->ready || engine->failed || !engine_lead_stands(engine, engine->base)) return;
    if (!engine->first_bucket_asked) {
        Err err = {0};
        engine->first_bucket_asked = true;
        if (load_system(engine, &err) != OK) {
            engine->failed = true;
            return;
        }
        engine->first_bucket_done = buckets_count(engine->options.buckets) > 0;
        if (!engine->first_bucket_done) {
            engine->in_flight++;
            engine_decide(engine, &engine->first_bucket);
        }
    }
    if (engine->groups_due) engine_ask_groups(engine);
    if (!engine->first_bucket_done || !engine_may_read(engine)) return;
    if (!engine_groups_settled(engine)) return;
    engine->ready = true;
}

/* Of all groups: nothing could go on. */
static bool backlogs_are_full(const Engine *engine)
{
    unsigned class = 0;
    for (const EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        if (!backlog_is_full(engine, group)) return false;
    }
    return true;
}

static void let_on(Engine *engine)
{
    if (backlogs_are_full(engine) || logs_are_full(engine)) return;
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

/* Whoever made a class waits until it stands. */
static void answer_classes(Engine *engine)
{
    EngineShard *system = engine_shard(engine, SHARD_SYSTEM);
    engine->class_waits = false;
    engine_answer_due(engine, system);
    for (const Mutation *m = system->waiting; m != NULL; m = m->next)
        engine->class_waits = engine->class_waits || m->type == MUTATION_CLASS_SET;
}

void engine_turn(Engine *engine)
{
    engine_mail_due(engine);
    engine_step_stored(engine);
    engine_pump(engine);
    engine_tell(engine);
    engine_answer_whole(engine);
    engine_move_on(engine);
    become_ready(engine);
    engine_groups_stand(engine);
    if (engine->groups_due && engine->ready) engine_ask_groups(engine);
    if (engine->class_waits) answer_classes(engine);
    if (engine->stalled_first != NULL) let_on(engine);
    engine_pump(engine);
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        if (!engine->roots[r].committed_news) continue;
        engine->roots[r].committed_news = false;
        engine->options.io.committed(engine->options.io.ctx, r);
    }
}

/* Something that stays, if small. */
static bool makes_record(const Mutation *m)
{
    return m->type == MUTATION_BUCKET_CREATE || m->type == MUTATION_TAG ||
           m->type == MUTATION_KEY_CREATE || m->type == MUTATION_CLASS_SET;
}

static void submit_one(Engine *engine, Mutation *m)
{
    engine->in_flight++;
    m->since_ns = clock_boot_ns(engine->options.clock);
    ErrCode code = OK;
    if (engine->draining)
        code = ERR_SHUTTING_DOWN;
    else if (engine_failed(engine))
        code = ERR_ROOT_FAILED;
    else if (!engine->ready)
        code = ERR_NOT_READY;
    else if (engine->base->room == 0 && makes_record(m))
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

void engine_set_room(Engine *engine, unsigned class, uint64_t room)
{
    if (engine->groups[class] != NULL) engine->groups[class]->room = room;
}

uint64_t engine_appended(const Engine *engine)
{
    return engine->appended;
}

void engine_drain(Engine *engine)
{
    engine->draining = true;
}

void engine_give_up(Engine *engine)
{
    engine_drain(engine);
    answer_stalled(engine, ERR_SHUTTING_DOWN);
}

size_t engine_in_flight(const Engine *engine)
{
    return engine->in_flight;
}

bool engine_idle(const Engine *engine)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        if (engine->roots[r].log_items > 0 && !engine->roots[r].still) return false;
    }
    return engine->in_flight == 0;
}

bool engine_ready(const Engine *engine)
{
    return engine->ready;
}

bool engine_failed(const Engine *engine)
{
    return engine->failed || engine->read_only;
}

/* --- life --- */

/* replica_size(), aligned as a Replica wants it. */
static size_t replica_stride(void)
{
    return (replica_size() + 15) / 16 * 16;
}

static void add_shard(Engine *engine, EngineGroup *group, ShardId id)
{
    EngineShard *shard = mem_new(sizeof *shard);
    size_t stride = replica_stride();
    size_t before = group->count * engine->options.root_count;
    ASSERT(engine->shard_count < ENGINE_SHARDS_MAX);
    shard->shard = id;
    shard->group = group;
    engine_members_init(engine, shard, group->replicas + before * stride, stride);
    engine->shards[id] = shard;
    engine->shard_list[engine->shard_count++] = id;
    group->count++;
}

EngineGroup *engine_group_new(Engine *engine, const PlacementClass *rules, bool system)
{
    EngineGroup *group = mem_new(sizeof *group);
    size_t shards = (size_t)rules->shard_count + system;
    group->rules = *rules;
    group->room = UINT64_MAX;
    group->first = engine->shard_count;
    group->replicas = mem_new_array(shards * engine->options.root_count, replica_stride());
    if (system) add_shard(engine, group, SHARD_SYSTEM);
    if (system) engine->groups[PLACE_CLASS_SYSTEM] = group;
    for (unsigned i = 0; i < rules->shard_count; i++)
        add_shard(engine, group, shard_id(rules->number, i));
    engine->groups[rules->number] = group;
    return group;
}

static ErrCode open_roots(Engine *engine, Err *err)
{
    ASSERT(engine->options.root_count >= 1 && engine->options.root_count <= ENGINE_ROOTS_MAX);
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        EngineRoot *root = &engine->roots[r];
        root->store = engine->options.stores[r];
        TRY(store_reader_open(root->store, &root->reader, err));
    }
    return OK;
}

ErrCode engine_open(const EngineOptions *options, Engine **out, Err *err)
{
    TRY(placement_class_check(&options->standard, err));
    AUTO(Engine, engine_free) engine = mem_new(sizeof *engine);
    engine->options = *options;
    EngineOptions *o = &engine->options;
    if (o->roots_max == 0) o->roots_max = ENGINE_ROOTS_MAX;
    if (o->copies == 0) o->copies = o->root_count;
    if (o->backlog_max == 0) o->backlog_max = STORE_BACKLOG_MAX;
    if (o->backlog_bytes_max == 0) o->backlog_bytes_max = STORE_BACKLOG_BYTES_MAX;
    if (o->async_lag.entries == 0) o->async_lag = ENGINE_LAG_DEFAULT;
    rng_init(&engine->rng, options->seed);
    TRY(open_roots(engine, err));
    if (o->classes == NULL) engine->own_classes = classes_new(&options->standard);
    if (o->classes == NULL) o->classes = engine->own_classes;
    engine->base = engine_group_new(engine, &options->standard, true);
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
        engine_members_free(engine, shard);
        mem_free(shard);
    }
    engine_mail_free(engine);
    engine_free_usage(engine);
    unsigned class = 0;
    for (EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        mem_free(group->replicas);
        mem_free(group);
    }
    classes_free(engine->own_classes);
    mutation_deinit(&engine->first_bucket);
    for (unsigned r = 0; r < engine->options.root_count; r++)
        store_reader_free(engine->roots[r].reader);
    control_job_free(engine->control_next);
    mem_free(engine);
}

/* Rows for the shards that have none, all in one transaction. */
static ErrCode make_configs(Engine *engine, Err *err)
{
    size_t count = 0;
    AUTO(void, mem_free) memory = mem_new_array(engine->shard_count, sizeof(ControlShard));
    ControlShard *rows = memory;
    for (size_t i = 0; i < engine->shard_count; i++) {
        ShardConfig config;
        bool found = false;
        TRY(control_get(engine->options.control, engine->shard_list[i], &config, &found, err));
        if (found) continue;
        rows[count++] = (ControlShard){
            .shard = engine->shard_list[i],
            .config = engine_first_config(engine, &engine->options.standard)};
    }
    return count == 0 ? OK : control_cas(engine->options.control, rows, count, err);
}

static ErrCode restart_shard(Engine *engine, EngineShard *shard, Err *err)
{
    ShardConfig config;
    bool found = false;
    TRY(control_get(engine->options.control, shard->shard, &config, &found, err));
    if (!found) return err_set(err, ERR_CORRUPT, "shard %u has no configuration", shard->shard);
    for (unsigned r = 0; r < engine->options.root_count; r++)
        TRY(engine_member_restart(engine, shard, &shard->on[r], &config, err));
    return OK;
}

static ErrCode stand(Engine *engine, EngineShard *shard, Err *err)
{
    engine_stand(engine, shard);
    if (engine->options.root_count > 1) return OK; /* a tick repeats it */
    if (replica_role(shard->on[0].replica) == ROLE_CANDIDATE) return OK;
    return err_set(err, ERR_FOREIGN,
                   "shard %u: by the control store this root may not be its primary; "
                   "control.json may be another directory's; moved away, it is made again",
                   shard->shard);
}

ErrCode engine_start(Engine *engine, Err *err)
{
    TRY(make_configs(engine, err));
    for (size_t i = 0; i < engine->shard_count; i++)
        TRY(restart_shard(engine, engine->shards[engine->shard_list[i]], err));
    unsigned lead = 0;
    bool found = engine_choose_lead(engine, engine->base, &lead);
    ASSERT(found);
    engine_take_lead(engine, engine->base, lead);
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        EngineRoot *root = &engine->roots[r];
        if (store_is_remade(root->store))
            LOG_TO(OPERATIONS, WARN, "root.index_remade", "root=%u seeded=%d", r,
                   (int)(root->suspects > 0));
        root->usage = omap_new(rng_u64(&engine->rng));
        engine->usage_kept = true;
        TRY(store_usage(root->store, note_usage, root, err));
    }
    for (size_t i = 0; i < engine->shard_count; i++)
        TRY(stand(engine, engine->shards[engine->shard_list[i]], err));
    if (engine->options.root_count == 1) {
        ErrCode code = engine_control_now(engine, err);
        if (code != OK) return err_wrap(err, code, "take the primary role in the control store");
    }
    engine_pump(engine);
    return OK;
}
