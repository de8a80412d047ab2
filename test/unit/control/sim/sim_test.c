/* The simulator's driver: what every driver does, and what goes wrong on demand. */
#include "control/sim/sim.h"

#include "../conformance.h"
#include "testing.h"

typedef struct {
    ControlStore *store;
    Control *control;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    f->store = control_store_new();
    f->control = control_sim_open(f->store);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    control_free(f->control);
    control_store_free(f->store);
    mem_free(f);
    return 0;
}

static ErrCode put(Fixture *f, uint8_t parent, uint8_t uid)
{
    ControlShard row = conformance_row(5, 1, parent, uid);
    Err err = {0};
    return control_cas(f->control, &row, 1, &err);
}

/* The version of the row as a read tells it; 0: none. */
static uint64_t row_version(Fixture *f)
{
    ShardConfig config = {0};
    bool found = false;
    Err err = {0};
    assert_ok(control_get(f->control, 5, &config, &found, &err), &err);
    return found ? config.version : 0;
}

static void test_unknown(void **state)
{
    Fixture *f = *state;
    control_store_set_fate(f->store, CONTROL_SIM_UNKNOWN_DONE);
    assert_int_equal(put(f, 0, 1), ERR_OUTCOME_UNKNOWN);
    assert_int_equal(row_version(f), 1);
    control_store_set_fate(f->store, CONTROL_SIM_UNKNOWN_IGNORED);
    assert_int_equal(put(f, 1, 2), ERR_OUTCOME_UNKNOWN);
    assert_int_equal(row_version(f), 1);
    control_store_set_fate(f->store, CONTROL_SIM_UNKNOWN_DONE); /* its condition does not hold */
    assert_int_equal(put(f, 9, 3), ERR_OUTCOME_UNKNOWN);
    assert_int_equal(row_version(f), 1);
    assert_int_equal(put(f, 1, 4), OK);
    assert_int_equal(row_version(f), 4);
}

static void test_stale_read(void **state)
{
    Fixture *f = *state;
    assert_int_equal(put(f, 0, 1), OK);
    assert_int_equal(put(f, 1, 2), OK);
    control_store_set_fate(f->store, CONTROL_SIM_STALE);
    assert_int_equal(row_version(f), 1);
    assert_int_equal(row_version(f), 2);
}

static void test_down(void **state)
{
    Fixture *f = *state;
    assert_int_equal(put(f, 0, 1), OK);
    control_store_set_down(f->store, true);
    ShardConfig config;
    bool found = false;
    uint64_t incarnation = 0;
    Err err = {0};
    assert_code(control_get(f->control, 5, &config, &found, &err), ERR_PEER, &err);
    assert_int_equal(put(f, 1, 2), ERR_OUTCOME_UNKNOWN);
    assert_int_equal(put(f, 9, 2), ERR_OUTCOME_UNKNOWN);
    assert_code(control_register_root(f->control, conformance_root(0), &incarnation, &err),
                ERR_OUTCOME_UNKNOWN, &err);
    control_store_set_down(f->store, false);
    assert_int_equal(row_version(f), 1);
}

/* Numbers repeat after it, uids do not. */
static void test_roll_back(void **state)
{
    Fixture *f = *state;
    assert_false(control_store_roll_back(f->store));
    assert_int_equal(put(f, 0, 1), OK);
    uint64_t incarnation = 0;
    for (uint64_t i = 1; i <= 2; i++) {
        Err err = {0};
        assert_ok(control_register_root(f->control, conformance_root(0), &incarnation, &err), &err);
        assert_int_equal(incarnation, i);
    }
    assert_true(control_store_roll_back(f->store));
    assert_int_equal(row_version(f), 2);
    Err err = {0};
    assert_ok(control_register_root(f->control, conformance_root(0), &incarnation, &err), &err);
    assert_int_equal(incarnation, 2);
    for (int i = 0; i < 20; i++)
        (void)control_store_roll_back(f->store); /* only so many are remembered */
    assert_false(control_store_roll_back(f->store));
    assert_ok(control_register_root(f->control, conformance_root(1), &incarnation, &err), &err);
    control_store_keep(f->store);
    assert_false(control_store_roll_back(f->store));
}

static void *driver_new(void)
{
    return control_store_new();
}

static void driver_free(void *ctx)
{
    control_store_free(ctx);
}

static Control *driver_open(void *ctx)
{
    return control_sim_open(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_roll_back, setup, teardown),
    };
    const ControlDriver driver = {
        .name = "sim", .new = driver_new, .free = driver_free, .open = driver_open};
    int failed = control_conformance(&driver);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
