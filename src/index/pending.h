/* Pending: the changes of a batch that the engine has not been given yet. They are given in the
 * order of their keys, so that neighbours meet the same page while it is in the cache; of changes
 * of one key only the last one is. One thread's. */
#ifndef HOLDFAST_INDEX_PENDING_H
#define HOLDFAST_INDEX_PENDING_H

#include "base/buf.h"

#define PENDING_BYTES_MAX (8 * MIB) /* of keys and values */

typedef struct {
    size_t key_at; /* in Pending.bytes; the value follows the key */
    uint32_t key_len;
    uint32_t value_len;
    uint32_t number; /* in order of arrival */
    bool is_delete;
    Str key; /* set by pending_sort() */
} PendingChange;

typedef struct {
    Buf bytes;
    PendingChange *changes;
    size_t count;
    size_t capacity;
} Pending;

void pending_init(Pending *pending);
void pending_deinit(Pending *pending);
/* Has it room for a change of so many bytes? An empty one always has, up to its maximum. */
bool pending_has_room(const Pending *pending, size_t key_len, size_t value_len);
/* Copies the change; there is room. ERR_NO_MEMORY. */
MUST_USE ErrCode pending_add(Pending *pending, Str key, Str value, bool is_delete, Err *err);
/* Brings the changes into the order of their keys, one of each. Until the next pending_add(). */
void pending_sort(Pending *pending);
Str pending_value(const Pending *pending, const PendingChange *change);
/* Forgets all; gives memory back that only a large batch needs. */
void pending_clear(Pending *pending);

#endif
