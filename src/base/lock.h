/* The only mutexes of the tree. Each has a rank; a thread takes them in rising rank only, which
 * is asserted in every build. The table of ranks is LockRank and, with reasons, in
 * docs/architecture.md. Code above base uses queues and snapshots first and a Lock last. */
#ifndef HOLDFAST_BASE_LOCK_H
#define HOLDFAST_BASE_LOCK_H

#include "base/check.h"
#include <pthread.h>

typedef enum {
    LOCK_RANK_APPLIER = 5, /* whose turn it is to hand the applier a step */
    LOCK_RANK_STORE = 10,  /* store's tables of open packs, pins */
    LOCK_RANK_WAL = 20,    /* wal's table of segments and their descriptors */
    LOCK_RANK_TABLE = 30,  /* the table of un-applied records (read-write) */
    LOCK_RANK_INDEX = 40,  /* the SQLite VFS's in-process shared memory locks */
    LOCK_RANK_BLOB = 50,
    LOCK_RANK_AUDIT_GATE = 54, /* how much refused access the audit log was told */
    LOCK_RANK_AUDIT = 55,      /* the end of the audit log's chain */
    LOCK_RANK_DISK = 60,       /* the simulated disk */
    LOCK_RANK_QUEUE = 70,
    LOCK_RANK_RISK = 75, /* store's list of damage: found on any path */
    LOCK_RANK_METRIC = 80,
    LOCK_RANK_LOG = 90,    /* nearly last: anything may log */
    LOCK_RANK_FAULT = 100, /* last: a fault point may stand anywhere (test builds only) */
} LockRank;

typedef struct {
    pthread_mutex_t mutex;
    LockRank rank;
} Lock;

typedef struct {
    pthread_rwlock_t rwlock;
    LockRank rank;
} RwLock;

/* For static locks: static Lock lock = LOCK_INIT(LOCK_RANK_METRIC); */
#define LOCK_INIT(lock_rank)                                                                       \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, (lock_rank)                                                     \
    }

void lock_init(Lock *lock, LockRank rank);
void lock_deinit(Lock *lock);
void lock_take(Lock *lock);
void lock_give(Lock *lock);

void rwlock_init(RwLock *lock, LockRank rank);
void rwlock_deinit(RwLock *lock);
void rwlock_read(RwLock *lock);
void rwlock_write(RwLock *lock);
void rwlock_give(RwLock *lock);

#endif
