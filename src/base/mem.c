#include "base/mem.h"

#include "base/fault.h"

#include <stdlib.h>
#include <string.h>

void *mem_new(size_t size)
{
    ASSERT(size >= 1 && size <= PTRDIFF_MAX);
    void *ptr = calloc(1, size);
    ASSERT(ptr != NULL && "out of memory");
    return ptr;
}

void *mem_new_array(size_t count, size_t size)
{
    size_t total;
    ASSERT(!__builtin_mul_overflow(count, size, &total));
    return mem_new(total);
}

void *mem_resize(void *ptr, size_t size)
{
    ASSERT(size >= 1 && size <= PTRDIFF_MAX);
    void *resized = realloc(ptr, size);
    ASSERT(resized != NULL && "out of memory");
    return resized;
}

char *mem_dup_cstr(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_new(size);
    memcpy(copy, text, size);
    return copy;
}

void mem_free(void *ptr)
{
    free(ptr);
}

ErrCode mem_retake(void **ptr, size_t size, Err *err)
{
    ASSERT(size >= 1);
    int fault = fault_point("mem.take");
    void *taken = fault == 0 && size <= PTRDIFF_MAX ? realloc(*ptr, size) : NULL;
    if (taken == NULL) return err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes", size);
    *ptr = taken;
    return OK;
}

ErrCode mem_take(size_t size, void **out, Err *err)
{
    void *taken = NULL;
    TRY(mem_retake(&taken, size, err));
    *out = taken;
    return OK;
}
