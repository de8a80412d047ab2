/* HttpForm: takes a multipart/form-data body (RFC 7578) apart as it arrives, without keeping it.
 * Pure, total: any bytes give parts or a refusal, the same ones however they were cut.
 *
 *   for (;;) switch (http_form_next(&form, data, len, &used, &piece, err)) …
 *       PART: http_form_part() tells its name, then come its DATA pieces until the next PART or END
 *       MORE: everything was used, call again with what comes next */
#ifndef HOLDFAST_HTTP_FORM_H
#define HOLDFAST_HTTP_FORM_H

#include "base/buf.h"

#define HTTP_FORM_BOUNDARY_MAX 70          /* bytes (RFC 2046 section 5.1.1) */
#define HTTP_FORM_HEAD_MAX 4096            /* bytes of a part's headers */
#define HTTP_FORM_NAME_MAX 1024            /* bytes of a part's name, or of its file's */
#define HTTP_FORM_MARGIN_MAX (1024 * 1024) /* bytes before the first part, or behind the last */

typedef enum {
    HTTP_FORM_MORE,
    HTTP_FORM_PART,
    HTTP_FORM_DATA, /* *piece: 1 byte or more of the part, valid until the next call */
    HTTP_FORM_END,  /* the last part is whole; bytes that follow are passed over */
    HTTP_FORM_FAILED
} HttpFormNext;

typedef struct {
    unsigned state;
    char delimiter[4 + HTTP_FORM_BOUNDARY_MAX]; /* CR LF - - boundary */
    size_t delimiter_len;
    size_t matched; /* bytes of the delimiter that were the last ones seen */
    size_t margin;  /* bytes passed over */
    size_t head_len;
    char head[HTTP_FORM_HEAD_MAX];
} HttpForm;

/* Is content_type that of a form? */
bool http_form_is(Str content_type);
/* content_type names the boundary. ERR_INVALID: it does not, or not by the rules. */
MUST_USE ErrCode http_form_init(HttpForm *form, Str content_type, Err *err);
/* Takes *used bytes off data. FAILED sets err: ERR_INVALID. */
MUST_USE HttpFormNext http_form_next(HttpForm *form, const char *data, size_t len, size_t *used,
                                     Str *piece, Err *err);
/* Is the last part whole (END was returned)? */
bool http_form_ended(const HttpForm *form);

/* A part's headers; after PART. All empty Bufs of the caller's: name and file_name unquoted;
 * content_type as sent, empty if absent. *is_file: a file name was given. ERR_INVALID: there is no
 * Content-Disposition: form-data with a name; ERR_TOO_BIG. */
typedef struct {
    Buf name;
    Buf file_name;
    Buf content_type;
    bool is_file;
} HttpFormPart;
void http_form_part_init(HttpFormPart *part);
void http_form_part_deinit(HttpFormPart *part);
MUST_USE ErrCode http_form_part(const HttpForm *form, HttpFormPart *part, Err *err);

#endif
