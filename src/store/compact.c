/* The background thread's part of compaction: which pack, what of it is needed, step by step.
 *
 *   CHOOSE --a pack--> SURVEY --read--> NEEDED --tombstones decided--> COPY --read again--> CHOOSE
 *      ^ |                |                |                             moves, then retire
 *      | '-- all dead: retire              '-- not worth it: names, then left alone for a day
 *      '------------------'-- damaged, vanished: left alone                                     */
#include "store/compact.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "store/compact_priv.h"

#define DEAD_PERCENT_DEFAULT 50
#define LOOK_AGAIN_DEFAULT_MS (24ULL * 3600 * 1000)
#define TRY_AGAIN_MS 10000 /* no room, or a passing error */
/* Tombstones are looked up if they are more than this part of what is kept. */
#define TOMBSTONE_PART 8
#define COMPACT_REQUEST_LEN 128 /* about, of a record that only keeps its request's row */
#define ROOM_BESIDE (2 * MIB)   /* free bytes that the index may need meanwhile */

typedef enum { CHOOSE, SURVEY, NEEDED, COPY, STEP_OUT } State;

/* A pack that is left alone for some time. */
typedef struct {
    uint64_t pack;
    uint64_t until_ns;
    bool looked;    /* in vain, and then: */
    uint64_t dead;  /* bytes, by its row … */
    uint64_t other; /* … and of all records but the bodies that were needed */
} Skip;

struct Compactor {
    Store *store;
    CompactOptions options;
    uint64_t look_from_ns; /* packs that only a look decides about are looked at from then on */
    State state;
    State after_step; /* where a step that was carried out leads */
    IndexReader *reader;
    Skip *skips; /* rising packs */
    size_t skip_count;
    size_t skip_capacity;
    uint64_t *numbers; /* packs there are, rising */
    size_t number_count;

    /* the pack in hand */
    uint64_t pack;
    bool census;  /* only its names are wanted */
    bool damaged; /* it could not be read */
    PackRow row;
    PackScan *scan;
    uint64_t read_at;      /* bytes of the scan that were counted */
    uint64_t kept_bytes;   /* records that are needed without a question */
    uint64_t live_bytes;   /* of these, bodies */
    uint64_t rest_bytes;   /* records that are no bodies */
    uint64_t doubt_bytes;  /* tombstones */
    uint64_t record_bytes; /* all */
    Names names;           /* of its records */
    Names doubted;         /* of its tombstones */
    Names held;            /* of those, the ones that an older pack may hold */
    bool keep_all;         /* every tombstone is kept */
    bool copied_all;       /* COPY has read to the end */
    size_t next_older;     /* NEEDED: of numbers */
    uint64_t census_of;    /* a pack whose names are wanted next; 0: none */
    Buf buf;               /* one record */
    CompactStep *step;
};

/* --- life --- */

ErrCode compactor_open(Store *store, const CompactOptions *options, Compactor **out, Err *err)
{
    UNUSED(err);
    Compactor *c = mem_new(sizeof *c);
    c->store = store;
    c->options = *options;
    if (c->options.dead_percent == 0) c->options.dead_percent = DEAD_PERCENT_DEFAULT;
    if (c->options.look_again_ms == 0) c->options.look_again_ms = LOOK_AGAIN_DEFAULT_MS;
    ASSERT(c->options.dead_percent <= 100);
    c->look_from_ns = clock_boot_ns(store->options.clock) + options->look_first_ms * 1000000;
    c->state = CHOOSE;
    buf_init(&c->buf, PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8);
    *out = c;
    return OK;
}

static void step_free(CompactStep *step)
{
    if (step == NULL) return;
    buf_deinit(&step->records);
    mem_free(step);
}

/* Forgets the pack in hand and the memory it took. */
static void let_go(Compactor *c)
{
    pack_scan_free(TAKE(c->scan));
    names_deinit(&c->names);
    names_deinit(&c->doubted);
    names_deinit(&c->held);
    step_free(TAKE(c->step));
    mem_free(TAKE(c->numbers));
    buf_clear(&c->buf);
    c->number_count = 0;
    c->pack = 0;
    c->damaged = false;
    c->state = CHOOSE;
    atomic_store(&c->store->compacted.pack, 0);
}

