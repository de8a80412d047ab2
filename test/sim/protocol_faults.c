/* What goes wrong, and who plans the members; then the end of all that. */
#include <string.h>

#include "protocol_world.h"

#define FAULT_EVERY_NS (200 * MS)
#define PLAN_EVERY_NS (700 * MS)

static uint32_t one_of(World *world, const uint32_t *values, size_t count)
{
    return values[rng_below(&world->rng, count)];
}
#define DRAW(...)                                                                                  \
    one_of(world, (const uint32_t[]){__VA_ARGS__},                                                 \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

void faults_draw(World *world)
{
    Rates *r = &world->rates;
    r->lose = DRAW(0, 10000, 100000, 300000);
    r->repeat = DRAW(0, 10000, 100000);
    r->delay_ns = DRAW(2, 10, 60) * MS;
    r->unknown = DRAW(0, 50000, 300000);
    r->stale = DRAW(0, 50000, 300000);
    r->crash = DRAW(0, 20000, 60000, 150000);
    r->partition = DRAW(0, 40000, 150000);
    r->pause = DRAW(0, 20000, 80000);
    r->store_down = DRAW(0, 10000, 40000);
    r->roll_back = DRAW(0, 0, 20000, 60000);
    r->lose_disk = DRAW(0, 0, 10000, 30000);
    r->clone = r->roll_back == 0 ? DRAW(0, 0, 10000) : 0; /* together nothing could tell */
    r->change = DRAW(0, 50000, 400000);
    r->hand_over = DRAW(0, 10000, 60000);
    r->slow_disk = DRAW(0, 10000, 60000);
    r->eager = DRAW(0, 20000, 100000);
    r->plot = DRAW(0, 50000, 400000);
    r->damage = DRAW(0, 0, 300000);
    r->slow_read = DRAW(0, 20000, 100000);
    r->patience_ns = DRAW(150, 1500) * MS;
    r->cut_log = DRAW(0, 50000, 300000);
}

static Node *any_node(World *world)
{
    return &world->nodes[rng_below(&world->rng, world->node_count)];
}

/* The active primary of the highest term. */
Node *faults_primary(World *world)
{
    Node *found = NULL;
    for (unsigned i = 0; i < world->node_count; i++) {
        Node *node = &world->nodes[i];
        if (!node->up || replica_role(node->replica) != ROLE_PRIMARY) continue;
        if (found == NULL || replica_term(node->replica) > replica_term(found->replica)) {
            found = node;
        }
    }
    return found;
}

static void part(World *world)
{
    memset(world->cut, 0, sizeof world->cut);
    if (rng_chance(&world->rng, 500000)) return; /* together again */
    if (rng_chance(&world->rng, 400000)) {       /* links fail, so that some hear both sides */
        for (unsigned i = 0; i < NODES_MAX * NODES_MAX; i++)
            world->cut[i / NODES_MAX][i % NODES_MAX] = rng_chance(&world->rng, 350000);
        world_say(world, "links fail");
        return;
    }
    bool one_way = rng_chance(&world->rng, 250000);
    unsigned side = (unsigned)rng_below(&world->rng, 1u << world->node_count);
    for (unsigned a = 0; a < world->node_count; a++) {
        for (unsigned b = 0; b < world->node_count; b++) {
            bool a_in = (side >> a & 1) != 0;
            bool b_in = (side >> b & 1) != 0;
            if (a_in && !b_in) world->cut[a][b] = true;
            if (!a_in && b_in && !one_way) world->cut[a][b] = true;
        }
    }
    world_say(world, "network parted, %x%s", side, one_way ? " one way" : "");
}

bool faults_can_lose_disk(World *world, const Node *node)
{
    const Node *primary = faults_primary(world);
    if (primary == NULL || primary == node) return false;
    if (replica_commit_lsn(primary->replica) != world->committed_len) return false;
    const ShardConfig *config = replica_config(primary->replica);
    Lsn commit = replica_commit_lsn(primary->replica);
    Lsn config_lsn = 0;
    const ShardConfig *last = disk_config(primary, 0, &config_lsn);
    if (commit == 0 || config_lsn > commit) return false;
    if (last != NULL && last->min_isr > config->min_isr) return false;
    for (unsigned i = 0; i < world->node_count; i++) {
        Lsn pending = 0; /* an old primary's CONFIG may count on this node */
        if (disk_config(&world->nodes[i], 0, &pending) == NULL || pending <= commit) continue;
        return false;
    }
    uint32_t copies = 0;
    uint32_t whole = 0;
    uint32_t min = config->min_isr;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const Node *other = world_node_of(world, config->members[i].root);
        if (other == NULL || other == node || other->gone || other->suspect) continue;
        whole += !other->incomplete;
        copies += !other->incomplete &&
                  disk_has_durable(other, commit, &world->committed[commit - 1]);
    }
    uint32_t n = config->member_count;
    return copies >= min && whole >= MAX(MAX(n - min + 1, n / 2 + 1), min);
}

