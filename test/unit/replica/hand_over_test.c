/* HAND_OVER: the primary gives the promises back, and one stands at once. */
#include "replica_fixture.h"
#include "testing.h"

static Message hand_over(const ReplicaKit *kit, unsigned to, unsigned target)
{
    Message message = replica_kit_message(kit, MSG_HAND_OVER, A, to);
    message.target = kit->members[target].root;
    return message;
}

static bool stands(const ReplicaKit *kit)
{
    for (uint32_t i = 0; i < kit->effects.count; i++) {
        if (kit->effects.items[i].type == EFFECT_STAND) return true;
    }
    return false;
}

static void promise(ReplicaKit *kit, unsigned to)
{
    Message ask = replica_kit_message(kit, MSG_HEARTBEAT, A, to);
    ask.sent_ns = kit->now_ns;
    replica_kit_deliver(kit, &ask);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
}

static void test_who_is_named_stands(void **state)
{
    ReplicaKit *kit = *state;
    Message told = hand_over(kit, B, B);
    replica_kit_deliver(kit, &told);
    assert_true(stands(kit));
    told = hand_over(kit, C, B);
    replica_kit_deliver(kit, &told);
    assert_false(stands(kit));
    assert_int_equal(kit->bag_len, 0);
}

static void test_promises_are_given_back(void **state)
{
    ReplicaKit *kit = *state;
    promise(kit, B);
    assert_false(replica_fixture_votes(kit));
    Message told = hand_over(kit, B, C);
    replica_kit_deliver(kit, &told);
    assert_true(replica_fixture_votes(kit));
}

/* Only whoever holds the promise can give it back. */
static void test_of_another_gives_nothing_back(void **state)
{
    ReplicaKit *kit = *state;
    promise(kit, B);
    Message told = hand_over(kit, B, C);
    told.from = kit->members[C].root;
    replica_kit_deliver(kit, &told);
    assert_false(replica_fixture_votes(kit));
    told.from.bytes[3] ^= 1; /* nobody's */
    replica_kit_deliver(kit, &told);
    assert_false(replica_fixture_votes(kit));
}

static void test_of_an_old_term_or_life_is_nothing(void **state)
{
    ReplicaKit *kit = *state;
    promise(kit, B);
    Message told = hand_over(kit, B, B);
    told.term = 0;
    replica_kit_deliver(kit, &told);
    assert_false(stands(kit));
    told = hand_over(kit, B, B);
    told.to_incarnation = 0;
    replica_kit_deliver(kit, &told);
    assert_false(stands(kit));
    assert_false(replica_fixture_votes(kit));
}

/* A repeat after the next election. */
static void test_a_repeat_is_nothing(void **state)
{
    ReplicaKit *kit = *state;
    Message told = hand_over(kit, C, C);
    replica_kit_stand(kit, B);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, B), ROLE_PRIMARY);
    replica_kit_deliver(kit, &told);
    assert_false(stands(kit));
    told = replica_kit_message(kit, MSG_HAND_OVER, C, B);
    told.target = kit->members[B].root;
    replica_kit_deliver(kit, &told); /* the primary itself has nothing to be handed */
    assert_false(stands(kit));
    assert_int_equal(replica_kit_role(kit, B), ROLE_PRIMARY);
}

static void test_a_learner_never_stands(void **state)
{
    ReplicaKit *kit = *state;
    Message told = hand_over(kit, LEARNER, LEARNER);
    replica_kit_deliver(kit, &told);
    assert_false(stands(kit));
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, replica_fixture_setup, replica_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_who_is_named_stands),           TEST(test_promises_are_given_back),
        TEST(test_of_another_gives_nothing_back), TEST(test_of_an_old_term_or_life_is_nothing),
        TEST(test_a_repeat_is_nothing),           TEST(test_a_learner_never_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
