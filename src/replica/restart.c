#include "replica/replica_priv.h"

/* EVENT_RESTART: the log was read and its tail synced. The tail stays pending: nothing above the
 * known commit is read or applied until a START of a new term commits it (REPLICATION.md 3). */
void replica_on_restart(Replica *r, const Event *event, Effects *effects)
{
    const ReplicaState *state = event->state;
    ASSERT(state->shard == r->shard);
    ASSERT(state->commit_lsn <= state->last_lsn); /* the store refuses to open such a log (I5) */
    ASSERT(state->applied_lsn <= state->commit_lsn);
    r->restarted = true;
    r->term = state->max_term;
    r->voted_for = state->voted_for;
    if (state->last_term > r->term) { /* the term is known by an entry: no vote was cast in it */
        r->term = state->last_term;
        r->voted_for = (Uuid){{0}};
    }
    r->state_durable_term = r->term;
    r->state_durable_vote = r->voted_for;
    r->last_lsn = state->last_lsn;
    r->last_term = state->last_term;
    r->last_hash = state->last_hash;
    r->durable_lsn = state->last_lsn;
    r->commit_lsn = state->commit_lsn;
    r->told_commit = state->commit_lsn;
    r->config_lsn = state->config_lsn;
    r->window_first = state->last_lsn + 1;
    replica_set_config(r, event->config, effects);
}
