/* Readers: cursors, seeks, snapshots, the reference model over both drivers, and readers in threads
 * of their own while the writer commits and checkpoints. */
#include "base/thread.h"
#include "disk/posix.h"
#include "disk/sim.h"
#include "index/index.h"
#include "index/vfs.h"
#include "index_kit.h"
#include "testing.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    char *dir;
    Disk *disk;
    Index *index;
    Kit kit;
} Box;

static void open_index(Box *box)
{
    Err err = {0};
    bool created = false;
    IndexOptions options = {
        .cache_bytes = 128 * KIB, .writer_cache_bytes = 128 * KIB, .wal_soft_bytes = MIB};
    assert_ok(index_open(box->disk, &options, &box->index, &created, &err), &err);
}

static int setup_sim(void **state)
{
    Err err = {0};
    Box *box = mem_new(sizeof *box);
    kit_init(&box->kit, 21);
    assert_ok(disk_sim_new(1, &box->disk, &err), &err);
    open_index(box);
    *state = box;
    return 0;
}

static int setup_posix(void **state)
{
    Err err = {0};
    Box *box = mem_new(sizeof *box);
    kit_init(&box->kit, 22);
    box->dir = tmp_dir_new();
    assert_ok(disk_posix_open(box->dir, &box->disk, &err), &err);
    open_index(box);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    Box *box = *state;
    index_free(box->index);
    disk_free(box->disk);
    tmp_dir_remove(box->dir);
    mem_free(box);
    return 0;
}

static void put_all(Box *box, const char *const *keys, size_t count, const char *value)
{
    Err err = {0};
    assert_ok(index_begin(box->index, &err), &err);
    for (size_t i = 0; i < count; i++) {
        Str key = str_from_cstr(keys[i]);
        assert_ok(index_put(box->index, key, str_from_cstr(value), &err), &err);
    }
    assert_ok(index_commit(box->index, &err), &err);
}

/* The next pair; key NULL: the end. */
static void expect_next(IndexCursor *cursor, const char *key, const char *value)
{
    Err err = {0};
    Str got_key = STR("untouched");
    Str got_value = STR("untouched");
    bool found = false;
    assert_ok(index_next(cursor, &got_key, &got_value, &found, &err), &err);
    assert_int_equal(found, key != NULL);
    assert_str(got_key, key != NULL ? key : "untouched");
    assert_str(got_value, key != NULL ? value : "untouched");
}

static void test_cursor(void **state)
{
    Box *box = *state;
    Err err = {0};
    static const char *const keys[] = {"a", "a/1", "a/2", "b", "b\xff", "c"};
    put_all(box, keys, ARRAY_LEN(keys), "1");
    IndexReader *reader = NULL;
    IndexCursor *cursor = NULL;
    assert_ok(index_reader_open(box->index, &reader, &err), &err);
    assert_ok(index_scan(reader, STR("a/"), &cursor, &err), &err);
    expect_next(cursor, "a/1", "1");
    expect_next(cursor, "a/2", "1");
    assert_ok(index_seek(cursor, STR("b\x01"), &err), &err);
    expect_next(cursor, "b\xff", "1");
    expect_next(cursor, "c", "1");
    expect_next(cursor, NULL, NULL);
    expect_next(cursor, NULL, NULL);
    assert_ok(index_seek(cursor, STR("d"), &err), &err);
    expect_next(cursor, NULL, NULL);
    index_cursor_close(cursor);
    assert_ok(index_scan(reader, STR("x"), &cursor, &err), &err);
    expect_next(cursor, NULL, NULL);
    index_cursor_close(cursor);
    index_reader_free(reader);
}

