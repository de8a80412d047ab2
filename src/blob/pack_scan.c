#include "blob/packs_priv.h"
#include <inttypes.h>
#include <string.h>

#define SCAN_WINDOW (256 * KIB) /* bytes of one read */

/*  batch at `at` --good mark--> in the batch, records from records_end on --no more--> batch at
 * `at` | end, or not good: bad                     | not zeros, or beyond the end: bad
 *        '--------------------------> done <---------'                                           */
struct PackScan {
    Packs *packs;
    PackFile *file;
    uint64_t end;         /* bytes of the file to look at */
    uint64_t synced_end;  /* records up to here were synced, as the next pack says; 0: not known */
    uint64_t at;          /* where the next batch begins */
    uint64_t records_end; /* behind the last good record, or the mark */
    uint64_t torn_at;     /* when done */
    bool in_batch;
    bool bad; /* the batch in hand has no good mark, or ends early */
    bool done;
    Buf window; /* the bytes from window_at on */
    uint64_t window_at;
};
typedef PackScan Scan;

/* The bytes at `at`: `need` of them, or what is left before the end. Views last until the next
 * call. */
static ErrCode scan_view(Scan *scan, uint64_t at, size_t need, Str *out, Err *err)
{
    ASSERT(at <= scan->end);
    need = (size_t)MIN((uint64_t)need, scan->end - at);
    if (at < scan->window_at || at + need > scan->window_at + scan->window.len) {
        size_t got = 0;
        size_t want = (size_t)MIN(MAX((uint64_t)need, SCAN_WINDOW), scan->end - at);
        buf_clear(&scan->window);
        TRY(buf_reserve(&scan->window, want, err));
        TRY(disk_read(scan->file->file, at, scan->window.data, want, &got, err));
        scan->window.len = got;
        scan->window_at = at;
    }
    size_t from = (size_t)(at - scan->window_at);
    *out = str_slice(buf_str(&scan->window), from, need);
    return OK;
}

/* The record at `at`; *len 0 if there is no good one. */
static ErrCode scan_record(Scan *scan, uint64_t at, PackRecord *record, size_t *len, Err *err)
{
    Str view;
    size_t total = 0;
    *len = 0;
    TRY(scan_view(scan, at, PACK_RECORD_HEADER_LEN, &view, err));
    if (view.len < PACK_RECORD_HEADER_LEN) return OK;
    size_t want = pack_record_peek(view);
    if (want == 0 || want > PACK_RECORD_MAX) return OK;
    TRY(scan_view(scan, at, want, &view, err));
    ErrCode code = pack_record_decode(view, record, &total, err);
    if (code == ERR_END || code == ERR_CORRUPT) return OK; /* what it means, scan_bad() decides */
    TRY(code);
    *len = total;
    return OK;
}

/* Only zeros from `at` to the end of its block? True at the beginning of a block. */
static ErrCode scan_padding(Scan *scan, uint64_t at, bool *out, Err *err)
{
    Str view;
    *out = true;
    TRY(scan_view(scan, at, (size_t)(ALIGN_UP(at, (uint64_t)PACK_BLOCK) - at), &view, err));
    for (size_t i = 0; i < view.len; i++) {
        if (view.ptr[i] != 0) *out = false;
    }
    return OK;
}

/* The mark at `at`, if there is a good one that was written there. */
static ErrCode scan_mark(Scan *scan, uint64_t at, PackMark *mark, bool *found, Err *err)
{
    Str view;
    TRY(scan_view(scan, at, PACK_MARK_LEN, &view, err));
    *found = pack_mark_decode(view, mark) && id128_eq(mark->root, scan->packs->root) &&
             mark->pack == scan->file->number && mark->offset == at;
    return OK;
}

/* No good record behind records_end. Damage if something later proves that more was synced, else
 * the torn end of a batch. */
