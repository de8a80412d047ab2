#include "node/background.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/thread.h"
#include "base/wake.h"
#include "node/upload_sweep.h"
#include "service/expirer.h"

#define PIECE_BYTES (256 * KIB) /* read between two looks at the time */
#define IDLE_MS 1000            /* nothing to do: look again then */
#define BUSY_PART 4             /* of compaction's rate while clients are served */
#define PUT_OFF_MS 100          /* scrub beside clients: looks again then … */
#define PUT_OFF_MOST_MS 1000 /* … and goes on after so long; sooner if it would come too late */
#define EXPIRE_REST_MS 100   /* between two batches of versions that are over */
#define EXPIRE_LOOK_MS 2000  /* nothing is: look again then */
#define NS_PER_MS 1000000ULL

struct Background {
    BackgroundOptions options;
    Store *store;
    Metric *metrics; /* METRIC_KINDS of them */
    Compactor *compactor;
    uint64_t compact_at_ns; /* the next piece */
    Scrub *scrub;
    uint64_t scrub_at_ns;   /* the next piece */
    uint64_t scrub_late_ns; /* clients put it off until then */
    Expirer *expirer;
    uint64_t expire_at_ns;
    UploadSweep *uploads;   /* NULL: none */
    uint64_t uploads_at_ns; /* the next step */
    Thread thread;
    Wake wake;
    _Atomic bool stopping;
};

typedef enum {
    METRIC_RETIRED,
    METRIC_MOVED,
    METRIC_FREED,
    METRIC_VERIFIED,
    METRIC_POSITION,
    METRIC_DAMAGED,
    METRIC_FULL_AGE,
    METRIC_EXPIRED,
    METRIC_KINDS
} RootMetric;

static const struct {
    MetricKind kind;
    const char *name;
    const char *help;
} told[METRIC_KINDS] = {
    [METRIC_RETIRED] = {METRIC_COUNTER, "holdfast_compaction_packs_total",
                        "Packs that were compacted since the start."},
    [METRIC_MOVED] = {METRIC_COUNTER, "holdfast_compaction_moved_bytes_total",
                      "Bytes that compaction wrote anew since the start."},
    [METRIC_FREED] = {METRIC_COUNTER, "holdfast_compaction_freed_bytes_total",
                      "Bytes of packs that were unlinked after compaction."},
    [METRIC_VERIFIED] = {METRIC_COUNTER, "holdfast_scrub_verified_bytes_total",
                         "Bytes that scrub has read and verified."},
    [METRIC_POSITION] = {METRIC_GAUGE, "holdfast_scrub_position_bytes",
                         "Bytes of the pass under way that are verified."},
    [METRIC_DAMAGED] = {METRIC_GAUGE, "holdfast_scrub_damaged",
                        "Places and files that the pass found damaged."},
    [METRIC_FULL_AGE] = {METRIC_GAUGE, "holdfast_scrub_last_full_age_seconds",
                         "Seconds since everything was last read through; -1: never."},
    [METRIC_EXPIRED] = {METRIC_COUNTER, "holdfast_expired_versions_total",
                        "Versions of files that were deleted because their time was over."},
};

/* Of each root; the label names it where there are several. */
static Metric metrics[ENGINE_ROOTS_MAX][METRIC_KINDS];
static char labels[ENGINE_ROOTS_MAX][sizeof "root=\"\"" + 36];

/* Main only; of one number once a process. */
static Metric *register_metrics(const BackgroundOptions *options, const Store *store)
{
    Metric *own = metrics[options->number];
    if (own[0].name != NULL) return own;
    if (options->several) {
        char uuid[37];
        uuid_text(store_root(store)->uuid, uuid);
        snprintf(labels[options->number], sizeof labels[0], "root=\"%s\"", uuid); /* fits */
    }
    for (unsigned i = 0; i < METRIC_KINDS; i++) {
        own[i].kind = told[i].kind;
        own[i].name = told[i].name;
        own[i].help = told[i].help;
        own[i].labels = labels[options->number];
        metric_register(&own[i]);
    }
    return own;
}

static uint64_t now_ns(const Background *b)
{
    return clock_boot_ns(b->options.clock);
}

/* --- compaction --- */

typedef struct {
    Background *background;
    CompactStep *step;
    ErrCode code;
    Err err;
} StepJob;

