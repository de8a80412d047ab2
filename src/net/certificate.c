#include "net/certificate.h"

#include "text/dates.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST_SIZE 256

struct Certificate {
    char *cert_file; /* for texts */
    X509 *own;
    STACK_OF(X509) * chain; /* without it */
    EVP_PKEY *key;
    uint64_t from_ms;
    uint64_t until_ms;
};

/* What OpenSSL says of the last failure; its list of errors is empty afterwards. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return text != NULL ? text : "OpenSSL does not say why";
}

/* ---- files ---- */

static ErrCode open_file(const char *setting, const char *path, int *out, struct stat *st, Err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return err_set(err, ERR_CONFIG, "%s %s: can't be read: %s", setting, path,
                       strerrordesc_np(errno));
    }
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
        close(fd);
        return err_set(err, ERR_CONFIG, "%s %s: is no file", setting, path);
    }
    *out = fd;
    return OK;
}

ErrCode certificate_key_rights(const char *key_file, Err *err)
{
    struct stat st;
    int fd;
    TRY(open_file("tls-key", key_file, &fd, &st, err));
    close(fd);
    if ((st.st_mode & 027) == 0) return OK;
    return err_set(err, ERR_CONFIG,
                   "tls-key %s: others than its owner may get at it (mode %o); chmod 600 (or 640) "
                   "and, if others had it, take a new key",
                   key_file, (unsigned)st.st_mode & 07777);
}

/* The text of the file, to be freed by BIO_free_all(); cleared before that if it has a key. */
static ErrCode read_file(const char *setting, const char *path, BIO **out, Err *err)
{
    struct stat st;
    int fd;
    TRY(open_file(setting, path, &fd, &st, err));
    BIO *bio = BIO_new(BIO_s_secmem());
    ErrCode code = OK;
    size_t sum = 0;
    char piece[4096];
    while (code == OK) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) break;
        sum += (size_t)MAX(got, (ssize_t)0);
        if (got < 0) {
            code = err_set(err, ERR_CONFIG, "%s %s: can't be read: %s", setting, path,
                           strerrordesc_np(errno));
        } else if (sum > CERTIFICATE_FILE_MAX || BIO_write(bio, piece, (int)got) != (int)got) {
            code = err_set(err, ERR_CONFIG, "%s %s: is too large", setting, path);
        }
    }
    explicit_bzero(piece, sizeof piece);
    close(fd);
    if (code != OK)
        BIO_free_all(bio);
    else
        *out = bio;
    return code;
}

/* ---- reading ---- */

static int no_passphrase(char *buf, int size, int writing, void *asked)
{
    UNUSED(buf);
    UNUSED(size);
    UNUSED(writing);
    *(bool *)asked = true;
    return -1;
}

static ErrCode read_key(const char *path, EVP_PKEY **out, Err *err)
{
    BIO *bio = NULL;
    bool asked = false;
    TRY(read_file("tls-key", path, &bio, err));
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    BIO_free_all(bio);
    if (key == NULL && asked) {
        ERR_clear_error();
        return err_set(err, ERR_CONFIG,
                       "tls-key %s: is under a passphrase, which nobody is there to enter; "
                       "openssl pkey -in OLD -out NEW takes it off",
                       path);
    }
    if (key == NULL) {
        return err_set(err, ERR_CONFIG, "tls-key %s: holds no private key in PEM: %s", path,
                       reason());
    }
    *out = key;
    return OK;
}

