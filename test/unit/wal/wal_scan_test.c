#include "testing.h"
#include "wal_fixture.h"

#include "base/crc.h"
#include "base/fault.h"
#include "disk/sim.h"
#include <stdio.h>
#include <string.h>

static void append_many(WalFixture *fixture, unsigned count, size_t len)
{
    for (unsigned i = 0; i < count; i++) {
        assert_ok(kit_append(&fixture->kit, (ShardId)(i % 3), len + i, &fixture->err),
                  &fixture->err);
        if (i % 3 == 2) assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    }
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
}

static Disk *copy_of(Disk *disk)
{
    Err err = {0};
    Disk *copy = NULL;
    uint64_t keep = 0;
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_ok(disk_sim_crash_image(disk, &keep, 1, &copy, &err), &err);
    return copy;
}

/* Opens the log of disk as a Kit of its own; *kit is to be deinitialized in any case. */
static ErrCode open_copy(WalFixture *fixture, Disk *disk, Kit *kit)
{
    kit_init(kit, disk, 1);
    kit->options.incarnation = 100;
    return kit_open(kit, &fixture->err);
}

/* The log on disk is refused with code, the message holds text, and nothing has changed. */
static void assert_refused(WalFixture *fixture, Disk *disk, ErrCode code, const char *text)
{
    Kit kit;
    uint64_t before = disk_sim_fingerprint(disk);
    ErrCode got = open_copy(fixture, disk, &kit);
    if (got != code) {
        fail_msg("%s, not %s (%s): %s", err_info(got)->name, err_info(code)->name, text,
                 got == OK ? "" : fixture->err.message);
    }
    if (strstr(fixture->err.message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", fixture->err.message, text);
    }
    assert_int_equal(disk_sim_fingerprint(disk), before);
    assert_int_equal(disk_sim_pending(disk), 0);
    kit_deinit(&kit);
}

static void assert_opens(WalFixture *fixture, Disk *disk)
{
    Kit kit;
    assert_ok(open_copy(fixture, disk, &kit), &fixture->err);
    const char *wrong = kit_verify(&kit, &fixture->kit.model);
    if (wrong != NULL) fail_msg("%s", wrong);
    kit_deinit(&kit);
}

static void path_of(uint64_t id, bool active, char path[DISK_PATH_MAX])
{
    int len = snprintf(path, DISK_PATH_MAX, active ? "wal.active" : "wal.segments/segment_%ju.wal",
                       (uintmax_t)id);
    assert_in_range(len, 1, DISK_PATH_MAX - 1);
}

static SegmentHeader header_of(WalFixture *fixture, Disk *disk, const char *path)
{
    uint8_t block[SEGMENT_HEADER_LEN];
    SegmentHeader header;
    AUTO(File, disk_close) file = NULL;
    assert_ok(disk_open(disk, path, DISK_OPEN_READ, &file, &fixture->err), &fixture->err);
    assert_ok(disk_read_all(file, 0, block, sizeof block, &fixture->err), &fixture->err);
    assert_ok(segment_header_decode(str_of(block, sizeof block), &header, &fixture->err),
              &fixture->err);
    return header;
}

static void write_at(WalFixture *fixture, Disk *disk, const char *path, uint64_t offset,
                     const void *data, size_t len)
{
    AUTO(File, disk_close) file = NULL;
    assert_ok(disk_open(disk, path, DISK_OPEN_WRITE, &file, &fixture->err), &fixture->err);
    assert_ok(disk_write(file, offset, data, len, &fixture->err), &fixture->err);
    assert_ok(disk_sync(file, &fixture->err), &fixture->err);
}

/* A log of several closed segments and an active one, attested to its end, of which *end is where
 * the ATTEST record stands; its Wal is freed. The active segment is the one returned. */
static uint64_t attested_log(WalFixture *fixture, uint64_t *end)
{
    append_many(fixture, 60, 2500);
    assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
    WalStats stats;
    wal_stats(fixture->kit.wal, &stats);
    assert_true(stats.active_segment >= 3);
    wal_free(TAKE(fixture->kit.wal));
    *end = stats.attested.offset;
    return stats.active_segment;
}

/* Sampled bits everywhere in an attested log: each found and named, and nothing changed. */
static void test_damage_attested(void **state)
{
    WalFixture *fixture = *state;
    uint64_t active_end;
    uint64_t active = attested_log(fixture, &active_end);
    AUTO(Disk, disk_free) sound = copy_of(fixture->disk);
    assert_opens(fixture, sound);
    for (uint64_t id = 1; id <= active; id++) {
        char path[DISK_PATH_MAX];
        char next[DISK_PATH_MAX];
        uint64_t end = active_end;
        path_of(id, id == active, path);
        path_of(id + 1, id + 1 == active, next);
        if (id < active) end = header_of(fixture, fixture->disk, next).prev_end;
        for (uint64_t byte = 0; byte < end; byte += byte % 4096 < 128 ? 5 : 331) {
            AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
            assert_ok(disk_sim_flip(disk, path, byte * 8 + byte % 8, &fixture->err), &fixture->err);
            assert_refused(fixture, disk, ERR_CORRUPT, path);
        }
    }
}

/* A batch that reads as zeros in the middle of what was attested: zeros prove nothing. */
static void test_zeros_attested(void **state)
{
    static const uint8_t zeros[65536];
    WalFixture *fixture = *state;
    uint64_t end;
    attested_log(fixture, &end);
    for (uint64_t from = 8192; from < end; from += 4096) {
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        write_at(fixture, disk, "wal.active", from, zeros, (size_t)(end - from));
        assert_refused(fixture, disk, ERR_CORRUPT, "wal.active: damaged at offset");
    }
    /* The rules, broken: the same damage passes for the end of the log. */
    static const char *const planted[] = {"trust-zeros", "truncate-attested"};
    for (size_t i = 0; i < ARRAY_LEN(planted); i++) {
        Kit kit;
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        write_at(fixture, disk, "wal.active", 8192, zeros, (size_t)(end - 8192));
        fault_plant(planted[i], true);
        assert_ok(open_copy(fixture, disk, &kit), &fixture->err);
        fault_reset();
        assert_non_null(kit_verify(&kit, &fixture->kit.model));
        kit_deinit(&kit);
    }
}

/* What the ATTEST record is for: without it damage in the last batch passes for a torn tail. */
static void test_last_batch(void **state)
{
    WalFixture *fixture = *state;
    append_many(fixture, 3, 100);
    WalStats stats;
    wal_stats(fixture->kit.wal, &stats);
    uint64_t bit = (stats.durable.offset - WAL_BLOCK + FRAME_LEN) * 8;
    { /* planted bug */
        Kit kit;
        fault_plant("skip-attest", true);
        assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
        fault_reset();
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        assert_ok(disk_sim_flip(disk, "wal.active", bit, &fixture->err), &fixture->err);
        assert_ok(open_copy(fixture, disk, &kit), &fixture->err);
        assert_non_null(kit_verify(&kit, &fixture->kit.model));
        kit_deinit(&kit);
    }
    append_many(fixture, 1, 100);
    wal_stats(fixture->kit.wal, &stats);
    bit = (stats.durable.offset - WAL_BLOCK + FRAME_LEN) * 8;
    assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
    assert_ok(disk_sim_flip(fixture->disk, "wal.active", bit, &fixture->err), &fixture->err);
    wal_free(TAKE(fixture->kit.wal));
    assert_refused(fixture, fixture->disk, ERR_CORRUPT, "wal.active: damaged at offset");
}

/* Damage in the last batch, which nothing attests: torn, kept aside, and the rest is there. */
static void test_torn(void **state)
{
    WalFixture *fixture = *state;
    append_many(fixture, 7, 2500);
    WalStats stats;
    wal_stats(fixture->kit.wal, &stats);
    wal_free(TAKE(fixture->kit.wal));
    assert_true(wal_pos_cmp(stats.attested, stats.durable) < 0);
    size_t before = 0;
    const KitModel *model = &fixture->kit.model;
    while (wal_pos_cmp(model->records.items[before].pos, stats.attested) < 0)
        before++;
    assert_true(before > 0 && before < model->records.count);
    for (uint64_t byte = stats.attested.offset; byte < stats.durable.offset; byte += 37) {
        Kit kit;
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        assert_ok(disk_sim_flip(disk, "wal.active", byte * 8 + 3, &fixture->err), &fixture->err);
        assert_ok(open_copy(fixture, disk, &kit), &fixture->err);
        assert_true(kit.opened.torn);
        assert_true(kit.replayed.count >= before);
        assert_true(kit.opened.torn_at.offset <= byte);
        assert_int_equal(kit.opened.torn_at.offset, kit.opened.end.offset);
        assert_int_equal(kit.opened.torn_at.offset + kit.opened.torn_bytes, stats.durable.offset);
        char path[DISK_PATH_MAX];
        DiskStat stat;
        int len = snprintf(path, sizeof path, "quarantine/segment_1_at_%ju.torn",
                           (uintmax_t)kit.opened.torn_at.offset);
        assert_in_range(len, 1, sizeof path - 1);
        assert_ok(disk_stat(disk, path, &stat, &fixture->err), &fixture->err);
        assert_int_equal(stat.size, kit.opened.torn_bytes);
        /* Not a second time: the next header says where the log ended. */
        size_t count = kit.replayed.count;
        assert_ok(kit_open(&kit, &fixture->err), &fixture->err);
        assert_false(kit.opened.torn);
        assert_int_equal(kit.replayed.count, count);
        kit_deinit(&kit);
    }
}

/* A clean end in a recycled file, whose stale frames go on behind it, is not torn. */
static void test_recycled_is_clean(void **state)
{
    WalFixture *fixture = *state;
    Kit *kit = &fixture->kit;
    kit->options.spares = 4;
    assert_ok(kit_open(kit, &fixture->err), &fixture->err);
    append_many(fixture, 80, 2500);
    WalStats stats;
    wal_stats(kit->wal, &stats);
    assert_ok(kit_cut(kit, stats.active_segment, &fixture->err), &fixture->err);
    assert_ok(kit_rotate(kit, &fixture->err), &fixture->err);
    for (unsigned i = 0; i < 3; i++) {
        append_many(fixture, 4, 1000 * i);
        assert_ok(kit_open(kit, &fixture->err), &fixture->err);
        assert_false(kit->opened.torn);
        const char *wrong = kit_verify(kit, &kit->model);
        if (wrong != NULL) fail_msg("%s", wrong);
        kit_settle(kit);
    }
}

/* Headers that say something else than the place they stand in. */
static void test_headers(void **state)
{
    enum { FOREIGN, OLDER, LEVEL, ID, CAPACITY, PREV_UUID, PREV_END, PREV_SHORT, INCARNATION };
    static const struct {
        int what;
        uint64_t segment; /* 0: the active one */
        ErrCode code;
        const char *text;
    } rows[] = {
        {FOREIGN, 0, ERR_FOREIGN, "wal.active: the header names another storage root"},
        {FOREIGN, 1, ERR_FOREIGN, "segment_1.wal: the header names another storage root"},
        {OLDER, 0, ERR_FOREIGN, "put back from a copy"},
        {LEVEL, 0, ERR_FORMAT_VERSION, "wal.active: offset 0: feature level 2"},
        {ID, 2, ERR_CORRUPT, "segment_2.wal: the header at offset 0 says segment 9"},
        {ID, 0, ERR_CORRUPT, "are missing (before wal.active)"},
        {CAPACITY, 2, ERR_CORRUPT, "segment_2.wal: 65536 bytes"},
        {PREV_UUID, 2, ERR_CORRUPT, "segment_2.wal: the header at offset 0 does not follow"},
        {PREV_END, 2, ERR_CORRUPT, "segment_2.wal: the header at offset 0 does not follow"},
        {PREV_SHORT, 2, ERR_CORRUPT, "segment_2.wal: the header at offset 0 does not follow"},
        {INCARNATION, 1, ERR_CORRUPT, "segment_2.wal: the header at offset 0 does not follow"},
    };
    WalFixture *fixture = *state;
    uint64_t end;
    attested_log(fixture, &end);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t block[SEGMENT_HEADER_LEN];
        char path[DISK_PATH_MAX];
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        path_of(rows[i].segment, rows[i].segment == 0, path);
        SegmentHeader header = header_of(fixture, disk, path);
        switch (rows[i].what) {
        case FOREIGN: header.root.bytes[3]++; break;
        case OLDER: header.incarnation = 101; break;
        case LEVEL: header.feature_level = 2; break;
        case ID: header.id = 9; break;
        case CAPACITY: header.capacity += 4096; break;
        case PREV_UUID: header.prev_uuid.bytes[0]++; break;
        case PREV_END: header.prev_end = header.capacity + 8; break;
        case PREV_SHORT: header.prev_end = SEGMENT_HEADER_LEN; break;
        case INCARNATION: header.incarnation = 50; break;
        default: fail();
        }
        segment_header_encode(&header, block);
        write_at(fixture, disk, path, 0, block, sizeof block);
        assert_refused(fixture, disk, rows[i].code, rows[i].text);
    }
}

