/* A log from storage, for a root that is alone (REPLICATION.md section 7):
 *
 *   read index, walk the old log -> new log in rebuild/, under a new root uuid: what still verifies
 *   beyond the index and joins it, then a SNAPSHOT entry for each shard; synced -> wal.ready
 *   -> old segments to quarantine/ -> new ones in place -> control store -> root.json -> no
 * wal.ready
 *
 * Before wal.ready a run begins again; from it on each run goes on, and no store is opened until
 * one has come to the end. A segment's own header tells whether it is of the old log or the new. */
#include "store/rebuild_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sub.h"
#include "index/index.h"
#include "wal/wal.h"

#define READY_FILE REBUILD_DIR "/wal.ready"
#define ACTIVE "wal.active"
#define SEGMENTS "wal.segments"
#define UUID_TEXT_LEN 36
#define NEW_INCARNATION 1

/* A shard: how far the index goes, then how far the new log does. */
typedef struct {
    Lsn applied;
    Sha256 applied_hash;
    Lsn lsn;
    Sha256 hash;
    Term max_term;
    Lsn highest; /* that the old log tells of */
    bool seen;
} Tail;

typedef struct {
    Disk *disk;
    const RebuildOptions *options;
    RebuildReport *report;
    Disk *beside;
    Wal *wal; /* in it */
    Rng *rng;
    Uuid root; /* the new one */
    Tail *tails;
    Buf entry;
} Relog;

static void relog_deinit(Relog *relog)
{
    wal_free(relog->wal);
    disk_free(relog->beside);
    mem_free(relog->tails);
    buf_deinit(&relog->entry);
}

/* --- what there is --- */

static ErrCode read_applied(Relog *relog, Err *err)
{
    AUTO(Index, index_free) index = NULL;
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_open_read(relog->disk, NULL, &index, err));
    TRY(index_reader_open(index, &reader, err));
    TRY(index_scan(reader, STR("a"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        AppliedRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.len != 3 || key.ptr[0] != 'a') return OK;
        if (!applied_row_decode(value, &row))
            return err_set(err, ERR_CORRUPT, "applied row of a shard is malformed");
        Dec dec = dec_of(key.ptr + 1, 2);
        unsigned high = dec_u8(&dec);
        Tail *tail = &relog->tails[high << 8 | dec_u8(&dec)];
        *tail = (Tail){.applied = row.lsn,
                       .applied_hash = row.hash,
                       .lsn = row.lsn,
                       .hash = row.hash,
                       .max_term = row.term,
                       .seen = true};
    }
}

/* Packs that hold more than the index: then the index is to be made of them first. */
static ErrCode check_packs(Relog *relog, Err *err)
{
    RebuildOptions quiet = *relog->options;
    RebuildReport ignored = {0};
    quiet.loss = NULL;
    __attribute__((cleanup(rebuild_refs_deinit))) RebuildRefs refs = {0};
    rebuild_refs_init(&refs, &quiet, &ignored);
    TRY(rebuild_refs_read(&refs, relog->disk, err));
    for (size_t i = 0; i < refs.count; i++) {
        const RebuildRef *ref = &refs.refs[i];
        if (ref->lsn <= relog->tails[ref->shard].applied) continue;
        return err_set(err, ERR_CORRUPT,
                       "packs hold changes that index.db lacks (shard %u lsn %" PRIu64
                       "): first run `holdfast recover --rebuild index DIR`",
                       ref->shard, ref->lsn);
    }
    return OK;
}

/* --- the old log --- */

static void note_state(Relog *relog, const ReplicaState *state)
{
    Tail *tail = &relog->tails[state->shard];
    tail->seen = true;
    tail->max_term = MAX(tail->max_term, state->max_term);
    tail->highest = MAX(tail->highest, state->last_lsn);
}

static ErrCode note_checkpoint(Relog *relog, Str payload, Err *err)
{
    CheckpointReader reader;
    bool found = true;
    TRY(checkpoint_open(payload, &reader, err));
    while (found) {
        ReplicaState state;
        TRY(checkpoint_next(&reader, &state, &found, err));
        if (found) note_state(relog, &state);
    }
    return OK;
}

