#include "store/compare.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "store/compare_priv.h"
#include "store/mend_priv.h"

#define ROOTS (1 + MEND_SOURCES_MAX) /* at most, the own one first */
#define RANGE_ROWS 512
#define RANGE_ROWS_MAX (4 * RANGE_ROWS) /* of another root in the own one's range */
#define ROW_BYTES 256                   /* what a row counts as, in all roots */
#define TRIES_MAX 50
#define TRY_BYTES (64 * KIB) /* what a look at one row counts as, so that it rests */
#define TOLD_MAX 100         /* rows of a pass that are told of though nobody can decide them */

typedef struct {
    size_t at; /* of the key in Range.keys */
    size_t len;
    ShardId shard;
    Sha256 hash;
} RangeRow;

/* The rows of one root from a key on. */
typedef struct {
    Buf keys;
    RangeRow rows[RANGE_ROWS_MAX];
    size_t count;
    bool ended; /* there are no more behind them */
} Range;

/* A row as one root has it at some lsn of its shard. */
typedef struct {
    bool asked; /* else the root is not to have it */
    Lsn lsn;
    bool there;
    Sha256 hash;
} Seen;

struct Comparer {
    unsigned count; /* of the roots */
    Store *stores[ROOTS];
    MenderOptions options;
    IndexReader *readers[ROOTS];
    Range ranges[ROOTS];
    Mender *mender; /* fetches bodies */
    unsigned told;  /* undecided rows, in this pass */
    Buf value;
    Buf encoded;
    CompareStep step;
    _Atomic uint64_t rows;
    _Atomic uint64_t differences;
    _Atomic uint64_t mended;
    _Atomic uint64_t undecided;
    _Atomic uint64_t unsettled;
};

Comparer *comparer_new(Store *store, const MenderOptions *options)
{
    Comparer *c = mem_new(sizeof *c);
    c->options = *options;
    c->count = 1 + options->source_count;
    c->stores[0] = store;
    for (unsigned i = 0; i < options->source_count; i++)
        c->stores[1 + i] = options->sources[i];
    for (unsigned i = 0; i < c->count; i++)
        buf_init(&c->ranges[i].keys, RANGE_ROWS_MAX * ROW_KEY_MAX);
    c->mender = mender_new(store, options);
    buf_init(&c->value, ROW_VALUE_MAX);
    buf_init(&c->encoded, ROW_VALUE_MAX);
    buf_init(&c->step.key, ROW_KEY_MAX);
    buf_init(&c->step.value, ROW_VALUE_MAX);
    buf_init(&c->step.body, INLINE_MAX);
    buf_init(&c->step.old, ROW_VALUE_MAX);
    buf_init(&c->step.attrs, ATTRS_MAX);
    return c;
}

void comparer_free(Comparer *c)
{
    if (c == NULL) return;
    for (unsigned i = 0; i < c->count; i++) {
        index_reader_free(c->readers[i]);
        buf_deinit(&c->ranges[i].keys);
    }
    mender_free(c->mender);
    buf_deinit(&c->value);
    buf_deinit(&c->encoded);
    buf_deinit(&c->step.key);
    buf_deinit(&c->step.value);
    buf_deinit(&c->step.body);
    buf_deinit(&c->step.old);
    buf_deinit(&c->step.attrs);
    mem_free(c);
}

void comparer_status(const Comparer *c, CompareStatus *out)
{
    out->rows = atomic_load(&c->rows);
    out->differences = atomic_load(&c->differences);
    out->mended = atomic_load(&c->mended);
    out->undecided = atomic_load(&c->undecided);
    out->unsettled = atomic_load(&c->unsettled);
}

static ErrCode pace(Comparer *c, uint64_t bytes, Err *err)
{
    if (c->options.pace(c->options.ctx, bytes)) return OK;
    return err_set(err, ERR_SHUTTING_DOWN, "the server is stopping");
}

/* Of all of a row but where its body stands. */
static ErrCode hash_row(Comparer *c, Str value, Sha256 *out, ShardId *shard, Err *err)
{
    FileRow row;
    if (!file_row_decode(value, &row))
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    *shard = file_id_shard(row.file);
    row.place = (PackPlace){0};
    buf_clear(&c->encoded);
    TRY(buf_reserve(&c->encoded, value.len + 64, err));
    Enc enc = enc_of(c->encoded.data, c->encoded.capacity);
    file_row_encode(&row, &enc);
    ASSERT(!enc.failed);
    *out = sha256_of(enc.data, enc.len);
    return OK;
}

/* --- ranges --- */

