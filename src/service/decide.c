/* The only compare-and-swap point: preconditions are decided here, when the lsn is given, against
 * committed plus pending state. A refusal that rests on a pending entry is told only when that
 * entry is committed: if it never is, nobody was told a thing that was not so. */
#include "service/engine_priv.h"

#include <stdio.h>

#include "base/fault.h"
#include "http/conditions.h"

static void stall(Engine *engine, Mutation *m)
{
    m->next = NULL;
    if (engine->stalled_last == NULL)
        engine->stalled_first = m;
    else
        engine->stalled_last->next = m;
    engine->stalled_last = m;
}

static StoreView deciding_view(void)
{
    /* The bug: two writers of one batch both see the state before, and both win. */
    return fault_planted("decide-on-committed") ? STORE_COMMITTED : STORE_PENDING;
}

/* Answers with code now, or when what the look-up rests on is committed. */
static void refuse(Engine *engine, Mutation *m, ErrCode code, const StoreFound *found)
{
    if (found != NULL && found->pending) {
        engine_answer_after(engine, m, code, found->shard, found->lsn);
    } else {
        engine_answer(engine, m, code);
    }
}

/* Looks a bucket's record up in the system shard, pending changes included. */
static ErrCode find_bucket(Engine *engine, Str name, BucketRecord *record, StoreFound *found,
                           bool *there, Err *err)
{
    *found = (StoreFound){0};
    if (engine->bucket_changes == 0) {
        *there = buckets_find(engine->options.buckets, name, record);
        return OK;
    }
    char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
    ASSERT(name.len <= BUCKET_NAME_MAX);
    int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(name));
    TRY(store_find(engine->reader, BUCKET_UID_SYSTEM, str_of(key, (size_t)len), NULL,
                   deciding_view(), found, there, err));
    if (!*there) return OK;
    Str value;
    if (!attr_get(found->row.attrs, ATTR_BUCKET_RECORD, &value)) {
        return err_set(err, ERR_CORRUPT, "the record of bucket %.*s is missing", STR_ARG(name));
    }
    return bucket_record_decode(value, record, err);
}

/* If-Match and If-None-Match against what is there. */
static ErrCode check_conditions(const Mutation *m, const StoreFound *found, bool there, Err *err)
{
    char etag[ETAG_MAX] = "";
    if (there && (m->if_match.ptr != NULL || m->if_none_match.ptr != NULL)) {
        file_row_etag(&found->row, etag);
    }
    Str current = str_from_cstr(etag);
    bool matches = false;
    if (m->if_match.ptr != NULL) {
        TRY(http_etag_match(m->if_match, HTTP_COMPARE_STRONG, there, current, &matches, err));
        if (!matches) return err_set(err, ERR_PRECONDITION, "If-Match names another version");
    } else if (m->has_unmodified_since && there &&
               found->row.updated_ms / 1000 > m->unmodified_since_ms / 1000) {
        return err_set(err, ERR_PRECONDITION, "the file was changed since If-Unmodified-Since");
    }
    if (m->if_none_match.ptr != NULL) {
        TRY(http_etag_match(m->if_none_match, HTTP_COMPARE_WEAK, there, current, &matches, err));
        if (matches) return err_set(err, ERR_PRECONDITION, "If-None-Match names this version");
    }
    if (m->version.lsn != 0 && there && version_id_cmp(m->version, found->row.version) != 0) {
        return err_set(err, ERR_NOT_FOUND, "that version is not the current one");
    }
    return OK;
}

static ErrCode add_request(Mutation *m, Err *err)
{
    Str id = str_of(m->request.bytes, sizeof m->request.bytes);
    TRY(attr_set(&m->attr_buf, ATTR_REQUEST_ID, id, err));
    return attr_set(&m->attr_buf, ATTR_REQUEST_HASH, str_of(m->request_hash.bytes, SHA256_LEN),
                    err);
}

/* Attributes of the entry: the door's, the key, and the file's birth where its id does not tell. */
static ErrCode make_attrs(Mutation *m, Str key, FileId file, uint64_t created_ms, Err *err)
{
    buf_clear(&m->attr_buf);
    ErrCode code = buf_append_str(&m->attr_buf, m->attrs, err);
    if (code == OK) code = attr_set(&m->attr_buf, ATTR_KEY, key, err);
    if (code == OK && created_ms != file_id_created_ms(file)) {
        code = attr_set_varint(&m->attr_buf, ATTR_CREATED_MS, created_ms, err);
    }
    if (code == OK && m->has_request) code = add_request(m, err);
    if (code == ERR_TOO_BIG) return err_wrap(err, ERR_TOO_LARGE, "too much metadata");
    return code;
}

