/* Start: the index says per shard how far it is complete; the log is read from its beginning, what
 * the index has is skipped (and compared at the joint), the rest goes into the table as pending. */
#include <inttypes.h>

#include "store/store_priv.h"

ErrCode store_read_applied(Store *store, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(store->index, &reader, err));
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(reader, STR("a"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.len != 3 || key.ptr[0] != 'a') return OK;
        AppliedRow row;
        if (!applied_row_decode(value, &row)) {
            return err_set(err, ERR_CORRUPT, "index.db: applied row of a shard is malformed");
        }
        Dec dec = dec_of(key.ptr + 1, 2);
        unsigned high = dec_u8(&dec);
        ShardId shard = (ShardId)(high << 8 | dec_u8(&dec));
        StoreShard *s = store_shard(store, shard);
        s->applied_lsn = row.lsn;
        s->applied_term = row.term;
        s->applied_hash = row.hash;
        s->synced_lsn = row.lsn;
        s->commit_lsn = row.lsn;
        s->replay_lsn = row.lsn;
        s->replay_hash = row.hash;
    }
}

/* The log gives a change of shard at lsn: does it join what is known? */
static ErrCode check_joint(const StoreShard *s, const Entry *entry, const Frame *frame, Err *err)
{
    if (entry->lsn == s->applied_lsn && !sha256_eq(&entry->checksum, &s->applied_hash)) {
        return err_set(err, ERR_CORRUPT,
                       "segment %" PRIu64 " offset %" PRIu64 ": shard %u lsn %" PRIu64
                       " is not the entry that index.db has applied",
                       frame->pos.segment, frame->pos.offset, entry->shard, entry->lsn);
    }
    if (entry->lsn <= s->applied_lsn) return OK;
    if (entry->lsn != s->replay_lsn + 1 || !sha256_eq(&entry->prev_hash, &s->replay_hash)) {
        return err_set(err, ERR_CORRUPT,
                       "segment %" PRIu64 " offset %" PRIu64 ": shard %u lsn %" PRIu64
                       " does not follow lsn %" PRIu64,
                       frame->pos.segment, frame->pos.offset, entry->shard, entry->lsn,
                       s->replay_lsn);
    }
    return OK;
}

static ErrCode replay_entry(Store *store, const Frame *frame, Str payload, Err *err)
{
    Entry entry;
    TRY(entry_parse(payload, &entry, err)); /* the Wal has verified it */
    StoreShard *s = store_shard(store, entry.shard);
    TRY(check_joint(s, &entry, frame, err));
    if (entry.lsn <= s->applied_lsn) return OK;
    AUTO(Record, record_free) made = NULL;
    TRY(record_new(&entry, &made, err));
    if (record_has_name(made) && !key_valid(made->key)) {
        return err_set(err, ERR_CORRUPT,
                       "segment %" PRIu64 " offset %" PRIu64 ": shard %u lsn %" PRIu64
                       " has no key that could be one",
                       frame->pos.segment, frame->pos.offset, entry.shard, entry.lsn);
    }
    Record *record = TAKE(made);
    table_add(store->table, record);
    table_logged(store->table, record, frame->pos);
    if (s->replayed_last == NULL)
        s->replayed = record;
    else
        s->replayed_last->next = record;
    s->replayed_last = record;
    s->replay_lsn = entry.lsn;
    s->replay_hash = entry.checksum;
    return OK;
}

/* Entries of a shard from `from` on are void: the newest of the replayed ones go. */
static ErrCode replay_truncate(Store *store, Str payload, Err *err)
{
    Truncate truncate;
    TRY(truncate_decode(payload, &truncate, err));
    Lsn from = truncate.from;
    StoreShard *s = store_shard(store, truncate.shard);
    if (from <= s->applied_lsn) {
        return err_set(err, ERR_CORRUPT,
                       "shard %u: TRUNCATE from lsn %" PRIu64 " reaches below lsn %" PRIu64
                       ", which is applied",
                       truncate.shard, from, s->applied_lsn);
    }
    Record *keep = NULL;
    Record *record = s->replayed;
    for (; record != NULL && record->entry.lsn < from; record = record->next)
        keep = record;
    while (record != NULL) {
        Record *next = record->next;
        table_remove(store->table, record);
        record = next;
    }
    s->replayed_last = keep;
    if (keep == NULL)
        s->replayed = NULL;
    else
        keep->next = NULL;
    s->replay_lsn = keep == NULL ? s->applied_lsn : keep->entry.lsn;
    s->replay_hash = keep == NULL ? s->applied_hash : keep->entry.checksum;
    return OK;
}

