/* What the files of sim_roots share: the process that is simulated, and its clients. */
#ifndef HOLDFAST_TEST_SIM_ROOTS_SIM_H
#define HOLDFAST_TEST_SIM_ROOTS_SIM_H

#include "history.h"
#include "roots_kit.h"

#define KEYS 12
#define KEYS_LOOSE 6 /* the first of the bucket whose writes are asynchronous, … */
#define KEYS_WHOLE 9 /* … and of the one that requires all */
#define KEYS_PAIR 12 /* … of one in a class of two copies, … */
#define KEYS_ONE 14  /* … and of one in a class of one */
#define KEYS_ALL 16
#define SHARDS_MAX 16
#define OPS_MAX 12 /* under way at once */
#define BODY_MAX 24
#define NS_PER_MS UINT64_C(1000000)

typedef struct {
    bool used;
    bool answered;
    uint64_t event; /* its number in the history */
    HistoryKind kind;
    struct Sim *sim;
    unsigned number; /* of its key */
    Mutation m;
    char key[8];
    char body[BODY_MAX];
} Call;

/* A key whose changes are acknowledged before they are committed: what it may be, if some are lost.
 */
typedef struct {
    uint64_t values[HISTORY_VALUES]; /* the first was there when nothing was under way */
    unsigned count;
    uint64_t falls; /* in the history; HISTORY_NONE: it does not */
} Loose;

typedef struct Sim {
    uint64_t seed;
    bool trace;
    bool failed;
    Rng rng;
    Rng operator;
    unsigned count; /* roots */
    Disk *disks[ENGINE_ROOTS_MAX];
    bool faulty[ENGINE_ROOTS_MAX];
    ManualClock clock;
    RootsKit kit;
    bool up;
    History *history;
    uint64_t values; /* given out */
    Call ops[OPS_MAX];
    uint64_t acknowledged;
    uint64_t starts;
    uint64_t cuts;
    uint64_t seeds;
    uint64_t replaced;
    uint64_t operated; /* requests of an operator that were begun */
    uint64_t events;
    bool keep_logs; /* no checkpoints: whoever is behind finds what it lacks in a log */
    bool stormy;    /* mail is lost, late and repeated … */
    uint64_t lost;  /* … so much of a thousand */
    uint64_t late;
    uint64_t twice;
    unsigned parted; /* nothing comes from or goes to this root; ENGINE_ROOTS_MAX: none */
    EngineLag lag;
    unsigned keys; /* KEYS, or KEYS_ALL: with placement classes */
    Loose loose[KEYS_ALL];
    uint64_t reign; /* who leads, in which terms: a sum */
    uint64_t told;  /* acknowledged by the lead alone */
} Sim;

/* roots.c */
void sim_fail(Sim *sim, const char *what, unsigned number);
void sim_say(const Sim *sim, const char *what, uint64_t number);

/* roots_clients.c */
Str client_bucket(unsigned key);
/* What root has committed of key; 0: nothing. False: it can't be read. */
bool client_read_key(Sim *sim, unsigned root, unsigned key, uint64_t *value);
/* What keeps key; the copies that it is to have. */
EngineClass client_class(const Sim *sim, unsigned key);
unsigned client_copies(const Sim *sim, unsigned key);
/* A change of any key. */
void client_submit(Sim *sim);
/* A read as the doors do it: at the lead, while every shard stands there. */
void client_read(Sim *sim);
/* Into the history goes what was answered. */
void client_collect(Sim *sim);
/* Another reigns, or the process dies: what was only acknowledged may be lost from now on. */
void client_loose_fall(Sim *sim);
/* It is decided, and can be read. */
void client_loose_land(Sim *sim);
/* Did another begin to reign with this step, on any shard? */
void client_watch_reign(Sim *sim);

#endif
