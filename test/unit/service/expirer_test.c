/* Versions that end by themselves: gone for readers at their time, deleted later and only by a
 * clock that goes evenly, and never a newer one instead. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "box_kit.h"
#include "service/expirer.h"

#define STEADY_MS 60000
#define LIFE_MS 5000

static const NodeKitOptions options = {.seed = 7, .shards = 2};

static int setup(void **state)
{
    NodeFixture *f = node_fixture_new(&options);
    assert_int_equal(box_set(f, VERSIONING_OFF), OK);
    *state = f;
    return 0;
}

typedef struct {
    ErrCode code;
    bool created;
    VersionId version;
    FileId file;
    uint64_t expires_ms;
} Written;

/* after_ms: of its life; 0: it stays. */
static Written put(NodeFixture *f, const char *key, const char *body, uint64_t after_ms)
{
    Mutation m;
    box_put_init(&m, key, body);
    m.expires_ms = after_ms;
    m.expires_after = true;
    Written written = {.code = node_kit_do(&f->kit, &m)};
    written.created = m.created;
    written.version = m.row.version;
    written.file = m.row.file;
    if (written.code == OK) written.expires_ms = file_row_expires(&m.row);
    mutation_deinit(&m);
    return written;
}

static void pass_time(NodeFixture *f, uint64_t ms)
{
    f->kit.clock.wall_ms += ms;
    f->kit.clock.boot_ns += ms * 1000000;
}

static bool has_version(NodeFixture *f, const char *key, VersionId version)
{
    StoreFound found;
    Err err = {0};
    bool there = false;
    assert_ok(store_find(f->kit.reader, box_uid(f), str_from_cstr(key), &version, STORE_COMMITTED,
                         &found, &there, &err),
              &err);
    return there;
}

static size_t listed(NodeFixture *f, bool versions, bool over)
{
    StoreListOptions wanted = {.bucket = box_uid(f), .versions = versions, .over = over};
    AUTO(StoreList, store_list_close) list = NULL;
    Err err = {0};
    StoreFound file;
    bool is_prefix = false;
    bool found = true;
    size_t count = 0;
    assert_ok(store_list_open(f->kit.reader, &wanted, &list, &err), &err);
    for (; found; count += found)
        assert_ok(store_list_next(list, &file, &is_prefix, &found, &err), &err);
    return count;
}

static uint64_t files(NodeFixture *f)
{
    BucketStatRow usage;
    buckets_usage(f->kit.buckets, box_uid(f), &usage);
    return usage.files;
}

static ErrCode submit(void *ctx, Mutation *m)
{
    engine_submit(((NodeFixture *)ctx)->kit.engine, m);
    return OK;
}

static Expirer *new_expirer(NodeFixture *f)
{
    ExpirerOptions wanted = {.store = f->kit.store,
                             .clock = &f->kit.clock.clock,
                             .steady_ms = STEADY_MS,
                             .submit = submit,
                             .ctx = f};
    return expirer_new(&wanted);
}

/* Until nothing is left; how many it deleted in all. */
static uint64_t run(NodeFixture *f, Expirer *expirer)
{
    Err err = {0};
    bool more = true;
    node_fixture_apply(f);
    while (more) {
        assert_ok(expirer_work(expirer, &more, &err), &err);
        node_kit_settle(&f->kit);
        node_fixture_apply(f);
    }
    return expirer_deleted(expirer);
}

/* The clock stays. */
static void reopen(NodeFixture *f, bool lose_index)
{
    uint64_t wall_ms = f->kit.clock.wall_ms;
    box_reopen(f, lose_index);
    f->kit.clock.wall_ms = wall_ms;
}

/* From its time on a file is absent for everybody, though it is not deleted yet. */
static void test_gone_in_time(void **state)
{
    NodeFixture *f = *state;
    Written first = put(f, "a", "1", LIFE_MS);
    assert_int_equal(first.expires_ms, f->kit.clock.wall_ms + LIFE_MS);
    put(f, "b", "1", 0);
    for (unsigned round = 0; round < 3; round++) { /* in the log, in the index, made again */
        if (round == 1) node_fixture_apply(f);
        if (round == 2) reopen(f, true);
        f->kit.clock.wall_ms = first.expires_ms - 1;
        box_expect(f, "a", "1");
        assert_true(has_version(f, "a", first.version));
        assert_int_equal(listed(f, false, false), 2);
        f->kit.clock.wall_ms = first.expires_ms;
        box_expect(f, "a", NULL);
        assert_false(has_version(f, "a", first.version));
        assert_int_equal(listed(f, false, false), 1);
        assert_int_equal(listed(f, true, false), 1);
        assert_int_equal(listed(f, true, true), 2);
        assert_int_equal(files(f), 2);
    }
    Written second = put(f, "a", "2", 0);
    assert_true(second.created && !id128_eq(second.file, first.file));
    box_expect(f, "a", "2");
    assert_int_equal(files(f), 2);
    reopen(f, true);
    box_expect(f, "a", "2");
    assert_int_equal(listed(f, true, true), 2);
}

/* A time that is over is refused. */
static void test_refused(void **state)
{
    NodeFixture *f = *state;
    Mutation m;
    mutation_init(&m, MUTATION_PUT);
    m.bucket = BOX;
    m.key = STR("a");
    m.digest = sha256_of("", 0);
    m.expires_ms = f->kit.clock.wall_ms;
    assert_int_equal(node_kit_do(&f->kit, &m), ERR_INVALID);
    m.expires_ms++;
    assert_int_equal(node_kit_do(&f->kit, &m), OK);
    mutation_deinit(&m);
}

