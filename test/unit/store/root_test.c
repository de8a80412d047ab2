/* root.json: made once, read back, and every reason to keep hands off. */
#include "testing.h"

#include <string.h>

#include "disk/posix.h"
#include "disk/sim.h"
#include "store/root.h"
#include "text/json.h"

typedef struct {
    Disk *disk;
    Rng rng;
    ManualClock clock;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    rng_init(&f->rng, 1);
    clock_manual_init(&f->clock, 1700000000123);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static ErrCode open_root(Fixture *f, RootInfo *info, Err *err)
{
    return root_open(f->disk, STR("pid 7"), &f->rng, &f->clock.clock, info, err);
}

static void test_made_once(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RootInfo first;
    RootInfo again;
    assert_ok(open_root(f, &first, &err), &err);
    assert_false(id128_is_zero(first.uuid));
    assert_int_equal(first.created_ms, 1700000000123);
    disk_sim_crash(f->disk); /* it was durable at once */
    assert_ok(open_root(f, &again, &err), &err);
    assert_true(id128_eq(first.uuid, again.uuid));
    assert_true(id128_eq(first.cluster, again.cluster));
    again.incarnation = 5;
    assert_ok(root_save(f->disk, &again, &err), &err);
    disk_sim_crash(f->disk);
    assert_ok(open_root(f, &first, &err), &err);
    assert_int_equal(first.incarnation, 5);
}

static void test_in_use(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RootInfo info;
    assert_ok(open_root(f, &info, &err), &err);
    assert_code(open_root(f, &info, &err), ERR_IN_USE, NULL);
    assert_non_null(strstr(err_text(&err), "pid 7"));
    disk_sim_kill(f->disk);
    assert_ok(open_root(f, &info, &err), &err);
}

/* A directory that is somebody else's stays as it is. */
static void test_foreign_untouched(void **state)
{
    UNUSED(state);
    Err err = {0};
    RootInfo info;
    Rng rng;
    Disk *disk = NULL;
    DiskStat stat;
    char *dir = tmp_dir_new();
    rng_init(&rng, 1);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_ok(disk_create_durable(disk, "letter", STR("dear"), &err), &err);
    assert_code(root_open(disk, STR("pid 7"), &rng, clock_real(), &info, &err), ERR_FOREIGN, NULL);
    assert_ok(disk_stat(disk, ROOT_LOCK_FILE, &stat, &err), &err);
    assert_false(stat.exists);
    disk_free(disk);
    tmp_dir_remove(dir);
}

/* What a second process reads, and the lock is still held. */
static void test_tell(void **state)
{
    UNUSED(state);
    Err err = {0};
    RootInfo info;
    Rng rng;
    Disk *disk = NULL;
    Disk *second = NULL;
    char *dir = tmp_dir_new();
    rng_init(&rng, 1);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_ok(root_open(disk, STR("pid 7, a long text"), &rng, clock_real(), &info, &err), &err);
    assert_ok(root_tell(disk, STR("pid 7, short"), &err), &err);
    assert_ok(disk_posix_open(dir, &second, &err), &err);
    assert_code(root_open(second, STR("pid 8"), &rng, clock_real(), &info, &err), ERR_IN_USE, NULL);
    assert_non_null(strstr(err_text(&err), "in use by pid 7, short"));
    assert_null(strstr(err_text(&err), "long"));
    disk_free(second);
    disk_free(disk);
    tmp_dir_remove(dir);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        ErrCode code;
    } cases[] = {
        {"", ERR_CORRUPT},
        {"{}", ERR_CORRUPT},
        {"[1]", ERR_CORRUPT},
        {"{\"format\":2}", ERR_FORMAT_VERSION},
        {"{\"format\":99,\"new\":true}", ERR_FORMAT_VERSION},
        {"{\"format\":1,\"root_uuid\":\"x\",\"cluster_uuid\":\"x\",\"created_at\":\"x\","
         "\"incarnation\":1,\"feature_level\":1}",
         ERR_CORRUPT},
        {"{\"format\":1,\"root_uuid\":\"01234567-89ab-cdef-0123-456789abcdef\","
         "\"cluster_uuid\":\"01234567-89ab-cdef-0123-456789abcdef\","
         "\"created_at\":\"2026-01-01T00:00:00.000Z\",\"incarnation\":1,\"feature_level\":2}",
         ERR_FORMAT_VERSION},
    };
    Fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Err err = {0};
        RootInfo info;
        disk_sim_kill(f->disk);
        AUTO_BUF(out, 4096);
        assert_ok(buf_append_str(&out, str_from_cstr(cases[i].text), &err), &err);
        if (out.len > 2 && cases[i].text[0] == '{') assert_ok(json_seal(&out, &err), &err);
        assert_ok(disk_replace_durable(f->disk, ROOT_FILE, buf_str(&out), &err), &err);
        assert_code(open_root(f, &info, &err), cases[i].code, &err);
        char *text = NULL;
        size_t len = 0;
        assert_ok(disk_read_file(f->disk, ROOT_FILE, 4096, &text, &len, &err), &err);
        assert_true(str_eq(str_of(text, len), buf_str(&out))); /* nothing was changed */
        mem_free(text);
    }
}

/* No bit of the file can flip unseen, and reading alone neither locks nor makes anything. */
static void test_any_flip(void **state)
{
    Fixture *f = *state;
    RootInfo info;
    RootInfo read;
    Err err = {0};
    assert_code(root_read(f->disk, &read, &err), ERR_NOT_FOUND, &err);
    assert_ok(open_root(f, &info, &err), &err);
    assert_ok(root_read(f->disk, &read, &err), &err);
    assert_memory_equal(&info.uuid, &read.uuid, sizeof info.uuid);
    DiskStat stat;
    assert_ok(disk_stat(f->disk, ROOT_FILE, &stat, &err), &err);
    for (uint64_t bit = 0; bit < stat.size * 8; bit++) {
        assert_ok(disk_sim_flip(f->disk, ROOT_FILE, bit, &err), &err);
        ErrCode code = root_read(f->disk, &read, &err);
        if (code != ERR_CORRUPT && code != ERR_FORMAT_VERSION) /* of the format itself */
            fail_msg("bit %ju: %s", (uintmax_t)bit, err_info(code)->name);
        assert_ok(disk_sim_flip(f->disk, ROOT_FILE, bit, &err), &err);
    }
}

static void test_strangers(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RootInfo info;
    assert_ok(disk_create_durable(f->disk, "holiday.jpg", STR("x"), &err), &err);
    assert_code(open_root(f, &info, &err), ERR_FOREIGN, NULL);
    assert_non_null(strstr(err_text(&err), "holiday.jpg"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
        cmocka_unit_test(test_foreign_untouched),
        cmocka_unit_test(test_tell),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_flip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
