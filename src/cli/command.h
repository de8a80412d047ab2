/* The commands of the binary: a table in main.c, one file a command in this folder. A command gets
 * its own arguments (argv[0] is its name), writes results to stdout and errors to stderr, and
 * returns the exit status: 0 done, 1 some items failed, 2 usage, 3 not found, 4 refused, 5 worth
 * retrying, 6 damage found. */
#ifndef HOLDFAST_CLI_COMMAND_H
#define HOLDFAST_CLI_COMMAND_H

#include "cli/options.h"

#define EXIT_USAGE 2

typedef struct Command Command;

struct Command {
    const CommandSpec *spec;
    int (*run)(int argc, char **argv);
    /* Instead of run, for commands that tell of all commands. */
    int (*run_table)(const Command *commands, size_t count, int argc, char **argv);
};

/* Runs the command that argv[1] names; -h, --help and --version are known to it. */
int command_main(const Command *commands, size_t count, int argc, char **argv);
/* Reads the arguments of a command. False: it is over, with *status: --help was printed, or what is
 * wrong. */
bool command_options(const CommandSpec *spec, int argc, char **argv, ClientOptions *options,
                     int *status);
/* Prints "holdfast NAME: detail", and where help is; returns EXIT_USAGE. */
int command_usage(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints "holdfast NAME: text" for a failure; returns the exit status of err->code's row. */
int command_fail(const char *name, const Err *err);

/* Writes text to standard output; json: as the object {"MEMBER": text}, a line. The exit status. */
int command_print(const char *name, const char *member, const Buf *text, bool json);
/* Prints "holdfast NAME: text" as command_fail(); json: also the line {"error": {"code",
 * "detail"}} on standard output. */
int command_fail_json(const char *name, const Err *err, bool json);

/* What the table says as text: the page holdfast(1) for man, and what a shell ("bash", "zsh",
 * "fish") sources. Errors: ERR_USAGE: no such shell; as buf_append(). */
MUST_USE ErrCode manual_write(const Command *commands, size_t count, Buf *out, Err *err);
MUST_USE ErrCode completion_write(const Command *commands, size_t count, const char *shell,
                                  Buf *out, Err *err);

/* The commands; each has a file of its own. */
extern const CommandSpec spec_serve;
int command_serve(int argc, char **argv);
extern const CommandSpec spec_put;
int command_put(int argc, char **argv);
extern const CommandSpec spec_sync;
int command_sync(int argc, char **argv);
extern const CommandSpec spec_get;
int command_get(int argc, char **argv);
extern const CommandSpec spec_cat;
int command_cat(int argc, char **argv);
extern const CommandSpec spec_ls;
int command_ls(int argc, char **argv);
extern const CommandSpec spec_stat;
int command_stat(int argc, char **argv);
extern const CommandSpec spec_rm;
int command_rm(int argc, char **argv);
extern const CommandSpec spec_bucket;
int command_bucket(int argc, char **argv);
extern const CommandSpec spec_class;
int command_class(int argc, char **argv);
extern const CommandSpec spec_key;
int command_key(int argc, char **argv);
extern const CommandSpec spec_admin;
int command_admin(int argc, char **argv);
extern const CommandSpec spec_bench;
int command_bench(int argc, char **argv);
extern const CommandSpec spec_fsck;
int command_fsck(int argc, char **argv);
extern const CommandSpec spec_recover;
int command_recover(int argc, char **argv);
extern const CommandSpec spec_config;
int command_config(int argc, char **argv);
extern const CommandSpec spec_openapi;
int command_openapi(int argc, char **argv);
extern const CommandSpec spec_version;
int command_version(int argc, char **argv);
extern const CommandSpec spec_doctor;
int command_doctor(int argc, char **argv);
extern const CommandSpec spec_help;
int command_help(const Command *commands, size_t count, int argc, char **argv);
extern const CommandSpec spec_man;
int command_man(const Command *commands, size_t count, int argc, char **argv);
extern const CommandSpec spec_completion;
int command_completion(const Command *commands, size_t count, int argc, char **argv);

#endif
