#include "one_node_damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/blobs_priv.h"
#include "blob/packs_priv.h"

#define BLOCK 4096
#define FILES_MAX 1024
#define TRIES 8 /* for a place that is worth it */

DamageCounts damage_counts;

typedef enum { CLASS_LOG, CLASS_PACK, CLASS_BLOB, CLASS_INDEX, CLASS_META } Class;

typedef enum { KIND_FLIP, KIND_ZERO, KIND_LOST, KIND_ASTRAY, KIND_COUNT } Kind;

typedef struct {
    char path[DISK_PATH_MAX];
    Class class;
    uint64_t size;
} Victim;

typedef struct {
    Model *model;
    Rng *rng;
    const DamageBounds *bounds;
    Disk *disk; /* the copy */
    const NodeKitOptions *options;
    NodeKit kit;
    Victim *victims;
    size_t victim_count;

    /* what was done */
    Victim victim;
    uint64_t offset;
    size_t len;
    uint8_t before[BLOCK];
    uint8_t after[BLOCK];
    Kind kind;
    bool attested; /* it lies where the log is attested */
} Session;

/* --- choosing --- */

static bool class_of(const char *path, Class *out)
{
    static const struct {
        const char *start;
        Class class;
    } rows[] = {{"wal.active", CLASS_LOG},   {"wal.segments/", CLASS_LOG},
                {"packs/", CLASS_PACK},      {"blobs/", CLASS_BLOB},
                {"index.db", CLASS_INDEX},   {"root.json", CLASS_META},
                {"control.json", CLASS_META}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!str_starts_with(str_from_cstr(path), str_from_cstr(rows[i].start))) continue;
        *out = rows[i].class;
        return true;
    }
    return false;
}

typedef struct {
    Session *session;
    const char *dir;
} Walk;

static ErrCode walk_dir(Session *s, const char *dir, Err *err);

static ErrCode walk_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    const Walk *walk = ctx;
    Session *s = walk->session;
    Victim victim = {.size = 0};
    DiskStat stat;
    int len = snprintf(victim.path, sizeof victim.path, "%s%s%s", walk->dir,
                       walk->dir[0] == '\0' ? "" : "/", name);
    ASSERT(len > 0 && (size_t)len < sizeof victim.path);
    if (is_dir) return walk_dir(s, victim.path, err);
    if (!class_of(victim.path, &victim.class)) return OK;
    TRY(disk_stat(s->disk, victim.path, &stat, err));
    victim.size = stat.size;
    ASSERT(s->victim_count < FILES_MAX);
    if (victim.size > 0) s->victims[s->victim_count++] = victim;
    return OK;
}

static ErrCode walk_dir(Session *s, const char *dir, Err *err)
{
    Walk walk = {.session = s, .dir = dir};
    return disk_list(s->disk, dir, walk_name, &walk, err);
}

/* A file of a class drawn first, so that one that has many files is not struck more often. */
static bool choose_victim(Session *s)
{
    static const Class classes[] = {CLASS_LOG,  CLASS_LOG,   CLASS_LOG,   CLASS_PACK, CLASS_PACK,
                                    CLASS_BLOB, CLASS_INDEX, CLASS_INDEX, CLASS_META};
    Class class = classes[rng_below(s->rng, ARRAY_LEN(classes))];
    size_t count = 0;
    for (size_t i = 0; i < s->victim_count; i++) {
        if (s->victims[i].class != class) continue;
        if (rng_below(s->rng, ++count) == 0) s->victim = s->victims[i];
    }
    return count > 0;
}

/* Bytes of a file at offset, zeros behind its end. False: there is no such file. */
static bool bytes_at(const Disk *disk, const char *path, uint64_t offset, uint8_t *out, size_t len)
{
    union {
        const Disk *in;
        Disk *out;
    } cast = {.in = disk}; /* reading changes nothing */
    AUTO(File, disk_close) file = NULL;
    size_t got = 0;
    memset(out, 0, len);
    if (disk_open(cast.out, path, DISK_OPEN_READ, &file, NULL) != OK) return false;
    return disk_read(file, offset, out, len, &got, NULL) == OK;
}

static void flip_bit(Session *s)
{
    uint64_t bit = rng_below(s->rng, s->len * 8);
    s->offset += bit / 8;
    s->before[0] = s->before[bit / 8];
    s->after[0] = (uint8_t)(s->before[0] ^ 1U << (bit % 8));
    s->len = 1;
}

