/* A damaged pack:
 *
 *   left (nothing is written to it any more) -> what can be read is kept (as compaction does)
 *        -> bodies that still stand in it come from other roots -> records without a body, if some
 *        of them may be lost, are made of their rows -> all that was written is read back ->
 * retired
 */
#include "store/mend_priv.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "blob/pack_walk.h"

typedef struct {
    Mender *mender;
    IndexReader *reader;
    uint64_t unsure; /* bytes of records that were read, as the pack's row counts them */
} Keep;

static ErrCode stopping(Err *err)
{
    return err_set(err, ERR_SHUTTING_DOWN, "the server is stopping");
}

/* --- what can be read --- */

typedef struct {
    Mender *mender;
    ErrCode code;
    Err err;
} Job;

static void run_keep(void *arg)
{
    Job *job = arg;
    job->code = store_compact(job->mender->store, &job->mender->keep, &job->err);
}

static ErrCode hand_keep(Mender *m, Err *err)
{
    Job job = {.mender = m};
    uint64_t bytes = m->keep.records.len;
    if (!m->options.on_applier(m->options.ctx, run_keep, &job)) return stopping(err);
    m->keep.count = 0;
    buf_clear(&m->keep.records);
    if (job.code != OK) return err_set(err, job.code, "%s", err_text(&job.err));
    atomic_fetch_add(&m->bytes, bytes);
    return m->options.pace(m->options.ctx, bytes) ? OK : stopping(err);
}

static bool is_unsure(const Entry *entry)
{
    uint8_t key[ROW_KEY_MAX];
    return compact_kind(entry) != COMPACT_KIND_BODY || compact_request_key(entry, key) > 0;
}

static ErrCode keep_record(void *ctx, const PackRecord *record, const PackPlace *place,
                           bool searched, Err *err)
{
    Keep *keep = ctx;
    CompactStep *step = &keep->mender->keep;
    CompactLook look;
    UNUSED(searched); /* its own CRC says that it is one */
    if (is_unsure(&record->entry)) keep->unsure += place->length;
    TRY(compact_look(keep->reader, record, place, &look, err));
    if (!look.needed && !look.tombstone && !look.request) return OK;
    size_t len = pack_record_len(record);
    if (step->count == COMPACT_STEP_RECORDS ||
        (step->count > 0 && step->records.len + len > COMPACT_STEP_BYTES))
        TRY(hand_keep(keep->mender, err));
    TRY(buf_reserve(&step->records, len, err));
    Enc enc = enc_of(step->records.data + step->records.len, len);
    pack_record_encode(record, &enc);
    ASSERT(!enc.failed && enc.len == len);
    step->items[step->count++] = (CompactItem){.place = *place, .at = step->records.len};
    step->records.len += len;
    return OK;
}

static ErrCode pass_over(void *ctx, const PackBad *bad, Err *err)
{
    UNUSED(ctx);
    UNUSED(bad);
    UNUSED(err);
    return OK;
}

/* *unsure: bytes of records without a body or with a request that were read. */
static ErrCode keep_records(Mender *m, IndexReader *reader, uint64_t pack, uint64_t *unsure,
                            Err *err)
{
    Keep keep = {.mender = m, .reader = reader};
    PackWalkOptions options = {
        .root = store_root(m->store)->uuid, .record = keep_record, .bad = pass_over, .ctx = &keep};
    PackWalked walked;
    Err own = {0};
    m->keep.kind = COMPACT_MOVE;
    m->keep.pack = pack;
    m->keep.count = 0;
    buf_clear(&m->keep.records);
    ErrCode code = pack_walk(m->store->disk, pack, &options, &walked, &own);
    if (code == OK && m->keep.count > 0) code = hand_keep(m, &own);
    *unsure = keep.unsure;
    /* A pack that is not there, or of which the disk gives nothing, has nothing to keep. */
    if (code == OK || code == ERR_NOT_FOUND || code == ERR_IO) return OK;
    return err_set(err, code, "%s", err_text(&own));
}

/* --- rows --- */

typedef struct {
    Mender *mender;
    IndexReader *reader;
    uint64_t pack;
    uint64_t first; /* of the packs that were made since it was left */
    bool remake;    /* records without a body, too */
    bool clear;     /* what was looked for is so */
} Rescue;

typedef ErrCode (*RowFn)(Rescue *rescue, Str key, Str value, Err *err);

/* Each row of kind, in short looks: what is moved meanwhile stays under its key. */
static ErrCode each_row(Rescue *rescue, char kind, RowFn fn, Err *err)
{
    uint8_t at[ROW_KEY_MAX + 1] = {(uint8_t)kind};
    size_t at_len = 1;
    Mender *m = rescue->mender;
    for (uint64_t rows = 1;; rows++) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint8_t copy[ROW_KEY_MAX];
        TRY(index_first(rescue->reader, str_of(at, at_len), str_of(&kind, 1), &key, &value, &found,
                        err));
        if (!found) return OK;
        if (key.len > sizeof copy) return err_set(err, ERR_CORRUPT, "index.db: a row's key");
        memcpy(copy, key.ptr, key.len);
        memcpy(at, key.ptr, key.len);
        at[key.len] = 0;
        at_len = key.len + 1;
        TRY(fn(rescue, str_of(copy, key.len), value, err));
        if (rows % COMPACT_STEP_RECORDS == 0 && !m->options.pace(m->options.ctx, 4 * KIB))
            return stopping(err);
    }
}

