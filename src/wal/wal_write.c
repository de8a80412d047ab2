/* One group commit:
 *
 *   | frame entry | frame entry | … | PAD, or zeros where no frame fits |
 *   ^ multiple of WAL_BLOCK                                             ^ multiple of WAL_BLOCK
 *
 * one write, one sync. A batch begins only when the one before is durable, so all frames of a batch
 * attest the same position: where the batch begins. */
#include "wal/wal_priv.h"

#include "base/fault.h"
#include "base/metric.h"
#include <string.h>

#define BATCH_CAPACITY_MIN (256 * KIB)

static const double sync_bounds[] = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01,
                                     0.02,   0.05,   0.1,    0.2,   0.5,   1,     5};
static const double record_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096};
static const double byte_bounds[] = {4096,   8192,   16384,   32768,   65536,  131072,
                                     262144, 524288, 1048576, 2097152, 4194304};

static Metric sync_metric = {
    .kind = METRIC_HISTOGRAM,
    .name = "holdfast_wal_sync_seconds",
    .help = "Time that one group commit of the log took to become durable.",
    .labels = "",
    .bounds = sync_bounds,
    .bound_count = ARRAY_LEN(sync_bounds),
    .scale = 1e-9,
};
static Metric records_metric = {
    .kind = METRIC_HISTOGRAM,
    .name = "holdfast_wal_batch_records",
    .help = "Records in one group commit of the log.",
    .labels = "",
    .bounds = record_bounds,
    .bound_count = ARRAY_LEN(record_bounds),
};
static Metric bytes_metric = {
    .kind = METRIC_HISTOGRAM,
    .name = "holdfast_wal_batch_bytes",
    .help = "Bytes in one group commit of the log, padding included.",
    .labels = "",
    .bounds = byte_bounds,
    .bound_count = ARRAY_LEN(byte_bounds),
};
static Metric appended_metric = {
    .kind = METRIC_COUNTER,
    .name = "holdfast_wal_appended_records_total",
    .help = "Records appended to the log.",
    .labels = "",
};

void wal_metrics_register(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&done)) return;
    metric_register(&sync_metric);
    metric_register(&records_metric);
    metric_register(&bytes_metric);
    metric_register(&appended_metric);
    wal_segments_metric_register();
}

ErrCode wal_fail(Wal *wal, Err *err, ErrCode code, const char *what)
{
    wal->failed = true;
    return err_wrap(err, code, "%s", what);
}

ErrCode wal_check_usable(const Wal *wal, Err *err)
{
    if (!wal->failed) return OK;
    return err_set(err, ERR_ROOT_FAILED,
                   "the log takes no more appends: a write or sync of it failed");
}

bool wal_failed(const Wal *wal)
{
    return wal->failed;
}

/* Room for len bytes in the batch, aligned to WAL_BLOCK. */
static ErrCode batch_reserve(WalBatch *batch, size_t len, Err *err)
{
    if (len <= batch->capacity) return OK;
    size_t capacity = MAX(BATCH_CAPACITY_MIN, batch->capacity * 2);
    capacity = ALIGN_UP(MAX(capacity, len), (size_t)WAL_BLOCK);
    void *memory;
    TRY(mem_take(capacity + WAL_BLOCK, &memory, err));
    uint8_t *data = (uint8_t *)ALIGN_UP((uintptr_t)memory, (uintptr_t)WAL_BLOCK);
    if (batch->len > 0) memcpy(data, batch->data, batch->len);
    mem_free(batch->memory);
    batch->memory = memory;
    batch->data = data;
    batch->capacity = capacity;
    return OK;
}

/* Bytes from len to the next block. */
static size_t pad_len(size_t len)
{
    return ALIGN_UP(len, (size_t)WAL_BLOCK) - len;
}

/* Fills out[pad] with a PAD frame of frame's segment at frame->pos, or zeros. */
static void pad_fill(Frame frame, uint8_t *out, size_t pad)
{
    memset(out, 0, pad);
    if (pad < FRAME_LEN) return;
    frame.kind = FRAME_PAD;
    frame.length = (uint32_t)(pad - FRAME_LEN);
    frame_encode(&frame, str_of(out + FRAME_LEN, pad - FRAME_LEN), out);
}

ErrCode wal_pad(Buf *out, const Frame *like, Err *err)
{
    size_t pad = pad_len(out->len);
    Frame frame = *like;
    frame.pos.offset = out->len;
    TRY(buf_reserve(out, pad, err));
    pad_fill(frame, out->data + out->len, pad);
    out->len += pad;
    return OK;
}

static Frame batch_frame(const Wal *wal, FrameKind kind, size_t length)
{
    return (Frame){
        .kind = kind,
        .length = (uint32_t)length,
        .segment_uuid = wal->header.uuid,
        .pos = {wal->header.id, wal->batch.start + wal->batch.len},
        .durable = wal->durable,
    };
}

