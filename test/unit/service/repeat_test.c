/* Requests that are sent again: answered as the first time, whatever happened since. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "node_fixture.h"
#include "store/store_priv.h"

static const NodeKitOptions small = {.seed = 7, .shards = 4};

static int setup(void **state)
{
    *state = node_fixture_new(&small);
    return 0;
}

/* A request: its id and hash follow from number and variant. */
static void request(Mutation *m, MutationType type, const char *key, unsigned number,
                    unsigned variant)
{
    mutation_init(m, type);
    m->bucket = STR("files");
    m->key = str_from_cstr(key);
    m->has_request = true;
    memcpy(m->request.bytes, &number, sizeof number);
    m->request_hash = sha256_of(&variant, sizeof variant);
    if (type == MUTATION_DELETE) return;
    m->inline_body = STR("body");
    m->size = 4;
    m->digest = sha256_of("body", 4);
}

/* Sends it; code as the answer says, and a version if there is one. */
static ErrCode send(NodeFixture *f, MutationType type, const char *key, unsigned number,
                    unsigned variant, bool *repeated, VersionId *version)
{
    Mutation m;
    request(&m, type, key, number, variant);
    ErrCode code = node_kit_do(&f->kit, &m);
    *repeated = m.repeated;
    if (code == OK) {
        assert_int_equal(m.durability.synced, 1);
        *version = m.row.version;
    }
    if (code == OK && type == MUTATION_PUT) assert_true(str_eq(m.row_key, m.key));
    mutation_deinit(&m);
    return code;
}

static void expect_repeat(NodeFixture *f, MutationType type, const char *key, unsigned number,
                          VersionId version)
{
    VersionId seen = {0};
    bool repeated = false;
    assert_code(send(f, type, key, number, 1, &repeated, &seen), OK, NULL);
    assert_true(repeated);
    assert_int_equal(version_id_cmp(seen, version), 0);
    assert_code(send(f, type, key, number, 2, &repeated, &seen), ERR_IDEMPOTENCY, NULL);
}

/* In the table, in the index, after restarts, with the file overwritten and deleted since. */
static void test_answered_as_before(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    VersionId version = {0};
    bool repeated = true;
    assert_code(send(f, MUTATION_PUT, "a", 1, 1, &repeated, &version), OK, NULL);
    assert_false(repeated);
    expect_repeat(f, MUTATION_PUT, "a", 1, version);
    node_fixture_apply(f);
    expect_repeat(f, MUTATION_PUT, "a", 1, version);
    node_fixture_restart(f, false);
    expect_repeat(f, MUTATION_PUT, "a", 1, version);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("other"), &err), &err);
    expect_repeat(f, MUTATION_PUT, "a", 1, version);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a"), &err), &err);
    node_fixture_restart(f, true);
    expect_repeat(f, MUTATION_PUT, "a", 1, version);
    AUTO_BUF(body, 100);
    assert_code(node_kit_get(&f->kit, STR("files"), STR("a"), &body, &err), ERR_NOT_FOUND, NULL);
}

/* The same id for another name, which lives in another shard, is no other request. */
static void test_other_target(void **state)
{
    NodeFixture *f = *state;
    VersionId version = {0};
    bool repeated = false;
    assert_code(send(f, MUTATION_PUT, "a", 1, 1, &repeated, &version), OK, NULL);
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        assert_true(snprintf(key, sizeof key, "other-%u", i) > 0);
        if (i == 10) node_fixture_apply(f);
        assert_code(send(f, MUTATION_PUT, key, 1, 2, &repeated, &version), ERR_IDEMPOTENCY, NULL);
    }
}

static void test_delete(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    VersionId version = {0};
    bool repeated = false;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
    assert_code(send(f, MUTATION_DELETE, "a", 1, 1, &repeated, &version), OK, NULL);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("new"), &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_code(send(f, MUTATION_DELETE, "a", 1, 1, &repeated, &version), OK, NULL);
        assert_true(repeated);
        AUTO_BUF(body, 100);
        assert_ok(node_kit_get(&f->kit, STR("files"), STR("a"), &body, &err), &err);
        if (i == 0) node_fixture_apply(f);
        if (i == 1) node_fixture_restart(f, false);
    }
}

