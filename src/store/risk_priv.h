/* What risk.c (the list) and risk_file.c (risk.json) share. */
#ifndef HOLDFAST_STORE_RISK_PRIV_H
#define HOLDFAST_STORE_RISK_PRIV_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/omap.h"
#include "store/risk.h"

#define RISK_FORMAT 1
/* An entry's JSON: every byte of key, place and detail escaped. */
#define RISK_FILE_MAX (RISK_MAX * 9 * KIB)

struct Risk {
    Disk *disk;
    Clock *clock;
    Lock lock; /* guards entries, dirty */
    OMap *entries;
    bool dirty;
    _Atomic size_t files;
    _Atomic size_t places;
    _Atomic size_t index_places;
    _Atomic uint64_t unlisted;

    /* the saver's */
    uint64_t saved_ns; /* when risk.json was last written or tried */
    bool broken;       /* a write of it failed for good */
};

/* Adds an entry as it was saved. False: there is no room, or it is listed. */
bool risk_restore(Risk *risk, const RiskEntry *entry);
/* Fills the list from risk.json. ERR_INVALID: it is none. */
MUST_USE ErrCode risk_file_load(Risk *risk, Err *err);
MUST_USE ErrCode risk_file_store(Risk *risk, Err *err);
/* Moves it out of the way; what was restored from it meanwhile stays. */
MUST_USE ErrCode risk_file_quarantine(Risk *risk, uint64_t number, Err *err);

#endif
