#include "blob_fixture.h"

#include "base/crc.h"
#include "base/fault.h"
#include "base/guard.h"
#include "base/rng.h"
#include "blob/blobs_priv.h"
#include "disk/posix.h"
#include "format/pack.h"
#include <errno.h>
#include <string.h>

static BodyId body_id(uint64_t n)
{
    BodyId body;
    random_bytes(n + 500, body.bytes, sizeof body.bytes);
    return body;
}

/* Extent 2 of body n with len bytes of random_bytes(n). */
static void blob_make(Blobs *blobs, uint64_t n, size_t len)
{
    Err err = {0};
    Extent extent;
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(uint8_t, mem_free) data = mem_new(len + 1);
    random_bytes(n, data, len);
    assert_ok(blob_writer_open(blobs, body_id(n), 2, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, data, len, &err), &err);
    assert_ok(blob_writer_finish(writer, &(BlobInfo){.shard = 3, .bucket = 4}, &extent, &err),
              &err);
}

/* Reads all; ERR_ABORTED for wrong bytes. */
static ErrCode blob_check(Blobs *blobs, uint64_t n, size_t len, Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(uint8_t, mem_free) expected = mem_new(len + 1);
    AUTO(uint8_t, mem_free) chunk = mem_new(CHUNK_SIZE_MIN);
    random_bytes(n, expected, len);
    TRY(blob_reader_open(blobs, body_id(n), 2, &reader, err));
    const BlobFooter *footer = blob_reader_footer(reader);
    if (footer->plain_size != len) return err_set(err, ERR_ABORTED, "another size");
    size_t at = 0;
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        size_t got = 0;
        TRY(blob_reader_chunk(reader, i, chunk, &got, err));
        if (got > len - at || memcmp(chunk, expected + at, got) != 0)
            return err_set(err, ERR_ABORTED, "other bytes");
        at += got;
    }
    return at == len ? OK : err_set(err, ERR_ABORTED, "%zu bytes", at);
}

static void test_sizes(void **state)
{
    Err err = {0};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    static const size_t lengths[] = {0, 1, 4096, 65535, 65536, 65537, 131072, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        blob_make(blobs, i, lengths[i]);
        assert_ok(blob_check(blobs, i, lengths[i], &err), &err);
    }
}

/* More chunks than rows fit the window, read back and forth. */
static void test_many_chunks(void **state)
{
    Err err = {0};
    enum { CHUNKS = 1200 };
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(uint64_t, mem_free) chunk = mem_new(CHUNK_SIZE_MIN);
    Extent extent;
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        chunk[0] = i;
        assert_ok(blob_writer_write(writer, chunk, CHUNK_SIZE_MIN, &err), &err);
    }
    assert_ok(blob_writer_finish(writer, &(BlobInfo){0}, &extent, &err), &err);
    assert_ok(blob_reader_open(blobs, body_id(1), 0, &reader, &err), &err);
    assert_int_equal(blob_reader_footer(reader)->chunk_count, CHUNKS);
    static const uint64_t order[] = {0, 511, 512, 1199, 1023, 1024, 5, 700, 1198, 0};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        size_t len = 0;
        assert_ok(blob_reader_chunk(reader, order[i], chunk, &len, &err), &err);
        assert_int_equal(len, CHUNK_SIZE_MIN);
        assert_int_equal(chunk[0], order[i]);
    }
    blob_reader_free(reader);
    reader = NULL;

    char path[BLOB_PATH_MAX];
    blob_path(body_id(1), 0, path);
    uint64_t table = CHUNKS * CHUNK_SIZE_MIN;
    Fixture *fixture = *state;
    for (uint64_t row = 0; row < CHUNKS; row += 399) {
        uint64_t bit = 8 * (table + row * BLOB_CHUNK_ROW_LEN + 8);
        assert_ok(disk_sim_flip(fixture->disk, path, bit, &err), &err);
        assert_code(blob_reader_open(blobs, body_id(1), 0, &reader, &err), ERR_CORRUPT, &err);
        assert_ok(disk_sim_flip(fixture->disk, path, bit, &err), &err);
    }
}

