/* What the files of `holdfast bench` share. A BenchDoor is how one kind of server is asked. */
#ifndef HOLDFAST_CLI_BENCH_H
#define HOLDFAST_CLI_BENCH_H

#include "auth/sigv4.h"
#include "cli/bench_mix.h"
#include "cli/bench_parts.h"
#include "cli/session.h"

#define BENCH_LIST_LIMIT 100 /* entries that a listing asks for */

/* What is asked about. */
typedef struct {
    Str bucket;
    Str prefix;        /* of all keys of the run, with its '/' */
    Str key;           /* PUT, GET, DELETE, multipart */
    BenchParts *parts; /* of a multipart */
} BenchTarget;

typedef struct {
    const char *name;
    /* Fills in method, target and header of the call; text and headers are for these, and cleared
     * before. */
    ErrCode (*request)(BenchOp op, const BenchTarget *target, ClientCall *call, Buf *text,
                       Buf *headers, Err *err);
    bool deletes_by_number; /* at the end each key that was ever used is deleted, not what a listing
                               tells */
    bool has_parts;
} BenchDoor;

extern const BenchDoor bench_door_rest;
extern const BenchDoor bench_door_s3;

/* Digests of the bodies that are sent. */
typedef struct {
    Sha256 file; /* of each PUT */
    Sha256 part; /* of each part but the last */
    Sha256 last; /* part */
} BenchBodies;
/* Before requests of bench_door_s3; what with views stays. */
void bench_s3_init(const SigV4Signer *with, const BenchBodies *of);

#endif
