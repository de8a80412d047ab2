/* Versions: what a bucket keeps when they are on, suspended, or were off, what a DELETE of one
 * leaves, and that log, index, counts and an index made again from packs say the same. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "box_kit.h"
#include "pack_truth.h"
#include "store/compact_priv.h"

static const NodeKitOptions options = {.seed = 7, .shards = 2, .pack_size = 64 * KIB};

static int setup(void **state)
{
    NodeFixture *f = node_fixture_new(&options);
    assert_int_equal(box_set(f, VERSIONING_OFF), OK);
    *state = f;
    return 0;
}

static VersionId put(NodeFixture *f, const char *key, const char *body)
{
    Mutation m;
    box_put_init(&m, key, body);
    assert_int_equal(node_kit_do(&f->kit, &m), OK);
    VersionId version = m.row.version;
    mutation_deinit(&m);
    return version;
}

static VersionId drop_name(NodeFixture *f, const char *key)
{
    VersionId marker = {0};
    assert_int_equal(box_drop(f, key, (VersionId){0}, &marker), OK);
    return marker;
}

/* The versions of key, newest first: their bodies, "-" for a delete marker, with blanks between. */
static void expect_versions(NodeFixture *f, const char *key, const char *want)
{
    StoreFound found;
    Err err = {0};
    bool there = true;
    AUTO_BUF(got, 4 * KIB);
    AUTO_BUF(body, 4 * KIB);
    VersionId version = {0};
    for (bool first = true;; first = false) {
        assert_ok(store_look(f->kit.reader, box_uid(f), str_from_cstr(key),
                             first ? STORE_NEWEST : STORE_OLDER, version, STORE_COMMITTED, &found,
                             &there, &err),
                  &err);
        if (!there) break;
        version = found.row.version;
        if (!first) assert_ok(buf_append_str(&got, STR(" "), &err), &err);
        if ((found.row.flags & ROW_FLAG_DELETE_MARKER) != 0) {
            assert_ok(buf_append_str(&got, STR("-"), &err), &err);
            continue;
        }
        assert_ok(node_kit_read(&f->kit, f->kit.reader, &found, &body, &err), &err);
        assert_ok(buf_append_str(&got, buf_str(&body), &err), &err);
    }
    assert_str(buf_str(&got), want);
}

static void expect_usage(NodeFixture *f, uint64_t files, uint64_t bytes)
{
    BucketStatRow usage;
    buckets_usage(f->kit.buckets, box_uid(f), &usage);
    assert_int_equal(usage.files, files);
    assert_int_equal(usage.bytes, bytes);
}

static void test_off(void **state)
{
    NodeFixture *f = *state;
    put(f, "a", "1");
    VersionId second = put(f, "a", "22");
    EVERYWHERE(f, expect_versions(f, "a", "22"); expect_usage(f, 1, 2));
    assert_int_equal(box_drop(f, "a", (VersionId){.term = 1, .lsn = 77}, NULL), ERR_NOT_FOUND);
    assert_int_equal(box_drop(f, "a", second, NULL), OK);
    EVERYWHERE(f, expect_versions(f, "a", ""); expect_usage(f, 0, 0));
}

static void test_on(void **state)
{
    NodeFixture *f = *state;
    VersionId marker;
    put(f, "a", "0");
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    VersionId first = put(f, "a", "1");
    VersionId second = put(f, "a", "22");
    EVERYWHERE(f, expect_versions(f, "a", "22 1 0"); expect_usage(f, 3, 4));
    marker = drop_name(f, "a");
    assert_true(marker.lsn > 0);
    EVERYWHERE(f, expect_versions(f, "a", "- 22 1 0"); box_expect(f, "a", NULL);
               expect_usage(f, 3, 4));
    assert_int_equal(box_drop(f, "a", (VersionId){0}, NULL), ERR_NOT_FOUND);
    assert_int_equal(box_drop(f, "a", first, NULL), OK);
    assert_int_equal(box_drop(f, "a", first, NULL), ERR_NOT_FOUND);
    EVERYWHERE(f, expect_versions(f, "a", "- 22 0"); expect_usage(f, 2, 3));
    assert_int_equal(box_drop(f, "a", marker, NULL), OK); /* it is there again */
    EVERYWHERE(f, box_expect(f, "a", "22"); expect_versions(f, "a", "22 0"));
    put(f, "a", "333");
    assert_int_equal(box_drop(f, "a", second, NULL), OK);
    EVERYWHERE(f, expect_versions(f, "a", "333 0"); expect_usage(f, 2, 4));
    assert_int_equal(box_set(f, VERSIONING_OFF), ERR_INVALID);
}

