#include "search_tables.h"

#include <string.h>

#include "base/mem.h"
#include "search_world.h"

/* Open addressing, by the hash of the contents; 0: free. */
typedef struct {
    uint64_t *hashes;
    uint32_t *ids;
    size_t room;
    void **items; /* by id */
    uint32_t count;
    size_t item_room;
} Table;
static Table entries;
static Table configs;
static Table messages;

uint64_t table_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
    return hash ^ hash >> 29;
}

uint64_t table_mix_uuid(uint64_t hash, Uuid uuid)
{
    uint64_t words[2];
    memcpy(words, uuid.bytes, sizeof words);
    return table_mix(table_mix(hash, words[0]), words[1]);
}

static uint64_t mix_hash(uint64_t hash, const Sha256 *of)
{
    uint64_t words[2];
    memcpy(words, of->bytes, sizeof words);
    return table_mix(table_mix(hash, words[0]), words[1]);
}

uint64_t table_mix_config(uint64_t hash, const ShardConfig *config)
{
    hash = table_mix_uuid(hash, config->cfg_uid);
    hash = table_mix_uuid(hash, config->parent_uid);
    hash = table_mix(hash, config->version << 32 | config->term);
    hash = table_mix(hash, (uint64_t)config->min_isr << 48 | (uint64_t)config->isr << 32 |
                               (uint64_t)config->elr << 16 | config->primary);
    hash = table_mix(hash, (uint64_t)config->member_count << 32 | config->learner_count);
    for (uint32_t i = 0; i < config->member_count; i++)
        hash = table_mix(hash,
                         config->members[i].incarnation << 8 | config->members[i].root.bytes[0]);
    for (uint32_t i = 0; i < config->learner_count; i++)
        hash = table_mix(hash,
                         config->learners[i].incarnation << 8 | config->learners[i].root.bytes[0]);
    return hash;
}

static void put(Table *table, uint64_t hash, uint32_t id)
{
    size_t at = hash & (table->room - 1);
    while (table->ids[at] != 0)
        at = (at + 1) & (table->room - 1);
    table->hashes[at] = hash;
    table->ids[at] = id;
}

static void grow(Table *table)
{
    Table old = *table;
    table->room = MAX((size_t)1024, old.room * 2);
    table->hashes = mem_new_array(table->room, sizeof *table->hashes);
    table->ids = mem_new_array(table->room, sizeof *table->ids);
    for (size_t i = 0; i < old.room; i++) {
        if (old.ids[i] != 0) put(table, old.hashes[i], old.ids[i]);
    }
    mem_free(old.hashes);
    mem_free(old.ids);
}

/* The item's number, and whether it has its place yet. */
static uint32_t find(Table *table, uint64_t hash, bool *found)
{
    if (2 * (table->count + 1u) > table->room) grow(table);
    for (size_t at = hash & (table->room - 1); table->ids[at] != 0;
         at = (at + 1) & (table->room - 1)) {
        if (table->hashes[at] != hash) continue;
        *found = true;
        return table->ids[at];
    }
    *found = false;
    uint32_t id = ++table->count;
    if (id >= table->item_room) {
        table->item_room = MAX((size_t)1024, table->item_room * 2);
        table->items = mem_resize(table->items, table->item_room * sizeof *table->items);
    }
    put(table, hash, id);
    return id;
}

static uint32_t keep(Table *table, uint64_t hash, const void *item, size_t size)
{
    bool found = false;
    uint32_t id = find(table, hash, &found);
    if (found) return id;
    table->items[id] = mem_new(size);
    memcpy(table->items[id], item, size);
    return id;
}

uint32_t table_entry(const LogEntry *entry)
{
    return keep(&entries, mix_hash(1, &entry->hash), entry, sizeof *entry);
}

uint32_t table_config(const ShardConfig *config)
{
    return keep(&configs, table_mix_config(2, config), config, sizeof *config);
}

static uint64_t hash_of_message(const Message *m, bool has_config)
{
    uint64_t hash = table_mix(3, (uint64_t)m->type << 56 | (uint64_t)m->from.bytes[0] << 48 |
                                     (uint64_t)m->to.bytes[0] << 40 | m->term);
    hash = table_mix(hash, m->from_incarnation << 32 | m->to_incarnation);
    hash = table_mix_uuid(hash, m->cfg_uid);
    hash = table_mix(hash, m->lsn << 32 | m->lsn_term);
    hash = mix_hash(hash, &m->lsn_hash);
    hash = table_mix(hash, m->commit_lsn << 8 | (uint64_t)m->granted << 2 |
                               (uint64_t)m->unsound << 1 | m->seeding);
    hash = table_mix(hash, m->config_lsn << 32 | m->config_term);
    hash = table_mix(hash, m->sent_ns ^ (uint64_t)m->target.bytes[0] << 56);
    if (has_config) hash = table_mix_config(hash, &m->config);
    for (uint32_t i = 0; i < m->entry_count; i++)
        hash = mix_hash(hash, &m->entries[i].hash);
    return hash;
}

uint32_t table_message(const Message *m)
{
    bool has_config = m->config_lsn != 0 && (m->type == MSG_POLL || m->type == MSG_FENCE ||
                                             m->type == MSG_FENCED || m->type == MSG_SNAPSHOT);
    bool found = false;
    uint32_t id = find(&messages, hash_of_message(m, has_config), &found);
    if (found) return id;
    size_t size = m->entry_count > 0
                      ? offsetof(Message, entries) + m->entry_count * sizeof m->entries[0]
                  : has_config ? offsetof(Message, entries)
                               : offsetof(Message, config);
    char *copy = mem_new(size);
    memcpy(copy, m, offsetof(Message, config));
    if (has_config) memcpy(copy + offsetof(Message, config), &m->config, sizeof m->config);
    if (m->entry_count > 0) {
        memcpy(copy + offsetof(Message, entries), m->entries,
               m->entry_count * sizeof m->entries[0]);
    }
    messages.items[id] = copy;
    return id;
}

const LogEntry *search_entry(uint32_t id)
{
    ASSERT(id > 0 && id <= entries.count);
    return entries.items[id];
}

const ShardConfig *search_config(uint32_t id)
{
    ASSERT(id > 0 && id <= configs.count);
    return configs.items[id];
}

const Message *search_message(uint32_t id)
{
    ASSERT(id > 0 && id <= messages.count);
    return messages.items[id];
}

void table_seal(LogEntry *entry, unsigned who)
{
    uint64_t hash = mix_hash(4, &entry->prev_hash);
    hash = table_mix(hash, entry->lsn << 32 | entry->term);
    hash = table_mix(hash, (uint64_t)who << 2 | (uint64_t)entry->is_start << 1 | entry->is_config);
    if (entry->is_config) hash = table_mix_config(hash, entry->config);
    uint64_t words[4];
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        words[i] = table_mix(hash, i + 1);
    memcpy(entry->hash.bytes, words, sizeof words);
}
