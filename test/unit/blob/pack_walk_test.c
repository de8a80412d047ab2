/* Walking a pack over its damage: every record that is whole is given, and nothing else. */
#include "blob_fixture.h"

#include "blob/pack_walk.h"
#include <string.h>

#define RECORDS 24
#define ALL ((1u << (RECORDS + 1)) - 2)

typedef struct {
    unsigned given; /* bit n: record number n */
    uint64_t damages;
    uint64_t torn;
    uint64_t at;
    bool covers; /* something bad or torn holds the byte `at` */
} Seen;

static size_t len_of(uint64_t n)
{
    return n % 5 == 4 ? 0 : (size_t)n * 211;
}

static ErrCode on_record(void *ctx, const PackRecord *record, const PackPlace *place, bool searched,
                         Err *err)
{
    Seen *seen = ctx;
    uint64_t n = record->entry.lsn;
    UNUSED(place);
    UNUSED(searched);
    UNUSED(err);
    assert_in_range(n, 1, RECORDS);
    assert_true(test_record_is(record, n, len_of(n)));
    assert_int_equal(seen->given & (1u << n), 0);
    seen->given |= 1u << n;
    return OK;
}

static ErrCode on_bad(void *ctx, const PackBad *bad, Err *err)
{
    Seen *seen = ctx;
    UNUSED(err);
    if (bad->kind == PACK_TORN)
        seen->torn++;
    else
        seen->damages++;
    if (seen->at >= bad->offset && seen->at < bad->offset + bad->length) seen->covers = true;
    return OK;
}

static Seen walk(Fixture *fixture, Disk *disk, uint64_t at)
{
    Err err = {0};
    PackWalked walked;
    Seen seen = {.at = at};
    PackWalkOptions options = {
        .root = fixture->root, .record = on_record, .bad = on_bad, .ctx = &seen};
    assert_ok(pack_walk(disk, 1, &options, &walked, &err), &err);
    assert_int_equal(walked.damages, seen.damages);
    return seen;
}

/* Four batches of six records; where each record stands, and where the file ends. */
static void make_pack(Fixture *fixture, PackPlace places[RECORDS + 1])
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, MIB);
    for (uint64_t n = 1; n <= RECORDS; n++) {
        assert_ok(append_number(packs, n, len_of(n), &places[n], &err), &err);
        if (n % 6 == 0) assert_ok(packs_sync(packs, &err), &err);
    }
}

static Disk *copy_of(Disk *disk)
{
    Err err = {0};
    Disk *copy = NULL;
    uint64_t keep = 0;
    assert_ok(disk_sim_crash_image(disk, &keep, 1, &copy, &err), &err);
    return copy;
}

static void test_whole(void **state)
{
    Fixture *fixture = *state;
    Err err = {0};
    PackPlace places[RECORDS + 1];
    make_pack(fixture, places);
    Seen seen = walk(fixture, fixture->disk, 0);
    assert_int_equal(seen.given, ALL);
    assert_int_equal(seen.damages + seen.torn, 0);
    AUTO_BUF(buf, MIB);
    PackRecord record;
    assert_ok(pack_walk_read(fixture->disk, &places[7], &buf, &record, &err), &err);
    assert_true(test_record_is(&record, 7, len_of(7)));
    places[7].offset += 8;
    assert_code(pack_walk_read(fixture->disk, &places[7], &buf, &record, &err), ERR_CORRUPT, &err);
    places[7].pack = 2;
    assert_code(pack_walk_read(fixture->disk, &places[7], &buf, &record, &err), ERR_NOT_FOUND,
                &err);
    uint64_t *numbers = NULL;
    size_t count = 0;
    assert_ok(pack_walk_list(fixture->disk, &numbers, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(numbers[0], 1);
    mem_free(numbers);
}

/* A bit anywhere costs at most the record that it is in, and is named. */
static void test_flips(void **state)
{
    Fixture *fixture = *state;
    Err err = {0};
    PackPlace places[RECORDS + 1];
    make_pack(fixture, places);
    uint64_t end = ALIGN_UP(places[RECORDS].offset + places[RECORDS].length, 4096ULL);
    for (uint64_t byte = 0; byte < end; byte += byte % 4096 < 96 ? 3 : 61) {
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        assert_ok(disk_sim_flip(disk, "packs/1.pack", byte * 8 + byte % 8, &err), &err);
        Seen seen = walk(fixture, disk, byte);
        unsigned hit = 0;
        for (uint64_t n = 1; n <= RECORDS; n++) {
            if (byte >= places[n].offset && byte < places[n].offset + places[n].length)
                hit = 1u << n;
        }
        if ((seen.given | hit) != ALL)
            fail_msg("byte %ju: records %x of %x", (uintmax_t)byte, seen.given, ALL);
        if (seen.given != ALL && !seen.covers) fail_msg("byte %ju is not named", (uintmax_t)byte);
        /* Before the last batch something says that it was synced. */
        if (seen.given != ALL && hit < 1u << (RECORDS - 5)) assert_true(seen.damages > 0);
        bool zeros = seen.given == ALL && hit != 0; /* behind the payload, up to 8 */
        bool reserved = byte % 4096 >= 60 && byte % 4096 < 64;
        if (!seen.covers && !zeros && !reserved && byte >= PACK_HEADER_LEN)
            fail_msg("byte %ju is not named", (uintmax_t)byte);
    }
}

/* Zeros over stretches, and ends cut off: what lies wholly elsewhere is given. */
static void test_stretches(void **state)
{
    static const uint8_t zeros[20000];
    Fixture *fixture = *state;
    Err err = {0};
    PackPlace places[RECORDS + 1];
    make_pack(fixture, places);
    uint64_t end = ALIGN_UP(places[RECORDS].offset + places[RECORDS].length, 4096ULL);
    for (uint64_t from = 4096; from + sizeof zeros < end; from += 1777) {
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        AUTO(File, disk_close) file = NULL;
        assert_ok(disk_open(disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
        assert_ok(disk_write(file, from, zeros, sizeof zeros, &err), &err);
        Seen seen = walk(fixture, disk, from + sizeof zeros / 2);
        unsigned left = 0;
        for (uint64_t n = 1; n <= RECORDS; n++) {
            if (places[n].offset >= from + sizeof zeros ||
                places[n].offset + places[n].length <= from)
                left |= 1u << n;
        }
        assert_int_equal(seen.given & left, left);
        assert_true(seen.covers);
        assert_ok(disk_truncate(file, from, &err), &err);
        seen = walk(fixture, disk, from);
        for (uint64_t n = 1; n <= RECORDS; n++) {
            if (places[n].offset + places[n].length <= from)
                assert_true((seen.given & (1u << n)) != 0);
        }
        assert_true(seen.given != ALL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SIM(test_whole),
        ON_SIM(test_flips),
        ON_SIM(test_stretches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
