/* Md5Run: the MD5 of a body that comes in pieces. Pieces of several runs can be taken together: MD5
 * of one is a chain in which each step waits for the one before, so that most of a processor idles;
 * eight chains side by side in vectors take little longer than one (decision 0019 says why this is
 * our own code). A run belongs to one thread at a time. */
#ifndef HOLDFAST_BASE_MD5_RUN_H
#define HOLDFAST_BASE_MD5_RUN_H

#include "base/hash.h"

#define MD5_LANES 8

typedef struct Md5Run Md5Run;

Md5Run *md5_run_new(void);
void md5_run_free(Md5Run *run); /* NULL is fine */
/* Writes the digest of all bytes so far, and begins anew. */
void md5_run_final(Md5Run *run, uint8_t out[MD5_LEN]);

/* The next len bytes of a run. */
typedef struct {
    Md5Run *run;
    const void *data;
    size_t len;
} Md5Piece;

/* Takes all pieces: 1..MD5_LANES of them, each of another run. */
void md5_run_update(const Md5Piece *pieces, size_t count);

/* How that is done: the last that this processor can is taken. */
typedef enum {
    MD5_ONE_BY_ONE, /* OpenSSL */
    MD5_PORTABLE,   /* in vectors of whatever the compiler was told to make them of */
    MD5_AVX2,
    MD5_AVX512,
    MD5_WAY_COUNT
} Md5Way;
/* Can this processor do it so? */
bool md5_way_usable(Md5Way way);
/* md5_run_update() by a way that is usable, however few pieces there are: for tests. */
void md5_run_update_by(Md5Way way, const Md5Piece *pieces, size_t count);

AUTO_DEFINE(Md5Run, md5_run_free);

#endif
