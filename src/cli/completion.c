/* What shells source to complete commands, from the table of commands. */
#include "cli/command.h"

#include <string.h>

#define PATHS_LAST 31U /* the last bit of CommandSpec.paths */

/* Text between single quotes of a POSIX shell, zsh or fish; brackets of zsh escaped if zsh. */
static ErrCode put_quoted(Buf *out, const char *text, bool zsh, Err *err)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'') {
            TRY(buf_append_str(out, STR("'\\''"), err));
            continue;
        }
        if (zsh && (*c == '[' || *c == ']' || *c == ':')) TRY(buf_append_str(out, STR("\\"), err));
        TRY(buf_append(out, c, 1, err));
    }
    return OK;
}

/* "create|list" with ' ' for '|'. */
static ErrCode put_words(Buf *out, const char *words, Err *err)
{
    for (const char *c = words; *c != '\0'; c++)
        TRY(buf_append(out, *c == '|' ? " " : c, 1, err));
    return OK;
}

static ErrCode put_names(Buf *out, const Command *commands, size_t count, Err *err)
{
    for (size_t i = 0; i < count; i++)
        TRY(buf_printf(out, err, "%s%s", i > 0 ? " " : "", commands[i].spec->name));
    return OK;
}

/* What the first argument may be: its own words, or for `help` all commands. */
static ErrCode put_first(Buf *out, const Command *commands, size_t count, const CommandSpec *spec,
                         Err *err)
{
    if (strcmp(spec->name, "help") == 0) return put_names(out, commands, count, err);
    return spec->words != NULL ? put_words(out, spec->words, err) : OK;
}

static bool takes_file(const OptionText *option)
{
    static const char *const words[] = {"FILE", "DIR", "OUT"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (option->value != NULL && strcmp(option->value, words[i]) == 0) return true;
    }
    return false;
}

/* ---- bash ---- */

static const char bash_head[] =
    "# Completion of holdfast for bash; made by `holdfast completion bash`.\n"
    "_holdfast()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local options='' valued='' filed='' words='' paths='' position=0 i\n"
    "    COMPREPLY=()\n"
    "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W '";

static const char bash_middle[] = " --help --version' -- \"$cur\")\n"
                                  "        return\n"
                                  "    fi\n"
                                  "    case ${COMP_WORDS[1]} in\n";

static const char bash_tail[] =
    "    *) return ;;\n"
    "    esac\n"
    "    if [[ \" $filed \" == *\" $prev \"* ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "        return\n"
    "    fi\n"
    "    [[ \" $valued \" == *\" $prev \"* ]] && return\n"
    "    if [[ $cur == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
    "        return\n"
    "    fi\n"
    "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
    "        [[ ${COMP_WORDS[i]} == -* ]] && continue\n"
    "        [[ \" $valued $filed \" == *\" ${COMP_WORDS[i-1]} \"* ]] && continue\n"
    "        position=$((position + 1))\n"
    "    done\n"
    "    if [[ -n $words && $position -eq 0 ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
    "    elif [[ \" $paths \" == *\" $position \"* ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "    fi\n"
    "}\n"
    "complete -F _holdfast holdfast\n";

typedef bool (*OptionFilter)(const OptionText *option);

static bool any_option(const OptionText *option)
{
    UNUSED(option);
    return true;
}

static bool with_value(const OptionText *option)
{
    return option->value != NULL && !takes_file(option);
}

static ErrCode bash_options(Buf *out, const CommandSpec *spec, const char *name,
                            OptionFilter filter, Err *err)
{
    OptionText option;
    TRY(buf_printf(out, err, " %s='", name));
    for (size_t cursor = 0; options_next(spec, &cursor, &option);) {
        if (!filter(&option)) continue;
        if (option.letter != '\0') TRY(buf_printf(out, err, "-%c ", option.letter));
        TRY(buf_printf(out, err, "--%s ", option.name));
    }
    return buf_append_str(out, STR("'"), err);
}

