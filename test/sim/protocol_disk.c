/* The log of a node. */
#include <string.h>

#include "protocol_world.h"

Lsn disk_last(const Node *node)
{
    return node->base + node->log_len;
}

const LogEntry *disk_entry(const Node *node, Lsn lsn)
{
    if (lsn <= node->base || lsn > disk_last(node)) return NULL;
    return &node->log[lsn - node->base - 1];
}

const ShardConfig *disk_config(const Node *node, unsigned back, Lsn *lsn)
{
    if (back < node->config_count) {
        *lsn = node->config_lsns[node->config_count - 1 - back];
        const LogEntry *entry = disk_entry(node, *lsn);
        ASSERT(entry != NULL);
        return entry->config;
    }
    *lsn = node->base_config.lsn;
    return back == node->config_count && *lsn != 0 ? &node->base_config.config : NULL;
}

bool disk_has_durable(const Node *node, Lsn lsn, const Sha256 *hash)
{
    if (lsn <= node->base) return lsn < node->base || sha256_eq(&node->base_hash, hash);
    const LogEntry *entry = disk_entry(node, lsn);
    return entry != NULL && sha256_eq(&entry->hash, hash) &&
           node->log_item[lsn - node->base - 1] < node->durable_items;
}

/* What the item does to the log as it is read. */
static void apply_item(Node *node, const Item *item, size_t at)
{
    switch (item->type) {
    case ITEM_ENTRY:
        ASSERT(item->entry.lsn == disk_last(node) + 1);
        if (node->log_len == node->log_room) {
            node->log_room = MAX((size_t)64, node->log_room * 2);
            node->log = mem_resize(node->log, node->log_room * sizeof *node->log);
            node->log_item = mem_resize(node->log_item, node->log_room * sizeof *node->log_item);
        }
        node->log[node->log_len] = item->entry;
        node->log_item[node->log_len++] = at;
        if (!item->entry.is_config) break;
        node->config_lsns = world_grow(node->config_lsns, node->config_count, &node->config_room,
                                       sizeof *node->config_lsns);
        node->config_lsns[node->config_count++] = item->entry.lsn;
        break;
    case ITEM_CUT:
        ASSERT(item->entry.lsn >= node->base && item->entry.lsn <= disk_last(node));
        node->log_len = item->entry.lsn - node->base;
        while (node->config_count > 0 &&
               node->config_lsns[node->config_count - 1] > item->entry.lsn) {
            node->config_count--;
        }
        break;
    case ITEM_RESET:
        node->log_len = 0;
        node->config_count = 0;
        node->base = item->entry.lsn;
        node->base_hash = item->entry.hash;
        node->base_term = item->entry.term;
        node->base_config = (LogConfig){0};
        if (item->entry.config != NULL) {
            node->base_config = (LogConfig){
                .lsn = item->lsn, .term = item->entry.term, .config = *item->entry.config};
        }
        node->cut_lsn = node->base;
        node->incomplete = true;
        node->complete_lsn = 0;
        break;
    case ITEM_WHOLE:
        node->complete_lsn = item->lsn;
        if (item->lsn == 0) node->incomplete = false;
        break;
    case ITEM_STATE: break;
    }
}

void disk_item(World *world, Node *node, const Item *item)
{
    node->items = world_grow(node->items, node->item_count, &node->item_room, sizeof *node->items);
    node->items[node->item_count] = *item;
    apply_item(node, item, node->item_count);
    node->item_count++;
    disk_sync(world, node);
}

void disk_sync(World *world, Node *node)
{
    if (node->syncing_items != 0 || node->durable_items == node->item_count) return;
    node->syncing_items = node->item_count;
    node->sync_since_ns = world->now_ns;
    uint64_t delay = node->sync_ns / 2 + rng_below(&world->rng, node->sync_ns);
    world_push(world, (WorldEvent){.type = WORLD_SYNCED, .node = node->index, .life = node->life},
               delay);
}

