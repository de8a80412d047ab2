/* The log: its own chain, and the joints between it and the index, by the rules of store/recover.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fsck/fsck_priv.h"
#include "wal/wal_walk.h"

static const char *kind_name(WalBadKind kind)
{
    switch (kind) {
    case WAL_BAD_HEADER: return "log-header";
    case WAL_BAD_FRAME: return "log-record";
    case WAL_BAD_MISSING: return "log-missing";
    case WAL_BAD_FILE: return "log-segment";
    case WAL_TORN: return "log-torn";
    }
    return "log";
}

static ErrCode log_bad(void *ctx, const WalBad *bad, Err *err)
{
    Fsck *fsck = ctx;
    FsckLevel level = bad->kind == WAL_TORN ? FSCK_NOTE : FSCK_DAMAGE;
    if (level == FSCK_DAMAGE) fsck->log_bad = true;
    return fsck_say(fsck, level, kind_name(bad->kind), bad->path, bad->offset, bad->length, "", err,
                    "%s", bad->text);
}

static ErrCode chain_bad(Fsck *fsck, const char *path, const Frame *frame, const Entry *entry,
                         const char *text, Err *err)
{
    FsckOwner owner = fsck_owner(fsck, entry->bucket, entry_key(entry),
                                 (VersionId){.term = entry->term, .lsn = entry->lsn}, entry->file);
    char full[FSCK_TEXT_MAX];
    snprintf(full, sizeof full, "shard %u lsn %" PRIu64 " %s", entry->shard, entry->lsn, text);
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "log-chain",
                           .path = path,
                           .offset = frame->pos.offset,
                           .length = frame_total(frame->length),
                           .owner = owner.key.len > 0 ? &owner : NULL,
                           .text = full,
                           .mend = ""};
    return fsck_tell(fsck, &finding, err);
}

/* Extents that only the log names yet: they must be there, and are no orphans. */
static ErrCode note_extents(Fsck *fsck, const Entry *entry, Err *err)
{
    FsckOwner owner = fsck_owner(fsck, entry->bucket, entry_key(entry),
                                 (VersionId){.term = entry->term, .lsn = entry->lsn}, entry->file);
    for (uint32_t i = 0; i < entry->extent_count; i++) {
        Extent extent = extent_at(entry->extents, i);
        uint8_t key[ROW_KEY_MAX];
        uint8_t bytes[FSCK_OWNER_MAX];
        size_t len = row_key_extent(key, extent.body, extent.number);
        Enc enc = enc_of(bytes, sizeof bytes);
        key[0] = 'x';
        fsck_owner_encode(&owner, &enc);
        ASSERT(!enc.failed);
        TRY(scratch_put(fsck->scratch, str_of(key, len), str_of(bytes, enc.len), err));
    }
    return OK;
}

/* end: as FsckTail has it. */
static void doubt(FsckTail *tail, Lsn from, Lsn end, const char *path, const Frame *frame)
{
    if (tail->doubted_from != 0) return;
    tail->doubted_from = from;
    tail->doubted_end = end;
    tail->doubted_path = mem_dup_cstr(path);
    tail->doubted_offset = frame->pos.offset;
    tail->doubted_len = frame_total(frame->length);
}

static void trust(FsckTail *tail)
{
    tail->doubted_from = 0;
    mem_free(TAKE(tail->doubted_path));
}

static ErrCode tell_doubted(Fsck *fsck, unsigned shard, const FsckTail *tail, Err *err)
{
    if (tail->doubted_end == 0)
        return fsck_say(fsck, FSCK_DAMAGE, "log-chain", tail->doubted_path, tail->doubted_offset,
                        tail->doubted_len, "", err,
                        "shard %u lsn %" PRIu64 " is not the entry that index.db has applied",
                        shard, tail->doubted_from);
    return fsck_say(fsck, FSCK_DAMAGE, "index-behind", tail->doubted_path, tail->doubted_offset,
                    tail->doubted_len, FSCK_MEND_INDEX, err,
                    "shard %u: the log begins behind lsn %" PRIu64
                    ", index.db is applied only up to lsn %" PRIu64,
                    shard, tail->doubted_end, tail->doubted_from - 1);
}

