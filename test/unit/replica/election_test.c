/* The candidate: polls, asks the control store, fences, and only then appends. */
#include "replica_fixture.h"
#include "testing.h"

static ReplicaKit *cluster(unsigned members, uint32_t min_isr)
{
    return replica_kit_new(&(ReplicaKitOptions){.seed = 6, .members = members, .min_isr = min_isr});
}

static int setup(void **state)
{
    *state = cluster(3, 2);
    return 0;
}

/* Stands, and is polled by all: its request is at the control store. */
static void stand_to_cas(ReplicaKit *kit, unsigned member)
{
    replica_kit_stand(kit, member);
    for (unsigned i = 0; i < kit->count; i++) {
        replica_kit_pass(kit, MSG_POLL, member, i);
        replica_kit_pass(kit, MSG_POLLED, i, member);
    }
    assert_int_equal(kit->cas_count, 1);
}

static void answer_cas(ReplicaKit *kit, ReplicaKitCasFate fate)
{
    replica_kit_cas_decide(kit, 0, fate);
    replica_kit_cas_tell(kit, 0);
}

static void test_alone(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = cluster(1, 1);
    replica_kit_stand(kit, A);
    assert_int_equal(kit->cas_count, 1);
    answer_cas(kit, KIT_CAS_PLAIN);
    assert_int_equal(replica_kit_role(kit, A), ROLE_CANDIDATE);
    replica_kit_store(kit, A, 1); /* its vote */
    assert_int_equal(replica_kit_role(kit, A), ROLE_STARTING);
    assert_false(replica_can_read(replica_kit_replica(kit, A), 0));
    replica_kit_store(kit, A, 1); /* START */
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    assert_true(replica_can_read(replica_kit_replica(kit, A), 0));
    assert_true(replica_kit_append(kit, A));
    assert_string_equal(kit->wrong, "");
    replica_kit_free(kit);
}

/* Nothing is asked of the control store before a fence quorum was heard. */
static void test_polls_first(void **state)
{
    ReplicaKit *kit = *state;
    replica_kit_stand(kit, A);
    assert_int_equal(kit->cas_count, 0);
    replica_kit_pass(kit, MSG_POLL, A, B);
    Message polled = *kit->bag[1];
    polled.from_incarnation--;
    replica_kit_deliver(kit, &polled); /* another life of B */
    assert_int_equal(kit->cas_count, 0);
    replica_kit_pass(kit, MSG_POLLED, B, A);
    assert_int_equal(kit->cas_count, 1);
    const ShardConfig *asked = &kit->cas[0].asked;
    assert_int_equal(asked->term, 1);
    assert_int_equal(asked->primary, A);
    assert_int_equal(asked->version, 2);
    assert_true(id128_eq(asked->parent_uid, kit->row.cfg_uid));
}

static void test_term_is_above_all_that_was_polled(void **state)
{
    ReplicaKit *kit = *state;
    replica_kit_stand(kit, A);
    Message polled = replica_kit_message(kit, MSG_POLLED, B, A);
    polled.term = 41;
    replica_kit_deliver(kit, &polled);
    assert_int_equal(kit->cas_count, 1);
    assert_int_equal(kit->cas[0].asked.term, 42);
    assert_int_equal(replica_term(replica_kit_replica(kit, A)), 0);
}

static void test_yields_to_a_longer_log(void **state)
{
    ReplicaKit *kit = *state;
    replica_kit_stand(kit, A);
    Message polled = replica_kit_message(kit, MSG_POLLED, B, A);
    polled.lsn = 1;
    polled.lsn_term = 1;
    replica_kit_deliver(kit, &polled);
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
    /* Seen in the fence only: the same. */
    replica_kit_settle(kit);
    stand_to_cas(kit, A);
    answer_cas(kit, KIT_CAS_PLAIN);
    Message fenced = replica_kit_message(kit, MSG_FENCED, B, A);
    fenced.term = 1;
    fenced.granted = true;
    fenced.lsn = 7;
    fenced.lsn_term = 1;
    replica_kit_deliver(kit, &fenced);
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    replica_kit_store_all(kit, A);
    assert_int_equal(kit->starts, 0);
}

