/* The clients of sim_roots, what they were told, and what of that may be lost. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "roots_sim.h"

/* --- values: the body of value N says "value N" --- */

static Str body_of(char out[BODY_MAX], uint64_t value)
{
    int len = snprintf(out, BODY_MAX, "value %" PRIu64, value);
    ASSERT(len > 0 && len < BODY_MAX);
    return str_of(out, (size_t)len);
}

static uint64_t value_of(Str body)
{
    uint64_t value = 0;
    Str number = str_slice(body, sizeof "value " - 1, body.len);
    bool good = str_starts_with(body, STR("value ")) && str_to_u64(number, UINT64_MAX, &value);
    ASSERT(good);
    return value;
}

static Str key_of(char out[8], unsigned key)
{
    int len = snprintf(out, 8, "k%u", key);
    ASSERT(len >= 2 && len < 8);
    return str_of(out, (size_t)len);
}

Str client_bucket(unsigned key)
{
    if (key >= KEYS_PAIR) return key < KEYS_ONE ? STR("pair") : STR("one");
    return key < KEYS_LOOSE ? STR("files") : key < KEYS_WHOLE ? STR("loose") : STR("whole");
}

EngineClass client_class(const Sim *sim, unsigned key)
{
    BucketRecord bucket;
    bool found = buckets_find(sim->kit.buckets, client_bucket(key), &bucket);
    ASSERT(found);
    return engine_class(sim->kit.engine, bucket.placement_class);
}

unsigned client_copies(const Sim *sim, unsigned key)
{
    return key < KEYS_PAIR ? sim->count : key < KEYS_ONE ? 2 : 1;
}

/* May what was read on the lead of its class be told? */
static bool may_tell(const Sim *sim, unsigned key)
{
    if (key < KEYS_PAIR) return engine_may_read(sim->kit.engine);
    return client_class(sim, key).read_until > sim->clock.boot_ns;
}

static bool is_loose(unsigned key)
{
    return key >= KEYS_LOOSE && key < KEYS_WHOLE;
}

bool client_read_key(Sim *sim, unsigned root, unsigned key, uint64_t *value)
{
    char name[8];
    Err err = {0};
    AUTO_BUF(body, INLINE_MAX);
    ErrCode code = roots_kit_get_of(&sim->kit, root, client_bucket(key), key_of(name, key), &body,
                                    &err);
    *value = code == OK ? value_of(buf_str(&body)) : 0;
    return code == OK || code == ERR_NOT_FOUND;
}

/* --- what may be lost --- */

static bool in_flight(const Sim *sim, unsigned key)
{
    for (unsigned i = 0; i < OPS_MAX; i++) {
        if (sim->ops[i].used && sim->ops[i].number == key) return true;
    }
    return false;
}

/* A change of key to value begins. False: too many did since it rested. */
static bool loose_begin(Sim *sim, unsigned key, uint64_t value)
{
    Loose *loose = &sim->loose[key];
    bool rests = !in_flight(sim, key) && engine_async(sim->kit.engine).entries == 0 &&
                 loose->falls == HISTORY_NONE && engine_may_read(sim->kit.engine);
    if (!is_loose(key)) return true;
    if (rests && client_read_key(sim, engine_lead(sim->kit.engine), key, &loose->values[0]))
        loose->count = 1;
    if (loose->count == 0 || loose->count == HISTORY_VALUES) return false;
    loose->values[loose->count++] = value;
    return true;
}

void client_loose_fall(Sim *sim)
{
    for (unsigned key = KEYS_LOOSE; key < KEYS_WHOLE; key++) {
        Loose *loose = &sim->loose[key];
        if (loose->falls == HISTORY_NONE && loose->count > 1)
            loose->falls = history_fall_back(sim->history, key);
    }
}

void client_loose_land(Sim *sim)
{
    for (unsigned key = KEYS_LOOSE; key < KEYS_WHOLE; key++) {
        Loose *loose = &sim->loose[key];
        if (loose->falls == HISTORY_NONE) continue;
        history_fell_back(sim->history, loose->falls, loose->values, loose->count);
        loose->falls = HISTORY_NONE;
    }
}

void client_watch_reign(Sim *sim)
{
    EngineShardStatus shards[SHARDS_MAX];
    size_t count = engine_shards(sim->kit.engine, shards, ARRAY_LEN(shards));
    uint64_t reign = engine_lead(sim->kit.engine);
    ASSERT(count <= ARRAY_LEN(shards));
    for (size_t i = 0; i < count && shard_class(shards[i].shard) <= PLACE_CLASS_STANDARD; i++)
        reign = reign * 1000003 + shards[i].term * 8 + shards[i].role;
    if (reign != sim->reign) client_loose_fall(sim);
    sim->reign = reign;
    if (engine_may_read(sim->kit.engine)) client_loose_land(sim);
    if (engine_async(sim->kit.engine).entries > sim->lag.entries)
        sim_fail(sim, "more is told than may be, shards", (unsigned)count);
}

