/* Compare: are the files of one root's index those of the others? Rows of a range of keys are
 * hashed, all but where bodies stand, and where a range differs row by row compared.
 *
 * Roots apply the same entries at different times. So a row that differs is looked at again until
 * all roots have applied its shard up to the same lsn, each seen in one snapshot with the row. Then
 * two that agree, unless their rows were made of packs, are right, and the third is mended: a row
 * that it lacks or has wrong is put in with its body, one that only it has is deleted as a file is.
 * Where no two agree, as where only two roots have a class, nothing says who is right: that is
 * told, a hundred times a pass at most, and nothing changed. Nor does its rank decide: a lead that
 * lost a row must not have it deleted from those that have it.
 *
 * One thread owns a Comparer of its own root; rows are changed on the applier's thread, only while
 * it has applied exactly the lsn that was compared. */
#ifndef HOLDFAST_STORE_COMPARE_H
#define HOLDFAST_STORE_COMPARE_H

#include "store/mend.h"

typedef struct Comparer Comparer;

/* Totals since the process began; any thread. */
typedef struct {
    uint64_t rows;        /* of the own root that were compared */
    uint64_t differences; /* rows that no other root has so */
    uint64_t mended;      /* of them */
    uint64_t undecided;   /* of them: no two others agree */
    uint64_t unsettled;   /* rows that differed and changed too often to be decided: next time */
} CompareStatus;

/* The store must outlive it. options: as the Mender's. */
Comparer *comparer_new(Store *store, const MenderOptions *options);
void comparer_free(Comparer *comparer); /* NULL is fine */
/* All rows once. Errors: of an index, the disk or for want of room, at which it ends;
 * ERR_SHUTTING_DOWN. */
MUST_USE ErrCode comparer_pass(Comparer *comparer, Err *err);
void comparer_status(const Comparer *comparer, CompareStatus *out);

AUTO_DEFINE(Comparer, comparer_free);

#endif
