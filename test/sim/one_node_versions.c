#include "one_node_versions.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUCKET "history"

static Str name_of(unsigned name)
{
    static const char *const names[VERSIONED_NAMES] = {"a", "a/b", "a/b/c", "z"};
    return str_from_cstr(names[name]);
}

void versions_init(SimVersions *v, Model *model, NodeKit *kit, uint64_t seed)
{
    memset(v, 0, sizeof *v);
    v->model = model;
    v->kit = kit;
    rng_init(&v->rng, seed ^ 0x76657273696f6e73ULL);
    for (unsigned i = 0; i < VERSIONED_NAMES; i++)
        buf_init(&v->ops[i].body, MIB);
}

static void release(VersionedOp *op)
{
    if (op->used) mutation_deinit(&op->m);
    op->used = false;
}

void versions_deinit(SimVersions *v)
{
    for (unsigned i = 0; i < VERSIONED_NAMES; i++) {
        release(&v->ops[i]);
        buf_deinit(&v->ops[i].body);
    }
    if (v->setting) mutation_deinit(&v->set);
}

/* --- what names must hold --- */

static void take_out(SimName *name, unsigned at)
{
    memmove(&name->items[at], &name->items[at + 1], (name->count - at - 1) * sizeof name->items[0]);
    name->count--;
}

/* What op makes of name, under the id of the version that it makes. */
static void change(SimName *name, const VersionedOp *op, VersionId id)
{
    bool removes = op->target.lsn != 0;
    for (unsigned i = name->count; i-- > 0;) {
        const SimVersion *one = &name->items[i];
        bool ends = removes ? version_id_cmp(one->id, op->target) == 0
                            : op->versioning == VERSIONING_OFF ||
                                  (op->versioning == VERSIONING_SUSPENDED && one->null_version);
        if (ends) take_out(name, i);
    }
    if (removes) return;
    memmove(&name->items[1], &name->items[0], name->count * sizeof name->items[0]);
    name->items[0] = op->made;
    name->items[0].id = id;
    name->count++;
}

static bool is_alive(const SimName *name)
{
    return name->count > 0 && name->items[0].value != 0;
}

static BucketStatRow usage_of(const SimVersions *v)
{
    BucketStatRow usage = {0};
    for (unsigned n = 0; n < VERSIONED_NAMES; n++) {
        for (unsigned i = 0; i < v->names[n].count; i++) {
            if (v->names[n].items[i].value == 0) continue;
            usage.files++;
            usage.bytes += v->names[n].items[i].size;
        }
    }
    return usage;
}

/* --- changes --- */

static void answered_ok(SimVersions *v, SimName *name, const VersionedOp *op)
{
    const Mutation *m = &op->m;
    bool was_alive = is_alive(name);
    bool had = name->count > 0;
    bool removes = op->target.lsn != 0;
    v->changes++;
    if (op->value == 0 && !removes && !was_alive)
        model_fail(v->model, "versions: an absent file was deleted");
    if (op->value == 0 && m->marked == removes)
        model_fail(v->model, "versions: a delete marker is told wrongly");
    unsigned before = name->count;
    change(name, op, m->row.version);
    if (removes && name->count != before - 1)
        model_fail(v->model, "versions: a version that is not there was deleted");
    if (op->value == 0) return;
    if (m->created == was_alive) model_fail(v->model, "versions: created says the wrong thing");
    if (had && !id128_eq(name->file, m->row.file))
        model_fail(v->model, "versions: a file id did not survive its update");
    name->file = m->row.file;
}

static void op_done(Mutation *m)
{
    SimVersions *v = m->ctx;
    VersionedOp *op = (VersionedOp *)((char *)m - offsetof(VersionedOp, m));
    SimName *name = &v->names[op - v->ops];
    if (m->code == ERR_OUTCOME_UNKNOWN) return; /* as a crash would leave it */
    op->answered = true;
    bool may_miss = op->value == 0 && (op->target.lsn != 0 || !is_alive(name));
    if (m->code == OK)
        answered_ok(v, name, op);
    else if (m->code == ERR_NOT_FOUND
                 ? !may_miss
                 : m->code != ERR_ROOT_FAILED && m->code != ERR_NO_SPACE && m->code != ERR_IO)
        model_fail(v->model, "versions: a change was refused with %s", err_info(m->code)->name);
}

