#include "blob_fixture.h"

#include "base/rng.h"
#include "blob/packs_priv.h"
#include <inttypes.h>
#include <string.h>

#define SEEN_MAX 64
typedef struct {
    Packs *packs;
    uint64_t seen[SEEN_MAX]; /* lsn */
    size_t count;
    uint64_t stop_at; /* fail at this one */
} Seen;

/* Each is what was written, and its place leads to it. */
static ErrCode note(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    Seen *seen = ctx;
    uint64_t n = record->entry.lsn;
    if (n == seen->stop_at) return err_set(err, ERR_ABORTED, "stop");
    assert_true(test_record_is(record, n, record->entry.size));
    assert_ok(read_number(seen->packs, place, n, record->entry.size, err), err);
    assert_in_range(seen->count, 0, SEEN_MAX - 1);
    seen->seen[seen->count++] = n;
    return OK;
}

static ErrCode scan(Packs *packs, uint64_t number, Seen *seen, uint64_t *torn_at, Err *err)
{
    *seen = (Seen){.packs = packs};
    *torn_at = 0;
    return packs_scan(packs, number, note, seen, torn_at, err);
}

static void assert_seen(const Seen *seen, uint64_t first, uint64_t last)
{
    assert_int_equal(seen->count, last + 1 - first);
    for (uint64_t n = first; n <= last; n++)
        assert_int_equal(seen->seen[n - first], n);
}

/* Records first..last with bodies of len bytes. */
static void append_batch(Packs *packs, uint64_t first, uint64_t last, size_t len, bool sync)
{
    Err err = {0};
    for (uint64_t n = first; n <= last; n++) {
        PackPlace place;
        assert_ok(append_number(packs, n, len, &place, &err), &err);
    }
    if (sync) assert_ok(packs_sync(packs, &err), &err);
}

static void test_all_in_order(void **state)
{
    Err err = {0};
    Seen seen;
    uint64_t torn_at = 0;
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, MIB);
    append_batch(packs, 1, 3, 100, true);
    append_batch(packs, 4, 4, 0, true);
    append_batch(packs, 5, 12, RECORD_BODY_MAX, true); /* more than a window */
    append_batch(packs, 13, 13, 5, false);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    assert_seen(&seen, 1, 12);
    assert_int_equal(torn_at, 0);

    append_batch(packs, 14, 30, RECORD_BODY_MAX, true);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    uint64_t last = seen.seen[seen.count - 1];
    assert_seen(&seen, 1, last);
    assert_ok(scan(packs, 2, &seen, &torn_at, &err), &err);
    assert_seen(&seen, last + 1, 30);
    assert_int_equal(torn_at, 0);

    packs_free(packs);
    packs = fixture_packs(*state, NULL, MIB);
    assert_ok(scan(packs, 2, &seen, &torn_at, &err), &err);
    assert_seen(&seen, last + 1, 30);
    assert_int_equal(torn_at, 0);
    assert_code(scan(packs, 3, &seen, &torn_at, &err), ERR_NOT_FOUND, &err);
}

/* A batch that fills its last block to the byte is followed by no zeros. */
static void test_full_block(void **state)
{
    Err err = {0};
    Seen seen;
    PackPlace place;
    uint64_t torn_at = 0;
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    assert_ok(append_number(packs, 1, 3000, &place, &err), &err);
    size_t body = 3000 + PACK_BLOCK - PACK_MARK_LEN - place.length;
    assert_ok(packs_sync(packs, &err), &err);
    assert_ok(append_number(packs, 2, body, &place, &err), &err);
    assert_int_equal((place.offset + place.length) % PACK_BLOCK, 0);
    assert_ok(packs_sync(packs, &err), &err);
    append_batch(packs, 3, 3, 10, true);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    assert_seen(&seen, 1, 3);
    assert_int_equal(torn_at, 0);
}