/* Deleted behind their time, many of them, and found without a look at any other. */
static void test_deleted(void **state)
{
    NodeFixture *f = *state;
    AUTO(Expirer, expirer_free) expirer = new_expirer(f);
    char key[16];
    for (unsigned i = 0; i < 3 * EXPIRER_BATCH; i++) {
        snprintf(key, sizeof key, "k%u", i);
        put(f, key, "x", i % 3 == 0 ? 0 : LIFE_MS);
    }
    assert_int_equal(run(f, expirer), 0);
    pass_time(f, LIFE_MS);
    assert_int_equal(run(f, expirer), 0); /* the clock is not trusted yet */
    assert_int_equal(files(f), 3 * EXPIRER_BATCH);
    pass_time(f, STEADY_MS);
    assert_int_equal(run(f, expirer), 2 * EXPIRER_BATCH);
    assert_int_equal(files(f), EXPIRER_BATCH);
    assert_int_equal(listed(f, true, true), EXPIRER_BATCH);
    expirer_free(TAKE(expirer));
    reopen(f, true);
    assert_int_equal(listed(f, true, true), EXPIRER_BATCH);
}

/* A clock that jumps ahead hides a file, and loses it only if it stays there. */
static void test_clock_jumps(void **state)
{
    NodeFixture *f = *state;
    AUTO(Expirer, expirer_free) expirer = new_expirer(f);
    put(f, "a", "1", 100 * LIFE_MS);
    assert_int_equal(run(f, expirer), 0);
    pass_time(f, STEADY_MS);
    assert_int_equal(run(f, expirer), 0);
    f->kit.clock.wall_ms += 1000 * LIFE_MS;
    box_expect(f, "a", NULL);
    for (unsigned i = 0; i < 3; i++) {
        pass_time(f, STEADY_MS / 4);
        assert_int_equal(run(f, expirer), 0);
    }
    f->kit.clock.wall_ms -= 1000 * LIFE_MS;
    box_expect(f, "a", "1");
    pass_time(f, STEADY_MS - 1);
    assert_int_equal(run(f, expirer), 0);
    box_expect(f, "a", "1");
    f->kit.clock.wall_ms += 1000 * LIFE_MS;
    assert_int_equal(run(f, expirer), 0);
    pass_time(f, STEADY_MS);
    assert_int_equal(run(f, expirer), 1);
}

/* With versions the file is deleted and older ones stay; a marker says so. */
static void test_versions(void **state)
{
    NodeFixture *f = *state;
    AUTO(Expirer, expirer_free) expirer = new_expirer(f);
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    Written first = put(f, "a", "1", 0);
    put(f, "a", "2", LIFE_MS);
    put(f, "b", "1", LIFE_MS);
    Written kept = put(f, "c", "1", 0);
    assert_int_equal(box_set(f, VERSIONING_SUSPENDED), OK);
    put(f, "c", "2", LIFE_MS);
    assert_int_equal(run(f, expirer), 0);
    pass_time(f, STEADY_MS);
    box_expect(f, "a", NULL);
    assert_true(has_version(f, "a", first.version));
    run(f, expirer);
    run(f, expirer); /* the marker came first */
    box_expect(f, "a", NULL);
    box_expect(f, "c", NULL);
    assert_true(has_version(f, "a", first.version) && has_version(f, "c", kept.version));
    assert_int_equal(listed(f, true, true), 4); /* two versions, two markers */
    assert_int_equal(files(f), 2);
    Written again = put(f, "a", "3", 0);
    assert_true(again.created && id128_eq(again.file, first.file));
    expirer_free(TAKE(expirer));
    reopen(f, true);
    assert_int_equal(listed(f, true, true), 5);
}

/* What came in its place meanwhile is not met. */
static ErrCode expire_replaced(NodeFixture *f)
{
    Written first = put(f, "a", "1", LIFE_MS);
    pass_time(f, LIFE_MS);
    put(f, "a", "2", 0);
    Mutation m;
    mutation_init(&m, MUTATION_EXPIRE);
    m.bucket_uid = box_uid(f);
    m.key = STR("a");
    m.version = first.version;
    ErrCode code = node_kit_do(&f->kit, &m);
    mutation_deinit(&m);
    return code;
}

static void test_newer_stays(void **state)
{
    NodeFixture *f = *state;
    assert_int_equal(expire_replaced(f), ERR_NOT_FOUND);
    box_expect(f, "a", "2");
    Written living = put(f, "b", "1", LIFE_MS);
    Mutation m;
    mutation_init(&m, MUTATION_EXPIRE);
    m.bucket_uid = box_uid(f);
    m.key = STR("b");
    m.version = living.version;
    assert_int_equal(node_kit_do(&f->kit, &m), ERR_PRECONDITION);
    mutation_deinit(&m);
    fault_plant("expiry-hits-newer", true);
    assert_int_equal(expire_replaced(f), OK);
    fault_plant("expiry-hits-newer", false);
    box_expect(f, "a", NULL); /* such a bug would be seen here */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gone_in_time, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_deleted, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_clock_jumps, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_newer_stays, setup, node_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
