/* holdfast config: prints settings as a file or as documentation, and checks a file of them. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "cli/server_config.h"

#define NAME "config"
#define TEXT_MAX (256 * KIB)

const CommandSpec spec_config = {
    .name = NAME,
    .arguments = "[check FILE|docs]",
    .summary = "prints and checks settings of the server",
    .words = "check|docs",
    .usage = "config\nconfig check FILE\nconfig docs",
    .text = "Prints a file of all settings of `holdfast serve`, with their defaults. check reads\n"
            "FILE as the server would and starts nothing. docs prints docs/configuration.md.",
    .example = "  holdfast config > holdfast.yaml\n"
               "  holdfast config check holdfast.yaml\n"
               "  holdfast serve --config holdfast.yaml",
    .options = OPTION_LOCAL,
    .paths = 2,
    .args_min = 0,
    .args_max = 2,
};

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
    ClientOptions options;
    int status = 0;
    if (!command_options(&spec_config, argc, argv, &options, &status)) return status;
    size_t count = options.arg_count;
    if (count == 0) return print_text(config_example);
    const char *verb = options.args[0];
    if (strcmp(verb, "docs") == 0 && count == 1) return print_text(config_markdown);
    if (strcmp(verb, "check") == 0 && count == 2) return check_file(options.args[1]);
    if (strcmp(verb, "check") == 0) return command_usage(NAME, "check needs the name of one file");
    return command_usage(NAME, "there is no `config %s`", verb);
}
