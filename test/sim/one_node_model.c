#include "one_node_model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/store_priv.h"

void model_init(Model *model)
{
    memset(model, 0, sizeof *model);
    model->buckets[0] = true; /* "files" exists from the start */
    model->history = history_new();
    for (size_t i = 0; i < MODEL_OPS; i++)
        buf_init(&model->ops[i].body, MIB);
}

void model_deinit(Model *model)
{
    history_free(model->history);
    for (size_t i = 0; i < MODEL_OPS; i++) {
        model_release(&model->ops[i]);
        buf_deinit(&model->ops[i].body);
    }
}

void model_fail(Model *model, const char *format, ...)
{
    if (model->failed) return; /* the first tells most */
    model->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(model->failure, sizeof model->failure, format, args);
    va_end(args);
}

ModelOp *model_take(Model *model)
{
    for (size_t i = 0; i < MODEL_OPS; i++) {
        ModelOp *op = &model->ops[i];
        if (op->used) continue;
        Buf body = op->body;
        memset(op, 0, sizeof *op);
        op->body = body;
        op->used = true;
        mutation_init(&op->m, MUTATION_PUT);
        return op;
    }
    return NULL;
}

void model_release(ModelOp *op)
{
    if (!op->used) return;
    mutation_deinit(&op->m);
    op->used = false;
}

Str model_bucket_name(unsigned bucket)
{
    return bucket == 0 ? STR("files") : STR("photos");
}

Str model_key_name(const Model *model, unsigned bucket, unsigned key)
{
    if (key >= MODEL_KEYS) return str_from_cstr(model->random[bucket][key - MODEL_KEYS]);
    static const char *const names[MODEL_KEYS] = {
        "a",       "a/1",
        "a/2",     "a/b/c",
        "a0",      "b",
        "dir/",    "dir/x",
        "dir/x/y", "ü",
        "z z",     "../x",
        "a//b",    "long-name-long-name-long-name-long-name-long-name-long-name"};
    return str_from_cstr(names[key]);
}

unsigned model_slot(const Model *model, unsigned bucket, Str key)
{
    unsigned k = 0;
    while (k < MODEL_SLOTS && !str_eq(key, model_key_name(model, bucket, k)))
        k++;
    return k;
}

bool model_slot_busy(const Model *model, unsigned bucket, unsigned key)
{
    for (size_t i = 0; i < MODEL_OPS; i++) {
        const ModelOp *op = &model->ops[i];
        if (op->used && !op->answered && op->bucket == bucket && op->key == key) return true;
    }
    return false;
}

/* Most bodies are small, some fill packs and segments, a few are blobs. */
static size_t body_len(ValueId value)
{
    uint64_t h = value * 0x9e3779b97f4a7c15ULL;
    unsigned kind = (unsigned)(h >> 60);
    if (kind == 0) return INLINE_MAX + 1 + (h >> 20) % 100000;
    if (kind == 1) return INLINE_MAX;
    if (kind < 4) return 8 + (h >> 20) % 30000;
    return 8 + (h >> 20) % 400;
}

void model_body(ValueId value, Buf *out)
{
    size_t len = body_len(value);
    buf_clear(out);
    ErrCode code = buf_reserve(out, len, NULL);
    ASSERT(code == OK);
    out->len = len;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = value ^ (i * 0x100000001b3ULL);
        memcpy(out->data + i, &word, MIN((size_t)8, len - i));
    }
}

void model_etag(ValueId value, char out[ETAG_MAX + 2])
{
    AUTO_BUF(body, MIB);
    model_body(value, &body);
    FileRow row = {.flags = ROW_FLAG_DIGEST_KNOWN, .digest = sha256_of(body.data, body.len)};
    char etag[ETAG_MAX];
    file_row_etag(&row, etag);
    snprintf(out, ETAG_MAX + 2, "\"%.*s\"", ETAG_MAX - 1, etag);
}

static bool op_has_key(const ModelOp *op)
{
    return op->kind != OP_KIND_BUCKET_CREATE && op->kind != OP_KIND_BUCKET_DELETE &&
           op->kind != OP_KIND_REPEAT;
}

