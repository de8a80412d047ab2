/* Replica: one copy of one shard on one storage root, as a pure state machine (no I/O, clock,
 * random number, thread or malloc): replica_step(event) -> effects. The driver carries effects out
 * and tells their outcome by later events. The protocol and its invariants I1..I9: README.md of
 * this folder.
 *
 *            EVENT_RESTART            EFFECT_CAS               fence quorum, EFFECT_START
 *   (new) --------------> FOLLOWER --------------> CANDIDATE --------------> STARTING
 *                            ^   EVENT_STAND      (polls, then CAS,             | START committed
 *                            |                     then FENCE)                  v
 *                            '--------- a higher term is seen ------------- PRIMARY
 *   LEARNER: copies, never votes. INCOMPLETE: a snapshot is arriving. QUARANTINED: gave itself up.
 *
 * Messages may be lost, repeated and reordered: EVENT_TICK repeats what is not answered. Times are
 * nanoseconds of the driver's CLOCK_BOOTTIME; those of two replicas are never compared.
 *
 * One thread at a time: the core loop. */
#ifndef HOLDFAST_REPLICA_REPLICA_H
#define HOLDFAST_REPLICA_REPLICA_H

#include "format/config_entry.h"
#include "format/segment.h"

/* Newest entries whose lineage is kept in memory; back-pressure above. */
#define REPLICA_WINDOW 1024
#define REPLICA_SEND_MAX 16 /* entries in one message */
#define REPLICA_EFFECTS_MAX 192
#define REPLICA_CONFIGS_KEPT 3 /* CONFIG entries of the log that are remembered */

/* REPLICATION.md section 4. */
#define REPLICA_MS UINT64_C(1000000)
#define REPLICA_HEARTBEAT_NS (250 * REPLICA_MS)
#define REPLICA_LEASE_NS (1000 * REPLICA_MS)
#define REPLICA_GRACE_NS (1500 * REPLICA_MS)
#define REPLICA_DROP_NS (2000 * REPLICA_MS)      /* of silence, of sync age, without progress */
#define REPLICA_CAUGHT_UP_NS (1000 * REPLICA_MS) /* that a lag below one message must last */
#define REPLICA_SLOW_NS (10000 * REPLICA_MS)     /* of slow syncs; and of good ones to be back */
#define REPLICA_SLOW_SYNC_NS (100 * REPLICA_MS)  /* p99 of a sync that is slow, if peers are not */

typedef enum {
    ROLE_FOLLOWER = 1,
    ROLE_CANDIDATE,
    ROLE_STARTING, /* fenced, its START is not committed yet */
    ROLE_PRIMARY,
    ROLE_LEARNER,
    ROLE_INCOMPLETE,
    ROLE_QUARANTINED
} ReplicaRole;

/* What the protocol must know of a log entry. handle and config are the driver's: they stay valid
 * as long as the driver keeps the entry, which is while it is among the newest REPLICA_WINDOW and
 * EVENT_FORGOTTEN did not tell otherwise; the replica only hands them on. */
typedef struct {
    Lsn lsn;
    Term term;
    Sha256 prev_hash;
    Sha256 hash;
    bool is_config;
    bool is_start;
    void *handle;
    const ShardConfig *config; /* is_config: what it says */
} LogEntry;

/* A CONFIG entry of the log. */
typedef struct {
    Lsn lsn; /* 0: none */
    Term term;
    ShardConfig config;
} LogConfig;

typedef enum {
    MSG_APPEND = 1, /* primary -> member: entries behind prev, commit index */
    MSG_APPENDED,   /* member -> primary: durable up to lsn, under cfg_uid */
    MSG_MISMATCH,   /* member -> primary: no such prev here; my tail is (term, lsn) */
    MSG_POLL,       /* candidate -> member: who is how far? */
    MSG_POLLED,
    MSG_FENCE,     /* candidate -> member: vote for me in term */
    MSG_FENCED,    /* member -> candidate: granted or not, and my tail and last CONFIG */
    MSG_HEARTBEAT, /* primary -> member: I am there; promise me */
    MSG_PROMISE,  /* member -> primary: granted: no higher fence is answered for REPLICA_LEASE_NS */
    MSG_SNAPSHOT, /* primary -> member: begin again behind (lsn, hash); the data follow */
    MSG_HAND_OVER /* primary -> member: your promises are given back; target stands */
} MessageType;
#define MESSAGE_TYPE_MAX MSG_HAND_OVER

