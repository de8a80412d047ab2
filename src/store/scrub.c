#include "store/scrub.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "store/scrub_priv.h"
#include "text/json.h"

#define SCRUB_FORMAT 1
#define SCRUB_FILE_MAX (16 * KIB)
#define SAVE_EVERY_NS (60ULL * 1000 * 1000 * 1000)
#define IDLE_MS 1000
/* Of the period a pass aims at: the rest is for what comes up. */
#define PERIOD_PARTS 10
#define PERIOD_AIM 9

/* --- scrub.json --- */

static void take_hex(Scrub *s, Str hex)
{
    s->key_len = 0;
    if (hex.len % 2 != 0 || hex.len / 2 > sizeof s->key) return;
    if (hex_decode(hex, s->key, hex.len / 2)) s->key_len = hex.len / 2;
}

static ErrCode parse(Scrub *s, Str text, Err *err)
{
    AUTO(json_t, json_free) json = NULL;
    uint64_t format = 0;
    uint64_t area = 0;
    Str key = {NULL, 0};
    bool paused = false;
    ScrubStatus *st = &s->status;
    TRY(json_parse(text, &json, err));
    TRY(json_get_u64(json, "format", &format, err));
    if (format != SCRUB_FORMAT) return err_set(err, ERR_FORMAT_VERSION, "format of " SCRUB_FILE);
    TRY(json_get_u64(json, "area", &area, err));
    TRY(json_get_u64(json, "pass", &st->pass, err));
    TRY(json_get_u64(json, "started_ms", &st->started_ms, err));
    TRY(json_get_u64(json, "last_full_ms", &st->last_full_ms, err));
    TRY(json_get_u64(json, "pack", &st->pack, err));
    TRY(json_get_u64(json, "bytes_done", &st->bytes_done, err));
    TRY(json_get_u64(json, "damaged", &st->damaged, err));
    TRY(json_get_str(json, "key", &key, err));
    TRY(json_get_optional_bool(json, "paused", &paused, err));
    if (area < SCRUB_WAITING || area > SCRUB_FILES)
        return err_set(err, ERR_CORRUPT, "area of " SCRUB_FILE);
    take_hex(s, key);
    st->area = (ScrubArea)area;
    if (st->area == SCRUB_FILES && st->damaged > 0) { /* which packs they were, nobody knows now */
        st->area = SCRUB_PACKS;
        st->pack = 0;
        s->key_len = 0;
        st->bytes_done = 0;
    }
    st->paused = paused;
    return OK;
}

static ErrCode load(Scrub *s, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    ErrCode code = disk_read_file(s->store->disk, SCRUB_FILE, SCRUB_FILE_MAX, &text, &len, err);
    if (code == ERR_NOT_FOUND) return OK;
    TRY(code);
    ErrCode parsed = parse(s, str_of(text, len), err);
    if (parsed == OK) return OK;
    s->status = (ScrubStatus){.area = SCRUB_WAITING}; /* only a place to go on from is lost */
    s->key_len = 0;
    return OK;
}

static ErrCode save(Scrub *s, Err *err)
{
    AUTO_BUF(out, SCRUB_FILE_MAX);
    JsonWriter json;
    char hex[2 * sizeof s->key + 1];
    ScrubStatus st;
    scrub_status(s, &st);
    hex_encode(s->key, s->key_len, hex);
    hex[2 * s->key_len] = '\0';
    json_writer_init(&json, &out);
    json_write_object_begin(&json);
    json_member_u64(&json, "format", SCRUB_FORMAT);
    json_member_u64(&json, "area", st.area);
    json_member_u64(&json, "pass", st.pass);
    json_member_u64(&json, "started_ms", st.started_ms);
    json_member_u64(&json, "last_full_ms", st.last_full_ms);
    json_member_u64(&json, "pack", st.pack);
    json_member_u64(&json, "bytes_done", st.bytes_done);
    json_member_u64(&json, "damaged", st.damaged);
    json_member_cstr(&json, "key", hex);
    json_member_bool(&json, "paused", st.paused);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    s->saved_ns = clock_boot_ns(s->store->options.clock);
    return disk_replace_durable(s->store->disk, SCRUB_FILE, buf_str(&out), err);
}

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

