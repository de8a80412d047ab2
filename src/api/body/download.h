/* Download: a large file on its way out, for any door. Each byte is verified before it is sent.
 * Belongs to the loop of its request, and ends with it: the door frees it in on_end(). */
#ifndef HOLDFAST_API_BODY_DOWNLOAD_H
#define HOLDFAST_API_BODY_DOWNLOAD_H

#include "http/range.h"
#include "http/server.h"
#include "service/service.h"

#define DOWNLOAD_PART_TEXT_MAX 512 /* bytes before one of several ranges */

typedef struct Download Download;

/* First member of a request's context (http_request_own()), so that what is written comes back to
 * its download. */
typedef struct {
    Download *download; /* NULL: there is none */
} DownloadSlot;

/* What the door does when it is its turn; each on the request's loop. */
typedef struct {
    /* The first byte is verified: adds the headers of the answer. */
    void (*headers)(DownloadSlot *ctx);
    /* What stands before range `at` of several, or, at == span_count, behind the last; its length.
     * NULL: there is one range. */
    size_t (*part_text)(DownloadSlot *ctx, size_t at, char out[DOWNLOAD_PART_TEXT_MAX]);
    /* Before anything was sent the extents were gone: the file was replaced meanwhile. Empties
     * the slot, frees the download and looks again. NULL: it was looked up often enough. */
    void (*again)(DownloadSlot *ctx);
    /* Answers with code; nothing was sent. */
    void (*refuse)(DownloadSlot *ctx, ErrCode code, const Err *err);
    /* bytes were sent, all of them if code is OK: to note it, before the request ends. */
    void (*ended)(DownloadSlot *ctx, ErrCode code, uint64_t bytes);
} DownloadDoor;

typedef struct {
    HttpRequest *req;
    Service *service;
    ServiceReader *reader; /* the loop's */
    Buffers *buffers;
    DownloadDoor door;
    DownloadSlot *ctx; /* the request's context; its slot is empty */
    FileRow row;       /* its extents and attributes are not looked at */
    Str bucket;        /* name; stays until the request ends, like the key */
    Str key;
    Extent *extents; /* row.extent_count of them; heap memory, taken over */
    uint64_t from;   /* from ≤ byte < end is sent … */
    uint64_t end;
    const HttpSpan *spans; /* … or these, with part_text between; they stay */
    size_t span_count;     /* 0: from..end */
    uint64_t length;       /* of the whole answer */
    int status;            /* 200 or 206 */
} DownloadOptions;

/* Takes the slot before it calls anything. */
void download_start(const DownloadOptions *options);
void download_free(Download *d); /* NULL is fine */
void download_metrics_register(void);

#endif
