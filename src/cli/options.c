#include "cli/options.h"

#include "cli/nearest.h"

#include <stdio.h>

typedef enum {
    ID_URL,
    ID_KEY,
    ID_RETRY_FOR,
    ID_CONNECTIONS,
    ID_JSON,
    ID_QUIET,
    ID_RECURSIVE,
    ID_LONG,
    ID_HUMAN,
    ID_BY_TIME,
    ID_BY_SIZE,
    ID_REVERSE,
    ID_FORCE,
    ID_DELETE,
    ID_CHECKSUM,
    ID_DRY_RUN,
    ID_KEY_FILE,
    ID_CA,
    ID_REPAIR,
    ID_SALVAGE,
    ID_SCRATCH,
    ID_REBUILD,
    ID_FROM,
    ID_YES,
    ID_QUOTA_BYTES,
    ID_QUOTA_FILES,
    ID_VERSIONING,
    ID_WRITES,
    ID_REQUIRE,
    ID_CLASS,
    ID_COPIES,
    ID_MIN_ISR,
    ID_SHARDS,
    ID_VERSION,
    ID_VERSIONS,
    ID_AUDIT_KEY,
    ID_SIZE,
    ID_MIX,
    ID_PART_SIZE,
    ID_SECONDS,
    ID_CONFIG,
    ID_DOOR,
    ID_REGION,
    ID_EXPIRES,
    ID_HELP
} OptionId;

typedef struct {
    OptionId id;
    unsigned bit; /* of CommandSpec.options; 0: every command; OPTION_LOCAL: those without it */
    const char *name;
    const char *letters; /* short forms */
    const char *value;   /* what follows, NULL for a switch */
    const char *text;    /* NULL: another name, that is not told of */
} OptionRow;

