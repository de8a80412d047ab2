/* Buckets: PUT, GET, DELETE of one, the list of all. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define BUCKET_JSON_MAX 1024
#define BUCKETS_LIMIT 1000
#define SETTINGS_MAX 4096 /* bytes of JSON */

static const char *const versioning_names[] = {
    [VERSIONING_OFF] = "off", [VERSIONING_ON] = "on", [VERSIONING_SUSPENDED] = "suspended"};

static const char *const writes_names[] = {[PLACE_SYNC] = "sync", [PLACE_ASYNC] = "async"};
static const char *const require_names[] = {
    [PLACE_REQUIRE_IN_SYNC] = "in-sync", [PLACE_REQUIRE_ALL] = "all"};

const char *rest_writes_name(PlaceMode mode)
{
    return writes_names[mode];
}

const char *rest_require_name(PlaceRequire require)
{
    return require_names[require];
}

static void quota_json(JsonWriter *json, const char *key, uint64_t quota)
{
    json_write_key(json, key);
    if (quota == 0)
        json_write_null(json);
    else
        json_write_u64(json, quota);
}

static const char *class_name(const RestCall *call, const BucketRecord *record,
                              char out[CLASS_NAME_MAX + 1])
{
    ClassInfo info;
    Classes *classes = service_classes(call->service);
    bool known = classes != NULL && classes_get(classes, record->placement_class, &info);
    memcpy(out, known ? info.name : "standard", known ? sizeof info.name : sizeof "standard");
    return out;
}

static void bucket_json(RestCall *call, JsonWriter *json, Str name, const BucketRecord *record)
{
    BucketStatRow usage;
    char class[CLASS_NAME_MAX + 1];
    buckets_usage(service_buckets(call->service), record->uid, &usage);
    json_write_object_begin(json);
    json_member_str(json, "name", name);
    json_member_time_ms(json, "created_at", record->created_ms);
    json_member_u64(json, "files", usage.files);
    json_member_u64(json, "bytes", usage.bytes);
    quota_json(json, "quota_files", record->quota_files);
    quota_json(json, "quota_bytes", record->quota_bytes);
    json_member_cstr(json, "versions", versioning_names[record->versioning]);
    json_member_cstr(json, "class", class_name(call, record, class));
    json_member_cstr(json, "writes", writes_names[record->mode]);
    json_member_cstr(json, "require", require_names[record->require]);
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

static ErrCode read_versions(const json_t *value, Versioning *out, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(versioning_names) && json_is_string(value); i++) {
        if (strcmp(json_string_value(value), versioning_names[i]) != 0) continue;
        *out = (Versioning)i;
        return OK;
    }
    return err_set(err, ERR_INVALID, "versions is one of \"off\", \"on\" and \"suspended\"");
}

/* Which of names, of which the first may be none, value is; count: it is none. */
static size_t name_index(const json_t *value, const char *const *names, size_t count)
{
    size_t i = json_is_string(value) ? 0 : count;
    while (i < count && (names[i] == NULL || strcmp(json_string_value(value), names[i]) != 0))
        i++;
    return i;
}

ErrCode rest_read_writes(const json_t *value, PlaceMode *out, Err *err)
{
    size_t i = name_index(value, writes_names, ARRAY_LEN(writes_names));
    if (i == ARRAY_LEN(writes_names))
        return err_set(err, ERR_INVALID, "writes is one of \"sync\" and \"async\"");
    *out = (PlaceMode)i;
    return OK;
}

ErrCode rest_read_require(const json_t *value, PlaceRequire *out, Err *err)
{
    size_t i = name_index(value, require_names, ARRAY_LEN(require_names));
    if (i == ARRAY_LEN(require_names))
        return err_set(err, ERR_INVALID, "require is one of \"in-sync\" and \"all\"");
    *out = (PlaceRequire)i;
    return OK;
}

/* The name of one; copied, for the settings end before the change. */
static ErrCode read_class(const json_t *value, Arena *arena, Str *out, Err *err)
{
    if (!json_is_string(value) || json_string_length(value) > CLASS_NAME_MAX)
        return err_set(err, ERR_INVALID, "class is the name of a placement class");
    *out = arena_dup(arena, str_of(json_string_value(value), json_string_length(value)));
    return out->ptr != NULL ? OK : err_set(err, ERR_NO_MEMORY, "too much in one request");
}

static ErrCode read_settings(Str body, Arena *arena, BucketSettings *out, Err *err)
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
        } else if (str_eq(str_from_cstr(name), STR("versions"))) {
            out->has_versioning = true;
            TRY(read_versions(value, &out->versioning, err));
        } else if (str_eq(str_from_cstr(name), STR("writes"))) {
            out->has_mode = true;
            TRY(rest_read_writes(value, &out->mode, err));
        } else if (str_eq(str_from_cstr(name), STR("require"))) {
            out->has_require = true;
            TRY(rest_read_require(value, &out->require, err));
        } else if (str_eq(str_from_cstr(name), STR("class"))) {
            out->has_class = true;
            TRY(read_class(value, arena, &out->class, err));
        } else {
            return err_set(err, ERR_INVALID,
                           "\"%s\" is no setting of a bucket; there are quota_bytes, quota_files, "
                           "versions, class, writes and require",
                           name);
        }
    }
    return OK;
}

static void on_settings(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    RestCall *call = ctx;
    Err err = {0};
    if (code == OK)
        code = read_settings(body, http_request_arena(req), &call->mutation.settings, &err);
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
    bool more = buckets_next_seen(buckets, &call->identity, after, name, &record);
    for (size_t count = 0; more && count < BUCKETS_LIMIT; count++) {
        bucket_json(call, &json, str_from_cstr(name), &record);
        memcpy(last, name, sizeof last);
        more = buckets_next_seen(buckets, &call->identity, str_from_cstr(last), name, &record);
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
