/* What a checkpoint leaves behind: a log that is cut, and the disk's space back. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "node_fixture.h"
#include "store/store_priv.h"

#define MANY 2500 /* more garbage than one checkpoint unlinks */

static const NodeKitOptions small = {.seed = 3, .shards = 2};

static int setup(void **state)
{
    *state = node_fixture_new(&small);
    return 0;
}

static void apply_all(NodeFixture *f)
{
    Err err = {0};
    size_t applied = 0;
    do {
        assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    } while (applied > 0);
}

static void count_row(NodeFixture *f, const char *prefix, size_t *count)
{
    Err err = {0};
    IndexReader *reader = NULL;
    IndexCursor *cursor = NULL;
    Str key;
    Str value;
    bool found = true;
    *count = 0;
    assert_ok(index_reader_open(f->kit.store->index, &reader, &err), &err);
    assert_ok(index_scan(reader, str_from_cstr(prefix), &cursor, &err), &err);
    while (found) {
        assert_ok(index_next(cursor, &key, &value, &found, &err), &err);
        if (!found || !str_starts_with(key, str_from_cstr(prefix))) break;
        (*count)++;
    }
    index_cursor_close(cursor);
    index_reader_free(reader);
}

/* As if so many large bodies had been deleted in one batch. */
static void put_garbage(NodeFixture *f, unsigned count)
{
    Err err = {0};
    Index *index = f->kit.store->index;
    assert_ok(index_begin(index, &err), &err);
    for (unsigned i = 0; i < count; i++) {
        uint8_t key[ROW_KEY_MAX];
        size_t len = row_key_garbage(key, id128_random(&f->kit.rng), 0);
        assert_ok(index_put(index, str_of(key, len), (Str){NULL, 0}, &err), &err);
    }
    assert_ok(index_commit(index, &err), &err);
}

/* More garbage than one call unlinks is not left until somebody writes again. */
static void test_garbage_in_parts(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    size_t left = 0;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
    apply_all(f);
    put_garbage(f, MANY);
    assert_ok(store_checkpoint(f->kit.store, &err), &err);
    count_row(f, "g", &left);
    assert_true(left > 0 && left < MANY);
    assert_true(store_wants_checkpoint(f->kit.store));
    for (int i = 0; i < 10 && store_wants_checkpoint(f->kit.store); i++)
        assert_ok(store_checkpoint(f->kit.store, &err), &err);
    count_row(f, "g", &left);
    assert_int_equal(left, 0);
    assert_false(store_wants_checkpoint(f->kit.store));
}

/* Few changes, but without a second's pause: a checkpoint comes all the same. */
static void test_wanted_after_a_while(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    for (int i = 0; i < 12; i++) {
        assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
        apply_all(f);
        assert_int_equal(store_wants_checkpoint(f->kit.store), i >= 10);
        f->kit.clock.boot_ns += 1000ULL * 1000 * 1000;
    }
    while (store_wants_checkpoint(f->kit.store))
        assert_ok(store_checkpoint(f->kit.store, &err), &err);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
    apply_all(f);
    assert_false(store_wants_checkpoint(f->kit.store));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_garbage_in_parts, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_wanted_after_a_while, setup, node_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
