#include "cli/client.h"

#include "base/clock.h"
#include "cli/problem.h"
#include "cli/settings.h"
#include "text/base64.h"
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define POLL_MAX_MS 200 /* so that a stop is seen soon */
#define CONNECT_TIMEOUT_S 10L
#define STALL_TIMEOUT_S 60L /* without a byte in either direction */
#define BUFFER_BYTES (256L * 1024)

struct Client {
    CURLM *multi;
    char *url;
    char *ca;   /* a PEM file, NULL: the system's */
    char *auth; /* "Authorization: Bearer …", or NULL */
    const volatile sig_atomic_t *stop;
    bool heard;
};

/* ---- life ---- */

ErrCode client_open(const char *url, const char *key, size_t connections,
                    const volatile sig_atomic_t *stop, Client **out, Err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return err_set(err, ERR_SYSTEM, "libcurl cannot be set up");
    }
    CURLM *multi = curl_multi_init();
    if (multi == NULL) {
        curl_global_cleanup();
        return err_set(err, ERR_SYSTEM, "libcurl cannot be set up");
    }
    /* One more than the transfers: for the listing that feeds them. */
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)connections + 1);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    Client *client = mem_new(sizeof *client);
    client->multi = multi;
    client->url = mem_dup_cstr(url);
    client->stop = stop;
    if (key != NULL) {
        size_t size = strlen(key) + 32;
        client->auth = mem_new(size);
        snprintf(client->auth, size, "Authorization: Bearer %s", key);
    }
    *out = client;
    return OK;
}

void client_trust(Client *client, const char *ca)
{
    mem_free(TAKE(client->ca));
    if (ca != NULL) client->ca = mem_dup_cstr(ca);
}

void client_close(Client *client)
{
    if (client == NULL) return;
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    if (client->auth != NULL) explicit_bzero(client->auth, strlen(client->auth));
    mem_free(client->auth);
    mem_free(client->url);
    mem_free(client->ca);
    mem_free(client);
}

const char *client_url(const Client *client)
{
    return client->url;
}

bool client_heard(const Client *client)
{
    return client->heard;
}

bool client_stopped(const Client *client)
{
    return client->stop != NULL && *client->stop != 0;
}

void client_call_init(ClientCall *call, size_t answer_max)
{
    *call = (ClientCall){0};
    buf_init(&call->answer, answer_max);
}

void client_call_deinit(ClientCall *call)
{
    if (call->running) client_cancel(call->client, call);
    if (call->easy != NULL) curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_deinit(&call->answer);
    *call = (ClientCall){0};
}

/* ---- libcurl's callbacks ---- */

static bool is_success(ClientCall *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

/* Never more than was announced: the rest would be taken for the next request. */
static size_t on_read(char *data, size_t size, size_t count, void *arg)
{
    ClientCall *call = arg;
    size_t max = (size_t)MIN((uint64_t)(size * count), call->body_size - call->sent);
    size_t len = 0;
    if (max == 0) return 0;
    ErrCode code = call->send(call->ctx, data, max, &len, &call->err);
    if (code == OK && len == 0) {
        code = err_set(&call->err, ERR_ABORTED, "it ended before its announced length");
    }
    if (code != OK) {
        call->local = true;
        return CURL_READFUNC_ABORT;
    }
    call->sent += len;
    call->moved = true;
    call->moved_bytes += len;
    return len;
}

/* libcurl sends a body again when a kept connection turns out to be closed. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    ClientCall *call = arg;
    if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    call->sent = 0;
    if (call->rewind(call->ctx, &call->err) == OK) return CURL_SEEKFUNC_OK;
    call->local = true;
    return CURL_SEEKFUNC_FAIL;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    ClientCall *call = arg;
    Str piece = str_of(data, size * count);
    if (call->receive == NULL || !is_success(call)) {
        if (buf_append_str(&call->answer, piece, &call->err) == OK) return piece.len;
    } else if (call->receive(call->ctx, piece, &call->err) == OK) {
        call->moved = true;
        call->moved_bytes += piece.len;
        return piece.len;
    }
    call->local = true;
    return piece.len + 1; /* anything but the length ends the transfer */
}

