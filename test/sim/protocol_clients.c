/* Clients, and what a store would do for them: conditions are decided at append, against what is
 * committed and what is pending; a read fetches first and looks at the lease afterwards. Every
 * request goes into the history; what got no answer has an outcome that nobody knows. */
#include <inttypes.h>
#include <string.h>

#include "protocol_world.h"

Row *clients_row(Node *node, unsigned key)
{
    if (key >= node->row_count) {
        size_t count = key + 1;
        node->rows = mem_resize(node->rows, count * sizeof *node->rows);
        memset(node->rows + node->row_count, 0, (count - node->row_count) * sizeof *node->rows);
        node->row_count = count;
    }
    return &node->rows[key];
}

static uint64_t value_after(const Request *request)
{
    return request->kind == HISTORY_DELETE ? 0 : request->value;
}

/* Rows that came with a snapshot may be newer: "replay from L0 comparing lsn per row". */
void clients_apply(Node *node, Lsn lsn)
{
    for (Lsn at = MAX(node->applied, node->base) + 1; at <= lsn; at++) {
        const LogEntry *entry = disk_entry(node, at);
        const Request *request = entry != NULL ? entry->handle : NULL;
        if (request == NULL) continue;
        Row *row = clients_row(node, request->key);
        if (row->lsn >= at) continue;
        *row = (Row){.value = value_after(request), .lsn = at};
    }
    node->applied = MAX(node->applied, lsn);
}

static void reply(World *world, const Request *request, bool done, bool refused)
{
    WorldEvent event = {.type = WORLD_REPLY};
    event.client.request = request;
    event.client.done = done;
    event.client.refused = refused;
    world_push(world, event, 1 + rng_below(&world->rng, 5 * MS));
}

void clients_committed(World *world, Node *node, Lsn lsn)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->waiting_count; i++) {
        Waiting waiting = node->waiting[i];
        if (waiting.lsn > lsn) {
            node->waiting[kept++] = waiting;
            continue;
        }
        reply(world, waiting.request, !waiting.refused, waiting.refused);
    }
    node->waiting_count = kept;
}

void clients_forget(Node *node)
{
    node->waiting_count = 0;
}

/* What key holds behind everything that is appended; *lsn: the pending entry that says so, or 0. */
static uint64_t pending_value(World *world, Node *node, unsigned key, Lsn *lsn)
{
    *lsn = 0;
    bool blind = (world->options.world_bugs & WORLD_DECIDE_ON_COMMITTED) != 0;
    for (Lsn at = disk_last(node); at > node->applied && !blind; at--) {
        const LogEntry *entry = disk_entry(node, at);
        const Request *request = entry != NULL ? entry->handle : NULL;
        if (request == NULL || request->key != key) continue;
        *lsn = at;
        return value_after(request);
    }
    return clients_row(node, key)->value;
}

static bool condition_holds(const Request *request, uint64_t value)
{
    switch (request->kind) {
    case HISTORY_CREATE: return value == 0;
    case HISTORY_SWAP: return value != 0 && value == request->expected;
    case HISTORY_DELETE:
    case HISTORY_CHANGE: return value != 0;
    case HISTORY_READ:
    case HISTORY_WRITE:
    case HISTORY_FALL_BACK: break;
    }
    return true;
}

static void wait_for(Node *node, Lsn lsn, const Request *request, bool refused)
{
    node->waiting = world_grow(node->waiting, node->waiting_count, &node->waiting_room,
                               sizeof *node->waiting);
    node->waiting[node->waiting_count++] = (Waiting){
        .lsn = lsn, .request = request, .refused = refused};
}

static const char *kind_name(HistoryKind kind)
{
    static const char *const names[] = {
        [HISTORY_READ] = "read", [HISTORY_WRITE] = "write",   [HISTORY_CREATE] = "create",
        [HISTORY_SWAP] = "swap", [HISTORY_DELETE] = "delete", [HISTORY_CHANGE] = "change"};
    return names[kind];
}

static void change_at(World *world, Node *node, const Request *request)
{
    Lsn pending = 0;
    uint64_t value = pending_value(world, node, request->key, &pending);
    if (!condition_holds(request, value)) {
        bool unchecked = (world->options.world_bugs & WORLD_REFUSE_UNCHECKED) != 0;
        if (pending != 0) {
            wait_for(node, pending, request, true);
        } else if (unchecked || replica_can_read(node->replica, world_clock(world, node))) {
            reply(world, request, false, true); /* a refusal is a read (decision 0011) */
        }
        return;
    }
    Lsn lsn = disk_last(node) + 1;
    wait_for(node, lsn, request, false);
    world_append(world, node, request, NULL, false);
}

static void read_at(World *world, Node *node, const WorldEvent *event)
{
    const Request *request = event->client.request;
    WorldEvent next = *event;
    next.type = WORLD_READ;
    next.life = node->life;
    next.client.value = clients_row(node, request->key)->value;
    next.client.fetched_ns = world_clock(world, node);
    next.client.confirm = rng_chance(&world->rng, 200000);
    bool slow = !world->healing && rng_chance(&world->rng, world->rates.slow_read);
    world_push(world, next, 1 + rng_below(&world->rng, slow ? 1500 * MS : 2 * MS));
}

/* The value was fetched; may it be given? */
static void read_done(World *world, Node *node, const WorldEvent *event)
{
    bool unchecked = (world->options.world_bugs & WORLD_READ_UNCHECKED) != 0;
    uint64_t now = world_clock(world, node);
    if (event->client.confirm && !unchecked) {
        if (replica_role(node->replica) != ROLE_PRIMARY) return;
        if (replica_confirmed_ns(node->replica) <= event->client.fetched_ns) {
            if (now - event->client.fetched_ns < world->rates.patience_ns)
                world_push(world, *event, MS * 20);
            return;
        }
    } else if (!unchecked) {
        if (!replica_can_read(node->replica, now)) return;
        check_read(world, node);
    }
    WorldEvent answer = *event;
    answer.type = WORLD_REPLY;
    answer.client.done = true;
    world_push(world, answer, 1 + rng_below(&world->rng, 5 * MS));
}

