#include "conformance.h"

#include "testing.h"

#include <string.h>

static const ControlDriver *driver;

typedef struct {
    void *store;
    Control *control;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    f->store = driver->new ();
    f->control = driver->open(f->store);
    assert_non_null(f->control);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    control_free(f->control);
    driver->free(f->store);
    mem_free(f);
    return 0;
}

static void reopen(Fixture *f)
{
    control_free(f->control);
    f->control = driver->open(f->store);
    assert_non_null(f->control);
}

static Uuid uid_of(uint8_t n)
{
    return n == 0 ? (Uuid){{0}} : (Uuid){{n, 1}};
}

Uuid conformance_root(unsigned i)
{
    return (Uuid){{(uint8_t)(i + 1), 9}};
}

ControlShard conformance_row(ShardId shard, unsigned count, uint8_t parent, uint8_t uid)
{
    ControlShard row = {.shard = shard,
                        .config = {.cfg_uid = uid_of(uid),
                                   .parent_uid = uid_of(parent),
                                   .version = uid,
                                   .term = uid,
                                   .min_isr = 1,
                                   .member_count = count,
                                   .isr = (uint16_t)((1u << count) - 1),
                                   .primary = MEMBERS_MAX}};
    for (unsigned i = 0; i < count; i++) {
        row.config.members[i] = (Member){.root = conformance_root(i), .incarnation = 1};
    }
    return row;
}

/* The row of shard has this uid; 0: there is none. */
static void expect_uid(Fixture *f, ShardId shard, uint8_t uid)
{
    ShardConfig config;
    bool found = false;
    Err err = {0};
    assert_ok(control_get(f->control, shard, &config, &found, &err), &err);
    assert_int_equal(found, uid != 0);
    if (found) assert_true(id128_eq(config.cfg_uid, uid_of(uid)));
}

static ShardConfig get(Fixture *f, ShardId shard)
{
    ShardConfig config = {0};
    bool found = false;
    Err err = {0};
    assert_ok(control_get(f->control, shard, &config, &found, &err), &err);
    assert_true(found);
    return config;
}

static void cas(Fixture *f, ControlShard row, ErrCode wanted)
{
    Err err = {0};
    assert_code(control_cas(f->control, &row, 1, &err), wanted, &err);
}

static void test_row_comes_and_changes(void **state)
{
    Fixture *f = *state;
    expect_uid(f, 5, 0);
    cas(f, conformance_row(5, 1, 0, 1), OK);
    expect_uid(f, 5, 1);
    expect_uid(f, 4, 0);
    cas(f, conformance_row(5, 1, 1, 2), OK);
    expect_uid(f, 5, 2);
    reopen(f);
    expect_uid(f, 5, 2);
}

/* All fields come back as they were put. */
static void test_row_is_whole(void **state)
{
    Fixture *f = *state;
    ControlShard row = conformance_row(4097, 3, 0, 7);
    row.config.min_isr = 2;
    row.config.isr = 5;
    row.config.elr = 2;
    row.config.primary = 2;
    row.config.term = UINT32_MAX;
    row.config.version = UINT64_MAX;
    row.config.unclean_epoch = 3;
    row.config.learner_count = 1;
    row.config.learners[0] = (Member){.root = uid_of(99), .incarnation = 12};
    cas(f, row, OK);
    for (int i = 0; i < 2; i++) {
        ShardConfig got = get(f, 4097);
        assert_memory_equal(&got, &row.config, sizeof got);
        reopen(f);
    }
}

static void test_wrong_parent_changes_nothing(void **state)
{
    Fixture *f = *state;
    cas(f, conformance_row(5, 1, 9, 1), ERR_PRECONDITION); /* there is no row yet */
    cas(f, conformance_row(5, 1, 0, 1), OK);
    cas(f, conformance_row(5, 1, 0, 2), ERR_PRECONDITION); /* there is one by now */
    cas(f, conformance_row(5, 1, 3, 2), ERR_PRECONDITION);
    expect_uid(f, 5, 1);
    reopen(f);
    expect_uid(f, 5, 1);
    cas(f, conformance_row(5, 1, 1, 2), OK);
    cas(f, conformance_row(5, 1, 1, 3), ERR_PRECONDITION); /* a winner was there before */
}

