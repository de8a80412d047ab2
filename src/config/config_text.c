/* What the option table says to people: --help, an annotated file, docs/configuration.md. */
#include "config/config_priv.h"

#include <stdio.h>

#include "text/json.h"

static const char *const words[] = {
    [TYPE_DIRS] = "DIR",
    [TYPE_ADDRESS] = "ADDRESS:PORT",
    [TYPE_DOOR] = "ADDRESS:PORT",
    [TYPE_NAME] = "NAME",
    [TYPE_ORIGINS] = "ORIGINS",
    [TYPE_COUNT] = "NUMBER",
    [TYPE_SIZE] = "SIZE",
    [TYPE_TIME] = "TIME",
    [TYPE_BOOL] = "",
    [TYPE_FILE] = "FILE",
    [TYPE_LOG_FORMAT] = "FORMAT",
    [TYPE_LOG_LEVEL] = "LEVEL",
    [TYPE_LATER] = "",
    [TYPE_PATH] = "DIR",
    [TYPE_PEM] = "FILE",
};

ErrCode config_help(Buf *out, Err *err)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const ConfigOption *option = &config_options[i];
        char left[64];
        if (option->type == TYPE_LATER) continue;
        snprintf(left, sizeof left, "--%s %s", option->name, words[option->type]);
        TRY(buf_printf(out, err, "  %-24s %s", left, option->sentence));
        if (option->preset[0] != '\0' && option->type != TYPE_BOOL) {
            TRY(buf_printf(out, err, " [%s]", option->preset));
        }
        TRY(buf_printf(out, err, "\n"));
    }
    return buf_printf(out, err,
                      "\nEach may stand in the environment as " CONFIG_ENV_PREFIX
                      "NAME, such as " CONFIG_ENV_PREFIX "SEGMENT_SIZE,\nor in the file that "
                      "--config names, as a line `segment-size: 4MiB`; flags win, then the\n"
                      "environment. `holdfast config` prints such a file.\n");
}

bool config_option_text(size_t at, const char **name, const char **value, const char **sentence)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const ConfigOption *option = &config_options[i];
        if (option->type == TYPE_LATER || at-- > 0) continue;
        *name = option->name;
        *value = words[option->type][0] != '\0' ? words[option->type] : NULL;
        *sentence = option->sentence;
        return true;
    }
    return false;
}

/* "64KiB..1GiB", "true or false", …; empty if anything goes. */
static void bounds_text(const ConfigOption *option, char out[80])
{
    char least[32];
    char most[32];
    out[0] = '\0';
    switch (option->type) {
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_TIME:
        config_number_text(option->type, option->least, least);
        config_number_text(option->type, option->most, most);
        snprintf(out, 80, "%s..%s", least, most);
        break;
    case TYPE_BOOL: snprintf(out, 80, "true or false"); break;
    case TYPE_LOG_FORMAT: snprintf(out, 80, "auto, text or json"); break;
    case TYPE_LOG_LEVEL: snprintf(out, 80, "debug, info, warn or error"); break;
    case TYPE_DOOR: snprintf(out, 80, "ADDRESS:PORT or off"); break;
    case TYPE_DIRS:
    case TYPE_ADDRESS:
    case TYPE_ORIGINS:
    case TYPE_PATH:
    case TYPE_PEM:
    case TYPE_NAME:
    case TYPE_FILE:
    case TYPE_LATER: break;
    }
}

static bool in_file(const ConfigOption *option)
{
    return option->type != TYPE_FILE && option->type != TYPE_LATER;
}

/* Of a setting that has no default. */
static const char *example_of(const ConfigOption *option)
{
    if (option->type == TYPE_PATH) return "/var/log/holdfast";
    if (option->type == TYPE_PEM) return "/etc/holdfast/tls.pem";
    return option->type == TYPE_ORIGINS ? "https://app.example.org,https://intern.example.org:8443"
                                        : "/srv/holdfast";
}

ErrCode config_example(Buf *out, Err *err)
{
    TRY(buf_printf(out, err,
                   "# Settings of `holdfast serve`; give this file by --config or "
                   "HOLDFAST_CONFIG.\n"
                   "# A line that begins with # is off, and shows the default.\n"
                   "# Sizes take KiB, MiB, GiB, TiB; times take ms, s, min, h, d.\n"));
    for (size_t i = 0; i < config_option_count; i++) {
        const ConfigOption *option = &config_options[i];
        char bounds[80];
        if (!in_file(option)) continue;
        bounds_text(option, bounds);
        TRY(buf_printf(out, err, "\n# %s\n", option->sentence));
        if (bounds[0] != '\0') TRY(buf_printf(out, err, "# %s.", bounds));
        TRY(buf_printf(out, err, "%s%s\n", bounds[0] != '\0' ? " " : "# ",
                       option->live ? "SIGHUP changes it." : "Needs a restart."));
        TRY(buf_printf(out, err, "#%s: %s\n", option->name,
                       option->preset[0] != '\0' ? option->preset : example_of(option)));
    }
    return OK;
}

ErrCode config_json(Buf *out, Err *err)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const ConfigOption *option = &config_options[i];
        char bounds[80];
        if (!in_file(option)) continue;
        bounds_text(option, bounds);
        JsonWriter json;
        json_writer_init(&json, out);
        json_write_object_begin(&json);
        json_member_cstr(&json, "name", option->name);
        json_write_key(&json, "default");
        if (option->preset[0] != '\0')
            json_write_cstr(&json, option->preset);
        else
            json_write_null(&json);
        json_member_cstr(&json, "values", bounds[0] != '\0' ? bounds : words[option->type]);
        if (option->preset[0] == '\0') json_member_cstr(&json, "example", example_of(option));
        json_member_bool(&json, "sighup", option->live);
        json_member_cstr(&json, "text", option->sentence);
        json_write_object_end(&json);
        TRY(json_writer_end(&json, err));
        TRY(buf_append_str(out, STR("\n"), err));
    }
    return OK;
}

ErrCode config_markdown(Buf *out, Err *err)
{
    TRY(buf_printf(out, err,
                   "# Configuration\n\n"
                   "Made by `holdfast config docs` from the table that the server reads; a test "
                   "compares.\n\n"
                   "Settings of `holdfast serve` come, the later winning, from defaults, from the "
                   "YAML file that\n`--config` or `HOLDFAST_CONFIG` names, from the environment "
                   "(`HOLDFAST_` and the name in capitals,\n`_` for `-`), and from flags (`--name "
                   "value`). Unknown, misspelt, doubled or out-of-range settings\nstop the start "
                   "with file, line, value and range. `holdfast config` prints a file with all of\n"
                   "them; `holdfast config check FILE` reads one without starting anything. SIGHUP "
                   "reads the file\nagain: what can change does, for the rest the log says "
                   "`config.needs_restart`.\n\n"
                   "| name | default | values | on SIGHUP | |\n|---|---|---|---|---|\n"));
    for (size_t i = 0; i < config_option_count; i++) {
        const ConfigOption *option = &config_options[i];
        char bounds[80];
        if (option->type == TYPE_LATER) continue;
        bounds_text(option, bounds);
        TRY(buf_printf(out, err, "| `%s` | %s | %s | %s | %s |\n", option->name, option->preset,
                       bounds[0] != '\0' ? bounds : words[option->type],
                       option->live ? "changes" : "", option->sentence));
    }
    return OK;
}