static const OptionRow rows[] = {
    {ID_RECURSIVE, OPTION_RECURSIVE, "recursive", "rR", NULL, "everything below, not one level"},
    {ID_RECURSIVE, OPTION_LISTING, "recursive", "R", NULL, "everything below, not one level"},
    {ID_LONG, OPTION_LONG, "long", "l", NULL, "size and time of each file too"},
    {ID_HUMAN, OPTION_HUMAN, "human", "h", NULL, "sizes as 1.5 MiB; with -l"},
    {ID_BY_TIME, OPTION_LISTING, "time", "t", NULL, "newest first"},
    {ID_BY_SIZE, OPTION_LISTING, "size", "S", NULL, "largest first"},
    {ID_REVERSE, OPTION_LISTING, "reverse", "r", NULL, "in the opposite order"},
    {ID_DELETE, OPTION_SYNC, "delete", "", NULL, "deletes below the prefix what is not here"},
    {ID_CHECKSUM, OPTION_SYNC, "checksum", "c", NULL, "compares content, not size and time"},
    {ID_DRY_RUN, OPTION_SYNC, "dry-run", "n", NULL, "only tells what would be done"},
    {ID_FORCE, OPTION_FORCE, "force", "f", NULL, "moves what is the same on both sides too"},
    {ID_REPAIR, OPTION_FSCK, "repair", "", NULL,
     "mends what can be mended without losing anything"},
    {ID_SALVAGE, OPTION_FSCK, "salvage", "", "OUT",
     "copies every file that is whole to OUT/BUCKET/KEY"},
    {ID_SCRATCH, OPTION_FSCK, "scratch", "", "DIR",
     "for what does not fit into memory [TMPDIR, or /tmp]"},
    {ID_REBUILD, OPTION_RECOVER, "rebuild", "", "WHAT", "index, packs or wal"},
    {ID_FROM, OPTION_RECOVER, "from", "", "SOURCE", "another directory of the store, or auto"},
    {ID_YES, OPTION_RECOVER, "yes", "", NULL,
     "goes on though something is lost for good, or DIR is whole"},
    {ID_YES, OPTION_RECOVER, "accept-loss", "", NULL, NULL},
    {ID_QUOTA_BYTES, OPTION_BUCKET, "quota-bytes", "", "SIZE",
     "most bytes of all its files, such as 10GiB, or none"},
    {ID_QUOTA_FILES, OPTION_BUCKET, "quota-files", "", "N", "most files in it, or none"},
    {ID_VERSIONING, OPTION_BUCKET, "versions", "", "WORD",
     "on, or suspended: what becomes of older versions of files"},
    {ID_CLASS, OPTION_BUCKET, "class", "", "NAME", "of create: the placement class [standard]"},
    {ID_COPIES, OPTION_CLASS, "copies", "", "N", "of create: on so many directories [all]"},
    {ID_MIN_ISR, OPTION_CLASS, "min-isr", "", "N",
     "copies in sync without which no change is taken"},
    {ID_SHARDS, OPTION_CLASS, "shards", "", "N", "of create: that files are spread over [64]"},
    {ID_WRITES, OPTION_BUCKET | OPTION_CLASS, "writes", "", "WORD",
     "sync, or async: answered when one copy has a change"},
    {ID_REQUIRE, OPTION_BUCKET | OPTION_CLASS, "require", "", "WORD",
     "in-sync, or all: no change while a copy is missing"},
    {ID_EXPIRES, OPTION_EXPIRES, "expires", "", "TIME",
     "of create: when it ends, such as 2027-01-31T00:00:00Z"},
    {ID_VERSION, OPTION_VERSION, "version", "", "ID", "this version instead of the current one"},
    {ID_VERSIONS, OPTION_VERSIONS, "versions", "", NULL, "all versions of each file"},
    {ID_AUDIT_KEY, OPTION_AUDIT, "audit-key", "", "FILE",
     "of audit verify: the key, if it is not where a server has it"},
    {ID_DOOR, OPTION_BENCH, "door", "", "DOOR", "rest, or s3 of any server [rest]"},
    {ID_REGION, OPTION_BENCH, "region", "", "REGION",
     "that S3 requests are signed for [us-east-1]"},
    {ID_SIZE, OPTION_BENCH, "size", "", "SIZE", "of each file [4KiB]"},
    {ID_MIX, OPTION_BENCH, "mix", "", "MIX",
     "weights, of multipart=N too [put=30,get=60,list=5,delete=5]"},
    {ID_PART_SIZE, OPTION_BENCH, "part-size", "", "SIZE", "of each part of a multipart [8MiB]"},
    {ID_SECONDS, OPTION_BENCH, "seconds", "", "N", "how long it is measured [10]"},
    {ID_CONFIG, OPTION_DOCTOR, "config", "", "FILE", "settings of the server [HOLDFAST_CONFIG]"},
    {ID_CONNECTIONS, OPTION_CONNECTIONS, "connections", "", "N", "transfers at once, 1..64 [8]"},
    {ID_JSON, OPTION_JSON, "json", "", NULL, "one JSON object a line on standard output"},
    {ID_QUIET, OPTION_QUIET, "quiet", "q", NULL, "nothing on standard error but failures"},
    {ID_RETRY_FOR, OPTION_LOCAL, "retry-for", "", "TIME", "how long a file is tried again [60s]"},
    {ID_URL, OPTION_LOCAL, "url", "", "URL", "server [HOLDFAST_URL, or http://127.0.0.1:9001]"},
    {ID_KEY, OPTION_LOCAL, "key", "", "ID.SECRET", "access key [HOLDFAST_KEY]"},
    {ID_KEY_FILE, OPTION_LOCAL, "key-file", "", "FILE",
     "file that holds the key [HOLDFAST_KEY_FILE]"},
    {ID_CA, OPTION_LOCAL, "ca", "", "FILE",
     "of https: PEM file of whom to trust [HOLDFAST_CA, or the system's]"},
    {ID_HELP, 0, "help", "h", NULL, "this text"},
};