/* Rows of root i from a key on, at most max, none above `to` (empty: any). */
static ErrCode read_range(Comparer *c, unsigned i, Str from, Str to, size_t max, Err *err)
{
    Range *range = &c->ranges[i];
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    range->count = 0;
    range->ended = false;
    buf_clear(&range->keys);
    TRY(index_scan(c->readers[i], from, &cursor, err));
    while (range->count < max) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        range->ended = !found || key.ptr[0] != 'n' || (to.len > 0 && str_cmp(key, to) > 0);
        if (range->ended) return OK;
        RangeRow *row = &range->rows[range->count++];
        *row = (RangeRow){.at = range->keys.len, .len = key.len};
        TRY(buf_append_str(&range->keys, key, err));
        TRY(hash_row(c, value, &row->hash, &row->shard, err));
    }
    return OK;
}

static Str key_at(const Range *range, size_t i)
{
    return str_slice(buf_str(&range->keys), range->rows[i].at, range->rows[i].len);
}

static bool same_ranges(const Range *a, const Range *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++) {
        same = str_eq(key_at(a, i), key_at(b, i)) && sha256_eq(&a->rows[i].hash, &b->rows[i].hash);
    }
    return same;
}

/* --- one row --- */

/* Is a snapshot being put into the shard there? Then its rows are anything. */
static bool is_incomplete(Store *store, ShardId number)
{
    lock_take(&store->lock);
    const StoreShard *shard = store->shards[number];
    bool incomplete = shard == NULL || shard->incomplete;
    lock_give(&store->lock);
    return incomplete;
}

/* Were its rows made of packs, and nothing put in since? Then they may be those of long ago. */
static bool is_remade(Store *store, ShardId number)
{
    lock_take(&store->lock);
    const StoreShard *shard = store->shards[number];
    bool remade = shard != NULL && shard->remade;
    lock_give(&store->lock);
    return remade;
}

/* As root i has it, with how far the shard is applied there, in one snapshot; its value to c->value
 * if it is there. */
static ErrCode see(Comparer *c, unsigned i, ShardId shard, Str key, Seen *out, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str applied = str_of(bytes, row_key_applied(bytes, shard));
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    Str at = {NULL, 0};
    Str value = {NULL, 0};
    AppliedRow row;
    ShardId own;
    bool found = false;
    *out = (Seen){.asked = true};
    TRY(index_scan(c->readers[i], applied, &cursor, err));
    TRY(index_next(cursor, &at, &value, &found, err));
    if (found && str_eq(at, applied)) {
        if (!applied_row_decode(value, &row))
            return err_set(err, ERR_CORRUPT, "index.db: how far a shard is applied is malformed");
        out->lsn = row.lsn;
    }
    TRY(index_seek(cursor, key, err));
    TRY(index_next(cursor, &at, &value, &found, err));
    out->there = found && str_eq(at, key);
    if (!out->there) return OK;
    buf_clear(&c->value);
    TRY(buf_append_str(&c->value, value, err));
    return hash_row(c, value, &out->hash, &own, err);
}

static bool same_seen(const Seen *a, const Seen *b)
{
    return a->there == b->there && (!a->there || sha256_eq(&a->hash, &b->hash));
}

/* The shard of the row, from whoever has it; false: nobody has it any more. */
static ErrCode shard_of(Comparer *c, Str key, ShardId *out, bool *found, Err *err)
{
    *found = false;
    for (unsigned i = 0; i < c->count && !*found; i++) {
        Str value = {NULL, 0};
        FileRow row;
        TRY(index_get(c->readers[i], key, &value, found, err));
        if (*found && !file_row_decode(value, &row))
            return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
        if (*found) *out = file_id_shard(row.file);
    }
    return OK;
}

/* What the others have, body and all, so that it can be put in. */
static ErrCode fetch(Comparer *c, Str key, Err *err)
{
    CompareStep *step = &c->step;
    FileRow row;
    BucketUid bucket = 0;
    Str name = {NULL, 0};
    Str body = {NULL, 0};
    if (!file_row_decode(buf_str(&step->value), &row) ||
        !row_key_name_parse(key, &bucket, &name, &row.version))
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    buf_clear(&step->body);
    for (uint32_t i = 0; i < row.extent_count; i++) {
        Extent extent = extent_at(row.extents, i);
        TRY(mend_bring_extent(c->mender, &extent, err));
    }
    if (row.extent_count > 0 || row.size == 0) return OK;
    TRY(mend_fetch(c->mender, bucket, name, &row, &body, err));
    return buf_append_str(&step->body, body, err);
}

