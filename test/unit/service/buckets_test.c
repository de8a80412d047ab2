/* What buckets hold and may hold: counted exactly, decided for all that is under way. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "box_kit.h"

static void expect_usage(Buckets *buckets, BucketUid uid, uint64_t files, uint64_t bytes)
{
    BucketStatRow usage;
    buckets_usage(buckets, uid, &usage);
    assert_int_equal(usage.files, files);
    assert_int_equal(usage.bytes, bytes);
}

static void test_fit(void **state)
{
    UNUSED(state);
    AUTO(Buckets, buckets_free) buckets = buckets_new();
    BucketRecord record = {.uid = 5, .placement_class = 1, .quota_files = 3, .quota_bytes = 100};
    buckets_put(buckets, STR("box"), &record);
    assert_int_equal(buckets_fit(buckets, 5, 1, 100), BUCKET_FITS);
    assert_int_equal(buckets_fit(buckets, 5, 1, 101), BUCKET_FULL);
    assert_int_equal(buckets_fit(buckets, 5, 4, 0), BUCKET_FULL);
    buckets_appended(buckets, 5, 2, 60);
    assert_int_equal(buckets_fit(buckets, 5, 1, 40), BUCKET_FITS);
    assert_int_equal(buckets_fit(buckets, 5, 1, 41), BUCKET_MAY_FILL);
    assert_int_equal(buckets_fit(buckets, 5, 2, 0), BUCKET_MAY_FILL);
    assert_int_equal(buckets_fit(buckets, 5, 4, 41), BUCKET_FULL);
    expect_usage(buckets, 5, 0, 0);
    buckets_committed(buckets, 5, 2, 60);
    expect_usage(buckets, 5, 2, 60);
    assert_int_equal(buckets_fit(buckets, 5, 1, 41), BUCKET_FULL);
    /* What is deleted makes room when that is committed; until then nobody knows. */
    buckets_appended(buckets, 5, -1, -30);
    assert_int_equal(buckets_fit(buckets, 5, 0, 40), BUCKET_FITS);
    assert_int_equal(buckets_fit(buckets, 5, 0, 41), BUCKET_MAY_FILL);
    assert_int_equal(buckets_fit(buckets, 5, 0, 70), BUCKET_MAY_FILL);
    assert_int_equal(buckets_fit(buckets, 5, 0, 71), BUCKET_FULL);
    buckets_committed(buckets, 5, -1, -30);
    assert_int_equal(buckets_fit(buckets, 5, 0, 41), BUCKET_FITS);
    /* Less is always allowed, and a smaller quota takes nothing away. */
    record.quota_bytes = 10;
    buckets_put(buckets, STR("box"), &record);
    expect_usage(buckets, 5, 1, 30);
    assert_int_equal(buckets_fit(buckets, 5, 1, -1), BUCKET_FITS);
    assert_int_equal(buckets_fit(buckets, 5, 0, 1), BUCKET_FULL);
    /* Another bucket of that name has another uid, and holds nothing. */
    record.uid = 6;
    buckets_put(buckets, STR("box"), &record);
    expect_usage(buckets, 6, 0, 0);
    expect_usage(buckets, 5, 0, 0);
    assert_int_equal(buckets_fit(buckets, 5, 100, 100), BUCKET_FITS); /* nobody's */
}

/* --- the engine --- */

static const NodeKitOptions small = {.seed = 7, .shards = 4};

static int setup(void **state)
{
    *state = node_fixture_new(&small);
    return 0;
}

static void set_quotas(NodeFixture *f, uint64_t files, uint64_t bytes, bool created)
{
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = BOX;
    m.settings = (BucketSettings){.has_quota_files = true,
                                  .has_quota_bytes = true,
                                  .quota_files = files,
                                  .quota_bytes = bytes};
    assert_ok(node_kit_do(&f->kit, &m), &m.err);
    assert_int_equal(m.created, created);
    assert_int_equal(m.bucket_record.quota_files, files);
    mutation_deinit(&m);
}

static ErrCode put(NodeFixture *f, unsigned i, size_t len)
{
    static const char bytes[1000];
    char key[16];
    Err err = {0};
    assert_true(snprintf(key, sizeof key, "k%u", i) > 0);
    return node_kit_put(&f->kit, BOX, str_from_cstr(key), str_of(bytes, len), &err);
}

static void apply(NodeFixture *f, size_t max)
{
    Err err = {0};
    size_t applied = 0;
    assert_ok(store_apply(f->kit.store, max, &applied, &err), &err);
    assert_ok(store_checkpoint(f->kit.store, &err), &err);
}

