/* The commands of the binary: a table in main.c, one file a command in this folder. A command gets
 * its own arguments (argv[0] is its name), writes results to stdout and errors to stderr, and
 * returns the exit status: 0 done, 1 some items failed, 2 usage, 3 not found, 4 refused, 5 worth
 * retrying, 6 damage found. */
#ifndef HOLDFAST_CLI_COMMAND_H
#define HOLDFAST_CLI_COMMAND_H

#include "base/err.h"

#define EXIT_USAGE 2

typedef struct {
    const char *name;
    const char *arguments; /* behind the name in usage lines: "[-r] PATH BUCKET/KEY"; may be "" */
    const char *summary;   /* one line of `holdfast help`, without a full stop */
    int (*run)(int argc, char **argv);
} Command;

/* Runs the command that argv[1] names; `help`, --help and --version are known to it. */
int command_main(const Command *commands, size_t count, int argc, char **argv);
/* Prints "holdfast NAME: detail", and where help is; returns EXIT_USAGE. */
int command_usage(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints "holdfast NAME: text" for a failure; returns the exit status of err->code's row. */
int command_fail(const char *name, const Err *err);

/* The commands; each has a file of its own. */
int command_serve(int argc, char **argv);
int command_put(int argc, char **argv);
int command_sync(int argc, char **argv);
int command_get(int argc, char **argv);
int command_cat(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_rm(int argc, char **argv);
int command_recover(int argc, char **argv);
int command_bucket(int argc, char **argv);
int command_config(int argc, char **argv);
int command_admin(int argc, char **argv);
int command_fsck(int argc, char **argv);
int command_version(int argc, char **argv);

#endif