static void rename_in(WalFixture *fixture, Disk *disk, const char *from, const char *to)
{
    assert_ok(disk_rename_durable(disk, from, to, &fixture->err), &fixture->err);
}

static void copy_file(WalFixture *fixture, Disk *disk, const char *from, const char *to)
{
    AUTO(char, mem_free) data = NULL;
    size_t len;
    assert_ok(disk_read_file(disk, from, MIB, &data, &len, &fixture->err), &fixture->err);
    assert_ok(disk_create_durable(disk, to, str_of(data, len), &fixture->err), &fixture->err);
}

static void test_names(void **state)
{
    WalFixture *fixture = *state;
    uint64_t end;
    uint64_t active = attested_log(fixture, &end);
    char path[DISK_PATH_MAX];
    path_of(active, false, path);
    { /* a crash between the two renames of a rotation */
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        rename_in(fixture, disk, "wal.active", path);
        assert_opens(fixture, disk);
    }
    { /* one file under both names */
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        copy_file(fixture, disk, "wal.active", path);
        assert_opens(fixture, disk);
        DiskStat stat;
        assert_ok(disk_stat(disk, "quarantine/wal.active.second-name", &stat, &fixture->err),
                  &fixture->err);
        assert_true(stat.exists);
    }
    { /* two files that both say to be the newest segment */
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        copy_file(fixture, disk, "wal.active", path);
        assert_ok(disk_sim_flip(disk, path, 8 * 65000, &fixture->err), &fixture->err);
        assert_refused(fixture, disk, ERR_CORRUPT, "and differ");
    }
    { /* a gap */
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        rename_in(fixture, disk, "wal.segments/segment_2.wal", "elsewhere");
        assert_refused(fixture, disk, ERR_CORRUPT, "segments 2 to 2 of the log are missing");
    }
    { /* a file that was cut off */
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        AUTO(File, disk_close) file = NULL;
        assert_ok(disk_open(disk, "wal.active", DISK_OPEN_WRITE, &file, &fixture->err), NULL);
        assert_ok(disk_truncate(file, 100, &fixture->err), &fixture->err);
        assert_ok(disk_sync(file, &fixture->err), &fixture->err);
        assert_refused(fixture, disk, ERR_CORRUPT, "wal.active: only 100 bytes");
    }
    { /* what is not ours is left alone */
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        static const char *const names[] = {"wal.segments/segment_01.wal", "wal.segments/notes",
                                            "wal.segments/segment_.wal", "wal.spare.x"};
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            assert_ok(disk_create_durable(disk, names[i], STR("?"), &fixture->err), NULL);
        }
        assert_opens(fixture, disk);
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            DiskStat stat;
            assert_ok(disk_stat(disk, names[i], &stat, &fixture->err), &fixture->err);
            assert_true(stat.exists);
        }
    }
}

