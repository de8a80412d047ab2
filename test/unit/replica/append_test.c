/* The primary: appends in its term only, commits by the maximal ISR, resends what was lost. */
#include "replica_fixture.h"
#include "testing.h"

/* A is primary of term 1 with its START committed. */
static ReplicaKit *primary(unsigned members, uint32_t min_isr)
{
    ReplicaKit *kit = replica_kit_new(
        &(ReplicaKitOptions){.seed = 5, .members = members, .min_isr = min_isr});
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    assert_int_equal(kit->bag_len, 0);
    return kit;
}

static int setup(void **state)
{
    *state = primary(3, 2);
    return 0;
}

static Lsn commit_of(const ReplicaKit *kit, unsigned member)
{
    return replica_commit_lsn(replica_kit_replica(kit, member));
}

/* Delivers to a member, lets it store, and delivers its answers. */
static void exchange(ReplicaKit *kit, unsigned member)
{
    while (replica_kit_pass(kit, MSG_APPEND, A, member)) {}
    replica_kit_store_all(kit, member);
    while (replica_kit_pass(kit, MSG_APPENDED, member, A)) {}
}

static void test_two_appends_in_flight(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    assert_true(replica_kit_append(kit, A));
    assert_int_equal(kit->members[A].item_count, 2);
    assert_int_equal(kit->bag_len, 4);
    replica_kit_store(kit, A, 1);
    assert_int_equal(commit_of(kit, A), 1);
    exchange(kit, B);
    assert_int_equal(commit_of(kit, A), 1); /* C is in sync too */
    replica_kit_pass(kit, MSG_APPEND, A, C);
    replica_kit_store_all(kit, C);
    replica_kit_pass(kit, MSG_APPENDED, C, A);
    assert_int_equal(commit_of(kit, A), 2);
    exchange(kit, C);
    assert_int_equal(commit_of(kit, A), 2); /* its own second entry is not durable */
    replica_kit_store_all(kit, A);
    assert_int_equal(commit_of(kit, A), 3);
}

static void test_acknowledgement_out_of_order(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    assert_true(replica_kit_append(kit, A));
    replica_kit_store_all(kit, A);
    exchange(kit, B);
    while (replica_kit_pass(kit, MSG_APPEND, A, C)) {}
    replica_kit_store(kit, C, 1);
    replica_kit_store(kit, C, 1);
    assert_int_equal(kit->bag_len, 2); /* lsn 2, then 3 */
    Message early = *kit->bag[0];
    replica_kit_take(kit, 1, true);
    assert_int_equal(commit_of(kit, A), 3);
    replica_kit_deliver(kit, &early);
    assert_int_equal(commit_of(kit, A), 3);
}

/* Acknowledgements that may not count. */
static void test_acknowledgement_of_another_time(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    replica_kit_store_all(kit, A);
    exchange(kit, B);
    Message good = replica_kit_message(kit, MSG_APPENDED, C, A);
    good.lsn = 2;
    Message rows[5] = {good, good, good, good, good};
    rows[0].from_incarnation--; /* another life of C: its disk may have been another */
    rows[1].term = 0;
    rows[2].lsn = 99; /* nothing that we have */
    rows[3].to_incarnation++;
    rows[4].from = (Uuid){{9}}; /* nobody we know */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        replica_kit_deliver(kit, &rows[i]);
        assert_int_equal(commit_of(kit, A), 1);
    }
    exchange(kit, C);
    assert_int_equal(commit_of(kit, A), 2);
}

static void test_higher_term_ends_it(void **state)
{
    ReplicaKit *kit = *state;
    static const MessageType types[] = {MSG_APPENDED, MSG_MISMATCH, MSG_FENCED, MSG_FENCE};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        ReplicaKit *one = i == 0 ? kit : primary(3, 2);
        Message m = replica_kit_message(one, types[i], B, A);
        m.term = 8;
        replica_kit_deliver(one, &m);
        assert_int_equal(replica_kit_role(one, A), ROLE_FOLLOWER);
        assert_int_equal(replica_term(replica_kit_replica(one, A)), 8);
        assert_false(replica_can_append(replica_kit_replica(one, A)));
        if (one != kit) replica_kit_free(one);
    }
    /* A poll of a higher term does not. */
    ReplicaKit *one = primary(3, 2);
    Message m = replica_kit_message(one, MSG_POLL, B, A);
    m.term = 8;
    replica_kit_deliver(one, &m);
    assert_int_equal(replica_kit_role(one, A), ROLE_PRIMARY);
    replica_kit_free(one);
}

/* Half the window may be appended and not committed. */
static void test_back_pressure(void **state)
{
    ReplicaKit *kit = *state;
    unsigned count = 0;
    while (replica_kit_append(kit, A))
        count++;
    assert_int_equal(count, REPLICA_WINDOW / 2);
    assert_false(replica_can_append(replica_kit_replica(kit, A)));
    replica_kit_store_all(kit, A);
    assert_false(replica_can_append(replica_kit_replica(kit, A)));
    replica_kit_settle(kit);
    assert_int_equal(commit_of(kit, A), 1 + REPLICA_WINDOW / 2);
    assert_true(replica_kit_append(kit, A));
    replica_kit_settle(kit);
    for (unsigned i = 0; i < 3 * REPLICA_WINDOW; i++) { /* the window goes round */
        assert_true(replica_kit_append(kit, A));
        if (i % 100 == 0) replica_kit_settle(kit);
    }
    replica_kit_settle(kit);
    assert_int_equal(commit_of(kit, A), 2 + REPLICA_WINDOW / 2 + 3 * REPLICA_WINDOW);
}

