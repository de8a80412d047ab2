/* Several roots in one process, simulated in one thread from a seed: engine, replicas, stores, logs
 * and control store are the real ones, on simulated disks. Clients put, create, swap and delete;
 * writers, appliers and readers of logs run in any order; disks begin to fail, the process is
 * killed or power goes, and it starts again. At the end the disks are well: everything must be
 * served again, every root must be in sync and have it, and the history of each key must be
 * linearizable. In one of four seeds logs are kept; in the others they are cut, and whoever is
 * behind the start of all gets a snapshot, behind which power may fail at once. When all are in
 * sync a disk may be lost with the process: another root is in its place. Mail between roots is
 * lost, late and repeated. Keys are in three buckets: one as buckets are at first; one whose writes
 * are asynchronous, of which what was acknowledged may be lost when another root takes the lead,
 * or the process dies, but comes back no more, and nothing newer is there without it; and one that
 * requires all copies. What a reply says of copies must be so. Now and then the lead is cut off
 * from the others, syncs a tail that nobody else has, and then its disk fails: when it is there
 * again, that tail is to be cut. Fewer than half of the disks are bad at a time. In one of three
 * seeds there are placement classes of two copies and of one, with a bucket each: their disks are
 * not replaced, and in the end all that they acknowledged is there, on those disks alone. In one of
 * four an operator hands over the lead, leaves roots out and takes them back, whatever else is
 * going on.
 *
 *   sim_roots [--seed N] [--count N] [--required N] [--cuts N] [--snapshots N] [--told N]
 *             [--roots N] [--mixed] [--plant NAME] [--until-failure] [--trace] */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "disk/sim.h"
#include "index/index.h"
#include "message_text.h"
#include "roots_sim.h"

#define STEPS 1500
#define HEAL_MS 20000

static HistoryStats all_stats;

/* Of all seeds. */
typedef struct {
    uint64_t acknowledged;
    uint64_t cuts;
    uint64_t seeds_cut; /* in which there was one */
    uint64_t seeds;     /* snapshots put into a root */
    uint64_t replaced;  /* roots */
    uint64_t told;      /* acknowledged by one root alone */
    uint64_t operated;  /* what an operator asked for was begun */
    uint64_t events;
} Sums;

void sim_fail(Sim *sim, const char *what, unsigned number)
{
    if (!sim->failed) printf("seed %" PRIu64 ": %s %u\n", sim->seed, what, number);
    sim->failed = true;
}

void sim_say(const Sim *sim, const char *what, uint64_t number)
{
    if (sim->trace)
        printf("%8" PRIu64 " ms  %s %" PRIu64 "\n", sim->clock.boot_ns / NS_PER_MS, what, number);
}

/* --- mail --- */

static bool is_of(const Sim *sim, unsigned root, const Message *message)
{
    Uuid uuid = sim->kit.roots[root].info.uuid;
    return id128_eq(uuid, message->from) || id128_eq(uuid, message->to);
}

static int root_of(const Sim *sim, Uuid uuid)
{
    for (unsigned r = 0; r < sim->count; r++) {
        if (id128_eq(sim->kit.roots[r].info.uuid, uuid)) return (int)r;
    }
    return -1;
}

static void say_mail(const Sim *sim, const Message *message, MailFate fate)
{
    if (!sim->trace) return;
    char text[MESSAGE_TEXT_MAX];
    message_text(message, root_of(sim, message->from), root_of(sim, message->to), text);
    printf("%8" PRIu64 " ms  shard %u: %s%s", sim->clock.boot_ns / NS_PER_MS, message->shard, text,
           fate.copies == 0   ? ", lost"
           : fate.copies == 1 ? ""
                              : ", twice");
    if (fate.turns > 0) printf(", %u turns late", fate.turns);
    printf("\n");
}

static MailFate draw_fate(Sim *sim, const Message *message)
{
    MailFate fate = {.copies = 1};
    if (sim->parted < sim->count && is_of(sim, sim->parted, message)) return (MailFate){0};
    if (!sim->stormy) return fate;
    if (rng_below(&sim->rng, 1000) < sim->lost) return (MailFate){0};
    if (rng_below(&sim->rng, 1000) < sim->twice) fate.copies = 2;
    if (rng_below(&sim->rng, 1000) < sim->late) fate.turns = 1 + (unsigned)rng_below(&sim->rng, 30);
    return fate;
}

