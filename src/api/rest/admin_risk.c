/* GET /v1/admin/risk?after=&limit=: what is known to be damaged. */
#include "api/rest/rest_priv.h"

#include "text/uri.h"

#define RISK_JSON_MAX (16 * MIB)
#define RISK_LIMIT_MAX 1000

typedef struct {
    RiskCursor cursor;
    size_t limit;
} RiskQuery;

static ErrCode parameter(RestCall *call, Str name, Str *value, Err *err)
{
    bool found = false;
    *value = (Str){NULL, 0};
    return uri_query_get(http_request_arena(call->req), http_request_query(call->req), name, &found,
                         value, err);
}

/* The token of a page is the place in the list, in hex. */
static ErrCode read_query(RestCall *call, RiskQuery *query, Err *err)
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
    query->cursor.len = after.len / 2;
    if (after.len > 2 * sizeof query->cursor.key ||
        !hex_decode(after, query->cursor.key, query->cursor.len)) {
        return err_set(err, ERR_INVALID, "after is not what an answer gave as next");
    }
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

static void entry_json(JsonWriter *json, RestCall *call, const RiskEntry *entry)
{
    bool is_file = !id128_is_zero(entry->file);
    json_write_object_begin(json);
    json_member_cstr(json, "kind", is_file ? "file" : "place");
    if (is_file) file_json(json, call, entry);
    json_member_cstr(json, "cause", risk_cause_name(entry->cause));
    json_member_cstr(json, "place", entry->place);
    json_member_u64(json, "offset", entry->offset);
    json_member_cstr(json, "detail", entry->detail);
    json_member_time_ms(json, "since", entry->since_ms);
    json_member_time_ms(json, "last_seen", entry->seen_ms);
    json_write_object_end(json);
}

/* The page's entries; the cursor stands on the last of them. */
static void entries_json(JsonWriter *json, RestCall *call, RiskQuery *query, bool *more)
{
    Risk *risk = store_risk(service_store(call->service));
    RiskCursor ahead = query->cursor;
    RiskEntry entry;
    size_t count = 0;
    *more = false;
    json_write_key(json, "entries");
    json_write_array_begin(json);
    while (!*more && risk_next(risk, &ahead, &entry)) {
        *more = count++ == query->limit;
        if (*more) break;
        query->cursor = ahead;
        entry_json(json, call, &entry);
    }
    json_write_array_end(json);
}

void rest_admin_risk(RestCall *call)
{
    Err err = {0};
    RiskQuery query = {.limit = 0};
    bool more = false;
    ErrCode code = read_query(call, &query, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    Risk *risk = store_risk(service_store(call->service));
    AUTO_BUF(body, RISK_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_u64(&json, "files", risk_files(risk));
    json_member_u64(&json, "places", risk_places(risk));
    json_member_u64(&json, "unlisted", risk_unlisted(risk));
    entries_json(&json, call, &query, &more);
    json_write_key(&json, "next");
    if (more) {
        char token[2 * RISK_CURSOR_MAX + 1];
        hex_encode(query.cursor.key, query.cursor.len, token);
        json_write_cstr(&json, token);
    } else {
        json_write_null(&json);
    }
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}
