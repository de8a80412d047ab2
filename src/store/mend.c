/* The list of damage, entry by entry: files here, packs in mend_pack.c. */
#include "store/mend.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/log.h"
#include "store/mend_priv.h"

#define AVERAGE_OVER 8 /* entries of which the newest is told in entry_ms */

/* --- life --- */

Mender *mender_new(Store *store, const MenderOptions *options)
{
    ASSERT(options->source_count <= MEND_SOURCES_MAX && options->on_applier != NULL &&
           options->pace != NULL);
    Mender *m = mem_new(sizeof *m);
    m->store = store;
    m->options = *options;
    buf_init(&m->step.bytes, COMPACT_STEP_MAX + ROW_KEY_MAX);
    buf_init(&m->step.row, ROW_VALUE_MAX);
    buf_init(&m->step.attrs, ATTRS_MAX);
    buf_init(&m->keep.records, COMPACT_STEP_MAX);
    buf_init(&m->record, PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8);
    buf_init(&m->row, ROW_VALUE_MAX);
    return m;
}

void mender_rest(Mender *m)
{
    store_reader_free(TAKE(m->reader));
    for (unsigned i = 0; i < MEND_SOURCES_MAX; i++)
        store_reader_free(TAKE(m->sources[i]));
}

void mender_free(Mender *m)
{
    if (m == NULL) return;
    mender_rest(m);
    buf_deinit(&m->step.bytes);
    buf_deinit(&m->step.row);
    buf_deinit(&m->step.attrs);
    buf_deinit(&m->keep.records);
    buf_deinit(&m->record);
    buf_deinit(&m->row);
    mem_free(m);
}

void mender_status(const Mender *m, MenderStatus *out)
{
    out->files = atomic_load(&m->files);
    out->packs = atomic_load(&m->packs);
    out->bytes = atomic_load(&m->bytes);
    out->helpless = atomic_load(&m->helpless);
    out->entry_ms = atomic_load(&m->entry_ms);
}

static ErrCode pace(Mender *m, uint64_t bytes, Err *err)
{
    if (m->options.pace(m->options.ctx, bytes)) return OK;
    return err_set(err, ERR_SHUTTING_DOWN, "the server is stopping");
}

/* --- small bodies --- */

/* As one other root has it. */
static ErrCode fetch_from(Mender *m, unsigned i, BucketUid bucket, Str key, const FileRow *row,
                          Str *body, Err *err)
{
    Store *source = m->options.sources[i];
    StoreFound found;
    PackRecord record;
    bool there = false;
    if (m->sources[i] == NULL) TRY(store_reader_open(source, &m->sources[i], err));
    TRY(store_look(m->sources[i], bucket, key, STORE_EXACT, row->version, STORE_COMMITTED, &found,
                   &there, err));
    if (!there || !id128_eq(found.row.file, row->file) || found.row.extent_count > 0)
        return err_set(err, ERR_NOT_FOUND, "not there");
    if (found.in_log) {
        TRY(store_body(m->sources[i], &found, body, err));
    } else {
        TRY(packs_read(source->packs, &found.row.place, true, &m->record, &record, err));
        TRY(read_back_check_record(&record, row, err));
        *body = record.stored_body;
    }
    return read_back_check_body(row, *body, err);
}

ErrCode mend_fetch(Mender *m, BucketUid bucket, Str key, const FileRow *row, Str *body, Err *err)
{
    for (unsigned i = 0; i < m->options.source_count; i++) {
        Err own = {0};
        if (fetch_from(m, i, bucket, key, row, body, &own) == OK) return OK;
    }
    return err_set(err, ERR_NOT_FOUND, "no other root has the body whole");
}

/* --- steps --- */

typedef struct {
    Mender *mender;
    ErrCode code;
    Err err;
} Job;

static void run_step(void *arg)
{
    Job *job = arg;
    job->code = store_mend(job->mender->store, &job->mender->step, &job->err);
}

ErrCode mend_flush(Mender *m, Err *err)
{
    MendStep *step = &m->step;
    Job job = {.mender = m};
    uint64_t bytes = step->bytes.len;
    if (step->count == 0 && !step->leave) return OK;
    if (!m->options.on_applier(m->options.ctx, run_step, &job))
        return err_set(err, ERR_SHUTTING_DOWN, "the server is stopping");
    step->count = 0;
    step->leave = false;
    buf_clear(&step->bytes);
    if (job.code != OK) return err_set(err, job.code, "%s", err_text(&job.err));
    atomic_fetch_add(&m->bytes, bytes);
    return pace(m, bytes, err);
}

