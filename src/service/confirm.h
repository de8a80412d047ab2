/* Confirmer: what was acknowledged before all copies had it (docs/decisions/0018) is read back from
 * the disk of each root that is in sync, past the page cache, when it was committed and had time to
 * be applied. What can't be read there is listed as damaged (store/risk.h) and told; so is what is
 * not there a minute later. What is replaced or deleted meanwhile is let go. One thread owns it. */
#ifndef HOLDFAST_SERVICE_CONFIRM_H
#define HOLDFAST_SERVICE_CONFIRM_H

#include "service/engine.h"
#include "store/read_back.h"

#define CONFIRM_AFTER_MS 1000 /* at the earliest, and between two looks at one … */
#define CONFIRM_LATE_MS 60000 /* … and at the latest */
#define CONFIRM_MAX 10000     /* that wait; more are passed over */

typedef struct Confirmer Confirmer;

typedef struct {
    Store *stores[ENGINE_ROOTS_MAX]; /* not owned; of each root */
    unsigned root_count;
    Clock *clock;
    ReadPace pace;
    void *ctx;
} ConfirmOptions;

/* Totals since the process began. Any thread. */
typedef struct {
    uint64_t confirmed;   /* read back whole from each root in sync */
    uint64_t unconfirmed; /* not: damaged, or missing */
    uint64_t replaced;    /* gone before they were read */
    uint64_t passed_over; /* too many waited */
    uint64_t waiting;
} ConfirmStatus;

/* A version that is to be read back. */
typedef struct {
    BucketUid bucket;
    VersionId version;
    uint64_t told_ns; /* CLOCK_BOOTTIME */
    unsigned class;
    uint32_t key_len;
    uint8_t key[];
} Told;
/* What is to be read back of record; NULL: it has no bytes to be read. mem_free() it. */
Told *told_new(const Record *record);

Confirmer *confirmer_new(const ConfirmOptions *options);
void confirmer_free(Confirmer *confirmer); /* NULL is fine */
/* Takes told, which is later than those before. */
void confirmer_add(Confirmer *confirmer, Told *told);
/* One of which nobody took note. */
void confirmer_passed_over(Confirmer *confirmer, uint64_t count);
/* Where the files of a class are. */
typedef struct {
    unsigned in_sync; /* bit r: root r is to have them */
    unsigned lead;    /* the root that is read */
} ConfirmClass;
/* Reads back what is due. Errors as read_back_version(), after which it goes on with the next call.
 */
MUST_USE ErrCode confirmer_work(Confirmer *confirmer, const ConfirmClass classes[CLASSES_MAX],
                                Err *err);
void confirmer_status(const Confirmer *confirmer, ConfirmStatus *out);

AUTO_DEFINE(Confirmer, confirmer_free);

#endif
