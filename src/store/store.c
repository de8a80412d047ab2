#include "store/store.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "store/compact_priv.h"
#include "store/store_priv.h"

StoreShard *store_shard(Store *store, ShardId shard)
{
    StoreShard *known = atomic_load(&store->shards[shard]);
    if (known != NULL) return known;
    known = mem_new(sizeof *known);
    atomic_store(&store->shards[shard], known);
    return known;
}

static void index_damaged(void *ctx, const char *path, uint64_t offset, const Err *err)
{
    Store *store = ctx;
    RiskFound found = {.cause = risk_cause_of(err->code),
                       .place = path,
                       .offset = offset,
                       .detail = err_text(err)};
    risk_add(store->risk, &found);
}

/* Opens index.db and reads what is applied. ERR_CORRUPT: it is missing, or no good for a start. A
 * damaged page that holds none of what a start needs is left to those who meet it. */
static ErrCode try_index(Store *store, StoreOpened *opened, Err *err)
{
    IndexOptions options = {.cache_bytes = store->options.index_cache_bytes,
                            .damaged = index_damaged,
                            .damaged_ctx = store};
    bool missing = false;
    TRY(rebuild_index_missing(store->disk, store->packs, &missing, err));
    if (missing) return err_set(err, ERR_CORRUPT, "index.db is missing, and there are packs");
    TRY(index_open(store->disk, &options, &store->index, &opened->index_created, err));
    TRY(store_read_applied(store, err));
    return store_check_buckets(store, err);
}

/* The index is a view: what is no good is made again from packs and log (store/rebuild.h). */
static ErrCode open_index(Store *store, StoreOpened *opened, Err *err)
{
    const StoreOptions *o = &store->options;
    Err why = {0};
    ErrCode code = try_index(store, opened, &why);
    if (code == OK) return rebuild_index_discard(store->disk, err);
    if (code != ERR_CORRUPT) return err_set(err, code, "%s", err_text(&why));
    if (store->index != NULL) index_free(TAKE(store->index));
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++)
        mem_free(atomic_exchange(&store->shards[i], NULL));
    RebuildOptions rebuild = {
        .root = o->root, .clock = o->clock, .progress = o->rebuilding, .ctx = o->progress_ctx};
    opened->index_rebuilt = true;
    opened->index_damage = why;
    code = rebuild_index_of(store->disk, store->packs, store->blobs, &rebuild, &opened->rebuilt,
                            err);
    if (code != OK) return err_wrap(err, code, "%s; it can't be made again", err_text(&why));
    risk_clear_path(store->risk, "index.db", RISK_GONE);
    return try_index(store, opened, err);
}

static ErrCode open_parts(Store *store, StoreOpened *opened, Err *err)
{
    const StoreOptions *o = &store->options;
    bool unfinished = false;
    TRY(rebuild_wal_unfinished(store->disk, &unfinished, err));
    if (unfinished) {
        return err_set(err, ERR_CORRUPT,
                       "a rebuild of the log was cut off: run `holdfast recover --rebuild wal DIR` "
                       "again");
    }
    TRY(risk_open(store->disk, o->clock, o->root.incarnation, &store->risk, err));
    PacksOptions packs = {
        .root = root_storage(&o->root), .pack_size = o->pack_size, .clock = o->clock};
    ErrCode code = packs_open(store->disk, &packs, &store->packs, err);
    if (code != OK) return err_wrap(err, code, "open packs");
    BlobsOptions blobs = {.root = root_storage(&o->root), .chunk_size = o->chunk_size};
    code = blobs_open(store->disk, &blobs, &store->blobs, err);
    if (code != OK) return err_wrap(err, code, "open blobs");
    code = open_index(store, opened, err);
    if (code != OK) return err_wrap(err, code, "open index.db");
    return OK;
}

