/* The life of a segment file:
 *
 *   wal.spare.K --head written, synced--> wal.spare.K --rename--> wal.active   directories synced
 *        ^                                                           |         after each rename
 *        |                                                        rename
 *        '------ head zeroed, synced <--rename-- wal.segments/segment_N.wal
 *
 * Before the second rename the first is durable: the names in one directory can't tell another
 * story than this after a crash. */
#include "wal/wal_priv.h"

#include "base/fault.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ZEROS_LEN (64 * KIB)

void wal_segment_path(uint64_t id, char out[DISK_PATH_MAX])
{
    int len = snprintf(out, DISK_PATH_MAX, WAL_SEGMENTS "/segment_%" PRIu64 ".wal", id);
    ASSERT(len > 0 && len < DISK_PATH_MAX);
}

uint64_t wal_segment_id(const char *name)
{
    uint64_t id = 0;
    Str text = str_from_cstr(name);
    if (!str_starts_with(text, STR("segment_")) || !str_ends_with(text, STR(".wal"))) return 0;
    text = str_slice(text, 8, text.len - 12);
    if (!str_to_u64(text, UINT64_MAX - 1, &id) || text.ptr[0] == '0') return 0;
    return id;
}

void wal_spare_path(uint64_t number, char out[DISK_PATH_MAX])
{
    int len = snprintf(out, DISK_PATH_MAX, WAL_SPARE_PREFIX "%" PRIu64, number);
    ASSERT(len > 0 && len < DISK_PATH_MAX);
}

/* A kill point, and a fault point for what may fail between the calls of the disk. */
static ErrCode pass(const char *point, Err *err)
{
    int saved = fault_point(point);
    if (saved == 0) return OK;
    return err_set_errno(err, ERR_IO, saved, "fault point %s", point);
}

static ErrCode write_zeros(File *file, uint64_t size, Err *err)
{
    AUTO(void, mem_free) zeros = NULL;
    TRY(mem_take(ZEROS_LEN, &zeros, err));
    memset(zeros, 0, ZEROS_LEN);
    for (uint64_t offset = 0; offset < size; offset += ZEROS_LEN) {
        TRY(disk_write(file, offset, zeros, (size_t)MIN((uint64_t)ZEROS_LEN, size - offset), err));
    }
    return disk_sync(file, err);
}

/* Makes the durable file wal.spare.NUMBER of size zeros. */
static ErrCode spare_make(Wal *wal, uint64_t number, uint64_t size, Err *err)
{
    char path[DISK_PATH_MAX];
    wal_spare_path(number, path);
    AUTO(File, disk_close) file = NULL;
    ErrCode code = disk_open(wal->disk, path, DISK_OPEN_CREATE, &file, err);
    if (code == OK) {
        code = write_zeros(file, size, err);
        if (code != OK) {
            ErrCode ignored = disk_unlink(wal->disk, path, NULL);
            (void)
                ignored; /* the first error counts; what is left is no log, the next open ends it */
        }
    }
    if (code == OK) code = disk_sync_dir(wal->disk, "", err);
    /* No space, descriptors or memory: later, perhaps. Anything else: this disk is not to be
     * trusted. */
    if (code == ERR_IO) return wal_fail(wal, err, code, "make a spare segment");
    return code == OK ? OK : err_wrap(err, code, "make a spare segment");
}

ErrCode wal_spare_take(Wal *wal, uint64_t size, uint64_t *out, Err *err)
{
    lock_take(&wal->lock);
    bool ready = wal->spare_count > 0 && size == wal->options.segment_size;
    uint64_t number = ready ? wal->spares[--wal->spare_count] : wal->next_spare++;
    lock_give(&wal->lock);
    if (!ready) TRY(spare_make(wal, number, size, err));
    *out = number;
    return OK;
}

static void spare_add(Wal *wal, uint64_t number)
{
    lock_take(&wal->lock);
    ASSERT(wal->spare_count <= WAL_SPARES_MAX);
    wal->spares[wal->spare_count++] = number;
    lock_give(&wal->lock);
}

