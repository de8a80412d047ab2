#include "testing.h"
#include "wal_fixture.h"

#include "base/fault.h"
#include "disk/sim.h"
#include <errno.h>
#include <string.h>

static void append(WalFixture *fixture, size_t len)
{
    assert_ok(kit_append(&fixture->kit, 0, len, &fixture->err), &fixture->err);
}

/* The frame at offset of the active segment; its payload is not kept. */
static Frame frame_at(WalFixture *fixture, uint64_t offset)
{
    static uint8_t bytes[SEGMENT_SIZE_MIN];
    Frame frame;
    Str payload;
    size_t got;
    AUTO(File, disk_close) file = NULL;
    assert_ok(disk_open(fixture->disk, "wal.active", DISK_OPEN_READ, &file, &fixture->err), NULL);
    assert_ok(disk_read(file, offset, bytes, sizeof bytes, &got, &fixture->err), NULL);
    assert_ok(frame_decode(str_of(bytes, got), &frame, &payload, &fixture->err), &fixture->err);
    return frame;
}

/* Whatever its records' lengths, a batch is whole blocks, and its padding chains. */
static void test_padding(void **state)
{
    WalFixture *fixture = *state;
    uint64_t before = wal_fixture_stats(fixture).durable.offset;
    for (size_t len = 3600; len < 3820; len += 4) {
        WalPos at = wal_fixture_stats(fixture).durable;
        append(fixture, len);
        assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
        WalPos end = wal_fixture_stats(fixture).durable;
        assert_int_equal(end.offset % WAL_BLOCK, 0);
        if (end.segment != at.segment) continue;
        size_t total = frame_total(ENTRY_HEADER_LEN + len);
        assert_int_equal(end.offset - at.offset, ALIGN_UP(total, (size_t)WAL_BLOCK));
        assert_true(wal_pos_cmp(frame_at(fixture, at.offset).durable, at) == 0);
        if (end.offset - at.offset - total >= FRAME_LEN) {
            assert_int_equal(frame_at(fixture, at.offset + total).kind, FRAME_PAD);
        }
    }
    assert_true(wal_fixture_stats(fixture).active_segment > 3 && before == 8192);
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    assert_null(kit_verify(&fixture->kit, &fixture->kit.model));
}

/* One write and one sync a batch; nothing without records; no byte is written twice. */
static void test_one_sync(void **state)
{
    WalFixture *fixture = *state;
    disk_sim_stop_at(fixture->disk, UINT64_MAX);
    uint64_t syncs = wal_fixture_stats(fixture).syncs;
    for (unsigned i = 0; i < 20; i++)
        append(fixture, 100);
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_int_equal(disk_sim_op_count(fixture->disk), 2);
    assert_int_equal(wal_fixture_stats(fixture).syncs, syncs + 1);
    assert_int_equal(wal_fixture_stats(fixture).appended, 20);
    /* What was acknowledged is in no sector that the next batch writes: none is pending then. */
    append(fixture, 10);
    disk_sim_stop_at(fixture->disk, 1);
    assert_code(kit_sync(&fixture->kit, &fixture->err), ERR_IO, &fixture->err);
    assert_true(disk_sim_pending(fixture->disk) <= 4096 / SIM_SECTOR);
}

static void test_attest(void **state)
{
    WalFixture *fixture = *state;
    assert_false(wal_needs_attest(fixture->kit.wal));
    append(fixture, 100);
    WalPos at = wal_fixture_stats(fixture).durable;
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_true(wal_needs_attest(fixture->kit.wal));
    assert_true(wal_pos_cmp(wal_fixture_stats(fixture).attested, at) == 0);
    WalPos end = wal_fixture_stats(fixture).durable;
    assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
    assert_false(wal_needs_attest(fixture->kit.wal));
    assert_true(wal_pos_cmp(wal_fixture_stats(fixture).attested, end) == 0);
    assert_int_equal(frame_at(fixture, end.offset).kind, FRAME_ATTEST);
    /* Once is enough. */
    end = wal_fixture_stats(fixture).durable;
    assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
    assert_true(wal_pos_cmp(wal_fixture_stats(fixture).durable, end) == 0);
    /* In a full segment the next CHECKPOINT does it. */
    append(fixture, SEGMENT_SIZE_MIN - end.offset - FRAME_LEN - ENTRY_HEADER_LEN);
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_int_equal(wal_fixture_stats(fixture).durable.offset, SEGMENT_SIZE_MIN);
    assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
    assert_int_equal(wal_fixture_stats(fixture).active_segment, 2);
    assert_int_equal(wal_fixture_stats(fixture).attested.offset, SEGMENT_SIZE_MIN);
    assert_false(wal_needs_attest(fixture->kit.wal));
}