/* A longer log that may not be elected is no reason to yield: what it has more is not committed. */
static void test_does_not_yield_to_one_out_of_sync(void **state)
{
    ReplicaKit *kit = *state;
    ShardConfig row = kit->row;
    row.isr = 5; /* A and C */
    replica_kit_set_row(kit, &row);
    replica_kit_stand(kit, A);
    Message polled = replica_kit_message(kit, MSG_POLLED, B, A);
    polled.lsn = 1;
    polled.lsn_term = 1;
    replica_kit_deliver(kit, &polled);
    assert_int_equal(replica_kit_role(kit, A), ROLE_CANDIDATE);
    assert_int_equal(kit->cas_count, 1);
}

/* Out of sync, A stands only if it is longer than every member in sync that a fence quorum has. */
static void test_only_who_is_in_sync_stands(void **state)
{
    ReplicaKit *kit = *state;
    ShardConfig row = kit->row;
    row.isr = 6;
    replica_kit_set_row(kit, &row);
    replica_kit_stand(kit, A);
    replica_kit_pass(kit, MSG_POLL, A, B);
    replica_kit_pass(kit, MSG_POLLED, B, A); /* B may stand, with the same log */
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
    assert_int_equal(kit->cas_count, 0);
    replica_kit_settle(kit);
    row.elr = 1; /* ... or may be elected: it is in sync with itself then */
    replica_kit_set_row(kit, &row);
    stand_to_cas(kit, A);
    assert_int_equal(kit->cas[0].asked.isr, 7);
    assert_int_equal(kit->cas[0].asked.elr, 0);
}

/* B, which alone is in sync and up, lacks what C has, and C would never vote for it; C is out of
 * sync. Nobody could ever stand (docs/decisions/0010). */
static void test_longest_of_a_fence_quorum_stands(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = replica_kit_new(
        &(ReplicaKitOptions){.seed = 6, .members = 3, .min_isr = 2, .configs = true});
    stand_to_cas(kit, A);
    replica_kit_settle(kit);
    assert_true(replica_kit_append(kit, A));
    replica_kit_lose(kit, MSG_APPEND, A, B);
    replica_kit_settle(kit);
    replica_kit_stop(kit, A, 0);
    ShardConfig row = kit->row;
    row.isr = 2;
    replica_kit_set_row(kit, &row);
    replica_kit_stand(kit, B);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, B), ROLE_CANDIDATE);
    replica_kit_stand(kit, C);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, C), ROLE_STARTING);
    assert_int_equal(kit->row.isr, 4); /* too few: START waits until B has it and is in sync */
    replica_kit_tick(kit, C);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, C), ROLE_PRIMARY);
    assert_int_equal(kit->row.isr, 6);
    assert_int_equal(replica_commit_lsn(replica_kit_replica(kit, C)), kit->members[C].log_len);
    assert_string_equal(kit->wrong, "");
    replica_kit_free(kit);
}

/* The row names A only; the CONFIG that made B a member is committed, and B has an entry behind it
 * that A lost with its page cache: A can't be elected without B's vote, and B stands by its log. */
static void test_named_by_the_log_stands(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = replica_kit_new(
        &(ReplicaKitOptions){.seed = 6, .members = 2, .min_isr = 1, .configs = true});
    stand_to_cas(kit, A);
    replica_kit_settle(kit);
    replica_kit_tick(kit, A); /* B is told of the commit */
    replica_kit_settle(kit);
    Lsn committed = replica_commit_lsn(replica_kit_replica(kit, A));
    assert_int_equal(replica_commit_lsn(replica_kit_replica(kit, B)), committed);
    assert_true(replica_kit_append(kit, A));
    assert_true(replica_kit_pass(kit, MSG_APPEND, A, B));
    replica_kit_store_all(kit, B);
    replica_kit_stop(kit, A, 0);
    assert_true(kit->members[B].log_len > kit->members[A].log_len);
    ShardConfig row = kit->row; /* as it was before, and not swapped yet */
    row.member_count = 1;
    row.isr = 1;
    replica_kit_set_row(kit, &row);
    replica_kit_start(kit, A);
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    assert_int_not_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    replica_kit_stand(kit, B);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, B), ROLE_PRIMARY);
    assert_int_equal(kit->row.member_count, 2);
    assert_true(replica_commit_lsn(replica_kit_replica(kit, B)) > committed + 1);
    assert_string_equal(kit->wrong, "");
    replica_kit_free(kit);
}

