/* What the files of this folder share.
 *   fsck.c        the order of things; telling
 *   fsck_root.c   root.json, control.json, root.key, names that are nobody's
 *   fsck_index.c  pages; every row, and rows against rows
 *   fsck_log.c    the log, and its joints with the index
 *   fsck_packs.c  packs against the index and back
 *   fsck_blobs.c  blobs against the index and back
 *   repair.c      what mends without losing anything
 *
 * Keys in scratch:
 *   'e' body, extent  -> varint references, SHA-256, size, owner: rows of files name it
 *   'x' body, extent  -> owner: the log beyond the index names it
 *   'd' name's prefix -> newest write, newest delete: a name without a row
 *   'm' row's key     -> empty: a row without a place that a pack record stands for
 *   'Q' path          -> empty: a file to put aside (repair)
 *   'R' row's key     -> u8 1, value: a row to put; u8 0: one to delete (repair) */
#ifndef HOLDFAST_FSCK_FSCK_PRIV_H
#define HOLDFAST_FSCK_FSCK_PRIV_H

#include "base/omap.h"
#include "format/row.h"
#include "fsck/fsck.h"
#include "fsck/scratch.h"
#include "store/root.h"

#define FSCK_MEND_INDEX "holdfast recover --rebuild index"
#define FSCK_MEND_PACKS "holdfast recover --rebuild packs"
#define FSCK_MEND_COPY "holdfast recover --from auto"
#define FSCK_MEND_REPAIR "holdfast fsck --repair"
#define FSCK_RANGES_MAX 65536 /* bad places of packs kept to find their owners */

/* A pack as the index and the file know it. */
typedef struct {
    uint64_t number;
    bool has_row;
    bool has_file;
    bool retired; /* to be unlinked: nothing in it counts */
    PackRow row;
    uint64_t live;         /* bytes that rows of files name */
    uint64_t record_bytes; /* of whole records in the file */
    uint64_t body_bytes;   /* of those that are bodies */
    uint64_t unsure_bytes; /* of those that are none, or carry a request */
    uint64_t records_end;  /* behind the last of them */
    uint64_t torn_at;      /* 0: not */
    uint64_t torn_len;
} FsckPack;

/* A bad place of a pack, until it is known whose it was. */
typedef struct {
    uint64_t pack;
    uint64_t offset;
    uint64_t length;
    const char *kind;
    bool claimed;
    char text[64];
} FsckRange;

typedef struct {
    Lsn lsn;
    Term term;
    bool known;      /* lsn and hash are those of the entry before */
    bool seen;       /* in the log at all */
    bool incomplete; /* a snapshot was begun and is not whole: the index may have anything of it */
    Sha256 hash;
    Lsn commit_lsn;
    /* What the log said from here on does not join the index: damage, unless a TRUNCATE behind it
     * voids it. 0: nothing. */
    Lsn doubted_from;
    Lsn doubted_end; /* it is a CHECKPOINT that says so; 0: an entry */
    char *doubted_path;
    uint64_t doubted_offset;
    uint64_t doubted_len;
} FsckTail;

typedef struct {
    const FsckOptions *options;
    Disk *disk;
    FsckReport report;
    const char *phase;
    uint64_t total; /* bytes to read, about */
    bool repairing;
    RootInfo root;
    bool root_known;
    bool in_use; /* shards were made here once: there must be a log */
    Scratch *scratch;
    OMap *buckets; /* name's text by uid (8 bytes be) */

    Index *index; /* NULL: can't be opened */
    IndexReader *reader;
    bool index_whole; /* every row was read */
    bool pages_bad;
    uint64_t rows_placed;   /* rows with a place in a pack */
    uint64_t rows_unplaced; /* … without */
    uint64_t id_rows;
    uint64_t id_pairs;   /* different (name, file) in rows of names */
    AppliedRow *applied; /* by shard; lsn 0: none */
    FsckTail *tails;     /* by shard */

    FsckPack *packs; /* rising numbers */
    size_t pack_count;
    size_t pack_capacity;
    uint64_t matched;          /* rows_placed whose record is there */
    uint64_t matched_unplaced; /* rows_unplaced of which a pack record tells */
    FsckRange *ranges;
    size_t range_count;
    size_t range_capacity;
    bool packs_bad; /* some record could not be read */
    bool log_bad;
} Fsck;

/* Text for a finding: a fixed buffer. */
#define FSCK_TEXT_MAX 200

MUST_USE ErrCode fsck_tell(Fsck *fsck, const FsckFinding *finding, Err *err);
/* A finding about a whole file, or a place in it, that belongs to nobody. */
MUST_USE ErrCode fsck_say(Fsck *fsck, FsckLevel level, const char *kind, const char *path,
                          uint64_t offset, uint64_t length, const char *mend, Err *err,
                          const char *format, ...) PRINTF_LIKE(9, 10);
void fsck_read(Fsck *fsck, uint64_t bytes);
void fsck_phase(Fsck *fsck, const char *phase);
/* The name of a bucket, or empty. */
Str fsck_bucket_name(const Fsck *fsck, BucketUid bucket);
/* Learns it from a version of a file in the system's name space. */
void fsck_learn_bucket(Fsck *fsck, BucketUid bucket, Str key, Str attrs);
/* Who: into out, with views into key. */
FsckOwner fsck_owner(const Fsck *fsck, BucketUid bucket, Str key, VersionId version, FileId file);
/* Owner as it stands in scratch: bucket, version, file, key. */
void fsck_owner_encode(const FsckOwner *owner, Enc *enc);
bool fsck_owner_decode(const Fsck *fsck, Dec *dec, FsckOwner *out);
#define FSCK_OWNER_MAX (KEY_MAX + 64)
/* The pack's row of the table, made if absent. */
FsckPack *fsck_pack(Fsck *fsck, uint64_t number);
/* A row that repair is to put (value.ptr not NULL) or delete. */
MUST_USE ErrCode fsck_mend_row(Fsck *fsck, Str key, Str value, Err *err);
/* A file that repair is to move to quarantine/. */
MUST_USE ErrCode fsck_mend_file(Fsck *fsck, const char *path, Err *err);
/* Anything but a lack of memory or of descriptors is a place that can't be read: told as damage. */
MUST_USE ErrCode fsck_unreadable(Fsck *fsck, const char *path, ErrCode code, Err *err);

MUST_USE ErrCode fsck_check_root(Fsck *fsck, Err *err);
MUST_USE ErrCode fsck_check_strangers(Fsck *fsck, Err *err);
MUST_USE ErrCode fsck_check_index(Fsck *fsck, Err *err);
MUST_USE ErrCode fsck_check_log(Fsck *fsck, Err *err);
MUST_USE ErrCode fsck_check_packs(Fsck *fsck, Err *err);
MUST_USE ErrCode fsck_check_blobs(Fsck *fsck, Err *err);
/* Goes over all rows of names again for the owners of bad places. */
MUST_USE ErrCode fsck_find_owners(Fsck *fsck, Err *err);
/* Mends what the run found. */
MUST_USE ErrCode fsck_mend(Fsck *fsck, Err *err);
/* Opens everything of a run, runs all checks. */
MUST_USE ErrCode fsck_begin(Fsck *fsck, const FsckOptions *options, Err *err);
MUST_USE ErrCode fsck_checks(Fsck *fsck, Err *err);
void fsck_end(Fsck *fsck);

#endif
