/* What scrub.c (passes, scrub.json) and scrub_read.c (reading) share. */
#ifndef HOLDFAST_STORE_SCRUB_PRIV_H
#define HOLDFAST_STORE_SCRUB_PRIV_H

#include "store/compact_priv.h"
#include "store/scrub.h"
#include "store/store_priv.h"

struct Scrub {
    Store *store;
    ScrubOptions options;
    bool opened;
    Lock lock;          /* LOCK_RANK_STORE: status, save_now, start_now */
    ScrubStatus status; /* written by the owner, under the lock */
    bool save_now;
    bool start_now;
    uint64_t saved_ns;

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

/* Reads about `bytes` of packs, or of files; *ended: there are no more. */
MUST_USE ErrCode scrub_packs(Scrub *scrub, uint64_t bytes, uint64_t *read, bool *ended, Err *err);
MUST_USE ErrCode scrub_files(Scrub *scrub, uint64_t bytes, uint64_t *read, bool *ended, Err *err);
/* Closes what is open. */
void scrub_let_go(Scrub *scrub);
void scrub_count(Scrub *scrub, uint64_t read, uint64_t damaged);

#endif
