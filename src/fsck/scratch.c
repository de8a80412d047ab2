#include "fsck/scratch.h"

#define BATCH 20000 /* changes between commits: keeps the index's own log short */

struct Scratch {
    Index *index;
    unsigned changes;
    Buf key; /* of scratch_each() */
    Buf value;
};

ErrCode scratch_open(Disk *disk, Scratch **out, Err *err)
{
    bool created = false;
    AUTO(Scratch, scratch_free) scratch = mem_new(sizeof *scratch);
    buf_init(&scratch->key, INDEX_KEY_MAX);
    buf_init(&scratch->value, INDEX_VALUE_MAX);
    TRY(index_open(disk, NULL, &scratch->index, &created, err));
    TRY(index_begin(scratch->index, err));
    *out = TAKE(scratch);
    return OK;
}

void scratch_free(Scratch *scratch)
{
    if (scratch == NULL) return;
    index_free(scratch->index);
    buf_deinit(&scratch->key);
    buf_deinit(&scratch->value);
    mem_free(scratch);
}

static ErrCode changed(Scratch *scratch, Err *err)
{
    if (++scratch->changes < BATCH) return OK;
    scratch->changes = 0;
    TRY(index_commit(scratch->index, err));
    TRY(index_checkpoint(scratch->index, err));
    return index_begin(scratch->index, err);
}

ErrCode scratch_put(Scratch *scratch, Str key, Str value, Err *err)
{
    TRY(index_put(scratch->index, key, value, err));
    return changed(scratch, err);
}

ErrCode scratch_delete(Scratch *scratch, Str key, Err *err)
{
    TRY(index_delete(scratch->index, key, err));
    return changed(scratch, err);
}

ErrCode scratch_get(Scratch *scratch, Str key, Str *value, bool *found, Err *err)
{
    return index_batch_get(scratch->index, key, value, found, err);
}

ErrCode scratch_first(Scratch *scratch, Str from, Str prefix, Str *key, Str *value, bool *found,
                      Err *err)
{
    return index_batch_first(scratch->index, from, prefix, key, value, found, err);
}

ErrCode scratch_each(Scratch *scratch, Str prefix,
                     ErrCode (*fn)(void *ctx, Str key, Str value, Err *err), void *ctx, Err *err)
{
    AUTO_BUF(from, INDEX_KEY_MAX + 1);
    AUTO_BUF(held_key, INDEX_KEY_MAX);
    AUTO_BUF(held, INDEX_VALUE_MAX);
    TRY(buf_append_str(&from, prefix, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(scratch_first(scratch, buf_str(&from), prefix, &key, &value, &found, err));
        if (!found) return OK;
        buf_clear(&held_key);
        buf_clear(&held);
        buf_clear(&from);
        TRY(buf_append_str(&held_key, key, err));
        TRY(buf_append_str(&held, value, err));
        TRY(buf_append_str(&from, key, err));
        TRY(buf_append_zeros(&from, 1, err)); /* the next key */
        TRY(fn(ctx, buf_str(&held_key), buf_str(&held), err));
    }
}
