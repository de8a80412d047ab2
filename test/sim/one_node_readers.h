/* Readers of the one-node simulator that stay open between its steps, each with a StoreReader of
 * its own: one holds what it found and reads the body later, when it may have moved; one walks a
 * list in pages while changes are committed, applied and checkpointed. One thread. */
#ifndef HOLDFAST_TEST_SIM_ONE_NODE_READERS_H
#define HOLDFAST_TEST_SIM_ONE_NODE_READERS_H

#include "one_node_model.h"

typedef struct {
    Model *model;
    NodeKit *kit;

    StoreReader *finder;
    bool holds; /* found is of value */
    unsigned bucket;
    unsigned key;
    StoreFound found;
    ValueId value;
    uint64_t moment; /* it was found */

    StoreReader *lister;
    StoreList *list; /* NULL: none is under way */
    StoreListOptions options;
    unsigned list_bucket;
    uint64_t list_moment;     /* it began */
    Buf last;                 /* what the list gave last; empty: nothing */
    bool always[MODEL_SLOTS]; /* there at every step since the list began */
    bool ever[MODEL_SLOTS];   /* there at some step since */
    bool seen[MODEL_SLOTS];
} Readers;

void readers_init(Readers *readers, Model *model, NodeKit *kit);
/* Of a ready node. */
void readers_open(Readers *readers);
/* Before the node is closed or dropped. */
void readers_close(Readers *readers);
/* After each step of the simulator: the list must know what it may show. */
void readers_note(Readers *readers);
/* Finds a file, or reads the one found at an earlier step. Returns what to trace. */
uint64_t readers_find(Readers *readers, Rng *rng);
/* Begins a list, or takes one entry of it. Returns what to trace. */
uint64_t readers_list(Readers *readers, Rng *rng);

#endif
