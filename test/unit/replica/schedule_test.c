/* Schedules by chance: members stand, append, store, crash and restart; messages are delivered in
 * any order, repeated and lost; the control store refuses, does not answer, is edited and rolled
 * back. After every step the kit checks the invariants of REPLICATION.md. A second kind without
 * crashes must make progress however many messages are lost. */
#include "replica_kit.h"
#include "testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEEDS 4000
#define STEPS 1200
#define LOSSY_SEEDS 400

typedef struct {
    unsigned members;
    uint32_t min_isr;
} Shape;
static const Shape shapes[] = {{1, 1}, {2, 2}, {3, 2}, {3, 2}, {3, 2},
                               {3, 1}, {3, 3}, {4, 3}, {5, 3}, {4, 2}};

typedef struct {
    ReplicaKit *kit;
    Rng rng;
    uint32_t crash; /* chances in a million a step */
    uint32_t stand;
    uint32_t store; /* the others go to the network and clients */
    uint32_t lose;  /* of a message taken from the bag */
    uint32_t repeat;
    bool control_trouble;
    bool edits;
} Schedule;

static unsigned any_member(Schedule *s)
{
    return (unsigned)rng_below(&s->rng, s->kit->count);
}

/* An operator edits the row: who is in sync there, and whether anybody is primary. The fence must
 * hold against that. */
static void edit_row(Schedule *s)
{
    ShardConfig row = s->kit->row;
    uint16_t all = (uint16_t)((1u << row.member_count) - 1);
    row.isr = rng_chance(&s->rng, 500000) ? all : (uint16_t)(1 + rng_below(&s->rng, all));
    row.elr = rng_chance(&s->rng, 800000) ? 0 : (uint16_t)(all & ~row.isr);
    row.primary = MEMBERS_MAX;
    replica_kit_set_row(s->kit, &row);
}

static void control_step(Schedule *s)
{
    ReplicaKit *kit = s->kit;
    if (s->edits && rng_chance(&s->rng, 8000)) edit_row(s);
    if (s->control_trouble && rng_chance(&s->rng, 2000)) replica_kit_roll_back(kit);
    if (kit->cas_count == 0) return;
    size_t i = rng_below(&s->rng, kit->cas_count);
    if (kit->cas[i].decided) {
        replica_kit_cas_tell(kit, i);
        return;
    }
    ReplicaKitCasFate fate = KIT_CAS_PLAIN;
    if (s->control_trouble && rng_chance(&s->rng, 200000)) {
        fate = rng_chance(&s->rng, 500000) ? KIT_CAS_UNKNOWN_DONE : KIT_CAS_UNKNOWN_IGNORED;
    }
    replica_kit_cas_decide(kit, i, fate);
}

static void network_step(Schedule *s)
{
    ReplicaKit *kit = s->kit;
    if (kit->bag_len == 0) return;
    size_t i = rng_chance(&s->rng, 500000) ? 0 : rng_below(&s->rng, kit->bag_len);
    if (rng_chance(&s->rng, s->repeat)) replica_kit_repeat(kit, i);
    replica_kit_take(kit, i, !rng_chance(&s->rng, s->lose));
    while (kit->bag_len > 200)
        replica_kit_take(kit, rng_below(&s->rng, kit->bag_len), false);
}

static void crash_step(Schedule *s)
{
    ReplicaKit *kit = s->kit;
    unsigned who = any_member(s);
    ReplicaKitMember *m = &kit->members[who];
    if (!m->up) return;
    /* What the log knows of the commit is older than what the replica knows. */
    m->commit_noted += rng_below(&s->rng, m->commit - m->commit_noted + 1);
    replica_kit_stop(kit, who, rng_below(&s->rng, m->item_count + 1));
}

static void any_step(Schedule *s)
{
    ReplicaKit *kit = s->kit;
    unsigned who = any_member(s);
    if (rng_chance(&s->rng, s->crash)) crash_step(s);
    if (!kit->members[who].up && rng_chance(&s->rng, 50000)) replica_kit_start(kit, who);
    if (rng_chance(&s->rng, s->stand)) {
        kit->blind = rng_chance(&s->rng, 200000);
        replica_kit_stand(kit, who);
    }
    control_step(s);
    if (rng_chance(&s->rng, s->store)) {
        replica_kit_store(kit, who, 1 + rng_below(&s->rng, 3));
        return;
    }
    switch (rng_below(&s->rng, 16)) {
    case 0: replica_kit_tick(kit, who); break;
    case 1:
    case 2:
        for (unsigned i = 0; i < kit->count; i++) {
            (void)replica_kit_append(kit, i); /* refused unless it is primary, or thinks so */
        }
        break;
    default: network_step(s); break;
    }
}