/* Lost messages: the next one does not join, and the primary goes back. */
static void test_resend_after_a_gap(void **state)
{
    ReplicaKit *kit = *state;
    for (int i = 0; i < 40; i++) {
        assert_true(replica_kit_append(kit, A));
        if (i == 38) replica_kit_lose(kit, MSG_APPEND, A, C);
    }
    replica_kit_settle(kit);
    assert_int_equal(commit_of(kit, A), 41);
    assert_int_equal(kit->members[C].log_len, 41);
}

/* The last message was lost, and no other follows: a tick repeats it. */
static void test_tick_repeats(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    replica_kit_lose(kit, MSG_APPEND, A, C);
    replica_kit_settle(kit);
    assert_int_equal(commit_of(kit, A), 1);
    for (int i = 0; i < 2; i++) {
        replica_kit_tick(kit, A);
        replica_kit_settle(kit);
    }
    assert_int_equal(commit_of(kit, A), 2);
    /* The answer was lost. */
    assert_true(replica_kit_append(kit, A));
    replica_kit_store_all(kit, A);
    exchange(kit, B);
    replica_kit_pass(kit, MSG_APPEND, A, C);
    replica_kit_store_all(kit, C);
    replica_kit_lose(kit, MSG_APPENDED, C, A);
    for (int i = 0; i < 2; i++) {
        replica_kit_tick(kit, A);
        replica_kit_settle(kit);
    }
    assert_int_equal(commit_of(kit, A), 3);
    for (int i = 0; i < 2; i++) { /* all told: silence */
        replica_kit_tick(kit, A);
        replica_kit_settle(kit);
        assert_int_equal(commit_of(kit, B), 3);
        assert_int_equal(commit_of(kit, C), 3);
    }
    replica_kit_tick(kit, A);
    assert_int_equal(kit->bag_len, 0);
}

/* Without min_isr members in sync nothing is committed. */
static void test_min_isr(void **state)
{
    ReplicaKit *kit = *state;
    ShardConfig row = kit->row;
    row.isr = 1; /* A alone */
    row.primary = MEMBERS_MAX;
    replica_kit_set_row(kit, &row);
    Message m = replica_kit_message(kit, MSG_APPENDED, B, A);
    m.term = 2; /* A steps down, and stands again in the new row */
    replica_kit_deliver(kit, &m);
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, A), ROLE_STARTING);
    for (int i = 0; i < 4; i++) {
        replica_kit_tick(kit, A);
        replica_kit_settle(kit);
    }
    assert_int_equal(replica_kit_role(kit, A), ROLE_STARTING);
    assert_int_equal(commit_of(kit, A), 1);
    assert_int_equal(kit->members[C].log_len, 2); /* all have it, and yet */
}

/* A tail that is not ours: on from what the member knows to be committed, which all lineages share;
 * it cuts there. */
static void test_strange_tail_is_sent_again_from_its_commit(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    replica_kit_settle(kit);
    Message m = replica_kit_message(kit, MSG_MISMATCH, C, A);
    m.commit_lsn = 1;
    static const Lsn ends[] = {2, 70};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        m.lsn = ends[i];
        m.lsn_hash = sha256_of("other", 5);
        replica_kit_deliver(kit, &m);
        assert_int_equal(kit->bag_len, 1);
        assert_int_equal(kit->bag[0]->type, MSG_APPEND);
        assert_int_equal(kit->bag[0]->lsn, 1);
        assert_int_equal(kit->bag[0]->entry_count, 1);
        replica_kit_take(kit, 0, false);
    }
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
}

static void test_copies(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    assert_int_equal(__builtin_popcount(replica_synced(replica_kit_replica(kit, A), 2)), 0);
    assert_int_equal(replica_config(replica_kit_replica(kit, A))->member_count, 3);
    replica_kit_store_all(kit, A);
    exchange(kit, B);
    assert_int_equal(__builtin_popcount(replica_synced(replica_kit_replica(kit, A), 2)), 2);
    exchange(kit, C);
    assert_int_equal(__builtin_popcount(replica_synced(replica_kit_replica(kit, A), 2)), 3);
}

static void test_appending_elsewhere_is_a_bug_run(void *arg)
{
    ReplicaKit *kit = arg;
    static Effects effects;
    Event event = {.type = EVENT_APPEND, .entry = {.lsn = 2, .term = 1}};
    replica_step(kit->members[B].replica, &event, &effects);
}
static void test_appending_elsewhere_is_a_bug(void **state)
{
    assert_aborts(test_appending_elsewhere_is_a_bug_run, *state, "replica_can_append");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, replica_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_appends_in_flight),
        TEST(test_acknowledgement_out_of_order),
        TEST(test_acknowledgement_of_another_time),
        TEST(test_higher_term_ends_it),
        TEST(test_back_pressure),
        TEST(test_resend_after_a_gap),
        TEST(test_tick_repeats),
        TEST(test_min_isr),
        TEST(test_strange_tail_is_sent_again_from_its_commit),
        TEST(test_copies),
        TEST(test_appending_elsewhere_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
