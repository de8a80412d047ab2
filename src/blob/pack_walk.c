/*  at a block: a good mark -> records until there is no more -> zeros up to a block -> ...
 *  a bad place: its record's own length, if what follows it is good; else the next record that is
 *  whole, looked for at every 8 bytes up to the next mark, which names root, pack and offset and so
 *  can't be what a user stored. */
#include "blob/pack_walk.h"

#include "blob/packs_priv.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_LEN (1 * MIB)
#define STEP 8                /* records begin at multiples of it */
#define SEARCH_TRIES_MAX 4096 /* candidates looked at behind one bad place */

typedef struct {
    Disk *disk;
    const PackWalkOptions *options;
    PackWalked *out;
    uint64_t number;
    uint64_t size;
    uint64_t synced_end; /* everything before was synced, as some mark says */
    bool searched;       /* the records now come from a search */
    File *file;
    uint8_t *window;
    size_t window_capacity;
    size_t window_len;
    uint64_t window_at;
} Walk;

static void walk_deinit(Walk *walk)
{
    disk_close(walk->file);
    mem_free(walk->window);
}

/* ---- reading ---- */

/* len bytes at `at`, or fewer at the end of the file. Views last until the next call. */
static ErrCode view(Walk *walk, uint64_t at, size_t len, Str *out, Err *err)
{
    len = at >= walk->size ? 0 : (size_t)MIN((uint64_t)len, walk->size - at);
    if (at < walk->window_at || at + len > walk->window_at + walk->window_len) {
        size_t got = 0;
        size_t want = (size_t)MIN(MAX((uint64_t)len, WINDOW_LEN), walk->size - at);
        if (want > walk->window_capacity) {
            void *window;
            TRY(mem_take(want, &window, err));
            mem_free(walk->window);
            walk->window = window;
            walk->window_capacity = want;
        }
        walk->window_len = 0;
        TRY(disk_read(walk->file, at, walk->window, want, &got, err));
        walk->window_at = at;
        walk->window_len = got;
        if (walk->options->progress != NULL) walk->options->progress(walk->options->ctx, got);
        len = MIN(len, got);
    }
    *out = len == 0 ? (Str){NULL, 0} : str_of(walk->window + (at - walk->window_at), len);
    return OK;
}

/* The record at `at`; *len 0 if there is no whole one. */
static ErrCode record_at(Walk *walk, uint64_t at, PackRecord *record, size_t *len, Err *err)
{
    Str bytes;
    size_t total = 0;
    *len = 0;
    TRY(view(walk, at, PACK_RECORD_HEADER_LEN, &bytes, err));
    if (bytes.len < PACK_RECORD_HEADER_LEN) return OK;
    size_t want = pack_record_peek(bytes);
    if (want == 0 || want > PACK_RECORD_MAX) return OK;
    TRY(view(walk, at, want, &bytes, err));
    if (pack_record_decode(bytes, record, &total, NULL) == OK) *len = total;
    return OK;
}

static ErrCode mark_at(Walk *walk, uint64_t at, PackMark *mark, bool *found, Err *err)
{
    Str bytes;
    Uuid root = walk->options->root;
    TRY(view(walk, at, PACK_MARK_LEN, &bytes, err));
    *found = bytes.len == PACK_MARK_LEN && pack_mark_decode(bytes, mark) &&
             mark->pack == walk->number && mark->offset == at &&
             (id128_is_zero(root) || id128_eq(mark->root, root));
    return OK;
}

static ErrCode tell(Walk *walk, PackBadKind kind, uint64_t offset, uint64_t length,
                    const char *text, Err *err)
{
    PackBad bad = {.kind = kind, .offset = offset, .length = length, .text = text};
    if (kind != PACK_TORN) walk->out->damages++;
    return walk->options->bad(walk->options->ctx, &bad, err);
}

/* ---- what was synced ---- */

static ErrCode walk_open(Walk *walk, uint64_t number, Err *err)
{
    char path[PACK_PATH_MAX];
    pack_path(number, path);
    disk_close(TAKE(walk->file));
    walk->window_len = 0;
    walk->number = number;
    /* Past the page cache: after a failed sync it holds what the device lacks (fsyncgate), and an
     * index made from that would name records that the next loss of power takes. */
    TRY(disk_open(walk->disk, path, DISK_OPEN_DIRECT, &walk->file, err));
    return disk_size(walk->file, &walk->size, err);
}

