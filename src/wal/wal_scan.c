/* The log as it was found. First all headers, then all frames in order, through a window. Each
 * segment but the newest is attested up to its exact end by the next one's header. In the newest:
 *
 *   header | CHECKPOINT | frames … | X bad … | a frame that attests beyond X?  -> ERR_CORRUPT
 *   synced before its name         '- else the log ends at X; if something of this segment stands
 *                                     behind X, that is a torn tail
 *
 * Zeros at X prove nothing: the search behind it always goes to the end of the file. */
#include "wal/wal_priv.h"

#include "base/fault.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_LEN (256 * KIB)
/* Places in a frame (format/frame.h) that are looked at before it is decoded. */
#define AT_LENGTH 8
#define AT_UUID 16
#define AT_ID 32
#define AT_POSITION 40
_Static_assert(AT_POSITION + 24 == FRAME_LEN, "id, position, durable segment and position end it");

#define DAMAGED                                                                                    \
    "damaged at offset %" PRIu64 ", and everything before offset %" PRIu64 " was durable"

typedef struct {
    uint64_t id; /* of its name; 0: WAL_ACTIVE, until its header is read */
    char path[DISK_PATH_MAX];
    SegmentHeader header;
} ScanSegment;

typedef struct {
    Wal *wal;
    WalReplayFn fn;
    void *ctx;
    WalOpened *opened;
    bool has_active;
    ScanSegment *segments; /* rising ids */
    size_t count;
    size_t capacity;
    WalPos attested; /* highest that a frame says */
    WalAhead *ahead; /* NULL: one thread does all */

    /* the segment being read, and the part of it in memory */
    const ScanSegment *segment;
    File *file;
    uint8_t *window;
    size_t window_capacity;
    size_t window_len;
    uint64_t window_at;
} Scan;

static void scan_deinit(Scan *scan)
{
    wal_ahead_free(scan->ahead);
    disk_close(scan->file);
    mem_free(scan->segments);
    mem_free(scan->window);
}

static ScanSegment *scan_add(Scan *scan)
{
    if (scan->count == scan->capacity) {
        scan->capacity = MAX((size_t)16, scan->capacity * 2);
        scan->segments = mem_resize(scan->segments, scan->capacity * sizeof *scan->segments);
    }
    ScanSegment *segment = &scan->segments[scan->count++];
    *segment = (ScanSegment){0};
    return segment;
}

/* Names that are not ours stay untouched and unread. */
static ErrCode name_listed(void *ctx, const char *name, bool is_dir, Err *err)
{
    Scan *scan = ctx;
    uint64_t id = wal_segment_id(name);
    UNUSED(err);
    if (is_dir || id == 0) return OK;
    ScanSegment *segment = scan_add(scan);
    segment->id = id;
    wal_segment_path(id, segment->path);
    return OK;
}

static int segment_order(const void *a, const void *b)
{
    uint64_t left = ((const ScanSegment *)a)->id;
    uint64_t right = ((const ScanSegment *)b)->id;
    return left < right ? -1 : left > right;
}

/* Names of closed segments by number, then WAL_ACTIVE. */
static ErrCode list_segments(Scan *scan, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(scan->wal->disk, WAL_SEGMENTS, &stat, err));
    if (stat.exists) TRY(disk_list(scan->wal->disk, WAL_SEGMENTS, name_listed, scan, err));
    if (scan->count > 0) {
        qsort(scan->segments, scan->count, sizeof *scan->segments, segment_order);
    }
    TRY(disk_stat(scan->wal->disk, WAL_ACTIVE, &stat, err));
    if (!stat.exists) return OK;
    (void)snprintf(scan_add(scan)->path, DISK_PATH_MAX, "%s", WAL_ACTIVE); /* fits */
    scan->has_active = true;
    return OK;
}

/* Opens the segment for reading, with an empty window. */
static ErrCode segment_open(Scan *scan, const ScanSegment *segment, Err *err)
{
    disk_close(TAKE(scan->file));
    scan->segment = segment;
    scan->window_len = 0;
    return disk_open(scan->wal->disk, segment->path, DISK_OPEN_READ, &scan->file, err);
}

