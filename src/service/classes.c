#include "service/classes.h"

#include <string.h>

#include "base/lock.h"

struct Classes {
    RwLock lock;
    bool there[CLASSES_MAX];
    ClassInfo items[CLASSES_MAX];
};

static void put(Classes *classes, Str name, const ClassInfo *info)
{
    ClassInfo copy = *info;
    bool fits = str_to_cstr(name, copy.name, sizeof copy.name);
    ASSERT(fits && info->rules.number < CLASSES_MAX);
    rwlock_write(&classes->lock);
    classes->items[info->rules.number] = copy;
    classes->there[info->rules.number] = true;
    rwlock_give(&classes->lock);
}

Classes *classes_new(const PlacementClass *standard)
{
    Classes *classes = mem_new(sizeof *classes);
    ClassInfo info = {.rules = *standard};
    rwlock_init(&classes->lock, LOCK_RANK_TABLE);
    put(classes, str_from_cstr(placement_class_name(standard->number)), &info);
    info.rules = placement_class_default(PLACE_CLASS_SYSTEM, standard->copies);
    put(classes, str_from_cstr(placement_class_name(PLACE_CLASS_SYSTEM)), &info);
    return classes;
}

void classes_free(Classes *classes)
{
    if (classes == NULL) return;
    rwlock_deinit(&classes->lock);
    mem_free(classes);
}

void classes_put(Classes *classes, Str name, const ClassRecord *record)
{
    ClassInfo info = {.rules = {.number = record->number,
                                .shard_count = record->shard_count,
                                .copies = record->copies,
                                .min_isr = record->min_isr,
                                .mode = record->mode,
                                .require = record->require},
                      .created_ms = record->created_ms};
    put(classes, name, &info);
}

ErrCode classes_load(Classes *classes, StoreReader *reader, Err *err)
{
    StoreListOptions options = {.bucket = BUCKET_UID_SYSTEM, .prefix = STR(CLASS_KEY_PREFIX)};
    AUTO(StoreList, store_list_close) list = NULL;
    TRY(store_list_open(reader, &options, &list, err));
    for (;;) {
        StoreFound file;
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found) return OK;
        Str value;
        ClassRecord record;
        Str name = str_slice(file.key, sizeof CLASS_KEY_PREFIX - 1, file.key.len);
        if (!attr_get(file.row.attrs, ATTR_CLASS_RECORD, &value))
            return err_set(err, ERR_CORRUPT, "%.*s has no class record", STR_ARG(file.key));
        TRY(class_record_decode(value, &record, err));
        if (!class_name_valid(name))
            return err_set(err, ERR_CORRUPT, "%.*s is no class name", STR_ARG(file.key));
        classes_put(classes, name, &record);
    }
}

bool classes_find(Classes *classes, Str name, ClassInfo *out)
{
    bool found = false;
    rwlock_read(&classes->lock);
    for (unsigned i = PLACE_CLASS_SYSTEM + 1; i < CLASSES_MAX && !found; i++) {
        found = classes->there[i] && str_eq(str_from_cstr(classes->items[i].name), name);
        if (found) *out = classes->items[i];
    }
    rwlock_give(&classes->lock);
    return found;
}

bool classes_get(Classes *classes, unsigned number, ClassInfo *out)
{
    ASSERT(number < CLASSES_MAX);
    rwlock_read(&classes->lock);
    bool found = classes->there[number];
    if (found) *out = classes->items[number];
    rwlock_give(&classes->lock);
    return found;
}

unsigned classes_free_number(Classes *classes)
{
    unsigned number = CLASS_NUMBER_FIRST;
    rwlock_read(&classes->lock);
    while (number < CLASSES_MAX && classes->there[number])
        number++;
    rwlock_give(&classes->lock);
    return number < CLASSES_MAX ? number : 0;
}

size_t classes_shard_count(Classes *classes)
{
    size_t count = 0;
    rwlock_read(&classes->lock);
    for (unsigned i = 0; i < CLASSES_MAX; i++)
        count += classes->there[i] ? classes->items[i].rules.shard_count : 0;
    rwlock_give(&classes->lock);
    return count;
}
