#include "testing.h"

#include "base/fault.h"
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

typedef struct {
    char name[32];
    sigset_t mask;
    bool ran;
} Seen;

static void look(void *arg)
{
    Seen *seen = arg;
    ASSERT(pthread_getname_np(pthread_self(), seen->name, sizeof seen->name) == 0);
    ASSERT(pthread_sigmask(SIG_SETMASK, NULL, &seen->mask) == 0);
    seen->ran = true;
}

static void test_start(void **state)
{
    UNUSED(state);
    Err err;
    static const char *const names[] = {"", "wal", "123456789012345"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        Seen seen = {.ran = false};
        Thread thread = {.started = false};
        assert_ok(thread_start(&thread, names[i], look, &seen, &err), &err);
        assert_true(thread.started);
        thread_join(&thread);
        assert_false(thread.started);
        thread_join(&thread); /* nothing to wait for */
        assert_true(seen.ran);
        assert_string_equal(seen.name, names[i]);
    }
}

static void test_signals(void **state)
{
    UNUSED(state);
    static const struct {
        int signal;
        bool blocked;
    } rows[] = {
        {SIGTERM, true}, {SIGINT, true},  {SIGHUP, true},   {SIGPIPE, true},
        {SIGUSR1, true}, {SIGBUS, false}, {SIGSEGV, false}, {SIGABRT, false},
    };
    Seen seen = {.ran = false};
    Thread thread;
    assert_ok(thread_start(&thread, "signals", look, &seen, NULL), NULL);
    thread_join(&thread);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(sigismember(&seen.mask, rows[i].signal), rows[i].blocked);
    }
    /* The starting thread's own mask is as before. */
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void test_refused(void **state)
{
    UNUSED(state);
    Err err;
    Seen seen = {.ran = false};
    Thread thread = {.started = false};
    fault_reset();
    fault_arm("thread.start", EAGAIN, 1, false);
    assert_code(thread_start(&thread, "x", look, &seen, &err), ERR_SYSTEM, &err);
    assert_int_equal(err.errno_value, EAGAIN);
    assert_non_null(strstr(err.message, "start thread x"));
    assert_false(thread.started);
    assert_false(seen.ran);
    thread_join(&thread);
    fault_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