static void lose_disk(World *world)
{
    Node *node = any_node(world);
    if (!faults_can_lose_disk(world, node)) return;
    world_say(world, "%u loses its disk", node->index);
    world->lost_disks++;
    world_stop(world, node, true);
    disk_wipe(node);
    node->suspect = false;
    bool keeps_identity = (world->options.world_bugs & WORLD_LOST_DISK) != 0;
    if (!keeps_identity) {
        if (rng_chance(&world->rng, 500000)) { /* the operator says so */
            ErrCode code = control_set_verdict(world->control, node->root, ROOT_LOST, NULL);
            UNUSED(code); /* he may fail */
        }
        node->root = world_uid(world);
        node->incarnation = 0;
        node->tried = 0;
    }
    world_start(world, node, rng_below(&world->rng, 2000 * MS));
}

/* Its disk is set back to what was durable some time ago, as a copy of it would be. */
static void restore_image(World *world)
{
    Node *node = any_node(world);
    if (!faults_can_lose_disk(world, node) || node->durable_items < 4 || node->incarnation < 2) {
        return;
    }
    world_say(world, "%u gets an old image of its disk", node->index);
    world->lost_disks++;
    world_stop(world, node, true);
    node->gone = true;
    node->item_count = node->durable_items - 1 - rng_below(&world->rng, 3);
    node->durable_items = node->item_count;
    node->incarnation -= 2; /* its root.json is as old */
    node->tried = node->incarnation;
    node->commit = 0;
    node->row_count = 0;
    node->applied = 0;
    disk_crash(world, node, false);
    world_start(world, node, rng_below(&world->rng, 1000 * MS));
}

static bool happens(World *world, uint32_t rate)
{
    return rng_chance(&world->rng, rate);
}

static void crash(World *world)
{
    Node *node = any_node(world);
    if (!node->up) return;
    bool damage = happens(world, world->rates.damage) && faults_can_lose_disk(world, node);
    world_stop(world, node, rng_chance(&world->rng, 600000));
    if (damage) {
        world_say(world, "the log of %u is damaged", node->index);
        node->suspect = true;
    }
    world_start(world, node, rng_below(&world->rng, 4000 * MS));
}

static void pause_node(World *world)
{
    Node *node = any_node(world);
    if (!node->up || node->pause_ns > world->now_ns) return;
    node->pause_ns = world->now_ns + rng_below(&world->rng, 3500 * MS);
    world_say(world, "%u stands still until %.3f", node->index, (double)node->pause_ns / 1e9);
}

static void cut_log(World *world)
{
    Node *node = any_node(world);
    Lsn limit = MIN(node->commit, node->applied);
    if (!node->up || limit <= node->cut_lsn + 1) return;
    node->cut_lsn += rng_below(&world->rng, limit - node->cut_lsn);
}

static void trouble_store(World *world)
{
    control_store_set_down(world->store, rng_chance(&world->rng, 400000));
}

/* Incarnations go back with the rest; a root that runs meanwhile registers again at its next start
 * above what its own disk tells. */
static void roll_back(World *world)
{
    if (!control_store_roll_back(world->store)) return;
    ShardConfig row;
    bool found = false;
    if (control_get(world->control, SHARD, &row, &found, NULL) == OK && !found) return;
    world->roll_backs++;
    world_say(world, "the control store is rolled back");
}

/* What would spoil a plot. */
static void by_chance(World *world)
{
    const Rates *r = &world->rates;
    if (happens(world, r->crash)) crash(world);
    if (happens(world, r->partition)) part(world);
    if (happens(world, r->pause)) pause_node(world);
    if (happens(world, r->lose_disk)) lose_disk(world);
    if (happens(world, r->clone)) restore_image(world);
    if (happens(world, r->hand_over)) {
        Node *primary = faults_primary(world);
        Event event = {.type = EVENT_HAND_OVER};
        if (primary != NULL && primary->pause_ns <= world->now_ns) {
            world_replica_step(world, primary, &event);
        }
    }
}

