#include "pack_truth.h"

#include <inttypes.h>

#include "blob/pack_walk.h"
#include "store/compact_priv.h"

/* One change of a name that a pack holds. */
typedef struct {
    Entry entry; /* without views */
    bool seen;   /* its version is in the index */
} Change;

/* All of one name, in no order. */
typedef struct {
    Change *items;
    size_t count;
    size_t capacity;
} Changes;

typedef struct {
    Store *store;
    IndexReader *reader;
    OMap *names; /* bucket be64, key -> Changes */
} Truth;

static size_t truth_key(uint8_t *out, BucketUid bucket, Str key)
{
    Enc enc = enc_of(out, ROW_KEY_MAX);
    enc_u64_be(&enc, bucket);
    enc_bytes(&enc, key.ptr, key.len);
    return enc.len;
}

static VersionId version_of(const Entry *e)
{
    return (VersionId){.term = e->term, .lsn = e->lsn};
}

static Change *find_change(const Changes *changes, VersionId version)
{
    for (size_t i = 0; changes != NULL && i < changes->count; i++) {
        if (version_id_cmp(version_of(&changes->items[i].entry), version) == 0)
            return &changes->items[i];
    }
    return NULL;
}

static ErrCode note_record(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    Truth *truth = ctx;
    const Entry *e = &record->entry;
    const StoreShard *shard = truth->store->shards[e->shard];
    UNUSED(place);
    UNUSED(err);
    if (shard == NULL || e->lsn > shard->applied_lsn) return OK;
    if (e->op != OP_CREATE && e->op != OP_UPDATE && e->op != OP_DELETE) return OK;
    uint8_t bytes[ROW_KEY_MAX];
    Str key = str_of(bytes, truth_key(bytes, e->bucket, entry_key(e)));
    Changes *changes = omap_get(truth->names, key);
    if (changes == NULL) {
        changes = mem_new(sizeof *changes);
        void *before = omap_put(truth->names, key, changes);
        ASSERT(before == NULL);
    }
    if (find_change(changes, version_of(e)) != NULL) return OK; /* packed twice */
    if (changes->count == changes->capacity) {
        changes->capacity = MAX(2 * changes->capacity, (size_t)4);
        changes->items = mem_resize(changes->items, changes->capacity * sizeof *changes->items);
    }
    Change change = {.entry = *e};
    change.entry.attrs = change.entry.extents = change.entry.inline_body = (Str){NULL, 0};
    changes->items[changes->count++] = change;
    return OK;
}

/* Does the change make a version, and does none that the packs hold end it? */
static bool is_there(const Changes *changes, const Change *change)
{
    const Entry *e = &change->entry;
    VersionId own = version_of(e);
    if (e->op == OP_DELETE && (e->flags & ENTRY_FLAG_DELETE_MARKER) == 0) return false;
    for (size_t i = 0; i < changes->count; i++) {
        const Entry *later = &changes->items[i].entry;
        if (version_id_cmp(version_of(later), own) <= 0) continue;
        /* It relies on a DELETE before it, and nobody looks for what it would end. */
        if (later->op == OP_CREATE &&
            (later->flags & (ENTRY_FLAG_KEEP_OLDER | ENTRY_FLAG_ALL_VERSIONS)) == 0)
            continue;
        if (entry_ends(later, own, entry_makes_null(e))) return false;
    }
    return true;
}

static ErrCode read_packs(Truth *truth, Err *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    TRY(packs_list(truth->store->packs, &numbers, &count, err));
    ErrCode code = OK;
    for (size_t i = 0; i < count && code == OK; i++) {
        uint64_t torn_at = 0;
        code = packs_scan(truth->store->packs, numbers[i], note_record, truth, &torn_at, err);
        /* Its making was cut off: nothing was ever in it. */
        if (code == ERR_CORRUPT && numbers[i] == packs_newest(truth->store->packs)) code = OK;
    }
    mem_free(numbers);
    return code;
}

/* --- behind a torn place --- */

static ErrCode walked_record(void *ctx, const PackRecord *record, const PackPlace *place,
                             bool searched, Err *err)
{
    const bool *torn = ctx;
    if (!*torn || searched) return OK;
    return err_set(err, ERR_ABORTED,
                   "pack %" PRIu64 ": lsn %" PRIu64 " of shard %u at %" PRIu64
                   " stands behind a torn record",
                   place->pack, record->entry.lsn, record->entry.shard, place->offset);
}

