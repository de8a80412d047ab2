#include "control/control.h"

#include <inttypes.h>

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