/* Frames with a right checksum that say what can't be: refused, not taken for a torn tail. */
static void test_sound_frames(void **state)
{
    static const struct {
        unsigned kind;
        Str payload;
        ErrCode code;
        const char *text;
    } rows[] = {
        {FRAME_KIND_MAX + 1, {NULL, 0}, ERR_FORMAT_VERSION, "frame of kind"},
        {FRAME_CHECKPOINT, STR_INIT("\0"), ERR_CORRUPT, "misplaced checkpoint"},
        {FRAME_STATE, STR_INIT("what?"), ERR_CORRUPT, "state record is malformed"},
        {FRAME_TRUNCATE, STR_INIT("short"), ERR_CORRUPT, "truncation of 5 bytes"},
        {FRAME_ENTRY, STR_INIT("no entry"), ERR_CORRUPT, "wal.active: offset"},
    };
    WalFixture *fixture = *state;
    append_many(fixture, 1, 10);
    WalStats stats;
    wal_stats(fixture->kit.wal, &stats);
    wal_free(TAKE(fixture->kit.wal));
    SegmentHeader header = header_of(fixture, fixture->disk, "wal.active");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t bytes[FRAME_LEN + 8] = {0};
        Str payload = rows[i].payload;
        Frame frame = {
            .kind = FRAME_ATTEST,
            .length = (uint32_t)payload.len,
            .segment_uuid = header.uuid,
            .pos = stats.durable,
            .durable = stats.durable,
        };
        assert_in_range(payload.len, 0, 8);
        frame_encode(&frame, payload, bytes);
        if (payload.len > 0) memcpy(bytes + FRAME_LEN, payload.ptr, payload.len);
        bytes[4] = (uint8_t)rows[i].kind;
        put_u32(bytes + 12, 0);
        put_u32(bytes + 12, crc32c(bytes, FRAME_LEN + payload.len));
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        write_at(fixture, disk, "wal.active", stats.durable.offset, bytes, sizeof bytes);
        assert_refused(fixture, disk, rows[i].code, rows[i].text);
    }
}