static ErrCode header_read(Scan *scan, ScanSegment *segment, Err *err)
{
    uint8_t block[SEGMENT_HEADER_LEN];
    uint64_t size;
    TRY(segment_open(scan, segment, err));
    TRY(disk_size(scan->file, &size, err));
    if (size < sizeof block) {
        return err_set(err, ERR_CORRUPT,
                       "only %" PRIu64 " bytes, cut off in the header at offset 0", size);
    }
    TRY(disk_read_all(scan->file, 0, block, sizeof block, err));
    ErrCode code = segment_header_decode(str_of(block, sizeof block), &segment->header, err);
    if (code != OK) return err_wrap(err, code, "offset 0");
    const SegmentHeader *header = &segment->header;
    if (!id128_eq(header->root, scan->wal->options.root)) {
        return err_set(err, ERR_FOREIGN, "the header names another storage root");
    }
    if (header->incarnation >= scan->wal->options.incarnation) {
        return err_set(err, ERR_FOREIGN,
                       "written in incarnation %" PRIu64 ", and the root is in %" PRIu64
                       " now: root.json or the log was put back from a copy",
                       header->incarnation, scan->wal->options.incarnation);
    }
    if (header->id == 0 || (segment->id != 0 && segment->id != header->id)) {
        return err_set(err, ERR_CORRUPT, "the header at offset 0 says segment %" PRIu64,
                       header->id);
    }
    segment->id = header->id;
    if (size != header->capacity) {
        return err_set(err, ERR_CORRUPT, "%" PRIu64 " bytes, the header at offset 0 says %" PRIu64,
                       size, header->capacity);
    }
    return OK;
}

/* Two names of one segment (a file system that made one of a rename's two names durable): the same
 * bytes in both, or ERR_CORRUPT. */
static ErrCode compare_names(Scan *scan, const ScanSegment *a, const ScanSegment *b, Err *err)
{
    uint8_t left[WAL_BLOCK];
    uint8_t right[WAL_BLOCK];
    AUTO(File, disk_close) other = NULL;
    bool same = a->header.capacity == b->header.capacity;
    TRY(segment_open(scan, a, err));
    TRY(disk_open(scan->wal->disk, b->path, DISK_OPEN_READ, &other, err));
    for (uint64_t at = 0; same && at < a->header.capacity; at += WAL_BLOCK) {
        TRY(disk_read_all(scan->file, at, left, sizeof left, err));
        TRY(disk_read_all(other, at, right, sizeof right, err));
        same = memcmp(left, right, sizeof left) == 0;
    }
    if (same) return OK;
    return err_set(err, ERR_CORRUPT, "%s and %s are both segment %" PRIu64 " and differ", a->path,
                   b->path, a->id);
}

/* Reads all headers and checks the chain they make. */
static ErrCode read_headers(Scan *scan, WalScanned *scanned, Err *err)
{
    for (size_t i = 0; i < scan->count; i++) {
        ErrCode code = header_read(scan, &scan->segments[i], err);
        if (code != OK) return err_wrap(err, code, "%s", scan->segments[i].path);
    }
    if (scan->has_active && scan->count > 1 &&
        scan->segments[scan->count - 1].id == scan->segments[scan->count - 2].id) {
        TRY(compare_names(scan, &scan->segments[scan->count - 2], &scan->segments[scan->count - 1],
                          err));
        scanned->duplicate = true;
        scan->has_active = false;
        scan->count--;
    }
    for (size_t i = 1; i < scan->count; i++) {
        const ScanSegment *before = &scan->segments[i - 1];
        const ScanSegment *segment = &scan->segments[i];
        if (segment->id != before->id + 1) {
            return err_set(err, ERR_CORRUPT,
                           "segments %" PRIu64 " to %" PRIu64 " of the log are missing (before %s)",
                           before->id + 1, segment->id - 1, segment->path);
        }
        if (!id128_eq(segment->header.prev_uuid, before->header.uuid) ||
            segment->header.prev_end <= SEGMENT_HEADER_LEN ||
            segment->header.prev_end > before->header.capacity ||
            segment->header.incarnation < before->header.incarnation) {
            return err_set(err, ERR_CORRUPT, "%s: the header at offset 0 does not follow %s",
                           segment->path, before->path);
        }
    }
    return OK;
}

/* Makes len bytes at offset, which the file has, readable at *out until the next call. */
static ErrCode window_get(Scan *scan, uint64_t offset, size_t len, const uint8_t **out, Err *err)
{
    uint64_t size = scan->segment->header.capacity;
    ASSERT(offset + len <= size);
    if (scan->window_len == 0 || offset < scan->window_at ||
        offset + len > scan->window_at + scan->window_len) {
        if (len > scan->window_capacity) {
            void *window;
            size_t capacity = MAX(len, (size_t)WINDOW_LEN);
            TRY(mem_take(capacity, &window, err));
            mem_free(scan->window);
            scan->window = window;
            scan->window_capacity = capacity;
        }
        size_t want = (size_t)MIN((uint64_t)scan->window_capacity, size - offset);
        scan->window_len = 0;
        TRY(disk_read_all(scan->file, offset, scan->window, want, err));
        scan->window_at = offset;
        scan->window_len = want;
    }
    *out = scan->window + (offset - scan->window_at);
    return OK;
}

