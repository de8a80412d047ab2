#include "blob_fixture.h"

#include "base/fault.h"
#include "base/rng.h"
#include "blob/blobs_priv.h"
#include <errno.h>
#include <string.h>

static BodyId body_id(uint64_t n)
{
    BodyId body;
    random_bytes(n + 500, body.bytes, sizeof body.bytes);
    return body;
}

/* Writes extent 0 of body n: len bytes of random_bytes(n), in pieces. */
static ErrCode blob_write(Blobs *blobs, uint64_t n, size_t len, size_t piece, Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(uint8_t, mem_free) data = mem_new(len + 1);
    Extent extent = {0};
    random_bytes(n, data, len);
    TRY(blob_writer_open(blobs, body_id(n), 0, &writer, err));
    for (size_t at = 0; at < len; at += piece)
        TRY(blob_writer_write(writer, data + at, MIN(piece, len - at), err));
    TRY(blob_writer_finish(writer, &(BlobInfo){.shard = 1}, &extent, err));
    Sha256 digest = sha256_of(data, len);
    assert_true(id128_eq(extent.body, body_id(n)));
    assert_int_equal(extent.number, 0);
    assert_int_equal(extent.size, len);
    assert_true(sha256_eq(&extent.digest, &digest));
    return OK;
}

/* Reads it back; ERR_ABORTED for wrong bytes. */
static ErrCode blob_check(Blobs *blobs, uint64_t n, size_t len, Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(uint8_t, mem_free) expected = mem_new(len + 1);
    AUTO(uint8_t, mem_free) got = mem_new(len + CHUNK_SIZE_MIN);
    size_t at = 0;
    random_bytes(n, expected, len);
    TRY(blob_reader_open(blobs, body_id(n), 0, &reader, err));
    const BlobFooter *footer = blob_reader_footer(reader);
    if (footer->plain_size != len) return err_set(err, ERR_ABORTED, "another size");
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        size_t part = 0;
        TRY(blob_reader_chunk(reader, i, got + at, &part, err));
        at += part;
    }
    if (at != len || memcmp(got, expected, len) != 0)
        return err_set(err, ERR_ABORTED, "other bytes");
    return OK;
}

static ErrCode count_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    size_t *count = ctx;
    UNUSED(name);
    UNUSED(is_dir);
    UNUSED(err);
    ++*count;
    return OK;
}

static size_t staged_count(Disk *disk)
{
    Err err = {0};
    size_t count = 0;
    assert_ok(disk_list(disk, "staging", count_name, &count, &err), &err);
    return count;
}

static void test_pieces(void **state)
{
    Fixture *fixture = *state;
    static const size_t pieces[] = {1000, 65535, 65536, 65537, 200000, 1000000};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        Err err = {0};
        assert_ok(blob_write(blobs, i, 300000 + i, pieces[i], &err), &err);
        assert_ok(blob_check(blobs, i, 300000 + i, &err), &err);
    }
    assert_int_equal(staged_count(fixture->disk), 0);
}

static void test_digest(void **state)
{
    Err err = {0};
    Extent extent;
    Sha256 digest;
    Sha256 expected = sha256_of("abcdef", 6);
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "abc", 3, &err), &err);
    assert_ok(blob_writer_write(writer, "", 0, &err), &err);
    assert_int_equal(blob_writer_size(writer), 3);
    assert_ok(blob_writer_write(writer, "def", 3, &err), &err);
    assert_int_equal(blob_writer_size(writer), 6);
    for (int i = 0; i < 2; i++) {
        blob_writer_digest(writer, &digest);
        assert_true(sha256_eq(&digest, &expected));
    }
    assert_ok(blob_writer_finish(writer, &(BlobInfo){0}, &extent, &err), &err);
    assert_true(sha256_eq(&extent.digest, &expected));
}

