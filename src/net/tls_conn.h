/* TlsConn: TLS between a Tcp and its owner. For tcp.c only, which asks here where a connection has
 * one; the owner sees the same operations and callbacks as without.
 *
 * OpenSSL reads straight from the socket and writes records into room that the connections of a
 * loop share (up to eight of 16 KiB), which goes to the kernel by one send before anything else is
 * done. What the kernel does not take is copied, belongs to the connection, and until it is gone
 * nothing more is encrypted; so a connection holds at most that room's worth.
 *
 *   HANDSHAKE ─done, ops->secured─▶ OPEN ─close_notify, EOF: ops->end─▶ OPEN
 *    │ │ first byte is a letter: ops->plain, and it is a plain Tcp from then on
 *    └─┴─failed: ops->broken──────────▶ BROKEN */
#ifndef HOLDFAST_NET_TLS_CONN_H
#define HOLDFAST_NET_TLS_CONN_H

#include "net/tcp.h"
#include <openssl/bio.h>

typedef struct TlsConn TlsConn;

/* NULL: no memory. */
BIO_METHOD *tls_conn_bio_method(void);

/* tcp was accepted, and reads nothing yet; it is the owner's, context may go. ERR_NO_MEMORY. */
MUST_USE ErrCode tls_conn_new(Tcp *tcp, TlsContext *context, TlsConn **out, Err *err);
/* After the socket was closed. False: it is freed later, and tcp->ops->closed follows then. */
MUST_USE bool tls_conn_free(TlsConn *tls);

/* The socket can be read, and tcp is reading. May end with another tcp->tls. */
void tls_conn_readable(TlsConn *tls);
/* tcp reads again: what is in OpenSSL's hands already comes in a later turn. */
void tls_conn_resume(TlsConn *tls);
/* Like the tcp_ function of that name. */
MUST_USE ErrCode tls_conn_try_write(TlsConn *tls, const uv_buf_t *pieces, unsigned count,
                                    size_t *sent);
MUST_USE ErrCode tls_conn_send_file(TlsConn *tls, int fd, uint64_t offset, size_t len, size_t *sent,
                                    Err *err);
void tls_conn_write(TlsConn *tls, const uv_buf_t *pieces, unsigned count);
size_t tls_conn_unsent(const TlsConn *tls);
/* close_notify, then FIN. */
void tls_conn_shutdown(TlsConn *tls);
/* Before the socket is closed: close_notify, if all that was written is out. */
void tls_conn_bye(TlsConn *tls);

/* tcp.c: whether libuv looks at the socket, whatever tcp->reading says. */
void tcp_watch(Tcp *tcp, bool on);
/* tcp.c: FIN behind all that was handed to libuv. */
void tcp_finish(Tcp *tcp);

/* holdfast_tls_... in the list of metrics. Once. */
void tls_conn_register_metrics(void);

#endif
