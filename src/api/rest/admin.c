/* What administrators ask: the state of the node, its log and its shards. */
#include "api/rest/rest_priv.h"

#include <unistd.h>

#include "service/uploads.h"

#define ADMIN_JSON_MAX (1 * MIB)
#define SHARDS_JSON_MAX (4 * MIB)

static void root_json(JsonWriter *json, Service *service)
{
    const RootInfo *root = store_root(service_store(service));
    char uuid[37];
    json_write_key(json, "root");
    json_write_object_begin(json);
    uuid_text(root->uuid, uuid);
    json_member_cstr(json, "uuid", uuid);
    uuid_text(root->cluster, uuid);
    json_member_cstr(json, "cluster", uuid);
    json_member_u64(json, "incarnation", root->incarnation);
    json_member_time_ms(json, "created_at", root->created_ms);
    json_write_object_end(json);
}

void rest_risk_json(JsonWriter *json, const RiskCounts *risk)
{
    json_write_key(json, "risk");
    json_write_object_begin(json);
    json_member_u64(json, "files", risk->files);
    json_member_u64(json, "places", risk->places);
    json_member_u64(json, "index_places", risk->index_places);
    json_member_u64(json, "unlisted", risk->unlisted);
    json_write_object_end(json);
}

void rest_store_json(JsonWriter *json, const StoreStatus *status, const RiskCounts *risk)
{
    json_write_key(json, "disk");
    json_write_object_begin(json);
    json_member_u64(json, "total_bytes", status->disk_total);
    json_member_u64(json, "free_bytes", status->disk_free);
    json_write_object_end(json);
    rest_risk_json(json, risk);
    json_write_key(json, "store");
    json_write_object_begin(json);
    json_member_u64(json, "unapplied_records", status->unapplied);
    json_member_u64(json, "applied_records", status->applied);
    json_member_bool(json, "failed", status->failed);
    json_write_object_end(json);
}

static void limits_json(JsonWriter *json, const RestLimits *limits)
{
    json_write_key(json, "limits");
    json_write_object_begin(json);
    json_member_u64(json, "connections", limits->connections);
    json_member_u64(json, "requests", limits->requests);
    json_member_u64(json, "buffers", limits->buffers);
    json_member_u64(json, "queue", limits->queue);
    json_member_u64(json, "open_files", limits->open_files);
    json_member_u64(json, "memory_bytes", limits->memory_bytes);
    json_member_u64(json, "memory_of_bytes", limits->memory_of);
    json_write_object_end(json);
}

static void uploads_json(JsonWriter *json, ServiceReader *reader)
{
    BucketStatRow stat = {0};
    if (service_uploads_stat(reader, &stat, NULL) != OK) stat = (BucketStatRow){0};
    json_write_key(json, "uploads");
    json_write_object_begin(json);
    json_member_u64(json, "open", stat.files);
    json_member_u64(json, "bytes", stat.bytes);
    json_write_object_end(json);
}

