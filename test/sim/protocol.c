/* The simulator of the protocol: one seed, one thread, one shard on 1 to 7 nodes. Each seed draws
 * how bad the network, the disks, the clocks' pauses, the control store and the operator are; after
 * a time all faults end, and then every member must be in sync again and a majority serve.
 * Invariants are looked at as things happen; in the end the history of all clients must be
 * linearizable.
 *
 *   sim_protocol [--seed N] [--count N] [--required N] [--plant NAME] [--until-failure] [--trace]
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "protocol_world.h"

#define FAULTS_NS (30000 * MS)
#define HEAL_NS (60000 * MS)
#define REPAIR_NS (20000 * MS) /* until the operator comes */

#define EARNEST_RUNS 1000 /* from so many on it is asked what was seen in them */
#define EXCUSED_ONE_IN 250
#define GAVE_UP_ONE_IN 20 /* keys; a run has some thirty */

typedef struct {
    const char *name;
    unsigned bug;
} WorldBugName;
static const WorldBugName world_bugs[] = {
    {"lost-disk-counts", WORLD_LOST_DISK},
    {"page-cache-durable", WORLD_PAGE_CACHE},
    {"votes-cut-with-log", WORLD_VOTES_CUT},
    {"read-without-lease", WORLD_READ_UNCHECKED},
    {"decide-without-pending", WORLD_DECIDE_ON_COMMITTED},
    {"refuse-without-lease", WORLD_REFUSE_UNCHECKED},
    {"previous-config-forgotten", WORLD_NO_PREV_CONFIG},
};
#define BUG_NAME(id, name) name,
static const char *const replica_bugs[] = {REPLICA_BUGS(BUG_NAME)};

typedef struct {
    uint64_t seed;
    uint64_t count;
    uint64_t required;
    const char *seeds; /* a file; NULL: none */
    bool until_failure;
    WorldOptions options;
} Arguments;

typedef struct {
    uint64_t executed;
    uint64_t failed;
    uint64_t events;
    uint64_t acknowledged;
    uint64_t reads;
    uint64_t starts;
    uint64_t snapshots;
    uint64_t changes;
    uint64_t truncations;
    uint64_t roll_backs;
    uint64_t lost_disks;
    uint64_t repairs;
    uint64_t excused; /* runs that only an operator could have healed */
    HistoryStats history;
} Totals;

static volatile uint64_t running_seed; /* for on_abort() */

/* An assertion failed: says which seed did it. */
static void on_abort(int signal)
{
    UNUSED(signal);
    dprintf(STDOUT_FILENO, "seed %" PRIu64 ": an assertion failed\n", running_seed);
}

static void check_history(World *world, Totals *totals)
{
    unsigned key = 0;
    if (world->wrong[0] != '\0' || history_check(world->history, &key, &totals->history)) return;
    world_wrong(world, "the history of key %u has no order", key);
}

static void add_up(const World *world, Totals *totals)
{
    totals->events += world->events;
    totals->acknowledged += world->acknowledged;
    totals->reads += world->reads;
    totals->starts += world->starts;
    totals->snapshots += world->snapshots;
    totals->changes += world->changes;
    totals->truncations += world->truncations;
    totals->roll_backs += world->roll_backs;
    totals->lost_disks += world->lost_disks;
    totals->repairs += world->repairs;
}

/* An idle simulator finds nothing either: of enough runs all that it is for must have been seen,
 * and few may end without a verdict. */
