/* Closed segments read and verified ahead of their replay, by several threads.
 *
 *   job:  WAITING --a thread claims it, in order--> TAKEN --> DONE --replayed--> its slot is free
 *
 * A thread reads a whole segment into its slot and verifies what stands alone: each frame's place
 * and CRC, each entry's checksum and body. That is most of the work of a start. What depends on the
 * order (chain, states, table) stays with the one thread that replays, which verifies a segment
 * itself rather than wait. Threads never judge: whatever is not sound in every way is read again by
 * wal_scan.c, alone, which says what is wrong. */
#include "wal/wal_priv.h"

#include "base/thread.h"
#include "base/wake.h"
#include <string.h>

#define AT_LENGTH 8 /* in a frame (format/frame.h) */
#define SLOTS_MAX 8
#define BYTES_MAX (16 * MIB) /* of all slots */

typedef enum { JOB_WAITING, JOB_TAKEN, JOB_DONE } JobState;

typedef struct {
    uint8_t *bytes;
    size_t capacity;
    WalAheadFrame *frames;
    size_t frame_capacity;
} Slot;

typedef struct {
    WalAheadSegment segment;
    JobState state; /* under the lock */
    bool sound;
    size_t frame_count; /* in its slot */
} Job;

typedef struct {
    WalAhead *ahead;
    Thread thread;
    Wake wake;
} Helper;

struct WalAhead {
    Disk *disk;
    Job *jobs;
    size_t count;
    Slot slots[SLOTS_MAX]; /* job i uses slot i modulo slot_count */
    size_t slot_count;
    Helper helpers[WAL_THREADS_MAX - 1];
    size_t helper_count;
    Wake done; /* the replaying thread waits for a job that another one has */

    Lock lock; /* LOCK_RANK_WAL; guards the rest, and the jobs' states */
    size_t next;
    size_t replayed; /* jobs below are over */
    bool stopping;
};

