/* The invariants of REPLICATION.md section 2 that concern several members, or what is durable. Each
 * is looked at where it can be broken: when something is committed, begun, told, cut, read. */
#include <inttypes.h>
#include <string.h>

#include "protocol_world.h"

static bool was_voted(const World *world, Uuid voter, Term term, Uuid whom)
{
    for (size_t i = world->vote_count; i > 0; i--) {
        const Vote *v = &world->votes[i - 1];
        if (v->term == term && id128_eq(v->root, voter)) return id128_eq(v->voted_for, whom);
    }
    return false;
}

static void check_leaders_hold(World *world, Lsn lsn, const Sha256 *hash, Term term)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *node = &world->nodes[i];
        if (!world_is_leading(node) || replica_term(node->replica) < term) continue;
        const LogEntry *entry = disk_entry(node, lsn);
        const Sha256 *own = entry != NULL ? &entry->hash : NULL;
        if (lsn <= node->base) continue; /* of a snapshot, of what was committed */
        if (own == NULL || !sha256_eq(own, hash)) {
            world_wrong(world, "I3: primary %u of term %u lacks lsn %" PRIu64, i,
                        replica_term(node->replica), lsn);
        }
    }
}

/* At least min_isr members of config have lsn. */
static void check_copies(World *world, const Node *node, const ShardConfig *config, Lsn lsn,
                         const Sha256 *hash)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const Node *other = world_node_of(world, config->members[i].root);
        have += other == NULL || other->gone ||
                disk_has_durable(other, lsn, hash); /* it had it, and was lost */
    }
    if (have < config->min_isr) {
        world_wrong(world, "I2: %u commits lsn %" PRIu64 " with %u copies of %u", node->index, lsn,
                    have, config->min_isr);
    }
}

/* "Durable on every member of the maximal ISR": at least of the row in force, if that is of the
 * primary's term and no row was ever taken back; members that the log removed already but for. */
static void check_row(World *world, const Node *node, Lsn lsn, const Sha256 *hash)
{
    const ShardConfig *row = control_store_row(world->store, SHARD);
    if (world->roll_backs > 0 || row == NULL || row->term != replica_term(node->replica)) return;
    Lsn at = 0;
    const ShardConfig *log = disk_config(node, 0, &at);
    for (uint32_t i = 0; i < row->member_count; i++) {
        const Node *other = world_node_of(world, row->members[i].root);
        bool removed = log != NULL; /* by the log: the row follows */
        for (uint32_t j = 0; removed && j < log->member_count; j++)
            removed = !id128_eq(log->members[j].root, row->members[i].root);
        if (removed || (row->isr >> i & 1) == 0 || other == NULL || other->gone) continue;
        if (disk_has_durable(other, lsn, hash)) continue;
        world_wrong(world, "I2: %u commits lsn %" PRIu64 ", not durable at %u, in sync by the row",
                    node->index, lsn, other->index);
    }
}

/* A primary is first to commit lsn: by the last CONFIG of its log, and by the one before if that is
 * not committed yet; by the row if there is none. */
static void check_new_commit(World *world, Node *node, Lsn lsn, const Sha256 *hash, Term term)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *other = &world->nodes[i];
        if (other->gone || disk_has_durable(other, lsn, hash)) continue;
        if (replica_requires(node->replica, other->root)) {
            world_wrong(world, "I2: %u commits lsn %" PRIu64 ", not durable at %u, in sync",
                        node->index, lsn, i);
        }
    }
    Lsn at = 0;
    const ShardConfig *last = disk_config(node, 0, &at);
    bool pending = last != NULL && at > node->commit;
    const ShardConfig *prev = pending ? disk_config(node, 1, &at) : NULL;
    check_copies(world, node, last != NULL ? last : replica_config(node->replica), lsn, hash);
    if (prev != NULL) check_copies(world, node, prev, lsn, hash);
    check_row(world, node, lsn, hash);
    check_leaders_hold(world, lsn, hash, term);
}

void check_commit(World *world, Node *node, Lsn lsn, bool leading)
{
    for (Lsn at = MAX(node->commit, node->base) + 1; at <= lsn; at++) {
        const LogEntry *entry = disk_entry(node, at);
        if (entry == NULL || !disk_has_durable(node, at, &entry->hash)) {
            world_wrong(world, "I2: %u commits lsn %" PRIu64 ", which is not durable", node->index,
                        at);
            return;
        }
        if (at <= world->committed_len) {
            if (!sha256_eq(&entry->hash, &world->committed[at - 1])) {
                world_wrong(world, "I4: %u commits another lsn %" PRIu64, node->index, at);
            }
            continue;
        }
        if (!leading) {
            world_wrong(world, "I2: follower %u is first to commit lsn %" PRIu64, node->index, at);
        }
        check_new_commit(world, node, at, &entry->hash, replica_term(node->replica));
        world->committed = world_grow(world->committed, world->committed_len,
                                      &world->committed_room, sizeof *world->committed);
        world->committed_terms = world_grow(world->committed_terms, world->committed_len,
                                            &world->term_room, sizeof *world->committed_terms);
        world->committed_terms[world->committed_len] = replica_term(node->replica);
        world->committed[world->committed_len++] = entry->hash;
    }
    node->commit = MAX(node->commit, lsn);
}

