#include "blob/blobs_priv.h"

#include "base/crc.h"
#include "base/fault.h"
#include "format/pack.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* open --write*--> open --finish--> finished, or failed: after any error only free is left.
 *
 * staging/BODY.EXTENT.tmp is written chunk by chunk; chunks are plain, so all that must be kept of
 * them until the end is their CRC: 4 bytes each, 80 KiB for 5 GiB in chunks of 256 KiB. */

#define TABLE_PIECE_ROWS 1024 /* rows of the table written at once */

typedef enum { STEP_OPEN, STEP_WRITE, STEP_FINISH } Step;

/* A file that the bytes go to. While a step of it is under way it belongs to whoever takes that:
 * this thread, or one of the root's pool, which keeps it if the disk stands still. */
typedef struct {
    Blobs *blobs;
    BodyId body;
    uint32_t extent;
    char staging[BLOB_PATH_MAX];
    File *file;
    bool finished; /* renamed into blobs/ */
    Step step;
    uint64_t offset; /* STEP_WRITE: */
    const void *data;
    size_t len;
    ErrCode code; /* of the step */
    Err err;
    BodyWork work;
} Target;

/* What became of it. */
typedef struct {
    Blobs *blobs;
    Target *target; /* NULL: there is none, or it is the pool's */
    ErrCode code;   /* OK, or what ended it */
    Err err;
} Place;

struct BlobWriter {
    Blobs *blobs;
    bool pooled;
    Place places[1 + BLOB_MIRRORS_MAX]; /* the first is that of blobs; the others mirrors */
    unsigned place_count;
    BodyId body;
    uint32_t extent;
    char staging[BLOB_PATH_MAX];
    ErrCode failed; /* OK, or the code of the error that ended it */
    bool finished;

    HashCtx *hash;
    bool digested; /* digest is set, hash is used up */
    Sha256 digest;
    uint64_t size; /* bytes taken, those in chunk included */

