/* Configuration of a server: one table (config.def: name, type, default, bounds, sentence) from
 * which flags, environment variables, the YAML file, help and docs/configuration.md come. Later
 * wins: default, file, HOLDFAST_NAME, --name. Names in the environment are in capitals, with _ for
 * -. Sizes take KiB, MiB, GiB; times ms, s,
 * min, h, d. Read at start and at SIGHUP, by the
 * main thread. */
#ifndef HOLDFAST_CONFIG_CONFIG_H
#define HOLDFAST_CONFIG_CONFIG_H

#include "base/buf.h"

#define CONFIG_DATA_MAX 3 /* directories, each a copy */

typedef enum { CONFIG_LOG_AUTO, CONFIG_LOG_TEXT, CONFIG_LOG_JSON } ConfigLogFormat;

typedef struct {
    char *data[CONFIG_DATA_MAX]; /* owned, like all text here */
    size_t data_count;
    char *http;
    char *cors_origins; /* "https://a.example,https://b.example" or "*"; NULL or empty: none */
    char *s3;           /* "off": no S3 door */
    char *s3_region;
    char *s3_domain;   /* "none" */
    uint64_t s3_sigv2; /* 0, 1 */
    char *tls_cert;    /* PEM files; NULL or empty: no TLS; both or none */
    char *tls_key;
    uint64_t threads; /* 0: one a processor, at most 8 */
    uint64_t segment_size;
    uint64_t index_cache;
    uint64_t compact_rate;
    uint64_t compact_dead;
    uint64_t scrub_period_ms;
    uint64_t expiry_wait_ms;
    uint64_t scrub_rate_min;
    uint64_t scrub_rate_max;
    uint64_t async_lag_changes;
    uint64_t async_lag_bytes;
    uint64_t async_lag_time_ms;
    uint64_t upload_expiry_ms;
    uint64_t cache;
    uint64_t memory; /* bytes; 0: what there is */
    uint64_t connections;
    uint64_t drain_timeout_ms;
    uint64_t log_format; /* ConfigLogFormat */
    uint64_t log_level;  /* LogLevel */
    uint64_t access_log; /* 0, 1 */
    uint64_t audit;      /* 0, 1 */
    char *audit_dir;     /* "": in the data directory */
    uint64_t audit_file_size;
    uint64_t audit_files;
    uint64_t audit_sync_ms; /* 0: each line */
    uint64_t audit_strict;  /* 0, 1 */
    uint64_t audit_log;     /* 0, 1 */
} Config;

/* Where settings come from, the first the weakest; all may be gone after config_read(). */
typedef struct {
    Str file;              /* text of the configuration file … */
    const char *file_name; /* … and its name, for texts; NULL: there is none */
    char *const *env;      /* an environ: "NAME=value" strings, NULL last */
    int argc;
    char *const *argv; /* flags in argv[1..argc-1] */
} ConfigSources;

/* The configuration file that --config or HOLDFAST_CONFIG names; empty: none. A view. */
Str config_file_named(int argc, char *const *argv, char *const *env);
/* Defaults, then the file, env, and flags. *help: --help was there, the rest is not looked at.
 * Errors: ERR_USAGE and ERR_CONFIG (a value, or anything in the file) name what is wrong, what
 * would be right, and for an unknown name the nearest one. */
MUST_USE ErrCode config_read(const ConfigSources *sources, Config *out, bool *help, Err *err);
/* Is the text of a configuration file, whose name is for texts, good as far as it goes? Errors: as
 * config_read()'s; a missing --data is none. */
MUST_USE ErrCode config_check(Str yaml, const char *name, Err *err);
/* Is the setting of that name what it is when nobody sets it? */
bool config_is_preset(const Config *config, const char *name);
/* What differs between two configurations: *cursor starts at 0, false behind the last. *live: a
 * running server may take it over; else it needs a restart. */
bool config_next_change(const Config *old, const Config *now, size_t *cursor, const char **name,
                        bool *live);
/* "16MiB", "500": bytes, as sizes of settings are written. False: it is none. */
bool config_parse_size(Str text, uint64_t *bytes);
void config_deinit(Config *config);
/* All options, a line each, for --help. */
MUST_USE ErrCode config_help(Buf *out, Err *err);
/* The option number at, from 0: its name, the word for its value ("SIZE", NULL: a switch) and its
 * sentence, for manual and completion. False behind the last. */
bool config_option_text(size_t at, const char **name, const char **value, const char **sentence);
/* A configuration file with all settings, their defaults and bounds, as comments. */
MUST_USE ErrCode config_example(Buf *out, Err *err);
/* The same as JSON, an object a line: name, default (null: none), values, example, text and whether
 * SIGHUP changes it. */
MUST_USE ErrCode config_json(Buf *out, Err *err);
/* docs/configuration.md. */
MUST_USE ErrCode config_markdown(Buf *out, Err *err);
/* The first HOLDFAST_… name of env that nobody knows, and the nearest known one; false: none. */
bool config_unknown_env(char *const *env, Str *name, const char **nearest);

#endif
