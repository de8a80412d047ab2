#include "blob_fixture.h"

#include "base/fault.h"
#include "blob/blobs_priv.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static BodyId body_id(uint64_t n)
{
    BodyId body;
    random_bytes(n + 500, body.bytes, sizeof body.bytes);
    return body;
}

static void blob_make(Blobs *blobs, BodyId body, uint32_t number)
{
    Err err = {0};
    Extent extent;
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    assert_ok(blob_writer_open(blobs, body, number, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "abc", 3, &err), &err);
    assert_ok(blob_writer_finish(writer, &(BlobInfo){0}, &extent, &err), &err);
}

static bool exists(Fixture *fixture, const char *path)
{
    Err err = {0};
    DiskStat stat;
    assert_ok(disk_stat(fixture->disk, path, &stat, &err), &err);
    return stat.exists;
}

static void test_paths(void **state)
{
    char path[BLOB_PATH_MAX];
    char id[ID128_TEXT_LEN + 1];
    BodyId body = body_id(1);
    UNUSED(state);
    id128_text(body, id);
    blob_path(body, 12, path);
    assert_memory_equal(path, "blobs/", 6);
    assert_memory_equal(path + 6, id, 2);
    assert_memory_equal(path + 9, id + 2, 2);
    assert_memory_equal(path + 12, id, ID128_TEXT_LEN);
    assert_string_equal(path + 12 + ID128_TEXT_LEN, ".12");
    BodyId ones;
    memset(ones.bytes, 0xff, sizeof ones.bytes);
    blob_staging_path(ones, UINT32_MAX, path);
    assert_string_equal(path, "staging/7ZZZZZZZZZZZZZZZZZZZZZZZZZ.4294967295.tmp");
}

/* Directories that lie side by side are made one by one; the first and the last there can be. */
static void test_directories(void **state)
{
    Err err = {0};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    for (unsigned i = 0; i < 20; i++) {
        BodyId body = {.bytes = {0, 1}};
        BlobReader *reader = NULL;
        body.bytes[2] = (uint8_t)(i << 6);
        body.bytes[1] = (uint8_t)(1 + (i >> 2));
        if (i == 18) body.bytes[1] = 0;
        if (i == 19) memset(body.bytes, 0xff, sizeof body.bytes);
        blob_make(blobs, body, 0);
        blob_make(blobs, body, 1);
        assert_ok(blob_reader_open(blobs, body, 1, &reader, &err), &err);
        blob_reader_free(reader);
    }
}

static void test_options(void **state)
{
    static const uint32_t bad[] = {1, 4096, 65535, 65537, 65536 + 512, 4 * 1024 * 1024 + 4096};
    Fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Err err = {0};
        Blobs *blobs = NULL;
        BlobsOptions options = {.root = fixture->root, .chunk_size = bad[i]};
        assert_code(blobs_open(fixture->disk, &options, &blobs, &err), ERR_CONFIG, &err);
        assert_null(blobs);
    }
    Err err = {0};
    AUTO(Blobs, blobs_free) blobs = NULL;
    assert_ok(blobs_open(fixture->disk, &(BlobsOptions){0}, &blobs, &err), &err);
    assert_int_equal(blobs->chunk_size, CHUNK_SIZE_DEFAULT);
}

static void test_open_empties_staging(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    for (int i = 0; i < 50; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "staging/left.%d.tmp", i); /* fits */
        assert_ok(disk_create_durable(fixture->disk, path, STR("x"), &err), &err);
    }
    blob_make(blobs, body_id(1), 0);
    blobs_free(blobs);
    blobs = fixture_blobs(fixture, NULL);
    assert_false(exists(fixture, "staging/left.0.tmp"));
    assert_false(exists(fixture, "staging/left.49.tmp"));
    char path[BLOB_PATH_MAX];
    blob_path(body_id(1), 0, path);
    assert_true(exists(fixture, path));
}

#define BODIES 40
typedef struct {
    Blobs *blobs;
    size_t seen[BODIES];
    size_t others;
    bool remove;
} Listed;

static ErrCode note(void *ctx, BodyId body, uint32_t extent, Err *err)
{
    Listed *listed = ctx;
    for (uint64_t n = 0; n < BODIES; n++) {
        if (!id128_eq(body, body_id(n)) || extent != n % 3) continue;
        listed->seen[n]++;
        if (listed->remove) return blob_remove(listed->blobs, body, extent, err);
        return OK;
    }
    listed->others++;
    return OK;
}

