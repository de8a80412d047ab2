/* What the files of this folder share. */
#ifndef HOLDFAST_REPLICA_REPLICA_PRIV_H
#define HOLDFAST_REPLICA_REPLICA_PRIV_H

#include "base/fault.h"
#include "replica/replica.h"

/* Everybody who is named by a configuration that counts: itself (index 0), members of the row, of
 * the log's last two CONFIGs and of the highest that an answer told, learners of the first two.
 * They may all differ: messages say who they are. */
#define PEERS_MAX (1 + 6 * MEMBERS_MAX)
typedef uint64_t PeerMask; /* bit i: peers[i] */
#define PEER_SELF ((PeerMask)1)

/* What the primary or candidate knows of a root, in its present incarnation and our term. */
typedef struct {
    Uuid root;
    uint64_t incarnation;
    bool polled;
    bool granted;          /* voted for us */
    bool linked;           /* `matched` is where to go on from */
    bool fetching;         /* EFFECT_FETCH is out */
    bool unsound;          /* it says that it counts for nothing */
    bool slow;             /* its syncs are, for REPLICA_SLOW_NS */
    bool adding;           /* required, to be in sync as soon as it has all that is committed */
    Lsn matched;           /* where sending begins again: on both lineages, as far as is known */
    Lsn sent;              /* highest lsn sent to it, ≥ matched */
    Lsn durable;           /* highest lsn that it acknowledged */
    Lsn commit;            /* highest commit_lsn that it told */
    Lsn tick_durable;      /* `durable` at the last tick */
    Lsn seed_lsn;          /* base of the snapshot that we began for it; 0: none */
    uint64_t heard_ns;     /* last message; from our activation on */
    uint64_t progress_ns;  /* `durable` rose, or nothing was missing */
    uint64_t promised_ns;  /* send time of the newest heartbeat that it promised upon; 0: none */
    uint64_t caught_up_ns; /* since when it lags less than a message; 0: it does not */
    uint64_t adding_ns;    /* since when `adding` */
    uint64_t sync_age_ns;
    uint64_t sync_p99_ns;
    uint64_t slow_since_ns; /* … `slow` is about to change; 0: it is not */
} Peer;

/* No term and no lsn: an election above that term would wrap, and so would an entry behind that
 * lsn, in a time that no cluster has. Only a message that lies is there. */
#define TERM_LAST UINT32_MAX
#define LSN_LAST (UINT64_MAX / 2)

/* The members of one configuration, for counting. */
typedef struct {
    PeerMask members; /* 0: there is no such configuration */
    uint32_t member_count;
    uint32_t min_isr;
} Quorum;
typedef enum {
    QUORUM_ROW,   /* of the control store, as last seen */
    QUORUM_LOG,   /* last CONFIG of our log */
    QUORUM_PREV,  /* the one before, while the last is not known to be committed */
    QUORUM_FENCE, /* highest CONFIG that an answer to our fence told */
    QUORUM_COUNT
} QuorumKind;

typedef enum {
    CAS_NONE = 0,
    CAS_SENT,
    CAS_IN_FORCE /* candidate: our configuration is in the control store: term is its term */
} CasState;

struct Replica {
    ShardId shard;
    Uuid root;
    uint64_t incarnation;
    ReplicaRole role;
    bool restarted;
    uint64_t bugs;   /* planted; 0 but in tests */
    uint64_t now_ns; /* of the event */

    ShardConfig config; /* replica_config() */
    bool is_member;     /* of it, or of the log's last CONFIG, and in no later incarnation there */
    LogConfig configs[REPLICA_CONFIGS_KEPT]; /* of the log, newest last */
    uint32_t config_count;
    LogConfig fence_config; /* highest that an answer told */
    Peer peers[PEERS_MAX];
    uint32_t peer_count;
    Quorum quorums[QUORUM_COUNT];
    PeerMask learners;

    Term term; /* max_term; voted_for belongs to it */
    Uuid voted_for;
    Term state_durable_term; /* the state with this term is synced */
    Uuid state_durable_vote;
    Term state_asked_term; /* the state with this term was given to be stored */
    bool fence_owed;       /* a FENCED answer waits for the state to be durable */
    Uuid fence_to;
    uint64_t fence_to_incarnation;