/* Header, CHECKPOINT and padding of the next segment. */
static ErrCode head_compose(Wal *wal, size_t need, SegmentHeader *header, Buf *out, Err *err)
{
    TRY(buf_append_zeros(out, SEGMENT_HEADER_LEN + FRAME_LEN, err));
    lock_take(&wal->lock);
    ErrCode code = wal_shards_save(&wal->shards, out, err);
    lock_give(&wal->lock);
    TRY(code);
    size_t payload_len = out->len - SEGMENT_HEADER_LEN - FRAME_LEN;
    TRY(buf_append_zeros(out, ALIGN_UP(out->len, (size_t)8) - out->len, err));
    Frame frame = {
        .kind = FRAME_CHECKPOINT,
        .length = (uint32_t)payload_len,
        .segment_uuid = header->uuid,
        .pos = {header->id, SEGMENT_HEADER_LEN},
        .durable = wal->durable,
    };
    uint8_t *at = out->data + SEGMENT_HEADER_LEN;
    frame_encode(&frame, str_of(at + FRAME_LEN, payload_len), at);
    TRY(wal_pad(out, &frame, err));
    /* A large CHECKPOINT must not leave room for one record only. */
    uint64_t room = MAX((uint64_t)need, wal->options.segment_size / 4);
    uint64_t least = out->len + ALIGN_UP(room, (uint64_t)WAL_BLOCK);
    header->capacity = MAX(wal->options.segment_size, least);
    segment_header_encode(header, out->data);
    return OK;
}

/* Planted bug: the uuid that the CHECKPOINT of the file's earlier life carries. */
static ErrCode stale_uuid(File *file, Uuid *uuid, Err *err)
{
    uint8_t frame[FRAME_LEN];
    TRY(disk_read_all(file, SEGMENT_HEADER_LEN, frame, sizeof frame, err));
    if (get_u32(frame) == FRAME_MAGIC) memcpy(uuid->bytes, frame + 16, sizeof uuid->bytes);
    return OK;
}

/* Moves the names: the old active one into wal.segments, then the spare to wal.active. */
static ErrCode names_move(Wal *wal, uint64_t spare, Err *err)
{
    char from[DISK_PATH_MAX];
    char to[DISK_PATH_MAX];
    TRY(pass("wal.rotate", err));
    if (wal->has_active) {
        wal_segment_path(wal->header.id, to);
        TRY(disk_rename_durable(wal->disk, WAL_ACTIVE, to, err));
        wal_table_close_active(wal);
        wal->has_active = false;
    }
    TRY(pass("wal.rotate", err));
    wal_spare_path(spare, from);
    TRY(disk_rename_durable(wal->disk, from, WAL_ACTIVE, err));
    return pass("wal.rotate", err);
}

/* Syncs the head and moves the names. What fails here leaves a segment of which nobody knows what
 * is on the disk. */
static ErrCode head_install(Wal *wal, uint64_t spare, File *file, Err *err)
{
    TRY(pass("wal.rotate", err));
    TRY(disk_sync(file, err));
    return names_move(wal, spare, err);
}

/* The new segment is wal.active. */
static void segment_installed(Wal *wal, const SegmentHeader *header, size_t head_len, File *file)
{
    wal->header = *header;
    wal->has_active = true;
    wal->file = file;
    wal_table_push(wal, header, true, file);
    lock_take(&wal->lock);
    wal->attested = wal->durable; /* what the CHECKPOINT said */
    wal->durable = (WalPos){header->id, head_len};
    lock_give(&wal->lock);
    wal->batch.start = head_len;
    wal->needs_attest = false;
}