void compactor_free(Compactor *c)
{
    if (c == NULL) return;
    let_go(c);
    index_reader_free(c->reader);
    mem_free(c->skips);
    buf_deinit(&c->buf);
    mem_free(c);
}

static uint64_t now_ns(const Compactor *c)
{
    return clock_boot_ns(c->store->options.clock);
}

/* --- packs that are left alone --- */

/* Where pack is in skips, or would be. */
static size_t skip_place(const Compactor *c, uint64_t pack)
{
    size_t low = 0;
    size_t high = c->skip_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->skips[middle].pack < pack)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_skipped(const Compactor *c, uint64_t pack)
{
    size_t at = skip_place(c, pack);
    return at < c->skip_count && c->skips[at].pack == pack && now_ns(c) < c->skips[at].until_ns;
}

static void skip(Compactor *c, uint64_t pack, uint64_t ms)
{
    size_t at = skip_place(c, pack);
    if (at == c->skip_count || c->skips[at].pack != pack) {
        if (c->skip_count == c->skip_capacity) {
            c->skip_capacity = MAX(2 * c->skip_capacity, (size_t)16);
            c->skips = mem_resize(c->skips, c->skip_capacity * sizeof *c->skips);
        }
        memmove(&c->skips[at + 1], &c->skips[at], (c->skip_count - at) * sizeof *c->skips);
        c->skip_count++;
    }
    c->skips[at] = (Skip){.pack = pack, .until_ns = now_ns(c) + ms * 1000000};
}

/* Gives the pack in hand up, all of which was read in vain, and notes what it may come to. */
static void looked_in_vain(Compactor *c)
{
    skip(c, c->pack, c->options.look_again_ms);
    Skip *s = &c->skips[skip_place(c, c->pack)];
    s->looked = true;
    s->dead = c->row.dead;
    s->other = c->record_bytes - c->live_bytes;
    let_go(c);
}

/* The most bytes of pack that may be needed no longer. A body that was needed when all was read
 * dies only by being counted as dead. */
static uint64_t most_dead(const Compactor *c, uint64_t pack, const PackRow *row)
{
    uint64_t most = row->dead + row->unsure;
    size_t at = skip_place(c, pack);
    if (at == c->skip_count || c->skips[at].pack != pack || !c->skips[at].looked) return most;
    const Skip *s = &c->skips[at];
    return MIN(most, s->other + row->dead - MIN(row->dead, s->dead));
}

/* Gives the pack in hand up for ms milliseconds. */
static void give_up(Compactor *c, uint64_t ms)
{
    skip(c, c->pack, ms);
    let_go(c);
}

/* --- steps --- */

static void step_begin(Compactor *c, CompactStepKind kind)
{
    if (c->step == NULL) {
        c->step = mem_new(sizeof *c->step);
        buf_init(&c->step->records, COMPACT_STEP_MAX);
    }
    CompactStep *step = c->step;
    buf_clear(&step->records);
    step->kind = kind;
    step->pack = c->pack;
    step->count = 0;
    step->names = NULL;
    step->name_count = 0;
    step->rest_bytes = c->rest_bytes;
}

static void step_out(Compactor *c, State after, CompactTurn *turn)
{
    c->state = STEP_OUT;
    c->after_step = after;
    *turn = COMPACT_STEP;
}

CompactStep *compactor_step(Compactor *c)
{
    ASSERT(c->state == STEP_OUT);
    return c->step;
}

void compactor_done(Compactor *c, ErrCode code)
{
    ASSERT(c->state == STEP_OUT);
    CompactStepKind kind = c->step->kind;
    if (code == ERR_BUSY && kind == COMPACT_RETIRE) {
        LOG(WARN, "compact.kept", "pack=%" PRIu64 " reason=" LOG_STR, c->pack,
            LOG_CSTR("rows still point into it"));
        give_up(c, c->options.look_again_ms);
    } else if (code != OK) {
        give_up(c, TRY_AGAIN_MS);
    } else if (kind == COMPACT_NAMES) {
        if (c->census)
            let_go(c);
        else
            looked_in_vain(c);
    } else if (kind == COMPACT_RETIRE) {
        let_go(c);
    } else {
        buf_clear(&c->step->records);
        c->step->count = 0;
        c->state = c->after_step;
    }
}

