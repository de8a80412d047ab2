/* CONFIG: who keeps a shard. Payload of ATTR_CONFIG in CONFIG entries, of control.json's rows and
 * of ReplicaState.config. Pure. */
#ifndef HOLDFAST_FORMAT_CONFIG_ENTRY_H
#define HOLDFAST_FORMAT_CONFIG_ENTRY_H

#include "format/ids.h"

#define MEMBERS_MAX 9
#define SHARD_CONFIG_LEN_MAX 1024 /* bytes of one, encoded; there is room */

typedef struct {
    Uuid root;
    uint64_t incarnation;
} Member;

typedef struct {
    Uuid cfg_uid; /* random; the compare-and-swap is on this, never on a number */
    Uuid parent_uid;
    uint64_t version;
    Term term;
    uint32_t min_isr;
    uint32_t member_count;
    Member members[MEMBERS_MAX];
    uint32_t learner_count;
    Member learners[MEMBERS_MAX];
    uint16_t isr;     /* bit i: members[i] is in sync */
    uint16_t elr;     /* bit i: members[i] may be elected though not in sync */
    uint16_t primary; /* index into members; MEMBERS_MAX: none */
    uint64_t unclean_epoch;
} ShardConfig;

/* Do the fields agree with each other: counts, min_isr, bits of isr and elr, primary, no root
 * twice? Decoding asks the same. ERR_CORRUPT. */
MUST_USE ErrCode shard_config_check(const ShardConfig *config, Err *err);
void shard_config_encode(const ShardConfig *config, Enc *enc);
MUST_USE ErrCode shard_config_decode(Str data, ShardConfig *out, Err *err);

#endif