static void test_unfinished(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    BlobWriter *writer = NULL;
    BlobWriter *twin = NULL;
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "abc", 3, &err), &err);
    assert_code(blob_writer_open(blobs, body_id(1), 0, &twin, &err), ERR_EXISTS, &err);
    assert_null(twin);
    assert_int_equal(staged_count(fixture->disk), 1); /* the first one's, still */
    assert_code(blob_check(blobs, 1, 3, &err), ERR_NOT_FOUND, &err);
    blob_writer_free(writer);
    assert_int_equal(staged_count(fixture->disk), 0);
    assert_code(blob_check(blobs, 1, 3, &err), ERR_NOT_FOUND, &err);
    blob_writer_free(NULL);
}

static void test_extent_limit(void **state)
{
    Err err = {0};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    Extent extent;
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    assert_code(blob_writer_write(writer, "", EXTENT_SIZE_MAX + 1, &err), ERR_TOO_BIG, &err);
    assert_ok(blob_writer_write(writer, "abc", 3, &err), &err);
    assert_code(blob_writer_write(writer, "", EXTENT_SIZE_MAX - 2, &err), ERR_TOO_BIG, &err);
    assert_ok(blob_writer_finish(writer, &(BlobInfo){0}, &extent, &err), &err);
    assert_int_equal(extent.size, 3);
}

/* Each call in turn fails once, in each way. A write that was not finished leaves nothing but
 * what the next start empties; the next try succeeds unless the root has failed. */
static void test_nth_call_fails(void **state)
{
    static const struct {
        const char *prefix;
        int error;
    } rows[] = {{"disk.", EIO},
                {"disk.", ENOSPC},
                {"disk.", EMFILE},
                {"mem.", ENOMEM},
                {"blob.finish", EIO}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t failures = 0;
        size_t fatal = 0;
        uint64_t n = 1;
        for (bool failed = true; failed; n++) {
            Err err = {0};
            fault_reset();
            AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
            assert_ok(blob_write(blobs, 1000, 10, 10, &err), &err);
            fault_arm_any(rows[i].prefix, rows[i].error, n, false);
            ErrCode code = blob_write(blobs, n, 200000, 50000, &err);
            failed = code != OK;
            fault_reset();
            if (code == OK) {
                assert_ok(blob_check(blobs, n, 200000, &err), &err);
                continue;
            }
            failures++;
            if (rows[i].error == ENOSPC) assert_code(code, ERR_NO_SPACE, &err);
            ErrCode left = blob_check(blobs, n, 200000, &err);
            assert_true(left == OK || left == ERR_NOT_FOUND);
            ErrCode again = blob_write(blobs, n, 200000, 200000, &err);
            assert_code(again, code == ERR_ROOT_FAILED ? ERR_ROOT_FAILED : OK, &err);
            fatal += code == ERR_ROOT_FAILED;
            assert_ok(blob_check(blobs, 1000, 10, &err), &err);
        }
        assert_true(failures >= 1);
        assert_true((fatal > 0) == (rows[i].error == EIO));
        if (i == 0) assert_true(failures > 10);
    }
}

/* After an error the writer gives it again, whatever is asked of it. */
static void test_failed_writer(void **state)
{
    static uint8_t data[CHUNK_SIZE_MIN];
    Err err = {0};
    Extent extent;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    fault_arm("disk.write", ENOSPC, 1, false);
    assert_code(blob_writer_write(writer, data, sizeof data, &err), ERR_NO_SPACE, &err);
    assert_code(blob_writer_write(writer, data, 1, &err), ERR_NO_SPACE, &err);
    assert_code(blob_writer_finish(writer, &(BlobInfo){0}, &extent, &err), ERR_NO_SPACE, &err);
    assert_ok(blob_write(blobs, 2, 10, 10, &err), &err);
}

