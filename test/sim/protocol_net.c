/* What is going to happen, in order; and messages among it. */
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "protocol_world.h"

static bool before(const WorldEvent *a, const WorldEvent *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void sift_up(World *world, size_t at)
{
    WorldEvent event = world->queue[at];
    while (at > 0 && before(&event, &world->queue[(at - 1) / 2])) {
        world->queue[at] = world->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->queue[at] = event;
}

void world_push(World *world, WorldEvent event, uint64_t delay_ns)
{
    event.at_ns = world->now_ns + delay_ns;
    event.order = ++world->order;
    world->queue = world_grow(world->queue, world->queue_len, &world->queue_room,
                              sizeof *world->queue);
    world->queue[world->queue_len] = event;
    sift_up(world, world->queue_len++);
}

WorldEvent world_pop(World *world)
{
    WorldEvent first = world->queue[0];
    WorldEvent last = world->queue[--world->queue_len];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->queue_len) break;
        if (child + 1 < world->queue_len &&
            before(&world->queue[child + 1], &world->queue[child])) {
            child++;
        }
        if (!before(&world->queue[child], &last)) break;
        world->queue[at] = world->queue[child];
        at = child;
    }
    world->queue[at] = last;
    return first;
}

/* --- the network --- */

static void copy_message(Message *to, const Message *from)
{
    memcpy(to, from, offsetof(Message, config));
    bool has_config = from->config_lsn != 0 &&
                      (from->type == MSG_FENCED || from->type == MSG_SNAPSHOT ||
                       from->type == MSG_POLL || from->type == MSG_FENCE);
    if (has_config) to->config = from->config;
    memcpy(to->entries, from->entries, from->entry_count * sizeof from->entries[0]);
}

static uint32_t take_slot(World *world)
{
    if (world->free_count > 0) return world->free_slots[--world->free_count];
    if (world->message_count == world->message_room) {
        world->message_room = MAX((size_t)64, world->message_room * 2);
        world->messages = mem_resize(world->messages,
                                     world->message_room * sizeof *world->messages);
        world->free_slots = mem_resize(world->free_slots,
                                       world->message_room * sizeof *world->free_slots);
    }
    world->messages[world->message_count] = mem_new(sizeof(Message));
    return (uint32_t)world->message_count++;
}

static void post(World *world, const Message *message, unsigned from, unsigned to)
{
    uint32_t slot = take_slot(world);
    copy_message(world->messages[slot], message);
    uint64_t delay = 100000 + rng_below(&world->rng, world->rates.delay_ns);
    delay += rivals_delay(world, from, to);
    world_push(world, (WorldEvent){.type = WORLD_DELIVER, .node = to, .slot = slot}, delay);
}

void world_send(World *world, Node *node, const Message *message)
{
    check_sent(world, node, message);
    const Node *to = world_node_of(world, message->to);
    if (to == NULL || world->cut[node->index][to->index]) return;
    if (!world->healing && rng_chance(&world->rng, world->rates.lose)) return;
    post(world, message, node->index, to->index);
    if (!world->healing && rng_chance(&world->rng, world->rates.repeat)) {
        post(world, message, node->index, to->index);
    }
}
