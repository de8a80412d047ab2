/* Placement: which shard a file belongs to, and what a placement class promises. A class is a set
 * of rules that buckets share: how many copies, how many of them a write waits for. It is fixed in
 * number and shard_count for as long as it exists; the rest may be changed. Pure: no I/O, clock,
 * random number, thread or malloc; any thread. */
#ifndef HOLDFAST_PLACE_PLACE_H
#define HOLDFAST_PLACE_PLACE_H

#include "format/bucket.h"
#include "format/config_entry.h"
#include "format/ids.h"

/* Buckets, identities, settings: one shard, which every node reads. */
#define PLACE_CLASS_SYSTEM 0
#define PLACE_CLASS_STANDARD 1  /* "standard": buckets that name no class */
#define PLACE_SHARDS_DEFAULT 64 /* of a class made without a number */
#define PLACE_SHARDS_MAX (SHARD_NUMBER_MAX + 1)
#define PLACE_COPIES_MAX MEMBERS_MAX

typedef struct {
    uint8_t number;       /* 0..15; PLACE_CLASS_… */
    uint16_t shard_count; /* 1..4096, one for the system's; never changes: keys hash to it */
    uint8_t copies;       /* members of each shard, 1..9 */
    uint8_t min_isr;      /* copies that must have a write before it counts, 1..copies */
    PlaceMode mode;       /* of new buckets; each can be told otherwise, like */
    PlaceRequire require;
} PlacementClass;

/* The class of that number (0..15) as it is unless somebody says more: 64 shards (the system's:
 * one), synchronous, in-sync set, default min_isr of copies (1..9). */
PlacementClass placement_class_default(uint8_t number, uint8_t copies);
/* copies / 2 + 1: two of three, so that any two sets of that size share a copy. copies: 1..9. */
uint8_t place_min_isr_default(uint8_t copies);
/* ERR_CONFIG, naming the field, unless class keeps the rules above. */
MUST_USE ErrCode placement_class_check(const PlacementClass *class, Err *err);
/* More than one copy and yet no quorum behind a write, as with two copies or min_isr 1: a fence
 * and a commit set may miss each other. Allowed; status says so. */
bool placement_class_is_weak(const PlacementClass *class);
/* "standard" of class 1, "system" of class 0, else NULL: named by whoever made it. */
const char *placement_class_name(uint8_t number);

/* The shard of a file: the same for ever, on every machine (format/ids.h, shard_of_key()). class is
 * valid; key: 1..1024 bytes. */
ShardId place_shard_of(const PlacementClass *class, BucketUid bucket, Str key);

#endif
