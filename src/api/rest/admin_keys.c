/* Access keys: made, told, revoked. A secret is told once, by the answer to the request that makes
 * it; it is in no log. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "text/dates.h"
#include "text/uri.h"

#define BODY_MAX (64 * KIB)
#define KEY_JSON_MAX (7 * KEY_RECORD_MAX) /* each byte of it escaped, and names of members */
#define PAGE_BYTES (2 * MIB)              /* a page that grew beyond ends there */
#define LIMIT_MAX 1000

struct KeyWork {
    json_t *body; /* that record's views are of */
    KeyRecord record;
    AccessKey key;
};

void rest_key_free(KeyWork *work)
{
    if (work == NULL) return;
    key_wipe(&work->key);
    json_free(work->body);
    mem_free(work);
}

/* --- as JSON --- */

static const struct {
    unsigned right; /* one that the word alone gives */
    GrantRight granted;
    const char *word;
} words[] = {{RIGHT_READ, GRANT_READ, "read"},
             {RIGHT_WRITE, GRANT_WRITE, "write"},
             {RIGHT_BUCKETS, GRANT_ADMIN, "admin"}};

static void grant_json(JsonWriter *json, const AuthGrant *grant)
{
    json_write_object_begin(json);
    json_member_str(json, "bucket", grant->bucket);
    json_member_str(json, "prefix", grant->prefix);
    json_write_key(json, "rights");
    json_write_array_begin(json);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if ((grant->rights & words[i].right) != 0) json_write_cstr(json, words[i].word);
    json_write_array_end(json);
    json_write_object_end(json);
}

static void member_time(JsonWriter *json, const char *name, uint64_t ms)
{
    json_write_key(json, name);
    if (ms == 0)
        json_write_null(json);
    else
        json_write_time_ms(json, ms);
}

/* secret: NULL but for the answer that tells it. */
static void key_json(JsonWriter *json, const KeyInfo *info, const char *secret)
{
    static const AuthGrant all = {.rights = RIGHTS_ALL, .bucket = STR_INIT("*")};
    const AuthKey *key = info->key;
    json_write_object_begin(json);
    json_member_cstr(json, "id", key->key.id);
    if (secret != NULL) json_member_cstr(json, "secret", secret);
    json_member_str(json, "name", info->label);
    json_member_bool(json, "root", info->is_root);
    json_write_key(json, "grants");
    json_write_array_begin(json);
    if (info->is_root) grant_json(json, &all);
    for (size_t i = 0; i < key->grant_count; i++)
        grant_json(json, &key->grants[i]);
    json_write_array_end(json);
    member_time(json, "created_at", info->created_ms);
    member_time(json, "expires_at", key->expires_ms);
    json_write_object_end(json);
}

static void answer_key(RestCall *call, int status, const KeyInfo *info, const char *secret)
{
    AUTO_BUF(body, KEY_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    key_json(&json, info, secret);
    http_header_add(call->req, "Cache-Control", STR("no-store"));
    rest_answer_json(call, status, &json, &body);
}

/* --- create --- */

static ErrCode read_right(const json_t *value, KeyGrant *grant, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(words) && json_is_string(value); i++) {
        if (strcmp(json_string_value(value), words[i].word) != 0) continue;
        grant->rights |= (uint8_t)words[i].granted;
        return OK;
    }
    return err_set(err, ERR_INVALID, "a right is \"read\", \"write\" or \"admin\"");
}

