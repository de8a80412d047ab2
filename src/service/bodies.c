/* Large bodies of all roots of a process. */
#include "service/service_priv.h"

#include <stdatomic.h>

#include "base/log.h"

static bool takes_copies(const Service *service, unsigned class, unsigned root)
{
    const ClassState *states = service->options.states;
    const _Atomic unsigned *spared = service->options.spared;
    if (states == NULL) return false;
    if (spared != NULL && (atomic_load_explicit(spared, memory_order_relaxed) >> root & 1) != 0)
        return false;
    unsigned mask = atomic_load_explicit(&states[class].in_sync, memory_order_relaxed);
    return (mask >> root & 1) != 0;
}

ErrCode service_body_open(Service *service, unsigned class, Store *store, BodyId body,
                          uint32_t extent, BlobWriter **out, Err *err)
{
    TRY(blob_writer_open(store_blobs(store), body, extent, out, err));
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++) {
        Store *other = service->options.stores[r];
        if (other == NULL || other == store || !takes_copies(service, class, r)) continue;
        Err own = {0};
        if (blob_writer_add_mirror(*out, store_blobs(other), &own) == OK) continue;
        LOG(WARN, "body.not_copied", "error=" LOG_STR, LOG_CSTR(err_text(&own)));
    }
    return OK;
}

static void tell_mirror(Service *service, Blobs *blobs, ErrCode code, const Err *err)
{
    if (code == OK) return;
    LOG(WARN, "body.not_copied", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    if (code != ERR_ROOT_FAILED) return;
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++) {
        Store *store = service->options.stores[r];
        if (store != NULL && store_blobs(store) == blobs)
            service->options.fail(service->options.submit_ctx, r, err);
    }
}

ErrCode service_body_finish(Service *service, BlobWriter *writer, const BlobInfo *info, Extent *out,
                            Err *err)
{
    ErrCode code = blob_writer_finish(writer, info, out, err);
    for (unsigned i = 0; i < blob_writer_mirror_count(writer); i++) {
        Blobs *blobs = NULL;
        Err own = {0};
        ErrCode mirrored = blob_writer_mirror(writer, i, &blobs, &own);
        tell_mirror(service, blobs, mirrored, &own);
    }
    return code;
}

ErrCode service_body_remove(Service *service, BodyId body, uint32_t extent, Err *err)
{
    ErrCode code = OK;
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++) {
        Store *store = service->options.stores[r];
        if (store == NULL || store_failed(store)) continue;
        ErrCode one = blob_remove(store_blobs(store), body, extent, err);
        if (one != OK) code = one;
    }
    return code;
}