static bool all_zeros(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* The sound frame of segment that begins at data, which stands at offset, with left bytes. */
static bool frame_sound(const SegmentHeader *header, const uint8_t *data, uint64_t offset,
                        uint64_t left, WalAheadFrame *out)
{
    WalAheadFrame found = {.offset = offset};
    size_t length = get_u32(data + AT_LENGTH);
    if (length > left || frame_total(length) > left) return false;
    size_t total = frame_total(length);
    Str bytes = str_of(data, FRAME_LEN + length);
    if (frame_decode(bytes, &found.frame, &found.payload, NULL) != OK) return false;
    if (!id128_eq(found.frame.segment_uuid, header->uuid)) return false;
    if (found.frame.pos.segment != header->id || found.frame.pos.offset != offset) return false;
    if (!all_zeros(data + bytes.len, total - bytes.len)) return false;
    bool first = offset == SEGMENT_HEADER_LEN;
    if (first != (found.frame.kind == FRAME_CHECKPOINT)) return false;
    Entry entry;
    if (found.frame.kind == FRAME_ENTRY && entry_decode(found.payload, true, &entry, NULL) != OK) {
        return false;
    }
    found.next = offset + total;
    *out = found;
    return true;
}

static void slot_add(Slot *slot, Job *job, const WalAheadFrame *frame)
{
    if (job->frame_count == slot->frame_capacity) {
        slot->frame_capacity = MAX((size_t)256, 2 * slot->frame_capacity);
        slot->frames = mem_resize(slot->frames, slot->frame_capacity * sizeof *slot->frames);
    }
    slot->frames[job->frame_count++] = *frame;
}

/* Frames from the header to the segment's end, nothing else but the zeros behind a batch. */
static bool frames_sound(Slot *slot, Job *job)
{
    const WalAheadSegment *segment = &job->segment;
    uint64_t offset = SEGMENT_HEADER_LEN;
    while (offset < segment->limit) {
        const uint8_t *data = slot->bytes + offset;
        uint64_t left = segment->limit - offset;
        size_t rest = (size_t)(ALIGN_UP(offset, (uint64_t)WAL_BLOCK) - offset);
        WalAheadFrame frame;
        if (left >= FRAME_LEN && frame_sound(&segment->header, data, offset, left, &frame)) {
            slot_add(slot, job, &frame);
            offset = frame.next;
        } else if (rest > 0 && rest < FRAME_LEN && rest <= left && all_zeros(data, rest)) {
            offset += rest;
        } else {
            return false;
        }
    }
    return true;
}

static bool job_verify(WalAhead *ahead, Job *job, Slot *slot)
{
    AUTO(File, disk_close) file = NULL;
    size_t len = (size_t)job->segment.limit;
    job->frame_count = 0;
    if (slot->capacity < len) {
        void *bytes = NULL;
        if (mem_take(len, &bytes, NULL) != OK) return false;
        mem_free(slot->bytes);
        slot->bytes = bytes;
        slot->capacity = len;
    }
    if (disk_open(ahead->disk, job->segment.path, DISK_OPEN_READ, &file, NULL) != OK) return false;
    if (disk_read_all(file, 0, slot->bytes, len, NULL) != OK) return false;
    return frames_sound(slot, job);
}

/* Takes the next job that has a slot, and does it. False: there is none now. */
static bool work(WalAhead *ahead)
{
    lock_take(&ahead->lock);
    bool any = !ahead->stopping && ahead->next < ahead->count &&
               ahead->next < ahead->replayed + ahead->slot_count;
    size_t at = any ? ahead->next++ : 0;
    if (any) ahead->jobs[at].state = JOB_TAKEN;
    lock_give(&ahead->lock);
    if (!any) return false;
    Job *job = &ahead->jobs[at];
    job->sound = job_verify(ahead, job, &ahead->slots[at % ahead->slot_count]);
    lock_take(&ahead->lock);
    job->state = JOB_DONE;
    lock_give(&ahead->lock);
    wake_set(&ahead->done);
    return true;
}

static void helper_run(void *arg)
{
    Helper *helper = arg;
    WalAhead *ahead = helper->ahead;
    for (;;) {
        if (work(ahead)) continue;
        lock_take(&ahead->lock);
        bool over = ahead->stopping || ahead->next == ahead->count;
        lock_give(&ahead->lock);
        if (over) return;
        wake_wait(&helper->wake, -1); /* a slot is free, or it is over */
    }
}

static void wake_helpers(WalAhead *ahead)
{
    for (size_t i = 0; i < ahead->helper_count; i++)
        wake_set(&ahead->helpers[i].wake);
}

WalAhead *wal_ahead_new(Disk *disk, const WalAheadSegment *segments, size_t count, unsigned threads)
{
    uint64_t most = 1;
    for (size_t i = 0; i < count; i++)
        most = MAX(most, segments[i].limit);
    size_t slots = (size_t)MIN(BYTES_MAX / most, (uint64_t)SLOTS_MAX);
    ASSERT(threads <= WAL_THREADS_MAX);
    if (threads < 2 || count < 2 || slots < 2) return NULL;
    WalAhead *ahead = mem_new(sizeof *ahead);
    ahead->disk = disk;
    ahead->count = count;
    ahead->slot_count = slots;
    ahead->jobs = mem_new_array(count, sizeof *ahead->jobs);
    for (size_t i = 0; i < count; i++)
        ahead->jobs[i].segment = segments[i];
    lock_init(&ahead->lock, LOCK_RANK_WAL);
    wake_init(&ahead->done);
    for (unsigned i = 0; i + 1 < threads; i++) {
        Helper *helper = &ahead->helpers[i];
        helper->ahead = ahead;
        wake_init(&helper->wake);
        /* With fewer threads, or none, it only takes longer. */
        if (thread_start(&helper->thread, "wal-verify", helper_run, helper, NULL) != OK) break;
        ahead->helper_count++;
    }
    return ahead;
}

bool wal_ahead_get(WalAhead *ahead, size_t at, const WalAheadFrame **frames, size_t *count)
{
    ASSERT(at < ahead->count);
    lock_take(&ahead->lock);
    ahead->replayed = at;
    lock_give(&ahead->lock);
    wake_helpers(ahead);
    const Job *job = &ahead->jobs[at];
    for (;;) {
        lock_take(&ahead->lock);
        bool done = job->state == JOB_DONE;
        lock_give(&ahead->lock);
        if (done) break;
        if (work(ahead)) continue;
        wake_wait(&ahead->done, -1); /* the state tells */
    }
    *frames = ahead->slots[at % ahead->slot_count].frames;
    *count = job->frame_count;
    return job->sound;
}

void wal_ahead_free(WalAhead *ahead)
{
    if (ahead == NULL) return;
    lock_take(&ahead->lock);
    ahead->stopping = true;
    lock_give(&ahead->lock);
    wake_helpers(ahead);
    for (size_t i = 0; i < ahead->helper_count; i++) {
        thread_join(&ahead->helpers[i].thread);
        wake_deinit(&ahead->helpers[i].wake);
    }
    for (size_t i = 0; i < ahead->slot_count; i++) {
        mem_free(ahead->slots[i].bytes);
        mem_free(ahead->slots[i].frames);
    }
    wake_deinit(&ahead->done);
    lock_deinit(&ahead->lock);
    mem_free(ahead->jobs);
    mem_free(ahead);
}