/* What the reply shows: the row that the entry makes. Views into the mutation's own memory. */
static void fill_result(Mutation *m, const Entry *entry, Str key)
{
    file_row_of_entry(entry, &m->row);
    m->row.attrs = buf_str(&m->attr_buf);
    m->row.extents = (Str){NULL, 0};
    m->row_key = key;
}

static ErrCode encode_extents(const Mutation *m, Buf *out, Err *err)
{
    for (uint32_t i = 0; i < m->extent_count; i++) {
        TRY(buf_reserve(out, EXTENT_LEN, err));
        Enc enc = enc_of(out->data + out->len, EXTENT_LEN);
        extent_encode(&m->extents[i], &enc);
        ASSERT(!enc.failed);
        out->len += enc.len;
    }
    return OK;
}

static ErrCode append_write(Engine *engine, Mutation *m, ShardId shard, BucketUid bucket, Str key,
                            const StoreFound *found, bool there, Err *err)
{
    uint64_t now_ms = clock_wall_ms(engine->options.clock);
    Entry entry = {.op = there ? OP_UPDATE : OP_CREATE,
                   .shard = shard,
                   .flags = ENTRY_FLAG_DIGEST_KNOWN,
                   .bucket = bucket,
                   .time_ms = now_ms, /* a new file is as old as its id says */
                   .body = m->body,
                   .size = m->size,
                   .body_digest = m->digest,
                   .extent_count = m->extent_count,
                   .inline_body = m->inline_body};
    entry.file = there ? found->row.file : file_id_make(shard, now_ms, &engine->rng);
    uint64_t created_ms = there ? found->row.created_ms : file_id_created_ms(entry.file);
    TRY(make_attrs(m, key, entry.file, created_ms, err));
    entry.attrs = buf_str(&m->attr_buf);
    AUTO_BUF(extents, EXTENTS_MAX * EXTENT_LEN);
    TRY(encode_extents(m, &extents, err));
    entry.extents = buf_str(&extents);
    if (entry_len(&entry) > ENTRY_MAX) return err_set(err, ERR_TOO_LARGE, "too much metadata");
    m->created = !there;
    m->shard = shard;
    ErrCode code = engine_append(engine, &entry, m, err);
    if (code == OK) fill_result(m, &entry, key);
    return code;
}

static ErrCode append_delete(Engine *engine, Mutation *m, ShardId shard, const StoreFound *found,
                             Err *err)
{
    buf_clear(&m->key_buf);
    TRY(buf_append_str(&m->key_buf, found->key, err)); /* the view ends with the next look-up */
    Entry entry = {.op = OP_DELETE,
                   .shard = shard,
                   .flags = ENTRY_FLAG_ALL_VERSIONS,
                   .file = found->row.file,
                   .bucket = found->bucket};
    buf_clear(&m->attr_buf);
    TRY(attr_set(&m->attr_buf, ATTR_KEY, buf_str(&m->key_buf), err));
    if (m->has_request) TRY(add_request(m, err));
    entry.attrs = buf_str(&m->attr_buf);
    m->shard = shard;
    return engine_append(engine, &entry, m, err);
}

static bool makes_file(const Mutation *m)
{
    return m->type == MUTATION_PUT || m->type == MUTATION_CREATE || m->type == MUTATION_UPDATE;
}

static const char *const over_quota = "the bucket has a quota, and this would exceed it; "
                                      "GET /v1/buckets/BUCKET tells how much is used";

/* What m changes of its bucket's counts, and whether its quotas allow that; a change that may fit
 * when others are committed, or not, waits for them. ERR_BUSY: it waits. */
static ErrCode check_quota(Engine *engine, Mutation *m, BucketUid bucket, const StoreFound *found,
                           bool there, Err *err)
{
    int64_t old_size = there ? (int64_t)found->row.size : 0;
    m->files_delta = makes_file(m) ? !there : -1;
    m->bytes_delta = (makes_file(m) ? (int64_t)m->size : 0) - old_size;
    switch (buckets_fit(engine->options.buckets, bucket, m->files_delta, m->bytes_delta)) {
    case BUCKET_FITS: return OK;
    case BUCKET_MAY_FILL:
        if (!fault_planted("quota-on-committed")) return ERR_BUSY;
        return OK;
    case BUCKET_FULL: break;
    }
    return err_set(err, ERR_QUOTA_EXCEEDED, "%s", over_quota);
}

