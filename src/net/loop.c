#include "net/loop.h"

#include "base/mem.h"
#include "base/thread.h"
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The wake-up is an eventfd of our own: uv_async_t, which has one too, spins while the thread that
 * sent it has not returned, which a busy machine may take a while to let it. */
struct Loop {
    uv_loop_t uv;
    uv_poll_t wake;
    int wake_fd;
    _Atomic(LoopTask *) posted; /* newest first; taken all at once */
    void *room;                 /* NULL until it is needed */
    size_t room_size;
    Thread thread;
    unsigned index;
    bool started;
};

struct LoopTimer {
    uv_timer_t uv;
    LoopFn fn;
    void *arg;
};

/* The loop whose thread this is. */
static _Thread_local Loop *current_loop;

static void run_posted(uv_poll_t *wake, int status, int events)
{
    Loop *loop = wake->data;
    uint64_t count;
    UNUSED(status);
    UNUSED(events);
    /* Before the tasks are taken: who posts behind that sets it again. */
    ssize_t got = read(loop->wake_fd, &count, sizeof count);
    ASSERT(got == sizeof count || errno == EAGAIN);
    LoopTask *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    LoopTask *oldest = NULL;
    while (newest != NULL) {
        LoopTask *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        LoopTask *next = oldest->next; /* fn may free the task */
        oldest->fn(oldest->arg);
        oldest = next;
    }
}

ErrCode loop_open(unsigned index, Loop **out, Err *err)
{
    Loop *loop = mem_new(sizeof *loop);
    loop->index = index;
    int status = uv_loop_init(&loop->uv);
    if (status != 0) {
        mem_free(loop);
        return err_set_errno(err, ERR_SYSTEM, -status, "make an event loop");
    }
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int saved = errno;
    if (loop->wake_fd >= 0) saved = -uv_poll_init(&loop->uv, &loop->wake, loop->wake_fd);
    if (loop->wake_fd < 0 || saved != 0) {
        int closed = uv_loop_close(&loop->uv);
        ASSERT(closed == 0);
        if (loop->wake_fd >= 0) close(loop->wake_fd);
        mem_free(loop);
        return err_set_errno(err, ERR_SYSTEM, saved, "make the wake-up of an event loop");
    }
    loop->wake.data = loop;
    status = uv_poll_start(&loop->wake, UV_READABLE, run_posted);
    ASSERT(status == 0); /* it is readable, and not closing */
    *out = loop;
    return OK;
}

static void run_loop(void *arg)
{
    current_loop = arg;
    (void)uv_run(&current_loop->uv, UV_RUN_DEFAULT); /* 0: nothing is left to wait for */
    current_loop = NULL;
}

ErrCode loop_start(Loop *loop, Err *err)
{
    ASSERT(!loop->started);
    char name[16];
    snprintf(name, sizeof name, "http-%u", loop->index);
    loop->started = true; /* before the thread can look at it */
    ErrCode code = thread_start(&loop->thread, name, run_loop, loop, err);
    if (code != OK) loop->started = false;
    return code;
}

static void close_wake(void *arg)
{
    Loop *loop = arg;
    uv_close((uv_handle_t *)&loop->wake, NULL);
}

void loop_close(Loop *loop)
{
    if (loop == NULL) return;
    LoopTask task = {.fn = close_wake, .arg = loop};
    loop_post(loop, &task);
    if (loop->started)
        thread_join(&loop->thread);
    else
        run_loop(loop);
    int status = uv_loop_close(&loop->uv);
    ASSERT(status == 0);
    close(loop->wake_fd);
    mem_free(loop->room);
    mem_free(loop);
}

void *loop_room(Loop *loop, size_t size)
{
    ASSERT(loop_is_mine(loop) && (loop->room == NULL || loop->room_size == size));
    if (loop->room == NULL) loop->room = mem_new(size);
    loop->room_size = size;
    return loop->room;
}

void loop_post(Loop *loop, LoopTask *task)
{
    ASSERT(task->fn != NULL);
    LoopTask *newest = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do {
        task->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&loop->posted, &newest, task,
                                                    memory_order_release, memory_order_relaxed));
    if (newest != NULL) return; /* whoever posted that one wakes the loop */
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof one);
    ASSERT(written == sizeof one); /* the count is far from its end */
}

typedef struct {
    LoopTask task;
    LoopFn fn;
    void *arg;
    uv_sem_t done; /* not a Queue: its pusher still looks at it when the caller may free it */
} LoopCall;

static void run_call(void *arg)
{
    LoopCall *call = arg;
    call->fn(call->arg);
    uv_sem_post(&call->done);
}

void loop_call(Loop *loop, LoopFn fn, void *arg)
{
    if (!loop->started) {
        fn(arg);
        return;
    }
    ASSERT(current_loop == NULL);
    LoopCall call = {.fn = fn, .arg = arg};
    int status = uv_sem_init(&call.done, 0);
    ASSERT(status == 0);
    call.task = (LoopTask){.fn = run_call, .arg = &call};
    loop_post(loop, &call.task);
    uv_sem_wait(&call.done);
    uv_sem_destroy(&call.done);
}

static void run_work(uv_work_t *uv)
{
    LoopWork *work = uv->data;
    work->work(work->arg);
}

static void after_work(uv_work_t *uv, int status)
{
    LoopWork *work = uv->data;
    ASSERT(status == 0); /* nobody cancels */
    work->done(work->arg);
}

void loop_work(Loop *loop, LoopWork *work)
{
    ASSERT(loop_is_mine(loop));
    work->uv.data = work;
    int status = uv_queue_work(&loop->uv, &work->uv, run_work, after_work);
    ASSERT(status == 0);
}

unsigned loop_index(const Loop *loop)
{
    return loop->index;
}

bool loop_is_mine(const Loop *loop)
{
    return !loop->started || current_loop == loop;
}

uint64_t loop_now_ms(const Loop *loop)
{
    return uv_now(&loop->uv);
}

uv_loop_t *loop_uv(Loop *loop)
{
    return &loop->uv;
}

static void on_timer(uv_timer_t *uv)
{
    LoopTimer *timer = uv->data;
    timer->fn(timer->arg);
}

LoopTimer *loop_timer_new(Loop *loop, uint64_t first_ms, uint64_t repeat_ms, LoopFn fn, void *arg)
{
    ASSERT(loop_is_mine(loop));
    LoopTimer *timer = mem_new(sizeof *timer);
    timer->fn = fn;
    timer->arg = arg;
    timer->uv.data = timer;
    int status = uv_timer_init(&loop->uv, &timer->uv);
    ASSERT(status == 0);
    timer->uv.data = timer;
    status = uv_timer_start(&timer->uv, on_timer, first_ms, repeat_ms);
    ASSERT(status == 0);
    return timer;
}

static void on_timer_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void loop_timer_free(LoopTimer *timer)
{
    if (timer == NULL) return;
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}