static void retire(Compactor *c, CompactTurn *turn)
{
    step_begin(c, COMPACT_RETIRE);
    step_out(c, CHOOSE, turn);
}

/* --- choosing --- */

/* Dead enough by what was counted. */
static bool is_dead(const Compactor *c, const PackRow *row)
{
    return row->bytes > 0 && row->dead * 100 >= row->bytes * c->options.dead_percent;
}

/* Perhaps dead enough: records without bodies may be needed no longer. A pack without a row holds
 * only what was written and lost its index before a crash. */
static bool is_unsure(const Compactor *c, uint64_t pack, const PackRow *row)
{
    if (now_ns(c) < c->look_from_ns) return false;
    if (row->bytes == 0) return true;
    return most_dead(c, pack, row) * 100 >= row->bytes * c->options.dead_percent;
}

typedef struct {
    uint64_t pack;
    PackRow row;
    bool dead; /* else unsure */
} Choice;

static bool all_dead(const PackRow *row)
{
    return row->bytes > 0 && row->dead == row->bytes && row->unsure == 0;
}

/* The newest pack of which the index knows records. All that packs before it hold was told to the
 * index or never will be, as rows are committed in the order of the packs; behind it a batch may be
 * under way, and records without rows would look as if nobody needed them. */
static ErrCode newest_known(const Compactor *c, uint64_t *out, Err *err)
{
    *out = 0;
    for (size_t i = c->number_count; i-- > 0 && *out == 0;) {
        PackRow row;
        TRY(compact_pack_row(c->reader, c->numbers[i], &row, err));
        if (row.bytes > 0) *out = c->numbers[i];
    }
    return OK;
}

/* The deadest pack, else one that wants a look; of those for which there is room. */
static ErrCode choose_pack(Compactor *c, uint64_t free_bytes, Choice *best, Err *err)
{
    uint64_t newest = 0;
    *best = (Choice){0};
    TRY(newest_known(c, &newest, err));
    for (size_t i = 0; i < c->number_count && c->numbers[i] < newest; i++) {
        Choice one = {.pack = c->numbers[i]};
        if (is_skipped(c, one.pack)) continue;
        TRY(compact_pack_row(c->reader, one.pack, &one.row, err));
        if (all_dead(&one.row)) {
            *best = one;
            return OK;
        }
        if (one.row.bytes - one.row.dead + ROOM_BESIDE > free_bytes) continue;
        one.dead = is_dead(c, &one.row);
        if (!one.dead && !is_unsure(c, one.pack, &one.row)) continue;
        bool better = best->pack == 0 || (one.dead && !best->dead) ||
                      (one.dead && one.row.dead * best->row.bytes > best->row.dead * one.row.bytes);
        if (better) *best = one;
    }
    return OK;
}

static ErrCode is_retired(const Compactor *c, uint64_t pack, bool *out, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    Str value = {NULL, 0};
    return index_get(c->reader, str_of(key, row_key_retired(key, pack)), &value, out, err);
}

/* Lists the packs, without those that only wait to be unlinked. */
static ErrCode list_packs(Compactor *c, Err *err)
{
    mem_free(TAKE(c->numbers));
    c->number_count = 0;
    TRY(packs_list(c->store->packs, &c->numbers, &c->number_count, err));
    size_t kept = 0;
    for (size_t i = 0; i < c->number_count; i++) {
        bool retired = false;
        TRY(is_retired(c, c->numbers[i], &retired, err));
        if (!retired) c->numbers[kept++] = c->numbers[i];
    }
    c->number_count = kept;
    return OK;
}