    uint64_t grace_until_ns;   /* before that no fence is answered, the own vote not counted */
    uint64_t promise_until_ns; /* before that no fence of anybody but … */
    Uuid promise_to;           /* … this root is answered */
    uint64_t heard_ns;         /* of a primary */
    bool suspect;
    bool incomplete;
    bool reset_durable; /* … the log begins anew, durably … */
    Lsn complete_lsn;   /* … and is whole from here on; UINT64_MAX: the stream has not ended */
    Lsn seed_lsn;       /* base of the snapshot that is arriving, and term of who sends it */
    Term seed_term;

    /* Follower or learner, of the present term. */
    Uuid primary; /* who sent an APPEND that joined our log */
    uint64_t primary_incarnation;
    Lsn matched_lsn; /* our log is the primary's up to here; behind it may be an older tail */
    Lsn acked_lsn;   /* highest lsn told by APPENDED */
    Lsn told_commit; /* highest commit_lsn that a primary told; ours may be behind it */

    CasState cas;
    Uuid new_cfg_uid;  /* of the CAS */
    ShardConfig asked; /* primary: of the CAS */
    Term polled_term;
    bool
        polled_ahead; /* somebody who was polled has a longer log, or may stand with an equal one */

    /* Primary. */
    PeerMask maybe;     /* in sync by the row, or by a CAS that may be in force: required */
    Uuid row_uid;       /* of the row in force, as last seen */
    bool row_differs;   /* … which is not what we act by */
    bool row_unknown;   /* … or which must be read again */
    bool config_owed;   /* `config` is in force and not in the log */
    bool change_open;   /* a CONFIG with other members is in the log, the row not changed yet */
    uint64_t active_ns; /* when this term's START was appended */

    Lsn last_lsn;
    Term last_term;
    Sha256 last_hash;
    Lsn durable_lsn;
    Lsn commit_lsn;     /* ≤ durable_lsn */
    uint64_t cuts;      /* EFFECT_TRUNCATE and EFFECT_RESET given */
    Lsn start_lsn;      /* of our START in this term; 0: not appended */
    bool start_wanted;  /* EFFECT_START was given */
    bool config_wanted; /* EFFECT_CONFIG was given */
    uint64_t sync_age_ns;
    uint64_t sync_p99_ns;

    Lsn window_first; /* lowest lsn in window; > last_lsn: empty */
    Lsn sendable;     /* the driver has entries from this lsn on */
    Term base_term;   /* of the entry before that; 0: none, or not known */
    uint64_t ignored_messages;
    /* Entry lsn at [lsn % REPLICA_WINDOW]. Last, and not touched before it is used: most of the
     * memory of a replica, of which an idle one should take none. */
    LogEntry window[REPLICA_WINDOW];
};

static inline uint32_t peer_count_of(PeerMask mask)
{
    return (uint32_t)__builtin_popcountll(mask);
}

/* Is this bug planted? A constant in release builds. */
static inline bool replica_bug(const Replica *replica, ReplicaBug bug)
{
#if HOLDFAST_FAULTS
    return (replica->bugs >> bug & 1) != 0;
#else
    UNUSED(replica);
    UNUSED(bug);
    return false;
#endif
}

/* replica.c */
/* A zeroed effect at the end of effects. */
Effect *effect_add(Effects *effects, EffectType type);
/* One that has no fields. */
void effect_plain(Effects *effects, EffectType type);
/* An answer to `in` that is whole as it is. */
void message_tell(const Replica *replica, Effects *effects, MessageType type, const Message *in);
/* A message from this replica to peers[to], header filled in. */
Message *message_add(const Replica *replica, Effects *effects, MessageType type, uint32_t to);
/* The same, as an answer to `in`. */
Message *message_answer(const Replica *replica, Effects *effects, MessageType type,
                        const Message *in);
