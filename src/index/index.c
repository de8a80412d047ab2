/* The writer's side: batches, checkpoint, check.
 *
 *   idle --begin--> batch --commit, rollback, any error but ERR_INVALID--> idle
 *   any write or sync fails (not for want of space): vfs_failed(), begin and checkpoint refuse */
#include "index/index.h"

#include "index/index_file.h"
#include "index/index_priv.h"

#define CACHE_BYTES_DEFAULT (2 * MIB)
#define WRITER_CACHE_BYTES_DEFAULT (16 * MIB)
#define WAL_SOFT_BYTES_DEFAULT (16 * MIB)
#define WAL_WAIT_TRIES 50
#define WAL_WAIT_US 1000

static const char *const stmt_sql[STMT_COUNT] = {
    [STMT_BEGIN] = "BEGIN IMMEDIATE",
    [STMT_COMMIT] = "COMMIT",
    [STMT_PUT] = "INSERT OR REPLACE INTO kv(k, v) VALUES(?1, ?2)",
    [STMT_DELETE] = "DELETE FROM kv WHERE k = ?1",
    [STMT_GET] = "SELECT v FROM kv WHERE k = ?1",
    [STMT_FIRST] = "SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k LIMIT 1",
};

static void index_assert(const Index *index)
{
    ASSERT(index->conn.db != NULL);
    ASSERT(index->in_batch == (sqlite3_get_autocommit(index->conn.db) == 0));
}

static int committed(void *ctx, sqlite3 *db, const char *name, int frames)
{
    Index *index = ctx;
    UNUSED(db);
    UNUSED(name);
    index->log_frames = (uint64_t)frames;
    return SQLITE_OK;
}

static ErrCode open_connection(Index *index, Err *err)
{
    TRY(conn_open(&index->conn, index->vfs, true, index->options.writer_cache_bytes, err));
    TRY(index_file_verify(&index->conn, err));
    const void *before = sqlite3_wal_hook(index->conn.db, committed, index);
    ASSERT(before == NULL); /* autocheckpoint, which is one, is off */
    for (size_t i = 0; i < STMT_COUNT; i++) {
        TRY(conn_prepare(&index->conn, stmt_sql[i], &index->stmts[i], err));
    }
    return OK;
}

/* Without a checkpoint. */
static void release(Index *index)
{
    if (index == NULL) return;
    for (size_t i = 0; i < STMT_COUNT; i++) {
        conn_finalize(index->stmts[i]);
    }
    conn_close(&index->conn);
    index_mark_close(index->mark);
    vfs_free(index->vfs);
    buf_deinit(&index->key);
    buf_deinit(&index->value);
    pending_deinit(&index->pending);
    mem_free(index);
}

static void set_default(uint64_t *option, uint64_t value)
{
    if (*option == 0) *option = value;
}

static Index *index_new(const IndexOptions *options)
{
    Index *index = mem_new(sizeof *index);
    buf_init(&index->key, INDEX_KEY_MAX);
    buf_init(&index->value, INDEX_VALUE_MAX);
    pending_init(&index->pending);
    if (options != NULL) index->options = *options;
    set_default(&index->options.cache_bytes, CACHE_BYTES_DEFAULT);
    set_default(&index->options.writer_cache_bytes, WRITER_CACHE_BYTES_DEFAULT);
    set_default(&index->options.wal_soft_bytes, WAL_SOFT_BYTES_DEFAULT);
    return index;
}

/* Page 1, as the log has it, is that of an index. */
static ErrCode verify_read(Index *index, Err *err)
{
    Conn conn;
    TRY(conn_open(&conn, index->vfs, false, index->options.cache_bytes, err));
    ErrCode code = index_file_verify(&conn, err);
    conn_close(&conn);
    return code;
}