/* An entry that is the next of its shard's chain goes into the new log. */
static ErrCode relog_entry(Relog *relog, Str payload, Err *err)
{
    Entry entry;
    WalPos pos;
    TRY(entry_decode(payload, false, &entry, err));
    Tail *tail = &relog->tails[entry.shard];
    tail->seen = true;
    tail->max_term = MAX(tail->max_term, entry.term);
    tail->highest = MAX(tail->highest, entry.lsn);
    if (entry.lsn != tail->lsn + 1 || !sha256_eq(&entry.prev_hash, &tail->hash)) return OK;
    TRY(wal_append(relog->wal, &entry, payload, (Str){NULL, 0}, &pos, err));
    tail->lsn = entry.lsn;
    tail->hash = entry.checksum;
    relog->report->applied++;
    return OK;
}

static ErrCode relog_truncate(Relog *relog, Str payload, Err *err)
{
    Truncate truncate;
    TRY(truncate_decode(payload, &truncate, err));
    Tail *tail = &relog->tails[truncate.shard];
    if (truncate.from <= tail->applied || truncate.from > tail->lsn) return OK;
    tail->lsn = truncate.from - 1;
    tail->hash = truncate.hash;
    tail->highest = tail->lsn;
    return wal_append_truncate(relog->wal, &truncate, err);
}

static ErrCode on_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    Relog *relog = ctx;
    UNUSED(path);
    relog->report->records++;
    if (frame->kind == FRAME_ENTRY) return relog_entry(relog, payload, err);
    if (frame->kind == FRAME_TRUNCATE) return relog_truncate(relog, payload, err);
    if (frame->kind == FRAME_CHECKPOINT) return note_checkpoint(relog, payload, err);
    ReplicaState state;
    Dec dec = dec_of(payload.ptr, payload.len);
    if (frame->kind == FRAME_STATE && replica_state_decode(&dec, &state)) note_state(relog, &state);
    return OK;
}

static ErrCode on_bad(void *ctx, const WalBad *bad, Err *err)
{
    Relog *relog = ctx;
    UNUSED(err);
    if (bad->kind == WAL_TORN) return OK;
    RebuildLoss loss = {
        .kind = REBUILD_DAMAGED_LOG, .path = bad->path, .offset = bad->offset, .len = bad->length};
    rebuild_loss(relog->options, &loss);
    return OK;
}

/* Is this log one that a server would start with? */
static bool log_is_whole(const Relog *relog, const WalWalked *walked)
{
    bool whole = walked->damages == 0 && walked->first_id != 0;
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++) {
        const Tail *tail = &relog->tails[i];
        whole = whole && (!tail->seen || tail->highest <= tail->lsn) &&
                tail->highest >= tail->applied;
    }
    return whole;
}

static void tell_tails(const Relog *relog)
{
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        const Tail *tail = &relog->tails[i];
        if (!tail->seen) continue;
        RebuildLoss loss = {.kind = REBUILD_LOST_TAIL,
                            .shard = (ShardId)i,
                            .from = tail->lsn + 1,
                            .to = tail->highest > tail->lsn ? tail->highest : 0};
        rebuild_loss(relog->options, &loss);
        if (loss.to != 0) relog->report->lost_entries += loss.to - loss.from + 1;
    }
}

/* --- the new log --- */

static ErrCode begin_log(Relog *relog, Err *err)
{
    WalOptions options = {.root = relog->root,
                          .incarnation = NEW_INCARNATION,
                          .clock = relog->options->clock,
                          .rng = relog->rng};
    WalOpened opened;
    return wal_open(relog->beside, &options, NULL, NULL, &relog->wal, &opened, err);
}

/* The shard's state begins here, without lineage before. */
static ErrCode append_snapshot(Relog *relog, ShardId shard, Err *err)
{
    Tail *tail = &relog->tails[shard];
    WalPos pos;
    Entry entry = {.op = OP_SNAPSHOT,
                   .shard = shard,
                   .term = tail->max_term + 1,
                   .lsn = tail->lsn + 1,
                   .prev_hash = tail->hash,
                   .record_id = id128_random(relog->rng),
                   .time_ms = clock_wall_ms(relog->options->clock)};
    entry_seal(&entry);
    buf_clear(&relog->entry);
    TRY(buf_reserve(&relog->entry, entry_len(&entry), err));
    Enc enc = enc_of(relog->entry.data, relog->entry.capacity);
    entry_encode(&entry, &enc);
    ASSERT(!enc.failed);
    return wal_append(relog->wal, &entry, str_of(relog->entry.data, enc.len), (Str){NULL, 0}, &pos,
                      err);
}

static ErrCode finish_log(Relog *relog, Err *err)
{
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        if (relog->tails[i].seen) TRY(append_snapshot(relog, (ShardId)i, err));
    }
    TRY(wal_sync(relog->wal, err));
    TRY(wal_close(relog->wal, err));
    wal_free(TAKE(relog->wal));
    return OK;
}

