#include "protocol_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "message_text.h"

#define ANSWER_NS (3 * MS) /* of the control store, each way, at most */
#define FETCH_MAX REPLICA_SEND_MAX
#define STREAM_PARTS 3       /* of a snapshot; each is of another moment */
#define STREAM_NS (200 * MS) /* between two of them, at most */

/* --- small things --- */

void *world_grow(void *items, size_t len, size_t *room, size_t size)
{
    if (len < *room) return items;
    *room = MAX((size_t)32, *room * 2);
    return mem_resize(items, *room * size);
}

void world_say(World *world, const char *format, ...)
{
    if (!world->options.trace) return;
    printf("%8.3f ", (double)world->now_ns / 1e9);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void world_wrong(World *world, const char *format, ...)
{
    if (world->wrong[0] != '\0') return;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(world->wrong, sizeof world->wrong, format, args);
    va_end(args);
    ASSERT(len > 0);
}

static void note(World *world, uint64_t what)
{
    world->hash = (world->hash ^ what) * 0x9e3779b97f4a7c15ULL;
    world->hash ^= world->hash >> 29;
}

Uuid world_uid(World *world)
{
    Uuid uid = {{0}};
    uint64_t id = ++world->next_uid;
    memcpy(uid.bytes, &id, sizeof id);
    uid.bytes[15] = 1;
    return uid;
}

uint32_t world_keep_config(World *world, const ShardConfig *config)
{
    ShardConfig *copy = mem_new(sizeof *copy);
    *copy = *config;
    world->configs = world_grow(world->configs, world->config_count, &world->config_room,
                                sizeof *world->configs);
    world->configs[world->config_count] = copy;
    return (uint32_t)world->config_count++;
}

static const ShardConfig *kept_config(World *world, const ShardConfig *config)
{
    uint32_t at = world_keep_config(world, config);
    return world->configs[at];
}

Node *world_node_of(World *world, Uuid root)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        if (id128_eq(world->nodes[i].root, root)) return &world->nodes[i];
    }
    return NULL;
}

uint64_t world_clock(const World *world, const Node *node)
{
    return (uint64_t)((int64_t)world->now_ns + node->clock_ns);
}

bool world_is_leading(const Node *node)
{
    if (!node->up) return false;
    ReplicaRole role = replica_role(node->replica);
    return role == ROLE_STARTING || role == ROLE_PRIMARY;
}

/* --- effects --- */

static void store_entries(World *world, Node *node, const Effect *effect)
{
    for (uint32_t i = 0; i < effect->entry_count; i++)
        disk_item(world, node, &(Item){.type = ITEM_ENTRY, .entry = effect->entries[i]});
}

static void ask_cas(World *world, Node *node, const ShardConfig *config)
{
    check_cas(world, node, config);
    WorldEvent event = {.type = WORLD_CAS, .node = node->index, .life = node->life};
    event.cas.config = world_keep_config(world, config);
    event.cas.uid = config->cfg_uid;
    world_push(world, event, 1 + rng_below(&world->rng, ANSWER_NS));
}

/* The control store knows another life of this root than the one that runs. An earlier one: the
 * registration was rolled back; it registers again, or it would be a learner for ever. A later one:
 * somebody else has its disk's copy, or an answer was lost: it starts anew. */
static void compare_life(World *world, Node *node)
{
    ControlRoot roots[64];
    size_t count = 0;
    if (control_list_roots(world->control, roots, ARRAY_LEN(roots), &count, NULL) != OK) return;
    uint64_t known = 0;
    for (size_t i = 0; i < MIN(count, ARRAY_LEN(roots)); i++) {
        if (id128_eq(roots[i].root, node->root)) known = roots[i].incarnation;
    }
    if (known < node->incarnation) {
        uint64_t incarnation = 0;
        node->tried++;
        ErrCode code = control_raise_root(world->control, node->root, node->incarnation - 1,
                                          &incarnation, NULL);
        UNUSED(code); /* tried again when it is looked at the next time */
    } else if (known > node->incarnation) {
        world_say(world, "%u runs in an incarnation that is over", node->index);
        world_stop(world, node, false);
        node->incarnation = known - 1; /* its own: raised while it ran */
        world_start(world, node, 100 * MS);
    }
}

