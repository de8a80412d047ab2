#include "net/tls_conn.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/metric.h"
#include "net/tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD_PLAIN ((size_t)16384)      /* bytes that one record carries */
#define RECORD_BYTES (RECORD_PLAIN + 256) /* and its most with all that is around them */
#define ROOM_RECORDS 8                    /* that one send takes */
#define TURN_MAX (2 * MIB)                /* bytes before other connections get their turn */

/* What the connections of a loop share, each until it returns to the loop. */
typedef struct {
    size_t len; /* bytes of out */
    uint8_t out[ROOM_RECORDS * RECORD_BYTES];
    uint8_t file[ROOM_RECORDS * RECORD_PLAIN]; /* of a file, to be encrypted */
    uint8_t gathered[RECORD_PLAIN];            /* small pieces, for one record */
} Room;

_Static_assert(sizeof(((Room *)NULL)->out) <= TLS_REQUEST_BYTES, "as promised");

typedef enum { TLS_HANDSHAKE, TLS_OPEN, TLS_BROKEN } TlsState;

struct TlsConn {
    Tcp *tcp;
    TlsContext *context;
    SSL *ssl;
    Room *room;
    TlsState state;
    bool looked;  /* at the first byte */
    bool blocked; /* OpenSSL has a record that waits for room: nothing is read before */
    bool eof;     /* of the socket */
    int errno_value;
    /* What the kernel did not take. */
    bool flushing;
    uint8_t *pending;
    uv_write_t flush_req;
    /* The tcp_write() under way: bytes that are not encrypted yet. */
    uv_buf_t pieces[TCP_PIECES_MAX];
    unsigned piece_count;
    size_t left;
    size_t ahead; /* of what the next tcp_write() brings, that are encrypted */
    bool shutdown_due;
    LoopTask kick;
    bool kicked; /* kick is posted */
    bool closed; /* and has to free this */
};

/* ---- metrics ---- */

typedef enum { COUNT_DONE, COUNT_FAILED, COUNT_UNFINISHED, COUNT_PLAIN } Count;

#define HANDSHAKES(result)                                                                         \
    {                                                                                              \
        .kind = METRIC_COUNTER, .name = "holdfast_tls_handshakes_total",                           \
        .help = "TLS handshakes that clients began, by how they ended.",                           \
        .labels = "result=\"" result "\""                                                          \
    }

/* By Count. */
static Metric metric_handshakes[] = {HANDSHAKES("done"), HANDSHAKES("failed"),
                                     HANDSHAKES("unfinished"), HANDSHAKES("plain")};

void tls_conn_register_metrics(void)
{
    for (size_t i = 0; i < ARRAY_LEN(metric_handshakes); i++)
        metric_register(&metric_handshakes[i]);
}

static void count(Count what)
{
    metric_add(&metric_handshakes[what], 1);
}

/* ---- what OpenSSL reads from and writes to ---- */

static uv_stream_t *stream_of(TlsConn *tls)
{
    return (uv_stream_t *)&tls->tcp->uv;
}

static int socket_of(TlsConn *tls)
{
    uv_os_fd_t fd;
    int status = uv_fileno((const uv_handle_t *)&tls->tcp->uv, &fd);
    ASSERT(status == 0);
    return fd;
}

