/* Who is named by the configurations that count, and how they are counted (REPLICATION.md 5):
 * commits and reads by the log's CONFIGs, the old and the new while one is pending; a fence by the
 * row of the control store, by our own last CONFIG and by the highest that an answer told. */
#include <string.h>

#include "replica/replica_priv.h"

uint32_t replica_peer_of(const Replica *r, Uuid root)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        if (id128_eq(r->peers[i].root, root)) return i;
    }
    return PEERS_MAX;
}

uint32_t replica_sender(const Replica *r, const Message *in)
{
    uint32_t i = replica_peer_of(r, in->from);
    if (i == PEERS_MAX || i == 0) return PEERS_MAX;
    bool same = r->peers[i].incarnation == in->from_incarnation;
    return same || replica_bug(r, REPLICA_BUG_NO_INCARNATION) ? i : PEERS_MAX;
}

uint32_t replica_config_index(const ShardConfig *config, Uuid root)
{
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (id128_eq(config->members[i].root, root)) return i;
    }
    return MEMBERS_MAX;
}

PeerMask replica_mask(const Replica *r, const ShardConfig *config, uint16_t bits)
{
    PeerMask mask = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        uint32_t peer = (bits >> i & 1) != 0 ? replica_peer_of(r, config->members[i].root)
                                             : PEERS_MAX;
        if (peer < PEERS_MAX) mask |= (PeerMask)1 << peer;
    }
    return mask;
}

uint16_t replica_bits(const Replica *r, const ShardConfig *config, PeerMask mask)
{
    uint16_t bits = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        uint32_t peer = replica_peer_of(r, config->members[i].root);
        if (peer < PEERS_MAX && (mask >> peer & 1) != 0) bits = (uint16_t)(bits | 1u << i);
    }
    return bits;
}

/* Incarnations only rise: the highest that any configuration names is the present one. */
static void name_peer(Replica *r, const Member *member)
{
    uint32_t i = replica_peer_of(r, member->root);
    if (i < PEERS_MAX) {
        if (i > 0) r->peers[i].incarnation = MAX(r->peers[i].incarnation, member->incarnation);
        return;
    }
    ASSERT(r->peer_count < PEERS_MAX);
    r->peers[r->peer_count++] = (Peer){.root = member->root, .incarnation = member->incarnation};
}

static void name_members(Replica *r, const ShardConfig *config)
{
    for (uint32_t i = 0; i < config->member_count; i++)
        name_peer(r, &config->members[i]);
}

static void name_learners(Replica *r, const ShardConfig *config)
{
    for (uint32_t i = 0; i < config->learner_count; i++)
        name_peer(r, &config->learners[i]);
}

static Quorum quorum_of(const Replica *r, const ShardConfig *config)
{
    return (Quorum){.members = replica_mask(r, config, UINT16_MAX),
                    .member_count = config->member_count,
                    .min_isr = config->min_isr};
}

static void keep_known(Replica *r, const Peer *before, uint32_t count)
{
    PeerMask maybe = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t now = replica_peer_of(r, before[i].root);
        if (now == PEERS_MAX || r->peers[now].incarnation > before[i].incarnation) continue;
        r->peers[now] = before[i];
        if ((r->maybe >> i & 1) != 0) maybe |= (PeerMask)1 << now;
    }
    r->maybe = maybe;
}

void replica_peers_rebuild(Replica *r)
{
    Peer before[PEERS_MAX];
    uint32_t count = r->peer_count;
    memcpy(before, r->peers, count * sizeof before[0]);
    r->peers[0] = (Peer){.root = r->root, .incarnation = r->incarnation};
    r->peer_count = 1;
    const LogConfig *last = replica_log_config(r);
    const LogConfig *prev = r->config_count >= 2 ? last - 1 : NULL;
    name_members(r, &r->config);
    if (last != NULL) name_members(r, &last->config);
    if (prev != NULL && replica_config_pending(r)) name_members(r, &prev->config);
    if (r->fence_config.lsn != 0) name_members(r, &r->fence_config.config);
    PeerMask named = ((PeerMask)1 << r->peer_count) - 1;
    name_learners(r, &r->config);
    if (last != NULL) name_learners(r, &last->config);
    r->learners = (((PeerMask)1 << r->peer_count) - 1) & ~named;
    keep_known(r, before, count);
    memset(r->quorums, 0, sizeof r->quorums);
    r->quorums[QUORUM_ROW] = quorum_of(r, &r->config);
    if (last != NULL) r->quorums[QUORUM_LOG] = quorum_of(r, &last->config);
    if (prev != NULL && replica_config_pending(r))
        r->quorums[QUORUM_PREV] = quorum_of(r, &prev->config);
    if (r->fence_config.lsn != 0) r->quorums[QUORUM_FENCE] = quorum_of(r, &r->fence_config.config);
}

void replica_peers_forget(Replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        r->peers[i] = (Peer){.root = r->peers[i].root, .incarnation = r->peers[i].incarnation};
    }
    r->maybe = 0;
}

