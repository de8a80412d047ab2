/* What administrators ask: the state of the node, its log and its shards. */
#include "api/rest/rest_priv.h"

#include <unistd.h>

#define ADMIN_JSON_MAX (1 * MIB)

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

static void store_json(JsonWriter *json, const StoreStatus *status, const Risk *risk)
{
    json_write_key(json, "disk");
    json_write_object_begin(json);
    json_member_u64(json, "total_bytes", status->disk_total);
    json_member_u64(json, "free_bytes", status->disk_free);
    json_write_object_end(json);
    json_write_key(json, "risk");
    json_write_object_begin(json);
    json_member_u64(json, "files", risk_files(risk));
    json_member_u64(json, "places", risk_places(risk));
    json_member_u64(json, "index_places", risk_index_places(risk));
    json_member_u64(json, "unlisted", risk_unlisted(risk));
    json_write_object_end(json);
    json_write_key(json, "store");
    json_write_object_begin(json);
    json_member_u64(json, "unapplied_records", status->unapplied);
    json_member_u64(json, "applied_records", status->applied);
    json_member_bool(json, "failed", status->failed);
    json_write_object_end(json);
}

void rest_admin_status(RestCall *call)
{
    Rest *rest = call->rest;
    StoreStatus status;
    Durability d = service_durability(call->service);
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
    store_json(&json, &status, store_risk(service_store(call->service)));
    json_member_u64(&json, "buckets", buckets_count(service_buckets(call->service)));
    json_member_u64(&json, "shards", rest->node.shards(rest->node.ctx, NULL, 0));
    json_member_u64(&json, "writes_in_flight", rest->node.in_flight(rest->node.ctx));
    json_member_u64(&json, "connections", http_server_connections(http_request_server(call->req)));
    json_member_u64(&json, "replayed_records", atomic_load(&rest->records));
    json_member_u64(&json, "replayed_bytes", atomic_load(&rest->bytes));
    json_write_key(&json, "durability");
    json_write_object_begin(&json);
    json_member_u64(&json, "copies", d.copies);
    json_member_u64(&json, "disks", d.disks);
    json_member_u64(&json, "zones", d.zones);
    json_write_object_end(&json);
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

void rest_admin_shards(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    size_t max = PLACE_SHARDS_MAX + 1;
    AUTO(void, mem_free) memory = mem_new_array(max, sizeof(EngineShardStatus));
    EngineShardStatus *shards = memory;
    size_t count = MIN(max, node->shards(node->ctx, shards, max));
    AUTO_BUF(body, ADMIN_JSON_MAX);
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
        json_write_object_end(&json);
    }
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}
