/* States: copied, put back, hashed. Two states with one hash are taken for one, so all that can
 * matter later is in it, and nothing that can't: the window of a log follows from its last hash,
 * and of others only who leads, or wants to, remembers more than their names. */
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "search_tables.h"
#include "search_world.h"

#define PEERS_KEPT 6 /* so many are ever named here */
_Static_assert(PEERS_KEPT > SEARCH_MEMBERS + 1, "all of them, itself among them");

#define HEAD_BYTES offsetof(Replica, peers)
#define PEER_BYTES (PEERS_KEPT * sizeof(Peer))
#define REST_AT offsetof(Replica, peer_count)
#define REST_BYTES (offsetof(Replica, window) - REST_AT)
#define WINDOW_BYTES ((SEARCH_LOG_MAX + 1) * sizeof(LogEntry))

typedef struct {
    char head[HEAD_BYTES];
    char peers[PEER_BYTES];
    char rest[REST_BYTES];
    char window[WINDOW_BYTES];
} ReplicaCopy;

struct SearchSnapshot {
    SearchState s;
    uint64_t replica_hash[SEARCH_MEMBERS];
    unsigned stale;
    bool ended;
    ReplicaCopy replicas[SEARCH_MEMBERS];
};

SearchSnapshot *search_snapshot_new(void)
{
    return mem_new(sizeof(SearchSnapshot));
}

void search_snapshot_free(SearchSnapshot *snapshot)
{
    mem_free(snapshot);
}

void search_save(const SearchWorld *w, SearchSnapshot *out)
{
    out->s = w->s;
    out->ended = w->ended;
    memcpy(out->replica_hash, w->replica_hash, sizeof out->replica_hash);
    out->stale = w->stale;
    for (unsigned m = 0; m < w->count; m++) {
        const char *from = (const char *)w->replicas[m];
        ReplicaCopy *to = &out->replicas[m];
        memcpy(to->head, from, HEAD_BYTES);
        memcpy(to->peers, from + HEAD_BYTES, PEER_BYTES);
        memcpy(to->rest, from + REST_AT, REST_BYTES);
        memcpy(to->window, from + offsetof(Replica, window), WINDOW_BYTES);
    }
}

void search_restore(SearchWorld *w, const SearchSnapshot *from, bool whole)
{
    w->s = from->s;
    w->ended = from->ended;
    w->wrong[0] = '\0';
    memcpy(w->replica_hash, from->replica_hash, sizeof w->replica_hash);
    for (unsigned m = 0; m < w->count; m++) {
        if (!whole && (w->touched >> m & 1) == 0) continue;
        char *to = (char *)w->replicas[m];
        const ReplicaCopy *copy = &from->replicas[m];
        memcpy(to, copy->head, HEAD_BYTES);
        memcpy(to + HEAD_BYTES, copy->peers, PEER_BYTES);
        memcpy(to + REST_AT, copy->rest, REST_BYTES);
        memcpy(to + offsetof(Replica, window), copy->window, WINDOW_BYTES);
    }
    w->touched = 0;
    w->stale = from->stale;
}

/* --- hashes --- */

static uint64_t mix_log_config(uint64_t h, const LogConfig *config)
{
    h = table_mix(h, config->lsn << 32 | config->term);
    return config->lsn == 0 ? h : table_mix_config(h, &config->config);
}

static uint64_t mix_hash(uint64_t h, const Sha256 *of)
{
    uint64_t word;
    memcpy(&word, of->bytes, sizeof word);
    return table_mix(h, word);
}

static uint64_t mix_peer(uint64_t h, const Peer *p, bool matters)
{
    h = table_mix(h, p->incarnation << 8 | p->root.bytes[0]);
    if (!matters) return h;
    h = table_mix(h, (uint64_t)p->polled | (uint64_t)p->granted << 1 | (uint64_t)p->linked << 2 |
                         (uint64_t)p->fetching << 3 | (uint64_t)p->unsound << 4 |
                         (uint64_t)p->slow << 5 | (uint64_t)p->adding << 6);
    h = table_mix(h, p->matched << 48 | p->sent << 32 | p->durable << 16 | p->commit);
    h = table_mix(h, p->tick_durable << 32 | p->seed_lsn);
    h = table_mix(h, p->heard_ns);
    h = table_mix(h, p->progress_ns);
    h = table_mix(h, p->promised_ns);
    h = table_mix(h, p->caught_up_ns);
    return table_mix(h, p->adding_ns);
}

static uint64_t mix_leader(uint64_t h, const Replica *r)
{
    h = table_mix_uuid(h, r->new_cfg_uid);
    if (r->role == ROLE_CANDIDATE)
        return table_mix(h, (uint64_t)r->polled_term << 1 | r->polled_ahead);
    if (r->cas == CAS_SENT) h = table_mix_config(h, &r->asked);
    h = table_mix(h, r->maybe);
    h = table_mix_uuid(h, r->row_uid);
    h = table_mix(h, (uint64_t)r->row_differs | (uint64_t)r->row_unknown << 1 |
                         (uint64_t)r->config_owed << 2 | (uint64_t)r->change_open << 3 |
                         (uint64_t)r->start_wanted << 4 | (uint64_t)r->config_wanted << 5);
    return table_mix(h, r->start_lsn);
}

