/* The storage roots of a process, from their directories to their stores: locked, known by
 * identity, named in the control store, replayed. Used by one thread (main); parts of a Node.
 *
 * One of several that can't be read, or is damaged so that it alone can't decide what it holds, is
 * left out while a majority is left: it is told, and kept for whoever looks. One that is new joins
 * (service/engine_plan.c). What an operator may have got wrong, a directory of somebody else, of
 * another user, in use, is refused. */
#ifndef HOLDFAST_NODE_NODE_ROOTS_H
#define HOLDFAST_NODE_NODE_ROOTS_H

#include "api/rest/rest.h"
#include "service/engine.h"

typedef struct {
    const char *dir; /* not owned */
    Disk *disk;
    RootInfo info;
    uint64_t device; /* of the file system */
    Store *store;
} NodeRoot;

/* A directory that was given and is not served. */
typedef struct {
    const char *dir;
    Disk *disk; /* the control store may go on writing there; NULL: it was never open */
    Err why;
} NodeRootOut;

typedef struct {
    NodeRoot items[ENGINE_ROOTS_MAX];
    unsigned count;
    NodeRootOut out[ENGINE_ROOTS_MAX];
    unsigned out_count;
    Control *control;
    Rng *rng;   /* not owned */
    Rest *rest; /* the same; is told how far the replay is */
    uint64_t logged_ns;
} NodeRoots;

/* A directory is no good: in a form for a person. */
ErrCode node_roots_failed(const char *dir, ErrCode code, Err *err);
/* Locks the directories (made if absent) and reads or makes their identities. Errors: those of
 * root_open(); ERR_CONFIG: one is given twice. */
MUST_USE ErrCode node_roots_open(NodeRoots *roots, const char *const *dirs, unsigned count,
                                 Err *err);
/* What a second process is told of each. */
MUST_USE ErrCode node_roots_tell(NodeRoots *roots, Str who, Err *err);
/* Opens the control store, registers this start, replays the logs; store has all but root and seed.
 * ERR_CONFIG: too many of the copies are in none of these directories. ERR_FOREIGN: one is of
 * another store. */
MUST_USE ErrCode node_roots_recover(NodeRoots *roots, Rest *rest, const StoreOptions *store,
                                    Err *err);
/* As kill -9. */
void node_roots_close_stores(NodeRoots *roots);
void node_roots_close(NodeRoots *roots); /* and the directories */

#endif