ErrCode mend_add(Mender *m, MendKind kind, Str row_key, const PackPlace *place, Str body, Err *err)
{
    MendStep *step = &m->step;
    if (step->count == ARRAY_LEN(step->items) ||
        (step->count > 0 && step->bytes.len + row_key.len + body.len > COMPACT_STEP_BYTES))
        TRY(mend_flush(m, err));
    MendItem *item = &step->items[step->count];
    *item = (MendItem){.kind = kind,
                       .place = *place,
                       .key_at = step->bytes.len,
                       .key_len = row_key.len,
                       .body_len = body.len};
    TRY(buf_append_str(&step->bytes, row_key, err));
    TRY(buf_append_str(&step->bytes, body, err));
    step->count++;
    return OK;
}

/* --- one file --- */

/* The version that entry names, as the root has it; *found false: no more, or not to be found. */
static ErrCode look_up(Mender *m, const RiskEntry *entry, StoreFound *out, bool *found, Err *err)
{
    Str key = str_of(entry->key, entry->key_len);
    TRY(store_look(m->reader, entry->bucket, key, STORE_EXACT, entry->version, STORE_COMMITTED, out,
                   found, err));
    *found = *found && id128_eq(out->row.file, entry->file);
    return OK;
}

static ErrCode put_small(Mender *m, const RiskEntry *entry, const FileRow *row, bool *whole,
                         Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str key = str_of(entry->key, entry->key_len);
    Str row_key = str_of(bytes, row_key_name(bytes, entry->bucket, key, entry->version));
    Str body = {NULL, 0};
    StoreFound now;
    bool found = false;
    Err own = {0};
    ErrCode code = mend_fetch(m, entry->bucket, key, row, &body, &own);
    if (code == ERR_NOT_FOUND) return OK;
    if (code == OK) code = mend_add(m, MEND_BODY, row_key, &row->place, body, err);
    if (code == OK) code = mend_flush(m, err);
    TRY(code);
    TRY(look_up(m, entry, &now, &found, err));
    *whole = found && !now.in_log && read_back_small(m->store, &now.row, &m->record, &own) == OK;
    return OK;
}

static ErrCode mend_small(Mender *m, const RiskEntry *entry, const FileRow *row, bool *whole,
                          Err *err)
{
    Err own = {0};
    *whole = row->place.pack == 0;
    if (*whole) return OK; /* there is no body */
    ErrCode code = read_back_small(m->store, row, &m->record, &own);
    *whole = code == OK;
    if (*whole) return OK;
    if (!read_back_is_damage(code)) return err_set(err, code, "%s", err_text(&own));
    return put_small(m, entry, row, whole, err);
}

/* --- large bodies --- */

static ErrCode copy_extent(Mender *m, const Extent *extent, Err *err)
{
    for (unsigned i = 0; i < m->options.source_count; i++) {
        AUTO(BlobReader, blob_reader_free) from = NULL;
        Err own = {0};
        bool from_bad = true;
        if (blob_reader_open(m->options.sources[i]->blobs, extent->body, extent->number, &from,
                             &own) != OK)
            continue;
        ErrCode code = blob_mend(m->store->blobs, from, &from_bad, &own);
        if (code != OK && from_bad) continue;
        if (code != OK) return err_set(err, code, "%s", err_text(&own));
        char path[BLOB_PATH_MAX];
        blob_path(extent->body, extent->number, path);
        LOG_TO(OPERATIONS, WARN, "body.mended", "place=%s", path);
        atomic_fetch_add(&m->bytes, extent->size);
        return pace(m, extent->size, err);
    }
    return err_set(err, ERR_NOT_FOUND, "no other root has the body whole");
}

static ErrCode read_extent(Mender *m, const Extent *extent, Err *err)
{
    return read_back_extent(m->store, extent, m->options.pace, m->options.ctx, err);
}

ErrCode mend_bring_extent(Mender *m, const Extent *extent, Err *err)
{
    bool there = false;
    TRY(blob_exists(m->store->blobs, extent->body, extent->number, &there, err));
    return there ? OK : copy_extent(m, extent, err);
}

