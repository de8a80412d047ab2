/* Options: what stands behind a client command on the command line. Each command has a ClientSpec,
 * from which parsing and help both come. Pure but for options_help(). */
#ifndef HOLDFAST_CLI_OPTIONS_H
#define HOLDFAST_CLI_OPTIONS_H

#include "base/buf.h"

#define OPTIONS_ARGS_MAX 2
#define OPTIONS_CONNECTIONS 8      /* unless --connections is given */
#define OPTIONS_CONNECTIONS_MAX 64 /* each has buffers of about 1.5 MiB */
#define OPTIONS_RETRY_FOR_MS 60000 /* unless --retry-for is given */

/* Which of the options a command takes; --url, --key, --key-file, --retry-for
 * and --help are always there. */
typedef enum {
    OPTION_CONNECTIONS = 1 << 0,
    OPTION_JSON = 1 << 1,
    OPTION_QUIET = 1 << 2,
    OPTION_RECURSIVE = 1 << 3,
    OPTION_LONG = 1 << 4,
    OPTION_HUMAN = 1 << 5,   /* takes -h, which is --help elsewhere */
    OPTION_LISTING = 1 << 6, /* -R, -t, -S and -r as ls has them */
    OPTION_FORCE = 1 << 7,
    OPTION_SYNC = 1 << 8, /* --delete, --checksum, --dry-run */
} OptionBits;

typedef struct {
    const char *name;    /* "put" */
    const char *usage;   /* behind `holdfast `, one line each, '\n' between */
    const char *text;    /* what it does: lines of at most 90 columns */
    const char *example; /* lines, each a command that works as it stands */
    unsigned options;    /* OptionBits */
    size_t args_min;
    size_t args_max; /* ≤ OPTIONS_ARGS_MAX */
} ClientSpec;

/* All text is argv's. */
typedef struct {
    const char *args[OPTIONS_ARGS_MAX];
    size_t arg_count;
    const char *url;      /* NULL unless given */
    const char *key;      /* NULL unless given */
    const char *key_file; /* NULL unless given */
    size_t connections;
    uint64_t retry_for_ms;
    bool retry_given;
    bool json;
    bool quiet;
    bool recursive;
    bool long_form;
    bool human;
    bool by_time;
    bool by_size;
    bool reverse;
    bool force;
    bool remove_extra;
    bool checksum;
    bool dry_run;
} ClientOptions;

/* Reads argv[1..argc-1]; options may stand anywhere before `--`. *help: --help was there and the
 * rest is not looked at. Errors: ERR_USAGE, naming what is wrong. */
MUST_USE ErrCode options_read(const ClientSpec *spec, int argc, char *const *argv,
                              ClientOptions *out, bool *help, Err *err);
/* Usage, text, options, example. Errors: as buf_append(). */
MUST_USE ErrCode options_help(const ClientSpec *spec, Buf *out, Err *err);
/* "500ms", "60s", "60" (seconds), "5min", "1h": milliseconds, at most a day. */
bool options_parse_time(Str text, uint64_t *ms);

#endif