bool options_parse_time(Str text, uint64_t *ms)
{
    static const struct {
        Str suffix;
        uint64_t factor;
    } units[] = {
        {STR_INIT("ms"), 1},
        {STR_INIT("s"), 1000},
        {STR_INIT(""), 1000},
        {STR_INIT("min"), UINT64_C(60000)},
        {STR_INIT("h"), UINT64_C(3600000)},
    };
    const uint64_t most = UINT64_C(24) * 3600 * 1000;
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    uint64_t number = 0;
    if (!str_to_u64(str_slice(text, 0, digits), most, &number)) return false;
    Str suffix = str_slice(text, digits, text.len - digits);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!str_eq(suffix, units[i].suffix)) continue;
        if (number > most / units[i].factor) return false;
        *ms = number * units[i].factor;
        return true;
    }
    return false;
}

static bool has_row(const CommandSpec *spec, const OptionRow *row)
{
    if (row->bit == 0) return true;
    return ((spec->options & row->bit) != 0) == (row->bit != OPTION_LOCAL);
}

static const OptionRow *find_name(const CommandSpec *spec, Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (has_row(spec, &rows[i]) && str_eq(name, str_from_cstr(rows[i].name))) return &rows[i];
    }
    return NULL;
}

static const OptionRow *find_letter(const CommandSpec *spec, char letter)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str letters = str_from_cstr(rows[i].letters);
        if (has_row(spec, &rows[i]) && str_find_char(letters, letter) < letters.len) {
            return &rows[i];
        }
    }
    return NULL;
}

static ErrCode set_value(ClientOptions *out, const OptionRow *row, const char *value, Err *err)
{
    uint64_t number = 0;
    switch (row->id) {
    case ID_URL: out->url = value; return OK;
    case ID_KEY: out->key = value; return OK;
    case ID_JSON: out->json = true; return OK;
    case ID_QUIET: out->quiet = true; return OK;
    case ID_RECURSIVE: out->recursive = true; return OK;
    case ID_LONG: out->long_form = true; return OK;
    case ID_HUMAN: out->human = true; return OK;
    case ID_BY_TIME: out->by_time = true; return OK;
    case ID_BY_SIZE: out->by_size = true; return OK;
    case ID_REVERSE: out->reverse = true; return OK;
    case ID_FORCE: out->force = true; return OK;
    case ID_DELETE: out->remove_extra = true; return OK;
    case ID_CHECKSUM: out->checksum = true; return OK;
    case ID_DRY_RUN: out->dry_run = true; return OK;
    case ID_KEY_FILE: out->key_file = value; return OK;
    case ID_CA: out->ca = value; return OK;
    case ID_RETRY_FOR:
        if (!options_parse_time(str_from_cstr(value), &out->retry_for_ms)) {
            return err_set(err, ERR_USAGE, "--retry-for \"%s\" is not a time such as 60s or 5min",
                           value);
        }
        out->retry_given = true;
        return OK;
    case ID_CONNECTIONS:
        if (!str_to_u64(str_from_cstr(value), OPTIONS_CONNECTIONS_MAX, &number) || number == 0) {
            return err_set(err, ERR_USAGE, "--connections \"%s\" is not 1..%d", value,
                           OPTIONS_CONNECTIONS_MAX);
        }
        out->connections = (size_t)number;
        return OK;
    case ID_REPAIR: out->repair = true; return OK;
    case ID_SALVAGE: out->salvage = value; return OK;
    case ID_SCRATCH: out->scratch = value; return OK;
    case ID_REBUILD: out->rebuild = value; return OK;
    case ID_FROM: out->from = value; return OK;
    case ID_YES: out->yes = true; return OK;
    case ID_QUOTA_BYTES: out->quota_bytes = value; return OK;
    case ID_QUOTA_FILES: out->quota_files = value; return OK;
    case ID_VERSIONING: out->versioning = value; return OK;
    case ID_WRITES: out->writes = value; return OK;
    case ID_REQUIRE: out->require = value; return OK;
    case ID_CLASS: out->class = value; return OK;
    case ID_COPIES: out->copies = value; return OK;
    case ID_MIN_ISR: out->min_isr = value; return OK;
    case ID_SHARDS: out->shards = value; return OK;
    case ID_VERSION: out->version = value; return OK;
    case ID_VERSIONS: out->versions = true; return OK;
    case ID_AUDIT_KEY: out->audit_key = value; return OK;
    case ID_SIZE: out->size = value; return OK;
    case ID_MIX: out->mix = value; return OK;
    case ID_PART_SIZE: out->part_size = value; return OK;
    case ID_SECONDS: out->seconds = value; return OK;
    case ID_CONFIG: out->config = value; return OK;
    case ID_DOOR: out->door = value; return OK;
    case ID_REGION: out->region = value; return OK;
    case ID_EXPIRES: out->expires = value; return OK;
    case ID_HELP: break;
    }
    return OK;
}

