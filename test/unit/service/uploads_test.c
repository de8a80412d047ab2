/* Uploads over a simulated disk: what is kept of them, who wins, and what stays on the disk. */
#include "testing.h"

#include <stdatomic.h>
#include <string.h>

#include "base/fault.h"
#include "base/hash_run.h"
#include "disk/sim.h"
#include "look.h"
#include "node_fixture.h"
#include "service/parts.h"

static const NodeKitOptions small = {.seed = 9, .shards = 4};
static const _Atomic bool yes = true;

#define FIRST 70000 /* bytes: beyond what stays inline */
#define NOW 1000    /* the kit's clock is not far from the start */

typedef struct {
    NodeFixture *node;
    Service *service;
    ServiceReader *reader;
    uint8_t body[2 * FIRST];
    Rng rng;
} Fixture;

static void attach(Fixture *f)
{
    Err err = {0};
    ServiceOptions options = {
        .stores = {f->node->kit.store}, .buckets = f->node->kit.buckets, .ready = &yes};
    f->service = service_new(&options);
    assert_ok(service_reader_open(f->service, &f->reader, &err), &err);
}

static void detach(Fixture *f)
{
    service_reader_free(TAKE(f->reader));
    service_free(TAKE(f->service));
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    f->node = node_fixture_new(&small);
    rng_init(&f->rng, 4);
    rng_bytes(&f->rng, f->body, sizeof f->body);
    attach(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    detach(f);
    node_fixture_free(f->node);
    mem_free(f);
    return 0;
}

/* As after a power failure. */
static void crash(Fixture *f)
{
    detach(f);
    node_fixture_restart(f->node, false);
    attach(f);
}

/* The row of an upload with the first len bytes of f->body; a body above INLINE_MAX is one extent.
 */
static void row(Fixture *f, Mutation *m, MutationType type, FileId id, size_t len, Buf *attrs,
                Extent *extent)
{
    Err err = {0};
    uint8_t saved[HASH_RUN_STATE_MAX];
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    hash_run_update(run, f->body, len);
    UploadRecord record = {.bucket = look_bucket(f->node->kit.buckets, STR("files")),
                           .key = STR("u"),
                           .has_length = true,
                           .length = sizeof f->body,
                           .expires_ms = 5000000000000,
                           .hash = str_of(saved, hash_run_save(run, saved))};
    mutation_init(m, type);
    assert_ok(upload_attrs(&record, attrs, &err), &err);
    m->upload = true;
    m->file = id;
    m->attrs = buf_str(attrs);
    if (len > 0) {
        assert_ok(node_kit_body(&f->node->kit, m, str_of(f->body, len), extent, &err), &err);
    } else {
        m->digest = sha256_of("", 0);
    }
}

static FileId create(Fixture *f)
{
    Mutation m;
    Extent extent;
    AUTO_BUF(attrs, ATTRS_MAX);
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    standard.shard_count = (uint16_t)small.shards;
    ShardId shard = place_shard_of(&standard, look_bucket(f->node->kit.buckets, STR("files")),
                                   STR("u"));
    FileId id = file_id_make(shard, 1, &f->rng);
    row(f, &m, MUTATION_CREATE, id, 0, &attrs, &extent);
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    assert_true(id128_eq(m.row.file, id));
    mutation_deinit(&m);
    return id;
}

static ErrCode extend(Fixture *f, FileId id, VersionId version, size_t len)
{
    Mutation m;
    Extent extent;
    AUTO_BUF(attrs, ATTRS_MAX);
    row(f, &m, MUTATION_UPDATE, id, len, &attrs, &extent);
    m.version = version;
    ErrCode code = node_kit_do(&f->node->kit, &m);
    mutation_deinit(&m);
    return code;
}

static ErrCode find(Fixture *f, FileId id, UploadFound *out)
{
    Err err = {0};
    return service_find_upload(f->reader, id, false, NOW, out, &err);
}

static VersionId expect_offset(Fixture *f, FileId id, uint64_t offset)
{
    UploadFound found;
    upload_found_init(&found);
    assert_code(find(f, id, &found), OK, NULL);
    assert_false(found.done);
    assert_int_equal(found.offset, offset);
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    assert_true(hash_run_load(run, found.record.hash));
    assert_int_equal(hash_run_size(run), offset);
    VersionId version = found.version;
    upload_found_deinit(&found);
    return version;
}

static void expect_over(Fixture *f, FileId id, ErrCode code, bool done)
{
    UploadFound found;
    upload_found_init(&found);
    assert_code(find(f, id, &found), code, NULL);
    assert_int_equal(found.done, done);
    upload_found_deinit(&found);
}

static ErrCode count_extent(void *ctx, BodyId body, uint32_t number, Err *err)
{
    size_t *count = ctx;
    UNUSED(body);
    UNUSED(number);
    UNUSED(err);
    (*count)++;
    return OK;
}

static size_t extents_on_disk(Fixture *f)
{
    size_t count = 0;
    Err err = {0};
    assert_ok(blobs_list(store_blobs(f->node->kit.store), count_extent, &count, &err), &err);
    return count;
}

/* The fate of id: the file of the extents of its row, or of other bytes; or none. */
static ErrCode decide(Fixture *f, FileId id, MutationType type, bool other)
{
    Mutation m;
    Extent extent;
    Err err = {0};
    UploadFound found;
    upload_found_init(&found);
    assert_code(find(f, id, &found), OK, NULL);
    mutation_init(&m, type);
    if (type == MUTATION_DELETE_FILE) {
        m.upload = true;
        m.file = id;
    } else if (other) {
        m.bucket = STR("files");
        m.key = found.record.key;
        assert_ok(node_kit_body(&f->node->kit, &m, str_of(f->body, 100), &extent, &err), &err);
    } else {
        m.bucket = STR("files");
        m.key = found.record.key;
        extent = extent_at(buf_str(&found.extents), 0);
        m.extents = &extent;
        m.extent_count = 1;
        m.body = extent.body;
        m.size = found.offset;
        m.digest = sha256_of(f->body, found.offset);
    }
    upload_decide(&m, id, false, found.version);
    ErrCode code = node_kit_do(&f->node->kit, &m);
    mutation_deinit(&m);
    upload_found_deinit(&found);
    return code;
}

static void end_row(Fixture *f, FileId id)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = id;
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    mutation_deinit(&m);
}