ErrCode index_open_read(Disk *disk, const IndexOptions *options, Index **out, Err *err)
{
    TRY(index_file_look(disk, err));
    TRY(index_mark_check(disk, err));
    Index *index = index_new(options);
    ErrCode code = vfs_new(disk, &index->vfs, err);
    if (code == OK) vfs_set_read_only(index->vfs);
    if (code == OK) code = verify_read(index, err);
    if (code != OK) {
        release(index);
        return code;
    }
    *out = index;
    return OK;
}

ErrCode index_open(Disk *disk, const IndexOptions *options, Index **out, bool *created, Err *err)
{
    Index *index = index_new(options);
    bool made = false;
    ErrCode code = vfs_new(disk, &index->vfs, err);
    if (code == OK) {
        vfs_on_damage(index->vfs, index->options.damaged, index->options.damaged_ctx);
        code = index_file_ensure(disk, index->vfs, &made, err);
    }
    if (code == OK) code = index_mark_open(disk, &index->mark, err);
    if (code == OK) code = open_connection(index, err);
    if (code != OK) {
        release(index);
        return code;
    }
    index_assert(index);
    *out = index;
    *created = made;
    return OK;
}

void index_free(Index *index)
{
    if (index == NULL) return;
    ASSERT(atomic_load(&index->readers) == 0);
    if (index->conn.db == NULL) { /* for readers only */
        release(index);
        return;
    }
    index_rollback(index);
    ErrCode ignored = index_checkpoint(index, NULL);
    (void)ignored; /* the log stays, and is replayed at the next start */
    release(index);
}

ErrCode index_remove(Disk *disk, Err *err)
{
    return index_file_remove(disk, err);
}

/* Ends the batch after an error; returns its code. */
static ErrCode end_batch(Index *index, ErrCode code)
{
    index_rollback(index);
    return code;
}

static ErrCode check_batch(const Index *index, Str key, Str value, Err *err)
{
    index_assert(index);
    if (!index->in_batch) return err_set(err, ERR_INVALID, "index: no batch is open");
    if (key.len < 1 || key.len > INDEX_KEY_MAX) {
        return err_set(err, ERR_INVALID, "index: a key of %zu bytes", key.len);
    }
    if (value.len > INDEX_VALUE_MAX) {
        return err_set(err, ERR_INVALID, "index: a value of %zu bytes", value.len);
    }
    return OK;
}

ErrCode index_begin(Index *index, Err *err)
{
    index_assert(index);
    if (index->in_batch) return err_set(err, ERR_INVALID, "index: a batch is open already");
    if (vfs_failed(index->vfs)) {
        return err_set(err, ERR_ROOT_FAILED, "index: a write failed before");
    }
    TRY(conn_run(&index->conn, index->stmts[STMT_BEGIN], "begin", err));
    index->in_batch = true;
    return OK;
}

static ErrCode write_change(Index *index, const PendingChange *change, Err *err)
{
    sqlite3_stmt *stmt = index->stmts[change->is_delete ? STMT_DELETE : STMT_PUT];
    TRY(conn_bind(&index->conn, stmt, 1, change->key, false, err));
    if (!change->is_delete) {
        Str value = pending_value(&index->pending, change);
        TRY(conn_bind(&index->conn, stmt, 2, value, false, err));
    }
    return conn_run(&index->conn, stmt, change->is_delete ? "delete" : "put", err);
}

/* Gives SQLite what was kept back. */
static ErrCode write_pending(Index *index, Err *err)
{
    Pending *pending = &index->pending;
    if (pending->count == 0) return OK;
    pending_sort(pending);
    for (size_t i = 0; i < pending->count; i++)
        TRY(write_change(index, &pending->changes[i], err));
    atomic_fetch_add_explicit(&index->rows_written, pending->count, memory_order_relaxed);
    pending_clear(pending);
    return OK;
}

static ErrCode change(Index *index, Str key, Str value, bool is_delete, Err *err)
{
    TRY(check_batch(index, key, value, err));
    ErrCode code = OK;
    if (!pending_has_room(&index->pending, key.len, value.len)) code = write_pending(index, err);
    if (code == OK) code = pending_add(&index->pending, key, value, is_delete, err);
    return code == OK ? OK : end_batch(index, code);
}