void faults_step(World *world)
{
    if (world->healing) return;
    const Rates *r = &world->rates;
    rivals_begin(world);
    plot_step(world);
    bool plotted = rivals_under_way(world);
    if (world->plot.act == 0 && !plotted) by_chance(world);
    if (!plotted && happens(world, r->store_down * 3)) trouble_store(world);
    if (!plotted && happens(world, r->roll_back)) roll_back(world);
    if (happens(world, r->cut_log)) cut_log(world);
    if (happens(world, r->slow_disk)) {
        any_node(world)->sync_ns = rng_chance(&world->rng, 600000)
                                       ? MS / 4
                                       : rng_below(&world->rng, 1500 * MS) + MS;
    }
    world_push(world, (WorldEvent){.type = WORLD_FAULT}, FAULT_EVERY_NS);
}

/* --- who plans the members --- */

static bool names(const ShardConfig *config, Uuid root)
{
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (id128_eq(config->members[i].root, root)) return true;
    }
    return false;
}

static bool learns(const ShardConfig *config, Uuid root)
{
    for (uint32_t i = 0; i < config->learner_count; i++) {
        if (id128_eq(config->learners[i].root, root)) return true;
    }
    return false;
}

static void remove_member(ShardConfig *config, uint32_t at)
{
    config->member_count--;
    memmove(&config->members[at], &config->members[at + 1],
            (config->member_count - at) * sizeof config->members[0]);
    config->min_isr = MIN(config->min_isr, config->member_count);
}

static void remove_learner(ShardConfig *config, Uuid root)
{
    for (uint32_t i = 0; i < config->learner_count; i++) {
        if (!id128_eq(config->learners[i].root, root)) continue;
        config->learner_count--;
        memmove(&config->learners[i], &config->learners[i + 1],
                (config->learner_count - i) * sizeof config->learners[0]);
        return;
    }
}

static void ask_change(World *world, Node *primary, const ShardConfig *wanted)
{
    Event event = {.type = EVENT_CHANGE, .config = wanted, .new_cfg_uid = world_uid(world)};
    world->changes++;
    world_replica_step(world, primary, &event);
}

/* Learners that are nobody's root any more go; a root that is named nowhere begins as a learner. */
static bool plan_learners(World *world, Node *primary)
{
    const ShardConfig *now = replica_config(primary->replica);
    ShardConfig wanted = *now;
    for (uint32_t i = 0; i < now->learner_count; i++) {
        if (world_node_of(world, now->learners[i].root) != NULL) continue;
        remove_learner(&wanted, now->learners[i].root);
        ask_change(world, primary, &wanted);
        return true;
    }
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *node = &world->nodes[i];
        if (!node->up || names(now, node->root) || learns(now, node->root)) continue;
        if (wanted.learner_count == MEMBERS_MAX) return false;
        wanted.learners[wanted.learner_count++] = (Member){node->root, node->incarnation};
        ask_change(world, primary, &wanted);
        return true;
    }
    return false;
}

/* A member whose disk is lost for good: another first, then it goes. */
static bool plan_lost(World *world, Node *primary)
{
    const ShardConfig *now = replica_config(primary->replica);
    ShardConfig wanted = *now;
    for (uint32_t i = 0; i < now->member_count; i++) {
        if (world_node_of(world, now->members[i].root) != NULL) continue;
        if (now->member_count > world->initial || now->learner_count == 0) {
            if ((now->isr >> i & 1) != 0 || now->member_count == 1) return false;
            remove_member(&wanted, i);
        } else {
            Member member = wanted.learners[0];
            if (now->member_count == MEMBERS_MAX) return false;
            remove_learner(&wanted, member.root);
            wanted.members[wanted.member_count++] = member;
        }
        ask_change(world, primary, &wanted);
        return true;
    }
    return false;
}

static void plan_any(World *world, Node *primary)
{
    const ShardConfig *now = replica_config(primary->replica);
    ShardConfig wanted = *now;
    for (uint32_t i = 0; i < now->member_count; i++) {
        if (world_node_of(world, now->members[i].root) == NULL) return; /* that one first */
    }
    switch (rng_below(&world->rng, 4)) {
    case 0:
        if (now->learner_count == 0 || now->member_count >= 5) return;
        wanted.members[wanted.member_count++] = wanted.learners[0];
        remove_learner(&wanted, now->learners[0].root);
        break;
    case 1: {
        uint32_t at = (uint32_t)rng_below(&world->rng, now->member_count);
        if (now->member_count <= 2 || id128_eq(now->members[at].root, primary->root)) return;
        remove_member(&wanted, at);
        break;
    }
    case 2: /* still above half, or just below, as with four */
        if (now->min_isr < now->member_count) wanted.min_isr++;
        break;
    default:
        if (now->min_isr > MAX(now->member_count / 2, 1u)) wanted.min_isr--;
        break;
    }
    ask_change(world, primary, &wanted);
}

