#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NEVER UINT64_MAX /* it has not ended */
#define STATES_MAX 50000 /* of one key's search */
#define WINDOW 64        /* operations of one key that may be under way at once in the search */

typedef enum { STATE_OPEN, STATE_DONE, STATE_REFUSED, STATE_UNKNOWN, STATE_VOID } OpState;

typedef struct {
    unsigned key;
    HistoryKind kind;
    OpState state;
    uint64_t value;
    uint64_t expected;
    uint64_t begin;
    uint64_t end;
    uint64_t *values; /* FALL_BACK */
    unsigned value_count;
} Op;

struct History {
    Op *ops;
    size_t count;
    size_t capacity;
    uint64_t now; /* rises with each event */
};

History *history_new(void)
{
    return mem_new(sizeof(History));
}

void history_free(History *history)
{
    if (history == NULL) return;
    for (size_t i = 0; i < history->count; i++)
        mem_free(history->ops[i].values);
    mem_free(history->ops);
    mem_free(history);
}

uint64_t history_begin(History *history, unsigned key, HistoryKind kind, uint64_t value,
                       uint64_t expected)
{
    if (history->count == history->capacity) {
        history->capacity = MAX((size_t)256, history->capacity * 2);
        history->ops = mem_resize(history->ops, history->capacity * sizeof *history->ops);
    }
    history->ops[history->count] = (Op){.key = key,
                                        .kind = kind,
                                        .value = value,
                                        .expected = expected,
                                        .begin = ++history->now,
                                        .end = NEVER};
    return history->count++;
}

static void end(History *history, uint64_t op, OpState state)
{
    if (op == HISTORY_NONE) return;
    ASSERT(op < history->count && history->ops[op].state == STATE_OPEN);
    history->ops[op].state = state;
    history->ops[op].end = ++history->now;
}

void history_done(History *history, uint64_t op)
{
    end(history, op, STATE_DONE);
}

void history_refused(History *history, uint64_t op)
{
    end(history, op, STATE_REFUSED);
}

void history_void(History *history, uint64_t op)
{
    end(history, op, STATE_VOID);
}

uint64_t history_now(const History *history)
{
    return history->now;
}

void history_read(History *history, unsigned key, uint64_t value, uint64_t moment)
{
    uint64_t op = history_begin(history, key, HISTORY_READ, value, 0);
    history->ops[op].begin = moment;
    history_done(history, op);
}

uint64_t history_fall_back(History *history, unsigned key)
{
    return history_begin(history, key, HISTORY_FALL_BACK, 0, 0);
}

void history_fell_back(History *history, uint64_t op, const uint64_t *values, unsigned count)
{
    ASSERT(count <= HISTORY_VALUES && history->ops[op].kind == HISTORY_FALL_BACK);
    history->ops[op].values = mem_new_array(MAX(count, 1U), sizeof *values);
    memcpy(history->ops[op].values, values, count * sizeof *values);
    history->ops[op].value_count = count;
    history_done(history, op);
}

void history_settled(History *history)
{
    for (size_t i = 0; i < history->count; i++) {
        if (history->ops[i].state == STATE_OPEN) end(history, i, STATE_UNKNOWN);
    }
}

/* --- the search --- */

/* Operations in order of their beginning; the first `base` are placed (or will never be), of the
 * next WINDOW those whose bit is set. */
typedef struct {
    size_t base;
    uint64_t placed;
    uint64_t value;
} Node;

typedef struct {
    const Op **ops;
    size_t count;
    Node *stack;
    size_t stack_len;
    size_t stack_capacity;
    bool gave_up; /* too much was under way at once: nothing is said of this key */
    Node *seen;   /* a hash set; base SIZE_MAX: empty */
    size_t seen_count;
    size_t seen_capacity;
} Search;

/* May op take place when value is there? Then *after is there. */
static bool applies(const Op *op, uint64_t value, uint64_t *after)
{
    bool holds = true;
    *after = op->value;
    switch (op->kind) {
    case HISTORY_READ: *after = value; return op->value == value;
    case HISTORY_WRITE: break;
    case HISTORY_CREATE: holds = value == 0; break;
    case HISTORY_SWAP: holds = value != 0 && value == op->expected; break;
    case HISTORY_DELETE:
        *after = 0;
        holds = value != 0;
        break;
    case HISTORY_CHANGE: holds = value != 0; break;
    case HISTORY_FALL_BACK: *after = value; return true;
    }
    if (op->state != STATE_REFUSED) return holds;
    *after = value;
    return !holds;
}

static size_t node_hash(const Node *node)
{
    uint64_t h = node->base * 0x9e3779b97f4a7c15ULL ^ node->placed * 0xff51afd7ed558ccdULL ^
                 node->value * 0xc4ceb9fe1a85ec53ULL;
    return (size_t)(h ^ h >> 29);
}