static ErrCode make_log(Relog *relog, Err *err)
{
    WalWalked walked;
    WalWalkOptions walk = {
        .root = relog->options->root.uuid, .record = on_record, .bad = on_bad, .ctx = relog};
    TRY(begin_log(relog, err));
    rebuild_progress(relog->options, "reading the old log", 0, 1);
    TRY(wal_walk(relog->disk, &walk, &walked, err));
    rebuild_progress(relog->options, "reading the old log", 1, 1);
    relog->report->log_damaged = walked.damages > 0;
    relog->report->log_absent = walked.first_id == 0;
    if (log_is_whole(relog, &walked)) {
        return err_set(err, ERR_PRECONDITION,
                       "the log is whole and joins index.db: nothing was changed");
    }
    tell_tails(relog);
    if (!relog->options->accept_loss) {
        return err_set(err, ERR_CORRUPT,
                       "a new log begins where the old one can't be read; what stood behind is "
                       "lost; nothing was changed; --yes goes on");
    }
    return finish_log(relog, err);
}

/* --- the change --- */

typedef struct {
    char names[256][64];
    size_t count;
} Names;

static ErrCode note_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    Names *names = ctx;
    UNUSED(err);
    if (is_dir || strlen(name) >= sizeof names->names[0] || names->count == ARRAY_LEN(names->names))
        return OK;
    memcpy(names->names[names->count++], name, strlen(name) + 1);
    return OK;
}

/* The names in dir, at most 256 of them: who moves them away asks again until there is none. */
static ErrCode list_names(Disk *disk, const char *dir, Names *out, Err *err)
{
    DiskStat stat;
    out->count = 0;
    TRY(disk_stat(disk, dir, &stat, err));
    return stat.exists ? disk_list(disk, dir, note_name, out, err) : OK;
}

/* Does the segment at path belong to root? A header that can't be read belongs to nobody. */
static ErrCode is_of(Disk *disk, const char *path, Uuid root, bool *yes, Err *err)
{
    uint8_t block[SEGMENT_HEADER_LEN];
    AUTO(File, disk_close) file = NULL;
    SegmentHeader header;
    size_t got = 0;
    *yes = false;
    TRY(disk_open(disk, path, DISK_OPEN_READ, &file, err));
    TRY(disk_read(file, 0, block, sizeof block, &got, err));
    if (got == sizeof block && segment_header_decode(str_of(block, got), &header, NULL) == OK)
        *yes = id128_eq(header.root, root);
    return OK;
}

static ErrCode move_old(const Relog *relog, const char *path, const char *name, bool *moved,
                        Err *err)
{
    DiskStat stat;
    bool ours = false;
    *moved = false;
    TRY(disk_stat(relog->disk, path, &stat, err));
    if (!stat.exists) return OK;
    TRY(is_of(relog->disk, path, relog->root, &ours, err));
    return ours ? OK : rebuild_quarantine(relog->disk, path, name, moved, err);
}

static ErrCode move_old_segments(const Relog *relog, Err *err)
{
    AUTO(void, mem_free) memory = mem_new(sizeof(Names));
    Names *names = memory;
    bool moved = false;
    TRY(move_old(relog, ACTIVE, ACTIVE, &moved, err));
    for (bool any = true; any;) {
        any = false;
        TRY(list_names(relog->disk, SEGMENTS, names, err));
        for (size_t i = 0; i < names->count; i++) {
            char path[DISK_PATH_MAX];
            snprintf(path, sizeof path, SEGMENTS "/%s", names->names[i]); /* fits */
            TRY(move_old(relog, path, names->names[i], &moved, err));
            any = any || moved;
        }
    }
    return OK;
}

static ErrCode move_new_segments(const Relog *relog, Err *err)
{
    AUTO(void, mem_free) memory = mem_new(sizeof(Names));
    Names *names = memory;
    DiskStat stat;
    TRY(disk_mkdir_durable(relog->disk, SEGMENTS, err));
    do {
        TRY(list_names(relog->beside, SEGMENTS, names, err));
        for (size_t i = 0; i < names->count; i++) {
            char from[DISK_PATH_MAX];
            char to[DISK_PATH_MAX];
            snprintf(from, sizeof from, REBUILD_DIR "/" SEGMENTS "/%s", names->names[i]);
            snprintf(to, sizeof to, SEGMENTS "/%s", names->names[i]);
            TRY(disk_rename_durable(relog->disk, from, to, err));
        }
    } while (names->count > 0);
    TRY(disk_stat(relog->beside, ACTIVE, &stat, err));
    return stat.exists ? disk_rename_durable(relog->disk, REBUILD_DIR "/" ACTIVE, ACTIVE, err) : OK;
}

