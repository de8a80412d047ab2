/* Rows: what one entry changes in the index (rows: format/row.h). The applier and the rebuilding of
 * an index go through here, so that both make the same rows of the same entries, however these come
 * in batches. Belongs to the thread that writes the index; used within one batch of it. */
#ifndef HOLDFAST_STORE_ROWS_H
#define HOLDFAST_STORE_ROWS_H

#include "format/row.h"
#include "index/index.h"
#include "store/risk.h"

/* Sums that a batch gathers before it writes them: rows of the bucket and pack in hand. */
typedef struct {
    Index *index;
    Buf *value; /* one encoded row; ROW_VALUE_MAX */
    Risk *risk; /* from which versions that end are taken; NULL: none */
    BucketUid bucket;
    int64_t files;
    int64_t bytes;
    uint64_t pack;
    uint64_t pack_bytes;
    uint64_t pack_unsure;
    uint64_t pack_end;
} Rows;

/* index has a batch open; value is the caller's, for as long as rows is used. */
void rows_begin(Rows *rows, Index *index, Buf *value);
/* Changes rows by entry (its head; the body is not looked at), whose pack record stands at place.
 * Entries of one shard in the order of their lsn. ERR_CORRUPT: index.db; and what index_put()
 * gives. After any error the batch is rolled back, or is to be. */
MUST_USE ErrCode rows_apply(Rows *rows, const Entry *entry, const PackPlace *place, Err *err);
/* Puts the version that entry (of store_remake_entry()) says, and the id of its file; ends nothing
 * else, and makes no request's row. Errors as rows_apply(). */
MUST_USE ErrCode rows_put_version(Rows *rows, const Entry *entry, const PackPlace *place, Err *err);
/* Counts a record that was written at place into its pack, and one at place as needed no longer:
 * what compaction changes beside the rows of files. Errors as above. */
MUST_USE ErrCode rows_pack_filled(Rows *rows, const Entry *entry, const PackPlace *place, Err *err);
MUST_USE ErrCode rows_pack_dead(Rows *rows, const PackPlace *place, Err *err);
/* Removes one version, whose row stands under row_key (both copies), and what hangs on it; with the
 * last of its name of that file, the file's id. Errors as above. */
MUST_USE ErrCode rows_drop_version(Rows *rows, BucketUid bucket, Str key, Str row_key,
                                   const FileRow *row, Err *err);
/* What came of a request, put or (row NULL: it ended at time_ms) taken away. */
MUST_USE ErrCode rows_request(Rows *rows, ShardId shard, RequestId id, const RequestRow *row,
                              uint64_t time_ms, Err *err);
/* So many request rows end with a batch of count entries: more than it can have brought. */
#define REQUESTS_DROPPED(count) (2 * (count) + 16)
/* Drops up to max request rows whose time is over, by the logged time now_ms. */
MUST_USE ErrCode rows_drop_requests(Rows *rows, uint64_t now_ms, size_t max, Err *err);
/* Says that shard is applied up to row. */
MUST_USE ErrCode rows_applied(Rows *rows, ShardId shard, const AppliedRow *row, Err *err);
/* Writes the sums; before the batch is committed. */
MUST_USE ErrCode rows_flush(Rows *rows, Err *err);

#endif
