/* Configuration of a server: one table (config.def: name, type, default, bounds, sentence) from
 * which flags, environment variables and help come. Later wins: default, HOLDFAST_NAME, --name.
 * Names in the environment are in capitals, with _ for -. Sizes take KiB, MiB, GiB; times ms, s,
 * min, h, d. Read once at start by one thread, then never changed. */
#ifndef HOLDFAST_CONFIG_CONFIG_H
#define HOLDFAST_CONFIG_CONFIG_H

#include "base/buf.h"

#define CONFIG_DATA_MAX 9 /* directories; also the most members a shard has */

typedef enum { CONFIG_LOG_AUTO, CONFIG_LOG_TEXT, CONFIG_LOG_JSON } ConfigLogFormat;

typedef struct {
    char *data[CONFIG_DATA_MAX]; /* owned, like all text here */
    size_t data_count;
    char *http;
    uint64_t threads; /* 0: one a processor, at most 8 */
    uint64_t segment_size;
    uint64_t index_cache;
    uint64_t connections;
    uint64_t drain_timeout_ms;
    uint64_t log_format; /* ConfigLogFormat */
    uint64_t log_level;  /* LogLevel */
    uint64_t access_log; /* 0, 1 */
} Config;

/* Defaults, then env (an environ: "NAME=value" strings, NULL last), then argv[1..argc-1].
 * *help: --help was there, the rest is not looked at. Errors: ERR_USAGE and ERR_CONFIG (a value)
 * name what is wrong, what would be right, and for an unknown flag the nearest one. */
MUST_USE ErrCode config_read(int argc, char *const *argv, char *const *env, Config *out, bool *help,
                             Err *err);
void config_deinit(Config *config);
/* All options, a few lines each, for --help. */
MUST_USE ErrCode config_help(Buf *out, Err *err);
/* The first HOLDFAST_… name of env that nobody knows, and the nearest known one; false: none. */
bool config_unknown_env(char *const *env, Str *name, const char **nearest);

#endif
