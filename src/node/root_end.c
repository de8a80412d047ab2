#include "node/root_end.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/thread.h"

#define SLICE_MS 20 /* between two looks at who is done */

/* What is to be done with a root. */
typedef struct {
    StorageRoot *root; /* NULL: nothing */
    ErrCode code;      /* of that */
    Err err;
    bool stuck; /* it did not end in time */
} RootEnd;

typedef struct {
    StorageRoot *root;
    ErrCode (*fn)(StorageRoot *root, Err *err);
    ErrCode code;
    Err err;
    Thread thread;
} Job; /* the thread's until it has ended */

static void job_run(void *arg)
{
    Job *job = arg;
    job->code = job->fn(job->root, &job->err);
}

/* True: it is done. */
static bool take(RootEnd *end, Job **job)
{
    if (*job == NULL) return true;
    if (!thread_join_within(&(*job)->thread, SLICE_MS)) return false;
    end->code = (*job)->code;
    end->err = (*job)->err;
    mem_free(TAKE(*job));
    return true;
}

static Job *begin(RootEnd *end, ErrCode (*fn)(StorageRoot *root, Err *err))
{
    if (end->root == NULL) return NULL;
    Job *job = mem_new(sizeof *job);
    job->root = end->root;
    job->fn = fn;
    if (thread_start(&job->thread, "root-end", job_run, job, &end->err) == OK) return job;
    mem_free(job);
    end->code = fn(end->root, &end->err);
    return NULL;
}

/* fn(root) for each of ends; `enough` that are done, or had nothing to do, are enough. One alone is
 * done here, and waited for. */
static void end_all(RootEnd *ends, unsigned count, unsigned enough,
                    ErrCode (*fn)(StorageRoot *root, Err *err))
{
    Job *jobs[ENGINE_ROOTS_MAX] = {NULL};
    ASSERT(count >= 1 && count <= ENGINE_ROOTS_MAX);
    if (count == 1) {
        if (ends[0].root != NULL) ends[0].code = fn(ends[0].root, &ends[0].err);
        return;
    }
    for (unsigned r = 0; r < count; r++)
        jobs[r] = begin(&ends[r], fn);
    uint64_t end_ms = clock_boot_ns(clock_real()) / 1000000 + ROOT_END_MOST_MS;
    bool is_enough = false;
    for (;;) {
        unsigned done = 0;
        for (unsigned r = 0; r < count; r++)
            done += take(&ends[r], &jobs[r]);
        uint64_t now_ms = clock_boot_ns(clock_real()) / 1000000;
        if (done >= enough && !is_enough) {
            is_enough = true;
            end_ms = MIN(end_ms, now_ms + ROOT_END_MORE_MS);
        }
        if (done == count || now_ms >= end_ms) break;
    }
    for (unsigned r = 0; r < count; r++)
        ends[r].stuck = jobs[r] != NULL;
}

static void end_roots(StorageRoot *const *roots, unsigned count, bool *stuck,
                      ErrCode (*fn)(StorageRoot *root, Err *err), RootEnd *ends)
{
    for (unsigned r = 0; r < count; r++)
        ends[r].root = stuck[r] ? NULL : roots[r];
    end_all(ends, count, place_min_isr_default((uint8_t)count), fn);
    for (unsigned r = 0; r < count; r++)
        stuck[r] = stuck[r] || ends[r].stuck;
}

void root_end_threads(StorageRoot *const *roots, unsigned count, bool *stuck)
{
    RootEnd ends[ENGINE_ROOTS_MAX] = {{.root = NULL}};
    end_roots(roots, count, stuck, storage_root_stop, ends);
}

ErrCode root_end_close(StorageRoot *const *roots, unsigned count, const bool *out, bool *stuck,
                       Err *err)
{
    RootEnd ends[ENGINE_ROOTS_MAX] = {{.root = NULL}};
    StorageRoot *whole[ENGINE_ROOTS_MAX] = {NULL};
    ErrCode code = OK;
    unsigned closed = 0;
    for (unsigned r = 0; r < count; r++)
        whole[r] = out[r] ? NULL : roots[r];
    end_roots(whole, count, stuck, storage_root_close, ends);
    for (unsigned r = 0; r < count; r++) {
        if (ends[r].root == NULL || stuck[r]) continue;
        closed += ends[r].code == OK;
        if (ends[r].code == OK) continue;
        storage_root_set_cause(roots[r], &ends[r].err);
        if (count > 1) storage_root_tell_failed(roots[r]);
        code = ends[r].code;
        *err = ends[r].err;
    }
    if (closed >= place_min_isr_default((uint8_t)count)) return OK;
    if (code != OK) return code;
    return err_set(err, ERR_IO, "disks stand still: %u of %u could be closed", closed, count);
}
