/* Index: an ordered map of bytes to bytes on disk, where each file of a root is (rows:
 * format/row.h). A view that can be made again from packs, blobs and log, so another engine could
 * stand behind this header. Driver: SQLite, one table k BLOB PRIMARY KEY, v BLOB WITHOUT ROWID, in WAL
 * mode, through our own VFS over Disk with a checksum in every page's reserved bytes.
 *
 * Threads: one writer (the index writer thread) owns the Index's batch functions; each reading
 * thread has its own IndexReader. Durability: a committed batch survives a crash only after
 * index_checkpoint(); before that a crash may lose the newest batches, always whole and in order. */
#ifndef HOLDFAST_INDEX_INDEX_H
#define HOLDFAST_INDEX_INDEX_H

#include "base/buf.h"
#include "disk/disk.h"

typedef struct Index Index;
typedef struct IndexReader IndexReader;
typedef struct IndexCursor IndexCursor;

typedef struct {
    uint64_t cache_bytes; /* per connection page cache; 0: 2 MiB */
} IndexOptions;

/* Opens or makes index.db on disk. ERR_CORRUPT: it is damaged (the caller may remove and rebuild it);
 * ERR_FORMAT_VERSION: made by a newer release; ERR_IO. *created: it was not there. */
MUST_USE ErrCode index_open(Disk *disk, const IndexOptions *options, Index **out, bool *created,
                            Err *err);
/* All readers must be freed before. Clean: checkpoints; an error then is only lost speed. */
void index_free(Index *index);

/* One batch at a time. After any error but ERR_INVALID the batch is rolled back and over. */
MUST_USE ErrCode index_begin(Index *index, Err *err);
MUST_USE ErrCode index_put(Index *index, Str key, Str value, Err *err);
MUST_USE ErrCode index_delete(Index *index, Str key, Err *err); /* absent is fine */
/* Reads within the batch (the writer's view); *value is valid until the next call on this Index. */
MUST_USE ErrCode index_batch_get(Index *index, Str key, Str *value, bool *found, Err *err);
/* First key ≥ from that starts with prefix, in the writer's view. Views valid until the next call. */
MUST_USE ErrCode index_batch_first(Index *index, Str from, Str prefix, Str *key, Str *value,
                                   bool *found, Err *err);
/* Visible to readers from here on. */
MUST_USE ErrCode index_commit(Index *index, Err *err);
void index_rollback(Index *index);
/* Moves committed batches into the database file and syncs it: everything committed before this
 * call is durable when it returns OK. */
MUST_USE ErrCode index_checkpoint(Index *index, Err *err);

MUST_USE ErrCode index_reader_open(Index *index, IndexReader **out, Err *err);
void index_reader_free(IndexReader *reader);
/* *value: view, valid until the next call on this reader. ERR_CORRUPT if a page fails its checksum. */
MUST_USE ErrCode index_get(IndexReader *reader, Str key, Str *value, bool *found, Err *err);
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
void index_stats(Index *index, IndexStats *out);
/* Reads every page: ERR_CORRUPT names the page. For tests and fsck. */
MUST_USE ErrCode index_check(Index *index, Err *err);

AUTO_DEFINE(Index, index_free);
AUTO_DEFINE(IndexReader, index_reader_free);
AUTO_DEFINE(IndexCursor, index_cursor_close);

#endif
