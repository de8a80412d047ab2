/* What a row of the table of routes says about itself, and what the OpenAPI document is printed
 * from: so that none of the two can drift from the other. Parameters, headers and schemas are named
 * in describe.def; codes of problems come from base/err.def. Pure tables, no thread owns them. */
#ifndef HOLDFAST_API_REST_DESCRIBE_H
#define HOLDFAST_API_REST_DESCRIBE_H

#include "base/err.h"

/* Sets of the enums below, one bit each. */
#define BIT(member) (UINT64_C(1) << (member))

typedef enum {
#define PARAM(name, where, wire, type, required, text) PARAM_##name,
#include "api/rest/describe.def"
    PARAM_COUNT
} RestParam;

typedef enum {
#define HEADER(name, wire, text) HEADER_##name,
#include "api/rest/describe.def"
    HEADER_COUNT
} RestHeader;

_Static_assert(PARAM_COUNT <= 64 && HEADER_COUNT <= 64 && ERR_CODE_COUNT <= 64, "sets of 64 bits");

typedef enum {
    BODY_NONE,
    BODY_CONTENT,         /* any bytes */
    BODY_CONTENT_OR_FORM, /* or a form with one part, file */
    BODY_DELETE_MANY,     /* JSON: DeleteMany */
    BODY_SETTINGS,        /* JSON: BucketSettings; may be absent */
    BODY_KEY,             /* JSON: KeyRequest */
    BODY_CLASS,           /* JSON: ClassSettings; may be absent */
    BODY_PIECE,           /* application/offset+octet-stream */
    BODY_FIRST_PIECE      /* the same; may be absent */
} RestBody;

/* An answer that is no refusal. */
typedef struct {
    int status;         /* 0: there is none */
    const char *media;  /* NULL: no body */
    const char *schema; /* of JSON; NULL: any bytes or text */
    uint64_t headers;   /* of RestHeader */
    const char *text;
} RestAnswer;

#define ANSWERS_MAX 4

typedef struct {
    const char *id; /* operationId */
    const char *tag;
    const char *summary;
    const char *text; /* what the summary leaves open; NULL: nothing */
    uint64_t params;  /* of RestParam; those of the path come from the pattern */
    RestBody body;
    RestAnswer answers[ANSWERS_MAX];
    uint64_t errors; /* of ErrCode */
    uint64_t always; /* of RestHeader: any answer may have them, refusals too */
} RestDescription;

#endif