static void set_done(Mutation *m)
{
    SimVersions *v = m->ctx;
    if (m->code == ERR_OUTCOME_UNKNOWN) return;
    if (m->code == OK) {
        v->exists = true;
        v->versioning = m->bucket_record.versioning;
    } else if (m->code != ERR_ROOT_FAILED && m->code != ERR_NO_SPACE && m->code != ERR_IO) {
        model_fail(v->model, "versions: settings: %s", err_info(m->code)->name);
    }
    v->setting = false;
    mutation_deinit(m);
}

static void release_answered(SimVersions *v)
{
    for (unsigned i = 0; i < VERSIONED_NAMES; i++) {
        if (v->ops[i].used && v->ops[i].answered) release(&v->ops[i]);
    }
}

static bool any_under_way(const SimVersions *v)
{
    for (unsigned i = 0; i < VERSIONED_NAMES; i++) {
        if (v->ops[i].used) return true;
    }
    return false;
}

static void submit_settings(SimVersions *v)
{
    mutation_init(&v->set, MUTATION_BUCKET_CREATE);
    v->set.bucket = STR(BUCKET);
    v->set.settings.has_versioning = true;
    v->set.settings.versioning = v->exists && v->versioning == VERSIONING_ON ? VERSIONING_SUSPENDED
                                                                             : VERSIONING_ON;
    if (!v->exists && rng_below(&v->rng, 2) == 0) /* what is there before versions are on */
        v->set.settings = (BucketSettings){.has_quota_files = true};
    v->set.done = set_done;
    v->set.ctx = v;
    v->setting = true;
    engine_submit(v->kit->engine, &v->set);
}

/* Without versions a DELETE is another thing, which the other buckets see enough of. */
static void draw_delete(SimVersions *v, VersionedOp *op, const SimName *name)
{
    Mutation *m = &op->m;
    bool one = name->count > VERSIONED_MAX - 2 || rng_below(&v->rng, 2) == 0;
    m->type = MUTATION_DELETE;
    op->made = (SimVersion){.null_version = op->versioning == VERSIONING_SUSPENDED};
    if (!one && v->versioning != VERSIONING_OFF) return;
    op->target = (VersionId){.term = 1, .lsn = 1 + rng_below(&v->rng, 50)};
    if (name->count > 0 && rng_below(&v->rng, 16) != 0)
        op->target = name->items[rng_below(&v->rng, name->count)].id;
    m->version = op->target;
    if (name->count > 0 && rng_below(&v->rng, 3) == 0) {
        m->type = MUTATION_DELETE_FILE;
        m->file = name->file;
    }
}

static bool draw_write(SimVersions *v, VersionedOp *op, const SimName *name)
{
    Mutation *m = &op->m;
    Err err = {0};
    op->value = ++v->next_value << 8 | 3;
    model_body(op->value, &op->body);
    op->made = (SimVersion){.value = op->value,
                            .size = op->body.len,
                            .digest = sha256_of(op->body.data, op->body.len),
                            .null_version = op->versioning != VERSIONING_ON};
    if (is_alive(name) && rng_below(&v->rng, 3) == 0) {
        m->type = MUTATION_UPDATE;
        m->file = name->file;
    }
    return node_kit_body(v->kit, m, buf_str(&op->body), &op->extent, &err) == OK;
}

static void submit(SimVersions *v, unsigned at)
{
    VersionedOp *op = &v->ops[at];
    const SimName *name = &v->names[at];
    *op = (VersionedOp){.used = true, .versioning = v->versioning, .body = op->body};
    mutation_init(&op->m, MUTATION_PUT);
    op->m.bucket = STR(BUCKET);
    op->m.key = name_of(at);
    op->m.done = op_done;
    op->m.ctx = v;
    bool deletes = name->count > VERSIONED_MAX - 2 || rng_below(&v->rng, 5) < 2;
    if (v->versioning == VERSIONING_OFF) deletes = false;
    if (deletes) {
        draw_delete(v, op, name);
    } else if (!draw_write(v, op, name)) {
        release(op); /* a fault of the disk: this upload never became a change */
        return;
    }
    engine_submit(v->kit->engine, &op->m);
}