/* row: views that last. */
static ErrCode mend_large(Mender *m, const FileRow *row, bool *whole, Err *err)
{
    *whole = true;
    for (uint32_t i = 0; i < row->extent_count; i++) {
        Extent extent = extent_at(row->extents, i);
        Err own = {0};
        ErrCode code = read_extent(m, &extent, &own);
        if (read_back_is_damage(code)) {
            code = copy_extent(m, &extent, &own);
            if (code == OK) code = read_extent(m, &extent, &own);
        }
        if (read_back_is_damage(code) || code == ERR_BUSY) *whole = false;
        if (code != OK && *whole) return err_set(err, code, "%s", err_text(&own));
    }
    return OK;
}

/* --- entries --- */

static void tell_file(Mender *m, const RiskEntry *entry, uint64_t ms)
{
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    char root[37];
    id128_text(entry->file, id);
    version_id_text(entry->version, version);
    uuid_text(store_root(m->store)->uuid, root);
    LOG_TO(OPERATIONS, WARN, "ledger.mended",
           "root=%s id=\"%s\" version=\"%s\" key=" LOG_STR " size=%" PRIu64 " ms=%" PRIu64, root,
           id, version, LOG_ARG(str_of(entry->key, entry->key_len)), entry->size, ms);
}

static ErrCode mend_file(Mender *m, const RiskEntry *entry, bool *done, Err *err)
{
    StoreFound found;
    bool there = false;
    TRY(look_up(m, entry, &found, &there, err));
    if (!there || found.in_log) return OK; /* gone, and taken off soon; or to be applied first */
    if (found.row.extent_count > 0) {
        FileRow row = found.row;
        buf_clear(&m->row);
        TRY(buf_append_str(&m->row, row.extents, err));
        row.extents = buf_str(&m->row);
        return mend_large(m, &row, done, err);
    }
    return mend_small(m, entry, &found.row, done, err);
}

static ErrCode mend_entry(Mender *m, const RiskEntry *entry, bool *done, Err *err)
{
    Risk *risk = m->store->risk;
    uint64_t pack = pack_path_number(entry->place);
    uint64_t start_ms = clock_boot_ns(m->store->options.clock) / 1000000;
    if (id128_is_zero(entry->file)) return pack == 0 ? OK : mend_pack(m, pack, done, err);
    TRY(mend_file(m, entry, done, err));
    if (!*done) return OK;
    uint64_t ms = clock_boot_ns(m->store->options.clock) / 1000000 - start_ms;
    uint64_t old = atomic_load(&m->entry_ms);
    atomic_store(&m->entry_ms,
                 old == 0 ? MAX(ms, (uint64_t)1)
                          : MAX((old * (AVERAGE_OVER - 1) + ms) / AVERAGE_OVER, (uint64_t)1));
    atomic_fetch_add(&m->files, 1);
    risk_clear(risk, entry->file, entry->version, RISK_WHOLE);
    tell_file(m, entry, ms);
    return OK;
}

static ErrCode look(Mender *m, Err *err)
{
    RiskCursor cursor = {.len = 0};
    AUTO(void, mem_free) memory = mem_new(sizeof(RiskEntry));
    RiskEntry *entry = memory;
    uint64_t helpless = 0;
    TRY(store_reader_open(m->store, &m->reader, err));
    while (risk_next(m->store->risk, &cursor, entry)) {
        bool done = false;
        TRY(mend_entry(m, entry, &done, err));
        if (done)
            m->mended++;
        else
            helpless++;
        TRY(pace(m, entry->size, err));
    }
    atomic_store(&m->helpless, helpless);
    return OK;
}

ErrCode mender_look(Mender *m, size_t *mended, Err *err)
{
    *mended = 0;
    if (m->options.source_count == 0 || atomic_load(&m->store->failed) ||
        risk_files(m->store->risk) + risk_places(m->store->risk) == 0) {
        atomic_store(&m->helpless, 0);
        return OK;
    }
    m->mended = 0;
    m->step.count = 0;
    m->step.leave = false;
    buf_clear(&m->step.bytes);
    ErrCode code = look(m, err);
    mender_rest(m);
    *mended = m->mended;
    return code;
}
