#include "index/conn.h"

#include <stdio.h>
#include <threads.h>

static once_flag config_once = ONCE_FLAG_INIT;

/* Global statistics would put one lock around every allocation of every connection. Refused (and of
 * no matter) if somebody has initialized SQLite before. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* only speed: see above */
}

static ErrCode code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ERR_CORRUPT;
    case SQLITE_NOMEM: return ERR_NO_MEMORY;
    case SQLITE_FULL: return ERR_NO_SPACE;
    case SQLITE_TOOBIG: return ERR_TOO_BIG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return ERR_BUSY;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: return ERR_IO;
    default: return ERR_SYSTEM;
    }
}

/* The Disk's own reason for the last failure, if it was the Disk's. */
static bool find_reason(Conn *conn, int rc, Err *out)
{
    if (conn->file != NULL && vfs_last_error(conn->file)->code != OK) {
        *out = *vfs_last_error(conn->file);
        return true;
    }
    /* Some calls fail without a handle that could keep the reason. */
    bool of_file = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
    return of_file && vfs_take_open_error(conn->vfs, out);
}

ErrCode conn_error(Conn *conn, int rc, const char *doing, Err *err)
{
    Err reason;
    if (find_reason(conn, rc, &reason)) {
        if (err != NULL) *err = reason;
        return err_wrap(err, reason.code, "index: %s", doing);
    }
    const char *text = conn->db != NULL ? sqlite3_errmsg(conn->db) : sqlite3_errstr(rc);
    return err_set(err, code_of(rc), "index: %s: %s (SQLite %d)", doing, text, rc);
}

static void begin_call(Conn *conn)
{
    vfs_clear_error(conn->file);
}

static ErrCode configure_conn(Conn *conn, uint64_t cache_bytes, Err *err)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA cache_size=-%llu", /* fits */
             (unsigned long long)MAX(cache_bytes / KIB, 64));
    TRY(conn_exec(conn, sql, "set the cache's size", err));
    return conn_exec(conn,
                     "PRAGMA temp_store=MEMORY; PRAGMA synchronous=NORMAL;"
                     "PRAGMA wal_autocheckpoint=0; PRAGMA secure_delete=OFF;"
                     "PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0",
                     "configure", err);
}

ErrCode conn_open(Conn *conn, Vfs *vfs, bool writable, uint64_t cache_bytes, Err *err)
{
    call_once(&config_once, configure);
    Conn made = {.vfs = vfs};
    Err stale;
    vfs_take_open_error(vfs, &stale);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE |
                (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    int rc = sqlite3_open_v2(VFS_MAIN_NAME, &made.db, flags, vfs_name(vfs));
    if (rc == SQLITE_OK) {
        rc = sqlite3_file_control(made.db, "main", SQLITE_FCNTL_FILE_POINTER, &made.file);
    }
    if (rc != SQLITE_OK) {
        ErrCode code = conn_error(&made, rc, "open", err);
        conn_close(&made);
        return code;
    }
    /* index_checkpoint() is the one place that moves the log into index.db. */
    sqlite3_db_config(made.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* known option */
    ErrCode code = configure_conn(&made, cache_bytes, err);
    if (code != OK) {
        conn_close(&made);
        return code;
    }
    *conn = made;
    return OK;
}

void conn_close(Conn *conn)
{
    int rc = sqlite3_close(conn->db);
    ASSERT(rc == SQLITE_OK); /* SQLITE_BUSY: a statement was not finalized */
    *conn = (Conn){0};
}

ErrCode conn_prepare(Conn *conn, const char *sql, sqlite3_stmt **out, Err *err)
{
    sqlite3_stmt *stmt = NULL;
    begin_call(conn);
    int rc = sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if ((rc & 0xff) == SQLITE_ERROR) { /* our SQL is fixed, so the schema is not ours */
        return err_set(err, ERR_CORRUPT, "index: %s", sqlite3_errmsg(conn->db));
    }
    if (rc != SQLITE_OK) return conn_error(conn, rc, "prepare", err);
    *out = stmt;
    return OK;
}

ErrCode conn_exec(Conn *conn, const char *sql, const char *doing, Err *err)
{
    begin_call(conn);
    int rc = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? OK : conn_error(conn, rc, doing, err);
}

ErrCode conn_number(Conn *conn, const char *sql, int64_t *out, Err *err)
{
    sqlite3_stmt *stmt = NULL;
    TRY(conn_prepare(conn, sql, &stmt, err));
    bool row = false;
    ErrCode code = conn_step(conn, stmt, sql, &row, err);
    if (code == OK && !row) code = err_set(err, ERR_CORRUPT, "index: %s gave nothing", sql);
    if (code == OK) *out = sqlite3_column_int64(stmt, 0);
    conn_finalize(stmt);
    return code;
}

void conn_reset(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
}

void conn_finalize(sqlite3_stmt *stmt)
{
    sqlite3_finalize(stmt);
}

ErrCode conn_run(Conn *conn, sqlite3_stmt *stmt, const char *doing, Err *err)
{
    bool row = false;
    TRY(conn_step(conn, stmt, doing, &row, err));
    ASSERT(!row);
    conn_reset(stmt);
    return OK;
}

ErrCode conn_step(Conn *conn, sqlite3_stmt *stmt, const char *doing, bool *row, Err *err)
{
    begin_call(conn);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        *row = rc == SQLITE_ROW;
        return OK;
    }
    ErrCode code = conn_error(conn, rc, doing, err);
    conn_reset(stmt);
    return code;
}

ErrCode conn_bind(Conn *conn, sqlite3_stmt *stmt, int place, Str bytes, bool copy, Err *err)
{
    const char *ptr = bytes.len == 0 ? "" : bytes.ptr; /* NULL would bind NULL */
    int rc = sqlite3_bind_blob64(stmt, place, ptr, bytes.len,
                                 copy ? SQLITE_TRANSIENT : SQLITE_STATIC);
    if (rc == SQLITE_OK) return OK;
    begin_call(conn);
    return conn_error(conn, rc, "bind", err);
}

Str conn_column(sqlite3_stmt *stmt, int column)
{
    const void *ptr = sqlite3_column_blob(stmt, column);
    return str_of(ptr, (size_t)sqlite3_column_bytes(stmt, column));
}