/* isr −= old primary, which goes into elr only if too few are left. */
static void test_old_primary_leaves(void **state)
{
    UNUSED(state);
    static const struct {
        uint16_t isr;
        uint16_t want_isr;
        uint16_t want_elr;
    } rows[] = {{7, 6, 0}, {3, 2, 1}, {6, 6, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ReplicaKit *kit = cluster(3, 2);
        ShardConfig row = kit->row;
        row.isr = rows[i].isr;
        row.primary = A;
        replica_kit_set_row(kit, &row);
        stand_to_cas(kit, B);
        assert_int_equal(kit->cas[0].asked.isr, rows[i].want_isr);
        assert_int_equal(kit->cas[0].asked.elr, rows[i].want_elr);
        assert_int_equal(kit->cas[0].asked.primary, B);
        replica_kit_free(kit);
    }
}

static void test_refused_steps_down(void **state)
{
    ReplicaKit *kit = *state;
    stand_to_cas(kit, A);
    ShardConfig row = kit->row;
    row.term = 9;
    replica_kit_set_row(kit, &row);
    answer_cas(kit, KIT_CAS_PLAIN);
    const Replica *a = replica_kit_replica(kit, A);
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
    assert_true(id128_eq(replica_config(a)->cfg_uid, kit->row.cfg_uid));
    assert_int_equal(replica_term(a), 0); /* a row proves no vote */
    kit->blind = true;                    /* what it was told is what it stands with */
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    assert_int_equal(replica_term(a), 10);
}

/* Unknown is never taken as failed, nor as done. */
static void test_unknown_steps_down(void **state)
{
    UNUSED(state);
    static const ReplicaKitCasFate fates[] = {KIT_CAS_UNKNOWN_DONE, KIT_CAS_UNKNOWN_IGNORED};
    for (size_t i = 0; i < ARRAY_LEN(fates); i++) {
        ReplicaKit *kit = cluster(3, 2);
        stand_to_cas(kit, A);
        answer_cas(kit, fates[i]);
        assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
        assert_int_equal(kit->members[A].item_count, 0);
        replica_kit_stand(kit, A);
        replica_kit_settle(kit);
        assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
        assert_int_equal(replica_term(replica_kit_replica(kit, A)), 2 - i);
        assert_string_equal(kit->wrong, "");
        replica_kit_free(kit);
    }
}

/* The answer to an attempt that was given up is not taken for that of the present one. */
static void test_late_answer(void **state)
{
    ReplicaKit *kit = *state;
    stand_to_cas(kit, A);
    Message m = replica_kit_message(kit, MSG_FENCED, B, A);
    m.term = 3;
    replica_kit_deliver(kit, &m); /* a higher term: A steps down */
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
    replica_kit_cas_decide(kit, 0, KIT_CAS_UNKNOWN_DONE);
    replica_kit_stand(kit, A);
    replica_kit_pass(kit, MSG_POLL, A, B);
    replica_kit_pass(kit, MSG_POLLED, B, A);
    assert_int_equal(kit->cas_count, 2);
    replica_kit_cas_tell(kit, 0);
    assert_int_equal(replica_kit_role(kit, A), ROLE_CANDIDATE);
    kit->cas[0].decided = false;
    answer_cas(kit, KIT_CAS_PLAIN);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
}

/* The quorum counts durable votes, its own included. */
static void test_start_needs_the_own_vote(void **state)
{
    ReplicaKit *kit = *state;
    stand_to_cas(kit, A);
    answer_cas(kit, KIT_CAS_PLAIN);
    for (unsigned i = B; i <= C; i++) {
        replica_kit_pass(kit, MSG_FENCE, A, i);
        replica_kit_store_all(kit, i);
        replica_kit_pass(kit, MSG_FENCED, i, A);
    }
    assert_int_equal(kit->starts, 0);
    assert_int_equal(kit->members[A].log_len, 0);
    replica_kit_store_all(kit, A);
    assert_int_equal(kit->starts, 1);
}

static void test_start_needs_the_quorum(void **state)
{
    UNUSED(state);
    static const struct {
        unsigned members;
        uint32_t min_isr;
        unsigned votes; /* beside its own */
    } rows[] = {{3, 2, 1}, {3, 3, 1}, {3, 1, 2}, {5, 3, 2},
                {5, 2, 3}, {4, 3, 2}, {4, 2, 2}, {2, 2, 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ReplicaKit *kit = cluster(rows[i].members, rows[i].min_isr);
        stand_to_cas(kit, A);
        answer_cas(kit, KIT_CAS_PLAIN);
        replica_kit_store_all(kit, A);
        for (unsigned v = 1; v <= rows[i].votes; v++) {
            assert_int_equal(kit->starts, 0);
            replica_kit_pass(kit, MSG_FENCE, A, v);
            replica_kit_store_all(kit, v);
            replica_kit_pass(kit, MSG_FENCED, v, A);
            replica_kit_deliver(kit, &(Message){.type = MSG_FENCED}); /* to nobody */
        }
        assert_int_equal(kit->starts, 1);
        replica_kit_free(kit);
    }
}

/* Votes that may not count. */
static void test_votes_of_another_time(void **state)
{
    ReplicaKit *kit = *state;
    stand_to_cas(kit, A);
    answer_cas(kit, KIT_CAS_PLAIN);
    replica_kit_store_all(kit, A);
    Message good = replica_kit_message(kit, MSG_FENCED, B, A);
    good.term = 1;
    good.granted = true;
    Message rows[5] = {good, good, good, good, good};
    rows[0].granted = false;
    rows[1].term = 0;
    rows[2].from_incarnation--;
    rows[3].from = (Uuid){{9}};
    rows[4].from = kit->members[A].root;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        replica_kit_deliver(kit, &rows[i]);
        assert_int_equal(kit->starts, 0);
    }
}

/* Polls and fences that were lost are repeated at a tick, others not. */
static void test_tick_repeats(void **state)
{
    ReplicaKit *kit = *state;
    replica_kit_stand(kit, A);
    replica_kit_lose(kit, MSG_POLL, A, B);
    replica_kit_lose(kit, MSG_POLL, A, C);
    replica_kit_tick(kit, A);
    assert_int_equal(kit->bag_len, 2);
    replica_kit_pass(kit, MSG_POLL, A, B);
    replica_kit_pass(kit, MSG_POLLED, B, A);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    replica_kit_tick(kit, A);
    assert_int_equal(kit->bag_len, 0); /* the control store has the word */
    answer_cas(kit, KIT_CAS_PLAIN);
    replica_kit_pass(kit, MSG_FENCE, A, B);
    replica_kit_store_all(kit, B);
    replica_kit_pass(kit, MSG_FENCED, B, A);
    replica_kit_lose(kit, MSG_FENCE, A, C);
    replica_kit_tick(kit, A);
    assert_int_equal(kit->bag_len, 1); /* C, again */
    replica_kit_store_all(kit, A);
    assert_int_equal(kit->starts, 1);
}

/* A candidate that got nowhere may be asked again. */
static void test_stands_again(void **state)
{
    ReplicaKit *kit = *state;
    replica_kit_stand(kit, A);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    stand_to_cas(kit, A);
    replica_kit_stand(kit, A); /* the control store has not answered: nothing happens */
    assert_int_equal(kit->cas_count, 1);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    replica_kit_stand(kit, A);
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    assert_int_equal(kit->bag_len, 0);
}

/* A voter that answers when the primary serves already is not left behind. */
static void test_late_voter(void **state)
{
    ReplicaKit *kit = *state;
    stand_to_cas(kit, A);
    answer_cas(kit, KIT_CAS_PLAIN);
    replica_kit_store_all(kit, A);
    replica_kit_pass(kit, MSG_FENCE, A, B);
    replica_kit_store_all(kit, B);
    replica_kit_pass(kit, MSG_FENCED, B, A);
    assert_int_equal(replica_kit_role(kit, A), ROLE_STARTING);
    replica_kit_settle(kit); /* C's vote */
    assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
    assert_int_equal(kit->members[C].log_len, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, replica_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_alone),
        TEST(test_polls_first),
        TEST(test_term_is_above_all_that_was_polled),
        TEST(test_yields_to_a_longer_log),
        TEST(test_does_not_yield_to_one_out_of_sync),
        TEST(test_only_who_is_in_sync_stands),
        TEST(test_longest_of_a_fence_quorum_stands),
        TEST(test_named_by_the_log_stands),
        TEST(test_old_primary_leaves),
        TEST(test_refused_steps_down),
        TEST(test_unknown_steps_down),
        TEST(test_late_answer),
        TEST(test_start_needs_the_own_vote),
        TEST(test_start_needs_the_quorum),
        TEST(test_votes_of_another_time),
        TEST(test_tick_repeats),
        TEST(test_stands_again),
        TEST(test_late_voter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
