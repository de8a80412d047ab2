/* TCP on a Loop: listening sockets with clear errors, connections with reads, writes, an orderly
 * close and a reset; with TLS or without, which makes no other difference. Thin over libuv. All on
 * the loop's thread. */
#ifndef HOLDFAST_NET_TCP_H
#define HOLDFAST_NET_TCP_H

#include "base/str.h"
#include "net/loop.h"
#include "net/tls.h"
#include <netinet/in.h>

#define TCP_ADDRESS_SIZE 64 /* "[v6]:port" and a NUL */
#define TCP_PIECES_MAX 8    /* of one write */

typedef struct {
    struct sockaddr_storage addr;
} TcpAddress;

/* "127.0.0.1:9001", "[::1]:9001", ":9001" (all interfaces, v6 and v4), "localhost:9001". Errors:
 * ERR_CONFIG. No lookup by DNS. */
MUST_USE ErrCode tcp_address_parse(const char *text, TcpAddress *out, Err *err);
void tcp_address_format(const TcpAddress *address, char out[TCP_ADDRESS_SIZE]);
uint16_t tcp_address_port(const TcpAddress *address);

/* Fails with ERR_IN_USE when somebody listens there: sockets with SO_REUSEPORT would share the
 * port with another process of the same user without a word. Port 0 is chosen and set. Fault
 * point: net.bind. */
MUST_USE ErrCode tcp_address_claim(TcpAddress *address, Err *err);

typedef struct TcpListener TcpListener;
/* Called for each waiting connection: tcp_accept() it or it stays there. */
typedef void (*TcpAcceptFn)(void *ctx, TcpListener *listener);
/* Listens with SO_REUSEPORT, so every loop has a listener of its own. Errors: ERR_IN_USE,
 * ERR_SYSTEM, with the address in the text. Fault point: net.bind. */
MUST_USE ErrCode tcp_listen(Loop *loop, const TcpAddress *address, TcpAcceptFn accept, void *ctx,
                            TcpListener **out, Err *err);
/* No more connections; NULL is fine. */
void tcp_listener_close(TcpListener *listener);

/* A connection; its memory belongs to the owner and must live until closed() was called. */
typedef struct Tcp Tcp;
typedef struct {
    /* Room for the next read: *data, *capacity; capacity 0 refuses, which ends in tcp_pause()d. */
    void (*room)(Tcp *tcp, uint8_t **data, size_t *capacity);
    /* len > 0 bytes came into that room. */
    void (*data)(Tcp *tcp, size_t len);
    /* The other side sends no more; it may still read. */
    void (*end)(Tcp *tcp);
    /* The connection is broken (reset, time-out): only closing is left. */
    void (*broken)(Tcp *tcp, int errno_value);
    /* The pending write is done (errno_value 0) or failed. */
    void (*written)(Tcp *tcp, int errno_value);
    /* After tcp_close() or tcp_reset(): the memory is the owner's again. */
    void (*closed)(Tcp *tcp);
    /* After tcp_secure() only. The handshake is done: from here on there is data. */
    void (*secured)(Tcp *tcp);
    /* The client has begun to speak HTTP without TLS. Nothing of that was taken: from here on the
     * connection is one without. NULL: it is broken. */
    void (*plain)(Tcp *tcp);
} TcpOps;

struct Tcp {
    uv_tcp_t uv;
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;
    const TcpOps *ops;
    Loop *loop;
    struct TlsConn *tls; /* NULL: without */
    bool reading;        /* asked to read; false again after the end */
    bool writing;        /* a write is pending */
    bool closing;
};

/* Takes one connection off listener; no delay (Nagle off), nothing is read yet. Errors: ERR_SYSTEM
 * (too many open files, ...); then only ops->closed() follows. Fault point: net.accept. */
MUST_USE ErrCode tcp_accept(TcpListener *listener, const TcpOps *ops, Tcp *tcp, Err *err);
/* Right after tcp_accept(): from now on it is a TLS connection. Nothing is to be written before
 * ops->secured. Errors: ERR_NO_MEMORY. */
MUST_USE ErrCode tcp_secure(Tcp *tcp, TlsContext *context, Err *err);
void tcp_peer(const Tcp *tcp, char out[TCP_ADDRESS_SIZE]);
/* Reads whenever there is something, through ops->room and ops->data. Fault point: net.read. */
void tcp_read(Tcp *tcp);
void tcp_pause(Tcp *tcp);
/* Sends what the kernel takes now, without waiting: *sent bytes of the count pieces (at most
 * TCP_PIECES_MAX). ErrCode is ERR_SYSTEM if the connection is broken. If not all was sent, the rest
 * follows by tcp_write(): with TLS some of it may be encrypted already. Not while a write is
 * pending. Fault point: net.write. */
MUST_USE ErrCode tcp_try_write(Tcp *tcp, const uv_buf_t *pieces, unsigned count, size_t *sent);
/* Sends len bytes of the file fd from offset on, without copying them where there is no TLS, as
 * many as the kernel takes now: *sent, 0 if there is no room. What is left of len follows by
 * tcp_write_file(). Not while a write is pending. Errors: ERR_SYSTEM: the
 * connection is broken; ERR_IO: the file can't be read, or ends before. The process must
 * ignore SIGPIPE. Fault point: net.sendfile. */
MUST_USE ErrCode tcp_send_file(Tcp *tcp, int fd, uint64_t offset, size_t len, size_t *sent,
                               Err *err);
/* The same bytes by tcp_write(), later: they are read into room (len bytes, which stays until
 * ops->written). This is how to wait for room after tcp_send_file(). ERR_IO: nothing is sent. */
MUST_USE ErrCode tcp_write_file(Tcp *tcp, int fd, uint64_t offset, uint8_t *room, size_t len,
                                Err *err);
/* Sends all, later; pieces' bytes stay valid until ops->written. One at a time. */
void tcp_write(Tcp *tcp, const uv_buf_t *pieces, unsigned count);
/* Bytes of the pending write that the kernel has not taken. */
size_t tcp_unsent(const Tcp *tcp);
/* Says that we send no more (close_notify, FIN); reading goes on. */
void tcp_shutdown(Tcp *tcp);
/* Ends it (with TLS by close_notify, unless a write is pending): a pending write is given up, its
 * bytes are no longer looked at; of the callbacks only ops->closed follows, in a later turn of the
 * loop. Does nothing the second time. */
void tcp_close(Tcp *tcp);
/* The same with a reset, so that the other side sees that something is missing. */
void tcp_reset(Tcp *tcp);

#endif
