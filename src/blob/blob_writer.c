#include "blob/blobs_priv.h"

#include "base/crc.h"
#include "base/fault.h"
#include "format/pack.h"
#include <inttypes.h>
#include <string.h>

/* open --write*--> open --finish--> finished, or failed: after any error only free is left.
 *
 * staging/BODY.EXTENT.tmp is written chunk by chunk; chunks are plain, so all that must be kept of
 * them until the end is their CRC: 4 bytes each, 80 KiB for 5 GiB in chunks of 256 KiB. */

#define TABLE_PIECE_ROWS 1024 /* rows of the table written at once */

struct BlobWriter {
    Blobs *blobs;
    File *file;
    BodyId body;
    uint32_t extent;
    char staging[BLOB_PATH_MAX];
    ErrCode failed; /* OK, or the code of the error that ended it */
    bool finished;  /* renamed into blobs/ */

    HashCtx *hash;
    bool digested; /* digest is set, hash is used up */
    Sha256 digest;
    uint64_t size; /* bytes taken, those in chunk included */

    uint8_t *chunk; /* chunk_size bytes of room */
    size_t chunk_len;
    uint32_t *crcs; /* of the chunks written */
    size_t crc_count;
    size_t crc_capacity;
};

static void writer_check(const BlobWriter *writer)
{
    ASSERT(writer->chunk_len < writer->blobs->chunk_size);
    ASSERT(writer->crc_count <= writer->crc_capacity);
    ASSERT(writer->size <= EXTENT_SIZE_MAX);
}

ErrCode blob_writer_open(Blobs *blobs, BodyId body, uint32_t extent, BlobWriter **out, Err *err)
{
    void *chunk = NULL;
    if (atomic_load(&blobs->failed))
        return err_set(err, ERR_ROOT_FAILED, "an earlier sync of a blob failed");
    TRY(mem_take(blobs->chunk_size, &chunk, err));
    AUTO(BlobWriter, blob_writer_free) writer = mem_new(sizeof *writer);
    writer->blobs = blobs;
    writer->body = body;
    writer->extent = extent;
    writer->chunk = chunk;
    writer->hash = hash_new(HASH_SHA256);
    blob_staging_path(body, extent, writer->staging);
    TRY(disk_open(blobs->disk, writer->staging, DISK_OPEN_CREATE, &writer->file, err));
    *out = TAKE(writer);
    return OK;
}

void blob_writer_free(BlobWriter *writer)
{
    if (writer == NULL) return;
    if (writer->file != NULL) {
        disk_close(writer->file);
        if (!writer->finished) {
            ErrCode ignored = disk_unlink(writer->blobs->disk, writer->staging, NULL);
            (void)ignored; /* if it could not be removed, the next start empties staging/ */
        }
    }
    hash_free(writer->hash);
    mem_free(writer->chunk);
    mem_free(writer->crcs);
    mem_free(writer);
}

uint64_t blob_writer_size(const BlobWriter *writer)
{
    return writer->size;
}

void blob_writer_digest(BlobWriter *writer, Sha256 *out)
{
    if (!writer->digested) hash_final(writer->hash, &writer->digest);
    writer->digested = true;
    *out = writer->digest;
}

static ErrCode crcs_add(BlobWriter *writer, uint32_t crc, Err *err)
{
    if (writer->crc_count == writer->crc_capacity) {
        void *more = NULL;
        size_t capacity = MAX(2 * writer->crc_capacity, (size_t)16);
        TRY(mem_take(capacity * sizeof crc, &more, err));
        if (writer->crc_count > 0) memcpy(more, writer->crcs, writer->crc_count * sizeof crc);
        mem_free(writer->crcs);
        writer->crcs = more;
        writer->crc_capacity = capacity;
    }
    writer->crcs[writer->crc_count++] = crc;
    return OK;
}

/* Writes the next chunk; only the last one may be short. */
static ErrCode chunk_write(BlobWriter *writer, const void *data, size_t len, Err *err)
{
    uint64_t offset = (uint64_t)writer->crc_count * writer->blobs->chunk_size;
    TRY(disk_write(writer->file, offset, data, len, err));
    return crcs_add(writer, crc32c(data, len), err);
}

static ErrCode chunks_write(BlobWriter *writer, const uint8_t *data, size_t len, Err *err)
{
    size_t chunk_size = writer->blobs->chunk_size;
    while (len > 0) {
        size_t part = MIN(len, chunk_size - writer->chunk_len);
        if (part == chunk_size) { /* whole chunks need no copy */
            TRY(chunk_write(writer, data, chunk_size, err));
        } else {
            memcpy(writer->chunk + writer->chunk_len, data, part);
            writer->chunk_len += part;
            if (writer->chunk_len == chunk_size) {
                writer->chunk_len = 0;
                TRY(chunk_write(writer, writer->chunk, chunk_size, err));
            }
        }
        data += part;
        len -= part;
    }
    return OK;
}