/* About how much there is to read: packs as they are, and the bytes of files beyond. */
static ErrCode measure(Scrub *s, uint64_t *out, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    uint64_t total = 0;
    TRY(index_reader_open(s->store->index, &reader, err));
    TRY(index_scan(reader, STR("u"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        BucketStatRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'u') break;
        if (bucket_stat_decode(value, &row)) total += row.bytes + 128 * row.files;
    }
    *out = total;
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
    TRY(load(s, err));
    if (s->status.area != SCRUB_WAITING) TRY(measure(s, &s->status.bytes_total, err));
    s->opened = true;
    *out = TAKE(s);
    return OK;
}

void scrub_free(Scrub *s)
{
    if (s == NULL) return;
    Err err = {0};
    if (s->opened && s->status.pass > 0 && save(s, &err) != OK)
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

/* A new pass, if it is time for one. */
static ErrCode begin_pass(Scrub *s, Err *err)
{
    uint64_t now = clock_wall_ms(s->store->options.clock);
    uint64_t total = 0;
    ScrubStatus *st = &s->status;
    bool due = st->pass == 0 || s->start_now || now < st->started_ms ||
               now - st->started_ms >= s->options.period_ms / PERIOD_PARTS * PERIOD_AIM;
    if (!due) return OK;
    TRY(measure(s, &total, err));
    lock_take(&s->lock);
    s->start_now = false;
    st->area = SCRUB_PACKS;
    st->pass++;
    st->started_ms = now;
    st->pack = 0;
    st->bytes_done = 0;
    st->bytes_total = total;
    st->damaged = 0;
    lock_give(&s->lock);
    s->suspect_count = 0;
    s->key_len = 0;
    risk_recount(s->store->risk);
    LOG(INFO, "scrub.began", "pass=%" PRIu64 " bytes=%" PRIu64, st->pass, total);
    return save(s, err);
}

static ErrCode end_area(Scrub *s, Err *err)
{
    ScrubStatus *st = &s->status;
    lock_take(&s->lock);
    if (st->area == SCRUB_PACKS) {
        st->area = SCRUB_FILES;
    } else {
        st->area = SCRUB_WAITING;
        st->last_full_ms = clock_wall_ms(s->store->options.clock);
    }
    lock_give(&s->lock);
    if (st->area == SCRUB_WAITING) {
        LOG(INFO, "scrub.ended", "pass=%" PRIu64 " bytes=%" PRIu64 " damaged=%" PRIu64, st->pass,
            st->bytes_done, st->damaged);
    }
    return save(s, err);
}

/* Bytes a second that bring the pass to its end in time. */
static uint64_t pace(Scrub *s)
{
    ScrubStatus *st = &s->status;
    uint64_t now = clock_wall_ms(s->store->options.clock);
    uint64_t aim = s->options.period_ms / PERIOD_PARTS * PERIOD_AIM;
    uint64_t gone = now < st->started_ms ? 0 : now - st->started_ms;
    uint64_t time_left = gone < aim ? aim - gone : 1;
    uint64_t left = st->bytes_total - MIN(st->bytes_total, st->bytes_done);
    uint64_t rate = left / MAX(time_left / 1000, (uint64_t)1);
    rate = MIN(MAX(rate, s->options.rate_min), s->options.rate_max);
    lock_take(&s->lock);
    st->rate = rate;
    lock_give(&s->lock);
    return MAX(rate, (uint64_t)1);
}

static ErrCode work(Scrub *s, uint64_t bytes, uint64_t *read, Err *err)
{
    bool ended = false;
    ScrubStatus *st = &s->status;
    if (st->area == SCRUB_WAITING) return begin_pass(s, err);
    TRY(st->area == SCRUB_PACKS ? scrub_packs(s, bytes, read, &ended, err)
                                : scrub_files(s, bytes, read, &ended, err));
    if (ended) return end_area(s, err);
    bool save_it = clock_boot_ns(s->store->options.clock) - s->saved_ns >= SAVE_EVERY_NS;
    return save_it ? save(s, err) : OK;
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
    if (save_now) TRY(save(s, err));
    if (paused || s->options.period_ms == 0) return OK;
    ErrCode code = work(s, bytes, read, err);
    if (code == OK && s->status.area != SCRUB_WAITING) *rest_ms = *read * 1000 / pace(s);
    return code;
}
