/* The table of segments. Readers take a reference to an open file under the lock and read outside
 * it; when a segment is cut meanwhile, the file may be written again under them, which the frame's
 * segment uuid and checksum show, and the table tells apart from damage. */
#include "wal/wal_priv.h"

#include "base/metric.h"
#include <inttypes.h>
#include <string.h>

#define WINDOW_LEN (256 * KIB)

static Metric segments_metric = {
    .kind = METRIC_GAUGE,
    .name = "holdfast_wal_segments",
    .help = "Log segments kept, the active ones included.",
    .labels = "",
};

void wal_segments_metric_register(void)
{
    metric_register(&segments_metric);
}

static WalFile *file_new(File *file)
{
    WalFile *shared = mem_new(sizeof *shared);
    shared->file = file;
    shared->refs = 1;
    return shared;
}

/* Under the lock. Closing inside it is rare and short. */
static void file_put(WalFile *shared)
{
    if (shared == NULL) return;
    ASSERT(shared->refs > 0);
    if (--shared->refs > 0) return;
    disk_close(shared->file);
    mem_free(shared);
}

void wal_table_push(Wal *wal, const SegmentHeader *header, bool active, File *file)
{
    WalFile *shared = file == NULL ? NULL : file_new(file);
    lock_take(&wal->lock);
    if (wal->segment_count == wal->segment_capacity) {
        wal->segment_capacity = MAX((size_t)16, wal->segment_capacity * 2);
        wal->segments = mem_resize(wal->segments, wal->segment_capacity * sizeof *wal->segments);
    }
    ASSERT(wal->segment_count == 0 || wal->segments[wal->segment_count - 1].id + 1 == header->id);
    if (wal->segment_count > 0) wal->segments[wal->segment_count - 1].end = header->prev_end;
    wal->segments[wal->segment_count++] = (WalSegment){
        .id = header->id,
        .uuid = header->uuid,
        .size = header->capacity,
        .active = active,
        .file = shared,
    };
    lock_give(&wal->lock);
    metric_add(&segments_metric, 1);
}

/* The segment of that id, or NULL. Under the lock. */
static WalSegment *table_find(Wal *wal, uint64_t id)
{
    if (wal->segment_count == 0) return NULL;
    uint64_t first = wal->segments[0].id; /* ids have no gaps */
    if (id < first || id - first >= wal->segment_count) return NULL;
    WalSegment *segment = &wal->segments[id - first];
    ASSERT(segment->id == id);
    return segment;
}

/* Closes the descriptor that was not used for longest, if there are too many. Under the lock. */
static void table_limit_files(Wal *wal)
{
    if (wal->open_files <= WAL_OPEN_FILES_MAX) return;
    WalSegment *oldest = NULL;
    for (size_t i = 0; i < wal->segment_count; i++) {
        WalSegment *segment = &wal->segments[i];
        if (segment->active || segment->file == NULL) continue;
        if (oldest == NULL || segment->used_at < oldest->used_at) oldest = segment;
    }
    ASSERT(oldest != NULL);
    file_put(oldest->file);
    oldest->file = NULL;
    wal->open_files--;
}

void wal_table_close_active(Wal *wal)
{
    lock_take(&wal->lock);
    ASSERT(wal->segment_count > 0);
    WalSegment *segment = &wal->segments[wal->segment_count - 1];
    segment->active = false;
    segment->used_at = ++wal->ticks;
    if (segment->file != NULL) wal->open_files++;
    table_limit_files(wal);
    lock_give(&wal->lock);
    wal->file = NULL;
}

bool wal_table_pop(Wal *wal, uint64_t keep_from, WalSegment *out)
{
    lock_take(&wal->lock);
    /* The last one stays, even when a failed rotation left it closed. */
    bool found = wal->segment_count > 1 && wal->segments[0].id < keep_from;
    if (found) {
        *out = wal->segments[0];
        ASSERT(!out->active);
        if (out->file != NULL) wal->open_files--;
        file_put(out->file);
        out->file = NULL;
        wal->segment_count--;
        memmove(&wal->segments[0], &wal->segments[1], wal->segment_count * sizeof *wal->segments);
    }
    lock_give(&wal->lock);
    if (found) metric_add(&segments_metric, -1);
    return found;
}

