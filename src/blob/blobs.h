/* Blobs: large bodies of one root, one file an extent (format/blob_file.h). Each writer and reader
 * belongs to one thread at a time; the Blobs to any. */
#ifndef HOLDFAST_BLOB_BLOBS_H
#define HOLDFAST_BLOB_BLOBS_H

#include "disk/file_map.h"
#include "format/blob_file.h"
#include "format/entry.h"

typedef struct Blobs Blobs;
typedef struct BlobWriter BlobWriter;
typedef struct BlobReader BlobReader;

typedef struct {
    Uuid root;
    uint32_t chunk_size; /* bytes, 64 KiB..4 MiB, multiple of 4096; 0: 256 KiB */
} BlobsOptions;

/* Makes blobs/ and staging/ if absent; empties staging/ (what is there was never acknowledged). */
MUST_USE ErrCode blobs_open(Disk *disk, const BlobsOptions *options, Blobs **out, Err *err);
void blobs_free(Blobs *blobs);

/* From now on what blob_writer_open() begins is written by threads of these Blobs, so that a disk
 * that stands still for BODY_POOL_STILL_NS is not waited for: as a mirror it has no copy then; else
 * the writer ends with ERR_BUSY, as it does when that disk fails. ERR_SYSTEM. */
MUST_USE ErrCode blobs_start_pool(Blobs *blobs, Err *err);
/* Every writer has been freed. Waits for the disk. */
void blobs_stop_pool(Blobs *blobs);
/* Whether the others went on without this root: what it was given is not waited for any more. Any
 * thread, between start and stop. */
void blobs_leave(Blobs *blobs, bool left);
/* For how long the disk has not done what those threads wait for; 0: it works. Any thread. */
uint64_t blobs_still_ns(Blobs *blobs);

/* Begins extent number `extent` of body in staging/. Nothing is visible before finish. */
MUST_USE ErrCode blob_writer_open(Blobs *blobs, BodyId body, uint32_t extent, BlobWriter **out,
                                  Err *err);
/* The same, by this thread alone, pool or not: who does nothing else waits for the disk. */
MUST_USE ErrCode blob_writer_open_here(Blobs *blobs, BodyId body, uint32_t extent, BlobWriter **out,
                                       Err *err);
/* The same bytes go into other, too, another root's of the same chunk size: hashed once, written to
 * each, made durable at the same time. What fails there ends only that copy, see
 * blob_writer_mirror(). Before the first write; at most BLOB_MIRRORS_MAX. ERR_IO, ERR_NO_SPACE …:
 * it is not mirrored there. */
#define BLOB_MIRRORS_MAX 2
MUST_USE ErrCode blob_writer_add_mirror(BlobWriter *writer, Blobs *other, Err *err);
unsigned blob_writer_mirror_count(const BlobWriter *writer);
/* What became of mirror i, which is one of *of: OK, or why it has no copy, with the text in err;
 * ERR_ROOT_FAILED as blob_writer_finish() says. */
ErrCode blob_writer_mirror(const BlobWriter *writer, unsigned i, Blobs **of, Err *err);
/* Copies the extent that from reads into to, by this thread, verified on the way, as durable as
 * after blob_writer_finish(). *from_bad: it is from that failed. ERR_CORRUPT, ERR_IO, ERR_NO_SPACE,
 * ERR_ROOT_FAILED. */
MUST_USE ErrCode blob_copy(BlobReader *from, Blobs *to, bool *from_bad, Err *err);
/* The same in place of a damaged file of that extent, which goes to quarantine/ right before the
 * copy, whole by then, takes its name. ERR_BUSY: somebody else copies it. */
MUST_USE ErrCode blob_mend(Blobs *to, BlobReader *from, bool *from_bad, Err *err);

/* Adds bytes: hashes them (SHA-256), cuts chunks, writes. ERR_NO_SPACE, ERR_IO, ERR_NO_MEMORY;
 * ERR_TOO_BIG beyond EXTENT_SIZE_MAX, after which shorter writes are still taken. After any other
 * error the writer is only freed. */
MUST_USE ErrCode blob_writer_write(BlobWriter *writer, const void *data, size_t len, Err *err);
uint64_t blob_writer_size(const BlobWriter *writer);

