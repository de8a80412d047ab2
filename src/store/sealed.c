#include "store/sealed.h"

#include <stdatomic.h>

static ErrCode encode_head(const Entry *entry, Sealed *sealed, Err *err)
{
    size_t head_len = entry_len(entry) - entry->inline_body.len;
    TRY(buf_reserve(&sealed->head, head_len, err));
    Enc enc = enc_of(sealed->head.data, head_len);
    /* The header says how long the inline body is, so encode with it and keep only the head. */
    entry_encode_head(entry, &enc);
    ASSERT(!enc.failed && enc.len == head_len);
    sealed->head.len = head_len;
    return OK;
}

static ErrCode read_config(Sealed *sealed, Err *err)
{
    Str value;
    if (sealed->entry.op != OP_CONFIG) return OK;
    if (!attr_get(sealed->entry.attrs, ATTR_CONFIG, &value))
        return err_set(err, ERR_CORRUPT, "a CONFIG entry without a configuration");
    sealed->config = mem_new(sizeof *sealed->config);
    return shard_config_decode(value, sealed->config, err);
}

static void free_all(Sealed *sealed)
{
    buf_deinit(&sealed->head);
    buf_deinit(&sealed->body);
    mem_free(sealed->config);
    mem_free(sealed);
}

static ErrCode fill(Sealed *sealed, const Entry *entry, Err *err)
{
    TRY(encode_head(entry, sealed, err));
    TRY(buf_append_str(&sealed->body, entry->inline_body, err));
    const uint8_t *attrs = sealed->head.data + ENTRY_HEADER_LEN;
    sealed->entry = *entry;
    sealed->entry.attrs = str_of(attrs, entry->attrs.len);
    sealed->entry.extents = str_of(attrs + entry->attrs.len, entry->extents.len);
    sealed->entry.inline_body = buf_str(&sealed->body);
    return read_config(sealed, err);
}

ErrCode sealed_new(const Entry *entry, Sealed **out, Err *err)
{
    ASSERT(entry->inline_body.len <= INLINE_MAX);
    Sealed *sealed = mem_new(sizeof *sealed);
    buf_init(&sealed->head, ENTRY_MAX);
    buf_init(&sealed->body, INLINE_MAX);
    atomic_init(&sealed->refs, 1);
    atomic_init(&sealed->body_refs, 1);
    ErrCode code = fill(sealed, entry, err);
    if (code != OK) {
        free_all(sealed);
        return code;
    }
    *out = sealed;
    return OK;
}

Sealed *sealed_ref(Sealed *sealed)
{
    unsigned bodies = atomic_fetch_add(&sealed->body_refs, 1);
    ASSERT(bodies > 0); /* gone, it does not come back */
    atomic_fetch_add(&sealed->refs, 1);
    return sealed;
}

void sealed_drop_body(Sealed *sealed)
{
    unsigned before = atomic_fetch_sub(&sealed->body_refs, 1);
    ASSERT(before > 0);
    if (before == 1) buf_deinit(&sealed->body);
}

void sealed_unref(Sealed *sealed)
{
    if (sealed == NULL) return;
    unsigned before = atomic_fetch_sub(&sealed->refs, 1);
    ASSERT(before > 0);
    if (before == 1) free_all(sealed);
}