static void draw(Schedule *s, uint64_t seed)
{
    static const uint32_t crashes[] = {0, 2000, 8000, 30000};
    static const uint32_t stands[] = {3000, 10000, 30000};
    static const uint32_t losses[] = {0, 20000, 200000};
    rng_init(&s->rng, seed);
    Shape shape = shapes[rng_below(&s->rng, ARRAY_LEN(shapes))];
    s->kit = replica_kit_new(&(ReplicaKitOptions){
        .seed = seed,
        .members = shape.members,
        .min_isr = shape.min_isr,
        .learners = (unsigned)rng_below(&s->rng, 2),
        .trace = getenv("REPLICA_SEED") != NULL,
    });
    s->crash = crashes[rng_below(&s->rng, ARRAY_LEN(crashes))];
    s->stand = stands[rng_below(&s->rng, ARRAY_LEN(stands))];
    s->store = 100000 + (uint32_t)rng_below(&s->rng, 300000);
    s->lose = losses[rng_below(&s->rng, ARRAY_LEN(losses))];
    s->repeat = losses[rng_below(&s->rng, ARRAY_LEN(losses))];
    s->control_trouble = rng_chance(&s->rng, 500000);
    s->edits = rng_chance(&s->rng, 700000);
}

/* Sums over all seeds: a test in which nothing is committed proves nothing. */
static uint64_t committed;
static uint64_t starts;
static uint64_t later_starts; /* elections after something was committed */

static void run_seed(uint64_t seed)
{
    Schedule s = {0};
    draw(&s, seed);
    ReplicaKit *kit = s.kit;
    for (int i = 0; i < STEPS && kit->wrong[0] == '\0'; i++) {
        uint64_t starts_before = kit->starts;
        any_step(&s);
        if (kit->committed_len > 0) later_starts += kit->starts - starts_before;
    }
    if (kit->options.trace) {
        printf("%.*s", (int)kit->story.len, (const char *)kit->story.data);
    }
    if (kit->wrong[0] != '\0') {
        fail_msg("REPLICA_SEED=%" PRIu64 ", step %" PRIu64 ": %s", seed, kit->steps, kit->wrong);
    }
    committed += kit->committed_len;
    starts += kit->starts;
    replica_kit_free(kit);
}

static void test_invariants_hold(void **state)
{
    UNUSED(state);
    const char *only = getenv("REPLICA_SEED");
    if (only != NULL) {
        run_seed(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
    print_message("%d seeds: %" PRIu64 " entries committed, %" PRIu64 " terms, %" PRIu64
                  " of them later\n",
                  SEEDS, committed, starts, later_starts);
    assert_true(committed > (uint64_t)SEEDS * 4);
    assert_true(later_starts > SEEDS / 2);
}

/* Nobody crashes, one stands: whatever is lost, repeated or reordered, what was appended is
 * committed everywhere in the end. */
static void run_lossy(uint64_t seed)
{
    Schedule s = {0};
    draw(&s, seed);
    ReplicaKit *kit = s.kit;
    s.crash = 0;
    s.stand = 0;
    s.control_trouble = false;
    s.edits = false;
    s.lose = 300000;
    replica_kit_stand(kit, 0);
    for (int i = 0; i < STEPS; i++)
        any_step(&s);
    for (int round = 0; round < 200 && kit->wrong[0] == '\0'; round++) {
        replica_kit_tick(kit, 0);
        while (kit->bag_len > 0) {
            replica_kit_take(kit, rng_below(&s.rng, kit->bag_len), !rng_chance(&s.rng, s.lose));
        }
        while (kit->cas_count > 0) {
            if (!kit->cas[0].decided) replica_kit_cas_decide(kit, 0, KIT_CAS_PLAIN);
            replica_kit_cas_tell(kit, 0);
        }
        for (unsigned i = 0; i < kit->count; i++)
            replica_kit_store_all(kit, i);
    }
    assert_string_equal(kit->wrong, "");
    for (unsigned i = 0; i < kit->options.members; i++) {
        const Replica *replica = replica_kit_replica(kit, i);
        if (replica_commit_lsn(replica) != kit->members[0].log_len ||
            replica_role(replica) != (i == 0 ? ROLE_PRIMARY : ROLE_FOLLOWER)) {
            fail_msg("seed %" PRIu64 ": %c has committed %" PRIu64 " of %zu", seed, 'A' + i,
                     replica_commit_lsn(replica), kit->members[0].log_len);
        }
    }
    replica_kit_free(kit);
}

static void test_lost_messages_delay_only(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= LOSSY_SEEDS; seed++)
        run_lossy(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_invariants_hold),
                                       cmocka_unit_test(test_lost_messages_delay_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