/* The first certificate is the server's, what follows leads to an authority. */
static ErrCode read_chain(const char *path, Certificate *out, Err *err)
{
    BIO *bio = NULL;
    TRY(read_file("tls-cert", path, &bio, err));
    ERR_clear_error();
    out->own = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    X509 *next = NULL;
    bool full = false;
    while (out->own != NULL && !full && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        full = sk_X509_push(out->chain, next) <= 0;
    BIO_free_all(bio);
    if (full) X509_free(next);
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (out->own == NULL && at_end) {
        ERR_clear_error();
        return err_set(err, ERR_CONFIG, "tls-cert %s: holds no certificate in PEM", path);
    }
    if (out->own == NULL || full || !at_end) {
        return err_set(err, ERR_CONFIG, "tls-cert %s: certificate %d in it is damaged: %s", path,
                       out->own == NULL ? 1 : sk_X509_num(out->chain) + 2, reason());
    }
    ERR_clear_error();
    return OK;
}

/* Milliseconds since 1970; 0 for what is before, or can't be understood. */
static uint64_t time_ms(const ASN1_TIME *time)
{
    int days = 0;
    int seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool good = epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1;
    ASN1_TIME_free(epoch);
    if (!good || days < 0 || seconds < 0) return 0;
    return ((uint64_t)days * 86400 + (uint64_t)seconds) * 1000;
}

ErrCode certificate_read(const char *cert_file, const char *key_file, Certificate **out, Err *err)
{
    AUTO(Certificate, certificate_free) made = mem_new(sizeof *made);
    made->cert_file = mem_dup_cstr(cert_file);
    made->chain = sk_X509_new_null();
    TRY(read_chain(cert_file, made, err));
    TRY(read_key(key_file, &made->key, err));
    if (X509_check_private_key(made->own, made->key) != 1) {
        ERR_clear_error();
        return err_set(err, ERR_CONFIG, "tls-key %s: is not the key of the first certificate in %s",
                       key_file, cert_file);
    }
    made->from_ms = time_ms(X509_get0_notBefore(made->own));
    made->until_ms = time_ms(X509_get0_notAfter(made->own));
    *out = TAKE(made);
    return OK;
}

void certificate_free(Certificate *certificate)
{
    if (certificate == NULL) return;
    X509_free(certificate->own);
    sk_X509_pop_free(certificate->chain, X509_free);
    EVP_PKEY_free(certificate->key);
    mem_free(certificate->cert_file);
    mem_free(certificate);
}

/* ---- what it says ---- */

ErrCode certificate_check_time(const Certificate *certificate, uint64_t now_ms, Err *err)
{
    char date[DATE_HTTP_SIZE];
    if (now_ms >= certificate->until_ms) {
        date_format_http(certificate->until_ms, date);
        return err_set(err, ERR_CONFIG, "tls-cert %s: has expired, on %s", certificate->cert_file,
                       date);
    }
    if (now_ms < certificate->from_ms) {
        date_format_http(certificate->from_ms, date);
        return err_set(err, ERR_CONFIG,
                       "tls-cert %s: is valid from %s on only (is the clock right?)",
                       certificate->cert_file, date);
    }
    return OK;
}

uint64_t certificate_not_after_ms(const Certificate *certificate)
{
    return certificate->until_ms;
}

bool certificate_covers(const Certificate *certificate, Str host)
{
    char text[HOST_SIZE];
    if (host.len == 0 || !str_to_cstr(host, text, sizeof text)) return false;
    bool covers = X509_check_ip_asc(certificate->own, text, 0) == 1 ||
                  X509_check_host(certificate->own, text, 0, 0, NULL) == 1;
    ERR_clear_error();
    return covers;
}

/* One name as text; false: of a kind that no client of ours looks at. */
static bool name_text(const GENERAL_NAME *name, char out[HOST_SIZE])
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    if (type != GEN_DNS && type != GEN_IPADD) return false; /* not even a string */
    const uint8_t *bytes = ASN1_STRING_get0_data(value);
    int len = ASN1_STRING_length(value);
    if (type == GEN_DNS) {
        snprintf(out, HOST_SIZE, "%.*s", len, (const char *)bytes);
        return true;
    }
    if (len != 4 && len != 16) return false;
    if (len == 4) {
        snprintf(out, HOST_SIZE, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2], bytes[3]);
        return true;
    }
    size_t at = 0;
    for (int i = 0; i < len; i += 2) {
        at += (size_t)snprintf(out + at, HOST_SIZE - at, "%s%x", i == 0 ? "" : ":",
                               (unsigned)bytes[i] << 8 | bytes[i + 1]);
    }
    return true;
}

void certificate_names(const Certificate *certificate, char out[CERTIFICATE_NAMES_SIZE])
{
    size_t at = 0;
    out[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate->own, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        char text[HOST_SIZE];
        if (!name_text(sk_GENERAL_NAME_value(names, i), text)) continue;
        if (at + strlen(text) + 8 > CERTIFICATE_NAMES_SIZE) {
            snprintf(out + at, CERTIFICATE_NAMES_SIZE - at, ", ...");
            break;
        }
        at += (size_t)snprintf(out + at, CERTIFICATE_NAMES_SIZE - at, "%s%s", at == 0 ? "" : ", ",
                               text);
    }
    GENERAL_NAMES_free(names);
}

void certificate_digest(const Certificate *certificate, char out[CERTIFICATE_DIGEST_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool good = X509_digest(certificate->own, EVP_sha256(), digest, &len) == 1 && len == 32;
    memset(out, 0, CERTIFICATE_DIGEST_SIZE);
    if (good) hex_encode(digest, len, out);
}

ErrCode certificate_use(const Certificate *certificate, SSL_CTX *context, Err *err)
{
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(context, certificate->own, certificate->key, certificate->chain,
                                 1) == 1)
        return OK;
    return err_set(err, ERR_CONFIG, "tls-cert %s: OpenSSL does not take it: %s",
                   certificate->cert_file, reason());
}