/* The log joins the index: what the newest pack holds beyond the index is in the log, too. */
static ErrCode cut_torn_pack(Store *store, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    uint64_t newest = packs_newest(store->packs);
    uint64_t cut = 0;
    PackRow row;
    Err why = {0};
    TRY(index_reader_open(store->index, &reader, err));
    ErrCode code = compact_pack_row(reader, newest, &row, &why);
    if (code == ERR_CORRUPT) return OK; /* no reason not to start, and none to cut */
    if (code != OK) return err_set(err, code, "%s", err_text(&why));
    if (row.bytes > 0 && row.end == 0) return OK; /* how far its records reach is not known */
    code = packs_cut_torn(store->packs, row.end, &cut, err);
    if (code != OK) return err_wrap(err, code, "cut the torn end of pack %" PRIu64, newest);
    if (cut == 0) return OK;
    LOG(INFO, "packs.end_cut", "pack=%" PRIu64 " bytes=%" PRIu64, newest, cut);
    return OK;
}

ErrCode store_open(Disk *disk, const StoreOptions *options, Store **out, StoreOpened *opened,
                   Err *err)
{
    ASSERT(options->clock != NULL);
    ASSERT(!id128_is_zero(options->root.uuid));
    AUTO(Store, store_free) store = mem_new(sizeof *store);
    store->disk = disk;
    store->options = *options;
    rng_init(&store->rng, options->seed);
    lock_init(&store->lock, LOCK_RANK_STORE);
    store->table = table_new(options->seed);
    wal_window_init(&store->apply_window);
    buf_init(&store->value_buf, ROW_VALUE_MAX);
    buf_init(&store->move_buf, ROW_VALUE_MAX);
    StoreOpened found = {0};
    TRY(open_parts(store, &found, err));
    TRY(store_recover(store, &found, err));
    TRY(store_note_remade(store, err));
    TRY(cut_torn_pack(store, err));
    TRY(store_review_risk(store, true, err));
    TRY(store_check_packs(store, err));
    *opened = found;
    *out = TAKE(store);
    return OK;
}

void store_free(Store *store)
{
    if (store == NULL) return;
    wal_free(store->wal);
    index_free(store->index);
    packs_free(store->packs);
    blobs_free(store->blobs);
    risk_free(store->risk);
    table_free(store->table);
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++) {
        StoreShard *shard = store->shards[i];
        if (shard != NULL) places_deinit(&shard->places);
        mem_free(shard);
    }
    wal_window_deinit(&store->apply_window);
    buf_deinit(&store->value_buf);
    buf_deinit(&store->move_buf);
    lock_deinit(&store->lock);
    mem_free(store);
}

ErrCode store_close(Store *store, Err *err)
{
    size_t applied = 0;
    do {
        TRY(store_apply(store, STORE_APPLY_BATCH, &applied, err));
    } while (applied > 0);
    if (!store->log_failed && table_count(store->table) == 0) {
        /* A fresh segment whose CHECKPOINT says all is applied: nothing to replay. */
        ErrCode code = wal_rotate(store->wal, err);
        if (code != OK && !store_log_waits(store, code)) return code; /* else the log is kept */
    }
    store->dirty = true;
    TRY(store_checkpoint(store, err));
    TRY(risk_save(store->risk, true, err));
    return store->log_failed ? OK : wal_close(store->wal, err);
}

void store_replica_state(Store *store, ShardId shard, ReplicaState *out)
{
    *out = (ReplicaState){.shard = shard};
    wal_replica_state(store->wal, shard, out);
    const StoreShard *s = store->shards[shard];
    if (s == NULL) return;
    if (out->incomplete) {
        out->commit_lsn = MIN(out->commit_lsn, out->last_lsn);
        out->applied_lsn = MIN(s->applied_lsn, out->commit_lsn);
        return;
    }
    out->applied_lsn = s->applied_lsn;
    if (out->commit_lsn < s->applied_lsn) out->commit_lsn = s->applied_lsn;
    if (out->last_lsn < s->applied_lsn) { /* the log was cut to nothing behind the index */
        out->last_lsn = s->applied_lsn;
        out->last_term = s->applied_term;
        out->last_hash = s->applied_hash;
    }
    if (out->max_term < out->last_term) { /* known by an entry: no vote was cast in it */
        out->max_term = out->last_term;
        out->voted_for = (Uuid){{0}};
    }
}

