/* Tags: new attributes for a version that stays (OP_META). They are all of its attributes, so that
 * whoever applies, reads or rebuilds takes the newest META of a version and nothing else. */
#include "service/engine_priv.h"

/* All attributes of the version but those that go with the entry that wrote it. */
static ErrCode make_attrs(Mutation *m, const Target *t, Err *err)
{
    Buf *attrs = &m->attr_buf;
    Str none = {NULL, 0};
    buf_clear(attrs);
    TRY(buf_append_str(attrs, t->found.row.attrs, err)); /* first: views end with a look-up */
    TRY(attr_set(attrs, ATTR_REQUEST_ID, none, err));
    TRY(attr_set(attrs, ATTR_REQUEST_HASH, none, err));
    TRY(attr_set(attrs, ATTR_KEY, t->key, err));
    return attr_set(attrs, ATTR_TAGS, m->tags.len > 0 ? m->tags : none, err);
}

static ErrCode append_meta(Engine *engine, Mutation *m, const Target *t, Err *err)
{
    ErrCode code = make_attrs(m, t, err);
    if (code == ERR_TOO_BIG) return err_wrap(err, ERR_TOO_LARGE, "too much metadata");
    TRY(code);
    Entry entry = {.op = OP_META,
                   .shard = t->shard,
                   .file = t->found.row.file,
                   .bucket = t->bucket,
                   .target = t->found.row.version,
                   .attrs = buf_str(&m->attr_buf)};
    m->shard = t->shard;
    m->row = t->found.row;
    m->row.attrs = buf_str(&m->attr_buf);
    m->row.extents = (Str){NULL, 0};
    m->row_key = t->key;
    return engine_append(engine, &entry, m, err);
}

void engine_decide_tags(Engine *engine, Mutation *m, Target *t)
{
    ErrCode code = OK;
    if (m->version.lsn != 0) {
        code = store_find(engine_shard_reader(engine, t->shard), t->bucket, t->key, &m->version,
                          engine_deciding_view(), &t->found, &t->there, &m->err);
    }
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    bool marker = (t->found.row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    m->absent = !t->there;
    m->marked = marker;
    if (!t->there || marker) {
        engine_refuse(engine, m, ERR_NOT_FOUND, &t->found);
        return;
    }
    if (!engine_has_room(engine, engine_shard(engine, t->shard))) {
        engine_stall(engine, m);
        return;
    }
    code = append_meta(engine, m, t, &m->err);
    if (code != OK) engine_answer(engine, m, code);
}