void wal_table_free(Wal *wal)
{
    for (size_t i = 0; i < wal->segment_count; i++)
        file_put(wal->segments[i].file);
    metric_add(&segments_metric, -(int64_t)wal->segment_count);
    mem_free(wal->segments);
}

/* A segment as a reader sees it. */
typedef struct {
    WalFile *shared; /* a reference; given back by view_put() */
    Uuid uuid;
    uint64_t limit; /* what is durable ends here, or the file */
} SegmentView;

/* Opens the segment of pos for reading. Under the lock. */
static ErrCode view_take(Wal *wal, WalPos pos, SegmentView *out, Err *err)
{
    WalSegment *segment = table_find(wal, pos.segment);
    if (segment == NULL) {
        return err_set(err, ERR_NOT_FOUND, "log segment %" PRIu64 " was cut", pos.segment);
    }
    if (wal_pos_cmp(pos, wal->durable) >= 0) {
        return err_set(err, ERR_NOT_FOUND, "position %" PRIu64 ":%" PRIu64 " is not durable yet",
                       pos.segment, pos.offset);
    }
    if (segment->file == NULL) {
        char path[DISK_PATH_MAX];
        File *file = NULL;
        ASSERT(!segment->active);
        wal_segment_path(segment->id, path);
        TRY(disk_open(wal->disk, path, DISK_OPEN_READ, &file, err));
        segment->file = file_new(file);
        segment->used_at = ++wal->ticks;
        wal->open_files++;
        table_limit_files(wal);
    }
    ASSERT(segment->file != NULL);
    segment->used_at = ++wal->ticks;
    segment->file->refs++;
    bool newest = pos.segment == wal->durable.segment;
    *out = (SegmentView){.shared = segment->file,
                         .uuid = segment->uuid,
                         .limit = newest ? wal->durable.offset : segment->size};
    return OK;
}

static ErrCode view_open(Wal *wal, WalPos pos, SegmentView *out, Err *err)
{
    lock_take(&wal->lock);
    ErrCode code = view_take(wal, pos, out, err);
    lock_give(&wal->lock);
    return code;
}

/* Ends the view; was its segment cut meanwhile? */
static bool view_put(Wal *wal, WalPos pos, SegmentView *view)
{
    lock_take(&wal->lock);
    file_put(view->shared);
    bool cut = table_find(wal, pos.segment) == NULL;
    lock_give(&wal->lock);
    return cut;
}

/* Verifies that data begins with the record meant. */
static ErrCode record_check(Str data, WalPos pos, Uuid uuid, size_t len, Str *payload, Err *err)
{
    Frame frame;
    Str found;
    TRY(frame_decode(data, &frame, &found, err));
    if (!id128_eq(frame.segment_uuid, uuid) || wal_pos_cmp(frame.pos, pos) != 0 ||
        frame.length != len) {
        return err_set(err, ERR_CORRUPT, "another record stands there");
    }
    *payload = found;
    return OK;
}

static ErrCode bytes_read(const SegmentView *view, uint64_t offset, size_t len, Buf *buf, Err *err)
{
    buf_clear(buf);
    TRY(buf_reserve(buf, len, err));
    TRY(disk_read_all(view->shared->file, offset, buf->data, len, err));
    buf->len = len;
    return OK;
}