Term store_applied_term(const Store *store, ShardId shard)
{
    const StoreShard *s = store->shards[shard];
    if (s == NULL) return 0;
    return s->incomplete ? s->base_term : s->applied_term;
}

Record *store_replayed(Store *store, ShardId shard)
{
    return store->shards[shard] == NULL ? NULL : store->shards[shard]->replayed;
}

Record *store_add(Store *store, Sealed *sealed)
{
    Record *record = record_new(sealed);
    record->min_segment = store->logged_segment;
    table_add(store->table, record);
    (void)store_shard(store, sealed->entry.shard); /* made here so that no other thread has to */
    return record;
}

void store_note_place(Store *store, StoreShard *shard, Lsn lsn, WalPos pos, uint32_t len)
{
    if (store->options.places) places_add(&shard->places, lsn, (Place){.pos = pos, .len = len});
}

bool store_place(const Store *store, ShardId shard, Lsn lsn, WalPos *pos, uint32_t *len)
{
    const StoreShard *s = store->shards[shard];
    const Place *place = s == NULL ? NULL : places_at(&s->places, lsn);
    if (place == NULL) return false;
    *pos = place->pos;
    *len = place->len;
    return true;
}

ErrCode store_fetch(Store *store, WalPos pos, uint32_t len, Sealed **out, Err *err)
{
    AUTO_BUF(buf, ENTRY_MAX + FRAME_LEN);
    Str payload = {NULL, 0};
    Entry entry;
    TRY(wal_read(store->wal, pos, len, &buf, &payload, err));
    TRY(entry_decode(payload, true, &entry, err));
    return sealed_new(&entry, out, err);
}

void store_logged(Store *store, Record *record)
{
    ASSERT(record->log_pos.segment >= store->logged_segment);
    store->logged_segment = record->log_pos.segment;
    if (record->state == RECORD_CUT) {
        record_free(record);
        return;
    }
    const Entry *entry = &record->entry;
    table_logged(store->table, record, record->log_pos);
    store_note_place(store, store_shard(store, entry->shard), entry->lsn, record->log_pos,
                     record->log_len);
}

void store_not_logged(Record *record)
{
    if (record->state == RECORD_CUT) record_free(record);
}

void store_cut(Store *store, Record *record)
{
    bool logged = record->pos.segment != 0;
    StoreShard *s = store_shard(store, record->entry.shard);
    uint64_t segment = logged ? record->pos.segment : record->min_segment;
    ASSERT(segment != 0);
    places_cut(&s->places, record->entry.lsn - 1);
    lock_take(&store->lock); /* before the table lets it go: keep_from() asks in the other order */
    if (s->void_segment == 0 || segment < s->void_segment) s->void_segment = segment;
    lock_give(&store->lock);
    table_cut(store->table, record);
    if (logged) record_free(record);
}

void store_voided(Store *store, ShardId shard)
{
    StoreShard *s = store_shard(store, shard);
    lock_take(&store->lock);
    s->void_segment = 0;
    lock_give(&store->lock);
}

void store_reset(Store *store, ShardId shard, Lsn lsn)
{
    StoreShard *s = store_shard(store, shard);
    places_cut(&s->places, 0);
    lock_take(&store->lock);
    s->incomplete = true;
    s->resets++;
    s->commit_lsn = lsn;
    lock_give(&store->lock);
}