static void test_suspended(void **state)
{
    NodeFixture *f = *state;
    put(f, "a", "0");
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    put(f, "a", "1");
    assert_int_equal(box_set(f, VERSIONING_SUSPENDED), OK);
    VersionId null_version = put(f, "a", "22"); /* in the place of "0" */
    EVERYWHERE(f, expect_versions(f, "a", "22 1"); expect_usage(f, 2, 3));
    null_version = put(f, "a", "333");
    EVERYWHERE(f, expect_versions(f, "a", "333 1"); expect_usage(f, 2, 4));
    VersionId marker = drop_name(f, "a");
    EVERYWHERE(f, expect_versions(f, "a", "- 1"); expect_usage(f, 1, 1));
    assert_int_equal(box_drop(f, "a", null_version, NULL), ERR_NOT_FOUND);
    assert_int_equal(box_drop(f, "a", marker, NULL), OK);
    EVERYWHERE(f, expect_versions(f, "a", "1"); box_expect(f, "a", "1"));
    /* The null version is applied, its end is not: it is counted once. */
    put(f, "b", "333");
    node_fixture_apply(f);
    StoreFound found;
    Err err = {0};
    bool there = false;
    assert_ok(
        store_find(f->kit.reader, box_uid(f), STR("b"), NULL, STORE_PENDING, &found, &there, &err),
        &err);
    assert_int_equal(box_drop(f, "b", found.row.version, NULL), OK);
    put(f, "b", "22");
    EVERYWHERE(f, expect_usage(f, 2, 3));
}

/* A version that had ended others goes, and with it its record: those others stay away. */
static void test_ended_stays_ended(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    char body[600];
    char key[16];
    CompactOptions compact = {.dead_percent = 1, .look_again_ms = 1};
    put(f, "a", "0");
    put(f, "b", "0");
    for (unsigned i = 0; i < 200; i++) { /* their packs stay */
        snprintf(key, sizeof key, "k%u", i);
        memset(body, 'x', sizeof body - 1);
        body[sizeof body - 1] = '\0';
        put(f, key, body);
    }
    node_fixture_apply(f);
    put(f, "a", "1"); /* ends "0" */
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    put(f, "b", "on");
    assert_int_equal(box_set(f, VERSIONING_SUSPENDED), OK);
    put(f, "b", "2"); /* ends "0", too */
    for (unsigned i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%u", i);
        put(f, key, body);
    }
    node_fixture_apply(f);
    StoreFound found;
    bool there = false;
    for (const char *name = "a"; name != NULL; name = name[0] == 'a' ? "b" : NULL) {
        assert_ok(store_find(f->kit.reader, box_uid(f), str_from_cstr(name), NULL, STORE_COMMITTED,
                             &found, &there, &err),
                  &err);
        assert_int_equal(box_drop(f, name, found.row.version, NULL), OK);
    }
    node_fixture_apply(f);
    for (unsigned round = 0; round < 3; round++) {
        assert_ok(compact_all(f->kit.store, &compact, NULL, &err), &err);
        assert_ok(store_checkpoint(f->kit.store, &err), &err);
        put(f, "more", "more");
        node_fixture_apply(f);
    }
    assert_ok(pack_truth_check(f->kit.store, &err), &err);
    EVERYWHERE(f, expect_versions(f, "a", ""); expect_versions(f, "b", "on"));
}

static void fill(NodeFixture *f, char kind, unsigned from, unsigned step, bool put_them)
{
    char body[600];
    char key[16];
    Err err = {0};
    memset(body, kind, sizeof body);
    for (unsigned i = from; i < 300; i += step) {
        snprintf(key, sizeof key, "%c%u", kind, i);
        Str name = str_from_cstr(key);
        if (put_them)
            assert_ok(node_kit_put(&f->kit, STR("files"), name, str_of(body, sizeof body), &err),
                      &err);
        else
            assert_ok(node_kit_delete(&f->kit, STR("files"), name, &err), &err);
    }
}

/* A version is deleted and a newer one follows, which keeps older ones: it does not stand for the
 * DELETE, so that has to stay while a pack holds the version's record. */
static void kept_and_deleted(NodeFixture *f)
{
    Err err = {0};
    CompactOptions compact = {.dead_percent = 50, .look_again_ms = 1};
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    VersionId first = put(f, "a", "1");
    put(f, "a", "2");
    fill(f, 'f', 0, 1, true);
    node_fixture_apply(f);
    assert_int_equal(box_drop(f, "a", first, NULL), OK);
    put(f, "a", "3");
    fill(f, 'f', 0, 3, false); /* many other tombstones that are needed */
    fill(f, 'g', 0, 5, true);
    node_fixture_apply(f);
    for (char kind = 'g'; kind < 'k'; kind++) { /* the pack that has the tombstones dies */
        fill(f, kind, 0, 5, false);
        fill(f, (char)(kind + 1), 0, 5, true);
        node_fixture_apply(f);
        f->kit.clock.boot_ns += 10000000;
        assert_ok(compact_all(f->kit.store, &compact, NULL, &err), &err);
        assert_ok(store_checkpoint(f->kit.store, &err), &err);
    }
    CompactStatus status;
    store_compact_status(f->kit.store, &status);
    assert_true(status.packs_retired > 0);
}

static void test_kept_is_no_tombstone(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    kept_and_deleted(f);
    assert_ok(pack_truth_check(f->kit.store, &err), &err);
    EVERYWHERE(f, expect_versions(f, "a", "3 2"));
}