static void zero_sectors(Session *s)
{
    size_t at = SIM_SECTOR * (size_t)rng_below(s->rng, ALIGN_UP(s->len, SIM_SECTOR) / SIM_SECTOR);
    size_t len = rng_below(s->rng, 2) == 0 ? s->len - at : MIN((size_t)SIM_SECTOR, s->len - at);
    s->offset += at;
    memmove(s->before, s->before + at, len);
    memset(s->after, 0, len);
    s->len = len;
}

/* What to put where: before, after, offset and len. */
static void compose(Session *s, const Disk *older)
{
    uint64_t blocks = (s->victim.size + BLOCK - 1) / BLOCK;
    s->kind = (Kind)rng_below(s->rng, KIND_COUNT);
    for (int i = 0; i < TRIES; i++) {
        s->offset = rng_below(s->rng, blocks) * BLOCK;
        s->len = (size_t)MIN((uint64_t)BLOCK, s->victim.size - s->offset);
        bool there = bytes_at(s->disk, s->victim.path, s->offset, s->before, s->len);
        ASSERT(there);
        if (s->before[0] != 0 || memcmp(s->before, s->before + 1, s->len - 1) != 0) break;
    }
    memcpy(s->after, s->before, s->len);
    if (s->kind == KIND_FLIP) {
        flip_bit(s);
    } else if (s->kind == KIND_ZERO) {
        zero_sectors(s);
    } else if (s->kind == KIND_LOST) { /* the write never came */
        (void)(older != NULL &&        /* a file that was not there yet was all zeros */
               bytes_at(older, s->victim.path, s->offset, s->after, s->len));
    } else { /* what was meant for this place went elsewhere, or the other way round */
        uint64_t other = rng_below(s->rng, blocks) * BLOCK;
        bool there = bytes_at(s->disk, s->victim.path, other, s->after, s->len);
        ASSERT(there);
    }
}

/* Is the victim the segment that was active when the node died, under either of its names? A
 * rotation that failed leaves it closed, perhaps with the next one beside it. */
static bool was_active(const Session *s)
{
    char closed[DISK_PATH_MAX];
    DiskStat stat;
    int len = snprintf(closed, sizeof closed, "wal.segments/segment_%" PRIu64 ".wal",
                       s->bounds->active_segment);
    ASSERT(len > 0 && (size_t)len < sizeof closed);
    if (strcmp(s->victim.path, closed) == 0) return true;
    ErrCode code = disk_stat(s->disk, closed, &stat, NULL);
    ASSERT(code == OK);
    return strcmp(s->victim.path, "wal.active") == 0 && !stat.exists;
}

/* Is it something that one root must survive?
 * log    not the newest batch, unless attested: bad bytes there look as a torn write does
 * index  not a page of an earlier time: it has the sum and the number of a good one. Only comparing
 *        the index with packs and log can tell. Nor index.db-wal as it was at one */
static bool in_bounds(Session *s)
{
    const DamageBounds *b = s->bounds;
    bool newest = s->victim.class == CLASS_LOG && was_active(s);
    if (memcmp(s->before, s->after, s->len) == 0) return false;
    if (s->victim.class == CLASS_INDEX) return s->kind != KIND_LOST;
    if (s->victim.class != CLASS_LOG) return true;
    if (newest) {
        s->attested = b->attested.segment == b->active_segment &&
                      s->offset + s->len <= b->attested.offset;
        return s->attested;
    }
    return strcmp(s->victim.path, "wal.active") != 0; /* one that never was in use */
}

/* Of an orphan that was swept away meanwhile nothing is there, nor of the torn end of a pack. */
static void put(Session *s, const uint8_t *bytes)
{
    Err err = {0};
    DiskStat stat;
    ErrCode code = disk_stat(s->disk, s->victim.path, &stat, &err);
    ASSERT(code == OK);
    if (!stat.exists || stat.size <= s->offset) return;
    size_t len = (size_t)MIN((uint64_t)s->len, stat.size - s->offset);
    code = disk_sim_damage(s->disk, s->victim.path, s->offset, str_of(bytes, len), &err);
    ASSERT(code == OK);
}

/* --- judging --- */

/* What went wrong, with where it was struck. */
static void wrong(Session *s, const char *what, Str key, ErrCode code, Err *err)
{
    static const char *const kinds[] = {"flipped bit", "zeros", "lost write", "stray write"};
    model_fail(s->model, "%s in %s at %" PRIu64 "+%zu: %s %.*s: %s: %s", kinds[s->kind],
               s->victim.path, s->offset, s->len, what, STR_ARG(key), err_info(code)->name,
               err_text(err));
}

