/* The newest entries of the log, whose lineage is known, and the CONFIGs among them. */
#include <string.h>

#include "replica/replica_priv.h"

const LogEntry *replica_window_at(const Replica *r, Lsn lsn)
{
    if (lsn < r->window_first || lsn > r->last_lsn) return NULL;
    return &r->window[lsn % REPLICA_WINDOW];
}

const Sha256 *replica_hash_at(const Replica *r, Lsn lsn)
{
    static const Sha256 before_first = {{0}};
    if (lsn == 0) return &before_first;
    if (lsn == r->last_lsn) return &r->last_hash;
    const LogEntry *entry = replica_window_at(r, lsn);
    if (entry != NULL) return &entry->hash;
    const LogEntry *next = replica_window_at(r, lsn + 1);
    return next == NULL ? NULL : &next->prev_hash;
}

Term replica_term_at(const Replica *r, Lsn lsn)
{
    const LogEntry *entry = replica_window_at(r, lsn);
    if (entry != NULL) return entry->term;
    return lsn + 1 == r->window_first ? r->base_term : 0;
}

void replica_configs_add(Replica *r, Lsn lsn, Term term, const ShardConfig *config)
{
    if (r->config_count == REPLICA_CONFIGS_KEPT) {
        memmove(&r->configs[0], &r->configs[1], (REPLICA_CONFIGS_KEPT - 1) * sizeof r->configs[0]);
        r->config_count--;
    }
    r->configs[r->config_count++] = (LogConfig){.lsn = lsn, .term = term, .config = *config};
}

const LogConfig *replica_log_config(const Replica *r)
{
    return r->config_count == 0 ? NULL : &r->configs[r->config_count - 1];
}

Lsn replica_config_lsn(const Replica *r)
{
    return r->config_count == 0 ? 0 : r->configs[r->config_count - 1].lsn;
}

bool replica_config_pending(const Replica *r)
{
    return replica_config_lsn(r) > r->commit_lsn;
}

void replica_window_add(Replica *r, const LogEntry *entry)
{
    ASSERT(entry->lsn == r->last_lsn + 1);
    ASSERT(sha256_eq(&entry->prev_hash, &r->last_hash) ||
           replica_bug(r, REPLICA_BUG_CUT_BY_LENGTH));
    ASSERT(entry->term >= r->last_term || replica_bug(r, REPLICA_BUG_CUT_BY_LENGTH));
    if (r->last_lsn + 1 - r->window_first == REPLICA_WINDOW) {
        r->base_term = r->window[r->window_first % REPLICA_WINDOW].term;
        r->window_first++;
    }
    r->window[entry->lsn % REPLICA_WINDOW] = *entry;
    r->last_lsn = entry->lsn;
    r->last_term = entry->term;
    r->last_hash = entry->hash;
    if (!entry->is_config) return;
    ASSERT(entry->config != NULL);
    replica_configs_add(r, entry->lsn, entry->term, entry->config);
    replica_peers_rebuild(r);
}

/* REPLICATION.md 7: by lineage only, which the caller found out, and never below the known commit.
 */
void replica_truncate(Replica *r, Lsn lsn, Effects *effects)
{
    ASSERT(lsn >= r->commit_lsn && lsn < r->last_lsn); /* I5 */
    const Sha256 *hash = replica_hash_at(r, lsn);
    ASSERT(hash != NULL && lsn + 1 >= r->window_first);
    Effect *effect = effect_add(effects, EFFECT_TRUNCATE);
    effect->lsn = lsn;
    effect->hash = *hash;
    r->last_term = replica_term_at(r, lsn);
    effect->term = r->last_term;
    r->last_hash = effect->hash;
    r->last_lsn = lsn;
    r->sendable = MIN(r->sendable, lsn + 1);
    r->durable_lsn = MIN(r->durable_lsn, lsn);
    r->matched_lsn = MIN(r->matched_lsn, lsn);
    r->acked_lsn = MIN(r->acked_lsn, lsn);
    r->cuts++;
    bool cut_config = false;
    while (replica_config_lsn(r) > lsn) {
        r->config_count--;
        cut_config = true;
    }
    if (cut_config) replica_peers_rebuild(r);
}

bool replica_up_to_date(Term a_term, Lsn a_lsn, Term b_term, Lsn b_lsn)
{
    if (a_term != b_term) return a_term > b_term;
    return a_lsn >= b_lsn;
}
