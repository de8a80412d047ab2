#include "index/pending.h"

#include <stdlib.h>

#define BYTES_KEPT (256 * KIB)
#define CHANGES_KEPT 2048
#define CHANGES_MAX (PENDING_BYTES_MAX / 64)

void pending_init(Pending *pending)
{
    *pending = (Pending){0};
    buf_init(&pending->bytes, PENDING_BYTES_MAX);
}

void pending_deinit(Pending *pending)
{
    buf_deinit(&pending->bytes);
    mem_free(pending->changes);
}

bool pending_has_room(const Pending *pending, size_t key_len, size_t value_len)
{
    return pending->count < CHANGES_MAX &&
           pending->bytes.len + key_len + value_len <= PENDING_BYTES_MAX;
}

ErrCode pending_add(Pending *pending, Str key, Str value, bool is_delete, Err *err)
{
    ASSERT(pending_has_room(pending, key.len, value.len));
    ASSERT(!is_delete || value.len == 0);
    TRY(buf_reserve(&pending->bytes, key.len + value.len, err));
    if (pending->count == pending->capacity) {
        pending->capacity = MAX((size_t)CHANGES_KEPT, 2 * pending->capacity);
        pending->changes = mem_resize(pending->changes,
                                      pending->capacity * sizeof *pending->changes);
    }
    pending->changes[pending->count] = (PendingChange){.key_at = pending->bytes.len,
                                                       .key_len = (uint32_t)key.len,
                                                       .value_len = (uint32_t)value.len,
                                                       .number = (uint32_t)pending->count,
                                                       .is_delete = is_delete};
    pending->count++;
    TRY(buf_append_str(&pending->bytes, key, err));
    return buf_append_str(&pending->bytes, value, err);
}

static int change_order(const void *a, const void *b)
{
    const PendingChange *left = a;
    const PendingChange *right = b;
    int order = str_cmp(left->key, right->key);
    if (order != 0) return order;
    return left->number < right->number ? -1 : left->number > right->number;
}

void pending_sort(Pending *pending)
{
    if (pending->count == 0) return;
    for (size_t i = 0; i < pending->count; i++) {
        PendingChange *change = &pending->changes[i];
        change->key = str_of(pending->bytes.data + change->key_at, change->key_len);
    }
    qsort(pending->changes, pending->count, sizeof *pending->changes, change_order);
    size_t kept = 0;
    for (size_t i = 0; i < pending->count; i++) {
        bool last = i + 1 == pending->count ||
                    !str_eq(pending->changes[i].key, pending->changes[i + 1].key);
        if (last) pending->changes[kept++] = pending->changes[i];
    }
    pending->count = kept;
}

Str pending_value(const Pending *pending, const PendingChange *change)
{
    return str_of(pending->bytes.data + change->key_at + change->key_len, change->value_len);
}

void pending_clear(Pending *pending)
{
    pending->count = 0;
    buf_clear(&pending->bytes);
    if (pending->bytes.capacity > BYTES_KEPT) {
        buf_deinit(&pending->bytes);
        buf_init(&pending->bytes, PENDING_BYTES_MAX);
    }
    if (pending->capacity > CHANGES_KEPT) {
        mem_free(pending->changes);
        pending->changes = NULL;
        pending->capacity = 0;
    }
}
