/* Placement classes: made and changed in the system shard, as files that no door reaches. */
#include <stdio.h>

#include "service/engine_priv.h"

#define CLASS_KEY_MAX (sizeof CLASS_KEY_PREFIX + CLASS_NAME_MAX)

/* Rules that m wants, of a class that is there or of a new one. */
static ErrCode wanted_rules(const Engine *engine, const Mutation *m, bool there,
                            PlacementClass *rules, Err *err)
{
    const ClassSettings *set = &m->class_settings;
    unsigned given = engine->options.copies;
    unsigned copies = set->has_copies ? set->copies : rules->copies;
    unsigned shards = set->has_shards ? set->shards : rules->shard_count;
    if (there && (copies != rules->copies || shards != rules->shard_count))
        return err_set(err, ERR_INVALID,
                       "a class keeps its %u copies and %u shards for as long as it is there",
                       rules->copies, rules->shard_count);
    if (!there && (copies < 1 || copies > given))
        return err_set(err, ERR_INVALID, "copies: %u; this server has %u data directories", copies,
                       given);
    if (shards < 1 || shards > PLACE_SHARDS_MAX)
        return err_set(err, ERR_INVALID, "shards: %u; 1 to %d are possible", shards,
                       PLACE_SHARDS_MAX);
    rules->copies = (uint8_t)copies;
    rules->shard_count = (uint16_t)shards;
    unsigned min_isr = there ? rules->min_isr : place_min_isr_default(rules->copies);
    if (set->has_min_isr) min_isr = set->min_isr;
    unsigned least = place_min_isr_default(rules->copies);
    unsigned most = copies > 2 ? copies - 1 : copies; /* else a lost one could not be replaced */
    if (min_isr < least || min_isr > most)
        return err_set(err, ERR_INVALID,
                       "min_isr: %u; with %u copies %u to %u are possible (require \"all\" has "
                       "every copy answer)",
                       min_isr, copies, least, most);
    rules->min_isr = (uint8_t)min_isr;
    if (set->has_mode) rules->mode = set->mode;
    if (set->has_require) rules->require = set->require;
    if (rules->mode != PLACE_ASYNC || rules->require != PLACE_REQUIRE_ALL) return OK;
    return err_set(err, ERR_INVALID,
                   "asynchronous writes are answered before other copies have them: such a class "
                   "can't require all");
}

/* A new one needs a number and room for its shards, also for those that are under way. */
static ErrCode check_room(Engine *engine, PlacementClass *rules, Err *err)
{
    unsigned number = classes_free_number(engine->options.classes);
    size_t shards = classes_shard_count(engine->options.classes) + rules->shard_count;
    if (number == 0)
        return err_set(err, ERR_QUOTA_EXCEEDED,
                       "there are %d placement classes, and no more may be", CLASSES_MAX - 1);
    if (shards > ENGINE_SHARDS_MAX)
        return err_set(err, ERR_QUOTA_EXCEEDED,
                       "%zu shards of all classes together; %d are possible", shards,
                       ENGINE_SHARDS_MAX);
    rules->number = (uint8_t)number;
    return OK;
}

static ErrCode append_class(Engine *engine, Mutation *m, const ClassInfo *info,
                            const StoreFound *found, Str key, Err *err)
{
    uint8_t bytes[CLASS_RECORD_MAX];
    Enc enc = enc_of(bytes, sizeof bytes);
    const PlacementClass *rules = &info->rules;
    ClassRecord record = {.number = rules->number,
                          .shard_count = rules->shard_count,
                          .copies = rules->copies,
                          .min_isr = rules->min_isr,
                          .mode = rules->mode,
                          .require = rules->require,
                          .created_ms = info->created_ms};
    class_record_encode(&record, &enc);
    ASSERT(!enc.failed);
    buf_clear(&m->attr_buf);
    TRY(attr_set(&m->attr_buf, ATTR_KEY, key, err));
    TRY(attr_set(&m->attr_buf, ATTR_CLASS_RECORD, str_of(bytes, enc.len), err));
    Entry entry = {.op = m->created ? OP_CREATE : OP_UPDATE,
                   .shard = SHARD_SYSTEM,
                   .bucket = BUCKET_UID_SYSTEM,
                   .attrs = buf_str(&m->attr_buf)};
    entry.file = m->created ? file_id_make(SHARD_SYSTEM, record.created_ms, &engine->rng)
                            : found->row.file;
    m->shard = SHARD_SYSTEM;
    m->class_rules = *rules;
    engine->class_changes++;
    ErrCode code = engine_append(engine, &entry, m, err);
    if (code != OK) engine->class_changes--;
    return code;
}

void engine_decide_class(Engine *engine, Mutation *m)
{
    char room[CLASS_KEY_MAX];
    StoreFound found;
    bool there = false;
    ClassInfo info = {.created_ms = clock_wall_ms(engine->options.clock)};
    info.rules = placement_class_default(CLASS_NUMBER_FIRST, (uint8_t)engine->options.copies);
    if (!class_name_valid(m->key)) {
        engine_answer(engine, m,
                      err_set(&m->err, ERR_INVALID,
                              "a class name has 1 to %d of [a-z0-9-], begins and ends with a "
                              "letter or digit, and is not system or standard",
                              CLASS_NAME_MAX));
        return;
    }
    int len = snprintf(room, sizeof room, CLASS_KEY_PREFIX "%.*s", STR_ARG(m->key));
    Str key = str_of(room, (size_t)len);
    ErrCode code = store_find(engine_system_reader(engine), BUCKET_UID_SYSTEM, key, NULL,
                              engine_deciding_view(), &found, &there, &m->err);
    /* One at a time: the next one is to find its number taken. */
    bool waits = engine->class_changes > 0 ||
                 !engine_has_room(engine, engine_shard(engine, SHARD_SYSTEM));
    if (code == OK && waits) {
        engine_stall(engine, m);
        return;
    }
    if (code == OK && there && !classes_find(engine->options.classes, m->key, &info))
        code = err_set(&m->err, ERR_CORRUPT, "the record of class %.*s is missing",
                       STR_ARG(m->key));
    m->created = !there;
    if (code == OK) code = wanted_rules(engine, m, there, &info.rules, &m->err);
    if (code == OK && !there) code = check_room(engine, &info.rules, &m->err);
    if (code == OK) code = append_class(engine, m, &info, &found, key, &m->err);
    if (code != OK) engine_answer(engine, m, code);
}

bool engine_is_class_change(const Record *record)
{
    return record->entry.bucket == BUCKET_UID_SYSTEM && record_has_name(record) &&
           str_starts_with(record->key, STR(CLASS_KEY_PREFIX));
}

void engine_commit_class(Engine *engine, const Record *record)
{
    Str value;
    ClassRecord class;
    if (!engine_is_class_change(record)) return;
    ASSERT(engine->class_changes > 0);
    engine->class_changes--;
    Str name = str_slice(record->key, sizeof CLASS_KEY_PREFIX - 1, record->key.len);
    if (!class_name_valid(name) || !attr_get(record->entry.attrs, ATTR_CLASS_RECORD, &value) ||
        class_record_decode(value, &class, NULL) != OK)
        return;
    classes_put(engine->options.classes, name, &class);
    EngineGroup *group = engine->groups[class.number];
    engine->groups_due = true;
    if (group == NULL) return;
    group->rules.min_isr = class.min_isr; /* the rest is of new buckets, or never changes */
    group->rules.mode = class.mode;
    group->rules.require = class.require;
}