/* Does compaction take the newest version of "a" for what ends all before it? */
static bool outlived(NodeFixture *f, VersionId deleted)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO_BUF(attrs, 64);
    AUTO_BUF(buf, 2 * MIB);
    Err err = {0};
    bool result = false;
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("a"), &err), &err);
    Entry entry = {.op = OP_DELETE,
                   .term = deleted.term,
                   .lsn = deleted.lsn,
                   .bucket = box_uid(f),
                   .target = deleted,
                   .attrs = buf_str(&attrs)};
    assert_ok(index_reader_open(f->kit.store->index, &reader, &err), &err);
    assert_ok(compact_outlived(f->kit.store, reader, &entry, &buf, &result, &err), &err);
    return result;
}

static void test_outlived(void **state)
{
    NodeFixture *f = *state;
    VersionId first = put(f, "a", "1");
    put(f, "b", "1");
    put(f, "a", "2");
    node_fixture_apply(f);
    assert_true(outlived(f, first));
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    VersionId kept = put(f, "a", "3");
    put(f, "b", "2");
    put(f, "a", "4");
    node_fixture_apply(f);
    assert_false(outlived(f, kept));
    fault_plant("compact-trusts-kept", true);
    assert_true(outlived(f, kept));
    fault_plant("compact-trusts-kept", false);
}

/* Only what has no version of anything is empty. */
static void test_bucket_stays(void **state)
{
    NodeFixture *f = *state;
    Mutation m;
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    VersionId first = put(f, "a", "1");
    VersionId marker = drop_name(f, "a");
    for (unsigned i = 0; i < 4; i++) {
        mutation_init(&m, MUTATION_BUCKET_DELETE);
        m.bucket = BOX;
        assert_int_equal(node_kit_do(&f->kit, &m), i < 3 ? ERR_BUCKET_NOT_EMPTY : OK);
        mutation_deinit(&m);
        if (i == 0) node_fixture_apply(f);
        if (i == 1) assert_int_equal(box_drop(f, "a", first, NULL), OK);
        if (i == 2) assert_int_equal(box_drop(f, "a", marker, NULL), OK);
    }
}

/* Conditions are about the current version, whatever older ones there are. */
static void test_conditions(void **state)
{
    NodeFixture *f = *state;
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    VersionId first = put(f, "a", "1");
    put(f, "a", "2");
    Mutation m;
    static const ErrCode codes[] = {ERR_PRECONDITION, ERR_PRECONDITION, OK};
    for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
        mutation_init(&m, i == 0 ? MUTATION_PUT : MUTATION_DELETE);
        m.bucket = BOX;
        m.key = STR("a");
        if (i < 2) m.if_none_match = STR("*");
        if (i > 0) m.version = first;
        assert_int_equal(node_kit_do(&f->kit, &m), codes[i]);
        mutation_deinit(&m);
    }
    drop_name(f, "a");
    mutation_init(&m, MUTATION_PUT);
    m.bucket = BOX;
    m.key = STR("a");
    m.digest = sha256_of("", 0);
    m.if_none_match = STR("*"); /* deleted, so there is none */
    assert_int_equal(node_kit_do(&f->kit, &m), OK);
    assert_true(m.created);
    mutation_deinit(&m);
    EVERYWHERE(f, expect_versions(f, "a", " - 2"));
}

/* Deleted one by one, and nothing applied: more than any list of them was made for. */
static void test_many_deleted(void **state)
{
    NodeFixture *f = *state;
    static VersionId versions[300];
    char body[16];
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
        snprintf(body, sizeof body, "%u", i);
        versions[i] = put(f, "a", body);
        if (i == 200) node_fixture_apply(f);
    }
    for (unsigned i = 1; i < ARRAY_LEN(versions); i++)
        assert_int_equal(box_drop(f, "a", versions[i], NULL), OK);
    EVERYWHERE(f, expect_versions(f, "a", "0"); box_expect(f, "a", "0"); expect_usage(f, 1, 1));
}

/* Quotas count all versions. */
static void test_quota(void **state)
{
    NodeFixture *f = *state;
    Mutation m;
    assert_int_equal(box_set(f, VERSIONING_ON), OK);
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = BOX;
    m.settings.has_quota_files = true;
    m.settings.quota_files = 2;
    assert_int_equal(node_kit_do(&f->kit, &m), OK);
    mutation_deinit(&m);
    VersionId first = put(f, "a", "1");
    put(f, "a", "2");
    for (unsigned i = 0; i < 2; i++) {
        mutation_init(&m, MUTATION_PUT);
        m.bucket = BOX;
        m.key = STR("a");
        m.digest = sha256_of("", 0);
        assert_int_equal(node_kit_do(&f->kit, &m), i == 0 ? ERR_QUOTA_EXCEEDED : OK);
        mutation_deinit(&m);
        if (i == 0) assert_int_equal(box_drop(f, "a", first, NULL), OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_off, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_on, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_suspended, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_ended_stays_ended, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_kept_is_no_tombstone, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_outlived, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bucket_stays, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_conditions, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_many_deleted, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_quota, setup, node_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