/* What the pack itself answers is no fault of the index. */
static ErrCode of_pack(Compactor *c, ErrCode code)
{
    if (code == ERR_CORRUPT || code == ERR_IO || code == ERR_FOREIGN) c->damaged = true;
    return code;
}

/* From its beginning, past the page cache. */
static ErrCode open_scan(Compactor *c, Err *err)
{
    pack_scan_free(TAKE(c->scan));
    c->read_at = 0;
    return of_pack(c, pack_scan_open(c->store->packs, c->pack, true, &c->scan, err));
}

static ErrCode begin_survey(Compactor *c, uint64_t pack, const PackRow *row, bool census, Err *err)
{
    c->pack = pack;
    c->row = *row;
    c->census = census;
    c->kept_bytes = 0;
    c->live_bytes = 0;
    c->rest_bytes = 0;
    c->doubt_bytes = 0;
    c->record_bytes = 0;
    c->keep_all = false;
    c->copied_all = false;
    c->next_older = 0;
    c->state = SURVEY;
    atomic_store(&c->store->compacted.pack, pack);
    return open_scan(c, err);
}

static ErrCode choose(Compactor *c, uint64_t free_bytes, CompactTurn *turn, Err *err)
{
    if (c->reader == NULL) TRY(index_reader_open(c->store->index, &c->reader, err));
    TRY(list_packs(c, err));
    *turn = COMPACT_MORE;
    uint64_t wanted = c->census_of;
    c->census_of = 0;
    if (wanted != 0 && !is_skipped(c, wanted)) {
        PackRow row;
        TRY(compact_pack_row(c->reader, wanted, &row, err));
        return begin_survey(c, wanted, &row, true, err);
    }
    Choice best;
    TRY(choose_pack(c, free_bytes, &best, err));
    if (best.pack == 0) {
        index_reader_free(TAKE(c->reader));
        let_go(c);
        *turn = COMPACT_NOTHING;
        return OK;
    }
    if (all_dead(&best.row)) {
        c->pack = best.pack;
        c->rest_bytes = 0;
        retire(c, turn);
        return OK;
    }
    return begin_survey(c, best.pack, &best.row, false, err);
}

/* --- reading --- */

static void count_read(Compactor *c, uint64_t *read)
{
    uint64_t at = pack_scan_records_end(c->scan);
    *read += at - MIN(at, c->read_at);
    c->read_at = at;
}

/* The pack can't be read to its end: it is left alone, and told. */
static void note_damage(Compactor *c, ErrCode code, const Err *err)
{
    char path[PACK_PATH_MAX];
    pack_path(c->pack, path);
    RiskFound found = {.cause = risk_cause_of(code),
                       .place = path,
                       .offset = c->scan == NULL ? 0 : pack_scan_records_end(c->scan),
                       .detail = err_text(err)};
    risk_add(c->store->risk, &found);
    LOG(WARN, "compact.kept", "pack=%" PRIu64 " reason=" LOG_STR, c->pack, LOG_CSTR(err_text(err)));
}

/* All was read: does the pack end where the index knows of records? */
static ErrCode check_end(const Compactor *c, Err *err)
{
    uint64_t end = pack_scan_records_end(c->scan);
    if (end >= c->row.end) return OK;
    return err_set(err, ERR_CORRUPT,
                   "the records end at %" PRIu64 ", and the index knows of more, up to %" PRIu64,
                   end, c->row.end);
}

/* The next record of the pack, or its proper end. */
static ErrCode next_record(Compactor *c, PackRecord *record, PackPlace *place, bool *found,
                           Err *err)
{
    TRY(of_pack(c, pack_scan_next(c->scan, record, place, found, err)));
    return *found ? OK : of_pack(c, check_end(c, err));
}

static bool has_name(const Entry *entry)
{
    return compact_kind(entry) < COMPACT_KIND_REQUEST;
}

/* --- survey --- */