static ErrCode walked_bad(void *ctx, const PackBad *bad, Err *err)
{
    bool *torn = ctx;
    UNUSED(err);
    *torn = *torn || bad->kind == PACK_TORN;
    return OK;
}

/* What an index is made from must not hold more than what compaction reads. */
static ErrCode walk_packs(const Truth *truth, Err *err)
{
    Store *store = truth->store;
    AUTO(uint64_t, mem_free) numbers = NULL;
    size_t count = 0;
    TRY(packs_list(store->packs, &numbers, &count, err));
    for (size_t i = 0; i < count; i++) {
        bool torn = false;
        PackWalked walked;
        PackWalkOptions options = {.root = root_storage(&store->options.root),
                                   .record = walked_record,
                                   .bad = walked_bad,
                                   .ctx = &torn};
        TRY(pack_walk(store->disk, numbers[i], &options, &walked, err));
    }
    return OK;
}

/* --- rows --- */

static ErrCode compare_row(Truth *truth, Str row_key, Str value, Err *err)
{
    BucketUid bucket;
    Str key;
    VersionId version;
    FileRow row;
    uint8_t bytes[ROW_KEY_MAX];
    if (!row_key_name_parse(row_key, &bucket, &key, &version) || !file_row_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "a row is malformed");
    }
    Changes *changes = omap_get(truth->names, str_of(bytes, truth_key(bytes, bucket, key)));
    Change *change = find_change(changes, version);
    if (change == NULL || !is_there(changes, change)) {
        return err_set(err, ERR_ABORTED, "packs say of %.*s lsn %" PRIu64 ": %s", STR_ARG(key),
                       version.lsn, change == NULL ? "nothing" : "it has ended");
    }
    change->seen = true;
    AUTO_BUF(body, 2 * MIB);
    PackRecord record;
    if (row.place.pack == 0) return OK;
    TRY(packs_read(truth->store->packs, &row.place, true, &body, &record, err));
    if (record.entry.lsn == version.lsn && str_eq(entry_key(&record.entry), key)) return OK;
    return err_set(err, ERR_ABORTED, "another file's record stands where %.*s should",
                   STR_ARG(key));
}

static ErrCode compare_rows(Truth *truth, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(truth->reader, STR("n"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'n') return OK;
        TRY(compare_row(truth, key, value, err));
    }
}

static ErrCode compare_unseen(const Truth *truth, Err *err)
{
    const OMapNode *node = omap_first(truth->names, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        const Changes *changes = omap_value(node);
        for (size_t i = 0; i < changes->count; i++) {
            const Change *change = &changes->items[i];
            if (change->seen || !is_there(changes, change)) continue;
            Str key = omap_key(node);
            return err_set(err, ERR_ABORTED, "packs say that %.*s is there (lsn %" PRIu64 ")",
                           STR_ARG(str_slice(key, 8, key.len)), change->entry.lsn);
        }
    }
    return OK;
}

ErrCode pack_truth_check(Store *store, Err *err)
{
    Truth truth = {.store = store, .names = omap_new(1)};
    ErrCode code = index_reader_open(store->index, &truth.reader, err);
    if (code == OK) code = read_packs(&truth, err);
    if (code == OK) code = walk_packs(&truth, err);
    if (code == OK) code = compare_rows(&truth, err);
    if (code == OK) code = compare_unseen(&truth, err);
    const OMapNode *node = omap_first(truth.names, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        Changes *changes = omap_value(node);
        mem_free(changes->items);
        mem_free(changes);
    }
    index_reader_free(truth.reader);
    omap_free(truth.names);
    return code;
}

ErrCode compact_all(Store *store, const CompactOptions *options, size_t *steps, Err *err)
{
    AUTO(Compactor, compactor_free) compactor = NULL;
    CompactTurn turn = COMPACT_MORE;
    TRY(compactor_open(store, options, &compactor, err));
    while (turn != COMPACT_NOTHING) {
        uint64_t read = 0;
        TRY(compactor_work(compactor, 64 * KIB, UINT64_MAX, &turn, &read, err));
        if (turn != COMPACT_STEP) continue;
        if (steps != NULL) (*steps)++;
        ErrCode code = store_compact(store, compactor_step(compactor), err);
        compactor_done(compactor, code);
        TRY(code);
        if (store_wants_checkpoint(store)) TRY(store_checkpoint(store, err));
    }
    return OK;
}
