/* The world of the state search: three members, or four, of one shard, with the real replica code,
 * in memory that can be copied, put back and hashed. Nothing is drawn: whoever searches picks the
 * next action among all that are possible. Time stands still but for jumps. What never changes once
 * it is made (entries, configurations, messages) is kept once, by its contents, and named by a
 * number. One thread. */
#ifndef HOLDFAST_TEST_SIM_SEARCH_WORLD_H
#define HOLDFAST_TEST_SIM_SEARCH_WORLD_H

#include "replica/replica_priv.h"

#define SEARCH_MEMBERS 4
#define SEARCH_LOG_MAX 24
#define SEARCH_BAG_MAX 32
#define SEARCH_TERM_MAX 12
#define SEARCH_ACTIONS_MAX 128
#define SEARCH_JUMP_NS (600 * REPLICA_MS) /* two end a lease, three a grace */

/* How often each thing may happen on one path. */
typedef struct {
    uint8_t stands;
    uint8_t writes;
    uint8_t ticks;
    uint8_t jumps;
    uint8_t crashes;
    uint8_t suspects; /* restarts with a damaged log, which is seeded anew */
    uint8_t roll_backs;
    uint8_t unknown; /* outcomes of the control store that nobody is told */
    uint8_t changes;
    uint8_t hand_overs;
    uint8_t cuts;    /* of a log, below what is committed */
    uint8_t rows;    /* reads of the row */
    uint8_t lazy;    /* syncs that wait until they are chosen; 0: all are done at once */
    uint8_t instant; /* polls are asked and answered at once: they promise nothing */
    uint8_t spare;   /* a fourth root, a learner at first */
    uint8_t min_isr;
} SearchBudget;

typedef enum {
    ACT_DELIVER = 1, /* message number arg of the bag */
    ACT_SYNC,        /* member arg: what it wrote is durable */
    ACT_STAND,
    ACT_TICK,
    ACT_WRITE,
    ACT_CAS,         /* member arg: its request is decided, and it is told */
    ACT_CAS_DONE,    /* … is decided, it is told that nobody knows */
    ACT_CAS_IGNORED, /* … is not, the same */
    ACT_CRASH,       /* member arg stops and starts; what was not synced is lost */
    ACT_KILL,        /* … is kept by the page cache */
    ACT_SUSPECT,     /* … and its log is damaged */
    ACT_ROLL_BACK,   /* the last change of the row never was */
    ACT_JUMP,
    ACT_CHANGE, /* number arg of the possible ones, by whoever is primary */
    ACT_HAND_OVER,
    ACT_CUT_LOG,
    ACT_ROW,
    ACT_STREAMED, /* the snapshot that arrives at member arg is here */
    ACT_COUNT
} SearchActionType;
typedef uint16_t SearchAction; /* type << 8 | arg */

/* A log, as it is read at a start. */
typedef struct {
    Lsn last;
    Lsn base; /* entries up to this are not there: a snapshot began here */
    Term base_term;
    Sha256 base_hash;
    uint32_t base_config; /* number of the CONFIG at or before base, of entry … */
    Lsn base_config_lsn;
    Term base_config_term;
    uint32_t ids[SEARCH_LOG_MAX + 1]; /* of entry lsn */
    Term term;
    Uuid voted_for;
    bool incomplete;
    Lsn complete_lsn;
} SearchLog;

typedef struct {
    uint64_t incarnation;
    uint32_t uids;
    SearchLog log;
    SearchLog durable;
    bool dirty; /* they differ, or the replica was not told yet */
    uint64_t cuts;
    Lsn commit; /* highest that it ever called committed */
    Lsn cut_lsn;
    uint32_t cas;   /* number of the configuration asked for; 0: none */
    Lsn stream_lsn; /* of a snapshot that arrives: whole from here on; 0: none does */
} SearchMember;

