/* SNAPSHOT (REPLICATION.md 5): "else by a fuzzy snapshot: note lsn L0, stream key ranges in short
 * transactions with their bodies, skip what vanished, replay from L0 comparing lsn per row;
 * INCOMPLETE (no vote, ack or read) until past the lsn at which the stream ended." The stream
 * itself is the drivers' affair. */
#include "replica/replica_priv.h"

/* L0 is our commit, or the one that the member knows: below that it does not begin anew (I5), and
 * before our START is committed we may not know of it. */
void replica_begin_snapshot(Replica *r, uint32_t to, Effects *effects)
{
    Peer *peer = &r->peers[to];
    Lsn base = MAX(r->commit_lsn, MIN(peer->commit, r->last_lsn));
    const Sha256 *hash = replica_hash_at(r, base);
    Term term = replica_term_at(r, base);
    if (!replica_is_leading(r) || hash == NULL || term == 0) return; /* later: it asks again */
    /* One that is SUSPECT goes on following: what it commits meanwhile ends the offer (I5). */
    bool again = peer->seed_lsn != 0 && peer->seed_lsn >= peer->commit &&
                 peer->seed_lsn + REPLICA_WINDOW / 2 > r->last_lsn &&
                 replica_hash_at(r, peer->seed_lsn) != NULL &&
                 replica_term_at(r, peer->seed_lsn) != 0;
    if (again) {
        base = peer->seed_lsn;
        hash = replica_hash_at(r, base);
        term = replica_term_at(r, base);
    }
    Message *out = message_add(r, effects, MSG_SNAPSHOT, to);
    out->lsn = base;
    out->lsn_hash = *hash;
    out->lsn_term = term;
    out->config_lsn = 0;
    for (uint32_t i = 0; i < r->config_count; i++) {
        if (r->configs[i].lsn > base) break;
        out->config_lsn = r->configs[i].lsn;
        out->config_term = r->configs[i].term;
        out->config = r->configs[i].config;
    }
    peer->linked = true;
    peer->fetching = false;
    peer->seed_lsn = base;
    peer->matched = base;
    peer->sent = base;
    if (again) return; /* the stream is under way, only its announcement was lost */
    Effect *effect = effect_add(effects, EFFECT_SNAPSHOT);
    effect->root = peer->root;
    effect->lsn = base;
}

static void begin_anew(Replica *r, const Message *in, Effects *effects)
{
    Effect *effect = effect_add(effects, EFFECT_RESET);
    effect->lsn = in->lsn;
    effect->term = in->lsn_term;
    effect->hash = in->lsn_hash;
    effect->config_lsn = in->config_lsn;
    if (in->config_lsn != 0) effect->config = in->config;
    r->cuts++;
    r->fence_owed = false; /* the vote stays given, but it is not told: I9 */
    r->incomplete = true;
    r->reset_durable = false;
    r->complete_lsn = UINT64_MAX;
    r->seed_lsn = in->lsn;
    r->seed_term = in->term;
    r->last_lsn = in->lsn;
    r->last_term = in->lsn_term;
    r->last_hash = in->lsn_hash;
    r->durable_lsn = in->lsn;
    r->commit_lsn = in->lsn;
    r->matched_lsn = in->lsn;
    r->acked_lsn = 0;
    r->told_commit = MAX(r->told_commit, in->commit_lsn);
    r->window_first = in->lsn + 1;
    r->sendable = in->lsn + 1;
    r->base_term = in->lsn_term;
    r->config_count = 0;
    if (in->config_lsn != 0) replica_configs_add(r, in->config_lsn, in->config_term, &in->config);
    replica_peers_rebuild(r);
    replica_set_role(r, ROLE_INCOMPLETE, effects);
}

/* The base is in our log: what the primary has behind it is all that we need. Our tail may be
 * another, so we say what we share, not where we end. */
static void is_here(Replica *r, const Message *in, Effects *effects)
{
    r->primary = in->from;
    r->primary_incarnation = in->from_incarnation;
    r->matched_lsn = MAX(r->matched_lsn, in->lsn);
    r->told_commit = MAX(r->told_commit, in->commit_lsn);
    replica_commit_told(r, effects);
    replica_acknowledge(r, effects);
}

void replica_on_snapshot(Replica *r, const Message *in, Effects *effects)
{
    if (in->term == 0 || in->lsn_term > in->term || !replica_follow(r, in, effects)) return;
    bool under_way = r->incomplete && r->seed_lsn == in->lsn && r->seed_term == in->term;
    const Sha256 *mine = replica_hash_at(r, in->lsn);
    bool here = mine != NULL && sha256_eq(mine, &in->lsn_hash) && replica_is_sound(r);
    if (here && !under_way) {
        is_here(r, in, effects);
        return;
    }
    if (!under_way && in->lsn >= r->commit_lsn) begin_anew(r, in, effects); /* I5 */
    message_tell(r, effects, MSG_MISMATCH, in); /* where we stand: all set */
}

/* Not before all up to there is known to be committed here: what is durable of a tail may be
 * another than the stream's, until its primary has shown that it is not. */
void replica_try_complete(Replica *r, Effects *effects)
{
    if (!r->incomplete || !r->reset_durable || r->complete_lsn > r->commit_lsn) return;
    r->incomplete = false;
    r->suspect = false;
    replica_set_role(r, r->is_member ? ROLE_FOLLOWER : ROLE_LEARNER, effects);
    replica_store_state(r, effects);
}

void replica_on_snapshot_stored(Replica *r, const Event *event, Effects *effects)
{
    if (!r->incomplete || event->cuts != r->cuts) return; /* of a stream that was begun again */
    r->complete_lsn = event->lsn;
    replica_try_complete(r, effects);
}
