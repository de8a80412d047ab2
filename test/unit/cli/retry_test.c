#include "cli/retry.h"
#include "testing.h"

#define WINDOW_MS 60000

static bool again(Retry *retry, RetryCause cause, uint64_t now_ms, uint64_t *wait_ms)
{
    Rng rng;
    rng_init(&rng, now_ms + retry->attempts);
    return retry_again(retry, &cause, now_ms, WINDOW_MS, &rng, wait_ms);
}

/* How often an attempt that always fails at once is made within the window. */
static unsigned attempts_of(RetryCause cause)
{
    Retry retry = {0};
    uint64_t now_ms = 1000;
    uint64_t wait_ms = 0;
    while (retry.attempts < 10000 && again(&retry, cause, now_ms, &wait_ms))
        now_ms += wait_ms;
    return retry.attempts;
}

static void decisions(void **state)
{
    UNUSED(state);
    enum { ONCE, FEW, LONG };
    static const struct {
        ErrCode code;
        bool local;
        int kind;
    } rows[] = {
        {ERR_PEER, false, LONG},
        {ERR_BUSY, false, LONG},
        {ERR_NOT_READY, false, LONG},
        {ERR_SHUTTING_DOWN, false, LONG},
        {ERR_OUTCOME_UNKNOWN, false, LONG},
        {ERR_ROOT_FAILED, false, LONG},
        {ERR_REQUEST_TIMEOUT, false, LONG},
        {ERR_IO, false, LONG},
        {ERR_DIGEST_MISMATCH, false, FEW},
        {ERR_INCOMPLETE_BODY, false, FEW},
        {ERR_CORRUPT, true, FEW},
        {ERR_ABORTED, true, FEW},
        {ERR_NO_SPACE, false, ONCE},
        {ERR_NOT_FOUND, false, ONCE},
        {ERR_UNAUTHENTICATED, false, ONCE},
        {ERR_FORBIDDEN, false, ONCE},
        {ERR_FILE_DAMAGED, false, ONCE},
        {ERR_PRECONDITION, false, ONCE},
        {ERR_CONFIG, false, ONCE},
        {ERR_INVALID, false, ONCE},
        /* This side's own troubles are not waited for. */
        {ERR_IO, true, ONCE},
        {ERR_NO_MEMORY, true, ONCE},
        {ERR_BAD_NAME, true, ONCE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned made = attempts_of((RetryCause){.code = rows[i].code, .local = rows[i].local});
        if (rows[i].kind == ONCE) assert_int_equal(made, 1);
        if (rows[i].kind == FEW) assert_int_equal(made, RETRY_FEW);
        if (rows[i].kind == LONG) assert_in_range(made, 30, 100);
    }
}

static void waits(void **state)
{
    UNUSED(state);
    Retry retry = {0};
    uint64_t wait_ms = 0;
    uint64_t most = RETRY_WAIT_MIN_MS;
    uint64_t now_ms = 5000;
    RetryCause cause = {.code = ERR_BUSY};
    for (int i = 0; i < 10; i++) {
        assert_true(again(&retry, cause, now_ms, &wait_ms));
        assert_in_range(wait_ms, most / 2, most);
        most = MIN(2 * most, (uint64_t)RETRY_WAIT_MAX_MS);
        now_ms += wait_ms;
    }
    /* As the server asks, but not for ever. */
    cause.retry_after_ms = 7000;
    assert_true(again(&retry, cause, now_ms, &wait_ms));
    assert_int_equal(wait_ms, 7000);
    cause.retry_after_ms = 3600000;
    assert_true(again(&retry, cause, now_ms, &wait_ms));
    assert_int_equal(wait_ms, RETRY_AFTER_MAX_MS);
    /* The last attempt is at the end of the window. */
    assert_true(again(&retry, cause, 5000 + WINDOW_MS - 10, &wait_ms));
    assert_int_equal(wait_ms, 10);
    assert_false(again(&retry, cause, 5000 + WINDOW_MS, &wait_ms));
}

static void coming_forward(void **state)
{
    UNUSED(state);
    Retry retry = {0};
    uint64_t wait_ms = 0;
    uint64_t now_ms = 0;
    RetryCause cut = {.code = ERR_PEER, .moved = true};
    /* Each moved bytes before it broke off: the window begins anew, the waits are short ... */
    for (int i = 0; i < RETRY_MOVED_MAX; i++) {
        assert_true(again(&retry, cut, now_ms, &wait_ms));
        assert_in_range(wait_ms, RETRY_WAIT_MIN_MS / 2, RETRY_WAIT_MIN_MS);
        now_ms += WINDOW_MS;
    }
    /* ... but not without end. */
    assert_false(again(&retry, cut, now_ms, &wait_ms));
    assert_in_range(attempts_of(cut), RETRY_MOVED_MAX + 20, 200);
}

static void no_window(void **state)
{
    UNUSED(state);
    Retry retry = {0};
    Rng rng;
    uint64_t wait_ms = 42;
    RetryCause cause = {.code = ERR_PEER};
    rng_init(&rng, 1);
    assert_false(retry_again(&retry, &cause, 0, 0, &rng, &wait_ms));
    assert_int_equal(wait_ms, 42);
}

static void what_ends_all(void **state)
{
    UNUSED(state);
    assert_true(retry_ends_all(ERR_UNAUTHENTICATED));
    assert_true(retry_ends_all(ERR_NO_BUCKET));
    assert_true(retry_ends_all(ERR_NO_SPACE));
    assert_false(retry_ends_all(ERR_NOT_FOUND));
    assert_false(retry_ends_all(ERR_FORBIDDEN));
    assert_false(retry_ends_all(ERR_BAD_NAME));
    assert_false(retry_ends_all(ERR_FILE_DAMAGED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions),      cmocka_unit_test(waits),
        cmocka_unit_test(coming_forward), cmocka_unit_test(no_window),
        cmocka_unit_test(what_ends_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