static MailFate fate_of(void *ctx, const Message *message)
{
    Sim *sim = ctx;
    MailFate fate = draw_fate(sim, message);
    say_mail(sim, message, fate);
    return fate;
}

static void draw_weather(Sim *sim)
{
    sim->stormy = rng_below(&sim->rng, 2) == 0;
    sim->lost = rng_below(&sim->rng, 200);
    sim->late = rng_below(&sim->rng, 400);
    sim->twice = rng_below(&sim->rng, 200);
    sim_say(sim, sim->stormy ? "mail is lost, of 1000" : "mail arrives", sim->lost);
}

/* --- the process --- */

static void start(Sim *sim)
{
    Err err = {0};
    RootsKitOptions options = {.seed = rng_u64(&sim->rng),
                               .shards = 1 + (unsigned)(sim->seed % 3),
                               .clock = &sim->clock,
                               .keep_logs = sim->keep_logs,
                               .cuts = &sim->cuts,
                               .seeds = &sim->seeds,
                               .events = &sim->events,
                               .mail = fate_of,
                               .mail_ctx = sim,
                               .async_lag = sim->lag};
    ErrCode code = roots_kit_open(&sim->kit, sim->disks, sim->count, &options, &err);
    if (code != OK) {
        sim_fail(sim, err_text(&err), 0);
        return;
    }
    sim->up = true;
    sim->starts++;
    if (!roots_kit_ready(&sim->kit, HEAL_MS))
        sim_fail(sim, "not ready after start", (unsigned)sim->starts);
    client_loose_land(sim);
    history_settled(sim->history);
    sim_say(sim, "started", sim->starts);
}

static void mend_disks(Sim *sim)
{
    static const SimDiskFaults none = {0};
    for (unsigned r = 0; r < sim->count; r++) {
        disk_sim_set_faults(sim->disks[r], &none);
        sim->faulty[r] = false;
    }
    sim->parted = ENGINE_ROOTS_MAX;
    sim->stormy = false;
}

/* Nothing that is done from here on, as memory is freed, reaches a disk: an index that is closed
 * would be synced first. */
static void end_disks(Sim *sim)
{
    static const SimDiskFaults gone = {.write_error = 1000000, .sync_error = 1000000};
    for (unsigned r = 0; r < sim->count; r++)
        disk_sim_set_faults(sim->disks[r], &gone);
}

static void stop(Sim *sim, bool power)
{
    sim_say(sim, power ? "power fails" : "killed", 0);
    client_collect(sim);
    client_loose_fall(sim);
    end_disks(sim);
    roots_kit_drop(&sim->kit);
    for (unsigned i = 0; i < OPS_MAX; i++) {
        if (!sim->ops[i].used) continue;
        mutation_deinit(&sim->ops[i].m); /* of unknown outcome */
        sim->ops[i].used = false;
    }
    mend_disks(sim);
    for (unsigned r = 0; r < sim->count; r++) {
        if (power)
            disk_sim_crash(sim->disks[r]);
        else
            disk_sim_kill(sim->disks[r]);
    }
    sim->up = false;
}

static unsigned faulty_count(const Sim *sim)
{
    unsigned count = 0;
    for (unsigned r = 0; r < sim->count; r++)
        count += sim->faulty[r];
    return count;
}

/* Fewer than half at a time: what their failure must not take. */
static bool may_fail(const Sim *sim)
{
    return faulty_count(sim) < (sim->count - 1) / 2;
}

static void fail_disk(Sim *sim, unsigned root)
{
    static const SimDiskFaults broken = {.write_error = 1000000, .sync_error = 1000000};
    if (!may_fail(sim) || sim->faulty[root]) return;
    sim_say(sim, "disk fails", root);
    sim->faulty[root] = true;
    disk_sim_set_faults(sim->disks[root], &broken);
}

/* The lead's log gets a tail that no other root has, and is lost with its disk. */
static void fail_lead(Sim *sim)
{
    unsigned lead = engine_lead(sim->kit.engine);
    if (!may_fail(sim) || sim->faulty[lead]) return;
    sim_say(sim, "nothing comes from", lead);
    sim->parted = lead;
    for (uint64_t i = 1 + rng_below(&sim->rng, OPS_MAX); i > 0; i--)
        client_submit(sim);
    roots_kit_append(&sim->kit, lead, SIZE_MAX);
    roots_kit_sync(&sim->kit, lead);
    fail_disk(sim, lead);
}