typedef struct {
    ShardId shard;
    BucketUid bucket;
    uint64_t time_ms;
    Str attrs; /* of which the footer keeps the first BLOB_FOOTER_ATTRS_MAX bytes */
} BlobInfo;
/* Digest of all bytes so far; the writer takes no more afterwards. May be asked again. */
void blob_writer_digest(BlobWriter *writer, Sha256 *out);
/* Writes table and footer, syncs the file, renames it into blobs/ab/cd/, syncs the directories. On
 * OK the extent is durable (but an orphan until an entry names it). The writer is then only freed.
 * Mirrors that did not fail are as durable by then.
 * Errors: ERR_NO_SPACE, ERR_SYSTEM: only this extent is lost, with its copies. ERR_IO: so is it, in
 * a write. ERR_ROOT_FAILED: a sync or what follows it failed: the root must be given up (rule 1 of
 * TESTING.md), and these Blobs finish nothing more. */
MUST_USE ErrCode blob_writer_finish(BlobWriter *writer, const BlobInfo *info, Extent *out,
                                    Err *err);
/* Unlinks what is in staging unless finished. NULL is fine. */
void blob_writer_free(BlobWriter *writer);

/* Opens an extent, verifies footer and table and that it is the one asked for. The whole table is
 * not kept in memory: rows are read as needed. ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
MUST_USE ErrCode blob_reader_open(Blobs *blobs, BodyId body, uint32_t extent, BlobReader **out,
                                  Err *err);
/* The same past the page cache (DISK_OPEN_DIRECT), for scrub. */
MUST_USE ErrCode blob_reader_open_direct(Blobs *blobs, BodyId body, uint32_t extent,
                                         BlobReader **out, Err *err);
const BlobFooter *blob_reader_footer(const BlobReader *reader);
/* Plain bytes of chunk number i (below footer->chunk_count) into data (footer->chunk_size bytes of
 * room), verified against its CRC32C; *len bytes. ERR_CORRUPT, ERR_IO. */
MUST_USE ErrCode blob_reader_chunk(BlobReader *reader, uint64_t i, void *data, size_t *len,
                                   Err *err);
/* For sendfile of plain extents: the file's descriptor or -1. */
int blob_reader_fd(const BlobReader *reader);
void blob_reader_free(BlobReader *reader);

/* Where an extent is: blobs/ab/cd/BODY.EXTENT; the directories are the body's first characters,
 * which are random. */
#define BLOB_PATH_MAX 80
void blob_path(BodyId body, uint32_t extent, char out[BLOB_PATH_MAX]);

#define BLOB_WINDOW_MAX (2 * MIB)

/* Whole chunks of an extent, mapped (disk/file_map.h): verified once, they are what sendfile sends
 * until the window is closed. Belongs to the thread that has the reader, which must outlive it. */
typedef struct {
    FileMap map;
    uint64_t offset; /* of its first byte, in the extent and in its file */
    size_t len;      /* bytes */
} BlobWindow;

/* Maps chunk number i and as many behind it as fit BLOB_WINDOW_MAX. ERR_BUSY: read them instead
 * (no memory may be locked, chunks larger than a window, no such file descriptor). */
MUST_USE ErrCode blob_window_open(BlobReader *reader, uint64_t i, BlobWindow *out, Err *err);
/* Each chunk of it against its CRC32C; *good: bytes of the chunks before the first that fails.
 * ERR_CORRUPT, also when a page can't be read; ERR_IO. */
MUST_USE ErrCode blob_window_verify(BlobReader *reader, const BlobWindow *window, size_t *good,
                                    Err *err);
void blob_window_close(BlobWindow *window); /* closed already is fine */

/* Pins count extents for a reader that opens them one after the other: who removes what nothing
 * names any more asks blob_pinned() and leaves them. Counted: each blobs_pin() needs its
 * blobs_unpin(). In memory only. Any thread. */
void blobs_pin(Blobs *blobs, const Extent *extents, uint32_t count);
void blobs_unpin(Blobs *blobs, const Extent *extents, uint32_t count);
bool blob_pinned(Blobs *blobs, BodyId body, uint32_t extent);
/* Unlinks an extent; OK if it is not there. Not synced: after a crash it may be back, an orphan. */
MUST_USE ErrCode blob_remove(Blobs *blobs, BodyId body, uint32_t extent, Err *err);
/* Is there a file of that name? What it is, blob_reader_open() tells. */
MUST_USE ErrCode blob_exists(Blobs *blobs, BodyId body, uint32_t extent, bool *out, Err *err);
typedef ErrCode (*BlobListFn)(void *ctx, BodyId body, uint32_t extent, Err *err);
/* Every extent in blobs/, in no order: to find orphans and to rebuild. By name only: what a file
 * is, blob_reader_open() tells. fn may remove extents. */
MUST_USE ErrCode blobs_list(Blobs *blobs, BlobListFn fn, void *ctx, Err *err);

AUTO_DEFINE(Blobs, blobs_free);
AUTO_DEFINE(BlobWriter, blob_writer_free);
AUTO_DEFINE(BlobReader, blob_reader_free);

#endif
