/* The other side of sigv4.c: what a client sends. */
#include "auth/sigv4.h"

#include <string.h>

#include "base/buf.h"
#include "text/dates.h"

void sigv4_date(uint64_t now_ms, char out[SIGV4_DATE_LEN + 1])
{
    char text[DATE_RFC3339_SIZE]; /* 2013-05-24T00:00:00.000Z */
    size_t used = 0;
    date_format_rfc3339(now_ms, text);
    for (const char *c = text; *c != '\0' && *c != '.'; c++) {
        if (*c != '-' && *c != ':') out[used++] = *c;
    }
    out[used++] = 'Z';
    ASSERT(used == SIGV4_DATE_LEN);
    out[used] = '\0';
}

/* "20130524/REGION/s3/aws4_request" */
static ErrCode append_scope(Buf *out, const SigV4Signer *signer, const char *date, Err *err)
{
    return buf_printf(out, err, "%.8s/%.*s/s3/aws4_request", date, STR_ARG(signer->region));
}

static const Sha256 *signing_key(SigV4Signer *signer, const char *date, Str scope)
{
    if (memcmp(signer->day, date, sizeof signer->day) == 0) return &signer->day_key;
    signer->day_key = sigv4_signing_key(signer->secret, scope);
    memcpy(signer->day, date, sizeof signer->day);
    return &signer->day_key;
}

ErrCode sigv4_headers(SigV4Signer *signer, const SigV4Sent *sent, uint64_t now_ms, Buf *out,
                      Err *err)
{
    static const char names[] = "host;x-amz-content-sha256;x-amz-date";
    AUTO_BUF(text, 16 * 1024);
    AUTO_BUF(scope, 256);
    char date[SIGV4_DATE_LEN + 1];
    char body[2 * SHA256_LEN + 1];
    char hash[2 * SHA256_LEN + 1];
    char signature[SIGV4_SIGNATURE_LEN + 1];
    sigv4_date(now_ms, date);
    hex_encode(sent->body.bytes, SHA256_LEN, body);
    TRY(append_scope(&scope, signer, date, err));
    TRY(buf_printf(&text, err,
                   "%.*s\n%.*s\n%.*s\nhost:%.*s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n%s\n%s",
                   STR_ARG(sent->method), STR_ARG(sent->path), STR_ARG(sent->query),
                   STR_ARG(signer->host), body, date, names, body));
    Sha256 canonical = sha256_of(text.data, text.len);
    hex_encode(canonical.bytes, SHA256_LEN, hash);
    buf_clear(&text);
    TRY(buf_printf(&text, err, "AWS4-HMAC-SHA256\n%s\n%.*s\n%s", date, STR_ARG(buf_str(&scope)),
                   hash));
    sigv4_sign(signing_key(signer, date, buf_str(&scope)), buf_str(&text), signature);
    return buf_printf(out, err,
                      "x-amz-content-sha256: %s\nx-amz-date: %s\nAuthorization: AWS4-HMAC-SHA256 "
                      "Credential=%.*s/%.*s, SignedHeaders=%s, Signature=%s",
                      body, date, STR_ARG(signer->id), STR_ARG(buf_str(&scope)), names, signature);
}
