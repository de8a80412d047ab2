/*  names, headers -> pass 1: every frame that is whole says what was synced before it
 *                 -> pass 2: at the first byte that is no frame of its place
 *                      below the attested position: damage; on to the next whole frame
 *                      at or above it: the log ends
 *
 * A frame belongs to its place if it names the segment's uuid and its own offset: what users have
 * stored, and an earlier life of the file, can't pass for one. */
#include "wal/wal_walk.h"

#include "wal/wal_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_LEN (256 * KIB)
#define STEP 8 /* frames begin at multiples of it */
/* Places in a frame (format/frame.h). */
#define AT_LENGTH 8
#define AT_UUID 16
#define AT_POSITION 40

typedef struct {
    uint64_t id;    /* of the name or the header; 0: not known */
    bool headed;    /* header is good */
    bool known;     /* uuid is */
    bool bounded;   /* the next segment says where it ends */
    bool skip;      /* a second name, or another root's */
    Uuid uuid;      /* of its frames */
    uint64_t size;  /* bytes of the file */
    uint64_t limit; /* frames end here at the latest */
    char path[DISK_PATH_MAX];
    SegmentHeader header;
} WalkSegment;

typedef struct {
    Disk *disk;
    const WalWalkOptions *options;
    WalWalked *out;
    WalkSegment *segments;
    size_t count;
    size_t capacity;

    const WalkSegment *segment; /* in hand, open, and the part of it in memory */
    File *file;
    uint8_t *window;
    size_t window_capacity;
    size_t window_len;
    uint64_t window_at;
} Walk;

static void walk_deinit(Walk *walk)
{
    disk_close(walk->file);
    mem_free(walk->segments);
    mem_free(walk->window);
}

/* ---- what there is ---- */

static WalkSegment *walk_add(Walk *walk)
{
    if (walk->count == walk->capacity) {
        walk->capacity = MAX((size_t)16, walk->capacity * 2);
        walk->segments = mem_resize(walk->segments, walk->capacity * sizeof *walk->segments);
    }
    WalkSegment *segment = &walk->segments[walk->count++];
    *segment = (WalkSegment){0};
    return segment;
}

static ErrCode name_listed(void *ctx, const char *name, bool is_dir, Err *err)
{
    UNUSED(err);
    uint64_t id = wal_segment_id(name);
    if (is_dir || id == 0) return OK;
    WalkSegment *segment = walk_add(ctx);
    segment->id = id;
    wal_segment_path(id, segment->path);
    return OK;
}

static ErrCode list_segments(Walk *walk, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(walk->disk, WAL_SEGMENTS, &stat, err));
    if (stat.exists && stat.is_dir) {
        TRY(disk_list(walk->disk, WAL_SEGMENTS, name_listed, walk, err));
    }
    TRY(disk_stat(walk->disk, WAL_ACTIVE, &stat, err));
    if (stat.exists && !stat.is_dir) {
        snprintf(walk_add(walk)->path, DISK_PATH_MAX, "%s", WAL_ACTIVE); /* fits */
    }
    return OK;
}

static ErrCode tell(Walk *walk, WalBadKind kind, const WalkSegment *segment, uint64_t offset,
                    uint64_t length, const char *text, Err *err)
{
    WalBad bad = {.kind = kind,
                  .path = segment->path,
                  .segment = segment->id,
                  .offset = offset,
                  .length = length,
                  .text = text};
    if (kind != WAL_TORN) walk->out->damages++;
    return walk->options->bad(walk->options->ctx, &bad, err);
}

/* Opens the segment for reading, with an empty window. */
static ErrCode segment_open(Walk *walk, const WalkSegment *segment, Err *err)
{
    disk_close(TAKE(walk->file));
    walk->segment = segment;
    walk->window_len = 0;
    return disk_open(walk->disk, segment->path, DISK_OPEN_READ, &walk->file, err);
}

