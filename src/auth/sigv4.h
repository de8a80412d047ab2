/* Signature Version 4, as S3 takes it: who signed a request, in its Authorization header or in its
 * query (a presigned address), and what that signature says about the body. Chunks of a body that
 * are signed one by one: aws_chunked.h.
 *
 * What is signed is what came: the path as it stands on the wire; the query's names and values
 * decoded, encoded again in one way and sorted; the headers that the signature names, and each
 * x-amz-… that is there must be among them. Signatures are compared in constant time. Whether a
 * key id is known is told, as S3 does; an id is no secret. Pure: the caller tells the time. */
#ifndef HOLDFAST_AUTH_SIGV4_H
#define HOLDFAST_AUTH_SIGV4_H

#include "auth/auth.h"
#include "base/buf.h"
#include "base/hash.h"
#include "http/parser.h"

#define SIGV4_SKEW_MS (15 * 60 * 1000ULL)      /* a header's date is at most so far from now */
#define SIGV4_EXPIRES_MAX_S (7 * 24 * 3600ULL) /* of a presigned address */
#define SIGV4_REGION_MAX 64                    /* bytes */
#define SIGV4_DATE_LEN 16                      /* "20130524T000000Z" */
#define SIGV4_SIGNATURE_LEN 64                 /* hex digits */
/* "20130524/REGION/s3/aws4_request" */
#define SIGV4_SCOPE_MAX (8 + 1 + SIGV4_REGION_MAX + 1 + 2 + 1 + 12)
#define SIGV4_PARAMS_MAX 100 /* parameters of a query */

/* A request's head, as it came. */
typedef struct {
    Str method;
    Str path;  /* raw */
    Str query; /* raw, without '?' */
    const HttpHeader *headers;
    size_t header_count;
} SigV4Request;

typedef enum {
    SIGV4_OK,
    SIGV4_NONE,            /* nothing is signed */
    SIGV4_OLD,             /* by Signature Version 2 */
    SIGV4_UNKNOWN_SCHEME,  /* an Authorization header of another kind */
    SIGV4_BAD_HEADER,      /* an Authorization header that can't be read */
    SIGV4_BAD_QUERY,       /* the same of a presigned address */
    SIGV4_NO_DATE,         /* neither x-amz-date nor Date */
    SIGV4_NO_BODY_HASH,    /* no x-amz-content-sha256 */
    SIGV4_BAD_BODY_HASH,   /* that can't be read */
    SIGV4_OTHER_ALGORITHM, /* a body that is signed by a key pair (ECDSA) */
    SIGV4_UNKNOWN_KEY,
    SIGV4_UNSIGNED_HEADER, /* host or an x-amz-… is not signed */
    SIGV4_SKEWED,          /* the date is too far from now */
    SIGV4_NOT_YET,         /* a presigned address of later */
    SIGV4_EXPIRED,         /* a presigned address of long ago */
    SIGV4_WRONG,           /* it is not this request that was signed, or not by this key */
    SIGV4_BAD_FORM,        /* the fields of a form that sign its policy can't be read */
    SIGV4_UNSIGNED_PARAM,  /* of an address by Version 2: a parameter that it does not cover */
    SIGV4_TWICE,           /* in a header and in the query */
    SIGV4_TOO_LARGE        /* too much to sign: parameters, headers, memory */
} SigV4Result;

/* What the signature says about the body. */
typedef enum {
    SIGV4_BODY_HASHED,         /* its SHA-256 */
    SIGV4_BODY_UNSIGNED,       /* nothing */
    SIGV4_BODY_CHUNKS,         /* aws-chunked, each chunk signed */
    SIGV4_BODY_CHUNKS_TRAILER, /* and the trailer too */
    SIGV4_BODY_TRAILER         /* aws-chunked with a trailer, nothing signed */
} SigV4Body;

/* A signing key and what it signs next: of chunks and trailers. */
typedef struct {
    Sha256 key;
    char date[SIGV4_DATE_LEN + 1];
    char scope[SIGV4_SCOPE_MAX + 1];
    char previous[SIGV4_SIGNATURE_LEN + 1]; /* the last signature: at first the request's */
} SigV4Chain;

typedef struct {
    Identity identity;
    bool presigned;
    SigV4Body body;
    Sha256 body_hash; /* SIGV4_BODY_HASHED */
    SigV4Chain chain;
    char region[SIGV4_REGION_MAX + 1];
} SigV4;

/* Signing keys of some (key, day, region), which take four HMACs each, found by a hash of those;
 * one takes another's place. One thread's; all zero is empty. A key that is not known any more is
 * refused before it is asked, and no id ever gets another secret. */
#define SIGV4_CACHE_MAX 64
typedef struct {
    struct {
        char id[KEY_ID_LEN + 1];
        char scope[SIGV4_SCOPE_MAX + 1];
        Sha256 key;
    } entries[SIGV4_CACHE_MAX];
} SigV4Cache;
void sigv4_cache_wipe(SigV4Cache *cache);

/* Who signed this request, at now_ms (since 1970)? *out is set for SIGV4_OK only. */
SigV4Result sigv4_check(const AuthKeys *keys, SigV4Cache *cache, const SigV4Request *request,
                        uint64_t now_ms, SigV4 *out);
/* What a form shows of who signed its policy: the fields of these names, values as they came. */
typedef struct {
    Str algorithm;
    Str credential;
    Str date;
    Str signature;
    Str policy; /* what is signed */
} SigV4Policy;
/* The same for a form; its policy says until when. *out has no body and no chain. */
SigV4Result sigv4_check_policy(const AuthKeys *keys, SigV4Cache *cache, const SigV4Policy *shown,
                               uint64_t now_ms, SigV4 *out);
/* For people: what a result means. */
const char *sigv4_text(SigV4Result result);

/* ---- what a client sends (sigv4_client.c) ---- */
#define SIGV4_SECRET_MAX 128 /* bytes, of any server's key */

/* Who signs. Zero but for the views before its first use; one thread's. */
typedef struct {
    Str id;
    Str secret; /* at most SIGV4_SECRET_MAX bytes */
    Str region;
    Str host; /* "HOST:PORT", as the Host header has it */
    char day[8];
    Sha256 day_key;
} SigV4Signer;

typedef struct {
    Str method;
    Str path;  /* encoded, as it is sent */
    Str query; /* encoded, sorted by name, without '?' */
    Sha256 body;
} SigV4Sent;

/* "20130524T000000Z" */
void sigv4_date(uint64_t now_ms, char out[SIGV4_DATE_LEN + 1]);
/* Appends the header lines that sign the request, '\n' between. Errors: as buf_append(). */
MUST_USE ErrCode sigv4_headers(SigV4Signer *signer, const SigV4Sent *sent, uint64_t now_ms,
                               Buf *out, Err *err);

/* The signing key of a scope: HMACs over day, region and service. */
Sha256 sigv4_signing_key(Str secret, Str scope);
/* The signature of string_to_sign by key, as hex digits and a NUL. */
void sigv4_sign(const Sha256 *key, Str string_to_sign, char out[SIGV4_SIGNATURE_LEN + 1]);

#endif