ErrCode wal_segment_begin(Wal *wal, size_t need, Err *err)
{
    ASSERT(wal->batch.len == 0);
    TRY(wal_check_usable(wal, err));
    AUTO_BUF(head, SEGMENT_HEADER_LEN + WAL_CHECKPOINT_MAX);
    SegmentHeader header = {
        .root = wal->options.root,
        .incarnation = wal->options.incarnation,
        .uuid = id128_random(wal->options.rng),
        .id = wal->header.id + 1,
        .feature_level = FEATURE_LEVEL,
        .prev_uuid = wal->header.uuid,
        .prev_end = wal->header.id == 0 ? 0 : wal->batch.start,
        .time_ms = clock_wall_ms(wal->options.clock),
    };
    TRY(head_compose(wal, need, &header, &head, err));
    uint64_t spare;
    TRY(wal_spare_take(wal, header.capacity, &spare, err));
    char path[DISK_PATH_MAX];
    wal_spare_path(spare, path);
    AUTO(File, disk_close) file = NULL;
    ErrCode code = disk_open(wal->disk, path, DISK_OPEN_WRITE, &file, err);
    if (code != OK) {
        if (header.capacity == wal->options.segment_size) spare_add(wal, spare);
        return err_wrap(err, code, "begin a segment");
    }
    if (fault_planted("reuse-stale-spare")) {
        TRY(stale_uuid(file, &header.uuid, err));
        buf_clear(&head);
        TRY(head_compose(wal, need, &header, &head, err));
    }
    code = disk_write(file, 0, head.data, head.len, err);
    if (code == ERR_NO_SPACE) { /* nothing was synced or named: the spare is one as before */
        if (header.capacity == wal->options.segment_size) spare_add(wal, spare);
        return err_wrap(err, code, "begin a segment");
    }
    if (code == OK) code = head_install(wal, spare, file, err);
    if (code != OK) return wal_fail(wal, err, code, "begin a segment");
    segment_installed(wal, &header, head.len, TAKE(file));
    return OK;
}

/* Names of spares, at start. */
typedef struct {
    uint64_t *numbers;
    size_t count;
    size_t capacity;
} SpareList;

static ErrCode spare_listed(void *ctx, const char *name, bool is_dir, Err *err)
{
    SpareList *list = ctx;
    Str text = str_from_cstr(name);
    uint64_t number;
    UNUSED(err);
    if (is_dir || !str_starts_with(text, STR(WAL_SPARE_PREFIX))) return OK;
    text = str_slice(text, sizeof WAL_SPARE_PREFIX - 1, text.len);
    if (!str_to_u64(text, UINT64_MAX - 1, &number)) return OK;
    if (text.len > 1 && text.ptr[0] == '0') return OK; /* not a name of ours */
    if (list->count == list->capacity) {
        list->capacity = MAX((size_t)16, list->capacity * 2);
        list->numbers = mem_resize(list->numbers, list->capacity * sizeof *list->numbers);
    }
    list->numbers[list->count++] = number;
    return OK;
}

/* A recycled file costs less than making one when the next burst needs it. */
static unsigned spares_kept(const Wal *wal)
{
    return MAX(wal->options.spares, wal->options.recycled);
}

static ErrCode spare_adopt(Wal *wal, uint64_t number, Err *err)
{
    char path[DISK_PATH_MAX];
    DiskStat stat;
    wal_spare_path(number, path);
    TRY(disk_stat(wal->disk, path, &stat, err));
    if (number >= wal->next_spare) wal->next_spare = number + 1;
    if (stat.size != wal->options.segment_size || wal->spare_count >= spares_kept(wal)) {
        return disk_unlink(wal->disk, path, err);
    }
    spare_add(wal, number);
    return OK;
}

ErrCode wal_spares_adopt(Wal *wal, Err *err)
{
    SpareList list = {0};
    ErrCode code = disk_list(wal->disk, "", spare_listed, &list, err);
    for (size_t i = 0; i < list.count && code == OK; i++) {
        code = spare_adopt(wal, list.numbers[i], err);
    }
    mem_free(list.numbers);
    return code;
}

/* One cut or preparation at a time. */
static bool maintenance_begin(Wal *wal)
{
    lock_take(&wal->lock);
    bool begun = !wal->maintaining;
    wal->maintaining = true;
    lock_give(&wal->lock);
    return begun;
}

static void maintenance_end(Wal *wal)
{
    lock_take(&wal->lock);
    ASSERT(wal->maintaining);
    wal->maintaining = false;
    lock_give(&wal->lock);
}

