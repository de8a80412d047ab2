#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/nearest.h"
#include "text/json.h"

#define TEXT_MAX (1 * MIB)

static const Command *find(const Command *commands, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i].spec->name, name) == 0) return &commands[i];
    }
    return NULL;
}

static void print_help(FILE *out, const Command *commands, size_t count)
{
    int widest = 0;
    for (size_t i = 0; i < count; i++) {
        const CommandSpec *spec = commands[i].spec;
        widest = MAX(widest, (int)(strlen(spec->name) + strlen(spec->arguments)) + 1);
    }
    fputs("usage: holdfast COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < count; i++) {
        const CommandSpec *spec = commands[i].spec;
        char left[64];
        int len = snprintf(left, sizeof left, "%s%s%s", spec->name,
                           spec->arguments[0] != '\0' ? " " : "", spec->arguments);
        ASSERT(len > 0 && (size_t)len < sizeof left);
        fprintf(out, "  %-*s  %s\n", widest, left, spec->summary);
    }
    fputs(
        "\n`holdfast help COMMAND` tells more. Exit status: 0 done, 1 some items failed, 2 usage,\n"
        "3 not found, 4 refused, 5 worth retrying, 6 damage found.\n",
        out);
}

static int unknown(const Command *commands, size_t count, const char *name)
{
    const char *nearest = NULL;
    size_t best = 0;
    if (name[0] == '-') {
        fprintf(stderr, "holdfast: a command comes first, and %s is none\n", name);
        fputs("`holdfast help` lists the commands\n", stderr);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < count; i++) {
        if (nearest_is(name, commands[i].spec->name, &best)) nearest = commands[i].spec->name;
    }
    fprintf(stderr, "holdfast: there is no command %s", name);
    if (nearest != NULL) fprintf(stderr, "; do you mean %s?", nearest);
    fputs("\n`holdfast help` lists the commands\n", stderr);
    return EXIT_USAGE;
}

static int run(const Command *command, const Command *commands, size_t count, int argc, char **argv)
{
    if (command->run != NULL) return command->run(argc, argv);
    return command->run_table(commands, count, argc, argv);
}

int command_main(const Command *commands, size_t count, int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr, commands, count);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    const Command *command = find(commands, count, name);
    if (command == NULL) return unknown(commands, count, name);
    return run(command, commands, count, argc - 1, argv + 1);
}

static int print_text(const char *name, const Buf *text)
{
    if (fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0) return 0;
    fprintf(stderr, "holdfast %s: standard output takes no more\n", name);
    return 1;
}

bool command_options(const CommandSpec *spec, int argc, char **argv, ClientOptions *options,
                     int *status)
{
    Err err = {0};
    bool help = false;
    if (options_read(spec, argc, argv, options, &help, &err) != OK) {
        *status = command_usage(spec->name, "%s", err_text(&err));
        return false;
    }
    if (!help) return true;
    AUTO_BUF(text, TEXT_MAX);
    *status = options_help(spec, &text, &err) == OK ? print_text(spec->name, &text)
                                                    : command_fail(spec->name, &err);
    return false;
}

int command_print(const char *name, const char *member, const Buf *text, bool json)
{
    Err err = {0};
    if (!json) return print_text(name, text);
    AUTO_BUF(line, 4 * TEXT_MAX);
    JsonWriter writer;
    json_writer_init(&writer, &line);
    json_write_object_begin(&writer);
    json_member_str(&writer, member, buf_str(text));
    json_write_object_end(&writer);
    ErrCode code = json_writer_end(&writer, &err);
    if (code == OK) code = buf_append_str(&line, STR("\n"), &err);
    return code == OK ? print_text(name, &line) : command_fail(name, &err);
}

int command_fail_json(const char *name, const Err *err, bool json)
{
    AUTO_BUF(line, 4 * KIB);
    JsonWriter writer;
    if (!json) return command_fail(name, err);
    json_writer_init(&writer, &line);
    json_write_object_begin(&writer);
    json_write_key(&writer, "error");
    json_write_object_begin(&writer);
    json_member_cstr(&writer, "code", err_info(err->code)->slug);
    json_member_cstr(&writer, "detail", err_text(err));
    json_write_object_end(&writer);
    json_write_object_end(&writer);
    if (json_writer_end(&writer, NULL) == OK) printf("%.*s\n", STR_ARG(buf_str(&line)));
    return command_fail(name, err);
}

int command_usage(const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "holdfast %s: ", name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nholdfast help %s tells more\n", name);
    va_end(args);
    return EXIT_USAGE;
}

