/* Heap memory. Small fixed structures come from mem_new(), which never returns NULL: it aborts
 * when the system has no memory at all. Whatever grows with input comes from pools, arenas and
 * Bufs with a maximum, whose failure is an error that callers handle (ERR_NO_MEMORY, ERR_BUSY). */
#ifndef HOLDFAST_BASE_MEM_H
#define HOLDFAST_BASE_MEM_H

#include "base/err.h"

/* size bytes (1..PTRDIFF_MAX), zeroed; freed by mem_free(). Aborts without memory. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
/* The same for count elements of size bytes; aborts if the product overflows. */
void *mem_new_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Resizes what mem_new() gave (or NULL); new bytes are not zeroed. Aborts without memory. */
void *mem_resize(void *ptr, size_t size) __attribute__((returns_nonnull));
/* A terminated copy of text, freed by mem_free(). */
char *mem_dup_cstr(const char *text) __attribute__((malloc, returns_nonnull));
/* ptr may be NULL. */
void mem_free(void *ptr);

/* Memory whose size depends on input: *out is size bytes (not zeroed) or ERR_NO_MEMORY. Counted
 * by the "mem.take" fault point, so that tests can fail the Nth call. Freed by mem_free(). */
MUST_USE ErrCode mem_take(size_t size, void **out, Err *err);
/* Resizes *ptr (from this module, or NULL) to size bytes; new bytes are not zeroed. ERR_NO_MEMORY
 * leaves *ptr as it was. Counted by "mem.take" too. */
MUST_USE ErrCode mem_retake(void **ptr, size_t size, Err *err);

/* AUTO(Wal, wal_free) wal = …; frees wal on every return. Needs AUTO_DEFINE(Wal, wal_free) once,
 * after the declaration of wal_free(Wal *), which must take NULL. */
#define AUTO_DEFINE(type, release)                                                                 \
    __attribute__((unused)) static inline void release##_auto(type **ptr)                          \
    {                                                                                              \
        release(*ptr);                                                                             \
    }                                                                                              \
    struct auto_define_semicolon_
#define AUTO(type, release) __attribute__((cleanup(release##_auto))) type *
/* The pointer, which the AUTO variable then no longer owns. */
#define TAKE(ptr)                                                                                  \
    ({                                                                                             \
        __typeof__(ptr) taken_ = (ptr);                                                            \
        (ptr) = NULL;                                                                              \
        taken_;                                                                                    \
    })

/* AUTO(char, mem_free) and AUTO(void, mem_free) work for any pointer from this module. */
static inline void mem_free_auto(void *ptr_to_ptr)
{
    mem_free(*(void **)ptr_to_ptr);
}

#endif
