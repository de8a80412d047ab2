#include "fsck/fsck.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/bucket.h"
#include "fsck/fsck_priv.h"

/* ---- telling ---- */

/* Of several copies another one says what is right, not this root's files of each other: an index
 * made of packs may bring back what was deleted. */
static const char *mend_of(const Fsck *fsck, const FsckFinding *finding)
{
    bool by_view = strcmp(finding->mend, FSCK_MEND_INDEX) == 0 ||
                   strcmp(finding->mend, FSCK_MEND_PACKS) == 0;
    return by_view && fsck->report.copies > 1 ? FSCK_MEND_COPY : finding->mend;
}

ErrCode fsck_tell(Fsck *fsck, const FsckFinding *finding, Err *err)
{
    FsckFinding told = *finding;
    told.mend = mend_of(fsck, finding);
    if (finding->level == FSCK_DAMAGE) fsck->report.damages++;
    if (finding->level == FSCK_DAMAGE && strcmp(finding->mend, FSCK_MEND_REPAIR) == 0)
        fsck->report.mendable++;
    if (finding->level == FSCK_NOTE) fsck->report.notes++;
    return fsck->options->finding(fsck->options->ctx, &told, err);
}

ErrCode fsck_say(Fsck *fsck, FsckLevel level, const char *kind, const char *path, uint64_t offset,
                 uint64_t length, const char *mend, Err *err, const char *format, ...)
{
    char text[FSCK_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args); /* a long one is cut */
    va_end(args);
    FsckFinding finding = {.level = level,
                           .kind = kind,
                           .path = path,
                           .offset = offset,
                           .length = length,
                           .text = text,
                           .mend = mend};
    return fsck_tell(fsck, &finding, err);
}

void fsck_read(Fsck *fsck, uint64_t bytes)
{
    fsck->report.bytes += bytes;
    if (fsck->options->progress == NULL) return;
    fsck->options->progress(fsck->options->ctx, fsck->phase, fsck->report.bytes,
                            MAX(fsck->total, fsck->report.bytes));
}

void fsck_phase(Fsck *fsck, const char *phase)
{
    fsck->phase = phase;
    fsck_read(fsck, 0);
}

ErrCode fsck_unreadable(Fsck *fsck, const char *path, ErrCode code, Err *err)
{
    if (code != ERR_IO && code != ERR_NOT_FOUND && code != ERR_END) return code;
    Err why = {0};
    if (err != NULL) why = *err;
    return fsck_say(fsck, FSCK_DAMAGE, "unreadable", path, 0, 0, "", err, "%s", err_text(&why));
}

/* ---- names ---- */

Str fsck_bucket_name(const Fsck *fsck, BucketUid bucket)
{
    uint8_t key[8];
    Enc enc = enc_of(key, sizeof key);
    enc_u64_be(&enc, bucket);
    if (bucket == BUCKET_UID_SYSTEM) return STR("system");
    if (bucket == BUCKET_UID_UPLOADS) return STR("%uploads"); /* no bucket has such a name */
    return str_from_cstr(omap_get(fsck->buckets, str_of(key, sizeof key)));
}

void fsck_learn_bucket(Fsck *fsck, BucketUid bucket, Str key, Str attrs)
{
    BucketRecord record;
    Str value;
    uint8_t uid[8];
    if (bucket != BUCKET_UID_SYSTEM || !str_starts_with(key, STR(BUCKET_KEY_PREFIX))) return;
    if (!attr_get(attrs, ATTR_BUCKET_RECORD, &value)) return;
    if (bucket_record_decode(value, &record, NULL) != OK) return;
    Str name = str_slice(key, strlen(BUCKET_KEY_PREFIX), SIZE_MAX);
    if (!bucket_name_valid(name)) return;
    Enc enc = enc_of(uid, sizeof uid);
    enc_u64_be(&enc, record.uid);
    char *text = mem_new(name.len + 1);
    memcpy(text, name.ptr, name.len);
    mem_free(omap_put(fsck->buckets, str_of(uid, sizeof uid), text));
}

FsckOwner fsck_owner(const Fsck *fsck, BucketUid bucket, Str key, VersionId version, FileId file)
{
    return (FsckOwner){.bucket = bucket,
                       .bucket_name = fsck_bucket_name(fsck, bucket),
                       .key = key,
                       .version = version,
                       .file = file};
}

void fsck_owner_encode(const FsckOwner *owner, Enc *enc)
{
    enc_u64(enc, owner->bucket);
    enc_u32(enc, owner->version.term);
    enc_u64(enc, owner->version.lsn);
    enc_bytes(enc, owner->file.bytes, sizeof owner->file.bytes);
    enc_str(enc, owner->key);
}

bool fsck_owner_decode(const Fsck *fsck, Dec *dec, FsckOwner *out)
{
    FsckOwner owner = {.bucket = dec_u64(dec)};
    owner.version.term = dec_u32(dec);
    owner.version.lsn = dec_u64(dec);
    dec_bytes(dec, owner.file.bytes, sizeof owner.file.bytes);
    owner.key = dec_str(dec);
    if (!dec_done(dec)) return false;
    owner.bucket_name = fsck_bucket_name(fsck, owner.bucket);
    *out = owner;
    return true;
}