/* A CREATE without a key is given one that its repeat is given again. */
static void test_made_name(void **state)
{
    NodeFixture *f = *state;
    Mutation first;
    Mutation again;
    request(&first, MUTATION_CREATE, "", 9, 1);
    assert_code(node_kit_do(&f->kit, &first), OK, &first.err);
    request(&again, MUTATION_CREATE, "", 9, 1);
    assert_code(node_kit_do(&f->kit, &again), OK, &again.err);
    assert_true(again.repeated && again.created);
    assert_int_equal(first.row_key.len, ID128_TEXT_LEN);
    assert_true(str_eq(first.row_key, again.row_key));
    assert_true(id128_eq(first.row.file, again.row.file));
    mutation_deinit(&first);
    mutation_deinit(&again);
}

/* A refusal changed nothing, so it is no result: the next one is decided anew. */
static void test_refusals_are_not_kept(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    VersionId version = {0};
    bool repeated = false;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
    assert_code(send(f, MUTATION_CREATE, "a", 1, 1, &repeated, &version), ERR_EXISTS, NULL);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a"), &err), &err);
    assert_code(send(f, MUTATION_CREATE, "a", 1, 1, &repeated, &version), OK, NULL);
    assert_false(repeated);
}

/* Many at once, before the first is in the log: one change, and no answer before it is kept. */
static void test_under_way(void **state)
{
    NodeFixture *f = *state;
    Mutation m[8];
    unsigned done = 0;
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        request(&m[i], MUTATION_PUT, "a", 1, i == 7 ? 2 : 1);
        node_fixture_submit(f, &m[i], &done);
    }
    node_kit_append(&f->kit, SIZE_MAX);
    assert_int_equal(done, 0);
    node_kit_settle(&f->kit);
    assert_int_equal(done, ARRAY_LEN(m));
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        if (i == 7)
            assert_int_equal(m[i].code, ERR_IDEMPOTENCY);
        else
            assert_int_equal(m[i].code, OK);
        assert_int_equal(m[i].repeated, i > 0 && i < 7);
        if (i < 7) assert_int_equal(version_id_cmp(m[i].row.version, m[0].row.version), 0);
        mutation_deinit(&m[i]);
    }
}

/* On a full disk what was made before it was full is answered, and what is new is refused; the
 * door's own refusal is told to all but repeats. */
static void test_refused_at_the_door(void **state)
{
    NodeFixture *f = *state;
    VersionId version = {0};
    bool repeated = false;
    assert_code(send(f, MUTATION_PUT, "a", 1, 1, &repeated, &version), OK, NULL);
    engine_set_room(f->kit.engine, PLACE_CLASS_STANDARD, 0);
    expect_repeat(f, MUTATION_PUT, "a", 1, version);
    assert_code(send(f, MUTATION_PUT, "a", 2, 1, &repeated, &version), ERR_NO_SPACE, NULL);
    /* The body and all that is still in the log, once there and once where it is put. */
    uint64_t needed = 2 * (store_backlog_bytes(f->kit.store) + strlen("body"));
    engine_set_room(f->kit.engine, PLACE_CLASS_STANDARD, needed - 1);
    assert_code(send(f, MUTATION_PUT, "a", 3, 1, &repeated, &version), ERR_NO_SPACE, NULL);
    engine_set_room(f->kit.engine, PLACE_CLASS_STANDARD, needed);
    assert_code(send(f, MUTATION_PUT, "b", 3, 1, &repeated, &version), OK, NULL);
    engine_set_room(f->kit.engine, PLACE_CLASS_STANDARD, UINT64_MAX);
    for (unsigned number = 1; number <= 2; number++) {
        Mutation m;
        request(&m, MUTATION_PUT, "a", number, 1);
        m.inline_body = STR("");
        m.refusal = err_set(&m.err, ERR_QUOTA_EXCEEDED, "words of the door");
        assert_code(node_kit_do(&f->kit, &m), number == 1 ? OK : ERR_QUOTA_EXCEEDED, &m.err);
        assert_int_equal(m.repeated, number == 1);
        if (number == 2) assert_string_equal(err_text(&m.err), "words of the door");
        mutation_deinit(&m);
    }
    assert_code(send(f, MUTATION_PUT, "a", 2, 1, &repeated, &version), OK, NULL);
    assert_false(repeated);
}

