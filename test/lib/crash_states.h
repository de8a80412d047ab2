/* Crash states: runs a small workload on the simulated disk, stops it before each of its disk
 * operations (and after the last), and for each stop builds the images that a power failure could
 * leave there; on each image it lets the code under test recover and compares. It also crashes
 * inside and right after that recovery, and for each stop kills the process without a power
 * failure, recovers, and only then lets the power fail. Deterministic from the seed. One thread.
 *
 * A workload is a table of functions around an oracle: the test's own memory of what was
 * acknowledged, and of what was asked for and may have happened.
 *
 *     static const CrashWorkload appends = {
 *         .name = "appends", .oracle_new = …, .oracle_free = …,
 *         .run = …, .verify = …,
 *     };
 *     int main(void)
 *     {
 *         CrashStates *states = crash_states_new(&(CrashOptions){.seed = 1, .required = 50000});
 *         crash_states_run(states, &appends);
 *         return crash_states_finish(states);   // prints LAYER crash required=… executed=…
 * failed=…
 *     }
 *
 * A failed state is printed with a line to run it alone:
 *     HOLDFAST_CRASH=appends:17:2f ./program       and HOLDFAST_CRASH_DUMP=DIR to look at the image
 * which is NAME:STOP:KEEP[:RECOVERY_STOP:RECOVERY_KEEP]; a KEEP is the kept pending units in hex,
 * lowest first, or "kill"; RECOVERY_STOP "end" is a crash when recovery is complete. */
#ifndef HOLDFAST_TEST_LIB_CRASH_STATES_H
#define HOLDFAST_TEST_LIB_CRASH_STATES_H

#include "disk/sim.h"

typedef struct {
    const char *name; /* without ':' */
    /* A new oracle, for one run of the workload. seed is CrashOptions.seed, the same for each. */
    void *(*oracle_new)(uint64_t seed);
    void (*oracle_free)(void *oracle);
    /* May be NULL. What is there before anything can crash; its operations are no stops. Anything
     * but OK is a failed state. */
    ErrCode (*setup)(Disk *disk, void *oracle, Err *err);
    /* The workload: at most a dozen operations of the code under test. Deterministic. Notes in the
     * oracle, before an operation, that it may happen, and after it, whether it was acknowledged.
     * When the power goes each call of the disk is ERR_IO; run then returns soon, with any code,
     * and leaves nothing open. Without a stop it must return OK. */
    ErrCode (*run)(Disk *disk, void *oracle, Err *err);
    /* Opens and recovers what is on disk, compares it with the oracle, leaves nothing open.
     * Anything but OK: what was acknowledged is not there, or something is there that was never
     * asked for, or recovery refused. *outcome says which of the allowed states was found (a count,
     * a bit set, a hash of what is there): a verify that ended in OK has promised it, so after any
     * crash behind it the next must find the same. Is called often for one oracle, and also with a
     * disk that stops underway (its result then counts for nothing). */
    ErrCode (*verify)(Disk *disk, const void *oracle, uint64_t *outcome, Err *err);
} CrashWorkload;

typedef struct {
    uint64_t seed;
    uint64_t required;             /* distinct images without which crash_states_finish() fails */
    unsigned exhaustive_max;       /* up to so many pending units each subset; 0: 10; ≤ 20 */
    unsigned sampled;              /* subsets of more units, per stop; 0: 1024 */
    uint32_t recovery_per_million; /* images whose recovery is crashed at each of its operations */
    unsigned recovery_subsets;     /* images per crash inside recovery; 0: 4 */
    unsigned failures_max;         /* a workload ends at so many; 0: 10 */
    bool quiet;                    /* prints nothing: for tests that expect failures */
} CrashOptions;

typedef struct {
    uint64_t stops;      /* workload runs that were stopped */
    uint64_t states;     /* images that were recovered and compared, of all kinds */
    uint64_t distinct;   /* different images among them, by disk_sim_fingerprint() */
    uint64_t recoveries; /* crashes inside or right after a recovery, among the states */
    uint64_t failed;     /* states */
} CrashCounts;

typedef struct CrashStates CrashStates;

CrashStates *crash_states_new(const CrashOptions *options);
void crash_states_free(CrashStates *states);
/* Runs all states of workload, or the one that HOLDFAST_CRASH names. */
void crash_states_run(CrashStates *states, const CrashWorkload *workload);
CrashCounts crash_states_counts(const CrashStates *states);
/* Plants each of these bugs in turn and runs the workloads until a state fails. Returns how many
 * bugs no state noticed, and prints them. options: as above, for one bug; failures_max and quiet
 * are set here. 0, and nothing runs, when HOLDFAST_CRASH names a state. */
unsigned crash_states_blind(const CrashOptions *options, const CrashWorkload *workloads,
                            size_t workload_count, const char *const *planted,
                            size_t planted_count);
/* Prints the LAYER line and frees. Returns the exit status: 1 if a state failed or if fewer than
 * the required distinct images were seen (HOLDFAST_CRASH requires one state only). */
int crash_states_finish(CrashStates *states);

AUTO_DEFINE(CrashStates, crash_states_free);

#endif