/* A shard of which the log begins later than the index reaches has lost entries. */
static ErrCode replay_checkpoint(Store *store, Str payload, Err *err)
{
    CheckpointReader reader;
    TRY(checkpoint_open(payload, &reader, err));
    for (;;) {
        ReplicaState state;
        bool found = false;
        TRY(checkpoint_next(&reader, &state, &found, err));
        if (!found) return OK;
        StoreShard *s = store_shard(store, state.shard);
        if (s->replay_lsn < state.last_lsn) {
            return err_set(err, ERR_CORRUPT,
                           "shard %u: the log begins behind lsn %" PRIu64
                           " but index.db is applied only up to lsn %" PRIu64
                           "; the index is older than its log: see "
                           "`holdfast recover --rebuild index DIR`",
                           state.shard, state.last_lsn, s->replay_lsn);
        }
    }
}

static ErrCode on_record(void *ctx, const Frame *frame, Str payload, Err *err)
{
    Store *store = ctx;
    store->replayed_bytes += frame_total(payload.len);
    bool counts = frame->kind != FRAME_CHECKPOINT; /* as in WalOpened */
    if (counts) store->replayed_records++;
    if (counts && store->options.progress != NULL && store->replayed_records % 4096 == 0) {
        store->options.progress(store->options.progress_ctx, store->replayed_records,
                                store->replayed_bytes);
    }
    switch (frame->kind) {
    case FRAME_ENTRY: return replay_entry(store, frame, payload, err);
    case FRAME_TRUNCATE: return replay_truncate(store, payload, err);
    case FRAME_CHECKPOINT: return replay_checkpoint(store, payload, err);
    case FRAME_STATE:
    case FRAME_ATTEST:
    case FRAME_PAD: return OK; /* the Wal keeps these */
    }
    return err_set(err, ERR_FORMAT_VERSION, "a log record of kind %d", (int)frame->kind);
}

/* Every shard's log must reach as far as the index: what was applied had been synced. And as far as
 * what was once committed (I5). */
static ErrCode check_tails(Store *store, Err *err)
{
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        if (store->shards[i] == NULL) continue;
        ReplicaState state = {.shard = (ShardId)i};
        wal_replica_state(store->wal, (ShardId)i, &state);
        if (state.last_lsn < store->shards[i]->applied_lsn) {
            return err_set(err, ERR_CORRUPT,
                           "shard %u: index.db is applied up to lsn %" PRIu64
                           " but the log ends at lsn %" PRIu64 "; log entries are missing",
                           i, store->shards[i]->applied_lsn, state.last_lsn);
        }
        if (state.last_lsn < state.commit_lsn) {
            return err_set(err, ERR_CORRUPT,
                           "shard %u: the log says that lsn %" PRIu64
                           " was committed but ends at lsn %" PRIu64 "; log entries are missing",
                           i, state.commit_lsn, state.last_lsn);
        }
    }
    return OK;
}

ErrCode store_recover(Store *store, StoreOpened *opened, Err *err)
{
    WalOptions options = {.root = store->options.root.uuid,
                          .incarnation = store->options.root.incarnation,
                          .segment_size = store->options.wal_segment_size,
                          .spares = store->options.wal_spares,
                          .recycled = store->options.wal_recycled,
                          .verify_threads = store->options.verify_threads,
                          .clock = store->options.clock,
                          .rng = &store->rng};
    ErrCode code = wal_open(store->disk, &options, on_record, store, &store->wal, &opened->wal,
                            err);
    if (code != OK) return err_wrap(err, code, "open the log");
    TRY(check_tails(store, err));
    WalStats stats;
    wal_stats(store->wal, &stats);
    store->logged_segment = stats.active_segment;
    opened->unapplied = table_count(store->table);
    return OK;
}