void faults_change_thrice(World *world, Node *primary)
{
    if (world->rates.change == 0) return;
    for (int i = 0; i < 3 && replica_role(primary->replica) == ROLE_PRIMARY; i++)
        plan_any(world, primary);
}

void faults_plan(World *world)
{
    world_push(world, (WorldEvent){.type = WORLD_PLAN}, PLAN_EVERY_NS);
    Node *primary = faults_primary(world);
    if (primary == NULL || primary->pause_ns > world->now_ns) return;
    if (plan_lost(world, primary)) return;
    if (plan_learners(world, primary)) return;
    if (!world->healing && happens(world, world->rates.change)) plan_any(world, primary);
}

/* --- healing --- */

void faults_heal(World *world)
{
    world_say(world, "all faults end");
    world->healing = true;
    world->plot = (Plot){0};
    memset(world->cut, 0, sizeof world->cut);
    control_store_set_down(world->store, false);
    control_store_set_fate(world->store, CONTROL_SIM_PLAIN);
    world->rates.delay_ns = 5 * MS;
    for (unsigned i = 0; i < world->node_count; i++) {
        Node *node = &world->nodes[i];
        node->pause_ns = 0;
        node->sync_ns = MS / 4;
        world_start(world, node, 1);
    }
}

void faults_repair_config(World *world)
{
    const ShardConfig *best = NULL;
    Lsn best_lsn = 0;
    Term best_term = 0;
    for (unsigned i = 0; i < world->node_count; i++) {
        Lsn lsn = 0;
        const Node *node = &world->nodes[i];
        const ShardConfig *config = node->incomplete ? NULL : disk_config(node, 0, &lsn);
        if (config == NULL) continue;
        const LogEntry *entry = disk_entry(node, lsn);
        Term term = entry != NULL ? entry->term : node->base_config.term;
        if (best != NULL && (term < best_term || (term == best_term && lsn <= best_lsn))) continue;
        best = config;
        best_lsn = lsn;
        best_term = term;
    }
    ShardConfig now;
    bool found = false;
    if (best == NULL || control_get(world->control, SHARD, &now, &found, NULL) != OK) return;
    ControlShard row;
    row.shard = SHARD;
    row.config = *best;
    row.config.parent_uid = now.cfg_uid;
    row.config.cfg_uid = world_uid(world);
    row.config.term = MAX(now.term, best->term);
    row.config.version = now.version + 1;
    row.config.primary = MEMBERS_MAX;
    for (uint32_t i = 0; i < row.config.member_count; i++) {
        const Node *node = world_node_of(world, row.config.members[i].root);
        if (node != NULL) row.config.members[i].incarnation = node->incarnation;
    }
    world_say(world, "the operator repairs the row");
    world->repairs += control_cas(world->control, &row, 1, NULL) == OK;
}

static bool has_quorum(World *world, const ShardConfig *config)
{
    uint32_t whole = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const Node *node = world_node_of(world, config->members[i].root);
        whole += node != NULL && !node->incomplete && !node->suspect;
    }
    uint32_t n = config->member_count;
    return whole >= MAX(MAX(n - config->min_isr + 1, n / 2 + 1), config->min_isr);
}

bool faults_excused(World *world)
{
    ShardConfig row;
    bool found = false;
    if (control_get(world->control, SHARD, &row, &found, NULL) == OK && found &&
        !has_quorum(world, &row)) {
        return true;
    }
    for (unsigned i = 0; i < world->node_count; i++) {
        if (world->nodes[i].gone) continue; /* what an old image names stops nobody */
        Lsn last = 0;                       /* while that is pending the one before counts, too */
        for (unsigned back = 0; back < 2; back++) {
            Lsn lsn = 0;
            const ShardConfig *config = disk_config(&world->nodes[i], back, &lsn);
            bool counts = config != NULL && (back == 0 || last > world->nodes[i].commit);
            if (back == 0) last = lsn;
            if (counts && !has_quorum(world, config)) return true;
        }
    }
    return false;
}

bool faults_healed(World *world)
{
    const Node *primary = faults_primary(world);
    if (primary == NULL) return false;
    const ShardConfig *config = replica_config(primary->replica);
    if (replica_commit_lsn(primary->replica) < world->committed_len) return false;
    if (!replica_can_read(primary->replica, world_clock(world, primary))) return false;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const Node *node = world_node_of(world, config->members[i].root);
        if (node == NULL || (config->isr >> i & 1) == 0) return false;
    }
    return true;
}
