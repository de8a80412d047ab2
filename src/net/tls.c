#include "net/tls.h"

#include "base/log.h"
#include "base/metric.h"
#include "net/tls_conn.h"
#include "text/dates.h"
#include <inttypes.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <string.h>

/* Forward secrecy and an AEAD; TLS 1.3 has nothing else anyway. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct TlsContext {
    _Atomic size_t owners;
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    Certificate *certificate;
};

/* We speak HTTP/1.1, and so says who offers it among others. Who offers only other protocols means
 * another server. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    UNUSED(ssl);
    UNUSED(arg);
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_rules(SSL_CTX *ssl)
{
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | /* HTTP knows its lengths */
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_read_ahead(ssl, 1); /* head and body of a record in one read */
    /* Clients resume by tickets, which cost the server no memory. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ssl, CIPHERS_1_2) == 1 && SSL_CTX_set_num_tickets(ssl, 1) == 1;
}

ErrCode tls_context_open(const char *cert_file, const char *key_file, uint64_t now_ms,
                         TlsContext **out, Err *err)
{
    AUTO(Certificate, certificate_free) certificate = NULL;
    TRY(certificate_key_rights(key_file, err));
    TRY(certificate_read(cert_file, key_file, &certificate, err));
    TRY(certificate_check_time(certificate, now_ms, err));
    AUTO(TlsContext, tls_context_unref) context = mem_new(sizeof *context);
    atomic_store(&context->owners, 1);
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->bio = tls_conn_bio_method();
    if (context->ssl == NULL || context->bio == NULL || !set_rules(context->ssl)) {
        ERR_clear_error();
        return err_set(err, ERR_NO_MEMORY, "OpenSSL can't be set up");
    }
    TRY(certificate_use(certificate, context->ssl, err));
    context->certificate = TAKE(certificate);
    *out = TAKE(context);
    return OK;
}

TlsContext *tls_context_ref(TlsContext *context)
{
    if (context != NULL) atomic_fetch_add(&context->owners, 1);
    return context;
}

void tls_context_unref(TlsContext *context)
{
    if (context == NULL || atomic_fetch_sub(&context->owners, 1) > 1) return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    certificate_free(context->certificate);
    mem_free(context);
}

const Certificate *tls_context_certificate(const TlsContext *context)
{
    return context->certificate;
}

static Metric metric_ends = {.kind = METRIC_GAUGE,
                             .name = "holdfast_tls_certificate_expiry_timestamp_seconds",
                             .help = "When the certificate of the server ends; 0 without TLS.",
                             .labels = ""};

void tls_register_metrics(void)
{
    metric_register(&metric_ends);
    tls_conn_register_metrics();
}

void tls_context_tell(const TlsContext *context, uint64_t now_ms)
{
    char names[CERTIFICATE_NAMES_SIZE];
    char digest[CERTIFICATE_DIGEST_SIZE];
    char date[DATE_RFC3339_SIZE];
    uint64_t ends_ms = certificate_not_after_ms(context->certificate);
    certificate_names(context->certificate, names);
    certificate_digest(context->certificate, digest);
    date_format_rfc3339(ends_ms, date);
    metric_set(&metric_ends, (int64_t)(ends_ms / 1000));
    LOG_TO(OPERATIONS, INFO, "tls.certificate", "names=" LOG_STR " ends=%s sha256=%s",
           LOG_CSTR(names), date, digest);
    if (ends_ms < now_ms + TLS_ENDS_SOON_MS) {
        LOG_TO(OPERATIONS, WARN, "tls.certificate_ends", "ends=%s days=%" PRIu64, date,
               (ends_ms - MIN(now_ms, ends_ms)) / UINT64_C(86400000));
    }
}

SSL_CTX *tls_context_ssl(TlsContext *context)
{
    return context->ssl;
}

BIO_METHOD *tls_context_bio(TlsContext *context)
{
    return context->bio;
}
