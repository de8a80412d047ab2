#include "blob/blobs_priv.h"

#include "base/crc.h"
#include "base/fault.h"
#include "base/guard.h"
#include "format/pack.h"
#include <inttypes.h>
#include <string.h>

#define WINDOW_ROWS 512 /* of the chunk table kept at a time: 128 MiB of body at 256 KiB */
#define WINDOW_LEN ((size_t)WINDOW_ROWS * BLOB_CHUNK_ROW_LEN)

/* tail is filled from its end: footer last, before it rows of the table. Most files have all of
 * theirs in it after the first read. */
struct BlobReader {
    File *file;
    BlobFooter footer;  /* attrs points into tail */
    uint64_t rows_from; /* number of the first row in the window */
    size_t rows_count;
    size_t rows_at; /* where in tail the first one begins */
    uint8_t tail[WINDOW_LEN + BLOB_FOOTER_LEN];
};

/* Reads len bytes, all of them or damage. */
static ErrCode read_exact(File *file, uint64_t offset, void *data, size_t len, Err *err)
{
    size_t got = 0;
    TRY(disk_read(file, offset, data, len, &got, err));
    if (got < len) return err_set(err, ERR_CORRUPT, "the file ends at %" PRIu64, offset + got);
    return OK;
}

static uint64_t table_len(const BlobFooter *footer)
{
    return footer->chunk_count * BLOB_CHUNK_ROW_LEN;
}

/* Plain bytes of chunk i: all chunks are full but the last. */
static size_t chunk_len(const BlobFooter *footer, uint64_t i)
{
    uint64_t from = i * footer->chunk_size;
    return (size_t)MIN(footer->plain_size - from, (uint64_t)footer->chunk_size);
}

/* The footer agrees with the file (that it does with itself, decoding has checked). */
static ErrCode footer_check(const BlobFooter *footer, uint64_t size, Err *err)
{
    if (footer->stored_size != footer->plain_size)
        return err_set(err, ERR_FORMAT_VERSION, "the chunks are stored in a form not known here");
    uint64_t expected = footer->stored_size + table_len(footer) + BLOB_FOOTER_LEN;
    if (size != expected)
        return err_set(err, ERR_CORRUPT, "the file has %" PRIu64 " bytes instead of %" PRIu64, size,
                       expected);
    return OK;
}

/* Reads the end of the file into tail and decodes the footer. */
static ErrCode footer_read(BlobReader *reader, BodyId body, uint32_t extent, Err *err)
{
    uint64_t size = 0;
    BlobFooter *footer = &reader->footer;
    TRY(disk_size(reader->file, &size, err));
    if (size < BLOB_FOOTER_LEN)
        return err_set(err, ERR_CORRUPT, "the file has only %" PRIu64 " bytes", size);
    size_t len = (size_t)MIN(size, (uint64_t)sizeof reader->tail);
    uint8_t *from = reader->tail + sizeof reader->tail - len;
    TRY(read_exact(reader->file, size - len, from, len, err));
    TRY(blob_footer_decode(str_of(reader->tail + WINDOW_LEN, BLOB_FOOTER_LEN), footer, err));
    if (!id128_eq(footer->body, body) || footer->extent != extent)
        return err_set(err, ERR_CORRUPT, "the file says that it is another extent");
    TRY(footer_check(footer, size, err));
    if (footer->chunk_count <= WINDOW_ROWS) {
        reader->rows_count = (size_t)footer->chunk_count;
        reader->rows_at = WINDOW_LEN - (size_t)table_len(footer);
    }
    return OK;
}

/* Brings row i into the window. */
static ErrCode rows_load(BlobReader *reader, uint64_t i, Err *err)
{
    const BlobFooter *footer = &reader->footer;
    ASSERT(i < footer->chunk_count);
    if (i >= reader->rows_from && i - reader->rows_from < reader->rows_count) return OK;
    uint64_t from = i - i % WINDOW_ROWS;
    size_t count = (size_t)MIN(footer->chunk_count - from, (uint64_t)WINDOW_ROWS);
    reader->rows_count = 0;
    TRY(read_exact(reader->file, footer->stored_size + from * BLOB_CHUNK_ROW_LEN, reader->tail,
                   count * BLOB_CHUNK_ROW_LEN, err));
    reader->rows_from = from;
    reader->rows_count = count;
    reader->rows_at = 0;
    return OK;
}

/* Row i, which must be one of a plain chunk: others are not written yet. */
static ErrCode row_get(BlobReader *reader, uint64_t i, ChunkRow *out, Err *err)
{
    ChunkRow row;
    TRY(rows_load(reader, i, err));
    size_t at = reader->rows_at + (size_t)(i - reader->rows_from) * BLOB_CHUNK_ROW_LEN;
    Dec dec = dec_of(reader->tail + at, BLOB_CHUNK_ROW_LEN);
    if (!chunk_row_decode(&dec, &row))
        return err_set(err, ERR_CORRUPT, "row %" PRIu64 " of the chunk table", i);
    if (row.flags != 0)
        return err_set(err, ERR_FORMAT_VERSION, "chunk %" PRIu64 " is stored in a form not known",
                       i);
    if (row.stored_len != chunk_len(&reader->footer, i))
        return err_set(err, ERR_CORRUPT, "chunk %" PRIu64 " of %" PRIu32 " bytes", i,
                       row.stored_len);
    *out = row;
    return OK;
}