static bool op_deletes(const ModelOp *op)
{
    return op->kind == OP_KIND_DELETE || op->kind == OP_KIND_CAS_DELETE ||
           op->kind == OP_KIND_DELETE_ID;
}

static bool op_by_id(const ModelOp *op)
{
    return op->kind == OP_KIND_UPDATE_ID || op->kind == OP_KIND_DELETE_ID;
}

/* Does op's condition hold as things are? */
static bool condition_holds(const Model *model, const ModelOp *op)
{
    ValueId value = model->values[op->bucket][op->key];
    switch (op->kind) {
    case OP_KIND_NEW:
    case OP_KIND_CREATE:
    case OP_KIND_NEW_NAME: return value == 0;
    case OP_KIND_CAS:
    case OP_KIND_CAS_DELETE: return value == op->expected && value != 0;
    case OP_KIND_UPDATE_ID:
    case OP_KIND_DELETE_ID:
        return value != 0 && id128_eq(model->ids[op->bucket][op->key], op->file);
    case OP_KIND_PUT:
    case OP_KIND_DELETE:
    case OP_KIND_BUCKET_CREATE:
    case OP_KIND_BUCKET_DELETE:
    case OP_KIND_REPEAT: return true;
    }
    return true;
}

static bool bucket_is_empty(const Model *model, unsigned bucket)
{
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        if (model->values[bucket][k] != 0) return false;
    }
    return true;
}

static BucketStatRow usage_of(const Model *model, unsigned bucket)
{
    BucketStatRow usage = {0};
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        ValueId value = model->values[bucket][k];
        if (value == 0) continue;
        usage.files++;
        usage.bytes += body_len(value);
    }
    return usage;
}

/* Would op exceed a quota, as things are? And the highest quotas that it meets. */
static void note_quotas(const Model *model, ModelOp *op)
{
    BucketStatRow usage = usage_of(model, op->bucket);
    ValueId old = model->values[op->bucket][op->key];
    uint64_t files = model->quota_files[op->bucket];
    uint64_t bytes = model->quota_bytes[op->bucket];
    uint64_t less = old == 0 ? 0 : body_len(old);
    uint64_t more = body_len(op->value);
    if (files != 0 && old == 0 && usage.files + 1 > files) op->may_exceed = true;
    if (bytes != 0 && more > less && usage.bytes - less + more > bytes) op->may_exceed = true;
    op->files_max = files == 0 ? UINT64_MAX : MAX(op->files_max, files);
    op->bytes_max = bytes == 0 ? UINT64_MAX : MAX(op->bytes_max, bytes);
}

/* Notes what op may be refused for, with the state as it is now. */
static void note(const Model *model, ModelOp *op)
{
    if (!model->buckets[op->bucket]) op->may_lack = true;
    if (!op_has_key(op)) {
        if (op->kind == OP_KIND_BUCKET_CREATE && model->buckets[op->bucket]) op->may_refuse = true;
        if (!bucket_is_empty(model, op->bucket)) op->may_refuse = true;
        return;
    }
    if (!op_deletes(op)) note_quotas(model, op);
    bool holds = condition_holds(model, op);
    if (model->values[op->bucket][op->key] == 0 || (op_by_id(op) && !holds)) op->may_miss = true;
    if (!holds) op->may_refuse = true;
}

static void note_all(Model *model)
{
    for (size_t i = 0; i < MODEL_OPS; i++) {
        if (model->ops[i].used && !model->ops[i].answered) note(model, &model->ops[i]);
    }
}

/* --- the history --- */

static unsigned history_key(unsigned bucket, unsigned key)
{
    return bucket * MODEL_SLOTS + key;
}

static uint64_t history_submitted(Model *model, const ModelOp *op)
{
    static const HistoryKind kinds[] = {
        [OP_KIND_PUT] = HISTORY_WRITE,        [OP_KIND_NEW] = HISTORY_CREATE,
        [OP_KIND_CAS] = HISTORY_SWAP,         [OP_KIND_DELETE] = HISTORY_DELETE,
        [OP_KIND_CAS_DELETE] = HISTORY_SWAP,  [OP_KIND_CREATE] = HISTORY_CREATE,
        [OP_KIND_NEW_NAME] = HISTORY_CREATE,  [OP_KIND_UPDATE_ID] = HISTORY_CHANGE,
        [OP_KIND_DELETE_ID] = HISTORY_CHANGE,
    };
    if (!op_has_key(op)) return HISTORY_NONE;
    if (!op_deletes(op) && model->submitted_count < MODEL_VALUES) {
        size_t i = model->submitted_count++;
        model->submitted[i].value = op->value;
        model->submitted[i].digest = op->m.digest;
    }
    return history_begin(model->history, history_key(op->bucket, op->key), kinds[op->kind],
                         op_deletes(op) ? 0 : op->value, op->expected);
}