/* The log fails under the first: what became of it is not known, and its repeats know no more. What
 * was refused beside it changed nothing whatever became of it. */
static void test_log_fails_under_way(void **state)
{
    NodeFixture *f = *state;
    Mutation m[4];
    unsigned done = 0;
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        request(&m[i], MUTATION_PUT, "a", 1, i == 3 ? 2 : 1);
        node_fixture_submit(f, &m[i], &done);
    }
    node_kit_append(&f->kit, SIZE_MAX);
    assert_int_equal(done, 0);
    fault_arm("wal.batch", EIO, 1, true);
    node_kit_settle(&f->kit);
    fault_reset();
    assert_int_equal(done, ARRAY_LEN(m));
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        assert_code(m[i].code, i == 3 ? ERR_ROOT_FAILED : ERR_OUTCOME_UNKNOWN, &m[i].err);
        assert_int_equal(m[i].repeated, i == 1 || i == 2);
        mutation_deinit(&m[i]);
    }
}

static size_t count_rows(NodeFixture *f, const char *kind)
{
    Err err = {0};
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    assert_ok(index_reader_open(f->kit.store->index, &reader, &err), &err);
    assert_ok(index_scan(reader, str_from_cstr(kind), &cursor, &err), &err);
    for (size_t count = 0;; count++) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        assert_ok(index_next(cursor, &key, &value, &found, &err), &err);
        if (!found || key.ptr[0] != kind[0]) return count;
    }
}

/* After a day the request is forgotten: at once by who asks, bit by bit by the index. */
static void test_end(void **state)
{
    NodeFixture *f = *state;
    VersionId first = {0};
    VersionId version = {0};
    bool repeated = false;
    Err err = {0};
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        assert_true(snprintf(key, sizeof key, "k%u", i) > 0);
        assert_code(send(f, MUTATION_PUT, key, i, 1, &repeated, &first), OK, NULL);
    }
    node_fixture_apply(f);
    f->kit.clock.wall_ms += STORE_REQUEST_KEEP_MS - 1;
    expect_repeat(f, MUTATION_PUT, "k99", 99, first);
    f->kit.clock.wall_ms += 2;
    assert_code(send(f, MUTATION_PUT, "k99", 99, 1, &repeated, &version), OK, NULL);
    assert_false(repeated);
    expect_repeat(f, MUTATION_PUT, "k99", 99, version);
    assert_int_equal(count_rows(f, "r"), 100);
    node_fixture_apply(f);
    size_t left = count_rows(f, "r");
    assert_in_range(left, 70, 95); /* a bounded part */
    for (unsigned i = 0; i < 10; i++) {
        assert_ok(node_kit_put(&f->kit, STR("files"), STR("x"), STR("x"), &err), &err);
        node_fixture_apply(f);
    }
    assert_int_equal(count_rows(f, "r"), 1);
    assert_int_equal(count_rows(f, "x"), 1);
    /* An index that is made again knows no more. */
    node_fixture_stop(f);
    assert_ok(index_remove(f->disk, &err), &err);
    node_fixture_open(f);
    assert_int_equal(count_rows(f, "r"), 1);
    assert_code(send(f, MUTATION_PUT, "k5", 5, 2, &repeated, &version), OK, NULL);
    assert_false(repeated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answered_as_before, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_other_target, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_delete, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_made_name, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_refusals_are_not_kept, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_under_way, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_log_fails_under_way, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_refused_at_the_door, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_end, setup, node_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
