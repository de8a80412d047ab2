#include "control/local/writers.h"

#include <string.h>

#include "base/clock.h"
#include "base/queue.h"
#include "base/thread.h"

#define JOBS_MAX 2 /* at one disk: the last, and none while it is busy */

/* A text for one disk; the thread's until it is in `done`. */
typedef struct {
    unsigned disk;
    uint64_t number; /* of the text */
    char *text;
    size_t len;
    ErrCode code;
    Err err;
} Job;

typedef struct {
    Writers *writers;
    Disk *disk; /* NULL: there is none */
    Queue *jobs;
    Thread thread;
    bool busy;      /* a job is out */
    uint64_t has;   /* the newest text that it has durably */
    uint64_t tried; /* the newest text that it answered for … */
    ErrCode code;   /* … like this */
} Place;

struct Writers {
    const char *path;
    size_t count;
    Place places[MEMBERS_MAX];
    Queue *done;
    uint64_t number; /* of the last text */
    char *text;
    size_t len;
};

static void job_free(Job *job)
{
    mem_free(job->text);
    mem_free(job);
}

/* Ends when its queue is closed and empty. */
static void writer_run(void *arg)
{
    Place *place = arg;
    void *item = NULL;
    while (queue_pop_wait(place->jobs, &item, 1, -1) == 1) {
        Job *job = item;
        job->code = disk_replace_durable(place->disk, place->writers->path,
                                         str_of(job->text, job->len), &job->err);
        ErrCode code = queue_push(place->writers->done, job);
        ASSERT(code == OK); /* room for one of each disk */
    }
}

ErrCode writers_open(Disk *const *disks, size_t count, const char *path, Writers **out, Err *err)
{
    ASSERT(count >= 1 && count <= MEMBERS_MAX);
    Writers *writers = mem_new(sizeof *writers);
    ErrCode code = OK;
    writers->path = path;
    writers->count = count;
    writers->done = queue_new(JOBS_MAX * MEMBERS_MAX);
    for (size_t i = 0; i < count && code == OK; i++) {
        Place *place = &writers->places[i];
        if (disks[i] == NULL) continue;
        place->writers = writers;
        place->disk = disks[i];
        place->jobs = queue_new(JOBS_MAX);
        code = thread_start(&place->thread, "control", writer_run, place, err);
    }
    if (code == OK) {
        *out = writers;
        return OK;
    }
    bool closed = writers_close(writers, UINT32_MAX);
    ASSERT(closed); /* they had nothing to do */
    return code;
}

/* What came back. */
static void take_answer(Writers *writers, Job *job, Err *err)
{
    Place *place = &writers->places[job->disk];
    place->busy = false;
    place->tried = job->number;
    place->code = job->code;
    if (job->code == OK)
        place->has = job->number;
    else
        *err = job->err;
    job_free(job);
}

static void give(Writers *writers, unsigned i)
{
    Place *place = &writers->places[i];
    Job *job = mem_new(sizeof *job);
    job->disk = i;
    job->number = writers->number;
    job->text = mem_new(writers->len + 1);
    memcpy(job->text, writers->text, writers->len);
    job->len = writers->len;
    place->busy = true;
    ErrCode code = queue_push(place->jobs, job);
    ASSERT(code == OK); /* it had none */
}

static size_t having(const Writers *writers)
{
    size_t count = 0;
    for (size_t i = 0; i < writers->count; i++)
        count += writers->places[i].disk != NULL && writers->places[i].has == writers->number;
    return count;
}

/* Can any more come to have it? One that is busy with an older text gets it afterwards. */
static bool any_busy(const Writers *writers)
{
    bool busy = false;
    for (size_t i = 0; i < writers->count; i++)
        busy = busy || writers->places[i].busy;
    return busy;
}

/* To all that lack it, are free, and did not fail with it in this call. */
static void give_all(Writers *writers, bool again)
{
    for (unsigned i = 0; i < writers->count; i++) {
        Place *place = &writers->places[i];
        bool failed = place->tried == writers->number && place->code != OK;
        if (place->disk == NULL || place->busy || place->has == writers->number) continue;
        if (again || !failed) give(writers, i);
    }
}

size_t writers_repeat(Writers *writers, int timeout_ms, Err *err)
{
    uint64_t end_ns = clock_boot_ns(clock_real()) + (uint64_t)timeout_ms * 1000000;
    void *job = NULL;
    bool again = true;
    for (;;) {
        while (queue_pop(writers->done, &job, 1) == 1)
            take_answer(writers, job, err);
        give_all(writers, again);
        again = false;
        uint64_t now_ns = clock_boot_ns(clock_real());
        bool enough = having(writers) * 2 > writers->count;
        if (enough || !any_busy(writers) || now_ns >= end_ns) break;
        int left_ms = (int)((end_ns - now_ns) / 1000000) + 1;
        if (queue_pop_wait(writers->done, &job, 1, left_ms) == 1) take_answer(writers, job, err);
    }
    size_t count = having(writers);
    if (count * 2 <= writers->count && any_busy(writers)) {
        ErrCode code = err_set(err, ERR_IO, "a disk did not answer within %d ms", timeout_ms);
        UNUSED(code); /* it is in err */
    }
    return count;
}

size_t writers_write(Writers *writers, Str text, int timeout_ms, Err *err)
{
    mem_free(writers->text);
    writers->text = mem_new(text.len + 1);
    memcpy(writers->text, text.ptr, text.len);
    writers->len = text.len;
    writers->number++;
    return writers_repeat(writers, timeout_ms, err);
}

bool writers_close(Writers *writers, uint32_t timeout_ms)
{
    bool ended = true;
    if (writers == NULL) return true;
    for (size_t i = 0; i < writers->count; i++) {
        if (writers->places[i].jobs != NULL) queue_close(writers->places[i].jobs);
    }
    for (size_t i = 0; i < writers->count; i++)
        ended = thread_join_within(&writers->places[i].thread, timeout_ms) && ended;
    if (!ended) return false;
    void *job = NULL;
    while (queue_pop(writers->done, &job, 1) == 1)
        job_free(job);
    for (size_t i = 0; i < writers->count; i++)
        queue_free(writers->places[i].jobs);
    queue_free(writers->done);
    mem_free(writers->text);
    mem_free(writers);
    return true;
}
