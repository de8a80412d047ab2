/* What the packs hold, and how it joins the log.
 *
 *   lsn  1 ... begin ................ last      of one shard
 *        packs only | packs and log  | log only
 *
 * Everything up to begin, where the oldest segment kept begins, was in synced packs before the log
 * was cut: a lsn there that no pack holds is lost, or was compacted away. Behind begin the log has
 * all, so the new index ends before the first lsn that the packs lack, and the rest is applied from
 * the log at start.
 *
 * A crash may leave the first record of a batch torn and the ones behind it whole. What reads packs
 * in their order (packs_scan()) ends at the torn one, and so must the index: compaction and
 * scrubbing would take a row that leads behind that place for proof of damage. What the log no
 * longer has is taken from there all the same: then it is damage. */
#include "store/rebuild_priv.h"

#include <stdlib.h>

#include "base/fault.h"
#include "store/compact_priv.h"

void rebuild_refs_init(RebuildRefs *refs, const RebuildOptions *options, RebuildReport *report)
{
    *refs = (RebuildRefs){.options = options,
                          .report = report,
                          .shards = mem_new_array(SHARD_COUNT_MAX, sizeof(RebuildShard))};
}

void rebuild_refs_deinit(RebuildRefs *refs)
{
    mem_free(refs->packs);
    mem_free(refs->refs);
    mem_free(refs->shards);
}

void rebuild_progress(const RebuildOptions *options, const char *what, uint64_t done,
                      uint64_t total)
{
    if (options->progress != NULL) options->progress(options->ctx, what, done, total);
}

void rebuild_loss(const RebuildOptions *options, const RebuildLoss *loss)
{
    if (options->loss != NULL) options->loss(options->ctx, loss);
}

/* --- packs --- */

typedef struct {
    RebuildRefs *refs;
    uint32_t pack; /* index */
    bool torn;     /* a PACK_TORN was met: the records from here on stand behind it */
} PackRead;

static uint8_t ref_type(const PackRecord *record)
{
    bool request = compact_kind(&record->entry) == COMPACT_KIND_REQUEST;
    return request ? REBUILD_REQUEST : (uint8_t)record->type;
}

/* A record that was found by looking for one is left out: it may be what a client stored. */
static ErrCode add_record(void *ctx, const PackRecord *record, const PackPlace *place,
                          bool searched, Err *err)
{
    PackRead *read = ctx;
    RebuildRefs *refs = read->refs;
    UNUSED(err);
    if (searched) return OK;
    if (refs->count == refs->capacity) {
        refs->capacity = MAX((size_t)1024, refs->capacity + refs->capacity / 2);
        refs->refs = mem_resize(refs->refs, refs->capacity * sizeof *refs->refs);
    }
    refs->refs[refs->count++] = (RebuildRef){.lsn = record->entry.lsn,
                                             .offset = place->offset,
                                             .pack = read->pack,
                                             .term = record->entry.term,
                                             .length = place->length,
                                             .shard = record->entry.shard,
                                             .type = ref_type(record),
                                             .behind = read->torn};
    refs->report->records++;
    return OK;
}