static ErrCode no_option(const CommandSpec *spec, Str name, Err *err)
{
    char typed[64];
    const char *nearest = NULL;
    size_t best = 0;
    if (str_to_cstr(name, typed, sizeof typed)) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (has_row(spec, &rows[i]) && rows[i].text != NULL &&
                nearest_is(typed, rows[i].name, &best))
                nearest = rows[i].name;
        }
    }
    if (nearest == NULL) return err_set(err, ERR_USAGE, "there is no option --%.*s", STR_ARG(name));
    return err_set(err, ERR_USAGE, "there is no option --%.*s; do you mean --%s?", STR_ARG(name),
                   nearest);
}

/* --name, --name=value or --name value at argv[*at]; *at moves to the last that was used. */
static ErrCode read_long(const CommandSpec *spec, int argc, char *const *argv, int *at,
                         ClientOptions *out, Err *err)
{
    Str flag = str_from_cstr(argv[*at]);
    Str name;
    Str value;
    bool has_value = str_split(str_slice(flag, 2, flag.len - 2), '=', &name, &value);
    const OptionRow *row = find_name(spec, name);
    if (row == NULL) return no_option(spec, name, err);
    if (row->value == NULL) {
        if (has_value) return err_set(err, ERR_USAGE, "--%s takes no value", row->name);
        return set_value(out, row, NULL, err);
    }
    if (!has_value) {
        if (*at + 1 >= argc) {
            return err_set(err, ERR_USAGE, "--%s needs a value: %s", row->name, row->value);
        }
        value = str_from_cstr(argv[++*at]);
    }
    /* value ends where its argument ends, so it is terminated. */
    return set_value(out, row, value.ptr, err);
}

/* -r, -l, -rl: switches only. */
static ErrCode read_letters(const CommandSpec *spec, const char *arg, ClientOptions *out, Err *err)
{
    for (const char *c = arg + 1; *c != '\0'; c++) {
        const OptionRow *row = find_letter(spec, *c);
        if (row == NULL) return err_set(err, ERR_USAGE, "there is no option -%c", *c);
        TRY(set_value(out, row, NULL, err));
    }
    return OK;
}

static ErrCode add_arg(const CommandSpec *spec, const char *arg, ClientOptions *out, Err *err)
{
    if (out->arg_count == spec->args_max) {
        return err_set(err, ERR_USAGE, "\"%s\" is one argument too many", arg);
    }
    ASSERT(out->arg_count < OPTIONS_ARGS_MAX);
    out->args[out->arg_count++] = arg;
    return OK;
}

/* -h is --help, but of commands that have sizes to show. */
static bool wants_help(const CommandSpec *spec, int argc, char *const *argv)
{
    bool short_form = (spec->options & OPTION_HUMAN) == 0;
    for (int i = 1; i < argc; i++) {
        Str arg = str_from_cstr(argv[i]);
        if (str_eq(arg, STR("--"))) return false;
        if (str_eq(arg, STR("--help")) || (short_form && str_eq(arg, STR("-h")))) return true;
    }
    return false;
}

