#include "service/expirer.h"

#include <stdatomic.h>
#include <string.h>

#define JUMP_MS 1000 /* between two looks: more than slewing does in a day of them */
#define NS_PER_MS 1000000ULL

typedef struct {
    Expirer *expirer;
    Mutation m;
    Buf key;
} Item;

struct Expirer {
    ExpirerOptions options;
    StoreReader *reader; /* only while there is something to do */
    Buf cursor;          /* the row that was last looked at; empty: from the first */
    bool looked;         /* the clocks were looked at before: */
    uint64_t wall_ms;
    uint64_t boot_ms;
    uint64_t steady_since_ms; /* by boot_ms */
    _Atomic uint64_t deleted;
    _Atomic size_t users; /* items under way, and one for the owner */
    Item items[EXPIRER_BATCH];
};

Expirer *expirer_new(const ExpirerOptions *options)
{
    Expirer *e = mem_new(sizeof *e);
    e->options = *options;
    buf_init(&e->cursor, ROW_KEY_MAX + 1);
    atomic_store(&e->users, 1);
    return e;
}

static void leave(Expirer *e)
{
    if (atomic_fetch_sub(&e->users, 1) > 1) return;
    buf_deinit(&e->cursor);
    mem_free(e);
}

void expirer_free(Expirer *e)
{
    if (e == NULL) return;
    store_reader_free(TAKE(e->reader)); /* before the store, whoever is still answered */
    leave(e);
}

uint64_t expirer_deleted(const Expirer *e)
{
    return atomic_load(&e->deleted);
}

/* Has the wall clock gone on evenly for long enough? */
static bool clock_is_steady(Expirer *e)
{
    uint64_t wall_ms = clock_wall_ms(e->options.clock);
    uint64_t boot_ms = clock_boot_ns(e->options.clock) / NS_PER_MS;
    int64_t drift = (int64_t)(wall_ms - e->wall_ms) - (int64_t)(boot_ms - e->boot_ms);
    bool jumped = drift > JUMP_MS || drift < -JUMP_MS;
    if (!e->looked || jumped) e->steady_since_ms = boot_ms;
    e->looked = true;
    e->wall_ms = wall_ms;
    e->boot_ms = boot_ms;
    return boot_ms - e->steady_since_ms >= e->options.steady_ms;
}

static void item_done(Mutation *m)
{
    Item *item = m->ctx;
    Expirer *e = item->expirer;
    if (m->code == OK) atomic_fetch_add(&e->deleted, 1);
    mutation_deinit(m);
    buf_deinit(&item->key);
    leave(e);
}

static ErrCode submit(Expirer *e, Item *item, const StoreOver *over, Err *err)
{
    item->expirer = e;
    buf_init(&item->key, KEY_MAX);
    TRY(buf_append_str(&item->key, over->key, err));
    mutation_init(&item->m, MUTATION_EXPIRE);
    item->m.bucket_uid = over->bucket;
    item->m.key = buf_str(&item->key);
    item->m.version = over->version;
    item->m.done = item_done;
    item->m.ctx = item;
    atomic_fetch_add(&e->users, 1);
    ErrCode code = e->options.submit(e->options.ctx, &item->m);
    if (code == OK) return OK;
    item->m.code = code;
    item_done(&item->m);
    return err_set(err, code, "versions that are over wait");
}

ErrCode expirer_work(Expirer *e, bool *more, Err *err)
{
    *more = atomic_load(&e->users) > 1;
    if (!clock_is_steady(e) || *more) return OK;
    if (e->reader == NULL) TRY(store_reader_open(e->options.store, &e->reader, err));
    for (size_t i = 0; i < EXPIRER_BATCH; i++) {
        StoreOver over;
        bool found = false;
        TRY(store_next_over(e->reader, e->wall_ms, &e->cursor, &over, &found, err));
        if (!found) { /* from the first again, when the index has come after */
            buf_clear(&e->cursor);
            store_reader_free(TAKE(e->reader));
            return OK;
        }
        TRY(submit(e, &e->items[i], &over, err));
        *more = true;
    }
    return OK;
}
