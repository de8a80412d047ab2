/* Damage at rest for the one-node simulator: a flipped bit, a sector of zeros, a block as it was
 * before (a write that was lost), a block that another one's bytes stand in (a write that went
 * elsewhere). It strikes a copy of the disk that a power failure left, one file a time, and the
 * node is started on it. One root has no second copy, so what may come of it depends on the file:
 *
 *   log        refused, the file named; or it struck nothing that counts, and all is right. Where
 *              the log was attested it is always refused. Put right again, all is right.
 *   packs,     every file listed; those whose bytes were struck are damaged or right, all others
 *   blobs      right. Put right again, all is right.
 *   index      refused, or a row that can't be read says so: never a wrong row
 *   root.json, control.json   refused, the file named, or all is right
 *
 * The atlas (DamageBounds) keeps what nobody could tell from a torn write: the newest batch of the
 * log as long as nothing durable attests it. One thread. */
#ifndef HOLDFAST_TEST_SIM_ONE_NODE_DAMAGE_H
#define HOLDFAST_TEST_SIM_ONE_NODE_DAMAGE_H

#include "disk/sim.h"
#include "one_node_model.h"

/* What the log was known to attest when the node died. */
typedef struct {
    uint64_t active_segment;
    WalPos attested;
} DamageBounds;

/* What came of all sessions of this process. */
typedef struct {
    uint64_t sessions;
    uint64_t refused; /* starts */
    uint64_t damaged; /* files that said so */
    uint64_t unread;  /* index reads that said so */
} DamageCounts;

extern DamageCounts damage_counts;

/* One damage to a copy of crashed, which has nothing pending and of which model knows what it holds
 * (every outcome settled). older: the disk at an earlier time, or NULL. A wrong outcome is
 * model_fail(). Returns what to trace. */
uint64_t damage_session(Model *model, const Disk *crashed, const Disk *older,
                        const DamageBounds *bounds, const NodeKitOptions *options, Rng *rng);

#endif
