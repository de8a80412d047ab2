/* What the replicas ask of the control store: swaps of configurations, looks at rows. The store may
 * keep whoever asks waiting (a disk that stands still, a round trip), so it is asked by a thread
 * that may wait, one job at a time: what comes up meanwhile goes with the next. */
#include "service/engine_priv.h"

#include <string.h>

#include "base/log.h"

/* --- the thread that may wait --- */

static void swap(ControlJob *job, Control *control)
{
    AUTO(ControlShard, mem_free) rows = mem_new_array(job->count + 1, sizeof *rows);
    size_t count = 0;
    for (size_t i = 0; i < job->count; i++) {
        if (job->asks[i].looks) continue;
        rows[count++] = (ControlShard){.shard = job->asks[i].shard, .config = job->asks[i].wanted};
    }
    if (count == 0) return;
    job->code = control_cas(control, rows, count, &job->err);
    for (size_t i = 0, at = 0; i < job->count; i++) {
        Err own = {0};
        ControlAsk *ask = &job->asks[i];
        if (ask->looks) continue;
        ask->code = job->code;
        if (job->code == ERR_PRECONDITION && count > 1)
            ask->code = control_cas(control, &rows[at], 1, &own);
        at++;
    }
}

/* The rows in force, for those that look and for those that were refused. */
static void look(ControlJob *job, Control *control)
{
    for (size_t i = 0; i < job->count; i++) {
        Err err = {0};
        ControlAsk *ask = &job->asks[i];
        if (!ask->looks && ask->code != ERR_PRECONDITION) continue;
        ErrCode code = control_get(control, ask->shard, &ask->row, &ask->found, &err);
        if (code != OK) ask->found = false;
    }
}

static bool is_kept(const ControlJob *job, Uuid root)
{
    for (size_t i = 0; i < job->kept_count; i++) {
        if (id128_eq(job->kept[i], root)) return true;
    }
    return false;
}

static void retire(ControlJob *job, Control *control)
{
    ControlRoot rows[MEMBERS_MAX * 2];
    size_t count = 0;
    Err err = {0};
    ErrCode code = control_list_roots(control, rows, ARRAY_LEN(rows), &count, &err);
    for (size_t i = 0; i < MIN(count, ARRAY_LEN(rows)) && code == OK; i++) {
        if (rows[i].verdict == ROOT_LOST || is_kept(job, rows[i].root)) continue;
        char uuid[37];
        uuid_text(rows[i].root, uuid);
        LOG_TO(OPERATIONS, WARN, "root.replaced", "root=%s", uuid);
        code = control_set_verdict(control, rows[i].root, ROOT_LOST, &err);
    }
    job->retired = code == OK;
}

/* Rows that are there are left as they are. */
static ErrCode make(ControlJob *job, Control *control, Err *err)
{
    AUTO(ControlShard, mem_free) rows = mem_new_array(job->made_count, sizeof *rows);
    size_t count = 0;
    for (size_t i = 0; i < job->made_count; i++) {
        ShardConfig config;
        bool found = false;
        TRY(control_get(control, job->made[i].shard, &config, &found, err));
        if (found)
            job->made[i].config = config;
        else
            rows[count++] = job->made[i];
    }
    return count == 0 ? OK : control_cas(control, rows, count, err);
}

