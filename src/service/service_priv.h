/* What service.c and uploads.c share. */
#ifndef HOLDFAST_SERVICE_SERVICE_PRIV_H
#define HOLDFAST_SERVICE_SERVICE_PRIV_H

#include "service/service.h"

struct Service {
    ServiceOptions options;
};

struct ServiceReader {
    Service *service;
    unsigned class;      /* that is read … */
    unsigned root;       /* … on this one, by … */
    StoreReader *reader; /* … this one of: */
    StoreReader *readers[ENGINE_ROOTS_MAX];
    Buf elsewhere; /* a body that another root had */
};

/* mend.c: the body of what was found, which can't be read there, for the reason in err; that again
 * if no other root has it. */
ErrCode service_body_elsewhere(ServiceReader *reader, const StoreFound *found, Str *body, Err *err);

/* Before a look-up: reader is one of the store of the lead of class. Ends the views of the one
 * before. ERR_NOT_READY: nobody leads it. */
MUST_USE ErrCode service_turn_to(ServiceReader *reader, unsigned class, Err *err);
/* One that files may be in? */
bool service_is_shard(const Service *service, ShardId shard);
/* The next class behind *class that is read on a root of its own, or first there; all are, one
 * after the other. False at the end. Begin with 0. */
bool service_next_class(const Service *service, unsigned *class);
/* Behind it: may what was found be given? ERR_NOT_READY. */
MUST_USE ErrCode service_may_tell(const ServiceReader *reader, Err *err);

#endif
