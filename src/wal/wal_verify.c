/* Closed segments read again, for scrub, in pieces. What is being written is none of its business;
 * a segment that is cut meanwhile is nobody's damage. */
#include "wal/wal_priv.h"

#include <inttypes.h>
#include <string.h>

#define WINDOW_LEN (256 * KIB)
#define AT_LENGTH 8 /* in a frame (format/frame.h) */

struct WalVerify {
    Wal *wal;
    uint64_t segment;
    Uuid uuid;
    uint64_t end; /* of its valid frames, as the next header says */
    char path[DISK_PATH_MAX];
    File *file;     /* NULL: could not be opened … */
    Err not_opened; /* … because of this */
    uint64_t at;    /* verified up to here */
    Buf window;     /* the bytes from window_at on */
    uint64_t window_at;
};

void wal_verify_free(WalVerify *v)
{
    if (v == NULL) return;
    disk_close(v->file);
    buf_deinit(&v->window);
    mem_free(v);
}

uint64_t wal_verify_segment(const WalVerify *v)
{
    return v->segment;
}

uint64_t wal_verify_offset(const WalVerify *v)
{
    return v->at;
}

const char *wal_verify_path(const WalVerify *v)
{
    return v->path;
}

/* The first closed segment from number `from` on whose end is known. */
static bool find_closed(Wal *wal, uint64_t from, WalSegment *out)
{
    bool found = false;
    lock_take(&wal->lock);
    for (size_t i = 0; i + 1 < wal->segment_count && !found; i++) {
        const WalSegment *segment = &wal->segments[i];
        found = segment->id >= from && !segment->active && segment->end > 0;
        if (found) *out = *segment;
    }
    lock_give(&wal->lock);
    return found;
}

static bool is_kept(Wal *wal, uint64_t segment)
{
    bool kept = false;
    lock_take(&wal->lock);
    for (size_t i = 0; i < wal->segment_count; i++)
        kept = kept || wal->segments[i].id == segment;
    lock_give(&wal->lock);
    return kept;
}

/* Of the segment: what was wanting may be there at the next call. */
static bool says_nothing(ErrCode code)
{
    return code == ERR_SYSTEM || code == ERR_NO_MEMORY;
}

ErrCode wal_verify_open(Wal *wal, uint64_t from, WalVerify **out, Err *err)
{
    WalSegment segment;
    *out = NULL;
    while (find_closed(wal, from, &segment)) {
        AUTO(WalVerify, wal_verify_free) v = mem_new(sizeof *v);
        v->wal = wal;
        v->segment = segment.id;
        v->uuid = segment.uuid;
        v->end = segment.end;
        wal_segment_path(segment.id, v->path);
        buf_init(&v->window, FRAME_LEN + WAL_CHECKPOINT_MAX + 8);
        ErrCode code = disk_open(wal->disk, v->path, DISK_OPEN_DIRECT, &v->file, &v->not_opened);
        if (says_nothing(code)) return err_set(err, code, "%s", err_text(&v->not_opened));
        if (code == OK || is_kept(wal, segment.id)) {
            *out = TAKE(v); /* without its file: wal_verify_next() says so */
            return OK;
        }
        from = segment.id + 1; /* cut */
    }
    return OK;
}

/* len bytes at offset; views last until the next call. */
static ErrCode view(WalVerify *v, uint64_t offset, size_t len, Str *out, Err *err)
{
    if (offset < v->window_at || offset + len > v->window_at + v->window.len) {
        size_t want = (size_t)MIN(MAX((uint64_t)len, (uint64_t)WINDOW_LEN), v->end - offset);
        buf_clear(&v->window);
        TRY(buf_reserve(&v->window, want, err));
        TRY(disk_read_all(v->file, offset, v->window.data, want, err));
        v->window.len = want;
        v->window_at = offset;
    }
    *out = str_slice(buf_str(&v->window), (size_t)(offset - v->window_at), len);
    return OK;
}

