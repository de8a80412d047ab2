/* Large bodies that the entries of a root's log name. As a rule they are there, since uploads go to
 * all roots in sync; what is missing is brought from another root before the entry is durable here.
 *
 * A root that has no room for one above its reserve, and that the others can do without (it is
 * spared), does not take it: it says that it lacks something, waits until it is left, and then its
 * log goes on without the body, which it owes. So deletions reach it, which make room; then it
 * takes what it owes, and counts again. A start with something owed has the root given everything
 * anew (store_owe()).
 *
 * Belongs to the WAL writer of the root, but for what says otherwise. */
#ifndef HOLDFAST_NODE_OWED_H
#define HOLDFAST_NODE_OWED_H

#include "base/wake.h"
#include "service/engine.h"

typedef struct Owed Owed;

typedef struct {
    unsigned root; /* for messages */
    Store *store;  /* not owned, like the next */
    Store *others[ENGINE_ROOTS_MAX - 1];
    unsigned other_count;
    Wake *wake; /* the writer's */
    Clock *clock;
} OwedOptions;

Owed *owed_new(const OwedOptions *options);
void owed_free(Owed *owed); /* NULL is fine */
/* Any thread. spared: enough others are in sync, and have room. left: nothing is acknowledged on
 * this root's word. */
void owed_set(Owed *owed, bool spared, bool left);
/* Any thread: it lacks a body, and must not count. */
bool owed_lacks(const Owed *owed);
/* Any thread: nothing is waited for any more. */
void owed_give_up(Owed *owed);
/* The bodies of item's entry are here, or owed. Errors: those of the copy; what was refused for
 * want of room is done when it is called again. */
MUST_USE ErrCode owed_bring(Owed *owed, const LogItem *item, Err *err);
/* Takes one of what is owed, if there is room. True: more may be done at once. Now and then. */
bool owed_take(Owed *owed);

AUTO_DEFINE(Owed, owed_free);

#endif
