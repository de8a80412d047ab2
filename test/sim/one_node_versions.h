/* The one-node simulator's bucket with versions: a few names, one change of each under way at a
 * time, and beside them the versions that each must have. Its settings go from on to suspended and
 * back. It draws from a sequence of its own. One thread. */
#ifndef HOLDFAST_TEST_SIM_ONE_NODE_VERSIONS_H
#define HOLDFAST_TEST_SIM_ONE_NODE_VERSIONS_H

#include "one_node_model.h"

#define VERSIONED_NAMES 4
#define VERSIONED_MAX 40 /* versions of a name; then some are deleted */

typedef struct {
    VersionId id;
    ValueId value; /* 0: a delete marker */
    uint64_t size;
    Sha256 digest;
    bool null_version;
} SimVersion;

/* Newest first. */
typedef struct {
    SimVersion items[VERSIONED_MAX + 1];
    unsigned count;
    FileId file; /* of all of them */
} SimName;

typedef struct {
    bool used;
    bool answered;
    ValueId value; /* what it writes; 0: it deletes */
    bool by_id;
    SimVersion made; /* without its id */
    VersionId target;
    Versioning versioning; /* of the bucket */
    Mutation m;
    Extent extent;
    Buf body;
} VersionedOp;

typedef struct {
    Model *model; /* for failures, and what excuses them */
    NodeKit *kit;
    Rng rng;
    bool exists;
    Versioning versioning;
    bool setting; /* its settings are under way */
    Mutation set;
    SimName names[VERSIONED_NAMES];
    VersionedOp ops[VERSIONED_NAMES];
    ValueId next_value;
    uint64_t changes; /* acknowledged */
} SimVersions;

void versions_init(SimVersions *v, Model *model, NodeKit *kit, uint64_t seed);
void versions_deinit(SimVersions *v);
/* Perhaps begins a change; what it did, for the trace. */
uint64_t versions_step(SimVersions *v);
/* The process died: what was under way may or may not have happened. */
void versions_crashed(SimVersions *v);
/* Lists and reads all versions. after_crash: settles what was under way. */
void versions_compare(SimVersions *v, bool after_crash);
/* Nothing waits to be applied: the index counts what the bucket holds. */
void versions_check_usage(SimVersions *v);

#endif
