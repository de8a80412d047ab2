#include "cli/server_config.h"

#include "cli/local_file.h"

#define PATH_SIZE 4096

extern char **environ;

ErrCode server_config_load(const char *path, Buf *text, Err *err)
{
    bool found = false;
    TRY(local_read_all(path, text, &found, err));
    if (!found) return err_set(err, ERR_CONFIG, "there is no file %s", path);
    return OK;
}

ErrCode server_config_read(int argc, char *const *argv, Config *out, bool *help, Err *err)
{
    ConfigSources sources = {.env = environ, .argc = argc, .argv = argv};
    AUTO_BUF(text, SERVER_CONFIG_FILE_MAX);
    char path[PATH_SIZE];
    Str named = config_file_named(argc, argv, environ);
    if (named.len > 0) {
        if (!str_to_cstr(named, path, sizeof path)) {
            return err_set(err, ERR_CONFIG, "the name of the configuration file is too long");
        }
        TRY(server_config_load(path, &text, err));
        sources.file = buf_str(&text);
        sources.file_name = path;
    }
    return config_read(&sources, out, help, err);
}
