/* Repeats of requests. Each change that carries a request's id makes a row with what came of it, in
 * the table from its append on, later in the index; a repeat is answered from that and never
 * decided again, even if its file is gone since. The answer is made of the row and of what the
 * repeat itself says, which is the same as before: its hash was compared. */
#include "service/engine_priv.h"

ErrCode engine_request_key(Mutation *m, Str *key, Err *err)
{
    char text[ID128_TEXT_LEN + 1];
    id128_text(m->request, text);
    buf_clear(&m->key_buf);
    TRY(buf_append(&m->key_buf, text, ID128_TEXT_LEN, err));
    *key = buf_str(&m->key_buf);
    return OK;
}

/* What the first one was answered with. */
static ErrCode fill_repeat(Mutation *m, const RequestRow *row, Err *err)
{
    m->repeated = true;
    m->created = row->op == OP_CREATE; /* a file that is there again was created, too */
    m->row = (FileRow){.file = row->file,
                       .version = row->version,
                       .flags = m->digest_unknown ? 0 : ROW_FLAG_DIGEST_KNOWN,
                       .created_ms = file_id_created_ms(row->file),
                       .updated_ms = row->time_ms,
                       .size = m->size,
                       .digest = m->digest,
                       .attrs = m->attrs};
    if (m->expires_ms != 0) {
        buf_clear(&m->attr_buf);
        TRY(buf_append_str(&m->attr_buf, m->attrs, err));
        TRY(engine_add_expires(m, row->time_ms, err));
        m->row.attrs = buf_str(&m->attr_buf);
    }
    m->row_key = m->key;
    if (m->type != MUTATION_CREATE || m->key.len > 0) return OK;
    return engine_request_key(m, &m->row_key, err);
}

bool engine_decide_repeat(Engine *engine, Mutation *m)
{
    uint64_t now_ms = clock_wall_ms(engine->options.clock);
    uint64_t oldest_ms = now_ms - MIN(now_ms, (uint64_t)STORE_REQUEST_KEEP_MS);
    StoreRequest first;
    bool found = false;
    ErrCode code = OK;
    unsigned class = 0;
    /* It may have been about a bucket of another class. */
    for (const EngineGroup *group; code == OK && !found;) {
        if ((group = engine_next_group(engine, &class)) == NULL) break;
        code = store_find_request(engine_group_reader(engine, group), m->request, oldest_ms, &first,
                                  &found, &m->err);
        if (found && engine_shard(engine, first.shard)->group != group) found = false;
    }
    if (code != OK) {
        engine_answer(engine, m, code);
        return true;
    }
    if (!found) return false;
    engine_note_writes(engine, m, first.row.file);
    if (!sha256_eq(&first.row.request_hash, &m->request_hash)) {
        code = err_set(&m->err, ERR_IDEMPOTENCY,
                       "another request was made with this Idempotency-Key; a new request wants a "
                       "new key");
    } else {
        code = fill_repeat(m, &first.row, &m->err);
    }
    engine_answer_after(engine, m, code, first.shard, first.row.version.lsn);
    return true;
}