/* Tells the replica of everything that the sync made durable, in order. */
void disk_synced(World *world, Node *node)
{
    size_t from = node->durable_items;
    size_t to = node->syncing_items;
    unsigned life = node->life;
    node->syncing_items = 0;
    node->durable_items = to;
    uint64_t cuts = 0;
    for (size_t i = 0; i < from; i++)
        cuts += node->items[i].type == ITEM_CUT || node->items[i].type == ITEM_RESET;
    for (size_t i = from; i < to && node->life == life; i++) {
        const Item item = node->items[i];
        Event event = {.type = EVENT_STORED, .lsn = item.entry.lsn};
        if (item.type == ITEM_CUT || item.type == ITEM_RESET) cuts++;
        if (item.type == ITEM_WHOLE) continue;
        if (item.type == ITEM_STATE) {
            check_vote(world, node, item.term, item.voted_for);
            event = (Event){
                .type = EVENT_STATE_STORED, .term = item.term, .voted_for = item.voted_for};
        } else if (item.type == ITEM_ENTRY && i + 1 < to && node->items[i + 1].type == ITEM_ENTRY) {
            continue; /* one event for a run of them */
        }
        event.cuts = cuts - node->cuts;
        world_replica_step(world, node, &event);
    }
    if (node->life != life) return;
    disk_sync(world, node);
    rivals_synced(world, node);
}

/* The log as it is before its first item is read. */
static void forget_log(Node *node)
{
    node->syncing_items = 0;
    node->config_count = 0;
    node->log_len = 0;
    node->base = 0;
    node->base_term = 0;
    node->base_hash = (Sha256){{0}};
    node->base_config = (LogConfig){0};
    node->incomplete = false;
    node->complete_lsn = 0;
}

/* Reads the log anew: what is durable, and of the rest as much as the crash left. */
void disk_crash(World *world, Node *node, bool lose_tail)
{
    size_t rest = node->item_count - node->durable_items;
    size_t keep = lose_tail ? rng_below(&world->rng, rest + 1) : rest;
    node->item_count = node->durable_items + keep;
    if (node->reset_at >= node->item_count && node->reset_commit < node->commit) {
        node->commit = node->reset_commit; /* the new beginning never was */
        node->row_count = 0;
        node->applied = 0;
    }
    node->reset_at = 0;
    forget_log(node);
    Lsn cut = node->cut_lsn;
    for (size_t i = 0; i < node->item_count; i++)
        apply_item(node, &node->items[i], i);
    node->cut_lsn = MAX(cut, node->base);
    if (node->cut_lsn > disk_last(node)) node->cut_lsn = node->base;
}

void disk_wipe(Node *node)
{
    node->item_count = 0;
    node->durable_items = 0;
    forget_log(node);
    node->cut_lsn = 0;
    node->row_count = 0;
    node->applied = 0;
    node->commit = 0;
    node->vote_term = 0;
}

void disk_state(const Node *node, ReplicaState *state, LogConfig *configs, uint32_t *count,
                unsigned bugs)
{
    *state = (ReplicaState){.shard = SHARD, .last_lsn = disk_last(node)};
    size_t from = (bugs & WORLD_VOTES_CUT) != 0 ? node->item_count : 0;
    for (size_t i = from; i < node->item_count; i++) {
        const Item *item = &node->items[i];
        if (item->type != ITEM_STATE || item->term < state->max_term) continue;
        state->max_term = item->term;
        state->voted_for = item->voted_for;
    }
    const LogEntry *last = disk_entry(node, state->last_lsn);
    state->last_term = last != NULL ? last->term : node->base_term;
    state->last_hash = last != NULL ? last->hash : node->base_hash;
    state->commit_lsn = MIN(node->commit, state->last_lsn);
    state->applied_lsn = state->commit_lsn;
    LogConfig known[2] = {{0}};
    for (unsigned back = 0; back < 2; back++) {
        Lsn lsn = 0;
        const ShardConfig *config = disk_config(node, back, &lsn);
        if (config == NULL) continue;
        const LogEntry *entry = disk_entry(node, lsn);
        known[back] = (LogConfig){.lsn = lsn,
                                  .term = entry != NULL ? entry->term : node->base_config.term};
        known[back].config = *config;
    }
    *count = 0;
    if (known[1].lsn != 0 && (bugs & WORLD_NO_PREV_CONFIG) == 0) configs[(*count)++] = known[1];
    if (known[0].lsn != 0) configs[(*count)++] = known[0];
}