static ErrCode note_damage(void *ctx, const PackBad *bad, Err *err)
{
    PackRead *read = ctx;
    UNUSED(err);
    if (bad->kind == PACK_TORN) { /* of a batch that no index was told of, it seems */
        read->torn = true;
        return OK;
    }
    read->refs->report->damaged_bytes += bad->length;
    RebuildLoss loss = {.kind = REBUILD_DAMAGED_PACK,
                        .pack = read->refs->packs[read->pack],
                        .offset = bad->offset,
                        .len = bad->length};
    rebuild_loss(read->refs->options, &loss);
    return OK;
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_place(const void *left, const void *right)
{
    const RebuildRef *a = left;
    const RebuildRef *b = right;
    return a->pack != b->pack ? compare(a->pack, b->pack) : compare(a->offset, b->offset);
}

static int by_version(const void *left, const void *right)
{
    const RebuildRef *a = left;
    const RebuildRef *b = right;
    if (a->shard != b->shard) return compare(a->shard, b->shard);
    if (a->term != b->term) return compare(a->term, b->term);
    if (a->lsn != b->lsn) return compare(a->lsn, b->lsn);
    if (a->behind != b->behind) return a->behind ? -1 : 1;
    bool a_request = a->type == REBUILD_REQUEST;
    if (a_request != (b->type == REBUILD_REQUEST)) return a_request ? -1 : 1;
    return by_place(a, b);
}

/* An entry was packed twice if a crash came between packs and index; the index names the later that
 * does not stand behind a torn place. What compaction kept of it for its request counts only
 * alone: the whole one tells of the request, too, and may still be needed. */
static void drop_doubles(RebuildRefs *refs)
{
    size_t kept = 0;
    for (size_t i = 0; i < refs->count; i++) {
        const RebuildRef *ref = &refs->refs[i];
        const RebuildRef *next = i + 1 < refs->count ? ref + 1 : NULL;
        bool twice = next != NULL && next->shard == ref->shard && next->term == ref->term &&
                     next->lsn == ref->lsn;
        if (!twice) refs->refs[kept++] = *ref;
    }
    refs->count = kept;
}

ErrCode rebuild_refs_read(RebuildRefs *refs, Disk *disk, Err *err)
{
    TRY(pack_walk_list(disk, &refs->packs, &refs->pack_count, err));
    for (size_t i = 0; i < refs->pack_count; i++) {
        PackRead read = {.refs = refs, .pack = (uint32_t)i};
        PackWalkOptions walk = {.root = root_storage(&refs->options->root),
                                .record = add_record,
                                .bad = note_damage,
                                .ctx = &read};
        PackWalked walked;
        rebuild_progress(refs->options, "reading packs", i, refs->pack_count);
        TRY(pack_walk(disk, refs->packs[i], &walk, &walked, err));
        refs->report->packs++;
    }
    rebuild_progress(refs->options, "reading packs", refs->pack_count, refs->pack_count);
    if (refs->count > 0) qsort(refs->refs, refs->count, sizeof *refs->refs, by_version);
    drop_doubles(refs);
    return OK;
}

/* --- log --- */

typedef struct {
    RebuildRefs *refs;
    bool begun; /* the first CHECKPOINT was seen */
} LogRead;

/* The first CHECKPOINT: where the log begins. */
static ErrCode note_begin(RebuildRefs *refs, Str payload, Err *err)
{
    CheckpointReader reader;
    TRY(checkpoint_open(payload, &reader, err));
    for (;;) {
        ReplicaState state;
        bool found = false;
        TRY(checkpoint_next(&reader, &state, &found, err));
        if (!found) return OK;
        RebuildShard *shard = &refs->shards[state.shard];
        shard->seen = true;
        shard->begin = state.last_lsn;
        shard->begin_term = state.last_term;
        shard->begin_hash = state.last_hash;
    }
}

/* The refs of one shard, from first on; returns how many. */
static size_t shard_span(const RebuildRefs *refs, size_t first)
{
    size_t n = 1;
    while (first + n < refs->count && refs->refs[first + n].shard == refs->refs[first].shard)
        n++;
    return n;
}

/* How far the packs reach without a gap behind begin, before what is torn in them. */
static void find_end(RebuildShard *shard, const RebuildRef *refs, size_t count)
{
    shard->seen = true;
    shard->last = shard->begin;
    shard->last_term = shard->begin_term;
    shard->last_hash = shard->begin_hash;
    for (size_t i = 0; i < count; i++) {
        if (refs[i].lsn != shard->last + 1 || refs[i].behind) continue;
        shard->last = refs[i].lsn;
        shard->last_term = refs[i].term;
        shard->last_hash = (Sha256){{0}};
    }
}

static void find_ends(RebuildRefs *refs)
{
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++) {
        if (refs->shards[i].seen) find_end(&refs->shards[i], NULL, 0);
    }
    for (size_t i = 0; i < refs->count;) {
        size_t n = shard_span(refs, i);
        find_end(&refs->shards[refs->refs[i].shard], &refs->refs[i], n);
        i += n;
    }
}

static ErrCode on_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    LogRead *read = ctx;
    UNUSED(path);
    if (frame->kind == FRAME_CHECKPOINT && !read->begun) {
        read->begun = true;
        TRY(note_begin(read->refs, payload, err));
        find_ends(read->refs);
        return OK;
    }
    if (frame->kind != FRAME_ENTRY) return OK;
    Entry entry;
    TRY(entry_decode(payload, false, &entry, err));
    RebuildShard *shard = &read->refs->shards[entry.shard];
    if (entry.lsn == shard->last && entry.term == shard->last_term)
        shard->last_hash = entry.checksum;
    return OK;
}

/* Without a log that tells more, the packs are all there is: up to the highest lsn in them. */
static void take_all(RebuildRefs *refs)
{
    for (size_t i = 0; i < refs->count; i++) {
        const RebuildRef *ref = &refs->refs[i];
        RebuildShard *shard = &refs->shards[ref->shard];
        if (ref->lsn <= shard->last) continue;
        shard->last = ref->lsn;
        shard->last_term = ref->term;
        shard->last_hash = (Sha256){{0}};
    }
}