static bool ran_in_earnest(const Totals *t, const Arguments *args)
{
    if (t->executed < EARNEST_RUNS || args->until_failure) return true;
    const struct {
        const char *name;
        uint64_t count;
    } seen[] = {
        {"acknowledged changes", t->acknowledged},
        {"reads", t->reads},
        {"terms", t->starts},
        {"snapshots", t->snapshots},
        {"changes of members", t->changes},
        {"tails cut", t->truncations},
        {"roll-backs", t->roll_backs},
        {"disks lost", t->lost_disks},
        {"rows repaired", t->repairs},
    };
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        if (seen[i].count > 0) continue;
        printf("%" PRIu64 " seeds, and no %s\n", t->executed, seen[i].name);
        good = false;
    }
    if (t->excused * EXCUSED_ONE_IN > t->executed) {
        printf("%" PRIu64 " runs were left to an operator, more than one in %d\n", t->excused,
               EXCUSED_ONE_IN);
        good = false;
    }
    if (t->history.gave_up * GAVE_UP_ONE_IN > t->executed) {
        printf("the histories of %" PRIu64 " keys were left out\n", t->history.gave_up);
        good = false;
    }
    return good;
}

static void say_nodes(World *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        const Node *node = &world->nodes[i];
        world_say(world, "%u: %s, term %u, lsn %" PRIu64 ", commit %" PRIu64 ", isr %x of %u", i,
                  node->up ? replica_role_name(replica_role(node->replica)) : "down",
                  node->up ? replica_term(node->replica) : 0, disk_last(node), node->commit,
                  node->up ? replica_config(node->replica)->isr : 0,
                  node->up ? replica_config(node->replica)->member_count : 0);
    }
}

static bool run_seed(uint64_t seed, const Arguments *args, uint64_t *hash, Totals *totals)
{
    WorldOptions options = args->options;
    options.seed = seed;
    World *world = world_new(&options);
    while (world->wrong[0] == '\0' && world->now_ns < FAULTS_NS)
        world_step(world);
    faults_heal(world);
    uint64_t acknowledged = world->acknowledged;
    uint64_t end = world->now_ns + HEAL_NS;
    uint64_t repair = world->now_ns + REPAIR_NS;
    bool healed = false;
    while (world->wrong[0] == '\0' && world->now_ns < end && !healed) {
        for (int i = 0; i < 100 && world->wrong[0] == '\0'; i++)
            world_step(world);
        healed = world->acknowledged > acknowledged && faults_healed(world);
        if (world->roll_backs == 0 || world->now_ns < repair) continue;
        if (world->acknowledged == acknowledged) faults_repair_config(world);
        repair = end;
    }
    say_nodes(world);
    bool excused = !healed && world->wrong[0] == '\0' && faults_excused(world);
    totals->excused += excused;
    if (!healed && !excused)
        world_wrong(world, "not healed after %d s", (int)(HEAL_NS / (1000 * MS)));
    check_history(world, totals);
    bool good = world->wrong[0] == '\0';
    if (!good) printf("seed %" PRIu64 ": %s\n", seed, world->wrong);
    *hash = world->hash;
    add_up(world, totals);
    world_free(world);
    return good;
}

static bool plant(const char *name, WorldOptions *options)
{
    for (size_t i = 0; i < ARRAY_LEN(replica_bugs); i++) {
        if (strcmp(replica_bugs[i], name) != 0) continue;
        options->bugs |= UINT64_C(1) << i;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(world_bugs); i++) {
        if (strcmp(world_bugs[i].name, name) != 0) continue;
        options->world_bugs |= world_bugs[i].bug;
        return true;
    }
    return false;
}

static void list_bugs(void)
{
    for (size_t i = 0; i < ARRAY_LEN(replica_bugs); i++)
        printf("%s\n", replica_bugs[i]);
    for (size_t i = 0; i < ARRAY_LEN(world_bugs); i++)
        printf("%s\n", world_bugs[i].name);
}

