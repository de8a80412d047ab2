#include "testing.h"
#include "wal_fixture.h"

#include "base/thread.h"
#include "disk/sim.h"
#include <stdatomic.h>
#include <stdio.h>

static int setup(void **state)
{
    *state = wal_fixture_new(4);
    return 0;
}

static ErrCode read_record(Wal *wal, const KitRecord *record, Buf *buf, Err *err)
{
    Str payload;
    TRY(wal_read(wal, record->pos, record->len, buf, &payload, err));
    Sha256 digest = sha256_of(payload.ptr, payload.len);
    if (payload.len != record->len || !sha256_eq(&digest, &record->digest)) {
        return err_set(err, ERR_INVALID, "other bytes");
    }
    return OK;
}

/* All records, over more segments than descriptors are kept, before and after a restart. */
static void test_all(void **state)
{
    WalFixture *fixture = *state;
    Kit *kit = &fixture->kit;
    AUTO_BUF(buf, MIB);
    for (unsigned i = 0; i < 90; i++) {
        assert_ok(kit_append(kit, (ShardId)(i % 4), i * 10, &fixture->err), &fixture->err);
        if (i == 50) assert_ok(kit_append(kit, 1, 200000, &fixture->err), &fixture->err);
        assert_ok(kit_rotate(kit, &fixture->err), &fixture->err);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < kit->model.records.count; i++) {
            size_t at = round == 1 ? kit->model.records.count - 1 - i : i;
            assert_ok(read_record(kit->wal, &kit->model.records.items[at], &buf, &fixture->err),
                      &fixture->err);
        }
        if (round == 0) assert_ok(kit_open(kit, &fixture->err), &fixture->err);
    }
}

static void test_refusals(void **state)
{
    WalFixture *fixture = *state;
    Kit *kit = &fixture->kit;
    Err *err = &fixture->err;
    AUTO_BUF(buf, MIB);
    AUTO_BUF(small, 100);
    Str payload = STR("untouched");
    assert_ok(kit_append(kit, 0, 1000, err), err);
    KitRecord first = kit->model.records.items[0];
    assert_code(read_record(kit->wal, &first, &buf, err), ERR_NOT_FOUND, err); /* not durable */
    assert_ok(kit_sync(kit, err), err);
    assert_ok(read_record(kit->wal, &first, &buf, err), err);

    assert_code(wal_read(kit->wal, first.pos, first.len, &small, &payload, err), ERR_TOO_BIG, err);
    assert_code(wal_read(kit->wal, first.pos, first.len - 8, &buf, &payload, err), ERR_CORRUPT,
                err);
    WalPos wrong = {first.pos.segment, first.pos.offset - 4096};
    assert_code(wal_read(kit->wal, wrong, first.len, &buf, &payload, err), ERR_CORRUPT, err);
    wrong = (WalPos){first.pos.segment + 1, first.pos.offset};
    assert_code(wal_read(kit->wal, wrong, first.len, &buf, &payload, err), ERR_NOT_FOUND, err);
    wrong = (WalPos){0, first.pos.offset};
    assert_code(wal_read(kit->wal, wrong, first.len, &buf, &payload, err), ERR_NOT_FOUND, err);
    assert_str(payload, "untouched");

    for (uint64_t byte = 0; byte < first.len; byte += 97) {
        uint64_t bit = (first.pos.offset + FRAME_LEN + byte) * 8;
        assert_ok(disk_sim_flip(fixture->disk, "wal.active", bit, err), err);
        assert_code(read_record(kit->wal, &first, &buf, err), ERR_CORRUPT, err);
        assert_ok(disk_sim_flip(fixture->disk, "wal.active", bit, err), err);
    }
    disk_sim_set_faults(fixture->disk, &(SimDiskFaults){.read_error = 1000000});
    assert_code(read_record(kit->wal, &first, &buf, err), ERR_IO, err);
    disk_sim_set_faults(fixture->disk, &(SimDiskFaults){0});
    assert_false(wal_failed(kit->wal));

    assert_ok(kit_rotate(kit, err), err);
    assert_ok(kit_cut(kit, 2, err), err);
    assert_code(read_record(kit->wal, &first, &buf, err), ERR_NOT_FOUND, err);
    assert_ok(kit_rotate(kit, err), err); /* into the file that held it */
    assert_code(read_record(kit->wal, &first, &buf, err), ERR_NOT_FOUND, err);
}

static ErrCode read_through(Wal *wal, WalWindow *window, const KitRecord *record, Err *err)
{
    Str payload;
    TRY(wal_window_read(wal, window, record->pos, record->len, &payload, err));
    Sha256 digest = sha256_of(payload.ptr, payload.len);
    if (payload.len != record->len || !sha256_eq(&digest, &record->digest)) {
        return err_set(err, ERR_INVALID, "other bytes");
    }
    return OK;
}

