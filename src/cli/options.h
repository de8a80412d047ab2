/* Options: what stands behind a command on the command line. Each command has a CommandSpec, from
 * which parsing, help, manual and completion come. Pure. */
#ifndef HOLDFAST_CLI_OPTIONS_H
#define HOLDFAST_CLI_OPTIONS_H

#include "base/buf.h"

#define OPTIONS_ARGS_MAX 128
#define OPTIONS_CONNECTIONS 8      /* unless --connections is given */
#define OPTIONS_CONNECTIONS_MAX 64 /* each has buffers of about 1.5 MiB */
#define OPTIONS_RETRY_FOR_MS 60000 /* unless --retry-for is given */

/* One option, as help, manual and completion tell of it. */
typedef struct {
    const char *name;  /* "connections" */
    char letter;       /* short form; 0: none */
    const char *value; /* what follows, NULL for a switch */
    const char *text;
} OptionText;

/* Which of the options a command takes; --url, --key, --key-file, --ca, --retry-for
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
    OPTION_SYNC = 1 << 8,  /* --delete, --checksum, --dry-run */
    OPTION_LOCAL = 1 << 9, /* asks no server: --url and its like are not taken */
    OPTION_FSCK = 1 << 10,
    OPTION_RECOVER = 1 << 11,
    OPTION_BUCKET = 1 << 12,   /* --quota-bytes, --quota-files, --versions on|off|suspended */
    OPTION_VERSION = 1 << 13,  /* --version ID */
    OPTION_VERSIONS = 1 << 14, /* --versions, a switch */
    OPTION_AUDIT = 1 << 15,    /* --audit-key */
    OPTION_DOCTOR = 1 << 17,   /* --config */
    OPTION_EXPIRES = 1 << 18,  /* --expires */
    OPTION_CLASS = 1 << 19,    /* --copies, --min-isr, --shards */
    OPTION_BENCH = 1 << 16,    /* --door, --region, --size, --part-size, --mix, --seconds */
} OptionBits;

typedef struct {
    const char *name;      /* "put" */
    const char *arguments; /* in the list of commands: "[-r] PATH BUCKET/KEY"; may be "" */
    const char *summary;   /* there too: a line of at most 50 columns, no full stop */
    const char *words;     /* that the first argument may be, '|' between; NULL: any text */
    const char *usage;     /* behind `holdfast `, one line each, '\n' between */
    const char *text;      /* what it does: lines of at most 90 columns */
    const char *example;   /* lines, each a command that works as it stands */
    unsigned options;      /* OptionBits */
    unsigned paths;        /* bit i: argument i is a path here; the last bit: all from there on */
    size_t args_min;
    size_t args_max; /* ≤ OPTIONS_ARGS_MAX */
    /* Options of its own, which it reads itself: the one number at; false behind the last. NULL:
     * none. */
    bool (*own_option)(size_t at, OptionText *out);
} CommandSpec;

/* All text is argv's. */
typedef struct {
    const char *args[OPTIONS_ARGS_MAX];
    size_t arg_count;
    const char *url;      /* NULL unless given */
    const char *key;      /* NULL unless given */
    const char *key_file; /* NULL unless given */
    const char *ca;       /* NULL unless given */
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
    bool repair;
    bool yes;
    const char *salvage; /* NULL unless given, like scratch and rebuild */
    const char *scratch;
    const char *rebuild;
    const char *from;        /* NULL unless given */
    const char *quota_bytes; /* NULL unless given */
    const char *quota_files;
    const char *versioning; /* --versions of bucket set; NULL unless given, like the next two */
    const char *writes;
    const char *require;
    const char *class; /* NULL unless given, like the next three */
    const char *copies;
    const char *min_isr;
    const char *shards;
    const char *version; /* NULL unless given */
    bool versions;
    const char *audit_key;
    const char *size; /* NULL unless given, like the rest */
    const char *mix;
    const char *part_size;
    const char *seconds;
    const char *config;  /* NULL unless given */
    const char *expires; /* NULL unless given */
    const char *door;
    const char *region;
} ClientOptions;

/* Reads argv[1..argc-1]; options may stand anywhere before `--`. *help: --help was there and the
 * rest is not looked at. Errors: ERR_USAGE, naming what is wrong. */
MUST_USE ErrCode options_read(const CommandSpec *spec, int argc, char *const *argv,
                              ClientOptions *out, bool *help, Err *err);
/* The options of the command, in the order of help; *cursor begins at 0. False behind the last. */
bool options_next(const CommandSpec *spec, size_t *cursor, OptionText *out);
/* Usage, text, options, example. Errors: as buf_append(). */
MUST_USE ErrCode options_help(const CommandSpec *spec, Buf *out, Err *err);
/* "500ms", "60s", "60" (seconds), "5min", "1h": milliseconds, at most a day. */
bool options_parse_time(Str text, uint64_t *ms);

#endif
