/* Buckets: PUT, GET, DELETE of one, the list of all. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define BUCKET_JSON_MAX 1024
#define BUCKETS_LIMIT 1000

static void bucket_json(JsonWriter *json, Str name, const BucketRecord *record)
{
    json_write_object_begin(json);
    json_member_str(json, "name", name);
    json_member_time_ms(json, "created_at", record->created_ms);
    json_write_object_end(json);
}

static void answer_bucket(RestCall *call, int status, Str name, const BucketRecord *record)
{
    AUTO_BUF(body, BUCKET_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    bucket_json(&json, name, record);
    rest_answer_json(call, status, &json, &body);
}

/* PUT of a bucket that is there answers 200 with it. */
static void bucket_put_done(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (m->code == OK || m->code == ERR_BUCKET_EXISTS) {
        if (m->code == OK) rest_durability_header(call, m->durability);
        answer_bucket(call, m->code == OK ? 201 : 200, m->bucket, &m->bucket_record);
    } else {
        rest_answer_error(call, m->code, &m->err);
    }
}

void rest_bucket_put(RestCall *call)
{
    call->mutation.type = MUTATION_BUCKET_CREATE;
    call->mutation.bucket = call->match.params[0];
    rest_submit(call, bucket_put_done);
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
    AUTO_BUF(body, BUCKETS_LIMIT * 256);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "buckets");
    json_write_array_begin(&json);
    bool more = buckets_next(buckets, after, name, &record);
    for (size_t count = 0; more && count < BUCKETS_LIMIT; count++) {
        bucket_json(&json, str_from_cstr(name), &record);
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
