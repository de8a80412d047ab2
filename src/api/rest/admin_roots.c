/* The storage roots as administrators see them, the copies of each shard, and what may be asked
 * for: that another root leads, that one is left out. */
#include "api/rest/rest_priv.h"

#include <sys/sysmacros.h>

#define ROOTS_JSON_MAX (64 * KIB)
#define REPLICAS_JSON_MAX (4 * MIB)
#define MS_PER_S 1000
#define NS_PER_S UINT64_C(1000000000)

/* --- one root --- */

static const char *verdict_of(const RestRoot *root)
{
    if (root->evicted) return "evicted";
    if (root->out) return "failed";
    if (!root->in_sync) return "behind";
    return root->full ? "full" : "ok";
}

static void member_maybe(JsonWriter *json, const char *key, bool known, uint64_t value)
{
    json_write_key(json, key);
    if (known)
        json_write_u64(json, value);
    else
        json_write_null(json);
}

static void member_uuid(JsonWriter *json, const char *key, Uuid uuid)
{
    char text[37];
    uuid_text(uuid, text);
    json_member_cstr(json, key, text);
}

/* What names it and says how it is: of a list of all, or of those that are out. */
static void brief_members(JsonWriter *json, const RestRoot *root)
{
    json_member_cstr(json, "directory", root->directory);
    member_uuid(json, "uuid", store_root(root->store)->uuid);
    json_member_cstr(json, "verdict", verdict_of(root));
    json_write_key(json, "cause");
    if (root->out)
        json_write_cstr(json, err_text(&root->cause));
    else
        json_write_null(json);
}

static void lag_json(JsonWriter *json, const RestRoot *root)
{
    json_write_key(json, "lag");
    json_write_object_begin(json);
    json_member_u64(json, "entries", root->lag_entries);
    member_maybe(json, "bytes", root->lag_known, root->lag_bytes);
    json_member_u64(json, "seconds", (root->lag_ms + MS_PER_S - 1) / MS_PER_S);
    json_write_object_end(json);
}

static void log_json(JsonWriter *json, const RestRoot *root)
{
    bool ever = root->synced_ms != UINT64_MAX;
    json_write_key(json, "log");
    json_write_object_begin(json);
    member_maybe(json, "last_sync_age_ms", ever, root->synced_ms);
    json_member_u64(json, "sync_waits_ms", root->sync_age_ms);
    json_member_u64(json, "sync_p99_ms", root->sync_p99_ms);
    json_write_object_end(json);
}

static void root_json(JsonWriter *json, const RestRoot *root)
{
    StoreStatus status;
    char device[32];
    store_status(root->store, &status);
    snprintf(device, sizeof device, "%u:%u", major(root->device), minor(root->device));
    json_write_object_begin(json);
    brief_members(json, root);
    json_member_u64(json, "incarnation", store_root(root->store)->incarnation);
    json_member_cstr(json, "device", device);
    json_member_bool(json, "leads", root->leads);
    json_member_bool(json, "in_sync", root->in_sync);
    json_member_bool(json, "full", root->full);
    lag_json(json, root);
    log_json(json, root);
    RiskCounts risk = rest_risk_counts(root, 1);
    rest_store_json(json, &status, &risk);
    json_write_key(json, "scrub");
    rest_scrub_json(json, root->scrub);
    json_write_object_end(json);
}

static void async_json(JsonWriter *json, const EngineAsync *async, const ConfirmStatus *confirm)
{
    json_write_key(json, "async");
    json_write_object_begin(json);
    json_member_u64(json, "entries", async->entries);
    json_member_u64(json, "bytes", async->bytes);
    json_member_u64(json, "seconds", (async->age_ns + NS_PER_S - 1) / NS_PER_S);
    json_member_u64(json, "total", async->told);
    json_member_u64(json, "confirmed", confirm->confirmed);
    json_member_u64(json, "unconfirmed", confirm->unconfirmed);
    json_member_u64(json, "unread", confirm->replaced + confirm->passed_over);
    json_write_object_end(json);
}

void rest_admin_roots(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    RestCopies copies;
    size_t count = node->roots(node->ctx, roots);
    Durability d = service_durability(call->service, PLACE_CLASS_STANDARD);
    node->copies(node->ctx, &copies);
    AUTO_BUF(body, ROOTS_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_u64(&json, "synced", d.synced);
    json_member_u64(&json, "copies", d.copies);
    json_member_u64(&json, "needed", copies.needed);
    json_member_u64(&json, "disks", d.disks);
    json_member_u64(&json, "lead_moves", copies.lead_moves);
    async_json(&json, &copies.async, &copies.confirm);
    json_write_key(&json, "roots");
    json_write_array_begin(&json);
    for (size_t i = 0; i < count; i++)
        root_json(&json, &roots[i]);
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

const char *rest_class_failed(RestCall *call, unsigned roots, unsigned *class, ClassInfo *out)
{
    while (++*class < CLASSES_MAX) {
        ServiceClass now = service_class_now(call->service, *class);
        if (!now.there || !now.failed) continue;
        if (roots != 0 && (now.members & roots) == 0) continue;
        Classes *classes = service_classes(call->service);
        if (classes != NULL && classes_get(classes, *class, out)) return out->name;
    }
    return NULL;
}

static void failed_json(RestCall *call, JsonWriter *json)
{
    unsigned class = 0;
    ClassInfo info;
    const char *name = NULL;
    json_write_key(json, "classes_failed");
    json_write_array_begin(json);
    while ((name = rest_class_failed(call, 0, &class, &info)) != NULL)
        json_write_cstr(json, name);
    json_write_array_end(json);
}

void rest_copies_json(RestCall *call, JsonWriter *json)
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    RestCopies copies;
    size_t count = node->roots(node->ctx, roots);
    Durability d = service_durability(call->service, PLACE_CLASS_STANDARD);
    node->copies(node->ctx, &copies);
    json_write_key(json, "durability");
    json_write_object_begin(json);
    json_member_u64(json, "synced", d.synced);
    json_member_u64(json, "copies", d.copies);
    json_member_u64(json, "needed", copies.needed);
    json_member_u64(json, "disks", d.disks);
    json_member_u64(json, "zones", d.zones);
    json_write_object_end(json);
    json_write_key(json, "roots");
    json_write_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        json_write_object_begin(json);
        brief_members(json, &roots[i]);
        RiskCounts risk = rest_risk_counts(&roots[i], 1);
        rest_risk_json(json, &risk);
        json_write_object_end(json);
    }
    json_write_array_end(json);
    failed_json(call, json);
}