static ErrCode on_entry(Fsck *fsck, const char *path, const Frame *frame, Str payload, Err *err)
{
    Entry entry;
    TRY(entry_decode(payload, false, &entry, err)); /* verified by the walk */
    FsckTail *tail = &fsck->tails[entry.shard];
    const AppliedRow *applied = &fsck->applied[entry.shard];
    fsck_learn_bucket(fsck, entry.bucket, entry_key(&entry), entry.attrs);
    bool joins = entry.lsn == tail->lsn + 1 && sha256_eq(&entry.prev_hash, &tail->hash);
    if (tail->known && !joins) {
        char text[96];
        snprintf(text, sizeof text, "does not follow lsn %" PRIu64, tail->lsn); /* fits */
        TRY(chain_bad(fsck, path, frame, &entry, text, err));
    }
    bool is_other = entry.lsn == applied->lsn && !sha256_eq(&entry.checksum, &applied->hash);
    if (is_other && !tail->incomplete) doubt(tail, entry.lsn, 0, path, frame);
    tail->lsn = entry.lsn;
    tail->term = entry.term;
    tail->hash = entry.checksum;
    tail->known = true;
    tail->seen = true;
    return entry.lsn > applied->lsn ? note_extents(fsck, &entry, err) : OK;
}

/* What a segment begins with must join what was before it, and the index. */
static ErrCode on_state(Fsck *fsck, const char *path, const Frame *frame, const ReplicaState *state,
                        Err *err)
{
    FsckTail *tail = &fsck->tails[state->shard];
    const AppliedRow *applied = &fsck->applied[state->shard];
    if (tail->known &&
        (tail->lsn != state->last_lsn || !sha256_eq(&tail->hash, &state->last_hash))) {
        TRY(fsck_say(fsck, FSCK_DAMAGE, "log-chain", path, frame->pos.offset,
                     frame_total(frame->length), "", err,
                     "shard %u: the segment begins behind lsn %" PRIu64
                     ", the log before it ends at lsn %" PRIu64,
                     state->shard, state->last_lsn, tail->lsn));
    }
    tail->incomplete = state->incomplete;
    if (state->incomplete) trust(tail);
    if (!tail->seen && !state->incomplete && fsck->index_whole && applied->lsn < state->last_lsn)
        doubt(tail, applied->lsn + 1, state->last_lsn, path, frame);
    tail->lsn = state->last_lsn;
    tail->term = state->last_term;
    tail->hash = state->last_hash;
    tail->known = true;
    tail->seen = true;
    tail->commit_lsn = MAX(tail->commit_lsn, state->commit_lsn);
    return OK;
}

static ErrCode on_checkpoint(Fsck *fsck, const char *path, const Frame *frame, Str payload,
                             Err *err)
{
    CheckpointReader reader;
    Err why = {0};
    ErrCode code = checkpoint_open(payload, &reader, &why);
    while (code == OK) {
        ReplicaState state;
        bool found = false;
        code = checkpoint_next(&reader, &state, &found, &why);
        if (code != OK) break;
        if (!found) return OK;
        TRY(on_state(fsck, path, frame, &state, err));
    }
    return fsck_say(fsck, FSCK_DAMAGE, "log-record", path, frame->pos.offset,
                    frame_total(frame->length), "", err, "%s", err_text(&why));
}

static ErrCode on_truncate(Fsck *fsck, const char *path, const Frame *frame, Str payload, Err *err)
{
    Truncate truncate;
    Err why = {0};
    if (truncate_decode(payload, &truncate, &why) != OK) {
        return fsck_say(fsck, FSCK_DAMAGE, "log-record", path, frame->pos.offset,
                        frame_total(frame->length), "", err, "%s", err_text(&why));
    }
    FsckTail *tail = &fsck->tails[truncate.shard];
    if (truncate.from <= tail->doubted_from) trust(tail);
    tail->lsn = truncate.from - 1;
    tail->term = truncate.term;
    tail->hash = truncate.hash;
    tail->known = true;
    tail->seen = true;
    return OK;
}

