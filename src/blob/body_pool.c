#include "blob/body_pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/thread.h"

#define QUEUE_MAX 65536       /* works: more than requests there can be */
#define LOOK_MS 50            /* between two looks whether the disk stands still */
#define SLOW_NS 8000000000ULL /* that a sync may take more */

/* idle --begin--> out --run--> idle, or given up --drop--> gone */
enum { WORK_IDLE, WORK_OUT, WORK_GIVEN_UP };

typedef struct {
    BodyPool *pool;
    Thread thread;
    _Atomic uint64_t late_ns; /* when what it does is over the time that a disk has; 0: nothing */
} Hand;

struct BodyPool {
    Queue *queue;
    Hand hands[BODY_POOL_THREADS];
    _Atomic bool left;
};

static uint64_t now_ns(void)
{
    return clock_boot_ns(clock_real());
}

/* state is WORK_OUT, until the one who waits gives it up. */
static void do_work(Hand *hand, BodyWork *work)
{
    int out = WORK_OUT;
    if (atomic_load(&work->state) == WORK_OUT) {
        atomic_store(&hand->late_ns, now_ns() + (work->slow ? SLOW_NS : 0));
        work->run(work->arg);
        atomic_store(&hand->late_ns, 0);
    }
    if (atomic_compare_exchange_strong(&work->state, &out, WORK_IDLE))
        wake_set(&work->done);
    else
        work->drop(work->arg);
}

/* Ends when the queue is closed and empty. */
static void hand_run(void *arg)
{
    Hand *hand = arg;
    void *work = NULL;
    while (queue_pop_wait(hand->pool->queue, &work, 1, -1) == 1)
        do_work(hand, work);
}

ErrCode body_pool_open(BodyPool **out, Err *err)
{
    BodyPool *pool = mem_new(sizeof *pool);
    ErrCode code = OK;
    pool->queue = queue_new(QUEUE_MAX);
    for (unsigned i = 0; i < BODY_POOL_THREADS && code == OK; i++) {
        pool->hands[i].pool = pool;
        code = thread_start(&pool->hands[i].thread, "body", hand_run, &pool->hands[i], err);
    }
    if (code == OK)
        *out = pool;
    else
        body_pool_close(pool);
    return code;
}

void body_pool_close(BodyPool *pool)
{
    if (pool == NULL) return;
    queue_close(pool->queue);
    for (unsigned i = 0; i < BODY_POOL_THREADS; i++)
        thread_join(&pool->hands[i].thread);
    queue_free(pool->queue);
    mem_free(pool);
}

uint64_t body_pool_still_ns(BodyPool *pool)
{
    uint64_t now = now_ns();
    uint64_t still = 0;
    for (unsigned i = 0; i < BODY_POOL_THREADS; i++) {
        uint64_t late = atomic_load(&pool->hands[i].late_ns);
        if (late != 0 && now > late) still = MAX(still, now - late);
    }
    return still;
}

void body_pool_leave(BodyPool *pool, bool left)
{
    atomic_store(&pool->left, left);
}

void body_work_init(BodyWork *work, void (*run)(void *arg), void (*drop)(void *arg), void *arg)
{
    work->run = run;
    work->drop = drop;
    work->arg = arg;
    atomic_store(&work->state, WORK_IDLE);
    wake_init(&work->done);
}

void body_pool_begin(BodyPool *pool, BodyWork *work, bool slow)
{
    ASSERT(atomic_load(&work->state) == WORK_IDLE);
    work->slow = slow;
    atomic_store(&work->state, WORK_OUT);
    ErrCode code = queue_push_wait(pool->queue, work);
    ASSERT(code == OK); /* whoever writes has ended before the pool is closed */
}

bool body_pool_wait(BodyPool *pool, BodyWork *work)
{
    for (;;) {
        int out = WORK_OUT;
        if (wake_wait(&work->done, LOOK_MS)) return true;
        if (!atomic_load(&pool->left) && body_pool_still_ns(pool) < BODY_POOL_STILL_NS) continue;
        if (atomic_compare_exchange_strong(&work->state, &out, WORK_GIVEN_UP)) return false;
    }
}

void body_pool_give(BodyPool *pool, BodyWork *work)
{
    ASSERT(atomic_load(&work->state) == WORK_IDLE);
    atomic_store(&work->state, WORK_GIVEN_UP);
    ErrCode code = queue_push_wait(pool->queue, work);
    ASSERT(code == OK); /* as before */
}