/* After a failed write or sync nothing is taken any more, and what was durable is read on. */
static void test_fsyncgate(void **state)
{
    static const char *const points[] = {"disk.write", "disk.sync", "wal.batch"};
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        if (i > 0) assert_int_equal(wal_fixture_setup(state), 0);
        WalFixture *fixture = *state;
        Kit *kit = &fixture->kit;
        append(fixture, 500);
        assert_ok(kit_sync(kit, &fixture->err), &fixture->err);
        append(fixture, 100);
        fault_arm(points[i], EIO, 1, false);
        assert_code(kit_sync(kit, &fixture->err), ERR_IO, &fixture->err);
        fault_reset();
        assert_true(wal_failed(kit->wal));
        assert_true(wal_fixture_stats(fixture).failed);
        ReplicaState vote = {.shard = 1, .max_term = 1};
        Truncate truncate = {.shard = 1, .from = 1};
        assert_code(kit_append(kit, 0, 10, &fixture->err), ERR_ROOT_FAILED, &fixture->err);
        assert_code(wal_append_state(kit->wal, &vote, &fixture->err), ERR_ROOT_FAILED, NULL);
        assert_code(wal_append_truncate(kit->wal, &truncate, NULL), ERR_ROOT_FAILED, NULL);
        assert_code(kit_sync(kit, &fixture->err), ERR_ROOT_FAILED, &fixture->err);
        assert_code(wal_attest(kit->wal, &fixture->err), ERR_ROOT_FAILED, &fixture->err);
        assert_code(wal_rotate(kit->wal, &fixture->err), ERR_ROOT_FAILED, &fixture->err);
        assert_code(wal_close(kit->wal, &fixture->err), ERR_ROOT_FAILED, &fixture->err);
        const KitRecord *record = &kit->model.records.items[0];
        AUTO_BUF(buf, MIB);
        Str payload;
        assert_ok(wal_read(kit->wal, record->pos, record->len, &buf, &payload, NULL), NULL);
        if (i + 1 < ARRAY_LEN(points)) assert_int_equal(wal_fixture_teardown(state), 0);
    }
}

/* More than one batch may hold goes out early, and is durable then. */
static void test_large_batches(void **state)
{
    WalFixture *fixture = *state;
    fixture->kit.options.segment_size = 16 * MIB;
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    for (unsigned i = 0; i < 100; i++)
        append(fixture, INLINE_MAX);
    assert_int_equal(wal_fixture_stats(fixture).syncs, 1);
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_int_equal(wal_fixture_stats(fixture).syncs, 2);
    assert_int_equal(wal_fixture_stats(fixture).active_segment, 2);
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    assert_null(kit_verify(&fixture->kit, &fixture->kit.model));
}

static void test_too_big(void **state)
{
    WalFixture *fixture = *state;
    AUTO(void, mem_free) bytes = NULL;
    Entry entry = {.op = OP_NOOP, .lsn = 1};
    WalPos pos = {7, 7};
    assert_ok(mem_take(ENTRY_MAX, &bytes, &fixture->err), &fixture->err);
    memset(bytes, 1, ENTRY_MAX);
    assert_code(wal_append(fixture->kit.wal, &entry, str_of(bytes, ENTRY_MAX), STR("x"), &pos,
                           &fixture->err),
                ERR_TOO_BIG, &fixture->err);
    assert_int_equal(pos.segment, 7);
    ReplicaState none;
    assert_false(wal_replica_state(fixture->kit.wal, 0, &none));
}

/* Without memory for the batch the append is refused, and nothing else is lost. */
static void test_no_memory(void **state)
{
    WalFixture *fixture = *state;
    append(fixture, 100);
    fault_arm("mem.take", ENOMEM, 1, true);
    ErrCode code = kit_append(&fixture->kit, 0, 300000, &fixture->err);
    fault_reset();
    assert_int_equal(code, ERR_NO_MEMORY);
    assert_false(wal_failed(fixture->kit.wal));
    append(fixture, 300000);
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    assert_null(kit_verify(&fixture->kit, &fixture->kit.model));
    assert_int_equal(fixture->kit.replayed.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_padding, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_one_sync, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_attest, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_fsyncgate, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_large_batches, wal_fixture_setup,
                                        wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_too_big, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, wal_fixture_setup, wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
