#include "blob_fixture.h"

#include "base/fault.h"
#include "base/rng.h"
#include "blob/packs_priv.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void test_append_sync_read(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    static const size_t lengths[] = {0, 1, 7, 8, 511, 4096, 65535, 65536};
    PackPlace places[ARRAY_LEN(lengths)];
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_ok(append_number(packs, i + 1, lengths[i], &places[i], &err), &err);
        if (i % 3 == 0) assert_ok(packs_sync(packs, &err), &err);
    }
    assert_ok(packs_sync(packs, &err), &err);
    assert_ok(packs_sync(packs, &err), &err); /* without a batch */
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        assert_ok(read_number(packs, &places[i], i + 1, lengths[i], &err), &err);

    /* Another process. */
    packs_free(packs);
    packs = fixture_packs(*state, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        assert_ok(read_number(packs, &places[i], i + 1, lengths[i], &err), &err);
    PackPlace next;
    assert_ok(append_number(packs, 9, 10, &next, &err), &err);
    assert_int_equal(next.pack, places[0].pack + 1);
}

static void test_batches_begin_at_blocks(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    for (uint64_t n = 1; n <= 3; n++) {
        PackPlace place;
        assert_ok(append_number(packs, n, 10, &place, &err), &err);
        assert_int_equal(place.offset, n * PACK_BLOCK + PACK_MARK_LEN);
        assert_ok(packs_sync(packs, &err), &err);
    }
}

