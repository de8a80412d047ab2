#include "node/mending.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/thread.h"
#include "base/wake.h"
#include "service/engine.h"

#define LOOK_MS 1000   /* between two looks, if the list is empty or some of it was mended … */
#define AGAIN_MS 10000 /* … and if nobody could mend anything */
#define BUSY_PART 4    /* of the rate while clients are served */
#define NS_PER_MS 1000000ULL
#define WATCH_MS 1000  /* between two looks at whether the root is in sync … */
#define COUNT_MS 10000 /* … and at how many files there are, while it is not */
#define RATE_OVER 4    /* looks of which the newest is told in the rate */

struct Mending {
    MendingOptions options;
    Store *store;
    Mender *mender;
    uint64_t compared;     /* the pass of scrub behind which rows were compared last */
    Metric *metrics;       /* METRIC_KINDS of them */
    uint64_t owed_ns;      /* of rest: what is too short for a wait is added up */
    uint64_t watch_ns;     /* when it looks again */
    uint64_t count_ns;     /* the same */
    uint64_t lag;          /* entries, at the last look */
    uint64_t lag_ns;       /* when that was */
    uint64_t caught_up_ks; /* entries in 1000 s by which the lag shrinks; 0: it does not */
    _Atomic uint64_t all_files;
    _Atomic uint64_t all_bytes;
    _Atomic uint64_t since_ms;
    _Atomic uint64_t done_ms;
    Thread thread;
    Wake wake;
    _Atomic bool stopping;
};

typedef enum {
    METRIC_BELOW,
    METRIC_FILES,
    METRIC_PACKS,
    METRIC_BYTES,
    METRIC_HELPLESS,
    METRIC_ROWS,
    METRIC_DIFFERENCES,
    METRIC_RIGHT,
    METRIC_KINDS
} MendMetric;

static const struct {
    MetricKind kind;
    const char *name;
    const char *help;
} told[METRIC_KINDS] = {
    [METRIC_BELOW] =
        {METRIC_GAUGE, "holdfast_files_below_target",
         "Files (versions) without their copy on a root: damaged there, or all while it "
         "is not in sync."},
    [METRIC_FILES] = {METRIC_COUNTER, "holdfast_mended_files_total",
                      "Damaged files (versions) of a root that were put right from another root."},
    [METRIC_PACKS] = {METRIC_COUNTER, "holdfast_mended_packs_total",
                      "Damaged packs of a root of which all that is needed was written anew."},
    [METRIC_BYTES] = {METRIC_COUNTER, "holdfast_mended_bytes_total",
                      "Bytes that were written to put damage right."},
    [METRIC_HELPLESS] = {METRIC_GAUGE, "holdfast_unmendable",
                         "Damaged files and places of a root that no other root has whole."},
    [METRIC_ROWS] = {METRIC_COUNTER, "holdfast_compared_rows_total",
                     "Files (versions) of a root's index that were compared with the other roots."},
    [METRIC_DIFFERENCES] = {METRIC_COUNTER, "holdfast_differences_total",
                            "Files of a root's index that were as no other root has them."},
    [METRIC_RIGHT] = {METRIC_COUNTER, "holdfast_differences_mended_total",
                      "Of these, those that were put right."},
};

/* Of each root; the label names it where there are several. */
static Metric metrics[ENGINE_ROOTS_MAX][METRIC_KINDS];
static char labels[ENGINE_ROOTS_MAX][sizeof "root=\"\"" + 36];

/* Main only; of one number once a process. */
static Metric *register_metrics(unsigned number, bool several, const Store *store)
{
    Metric *own = metrics[number];
    if (own[0].name != NULL) return own;
    if (several) {
        char uuid[37];
        uuid_text(store_root(store)->uuid, uuid);
        snprintf(labels[number], sizeof labels[0], "root=\"%s\"", uuid); /* fits */
    }
    for (unsigned i = 0; i < METRIC_KINDS; i++) {
        own[i].kind = told[i].kind;
        own[i].name = told[i].name;
        own[i].help = told[i].help;
        own[i].labels = labels[number];
        metric_register(&own[i]);
    }
    return own;
}

void mending_status(const Mending *m, MendingStatus *out)
{
    size_t damaged = risk_files(store_risk(m->store));
    *out = (MendingStatus){.below = damaged, .since_ms = atomic_load(&m->since_ms)};
    mender_status(m->mender, &out->mender);
    if (out->since_ms != 0) {
        out->below = atomic_load(&m->all_files);
        out->below_bytes = atomic_load(&m->all_bytes);
        out->done_ms = atomic_load(&m->done_ms);
    }
    if (out->mender.entry_ms > 0 && damaged > 0)
        out->mended_ms = clock_wall_ms(m->options.clock) + damaged * out->mender.entry_ms;
}