ErrCode wal_read(Wal *wal, WalPos pos, size_t payload_len, Buf *buf, Str *payload, Err *err)
{
    SegmentView view;
    TRY(view_open(wal, pos, &view, err));
    Str found;
    ErrCode code = bytes_read(&view, pos.offset, FRAME_LEN + payload_len, buf, err);
    if (code == OK) code = record_check(buf_str(buf), pos, view.uuid, payload_len, &found, err);
    bool cut = view_put(wal, pos, &view);
    if (code == OK) {
        *payload = found;
        return OK;
    }
    if (code == ERR_TOO_BIG || code == ERR_NO_MEMORY) return code;
    if (cut) return err_set(err, ERR_NOT_FOUND, "log segment %" PRIu64 " was cut", pos.segment);
    if (code == ERR_END || code == ERR_FORMAT_VERSION) code = ERR_CORRUPT;
    return err_wrap(err, code, "read the log at %" PRIu64 ":%" PRIu64, pos.segment, pos.offset);
}

void wal_window_init(WalWindow *window)
{
    *window = (WalWindow){0};
    buf_init(&window->bytes, FRAME_LEN + MAX((size_t)ENTRY_MAX, (size_t)WINDOW_LEN));
}

void wal_window_deinit(WalWindow *window)
{
    buf_deinit(&window->bytes);
}

/* Bytes of window from pos on; fewer than len: it does not hold them. */
static Str window_at(const WalWindow *window, WalPos pos, size_t len)
{
    if (window->start.segment != pos.segment || pos.offset < window->start.offset) {
        return (Str){NULL, 0};
    }
    uint64_t skip = pos.offset - window->start.offset;
    if (skip + len > window->bytes.len) return (Str){NULL, 0};
    return str_of(window->bytes.data + skip, len);
}

/* Moves window to pos, as far as the log is durable: behind that it still changes. */
static ErrCode window_move(Wal *wal, WalWindow *window, WalPos pos, size_t len, Err *err)
{
    SegmentView view;
    window->start = (WalPos){0};
    TRY(view_open(wal, pos, &view, err));
    uint64_t left = view.limit - pos.offset;
    size_t want = (size_t)MIN(MAX((uint64_t)len, (uint64_t)WINDOW_LEN), left);
    ErrCode code = bytes_read(&view, pos.offset, want, &window->bytes, err);
    window->uuid = view.uuid;
    bool cut = view_put(wal, pos, &view);
    UNUSED(cut); /* the checks of each record tell */
    if (code == OK) window->start = pos;
    return code;
}

ErrCode wal_window_read(Wal *wal, WalWindow *window, WalPos pos, size_t payload_len, Str *payload,
                        Err *err)
{
    size_t len = FRAME_LEN + payload_len;
    Str data = window_at(window, pos, len);
    if (data.len == 0) {
        if (window_move(wal, window, pos, len, NULL) == OK) data = window_at(window, pos, len);
    }
    if (data.len > 0 && record_check(data, pos, window->uuid, payload_len, payload, NULL) == OK) {
        return OK;
    }
    /* Alone: what was wrong may stand elsewhere in the stretch, and the reason is told. */
    window->start = (WalPos){0};
    return wal_read(wal, pos, payload_len, &window->bytes, payload, err);
}

void wal_path(Wal *wal, uint64_t segment, char out[DISK_PATH_MAX])
{
    lock_take(&wal->lock);
    const WalSegment *known = table_find(wal, segment);
    bool active = known != NULL && known->active;
    lock_give(&wal->lock);
    wal_segment_path(segment, out);
    if (active) memcpy(out, WAL_ACTIVE, sizeof WAL_ACTIVE);
}

void wal_stats(Wal *wal, WalStats *out)
{
    WalStats stats = {0};
    lock_take(&wal->lock);
    if (wal->segment_count > 0) {
        stats.first_segment = wal->segments[0].id;
        stats.active_segment = wal->segments[wal->segment_count - 1].id;
    }
    for (size_t i = 0; i < wal->segment_count; i++)
        stats.segment_bytes += wal->segments[i].size;
    stats.active_bytes = wal->durable.offset;
    stats.spares = wal->spare_count;
    stats.appended = wal->appended;
    stats.syncs = wal->syncs;
    stats.durable = wal->durable;
    stats.attested = wal->attested;
    stats.failed = wal->failed;
    lock_give(&wal->lock);
    *out = stats;
}
