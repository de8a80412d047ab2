#include "blob/blobs.h"

#include "blob/blobs_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- names ---- */

void blob_path(BodyId body, uint32_t extent, char out[BLOB_PATH_MAX])
{
    char id[ID128_TEXT_LEN + 1];
    id128_text(body, id);
    int len = snprintf(out, BLOB_PATH_MAX, "blobs/%.2s/%.2s/%s.%" PRIu32, id, id + 2, id, extent);
    ASSERT(len > 0 && len < BLOB_PATH_MAX);
}

void blob_staging_path(BodyId body, uint32_t extent, char out[BLOB_PATH_MAX])
{
    char id[ID128_TEXT_LEN + 1];
    id128_text(body, id);
    int len = snprintf(out, BLOB_PATH_MAX, "staging/%s.%" PRIu32 ".tmp", id, extent);
    ASSERT(len > 0 && len < BLOB_PATH_MAX);
}

/* The four characters that name body's directory, as a number: its first 18 bits (26 characters
 * of 5 bits hold 2 bits more than there are). */
static uint32_t blob_leaf(BodyId body)
{
    uint32_t bits = ((uint32_t)body.bytes[0] << 16) | ((uint32_t)body.bytes[1] << 8) |
                    (uint32_t)body.bytes[2];
    return bits >> 6;
}

ErrCode blob_leaf_make(Blobs *blobs, BodyId body, Err *err)
{
    char path[BLOB_PATH_MAX];
    uint32_t leaf = blob_leaf(body);
    uint8_t bit = (uint8_t)(1u << (leaf % 8));
    ASSERT(leaf < BLOB_LEAVES);
    lock_take(&blobs->lock);
    bool known = (blobs->leaf_known[leaf / 8] & bit) != 0;
    lock_give(&blobs->lock);
    if (known) return OK;

    blob_path(body, 0, path);
    *strrchr(path, '/') = '\0';
    ErrCode code = disk_mkdir_durable(blobs->disk, path, err);
    if (code == ERR_EXISTS) code = err_wrap(err, ERR_IO, "no directory");
    if (code != OK) return code;
    lock_take(&blobs->lock);
    blobs->leaf_known[leaf / 8] |= bit;
    lock_give(&blobs->lock);
    return OK;
}

/* ---- listing ---- */

#define NAME_LEN_MAX 63 /* longer ones are none of ours */

/* The names of one directory, so that nothing is done to it while it is listed. */
typedef struct {
    char (*names)[NAME_LEN_MAX + 1];
    size_t count;
    size_t capacity;
    bool dirs; /* which kind is wanted */
} NameList;

static void name_list_deinit(NameList *list)
{
    mem_free(list->names);
}

static ErrCode name_list_add(void *ctx, const char *name, bool is_dir, Err *err)
{
    NameList *list = ctx;
    UNUSED(err);
    if (is_dir != list->dirs || strlen(name) > NAME_LEN_MAX) return OK;
    if (list->count == list->capacity) {
        list->capacity = MAX(2 * list->capacity, (size_t)32);
        list->names = mem_resize(list->names, list->capacity * sizeof *list->names);
    }
    memcpy(list->names[list->count++], name, strlen(name) + 1);
    return OK;
}

bool blob_name_parse(const char *dir, const char *name, BodyId *body, uint32_t *extent)
{
    Str id;
    Str number;
    uint64_t value = 0;
    char expected[BLOB_PATH_MAX];
    char path[DISK_PATH_MAX];
    BodyId parsed;
    if (!str_split(str_from_cstr(name), '.', &id, &number)) return false;
    if (!id128_parse(id, &parsed) || !str_to_u64(number, UINT32_MAX, &value)) return false;
    blob_path(parsed, (uint32_t)value, expected);
    int len = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (len < 0 || strcmp(path, expected) != 0) return false;
    *body = parsed;
    *extent = (uint32_t)value;
    return true;
}

static ErrCode list_leaf(Blobs *blobs, const char *dir, BlobListFn fn, void *ctx, Err *err)
{
    __attribute__((cleanup(name_list_deinit))) NameList files = {.dirs = false};
    TRY(disk_list(blobs->disk, dir, name_list_add, &files, err));
    for (size_t i = 0; i < files.count; i++) {
        BodyId body;
        uint32_t extent = 0;
        if (!blob_name_parse(dir, files.names[i], &body, &extent)) continue;
        TRY(fn(ctx, body, extent, err));
    }
    return OK;
}

/* depth: levels of directories between dir and the files. */
static ErrCode list_tree(Blobs *blobs, const char *dir, int depth, BlobListFn fn, void *ctx,
                         Err *err)
{
    __attribute__((cleanup(name_list_deinit))) NameList dirs = {.dirs = true};
    if (depth == 0) return list_leaf(blobs, dir, fn, ctx, err);
    TRY(disk_list(blobs->disk, dir, name_list_add, &dirs, err));
    for (size_t i = 0; i < dirs.count; i++) {
        char path[DISK_PATH_MAX];
        if (strlen(dirs.names[i]) != 2) continue;
        int len = snprintf(path, sizeof path, "%s/%s", dir, dirs.names[i]);
        ASSERT(len > 0 && (size_t)len < sizeof path);
        TRY(list_tree(blobs, path, depth - 1, fn, ctx, err));
    }
    return OK;
}

