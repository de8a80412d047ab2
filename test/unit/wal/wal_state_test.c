#include "testing.h"
#include "wal_fixture.h"

#include "disk/sim.h"
#include <string.h>

/* What opening makes of the log, from the records or, after a rotation, from the CHECKPOINT. */
static ReplicaState reopened(WalFixture *fixture, ShardId shard, bool rotate)
{
    Kit *kit = &fixture->kit;
    if (rotate) {
        WalStats stats;
        assert_ok(wal_rotate(kit->wal, &fixture->err), &fixture->err);
        wal_stats(kit->wal, &stats);
        assert_ok(wal_cut(kit->wal, stats.active_segment, &fixture->err), &fixture->err);
    }
    assert_ok(wal_close(kit->wal, &fixture->err), &fixture->err);
    assert_ok(kit_open(kit, &fixture->err), &fixture->err);
    ReplicaState state = {0};
    assert_true(wal_replica_state(kit->wal, shard, &state));
    return state;
}

static void append_entry(WalFixture *fixture, Entry *entry)
{
    uint8_t bytes[1024];
    Enc enc = enc_of(bytes, sizeof bytes);
    WalPos pos;
    entry_seal(entry);
    entry_encode(entry, &enc);
    assert_false(enc.failed);
    assert_ok(
        wal_append(fixture->kit.wal, entry, str_of(bytes, enc.len), (Str){0}, &pos, &fixture->err),
        &fixture->err);
}

static void test_tail(void **data)
{
    WalFixture *fixture = *data;
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        Entry entry = {.op = OP_START, .shard = 5, .term = 3 + rotate, .lsn = 11 + rotate};
        append_entry(fixture, &entry);
        ReplicaState state = reopened(fixture, 5, rotate == 1);
        assert_int_equal(state.shard, 5);
        assert_int_equal(state.last_lsn, 11 + rotate);
        assert_int_equal(state.last_term, 3 + rotate);
        assert_int_equal(state.max_term, 3 + rotate);
        assert_true(sha256_eq(&state.last_hash, &entry.checksum));
    }
    ReplicaState other = {.last_lsn = 77};
    assert_false(wal_replica_state(fixture->kit.wal, 6, &other));
    assert_int_equal(other.last_lsn, 77);
}

/* An entry logged again for a stalled shard does not move the tail back. */
static void test_logged_again(void **data)
{
    WalFixture *fixture = *data;
    Entry old = {.op = OP_NOOP, .shard = 1, .term = 2, .lsn = 4};
    Entry new = {.op = OP_NOOP, .shard = 1, .term = 2, .lsn = 5};
    append_entry(fixture, &old);
    append_entry(fixture, &new);
    append_entry(fixture, &old);
    ReplicaState state = reopened(fixture, 1, false);
    assert_int_equal(state.last_lsn, 5);
    assert_true(sha256_eq(&state.last_hash, &new.checksum));
}

static void promise(WalFixture *fixture, Term term, uint8_t vote, Str config, Lsn config_lsn)
{
    ReplicaState state = {
        .shard = 2,
        .max_term = term,
        .voted_for = {{vote}},
        .config = config,
        .config_lsn = config_lsn,
        .last_lsn = 999, /* not believed */
    };
    assert_ok(wal_append_state(fixture->kit.wal, &state, &fixture->err), &fixture->err);
}

static void test_promises(void **data)
{
    WalFixture *fixture = *data;
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        Term base = 10 * (rotate + 1);
        promise(fixture, base, 1, STR("members"), base);
        promise(fixture, base - 5, 9, (Str){0}, 0); /* neither the term nor the config goes back */
        ReplicaState state = reopened(fixture, 2, rotate == 1);
        assert_int_equal(state.max_term, base);
        assert_int_equal(state.voted_for.bytes[0], 1);
        assert_str(state.config, "members");
        assert_int_equal(state.config_lsn, base);
        assert_int_equal(state.last_lsn, 0);
    }
    /* An entry of a higher term ends the vote. */
    Entry entry = {.op = OP_NOOP, .shard = 2, .term = 50, .lsn = 1};
    append_entry(fixture, &entry);
    ReplicaState state = reopened(fixture, 2, false);
    assert_int_equal(state.max_term, 50);
    assert_true(id128_is_zero(state.voted_for));

    AUTO_BUF(large, MIB);
    assert_ok(buf_append_zeros(&large, WAL_CONFIG_MAX + 1, &fixture->err), &fixture->err);
    ReplicaState too_big = {.shard = 2, .config = buf_str(&large)};
    assert_code(wal_append_state(fixture->kit.wal, &too_big, &fixture->err), ERR_TOO_BIG,
                &fixture->err);
    large.len--;
    promise(fixture, 60, 1, buf_str(&large), 3); /* its CHECKPOINT needs a larger segment */
    state = reopened(fixture, 2, true);
    assert_int_equal(state.config.len, WAL_CONFIG_MAX);
    WalStats stats;
    wal_stats(fixture->kit.wal, &stats);
    assert_true(stats.segment_bytes > 2 * SEGMENT_SIZE_MIN);
}