static void test_callback_ends_it(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    uint64_t torn_at = 1;
    append_batch(packs, 1, 5, 100, true);
    Seen seen = {.packs = packs, .stop_at = 4};
    assert_code(packs_scan(packs, 1, note, &seen, &torn_at, &err), ERR_ABORTED, &err);
    assert_seen(&seen, 1, 3);
    assert_int_equal(torn_at, 1); /* untouched */
}

/* The end of the last batch is missing, byte by byte: what is whole is found, the rest is torn. */
static void test_torn_end(void **state)
{
    Err err = {0};
    Seen seen;
    Fixture *fixture = *state;
    uint64_t torn_at = 0;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    append_batch(packs, 1, 2, 100, true);
    append_batch(packs, 3, 5, 500, true);
    packs_free(packs);
    packs = NULL;
    AUTO(File, disk_close) file = NULL;
    uint64_t size = 0;
    assert_ok(disk_open(fixture->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_size(file, &size, &err), &err);
    size_t whole[6] = {0};
    while (--size >= 2 * PACK_BLOCK) {
        assert_ok(disk_truncate(file, size, &err), &err);
        AUTO(Packs, packs_free) fresh = fixture_packs(fixture, NULL, 0);
        assert_ok(scan(fresh, 1, &seen, &torn_at, &err), &err);
        assert_in_range(seen.count, 2, 5);
        assert_seen(&seen, 1, seen.count);
        assert_true((torn_at == 0) == (size == 2 * PACK_BLOCK));
        assert_true(torn_at <= size || size % PACK_BLOCK < PACK_MARK_LEN);
        whole[seen.count]++;
    }
    assert_true(whole[2] > 0 && whole[3] > 500 && whole[4] > 500 && whole[5] > 0);
}

/* The same in a batch that a later one, or the next pack, attests: damage. */
static void test_cut_short(void **state)
{
    Err err = {0};
    Seen seen;
    Fixture *fixture = *state;
    uint64_t torn_at = 0;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 16 * KIB);
    append_batch(packs, 1, 2, 100, true);
    append_batch(packs, 3, 5, 500, true);
    append_batch(packs, 6, 7, 10000, true); /* the second goes to the next pack */
    packs_free(packs);
    packs = fixture_packs(fixture, NULL, 0);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    uint64_t last = seen.seen[seen.count - 1];
    assert_in_range(last, 5, 6);
    AUTO(File, disk_close) file = NULL;
    uint64_t size = 0;
    assert_ok(disk_open(fixture->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_size(file, &size, &err), &err);
    for (size = ALIGN_UP(size - PACK_BLOCK, (uint64_t)PACK_BLOCK); size > PACK_HEADER_LEN;
         size -= 512) {
        assert_ok(disk_truncate(file, size, &err), &err);
        assert_code(scan(packs, 1, &seen, &torn_at, &err), ERR_CORRUPT, &err);
        assert_seen(&seen, 1, seen.count);
    }
    /* With the next pack gone nothing says so any more. */
    packs_free(packs);
    packs = fixture_packs(fixture, NULL, 0);
    append_batch(packs, 90, 90, 1, true);
    assert_ok(packs_remove(packs, 2, &err), &err);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    assert_in_range(torn_at, PACK_HEADER_LEN, PACK_HEADER_LEN + 512);
}

/* One bit of each byte of three batches. Whatever a later mark attests is ERR_CORRUPT; in the last
 * batch, which nothing attests, it is its torn end. Never a wrong record. */
static void test_flipped_bits(void **state)
{
    Err err = {0};
    Seen seen;
    Fixture *fixture = *state;
    Rng rng;
    rng_init(&rng, 2);
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    append_batch(packs, 1, 3, 300, true);
    append_batch(packs, 4, 5, 50, true);
    append_batch(packs, 6, 8, 700, true);
    uint64_t last_batch = 3 * PACK_BLOCK;
    size_t torn_count = 0;
    for (uint64_t byte = 0; byte < 4 * PACK_BLOCK; byte++) {
        uint64_t bit = byte * 8 + rng_below(&rng, 8);
        uint64_t torn_at = 0;
        packs_free(packs);
        packs = fixture_packs(fixture, NULL, 0);
        assert_ok(disk_sim_flip(fixture->disk, "packs/1.pack", bit, &err), &err);
        ErrCode code = scan(packs, 1, &seen, &torn_at, &err);
        if (code == OK && torn_at == 0) {
            /* Between records: the zeros that pad one to 8 bytes prove nothing and are not read. */
            assert_seen(&seen, 1, 8);
        } else if (code == OK) {
            assert_true(byte >= last_batch);
            assert_true(torn_at >= 2 * PACK_BLOCK && torn_at <= byte);
            torn_count++;
        } else {
            assert_code(code, ERR_CORRUPT, &err);
            assert_true(byte < last_batch);
        }
        assert_seen(&seen, 1, seen.count);
        assert_ok(disk_sim_flip(fixture->disk, "packs/1.pack", bit, &err), &err);
    }
    assert_true(torn_count > 2100);
}

/* While it is the pack being written, its own process knows what was synced. */
static void test_active_is_attested(void **state)
{
    Err err = {0};
    Seen seen;
    Fixture *fixture = *state;
    uint64_t torn_at = 0;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    append_batch(packs, 1, 3, 300, true);
    uint64_t bit = 8 * (PACK_HEADER_LEN + PACK_MARK_LEN + 600);
    assert_ok(disk_sim_flip(fixture->disk, "packs/1.pack", bit, &err), &err);
    assert_code(scan(packs, 1, &seen, &torn_at, &err), ERR_CORRUPT, &err);
    assert_seen(&seen, 1, 1);
    packs_free(packs);
    packs = fixture_packs(fixture, NULL, 0);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    assert_true(torn_at > PACK_HEADER_LEN);
}

/* A mark proves nothing where it was not written: of another root, another pack, another place. */
static void test_stale_marks(void **state)
{
    static const PackMark stale[] = {
        {.root = {{9}}, .pack = 1, .offset = 3 * PACK_BLOCK, .synced = {1, 2 * PACK_BLOCK + 64}},
        {.pack = 2, .offset = 3 * PACK_BLOCK, .synced = {2, 2 * PACK_BLOCK + 64}},
        {.pack = 1, .offset = 4 * PACK_BLOCK, .synced = {1, 2 * PACK_BLOCK + 64}},
        {.pack = 1, .offset = 3 * PACK_BLOCK, .synced = {1, 2 * PACK_BLOCK + 64}}, /* a true one */
    };
    Err err = {0};
    Seen seen;
    Fixture *fixture = *state;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    AUTO(File, disk_close) file = NULL;
    append_batch(packs, 1, 2, 100, true);
    packs_free(packs);
    packs = fixture_packs(fixture, NULL, 0);
    assert_ok(disk_open(fixture->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(stale); i++) {
        uint8_t data[PACK_MARK_LEN];
        uint64_t torn_at = 0;
        PackMark mark = stale[i];
        if (mark.root.bytes[0] == 0) mark.root = fixture->root;
        pack_mark_encode(&mark, data);
        assert_ok(disk_write(file, 3 * PACK_BLOCK, data, sizeof data, &err), &err);
        ErrCode code = scan(packs, 1, &seen, &torn_at, &err);
        assert_code(code, i == 3 ? ERR_CORRUPT : OK, &err);
        assert_seen(&seen, 1, 2);
        assert_true((torn_at != 0) == (code == OK));
    }
}

/* What the pack after it cannot tell, it does not tell. */
static void test_next_pack_is_silent(void **state)
{
    Err err = {0};
    Seen seen;
    Fixture *fixture = *state;
    uint64_t torn_at = 0;
    for (int process = 0; process < 2; process++) { /* each its own pack */
        AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
        append_batch(packs, 1, 2, 100, true);
    }
    AUTO(File, disk_close) file = NULL;
    assert_ok(disk_open(fixture->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_truncate(file, PACK_HEADER_LEN + 400, &err), &err);
    for (int round = 0; round < 2; round++) {
        AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
        assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
        assert_seen(&seen, 1, 1);
        assert_true(torn_at > PACK_HEADER_LEN);
        if (round == 0)
            assert_ok(disk_sim_flip(fixture->disk, "packs/2.pack", 8 * 20, &err), &err);
        else
            assert_code(scan(packs, 2, &seen, &torn_at, &err), ERR_CORRUPT, &err);
    }
}

/* A record that is all zeros looks like the zeros behind a batch: the mark that follows says where
 * the batch really ended. */
static void test_zeros_prove_nothing(void **state)
{
    static const uint8_t zeros[PACK_BLOCK];
    Err err = {0};
    Seen seen;
    PackPlace place;
    uint64_t torn_at = 0;
    Fixture *fixture = *state;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    AUTO(File, disk_close) file = NULL;
    append_batch(packs, 1, 2, 100, false);
    assert_ok(append_number(packs, 3, 100, &place, &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    append_batch(packs, 4, 5, 100, true);
    assert_ok(disk_open(fixture->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_write(file, place.offset, zeros, place.length, &err), &err);
    packs_free(packs);
    packs = fixture_packs(fixture, NULL, 0);
    assert_code(scan(packs, 1, &seen, &torn_at, &err), ERR_CORRUPT, &err);
    assert_seen(&seen, 1, 2);
}

static uint64_t cut(Fixture *fixture, uint64_t known_end)
{
    Err err = {0};
    uint64_t bytes = 0;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    assert_ok(packs_cut_torn(packs, known_end, &bytes, &err), &err);
    return bytes;
}

/* Two batches, of records 1 and 2 and of 3 to 5, of which 3 is bad: if the index knows of none of
 * them they go, 4 and 5 as well; if it does it is damage and stays. */
static void test_cut_torn(void **state)
{
    Err err = {0};
    Seen seen;
    PackPlace place[6];
    uint64_t torn_at = 0;
    Fixture *fixture = *state;
    assert_int_equal(cut(fixture, 0), 0); /* no pack */
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    for (uint64_t n = 1; n <= 5; n++) {
        assert_ok(append_number(packs, n, 500, &place[n], &err), &err);
        if (n == 2 || n == 5) assert_ok(packs_sync(packs, &err), &err);
    }
    packs_free(TAKE(packs));
    uint64_t known = place[2].offset + place[2].length;
    uint64_t end = place[5].offset + place[5].length;
    assert_int_equal(cut(fixture, 0), 0); /* all is whole */
    assert_int_equal(cut(fixture, known), 0);
    assert_ok(disk_sim_flip(fixture->disk, "packs/1.pack", 8 * (place[3].offset + 100), &err),
              &err);
    assert_int_equal(cut(fixture, end), 0);
    assert_int_equal(cut(fixture, 1000000), 0); /* the pack is too short: damage as well */
    assert_int_equal(cut(fixture, known), ALIGN_UP(end, (uint64_t)PACK_BLOCK) - place[3].offset);
    assert_int_equal(disk_sim_pending(fixture->disk), 0); /* it was durable: */
    disk_sim_crash(fixture->disk);
    assert_int_equal(cut(fixture, known), 0);
    packs = fixture_packs(fixture, NULL, 0);
    append_batch(packs, 6, 6, 10, true);
    assert_ok(scan(packs, 1, &seen, &torn_at, &err), &err);
    assert_seen(&seen, 1, 2);
    assert_code(read_number(packs, &place[4], 4, 500, &err), ERR_CORRUPT, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_all_in_order),
        ON_BOTH(test_full_block),
        ON_SIM(test_callback_ends_it),
        ON_SIM(test_torn_end),
        ON_BOTH(test_cut_short),
        ON_SIM(test_flipped_bits),
        ON_SIM(test_active_is_attested),
        ON_SIM(test_stale_marks),
        ON_BOTH(test_zeros_prove_nothing),
        ON_SIM(test_next_pack_is_silent),
        ON_SIM(test_cut_torn),
    };
    return cmocka_run_group_tests_name("pack_scan", tests, NULL, NULL);
}
