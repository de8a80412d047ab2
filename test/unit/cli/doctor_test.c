#include "cli/doctor.h"
#include "testing.h"

static void mounts(void **state)
{
    UNUSED(state);
    static const struct {
        const char *line, *device, *type, *options; /* type NULL: not this one */
    } rows[] = {
        {"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue", "98:0",
         "ext3", "rw,noatime master:1 - ext3 /dev/root rw,errors=continue"},
        {"36 35 98:0 / / rw - xfs /dev/x rw,nobarrier", "98:0", "xfs",
         "rw - xfs /dev/x rw,nobarrier"},
        {"36 35 98:0 / / rw shared:1 master:2 - ext4 /dev/x rw", "98:0", "ext4",
         "rw shared:1 master:2 - ext4 /dev/x rw"},
        {"36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw", "98:1", NULL, NULL},
        {"36 35 98:0 /mnt1 /mnt2 rw - ext3", "98:0", NULL, NULL},
        {"36 35 98:0 - ext3 a b", "98:0", NULL, NULL},
        {"", "98:0", NULL, NULL},
        {"- - - - - - - - - - - - - - - - - - - -", "-", NULL, NULL},
    };
    /* A read-only mount of the same device at another place is another mount. */
    Str line = STR("36 35 98:0 /a /mnt ro - ext4 /dev/x rw");
    DoctorMount other;
    assert_true(doctor_mount_of(line, STR("36"), STR("98:0"), &other));
    assert_false(doctor_mount_of(line, STR("35"), STR("98:0"), &other));
    assert_true(doctor_mount_of(line, STR("36"), STR("0:40"), &other)); /* as btrfs has it */

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        DoctorMount mount;
        bool found = doctor_mount_of(str_from_cstr(rows[i].line), STR(""),
                                     str_from_cstr(rows[i].device), &mount);
        assert_int_equal(found, rows[i].type != NULL);
        if (!found) continue;
        assert_true(str_eq(mount.type, str_from_cstr(rows[i].type)));
        assert_true(str_eq(mount.options, str_from_cstr(rows[i].options)));
    }
}

static void options(void **state)
{
    UNUSED(state);
    Str some = STR("rw,noatime shared:1 - ext4 /dev/x rw,barrier=0");
    assert_true(doctor_has_option(some, STR("rw")));
    assert_true(doctor_has_option(some, STR("noatime")));
    assert_true(doctor_has_option(some, STR("barrier=0")));
    assert_false(doctor_has_option(some, STR("ro")));
    assert_false(doctor_has_option(some, STR("barrier")));
    assert_false(doctor_has_option(STR(""), STR("ro")));
}

static void judgements(void **state)
{
    UNUSED(state);
    static const struct {
        const char *type;
        DoctorLevel level;
    } types[] = {{"ext4", DOCTOR_OK},   {"xfs", DOCTOR_OK},       {"tmpfs", DOCTOR_FAIL},
                 {"nfs4", DOCTOR_WARN}, {"overlay", DOCTOR_WARN}, {"", DOCTOR_WARN}};
    static const struct {
        uint64_t p50, p99;
        DoctorLevel level;
    } syncs[] = {{0, 0, DOCTOR_WARN},        {14, 900, DOCTOR_WARN},     {15, 900, DOCTOR_OK},
                 {300, 200000, DOCTOR_OK},   {300, 200001, DOCTOR_WARN}, {15000, 20000, DOCTOR_OK},
                 {15001, 20000, DOCTOR_WARN}};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const char *why = "";
        assert_int_equal(doctor_judge_type(str_from_cstr(types[i].type), &why), types[i].level);
        assert_int_equal(why == NULL, types[i].level == DOCTOR_OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(syncs); i++) {
        const char *why = "";
        assert_int_equal(doctor_judge_sync(syncs[i].p50, syncs[i].p99, &why), syncs[i].level);
        assert_int_equal(why == NULL, syncs[i].level == DOCTOR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mounts),
        cmocka_unit_test(options),
        cmocka_unit_test(judgements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
