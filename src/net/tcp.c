#include "net/tcp.h"

#include "base/address.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/tls_conn.h"
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024
#define ACCEPT_LOG_EVERY_MS 1000

struct TcpListener {
    uv_tcp_t uv;
    Loop *loop;
    TcpAcceptFn accept;
    void *ctx;
    uint64_t logged_ms; /* when a failure was logged last; 0 never */
};

/* ---- addresses ---- */

ErrCode tcp_address_parse(const char *text, TcpAddress *out, Err *err)
{
    Address parsed;
    TcpAddress address = {0};
    if (!address_parse(str_from_cstr(text), &parsed))
        return err_set(err, ERR_CONFIG,
                       "the address \"%s\" is not ADDRESS:PORT, like 127.0.0.1:9001 or [::1]:9001",
                       text);
    if (parsed.v6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address.addr;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(parsed.port);
        v6->sin6_scope_id = parsed.zone[0] == '\0' ? 0 : if_nametoindex(parsed.zone);
        memcpy(&v6->sin6_addr, parsed.bytes, sizeof v6->sin6_addr);
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&address.addr;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(parsed.port);
        memcpy(&v4->sin_addr, parsed.bytes, sizeof v4->sin_addr);
    }
    *out = address;
    return OK;
}

void tcp_address_format(const TcpAddress *address, char out[TCP_ADDRESS_SIZE])
{
    char name[INET6_ADDRSTRLEN] = "?";
    if (address->addr.ss_family == AF_INET6) {
        (void)uv_ip6_name((const struct sockaddr_in6 *)&address->addr, name,
                          sizeof name); /* else "?" */
        snprintf(out, TCP_ADDRESS_SIZE, "[%s]:%u", name, tcp_address_port(address));
    } else {
        (void)uv_ip4_name((const struct sockaddr_in *)&address->addr, name,
                          sizeof name); /* else "?" */
        snprintf(out, TCP_ADDRESS_SIZE, "%s:%u", name, tcp_address_port(address));
    }
}

uint16_t tcp_address_port(const TcpAddress *address)
{
    if (address->addr.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address->addr)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&address->addr)->sin_port);
}

static socklen_t address_len(const TcpAddress *address)
{
    return address->addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                               : sizeof(struct sockaddr_in);
}

/* ---- listening ---- */

static ErrCode listen_failed(const TcpAddress *address, int errno_value, Err *err)
{
    char text[TCP_ADDRESS_SIZE];
    tcp_address_format(address, text);
    if (errno_value == EADDRINUSE)
        return err_set_errno(err, ERR_IN_USE, errno_value,
                             "listen on %s: it is in use (`ss -ltnp` names by whom); give another",
                             text);
    if (errno_value == EADDRNOTAVAIL)
        return err_set_errno(err, ERR_SYSTEM, errno_value,
                             "listen on %s: this machine has no such address", text);
    if (errno_value == EACCES)
        return err_set_errno(err, ERR_FORBIDDEN, errno_value,
                             "listen on %s: this user may not; give a port from 1024 on", text);
    return err_set_errno(err, ERR_SYSTEM, errno_value, "listen on %s", text);
}

/* A bound socket in *fd. */
static ErrCode bind_socket(const TcpAddress *address, bool share, int *out, Err *err)
{
    int one = 1;
    int fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return listen_failed(address, errno, err);
    int fault = fault_point("net.bind");
    if (fault != 0) errno = fault;
    if (fault != 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) ||
        bind(fd, (const struct sockaddr *)&address->addr, address_len(address)) != 0) {
        int saved = errno;
        close(fd);
        return listen_failed(address, saved, err);
    }
    *out = fd;
    return OK;
}

ErrCode tcp_address_claim(TcpAddress *address, Err *err)
{
    int fd;
    TRY(bind_socket(address, false, &fd, err));
    TcpAddress bound = {0};
    socklen_t len = sizeof bound.addr;
    int saved = 0;
    if (listen(fd, 1) != 0 || getsockname(fd, (struct sockaddr *)&bound.addr, &len) != 0)
        saved = errno;
    close(fd);
    if (saved != 0) return listen_failed(address, saved, err);
    *address = bound;
    return OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void log_accept_failure(TcpListener *listener, int errno_value)
{
    uint64_t now = loop_now_ms(listener->loop);
    if (listener->logged_ms != 0 && now - listener->logged_ms < ACCEPT_LOG_EVERY_MS) return;
    listener->logged_ms = now;
    char name[32];
    LOG(WARN, "net.accept_failed", "error=%s", uv_err_name_r(-errno_value, name, sizeof name));
}

static void on_connection(uv_stream_t *stream, int status)
{
    TcpListener *listener = stream->data;
    if (status != 0)
        log_accept_failure(listener, -status); /* libuv has turned the client away */
    else
        listener->accept(listener->ctx, listener);
}

ErrCode tcp_listen(Loop *loop, const TcpAddress *address, TcpAcceptFn accept, void *ctx,
                   TcpListener **out, Err *err)
{
    ASSERT(loop_is_mine(loop));
    int fd;
    TRY(bind_socket(address, true, &fd, err));
    TcpListener *listener = mem_new(sizeof *listener);
    listener->loop = loop;
    listener->accept = accept;
    listener->ctx = ctx;
    int status = uv_tcp_init(loop_uv(loop), &listener->uv);
    ASSERT(status == 0);
    listener->uv.data = listener;
    status = uv_tcp_open(&listener->uv, fd);
    if (status != 0) close(fd);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&listener->uv, LISTEN_BACKLOG, on_connection);
    if (status != 0) {
        uv_close((uv_handle_t *)&listener->uv, on_listener_closed);
        return listen_failed(address, -status, err);
    }
    *out = listener;
    return OK;
}

