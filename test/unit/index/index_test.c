/* The writer's side over a simulated disk. */
#include "index/index.h"

#include "disk/sim.h"
#include "testing.h"
#include <stdio.h>
#include <string.h>

typedef struct {
    Disk *disk;
    Index *index;
    bool created;
} Box;

static void reopen(Box *box)
{
    Err err = {0};
    index_free(box->index);
    box->index = NULL;
    assert_ok(index_open(box->disk, NULL, &box->index, &box->created, &err), &err);
}

static int setup(void **state)
{
    Err err = {0};
    Box *box = mem_new(sizeof *box);
    assert_ok(disk_sim_new(1, &box->disk, &err), &err);
    *state = box;
    reopen(box);
    assert_true(box->created);
    return 0;
}

static int teardown(void **state)
{
    Box *box = *state;
    index_free(box->index);
    disk_free(box->disk);
    mem_free(box);
    return 0;
}

static void put(Box *box, const char *key, const char *value)
{
    Err err = {0};
    assert_ok(index_put(box->index, str_from_cstr(key), str_from_cstr(value), &err), &err);
}

static void put_batch(Box *box, const char *key, const char *value)
{
    Err err = {0};
    assert_ok(index_begin(box->index, &err), &err);
    put(box, key, value);
    assert_ok(index_commit(box->index, &err), &err);
}

/* value NULL: the key must be absent. */
static void expect(Box *box, const char *key, const char *value)
{
    Err err = {0};
    IndexReader *reader = NULL;
    assert_ok(index_reader_open(box->index, &reader, &err), &err);
    Str got = {0};
    bool found = false;
    assert_ok(index_get(reader, str_from_cstr(key), &got, &found, &err), &err);
    assert_int_equal(found, value != NULL);
    if (value != NULL) assert_str(got, value);
    index_reader_free(reader);
}

static void test_put_get_delete(void **state)
{
    Box *box = *state;
    Err err = {0};
    put_batch(box, "a", "1");
    put_batch(box, "b", "");
    put_batch(box, "a", "2");
    expect(box, "a", "2");
    expect(box, "b", "");
    expect(box, "c", NULL);
    assert_ok(index_begin(box->index, &err), &err);
    assert_ok(index_delete(box->index, STR("a"), &err), &err);
    assert_ok(index_delete(box->index, STR("never"), &err), &err);
    expect(box, "a", "2"); /* not committed yet */
    assert_ok(index_commit(box->index, &err), &err);
    expect(box, "a", NULL);
    reopen(box);
    assert_false(box->created);
    expect(box, "a", NULL);
    expect(box, "b", "");
    assert_ok(index_check(box->index, &err), &err);
}

static void test_rollback(void **state)
{
    Box *box = *state;
    Err err = {0};
    put_batch(box, "a", "1");
    assert_ok(index_begin(box->index, &err), &err);
    put(box, "a", "2");
    put(box, "b", "2");
    index_rollback(box->index);
    index_rollback(box->index);
    expect(box, "a", "1");
    expect(box, "b", NULL);
}