/* An entry whose frame is right and whose body is not: damage, wherever it stands. */
static void test_entry_is_verified(void **state)
{
    WalFixture *fixture = *state;
    uint8_t bytes[ENTRY_HEADER_LEN + 5];
    Entry entry = {.op = OP_CREATE,
                   .term = 1,
                   .lsn = 1,
                   .body = {{1}},
                   .size = 5,
                   .flags = ENTRY_FLAG_DIGEST_KNOWN,
                   .body_digest = sha256_of("hello", 5),
                   .inline_body = STR("hallo")};
    entry_seal(&entry);
    Enc enc = enc_of(bytes, sizeof bytes);
    entry_encode(&entry, &enc);
    WalPos pos;
    assert_ok(
        wal_append(fixture->kit.wal, &entry, str_of(bytes, enc.len), (Str){0}, &pos, &fixture->err),
        &fixture->err);
    assert_ok(wal_sync(fixture->kit.wal, &fixture->err), &fixture->err);
    wal_free(TAKE(fixture->kit.wal));
    assert_refused(fixture, fixture->disk, ERR_CORRUPT, "wal.active: offset 8192");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_damage_attested, wal_fixture_setup,
                                        wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_zeros_attested, wal_fixture_setup,
                                        wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_last_batch, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_torn, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_recycled_is_clean, wal_fixture_setup,
                                        wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_headers, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_names, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_sound_frames, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_entry_is_verified, wal_fixture_setup,
                                        wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
