/* TlsContext: the certificate, key and rules that a server's TLS connections have in common:
 * TLS 1.2 and 1.3, no renegotiation, ALPN http/1.1. Immutable; any thread. A connection keeps the
 * one it began with, so another one may take its place at any time. */
#ifndef HOLDFAST_NET_TLS_H
#define HOLDFAST_NET_TLS_H

#include "net/certificate.h"

/* Bytes at most that a TLS connection takes beside a plain one: OpenSSL's state, and a record each
 * way ... */
#define TLS_CONNECTION_BYTES (64 * KIB)
/* ... and while it answers: what is encrypted and waits for room in the socket. */
#define TLS_REQUEST_BYTES (144 * KIB)
#define TLS_ENDS_SOON_MS                                                                           \
    (30ULL * 24 * 3600 * 1000) /* before that somebody should have a new one                       \
                                */

typedef struct TlsContext TlsContext;

/* Reads the PEM files and sees that they are good at now_ms (wall clock). Errors: ERR_CONFIG,
 * naming setting, file and what is wrong: unreadable, a key of another certificate or that others
 * may read, expired, too weak; ERR_NO_MEMORY. */
MUST_USE ErrCode tls_context_open(const char *cert_file, const char *key_file, uint64_t now_ms,
                                  TlsContext **out, Err *err);
/* One owner more; NULL is fine. */
TlsContext *tls_context_ref(TlsContext *context);
/* One less; the last one frees it. NULL is fine. */
void tls_context_unref(TlsContext *context);
const Certificate *tls_context_certificate(const TlsContext *context);
/* Says which certificate it is: event tls.certificate, tls.certificate_ends where that is soon, and
 * the metric of when it ends. now_ms: of the wall clock. */
void tls_context_tell(const TlsContext *context, uint64_t now_ms);
/* holdfast_tls_... into the list of metrics; once. */
void tls_register_metrics(void);
/* For net/ only. */
SSL_CTX *tls_context_ssl(TlsContext *context);
BIO_METHOD *tls_context_bio(TlsContext *context);

AUTO_DEFINE(TlsContext, tls_context_unref);

#endif