/* Reads the row; what comes back may be old by then, or nothing. */
static void look_at_row(World *world, Node *node)
{
    ShardConfig config;
    bool found = false;
    if (!world->healing && rng_chance(&world->rng, world->rates.stale)) {
        control_store_set_fate(world->store, CONTROL_SIM_STALE);
    }
    ErrCode code = control_get(world->control, SHARD, &config, &found, NULL);
    if (code != OK || !found) return;
    WorldEvent event = {.type = WORLD_ROW, .node = node->index, .life = node->life};
    event.cas.config = world_keep_config(world, &config);
    world_push(world, event, 1 + rng_below(&world->rng, ANSWER_NS));
}

static void reset_log(World *world, Node *node, const Effect *effect)
{
    const ShardConfig *config = NULL;
    if (effect->config_lsn != 0) {
        config = kept_config(world, &effect->config);
    }
    world->snapshots++;
    node->reset_at = node->item_count;
    node->reset_commit = node->commit;
    node->stream = 0;
    node->announced_by = world->delivered->from;
    node->announced_term = world->delivered->term;
    node->row_count = 0;
    node->applied = effect->lsn;
    node->commit = MAX(node->commit, effect->lsn);
    disk_item(world, node,
              &(Item){.type = ITEM_RESET,
                      .lsn = effect->config_lsn,
                      .entry = {.lsn = effect->lsn,
                                .term = effect->term,
                                .hash = effect->hash,
                                .config = config}});
}

static void begin_stream(World *world, Node *node, const Effect *effect)
{
    const Node *to = world_node_of(world, effect->root);
    if (to == NULL) return;
    WorldEvent event = {.type = WORLD_STREAM, .node = to->index, .life = to->life};
    event.stream.root = effect->root;
    event.stream.from = node->index;
    event.stream.from_life = node->life;
    event.stream.stream = ++world->order;
    event.stream.base = effect->lsn;
    event.stream.term = replica_term(node->replica);
    world_say(world, "%u begins to stream to %u behind lsn %" PRIu64, node->index, to->index,
              effect->lsn);
    world_push(world, event, 20 * MS + rng_below(&world->rng, STREAM_NS));
}

static void change_role(World *world, Node *node, ReplicaRole role)
{
    world_say(world, "%u is %s, term %u", node->index, replica_role_name(role),
              replica_term(node->replica));
    if (role == ROLE_PRIMARY) node->elected_once = true;
    rivals_role(world, node);
    if (role != ROLE_PRIMARY && role != ROLE_STARTING) clients_forget(node);
}

typedef struct {
    bool was_leading; /* before the step */
    bool start;
    bool stand;
    const ShardConfig *config;
    Lsn commit;
} Later;

static void carry_out(World *world, Node *node, const Effect *e, Later *later)
{
    note(world, (uint64_t)e->type << 8 | node->index);
    switch (e->type) {
    case EFFECT_STORE_ENTRIES: store_entries(world, node, e); break;
    case EFFECT_STORE_STATE:
        disk_item(world, node,
                  &(Item){.type = ITEM_STATE,
                          .term = e->state.max_term,
                          .voted_for = e->state.voted_for});
        break;
    case EFFECT_SEND: world_send(world, node, &e->message); break;
    case EFFECT_CAS: ask_cas(world, node, &e->config); break;
    case EFFECT_START:
        check_start(world, node);
        later->start = true;
        break;
    case EFFECT_COMMIT:
        check_commit(world, node, e->lsn, later->was_leading);
        later->commit = e->lsn;
        break;
    case EFFECT_ROLE: change_role(world, node, e->role); break;
    case EFFECT_QUARANTINE: world_wrong(world, "I5: %u is quarantined", node->index); break;
    case EFFECT_CONFIG: later->config = kept_config(world, &e->config); break;
    case EFFECT_TRUNCATE:
        check_cut(world, node, e->lsn);
        world->truncations++;
        disk_item(world, node,
                  &(Item){.type = ITEM_CUT, .entry = {.lsn = e->lsn, .hash = e->hash}});
        break;
    case EFFECT_RESET: reset_log(world, node, e); break;
    case EFFECT_FETCH: {
        WorldEvent event = {.type = WORLD_FETCHED, .node = node->index, .life = node->life};
        event.fetch.root = e->root;
        event.fetch.lsn = e->lsn;
        world_push(world, event, 1 + rng_below(&world->rng, 5 * MS));
        break;
    }
    case EFFECT_SNAPSHOT: begin_stream(world, node, e); break;
    case EFFECT_LOOK: look_at_row(world, node); break;
    case EFFECT_STAND: later->stand = true; break;
    }
}