static ErrCode parse_row(Str row_key, Str value, FileRow *row, BucketUid *bucket, Str *key,
                         Err *err)
{
    if (file_row_decode(value, row) && row_key_name_parse(row_key, bucket, key, &row->version))
        return OK;
    return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
}

static void list_lost(Rescue *rescue, BucketUid bucket, Str key, const FileRow *row)
{
    char path[PACK_PATH_MAX];
    pack_path(rescue->pack, path);
    RiskFound found = {.file = row->file,
                       .version = row->version,
                       .bucket = bucket,
                       .key = key,
                       .size = row->size,
                       .cause = RISK_CHECKSUM,
                       .place = path,
                       .offset = row->place.offset,
                       .detail = "no other root has it whole"};
    risk_add(rescue->mender->store->risk, &found);
    rescue->mender->stuck++;
}

static ErrCode keep_row(Rescue *rescue, Str row_key, Str value, Err *err)
{
    Mender *m = rescue->mender;
    FileRow row;
    BucketUid bucket = 0;
    Str key = {NULL, 0};
    Str body = {NULL, 0};
    Err own = {0};
    TRY(parse_row(row_key, value, &row, &bucket, &key, err));
    if (row.place.pack == 0 && rescue->remake)
        return mend_add(m, MEND_ROW, row_key, &row.place, body, err);
    if (row.place.pack != rescue->pack) return OK;
    if (mend_fetch(m, bucket, key, &row, &body, &own) != OK) {
        list_lost(rescue, bucket, key, &row);
        return OK;
    }
    return mend_add(m, MEND_BODY, row_key, &row.place, body, err);
}

static ErrCode keep_request(Rescue *rescue, Str row_key, Str value, Err *err)
{
    static const PackPlace nowhere = {0};
    UNUSED(value);
    return mend_add(rescue->mender, MEND_REQUEST, row_key, &nowhere, (Str){NULL, 0}, err);
}

/* Nothing may stand in the pack any more, and what was written since must be on the disk. */
static ErrCode check_row(Rescue *rescue, Str row_key, Str value, Err *err)
{
    FileRow row;
    BucketUid bucket = 0;
    Str key = {NULL, 0};
    Err own = {0};
    TRY(parse_row(row_key, value, &row, &bucket, &key, err));
    if (row.place.pack == rescue->pack) rescue->clear = false;
    if (row.place.pack < rescue->first) return OK;
    ErrCode code = read_back_small(rescue->mender->store, &row, &rescue->mender->record, &own);
    if (code == OK) return OK;
    rescue->clear = false;
    if (!read_back_is_damage(code)) return err_set(err, code, "%s", err_text(&own));
    return OK; /* scrub or who reads it lists it, unless it has moved meanwhile */
}

/* --- one pack --- */

static ErrCode retire(Mender *m, uint64_t pack, Err *err)
{
    char root[37];
    m->keep.kind = COMPACT_RETIRE;
    m->keep.pack = pack;
    m->keep.rest_bytes = UINT64_MAX; /* check_row() saw that no row stands there */
    TRY(hand_keep(m, err));
    atomic_fetch_add(&m->packs, 1);
    uuid_text(store_root(m->store)->uuid, root);
    LOG_TO(OPERATIONS, WARN, "ledger.pack_mended", "root=%s pack=%" PRIu64, root, pack);
    return OK;
}

static ErrCode is_retired(IndexReader *reader, uint64_t pack, bool *out, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    Str value = {NULL, 0};
    return index_get(reader, str_of(key, row_key_retired(key, pack)), &value, out, err);
}

static ErrCode rescue_pack(Rescue *rescue, bool *done, Err *err)
{
    Mender *m = rescue->mender;
    PackRow row;
    uint64_t unsure = 0;
    m->step.leave = true;
    TRY(mend_flush(m, err));
    rescue->first = m->step.first;
    TRY(compact_pack_row(rescue->reader, rescue->pack, &row, err));
    TRY(keep_records(m, rescue->reader, rescue->pack, &unsure, err));
    rescue->remake = unsure < row.unsure;
    TRY(each_row(rescue, 'n', keep_row, err));
    if (rescue->remake) TRY(each_row(rescue, 'r', keep_request, err));
    TRY(mend_flush(m, err));
    if (m->stuck > 0) return OK;
    rescue->clear = true;
    TRY(each_row(rescue, 'n', check_row, err));
    if (!rescue->clear) return OK;
    *done = true;
    return retire(m, rescue->pack, err);
}

ErrCode mend_pack(Mender *m, uint64_t pack, bool *done, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    bool retired = false;
    TRY(index_reader_open(m->store->index, &reader, err));
    TRY(is_retired(reader, pack, &retired, err));
    *done = retired; /* and unlinked behind the next checkpoint */
    if (retired) return OK;
    m->stuck = 0;
    Rescue rescue = {.mender = m, .reader = reader, .pack = pack};
    return rescue_pack(&rescue, done, err);
}
