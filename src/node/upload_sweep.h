/* Ends resumable uploads that have expired, that belong to no bucket any more, or of which only the
 * row is left because the process died right after their file was made. Looks through the uploads
 * that go on (not through files) at start and now and then. Belongs to one thread. */
#ifndef HOLDFAST_NODE_UPLOAD_SWEEP_H
#define HOLDFAST_NODE_UPLOAD_SWEEP_H

#include "service/uploads.h"

typedef struct UploadSweep UploadSweep;

/* every_ms: between two looks through all of them. */
UploadSweep *upload_sweep_new(Service *service, Clock *clock, uint64_t every_ms);
/* What is under way may be answered later. NULL is fine. */
void upload_sweep_free(UploadSweep *sweep);
/* The next step: looks at up to a page of uploads, and begins to end the first that is over; the
 * steps after it go on when the engine has answered, and until then do nothing. Waits for nobody:
 * the log may have no room for the change until this thread has compacted. *rest_ms: when to come
 * again. An upload that fails is passed over, and told; the next step goes on behind it. Errors:
 * ERR_CORRUPT: its row can't be decoded, and is kept; the engine's. */
MUST_USE ErrCode upload_sweep_work(UploadSweep *sweep, uint64_t *rest_ms, Err *err);

AUTO_DEFINE(UploadSweep, upload_sweep_free);

#endif
