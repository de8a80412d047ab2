/* holdfast serve: a node in the foreground, until SIGTERM or SIGINT. */
#include "cli/command.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "cli/server_config.h"
#include "node/node.h"
#include "text/json.h"

#define NAME "serve"
#define LOOK_EVERY_MS 100 /* while it is not ready */

extern char **environ;

/* What a reload needs. */
typedef struct {
    int argc;
    char **argv;
    bool json;     /* --json */
    Config config; /* in force */
} Serve;

static bool own_option(size_t at, OptionText *out)
{
    *out = (OptionText){0};
    return config_option_text(at, &out->name, &out->value, &out->text);
}

const CommandSpec spec_serve = {
    .name = NAME,
    .arguments = "--data DIR [OPTIONS]",
    .summary = "serves a data directory",
    .usage = "serve --data DIR [--data DIR [--data DIR]] [--json] [OPTIONS]",
    .text =
        "Serves the files in DIR until it gets SIGTERM or SIGINT; then it finishes what is\n"
        "under way and stops. A second one stops it at once, which loses nothing either. SIGHUP\n"
        "reads the settings again. With two or three DIRs, best on disks of their own, each keeps\n"
        "a copy of everything; a reply waits for all that are in sync: one of three may be lost.\n"
        "--json: when it is ready it prints a line {version, pid, data, roots, disks, http, s3,\n"
        "key_file} on standard output.",
    .example = "  holdfast serve --data ./data\n"
               "  holdfast serve --data /disk1/data --data /disk2/data --data /disk3/data",
    .options = OPTION_LOCAL | OPTION_JSON,
    .own_option = own_option,
};

static int print_help(void)
{
    Err err = {0};
    AUTO_BUF(text, 64 * KIB);
    if (config_help(&text, &err) != OK) return command_fail(NAME, &err);
    printf("usage: holdfast %s\n\n%s\n\n  %-24s %s\n  %-24s %s\n%.*s", spec_serve.usage,
           spec_serve.text, "--help", "this text", "--json",
           "one JSON object a line on standard output", STR_ARG(buf_str(&text)));
    return 0;
}

static bool has_s3(const Config *config)
{
    return !str_eq(str_from_cstr(config->s3), STR("off"));
}

static bool has_tls(const Config *config)
{
    return config->tls_cert != NULL && config->tls_cert[0] != '\0';
}

static bool has_domain(const Config *config)
{
    return !str_eq(str_from_cstr(config->s3_domain), STR("none"));
}

static bool logs_json(const Config *config)
{
    return config->log_format == CONFIG_LOG_JSON ||
           (config->log_format == CONFIG_LOG_AUTO && isatty(STDERR_FILENO) == 0);
}

static void start_log(const Config *config)
{
    log_init(STDERR_FILENO, logs_json(config) ? LOG_JSON : LOG_TEXT, (LogLevel)config->log_level);
    Str name;
    const char *nearest = NULL;
    if (config_unknown_env(environ, &name, &nearest)) {
        LOG_TO(OPERATIONS, WARN, "config.unknown_environment", "name=" LOG_STR " nearest=" LOG_STR,
               LOG_ARG(name), LOG_CSTR(nearest == NULL ? "" : nearest));
    }
}

/* --json: where it is, for who started it. */
static void print_json(const Serve *serve, unsigned disks, const char *url, const char *s3)
{
    AUTO_BUF(line, 16 * KIB);
    char key_file[4096];
    const Config *config = &serve->config;
    int len = snprintf(key_file, sizeof key_file, "%s/root.key", config->data[0]);
    ASSERT(len > 0);
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "version", HOLDFAST_VERSION);
    json_member_u64(&json, "pid", (uint64_t)getpid());
    json_member_cstr(&json, "data", config->data[0]);
    json_write_key(&json, "roots");
    json_write_array_begin(&json);
    for (size_t i = 0; i < config->data_count; i++)
        json_write_cstr(&json, config->data[i]);
    json_write_array_end(&json);
    json_member_u64(&json, "disks", disks);
    json_member_cstr(&json, "http", url);
    json_write_key(&json, "s3");
    if (s3 != NULL)
        json_write_cstr(&json, s3);
    else
        json_write_null(&json);
    json_member_cstr(&json, "key_file", key_file);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK) printf("%.*s\n", STR_ARG(buf_str(&line)));
    fflush(stdout);
}

/* How many copies there are, and what may be lost without losing what was acknowledged: each reply
 * waits for all copies in sync, of which as many as make a majority are needed. */
static void print_survived(const Config *config, unsigned disks)
{
    size_t count = config->data_count;
    const char *what = "of one of them, and the server goes on";
    if (count == 1)
        what = "of the machine's power, not of the disk";
    else if (disks == 1)
        what = "of a directory and of the machine's power, not of the disk";
    else if (disks < count)
        what = "of either disk; without the one with two copies no change is taken";
    else if (count == 2)
        what = "of one of them; no change is taken then";
    for (size_t i = 0; i < count && count > 1; i++)
        printf("  copy %zu    %s\n", i + 1, config->data[i]);
    printf("%zu %s on %u %s: what is acknowledged survives the loss %s.\nCtrl-C stops it.\n\n",
           count, count == 1 ? "copy" : "copies", disks, disks == 1 ? "disk" : "disks", what);
}