static void expect_file(Fixture *f, size_t len)
{
    Err err = {0};
    AUTO_BUF(body, sizeof f->body);
    assert_ok(node_kit_get(&f->node->kit, STR("files"), STR("u"), &body, &err), &err);
    assert_true(str_eq(buf_str(&body), str_of(f->body, len)));
}

/* Offsets in table and index, over crashes; one of two writers wins. */
static void test_offsets(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    VersionId first = expect_offset(f, id, 0);
    assert_code(extend(f, id, first, 10), OK, NULL);
    VersionId second = expect_offset(f, id, 10);
    assert_code(extend(f, id, first, 20), ERR_NOT_FOUND, NULL);
    crash(f);
    second = expect_offset(f, id, 10);
    assert_code(extend(f, id, second, FIRST), OK, NULL);
    node_fixture_apply(f->node);
    VersionId third = expect_offset(f, id, FIRST);
    crash(f);
    assert_int_equal(version_id_cmp(expect_offset(f, id, FIRST), third), 0);
    assert_code(extend(f, id, second, FIRST + 1), ERR_NOT_FOUND, NULL);
    assert_int_equal(extents_on_disk(f) >= 1, 1);
}

/* A version may name the extents of the one before: they are no garbage, whatever comes when. */
static void test_extents_stay(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    assert_code(extend(f, id, expect_offset(f, id, 0), FIRST), OK, NULL);
    node_fixture_apply(f->node);
    UploadFound found;
    upload_found_init(&found);
    assert_code(find(f, id, &found), OK, NULL);
    Extent extent = extent_at(buf_str(&found.extents), 0);
    Mutation m;
    mutation_init(&m, MUTATION_UPDATE);
    m.upload = true;
    m.file = id;
    m.attrs = buf_str(&found.attrs);
    m.extents = &extent;
    m.extent_count = 1;
    m.body = extent.body;
    m.size = found.offset;
    m.digest = sha256_of(f->body, FIRST);
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    mutation_deinit(&m);
    upload_found_deinit(&found);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 1); /* before the crash, which may bring it back */
    crash(f);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 1);
    assert_code(decide(f, id, MUTATION_PUT, false), OK, NULL);
    expect_file(f, FIRST);
}