uint64_t versions_step(SimVersions *v)
{
    unsigned at = (unsigned)rng_below(&v->rng, 2 * VERSIONED_NAMES);
    release_answered(v);
    if (v->setting) return 1;
    bool set = !v->exists || rng_below(&v->rng, 24) == 0;
    if (set && !any_under_way(v)) {
        submit_settings(v);
        return 2;
    }
    if (!v->exists || at >= VERSIONED_NAMES || v->ops[at].used) return 3;
    submit(v, at);
    return 4 + at;
}

void versions_crashed(SimVersions *v)
{
    release_answered(v);
    if (v->setting) mutation_deinit(&v->set);
    v->setting = false;
}

/* --- looking --- */

static bool excused(SimVersions *v, const char *what, ErrCode code, const Err *err)
{
    if (model_excuses(v->model, code)) return true;
    model_fail(v->model, "versions: %s: %s: %s", what, err_info(code)->name, err_text(err));
    return true;
}

static unsigned slot_of(Str key)
{
    unsigned n = 0;
    while (n < VERSIONED_NAMES && !str_eq(key, name_of(n)))
        n++;
    return n;
}

/* All versions that a list gives, behind what options says. False: it could not be read. */
static bool list(SimVersions *v, const StoreListOptions *options, SimName out[VERSIONED_NAMES])
{
    AUTO(StoreList, store_list_close) list = NULL;
    Err err = {0};
    bool found = true;
    memset(out, 0, VERSIONED_NAMES * sizeof *out);
    ErrCode code = store_list_open(v->kit->reader, options, &list, &err);
    while (code == OK) {
        StoreFound file;
        bool is_prefix = false;
        code = store_list_next(list, &file, &is_prefix, &found, &err);
        if (code != OK || !found) break;
        unsigned n = slot_of(file.key);
        if (n == VERSIONED_NAMES || out[n].count > VERSIONED_MAX) {
            model_fail(v->model, "versions: the list has strange names");
            return false;
        }
        SimName *name = &out[n];
        bool marker = (file.row.flags & ROW_FLAG_DELETE_MARKER) != 0;
        if (options->after.len == 0 && file.latest != (name->count == 0))
            model_fail(v->model, "versions: the latest is told wrongly");
        if (name->count > 0 && !id128_eq(name->file, file.row.file))
            model_fail(v->model, "versions: a name has two files");
        name->file = file.row.file;
        name->items[name->count++] = (SimVersion){
            .id = file.row.version,
            .value = !marker,
            .size = file.row.size,
            .digest = file.row.digest,
            .null_version = (file.row.flags & ROW_FLAG_NULL_VERSION) != 0};
    }
    return code == OK || !excused(v, "list", code, &err);
}

/* ids: compare those, too; the newest's is not known where an outcome was not. */
static bool same(const SimName *want, const SimName *got, bool first_id)
{
    if (want->count != got->count) return false;
    for (unsigned i = 0; i < want->count; i++) {
        const SimVersion *a = &want->items[i];
        const SimVersion *b = &got->items[i];
        bool ids = version_id_cmp(a->id, b->id) == 0 || (i == 0 && !first_id);
        if (!ids || (a->value != 0) != (b->value != 0) || a->size != b->size) return false;
        if (!sha256_eq(&a->digest, &b->digest) || a->null_version != b->null_version) return false;
    }
    return true;
}

/* What was under way happened, or it did not. */
static void settle(SimVersions *v, unsigned n, const SimName *got)
{
    VersionedOp *op = &v->ops[n];
    SimName *want = &v->names[n];
    SimName after = *want;
    if (op->used) change(&after, op, (VersionId){0});
    bool makes = op->used && op->target.lsn == 0;
    bool done = op->used && !same(want, got, true) && same(&after, got, !makes);
    release(op);
    if (!done) return;
    if (makes) after.items[0].id = got->items[0].id;
    after.file = got->file;
    *want = after;
}

/* A version by its id, and its bytes. */
static void read_one(SimVersions *v, BucketUid bucket, unsigned n)
{
    const SimName *name = &v->names[n];
    AUTO_BUF(got, MIB);
    StoreFound found;
    Err err = {0};
    bool there = false;
    if (name->count == 0) return;
    const SimVersion *one = &name->items[rng_below(&v->rng, name->count)];
    for (int tries = 0; tries < 3; tries++) {
        ErrCode code = store_find(v->kit->reader, bucket, name_of(n), &one->id, STORE_COMMITTED,
                                  &found, &there, &err);
        if (code == OK && there && one->value != 0)
            code = node_kit_read(v->kit, v->kit->reader, &found, &got, &err);
        if (code == ERR_NOT_FOUND) continue; /* it moved */
        if (code != OK && excused(v, "read", code, &err)) return;
        if (!there) model_fail(v->model, "versions: one is listed and can't be found");
        if (one->value != 0 && there && model_value_of(&got) != one->value)
            model_fail(v->model, "versions: a version has another's bytes");
        return;
    }
}

