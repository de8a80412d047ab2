#include "store/scrub.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "store/scrub_priv.h"

#define SAVE_EVERY_NS (60ULL * 1000 * 1000 * 1000)
#define IDLE_MS 1000
#define ESTIMATE_PART 20
#define DOUBT_MS 100 /* until a page that looks bad is asked about again */
/* Of the period a pass aims at: the rest is for what comes up. */
#define PERIOD_PARTS 10
#define PERIOD_AIM 9

/* --- status --- */

void scrub_status(Scrub *s, ScrubStatus *out)
{
    lock_take(&s->lock);
    *out = s->status;
    lock_give(&s->lock);
}

static void set_paused(Scrub *s, bool paused, bool start)
{
    lock_take(&s->lock);
    s->status.paused = paused;
    s->save_now = true;
    if (start && s->status.area == SCRUB_WAITING) s->start_now = true;
    lock_give(&s->lock);
}

void scrub_pause(Scrub *s)
{
    set_paused(s, true, false);
}

void scrub_resume(Scrub *s)
{
    set_paused(s, false, false);
}

void scrub_start(Scrub *s)
{
    set_paused(s, false, true);
}

void scrub_count(Scrub *s, uint64_t read, uint64_t damaged)
{
    lock_take(&s->lock);
    s->status.bytes_done += read;
    s->status.bytes_verified += read;
    s->status.damaged += damaged;
    lock_give(&s->lock);
}

/* --- life --- */

/* Sums of the index: bytes of packs, of these those of files' bodies, and bytes of all files. */
typedef struct {
    uint64_t packed;
    uint64_t live;
    uint64_t stored;
    uint64_t rows; /* bytes that the rows of files count as */
} Sums;

static ErrCode sum_rows(IndexReader *reader, char kind, Sums *sums, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(reader, str_of(&kind, 1), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        BucketStatRow bucket;
        PackRow pack;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != kind) return OK;
        if (kind == 'u' && bucket_stat_decode(value, &bucket)) {
            sums->stored += bucket.bytes;
            sums->rows += SCRUB_ROW_BYTES * bucket.files;
        } else if (kind == 'p' && pack_row_decode(value, &pack)) {
            uint64_t rest = MIN(pack.dead + pack.unsure, pack.bytes);
            sums->packed += MAX(pack.end, pack.bytes); /* with what stands between batches */
            sums->live += pack.bytes - rest;
        }
    }
}

/* About how much there is to read: the log, the index, packs with what is dead in them, and the
 * bytes of files that are in none. */
static ErrCode measure(Scrub *s, uint64_t *out, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    static const char kinds[] = {'u', 'p'};
    Sums sums = {0};
    WalStats log;
    IndexStats index;
    TRY(index_reader_open(s->store->index, &reader, err));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) { /* of a damaged index what can be read */
        Err own = {0};
        ErrCode code = sum_rows(reader, kinds[i], &sums, &own);
        if (code != OK && code != ERR_CORRUPT) return err_set(err, code, "%s", err_text(&own));
    }
    wal_stats(s->store->wal, &log);
    index_stats(s->store->index, &index);
    uint64_t closed = log.segment_bytes -
                      MIN(log.segment_bytes, s->store->options.wal_segment_size);
    *out = closed + index.file_bytes + sums.packed + sums.rows +
           (sums.stored - MIN(sums.stored, sums.live));
    return OK;
}

ErrCode scrub_open(Store *store, const ScrubOptions *options, Scrub **out, Err *err)
{
    AUTO(Scrub, scrub_free) s = mem_new(sizeof *s);
    lock_init(&s->lock, LOCK_RANK_STORE);
    s->options = *options;
    s->status.area = SCRUB_WAITING;
    buf_init(&s->buf, PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8);
    buf_init(&s->row, ROW_VALUE_MAX);
    s->store = store;
    s->sha = hash_new(HASH_SHA256);
    TRY(scrub_load(s, err));
    if (s->status.area != SCRUB_WAITING) TRY(measure(s, &s->status.bytes_total, err));
    s->opened = true;
    *out = TAKE(s);
    return OK;
}

