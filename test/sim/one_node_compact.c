#include "one_node_compact.h"

#include "pack_truth.h"
#include "store/store_priv.h"

void sim_compact_close(SimCompact *compact)
{
    compactor_free(TAKE(compact->compactor));
    compact->step_out = false;
}

static uint64_t do_step(SimCompact *compact, Model *model, NodeKit *kit)
{
    Err err = {0};
    ErrCode code = store_compact(kit->store, compactor_step(compact->compactor), &err);
    compactor_done(compact->compactor, code);
    compact->step_out = false;
    if (code == ERR_CORRUPT || code == ERR_BUSY) model_fail(model, "compact: %s", err_text(&err));
    return (uint64_t)code;
}

uint64_t sim_compact(SimCompact *compact, Model *model, NodeKit *kit, Rng *rng)
{
    Err err = {0};
    if (compact->step_out) return do_step(compact, model, kit);
    CompactOptions options = {.dead_percent = 1 + (unsigned)rng_below(rng, 60),
                              .look_again_ms = 1 + rng_below(rng, 3)};
    ErrCode code = OK;
    if (compact->compactor == NULL)
        code = compactor_open(kit->store, &options, &compact->compactor, &err);
    CompactTurn turn = COMPACT_NOTHING;
    uint64_t read = 0;
    uint64_t bytes = 1 + rng_below(rng, 64 * KIB);
    if (code == OK)
        code = compactor_work(compact->compactor, bytes, UINT64_MAX, &turn, &read, &err);
    compact->step_out = turn == COMPACT_STEP;
    if (code == ERR_CORRUPT) model_fail(model, "compact: %s", err_text(&err));
    if (risk_places(kit->store->risk) > 0 && !model->reads_may_fail)
        model_fail(model, "compaction sees damage");
    return (uint64_t)turn << 32 | read;
}

void sim_compact_check(Model *model, NodeKit *kit)
{
    Err err = {0};
    if (pack_truth_check(kit->store, &err) != OK) model_fail(model, "%s", err_text(&err));
}