/* One failed sync ends the root: also for who was in the middle of an upload. */
static void test_failed_root(void **state)
{
    Err err = {0};
    Extent extent;
    Fixture *fixture = *state;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    BlobWriter *none = NULL;
    assert_ok(blob_write(blobs, 3, 10, 10, &err), &err);
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    fault_arm("disk.sync", EIO, 1, false);
    assert_code(blob_write(blobs, 2, 10, 10, &err), ERR_ROOT_FAILED, &err);
    assert_code(blob_writer_finish(writer, &(BlobInfo){0}, &extent, &err), ERR_ROOT_FAILED, &err);
    assert_code(blob_writer_open(blobs, body_id(4), 0, &none, &err), ERR_ROOT_FAILED, &err);
    assert_ok(blob_check(blobs, 3, 10, &err), &err); /* reading goes on */
    assert_code(blob_check(blobs, 1, 0, &err), ERR_NOT_FOUND, &err);
}

/* A file where the directory of a body should be, or a directory that can't be looked at any more,
 * is the disk's trouble: no answer may say that the client's file is already there. */
static void test_place_is_taken(void **state)
{
    Err err = {0};
    char path[BLOB_PATH_MAX];
    Fixture *fixture = *state;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    blob_path(body_id(1), 0, path);
    *strrchr(path, '/') = '\0';
    AUTO(char, mem_free) leaf = mem_dup_cstr(path);
    *strrchr(path, '/') = '\0';
    assert_ok(disk_mkdir_durable(fixture->disk, path, &err), &err);
    assert_ok(disk_create_durable(fixture->disk, leaf, STR("x"), &err), &err);
    assert_code(blob_write(blobs, 1, 10, 10, &err), ERR_ROOT_FAILED, &err);
}

/* ---- crashes ---- */

#define CRASH_BLOBS 3
static const size_t crash_sizes[CRASH_BLOBS] = {1500, 0, 66000};

/* *run: how many were finished. One more stays unfinished. */
static void crash_work(Fixture *fixture, Disk *disk, void *run)
{
    Err err = {0};
    Blobs *opened = NULL;
    BlobsOptions options = {.root = fixture->root, .chunk_size = CHUNK_SIZE_MIN};
    size_t *finished = run;
    *finished = 0;
    if (blobs_open(disk, &options, &opened, &err) != OK) return;
    AUTO(Blobs, blobs_free) blobs = opened;
    for (size_t i = 0; i < CRASH_BLOBS; i++) {
        if (blob_write(blobs, i, crash_sizes[i], 40000, &err) != OK) return;
        *finished = i + 1;
    }
}

static size_t crash_violations(Fixture *fixture, Disk *disk, const void *run)
{
    const size_t *finished = run;
    size_t bad = 0;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, disk);
    bad += staged_count(disk);
    for (size_t i = 0; i < CRASH_BLOBS; i++) {
        Err err = {0};
        ErrCode code = blob_check(blobs, i, crash_sizes[i], &err);
        if (code == OK || (code == ERR_NOT_FOUND && i >= *finished)) continue;
        bad++;
    }
    return bad;
}

static void test_crash_states(void **state)
{
    size_t finished = 0;
    CrashWork crash = {
        .seed = 6, .ways = 8, .run = &finished, .work = crash_work, .violations = crash_violations};
    size_t images = 0;
    assert_int_equal(crash_everywhere(*state, &crash, &images), 0);
    assert_true(images > 200);
}

static void test_planted_bugs_are_seen(void **state)
{
    static const char *const bugs[] = {"skip-blob-sync", "skip-blob-dir-sync"};
    size_t finished = 0;
    CrashWork crash = {
        .seed = 6, .ways = 8, .run = &finished, .work = crash_work, .violations = crash_violations};
    crash_shows_bugs(*state, &crash, bugs, ARRAY_LEN(bugs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_pieces),        ON_BOTH(test_digest),
        ON_BOTH(test_unfinished),    ON_SIM(test_extent_limit),
        ON_SIM(test_nth_call_fails), ON_BOTH(test_failed_writer),
        ON_BOTH(test_failed_root),   ON_BOTH(test_place_is_taken),
        ON_SIM(test_crash_states),   ON_SIM(test_planted_bugs_are_seen),
    };
    return cmocka_run_group_tests_name("blob_writer", tests, NULL, NULL);
}