/* The whole table against its CRC and the sizes, window by window. */
static ErrCode table_verify(BlobReader *reader, Err *err)
{
    const BlobFooter *footer = &reader->footer;
    uint32_t crc = 0;
    for (uint64_t i = 0; i < footer->chunk_count; i += reader->rows_count) {
        TRY(rows_load(reader, i, err));
        crc = crc32c_more(crc, reader->tail + reader->rows_at,
                          reader->rows_count * BLOB_CHUNK_ROW_LEN);
    }
    if (crc != footer->table_crc)
        return err_set(err, ERR_CORRUPT, "the chunk table does not have its CRC");
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        ChunkRow row;
        TRY(row_get(reader, i, &row, err));
    }
    return OK;
}

static ErrCode reader_open(Blobs *blobs, BodyId body, uint32_t extent, DiskOpenMode mode,
                           BlobReader **out, Err *err)
{
    char path[BLOB_PATH_MAX];
    AUTO(BlobReader, blob_reader_free) reader = mem_new(sizeof *reader);
    blob_path(body, extent, path);
    TRY(disk_open(blobs->disk, path, mode, &reader->file, err));
    ErrCode code = footer_read(reader, body, extent, err);
    if (code == OK) code = table_verify(reader, err);
    if (code != OK) return err_wrap(err, code, "open %s", path);
    *out = TAKE(reader);
    return OK;
}

ErrCode blob_reader_open(Blobs *blobs, BodyId body, uint32_t extent, BlobReader **out, Err *err)
{
    return reader_open(blobs, body, extent, DISK_OPEN_READ, out, err);
}

ErrCode blob_reader_open_direct(Blobs *blobs, BodyId body, uint32_t extent, BlobReader **out,
                                Err *err)
{
    return reader_open(blobs, body, extent, DISK_OPEN_DIRECT, out, err);
}

const BlobFooter *blob_reader_footer(const BlobReader *reader)
{
    return &reader->footer;
}

ErrCode blob_reader_chunk(BlobReader *reader, uint64_t i, void *data, size_t *len, Err *err)
{
    const BlobFooter *footer = &reader->footer;
    ChunkRow row;
    TRY(row_get(reader, i, &row, err));
    TRY(read_exact(reader->file, i * footer->chunk_size, data, row.stored_len, err));
    if (crc32c(data, row.stored_len) != row.crc && !fault_planted("trust-chunks"))
        return err_set(err, ERR_CORRUPT, "chunk %" PRIu64 " does not have its CRC", i);
    *len = row.stored_len;
    return OK;
}

int blob_reader_fd(const BlobReader *reader)
{
    return disk_fd(reader->file);
}

void blob_reader_free(BlobReader *reader)
{
    if (reader == NULL) return;
    disk_close(reader->file);
    mem_free(reader);
}

/* ---- windows ---- */

ErrCode blob_window_open(BlobReader *reader, uint64_t i, BlobWindow *out, Err *err)
{
    const BlobFooter *footer = &reader->footer;
    ASSERT(i < footer->chunk_count);
    if (footer->chunk_size > BLOB_WINDOW_MAX)
        return err_set(err, ERR_BUSY, "chunks of %" PRIu32 " bytes are not mapped",
                       footer->chunk_size);
    BlobWindow window = {.offset = i * footer->chunk_size};
    uint64_t most = BLOB_WINDOW_MAX / footer->chunk_size * footer->chunk_size;
    window.len = (size_t)MIN(footer->plain_size - window.offset, most);
    TRY(file_map_open(reader->file, window.offset, window.len, &window.map, err));
    *out = window;
    return OK;
}

ErrCode blob_window_verify(BlobReader *reader, const BlobWindow *window, size_t *good, Err *err)
{
    uint64_t i = window->offset / reader->footer.chunk_size;
    ASSERT(window->map.data != NULL);
    for (size_t at = 0; at < window->len; i++) {
        ChunkRow row;
        uint32_t crc = 0;
        *good = at;
        TRY(row_get(reader, i, &row, err));
        ASSERT(row.stored_len <= window->len - at);
        if (!guard_crc32c(window->map.data + at, row.stored_len, &crc))
            return err_set(err, ERR_CORRUPT, "chunk %" PRIu64 " can't be read", i);
        if (crc != row.crc)
            return err_set(err, ERR_CORRUPT, "chunk %" PRIu64 " does not have its CRC", i);
        at += row.stored_len;
    }
    *good = window->len;
    return OK;
}

void blob_window_close(BlobWindow *window)
{
    file_map_close(&window->map);
}
