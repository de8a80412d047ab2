/* HEARTBEAT and PROMISE: a member promises, for a second, that it answers no higher fence. */
#include "replica_fixture.h"
#include "testing.h"

/* The only message in the bag, taken out. */
static Message only(ReplicaKit *kit)
{
    assert_int_equal(kit->bag_len, 1);
    Message message = *kit->bag[0];
    replica_kit_take(kit, 0, false);
    return message;
}

static Message heartbeat(const ReplicaKit *kit, unsigned to)
{
    Message message = replica_kit_message(kit, MSG_HEARTBEAT, A, to);
    message.sent_ns = kit->now_ns;
    return message;
}

static void test_a_promise_is_kept(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = heartbeat(kit, B);
    replica_kit_deliver(kit, &ask);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_PROMISE);
    assert_true(answer.granted);
    assert_int_equal(answer.sent_ns, ask.sent_ns);
    kit->now_ns += REPLICA_LEASE_NS - 1;
    assert_false(replica_fixture_votes(kit));
    kit->now_ns += 1;
    assert_true(replica_fixture_votes(kit));
}

/* A repeat that comes late promises anew, and is told with the old time of sending. */
static void test_a_repeat_promises_from_its_receipt(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = heartbeat(kit, B);
    replica_kit_deliver(kit, &ask);
    assert_true(only(kit).granted);
    kit->now_ns += REPLICA_LEASE_NS / 2;
    replica_kit_deliver(kit, &ask);
    assert_int_equal(only(kit).sent_ns, ask.sent_ns);
    kit->now_ns += REPLICA_LEASE_NS - 1;
    assert_false(replica_fixture_votes(kit));
}

static void test_an_old_primary_gets_no_promise(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = heartbeat(kit, B);
    assert_true(replica_fixture_votes(kit));
    replica_kit_deliver(kit, &ask);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_MISMATCH);
    assert_int_equal(answer.term, 2);
    replica_kit_deliver(kit, &answer);
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
}

static void test_a_learner_promises_nothing(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = heartbeat(kit, LEARNER);
    replica_kit_deliver(kit, &ask);
    assert_false(only(kit).granted);
}

static Message promise(const ReplicaKit *kit, unsigned from)
{
    Message message = replica_kit_message(kit, MSG_PROMISE, from, A);
    message.granted = true;
    message.sent_ns = kit->now_ns;
    return message;
}

static bool may_read(const ReplicaKit *kit)
{
    return replica_can_read(replica_kit_replica(kit, A), kit->now_ns);
}

static void test_a_lease_counts_from_its_sending(void **state)
{
    ReplicaKit *kit = *state;
    assert_false(may_read(kit));
    Message told = promise(kit, B);
    kit->now_ns += REPLICA_LEASE_NS - 1;
    replica_kit_deliver(kit, &told);
    assert_true(may_read(kit));
    kit->now_ns += 1;
    assert_false(may_read(kit));
    replica_kit_deliver(kit, &told); /* a repeat adds nothing */
    assert_false(may_read(kit));
}

static void test_promises_that_do_not_count(void **state)
{
    ReplicaKit *kit = *state;
    Message told = promise(kit, LEARNER);
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
    told = promise(kit, B);
    told.term = 0;
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
    told = promise(kit, B);
    told.granted = false;
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
    told = promise(kit, B);
    told.from_incarnation = 0; /* of an earlier life */
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
    told = promise(kit, B);
    told.from.bytes[3] ^= 1; /* nobody that we know */
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
    told = promise(kit, B);
    told.sent_ns = kit->now_ns + 1; /* from tomorrow */
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
}

static void test_a_higher_term_ends_the_lease(void **state)
{
    ReplicaKit *kit = *state;
    Message told = promise(kit, B);
    replica_kit_deliver(kit, &told);
    assert_true(may_read(kit));
    told.term = 2;
    replica_kit_deliver(kit, &told);
    assert_false(may_read(kit));
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, replica_fixture_setup, replica_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_promise_is_kept),
        TEST(test_a_repeat_promises_from_its_receipt),
        TEST(test_an_old_primary_gets_no_promise),
        TEST(test_a_learner_promises_nothing),
        TEST(test_a_lease_counts_from_its_sending),
        TEST(test_promises_that_do_not_count),
        TEST(test_a_higher_term_ends_the_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
