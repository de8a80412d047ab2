/* Who is to leave the ISR and who may join it (REPLICATION.md 4 and 5): "a member is dropped after
 * 2 s of silence or of sync age"; "slow members (p99 sync > 10 × the median of their peers and >
 * 100 ms, for 10 s) are dropped like dead ones while |isr| > min_isr, with hysteresis"; a member is
 * caught up "when its durable lsn ≥ commit and its lag < one batch for 1 s". */
#include "replica/replica_priv.h"

/* Median p99 of all members but i, ourselves included; 0: there are no others. */
static uint64_t median_of_others(const Replica *r, PeerMask isr, uint32_t but)
{
    uint64_t sorted[PEERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        if (i == but || (isr >> i & 1) == 0) continue;
        uint64_t p99 = i == 0 ? r->sync_p99_ns : r->peers[i].sync_p99_ns;
        uint32_t at = count++;
        for (; at > 0 && sorted[at - 1] > p99; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = p99;
    }
    return count == 0 ? 0 : sorted[count / 2];
}

/* `slow` follows what is measured only after REPLICA_SLOW_NS of it; back it takes a third. */
static void note_speed(Replica *r, PeerMask isr, uint32_t i)
{
    Peer *peer = &r->peers[i];
    uint64_t median = median_of_others(r, isr, i);
    uint64_t limit = MAX(10 * median, REPLICA_SLOW_SYNC_NS);
    if (peer->slow) limit = MAX(3 * median, REPLICA_SLOW_SYNC_NS / 3);
    bool is_slow = peer->sync_p99_ns > limit;
    if (is_slow == peer->slow) {
        peer->slow_since_ns = 0;
    } else if (peer->slow_since_ns == 0) {
        peer->slow_since_ns = r->now_ns;
    } else if (r->now_ns - peer->slow_since_ns >= REPLICA_SLOW_NS) {
        peer->slow = is_slow;
        peer->slow_since_ns = 0;
    }
}

static bool is_dead(const Replica *r, const Peer *peer)
{
    return r->now_ns - peer->heard_ns > REPLICA_DROP_NS || peer->sync_age_ns > REPLICA_DROP_NS ||
           r->now_ns - peer->progress_ns > REPLICA_DROP_NS || peer->unsound;
}

/* Members that are not in sync: of the row or of the log's last CONFIG. One that only the log names
 * can't be in the row's isr yet, but its acks are needed to commit that CONFIG. */
static PeerMask mask_of_outsiders(const Replica *r, PeerMask isr)
{
    PeerMask members = r->quorums[QUORUM_ROW].members | r->quorums[QUORUM_LOG].members;
    return members & ~isr & ~PEER_SELF;
}

/* "First require its acks, then CAS": while it is only near, the commit may run ahead of it for
 * ever; once it is required, that waits. */
static void note_adding(const Replica *r, Peer *peer, bool outside)
{
    bool near = peer->caught_up_ns != 0 && r->now_ns - peer->caught_up_ns >= REPLICA_CAUGHT_UP_NS;
    bool may = outside && near && !peer->slow && !is_dead(r, peer);
    if (may && !peer->adding) peer->adding_ns = r->now_ns;
    peer->adding = may;
    if (may && r->now_ns - peer->adding_ns > REPLICA_DROP_NS && peer->durable < r->commit_lsn) {
        peer->adding = false;
        peer->caught_up_ns = 0;
    }
}

void replica_note_health(Replica *r)
{
    PeerMask isr = replica_mask(r, &r->config, r->config.isr);
    for (uint32_t i = 1; i < r->peer_count; i++) {
        Peer *peer = &r->peers[i];
        if (peer->durable >= r->last_lsn) peer->progress_ns = r->now_ns;
        note_speed(r, isr, i);
        bool near = r->last_lsn - peer->durable < REPLICA_SEND_MAX && !peer->unsound &&
                    r->now_ns - peer->heard_ns < REPLICA_LEASE_NS;
        if (!near)
            peer->caught_up_ns = 0;
        else if (peer->caught_up_ns == 0)
            peer->caught_up_ns = r->now_ns;
        note_adding(r, peer, (mask_of_outsiders(r, isr) >> i & 1) != 0);
    }
}

PeerMask replica_to_drop(const Replica *r)
{
    PeerMask isr = replica_mask(r, &r->config, r->config.isr);
    uint32_t left = peer_count_of(isr);
    PeerMask drop = 0;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        if ((isr >> i & 1) == 0) continue;
        bool slow = r->peers[i].slow && left > r->config.min_isr;
        if (!is_dead(r, &r->peers[i]) && !slow) continue;
        drop |= (PeerMask)1 << i;
        left--;
    }
    return drop;
}

PeerMask replica_to_add(const Replica *r)
{
    PeerMask isr = replica_mask(r, &r->config, r->config.isr);
    PeerMask outsiders = mask_of_outsiders(r, isr);
    bool too_few = peer_count_of(isr) < r->config.min_isr;
    PeerMask add = 0;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        const Peer *peer = &r->peers[i];
        if ((outsiders >> i & 1) == 0) continue;
        bool ready = peer->adding && peer->durable >= r->commit_lsn;
        /* "Answerers of a fence that were made equal by lineage": START waits for them. */
        bool at_rest = peer->sync_age_ns > REPLICA_DROP_NS; /* it would be dropped again */
        if (too_few && !at_rest && peer->caught_up_ns != 0 && peer->durable == r->last_lsn)
            ready = true;
        if (ready || replica_bug(r, REPLICA_BUG_ADD_BEHIND)) add |= (PeerMask)1 << i;
    }
    return add;
}
