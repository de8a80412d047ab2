/* Tags: new attributes of a version that stays, the same from log, index, and an index made again
 * from packs; of the version that was meant and of no other; and of buckets. */
#include "testing.h"

#include <string.h>

#include "box_kit.h"
#include "pack_truth.h"
#include "store/compact_priv.h"

static const NodeKitOptions options = {.seed = 11, .shards = 2, .pack_size = 64 * KIB};

/* The bucket's settings; attr 0: its versions are on. */
static ErrCode set_bucket(NodeFixture *f, Str bucket, unsigned attr, const char *value)
{
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = bucket;
    m.settings.only_there = attr != 0;
    m.settings.has_versioning = attr == 0;
    m.settings.versioning = VERSIONING_ON;
    m.settings.attr = attr;
    m.settings.attr_value = value == NULL ? (Str){NULL, 0} : str_from_cstr(value);
    ErrCode code = node_kit_do(&f->kit, &m);
    mutation_deinit(&m);
    return code;
}

static int setup(void **state)
{
    NodeFixture *f = node_fixture_new(&options);
    assert_int_equal(set_bucket(f, BOX, 0, NULL), OK);
    *state = f;
    return 0;
}

/* A content type makes it a version with other attributes, too. */
static VersionId put(NodeFixture *f, const char *key, const char *tags)
{
    Mutation m;
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    box_put_init(&m, key, "body");
    assert_ok(attr_set(&attrs, ATTR_CONTENT_TYPE, STR("text/x"), &err), &err);
    if (tags[0] != '\0') assert_ok(attr_set(&attrs, ATTR_TAGS, str_from_cstr(tags), &err), &err);
    m.attrs = buf_str(&attrs);
    assert_int_equal(node_kit_do(&f->kit, &m), OK);
    VersionId version = m.row.version;
    mutation_deinit(&m);
    return version;
}

static ErrCode tag(NodeFixture *f, const char *key, VersionId version, const char *tags)
{
    Mutation m;
    mutation_init(&m, MUTATION_TAG);
    m.bucket = BOX;
    m.key = str_from_cstr(key);
    m.version = version;
    m.tags = str_from_cstr(tags);
    ErrCode code = node_kit_do(&f->kit, &m);
    if (code == OK && version.lsn != 0) assert_int_equal(version_id_cmp(m.row.version, version), 0);
    mutation_deinit(&m);
    return code;
}

/* The tags of a version (zero: the current one) and all that must have stayed. */
static void expect_tags(NodeFixture *f, const char *key, VersionId version, const char *want)
{
    StoreFound found;
    Err err = {0};
    bool there = false;
    Str value = {NULL, 0};
    AUTO_BUF(body, 4 * KIB);
    assert_ok(store_find(f->kit.reader, box_uid(f), str_from_cstr(key),
                         version.lsn == 0 ? NULL : &version, STORE_COMMITTED, &found, &there, &err),
              &err);
    assert_true(there);
    if (version.lsn != 0) assert_int_equal(version_id_cmp(found.row.version, version), 0);
    assert_true(attr_get(found.row.attrs, ATTR_CONTENT_TYPE, &value));
    assert_str(value, "text/x");
    if (!attr_get(found.row.attrs, ATTR_TAGS, &value)) value = STR("");
    assert_str(value, want);
    assert_ok(node_kit_read(&f->kit, f->kit.reader, &found, &body, &err), &err);
    assert_str(buf_str(&body), "body");
}

static void expect_bucket(NodeFixture *f, unsigned type, const char *want)
{
    StoreFound found;
    Err err = {0};
    bool there = false;
    Str value = {NULL, 0};
    BucketRecord record;
    assert_ok(store_find(f->kit.reader, BUCKET_UID_SYSTEM, STR("bucket/box"), NULL, STORE_COMMITTED,
                         &found, &there, &err),
              &err);
    assert_true(there);
    assert_true(attr_get(found.row.attrs, ATTR_BUCKET_RECORD, &value));
    assert_ok(bucket_record_decode(value, &record, &err), &err);
    assert_int_equal(record.versioning, VERSIONING_ON);
    if (!attr_get(record.extra, type, &value)) value = STR("");
    assert_str(value, want);
}

static const VersionId current = {0};

static void test_current(void **state)
{
    NodeFixture *f = *state;
    VersionId version = put(f, "a", "");
    EVERYWHERE(f, expect_tags(f, "a", version, ""));
    assert_int_equal(tag(f, "a", current, "one"), OK);
    EVERYWHERE(f, expect_tags(f, "a", version, "one"); expect_tags(f, "a", current, "one"));
    assert_int_equal(tag(f, "a", current, "two"), OK);
    assert_int_equal(tag(f, "a", version, "three"), OK); /* the newest counts */
    EVERYWHERE(f, expect_tags(f, "a", current, "three"));
    assert_int_equal(tag(f, "a", current, ""), OK);
    EVERYWHERE(f, expect_tags(f, "a", current, ""));
    assert_int_equal(tag(f, "b", current, "x"), ERR_NOT_FOUND);
}