typedef struct {
    Comparer *comparer;
    ErrCode code;
    Err err;
} Job;

static void run_step(void *arg)
{
    Job *job = arg;
    job->code = store_put_right(job->comparer->stores[0], &job->comparer->step, &job->err);
}

static void tell(Comparer *c, Str key, const char *what)
{
    BucketUid bucket = 0;
    Str name = {NULL, 0};
    VersionId version = {0};
    char root[37];
    char text[VERSION_ID_TEXT_LEN + 1];
    bool named = row_key_name_parse(key, &bucket, &name, &version);
    version_id_text(version, text);
    uuid_text(store_root(c->stores[0])->uuid, root);
    LOG_TO(OPERATIONS, ERROR, "ledger.difference",
           "root=%s what=%s key=" LOG_STR " version=\"%s\" mended=%s", root, what,
           LOG_ARG(named ? name : STR("?")), text, c->step.done ? "yes" : "no");
}

/* All have applied the row's shard up to seen's lsn, and the others agree. */
static ErrCode put_right(Comparer *c, ShardId shard, Str key, const Seen *seen, Err *err)
{
    CompareStep *step = &c->step;
    Job job = {.comparer = c};
    step->shard = shard;
    step->lsn = seen[0].lsn;
    step->done = false;
    buf_clear(&step->key);
    buf_clear(&step->value);
    TRY(buf_append_str(&step->key, key, err));
    if (seen[1].there) {
        TRY(buf_append_str(&step->value, buf_str(&c->value), err));
        TRY(fetch(c, key, err));
    }
    if (!c->options.on_applier(c->options.ctx, run_step, &job))
        return err_set(err, ERR_SHUTTING_DOWN, "the server is stopping");
    return job.code == OK ? OK : err_set(err, job.code, "%s", err_text(&job.err));
}

/* Who is to have the files of a shard: bits, 0 the own root's. */
static unsigned holders(const Comparer *c, ShardId shard)
{
    const MenderOptions *o = &c->options;
    unsigned all = (1U << c->count) - 1;
    return o->holders == NULL ? all : o->holders(o->ctx, shard_class(shard)) & all;
}

/* Is there anything to compare: the own root and another have the shard? */
static bool is_shared(unsigned held)
{
    return (held & 1) != 0 && held != 1;
}

/* Looks at the row in all roots that are to have it. *alike: the own one is as another's. *settled:
 * all have applied its shard up to the same lsn. */
static ErrCode see_all(Comparer *c, ShardId shard, Str key, Seen *seen, bool *alike, bool *settled,
                       Err *err)
{
    unsigned held = holders(c, shard);
    *alike = false;
    *settled = true;
    for (unsigned i = 0; i < c->count; i++) {
        seen[i] = (Seen){.asked = false};
        if ((held >> i & 1) == 0) continue;
        TRY(see(c, i, shard, key, &seen[i], err));
        *alike = *alike || (i > 0 && same_seen(&seen[0], &seen[i]));
        *settled = *settled && seen[i].lsn == seen[0].lsn && !is_incomplete(c->stores[i], shard);
    }
    return OK;
}

/* Have two others the same, that can be trusted? Then they decide. */
static bool others_agree(const Comparer *c, ShardId shard, const Seen *seen)
{
    if (c->count < ROOTS || !seen[1].asked || !seen[2].asked) return false;
    bool trusted = !is_remade(c->stores[1], shard) && !is_remade(c->stores[2], shard);
    return trusted && same_seen(&seen[1], &seen[2]);
}

/* All have applied the same, and the own row is nobody else's. *over: that is all that can be done
 * about it now. */
static ErrCode decide(Comparer *c, ShardId shard, Str key, const Seen *seen, bool last, bool *over,
                      Err *err)
{
    const char *what = NULL;
    c->step.done = false;
    if (others_agree(c, shard, seen)) {
        what = !seen[0].there ? "lacks" : seen[1].there ? "wrong" : "surplus";
        TRY(put_right(c, shard, key, seen, err));
        *over = c->step.done || last;
    } else {
        atomic_fetch_add(&c->undecided, 1);
        *over = true;
    }
    if (!*over) return OK;
    atomic_fetch_add(&c->differences, 1);
    if (c->step.done) atomic_fetch_add(&c->mended, 1);
    if (what != NULL || c->told++ < TOLD_MAX) tell(c, key, what == NULL ? "undecided" : what);
    return OK;
}

