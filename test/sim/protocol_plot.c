/* Plots against a primary, which chance alone would take long to come to. First it loses an heir,
 * or all but the heir: who hears it no more is bound by no promise soon. A moment later it loses
 * the others too, while its lease still holds, and the heir stands at once; perhaps it, or who is
 * to vote, has just started again and forgotten what it promised, or the primary hands over and is
 * cut off amid that. Perhaps the control store is rolled back as soon as it made the heir primary,
 * and yet another stands, in the same term. */
#include <string.h>

#include "protocol_world.h"

static void cut_off(World *world, unsigned a, unsigned b)
{
    world->cut[a][b] = true;
    world->cut[b][a] = true;
}

static void isolate(World *world, unsigned victim)
{
    for (unsigned i = 0; i < world->node_count; i++)
        if (i != victim) cut_off(world, victim, i);
}

unsigned plot_other_than(World *world, const Node *node, unsigned a, unsigned b)
{
    const ShardConfig *config = replica_config(node->replica);
    unsigned found[MEMBERS_MAX];
    unsigned count = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const Node *other = world_node_of(world, config->members[i].root);
        if ((config->isr >> i & 1) == 0 || other == NULL || !other->up) continue;
        if (other->index != a && other->index != b) found[count++] = other->index;
    }
    return count == 0 ? a : found[rng_below(&world->rng, count)];
}

static void first_act(World *world)
{
    const Node *primary = faults_primary(world);
    if (primary == NULL || world->node_count < 3) return;
    Plot *plot = &world->plot;
    *plot = (Plot){.act = 1, .victim = primary->index};
    plot->heir = plot_other_than(world, primary, plot->victim, plot->victim);
    plot->voter = plot_other_than(world, primary, plot->victim, plot->heir);
    if (plot->heir == plot->victim || plot->voter == plot->victim) {
        *plot = (Plot){0}; /* too few in sync for that */
        return;
    }
    plot->quiet = rng_chance(&world->rng, 500000);
    plot->rob = world->rates.roll_back > 0 && rng_chance(&world->rng, 300000);
    memset(world->cut, 0, sizeof world->cut);
    unsigned how = (unsigned)rng_below(&world->rng, 3);
    if (how == 0) cut_off(world, plot->victim, plot->heir);
    for (unsigned i = 0; how == 1 && i < world->node_count; i++) {
        if (i != plot->victim && i != plot->heir) cut_off(world, plot->victim, i);
    }
    plot->at_ns = world->now_ns + 800 * MS + rng_below(&world->rng, 900 * MS);
    world_say(world, "a plot against %u, for %u", plot->victim, plot->heir);
}

static void start_again(World *world, unsigned at)
{
    Node *node = &world->nodes[at];
    if (!node->up) return;
    world_stop(world, node, rng_chance(&world->rng, 500000));
    world_start(world, node, 1 + rng_below(&world->rng, 100 * MS));
}

static void second_act(World *world)
{
    Plot *plot = &world->plot;
    Node *victim = &world->nodes[plot->victim];
    Node *heir = &world->nodes[plot->heir];
    switch (rng_below(&world->rng, 5)) {
    case 0: start_again(world, plot->heir); break;
    case 1: start_again(world, plot->voter); break;
    case 2: {
        Event event = {.type = EVENT_HAND_OVER, .root = heir->root};
        if (victim->pause_ns <= world->now_ns) world_replica_step(world, victim, &event);
        break;
    }
    default: break;
    }
    bool late = rng_chance(&world->rng, 250000); /* the victim may drop the others before */
    if (late && victim->pause_ns <= world->now_ns) faults_change_thrice(world, victim);
    isolate(world, plot->victim);
    plot->act = 2;
    plot->stand_ns = world->now_ns + (late ? 2500 * MS : 0);
    plot->at_ns = plot->stand_ns + 500 * MS + rng_below(&world->rng, 3000 * MS);
}

void plot_step(World *world)
{
    Plot *plot = &world->plot;
    Node *heir = &world->nodes[plot->heir];
    if (rivals_under_way(world)) return;
    if (plot->act == 0) {
        if (rng_chance(&world->rng, world->rates.plot)) first_act(world);
        return;
    }
    if (plot->act == 2 && world->now_ns >= plot->stand_ns && heir->up &&
        heir->pause_ns <= world->now_ns && replica_role(heir->replica) == ROLE_FOLLOWER) {
        world_stand(world, heir);
    }
    if (world->now_ns < plot->at_ns) return;
    if (plot->act == 1) {
        second_act(world);
        return;
    }
    memset(world->cut, 0, sizeof world->cut);
    *plot = (Plot){0};
}

void plot_elected(World *world, const Node *node)
{
    Plot *plot = &world->plot;
    if (plot->act != 2 || !plot->rob || node->index != plot->heir) return;
    plot->rob = false;
    if (!control_store_roll_back(world->store)) return;
    world->roll_backs++;
    world_say(world, "the control store is rolled back under %u", node->index);
    unsigned rival_at = plot->voter;
    plot->voter = plot->heir;
    plot->heir = rival_at;
    if (rng_chance(&world->rng, 300000)) start_again(world, plot->voter);
    Node *rival = &world->nodes[plot->heir];
    if (rival->up && rival->pause_ns <= world->now_ns) world_stand(world, rival);
}
