#include "cli/pool.h"

#include "base/clock.h"
#include <string.h>

#define TICK_MS 100

typedef enum { SLOT_IDLE, SLOT_PREPARING, SLOT_WAITING, SLOT_RUNNING } SlotState;

typedef struct {
    SlotState state;
    void *item;
    Retry retry;
    uint64_t begin_ms; /* WAITING: when the next attempt begins */
} Slot;

typedef struct {
    Client *client;
    const PoolOptions *options;
    const PoolOps *ops;
    Slot *slots;
    bool exhausted; /* no new items */
    bool away;      /* the wait for the server was told */
    uint64_t ok_ms; /* when an item last came through */
    ErrCode code;   /* why no new items are begun */
    Err err;
} Pool;

static uint64_t now_ms(void)
{
    return clock_boot_ns(clock_real()) / 1000000;
}

static ClientCall *call_of(const Slot *slot)
{
    return slot->item; /* the first member of every item */
}

static void end_all(Pool *pool, const Err *err)
{
    pool->exhausted = true;
    if (pool->code != OK) return;
    pool->code = err->code;
    pool->err = *err;
}

static void finish(Pool *pool, Slot *slot, const Err *err)
{
    pool->ops->done(pool->ops->ctx, slot->item, err);
    slot->state = SLOT_IDLE;
}

/* An attempt has failed: again later, or never. */
static void fail(Pool *pool, Slot *slot, const RetryCause *cause, const Err *err)
{
    const ClientCall *call = call_of(slot);
    const ClientRetry *retry = &pool->options->retry;
    uint64_t window_ms = cause->local ? retry->window_ms : client_window(pool->client, call, retry);
    uint64_t wait_ms = 0;
    uint64_t now = now_ms();
    if (!client_stopped(pool->client) && pool->code == OK &&
        retry_again(&slot->retry, cause, now, window_ms, retry->rng, &wait_ms)) {
        if (!cause->local && !pool->away) pool->options->waiting(pool->options->watch, err);
        if (!cause->local) pool->away = true;
        slot->state = SLOT_WAITING;
        slot->begin_ms = now + wait_ms;
        return;
    }
    /* The server itself is in the way, and it had its time: the next file would fare no better. */
    bool gone = !cause->local && cause->code == ERR_PEER && call->status == 0 &&
                pool->ok_ms <= slot->retry.since_ms;
    Err copy = *err;
    finish(pool, slot, &copy);
    if (gone || (!cause->local && retry_ends_all(cause->code))) end_all(pool, &copy);
}

static void begin(Pool *pool, Slot *slot)
{
    Err err = {0};
    ErrCode code = pool->ops->begin(pool->ops->ctx, slot->item, &err);
    if (code == OK) {
        slot->state = SLOT_RUNNING;
        client_start(pool->client, call_of(slot));
        return;
    }
    RetryCause cause = {.code = code, .local = true};
    fail(pool, slot, &cause, &err);
}

static void prepare(Pool *pool, Slot *slot)
{
    Err err = {0};
    PoolVerdict verdict = POOL_SEND;
    ErrCode code = pool->ops->prepare(pool->ops->ctx, slot->item, &verdict, &err);
    if (code != OK) {
        RetryCause cause = {.code = code, .local = true};
        fail(pool, slot, &cause, &err);
    } else if (verdict == POOL_SEND) {
        begin(pool, slot);
    } else if (verdict == POOL_SKIP) {
        finish(pool, slot, &err);
    }
}

/* An attempt, the first or a later one. What prepare() found may not be so any more. */
static void prepare_or_begin(Pool *pool, Slot *slot)
{
    if (pool->ops->prepare != NULL) {
        slot->state = SLOT_PREPARING;
    } else {
        begin(pool, slot);
    }
}

static void end(Pool *pool, Slot *slot)
{
    const PoolOps *ops = pool->ops;
    ClientCall *call = call_of(slot);
    Err err = call->err;
    RetryCause cause = client_cause(call);
    if (call->code == OK) {
        cause.code = ops->end(ops->ctx, slot->item, &err);
        cause.local = true;
    }
    if (cause.code == OK) {
        pool->away = false;
        pool->ok_ms = now_ms();
    }
    PoolNext next = ops->follow == NULL ? POOL_OVER : ops->follow(ops->ctx, slot->item, cause.code);
    if (next != POOL_OVER) {
        if (next == POOL_FURTHER) slot->retry = (Retry){0};
        prepare_or_begin(pool, slot);
    } else if (cause.code == OK) {
        Err none = {0};
        finish(pool, slot, &none);
    } else {
        fail(pool, slot, &cause, &err);
    }
}

