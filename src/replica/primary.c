/* The primary: entries out, acknowledgements in, commit (REPLICATION.md section 3): "commit =
 * min(durable lsn) over the maximal ISR, if it has ≥ min_isr members, and only for a prefix that
 * ends in an entry of the primary's own term." */
#include "replica/replica_priv.h"

/* An APPEND behind prev, whose hash is known, without entries yet. */
static Message *append_message(const Replica *r, uint32_t to, Lsn prev, const Sha256 *hash,
                               Effects *effects)
{
    Message *out = message_add(r, effects, MSG_APPEND, to);
    out->lsn = prev;
    out->lsn_hash = *hash;
    return out;
}

/* Sends peer `to` what it lacks, one message of it: from the window, or it is fetched first. */
static void send_entries(Replica *r, uint32_t to, Effects *effects)
{
    Peer *peer = &r->peers[to];
    if (!peer->linked || peer->fetching || peer->sent >= r->last_lsn) return;
    if (peer->sent + 1 < MAX(r->window_first, r->sendable)) {
        Effect *effect = effect_add(effects, EFFECT_FETCH);
        effect->root = peer->root;
        effect->lsn = peer->sent + 1;
        peer->fetching = true;
        return;
    }
    const Sha256 *hash = replica_hash_at(r, peer->sent);
    ASSERT(hash != NULL);
    Message *out = append_message(r, to, peer->sent, hash, effects);
    while (out->entry_count < REPLICA_SEND_MAX && peer->sent < r->last_lsn) {
        out->entries[out->entry_count++] = *replica_window_at(r, ++peer->sent);
    }
}

void replica_on_fetched(Replica *r, const Event *event, Effects *effects)
{
    uint32_t to = replica_peer_of(r, event->root);
    if (!replica_is_leading(r) || to == PEERS_MAX || !r->peers[to].fetching) return;
    Peer *peer = &r->peers[to];
    peer->fetching = false;
    if (event->tail_count == 0) { /* "else by a fuzzy snapshot" */
        /* "L0 pins a bounded log; if it overruns, start again." */
        if (peer->sent >= peer->seed_lsn) peer->seed_lsn = 0;
        replica_begin_snapshot(r, to, effects);
        return;
    }
    if (event->tail[0].lsn != peer->sent + 1) return; /* it went on from elsewhere meanwhile */
    Message *out = append_message(r, to, peer->sent, &event->tail[0].prev_hash, effects);
    for (uint32_t i = 0; i < MIN(event->tail_count, REPLICA_SEND_MAX); i++) {
        out->entries[out->entry_count++] = event->tail[i];
        peer->sent++;
    }
}

void replica_advance_commit(Replica *r, Effects *effects)
{
    if (!replica_is_leading(r) || r->start_lsn == 0) return;
    PeerMask required = replica_required(r);
    bool enough = replica_reaches(r, required) || replica_bug(r, REPLICA_BUG_NO_MIN_ISR);
    if (!enough) return; /* I2 */
    Lsn lowest = r->durable_lsn;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        if ((required >> i & 1) != 0) lowest = MIN(lowest, r->peers[i].durable);
    }
    /* Only a prefix that ends in an entry of the own term; all from START on are. */
    bool own = lowest >= r->start_lsn;
    if (!own && !replica_bug(r, REPLICA_BUG_NO_OWN_TERM)) return;
    replica_set_commit(r, lowest, effects);
    if (r->role == ROLE_STARTING && own) {
        replica_set_role(r, ROLE_PRIMARY, effects);
        replica_begin_term(r, effects);
    }
    replica_settle_configs(r, effects);
}

/* START: what is known of the others counts from now. */
static void begin_sending(Replica *r)
{
    r->start_lsn = r->last_lsn;
    r->start_wanted = false;
    r->active_ns = r->now_ns;
    r->row_uid = r->config.cfg_uid;
    r->row_differs = false;
    r->row_unknown = false;
    r->cas = CAS_NONE;
    r->fence_config = (LogConfig){0};
    replica_peers_rebuild(r);
    for (uint32_t i = 1; i < r->peer_count; i++) {
        Peer *peer = &r->peers[i];
        peer->heard_ns = r->now_ns;
        peer->progress_ns = r->now_ns;
    }
}