/* A page that begins in the middle has what the whole list has from there on. */
static void compare_page(SimVersions *v, BucketUid bucket, const SimName all[VERSIONED_NAMES])
{
    SimName got[VERSIONED_NAMES];
    unsigned n = (unsigned)rng_below(&v->rng, VERSIONED_NAMES);
    if (all[n].count == 0) return;
    unsigned at = (unsigned)rng_below(&v->rng, all[n].count);
    StoreListOptions options = {.bucket = bucket,
                                .versions = true,
                                .after = name_of(n),
                                .after_version = all[n].items[at].id};
    if (!list(v, &options, got)) return;
    for (unsigned i = 0; i < VERSIONED_NAMES; i++) {
        SimName rest = all[i];
        if (i < n) rest.count = 0;
        for (unsigned given = at + 1; i == n && given > 0; given--)
            take_out(&rest, 0);
        if (!same(&rest, &got[i], true))
            model_fail(v->model, "versions: a page does not go on where one ended");
    }
}

static void compare_current(SimVersions *v, BucketUid bucket)
{
    for (unsigned n = 0; n < VERSIONED_NAMES; n++) {
        StoreFound found;
        Err err = {0};
        bool there = false;
        ErrCode code = store_find(v->kit->reader, bucket, name_of(n), NULL, STORE_COMMITTED, &found,
                                  &there, &err);
        if (code != OK && excused(v, "find", code, &err)) return;
        if (v->ops[n].used) continue;
        if (there != is_alive(&v->names[n]))
            model_fail(v->model, "versions: %.*s is %s", STR_ARG(name_of(n)),
                       there ? "there" : "not there");
    }
}

static void compare_usage(SimVersions *v, const BucketStatRow *got)
{
    BucketStatRow want = usage_of(v);
    if (got->files == want.files && got->bytes == want.bytes) return;
    model_fail(v->model,
               "versions: %" PRIu64 " files of %" PRIu64 " bytes are counted, there are %" PRIu64
               " of %" PRIu64,
               got->files, got->bytes, want.files, want.bytes);
}

void versions_compare(SimVersions *v, bool after_crash)
{
    BucketRecord record;
    SimName got[VERSIONED_NAMES];
    BucketStatRow usage;
    bool there = buckets_find(v->kit->buckets, STR(BUCKET), &record);
    release_answered(v);
    if (v->exists && !there) model_fail(v->model, "versions: the bucket is lost");
    if (!there || v->model->failed) return;
    if (after_crash) {
        v->exists = true;
        v->versioning = record.versioning;
    }
    StoreListOptions options = {.bucket = record.uid, .versions = true};
    if (!list(v, &options, got)) return;
    for (unsigned n = 0; n < VERSIONED_NAMES; n++) {
        if (after_crash) settle(v, n, &got[n]);
        if (v->ops[n].used || same(&v->names[n], &got[n], true)) continue;
        model_fail(v->model, "versions: %.*s has %u of them, of which %u were acknowledged",
                   STR_ARG(name_of(n)), got[n].count, v->names[n].count);
    }
    if (v->model->failed) return;
    read_one(v, record.uid, (unsigned)rng_below(&v->rng, VERSIONED_NAMES));
    compare_page(v, record.uid, got);
    compare_current(v, record.uid);
    buckets_usage(v->kit->buckets, record.uid, &usage);
    if (!any_under_way(v) && !v->model->reads_may_fail) compare_usage(v, &usage);
}

void versions_check_usage(SimVersions *v)
{
    BucketRecord record;
    BucketStatRow usage;
    Err err = {0};
    if (v->model->failed || !buckets_find(v->kit->buckets, STR(BUCKET), &record)) return;
    if (store_bucket_stat(v->kit->reader, record.uid, &usage, &err) != OK)
        model_fail(v->model, "versions: counts: %s", err_text(&err));
    else
        compare_usage(v, &usage);
}
