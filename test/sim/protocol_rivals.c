/* Two more plots, in a fifth of all seeds (has_rivals()), with chances of their own: what the
 * other seeds do, and once found, stays as it was.
 *
 * Rivals: two members take turns at the lead and never hear each other; the others hear the one
 * whose turn it is only. A turn ends when START was written, or soon after, mostly before all have
 * it: each keeps a tail that nobody else has, stands again on top of it, and is cut off again.
 * Those who vote have slow disks, and most of them lose power between two turns, often right behind
 * a sync: what they had acknowledged stays, what came behind it may not.
 *
 * An old line: what a member says to the primary stands still for a while, as in the buffers of a
 * connection. Meanwhile the member starts again, on a slow disk, perhaps with a damaged log, so
 * that it is seeded anew; then what it said in its life before arrives, in any order, perhaps while
 * the control store is down and the row can't follow. */
#include <string.h>

#include "protocol_world.h"

#define TURNS_MAX 5
#define TURN_MAX_NS (4000 * MS) /* without anybody elected */

/* Three of fifteen, which are chosen so that no seed that once found something changes. */
static bool has_rivals(const World *world)
{
    uint64_t rest = world->options.seed % 15;
    return rest == 4 || rest == 12 || rest == 13;
}

static uint64_t below(World *world, uint64_t limit)
{
    return rng_below(&world->chance, limit);
}

static void push(World *world, WorldEventType type, uint64_t delay_ns)
{
    world_push(world, (WorldEvent){.type = type}, delay_ns);
}

/* --- rivals --- */

/* Nothing between the two, nor between the others and whoever has not the turn. */
static void part_rivals(World *world)
{
    Rivals *rivals = &world->rivals;
    unsigned off = rivals->who[1 - rivals->turn % 2];
    memset(world->cut, 0, sizeof world->cut);
    for (unsigned i = 0; i < world->node_count; i++) {
        if (i == off) continue;
        world->cut[i][off] = true;
        world->cut[off][i] = true;
    }
}

static void begin_turn(World *world)
{
    Rivals *rivals = &world->rivals;
    rivals->elected = false;
    rivals->mute = (rivals->turn % 2 == 1) == (below(world, 4) > 0);
    rivals->until_ns = world->now_ns + TURN_MAX_NS;
    part_rivals(world);
    world_say(world, "turn %u: %u may stand", rivals->turn, rivals->who[rivals->turn % 2]);
}

static void begin_rivals(World *world, const Node *primary, const Node *heir)
{
    Rivals *rivals = &world->rivals;
    *rivals = (Rivals){.turns = 3 + (unsigned)below(world, TURNS_MAX - 2),
                       .turn = 1,
                       .sync_ns = MS + below(world, 100 * MS)};
    rivals->who[0] = primary->index;
    rivals->who[1] = heir->index;
    for (unsigned i = 0; i < world->node_count; i++) {
        if (i != primary->index && i != heir->index) world->nodes[i].sync_ns = rivals->sync_ns;
    }
    world_say(world, "%u and %u are rivals", primary->index, heir->index);
    begin_turn(world);
}

static void end_turn(World *world)
{
    Rivals *rivals = &world->rivals;
    for (unsigned i = 0; i < world->node_count; i++) {
        Node *node = &world->nodes[i];
        if (i == rivals->who[0] || i == rivals->who[1] || !node->up) continue;
        if (below(world, 4) == 0) continue;
        world_stop(world, node, true);
        world_start(world, node, 1 + below(world, 100 * MS));
    }
    rivals->turn++;
    if (rivals->turn <= rivals->turns) {
        begin_turn(world);
        return;
    }
    memset(world->cut, 0, sizeof world->cut);
    *rivals = (Rivals){0};
    world_say(world, "no rivals any more");
}

static void rivals_step(World *world)
{
    Rivals *rivals = &world->rivals;
    Node *node = &world->nodes[rivals->who[rivals->turn % 2]];
    if (world->now_ns >= rivals->until_ns) {
        end_turn(world);
    } else if (!rivals->elected && node->up && node->pause_ns <= world->now_ns &&
               replica_role(node->replica) == ROLE_FOLLOWER && below(world, 100) == 0) {
        world_stand(world, node);
    }
    if (rivals->turns > 0) push(world, WORLD_TURN, MS);
}

