/* The manual page of all commands, from their table. */
#include "cli/command.h"

#define MANUAL_DATE "2026-11-28" /* of the last change of what is written here by hand */

/* Text as roff takes it: backslashes, hyphens and a point at the beginning of a line lose their
 * meaning; what stands between backquotes is set bold. */
static ErrCode put_text(Buf *out, Str text, Err *err)
{
    bool bold = false;
    bool line_start = true;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (line_start && (c == '.' || c == '\'')) TRY(buf_append_str(out, STR("\\&"), err));
        line_start = c == '\n';
        if (c == '`') {
            bold = !bold;
            TRY(buf_append_str(out, bold ? STR("\\fB") : STR("\\fR"), err));
        } else if (c == '\\') {
            TRY(buf_append_str(out, STR("\\e"), err));
        } else if (c == '-') {
            TRY(buf_append_str(out, STR("\\-"), err));
        } else if (c == '~') {
            TRY(buf_append_str(out, STR("\\(ti"), err));
        } else if (c == '\n' && i + 1 < text.len && text.ptr[i + 1] == '\n') {
            TRY(buf_append_str(out, STR("\n.PP"), err));
        } else {
            TRY(buf_append(out, &c, 1, err));
        }
    }
    return OK;
}

/* Lines as they are, each with before in front. */
static ErrCode put_lines(Buf *out, const char *lines, const char *before, Err *err)
{
    Str rest = str_from_cstr(lines);
    TRY(buf_append_str(out, STR(".nf\n.RS 4\n"), err));
    while (rest.len > 0) {
        Str line;
        Str next;
        bool more = str_split(rest, '\n', &line, &next);
        while (line.len > 0 && line.ptr[0] == ' ')
            line = str_slice(line, 1, line.len - 1);
        TRY(buf_append_str(out, str_from_cstr(before), err));
        TRY(put_text(out, line, err));
        TRY(buf_append_str(out, STR("\n"), err));
        rest = more ? next : STR("");
    }
    return buf_append_str(out, STR(".RE\n.fi\n"), err);
}

static ErrCode put_option(Buf *out, const OptionText *option, Err *err)
{
    TRY(buf_append_str(out, STR(".TP\n"), err));
    if (option->letter != '\0') TRY(buf_printf(out, err, "\\fB\\-%c\\fR, ", option->letter));
    TRY(buf_append_str(out, STR("\\fB\\-\\-"), err));
    TRY(put_text(out, str_from_cstr(option->name), err));
    TRY(buf_append_str(out, STR("\\fR"), err));
    if (option->value != NULL) {
        TRY(buf_append_str(out, STR(" \\fI"), err));
        TRY(put_text(out, str_from_cstr(option->value), err));
        TRY(buf_append_str(out, STR("\\fR"), err));
    }
    TRY(buf_append_str(out, STR("\n"), err));
    TRY(put_text(out, str_from_cstr(option->text), err));
    return buf_append_str(out, STR("\n"), err);
}

/* Options that every command with a server has are told once. */
static bool is_common(const OptionText *option)
{
    static const char *const names[] = {"retry-for", "url", "key", "key-file", "ca", "help"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(str_from_cstr(option->name), str_from_cstr(names[i]))) return true;
    }
    return false;
}

static ErrCode put_command(Buf *out, const CommandSpec *spec, Err *err)
{
    OptionText option;
    TRY(buf_printf(out, err, ".SS %s\n", spec->name));
    TRY(put_lines(out, spec->usage, "holdfast ", err));
    TRY(buf_append_str(out, STR(".PP\n"), err));
    TRY(put_text(out, str_from_cstr(spec->text), err));
    TRY(buf_append_str(out, STR("\n"), err));
    for (size_t cursor = 0; options_next(spec, &cursor, &option);) {
        if (!is_common(&option)) TRY(put_option(out, &option, err));
    }
    TRY(buf_append_str(out, STR(".PP\nExample:\n.PP\n"), err));
    return put_lines(out, spec->example, "", err);
}