static ErrCode refuse(void *ctx, BodyId body, uint32_t extent, Err *err)
{
    UNUSED(ctx);
    UNUSED(body);
    UNUSED(extent);
    return err_set(err, ERR_ABORTED, "stop");
}

static void test_list_and_remove(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    Listed listed = {.blobs = blobs};
    for (uint64_t n = 0; n < BODIES; n++)
        blob_make(blobs, body_id(n), (uint32_t)(n % 3));
    char path[BLOB_PATH_MAX];
    blob_path(body_id(0), 0, path);
    Str dir = str_slice(str_from_cstr(path), 0, 11);
    static const char *const strangers[] = {"x", "0123456789", "00000000000000000000000000.0",
                                            "00000000000000000000000000"};
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        char stranger[BLOB_PATH_MAX];
        (void)snprintf(stranger, sizeof stranger, "%.*s/%s", STR_ARG(dir), strangers[i]); /* fits */
        assert_ok(disk_create_durable(fixture->disk, stranger, STR("x"), &err), &err);
    }
    assert_ok(disk_mkdir(fixture->disk, "blobs/lost+found", &err), &err);

    assert_ok(blobs_list(blobs, note, &listed, &err), &err);
    assert_int_equal(listed.others, 0);
    for (uint64_t n = 0; n < BODIES; n++)
        assert_int_equal(listed.seen[n], 1);
    assert_code(blobs_list(blobs, refuse, NULL, &err), ERR_ABORTED, &err);

    listed.remove = true;
    assert_ok(blobs_list(blobs, note, &listed, &err), &err);
    assert_ok(blobs_list(blobs, note, &listed, &err), &err);
    for (uint64_t n = 0; n < BODIES; n++) {
        assert_int_equal(listed.seen[n], 2);
        BlobReader *reader = NULL;
        assert_code(blob_reader_open(blobs, body_id(n), (uint32_t)(n % 3), &reader, &err),
                    ERR_NOT_FOUND, &err);
    }
    assert_ok(blob_remove(blobs, body_id(0), 0, &err), &err); /* gone already */
    blob_make(blobs, body_id(0), 0);                          /* and made again */
}

/* Each disk call of opening, listing and removing fails once. */
static ErrCode open_and_list(Fixture *fixture, Err *err)
{
    Blobs *opened = NULL;
    BlobsOptions options = {.root = fixture->root};
    TRY(blobs_open(fixture->disk, &options, &opened, err));
    AUTO(Blobs, blobs_free) blobs = opened;
    Listed listed = {.blobs = blobs};
    TRY(blobs_list(blobs, note, &listed, err));
    assert_int_equal(listed.seen[0], 1);
    return blob_remove(blobs, body_id(1), 1, err);
}

static void test_nth_call_fails(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    blob_make(blobs, body_id(0), 0);
    blob_make(blobs, body_id(1), 1);
    assert_ok(disk_create_durable(fixture->disk, "staging/x.tmp", STR("x"), &err), &err);
    ErrCode code = ERR_IO;
    uint64_t n = 0;
    while (code != OK) {
        fault_reset();
        fault_arm_any("disk.", EIO, ++n, false);
        code = open_and_list(fixture, &err);
        if (code != OK) assert_code(code, ERR_IO, &err);
    }
    fault_reset();
    assert_true(n > 10);
    assert_false(exists(fixture, "staging/x.tmp"));
}

/* Pins are counted, by body and number. */
static void test_pins(void **state)
{
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    Extent extents[] = {{.body = body_id(1), .number = 0}, {.body = body_id(1), .number = 1}};
    blobs_pin(blobs, extents, 2);
    blobs_pin(blobs, extents, 1);
    assert_true(blob_pinned(blobs, body_id(1), 0));
    assert_true(blob_pinned(blobs, body_id(1), 1));
    assert_false(blob_pinned(blobs, body_id(1), 2));
    assert_false(blob_pinned(blobs, body_id(2), 0));
    blobs_unpin(blobs, extents, 2);
    assert_true(blob_pinned(blobs, body_id(1), 0));
    assert_false(blob_pinned(blobs, body_id(1), 1));
    blobs_unpin(blobs, extents, 1);
    assert_false(blob_pinned(blobs, body_id(1), 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SIM(test_paths),
        ON_BOTH(test_directories),
        ON_BOTH(test_options),
        ON_BOTH(test_open_empties_staging),
        ON_BOTH(test_list_and_remove),
        ON_SIM(test_nth_call_fails),
        ON_SIM(test_pins),
    };
    return cmocka_run_group_tests_name("blobs", tests, NULL, NULL);
}
