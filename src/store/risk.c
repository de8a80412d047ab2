#include "store/risk.h"

#include <inttypes.h>
#include <string.h>

#include "base/codec.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/risk_priv.h"

/* Last seen is written anew only when it is so much later. */
#define SEEN_STEP_MS (60 * 1000)

static Metric files_metric = {
    .kind = METRIC_GAUGE,
    .name = "holdfast_files_at_risk",
    .help = "Files (versions) whose stored bytes are damaged and of which no good copy is known.",
    .labels = "",
};
static Metric places_metric = {
    .kind = METRIC_GAUGE,
    .name = "holdfast_places_at_risk",
    .help = "Damaged places that belong to no file: pages of the index, parts of the log.",
    .labels = "",
};

static Metric index_metric = {
    .kind = METRIC_GAUGE,
    .name = "holdfast_index_places_at_risk",
    .help = "Damaged places of index.db: holdfast recover --rebuild index.",
    .labels = "",
};

static void register_metrics(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&done)) return;
    metric_register(&files_metric);
    metric_register(&places_metric);
    metric_register(&index_metric);
}

/* One entry; key, place and detail stand one behind the other in text, each ending in a NUL. */
typedef struct {
    FileId file;
    VersionId version;
    BucketUid bucket;
    uint64_t size;
    RiskCause cause;
    uint64_t offset;
    uint64_t since_ms;
    uint64_t seen_ms;
    size_t key_len;
    size_t place_len;
    size_t detail_len;
    char text[];
} Item;

RiskCause risk_cause_of(ErrCode code)
{
    if (code == ERR_NOT_FOUND || code == ERR_END) return RISK_MISSING;
    if (code == ERR_FOREIGN) return RISK_FOREIGN;
    return code == ERR_IO ? RISK_UNREADABLE : RISK_CHECKSUM;
}

const char *risk_cause_name(RiskCause cause)
{
    switch (cause) {
    case RISK_CHECKSUM: return "checksum";
    case RISK_UNREADABLE: return "unreadable";
    case RISK_MISSING: return "missing";
    case RISK_FOREIGN: return "foreign";
    }
    return "checksum";
}

/* --- keys of the map: 'f' file id, version; 'p' path, 0, offset --- */

static Str file_key(FileId file, VersionId version, RiskCursor *out)
{
    Enc enc = enc_of(out->key, sizeof out->key);
    enc_u8(&enc, 'f');
    enc_bytes(&enc, file.bytes, sizeof file.bytes);
    enc_u32_be(&enc, version.term);
    enc_u64_be(&enc, version.lsn);
    ASSERT(!enc.failed);
    out->len = enc.len;
    return str_of(out->key, out->len);
}

static Str path_key(const char *place, RiskCursor *out)
{
    Enc enc = enc_of(out->key, sizeof out->key);
    enc_u8(&enc, 'p');
    enc_bytes(&enc, place, strnlen(place, DISK_PATH_MAX));
    enc_u8(&enc, 0);
    ASSERT(!enc.failed);
    out->len = enc.len;
    return str_of(out->key, out->len);
}

static Str place_key(const char *place, uint64_t offset, RiskCursor *out)
{
    path_key(place, out);
    Enc enc = enc_of(out->key + out->len, sizeof out->key - out->len);
    enc_u64_be(&enc, offset);
    ASSERT(!enc.failed);
    out->len += enc.len;
    return str_of(out->key, out->len);
}

static Str entry_key_of(const RiskFound *found, RiskCursor *out)
{
    if (id128_is_zero(found->file)) return place_key(found->place, found->offset, out);
    return file_key(found->file, found->version, out);
}

/* --- items --- */

