/* scrub.json: where scrub stands (docs/format.md). */
#include "store/scrub_priv.h"

#include <string.h>

#include "text/json.h"

#define SCRUB_FORMAT 1
#define SCRUB_FILE_MAX (16 * KIB)

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
    TRY(json_get_optional_u64(json, "segment", &st->segment, err));
    TRY(json_get_optional_u64(json, "page", &st->page, err));
    TRY(json_get_optional_bool(json, "paused", &paused, err));
    if (area < SCRUB_WAITING || area > SCRUB_INDEX)
        return err_set(err, ERR_CORRUPT, "area of " SCRUB_FILE);
    take_hex(s, key);
    st->area = (ScrubArea)area;
    if (st->area == SCRUB_FILES && st->damaged > 0) { /* which packs they were, nobody knows now */
        st->area = SCRUB_PACKS;
        st->pack = 0;
        s->key_len = 0;
        st->bytes_done = 0; /* a little too few: it reads the faster */
    }
    st->paused = paused;
    return OK;
}

ErrCode scrub_load(Scrub *s, Err *err)
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

ErrCode scrub_save(Scrub *s, Err *err)
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
    json_member_u64(&json, "segment", st.segment);
    json_member_u64(&json, "page", st.page);
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
