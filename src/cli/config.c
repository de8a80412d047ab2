/* holdfast config: prints settings as a file or as documentation, and checks a file of them. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "cli/server_config.h"
#include "text/json.h"

#define NAME "config"
#define TEXT_MAX (256 * KIB)

const CommandSpec spec_config = {
    .name = NAME,
    .arguments = "[check FILE|docs]",
    .summary = "prints and checks settings of the server",
    .words = "check|docs",
    .usage = "config [--json]\nconfig check [--json] FILE\nconfig docs [--json]",
    .text = "Prints a file of all settings of `holdfast serve`, with their defaults. check reads\n"
            "FILE as the server would and starts nothing. docs prints docs/configuration.md.\n"
            "--json gives an object for each setting; of check, whether the file is good.",
    .example = "  holdfast config > holdfast.yaml\n"
               "  holdfast config check holdfast.yaml\n"
               "  holdfast serve --config holdfast.yaml",
    .options = OPTION_LOCAL | OPTION_JSON,
    .paths = 2,
    .args_min = 0,
    .args_max = 2,
};

static int print_text(ErrCode (*make)(Buf *out, Err *err), const char *member, bool json)
{
    Err err = {0};
    AUTO_BUF(text, TEXT_MAX);
    if (make(&text, &err) != OK) return command_fail(NAME, &err);
    return command_print(NAME, member, &text, json);
}

static int check_file(const char *path, bool as_json)
{
    Err err = {0};
    AUTO_BUF(text, SERVER_CONFIG_FILE_MAX);
    if (server_config_load(path, &text, &err) != OK ||
        config_check(buf_str(&text), path, &err) != OK) {
        return command_fail_json(NAME, &err, as_json);
    }
    if (!as_json) {
        printf("%s: good\n", path);
        return 0;
    }
    AUTO_BUF(line, 64 * KIB);
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "file", path);
    json_member_bool(&json, "good", true);
    json_write_object_end(&json);
    if (json_writer_end(&json, &err) != OK) return command_fail(NAME, &err);
    printf("%.*s\n", STR_ARG(buf_str(&line)));
    return 0;
}

int command_config(int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    if (!command_options(&spec_config, argc, argv, &options, &status)) return status;
    size_t count = options.arg_count;
    if (count == 0) return print_text(options.json ? config_json : config_example, NULL, false);
    const char *verb = options.args[0];
    if (strcmp(verb, "docs") == 0 && count == 1)
        return print_text(config_markdown, "markdown", options.json);
    if (strcmp(verb, "check") == 0 && count == 2) return check_file(options.args[1], options.json);
    if (strcmp(verb, "check") == 0) return command_usage(NAME, "check needs the name of one file");
    return command_usage(NAME, "\"%s\" is not check FILE or docs", verb);
}
