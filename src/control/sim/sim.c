/* A change makes a new version of the whole, and the ones before are kept, so that they can be in
 * force again. */
#include "control/sim/sim.h"

#include <string.h>

#include "control/control_priv.h"

typedef struct {
    ControlRoot *roots;
    size_t root_count;
    ControlShard *shards; /* rising by shard */
    size_t shard_count;
} State;

struct ControlStore {
    State kept[CONTROL_SIM_KEPT + 1]; /* [0] is in force, [1] was before it … */
    size_t kept_count;
    bool down;
    ControlSimFate fate;
};

typedef struct {
    Control control;
    ControlStore *store;
} Sim;

static ControlStore *store_of(Control *control)
{
    return ((Sim *)control)->store;
}

static void state_deinit(State *state)
{
    mem_free(state->roots);
    mem_free(state->shards);
}

/* With room for one more of each. */
static State state_copy(const State *from, size_t more_shards)
{
    State out = *from;
    out.roots = mem_new_array(from->root_count + 1, sizeof *out.roots);
    out.shards = mem_new_array(from->shard_count + more_shards + 1, sizeof *out.shards);
    if (from->root_count > 0) memcpy(out.roots, from->roots, from->root_count * sizeof *out.roots);
    if (from->shard_count > 0) {
        memcpy(out.shards, from->shards, from->shard_count * sizeof *out.shards);
    }
    return out;
}

static size_t shard_place(const State *state, ShardId shard)
{
    size_t at = 0;
    while (at < state->shard_count && state->shards[at].shard < shard)
        at++;
    return at;
}

static ControlRoot *find_root(const State *state, Uuid root)
{
    for (size_t i = 0; i < state->root_count; i++) {
        if (id128_eq(state->roots[i].root, root)) return &state->roots[i];
    }
    return NULL;
}

static ControlSimFate take_fate(ControlStore *store)
{
    ControlSimFate fate = store->fate;
    store->fate = CONTROL_SIM_PLAIN;
    return fate;
}

/* What a read sees. */
static ErrCode look(Control *control, const State **out, Err *err)
{
    ControlStore *store = store_of(control);
    ControlSimFate fate = take_fate(store);
    if (store->down) return err_set(err, ERR_PEER, "the control store does not answer");
    *out = &store->kept[fate == CONTROL_SIM_STALE && store->kept_count > 1 ? 1 : 0];
    return OK;
}

/* Puts next, which is given away, in force: as far as the store's fate allows. */
static ErrCode change(ControlStore *store, State *next, Err *err)
{
    ControlSimFate fate = take_fate(store);
    if (store->down || fate == CONTROL_SIM_UNKNOWN_IGNORED) {
        state_deinit(next);
        return err_set(err, ERR_OUTCOME_UNKNOWN, "the control store did not answer");
    }
    if (store->kept_count == CONTROL_SIM_KEPT + 1) state_deinit(&store->kept[CONTROL_SIM_KEPT]);
    size_t moved = MIN(store->kept_count, (size_t)CONTROL_SIM_KEPT);
    memmove(&store->kept[1], &store->kept[0], moved * sizeof store->kept[0]);
    store->kept[0] = *next;
    store->kept_count = moved + 1;
    if (fate != CONTROL_SIM_UNKNOWN_DONE) return OK;
    return err_set(err, ERR_OUTCOME_UNKNOWN, "the control store's answer was lost");
}

static void sim_free(Control *control)
{
    mem_free(control);
}

const ShardConfig *control_store_row(const ControlStore *store, ShardId shard)
{
    const State *state = &store->kept[0];
    size_t at = shard_place(state, shard);
    bool found = at < state->shard_count && state->shards[at].shard == shard;
    return found ? &state->shards[at].config : NULL;
}

static ErrCode sim_get(Control *control, ShardId shard, ShardConfig *out, bool *found, Err *err)
{
    const State *state = NULL;
    TRY(look(control, &state, err));
    size_t at = shard_place(state, shard);
    *found = at < state->shard_count && state->shards[at].shard == shard;
    if (*found) *out = state->shards[at].config;
    return OK;
}

static bool put_row(State *next, const ControlShard *row)
{
    size_t at = shard_place(next, row->shard);
    bool there = at < next->shard_count && next->shards[at].shard == row->shard;
    Uuid now = there ? next->shards[at].config.cfg_uid : (Uuid){{0}};
    if (!id128_eq(now, row->config.parent_uid)) return false;
    if (!there) {
        memmove(&next->shards[at + 1], &next->shards[at],
                (next->shard_count - at) * sizeof next->shards[0]);
        next->shard_count++;
    }
    next->shards[at] = *row;
    return true;
}

