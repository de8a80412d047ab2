#include "cli/settings.h"

#include "cli/local_file.h"
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define CONFIG_FILE_MAX (64 * KIB)
#define KEY_FILE_MAX (4 * KIB)

void settings_deinit(Settings *settings)
{
    mem_free(settings->url);
    if (settings->key != NULL) explicit_bzero(settings->key, strlen(settings->key));
    mem_free(settings->key);
    mem_free(settings->ca);
    *settings = (Settings){0};
}

static void set(char **field, Str value)
{
    char *copy = mem_new(value.len + 1);
    if (value.len > 0) memcpy(copy, value.ptr, value.len);
    mem_free(*field);
    *field = copy;
}

/* ---- the file ---- */

static Str node_text(const yaml_node_t *node)
{
    if (node == NULL || node->type != YAML_SCALAR_NODE) return (Str){NULL, 0};
    return str_of(node->data.scalar.value, node->data.scalar.length);
}

static ErrCode take_pair(Settings *out, Str name, Str value, Err *err)
{
    char **field = str_eq(name, STR("url"))   ? &out->url
                   : str_eq(name, STR("key")) ? &out->key
                   : str_eq(name, STR("ca"))  ? &out->ca
                                              : NULL;
    if (field == NULL) return OK;
    if (value.ptr == NULL || memchr(value.ptr, '\0', value.len) != NULL) {
        return err_set(err, ERR_CONFIG, "%.*s: is not text", STR_ARG(name));
    }
    set(field, value);
    return OK;
}

static ErrCode take_document(yaml_document_t *document, Settings *out, Err *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(document);
    if (root == NULL) return OK; /* empty */
    if (root->type != YAML_MAPPING_NODE) {
        return err_set(err, ERR_CONFIG, "line 1: lines of `url: …` and `key: …` are expected");
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        Str name = node_text(yaml_document_get_node(document, pair->key));
        TRY(take_pair(out, name, node_text(yaml_document_get_node(document, pair->value)), err));
    }
    return OK;
}

ErrCode settings_parse(Str yaml, Settings *out, Err *err)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) return err_set(err, ERR_NO_MEMORY, "parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.len > 0 ? yaml.ptr : ""),
                                 yaml.len);
    yaml_document_t document;
    ErrCode code = OK;
    if (yaml_parser_load(&parser, &document) == 0) {
        code = err_set(err, ERR_CONFIG, "line %zu: %s", parser.problem_mark.line + 1,
                       parser.problem != NULL ? parser.problem : "is not YAML");
    } else {
        code = take_document(&document, out, err);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return code;
}

static ErrCode read_config_file(Settings *out, Err *err)
{
    AUTO_BUF(path, 4096);
    const char *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (base != NULL && base[0] == '/') {
        TRY(buf_printf(&path, err, "%s/holdfast/config.yaml", base));
    } else if (home != NULL && home[0] == '/') {
        TRY(buf_printf(&path, err, "%s/.config/holdfast/config.yaml", home));
    } else {
        return OK;
    }
    TRY(buf_append_zeros(&path, 1, err));
    AUTO_BUF(text, CONFIG_FILE_MAX);
    bool found = false;
    TRY(local_read_all((const char *)path.data, &text, &found, err));
    if (!found) return OK;
    ErrCode code = settings_parse(buf_str(&text), out, err);
    if (text.len > 0) explicit_bzero(text.data, text.len);
    return code == OK ? OK : err_wrap(err, code, "%s", (const char *)path.data);
}

/* ---- the environment and flags ---- */

/* from names the source in texts. */
static ErrCode read_key_file(const char *from, const char *path, Settings *out, Err *err)
{
    AUTO_BUF(text, KEY_FILE_MAX);
    bool found = false;
    TRY(local_read_all(path, &text, &found, err));
    if (!found) return err_set(err, ERR_CONFIG, "%s: there is no file %s", from, path);
    Str line;
    Str rest;
    /* The first line, whatever follows: false only tells that nothing does. */
    bool more = str_split(buf_str(&text), '\n', &line, &rest);
    UNUSED(more);
    set(&out->key, str_trim(line));
    explicit_bzero(text.data, text.len);
    return OK;
}

static const char *env_value(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* A scheme that we speak, a host, no space or control byte. */
static bool good_url(Str url)
{
    Str plain = STR("http://");
    Str tls = STR("https://");
    size_t skip = str_starts_with(url, plain) ? plain.len : str_starts_with(url, tls) ? tls.len : 0;
    if (skip == 0 || url.len == skip || url.ptr[skip] == '/') return false;
    for (size_t i = 0; i < url.len; i++) {
        if ((uint8_t)url.ptr[i] <= 0x20 || url.ptr[i] == 0x7f || url.ptr[i] == '?' ||
            url.ptr[i] == '#') {
            return false;
        }
    }
    return true;
}

/* A key goes into a header: printable ASCII without spaces. */
static bool good_key(Str key)
{
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] <= 0x20 || key.ptr[i] >= 0x7f) return false;
    }
    return key.len > 0;
}

static ErrCode check(Settings *settings, Err *err)
{
    Str url = str_from_cstr(settings->url);
    while (url.len > 0 && url.ptr[url.len - 1] == '/')
        url.len--;
    if (!good_url(url)) {
        return err_set(err, ERR_USAGE, "the server's address \"%s\" is not like %s", settings->url,
                       SETTINGS_URL_DEFAULT);
    }
    settings->url[url.len] = '\0';
    if (settings->key != NULL && !good_key(str_from_cstr(settings->key))) {
        return err_set(err, ERR_USAGE, "the key is not of the form ID.SECRET");
    }
    return OK;
}

static ErrCode read_all(const ClientOptions *options, Settings *out, Err *err)
{
    set(&out->url, STR(SETTINGS_URL_DEFAULT));
    TRY(read_config_file(out, err));
    const char *url = options->url != NULL ? options->url : env_value("HOLDFAST_URL");
    const char *key = options->key != NULL ? options->key : env_value("HOLDFAST_KEY");
    const char *key_file = env_value("HOLDFAST_KEY_FILE");
    const char *ca = options->ca != NULL ? options->ca : env_value("HOLDFAST_CA");
    if (url != NULL) set(&out->url, str_from_cstr(url));
    if (ca != NULL) set(&out->ca, str_from_cstr(ca));
    if (options->key_file != NULL && options->key == NULL) {
        TRY(read_key_file("--key-file", options->key_file, out, err));
    } else if (key != NULL) {
        set(&out->key, str_from_cstr(key));
    } else if (key_file != NULL) {
        TRY(read_key_file("HOLDFAST_KEY_FILE", key_file, out, err));
    }
    return check(out, err);
}

ErrCode settings_read(const ClientOptions *options, Settings *out, Err *err)
{
    Settings settings = {0};
    ErrCode code = read_all(options, &settings, err);
    if (code != OK) {
        settings_deinit(&settings);
        return code;
    }
    *out = settings;
    return OK;
}