void rivals_role(World *world, const Node *node)
{
    Rivals *rivals = &world->rivals;
    if (rivals->turns == 0 || rivals->elected || node->index != rivals->who[rivals->turn % 2])
        return;
    if (replica_role(node->replica) != ROLE_STARTING) return;
    rivals->elected = true;
    rivals->until_ns = world->now_ns +
                       below(world, 3 * world->rates.delay_ns + 6 * rivals->sync_ns);
    for (unsigned i = 0; i < world->node_count && rivals->mute; i++)
        world->cut[node->index][i] = true;
}

void rivals_synced(World *world, const Node *node)
{
    Rivals *rivals = &world->rivals;
    if (rivals->turns == 0 || !rivals->elected || below(world, 2) == 0) return;
    if (node->index == rivals->who[0] || node->index == rivals->who[1]) return;
    rivals->until_ns = MIN(rivals->until_ns, world->now_ns + below(world, rivals->sync_ns / 2));
}

bool rivals_may_stand(const World *world, const Node *node)
{
    const Rivals *rivals = &world->rivals;
    return rivals->turns == 0 || node->index == rivals->who[rivals->turn % 2];
}

/* --- an old line --- */

static void begin_line(World *world, const Node *primary, const Node *member)
{
    Line *line = &world->line;
    *line = (Line){.from = member->index, .to = primary->index, .life = member->life};
    line->held = true;
    line->stop_ns = world->now_ns + 50 * MS + below(world, 500 * MS);
    line->until_ns = line->stop_ns + 50 * MS + below(world, 1000 * MS);
    world_say(world, "what %u says to %u stands still", line->from, line->to);
    push(world, WORLD_TURN, line->stop_ns - world->now_ns);
}

static void line_stop(World *world, Node *node)
{
    Line *line = &world->line;
    bool damage = below(world, 4) > 0 && faults_can_lose_disk(world, node);
    uint64_t delay_ns = 1 + below(world, 200 * MS);
    world_stop(world, node, below(world, 2) == 0);
    if (damage) world_say(world, "the log of %u is damaged", node->index);
    node->suspect = node->suspect || damage;
    node->sync_ns = MS + below(world, 300 * MS);
    world_start(world, node, delay_ns);
    line->down_ns = world->now_ns + delay_ns + below(world, 20 * MS);
}

static void line_step(World *world)
{
    Line *line = &world->line;
    Node *node = &world->nodes[line->from];
    uint64_t next_ns = line->until_ns;
    if (line->down_ns == 0) {
        line->down_ns = line->until_ns;
        if (node->up && node->life == line->life) line_stop(world, node);
        next_ns = MIN(line->down_ns, line->until_ns);
    } else if (world->now_ns < line->until_ns) {
        control_store_set_down(world->store, below(world, 2) == 0);
    }
    if (world->now_ns < line->until_ns) {
        push(world, WORLD_TURN, next_ns - world->now_ns);
        return;
    }
    control_store_set_down(world->store, false);
    *line = (Line){0};
    world_say(world, "all that was held arrived");
}

uint64_t rivals_delay(World *world, unsigned from, unsigned to)
{
    const Line *line = &world->line;
    if (!line->held || world->healing || from != line->from || to != line->to) return 0;
    if (world->nodes[from].life != line->life) return 0; /* a new connection */
    uint64_t at_ns = line->stop_ns + below(world, line->until_ns - line->stop_ns);
    return MAX(at_ns, world->now_ns) - world->now_ns;
}

/* --- both --- */

bool rivals_under_way(const World *world)
{
    return world->rivals.turns > 0 || world->line.held;
}

void rivals_begin(World *world)
{
    if (!has_rivals(world) || world->plot.act != 0 || rivals_under_way(world)) return;
    const Node *primary = faults_primary(world);
    if (primary == NULL || world->node_count < 3 || below(world, 2) > 0) return;
    unsigned other = plot_other_than(world, primary, primary->index, primary->index);
    if (other == primary->index) return;
    if (below(world, 2) == 0)
        begin_rivals(world, primary, &world->nodes[other]);
    else
        begin_line(world, primary, &world->nodes[other]);
    if (world->rivals.turns > 0) push(world, WORLD_TURN, MS);
}

void rivals_turn(World *world)
{
    if (world->healing) {
        world->rivals = (Rivals){0};
        world->line = (Line){0};
    } else if (world->line.held) {
        line_step(world);
    } else if (world->rivals.turns > 0) {
        rivals_step(world);
    }
}