static int bio_read(BIO *bio, char *data, size_t len, size_t *got)
{
    TlsConn *tls = BIO_get_data(bio);
    ssize_t n;
    BIO_clear_retry_flags(bio);
    do {
        n = recv(socket_of(tls), data, len, 0);
    } while (n < 0 && errno == EINTR);
    int failure = n < 0 ? errno : n > 0 ? fault_point("net.read") : 0;
    *got = n > 0 ? (size_t)n : 0;
    if (n > 0 && failure == 0) return 1;
    if (n == 0) tls->eof = true;
    if (failure == EAGAIN)
        BIO_set_retry_read(bio);
    else
        tls->errno_value = failure;
    return 0;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    TlsConn *tls = BIO_get_data(bio);
    Room *room = tls->room;
    BIO_clear_retry_flags(bio);
    *written = 0;
    if (tls->flushing || len > sizeof room->out - room->len) {
        BIO_set_retry_write(bio);
        return 0;
    }
    memcpy(room->out + room->len, data, len);
    room->len += len;
    *written = len;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    UNUSED(number);
    UNUSED(ptr);
    if (command == BIO_CTRL_EOF) return ((TlsConn *)BIO_get_data(bio))->eof ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *tls_conn_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast");
    if (method == NULL) return NULL;
    if (BIO_meth_set_read_ex(method, bio_read) == 1 &&
        BIO_meth_set_write_ex(method, bio_write) == 1 && BIO_meth_set_ctrl(method, bio_ctrl) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ---- life ---- */

ErrCode tls_conn_new(Tcp *tcp, TlsContext *context, TlsConn **out, Err *err)
{
    BIO *bio = BIO_new(tls_context_bio(context));
    SSL *ssl = SSL_new(tls_context_ssl(context));
    if (bio == NULL || ssl == NULL) {
        BIO_free_all(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return err_set(err, ERR_NO_MEMORY, "begin a TLS connection");
    }
    TlsConn *tls = mem_new(sizeof *tls);
    tls->tcp = tcp;
    tls->context = tls_context_ref(context);
    tls->ssl = ssl;
    tls->room = loop_room(tcp->loop, sizeof *tls->room);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    *out = tls;
    return OK;
}

static void release(TlsConn *tls)
{
    ASSERT(!tls->kicked && !tls->flushing);
    SSL_free(tls->ssl);
    tls_context_unref(tls->context);
    mem_free(tls);
}

bool tls_conn_free(TlsConn *tls)
{
    if (tls->state == TLS_HANDSHAKE) count(COUNT_UNFINISHED);
    tls->closed = true;
    if (tls->kicked) return false;
    release(tls);
    return true;
}

static void pump(TlsConn *tls);

static void run_kick(void *arg)
{
    TlsConn *tls = arg;
    Tcp *tcp = tls->tcp;
    tls->kicked = false;
    if (tls->closed) {
        release(tls);
        tcp->ops->closed(tcp);
        return;
    }
    if (!tcp->closing) pump(tls);
    if (!tcp->closing && tcp->reading && !tls->blocked) tls_conn_readable(tls);
}

/* Goes on in a later turn of the loop. */
static void kick(TlsConn *tls)
{
    if (tls->kicked) return;
    tls->kicked = true;
    tls->kick = (LoopTask){.fn = run_kick, .arg = tls};
    loop_post(tls->tcp->loop, &tls->kick);
}

/* Only closing is left. */
static void lost(TlsConn *tls)
{
    Tcp *tcp = tls->tcp;
    int failure = tls->errno_value != 0 ? tls->errno_value : EPROTO;
    tls->state = TLS_BROKEN;
    tls->left = 0;
    tcp_pause(tcp);
    if (tcp->writing) {
        tcp->writing = false;
        tcp->ops->written(tcp, failure);
    }
    if (!tcp->closing) tcp->ops->broken(tcp, failure);
}

/* ---- to the kernel ---- */

static void on_flushed(uv_write_t *req, int status)
{
    TlsConn *tls = req->data;
    Tcp *tcp = tls->tcp;
    mem_free(TAKE(tls->pending));
    tls->flushing = false;
    if (tcp->closing) return;
    if (status < 0) {
        tls->errno_value = -status;
        lost(tls);
        return;
    }
    if (tls->shutdown_due) tls_conn_shutdown(tls);
    if (tls->blocked) {
        tls->blocked = false;
        if (tcp->reading) tcp_watch(tcp, true);
        if (tcp->reading) tls_conn_readable(tls);
    }
    if (!tcp->closing) pump(tls);
}

/* Hands over what is encrypted. False: the connection is broken. */
static bool flush(TlsConn *tls)
{
    Room *room = tls->room;
    size_t len = room->len;
    room->len = 0;
    if (len == 0) return true;
    ASSERT(!tls->flushing);
    uv_buf_t piece = uv_buf_init((char *)room->out, (unsigned)len);
    int fault = fault_point("net.write");
    int got = fault != 0 ? -fault : uv_try_write(stream_of(tls), &piece, 1);
    if (got == UV_EAGAIN) got = 0;
    if (got < 0) {
        tls->errno_value = -got;
        return false;
    }
    size_t rest = len - (size_t)got;
    if (rest == 0) return true;
    void *pending;
    if (mem_take(rest, &pending, NULL) != OK) {
        tls->errno_value = ENOMEM;
        return false;
    }
    memcpy(pending, room->out + got, rest);
    tls->pending = pending;
    tls->flushing = true;
    tls->flush_req.data = tls;
    piece = uv_buf_init(pending, (unsigned)rest);
    int status = uv_write(&tls->flush_req, stream_of(tls), &piece, 1, on_flushed);
    ASSERT(status == 0); /* errors of the connection come through on_flushed() */
    return true;
}

/* ---- handshake ---- */

/* HTTP begins with a letter, a handshake with 22. False: nothing is there, or tls is gone. */
static bool look_at_first(TlsConn *tls)
{
    Tcp *tcp = tls->tcp;
    char first = 0;
    ssize_t got = recv(socket_of(tls), &first, 1, MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    tls->looked = true; /* an end, or a failure, OpenSSL meets too */
    if (first < 'A' || first > 'Z' || tcp->ops->plain == NULL) return true;
    count(COUNT_PLAIN);
    tcp->tls = NULL;
    release(tls);
    tcp->ops->plain(tcp);
    return false;
}

static void tell_failed(TlsConn *tls)
{
    char peer[TCP_ADDRESS_SIZE];
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    tcp_peer(tls->tcp, peer);
    LOG(DEBUG, "tls.failed", "peer=%s reason=" LOG_STR, peer,
        LOG_CSTR(why != NULL ? why : "the client went away"));
    ERR_clear_error();
}

/* Nothing is read until OpenSSL is rid of what it has to send. */
static void block(TlsConn *tls)
{
    ASSERT(tls->flushing);
    tls->blocked = true;
    tcp_watch(tls->tcp, false);
}

/* False: it is not done, or came to nothing; tls may be gone. */
static bool handshake(TlsConn *tls)
{
    Tcp *tcp = tls->tcp;
    if (!tls->looked && !look_at_first(tls)) return false;
    ERR_clear_error();
    int done = SSL_accept(tls->ssl);
    int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, done);
    bool failed = why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ &&
                  why != SSL_ERROR_WANT_WRITE;
    if (failed) tell_failed(tls);
    if (!flush(tls) || failed) { /* first the alert that says why */
        count(COUNT_FAILED);
        lost(tls);
        return false;
    }
    if (why == SSL_ERROR_WANT_WRITE) block(tls);
    if (why != SSL_ERROR_NONE) return false;
    tls->state = TLS_OPEN;
    count(COUNT_DONE);
    tcp->ops->secured(tcp);
    return !tcp->closing;
}

/* ---- reading ---- */

typedef enum { FILL_FULL, FILL_WAITS, FILL_BLOCKED, FILL_END, FILL_BROKEN } Fill;

static Fill fill(TlsConn *tls, uint8_t *data, size_t capacity, size_t *got)
{
    *got = 0;
    while (*got < capacity) {
        size_t n = 0;
        ERR_clear_error();
        if (SSL_read_ex(tls->ssl, data + *got, capacity - *got, &n) == 1) {
            *got += n;
            continue;
        }
        switch (SSL_get_error(tls->ssl, 0)) {
        case SSL_ERROR_WANT_READ: return FILL_WAITS;
        case SSL_ERROR_WANT_WRITE: return FILL_BLOCKED;
        case SSL_ERROR_ZERO_RETURN: return FILL_END;
        default: return FILL_BROKEN;
        }
    }
    return FILL_FULL;
}

/* False: no more now. */
static bool read_piece(TlsConn *tls, size_t *turn)
{
    Tcp *tcp = tls->tcp;
    uint8_t *data = NULL;
    size_t capacity = 0;
    size_t got;
    tcp->ops->room(tcp, &data, &capacity);
    if (capacity == 0) {
        tcp_pause(tcp);
        return false;
    }
    Fill result = fill(tls, data, capacity, &got);
    if (!flush(tls)) result = FILL_BROKEN; /* the answer to a new key, or an alert */
    *turn += got;
    if (got > 0) tcp->ops->data(tcp, got);
    if (tcp->closing) return false;
    switch (result) {
    case FILL_FULL: return true;
    case FILL_WAITS: return false;
    case FILL_BLOCKED:
        /* The handler may have stopped reading, or what blocked may be out by now. */
        if (tls->flushing && tcp->reading) block(tls);
        return tcp->reading && !tls->flushing;
    case FILL_END:
        tcp_pause(tcp);
        tcp->ops->end(tcp);
        return false;
    case FILL_BROKEN: lost(tls); return false;
    }
    return false;
}

void tls_conn_readable(TlsConn *tls)
{
    Tcp *tcp = tls->tcp;
    size_t turn = 0;
    if (tls->state == TLS_HANDSHAKE && !handshake(tls)) return;
    while (tcp->reading && !tcp->closing && tls->state == TLS_OPEN && !tls->blocked) {
        if (!read_piece(tls, &turn)) return;
        if (turn >= TURN_MAX) {
            kick(tls);
            return;
        }
    }
}

void tls_conn_resume(TlsConn *tls)
{
    if (tls->blocked) {
        tcp_watch(tls->tcp, false); /* on_flushed() goes on */
        return;
    }
    bool ended = (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
    if (tls->state == TLS_OPEN && (ended || SSL_has_pending(tls->ssl) == 1)) kick(tls);
}

/* ---- writing ---- */

/* Forgets the first bytes of pieces. */
static void drop(uv_buf_t **pieces, unsigned *count, size_t bytes)
{
    while (*count > 0 && bytes >= (*pieces)->len) {
        bytes -= (*pieces)->len;
        (*pieces)++;
        (*count)--;
    }
    ASSERT(bytes == 0 || *count > 0);
    if (bytes == 0) return;
    (*pieces)->base += bytes;
    (*pieces)->len -= bytes;
}

/* What the next record carries: of one piece where that fills it, else of several, copied. */
static size_t next_record(Room *room, uv_buf_t **pieces, unsigned *count, const uint8_t **data)
{
    size_t len = 0;
    if (*count == 0) return 0;
    if ((*pieces)->len >= RECORD_PLAIN || *count == 1) {
        *data = (const uint8_t *)(*pieces)->base;
        len = MIN((*pieces)->len, RECORD_PLAIN);
        drop(pieces, count, len);
        return len;
    }
    while (*count > 0 && len < RECORD_PLAIN) {
        size_t part = MIN((*pieces)->len, RECORD_PLAIN - len);
        memcpy(room->gathered + len, (*pieces)->base, part);
        len += part;
        drop(pieces, count, part);
    }
    *data = room->gathered;
    return len;
}

/* Encrypts as much as there is room for, and hands it over: *taken bytes, which are dropped from
 * pieces. False: the connection is broken. */
static bool seal(TlsConn *tls, uv_buf_t **pieces, unsigned *count, size_t *taken)
{
    Room *room = tls->room;
    *taken = 0;
    ASSERT(!tls->flushing);
    while (*count > 0 && room->len + RECORD_BYTES <= sizeof room->out) {
        const uint8_t *data = NULL;
        size_t written = 0;
        size_t len = next_record(room, pieces, count, &data);
        if (len == 0) continue;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, data, len, &written) != 1) {
            room->len = 0;
            return false;
        }
        *taken += written;
    }
    return flush(tls);
}

static void copy_pieces(TlsConn *tls, const uv_buf_t *pieces, unsigned count)
{
    ASSERT(count <= TCP_PIECES_MAX);
    memcpy(tls->pieces, pieces, count * sizeof *pieces);
    tls->piece_count = count;
}

ErrCode tls_conn_try_write(TlsConn *tls, const uv_buf_t *pieces, unsigned count, size_t *sent)
{
    ASSERT(tls->ahead == 0 && tls->state != TLS_HANDSHAKE);
    *sent = 0;
    if (tls->state == TLS_BROKEN) return ERR_SYSTEM;
    if (tls->flushing) return OK;
    copy_pieces(tls, pieces, count);
    uv_buf_t *at = tls->pieces;
    while (count > 0) {
        size_t taken;
        if (!seal(tls, &at, &count, &taken)) {
            tls->state = TLS_BROKEN;
            return ERR_SYSTEM;
        }
        if (tls->flushing) {
            tls->ahead = taken; /* so these still count as unsent */
            return OK;
        }
        *sent += taken;
    }
    return OK;
}

ErrCode tls_conn_send_file(TlsConn *tls, int fd, uint64_t offset, size_t len, size_t *sent,
                           Err *err)
{
    ASSERT(tls->ahead == 0 && tls->state != TLS_HANDSHAKE);
    size_t done = 0;
    if (tls->state == TLS_BROKEN) return err_set(err, ERR_SYSTEM, "send a file");
    while (done < len && !tls->flushing) {
        size_t want = MIN(len - done, sizeof tls->room->file);
        int fault = fault_point("net.sendfile");
        ssize_t got = fault != 0 ? -1 : pread(fd, tls->room->file, want, (off_t)(offset + done));
        if (fault == 0 && got < 0 && errno == EINTR) continue;
        if (got < 0) return err_set_errno(err, ERR_IO, fault != 0 ? fault : errno, "send a file");
        if (got == 0) return err_set(err, ERR_IO, "the file to send is shorter than it was");
        uv_buf_t piece = uv_buf_init((char *)tls->room->file, (unsigned)got);
        uv_buf_t *at = &piece;
        unsigned count = 1;
        size_t taken;
        if (!seal(tls, &at, &count, &taken)) {
            tls->state = TLS_BROKEN;
            return err_set(err, ERR_SYSTEM, "send a file");
        }
        done += taken;
        /* Something must be left for tcp_write(), which tells when all is out. */
        if (tls->flushing) tls->ahead = 1;
    }
    *sent = done - tls->ahead;
    return OK;
}

void tls_conn_write(TlsConn *tls, const uv_buf_t *pieces, unsigned count)
{
    copy_pieces(tls, pieces, count);
    tls->left = 0;
    for (unsigned i = 0; i < count; i++)
        tls->left += pieces[i].len;
    ASSERT(tls->ahead <= tls->left);
    uv_buf_t *at = tls->pieces;
    drop(&at, &tls->piece_count, tls->ahead);
    memmove(tls->pieces, at, tls->piece_count * sizeof *at);
    tls->left -= tls->ahead;
    tls->ahead = 0;
    if (!tls->flushing) kick(tls);
}

/* Goes on with the tcp_write() under way. */
static void pump(TlsConn *tls)
{
    Tcp *tcp = tls->tcp;
    size_t turn = 0;
    while (tcp->writing && !tls->flushing) {
        if (tls->left == 0) {
            tcp->writing = false;
            tcp->ops->written(tcp, 0);
            return;
        }
        if (turn >= TURN_MAX) {
            kick(tls);
            return;
        }
        uv_buf_t *at = tls->pieces;
        size_t taken = 0;
        if (tls->state != TLS_OPEN || !seal(tls, &at, &tls->piece_count, &taken)) {
            lost(tls);
            return;
        }
        memmove(tls->pieces, at, tls->piece_count * sizeof *at);
        tls->left -= taken;
        turn += taken;
    }
}

size_t tls_conn_unsent(const TlsConn *tls)
{
    return tls->left + uv_stream_get_write_queue_size((const uv_stream_t *)&tls->tcp->uv);
}

/* ---- ends ---- */

/* Puts close_notify into the room. */
static void say_bye(TlsConn *tls)
{
    if (tls->state != TLS_OPEN || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0) return;
    ERR_clear_error();
    int done = SSL_shutdown(tls->ssl);
    UNUSED(done); /* what it could say, the next read says */
    ERR_clear_error();
}

void tls_conn_shutdown(TlsConn *tls)
{
    tls->shutdown_due = tls->flushing;
    if (tls->flushing) return;
    say_bye(tls);
    if (flush(tls)) tcp_finish(tls->tcp); /* else broken, which reading finds out */
}

void tls_conn_bye(TlsConn *tls)
{
    if (tls->flushing || tls->tcp->writing) return;
    say_bye(tls);
    Room *room = tls->room;
    size_t len = room->len;
    room->len = 0;
    if (len == 0) return;
    uv_buf_t piece = uv_buf_init((char *)room->out, (unsigned)len);
    int sent = uv_try_write(stream_of(tls), &piece, 1);
    UNUSED(sent); /* whoever does not get it sees the end anyway */
}
