/* The conformance tests over each driver: local with one root and with three. */
#include "conformance.h"
#include "control/local/local.h"
#include "disk/sim.h"
#include "testing.h"

typedef struct {
    Disk *disks[3];
    size_t count;
} Roots;

static void *roots_new(size_t count)
{
    Roots *roots = mem_new(sizeof *roots);
    roots->count = count;
    for (size_t i = 0; i < count; i++)
        assert_ok(disk_sim_new(i + 1, &roots->disks[i], NULL), NULL);
    return roots;
}

static void *one_root(void)
{
    return roots_new(1);
}

static void *three_roots(void)
{
    return roots_new(3);
}

static void roots_free(void *ctx)
{
    Roots *roots = ctx;
    for (size_t i = 0; i < roots->count; i++)
        disk_free(roots->disks[i]);
    mem_free(roots);
}

/* Power fails in between: only what is durable is there. */
static Control *roots_open(void *ctx)
{
    Roots *roots = ctx;
    Control *control = NULL;
    for (size_t i = 0; i < roots->count; i++)
        disk_sim_crash(roots->disks[i]);
    if (control_local_open(roots->disks, roots->count, &control, NULL) != OK) return NULL;
    return control;
}

/* The same, each disk written by a thread of its own. */
static Control *roots_open_apart(void *ctx)
{
    Control *control = roots_open(ctx);
    if (control != NULL) assert_ok(control_local_start_writers(control, NULL), NULL);
    return control;
}

static void run_no_rows(void *arg)
{
    ErrCode code = control_cas(arg, NULL, 0, NULL);
    UNUSED(code);
}

static void run_no_root(void *arg)
{
    uint64_t incarnation = 0;
    ErrCode code = control_register_root(arg, (Uuid){{0}}, &incarnation, NULL);
    UNUSED(code);
}

static void test_misuse_aborts(void **state)
{
    UNUSED(state);
    Roots *roots = one_root();
    Control *control = roots_open(roots);
    assert_aborts(run_no_rows, control, "count > 0");
    assert_aborts(run_no_root, control, "id128_is_zero");
    control_free(control);
    control_free(NULL);
    roots_free(roots);
}

int main(void)
{
    static const ControlDriver drivers[] = {
        {"local, one root", one_root, roots_free, roots_open},
        {"local, three roots", three_roots, roots_free, roots_open},
        {"local, three roots, a thread each", three_roots, roots_free, roots_open_apart},
    };
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_misuse_aborts)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        failed += control_conformance(&drivers[i]);
    return failed;
}
