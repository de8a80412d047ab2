/* Session: what every client command begins and ends with: arguments, settings, the client,
 * Ctrl-C, and how things are said. One in a process, on the main thread. */
#ifndef HOLDFAST_CLI_SESSION_H
#define HOLDFAST_CLI_SESSION_H

#include "cli/client.h"
#include "cli/options.h"
#include "cli/pool.h"
#include "cli/progress.h"
#include "cli/remote.h"
#include "cli/tally.h"
#include <stdio.h>

typedef struct {
    const CommandSpec *spec;
    ClientOptions options;
    Client *client;
    Rng rng;
    Progress progress;
    Tally tally;
    FILE *json_out; /* of --json: stdout, unless that has something else */
} Session;

/* Reads arguments and settings and makes the client. False: the command is over, with *status
 * (--help was printed, or what is wrong). Until session_end() Ctrl-C and SIGTERM only set the flag
 * that client_stopped() tells; a second Ctrl-C ends the process. */
bool session_begin(Session *session, const CommandSpec *spec, int argc, char **argv, int *status);
/* Another client in place of the session's, which has made no request yet: url; key and ca (whom to
 * trust) may be NULL. */
MUST_USE ErrCode session_reopen(Session *session, const char *url, const char *key, const char *ca,
                                Err *err);
/* Frees; status, or 1 if standard output took not all that was written. */
int session_end(Session *session, int status);

/* Prints "holdfast NAME: about: text" (about: may be ptr NULL); the exit status of err's code. */
int session_fail(Session *session, Str about, const Err *err);
/* One request with retries; prints a failure. True: call->code is OK. *status otherwise. */
bool session_call(Session *session, ClientCall *call, Str about, int *status);
/* The answer of one GET as JSON. False: *status; printed. */
bool session_get_json(Session *session, const char *target, json_t **out, int *status);
/* The same of a POST without a body, which must be one that may be repeated. */
bool session_post_json(Session *session, const char *target, json_t **out, int *status);
/* The same of a POST of body, JSON too; it is repeated if the session retries. */
bool session_post_body(Session *session, const char *target, Str body, Str about, json_t **out,
                       int *status);
/* The same of a PUT of body, JSON too; about as in session_fail(). */
bool session_put_json(Session *session, const char *target, Str body, Str about, json_t **out,
                      int *status);
/* session_fail() for an answer that is not what it should be, as err says: that is ERR_PEER. */
int session_bad_answer(Session *session, Str about, Err *err);
ListingOptions session_listing(Session *session, Str bucket, Str prefix, char delimiter);

/* Runs items over the connections, with progress. state tells what moves at the moment, for the
 * progress line; it is given ops->ctx. What failed is in the tally. */
void session_run(Session *session, const PoolOps *ops,
                 void (*state)(void *ctx, ProgressState *state));
/* Prints what failed and the summary, which begins with verb ("stored"); the exit status. single:
 * the run was about one file. */
int session_report(Session *session, const char *verb, bool single);
/* --json: a line {"key": …, "error": {"code", "detail"}} on json_out. */
void session_json_failure(Session *session, const char *what, Str name, const Err *err);
/* --json: a line {"bucket", "key", "deleted": true}. */
void session_json_deleted(Session *session, Str bucket, Str key);
/* One object as a line on standard output. */
void session_json_line(const json_t *object);

#endif