/* At most max bytes of text, cut between characters. */
static size_t text_len(const char *text, size_t max)
{
    size_t len = text == NULL ? 0 : strnlen(text, max + 1);
    if (len <= max) return len;
    len = max;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static Item *item_new(const RiskFound *found, uint64_t since_ms, uint64_t seen_ms)
{
    bool is_file = !id128_is_zero(found->file);
    size_t key_len = is_file ? MIN(found->key.len, (size_t)KEY_MAX) : 0;
    size_t place_len = text_len(found->place, DISK_PATH_MAX);
    size_t detail_len = text_len(found->detail, RISK_DETAIL_MAX);
    Item *item = mem_new(sizeof *item + key_len + place_len + detail_len + 3);
    item->cause = found->cause;
    item->offset = found->offset;
    item->since_ms = since_ms;
    item->seen_ms = seen_ms;
    item->key_len = key_len;
    item->place_len = place_len;
    item->detail_len = detail_len;
    if (is_file) {
        item->file = found->file;
        item->version = found->version;
        item->bucket = found->bucket;
        item->size = found->size;
    }
    char *text = item->text;
    if (key_len > 0) memcpy(text, found->key.ptr, key_len);
    text += key_len + 1;
    if (place_len > 0) memcpy(text, found->place, place_len);
    text += place_len + 1;
    if (detail_len > 0) memcpy(text, found->detail, detail_len);
    return item;
}

static const char *item_place(const Item *item)
{
    return item->text + item->key_len + 1;
}

static const char *item_detail(const Item *item)
{
    return item_place(item) + item->place_len + 1;
}

static void item_copy(const Item *item, RiskEntry *out)
{
    out->file = item->file;
    out->version = item->version;
    out->bucket = item->bucket;
    out->size = item->size;
    out->cause = item->cause;
    out->offset = item->offset;
    out->since_ms = item->since_ms;
    out->seen_ms = item->seen_ms;
    out->key_len = item->key_len;
    memcpy(out->key, item->text, item->key_len);
    memcpy(out->place, item_place(item), item->place_len + 1);
    memcpy(out->detail, item_detail(item), item->detail_len + 1);
}

static void log_new(const RiskFound *found)
{
    if (id128_is_zero(found->file)) {
        LOG_TO(OPERATIONS, ERROR, "place.at_risk",
               "cause=%s place=" LOG_STR " offset=%" PRIu64 " error=" LOG_STR,
               risk_cause_name(found->cause), LOG_CSTR(found->place), found->offset,
               LOG_CSTR(found->detail));
        return;
    }
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    id128_text(found->file, id);
    version_id_text(found->version, version);
    LOG_TO(OPERATIONS, ERROR, "file.at_risk",
           "id=\"%s\" version=\"%s\" key=" LOG_STR " size=%" PRIu64 " cause=%s place=" LOG_STR
           " offset=%" PRIu64 " error=" LOG_STR,
           id, version, LOG_ARG(found->key), found->size, risk_cause_name(found->cause),
           LOG_CSTR(found->place), found->offset, LOG_CSTR(found->detail));
}

static void log_end(const Item *item, RiskEnd why)
{
    const char *reason = why == RISK_WHOLE ? "whole" : "gone";
    if (id128_is_zero(item->file)) {
        LOG_TO(OPERATIONS, INFO, "place.risk_ended", "why=%s place=" LOG_STR " offset=%" PRIu64,
               reason, LOG_CSTR(item_place(item)), item->offset);
        return;
    }
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    id128_text(item->file, id);
    version_id_text(item->version, version);
    LOG_TO(OPERATIONS, INFO, "file.risk_ended", "why=%s id=\"%s\" version=\"%s\" key=" LOG_STR,
           reason, id, version, LOG_ARG(str_of(item->text, item->key_len)));
}

/* One more (1) or one fewer (-1) of item's kind is listed. */
static void count(Risk *risk, const Item *item, int change)
{
    bool place = id128_is_zero(item->file);
    atomic_fetch_add(place ? &risk->places : &risk->files, (size_t)change);
    metric_add(place ? &places_metric : &files_metric, change);
    if (!place || !str_starts_with(str_from_cstr(item_place(item)), STR("index.db"))) return;
    atomic_fetch_add(&risk->index_places, (size_t)change);
    metric_add(&index_metric, change);
}

/* --- changes --- */

/* Under the lock. False: there is no room. */
static bool put(Risk *risk, Str key, const RiskFound *found, bool *is_new)
{
    uint64_t now = clock_wall_ms(risk->clock);
    Item *old = omap_get(risk->entries, key);
    *is_new = old == NULL;
    if (old == NULL && omap_count(risk->entries) >= RISK_MAX) return false;
    Item *item = item_new(found, old == NULL ? now : old->since_ms, now);
    const Item *before = omap_put(risk->entries, key, item);
    ASSERT(before == old);
    if (old == NULL) count(risk, item, 1);
    bool same = old != NULL && old->cause == item->cause && old->offset == item->offset &&
                strcmp(item_place(old), item_place(item)) == 0;
    if (same && now >= old->seen_ms && now - old->seen_ms < SEEN_STEP_MS) {
        item->seen_ms = old->seen_ms; /* else a busy damaged file would never be written */
    } else {
        risk->dirty = true;
    }
    mem_free(old);
    return true;
}

void risk_add(Risk *risk, const RiskFound *found)
{
    ASSERT(found->place != NULL && found->cause >= RISK_CHECKSUM && found->cause <= RISK_FOREIGN);
    RiskCursor key;
    bool is_new = false;
    lock_take(&risk->lock);
    bool listed = put(risk, entry_key_of(found, &key), found, &is_new);
    if (!listed) risk->dirty = true;
    lock_give(&risk->lock);
    if (!listed) {
        if (atomic_fetch_add(&risk->unlisted, 1) == 0) {
            LOG_TO(OPERATIONS, ERROR, "risk.list_full", "listed=%d", RISK_MAX);
        }
        return;
    }
    if (is_new) log_new(found);
}

/* Takes the entry of that key away, if there is one. */
static void clear(Risk *risk, Str key, RiskEnd why)
{
    lock_take(&risk->lock);
    Item *item = omap_remove(risk->entries, key);
    if (item != NULL) {
        count(risk, item, -1);
        risk->dirty = true;
    }
    lock_give(&risk->lock);
    if (item != NULL) log_end(item, why);
    mem_free(item);
}

void risk_clear(Risk *risk, FileId file, VersionId version, RiskEnd why)
{
    RiskCursor key;
    if (atomic_load_explicit(&risk->files, memory_order_relaxed) == 0) return;
    clear(risk, file_key(file, version, &key), why);
}

void risk_clear_place(Risk *risk, const char *place, uint64_t offset, RiskEnd why)
{
    RiskCursor key;
    if (atomic_load_explicit(&risk->places, memory_order_relaxed) == 0) return;
    clear(risk, place_key(place, offset, &key), why);
}

void risk_clear_path(Risk *risk, const char *place, RiskEnd why)
{
    RiskCursor prefix;
    Str from = path_key(place, &prefix);
    while (atomic_load_explicit(&risk->places, memory_order_relaxed) > 0) {
        RiskCursor key = {.len = 0};
        lock_take(&risk->lock);
        const OMapNode *node = omap_first(risk->entries, from);
        if (node != NULL && str_starts_with(omap_key(node), from)) {
            key.len = omap_key(node).len;
            memcpy(key.key, omap_key(node).ptr, key.len);
        }
        lock_give(&risk->lock);
        if (key.len == 0) return;
        clear(risk, str_of(key.key, key.len), why);
    }
}

void risk_recount(Risk *risk)
{
    atomic_store(&risk->unlisted, 0);
}

bool risk_restore(Risk *risk, const RiskEntry *entry)
{
    RiskCursor key;
    RiskFound found = {.file = entry->file,
                       .version = entry->version,
                       .bucket = entry->bucket,
                       .key = str_of(entry->key, entry->key_len),
                       .size = entry->size,
                       .cause = entry->cause,
                       .place = entry->place,
                       .offset = entry->offset,
                       .detail = entry->detail};
    Str at = entry_key_of(&found, &key);
    if (omap_count(risk->entries) >= RISK_MAX || omap_get(risk->entries, at) != NULL) return false;
    Item *item = item_new(&found, entry->since_ms, entry->seen_ms);
    const Item *before = omap_put(risk->entries, at, item);
    ASSERT(before == NULL);
    count(risk, item, 1);
    return true;
}

/* --- reading --- */

size_t risk_files(const Risk *risk)
{
    return atomic_load_explicit(&risk->files, memory_order_relaxed);
}

size_t risk_places(const Risk *risk)
{
    return atomic_load_explicit(&risk->places, memory_order_relaxed);
}

size_t risk_index_places(const Risk *risk)
{
    return atomic_load_explicit(&risk->index_places, memory_order_relaxed);
}

uint64_t risk_unlisted(const Risk *risk)
{
    return atomic_load_explicit(&risk->unlisted, memory_order_relaxed);
}

bool risk_has(Risk *risk, FileId file, VersionId version)
{
    RiskCursor key;
    if (risk_files(risk) == 0) return false;
    Str at = file_key(file, version, &key);
    lock_take(&risk->lock);
    bool listed = omap_get(risk->entries, at) != NULL;
    lock_give(&risk->lock);
    return listed;
}

bool risk_next(Risk *risk, RiskCursor *cursor, RiskEntry *out)
{
    Str at = str_of(cursor->key, cursor->len);
    lock_take(&risk->lock);
    const OMapNode *node = omap_first(risk->entries, at);
    if (node != NULL && cursor->len > 0 && str_eq(omap_key(node), at)) node = omap_next(node);
    if (node != NULL) {
        Str key = omap_key(node);
        ASSERT(key.len <= sizeof cursor->key);
        memcpy(cursor->key, key.ptr, key.len);
        cursor->len = key.len;
        item_copy(omap_value(node), out);
    }
    lock_give(&risk->lock);
    return node != NULL;
}

/* --- life --- */

ErrCode risk_open(Disk *disk, Clock *clock, uint64_t number, Risk **out, Err *err)
{
    register_metrics();
    AUTO(Risk, risk_free) risk = mem_new(sizeof *risk);
    risk->disk = disk;
    risk->clock = clock;
    risk->entries = omap_new(number);
    lock_init(&risk->lock, LOCK_RANK_RISK);
    ErrCode code = risk_file_load(risk, err);
    if (code == ERR_INVALID) {
        LOG(WARN, "risk.list_damaged", "error=" LOG_STR, LOG_CSTR(err_text(err)));
        TRY(risk_file_quarantine(risk, number, err));
        code = OK;
    }
    TRY(code);
    *out = TAKE(risk);
    return OK;
}

void risk_free(Risk *risk)
{
    if (risk == NULL) return;
    for (const OMapNode *node = omap_first(risk->entries, (Str){NULL, 0}); node != NULL;
         node = omap_next(node)) {
        count(risk, omap_value(node), -1);
        mem_free(omap_value(node));
    }
    omap_free(risk->entries);
    lock_deinit(&risk->lock);
    mem_free(risk);
}
