#include "replica/replica_priv.h"

/* The tail is in memory again, with its lineage: behind the known commit it may have to be cut. */
static void take_tail(Replica *r, const Event *event)
{
    const ReplicaState *state = event->state;
    r->window_first = state->last_lsn + 1;
    r->base_term = state->last_term;
    uint32_t skip = event->tail_count > REPLICA_WINDOW ? event->tail_count - REPLICA_WINDOW : 0;
    for (uint32_t i = skip; i < event->tail_count; i++) {
        const LogEntry *entry = &event->tail[i];
        if (i == skip) {
            r->window_first = entry->lsn;
            r->base_term = i == 0 ? event->tail_prev_term : event->tail[i - 1].term;
        }
        ASSERT(entry->lsn == r->window_first + (i - skip));
        r->window[entry->lsn % REPLICA_WINDOW] = *entry;
        if (i + 1 == event->tail_count) ASSERT(entry->lsn == state->last_lsn);
    }
    for (uint32_t i = 0; i < event->config_count; i++) {
        const LogConfig *config = &event->configs[i];
        replica_configs_add(r, config->lsn, config->term, &config->config);
    }
}

/* Promises are not durable: for a time none of a higher term gets an answer. Of the only member no
 * promise can be out but to itself, and that one died with its process. */
static void begin_grace(Replica *r, const Event *event)
{
    const LogConfig *config = replica_log_config(r);
    bool alone = event->config->member_count == 1 &&
                 (config == NULL || config->config.member_count == 1);
    if (event->no_grace || alone || replica_bug(r, REPLICA_BUG_NO_GRACE)) return;
    r->grace_until_ns = event->now_ns + REPLICA_GRACE_NS;
}

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
    r->state_asked_term = r->term;
    r->last_lsn = state->last_lsn;
    r->last_term = state->last_term;
    r->last_hash = state->last_hash;
    r->durable_lsn = state->last_lsn;
    r->commit_lsn = state->commit_lsn;
    r->told_commit = state->commit_lsn;
    take_tail(r, event);
    r->suspect = event->suspect;
    r->incomplete = event->incomplete &&
                    (event->complete_lsn == 0 || state->last_lsn < event->complete_lsn);
    r->complete_lsn = event->complete_lsn == 0 ? UINT64_MAX : event->complete_lsn;
    r->reset_durable = true;
    begin_grace(r, event);
    replica_set_config(r, event->config, effects);
}
