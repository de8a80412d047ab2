/* Random numbers. Rng is xoshiro256** (Blackman and Vigna, 2018): fast, repeatable from a seed,
 * not for secrets. Secrets and keys come from rng_secret(). */
#ifndef HOLDFAST_BASE_RNG_H
#define HOLDFAST_BASE_RNG_H

#include "base/err.h"

typedef struct {
    uint64_t s[4];
} Rng;

/* The same seed gives the same numbers, on every machine. */
void rng_init(Rng *rng, uint64_t seed);
/* Seeds from the operating system (getrandom); aborts if it can't. */
void rng_init_system(Rng *rng);
uint64_t rng_u64(Rng *rng);
/* 0..bound-1, without bias; bound ≥ 1. */
uint64_t rng_below(Rng *rng, uint64_t bound);
/* True in per_million of a million cases. */
bool rng_chance(Rng *rng, uint32_t per_million);
void rng_bytes(Rng *rng, void *out, size_t len);
/* len bytes fit for keys (getrandom). Errors: ERR_SYSTEM. */
MUST_USE ErrCode rng_secret(void *out, size_t len, Err *err);

#endif
