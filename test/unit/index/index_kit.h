/* What the tests of index share: a reference model, and batches whose operations follow from (seed,
 * batch number), so that the state after any number of batches can be made again and compared. Row
 * 0 counts the batches. One thread per Kit. */
#ifndef HOLDFAST_TEST_UNIT_INDEX_INDEX_KIT_H
#define HOLDFAST_TEST_UNIT_INDEX_INDEX_KIT_H

#include "base/rng.h"
#include "index/index.h"

#define KIT_KEYS 400
#define KIT_VALUE_MAX 12000

/* versions[i]: of key number i, 0: absent. versions[0]: batches so far. */
typedef struct {
    uint64_t seed;
    unsigned ops_max;    /* per batch */
    unsigned big_chance; /* of a value that needs pages of its own, in a million */
    uint32_t versions[KIT_KEYS];
} Kit;

void kit_init(Kit *kit, uint64_t seed);
/* Key number i (they sort by number) and the value that its version has, into a buffer. */
Str kit_key(uint32_t i, char out[64]);
Str kit_value(const Kit *kit, uint32_t i, uint32_t version, char *out);
/* The next batch, put and committed; now and then reads back what it has put. kit is the state
 * after it if the commit was OK, as it was before otherwise. A wrong read: ERR_ABORTED. */
MUST_USE ErrCode kit_batch(Kit *kit, Index *index, Err *err);
/* kit as it is after so many batches, without an index. */
void kit_replay(Kit *kit, uint32_t batches);
/* Number of batches in the index, by row 0. */
MUST_USE ErrCode kit_batches(IndexReader *reader, uint32_t *out, Err *err);
/* Everything in the index (as a cursor, seeks and gets of reader tell it) is what kit says, else
 * ERR_ABORTED. */
MUST_USE ErrCode kit_compare(const Kit *kit, IndexReader *reader, Err *err);
/* The same for whichever number of batches from least to most is there; *found, if not NULL, says
 * which. kit is left there. */
MUST_USE ErrCode kit_compare_range(Kit *kit, Index *index, uint32_t least, uint32_t most,
                                   uint32_t *found, Err *err);

#endif
