/* A node with a bucket "box", for the tests of what a bucket keeps. What cannot be had fails the
 * test. */
#ifndef HOLDFAST_TEST_UNIT_SERVICE_BOX_KIT_H
#define HOLDFAST_TEST_UNIT_SERVICE_BOX_KIT_H

#include "node_fixture.h"

#define BOX STR("box")

/* The bucket's number in the node. */
BucketUid box_uid(NodeFixture *f);
/* Makes the bucket, or sets whether it keeps versions. */
ErrCode box_set(NodeFixture *f, Versioning versioning);
/* A PUT of body to key, for node_kit_do(); both stay the caller's. */
void box_put_init(Mutation *m, const char *key, const char *body);
/* version zero: the file. *marker (may be NULL): the delete marker, or zero. */
ErrCode box_drop(NodeFixture *f, const char *key, VersionId version, VersionId *marker);
/* The current body of key; want NULL: there is none. */
void box_expect(NodeFixture *f, const char *key, const char *want);
/* As after kill -9, and without the index if it is lost. */
void box_reopen(NodeFixture *f, bool lose_index);

/* The same from the log, from the index, after a crash, and from packs alone. */
#define EVERYWHERE(f, checks)                                                                      \
    do {                                                                                           \
        checks;                                                                                    \
        box_reopen(f, false); /* replayed */                                                       \
        checks;                                                                                    \
        node_fixture_apply(f);                                                                     \
        checks;                                                                                    \
        box_reopen(f, true); /* made again */                                                      \
        checks;                                                                                    \
    } while (0)

#endif