typedef struct {
    MessageType type;
    ShardId shard;
    Uuid from; /* root */
    uint64_t from_incarnation;
    Uuid to;
    uint64_t to_incarnation;
    Term term;       /* sender's */
    Uuid cfg_uid;    /* configuration the sender acts under */
    Lsn lsn;         /* APPEND: prev lsn; APPENDED: durable, and on the primary's lineage;
                        SNAPSHOT: the base; others: sender's last lsn */
    Term lsn_term;   /* of the sender's last entry; SNAPSHOT: of the base */
    Sha256 lsn_hash; /* of entry lsn; APPENDED: of the sender's last */
    Lsn commit_lsn;
    bool granted;     /* FENCED, PROMISE */
    bool unsound;     /* sender is incomplete or its root SUSPECT: it counts for nothing (I9) */
    bool seeding;     /* sender is incomplete: a snapshot was begun by the primary of its term */
    Lsn config_lsn;   /* last CONFIG in the sender's log; POLL, FENCE, FENCED, SNAPSHOT:
                         `config` is it, 0: there is none */
    Term config_term; /* of that entry */
    uint64_t sent_ns; /* HEARTBEAT: by the primary's clock; PROMISE: the same, sent back */
    uint64_t sync_age_ns; /* PROMISE: of the oldest write that waits for its sync */
    uint64_t sync_p99_ns; /* PROMISE: 99th percentile of the sender's syncs */
    Uuid target;          /* HAND_OVER */
    uint32_t entry_count;
    ShardConfig config;
    LogEntry entries[REPLICA_SEND_MAX];
} Message;

typedef enum {
    EVENT_RESTART = 1,  /* after recovery: what the log says, what the control store says */
    EVENT_STAND,        /* the driver asks this replica to become primary */
    EVENT_APPEND,       /* primary: one new sealed entry (replica_next() gave its place) */
    EVENT_STORED,       /* own log: entries up to lsn are durable, written after `cuts` cuts */
    EVENT_STATE_STORED, /* own log: the state with this term and vote is durable */
    EVENT_MESSAGE,
    EVENT_CAS_DONE,    /* control store: our configuration is in force */
    EVENT_CAS_REFUSED, /* control store: somebody was first; `config` is what is in force */
    EVENT_CAS_UNKNOWN, /* control store: nobody knows (never taken as failed) */
    EVENT_TICK,        /* every 250 ms: heartbeats, and what was not answered since the last one */
    EVENT_ROW,         /* control store: `config` was just read there */
    EVENT_CHANGE,      /* operator or planner: `config` says members, learners and min_isr wanted */
    EVENT_HAND_OVER,   /* operator or stop: somebody else is to be primary (root; zero: the best) */
    EVENT_FETCHED,     /* own log: `tail`, what EFFECT_FETCH asked for; none: it is cut there */
    EVENT_FORGOTTEN,   /* the driver has entries up to lsn no more: they are to be fetched */
    EVENT_SNAPSHOT_STORED /* the stream is here, durable, and ended when its sender was at lsn */
} EventType;

typedef struct {
    EventType type;
    uint64_t now_ns;           /* CLOCK_BOOTTIME */
    const ReplicaState *state; /* RESTART */
    const ShardConfig *config; /* RESTART, CAS_DONE, CAS_REFUSED, ROW: the row in force; STAND: the
                                  same, or NULL: the last one seen; CHANGE: what is wanted */
    Uuid new_cfg_uid;          /* STAND, TICK, CHANGE: a fresh random uid for a CAS; CAS_*: the uid
                                  that was asked for: a late answer is not taken for another's */
    LogEntry entry;            /* APPEND */
    Lsn lsn;                   /* STORED, SNAPSHOT_STORED, FORGOTTEN */
    uint64_t cuts;             /* STORED: EFFECT_TRUNCATE and EFFECT_RESET before it in the log */
    Term term;                 /* STATE_STORED: max_term and voted_for of that state */
    Uuid voted_for;
    const Message *message; /* MESSAGE */
    Uuid root;              /* FETCHED, HAND_OVER */
    const LogEntry *tail;   /* RESTART: the log's newest entries, all above the known commit if
                               there are other members; FETCHED */
    uint32_t tail_count;
    Term tail_prev_term;      /* of the entry before tail; 0: none */
    const LogConfig *configs; /* RESTART: the newest CONFIGs of the log, oldest first: the last
                                 committed one and those behind it */
    uint32_t config_count;
    bool no_grace;    /* RESTART: no promise can be out: the old primary lived in this process */
    bool suspect;     /* RESTART: the root is SUSPECT: no vote, no promise, until re-seeded */
    bool incomplete;  /* RESTART: a snapshot was begun and not finished … */
    Lsn complete_lsn; /* … it is whole when the log is here up to this; 0: not known */
    uint64_t sync_age_ns; /* TICK: of the own log */
    uint64_t sync_p99_ns;
} Event;