/* "sha-256=:BASE64:" among other digests. */
static void take_digest(ClientCall *call, Str value)
{
    bool more = true;
    while (more && !call->has_answer_digest) {
        Str item;
        Str name;
        Str digest;
        Str rest;
        size_t len = 0;
        more = str_split(value, ',', &item, &rest);
        value = rest;
        if (!str_split(str_trim(item), '=', &name, &digest)) continue;
        if (!str_eq_nocase(name, STR("sha-256")) || digest.len < 2) continue;
        if (digest.ptr[0] != ':' || digest.ptr[digest.len - 1] != ':') continue;
        call->has_answer_digest = base64_decode(str_slice(digest, 1, digest.len - 2),
                                                call->answer_digest.bytes, SHA256_LEN, &len) &&
                                  len == SHA256_LEN;
    }
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    ClientCall *call = arg;
    Str line = str_of(data, size * count);
    Str name;
    Str value;
    uint64_t seconds = 0;
    if (!str_split(line, ':', &name, &value)) return line.len; /* status line, end */
    while (value.len > 0 &&
           (value.ptr[value.len - 1] == '\n' || value.ptr[value.len - 1] == '\r')) {
        value.len--;
    }
    value = str_trim(value);
    if (call->header_came != NULL) call->header_came(call->ctx, name, value);
    if (str_eq_nocase(name, STR("repr-digest"))) take_digest(call, value);
    if (str_eq_nocase(name, STR("retry-after")) && str_to_u64(value, 3600, &seconds)) {
        call->retry_after_ms = seconds * 1000;
    }
    return line.len;
}

/* ---- an attempt ---- */

static bool add_header(ClientCall *call, const char *line)
{
    struct curl_slist *list = curl_slist_append(call->headers, line);
    if (list == NULL) return false;
    call->headers = list;
    return true;
}

/* Lines with '\n' between. */
static bool add_headers(ClientCall *call, const char *lines)
{
    AUTO(char, mem_free) copy = mem_dup_cstr(lines);
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (!add_header(call, line)) return false;
    }
    return true;
}

static bool set_headers(const Client *client, ClientCall *call)
{
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    bool good = client->auth == NULL || add_header(call, client->auth);
    if (call->has_body) {
        char line[128];
        int len = snprintf(line, sizeof line, "Content-Type: %s",
                           call->type != NULL ? call->type : "application/octet-stream");
        ASSERT(len > 0 && (size_t)len < sizeof line);
        good = good && add_header(call, line);
    }
    if (call->digest != NULL) {
        char text[64];
        char line[128];
        base64_encode(call->digest->bytes, SHA256_LEN, text);
        snprintf(line, sizeof line, "Repr-Digest: sha-256=:%s:", text);
        good = good && add_header(call, line);
    }
    if (call->header != NULL) good = good && add_headers(call, call->header);
    return good && curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

/* What is the same for each request. */
static void set_common(ClientCall *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a key may hold "..", it is no path */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, STALL_TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error_text);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, call);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
}

static void set_body(ClientCall *call)
{
    CURL *easy = call->easy;
    if (strcmp(call->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L); /* else it waits for one */
    } else if (!call->has_body) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else if (call->body.ptr != NULL) {
        /* Not copied; goes out in one piece with the head if it is small. */
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.ptr);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    } else {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body_size);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
}

static void reset_answer(ClientCall *call)
{
    call->finished = false;
    call->code = OK;
    err_clear(&call->err);
    call->status = 0;
    call->local = false;
    call->refused = false;
    call->moved = false;
    call->sent = 0;
    call->retry_after_ms = 0;
    call->has_answer_digest = false;
    call->error_text[0] = '\0';
    buf_clear(&call->answer);
}

static bool set_url(const Client *client, ClientCall *call)
{
    size_t size = strlen(client->url) + strlen(call->target) + 1;
    AUTO(char, mem_free) url = mem_new(size);
    snprintf(url, size, "%s%s", client->url, call->target);
    if (client->ca != NULL &&
        (curl_easy_setopt(call->easy, CURLOPT_CAINFO, client->ca) != CURLE_OK ||
         curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL) != CURLE_OK))
        return false;
    return curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK; /* copied, like CAINFO */
}

