/* Entry: one change of a shard, the same bytes on every replica. A WAL record is a frame (local,
 * format/frame.h) around an entry; a pack holds the core of it again (format/pack.h).
 *
 *   header (fixed) | attributes | extents | inline body
 *   '------------- checksum covers these ------'  the body digest stands for the inline body
 *
 * checksum = SHA-256(header with the checksum field zero, attributes, extents). prev_hash is the
 * checksum of the shard's entry before, so that equal checksums mean equal histories. Pure; any
 * thread. docs/format.md has the byte table. */
#ifndef HOLDFAST_FORMAT_ENTRY_H
#define HOLDFAST_FORMAT_ENTRY_H

#include "base/hash.h"
#include "format/attr.h"
#include "format/ids.h"

#define ENTRY_FORMAT 1
#define ENTRY_HEADER_LEN 224   /* bytes, fixed; asserted in entry.c */
#define INLINE_MAX (64 * 1024) /* body bytes that stay in the log and in packs */
#define EXTENTS_MAX 10000      /* of one body */
/* Largest entry: header, attributes, extents (varints and digests), inline body. */
#define ENTRY_MAX (1024 * 1024)

typedef enum {
    OP_CREATE = 1,   /* a file's first version, or a new file of that name */
    OP_UPDATE = 2,   /* a new version of an existing file */
    OP_DELETE = 3,   /* delete the file, or one version (`target`), or put a delete marker */
    OP_META = 4,     /* new attributes for version `target`: tags, locks */
    OP_CONFIG = 5,   /* members and min_isr of the shard */
    OP_START = 6,    /* a primary's first entry in its term */
    OP_CLOSE = 7,    /* bucket: no more writes here (two-phase deletion) */
    OP_REOPEN = 8,   /* bucket: deletion was given up */
    OP_SNAPSHOT = 9, /* the shard's state begins here, without lineage before */
    OP_NOOP = 10
} Op;
/* An operation above what this binary knows is refused (ERR_FORMAT_VERSION), never skipped. */
#define OP_MAX OP_NOOP

enum {
    ENTRY_FLAG_DELETE_MARKER = 1 << 0, /* OP_DELETE adds a marker version instead of removing */
    ENTRY_FLAG_NULL_VERSION = 1 << 1,  /* the version is the name's "null" version; with a target:
                                          that was it */
    ENTRY_FLAG_KEEP_OLDER = 1 << 2,    /* bucket has versions on: older ones stay */
    ENTRY_FLAG_DIGEST_KNOWN = 1 << 3,  /* body_digest is set (multipart: null until read) */
    ENTRY_FLAG_ALL_VERSIONS = 1 << 4,  /* OP_DELETE removes every version of the file, with a target
                                          none newer; OP_CREATE takes the place of all there are */
};

/* A stretch of a body in its own blob file: blobs/ab/cd/BODY.EXTENT. `body` may be another body's
 * (a part, a copy), `number` that body's extent. */
typedef struct {
    BodyId body;
    uint32_t number;
    uint64_t size; /* plain bytes in it */
    Sha256 digest; /* of the plain bytes; zero if not known */
} Extent;
#define EXTENT_LEN 60

typedef struct {
    Op op;
    ShardId shard;
    uint16_t flags;
    Term term;
    Lsn lsn;
    Id128 record_id; /* random, this record's own */
    FileId file;
    BucketUid bucket;
    VersionId target;   /* DELETE and META: the version meant; else zero */
    uint64_t time_ms;   /* wall clock of the primary; orders nothing */
    BodyId body;        /* zero without a body */
    uint64_t size;      /* plain bytes of the body */
    Sha256 body_digest; /* with ENTRY_FLAG_DIGEST_KNOWN */
    Sha256 prev_hash;   /* zero for lsn 1 */
    Sha256 checksum;    /* set by entry_seal(), checked by entry_decode() */
    Str attrs;          /* encoded attributes (views) */
    Str extents;        /* extent_count × EXTENT_LEN */
    uint32_t extent_count;
    Str inline_body; /* ≤ INLINE_MAX; empty with extents */
} Entry;

/* Bytes entry_encode() needs. */
size_t entry_len(const Entry *entry);
/* Computes entry->checksum over header, attributes and extents. */
void entry_seal(Entry *entry);
/* Appends the entry (sealed) to enc; enc->failed if it does not fit. */
void entry_encode(const Entry *entry, Enc *enc);
/* The same without the inline body's bytes, for callers that hand those on apart. */
void entry_encode_head(const Entry *entry, Enc *enc);
/* Reads one entry that fills data exactly; *out holds views into data. Verifies lengths, attributes
 * and the checksum, and with check_body the inline body against its digest.
 * Errors: ERR_CORRUPT; ERR_FORMAT_VERSION for a newer format or an unknown operation. */
MUST_USE ErrCode entry_decode(Str data, bool check_body, Entry *out, Err *err);
/* The same without looking at checksum and digest, for bytes that entry_decode() has verified. */
MUST_USE ErrCode entry_parse(Str data, Entry *out, Err *err);
/* Does entry, a later change of the same name, end its version of that id? The one rule of what a
 * name holds, for whoever applies, looks up, counts or checks:
 *
 *   CREATE, UPDATE            all; with KEEP_OLDER and NULL_VERSION the null version, with
 *                             KEEP_OLDER alone none
 *   DELETE                    all
 *   DELETE, DELETE_MARKER     with NULL_VERSION the null version
 *   DELETE of a target        the target; with NULL_VERSION null versions before it, too, and with
 *                             ALL_VERSIONS all before it. Nobody holds such ones when it is
 *                             decided, but packs may: what the target had ended stays ended when
 *                             its own record is gone. */
bool entry_ends(const Entry *entry, VersionId version, bool null_version);
/* Is the version that entry makes (a write or a delete marker) the null version: what a name has
 * one of, because versions were off or suspended? */
bool entry_makes_null(const Entry *entry);
/* The key, or an empty Str. */
Str entry_key(const Entry *entry);
/* Extent i of entry (i < extent_count). */
Extent extent_at(Str extents, uint32_t i);
void extent_encode(const Extent *extent, Enc *enc);
const char *op_name(Op op); /* "CREATE" … "NOOP"; "?" for a number that is none */

#endif
