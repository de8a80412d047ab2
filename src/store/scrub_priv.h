/* What scrub.c (passes), scrub_file.c (scrub.json), scrub_views.c (log, index) and scrub_read.c
 * (packs, files) share. */
#ifndef HOLDFAST_STORE_SCRUB_PRIV_H
#define HOLDFAST_STORE_SCRUB_PRIV_H

#include "store/compact_priv.h"
#include "store/scrub.h"
#include "store/store_priv.h"

#define SCRUB_ROW_BYTES 64 /* what looking at the row of a file counts as */

struct Scrub {
    Store *store;
    ScrubOptions options;
    bool opened;
    Lock lock;          /* LOCK_RANK_STORE: status, save_now, start_now */
    ScrubStatus status; /* written by the owner, under the lock */
    bool save_now;
    bool start_now;
    uint64_t saved_ns;
    bool given_up; /* the index could not be read on: this pass does not see everything */

    /* log, index */
    WalVerify *log; /* the segment in hand; NULL: none */
    uint64_t doubt; /* a page of the index that looks bad; 0: none */
    unsigned doubts;

    /* packs */
    uint64_t *suspects; /* rising numbers of packs with damage, in this pass of this process */
    size_t suspect_count;
    size_t suspect_capacity;
    PackScan *scan; /* the pack in hand; NULL: none */
    PackRow pack_row;
    uint64_t scan_at; /* bytes of it that were counted */

    /* files */
    uint8_t key[ROW_KEY_MAX]; /* row key up to which rows were read; empty: none */
    size_t key_len;
    IndexReader *reader;
    BlobReader *blob; /* the extent in hand; NULL: none */
    uint32_t extent;  /* of the row in hand */
    uint64_t chunk;
    HashCtx *sha;
    void *chunk_data; /* CHUNK_SIZE_MAX while a blob is read */
    Buf row;          /* the row in hand; empty: none */
    Buf buf;          /* one record */
};

/* The same of the log, and of the index. */
MUST_USE ErrCode scrub_log(Scrub *scrub, uint64_t bytes, uint64_t *read, bool *ended, Err *err);
MUST_USE ErrCode scrub_index(Scrub *scrub, uint64_t bytes, uint64_t *read, bool *ended, Err *err);
/* Reads about `bytes` of packs, or of files; *ended: there are no more. */
MUST_USE ErrCode scrub_packs(Scrub *scrub, uint64_t bytes, uint64_t *read, bool *ended, Err *err);
MUST_USE ErrCode scrub_files(Scrub *scrub, uint64_t bytes, uint64_t *read, bool *ended, Err *err);
/* Closes what is open. */
void scrub_let_go(Scrub *scrub);
void scrub_count(Scrub *scrub, uint64_t read, uint64_t damaged);

/* scrub_file.c: reads and writes scrub.json. One that is no good is begun anew. */
MUST_USE ErrCode scrub_load(Scrub *scrub, Err *err);
MUST_USE ErrCode scrub_save(Scrub *scrub, Err *err);

#endif
