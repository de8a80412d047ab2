/* A seed: whatever the target had of the shards, it has what the source has afterwards, row by row,
 * but for where records stand in packs. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "look.h"
#include "node_fixture.h"
#include "store/seed.h"
#include "store/seed_bodies.h"
#include "store/store_priv.h"

#define FILES 300
#define LARGE 3
#define STEP 100 /* rows */

static const NodeKitOptions options_one = {.seed = 3, .shards = 2};
static const NodeKitOptions options_two = {.seed = 4, .shards = 2};
static const ShardId shards[] = {SHARD_SYSTEM, 0x1000, 0x1001};

typedef struct {
    NodeFixture *source;
    NodeFixture *target;
} Fixture;

static void put(NodeFixture *f, unsigned number, uint64_t seed, size_t len)
{
    Err err = {0};
    char key[16];
    AUTO(void, mem_free) body = mem_new_array(len + 1, 1);
    snprintf(key, sizeof key, "k%u", number);
    random_bytes(seed, body, len);
    assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(key), str_of(body, len), &err),
              &err);
}

static void drop(NodeFixture *f, unsigned number)
{
    Err err = {0};
    char key[16];
    snprintf(key, sizeof key, "k%u", number);
    assert_ok(node_kit_delete(&f->kit, STR("files"), str_from_cstr(key), &err), &err);
}

/* Small and large files, some of them written again, some deleted. */
static void fill(NodeFixture *f, uint64_t seed)
{
    for (unsigned i = 0; i < FILES; i++)
        put(f, i, seed + i, i % 50 == 0 ? 0 : 100 + i);
    for (unsigned i = 0; i < LARGE; i++)
        put(f, FILES + i, seed + i, INLINE_MAX + 1 + i * 100000);
    for (unsigned i = 0; i < FILES; i += 7)
        put(f, i, seed + i + 1, 50);
    for (unsigned i = (unsigned)seed % 5; i < FILES; i += 11)
        drop(f, i);
    node_fixture_apply(f);
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    f->source = node_fixture_new(&options_one);
    f->target = node_fixture_new(&options_two);
    fill(f->source, 1000);
    f->target->kit.store->options.seed_rows = STEP;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    node_fixture_free(f->source);
    node_fixture_free(f->target);
    mem_free(f);
    return 0;
}

static Seed *begin(Fixture *f, Lsn more)
{
    SeedShard list[ARRAY_LEN(shards)];
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        Lsn applied = f->source->kit.store->shards[shards[i]]->applied_lsn;
        list[i] = (SeedShard){.shard = shards[i], .base = applied + more};
        store_reset(f->target->kit.store, shards[i], list[i].base);
    }
    return seed_new(f->source->kit.store, f->target->kit.store, list, ARRAY_LEN(shards));
}

/* How many steps it took. */
static unsigned run(Fixture *f)
{
    Err err = {0};
    bool done = false;
    unsigned steps = 0;
    AUTO(Seed, seed_free) seed = begin(f, 0);
    for (; !done; steps++)
        assert_ok(seed_step(seed, &done, &err), &err);
    for (size_t i = 0; i < seed_count(seed); i++)
        assert_int_equal(seed_shard(seed, i)->lsn, seed_shard(seed, i)->base);
    return steps;
}

/* The next row of one of kinds; the place of a file is left out. */
static bool next(IndexCursor *cursor, const char *kinds, Buf *key, Buf *value)
{
    for (;;) {
        Err err = {0};
        Str k;
        Str v;
        FileRow row;
        bool found = false;
        assert_ok(index_next(cursor, &k, &v, &found, &err), &err);
        if (!found) return false;
        if (strchr(kinds, k.ptr[0]) == NULL) continue;
        buf_clear(key);
        buf_clear(value);
        assert_ok(buf_append_str(key, k, &err), &err);
        if (k.ptr[0] != 'n') {
            assert_ok(buf_append_str(value, v, &err), &err);
            return true;
        }
        assert_true(file_row_decode(v, &row));
        row.place = (PackPlace){.pack = row.place.pack != 0};
        assert_ok(buf_reserve(value, v.len + 64, &err), &err);
        Enc enc = enc_of(value->data, v.len + 64);
        file_row_encode(&row, &enc);
        assert_false(enc.failed);
        value->len = enc.len;
        return true;
    }
}