void world_stand(World *world, Node *node)
{
    ShardConfig config;
    bool found = false;
    if (!world->healing && rng_chance(&world->rng, world->rates.stale)) {
        control_store_set_fate(world->store, CONTROL_SIM_STALE);
    }
    if (control_get(world->control, SHARD, &config, &found, NULL) != OK || !found) return;
    Event event = {.type = EVENT_STAND, .config = &config, .new_cfg_uid = world_uid(world)};
    world_replica_step(world, node, &event);
}

void world_replica_step(World *world, Node *node, Event *event)
{
    if (!node->up) return;
    Later later = {.was_leading = world_is_leading(node)};
    event->now_ns = world_clock(world, node);
    replica_step(node->replica, event, &world->effects);
    uint32_t count = world->effects.count;
    for (uint32_t i = 0; i < count; i++)
        carry_out(world, node, &world->effects.items[i], &later);
    if (node->incomplete && replica_role(node->replica) != ROLE_INCOMPLETE) {
        node->suspect = false;
        disk_item(world, node, &(Item){.type = ITEM_WHOLE, .lsn = 0});
        node->incomplete = false;
    }
    if (later.commit != 0) {
        clients_apply(node, later.commit);
        clients_committed(world, node, later.commit);
    }
    if (later.start) world_append(world, node, NULL, NULL, true);
    if (later.config != NULL) world_append(world, node, NULL, later.config, false);
    if (later.stand) world_stand(world, node);
}

void world_append(World *world, Node *node, const Request *request, const ShardConfig *config,
                  bool is_start)
{
    union {
        const Request *in;
        void *out;
    } handle = {.in = request};
    Event event = {.type = EVENT_APPEND,
                   .entry = {.is_start = is_start,
                             .is_config = config != NULL,
                             .config = config,
                             .handle = handle.out}};
    LogEntry *entry = &event.entry;
    replica_next(node->replica, &entry->lsn, &entry->term, &entry->prev_hash);
    uint64_t words[4];
    memcpy(words, entry->prev_hash.bytes, sizeof words);
    uint64_t seed = (world->next_uid += 1) ^ entry->lsn << 32 ^ (uint64_t)entry->term << 52;
    for (unsigned i = 0; i < 4; i++) {
        words[i] = (words[i] ^ seed) * 0xff51afd7ed558ccdULL + i;
        words[i] ^= words[i] >> 31;
    }
    memcpy(entry->hash.bytes, words, sizeof words);
    world_replica_step(world, node, &event);
}

/* --- life --- */

void world_stop(World *world, Node *node, bool lose_tail)
{
    if (!node->up) return;
    world_say(world, "%u stops%s", node->index, lose_tail ? ", power lost" : "");
    clients_forget(node);
    node->up = false;
    node->life++;
    node->pause_ns = 0;
    disk_crash(world, node, lose_tail);
}

void world_start(World *world, Node *node, uint64_t delay_ns)
{
    if (node->up || node->starting) return;
    node->starting = true;
    world_push(world, (WorldEvent){.type = WORLD_START, .node = node->index, .life = node->life},
               delay_ns);
}

/* Raised above all that its own disk ever tried, where each attempt is noted first: an answer may
 * be lost, and others know that life though the control store was rolled back behind it since. A
 * root of which the control store knows more than its disk ever tried is a clone, or was restored
 * from an image: it is a new one. False: later. */
