#include "fsck/sources.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/local/local.h"
#include "format/class_record.h"
#include "index/index.h"

#define ROOTS_KNOWN 256

void sources_deinit(Sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        mem_free(TAKE(sources->items[i].keeps));
        mem_free(TAKE(sources->items[i].shards));
    }
    mem_free(TAKE(sources->target.keeps));
    mem_free(TAKE(sources->target.shards));
    control_free(TAKE(sources->control));
}

/* The first reason stays. */
static void PRINTF_LIKE(2, 3) rule_out(Source *source, const char *format, ...)
{
    va_list args;
    if (source->why[0] != '\0') return;
    va_start(args, format);
    vsnprintf(source->why, sizeof source->why, format, args); /* a long one is cut */
    va_end(args);
}

/* --- which directories are of the store --- */

static void read_root(Source *source, Err *why)
{
    source->read = source->disk == NULL ? ERR_NOT_FOUND
                                        : root_read(source->disk, &source->root, why);
}

static bool is_other_store(const Source *a, const Source *b)
{
    return a->read == OK && b->read == OK && !id128_eq(a->root.cluster, b->root.cluster);
}

/* What the one that was named is not good for. */
static ErrCode check_named(const Sources *sources, const Source *named, const Err *why, Err *err)
{
    const Source *target = &sources->target;
    if (named->read != OK)
        return err_set(err, ERR_PRECONDITION, "%s can't be copied from: %s", named->dir,
                       err_text(why));
    if (is_other_store(named, target))
        return err_set(err, ERR_PRECONDITION, "%s is of another store than %s", named->dir,
                       target->dir);
    if (target->read == OK && id128_eq(named->root.uuid, target->root.uuid))
        return err_set(
            err, ERR_PRECONDITION,
            "%s is a copy of %s itself, made with its identity: give another root of the "
            "store",
            named->dir, target->dir);
    return OK;
}

/* The store that all of them are of, unless target or name say it. */
static const Source *pattern_of(const Sources *sources, size_t named)
{
    if (sources->target.read == OK) return &sources->target;
    if (named < sources->count) return &sources->items[named];
    for (size_t i = 0; i < sources->count; i++) {
        if (sources->items[i].read == OK) return &sources->items[i];
    }
    return NULL;
}

static ErrCode check_one_store(const Sources *sources, size_t named, Err *err)
{
    const Source *pattern = pattern_of(sources, named);
    bool said = named < sources->count || sources->target.read == OK;
    for (size_t i = 0; i < sources->count && !said; i++) {
        if (!is_other_store(&sources->items[i], pattern)) continue;
        return err_set(err, ERR_PRECONDITION,
                       "%s and %s are of different stores, and nothing says of which %s was: give "
                       "--from one of its own",
                       pattern->dir, sources->items[i].dir, sources->target.dir);
    }
    return OK;
}

ErrCode sources_read(Sources *sources, size_t named, Err *err)
{
    Err why = {0};
    read_root(&sources->target, &why);
    for (size_t i = 0; i < sources->count; i++) {
        err_clear(&why);
        read_root(&sources->items[i], &why);
        if (i == named) TRY(check_named(sources, &sources->items[i], &why, err));
        if (sources->items[i].read != OK) rule_out(&sources->items[i], "%s", err_text(&why));
    }
    TRY(check_one_store(sources, named, err));
    const Source *pattern = pattern_of(sources, named);
    for (size_t i = 0; i < sources->count; i++) {
        if (pattern != NULL && is_other_store(&sources->items[i], pattern))
            rule_out(&sources->items[i], "is of another store");
    }
    return OK;
}

/* --- the control store --- */

typedef struct {
    Uuid roots[MEMBERS_MAX * 2];
    size_t count;
    size_t members; /* of a shard, at most */
} Named;

static ErrCode note_members(void *ctx, const ControlShard *row, Err *err)
{
    Named *named = ctx;
    UNUSED(err);
    named->members = MAX(named->members, (size_t)row->config.member_count);
    for (uint32_t m = 0; m < row->config.member_count; m++) {
        bool known = false;
        for (size_t i = 0; i < named->count; i++)
            known = known || id128_eq(named->roots[i], row->config.members[m].root);
        if (!known && named->count < ARRAY_LEN(named->roots))
            named->roots[named->count++] = row->config.members[m].root;
    }
    return OK;
}

static bool is_named(const Named *named, Uuid root)
{
    for (size_t i = 0; i < named->count; i++) {
        if (id128_eq(named->roots[i], root)) return true;
    }
    return false;
}

