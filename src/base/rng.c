/* xoshiro256** 1.0, seeded through splitmix64, as its authors advise.
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018. */
#include "base/rng.h"

#include "base/fault.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t splitmix64(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void rng_init(Rng *rng, uint64_t seed)
{
    /* splitmix64 visits each number once, so the four can't all be zero. */
    for (size_t i = 0; i < ARRAY_LEN(rng->s); i++)
        rng->s[i] = splitmix64(&seed);
}

void rng_init_system(Rng *rng)
{
    uint64_t seed;
    ASSERT(rng_secret(&seed, sizeof seed, NULL) == OK);
    rng_init(rng, seed);
}

uint64_t rng_u64(Rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(Rng *rng, uint64_t bound)
{
    ASSERT(bound >= 1);
    /* Of 2^64 numbers the first 2^64 mod bound would favour small results. */
    uint64_t reject_below = -bound % bound;
    uint64_t value;
    do {
        value = rng_u64(rng);
    } while (value < reject_below);
    return value % bound;
}

bool rng_chance(Rng *rng, uint32_t per_million)
{
    return rng_below(rng, 1000000) < per_million;
}

void rng_bytes(Rng *rng, void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        uint64_t value = rng_u64(rng);
        size_t take = MIN(len, sizeof value);
        for (size_t i = 0; i < take; i++)
            at[i] = (uint8_t)(value >> (8 * i));
        at += take;
        len -= take;
    }
}

ErrCode rng_secret(void *out, size_t len, Err *err)
{
    uint8_t *at = out;
    size_t left = len;
    while (left > 0) {
        int fault = fault_point("rng.secret");
        ssize_t got = fault != 0 ? -1 : getrandom(at, left, 0);
        int saved = fault != 0 ? fault : errno;
        if (got < 0 && saved == EINTR) continue;
        if (got < 0) {
            explicit_bzero(out, len);
            return err_set_errno(err, ERR_SYSTEM, saved, "get %zu random bytes", len);
        }
        at += (size_t)got;
        left -= (size_t)got;
    }
    return OK;
}