static void test_batch_reads(void **state)
{
    Box *box = *state;
    Err err = {0};
    Str key = {0};
    Str value = {0};
    bool found = false;
    assert_ok(index_begin(box->index, &err), &err);
    put(box, "a/1", "x");
    put(box, "a/3", "y");
    put(box, "b/1", "z");
    assert_ok(index_batch_get(box->index, STR("a/3"), &value, &found, &err), &err);
    assert_true(found);
    assert_str(value, "y");
    assert_ok(index_batch_get(box->index, STR("a/2"), &value, &found, &err), &err);
    assert_false(found);
    static const struct {
        const char *from, *prefix, *key, *value;
    } rows[] = {
        {"", "a/", "a/1", "x"},    {"a/1", "a/", "a/1", "x"}, {"a/2", "a/", "a/3", "y"},
        {"a/4", "a/", NULL, NULL}, {"", "b", "b/1", "z"},     {"", "c", NULL, NULL},
        {"", "", "a/1", "x"},      {"b", "a", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_ok(index_batch_first(box->index, str_from_cstr(rows[i].from),
                                    str_from_cstr(rows[i].prefix), &key, &value, &found, &err),
                  &err);
        assert_int_equal(found, rows[i].key != NULL);
        if (!found) continue;
        assert_str(key, rows[i].key);
        assert_str(value, rows[i].value);
    }
    assert_ok(index_commit(box->index, &err), &err);
}

static void test_invalid(void **state)
{
    Box *box = *state;
    Err err = {0};
    static char big[INDEX_VALUE_MAX + 1];
    Str value;
    bool found;
    assert_code(index_put(box->index, STR("a"), STR("b"), &err), ERR_INVALID, &err);
    assert_code(index_delete(box->index, STR("a"), &err), ERR_INVALID, &err);
    assert_code(index_batch_get(box->index, STR("a"), &value, &found, &err), ERR_INVALID, &err);
    assert_code(index_commit(box->index, &err), ERR_INVALID, &err);
    assert_ok(index_begin(box->index, &err), &err);
    assert_code(index_begin(box->index, &err), ERR_INVALID, &err);
    assert_code(index_checkpoint(box->index, &err), ERR_INVALID, &err);
    assert_code(index_put(box->index, STR(""), STR("b"), &err), ERR_INVALID, &err);
    Str long_key = str_of(big, INDEX_KEY_MAX + 1);
    assert_code(index_put(box->index, long_key, STR("b"), &err), ERR_INVALID, &err);
    assert_code(index_put(box->index, STR("b"), str_of(big, sizeof big), &err), ERR_INVALID, &err);
    /* The largest that is allowed, in the batch that went on. */
    assert_ok(index_put(box->index, str_of(big, INDEX_KEY_MAX), str_of(big, INDEX_VALUE_MAX), &err),
              &err);
    put(box, "a", "1");
    assert_ok(index_commit(box->index, &err), &err);
    expect(box, "a", "1");
}

static void test_stats(void **state)
{
    Box *box = *state;
    Err err = {0};
    IndexStats stats;
    put_batch(box, "a", "1");
    index_stats(box->index, &stats);
    assert_int_equal(stats.rows_written, 1);
    assert_true(stats.wal_bytes > 0);
    assert_ok(index_checkpoint(box->index, &err), &err);
    index_stats(box->index, &stats);
    assert_int_equal(stats.wal_bytes, 0);
    assert_true(stats.file_bytes >= 8192);
}

static void test_remove(void **state)
{
    Box *box = *state;
    Err err = {0};
    put_batch(box, "a", "1");
    index_free(box->index);
    box->index = NULL;
    assert_ok(index_remove(box->disk, &err), &err);
    assert_ok(index_remove(box->disk, &err), &err);
    reopen(box);
    assert_true(box->created);
    expect(box, "a", NULL);
}

/* A stopped index is read with what its log holds, and not a byte of it changes. */
static void test_open_read(void **state)
{
    Box *box = *state;
    Err err = {0};
    put_batch(box, "checkpointed", "1");
    assert_ok(index_checkpoint(box->index, &err), &err);
    put_batch(box, "logged", "2");
    AUTO(Disk, disk_free) copy = NULL;
    uint64_t keep[64];
    memset(keep, 0xff, sizeof keep);
    assert_in_range(disk_sim_pending(box->disk), 1, 64 * 64);
    assert_ok(disk_sim_crash_image(box->disk, keep, 1, &copy, &err), &err);
    for (int round = 0; round < 2; round++) {
        uint64_t before = disk_sim_fingerprint(copy);
        Index *index = NULL;
        IndexReader *reader = NULL;
        Str value = {NULL, 0};
        bool found = false;
        assert_ok(index_open_read(copy, NULL, &index, &err), &err);
        assert_ok(index_reader_open(index, &reader, &err), &err);
        assert_ok(index_get(reader, STR("checkpointed"), &value, &found, &err), &err);
        assert_true(found);
        assert_str(value, "1");
        assert_ok(index_get(reader, STR("logged"), &value, &found, &err), &err);
        assert_int_equal(found, round == 0);
        index_reader_free(reader);
        index_free(index);
        assert_int_equal(disk_sim_fingerprint(copy), before);
        assert_int_equal(disk_sim_pending(copy), 0);
        if (round == 0) assert_ok(disk_unlink(copy, "index.db-wal", &err), &err);
        if (round == 0) assert_ok(disk_sync_dir(copy, "", &err), &err);
    }
    AUTO(Disk, disk_free) empty = NULL;
    Index *index = NULL;
    assert_ok(disk_sim_new(3, &empty, &err), &err);
    assert_code(index_open_read(empty, NULL, &index, &err), ERR_NOT_FOUND, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rollback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invalid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