    void *room;     /* which chunk is in */
    uint8_t *chunk; /* chunk_size bytes, aligned for DISK_OPEN_BODY */
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

/* What is missing when a body is written is a directory of the root, and no client's file. */
static ErrCode not_there(ErrCode code, Err *err)
{
    if (code != ERR_NOT_FOUND) return code;
    return err_wrap(err, ERR_IO, "the root's directory");
}

/* Makes the bytes durable, then the name. */
static ErrCode target_publish(Target *target, Err *err)
{
    Blobs *blobs = target->blobs;
    char path[BLOB_PATH_MAX];
    blob_path(target->body, target->extent, path);
    if (!fault_planted("skip-blob-sync")) TRY(disk_sync(target->file, err));
    TRY(blob_leaf_make(blobs, target->body, err));
    int injected = fault_point("blob.finish");
    if (injected != 0) return err_set_errno(err, ERR_IO, injected, "finish %s", path);
    if (fault_planted("skip-blob-dir-sync")) {
        TRY(disk_rename(blobs->disk, target->staging, path, err));
    } else {
        TRY(disk_rename_durable(blobs->disk, target->staging, path, err));
    }
    target->finished = true;
    return OK;
}

/* An I/O error is maybe one of a sync, after which nothing of the root can be trusted. */
static ErrCode target_finish(Target *target, Err *err)
{
    if (atomic_load(&target->blobs->failed))
        return err_set(err, ERR_ROOT_FAILED, "an earlier sync of a blob failed");
    ErrCode code = not_there(target_publish(target, err), err);
    if (code != ERR_IO) return code;
    atomic_store(&target->blobs->failed, true);
    return err_wrap(err, ERR_ROOT_FAILED, "the root has failed");
}

static ErrCode target_open(Target *target, Err *err)
{
    ErrCode code = disk_open(target->blobs->disk, target->staging, DISK_OPEN_BODY, &target->file,
                             err);
    return not_there(code, err);
}

static void target_run(void *arg)
{
    Target *target = arg;
    Err *err = &target->err;
    switch (target->step) {
    case STEP_OPEN: target->code = target_open(target, err); break;
    case STEP_WRITE:
        target->code = disk_write(target->file, target->offset, target->data, target->len, err);
        break;
    case STEP_FINISH: target->code = target_finish(target, err); break;
    }
}

static void target_drop(void *arg)
{
    Target *target = arg;
    bool there = target->file != NULL && !target->finished;
    disk_close(target->file);
    if (there) {
        ErrCode ignored = disk_unlink(target->blobs->disk, target->staging, NULL);
        (void)ignored; /* if it could not be removed, the next start empties staging/ */
    }
    wake_deinit(&target->work.done);
    mem_free(target);
}

/* An unlink waits for the disk. */
static void target_close(const BlobWriter *writer, Target *target)
{
    if (target == NULL) return;
    if (writer->pooled && !target->finished)
        body_pool_give(target->blobs->pool, &target->work);
    else
        target_drop(target);
}

static void step_begin(const BlobWriter *writer, Place *place, const Target *step)
{
    Target *target = place->target;
    target->step = step->step;
    target->offset = step->offset;
    target->data = step->data;
    target->len = step->len;
    if (writer->pooled)
        body_pool_begin(target->blobs->pool, &target->work, step->step == STEP_FINISH);
    else
        target_run(target);
}

/* What a disk that stands still was given to read may change before it does: of that file only an
 * unlink is left. */
static void step_end(const BlobWriter *writer, Place *place)
{
    Target *target = place->target;
    if (writer->pooled && !body_pool_wait(target->blobs->pool, &target->work)) {
        place->target = NULL;
        place->code = err_set(&place->err, ERR_BUSY, "the disk of this root stands still");
        return;
    }
    place->code = target->code;
    if (target->code != OK) place->err = target->err;
}

/* The same step of all that did not fail, at the same time if threads do it; what a mirror does not
 * take ends that mirror. */
static ErrCode step_all(BlobWriter *writer, const Target *step, Err *err)
{
    bool begun[1 + BLOB_MIRRORS_MAX] = {false};
    for (unsigned i = writer->place_count; i-- > 0;) {
        if (writer->places[i].code != OK) continue;
        begun[i] = true;
        step_begin(writer, &writer->places[i], step);
    }
    for (unsigned i = 0; i < writer->place_count; i++) {
        if (begun[i]) step_end(writer, &writer->places[i]);
    }
    if (writer->places[0].code != OK) *err = writer->places[0].err;
    return writer->places[0].code;
}

static ErrCode place_open(BlobWriter *writer, Blobs *blobs, Err *err)
{
    static const Target open = {.step = STEP_OPEN};
    Place *place = &writer->places[writer->place_count];
    Target *target = mem_new(sizeof *target);
    target->blobs = blobs;
    target->body = writer->body;
    target->extent = writer->extent;
    memcpy(target->staging, writer->staging, sizeof target->staging);
    body_work_init(&target->work, target_run, target_drop, target);
    *place = (Place){.blobs = blobs, .target = target};
    step_begin(writer, place, &open);
    step_end(writer, place);
    if (place->code == OK) {
        writer->place_count++;
        return OK;
    }
    *err = place->err;
    if (place->target != NULL) target_drop(TAKE(place->target)); /* it has no file */
    return place->code;
}

static ErrCode writer_open(Blobs *blobs, BodyId body, uint32_t extent, bool pooled,
                           BlobWriter **out, Err *err)
{
    void *room = NULL;
    if (atomic_load(&blobs->failed))
        return err_set(err, ERR_ROOT_FAILED, "an earlier sync of a blob failed");
    TRY(mem_take(blobs->chunk_size + DISK_BODY_ALIGN, &room, err));
    AUTO(BlobWriter, blob_writer_free) writer = mem_new(sizeof *writer);
    writer->blobs = blobs;
    writer->pooled = pooled;
    writer->body = body;
    writer->extent = extent;
    writer->room = room;
    writer->chunk = (uint8_t *)ALIGN_UP((uintptr_t)room, (uintptr_t)DISK_BODY_ALIGN);
    writer->hash = hash_new(HASH_SHA256);
    blob_staging_path(body, extent, writer->staging);
    TRY(place_open(writer, blobs, err));
    *out = TAKE(writer);
    return OK;
}

ErrCode blob_writer_open(Blobs *blobs, BodyId body, uint32_t extent, BlobWriter **out, Err *err)
{
    return writer_open(blobs, body, extent, blobs->pool != NULL, out, err);
}

ErrCode blob_writer_open_here(Blobs *blobs, BodyId body, uint32_t extent, BlobWriter **out,
                              Err *err)
{
    return writer_open(blobs, body, extent, false, out, err);
}

ErrCode blob_writer_add_mirror(BlobWriter *writer, Blobs *other, Err *err)
{
    ASSERT(writer->size == 0 && writer->place_count <= BLOB_MIRRORS_MAX);
    ASSERT((other->pool != NULL) == writer->pooled);
    ASSERT(other != writer->blobs && other->chunk_size == writer->blobs->chunk_size);
    if (atomic_load(&other->failed))
        return err_set(err, ERR_ROOT_FAILED, "an earlier sync of a blob failed");
    return place_open(writer, other, err);
}

unsigned blob_writer_mirror_count(const BlobWriter *writer)
{
    return writer->place_count - 1;
}

ErrCode blob_writer_mirror(const BlobWriter *writer, unsigned i, Blobs **of, Err *err)
{
    ASSERT(i + 1 < writer->place_count);
    const Place *mirror = &writer->places[i + 1];
    *of = mirror->blobs;
    if (mirror->code != OK) *err = mirror->err;
    return mirror->code;
}

void blob_writer_free(BlobWriter *writer)
{
    if (writer == NULL) return;
    for (unsigned i = 0; i < writer->place_count; i++)
        target_close(writer, writer->places[i].target);
    hash_free(writer->hash);
    mem_free(writer->room);
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

/* Into all files. */
static ErrCode write_all(BlobWriter *writer, uint64_t offset, const void *data, size_t len,
                         Err *err)
{
    Target step = {.step = STEP_WRITE, .offset = offset, .data = data, .len = len};
    return step_all(writer, &step, err);
}

/* Writes the next chunk; only the last one may be short. */
static ErrCode chunk_write(BlobWriter *writer, const void *data, size_t len, Err *err)
{
    uint64_t offset = (uint64_t)writer->crc_count * writer->blobs->chunk_size;
    TRY(write_all(writer, offset, data, len, err));
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
    /* Of several roots: this one will be left, another takes what is sent again. */
    if (code == ERR_IO && writer->pooled) code = ERR_BUSY;
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
        TRY(write_all(writer, offset, piece, enc.len, err));
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
    return write_all(writer, offset, data, sizeof data, err);
}

/* Nobody will name what the mirrors have. */
static void drop_mirrors(const BlobWriter *writer)
{
    for (unsigned i = 1; i < writer->place_count; i++) {
        const Place *mirror = &writer->places[i];
        if (mirror->target == NULL || !mirror->target->finished) continue;
        ErrCode ignored = blob_remove(mirror->blobs, writer->body, writer->extent, NULL);
        (void)ignored; /* the next start removes what nothing names */
    }
}

ErrCode blob_writer_finish(BlobWriter *writer, const BlobInfo *info, Extent *out, Err *err)
{
    ASSERT(!writer->finished);
    writer_check(writer);
    if (writer->failed != OK)
        return err_set(err, writer->failed, "%s failed before", writer->staging);
    blob_writer_digest(writer, &writer->digest);
    TRY(writer_fail(writer, tail_write(writer, info, err), err));
    static const Target finish = {.step = STEP_FINISH};
    ErrCode code = step_all(writer, &finish, err);
    if (code != OK) drop_mirrors(writer);
    TRY(writer_fail(writer, code, err));
    writer->finished = true;
    *out = (Extent){.body = writer->body,
                    .number = writer->extent,
                    .size = writer->size,
                    .digest = writer->digest};
    return OK;
}

/* --- copies --- */

static ErrCode copy_chunks(BlobReader *from, BlobWriter *writer, bool *from_bad, Err *err)
{
    const BlobFooter *footer = blob_reader_footer(from);
    void *room = NULL;
    TRY(mem_take(footer->chunk_size, &room, err));
    AUTO(void, mem_free) chunk = room;
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        size_t len = 0;
        *from_bad = true;
        TRY(blob_reader_chunk(from, i, chunk, &len, err));
        *from_bad = false;
        TRY(blob_writer_write(writer, chunk, len, err));
    }
    return OK;
}

/* The file that stands there goes to quarantine/, under a name that is free. */
static ErrCode put_aside(const BlobWriter *writer, Err *err)
{
    Disk *disk = writer->blobs->disk;
    char path[BLOB_PATH_MAX];
    char to[BLOB_PATH_MAX + 16];
    DiskStat stat = {.exists = true};
    blob_path(writer->body, writer->extent, path);
    TRY(disk_mkdir_durable(disk, "quarantine", err));
    for (unsigned n = 1; stat.exists; n++) {
        snprintf(to, sizeof to, "quarantine/%s.%u", strrchr(path, '/') + 1, n); /* fits */
        TRY(disk_stat(disk, to, &stat, err));
    }
    ErrCode code = disk_rename_durable(disk, path, to, err);
    return code == ERR_NOT_FOUND ? OK : code;
}

static ErrCode copy(BlobReader *from, Blobs *to, bool mends, bool *from_bad, Err *err)
{
    const BlobFooter *footer = blob_reader_footer(from);
    Extent extent;
    Sha256 digest;
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    *from_bad = false;
    TRY(blob_writer_open_here(to, footer->body, footer->extent, &writer, err));
    TRY(copy_chunks(from, writer, from_bad, err));
    blob_writer_digest(writer, &digest);
    *from_bad = !sha256_eq(&digest, &footer->digest);
    if (*from_bad) return err_set(err, ERR_CORRUPT, "the bytes are not those of the digest");
    BlobInfo info = {.shard = footer->shard,
                     .bucket = footer->bucket,
                     .time_ms = footer->time_ms,
                     .attrs = footer->attrs};
    if (mends) TRY(put_aside(writer, err));
    return blob_writer_finish(writer, &info, &extent, err);
}

ErrCode blob_copy(BlobReader *from, Blobs *to, bool *from_bad, Err *err)
{
    return copy(from, to, false, from_bad, err);
}

ErrCode blob_mend(Blobs *to, BlobReader *from, bool *from_bad, Err *err)
{
    ErrCode code = copy(from, to, true, from_bad, err);
    return code == ERR_EXISTS ? ERR_BUSY : code; /* of the file in staging/ */
}