/* What an answer says of the key. That a file of some id is not there says nothing. */
static void history_answered(Model *model, const ModelOp *op)
{
    ErrCode code = op->m.code;
    bool refused = code == ERR_PRECONDITION || code == ERR_EXISTS || code == ERR_NOT_FOUND;
    if (code == ERR_OUTCOME_UNKNOWN) return;
    if (code == OK)
        history_done(model->history, op->event);
    else if (refused && !op_by_id(op))
        history_refused(model->history, op->event);
    else
        history_void(model->history, op->event);
}

void model_saw(Model *model, unsigned bucket, unsigned key, ValueId value, uint64_t moment)
{
    history_read(model->history, history_key(bucket, key), value, moment);
}

void model_check_history(Model *model, HistoryStats *stats)
{
    unsigned key = 0;
    if (history_check(model->history, &key, stats)) return;
    Str name = model_key_name(model, key / MODEL_SLOTS, key % MODEL_SLOTS);
    model_fail(model, "the history of %.*s/%.*s has no order",
               STR_ARG(model_bucket_name(key / MODEL_SLOTS)), STR_ARG(name));
}

ValueId model_value_of_digest(const Model *model, const Sha256 *digest)
{
    for (size_t i = 0; i < model->submitted_count; i++) {
        if (sha256_eq(&model->submitted[i].digest, digest)) return model->submitted[i].value;
    }
    return 0;
}

bool model_repeat(Model *model, ModelOp *op, Rng *rng)
{
    size_t count = MIN(model->request_count, (size_t)MODEL_REQUESTS);
    if (count == 0) return false;
    op->kind = OP_KIND_REPEAT;
    op->first = model->requests[rng_below(rng, count)];
    op->other_hash = rng_below(rng, 4) == 0;
    op->bucket = op->first.bucket;
    op->key = op->first.key;
    op->m.has_request = true;
    op->m.request = op->first.id;
    op->m.request_hash = op->first.hash;
    if (op->other_hash) op->m.request_hash.bytes[0] ^= 1;
    return true;
}

bool model_retry(Model *model, ModelOp *op)
{
    if (model->unsure_count == 0) return false;
    const ModelUnsure unsure = model->unsure[--model->unsure_count];
    op->kind = OP_KIND_PUT;
    op->retries = true;
    op->was_made = unsure.seen;
    op->bucket = unsure.bucket;
    op->key = unsure.key;
    op->m.has_request = true;
    op->m.request = unsure.id;
    op->m.request_hash = unsure.hash;
    return true;
}

void model_submitted(Model *model, ModelOp *op)
{
    if (op->kind == OP_KIND_REPEAT) return;
    note(model, op);
    op->event = history_submitted(model, op);
    /* A file under way keeps a bucket from being deleted, whatever becomes of it. */
    for (size_t i = 0; i < MODEL_OPS; i++) {
        ModelOp *other = &model->ops[i];
        if (!other->used || other->answered || other->bucket != op->bucket) continue;
        if (other->kind == OP_KIND_BUCKET_DELETE && op_has_key(op)) other->may_refuse = true;
        if (op->kind == OP_KIND_BUCKET_DELETE && op_has_key(other)) op->may_refuse = true;
    }
}

