/* Blobs against the index and back: every extent by its own checksums, whether something names it,
 * and whether what is named is there. Leaves of blobs/ are read one at a time. */
#include "fsck/fsck_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blob/blob_walk.h"

#define NAME_MAX_LEN 63

typedef struct {
    char (*names)[NAME_MAX_LEN + 1];
    size_t count;
    size_t capacity;
    bool too_long;
} Names;

static void names_deinit(Names *names)
{
    mem_free(names->names);
}

static ErrCode add_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    Names *names = ctx;
    UNUSED(is_dir);
    UNUSED(err);
    if (strlen(name) > NAME_MAX_LEN) {
        names->too_long = true;
        return OK;
    }
    if (names->count == names->capacity) {
        names->capacity = MAX((size_t)64, 2 * names->capacity);
        names->names = mem_resize(names->names, names->capacity * sizeof *names->names);
    }
    memcpy(names->names[names->count++], name, strlen(name) + 1);
    return OK;
}

/* ---- one extent ---- */

typedef struct {
    Fsck *fsck;
    char path[BLOB_WALK_PATH_MAX];
    bool needed; /* a file names it */
    bool has_owner;
    FsckOwner owner;
} Blob;

static ErrCode on_bad(void *ctx, uint64_t offset, uint64_t length, const char *text, Err *err)
{
    Blob *blob = ctx;
    FsckFinding finding = {.level = blob->needed ? FSCK_DAMAGE : FSCK_NOTE,
                           .kind = "blob",
                           .path = blob->path,
                           .offset = offset,
                           .length = length,
                           .owner = blob->has_owner ? &blob->owner : NULL,
                           .text = text,
                           .mend = ""};
    return fsck_tell(blob->fsck, &finding, err);
}

static void on_read(void *ctx, uint64_t bytes)
{
    Blob *blob = ctx;
    fsck_read(blob->fsck, bytes);
}

/* What names the extent: rows of files, the log, or the list of what is to be unlinked. */
typedef struct {
    bool by_row;
    bool by_log;
    bool garbage;
    Sha256 digest; /* by_row: what the row says */
    uint64_t size;
    Buf value; /* what owner points into */
} Named;

static ErrCode find_named(Blob *blob, BodyId body, uint32_t number, Named *named, Err *err)
{
    Fsck *fsck = blob->fsck;
    uint8_t key[ROW_KEY_MAX];
    Str name = str_of(key, row_key_extent(key, body, number));
    Str value = {NULL, 0};
    key[0] = 'e';
    TRY(scratch_get(fsck->scratch, name, &value, &named->by_row, err));
    if (!named->by_row) {
        key[0] = 'x';
        TRY(scratch_get(fsck->scratch, name, &value, &named->by_log, err));
    }
    if (named->by_row || named->by_log) {
        TRY(buf_append_str(&named->value, value, err));
        Dec dec = dec_of(named->value.data, named->value.len);
        if (named->by_row) {
            dec_varint(&dec); /* of no interest here */
            dec_bytes(&dec, named->digest.bytes, SHA256_LEN);
            named->size = dec_u64(&dec);
        }
        blob->has_owner = fsck_owner_decode(fsck, &dec, &blob->owner);
        return OK;
    }
    if (fsck->reader == NULL) return OK;
    name = str_of(key, row_key_garbage(key, body, number));
    return index_get(fsck->reader, name, &value, &named->garbage, err);
}

static ErrCode check_blob(Fsck *fsck, const char *path, BodyId body, uint32_t number, Named *named,
                          Err *err)
{
    Blob blob = {.fsck = fsck};
    BlobWalkOptions options = {.bad = on_bad, .progress = on_read, .ctx = &blob};
    BlobWalked walked = {0};
    blob_walk_path(body, number, blob.path);
    TRY(find_named(&blob, body, number, named, err));
    bool nobody = !named->by_row && !named->by_log;
    blob.needed = !nobody || !fsck->index_whole;
    ErrCode code = blob_walk(fsck->disk, body, number, &options, &walked, err);
    if (code != OK) return fsck_unreadable(fsck, path, code, err);
    if (walked.damages == 0 && named->by_row) {
        bool same = walked.footer.plain_size == named->size &&
                    (sha256_is_zero(&named->digest) ||
                     sha256_eq(&named->digest, &walked.footer.digest));
        if (!same)
            TRY(on_bad(&blob, 0, walked.size, "not the bytes that index.db says are here", err));
    }
    if (!nobody || !fsck->index_whole) return OK;
    if (!named->garbage && !fsck->log_bad) TRY(fsck_mend_file(fsck, path, err));
    return fsck_say(fsck, FSCK_NOTE, named->garbage ? "garbage" : "orphan", path, 0, walked.size,
                    "", err,
                    named->garbage ? "nothing names it any more; it is to be unlinked"
                                   : "nothing names it; the next start removes it");
}

static ErrCode one_name(Fsck *fsck, const char *path, Err *err)
{
    BodyId body;
    uint32_t number = 0;
    Named named = {0};
    if (!blob_walk_parse(path, &body, &number)) {
        return fsck_say(fsck, FSCK_NOTE, "stranger", path, 0, 0, "", err,
                        "no extent has this name; Holdfast does not touch it");
    }
    buf_init(&named.value, INDEX_VALUE_MAX);
    ErrCode code = check_blob(fsck, path, body, number, &named, err);
    buf_deinit(&named.value);
    return code;
}

