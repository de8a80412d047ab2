/* Closed segments read again: damage is found where it is, and a segment that is cut meanwhile, or
 * bytes behind a segment's end, are none. */
#include "testing.h"
#include "wal_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"

#define PIECE 10000 /* bytes of one call */

static int setup(void **state)
{
    WalFixture *f = wal_fixture_new(0);
    Err err = {0};
    for (unsigned i = 0; i < 300; i++) { /* small ones too: frames begin anywhere in a block */
        size_t len = i % 3 == 0 ? 2500 : i * 7 % 300;
        assert_ok(kit_append(&f->kit, (ShardId)(i % 3), len, &err), &err);
        if (i % 11 == 2) assert_ok(kit_sync(&f->kit, &err), &err);
        if (i == 100) assert_ok(wal_rotate(f->kit.wal, &err), &err); /* ends before its size */
    }
    *state = f;
    return 0;
}

typedef struct {
    uint64_t segments;
    uint64_t bytes;
    uint64_t damaged;
    uint64_t offset; /* of the last of them */
    ErrCode code;
    char path[DISK_PATH_MAX];
} Seen;

static Seen verify_all(WalFixture *f)
{
    Seen seen = {.segments = 0};
    uint64_t from = 0;
    for (;;) {
        AUTO(WalVerify, wal_verify_free) verify = NULL;
        bool done = false;
        Err err = {0};
        assert_ok(wal_verify_open(f->kit.wal, from, &verify, &err), &err);
        if (verify == NULL) return seen;
        seen.segments++;
        while (!done) {
            uint64_t read = 0;
            ErrCode code = wal_verify_next(verify, PIECE, &read, &done, &err);
            seen.bytes += read;
            if (code == OK) continue;
            assert_true(done);
            seen.damaged++;
            seen.code = code;
            seen.offset = wal_verify_offset(verify);
            snprintf(seen.path, sizeof seen.path, "%s", wal_verify_path(verify));
        }
        from = wal_verify_segment(verify) + 1;
    }
}

static uint64_t closed_segments(WalFixture *f)
{
    WalStats stats;
    wal_stats(f->kit.wal, &stats);
    return stats.active_segment - stats.first_segment;
}

static void test_whole(void **state)
{
    WalFixture *f = *state;
    Err err = {0};
    assert_true(closed_segments(f) >= 4);
    Seen seen = verify_all(f);
    assert_int_equal(seen.segments, closed_segments(f));
    assert_int_equal(seen.damaged, 0);
    assert_true(seen.bytes > 2500 * 90);
    wal_free(TAKE(f->kit.wal)); /* what a restart finds is verified as well */
    assert_ok(kit_open(&f->kit, &err), &err);
    uint64_t before = seen.segments;
    seen = verify_all(f);
    assert_int_equal(seen.segments, closed_segments(f));
    assert_true(seen.segments > before);
    assert_int_equal(seen.damaged, 0);
}

/* Every flipped bit before the end is found, in its segment and not behind its byte. */
static void test_flipped(void **state)
{
    WalFixture *f = *state;
    Rng rng;
    rng_init(&rng, 3);
    for (unsigned i = 0; i < 300; i++) {
        Err err = {0};
        uint64_t byte = rng_below(&rng, 50000);
        char path[64];
        snprintf(path, sizeof path, "wal.segments/segment_1.wal");
        assert_ok(disk_sim_flip(f->disk, path, byte * 8 + i % 8, &err), &err);
        Seen seen = verify_all(f);
        if (seen.damaged != 1) fail_msg("byte %u: %u", (unsigned)byte, (unsigned)seen.damaged);
        assert_string_equal(seen.path, path);
        assert_true(seen.offset <= byte);
        assert_int_equal(seen.segments, closed_segments(f));
        assert_ok(disk_sim_flip(f->disk, path, byte * 8 + i % 8, &err), &err);
    }
    assert_int_equal(verify_all(f).damaged, 0);
}

/* The first byte from `from` on that fills a frame of a segment up to a multiple of 8; 0: none. */
static uint64_t next_padding(Str segment, uint64_t from)
{
    uint64_t at = SEGMENT_HEADER_LEN;
    while (at + FRAME_LEN <= segment.len) {
        const uint8_t *frame = (const uint8_t *)segment.ptr + at;
        if (get_u32(frame) != FRAME_MAGIC) { /* the zeros behind a batch */
            at = ALIGN_UP(at + 1, (uint64_t)WAL_BLOCK);
            continue;
        }
        size_t length = get_u32(frame + 8);
        uint64_t padding = MAX(from, at + FRAME_LEN + length);
        at += frame_total(length);
        if (padding < at) return padding;
    }
    return 0;
}

/* What fills a frame up is zeros for scrub as for a start, which refuses anything else: scrub tells
 * it before. */
static void test_padding(void **state)
{
    static const char path[] = "wal.segments/segment_1.wal";
    WalFixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    Err err = {0};
    assert_ok(disk_read_file(f->disk, path, SEGMENT_SIZE_MIN, &text, &len, &err), &err);
    uint64_t byte = 0;
    for (unsigned i = 0; i < 6; i++) {
        byte = next_padding(str_of(text, len), byte + 1);
        assert_true(byte > 0);
        assert_ok(disk_sim_flip(f->disk, path, byte * 8 + i, &err), &err);
        assert_int_equal(verify_all(f).damaged, 1);
        wal_free(TAKE(f->kit.wal));
        assert_code(kit_open(&f->kit, &err), ERR_CORRUPT, &err);
        assert_ok(disk_sim_flip(f->disk, path, byte * 8 + i, &err), &err);
        assert_ok(kit_open(&f->kit, &err), &err);
        assert_int_equal(verify_all(f).damaged, 0);
    }
}

