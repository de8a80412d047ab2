#include "node/upload_sweep.h"

#include "base/log.h"
#include "base/metric.h"
#include "service/parts.h"

#define PAGE 256          /* uploads looked at in one step */
#define NOT_READY_MS 200  /* the engine is starting: look again then */
#define ANSWER_MIN_MS 2   /* a change is under way: look again then, … */
#define ANSWER_MAX_MS 200 /* … each time twice as late, at last so */

typedef enum { SWEEP_LOOK, SWEEP_ENDING, SWEEP_REMOVING } SweepStep;

struct UploadSweep {
    Service *service;
    Clock *clock;
    ServiceReader *reader;
    uint64_t every_ms;
    FileId after; /* zero: a look from the first begins */
    UploadListed page[PAGE];
    size_t count;
    size_t at;
    SweepStep step; /* of page[at] */
    Mutation m;     /* ENDING: the engine's until it is answered */
    PartsRemoval removal;
    uint64_t answer_ms;     /* to the next look for the answer */
    _Atomic unsigned users; /* the owner, and a change that is under way */
};

static Metric expired = {.kind = METRIC_COUNTER,
                         .name = "holdfast_uploads_expired_total",
                         .help = "Resumable uploads that were ended because nothing came.",
                         .labels = ""};

UploadSweep *upload_sweep_new(Service *service, Clock *clock, uint64_t every_ms)
{
    static bool registered; /* by one thread, once a process */
    UploadSweep *sweep = mem_new(sizeof *sweep);
    sweep->service = service;
    sweep->clock = clock;
    sweep->every_ms = every_ms;
    atomic_store(&sweep->users, 1);
    if (!registered) metric_register(&expired);
    registered = true;
    return sweep;
}

/* Of what the step before was. */
static void forget_step(UploadSweep *sweep)
{
    if (sweep->step == SWEEP_ENDING) mutation_deinit(&sweep->m);
    if (sweep->step == SWEEP_REMOVING) parts_removal_deinit(&sweep->removal);
    sweep->step = SWEEP_LOOK;
}

static void leave(UploadSweep *sweep)
{
    if (atomic_fetch_sub(&sweep->users, 1) > 1) return;
    forget_step(sweep);
    mem_free(sweep);
}

void upload_sweep_free(UploadSweep *sweep)
{
    if (sweep == NULL) return;
    service_reader_free(TAKE(sweep->reader)); /* before the store, whoever is still answered */
    leave(sweep);
}

/* --- changes --- */

static void on_ended(Mutation *m)
{
    leave(m->ctx);
}

static void on_removed(PartsRemoval *removal)
{
    leave(removal->ctx);
}

static void begin_change(UploadSweep *sweep)
{
    unsigned before = atomic_fetch_add(&sweep->users, 1);
    ASSERT(before == 1);
    sweep->answer_ms = ANSWER_MIN_MS;
}

static void no_change(UploadSweep *sweep)
{
    unsigned before = atomic_fetch_sub(&sweep->users, 1);
    ASSERT(before == 2);
}

static bool change_under_way(UploadSweep *sweep)
{
    return atomic_load(&sweep->users) > 1;
}

static ErrCode begin_end(UploadSweep *sweep, const UploadListed *upload, Err *err)
{
    Mutation *m = &sweep->m;
    sweep->step = SWEEP_ENDING;
    mutation_init(m, MUTATION_DELETE_FILE);
    m->upload = true;
    m->file = upload->id;
    m->done = on_ended;
    m->ctx = sweep;
    if (!upload->decided) {
        upload_decide(m, upload->id, upload->parts, upload->version);
        m->version = upload->version; /* one that got bytes since has more time */
    }
    begin_change(sweep);
    ErrCode code = service_submit(sweep->service, m);
    if (code == OK) return OK;
    no_change(sweep);
    return err_set(err, code, "uploads that are over wait");
}

static ErrCode remove_parts(UploadSweep *sweep, Err *err)
{
    bool over = false;
    begin_change(sweep);
    ErrCode code = parts_removal_step(&sweep->removal, sweep->reader, &over, err);
    if (code != OK || over) no_change(sweep);
    if (code != OK) return code;
    if (over) forget_step(sweep);
    if (over) sweep->at++;
    return OK;
}

static ErrCode begin_remove(UploadSweep *sweep, const UploadListed *upload, Err *err)
{
    forget_step(sweep);
    sweep->step = SWEEP_REMOVING;
    sweep->removal = (PartsRemoval){.upload = upload->id, .done = on_removed, .ctx = sweep};
    return remove_parts(sweep, err);
}

