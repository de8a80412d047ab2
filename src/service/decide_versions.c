/* Versions, where a change of a file is decided. */
#include "service/engine_priv.h"

bool target_names_version(const Mutation *m, const Target *t)
{
    bool deletes = m->type == MUTATION_DELETE || m->type == MUTATION_DELETE_FILE;
    return deletes && m->version.lsn != 0 && t->versioning != VERSIONING_OFF;
}

static ErrCode look(Engine *engine, const Target *t, StoreWhich which, VersionId version,
                    StoreFound *out, bool *found, Err *err)
{
    TRY(store_look(engine_shard_reader(engine, t->shard), t->bucket, t->key, which, version,
                   engine_deciding_view(), out, found, err));
    out->key = (Str){NULL, 0};
    out->row.attrs = (Str){NULL, 0};
    out->row.extents = (Str){NULL, 0};
    return OK;
}

ErrCode target_find_exact(Engine *engine, const Mutation *m, Target *t, Err *err)
{
    StoreFound older;
    bool found = false;
    if (!target_has_row(t)) { /* by an id that has no name, there is none to look under */
        t->exact = t->found;
        return err_set(err, ERR_NOT_FOUND, "there is no such version");
    }
    TRY(look(engine, t, STORE_EXACT, m->version, &t->exact, &found, err));
    if (!found) return err_set(err, ERR_NOT_FOUND, "there is no such version");
    t->has_exact = true;
    return look(engine, t, STORE_OLDER, m->version, &older, &t->has_older, err);
}

ErrCode target_find_over(Engine *engine, const Mutation *m, Target *t, Err *err)
{
    StoreFound older;
    bool found = false;
    TRY(store_look(engine_shard_reader(engine, t->shard), t->bucket, t->key, STORE_EXACT,
                   m->version, engine_deciding_view(), &t->exact, &found, err));
    if (!found) return err_set(err, ERR_NOT_FOUND, "there is no such version");
    uint64_t expires_ms = file_row_expires(&t->exact.row);
    if (expires_ms == 0 || expires_ms > clock_wall_ms(engine->options.clock))
        return err_set(err, ERR_PRECONDITION, "the version's time is not over");
    t->exact.row.attrs = (Str){NULL, 0};
    t->exact.row.extents = (Str){NULL, 0};
    t->has_exact = true;
    return look(engine, t, STORE_OLDER, m->version, &older, &t->has_older, err);
}

/* The null version of the name, which a write or delete marker takes the place of while versions
 * are suspended; zeros if there is none. */
static ErrCode find_null(Engine *engine, const Target *t, FileRow *out, Err *err)
{
    StoreFound found = t->found;
    bool more = target_has_row(t);
    *out = (FileRow){.size = 0};
    while (more) {
        if ((found.row.flags & ROW_FLAG_NULL_VERSION) != 0) {
            *out = found.row;
            return OK;
        }
        TRY(look(engine, t, STORE_OLDER, found.row.version, &found, &more, err));
    }
    return OK;
}

static void count_ended(Mutation *m, const FileRow *row)
{
    bool counts = row->version.lsn != 0 && (row->flags & ROW_FLAG_DELETE_MARKER) == 0;
    if (!counts) return;
    m->files_delta--;
    m->bytes_delta -= (int64_t)row->size;
}

ErrCode target_count(Engine *engine, Mutation *m, const Target *t, bool writes, Err *err)
{
    FileRow ended = {.size = 0};
    m->files_delta = writes;
    m->bytes_delta = writes ? (int64_t)m->size : 0;
    if (t->has_exact)
        ended = t->exact.row;
    else if (t->versioning == VERSIONING_OFF)
        ended = t->found.row; /* the only one */
    else if (t->versioning == VERSIONING_SUSPENDED)
        TRY(find_null(engine, t, &ended, err));
    count_ended(m, &ended);
    m->bytes_delta -= (int64_t)t->older_bytes;
    return OK;
}
