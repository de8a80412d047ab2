/* holdfast serve: a node in the foreground, until SIGTERM or SIGINT. */
#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "cli/server_config.h"
#include "node/node.h"

#define NAME "serve"
#define LOOK_EVERY_MS 100 /* while it is not ready */
#define FILES_OWN 384     /* open at most for log, packs, index, loops and connections told to go */
#define FILES_CONNECTION 2 /* its socket, and the body that goes in or out */
#define CONNECTIONS_LEAST 32

extern char **environ;

/* What a reload needs. */
typedef struct {
    int argc;
    char **argv;
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
    .usage = "serve --data DIR [OPTIONS]",
    .text =
        "Serves the files in DIR until it gets SIGTERM or SIGINT; then it finishes what is\n"
        "under way and stops. A second one stops it at once, which loses nothing either. SIGHUP\n"
        "reads the settings again.",
    .example = "  holdfast serve --data ./data",
    .options = OPTION_LOCAL,
    .own_option = own_option,
};

static int print_help(void)
{
    Err err = {0};
    AUTO_BUF(text, 64 * KIB);
    if (config_help(&text, &err) != OK) return command_fail(NAME, &err);
    printf("usage: holdfast %s\n\n%s\n\n%.*s", spec_serve.usage, spec_serve.text, (int)text.len,
           (const char *)text.data);
    return 0;
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
        LOG(WARN, "config.unknown_environment", "name=" LOG_STR " nearest=" LOG_STR, LOG_ARG(name),
            LOG_CSTR(nearest == NULL ? "" : nearest));
    }
}

/* On a terminal: what to try. Else the log has it all. */
static void print_banner(const Config *config, const Node *node)
{
    if (isatty(STDOUT_FILENO) == 0) return;
    const char *data = config->data[0];
    Str host = str_from_cstr(config->http);
    while (host.len > 0 && host.ptr[host.len - 1] != ':')
        host.len--;
    if (host.len <= 1) host = STR("127.0.0.1:"); /* all interfaces */
    char url[128];
    snprintf(url, sizeof url, "http://%.*s%u", STR_ARG(host), node_http_port(node));
    printf("\nholdfast " HOLDFAST_VERSION " serves %s on %s\n"
           "  root key  %s/root.key (keep it secret: it may do everything)\n"
           "  put       curl -H \"Authorization: Bearer $(cat %s/root.key)\" -T FILE \\\n"
           "              %s/v1/buckets/files/files/NAME\n"
           "  health    %s/readyz\n"
           "One directory on one disk: what is acknowledged survives a crash of the machine, not "
           "the loss\nof the disk. Ctrl-C stops it.\n\n",
           data, url, data, data, url, url);
    fflush(stdout);
}

/* SIGHUP: reads all settings again; takes over what can change, names what needs a restart. A bad
 * file changes nothing. */
static void reload(Serve *serve, Node *node)
{
    Config now;
    Err err = {0};
    bool help = false;
    if (server_config_read(serve->argc, serve->argv, &now, &help, &err) != OK) {
        LOG(ERROR, "config.rejected", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        return;
    }
    size_t cursor = 0;
    const char *name;
    bool live;
    while (config_next_change(&serve->config, &now, &cursor, &name, &live)) {
        if (live) {
            LOG(INFO, "config.changed", "name=%s", name);
        } else {
            LOG(WARN, "config.needs_restart", "name=%s", name);
        }
    }
    /* The options that config.def marks as live. */
    serve->config.log_level = now.log_level;
    serve->config.access_log = now.access_log;
    serve->config.drain_timeout_ms = now.drain_timeout_ms;
    log_set_level((LogLevel)now.log_level);
    node_set_access_log(node, now.access_log != 0);
    LOG(INFO, "config.reloaded", "file=" LOG_STR,
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
            LOG(INFO, "node.signal", "signal=%d", got);
            return OK;
        }
        if (!told && node_ready(node)) {
            print_banner(&serve->config, node);
            told = true;
        }
        if (!told && node_failed(node)) {
            return err_set(err, ERR_ROOT_FAILED, "the node could not take its shards; see the log");
        }
    }
}

/* Raises the limit of open files as far as the connections need and the system lets; if that is not
 * enough, takes fewer connections: however many clients come, the log must find a file free, or
 * this root takes no more writes. Worth a warning only if somebody asked for as many. */
static ErrCode fit_open_files(uint64_t *connections, bool asked_for, Err *err)
{
    struct rlimit limit;
    rlim_t wanted = FILES_OWN + FILES_CONNECTION * (rlim_t)*connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return err_set_errno(err, ERR_SYSTEM, errno, "read the limit of open files");
    }
    if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = MIN(wanted, limit.rlim_max),
                                .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    if (limit.rlim_cur >= wanted) return OK;
    rlim_t least = FILES_OWN + FILES_CONNECTION * CONNECTIONS_LEAST;
    if (limit.rlim_cur < least && limit.rlim_cur < wanted) {
        return err_set(err, ERR_CONFIG,
                       "this process may open %" PRIu64 " files and needs %" PRIu64
                       " or more: raise the limit (ulimit -n, LimitNOFILE= of systemd)",
                       (uint64_t)limit.rlim_cur, (uint64_t)MIN(least, wanted));
    }
    *connections = (limit.rlim_cur - FILES_OWN) / FILES_CONNECTION;
    if (!asked_for) {
        LOG(INFO, "config.fewer_connections", "connections=%" PRIu64 " open_files=%" PRIu64,
            *connections, (uint64_t)limit.rlim_cur);
        return OK;
    }
    LOG(WARN, "config.fewer_connections", "connections=%" PRIu64 " open_files=%" PRIu64,
        *connections, (uint64_t)limit.rlim_cur);
    return OK;
}

static ErrCode serve_until_end(Serve *serve, Err *err)
{
    const Config *config = &serve->config;
    uint64_t connections = config->connections;
    TRY(fit_open_files(&connections, !config_is_preset(config, "connections"), err));
    NodeOptions options = {.data = config->data[0],
                           .http = config->http,
                           .threads = (unsigned)config->threads,
                           .segment_size = config->segment_size,
                           .index_cache_bytes = config->index_cache,
                           .compact_rate = config->compact_rate,
                           .scrub_period_ms = config->scrub_period_ms,
                           .scrub_rate_min = config->scrub_rate_min,
                           .scrub_rate_max = config->scrub_rate_max,
                           .compact_dead_percent = (unsigned)config->compact_dead,
                           .body_cache_bytes = config->cache,
                           .connections_max = (size_t)connections,
                           .access_log = config->access_log != 0};
    sigset_t signals;
    AUTO(Node, node_free) node = NULL;
    signal(SIGPIPE, SIG_IGN);
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

int command_serve(int argc, char **argv)
{
    Serve serve = {.argc = argc, .argv = argv};
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
        LOG(INFO, "node.starting", "version=%s pid=%d", HOLDFAST_VERSION, (int)getpid());
        if (serve_until_end(&serve, &err) != OK) status = end_badly(&serve.config, &err);
    }
    config_deinit(&serve.config);
    return status;
}
