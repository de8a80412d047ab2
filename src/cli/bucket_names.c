#include "cli/bucket_names.h"

#include <string.h>

#include "format/attr.h"
#include "format/row.h"
#include "index/index.h"

static void add(BucketNames *names, Str name, const FileRow *row)
{
    BucketRecord record;
    Str value;
    if (!attr_get(row->attrs, ATTR_BUCKET_RECORD, &value) ||
        bucket_record_decode(value, &record, NULL) != OK || !bucket_name_valid(name))
        return;
    if (names->count == names->capacity) {
        names->capacity = MAX(2 * names->capacity, (size_t)16);
        names->items = mem_resize(names->items, names->capacity * sizeof *names->items);
    }
    names->items[names->count].uid = record.uid;
    bool fits = str_to_cstr(name, names->items[names->count].name,
                            sizeof names->items[names->count].name);
    ASSERT(fits);
    names->count++;
}

static ErrCode read_rows(BucketNames *names, Index *index, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    uint8_t bytes[ROW_KEY_MAX];
    const Str start = STR(BUCKET_KEY_PREFIX);
    Str prefix = str_of(bytes, row_key_bucket_prefix(bytes, BUCKET_UID_SYSTEM, start));
    TRY(index_reader_open(index, &reader, err));
    TRY(index_scan(reader, prefix, &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        Str name = {NULL, 0};
        BucketUid bucket = 0;
        bool found = false;
        FileRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || !str_starts_with(key, prefix)) return OK;
        if (row_key_name_parse(key, &bucket, &name, &row.version) && file_row_decode(value, &row))
            add(names, str_slice(name, start.len, name.len), &row);
    }
}

void bucket_names_read(BucketNames *names, Disk *disk)
{
    Index *index = NULL;
    Err ignored = {0};
    ErrCode code = index_open_read(disk, NULL, &index, &ignored);
    if (code == OK) code = read_rows(names, index, &ignored);
    if (code != OK) err_clear(&ignored); /* what is not known is told by its number */
    index_free(index);
}

const char *bucket_names_find(const BucketNames *names, BucketUid uid)
{
    if (uid == BUCKET_UID_SYSTEM) return "system";
    if (uid == BUCKET_UID_UPLOADS) return "%uploads"; /* no bucket has such a name */
    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].uid == uid) return names->items[i].name;
    }
    return NULL;
}

void bucket_names_deinit(BucketNames *names)
{
    mem_free(names->items);
    *names = (BucketNames){0};
}