/* --- clients --- */

/* Do so many copies have it as its answer says, and as its bucket wants? */
static void check_copies(Sim *sim, const Call *op)
{
    const Mutation *m = &op->m;
    EngineShardStatus shards[SHARDS_MAX];
    size_t count = engine_shards(sim->kit.engine, shards, ARRAY_LEN(shards));
    unsigned has = 0;
    for (size_t i = 0; i < count; i++) {
        for (unsigned r = 0; r < sim->count && shards[i].shard == m->shard; r++) {
            const EngineCopy *copy = &shards[i].copies[r];
            has += copy->durable_lsn >= m->wait_lsn;
            if (copy->role == ROLE_INCOMPLETE) return; /* what it had is about to be known gone */
        }
    }
    if (m->durability.synced > has) sim_fail(sim, "copies that are there", has);
    if (has == 0) sim_fail(sim, "acknowledged, and on no disk: key", op->number);
    bool fixed = op->number >= KEYS_PAIR; /* others have one more while a root is replaced */
    if (fixed && m->durability.copies != client_copies(sim, op->number))
        sim_fail(sim, "copies that are to be, of key", op->number);
    if (op->number >= KEYS_WHOLE && op->number < KEYS_PAIR && has < sim->count)
        sim_fail(sim, "not on every disk: key", op->number);
    if (is_loose(op->number)) sim->told += m->durability.synced == 1;
}

static void answered(Mutation *m)
{
    Call *op = m->ctx;
    op->answered = true;
    if (m->code == OK) check_copies(op->sim, op);
}

static void finish(Sim *sim, Call *op)
{
    ErrCode code = op->m.code;
    if (code == OK) {
        history_done(sim->history, op->event);
        sim->acknowledged++;
    } else if (code == ERR_PRECONDITION || code == ERR_NOT_FOUND) {
        history_refused(sim->history, op->event);
    } else if (code != ERR_OUTCOME_UNKNOWN) {
        history_void(sim->history, op->event);
    }
    mutation_deinit(&op->m);
    op->used = false;
}

void client_collect(Sim *sim)
{
    for (unsigned i = 0; i < OPS_MAX; i++) {
        Call *op = &sim->ops[i];
        if (op->used && op->answered) finish(sim, op);
    }
}

static Call *free_op(Sim *sim)
{
    for (unsigned i = 0; i < OPS_MAX; i++) {
        if (!sim->ops[i].used) return &sim->ops[i];
    }
    return NULL;
}

void client_submit(Sim *sim)
{
    Call *op = free_op(sim);
    if (op == NULL) return;
    unsigned key = (unsigned)rng_below(&sim->rng, sim->keys);
    uint64_t value = ++sim->values;
    unsigned pick = (unsigned)rng_below(&sim->rng, 10);
    if (!loose_begin(sim, key, pick < 8 ? value : 0)) return;
    memset(op, 0, sizeof *op);
    op->used = true;
    op->sim = sim;
    op->number = key;
    op->kind = pick < 6 ? HISTORY_WRITE : pick < 8 ? HISTORY_CREATE : HISTORY_DELETE;
    mutation_init(&op->m, op->kind == HISTORY_DELETE ? MUTATION_DELETE : MUTATION_PUT);
    op->m.bucket = client_bucket(key);
    op->m.key = key_of(op->key, key);
    op->m.done = answered;
    op->m.ctx = op;
    if (op->kind != HISTORY_DELETE) {
        Str body = body_of(op->body, value);
        op->m.size = body.len;
        op->m.digest = sha256_of(body.ptr, body.len);
        op->m.inline_body = body;
    }
    if (op->kind == HISTORY_CREATE) op->m.if_none_match = STR("*");
    if (op->kind == HISTORY_DELETE) value = 0;
    op->event = history_begin(sim->history, key, op->kind, value, 0);
    sim_say(sim, op->kind == HISTORY_DELETE ? "delete" : "put", op->event);
    engine_submit(sim->kit.engine, &op->m);
}

void client_read(Sim *sim)
{
    unsigned key = (unsigned)rng_below(&sim->rng, sim->keys);
    uint64_t moment = history_now(sim->history);
    uint64_t value = 0;
    if (!may_tell(sim, key)) return;
    if (!client_read_key(sim, client_class(sim, key).lead, key, &value)) {
        sim_fail(sim, "the lead can't read key", key);
        return;
    }
    if (!may_tell(sim, key)) return; /* looked at afterwards */
    history_read(sim->history, key, value, moment);
}