void tcp_listener_close(TcpListener *listener)
{
    if (listener == NULL) return;
    uv_close((uv_handle_t *)&listener->uv, on_listener_closed);
}

/* ---- connections ---- */

static uv_stream_t *stream_of(Tcp *tcp)
{
    return (uv_stream_t *)&tcp->uv;
}

static void on_closed(uv_handle_t *handle)
{
    Tcp *tcp = handle->data;
    if (tcp->tls == NULL || tls_conn_free(tcp->tls)) tcp->ops->closed(tcp);
}

ErrCode tcp_accept(TcpListener *listener, const TcpOps *ops, Tcp *tcp, Err *err)
{
    *tcp = (Tcp){.ops = ops, .loop = listener->loop};
    int status = uv_tcp_init(loop_uv(listener->loop), &tcp->uv);
    ASSERT(status == 0);
    tcp->uv.data = tcp;
    status = uv_accept((uv_stream_t *)&listener->uv, stream_of(tcp));
    if (status == 0) status = -fault_point("net.accept");
    if (status != 0) {
        log_accept_failure(listener, -status);
        tcp_close(tcp);
        return err_set_errno(err, ERR_SYSTEM, -status, "accept a connection");
    }
    (void)uv_tcp_nodelay(&tcp->uv, 1); /* slower without, nothing worse */
    return OK;
}

ErrCode tcp_secure(Tcp *tcp, TlsContext *context, Err *err)
{
    ASSERT(tcp->tls == NULL && !tcp->reading && !tcp->writing);
    return tls_conn_new(tcp, context, &tcp->tls, err);
}

void tcp_peer(const Tcp *tcp, char out[TCP_ADDRESS_SIZE])
{
    TcpAddress address = {0};
    int len = sizeof address.addr;
    if (tcp->closing || uv_tcp_getpeername(&tcp->uv, (struct sockaddr *)&address.addr, &len) != 0)
        snprintf(out, TCP_ADDRESS_SIZE, "-");
    else
        tcp_address_format(&address, out);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    UNUSED(suggested);
    Tcp *tcp = handle->data;
    if (tcp->tls != NULL) { /* OpenSSL reads by itself: on_read() is told that there is no room */
        *buf = uv_buf_init(NULL, 0);
        return;
    }
    uint8_t *data = NULL;
    size_t capacity = 0;
    tcp->ops->room(tcp, &data, &capacity);
    *buf = uv_buf_init((char *)data, (unsigned)MIN(capacity, (size_t)INT32_MAX));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    UNUSED(buf);
    Tcp *tcp = stream->data;
    if (got > 0) {
        int fault = fault_point("net.read");
        if (fault != 0)
            tcp->ops->broken(tcp, fault);
        else
            tcp->ops->data(tcp, (size_t)got);
    } else if (got == UV_ENOBUFS && tcp->tls != NULL) {
        tls_conn_readable(tcp->tls);
    } else if (got == UV_ENOBUFS) {
        tcp_pause(tcp);
    } else if (got == UV_EOF) {
        tcp_pause(tcp);
        tcp->ops->end(tcp);
    } else if (got < 0) {
        tcp_pause(tcp);
        tcp->ops->broken(tcp, (int)-got);
    }
}

void tcp_watch(Tcp *tcp, bool on)
{
    int status = on ? uv_read_start(stream_of(tcp), on_room, on_read)
                    : uv_read_stop(stream_of(tcp));
    ASSERT(status == 0 || status == UV_EALREADY);
}

void tcp_read(Tcp *tcp)
{
    if (tcp->reading || tcp->closing) return;
    tcp->reading = true;
    tcp_watch(tcp, true);
    if (tcp->tls != NULL) tls_conn_resume(tcp->tls);
}