ErrCode options_read(const CommandSpec *spec, int argc, char *const *argv, ClientOptions *out,
                     bool *help, Err *err)
{
    ASSERT(spec->args_max <= OPTIONS_ARGS_MAX);
    ClientOptions options = {.connections = OPTIONS_CONNECTIONS,
                             .retry_for_ms = OPTIONS_RETRY_FOR_MS};
    bool only_args = false;
    if (wants_help(spec, argc, argv)) {
        *out = options;
        *help = true;
        return OK;
    }
    for (int at = 1; at < argc; at++) {
        Str arg = str_from_cstr(argv[at]);
        /* A lone "-" is an argument: standard output. */
        if (only_args || arg.len < 2 || arg.ptr[0] != '-') {
            TRY(add_arg(spec, argv[at], &options, err));
        } else if (str_eq(arg, STR("--"))) {
            only_args = true;
        } else if (arg.ptr[1] == '-') {
            TRY(read_long(spec, argc, argv, &at, &options, err));
        } else {
            TRY(read_letters(spec, argv[at], &options, err));
        }
    }
    if (options.arg_count < spec->args_min) {
        size_t missing = spec->args_min - options.arg_count;
        return err_set(err, ERR_USAGE, "%zu argument%s missing; usage: holdfast %.*s", missing,
                       missing == 1 ? " is" : "s are",
                       (int)str_find_char(str_from_cstr(spec->usage), '\n'), spec->usage);
    }
    *out = options;
    *help = false;
    return OK;
}

bool options_next(const CommandSpec *spec, size_t *cursor, OptionText *out)
{
    while (*cursor < ARRAY_LEN(rows)) {
        const OptionRow *row = &rows[(*cursor)++];
        if (!has_row(spec, row) || row->text == NULL) continue;
        /* The first letter is the one to tell, unless the command has it for another option. */
        bool has_letter = row->letters[0] != '\0' && find_letter(spec, row->letters[0]) == row;
        *out = (OptionText){.name = row->name,
                            .letter = has_letter ? row->letters[0] : '\0',
                            .value = row->value,
                            .text = row->text};
        return true;
    }
    size_t at = (*cursor)++ - ARRAY_LEN(rows);
    return spec->own_option != NULL && spec->own_option(at, out);
}

static ErrCode help_row(const OptionText *option, Buf *out, Err *err)
{
    char left[64];
    char letter[] = "    ";
    if (option->letter != '\0') {
        letter[0] = '-';
        letter[1] = option->letter;
        letter[2] = ',';
    }
    int len = snprintf(left, sizeof left, "--%s%s%s", option->name,
                       option->value != NULL ? " " : "",
                       option->value != NULL ? option->value : "");
    ASSERT(len > 0 && (size_t)len < sizeof left);
    return buf_printf(out, err, "  %s%-23s %s\n", letter, left, option->text);
}

ErrCode options_help(const CommandSpec *spec, Buf *out, Err *err)
{
    Str usage = str_from_cstr(spec->usage);
    bool first = true;
    while (usage.len > 0) {
        Str line;
        Str rest;
        bool more = str_split(usage, '\n', &line, &rest);
        TRY(buf_printf(out, err, "%s holdfast %.*s\n", first ? "usage:" : "      ", STR_ARG(line)));
        usage = more ? rest : STR("");
        first = false;
    }
    TRY(buf_printf(out, err, "\n%s\n\noptions:\n", spec->text));
    OptionText option;
    for (size_t cursor = 0; options_next(spec, &cursor, &option);)
        TRY(help_row(&option, out, err));
    if ((spec->options & OPTION_LOCAL) == 0) {
        TRY(buf_append_str(out,
                           STR("\nServer and key may also stand in ~/.config/holdfast/config.yaml "
                               "as url: and key:.\n"),
                           err));
    }
    return buf_printf(out, err, "\nexample:\n%s\n", spec->example);
}
