/* HEARTBEAT and PROMISE (REPLICATION.md 4): "The primary serves a read while it holds unexpired
 * promises from ≥ min_isr members, itself included; a promise means 'I answer no higher fence
 * before it expires'. … Leases count on CLOCK_BOOTTIME, the sender from its send time, the granter
 * from its receive time." */
#include "replica/replica_priv.h"

bool replica_is_promised(const Replica *r, Uuid root)
{
    return r->now_ns < r->promise_until_ns && !id128_eq(r->promise_to, root);
}

/* Members promise; learners, and whoever counts for nothing, only answer. */
void replica_on_heartbeat(Replica *r, const Message *in, Effects *effects)
{
    if (in->term == 0 || !replica_follow(r, in, effects)) return;
    bool granted = (r->role == ROLE_FOLLOWER || r->role == ROLE_CANDIDATE ||
                    (r->role == ROLE_LEARNER && replica_bug(r, REPLICA_BUG_LEARNERS_COUNT)) ||
                    (r->role == ROLE_INCOMPLETE &&
                     replica_bug(r, REPLICA_BUG_INCOMPLETE_COUNTS))) &&
                   replica_is_sound(r);
    if (granted) {
        r->promise_until_ns = MAX(r->promise_until_ns, r->now_ns + REPLICA_LEASE_NS);
        r->promise_to = in->from;
    }
    r->told_commit = MAX(r->told_commit, in->commit_lsn);
    replica_commit_told(r, effects);
    Message *out = message_answer(r, effects, MSG_PROMISE, in);
    out->granted = granted;
    out->sent_ns = in->sent_ns;
    out->sync_age_ns = r->sync_age_ns;
    out->sync_p99_ns = r->sync_p99_ns;
}

void replica_on_promise(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (from == PEERS_MAX) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term != r->term || !replica_is_leading(r)) return;
    Peer *peer = &r->peers[from];
    peer->heard_ns = r->now_ns;
    peer->unsound = in->unsound;
    peer->sync_age_ns = in->sync_age_ns;
    peer->sync_p99_ns = MIN(in->sync_p99_ns, UINT64_MAX / 16); /* tenfold must not wrap */
    peer->commit = MAX(peer->commit, in->commit_lsn);
    if (!in->granted || in->sent_ns > r->now_ns) return;
    uint64_t from_ns = replica_bug(r, REPLICA_BUG_LEASE_FROM_RECEIPT) ? r->now_ns : in->sent_ns;
    peer->promised_ns = MAX(peer->promised_ns, from_ns);
}

bool replica_can_read(const Replica *r, uint64_t now_ns)
{
    if (r->role != ROLE_PRIMARY) return false;
    PeerMask mask = PEER_SELF;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        const Peer *peer = &r->peers[i];
        bool valid = peer->promised_ns != 0 && now_ns < peer->promised_ns + REPLICA_LEASE_NS;
        if (valid) mask |= (PeerMask)1 << i;
    }
    if (replica_bug(r, REPLICA_BUG_LEASE_BELOW_MIN_ISR)) {
        PeerMask isr = replica_mask(r, &r->config, r->config.isr);
        if ((isr & ~mask) == 0) return true;
    }
    return replica_reaches(r, mask);
}

uint64_t replica_confirmed_ns(const Replica *r)
{
    if (r->role != ROLE_PRIMARY) return 0;
    if (replica_reaches(r, PEER_SELF)) return UINT64_MAX;
    uint64_t best = 0;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        uint64_t at = r->peers[i].promised_ns;
        PeerMask mask = PEER_SELF;
        for (uint32_t j = 1; j < r->peer_count; j++) {
            if (r->peers[j].promised_ns >= at) mask |= (PeerMask)1 << j;
        }
        if (at > best && replica_reaches(r, mask)) best = at;
    }
    return best;
}