/* Is argument at, from 0, the name of a file? */
static bool is_path(const CommandSpec *spec, unsigned at)
{
    return (spec->paths >> MIN(at, PATHS_LAST) & 1) != 0;
}

static ErrCode write_bash(const Command *commands, size_t count, Buf *out, Err *err)
{
    TRY(buf_append_str(out, STR(bash_head), err));
    TRY(put_names(out, commands, count, err));
    TRY(buf_append_str(out, STR(bash_middle), err));
    for (size_t i = 0; i < count; i++) {
        const CommandSpec *spec = commands[i].spec;
        TRY(buf_printf(out, err, "    %s)", spec->name));
        TRY(bash_options(out, spec, "options", any_option, err));
        TRY(bash_options(out, spec, "valued", with_value, err));
        TRY(bash_options(out, spec, "filed", takes_file, err));
        TRY(buf_append_str(out, STR(" words='"), err));
        TRY(put_first(out, commands, count, spec, err));
        TRY(buf_append_str(out, STR("' paths='"), err));
        for (unsigned at = 0; at < OPTIONS_ARGS_MAX; at++) {
            if (is_path(spec, at)) TRY(buf_printf(out, err, "%u ", at));
        }
        TRY(buf_append_str(out, STR("' ;;\n"), err));
    }
    return buf_append_str(out, STR(bash_tail), err);
}

/* ---- zsh ---- */

static ErrCode zsh_option(Buf *out, const OptionText *option, Err *err)
{
    const char *equals = option->value != NULL ? "=" : "";
    TRY(buf_append_str(out, STR(" \\\n            "), err));
    if (option->letter != '\0') {
        TRY(buf_printf(out, err, "'(-%c --%s)'{-%c,--%s%s}'[", option->letter, option->name,
                       option->letter, option->name, equals));
    } else {
        TRY(buf_printf(out, err, "'--%s%s[", option->name, equals));
    }
    TRY(put_quoted(out, option->text, true, err));
    TRY(buf_append_str(out, STR("]"), err));
    if (option->value != NULL) {
        TRY(buf_append_str(out, STR(":"), err));
        TRY(put_quoted(out, option->value, true, err));
        TRY(buf_append_str(out, takes_file(option) ? STR(":_files") : STR(": "), err));
    }
    return buf_append_str(out, STR("'"), err);
}

static ErrCode zsh_command(const Command *commands, size_t count, const CommandSpec *spec, Buf *out,
                           Err *err)
{
    OptionText option;
    bool has_words = spec->words != NULL || strcmp(spec->name, "help") == 0;
    TRY(buf_printf(out, err, "    %s)\n        _arguments -s", spec->name));
    for (size_t cursor = 0; options_next(spec, &cursor, &option);)
        TRY(zsh_option(out, &option, err));
    for (unsigned at = 0; at < OPTIONS_ARGS_MAX; at++) {
        if (at == 0 && has_words) {
            TRY(buf_append_str(out, STR(" \\\n            '1:what:("), err));
            TRY(put_first(out, commands, count, spec, err));
            TRY(buf_append_str(out, STR(")'"), err));
        } else if (is_path(spec, at)) {
            TRY(buf_printf(out, err, " \\\n            '%u:path:_files'", at + 1));
        }
    }
    return buf_append_str(out, STR("\n        ;;\n"), err);
}