/* node has the fence quorum and may append. */
void check_start(World *world, Node *node)
{
    const ShardConfig *config = replica_config(node->replica);
    Term term = replica_term(node->replica);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < config->member_count; i++)
        votes += was_voted(world, config->members[i].root, term, node->root);
    uint32_t n = config->member_count;
    uint32_t quorum = MAX(n - config->min_isr + 1, n / 2 + 1);
    if (votes < quorum) world_wrong(world, "I8: %u starts with %u votes", node->index, votes);
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *other = &world->nodes[i];
        if (other != node && world_is_leading(other) && replica_term(other->replica) == term) {
            world_wrong(world, "I1: term %u has two primaries", term);
        }
    }
    world->starts++;
    /* What a later term has committed meanwhile it can't have, nor can it commit anything. */
    Lsn lsn = world->committed_len;
    while (lsn > 0 && world->committed_terms[lsn - 1] >= term)
        lsn--;
    const LogEntry *entry = disk_entry(node, lsn);
    if (lsn <= node->base) return;
    if (entry == NULL || !sha256_eq(&entry->hash, &world->committed[lsn - 1])) {
        world_wrong(world, "I3: %u, starting in term %u, lacks lsn %" PRIu64, node->index, term,
                    lsn);
    }
}

void check_sent(World *world, Node *node, const Message *m)
{
    bool counts = m->type == MSG_FENCED || m->type == MSG_PROMISE;
    if (counts && m->granted && (node->incomplete || m->unsound)) {
        world_wrong(world, "I9: %u, which is incomplete, grants", node->index);
    }
    if (m->type == MSG_FENCED && m->granted && !was_voted(world, node->root, m->term, m->to)) {
        world_wrong(world, "I1: %u tells a vote in term %u that is not durable", node->index,
                    m->term);
    }
    if (m->type != MSG_APPENDED || m->lsn <= node->base) return;
    const LogEntry *entry = disk_entry(node, m->lsn);
    if (entry == NULL || !disk_has_durable(node, m->lsn, &entry->hash)) {
        world_wrong(world, "I2: %u acknowledges lsn %" PRIu64 ", which is not durable", node->index,
                    m->lsn);
    }
}

void check_cut(World *world, Node *node, Lsn lsn)
{
    if (lsn < node->commit) {
        world_wrong(world, "I5: %u cuts at %" PRIu64 ", below its commit", node->index, lsn);
    }
}

void check_vote(World *world, Node *node, Term term, Uuid voted_for)
{
    node->vote_term = MAX(node->vote_term, term);
    if (id128_is_zero(voted_for)) return;
    for (size_t i = 0; i < world->vote_count; i++) {
        const Vote *v = &world->votes[i];
        if (v->term != term || !id128_eq(v->root, node->root)) continue;
        if (!id128_eq(v->voted_for, voted_for)) {
            world_wrong(world, "I1: %u voted twice in term %u", node->index, term);
        }
        return;
    }
    world->votes = world_grow(world->votes, world->vote_count, &world->vote_room,
                              sizeof *world->votes);
    world->votes[world->vote_count++] = (Vote){
        .term = term, .root = node->root, .voted_for = voted_for};
}

/* node serves a read: nobody of a higher term may have been let to write. */
void check_read(World *world, const Node *node)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *other = &world->nodes[i];
        if (other == node || !world_is_leading(other)) continue;
        if (replica_term(other->replica) > replica_term(node->replica)) {
            world_wrong(world, "%u of term %u serves a read, %u leads in term %u", node->index,
                        replica_term(node->replica), i, replica_term(other->replica));
        }
    }
}

/* I6: who is added has what is committed. */
void check_cas(World *world, Node *node, const ShardConfig *asked)
{
    if (!world_is_leading(node)) return;
    const ShardConfig *now = replica_config(node->replica);
    Lsn commit = replica_commit_lsn(node->replica);
    for (uint32_t i = 0; i < asked->member_count; i++) {
        const Member *member = &asked->members[i];
        if ((asked->isr >> i & 1) == 0) continue;
        bool was_in = false;
        for (uint32_t j = 0; j < now->member_count; j++) {
            was_in = was_in ||
                     (id128_eq(now->members[j].root, member->root) && (now->isr >> j & 1) != 0);
        }
        if (was_in || commit == 0) continue;
        const Node *other = world_node_of(world, member->root);
        if (other == NULL || other->incarnation != member->incarnation) continue; /* is refused */
        if (!disk_has_durable(other, commit, &world->committed[commit - 1])) {
            world_wrong(world, "I6: %u adds %u, which lacks lsn %" PRIu64, node->index,
                        other->index, commit);
        }
    }
}

void check_restart(World *world, Node *node)
{
    if (disk_last(node) < node->commit) {
        world_wrong(world, "I5: %u lost what it committed", node->index);
    }
}