/* Counted again at each start: by the index, by the log beyond it, and by both. */
static void test_counted_at_start(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    set_quotas(f, 0, 0, true);
    for (unsigned round = 0; round < 6; round++) {
        uint64_t files = 0;
        uint64_t bytes = 0;
        for (unsigned i = 0; i < 20; i++) {
            assert_ok(put(f, i, 10 * round + i), &err);
            if (i == 10 && round % 3 == 1) apply(f, 15);
        }
        for (unsigned i = 0; i < 20; i++) {
            char key[16];
            assert_true(snprintf(key, sizeof key, "k%u", i) > 0);
            if ((i + round) % 4 == 0)
                assert_ok(node_kit_delete(&f->kit, BOX, str_from_cstr(key), &err), &err);
            if ((i + round) % 8 == 0) assert_ok(put(f, i, 3), &err);
            if ((i + round) % 4 == 0 && (i + round) % 8 != 0) continue;
            files++;
            bytes += (i + round) % 8 == 0 ? 3 : 10 * round + i;
        }
        if (round % 3 == 2) apply(f, 1000);
        expect_usage(f->kit.buckets, box_uid(f), files, bytes);
        node_fixture_restart(f, false);
        expect_usage(f->kit.buckets, box_uid(f), files, bytes);
    }
}

/* Deleted and put again in one batch: as many files as before, so it fits. */
static void test_replaced_under_way(void **state)
{
    NodeFixture *f = *state;
    Mutation m[2];
    unsigned done[2] = {0, 0};
    set_quotas(f, 1, 10, true);
    assert_code(put(f, 1, 10), OK, NULL);
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        mutation_init(&m[i], i == 0 ? MUTATION_DELETE : MUTATION_PUT);
        m[i].bucket = BOX;
        m[i].key = STR("k1");
        if (i == 1) m[i].inline_body = STR("0123456789");
        m[i].size = m[i].inline_body.len;
        m[i].digest = sha256_of(m[i].inline_body.ptr, m[i].size);
        node_fixture_submit(f, &m[i], &done[i]);
    }
    for (int i = 0; i < 3; i++)
        node_kit_settle(&f->kit);
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        assert_int_equal(done[i], 1);
        assert_ok(m[i].code, &m[i].err);
        mutation_deinit(&m[i]);
    }
    expect_usage(f->kit.buckets, box_uid(f), 1, 10);
}

/* Racers in one batch: as many as fit are kept, and a refusal waits for what it rests on. */
static void test_racers(void **state)
{
    NodeFixture *f = *state;
    Mutation m[9];
    char keys[9][8];
    unsigned done = 0;
    set_quotas(f, 3, 0, true);
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        assert_true(snprintf(keys[i], sizeof keys[i], "r%zu", i) > 0);
        mutation_init(&m[i], MUTATION_PUT);
        m[i].bucket = BOX;
        m[i].key = str_from_cstr(keys[i]);
        node_fixture_submit(f, &m[i], &done);
    }
    assert_int_equal(done, 0);
    node_kit_settle(&f->kit);
    assert_int_equal(done, ARRAY_LEN(m));
    unsigned kept = 0;
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        if (m[i].code == OK)
            kept++;
        else
            assert_int_equal(m[i].code, ERR_QUOTA_EXCEEDED);
        mutation_deinit(&m[i]);
    }
    assert_int_equal(kept, 3);
    expect_usage(f->kit.buckets, box_uid(f), 3, 0);
}

/* A lower quota takes nothing away; settings survive restarts; those not named stay. */
static void test_settings(void **state)
{
    NodeFixture *f = *state;
    set_quotas(f, 2, 50, true);
    assert_code(put(f, 1, 30), OK, NULL);
    assert_code(put(f, 2, 21), ERR_QUOTA_EXCEEDED, NULL);
    set_quotas(f, 2, 20, false);
    assert_code(put(f, 1, 31), ERR_QUOTA_EXCEEDED, NULL);
    assert_code(put(f, 1, 29), OK, NULL);
    node_fixture_restart(f, false);
    assert_code(put(f, 1, 30), ERR_QUOTA_EXCEEDED, NULL);
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = BOX;
    assert_code(node_kit_do(&f->kit, &m), ERR_BUCKET_EXISTS, NULL);
    m.settings.has_quota_bytes = true; /* none */
    assert_ok(node_kit_do(&f->kit, &m), &m.err);
    assert_int_equal(m.bucket_record.quota_files, 2);
    mutation_deinit(&m);
    assert_code(put(f, 2, 999), OK, NULL);
    assert_code(put(f, 3, 0), ERR_QUOTA_EXCEEDED, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit),
        cmocka_unit_test_setup_teardown(test_counted_at_start, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_replaced_under_way, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_racers, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, node_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