/* On a terminal: what to try. Else the log has it all. */
static void print_banner(const Serve *serve, const Node *node)
{
    const Config *config = &serve->config;
    if (!serve->json && isatty(STDOUT_FILENO) == 0) return;
    const char *data = config->data[0];
    Str host = str_from_cstr(config->http);
    while (host.len > 0 && host.ptr[host.len - 1] != ':')
        host.len--;
    if (host.len <= 1) host = STR("127.0.0.1:"); /* all interfaces */
    char url[128];
    char s3[128] = "off";
    const char *scheme = has_tls(config) ? "https" : "http";
    if (node_s3_port(node) != 0) snprintf(s3, sizeof s3, "%s://%s", scheme, config->s3);
    snprintf(url, sizeof url, "%s://%.*s%u", scheme, STR_ARG(host), node_http_port(node));
    if (serve->json) {
        print_json(serve, node_disks(node), url, node_s3_port(node) != 0 ? s3 : NULL);
        return;
    }
    printf("\nholdfast " HOLDFAST_VERSION " serves %s on %s\n"
           "  root key  %s/root.key (keep it secret: it may do everything)\n"
           "  put       curl -H \"Authorization: Bearer $(cat %s/root.key)\" -T FILE \\\n"
           "              %s/v1/buckets/files/files/NAME\n"
           "  health    %s/readyz\n"
           "  S3        %s\n",
           data, url, data, data, url, url, s3);
    print_survived(config, node_disks(node));
    fflush(stdout);
}