static ErrCode put_head(Buf *out, Err *err)
{
    return buf_append_str(
        out,
        STR(".\\\" Made by `holdfast man`; changes here are lost.\n"
            ".TH HOLDFAST 1 " MANUAL_DATE " \"Holdfast " HOLDFAST_VERSION "\" \"Holdfast\"\n"
            ".SH NAME\nholdfast \\- a durable file store\n"
            ".SH SYNOPSIS\n.B holdfast\n.I COMMAND\n.RI [ ARGUMENTS ]\n"
            ".SH DESCRIPTION\n"
            "Holdfast keeps files: one that was acknowledged is on disk, and can be\n"
            "checked. The same program is the server\n(\\fBholdfast serve\\fR), the client\n"
            "and the tools that read a stopped data directory.\n"
            ".PP\nFiles have names of the form BUCKET/KEY. A key is bytes and may hold slashes.\n"),
        err);
}

/* The options that are the same for all clients. */
static ErrCode put_common(const Command *commands, size_t count, Buf *out, Err *err)
{
    TRY(buf_append_str(out, STR(".SH OPTIONS\nEvery command that asks a server takes these:\n"),
                       err));
    for (size_t i = 0; i < count; i++) {
        OptionText option;
        if ((commands[i].spec->options & OPTION_LOCAL) != 0) continue;
        for (size_t cursor = 0; options_next(commands[i].spec, &cursor, &option);) {
            if (is_common(&option)) TRY(put_option(out, &option, err));
        }
        return OK;
    }
    return OK;
}

static ErrCode put_tail(Buf *out, Err *err)
{
    static const struct {
        const char *name, *text;
    } variables[] = {
        {"HOLDFAST_URL", "Where the server is, such as http://127.0.0.1:9001."},
        {"HOLDFAST_KEY", "The access key, ID.SECRET."},
        {"HOLDFAST_KEY_FILE", "A file whose first line is the access key."},
        {"HOLDFAST_CA", "A file in PEM with the authorities that an https server is trusted by."},
        {"HOLDFAST_CONFIG", "A file of settings for `holdfast serve`."},
        {"HOLDFAST_NAME", "Any setting of `holdfast serve` in capitals, with _ for -, such as "
                          "HOLDFAST_SEGMENT_SIZE."},
    };
    static const struct {
        const char *status, *text;
    } statuses[] = {
        {"0", "Done."},
        {"1", "Some of several items failed; each is named."},
        {"2", "The command line or a file of settings is wrong."},
        {"3", "Not found."},
        {"4", "Refused: rights, a precondition, or a directory in use."},
        {"5", "The server is away or busy: worth trying again."},
        {"6", "Damage was found."},
        {"130", "Stopped by Ctrl-C."},
    };
    TRY(buf_append_str(out, STR(".SH ENVIRONMENT\n"), err));
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        TRY(buf_printf(out, err, ".TP\n.B %s\n", variables[i].name));
        TRY(put_text(out, str_from_cstr(variables[i].text), err));
        TRY(buf_append_str(out, STR("\n"), err));
    }
    TRY(buf_append_str(
        out,
        STR(".SH FILES\n.TP\n.I \\(ti/.config/holdfast/config.yaml\n"
            "url: and key: of the server for the client commands; the environment and options\n"
            "win.\n"
            ".TP\n.I DIR/root.key\nThe key that may do everything, made at the first start.\n"
            ".SH EXIT STATUS\n"),
        err));
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        TRY(buf_printf(out, err, ".TP\n.B %s\n%s\n", statuses[i].status, statuses[i].text));
    return OK;
}

ErrCode manual_write(const Command *commands, size_t count, Buf *out, Err *err)
{
    TRY(put_head(out, err));
    TRY(buf_append_str(out, STR(".SH COMMANDS\n"), err));
    for (size_t i = 0; i < count; i++)
        TRY(put_command(out, commands[i].spec, err));
    TRY(put_common(commands, count, out, err));
    return put_tail(out, err);
}