static void test_all_rows_or_none(void **state)
{
    Fixture *f = *state;
    ControlShard rows[3] = {conformance_row(1, 1, 0, 1), conformance_row(2, 1, 0, 2),
                            conformance_row(65535, 1, 0, 3)};
    Err err = {0};
    assert_ok(control_cas(f->control, rows, 3, &err), &err);
    ControlShard next[3] = {conformance_row(1, 1, 1, 11), conformance_row(2, 1, 9, 12),
                            conformance_row(3, 1, 0, 13)};
    assert_code(control_cas(f->control, next, 3, &err), ERR_PRECONDITION, &err);
    for (int i = 0; i < 2; i++) {
        expect_uid(f, 1, 1);
        expect_uid(f, 2, 2);
        expect_uid(f, 3, 0);
        expect_uid(f, 65535, 3);
        reopen(f);
    }
}

/* Many rows, not in order; listed in order. */
typedef struct {
    ShardId last;
    size_t count;
    size_t stop_at;
} Listing;

static ErrCode list_row(void *ctx, const ControlShard *row, Err *err)
{
    Listing *listing = ctx;
    assert_true(listing->count == 0 || row->shard > listing->last);
    assert_true(id128_eq(row->config.cfg_uid, uid_of((uint8_t)row->shard)));
    listing->last = row->shard;
    if (++listing->count == listing->stop_at) return err_set(err, ERR_ABORTED, "enough");
    return OK;
}

static void test_rows_in_order(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (unsigned i = 0; i < 65; i++) {
        uint8_t shard = (uint8_t)(1 + (i * 37) % 65);
        cas(f, conformance_row(shard, 1, 0, shard), OK);
    }
    Listing listing = {0};
    assert_ok(control_each_shard(f->control, list_row, &listing, &err), &err);
    assert_int_equal(listing.count, 65);
    listing = (Listing){.stop_at = 3};
    assert_code(control_each_shard(f->control, list_row, &listing, &err), ERR_ABORTED, &err);
    assert_int_equal(listing.count, 3);
}

static uint64_t start_root(Fixture *f, unsigned i)
{
    uint64_t incarnation = 0;
    Err err = {0};
    assert_ok(control_register_root(f->control, conformance_root(i), &incarnation, &err), &err);
    return incarnation;
}