ErrCode blobs_list(Blobs *blobs, BlobListFn fn, void *ctx, Err *err)
{
    return list_tree(blobs, "blobs", 2, fn, ctx, err);
}

/* ---- life cycle ---- */

static ErrCode staging_empty(Disk *disk, Err *err)
{
    __attribute__((cleanup(name_list_deinit))) NameList files = {.dirs = false};
    TRY(disk_list(disk, "staging", name_list_add, &files, err));
    for (size_t i = 0; i < files.count; i++) {
        char path[DISK_PATH_MAX];
        int len = snprintf(path, sizeof path, "staging/%s", files.names[i]);
        ASSERT(len > 0 && (size_t)len < sizeof path);
        TRY(disk_unlink(disk, path, err));
    }
    return OK;
}

ErrCode blobs_open(Disk *disk, const BlobsOptions *options, Blobs **out, Err *err)
{
    uint32_t chunk_size = options->chunk_size != 0 ? options->chunk_size : CHUNK_SIZE_DEFAULT;
    if (chunk_size < CHUNK_SIZE_MIN || chunk_size > CHUNK_SIZE_MAX || chunk_size % 4096 != 0)
        return err_set(err, ERR_CONFIG, "chunks of %" PRIu32 " bytes", chunk_size);
    TRY(disk_mkdir_durable(disk, "blobs", err));
    TRY(disk_mkdir_durable(disk, "staging", err));
    ErrCode code = staging_empty(disk, err);
    if (code != OK) return err_wrap(err, code, "empty staging");

    Blobs *blobs = mem_new(sizeof *blobs);
    blobs->disk = disk;
    blobs->root = options->root;
    blobs->chunk_size = chunk_size;
    atomic_init(&blobs->failed, false);
    lock_init(&blobs->lock, LOCK_RANK_BLOB);
    blobs->pins = omap_new(1);
    *out = blobs;
    return OK;
}

ErrCode blobs_start_pool(Blobs *blobs, Err *err)
{
    ASSERT(blobs->pool == NULL);
    return body_pool_open(&blobs->pool, err);
}

void blobs_stop_pool(Blobs *blobs)
{
    body_pool_close(TAKE(blobs->pool));
}

void blobs_leave(Blobs *blobs, bool left)
{
    if (blobs->pool != NULL) body_pool_leave(blobs->pool, left);
}

uint64_t blobs_still_ns(Blobs *blobs)
{
    return blobs->pool == NULL ? 0 : body_pool_still_ns(blobs->pool);
}

void blobs_free(Blobs *blobs)
{
    if (blobs == NULL) return;
    ASSERT(omap_count(blobs->pins) == 0);
    omap_free(blobs->pins);
    lock_deinit(&blobs->lock);
    mem_free(blobs);
}

typedef struct {
    uint8_t bytes[sizeof(BodyId) + 4];
} PinKey;

static PinKey pin_key(BodyId body, uint32_t extent)
{
    PinKey key;
    memcpy(key.bytes, body.bytes, sizeof body);
    memcpy(key.bytes + sizeof body, &extent, sizeof extent);
    return key;
}

/* Counts one extent's pins up or down; the map's value is the count. */
static void pin(Blobs *blobs, const Extent *extent, bool up)
{
    PinKey key = pin_key(extent->body, extent->number);
    Str name = str_of(key.bytes, sizeof key.bytes);
    uintptr_t count = (uintptr_t)omap_get(blobs->pins, name);
    ASSERT(up || count > 0);
    count = up ? count + 1 : count - 1;
    void *old = count > 0 ? omap_put(blobs->pins, name, (void *)count)
                          : omap_remove(blobs->pins, name);
    UNUSED(old);
}

void blobs_pin(Blobs *blobs, const Extent *extents, uint32_t count)
{
    lock_take(&blobs->lock);
    for (uint32_t i = 0; i < count; i++)
        pin(blobs, &extents[i], true);
    lock_give(&blobs->lock);
}

void blobs_unpin(Blobs *blobs, const Extent *extents, uint32_t count)
{
    lock_take(&blobs->lock);
    for (uint32_t i = 0; i < count; i++)
        pin(blobs, &extents[i], false);
    lock_give(&blobs->lock);
}

bool blob_pinned(Blobs *blobs, BodyId body, uint32_t extent)
{
    PinKey key = pin_key(body, extent);
    lock_take(&blobs->lock);
    bool pinned = omap_get(blobs->pins, str_of(key.bytes, sizeof key.bytes)) != NULL;
    lock_give(&blobs->lock);
    return pinned;
}

ErrCode blob_remove(Blobs *blobs, BodyId body, uint32_t extent, Err *err)
{
    char path[BLOB_PATH_MAX];
    blob_path(body, extent, path);
    ErrCode code = disk_unlink(blobs->disk, path, err);
    if (code != OK && code != ERR_NOT_FOUND) return err_wrap(err, code, "remove %s", path);
    return OK;
}

ErrCode blob_exists(Blobs *blobs, BodyId body, uint32_t extent, bool *out, Err *err)
{
    char path[BLOB_PATH_MAX];
    DiskStat stat;
    blob_path(body, extent, path);
    TRY(disk_stat(blobs->disk, path, &stat, err));
    *out = stat.exists;
    return OK;
}
