/* What compaction asks the index while it reads a pack. */
#include "store/compact_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"

/* --- kinds --- */

CompactKind compact_kind(const Entry *entry)
{
    switch (entry->op) {
    case OP_CREATE:
    case OP_UPDATE:
        return entry->extent_count == 0 && entry->size > 0 ? COMPACT_KIND_BODY : COMPACT_KIND_WRITE;
    case OP_META: return COMPACT_KIND_META;
    case OP_DELETE:
        return (entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0 ? COMPACT_KIND_MARKER
                                                              : COMPACT_KIND_TOMBSTONE;
    case OP_CONFIG:
    case OP_START:
    case OP_CLOSE:
    case OP_REOPEN:
    case OP_SNAPSHOT: break;
    case OP_NOOP: {
        Str id;
        if (attr_get(entry->attrs, ATTR_REQUEST_ID, &id)) return COMPACT_KIND_REQUEST;
        break;
    }
    }
    return COMPACT_KIND_CONTROL;
}

VersionId compact_version(const Entry *entry)
{
    if (entry->op == OP_META) return entry->target;
    return (VersionId){.term = entry->term, .lsn = entry->lsn};
}

/* --- sets of names --- */

void names_add(Names *names, uint32_t name)
{
    if (names->count == names->capacity) {
        names->capacity = MAX(2 * names->capacity, (size_t)1024);
        names->items = mem_resize(names->items, names->capacity * sizeof *names->items);
    }
    names->items[names->count++] = name;
}

static int name_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void names_sort(Names *names)
{
    if (names->count == 0) return;
    qsort(names->items, names->count, sizeof *names->items, name_cmp);
    size_t kept = 1;
    for (size_t i = 1; i < names->count; i++) {
        if (names->items[i] != names->items[kept - 1]) names->items[kept++] = names->items[i];
    }
    names->count = kept;
}

bool names_have(const Names *names, uint32_t name)
{
    if (names->count == 0) return false;
    return bsearch(&name, names->items, names->count, sizeof name, name_cmp) != NULL;
}

void names_deinit(Names *names)
{
    mem_free(names->items);
    *names = (Names){0};
}

/* --- rows --- */

static ErrCode look_row(IndexReader *reader, const Entry *entry, FileRow *row, bool *found,
                        Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_name(key, entry->bucket, entry_key(entry), compact_version(entry));
    Str value = {NULL, 0};
    TRY(index_get(reader, str_of(key, len), &value, found, err));
    if (*found && !file_row_decode(value, row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    return OK;
}

static bool same_place(const PackPlace *a, const PackPlace *b)
{
    return a->pack == b->pack && a->offset == b->offset && a->length == b->length;
}

/* --- requests --- */

size_t compact_request_key(const Entry *entry, uint8_t key[ROW_KEY_MAX])
{
    RequestId id;
    RequestRow row;
    return request_row_of_entry(entry, &id, &row) ? row_key_request(key, entry->shard, id) : 0;
}

ErrCode compact_request_is(Str value, const Entry *entry, bool *out, Err *err)
{
    RequestRow row;
    if (!request_row_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a request is malformed");
    }
    *out = row.version.term == entry->term && row.version.lsn == entry->lsn;
    return OK;
}

/* The record as it was would not do: in a later pack than the tombstone of its file, nothing would
 * say any more that this is deleted. So only what the row is made of is kept, without a name. */
ErrCode compact_request_only(const Entry *entry, Buf *attrs, PackRecord *out, Err *err)
{
    static const AttrType kept[] = {ATTR_REQUEST_ID, ATTR_REQUEST_HASH};
    RequestId id;
    RequestRow row;
    bool carries = request_row_of_entry(entry, &id, &row);
    ASSERT(carries);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        Str value;
        if (attr_get(entry->attrs, kept[i], &value)) TRY(attr_set(attrs, kept[i], value, err));
    }
    uint8_t op = (uint8_t)row.op;
    TRY(attr_set(attrs, ATTR_REQUEST_OP, str_of(&op, sizeof op), err));
    *out = (PackRecord){.type = PACK_META,
                        .entry = {.op = OP_NOOP,
                                  .shard = entry->shard,
                                  .term = entry->term,
                                  .lsn = entry->lsn,
                                  .file = entry->file,
                                  .time_ms = entry->time_ms,
                                  .attrs = buf_str(attrs)}};
    return OK;
}

static ErrCode look_request(IndexReader *reader, const Entry *entry, bool *found, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    Str value = {NULL, 0};
    size_t len = compact_request_key(entry, key);
    *found = false;
    if (len == 0 || fault_planted("compact-drops-request")) return OK;
    TRY(index_get(reader, str_of(key, len), &value, found, err));
    return *found ? compact_request_is(value, entry, found, err) : OK;
}

/* --- the question --- */

ErrCode compact_look(IndexReader *reader, const PackRecord *record, const PackPlace *place,
                     CompactLook *out, Err *err)
{
    const Entry *entry = &record->entry;
    CompactKind kind = compact_kind(entry);
    FileRow row = {0};
    bool found = false;
    *out = (CompactLook){.needed = kind == COMPACT_KIND_CONTROL,
                         .tombstone = kind == COMPACT_KIND_TOMBSTONE};
    if (out->needed) return OK;
    TRY(look_request(reader, entry, &out->request, err));
    out->needed = kind == COMPACT_KIND_REQUEST && out->request;
    if (kind == COMPACT_KIND_REQUEST || out->tombstone) return OK;
    TRY(look_row(reader, entry, &row, &found, err));
    out->needed = found && (kind != COMPACT_KIND_BODY || same_place(&row.place, place));
    if (found) out->request = false; /* the record that stands elsewhere tells of it */
    return OK;
}

ErrCode compact_outlived(Store *store, IndexReader *reader, const Entry *entry, Buf *buf,
                         bool *outlived, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_name_prefix(bytes, entry->bucket, entry_key(entry)));
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    bool found = false;
    *outlived = false;
    TRY(index_first(reader, prefix, prefix, &key, &value, &found, err));
    if (!found) return OK;
    FileRow row;
    BucketUid bucket;
    Str name;
    VersionId own = {.term = entry->term, .lsn = entry->lsn};
    if (!file_row_decode(value, &row) || !row_key_name_parse(key, &bucket, &name, &row.version)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    if (row.place.pack == 0 || version_id_cmp(row.version, own) <= 0) return OK;
    PackRecord newer;
    VersionId version = row.version;
    /* Whatever keeps it from being read, the tombstone is then kept. */
    if (packs_read(store->packs, &row.place, false, buf, &newer, NULL) != OK) return OK;
    bool keeps = (newer.entry.flags & ENTRY_FLAG_KEEP_OLDER) != 0 &&
                 !fault_planted("compact-trusts-kept");
    *outlived = newer.entry.lsn == version.lsn && newer.entry.term == version.term &&
                newer.entry.op == OP_UPDATE && /* a CREATE relies on the DELETE before it */
                !keeps;
    return OK;
}

/* Names of both go to held: names is sorted, a part is. */
static void part_meet(Str part, size_t count, const Names *names, Names *held)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t name = names_part_at(part, i);
        while (n < names->count && names->items[n] < name)
            n++;
        if (n == names->count) return;
        if (names->items[n] == name) names_add(held, name);
    }
}

ErrCode compact_names_of(IndexReader *reader, uint64_t pack, const Names *names, Names *held,
                         bool *known, Err *err)
{
    *known = false;
    for (uint32_t part = 0; !*known; part++) {
        uint8_t key[ROW_KEY_MAX];
        size_t len = row_key_names(key, pack, part);
        Str value = {NULL, 0};
        bool found = false;
        size_t count = 0;
        TRY(index_get(reader, str_of(key, len), &value, &found, err));
        if (!found) return OK;
        if (!names_part_decode(value, &count)) {
            return err_set(err, ERR_CORRUPT, "index.db: names of pack %" PRIu64 " are malformed",
                           pack);
        }
        part_meet(value, count, names, held);
        *known = count < NAMES_PART_MAX;
    }
    return OK;
}

ErrCode compact_pack_row(IndexReader *reader, uint64_t pack, PackRow *out, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_pack(key, pack);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_get(reader, str_of(key, len), &value, &found, err));
    *out = (PackRow){0};
    if (found && !pack_row_decode(value, out)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of pack %" PRIu64 " is malformed",
                       pack);
    }
    return OK;
}