/* What the answer of a write says: its name, its id, whether it was new. */
static void done_write(Model *model, ModelOp *op)
{
    const Mutation *m = &op->m;
    FileId *id = &model->ids[op->bucket][op->key];
    bool was_there = model->values[op->bucket][op->key] != 0;
    if (op->kind == OP_KIND_NEW_NAME) {
        char *name = model->random[op->bucket][op->key - MODEL_KEYS];
        if (!str_to_cstr(m->row_key, name, ID128_TEXT_LEN + 1)) {
            model_fail(model, "a name of %zu bytes was made", m->row_key.len);
        }
    }
    if (!str_eq(m->row_key, model_key_name(model, op->bucket, op->key)))
        model_fail(model, "a change of another name was acknowledged");
    if (m->created == was_there) model_fail(model, "created says the wrong thing");
    if (was_there != id128_eq(*id, m->row.file))
        model_fail(model, "a file id did not survive its update, or its file's end");
    *id = m->row.file;
    if (!m->has_request) return;
    model->requests[model->request_count++ % MODEL_REQUESTS] = (ModelRequest){
        .id = m->request,
        .hash = m->request_hash,
        .bucket = op->bucket,
        .key = op->key,
        .shard = file_id_shard(m->row.file),
        .file = m->row.file,
        .version = m->row.version};
}

static void answered_repeat(Model *model, const ModelOp *op)
{
    const Mutation *m = &op->m;
    bool same = version_id_cmp(m->row.version, op->first.version) == 0 &&
                id128_eq(m->row.file, op->first.file);
    if (m->code == OK && op->other_hash)
        model_fail(model, "another request under the same id was answered with OK");
    else if (m->code == OK && (!m->repeated || !same))
        model_fail(model, "a repeat was not answered as the first request");
    else if (m->code == ERR_IDEMPOTENCY && !op->other_hash)
        model_fail(model, "a repeat was taken for another request");
    else if (m->code != OK && m->code != ERR_IDEMPOTENCY && m->code != ERR_OUTCOME_UNKNOWN &&
             m->code != ERR_ROOT_FAILED && m->code != ERR_IO)
        model_fail(model, "a repeat was refused with %s", err_info(m->code)->name);
}

static void take_quotas(Model *model, unsigned bucket, const BucketRecord *record)
{
    model->quota_files[bucket] = record->quota_files;
    model->quota_bytes[bucket] = record->quota_bytes;
}

/* A write was acknowledged: what it made more keeps the quotas. */
static void check_quotas(Model *model, const ModelOp *op, ValueId old)
{
    BucketStatRow usage = usage_of(model, op->bucket);
    bool more_bytes = body_len(op->value) > (old == 0 ? 0 : body_len(old));
    if (old == 0 && usage.files > op->files_max)
        model_fail(model, "%" PRIu64 " files are kept, the quota is %" PRIu64, usage.files,
                   op->files_max);
    if (more_bytes && usage.bytes > op->bytes_max)
        model_fail(model, "%" PRIu64 " bytes are kept, the quota is %" PRIu64, usage.bytes,
                   op->bytes_max);
}

static void done_ok(Model *model, ModelOp *op)
{
    unsigned b = op->bucket;
    model->acknowledged++;
    if (op->kind == OP_KIND_BUCKET_CREATE || op->kind == OP_KIND_BUCKET_DELETE) {
        bool create = op->kind == OP_KIND_BUCKET_CREATE;
        bool set = create && !op->m.created;
        if (model->buckets[b] == (create && !set))
            model_fail(model, "a bucket was made or deleted twice");
        if (!create && !bucket_is_empty(model, b)) model_fail(model, "a full bucket was deleted");
        model->buckets[b] = create;
        take_quotas(model, b, &op->m.bucket_record);
        note_all(model);
        return;
    }
    ValueId *value = &model->values[b][op->key];
    Str name = model_key_name(model, b, op->key);
    if (!model->buckets[b]) model_fail(model, "a file was kept in a bucket that is not there");
    if (!condition_holds(model, op)) {
        model_fail(model, "two winners: %.*s held %" PRIx64 " when a condition on %" PRIx64 " won",
                   STR_ARG(name), *value, op->expected);
    }
    if (op_deletes(op) && *value == 0) model_fail(model, "an absent file was deleted");
    if (!op_deletes(op)) done_write(model, op);
    ValueId old = *value;
    *value = op_deletes(op) ? 0 : op->value;
    if (!op_deletes(op)) check_quotas(model, op, old);
    note_all(model);
}

