/* GET /v1/admin/risk?after=&limit=: what is known to be damaged, on all roots. */
#include "api/rest/rest_priv.h"

#include <string.h>

#include "text/uri.h"

#define RISK_JSON_MAX (16 * MIB)
#define RISK_LIMIT_MAX 1000

static ErrCode parameter(RestCall *call, Str name, Str *value, Err *err)
{
    bool found = false;
    *value = (Str){NULL, 0};
    return uri_query_get(http_request_arena(call->req), http_request_query(call->req), name, &found,
                         value, err);
}

/* The token of a page is the number of a root, one byte, and the place in its list, in hex. */
ErrCode rest_risk_query(RestCall *call, RiskQuery *query, Err *err)
{
    Str after;
    Str limit;
    uint64_t number = RISK_LIMIT_MAX;
    TRY(parameter(call, STR("after"), &after, err));
    TRY(parameter(call, STR("limit"), &limit, err));
    if (limit.ptr != NULL && (!str_to_u64(limit, RISK_LIMIT_MAX, &number) || number == 0)) {
        return err_set(err, ERR_INVALID, "limit is not a number from 1 to %d", RISK_LIMIT_MAX);
    }
    query->limit = (size_t)number;
    if (after.len == 0) return OK;
    uint8_t place[1 + RISK_CURSOR_MAX];
    size_t len = after.len / 2;
    if (len == 0 || len > sizeof place || !hex_decode(after, place, len)) {
        return err_set(err, ERR_INVALID, "after is not what an answer gave as next");
    }
    query->root = place[0];
    query->cursor.len = len - 1;
    memcpy(query->cursor.key, place + 1, len - 1);
    return OK;
}

static void file_json(JsonWriter *json, RestCall *call, const RiskEntry *entry)
{
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    char bucket[BUCKET_NAME_MAX + 1];
    id128_text(entry->file, id);
    version_id_text(entry->version, version);
    json_member_cstr(json, "id", id);
    json_write_key(json, "bucket"); /* null: the system's own records, or a bucket that is gone */
    if (buckets_name(service_buckets(call->service), entry->bucket, bucket))
        json_write_cstr(json, bucket);
    else
        json_write_null(json);
    json_member_str(json, "key", str_of(entry->key, entry->key_len));
    json_member_cstr(json, "version", version);
    json_member_u64(json, "size", entry->size);
}

static void entry_json(JsonWriter *json, RestCall *call, const RestRoots *roots, unsigned r,
                       const RiskEntry *entry, RestEntryFn more)
{
    const RestRoot *root = &roots->items[r];
    bool is_file = !id128_is_zero(entry->file);
    char uuid[37];
    uuid_text(store_root(root->store)->uuid, uuid);
    json_write_object_begin(json);
    json_member_cstr(json, "kind", is_file ? "file" : "place");
    json_member_cstr(json, "root", uuid);
    json_member_cstr(json, "directory", root->directory);
    if (is_file) file_json(json, call, entry);
    json_member_cstr(json, "cause", risk_cause_name(entry->cause));
    json_member_cstr(json, "place", entry->place);
    json_member_u64(json, "offset", entry->offset);
    json_member_cstr(json, "detail", entry->detail);
    json_member_time_ms(json, "since", entry->since_ms);
    json_member_time_ms(json, "last_seen", entry->seen_ms);
    if (more != NULL) more(json, roots, r, entry);
    json_write_object_end(json);
}

static void next_json(JsonWriter *json, const RiskQuery *query, bool more)
{
    uint8_t place[1 + RISK_CURSOR_MAX];
    char token[2 * sizeof place + 1];
    json_write_key(json, "next");
    if (!more) {
        json_write_null(json);
        return;
    }
    place[0] = (uint8_t)query->root;
    memcpy(place + 1, query->cursor.key, query->cursor.len);
    hex_encode(place, 1 + query->cursor.len, token);
    json_write_cstr(json, token);
}

void rest_risk_entries(JsonWriter *json, RestCall *call, const RestRoots *roots, RiskQuery *query,
                       RestEntryFn members)
{
    RiskCursor ahead = query->cursor;
    RiskEntry entry;
    size_t count = 0;
    bool more = false;
    json_write_key(json, "entries");
    json_write_array_begin(json);
    for (unsigned r = query->root; r < roots->count && !more; r++, ahead = (RiskCursor){.len = 0}) {
        while (!more && risk_next(store_risk(roots->items[r].store), &ahead, &entry)) {
            more = count++ == query->limit;
            if (more) break;
            query->root = r;
            query->cursor = ahead;
            entry_json(json, call, roots, r, &entry, members);
        }
    }
    json_write_array_end(json);
    next_json(json, query, more);
}

RiskCounts rest_risk_counts(const RestRoot *roots, size_t count)
{
    RiskCounts sum = {0};
    for (size_t i = 0; i < count; i++) {
        const Risk *risk = store_risk(roots[i].store);
        sum.files += risk_files(risk);
        sum.places += risk_places(risk);
        sum.index_places += risk_index_places(risk);
        sum.unlisted += risk_unlisted(risk);
    }
    return sum;
}

void rest_admin_risk(RestCall *call)
{
    Err err = {0};
    RiskQuery query = {.limit = 0};
    ErrCode code = rest_risk_query(call, &query, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    const RestNode *node = &call->rest->node;
    RestRoots roots;
    roots.count = node->roots(node->ctx, roots.items);
    RiskCounts sum = rest_risk_counts(roots.items, roots.count);
    AUTO_BUF(body, RISK_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_u64(&json, "files", sum.files);
    json_member_u64(&json, "places", sum.places);
    json_member_u64(&json, "unlisted", sum.unlisted);
    rest_risk_entries(&json, call, &roots, &query, NULL);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}
