/* The history of one run, and whether it is linearizable: every change and every read of a key with
 * its beginning, its end and its answer. Each key is checked by itself (Wing and Gong's search with
 * a memo of states, as in Lowe, "Testing for linearizability", 2017): there must be one order of
 * its operations in which each takes place between its beginning and its end and each answer is
 * right. A change of which the outcome is not known took place once, or never; it ends when the
 * next start has made up its mind. Entries of a list are reads of their keys, from the list's
 * beginning on. One thread. */
#ifndef HOLDFAST_TEST_LIB_HISTORY_H
#define HOLDFAST_TEST_LIB_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_NONE UINT64_MAX /* no such operation */

typedef enum {
    HISTORY_READ,     /* saw value; 0: absent */
    HISTORY_WRITE,    /* value, whatever was there */
    HISTORY_CREATE,   /* value, if the key was absent */
    HISTORY_SWAP,     /* value (0: delete), if expected was there */
    HISTORY_DELETE,   /* whatever was there; refused: it was absent */
    HISTORY_CHANGE,   /* value (0: delete), if anything was there */
    HISTORY_FALL_BACK /* history_fall_back() */
} HistoryKind;

typedef struct History History;

History *history_new(void);
void history_free(History *history); /* NULL is fine */

/* An operation on key begins now; returns its number. */
uint64_t history_begin(History *history, unsigned key, HistoryKind kind, uint64_t value,
                       uint64_t expected);
/* It was done: the change took place. */
void history_done(History *history, uint64_t op);
/* Its condition did not hold. */
void history_refused(History *history, uint64_t op);
/* It certainly did not take place, and says nothing of the key. */
void history_void(History *history, uint64_t op);
/* The present moment, for history_read(). */
uint64_t history_now(const History *history);
/* A read that began at moment and ends now, and saw value. */
void history_read(History *history, unsigned key, uint64_t value, uint64_t moment);
/* Of a key whose changes may be acknowledged and lost: from now on it may be so, until
 * history_fell_back(), where the key is as it was, or as one of values made it (0: absent; count of
 * them, at most HISTORY_VALUES). */
#define HISTORY_VALUES 32
uint64_t history_fall_back(History *history, unsigned key);
void history_fell_back(History *history, uint64_t op, const uint64_t *values, unsigned count);
/* The process died, and the next one is ready: what was under way took place by now, or never. */
void history_settled(History *history);

typedef struct {
    uint64_t ops;
    uint64_t unknown; /* of these, outcomes that nobody was told */
    uint64_t states;  /* that the search looked at */
    uint64_t gave_up; /* keys with more operations under way at once than the search takes */
} HistoryStats;

/* Checks all keys. False: *key is one whose history has no order. */
bool history_check(History *history, unsigned *key, HistoryStats *stats);

#endif