/* Whom the newest copy of control.json names: those are asked. */
static ErrCode newest_names(const Sources *sources, Named *named, Err *err)
{
    uint64_t version = 0;
    for (size_t i = 0; i <= sources->count; i++) {
        const Source *s = i == sources->count ? &sources->target : &sources->items[i];
        ControlLook look = {0};
        if (s->read != OK || s->why[0] != '\0') continue;
        if (control_local_look(s->disk, s->root.uuid, &look, NULL) != OK) continue;
        if (!look.exists || look.version <= version) continue;
        AUTO(Control, control_free) control = NULL;
        if (control_local_open(&s->disk, 1, &control, NULL) != OK) continue;
        *named = (Named){0};
        version = look.version;
        TRY(control_each_shard(control, note_members, named, err));
    }
    return OK;
}

/* Is the root's control.json to be asked, and is one of `before` the same root? */
static bool is_asked(const Named *named, const Source *s, const Source *const *before, size_t count)
{
    ControlLook look = {0};
    if (s->read != OK || s->why[0] != '\0' || !is_named(named, s->root.uuid)) return false;
    for (size_t i = 0; i < count; i++) {
        if (id128_eq(before[i]->root.uuid, s->root.uuid)) return false;
    }
    return control_local_look(s->disk, s->root.uuid, &look, NULL) == OK && look.exists;
}

/* ERR_PRECONDITION: no majority of the members' copies is here. */
static ErrCode open_control(Sources *sources, Err *err)
{
    Disk *disks[MEMBERS_MAX] = {NULL}; /* those that are not here count, and say nothing */
    const Source *asked[MEMBERS_MAX] = {NULL};
    Named named = {0};
    size_t here = 0;
    Err why = {0};
    TRY(newest_names(sources, &named, err));
    for (size_t i = 0; i <= sources->count && here < MEMBERS_MAX; i++) {
        const Source *s = i == 0 ? &sources->target : &sources->items[i - 1];
        if (!is_asked(&named, s, asked, here)) continue;
        asked[here] = s;
        disks[here++] = s->disk;
    }
    size_t all = MIN(MAX(here, named.members), (size_t)MEMBERS_MAX);
    if (here * 2 <= all || all == 0) {
        return err_set(err, ERR_PRECONDITION,
                       "who of the store is in sync stands in " CONTROL_FILE
                       " of its directories, of which %zu of %zu can be read: more than half are "
                       "needed; name those that are elsewhere as further arguments",
                       here, all);
    }
    ErrCode code = control_local_open(disks, all, &sources->control, &why);
    if (code == OK) return OK;
    return err_set(err, ERR_PRECONDITION, "who of the store is in sync can't be told: %s",
                   err_text(&why));
}

/* --- who holds every committed entry --- */

typedef struct {
    Source *source;
    const Source *target;
    size_t shards;
} Check;

static uint32_t member_index(const ShardConfig *config, Uuid root)
{
    uint32_t i = 0;
    while (i < config->member_count && !id128_eq(config->members[i].root, root))
        i++;
    return i;
}

/* In sync in each shard, in the life that the row knows; where the target is known not to have been
 * a member, the source need not be one. */
static ErrCode check_row(void *ctx, const ControlShard *row, Err *err)
{
    Check *check = ctx;
    Source *s = check->source;
    const ShardConfig *config = &row->config;
    const Source *target = check->target;
    uint32_t i = member_index(config, s->root.uuid);
    UNUSED(err);
    check->shards++;
    if (i == config->member_count) {
        bool known = target->read == OK &&
                     member_index(config, target->root.uuid) == config->member_count;
        if (!known)
            rule_out(s, "shard %u: it is no member; it has not all that is committed", row->shard);
        return OK;
    }
    if (s->keeps == NULL) s->keeps = mem_new_array(SHARD_COUNT_MAX, sizeof *s->keeps);
    s->keeps[row->shard] = true;
    if (((config->isr | config->elr) >> i & 1) == 0)
        rule_out(s, "shard %u: it was not in sync; it may lack what was acknowledged", row->shard);
    else if (config->members[i].incarnation > s->root.incarnation)
        rule_out(s,
                 "it is an older copy of that root: its root.json is in incarnation %" PRIu64
                 ", the store knows %" PRIu64,
                 s->root.incarnation, config->members[i].incarnation);
    else if (config->members[i].incarnation != s->root.incarnation)
        rule_out(s, "it was started apart from the others since");
    return OK;
}