bool wal_needs_spare(Wal *wal)
{
    lock_take(&wal->lock);
    bool needs = wal->spare_count < wal->options.spares;
    lock_give(&wal->lock);
    return needs;
}

ErrCode wal_prepare_spare(Wal *wal, Err *err)
{
    TRY(wal_check_usable(wal, err));
    if (!maintenance_begin(wal)) return err_set(err, ERR_BUSY, "the log is being cut");
    ErrCode code = OK;
    if (wal_needs_spare(wal)) {
        lock_take(&wal->lock);
        uint64_t number = wal->next_spare++;
        lock_give(&wal->lock);
        code = spare_make(wal, number, wal->options.segment_size, err);
        if (code == OK) spare_add(wal, number);
    }
    maintenance_end(wal);
    return code;
}

/* Takes a spare that is more than are made beforehand. */
static bool spare_surplus(Wal *wal, uint64_t *number)
{
    lock_take(&wal->lock);
    bool any = wal->spare_count > wal->options.spares;
    if (any) *number = wal->spares[--wal->spare_count];
    lock_give(&wal->lock);
    return any;
}

ErrCode wal_trim_spares(Wal *wal, Err *err)
{
    TRY(wal_check_usable(wal, err));
    if (!maintenance_begin(wal)) return err_set(err, ERR_BUSY, "the log is being cut");
    ErrCode code = OK;
    uint64_t number;
    while (code == OK && spare_surplus(wal, &number)) {
        char path[DISK_PATH_MAX];
        wal_spare_path(number, path);
        code = disk_unlink(wal->disk, path, err);
    }
    maintenance_end(wal);
    return code == OK ? OK : wal_fail(wal, err, code, "remove a spare segment");
}

/* Zeroes the head of a recycled segment, so that no header in it tells of a log. */
static ErrCode head_erase(Wal *wal, const char *path, Err *err)
{
    static const uint8_t zeros[SEGMENT_HEADER_LEN];
    AUTO(File, disk_close) file = NULL;
    TRY(disk_open(wal->disk, path, DISK_OPEN_WRITE, &file, err));
    TRY(disk_write(file, 0, zeros, sizeof zeros, err));
    return disk_sync(file, err);
}

/* Gives one closed segment's file up. The name is durably gone before the next newer one is
 * touched: a crash leaves no gap. */
static ErrCode segment_release(Wal *wal, const WalSegment *segment, Err *err)
{
    char path[DISK_PATH_MAX];
    char to[DISK_PATH_MAX];
    wal_segment_path(segment->id, path);
    TRY(pass("wal.cut", err));
    lock_take(&wal->lock);
    bool keep = wal->spare_count < spares_kept(wal);
    lock_give(&wal->lock);
    if (!keep || segment->size != wal->options.segment_size) {
        TRY(disk_unlink(wal->disk, path, err));
        TRY(pass("wal.cut", err));
        return disk_sync_dir(wal->disk, WAL_SEGMENTS, err);
    }
    lock_take(&wal->lock);
    uint64_t number = wal->next_spare++;
    lock_give(&wal->lock);
    wal_spare_path(number, to);
    TRY(disk_rename_durable(wal->disk, path, to, err));
    TRY(pass("wal.cut", err));
    ErrCode code = head_erase(wal, to, err);
    if (code == ERR_NO_SPACE) return disk_unlink(wal->disk, to, err); /* no spare, but room */
    if (code == OK) spare_add(wal, number);
    return code;
}

ErrCode wal_cut(Wal *wal, uint64_t keep_from_segment, Err *err)
{
    TRY(wal_check_usable(wal, err));
    if (!maintenance_begin(wal)) return err_set(err, ERR_BUSY, "the log is being cut");
    ErrCode code = OK;
    WalSegment segment;
    while (code == OK && wal_table_pop(wal, keep_from_segment, &segment)) {
        code = segment_release(wal, &segment, err);
    }
    maintenance_end(wal);
    return code == OK ? OK : wal_fail(wal, err, code, "cut the log");
}
