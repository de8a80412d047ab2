#include "node/confirming.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/wake.h"

#define LOOK_MS 250
#define POP_MAX 64
#define BUSY_PART 4 /* of the rate while clients are served */
#define NS_PER_MS 1000000ULL

struct Confirming {
    ConfirmingOptions options;
    Confirmer *confirmer;
    uint64_t owed_ns; /* of rest: what is too short for a wait is added up */
    Thread thread;
    Wake wake;
    _Atomic bool stopping;
};

/* Rests; false: it stops. */
static bool rest(Confirming *c, uint64_t ms)
{
    uint64_t end = clock_boot_ns(c->options.clock) + ms * NS_PER_MS;
    while (!atomic_load(&c->stopping)) {
        uint64_t now = clock_boot_ns(c->options.clock);
        if (now >= end) return true;
        bool woken = wake_wait(&c->wake, (int)MIN((end - now) / NS_PER_MS + 1, (uint64_t)1000));
        UNUSED(woken); /* stopping tells */
    }
    return false;
}

static bool pace(void *ctx, uint64_t bytes)
{
    Confirming *c = ctx;
    uint64_t rate = c->options.rate;
    if (c->options.busy(c->options.ctx)) rate = MAX(rate / BUSY_PART, (uint64_t)1);
    c->owed_ns += bytes * 1000 / rate * NS_PER_MS + bytes * 1000 % rate * NS_PER_MS / rate;
    uint64_t ms = c->owed_ns / NS_PER_MS;
    if (ms < 10) return !atomic_load(&c->stopping);
    c->owed_ns -= ms * NS_PER_MS;
    return rest(c, ms);
}

static void take(Confirming *c)
{
    void *items[POP_MAX];
    size_t count = 0;
    confirmer_passed_over(c->confirmer, workers_told_missed(c->options.workers));
    do {
        count = queue_pop(workers_told(c->options.workers), items, POP_MAX);
        for (size_t i = 0; i < count; i++)
            confirmer_add(c->confirmer, items[i]);
    } while (count == POP_MAX);
}

static void confirming_run(void *arg)
{
    Confirming *c = arg;
    while (rest(c, LOOK_MS)) {
        Err err = {0};
        const ClassState *states = workers_states(c->options.workers);
        ConfirmClass classes[CLASSES_MAX];
        for (unsigned i = 0; i < CLASSES_MAX; i++)
            classes[i] = (ConfirmClass){.in_sync = atomic_load(&states[i].in_sync),
                                        .lead = atomic_load(&states[i].lead)};
        take(c);
        ErrCode code = confirmer_work(c->confirmer, classes, &err);
        if (code != OK && code != ERR_SHUTTING_DOWN)
            LOG(WARN, "async.confirm_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    }
}

ErrCode confirming_open(const ConfirmingOptions *options, Confirming **out, Err *err)
{
    ASSERT(options->busy != NULL && options->rate > 0 && options->root_count > 1);
    Confirming *c = mem_new(sizeof *c);
    c->options = *options;
    wake_init(&c->wake);
    ConfirmOptions confirm = {
        .root_count = options->root_count, .clock = options->clock, .pace = pace, .ctx = c};
    for (unsigned r = 0; r < options->root_count; r++)
        confirm.stores[r] = options->stores[r];
    c->confirmer = confirmer_new(&confirm);
    ErrCode code = thread_start(&c->thread, "confirming", confirming_run, c, err);
    if (code != OK) {
        confirming_close(c);
        return code;
    }
    *out = c;
    return OK;
}

void confirming_status(const Confirming *c, ConfirmStatus *out)
{
    *out = (ConfirmStatus){0};
    if (c != NULL) confirmer_status(c->confirmer, out);
}

void confirming_close(Confirming *c)
{
    if (c == NULL) return;
    atomic_store(&c->stopping, true);
    wake_set(&c->wake);
    thread_join(&c->thread);
    confirmer_free(c->confirmer);
    wake_deinit(&c->wake);
    mem_free(c);
}
