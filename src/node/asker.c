#include "node/asker.h"

#include "base/thread.h"

struct Asker {
    Control *control;
    Queue *told;
    Queue *asked;
    Thread thread;
};

/* Ends when its queue is closed and empty. */
static void asker_run(void *arg)
{
    Asker *asker = arg;
    void *job = NULL;
    while (queue_pop_wait(asker->asked, &job, 1, -1) == 1) {
        control_job_run(job, asker->control);
        ErrCode code = queue_push(asker->told, job);
        ASSERT(code == OK); /* there is one at most */
    }
}

ErrCode asker_open(Control *control, Queue *told, Asker **out, Err *err)
{
    Asker *asker = mem_new(sizeof *asker);
    asker->control = control;
    asker->told = told;
    asker->asked = queue_new(1);
    ErrCode code = thread_start(&asker->thread, "control", asker_run, asker, err);
    if (code == OK)
        *out = asker;
    else
        asker_close(asker);
    return code;
}

void asker_ask(Asker *asker, ControlJob *job)
{
    ErrCode code = queue_push(asker->asked, job);
    ASSERT(code == OK); /* there is one at most, and it closes after the core */
}

void asker_close(Asker *asker)
{
    if (asker == NULL) return;
    queue_close(asker->asked);
    thread_join(&asker->thread);
    queue_free(asker->asked);
    mem_free(asker);
}