static bool register_root(World *world, Node *node)
{
    ControlRoot roots[64];
    size_t count = 0;
    if (control_list_roots(world->control, roots, ARRAY_LEN(roots), &count, NULL) != OK) {
        return false;
    }
    for (size_t i = 0; i < MIN(count, ARRAY_LEN(roots)); i++) {
        if (!id128_eq(roots[i].root, node->root)) continue;
        bool older = roots[i].incarnation > node->tried || roots[i].verdict == ROOT_LOST;
        if (!older || (world->options.world_bugs & WORLD_LOST_DISK) != 0) continue;
        world_say(world, "%u is of an older image: a new root", node->index);
        node->root = world_uid(world);
        node->incarnation = 0;
        node->tried = 0;
        node->suspect = false;
        disk_wipe(node);
    }
    uint64_t known = MAX(node->tried, node->incarnation);
    node->tried = known + 1;
    if (!world->healing && rng_chance(&world->rng, world->rates.unknown)) {
        control_store_set_fate(world->store, rng_chance(&world->rng, 500000)
                                                 ? CONTROL_SIM_UNKNOWN_DONE
                                                 : CONTROL_SIM_UNKNOWN_IGNORED);
    }
    uint64_t incarnation = 0;
    if (control_raise_root(world->control, node->root, known, &incarnation, NULL) != OK)
        return false;
    node->incarnation = incarnation;
    node->tried = MAX(node->tried, incarnation);
    return true;
}

static void restart_replica(World *world, Node *node, const ShardConfig *row)
{
    mem_free(node->replica);
    node->replica = replica_init(mem_new(replica_size()), SHARD, node->root, node->incarnation);
    replica_plant(node->replica, world->options.bugs);
    ReplicaState state;
    LogConfig configs[2];
    uint32_t config_count = 0;
    disk_state(node, &state, configs, &config_count, world->options.world_bugs);
    Lsn first = MAX(node->base, MIN(node->cut_lsn, state.commit_lsn)) + 1;
    size_t skip = (size_t)(first - node->base - 1);
    const LogEntry *prev = disk_entry(node, first - 1);
    Event event = {.type = EVENT_RESTART,
                   .state = &state,
                   .config = row,
                   .tail = node->log_len > skip ? node->log + skip : NULL,
                   .tail_count = (uint32_t)(node->log_len - skip),
                   .tail_prev_term = prev != NULL ? prev->term : node->base_term,
                   .configs = configs,
                   .config_count = config_count,
                   .incomplete = node->incomplete,
                   .suspect = node->suspect,
                   .complete_lsn = node->complete_lsn};
    world_replica_step(world, node, &event);
}

static void start(World *world, Node *node)
{
    node->starting = false;
    if (node->up) return;
    ShardConfig row;
    bool found = false;
    if (!register_root(world, node) ||
        control_get(world->control, SHARD, &row, &found, NULL) != OK || !found) {
        world_start(world, node, 300 * MS);
        return;
    }
    world_say(world, "%u starts, incarnation %" PRIu64 ", lsn %" PRIu64, node->index,
              node->incarnation, disk_last(node));
    check_restart(world, node);
    node->up = true;
    node->gone = false;
    node->life++;
    node->announced_by = (Uuid){{0}}; /* the one before ended with that life: it is begun anew */
    node->cuts = 0;
    for (size_t i = 0; i < node->item_count; i++)
        node->cuts += node->items[i].type == ITEM_CUT || node->items[i].type == ITEM_RESET;
    for (size_t i = node->durable_items; i < node->item_count; i++) {
        if (node->items[i].type != ITEM_STATE) continue;
        check_vote(world, node, node->items[i].term, node->items[i].voted_for);
    }
    /* "Before any lsn is reported durable or a vote cast: sync the log's tail." */
    if ((world->options.world_bugs & WORLD_PAGE_CACHE) == 0) node->durable_items = node->item_count;
    restart_replica(world, node, &row);
    node->stand_after_ns = REPLICA_GRACE_NS + rng_below(&world->rng, 800 * MS);
    WorldEvent tick = {.type = WORLD_TICK, .node = node->index, .life = node->life};
    world_push(world, tick, rng_below(&world->rng, REPLICA_HEARTBEAT_NS));
}

/* --- what happens at a node --- */

static void tick(World *world, Node *node)
{
    WorldEvent again = {.type = WORLD_TICK, .node = node->index, .life = node->life};
    world_push(world, again, REPLICA_HEARTBEAT_NS);
    uint64_t age = node->syncing_items != 0 ? world->now_ns - node->sync_since_ns : 0;
    Event event = {.type = EVENT_TICK,
                   .new_cfg_uid = world_uid(world),
                   .sync_age_ns = age,
                   .sync_p99_ns = node->sync_ns * 3 / 2};
    world_replica_step(world, node, &event);
    if (rng_chance(&world->rng, 250000)) look_at_row(world, node);
    if (rng_chance(&world->rng, 60000)) compare_life(world, node);
    if (!node->up) return;
    if (world_is_leading(node) || !rivals_may_stand(world, node)) return;
    uint64_t heard = replica_heard_ns(node->replica);
    uint64_t now = world_clock(world, node);
    if (!world->healing && rng_chance(&world->rng, world->rates.eager)) world_stand(world, node);
    if (now - heard < node->stand_after_ns) return;
    node->stand_after_ns = REPLICA_GRACE_NS + rng_below(&world->rng, 1500 * MS);
    if (rng_chance(&world->rng, 400000)) world_stand(world, node);
}