void model_answered(Model *model, ModelOp *op)
{
    op->answered = true;
    if (op->kind == OP_KIND_REPEAT) {
        answered_repeat(model, op);
        return;
    }
    if (op->m.code == OK && op->m.repeated) {
        if (!op->retries) model_fail(model, "a first request was taken for a repeat");
        history_void(model->history, op->event);
        return;
    }
    if (op->m.code == OK && op->was_made) model_fail(model, "a request was carried out twice");
    history_answered(model, op);
    ErrCode code = op->m.code;
    bool fair = true;
    model->refused++;
    if (code == OK) {
        model->refused--;
        done_ok(model, op);
    } else if (code == ERR_PRECONDITION || code == ERR_BUCKET_NOT_EMPTY ||
               code == ERR_BUCKET_EXISTS || code == ERR_EXISTS) {
        fair = op->may_refuse;
    } else if (code == ERR_NOT_FOUND) {
        fair = op->may_miss;
    } else if (code == ERR_NO_BUCKET) {
        fair = op->may_lack;
    } else if (code == ERR_QUOTA_EXCEEDED) {
        fair = op->may_exceed;
    } else if (code == ERR_OUTCOME_UNKNOWN) {
        op->answered = false; /* as a crash would leave it */
    } else if (code != ERR_ROOT_FAILED && code != ERR_NO_SPACE && code != ERR_IO) {
        fair = false;
    }
    if (!fair) {
        model_fail(model, "%.*s of kind %d was refused with %s for no reason",
                   STR_ARG(model_key_name(model, op->bucket, op->key)), (int)op->kind,
                   err_info(code)->name);
    }
}

/* Its sender does not know what became of it, and will ask. */
static void keep_unsure(Model *model, const ModelOp *op)
{
    if (!op->m.has_request || !op_has_key(op) || op->key >= MODEL_KEYS || op->retries) return;
    if (model->unsure_count == MODEL_REQUESTS) return;
    model->unsure[model->unsure_count++] = (ModelUnsure){.id = op->m.request,
                                                         .hash = op->m.request_hash,
                                                         .bucket = op->bucket,
                                                         .key = op->key,
                                                         .value = op->value};
}

void model_crashed(Model *model)
{
    for (size_t i = 0; i < MODEL_OPS; i++) {
        ModelOp *op = &model->ops[i];
        if (!op->used) continue;
        if (op->answered)
            model_release(op);
        else
            keep_unsure(model, op);
    }
}

/* Is `seen` explained by what was acknowledged, or by an op of unknown outcome? */
static bool explained(const Model *model, unsigned bucket, unsigned key, ValueId seen)
{
    if (model->values[bucket][key] == seen) return true;
    for (size_t i = 0; i < MODEL_OPS; i++) {
        const ModelOp *op = &model->ops[i];
        if (!op->used || op->answered || !op_has_key(op)) continue;
        if (op->bucket != bucket || op->key != key) continue;
        if (seen == (op_deletes(op) ? 0 : op->value)) return true;
    }
    return false;
}

ValueId model_value_of(const Buf *got)
{
    AUTO_BUF(want, MIB);
    ValueId value = 0;
    if (got->len < sizeof value) return 0;
    memcpy(&value, got->data, sizeof value);
    if (value == 0 || body_len(value) != got->len) return 0;
    model_body(value, &want);
    return str_eq(buf_str(got), buf_str(&want)) ? value : 0;
}

bool model_excuses(const Model *model, ErrCode code)
{
    return (code == ERR_IO || code == ERR_FILE_DAMAGED) && model->reads_may_fail;
}

/* Which value stands under a name? UINT64_MAX: it could not be read, which may be so or is failed
 * already. */
static ValueId read_value(Model *model, NodeKit *kit, unsigned bucket, Str name, FileId *id)
{
    Err err = {0};
    AUTO_BUF(got, MIB);
    ErrCode code = node_kit_get(kit, model_bucket_name(bucket), name, &got, &err);
    if (code == ERR_NOT_FOUND || code == ERR_NO_BUCKET) return 0;
    if (model_excuses(model, code)) return UINT64_MAX;
    if (code != OK) {
        model_fail(model, "read %.*s: %s: %s", STR_ARG(name), err_info(code)->name, err_text(&err));
        return UINT64_MAX;
    }
    BucketRecord record;
    StoreFound found;
    bool there = buckets_find(kit->buckets, model_bucket_name(bucket), &record);
    code = store_find(kit->reader, record.uid, name, NULL, STORE_COMMITTED, &found, &there, &err);
    if (model_excuses(model, code)) return UINT64_MAX;
    if (code == OK && there) *id = found.row.file;
    ValueId value = model_value_of(&got);
    if (value != 0) return value;
    model_fail(model, "read %.*s: %zu wrong bytes", STR_ARG(name), got.len);
    return UINT64_MAX;
}