/* Its term and vote are durable, whichever life they are told in. */
void replica_meet(Replica *r, Uuid root, uint64_t incarnation)
{
    uint32_t i = replica_peer_of(r, root);
    if (i == PEERS_MAX || i == 0 || incarnation <= r->peers[i].incarnation) return;
    r->peers[i] = (Peer){.root = root, .incarnation = incarnation};
}

bool replica_names_us(const Replica *r, const ShardConfig *config)
{
    uint32_t self = replica_config_index(config, r->root);
    return self < MEMBERS_MAX && config->members[self].incarnation <= r->incarnation;
}

/* The last CONFIG of our log, or the one before while that is pending. */
static bool log_names_us(const Replica *r)
{
    const LogConfig *last = replica_log_config(r);
    if (last == NULL) return false;
    if (replica_names_us(r, &last->config)) return true;
    return r->config_count >= 2 && replica_config_pending(r) &&
           replica_names_us(r, &(last - 1)->config);
}

/* Named as member by the row or by the log's last CONFIG, neither of which may lag behind for ever,
 * and by none in a later life than this; or by the CONFIG before while the last one is pending,
 * since a fence asks for the quorum of both. */
static bool find_membership(const Replica *r)
{
    uint32_t in_row = replica_config_index(&r->config, r->root);
    uint64_t row_life = in_row < MEMBERS_MAX ? r->config.members[in_row].incarnation : 0;
    if (in_row < MEMBERS_MAX && row_life >= r->incarnation) return row_life == r->incarnation;
    return log_names_us(r);
}

/* A learner, a root in another life, one that is re-seeded: none of them counts (I9). */
static ReplicaRole passive_role(const Replica *r)
{
    if (r->incomplete) return ROLE_INCOMPLETE;
    return r->is_member ? ROLE_FOLLOWER : ROLE_LEARNER;
}

void replica_refresh_role(Replica *r, Effects *effects)
{
    if (replica_is_leading(r) || r->role == ROLE_QUARANTINED) return;
    r->is_member = find_membership(r);
    if (r->role != ROLE_CANDIDATE || !r->is_member) {
        replica_set_role(r, passive_role(r), effects);
    }
}

void replica_set_config(Replica *r, const ShardConfig *config, Effects *effects)
{
    ASSERT(config->member_count >= 1 && config->member_count <= MEMBERS_MAX);
    ASSERT(config->min_isr >= 1 && config->min_isr <= config->member_count);
    ASSERT(!replica_is_leading(r));
    r->config = *config;
    replica_peers_rebuild(r);
    replica_refresh_role(r, effects);
}

PeerMask replica_required(const Replica *r)
{
    PeerMask adding = 0;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        if (r->peers[i].adding) adding |= (PeerMask)1 << i;
    }
    return replica_mask(r, &r->config, r->config.isr) | r->maybe | adding | PEER_SELF;
}

static bool quorum_reaches(const Replica *r, QuorumKind kind, PeerMask mask)
{
    const Quorum *q = &r->quorums[kind];
    PeerMask counted = replica_bug(r, REPLICA_BUG_LEARNERS_COUNT) ? q->members | r->learners
                                                                  : q->members;
    return peer_count_of(mask & counted) >= q->min_isr;
}

bool replica_reaches(const Replica *r, PeerMask mask)
{
    if (r->quorums[QUORUM_LOG].members == 0 || replica_bug(r, REPLICA_BUG_ROW_COUNTS)) {
        return quorum_reaches(r, QUORUM_ROW, mask); /* the log has no CONFIG yet: nobody changed */
    }
    if (!quorum_reaches(r, QUORUM_LOG, mask)) return false;
    return !replica_config_pending(r) || r->quorums[QUORUM_PREV].members == 0 ||
           quorum_reaches(r, QUORUM_PREV, mask);
}

uint32_t replica_fence_quorum(uint32_t member_count, uint32_t min_isr)
{
    return MAX(member_count - min_isr + 1, member_count / 2 + 1);
}

bool replica_fenced(const Replica *r, PeerMask mask)
{
    for (uint32_t i = 0; i < QUORUM_COUNT; i++) {
        const Quorum *q = &r->quorums[i];
        if (q->members == 0) continue;
        if (i != QUORUM_ROW && replica_bug(r, REPLICA_BUG_FENCE_ROW_ONLY)) continue;
        bool own = i == QUORUM_LOG || i == QUORUM_PREV;
        if (own && replica_bug(r, REPLICA_BUG_FENCE_NOT_OWN_CONFIG)) continue;
        PeerMask counted = q->members;
        if (replica_bug(r, REPLICA_BUG_LEARNERS_COUNT)) counted |= r->learners;
        uint32_t votes = peer_count_of(mask & counted);
        if (votes < replica_fence_quorum(q->member_count, q->min_isr)) return false;
    }
    return true;
}

bool replica_is_eligible(const Replica *r, uint32_t peer)
{
    uint32_t i = replica_config_index(&r->config, r->peers[peer].root);
    return i < MEMBERS_MAX && ((r->config.isr | r->config.elr) >> i & 1) != 0;
}