void replica_set_role(Replica *replica, ReplicaRole role, Effects *effects);
/* A new term: forgets what belonged to the one before, the vote too. */
void replica_set_term(Replica *replica, Term term);
/* Takes a higher term in: steps down. */
void replica_see_term(Replica *replica, Term term, Effects *effects);
/* Primary or candidate no more, in the same term. */
void replica_step_down(Replica *replica, Effects *effects);
/* Raises commit_lsn to lsn, if that is higher. */
void replica_set_commit(Replica *replica, Lsn lsn, Effects *effects);
/* Asks for the present term and vote to be stored. */
void replica_store_state(Replica *replica, Effects *effects);
/* Is a vote for whom durable in the present term? */
bool replica_vote_durable(const Replica *replica, Uuid whom);
bool replica_is_leading(const Replica *replica); /* STARTING or PRIMARY */
/* Does its word count? Neither incomplete nor SUSPECT (I9). */
bool replica_is_sound(const Replica *replica);

/* message.c: can what `in` says be taken in at all? False: a peer that is broken, or hostile, sent
 * it; no step may come to an assertion by a message. */
bool replica_message_sane(const Message *in);

/* check.c: what must hold before and after every step. */
void replica_check(const Replica *replica);

/* log.c: the newest entries, and the CONFIGs among them. */
const LogEntry *replica_window_at(const Replica *replica, Lsn lsn);
/* Hash of our entry lsn (zero for lsn 0), NULL if it is not known: behind the end, or too old. */
const Sha256 *replica_hash_at(const Replica *replica, Lsn lsn);
void replica_window_add(Replica *replica, const LogEntry *entry);
/* Nothing above lsn, ≥ commit_lsn, is in the log any more. */
void replica_truncate(Replica *replica, Lsn lsn, Effects *effects);
/* Term of our entry lsn; 0: not known, or lsn is 0. */
Term replica_term_at(const Replica *replica, Lsn lsn);
/* Is (term, lsn) a, at least as far as b? */
bool replica_up_to_date(Term a_term, Lsn a_lsn, Term b_term, Lsn b_lsn);
/* The last CONFIG of the log; NULL: none. */
const LogConfig *replica_log_config(const Replica *replica);
Lsn replica_config_lsn(const Replica *replica);
/* Is the last CONFIG not known to be committed? */
bool replica_config_pending(const Replica *replica);
void replica_configs_add(Replica *replica, Lsn lsn, Term term, const ShardConfig *config);

/* peers.c: who is named, and who counts. */
/* Takes config as the row in force; members who are not in it, or in another life, only learn. */
void replica_set_config(Replica *replica, const ShardConfig *config, Effects *effects);
/* Anew from config, configs and fence_config; keeps what is known of roots in the same life. */
void replica_peers_rebuild(Replica *replica);
/* The role that follows from who is named, if it is a passive one. */
void replica_refresh_role(Replica *replica, Effects *effects);
void replica_peers_forget(Replica *replica); /* all but who they are */
/* root lives in that incarnation, it says; a candidate takes a later one than it knew for it. */
void replica_meet(Replica *replica, Uuid root, uint64_t incarnation);
/* Index of root, PEERS_MAX: unknown. */
uint32_t replica_peer_of(const Replica *replica, Uuid root);
/* Peer that in comes from, if it is one, in the incarnation that is known: else PEERS_MAX (I6, I9).
 */
uint32_t replica_sender(const Replica *replica, const Message *in);
/* Members of config whose bit is set in bits. */
PeerMask replica_mask(const Replica *replica, const ShardConfig *config, uint16_t bits);
/* The other way. */
uint16_t replica_bits(const Replica *replica, const ShardConfig *config, PeerMask mask);
uint32_t replica_config_index(const ShardConfig *config, Uuid root); /* MEMBERS_MAX: not there */
/* The maximal ISR: whoever may be in sync by the row, or is to be. */
PeerMask replica_required(const Replica *replica);
/* Are these min_isr members of each configuration that commits and reads count by? */
bool replica_reaches(const Replica *replica, PeerMask mask);
/* Are these a fence quorum of each configuration that a fence must satisfy? F = max(n - min_isr +
 * 1, n/2 + 1) answers. */
bool replica_fenced(const Replica *replica, PeerMask mask);
bool replica_is_eligible(const Replica *replica, uint32_t peer); /* of isr or elr */
/* Is this root a member by config, in this life or an earlier one? */
bool replica_names_us(const Replica *r, const ShardConfig *config);