/* A place to be killed or to fail at, in test builds. */
static ErrCode pass(Err *err)
{
    int saved = fault_point("rebuild.wal");
    return saved == 0 ? OK : err_set_errno(err, ERR_IO, saved, "fault point rebuild.wal");
}

/* From wal.ready to the end; any part of it may have been done. */
static ErrCode roll_forward(const Relog *relog, Err *err)
{
    const RebuildOptions *options = relog->options;
    RootInfo info = options->root;
    TRY(pass(err));
    TRY(move_old_segments(relog, err));
    TRY(pass(err));
    TRY(move_new_segments(relog, err));
    TRY(pass(err));
    if (!id128_eq(info.uuid, relog->root)) {
        if (options->follow != NULL) TRY(options->follow(options->ctx, relog->root, err));
        TRY(pass(err));
        info.storage = root_storage(&info);
        info.uuid = relog->root;
        info.incarnation = NEW_INCARNATION;
        TRY(root_save(relog->disk, &info, err));
    }
    TRY(pass(err));
    TRY(disk_unlink(relog->disk, READY_FILE, err));
    return disk_sync_dir(relog->disk, REBUILD_DIR, err);
}

/* Unlinks what an earlier run left in rebuild/. */
static ErrCode discard(const Relog *relog, Err *err)
{
    AUTO(void, mem_free) memory = mem_new(sizeof(Names));
    Names *names = memory;
    static const char *const dirs[] = {SEGMENTS, ""};
    for (size_t d = 0; d < ARRAY_LEN(dirs); d++) {
        do {
            TRY(list_names(relog->beside, dirs[d], names, err));
            for (size_t i = 0; i < names->count; i++) {
                char path[DISK_PATH_MAX];
                snprintf(path, sizeof path, "%s%s%s", dirs[d], dirs[d][0] == '\0' ? "" : "/",
                         names->names[i]);
                TRY(disk_unlink(relog->beside, path, err));
            }
        } while (names->count > 0);
    }
    return OK;
}

ErrCode rebuild_wal_unfinished(Disk *disk, bool *unfinished, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, READY_FILE, &stat, err));
    *unfinished = stat.exists;
    return OK;
}

ErrCode rebuild_wal_first(Err *err)
{
    return err_set(
        err, ERR_CORRUPT,
        "a rebuild of the log was cut off: run `holdfast recover --rebuild wal DIR` again");
}

/* The uuid that wal.ready names. */
static ErrCode read_ready(Relog *relog, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    TRY(disk_read_file(relog->disk, READY_FILE, UUID_TEXT_LEN, &text, &len, err));
    if (!uuid_parse(str_of(text, len), &relog->root))
        return err_set(err, ERR_CORRUPT, READY_FILE " is no uuid");
    return OK;
}

static ErrCode run(Relog *relog, Err *err)
{
    bool unfinished = false;
    TRY(disk_mkdir_durable(relog->disk, REBUILD_DIR, err));
    TRY(disk_sub_open(relog->disk, REBUILD_DIR, &relog->beside, err));
    TRY(rebuild_wal_unfinished(relog->disk, &unfinished, err));
    if (unfinished) {
        TRY(read_ready(relog, err));
    } else {
        char text[UUID_TEXT_LEN + 1];
        relog->root = id128_random(relog->rng);
        TRY(discard(relog, err));
        ErrCode code = read_applied(relog, err);
        if (code != OK) return err_wrap(err, code, "index.db (it is needed for this)");
        TRY(check_packs(relog, err));
        TRY(make_log(relog, err));
        TRY(pass(err));
        uuid_text(relog->root, text);
        TRY(rebuild_keep_orphans(relog->disk, err));
        TRY(disk_create_durable(relog->disk, READY_FILE, str_of(text, UUID_TEXT_LEN), err));
    }
    TRY(roll_forward(relog, err));
    return discard(relog, err);
}

ErrCode rebuild_wal(Disk *disk, const RebuildOptions *options, RebuildReport *report, Err *err)
{
    *report = (RebuildReport){0};
    Rng rng;
    rng_init(&rng, options->seed);
    __attribute__((cleanup(relog_deinit)))
    Relog relog = {.disk = disk, .options = options, .report = report, .rng = &rng};
    relog.tails = mem_new_array(SHARD_COUNT_MAX, sizeof *relog.tails);
    buf_init(&relog.entry, ENTRY_MAX);
    return run(&relog, err);
}
