/* HAND_OVER: the primary lets another stand at once: "it releases the promises" (REPLICATION.md 4),
 * since it serves no read from here on. */
#include "replica/replica_priv.h"

/* The member in sync that has most. */
static uint32_t best_successor(const Replica *r)
{
    PeerMask isr = replica_mask(r, &r->config, r->config.isr);
    uint32_t best = PEERS_MAX;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        if ((isr >> i & 1) == 0) continue;
        if (best == PEERS_MAX || r->peers[i].durable > r->peers[best].durable) best = i;
    }
    return best;
}

void replica_hand_over(Replica *r, Uuid target, Effects *effects)
{
    if (r->role != ROLE_PRIMARY) return;
    uint32_t to = id128_is_zero(target) ? best_successor(r) : replica_peer_of(r, target);
    if (to == PEERS_MAX || to == 0) return;
    for (uint32_t i = 1; i < r->peer_count; i++)
        message_add(r, effects, MSG_HAND_OVER, i)->target = r->peers[to].root;
    if (!replica_bug(r, REPLICA_BUG_READ_AFTER_HAND_OVER)) replica_step_down(r, effects);
}

void replica_on_hand_over(Replica *r, const Message *in, Effects *effects)
{
    if (in->term != r->term || r->role != ROLE_FOLLOWER) return;
    if (id128_eq(r->promise_to, in->from)) r->promise_until_ns = 0;
    r->heard_ns = r->now_ns; /* the others wait for the one who stands */
    if (id128_eq(in->target, r->root)) effect_plain(effects, EFFECT_STAND);
}
