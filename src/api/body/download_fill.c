/* Verifying the bytes of a download: mapped where that is possible, so that sendfile can send what
 * was verified without a copy, else read into a buffer. */
#include "api/body/download_priv.h"

#include <inttypes.h>

#include "base/metric.h"

/* By how the bytes of large files go out. */
static Metric metric_sent[] = {
    {.kind = METRIC_COUNTER,
     .name = "holdfast_download_bytes_total",
     .help = "Bytes of large files verified for sending, by how they are sent.",
     .labels = "way=\"mapped\""},
    {.kind = METRIC_COUNTER,
     .name = "holdfast_download_bytes_total",
     .help = "Bytes of large files verified for sending, by how they are sent.",
     .labels = "way=\"copied\""},
};

void download_metrics_register(void)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&registered)) return;
    for (size_t i = 0; i < ARRAY_LEN(metric_sent); i++)
        metric_register(&metric_sent[i]);
}

/* Opens the extent that pos is in. */
static ErrCode open_extent(Fill *fill, Err *err)
{
    const Extent *extent = &fill->extents[fill->extent];
    TRY(blob_reader_open(fill->blobs, extent->body, extent->number, &fill->reader, err));
    const BlobFooter *footer = blob_reader_footer(fill->reader);
    if (footer->plain_size == extent->size) return OK;
    ErrCode code = err_set(err, ERR_CORRUPT,
                           "extent %" PRIu32 " has %" PRIu64 " bytes, not %" PRIu64, fill->extent,
                           footer->plain_size, extent->size);
    blob_reader_free(TAKE(fill->reader));
    return code;
}

/* piece holds what was verified from pos on, up to the extent's byte `to`: goes on behind it. */
static void filled(Fill *fill, Piece *piece, uint64_t to)
{
    uint64_t size = fill->extents[fill->extent].size;
    piece->from = fill->pos - fill->extent_from;
    ASSERT(to > piece->from && to <= size);
    piece->extent = fill->extent;
    piece->len = (size_t)(MIN(to, fill->end - fill->extent_from) - piece->from);
    fill->pos += piece->len;
    if (fill->pos - fill->extent_from < size && fill->pos < fill->end) return;
    piece->last = TAKE(fill->reader);
    fill->extent_from += size;
    fill->extent++;
}

static uint64_t next_chunk(const Fill *fill)
{
    return (fill->pos - fill->extent_from) / blob_reader_footer(fill->reader)->chunk_size;
}

static ErrCode verify_window(Fill *fill, Piece *piece, Err *err)
{
    size_t good = 0;
    ErrCode code = blob_window_verify(fill->reader, &piece->window, &good, err);
    if (code != OK) {
        fill->bad_offset = piece->window.offset + good;
        blob_window_close(&piece->window);
        return code;
    }
    piece->data = NULL;
    piece->fd = blob_reader_fd(fill->reader);
    filled(fill, piece, piece->window.offset + piece->window.len);
    metric_add(&metric_sent[0], (int64_t)piece->len);
    return OK;
}

/* Room for a chunk of len bytes. ERR_BUSY, ERR_NO_MEMORY. */
static ErrCode make_room(Fill *fill, Piece *piece, size_t len, uint8_t **room, Err *err)
{
    if (len > buffers_size(fill->buffers)) {
        if (piece->heap == NULL) TRY(mem_take(len, &piece->heap, err));
        *room = piece->heap;
        return OK;
    }
    if (piece->buffer == NULL) TRY(buffers_take(fill->buffers, BUFFERS_OUT, &piece->buffer, err));
    *room = piece->buffer->data;
    return OK;
}

static ErrCode read_chunk(Fill *fill, Piece *piece, Err *err)
{
    const BlobFooter *footer = blob_reader_footer(fill->reader);
    uint64_t i = next_chunk(fill);
    uint64_t from = i * footer->chunk_size;
    uint8_t *room = NULL;
    size_t len = 0;
    TRY(make_room(fill, piece, footer->chunk_size, &room, err));
    fill->bad_offset = from;
    TRY(blob_reader_chunk(fill->reader, i, room, &len, err));
    piece->data = room + (fill->pos - fill->extent_from - from);
    filled(fill, piece, from + len);
    metric_add(&metric_sent[1], (int64_t)piece->len);
    return OK;
}

bool download_is_damage(ErrCode code)
{
    return code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_IO;
}

static ErrCode fill_once(Fill *fill, Piece *piece, Err *err)
{
    piece->was_resident = false;
    fill->bad_extent = fill->extent;
    fill->bad_offset = 0;
    if (fill->reader == NULL) TRY(open_extent(fill, err));
    ErrCode code = blob_window_open(fill->reader, next_chunk(fill), &piece->window, err);
    piece->was_resident = code == OK && file_map_resident(&piece->window.map);
    if (code == OK) return verify_window(fill, piece, err);
    return code == ERR_BUSY ? read_chunk(fill, piece, err) : code;
}

ErrCode download_fill(Fill *fill, Piece *piece, Err *err)
{
    ASSERT(piece->len == 0 && fill->pos < fill->end);
    Err own = {0};
    ErrCode code = fill_once(fill, piece, err);
    if (!download_is_damage(code) || fill->mends == MENDS_MAX) return code;
    ErrCode mended = service_body_mend(fill->service, fill->store, &fill->extents[fill->extent],
                                       &own);
    if (mended == ERR_BUSY) return err_set(err, ERR_BUSY, "%s", err_text(&own));
    if (mended != OK) return code;
    fill->mended[fill->mends++] = TAKE(fill->reader);
    err_clear(err);
    return fill_once(fill, piece, err);
}

ErrCode download_fill_now(Fill *fill, Piece *piece, bool *done, Err *err)
{
    ASSERT(piece->len == 0 && fill->pos < fill->end);
    *done = false;
    fill->bad_extent = fill->extent;
    if (fill->reader == NULL) return OK;
    /* Refused: the worker tries again, and reads if it must. */
    if (blob_window_open(fill->reader, next_chunk(fill), &piece->window, NULL) != OK) return OK;
    if (!file_map_resident(&piece->window.map)) {
        blob_window_close(&piece->window);
        return OK;
    }
    *done = true;
    return verify_window(fill, piece, err);
}

void download_piece_clear(Piece *piece, bool all)
{
    blob_window_close(&piece->window);
    blob_reader_free(TAKE(piece->last));
    piece->len = 0;
    piece->data = NULL;
    if (!all) return;
    buffer_release(TAKE(piece->buffer));
    mem_free(TAKE(piece->heap));
}
