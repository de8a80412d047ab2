/* index.mark: up to where index.db-wal must be whole, said durably before pages of it are moved
 * into index.db. SQLite takes a bad frame of its log for the end of it, as after a torn write; but
 * once pages behind that frame were moved, and the power failed before index.db was synced,
 * index.db is a mixture of old and new pages that each look right. With the mark such a log is
 * known to be damaged, and the index is made again. The writer's thread only. Format: README.md. */
#ifndef HOLDFAST_INDEX_INDEX_MARK_H
#define HOLDFAST_INDEX_INDEX_MARK_H

#include "disk/disk.h"

#define INDEX_MARK_NAME "index.mark"

typedef struct IndexMark IndexMark;

/* Opens the mark, or makes one that says nothing. ERR_IO, ERR_SYSTEM, ERR_NO_SPACE. */
MUST_USE ErrCode index_mark_open(Disk *disk, IndexMark **out, Err *err);
void index_mark_close(IndexMark *mark); /* NULL is fine */
/* Says durably that the first `frames` of index.db-wal, which are synced, have to be there. 0: as
 * many as an earlier process left, which are looked for. After an error pages must not be moved. */
MUST_USE ErrCode index_mark_set(IndexMark *mark, uint64_t frames, Err *err);
/* A write or sync of it has failed: it can't be set any more (fsyncgate). */
bool index_mark_failed(const IndexMark *mark);
/* ERR_CORRUPT: index.db-wal is damaged before the place that the mark tells. OK if there is no
 * mark, no log, or one that began later. Changes nothing. */
MUST_USE ErrCode index_mark_check(Disk *disk, Err *err);

AUTO_DEFINE(IndexMark, index_mark_close);

#endif