static bool tells_of(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

/* Does the error say which file it was? */
static bool names_victim(const Session *s, const Err *err)
{
    char number[32];
    const char *text = err_text(err);
    if (tells_of(text, s->victim.path)) return true;
    if (s->victim.class == CLASS_INDEX) return tells_of(text, "index.db");
    if (s->victim.class != CLASS_PACK) return false;
    uint64_t pack = strtoull(s->victim.path + strlen("packs/"), NULL, 10);
    int len = snprintf(number, sizeof number, "pack %" PRIu64, pack);
    ASSERT(len > 0 && (size_t)len < sizeof number);
    return tells_of(text, number);
}

static bool overlaps(const Session *s, uint64_t offset, uint64_t len)
{
    return offset < s->offset + s->len && s->offset < offset + len;
}

/* Was any byte of the body of found struck? */
static bool body_struck(const Session *s, const StoreFound *found)
{
    char path[BLOB_PATH_MAX];
    if (s->victim.class == CLASS_PACK) {
        if (found->in_log || found->row.size == 0 || found->row.extent_count > 0) return false;
        pack_path(found->row.place.pack, path);
        if (strcmp(path, s->victim.path) != 0) return false;
        return overlaps(s, found->row.place.offset, found->row.place.length) ||
               overlaps(s, 0, PACK_HEADER_LEN);
    }
    if (s->victim.class != CLASS_BLOB) return false;
    for (uint32_t i = 0; i < found->row.extent_count; i++) {
        Extent extent = extent_at(found->row.extents, i);
        blob_path(extent.body, extent.number, path);
        if (strcmp(path, s->victim.path) == 0) return true;
    }
    return false;
}

/* A look-up or list in the index failed: may it? */
static bool index_may_fail(Session *s, ErrCode code, const Err *err)
{
    if (s->victim.class != CLASS_INDEX || code != ERR_CORRUPT || !names_victim(s, err)) {
        return false;
    }
    damage_counts.unread++;
    return true;
}

static void check_key(Session *s, BucketUid bucket, unsigned b, unsigned k, bool strict)
{
    Err err = {0};
    StoreFound found;
    bool there = false;
    AUTO_BUF(got, MIB);
    Str name = model_key_name(s->model, b, k);
    ValueId value = s->model->values[b][k];
    if (name.len == 0) return;
    ErrCode code = store_find(s->kit.reader, bucket, name, NULL, STORE_COMMITTED, &found, &there,
                              &err);
    if (code != OK) {
        if (strict || !index_may_fail(s, code, &err)) wrong(s, "find", name, code, &err);
        return;
    }
    if (there != (value != 0)) {
        wrong(s, there ? "this came back:" : "this is gone:", name, code, &err);
        return;
    }
    if (!there) return;
    bool struck = !strict && body_struck(s, &found);
    code = node_kit_read(&s->kit, s->kit.reader, &found, &got, &err);
    if (code == OK && model_value_of(&got) == value) return;
    if (code == OK) {
        wrong(s, "wrong bytes were read of", name, code, &err);
    } else if (!struck || (code != ERR_FILE_DAMAGED && code != ERR_CORRUPT)) {
        wrong(s, "read", name, code, &err);
    } else {
        damage_counts.damaged++;
    }
}

/* All that is there is listed, damaged or not, and nothing else. */
static void check_list(Session *s, BucketUid bucket, unsigned b, bool strict)
{
    Err err = {0};
    bool listed[MODEL_SLOTS] = {false};
    StoreListOptions options = {.bucket = bucket};
    AUTO(StoreList, store_list_close) list = NULL;
    ErrCode code = store_list_open(s->kit.reader, &options, &list, &err);
    for (bool found = true; code == OK && found;) {
        StoreFound file;
        bool is_prefix = false;
        code = store_list_next(list, &file, &is_prefix, &found, &err);
        if (code != OK || !found) break;
        unsigned k = model_slot(s->model, b, file.key);
        if (k == MODEL_SLOTS) {
            wrong(s, "list: a strange key", file.key, code, &err);
            return;
        }
        listed[k] = true;
    }
    if (code != OK) {
        if (strict || !index_may_fail(s, code, &err)) wrong(s, "list", STR(""), code, &err);
        return;
    }
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        if (listed[k] == (s->model->values[b][k] != 0)) continue;
        wrong(s, listed[k] ? "list: this came back:" : "list: this is gone:",
              model_key_name(s->model, b, k), OK, &err);
    }
}