void client_start(Client *client, ClientCall *call)
{
    ASSERT(!call->running);
    ASSERT(call->target[0] == '/');
    reset_answer(call);
    call->client = client;
    if (call->easy == NULL) {
        call->easy = curl_easy_init();
    } else {
        curl_easy_reset(call->easy);
    }
    bool good = call->easy != NULL;
    if (good) set_common(call);
    good = good && set_headers(client, call) && set_url(client, call);
    if (good) set_body(call);
    if (!good || curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
        call->code = err_set(&call->err, ERR_NO_MEMORY, "the request cannot be made");
        call->local = true;
        call->finished = true;
        return;
    }
    call->running = true;
}

/* ---- its end ---- */

/* No answer came: why, in words that say what to do. */
static ErrCode fail_transport(const Client *client, ClientCall *call, CURLcode result)
{
    long os_errno = 0;
    curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_errno);
    const char *text = call->error_text[0] != '\0' ? call->error_text : curl_easy_strerror(result);
    switch ((int)result) {
    case CURLE_COULDNT_CONNECT:
        call->refused = true;
        if (os_errno == 0) break;
        return err_set(&call->err, ERR_PEER,
                       "cannot connect to %s: %s; is the server running? `holdfast serve`",
                       client->url, strerrordesc_np((int)os_errno));
    case CURLE_COULDNT_RESOLVE_HOST:
        call->refused = true;
        return err_set(&call->err, ERR_PEER, "cannot connect to %s: the host's name is not known",
                       client->url);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(&call->err, ERR_PEER, "%s did not answer in time", client->url);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(&call->err, ERR_CONFIG, "the server's address %s is not valid: %s",
                       client->url, text);
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(&call->err, ERR_CONFIG,
                       "the certificate of %s is not trusted: %s; --ca FILE names whom to trust",
                       client->url, text);
    case CURLE_SSL_CONNECT_ERROR:
        /* OpenSSL's words for an answer that is no TLS; all else may pass. */
        if (strstr(text, "wrong version number") == NULL) break;
        return err_set(&call->err, ERR_CONFIG,
                       "%s speaks no TLS; if it is the right port, write http:// for https://",
                       client->url);
    case CURLE_SSL_CACERT_BADFILE:
        if (client->ca == NULL) {
            return err_set(&call->err, ERR_CONFIG,
                           "this machine has no list of authorities (%s); install ca-certificates, "
                           "or name whom to trust: --ca FILE",
                           text);
        }
        return err_set(&call->err, ERR_CONFIG, "--ca %s: holds no certificates in PEM: %s",
                       client->ca != NULL ? client->ca : "", text);
    case CURLE_OUT_OF_MEMORY: return err_set(&call->err, ERR_NO_MEMORY, "%s", text);
    default: break;
    }
    return err_set(&call->err, ERR_PEER, "no whole answer from %s: %s", client->url, text);
}

/* The bucket that a request is about, as it stands in its address; empty: none. */
static Str bucket_of(const char *target)
{
    static const char *const before[] = {"/v1/buckets/", "bucket="};
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        const char *at = strstr(target, before[i]);
        if (at == NULL) continue;
        at += strlen(before[i]);
        return str_of(at, strcspn(at, "/?&"));
    }
    return (Str){NULL, 0};
}

/* What the server says to all its clients, for somebody at a shell: names, and commands. */
static void explain(const Client *client, ClientCall *call)
{
    Str bucket = str_slice(bucket_of(call->target), 0, 63);
    ErrCode code = call->code;
    Err *err = &call->err;
    bool rest = strncmp(call->target, "/v1/", 4) == 0;
    if (rest && call->status < 500 && problem_is_s3(buf_str(&call->answer))) {
        call->code = err_set(err, ERR_CONFIG,
                             "%s is a door for S3, which this command does not speak; --url names "
                             "the REST one, %s unless configured otherwise",
                             client->url, SETTINGS_URL_DEFAULT);
    } else if (code == ERR_NO_BUCKET && bucket.len > 0) {
        call->code = err_set(err, code,
                             "there is no bucket \"%.*s\"; `holdfast bucket list` names all",
                             STR_ARG(bucket));
    } else if (code == ERR_BUCKET_NOT_EMPTY && bucket.len > 0) {
        call->code = err_set(err, code,
                             "it still holds files or versions of files; `holdfast rm -r %.*s/` "
                             "deletes the files, with --versions all",
                             STR_ARG(bucket));
    } else if (code == ERR_QUOTA_EXCEEDED) {
        call->code = err_set(err, code,
                             "the bucket has a quota, and this would exceed it; `holdfast bucket "
                             "list %.*s` tells how much is used",
                             STR_ARG(bucket.len > 0 ? bucket : STR("BUCKET")));
    }
}

