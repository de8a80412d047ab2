#include "blob/packs_priv.h"
#include <inttypes.h>
#include <stdio.h>

void pack_path(uint64_t number, char out[PACK_PATH_MAX])
{
    int len = snprintf(out, PACK_PATH_MAX, "packs/%" PRIu64 ".pack", number);
    ASSERT(len > 0 && len < PACK_PATH_MAX);
}

void pack_files_init(PackFiles *files, Disk *disk, Uuid root)
{
    *files = (PackFiles){.disk = disk, .root = root};
    lock_init(&files->lock, LOCK_RANK_BLOB);
}

static void pack_file_free(PackFile *file)
{
    disk_close(file->file);
    mem_free(file);
}

void pack_files_deinit(PackFiles *files)
{
    for (size_t i = 0; i < PACK_FILES_MAX; i++) {
        PackFile *file = files->slots[i];
        if (file == NULL) continue;
        ASSERT(file->refs == 0);
        pack_file_free(file);
    }
    lock_deinit(&files->lock);
}

/* The cached file of this number with one more reader, or NULL. Under the lock. */
static PackFile *files_find(PackFiles *files, uint64_t number)
{
    for (size_t i = 0; i < PACK_FILES_MAX; i++) {
        PackFile *file = files->slots[i];
        if (file == NULL || file->number != number) continue;
        file->refs++;
        file->used = ++files->tick;
        return file;
    }
    return NULL;
}

/* Puts file into a free slot or that of the least recently used one without readers, which is
 * returned for closing. Without such a slot file stays uncached. Under the lock. */
static PackFile *files_insert(PackFiles *files, PackFile *file)
{
    PackFile **best = NULL;
    for (size_t i = 0; i < PACK_FILES_MAX; i++) {
        PackFile **slot = &files->slots[i];
        if (*slot == NULL) {
            best = slot;
            break;
        }
        if ((*slot)->refs > 0) continue;
        if (best == NULL || (*slot)->used < (*best)->used) best = slot;
    }
    if (best == NULL) return NULL;
    PackFile *evicted = *best;
    *best = file;
    file->cached = true;
    return evicted;
}

/* Reads the header: a file's name is no evidence of what it is. */
static ErrCode pack_verify(const PackFiles *files, uint64_t number, File *file, Err *err)
{
    uint8_t data[PACK_HEADER_LEN];
    size_t got = 0;
    PackHeader header;
    TRY(disk_read(file, 0, data, sizeof data, &got, err));
    if (got < sizeof data)
        return err_set(err, ERR_CORRUPT, "the header of the pack ends after %zu bytes", got);
    TRY(pack_header_decode(str_of(data, sizeof data), &header, err));
    if (!id128_eq(header.root, files->root))
        return err_set(err, ERR_FOREIGN, "the pack belongs to another root");
    if (header.number != number)
        return err_set(err, ERR_CORRUPT, "the pack says that it is number %" PRIu64, header.number);
    return OK;
}

static ErrCode pack_file_open(const PackFiles *files, uint64_t number, DiskOpenMode mode,
                              PackFile **out, Err *err)
{
    char path[PACK_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    pack_path(number, path);
    TRY(disk_open(files->disk, path, mode, &file, err));
    ErrCode code = pack_verify(files, number, file, err);
    if (code != OK) return err_wrap(err, code, "open %s", path);
    PackFile *opened = mem_new(sizeof *opened);
    *opened = (PackFile){.number = number, .file = TAKE(file), .refs = 1};
    *out = opened;
    return OK;
}

ErrCode pack_files_take(PackFiles *files, uint64_t number, PackFile **out, Err *err)
{
    lock_take(&files->lock);
    PackFile *found = files_find(files, number);
    uint64_t forgotten = files->forgotten;
    lock_give(&files->lock);
    if (found != NULL) {
        *out = found;
        return OK;
    }
    PackFile *opened = NULL;
    TRY(pack_file_open(files, number, DISK_OPEN_READ, &opened, err));

    /* Opened outside the lock: another thread may have been faster, or the pack is going. */
    PackFile *unwanted = NULL;
    lock_take(&files->lock);
    found = files_find(files, number);
    if (found != NULL) {
        unwanted = opened;
        opened = found;
    } else if (files->forgotten == forgotten) {
        opened->used = ++files->tick;
        unwanted = files_insert(files, opened);
    }
    lock_give(&files->lock);
    if (unwanted != NULL) pack_file_free(unwanted);
    *out = opened;
    return OK;
}

ErrCode pack_files_take_direct(PackFiles *files, uint64_t number, PackFile **out, Err *err)
{
    return pack_file_open(files, number, DISK_OPEN_DIRECT, out, err);
}

void pack_files_give(PackFiles *files, PackFile *file)
{
    lock_take(&files->lock);
    ASSERT(file->refs > 0);
    file->refs--;
    bool last = file->refs == 0 && !file->cached;
    lock_give(&files->lock);
    if (last) pack_file_free(file);
}

void pack_files_forget(PackFiles *files, uint64_t number)
{
    PackFile *unwanted = NULL;
    lock_take(&files->lock);
    files->forgotten++;
    for (size_t i = 0; i < PACK_FILES_MAX; i++) {
        PackFile *file = files->slots[i];
        if (file == NULL || file->number != number) continue;
        files->slots[i] = NULL;
        file->cached = false;
        if (file->refs == 0) unwanted = file;
        break;
    }
    lock_give(&files->lock);
    if (unwanted != NULL) pack_file_free(unwanted);
}