static ErrCode survey_record(Compactor *c, const PackRecord *record, const PackPlace *place,
                             Err *err)
{
    const Entry *entry = &record->entry;
    uint32_t name = has_name(entry) ? name_hash(entry->bucket, entry_key(entry)) : 0;
    if (has_name(entry)) names_add(&c->names, name);
    if (c->census) return OK;
    CompactLook look;
    bool outlived = false;
    TRY(compact_look(c->reader, record, place, &look, err));
    if (look.tombstone) TRY(compact_outlived(c->store, c->reader, entry, &c->buf, &outlived, err));
    c->record_bytes += place->length;
    if (look.needed)
        c->kept_bytes += place->length;
    else if (look.request && !look.tombstone)
        c->kept_bytes += MIN((uint64_t)COMPACT_REQUEST_LEN, (uint64_t)place->length);
    if (compact_kind(entry) != COMPACT_KIND_BODY)
        c->rest_bytes += place->length;
    else if (look.needed)
        c->live_bytes += place->length;
    if (look.tombstone && !outlived) {
        c->doubt_bytes += place->length;
        names_add(&c->doubted, name);
    }
    return OK;
}

/* Names of a pack that stays; known ones are not written again. */
static ErrCode save_names(Compactor *c, CompactTurn *turn, Err *err)
{
    Names none = {0};
    Names held = {0};
    bool known = false;
    TRY(compact_names_of(c->reader, c->pack, &none, &held, &known, err));
    if (known) {
        if (c->census)
            let_go(c);
        else
            looked_in_vain(c);
        return OK;
    }
    step_begin(c, COMPACT_NAMES);
    c->step->names = c->names.items;
    c->step->name_count = c->names.count;
    step_out(c, CHOOSE, turn);
    return OK;
}

static ErrCode survey(Compactor *c, uint64_t bytes, CompactTurn *turn, uint64_t *read, Err *err)
{
    while (*read < bytes) {
        PackRecord record;
        PackPlace place;
        bool found = false;
        TRY(next_record(c, &record, &place, &found, err));
        count_read(c, read);
        if (found) {
            TRY(survey_record(c, &record, &place, err));
            continue;
        }
        names_sort(&c->names);
        names_sort(&c->doubted);
        if (c->census) return save_names(c, turn, err);
        c->keep_all = c->doubt_bytes * TOMBSTONE_PART <= c->kept_bytes + c->doubt_bytes;
        c->state = NEEDED;
        return OK;
    }
    return OK;
}

/* --- which tombstones are needed --- */

static bool dropped(const Compactor *c, uint32_t name)
{
    if (fault_planted("compact-drops-tombstone")) return true;
    return !c->keep_all && !names_have(&c->held, name);
}

/* All is known: is the pack worth it, and is there room? */
static ErrCode decide(Compactor *c, uint64_t free_bytes, CompactTurn *turn, Err *err)
{
    names_sort(&c->held);
    bool none_kept = !c->keep_all && c->held.count == 0;
    uint64_t kept = c->kept_bytes + (none_kept ? 0 : c->doubt_bytes);
    bool worth = (c->record_bytes - kept) * 100 >= c->record_bytes * c->options.dead_percent;
    if (!worth) return save_names(c, turn, err);
    if (kept > 0 && kept + ROOM_BESIDE > free_bytes) {
        give_up(c, TRY_AGAIN_MS);
        return OK;
    }
    LOG(INFO, "compact.began", "pack=%" PRIu64 " bytes=%" PRIu64 " kept=%" PRIu64, c->pack,
        c->record_bytes, kept);
    c->state = COPY;
    step_begin(c, COMPACT_MOVE); /* filled by copy() */
    return open_scan(c, err);
}

/* One older pack. */
static ErrCode ask_older(Compactor *c, uint64_t free_bytes, CompactTurn *turn, Err *err)
{
    bool more = !c->keep_all && c->doubted.count > 0 && c->next_older < c->number_count &&
                c->numbers[c->next_older] < c->pack;
    if (!more) return decide(c, free_bytes, turn, err);
    uint64_t older = c->numbers[c->next_older++];
    bool known = false;
    TRY(compact_names_of(c->reader, older, &c->doubted, &c->held, &known, err));
    if (known) return OK;
    /* It may hold any name. Its names are gathered next, for another time. */
    c->keep_all = true;
    c->census_of = older;
    return OK;
}