/* strict: nothing may be damaged. */
static void check_all(Session *s, bool strict)
{
    for (unsigned b = 0; b < MODEL_BUCKETS && !s->model->failed; b++) {
        BucketRecord record;
        Err err = {0};
        bool there = buckets_find(s->kit.buckets, model_bucket_name(b), &record);
        if (there != s->model->buckets[b]) wrong(s, "bucket", model_bucket_name(b), OK, &err);
        if (!there) continue;
        for (unsigned k = 0; k < MODEL_SLOTS && !s->model->failed; k++)
            check_key(s, record.uid, b, k, strict);
        if (!s->model->failed) check_list(s, record.uid, b, strict);
    }
}

/* --- the session --- */

static ErrCode start(Session *s, Err *err)
{
    ErrCode code = node_kit_open(&s->kit, s->disk, s->options, err);
    if (code == OK) {
        code = node_kit_ready(&s->kit, err);
        if (code != OK) node_kit_drop(&s->kit);
    }
    if (code != OK) disk_sim_kill(s->disk); /* the lock is free */
    return code;
}

static void stop(Session *s)
{
    node_kit_drop(&s->kit);
    disk_sim_kill(s->disk);
}

/* With the bytes as they were: all is there. */
static void check_repaired(Session *s)
{
    Err err = {0};
    put(s, s->before);
    ErrCode code = start(s, &err);
    if (code != OK) {
        wrong(s, "start after it was put right", STR(""), code, &err);
        return;
    }
    check_all(s, true);
    stop(s);
}

/* The index was read here and there; now the applier and the checkpoint meet what is damaged. */
static void work_on(Session *s)
{
    Err err = {0};
    size_t applied = 0;
    ErrCode code = store_apply(s->kit.store, SIZE_MAX, &applied, &err);
    if (code == OK) code = store_checkpoint(s->kit.store, &err);
    if (code != OK && !index_may_fail(s, code, &err)) wrong(s, "apply", STR(""), code, &err);
    if (!s->model->failed) check_all(s, false);
}

static void judge_started(Session *s)
{
    Err err = {0};
    if (s->attested) {
        wrong(s, "an attested position was damaged, and it", STR("started"), OK, &err);
        return;
    }
    bool views = s->victim.class == CLASS_PACK || s->victim.class == CLASS_BLOB;
    check_all(s, !views && s->victim.class != CLASS_INDEX);
    if (s->victim.class == CLASS_INDEX && !s->model->failed) work_on(s);
}

static uint64_t run(Session *s)
{
    Err err = {0};
    ErrCode code = start(s, &err);
    damage_counts.sessions++;
    if (code != OK) {
        damage_counts.refused++;
        bool plain = code == ERR_CORRUPT || code == ERR_FORMAT_VERSION || code == ERR_FOREIGN;
        if (!plain || !names_victim(s, &err)) wrong(s, "start", STR(""), code, &err);
    } else {
        judge_started(s);
        stop(s);
    }
    /* What started has gone on writing, and moved the log's names; bodies stay where they are.
     * SQLite writes at once. */
    bool bodies = s->victim.class == CLASS_PACK || s->victim.class == CLASS_BLOB;
    bool repairable = bodies || (code != OK && s->victim.class != CLASS_INDEX);
    if (repairable && !s->model->failed) check_repaired(s);
    return (uint64_t)code << 8 | s->victim.class;
}

uint64_t damage_session(Model *model, const Disk *crashed, const Disk *older,
                        const DamageBounds *bounds, const NodeKitOptions *options, Rng *rng)
{
    Session *s = mem_new(sizeof *s);
    AUTO(Disk, disk_free) copy = disk_sim_copy(crashed, rng_u64(rng));
    Err err = {0};
    uint64_t result = UINT64_MAX;
    s->model = model;
    s->rng = rng;
    s->bounds = bounds;
    s->options = options;
    s->disk = copy;
    s->victims = mem_new_array(FILES_MAX, sizeof(Victim));
    ErrCode code = walk_dir(s, "", &err);
    ASSERT(code == OK);
    if (choose_victim(s)) {
        compose(s, older);
        if (in_bounds(s)) {
            put(s, s->after);
            result = run(s);
        }
    }
    mem_free(s->victims);
    mem_free(s);
    return result;
}