/* The file takes the extents over; what became of the upload is known after a crash, too. */
static void test_file(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    assert_code(extend(f, id, expect_offset(f, id, 0), FIRST), OK, NULL);
    assert_code(decide(f, id, MUTATION_PUT, false), OK, NULL);
    expect_over(f, id, OK, true); /* its row is still there */
    expect_file(f, FIRST);
    crash(f);
    expect_over(f, id, OK, true);
    UploadListed listed[2];
    size_t count = 0;
    Err err = {0};
    assert_ok(service_list_uploads(f->reader, (FileId){{0}}, NOW, listed, 2, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(listed[0].decided && id128_eq(listed[0].id, id));
    node_fixture_apply(f->node);
    end_row(f, id);
    node_fixture_apply(f->node);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 1);
    expect_over(f, id, OK, true);
    expect_file(f, FIRST);
    assert_ok(node_kit_delete(&f->node->kit, STR("files"), STR("u"), &err), &err);
    expect_over(f, id, ERR_GONE, false);
    node_fixture_apply(f->node);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 0);
}

/* Exactly one fate, also for who asks with other bytes, or after a crash. */
static void test_one_fate(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    assert_code(extend(f, id, expect_offset(f, id, 0), FIRST), OK, NULL);
    UploadFound found;
    upload_found_init(&found);
    assert_code(find(f, id, &found), OK, NULL);
    upload_found_deinit(&found);
    assert_code(decide(f, id, MUTATION_PUT, false), OK, NULL);
    crash(f);
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = id;
    upload_decide(&m, id, false, (VersionId){0});
    assert_code(node_kit_do(&f->node->kit, &m), ERR_IDEMPOTENCY, &m.err);
    mutation_deinit(&m);
    expect_file(f, FIRST);

    FileId ended = create(f);
    assert_code(extend(f, ended, expect_offset(f, ended, 0), FIRST), OK, NULL);
    assert_code(decide(f, ended, MUTATION_DELETE_FILE, false), OK, NULL);
    expect_over(f, ended, ERR_GONE, false);
    crash(f);
    expect_over(f, ended, ERR_GONE, false);
    node_fixture_apply(f->node);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 1);
    expect_file(f, FIRST);
}

/* Makes the file u of extents that were once read from the upload's row, at version. */
static ErrCode make_of(Fixture *f, FileId id, VersionId version, const Extent *extents,
                       uint32_t count, uint64_t size, bool parts)
{
    Mutation m;
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = STR("u");
    m.extents = extents;
    m.extent_count = count;
    m.body = extents[0].body;
    m.size = size;
    m.digest = sha256_of(f->body, size);
    upload_decide(&m, id, parts, version);
    ErrCode code = node_kit_do(&f->node->kit, &m);
    mutation_deinit(&m);
    return code;
}

/* Two requests have read the same row. One puts other extents in the place of those that it names,
 * which are unlinked then; the other's file would name what is gone. */
static ErrCode make_of_gone(Fixture *f, FileId id)
{
    UploadFound found;
    assert_code(extend(f, id, expect_offset(f, id, 0), FIRST), OK, NULL);
    node_fixture_apply(f->node);
    upload_found_init(&found);
    assert_code(find(f, id, &found), OK, NULL);
    Extent extent = extent_at(buf_str(&found.extents), 0);
    assert_code(extend(f, id, found.version, FIRST + 1), OK, NULL);
    node_fixture_apply(f->node);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 1);
    ErrCode code = make_of(f, id, found.version, &extent, 1, FIRST, false);
    upload_found_deinit(&found);
    return code;
}

static void test_no_stale_extents(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    assert_code(make_of_gone(f, id), ERR_NOT_FOUND, NULL);
    expect_offset(f, id, FIRST + 1); /* it goes on */
    assert_code(decide(f, id, MUTATION_PUT, false), OK, NULL);
    expect_file(f, FIRST + 1);
    FileId other = create(f);
    assert_code(make_of(f, other, (VersionId){0}, &(Extent){.size = 1}, 1, 1, false), ERR_NOT_FOUND,
                NULL);
    end_row(f, other);
    assert_code(make_of(f, other, (VersionId){0}, &(Extent){.size = 1}, 1, 1, false), ERR_NOT_FOUND,
                NULL);
}

/* Without the rule the file is there, and its bytes are not. */
static void test_stale_extents_planted(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    AUTO_BUF(body, sizeof f->body);
    FileId id = create(f);
    fault_plant("take-any-extent", true);
    assert_code(make_of_gone(f, id), OK, NULL);
    fault_plant("take-any-extent", false);
    assert_true(node_kit_get(&f->node->kit, STR("files"), STR("u"), &body, &err) != OK);
}

/* --- in parts --- */

