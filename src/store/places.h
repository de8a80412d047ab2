/* Places: where the newest entries of a shard stand in the log of this root, by lsn, so that a
 * member that lacks them can be given them. At most PLACES_MAX, the oldest go first; a place tells
 * nothing of whether the log was cut there since. Belongs to one thread (the core). */
#ifndef HOLDFAST_STORE_PLACES_H
#define HOLDFAST_STORE_PLACES_H

#include "format/frame.h"
#include "format/ids.h"

#define PLACES_MAX 4096

typedef struct {
    WalPos pos;
    uint32_t len; /* bytes of the payload */
} Place;

typedef struct {
    Place *items; /* a ring, of which lsn stands at lsn % capacity */
    size_t capacity;
    Lsn first; /* the oldest known; … */
    Lsn next;  /* … up to, but not, this one; equal: none */
} Places;

/* Of the entry behind the last one noted, or of any: then that is the first. */
void places_add(Places *places, Lsn lsn, Place place);
/* Entries above lsn are void. */
void places_cut(Places *places, Lsn lsn);
/* NULL: not known. */
const Place *places_at(const Places *places, Lsn lsn);
void places_deinit(Places *places);

#endif