typedef enum {
    EFFECT_STORE_ENTRIES = 1, /* append to the own log; later EVENT_STORED */
    EFFECT_STORE_STATE,       /* append a FRAME_STATE; later EVENT_STATE_STORED */
    EFFECT_SEND,
    EFFECT_CAS,        /* compare-and-swap on parent_uid in the control store */
    EFFECT_START,      /* build, seal and EVENT_APPEND a START entry, first in the term */
    EFFECT_COMMIT,     /* commit_lsn has risen to lsn: apply and reply */
    EFFECT_ROLE,       /* the role changed: `role` */
    EFFECT_QUARANTINE, /* the log contradicts what was committed: stop this replica */
    EFFECT_CONFIG,     /* build, seal and EVENT_APPEND a CONFIG entry that says `config` */
    EFFECT_TRUNCATE,   /* append a TRUNCATE: nothing above lsn (hash) counts any more */
    EFFECT_RESET,      /* begin the log anew behind lsn (hash, term), durably INCOMPLETE; later
                          EVENT_STORED with that lsn */
    EFFECT_FETCH,      /* read the own log from lsn on, for root: EVENT_FETCHED */
    EFFECT_SNAPSHOT,   /* stream what is stored to root; keep the log from lsn on */
    EFFECT_LOOK,       /* read the row: EVENT_ROW */
    EFFECT_STAND       /* the primary handed over to us: EVENT_STAND, now */
} EffectType;

typedef struct {
    EffectType type;
    const LogEntry *entries; /* STORE_ENTRIES: view into the event */
    uint32_t entry_count;
    ReplicaState state; /* STORE_STATE (config bytes not filled in) */
    ShardConfig config; /* CAS, CONFIG, RESET */
    Lsn lsn;            /* COMMIT, TRUNCATE, RESET, FETCH, SNAPSHOT */
    Term term;          /* TRUNCATE, RESET: of entry lsn */
    Lsn config_lsn;     /* RESET: of `config`; 0: none */
    Sha256 hash;        /* TRUNCATE, RESET: of entry lsn */
    Uuid root;          /* FETCH, SNAPSHOT */
    ReplicaRole role;   /* ROLE */
    Message message;    /* SEND; last, since its end is mostly unused */
} Effect;

typedef struct {
    uint32_t count;
    Effect items[REPLICA_EFFECTS_MAX];
} Effects;

typedef struct Replica Replica;

/* Bytes of a Replica; the caller gives zeroed memory of that size, aligned to 16. */
size_t replica_size(void);
/* For shard on this root. Nothing works before EVENT_RESTART. */
Replica *replica_init(void *memory, ShardId shard, Uuid root, uint64_t incarnation);
/* One event in, effects out (count is set to 0 first). Every invariant that a single replica can
 * see is asserted before and after. */
void replica_step(Replica *replica, const Event *event, Effects *effects);

/* May an entry be appended now? False: not primary, or the window is full (back-pressure). A START
 * is allowed in ROLE_STARTING only, as the first. */
bool replica_can_append(const Replica *replica);
/* Place of the next entry: seal it with these, then EVENT_APPEND at once. */
void replica_next(const Replica *replica, Lsn *lsn, Term *term, Sha256 *prev_hash);
/* Answers without which nobody is elected, F = max(n - min_isr + 1, n/2 + 1) (REPLICATION.md 2). */
uint32_t replica_fence_quorum(uint32_t member_count, uint32_t min_isr);
/* May what was fetched before now be given as read here? Promises of min_isr members, this one
 * included, are unexpired. Ask *after* the value was fetched. */
bool replica_can_read(const Replica *replica, uint64_t now_ns);
/* Reads that came before this time are confirmed: min_isr members of the present term answered a
 * heartbeat sent at it or later (read_check=confirm). 0: none; UINT64_MAX: no other is needed. */