/* The zeros that end a batch where no frame has room are looked at, too. Batches of one record, 8
 * bytes longer each time, end everywhere in the last bytes of a block. */
static void test_zeros_behind_a_batch(void **state)
{
    static const char path[] = "wal.segments/segment_%u.wal";
    WalFixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    unsigned found = 0;
    Err err = {0};
    assert_ok(wal_rotate(f->kit.wal, &err), &err);
    unsigned segment = (unsigned)closed_segments(f) + 1;
    for (size_t size = 0; size < 8 * FRAME_LEN; size += 8) {
        assert_ok(kit_append(&f->kit, 0, WAL_BLOCK - 7 * FRAME_LEN + size, &err), &err);
        assert_ok(kit_sync(&f->kit, &err), &err);
    }
    assert_ok(wal_rotate(f->kit.wal, &err), &err);
    char name[64];
    snprintf(name, sizeof name, path, segment);
    assert_ok(disk_read_file(f->disk, name, SEGMENT_SIZE_MIN, &text, &len, &err), &err);
    for (size_t end = WAL_BLOCK; end <= len; end += WAL_BLOCK) {
        size_t zeros = 0;
        while (zeros < WAL_BLOCK && text[end - 1 - zeros] == 0)
            zeros++;
        if (zeros < 8 || zeros >= FRAME_LEN) continue;
        found++;
        assert_ok(disk_sim_flip(f->disk, name, end * 8 - 1, &err), &err);
        if (verify_all(f).damaged != 1)
            fail_msg("%u zeros before %u", (unsigned)zeros, (unsigned)end);
        assert_ok(disk_sim_flip(f->disk, name, end * 8 - 1, &err), &err);
    }
    assert_true(found > 0);
    assert_int_equal(verify_all(f).damaged, 0);
}

/* Behind the place where the next segment says that it ended nothing is read. */
static void test_behind_the_end(void **state)
{
    WalFixture *f = *state;
    Err err = {0};
    unsigned unread = 0;
    for (uint64_t id = 1; id <= closed_segments(f); id++) {
        char path[64];
        snprintf(path, sizeof path, "wal.segments/segment_%u.wal", (unsigned)id);
        uint64_t bit = (SEGMENT_SIZE_MIN - 1) * 8;
        assert_ok(disk_sim_flip(f->disk, path, bit, &err), &err);
        unread += verify_all(f).damaged == 0;
        assert_ok(disk_sim_flip(f->disk, path, bit, &err), &err);
    }
    assert_true(unread > 0);
}

static void test_missing(void **state)
{
    WalFixture *f = *state;
    Err err = {0};
    assert_ok(disk_unlink(f->disk, "wal.segments/segment_2.wal", &err), &err);
    Seen seen = verify_all(f);
    assert_int_equal(seen.damaged, 1);
    assert_int_equal(seen.code, ERR_NOT_FOUND);
    assert_string_equal(seen.path, "wal.segments/segment_2.wal");
    assert_int_equal(seen.segments, closed_segments(f));
}

/* A segment that the disk doesn't give is told as such, and the others are verified. */
static void test_not_opened(void **state)
{
    static const int errnos[] = {EIO, EACCES};
    WalFixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
        fault_arm("disk.open", errnos[i], 2, false);
        Seen seen = verify_all(f);
        assert_int_equal(seen.damaged, 1);
        assert_int_equal(seen.code, ERR_IO);
        assert_int_equal(seen.offset, 0);
        assert_string_equal(seen.path, "wal.segments/segment_2.wal");
        assert_int_equal(seen.segments, closed_segments(f));
        fault_reset();
    }
}

/* Want of file numbers says nothing of the segment: asked again later. */
static void test_no_file_numbers(void **state)
{
    WalFixture *f = *state;
    AUTO(WalVerify, wal_verify_free) verify = NULL;
    Err err = {0};
    fault_arm("disk.open", EMFILE, 1, false);
    assert_code(wal_verify_open(f->kit.wal, 0, &verify, &err), ERR_SYSTEM, &err);
    assert_null(verify);
    fault_reset();
    assert_int_equal(verify_all(f).damaged, 0);
}

/* Cut while it is read, and even written again: nobody's damage. */
static void test_cut_meanwhile(void **state)
{
    WalFixture *f = *state;
    AUTO(WalVerify, wal_verify_free) verify = NULL;
    Err err = {0};
    bool done = false;
    uint64_t read = 0;
    assert_ok(wal_verify_open(f->kit.wal, 0, &verify, &err), &err);
    assert_ok(wal_verify_next(verify, 5000, &read, &done, &err), &err);
    assert_false(done);
    assert_ok(wal_cut(f->kit.wal, 4, &err), &err);
    while (!done)
        assert_ok(wal_verify_next(verify, 5000, &read, &done, &err), &err);
    Seen seen = verify_all(f);
    assert_int_equal(seen.segments, closed_segments(f));
    assert_int_equal(seen.damaged, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_flipped, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_padding, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_zeros_behind_a_batch, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_behind_the_end, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_missing, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_not_opened, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_file_numbers, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cut_meanwhile, setup, wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
