/* What reading a signature (sigv4_read.c) and checking it (sigv4.c) share. */
#ifndef HOLDFAST_AUTH_SIGV4_PRIV_H
#define HOLDFAST_AUTH_SIGV4_PRIV_H

#include "auth/sigv4.h"
#include "base/buf.h"

/* What a request shows. Views into it, or into text. */
typedef struct {
    bool presigned;
    Str key_id;
    Str scope; /* without the key id */
    Str region;
    Str date;
    Str signed_headers; /* "host;x-amz-date" */
    Str signature;
    Str body_hash;      /* as it was sent; ptr NULL: not said */
    uint64_t expires_s; /* presigned */
    uint64_t date_ms;
    Buf text; /* decoded parameters */
} SigV4Shown;

/* Reads what the request shows; its form only. */
SigV4Result sigv4_read(const SigV4Request *request, SigV4Shown *out);
/* The same of a form. */
SigV4Result sigv4_read_policy(const SigV4Policy *policy, SigV4Shown *out);
/* The first header of that name; ptr NULL: there is none. */
Str sigv4_header(const SigV4Request *request, Str name);
/* Appends a raw value of a query decoded. False: a % without two digits, or no room. */
bool sigv4_decode(Buf *out, Str raw);
/* Names and values of a raw query, decoded and encoded again, sorted: appends "a=1&b=". The
 * signature's own is left out. */
SigV4Result sigv4_canonical_query(Str query, Buf *out);

#endif