static void show(Mending *m)
{
    MendingStatus all;
    mending_status(m, &all);
    metric_set(&m->metrics[METRIC_BELOW], (int64_t)all.below);
    const MenderStatus now = all.mender;
    metric_raise(&m->metrics[METRIC_FILES], (int64_t)now.files);
    metric_raise(&m->metrics[METRIC_PACKS], (int64_t)now.packs);
    metric_raise(&m->metrics[METRIC_BYTES], (int64_t)now.bytes);
    metric_set(&m->metrics[METRIC_HELPLESS], (int64_t)now.helpless);
}

/* --- is it in sync? --- */

/* As many as another root has: all of them lack their copy here. */
static void count_files(Mending *m, uint64_t now)
{
    BucketStatRow all;
    Err err = {0};
    if (now < m->count_ns) return;
    m->count_ns = now + COUNT_MS * NS_PER_MS;
    for (unsigned i = 0; i < m->options.source_count; i++) {
        if (store_failed(m->options.sources[i])) continue;
        if (store_totals(m->options.sources[i], &all, &err) != OK) continue;
        atomic_store(&m->all_files, all.files);
        atomic_store(&m->all_bytes, all.bytes);
        return;
    }
}

/* About when it will have what it lacks, by how much of that it got between the last looks. */
static void foresee(Mending *m, const WorkersRoot *root, uint64_t now)
{
    uint64_t ms = (now - m->lag_ns) / NS_PER_MS;
    uint64_t got = m->lag - MIN(m->lag, root->lag_entries);
    if (m->lag_ns != 0 && ms > 0) {
        uint64_t rate = got * 1000000 / ms;
        m->caught_up_ks = m->caught_up_ks == 0
                              ? rate
                              : (m->caught_up_ks * (RATE_OVER - 1) + rate) / RATE_OVER;
    }
    m->lag = root->lag_entries;
    m->lag_ns = now;
    bool known = !root->out && m->caught_up_ks > 0 && root->lag_entries > 0;
    uint64_t left_ms = known ? root->lag_entries * 1000000 / m->caught_up_ks : 0;
    atomic_store(&m->done_ms, known ? clock_wall_ms(m->options.clock) + left_ms : 0);
}

static void tell(const Mending *m, const WorkersRoot *root, uint64_t since_ms)
{
    char uuid[37];
    uint64_t wall_ms = clock_wall_ms(m->options.clock);
    uuid_text(store_root(m->store)->uuid, uuid);
    if (root->in_sync && !root->out) {
        LOG_TO(OPERATIONS, WARN, "ledger.root_whole", "root=%s ms=%" PRIu64, uuid,
               wall_ms - MIN(since_ms, wall_ms));
        return;
    }
    const char *why = root->evicted ? "evicted" : root->out ? "failed" : "behind";
    LOG_TO(OPERATIONS, WARN, "ledger.root_below", "root=%s why=%s files=%" PRIu64 " bytes=%" PRIu64,
           uuid, why, atomic_load(&m->all_files), atomic_load(&m->all_bytes));
}

static void watch(Mending *m)
{
    WorkersRoot root;
    uint64_t now = clock_boot_ns(m->options.clock);
    if (now < m->watch_ns || !*workers_ready(m->options.workers)) return;
    m->watch_ns = now + WATCH_MS * NS_PER_MS;
    workers_root_status(m->options.workers, m->options.number, &root);
    uint64_t since_ms = atomic_load(&m->since_ms);
    bool below = m->options.source_count > 0 && (!root.in_sync || root.out);
    if (below) {
        count_files(m, now);
        foresee(m, &root, now);
    }
    if (below != (since_ms != 0)) {
        uint64_t wall_ms = clock_wall_ms(m->options.clock);
        uint64_t from_ms = MAX(wall_ms - MIN(wall_ms, root.lag_ms), (uint64_t)1);
        atomic_store(&m->since_ms, below ? from_ms : 0);
        tell(m, &root, since_ms);
        m->lag_ns = 0;
        m->caught_up_ks = 0;
    }
    show(m);
}

/* Rests; false: it stops. */
static bool rest(Mending *m, uint64_t ms)
{
    uint64_t end = clock_boot_ns(m->options.clock) + ms * NS_PER_MS;
    while (!atomic_load(&m->stopping)) {
        watch(m);
        uint64_t now = clock_boot_ns(m->options.clock);
        if (now >= end) return true;
        bool woken = wake_wait(&m->wake, (int)MIN((end - now) / NS_PER_MS + 1, (uint64_t)1000));
        UNUSED(woken); /* stopping tells */
    }
    return false;
}

static bool pace(void *ctx, uint64_t bytes)
{
    Mending *m = ctx;
    uint64_t rate = m->options.rate;
    if (m->options.busy(m->options.ctx)) rate = MAX(rate / BUSY_PART, (uint64_t)1);
    m->owed_ns += bytes * 1000 / rate * NS_PER_MS + bytes * 1000 % rate * NS_PER_MS / rate;
    uint64_t ms = m->owed_ns / NS_PER_MS;
    if (ms < 10) return !atomic_load(&m->stopping);
    m->owed_ns -= ms * NS_PER_MS;
    show(m);
    return rest(m, ms);
}

