/* Compaction in the one-node simulator: turns of the Compactor and steps of the applier, with other
 * work in between, and a look at what the packs say without the index. */
#ifndef HOLDFAST_TEST_SIM_ONE_NODE_COMPACT_H
#define HOLDFAST_TEST_SIM_ONE_NODE_COMPACT_H

#include "one_node_model.h"
#include "store/compact.h"

typedef struct {
    Compactor *compactor; /* NULL: opened by the next turn */
    bool step_out;
} SimCompact;

/* One turn, or the step that waits. What a trace should tell. */
uint64_t sim_compact(SimCompact *compact, Model *model, NodeKit *kit, Rng *rng);
/* Before the store goes. */
void sim_compact_close(SimCompact *compact);
/* The disk has no faults: do the packs alone say what the index says? */
void sim_compact_check(Model *model, NodeKit *kit);

#endif