/* Certificates are renewed under the same names, so their files are read again each time. */
static void reload_tls(Serve *serve, Config *now, Node *node)
{
    Err err = {0};
    if (node_reload_tls(node, now->tls_cert, now->tls_key, &err) == OK) {
        char *cert = serve->config.tls_cert;
        char *key = serve->config.tls_key;
        serve->config.tls_cert = now->tls_cert;
        serve->config.tls_key = now->tls_key;
        now->tls_cert = cert;
        now->tls_key = key;
        return;
    }
    LOG_TO(OPERATIONS, ERROR, "tls.kept", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
}

/* SIGHUP: reads all settings again; takes over what can change, names what needs a restart. A bad
 * file changes nothing. */
static void reload(Serve *serve, Node *node)
{
    Config now;
    Err err = {0};
    bool help = false;
    if (server_config_read(serve->argc, serve->argv, &now, &help, &err) != OK) {
        LOG_TO(OPERATIONS, ERROR, "config.rejected", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        return;
    }
    size_t cursor = 0;
    const char *name;
    bool live;
    while (config_next_change(&serve->config, &now, &cursor, &name, &live)) {
        if (live) {
            char detail[64];
            snprintf(detail, sizeof detail, "changed %s", name); /* fits */
            node_audit_config(node, detail);
            LOG_TO(OPERATIONS, INFO, "config.changed", "name=%s", name);
        } else {
            LOG_TO(OPERATIONS, WARN, "config.needs_restart", "name=%s", name);
        }
    }
    /* The options that config.def marks as live. */
    serve->config.log_level = now.log_level;
    serve->config.access_log = now.access_log;
    serve->config.drain_timeout_ms = now.drain_timeout_ms;
    log_set_level((LogLevel)now.log_level);
    node_set_access_log(node, now.access_log != 0);
    reload_tls(serve, &now, node);
    LOG_TO(OPERATIONS, INFO, "config.reloaded", "file=" LOG_STR,
           LOG_ARG(config_file_named(serve->argc, serve->argv, environ)));
    config_deinit(&now);
}

/* The signals that end the server are blocked, and taken here. Meanwhile it looks whether the node
 * became ready, or failed before it was. */
static ErrCode wait_for_end(Serve *serve, Node *node, const sigset_t *signals, Err *err)
{
    bool told = false;
    for (;;) {
        struct timespec timeout = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
        int got = told ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &timeout);
        if (got == SIGHUP) {
            reload(serve, node);
        } else if (got > 0) {
            LOG_TO(OPERATIONS, INFO, "node.signal", "signal=%d", got);
            return OK;
        }
        if (!told && node_ready(node)) {
            print_banner(serve, node);
            told = true;
        }
        if (!told && node_failed(node)) {
            return err_set(err, ERR_ROOT_FAILED, "the node could not take its shards; see the log");
        }
    }
}

/* The kernel gives PID 1 of a container no signal that it has no handler for. */
static void end_at_once(int number)
{
    _exit(128 + number);
}

static void handle_as_first_process(void)
{
    if (getpid() != 1) return;
    signal(SIGTERM, end_at_once);
    signal(SIGINT, end_at_once);
}

static ErrCode serve_until_end(Serve *serve, Err *err)
{
    const Config *config = &serve->config;
    NodeOptions options = {.data = (const char *const *)config->data,
                           .data_count = (unsigned)config->data_count,
                           .http = config->http,
                           .cors_origins = config->cors_origins,
                           .s3 = has_s3(config) ? config->s3 : NULL,
                           .s3_asked = !config_is_preset(config, "s3"),
                           .s3_region = config->s3_region,
                           .s3_sigv2 = config->s3_sigv2 != 0,
                           .s3_domain = has_domain(config) ? config->s3_domain : "",
                           .tls_cert = config->tls_cert,
                           .tls_key = config->tls_key,
                           .threads = (unsigned)config->threads,
                           .segment_size = config->segment_size,
                           .index_cache_bytes = config->index_cache,
                           .compact_rate = config->compact_rate,
                           .scrub_period_ms = config->scrub_period_ms,
                           .expiry_wait_ms = config->expiry_wait_ms,
                           .scrub_rate_min = config->scrub_rate_min,
                           .scrub_rate_max = config->scrub_rate_max,
                           .async_lag_entries = config->async_lag_changes,
                           .async_lag_bytes = config->async_lag_bytes,
                           .async_lag_ms = config->async_lag_time_ms,
                           .compact_dead_percent = (unsigned)config->compact_dead,
                           .body_cache_bytes = config->cache,
                           .memory_bytes = config->memory,
                           .connections_max = config->connections,
                           .connections_asked = !config_is_preset(config, "connections"),
                           .upload_expiry_ms = config->upload_expiry_ms,
                           .access_log = config->access_log != 0,
                           .audit = config->audit != 0,
                           .audit_strict = config->audit_strict != 0,
                           .audit_log = config->audit_log != 0,
                           .audit_dir = config->audit_dir,
                           .audit_file_size = config->audit_file_size,
                           .audit_files = (unsigned)config->audit_files,
                           .audit_sync_ms = config->audit_sync_ms};
    sigset_t signals;
    AUTO(Node, node_free) node = NULL;
    signal(SIGPIPE, SIG_IGN);
    handle_as_first_process();
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* waits until all is open */
    /* Until then SIGTERM and SIGINT end the process at once: nothing was acknowledged. */
    TRY(node_open(&options, &node, err));
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    ErrCode code = wait_for_end(serve, node, &signals, err);
    sigprocmask(SIG_UNBLOCK, &signals, NULL); /* a second one ends it at once */
    if (code == OK) code = node_stop(node, (uint32_t)config->drain_timeout_ms, err);
    return code;
}

/* One line, in the form that the rest of stderr has. */
static int end_badly(const Config *config, const Err *err)
{
    const ErrInfo *info = err_info(err->code);
    bool damaged = info->exit_status == err_info(ERR_CORRUPT)->exit_status;
    if (!logs_json(config)) {
        int status = command_fail(NAME, err);
        if (damaged) {
            fprintf(stderr,
                    "`holdfast fsck %s` names each damaged place and changes nothing; with "
                    "--salvage OUT it copies out\nevery file that is whole\n",
                    config->data[0]);
        }
        return status;
    }
    if (damaged) {
        LOG(ERROR, "node.ended", "code=%s error=" LOG_STR " look=\"holdfast fsck %s\"", info->slug,
            LOG_CSTR(err_text(err)), LOG_CSTR(config->data[0]));
        return info->exit_status;
    }
    LOG(ERROR, "node.ended", "code=%s error=" LOG_STR, info->slug, LOG_CSTR(err_text(err)));
    return info->exit_status;
}

/* Takes --json out of argv, which else is the option table's. */
static bool take_json(int *argc, char **argv)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        if (i == 0 || strcmp(argv[i], "--json") != 0) argv[kept++] = argv[i];
    }
    bool found = kept < *argc;
    *argc = kept;
    argv[kept] = NULL;
    return found;
}

int command_serve(int argc, char **argv)
{
    bool json = take_json(&argc, argv);
    Serve serve = {.argc = argc, .argv = argv, .json = json};
    bool help = false;
    Err err = {0};
    /* Test builds fail where this says; in others it must not be set. */
    if (fault_configure(getenv("HOLDFAST_FAULT"), &err) != OK) return command_fail(NAME, &err);
    if (server_config_read(argc, argv, &serve.config, &help, &err) != OK) {
        return command_usage(NAME, "%s", err_text(&err));
    }
    int status = 0;
    if (help) {
        status = print_help();
    } else {
        start_log(&serve.config);
        LOG_TO(OPERATIONS, INFO, "node.starting", "version=%s pid=%d", HOLDFAST_VERSION,
               (int)getpid());
        if (serve_until_end(&serve, &err) != OK) status = end_badly(&serve.config, &err);
    }
    config_deinit(&serve.config);
    return status;
}
