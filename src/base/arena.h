/* Arena: memory for one request, given back at once, with a hard limit. One owner thread. */
#ifndef HOLDFAST_BASE_ARENA_H
#define HOLDFAST_BASE_ARENA_H

#include "base/mem.h"
#include "base/str.h"

typedef struct ArenaBlock ArenaBlock;
typedef struct {
    ArenaBlock *blocks; /* newest first */
    size_t used;        /* bytes taken from the system */
    size_t limit;       /* bytes it may take */
} Arena;

/* limit: bytes in all, ≥ 1. Nothing is allocated yet. */
void arena_init(Arena *arena, size_t limit);
void arena_deinit(Arena *arena);
/* Gives everything back but one block of at most 64 KiB, for the next request. */
void arena_reset(Arena *arena);
/* len bytes aligned to 16, zeroed; NULL when the limit or the system says no. */
MUST_USE void *arena_alloc(Arena *arena, size_t len);
/* A copy of s in the arena, followed by a NUL; ptr is NULL without memory. */
Str arena_dup(Arena *arena, Str s);
/* printf into the arena; ptr is NULL without memory. */
Str arena_printf(Arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
