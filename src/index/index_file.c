/* An empty index.db is made in memory and put on disk by disk_create_durable(), so there is no
 * moment at which a crash leaves half of one. A log that is left over from an index.db that was
 * removed would be replayed into the new one: it goes first, and only after the removal of its
 * index.db is durable, because an index.db without its log may be a mixture of old and
 * new pages. */
#include "index/index_file.h"

#include "base/fault.h"
#include "index/index_mark.h"
#include "index/page_sum.h"
#include <string.h>

/* Places in the header, section 1.3 of https://www.sqlite.org/fileformat2.html; big endian. */
enum {
    HEADER_PAGE_SIZE = 16,
    HEADER_WRITE_VERSION = 18, /* 2: WAL */
    HEADER_READ_VERSION = 19,
    HEADER_RESERVED = 20,
    HEADER_USER_VERSION = 60,
    HEADER_APPLICATION_ID = 68,
    HEADER_BYTES = 100,
};
#define WAL_NEW_NAME VFS_WAL_NAME ".new"
#define COPY_LEN (1 * MIB)
#define HEADER_MAGIC "SQLite format 3" /* and its NUL: 16 bytes */

static uint32_t get_be(const uint8_t *p, size_t len)
{
    uint32_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | p[i];
    return value;
}

/* Fills an in-memory database with the schema and hands out its pages (sqlite3_free()). */
static ErrCode make_pages(sqlite3 *db, uint8_t **out, size_t *len, Err *err)
{
    int reserved = PAGE_RESERVED_BYTES;
    char *sql = sqlite3_mprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=NONE", PAGE_SIZE_BYTES);
    int rc = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    if (rc == SQLITE_OK) {
        rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    }
    sql = sqlite3_mprintf("CREATE TABLE kv(k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL)"
                          " WITHOUT ROWID;"
                          "PRAGMA application_id=%d; PRAGMA user_version=%d",
                          INDEX_APPLICATION_ID, INDEX_USER_VERSION);
    if (rc == SQLITE_OK) rc = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    if (rc != SQLITE_OK) {
        return err_set(err, ERR_SYSTEM, "make an empty index: %s", sqlite3_errmsg(db));
    }
    sqlite3_int64 size = 0;
    uint8_t *pages = sqlite3_serialize(db, "main", &size, 0);
    if (pages == NULL) return err_set(err, ERR_NO_MEMORY, "make an empty index");
    ASSERT(size > 0 && size % PAGE_SIZE_BYTES == 0 &&
           pages[HEADER_RESERVED] == PAGE_RESERVED_BYTES);
    *out = pages;
    *len = (size_t)size;
    return OK;
}

static ErrCode create(Disk *disk, Vfs *vfs, Err *err)
{
    sqlite3 *db = NULL;
    uint8_t *pages = NULL;
    size_t len = 0;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(":memory:", &db, flags, vfs_name(vfs));
    ErrCode code;
    if (rc == SQLITE_OK) {
        code = make_pages(db, &pages, &len, err);
    } else {
        code = err_set(err, ERR_SYSTEM, "make an empty index: %s", sqlite3_errstr(rc));
    }
    sqlite3_close(db); /* holds nothing that could be busy or lost */
    if (code != OK) return code;
    pages[HEADER_WRITE_VERSION] = 2;
    pages[HEADER_READ_VERSION] = 2;
    for (size_t at = 0; at < len; at += PAGE_SIZE_BYTES) {
        page_sum_set(pages + at, (uint32_t)(at / PAGE_SIZE_BYTES) + 1);
    }
    code = disk_create_durable(disk, VFS_MAIN_NAME, str_of(pages, len), err);
    sqlite3_free(pages);
    return code;
}

static ErrCode remove_wal(Disk *disk, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, VFS_WAL_NAME, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_sync_dir(disk, "", err));
    TRY(disk_unlink(disk, VFS_WAL_NAME, err));
    return disk_sync_dir(disk, "", err);
}

/* Bytes that never change from the birth of an index.db on must be right even where page 1 is torn
 * by a crash; its version counts only if the page is whole, and is asked for again later. */