ErrCode index_put(Index *index, Str key, Str value, Err *err)
{
    return change(index, key, value, false, err);
}

ErrCode index_delete(Index *index, Str key, Err *err)
{
    return change(index, key, str_of(NULL, 0), true, err);
}

static ErrCode copy_column(sqlite3_stmt *stmt, int column, Buf *out, Err *err)
{
    buf_clear(out);
    return buf_append_str(out, conn_column(stmt, column), err);
}

/* Steps a bound statement and copies key (NULL: not asked for) and value of the row it gives. */
static ErrCode batch_select(Index *index, sqlite3_stmt *stmt, Buf *key, bool *row, Err *err)
{
    TRY(conn_step(&index->conn, stmt, "read in a batch", row, err));
    ErrCode code = OK;
    if (*row && key != NULL) code = copy_column(stmt, 0, key, err);
    if (*row && code == OK) code = copy_column(stmt, key != NULL ? 1 : 0, &index->value, err);
    conn_reset(stmt);
    return code;
}

ErrCode index_batch_get(Index *index, Str key, Str *value, bool *found, Err *err)
{
    TRY(check_batch(index, key, str_of(NULL, 0), err));
    sqlite3_stmt *stmt = index->stmts[STMT_GET];
    bool row = false;
    ErrCode code = write_pending(index, err);
    if (code == OK) code = conn_bind(&index->conn, stmt, 1, key, false, err);
    if (code == OK) code = batch_select(index, stmt, NULL, &row, err);
    if (code != OK) return end_batch(index, code);
    if (row) *value = buf_str(&index->value);
    *found = row;
    return OK;
}

ErrCode index_batch_first(Index *index, Str from, Str prefix, Str *key, Str *value, bool *found,
                          Err *err)
{
    index_assert(index);
    if (!index->in_batch) return err_set(err, ERR_INVALID, "index: no batch is open");
    sqlite3_stmt *stmt = index->stmts[STMT_FIRST];
    Str start = str_cmp(from, prefix) < 0 ? prefix : from;
    bool row = false;
    ErrCode code = write_pending(index, err);
    if (code == OK) code = conn_bind(&index->conn, stmt, 1, start, false, err);
    if (code == OK) code = batch_select(index, stmt, &index->key, &row, err);
    if (code != OK) return end_batch(index, code);
    if (row) row = str_starts_with(buf_str(&index->key), prefix);
    if (row) {
        *key = buf_str(&index->key);
        *value = buf_str(&index->value);
    }
    *found = row;
    return OK;
}

ErrCode index_commit(Index *index, Err *err)
{
    index_assert(index);
    if (!index->in_batch) return err_set(err, ERR_INVALID, "index: no batch is open");
    ErrCode code = write_pending(index, err);
    if (code == OK) code = conn_run(&index->conn, index->stmts[STMT_COMMIT], "commit", err);
    if (code != OK) return end_batch(index, code);
    index->in_batch = false;
    index_assert(index);
    return OK;
}

void index_rollback(Index *index)
{
    if (!index->in_batch) return;
    pending_clear(&index->pending);
    /* SQLite itself has rolled back after some errors. The rollback only forgets pages in memory
     * and marks in the shared memory, so it does not fail. */
    if (sqlite3_get_autocommit(index->conn.db) == 0) {
        ErrCode code = conn_exec(&index->conn, "ROLLBACK", "roll back", NULL);
        ASSERT(code == OK || sqlite3_get_autocommit(index->conn.db) != 0);
    }
    index->in_batch = false;
    index_assert(index);
}

/* Before pages of the log are moved, all of which are synced. */
static ErrCode set_mark(Index *index, Err *err)
{
    if (vfs_wal_bytes(index->vfs) == 0) return OK;
    ErrCode code = index_mark_set(index->mark, index->log_frames, err);
    if (index_mark_failed(index->mark)) vfs_fail(index->vfs);
    return code;
}

