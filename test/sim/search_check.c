/* The invariants of REPLICATION.md section 2 that concern several members, in every state. */
#include <inttypes.h>
#include <string.h>

#include "search_world.h"

static bool is_leading(const SearchWorld *w, unsigned m)
{
    return replica_is_leading(w->replicas[m]);
}

/* At least min_isr members of config have lsn. */
static void check_copies(SearchWorld *w, unsigned m, const ShardConfig *config, Lsn lsn,
                         const Sha256 *hash)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < config->member_count; i++)
        have += search_durable(w, search_member_of(config->members[i].root), lsn, hash);
    if (have < config->min_isr) {
        search_wrong(w, "I2: %u commits lsn %" PRIu64 " with %u copies of %u", m, lsn, have,
                     config->min_isr);
    }
}

static void check_new_commit(SearchWorld *w, unsigned m, Lsn lsn, const Sha256 *hash)
{
    const SearchMember *member = &w->s.members[m];
    for (unsigned i = 0; i < w->count; i++) {
        if (search_durable(w, i, lsn, hash)) continue;
        if (replica_requires(w->replicas[m], search_root(i))) {
            search_wrong(w, "I2: %u commits lsn %" PRIu64 ", not durable at %u, in sync", m, lsn,
                         i);
        }
    }
    Lsn at = 0;
    Term term = 0;
    const ShardConfig *last = search_log_config(&member->log, 0, &at, &term);
    bool pending = last != NULL && at > member->commit;
    const ShardConfig *prev = pending ? search_log_config(&member->log, 1, &at, &term) : NULL;
    check_copies(w, m, last != NULL ? last : replica_config(w->replicas[m]), lsn, hash);
    if (prev != NULL) check_copies(w, m, prev, lsn, hash);
    for (unsigned i = 0; i < w->count; i++) {
        if (i == m || !is_leading(w, i)) continue;
        const SearchLog *log = &w->s.members[i].log;
        if (replica_term(w->replicas[i]) < replica_term(w->replicas[m]) || lsn <= log->base)
            continue;
        if (lsn <= log->last && sha256_eq(&search_entry(log->ids[lsn])->hash, hash)) continue;
        search_wrong(w, "I3: %u leads in term %u without lsn %" PRIu64, i,
                     replica_term(w->replicas[i]), lsn);
    }
}

void search_check_commit(SearchWorld *w, unsigned m, Lsn lsn, bool leading)
{
    SearchMember *member = &w->s.members[m];
    for (Lsn at = MAX(member->commit, member->log.base) + 1; at <= lsn; at++) {
        const LogEntry *entry = search_entry(member->log.ids[at]);
        if (at > member->log.last || !search_durable(w, m, at, &entry->hash)) {
            search_wrong(w, "I2: %u commits lsn %" PRIu64 ", which is not durable", m, at);
            return;
        }
        if (at <= w->s.committed_len) {
            if (w->s.committed[at] != member->log.ids[at])
                search_wrong(w, "I4: %u commits another lsn %" PRIu64, m, at);
            continue;
        }
        if (!leading) search_wrong(w, "I2: follower %u is first to commit lsn %" PRIu64, m, at);
        check_new_commit(w, m, at, &entry->hash);
        w->s.committed[at] = member->log.ids[at];
        w->s.committed_terms[at] = replica_term(w->replicas[m]);
        w->s.committed_len = at;
    }
    member->commit = MAX(member->commit, lsn);
}