uint64_t replica_confirmed_ns(const Replica *replica);
ReplicaRole replica_role(const Replica *replica);
Lsn replica_last_lsn(const Replica *replica);
/* Is the log of a at least as far as that of b, of the same shard, as a vote compares them? */
bool replica_log_reaches(const Replica *a, const Replica *b);
Lsn replica_durable_lsn(const Replica *replica);
Lsn replica_commit_lsn(const Replica *replica);
/* Is the root SUSPECT, and not re-seeded since? It neither votes nor counts. */
bool replica_is_suspect(const Replica *replica);
/* Is this one in the ISR, by the row that it knows? */
bool replica_in_sync(const Replica *replica);
/* In the ISR or the ELR: may it stand though others' logs are as long? */
bool replica_may_stand(const Replica *replica);
/* No member that is known to be there can lack an entry up to this one: of a primary, what all
 * peers have; of others, what is known to be committed. */
Lsn replica_needless_lsn(const Replica *replica);
Term replica_term(const Replica *replica);
/* The row that this replica knows; of a primary: the configuration that it acts under. */
const ShardConfig *replica_config(const Replica *replica);
/* Is root one of the maximal ISR, of which every member must have an entry before it counts? */
bool replica_requires(const Replica *replica, Uuid root);
/* Of a primary: does root lack less than a message holds, is it sound, was it heard of late? Of a
 * member or learner. */
bool replica_caught_up(const Replica *replica, Uuid root);
/* When something of a primary was last heard; 0: never since the start. */
uint64_t replica_heard_ns(const Replica *replica);
/* Which of replica_config()'s members have lsn synced, as far as a primary knows: bit i is
 * members[i]. For Holdfast-Durability. */
uint16_t replica_synced(const Replica *replica, Lsn lsn);
const char *replica_role_name(ReplicaRole role);

/* Rules of REPLICATION.md section 9 that tests break on purpose; only builds with HOLDFAST_FAULTS
 * can. bugs: bits 1 << REPLICA_BUG_…, in every replica of a cluster alike. */
#define REPLICA_BUGS(X)                                                                            \
    X(NO_VOTE, "no-fence-vote")                                                                    \
    X(NO_LOG_COMPARISON, "no-log-comparison")                                                      \
    X(NO_FENCE_QUORUM, "append-before-fence")                                                      \
    X(NO_MIN_ISR, "commit-below-min-isr")                                                          \
    X(UNKNOWN_IS_DONE, "unknown-cas-applied")                                                      \
    X(NO_INCARNATION, "no-incarnation-check")                                                      \
    X(CUT_BY_LENGTH, "truncate-by-length")                                                         \
    X(LEASE_BELOW_MIN_ISR, "lease-below-min-isr")                                                  \
    X(NO_GRACE, "no-grace")                                                                        \
    X(OWN_VOTE_NO_GRACE, "own-vote-without-grace")                                                 \
    X(OWN_PROMISE, "own-promise-ignored")                                                          \
    X(GRANT_AFTER_POLL, "grant-after-poll")                                                        \
    X(PROMISE_IGNORED, "promise-ignored")                                                          \
    X(FENCE_ROW_ONLY, "fence-by-row-only")                                                         \
    X(FENCE_NOT_OWN_CONFIG, "fence-without-own-config")                                            \
    X(LEARNERS_COUNT, "learners-count")                                                            \
    X(CONFIGS_AT_ONCE, "configs-at-once")                                                          \
    X(NO_OWN_TERM, "commit-of-older-term")                                                         \
    X(ROW_COUNTS, "row-counts")                                                                    \
    X(INCOMPLETE_COUNTS, "incomplete-counts")                                                      \
    X(VOTE_BEFORE_SYNC, "vote-before-sync")                                                        \
    X(VOTE_TWICE, "vote-twice")                                                                    \
    X(ACK_BEFORE_SYNC, "appended-before-sync")                                                     \
    X(ACK_UNMATCHED, "acknowledge-older-tail")                                                     \
    X(STORED_BEFORE_CUT, "stored-before-cut")                                                      \
    X(ADD_BEHIND, "add-behind")                                                                    \
    X(READ_AFTER_HAND_OVER, "read-after-hand-over")                                                \
    X(LEASE_FROM_RECEIPT, "lease-from-receipt")
#define REPLICA_BUG_ENUM(id, name) REPLICA_BUG_##id,
typedef enum { REPLICA_BUGS(REPLICA_BUG_ENUM) REPLICA_BUG_COUNT } ReplicaBug;
void replica_plant(Replica *replica, uint64_t bugs);

#endif