static ErrCode scan_bad(Scan *scan, uint64_t *torn_at, Err *err)
{
    uint64_t bad = scan->records_end;
    bool proof = scan->synced_end > bad;
    uint64_t at = ALIGN_UP(bad + 1, (uint64_t)PACK_BLOCK);
    for (; !proof && at < scan->end; at += PACK_BLOCK) {
        PackMark mark;
        TRY(scan_mark(scan, at, &mark, &proof, err));
    }
    if (proof) return err_set(err, ERR_CORRUPT, "damaged at %" PRIu64, bad);
    *torn_at = bad;
    return OK;
}

/* The mark of the batch at scan->at: in the batch, or bad. */
static ErrCode scan_batch_begin(Scan *scan, Err *err)
{
    uint64_t number = scan->file->number;
    PackMark mark;
    bool found = false;
    TRY(scan_mark(scan, scan->at, &mark, &found, err));
    bool first = scan->at == PACK_HEADER_LEN;
    scan->bad = !found ||
                (!first && (mark.synced.pack != number || mark.synced.end != scan->records_end));
    if (scan->bad) return OK;
    scan->in_batch = true;
    scan->records_end = scan->at + PACK_MARK_LEN;
    return OK;
}

/* No more records in the batch: its zeros, and where the next one begins. */
static ErrCode scan_batch_end(Scan *scan, Err *err)
{
    bool zeros = false;
    TRY(scan_padding(scan, scan->records_end, &zeros, err));
    scan->at = ALIGN_UP(scan->records_end, (uint64_t)PACK_BLOCK);
    scan->bad = !zeros || scan->at > scan->end;
    scan->in_batch = false;
    return OK;
}

/* What the first mark of the next pack says about this one; 0 if that is not there or can't tell
 * (its own scan will say why). */
static ErrCode next_pack_says(Packs *packs, uint64_t number, uint64_t *out, Err *err)
{
    Err ignored = {0};
    PackMark mark;
    bool found = false;
    Scan scan = {.packs = packs, .end = PACK_HEADER_LEN + PACK_MARK_LEN};
    *out = 0;
    ErrCode code = pack_files_take(&packs->files, number + 1, &scan.file, &ignored);
    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_FOREIGN) return OK;
    if (code != OK) return err_set(err, code, "%s", err_text(&ignored));
    buf_init(&scan.window, PACK_MARK_LEN);
    code = scan_mark(&scan, PACK_HEADER_LEN, &mark, &found, err);
    if (code == OK && found && mark.synced.pack == number) *out = mark.synced.end;
    buf_deinit(&scan.window);
    pack_files_give(&packs->files, scan.file);
    return code;
}

/* How far to look, and up to where everything must be good. */
static ErrCode scan_limits(Scan *scan, Err *err)
{
    Packs *packs = scan->packs;
    lock_take(&packs->files.lock);
    PackEnd shared = packs->shared;
    lock_give(&packs->files.lock);
    TRY(disk_size(scan->file->file, &scan->end, err));
    if (shared.pack == scan->file->number) {
        scan->synced_end = shared.end;
        /* Behind it the appender may be writing. */
        scan->end = MIN(scan->end, ALIGN_UP(shared.end, (uint64_t)PACK_BLOCK));
        return OK;
    }
    return next_pack_says(packs, scan->file->number, &scan->synced_end, err);
}

static ErrCode scan_step(Scan *scan, PackRecord *record, PackPlace *place, bool *found, Err *err)
{
    *found = false;
    while (!scan->done) {
        size_t len = 0;
        if (!scan->in_batch) {
            if (scan->bad || scan->at >= scan->end) {
                scan->done = true;
                bool early = scan->bad || scan->records_end < scan->synced_end;
                return early ? scan_bad(scan, &scan->torn_at, err) : OK;
            }
            TRY(scan_batch_begin(scan, err));
            continue;
        }
        uint64_t pos = scan->records_end;
        if (pos < scan->end) TRY(scan_record(scan, pos, record, &len, err));
        if (len == 0) {
            TRY(scan_batch_end(scan, err));
            continue;
        }
        *place = (PackPlace){.pack = scan->file->number, .offset = pos, .length = (uint32_t)len};
        scan->records_end = pos + len;
        *found = true;
        return OK;
    }
    return OK;
}

