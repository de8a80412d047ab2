/* MISMATCH: what was sent does not join the sender's log, whose end it tells. */
#include "replica/replica_priv.h"

/* Back to where both logs agree: its end, if that is ours too, else its commit, where it will cut
 * by lineage. What counts for nothing until it is re-seeded gets a snapshot; if that was begun and
 * its beginning was lost, again. */
void replica_on_mismatch(Replica *r, const Message *in, Effects *effects)
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
    peer->commit = MAX(peer->commit, in->commit_lsn);
    bool begun = in->seeding && in->lsn >= peer->seed_lsn && peer->seed_lsn != 0;
    if (in->unsound && !begun) {
        replica_begin_snapshot(r, from, effects);
        return;
    }
    replica_link(r, from, in, effects);
}