/* Written, tagged, tagged again: nothing of it applied, then only some. */
static void test_half_applied(void **state)
{
    NodeFixture *f = *state;
    put(f, "a", "zero");
    assert_int_equal(tag(f, "a", current, "one"), OK);
    node_fixture_apply(f);
    assert_int_equal(tag(f, "a", current, "two"), OK);
    VersionId second = put(f, "a", "new");
    assert_int_equal(tag(f, "a", second, "newer"), OK);
    EVERYWHERE(f, expect_tags(f, "a", second, "newer"));
}

static void test_versions(void **state)
{
    NodeFixture *f = *state;
    VersionId marker = {0};
    VersionId first = put(f, "a", "1");
    VersionId second = put(f, "a", "2");
    assert_int_equal(tag(f, "a", first, "one"), OK);
    EVERYWHERE(f, expect_tags(f, "a", first, "one"); expect_tags(f, "a", second, "2"));
    assert_int_equal(box_drop(f, "a", current, &marker), OK);
    assert_int_equal(tag(f, "a", current, "x"), ERR_NOT_FOUND);
    assert_int_equal(tag(f, "a", marker, "x"), ERR_NOT_FOUND);
    assert_int_equal(tag(f, "a", second, "two"), OK);
    EVERYWHERE(f, expect_tags(f, "a", second, "two"); expect_tags(f, "a", first, "one"));
    assert_int_equal(box_drop(f, "a", first, NULL), OK);
    assert_int_equal(tag(f, "a", first, "x"), ERR_NOT_FOUND);
    assert_int_equal(box_drop(f, "a", marker, NULL), OK);
    EVERYWHERE(f, expect_tags(f, "a", current, "two"));
}

/* Compaction keeps what packs must tell of the tags. */
static void test_compacted(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    CompactOptions compact = {.dead_percent = 1, .look_again_ms = 1};
    VersionId first = put(f, "a", "1");
    VersionId gone = put(f, "b", "1");
    assert_int_equal(tag(f, "a", first, "one"), OK);
    assert_int_equal(tag(f, "b", gone, "one"), OK);
    put(f, "a", "2");
    assert_int_equal(box_drop(f, "b", gone, NULL), OK);
    for (unsigned round = 0; round < 3; round++) {
        char body[600];
        memset(body, 'x', sizeof body);
        for (unsigned i = 0; i < 200; i++) {
            char key[2] = {(char)('c' + i % 20), '\0'};
            assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(key),
                                   str_of(body, sizeof body), &err),
                      &err);
        }
        node_fixture_apply(f);
        f->kit.clock.boot_ns += 10000000;
        assert_ok(compact_all(f->kit.store, &compact, NULL, &err), &err);
        assert_ok(store_checkpoint(f->kit.store, &err), &err);
    }
    CompactStatus status;
    store_compact_status(f->kit.store, &status);
    assert_true(status.packs_retired > 0);
    assert_ok(pack_truth_check(f->kit.store, &err), &err);
    EVERYWHERE(f, expect_tags(f, "a", first, "one"); expect_tags(f, "a", current, "2"));
}

static void test_bucket(void **state)
{
    NodeFixture *f = *state;
    assert_int_equal(set_bucket(f, BOX, ATTR_TAGS, "tags"), OK);
    EVERYWHERE(f, expect_bucket(f, ATTR_TAGS, "tags"));
    assert_int_equal(set_bucket(f, BOX, ATTR_BUCKET_CORS, "rules"), OK);
    EVERYWHERE(f, expect_bucket(f, ATTR_TAGS, "tags"); expect_bucket(f, ATTR_BUCKET_CORS, "rules"));
    assert_int_equal(set_bucket(f, BOX, ATTR_TAGS, NULL), OK);
    EVERYWHERE(f, expect_bucket(f, ATTR_TAGS, ""); expect_bucket(f, ATTR_BUCKET_CORS, "rules"));
    assert_int_equal(set_bucket(f, STR("absent"), ATTR_TAGS, "tags"), ERR_NO_BUCKET);
    char long_value[40000];
    memset(long_value, 'x', sizeof long_value - 1);
    long_value[sizeof long_value - 1] = '\0';
    assert_int_equal(set_bucket(f, BOX, ATTR_TAGS, long_value), OK);
    assert_int_equal(set_bucket(f, BOX, ATTR_BUCKET_CORS, long_value), ERR_TOO_LARGE);
    EVERYWHERE(f, expect_bucket(f, ATTR_TAGS, long_value);
               expect_bucket(f, ATTR_BUCKET_CORS, "rules"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_current, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_half_applied, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_compacted, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bucket, setup, node_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
