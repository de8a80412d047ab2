#include "blob/blob_walk.h"

#include "base/crc.h"
#include "blob/blobs_priv.h"
#include <inttypes.h>
#include <string.h>

_Static_assert(BLOB_WALK_PATH_MAX == BLOB_PATH_MAX, "one buffer serves both");

typedef struct {
    const BlobWalkOptions *options;
    BlobWalked *out;
    File *file;
    HashCtx *hash;
    void *chunk;
    bool whole; /* no bad place so far */
} Walk;

static void walk_deinit(Walk *walk)
{
    disk_close(walk->file);
    hash_free(walk->hash);
    mem_free(walk->chunk);
}

void blob_walk_path(BodyId body, uint32_t extent, char out[BLOB_WALK_PATH_MAX])
{
    blob_path(body, extent, out);
}

bool blob_walk_parse(const char *path, BodyId *body, uint32_t *extent)
{
    const char *slash = strrchr(path, '/');
    char dir[DISK_PATH_MAX];
    if (slash == NULL || !str_to_cstr(str_of(path, (size_t)(slash - path)), dir, sizeof dir))
        return false;
    return blob_name_parse(dir, slash + 1, body, extent);
}

static ErrCode tell(Walk *walk, uint64_t offset, uint64_t length, const char *text, Err *err)
{
    walk->whole = false;
    walk->out->damages++;
    return walk->options->bad(walk->options->ctx, offset, length, text, err);
}

/* The footer, and whether it is this extent's and fits the file. */
static ErrCode read_footer(Walk *walk, BodyId body, uint32_t extent, Err *err)
{
    uint8_t block[BLOB_FOOTER_LEN];
    size_t got = 0;
    Err why = {0};
    uint64_t size = 0;
    BlobFooter *footer = &walk->out->footer;
    TRY(disk_size(walk->file, &size, err));
    walk->out->size = size;
    if (size < BLOB_FOOTER_LEN) return tell(walk, size, 0, "the file is too short", err);
    uint64_t at = size - BLOB_FOOTER_LEN;
    TRY(disk_read(walk->file, at, block, sizeof block, &got, err));
    if (blob_footer_decode(str_of(block, got), footer, &why) != OK)
        return tell(walk, at, BLOB_FOOTER_LEN, err_text(&why), err);
    footer->attrs = (Str){NULL, 0};
    if (!id128_eq(footer->body, body) || footer->extent != extent)
        return tell(walk, at, BLOB_FOOTER_LEN, "the footer says that it is another extent", err);
    if (footer->stored_size != footer->plain_size)
        return tell(walk, at, BLOB_FOOTER_LEN, "stored in a form not known here", err);
    uint64_t expected = footer->stored_size + footer->chunk_count * BLOB_CHUNK_ROW_LEN +
                        BLOB_FOOTER_LEN;
    if (size != expected)
        return tell(walk, MIN(size, expected), MAX(size, expected) - MIN(size, expected),
                    "the file has another length than its footer says", err);
    walk->out->has_footer = true;
    return OK;
}

/* The table into memory: 28 bytes a chunk, 2.3 MiB for the largest extent of the smallest chunks.
 */
static ErrCode read_table(Walk *walk, uint8_t **table, Err *err)
{
    const BlobFooter *footer = &walk->out->footer;
    size_t len = (size_t)footer->chunk_count * BLOB_CHUNK_ROW_LEN;
    size_t got = 0;
    void *memory = NULL;
    TRY(mem_take(MAX(len, (size_t)1), &memory, err));
    *table = memory;
    if (len > 0) TRY(disk_read(walk->file, footer->stored_size, memory, len, &got, err));
    if (got < len || crc32c(memory, len) != footer->table_crc)
        return tell(walk, footer->stored_size, len, "the chunk table does not have its CRC", err);
    return OK;
}

/* Chunk i, of which row stands in the table. */
static ErrCode check_chunk(Walk *walk, uint64_t i, const uint8_t *row_bytes, bool trusted, Err *err)
{
    const BlobFooter *footer = &walk->out->footer;
    uint64_t at = i * footer->chunk_size;
    size_t len = (size_t)MIN(footer->plain_size - at, (uint64_t)footer->chunk_size);
    size_t got = 0;
    ChunkRow row = {0};
    Dec dec = dec_of(row_bytes, BLOB_CHUNK_ROW_LEN);
    TRY(disk_read(walk->file, at, walk->chunk, len, &got, err));
    if (walk->options->progress != NULL) walk->options->progress(walk->options->ctx, got);
    if (got < len) return tell(walk, at + got, len - got, "the file ends here", err);
    hash_update(walk->hash, walk->chunk, len);
    if (trusted) {
        bool good = chunk_row_decode(&dec, &row) && row.flags == 0 && row.stored_len == len;
        if (!good || crc32c(walk->chunk, len) != row.crc)
            return tell(walk, at, len, "a chunk does not have its CRC", err);
    }
    if (!walk->whole || walk->options->bytes == NULL) return OK;
    return walk->options->bytes(walk->options->ctx, walk->chunk, len, err);
}

static ErrCode walk_run(Walk *walk, BodyId body, uint32_t extent, Err *err)
{
    TRY(read_footer(walk, body, extent, err));
    if (!walk->out->has_footer) return OK;
    AUTO(void, mem_free) table = NULL;
    const BlobFooter *footer = &walk->out->footer;
    TRY(read_table(walk, (uint8_t **)&table, err));
    bool trusted = walk->whole;
    TRY(mem_take(footer->chunk_size, &walk->chunk, err));
    walk->hash = hash_new(HASH_SHA256);
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        TRY(check_chunk(walk, i, (const uint8_t *)table + i * BLOB_CHUNK_ROW_LEN, trusted, err));
    }
    Sha256 digest;
    hash_final(walk->hash, &digest);
    if (!walk->whole || sha256_eq(&digest, &footer->digest)) return OK;
    return tell(walk, 0, footer->plain_size, "the bytes do not have their SHA-256", err);
}

ErrCode blob_walk(Disk *disk, BodyId body, uint32_t extent, const BlobWalkOptions *options,
                  BlobWalked *out, Err *err)
{
    char path[BLOB_PATH_MAX];
    BlobWalked walked = {0};
    __attribute__((cleanup(walk_deinit)))
    Walk walk = {.options = options, .out = &walked, .whole = true};
    ASSERT(options->bad != NULL);
    blob_path(body, extent, path);
    TRY(disk_open(disk, path, DISK_OPEN_READ, &walk.file, err));
    ErrCode code = walk_run(&walk, body, extent, err);
    if (code != OK) return err_wrap(err, code, "read %s", path);
    *out = walked;
    return OK;
}
