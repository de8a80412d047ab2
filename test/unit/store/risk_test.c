/* The list of what is damaged: what it takes, gives, keeps over a restart, and leaves out. */
#include "testing.h"

#include <string.h>

#include "disk/sim.h"
#include "store/risk.h"

typedef struct {
    Disk *disk;
    ManualClock clock;
    Risk *risk;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    clock_manual_init(&f->clock, 1700000000000);
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    assert_ok(risk_open(f->disk, &f->clock.clock, 1, &f->risk, &err), &err);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    risk_free(f->risk);
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static FileId file_of(unsigned number)
{
    FileId id = {{0}};
    id.bytes[0] = 0x10;
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

static const VersionId first_version = {.term = 3, .lsn = 77};

/* Damage of file `number`, whose key is given. */
static RiskFound found_of(unsigned number, const char *key)
{
    return (RiskFound){.file = file_of(number),
                       .version = first_version,
                       .bucket = UINT64_MAX - 5, /* more than JSON's integers hold */
                       .key = str_from_cstr(key),
                       .size = 4096,
                       .cause = RISK_CHECKSUM,
                       .place = "packs/7.pack",
                       .offset = 8192,
                       .detail = "the record does not have its CRC"};
}

static RiskFound page_of(uint64_t offset)
{
    return (RiskFound){.cause = RISK_UNREADABLE, .place = "index.db", .offset = offset};
}

static void reopen(Fixture *f, uint64_t number)
{
    Err err = {0};
    risk_free(TAKE(f->risk));
    assert_ok(risk_open(f->disk, &f->clock.clock, number, &f->risk, &err), &err);
}

static RiskEntry only_entry(Fixture *f)
{
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    RiskEntry second;
    assert_true(risk_next(f->risk, &cursor, &entry));
    assert_false(risk_next(f->risk, &cursor, &second));
    return entry;
}

static void test_add_and_restart(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RiskFound found = found_of(1, "sub/\"quoted\"\n");
    risk_add(f->risk, &found);
    f->clock.wall_ms += 5000;
    found.cause = RISK_UNREADABLE;
    found.place = "packs/9.pack";
    risk_add(f->risk, &found);
    assert_int_equal(risk_files(f->risk), 1);
    assert_ok(risk_save(f->risk, false, &err), &err);
    disk_sim_crash(f->disk);
    reopen(f, 2);
    assert_int_equal(risk_files(f->risk), 1);
    RiskEntry entry = only_entry(f);
    assert_true(id128_eq(entry.file, file_of(1)));
    assert_int_equal(version_id_cmp(entry.version, first_version), 0);
    assert_int_equal(entry.bucket, UINT64_MAX - 5);
    assert_str(str_of(entry.key, entry.key_len), "sub/\"quoted\"\n");
    assert_int_equal(entry.size, 4096);
    assert_int_equal(entry.cause, RISK_UNREADABLE);
    assert_string_equal(entry.place, "packs/9.pack");
    assert_int_equal(entry.offset, 8192);
    assert_string_equal(entry.detail, "the record does not have its CRC");
    assert_int_equal(entry.since_ms, 1700000000000);
    assert_int_equal(entry.seen_ms, 1700000005000);
}

static void test_clear(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (unsigned i = 1; i <= 3; i++) {
        RiskFound found = found_of(i, "k");
        risk_add(f->risk, &found);
    }
    assert_ok(risk_save(f->risk, true, &err), &err);
    risk_clear(f->risk, file_of(2), (VersionId){.term = 3, .lsn = 78}, RISK_GONE);
    assert_int_equal(risk_files(f->risk), 3); /* another version is another body */
    risk_clear(f->risk, file_of(2), first_version, RISK_GONE);
    risk_clear(f->risk, file_of(2), first_version, RISK_GONE);
    assert_int_equal(risk_files(f->risk), 2);
    assert_ok(risk_save(f->risk, true, &err), &err);
    reopen(f, 2);
    assert_int_equal(risk_files(f->risk), 2);
}

static void test_places(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (uint64_t at = 0; at < 4; at++) {
        RiskFound found = page_of(at * 4096);
        risk_add(f->risk, &found);
        risk_add(f->risk, &found);
    }
    RiskFound other = page_of(4096);
    other.place = "index.db-wal";
    risk_add(f->risk, &other);
    assert_int_equal(risk_places(f->risk), 5);
    assert_int_equal(risk_files(f->risk), 0);
    risk_clear_place(f->risk, "index.db", 8192, RISK_WHOLE);
    assert_int_equal(risk_places(f->risk), 4);
    assert_ok(risk_save(f->risk, true, &err), &err);
    reopen(f, 2);
    assert_int_equal(risk_places(f->risk), 4);
    risk_clear_path(f->risk, "index.db", RISK_GONE);
    assert_int_equal(risk_places(f->risk), 1);
    assert_string_equal(only_entry(f).place, "index.db-wal");
}

/* Files come first, each once, in an order that does not depend on when they were found. */
static void test_walk(void **state)
{
    Fixture *f = *state;
    RiskFound page = page_of(4096);
    risk_add(f->risk, &page);
    for (unsigned i = 300; i > 0; i--) {
        RiskFound found = found_of(i, "k");
        risk_add(f->risk, &found);
    }
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    for (unsigned i = 1; i <= 300; i++) {
        assert_true(risk_next(f->risk, &cursor, &entry));
        assert_true(id128_eq(entry.file, file_of(i)));
    }
    assert_true(risk_next(f->risk, &cursor, &entry));
    assert_true(id128_is_zero(entry.file));
    assert_false(risk_next(f->risk, &cursor, &entry));
}

static void test_bound(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (unsigned i = 1; i <= RISK_MAX + 5; i++) {
        RiskFound found = found_of(i, "k");
        risk_add(f->risk, &found);
    }
    assert_int_equal(risk_files(f->risk), RISK_MAX);
    assert_int_equal(risk_unlisted(f->risk), 5);
    assert_ok(risk_save(f->risk, true, &err), &err);
    reopen(f, 2);
    assert_int_equal(risk_files(f->risk), RISK_MAX);
    assert_int_equal(risk_unlisted(f->risk), 5);
    risk_recount(f->risk);
    assert_int_equal(risk_unlisted(f->risk), 0);
}

/* Written once a second at most, and only when something changed. */
static void test_saves_now_and_then(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RiskFound found = found_of(1, "k");
    f->clock.boot_ns = 5;
    risk_add(f->risk, &found);
    assert_ok(risk_save(f->risk, false, &err), &err);
    uint64_t written = disk_sim_op_count(f->disk);
    found = found_of(2, "k");
    risk_add(f->risk, &found);
    assert_ok(risk_save(f->risk, false, &err), &err);
    assert_int_equal(disk_sim_op_count(f->disk), written);
    f->clock.boot_ns += 1000ULL * 1000 * 1000;
    assert_ok(risk_save(f->risk, false, &err), &err);
    assert_true(disk_sim_op_count(f->disk) > written);
    written = disk_sim_op_count(f->disk);
    f->clock.boot_ns += 1000ULL * 1000 * 1000;
    risk_add(f->risk, &found); /* seen again, a moment later: nothing to write */
    assert_ok(risk_save(f->risk, false, &err), &err);
    assert_int_equal(disk_sim_op_count(f->disk), written);
}

static void test_save_fails(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RiskFound found = found_of(1, "k");
    risk_add(f->risk, &found);
    disk_sim_set_faults(f->disk, &(SimDiskFaults){.no_space = 1000000});
    assert_code(risk_save(f->risk, true, &err), ERR_NO_SPACE, NULL);
    disk_sim_set_faults(f->disk, &(SimDiskFaults){0});
    assert_ok(risk_save(f->risk, true, &err), &err); /* it was still owed */
    found = found_of(2, "k");
    risk_add(f->risk, &found);
    disk_sim_set_faults(f->disk, &(SimDiskFaults){.sync_error = 1000000});
    assert_code(risk_save(f->risk, true, &err), ERR_IO, NULL);
    disk_sim_set_faults(f->disk, &(SimDiskFaults){0});
    uint64_t written = disk_sim_op_count(f->disk);
    assert_ok(risk_save(f->risk, true, &err), &err); /* never tried again */
    assert_int_equal(disk_sim_op_count(f->disk), written);
    assert_int_equal(risk_files(f->risk), 2);
}

/* A list that cannot be read stops nobody, and is not lost. */
static void test_damaged_list(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    DiskStat stat;
    RiskFound found = found_of(1, "k");
    risk_add(f->risk, &found);
    assert_ok(risk_save(f->risk, true, &err), &err);
    assert_ok(disk_sim_flip(f->disk, RISK_FILE, 0, &err), &err);
    reopen(f, 9);
    assert_int_equal(risk_files(f->risk), 0);
    assert_ok(disk_stat(f->disk, "quarantine/risk_9.json", &stat, &err), &err);
    assert_true(stat.exists);
    risk_add(f->risk, &found);
    assert_ok(risk_save(f->risk, true, &err), &err);
    reopen(f, 10);
    assert_int_equal(risk_files(f->risk), 1);
}

static void test_newer_format(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Risk *risk = NULL;
    assert_ok(disk_replace_durable(f->disk, RISK_FILE, STR("{\"format\": 2}\n"), &err), &err);
    assert_code(risk_open(f->disk, &f->clock.clock, 2, &risk, &err), ERR_FORMAT_VERSION, NULL);
}

/* What is longer than its place is cut between two characters. */
static void test_long_detail(void **state)
{
    Fixture *f = *state;
    char detail[400] = "";
    for (size_t i = 0; i < 150; i++)
        memcpy(detail + 2 * i, "ä", 3);
    RiskFound found = found_of(1, "k");
    memmove(detail + 1, detail, 300);
    detail[0] = '-';
    found.detail = detail;
    risk_add(f->risk, &found);
    RiskEntry entry = only_entry(f);
    assert_int_equal(strlen(entry.detail), RISK_DETAIL_MAX - 1);
    assert_true(str_is_utf8(str_from_cstr(entry.detail)));
}

static void test_causes(void **state)
{
    UNUSED(state);
    static const struct {
        ErrCode code;
        RiskCause cause;
    } rows[] = {{ERR_CORRUPT, RISK_CHECKSUM},  {ERR_IO, RISK_UNREADABLE},
                {ERR_NOT_FOUND, RISK_MISSING}, {ERR_END, RISK_MISSING},
                {ERR_FOREIGN, RISK_FOREIGN},   {ERR_FILE_DAMAGED, RISK_CHECKSUM}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(risk_cause_of(rows[i].code), rows[i].cause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_add_and_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saves_now_and_then, setup, teardown),
        cmocka_unit_test_setup_teardown(test_save_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_detail, setup, teardown),
        cmocka_unit_test(test_causes),
    };
    return cmocka_run_group_tests(tests, testing_silent, NULL);
}
