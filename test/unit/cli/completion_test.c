#include "cli/command.h"
#include "testing.h"

#include <string.h>

static char *completion_of(const CommandSpec *spec, const char *shell)
{
    const Command command = {.spec = spec};
    AUTO_BUF(out, 64 * KIB);
    Err err = {0};
    assert_ok(completion_write(&command, 1, shell, &out, &err), &err);
    assert_ok(buf_append_zeros(&out, 1, &err), &err);
    return mem_dup_cstr((const char *)out.data);
}

/* Arguments far behind the last bit of paths: neither the first ones over again nor a shift that C
 * does not define. */
static void only_the_first_is_a_path(void **state)
{
    UNUSED(state);
    const CommandSpec spec = {.name = "one", .summary = "one", .paths = 1, .args_max = 2};
    AUTO(char, mem_free) bash = completion_of(&spec, "bash");
    assert_non_null(strstr(bash, " paths='0 ' "));
    AUTO(char, mem_free) zsh = completion_of(&spec, "zsh");
    assert_non_null(strstr(zsh, "'1:path:_files'"));
    assert_null(strstr(zsh, "'33:path:_files'"));
}

static void all_from_the_third_on(void **state)
{
    UNUSED(state);
    const CommandSpec spec = {
        .name = "many", .summary = "many", .paths = ~3U, .args_max = OPTIONS_ARGS_MAX};
    AUTO(char, mem_free) bash = completion_of(&spec, "bash");
    assert_non_null(strstr(bash, " paths='2 3 "));
    assert_non_null(strstr(bash, " 31 32 33 34 "));
    assert_non_null(strstr(bash, " 127 ' "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first_is_a_path),
        cmocka_unit_test(all_from_the_third_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