/* --- copy --- */

/* Into the step: record, which goes instead of the one at place. */
static ErrCode hand_on(Compactor *c, const PackRecord *record, const PackPlace *place, Err *err)
{
    CompactStep *step = c->step;
    size_t len = pack_record_len(record);
    TRY(buf_reserve(&step->records, len, err));
    Enc enc = enc_of(step->records.data + step->records.len, len);
    pack_record_encode(record, &enc);
    ASSERT(!enc.failed && enc.len == len && len <= place->length);
    step->items[step->count++] = (CompactItem){.place = *place, .at = step->records.len};
    step->records.len += enc.len;
    return OK;
}

static ErrCode copy_record(Compactor *c, const PackRecord *record, const PackPlace *place, Err *err)
{
    const Entry *entry = &record->entry;
    CompactLook look;
    TRY(compact_look(c->reader, record, place, &look, err));
    if (look.tombstone) {
        look.needed = !dropped(c, name_hash(entry->bucket, entry_key(entry)));
        if (!look.needed) atomic_fetch_add(&c->store->compacted.tombstones_dropped, 1);
    }
    if (look.needed) return hand_on(c, record, place, err);
    if (!look.request) return OK;
    AUTO_BUF(attrs, COMPACT_REQUEST_ATTRS_MAX);
    PackRecord rest;
    TRY(compact_request_only(entry, &attrs, &rest, err));
    return hand_on(c, &rest, place, err);
}

static ErrCode copy(Compactor *c, uint64_t bytes, CompactTurn *turn, uint64_t *read, Err *err)
{
    if (c->copied_all) {
        retire(c, turn);
        return OK;
    }
    while (*read < bytes && c->step->count < COMPACT_STEP_RECORDS &&
           c->step->records.len < COMPACT_STEP_BYTES) {
        PackRecord record;
        PackPlace place;
        TRY(next_record(c, &record, &place, &c->copied_all, err));
        bool found = c->copied_all;
        c->copied_all = !found;
        count_read(c, read);
        if (!found) break;
        TRY(copy_record(c, &record, &place, err));
    }
    bool full = c->step->count == COMPACT_STEP_RECORDS ||
                c->step->records.len >= COMPACT_STEP_BYTES || c->copied_all;
    if (!full) return OK;
    if (c->step->count > 0) {
        *read += c->step->records.len; /* they are written, too */
        step_out(c, COPY, turn);
    }
    return OK;
}

/* --- a turn --- */

static ErrCode work(Compactor *c, uint64_t bytes, uint64_t free_bytes, CompactTurn *turn,
                    uint64_t *read, Err *err)
{
    *turn = COMPACT_MORE;
    switch (c->state) {
    case CHOOSE: return choose(c, free_bytes, turn, err);
    case SURVEY: return survey(c, bytes, turn, read, err);
    case NEEDED: return ask_older(c, free_bytes, turn, err);
    case COPY: return copy(c, bytes, turn, read, err);
    case STEP_OUT: break;
    }
    ASSERT(c->state != STEP_OUT); /* compactor_done() comes first */
    return OK;
}

ErrCode compactor_work(Compactor *c, uint64_t bytes, uint64_t free_bytes, CompactTurn *turn,
                       uint64_t *read, Err *err)
{
    Err own = {0};
    CompactTurn now = COMPACT_MORE;
    uint64_t done = 0;
    ErrCode code = work(c, bytes, free_bytes, &now, &done, &own);
    *read = done;
    *turn = code == OK ? now : COMPACT_NOTHING;
    if (code == OK) return OK;
    if (c->pack == 0) { /* nothing in hand: the index, or the list of packs */
        let_go(c);
    } else if (code == ERR_NOT_FOUND) { /* it is gone: nothing is left to do */
        let_go(c);
        return OK;
    } else if (c->damaged) {
        note_damage(c, code, &own);
        give_up(c, c->options.look_again_ms);
        return OK;
    } else {
        give_up(c, TRY_AGAIN_MS);
    }
    if (err != NULL) *err = own;
    return code;
}
