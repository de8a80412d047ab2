/* Readers: each has a connection of its own, so each sees what was committed when its call (or its
 * cursor) began. A value is copied out, so that a reader at rest keeps no snapshot: a snapshot
 * keeps the log from being cut. */
#include "index/index.h"

#include "index/index_priv.h"

struct IndexCursor {
    IndexReader *reader;
    bool open;
    bool pending; /* the statement stands on a row that index_next() has not given yet */
    bool done;
};

struct IndexReader {
    Index *index;
    Conn conn;
    sqlite3_stmt *get;
    sqlite3_stmt *first;
    sqlite3_stmt *scan;
    sqlite3_stmt *begin;
    sqlite3_stmt *end;
    Buf key;
    Buf value;
    IndexCursor cursor; /* the one that there may be */
};

static void reader_release(IndexReader *reader)
{
    conn_finalize(reader->get);
    conn_finalize(reader->first);
    conn_finalize(reader->scan);
    conn_finalize(reader->begin);
    conn_finalize(reader->end);
    conn_close(&reader->conn);
    buf_deinit(&reader->key);
    buf_deinit(&reader->value);
    mem_free(reader);
}

static ErrCode reader_prepare(IndexReader *reader, Err *err)
{
    Conn *conn = &reader->conn;
    TRY(conn_open(conn, reader->index->vfs, false, reader->index->options.cache_bytes, err));
    TRY(conn_prepare(conn, "SELECT v FROM kv WHERE k = ?1", &reader->get, err));
    TRY(conn_prepare(conn, "SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k LIMIT 1", &reader->first,
                     err));
    TRY(conn_prepare(conn, "SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k", &reader->scan, err));
    TRY(conn_prepare(conn, "BEGIN", &reader->begin, err));
    return conn_prepare(conn, "ROLLBACK", &reader->end, err);
}

ErrCode index_reader_open(Index *index, IndexReader **out, Err *err)
{
    IndexReader *reader = mem_new(sizeof *reader);
    reader->index = index;
    buf_init(&reader->key, INDEX_KEY_MAX);
    buf_init(&reader->value, INDEX_VALUE_MAX);
    ErrCode code = reader_prepare(reader, err);
    if (code != OK) {
        reader_release(reader);
        return code;
    }
    atomic_fetch_add(&index->readers, 1);
    *out = reader;
    return OK;
}

void index_reader_free(IndexReader *reader)
{
    if (reader == NULL) return;
    ASSERT(!reader->cursor.open);
    unsigned before = atomic_fetch_sub(&reader->index->readers, 1);
    ASSERT(before > 0);
    reader_release(reader);
}

ErrCode index_get(IndexReader *reader, Str key, Str *value, bool *found, Err *err)
{
    ASSERT(!reader->cursor.open);
    bool row = false;
    TRY(conn_bind(&reader->conn, reader->get, 1, key, false, err));
    TRY(conn_step(&reader->conn, reader->get, "get", &row, err));
    ErrCode code = OK;
    if (row) {
        buf_clear(&reader->value);
        code = buf_append_str(&reader->value, conn_column(reader->get, 0), err);
    }
    conn_reset(reader->get);
    if (code != OK) return code;
    if (row) *value = buf_str(&reader->value);
    *found = row;
    return OK;
}

/* The row that first stands on, if it is one of prefix's. */
static ErrCode first_copy(IndexReader *reader, Str prefix, bool *found, Err *err)
{
    Str key = conn_column(reader->first, 0);
    *found = str_starts_with(key, prefix);
    if (!*found) return OK;
    buf_clear(&reader->key);
    buf_clear(&reader->value);
    TRY(buf_append_str(&reader->key, key, err));
    return buf_append_str(&reader->value, conn_column(reader->first, 1), err);
}

ErrCode index_first(IndexReader *reader, Str from, Str prefix, Str *key, Str *value, bool *found,
                    Err *err)
{
    ASSERT(!reader->cursor.open);
    bool row = false;
    TRY(conn_bind(&reader->conn, reader->first, 1, from, false, err));
    TRY(conn_step(&reader->conn, reader->first, "first", &row, err));
    ErrCode code = row ? first_copy(reader, prefix, &row, err) : OK;
    conn_reset(reader->first);
    if (code != OK) return code;
    if (row) {
        *key = buf_str(&reader->key);
        *value = buf_str(&reader->value);
    }
    *found = row;
    return OK;
}

static void cursor_end(IndexCursor *cursor)
{
    IndexReader *reader = cursor->reader;
    conn_reset(reader->scan);
    if (sqlite3_get_autocommit(reader->conn.db) == 0) {
        /* Ending a transaction that only read gives back locks in memory: it does not fail. */
        ErrCode code = conn_run(&reader->conn, reader->end, "end a scan", NULL);
        ASSERT(code == OK);
    }
    *cursor = (IndexCursor){0};
}

/* Puts the statement on the first key ≥ from. */
static ErrCode cursor_go(IndexCursor *cursor, Str from, Err *err)
{
    IndexReader *reader = cursor->reader;
    conn_reset(reader->scan);
    cursor->pending = false;
    cursor->done = true;
    TRY(conn_bind(&reader->conn, reader->scan, 1, from, true, err));
    bool row = false;
    TRY(conn_step(&reader->conn, reader->scan, "scan", &row, err));
    cursor->pending = row;
    cursor->done = !row;
    return OK;
}

ErrCode index_scan(IndexReader *reader, Str from, IndexCursor **out, Err *err)
{
    IndexCursor *cursor = &reader->cursor;
    ASSERT(!cursor->open);
    *cursor = (IndexCursor){.reader = reader, .open = true};
    /* BEGIN takes no snapshot yet, the first step does. */
    ErrCode code = conn_run(&reader->conn, reader->begin, "begin a scan", err);
    if (code == OK) code = cursor_go(cursor, from, err);
    if (code != OK) {
        cursor_end(cursor);
        return code;
    }
    *out = cursor;
    return OK;
}

ErrCode index_next(IndexCursor *cursor, Str *key, Str *value, bool *found, Err *err)
{
    ASSERT(cursor->open);
    IndexReader *reader = cursor->reader;
    bool row = cursor->pending;
    if (!cursor->pending && !cursor->done) {
        ErrCode code = conn_step(&reader->conn, reader->scan, "scan", &row, err);
        if (code != OK) {
            cursor->done = true;
            return code;
        }
    }
    cursor->pending = false;
    cursor->done = !row;
    if (row) {
        *key = conn_column(reader->scan, 0);
        *value = conn_column(reader->scan, 1);
    }
    *found = row;
    return OK;
}

ErrCode index_seek(IndexCursor *cursor, Str from, Err *err)
{
    ASSERT(cursor->open);
    return cursor_go(cursor, from, err);
}

void index_cursor_close(IndexCursor *cursor)
{
    if (cursor == NULL) return;
    ASSERT(cursor->open);
    cursor_end(cursor);
}