/* The shard's log begins anew; the index may be anything until its snapshot is whole. */
static ErrCode on_reset(Fsck *fsck, const char *path, const Frame *frame, Str payload, Err *err)
{
    ReplicaState state;
    Dec dec = dec_of(payload.ptr, payload.len);
    if (!replica_state_decode(&dec, &state)) {
        return fsck_say(fsck, FSCK_DAMAGE, "log-record", path, frame->pos.offset,
                        frame_total(frame->length), "", err, "a RESET is malformed");
    }
    FsckTail *tail = &fsck->tails[state.shard];
    trust(tail);
    tail->incomplete = true;
    tail->lsn = state.last_lsn;
    tail->term = state.last_term;
    tail->hash = state.last_hash;
    tail->known = true;
    tail->seen = true;
    tail->commit_lsn = state.last_lsn;
    return OK;
}

/* Says also when a snapshot has become whole. */
static ErrCode on_promise(Fsck *fsck, const char *path, const Frame *frame, Str payload, Err *err)
{
    ReplicaState state;
    Dec dec = dec_of(payload.ptr, payload.len);
    if (!replica_state_decode(&dec, &state)) {
        return fsck_say(fsck, FSCK_DAMAGE, "log-record", path, frame->pos.offset,
                        frame_total(frame->length), "", err, "a STATE is malformed");
    }
    fsck->tails[state.shard].incomplete = state.incomplete;
    return OK;
}

static ErrCode log_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    switch (frame->kind) {
    case FRAME_ENTRY: return on_entry(ctx, path, frame, payload, err);
    case FRAME_CHECKPOINT: return on_checkpoint(ctx, path, frame, payload, err);
    case FRAME_TRUNCATE: return on_truncate(ctx, path, frame, payload, err);
    case FRAME_RESET: return on_reset(ctx, path, frame, payload, err);
    case FRAME_STATE: return on_promise(ctx, path, frame, payload, err);
    case FRAME_ATTEST:
    case FRAME_PAD: return OK;
    }
    return OK;
}

static void log_read(void *ctx, uint64_t bytes)
{
    fsck_read(ctx, bytes);
}

/* The log must reach as far as the index, and as far as it says that was committed; where a
 * snapshot is not whole yet, the one says nothing of the other. */
static ErrCode check_tails(Fsck *fsck, Err *err)
{
    unsigned incomplete = 0;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        FsckTail *tail = &fsck->tails[i];
        Lsn applied = fsck->applied[i].lsn;
        ErrCode code = tail->doubted_from == 0 ? OK : tell_doubted(fsck, i, tail, err);
        trust(tail);
        if (code != OK) return code;
        if (tail->incomplete) {
            incomplete++;
        } else if (tail->lsn < applied) {
            TRY(fsck_say(fsck, FSCK_DAMAGE, "log-short", "wal.active", 0, 0,
                         "holdfast recover --rebuild wal", err,
                         "shard %u: index.db is applied up to lsn %" PRIu64
                         ", the log ends at lsn %" PRIu64,
                         i, applied, tail->lsn));
        } else if (tail->lsn < tail->commit_lsn) {
            TRY(fsck_say(fsck, FSCK_DAMAGE, "log-short", "wal.active", 0, 0, "", err,
                         "shard %u: lsn %" PRIu64 " was committed, the log ends at lsn %" PRIu64, i,
                         tail->commit_lsn, tail->lsn));
        }
    }
    if (incomplete == 0) return OK;
    return fsck_say(fsck, FSCK_NOTE, "incomplete", "wal.active", 0, 0, "", err,
                    "%u of its shards wait for the rest of a copy from another directory: the "
                    "next start goes on with it; until then this one alone says nothing of them",
                    incomplete);
}

ErrCode fsck_check_log(Fsck *fsck, Err *err)
{
    WalWalkOptions options = {
        .record = log_record, .bad = log_bad, .progress = log_read, .ctx = fsck};
    WalWalked walked = {0};
    if (fsck->root_known) options.root = fsck->root.uuid;
    ErrCode code = wal_walk(fsck->disk, &options, &walked, err);
    if (code != OK) TRY(fsck_unreadable(fsck, "wal.segments", code, err));
    bool expected = fsck->report.files > 0 || fsck->in_use;
    if (code == OK && walked.segments == 0 && expected && walked.damages == 0) {
        TRY(fsck_say(fsck, FSCK_DAMAGE, "log-missing", "wal.active", 0, 0,
                     "holdfast recover --rebuild wal", err, "there is no log"));
    }
    return check_tails(fsck, err);
}