static void test_footer(void **state)
{
    Err err = {0};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO_BUF(attrs, ATTRS_MAX);
    Extent extent;
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("a/key"), &err), &err);
    BlobInfo info = {.shard = 9, .bucket = 1234, .time_ms = 5678, .attrs = buf_str(&attrs)};
    assert_ok(blob_writer_open(blobs, body_id(7), 3, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "abc", 3, &err), &err);
    assert_ok(blob_writer_finish(writer, &info, &extent, &err), &err);
    assert_ok(blob_reader_open(blobs, body_id(7), 3, &reader, &err), &err);
    const BlobFooter *footer = blob_reader_footer(reader);
    Str key;
    Sha256 digest = sha256_of("abc", 3);
    assert_true(id128_eq(footer->body, body_id(7)));
    assert_int_equal(footer->extent, 3);
    assert_int_equal(footer->shard, 9);
    assert_int_equal(footer->bucket, 1234);
    assert_int_equal(footer->time_ms, 5678);
    assert_int_equal(footer->plain_size, 3);
    assert_int_equal(footer->chunk_count, 1);
    assert_true(sha256_eq(&footer->digest, &digest));
    assert_true(attr_get(footer->attrs, ATTR_KEY, &key));
    assert_str(key, "a/key");
    Fixture *fixture = *state;
    assert_true((blob_reader_fd(reader) >= 0) == (fixture->dir != NULL));
}

static void test_not_the_one(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    char from[BLOB_PATH_MAX];
    char to[BLOB_PATH_MAX];
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    BlobReader *reader = NULL;
    blob_make(blobs, 1, 100);
    assert_code(blob_reader_open(blobs, body_id(1), 3, &reader, &err), ERR_NOT_FOUND, &err);
    assert_code(blob_reader_open(blobs, body_id(2), 2, &reader, &err), ERR_NOT_FOUND, &err);
    /* Under another's name. */
    blob_path(body_id(1), 2, from);
    blob_path(body_id(1), 3, to);
    assert_ok(disk_rename(fixture->disk, from, to, &err), &err);
    assert_code(blob_reader_open(blobs, body_id(1), 3, &reader, &err), ERR_CORRUPT, &err);
    blob_make(blobs, 2, 100);
    blob_path(body_id(2), 2, to);
    blob_path(body_id(1), 3, from);
    assert_ok(disk_rename(fixture->disk, from, to, &err), &err);
    assert_code(blob_reader_open(blobs, body_id(2), 2, &reader, &err), ERR_CORRUPT, &err);
    assert_null(reader);
}