/* More than the buffer takes, so that pieces are written before the sync. */
static void test_large_batch(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    enum { COUNT = 60 };
    PackPlace places[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(append_number(packs, i + 1, RECORD_BODY_MAX - i, &places[i], &err), &err);
    assert_in_range(packs->batch.len, 1, 2 * MIB);
    assert_true(packs->written > MIB);
    assert_ok(packs_sync(packs, &err), &err);
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(read_number(packs, &places[i], i + 1, RECORD_BODY_MAX - i, &err), &err);
}

static void test_too_big(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    AUTO(TestRecord, test_record_free) test = test_record(1, 10);
    AUTO(char, mem_free) body = mem_new(PACK_RECORD_MAX);
    PackPlace place;
    test->record.stored_body = str_of(body, PACK_PAYLOAD_MAX);
    assert_code(packs_append(packs, &test->record, &place, &err), ERR_TOO_BIG, &err);
    assert_ok(append_number(packs, 1, 10, &place, &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    assert_ok(read_number(packs, &place, 1, 10, &err), &err);
}

static void test_new_pack_at_size(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 60000);
    enum { COUNT = 20 };
    PackPlace places[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(append_number(packs, i + 1, 20000, &places[i], &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    assert_int_equal(places[0].pack, 1);
    assert_int_equal(places[COUNT - 1].pack, 10); /* two in each */
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(read_number(packs, &places[i], i + 1, 20000, &err), &err);

    /* A record that is larger than a pack gets one of its own. */
    assert_ok(append_number(packs, 99, RECORD_BODY_MAX, &places[0], &err), &err);
    assert_int_equal(places[0].pack, 11);
    assert_ok(packs_sync(packs, &err), &err);
    assert_ok(read_number(packs, &places[0], 99, RECORD_BODY_MAX, &err), &err);
}

static void test_list_and_remove(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 4096);
    PackPlace places[12];
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        assert_ok(append_number(packs, i + 1, 100, &places[i], &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    static const char *const strangers[] = {"packs/x", "packs/013.pack", "packs/0.pack",
                                            "packs/14.pack.tmp", "packs/.pack"};
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
        assert_ok(disk_create_durable(fixture->disk, strangers[i], STR("x"), &err), &err);

    assert_ok(read_number(packs, &places[3], 4, 100, &err), &err); /* so that it is open */
    assert_ok(packs_remove(packs, 4, &err), &err);
    assert_ok(packs_remove(packs, 4, &err), &err); /* gone already */
    assert_code(read_number(packs, &places[3], 4, 100, &err), ERR_NOT_FOUND, &err);
    assert_code(packs_remove(packs, 12, &err), ERR_BUSY, &err);
    assert_code(packs_remove(packs, 13, &err), ERR_BUSY, &err);

    uint64_t *numbers = NULL;
    size_t count = 0;
    assert_ok(packs_list(packs, &numbers, &count, &err), &err);
    static const uint64_t expected[] = {1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12};
    assert_int_equal(count, ARRAY_LEN(expected));
    assert_memory_equal(numbers, expected, sizeof expected);
    mem_free(numbers);

    /* Nor is the newest removed by the next process, whose own would get its number. */
    packs_free(packs);
    packs = fixture_packs(fixture, NULL, 4096);
    assert_code(packs_remove(packs, 12, &err), ERR_BUSY, &err);
    assert_ok(packs_remove(packs, 11, &err), &err);
}

static void test_bad_places(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    PackPlace place;
    assert_ok(append_number(packs, 1, 1000, &place, &err), &err);
    assert_ok(append_number(packs, 2, 1000, &place, &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    const PackPlace bad[] = {
        {0, place.offset, place.length},
        {place.pack, 0, place.length},
        {place.pack, place.offset + 8, place.length},
        {place.pack, place.offset, place.length - 8},
        {place.pack, place.offset, place.length + 8},
        {place.pack, place.offset, 0},
        {place.pack, place.offset, UINT32_MAX},
        {place.pack, place.offset + MIB, place.length},
        {place.pack, UINT64_MAX / 2, place.length},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_code(read_number(packs, &bad[i], 2, 1000, &err), ERR_CORRUPT, &err);
    place.pack = 2;
    assert_code(read_number(packs, &place, 2, 1000, &err), ERR_NOT_FOUND, &err);
}

/* The CRC is right, the body is another: only check_body sees it. */
static void test_body_digest(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    AUTO(TestRecord, test_record_free) test = test_record(1, 1000);
    AUTO_BUF(buf, MIB);
    PackRecord record;
    PackPlace place;
    test->body[500] ^= 1;
    assert_ok(packs_append(packs, &test->record, &place, &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    assert_code(packs_read(packs, &place, true, &buf, &record, &err), ERR_CORRUPT, &err);
    assert_ok(packs_read(packs, &place, false, &buf, &record, &err), &err);
}

/* One bit of each byte: a read gives the record as it was, or ERR_CORRUPT. */
static void test_flipped_bits(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    PackPlace places[3];
    for (size_t i = 0; i < 3; i++) {
        assert_ok(append_number(packs, i + 1, 100 * i, &places[i], &err), &err);
        assert_ok(packs_sync(packs, &err), &err);
    }
    Rng rng;
    rng_init(&rng, 1);
    size_t seen = 0;
    for (uint64_t byte = 0; byte < places[2].offset + places[2].length; byte++) {
        uint64_t bit = byte * 8 + rng_below(&rng, 8);
        assert_ok(disk_sim_flip(fixture->disk, "packs/1.pack", bit, &err), &err);
        AUTO(Packs, packs_free) fresh = fixture_packs(fixture, NULL, 0);
        for (size_t i = 0; i < 3; i++) {
            ErrCode code = read_number(fresh, &places[i], i + 1, 100 * i, &err);
            bool inside = byte >= places[i].offset && byte - places[i].offset < places[i].length;
            bool padding = inside && byte - places[i].offset + 8 > places[i].length;
            if (byte < PACK_HEADER_LEN || (inside && !padding)) {
                assert_code(code, ERR_CORRUPT, &err);
            } else if (!inside) {
                assert_ok(code, &err);
            } else {
                assert_true(code == OK || code == ERR_CORRUPT);
            }
            seen += code == ERR_CORRUPT;
        }
        assert_ok(disk_sim_flip(fixture->disk, "packs/1.pack", bit, &err), &err);
    }
    assert_true(seen > 3 * PACK_HEADER_LEN);
}

static void test_foreign(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 4096);
    PackPlace places[2];
    for (size_t i = 0; i < 2; i++)
        assert_ok(append_number(packs, i + 1, 10, &places[i], &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    packs_free(packs);

    fixture->root.bytes[0] ^= 1;
    packs = fixture_packs(fixture, NULL, 4096);
    assert_code(read_number(packs, &places[0], 1, 10, &err), ERR_FOREIGN, &err);
    fixture->root.bytes[0] ^= 1;
    packs_free(packs);

    /* A pack under another's name is neither. */
    assert_ok(disk_rename_durable(fixture->disk, "packs/1.pack", "packs/2.pack", &err), &err);
    packs = fixture_packs(fixture, NULL, 4096);
    assert_code(read_number(packs, &places[1], 2, 10, &err), ERR_CORRUPT, &err);
}

static ErrCode count_record(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    size_t *count = ctx;
    UNUSED(record);
    UNUSED(place);
    UNUSED(err);
    ++*count;
    return OK;
}

/* The disk is full at the nth write: the same call again goes on, and nothing is lost. */
static void test_no_space(void **state)
{
    enum { COUNT = 40 };
    uint64_t nth = 1;
    for (bool fired = true; fired; nth++) {
        Err err = {0};
        AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 1536 * KIB);
        PackPlace places[COUNT];
        fired = false;
        fault_arm("disk.write", ENOSPC, nth, false);
        for (size_t i = 0; i < COUNT; i++) {
            ErrCode code = append_number(packs, i + 1, RECORD_BODY_MAX, &places[i], &err);
            if (code == ERR_NO_SPACE) {
                fired = true;
                code = append_number(packs, i + 1, RECORD_BODY_MAX, &places[i], &err);
            }
            assert_ok(code, &err);
            if (i % 10 != 0) continue;
            code = packs_sync(packs, &err);
            if (code == ERR_NO_SPACE) {
                fired = true;
                continue; /* with the next one */
            }
            assert_ok(code, &err);
        }
        ErrCode code = packs_sync(packs, &err);
        fired = fired || code == ERR_NO_SPACE;
        if (code == ERR_NO_SPACE) code = packs_sync(packs, &err);
        assert_ok(code, &err);
        for (size_t i = 0; i < COUNT; i++)
            assert_ok(read_number(packs, &places[i], i + 1, RECORD_BODY_MAX, &err), &err);
        fault_reset();
        size_t seen = 0;
        for (uint64_t n = places[0].pack; n <= places[COUNT - 1].pack; n++) {
            uint64_t torn_at = 0;
            assert_ok(packs_scan(packs, n, count_record, &seen, &torn_at, &err), &err);
            assert_int_equal(torn_at, 0);
        }
        assert_int_equal(seen, COUNT);
    }
    assert_true(nth > 5);
}

/* Making a pack fails at each call, for want of room or descriptors: the same call again goes on,
 * also where the failed one has left the file. */
static void test_no_room_for_a_pack(void **state)
{
    static const int errnos[] = {ENOSPC, EMFILE};
    for (size_t e = 0; e < ARRAY_LEN(errnos); e++) {
        bool fired = true;
        for (uint64_t nth = 1; fired; nth++) {
            Err err = {0};
            AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 1536 * KIB);
            PackPlace place;
            fault_arm_any("disk.", errnos[e], nth, false);
            ErrCode code = append_number(packs, 1, 100, &place, &err);
            fault_reset();
            fired = code != OK;
            if (fired) code = append_number(packs, 1, 100, &place, &err);
            assert_ok(code, &err);
            assert_ok(packs_sync(packs, &err), &err);
            assert_ok(read_number(packs, &place, 1, 100, &err), &err);
            if (!fired) assert_true(nth > 6);
        }
    }
}

/* After a failed sync nothing more is taken, and what was synced can be read. */
static void test_failed_for_good(void **state)
{
    static const struct {
        const char *point;
        int error;
    } rows[] = {
        {"disk.sync", EIO}, {"disk.write", EIO}, {"disk.sync", ENOSPC}, {"packs.sync", EIO}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        PackPlace good;
        PackPlace place;
        AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
        assert_ok(append_number(packs, 1, 100, &good, &err), &err);
        assert_ok(packs_sync(packs, &err), &err);
        assert_ok(append_number(packs, 2, 100, &place, &err), &err);
        fault_arm(rows[i].point, rows[i].error, 1, false);
        assert_true(packs_sync(packs, &err) != OK);
        assert_code(packs_sync(packs, &err), ERR_ROOT_FAILED, &err);
        assert_code(append_number(packs, 3, 100, &place, &err), ERR_ROOT_FAILED, &err);
        assert_ok(read_number(packs, &good, 1, 100, &err), &err);
        fault_reset();
    }
}

/* Each disk call of opening, listing, reading and scanning fails once: an error that says so, and
 * the same call then succeeds. */
static ErrCode read_all(Fixture *fixture, const PackPlace *place, Err *err)
{
    Packs *opened = NULL;
    PacksOptions options = {.root = fixture->root, .clock = &fixture->clock.clock};
    TRY(packs_open(fixture->disk, &options, &opened, err));
    AUTO(Packs, packs_free) packs = opened;
    uint64_t *numbers = NULL;
    size_t count = 0;
    TRY(packs_list(packs, &numbers, &count, err));
    mem_free(numbers);
    assert_int_equal(count, 100);
    TRY(read_number(packs, place, 1, 100, err));
    for (uint64_t number = 1; number <= 2; number++) {
        uint64_t torn_at = 0;
        size_t seen = 0;
        TRY(packs_scan(packs, number, count_record, &seen, &torn_at, err));
        assert_int_equal(seen, 1);
        assert_int_equal(torn_at, 0);
    }
    return packs_remove(packs, 50, err);
}

static void test_nth_call_fails(void **state)
{
    static const struct {
        int error;
        ErrCode code;
    } rows[] = {{EIO, ERR_IO}, {EMFILE, ERR_SYSTEM}};
    Fixture *fixture = *state;
    Err err = {0};
    PackPlace places[100];
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 4096);
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        assert_ok(append_number(packs, i + 1, 100, &places[i], &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ErrCode code = ERR_IO;
        uint64_t n = 1;
        for (; code != OK; n++) {
            fault_reset();
            fault_arm_any("disk.", rows[i].error, n, false);
            code = read_all(fixture, &places[0], &err);
            if (code != OK) assert_code(code, rows[i].code, &err);
            if (code == OK && n < 10) fail_msg("only %d calls", (int)n);
            if (code == OK) break;
        }
        fault_reset();
        /* For the next row. */
        AUTO(Packs, packs_free) more = fixture_packs(fixture, NULL, 4096);
        PackPlace place;
        assert_ok(append_number(more, 50, 100, &place, &err), &err);
        assert_ok(packs_sync(more, &err), &err);
        assert_true(n > 10);
    }
}

static void test_without_body(void **state)
{
    static const struct {
        PackType type;
        Op op;
    } rows[] = {{PACK_META, OP_META}, {PACK_TOMBSTONE, OP_DELETE}, {PACK_META, OP_START}};
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    AUTO_BUF(buf, MIB);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        PackRecord record = {.type = rows[i].type,
                             .entry = {.op = rows[i].op, .term = 2, .lsn = 7 + i, .shard = 3}};
        PackRecord got;
        PackPlace place;
        assert_ok(packs_append(packs, &record, &place, &err), &err);
        assert_ok(packs_sync(packs, &err), &err);
        assert_ok(packs_read(packs, &place, true, &buf, &got, &err), &err);
        assert_int_equal(got.type, rows[i].type);
        assert_int_equal(got.entry.op, rows[i].op);
        assert_int_equal(got.entry.lsn, 7 + i);
        assert_int_equal(got.stored_body.len, 0);
    }
}

static void test_unknown_form(void **state)
{
    Err err = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 0);
    AUTO(TestRecord, test_record_free) test = test_record(1, 1000);
    AUTO_BUF(buf, MIB);
    PackRecord record;
    PackPlace place;
    test->record.chunk_flags = CHUNK_FLAG_ZSTD;
    assert_ok(packs_append(packs, &test->record, &place, &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    assert_code(packs_read(packs, &place, true, &buf, &record, &err), ERR_FORMAT_VERSION, &err);
    assert_ok(packs_read(packs, &place, false, &buf, &record, &err), &err);
    assert_int_equal(record.chunk_flags, CHUNK_FLAG_ZSTD);
}

static void test_short_header(void **state)
{
    Err err = {0};
    Fixture *fixture = *state;
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, NULL, 0);
    AUTO(File, disk_close) file = NULL;
    PackPlace place;
    assert_ok(append_number(packs, 1, 10, &place, &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    assert_ok(disk_open(fixture->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_truncate(file, PACK_HEADER_LEN - 1, &err), &err);
    assert_code(read_number(packs, &place, 1, 10, &err), ERR_CORRUPT, &err);
    assert_ok(disk_truncate(file, 0, &err), &err);
    assert_code(read_number(packs, &place, 1, 10, &err), ERR_CORRUPT, &err);
}

/* ---- crashes ---- */

#define CRASH_RECORDS 12
typedef struct {
    PackPlace places[CRASH_RECORDS];
    size_t appended;
    size_t synced; /* records that are promised */
} CrashRun;

static size_t crash_len(size_t i)
{
    return (i % 4) * 700;
}

/* Batches of one to three records, in packs of which each takes about two batches. */
static void crash_work(Fixture *fixture, Disk *disk, void *arg)
{
    CrashRun *run = arg;
    Err err = {0};
    Packs *opened = NULL;
    PacksOptions options = {
        .root = fixture->root, .pack_size = 16 * KIB, .clock = &fixture->clock.clock};
    *run = (CrashRun){0};
    if (packs_open(disk, &options, &opened, &err) != OK) return;
    AUTO(Packs, packs_free) packs = opened;
    for (size_t i = 0; i < CRASH_RECORDS; i++) {
        if (append_number(packs, i + 1, crash_len(i), &run->places[i], &err) != OK) return;
        run->appended = i + 1;
        if (i % 3 == 1) continue;
        if (packs_sync(packs, &err) != OK) return;
        run->synced = i + 1;
    }
}

typedef struct {
    bool seen[CRASH_RECORDS];
    bool wrong;
} CrashScan;

static ErrCode crash_scanned(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    CrashScan *scan = ctx;
    uint64_t n = record->entry.lsn;
    UNUSED(place);
    UNUSED(err);
    if (n == 0 || n > CRASH_RECORDS || !test_record_is(record, n, crash_len(n - 1)))
        scan->wrong = true;
    else
        scan->seen[n - 1] = true;
    return OK;
}

/* Violations of "synced is kept, nothing is invented" on a disk after a crash. */
static size_t crash_violations(Fixture *fixture, Disk *disk, const void *arg)
{
    const CrashRun *run = arg;
    Err err = {0};
    size_t bad = 0;
    CrashScan scan = {0};
    AUTO(Packs, packs_free) packs = fixture_packs(fixture, disk, 16 * KIB);
    for (size_t i = 0; i < run->appended; i++) {
        ErrCode code = read_number(packs, &run->places[i], i + 1, crash_len(i), &err);
        if (i < run->synced && code != OK) bad++;
        if (code == ERR_ABORTED) bad++;
    }
    uint64_t *numbers = NULL;
    size_t count = 0;
    assert_ok(packs_list(packs, &numbers, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        uint64_t torn_at = 0;
        if (packs_scan(packs, numbers[i], crash_scanned, &scan, &torn_at, &err) != OK) bad++;
    }
    mem_free(numbers);
    for (size_t i = 0; i < run->synced; i++)
        bad += !scan.seen[i];
    bad += scan.wrong;
    /* And it goes on. */
    PackPlace place;
    if (append_number(packs, 50, 10, &place, &err) != OK || packs_sync(packs, &err) != OK) bad++;
    return bad;
}

static void test_crash_states(void **state)
{
    CrashRun run;
    CrashWork crash = {
        .seed = 3, .ways = 6, .run = &run, .work = crash_work, .violations = crash_violations};
    size_t images = 0;
    assert_int_equal(crash_everywhere(*state, &crash, &images), 0);
    assert_true(images > 200);
}

static void test_planted_bugs_are_seen(void **state)
{
    static const char *const bugs[] = {"skip-pack-sync", "skip-dir-sync"};
    CrashRun run;
    CrashWork crash = {
        .seed = 3, .ways = 6, .run = &run, .work = crash_work, .violations = crash_violations};
    crash_shows_bugs(*state, &crash, bugs, ARRAY_LEN(bugs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_append_sync_read),  ON_BOTH(test_batches_begin_at_blocks),
        ON_BOTH(test_large_batch),       ON_SIM(test_too_big),
        ON_BOTH(test_new_pack_at_size),  ON_BOTH(test_list_and_remove),
        ON_BOTH(test_bad_places),        ON_SIM(test_body_digest),
        ON_SIM(test_flipped_bits),       ON_BOTH(test_foreign),
        ON_SIM(test_no_space),           ON_SIM(test_failed_for_good),
        ON_SIM(test_no_room_for_a_pack), ON_SIM(test_failed_for_good),
        ON_SIM(test_nth_call_fails),     ON_SIM(test_without_body),
        ON_SIM(test_unknown_form),       ON_BOTH(test_short_header),
        ON_SIM(test_crash_states),       ON_SIM(test_planted_bugs_are_seen),
    };
    return cmocka_run_group_tests_name("packs", tests, NULL, NULL);
}