/* Notes the error that ends the writer. */
static ErrCode writer_fail(BlobWriter *writer, ErrCode code, Err *err)
{
    if (code == OK) return OK;
    writer->failed = code;
    return err_wrap(err, code, "write %s", writer->staging);
}

ErrCode blob_writer_write(BlobWriter *writer, const void *data, size_t len, Err *err)
{
    ASSERT(!writer->digested && !writer->finished);
    writer_check(writer);
    if (writer->failed != OK)
        return err_set(err, writer->failed, "%s failed before", writer->staging);
    if (len > EXTENT_SIZE_MAX - writer->size)
        return err_set(err, ERR_TOO_BIG, "more than the %" PRIu64 " bytes of an extent",
                       (uint64_t)EXTENT_SIZE_MAX);
    hash_update(writer->hash, data, len);
    writer->size += len;
    return writer_fail(writer, chunks_write(writer, data, len, err), err);
}

/* The chunk table, at offset; *crc is that of all its bytes. */
static ErrCode table_write(BlobWriter *writer, uint64_t offset, uint32_t *crc, Err *err)
{
    uint8_t piece[TABLE_PIECE_ROWS * BLOB_CHUNK_ROW_LEN];
    uint64_t left = writer->size;
    size_t row = 0;
    *crc = 0;
    while (row < writer->crc_count) {
        Enc enc = enc_of(piece, sizeof piece);
        size_t last = MIN(writer->crc_count, row + TABLE_PIECE_ROWS);
        for (; row < last; row++) {
            ChunkRow chunk = {.crc = writer->crcs[row]};
            chunk.stored_len = (uint32_t)MIN(left, (uint64_t)writer->blobs->chunk_size);
            left -= chunk.stored_len;
            chunk_row_encode(&chunk, &enc);
        }
        ASSERT(!enc.failed);
        TRY(disk_write(writer->file, offset, piece, enc.len, err));
        *crc = crc32c_more(*crc, piece, enc.len);
        offset += enc.len;
    }
    ASSERT(left == 0);
    return OK;
}

/* Everything behind the chunks that are written. */
static ErrCode tail_write(BlobWriter *writer, const BlobInfo *info, Err *err)
{
    uint8_t data[BLOB_FOOTER_LEN];
    if (writer->chunk_len > 0) {
        TRY(chunk_write(writer, writer->chunk, writer->chunk_len, err));
        writer->chunk_len = 0;
    }
    BlobFooter footer = {.body = writer->body,
                         .extent = writer->extent,
                         .bucket = info->bucket,
                         .shard = info->shard,
                         .plain_size = writer->size,
                         .stored_size = writer->size,
                         .chunk_size = writer->blobs->chunk_size,
                         .chunk_count = writer->crc_count,
                         .digest = writer->digest,
                         .time_ms = info->time_ms,
                         .attrs = info->attrs};
    TRY(table_write(writer, writer->size, &footer.table_crc, err));
    blob_footer_encode(&footer, data);
    uint64_t offset = writer->size + writer->crc_count * (uint64_t)BLOB_CHUNK_ROW_LEN;
    return disk_write(writer->file, offset, data, sizeof data, err);
}

/* Makes the bytes durable, then the name. */
static ErrCode writer_publish(BlobWriter *writer, Err *err)
{
    Blobs *blobs = writer->blobs;
    char path[BLOB_PATH_MAX];
    blob_path(writer->body, writer->extent, path);
    if (!fault_planted("skip-blob-sync")) TRY(disk_sync(writer->file, err));
    TRY(blob_leaf_make(blobs, writer->body, err));
    int injected = fault_point("blob.finish");
    if (injected != 0) return err_set_errno(err, ERR_IO, injected, "finish %s", path);
    if (fault_planted("skip-blob-dir-sync")) {
        TRY(disk_rename(blobs->disk, writer->staging, path, err));
    } else {
        TRY(disk_rename_durable(blobs->disk, writer->staging, path, err));
    }
    return OK;
}

ErrCode blob_writer_finish(BlobWriter *writer, const BlobInfo *info, Extent *out, Err *err)
{
    ASSERT(!writer->finished);
    writer_check(writer);
    if (writer->failed != OK)
        return err_set(err, writer->failed, "%s failed before", writer->staging);
    blob_writer_digest(writer, &writer->digest);
    TRY(writer_fail(writer, tail_write(writer, info, err), err));
    if (atomic_load(&writer->blobs->failed))
        return err_set(err, ERR_ROOT_FAILED, "an earlier sync of a blob failed");
    ErrCode code = writer_publish(writer, err);
    if (code == ERR_IO) { /* maybe of a sync, after which nothing of the root can be trusted */
        atomic_store(&writer->blobs->failed, true);
        code = err_wrap(err, ERR_ROOT_FAILED, "the root has failed");
    }
    TRY(writer_fail(writer, code, err));
    writer->finished = true;
    *out = (Extent){.body = writer->body,
                    .number = writer->extent,
                    .size = writer->size,
                    .digest = writer->digest};
    return OK;
}