/* Cut off anywhere, or with bytes behind. */
static void test_wrong_length(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    char path[BLOB_PATH_MAX];
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    AUTO(File, disk_close) file = NULL;
    uint64_t size = 0;
    blob_make(blobs, 1, 70000);
    blob_path(body_id(1), 2, path);
    assert_ok(disk_open(fixture->disk, path, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_size(file, &size, &err), &err);
    assert_ok(disk_truncate(file, size + 1, &err), &err);
    assert_code(blob_check(blobs, 1, 70000, &err), ERR_CORRUPT, &err);
    for (uint64_t cut = 0; size >= cut; cut = 2 * cut + 1) {
        assert_ok(disk_truncate(file, size - cut, &err), &err);
        assert_code(blob_check(blobs, 1, 70000, &err), cut == 0 ? OK : ERR_CORRUPT, &err);
    }
    assert_ok(disk_truncate(file, 0, &err), &err);
    assert_code(blob_check(blobs, 1, 70000, &err), ERR_CORRUPT, &err);
}

/* A footer whose table leads elsewhere is seen when it is opened, not while a client reads. */
static void test_rows_of_another_form(void **state)
{
    static const struct {
        ChunkRow row;
        ErrCode code;
    } rows[] = {
        {{.stored_len = 100, .flags = CHUNK_FLAG_ZSTD}, ERR_FORMAT_VERSION},
        {{.stored_len = 99}, ERR_CORRUPT},
        {{.stored_len = 0}, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        Fixture *fixture = *state;
        char path[BLOB_PATH_MAX];
        uint8_t table[BLOB_CHUNK_ROW_LEN];
        uint8_t data[BLOB_FOOTER_LEN];
        AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
        AUTO(BlobReader, blob_reader_free) reader = NULL;
        AUTO(File, disk_close) file = NULL;
        blob_make(blobs, i, 100);
        assert_ok(blob_reader_open(blobs, body_id(i), 2, &reader, &err), &err);
        BlobFooter footer = *blob_reader_footer(reader);
        Enc enc = enc_of(table, sizeof table);
        chunk_row_encode(&rows[i].row, &enc);
        footer.table_crc = crc32c(table, sizeof table);
        blob_footer_encode(&footer, data);
        blob_path(body_id(i), 2, path);
        assert_ok(disk_open(fixture->disk, path, DISK_OPEN_WRITE, &file, &err), &err);
        assert_ok(disk_write(file, 100, table, sizeof table, &err), &err);
        assert_ok(disk_write(file, 100 + sizeof table, data, sizeof data, &err), &err);
        assert_code(blob_check(blobs, i, 100, &err), rows[i].code, &err);
    }
}

/* A footer with its CRC, of a file of another length or another form. */
static void test_footer_of_another_file(void **state)
{
    static const struct {
        uint64_t plain_size;
        uint64_t stored_size;
        ErrCode code;
    } rows[] = {{101, 101, ERR_CORRUPT}, {99, 99, ERR_CORRUPT}, {100, 99, ERR_FORMAT_VERSION}};
    Err err = {0};
    Fixture *fixture = *state;
    char path[BLOB_PATH_MAX];
    uint8_t data[BLOB_FOOTER_LEN];
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(File, disk_close) file = NULL;
    blob_make(blobs, 1, 100);
    assert_ok(blob_reader_open(blobs, body_id(1), 2, &reader, &err), &err);
    BlobFooter footer = *blob_reader_footer(reader);
    blob_path(body_id(1), 2, path);
    assert_ok(disk_open(fixture->disk, path, DISK_OPEN_WRITE, &file, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        footer.plain_size = rows[i].plain_size;
        footer.stored_size = rows[i].stored_size;
        blob_footer_encode(&footer, data);
        assert_ok(disk_write(file, 100 + BLOB_CHUNK_ROW_LEN, data, sizeof data, &err), &err);
        assert_code(blob_check(blobs, 1, 100, &err), rows[i].code, &err);
    }
}

/* Good chunks, a good table and a good footer, but bytes between them that belong to nobody. */
static void test_gap(void **state)
{
    enum { LEN = 100, GAP = 8 };
    Err err = {0};
    Fixture *fixture = *state;
    char path[BLOB_PATH_MAX];
    uint8_t tail[BLOB_CHUNK_ROW_LEN + BLOB_FOOTER_LEN];
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    AUTO(File, disk_close) file = NULL;
    blob_make(blobs, 1, LEN);
    blob_path(body_id(1), 2, path);
    assert_ok(disk_open(fixture->disk, path, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, LEN, tail, sizeof tail, &err), &err);
    assert_ok(disk_write(file, LEN + GAP, tail, sizeof tail, &err), &err);
    assert_code(blob_check(blobs, 1, LEN, &err), ERR_CORRUPT, &err);
}

/* Each disk call of a reader fails once; the next reader is none the worse. */
static void test_nth_call_fails(void **state)
{
    static const struct {
        const char *prefix;
        int error;
        ErrCode code;
    } rows[] = {{"disk.", EIO, ERR_IO}, {"disk.", EMFILE, ERR_SYSTEM}};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    blob_make(blobs, 1, 100000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ErrCode code = ERR_IO;
        uint64_t n = 0;
        while (code != OK) {
            Err err = {0};
            fault_reset();
            fault_arm_any(rows[i].prefix, rows[i].error, ++n, false);
            code = blob_check(blobs, 1, 100000, &err);
            if (code != OK) assert_code(code, rows[i].code, &err);
        }
        fault_reset();
        assert_int_equal(n, 6); /* open, size, tail, two chunks, and none */
    }
}

/* One bit of each byte of chunks, table and footer. */
static void test_flipped_bits(void **state)
{
    Err err = {0};
    enum { LEN = 65536 + 300 };
    Fixture *fixture = *state;
    char path[BLOB_PATH_MAX];
    Rng rng;
    rng_init(&rng, 4);
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    blob_make(blobs, 1, LEN);
    blob_path(body_id(1), 2, path);
    uint64_t size = LEN + 2 * BLOB_CHUNK_ROW_LEN + BLOB_FOOTER_LEN;
    for (uint64_t byte = 0; byte < size; byte += byte < LEN - 300 ? 509 : 1) {
        uint64_t bit = byte * 8 + rng_below(&rng, 8);
        assert_ok(disk_sim_flip(fixture->disk, path, bit, &err), &err);
        assert_code(blob_check(blobs, 1, LEN, &err), ERR_CORRUPT, &err);
        assert_ok(disk_sim_flip(fixture->disk, path, bit, &err), &err);
    }
    assert_ok(blob_check(blobs, 1, LEN, &err), &err);
}

/* Verifies all of extent 2 of body n window by window; *windows of them are good, and *good bytes
 * of the last that was looked at. */
static ErrCode windows_check(Blobs *blobs, uint64_t n, size_t *windows, size_t *good, Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    TRY(blob_reader_open(blobs, body_id(n), 2, &reader, err));
    const BlobFooter *footer = blob_reader_footer(reader);
    *windows = 0;
    for (uint64_t at = 0; at < footer->plain_size; (*windows)++) {
        BlobWindow window = {0};
        TRY(blob_window_open(reader, at / footer->chunk_size, &window, err));
        assert_int_equal(window.offset, at);
        at += window.len;
        ErrCode code = blob_window_verify(reader, &window, good, err);
        blob_window_close(&window);
        if (code != OK) return code;
    }
    return OK;
}

static void test_windows(void **state)
{
    Err err = {0};
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(Blobs, blobs_free) blobs = NULL;
    BlobsOptions options = {.chunk_size = CHUNK_SIZE_MIN};
    size_t windows = 0;
    size_t good = 0;
    UNUSED(state);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_ok(blobs_open(disk, &options, &blobs, &err), &err);
    guard_install(); /* cmocka has taken the signal for this test */
    static const struct {
        size_t len, windows;
    } rows[] = {{1, 1},
                {CHUNK_SIZE_MIN, 1},
                {BLOB_WINDOW_MAX, 1},
                {BLOB_WINDOW_MAX + 1, 2},
                {3 * BLOB_WINDOW_MAX - 1, 3}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        blob_make(blobs, i, rows[i].len);
        assert_ok(windows_check(blobs, i, &windows, &good, &err), &err);
        assert_int_equal(windows, rows[i].windows);
    }
    /* The last file: a flipped bit in the second window, then a file cut short under the reader. */
    char path[BLOB_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    uint8_t byte = 0;
    blob_path(body_id(4), 2, path);
    assert_ok(disk_open(disk, path, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, BLOB_WINDOW_MAX + 70000, &byte, 1, &err), &err);
    byte ^= 4;
    assert_ok(disk_write(file, BLOB_WINDOW_MAX + 70000, &byte, 1, &err), &err);
    assert_code(windows_check(blobs, 4, &windows, &good, &err), ERR_CORRUPT, &err);
    assert_int_equal(windows, 1);
    assert_int_equal(good, CHUNK_SIZE_MIN); /* chunk 1 of the window is bad */
    byte ^= 4;
    assert_ok(disk_write(file, BLOB_WINDOW_MAX + 70000, &byte, 1, &err), &err);
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    BlobWindow window = {0};
    assert_ok(blob_reader_open(blobs, body_id(4), 2, &reader, &err), &err);
    assert_ok(blob_window_open(reader, 0, &window, &err), &err);
    assert_ok(blob_window_verify(reader, &window, &good, &err), &err);
    assert_ok(disk_truncate(file, BLOB_WINDOW_MAX / 2, &err), &err);
    assert_code(blob_window_verify(reader, &window, &good, &err), ERR_CORRUPT, &err);
    blob_window_close(&window);
}

/* The simulated disk has no descriptors, and some chunks are larger than a window. */
static void test_windows_refused(void **state)
{
    Err err = {0};
    size_t windows = 0;
    size_t good = 0;
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(*state, NULL);
    blob_make(blobs, 1, 100000);
    assert_code(windows_check(blobs, 1, &windows, &good, &err), ERR_BUSY, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_sizes),
        ON_SIM(test_many_chunks),
        ON_BOTH(test_footer),
        ON_BOTH(test_not_the_one),
        ON_SIM(test_footer_of_another_file),
        ON_SIM(test_gap),
        ON_SIM(test_nth_call_fails),
        ON_SIM(test_wrong_length),
        ON_BOTH(test_rows_of_another_form),
        ON_SIM(test_flipped_bits),
        cmocka_unit_test(test_windows),
        ON_SIM(test_windows_refused),
    };
    return cmocka_run_group_tests_name("blob_reader", tests, NULL, NULL);
}
