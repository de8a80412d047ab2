/* Read repair: what can't be read from one root is read from another. A large body is put back, a
 * small one is only served, and its file listed as damaged on the root that lacks it. */
#include "service/service_priv.h"

#include <inttypes.h>

#include "base/log.h"

/* Another root that may have it: the next behind *r; NULL: there is none left. */
static Store *next_store(const Service *service, const Store *store, unsigned *r)
{
    while (*r < ENGINE_ROOTS_MAX) {
        Store *other = service->options.stores[(*r)++];
        if (other != NULL && other != store) return other;
    }
    return NULL;
}

bool service_has_copies(const Service *service)
{
    unsigned r = 0;
    return next_store(service, service->options.stores[0], &r) != NULL;
}

/* --- large bodies --- */

ErrCode service_body_mend(Service *service, Store *store, const Extent *extent, Err *err)
{
    unsigned r = 0;
    Store *other = NULL;
    while ((other = next_store(service, store, &r)) != NULL) {
        AUTO(BlobReader, blob_reader_free) from = NULL;
        Err own = {0};
        bool from_bad = true;
        if (blob_reader_open(store_blobs(other), extent->body, extent->number, &from, &own) != OK)
            continue;
        ErrCode code = blob_mend(store_blobs(store), from, &from_bad, &own);
        if (code == OK) {
            char path[BLOB_PATH_MAX];
            blob_path(extent->body, extent->number, path);
            LOG_TO(OPERATIONS, WARN, "body.mended", "place=%s", path);
            return OK;
        }
        if (!from_bad) return err_set(err, code, "%s", err_text(&own));
    }
    return err_set(err, ERR_NOT_FOUND, "no other copy of the body is whole");
}

/* --- small bodies --- */

/* Does the store say by now that the body is elsewhere, or nowhere? One that can't be asked any
 * more says nothing: its root fails. */
static bool has_moved(Store *store, const StoreFound *found)
{
    AUTO(StoreReader, store_reader_free) reader = NULL;
    StoreFound now;
    bool there = false;
    if (store_reader_open(store, &reader, NULL) != OK) return false;
    ErrCode code = store_find_id(reader, found->row.file, &found->row.version, STORE_COMMITTED,
                                 &now, &there, NULL);
    if (code != OK) return false;
    if (!there || now.in_log != found->in_log) return true;
    if (now.in_log)
        return now.pos.segment != found->pos.segment || now.pos.offset != found->pos.offset;
    return now.row.place.pack != found->row.place.pack ||
           now.row.place.offset != found->row.place.offset;
}

/* The same version as another root has it. */
static ErrCode read_from(Store *other, const StoreFound *found, Buf *key, Buf *out, Err *err)
{
    AUTO(StoreReader, store_reader_free) reader = NULL;
    StoreFound same;
    Str body = {NULL, 0};
    bool there = false;
    TRY(store_reader_open(other, &reader, err));
    TRY(store_find_id(reader, found->row.file, &found->row.version, STORE_COMMITTED, &same, &there,
                      err));
    if (!there || same.row.extent_count != 0 || same.row.size != found->row.size)
        return err_set(err, ERR_NOT_FOUND, "not there");
    buf_clear(key);
    TRY(buf_append_str(key, same.key, err));
    TRY(store_body(reader, &same, &body, err));
    buf_clear(out);
    return buf_append_str(out, body, err);
}

static void list_damage(Store *store, const StoreFound *found, Str key, const Err *err)
{
    char place[PACK_PATH_MAX] = "wal.segments";
    if (found->row.place.pack != 0) pack_path(found->row.place.pack, place);
    RiskFound damage = {.file = found->row.file,
                        .version = found->row.version,
                        .bucket = found->bucket,
                        .key = key,
                        .size = found->row.size,
                        .cause = risk_cause_of(err->code),
                        .place = place,
                        .offset = found->row.place.offset,
                        .detail = err_text(err)};
    risk_add(store_risk(store), &damage);
}

ErrCode service_body_elsewhere(ServiceReader *reader, const StoreFound *found, Str *body, Err *err)
{
    Service *service = reader->service;
    Store *store = service_reader_store(reader);
    ErrCode code = err->code;
    unsigned r = 0;
    Store *other = NULL;
    AUTO_BUF(key, KEY_MAX);
    bool damage = code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_FILE_DAMAGED ||
                  code == ERR_IO;
    if (!damage || !service_has_copies(service) || has_moved(store, found)) return code;
    while ((other = next_store(service, store, &r)) != NULL) {
        Err own = {0};
        if (read_from(other, found, &key, &reader->elsewhere, &own) != OK) continue;
        list_damage(store, found, buf_str(&key), err);
        *body = buf_str(&reader->elsewhere);
        return OK;
    }
    return code;
}