static void apply(Sim *sim, unsigned root)
{
    Err err = {0};
    ErrCode code = roots_kit_apply(&sim->kit, root, &err);
    if (code == OK) return;
    if (!sim->faulty[root]) sim_fail(sim, "the applier failed on root", root);
    engine_root_failed(sim->kit.engine, root);
}

/* Bit r: what root r has some class keeps nowhere else, or on too few others. */
static unsigned needed_roots(const Sim *sim)
{
    if (sim->keys < KEYS_ALL) return 0;
    return client_class(sim, KEYS_PAIR).members | client_class(sim, KEYS_ONE).members;
}

/* A directory is lost, and there is a new one in its place. needed: not one of these. */
static void replace_root(Sim *sim, unsigned needed)
{
    Err err = {0};
    unsigned root = (unsigned)rng_below(&sim->rng, sim->count);
    if ((needed >> root & 1) != 0) return;
    sim_say(sim, "a new disk", root);
    disk_free(sim->disks[root]);
    ErrCode code = disk_sim_new(rng_u64(&sim->rng), &sim->disks[root], &err);
    ASSERT(code == OK);
    sim->replaced++;
}

static bool is_all_well(const Sim *sim)
{
    return engine_in_sync(sim->kit.engine) == (1u << sim->count) - 1 && faulty_count(sim) == 0;
}

/* Who are members must be known to be committed by more than the one that is lost next: of two,
 * while a third is on its way, neither may go (seed 102). */
static void know_all(Sim *sim)
{
    roots_kit_wait(&sim->kit, 4 * ENGINE_TICK_MS);
    for (unsigned r = 0; r < sim->count; r++)
        apply(sim, r);
    client_collect(sim);
}

/* Perhaps again at once: what was just cut off a log and replaced there is applied, and read anew.
 */
static void restart(Sim *sim, bool power)
{
    bool loses = rng_below(&sim->rng, 3) == 0 && sim->count > 1 && is_all_well(sim);
    if (loses) know_all(sim);
    loses = loses && is_all_well(sim);
    unsigned needed = loses ? needed_roots(sim) : 0;
    stop(sim, power);
    if (loses) replace_root(sim, needed);
    start(sim);
    if (sim->failed || rng_below(&sim->rng, 2) == 0) return;
    for (unsigned r = 0; r < sim->count; r++)
        apply(sim, r);
    stop(sim, false);
    start(sim);
}

/* Right after a snapshot is told to be whole: it must be there. */
static void lose_power(Sim *sim)
{
    roots_kit_wait(&sim->kit, rng_below(&sim->rng, 3) * ENGINE_TICK_MS);
    client_collect(sim);
    stop(sim, true);
    start(sim);
}

/* The control store takes its time: what it did is told later, if at all before the process ends,
 * and now and then as unknown, be it done or not. */
static void ask_control(Sim *sim)
{
    bool unknown = rng_below(&sim->rng, 12) == 0;
    if (rng_below(&sim->rng, 2) == 0) roots_kit_control_run(&sim->kit);
    if (unknown || sim->kit.control_run) roots_kit_control_tell(&sim->kit, !unknown);
}

/* Draws of its own: the other seeds stay what they were. */
static void operate(Sim *sim)
{
    Err err = {0};
    if (rng_below(&sim->operator, 40) != 0) return;
    unsigned root = (unsigned)rng_below(&sim->operator, sim->count);
    unsigned pick = (unsigned)rng_below(&sim->operator, 5);
    ErrCode code = pick == 0  ? engine_hand_over(sim->kit.engine, root, &err)
                   : pick < 3 ? engine_evict(sim->kit.engine, root, &err)
                              : engine_add(sim->kit.engine, root, &err);
    if (code == OK)
        sim_say(sim, pick == 0 ? "handed over to" : pick < 3 ? "left out" : "taken back", root);
    sim->operated += code == OK;
    if (code != OK && code != ERR_PRECONDITION && code != ERR_BUSY && code != ERR_NOT_READY)
        sim_fail(sim, err_text(&err), root);
}