static FileId create_parts(Fixture *f, VersionId *version)
{
    Mutation m;
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    standard.shard_count = (uint16_t)small.shards;
    UploadRecord record = {.bucket = look_bucket(f->node->kit.buckets, STR("files")),
                           .key = STR("u"),
                           .parts = true,
                           .expires_ms = 5000000000000};
    mutation_init(&m, MUTATION_CREATE);
    assert_ok(upload_attrs(&record, &attrs, &err), &err);
    m.upload = true;
    m.file = file_id_make(place_shard_of(&standard, record.bucket, STR("u")), 1, &f->rng);
    m.attrs = buf_str(&attrs);
    m.digest = sha256_of("", 0);
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    FileId id = m.row.file;
    *version = m.row.version;
    mutation_deinit(&m);
    return id;
}

/* FIRST bytes of the fixture's, from `from`. */
static ErrCode put_part(Fixture *f, FileId id, unsigned number, size_t from)
{
    Mutation m;
    Extent extent;
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    mutation_init(&m, MUTATION_PUT);
    assert_ok(attr_set(&attrs, ATTR_ETAG, STR("0123456789abcdef0123456789abcdef"), &err), &err);
    UploadRecord record = {.bucket = look_bucket(f->node->kit.buckets, STR("files")),
                           .key = STR("u")};
    assert_ok(part_attrs(&record, &attrs, &err), &err);
    assert_ok(attr_set(&attrs, ATTR_CHECKSUM,
                       STR("\x01\x00"
                           "abcd"),
                       &err),
              &err);
    assert_ok(node_kit_body(&f->node->kit, &m, str_of(f->body + from, FIRST), &extent, &err), &err);
    m.upload = true;
    m.file = id;
    m.part = number;
    m.attrs = buf_str(&attrs);
    ErrCode code = node_kit_do(&f->node->kit, &m);
    mutation_deinit(&m);
    return code;
}

static size_t list_parts(Fixture *f, FileId id, UploadPart *parts)
{
    size_t count = 0;
    Err err = {0};
    assert_ok(service_list_parts(f->reader, id, 0, parts, 10, &count, &err), &err);
    return count;
}

static void remove_part(Fixture *f, FileId id, unsigned number)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = id;
    m.part = number;
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    mutation_deinit(&m);
}

/* Parts in any order, over a crash; one that is replaced keeps its bytes until all of them go, so
 * that who read it before makes a whole file. */
static void test_parts(void **state)
{
    Fixture *f = *state;
    UploadPart parts[10];
    VersionId version;
    FileId id = create_parts(f, &version);
    assert_int_equal(list_parts(f, id, parts), 0);
    assert_code(put_part(f, id, 9, 0), OK, NULL);
    assert_code(put_part(f, id, 2, 0), OK, NULL);
    crash(f);
    assert_int_equal(list_parts(f, id, parts), 2);
    assert_true(parts[0].number == 2 && parts[1].number == 9 && parts[1].size == FIRST);
    assert_true(parts[0].md5[0] == 0x01 && parts[0].checksum_len == 6);
    assert_code(put_part(f, id, 9, FIRST), OK, NULL);
    node_fixture_apply(f->node);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 3);
    Extent old[] = {parts[0].extent, parts[1].extent};
    assert_int_equal(list_parts(f, id, parts), 2);
    assert_false(id128_eq(parts[1].extent.body, old[1].body));
    assert_code(make_of(f, id, version, &old[1], 1, FIRST, true), OK, NULL);
    assert_code(put_part(f, id, 1, 0), ERR_GONE, NULL); /* its fate is decided */
    remove_part(f, id, 2);
    remove_part(f, id, 9);
    end_row(f, id);
    crash(f);
    assert_int_equal(list_parts(f, id, parts), 0);
    node_fixture_apply(f->node);
    node_fixture_apply(f->node);
    assert_int_equal(extents_on_disk(f), 1);
    expect_file(f, FIRST);
    assert_code(put_part(f, id, 1, 0), ERR_GONE, NULL);
}