ErrCode index_file_look(Disk *disk, Err *err)
{
    uint8_t page[PAGE_SIZE_BYTES];
    AUTO(File, disk_close) file = NULL;
    TRY(disk_open(disk, VFS_MAIN_NAME, DISK_OPEN_READ, &file, err));
    size_t got = 0;
    TRY(disk_read(file, 0, page, sizeof page, &got, err));
    if (got < sizeof page) return err_set(err, ERR_CORRUPT, "%s: page 1 is missing", VFS_MAIN_NAME);
    bool ours = memcmp(page, HEADER_MAGIC, sizeof HEADER_MAGIC) == 0 &&
                get_be(page + HEADER_APPLICATION_ID, 4) == INDEX_APPLICATION_ID;
    if (!ours) return err_set(err, ERR_CORRUPT, "%s: page 1 is not an index's", VFS_MAIN_NAME);
    uint32_t version = get_be(page + HEADER_USER_VERSION, 4);
    if (version > INDEX_USER_VERSION && page_sum_ok(page, 1)) {
        return err_set(err, ERR_FORMAT_VERSION, "%s has version %u, this release reads up to %u",
                       VFS_MAIN_NAME, version, INDEX_USER_VERSION);
    }
    if (get_be(page + HEADER_PAGE_SIZE, 2) != PAGE_SIZE_BYTES ||
        page[HEADER_RESERVED] != PAGE_RESERVED_BYTES || page[HEADER_WRITE_VERSION] != 2 ||
        page[HEADER_READ_VERSION] != 2) {
        return err_set(err, ERR_CORRUPT, "%s: page 1 has a damaged header", VFS_MAIN_NAME);
    }
    return OK;
}

/* Writes the log of an earlier process anew, whole. It may stand in the page cache only, even if a
 * sync of it returns OK now: an earlier one may have failed. SQLite would then move pages of it
 * into index.db, and a loss of power in between would leave index.db half moved and no log to end
 * it. */
static ErrCode renew_wal(Disk *disk, uint64_t size, Err *err)
{
    DiskStat stat;
    AUTO(File, disk_close) source = NULL;
    AUTO(File, disk_close) target = NULL;
    AUTO(void, mem_free) bytes = NULL;
    TRY(mem_take(COPY_LEN, &bytes, err));
    TRY(disk_stat(disk, WAL_NEW_NAME, &stat, err));
    if (stat.exists) TRY(disk_unlink(disk, WAL_NEW_NAME, err));
    TRY(disk_open(disk, VFS_WAL_NAME, DISK_OPEN_READ, &source, err));
    TRY(disk_open(disk, WAL_NEW_NAME, DISK_OPEN_CREATE, &target, err));
    for (uint64_t at = 0; at < size; at += COPY_LEN) {
        size_t len = (size_t)MIN(size - at, COPY_LEN);
        TRY(disk_read_all(source, at, bytes, len, err));
        TRY(disk_write(target, at, bytes, len, err));
    }
    TRY(disk_sync(target, err));
    return disk_rename_durable(disk, WAL_NEW_NAME, VFS_WAL_NAME, err);
}

/* None is left after a clean stop. On a full disk the log stays as it is: what a failed sync of it
 * and a loss of power in the next checkpoint could spoil is a view, and its checksums would tell.
 */
static ErrCode settle_wal(Disk *disk, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, VFS_WAL_NAME, &stat, err));
    if (!stat.exists || stat.size == 0 || fault_planted("trust-page-cache")) return OK;
    ErrCode code = renew_wal(disk, stat.size, err);
    if (code == ERR_NO_SPACE) { /* perhaps there was none for its name either */
        code = disk_unlink(disk, WAL_NEW_NAME, err);
        return code == ERR_NOT_FOUND ? OK : code;
    }
    return code == OK ? OK : err_wrap(err, code, "write %s anew", VFS_WAL_NAME);
}

ErrCode index_file_ensure(Disk *disk, Vfs *vfs, bool *created, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, VFS_MAIN_NAME, &stat, err));
    if (stat.exists) {
        TRY(index_file_look(disk, err));
        TRY(index_mark_check(disk, err));
        TRY(settle_wal(disk, err));
    } else {
        TRY(remove_wal(disk, err));
        TRY(create(disk, vfs, err));
    }
    *created = !stat.exists;
    return OK;
}

ErrCode index_file_verify(Conn *conn, Err *err)
{
    int64_t id = 0;
    int64_t version = 0;
    TRY(conn_number(conn, "PRAGMA application_id", &id, err));
    TRY(conn_number(conn, "PRAGMA user_version", &version, err));
    if (id != INDEX_APPLICATION_ID || version < 1) {
        return err_set(err, ERR_CORRUPT, "%s: page 1 is not an index's", VFS_MAIN_NAME);
    }
    if (version > INDEX_USER_VERSION) {
        return err_set(err, ERR_FORMAT_VERSION, "%s has version %lld, this release reads up to %d",
                       VFS_MAIN_NAME, (long long)version, INDEX_USER_VERSION);
    }
    return OK;
}

ErrCode index_file_remove(Disk *disk, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, VFS_MAIN_NAME, &stat, err));
    if (stat.exists) {
        TRY(disk_unlink(disk, VFS_MAIN_NAME, err));
        TRY(disk_sync_dir(disk, "", err));
    }
    TRY(remove_wal(disk, err));
    ErrCode code = disk_unlink(disk, INDEX_MARK_NAME, err); /* of no log: it may come back */
    return code == ERR_NOT_FOUND ? OK : code;
}