/* With the file looked up: refuse, or append. */
static void decide_found(Engine *engine, Mutation *m, ShardId shard, BucketUid bucket, Str key,
                         const StoreFound *found, bool there)
{
    ErrCode code = OK;
    if (!there && m->type != MUTATION_PUT && m->type != MUTATION_CREATE)
        code = ERR_NOT_FOUND;
    else if (there && m->type == MUTATION_CREATE)
        code = ERR_EXISTS;
    else
        code = check_conditions(m, found, there, &m->err);
    if (code != OK) {
        refuse(engine, m, code, found);
        return;
    }
    code = check_quota(engine, m, bucket, found, there, &m->err);
    if (code == ERR_QUOTA_EXCEEDED) {
        refuse(engine, m, code, found);
        return;
    }
    if (code == ERR_BUSY || !engine_has_room(engine, engine_shard(engine, shard))) {
        stall(engine, m);
        return;
    }
    code = makes_file(m) ? append_write(engine, m, shard, bucket, key, found, there, &m->err)
                         : append_delete(engine, m, shard, found, &m->err);
    if (code != OK) engine_answer(engine, m, code);
}

static void decide_by_name(Engine *engine, Mutation *m)
{
    BucketRecord bucket;
    StoreFound found;
    bool there = false;
    ErrCode code = bucket_name_valid(m->bucket) ? OK : ERR_NO_BUCKET;
    if (code == OK) code = find_bucket(engine, m->bucket, &bucket, &found, &there, &m->err);
    if (code == OK && !there) {
        refuse(engine, m, ERR_NO_BUCKET, &found);
        return;
    }
    if (code == OK && found.pending) {
        stall(engine, m); /* no file may be kept in a bucket that is not itself kept yet */
        return;
    }
    Str key = m->key;
    if (code == OK && m->type == MUTATION_CREATE && key.len == 0 && m->has_request) {
        code = engine_request_key(m, &key, &m->err);
    } else if (code == OK && m->type == MUTATION_CREATE && key.len == 0) {
        char text[ID128_TEXT_LEN + 1];
        id128_text(id128_random(&engine->rng), text);
        buf_clear(&m->key_buf);
        code = buf_append(&m->key_buf, text, ID128_TEXT_LEN, &m->err);
        key = buf_str(&m->key_buf);
    }
    if (code == OK && !key_valid(key)) {
        code = err_set(&m->err, key.len > KEY_MAX ? ERR_KEY_TOO_LONG : ERR_BAD_NAME,
                       "a key has 1 to %d bytes of UTF-8 without NUL", KEY_MAX);
    }
    if (code == OK) {
        code = store_find(engine->reader, bucket.uid, key, NULL, deciding_view(), &found, &there,
                          &m->err);
    }
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    ShardId shard = place_shard_of(&engine->options.standard, bucket.uid, key);
    decide_found(engine, m, shard, bucket.uid, key, &found, there);
}

static void decide_by_id(Engine *engine, Mutation *m)
{
    ShardId shard = file_id_shard(m->file);
    StoreFound found;
    bool there = false;
    ErrCode code = OK;
    /* The system's own records are not files that anybody may name. */
    if (shard == SHARD_SYSTEM || engine_shard(engine, shard) == NULL) {
        engine_answer(engine, m, ERR_NOT_FOUND);
        return;
    }
    code = store_find_id(engine->reader, m->file, NULL, deciding_view(), &found, &there, &m->err);
    if (code == OK && there) {
        buf_clear(&m->key_buf);
        code = buf_append_str(&m->key_buf, found.key, &m->err);
    }
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    decide_found(engine, m, shard, found.bucket, buf_str(&m->key_buf), &found, there);
}

#define BUCKET_ATTR_MAX 4096

/* The record of a new bucket, or of one that is there: found. */
static ErrCode append_bucket(Engine *engine, Mutation *m, const BucketRecord *record,
                             const StoreFound *found, Err *err)
{
    char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
    int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(m->bucket));
    uint8_t bytes[BUCKET_ATTR_MAX];
    Enc enc = enc_of(bytes, sizeof bytes);
    bucket_record_encode(record, &enc);
    if (enc.failed) return err_set(err, ERR_TOO_LARGE, "the bucket's record");
    buf_clear(&m->attr_buf);
    TRY(attr_set(&m->attr_buf, ATTR_KEY, str_of(key, (size_t)len), err));
    TRY(attr_set(&m->attr_buf, ATTR_BUCKET_RECORD, str_of(bytes, enc.len), err));
    Entry entry = {.op = found == NULL ? OP_CREATE : OP_UPDATE,
                   .shard = SHARD_SYSTEM,
                   .bucket = BUCKET_UID_SYSTEM,
                   .attrs = buf_str(&m->attr_buf)};
    entry.file = found == NULL ? file_id_make(SHARD_SYSTEM, record->created_ms, &engine->rng)
                               : found->row.file;
    m->created = found == NULL;
    m->bucket_record = *record;
    m->bucket_record.extra = (Str){NULL, 0};
    m->shard = SHARD_SYSTEM;
    engine->bucket_changes++;
    ErrCode code = engine_append(engine, &entry, m, err);
    if (code != OK) engine->bucket_changes--;
    return code;
}