static void test_incarnations_rise(void **state)
{
    Fixture *f = *state;
    assert_int_equal(start_root(f, 0), 1);
    assert_int_equal(start_root(f, 1), 1);
    assert_int_equal(start_root(f, 0), 2);
    reopen(f);
    assert_int_equal(start_root(f, 0), 3);
    ControlRoot roots[CONFORMANCE_ROOTS] = {0};
    size_t count = 0;
    Err err = {0};
    assert_ok(control_list_roots(f->control, roots, 1, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_true(id128_is_zero(roots[1].root));
    assert_ok(control_list_roots(f->control, roots, CONFORMANCE_ROOTS, &count, &err), &err);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(roots[i].verdict, ROOT_CLEAN);
        assert_int_equal(roots[i].incarnation,
                         id128_eq(roots[i].root, conformance_root(0)) ? 3 : 1);
    }
}

/* Alone, a root stays in sync in its next life. */
static void test_sole_member_stays(void **state)
{
    Fixture *f = *state;
    cas(f, conformance_row(5, 1, 0, 1), OK);
    cas(f, conformance_row(6, 3, 0, 2), OK);
    ControlShard row = conformance_row(7, 3, 0, 3);
    row.config.isr = 1; /* the only one in sync */
    row.config.elr = 4;
    cas(f, row, OK);
    (void)start_root(f, 0); /* its number is looked at below */
    assert_int_equal(start_root(f, 0), 2);
    ShardConfig config = get(f, 5);
    assert_int_equal(config.isr, 1);
    assert_int_equal(config.members[0].incarnation, 2);
    config = get(f, 7);
    assert_int_equal(config.isr, 1);
    assert_int_equal(config.elr, 4);
    assert_int_equal(config.members[0].incarnation, 2);
    assert_int_equal(config.members[1].incarnation, 1);
}

/* Beside others it leaves isr and elr; rows without it are untouched. */
static void test_restarted_member_leaves(void **state)
{
    Fixture *f = *state;
    ControlShard row = conformance_row(5, 3, 0, 1);
    cas(f, row, OK);
    row = conformance_row(6, 3, 0, 2);
    row.config.isr = 1;
    row.config.elr = 6;
    cas(f, row, OK);
    row = conformance_row(7, 1, 0, 3);
    cas(f, row, OK);
    row = conformance_row(8, 1, 0, 4);
    row.config.learner_count = 1;
    row.config.learners[0] = (Member){.root = conformance_root(1), .incarnation = 1};
    cas(f, row, OK);
    (void)start_root(f, 1); /* its number is looked at below */
    assert_int_equal(start_root(f, 1), 2);
    ShardConfig config = get(f, 5);
    assert_int_equal(config.isr, 5);
    assert_int_equal(config.members[1].incarnation, 2);
    config = get(f, 6);
    assert_int_equal(config.isr, 1);
    assert_int_equal(config.elr, 4);
    expect_uid(f, 7, 3);
    config = get(f, 8);
    assert_int_equal(config.isr, 1);
    assert_int_equal(config.learners[0].incarnation, 2);
}

/* Who acts under a row in which the root lived its earlier life can't put it back (I6). */
static void test_restart_makes_another_row(void **state)
{
    Fixture *f = *state;
    cas(f, conformance_row(5, 3, 0, 1), OK);
    ShardConfig before = get(f, 5);
    assert_int_equal(start_root(f, 2), 1);
    ShardConfig after = get(f, 5);
    assert_false(id128_eq(before.cfg_uid, after.cfg_uid));
    assert_true(id128_eq(before.cfg_uid, after.parent_uid));
    assert_int_equal(after.version, before.version + 1);
    cas(f, conformance_row(5, 3, 1, 2), ERR_PRECONDITION);
    assert_int_equal(get(f, 5).isr, 3);
}

static void test_verdicts(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    uint64_t incarnation = 77;
    assert_code(control_set_verdict(f->control, conformance_root(0), ROOT_SUSPECT, &err),
                ERR_NOT_FOUND, &err);
    assert_int_equal(start_root(f, 0), 1);
    assert_ok(control_set_verdict(f->control, conformance_root(0), ROOT_SUSPECT, &err), &err);
    assert_int_equal(start_root(f, 0), 2); /* it may come up, to be seeded again */
    ControlRoot root;
    size_t count = 0;
    reopen(f);
    assert_ok(control_list_roots(f->control, &root, 1, &count, &err), &err);
    assert_int_equal(root.verdict, ROOT_SUSPECT);
    assert_ok(control_set_verdict(f->control, conformance_root(0), ROOT_LOST, &err), &err);
    for (int i = 0; i < 2; i++) {
        assert_code(control_register_root(f->control, conformance_root(0), &incarnation, &err),
                    ERR_FORBIDDEN, &err);
        assert_int_equal(incarnation, 77);
        reopen(f);
    }
    assert_int_equal(start_root(f, 1), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int control_conformance(const ControlDriver *which)
{
    driver = which;
    const struct CMUnitTest tests[] = {
        TEST(test_row_comes_and_changes),
        TEST(test_row_is_whole),
        TEST(test_wrong_parent_changes_nothing),
        TEST(test_all_rows_or_none),
        TEST(test_rows_in_order),
        TEST(test_incarnations_rise),
        TEST(test_sole_member_stays),
        TEST(test_restarted_member_leaves),
        TEST(test_restart_makes_another_row),
        TEST(test_verdicts),
    };
    return _cmocka_run_group_tests(which->name, tests, ARRAY_LEN(tests), NULL, NULL);
}