static void finish(Client *client, ClientCall *call, CURLcode result)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    call->status = (int)status;
    client->heard = client->heard || status != 0;
    if (call->local) {
        call->code = call->err.code;
    } else if (status >= 400) {
        /* The answer counts even if the body was not taken to its end. */
        call->code = problem_read((int)status, buf_str(&call->answer), &call->err);
        if (call->code == ERR_UNAUTHENTICATED && client->auth == NULL) {
            call->code = err_set(&call->err, ERR_UNAUTHENTICATED,
                                 "no key was given: --key-file FILE, --key ID.SECRET, "
                                 "HOLDFAST_KEY_FILE or HOLDFAST_KEY; the server's own is the file "
                                 "root.key in its data directory");
        } else if (call->code == ERR_UNAUTHENTICATED) {
            call->code = err_set(&call->err, ERR_UNAUTHENTICATED,
                                 "%s does not take the key that was given (--key-file, --key, "
                                 "HOLDFAST_KEY…, config.yaml); its own is the file root.key in its "
                                 "data directory",
                                 client->url);
        } else {
            explain(client, call);
        }
    } else if (result != CURLE_OK) {
        call->code = fail_transport(client, call, result);
    } else if (status < 200 || status >= 300) {
        call->code = err_set(&call->err, ERR_PEER, "%s answers %ld; is it a Holdfast server?",
                             client->url, status);
    }
    ASSERT(call->code == OK || call->err.code == call->code);
    call->finished = true;
}

/* How many calls have finished just now. */
static unsigned take_finished(Client *client)
{
    unsigned count = 0;
    int left = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode result = message->data.result;
        CURL *easy = message->easy_handle;
        char *private = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        ClientCall *call = (ClientCall *)(void *)private;
        curl_multi_remove_handle(client->multi, easy); /* message is gone from here on */
        call->running = false;
        finish(client, call, result);
        count++;
    }
    return count;
}

void client_poll(Client *client, int timeout_ms)
{
    int running = 0;
    curl_multi_perform(client->multi, &running);
    if (take_finished(client) > 0 || timeout_ms <= 0) return;
    curl_multi_poll(client->multi, NULL, 0, MIN(timeout_ms, POLL_MAX_MS), NULL);
    curl_multi_perform(client->multi, &running);
    take_finished(client);
}

void client_cancel(Client *client, ClientCall *call)
{
    if (!call->running) return;
    curl_multi_remove_handle(client->multi, call->easy);
    call->running = false;
    call->finished = true;
    call->code = err_set(&call->err, ERR_ABORTED, "stopped");
}

/* ---- one after the other ---- */

RetryCause client_cause(const ClientCall *call)
{
    return (RetryCause){.code = call->code,
                        .local = call->local,
                        .moved = call->moved,
                        .retry_after_ms = call->retry_after_ms};
}

uint64_t client_window(const Client *client, const ClientCall *call, const ClientRetry *retry)
{
    return call->refused && !client->heard && !retry->given ? 0 : retry->window_ms;
}

static uint64_t now_ms(void)
{
    return clock_boot_ns(clock_real()) / 1000000;
}

static void wait_until(Client *client, uint64_t until_ms)
{
    for (uint64_t now = now_ms(); now < until_ms && !client_stopped(client); now = now_ms()) {
        client_poll(client, (int)MIN(until_ms - now, (uint64_t)POLL_MAX_MS));
    }
}

ErrCode client_run(Client *client, ClientCall *call, const ClientRetry *retry, Err *err)
{
    Retry state = {0};
    for (;;) {
        client_start(client, call);
        while (!call->finished && !client_stopped(client))
            client_poll(client, POLL_MAX_MS);
        if (!call->finished) client_cancel(client, call);
        if (call->code == OK) return OK;
        RetryCause cause = client_cause(call);
        uint64_t wait_ms = 0;
        uint64_t window_ms = client_window(client, call, retry);
        if (client_stopped(client) ||
            !retry_again(&state, &cause, now_ms(), window_ms, retry->rng, &wait_ms)) {
            if (err != NULL) *err = call->err;
            return call->code;
        }
        wait_until(client, now_ms() + wait_ms);
    }
}