static void say_row(World *world, const Node *by, const ShardConfig *row)
{
    char text[200];
    int len = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        const Node *node = world_node_of(world, row->members[i].root);
        len += snprintf(text + len, sizeof text - (size_t)len, " %d/%" PRIu64 "%s%s",
                        node == NULL ? -1 : (int)node->index, row->members[i].incarnation,
                        (row->isr >> i & 1) != 0 ? "*" : "", (row->elr >> i & 1) != 0 ? "+" : "");
    }
    const ShardConfig *in_force = control_store_row(world->store, SHARD);
    bool is = in_force != NULL && id128_eq(in_force->cfg_uid, row->cfg_uid);
    world_say(world, "row%s: term %u, members%s, min %u, by %u", is ? "" : " asked for", row->term,
              text, row->min_isr, by->index);
}

static void decide_cas(World *world, Node *node, const WorldEvent *event)
{
    ControlShard row; /* no initializer: gcc 12.2 clears a padding of it in the wrong place */
    row.shard = SHARD;
    row.config = *world->configs[event->cas.config];
    if (!world->healing && rng_chance(&world->rng, world->rates.unknown)) {
        control_store_set_fate(world->store, rng_chance(&world->rng, 500000)
                                                 ? CONTROL_SIM_UNKNOWN_DONE
                                                 : CONTROL_SIM_UNKNOWN_IGNORED);
    }
    ErrCode code = control_cas(world->control, &row, 1, NULL);
    WorldEvent answer = *event;
    answer.type = WORLD_ANSWER;
    answer.cas.answer = code == OK                 ? EVENT_CAS_DONE
                        : code == ERR_PRECONDITION ? EVENT_CAS_REFUSED
                                                   : EVENT_CAS_UNKNOWN;
    if (code == ERR_PRECONDITION) {
        bool found = false;
        ShardConfig now;
        if (control_get(world->control, SHARD, &now, &found, NULL) == OK && found) {
            answer.cas.config = world_keep_config(world, &now);
        } else {
            answer.cas.answer = EVENT_CAS_UNKNOWN;
        }
    }
    say_row(world, node, &row.config);
    if (code == OK) plot_elected(world, node);
    world_push(world, answer, 1 + rng_below(&world->rng, ANSWER_NS));
}

static void answer_cas(World *world, Node *node, const WorldEvent *event)
{
    Event told = {.type = event->cas.answer, .new_cfg_uid = event->cas.uid};
    if (told.type != EVENT_CAS_UNKNOWN) told.config = world->configs[event->cas.config];
    world_replica_step(world, node, &told);
}

static void fetched(World *world, Node *node, const WorldEvent *event)
{
    Lsn from = event->fetch.lsn;
    Event told = {.type = EVENT_FETCHED, .root = event->fetch.root};
    const LogEntry *first = from > node->cut_lsn ? disk_entry(node, from) : NULL;
    if (first != NULL) {
        told.tail = first;
        told.tail_count = (uint32_t)MIN(disk_last(node) - from + 1, (Lsn)FETCH_MAX);
    }
    world_replica_step(world, node, &told);
}