/* ---- all of them ---- */

static ErrCode walk_dir(Fsck *fsck, const char *dir, unsigned depth, Err *err)
{
    __attribute__((cleanup(names_deinit))) Names names = {0};
    ErrCode code = disk_list(fsck->disk, dir, add_name, &names, err);
    if (code != OK) return fsck_unreadable(fsck, dir, code, err);
    if (names.too_long) {
        TRY(fsck_say(fsck, FSCK_NOTE, "stranger", dir, 0, 0, "", err,
                     "holds a name too long for an extent"));
    }
    for (size_t i = 0; i < names.count; i++) {
        char path[DISK_PATH_MAX];
        DiskStat stat;
        int len = snprintf(path, sizeof path, "%s/%s", dir, names.names[i]);
        ASSERT(len > 0 && (size_t)len < sizeof path);
        TRY(disk_stat(fsck->disk, path, &stat, err));
        if (stat.is_dir && depth > 0)
            TRY(walk_dir(fsck, path, depth - 1, err));
        else
            TRY(one_name(fsck, path, err));
    }
    return OK;
}

static ErrCode missing(Fsck *fsck, Str key, Dec *owner_bytes, Err *err)
{
    BodyId body;
    char path[BLOB_WALK_PATH_MAX];
    DiskStat stat;
    FsckOwner owner;
    Dec dec = dec_of(key.ptr + 1, key.len - 1);
    dec_bytes(&dec, body.bytes, sizeof body.bytes);
    uint32_t number = dec_u32_be(&dec);
    blob_walk_path(body, number, path);
    TRY(disk_stat(fsck->disk, path, &stat, err));
    if (stat.exists) return OK;
    bool known = fsck_owner_decode(fsck, owner_bytes, &owner);
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "blob-missing",
                           .path = path,
                           .owner = known ? &owner : NULL,
                           .text = "a file names it and it is not there",
                           .mend = ""};
    return fsck_tell(fsck, &finding, err);
}

/* An extent that rows of files name: its own row counts them, and it is there. */
static ErrCode named_by_rows(void *ctx, Str key, Str value, Err *err)
{
    Fsck *fsck = ctx;
    uint8_t row_key[ROW_KEY_MAX];
    Dec dec = dec_of(value.ptr, value.len);
    uint64_t references = dec_varint(&dec);
    Sha256 digest;
    dec_bytes(&dec, digest.bytes, SHA256_LEN);
    dec_u64(&dec); /* size, of no interest here */
    TRY(missing(fsck, key, &dec, err));
    Str counted = {NULL, 0};
    bool found = false;
    memcpy(row_key, key.ptr, key.len);
    row_key[0] = 'b';
    TRY(index_get(fsck->reader, str_of(row_key, key.len), &counted, &found, err));
    Dec row = dec_of(counted.ptr, counted.len);
    uint64_t said = found ? dec_varint(&row) : 0;
    if (said == references) return OK;
    uint8_t bytes[16];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_varint(&enc, references);
    TRY(fsck_mend_row(fsck, str_of(row_key, key.len), str_of(bytes, enc.len), err));
    char id[ID128_TEXT_LEN + 1];
    BodyId body;
    memcpy(body.bytes, key.ptr + 1, sizeof body.bytes);
    id128_text(body, id);
    return fsck_say(fsck, FSCK_DAMAGE, "body-count", "index.db", 0, 0, FSCK_MEND_REPAIR, err,
                    "body %s counts %" PRIu64 " files that name it, there are %" PRIu64, id, said,
                    references);
}

static ErrCode named_by_log(void *ctx, Str key, Str value, Err *err)
{
    Dec dec = dec_of(value.ptr, value.len);
    return missing(ctx, key, &dec, err);
}

/* Rows of bodies that no row of a file names. */
static ErrCode unnamed_rows(Fsck *fsck, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_reader_open(fsck->index, &reader, err));
    TRY(index_scan(reader, STR("b"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint8_t named[ROW_KEY_MAX];
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'b') return OK;
        if (key.len > sizeof named) continue;
        memcpy(named, key.ptr, key.len);
        named[0] = 'e';
        TRY(scratch_get(fsck->scratch, str_of(named, key.len), &value, &found, err));
        if (found) continue;
        TRY(fsck_mend_row(fsck, key, (Str){NULL, 0}, err));
        TRY(fsck_say(fsck, FSCK_DAMAGE, "body-count", "index.db", 0, 0, FSCK_MEND_REPAIR, err,
                     "counts files that name a body which none names"));
    }
}

ErrCode fsck_check_blobs(Fsck *fsck, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(fsck->disk, "blobs", &stat, err));
    if (stat.exists && stat.is_dir) TRY(walk_dir(fsck, "blobs", 2, err));
    if (fsck->index_whole) {
        TRY(scratch_each(fsck->scratch, STR("e"), named_by_rows, fsck, err));
        TRY(unnamed_rows(fsck, err));
    }
    return scratch_each(fsck->scratch, STR("x"), named_by_log, fsck, err);
}