int command_fail(const char *name, const Err *err)
{
    fprintf(stderr, "holdfast %s: %s\n", name, err_text(err));
    return err_info(err->code)->exit_status;
}

/* ---- commands about commands ---- */

const CommandSpec spec_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .summary = "lists the commands, or tells of one",
    .usage = "help [--json] [COMMAND]",
    .text = "Lists the commands; with COMMAND it tells what that does and which options it has.",
    .example = "  holdfast help put",
    .options = OPTION_LOCAL | OPTION_JSON,
    .args_min = 0,
    .args_max = 1,
};

const CommandSpec spec_man = {
    .name = "man",
    .arguments = "",
    .summary = "prints the manual page",
    .usage = "man [--json]",
    .text = "Prints the manual page of all commands, as man(1) reads it.",
    .example = "  holdfast man | man -l -",
    .options = OPTION_LOCAL | OPTION_JSON,
};

const CommandSpec spec_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .summary = "prints what completes commands in a shell",
    .words = "bash|zsh|fish",
    .usage = "completion [--json] bash|zsh|fish",
    .text =
        "Prints what a shell needs to complete commands, options and files. The Debian package\n"
        "has it installed already.",
    .example = "  source <(holdfast completion bash)\n"
               "  holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
    .options = OPTION_LOCAL | OPTION_JSON,
    .args_min = 1,
    .args_max = 1,
};

static void options_json(JsonWriter *json, const CommandSpec *spec)
{
    OptionText option;
    json_write_key(json, "options");
    json_write_array_begin(json);
    for (size_t cursor = 0; options_next(spec, &cursor, &option);) {
        json_write_object_begin(json);
        json_member_cstr(json, "name", option.name);
        if (option.letter != '\0') json_member_str(json, "letter", str_of(&option.letter, 1));
        if (option.value != NULL) json_member_cstr(json, "value", option.value);
        json_member_cstr(json, "text", option.text);
        json_write_object_end(json);
    }
    json_write_array_end(json);
}

/* A line for each command, or for one. */
static int help_json(const Command *commands, size_t count, const Command *one)
{
    Err err = {0};
    AUTO_BUF(text, TEXT_MAX);
    ErrCode code = OK;
    for (size_t i = 0; i < count && code == OK; i++) {
        const CommandSpec *spec = commands[i].spec;
        if (one != NULL && one != &commands[i]) continue;
        JsonWriter json;
        json_writer_init(&json, &text);
        json_write_object_begin(&json);
        json_member_cstr(&json, "name", spec->name);
        json_member_cstr(&json, "arguments", spec->arguments);
        json_member_cstr(&json, "summary", spec->summary);
        json_member_cstr(&json, "usage", spec->usage);
        json_member_cstr(&json, "text", spec->text);
        json_member_cstr(&json, "example", spec->example);
        options_json(&json, spec);
        json_write_object_end(&json);
        code = json_writer_end(&json, &err);
        if (code == OK) code = buf_append_str(&text, STR("\n"), &err);
    }
    return code == OK ? print_text("help", &text) : command_fail("help", &err);
}

/* `help NAME` is the command's own --help. */
int command_help(const Command *commands, size_t count, int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    if (!command_options(&spec_help, argc, argv, &options, &status)) return status;
    if (options.arg_count == 0) {
        if (options.json) return help_json(commands, count, NULL);
        print_help(stdout, commands, count);
        return 0;
    }
    const Command *command = find(commands, count, options.args[0]);
    if (command == NULL) return unknown(commands, count, options.args[0]);
    if (options.json) return help_json(commands, count, command);
    char name[32];
    char flag[] = "--help";
    int len = snprintf(name, sizeof name, "%s", command->spec->name);
    ASSERT(len > 0 && (size_t)len < sizeof name);
    char *about[] = {name, flag, NULL};
    return run(command, commands, count, 2, about);
}

int command_man(const Command *commands, size_t count, int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    Err err = {0};
    AUTO_BUF(text, TEXT_MAX);
    if (!command_options(&spec_man, argc, argv, &options, &status)) return status;
    if (manual_write(commands, count, &text, &err) != OK) return command_fail("man", &err);
    return command_print("man", "man", &text, options.json);
}

int command_completion(const Command *commands, size_t count, int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    Err err = {0};
    AUTO_BUF(text, TEXT_MAX);
    if (!command_options(&spec_completion, argc, argv, &options, &status)) return status;
    ErrCode code = completion_write(commands, count, options.args[0], &text, &err);
    if (code == ERR_USAGE) return command_usage("completion", "%s", err_text(&err));
    return code == OK ? command_print("completion", options.args[0], &text, options.json)
                      : command_fail("completion", &err);
}
