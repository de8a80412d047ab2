#include "crash_states.h"

#include "base/buf.h"
#include "base/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBSET_NONE 0
#define SUBSET_ALL 1
#define NO_STOP UINT64_MAX

/* A set of 64-bit numbers; 0 stands for an empty place, so 0 itself is kept as 1. */
typedef struct {
    uint64_t *slots;
    size_t count;
    size_t capacity; /* power of two */
} HashSet;

/* Pending units that are kept: bits, and how many units there are. */
typedef struct {
    uint64_t *words;
    size_t units;
} Keep;

/* One state, as it is printed and replayed. */
typedef struct {
    const CrashWorkload *workload;
    uint64_t stop;
    Keep keep;              /* no words: killed, nothing lost */
    uint64_t recovery_stop; /* NO_STOP: after a complete recovery */
    const Keep *recovery;   /* NULL: no second crash */
} State;

/* HOLDFAST_CRASH, taken apart. */
typedef struct {
    bool wanted;
    Str name;
    uint64_t stop;
    bool kill;
    Str keep;
    bool twice; /* the two below are given */
    uint64_t recovery_stop;
    Str recovery_keep;
} Replay;

struct CrashStates {
    CrashOptions options;
    CrashCounts counts;
    HashSet images;  /* of all */
    HashSet at_stop; /* of the present stop, where the oracle is the same */
    Rng rng;
    Replay replay;
    uint64_t failed_before; /* counts.failed when the present workload began */
};

static bool set_add(HashSet *set, uint64_t value);

static void set_grow(HashSet *set)
{
    HashSet old = *set;

    set->capacity = old.capacity == 0 ? 1024 : old.capacity * 2;
    set->slots = mem_new_array(set->capacity, sizeof *set->slots);
    set->count = 0;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i] != 0) set_add(set, old.slots[i]);
    }
    mem_free(old.slots);
}

