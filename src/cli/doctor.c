/* holdfast doctor: looks at the machine and says what to change. */
#include "cli/doctor.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/local_file.h"
#include "cli/server_config.h"
#include "text/json.h"

#define NAME "doctor"
#define LINE_MAX_BYTES 1024
#define ADVICE_WIDTH 78 /* columns */

const CommandSpec spec_doctor = {
    .name = NAME,
    .arguments = "[DIR]",
    .summary = "says what of this machine to change",
    .usage = "doctor [--config FILE] [--json] [--quiet] [DIR]",
    .text =
        "Looks whether this machine is fit for a server whose data directory is DIR (that of the\n"
        "settings, or ./data, unless given), as the user who will run it: rights, file system\n"
        "and its mount options, space, how long a sync takes, the disk's cache, clock, limits,\n"
        "memory, kernel, port, and the certificate that the settings name: rights, key, dates,\n"
        "names.\n"
        "Each line is OK, WARN or FAIL; the latter say what to change and why. It writes one\n"
        "small file into DIR, if DIR is there, and removes it. Changes nothing.\n"
        "\n"
        "Ends with 1 if a line is FAIL. --quiet leaves out what is OK.",
    .example = "  holdfast doctor /srv/holdfast\n"
               "  holdfast doctor --config /etc/holdfast/holdfast.yaml\n"
               "  sudo -u holdfast holdfast doctor /var/lib/holdfast",
    .options = OPTION_LOCAL | OPTION_JSON | OPTION_QUIET | OPTION_DOCTOR,
    .paths = 1,
    .args_min = 0,
    .args_max = 1,
};

static const char *const level_names[] = {"OK", "WARN", "FAIL"};

/* Lines of at most ADVICE_WIDTH columns, below what was found. */
static void print_advice(const char *advice)
{
    Str rest = str_from_cstr(advice);
    while (rest.len > 0) {
        size_t len = rest.len;
        if (len > ADVICE_WIDTH) {
            len = ADVICE_WIDTH;
            while (len > 1 && rest.ptr[len] != ' ')
                len--;
        }
        printf("%19s%.*s\n", "", STR_ARG(str_slice(rest, 0, len)));
        size_t used = MIN(len + 1, rest.len);
        rest = str_slice(rest, used, rest.len - used);
    }
}

void doctor_tell(Doctor *doctor, DoctorLevel level, const char *check, const char *advice,
                 const char *format, ...)
{
    char detail[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    doctor->counts[level]++;
    if (doctor->quiet && level == DOCTOR_OK) return;
    if (!doctor->json) {
        printf("%-4s  %-12s %s\n", level_names[level], check, detail);
        if (advice != NULL) print_advice(advice);
        return;
    }
    AUTO_BUF(line, 16 * KIB);
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "level", level_names[level]);
    json_member_cstr(&json, "check", check);
    json_member_cstr(&json, "detail", detail);
    if (advice != NULL) json_member_cstr(&json, "advice", advice);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK) printf("%.*s\n", STR_ARG(buf_str(&line)));
}

/* The directory itself, or the nearest one above it, into place. */
static ErrCode find_place(Doctor *doctor, char place[PATH_MAX], Err *err)
{
    Str dir = str_from_cstr(doctor->dir);
    LocalType type = LOCAL_OTHER;
    if (!str_to_cstr(dir, place, PATH_MAX) || dir.len == 0) {
        return err_set(err, ERR_USAGE, "\"%.80s\" is no directory", doctor->dir);
    }
    doctor->place = place;
    for (;;) {
        ErrCode code = local_stat(place, true, &type, NULL, err);
        if (code == OK) break;
        if (code != ERR_NOT_FOUND) return err_wrap(err, code, "%s", place);
        char *slash = strrchr(place, '/');
        if (slash == NULL) {
            memcpy(place, ".", 2);
        } else {
            slash[slash == place ? 1 : 0] = '\0';
        }
    }
    doctor->there = strcmp(place, doctor->dir) == 0;
    if (type == LOCAL_DIR) return OK;
    return err_set(err, ERR_USAGE, "%s is no directory", place);
}

/* The server's settings, as `serve --data dir --config file` would read them. A dir that is NULL is
 * theirs. */
static ErrCode read_config(const char *dir, const char *file, Config *out, Err *err)
{
    char name[] = NAME;
    char data_flag[] = "--data";
    char config_flag[] = "--config";
    char *words[] = {name, NULL, NULL, NULL, NULL};
    int count = 1;
    bool help = false;
    AUTO(char, mem_free) data = mem_dup_cstr(dir != NULL ? dir : "data");
    AUTO(char, mem_free) config = mem_dup_cstr(file != NULL ? file : "");
    if (dir != NULL || file == NULL) {
        words[count++] = data_flag;
        words[count++] = data;
    }
    if (file != NULL) {
        words[count++] = config_flag;
        words[count++] = config;
    }
    return server_config_read(count, words, out, &help, err);
}

int command_doctor(int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    Err err = {0};
    char place[PATH_MAX];
    if (!command_options(&spec_doctor, argc, argv, &options, &status)) return status;
    Config config = {0};
    const char *dir = options.arg_count > 0 ? options.args[0] : NULL;
    ErrCode code = read_config(dir, options.config, &config, &err);
    Doctor doctor = {.dir = dir != NULL             ? dir
                            : config.data_count > 0 ? config.data[0]
                                                    : "data",
                     .config = code == OK ? &config : NULL,
                     .json = options.json,
                     .quiet = options.quiet};
    if (code != OK) {
        doctor_tell(&doctor, DOCTOR_FAIL, "settings",
                    "The server does not start with them: holdfast config check FILE.", "%s",
                    err_text(&err));
    }
    if (find_place(&doctor, place, &err) != OK) {
        config_deinit(&config);
        return command_fail(NAME, &err);
    }
    doctor_disk(&doctor);
    doctor_certificate(&doctor);
    doctor_system(&doctor);
    config_deinit(&config);
    if (!doctor.json && !doctor.quiet) {
        printf("\n%u OK, %u to look at (WARN), %u to mend (FAIL)\n", doctor.counts[DOCTOR_OK],
               doctor.counts[DOCTOR_WARN], doctor.counts[DOCTOR_FAIL]);
    }
    if (fflush(stdout) != 0) return 1;
    return doctor.counts[DOCTOR_FAIL] > 0 ? 1 : 0;
}