/* Adds node to the set; false if it was there. */
static bool set_add(Search *s, const Node *node);

static void set_grow(Search *s)
{
    Node *old = s->seen;
    size_t old_capacity = s->seen_capacity;
    s->seen_capacity = MAX((size_t)256, 2 * old_capacity);
    s->seen = mem_new_array(s->seen_capacity, sizeof *s->seen);
    s->seen_count = 0;
    for (size_t i = 0; i < s->seen_capacity; i++)
        s->seen[i].base = SIZE_MAX;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].base == SIZE_MAX) continue;
        bool added = set_add(s, &old[i]);
        ASSERT(added); /* none stands there twice */
    }
    mem_free(old);
}

static bool set_add(Search *s, const Node *node)
{
    if (2 * s->seen_count >= s->seen_capacity) set_grow(s);
    size_t at = node_hash(node) % s->seen_capacity;
    for (; s->seen[at].base != SIZE_MAX; at = (at + 1) % s->seen_capacity) {
        const Node *there = &s->seen[at];
        if (there->base == node->base && there->placed == node->placed &&
            there->value == node->value)
            return false;
    }
    s->seen[at] = *node;
    s->seen_count++;
    return true;
}

static void push(Search *s, Node node)
{
    while ((node.placed & 1) != 0) { /* what is placed at the head needs no bit */
        node.placed >>= 1;
        node.base++;
    }
    if (!set_add(s, &node)) return;
    if (s->stack_len == s->stack_capacity) {
        s->stack_capacity = MAX((size_t)64, 2 * s->stack_capacity);
        s->stack = mem_resize(s->stack, s->stack_capacity * sizeof *s->stack);
    }
    s->stack[s->stack_len++] = node;
}

/* Every operation that may come next: none that is left ended before it began. */
static void expand(Search *s, Node node)
{
    uint64_t horizon = NEVER; /* the first end of what is left and must be placed */
    size_t last = MIN(s->count, node.base + WINDOW);
    for (size_t i = node.base; i < last; i++) {
        if ((node.placed >> (i - node.base) & 1) == 0) horizon = MIN(horizon, s->ops[i]->end);
    }
    if (last < s->count && s->ops[last]->begin < horizon) s->gave_up = true;
    for (size_t i = node.base; i < last && s->ops[i]->begin < horizon; i++) {
        uint64_t bit = UINT64_C(1) << (i - node.base);
        Node next = {node.base, node.placed | bit, node.value};
        if ((node.placed & bit) != 0) continue;
        if (s->ops[i]->state == STATE_UNKNOWN) push(s, next); /* it never took place */
        if (applies(s->ops[i], node.value, &next.value)) push(s, next);
        for (unsigned v = 0; v < s->ops[i]->value_count; v++) {
            next.value = s->ops[i]->values[v];
            push(s, next);
        }
    }
}

static bool search(Search *s)
{
    push(s, (Node){0, 0, 0});
    while (s->stack_len > 0) {
        Node node = s->stack[--s->stack_len];
        if (node.base == s->count) return true;
        if (s->seen_count > STATES_MAX) s->gave_up = true;
        if (s->gave_up) return true;
        expand(s, node);
    }
    return s->gave_up;
}

static int begin_order(const void *a, const void *b)
{
    const Op *left = *(const Op *const *)a;
    const Op *right = *(const Op *const *)b;
    return left->begin < right->begin ? -1 : left->begin > right->begin;
}

bool history_check(History *history, unsigned *key, HistoryStats *stats)
{
    bool good = true;
    unsigned keys = 0;
    Search s = {.ops = mem_new_array(history->count + 1, sizeof(Op *))};
    history_settled(history);
    for (size_t i = 0; i < history->count; i++)
        keys = MAX(keys, history->ops[i].key + 1);
    for (unsigned k = 0; k < keys && good; k++) {
        s.count = 0;
        s.seen_count = 0;
        s.stack_len = 0;
        s.gave_up = false;
        for (size_t i = 0; i < s.seen_capacity; i++)
            s.seen[i].base = SIZE_MAX;
        for (size_t i = 0; i < history->count; i++) {
            const Op *op = &history->ops[i];
            if (op->key != k || op->state == STATE_VOID) continue;
            s.ops[s.count++] = op;
            stats->unknown += op->state == STATE_UNKNOWN;
        }
        qsort(s.ops, s.count, sizeof(Op *), begin_order);
        stats->ops += s.count;
        good = search(&s);
        stats->states += s.seen_count;
        stats->gave_up += s.gave_up;
        *key = k;
    }
    mem_free(s.ops);
    mem_free(s.stack);
    mem_free(s.seen);
    return good;
}