void replica_on_append(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(replica_can_append(r) || event->entry.is_config); /* I8: not before the fence quorum */
    ASSERT(replica_is_leading(r));
    ASSERT(event->entry.term == r->term);
    ASSERT(event->entry.is_start == (r->role == ROLE_STARTING));
    replica_window_add(r, &event->entry);
    if (event->entry.is_start) begin_sending(r);
    if (event->entry.is_config) {
        ASSERT(r->config_wanted);
        r->config_wanted = false;
    }
    Effect *effect = effect_add(effects, EFFECT_STORE_ENTRIES);
    effect->entries = &event->entry;
    effect->entry_count = 1;
    for (uint32_t i = 1; i < r->peer_count; i++)
        send_entries(r, i, effects);
}

void replica_link(Replica *r, uint32_t from, const Message *in, Effects *effects)
{
    Peer *peer = &r->peers[from];
    const Sha256 *mine = replica_hash_at(r, in->lsn);
    bool ours = mine != NULL && sha256_eq(mine, &in->lsn_hash);
    peer->linked = true;
    peer->fetching = false;
    peer->matched = ours ? in->lsn : MIN(in->commit_lsn, r->last_lsn);
    peer->sent = peer->matched;
    if (replica_is_leading(r)) send_entries(r, from, effects); /* else with START */
}

void replica_on_appended(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (from == PEERS_MAX) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term != r->term || in->lsn > r->last_lsn || !replica_is_leading(r)) return;
    Peer *peer = &r->peers[from];
    peer->heard_ns = r->now_ns;
    peer->unsound = in->unsound;
    peer->linked = true;
    if (in->lsn > peer->durable) peer->progress_ns = r->now_ns;
    /* What it has before it is seeded anew is gone then, and its word may come later (I9;
     * docs/decisions/0012): it counts from what it says as a whole one. */
    peer->durable = in->unsound ? 0 : MAX(peer->durable, in->lsn);
    peer->commit = MAX(peer->commit, in->commit_lsn);
    peer->matched = MAX(peer->matched, in->lsn);
    peer->sent = MAX(peer->sent, peer->matched);
    send_entries(r, from, effects);
    replica_advance_commit(r, effects);
}

/* No answer since the last tick: the message or its answer was lost. */
static void repeat(Replica *r, uint32_t to, Effects *effects)
{
    Peer *peer = &r->peers[to];
    if (peer->unsound && peer->seed_lsn == 0) { /* SUSPECT, or another's snapshot ended halfway */
        replica_begin_snapshot(r, to, effects);
        return;
    }
    bool stands_still = peer->durable < r->last_lsn && peer->durable == peer->tick_durable;
    peer->tick_durable = peer->durable;
    if (stands_still && peer->linked && peer->matched < r->last_lsn) {
        peer->sent = peer->matched;
        peer->fetching = false;
        send_entries(r, to, effects);
    } else if (stands_still || peer->commit < r->commit_lsn) {
        append_message(r, to, r->last_lsn, &r->last_hash, effects); /* it asks and tells */
    }
}

void replica_tick_primary(Replica *r, const Event *event, Effects *effects)
{
    if (r->start_lsn == 0) return;
    if (r->sync_age_ns >
        REPLICA_DROP_NS) { /* our own disk is stuck; before anything is asked for */
        replica_hand_over(r, (Uuid){{0}}, effects);
        if (!replica_is_leading(r)) return;
    }
    for (uint32_t i = 1; i < r->peer_count; i++) {
        Message *out = message_add(r, effects, MSG_HEARTBEAT, i);
        out->sent_ns = r->now_ns;
        repeat(r, i, effects);
    }
    replica_note_health(r);
    replica_advance_commit(r, effects); /* one that was required may be so no more */
    replica_tick_configs(r, event->new_cfg_uid, effects);
}