void model_check_requests(Model *model, NodeKit *kit)
{
    Err err = {0};
    AUTO(IndexReader, index_reader_free) reader = NULL;
    ErrCode code = index_reader_open(kit->store->index, &reader, &err);
    for (size_t i = 0; i < MIN(model->request_count, (size_t)MODEL_REQUESTS); i++) {
        const ModelRequest *request = &model->requests[i];
        uint8_t key[ROW_KEY_MAX];
        Str value = {NULL, 0};
        RequestRow row;
        bool found = false;
        size_t len = row_key_request(key, request->shard, request->id);
        if (code == OK) code = index_get(reader, str_of(key, len), &value, &found, &err);
        bool right = code == OK && found && request_row_decode(value, &row) &&
                     version_id_cmp(row.version, request->version) == 0;
        if (!right) model_fail(model, "the row of an acknowledged request is not there");
    }
}

/* What the server tells of its buckets. */
static void compare_usage(Model *model, NodeKit *kit)
{
    for (unsigned b = 0; b < MODEL_BUCKETS; b++) {
        BucketRecord record;
        BucketStatRow got;
        BucketStatRow want = usage_of(model, b);
        if (!buckets_find(kit->buckets, model_bucket_name(b), &record)) continue;
        buckets_usage(kit->buckets, record.uid, &got);
        if (got.files == want.files && got.bytes == want.bytes) continue;
        model_fail(model,
                   "bucket %u counts %" PRIu64 " files of %" PRIu64 " bytes, it holds %" PRIu64
                   " of %" PRIu64,
                   b, got.files, got.bytes, want.files, want.bytes);
    }
}

void model_check_usage(Model *model, NodeKit *kit)
{
    for (unsigned b = 0; b < MODEL_BUCKETS; b++) {
        BucketRecord record;
        BucketStatRow got;
        BucketStatRow want = usage_of(model, b);
        Err err = {0};
        if (!buckets_find(kit->buckets, model_bucket_name(b), &record)) continue;
        if (store_bucket_stat(kit->reader, record.uid, &got, &err) != OK)
            model_fail(model, "counts: %s", err_text(&err));
        else if (got.files != want.files || got.bytes != want.bytes)
            model_fail(model, "the index counts bucket %u wrongly", b);
    }
}

static bool bucket_unknown(const Model *model, unsigned bucket)
{
    for (size_t i = 0; i < MODEL_OPS; i++) {
        const ModelOp *op = &model->ops[i];
        bool makes = op->kind == OP_KIND_BUCKET_CREATE || op->kind == OP_KIND_BUCKET_DELETE;
        if (op->used && !op->answered && op->bucket == bucket && makes) return true;
    }
    return false;
}

/* A name that the engine made for an op of unknown outcome. */
static unsigned adopt(Model *model, NodeKit *kit, unsigned bucket, Str key)
{
    FileId id = {{0}};
    ValueId value = read_value(model, kit, bucket, key, &id);
    for (size_t i = 0; i < MODEL_OPS; i++) {
        const ModelOp *op = &model->ops[i];
        if (!op->used || op->answered || op->kind != OP_KIND_NEW_NAME) continue;
        if (op->bucket != bucket || op->value != value) continue;
        char *name = model->random[bucket][op->key - MODEL_KEYS];
        if (!str_to_cstr(key, name, ID128_TEXT_LEN + 1)) break;
        model->values[bucket][op->key] = value;
        model->ids[bucket][op->key] = id;
        return op->key;
    }
    return MODEL_SLOTS;
}

static void list_failed(Model *model, ErrCode code, const Err *err)
{
    if (!model_excuses(model, code)) model_fail(model, "list: %s", err_text(err));
}