/* All that a state is, but the replicas themselves. */
typedef struct {
    SearchBudget left;
    uint64_t now_ns;
    SearchMember members[SEARCH_MEMBERS];
    uint32_t bag[SEARCH_BAG_MAX];
    uint32_t bag_len;
    uint32_t row;
    uint32_t row_before;                      /* 0: can't be rolled back */
    uint32_t committed[SEARCH_LOG_MAX + 1];   /* entry lsn */
    Term committed_terms[SEARCH_LOG_MAX + 1]; /* of who committed it first */
    Lsn committed_len;
    uint8_t votes[SEARCH_TERM_MAX][SEARCH_MEMBERS]; /* member + 1 that it voted for, durably */
    uint8_t leaders[SEARCH_TERM_MAX];               /* member + 1 that had START */
} SearchState;

/* Bugs of the driver, in `bugs` above those of the replica; named as in planted_protocol.txt. */
typedef enum {
    SEARCH_BUG_PAGE_CACHE = 0, /* what a loss of power may take is called durable after kill -9 */
    SEARCH_BUG_VOTES_CUT,      /* term and vote are cut away with the log */
    SEARCH_BUG_NO_PREV_CONFIG, /* a restart remembers the last CONFIG only */
    SEARCH_BUG_COUNT
} SearchBug;
_Static_assert((int)REPLICA_BUG_COUNT + (int)SEARCH_BUG_COUNT <= 64, "a bit for each");

typedef struct SearchSnapshot SearchSnapshot;

typedef struct {
    SearchState s;
    unsigned count; /* members and spare */
    Replica *replicas[SEARCH_MEMBERS];
    uint64_t replica_hash[SEARCH_MEMBERS];
    unsigned touched; /* bits: replicas that stepped since it was last put back */
    unsigned stale;   /* bits: replicas of which replica_hash is of before */
    uint64_t bugs;
    uint64_t dropped; /* messages that the bag had no room for */
    uint64_t steps;
    bool ended; /* the log, or the terms, are longer than is kept: not looked at further */
    Effects effects;
    char wrong[200];
    bool trace;
} SearchWorld;

/* A primary that all follow, with nothing under way; from there the budget counts. */
SearchWorld *search_new(const SearchBudget *budget, uint64_t bugs, bool trace);
void search_free(SearchWorld *world);
unsigned search_actions(const SearchWorld *world, SearchAction *out);
/* wrong is "" or what was broken by it. */
void search_act(SearchWorld *world, SearchAction action);
uint64_t search_hash(SearchWorld *world);
const char *search_action_name(SearchAction action);

SearchSnapshot *search_snapshot_new(void);
void search_snapshot_free(SearchSnapshot *snapshot);
void search_save(const SearchWorld *world, SearchSnapshot *out);
/* The whole, or if the world was made from this snapshot only what was touched since. */
void search_restore(SearchWorld *world, const SearchSnapshot *from, bool whole);

/* For search_world.c and search_check.c. */
const Message *search_message(uint32_t id);
const LogEntry *search_entry(uint32_t id);
const ShardConfig *search_config(uint32_t id);
Uuid search_root(unsigned member);
unsigned search_member_of(Uuid root); /* SEARCH_MEMBERS: none */
PRINTF_LIKE(2, 3) void search_wrong(SearchWorld *world, const char *format, ...);
bool search_durable(const SearchWorld *world, unsigned member, Lsn lsn, const Sha256 *hash);
const ShardConfig *search_log_config(const SearchLog *log, unsigned back, Lsn *lsn, Term *term);

/* search_check.c */
void search_check_commit(SearchWorld *world, unsigned member, Lsn lsn, bool leading);
void search_check_start(SearchWorld *world, unsigned member);
void search_check_sent(SearchWorld *world, unsigned member, const Message *message);
void search_check_vote(SearchWorld *world, unsigned member, Term term, Uuid voted_for);
void search_check_cas(SearchWorld *world, unsigned member, const ShardConfig *asked);
/* Nobody may serve a read who lacks what was acknowledged. */
void search_check_reads(SearchWorld *world);

#endif
