#include "control/control.h"

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "control/control_priv.h"

#define RAISES_MAX 10000 /* durable changes to make up for a control store that was lost */

void control_free(Control *control)
{
    if (control != NULL) control->ops->free(control);
}

ErrCode control_get(Control *control, ShardId shard, ShardConfig *out, bool *found, Err *err)
{
    return control->ops->get(control, shard, out, found, err);
}

ErrCode control_cas(Control *control, const ControlShard *rows, size_t count, Err *err)
{
    ASSERT(count > 0);
    return control->ops->cas(control, rows, count, err);
}

ErrCode control_register_root(Control *control, Uuid root, uint64_t *incarnation, Err *err)
{
    ASSERT(!id128_is_zero(root));
    return control->ops->register_root(control, root, incarnation, err);
}

ErrCode control_raise_root(Control *control, Uuid root, uint64_t known, uint64_t *incarnation,
                           Err *err)
{
    uint64_t raised = 0;
    TRY(control_register_root(control, root, &raised, err));
    if (raised <= known && known - raised > RAISES_MAX) {
        return err_set(err, ERR_CORRUPT,
                       "the control store has this root in incarnation %" PRIu64
                       ", its own files in %" PRIu64,
                       raised, known);
    }
    while (raised <= known)
        TRY(control_register_root(control, root, &raised, err));
    *incarnation = raised;
    return OK;
}

ErrCode control_set_verdict(Control *control, Uuid root, RootVerdict verdict, Err *err)
{
    return control->ops->set_verdict(control, root, verdict, err);
}

ErrCode control_list_roots(Control *control, ControlRoot *out, size_t max, size_t *count, Err *err)
{
    return control->ops->list_roots(control, out, max, count, err);
}

ErrCode control_each_shard(Control *control,
                           ErrCode (*fn)(void *ctx, const ControlShard *row, Err *err), void *ctx,
                           Err *err)
{
    return control->ops->each_shard(control, fn, ctx, err);
}

/* A uid for the row that follows `config` when root starts its life number incarnation: nobody
 * else makes that change of that row, so it need not be random. */
static Uuid next_uid(const ShardConfig *config, Uuid root, uint64_t incarnation)
{
    uint8_t bytes[2 * sizeof(Uuid) + sizeof incarnation];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_bytes(&enc, config->cfg_uid.bytes, sizeof config->cfg_uid.bytes);
    enc_bytes(&enc, root.bytes, sizeof root.bytes);
    enc_u64(&enc, incarnation);
    Sha256 digest = sha256_of(bytes, enc.len);
    Uuid uid;
    memcpy(uid.bytes, digest.bytes, sizeof uid.bytes);
    return uid;
}

/* A row that names root as member or learner follows its new incarnation: alone in sync it stays
 * so, beside others it must be found caught up again (REPLICATION.md section 1). It is another row
 * then: who still acts under the old one can't change it. */
void control_follow_incarnation(ShardConfig *config, Uuid root, uint64_t incarnation)
{
    bool named = false;
    for (uint32_t i = 0; i < config->learner_count; i++) {
        if (!id128_eq(config->learners[i].root, root)) continue;
        config->learners[i].incarnation = incarnation;
        named = true;
    }
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (!id128_eq(config->members[i].root, root)) continue;
        config->members[i].incarnation = incarnation;
        named = true;
        uint16_t others = (uint16_t) ~(1u << i);
        if ((config->isr & others) == 0) continue;
        config->isr &= others;
        config->elr &= others;
    }
    if (!named) return;
    config->parent_uid = config->cfg_uid;
    config->cfg_uid = next_uid(config, root, incarnation);
    config->version++;
}
