/* OMap: an ordered map from bytes to pointers in memory, a skip list (Pugh, 1990). Not locked: its
 * owner guards it. Keys are copied; values are the caller's. */
#ifndef HOLDFAST_BASE_OMAP_H
#define HOLDFAST_BASE_OMAP_H

#include "base/mem.h"
#include "base/str.h"

typedef struct OMap OMap;
typedef struct OMapNode OMapNode;

/* seed: of the levels' coin tosses; the same seed gives the same shape. */
OMap *omap_new(uint64_t seed);
void omap_free(OMap *map); /* not the values; NULL is fine */
/* The value of key, or NULL. */
void *omap_get(const OMap *map, Str key);
/* Sets key to value (not NULL); gives back what was there, or NULL. */
void *omap_put(OMap *map, Str key, void *value);
/* Removes key; gives back its value, or NULL. */
void *omap_remove(OMap *map, Str key);
size_t omap_count(const OMap *map);
/* The first node with key ≥ from, or NULL. Valid until that key is removed. */
const OMapNode *omap_first(const OMap *map, Str from);
const OMapNode *omap_next(const OMapNode *node);
Str omap_key(const OMapNode *node);
void *omap_value(const OMapNode *node);

AUTO_DEFINE(OMap, omap_free);

#endif