void tcp_pause(Tcp *tcp)
{
    if (!tcp->reading) return;
    tcp->reading = false;
    tcp_watch(tcp, false);
}

ErrCode tcp_try_write(Tcp *tcp, const uv_buf_t *pieces, unsigned count, size_t *sent)
{
    ASSERT(!tcp->writing && !tcp->closing);
    if (tcp->tls != NULL) return tls_conn_try_write(tcp->tls, pieces, count, sent);
    int fault = fault_point("net.write");
    int got = fault != 0 ? -fault : uv_try_write(stream_of(tcp), pieces, count);
    if (got == UV_EAGAIN) got = 0;
    if (got < 0) return ERR_SYSTEM;
    *sent = (size_t)got;
    return OK;
}

/* What sendfile says of the socket, not of the file. */
static bool of_socket(int errno_value)
{
    return errno_value == EPIPE || errno_value == ECONNRESET || errno_value == ETIMEDOUT ||
           errno_value == ENOTCONN || errno_value == ECONNABORTED;
}

ErrCode tcp_send_file(Tcp *tcp, int fd, uint64_t offset, size_t len, size_t *sent, Err *err)
{
    ASSERT(!tcp->writing && !tcp->closing && len > 0);
    if (tcp->tls != NULL) return tls_conn_send_file(tcp->tls, fd, offset, len, sent, err);
    uv_os_fd_t out;
    int status = uv_fileno((const uv_handle_t *)&tcp->uv, &out);
    ASSERT(status == 0);
    off_t at = (off_t)offset;
    ssize_t got;
    int saved;
    do {
        saved = fault_point("net.sendfile");
        got = saved != 0 ? -1 : sendfile(out, fd, &at, len);
        if (got < 0 && saved == 0) saved = errno;
    } while (got < 0 && saved == EINTR);
    if (got < 0 && saved == EAGAIN)
        got = 0;
    else if (got == 0)
        return err_set(err, ERR_IO, "the file ends at %lld", (long long)at);
    if (got < 0)
        return err_set_errno(err, of_socket(saved) ? ERR_SYSTEM : ERR_IO, saved, "send a file");
    *sent = (size_t)got;
    return OK;
}

ErrCode tcp_write_file(Tcp *tcp, int fd, uint64_t offset, uint8_t *room, size_t len, Err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = pread(fd, room + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_set_errno(err, ERR_IO, errno, "read a file to send");
        if (got == 0) return err_set(err, ERR_IO, "the file to send is shorter than it was");
        done += (size_t)got;
    }
    uv_buf_t piece = uv_buf_init((char *)room, (unsigned)len);
    tcp_write(tcp, &piece, 1);
    return OK;
}

static void on_written(uv_write_t *req, int status)
{
    Tcp *tcp = req->data;
    tcp->writing = false;
    if (!tcp->closing) tcp->ops->written(tcp, -status);
}

void tcp_write(Tcp *tcp, const uv_buf_t *pieces, unsigned count)
{
    ASSERT(!tcp->writing && !tcp->closing);
    tcp->writing = true;
    if (tcp->tls != NULL) {
        tls_conn_write(tcp->tls, pieces, count);
        return;
    }
    tcp->write_req.data = tcp;
    int status = uv_write(&tcp->write_req, stream_of(tcp), pieces, count, on_written);
    ASSERT(status == 0); /* errors of the connection come through on_written() */
}

size_t tcp_unsent(const Tcp *tcp)
{
    if (tcp->tls != NULL) return tls_conn_unsent(tcp->tls);
    return uv_stream_get_write_queue_size((const uv_stream_t *)&tcp->uv);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    UNUSED(req);
    UNUSED(status); /* broken or not, reading finds out */
}

void tcp_finish(Tcp *tcp)
{
    /* Fails only if the connection is broken, which reading finds out. */
    (void)uv_shutdown(&tcp->shutdown_req, stream_of(tcp), on_shutdown);
}

void tcp_shutdown(Tcp *tcp)
{
    if (tcp->closing) return;
    if (tcp->tls != NULL)
        tls_conn_shutdown(tcp->tls);
    else
        tcp_finish(tcp);
}

void tcp_close(Tcp *tcp)
{
    if (tcp->closing) return;
    if (tcp->tls != NULL) tls_conn_bye(tcp->tls);
    tcp->closing = true;
    tcp->reading = false;
    uv_close((uv_handle_t *)&tcp->uv, on_closed);
}

void tcp_reset(Tcp *tcp)
{
    if (tcp->closing) return;
    tcp->closing = true;
    tcp->reading = false;
    if (uv_tcp_close_reset(&tcp->uv, on_closed) != 0) uv_close((uv_handle_t *)&tcp->uv, on_closed);
}