void search_check_start(SearchWorld *w, unsigned m)
{
    const ShardConfig *config = replica_config(w->replicas[m]);
    Term term = replica_term(w->replicas[m]);
    if (term >= SEARCH_TERM_MAX) return;
    uint32_t votes = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        unsigned voter = search_member_of(config->members[i].root);
        votes += voter < SEARCH_MEMBERS && w->s.votes[term][voter] == m + 1;
    }
    uint32_t quorum = replica_fence_quorum(config->member_count, config->min_isr);
    if (votes < quorum) search_wrong(w, "I8: %u starts term %u with %u votes", m, term, votes);
    if (w->s.leaders[term] != 0 && w->s.leaders[term] != m + 1)
        search_wrong(w, "I1: term %u has two primaries", term);
    w->s.leaders[term] = (uint8_t)(m + 1);
    Lsn lsn = w->s.committed_len;
    while (lsn > 0 && w->s.committed_terms[lsn] >= term)
        lsn--; /* of a later term: it can't have that, nor commit anything */
    const SearchLog *log = &w->s.members[m].log;
    if (lsn <= log->base) return;
    if (lsn > log->last || log->ids[lsn] != w->s.committed[lsn])
        search_wrong(w, "I3: %u, starting in term %u, lacks lsn %" PRIu64, m, term, lsn);
}

void search_check_sent(SearchWorld *w, unsigned m, const Message *message)
{
    const SearchMember *member = &w->s.members[m];
    bool counts = message->type == MSG_FENCED || message->type == MSG_PROMISE;
    if (counts && message->granted && (member->log.incomplete || message->unsound))
        search_wrong(w, "I9: %u, which is incomplete, grants", m);
    if (message->type == MSG_FENCED && message->granted && message->term < SEARCH_TERM_MAX &&
        w->s.votes[message->term][m] != search_member_of(message->to) + 1) {
        search_wrong(w, "I1: %u tells a vote in term %u that is not durable", m, message->term);
    }
    if (message->type != MSG_APPENDED || message->lsn <= member->log.base) return;
    if (message->lsn > member->log.last ||
        !search_durable(w, m, message->lsn, &search_entry(member->log.ids[message->lsn])->hash)) {
        search_wrong(w, "I2: %u acknowledges lsn %" PRIu64 ", which is not durable", m,
                     message->lsn);
    }
}

void search_check_vote(SearchWorld *w, unsigned m, Term term, Uuid voted_for)
{
    unsigned whom = search_member_of(voted_for);
    if (whom == SEARCH_MEMBERS || term >= SEARCH_TERM_MAX) return;
    uint8_t *vote = &w->s.votes[term][m];
    if (*vote != 0 && *vote != whom + 1) search_wrong(w, "I1: %u votes twice in term %u", m, term);
    *vote = (uint8_t)(whom + 1);
}

/* I6: who is added has what is committed. */
void search_check_cas(SearchWorld *w, unsigned m, const ShardConfig *asked)
{
    if (!is_leading(w, m)) return;
    const ShardConfig *now = replica_config(w->replicas[m]);
    Lsn commit = replica_commit_lsn(w->replicas[m]);
    for (uint32_t i = 0; i < asked->member_count; i++) {
        uint32_t at = replica_config_index(now, asked->members[i].root);
        bool was_in = at < MEMBERS_MAX && (now->isr >> at & 1) != 0;
        if ((asked->isr >> i & 1) == 0 || was_in || commit == 0) continue;
        unsigned other = search_member_of(asked->members[i].root);
        if (w->s.members[other].incarnation != asked->members[i].incarnation) continue;
        if (!search_durable(w, other, commit, &search_entry(w->s.committed[commit])->hash))
            search_wrong(w, "I6: %u adds %u, which lacks lsn %" PRIu64, m, other, commit);
    }
}

void search_check_reads(SearchWorld *w)
{
    for (unsigned m = 0; m < w->count; m++) {
        if (replica_role(w->replicas[m]) != ROLE_PRIMARY) continue;
        if (replica_commit_lsn(w->replicas[m]) >= w->s.committed_len) continue;
        if (replica_can_read(w->replicas[m], w->s.now_ns)) {
            search_wrong(w,
                         "I7: %u of term %u may read at lsn %" PRIu64 ", %" PRIu64 " is committed",
                         m, replica_term(w->replicas[m]), replica_commit_lsn(w->replicas[m]),
                         w->s.committed_len);
        }
    }
}