/* A stretch holds no more than was durable when it was read, and what it holds outlives a cut. */
static void test_window(void **state)
{
    WalFixture *fixture = *state;
    Kit *kit = &fixture->kit;
    Err *err = &fixture->err;
    WalWindow window;
    wal_window_init(&window);
    for (unsigned i = 0; i < 40; i++) {
        assert_ok(kit_append(kit, (ShardId)(i % 4), i * 100, err), err);
        if (i % 7 != 0) continue;
        if (i % 14 == 0) assert_ok(kit_rotate(kit, err), err);
        assert_ok(kit_sync(kit, err), err);
        const KitRecord *newest = &kit->model.records.items[i];
        assert_ok(read_through(kit->wal, &window, newest, err), err);
    }
    assert_ok(kit_sync(kit, err), err);
    const KitRecord *records = kit->model.records.items;
    for (size_t i = 0; i < 40; i++)
        assert_ok(read_through(kit->wal, &window, &records[i], err), err);
    for (size_t i = 40; i-- > 0;)
        assert_ok(read_through(kit->wal, &window, &records[i], err), err);
    /* The second record stands in the stretch of the first, which began the first segment. */
    disk_sim_set_faults(fixture->disk, &(SimDiskFaults){.read_error = 1000000});
    assert_code(read_through(kit->wal, &window, &records[39], err), ERR_IO, err);
    disk_sim_set_faults(fixture->disk, &(SimDiskFaults){0});
    assert_ok(read_through(kit->wal, &window, &records[1], err), err);
    assert_ok(kit_cut(kit, records[39].pos.segment, err), err);
    assert_ok(read_through(kit->wal, &window, &records[2], err), err);
    assert_code(read_record(kit->wal, &records[2], &window.bytes, err), ERR_NOT_FOUND, err);
    wal_window_deinit(&window);
}

/* One bad record does not hide its neighbours. */
static void test_window_damage(void **state)
{
    WalFixture *fixture = *state;
    Kit *kit = &fixture->kit;
    Err *err = &fixture->err;
    WalWindow window;
    wal_window_init(&window);
    for (unsigned i = 0; i < 3; i++)
        assert_ok(kit_append(kit, 0, 1000, err), err);
    assert_ok(kit_sync(kit, err), err);
    const KitRecord *records = kit->model.records.items;
    uint64_t bit = (records[1].pos.offset + FRAME_LEN + 500) * 8;
    assert_ok(disk_sim_flip(fixture->disk, "wal.active", bit, err), err);
    assert_ok(read_through(kit->wal, &window, &records[0], err), err);
    assert_code(read_through(kit->wal, &window, &records[1], err), ERR_CORRUPT, err);
    assert_ok(read_through(kit->wal, &window, &records[2], err), err);
    wal_window_deinit(&window);
}

/* What a reader thread asks for, and what it got. */
typedef struct {
    Wal *wal;
    _Atomic(const KitRecord *) record;
    atomic_bool stop;
    atomic_uint found;
    atomic_uint gone;
    atomic_uint wrong;
} Reader;

static void reader_run(void *arg)
{
    Reader *reader = arg;
    AUTO_BUF(buf, MIB);
    while (!reader->stop) {
        const KitRecord *record = reader->record;
        Err err = {0};
        ErrCode code = record == NULL ? OK : read_record(reader->wal, record, &buf, &err);
        if (record == NULL) continue;
        if (code == OK) reader->found++;
        if (code == ERR_NOT_FOUND) reader->gone++;
        if (code != OK && code != ERR_NOT_FOUND) reader->wrong++;
    }
}

/* Reading while segments are cut and their files written again: right bytes or ERR_NOT_FOUND. */
static void test_read_while_cut(void **state)
{
    WalFixture *fixture = *state;
    Kit *kit = &fixture->kit;
    Err *err = &fixture->err;
    Thread thread = {0};
    Reader reader = {.wal = kit->wal};
    KitRecord records[300];
    assert_ok(thread_start(&thread, "reader", reader_run, &reader, err), err);
    for (unsigned i = 0; i < ARRAY_LEN(records); i++) {
        assert_ok(kit_append(kit, 0, 20000, err), err);
        assert_ok(kit_sync(kit, err), err);
        records[i] = kit->model.records.items[kit->model.records.count - 1];
        reader.record = &records[i > 3 ? i - 3 : 0];
        WalStats stats;
        wal_stats(kit->wal, &stats);
        assert_ok(kit_cut(kit, stats.active_segment, err), err);
    }
    reader.stop = true;
    thread_join(&thread);
    assert_int_equal(reader.wrong, 0);
    assert_true(reader.found + reader.gone > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_window, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_window_damage, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_read_while_cut, setup, wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