static void run_step(void *ctx)
{
    StepJob *job = ctx;
    job->code = store_compact(job->background->store, job->step, &job->err);
}

/* The applier's part; what became of it goes back to the Compactor. */
static void hand_step(Background *b)
{
    StepJob job = {.background = b, .step = compactor_step(b->compactor)};
    if (!storage_root_run_on_applier(b->options.root, run_step, &job)) job.code = ERR_SHUTTING_DOWN;
    compactor_done(b->compactor, job.code);
    if (job.code == OK || job.code == ERR_SHUTTING_DOWN || job.code == ERR_BUSY) return;
    LOG(WARN, "compact.failed", "error=" LOG_STR, LOG_CSTR(err_text(&job.err)));
}

/* How long a piece of so many bytes is to take, in nanoseconds. */
static uint64_t compact_rest_ns(Background *b, uint64_t bytes)
{
    if (atomic_load(storage_root_full(b->options.root))) return 0;
    uint64_t rate = b->options.compact_rate;
    if (b->options.busy(b->options.ctx)) rate = MAX(rate / BUSY_PART, (uint64_t)1);
    return bytes * 1000 / rate * NS_PER_MS;
}

static void compact(Background *b)
{
    Err err = {0};
    CompactTurn turn = COMPACT_NOTHING;
    uint64_t read = 0;
    DiskSpace space = {0};
    ErrCode code = disk_space(store_disk(b->store), &space, &err);
    if (code == OK) {
        code = compactor_work(b->compactor, PIECE_BYTES, space.free, &turn, &read, &err);
    }
    if (code != OK) LOG(WARN, "compact.failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    if (turn == COMPACT_STEP) hand_step(b);
    CompactStatus status;
    store_compact_status(b->store, &status);
    metric_raise(&b->metrics[METRIC_RETIRED], (int64_t)status.packs_retired);
    metric_raise(&b->metrics[METRIC_MOVED], (int64_t)status.bytes_moved);
    metric_raise(&b->metrics[METRIC_FREED], (int64_t)status.bytes_freed);
    bool idle = code != OK || turn == COMPACT_NOTHING;
    b->compact_at_ns = now_ns(b) + (idle ? IDLE_MS * NS_PER_MS : compact_rest_ns(b, read));
}

/* --- scrub --- */

static void show_scrub(Background *b, const ScrubStatus *status)
{
    uint64_t now = clock_wall_ms(b->options.clock);
    metric_set(&b->metrics[METRIC_POSITION], (int64_t)status->bytes_done);
    metric_set(&b->metrics[METRIC_DAMAGED], (int64_t)status->damaged);
    metric_set(&b->metrics[METRIC_FULL_AGE],
               status->last_full_ms == 0 ? -1
                                         : (int64_t)(now - MIN(now, status->last_full_ms)) / 1000);
}

/* The applier's part. */
static void settle(void *ctx)
{
    scrub_settle(ctx);
}

static void scrub(Background *b)
{
    Err err = {0};
    uint64_t read = 0;
    uint64_t rest_ms = 0;
    uint64_t now = now_ns(b);
    if (now < b->scrub_late_ns && b->options.busy(b->options.ctx)) {
        b->scrub_at_ns = MIN(now + PUT_OFF_MS * NS_PER_MS, b->scrub_late_ns);
        return;
    }
    if (scrub_work(b->scrub, PIECE_BYTES, &read, &rest_ms, &err) != OK) {
        LOG(WARN, "scrub.failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        rest_ms = IDLE_MS;
    }
    if (scrub_doubts(b->scrub) && !storage_root_run_on_applier(b->options.root, settle, b->scrub))
        rest_ms = IDLE_MS; /* it is stopping */
    metric_add(&b->metrics[METRIC_VERIFIED], (int64_t)read);
    ScrubStatus status;
    scrub_status(b->scrub, &status);
    show_scrub(b, &status);
    now = now_ns(b);
    b->scrub_at_ns = now + rest_ms * NS_PER_MS;
    b->scrub_late_ns = now + scrub_put_off_ms(read, status.needed, PUT_OFF_MOST_MS) * NS_PER_MS;
}

Scrub *background_scrub(Background *b)
{
    return b->scrub;
}

/* --- versions that are over --- */

static void expire(Background *b)
{
    Err err = {0};
    bool more = false;
    ErrCode code = expirer_work(b->expirer, &more, &err);
    bool passes = code == ERR_BUSY || code == ERR_NOT_READY || code == ERR_SHUTTING_DOWN;
    if (code != OK && !passes)
        LOG(WARN, "expire.failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    metric_raise(&b->metrics[METRIC_EXPIRED], (int64_t)expirer_deleted(b->expirer));
    b->expire_at_ns = now_ns(b) + (more ? EXPIRE_REST_MS : EXPIRE_LOOK_MS) * NS_PER_MS;
}

/* --- uploads --- */

static void sweep_uploads(Background *b)
{
    Err err = {0};
    uint64_t rest_ms = 0;
    if (upload_sweep_work(b->uploads, &rest_ms, &err) != OK)
        LOG(WARN, "upload.sweep_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    b->uploads_at_ns = now_ns(b) + rest_ms * NS_PER_MS;
}

/* --- the thread --- */

/* Milliseconds until at, rounded up. */
static int wait_ms(uint64_t now, uint64_t at)
{
    return at <= now ? 0 : (int)MIN((at - now + NS_PER_MS - 1) / NS_PER_MS, (uint64_t)IDLE_MS);
}

/* What changes files is done by one of several: the lead of some class. Of others it finds little,
 * and what it asks for they have done or will do. */
static bool leads(const Background *b)
{
    const ClassState *states = workers_states(b->options.workers);
    for (unsigned i = 0; i < CLASSES_MAX; i++) {
        bool there = atomic_load(&states[i].there);
        if (there && atomic_load(&states[i].lead) == b->options.number) return true;
    }
    return false;
}

static void lead_work(Background *b, uint64_t now)
{
    if (leads(b))
        expire(b);
    else
        b->expire_at_ns = now + IDLE_MS * NS_PER_MS;
}

static void background_run(void *arg)
{
    Background *b = arg;
    while (!atomic_load(&b->stopping)) {
        uint64_t now = now_ns(b);
        int ms = IDLE_MS;
        if (store_failed(b->store)) {
            b->compact_at_ns = UINT64_MAX; /* views stand still */
        } else if (b->options.compact_rate > 0) {
            if (now >= b->compact_at_ns) compact(b);
            ms = MIN(ms, wait_ms(now, b->compact_at_ns));
        }
        if (now >= b->expire_at_ns) lead_work(b, now);
        ms = MIN(ms, wait_ms(now, b->expire_at_ns));
        if (now >= b->scrub_at_ns) scrub(b);
        ms = MIN(ms, wait_ms(now, b->scrub_at_ns));
        if (b->uploads != NULL && leads(b)) {
            if (now >= b->uploads_at_ns) sweep_uploads(b);
            ms = MIN(ms, wait_ms(now, b->uploads_at_ns));
        }
        if (ms > 0 && wake_wait(&b->wake, ms)) continue;
    }
}

/* --- life --- */

ErrCode background_open(const BackgroundOptions *options, Background **out, Err *err)
{
    ASSERT(options->busy != NULL);
    Background *b = mem_new(sizeof *b);
    b->options = *options;
    b->store = storage_root_store(options->root);
    wake_init(&b->wake);
    b->scrub_late_ns = now_ns(b) + PUT_OFF_MOST_MS * NS_PER_MS;
    b->metrics = register_metrics(options, b->store);
    ExpirerOptions expirer = {.store = b->store,
                              .clock = options->clock,
                              .steady_ms = options->expiry_wait_ms,
                              .submit = workers_submit,
                              .ctx = options->workers};
    b->expirer = expirer_new(&expirer);
    if (options->service != NULL) {
        b->uploads = upload_sweep_new(options->service, options->clock, options->uploads_every_ms);
    }
    ErrCode code = compactor_open(b->store, &options->compact, &b->compactor, err);
    if (code == OK) code = scrub_open(b->store, &options->scrub, &b->scrub, err);
    if (code == OK) code = thread_start(&b->thread, "background", background_run, b, err);
    if (code != OK) {
        background_close(b);
        return code;
    }
    *out = b;
    return OK;
}

void background_close(Background *b)
{
    if (b == NULL) return;
    atomic_store(&b->stopping, true);
    wake_set(&b->wake);
    thread_join(&b->thread);
    compactor_free(b->compactor);
    scrub_free(b->scrub);
    expirer_free(b->expirer);
    upload_sweep_free(b->uploads);
    wake_deinit(&b->wake);
    mem_free(b);
}
