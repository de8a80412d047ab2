/* What the files of this folder share: the option table, its names and its values. */
#ifndef HOLDFAST_CONFIG_CONFIG_PRIV_H
#define HOLDFAST_CONFIG_CONFIG_PRIV_H

#include "config/config.h"

#define CONFIG_ENV_PREFIX "HOLDFAST_"
#define CONFIG_NAME_MAX 32 /* bytes of an option's name and its NUL */

typedef enum {
    TYPE_DIRS,
    TYPE_ADDRESS, /* text: ADDRESS:PORT, as address_parse() takes it */
    TYPE_ORIGINS, /* text: origins that commas separate, or "*"; may be empty */
    TYPE_PATH,    /* text: a directory; NULL: nobody set it */
    TYPE_PEM,     /* text: a file; NULL: nobody set it */
    TYPE_DOOR,    /* the same as ADDRESS, or "off" */
    TYPE_NAME,    /* of [a-z0-9.-]; bounds are of its length */
    TYPE_COUNT,
    TYPE_SIZE,
    TYPE_TIME,
    TYPE_BOOL,
    TYPE_LOG_FORMAT,
    TYPE_LOG_LEVEL,
    TYPE_FILE, /* of settings: read before all else, sets nothing */
    TYPE_LATER
} ConfigType;

typedef struct {
    const char *name;
    ConfigType type;
    size_t offset; /* of the field in Config */
    const char *preset;
    uint64_t least; /* bounds of numbers, both included */
    uint64_t most;
    const char *sentence;
    bool live; /* a SIGHUP changes it; others need a restart */
} ConfigOption;

extern const ConfigOption config_options[];
extern const size_t config_option_count;

/* The option of that name; NULL: none. */
const ConfigOption *config_find(Str name);
/* The option whose name is few edits away; NULL: none is. */
const ConfigOption *config_nearest(Str name);
/* "HOLDFAST_SEGMENT_SIZE" of "segment-size". */
Str config_env_name(const ConfigOption *option,
                    char out[CONFIG_NAME_MAX + sizeof CONFIG_ENV_PREFIX]);
/* Sets the option's field to what value says; from names the source in texts: "--threads",
 * "HOLDFAST_THREADS", "FILE:3: threads". ERR_CONFIG: no value of the option. */
MUST_USE ErrCode config_set(Config *config, const ConfigOption *option, const char *from, Str value,
                            Err *err);
/* Forgets all --data: a later source replaces them. */
void config_drop_dirs(Config *config);
/* 1048576 -> "1MiB", 30000 -> "30s": a number as a person writes it. */
void config_number_text(ConfigType type, uint64_t value, char out[32]);
/* Settings from the text of a YAML file; name is the file's, for texts. ERR_CONFIG: names file,
 * line, value and what would be right. */
MUST_USE ErrCode config_read_yaml(Config *config, Str yaml, const char *name, Err *err);

#endif
