/* Table: the records of one root that the index does not show yet, from their append on: pending
 * (their fate is open), then committed, then gone when the applier has put them into packs and
 * index. It holds metadata and log positions, not bodies.
 *
 * Threads: the core adds and commits, the applier removes, readers on any thread look; guarded by a
 * read-write lock (LOCK_RANK_TABLE). A reader looks here first and into the index afterwards, and
 * the applier commits to the index before it removes here: so nothing is ever missed.
 *
 *   by name     'n' bucket key 0  -> newest record of that name, chained to older ones
 *   by id       'i' file id       -> newest record of that file
 *   by request  'r' id shard      -> newest record that carries that request */
#ifndef HOLDFAST_STORE_TABLE_H
#define HOLDFAST_STORE_TABLE_H

#include "base/lock.h"
#include "base/omap.h"
#include "format/entry.h"
#include "format/frame.h"
#include "format/row.h"
#include "store/sealed.h"

typedef enum {
    RECORD_PENDING = 1, /* has an lsn; not committed */
    RECORD_COMMITTED,
    RECORD_APPLIED, /* only in passing, while the applier removes it */
    RECORD_CUT      /* void: a TRUNCATE follows it in the log. Out of the table */
} RecordState;

/* One un-applied entry. Fields are set at birth but state, pos, told_ns and the chain pointers,
 * which change under the table's lock. */
typedef struct Record Record;
struct Record {
    RecordState state;
    Sealed *sealed;
    Entry entry;       /* views into sealed; inline_body is empty once it is logged */
    Str key;           /* of the file, view into sealed */
    bool body_dropped; /* it needs the body no more */
    bool has_request;  /* a request's id is among its attributes */
    RequestId request_id;
    WalPos log_pos;       /* the WAL writer's, before the core takes it over as pos */
    WalPos pos;           /* of its frame, once logged */
    uint64_t min_segment; /* of the log, that pos will not be below, while it is not logged */
    uint32_t log_len;     /* payload bytes: head and inline body */
    Record *older;        /* next older un-applied record of this name */
    Record *newer;
    Record *older_id; /* the same by file id */
    Record *newer_id;
    Record *next;     /* in the owner's list: log queue, shard's uncommitted list, apply queue */
    uint64_t told_ns; /* acknowledged while pending, since then (CLOCK_BOOTTIME); 0: not */
    void *request;    /* the engine's: who waits for it */
};

/* A record of its own for what was sealed, of which it takes a reference until it is freed, and of
 * its body until it is logged. */
Record *record_new(Sealed *sealed);
void record_free(Record *record); /* must be out of the table; NULL is fine */
/* Does it change what a name or id shows (CREATE, UPDATE, DELETE, META)? */
bool record_has_name(const Record *record);

typedef struct Table Table;
Table *table_new(uint64_t seed);
void table_free(Table *table); /* and all records in it */
/* Adds record (owned by the table from here on) as the newest of its name. */
void table_add(Table *table, Record *record);
/* The frame of record stands at pos; drops the body. */
void table_logged(Table *table, Record *record, WalPos pos);
void table_commit(Table *table, Record *record);
/* A pending record was acknowledged all the same, at now_ns: readers see it from here on. */
void table_tell(Table *table, Record *record, uint64_t now_ns);
/* Do readers see it? */
static inline bool record_is_seen(const Record *record)
{
    return record->state == RECORD_COMMITTED ||
           (record->state == RECORD_PENDING && record->told_ns != 0);
}
/* A pending record is void: out of the table; the caller frees it when nobody holds it. */
void table_cut(Table *table, Record *record);
/* Removes and frees. */
void table_remove(Table *table, Record *record);
size_t table_count(const Table *table);   /* any thread, may be a moment old */
uint64_t table_bytes(const Table *table); /* of its records in the log; the same */
/* Calls fn for each record, in no order, under the read lock. */
void table_each(Table *table, void (*fn)(void *ctx, const Record *record), void *ctx);
/* The lowest log segment that a record of the table stands in (or will); UINT64_MAX if empty. */
uint64_t table_oldest_segment(Table *table);

/* Is a change of any name of bucket under way (appended, not committed)? */
bool table_bucket_busy(Table *table, BucketUid bucket);

/* For readers: the lock must be held over these and the use of what they give. */
void table_read_lock(Table *table);
void table_unlock(Table *table);
/* Newest record of a name or file; with committed_only, the newest that readers see. NULL: none
 * here. */
const Record *table_find(const Table *table, BucketUid bucket, Str key, bool committed_only);
const Record *table_find_id(const Table *table, FileId file, bool committed_only);
/* Newest record, pending or not, that carries request with a time of oldest_ms or later; NULL. */
const Record *table_find_request(const Table *table, RequestId request, uint64_t oldest_ms);
/* First name ≥ (the row key prefix) from within bucket that has records; *key is its key. */
const Record *table_next_name(const Table *table, BucketUid bucket, Str from_key, bool inclusive,
                              bool committed_only, Str *key);

AUTO_DEFINE(Table, table_free);
AUTO_DEFINE(Record, record_free);

#endif