static bool on_applier(void *ctx, void (*fn)(void *arg), void *arg)
{
    const Mending *m = ctx;
    return storage_root_run_on_applier(m->options.root, fn, arg);
}

/* As a MenderOptions has it, whose sources are the other roots in the order of their numbers. */
static unsigned holders(void *ctx, unsigned class_number)
{
    const Mending *m = ctx;
    const ClassState *state = &workers_states(m->options.workers)[class_number];
    if (!atomic_load(&state->there)) return 0;
    unsigned members = atomic_load(&state->members);
    unsigned own = m->options.number;
    unsigned below = members & ((1U << own) - 1); /* numbers before the own one move up by one */
    return (members >> own & 1) | below << 1 | (members & ~((2U << own) - 1));
}

static MenderOptions mender_options(Mending *m)
{
    MenderOptions options = {.source_count = m->options.source_count,
                             .on_applier = on_applier,
                             .pace = pace,
                             .holders = holders,
                             .ctx = m};
    for (unsigned i = 0; i < options.source_count; i++)
        options.sources[i] = m->options.sources[i];
    return options;
}

/* --- rows --- */

/* Who has not all yet differs in each row: that says nothing, and costs much. */
static bool all_in_sync(const Mending *m)
{
    for (unsigned r = 0; r <= m->options.source_count; r++) {
        WorkersRoot root;
        workers_root_status(m->options.workers, r, &root);
        if (!root.in_sync || root.out) return false;
    }
    return true;
}

static void compare(Mending *m)
{
    Err err = {0};
    ScrubStatus scrub;
    CompareStatus now;
    scrub_status(m->options.scrub, &scrub);
    if (m->options.source_count == 0 || scrub.area != SCRUB_WAITING || scrub.pass == m->compared ||
        !all_in_sync(m))
        return;
    m->compared = scrub.pass; /* what fails now is done behind the next one */
    MenderOptions options = mender_options(m);
    AUTO(Comparer, comparer_free) comparer = comparer_new(m->store, &options);
    ErrCode code = comparer_pass(comparer, &err);
    comparer_status(comparer, &now);
    metric_add(&m->metrics[METRIC_ROWS], (int64_t)now.rows);
    metric_add(&m->metrics[METRIC_DIFFERENCES], (int64_t)now.differences);
    metric_add(&m->metrics[METRIC_RIGHT], (int64_t)now.mended);
    if (code == ERR_SHUTTING_DOWN) return;
    if (code != OK) LOG(WARN, "ledger.mending_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    LOG(INFO, "ledger.compared",
        "rows=%" PRIu64 " differences=%" PRIu64 " mended=%" PRIu64 " undecided=%" PRIu64
        " unsettled=%" PRIu64,
        now.rows, now.differences, now.mended, now.undecided, now.unsettled);
}

/* --- the thread --- */

static void mending_run(void *arg)
{
    Mending *m = arg;
    uint64_t ms = LOOK_MS;
    while (rest(m, ms)) {
        Err err = {0};
        size_t mended = 0;
        const Risk *risk = store_risk(m->store);
        ErrCode code = mender_look(m->mender, &mended, &err);
        if (code == ERR_ROOT_FAILED) storage_root_fail(m->options.root, &err);
        if (code != OK && code != ERR_SHUTTING_DOWN)
            LOG(WARN, "ledger.mending_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        if (code == OK && *workers_ready(m->options.workers)) compare(m);
        show(m);
        bool left = risk_files(risk) + risk_places(risk) > 0;
        ms = code == OK && (mended > 0 || !left) ? LOOK_MS : AGAIN_MS;
    }
}

static uint64_t passes(Scrub *scrub)
{
    ScrubStatus status;
    scrub_status(scrub, &status);
    return status.area == SCRUB_WAITING ? status.pass : 0;
}

ErrCode mending_open(const MendingOptions *options, Mending **out, Err *err)
{
    ASSERT(options->busy != NULL && options->rate > 0);
    Mending *m = mem_new(sizeof *m);
    m->options = *options;
    m->store = storage_root_store(options->root);
    wake_init(&m->wake);
    m->metrics = register_metrics(options->number, options->source_count > 0, m->store);
    m->compared = passes(options->scrub);
    MenderOptions mender = mender_options(m);
    m->mender = mender_new(m->store, &mender);
    ErrCode code = thread_start(&m->thread, "mending", mending_run, m, err);
    if (code != OK) {
        mending_close(m);
        return code;
    }
    *out = m;
    return OK;
}

void mending_close(Mending *m)
{
    if (m == NULL) return;
    atomic_store(&m->stopping, true);
    wake_set(&m->wake);
    thread_join(&m->thread);
    mender_free(m->mender);
    wake_deinit(&m->wake);
    mem_free(m);
}