void control_job_run(ControlJob *job, Control *control)
{
    Err err = {0};
    if (job->made_count > 0) job->made_code = make(job, control, &err);
    if (job->made_count > 0 && job->made_code != OK)
        LOG(WARN, "control.not_swapped", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    swap(job, control);
    look(job, control);
    if (job->retires) retire(job, control);
}

void control_job_free(ControlJob *job)
{
    if (job == NULL) return;
    mem_free(job->asks);
    mem_free(job->kept);
    mem_free(job->made);
    mem_free(job);
}

/* --- the core --- */

/* Of the job that is made up. */
static ControlJob *next_job(Engine *engine)
{
    if (engine->control_next == NULL) engine->control_next = mem_new(sizeof *engine->control_next);
    return engine->control_next;
}

static ControlAsk *add(Engine *engine, ShardId shard, unsigned root)
{
    ControlJob *job = next_job(engine);
    if (job->count == job->capacity) {
        job->capacity = MAX((size_t)16, job->capacity * 2);
        job->asks = mem_resize(job->asks, job->capacity * sizeof *job->asks);
    }
    ControlAsk *ask = &job->asks[job->count++];
    memset(ask, 0, sizeof *ask);
    ask->shard = shard;
    ask->root = root;
    return ask;
}

void engine_ask_swap(Engine *engine, ShardId shard, unsigned root, const ShardConfig *wanted)
{
    add(engine, shard, root)->wanted = *wanted;
}

/* What stands there may be another row by the time it is told: a look is not more than that. */
void engine_ask_look(Engine *engine, ShardId shard, unsigned root)
{
    const ControlJob *job = engine->control_next;
    for (size_t i = 0; job != NULL && i < job->count; i++) {
        const ControlAsk *ask = &job->asks[i];
        if (ask->looks && ask->shard == shard && ask->root == root) return;
    }
    add(engine, shard, root)->looks = true;
}

void engine_ask_retire(Engine *engine, Uuid *kept, size_t count)
{
    ControlJob *job = next_job(engine);
    mem_free(job->kept);
    job->retires = true;
    job->kept = kept;
    job->kept_count = count;
}

bool engine_ask_make(Engine *engine, unsigned class, ControlShard *rows, size_t count)
{
    ControlJob *job = next_job(engine);
    if (job->made_count > 0) {
        mem_free(rows);
        return false;
    }
    job->made = rows;
    job->made_count = count;
    job->made_class = class;
    return true;
}

bool engine_control_due(const Engine *engine)
{
    return engine->control_next != NULL && !engine->control_out;
}

static void tell(Engine *engine, const ControlAsk *ask)
{
    EngineShard *shard = engine_shard(engine, ask->shard);
    EngineMember *member = &shard->on[ask->root];
    ShardConfig config = ask->looks || ask->code == ERR_PRECONDITION ? ask->row : ask->wanted;
    Event event = {.new_cfg_uid = ask->wanted.cfg_uid, .config = &config};
    if (ask->looks) {
        event = (Event){.type = EVENT_ROW, .config = &config};
        if (!ask->found) return;
    } else if (ask->code == OK) {
        event.type = EVENT_CAS_DONE;
    } else if (ask->code == ERR_PRECONDITION) {
        event.type = EVENT_CAS_REFUSED;
        if (!ask->found) event.config = NULL;
    } else {
        event.type = EVENT_CAS_UNKNOWN;
    }
    if (!ask->looks && engine->roots[ask->root].failed) {
        member->cas_lost = true;
        member->cas_uid = ask->wanted.cfg_uid;
    }
    engine_step(engine, shard, member, &event);
}

static void tell_all(Engine *engine, ControlJob *job)
{
    if (job->code != OK)
        LOG(WARN, "control.not_swapped", "error=" LOG_STR, LOG_CSTR(err_text(&job->err)));
    for (size_t i = 0; i < job->count; i++)
        tell(engine, &job->asks[i]);
    if (job->retires) engine->retired = job->retired;
    if (job->made_count > 0)
        engine_begin_group(engine, job->made_class, job->made, job->made_count, job->made_code);
    control_job_free(job);
}

void engine_controlled(Engine *engine, ControlJob *job)
{
    ASSERT(engine->control_out);
    engine->control_out = false;
    tell_all(engine, job);
    engine_pump(engine);
}

void engine_control(Engine *engine)
{
    if (!engine_control_due(engine)) return;
    ControlJob *job = TAKE(engine->control_next);
    if (engine->options.io.control != NULL) {
        engine->control_out = true;
        engine->options.io.control(engine->options.io.ctx, job);
        return;
    }
    control_job_run(job, engine->options.control);
    tell_all(engine, job);
}

ErrCode engine_control_now(Engine *engine, Err *err)
{
    ControlJob *job = TAKE(engine->control_next);
    ASSERT(job != NULL && !engine->control_out);
    control_job_run(job, engine->options.control);
    ErrCode code = job->code;
    if (code != OK) *err = job->err;
    tell_all(engine, job);
    return code;
}
