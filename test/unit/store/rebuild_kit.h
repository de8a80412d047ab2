/* A Store on the simulated disk that is given entries of any kind, also those that no door makes
 * yet: versions, delete markers, META. One root, all shards its own: what is logged is committed.
 */
#ifndef HOLDFAST_TEST_UNIT_STORE_REBUILD_KIT_H
#define HOLDFAST_TEST_UNIT_STORE_REBUILD_KIT_H

#include "disk/sim.h"
#include "store/store.h"

#define KIT_SHARDS 4
#define KIT_BUCKETS 3
#define KIT_KEYS 6
#define KIT_VERSIONS 64

typedef struct {
    Disk *disk;
    Rng rng;
    ManualClock clock;
    RootInfo root;
    Store *store;
    StoreOpened opened;
    struct {
        Lsn lsn;
        Sha256 hash;
        Term term;
    } tail[KIT_SHARDS];
    struct {
        FileId file; /* zero: absent */
        VersionId versions[KIT_VERSIONS];
        unsigned count;
    } names[KIT_BUCKETS][KIT_KEYS];
    BucketUid uids[KIT_BUCKETS];
} RebuildKit;

void rebuild_kit_init(RebuildKit *kit, uint64_t seed);
void rebuild_kit_deinit(RebuildKit *kit);
/* Opens and commits what the log gives. */
MUST_USE ErrCode rebuild_kit_open(RebuildKit *kit, Err *err);
/* As kill -9, or a loss of power. */
void rebuild_kit_stop(RebuildKit *kit, bool power);
/* A change by chance, logged and committed. */
MUST_USE ErrCode rebuild_kit_change(RebuildKit *kit, Err *err);
MUST_USE ErrCode rebuild_kit_apply(RebuildKit *kit, size_t max, Err *err);
/* All rows of index.db on disk: key and value with their lengths. Nothing may be open. garbage:
 * with those of extents to unlink, which a loss of power may bring back. */
void rebuild_kit_dump(Disk *disk, bool garbage, Buf *out);
RebuildOptions rebuild_kit_options(RebuildKit *kit);

#endif