void scrub_free(Scrub *s)
{
    if (s == NULL) return;
    Err err = {0};
    if (s->opened && s->status.pass > 0 && scrub_save(s, &err) != OK)
        LOG(WARN, "scrub.not_saved", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    scrub_let_go(s);
    mem_free(s->suspects);
    hash_free(s->sha);
    buf_deinit(&s->buf);
    buf_deinit(&s->row);
    lock_deinit(&s->lock);
    mem_free(s);
}

/* --- passes --- */

/* Milliseconds in which a pass is to be through. */
static uint64_t aim_ms(const Scrub *s)
{
    return s->options.period_ms / PERIOD_PARTS * PERIOD_AIM;
}

/* A new pass, if it is time for one. */
static ErrCode begin_pass(Scrub *s, Err *err)
{
    uint64_t now = clock_wall_ms(s->store->options.clock);
    uint64_t total = 0;
    ScrubStatus *st = &s->status;
    bool due = st->pass == 0 || s->start_now || now < st->started_ms ||
               now - st->started_ms >= aim_ms(s);
    if (!due) return OK;
    TRY(measure(s, &total, err));
    lock_take(&s->lock);
    s->start_now = false;
    st->area = SCRUB_LOG;
    st->pass++;
    st->started_ms = now;
    st->segment = 0;
    st->page = 0;
    st->pack = 0;
    st->bytes_done = 0;
    st->bytes_total = total;
    st->damaged = 0;
    lock_give(&s->lock);
    s->suspect_count = 0;
    s->key_len = 0;
    s->given_up = false;
    risk_recount(s->store->risk);
    TRY(store_review_risk(s->store, false, err));
    LOG(INFO, "scrub.began", "pass=%" PRIu64 " bytes=%" PRIu64, st->pass, total);
    if (total / MAX(aim_ms(s) / 1000, (uint64_t)1) > s->options.rate_max) {
        LOG(WARN, "scrub.too_slow", "bytes=%" PRIu64 " rate_max=%" PRIu64, total,
            s->options.rate_max);
    }
    return scrub_save(s, err);
}

/* The area behind one; SCRUB_WAITING: it was the last. */
static ScrubArea next_area(ScrubArea area)
{
    switch (area) {
    case SCRUB_LOG: return SCRUB_INDEX;
    case SCRUB_INDEX: return SCRUB_PACKS;
    case SCRUB_PACKS: return SCRUB_FILES;
    case SCRUB_FILES:
    case SCRUB_WAITING: break;
    }
    return SCRUB_WAITING;
}

static ErrCode end_area(Scrub *s, Err *err)
{
    ScrubStatus *st = &s->status;
    lock_take(&s->lock);
    st->area = next_area(st->area);
    if (st->area == SCRUB_WAITING && !s->given_up)
        st->last_full_ms = clock_wall_ms(s->store->options.clock);
    lock_give(&s->lock);
    if (st->area == SCRUB_WAITING) {
        LOG(INFO, "scrub.ended", "pass=%" PRIu64 " bytes=%" PRIu64 " damaged=%" PRIu64, st->pass,
            st->bytes_done, st->damaged);
    }
    return scrub_save(s, err);
}

/* Bytes a second that bring the pass to its end in time, and at which it goes on. */
static uint64_t pace(Scrub *s)
{
    ScrubStatus *st = &s->status;
    uint64_t now = clock_wall_ms(s->store->options.clock);
    uint64_t aim = aim_ms(s);
    uint64_t gone = now < st->started_ms ? 0 : now - st->started_ms;
    uint64_t time_left = gone < aim ? aim - gone : 1;
    uint64_t left = st->bytes_total - MIN(st->bytes_total, st->bytes_done);
    left = MAX(left, st->bytes_total / ESTIMATE_PART); /* the total is about so right */
    uint64_t needed = MIN(left / MAX(time_left / 1000, (uint64_t)1), s->options.rate_max);
    uint64_t rate = MIN(MAX(needed, s->options.rate_min), s->options.rate_max);
    lock_take(&s->lock);
    st->needed = needed;
    st->rate = rate;
    lock_give(&s->lock);
    return MAX(rate, (uint64_t)1);
}

uint64_t scrub_put_off_ms(uint64_t read, uint64_t needed_rate, uint64_t most_ms)
{
    if (read == 0) return 0; /* it only went from one file to the next */
    return needed_rate == 0 ? most_ms : MIN(read * 1000 / needed_rate, most_ms);
}

static ErrCode read_area(Scrub *s, uint64_t bytes, uint64_t *read, bool *ended, Err *err)
{
    switch (s->status.area) {
    case SCRUB_LOG: return scrub_log(s, bytes, read, ended, err);
    case SCRUB_INDEX: return scrub_index(s, bytes, read, ended, err);
    case SCRUB_PACKS: return scrub_packs(s, bytes, read, ended, err);
    case SCRUB_FILES: return scrub_files(s, bytes, read, ended, err);
    case SCRUB_WAITING: break;
    }
    return OK;
}

static ErrCode work(Scrub *s, uint64_t bytes, uint64_t *read, Err *err)
{
    bool ended = false;
    if (s->status.area == SCRUB_WAITING) return begin_pass(s, err);
    TRY(read_area(s, bytes, read, &ended, err));
    if (ended) return end_area(s, err);
    bool save_it = clock_boot_ns(s->store->options.clock) - s->saved_ns >= SAVE_EVERY_NS;
    return save_it ? scrub_save(s, err) : OK;
}

ErrCode scrub_work(Scrub *s, uint64_t bytes, uint64_t *read, uint64_t *rest_ms, Err *err)
{
    *read = 0;
    *rest_ms = IDLE_MS;
    lock_take(&s->lock);
    bool save_now = s->save_now;
    bool paused = s->status.paused;
    s->save_now = false;
    lock_give(&s->lock);
    if (save_now) TRY(scrub_save(s, err));
    if (paused || s->options.period_ms == 0) return OK;
    ErrCode code = work(s, bytes, read, err);
    if (code == OK && s->doubt != 0)
        *rest_ms = DOUBT_MS;
    else if (code == OK && s->status.area != SCRUB_WAITING)
        *rest_ms = *read * 1000 / pace(s);
    return code;
}
