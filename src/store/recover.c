/* Start: the index says per shard how far it is complete; the log is read from its beginning, what
 * the index has is skipped (and compared at the joint), the rest goes into the table as pending. */
#include "store/store_priv.h"

#include <inttypes.h>

#include "base/fault.h"

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

/* The log gives a change of shard at lsn: does it join what is known? One that is not what the
 * index has at that lsn may be the beginning of a tail that a TRUNCATE voids later: *skip. */
static ErrCode check_joint(StoreShard *s, const Entry *entry, const Frame *frame, bool *skip,
                           Err *err)
{
    Lsn applied = s->incomplete ? 0 : s->applied_lsn;
    *skip = entry->lsn <= applied || s->void_from != 0;
    if (s->void_from != 0) return OK;
    bool is_other = entry->lsn == applied && !sha256_eq(&entry->checksum, &s->applied_hash);
    if (is_other && !fault_planted("void-tail-refused")) {
        s->void_from = entry->lsn;
        s->void_gap = 0;
        s->void_pos = frame->pos;
        return OK;
    }
    if (entry->lsn <= applied && !is_other) return OK;
    if (entry->lsn != s->replay_lsn + 1 || !sha256_eq(&entry->prev_hash, &s->replay_hash)) {
        return err_set(err, ERR_CORRUPT,
                       "segment %" PRIu64 " offset %" PRIu64 ": shard %u lsn %" PRIu64
                       " does not follow lsn %" PRIu64,
                       frame->pos.segment, frame->pos.offset, entry->shard, entry->lsn,
                       s->replay_lsn);
    }
    return OK;
}

/* A tail that another one replaced should have been voided. */
static ErrCode check_voided(const StoreShard *s, unsigned shard, Err *err)
{
    if (s->void_from == 0) return OK;
    if (s->void_gap != 0) {
        return err_set(err, ERR_CORRUPT,
                       "shard %u: the log begins behind lsn %" PRIu64
                       " but index.db is applied only up to lsn %" PRIu64
                       "; the index is older than its log: see "
                       "`holdfast recover --rebuild index DIR`",
                       shard, s->void_gap, s->void_from - 1);
    }
    return err_set(err, ERR_CORRUPT,
                   "segment %" PRIu64 " offset %" PRIu64 ": shard %u lsn %" PRIu64
                   " is not the entry that index.db has applied",
                   s->void_pos.segment, s->void_pos.offset, shard, s->void_from);
}

static ErrCode replay_entry(Store *store, const Frame *frame, Str payload, Err *err)
{
    Entry entry;
    TRY(entry_parse(payload, &entry, err)); /* the Wal has verified it */
    StoreShard *s = store_shard(store, entry.shard);
    bool skip = false;
    TRY(check_joint(s, &entry, frame, &skip, err));
    store_note_place(store, s, entry.lsn, frame->pos, (uint32_t)payload.len);
    if (skip) return OK;
    Sealed *sealed = NULL;
    TRY(sealed_new(&entry, &sealed, err));
    AUTO(Record, record_free) made = record_new(sealed);
    sealed_drop_body(sealed);
    sealed_unref(sealed);
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

/* All records from `from` on go; what is left ends there. */
static void drop_replayed(Store *store, StoreShard *s, Lsn from)
{
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
}

/* Entries of a shard from `from` on are void: the newest of the replayed ones go. */
static ErrCode replay_truncate(Store *store, Str payload, Err *err)
{
    Truncate truncate;
    TRY(truncate_decode(payload, &truncate, err));
    if (fault_planted("truncate-voids-nothing")) return OK;
    Lsn from = truncate.from;
    StoreShard *s = store_shard(store, truncate.shard);
    /* Of a tail that was replaced before the index was written: nothing of it is here. */
    if (s->void_from != 0 && from <= s->void_from) s->void_from = 0;
    places_cut(&s->places, from - 1);
    if (!s->incomplete && from <= s->applied_lsn) return OK;
    if (s->incomplete && from > s->replay_lsn) return OK;
    drop_replayed(store, s, from);
    const Record *last = s->replayed_last;
    s->replay_lsn = last != NULL ? last->entry.lsn : s->incomplete ? from - 1 : s->applied_lsn;
    s->replay_hash = last != NULL    ? last->entry.checksum
                     : s->incomplete ? truncate.hash
                                     : s->applied_hash;
    return OK;
}

/* The log of the shard begins anew behind state's last entry: of what is before it nothing counts,
 * and nothing that is in the index. */
static void begin_anew(Store *store, StoreShard *s, const ReplicaState *state)
{
    drop_replayed(store, s, 0);
    places_cut(&s->places, 0);
    s->void_from = 0;
    s->incomplete = true;
    s->base_term = state->last_term;
    s->commit_lsn = state->last_lsn;
    s->replay_lsn = state->last_lsn;
    s->replay_hash = state->last_hash;
}

/* The snapshot is whole, and the index has it: records that it holds are not to be applied. */
static ErrCode end_incomplete(Store *store, StoreShard *s, unsigned shard, Err *err)
{
    s->incomplete = false;
    s->commit_lsn = s->applied_lsn;
    if (s->replay_lsn < s->applied_lsn) { /* the index went on since */
        s->replay_lsn = s->applied_lsn;
        s->replay_hash = s->applied_hash;
    }
    while (s->replayed != NULL && s->replayed->entry.lsn <= s->applied_lsn) {
        Record *record = s->replayed;
        bool is_other = record->entry.lsn == s->applied_lsn &&
                        !sha256_eq(&record->entry.checksum, &s->applied_hash);
        s->replayed = record->next;
        if (s->replayed == NULL) s->replayed_last = NULL;
        table_remove(store->table, record);
        if (is_other)
            return err_set(err, ERR_CORRUPT,
                           "shard %u lsn %" PRIu64 " is not the entry that index.db has applied",
                           shard, s->applied_lsn);
    }
    return OK;
}

static ErrCode replay_state(Store *store, const Frame *frame, Str payload, Err *err)
{
    ReplicaState state;
    Dec dec = dec_of(payload.ptr, payload.len);
    if (!replica_state_decode(&dec, &state))
        return err_set(err, ERR_CORRUPT, "a state record is malformed");
    StoreShard *s = store_shard(store, state.shard);
    if (frame->kind == FRAME_RESET)
        begin_anew(store, s, &state);
    else if (s->incomplete && !state.incomplete)
        return end_incomplete(store, s, state.shard, err);
    return OK;
}

/* A shard of which the log begins later than the index reaches has lost entries, unless they were
 * the end of a tail that a TRUNCATE behind this CHECKPOINT voids, and what replaced it is shorter.
 */
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
        if (state.incomplete && !s->incomplete)
            begin_anew(store, s, &state); /* in a log cut since */
        if (s->replay_lsn >= state.last_lsn) continue;
        if (fault_planted("void-end-refused")) return err_set(err, ERR_CORRUPT, "an end is void");
        if (s->void_from != 0) continue;
        s->void_from = s->replay_lsn + 1;
        s->void_gap = state.last_lsn;
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
    case FRAME_RESET:
    case FRAME_STATE: return replay_state(store, frame, payload, err);
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
        TRY(check_voided(store->shards[i], i, err));
        ReplicaState state = {.shard = (ShardId)i};
        wal_replica_state(store->wal, (ShardId)i, &state);
        if (state.incomplete) continue; /* its index may be anything */
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