/* Makes len bytes at offset, which the file has, readable at *out until the next call. */
static ErrCode window_get(Walk *walk, uint64_t offset, size_t len, const uint8_t **out, Err *err)
{
    uint64_t size = walk->segment->size;
    ASSERT(offset + len <= size);
    if (offset < walk->window_at || offset + len > walk->window_at + walk->window_len) {
        if (len > walk->window_capacity) {
            void *window;
            size_t capacity = MAX(len, (size_t)WINDOW_LEN);
            TRY(mem_take(capacity, &window, err));
            mem_free(walk->window);
            walk->window = window;
            walk->window_capacity = capacity;
        }
        size_t want = (size_t)MIN((uint64_t)walk->window_capacity, size - offset);
        walk->window_len = 0;
        TRY(disk_read_all(walk->file, offset, walk->window, want, err));
        walk->window_at = offset;
        walk->window_len = want;
        if (walk->options->progress != NULL) walk->options->progress(walk->options->ctx, want);
    }
    *out = walk->window + (offset - walk->window_at);
    return OK;
}

static bool all_zeros(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* ---- headers ---- */

/* Without a good header: the uuid of the first whole frame that says it stands where it does. */
static ErrCode uuid_guess(Walk *walk, WalkSegment *segment, Err *err)
{
    for (uint64_t at = SEGMENT_HEADER_LEN; at + FRAME_LEN <= segment->size; at += WAL_BLOCK) {
        const uint8_t *data;
        Frame frame;
        Str payload;
        TRY(window_get(walk, at, FRAME_LEN, &data, err));
        size_t length = get_u32(data + AT_LENGTH);
        if (get_u32(data) != FRAME_MAGIC || get_u64(data + AT_POSITION) != at) continue;
        if (length > WAL_CHECKPOINT_MAX || FRAME_LEN + length > segment->size - at) continue;
        TRY(window_get(walk, at, FRAME_LEN + length, &data, err));
        if (frame_decode(str_of(data, FRAME_LEN + length), &frame, &payload, NULL) != OK) continue;
        if (segment->id != 0 && frame.pos.segment != segment->id) continue;
        segment->uuid = frame.segment_uuid;
        segment->id = frame.pos.segment;
        segment->known = true;
        return OK;
    }
    return OK;
}

/* The header is the one of this file of this root; else it is passed over and *text says why. */
static void header_judge(const Walk *walk, WalkSegment *segment, const char **text)
{
    const SegmentHeader *header = &segment->header;
    Uuid root = walk->options->root;
    if (!id128_is_zero(root) && !id128_eq(header->root, root)) {
        *text = "the header names another storage root";
        segment->skip = true;
    } else if (header->id == 0 || (segment->id != 0 && segment->id != header->id)) {
        *text = "the header says that it is another segment";
        segment->skip = true;
    }
}

static ErrCode header_read(Walk *walk, WalkSegment *segment, Err *err)
{
    const uint8_t *block = NULL;
    Err why = {0};
    TRY(segment_open(walk, segment, err));
    TRY(disk_size(walk->file, &segment->size, err));
    segment->limit = segment->size;
    if (segment->size < SEGMENT_HEADER_LEN) {
        return tell(walk, WAL_BAD_HEADER, segment, 0, segment->size,
                    "the file ends within its header", err);
    }
    TRY(window_get(walk, 0, SEGMENT_HEADER_LEN, &block, err));
    ErrCode code = segment_header_decode(str_of(block, SEGMENT_HEADER_LEN), &segment->header, &why);
    if (code != OK) {
        TRY(tell(walk, WAL_BAD_HEADER, segment, 0, SEGMENT_HEADER_LEN, err_text(&why), err));
        return uuid_guess(walk, segment, err);
    }
    const char *text = NULL;
    header_judge(walk, segment, &text);
    segment->headed = !segment->skip;
    segment->known = segment->headed;
    segment->uuid = segment->header.uuid;
    if (segment->skip) {
        return tell(walk, WAL_BAD_FILE, segment, 0, SEGMENT_HEADER_LEN, text, err);
    }
    segment->id = segment->header.id;
    uint64_t said = segment->header.capacity;
    if (said == segment->size) return OK;
    return tell(walk, WAL_BAD_FILE, segment, MIN(said, segment->size),
                MAX(said, segment->size) - MIN(said, segment->size),
                "the file is shorter or longer than its header says", err);
}

static int segment_order(const void *a, const void *b)
{
    const WalkSegment *left = a;
    const WalkSegment *right = b;
    if (left->id != right->id) return left->id < right->id ? -1 : 1;
    return strcmp(right->path, left->path); /* "wal.segments/…" before "wal.active" */
}

/* Two names of one segment: nothing wrong if they hold the same. */
static ErrCode compare_names(Walk *walk, const WalkSegment *a, WalkSegment *b, Err *err)
{
    uint8_t block[WAL_BLOCK];
    AUTO(File, disk_close) other = NULL;
    bool same = a->size == b->size;
    TRY(segment_open(walk, a, err));
    TRY(disk_open(walk->disk, b->path, DISK_OPEN_READ, &other, err));
    for (uint64_t at = 0; same && at < a->size; at += WAL_BLOCK) {
        const uint8_t *data;
        size_t len = (size_t)MIN((uint64_t)WAL_BLOCK, a->size - at);
        TRY(window_get(walk, at, len, &data, err));
        TRY(disk_read_all(other, at, block, len, err));
        same = memcmp(data, block, len) == 0;
    }
    b->skip = true;
    if (same) return OK;
    return tell(walk, WAL_BAD_FILE, b, 0, b->size, "another file is the same segment and differs",
                err);
}

/* The chain that the headers make, and with it where each segment ends. */
static ErrCode check_chain(Walk *walk, Err *err)
{
    WalkSegment *before = NULL;
    for (size_t i = 0; i < walk->count; i++) {
        WalkSegment *segment = &walk->segments[i];
        if (segment->skip || segment->id == 0) continue;
        if (before != NULL && before->id == segment->id) {
            TRY(compare_names(walk, before, segment, err));
            continue;
        }
        if (before != NULL && segment->id != before->id + 1) {
            char text[96];
            snprintf(text, sizeof text, "segments %" PRIu64 " to %" PRIu64 " are missing",
                     before->id + 1, segment->id - 1); /* fits */
            TRY(tell(walk, WAL_BAD_MISSING, segment, 0, 0, text, err));
        } else if (before != NULL && segment->headed) {
            uint64_t end = segment->header.prev_end;
            bool follows = !before->known || id128_eq(segment->header.prev_uuid, before->uuid);
            uint64_t most = before->headed ? before->header.capacity : before->size;
            if (!follows || end <= SEGMENT_HEADER_LEN || end > most) {
                TRY(tell(walk, WAL_BAD_FILE, segment, 0, SEGMENT_HEADER_LEN,
                         "the header does not follow the segment before", err));
            } else {
                before->limit = MIN(end, before->size);
                before->bounded = true;
            }
        }
        before = segment;
    }
    return OK;
}

/* ---- frames ---- */

typedef struct {
    bool sound; /* false: nothing that is valid begins here, or what follows it is not */
    bool is_frame;
    Frame frame;
    Str payload;
    uint64_t next;
} WalkStep;

static bool claims_place(const Walk *walk, const uint8_t *data, uint64_t offset)
{
    const WalkSegment *segment = walk->segment;
    return get_u32(data) == FRAME_MAGIC && get_u64(data + AT_POSITION) == offset &&
           memcmp(data + AT_UUID, segment->uuid.bytes, sizeof segment->uuid.bytes) == 0;
}

/* Tries offset, as wal_scan.c does. */
static ErrCode step_at(Walk *walk, uint64_t offset, WalkStep *step, Err *err)
{
    const uint8_t *data;
    uint64_t left = walk->segment->limit - offset;
    size_t rest = (size_t)(ALIGN_UP(offset, (uint64_t)WAL_BLOCK) - offset);
    *step = (WalkStep){0};
    if (left >= FRAME_LEN) {
        TRY(window_get(walk, offset, FRAME_LEN, &data, err));
        size_t length = get_u32(data + AT_LENGTH);
        if (claims_place(walk, data, offset) && length <= WAL_CHECKPOINT_MAX &&
            frame_total(length) <= left) {
            size_t total = frame_total(length);
            TRY(window_get(walk, offset, total, &data, err));
            ErrCode code = frame_decode(str_of(data, FRAME_LEN + length), &step->frame,
                                        &step->payload, NULL);
            step->is_frame = code == OK && step->frame.pos.segment == walk->segment->id;
            step->sound = step->is_frame &&
                          all_zeros(data + FRAME_LEN + length, total - FRAME_LEN - length);
            step->next = offset + total;
            return OK;
        }
    }
    if (rest > 0 && rest < FRAME_LEN && rest <= left) {
        TRY(window_get(walk, offset, rest, &data, err));
        step->sound = all_zeros(data, rest);
        step->next = offset + rest;
    }
    return OK;
}

/* The next place behind offset where a frame of this segment stands that is whole, else limit.
 * *claim: behind the last one that says it is one, whole or not; *bytes: behind the last byte that
 * is not zero, where no frame of another life of the file stands; 0: none. */
static ErrCode next_frame(Walk *walk, uint64_t offset, uint64_t *next, uint64_t *claim, Err *err)
{
    uint64_t limit = walk->segment->limit;
    *claim = 0;
    *next = limit;
    for (uint64_t at = ALIGN_UP(offset + 1, (uint64_t)STEP); at + FRAME_LEN <= limit; at += STEP) {
        const uint8_t *data;
        WalkStep step;
        TRY(window_get(walk, at, FRAME_LEN, &data, err));
        if (!claims_place(walk, data, at)) continue;
        TRY(step_at(walk, at, &step, err));
        *claim = MIN(at + frame_total(get_u32(data + AT_LENGTH)), limit);
        if (!step.is_frame) continue;
        *next = at;
        return OK;
    }
    return OK;
}

static void attest(Walk *walk, WalPos durable)
{
    if (wal_pos_cmp(durable, walk->out->attested) > 0) walk->out->attested = durable;
}

/* Pass 1: what the frames of the segment in hand say was synced. */
static ErrCode segment_attests(Walk *walk, Err *err)
{
    uint64_t offset = SEGMENT_HEADER_LEN;
    while (offset < walk->segment->limit) {
        WalkStep step;
        TRY(step_at(walk, offset, &step, err));
        if (step.is_frame) {
            attest(walk, step.frame.durable);
            if (offset == SEGMENT_HEADER_LEN) { /* the head was synced before the file's name */
                WalPos head = {walk->segment->id, ALIGN_UP(step.next, (uint64_t)WAL_BLOCK)};
                attest(walk, head);
            }
        }
        uint64_t claim;
        if (step.sound || step.is_frame)
            offset = step.next;
        else
            TRY(next_frame(walk, offset, &offset, &claim, err));
    }
    return OK;
}

/* The frame's CRC was right. *text: what is wrong in it all the same. */
static ErrCode deliver(Walk *walk, const Frame *frame, Str payload, Err *err)
{
    Err why = {0};
    if (frame->kind == FRAME_ATTEST || frame->kind == FRAME_PAD) return OK;
    if (frame->kind == FRAME_ENTRY) {
        Entry entry;
        if (entry_decode(payload, true, &entry, &why) != OK) {
            return tell(walk, WAL_BAD_FRAME, walk->segment, frame->pos.offset,
                        frame_total(payload.len), err_text(&why), err);
        }
    }
    walk->out->records++;
    return walk->options->record(walk->options->ctx, walk->segment->path, frame, payload, err);
}

/* Nothing good at offset. *next: where to go on; limit: the log ends at offset. */
static ErrCode bad_place(Walk *walk, uint64_t offset, uint64_t from, uint64_t *next, Err *err)
{
    const WalkSegment *segment = walk->segment;
    uint64_t claim = 0;
    WalPos attested = walk->out->attested;
    bool damage = segment->bounded || offset == SEGMENT_HEADER_LEN ||
                  (attested.segment == segment->id && attested.offset > offset);
    TRY(next_frame(walk, from, next, &claim, err));
    if (damage) {
        uint64_t end = *next;
        if (end == segment->limit && attested.segment == segment->id && attested.offset > offset)
            end = MIN(end, attested.offset);
        return tell(walk, WAL_BAD_FRAME, segment, offset, end - offset,
                    offset == SEGMENT_HEADER_LEN ? "the head of the segment is damaged"
                                                 : "damaged, and it was synced",
                    err);
    }
    const uint8_t *data;
    size_t rest = (size_t)MIN(ALIGN_UP(offset + 1, (uint64_t)WAL_BLOCK) - offset,
                              segment->limit - offset);
    TRY(window_get(walk, offset, rest, &data, err));
    uint64_t torn = *next < segment->limit ? segment->limit : claim;
    bool ours = rest < FRAME_LEN || claims_place(walk, data, offset);
    if (torn == 0 && ours && !all_zeros(data, rest)) torn = offset + rest;
    *next = segment->limit;
    if (torn <= offset) return OK;
    return tell(walk, WAL_TORN, segment, offset, torn - offset,
                "the end of the log was being written when the process ended", err);
}

/* Pass 2. */
static ErrCode segment_walk(Walk *walk, Err *err)
{
    const WalkSegment *segment = walk->segment;
    uint64_t offset = SEGMENT_HEADER_LEN;
    while (offset < segment->limit) {
        WalkStep step;
        TRY(step_at(walk, offset, &step, err));
        if (step.is_frame) {
            TRY(deliver(walk, &step.frame, step.payload, err));
            walk->out->end = (WalPos){segment->id, step.next};
        }
        if (step.sound) {
            offset = step.next;
        } else { /* the bytes behind a frame's payload: only they are bad */
            uint64_t bad = step.is_frame ? offset + FRAME_LEN + step.frame.length : offset;
            uint64_t from = step.is_frame ? step.next - STEP : offset;
            TRY(bad_place(walk, bad, from, &offset, err));
        }
    }
    return OK;
}

static bool walkable(const WalkSegment *segment)
{
    return !segment->skip && segment->known && segment->limit > SEGMENT_HEADER_LEN;
}

static ErrCode walk_run(Walk *walk, Err *err)
{
    TRY(list_segments(walk, err));
    for (size_t i = 0; i < walk->count; i++)
        TRY(header_read(walk, &walk->segments[i], err));
    if (walk->count > 0) qsort(walk->segments, walk->count, sizeof *walk->segments, segment_order);
    TRY(check_chain(walk, err));
    for (size_t i = 0; i < walk->count; i++) {
        const WalkSegment *segment = &walk->segments[i];
        if (segment->headed && segment->header.prev_end != 0)
            attest(walk, (WalPos){segment->id - 1, segment->header.prev_end});
        if (!walkable(segment)) continue;
        TRY(segment_open(walk, segment, err));
        TRY(segment_attests(walk, err));
    }
    for (size_t i = 0; i < walk->count; i++) {
        const WalkSegment *segment = &walk->segments[i];
        if (!walkable(segment)) continue;
        if (walk->out->first_id == 0) walk->out->first_id = segment->id;
        walk->out->segments++;
        TRY(segment_open(walk, segment, err));
        TRY(segment_walk(walk, err));
    }
    return OK;
}

ErrCode wal_walk(Disk *disk, const WalWalkOptions *options, WalWalked *out, Err *err)
{
    ASSERT(options->record != NULL && options->bad != NULL);
    WalWalked walked = {0};
    __attribute__((cleanup(walk_deinit))) Walk walk = {
        .disk = disk,
        .options = options,
        .out = &walked,
    };
    ErrCode code = walk_run(&walk, err);
    if (code != OK) return err_wrap(err, code, "read the log");
    *out = walked;
    return OK;
}
