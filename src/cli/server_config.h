/* The server's configuration from where a process finds it: a file, the environment, flags. */
#ifndef HOLDFAST_CLI_SERVER_CONFIG_H
#define HOLDFAST_CLI_SERVER_CONFIG_H

#include "config/config.h"

#define SERVER_CONFIG_FILE_MAX (1 * MIB)

/* The text of a configuration file. ERR_CONFIG: it is not there, can't be read, or is too large. */
MUST_USE ErrCode server_config_load(const char *path, Buf *text, Err *err);
/* config_read() with the file that flags or environment name, and the process's environment.
 * Errors: as there. */
MUST_USE ErrCode server_config_read(int argc, char *const *argv, Config *out, bool *help, Err *err);

#endif