/* Begins a new batch or a new segment if total more bytes do not fit. */
static ErrCode make_room(Wal *wal, size_t total, Err *err)
{
    WalBatch *batch = &wal->batch;
    if (batch->len + total > WAL_BATCH_MAX) TRY(wal_flush(wal, err));
    if (batch->start + batch->len + total > wal->header.capacity) {
        TRY(wal_flush(wal, err));
        TRY(wal_segment_begin(wal, total, err));
    }
    return batch_reserve(batch, ALIGN_UP(batch->len + total, (size_t)WAL_BLOCK), err);
}

ErrCode wal_batch_add(Wal *wal, FrameKind kind, Str a, Str b, WalPos *pos, Err *err)
{
    TRY(wal_check_usable(wal, err));
    size_t len = a.len + b.len;
    size_t total = frame_total(len);
    TRY(make_room(wal, total, err));

    WalBatch *batch = &wal->batch;
    uint8_t *out = batch->data + batch->len;
    if (a.len > 0) memcpy(out + FRAME_LEN, a.ptr, a.len);
    if (b.len > 0) memcpy(out + FRAME_LEN + a.len, b.ptr, b.len);
    memset(out + FRAME_LEN + len, 0, total - FRAME_LEN - len);
    Frame frame = batch_frame(wal, kind, len);
    frame_encode(&frame, str_of(out + FRAME_LEN, len), out);
    batch->len += total;
    if (kind != FRAME_ATTEST) batch->records++;
    if (pos != NULL) *pos = frame.pos;
    return OK;
}

/* Puts the batch into the file and makes it durable. ERR_NO_SPACE: of the write; nothing was
 * synced, so the same bytes may be written to the same place again. */
static ErrCode batch_store(Wal *wal, Err *err)
{
    const WalBatch *batch = &wal->batch;
    ErrCode code = disk_write(wal->file, batch->start, batch->data, batch->len, err);
    if (code != OK) return code == ERR_NO_SPACE ? code : wal_fail(wal, err, code, "write");
    int saved = fault_point("wal.batch");
    if (saved != 0) code = err_set_errno(err, ERR_IO, saved, "fault point wal.batch");
    if (code == OK && !fault_planted("ack-before-sync")) code = disk_sync(wal->file, err);
    return code == OK ? OK : wal_fail(wal, err, code, "sync");
}

ErrCode wal_flush(Wal *wal, Err *err)
{
    WalBatch *batch = &wal->batch;
    TRY(wal_check_usable(wal, err));
    if (batch->len == 0) return OK;
    ASSERT(wal->has_active && batch->start % WAL_BLOCK == 0);

    size_t len = batch->len;
    size_t pad = pad_len(len);
    pad_fill(batch_frame(wal, FRAME_PAD, 0), batch->data + batch->len, pad);
    batch->len += pad;
    ASSERT(batch->start + batch->len <= wal->header.capacity);
    uint64_t before = clock_boot_ns(wal->options.clock);
    ErrCode code = batch_store(wal, err);
    if (code != OK) {
        batch->len = len; /* more records may come before the next try */
        return err_wrap(err, code, "group commit");
    }
    metric_observe(&sync_metric, clock_boot_ns(wal->options.clock) - before);
    if (batch->records > 0) metric_observe(&records_metric, batch->records);
    metric_observe(&bytes_metric, batch->len);
    metric_add(&appended_metric, (int64_t)batch->records);

    lock_take(&wal->lock);
    wal->attested = wal->durable; /* what these frames said */
    wal->durable = (WalPos){wal->header.id, batch->start + batch->len};
    wal->appended += batch->records;
    wal->syncs++;
    lock_give(&wal->lock);
    wal->needs_attest = batch->records > 0;
    batch->start += batch->len;
    batch->len = 0;
    batch->records = 0;
    return OK;
}

ErrCode wal_sync(Wal *wal, Err *err)
{
    return wal_flush(wal, err);
}

bool wal_needs_attest(const Wal *wal)
{
    return wal->needs_attest || wal->batch.len > 0;
}

ErrCode wal_attest(Wal *wal, Err *err)
{
    TRY(wal_flush(wal, err));
    if (!wal->needs_attest) return OK;
    if (fault_planted("skip-attest")) {
        wal->needs_attest = false;
        return OK;
    }
    if (wal->batch.start + FRAME_LEN > wal->header.capacity) {
        return wal_segment_begin(wal, 0, err); /* its CHECKPOINT attests */
    }
    TRY(wal_batch_add(wal, FRAME_ATTEST, (Str){0}, (Str){0}, NULL, err));
    return wal_flush(wal, err);
}

ErrCode wal_rotate(Wal *wal, Err *err)
{
    TRY(wal_flush(wal, err));
    return wal_segment_begin(wal, 0, err);
}