void store_committed(Store *store, Record *record)
{
    table_commit(store->table, record);
    StoreShard *shard = store_shard(store, record->entry.shard);
    lock_take(&store->lock);
    ASSERT(record->entry.lsn > shard->commit_lsn);
    shard->commit_lsn = record->entry.lsn;
    record->next = NULL;
    if (store->apply_last == NULL)
        store->apply_first = record;
    else
        store->apply_last->next = record;
    store->apply_last = record;
    lock_give(&store->lock);
}

void store_told(Store *store, Record *record, uint64_t now_ns)
{
    table_tell(store->table, record, now_ns);
}

size_t store_backlog(const Store *store)
{
    return table_count(store->table);
}

size_t store_to_apply(const Store *store)
{
    size_t held = atomic_load(&store->held);
    size_t all = table_count(store->table);
    return all - MIN(held, all);
}

bool store_log_waits(const Store *store, ErrCode code)
{
    bool passing = code == ERR_NO_SPACE || code == ERR_SYSTEM || code == ERR_NO_MEMORY;
    return passing && !store->log_failed && !wal_failed(store->wal);
}

/* Whatever the log refuses for good ends its use: an entry behind a missing one would break the
 * chain. */
static ErrCode log_result(Store *store, ErrCode code)
{
    if (code != OK && !store_log_waits(store, code)) store->log_failed = true;
    return code;
}

static ErrCode log_usable(const Store *store, Err *err)
{
    if (!store->log_failed) return OK;
    return err_set(err, ERR_ROOT_FAILED, "the log failed before");
}

uint64_t store_backlog_bytes(const Store *store)
{
    return table_bytes(store->table);
}

ErrCode store_log_append(Store *store, Record *record, Err *err)
{
    TRY(log_usable(store, err));
    WalPos pos = {0};
    const Sealed *sealed = record->sealed;
    TRY(log_result(store, wal_append(store->wal, &sealed->entry, sealed_head(sealed),
                                     buf_str(&sealed->body), &pos, err)));
    record->log_pos = pos; /* the writer's field; the core takes it over in store_logged() */
    return OK;
}

ErrCode store_log_state(Store *store, const ReplicaState *state, Err *err)
{
    TRY(log_usable(store, err));
    return log_result(store, wal_append_state(store->wal, state, err));
}

ErrCode store_log_reset(Store *store, const ReplicaState *base, Err *err)
{
    TRY(log_usable(store, err));
    return log_result(store, wal_append_reset(store->wal, base, err));
}

ErrCode store_log_truncate(Store *store, const Truncate *truncate, Err *err)
{
    TRY(log_usable(store, err));
    return log_result(store, wal_append_truncate(store->wal, truncate, err));
}

ErrCode store_log_sync(Store *store, Err *err)
{
    TRY(log_usable(store, err));
    return log_result(store, wal_sync(store->wal, err));
}

ErrCode store_log_idle(Store *store, Err *err)
{
    TRY(log_usable(store, err));
    return log_result(store, wal_attest(store->wal, err));
}

bool store_log_needs_idle(const Store *store)
{
    return !store->log_failed && wal_needs_attest(store->wal);
}

Blobs *store_blobs(Store *store)
{
    return store->blobs;
}

Wal *store_wal(Store *store)
{
    return store->wal;
}

Risk *store_risk(Store *store)
{
    return store->risk;
}

ErrCode store_save_risk(Store *store, Err *err)
{
    return risk_save(store->risk, false, err);
}

Disk *store_disk(Store *store)
{
    return store->disk;
}

const RootInfo *store_root(const Store *store)
{
    return &store->options.root;
}

void store_status(Store *store, StoreStatus *out)
{
    *out = (StoreStatus){0};
    wal_stats(store->wal, &out->wal);
    index_stats(store->index, &out->index);
    out->unapplied = table_count(store->table);
    out->applied = atomic_load(&store->applied);
    out->failed = atomic_load(&store->failed) || out->wal.failed;
    DiskSpace space = {0};
    if (disk_space(store->disk, &space, NULL) == OK) {
        out->disk_total = space.total;
        out->disk_free = space.free;
    }
}