static ErrCode compare_row(Comparer *c, Str key, Err *err)
{
    ShardId shard = 0;
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        Seen seen[ROOTS];
        bool alike = false;
        bool settled = false;
        bool over = false;
        bool found = false;
        TRY(shard_of(c, key, &shard, &found, err));
        if (!found || !is_shared(holders(c, shard))) return OK;
        TRY(see_all(c, shard, key, seen, &alike, &settled, err));
        if (alike) return OK;
        if (settled) TRY(decide(c, shard, key, seen, tries + 1 == TRIES_MAX, &over, err));
        if (over) return OK;
        TRY(pace(c, TRY_BYTES, err));
    }
    atomic_fetch_add(&c->unsettled, 1);
    return OK;
}

/* Have all that are to have it the same? rows: NULL where a root has none. */
static bool is_alike(const Comparer *c, const RangeRow *const *rows)
{
    const RangeRow *any = NULL;
    for (unsigned i = 0; i < c->count; i++)
        any = rows[i] != NULL ? rows[i] : any;
    ASSERT(any != NULL);
    unsigned held = holders(c, any->shard);
    if (!is_shared(held)) return true;
    for (unsigned i = 0; i < c->count; i++) {
        if ((held >> i & 1) == 0) continue;
        if (rows[i] == NULL || !sha256_eq(&rows[i]->hash, &any->hash)) return false;
    }
    return true;
}

/* Each key that one of them has, in which the own row is not as another's. */
static ErrCode compare_rows(Comparer *c, Str to, Err *err)
{
    size_t at[ROOTS] = {0};
    for (;;) {
        Str key = {NULL, 0};
        for (unsigned i = 0; i < c->count; i++) {
            if (at[i] == c->ranges[i].count) continue;
            Str one = key_at(&c->ranges[i], at[i]);
            if (to.len > 0 && str_cmp(one, to) > 0) continue;
            if (key.ptr == NULL || str_cmp(one, key) < 0) key = one;
        }
        if (key.ptr == NULL) return OK;
        const RangeRow *rows[ROOTS] = {NULL};
        for (unsigned i = 0; i < c->count; i++) {
            if (at[i] < c->ranges[i].count && str_eq(key_at(&c->ranges[i], at[i]), key))
                rows[i] = &c->ranges[i].rows[at[i]++];
        }
        if (!is_alike(c, rows)) TRY(compare_row(c, key, err));
    }
}

/* The range of the own root behind *from; *from moves to its end. */
static ErrCode compare_range(Comparer *c, Buf *from, bool *ended, Err *err)
{
    Range *own = &c->ranges[0];
    uint8_t last[ROW_KEY_MAX];
    TRY(read_range(c, 0, buf_str(from), (Str){NULL, 0}, RANGE_ROWS, err));
    Str to = own->ended ? (Str){NULL, 0} : key_at(own, own->count - 1);
    *ended = own->ended;
    bool same = true;
    for (unsigned i = 1; i < c->count; i++) {
        const Range *range = &c->ranges[i];
        TRY(read_range(c, i, buf_str(from), to, RANGE_ROWS_MAX, err));
        if (range->ended) continue;
        to = key_at(range, range->count - 1); /* so many more: as far as it goes */
        *ended = false;
    }
    if (to.len > 0) memcpy(last, to.ptr, to.len);
    to = to.len > 0 ? str_of(last, to.len) : to;
    for (unsigned i = 1; i < c->count; i++)
        same = same && same_ranges(own, &c->ranges[i]);
    if (!same) TRY(compare_rows(c, to, err));
    atomic_fetch_add(&c->rows, own->count);
    buf_clear(from);
    TRY(buf_append_str(from, to, err));
    TRY(buf_append_zeros(from, 1, err)); /* behind it */
    return pace(c, own->keys.len + own->count * ROW_BYTES, err);
}

static ErrCode pass(Comparer *c, Err *err)
{
    AUTO_BUF(from, ROW_KEY_MAX + 1);
    bool ended = false;
    c->told = 0;
    for (unsigned i = 0; i < c->count; i++)
        TRY(index_reader_open(c->stores[i]->index, &c->readers[i], err));
    TRY(buf_append_str(&from, STR("n"), err));
    while (!ended)
        TRY(compare_range(c, &from, &ended, err));
    return OK;
}

ErrCode comparer_pass(Comparer *c, Err *err)
{
    if (c->count == 1 || atomic_load(&c->stores[0]->failed)) return OK;
    ErrCode code = pass(c, err);
    for (unsigned i = 0; i < c->count; i++)
        index_reader_free(TAKE(c->readers[i]));
    mender_rest(c->mender);
    return code;
}