/* Files, ids, requests and their times, versions that end, references, counts, lsns. */
static void expect_same_rows(Fixture *f)
{
    const char *kinds = "nirxebua";
    Err err = {0};
    AUTO_BUF(key_a, ROW_KEY_MAX);
    AUTO_BUF(key_b, ROW_KEY_MAX);
    AUTO_BUF(value_a, ROW_VALUE_MAX);
    AUTO_BUF(value_b, ROW_VALUE_MAX);
    AUTO(IndexReader, index_reader_free) one = NULL;
    AUTO(IndexReader, index_reader_free) two = NULL;
    AUTO(IndexCursor, index_cursor_close) a = NULL;
    AUTO(IndexCursor, index_cursor_close) b = NULL;
    assert_ok(index_reader_open(f->source->kit.store->index, &one, &err), &err);
    assert_ok(index_reader_open(f->target->kit.store->index, &two, &err), &err);
    assert_ok(index_scan(one, STR("a"), &a, &err), &err);
    assert_ok(index_scan(two, STR("a"), &b, &err), &err);
    size_t count = 0;
    while (next(a, kinds, &key_a, &value_a)) {
        assert_true(next(b, kinds, &key_b, &value_b));
        if (!str_eq(buf_str(&key_a), buf_str(&key_b)))
            print_message("row %zu: %c %c\n", count, key_a.data[0], key_b.data[0]);
        assert_true(str_eq(buf_str(&key_a), buf_str(&key_b)));
        assert_true(str_eq(buf_str(&value_a), buf_str(&value_b)));
        count++;
    }
    assert_false(next(b, kinds, &key_b, &value_b));
    assert_true(count > FILES);
}

/* Every body, from the target's own packs and blobs. */
static void expect_bodies(Fixture *f)
{
    Err err = {0};
    AUTO(StoreReader, store_reader_free) reader = NULL;
    AUTO(StoreList, store_list_close) list = NULL;
    bool found = true;
    unsigned files = 0;
    assert_ok(store_reader_open(f->target->kit.store, &reader, &err), &err);
    StoreListOptions options = {.bucket = look_bucket(f->source->kit.buckets, STR("files"))};
    assert_ok(store_list_open(reader, &options, &list, &err), &err);
    while (found) {
        StoreFound file;
        bool is_prefix = false;
        AUTO_BUF(body, 4 * MIB);
        assert_ok(store_list_next(list, &file, &is_prefix, &found, &err), &err);
        if (!found) break;
        assert_ok(node_kit_read(&f->target->kit, reader, &file, &body, &err), &err);
        assert_int_equal(body.len, file.row.size);
        files++;
    }
    assert_in_range(files, FILES / 2, FILES + LARGE + 70);
}

static void test_into_an_empty_root(void **state)
{
    Fixture *f = *state;
    run(f);
    expect_same_rows(f);
    expect_bodies(f);
}

/* Each step has its syncs: of some hundred rows there is one. */
static void test_in_few_steps(void **state)
{
    Fixture *f = *state;
    f->target->kit.store->options.seed_rows = 0;
    assert_int_equal(run(f), 1);
    expect_same_rows(f);
}

/* Large bodies by several threads, more of them than may be under way. */
static void test_bodies_at_once(void **state)
{
    Fixture *f = *state;
    f->target->kit.store->options.seed_threads = 3;
    for (unsigned i = 0; i < 70; i++)
        put(f->source, 2000 + i, i, INLINE_MAX + 1 + i);
    node_fixture_apply(f->source);
    run(f);
    expect_same_rows(f);
    expect_bodies(f);
}

typedef struct {
    Extent extent; /* of the first large file */
    uint64_t files;
} FirstLarge;

static void first_large(Store *store, FirstLarge *out)
{
    Err err = {0};
    bool found = true;
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    *out = (FirstLarge){.files = 0};
    assert_ok(index_reader_open(store->index, &reader, &err), &err);
    assert_ok(index_scan(reader, STR("n"), &cursor, &err), &err);
    for (;;) {
        Str key;
        Str value;
        FileRow row;
        assert_ok(index_next(cursor, &key, &value, &found, &err), &err);
        if (!found || key.ptr[0] != 'n') return;
        assert_true(file_row_decode(value, &row));
        if (row.extent_count > 0 && out->extent.size == 0) out->extent = extent_at(row.extents, 0);
        out->files++;
    }
}

/* A body that can't be had ends the seed before a row names it. */
static void test_a_body_is_missing(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    bool done = false;
    FirstLarge large;
    Store *target = f->target->kit.store;
    target->options.seed_rows = 0;
    target->options.seed_threads = 2;
    first_large(f->source->kit.store, &large);
    assert_true(large.extent.size > 0 && large.files > 100);
    assert_ok(
        blob_remove(f->source->kit.store->blobs, large.extent.body, large.extent.number, &err),
        &err);
    AUTO(Seed, seed_free) seed = begin(f, 0);
    assert_code(seed_step(seed, &done, &err), ERR_NOT_FOUND, &err);
    assert_false(done);
    first_large(target, &large);
    assert_int_equal(large.files, 0);
}

/* Two versions may name one extent; an error is told once, and of all that were begun none is left
 * under way. */
