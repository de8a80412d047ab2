/* Index: an ordered map of bytes to bytes on disk, where each file of a root is (rows:
 * format/row.h). A view that can be made again from packs, blobs and log, so another engine could
 * stand behind this header. Driver: SQLite, one table k BLOB PRIMARY KEY, v BLOB WITHOUT ROWID, in
 * WAL mode, through our own VFS over Disk with a checksum in every page's reserved bytes:
 * README.md. Keys sort by memcmp, a prefix first.
 *
 * Threads: one writer (the index writer thread) owns the Index's batch functions; each reading
 * thread has its own IndexReader. Durability: a committed batch survives a crash only after
 * index_checkpoint(); before that a crash may lose the newest batches, always whole and in order.
 * Errors: when a write or sync fails for another reason than a full disk, the Index takes no more
 * batches and checkpoints (ERR_ROOT_FAILED; fsyncgate) and still answers readers. */
#ifndef HOLDFAST_INDEX_INDEX_H
#define HOLDFAST_INDEX_INDEX_H

#include "base/buf.h"
#include "disk/disk.h"

typedef struct Index Index;
typedef struct IndexReader IndexReader;
typedef struct IndexCursor IndexCursor;

#define INDEX_KEY_MAX 2048            /* bytes, at least 1 */
#define INDEX_VALUE_MAX (1024 * 1024) /* bytes */

typedef struct {
    uint64_t cache_bytes;        /* page cache of each reader; 0: 2 MiB */
    uint64_t writer_cache_bytes; /* of the writer; 0: 16 MiB. A batch that changes more pages than
                                    this holds writes some of them to the log more than once */
    /* Called, from any thread that reads, for each page of index.db or its log that is not what was
     * written or cannot be read; path and offset say where. NULL: nobody wants to know. */
    void (*damaged)(void *ctx, const char *path, uint64_t offset, const Err *err);
    void *damaged_ctx;
    uint64_t wal_soft_bytes; /* index_checkpoint() waits for cursors that keep the log from being
                                cut once it is longer; 0: 16 MiB */
} IndexOptions;

/* Opens or makes index.db on disk, which must outlive the Index and belong to this process alone.
 * ERR_CORRUPT: it is damaged (the caller may index_remove() and rebuild it); ERR_FORMAT_VERSION:
 * made by a newer release; ERR_IO. *created: it was not there. */
MUST_USE ErrCode index_open(Disk *disk, const IndexOptions *options, Index **out, bool *created,
                            Err *err);
/* Opens an index.db that is there, with its log, for readers only: index_reader_open() and what
 * stands on it. Nothing is written; the batches that its log holds whole are seen. For who looks at
 * a stopped root. ERR_NOT_FOUND; ERR_CORRUPT: page 1; ERR_FORMAT_VERSION; ERR_IO. */
MUST_USE ErrCode index_open_read(Disk *disk, const IndexOptions *options, Index **out, Err *err);
/* All readers must be freed before. Clean: checkpoints; an error then is only lost speed. */
void index_free(Index *index);

/* Removes index.db and its log, durably and in an order that a crash cannot hurt; absent
 * is fine. */
MUST_USE ErrCode index_remove(Disk *disk, Err *err);

/* One batch at a time. After any error but ERR_INVALID (no batch is open, or one is open already; a
 * key or value is longer than allowed) the batch is rolled back and over. A batch whose commit
 * failed with ERR_IO may still come back whole after a restart: its outcome is unknown. */
MUST_USE ErrCode index_begin(Index *index, Err *err);
/* Puts and deletes are kept back and written in the order of their keys, before the next read in
 * the batch or its commit: their errors may come from there. */
MUST_USE ErrCode index_put(Index *index, Str key, Str value, Err *err);
MUST_USE ErrCode index_delete(Index *index, Str key, Err *err); /* absent is fine */
/* Reads within the batch (the writer's view); *value is valid until the next call on this Index. */
MUST_USE ErrCode index_batch_get(Index *index, Str key, Str *value, bool *found, Err *err);
/* First key ≥ from that starts with prefix, in the writer's view. Views valid until the
 * next call. */