/* The engine has answered. */
static ErrCode ended(UploadSweep *sweep, Err *err)
{
    const UploadListed *upload = &sweep->page[sweep->at];
    char id[ID128_TEXT_LEN + 1];
    ErrCode code = sweep->m.code;
    /* ERR_NOT_FOUND: gone, or gone on, meanwhile; parts that are left alone the next look finds.
     * ERR_IDEMPOTENCY: somebody else decided its fate, and may not live to take its parts away. */
    bool over = code == OK || code == ERR_IDEMPOTENCY;
    if (!over && code != ERR_NOT_FOUND) return err_set(err, code, "%s", err_text(&sweep->m.err));
    id128_text(upload->id, id);
    if (code == OK && !upload->decided) {
        metric_add(&expired, 1);
        LOG(INFO, "upload.expired", "upload=%s reason=%s", id,
            upload->expires_ms <= clock_wall_ms(sweep->clock) ? "time" : "bucket");
    }
    if (over && upload->parts) return begin_remove(sweep, upload, err);
    forget_step(sweep);
    sweep->at++;
    return OK;
}

/* --- which --- */

/* Has an upload in parts, whose row never changes, got one in the time that it is given for each?
 */
static ErrCode got_part(UploadSweep *sweep, const UploadListed *upload, uint64_t now_ms, bool *got,
                        Err *err)
{
    uint64_t begun_ms = file_id_created_ms(upload->id);
    uint64_t each_ms = upload->expires_ms - MIN(begun_ms, upload->expires_ms);
    AUTO(void, mem_free) memory = mem_new_array(PAGE, sizeof(UploadPart));
    UploadPart *parts = memory;
    unsigned after = 0;
    size_t count = PAGE;
    *got = false;
    while (count == PAGE && !*got) {
        TRY(service_list_parts(sweep->reader, upload->id, after, parts, PAGE, &count, err));
        for (size_t i = 0; i < count; i++)
            *got = *got || parts[i].updated_ms + each_ms > now_ms;
        if (count > 0) after = parts[count - 1].number;
    }
    return OK;
}

/* Begins what is to be done about it, or passes it. */
static ErrCode look_at(UploadSweep *sweep, const UploadListed *upload, Err *err)
{
    char name[BUCKET_NAME_MAX + 1];
    char id[ID128_TEXT_LEN + 1];
    uint64_t now_ms = clock_wall_ms(sweep->clock);
    id128_text(upload->id, id);
    if (upload->damaged)
        return err_set(err, ERR_CORRUPT, "the row of upload %s can't be read; it is kept", id);
    if (upload->orphan) return begin_remove(sweep, upload, err);
    bool late = upload->expires_ms <= now_ms;
    bool lost = !buckets_name(service_buckets(sweep->service), upload->bucket, name);
    bool got = false;
    if (late && upload->parts && !lost && !upload->decided)
        TRY(got_part(sweep, upload, now_ms, &got, err));
    if ((late && !got) || lost || upload->decided) return begin_end(sweep, upload, err);
    sweep->at++;
    return OK;
}

static ErrCode next_page(UploadSweep *sweep, Err *err)
{
    uint64_t now_ms = clock_wall_ms(sweep->clock);
    size_t count = 0;
    sweep->count = sweep->at = 0;
    TRY(service_list_uploads(sweep->reader, sweep->after, now_ms, sweep->page, PAGE, &count, err));
    sweep->count = count;
    return OK;
}

/* Until a change is under way, or the page is over. */
static ErrCode go_on(UploadSweep *sweep, Err *err)
{
    if (sweep->at == sweep->count) TRY(next_page(sweep, err));
    while (sweep->at < sweep->count && !change_under_way(sweep)) {
        const UploadListed *upload = &sweep->page[sweep->at];
        switch (sweep->step) {
        case SWEEP_LOOK: TRY(look_at(sweep, upload, err)); break;
        case SWEEP_ENDING: TRY(ended(sweep, err)); break;
        case SWEEP_REMOVING: TRY(remove_parts(sweep, err)); break;
        }
    }
    return OK;
}

ErrCode upload_sweep_work(UploadSweep *sweep, uint64_t *rest_ms, Err *err)
{
    *rest_ms = NOT_READY_MS;
    if (!service_ready(sweep->service)) return OK;
    if (change_under_way(sweep)) { /* it may wait for room in the log, that this thread makes */
        *rest_ms = sweep->answer_ms;
        sweep->answer_ms = MIN(2 * sweep->answer_ms, (uint64_t)ANSWER_MAX_MS);
        return OK;
    }
    *rest_ms = sweep->every_ms;
    if (sweep->reader == NULL) TRY(service_reader_open(sweep->service, &sweep->reader, err));
    ErrCode code = go_on(sweep, err);
    if (code != OK) {
        forget_step(sweep);
        /* What is wrong with one upload keeps nobody from the others. */
        if (sweep->at < sweep->count) sweep->at++;
        if (code == ERR_CORRUPT) *rest_ms = 0;
    }
    if (change_under_way(sweep)) *rest_ms = ANSWER_MIN_MS;
    if (sweep->at < sweep->count) return code;
    bool last = sweep->count < PAGE;
    sweep->after = last ? (FileId){{0}} : sweep->page[PAGE - 1].id;
    *rest_ms = last ? sweep->every_ms : 0;
    return code;
}