static void test_copies_of_bodies(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    bool there = false;
    FirstLarge large;
    Blobs *to = f->target->kit.store->blobs;
    BlobInfo info = {.shard = 0x1000, .bucket = 5, .attrs = STR("")};
    AUTO(SeedBodies, seed_bodies_free) bodies = seed_bodies_new(f->source->kit.store->blobs, to, 2);
    first_large(f->source->kit.store, &large);
    Extent wrong = large.extent;
    wrong.size--;
    assert_ok(seed_bodies_start(bodies, &err), &err);
    assert_ok(seed_bodies_add(bodies, &wrong, &info, &err), &err);
    assert_code(seed_bodies_wait(bodies, &err), ERR_CORRUPT, &err);
    assert_ok(blob_exists(to, wrong.body, wrong.number, &there, &err), &err);
    assert_false(there);
    for (unsigned i = 0; i < 3; i++)
        assert_ok(seed_bodies_add(bodies, &large.extent, &info, &err), &err);
    assert_ok(seed_bodies_wait(bodies, &err), &err);
    assert_ok(blob_exists(to, large.extent.body, large.extent.number, &there, &err), &err);
    assert_true(there);
    assert_ok(seed_bodies_add(bodies, &large.extent, &info, &err), &err);
    assert_ok(seed_bodies_wait(bodies, &err), &err);
    seed_bodies_stop(bodies);
}

/* The target has other files, under the same names too, and others' large bodies. */
static void test_over_what_is_there(void **state)
{
    Fixture *f = *state;
    fill(f->target, 5000);
    run(f);
    expect_same_rows(f);
    expect_bodies(f);
}

/* Cut off in the middle, again by another, and once more when the source has gone on. */
static void test_in_pieces(void **state)
{
    Fixture *f = *state;
    for (unsigned i = 0; i < 2; i++) {
        Err err = {0};
        bool done = false;
        AUTO(Seed, seed_free) seed = begin(f, 0);
        assert_ok(seed_step(seed, &done, &err), &err);
    }
    run(f);
    expect_same_rows(f);
    for (unsigned i = 0; i < FILES; i += 3)
        put(f->source, i, 9000 + i, 77);
    drop(f->source, FILES);
    node_fixture_apply(f->source);
    run(f);
    expect_same_rows(f);
    expect_bodies(f);
}

/* The source goes on while it is read: what is put in is of one moment. */
static void test_source_goes_on(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    bool done = false;
    AUTO(Seed, seed_free) seed = begin(f, 0);
    for (unsigned i = 0; !done; i++) {
        assert_ok(seed_step(seed, &done, &err), &err);
        put(f->source, FILES - 1 - i, 7000, 40);
        drop(f->source, FILES + 1);
        put(f->source, FILES + 1, 7000, INLINE_MAX + 5);
        node_fixture_apply(f->source);
    }
    for (size_t i = 0; i < seed_count(seed); i++)
        assert_int_equal(seed_shard(seed, i)->lsn, seed_shard(seed, i)->base);
    expect_bodies(f);
}

/* The source has not applied as much as the log that the target has now needs. */
static void test_source_is_behind(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    bool done = false;
    AUTO(Seed, seed_free) seed = begin(f, 1);
    assert_code(seed_step(seed, &done, &err), ERR_BUSY, &err);
    assert_false(done);
}

static size_t apply(Store *store, size_t max)
{
    Err err = {0};
    size_t applied = 0;
    assert_ok(store_apply(store, max, &applied, &err), &err);
    return applied;
}

/* What is committed while a snapshot is awaited is put aside, not walked over by each batch; then
 * it is applied in its order, and before what came later. */
static void test_what_waits_is_put_aside(void **state)
{
    Fixture *f = *state;
    Store *store = f->source->kit.store;
    size_t before = store_backlog(store);
    for (size_t i = 1; i < ARRAY_LEN(shards); i++)
        store_reset(store, shards[i], store->shards[shards[i]]->commit_lsn);
    for (unsigned i = 0; i < 40; i++)
        put(f->source, 1000 + i % 10, i, 40);
    assert_int_equal(store_to_apply(store), before + 40); /* nobody looked yet */
    assert_int_equal(apply(store, 10), 0);
    assert_int_equal(store_to_apply(store), before);
    assert_int_equal(store_backlog(store), before + 40);
    for (size_t i = 1; i < ARRAY_LEN(shards); i++)
        store->shards[shards[i]]->incomplete = false;
    for (unsigned i = 0; i < 10; i++)
        put(f->source, 1000 + i, 100 + i, 40);
    store_drop_needless(store);
    assert_int_equal(store_to_apply(store), before + 50);
    size_t all = 0;
    for (size_t applied = 1; applied > 0; all += applied)
        applied = apply(store, 7); /* which asserts the order of each shard */
    assert_int_equal(all, 50);
    assert_int_equal(store_backlog(store), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_into_an_empty_root, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_few_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_body_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copies_of_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_over_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_is_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_waits_is_put_aside, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
