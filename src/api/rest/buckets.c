/* Buckets: PUT, GET, DELETE of one, the list of all. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define BUCKET_JSON_MAX 1024
#define BUCKETS_LIMIT 1000
#define SETTINGS_MAX 4096 /* bytes of JSON */

static void quota_json(JsonWriter *json, const char *key, uint64_t quota)
{
    json_write_key(json, key);
    if (quota == 0)
        json_write_null(json);
    else
        json_write_u64(json, quota);
}

static void bucket_json(RestCall *call, JsonWriter *json, Str name, const BucketRecord *record)
{
    BucketStatRow usage;
    buckets_usage(service_buckets(call->service), record->uid, &usage);
    json_write_object_begin(json);
    json_member_str(json, "name", name);
    json_member_time_ms(json, "created_at", record->created_ms);
    json_member_u64(json, "files", usage.files);
    json_member_u64(json, "bytes", usage.bytes);
    quota_json(json, "quota_files", record->quota_files);
    quota_json(json, "quota_bytes", record->quota_bytes);
    json_write_object_end(json);
}

static void answer_bucket(RestCall *call, int status, Str name, const BucketRecord *record)
{
    AUTO_BUF(body, BUCKET_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    bucket_json(call, &json, name, record);
    rest_answer_json(call, status, &json, &body);
}

/* PUT of a bucket that is there answers 200 with it. */
static void bucket_put_done(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (m->code == OK || m->code == ERR_BUCKET_EXISTS) {
        bool created = m->code == OK && m->created;
        if (m->code == OK) rest_durability_header(call, m->durability);
        answer_bucket(call, created ? 201 : 200, m->bucket, &m->bucket_record);
    } else {
        rest_answer_error(call, m->code, &m->err);
    }
}

/* A number, or null or 0 for none. */
static ErrCode read_quota(const json_t *value, uint64_t *out, Err *err)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value)
                        : json_is_null(value)  ? 0
                                               : -1;
    if (number < 0 || (uint64_t)number > QUOTA_MAX) {
        return err_set(err, ERR_INVALID,
                       "a quota is a whole number up to 2^53 - 1, or null for "
                       "none");
    }
    *out = (uint64_t)number;
    return OK;
}

static ErrCode read_settings(Str body, BucketSettings *out, Err *err)
{
    AUTO(json_t, json_free) settings = NULL;
    const char *name = NULL;
    json_t *value = NULL;
    if (body.len == 0) return OK;
    TRY(json_parse(body, &settings, err));
    if (!json_is_object(settings)) return err_set(err, ERR_INVALID, "settings are a JSON object");
    json_object_foreach(settings, name, value)
    {
        if (str_eq(str_from_cstr(name), STR("quota_bytes"))) {
            out->has_quota_bytes = true;
            TRY(read_quota(value, &out->quota_bytes, err));
        } else if (str_eq(str_from_cstr(name), STR("quota_files"))) {
            out->has_quota_files = true;
            TRY(read_quota(value, &out->quota_files, err));
        } else {
            return err_set(err, ERR_INVALID,
                           "\"%s\" is no setting of a bucket; there are quota_bytes and "
                           "quota_files",
                           name);
        }
    }
    return OK;
}

static void on_settings(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    RestCall *call = ctx;
    Err err = {0};
    UNUSED(req);
    if (code == OK) code = read_settings(body, &call->mutation.settings, &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_submit(call, bucket_put_done);
}

void rest_bucket_put(RestCall *call)
{
    call->mutation.type = MUTATION_BUCKET_CREATE;
    call->mutation.bucket = call->match.params[0];
    http_request_collect(call->req, SETTINGS_MAX, on_settings);
}

void rest_bucket_get(RestCall *call)
{
    Str name = call->match.params[0];
    BucketRecord record;
    if (buckets_find(service_buckets(call->service), name, &record)) {
        answer_bucket(call, 200, name, &record);
    } else {
        rest_answer_error(call, ERR_NO_BUCKET, NULL);
    }
}

static void bucket_delete_done(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (m->code != OK) {
        rest_answer_error(call, m->code, &m->err);
        return;
    }
    rest_durability_header(call, m->durability);
    rest_answer_empty(call, 204);
}

void rest_bucket_delete(RestCall *call)
{
    call->mutation.type = MUTATION_BUCKET_DELETE;
    call->mutation.bucket = call->match.params[0];
    rest_submit(call, bucket_delete_done);
}

void rest_bucket_list(RestCall *call)
{
    Buckets *buckets = service_buckets(call->service);
    bool found = false;
    Str after = {NULL, 0};
    if (!rest_query(call, STR("after"), &found, &after)) return;
    char name[BUCKET_NAME_MAX + 1];
    char last[BUCKET_NAME_MAX + 1] = "";
    BucketRecord record;
    AUTO_BUF(body, BUCKETS_LIMIT * BUCKET_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "buckets");
    json_write_array_begin(&json);
    bool more = buckets_next(buckets, after, name, &record);
    for (size_t count = 0; more && count < BUCKETS_LIMIT; count++) {
        bucket_json(call, &json, str_from_cstr(name), &record);
        memcpy(last, name, sizeof last);
        more = buckets_next(buckets, str_from_cstr(last), name, &record);
    }
    json_write_array_end(&json);
    json_write_key(&json, "next");
    if (more)
        json_write_cstr(&json, last);
    else
        json_write_null(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}