static ErrCode write_zsh(const Command *commands, size_t count, Buf *out, Err *err)
{
    TRY(buf_append_str(out,
                       STR("#compdef holdfast\n"
                           "# Completion of holdfast for zsh; made by `holdfast completion zsh`.\n"
                           "_holdfast() {\n"
                           "    local -a commands\n"
                           "    commands=(\n"),
                       err));
    for (size_t i = 0; i < count; i++) {
        TRY(buf_printf(out, err, "        '%s:", commands[i].spec->name));
        TRY(put_quoted(out, commands[i].spec->summary, false, err));
        TRY(buf_append_str(out, STR("'\n"), err));
    }
    TRY(buf_append_str(out,
                       STR("    )\n"
                           "    if (( CURRENT == 2 )); then\n"
                           "        _describe command commands\n"
                           "        return\n"
                           "    fi\n"
                           "    shift words\n"
                           "    (( CURRENT-- ))\n"
                           "    case $words[1] in\n"),
                       err));
    for (size_t i = 0; i < count; i++)
        TRY(zsh_command(commands, count, commands[i].spec, out, err));
    return buf_append_str(out,
                          STR("    esac\n"
                              "}\n"
                              "if [[ $funcstack[1] == _holdfast ]]; then\n"
                              "    _holdfast \"$@\"\n"
                              "else\n"
                              "    compdef _holdfast holdfast\n"
                              "fi\n"),
                          err);
}

/* ---- fish ---- */

static ErrCode fish_command(const Command *commands, size_t count, const CommandSpec *spec,
                            Buf *out, Err *err)
{
    OptionText option;
    TRY(buf_printf(out, err, "complete -c holdfast -n __holdfast_first -a %s -d '", spec->name));
    TRY(put_quoted(out, spec->summary, false, err));
    TRY(buf_append_str(out, STR("'\n"), err));
    for (size_t cursor = 0; options_next(spec, &cursor, &option);) {
        TRY(buf_printf(out, err, "complete -c holdfast -n '__holdfast_is %s' -l %s", spec->name,
                       option.name));
        if (option.letter != '\0') TRY(buf_printf(out, err, " -s %c", option.letter));
        if (takes_file(&option)) TRY(buf_append_str(out, STR(" -r -F"), err));
        if (with_value(&option)) TRY(buf_append_str(out, STR(" -x"), err));
        TRY(buf_append_str(out, STR(" -d '"), err));
        TRY(put_quoted(out, option.text, false, err));
        TRY(buf_append_str(out, STR("'\n"), err));
    }
    if (spec->words != NULL || strcmp(spec->name, "help") == 0) {
        TRY(buf_printf(out, err,
                       "complete -c holdfast -n '__holdfast_is %s; and __holdfast_at 2' "
                       "-a '",
                       spec->name));
        TRY(put_first(out, commands, count, spec, err));
        TRY(buf_append_str(out, STR("'\n"), err));
    }
    if (spec->paths == 0) return OK;
    return buf_printf(out, err, "complete -c holdfast -n '__holdfast_is %s' -F\n", spec->name);
}

static ErrCode write_fish(const Command *commands, size_t count, Buf *out, Err *err)
{
    TRY(buf_append_str(
        out,
        STR("# Completion of holdfast for fish; made by `holdfast completion fish`.\n"
            "function __holdfast_at\n"
            "    test (count (commandline -opc)) -eq $argv[1]\n"
            "end\n"
            "function __holdfast_first\n"
            "    __holdfast_at 1\n"
            "end\n"
            "function __holdfast_is\n"
            "    set -l words (commandline -opc)\n"
            "    test (count $words) -gt 1; and test $words[2] = $argv[1]\n"
            "end\n"
            "complete -c holdfast -f\n"),
        err));
    for (size_t i = 0; i < count; i++)
        TRY(fish_command(commands, count, commands[i].spec, out, err));
    return OK;
}

ErrCode completion_write(const Command *commands, size_t count, const char *shell, Buf *out,
                         Err *err)
{
    if (strcmp(shell, "bash") == 0) return write_bash(commands, count, out, err);
    if (strcmp(shell, "zsh") == 0) return write_zsh(commands, count, out, err);
    if (strcmp(shell, "fish") == 0) return write_fish(commands, count, out, err);
    return err_set(err, ERR_USAGE, "there is no completion for \"%s\": bash, zsh or fish", shell);
}
