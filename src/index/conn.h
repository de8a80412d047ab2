/* One connection to SQLite over a Vfs, with its errors translated. Used by index.c and reader.c.
 * Threads: one at a time. */
#ifndef HOLDFAST_INDEX_CONN_H
#define HOLDFAST_INDEX_CONN_H

#include "index/vfs.h"

typedef struct {
    Vfs *vfs;
    sqlite3 *db;
    sqlite3_file *file; /* the connection's handle on index.db: it keeps the last error */
} Conn;

/* The schema and identity of index.db. */
#define INDEX_APPLICATION_ID 0x48466978 /* "HFix" */
#define INDEX_USER_VERSION 1

/* writable: the one writing connection. cache_bytes: of its page cache. On failure conn needs no
 * conn_close(). Errors: ERR_CORRUPT, ERR_IO, ERR_SYSTEM, ERR_NO_MEMORY. */
MUST_USE ErrCode conn_open(Conn *conn, Vfs *vfs, bool writable, uint64_t cache_bytes, Err *err);
/* Statements must be finalized. conn may be zeroed memory. */
void conn_close(Conn *conn);
/* Sets err and is its code, for a call on conn that gave rc (not SQLITE_OK, _ROW or _DONE): the
 * Disk's own reason if there was one. doing: "commit", … */
MUST_USE ErrCode conn_error(Conn *conn, int rc, const char *doing, Err *err);
MUST_USE ErrCode conn_prepare(Conn *conn, const char *sql, sqlite3_stmt **out, Err *err);
/* Runs sql, whose rows nobody wants. */
MUST_USE ErrCode conn_exec(Conn *conn, const char *sql, const char *doing, Err *err);
/* Runs a PRAGMA or SELECT that gives one number. */
MUST_USE ErrCode conn_number(Conn *conn, const char *sql, int64_t *out, Err *err);
/* Runs a prepared statement without rows and resets it. */
MUST_USE ErrCode conn_run(Conn *conn, sqlite3_stmt *stmt, const char *doing, Err *err);
/* One step: *row tells whether there is one. On failure the statement is reset. */
MUST_USE ErrCode conn_step(Conn *conn, sqlite3_stmt *stmt, const char *doing, bool *row, Err *err);
/* Binds bytes as a blob (never NULL). copy: the bytes may go before the statement is reset. */
MUST_USE ErrCode conn_bind(Conn *conn, sqlite3_stmt *stmt, int place, Str bytes, bool copy,
                           Err *err);
/* Both give what the last step gave, which was handled there. stmt may be NULL. */
void conn_reset(sqlite3_stmt *stmt);
void conn_finalize(sqlite3_stmt *stmt);
/* The blob in a column of the current row; valid until the next call on the statement. */
Str conn_column(sqlite3_stmt *stmt, int column);

#endif