/* False if it was in already. */
static bool set_add(HashSet *set, uint64_t value)
{
    if (set->count * 2 >= set->capacity) set_grow(set);
    if (value == 0) value = 1;
    size_t i = (size_t)(value * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (set->capacity - 1);
    while (set->slots[i] != 0 && set->slots[i] != value)
        i = (i + 1) & (set->capacity - 1);
    if (set->slots[i] == value) return false;
    set->slots[i] = value;
    set->count++;
    return true;
}

static void set_clear(HashSet *set)
{
    if (set->count > 0) memset(set->slots, 0, set->capacity * sizeof *set->slots);
    set->count = 0;
}

static void keep_init(Keep *keep, size_t units)
{
    keep->units = units;
    keep->words = mem_new_array(units / 64 + 1, sizeof *keep->words);
}

static void keep_deinit(Keep *keep)
{
    mem_free(keep->words);
}

static void keep_set(Keep *keep, size_t unit, bool on)
{
    uint64_t bit = UINT64_C(1) << (unit % 64);

    keep->words[unit / 64] = on ? keep->words[unit / 64] | bit : keep->words[unit / 64] & ~bit;
}

static void keep_fill(Keep *keep, bool on)
{
    for (size_t i = 0; i < keep->units; i++)
        keep_set(keep, i, on);
}

/* Subset number index of those that are sampled: none, all, one missing, one kept, then by chance
 * with few, half or many kept. */
static void keep_sample(Keep *keep, uint64_t index, uint64_t total, Rng *rng)
{
    static const uint32_t chances[] = {125000, 500000, 500000, 875000};
    uint64_t units = keep->units;
    uint64_t singles = MIN(units, total / 3); /* of each kind, spread over all units */

    keep_fill(keep, index == SUBSET_ALL);
    if (index <= SUBSET_ALL) return;
    index -= 2;
    if (index < 2 * singles) {
        bool missing = index < singles;
        keep_fill(keep, missing);
        keep_set(keep, (size_t)(index % singles * units / singles), !missing);
        return;
    }
    uint32_t chance = chances[rng_below(rng, ARRAY_LEN(chances))];
    for (size_t i = 0; i < units; i++)
        keep_set(keep, i, rng_chance(rng, chance));
}

/* A digit of four units, lowest first; "-" for a state without pending units. */
static ErrCode keep_print(const Keep *keep, Buf *out)
{
    if (keep->units == 0) return buf_printf(out, NULL, "-");
    for (size_t i = 0; i < keep->units; i += 4) {
        unsigned digit = (unsigned)(keep->words[i / 64] >> (i % 64)) & 15;
        TRY(buf_printf(out, NULL, "%x", digit));
    }
    return OK;
}

static void keep_parse(Keep *keep, Str hex)
{
    keep_fill(keep, false);
    for (size_t i = 0; i < keep->units && i / 4 < hex.len; i++) {
        char digit[2] = {hex.ptr[i / 4], '\0'};
        keep_set(keep, i, (strtoul(digit, NULL, 16) >> (i % 4) & 1) != 0);
    }
}

static ErrCode state_print(const State *state, Buf *out)
{
    TRY(buf_printf(out, NULL, "%s:%" PRIu64 ":", state->workload->name, state->stop));
    TRY(state->keep.words == NULL ? buf_printf(out, NULL, "kill") : keep_print(&state->keep, out));
    if (state->recovery == NULL) return OK;
    TRY(state->recovery_stop == NO_STOP
            ? buf_printf(out, NULL, ":end:")
            : buf_printf(out, NULL, ":%" PRIu64 ":", state->recovery_stop));
    return keep_print(state->recovery, out);
}

static void report(CrashStates *states, const State *state, const char *text)
{
    AUTO_BUF(line, 1 * MIB);

    states->counts.failed++;
    if (states->options.quiet) return;
    const char *name = state_print(state, &line) == OK ? (const char *)line.data : "?";
    printf("FAILED HOLDFAST_CRASH=%.*s (seed %" PRIu64 "): %s\n", (int)line.len, name,
           states->options.seed, text);
}

/* For the person who replays: the image before the code under test touches it. */
static void dump(const CrashStates *states, const Disk *disk, const char *what)
{
    const char *dir = getenv("HOLDFAST_CRASH_DUMP");
    char path[512];
    Err err;

    if (!states->replay.wanted || dir == NULL) return;
    (void)snprintf(path, sizeof path, "%s/%s", dir, what); /* cut short it fails below */
    ErrCode code = disk_sim_dump(disk, path, &err);
    printf("dump to %s: %s\n", path, code == OK ? "done" : err_text(&err));
}

/* Has the workload failed often enough? */
static bool too_many(const CrashStates *states)
{
    return states->counts.failed - states->failed_before >= states->options.failures_max;
}

/* Counts the image of disk and compares it: false if it failed. */
static bool verify(CrashStates *states, const State *state, Disk *disk, const void *oracle,
                   uint64_t *outcome)
{
    Err err;

    err_clear(&err);
    states->counts.states++;
    if (set_add(&states->images, disk_sim_fingerprint(disk))) states->counts.distinct++;
    if (state->workload->verify(disk, oracle, outcome, &err) == OK) return true;
    report(states, state, err_text(&err));
    return false;
}

static Disk *image_of(const Disk *disk, const Keep *keep, uint64_t seed)
{
    Disk *image = NULL;
    ErrCode code = disk_sim_crash_image(disk, keep->words, seed, &image, NULL);

    ASSERT(code == OK);
    return image;
}

/* The second crash: disk was stopped in, or is at the end of, its recovery. promised: what a
 * complete recovery found, or NULL. */
static void crash_again(CrashStates *states, State *state, const Disk *disk, const void *oracle,
                        const uint64_t *promised)
{
    const CrashOptions *options = &states->options;
    uint64_t subsets = options->recovery_subsets;
    Keep keep;

    keep_init(&keep, disk_sim_pending(disk));
    if (keep.units < 20) subsets = MIN(subsets, UINT64_C(1) << keep.units);
    if (states->replay.wanted) subsets = 1;
    for (uint64_t i = 0; i < subsets; i++) {
        uint64_t outcome = 0;
        keep_fill(&keep, i == SUBSET_ALL);
        if (i > SUBSET_ALL) keep_sample(&keep, UINT64_MAX, 0, &states->rng);
        if (states->replay.wanted) keep_parse(&keep, states->replay.recovery_keep);
        state->recovery = &keep;
        AUTO(Disk, disk_free) image = image_of(disk, &keep, options->seed);
        dump(states, image, "second");
        states->counts.recoveries++;
        if (verify(states, state, image, oracle, &outcome) && promised != NULL &&
            outcome != *promised) {
            report(states, state, "another outcome than the recovery before this crash");
        }
    }
    state->recovery = NULL;
    keep_deinit(&keep);
}

/* Crashes the recovery of image, which takes ops operations, before each of them. */
static void crash_inside(CrashStates *states, State *state, const Disk *image, uint64_t ops,
                         const void *oracle)
{
    const Replay *replay = &states->replay;
    uint64_t nothing = 0;
    const Keep none = {.words = &nothing, .units = 0};

    for (uint64_t stop = 0; stop < ops && !too_many(states); stop++) {
        uint64_t outcome = 0;
        Err err;
        if (replay->wanted && stop != replay->recovery_stop) continue;
        AUTO(Disk, disk_free) copy = image_of(image, &none, states->options.seed);
        disk_sim_stop_at(copy, stop);
        ErrCode ignored = state->workload->verify(copy, oracle, &outcome, &err);
        (void)ignored; /* the power went while it ran */
        state->recovery_stop = stop;
        crash_again(states, state, copy, oracle, NULL);
    }
}

/* One image of one stop, and by chance the crashes of its recovery. */
static void run_image(CrashStates *states, State *state, const Disk *stopped, const void *oracle)
{
    const CrashOptions *options = &states->options;
    const Replay *replay = &states->replay;
    uint64_t outcome = 0;
    uint64_t nothing = 0;
    const Keep none = {.words = &nothing, .units = 0};
    AUTO(Disk, disk_free) image = image_of(stopped, &state->keep, options->seed);

    if (!set_add(&states->at_stop, disk_sim_fingerprint(image))) return;
    bool again = replay->wanted ? replay->twice
                                : options->recovery_per_million > 0 &&
                                      rng_chance(&states->rng, options->recovery_per_million);
    dump(states, image, "first");
    AUTO(Disk, disk_free) before = again ? image_of(image, &none, options->seed) : NULL;
    if (!verify(states, state, image, oracle, &outcome) || !again) return;
    uint64_t ops = disk_sim_op_count(image);
    crash_inside(states, state, before, ops, oracle);
    if (replay->wanted && replay->recovery_stop != NO_STOP) return;
    state->recovery_stop = NO_STOP;
    crash_again(states, state, image, oracle, &outcome);
}

/* kill -9 at the stop, recovery from the page cache, then the power fails. */
static void run_killed(CrashStates *states, State *state, Disk *stopped, const void *oracle)
{
    uint64_t outcome = 0;

    state->keep = (Keep){.words = NULL};
    state->recovery_stop = NO_STOP;
    disk_sim_kill(stopped);
    dump(states, stopped, "first");
    if (!verify(states, state, stopped, oracle, &outcome)) return;
    crash_again(states, state, stopped, oracle, &outcome);
}

static void run_images(CrashStates *states, State *state, const Disk *stopped, const void *oracle)
{
    const CrashOptions *options = &states->options;
    Keep keep;

    keep_init(&keep, disk_sim_pending(stopped));
    bool all = keep.units <= options->exhaustive_max;
    uint64_t subsets = all ? UINT64_C(1) << keep.units : options->sampled;
    if (states->replay.wanted) subsets = 1;
    for (uint64_t i = 0; i < subsets && !too_many(states); i++) {
        if (states->replay.wanted) {
            keep_parse(&keep, states->replay.keep);
        } else if (all) {
            keep.words[0] = i;
        } else {
            keep_sample(&keep, i, subsets, &states->rng);
        }
        state->keep = keep;
        run_image(states, state, stopped, oracle);
    }
    keep_deinit(&keep);
}

/* Runs the workload up to operation stop, then all states there. Returns its operations, or 0 when
 * it failed by itself. */
static uint64_t run_stop(CrashStates *states, const CrashWorkload *workload, uint64_t stop)
{
    State state = {.workload = workload, .stop = stop, .recovery_stop = NO_STOP};
    AUTO(Disk, disk_free) disk = NULL;
    Err err;

    err_clear(&err);
    set_clear(&states->at_stop);
    rng_init(&states->rng, states->options.seed ^ stop);
    ErrCode code = disk_sim_new(states->options.seed, &disk, &err);
    ASSERT(code == OK);
    void *oracle = workload->oracle_new(states->options.seed);
    if (workload->setup != NULL) code = workload->setup(disk, oracle, &err);
    if (code == OK) {
        disk_sim_stop_at(disk, stop);
        code = workload->run(disk, oracle, &err);
        if (disk_sim_stopped(disk)) code = OK;
    }
    uint64_t ops = code == OK ? disk_sim_op_count(disk) : 0;
    if (code != OK) {
        report(states, &state, err_text(&err));
    } else if (stop != NO_STOP) {
        states->counts.stops++;
        if (!states->replay.wanted || !states->replay.kill) {
            run_images(states, &state, disk, oracle);
        }
        if (!states->replay.wanted || states->replay.kill) {
            run_killed(states, &state, disk, oracle);
        }
    }
    workload->oracle_free(oracle);
    return ops;
}

static void parse_replay(Replay *replay, const char *text)
{
    Str rest = str_from_cstr(text);
    Str part;

    if (rest.len == 0) return;
    replay->wanted = true;
    str_split(rest, ':', &replay->name, &rest);
    str_split(rest, ':', &part, &rest);
    bool good = str_to_u64(part, UINT64_MAX, &replay->stop);
    replay->twice = str_split(rest, ':', &replay->keep, &rest);
    replay->kill = str_eq(replay->keep, STR("kill"));
    replay->recovery_stop = NO_STOP;
    if (replay->twice) {
        str_split(rest, ':', &part, &replay->recovery_keep);
        if (!str_eq(part, STR("end"))) {
            good = good && str_to_u64(part, UINT64_MAX, &replay->recovery_stop);
        }
    }
    if (!good) printf("HOLDFAST_CRASH=%s is not understood\n", text);
}

CrashStates *crash_states_new(const CrashOptions *options)
{
    CrashStates *states = mem_new(sizeof *states);
    CrashOptions *own = &states->options;

    *own = *options;
    if (own->exhaustive_max == 0) own->exhaustive_max = 10;
    if (own->sampled == 0) own->sampled = 1024;
    if (own->recovery_subsets == 0) own->recovery_subsets = 4;
    if (own->failures_max == 0) own->failures_max = 10;
    ASSERT(own->exhaustive_max <= 20);
    parse_replay(&states->replay, getenv("HOLDFAST_CRASH"));
    return states;
}

void crash_states_free(CrashStates *states)
{
    if (states == NULL) return;
    mem_free(states->images.slots);
    mem_free(states->at_stop.slots);
    mem_free(states);
}

void crash_states_run(CrashStates *states, const CrashWorkload *workload)
{
    const Replay *replay = &states->replay;
    CrashCounts before = states->counts;

    states->failed_before = before.failed;
    if (replay->wanted) {
        if (str_eq(replay->name, str_from_cstr(workload->name))) {
            run_stop(states, workload, replay->stop);
        }
        return;
    }
    uint64_t ops = run_stop(states, workload, NO_STOP);
    if (ops > 0) {
        for (uint64_t stop = 0; stop <= ops && !too_many(states); stop++) {
            run_stop(states, workload, stop);
        }
    }
    if (states->options.quiet) return;
    printf("crash %s: %" PRIu64 " disk operations, %" PRIu64 " states (%" PRIu64
           " after a second crash), %" PRIu64 " new images, %" PRIu64 " failed%s\n",
           workload->name, ops, states->counts.states - before.states,
           states->counts.recoveries - before.recoveries, states->counts.distinct - before.distinct,
           states->counts.failed - before.failed, too_many(states) ? ", given up" : "");
}

CrashCounts crash_states_counts(const CrashStates *states)
{
    return states->counts;
}

static bool found_with(const CrashOptions *options, const CrashWorkload *workloads, size_t count,
                       const char *planted)
{
    CrashStates *states = crash_states_new(options);
    fault_plant(planted, true);
    for (size_t i = 0; i < count && states->counts.failed == 0; i++)
        crash_states_run(states, &workloads[i]);
    fault_reset();
    bool found = states->counts.failed > 0;
    crash_states_free(states);
    return found;
}

unsigned crash_states_blind(const CrashOptions *options, const CrashWorkload *workloads,
                            size_t workload_count, const char *const *planted, size_t planted_count)
{
    CrashOptions own = *options;
    unsigned blind = 0;

    own.failures_max = 1;
    own.quiet = true;
    for (size_t i = 0; i < planted_count && getenv("HOLDFAST_CRASH") == NULL; i++) {
        if (found_with(&own, workloads, workload_count, planted[i])) continue;
        printf("planted bug %s was not found\n", planted[i]);
        blind++;
    }
    return blind;
}

int crash_states_finish(CrashStates *states)
{
    const CrashCounts *counts = &states->counts;
    uint64_t required = states->replay.wanted ? 1 : states->options.required;
    bool good = counts->failed == 0 && counts->distinct >= required;

    if (!states->options.quiet) {
        printf("LAYER crash required=%" PRIu64 " executed=%" PRIu64 " failed=%" PRIu64
               " states=%" PRIu64 " recoveries=%" PRIu64 " stops=%" PRIu64 " seed=%" PRIu64 "\n",
               required, counts->distinct, counts->failed, counts->states, counts->recoveries,
               counts->stops, states->options.seed);
    }
    crash_states_free(states);
    return good ? 0 : 1;
}