static ErrCode sim_cas(Control *control, const ControlShard *rows, size_t count, Err *err)
{
    ControlStore *store = store_of(control);
    State next = state_copy(&store->kept[0], count);
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
        good = put_row(&next, &rows[i]);
    if (good) return change(store, &next, err);
    state_deinit(&next);
    if (take_fate(store) != CONTROL_SIM_PLAIN || store->down) {
        return err_set(err, ERR_OUTCOME_UNKNOWN, "the control store did not answer");
    }
    return err_set(err, ERR_PRECONDITION, "the row is another one by now");
}

static ErrCode sim_register_root(Control *control, Uuid root, uint64_t *incarnation, Err *err)
{
    ControlStore *store = store_of(control);
    const ControlRoot *known = find_root(&store->kept[0], root);
    if (!store->down && known != NULL && known->verdict == ROOT_LOST) {
        return err_set(err, ERR_FORBIDDEN, "this root was declared lost");
    }
    State next = state_copy(&store->kept[0], 0);
    ControlRoot *row = find_root(&next, root);
    if (row == NULL) {
        row = &next.roots[next.root_count++];
        *row = (ControlRoot){.root = root, .verdict = ROOT_CLEAN};
    }
    uint64_t raised = ++row->incarnation;
    for (size_t i = 0; i < next.shard_count; i++)
        control_follow_incarnation(&next.shards[i].config, root, raised);
    TRY(change(store, &next, err));
    *incarnation = raised;
    return OK;
}

static ErrCode sim_set_verdict(Control *control, Uuid root, RootVerdict verdict, Err *err)
{
    ControlStore *store = store_of(control);
    if (!store->down && find_root(&store->kept[0], root) == NULL) {
        return err_set(err, ERR_NOT_FOUND, "there is no such root");
    }
    State next = state_copy(&store->kept[0], 0);
    ControlRoot *row = find_root(&next, root);
    if (row != NULL) row->verdict = verdict;
    return change(store, &next, err);
}

static ErrCode sim_list_roots(Control *control, ControlRoot *out, size_t max, size_t *count,
                              Err *err)
{
    const State *state = NULL;
    TRY(look(control, &state, err));
    size_t n = MIN(max, state->root_count);
    if (n > 0) memcpy(out, state->roots, n * sizeof *out);
    *count = state->root_count;
    return OK;
}

static ErrCode sim_each_shard(Control *control,
                              ErrCode (*fn)(void *ctx, const ControlShard *row, Err *err),
                              void *ctx, Err *err)
{
    const State *state = NULL;
    TRY(look(control, &state, err));
    for (size_t i = 0; i < state->shard_count; i++)
        TRY(fn(ctx, &state->shards[i], err));
    return OK;
}

static const ControlOps sim_ops = {.name = "sim",
                                   .free = sim_free,
                                   .get = sim_get,
                                   .cas = sim_cas,
                                   .register_root = sim_register_root,
                                   .set_verdict = sim_set_verdict,
                                   .list_roots = sim_list_roots,
                                   .each_shard = sim_each_shard};

ControlStore *control_store_new(void)
{
    ControlStore *store = mem_new(sizeof *store);
    store->kept[0] = state_copy(&(State){0}, 0);
    store->kept_count = 1;
    return store;
}

void control_store_free(ControlStore *store)
{
    if (store == NULL) return;
    for (size_t i = 0; i < store->kept_count; i++)
        state_deinit(&store->kept[i]);
    mem_free(store);
}

Control *control_sim_open(ControlStore *store)
{
    Sim *sim = mem_new(sizeof *sim);
    *sim = (Sim){.control = {.ops = &sim_ops}, .store = store};
    return &sim->control;
}

void control_store_set_down(ControlStore *store, bool down)
{
    store->down = down;
}

void control_store_set_fate(ControlStore *store, ControlSimFate fate)
{
    store->fate = fate;
}

void control_store_keep(ControlStore *store)
{
    while (store->kept_count > 1)
        state_deinit(&store->kept[--store->kept_count]);
}

bool control_store_roll_back(ControlStore *store)
{
    if (store->kept_count < 2) return false;
    state_deinit(&store->kept[0]);
    store->kept_count--;
    memmove(&store->kept[0], &store->kept[1], store->kept_count * sizeof store->kept[0]);
    return true;
}