static ErrCode read_grant(const json_t *value, KeyGrant *grant, Err *err)
{
    const json_t *rights = json_is_object(value) ? json_object_get(value, "rights") : NULL;
    if (!json_is_array(rights) || json_array_size(rights) == 0)
        return err_set(err, ERR_INVALID, "a grant has a list of rights, and it is not empty");
    size_t known = 2 + (json_object_get(value, "prefix") != NULL);
    TRY(json_get_str(value, "bucket", &grant->bucket, err));
    TRY(json_get_optional_str(value, "prefix", &grant->prefix, err));
    if (json_object_size(value) != known)
        return err_set(err, ERR_INVALID, "a grant has bucket, prefix and rights, nothing else");
    for (size_t i = 0; i < json_array_size(rights); i++)
        TRY(read_right(json_array_get(rights, i), grant, err));
    if (!key_grant_valid(grant))
        return err_set(err, ERR_INVALID,
                       "a grant is for a bucket, \"*\" for all, and for keys that begin with "
                       "prefix");
    return OK;
}

static ErrCode read_grants(const json_t *body, KeyRecord *record, Err *err)
{
    const json_t *grants = json_object_get(body, "grants");
    size_t count = json_is_array(grants) ? json_array_size(grants) : 0;
    size_t bytes = 0;
    if (count == 0 || count > KEY_GRANTS_MAX)
        return err_set(err, ERR_INVALID, "grants is a list of 1 to %d", KEY_GRANTS_MAX);
    for (size_t i = 0; i < count; i++) {
        KeyGrant *grant = &record->grants[i];
        TRY(read_grant(json_array_get(grants, i), grant, err));
        bytes += grant->bucket.len + grant->prefix.len + 8;
    }
    if (bytes > KEY_RECORD_MAX - 1024)
        return err_set(err, ERR_TOO_LARGE, "the grants are more than %d bytes",
                       KEY_RECORD_MAX - 1024);
    record->grant_count = count;
    return OK;
}

static ErrCode read_key(RestCall *call, Str text, KeyWork *work, Err *err)
{
    KeyRecord *record = &work->record;
    Str expires = {NULL, 0};
    TRY(json_parse(text, &work->body, err));
    if (!json_is_object(work->body)) return err_set(err, ERR_INVALID, "a key is a JSON object");
    size_t known = 2 + (json_object_get(work->body, "expires_at") != NULL);
    TRY(json_get_str(work->body, "name", &record->label, err));
    TRY(json_get_optional_str(work->body, "expires_at", &expires, err));
    TRY(read_grants(work->body, record, err));
    if (json_object_size(work->body) != known)
        return err_set(err, ERR_INVALID, "a key has name, grants and expires_at, nothing else");
    if (!key_label_valid(record->label))
        return err_set(err, ERR_INVALID, "a key's name has 1 to %d bytes of text", KEY_LABEL_MAX);
    record->created_ms = clock_wall_ms(call->rest->options.clock);
    if (expires.ptr == NULL) return OK;
    if (!date_parse_rfc3339(expires, &record->expires_ms) ||
        record->expires_ms <= record->created_ms)
        return err_set(err, ERR_INVALID, "expires_at is no time of RFC 3339 to come");
    return OK;
}

static ErrCode make_key(KeyWork *work, Err *err)
{
    uint8_t random[KEY_RANDOM_LEN];
    TRY(rng_secret(random, sizeof random, err));
    key_generate(random, &work->key);
    explicit_bzero(random, sizeof random);
    work->record.secret = str_of(work->key.secret, KEY_SECRET_LEN);
    return OK;
}

/* The answer is of the set that has the key, which is published before this. */
static void created(RestCall *call)
{
    Mutation *m = &call->mutation;
    KeyInfo info;
    if (m->code != OK) {
        rest_answer_error(call, m->code, &m->err);
        return;
    }
    const KeyWork *work = call->key_work;
    LOG_TO(SECURITY, INFO, "key.created", "id=%s name=" LOG_STR " by=%.*s", work->key.id,
           LOG_ARG(work->record.label), STR_ARG(call->identity.key_id));
    KeyHold *hold = key_view_take(&call->loop->keys, call->rest->options.keys);
    rest_durability_header(call, m->durability);
    if (key_hold_find(hold, str_from_cstr(work->key.id), &info)) {
        answer_key(call, 201, &info, work->key.secret);
    } else { /* revoked already */
        Err err = {0};
        ErrCode code = err_set(&err, ERR_GONE, "the key was revoked as soon as it was made");
        rest_answer_error(call, code, &err);
    }
    key_hold_drop(hold);
}