/* restart.c */
void replica_on_restart(Replica *replica, const Event *event, Effects *effects);
/* election.c: the candidate */
void replica_on_stand(Replica *replica, const Event *event, Effects *effects);
void replica_cas_answered(Replica *replica, const Event *event, Effects *effects); /* candidate's */
void replica_try_cas(Replica *replica, Effects *effects);
/* START, if the fence quorum is there and the own vote is durable. */
void replica_try_start(Replica *replica, Effects *effects);
void replica_tick_candidate(Replica *replica, Effects *effects);
/* poll.c */
void replica_on_poll(Replica *replica, const Message *in, Effects *effects);
void replica_on_polled(Replica *replica, const Message *in, Effects *effects);
/* fence.c */
/* May this replica answer the candidate's message in? */
bool replica_may_vote(const Replica *replica, const Message *in);
void replica_on_fence(Replica *replica, const Message *in, Effects *effects);
void replica_on_fenced(Replica *replica, const Message *in, Effects *effects);
void replica_on_state_stored(Replica *replica, const Event *event, Effects *effects);
/* primary.c: entries out, acknowledgements in, commit */
void replica_on_append(Replica *replica, const Event *event, Effects *effects);
void replica_on_appended(Replica *replica, const Message *in, Effects *effects);
void replica_on_fetched(Replica *replica, const Event *event, Effects *effects);
/* Peer from says that its log ends with (in->lsn, in->lsn_hash): goes on from there if ours has
 * that entry, else from its commit, which every lineage shares. */
void replica_link(Replica *replica, uint32_t from, const Message *in, Effects *effects);
/* Raises the commit as far as the maximal ISR allows. */
void replica_advance_commit(Replica *replica, Effects *effects);
void replica_tick_primary(Replica *replica, const Event *event, Effects *effects);
/* mismatch.c */
void replica_on_mismatch(Replica *replica, const Message *in, Effects *effects);
/* follow.c: everybody else, and whoever stores */
void replica_on_append_msg(Replica *replica, const Message *in, Effects *effects);
void replica_on_stored(Replica *replica, const Event *event, Effects *effects);
/* Tells the primary how far our log is durable and its own, once our term is durable. */
void replica_acknowledge(Replica *replica, Effects *effects);
/* Takes in a message of the primary of its term: false if it is not to be followed. */
bool replica_follow(Replica *replica, const Message *in, Effects *effects);
void replica_commit_told(Replica *replica, Effects *effects);
/* lease.c: HEARTBEAT and PROMISE */
void replica_on_heartbeat(Replica *replica, const Message *in, Effects *effects);
void replica_on_promise(Replica *replica, const Message *in, Effects *effects);
/* Has it promised a primary, other than root, to answer no higher fence yet? */
bool replica_is_promised(const Replica *replica, Uuid root);
/* reconfigure.c: the primary changes the configuration */
void replica_begin_term(Replica *replica, Effects *effects);
void replica_on_cas(Replica *replica, const Event *event, Effects *effects);
void replica_on_row(Replica *replica, const Event *event, Effects *effects);
/* root lives in that incarnation: if it is a later one than is known, it begins anew, out of sync.
 */
void replica_note_life(Replica *replica, Uuid root, uint64_t incarnation);
void replica_on_change(Replica *replica, const Event *event, Effects *effects);
/* A CONFIG was committed, or may be appended now. */
void replica_settle_configs(Replica *replica, Effects *effects);
/* now, with the members, learners and min_isr of wanted, in the highest incarnations known. */
ShardConfig replica_with_members(const ShardConfig *now, const ShardConfig *wanted);
void replica_tick_configs(Replica *replica, Uuid fresh_uid, Effects *effects);
/* health.c: who is to be dropped from the ISR, who may join it */
void replica_note_health(Replica *replica);
PeerMask replica_to_drop(const Replica *replica);
PeerMask replica_to_add(const Replica *replica);
/* snapshot.c */
void replica_begin_snapshot(Replica *replica, uint32_t peer, Effects *effects);
void replica_on_snapshot(Replica *replica, const Message *in, Effects *effects);
void replica_on_snapshot_stored(Replica *replica, const Event *event, Effects *effects);
/* INCOMPLETE no more, if all is here. */
void replica_try_complete(Replica *replica, Effects *effects);
/* hand_over.c */
void replica_hand_over(Replica *replica, Uuid target, Effects *effects);
void replica_on_hand_over(Replica *replica, const Message *in, Effects *effects);

#endif
