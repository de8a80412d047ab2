#include "base/omap.h"

#include <string.h>

#include "base/rng.h"

#define OMAP_LEVELS 20 /* a quarter of the nodes rise each level: fine for 4^20 */

struct OMapNode {
    void *value;
    uint32_t key_len;
    uint32_t levels;
    OMapNode *next[]; /* levels pointers, then the key */
};

struct OMap {
    OMapNode *head; /* OMAP_LEVELS high, no key */
    size_t count;
    unsigned levels; /* highest in use */
    Rng rng;
};

static char *node_key(const OMapNode *node)
{
    return (char *)(uintptr_t)&node->next[node->levels];
}

static OMapNode *node_new(unsigned levels, Str key, void *value)
{
    ASSERT(key.len <= UINT32_MAX);
    OMapNode *node = mem_new(sizeof *node + levels * sizeof(void *) + key.len);
    node->value = value;
    node->key_len = (uint32_t)key.len;
    node->levels = levels;
    if (key.len > 0) memcpy(node_key(node), key.ptr, key.len);
    return node;
}

OMap *omap_new(uint64_t seed)
{
    OMap *map = mem_new(sizeof *map);
    map->head = node_new(OMAP_LEVELS, (Str){NULL, 0}, NULL);
    map->levels = 1;
    rng_init(&map->rng, seed);
    return map;
}

void omap_free(OMap *map)
{
    if (map == NULL) return;
    for (OMapNode *node = map->head; node != NULL;) {
        OMapNode *next = node->next[0];
        mem_free(node);
        node = next;
    }
    mem_free(map);
}

/* The first node at or behind key; before[] (may be NULL) gets the last one below it, by level. */
static OMapNode *find(const OMap *map, Str key, OMapNode *before[OMAP_LEVELS])
{
    OMapNode *at = map->head;
    for (unsigned level = map->levels; level-- > 0;) {
        while (at->next[level] != NULL && str_cmp(omap_key(at->next[level]), key) < 0) {
            at = at->next[level];
        }
        if (before != NULL) before[level] = at;
    }
    return at->next[0];
}

void *omap_get(const OMap *map, Str key)
{
    const OMapNode *node = find(map, key, NULL);
    return node != NULL && str_eq(omap_key(node), key) ? node->value : NULL;
}

void *omap_put(OMap *map, Str key, void *value)
{
    ASSERT(value != NULL);
    OMapNode *before[OMAP_LEVELS] = {NULL};
    OMapNode *node = find(map, key, before);
    if (node != NULL && str_eq(omap_key(node), key)) {
        void *old = node->value;
        node->value = value;
        return old;
    }
    unsigned levels = 1;
    while (levels < OMAP_LEVELS && rng_below(&map->rng, 4) == 0)
        levels++;
    for (; map->levels < levels; map->levels++)
        before[map->levels] = map->head;
    node = node_new(levels, key, value);
    for (unsigned level = 0; level < levels; level++) {
        node->next[level] = before[level]->next[level];
        before[level]->next[level] = node;
    }
    map->count++;
    return NULL;
}

void *omap_remove(OMap *map, Str key)
{
    OMapNode *before[OMAP_LEVELS] = {NULL};
    OMapNode *node = find(map, key, before);
    if (node == NULL || !str_eq(omap_key(node), key)) return NULL;
    for (unsigned level = 0; level < node->levels; level++) {
        ASSERT(before[level]->next[level] == node);
        before[level]->next[level] = node->next[level];
    }
    void *value = node->value;
    mem_free(node);
    ASSERT(map->count > 0);
    map->count--;
    return value;
}

size_t omap_count(const OMap *map)
{
    return map->count;
}

const OMapNode *omap_first(const OMap *map, Str from)
{
    return find(map, from, NULL);
}

const OMapNode *omap_next(const OMapNode *node)
{
    return node->next[0];
}

Str omap_key(const OMapNode *node)
{
    return (Str){node_key(node), node->key_len};
}

void *omap_value(const OMapNode *node)
{
    return node->value;
}