static void test_first(void **state)
{
    static const char *const keys[] = {"a", "a/1", "a/2", "b", "b\xff", "c"};
    static const struct {
        const char *from;
        const char *prefix;
        const char *key; /* NULL: none */
    } rows[] = {
        {"a", "a", "a"},      {"a/", "a/", "a/1"},     {"a/1x", "a/", "a/2"}, {"a/3", "a/", NULL},
        {"", "", "a"},        {"b\x01", "b", "b\xff"}, {"bb", "bb", NULL},    {"c", "c", "c"},
        {"c\x01", "c", NULL}, {"d", "", NULL},
    };
    Box *box = *state;
    Err err = {0};
    put_all(box, keys, ARRAY_LEN(keys), "1");
    IndexReader *reader = NULL;
    assert_ok(index_reader_open(box->index, &reader, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str key = STR("untouched");
        Str value = STR("untouched");
        bool found = false;
        assert_ok(index_first(reader, str_from_cstr(rows[i].from), str_from_cstr(rows[i].prefix),
                              &key, &value, &found, &err),
                  &err);
        assert_int_equal(found, rows[i].key != NULL);
        assert_str(key, found ? rows[i].key : "untouched");
        assert_str(value, found ? "1" : "untouched");
    }
    /* It keeps no snapshot, and its views stay. */
    Str key;
    Str value;
    bool found = false;
    assert_ok(index_first(reader, STR("a"), STR("a"), &key, &value, &found, &err), &err);
    put_all(box, keys, 1, "2");
    assert_ok(index_checkpoint(box->index, &err), &err);
    IndexStats stats;
    index_stats(box->index, &stats);
    assert_int_equal(stats.wal_bytes, 0);
    assert_str(key, "a");
    assert_str(value, "1");
    index_reader_free(reader);
}

static void test_snapshot(void **state)
{
    Box *box = *state;
    Err err = {0};
    static const char *const keys[] = {"a", "b", "c"};
    put_all(box, keys, 3, "1");
    IndexReader *reader = NULL;
    IndexCursor *cursor = NULL;
    assert_ok(index_reader_open(box->index, &reader, &err), &err);
    assert_ok(index_scan(reader, STR(""), &cursor, &err), &err);
    put_all(box, keys, 3, "2"); /* after the scan began, before its first row is taken */
    expect_next(cursor, "a", "1");
    assert_ok(index_checkpoint(box->index, &err), &err);
    put_all(box, keys, 3, "3");
    assert_ok(index_checkpoint(box->index, &err), &err);
    assert_ok(index_seek(cursor, STR("c"), &err), &err);
    expect_next(cursor, "c", "1");
    index_cursor_close(cursor);
    assert_ok(index_scan(reader, STR(""), &cursor, &err), &err);
    expect_next(cursor, "a", "3");
    index_cursor_close(cursor);
    index_reader_free(reader);
    /* With the cursor gone nothing keeps the log. */
    IndexStats stats;
    assert_ok(index_checkpoint(box->index, &err), &err);
    index_stats(box->index, &stats);
    assert_int_equal(stats.wal_bytes, 0);
}

static void test_views(void **state)
{
    Box *box = *state;
    Err err = {0};
    static const char *const keys[] = {"a"};
    put_all(box, keys, 1, "one");
    IndexReader *reader = NULL;
    Str value = {0};
    bool found = false;
    assert_ok(index_reader_open(box->index, &reader, &err), &err);
    assert_ok(index_get(reader, STR("a"), &value, &found, &err), &err);
    put_all(box, keys, 1, "two");
    assert_ok(index_checkpoint(box->index, &err), &err); /* a reader at rest keeps no snapshot */
    IndexStats stats;
    index_stats(box->index, &stats);
    assert_int_equal(stats.wal_bytes, 0);
    assert_str(value, "one"); /* until the next call */
    assert_ok(index_get(reader, STR("a"), &value, &found, &err), &err);
    assert_str(value, "two");
    index_reader_free(reader);
}

static void use_two_at_once(void *arg)
{
    Box *box = arg;
    IndexReader *reader = NULL;
    IndexCursor *cursor = NULL;
    Str value;
    bool found;
    ErrCode code = index_reader_open(box->index, &reader, NULL);
    if (code == OK) code = index_scan(reader, STR(""), &cursor, NULL);
    if (code == OK) code = index_get(reader, STR("a"), &value, &found, NULL);
    UNUSED(code);
}

static void test_misuse(void **state)
{
    assert_aborts(use_two_at_once, *state, "!reader->cursor.open");
}

static void test_model(void **state)
{
    Box *box = *state;
    Err err = {0};
    for (int i = 0; i < 120; i++) {
        assert_ok(kit_batch(&box->kit, box->index, &err), &err);
        if (i % 5 == 0) assert_ok(index_checkpoint(box->index, &err), &err);
        if (i % 30 == 0) {
            index_free(box->index);
            open_index(box);
        }
        uint32_t n = box->kit.versions[0];
        if (i % 3 == 0) {
            assert_ok(kit_compare_range(&box->kit, box->index, n, n, NULL, &err), &err);
        }
    }
    assert_ok(index_check(box->index, &err), &err);
}

#define THREADS 3
#define THREAD_BATCHES 120

typedef struct {
    Index *index;
    uint64_t seed;
    _Atomic bool *stop;
    uint32_t rounds;
    Err err;
} Worker;

/* Each snapshot is the state after some number of whole batches, and that number never falls. */
static ErrCode read_snapshots(Worker *worker)
{
    Err *err = &worker->err;
    uint32_t last = 0;
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(worker->index, &reader, err));
    Kit kit;
    kit_init(&kit, worker->seed);
    while (worker->rounds < 2 || !atomic_load(worker->stop)) {
        IndexCursor *cursor = NULL;
        Str key;
        Str value;
        bool found;
        TRY(index_scan(reader, str_of(NULL, 0), &cursor, err));
        ErrCode code = index_next(cursor, &key, &value, &found, err);
        uint32_t batches = 0;
        if (code == OK && found) memcpy(&batches, value.ptr, sizeof batches);
        if (code == OK && batches < last) code = err_set(err, ERR_ABORTED, "went back");
        last = batches;
        kit_replay(&kit, batches);
        uint32_t rows = batches > 0 ? 1 : 0;
        while (code == OK && found) {
            code = index_next(cursor, &key, &value, &found, err);
            if (code == OK && found) rows++;
        }
        uint32_t wanted = 0;
        for (uint32_t i = 0; i < KIT_KEYS; i++)
            wanted += kit.versions[i] != 0;
        index_cursor_close(cursor);
        if (code == OK && rows != wanted) {
            code = err_set(err, ERR_ABORTED, "%u rows instead of %u", rows, wanted);
        }
        TRY(code);
        worker->rounds++;
    }
    return OK;
}