/* --- the copies of each shard --- */

static void copy_json(JsonWriter *json, const EngineShardStatus *shard, const EngineCopy *copy,
                      const RestRoot *root, uint64_t now_ms)
{
    json_write_object_begin(json);
    json_member_u64(json, "shard", shard->shard);
    member_uuid(json, "root", store_root(root->store)->uuid);
    json_member_cstr(json, "role", replica_role_name(copy->role));
    json_member_u64(json, "term", copy->term);
    json_member_u64(json, "last_lsn", copy->last_lsn);
    json_member_u64(json, "durable_lsn", copy->durable_lsn);
    json_member_u64(json, "commit_lsn", copy->commit_lsn);
    json_member_bool(json, "member", copy->is_member);
    json_member_bool(json, "in_sync", copy->in_sync && !root->out);
    json_member_bool(json, "electable", copy->electable);
    json_write_key(json, "lag");
    json_write_object_begin(json);
    json_member_u64(json, "entries", copy->lag_entries);
    member_maybe(json, "bytes", copy->lag_known, copy->lag_bytes);
    uint64_t ms = now_ms - MIN(now_ms, copy->lag_from_ms);
    member_maybe(json, "seconds", copy->lag_known,
                 copy->lag_from_ms == 0 ? 0 : (ms + MS_PER_S - 1) / MS_PER_S);
    json_write_object_end(json);
    json_write_object_end(json);
}

void rest_admin_replicas(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    size_t max = ENGINE_SHARDS_MAX;
    AUTO(void, mem_free) memory = mem_new_array(max, sizeof(EngineShardStatus));
    EngineShardStatus *shards = memory;
    size_t count = MIN(max, node->shards(node->ctx, shards, max));
    size_t root_count = node->roots(node->ctx, roots);
    uint64_t now_ms = clock_wall_ms(call->rest->options.clock);
    AUTO_BUF(body, REPLICAS_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "replicas");
    json_write_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        for (size_t r = 0; r < root_count; r++) {
            const EngineCopy *copy = &shards[i].copies[r];
            if (copy->is_member || copy->is_learner)
                copy_json(&json, &shards[i], copy, &roots[r], now_ms);
        }
    }
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

/* --- actions --- */

typedef struct {
    RestCall *call;
    LoopWork work;
    RestAction action;
    unsigned root;
    ErrCode code;
    Err err;
} Act;

static void act(void *arg)
{
    Act *act = arg;
    const RestNode *node = &act->call->rest->node;
    act->code = node->act(node->ctx, act->action, act->root, &act->err);
}

static void acted(void *arg)
{
    Act *act = arg;
    if (act->code != OK) {
        rest_answer_error(act->call, act->code, &act->err);
        return;
    }
    act->call->changed = true;
    rest_admin_roots(act->call);
}

/* Which root the address names. */
static ErrCode find_root(RestCall *call, unsigned *out, Err *err)
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    Uuid wanted;
    size_t count = node->roots(node->ctx, roots);
    bool valid = uuid_parse(call->match.params[0], &wanted);
    for (unsigned i = 0; i < count && valid; i++) {
        if (!id128_eq(store_root(roots[i].store)->uuid, wanted)) continue;
        *out = i;
        return OK;
    }
    return err_set(err, ERR_NOT_FOUND, "this server has no such root; /v1/admin/roots names them");
}

static void start(RestCall *call, RestAction action)
{
    Err err = {0};
    Act *act_on = arena_alloc(http_request_arena(call->req), sizeof *act_on);
    ErrCode code = act_on == NULL ? ERR_NO_MEMORY : find_root(call, &act_on->root, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    act_on->call = call;
    act_on->action = action;
    act_on->work = (LoopWork){.work = act, .done = acted, .arg = act_on};
    loop_work(http_request_loop(call->req), &act_on->work);
}

void rest_admin_hand_over(RestCall *call)
{
    start(call, REST_HAND_OVER);
}

void rest_admin_evict(RestCall *call)
{
    start(call, REST_EVICT);
}

void rest_admin_add(RestCall *call)
{
    start(call, REST_ADD);
}
