#include "cli/merge.h"

#include "cli/key_path.h"

void merge_init(Merge *merge, Walk *walk, Listing *listing, Str prefix, bool with_gone)
{
    *merge = (Merge){.walk = walk,
                     .listing = listing,
                     .prefix = prefix,
                     .with_gone = with_gone,
                     .remote_end = listing == NULL};
    buf_init(&merge->last, 4 * KEY_MAX);
}

void merge_deinit(Merge *merge)
{
    buf_deinit(&merge->last);
}

static ErrCode fetch_remote(Merge *merge, Err *err)
{
    bool found = false;
    TRY(listing_next(merge->listing, &merge->remote, &found, err));
    merge->remote_end = !found;
    if (!found) return OK;
    Str key = merge->remote.file.key;
    if (!str_starts_with(key, merge->prefix)) {
        return err_set(err, ERR_PEER, "the listing has a key outside of the prefix");
    }
    if (merge->last.len > 0 && str_cmp(buf_str(&merge->last), key) >= 0) {
        return err_set(err, ERR_PEER, "the listing is not in order");
    }
    buf_clear(&merge->last);
    TRY(buf_append_str(&merge->last, key, err));
    merge->remote_relative = str_slice(key, merge->prefix.len, key.len - merge->prefix.len);
    merge->has_remote = true;
    return OK;
}

static MergeStep take_local(Merge *merge, MergeKind kind)
{
    const WalkEntry *local = &merge->local;
    merge->has_local = false;
    return (MergeStep){.kind = kind,
                       .relative = local->relative,
                       .size = local->size,
                       .mtime_ns = local->mtime_ns,
                       .why = merge->local_why};
}

ErrCode merge_next(Merge *merge, MergeStep *out, Err *err)
{
    for (;;) {
        if (!merge->has_local) {
            merge->local_why = (Err){0};
            merge->local = walk_next(merge->walk, &merge->local_why);
            merge->has_local = true;
        }
        WalkKind kind = merge->local.kind;
        if (kind == WALK_SKIPPED || kind == WALK_FAILED) {
            *out = take_local(merge, kind == WALK_SKIPPED ? MERGE_SKIPPED : MERGE_FAILED);
            return OK;
        }
        bool need_remote = kind == WALK_FILE || merge->with_gone;
        if (need_remote && !merge->has_remote && !merge->remote_end) {
            TRY(fetch_remote(merge, err));
        }
        if (kind == WALK_END && (!merge->has_remote || !merge->with_gone)) {
            *out = (MergeStep){.kind = MERGE_END};
            return OK;
        }
        int order = kind == WALK_END     ? 1
                    : !merge->has_remote ? -1
                                         : str_cmp(merge->local.relative, merge->remote_relative);
        if (order < 0) {
            *out = take_local(merge, MERGE_NEW);
            return OK;
        }
        merge->has_remote = false;
        if (order > 0 && !merge->with_gone) continue;
        *out = order == 0 ? take_local(merge, MERGE_BOTH)
                          : (MergeStep){.kind = MERGE_GONE, .relative = merge->remote_relative};
        out->remote = merge->remote.file;
        return OK;
    }
}
