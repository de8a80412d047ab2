/* The only compare-and-swap point: preconditions are decided here, when the lsn is given, against
 * committed plus pending state. A refusal that rests on a pending entry is told only when that
 * entry is committed: if it never is, nobody was told a thing that was not so. */
#include "service/engine_priv.h"

#include <stdio.h>

#include "base/fault.h"
#include "http/conditions.h"

void engine_stall(Engine *engine, Mutation *m)
{
    m->next = NULL;
    if (engine->stalled_last == NULL)
        engine->stalled_first = m;
    else
        engine->stalled_last->next = m;
    engine->stalled_last = m;
}

StoreView engine_deciding_view(void)
{
    /* The bug: two writers of one batch both see the state before, and both win. */
    return fault_planted("decide-on-committed") ? STORE_COMMITTED : STORE_PENDING;
}

/* Answers with code now, or when what the look-up rests on is committed. */
void engine_refuse(Engine *engine, Mutation *m, ErrCode code, const StoreFound *found)
{
    if (found != NULL && found->pending) {
        engine_answer_after(engine, m, code, found->shard, found->lsn);
    } else {
        engine_answer(engine, m, code);
    }
}

/* When a change of bucket's files is to be answered. */
static void note_writes(Mutation *m, const BucketRecord *bucket)
{
    m->async = bucket->mode == PLACE_ASYNC || fault_planted("async-everywhere");
    m->require_all = bucket->require == PLACE_REQUIRE_ALL;
}

void engine_note_writes(Engine *engine, Mutation *m, FileId file)
{
    Buckets *buckets = engine->options.buckets;
    bool by_id = m->type == MUTATION_UPDATE || m->type == MUTATION_DELETE_FILE;
    BucketRecord bucket = {.mode = PLACE_SYNC};
    StoreFound found;
    bool there = false;
    if (m->upload) return;
    ShardId shard = file_id_shard(file);
    if (by_id && engine_shard(engine, shard) != NULL &&
        store_find_id(engine_shard_reader(engine, shard), file, NULL, engine_deciding_view(),
                      &found, &there, NULL) == OK) {
        there = buckets_by_uid(buckets, found.bucket, &bucket);
    } else if (!by_id) {
        there = buckets_find(buckets, m->bucket, &bucket);
    }
    if (there) note_writes(m, &bucket);
}

/* Can a change of shard be had as its bucket requires? If not m is answered, or waits. */
static bool may_decide(Engine *engine, Mutation *m, ShardId id)
{
    EngineShard *shard = engine_shard(engine, id);
    bool stands = replica_role(engine_lead_replica(shard)) == ROLE_PRIMARY;
    /* A new lead may lack what was acknowledged, and another's log bring it back. */
    if (m->async && !stands && !fault_planted("async-decided-early")) {
        engine_stall(engine, m);
        return false;
    }
    unsigned synced = engine_synced(engine, shard);
    if (m->require_synced > synced) {
        ErrCode few = err_set(&m->err, ERR_TOO_FEW_COPIES,
                              "Holdfast-Require asks for %u synced copies, and %u are in sync now; "
                              "nothing was written",
                              m->require_synced, synced);
        engine_answer(engine, m, few);
        return false;
    }
    if (!m->require_all || engine_all_in_sync(engine, shard)) return true;
    if (fault_planted("all-is-in-sync")) return true;
    ErrCode code = err_set(
        &m->err, ERR_TOO_FEW_COPIES,
        "the bucket requires that every copy has what is written, and not all of %u are "
        "in sync now; nothing was written",
        engine_group_copies(engine, shard->group));
    engine_answer(engine, m, code);
    return false;
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
    TRY(store_find(engine_system_reader(engine), BUCKET_UID_SYSTEM, str_of(key, (size_t)len), NULL,
                   engine_deciding_view(), found, there, err));
    if (!*there) return OK;
    Str value;
    if (!attr_get(found->row.attrs, ATTR_BUCKET_RECORD, &value)) {
        return err_set(err, ERR_CORRUPT, "the record of bucket %.*s is missing", STR_ARG(name));
    }
    return bucket_record_decode(value, record, err);
}

