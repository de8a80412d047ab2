/* The list of damage against what a start, or a new pass of scrub, finds: a process that was killed
 * may have left entries of versions that are deleted, and the operator may have mended or rebuilt
 * what is listed. */
#include "store/compact_priv.h"
#include "store/store_priv.h"

#include "index/page_sum.h"

/* The version is neither in the index nor in the log. What cannot be looked up stays listed. */
static bool version_is_gone(StoreReader *reader, const RiskEntry *entry)
{
    StoreFound row;
    bool found = true;
    Str key = str_of(entry->key, entry->key_len);
    if (store_find(reader, entry->bucket, key, &entry->version, STORE_COMMITTED, &row, &found,
                   NULL) != OK) {
        return false;
    }
    if (found) return !id128_eq(row.row.file, entry->file);
    found = true;
    ErrCode code = store_find(reader, entry->bucket, key, &entry->version, STORE_PENDING, &row,
                              &found, NULL);
    return code == OK && !(found && id128_eq(row.row.file, entry->file));
}

/* The page has its checksum again, or there is no such page. */
static bool page_is_well(Store *store, uint64_t offset)
{
    uint8_t page[PAGE_SIZE_BYTES];
    AUTO(File, disk_close) file = NULL;
    size_t got = 0;
    if (disk_open(store->disk, "index.db", DISK_OPEN_READ, &file, NULL) != OK) return false;
    if (disk_read(file, offset, page, sizeof page, &got, NULL) != OK) return false;
    if (got == 0) return true;
    uint32_t number = (uint32_t)(offset / PAGE_SIZE_BYTES) + 1;
    return got == sizeof page && page_sum_ok(page, number);
}

/* What was missing may have been put back: then it is read, which takes it off the list. */
static void read_again(Store *store, StoreReader *reader, const RiskEntry *entry)
{
    StoreFound found;
    DiskStat stat = {.exists = false};
    Str body;
    bool there = false;
    if (disk_stat(store->disk, entry->place, &stat, NULL) != OK || !stat.exists ||
        stat.size <= entry->offset)
        return;
    Str key = str_of(entry->key, entry->key_len);
    ErrCode code = store_find(reader, entry->bucket, key, &entry->version, STORE_PENDING, &found,
                              &there, NULL);
    if (code != OK || !there || found.row.extent_count > 0) return;
    code = store_body(reader, &found, &body, NULL);
    if (code != OK) return; /* it stays listed, for whatever the reason is now */
}

static void review_file(Store *store, StoreReader *reader, const RiskEntry *entry)
{
    if (version_is_gone(reader, entry))
        risk_clear(store->risk, entry->file, entry->version, RISK_GONE);
    else if (entry->cause == RISK_MISSING)
        read_again(store, reader, entry);
}

/* A pack that is not there, or too short, stays listed as long as the index counts on it. */
static void review_pack(Store *store, StoreReader *reader, const RiskEntry *entry, uint64_t pack)
{
    DiskStat stat;
    PackRow row;
    if (disk_stat(store->disk, entry->place, &stat, NULL) != OK) return;
    if (stat.exists && entry->cause != RISK_MISSING) return; /* scrub tells */
    if (compact_pack_row(reader->index, pack, &row, NULL) != OK) return;
    uint64_t needed = store_pack_bytes(&row);
    if (stat.exists && stat.size >= needed)
        risk_clear_place(store->risk, entry->place, entry->offset, RISK_WHOLE);
    else if (!stat.exists && needed == 0)
        risk_clear_place(store->risk, entry->place, entry->offset, RISK_GONE);
}

static void review_place(Store *store, StoreReader *reader, const RiskEntry *entry, bool at_start)
{
    Str place = str_from_cstr(entry->place);
    uint64_t pack = pack_path_number(entry->place);
    if (pack != 0) {
        review_pack(store, reader, entry, pack);
        return;
    }
    if (str_eq(place, STR("index.db"))) {
        if (page_is_well(store, entry->offset)) {
            risk_clear_place(store->risk, entry->place, entry->offset, RISK_WHOLE);
        }
        return;
    }
    DiskStat stat = {.exists = true};
    bool index_log = str_eq(place, STR("index.db-wal"));
    if (index_log && !at_start) return;
    bool gone = index_log || /* SQLite has just gone through it */
                (disk_stat(store->disk, entry->place, &stat, NULL) == OK && !stat.exists);
    if (gone) risk_clear_place(store->risk, entry->place, entry->offset, RISK_GONE);
}

static void review(Store *store, StoreReader *reader, const RiskEntry *entry, bool at_start)
{
    if (id128_is_zero(entry->file))
        review_place(store, reader, entry, at_start);
    else
        review_file(store, reader, entry);
}

ErrCode store_review_risk(Store *store, bool at_start, Err *err)
{
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    if (risk_files(store->risk) + risk_places(store->risk) == 0) return OK;
    AUTO(StoreReader, store_reader_free) reader = NULL;
    TRY(store_reader_open(store, &reader, err));
    while (risk_next(store->risk, &cursor, &entry))
        review(store, reader, &entry, at_start);
    return OK;
}
