#include "node/background.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/thread.h"
#include "base/wake.h"

#define PIECE_BYTES (256 * KIB) /* read between two looks at the time */
#define IDLE_MS 1000            /* nothing to do: look again then */
#define BUSY_PART 4             /* of compaction's rate while clients are served */
#define PUT_OFF_MS 100          /* scrub beside clients: looks again then … */
#define PUT_OFF_MOST_MS 1000 /* … and goes on after so long; sooner if it would come too late */
#define NS_PER_MS 1000000ULL

struct Background {
    BackgroundOptions options;
    Compactor *compactor;
    uint64_t compact_at_ns; /* the next piece */
    Scrub *scrub;
    uint64_t scrub_at_ns;   /* the next piece */
    uint64_t scrub_late_ns; /* clients put it off until then */
    Thread thread;
    Wake wake;
    _Atomic bool stopping;
};

static Metric retired = {.kind = METRIC_COUNTER,
                         .name = "holdfast_compaction_packs_total",
                         .help = "Packs that were compacted since the start.",
                         .labels = ""};
static Metric moved = {.kind = METRIC_COUNTER,
                       .name = "holdfast_compaction_moved_bytes_total",
                       .help = "Bytes that compaction wrote anew since the start.",
                       .labels = ""};
static Metric freed = {.kind = METRIC_COUNTER,
                       .name = "holdfast_compaction_freed_bytes_total",
                       .help = "Bytes of packs that were unlinked after compaction.",
                       .labels = ""};

static Metric verified = {.kind = METRIC_COUNTER,
                          .name = "holdfast_scrub_verified_bytes_total",
                          .help = "Bytes that scrub has read and verified.",
                          .labels = ""};
static Metric position = {.kind = METRIC_GAUGE,
                          .name = "holdfast_scrub_position_bytes",
                          .help = "Bytes of the pass under way that are verified.",
                          .labels = ""};
static Metric damaged = {.kind = METRIC_GAUGE,
                         .name = "holdfast_scrub_damaged",
                         .help = "Places and files that the pass found damaged.",
                         .labels = ""};
static Metric full_age = {.kind = METRIC_GAUGE,
                          .name = "holdfast_scrub_last_full_age_seconds",
                          .help = "Seconds since everything was last read through; -1: never.",
                          .labels = ""};

static void register_metrics(void)
{
    static bool done; /* main only, once a process */
    if (done) return;
    done = true;
    metric_register(&retired);
    metric_register(&moved);
    metric_register(&freed);
    metric_register(&verified);
    metric_register(&position);
    metric_register(&damaged);
    metric_register(&full_age);
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
    job->code = store_compact(job->background->options.store, job->step, &job->err);
}

/* The applier's part; what became of it goes back to the Compactor. */
static void hand_step(Background *b)
{
    StepJob job = {.background = b, .step = compactor_step(b->compactor)};
    if (!workers_run_on_applier(b->options.workers, run_step, &job)) job.code = ERR_SHUTTING_DOWN;
    compactor_done(b->compactor, job.code);
    if (job.code == OK || job.code == ERR_SHUTTING_DOWN || job.code == ERR_BUSY) return;
    LOG(WARN, "compact.failed", "error=" LOG_STR, LOG_CSTR(err_text(&job.err)));
}

/* How long a piece of so many bytes is to take, in nanoseconds. */
static uint64_t compact_rest_ns(Background *b, uint64_t bytes)
{
    if (atomic_load(workers_full(b->options.workers))) return 0;
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
    ErrCode code = disk_space(store_disk(b->options.store), &space, &err);
    if (code == OK) {
        code = compactor_work(b->compactor, PIECE_BYTES, space.free, &turn, &read, &err);
    }
    if (code != OK) LOG(WARN, "compact.failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    if (turn == COMPACT_STEP) hand_step(b);
    CompactStatus status;
    store_compact_status(b->options.store, &status);
    metric_raise(&retired, (int64_t)status.packs_retired);
    metric_raise(&moved, (int64_t)status.bytes_moved);
    metric_raise(&freed, (int64_t)status.bytes_freed);
    bool idle = code != OK || turn == COMPACT_NOTHING;
    b->compact_at_ns = now_ns(b) + (idle ? IDLE_MS * NS_PER_MS : compact_rest_ns(b, read));
}

/* --- scrub --- */

static void show_scrub(Background *b, const ScrubStatus *status)
{
    uint64_t now = clock_wall_ms(b->options.clock);
    metric_set(&position, (int64_t)status->bytes_done);
    metric_set(&damaged, (int64_t)status->damaged);
    metric_set(&full_age, status->last_full_ms == 0
                              ? -1
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
    if (scrub_doubts(b->scrub) && !workers_run_on_applier(b->options.workers, settle, b->scrub))
        rest_ms = IDLE_MS; /* it is stopping */
    metric_add(&verified, (int64_t)read);
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

/* --- the thread --- */

/* Milliseconds until at, rounded up. */
static int wait_ms(uint64_t now, uint64_t at)
{
    return at <= now ? 0 : (int)MIN((at - now + NS_PER_MS - 1) / NS_PER_MS, (uint64_t)IDLE_MS);
}

static void background_run(void *arg)
{
    Background *b = arg;
    while (!atomic_load(&b->stopping)) {
        uint64_t now = now_ns(b);
        int ms = IDLE_MS;
        if (store_failed(b->options.store)) {
            b->compact_at_ns = UINT64_MAX; /* views stand still */
        } else if (b->options.compact_rate > 0) {
            if (now >= b->compact_at_ns) compact(b);
            ms = MIN(ms, wait_ms(now, b->compact_at_ns));
        }
        if (now >= b->scrub_at_ns) scrub(b);
        ms = MIN(ms, wait_ms(now, b->scrub_at_ns));
        if (ms > 0 && wake_wait(&b->wake, ms)) continue;
    }
}

/* --- life --- */

ErrCode background_open(const BackgroundOptions *options, Background **out, Err *err)
{
    ASSERT(options->busy != NULL);
    Background *b = mem_new(sizeof *b);
    b->options = *options;
    wake_init(&b->wake);
    b->scrub_late_ns = now_ns(b) + PUT_OFF_MOST_MS * NS_PER_MS;
    register_metrics();
    ErrCode code = compactor_open(options->store, &options->compact, &b->compactor, err);
    if (code == OK) code = scrub_open(options->store, &options->scrub, &b->scrub, err);
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
    wake_deinit(&b->wake);
    mem_free(b);
}