static ErrCode check_verdict(Control *control, Source *s, Err *err)
{
    ControlRoot rows[ROOTS_KNOWN];
    size_t count = 0;
    TRY(control_list_roots(control, rows, ARRAY_LEN(rows), &count, err));
    for (size_t i = 0; i < MIN(count, ARRAY_LEN(rows)); i++) {
        if (!id128_eq(rows[i].root, s->root.uuid)) continue;
        if (rows[i].verdict == ROOT_SUSPECT)
            rule_out(s, "it is SUSPECT: its log or a sync has failed");
        if (rows[i].verdict == ROOT_LOST) rule_out(s, "it was replaced by another root (LOST)");
        return OK;
    }
    rule_out(s, "the store does not know it");
    return OK;
}

static void check_twins(Sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        Source *a = &sources->items[i];
        const Source *target = &sources->target;
        if (a->read != OK) continue;
        if (target->read == OK && id128_eq(a->root.uuid, target->root.uuid))
            rule_out(a, "it is a copy of %s itself, made with its identity", target->dir);
        for (size_t j = 0; j < sources->count; j++) {
            const Source *b = &sources->items[j];
            if (i != j && b->read == OK && id128_eq(a->root.uuid, b->root.uuid))
                rule_out(a,
                         "%s is the same root: one is a copy of the other, and which is the "
                         "newer nobody can say; move the copy away",
                         b->dir);
        }
    }
}

/* Would the store still know enough copies without the target? */
static ErrCode check_left(void *ctx, const ControlShard *row, Err *err)
{
    const Sources *sources = ctx;
    const ShardConfig *config = &row->config;
    unsigned left = 0;
    for (uint32_t m = 0; m < config->member_count; m++) {
        bool here = false;
        for (size_t i = 0; i < sources->count; i++) {
            const Source *s = &sources->items[i];
            here = here || (s->read == OK && id128_eq(s->root.uuid, config->members[m].root));
        }
        left += here;
    }
    if (left >= config->min_isr) return OK;
    unsigned class = shard_class(row->shard);
    char what[40] = "all files";
    if (class >= CLASS_NUMBER_FIRST) snprintf(what, sizeof what, "placement class %u", class);
    if (left + 1 >= config->member_count) /* the target is the one that is missing */
        return err_set(
            err, ERR_PRECONDITION,
            "%u of %u copies of %s would be left without what %s is now, and it needs %u "
            "to start: holdfast fsck --salvage OUT DIR copies out what is whole of it",
            left, config->member_count, what, sources->target.dir, config->min_isr);
    return err_set(
        err, ERR_PRECONDITION,
        "without what %s is now %u of %u copies of %s that the store knows would be left here, "
        "and it needs %u to start: give the others, and start the server after each "
        "directory that was made anew",
        sources->target.dir, left, config->member_count, what, config->min_isr);
}

/* --- how far they reach --- */

typedef struct {
    Sources *sources;
    const char *dir;
    bool tell;
} Reading;

static ErrCode on_finding(void *ctx, const FsckFinding *finding, Err *err)
{
    const Reading *reading = ctx;
    const Sources *sources = reading->sources;
    bool lacking = strcmp(finding->kind, FSCK_KIND_LACKS) == 0;
    if (lacking && sources->take_lacking) return OK;
    if (!reading->tell || finding->level != FSCK_DAMAGE || sources->finding == NULL) return OK;
    return sources->finding(sources->ctx, reading->dir, finding, err);
}

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    const Reading *reading = ctx;
    const Sources *sources = reading->sources;
    UNUSED(phase);
    if (sources->progress != NULL) sources->progress(sources->ctx, reading->dir, done, total);
}

/* tell: damage goes to finding(). */
static ErrCode read_one(Sources *sources, Source *s, bool all, bool tell, FsckReport *report,
                        Err *err)
{
    Reading reading = {.sources = sources, .dir = s->dir, .tell = tell};
    if (s->shards == NULL) s->shards = mem_new_array(SHARD_COUNT_MAX, sizeof *s->shards);
    FsckOptions options = {.disk = s->disk,
                           .scratch = sources->scratch,
                           .finding = on_finding,
                           .progress = on_progress,
                           .ctx = &reading,
                           .only_ends = !all,
                           .shards = s->shards};
    TRY(index_remove(sources->scratch, err));
    ErrCode code = fsck_run(&options, report, err);
    return code == OK ? OK : err_wrap(err, code, "%s", s->dir);
}