static void worker_run(void *arg)
{
    Worker *worker = arg;
    worker->err.code = read_snapshots(worker);
}

static void test_threads(void **state)
{
    Box *box = *state;
    Err err = {0};
    _Atomic bool stop = false;
    Thread threads[THREADS] = {0};
    Worker workers[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (Worker){.index = box->index, .seed = box->kit.seed, .stop = &stop};
        assert_ok(thread_start(&threads[i], "reader", worker_run, &workers[i], &err), &err);
    }
    ErrCode code = OK;
    for (int i = 0; code == OK && i < THREAD_BATCHES; i++) {
        code = kit_batch(&box->kit, box->index, &err);
        if (code == OK && i % 3 == 0) code = index_checkpoint(box->index, &err);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    assert_ok(code, &err);
    for (int i = 0; i < THREADS; i++) {
        assert_ok(workers[i].err.code, &workers[i].err);
        assert_true(workers[i].rounds >= 2);
    }
}

/* Some cursor is open at any time: one is closed only when its thread has opened the next. */
static ErrCode read_without_pause(Worker *worker)
{
    Err *err = &worker->err;
    IndexReader *readers[2] = {0};
    IndexCursor *cursors[2] = {0};
    ErrCode code = OK;
    for (int i = 0; i < 2 && code == OK; i++) {
        code = index_reader_open(worker->index, &readers[i], err);
    }
    for (uint32_t i = 0; code == OK && !atomic_load(worker->stop); i++) {
        Str key;
        Str value;
        bool found = false;
        code = index_scan(readers[i % 2], STR("k/00100"), &cursors[i % 2], err);
        for (int n = 0; code == OK && n < 5; n++) {
            code = index_next(cursors[i % 2], &key, &value, &found, err);
        }
        vfs_sleep_us(500);
        index_cursor_close(TAKE(cursors[(i + 1) % 2]));
        worker->rounds++;
    }
    for (int i = 0; i < 2; i++) {
        index_cursor_close(cursors[i]);
        index_reader_free(readers[i]);
    }
    return code;
}

static void pauseless_run(void *arg)
{
    Worker *worker = arg;
    worker->err.code = read_without_pause(worker);
}

static void test_log_is_bounded(void **state)
{
    Box *box = *state;
    Err err = {0};
    _Atomic bool stop = false;
    Thread thread = {0};
    Worker worker = {.index = box->index, .stop = &stop};
    uint64_t most = 0;
    uint64_t sum = 0;
    uint64_t before = 0;
    box->kit.big_chance = 1000000;
    assert_ok(thread_start(&thread, "reader", pauseless_run, &worker, &err), &err);
    ErrCode code = OK;
    while (code == OK && sum < 8 * MIB) {
        IndexStats stats;
        code = kit_batch(&box->kit, box->index, &err);
        index_stats(box->index, &stats);
        most = MAX(most, stats.wal_bytes);
        sum += stats.wal_bytes - before;
        if (code == OK) code = index_checkpoint(box->index, &err);
        index_stats(box->index, &stats);
        before = stats.wal_bytes;
    }
    atomic_store(&stop, true);
    thread_join(&thread);
    assert_ok(code, &err);
    assert_ok(worker.err.code, &worker.err);
    print_message("log of at most %u KiB, %u scans\n", (unsigned)(most / KIB), worker.rounds);
    assert_true(most < 3 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cursor, setup_sim, teardown),
        cmocka_unit_test_setup_teardown(test_first, setup_sim, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot, setup_sim, teardown),
        cmocka_unit_test_setup_teardown(test_views, setup_sim, teardown),
        cmocka_unit_test_setup_teardown(test_misuse, setup_sim, teardown),
        {"test_model_sim", test_model, setup_sim, teardown, NULL},
        {"test_model_posix", test_model, setup_posix, teardown, NULL},
        cmocka_unit_test_setup_teardown(test_log_is_bounded, setup_sim, teardown),
        {"test_threads_sim", test_threads, setup_sim, teardown, NULL},
        {"test_threads_posix", test_threads, setup_posix, teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
