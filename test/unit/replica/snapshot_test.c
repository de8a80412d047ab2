/* SNAPSHOT: a member begins anew, and counts for nothing until all is here. */
#include "replica_fixture.h"
#include "testing.h"

static Message snapshot(const ReplicaKit *kit, Lsn lsn)
{
    Message message = replica_kit_message(kit, MSG_SNAPSHOT, A, C);
    message.lsn = lsn;
    message.lsn_term = 1;
    message.lsn_hash = sha256_of("elsewhere", 9);
    return message;
}

static const Effect *reset_of(const ReplicaKit *kit)
{
    for (uint32_t i = 0; i < kit->effects.count; i++) {
        if (kit->effects.items[i].type == EFFECT_RESET) return &kit->effects.items[i];
    }
    return NULL;
}

static void test_begins_anew(void **state)
{
    ReplicaKit *kit = *state;
    Message told = snapshot(kit, 9);
    replica_kit_deliver(kit, &told);
    const Effect *reset = reset_of(kit);
    assert_non_null(reset);
    assert_int_equal(reset == NULL ? 0 : reset->lsn, 9);
    assert_int_equal(replica_kit_role(kit, C), ROLE_INCOMPLETE);
    assert_int_equal(replica_last_lsn(replica_kit_replica(kit, C)), 9);
    /* A repeat begins nothing again. */
    replica_kit_deliver(kit, &told);
    assert_null(reset_of(kit));
    /* … and it has no vote meanwhile. */
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    Message ask = replica_kit_message(kit, MSG_FENCE, B, C);
    ask.term = 2;
    ask.lsn = 20;
    replica_kit_deliver(kit, &ask);
    assert_int_equal(kit->bag_len, 0);
}

/* What is known to be committed here is never given up for less (I5). */
static void test_not_below_what_is_committed(void **state)
{
    ReplicaKit *kit = *state;
    Lsn commit = replica_commit_lsn(replica_kit_replica(kit, C));
    assert_true(commit >= 2);
    Message told = snapshot(kit, commit - 1);
    replica_kit_deliver(kit, &told);
    assert_null(reset_of(kit));
    assert_int_equal(replica_kit_role(kit, C), ROLE_FOLLOWER);
}

static void test_what_is_here_already(void **state)
{
    ReplicaKit *kit = *state;
    Message told = snapshot(kit, 3);
    told.lsn_hash = kit->members[C].log[2].hash;
    replica_kit_deliver(kit, &told);
    assert_null(reset_of(kit));
    assert_int_equal(replica_kit_role(kit, C), ROLE_FOLLOWER);
}

static void test_of_an_old_term(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = replica_kit_message(kit, MSG_FENCE, B, C);
    ask.term = 2;
    replica_kit_deliver(kit, &ask);
    Message told = snapshot(kit, 9);
    replica_kit_deliver(kit, &told);
    assert_null(reset_of(kit));
    assert_int_equal(replica_kit_role(kit, C), ROLE_FOLLOWER);
    told.term = 3;
    told.lsn_term = 4; /* a base that its sender can't have */
    replica_kit_deliver(kit, &told);
    assert_null(reset_of(kit));
}

/* What it acknowledges before it is seeded is gone afterwards, and the word may come late. */
static void test_the_unsound_acknowledges_nothing(void **state)
{
    ReplicaKit *kit = *state;
    assert_true(replica_kit_append(kit, A));
    replica_kit_store_all(kit, A);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    Message told = replica_kit_message(kit, MSG_APPENDED, C, A);
    told.lsn = 4;
    told.unsound = true;
    replica_kit_deliver(kit, &told);
    told = replica_kit_message(kit, MSG_APPENDED, B, A);
    told.lsn = 4;
    Event event = {.type = EVENT_MESSAGE, .message = &told, .now_ns = kit->now_ns};
    replica_step(kit->members[A].replica, &event, &kit->effects);
    assert_int_equal(replica_commit_lsn(replica_kit_replica(kit, A)), 3);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, replica_fixture_setup, replica_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_begins_anew),
        TEST(test_not_below_what_is_committed),
        TEST(test_what_is_here_already),
        TEST(test_of_an_old_term),
        TEST(test_the_unsound_acknowledges_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