static void on_body(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    RestCall *call = ctx;
    KeyWork *work = call->key_work;
    Mutation *m = &call->mutation;
    Err err = {0};
    UNUSED(req);
    if (code == OK) code = read_key(call, body, work, &err);
    if (code == OK) code = make_key(work, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    m->type = MUTATION_KEY_CREATE;
    m->key = str_of(work->key.id, KEY_ID_LEN);
    m->key_record = &work->record;
    rest_submit(call, created);
}

void rest_key_create(RestCall *call)
{
    call->key_work = mem_new(sizeof *call->key_work);
    http_request_collect(call->req, BODY_MAX, on_body);
}

/* --- list, get, revoke --- */

static ErrCode read_page(RestCall *call, Str *after, size_t *limit, Err *err)
{
    Arena *arena = http_request_arena(call->req);
    Str query = http_request_query(call->req);
    Str text = {NULL, 0};
    uint64_t number = LIMIT_MAX;
    bool found = false;
    TRY(uri_query_get(arena, query, STR("after"), &found, after, err));
    TRY(uri_query_get(arena, query, STR("limit"), &found, &text, err));
    if (text.ptr != NULL && (!str_to_u64(text, LIMIT_MAX, &number) || number == 0))
        return err_set(err, ERR_INVALID, "limit is not a number from 1 to %d", LIMIT_MAX);
    *limit = (size_t)number;
    return OK;
}

void rest_key_list(RestCall *call)
{
    Err err = {0};
    Str after = {NULL, 0};
    size_t limit = 0;
    ErrCode code = read_page(call, &after, &limit, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    AUTO_BUF(body, PAGE_BYTES + 2 * KEY_JSON_MAX);
    JsonWriter json;
    KeyInfo info;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "keys");
    json_write_array_begin(&json);
    bool more = key_hold_next(call->keys, after, &info);
    for (size_t count = 0; more && count < limit && body.len < PAGE_BYTES; count++) {
        key_json(&json, &info, NULL);
        after = str_from_cstr(info.key->key.id);
        more = key_hold_next(call->keys, after, &info);
    }
    json_write_array_end(&json);
    json_write_key(&json, "next");
    if (more)
        json_write_str(&json, after);
    else
        json_write_null(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

void rest_key_get(RestCall *call)
{
    KeyInfo info;
    if (key_hold_find(call->keys, call->match.params[0], &info)) {
        answer_key(call, 200, &info, NULL);
        return;
    }
    Err err = {0};
    rest_answer_error(call, err_set(&err, ERR_NOT_FOUND, "there is no such key"), &err);
}

static void revoked(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (m->code != OK) {
        rest_answer_error(call, m->code, &m->err);
        return;
    }
    LOG_TO(SECURITY, INFO, "key.revoked", "id=" LOG_STR " by=%.*s", LOG_ARG(m->key),
           STR_ARG(call->identity.key_id));
    rest_durability_header(call, m->durability);
    rest_answer_empty(call, 204);
}

void rest_key_revoke(RestCall *call)
{
    Mutation *m = &call->mutation;
    Err err = {0};
    ErrCode code = OK;
    m->type = MUTATION_KEY_REVOKE;
    m->key = call->match.params[0];
    if (m->key.len != KEY_ID_LEN)
        code = err_set(&err, ERR_NOT_FOUND, "there is no such key");
    else if (keys_is_root(call->rest->options.keys, m->key))
        code = err_set(&err, ERR_FORBIDDEN,
                       "the root key can't be revoked; for a new one move root.key away and start "
                       "the server again");
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_submit(call, revoked);
}
