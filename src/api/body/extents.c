#include "api/body/extents.h"

#include "base/log.h"

void body_extents_begin(BodyExtents *e, Service *service, const Mutation *m, uint64_t size_max,
                        bool unkept, Rng *rng)
{
    *e = (BodyExtents){.service = service,
                       .class = service_class_of(service, m),
                       .body = id128_random(rng),
                       .unkept = unkept};
    e->store = service_class_store(service, e->class);
    if (unkept || size_max > EXTENT_SIZE_MAX) e->whole = hash_new(HASH_SHA256);
}

void body_extents_deinit(BodyExtents *e)
{
    blob_writer_free(TAKE(e->writer));
    hash_free(TAKE(e->whole));
    mem_free(TAKE(e->items));
}

ErrCode body_extents_finish(BodyExtents *e, const BodyOwner *owner, Err *err)
{
    if (e->count == e->capacity) {
        uint32_t capacity = e->capacity == 0 ? 1 : 2 * e->capacity;
        void *items = e->items;
        TRY(mem_retake(&items, capacity * sizeof *e->items, err));
        e->items = items;
        e->capacity = capacity;
    }
    AUTO_BUF(attrs, ATTRS_MAX);
    TRY(buf_append_str(&attrs, owner->attrs, err));
    if (owner->key.len > 0) TRY(attr_set(&attrs, ATTR_KEY, owner->key, err));
    BlobInfo info = {.shard = owner->shard,
                     .bucket = owner->bucket,
                     .time_ms = owner->time_ms,
                     .attrs = buf_str(&attrs)};
    TRY(service_body_finish(e->service, e->writer, &info, &e->items[e->count], err));
    e->count++;
    blob_writer_free(TAKE(e->writer));
    return OK;
}

ErrCode body_extents_write(BodyExtents *e, const BodyOwner *owner, const uint8_t *data, size_t len,
                           Err *err)
{
    if (e->whole != NULL) hash_update(e->whole, data, len);
    while (len > 0 && !e->unkept) {
        if (e->writer != NULL && blob_writer_size(e->writer) == EXTENT_SIZE_MAX)
            TRY(body_extents_finish(e, owner, err));
        if (e->writer == NULL) {
            TRY(service_body_open(e->service, e->class, e->store, e->body, e->count, &e->writer,
                                  err));
        }
        uint64_t room = EXTENT_SIZE_MAX - blob_writer_size(e->writer);
        size_t part = (size_t)MIN((uint64_t)len, room);
        TRY(blob_writer_write(e->writer, data, part, err));
        data += part;
        len -= part;
    }
    return OK;
}

void body_extents_digest(BodyExtents *e, Sha256 *out)
{
    if (e->unkept || (e->whole != NULL && e->count > 0))
        hash_final(e->whole, out->bytes);
    else
        blob_writer_digest(e->writer, out);
}

void body_extents_remove(BodyExtents *e, Str request_id)
{
    blob_writer_free(TAKE(e->writer));
    for (uint32_t i = 0; i < e->count; i++) {
        Err err = {0};
        if (service_body_remove(e->service, e->body, e->items[i].number, &err) == OK) continue;
        LOG(WARN, "http.orphan_left", "request_id=" LOG_STR " error=" LOG_STR, LOG_ARG(request_id),
            LOG_CSTR(err_text(&err)));
    }
    e->count = 0;
}

void body_extents_give(const BodyExtents *e, Mutation *m)
{
    m->body = e->body;
    m->store = e->store;
    m->extents = e->items;
    m->extent_count = e->count;
}