/* ---- packs known ---- */

FsckPack *fsck_pack(Fsck *fsck, uint64_t number)
{
    size_t low = 0;
    size_t high = fsck->pack_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (fsck->packs[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < fsck->pack_count && fsck->packs[low].number == number) return &fsck->packs[low];
    if (fsck->pack_count == fsck->pack_capacity) {
        fsck->pack_capacity = MAX((size_t)64, 2 * fsck->pack_capacity);
        fsck->packs = mem_resize(fsck->packs, fsck->pack_capacity * sizeof *fsck->packs);
    }
    memmove(&fsck->packs[low + 1], &fsck->packs[low],
            (fsck->pack_count - low) * sizeof *fsck->packs);
    fsck->pack_count++;
    fsck->packs[low] = (FsckPack){.number = number};
    return &fsck->packs[low];
}

ErrCode fsck_mend_row(Fsck *fsck, Str key, Str value, Err *err)
{
    if (!fsck->repairing) return OK;
    AUTO_BUF(name, INDEX_KEY_MAX);
    AUTO_BUF(bytes, INDEX_VALUE_MAX);
    uint8_t put = value.ptr != NULL;
    TRY(buf_append(&name, "R", 1, err));
    TRY(buf_append_str(&name, key, err));
    TRY(buf_append(&bytes, &put, 1, err));
    TRY(buf_append_str(&bytes, value, err));
    return scratch_put(fsck->scratch, buf_str(&name), buf_str(&bytes), err);
}

ErrCode fsck_mend_file(Fsck *fsck, const char *path, Err *err)
{
    char key[DISK_PATH_MAX + 1];
    if (!fsck->repairing) return OK;
    int len = snprintf(key, sizeof key, "Q%s", path);
    ASSERT(len > 0 && (size_t)len < sizeof key);
    return scratch_put(fsck->scratch, str_from_cstr(key), STR(""), err);
}

/* ---- the run ---- */

ErrCode fsck_begin(Fsck *fsck, const FsckOptions *options, Err *err)
{
    *fsck = (Fsck){.options = options, .disk = options->disk, .phase = "root"};
    fsck->buckets = omap_new(1);
    fsck->applied = mem_new_array(SHARD_COUNT_MAX, sizeof *fsck->applied);
    fsck->tails = mem_new_array(SHARD_COUNT_MAX, sizeof *fsck->tails);
    return scratch_open(options->scratch, &fsck->scratch, err);
}

void fsck_end(Fsck *fsck)
{
    index_reader_free(fsck->reader);
    index_free(fsck->index);
    scratch_free(fsck->scratch);
    for (const OMapNode *node = omap_first(fsck->buckets, STR("")); node != NULL;
         node = omap_next(node))
        mem_free(omap_value(node));
    omap_free(fsck->buckets);
    mem_free(fsck->applied);
    for (size_t i = 0; i < SHARD_COUNT_MAX && fsck->tails != NULL; i++)
        mem_free(fsck->tails[i].doubted_path);
    mem_free(fsck->tails);
    mem_free(fsck->packs);
    mem_free(fsck->ranges);
}

ErrCode fsck_checks(Fsck *fsck, Err *err)
{
    TRY(fsck_check_root(fsck, err));
    fsck_phase(fsck, "index");
    TRY(fsck_check_index(fsck, err));
    fsck_phase(fsck, "log");
    TRY(fsck_check_log(fsck, err));
    if (fsck->options->only_ends) return OK;
    fsck_phase(fsck, "packs");
    TRY(fsck_check_packs(fsck, err));
    fsck_phase(fsck, "blobs");
    TRY(fsck_check_blobs(fsck, err));
    fsck_phase(fsck, "owners");
    TRY(fsck_find_owners(fsck, err));
    return fsck_check_strangers(fsck, err);
}

static void fill_shards(const Fsck *fsck)
{
    FsckShard *shards = fsck->options->shards;
    for (size_t i = 0; shards != NULL && i < SHARD_COUNT_MAX; i++) {
        const FsckTail *tail = &fsck->tails[i];
        const AppliedRow *applied = &fsck->applied[i];
        FsckShard *out = &shards[i];
        *out = (FsckShard){.seen = tail->seen || applied->lsn > 0,
                           .incomplete = tail->incomplete,
                           .applied = applied->lsn,
                           .applied_term = applied->term,
                           .applied_hash = applied->hash,
                           .last = tail->lsn,
                           .last_term = tail->term,
                           .commit = tail->commit_lsn};
        if (tail->incomplete) continue; /* the index may be anything */
        if (applied->lsn > out->last) {
            out->last = applied->lsn;
            out->last_term = applied->term;
        }
        out->commit = MAX(out->commit, applied->lsn);
    }
}

ErrCode fsck_run(const FsckOptions *options, FsckReport *report, Err *err)
{
    Fsck fsck;
    ErrCode code = fsck_begin(&fsck, options, err);
    if (code == OK) code = fsck_checks(&fsck, err);
    if (code == OK) *report = fsck.report;
    if (code == OK) fill_shards(&fsck);
    fsck_end(&fsck);
    return code;
}
