#include "base/lock.h"

/* What the calling thread holds, in the order taken: ranks rise strictly. */
#define HELD_MAX 16
typedef struct {
    const void *lock;
    LockRank rank;
} Held;
static _Thread_local Held held[HELD_MAX];
static _Thread_local unsigned held_count;

/* Before the lock is waited for, so that a wrong order aborts even when it would not deadlock. */
static void held_check(LockRank rank)
{
    ASSERT(held_count < HELD_MAX);
    ASSERT(held_count == 0 || held[held_count - 1].rank < rank);
}

static void held_push(const void *lock, LockRank rank)
{
    held[held_count++] = (Held){lock, rank};
}

/* Locks may be given back in any order. */
static void held_remove(const void *lock)
{
    unsigned at = held_count;
    while (at > 0 && held[at - 1].lock != lock)
        at--;
    ASSERT(at > 0 && "this thread holds the lock");
    for (; at < held_count; at++)
        held[at - 1] = held[at];
    held_count--;
}

void lock_init(Lock *lock, LockRank rank)
{
    lock->rank = rank;
    ASSERT(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void lock_deinit(Lock *lock)
{
    ASSERT(pthread_mutex_destroy(&lock->mutex) == 0);
}

void lock_take(Lock *lock)
{
    held_check(lock->rank);
    ASSERT(pthread_mutex_lock(&lock->mutex) == 0);
    held_push(lock, lock->rank);
}

void lock_give(Lock *lock)
{
    held_remove(lock);
    ASSERT(pthread_mutex_unlock(&lock->mutex) == 0);
}

void rwlock_init(RwLock *lock, LockRank rank)
{
    lock->rank = rank;
    /* Writers first: glibc's default lets a stream of readers starve them for ever. A thread never
     * reads the same lock twice at once (the ranks forbid it), which this kind asks for. */
    pthread_rwlockattr_t attr;
    ASSERT(pthread_rwlockattr_init(&attr) == 0);
    ASSERT(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    ASSERT(pthread_rwlock_init(&lock->rwlock, &attr) == 0);
    ASSERT(pthread_rwlockattr_destroy(&attr) == 0);
}

void rwlock_deinit(RwLock *lock)
{
    ASSERT(pthread_rwlock_destroy(&lock->rwlock) == 0);
}

void rwlock_read(RwLock *lock)
{
    held_check(lock->rank);
    ASSERT(pthread_rwlock_rdlock(&lock->rwlock) == 0);
    held_push(lock, lock->rank);
}

void rwlock_write(RwLock *lock)
{
    held_check(lock->rank);
    ASSERT(pthread_rwlock_wrlock(&lock->rwlock) == 0);
    held_push(lock, lock->rank);
}

void rwlock_give(RwLock *lock)
{
    held_remove(lock);
    ASSERT(pthread_rwlock_unlock(&lock->rwlock) == 0);
}