/* A part of the keys as they are at the sender now; each row keeps the lsn that it is from. */
static void stream(World *world, Node *node, const WorldEvent *event)
{
    Node *from = &world->nodes[event->stream.from];
    bool alive = from->up && from->life == event->stream.from_life;
    if (!alive || !id128_eq(node->root, event->stream.root)) return;
    if (world->cut[from->index][node->index] || from->pause_ns > world->now_ns) {
        world_push(world, *event, 100 * MS);
        return;
    }
    bool begun = node->incomplete && node->base == event->stream.base &&
                 id128_eq(node->announced_by, from->root) &&
                 node->announced_term == event->stream.term;
    if (!begun) { /* the announcement is under way, or was lost */
        if (!node->incomplete && node->base >= event->stream.base) return;
        world_push(world, *event, 100 * MS);
        return;
    }
    if (event->stream.part == 0 && node->stream < event->stream.stream)
        node->stream = event->stream.stream; /* whose sender may be gone: the newest counts */
    if (node->stream != event->stream.stream) return;
    for (unsigned key = event->stream.part; key < from->row_count; key += STREAM_PARTS) {
        const Row *row = &from->rows[key];
        Row *mine = clients_row(node, key);
        if (row->lsn > mine->lsn) *mine = *row;
    }
    WorldEvent next = *event;
    if (++next.stream.part < STREAM_PARTS) {
        world_push(world, next, 1 + rng_below(&world->rng, STREAM_NS));
        return;
    }
    Lsn whole = from->applied;
    world_say(world, "%u has streamed to %u, whole from lsn %" PRIu64 " on", from->index,
              node->index, whole);
    disk_item(world, node, &(Item){.type = ITEM_WHOLE, .lsn = MAX(whole, (Lsn)1)});
    uint64_t cuts = 0;
    for (size_t i = 0; i < node->item_count; i++)
        cuts += node->items[i].type == ITEM_CUT || node->items[i].type == ITEM_RESET;
    Event told = {.type = EVENT_SNAPSHOT_STORED, .lsn = whole, .cuts = cuts - node->cuts};
    world_replica_step(world, node, &told);
}

static void at_node(World *world, const WorldEvent *event)
{
    Node *node = &world->nodes[event->node];
    if (event->type == WORLD_START) {
        if (event->life == node->life) start(world, node);
        return;
    }
    if (!node->up || event->life != node->life) return;
    switch (event->type) {
    case WORLD_TICK: tick(world, node); break;
    case WORLD_SYNCED: disk_synced(world, node); break;
    case WORLD_ANSWER: answer_cas(world, node, event); break;
    case WORLD_ROW: {
        Event row = {.type = EVENT_ROW, .config = world->configs[event->cas.config]};
        world_replica_step(world, node, &row);
        break;
    }
    case WORLD_FETCHED: fetched(world, node, event); break;
    case WORLD_STREAM: stream(world, node, event); break;
    case WORLD_DELIVER:
    case WORLD_START:
    case WORLD_CAS:
    case WORLD_CLIENT:
    case WORLD_REQUEST:
    case WORLD_READ:
    case WORLD_REPLY:
    case WORLD_TIMEOUT:
    case WORLD_FAULT:
    case WORLD_PLAN:
    case WORLD_TURN: ASSERT(false); break;
    }
}

static void say_message(World *world, const Message *message)
{
    if (!world->options.trace) return;
    const Node *from = world_node_of(world, message->from);
    const Node *to = world_node_of(world, message->to);
    char text[MESSAGE_TEXT_MAX];
    message_text(message, from != NULL ? (int)from->index : -1, to != NULL ? (int)to->index : -1,
                 text);
    world_say(world, "%s", text);
}

static void deliver(World *world, const WorldEvent *event)
{
    Node *node = &world->nodes[event->node];
    const Message *message = world->messages[event->slot];
    note(world, message->type ^ message->lsn << 8 ^ (uint64_t)message->term << 40);
    if (node->up) {
        say_message(world, message);
        world->delivered = message;
        Event told = {.type = EVENT_MESSAGE, .message = message};
        world_replica_step(world, node, &told);
        world->delivered = NULL;
    }
    world->free_slots[world->free_count++] = event->slot;
}

static bool is_of_node(WorldEventType type)
{
    return type == WORLD_TICK || type == WORLD_DELIVER || type == WORLD_SYNCED ||
           type == WORLD_ANSWER || type == WORLD_ROW || type == WORLD_FETCHED ||
           type == WORLD_REQUEST || type == WORLD_READ || type == WORLD_STREAM;
}

