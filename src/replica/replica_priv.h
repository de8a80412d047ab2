/* What the files of this folder share. */
#ifndef HOLDFAST_REPLICA_REPLICA_PRIV_H
#define HOLDFAST_REPLICA_REPLICA_PRIV_H

#include "replica/replica.h"

/* What the primary or candidate knows of a member. */
typedef struct {
    Lsn durable;    /* highest lsn it acknowledged, in this term */
    Lsn sent;       /* highest lsn sent to it */
    bool synced_up; /* its tail is known to be on our lineage */
    bool polled;
    bool fenced; /* answered FENCE in this term */
    bool granted;
    Term last_term; /* of POLLED and FENCED */
    Lsn last_lsn;
} MemberState;

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
    Uuid primary; /* who sent the last APPEND of this term */
    uint64_t primary_incarnation;

    Uuid new_cfg_uid; /* candidate: of the CAS */
    bool cas_sent;
    Term polled_term;

    Lsn last_lsn;
    Term last_term;
    Sha256 last_hash;
    Lsn durable_lsn;
    Lsn commit_lsn;
    Lsn config_lsn;
    Lsn start_lsn;     /* of our START in this term; 0: not appended */
    bool start_wanted; /* EFFECT_START was given */

    MemberState members[MEMBERS_MAX];
    LogEntry window[REPLICA_WINDOW]; /* entry lsn at [lsn % REPLICA_WINDOW] */
    Lsn window_first;                /* lowest lsn in it; > last_lsn: empty */
    uint64_t ignored_messages;
};

/* A zeroed effect at the end of effects. */
Effect *effect_add(Effects *effects, EffectType type);
/* A message from this replica to members[to], header filled in. */
Message *message_add(const Replica *replica, Effects *effects, MessageType type, uint32_t to);
/* The same, as an answer to `in`. */
Message *message_answer(const Replica *replica, Effects *effects, MessageType type,
                        const Message *in);
void replica_set_role(Replica *replica, ReplicaRole role, Effects *effects);
void replica_set_config(Replica *replica, const ShardConfig *config);
/* Takes a higher term in: steps down, forgets the vote. */
void replica_see_term(Replica *replica, Term term, Effects *effects);
/* Index of root among the members, or MEMBERS_MAX. */
uint32_t replica_member_of(const Replica *replica, Uuid root);
/* The window's entry, NULL if lsn is not in it. */
const LogEntry *replica_window_at(const Replica *replica, Lsn lsn);
void replica_window_add(Replica *replica, const LogEntry *entry);
/* Is (term, lsn) a, at least as far as b? */
bool replica_up_to_date(Term a_term, Lsn a_lsn, Term b_term, Lsn b_lsn);
/* Fence answers needed: max(n - min_isr + 1, n/2 + 1). */
uint32_t replica_fence_quorum(const ShardConfig *config);

/* One file per message or event. */
void replica_on_restart(Replica *replica, const Event *event, Effects *effects);
void replica_on_stand(Replica *replica, const Event *event, Effects *effects);
void replica_on_poll(Replica *replica, const Message *in, Effects *effects);
void replica_on_polled(Replica *replica, const Message *in, Effects *effects);
void replica_on_cas(Replica *replica, const Event *event, Effects *effects);
void replica_on_fence(Replica *replica, const Message *in, Effects *effects);
void replica_on_fenced(Replica *replica, const Message *in, Effects *effects);
void replica_on_state_stored(Replica *replica, const Event *event, Effects *effects);
void replica_on_append(Replica *replica, const Event *event, Effects *effects);
void replica_on_stored(Replica *replica, const Event *event, Effects *effects);
void replica_on_append_msg(Replica *replica, const Message *in, Effects *effects);
void replica_on_appended(Replica *replica, const Message *in, Effects *effects);
void replica_on_mismatch(Replica *replica, const Message *in, Effects *effects);
/* Sends member `to` what it lacks, from the window. */
void replica_send_entries(Replica *replica, uint32_t to, Effects *effects);
/* Raises the commit as far as the maximal ISR allows. */
void replica_advance_commit(Replica *replica, Effects *effects);

#endif