static void test_config_entry(void **data)
{
    WalFixture *fixture = *data;
    AUTO_BUF(attrs, 1024);
    assert_ok(attr_set(&attrs, ATTR_CONFIG, STR("three members"), &fixture->err), &fixture->err);
    Entry entry = {.op = OP_CONFIG, .shard = 3, .term = 1, .lsn = 8, .attrs = buf_str(&attrs)};
    append_entry(fixture, &entry);
    Entry after = {.op = OP_NOOP, .shard = 3, .term = 1, .lsn = 9};
    append_entry(fixture, &after);
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        ReplicaState state = reopened(fixture, 3, rotate == 1);
        assert_str(state.config, "three members");
        assert_int_equal(state.config_lsn, 8);
        assert_int_equal(state.last_lsn, 9);
    }
}

/* The CONFIG before the last one is known too, and holds again when the last one is cut. */
static void test_config_before(void **data)
{
    WalFixture *fixture = *data;
    for (Lsn lsn = 1; lsn <= 4; lsn++) {
        AUTO_BUF(attrs, 1024);
        Str said = lsn % 2 == 1 ? STR("odd") : STR("even, and longer");
        assert_ok(attr_set(&attrs, ATTR_CONFIG, said, &fixture->err), &fixture->err);
        Entry entry = {
            .op = OP_CONFIG, .shard = 3, .term = 1, .lsn = lsn, .attrs = buf_str(&attrs)};
        append_entry(fixture, &entry);
    }
    Truncate truncate = {.shard = 3, .from = 4, .term = 1, .hash = {{42}}};
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        ReplicaState state = reopened(fixture, 3, rotate == 1);
        assert_str(state.config, "even, and longer");
        assert_int_equal(state.config_lsn, 4);
        assert_str(state.before, "odd");
        assert_int_equal(state.before_lsn, 3);
    }
    ReplicaState vote = {.shard = 3, .max_term = 9, .voted_for = {{3}}}; /* leaves them alone */
    assert_ok(wal_append_state(fixture->kit.wal, &vote, &fixture->err), &fixture->err);
    assert_int_equal(reopened(fixture, 3, false).before_lsn, 3);
    assert_ok(wal_append_truncate(fixture->kit.wal, &truncate, &fixture->err), &fixture->err);
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        ReplicaState state = reopened(fixture, 3, rotate == 1);
        assert_str(state.config, "odd");
        assert_int_equal(state.config_lsn, 3);
        assert_int_equal(state.before_lsn, 0);
    }
    truncate.from = 2; /* below both that are known */
    assert_ok(wal_append_truncate(fixture->kit.wal, &truncate, &fixture->err), &fixture->err);
    assert_int_equal(reopened(fixture, 3, false).config_lsn, 0);
}

static void test_truncate(void **data)
{
    WalFixture *fixture = *data;
    for (Lsn lsn = 1; lsn <= 6; lsn++) {
        Entry entry = {.op = OP_NOOP, .shard = 1, .term = lsn < 4 ? 1 : 2, .lsn = lsn};
        append_entry(fixture, &entry);
    }
    Truncate truncate = {.shard = 1, .from = 4, .term = 1, .hash = {{42}}};
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        if (rotate == 0) {
            assert_ok(wal_append_truncate(fixture->kit.wal, &truncate, &fixture->err),
                      &fixture->err);
        }
        ReplicaState state = reopened(fixture, 1, rotate == 1);
        assert_int_equal(state.last_lsn, 3);
        assert_int_equal(state.last_term, 1);
        assert_int_equal(state.last_hash.bytes[0], 42);
        assert_int_equal(state.max_term, 2); /* a promise is no part of the log */
    }
    Entry entry = {.op = OP_NOOP, .shard = 1, .term = 3, .lsn = 4};
    append_entry(fixture, &entry);
    assert_int_equal(reopened(fixture, 1, false).last_lsn, 4);
    truncate.from = 9; /* beyond the tail: nothing to void */
    assert_ok(wal_append_truncate(fixture->kit.wal, &truncate, &fixture->err), &fixture->err);
    assert_int_equal(reopened(fixture, 1, false).last_lsn, 4);
}

static void test_notes_and_order(void **data)
{
    static const ShardId shards[] = {900, 3, 40000, 0, 7, 65535, 41};
    static const ShardId sorted[] = {0, 3, 7, 41, 900, 40000, 65535};
    WalFixture *fixture = *data;
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        wal_note(fixture->kit.wal, shards[i], 100 + shards[i], 50);
        wal_note(fixture->kit.wal, shards[i], 1, 1); /* never back */
    }
    assert_int_equal(reopened(fixture, 0, true).commit_lsn, 100);
    size_t cursor = 0;
    ReplicaState state;
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
        assert_true(wal_replica_next(fixture->kit.wal, &cursor, &state));
        assert_int_equal(state.shard, sorted[i]);
        assert_int_equal(state.commit_lsn, 100u + sorted[i]);
        assert_int_equal(state.applied_lsn, 50);
    }
    assert_false(wal_replica_next(fixture->kit.wal, &cursor, &state));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tail, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_logged_again, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_promises, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_config_entry, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_config_before, wal_fixture_setup,
                                        wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_truncate, wal_fixture_setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_notes_and_order, wal_fixture_setup,
                                        wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
