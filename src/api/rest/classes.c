/* Placement classes: how many copies the files of their buckets have, and when a change of those is
 * answered. GET of one and of all, PUT of one. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define CLASS_JSON_MAX 2048
#define SETTINGS_MAX 4096 /* bytes of JSON */

/* --- as JSON --- */

static void roots_json(JsonWriter *json, const RestRoots *roots, const char *name, unsigned mask)
{
    json_write_key(json, name);
    json_write_array_begin(json);
    for (size_t r = 0; r < roots->count; r++) {
        char uuid[37];
        if ((mask >> r & 1) == 0) continue;
        uuid_text(store_root(roots->items[r].store)->uuid, uuid);
        json_write_cstr(json, uuid);
    }
    json_write_array_end(json);
}

static void lead_json(JsonWriter *json, const RestRoots *roots, const ServiceClass *now)
{
    char uuid[37];
    json_write_key(json, "lead");
    if (!now->there || now->lead >= roots->count) {
        json_write_null(json);
        return;
    }
    uuid_text(store_root(roots->items[now->lead].store)->uuid, uuid);
    json_write_cstr(json, uuid);
}

static void class_json(RestCall *call, JsonWriter *json, const RestRoots *roots,
                       const ClassInfo *info)
{
    const PlacementClass *rules = &info->rules;
    ServiceClass now = service_class_now(call->service, rules->number);
    json_write_object_begin(json);
    json_member_cstr(json, "name", info->name);
    json_member_u64(json, "number", rules->number);
    json_member_u64(json, "copies", rules->copies);
    json_member_u64(json, "min_isr", rules->min_isr);
    json_member_u64(json, "shards", rules->shard_count);
    json_member_cstr(json, "writes", rest_writes_name(rules->mode));
    json_member_cstr(json, "require", rest_require_name(rules->require));
    json_member_bool(json, "weak", placement_class_is_weak(rules));
    json_member_cstr(json, "state", !now.there ? "starting" : now.failed ? "failed" : "ok");
    json_member_u64(json, "synced", (uint64_t)__builtin_popcount(now.in_sync));
    lead_json(json, roots, &now);
    roots_json(json, roots, "roots", now.members);
    json_write_key(json, "created_at");
    if (info->created_ms == 0)
        json_write_null(json);
    else
        json_write_time_ms(json, info->created_ms);
    json_write_object_end(json);
}

static void answer_class(RestCall *call, int status, const ClassInfo *info)
{
    const RestNode *node = &call->rest->node;
    RestRoots roots;
    roots.count = node->roots(node->ctx, roots.items);
    AUTO_BUF(body, CLASS_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    class_json(call, &json, &roots, info);
    rest_answer_json(call, status, &json, &body);
}

void rest_class_list(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    RestRoots roots;
    ClassInfo info;
    roots.count = node->roots(node->ctx, roots.items);
    AUTO_BUF(body, CLASSES_MAX * CLASS_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "classes");
    json_write_array_begin(&json);
    for (unsigned class = PLACE_CLASS_STANDARD; class < CLASSES_MAX; class ++) {
        if (classes_get(service_classes(call->service), class, &info))
            class_json(call, &json, &roots, &info);
    }
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

void rest_class_get(RestCall *call)
{
    Err err = {0};
    ClassInfo info;
    if (classes_find(service_classes(call->service), call->match.params[0], &info)) {
        answer_class(call, 200, &info);
        return;
    }
    ErrCode code = err_set(&err, ERR_NOT_FOUND, "there is no such placement class");
    rest_answer_error(call, code, &err);
}

/* --- PUT --- */

static ErrCode read_number(const json_t *value, const char *name, unsigned *out, Err *err)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || number > UINT16_MAX)
        return err_set(err, ERR_INVALID, "%s is a whole number, and not a large one", name);
    *out = (unsigned)number;
    return OK;
}

static ErrCode read_setting(const char *name, const json_t *value, ClassSettings *out, Err *err)
{
    if (strcmp(name, "copies") == 0) {
        out->has_copies = true;
        return read_number(value, name, &out->copies, err);
    }
    if (strcmp(name, "min_isr") == 0) {
        out->has_min_isr = true;
        return read_number(value, name, &out->min_isr, err);
    }
    if (strcmp(name, "shards") == 0) {
        out->has_shards = true;
        return read_number(value, name, &out->shards, err);
    }
    if (strcmp(name, "writes") == 0) {
        out->has_mode = true;
        return rest_read_writes(value, &out->mode, err);
    }
    if (strcmp(name, "require") == 0) {
        out->has_require = true;
        return rest_read_require(value, &out->require, err);
    }
    return err_set(err, ERR_INVALID,
                   "\"%s\" is no setting of a placement class; there are copies, min_isr, shards, "
                   "writes and require",
                   name);
}

static ErrCode read_settings(Str body, ClassSettings *out, Err *err)
{
    AUTO(json_t, json_free) settings = NULL;
    const char *name = NULL;
    json_t *value = NULL;
    if (body.len == 0) return OK;
    TRY(json_parse(body, &settings, err));
    if (!json_is_object(settings)) return err_set(err, ERR_INVALID, "settings are a JSON object");
    json_object_foreach(settings, name, value)
    {
        TRY(read_setting(name, value, out, err));
    }
    return OK;
}

static void class_set(RestCall *call)
{
    const Mutation *m = &call->mutation;
    ClassInfo info;
    bool known = m->code == OK && classes_find(service_classes(call->service), m->key, &info);
    if (!known) {
        rest_answer_error(call, m->code == OK ? ERR_NOT_READY : m->code, &m->err);
        return;
    }
    rest_durability_header(call, m->durability);
    answer_class(call, m->created ? 201 : 200, &info);
}

static void on_settings(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    RestCall *call = ctx;
    Err err = {0};
    UNUSED(req);
    if (code == OK) code = read_settings(body, &call->mutation.class_settings, &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_submit(call, class_set);
}

void rest_class_put(RestCall *call)
{
    call->mutation.type = MUTATION_CLASS_SET;
    call->mutation.key = call->match.params[0];
    http_request_collect(call->req, SETTINGS_MAX, on_settings);
}