/* Parts whose row is gone are told to the sweep; parts are no uploads by themselves. */
static void test_orphans(void **state)
{
    Fixture *f = *state;
    UploadListed listed[3];
    UploadPart parts[10];
    VersionId version;
    size_t count = 0;
    Err err = {0};
    FileId id = create_parts(f, &version);
    assert_code(put_part(f, id, 1, 0), OK, NULL);
    assert_code(put_part(f, id, 2, 0), OK, NULL);
    assert_ok(service_list_uploads(f->reader, (FileId){{0}}, NOW, listed, 3, &count, &err), &err);
    assert_true(count == 1 && listed[0].parts && !listed[0].orphan && !listed[0].decided);
    StoreFound file;
    assert_code(service_find_id(f->reader, id, NULL, &file, &err), ERR_NOT_FOUND, NULL);
    expect_over(f, id, ERR_NOT_FOUND, false); /* it is none of the other kind */
    end_row(f, id);
    assert_ok(service_list_uploads(f->reader, (FileId){{0}}, NOW, listed, 3, &count, &err), &err);
    assert_true(count == 1 && listed[0].orphan && id128_eq(listed[0].id, id));
    remove_part(f, id, 1);
    remove_part(f, id, 2);
    assert_int_equal(list_parts(f, id, parts), 0);
    assert_ok(service_list_uploads(f->reader, (FileId){{0}}, NOW, listed, 3, &count, &err), &err);
    assert_int_equal(count, 0);
}

static void set_quota(Fixture *f, uint64_t bytes)
{
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = STR("files");
    m.settings.has_quota_bytes = true;
    m.settings.quota_bytes = bytes;
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    mutation_deinit(&m);
}

/* What unfinished uploads keep counts to their bucket's quota when more comes, over a crash; not
 * twice when the file is made; and no longer when they are gone. */
static void test_quota(void **state)
{
    Fixture *f = *state;
    UploadPart parts[10];
    VersionId version;
    set_quota(f, 3 * FIRST);
    FileId id = create_parts(f, &version);
    assert_code(put_part(f, id, 1, 0), OK, NULL);
    assert_code(put_part(f, id, 1, 0), OK, NULL); /* the one before is still kept */
    FileId other = create(f);
    assert_code(extend(f, other, expect_offset(f, other, 0), FIRST), OK, NULL);
    assert_code(put_part(f, id, 2, 0), ERR_QUOTA_EXCEEDED, NULL);
    node_fixture_apply(f->node);
    crash(f);
    assert_code(put_part(f, id, 2, 0), ERR_QUOTA_EXCEEDED, NULL);
    assert_code(extend(f, other, expect_offset(f, other, FIRST), FIRST + 1), ERR_QUOTA_EXCEEDED,
                NULL);
    assert_int_equal(list_parts(f, id, parts), 1);
    assert_code(make_of(f, id, version, &parts[0].extent, 1, FIRST, true), OK, NULL);
    remove_part(f, id, 1);
    end_row(f, id);
    assert_code(extend(f, other, expect_offset(f, other, FIRST), 2 * FIRST), OK, NULL);
    end_row(f, other);
    crash(f);
    FileId last = create_parts(f, &version);
    assert_code(put_part(f, last, 1, 0), OK, NULL);
    assert_code(put_part(f, last, 2, 0), OK, NULL);
    assert_code(put_part(f, last, 3, 0), ERR_QUOTA_EXCEEDED, NULL);
}

/* An upload is no file that anybody may name, and a file is no upload. */
static void test_other_names(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    StoreFound file;
    FileId id = create(f);
    assert_code(service_find_id(f->reader, id, NULL, &file, &err), ERR_NOT_FOUND, NULL);
    static const MutationType types[] = {MUTATION_UPDATE, MUTATION_DELETE_FILE};
    assert_ok(node_kit_put(&f->node->kit, STR("files"), STR("f"), STR("x"), &err), &err);
    assert_ok(service_find(f->reader, STR("files"), STR("f"), NULL, &file, &err), &err);
    FileId of_file = file.row.file;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        Mutation m;
        mutation_init(&m, types[i]);
        m.file = id;
        m.digest = sha256_of("", 0);
        assert_code(node_kit_do(&f->node->kit, &m), ERR_NOT_FOUND, NULL);
        m.file = of_file;
        m.upload = true;
        assert_code(node_kit_do(&f->node->kit, &m), ERR_NOT_FOUND, NULL);
        mutation_deinit(&m);
    }
    expect_offset(f, id, 0);
    expect_over(f, of_file, ERR_NOT_FOUND, false);
    BucketStatRow stat;
    node_fixture_apply(f->node);
    assert_ok(service_uploads_stat(f->reader, &stat, &err), &err);
    assert_int_equal(stat.files, 1);
    UploadFound found;
    upload_found_init(&found);
    assert_code(service_find_upload(f->reader, id, false, 5000000000000, &found, &err), ERR_GONE,
                NULL);
    upload_found_deinit(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extents_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_fate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_stale_extents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_extents_planted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orphans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quota, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