static void note_synced(Walk *walk, uint64_t number, const PackMark *mark)
{
    if (mark->synced.pack == number) walk->synced_end = MAX(walk->synced_end, mark->synced.end);
}

/* What the marks of this pack and the first one of the next say. A mark also says, by standing
 * there, that its batch was begun when all before it was synced. */
static ErrCode read_marks(Walk *walk, uint64_t number, Err *err)
{
    PackMark mark;
    bool found = false;
    ErrCode code = walk_open(walk, number + 1, NULL);
    if (code == OK) {
        TRY(mark_at(walk, PACK_HEADER_LEN, &mark, &found, err));
        if (found) note_synced(walk, number, &mark);
    }
    TRY(walk_open(walk, number, err));
    for (uint64_t at = PACK_HEADER_LEN; at < walk->size; at += PACK_BLOCK) {
        uint8_t head[PACK_MARK_LEN];
        size_t got = 0;
        TRY(disk_read(walk->file, at, head, sizeof head, &got, err));
        found = got == sizeof head && pack_mark_decode(str_of(head, got), &mark) &&
                mark.pack == number && mark.offset == at;
        if (!found) continue;
        note_synced(walk, number, &mark);
        if (at > PACK_HEADER_LEN) walk->synced_end = MAX(walk->synced_end, at);
    }
    return OK;
}

static ErrCode check_header(Walk *walk, Err *err)
{
    Str bytes;
    PackHeader header;
    Err why = {0};
    const char *text = NULL;
    TRY(view(walk, 0, PACK_HEADER_LEN, &bytes, err));
    if (bytes.len < PACK_HEADER_LEN) {
        return tell(walk, PACK_BAD_HEADER, 0, bytes.len, "the file ends within its header", err);
    }
    ErrCode code = pack_header_decode(bytes, &header, &why);
    if (code != OK)
        text = err_text(&why);
    else if (header.number != walk->number)
        text = "the header says that it is another pack";
    else if (!id128_is_zero(walk->options->root) && !id128_eq(header.root, walk->options->root))
        text = "the header names another storage root";
    return text == NULL ? OK : tell(walk, PACK_BAD_HEADER, 0, PACK_HEADER_LEN, text, err);
}

/* ---- records ---- */

static ErrCode check_body(const PackRecord *record, Err *err)
{
    const Entry *entry = &record->entry;
    bool plain = record->type == PACK_BODY && record->chunk_flags == 0;
    if (!plain || (entry->flags & ENTRY_FLAG_DIGEST_KNOWN) == 0) return OK;
    Sha256 digest = sha256_of(record->stored_body.ptr, record->stored_body.len);
    if (sha256_eq(&digest, &entry->body_digest)) return OK;
    return err_set(err, ERR_CORRUPT, "the body does not have its SHA-256");
}

static ErrCode deliver(Walk *walk, const PackRecord *record, const PackPlace *place, Err *err)
{
    Err why = {0};
    if (check_body(record, &why) != OK) {
        return tell(walk, PACK_BAD_RECORD, place->offset, place->length, err_text(&why), err);
    }
    walk->out->records++;
    walk->out->record_bytes += place->length;
    return walk->options->record(walk->options->ctx, record, place, walk->searched, err);
}

/* Is there a record at `at`, or does a batch end there and the next begin, or the file end? */
static ErrCode goes_on(Walk *walk, uint64_t at, bool *yes, Err *err)
{
    PackRecord record;
    PackMark mark;
    size_t len = 0;
    uint64_t block = ALIGN_UP(at, (uint64_t)PACK_BLOCK);
    *yes = at == walk->size || (block == walk->size && at > walk->size - PACK_BLOCK);
    if (*yes || at > walk->size) return OK;
    TRY(record_at(walk, at, &record, &len, err));
    *yes = len > 0;
    if (!*yes) TRY(mark_at(walk, block, &mark, yes, err));
    return OK;
}

