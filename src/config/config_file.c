/* The file of settings: one YAML mapping, names as those of the flags, values as behind them.
 *
 *   data: /srv/holdfast        or a list of directories
 *   segment-size: 4MiB */
#include "config/config_priv.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

typedef struct {
    Config *config;
    const char *name; /* of the file */
    yaml_document_t *document;
    bool seen[64]; /* options, by their place in the table */
} File;

static size_t line_of(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

static Str scalar_of(const yaml_node_t *node)
{
    return str_of(node->data.scalar.value, node->data.scalar.length);
}

/* Sets an option from one scalar. */
static ErrCode set_scalar(File *file, const ConfigOption *option, const yaml_node_t *node, Err *err)
{
    char from[256];
    snprintf(from, sizeof from, "%.200s:%zu: %s", file->name, line_of(node), option->name);
    if (node->type != YAML_SCALAR_NODE ||
        memchr(node->data.scalar.value, '\0', node->data.scalar.length) != NULL) {
        return err_set(err, ERR_CONFIG, "%s: is not text", from);
    }
    return config_set(file->config, option, from, scalar_of(node), err);
}

static ErrCode set_dirs(File *file, const ConfigOption *option, const yaml_node_t *node, Err *err)
{
    config_drop_dirs(file->config);
    if (node->type != YAML_SEQUENCE_NODE) return set_scalar(file, option, node, err);
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        const yaml_node_t *each = yaml_document_get_node(file->document, *item);
        TRY(set_scalar(file, option, each, err));
    }
    return OK;
}

static ErrCode unknown(const File *file, size_t line, Str name, Err *err)
{
    const ConfigOption *near = config_nearest(name);
    if (near == NULL) {
        return err_set(err, ERR_CONFIG, "%s:%zu: there is no setting \"%.*s\"", file->name, line,
                       STR_ARG(str_slice(name, 0, 80)));
    }
    return err_set(err, ERR_CONFIG, "%s:%zu: there is no setting \"%.*s\"; do you mean %s?",
                   file->name, line, STR_ARG(str_slice(name, 0, 80)), near->name);
}

static ErrCode take_pair(File *file, const yaml_node_t *key, const yaml_node_t *value, Err *err)
{
    if (key->type != YAML_SCALAR_NODE) {
        return err_set(err, ERR_CONFIG, "%s:%zu: the name of a setting is expected", file->name,
                       line_of(key));
    }
    Str name = scalar_of(key);
    const ConfigOption *option = config_find(name);
    if (option == NULL) return unknown(file, line_of(key), name, err);
    if (option->type == TYPE_FILE) {
        return err_set(err, ERR_CONFIG, "%s:%zu: a file of settings names no other", file->name,
                       line_of(key));
    }
    size_t at = (size_t)(option - config_options);
    if (file->seen[at]) {
        return err_set(err, ERR_CONFIG, "%s:%zu: %s is set twice", file->name, line_of(key),
                       option->name);
    }
    file->seen[at] = true;
    return option->type == TYPE_DIRS ? set_dirs(file, option, value, err)
                                     : set_scalar(file, option, value, err);
}

static ErrCode take_document(File *file, Err *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(file->document);
    if (root == NULL) return OK; /* empty, or comments alone */
    if (root->type != YAML_MAPPING_NODE) {
        return err_set(err, ERR_CONFIG, "%s:%zu: lines of `name: value` are expected", file->name,
                       line_of(root));
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        TRY(take_pair(file, yaml_document_get_node(file->document, pair->key),
                      yaml_document_get_node(file->document, pair->value), err));
    }
    return OK;
}

static ErrCode no_yaml(const yaml_parser_t *parser, const char *name, Err *err)
{
    return err_set(err, ERR_CONFIG, "%s:%zu: %s", name, parser->problem_mark.line + 1,
                   parser->problem != NULL ? parser->problem : "is not YAML");
}

/* A second document would be passed over in silence. */
static ErrCode check_end(yaml_parser_t *parser, const char *name, Err *err)
{
    yaml_document_t more;
    if (yaml_parser_load(parser, &more) == 0) return no_yaml(parser, name, err);
    const yaml_node_t *root = yaml_document_get_root_node(&more);
    ErrCode code = OK;
    if (root != NULL) {
        code = err_set(err, ERR_CONFIG, "%s:%zu: a second document begins", name, line_of(root));
    }
    yaml_document_delete(&more);
    return code;
}

ErrCode config_read_yaml(Config *config, Str yaml, const char *name, Err *err)
{
    yaml_parser_t parser;
    ASSERT(config_option_count <= ARRAY_LEN(((File *)NULL)->seen));
    if (yaml_parser_initialize(&parser) == 0) return err_set(err, ERR_NO_MEMORY, "parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.len > 0 ? yaml.ptr : ""),
                                 yaml.len);
    yaml_document_t document;
    ErrCode code = OK;
    if (yaml_parser_load(&parser, &document) == 0) {
        code = no_yaml(&parser, name, err);
    } else {
        bool empty = yaml_document_get_root_node(&document) == NULL;
        File file = {.config = config, .name = name, .document = &document};
        code = take_document(&file, err);
        yaml_document_delete(&document);
        if (code == OK && !empty) code = check_end(&parser, name, err);
    }
    yaml_parser_delete(&parser);
    return code;
}
