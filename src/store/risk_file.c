/* risk.json: one object {format, unlisted, entries}; see docs/format.md. */
#include "store/risk_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text/dates.h"
#include "text/json.h"

#define SAVE_EVERY_NS (1000ULL * 1000 * 1000)

/* --- writing --- */

static void entry_write(JsonWriter *json, const RiskEntry *entry)
{
    char text[ID128_TEXT_LEN + 1];
    json_write_object_begin(json);
    if (!id128_is_zero(entry->file)) {
        char uid[24];
        id128_text(entry->file, text);
        json_member_cstr(json, "id", text);
        version_id_text(entry->version, text);
        json_member_cstr(json, "version", text);
        int len = snprintf(uid, sizeof uid, "%" PRIu64, entry->bucket);
        ASSERT(len > 0 && (size_t)len < sizeof uid);
        json_member_cstr(json, "bucket_uid", uid);
        json_member_str(json, "key", str_of(entry->key, entry->key_len));
        json_member_u64(json, "size", entry->size);
    }
    json_member_cstr(json, "cause", risk_cause_name(entry->cause));
    json_member_cstr(json, "place", entry->place);
    json_member_u64(json, "offset", entry->offset);
    json_member_cstr(json, "detail", entry->detail);
    json_member_time_ms(json, "since", entry->since_ms);
    json_member_time_ms(json, "last_seen", entry->seen_ms);
    json_write_object_end(json);
}

ErrCode risk_file_store(Risk *risk, Err *err)
{
    AUTO_BUF(out, RISK_FILE_MAX);
    JsonWriter json;
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    json_writer_init(&json, &out);
    json_write_object_begin(&json);
    json_member_u64(&json, "format", RISK_FORMAT);
    json_member_u64(&json, "unlisted", risk_unlisted(risk));
    json_write_key(&json, "entries");
    json_write_array_begin(&json);
    while (risk_next(risk, &cursor, &entry))
        entry_write(&json, &entry);
    json_write_array_end(&json);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    TRY(buf_append(&out, "\n", 1, err));
    return disk_replace_durable(risk->disk, RISK_FILE, buf_str(&out), err);
}

ErrCode risk_save(Risk *risk, bool force, Err *err)
{
    if (risk->broken) return OK;
    uint64_t now = clock_boot_ns(risk->clock);
    if (!force && risk->saved_ns != 0 && now - risk->saved_ns < SAVE_EVERY_NS) return OK;
    lock_take(&risk->lock);
    bool dirty = risk->dirty;
    risk->dirty = false;
    lock_give(&risk->lock);
    if (!dirty) return OK;
    risk->saved_ns = now;
    ErrCode code = risk_file_store(risk, err);
    if (code == OK) return OK;
    risk->broken = code == ERR_IO;
    lock_take(&risk->lock);
    risk->dirty = true;
    lock_give(&risk->lock);
    return err_wrap(err, code, "write " RISK_FILE);
}

/* --- reading --- */

static bool cause_parse(Str text, RiskCause *out)
{
    for (RiskCause cause = RISK_CHECKSUM; cause <= RISK_FOREIGN; cause++) {
        if (!str_eq(text, str_from_cstr(risk_cause_name(cause)))) continue;
        *out = cause;
        return true;
    }
    return false;
}

/* The members that only a file has. */
static ErrCode file_read(const json_t *object, RiskEntry *entry, Err *err)
{
    Str id = {NULL, 0};
    Str version;
    Str bucket;
    Str key;
    TRY(json_get_optional_str(object, "id", &id, err));
    if (id.ptr == NULL) return OK; /* a place */
    TRY(json_get_str(object, "version", &version, err));
    TRY(json_get_str(object, "bucket_uid", &bucket, err));
    TRY(json_get_str(object, "key", &key, err));
    TRY(json_get_u64(object, "size", &entry->size, err));
    if (!id128_parse(id, &entry->file) || id128_is_zero(entry->file) ||
        !version_id_parse(version, &entry->version) ||
        !str_to_u64(bucket, UINT64_MAX, &entry->bucket) || key.len > KEY_MAX) {
        return err_set(err, ERR_INVALID, "an id, version, bucket or key is malformed");
    }
    memcpy(entry->key, key.ptr, key.len);
    entry->key_len = key.len;
    return OK;
}

static ErrCode entry_read(const json_t *object, RiskEntry *entry, Err *err)
{
    Str cause;
    Str place;
    Str detail;
    Str since;
    Str seen;
    *entry = (RiskEntry){.key_len = 0};
    TRY(file_read(object, entry, err));
    TRY(json_get_str(object, "cause", &cause, err));
    TRY(json_get_str(object, "place", &place, err));
    TRY(json_get_u64(object, "offset", &entry->offset, err));
    TRY(json_get_str(object, "detail", &detail, err));
    TRY(json_get_str(object, "since", &since, err));
    TRY(json_get_str(object, "last_seen", &seen, err));
    if (!cause_parse(cause, &entry->cause) || place.len == 0 ||
        !str_to_cstr(place, entry->place, sizeof entry->place) ||
        !str_to_cstr(detail, entry->detail, sizeof entry->detail) ||
        !date_parse_rfc3339(since, &entry->since_ms) ||
        !date_parse_rfc3339(seen, &entry->seen_ms)) {
        return err_set(err, ERR_INVALID, "a cause, place or time is malformed");
    }
    return OK;
}

static ErrCode file_parse(Risk *risk, Str text, Err *err)
{
    AUTO(json_t, json_free) json = NULL;
    uint64_t format = 0;
    uint64_t unlisted = 0;
    TRY(json_parse(text, &json, err));
    TRY(json_get_u64(json, "format", &format, err));
    if (format > RISK_FORMAT) {
        return err_set(err, ERR_FORMAT_VERSION,
                       RISK_FILE ": format %" PRIu64 " was written by a newer release", format);
    }
    TRY(json_get_u64(json, "unlisted", &unlisted, err));
    const json_t *entries = json_object_get(json, "entries");
    if (!json_is_array(entries)) return err_set(err, ERR_INVALID, "there are no entries");
    for (size_t i = 0; i < json_array_size(entries); i++) {
        RiskEntry entry;
        TRY(entry_read(json_array_get(entries, i), &entry, err));
        if (!risk_restore(risk, &entry)) unlisted++;
    }
    atomic_store(&risk->unlisted, unlisted);
    return OK;
}

ErrCode risk_file_load(Risk *risk, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    ErrCode code = disk_read_file(risk->disk, RISK_FILE, RISK_FILE_MAX, &text, &len, err);
    if (code == ERR_NOT_FOUND) return OK;
    if (code == ERR_TOO_BIG) return err_wrap(err, ERR_INVALID, "read " RISK_FILE);
    TRY(code);
    code = file_parse(risk, str_of(text, len), err);
    return code == OK ? OK : err_wrap(err, code, RISK_FILE);
}

ErrCode risk_file_quarantine(Risk *risk, uint64_t number, Err *err)
{
    char path[DISK_PATH_MAX];
    int len = snprintf(path, sizeof path, "quarantine/risk_%" PRIu64 ".json", number);
    ASSERT(len > 0 && (size_t)len < sizeof path);
    TRY(disk_mkdir_durable(risk->disk, "quarantine", err));
    return disk_rename_durable(risk->disk, RISK_FILE, path, err);
}
