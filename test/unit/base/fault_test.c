#include "testing.h"

#include "base/fault.h"
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
    UNUSED(state);
    fault_reset();
    return 0;
}

/* A row without a name if the point is not known. */
static FaultStat stat_of(const char *name)
{
    static FaultStat stats[FAULT_POINTS_MAX];
    size_t count = fault_stats(stats, ARRAY_LEN(stats));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(stats[i].name, name) == 0) return stats[i];
    }
    return (FaultStat){NULL, UINT64_MAX, UINT64_MAX};
}

static void test_unarmed(void **state)
{
    UNUSED(state);
    assert_null(stat_of("unarmed.point").name);
    assert_int_equal(fault_point("unarmed.point"), 0);
    assert_int_equal(fault_point("unarmed.point"), 0);
    assert_false(fault_planted("unarmed-bug"));
    assert_int_equal(stat_of("unarmed.point").hits, 2);
    assert_int_equal(stat_of("unarmed.point").fired, 0);
    assert_int_equal(stat_of("unarmed-bug").hits, 1);
    fault_reset();
    assert_int_equal(stat_of("unarmed.point").hits, 0); /* still known */
    FaultStat one;
    assert_int_equal(fault_stats(&one, 1), 1);
    assert_int_equal(fault_stats(&one, 0), 0);
}

/* Which of six passes fail. */
static void assert_passes(const char *name, const char *wanted)
{
    char got[7] = "";
    for (size_t i = 0; i < 6; i++) {
        int errno_value = fault_point(name);
        got[i] = errno_value == 0 ? '.' : errno_value == EIO ? 'I' : 'S';
    }
    assert_string_equal(got, wanted);
}

static void test_arm(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t nth;
        bool sticky;
        const char *passes;
    } rows[] = {
        {1, false, "I....."}, {3, false, "..I..."}, {6, false, ".....I"}, {7, false, "......"},
        {1, true, "IIIIII"},  {3, true, "..IIII"},  {7, true, "......"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fault_reset();
        fault_arm("a.b", EIO, rows[i].nth, rows[i].sticky);
        assert_int_equal(fault_point("a.bc"), 0); /* another point */
        assert_int_equal(fault_point("a"), 0);
        assert_passes("a.b", rows[i].passes);
        fault_reset();
        assert_passes("a.b", "......");
    }
    /* Several at once: each counts for itself; the first that acts gives the errno. */
    fault_reset();
    fault_arm("a.b", EIO, 2, false);
    fault_arm("a.b", ENOSPC, 2, false);
    fault_arm("a.b", ENOSPC, 4, false);
    assert_passes("a.b", ".I.S..");
    assert_int_equal(stat_of("a.b").hits, 6);
    assert_int_equal(stat_of("a.b").fired, 2);
    /* Counts begin with the arming. */
    fault_arm("a.b", EIO, 1, false);
    assert_passes("a.b", "I.....");
}

static void test_arm_any(void **state)
{
    UNUSED(state);
    fault_arm_any("disk.", EIO, 3, false);
    assert_int_equal(fault_point("disk.write"), 0);
    assert_int_equal(fault_point("net.write"), 0);
    assert_int_equal(fault_point("disk.sync"), 0);
    assert_int_equal(fault_point("disk"), 0);
    assert_int_equal(fault_point("disk.write"), EIO); /* the third pass over any */
    assert_int_equal(fault_point("disk.write"), 0);
    fault_reset();
    fault_arm_any("", ENOSPC, 2, true);
    assert_int_equal(fault_point("x"), 0);
    assert_int_equal(fault_point("y"), ENOSPC);
    assert_int_equal(fault_point("z"), ENOSPC);
}

static void test_plant(void **state)
{
    UNUSED(state);
    assert_false(fault_planted("skip-dir-sync"));
    fault_plant("skip-dir-sync", true);
    assert_true(fault_planted("skip-dir-sync"));
    assert_false(fault_planted("skip-sync"));
    assert_int_equal(stat_of("skip-dir-sync").hits, 2);
    assert_int_equal(stat_of("skip-dir-sync").fired, 1);
    fault_plant("skip-dir-sync", false);
    assert_false(fault_planted("skip-dir-sync"));
    fault_plant("skip-dir-sync", true);
    fault_reset();
    assert_false(fault_planted("skip-dir-sync"));
}