static ErrCode check_header(WalVerify *v, Err *err)
{
    Str block;
    SegmentHeader header;
    TRY(view(v, 0, SEGMENT_HEADER_LEN, &block, err));
    TRY(segment_header_decode(block, &header, err));
    if (header.id != v->segment || !id128_eq(header.uuid, v->uuid))
        return err_set(err, ERR_FOREIGN, "the header says that it is another segment");
    v->at = SEGMENT_HEADER_LEN;
    return OK;
}

static bool all_zeros(Str data)
{
    return data.len == 0 || (data.ptr[0] == 0 && memcmp(data.ptr, data.ptr + 1, data.len - 1) == 0);
}

/* The zeros that end a batch where less than a frame is left of its block. */
static ErrCode check_rest(WalVerify *v, Err *err)
{
    Str data;
    size_t rest = (size_t)(ALIGN_UP(v->at, (uint64_t)WAL_BLOCK) - v->at);
    if (rest == 0 || rest >= FRAME_LEN || rest > v->end - v->at)
        return err_set(err, ERR_CORRUPT, "no frame stands there");
    TRY(view(v, v->at, rest, &data, err));
    if (!all_zeros(data)) return err_set(err, ERR_CORRUPT, "neither a frame nor zeros stand there");
    v->at += rest;
    return OK;
}

/* The frame at v->at, or the zeros behind a batch. */
static ErrCode check_frame(WalVerify *v, Err *err)
{
    Str data;
    Str payload;
    Frame frame;
    uint64_t left = v->end - v->at;
    if (left < FRAME_LEN) return check_rest(v, err);
    TRY(view(v, v->at, FRAME_LEN, &data, err));
    if (get_u32(data.ptr) != FRAME_MAGIC) return check_rest(v, err);
    size_t length = get_u32(data.ptr + AT_LENGTH);
    if (length > WAL_CHECKPOINT_MAX || frame_total(length) > left)
        return err_set(err, ERR_CORRUPT, "no frame stands there");
    TRY(view(v, v->at, frame_total(length), &data, err));
    TRY(frame_decode(str_slice(data, 0, FRAME_LEN + length), &frame, &payload, err));
    bool own = id128_eq(frame.segment_uuid, v->uuid) && frame.pos.segment == v->segment &&
               frame.pos.offset == v->at;
    if (!own) return err_set(err, ERR_FOREIGN, "another record stands there");
    if (!all_zeros(str_slice(data, FRAME_LEN + length, frame_total(length) - FRAME_LEN - length)))
        return err_set(err, ERR_CORRUPT, "no zeros behind a record");
    v->at += frame_total(length);
    return OK;
}

static ErrCode verify(WalVerify *v, uint64_t bytes, Err *err)
{
    uint64_t from = v->at;
    if (v->file == NULL) return err_set(err, v->not_opened.code, "%s", err_text(&v->not_opened));
    if (v->at == 0) TRY(check_header(v, err));
    while (v->at < v->end && v->at - from < bytes)
        TRY(check_frame(v, err));
    return OK;
}

ErrCode wal_verify_next(WalVerify *v, uint64_t bytes, uint64_t *read, bool *done, Err *err)
{
    uint64_t from = v->at;
    ErrCode code = verify(v, bytes, err);
    *read = v->at - from;
    *done = code != OK || v->at >= v->end;
    if (code == OK) return OK;
    if (says_nothing(code)) {
        *done = false;
        return code;
    }
    if (!is_kept(v->wal, v->segment)) { /* cut, and perhaps written again */
        err_clear(err);
        return OK;
    }
    if (code == ERR_END) code = ERR_NOT_FOUND; /* its end is missing */
    if (code == ERR_FORMAT_VERSION) code = ERR_CORRUPT;
    return err_wrap(err, code, "verify the log at %" PRIu64 ":%" PRIu64, v->segment, v->at);
}