void world_step(World *world)
{
    ASSERT(world->queue_len > 0);
    WorldEvent event = world_pop(world);
    world->now_ns = MAX(world->now_ns, event.at_ns);
    const Node *node = &world->nodes[event.node];
    if (is_of_node(event.type) && node->pause_ns > world->now_ns) { /* it stands still */
        world_push(world, event, node->pause_ns - world->now_ns);
        return;
    }
    world->events++;
    note(world, event.at_ns ^ (uint64_t)event.type << 56);
    switch (event.type) {
    case WORLD_DELIVER: deliver(world, &event); break;
    case WORLD_CAS: decide_cas(world, &world->nodes[event.node], &event); break;
    case WORLD_FAULT: faults_step(world); break;
    case WORLD_PLAN: faults_plan(world); break;
    case WORLD_TURN: rivals_turn(world); break;
    case WORLD_CLIENT:
    case WORLD_REQUEST:
    case WORLD_READ:
    case WORLD_REPLY:
    case WORLD_TIMEOUT: clients_event(world, &event); break;
    case WORLD_TICK:
    case WORLD_SYNCED:
    case WORLD_START:
    case WORLD_ANSWER:
    case WORLD_ROW:
    case WORLD_FETCHED:
    case WORLD_STREAM: at_node(world, &event); break;
    }
}

/* --- the whole --- */

static void make_row(World *world, unsigned members, uint32_t min_isr)
{
    ControlShard row = {.shard = SHARD,
                        .config = {.cfg_uid = world_uid(world),
                                   .version = 1,
                                   .min_isr = min_isr,
                                   .member_count = members,
                                   .isr = (uint16_t)((1u << members) - 1),
                                   .primary = MEMBERS_MAX}};
    for (unsigned i = 0; i < members; i++)
        row.config.members[i] = (Member){.root = world->nodes[i].root, .incarnation = 0};
    ErrCode code = control_cas(world->control, &row, 1, NULL);
    ASSERT(code == OK);
    control_store_keep(world->store);
}

World *world_new(const WorldOptions *options)
{
    static const unsigned sizes[] = {1, 3, 3, 3, 3, 5, 5, 2, 4};
    World *world = mem_new(sizeof *world);
    world->options = *options;
    rng_init(&world->rng, options->seed);
    rng_init(&world->chance, options->seed + (UINT64_C(1) << 63));
    world->now_ns = 1000 * MS;
    world->next_uid = options->seed << 24;
    world->history = history_new();
    world->store = control_store_new();
    world->control = control_sim_open(world->store);
    unsigned members = sizes[rng_below(&world->rng, ARRAY_LEN(sizes))];
    unsigned spare = (unsigned)rng_below(&world->rng, 3);
    uint32_t min_isr = members / 2 + 1;
    if (members == 4 && rng_chance(&world->rng, 500000)) min_isr = 2;
    if (members == 3 && rng_chance(&world->rng, 150000)) min_isr = 1;
    world->initial = members;
    world->node_count = members + spare;
    for (unsigned i = 0; i < world->node_count; i++) {
        world->nodes[i] = (Node){.index = i,
                                 .root = world_uid(world),
                                 .sync_ns = MS / 4,
                                 .clock_ns = (int64_t)rng_below(&world->rng, 1000000 * MS)};
    }
    make_row(world, members, min_isr);
    faults_draw(world);
    for (unsigned i = 0; i < world->node_count; i++)
        world_start(world, &world->nodes[i], 1 + rng_below(&world->rng, 50 * MS));
    clients_begin(world);
    world_push(world, (WorldEvent){.type = WORLD_FAULT}, 3000 * MS);
    world_push(world, (WorldEvent){.type = WORLD_PLAN}, 4000 * MS);
    return world;
}

void world_free(World *world)
{
    if (world == NULL) return;
    for (unsigned i = 0; i < world->node_count; i++) {
        Node *node = &world->nodes[i];
        mem_free(node->replica);
        mem_free(node->items);
        mem_free(node->log);
        mem_free(node->log_item);
        mem_free(node->rows);
        mem_free(node->config_lsns);
        mem_free(node->waiting);
    }
    for (size_t i = 0; i < world->message_count; i++)
        mem_free(world->messages[i]);
    for (size_t i = 0; i < world->config_count; i++)
        mem_free(world->configs[i]);
    for (size_t i = 0; i < world->request_count; i++)
        mem_free(world->requests[i]);
    mem_free(world->messages);
    mem_free(world->free_slots);
    mem_free(world->configs);
    mem_free(world->requests);
    mem_free(world->queue);
    mem_free(world->committed);
    mem_free(world->committed_terms);
    mem_free(world->votes);
    history_free(world->history);
    control_free(world->control);
    control_store_free(world->store);
    mem_free(world);
}
