#include "testing.h"

#include "base/clock.h"
#include "base/thread.h"
#include "base/wake.h"

#include <unistd.h>

static void test_set_is_kept(void **state)
{
    UNUSED(state);
    Wake wake;
    wake_init(&wake);
    assert_false(wake_wait(&wake, 0));
    wake_set(&wake);
    wake_set(&wake); /* one flag, not a count */
    assert_true(wake_wait(&wake, 0));
    assert_false(wake_wait(&wake, 0));
    wake_set(&wake);
    assert_true(wake_wait(&wake, -1));
    wake_deinit(&wake);
}

static void test_timeout(void **state)
{
    UNUSED(state);
    static const int timeouts_ms[] = {1, 20, 1100};
    Wake wake;
    wake_init(&wake);
    for (size_t i = 0; i < ARRAY_LEN(timeouts_ms); i++) {
        uint64_t start = clock_boot_ns(clock_real());
        assert_false(wake_wait(&wake, timeouts_ms[i]));
        uint64_t waited_ms = (clock_boot_ns(clock_real()) - start) / 1000000;
        assert_true(waited_ms >= (uint64_t)timeouts_ms[i]);
    }
    wake_set(&wake); /* after a time-out it works as before */
    assert_true(wake_wait(&wake, -1));
    wake_deinit(&wake);
}

#define ROUNDS 20000

/* Two threads hand a turn to and fro: a lost set would end it here, by the test's time-out. */
typedef struct {
    Wake ping;
    Wake pong;
    unsigned turns; /* whoever has the turn writes it */
    unsigned missed;
} Game;

static void game_run(void *arg)
{
    Game *game = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!wake_wait(&game->ping, 10000)) game->missed++;
        game->turns++;
        wake_set(&game->pong);
    }
}

static void test_threads(void **state)
{
    UNUSED(state);
    Game game = {0};
    wake_init(&game.ping);
    wake_init(&game.pong);
    Thread thread;
    Err err = {0};
    assert_ok(thread_start(&thread, "game", game_run, &game, &err), &err);
    for (unsigned i = 0; i < ROUNDS; i++) {
        game.turns++;
        wake_set(&game.ping);
        /* Some of the waits end by their time-outs right when the flag is set. */
        bool woken = false;
        for (int tries = 0; i % 16 == 0 && !woken && tries < 100000; tries++)
            woken = wake_wait(&game.pong, 0);
        if (!woken) assert_true(wake_wait(&game.pong, 10000));
        assert_int_equal(game.turns, 2 * (i + 1));
    }
    thread_join(&thread);
    assert_int_equal(game.missed, 0);
    wake_deinit(&game.ping);
    wake_deinit(&game.pong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_is_kept),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
