/* What the files of this folder share. */
#ifndef HOLDFAST_REPLICA_REPLICA_PRIV_H
#define HOLDFAST_REPLICA_REPLICA_PRIV_H

#include "replica/replica.h"

/* What the primary or candidate knows of a member, in its present incarnation and our term. */
typedef struct {
    bool polled;
    bool granted;     /* voted for us */
    bool linked;      /* `matched` is known */
    Lsn matched;      /* highest lsn that its log is known to share with ours, synced or not */
    Lsn sent;         /* highest lsn sent to it, ≥ matched */
    Lsn durable;      /* highest lsn that it acknowledged */
    Lsn commit;       /* highest commit_lsn that it told */
    Lsn tick_durable; /* `durable` at the last tick */
} MemberState;

typedef enum {
    CAS_NONE = 0,
    CAS_SENT,
    CAS_IN_FORCE /* our configuration is in the control store: term is its term */
} CasState;

struct Replica {
    ShardId shard;
    Uuid root;
    uint64_t incarnation;
    ReplicaRole role;
    bool restarted;

    ShardConfig config;
    uint32_t self;     /* index into config.members; MEMBERS_MAX: learner or none */
    uint16_t required; /* the maximal ISR: bit i, members[i] must acknowledge */

    Term term; /* max_term; voted_for belongs to it */
    Uuid voted_for;
    Term state_durable_term; /* the state with this term is synced */
    Uuid state_durable_vote;
    bool fence_owed; /* a FENCED answer waits for the state to be durable */
    Uuid fence_to;
    uint64_t fence_to_incarnation;

    /* Follower or learner, of the present term. */
    Uuid primary; /* who sent an APPEND that joined our log */
    uint64_t primary_incarnation;
    Lsn matched_lsn; /* our log is the primary's up to here; behind it may be an older tail */
    Lsn acked_lsn;   /* highest lsn told by APPENDED */
    Lsn told_commit; /* highest commit_lsn that a primary told; ours may be behind it */

    CasState cas;     /* candidate */
    Uuid new_cfg_uid; /* of the CAS */
    Term polled_term;

    Lsn last_lsn;
    Term last_term;
    Sha256 last_hash;
    Lsn durable_lsn;
    Lsn commit_lsn; /* ≤ durable_lsn */
    Lsn config_lsn;
    Lsn start_lsn;     /* of our START in this term; 0: not appended */
    bool start_wanted; /* EFFECT_START was given */

    MemberState members[MEMBERS_MAX];
    Lsn window_first; /* lowest lsn in window; > last_lsn: empty */
    uint64_t ignored_messages;
    /* Entry lsn at [lsn % REPLICA_WINDOW]. Last, and not touched before it is used: most of the
     * memory of a replica, of which an idle one should take none. */
    LogEntry window[REPLICA_WINDOW];
};

/* A zeroed effect at the end of effects. */
Effect *effect_add(Effects *effects, EffectType type);
/* A message from this replica to members[to], header filled in. */
Message *message_add(const Replica *replica, Effects *effects, MessageType type, uint32_t to);
/* The same, as an answer to `in`. */
Message *message_answer(const Replica *replica, Effects *effects, MessageType type,
                        const Message *in);
void replica_set_role(Replica *replica, ReplicaRole role, Effects *effects);
/* Takes config as the one in force; members who are not in it, or in another life, only learn. */
void replica_set_config(Replica *replica, const ShardConfig *config, Effects *effects);
/* A new term: forgets what belonged to the one before, the vote too. */
void replica_set_term(Replica *replica, Term term);
/* Takes a higher term in: steps down. */
void replica_see_term(Replica *replica, Term term, Effects *effects);
/* Raises commit_lsn to lsn, if that is higher. */
void replica_set_commit(Replica *replica, Lsn lsn, Effects *effects);
/* Asks for the present term and vote to be stored. */
void replica_store_state(const Replica *replica, Effects *effects);
/* Is a vote for whom durable in the present term? */
bool replica_vote_durable(const Replica *replica, Uuid whom);
bool replica_is_leading(const Replica *replica); /* STARTING or PRIMARY */
/* Member i is in sync, or may be elected though it is not. */
bool replica_is_eligible(const Replica *replica, uint32_t i);
/* Member that in comes from, if it is one, in the incarnation that our configuration names: else
 * MEMBERS_MAX (I6, I9). */
uint32_t replica_sender(const Replica *replica, const Message *in);
/* Index of root among the members, or MEMBERS_MAX. */
uint32_t replica_member_of(const Replica *replica, Uuid root);
/* The window's entry, NULL if lsn is not in it. */
const LogEntry *replica_window_at(const Replica *replica, Lsn lsn);
/* Hash of our entry lsn (zero for lsn 0), NULL if it is not known: behind the end, or too old. */
const Sha256 *replica_hash_at(const Replica *replica, Lsn lsn);
void replica_window_add(Replica *replica, const LogEntry *entry);
/* Is (term, lsn) a, at least as far as b? */
bool replica_up_to_date(Term a_term, Lsn a_lsn, Term b_term, Lsn b_lsn);
/* Fence answers needed: max(n - min_isr + 1, n/2 + 1). */
uint32_t replica_fence_quorum(const ShardConfig *config);

/* restart.c */
void replica_on_restart(Replica *replica, const Event *event, Effects *effects);
/* election.c: the candidate */
void replica_on_stand(Replica *replica, const Event *event, Effects *effects);
void replica_on_polled(Replica *replica, const Message *in, Effects *effects);
void replica_on_cas(Replica *replica, const Event *event, Effects *effects);
void replica_on_fenced(Replica *replica, const Message *in, Effects *effects);
/* START, if the fence quorum is there and the own vote is durable. */
void replica_try_start(Replica *replica, Effects *effects);
void replica_tick_candidate(const Replica *replica, Effects *effects);
/* vote.c: the voter */
void replica_on_poll(Replica *replica, const Message *in, Effects *effects);
void replica_on_fence(Replica *replica, const Message *in, Effects *effects);
void replica_on_state_stored(Replica *replica, const Event *event, Effects *effects);
/* append.c: the primary */
void replica_on_append(Replica *replica, const Event *event, Effects *effects);
void replica_on_appended(Replica *replica, const Message *in, Effects *effects);
void replica_on_mismatch(Replica *replica, const Message *in, Effects *effects);
/* Member from says that its log ends with (in->lsn, in->lsn_hash): if ours has that entry, goes on
 * from there. */
void replica_link(Replica *replica, uint32_t from, const Message *in, Effects *effects);
/* Raises the commit as far as the maximal ISR allows. */
void replica_advance_commit(Replica *replica, Effects *effects);
void replica_tick_primary(Replica *replica, Effects *effects);
/* follow.c: everybody else, and whoever stores */
void replica_on_append_msg(Replica *replica, const Message *in, Effects *effects);
void replica_on_stored(Replica *replica, const Event *event, Effects *effects);
/* Tells the primary how far our log is durable and its own, once our term is durable. */
void replica_acknowledge(Replica *replica, Effects *effects);

#endif
