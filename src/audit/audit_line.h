/* The layout of the audit log, described in src/audit/README.md: what one line is, how it carries
 * the digest of the line before, and the anchor that attests where the chain begins and ends. */
#ifndef HOLDFAST_AUDIT_AUDIT_LINE_H
#define HOLDFAST_AUDIT_AUDIT_LINE_H

#include "base/buf.h"
#include "base/hash.h"

#define AUDIT_LINE_MAX (64 * KIB) /* bytes of a line with its newline */
#define AUDIT_KEY_LEN 32
#define AUDIT_NAME_SIZE 40 /* of a file's name and its NUL */
#define AUDIT_ANCHOR "anchor.json"
#define AUDIT_ANCHOR_MAX 1024 /* bytes of that file */

typedef struct {
    uint8_t bytes[AUDIT_KEY_LEN];
} AuditKey;

typedef struct {
    uint64_t seq; /* from 1 */
    Sha256 prev;  /* of the line before; of line 1: audit_start() */
} AuditLine;

/* What is attested by the key: nothing from first_seq to last_seq was cut or changed. */
typedef struct {
    uint64_t first_seq; /* of the oldest file's first line; 1 as long as nothing was removed */
    Sha256 first_prev;  /* that line's prev */
    uint64_t last_seq;  /* 0: no line yet */
    Sha256 last;        /* digest of that line; with last_seq 0 audit_start() */
} AuditAnchor;

/* The prev of line 1: nobody without the key can begin another chain. */
Sha256 audit_start(const AuditKey *key);
/* Digest of a line without its newline. */
Sha256 audit_digest(Str line);
/* `{"seq":7` is in line; appends the members' end: ,"prev":"…"} and a newline. ERR_TOO_BIG. */
MUST_USE ErrCode audit_line_begin(Buf *line, uint64_t seq, Err *err);
MUST_USE ErrCode audit_line_end(Buf *line, const Sha256 *prev, Err *err);
/* A line without its newline; false: it is none. */
bool audit_line_parse(Str line, AuditLine *out);

/* "audit-000000000007.jsonl" */
void audit_file_name(uint64_t number, char out[AUDIT_NAME_SIZE]);
bool audit_file_number(const char *name, uint64_t *number);

MUST_USE ErrCode audit_anchor_encode(const AuditAnchor *anchor, const AuditKey *key, Buf *out,
                                     Err *err);
/* ERR_CORRUPT: it is none, or was not made with this key. */
MUST_USE ErrCode audit_anchor_decode(Str text, const AuditKey *key, AuditAnchor *out, Err *err);

#endif
