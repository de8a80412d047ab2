/* What a restart knows and what it does not. */
#include "replica_kit.h"
#include "testing.h"

#include <string.h>

#define SHARD ((ShardId)4097)
static const Uuid me = {{1}};
static const Uuid other = {{2}};

static ShardConfig config_of(uint64_t my_incarnation)
{
    ShardConfig config = {.cfg_uid = {{7}},
                          .version = 1,
                          .term = 3,
                          .min_isr = 2,
                          .member_count = 2,
                          .isr = 3,
                          .primary = MEMBERS_MAX};
    config.members[0] = (Member){me, my_incarnation};
    config.members[1] = (Member){other, 1};
    return config;
}

typedef struct {
    void *memory;
    Replica *replica;
    Effects effects;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    f->memory = mem_new(replica_size());
    f->replica = replica_init(f->memory, SHARD, me, 5);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    mem_free(f->memory);
    mem_free(f);
    return 0;
}

static void restart(Fixture *f, const ReplicaState *known, uint64_t incarnation)
{
    ShardConfig config = config_of(incarnation);
    Event event = {.type = EVENT_RESTART, .state = known, .config = &config};
    replica_step(f->replica, &event, &f->effects);
}

static ReplicaState known(void)
{
    return (ReplicaState){.shard = SHARD,
                          .max_term = 4,
                          .voted_for = other,
                          .last_lsn = 20,
                          .last_term = 3,
                          .last_hash = sha256_of("20", 2),
                          .commit_lsn = 12,
                          .applied_lsn = 12};
}

/* The tail is durable, but its fate is open. */
static void test_tail_stays_pending(void **state)
{
    Fixture *f = *state;
    ReplicaState what = known();
    restart(f, &what, 5);
    assert_int_equal(f->effects.count, 0);
    assert_int_equal(replica_role(f->replica), ROLE_FOLLOWER);
    assert_int_equal(replica_last_lsn(f->replica), 20);
    assert_int_equal(replica_durable_lsn(f->replica), 20);
    assert_int_equal(replica_commit_lsn(f->replica), 12);
    assert_int_equal(replica_term(f->replica), 4);
    assert_false(replica_can_append(f->replica));
    assert_false(replica_can_read(f->replica, 0));
}

/* A vote belongs to its term: an entry of a later term proves that no vote was cast there. */
static void test_vote_of_an_older_term(void **state)
{
    Fixture *f = *state;
    ReplicaState what = known();
    what.max_term = 2;
    what.voted_for = (Uuid){{9}};
    restart(f, &what, 5);
    assert_int_equal(replica_term(f->replica), 3);
    Message ask = {.type = MSG_FENCE,
                   .shard = SHARD,
                   .from = other,
                   .from_incarnation = 1,
                   .to = me,
                   .to_incarnation = 5,
                   .term = 3,
                   .lsn = 20,
                   .lsn_term = 3};
    Event event = {.type = EVENT_MESSAGE, .message = &ask};
    replica_step(f->replica, &event, &f->effects);
    assert_int_equal(f->effects.count, 0); /* it may have promised another primary not to */
    event.now_ns = REPLICA_GRACE_NS;
    replica_step(f->replica, &event, &f->effects);
    assert_int_equal(f->effects.count, 1);
    assert_int_equal(f->effects.items[0].type, EFFECT_STORE_STATE);
    assert_true(id128_eq(f->effects.items[0].state.voted_for, other));
}

/* The row names another life of this root: it may copy, nothing else (I6, I9). */
static void test_another_life_in_the_row(void **state)
{
    Fixture *f = *state;
    ReplicaState what = known();
    restart(f, &what, 4);
    assert_int_equal(replica_role(f->replica), ROLE_LEARNER);
    ShardConfig now = config_of(5); /* put right: it stands */
    Event event = {.type = EVENT_STAND, .config = &now, .new_cfg_uid = {{8}}};
    replica_step(f->replica, &event, &f->effects);
    assert_int_equal(replica_role(f->replica), ROLE_FOLLOWER); /* its own vote is an answer, too */
    event.now_ns = REPLICA_GRACE_NS;
    replica_step(f->replica, &event, &f->effects);
    assert_int_equal(replica_role(f->replica), ROLE_CANDIDATE);
}

static void test_fresh_log(void **state)
{
    Fixture *f = *state;
    ReplicaState what = {.shard = SHARD};
    restart(f, &what, 5);
    assert_int_equal(replica_last_lsn(f->replica), 0);
    assert_int_equal(replica_term(f->replica), 0);
    assert_int_equal(replica_role(f->replica), ROLE_FOLLOWER);
}

static void run_before_restart(void *arg)
{
    Fixture *f = arg;
    replica_step(f->replica, &(Event){.type = EVENT_TICK}, &f->effects);
}

static void run_restart_twice(void *arg)
{
    ReplicaState what = known();
    restart(arg, &what, 5);
    restart(arg, &what, 5);
}

static void run_lost_commit(void *arg)
{
    ReplicaState what = known();
    what.commit_lsn = 21;
    restart(arg, &what, 5);
}

static void test_misuse_aborts(void **state)
{
    assert_aborts(run_before_restart, *state, "EVENT_RESTART");
    assert_aborts(run_restart_twice, *state, "EVENT_RESTART");
    assert_aborts(run_lost_commit, *state, "commit_lsn <= ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tail_stays_pending),      TEST(test_vote_of_an_older_term),
        TEST(test_another_life_in_the_row), TEST(test_fresh_log),
        TEST(test_misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
