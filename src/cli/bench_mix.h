/* BenchMix: which requests `holdfast bench` sends, and how often of each. Pure. */
#ifndef HOLDFAST_CLI_BENCH_MIX_H
#define HOLDFAST_CLI_BENCH_MIX_H

#include "base/str.h"

typedef enum { BENCH_PUT, BENCH_GET, BENCH_LIST, BENCH_DELETE, BENCH_MULTIPART, BENCH_OPS } BenchOp;

#define BENCH_MIX_PRESET "put=30,get=60,list=5,delete=5"

typedef struct {
    unsigned weights[BENCH_OPS];
    unsigned sum; /* 1 or more */
} BenchMix;

const char *bench_op_name(BenchOp op); /* "put" */
/* "put=30,get=70": weights of 0..1000, each once, not all 0. ERR_USAGE. */
MUST_USE ErrCode bench_mix_parse(Str text, BenchMix *out, Err *err);
/* The request that number belongs to: number below mix->sum. */
BenchOp bench_mix_at(const BenchMix *mix, unsigned number);

#endif