static void step(Sim *sim)
{
    uint64_t seeds = sim->seeds;
    static const EngineHealth well[ENGINE_ROOTS_MAX];
    unsigned root = (unsigned)rng_below(&sim->rng, sim->count);
    unsigned pick = (unsigned)rng_below(&sim->rng, 1000);
    if (pick < 250)
        client_submit(sim);
    else if (pick < 330)
        client_read(sim);
    else if (pick < 550)
        roots_kit_append(&sim->kit, root, 1 + rng_below(&sim->rng, 4));
    else if (pick < 750)
        roots_kit_sync(&sim->kit, root);
    else if (pick < 790)
        roots_kit_fetch(&sim->kit, root);
    else if (pick < 800)
        roots_kit_seed(&sim->kit, root);
    else if (pick < 820)
        ask_control(sim);
    else if (pick < 870)
        apply(sim, root);
    else if (pick < 990) {
        sim->clock.boot_ns += rng_below(&sim->rng, 2 * ENGINE_TICK_MS) * NS_PER_MS;
        engine_tick(sim->kit.engine, well);
    } else if (pick < 992)
        fail_disk(sim, root);
    else if (pick < 994)
        fail_lead(sim);
    else if (pick < 997) {
        restart(sim, pick == 994);
    } else
        draw_weather(sim);
    sim->events++;
    if (sim->up && sim->seed % 4 == 1) operate(sim);
    if (sim->up) engine_turn(sim->kit.engine);
    if (sim->up) client_watch_reign(sim);
    client_collect(sim);
    if (sim->up && sim->seeds > seeds && rng_below(&sim->rng, 2) == 0) lose_power(sim);
}

/* What root has applied of the bucket, and what it counts of it. */
static void count_bucket(Sim *sim, unsigned root, Str bucket, BucketStatRow *listed,
                         BucketStatRow *counted)
{
    Err err = {0};
    BucketRecord record;
    StoreReader *reader = sim->kit.roots[root].reader;
    AUTO(StoreList, store_list_close) list = NULL;
    *listed = (BucketStatRow){0};
    *counted = (BucketStatRow){0};
    bool found = buckets_find(sim->kit.buckets, bucket, &record);
    StoreListOptions options = {.bucket = record.uid, .versions = true};
    ErrCode code = store_list_open(reader, &options, &list, &err);
    while (code == OK && found) {
        StoreFound file;
        bool is_prefix = false;
        code = store_list_next(list, &file, &is_prefix, &found, &err);
        if (code == OK && found) listed->files++;
        if (code == OK && found) listed->bytes += file.row.size;
    }
    if (code == OK) code = store_bucket_stat(reader, record.uid, counted, &err);
    if (code != OK) sim_fail(sim, "unreadable bucket on root", root);
}

/* Each root is in sync, and counts what it has. */
static void check_roots(Sim *sim)
{
    for (unsigned r = 0; r < sim->count; r++)
        apply(sim, r);
    for (unsigned r = 0; r < sim->count; r++) {
        for (unsigned key = 0; key < KEYS; key += KEYS_WHOLE - KEYS_LOOSE) {
            BucketStatRow listed;
            BucketStatRow counted;
            count_bucket(sim, r, client_bucket(key), &listed, &counted);
            bool equal = listed.files == counted.files && listed.bytes == counted.bytes;
            if (!equal) sim_fail(sim, "a bucket is counted wrong on root", r);
        }
        if ((engine_in_sync(sim->kit.engine) >> r & 1) == 0) sim_fail(sim, "not in sync: root", r);
    }
}

/* All is well again: each root must have the same. */
static void last_words(Sim *sim)
{
    stop(sim, rng_below(&sim->rng, 2) == 0);
    start(sim);
    if (sim->failed) return;
    roots_kit_wait(&sim->kit, HEAL_MS);
    for (unsigned key = 0; key < sim->keys; key++) {
        uint64_t first = 0;
        uint64_t moment = history_now(sim->history);
        EngineClass class = client_class(sim, key);
        if (class.read_until <= sim->clock.boot_ns || class.in_sync != class.members)
            sim_fail(sim, "not whole again: class of key", key);
        if ((unsigned)__builtin_popcount(class.members) != client_copies(sim, key))
            sim_fail(sim, "not on as many roots as it should be: key", key);
        if (!client_read_key(sim, class.lead, key, &first)) sim_fail(sim, "unreadable key", key);
        history_read(sim->history, key, first, moment);
        for (unsigned r = 0; r < sim->count; r++) {
            uint64_t value = 0;
            bool keeps = (class.members >> r & 1) != 0;
            bool there = client_read_key(sim, r, key, &value) && value == (keeps ? first : 0);
            if (!there) sim_fail(sim, "not where it should be: key", key);
        }
    }
    check_roots(sim);
    unsigned key = 0;
    if (!history_check(sim->history, &key, &all_stats))
        sim_fail(sim, "no order of the history of key", key);
}

static void made(Mutation *m)
{
    ASSERT(m->code == OK);
    *(bool *)m->ctx = true;
}

