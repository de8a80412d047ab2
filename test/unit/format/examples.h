/* One fixed example of every structure of src/format, encoded: what golden files hold, what the
 * fuzz corpora begin with, and what the tests damage. The values are arbitrary and never change. */
#ifndef HOLDFAST_TEST_UNIT_FORMAT_EXAMPLES_H
#define HOLDFAST_TEST_UNIT_FORMAT_EXAMPLES_H

#include "base/codec.h"
#include "format/entry.h"

#define EXAMPLE_MAX 8192 /* encoded bytes */

typedef struct {
    const char *name;   /* of the golden file */
    const char *corpus; /* fuzz target that begins with it */
    void (*encode)(Enc *enc);
    bool (*check)(Str data); /* of format_checks.h */
    bool block;   /* 4096 bytes with a CRC at the end: kept without the zeros before it */
    bool guarded; /* a checksum covers every byte: any changed byte is noticed */
} Example;

extern const Example examples[];
extern const size_t example_count;

/* 16 bytes: first, first + 1, … */
Id128 example_id(uint8_t first);
/* SHA-256 of the one byte. */
Sha256 example_digest(uint8_t byte);
/* A sealed CREATE of the body "hello, world\n", key "docs/a.txt", content type, in shard 1/5. Its
 * views are static. */
Entry example_create(void);
/* A sealed UPDATE with two extents, without a digest of the whole. */
Entry example_update(void);
/* A sealed DELETE of one version. */
Entry example_delete(void);

#endif
