/* Settings: which server, with which key. Later wins: the default, the file
 * ~/.config/holdfast/config.yaml (or below XDG_CONFIG_HOME), the environment, flags. The file is
 * a mapping that may hold `url:`, `key:` and `ca:`; other names are left alone. */
#ifndef HOLDFAST_CLI_SETTINGS_H
#define HOLDFAST_CLI_SETTINGS_H

#include "base/buf.h"
#include "cli/options.h"

#define SETTINGS_URL_DEFAULT "http://127.0.0.1:9001"

typedef struct {
    char *url; /* owned; "http://HOST:PORT", without a '/' at the end */
    char *key; /* owned; "ID.SECRET", NULL: none */
    char *ca;  /* owned; a PEM file, NULL: the system's */
} Settings;

/* HOLDFAST_KEY_FILE names a file that holds the key. A file that is absent is no error; one that
 * can't be read or understood is. Errors: ERR_CONFIG, ERR_USAGE. */
MUST_USE ErrCode settings_read(const ClientOptions *options, Settings *out, Err *err);
/* Frees; settings may be zero. */
void settings_deinit(Settings *settings);
/* url, key and ca of a configuration file's text; what it lacks stays as it is. ERR_CONFIG. */
MUST_USE ErrCode settings_parse(Str yaml, Settings *out, Err *err);

#endif