static void make_bucket(Sim *sim, Str name, BucketSettings settings)
{
    bool done = false;
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = name;
    m.settings = settings;
    m.done = made;
    m.ctx = &done;
    engine_submit(sim->kit.engine, &m);
    roots_kit_settle(&sim->kit);
    ASSERT(done);
    mutation_deinit(&m);
}

static void make_class(Sim *sim, const char *name, unsigned copies, unsigned min_isr)
{
    Mutation m;
    mutation_init(&m, MUTATION_CLASS_SET);
    m.key = str_from_cstr(name);
    m.class_settings = (ClassSettings){.has_copies = true,
                                       .copies = copies,
                                       .has_min_isr = true,
                                       .min_isr = min_isr,
                                       .has_shards = true,
                                       .shards = 1 + (unsigned)(sim->seed % 2)};
    ErrCode code = roots_kit_do(&sim->kit, &m, HEAL_MS);
    ASSERT(code == OK);
    mutation_deinit(&m);
    make_bucket(sim, str_from_cstr(name),
                (BucketSettings){.has_class = true, .class = str_from_cstr(name)});
}

static void make_buckets(Sim *sim)
{
    if (sim->keys == KEYS_ALL) {
        make_class(sim, "pair", 2, 2);
        make_class(sim, "one", 1, 1);
    }
    make_bucket(sim, STR("loose"), (BucketSettings){.has_mode = true, .mode = PLACE_ASYNC});
    make_bucket(sim, STR("whole"),
                (BucketSettings){.has_require = true, .require = PLACE_REQUIRE_ALL});
}

/* In some seeds classes are made while a root is left out. */
static void make_buckets_with_one_out(Sim *sim)
{
    Err err = {0};
    unsigned root = (unsigned)rng_below(&sim->operator, sim->count);
    bool out = sim->keys == KEYS_ALL && sim->seed % 4 == 1 &&
               engine_evict(sim->kit.engine, root, &err) == OK;
    if (out) roots_kit_wait(&sim->kit, HEAL_MS);
    make_buckets(sim);
    if (out && engine_add(sim->kit.engine, root, &err) != OK) sim_fail(sim, err_text(&err), root);
}

static bool run(uint64_t seed, unsigned count, bool trace, Sums *sums)
{
    Sim *sim = mem_new(sizeof *sim);
    Err err = {0};
    sim->seed = seed;
    sim->trace = trace;
    sim->count = count;
    sim->parted = ENGINE_ROOTS_MAX;
    sim->history = history_new();
    rng_init(&sim->rng, seed);
    rng_init(&sim->operator, ~seed);
    sim->keep_logs = seed % 4 == 0;
    index_seed_randomness((uint32_t)seed);
    clock_manual_init(&sim->clock, 1700000000000);
    for (unsigned r = 0; r < sim->count; r++) {
        ErrCode code = disk_sim_new(rng_u64(&sim->rng), &sim->disks[r], &err);
        ASSERT(code == OK);
    }
    sim->lag = (EngineLag){.entries = 1 + seed % 5, .bytes = MIB, .ns = UINT64_C(5000000000)};
    sim->keys = seed % 3 == 0 && count > 1 ? KEYS_ALL : KEYS;
    for (unsigned key = 0; key < KEYS_ALL; key++)
        sim->loose[key].falls = HISTORY_NONE;
    start(sim);
    if (!sim->failed) make_buckets_with_one_out(sim);
    for (unsigned i = 0; i < STEPS * MAX(sim->count, 3u) / 3 && !sim->failed; i++)
        step(sim);
    if (!sim->failed) last_words(sim);
    bool good = !sim->failed;
    sums->acknowledged += sim->acknowledged;
    sums->cuts += sim->cuts;
    sums->seeds += sim->seeds;
    sums->replaced += sim->replaced;
    sums->told += sim->told;
    sums->operated += sim->operated;
    sums->events += sim->events;
    sums->seeds_cut += sim->cuts > 0;
    if (sim->up) stop(sim, false);
    for (unsigned r = 0; r < sim->count; r++)
        disk_free(sim->disks[r]);
    history_free(sim->history);
    mem_free(sim);
    return good;
}

static volatile uint64_t running_seed;

static void on_abort(int signal)
{
    UNUSED(signal);
    dprintf(STDOUT_FILENO, "seed %" PRIu64 ": an assertion failed\n", running_seed);
}

