#include "config/config.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "config/config_priv.h"

#define NEAR_MAX 3 /* edits at which another name is still worth telling */

const ConfigOption config_options[] = {
#define OPTION_ROW(name, type, field, preset, least, most, sentence, live)                         \
    {name, TYPE_##type, offsetof(Config, field), preset, least, most, sentence, live},
#define OPTION(...) OPTION_ROW(__VA_ARGS__, false)
#define OPTION_LIVE(...) OPTION_ROW(__VA_ARGS__, true)
#include "config/config.def"
#undef OPTION_LIVE
#undef OPTION
#undef OPTION_ROW
};
const size_t config_option_count = ARRAY_LEN(config_options);

/* Of other commands, so that a shell may export them for both, and of tests. */
static const char *const client_env[] = {"HOLDFAST_URL", "HOLDFAST_KEY", "HOLDFAST_KEY_FILE",
                                         "HOLDFAST_CA", "HOLDFAST_FAULT"};

static const char *const log_formats[] = {"auto", "text", "json", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const bools[] = {"false", "true", NULL};

typedef struct {
    const char *suffix;
    uint64_t factor;
} Unit;
static const Unit size_units[] = {
    {"", 1}, {"B", 1}, {"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {"TiB", 1024 * GIB}, {NULL, 0}};
static const Unit time_units[] = {{"ms", 1},      {"s", 1000},         {"min", 60000},
                                  {"h", 3600000}, {"d", 24 * 3600000}, {NULL, 0}};
static const Unit count_units[] = {{"", 1}, {NULL, 0}};

/* --- names --- */

/* Edits (insert, delete, replace) between two names. */
static size_t distance(Str a, Str b)
{
    size_t row[CONFIG_NAME_MAX + 1];
    b = str_slice(b, 0, CONFIG_NAME_MAX);
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            size_t change = diagonal + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);
            row[j] = MIN(change, MIN(row[j - 1], above) + 1);
            diagonal = above;
        }
    }
    return row[b.len];
}

const ConfigOption *config_nearest(Str name)
{
    const ConfigOption *best = NULL;
    size_t least = NEAR_MAX + 1;
    for (size_t i = 0; i < config_option_count; i++) {
        if (config_options[i].type == TYPE_LATER) continue; /* it would be refused as well */
        size_t edits = distance(str_slice(name, 0, CONFIG_NAME_MAX),
                                str_from_cstr(config_options[i].name));
        if (edits < least) best = &config_options[i], least = edits;
    }
    return best;
}

const ConfigOption *config_find(Str name)
{
    for (size_t i = 0; i < config_option_count; i++) {
        if (str_eq(name, str_from_cstr(config_options[i].name))) return &config_options[i];
    }
    return NULL;
}

Str config_env_name(const ConfigOption *option,
                    char out[CONFIG_NAME_MAX + sizeof CONFIG_ENV_PREFIX])
{
    size_t len = sizeof CONFIG_ENV_PREFIX - 1;
    memcpy(out, CONFIG_ENV_PREFIX, len);
    for (const char *c = option->name; *c != '\0'; c++) {
        out[len++] = (char)(*c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    }
    return str_of(out, len);
}

/* --- values --- */

static const char *const *choices_of(ConfigType type)
{
    if (type == TYPE_BOOL) return bools;
    return type == TYPE_LOG_FORMAT ? log_formats : log_levels;
}

static bool parse_choice(const ConfigOption *option, Str value, uint64_t *out)
{
    const char *const *choices = choices_of(option->type);
    for (uint64_t i = 0; choices[i] != NULL; i++) {
        if (!str_eq(value, str_from_cstr(choices[i]))) continue;
        *out = i;
        return true;
    }
    return false;
}

/* "16MiB", "30s", "8": digits and one of the units. */
static bool parse_number(const Unit *units, Str value, uint64_t *out)
{
    size_t digits = 0;
    while (digits < value.len && value.ptr[digits] >= '0' && value.ptr[digits] <= '9')
        digits++;
    uint64_t number = 0;
    if (!str_to_u64(str_slice(value, 0, digits), UINT64_MAX, &number)) return false;
    Str suffix = str_slice(value, digits, value.len);
    for (const Unit *unit = units; unit->suffix != NULL; unit++) {
        if (!str_eq(suffix, str_from_cstr(unit->suffix))) continue;
        if (number > UINT64_MAX / unit->factor) return false;
        *out = number * unit->factor;
        return true;
    }
    return false;
}

bool config_parse_size(Str text, uint64_t *bytes)
{
    return parse_number(size_units, text, bytes);
}

static const Unit *units_of(ConfigType type)
{
    if (type == TYPE_SIZE) return size_units;
    return type == TYPE_TIME ? time_units : count_units;
}

/* The largest unit that divides it. */
void config_number_text(ConfigType type, uint64_t value, char out[32])
{
    const Unit *best = units_of(type);
    for (const Unit *unit = best; unit->suffix != NULL; unit++) {
        if (value % unit->factor == 0 && value > 0) best = unit;
    }
    snprintf(out, 32, "%" PRIu64 "%s", value / best->factor, best->suffix);
}

static ErrCode set_number(const ConfigOption *option, const char *from, Str value, uint64_t *field,
                          Err *err)
{
    uint64_t number = 0;
    bool good = parse_number(units_of(option->type), value, &number);
    if (good && number >= option->least && number <= option->most) {
        *field = number;
        return OK;
    }
    char least[32];
    char most[32];
    config_number_text(option->type, option->least, least);
    config_number_text(option->type, option->most, most);
    const char *form = option->type == TYPE_SIZE   ? ": a number and KiB, MiB or GiB"
                       : option->type == TYPE_TIME ? ": a number and ms, s, min, h or d"
                                                   : "";
    return err_set(err, ERR_CONFIG, "%s: \"%.*s\" is not %s..%s%s", from, STR_ARG(value), least,
                   most, form);
}

static ErrCode set_choice(const ConfigOption *option, const char *from, Str value, uint64_t *field,
                          Err *err)
{
    if (parse_choice(option, value, field)) return OK;
    Str words = str_from_cstr(option->type == TYPE_BOOL ? "true or false" : option->sentence);
    if (str_ends_with(words, STR("."))) words.len--;
    return err_set(err, ERR_CONFIG, "%s: \"%.*s\" is not %.*s", from, STR_ARG(value),
                   STR_ARG(words));
}

static ErrCode add_dir(Config *config, const char *from, Str value, Err *err)
{
    if (value.len == 0)
        return err_set(err, ERR_CONFIG, "%s: the name of a directory is empty", from);
    if (config->data_count == CONFIG_DATA_MAX) {
        return err_set(err, ERR_CONFIG, "%s: at most %d directories", from, CONFIG_DATA_MAX);
    }
    char *copy = mem_new(value.len + 1);
    memcpy(copy, value.ptr, value.len);
    config->data[config->data_count++] = copy;
    return OK;
}

static void set_text(char **field, Str value)
{
    mem_free(*field);
    *field = mem_new(value.len + 1);
    memcpy(*field, value.ptr, value.len);
}

static ErrCode set_name(const ConfigOption *option, const char *from, Str value, char **field,
                        Err *err)
{
    bool good = value.len >= option->least && value.len <= option->most;
    for (size_t i = 0; good && i < value.len; i++) {
        char c = value.ptr[i];
        good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    }
    if (!good) {
        return err_set(err, ERR_CONFIG, "%s: \"%.*s\" is not %d to %d of [a-z0-9.-]", from,
                       (int)MIN(value.len, (size_t)64), value.ptr, (int)option->least,
                       (int)option->most);
    }
    set_text(field, value);
    return OK;
}

static ErrCode set_address(const char *from, Str value, char **field, Err *err)
{
    Address address;
    if (!address_parse(value, &address)) {
        return err_set(err, ERR_CONFIG,
                       "%s: \"%.*s\" is not ADDRESS:PORT, like 127.0.0.1:9001 or [::1]:9001", from,
                       STR_ARG(value));
    }
    set_text(field, value);
    return OK;
}

static ErrCode set_door(const char *from, Str value, char **field, Err *err)
{
    if (!str_eq(value, STR("off"))) return set_address(from, value, field, err);
    set_text(field, value);
    return OK;
}

/* scheme://host or scheme://host:port as a browser writes it: in lower case, without a path. */
static bool is_origin(Str origin)
{
    Str scheme;
    Str rest;
    if (!str_split(origin, ':', &scheme, &rest) || !str_starts_with(rest, STR("//"))) return false;
    rest = str_slice(rest, 2, rest.len);
    if (scheme.len == 0 || rest.len == 0) return false;
    for (size_t i = 0; i < origin.len; i++) {
        char c = origin.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
        bool in_scheme = i < scheme.len;
        if (!word && (in_scheme ? c != '+' : strchr(":/[]_", c) == NULL)) return false;
    }
    return str_find_char(rest, '/') == rest.len;
}

static ErrCode set_origins(const char *from, Str value, char **field, Err *err)
{
    AUTO(char, mem_free) text = mem_new(value.len + 1);
    size_t len = 0;
    Str left = value;
    for (bool more = str_trim(value).len > 0 && !str_eq(str_trim(value), STR("*")); more;) {
        Str origin;
        more = str_split(left, ',', &origin, &left);
        origin = str_trim(origin);
        if (!is_origin(origin)) {
            return err_set(err, ERR_CONFIG,
                           "%s: \"%.*s\" is not an origin like https://app.example.org or "
                           "http://localhost:3000: lower case, nothing behind the port",
                           from, STR_ARG(origin));
        }
        if (len > 0) text[len++] = ',';
        memcpy(text + len, origin.ptr, origin.len);
        len += origin.len;
    }
    if (str_eq(str_trim(value), STR("*"))) text[0] = '*';
    mem_free(*field);
    *field = TAKE(text);
    return OK;
}

ErrCode config_set(Config *config, const ConfigOption *option, const char *from, Str value,
                   Err *err)
{
    void *field = (uint8_t *)config + option->offset;
    switch (option->type) {
    case TYPE_DIRS: return add_dir(config, from, value, err);
    case TYPE_ADDRESS: return set_address(from, value, field, err);
    case TYPE_ORIGINS: return set_origins(from, value, field, err);
    case TYPE_PATH:
    case TYPE_PEM: set_text(field, value); return OK;
    case TYPE_DOOR: return set_door(from, value, field, err);
    case TYPE_NAME: return set_name(option, from, value, field, err);
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_TIME: return set_number(option, from, value, field, err);
    case TYPE_BOOL:
    case TYPE_LOG_FORMAT:
    case TYPE_LOG_LEVEL: return set_choice(option, from, value, field, err);
    case TYPE_FILE: return OK; /* read before all else */
    case TYPE_LATER: break;
    }
    return err_set(err, ERR_CONFIG, "%s: %s", from, option->sentence);
}

/* --- sources --- */

static ErrCode read_env(Config *config, char *const *env, Err *err)
{
    for (size_t i = 0; i < config_option_count; i++) {
        char name[CONFIG_NAME_MAX + sizeof CONFIG_ENV_PREFIX];
        char text[sizeof name];
        Str wanted = config_env_name(&config_options[i], name);
        bool fits = str_to_cstr(wanted, text, sizeof text);
        ASSERT(fits);
        for (char *const *e = env; *e != NULL; e++) {
            Str found;
            Str value;
            if (!str_split(str_from_cstr(*e), '=', &found, &value)) continue;
            if (!str_eq(found, wanted)) continue;
            if (config_options[i].type == TYPE_DIRS) config_drop_dirs(config);
            TRY(config_set(config, &config_options[i], text, value, err));
        }
    }
    return OK;
}

static ErrCode unknown_flag(Str flag, Str name, Err *err)
{
    const ConfigOption *near = config_nearest(name);
    if (near == NULL) return err_set(err, ERR_USAGE, "there is no option %.*s", STR_ARG(flag));
    return err_set(err, ERR_USAGE, "there is no option %.*s; do you mean --%s?", STR_ARG(flag),
                   near->name);
}

/* One flag at argv[*at]: --name=value, --name value, or --name for true. Moves *at behind it. */
static ErrCode read_flag(Config *config, int argc, char *const *argv, int *at, Err *err)
{
    Str flag = str_from_cstr(argv[*at]);
    Str name;
    Str value;
    if (!str_starts_with(flag, STR("--"))) {
        const ConfigOption *before = *at > 1 ? config_find(str_slice(str_from_cstr(argv[*at - 1]),
                                                                     2, CONFIG_NAME_MAX))
                                             : NULL;
        if (before == NULL || before->type != TYPE_BOOL)
            return err_set(err, ERR_USAGE, "\"%.*s\" is not an option", STR_ARG(flag));
        return err_set(err, ERR_USAGE, "\"%.*s\" is not an option; write --%s=%.*s", STR_ARG(flag),
                       before->name, STR_ARG(flag));
    }
    bool has_value = str_split(flag, '=', &flag, &value);
    name = str_slice(flag, 2, flag.len);
    const ConfigOption *option = config_find(name);
    if (option == NULL) return unknown_flag(flag, name, err);
    (*at)++;
    if (!has_value && option->type == TYPE_BOOL) {
        value = STR("true");
    } else if (!has_value && option->type != TYPE_LATER) {
        if (*at == argc) return err_set(err, ERR_USAGE, "--%s needs a value", option->name);
        value = str_from_cstr(argv[(*at)++]);
    }
    char from[CONFIG_NAME_MAX + 2];
    snprintf(from, sizeof from, "--%s", option->name);
    return config_set(config, option, from, value, err);
}

void config_drop_dirs(Config *config)
{
    while (config->data_count > 0) {
        config->data_count--;
        mem_free(TAKE(config->data[config->data_count]));
    }
}

static ErrCode read_flags(Config *config, int argc, char *const *argv, bool *help, Err *err)
{
    bool data_given = false;
    for (int at = 1; at < argc;) {
        Str flag = str_from_cstr(argv[at]);
        if (str_eq(flag, STR("--help")) || str_eq(flag, STR("-h"))) {
            *help = true;
            return OK;
        }
        if (!data_given && (str_eq(flag, STR("--data")) || str_starts_with(flag, STR("--data=")))) {
            data_given = true; /* flags replace what the environment says, not add to it */
            config_drop_dirs(config);
        }
        TRY(read_flag(config, argc, argv, &at, err));
    }
    return OK;
}

/* What no single option can tell. */
static ErrCode check(const Config *config, Err *err)
{
    if (strcmp(config->http, config->s3) == 0) {
        return err_set(err, ERR_CONFIG,
                       "http and s3 are both %s; each door needs a port of its own", config->http);
    }
    if (config->segment_size % 4096 != 0) {
        return err_set(err, ERR_CONFIG, "segment-size: %" PRIu64 " is not a multiple of 4 KiB",
                       config->segment_size);
    }
    bool has_cert = config->tls_cert != NULL && config->tls_cert[0] != '\0';
    bool has_key = config->tls_key != NULL && config->tls_key[0] != '\0';
    if (has_cert != has_key) {
        return err_set(err, ERR_CONFIG,
                       "%s is set and %s is not; the file of one may be that of the other",
                       has_cert ? "tls-cert" : "tls-key", has_cert ? "tls-key" : "tls-cert");
    }
    if (config->scrub_rate_min > config->scrub_rate_max) {
        char least[32];
        char most[32];
        config_number_text(TYPE_SIZE, config->scrub_rate_min, least);
        config_number_text(TYPE_SIZE, config->scrub_rate_max, most);
        return err_set(err, ERR_CONFIG, "scrub-rate-min: %s is above scrub-rate-max, %s", least,
                       most);
    }
    return OK;
}

/* The option's value in env; false: it is not there. */
static bool find_env(char *const *env, const ConfigOption *option, Str *value)
{
    char name[CONFIG_NAME_MAX + sizeof CONFIG_ENV_PREFIX];
    Str wanted = config_env_name(option, name);
    for (char *const *e = env; *e != NULL; e++) {
        Str found;
        if (str_split(str_from_cstr(*e), '=', &found, value) && str_eq(found, wanted)) return true;
    }
    return false;
}

Str config_file_named(int argc, char *const *argv, char *const *env)
{
    Str named = {NULL, 0};
    bool in_env = find_env(env, config_find(STR("config")), &named);
    if (!in_env) named = (Str){NULL, 0};
    for (int i = 1; i < argc; i++) {
        Str flag;
        Str value;
        bool has_value = str_split(str_from_cstr(argv[i]), '=', &flag, &value);
        if (!str_eq(flag, STR("--config"))) continue;
        if (has_value) {
            named = value;
        } else if (i + 1 < argc) {
            named = str_from_cstr(argv[i + 1]);
        }
    }
    return named;
}

static ErrCode read_presets(Config *config, Err *err)
{
    for (size_t i = 0; i < config_option_count; i++) {
        if (config_options[i].preset[0] == '\0') continue;
        TRY(config_set(config, &config_options[i], config_options[i].name,
                       str_from_cstr(config_options[i].preset), err));
    }
    return OK;
}

static ErrCode read_sources(const ConfigSources *sources, Config *config, bool *help, Err *err)
{
    TRY(read_presets(config, err));
    if (sources->file_name != NULL) {
        TRY(config_read_yaml(config, sources->file, sources->file_name, err));
    }
    TRY(read_env(config, sources->env, err));
    TRY(read_flags(config, sources->argc, sources->argv, help, err));
    if (*help) return OK;
    if (config->data_count == 0) {
        return err_set(err, ERR_USAGE, "--data DIR is missing: where the files are to be kept");
    }
    return check(config, err);
}

ErrCode config_read(const ConfigSources *sources, Config *out, bool *help, Err *err)
{
    Config config = {0};
    bool wants_help = false;
    ErrCode code = read_sources(sources, &config, &wants_help, err);
    if (code != OK) {
        config_deinit(&config);
        return code;
    }
    *out = config;
    *help = wants_help;
    return OK;
}

static ErrCode check_file(Config *config, Str yaml, const char *name, Err *err)
{
    TRY(read_presets(config, err));
    TRY(config_read_yaml(config, yaml, name, err));
    ErrCode code = check(config, err);
    return code == OK ? OK : err_wrap(err, code, "%s", name);
}

ErrCode config_check(Str yaml, const char *name, Err *err)
{
    Config config = {0};
    ErrCode code = check_file(&config, yaml, name, err);
    config_deinit(&config);
    return code;
}

static bool same_dirs(const Config *a, const Config *b)
{
    if (a->data_count != b->data_count) return false;
    for (size_t i = 0; i < a->data_count; i++) {
        if (strcmp(a->data[i], b->data[i]) != 0) return false;
    }
    return true;
}

static bool same_value(const ConfigOption *option, const Config *a, const Config *b)
{
    const uint8_t *left = (const uint8_t *)a + option->offset;
    const uint8_t *right = (const uint8_t *)b + option->offset;
    switch (option->type) {
    case TYPE_DIRS: return same_dirs(a, b);
    case TYPE_ADDRESS:
    case TYPE_ORIGINS: /* NULL is an empty one */
    case TYPE_PATH:
    case TYPE_PEM:
    case TYPE_DOOR:
    case TYPE_NAME:
        return str_eq(str_from_cstr(*(char *const *)(const void *)left),
                      str_from_cstr(*(char *const *)(const void *)right));
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_TIME:
    case TYPE_BOOL:
    case TYPE_LOG_FORMAT:
    case TYPE_LOG_LEVEL: return memcmp(left, right, sizeof(uint64_t)) == 0;
    case TYPE_FILE:
    case TYPE_LATER: break;
    }
    return true;
}

bool config_is_preset(const Config *config, const char *name)
{
    Config preset = {0};
    const ConfigOption *option = config_find(str_from_cstr(name));
    ASSERT(option != NULL);
    bool same = read_presets(&preset, NULL) == OK && same_value(option, config, &preset);
    config_deinit(&preset);
    return same;
}

bool config_next_change(const Config *old, const Config *now, size_t *cursor, const char **name,
                        bool *live)
{
    while (*cursor < config_option_count) {
        const ConfigOption *option = &config_options[(*cursor)++];
        if (same_value(option, old, now)) continue;
        *name = option->name;
        *live = option->live;
        return true;
    }
    return false;
}

void config_deinit(Config *config)
{
    config_drop_dirs(config);
    mem_free(config->http);
    mem_free(config->cors_origins);
    mem_free(config->audit_dir);
    mem_free(config->tls_cert);
    mem_free(config->tls_key);
    mem_free(config->s3);
    mem_free(config->s3_region);
    mem_free(config->s3_domain);
    *config = (Config){0};
}

bool config_unknown_env(char *const *env, Str *name, const char **nearest)
{
    for (char *const *e = env; *e != NULL; e++) {
        Str found;
        Str value;
        if (!str_split(str_from_cstr(*e), '=', &found, &value)) continue;
        if (!str_starts_with(found, STR(CONFIG_ENV_PREFIX))) continue;
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(client_env); i++) {
            known = known || str_eq(found, str_from_cstr(client_env[i]));
        }
        char lower[CONFIG_NAME_MAX];
        Str rest = str_slice(found, sizeof CONFIG_ENV_PREFIX - 1, CONFIG_NAME_MAX);
        for (size_t i = 0; i < rest.len; i++) {
            char c = rest.ptr[i];
            lower[i] = (char)(c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
        Str option = str_of(lower, rest.len);
        if (known || config_find(option) != NULL) continue;
        const ConfigOption *near = config_nearest(option);
        *name = found;
        *nearest = near == NULL ? NULL : near->name;
        return true;
    }
    return false;
}