ErrCode index_checkpoint(Index *index, Err *err)
{
    index_assert(index);
    if (index->in_batch) return err_set(err, ERR_INVALID, "index: checkpoint within a batch");
    if (vfs_failed(index->vfs)) {
        return err_set(err, ERR_ROOT_FAILED, "index: a write failed before");
    }
    if (vfs_is_settled(index->vfs)) return OK;
    /* From here on everything committed is durable; the rest keeps the log short. */
    TRY(vfs_sync_wal(index->vfs, err));
    TRY(set_mark(index, err));
    sqlite3 *db = index->conn.db;
    for (unsigned tries = 0;; tries++) {
        vfs_clear_error(index->conn.file);
        int rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (rc == SQLITE_OK) return OK;
        if ((rc & 0xff) != SQLITE_BUSY) return conn_error(&index->conn, rc, "checkpoint", err);
        /* A cursor still reads the log. New ones no longer do once all of it is in index.db, and
         * cursors are short, so waiting a little helps where it matters. */
        if (vfs_wal_bytes(index->vfs) <= index->options.wal_soft_bytes || tries >= WAL_WAIT_TRIES)
            return OK;
        vfs_sleep_us(WAL_WAIT_US);
    }
}

void index_stats(const Index *index, IndexStats *out)
{
    *out = (IndexStats){
        .file_bytes = vfs_main_bytes(index->vfs),
        .wal_bytes = vfs_wal_bytes(index->vfs),
        .rows_written = atomic_load_explicit(&index->rows_written, memory_order_relaxed),
    };
}

/* SQLite's own check over a connection with an empty cache: all pages that are in use, by way of
 * their checksums, and their order. */
static ErrCode check_structure(Conn *conn, Err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    TRY(conn_prepare(conn, "PRAGMA integrity_check(1)", &stmt, err));
    ErrCode code = conn_step(conn, stmt, "check", &row, err);
    if (code == OK) {
        Str text = row ? conn_column(stmt, 0) : STR("nothing");
        /* The check goes on after a page that it cannot read, and tells less of it than we know. */
        if (vfs_last_error(conn->file)->code != OK) {
            code = conn_error(conn, SQLITE_CORRUPT, "check", err);
        } else if (!str_eq(text, STR("ok"))) {
            code = err_set(err, ERR_CORRUPT, "index: check: %.*s", STR_ARG(text));
        }
    }
    conn_finalize(stmt);
    return code;
}

ErrCode index_check(Index *index, Err *err)
{
    index_assert(index);
    if (index->in_batch) return err_set(err, ERR_INVALID, "index: check within a batch");
    if (!vfs_failed(index->vfs)) TRY(index_checkpoint(index, err));
    Conn conn;
    TRY(conn_open(&conn, index->vfs, false, index->options.cache_bytes, err));
    ErrCode code = check_structure(&conn, err);
    conn_close(&conn);
    if (code == OK && vfs_wal_bytes(index->vfs) == 0) code = vfs_check_pages(index->vfs, err);
    return code;
}

ErrCode index_look_pages(Index *index, uint64_t from, size_t count, IndexLooked *out, Err *err)
{
    VfsLooked looked;
    TRY(vfs_look_pages(index->vfs, from, count, &looked, err));
    *out = (IndexLooked){.next = looked.next, .bad = looked.bad, .ended = looked.ended};
    return OK;
}

ErrCode index_judge_page(Index *index, uint64_t number, Err *err)
{
    index_assert(index);
    if (index->in_batch) return err_set(err, ERR_INVALID, "index: look at a page within a batch");
    if (!vfs_failed(index->vfs)) TRY(index_checkpoint(index, err));
    return vfs_judge_page(index->vfs, number, err);
}

void index_seed_randomness(uint32_t seed)
{
    int rc = sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(seed | 1), NULL);
    ASSERT(rc == SQLITE_OK);
}