static void check_ends(Sources *sources, Source *s)
{
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        if (!s->shards[i].incomplete) continue;
        rule_out(s, "shard %u: a copy from another root had begun and is not whole", i);
        return;
    }
    for (size_t k = 0; k <= sources->count; k++) {
        const Source *other = k == sources->count ? &sources->target : &sources->items[k];
        if (other == s || other->shards == NULL) continue;
        for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
            const FsckShard *theirs = &other->shards[i];
            if (s->keeps == NULL || !s->keeps[i]) continue;
            if (theirs->incomplete || theirs->commit <= s->shards[i].last) continue;
            rule_out(s,
                     "shard %u: it ends at lsn %" PRIu64 ", and %s attests that lsn %" PRIu64
                     " was committed",
                     i, s->shards[i].last, other->dir, theirs->commit);
            return;
        }
    }
}

/* What it says of itself that neither rows nor packs tell. */
static ErrCode check_marks(Source *s, Err *err)
{
    static const char *const marks[] = {"index.remade", "bodies.owed"};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        DiskStat stat;
        TRY(disk_stat(s->disk, marks[i], &stat, err));
        if (stat.exists)
            rule_out(s, "%s: it waits to be given what the others have; start the server first",
                     marks[i]);
    }
    return OK;
}

ErrCode sources_judge(Sources *sources, Err *err)
{
    FsckReport report;
    TRY(open_control(sources, err));
    check_twins(sources);
    TRY(control_each_shard(sources->control, check_left, sources, err));
    for (size_t i = 0; i < sources->count; i++) {
        Source *s = &sources->items[i];
        Check check = {.source = s, .target = &sources->target};
        if (s->why[0] != '\0') continue;
        TRY(check_verdict(sources->control, s, err));
        TRY(control_each_shard(sources->control, check_row, &check, err));
        if (check.shards == 0) rule_out(s, "nothing was ever stored there");
        TRY(check_marks(s, err));
        if (s->why[0] == '\0') TRY(read_one(sources, s, false, false, &report, err));
    }
    bool held = sources->target.disk != NULL;
    if (held) {
        ErrCode code = read_one(sources, &sources->target, false, false, &report, err);
        if (code != OK && code != ERR_NOT_FOUND) return code; /* emptied: it attests nothing */
        if (code == ERR_NOT_FOUND) err_clear(err);
    }
    for (size_t i = 0; i < sources->count; i++) {
        if (sources->items[i].why[0] == '\0') check_ends(sources, &sources->items[i]);
    }
    return OK;
}

ErrCode sources_target_whole(Sources *sources, bool *whole, Err *err)
{
    Source *target = &sources->target;
    FsckReport report = {.damages = 1};
    Check check = {.source = target, .target = target};
    *whole = false;
    if (target->read != OK) return OK;
    TRY(check_verdict(sources->control, target, err));
    TRY(control_each_shard(sources->control, check_row, &check, err));
    if (target->why[0] != '\0') return OK;
    TRY(read_one(sources, target, false, false, &report, err));
    if (report.damages > 0) return OK;
    TRY(read_one(sources, target, true, false, &report, err));
    *whole = report.damages == report.lacking;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++)
        *whole = *whole && !target->shards[i].incomplete;
    return OK;
}

/* --- the choice --- */

/* In how many shards a is further than b, less those in which b is. */
static int64_t further(const Source *a, const Source *b)
{
    int64_t sum = 0;
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++) {
        VersionId mine = {.term = a->shards[i].last_term, .lsn = a->shards[i].last};
        VersionId theirs = {.term = b->shards[i].last_term, .lsn = b->shards[i].last};
        sum += version_id_cmp(mine, theirs);
    }
    return sum;
}

size_t sources_longest(const Sources *sources)
{
    size_t best = sources->count;
    for (size_t i = 0; i < sources->count; i++) {
        const Source *s = &sources->items[i];
        if (s->why[0] != '\0') continue;
        if (best == sources->count || further(s, &sources->items[best]) > 0) best = i;
    }
    return best;
}

ErrCode sources_check_whole(Sources *sources, size_t at, Err *err)
{
    Source *s = &sources->items[at];
    FsckReport report = {0};
    TRY(read_one(sources, s, true, true, &report, err));
    s->lacking = report.lacking;
    if (report.damages == 0 || (report.damages == report.lacking && sources->take_lacking))
        return OK;
    if (report.damages == report.lacking) {
        rule_out(s,
                 "its packs hold %" PRIu64
                 " files that its index does not name: a copy from another directory took them "
                 "away, or rows are lost; --yes takes it all the same",
                 report.lacking);
        return err_set(err, ERR_CORRUPT, "%s: %s", s->dir, s->why);
    }
    rule_out(s, "it is damaged itself: %" PRIu64 " places", report.damages);
    return err_set(err, ERR_CORRUPT, "%s is damaged itself: %" PRIu64 " places", s->dir,
                   report.damages);
}
