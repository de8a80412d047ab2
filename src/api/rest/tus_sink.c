/* Bytes of an upload into bodies, on workers. Few bytes stay in memory, and then in the log and in
 * packs; more go into extents of their own. An extent is whole at TUS_PIECE_MIN bytes, when the
 * request ends, or when its client goes away. So that many small requests do not make many small
 * extents, the first extent of a request takes those before it in that are not larger than what
 * comes (docs/decisions/0010). */
#include "api/rest/tus_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"

/* How many bytes one extent of an upload with so many has. */
static uint64_t piece_size(uint64_t offset)
{
    return MIN(MAX((uint64_t)TUS_PIECE_MIN, offset / TUS_PIECES), (uint64_t)EXTENT_SIZE_MAX / 2);
}

ErrCode tus_sink_begin(TusSink *sink, Err *err)
{
    const UploadFound *upload = sink->upload;
    sink->whole = hash_run_new();
    sink->offset = upload->offset;
    buf_init(&sink->small, INLINE_MAX);
    if (!hash_run_load(sink->whole, upload->record.hash) ||
        hash_run_size(sink->whole) != upload->offset)
        return err_set(err, ERR_CORRUPT, "the upload's digest is not that of its bytes");
    void *memory = NULL;
    sink->capacity = upload->extent_count + 4;
    TRY(mem_take(sink->capacity * sizeof *sink->extents, &memory, err));
    sink->extents = memory;
    sink->count = upload->extent_count;
    sink->named = sink->count;
    for (uint32_t i = 0; i < sink->count; i++)
        sink->extents[i] = extent_at(buf_str(&upload->extents), i);
    return buf_append_str(&sink->small, buf_str(&upload->body), err);
}

/* --- on a worker --- */

/* The bytes of an extent again, each chunk verified. */
static ErrCode copy_extent(TusSink *sink, const Extent *extent, Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    void *room = NULL;
    TRY(blob_reader_open(store_blobs(sink->store), extent->body, extent->number, &reader, err));
    const BlobFooter *footer = blob_reader_footer(reader);
    if (footer->plain_size != extent->size)
        return err_set(err, ERR_CORRUPT, "an extent of the upload has another size");
    TRY(mem_take(footer->chunk_size, &room, err));
    AUTO(void, mem_free) chunk = room;
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        size_t len = 0;
        TRY(blob_reader_chunk(reader, i, chunk, &len, err));
        TRY(blob_writer_write(sink->writer, chunk, len, err));
    }
    return OK;
}

/* How many of the last extents the new one takes in: those not larger than what comes behind them,
 * as a binary counter does, so that each byte is copied a few times only. */
static uint32_t choose_absorbed(const TusSink *sink)
{
    uint64_t behind = sink->coming;
    uint64_t limit = piece_size(sink->offset) / 2;
    uint32_t first = sink->count;
    while (first > 0 && sink->extents[first - 1].size <= MIN(behind, limit)) {
        behind += sink->extents[first - 1].size;
        first--;
    }
    return first;
}

static ErrCode open_extent(TusSink *sink, Err *err)
{
    TRY(service_body_open(sink->service, sink->class, sink->store, sink->next_body, 0,
                          &sink->writer, err));
    if (sink->small.len > 0) {
        TRY(blob_writer_write(sink->writer, sink->small.data, sink->small.len, err));
        buf_clear(&sink->small);
    }
    if (sink->opened) return OK;
    sink->opened = true;
    uint32_t first = choose_absorbed(sink);
    for (uint32_t i = first; i < sink->count; i++)
        TRY(copy_extent(sink, &sink->extents[i], err));
    sink->count = first;
    sink->named = first;
    return OK;
}

static ErrCode finish_extent(TusSink *sink, Err *err)
{
    const UploadRecord *record = &sink->upload->record;
    if (sink->count == EXTENTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the upload has too many pieces");
    if (sink->count == sink->capacity) {
        void *extents = sink->extents;
        TRY(mem_retake(&extents, 2 * sink->capacity * sizeof *sink->extents, err));
        sink->extents = extents;
        sink->capacity *= 2;
    }
    AUTO_BUF(attrs, ATTRS_MAX);
    TRY(buf_append_str(&attrs, record->attrs, err));
    TRY(attr_set(&attrs, ATTR_KEY, record->key, err));
    BlobInfo info = {.shard = file_id_shard(sink->upload->id),
                     .bucket = record->bucket,
                     .time_ms = clock_wall_ms(sink->clock),
                     .attrs = buf_str(&attrs)};
    TRY(service_body_finish(sink->service, sink->writer, &info, &sink->extents[sink->count], err));
    sink->count++;
    blob_writer_free(TAKE(sink->writer));
    return OK;
}

ErrCode tus_sink_write(TusSink *sink, const uint8_t *data, size_t len, bool *cut, Err *err)
{
    *cut = false;
    TRY(service_admit_write(sink->service, len, err));
    hash_run_update(sink->whole, data, len);
    if (sink->check != NULL) hash_update(sink->check, data, len);
    bool few = sink->writer == NULL && sink->count == 0 && sink->small.len + len <= INLINE_MAX;
    if (few) {
        TRY(buf_append(&sink->small, data, len, err));
    } else {
        if (sink->writer == NULL) TRY(open_extent(sink, err));
        TRY(blob_writer_write(sink->writer, data, len, err));
    }
    sink->offset += len;
    sink->coming -= MIN(sink->coming, (uint64_t)len);
    if (sink->writer == NULL || blob_writer_size(sink->writer) < piece_size(sink->offset))
        return OK;
    *cut = true;
    return finish_extent(sink, err);
}

ErrCode tus_sink_finish(TusSink *sink, Err *err)
{
    return sink->writer == NULL ? OK : finish_extent(sink, err);
}

ErrCode tus_sink_check(TusSink *sink, Err *err)
{
    uint8_t digest[TUS_CHECKSUM_MAX];
    if (sink->check == NULL) return OK;
    hash_final(sink->check, digest);
    if (memcmp(digest, sink->wanted, sink->wanted_len) == 0) return OK;
    return err_set(err, ERR_CHECKSUM_MISMATCH, "nothing of this request is kept");
}

void tus_sink_discard(TusSink *sink)
{
    blob_writer_free(TAKE(sink->writer));
    for (uint32_t i = sink->named; i < sink->count; i++) {
        Err err = {0};
        if (service_body_remove(sink->service, sink->extents[i].body, 0, &err) == OK) continue;
        LOG(WARN, "http.orphan_left", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    }
    sink->count = sink->named;
}

/* --- on the loop --- */

void tus_sink_body(TusSink *sink, Mutation *m)
{
    ASSERT(sink->writer == NULL);
    m->size = sink->offset;
    hash_run_digest(sink->whole, &m->digest);
    if (sink->count == 0) {
        m->inline_body = buf_str(&sink->small);
        return;
    }
    m->store = sink->store;
    m->extents = sink->extents;
    m->extent_count = sink->count;
}

void tus_sink_free(TusSink *sink)
{
    blob_writer_free(sink->writer);
    buf_deinit(&sink->small);
    mem_free(sink->extents);
    hash_run_free(sink->whole);
    hash_free(sink->check);
}