static void compare_list(Model *model, NodeKit *kit, unsigned bucket, bool after_crash)
{
    BucketRecord record;
    if (!buckets_find(kit->buckets, model_bucket_name(bucket), &record)) return;
    Err err = {0};
    StoreListOptions options = {.bucket = record.uid};
    AUTO(StoreList, store_list_close) list = NULL;
    ErrCode code = store_list_open(kit->reader, &options, &list, &err);
    if (code != OK) {
        list_failed(model, code, &err);
        return;
    }
    bool listed[MODEL_SLOTS] = {false};
    AUTO_BUF(last, KEY_MAX);
    for (;;) {
        StoreFound file;
        bool is_prefix = false;
        bool found = false;
        code = store_list_next(list, &file, &is_prefix, &found, &err);
        if (code != OK) {
            list_failed(model, code, &err);
            return;
        }
        if (!found) break;
        if (last.len > 0 && str_cmp(file.key, buf_str(&last)) <= 0) {
            model_fail(model, "list: %.*s out of order", STR_ARG(file.key));
        }
        buf_clear(&last);
        ErrCode fits = buf_append_str(&last, file.key, NULL);
        ASSERT(fits == OK); /* a key is at most KEY_MAX bytes */
        unsigned k = model_slot(model, bucket, file.key);
        if (k == MODEL_SLOTS && after_crash) k = adopt(model, kit, bucket, buf_str(&last));
        if (k == MODEL_SLOTS)
            model_fail(model, "list: a strange key %.*s", STR_ARG(buf_str(&last)));
        else
            listed[k] = true;
    }
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        if (listed[k] != (model->values[bucket][k] != 0)) {
            model_fail(model, "list: %.*s is %s", STR_ARG(model_key_name(model, bucket, k)),
                       listed[k] ? "listed but absent" : "there but not listed");
        }
    }
}

static void compare_key(Model *model, NodeKit *kit, unsigned b, unsigned k, bool after_crash)
{
    Str name = model_key_name(model, b, k);
    if (name.len == 0) return; /* not made yet */
    FileId id = model->ids[b][k];
    ValueId seen = read_value(model, kit, b, name, &id);
    if (seen == UINT64_MAX) return;
    model_saw(model, b, k, seen, history_now(model->history));
    bool fine = after_crash ? explained(model, b, k, seen) : seen == model->values[b][k];
    if (!fine) {
        model_fail(model, "%.*s/%.*s holds %" PRIx64 ", acknowledged was %" PRIx64,
                   STR_ARG(model_bucket_name(b)), STR_ARG(name), seen, model->values[b][k]);
    }
    if (!after_crash && !id128_eq(id, model->ids[b][k]))
        model_fail(model, "%.*s has another file id", STR_ARG(name));
    model->values[b][k] = seen;
    model->ids[b][k] = id;
}

void model_compare(Model *model, NodeKit *kit, bool after_crash)
{
    if (after_crash) history_settled(model->history);
    for (unsigned b = 0; b < MODEL_BUCKETS && !model->failed; b++) {
        BucketRecord record;
        bool there = buckets_find(kit->buckets, model_bucket_name(b), &record);
        if (there != model->buckets[b] && !(after_crash && bucket_unknown(model, b))) {
            model_fail(model, "bucket %.*s is %s", STR_ARG(model_bucket_name(b)),
                       there ? "there but was deleted" : "lost");
        }
        model->buckets[b] = there;
        if (there && after_crash) take_quotas(model, b, &record);
        for (unsigned k = 0; k < MODEL_SLOTS && !model->failed; k++)
            compare_key(model, kit, b, k, after_crash);
    }
    for (unsigned b = 0; b < MODEL_BUCKETS && !model->failed; b++)
        compare_list(model, kit, b, after_crash);
    if (!model->failed && !model->reads_may_fail) compare_usage(model, kit);
    if (!after_crash) return;
    for (size_t i = 0; i < model->unsure_count; i++) {
        ModelUnsure *unsure = &model->unsure[i];
        if (model->values[unsure->bucket][unsure->key] == unsure->value) unsure->seen = true;
    }
    for (size_t i = 0; i < MODEL_OPS; i++)
        model_release(&model->ops[i]);
}