MUST_USE ErrCode index_batch_first(Index *index, Str from, Str prefix, Str *key, Str *value,
                                   bool *found, Err *err);
/* Visible to readers from here on. */
MUST_USE ErrCode index_commit(Index *index, Err *err);
void index_rollback(Index *index); /* no batch is fine */
/* Syncs the log, moves committed batches into index.db as far as open cursors allow, and syncs
 * that: everything committed before this call is durable when it returns OK. Not within a batch
 * (ERR_INVALID). May wait some 50 ms for cursors once the log is long. ERR_NO_SPACE:
 * can be called again. */
MUST_USE ErrCode index_checkpoint(Index *index, Err *err);

MUST_USE ErrCode index_reader_open(Index *index, IndexReader **out, Err *err);
void index_reader_free(IndexReader *reader);
/* *value: view, valid until the next call on this reader. ERR_CORRUPT if a page fails
 * its checksum. */
MUST_USE ErrCode index_get(IndexReader *reader, Str key, Str *value, bool *found, Err *err);
/* The first pair with key ≥ from if its key starts with prefix; costs half of what a cursor does.
 * Views, valid until the next call on this reader. No cursor may be open. */
MUST_USE ErrCode index_first(IndexReader *reader, Str from, Str prefix, Str *key, Str *value,
                             bool *found, Err *err);
/* Opens a cursor at the first key ≥ from. All it gives is one snapshot. One cursor per reader at a
 * time; no index_get() while it is open. */
MUST_USE ErrCode index_scan(IndexReader *reader, Str from, IndexCursor **out, Err *err);
/* Next pair; *found false at the end. Views valid until the next call. */
MUST_USE ErrCode index_next(IndexCursor *cursor, Str *key, Str *value, bool *found, Err *err);
/* Goes to the first key ≥ from (a later key than the last given): skips without reading between. */
MUST_USE ErrCode index_seek(IndexCursor *cursor, Str from, Err *err);
void index_cursor_close(IndexCursor *cursor);

typedef struct {
    uint64_t file_bytes;
    uint64_t wal_bytes;
    uint64_t rows_written; /* since open */
} IndexStats;
void index_stats(const Index *index, IndexStats *out); /* any thread */
/* Reads every page: ERR_CORRUPT names the page. For tests and fsck; the writer's thread, without a
 * batch. Checkpoints first if it can. */
MUST_USE ErrCode index_check(Index *index, Err *err);

#define INDEX_PAGE_BYTES 4096
typedef struct {
    uint64_t next; /* number behind the last page that was read, from 1 */
    uint64_t bad;  /* the last that was read does not look as it was written; 0: none */
    bool ended;    /* there are no more */
} IndexLooked;
/* For scrub: reads at most count pages from number `from` on and compares their checksums, past the
 * system's cache, up to the first that looks bad. Any thread. Beside the writer a page that is
 * being written may look so: index_judge_page() decides. ERR_NO_MEMORY, ERR_SYSTEM. */
MUST_USE ErrCode index_look_pages(Index *index, uint64_t from, size_t count, IndexLooked *out,
                                  Err *err);
/* Is the page damaged on the disk, with no newer one in the log? The writer's thread, without a
 * batch; checkpoints first. ERR_CORRUPT: yes, and IndexOptions.damaged was told. ERR_BUSY: a cursor
 * keeps the log from being cut: ask again. */
MUST_USE ErrCode index_judge_page(Index *index, uint64_t number, Err *err);

/* Makes SQLite's random numbers (only the salts of its log) a function of seed, in the whole
 * process and for good. For the simulator, before the first index_open() of a run. */
void index_seed_randomness(uint32_t seed);

AUTO_DEFINE(Index, index_free);
AUTO_DEFINE(IndexReader, index_reader_free);
AUTO_DEFINE(IndexCursor, index_cursor_close);

#endif
