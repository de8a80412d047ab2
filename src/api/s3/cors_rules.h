/* Rules for requests of pages of other origins, as S3's PutBucketCors has them. They are stored as
 * the XML document that cors_rules_write() makes, which is one that cors_rules_read() reads. Pure.
 */
#ifndef HOLDFAST_API_S3_CORS_RULES_H
#define HOLDFAST_API_S3_CORS_RULES_H

#include "base/arena.h"
#include "base/buf.h"

#define CORS_XML_MAX (64 * KIB) /* bytes of a document */
#define CORS_RULES_MAX 100
#define CORS_ID_MAX 255 /* bytes */

typedef struct CorsItem CorsItem;
struct CorsItem {
    Str text;
    CorsItem *next;
};

typedef struct {
    Str id;            /* ptr NULL: none */
    CorsItem *origins; /* with at most one star; at least one */
    CorsItem *headers; /* with at most one star */
    CorsItem *exposed;
    unsigned methods; /* bits: 1 << number in cors_methods; at least one */
    bool has_max_age;
    uint64_t max_age_s;
} CorsRule;

typedef struct {
    CorsRule *rules;
    size_t count; /* at least 1 */
} CorsRules;

#define CORS_METHODS 5
extern const char *const cors_methods[CORS_METHODS];

/* Views and lists live in arena. ERR_INVALID: *fault is what S3 says, NULL: no such document at
 * all; ERR_NO_MEMORY. */
MUST_USE ErrCode cors_rules_read(Arena *arena, Str xml, CorsRules *out, const char **fault,
                                 Err *err);
/* The document, without a declaration. ERR_TOO_BIG, ERR_NO_MEMORY. */
MUST_USE ErrCode cors_rules_write(const CorsRules *rules, Buf *out, Err *err);
/* The first rule for this origin, method and, with commas between them, names of headers; NULL:
 * none. *any: it is for any origin. */
const CorsRule *cors_rules_find(const CorsRules *rules, Str origin, Str method, Str headers,
                                bool *any);

#endif
