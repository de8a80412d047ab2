/* What mend.c (the list, files), mend_pack.c (packs) and mend_move.c (the applier's part) share. */
#ifndef HOLDFAST_STORE_MEND_PRIV_H
#define HOLDFAST_STORE_MEND_PRIV_H

#include "store/compact_priv.h"
#include "store/mend.h"
#include "store/read_back.h"

typedef enum {
    MEND_BODY = 1, /* the row of a small file, whose body is given */
    MEND_ROW,      /* of a version without a body in packs: its record is made anew */
    MEND_REQUEST   /* the row of a request: the same */
} MendKind;

typedef struct {
    MendKind kind;
    PackPlace place; /* BODY: where the row says that it stands */
    size_t key_at;   /* in MendStep.bytes: the row's key, then the body */
    size_t key_len;
    size_t body_len;
} MendItem;

/* For the applier. */
typedef struct {
    bool leave;     /* what is written from now on goes to new packs … */
    uint64_t first; /* … of which this will be the first */
    Buf bytes;
    MendItem items[COMPACT_STEP_RECORDS];
    size_t count;
    Buf row;   /* the row in hand */
    Buf attrs; /* of the entry in hand */
} MendStep;

struct Mender {
    Store *store;
    MenderOptions options;
    StoreReader *reader;
    StoreReader *sources[MEND_SOURCES_MAX]; /* NULL: not opened */
    MendStep step;
    CompactStep keep; /* records of a damaged pack that can be read */
    Buf record;       /* one record, of whatever root */
    Buf row;          /* one row */
    size_t stuck;     /* bodies of the pack in hand that no root has whole */
    size_t mended;    /* entries, in this look */
    _Atomic uint64_t files;
    _Atomic uint64_t packs;
    _Atomic uint64_t bytes;
    _Atomic uint64_t helpless;
    _Atomic uint64_t entry_ms;
};

/* The body of the version as another root has it, verified; a view. ERR_NOT_FOUND: none has it. */
MUST_USE ErrCode mend_fetch(Mender *m, BucketUid bucket, Str key, const FileRow *row, Str *body,
                            Err *err);
/* Sees to it that the root has the extent, from whichever root has it whole. ERR_NOT_FOUND. */
MUST_USE ErrCode mend_bring_extent(Mender *m, const Extent *extent, Err *err);
/* Closes what it reads other roots with. */
void mender_rest(Mender *m);
/* Adds an item to the step, which is carried out first if it is full. ERR_SHUTTING_DOWN … */
MUST_USE ErrCode mend_add(Mender *m, MendKind kind, Str row_key, const PackPlace *place, Str body,
                          Err *err);
/* Carries the step out, if there is something in it or a pack to be left. */
MUST_USE ErrCode mend_flush(Mender *m, Err *err);
/* A pack that is listed: keeps what is needed of it, then retires it. *done: it did. */
MUST_USE ErrCode mend_pack(Mender *m, uint64_t pack, bool *done, Err *err);

/* The applier's, between batches. Errors as of store_compact(). */
MUST_USE ErrCode store_mend(Store *store, MendStep *step, Err *err);

#endif