static void set_bucket(const Mutation *m, BucketRecord *record)
{
    if (m->settings.has_quota_bytes) record->quota_bytes = m->settings.quota_bytes;
    if (m->settings.has_quota_files) record->quota_files = m->settings.quota_files;
}

/* Settings for a bucket that is there. */
static ErrCode change_bucket(Engine *engine, Mutation *m, Err *err)
{
    char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
    int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(m->bucket));
    StoreFound found;
    bool there = false;
    BucketRecord record;
    Str value;
    TRY(store_find(engine->reader, BUCKET_UID_SYSTEM, str_of(key, (size_t)len), NULL,
                   deciding_view(), &found, &there, err));
    if (!there || !attr_get(found.row.attrs, ATTR_BUCKET_RECORD, &value)) {
        return err_set(err, ERR_CORRUPT, "the record of bucket %.*s is missing",
                       STR_ARG(m->bucket));
    }
    TRY(bucket_record_decode(value, &record, err));
    set_bucket(m, &record);
    return append_bucket(engine, m, &record, &found, err);
}

static void decide_bucket_create(Engine *engine, Mutation *m)
{
    if (!bucket_name_valid(m->bucket)) {
        engine_answer(
            engine, m,
            err_set(&m->err, ERR_BAD_BUCKET_NAME,
                    "a bucket name has 3 to 63 of [a-z0-9.-], begins and ends with a letter "
                    "or digit, has no two dots in a row, and is no IP address"));
        return;
    }
    BucketRecord record = {0};
    StoreFound found;
    bool there = false;
    ErrCode code = find_bucket(engine, m->bucket, &record, &found, &there, &m->err);
    bool set = m->settings.has_quota_bytes || m->settings.has_quota_files;
    if (code == OK && there && !set) {
        m->bucket_record = record;
        m->bucket_record.extra = (Str){NULL, 0};
        refuse(engine, m, ERR_BUCKET_EXISTS, &found);
        return;
    }
    if (code == OK && !engine_has_room(engine, engine_shard(engine, SHARD_SYSTEM))) {
        stall(engine, m);
        return;
    }
    if (code == OK && there) {
        code = change_bucket(engine, m, &m->err);
    } else if (code == OK) {
        record = (BucketRecord){.phase = BUCKET_OPEN,
                                .placement_class = engine->options.standard.number,
                                .created_ms = clock_wall_ms(engine->options.clock)};
        while (record.uid == BUCKET_UID_SYSTEM)
            record.uid = rng_u64(&engine->rng);
        set_bucket(m, &record);
        code = append_bucket(engine, m, &record, NULL, &m->err);
    }
    if (code != OK) engine_answer(engine, m, code);
}

static void decide_bucket_delete(Engine *engine, Mutation *m)
{
    BucketRecord record;
    StoreFound found;
    bool there = false;
    bool empty = false;
    ErrCode code = bucket_name_valid(m->bucket) ? OK : ERR_NO_BUCKET;
    if (code == OK) code = find_bucket(engine, m->bucket, &record, &found, &there, &m->err);
    if (code == OK && !there) {
        refuse(engine, m, ERR_NO_BUCKET, &found);
        return;
    }
    if (code == OK) code = store_bucket_empty(engine->reader, record.uid, &empty, &m->err);
    if (code == OK && !empty) code = ERR_BUCKET_NOT_EMPTY;
    if (code == OK && !engine_has_room(engine, engine_shard(engine, SHARD_SYSTEM))) {
        stall(engine, m);
        return;
    }
    if (code == OK) {
        char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
        int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(m->bucket));
        code = store_find(engine->reader, BUCKET_UID_SYSTEM, str_of(key, (size_t)len), NULL,
                          deciding_view(), &found, &there, &m->err);
    }
    if (code == OK) {
        ASSERT(there);
        engine->bucket_changes++;
        code = append_delete(engine, m, SHARD_SYSTEM, &found, &m->err);
        if (code != OK) engine->bucket_changes--;
    }
    if (code != OK) engine_answer(engine, m, code);
}

void engine_decide(Engine *engine, Mutation *m)
{
    if (m->has_request && engine_decide_repeat(engine, m)) return;
    if (m->refusal != OK) {
        engine_answer(engine, m, m->refusal);
        return;
    }
    switch (m->type) {
    case MUTATION_PUT:
    case MUTATION_CREATE:
    case MUTATION_DELETE: decide_by_name(engine, m); break;
    case MUTATION_UPDATE:
    case MUTATION_DELETE_FILE: decide_by_id(engine, m); break;
    case MUTATION_BUCKET_CREATE: decide_bucket_create(engine, m); break;
    case MUTATION_BUCKET_DELETE: decide_bucket_delete(engine, m); break;
    }
}