static bool all_zeros(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* Does a frame of this segment claim to begin at data[FRAME_LEN], which stands at offset? */
static bool claims_place(const Scan *scan, const uint8_t *data, uint64_t offset)
{
    const SegmentHeader *header = &scan->segment->header;
    if (get_u32(data) != FRAME_MAGIC) return false;
    if (memcmp(data + AT_UUID, header->uuid.bytes, sizeof header->uuid.bytes) != 0) return false;
    if (get_u64(data + AT_POSITION) != offset) return false;
    return get_u64(data + AT_ID) == header->id || fault_planted("reuse-stale-spare");
}

/* One step of the scan: a frame, or the zeros at the end of a batch. */
typedef struct {
    bool sound; /* false: nothing valid begins here */
    bool is_frame;
    Frame frame;
    Str payload; /* a view, until the window moves */
    uint64_t next;
} ScanStep;

/* Tries offset, where limit is the end of what may be read. */
static ErrCode step_at(Scan *scan, uint64_t offset, uint64_t limit, ScanStep *step, Err *err)
{
    *step = (ScanStep){0};
    const uint8_t *data;
    size_t rest = (size_t)(ALIGN_UP(offset, (uint64_t)WAL_BLOCK) - offset);
    uint64_t left = limit - offset;
    if (left >= FRAME_LEN) {
        TRY(window_get(scan, offset, FRAME_LEN, &data, err));
        size_t length = get_u32(data + AT_LENGTH);
        if (claims_place(scan, data, offset) && length <= WAL_CHECKPOINT_MAX &&
            frame_total(length) <= left) {
            size_t total = frame_total(length);
            TRY(window_get(scan, offset, total, &data, err));
            ErrCode code = frame_decode(str_of(data, FRAME_LEN + length), &step->frame,
                                        &step->payload, err);
            if (code == ERR_FORMAT_VERSION) return code;
            step->is_frame = code == OK;
            step->sound = step->is_frame &&
                          all_zeros(data + FRAME_LEN + length, total - FRAME_LEN - length);
            step->next = offset + total;
            return OK;
        }
    }
    if (rest > 0 && rest < FRAME_LEN && rest <= left) {
        TRY(window_get(scan, offset, rest, &data, err));
        step->sound = all_zeros(data, rest);
        step->next = offset + rest;
    }
    return OK;
}

/* Updates the shards' states and hands the record on. */
static ErrCode deliver(Scan *scan, const Frame *frame, Str payload, bool verified, Err *err)
{
    WalShards *shards = &scan->wal->shards;
    switch (frame->kind) {
    case FRAME_ENTRY: {
        Entry entry;
        TRY(verified ? entry_parse(payload, &entry, err)
                     : entry_decode(payload, true, &entry, err));
        wal_shards_entry(shards, &entry);
        break;
    }
    case FRAME_CHECKPOINT: TRY(wal_shards_load(shards, payload, err)); break;
    case FRAME_TRUNCATE: {
        Truncate truncate;
        TRY(truncate_decode(payload, &truncate, err));
        wal_shards_truncate(shards, &truncate);
        break;
    }
    case FRAME_RESET:
    case FRAME_STATE: {
        ReplicaState state;
        Dec dec = dec_of(payload.ptr, payload.len);
        if (!replica_state_decode(&dec, &state) || !dec_done(&dec) ||
            state.config.len > WAL_CONFIG_MAX || state.before.len > WAL_CONFIG_MAX) {
            return err_set(err, ERR_CORRUPT, "state record is malformed");
        }
        if (frame->kind == FRAME_RESET)
            wal_shards_reset(shards, &state);
        else
            wal_shards_promise(shards, &state);
        break;
    }
    case FRAME_ATTEST:
    case FRAME_PAD: return OK;
    }
    if (frame->kind != FRAME_CHECKPOINT) scan->opened->records++;
    scan->opened->bytes += frame_total(payload.len);
    return scan->fn == NULL ? OK : scan->fn(scan->ctx, frame, payload, err);
}

static void scan_attest(Scan *scan, WalPos durable)
{
    if (wal_pos_cmp(durable, scan->attested) > 0) scan->attested = durable;
}

/* A sound frame of the segment being read: what it attests, and its record. */
static ErrCode take_frame(Scan *scan, const WalAheadFrame *found, bool verified, Err *err)
{
    const Frame *frame = &found->frame;
    bool first = found->offset == SEGMENT_HEADER_LEN;
    if (first != (frame->kind == FRAME_CHECKPOINT)) {
        return err_set(err, ERR_CORRUPT, "offset %" PRIu64 ": %s checkpoint", found->offset,
                       first ? "the segment begins without a" : "misplaced");
    }
    scan_attest(scan, frame->durable);
    if (first) { /* the head was synced before the file got its name */
        scan_attest(scan,
                    (WalPos){scan->segment->header.id, ALIGN_UP(found->next, (uint64_t)WAL_BLOCK)});
    }
    ErrCode code = deliver(scan, frame, found->payload, verified, err);
    return code == OK ? OK : err_wrap(err, code, "offset %" PRIu64, found->offset);
}

/* Reads frames up to limit or the first bad place: *end. */
static ErrCode scan_frames(Scan *scan, uint64_t limit, uint64_t *end, Err *err)
{
    uint64_t offset = SEGMENT_HEADER_LEN;
    while (offset < limit) {
        ScanStep step;
        TRY(step_at(scan, offset, limit, &step, err));
        if (!step.sound) break;
        if (step.is_frame) {
            WalAheadFrame found = {step.frame, step.payload, offset, step.next};
            TRY(take_frame(scan, &found, false, err));
        }
        offset = step.next;
    }
    *end = offset;
    return OK;
}

/* What stands behind the end of the frames in the newest segment. */
typedef struct {
    WalPos attested;    /* highest that a valid frame there says; zero: none */
    uint64_t own_end;   /* end of what claims to be a frame of this segment; 0: none */
    uint64_t bytes_end; /* behind the last block that is not all zeros; 0: none */
    bool others;        /* frames of an earlier life of the file */
} ScanTail;

/* Notes frames that begin in the block of data, whole or not. len: bytes there are, at most a block
 * and a frame more, of which `own` are the block's. */
static void tail_note_frames(Scan *scan, const uint8_t *data, size_t len, size_t own,
                             uint64_t offset, ScanTail *tail)
{
    for (size_t i = 0; i < own && i + FRAME_LEN <= len; i += 8) {
        if (get_u32(data + i) != FRAME_MAGIC) continue;
        if (claims_place(scan, data + i, offset + i)) {
            uint64_t total = frame_total(get_u32(data + i + AT_LENGTH));
            uint64_t end = MIN(offset + i + total, scan->segment->header.capacity);
            tail->own_end = MAX(tail->own_end, end);
        } else {
            tail->others = true;
        }
    }
}

static ErrCode tail_examine(Scan *scan, uint64_t from, ScanTail *tail, Err *err)
{
    uint64_t size = scan->segment->header.capacity;
    *tail = (ScanTail){0};
    for (uint64_t at = from; at < size;) {
        uint64_t next = ALIGN_UP(at + 1, (uint64_t)WAL_BLOCK);
        const uint8_t *data;
        size_t own = (size_t)(next - at);
        size_t len = (size_t)MIN(next - at + FRAME_LEN, size - at);
        TRY(window_get(scan, at, len, &data, err));
        bool empty = all_zeros(data, own);
        if (empty && at == from && fault_planted("trust-zeros")) return OK;
        if (!empty) {
            tail->bytes_end = next;
            tail_note_frames(scan, data, len, own, at, tail);
        }
        if (!empty &&
            at % WAL_BLOCK == 0) { /* batches begin here, and each attests the one before */
            ScanStep step;
            TRY(step_at(scan, at, size, &step, err));
            if (step.is_frame && wal_pos_cmp(step.frame.durable, tail->attested) > 0) {
                tail->attested = step.frame.durable;
            }
        }
        at = next;
    }
    return OK;
}

/* Damage, torn or clean? Fills WalOpened's torn fields. */
static ErrCode tail_judge(Scan *scan, uint64_t end, Err *err)
{
    const SegmentHeader *header = &scan->segment->header;
    WalPos bad = {header->id, end};
    ScanTail tail;
    TRY(tail_examine(scan, end, &tail, err));
    WalPos attested = tail.attested;
    if (wal_pos_cmp(scan->attested, attested) > 0) attested = scan->attested;
    if (wal_pos_cmp(attested, bad) > 0 && !fault_planted("truncate-attested")) {
        return err_set(err, ERR_CORRUPT, DAMAGED, end, attested.offset);
    }
    /* Stale bytes of a recycled file are no torn tail, only what belongs to this segment is. */
    uint64_t torn_end = tail.own_end;
    if (torn_end == 0 && !tail.others) torn_end = tail.bytes_end;
    torn_end = MIN(MIN(torn_end, tail.bytes_end), end + WAL_BATCH_MAX);
    if (torn_end <= end) return OK;
    scan->opened->torn = true;
    scan->opened->torn_at = bad;
    scan->opened->torn_bytes = torn_end - end;
    return OK;
}

static uint64_t segment_limit(const Scan *scan, size_t i)
{
    bool newest = i + 1 == scan->count;
    return newest ? scan->segments[i].header.capacity : scan->segments[i + 1].header.prev_end;
}

/* What was verified ahead, or else, as it is found now: up to limit or the first bad place. */
static ErrCode segment_frames(Scan *scan, size_t i, uint64_t *end, Err *err)
{
    const WalAheadFrame *frames = NULL;
    size_t count = 0;
    uint64_t limit = segment_limit(scan, i);
    if (i + 1 == scan->count || scan->ahead == NULL ||
        !wal_ahead_get(scan->ahead, i, &frames, &count)) {
        return scan_frames(scan, limit, end, err);
    }
    for (size_t k = 0; k < count; k++)
        TRY(take_frame(scan, &frames[k], true, err));
    *end = limit;
    return OK;
}

static ErrCode scan_segment(Scan *scan, size_t i, Err *err)
{
    const ScanSegment *segment = &scan->segments[i];
    bool newest = i + 1 == scan->count;
    uint64_t limit = segment_limit(scan, i);
    uint64_t end;
    TRY(segment_open(scan, segment, err));
    TRY(segment_frames(scan, i, &end, err));
    if (end == SEGMENT_HEADER_LEN) {
        return err_set(err, ERR_CORRUPT,
                       "damaged at offset %" PRIu64 ", in the head, which was durable", end);
    }
    if (!newest && end != limit) {
        return err_set(err, ERR_CORRUPT, DAMAGED, end, limit);
    }
    if (newest) TRY(tail_judge(scan, end, err));
    scan->opened->segments++;
    scan->opened->end = (WalPos){segment->header.id, end};
    wal_table_push(scan->wal, &segment->header, newest && scan->has_active, NULL);
    return OK;
}

/* The closed segments; the newest one is judged, not only verified. */
static void begin_ahead(Scan *scan)
{
    unsigned threads = MAX(scan->wal->options.verify_threads, 1U);
    if (threads == 1 || scan->count < 2) return;
    size_t count = scan->count - 1;
    WalAheadSegment *segments = mem_new_array(count, sizeof *segments);
    for (size_t i = 0; i < count; i++) {
        segments[i].header = scan->segments[i].header;
        segments[i].limit = segment_limit(scan, i);
        memcpy(segments[i].path, scan->segments[i].path, sizeof segments[i].path);
    }
    scan->ahead = wal_ahead_new(scan->wal->disk, segments, count, threads);
    mem_free(segments);
}

static ErrCode scan_run(Scan *scan, WalScanned *scanned, Err *err)
{
    Wal *wal = scan->wal;
    TRY(list_segments(scan, err));
    TRY(read_headers(scan, scanned, err));
    begin_ahead(scan);
    for (size_t i = 0; i < scan->count; i++) {
        ErrCode code = scan_segment(scan, i, err);
        if (code != OK) return err_wrap(err, code, "%s", scan->segments[i].path);
    }
    if (scan->count == 0) return OK;
    const ScanSegment *newest = &scan->segments[scan->count - 1];
    scanned->attested = scan->attested;
    memcpy(scanned->last_path, newest->path, sizeof scanned->last_path);
    wal->header = newest->header;
    wal->has_active = scan->has_active;
    wal->batch.start = scan->opened->end.offset;
    wal->durable = scan->opened->end; /* is made true before anything is appended */
    return OK;
}

ErrCode wal_scan(Wal *wal, WalReplayFn fn, void *ctx, WalOpened *opened, WalScanned *scanned,
                 Err *err)
{
    __attribute__((cleanup(scan_deinit))) Scan scan = {
        .wal = wal,
        .fn = fn,
        .ctx = ctx,
        .opened = opened,
    };
    return scan_run(&scan, scanned, err);
}
