/* Certificate: a certificate with its chain and its private key, out of PEM files, and what can be
 * said of them before a client does. Immutable once read; any thread. Files are named in texts as
 * the settings are: tls-cert, tls-key. */
#ifndef HOLDFAST_NET_CERTIFICATE_H
#define HOLDFAST_NET_CERTIFICATE_H

#include "base/mem.h"
#include "base/str.h"
#include <openssl/ssl.h>

#define CERTIFICATE_FILE_MAX (1 * MIB) /* bytes of one file */
#define CERTIFICATE_NAMES_SIZE 512
#define CERTIFICATE_DIGEST_SIZE 65 /* 64 hex digits and a NUL */

typedef struct Certificate Certificate;

/* May only its owner, and its group to read, get at the key? Errors: ERR_CONFIG: others may, or the
 * group may write; it is not there, no file, or can't be read. */
MUST_USE ErrCode certificate_key_rights(const char *key_file, Err *err);
/* Reads the certificate of the server, then those between it and an authority, from cert_file, and
 * the key from key_file, which may be the same. Errors: ERR_CONFIG: a file can't be read or
 * understood, the key is under a passphrase or not of this certificate. */
MUST_USE ErrCode certificate_read(const char *cert_file, const char *key_file, Certificate **out,
                                  Err *err);
void certificate_free(Certificate *certificate); /* NULL is fine */
/* Errors: ERR_CONFIG: it is over, or has not begun, at now_ms (of the wall clock). */
MUST_USE ErrCode certificate_check_time(const Certificate *certificate, uint64_t now_ms, Err *err);
uint64_t certificate_not_after_ms(const Certificate *certificate);
/* Would a client that asks for host (a name or an address, without brackets) take it? */
bool certificate_covers(const Certificate *certificate, Str host);
/* "files.example, *.files.example, 192.0.2.1", cut where it is too long; "" if it names nothing. */
void certificate_names(const Certificate *certificate, char out[CERTIFICATE_NAMES_SIZE]);
/* SHA-256 of the server's certificate. */
void certificate_digest(const Certificate *certificate, char out[CERTIFICATE_DIGEST_SIZE]);
/* Gives all of it to context. Errors: ERR_CONFIG: too weak for OpenSSL's settings. */
MUST_USE ErrCode certificate_use(const Certificate *certificate, SSL_CTX *context, Err *err);

AUTO_DEFINE(Certificate, certificate_free);

#endif