static void test_configure(void **state)
{
    UNUSED(state);
    Err err;
    assert_ok(fault_configure(NULL, &err), &err);
    assert_ok(fault_configure("", &err), &err);
    assert_ok(fault_configure("a.b=fail:EIO@2,a.b=fail:28@4+,bug=plant", &err), &err);
    assert_passes("a.b", ".I.SSS");
    assert_true(fault_planted("bug"));
    fault_reset();
    assert_ok(fault_configure("a.b=fail:ENOSPC", &err), &err);
    assert_passes("a.b", "S.....");
    fault_reset();
    assert_ok(fault_configure("a.*=fail:EIO@2", &err), &err);
    assert_int_equal(fault_point("a.x"), 0);
    assert_int_equal(fault_point("b.x"), 0);
    assert_int_equal(fault_point("a.y"), EIO);
    fault_reset();
    assert_ok(fault_configure("*=fail:EIO@2", &err), &err);
    assert_int_equal(fault_point("a.x"), 0);
    assert_int_equal(fault_point("b.x"), EIO);
    fault_reset();
    assert_ok(fault_configure("never.passed=kill@3", &err), &err);
    assert_int_equal(stat_of("never.passed").hits, 0); /* listed, so that a test can complain */

    /* Nonsense, behind something valid: nothing of it takes effect. */
    static const char *const bad[] = {
        "x",
        "x=",
        "=fail:EIO",
        "=kill",
        "x=fail",
        "x=fail:",
        "x=fail:EWHAT",
        "x=fail:0",
        "x=fail:4096",
        "x=fail:-5",
        "x=fail:EIO@",
        "x=fail:EIO@0",
        "x=fail:EIO@+",
        "x=fail:EIO@1x",
        "x=fail:EIO@-1",
        "x=kill:EIO",
        "x=plant:EIO",
        "x=frob",
        "x*=plant",
        ",",
        "x=kill,,y=kill",
        "1234567890123456789012345678901234567890123456789012345678901234=kill",
        "x=fail:EIO@99999999999999999999",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char spec[256];
        snprintf(spec, sizeof spec, "a.b=fail:EIO@1+,%s", bad[i]);
        fault_reset();
        assert_code(fault_configure(spec, &err), ERR_CONFIG, &err);
        assert_passes("a.b", "......");
    }
    char many[2000] = "";
    for (size_t i = 0; i < 65; i++)
        memcpy(many + 11 * i, "x=fail:EIO,", 12);
    assert_code(fault_configure(many, &err), ERR_CONFIG, &err);
    fault_reset();
}

/* The third pass kills as kill -9 does: no handler, no clean-up. */
static void test_kill(void **state)
{
    UNUSED(state);
    Err err;
    for (int passes = 2; passes <= 3; passes++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            ASSERT(fault_configure("wal.rotate=kill@3", &err) == OK);
            for (int i = 0; i < passes; i++)
                ASSERT(fault_point("wal.rotate") == 0);
            _exit(7);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (passes == 2)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        else
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
}

static void pass_many(void *arg)
{
    int *fired = arg;
    for (int i = 0; i < 5000; i++)
        *fired += fault_point("threads.point") != 0;
}

static void test_threads(void **state)
{
    UNUSED(state);
    fault_arm("threads.point", EIO, 4000, false);
    fault_arm("threads.point", EIO, 14000, false);
    Thread threads[3];
    int fired[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(thread_start(&threads[i], "fault", pass_many, &fired[i], NULL), NULL);
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    assert_int_equal(fired[0] + fired[1] + fired[2], 2);
    assert_int_equal(stat_of("threads.point").hits, 15000);
    assert_int_equal(stat_of("threads.point").fired, 2);
}

/* Names are found again whatever their hashes: as many points as there may be. */
static void fill_up(void *arg)
{
    int more = *(int *)arg;
    FaultStat stats[FAULT_POINTS_MAX];
    int room = FAULT_POINTS_MAX - (int)fault_stats(stats, ARRAY_LEN(stats));
    char name[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < room + more; i++) {
            snprintf(name, sizeof name, "point.%d", i);
            ASSERT(fault_point(name) == 0);
        }
    }
    ASSERT(fault_stats(stats, ARRAY_LEN(stats)) == FAULT_POINTS_MAX);
    for (int i = 0; i < room; i++) {
        ASSERT(stats[FAULT_POINTS_MAX - room + i].hits == 2);
    }
    dprintf(STDERR_FILENO, "all found again");
    check_failed(__FILE__, __LINE__, "the end");
}

static void test_many(void **state)
{
    UNUSED(state);
    int more = 0;
    assert_aborts(fill_up, &more, "all found again");
    more = 1;
    assert_aborts(fill_up, &more, "FAULT_POINTS_MAX");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unarmed, setup),   cmocka_unit_test_setup(test_arm, setup),
        cmocka_unit_test_setup(test_arm_any, setup),   cmocka_unit_test_setup(test_plant, setup),
        cmocka_unit_test_setup(test_configure, setup), cmocka_unit_test_setup(test_kill, setup),
        cmocka_unit_test_setup(test_threads, setup),   cmocka_unit_test_setup(test_many, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
