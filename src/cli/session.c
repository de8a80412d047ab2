#include "cli/session.h"

#include "cli/command.h"
#include "cli/settings.h"
#include "cli/show.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    action.sa_flags = (int)SA_RESETHAND; /* the second one ends the process */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    /* A closed connection or pipe is an error of the call that meets it. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

bool session_begin(Session *session, const CommandSpec *spec, int argc, char **argv, int *status)
{
    *session = (Session){.spec = spec, .json_out = stdout};
    Settings settings = {0};
    Err err = {0};
    if (!command_options(spec, argc, argv, &session->options, status)) return false;
    ErrCode code = settings_read(&session->options, &settings, &err);
    watch_signals();
    if (code == OK) {
        code = client_open(settings.url, settings.key, session->options.connections, &stop_signal,
                           &session->client, &err);
    }
    if (code == OK) client_trust(session->client, settings.ca);
    settings_deinit(&settings);
    if (code != OK) {
        *status = command_fail(spec->name, &err);
        return false;
    }
    rng_init_system(&session->rng);
    progress_init(&session->progress, session->options.quiet);
    return true;
}

ErrCode session_reopen(Session *session, const char *url, const char *key, const char *ca, Err *err)
{
    client_close(TAKE(session->client));
    TRY(client_open(url, key, session->options.connections, &stop_signal, &session->client, err));
    client_trust(session->client, ca);
    return OK;
}

int session_end(Session *session, int status)
{
    client_close(TAKE(session->client));
    /* A reader that has had enough (`| head`) is no failure of ours, but not all was written. */
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == 0) return 1;
    return status;
}

int session_fail(Session *session, Str about, const Err *err)
{
    char name[SHOW_NAME_SIZE];
    progress_clear(&session->progress);
    if (client_stopped(session->client)) return TALLY_INTERRUPTED;
    if (about.ptr == NULL) return command_fail(session->spec->name, err);
    fprintf(stderr, "holdfast %s: %s: %s\n", session->spec->name, show_name(about, name),
            err_text(err));
    return err_info(err->code)->exit_status;
}

static ClientRetry session_retry(Session *session)
{
    return (ClientRetry){.window_ms = session->options.retry_for_ms,
                         .given = session->options.retry_given,
                         .rng = &session->rng};
}

bool session_call(Session *session, ClientCall *call, Str about, int *status)
{
    Err err = {0};
    ClientRetry retry = session_retry(session);
    if (client_run(session->client, call, &retry, &err) == OK) return true;
    *status = session_fail(session, about, &err);
    return false;
}

int session_bad_answer(Session *session, Str about, Err *err)
{
    ErrCode code = err_wrap(err, ERR_PEER, "the server's answer");
    ASSERT(code == ERR_PEER);
    return session_fail(session, about, err);
}

/* body: JSON, or ptr NULL: none. */
static bool call_json(Session *session, const char *method, const char *target, Str body, Str about,
                      json_t **out, int *status)
{
    Err err = {0};
    ClientCall call;
    client_call_init(&call, 4 * MIB);
    call.method = method;
    call.target = target;
    call.has_body = body.ptr != NULL;
    call.body = body;
    call.body_size = body.len;
    bool good = session_call(session, &call, about, status);
    if (good && json_parse(buf_str(&call.answer), out, &err) != OK) {
        good = false;
        *status = session_bad_answer(session, about, &err);
    }
    client_call_deinit(&call);
    return good;
}

bool session_get_json(Session *session, const char *target, json_t **out, int *status)
{
    return call_json(session, "GET", target, (Str){NULL, 0}, (Str){NULL, 0}, out, status);
}

bool session_post_json(Session *session, const char *target, json_t **out, int *status)
{
    return call_json(session, "POST", target, (Str){NULL, 0}, (Str){NULL, 0}, out, status);
}

bool session_post_body(Session *session, const char *target, Str body, Str about, json_t **out,
                       int *status)
{
    return call_json(session, "POST", target, body, about, out, status);
}

bool session_put_json(Session *session, const char *target, Str body, Str about, json_t **out,
                      int *status)
{
    return call_json(session, "PUT", target, body, about, out, status);
}

ListingOptions session_listing(Session *session, Str bucket, Str prefix, char delimiter)
{
    return (ListingOptions){.client = session->client,
                            .bucket = bucket,
                            .prefix = prefix,
                            .delimiter = delimiter,
                            .retry = session_retry(session)};
}

/* ---- runs ---- */

typedef struct {
    Session *session;
    const PoolOps *ops;
    void (*state)(void *ctx, ProgressState *state);
} Run;

static void run_tick(void *watch)
{
    const Run *run = watch;
    Session *session = run->session;
    if (!progress_due(&session->progress)) return;
    ProgressState state = {.files = session->tally.files,
                           .bytes = session->tally.bytes - session->tally.kept_bytes,
                           .bytes_kept = session->tally.kept_bytes,
                           .failed = session->tally.failed};
    run->state(run->ops->ctx, &state);
    progress_show(&session->progress, &state);
}