/* Where to go on behind the bad place at `at`: a record, or the block of a mark (*is_mark), or the
 * end of the file. */
static ErrCode resume(Walk *walk, uint64_t at, uint64_t *next, bool *is_mark, Err *err)
{
    Str bytes;
    bool yes = false;
    unsigned tries = 0;
    PackMark mark;
    *is_mark = false;
    TRY(view(walk, at, PACK_RECORD_HEADER_LEN, &bytes, err));
    size_t own = bytes.len < PACK_RECORD_HEADER_LEN ? 0 : pack_record_peek(bytes);
    if (own > 0 && own <= PACK_RECORD_MAX) TRY(goes_on(walk, at + own, &yes, err));
    if (yes) {
        *next = at + own;
        return OK;
    }
    for (uint64_t try = at + STEP; try < walk->size; try += STEP) {
        if (try % PACK_BLOCK == 0) {
            TRY(mark_at(walk, try, &mark, is_mark, err));
            if (*is_mark) {
                *next = try;
                return OK;
            }
        }
        TRY(view(walk, try, PACK_RECORD_HEADER_LEN, &bytes, err));
        if (bytes.len < PACK_RECORD_HEADER_LEN) break;
        size_t len = tries < SEARCH_TRIES_MAX ? pack_record_peek(bytes) : 0;
        PackRecord record;
        if (len == 0 || len > PACK_RECORD_MAX) continue;
        tries++;
        TRY(record_at(walk, try, &record, &len, err));
        if (len > 0) TRY(goes_on(walk, try + len, &yes, err));
        if (!yes) continue;
        walk->searched = true;
        *next = try;
        return OK;
    }
    *next = walk->size;
    return OK;
}

/* Nothing good at `at`, which is no mark's or record's. */
static ErrCode bad_place(Walk *walk, uint64_t at, uint64_t *next, bool *is_mark, Err *err)
{
    TRY(resume(walk, at, next, is_mark, err));
    bool damage = at < walk->synced_end;
    uint64_t end = *next;
    if (damage && end == walk->size) end = MAX(at + 1, MIN(end, walk->synced_end));
    if (damage) return tell(walk, PACK_BAD_BYTES, at, end - at, "damaged, and it was synced", err);
    return tell(walk, PACK_TORN, at, end - at, "no whole record", err);
}

static ErrCode only_zeros(Walk *walk, uint64_t at, uint64_t end, uint64_t *bad, Err *err)
{
    Str bytes;
    *bad = end;
    TRY(view(walk, at, (size_t)(end - at), &bytes, err));
    for (size_t i = bytes.len; i-- > 0;) {
        if (bytes.ptr[i] != 0) *bad = at + i;
    }
    return OK;
}

/* Behind the last record of a batch: zeros up to a block, where the next mark stands. */
static ErrCode batch_end(Walk *walk, uint64_t *at, bool *in_batch, Err *err)
{
    uint64_t block = ALIGN_UP(*at, (uint64_t)PACK_BLOCK);
    uint64_t bad = 0;
    uint64_t next = 0;
    bool is_mark = false;
    TRY(only_zeros(walk, *at, MIN(block, walk->size), &bad, err));
    if (bad >= MIN(block, walk->size) && block <= walk->size) {
        *at = block;
        *in_batch = false;
        return OK;
    }
    bool padding = bad > *at && bad < block;
    PackMark mark;
    if (padding) { /* no record was begun there: only the zeros are not what they were */
        TRY(mark_at(walk, block, &mark, &is_mark, err));
        if (is_mark || block == walk->size) {
            PackBadKind kind = bad < walk->synced_end ? PACK_BAD_BYTES : PACK_TORN;
            TRY(tell(walk, kind, bad, block - bad, "not zeros behind the last record", err));
            *at = block;
            *in_batch = false;
            return OK;
        }
    }
    TRY(bad_place(walk, *at, &next, &is_mark, err));
    *at = next;
    *in_batch = !is_mark && next < walk->size;
    return OK;
}

