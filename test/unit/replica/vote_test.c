/* The voter: one vote a term, durable before it is told, for a log that is as long as ours. */
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

static Message fence(const ReplicaKit *kit, unsigned from, Term term)
{
    Message message = replica_kit_message(kit, MSG_FENCE, from, C);
    message.term = term;
    return message;
}

static void test_vote_is_durable_before_it_is_told(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = fence(kit, B, 2);
    replica_kit_deliver(kit, &ask);
    assert_int_equal(kit->bag_len, 0);
    replica_kit_store_all(kit, C);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_FENCED);
    assert_true(answer.granted);
    assert_int_equal(answer.term, 2);
    /* A repeat is answered at once; another candidate of the term is refused. */
    replica_kit_deliver(kit, &ask);
    assert_true(only(kit).granted);
    assert_int_equal(kit->members[C].item_count, 0);
    Message other = fence(kit, A, 2);
    replica_kit_deliver(kit, &other);
    assert_false(only(kit).granted);
}

static void test_vote_under_way_is_not_free(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = fence(kit, B, 2);
    Message other = fence(kit, A, 2);
    replica_kit_deliver(kit, &ask);
    replica_kit_deliver(kit, &other);
    assert_false(only(kit).granted);
    replica_kit_deliver(kit, &ask); /* B asks again: told once it is durable */
    replica_kit_store_all(kit, C);
    Message answer = only(kit);
    assert_true(answer.granted && id128_eq(answer.to, kit->members[B].root));
}

static void test_vote_outlives_a_crash(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = fence(kit, B, 2);
    replica_kit_deliver(kit, &ask);
    replica_kit_store_all(kit, C);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    replica_kit_stop(kit, C, 0);
    replica_kit_start(kit, C);
    Message other = fence(kit, A, 2);
    replica_kit_deliver(kit, &other);
    assert_false(only(kit).granted);
    ask.to_incarnation = kit->members[C].incarnation;
    replica_kit_deliver(kit, &ask);
    assert_true(only(kit).granted);
}

static void test_vote_that_was_not_durable_was_not_given(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = fence(kit, B, 2);
    replica_kit_deliver(kit, &ask);
    replica_kit_stop(kit, C, 0);
    replica_kit_start(kit, C);
    Message other = fence(kit, A, 2);
    replica_kit_deliver(kit, &other);
    replica_kit_store_all(kit, C);
    assert_true(only(kit).granted);
}

static void test_only_a_long_log_gets_a_vote(void **state)
{
    ReplicaKit *kit = *state;
    static const struct {
        Term last_term;
        Lsn last_lsn;
        Lsn config_lsn;
        bool granted;
    } rows[] = {
        {1, 3, 0, true}, {1, 2, 0, false}, {0, 9, 0, false},
        {2, 1, 0, true}, {1, 4, 0, true},  {1, 3, 3, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Message ask = fence(kit, B, (Term)(10 + i));
        ask.lsn_term = rows[i].last_term;
        ask.lsn = rows[i].last_lsn;
        ask.config_lsn = rows[i].config_lsn;
        ask.config = kit->row;
        replica_kit_deliver(kit, &ask);
        replica_kit_store_all(kit, C);
        Message answer = only(kit);
        assert_int_equal(answer.granted, rows[i].granted);
        assert_int_equal(answer.term, 10 + i);
    }
}

static void test_old_terms_are_refused(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = fence(kit, B, 5);
    replica_kit_deliver(kit, &ask);
    replica_kit_store_all(kit, C);
    (void)only(kit); /* granted */
    for (Term term = 1; term < 5; term++) {
        ask = fence(kit, B, term);
        replica_kit_deliver(kit, &ask);
        Message answer = only(kit);
        assert_false(answer.granted);
        assert_int_equal(answer.term, 5);
    }
    ask = fence(kit, B, 0); /* no term at all */
    replica_kit_deliver(kit, &ask);
    assert_int_equal(kit->bag_len, 0);
}

/* A higher term while a vote waits for its sync: only the newer one is told. */
static void test_newer_term_takes_the_place_of_a_waiting_vote(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = fence(kit, B, 2);
    Message later = fence(kit, A, 3);
    replica_kit_deliver(kit, &ask);
    replica_kit_deliver(kit, &later);
    replica_kit_store(kit, C, 1);
    assert_int_equal(kit->bag_len, 0);
    replica_kit_store(kit, C, 1);
    Message answer = only(kit);
    assert_true(answer.granted && answer.term == 3);
    assert_true(id128_eq(answer.to, kit->members[A].root));
}

/* The term is stored for an APPEND that did not join; a vote in the same term is another record,
 * and the first one's sync does not prove it. */
static void test_state_without_vote_proves_no_vote(void **state)
{
    ReplicaKit *kit = *state;
    Message append = replica_kit_message(kit, MSG_APPEND, B, C);
    append.term = 2;
    append.lsn = 50;
    replica_kit_deliver(kit, &append);
    assert_int_equal(only(kit).type, MSG_MISMATCH);
    Message ask = fence(kit, B, 2);
    replica_kit_deliver(kit, &ask);
    assert_int_equal(kit->members[C].item_count, 2);
    replica_kit_store(kit, C, 1);
    assert_int_equal(kit->bag_len, 0);
    replica_kit_store(kit, C, 1);
    assert_true(only(kit).granted);
}

static void test_learners_do_not_vote(void **state)
{
    ReplicaKit *kit = *state;
    assert_int_equal(replica_kit_role(kit, LEARNER), ROLE_LEARNER);
    for (int i = 0; i < 2; i++) {
        Message ask = replica_kit_message(kit, i == 0 ? MSG_POLL : MSG_FENCE, B, LEARNER);
        ask.term = 9;
        replica_kit_deliver(kit, &ask);
        replica_kit_store_all(kit, LEARNER);
        assert_int_equal(kit->bag_len, 0);
    }
    replica_kit_stand(kit, LEARNER);
    assert_int_equal(kit->bag_len, 0);
    assert_int_equal(replica_kit_role(kit, LEARNER), ROLE_LEARNER);
}

/* A poll promises nothing and changes nothing. */
static void test_poll(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = replica_kit_message(kit, MSG_POLL, B, C);
    ask.term = 77;
    replica_kit_deliver(kit, &ask);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_POLLED);
    assert_int_equal(answer.term, 1);
    assert_int_equal(answer.lsn, 3);
    assert_int_equal(answer.lsn_term, 1);
    assert_int_equal(kit->members[C].item_count, 0);
    assert_int_equal(replica_term(replica_kit_replica(kit, C)), 1);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, replica_fixture_setup, replica_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_vote_is_durable_before_it_is_told),
        TEST(test_vote_under_way_is_not_free),
        TEST(test_vote_outlives_a_crash),
        TEST(test_vote_that_was_not_durable_was_not_given),
        TEST(test_only_a_long_log_gets_a_vote),
        TEST(test_old_terms_are_refused),
        TEST(test_newer_term_takes_the_place_of_a_waiting_vote),
        TEST(test_state_without_vote_proves_no_vote),
        TEST(test_learners_do_not_vote),
        TEST(test_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