static void take_next(Pool *pool, Slot *slot)
{
    bool found = false;
    Err err = {0};
    slot->retry = (Retry){0};
    ErrCode code = pool->ops->next(pool->ops->ctx, slot->item, &found, &err);
    if (code != OK) {
        end_all(pool, &err);
    } else if (!found) {
        pool->exhausted = true;
    } else {
        prepare_or_begin(pool, slot);
    }
}

/* Moves a slot on as far as it goes now; true if it is busy. *wait_ms: at most how long the pool
 * may sleep. */
static bool step(Pool *pool, Slot *slot, uint64_t *wait_ms)
{
    if (slot->state == SLOT_RUNNING && call_of(slot)->finished) end(pool, slot);
    if (slot->state == SLOT_WAITING) {
        uint64_t now = now_ms();
        if (pool->code != OK) {
            Err err = call_of(slot)->err;
            if (err.code == OK) err = pool->err;
            finish(pool, slot, &err);
        } else if (now >= slot->begin_ms) {
            prepare_or_begin(pool, slot);
        } else {
            *wait_ms = MIN(*wait_ms, slot->begin_ms - now);
        }
    }
    if (slot->state == SLOT_IDLE && !pool->exhausted) {
        take_next(pool, slot);
        if (slot->state == SLOT_IDLE && !pool->exhausted) *wait_ms = 0; /* failed at once */
    }
    if (slot->state == SLOT_PREPARING) {
        prepare(pool, slot);
        if (slot->state == SLOT_PREPARING || slot->state == SLOT_IDLE) *wait_ms = 0;
    }
    if (slot->state == SLOT_RUNNING && call_of(slot)->finished) *wait_ms = 0;
    return slot->state != SLOT_IDLE;
}

static void stop_all(Pool *pool)
{
    Err err = {0};
    ErrCode code = err_set(&err, ERR_ABORTED, "stopped");
    for (size_t i = 0; i < pool->options->connections; i++) {
        Slot *slot = &pool->slots[i];
        if (slot->state == SLOT_IDLE) continue;
        client_cancel(pool->client, call_of(slot));
        finish(pool, slot, &err);
    }
    pool->code = code;
    pool->err = err;
}

static void run(Pool *pool)
{
    uint64_t tick_ms = now_ms();
    for (;;) {
        uint64_t wait_ms = TICK_MS;
        bool busy = false;
        for (size_t i = 0; i < pool->options->connections; i++) {
            busy = step(pool, &pool->slots[i], &wait_ms) || busy;
            if (client_stopped(pool->client)) {
                stop_all(pool);
                return;
            }
        }
        if (!busy && pool->exhausted) return;
        client_poll(pool->client, (int)wait_ms);
        if (now_ms() - tick_ms >= TICK_MS) {
            pool->options->tick(pool->options->watch);
            tick_ms = now_ms();
        }
    }
}

ErrCode pool_run(Client *client, const PoolOptions *options, const PoolOps *ops, Err *err)
{
    ASSERT(options->connections >= 1 && ops->item_size >= sizeof(ClientCall));
    Pool pool = {.client = client, .options = options, .ops = ops};
    pool.slots = mem_new_array(options->connections, sizeof *pool.slots);
    for (size_t i = 0; i < options->connections; i++) {
        pool.slots[i].item = mem_new(ops->item_size);
        client_call_init(call_of(&pool.slots[i]), ops->answer_max);
    }
    run(&pool);
    for (size_t i = 0; i < options->connections; i++) {
        ASSERT(pool.slots[i].state == SLOT_IDLE);
        client_call_deinit(call_of(&pool.slots[i]));
        mem_free(pool.slots[i].item);
    }
    mem_free(pool.slots);
    if (pool.code != OK && err != NULL) *err = pool.err;
    return pool.code;
}