static uint64_t mix_votes(uint64_t h, const Replica *r)
{
    h = table_mix(h, (uint64_t)r->term << 32 | r->state_durable_term);
    h = table_mix(h, (uint64_t)r->state_asked_term << 32 | (uint64_t)r->voted_for.bytes[0] << 16 |
                         (uint64_t)r->state_durable_vote.bytes[0] << 8 | r->fence_owed);
    if (r->fence_owed) h = table_mix(h, r->fence_to_incarnation << 8 | r->fence_to.bytes[0]);
    h = table_mix(h, r->grace_until_ns > r->now_ns ? r->grace_until_ns : 0);
    bool promised = r->promise_until_ns > r->now_ns;
    return table_mix(h,
                     promised ? r->promise_until_ns ^ (uint64_t)r->promise_to.bytes[0] << 56 : 0);
}

static uint64_t mix_replica(const Replica *r)
{
    bool wants = r->role == ROLE_CANDIDATE;
    bool leads = replica_is_leading(r);
    uint64_t h = table_mix(r->root.bytes[0], (uint64_t)r->role << 32 | r->cas);
    h = table_mix(h, r->incarnation);
    h = table_mix_config(h, &r->config);
    for (uint32_t i = 0; i < r->config_count; i++)
        h = mix_log_config(h, &r->configs[i]);
    h = mix_log_config(h, &r->fence_config);
    for (uint32_t i = 1; i < r->peer_count; i++)
        h = mix_peer(h, &r->peers[i], wants || leads);
    h = mix_votes(h, r);
    h = table_mix(h, (uint64_t)r->is_member | (uint64_t)r->suspect << 1 |
                         (uint64_t)r->incomplete << 2 | (uint64_t)r->reset_durable << 3);
    if (r->incomplete) {
        h = table_mix(h, r->complete_lsn);
        h = table_mix(h, r->seed_lsn << 32 | r->seed_term);
    }
    h = table_mix(h, r->primary_incarnation << 8 | r->primary.bytes[0]);
    h = table_mix(h, r->matched_lsn << 32 | r->acked_lsn << 16 | r->told_commit);
    h = table_mix(h, r->last_lsn << 48 | r->durable_lsn << 32 | r->commit_lsn << 16 | r->cuts);
    h = table_mix(h, r->window_first << 32 | r->base_term);
    h = mix_hash(h, &r->last_hash);
    return wants || leads ? mix_leader(h, r) : h;
}

static uint64_t mix_log(uint64_t h, const SearchLog *log)
{
    h = table_mix(h, log->last << 32 | log->base);
    if (log->last > log->base)
        h = table_mix(h, log->ids[log->last]);
    else
        h = mix_hash(h, &log->base_hash);
    h = table_mix(h, (uint64_t)log->term << 32 | log->voted_for.bytes[0]);
    h = table_mix(h, log->complete_lsn << 1 | log->incomplete);
    return table_mix(h, log->base_config_lsn << 32 | log->base_config);
}

static uint64_t mix_member(uint64_t h, const SearchMember *member)
{
    h = table_mix(h, member->incarnation << 32 | member->uids);
    h = mix_log(h, &member->log);
    if (member->dirty) h = mix_log(h, &member->durable);
    h = table_mix(h, member->cuts << 48 | member->commit << 32 | member->cut_lsn << 16 |
                         member->stream_lsn);
    return table_mix(h, (uint64_t)member->cas << 1 | member->dirty);
}

uint64_t search_hash(SearchWorld *w)
{
    const SearchState *s = &w->s;
    unsigned stale = w->stale;
    w->stale = 0;
    uint64_t bag = 0;
    for (uint32_t i = 0; i < s->bag_len; i++)
        bag += table_mix(77, s->bag[i]);
    uint64_t h = table_mix(bag, s->now_ns);
    uint64_t words[(sizeof s->left + 7) / 8] = {0};
    memcpy(words, &s->left, sizeof s->left);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        h = table_mix(h, words[i]);
    for (unsigned m = 0; m < w->count; m++) {
        if ((stale >> m & 1) != 0) w->replica_hash[m] = mix_replica(w->replicas[m]);
        h = table_mix(h, w->replica_hash[m]);
        h = mix_member(h, &s->members[m]);
    }
    h = table_mix(h, (uint64_t)s->row << 32 | s->row_before);
    h = table_mix(h, s->committed_len << 32 | s->committed[s->committed_len]);
    for (Lsn lsn = 1; lsn <= s->committed_len; lsn++)
        h = table_mix(h, s->committed_terms[lsn]);
    for (unsigned term = 0; term < SEARCH_TERM_MAX; term++) {
        uint32_t votes;
        memcpy(&votes, s->votes[term], sizeof votes);
        if (votes != 0 || s->leaders[term] != 0)
            h = table_mix(h, (uint64_t)votes << 32 | (uint64_t)s->leaders[term] << 8 | term);
    }
    return h;
}