static void run_waiting(void *watch, const Err *err)
{
    const Run *run = watch;
    Session *session = run->session;
    char time[SHOW_DURATION_SIZE];
    if (session->options.quiet) return;
    progress_clear(&session->progress);
    fprintf(stderr, "holdfast %s: %s; trying again for up to %s\n", session->spec->name,
            err_text(err), show_duration(session->options.retry_for_ms, time));
}

void session_run(Session *session, const PoolOps *ops,
                 void (*state)(void *ctx, ProgressState *state))
{
    Run run = {.session = session, .ops = ops, .state = state};
    PoolOptions options = {.connections = session->options.connections,
                           .retry = session_retry(session),
                           .tick = run_tick,
                           .waiting = run_waiting,
                           .watch = &run};
    Err err = {0};
    uint64_t failed = session->tally.failed;
    ErrCode code = pool_run(session->client, &options, ops, &err);
    progress_clear(&session->progress);
    session->tally.interrupted = client_stopped(session->client);
    if (code == OK || session->tally.interrupted) return;
    session->tally.ended = code;
    /* Said once: with the file that met it, or here if it was the listing. */
    if (session->tally.failed == failed) session_fail(session, (Str){NULL, 0}, &err);
}

/* Each line of text, with the command's name before it. */
static void print_lines(const Session *session, Str text)
{
    Str line;
    while (str_split(text, '\n', &line, &text)) {
        fprintf(stderr, "holdfast %s: %.*s\n", session->spec->name, STR_ARG(line));
    }
}

/* Ended by its first request, and session_run() said why. */
static bool never_began(const Tally *tally)
{
    return tally->ended != OK &&
           tally->files + tally->failed + tally->unchanged + tally->deleted + tally->begun == 0;
}

/* What the next run need not move again. */
static ErrCode tell_begun(const Tally *tally, Buf *out)
{
    char size[SHOW_SIZE_SIZE];
    char files[SHOW_COUNT_SIZE];
    return buf_printf(out, NULL,
                      "%s of %s that %s not done are kept; the same command goes on there\n",
                      show_size(tally->begun_bytes, size), show_count(tally->begun, "file", files),
                      tally->begun == 1 ? "is" : "are");
}

int session_report(Session *session, const char *verb, bool single)
{
    AUTO_BUF(text, 64 * KIB);
    const Tally *tally = &session->tally;
    Err err = {0};
    ErrCode code = OK;
    if (never_began(tally) && !tally->interrupted) return tally_exit_status(tally, single);
    if (tally->interrupted) {
        code = buf_printf(&text, &err, "stopped\n");
    } else if (single && tally->failed > 0) {
        code = buf_printf(&text, &err, "%s: %s\n", tally->failures[0].name,
                          tally->failures[0].text);
    } else if (tally->failed > 0 || !session->options.quiet) {
        code = tally_names(tally, &text, &err);
    }
    if (code == OK && !session->options.quiet && (!single || tally->files > 0)) {
        code = tally_summary(tally, verb, progress_elapsed_ms(&session->progress), &text, &err);
    }
    if (code == OK && tally->ended != OK && !single) {
        code = buf_printf(&text, &err, "ended before all was done; %sgive the command again\n",
                          tally->ended == ERR_NO_SPACE ? "make room on the server, then " : "");
    }
    if (code == OK && tally->begun > 0 && !session->options.quiet) code = tell_begun(tally, &text);
    ASSERT(code != ERR_TOO_BIG); /* the buffer fits all the names */
    print_lines(session, buf_str(&text));
    return tally_exit_status(tally, single);
}

void session_json_line(const json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT); /* a failed write sticks to stdout */
    putchar('\n');
}

void session_json_deleted(Session *session, Str bucket, Str key)
{
    if (!session->options.json) return;
    AUTO_BUF(text, 64 * KIB);
    JsonWriter json;
    json_writer_init(&json, &text);
    json_write_object_begin(&json);
    json_member_str(&json, "bucket", bucket);
    json_member_str(&json, "key", key);
    json_member_bool(&json, "deleted", true);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK) printf("%.*s\n", STR_ARG(buf_str(&text)));
}

void session_json_failure(Session *session, const char *what, Str name, const Err *err)
{
    if (!session->options.json) return;
    AUTO_BUF(text, 64 * KIB);
    JsonWriter json;
    json_writer_init(&json, &text);
    json_write_object_begin(&json);
    json_member_str(&json, what, name);
    json_write_key(&json, "error");
    json_write_object_begin(&json);
    json_member_cstr(&json, "code", err_info(err->code)->slug);
    json_member_cstr(&json, "detail", err_text(err));
    json_write_object_end(&json);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK)
        fprintf(session->json_out, "%.*s\n", STR_ARG(buf_str(&text)));
}
