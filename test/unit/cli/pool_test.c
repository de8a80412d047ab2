/* What an item goes through before a request is made; the requests themselves are tested end to
 * end. Nothing here reaches the network: each item is over before its call starts. */
#include "cli/pool.h"
#include "testing.h"

typedef struct {
    ClientCall call;
} Item;

typedef struct {
    ErrCode first;  /* what prepare() says the first time; OK: begin() follows, and fails */
    bool always_ok; /* prepare() never finds that there is nothing to do */
    bool taken;
    unsigned prepared;
    unsigned begun;
    unsigned over;
    ErrCode code; /* that it was over with */
} Plan;

static ErrCode plan_next(void *ctx, void *item, bool *found, Err *err)
{
    Plan *plan = ctx;
    UNUSED(item);
    UNUSED(err);
    *found = !plan->taken;
    plan->taken = true;
    return OK;
}

static ErrCode plan_prepare(void *ctx, void *item, PoolVerdict *verdict, Err *err)
{
    Plan *plan = ctx;
    UNUSED(item);
    plan->prepared++;
    *verdict = plan->always_ok || plan->prepared == 1 ? POOL_SEND : POOL_SKIP;
    if (plan->prepared > 1 || plan->first == OK) return OK;
    return err_set(err, plan->first, "it changed");
}

static ErrCode plan_begin(void *ctx, void *item, Err *err)
{
    Plan *plan = ctx;
    UNUSED(item);
    plan->begun++;
    return err_set(err, ERR_ABORTED, "it changed");
}

static ErrCode plan_end(void *ctx, void *item, Err *err)
{
    UNUSED(ctx);
    UNUSED(item);
    UNUSED(err);
    fail_msg("no call was made");
    return OK;
}

static void plan_done(void *ctx, void *item, const Err *err)
{
    Plan *plan = ctx;
    UNUSED(item);
    plan->over++;
    plan->code = err->code;
}

static void tick(void *watch)
{
    UNUSED(watch);
}

static void waiting(void *watch, const Err *err)
{
    UNUSED(watch);
    UNUSED(err);
    fail_msg("nobody waits for the server");
}

static void run(Plan *plan, bool prepares)
{
    Rng rng;
    Client *client = NULL;
    Err err = {0};
    rng_init(&rng, 1);
    assert_ok(client_open("http://127.0.0.1:1", NULL, 1, NULL, &client, &err), &err);
    PoolOptions options = {.connections = 1,
                           .retry = {.window_ms = 600000, .rng = &rng},
                           .tick = tick,
                           .waiting = waiting};
    PoolOps ops = {.item_size = sizeof(Item),
                   .answer_max = CLIENT_ANSWER_MAX,
                   .next = plan_next,
                   .prepare = prepares ? plan_prepare : NULL,
                   .begin = plan_begin,
                   .end = plan_end,
                   .done = plan_done,
                   .ctx = plan};
    assert_ok(pool_run(client, &options, &ops, &err), &err);
    assert_int_equal(plan->over, 1);
    client_close(client);
}

/* An attempt that failed in prepare() is none that may be sent: prepare() decides again. */
static void prepare_failed(void **state)
{
    UNUSED(state);
    Plan plan = {.first = ERR_ABORTED};
    run(&plan, true);
    assert_int_equal(plan.prepared, 2);
    assert_int_equal(plan.begun, 0);
    assert_int_equal(plan.code, OK);
}

static void prepare_failed_for_good(void **state)
{
    UNUSED(state);
    Plan plan = {.first = ERR_FORBIDDEN};
    run(&plan, true);
    assert_int_equal(plan.prepared, 1);
    assert_int_equal(plan.begun, 0);
    assert_int_equal(plan.code, ERR_FORBIDDEN);
}

/* What was so before the first attempt may be otherwise before the second. */
static void prepared_again(void **state)
{
    UNUSED(state);
    Plan plan = {0};
    run(&plan, true);
    assert_int_equal(plan.prepared, 2);
    assert_int_equal(plan.begun, 1);
    assert_int_equal(plan.code, OK);
}

static void each_attempt(void **state)
{
    UNUSED(state);
    for (int prepares = 0; prepares < 2; prepares++) {
        Plan plan = {.always_ok = true};
        run(&plan, prepares == 1);
        assert_int_equal(plan.prepared, prepares == 1 ? RETRY_FEW : 0);
        assert_int_equal(plan.begun, RETRY_FEW);
        assert_int_equal(plan.code, ERR_ABORTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepare_failed),
        cmocka_unit_test(prepare_failed_for_good),
        cmocka_unit_test(prepared_again),
        cmocka_unit_test(each_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