static void request_at(World *world, const WorldEvent *event)
{
    Node *node = &world->nodes[event->node];
    if (!node->up || replica_role(node->replica) != ROLE_PRIMARY) return; /* the time-out tells */
    const Request *request = event->client.request;
    if (request->kind == HISTORY_READ)
        read_at(world, node, event);
    else if (replica_can_append(node->replica))
        change_at(world, node, request);
}

/* --- a client --- */

static void next_in(World *world, unsigned client, uint64_t delay_ns)
{
    WorldEvent event = {.type = WORLD_CLIENT, .node = client};
    world_push(world, event, delay_ns);
}

static Request *new_request(World *world, unsigned client)
{
    unsigned slot = (unsigned)rng_below(&world->rng, KEYS);
    if (++world->key_ops[slot] > KEY_OPS) {
        world->key_of[slot] = world->key_count++;
        world->key_ops[slot] = 0;
    }
    static const HistoryKind kinds[] = {HISTORY_READ,   HISTORY_READ, HISTORY_READ,  HISTORY_WRITE,
                                        HISTORY_CREATE, HISTORY_SWAP, HISTORY_DELETE};
    Request *request = mem_new(sizeof *request);
    *request = (Request){.key = world->key_of[slot],
                         .kind = kinds[rng_below(&world->rng, ARRAY_LEN(kinds))],
                         .client = client,
                         .number = ++world->client_number[client]};
    if (client < READERS || (world->plot.act == 1 && world->plot.quiet))
        request->kind = HISTORY_READ;
    if (request->kind != HISTORY_READ && request->kind != HISTORY_DELETE) {
        request->value = ++world->next_value;
    }
    world->requests = world_grow(world->requests, world->request_count, &world->request_room,
                                 sizeof *world->requests);
    world->requests[world->request_count++] = request;
    return request;
}

/* Where a primary is, or was: a stale one is asked, too. */
static int pick_node(World *world)
{
    unsigned found[NODES_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *node = &world->nodes[i];
        if (node->up && replica_role(node->replica) == ROLE_PRIMARY) found[count++] = i;
    }
    return count == 0 ? -1 : (int)found[rng_below(&world->rng, count)];
}

static void ask(World *world, unsigned client)
{
    int at = pick_node(world);
    if (at < 0) {
        next_in(world, client, 50 * MS);
        return;
    }
    Request *request = new_request(world, client);
    Node *node = &world->nodes[at];
    if (request->kind == HISTORY_SWAP) { /* usually what is there */
        request->expected = clients_row(node, request->key)->value;
        if (request->expected == 0) request->kind = HISTORY_WRITE;
    }
    request->op = request->kind == HISTORY_READ
                      ? history_now(world->history)
                      : history_begin(world->history, request->key, request->kind, request->value,
                                      request->expected);
    world->client_waits[client] = true;
    WorldEvent event = {.type = WORLD_REQUEST, .node = (unsigned)at};
    event.client.request = request;
    world_push(world, event, 1 + rng_below(&world->rng, 5 * MS));
    event.type = WORLD_TIMEOUT;
    world_push(world, event, world->healing ? 1500 * MS : world->rates.patience_ns);
}

static void answered(World *world, const WorldEvent *event)
{
    const Request *request = event->client.request;
    if (!world->client_waits[request->client] ||
        world->client_number[request->client] != request->number) {
        return; /* it has given up */
    }
    world->client_waits[request->client] = false;
    world_say(world, "client %u: %s key %u value %" PRIu64 " expected %" PRIu64 ": %s",
              request->client, kind_name(request->kind), request->key,
              request->kind == HISTORY_READ ? event->client.value : request->value,
              request->expected, event->client.refused ? "refused" : "done");
    if (request->kind == HISTORY_READ) {
        history_read(world->history, request->key, event->client.value, request->op);
        world->reads++;
    } else if (event->client.refused) {
        history_refused(world->history, request->op);
    } else {
        history_done(world->history, request->op);
        world->acknowledged++;
    }
    next_in(world, request->client, 1 + rng_below(&world->rng, 40 * MS));
}

static void timed_out(World *world, const Request *request)
{
    if (!world->client_waits[request->client] ||
        world->client_number[request->client] != request->number) {
        return;
    }
    world->client_waits[request->client] = false;
    world_say(world, "client %u: %s key %u value %" PRIu64 " expected %" PRIu64 ": no answer",
              request->client, kind_name(request->kind), request->key, request->value,
              request->expected);
    next_in(world, request->client, 1 + rng_below(&world->rng, 40 * MS));
}

void clients_begin(World *world)
{
    for (unsigned i = 0; i < KEYS; i++)
        world->key_of[i] = world->key_count++;
    for (unsigned i = 0; i < CLIENTS; i++)
        next_in(world, i, 100 * MS + rng_below(&world->rng, 500 * MS));
}

void clients_event(World *world, const WorldEvent *event)
{
    switch ((int)event->type) {
    case WORLD_CLIENT: ask(world, event->node); break;
    case WORLD_REQUEST: request_at(world, event); break;
    case WORLD_READ: {
        Node *node = &world->nodes[event->node];
        if (node->up && node->life == event->life) read_done(world, node, event);
        break;
    }
    case WORLD_REPLY: answered(world, event); break;
    case WORLD_TIMEOUT: timed_out(world, event->client.request); break;
    default: ASSERT(false); break;
    }
}