static bool parse(int argc, char **argv, Arguments *out)
{
    *out = (Arguments){.seed = 1, .count = 1};
    for (int i = 1; i < argc; i++) {
        uint64_t *number = strcmp(argv[i], "--seed") == 0       ? &out->seed
                           : strcmp(argv[i], "--count") == 0    ? &out->count
                           : strcmp(argv[i], "--required") == 0 ? &out->required
                                                                : NULL;
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            out->seeds = argv[++i];
        } else if (number != NULL && i + 1 < argc) {
            if (!str_to_u64(str_from_cstr(argv[++i]), UINT64_MAX, number)) return false;
        } else if (strcmp(argv[i], "--plant") == 0 && i + 1 < argc) {
            if (!plant(argv[++i], &out->options)) return false;
        } else if (strcmp(argv[i], "--trace") == 0) {
            out->options.trace = true;
        } else if (strcmp(argv[i], "--until-failure") == 0) {
            out->until_failure = true;
        } else {
            return false;
        }
    }
    return true;
}

static void run_one(uint64_t seed, const Arguments *args, Totals *totals)
{
    uint64_t hash = 0;
    uint64_t again = 0;
    running_seed = seed;
    totals->executed++;
    bool good = run_seed(seed, args, &hash, totals);
    if (!good) totals->failed++;
    if (seed % 100 != 0) return;
    if (run_seed(seed, args, &again, totals) != good || again != hash) {
        printf("seed %" PRIu64 ": the second run differs from the first\n", seed);
        if (good) totals->failed++;
    }
}

/* Lines: a seed, then what it found; '#' begins a comment. */
static bool run_file(const Arguments *args, Totals *totals)
{
    FILE *file = fopen(args->seeds, "re");
    if (file == NULL) return false;
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t seed = 0;
        Str text = str_from_cstr(line);
        text.len = strcspn(line, " \n");
        if (str_to_u64(text, UINT64_MAX, &seed)) run_one(seed, args, totals);
    }
    fclose(file);
    return true;
}

static void print_totals(const Totals *t, const Arguments *args, double seconds)
{
    printf("%" PRIu64 " events, %.0f a second; %" PRIu64 " terms, %" PRIu64
           " changes of members, %" PRIu64 " tails cut, %" PRIu64 " snapshots, %" PRIu64
           " disks lost, %" PRIu64 " roll-backs, %" PRIu64 " rows repaired, %" PRIu64
           " left to an operator\n",
           t->events, (double)t->events / seconds, t->starts, t->changes, t->truncations,
           t->snapshots, t->lost_disks, t->roll_backs, t->repairs, t->excused);
    printf("%" PRIu64 " changes were acknowledged, %" PRIu64 " reads; of histories %" PRIu64
           " operations were checked, %" PRIu64 " with unknown outcomes, %" PRIu64
           " keys left out\n",
           t->acknowledged, t->reads, t->history.ops, t->history.unknown, t->history.gave_up);
    printf("LAYER protocol required=%" PRIu64 " executed=%" PRIu64 " failed=%" PRIu64 "\n",
           args->required, t->executed, t->failed);
}

int main(int argc, char **argv)
{
    Arguments args;
    if (argc == 2 && strcmp(argv[1], "--bugs") == 0) {
        list_bugs();
        return 0;
    }
    if (!parse(argc, argv, &args)) {
        fprintf(stderr, "usage: sim_protocol [--seed N] [--count N] [--required N] [--seeds FILE] "
                        "[--plant NAME] [--until-failure] [--trace] | --bugs\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* a failing seed is seen at once */
    ASSERT(signal(SIGABRT, on_abort) != SIG_ERR);
    Totals totals = {0};
    uint64_t begun = clock_boot_ns(clock_real());
    if (args.seeds != NULL && !run_file(&args, &totals)) {
        fprintf(stderr, "cannot read %s\n", args.seeds);
        return 2;
    }
    for (uint64_t seed = args.seed; seed < args.seed + args.count; seed++) {
        run_one(seed, &args, &totals);
        if (totals.failed > 0 && args.until_failure) break;
    }
    print_totals(&totals, &args, (double)(clock_boot_ns(clock_real()) - begun) / 1e9);
    bool good = ran_in_earnest(&totals, &args) && totals.failed == 0;
    return good && totals.executed >= args.required ? 0 : 1;
}
