/* Sealed: an entry of the log as its primary sealed it: header, attributes, extents and small body.
 * Immutable and counted, so that the roots of one process that log it share its bytes; what each of
 * them knows of it (its place in the log, links) is in its own Record. The body is counted apart:
 * it is needed only until everybody who has to has logged it. Any thread. */
#ifndef HOLDFAST_STORE_SEALED_H
#define HOLDFAST_STORE_SEALED_H

#include "base/mem.h"
#include "format/config_entry.h"
#include "format/entry.h"

typedef struct {
    _Atomic unsigned refs;
    _Atomic unsigned body_refs; /* ≤ refs: of those who need the body */
    Entry entry;                /* views into head and body */
    Buf head;                   /* encoded header, attributes, extents */
    Buf body;                   /* inline body, while body_refs > 0 */
    ShardConfig *config;        /* OP_CONFIG: what it says; else NULL */
    int64_t files_delta; /* what it makes more or less of its bucket, as who sealed it found */
    int64_t bytes_delta;
} Sealed;

/* Copies the parts of entry, which is sealed; entry.inline_body ≤ INLINE_MAX. With one reference,
 * to the body too. Errors: ERR_NO_MEMORY; ERR_CORRUPT: a CONFIG says nothing that could be one. */
MUST_USE ErrCode sealed_new(const Entry *entry, Sealed **out, Err *err);
/* One more who needs all of it; the body must be there. */
Sealed *sealed_ref(Sealed *sealed);
/* Who needs the body no more. Then sealed->entry.inline_body may be gone. */
void sealed_drop_body(Sealed *sealed);
/* Who needs nothing more and dropped the body before. NULL is fine. */
void sealed_unref(Sealed *sealed);
static inline Str sealed_head(const Sealed *sealed)
{
    return buf_str(&sealed->head);
}
/* Bytes of its record in the log. */
static inline uint32_t sealed_len(const Sealed *sealed)
{
    return (uint32_t)(sealed->head.len + sealed->entry.inline_body.len);
}

AUTO_DEFINE(Sealed, sealed_unref);

#endif
