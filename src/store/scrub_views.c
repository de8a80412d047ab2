/* Scrub's reading of the views that clients are not served from by file: closed segments of the
 * log, frame by frame, and the pages of index.db. */
#include "store/scrub_priv.h"

#include <inttypes.h>

#include "base/log.h"

#define DOUBTS_MAX 20 /* times that a page is asked about before it is passed over */

/* --- the log --- */

static void segment_damaged(Scrub *s, ErrCode code, const Err *why)
{
    RiskFound found = {.cause = risk_cause_of(code),
                       .place = wal_verify_path(s->log),
                       .offset = wal_verify_offset(s->log),
                       .detail = err_text(why)};
    risk_add(s->store->risk, &found);
    scrub_count(s, 0, 1);
}

ErrCode scrub_log(Scrub *s, uint64_t bytes, uint64_t *read, bool *ended, Err *err)
{
    if (s->log == NULL) {
        TRY(wal_verify_open(s->store->wal, s->status.segment + 1, &s->log, err));
        *ended = s->log == NULL;
        return OK;
    }
    bool done = false;
    Err why = {0};
    ErrCode code = wal_verify_next(s->log, bytes, read, &done, &why);
    scrub_count(s, *read, 0);
    if (code != OK && !done) return err_set(err, code, "%s", err_text(&why));
    if (code != OK) segment_damaged(s, code, &why);
    if (!done) return OK;
    lock_take(&s->lock);
    s->status.segment = wal_verify_segment(s->log);
    lock_give(&s->lock);
    wal_verify_free(TAKE(s->log));
    return OK;
}

/* --- the index --- */

/* Nobody has said whether the page is damaged: asked again, but not for ever. */
static void doubt_again(Scrub *s)
{
    if (++s->doubts < DOUBTS_MAX) return;
    LOG(WARN, "scrub.failed", "error=" LOG_STR,
        LOG_CSTR("a page of index.db could not be looked at while nobody wrote it"));
    s->doubt = 0;
}

ErrCode scrub_index(Scrub *s, uint64_t bytes, uint64_t *read, bool *ended, Err *err)
{
    IndexLooked looked;
    if (s->doubt != 0) {
        doubt_again(s);
        return OK;
    }
    size_t count = (size_t)MAX(bytes / INDEX_PAGE_BYTES, (uint64_t)1);
    TRY(index_look_pages(s->store->index, s->status.page + 1, count, &looked, err));
    *read = (looked.next - 1 - s->status.page) * INDEX_PAGE_BYTES;
    *ended = looked.ended && looked.bad == 0;
    s->doubt = looked.bad;
    s->doubts = 0;
    scrub_count(s, *read, 0);
    lock_take(&s->lock);
    s->status.page = looked.next - 1;
    lock_give(&s->lock);
    return OK;
}

bool scrub_doubts(const Scrub *s)
{
    return s->doubt != 0;
}

void scrub_settle(Scrub *s)
{
    Err why = {0};
    if (s->doubt == 0) return;
    ErrCode code = index_judge_page(s->store->index, s->doubt, &why);
    if (code == ERR_CORRUPT) scrub_count(s, 0, 1); /* the index has told the list */
    if (code == OK || code == ERR_CORRUPT) s->doubt = 0;
}