ErrCode pack_scan_open(Packs *packs, uint64_t number, bool direct, PackScan **out, Err *err)
{
    AUTO(PackScan, pack_scan_free) scan = mem_new(sizeof *scan);
    scan->packs = packs;
    scan->at = PACK_HEADER_LEN;
    scan->records_end = PACK_HEADER_LEN;
    buf_init(&scan->window, MAX((size_t)SCAN_WINDOW, (size_t)PACK_RECORD_MAX));
    TRY(direct ? pack_files_take_direct(&packs->files, number, &scan->file, err)
               : pack_files_take(&packs->files, number, &scan->file, err));
    ErrCode code = scan_limits(scan, err);
    if (code != OK) return err_wrap(err, code, "scan pack %" PRIu64, number);
    *out = TAKE(scan);
    return OK;
}

ErrCode pack_scan_next(PackScan *scan, PackRecord *record, PackPlace *place, bool *found, Err *err)
{
    ErrCode code = scan_step(scan, record, place, found, err);
    if (code != OK) return err_wrap(err, code, "scan pack %" PRIu64, scan->file->number);
    return OK;
}

uint64_t pack_scan_size(const PackScan *scan)
{
    return scan->end;
}

uint64_t pack_scan_torn_at(const PackScan *scan)
{
    return scan->torn_at;
}

uint64_t pack_scan_records_end(const PackScan *scan)
{
    return scan->records_end;
}

void pack_scan_free(PackScan *scan)
{
    if (scan == NULL) return;
    buf_deinit(&scan->window);
    if (scan->file != NULL) pack_files_give(&scan->packs->files, scan->file);
    mem_free(scan);
}

ErrCode packs_scan(Packs *packs, uint64_t number, PackScanFn fn, void *ctx, uint64_t *torn_at,
                   Err *err)
{
    AUTO(PackScan, pack_scan_free) scan = NULL;
    TRY(pack_scan_open(packs, number, false, &scan, err));
    for (;;) {
        PackRecord record;
        PackPlace place;
        bool found = false;
        TRY(pack_scan_next(scan, &record, &place, &found, err));
        if (!found) break;
        ErrCode code = fn(ctx, &record, &place, err);
        if (code != OK) return err_wrap(err, code, "scan pack %" PRIu64, number);
    }
    *torn_at = scan->torn_at;
    return OK;
}

/* Where the newest pack is torn behind known_end; 0: it is not, or is damaged. */
static ErrCode find_torn(Packs *packs, uint64_t known_end, uint64_t *torn_at, Err *err)
{
    AUTO(PackScan, pack_scan_free) scan = NULL;
    *torn_at = 0;
    TRY(pack_scan_open(packs, packs_newest(packs), true, &scan, err));
    if (known_end > scan->end) return OK;
    if (known_end > PACK_HEADER_LEN) {
        scan->records_end = known_end;
        scan->in_batch = true;
    }
    for (bool found = true; found;) {
        PackRecord record;
        PackPlace place;
        TRY(pack_scan_next(scan, &record, &place, &found, err));
    }
    *torn_at = scan->torn_at;
    return OK;
}

ErrCode packs_cut_torn(Packs *packs, uint64_t known_end, uint64_t *cut, Err *err)
{
    char path[PACK_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    Err why = {0};
    uint64_t at = 0;
    uint64_t size = 0;
    ASSERT(packs->active == NULL);
    *cut = 0;
    if (packs_newest(packs) == 0) return OK;
    ErrCode code = find_torn(packs, known_end, &at, &why);
    bool damage = code == ERR_CORRUPT || code == ERR_FOREIGN || code == ERR_IO ||
                  code == ERR_NOT_FOUND;
    if (damage) return OK; /* no reason not to start: whoever reads it will tell */
    if (code != OK) return err_set(err, code, "%s", err_text(&why));
    if (at == 0) return OK;
    pack_path(packs_newest(packs), path);
    TRY(disk_open(packs->disk, path, DISK_OPEN_WRITE, &file, err));
    TRY(disk_size(file, &size, err));
    if (size <= at) return OK;
    TRY(disk_truncate(file, at, err));
    TRY(disk_sync(file, err)); /* nobody comes back here when there is a newer pack */
    *cut = size - at;
    return OK;
}