/* The mark at *at, which is a block. */
static ErrCode batch_begin(Walk *walk, uint64_t *at, bool *in_batch, Err *err)
{
    PackRecord record;
    PackMark mark;
    size_t len = 0;
    bool found = false;
    TRY(mark_at(walk, *at, &mark, &found, err));
    *in_batch = true;
    if (found) {
        walk->searched = false;
        *at += PACK_MARK_LEN;
        return OK;
    }
    /* Without its mark a batch still has its records. */
    TRY(record_at(walk, *at + PACK_MARK_LEN, &record, &len, err));
    if (len > 0) {
        PackBadKind kind = *at < walk->synced_end ? PACK_BAD_BYTES : PACK_TORN;
        TRY(tell(walk, kind, *at, PACK_MARK_LEN, "no mark at the beginning of a batch", err));
        *at += PACK_MARK_LEN;
        return OK;
    }
    uint64_t next = 0;
    bool is_mark = false;
    TRY(bad_place(walk, *at, &next, &is_mark, err));
    *at = next;
    *in_batch = !is_mark;
    return OK;
}

static ErrCode walk_batches(Walk *walk, Err *err)
{
    uint64_t at = PACK_HEADER_LEN;
    bool in_batch = false;
    while (at < walk->size) {
        PackRecord record;
        size_t len = 0;
        if (!in_batch) {
            TRY(batch_begin(walk, &at, &in_batch, err));
            continue;
        }
        TRY(record_at(walk, at, &record, &len, err));
        if (len == 0) {
            TRY(batch_end(walk, &at, &in_batch, err));
            continue;
        }
        PackPlace place = {.pack = walk->number, .offset = at, .length = (uint32_t)len};
        TRY(deliver(walk, &record, &place, err));
        at += len;
    }
    return OK;
}

static ErrCode walk_run(Walk *walk, uint64_t number, Err *err)
{
    TRY(read_marks(walk, number, err));
    walk->window_len = 0;
    walk->out->size = walk->size;
    TRY(check_header(walk, err));
    TRY(walk_batches(walk, err));
    if (walk->size >= walk->synced_end) return OK;
    return tell(walk, PACK_BAD_BYTES, walk->size, walk->synced_end - walk->size,
                "the file ends before what was synced", err);
}

ErrCode pack_walk(Disk *disk, uint64_t number, const PackWalkOptions *options, PackWalked *out,
                  Err *err)
{
    ASSERT(options->record != NULL && options->bad != NULL && number > 0);
    PackWalked walked = {0};
    __attribute__((cleanup(walk_deinit))) Walk walk = {
        .disk = disk,
        .options = options,
        .out = &walked,
    };
    ErrCode code = walk_run(&walk, number, err);
    if (code != OK) return err_wrap(err, code, "read pack %" PRIu64, number);
    *out = walked;
    return OK;
}

/* ---- one record ---- */

ErrCode pack_walk_read(Disk *disk, const PackPlace *place, Buf *buf, PackRecord *out, Err *err)
{
    char path[PACK_PATH_MAX];
    size_t got = 0;
    size_t total = 0;
    PackRecord record;
    AUTO(File, disk_close) file = NULL;
    if (place->pack == 0 || place->length > PACK_RECORD_MAX || place->offset > INT64_MAX / 2)
        return err_set(err, ERR_CORRUPT, "no place in a pack");
    pack_path(place->pack, path);
    TRY(disk_open(disk, path, DISK_OPEN_READ, &file, err));
    buf_clear(buf);
    TRY(buf_reserve(buf, place->length, err));
    TRY(disk_read(file, place->offset, buf->data, place->length, &got, err));
    buf->len = got;
    ErrCode code = pack_record_decode(buf_str(buf), &record, &total, err);
    if (code == OK && total != place->length)
        code = err_set(err, ERR_CORRUPT, "the record has another length");
    if (code == OK) code = check_body(&record, err);
    if (code == ERR_END) code = ERR_CORRUPT;
    if (code != OK) return err_wrap(err, code, "%s offset %" PRIu64, path, place->offset);
    *out = record;
    return OK;
}

ErrCode pack_walk_list(Disk *disk, uint64_t **out, size_t *count, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, "packs", &stat, err));
    if (stat.exists && stat.is_dir) return pack_numbers(disk, out, count, err);
    *out = mem_new_array(1, sizeof **out);
    *count = 0;
    return OK;
}