/* If-Match and If-None-Match against the current version. */
static ErrCode check_conditions(const Mutation *m, const Target *t, Err *err)
{
    const StoreFound *found = &t->found;
    bool there = t->there;
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
    if (m->version.lsn != 0 && !target_names_version(m, t) &&
        version_id_cmp(m->version, found->row.version) != 0) {
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

ErrCode engine_add_expires(Mutation *m, uint64_t now_ms, Err *err)
{
    uint64_t expires_ms = m->expires_ms + (m->expires_after ? now_ms : 0);
    return m->expires_ms == 0 ? OK
                              : attr_set_varint(&m->attr_buf, ATTR_EXPIRES_MS, expires_ms, err);
}

/* Attributes of the entry: the door's, the key, and the file's birth where its id does not tell. */
static ErrCode make_attrs(Mutation *m, Str key, FileId file, uint64_t created_ms, uint64_t now_ms,
                          Err *err)
{
    buf_clear(&m->attr_buf);
    ErrCode code = buf_append_str(&m->attr_buf, m->attrs, err);
    if (code == OK) code = attr_set(&m->attr_buf, ATTR_KEY, key, err);
    if (code == OK && created_ms != file_id_created_ms(file)) {
        code = attr_set_varint(&m->attr_buf, ATTR_CREATED_MS, created_ms, err);
    }
    if (code == OK && m->has_request) code = add_request(m, err);
    if (code == OK) code = engine_add_expires(m, now_ms, err);
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

/* Flags of a write: what of the name's versions it keeps. */
static unsigned write_flags(const Target *t)
{
    switch (t->versioning) {
    case VERSIONING_ON: return ENTRY_FLAG_KEEP_OLDER;
    case VERSIONING_SUSPENDED: return ENTRY_FLAG_KEEP_OLDER | ENTRY_FLAG_NULL_VERSION;
    case VERSIONING_OFF: break;
    }
    return !t->there && target_has_row(t) ? ENTRY_FLAG_ALL_VERSIONS : 0;
}

static unsigned digest_flag(const Mutation *m)
{
    return m->digest_unknown ? 0 : ENTRY_FLAG_DIGEST_KNOWN;
}

static ErrCode append_write(Engine *engine, Mutation *m, const Target *t, Err *err)
{
    uint64_t now_ms = clock_wall_ms(engine->options.clock);
    if (m->expires_ms != 0 && !m->expires_after && m->expires_ms <= now_ms)
        return err_set(err, ERR_INVALID, "Holdfast-Expires is over already");
    Entry entry = {.op = t->there ? OP_UPDATE : OP_CREATE,
                   .shard = t->shard,
                   .flags = (uint16_t)(digest_flag(m) | write_flags(t)),
                   .bucket = t->bucket,
                   .time_ms = now_ms, /* a new file is as old as its id says */
                   .body = m->body,
                   .size = m->size,
                   .body_digest = m->digest_unknown ? (Sha256){{0}} : m->digest,
                   .extent_count = m->extent_count,
                   .inline_body = m->inline_body};
    /* While a name has versions they are of one file. */
    bool same = t->there || (t->versioning != VERSIONING_OFF && target_has_row(t));
    entry.file = same                        ? t->found.row.file
                 : m->upload && m->part == 0 ? m->file
                                             : file_id_make(t->shard, now_ms, &engine->rng);
    uint64_t created_ms = same ? t->found.row.created_ms : file_id_created_ms(entry.file);
    TRY(make_attrs(m, t->key, entry.file, created_ms, now_ms, err));
    entry.attrs = buf_str(&m->attr_buf);
    AUTO_BUF(extents, EXTENTS_MAX * EXTENT_LEN);
    TRY(encode_extents(m, &extents, err));
    entry.extents = buf_str(&extents);
    if (entry_len(&entry) > ENTRY_MAX) return err_set(err, ERR_TOO_LARGE, "too much metadata");
    m->created = !t->there;
    m->shard = t->shard;
    ErrCode code = engine_append(engine, &entry, m, err);
    if (code == OK) fill_result(m, &entry, t->key);
    return code;
}

/* Flags of a DELETE; for one of a version, whatever that had ended stays ended. */
static unsigned delete_flags(const Target *t)
{
    if (t->has_exact) {
        unsigned flags = 0;
        if (fault_planted("delete-forgets-ended")) return 0;
        if ((t->exact.row.flags & ROW_FLAG_NULL_VERSION) != 0) flags |= ENTRY_FLAG_NULL_VERSION;
        if (!t->has_older) flags |= ENTRY_FLAG_ALL_VERSIONS;
        return flags;
    }
    switch (t->versioning) {
    case VERSIONING_ON: return ENTRY_FLAG_DELETE_MARKER;
    case VERSIONING_SUSPENDED: return ENTRY_FLAG_DELETE_MARKER | ENTRY_FLAG_NULL_VERSION;
    case VERSIONING_OFF: break;
    }
    return ENTRY_FLAG_ALL_VERSIONS;
}

ErrCode engine_append_delete(Engine *engine, Mutation *m, const Target *t, Err *err)
{
    Entry entry = {.op = OP_DELETE,
                   .shard = t->shard,
                   .flags = (uint16_t)delete_flags(t),
                   .file = t->found.row.file,
                   .bucket = t->bucket};
    if (t->has_exact) {
        entry.file = t->exact.row.file;
        entry.target = t->exact.row.version;
    }
    buf_clear(&m->attr_buf);
    TRY(attr_set(&m->attr_buf, ATTR_KEY, t->key, err));
    if (m->has_request) TRY(add_request(m, err));
    entry.attrs = buf_str(&m->attr_buf);
    m->shard = t->shard;
    m->marked = (entry.flags & ENTRY_FLAG_DELETE_MARKER) != 0;
    ErrCode code = engine_append(engine, &entry, m, err);
    if (code == OK && m->marked) fill_result(m, &entry, t->key);
    return code;
}

static bool makes_file(const Mutation *m)
{
    return m->type == MUTATION_PUT || m->type == MUTATION_CREATE || m->type == MUTATION_UPDATE;
}

static const char *const over_quota = "the bucket has a quota, and this would exceed it; "
                                      "GET /v1/buckets/BUCKET tells how much is used";

/* Do its bucket's quotas allow what m changes of its counts? A change that may fit when others are
 * committed, or not, waits for them. ERR_BUSY: it waits. */
static ErrCode check_quota(Engine *engine, const Mutation *m, const Target *t, Err *err)
{
    Buckets *buckets = engine->options.buckets;
    bool more = t->charged != 0 && m->bytes_delta > 0;
    if (more && !buckets_uploads_fit(buckets, t->charged, (uint64_t)m->bytes_delta))
        return err_set(err, ERR_QUOTA_EXCEEDED, "%s", over_quota);
    switch (buckets_fit(buckets, t->bucket, m->files_delta, m->bytes_delta)) {
    case BUCKET_FITS: return OK;
    case BUCKET_MAY_FILL:
        if (!fault_planted("quota-on-committed")) return ERR_BUSY;
        return OK;
    case BUCKET_FULL: break;
    }
    return err_set(err, ERR_QUOTA_EXCEEDED, "%s", over_quota);
}

/* Does m, as things are, hold? */
static ErrCode check_target(const Mutation *m, const Target *t, Err *err)
{
    bool creates = m->type == MUTATION_PUT || m->type == MUTATION_CREATE;
    if (!t->there && !creates && !target_names_version(m, t)) return ERR_NOT_FOUND;
    if (t->there && m->type == MUTATION_CREATE) return ERR_EXISTS;
    return check_conditions(m, t, err);
}

/* All of it holds: appends, waits, or refuses for a quota. */
static void append_found(Engine *engine, Mutation *m, const Target *t)
{
    ErrCode code = target_count(engine, m, t, makes_file(m), &m->err);
    if (code == OK) code = check_quota(engine, m, t, &m->err);
    if (code == ERR_QUOTA_EXCEEDED) {
        engine_refuse(engine, m, code, &t->found);
        return;
    }
    const EngineGroup *group = engine_shard(engine, t->shard)->group;
    if (code == OK && makes_file(m) && !engine_fits_disk(engine, group, m)) {
        code = err_set(&m->err, ERR_NO_SPACE,
                       "the server's disk is full: what is left is kept for what is in the log");
        engine_answer(engine, m, code);
        return;
    }
    bool room = engine_has_room(engine, engine_shard(engine, t->shard));
    if (code == ERR_BUSY || (code == OK && !room)) {
        engine_stall(engine, m);
        return;
    }
    int64_t bytes = m->bytes_delta; /* m may be answered, and gone, when it is appended */
    if (code == OK)
        code = makes_file(m) ? append_write(engine, m, t, &m->err)
                             : engine_append_delete(engine, m, t, &m->err);
    /* Not when it is committed: what is not ends this process' writes. */
    if (code == OK && t->charged != 0)
        buckets_add_uploads(engine->options.buckets, t->charged, bytes);
    if (code != OK) engine_answer(engine, m, code);
}

/* With the file looked up: refuse, or append. */
void engine_decide_found(Engine *engine, Mutation *m, Target *t)
{
    const EngineGroup *group = engine_shard(engine, t->shard)->group;
    if (m->extent_count > 0 && m->store != NULL && m->store != engine_group_store(engine, group)) {
        engine_answer(
            engine, m,
            err_set(&m->err, ERR_BUSY,
                    "the disk that took the body is no longer the one that leads; send it again"));
        return;
    }
    m->absent = !t->there;
    ErrCode code = check_target(m, t, &m->err);
    if (code != OK) {
        engine_refuse(engine, m, code, &t->found);
        return;
    }
    if (target_names_version(m, t)) {
        code = target_find_exact(engine, m, t, &m->err);
        if (code == ERR_NOT_FOUND) {
            engine_refuse(engine, m, code, &t->exact);
            return;
        }
    }
    if (code == OK)
        append_found(engine, m, t);
    else
        engine_answer(engine, m, code);
}

/* The time of one version is over. Older ones stay deleted: a marker goes in its place, or, if it
 * is no null version, before it. */
static void decide_expire(Engine *engine, Mutation *m)
{
    BucketRecord bucket = {.placement_class = engine->options.standard.number};
    Target t = {.bucket = m->bucket_uid, .versioning = VERSIONING_OFF, .key = m->key};
    if (!buckets_by_uid(engine->options.buckets, t.bucket, &bucket)) {
        engine_answer(engine, m, ERR_NOT_FOUND);
        return;
    }
    if (!engine_class_takes(engine, m, bucket.placement_class)) return;
    const EngineGroup *group = engine->groups[bucket.placement_class];
    t.shard = place_shard_of(&group->rules, t.bucket, t.key);
    ErrCode code = store_find(engine_group_reader(engine, group), t.bucket, t.key, NULL,
                              engine_deciding_view(), &t.found, &t.there, &m->err);
    if (code == OK) code = target_find_over(engine, m, &t, &m->err);
    if (fault_planted("expiry-hits-newer") && code == ERR_NOT_FOUND && t.there) code = OK;
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    bool newest = version_id_cmp(t.found.row.version, t.exact.row.version) == 0;
    if (newest && t.has_older) {
        t.has_exact = false;
        t.versioning = (t.exact.row.flags & ROW_FLAG_NULL_VERSION) != 0 ? VERSIONING_SUSPENDED
                                                                        : VERSIONING_ON;
    }
    append_found(engine, m, &t);
}

static void decide_by_name(Engine *engine, Mutation *m)
{
    BucketRecord bucket;
    StoreFound found;
    bool there = false;
    ErrCode code = bucket_name_valid(m->bucket) ? OK : ERR_NO_BUCKET;
    if (code == OK) code = find_bucket(engine, m->bucket, &bucket, &found, &there, &m->err);
    if (code == OK && !there) {
        engine_refuse(engine, m, ERR_NO_BUCKET, &found);
        return;
    }
    if (code == OK && found.pending) {
        engine_stall(engine, m); /* no file may be kept in a bucket that is not itself kept yet */
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
    Target t = {.bucket = bucket.uid, .versioning = bucket.versioning, .key = key};
    if (code == OK && !engine_class_takes(engine, m, bucket.placement_class)) return;
    if (code == OK) {
        const EngineGroup *group = engine->groups[bucket.placement_class];
        if (fault_planted("class-ignored")) group = engine->base;
        t.shard = place_shard_of(&group->rules, bucket.uid, key);
        code = store_find(engine_group_reader(engine, group), t.bucket, key, NULL,
                          engine_deciding_view(), &t.found, &t.there, &m->err);
    }
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    note_writes(m, &bucket);
    if (!may_decide(engine, m, t.shard)) return;
    if (m->type == MUTATION_TAG)
        engine_decide_tags(engine, m, &t);
    else
        engine_decide_found(engine, m, &t);
}

static void decide_by_id(Engine *engine, Mutation *m)
{
    Target t = {.shard = file_id_shard(m->file)};
    BucketRecord bucket = {.versioning = VERSIONING_OFF};
    ErrCode code = OK;
    /* The system's own records are not files that anybody may name. */
    if (!engine_file_takes(engine, m, m->file)) return;
    code = store_find_id(engine_shard_reader(engine, t.shard), m->file, NULL,
                         engine_deciding_view(), &t.found, &t.there, &m->err);
    if (code == OK && target_has_row(&t)) {
        buf_clear(&m->key_buf);
        code = buf_append_str(&m->key_buf, t.found.key, &m->err);
        t.key = buf_str(&m->key_buf);
        t.bucket = t.found.bucket;
        if (!buckets_by_uid(engine->options.buckets, t.bucket, &bucket)) t.there = false;
        t.versioning = bucket.versioning;
        note_writes(m, &bucket);
    }
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    if (may_decide(engine, m, t.shard)) engine_decide_found(engine, m, &t);
}

/* The record of a new bucket, or of one that is there: found. */
static ErrCode append_bucket(Engine *engine, Mutation *m, const BucketRecord *record,
                             const StoreFound *found, Err *err)
{
    char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
    int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(m->bucket));
    AUTO_BUF(bytes, 2 * ATTRS_MAX);
    TRY(buf_reserve(&bytes, record->extra.len + BUCKET_RECORD_FIXED_MAX, err));
    Enc enc = enc_of(bytes.data, bytes.capacity);
    bucket_record_encode(record, &enc);
    buf_clear(&m->attr_buf);
    TRY(attr_set(&m->attr_buf, ATTR_KEY, str_of(key, (size_t)len), err));
    ErrCode fits = attr_set(&m->attr_buf, ATTR_BUCKET_RECORD, str_of(bytes.data, enc.len), err);
    if (enc.failed || fits == ERR_TOO_BIG)
        return err_set(err, ERR_TOO_LARGE, "tags and CORS rules of a bucket have %d bytes together",
                       ATTRS_MAX - BUCKET_RECORD_FIXED_MAX);
    TRY(fits);
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
    if (m->settings.has_versioning) record->versioning = m->settings.versioning;
    if (m->settings.has_mode) record->mode = m->settings.mode;
    if (m->settings.has_require) record->require = m->settings.require;
}

/* The class that m names for a bucket: of one that is there, always its own. */
static ErrCode check_class(const Engine *engine, const Mutation *m, BucketRecord *record, Err *err)
{
    ClassInfo info;
    if (!m->settings.has_class) return OK;
    if (!classes_find(engine->options.classes, m->settings.class, &info))
        return err_set(err, ERR_INVALID, "there is no placement class %.*s",
                       STR_ARG(m->settings.class));
    if (record->uid != 0 && record->placement_class != info.rules.number)
        return err_set(err, ERR_INVALID, "a bucket stays in the placement class it was made in");
    if (record->uid != 0) return OK;
    record->placement_class = info.rules.number;
    record->mode = info.rules.mode;
    record->require = info.rules.require;
    return OK;
}

static bool has_settings(const Mutation *m)
{
    const BucketSettings *set = &m->settings;
    return set->has_quota_bytes || set->has_quota_files || set->has_versioning || set->has_mode ||
           set->has_require || set->has_class || set->attr != 0;
}

/* What is answered before other copies have it can't require them. */
static ErrCode check_writes(const Mutation *m, const BucketRecord *record, Err *err)
{
    BucketRecord wanted = *record;
    set_bucket(m, &wanted);
    if (wanted.mode != PLACE_ASYNC || wanted.require != PLACE_REQUIRE_ALL) return OK;
    return err_set(err, ERR_INVALID,
                   "a bucket whose writes are asynchronous is answered before other copies have "
                   "them: it can't require all");
}

/* Off would say that older versions go, with the next change of their file: nobody means that. */
static ErrCode check_settings(const Engine *engine, const Mutation *m, BucketRecord *record,
                              Err *err)
{
    const BucketSettings *set = &m->settings;
    TRY(check_class(engine, m, record, err));
    TRY(check_writes(m, record, err));
    if (!set->has_versioning || set->versioning != VERSIONING_OFF) return OK;
    if (record->versioning == VERSIONING_OFF) return OK;
    return err_set(err, ERR_INVALID,
                   "versions that were on can't be turned off any more, only suspended");
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
    TRY(store_find(engine_system_reader(engine), BUCKET_UID_SYSTEM, str_of(key, (size_t)len), NULL,
                   engine_deciding_view(), &found, &there, err));
    if (!there || !attr_get(found.row.attrs, ATTR_BUCKET_RECORD, &value)) {
        return err_set(err, ERR_CORRUPT, "the record of bucket %.*s is missing",
                       STR_ARG(m->bucket));
    }
    TRY(bucket_record_decode(value, &record, err));
    set_bucket(m, &record);
    AUTO_BUF(extra, ATTRS_MAX);
    TRY(buf_append_str(&extra, record.extra, err));
    if (m->settings.attr != 0) {
        ErrCode code = attr_set(&extra, m->settings.attr, m->settings.attr_value, err);
        if (code == ERR_TOO_BIG) return err_wrap(err, ERR_TOO_LARGE, "settings of the bucket");
        TRY(code);
    }
    TRY(bucket_set_writes(&extra, record.mode, record.require, err));
    record.extra = buf_str(&extra);
    return append_bucket(engine, m, &record, &found, err);
}

static ErrCode make_bucket(Engine *engine, Mutation *m, Err *err)
{
    AUTO_BUF(extra, ATTRS_MAX);
    BucketRecord record = {.phase = BUCKET_OPEN,
                           .placement_class = engine->options.standard.number,
                           .mode = engine->options.standard.mode,
                           .require = engine->options.standard.require,
                           .created_ms = clock_wall_ms(engine->options.clock)};
    TRY(check_class(engine, m, &record, err));
    TRY(check_writes(m, &record, err));
    while (record.uid <= BUCKET_UID_UPLOADS)
        record.uid = rng_u64(&engine->rng);
    set_bucket(m, &record);
    TRY(bucket_set_writes(&extra, record.mode, record.require, err));
    record.extra = buf_str(&extra);
    return append_bucket(engine, m, &record, NULL, err);
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
    if (code == OK && !there && m->settings.only_there) {
        engine_refuse(engine, m, ERR_NO_BUCKET, &found);
        return;
    }
    if (code == OK && there && !has_settings(m)) {
        m->bucket_record = record;
        m->bucket_record.extra = (Str){NULL, 0};
        engine_refuse(engine, m, ERR_BUCKET_EXISTS, &found);
        return;
    }
    if (code == OK && there && check_settings(engine, m, &record, &m->err) != OK) {
        engine_refuse(engine, m, ERR_INVALID, &found);
        return;
    }
    if (code == OK && !engine_has_room(engine, engine_shard(engine, SHARD_SYSTEM))) {
        engine_stall(engine, m);
        return;
    }
    if (code == OK && there) {
        code = change_bucket(engine, m, &m->err);
    } else if (code == OK) {
        code = make_bucket(engine, m, &m->err);
    }
    if (code != OK) engine_answer(engine, m, code);
}

static ErrCode append_bucket_delete(Engine *engine, Mutation *m, Err *err)
{
    char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
    int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(m->bucket));
    Target t = {.shard = SHARD_SYSTEM,
                .bucket = BUCKET_UID_SYSTEM,
                .versioning = VERSIONING_OFF,
                .key = str_of(key, (size_t)len)};
    TRY(store_find(engine_system_reader(engine), t.bucket, t.key, NULL, engine_deciding_view(),
                   &t.found, &t.there, err));
    ASSERT(t.there);
    engine->bucket_changes++;
    ErrCode code = engine_append_delete(engine, m, &t, err);
    if (code != OK) engine->bucket_changes--;
    return code;
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
        engine_refuse(engine, m, ERR_NO_BUCKET, &found);
        return;
    }
    if (code == OK && !engine_class_takes(engine, m, record.placement_class)) return;
    /* A lead that does not stand may lack what another's log brings back. */
    if (code == OK && !engine_lead_stands(engine, engine->groups[record.placement_class])) {
        engine_stall(engine, m);
        return;
    }
    if (code == OK)
        code = store_bucket_empty(
            engine_group_reader(engine, engine->groups[record.placement_class]), record.uid, &empty,
            &m->err);
    if (code == OK && !empty) code = ERR_BUCKET_NOT_EMPTY;
    if (code == OK && !engine_has_room(engine, engine_shard(engine, SHARD_SYSTEM))) {
        engine_stall(engine, m);
        return;
    }
    if (code == OK) code = append_bucket_delete(engine, m, &m->err);
    if (code != OK) engine_answer(engine, m, code);
}

void engine_decide(Engine *engine, Mutation *m)
{
    m->async = false;
    m->require_all = false;
    if (m->has_request && engine_decide_repeat(engine, m)) return;
    if (m->refusal != OK) {
        engine_answer(engine, m, m->refusal);
        return;
    }
    if (m->takes && !engine_may_take(engine, m)) return;
    if (m->upload) {
        engine_decide_upload(engine, m);
        return;
    }
    switch (m->type) {
    case MUTATION_PUT:
    case MUTATION_CREATE:
    case MUTATION_DELETE:
    case MUTATION_TAG: decide_by_name(engine, m); break;
    case MUTATION_UPDATE:
    case MUTATION_DELETE_FILE: decide_by_id(engine, m); break;
    case MUTATION_BUCKET_CREATE: decide_bucket_create(engine, m); break;
    case MUTATION_BUCKET_DELETE: decide_bucket_delete(engine, m); break;
    case MUTATION_EXPIRE: decide_expire(engine, m); break;
    case MUTATION_KEY_CREATE:
    case MUTATION_KEY_REVOKE: engine_decide_key(engine, m); break;
    case MUTATION_CLASS_SET: engine_decide_class(engine, m); break;
    }
}