/* Compaction takes what is needed no longer out of the packs, and leaves a hole in their numbers.
 * From then on a lsn that no pack holds proves nothing, unless there is damage where it may have
 * stood. */
static bool gaps_are_explained(const RebuildRefs *refs)
{
    size_t n = refs->pack_count;
    return n > 0 && refs->packs[n - 1] != n && refs->report->damaged_bytes == 0;
}

static void tell_lost(RebuildRefs *refs, ShardId shard, Lsn from, Lsn to)
{
    if (gaps_are_explained(refs)) {
        refs->report->left_out += to - from + 1;
        return;
    }
    RebuildLoss loss = {.kind = REBUILD_LOST_ENTRIES, .shard = shard, .from = from, .to = to};
    refs->report->lost_entries += to - from + 1;
    rebuild_loss(refs->options, &loss);
}

static int by_lsn(const void *left, const void *right)
{
    return compare(*(const Lsn *)left, *(const Lsn *)right);
}

/* Lsns of a shard, 1..end, that no pack holds. */
static void find_lost(RebuildRefs *refs, ShardId shard, const RebuildRef *items, size_t count,
                      Lsn end)
{
    AUTO(void, mem_free) memory = mem_new_array(count + 1, sizeof(Lsn));
    Lsn *lsns = memory;
    for (size_t i = 0; i < count; i++)
        lsns[i] = items[i].lsn;
    if (count > 0) qsort(lsns, count, sizeof *lsns, by_lsn); /* nearly sorted: by term before */
    Lsn next = 1;
    for (size_t i = 0; i < count && next <= end; i++) {
        Lsn upto = MIN(lsns[i], end + 1);
        if (upto > next) tell_lost(refs, shard, next, upto - 1);
        next = MAX(next, lsns[i] + 1);
    }
    if (next <= end) tell_lost(refs, shard, next, end);
}

static void find_all_lost(RebuildRefs *refs, bool log_good)
{
    size_t at = 0;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        const RebuildShard *shard = &refs->shards[i];
        if (!shard->seen) continue;
        bool here = at < refs->count && refs->refs[at].shard == i;
        size_t n = here ? shard_span(refs, at) : 0;
        find_lost(refs, (ShardId)i, here ? &refs->refs[at] : NULL, n,
                  log_good ? shard->begin : shard->last);
        at += n;
    }
    ASSERT(at == refs->count);
}

/* Only counted: which command tells the places, the report says. */
static ErrCode on_bad(void *ctx, const WalBad *bad, Err *err)
{
    UNUSED(ctx);
    UNUSED(bad);
    UNUSED(err);
    return OK;
}

ErrCode rebuild_refs_join_log(RebuildRefs *refs, Disk *disk, Err *err)
{
    LogRead read = {.refs = refs};
    WalWalked walked;
    WalWalkOptions walk = {
        .root = refs->options->root.uuid, .record = on_record, .bad = on_bad, .ctx = &read};
    rebuild_progress(refs->options, "reading the log", 0, 1);
    TRY(wal_walk(disk, &walk, &walked, err));
    refs->report->log_damaged = walked.damages > 0;
    refs->report->log_absent = walked.first_id == 0;
    if (!read.begun) find_ends(refs);
    bool good = walked.damages == 0 && read.begun;
    if (!good) take_all(refs);
    find_all_lost(refs, good);
    rebuild_progress(refs->options, "reading the log", 1, 1);
    return OK;
}

/* --- order --- */

void rebuild_refs_order(RebuildRefs *refs)
{
    size_t kept = 0;
    bool rises = true;
    for (size_t i = 0; i < refs->count; i++) {
        const RebuildRef ref = refs->refs[i];
        if (ref.lsn > refs->shards[ref.shard].last) continue;
        if (ref.type == PACK_TOMBSTONE && fault_planted("rebuild-without-tombstones")) continue;
        const RebuildRef *before = kept > 0 ? &refs->refs[kept - 1] : NULL;
        if (before != NULL && before->shard == ref.shard && by_place(before, &ref) > 0)
            rises = false;
        refs->refs[kept++] = ref;
    }
    refs->count = kept;
    if (rises && kept > 0) qsort(refs->refs, kept, sizeof *refs->refs, by_place);
    if (!fault_planted("rebuild-oldest-wins")) return;
    for (size_t i = 0; i < kept / 2; i++) {
        RebuildRef ref = refs->refs[i];
        refs->refs[i] = refs->refs[kept - 1 - i];
        refs->refs[kept - 1 - i] = ref;
    }
}
