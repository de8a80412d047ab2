/* Memory of machines and control groups of both versions, from files as the kernel writes them. */
#include "base/machine.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char meminfo[] = "MemTotal:       24683656 kB\nMemFree:        1 kB\n";

static void put_file(const char *folder, const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s/%s", folder, path);
    for (char *slash = strchr(name + strlen(folder) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_memory(void **state)
{
    UNUSED(state);
    char folder[] = "/tmp/holdfast-machine-XXXXXX";
    assert_non_null(mkdtemp(folder));
    uint64_t total = 24683656ULL * KIB;
    put_file(folder, "a/memory.max", "1073741824\n");
    put_file(folder, "a/b/memory.max", "max\n");
    put_file(folder, "a/c/memory.max", "536870912\n");
    put_file(folder, "memory/v/memory.limit_in_bytes", "268435456\n");
    put_file(folder, "memory/memory.limit_in_bytes", "9223372036854771712\n");
    const struct {
        const char *meminfo;
        const char *groups;
        uint64_t memory;
    } rows[] = {
        {meminfo, "", total},
        {meminfo, "0::/\n", total},
        {meminfo, "0::/a\n", GIB},
        {meminfo, "0::/a/b\n", GIB}, /* of the one above */
        {meminfo, "0::/a/c\n", GIB / 2},
        {meminfo, "0::/gone/d\n", total},
        {meminfo, "9:name=systemd:/a\n5:memory:/v\n0::/\n", GIB / 4},
        {meminfo, "5:cpu,memory:/v/w\n", GIB / 4},
        {meminfo, "5:memory:/\n", total},
        {meminfo, "5:memoryless:/v\n", total},
        {meminfo, "5\n:\n::\n", total},
        {"", "0::/a\n", GIB},
        {"", "", 0},
        {"MemTotal: x kB\n", "", 0},
        {"MemTotal: 4 kB", "", 4 * KIB},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(machine_memory_of(str_from_cstr(rows[i].meminfo),
                                           str_from_cstr(rows[i].groups), folder),
                         rows[i].memory);
    char command[600];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    assert_true(machine_memory() > 64 * MIB);
    uint64_t files = machine_open_files(16);
    assert_true(files >= 16);
    assert_int_equal(machine_open_files(16), files);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
