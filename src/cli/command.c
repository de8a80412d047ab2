#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const Command *find(const Command *commands, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    }
    return NULL;
}

static void print_help(FILE *out, const Command *commands, size_t count)
{
    fputs("usage: holdfast COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < count; i++) {
        char left[64];
        int len = snprintf(left, sizeof left, "%s%s%s", commands[i].name,
                           commands[i].arguments[0] != '\0' ? " " : "", commands[i].arguments);
        ASSERT(len > 0 && (size_t)len < sizeof left);
        fprintf(out, "  %-38s %s\n", left, commands[i].summary);
    }
    fputs("  help [COMMAND]                         this text, or a command's own\n", out);
}

/* `help NAME` is the command's own --help. */
static int help_of(const Command *command)
{
    char name[32];
    char flag[] = "--help";
    int len = snprintf(name, sizeof name, "%s", command->name);
    ASSERT(len > 0 && (size_t)len < sizeof name);
    char *argv[] = {name, flag, NULL};
    return command->run(2, argv);
}

int command_main(const Command *commands, size_t count, int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr, commands, count);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0) name = "version";
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        const Command *about = argc > 2 ? find(commands, count, argv[2]) : NULL;
        if (about != NULL) return help_of(about);
        print_help(stdout, commands, count);
        return 0;
    }
    const Command *command = find(commands, count, name);
    if (command == NULL) {
        fprintf(stderr, "holdfast: there is no command %s\n", name);
        print_help(stderr, commands, count);
        return EXIT_USAGE;
    }
    return command->run(argc - 1, argv + 1);
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