void rest_admin_status(RestCall *call)
{
    Rest *rest = call->rest;
    ServiceReader *reader = NULL;
    if (!rest_reader(call, &reader)) return;
    StoreStatus status;
    uint64_t now_ms = clock_wall_ms(rest->options.clock);
    store_status(service_store(call->service), &status);
    AUTO_BUF(body, ADMIN_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_cstr(&json, "version", HOLDFAST_VERSION);
    json_member_u64(&json, "pid", (uint64_t)getpid());
    json_member_time_ms(&json, "started_at", rest->started_ms);
    json_member_u64(&json, "uptime_s",
                    now_ms < rest->started_ms ? 0 : (now_ms - rest->started_ms) / 1000);
    json_member_bool(&json, "draining", atomic_load(&rest->draining));
    json_member_bool(&json, "failed", rest->node.failed(rest->node.ctx));
    rest_cause_json(rest, &json);
    root_json(&json, call->service);
    RestRoot roots[ENGINE_ROOTS_MAX];
    RiskCounts risk = rest_risk_counts(roots, rest->node.roots(rest->node.ctx, roots));
    rest_store_json(&json, &status, &risk);
    json_member_u64(&json, "buckets", buckets_count(service_buckets(call->service)));
    uploads_json(&json, reader);
    json_member_u64(&json, "shards", rest->node.shards(rest->node.ctx, NULL, 0));
    json_member_u64(&json, "writes_in_flight", rest->node.in_flight(rest->node.ctx));
    json_member_u64(&json, "connections", http_server_connections(http_request_server(call->req)));
    json_member_u64(&json, "replayed_records", atomic_load(&rest->records));
    json_member_u64(&json, "replayed_bytes", atomic_load(&rest->bytes));
    limits_json(&json, &rest->options.limits);
    rest_copies_json(call, &json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

static void position_json(JsonWriter *json, const char *key, WalPos pos)
{
    json_write_key(json, key);
    json_write_object_begin(json);
    json_member_u64(json, "segment", pos.segment);
    json_member_u64(json, "offset", pos.offset);
    json_write_object_end(json);
}

void rest_admin_wal(RestCall *call)
{
    StoreStatus status;
    store_status(service_store(call->service), &status);
    const WalStats *wal = &status.wal;
    AUTO_BUF(body, ADMIN_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_u64(&json, "first_segment", wal->first_segment);
    json_member_u64(&json, "active_segment", wal->active_segment);
    json_member_u64(&json, "active_bytes", wal->active_bytes);
    json_member_u64(&json, "segment_bytes", wal->segment_bytes);
    json_member_u64(&json, "spares", wal->spares);
    json_member_u64(&json, "appended_records", wal->appended);
    json_member_u64(&json, "syncs", wal->syncs);
    position_json(&json, "durable", wal->durable);
    position_json(&json, "attested", wal->attested);
    json_member_u64(&json, "unapplied_records", status.unapplied);
    json_member_u64(&json, "replayed_records", atomic_load(&call->rest->records));
    json_member_u64(&json, "replayed_bytes", atomic_load(&call->rest->bytes));
    json_member_bool(&json, "failed", wal->failed);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

/* Uuids of the roots of this server for which is() holds. */
static void roots_json(JsonWriter *json, const char *key, const EngineShardStatus *shard,
                       const RestRoot *roots, size_t count, bool (*is)(const EngineCopy *copy))
{
    json_write_key(json, key);
    json_write_array_begin(json);
    for (size_t r = 0; r < count; r++) {
        char uuid[37];
        if (!is(&shard->copies[r])) continue;
        uuid_text(store_root(roots[r].store)->uuid, uuid);
        json_write_cstr(json, uuid);
    }
    json_write_array_end(json);
}

static bool is_member(const EngineCopy *copy)
{
    return copy->is_member;
}

static bool is_in_sync(const EngineCopy *copy)
{
    return copy->in_sync;
}

static bool is_electable(const EngineCopy *copy)
{
    return copy->electable;
}

static void members_json(JsonWriter *json, const EngineShardStatus *shard, const RestRoot *roots,
                         size_t count)
{
    uint64_t lag = 0;
    for (size_t r = 0; r < count; r++)
        lag = MAX(lag, shard->copies[r].lag_entries);
    json_member_u64(json, "needed", shard->min_isr);
    json_member_u64(json, "lag_entries", lag);
    roots_json(json, "members", shard, roots, count, is_member);
    roots_json(json, "isr", shard, roots, count, is_in_sync);
    roots_json(json, "elr", shard, roots, count, is_electable);
}

void rest_admin_shards(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    size_t max = ENGINE_SHARDS_MAX;
    AUTO(void, mem_free) memory = mem_new_array(max, sizeof(EngineShardStatus));
    EngineShardStatus *shards = memory;
    size_t count = MIN(max, node->shards(node->ctx, shards, max));
    RestRoot roots[ENGINE_ROOTS_MAX];
    size_t root_count = node->roots(node->ctx, roots);
    AUTO_BUF(body, SHARDS_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "shards");
    json_write_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        json_write_object_begin(&json);
        json_member_u64(&json, "shard", shards[i].shard);
        json_member_u64(&json, "class", shard_class(shards[i].shard));
        json_member_u64(&json, "number", shard_number(shards[i].shard));
        json_member_cstr(&json, "role", replica_role_name(shards[i].role));
        json_member_u64(&json, "term", shards[i].term);
        json_member_u64(&json, "last_lsn", shards[i].last_lsn);
        json_member_u64(&json, "durable_lsn", shards[i].durable_lsn);
        json_member_u64(&json, "commit_lsn", shards[i].commit_lsn);
        json_member_u64(&json, "config_version", shards[i].config_version);
        members_json(&json, &shards[i], roots, root_count);
        json_write_object_end(&json);
    }
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}
