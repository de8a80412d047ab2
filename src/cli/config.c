/* holdfast config: prints settings as a file or as documentation, and checks a file of them. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "cli/server_config.h"

#define NAME "config"
#define TEXT_MAX (256 * KIB)

static int print_usage(void)
{
    puts("usage: holdfast config               prints a file of all settings of `holdfast serve`\n"
         "       holdfast config check FILE    reads FILE as the server would, starts nothing\n"
         "       holdfast config docs          prints docs/configuration.md\n"
         "\n"
         "  holdfast config > holdfast.yaml\n"
         "  holdfast config check holdfast.yaml\n"
         "  holdfast serve --config holdfast.yaml");
    return 0;
}

static int print_text(ErrCode (*make)(Buf *out, Err *err))
{
    Err err = {0};
    AUTO_BUF(text, TEXT_MAX);
    if (make(&text, &err) != OK) return command_fail(NAME, &err);
    if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0) {
        fprintf(stderr, "holdfast " NAME ": stdout can't be written\n");
        return 1;
    }
    return 0;
}

static int check_file(const char *path)
{
    Err err = {0};
    AUTO_BUF(text, SERVER_CONFIG_FILE_MAX);
    if (server_config_load(path, &text, &err) != OK ||
        config_check(buf_str(&text), path, &err) != OK) {
        return command_fail(NAME, &err);
    }
    printf("%s: good\n", path);
    return 0;
}

int command_config(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (argc == 1) return print_text(config_example);
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) return print_usage();
    if (strcmp(verb, "docs") == 0 && argc == 2) return print_text(config_markdown);
    if (strcmp(verb, "check") == 0 && argc == 3) return check_file(argv[2]);
    if (strcmp(verb, "check") == 0) return command_usage(NAME, "check needs the name of one file");
    return command_usage(NAME, "there is no `config %s`", verb);
}
