#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ARENA_ALIGN 16
#define ARENA_BLOCK_MIN 4096        /* bytes of the first block, if the limit allows */
#define ARENA_BLOCK_MAX (64 * 1024) /* blocks double up to this; larger ones serve one request */

struct ArenaBlock {
    ArenaBlock *next;
    size_t size; /* bytes in all, this header included */
    size_t used; /* bytes in use, this header included; multiple of ARENA_ALIGN */
    size_t unused;
};
_Static_assert(sizeof(ArenaBlock) % ARENA_ALIGN == 0, "what follows the header is aligned");
_Static_assert(alignof(max_align_t) >= ARENA_ALIGN, "malloc aligns enough");

static void arena_check(const Arena *arena)
{
    ASSERT(arena->used <= arena->limit);
    ASSERT((arena->blocks == NULL) == (arena->used == 0));
}

void arena_init(Arena *arena, size_t limit)
{
    ASSERT(limit >= 1);
    *arena = (Arena){.limit = limit};
}

/* Frees all blocks but keep (may be NULL). */
static void free_all_but(Arena *arena, ArenaBlock *keep)
{
    ArenaBlock *block = arena->blocks;
    while (block != NULL) {
        ArenaBlock *next = block->next;
        if (block != keep) mem_free(block);
        block = next;
    }
    arena->blocks = keep;
    arena->used = 0;
    if (keep == NULL) return;
    keep->next = NULL;
    keep->used = sizeof *keep;
    arena->used = keep->size;
}

void arena_deinit(Arena *arena)
{
    arena_check(arena);
    free_all_but(arena, NULL);
}

void arena_reset(Arena *arena)
{
    arena_check(arena);
    ArenaBlock *keep = arena->blocks;
    while (keep != NULL && keep->size > ARENA_BLOCK_MAX)
        keep = keep->next;
    free_all_but(arena, keep);
}

/* Puts a block with room for len bytes in front; false when the limit or the system says no. */
static bool add_block(Arena *arena, size_t len)
{
    size_t left = arena->limit - arena->used;
    if (left < sizeof(ArenaBlock) || len > left - sizeof(ArenaBlock)) return false;
    size_t size = arena->blocks == NULL ? ARENA_BLOCK_MIN : 2 * arena->blocks->size;
    size = MIN(MIN(size, (size_t)ARENA_BLOCK_MAX), left);
    size = MAX(size, sizeof(ArenaBlock) + len);
    void *memory;
    if (mem_take(size, &memory, NULL) != OK) return false;
    ArenaBlock *block = memory;
    *block = (ArenaBlock){.next = arena->blocks, .size = size, .used = sizeof *block};
    arena->blocks = block;
    arena->used += size;
    return true;
}

void *arena_alloc(Arena *arena, size_t len)
{
    arena_check(arena);
    if (len > arena->limit) return NULL;
    size_t rounded = ALIGN_UP(MAX(len, (size_t)1), (size_t)ARENA_ALIGN);
    ArenaBlock *block = arena->blocks;
    if (block == NULL || rounded > block->size - block->used) {
        if (!add_block(arena, rounded)) return NULL;
        block = arena->blocks;
    }
    void *memory = (uint8_t *)block + block->used;
    block->used += rounded;
    return memset(memory, 0, rounded);
}

Str arena_dup(Arena *arena, Str s)
{
    if (s.len >= arena->limit) return (Str){NULL, 0};
    char *copy = arena_alloc(arena, s.len + 1);
    if (copy == NULL) return (Str){NULL, 0};
    if (s.len > 0) memcpy(copy, s.ptr, s.len);
    return (Str){copy, s.len};
}

Str arena_printf(Arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    if (text == NULL) return (Str){NULL, 0};
    va_start(args, format);
    int printed = vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    ASSERT(printed == len);
    return (Str){text, (size_t)len};
}