typedef struct {
    uint64_t seed;
    uint64_t count;
    uint64_t required;  /* seeds */
    uint64_t cuts;      /* required: cut tails of logs, in all */
    uint64_t snapshots; /* the same */
    uint64_t told;      /* the same: changes that one root alone answered for */
    uint64_t roots;
    bool mixed; /* of ten seeds one has one root, one has five */
    bool until_failure;
    bool trace;
} Arguments;

static bool parse(int argc, char **argv, Arguments *out)
{
    for (int i = 1; i < argc; i++) {
        uint64_t *number = strcmp(argv[i], "--seed") == 0        ? &out->seed
                           : strcmp(argv[i], "--count") == 0     ? &out->count
                           : strcmp(argv[i], "--required") == 0  ? &out->required
                           : strcmp(argv[i], "--cuts") == 0      ? &out->cuts
                           : strcmp(argv[i], "--snapshots") == 0 ? &out->snapshots
                           : strcmp(argv[i], "--told") == 0      ? &out->told
                           : strcmp(argv[i], "--roots") == 0     ? &out->roots
                                                                 : NULL;
        bool good = true;
        if (number != NULL && i + 1 < argc)
            good = str_to_u64(str_from_cstr(argv[++i]), UINT64_MAX, number);
        else if (strcmp(argv[i], "--plant") == 0 && i + 1 < argc)
            fault_plant(argv[++i], true);
        else if (strcmp(argv[i], "--until-failure") == 0)
            out->until_failure = true;
        else if (strcmp(argv[i], "--mixed") == 0)
            out->mixed = true;
        else if (strcmp(argv[i], "--trace") == 0)
            out->trace = true;
        else
            good = false;
        if (!good) return false;
    }
    return out->roots >= 1 && out->roots <= ENGINE_ROOTS_MAX;
}

static unsigned roots_of(const Arguments *args, uint64_t seed)
{
    if (args->mixed && seed % 10 == 3) return 1;
    if (args->mixed && seed % 10 == 7) return ENGINE_ROOTS_MAX;
    return (unsigned)args->roots;
}

int main(int argc, char **argv)
{
    Arguments args = {.seed = 1, .count = 1, .roots = 3};
    if (!parse(argc, argv, &args)) {
        fprintf(stderr, "usage: sim_roots [--seed N] [--count N] [--required N] [--cuts N] "
                        "[--snapshots N] [--told N] [--roots N] [--mixed] [--plant NAME] "
                        "[--until-failure] [--trace]\n");
        return 2;
    }
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ASSERT(quiet >= 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_init(args.trace ? 2 : quiet, LOG_TEXT, args.trace ? LOG_DEBUG : LOG_INFO);
    ASSERT(signal(SIGABRT, on_abort) != SIG_ERR);
    Sums sums = {0};
    uint64_t failed = 0;
    uint64_t done = 0;
    for (; done < args.count && (failed == 0 || !args.until_failure); done++) {
        running_seed = args.seed + done;
        failed += !run(running_seed, roots_of(&args, running_seed), args.trace, &sums);
    }
    printf("%" PRIu64 " changes were acknowledged, %" PRIu64
           " by one root alone; tails of logs were cut %" PRIu64 " times, in %" PRIu64
           " seeds; %" PRIu64 " snapshots, %" PRIu64 " new roots, %" PRIu64
           " requests of an operator; of histories %" PRIu64 " operations were checked, %" PRIu64
           " with unknown outcomes\n",
           sums.acknowledged, sums.told, sums.cuts, sums.seeds_cut, sums.seeds, sums.replaced,
           sums.operated, all_stats.ops, all_stats.unknown);
    printf("%" PRIu64 " events, %.0f a second and core\n", sums.events,
           (double)sums.events * CLOCKS_PER_SEC / (double)MAX(clock(), (clock_t)1));
    printf("LAYER sim-roots required=%" PRIu64 " executed=%" PRIu64 " failed=%" PRIu64 "\n",
           args.required, done, failed);
    if (sums.cuts < args.cuts) printf("too few tails were cut: %" PRIu64 " wanted\n", args.cuts);
    if (sums.seeds < args.snapshots)
        printf("too few snapshots: %" PRIu64 " wanted\n", args.snapshots);
    if (sums.told < args.told)
        printf("too few changes were told by one root: %" PRIu64 " wanted\n", args.told);
    bool enough = done >= args.required && sums.cuts >= args.cuts && sums.seeds >= args.snapshots &&
                  sums.told >= args.told;
    return failed > 0 || !enough ? 1 : 0;
}
