/* Assertions and small compiler helpers. ASSERT is on in every build and is for bugs only: never
 * for outside input, disk contents or what a peer sent. It prints place and condition to stderr
 * and aborts, because a store that goes on after a broken invariant may lose what it keeps. */
#ifndef HOLDFAST_BASE_CHECK_H
#define HOLDFAST_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED(x) ((void)(x))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
/* Rounds x up to a multiple of the power of two align. */
#define ALIGN_UP(x, align) (((x) + ((align)-1)) & ~((__typeof__(x))(align)-1))

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

NORETURN void check_failed(const char *file, int line, const char *condition);

#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) check_failed(__FILE__, __LINE__, #condition);       \
    } while (0)

#endif
