/* Keys: made and revoked in the system shard, as files that no door reaches. */
#include <stdio.h>

#include "service/engine_priv.h"

#define KEY_NAME_MAX (sizeof KEY_RECORD_PREFIX + KEY_MAX)

static Str key_name(Str id, char out[KEY_NAME_MAX])
{
    ASSERT(id.len <= KEY_MAX);
    int len = snprintf(out, KEY_NAME_MAX, KEY_RECORD_PREFIX "%.*s", STR_ARG(id));
    return str_of(out, (size_t)len);
}

static ErrCode append_key(Engine *engine, Mutation *m, Str name, Err *err)
{
    uint8_t bytes[KEY_RECORD_MAX];
    Enc enc = enc_of(bytes, sizeof bytes);
    key_record_encode(m->key_record, &enc);
    ErrCode code = enc.failed ? err_set(err, ERR_TOO_LARGE, "the names of its grants are too long")
                              : OK;
    buf_clear(&m->attr_buf);
    if (code == OK) code = attr_set(&m->attr_buf, ATTR_KEY, name, err);
    if (code == OK)
        code = attr_set(&m->attr_buf, ATTR_IDENTITY_RECORD, str_of(bytes, enc.len), err);
    explicit_bzero(bytes, sizeof bytes);
    if (code != OK) return code;
    Entry entry = {.op = OP_CREATE,
                   .shard = SHARD_SYSTEM,
                   .bucket = BUCKET_UID_SYSTEM,
                   .attrs = buf_str(&m->attr_buf),
                   .file = file_id_make(SHARD_SYSTEM, m->key_record->created_ms, &engine->rng)};
    m->shard = SHARD_SYSTEM;
    return engine_append(engine, &entry, m, err);
}

void engine_decide_key(Engine *engine, Mutation *m)
{
    char room[KEY_NAME_MAX];
    Target t = {.shard = SHARD_SYSTEM,
                .bucket = BUCKET_UID_SYSTEM,
                .versioning = VERSIONING_OFF,
                .key = key_name(m->key, room)};
    bool creates = m->type == MUTATION_KEY_CREATE;
    ErrCode code = store_find(engine_system_reader(engine), t.bucket, t.key, NULL,
                              engine_deciding_view(), &t.found, &t.there, &m->err);
    if (code == OK && t.there == creates) {
        engine_refuse(engine, m, creates ? ERR_EXISTS : ERR_NOT_FOUND, &t.found);
        return;
    }
    if (code == OK && creates && keys_count(engine->options.keys) >= ACCESS_KEYS_MAX)
        code = err_set(&m->err, ERR_QUOTA_EXCEEDED, "there are %d keys, and no more may be",
                       ACCESS_KEYS_MAX);
    if (code == OK && !engine_has_room(engine, engine_shard(engine, SHARD_SYSTEM))) {
        engine_stall(engine, m);
        return;
    }
    if (code == OK)
        code = creates ? append_key(engine, m, t.key, &m->err)
                       : engine_append_delete(engine, m, &t, &m->err);
    if (code != OK) engine_answer(engine, m, code);
}

void engine_commit_key(Engine *engine, const Record *record)
{
    const Entry *entry = &record->entry;
    Str prefix = STR(KEY_RECORD_PREFIX);
    Keys *keys = engine->options.keys;
    if (keys == NULL || entry->bucket != BUCKET_UID_SYSTEM || !str_starts_with(record->key, prefix))
        return;
    Str id = str_slice(record->key, prefix.len, record->key.len);
    Str value;
    KeyRecord key;
    if (entry->op == OP_DELETE) {
        keys_remove(keys, id);
    } else if (attr_get(entry->attrs, ATTR_IDENTITY_RECORD, &value) &&
               key_record_decode(value, &key, NULL) == OK) {
        keys_put(keys, id, &key);
    }
}
