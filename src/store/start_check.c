/* At start: is anything left of a root that held data? And are the packs there of which the index
 * counts records, and as long as these reach? Only their names and lengths are looked at; what
 * stands in them is for readers and scrub to verify. */
#include "store/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

typedef struct {
    uint64_t pack;
    uint64_t size; /* of its file; 0: none, or an empty one */
    uint64_t files;
} ShortPack;

typedef struct {
    Store *store;
    IndexReader *reader;
    uint64_t highest; /* number that the index knows of */
    ShortPack *packs; /* rising */
    size_t count;
    size_t capacity;
} Check;

static void check_deinit(Check *check)
{
    index_reader_free(check->reader);
    mem_free(check->packs);
}

uint64_t store_pack_bytes(const PackRow *row)
{
    if (row->bytes == row->dead) return 0; /* nothing that stands in it is needed */
    return MAX(row->end, PACK_HEADER_LEN + row->bytes);
}

RiskCause store_pack_cause(Store *store, const PackPlace *place, ErrCode code)
{
    char path[PACK_PATH_MAX];
    DiskStat stat = {.exists = false};
    pack_path(place->pack, path);
    bool looked = disk_stat(store->disk, path, &stat, NULL) == OK;
    bool there = stat.exists && stat.size >= place->offset + place->length;
    return looked && !there ? RISK_MISSING : risk_cause_of(code);
}

/* --- which --- */

static void note_short(Check *check, uint64_t pack, const DiskStat *stat, uint64_t needed)
{
    char path[PACK_PATH_MAX];
    char detail[RISK_DETAIL_MAX];
    uint64_t size = stat->exists ? stat->size : 0;
    if (check->count == check->capacity) {
        check->capacity = MAX(2 * check->capacity, (size_t)16);
        check->packs = mem_resize(check->packs, check->capacity * sizeof *check->packs);
    }
    check->packs[check->count++] = (ShortPack){.pack = pack, .size = size};
    pack_path(pack, path);
    snprintf(detail, sizeof detail,
             "%s of %" PRIu64 " bytes that index.db counts; put it back, or run `holdfast recover "
             "--rebuild packs DIR`",
             stat->exists ? "the pack is cut off: it has fewer" : "the pack is not there: nothing",
             needed); /* fits */
    RiskFound found = {.cause = RISK_MISSING, .place = path, .offset = size, .detail = detail};
    risk_add(check->store->risk, &found);
}

static ErrCode check_pack(Check *check, uint64_t pack, const PackRow *row, Err *err)
{
    char path[PACK_PATH_MAX];
    DiskStat stat;
    uint64_t needed = store_pack_bytes(row);
    pack_path(pack, path);
    if (needed == 0) return OK;
    TRY(disk_stat(check->store->disk, path, &stat, err));
    if (!stat.exists || stat.size < needed) note_short(check, pack, &stat, needed);
    return OK;
}

static ErrCode each_pack(Check *check, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(check->reader, STR("p"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint64_t pack = 0;
        PackRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'p') return OK;
        if (!row_key_pack_parse(key, &pack)) continue;
        check->highest = MAX(check->highest, pack);
        if (pack_row_decode(value, &row)) TRY(check_pack(check, pack, &row, err));
    }
}

/* --- whose --- */

static int by_number(const void *key, const void *item)
{
    uint64_t a = *(const uint64_t *)key;
    uint64_t b = ((const ShortPack *)item)->pack;
    return (a > b) - (a < b);
}

static ShortPack *find_short(const Check *check, uint64_t pack)
{
    return bsearch(&pack, check->packs, check->count, sizeof *check->packs, by_number);
}

static void check_file(Check *check, Str row_key, const FileRow *row)
{
    char path[PACK_PATH_MAX];
    ShortPack *pack = row->place.pack == 0 ? NULL : find_short(check, row->place.pack);
    RiskFound found = {.file = row->file,
                       .size = row->size,
                       .cause = RISK_MISSING,
                       .offset = row->place.offset,
                       .detail = "the pack that holds it is not there, or not all of it"};
    if (pack == NULL || row->place.offset + row->place.length <= pack->size) return;
    if (!row_key_name_parse(row_key, &found.bucket, &found.key, &found.version)) return;
    pack_path(pack->pack, path);
    found.place = path;
    pack->files++;
    risk_add(check->store->risk, &found);
}

static ErrCode each_file(Check *check, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(check->reader, STR("n"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        FileRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'n') return OK;
        if (file_row_decode(value, &row)) check_file(check, key, &row);
    }
}

static void tell(const Check *check)
{
    for (size_t i = 0; i < check->count; i++) {
        const ShortPack *pack = &check->packs[i];
        LOG_TO(OPERATIONS, ERROR, "store.pack_missing",
               "pack=%" PRIu64 " bytes=%" PRIu64 " files=%" PRIu64
               " mend=\"holdfast recover --rebuild packs\"",
               pack->pack, pack->size, pack->files);
    }
}

/* A page of the index that is damaged is in the list by now, and is no reason not to serve the
 * rest. */
static ErrCode unless_damaged(ErrCode code, const Err *own, Err *err)
{
    return code == OK || code == ERR_CORRUPT ? OK : err_set(err, code, "%s", err_text(own));
}

ErrCode store_check_packs(Store *store, Err *err)
{
    __attribute__((cleanup(check_deinit))) Check check = {.store = store};
    Err own = {0};
    TRY(index_reader_open(store->index, &check.reader, err));
    TRY(unless_damaged(each_pack(&check, &own), &own, err));
    packs_reserve(store->packs, check.highest);
    if (check.count == 0) return OK;
    TRY(unless_damaged(each_file(&check, &own), &own, err));
    tell(&check);
    return OK;
}

/* --- nothing left --- */

static ErrCode find_file(void *ctx, const char *name, bool is_dir, Err *err)
{
    UNUSED(name);
    UNUSED(err);
    if (!is_dir) *(bool *)ctx = true;
    return OK;
}

/* Is there a file at path, or in the directory of that name? */
static ErrCode look_for(Disk *disk, const char *path, bool *found, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, path, &stat, err));
    if (!stat.exists) return OK;
    if (stat.is_dir) return disk_list(disk, path, find_file, found, err);
    *found = true;
    return OK;
}

ErrCode store_check_not_emptied(Disk *disk, Err *err)
{
    static const char *const views[] = {"wal.active", "wal.segments", "index.db", "packs"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(views) && !found; i++)
        TRY(look_for(disk, views[i], &found, err));
    if (found) return OK;
    return err_set(err, ERR_CORRUPT,
                   "this root held data, and its log (wal.active, wal.segments/), index.db and "
                   "packs/ are all gone: put them back");
}
