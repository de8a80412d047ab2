/* What belongs to no one message: names, places of entries, who may read, misuse. */
#include "replica_kit.h"
#include "testing.h"

enum { A, B, C };

static void test_role_names(void **state)
{
    UNUSED(state);
    static const char *const names[] = {"follower", "candidate",  "starting",   "primary",
                                        "learner",  "incomplete", "quarantined"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_equal(replica_role_name((ReplicaRole)(ROLE_FOLLOWER + i)), names[i]);
    }
}

static void test_next_place(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = replica_kit_new(&(ReplicaKitOptions){.seed = 1, .members = 1, .min_isr = 1});
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    Lsn lsn = 0;
    Term term = 0;
    Sha256 prev = {{0}};
    replica_next(replica_kit_replica(kit, A), &lsn, &term, &prev);
    assert_int_equal(lsn, 2);
    assert_int_equal(term, 1);
    assert_memory_equal(&prev, &kit->members[A].log[0].hash, sizeof prev);
    replica_kit_free(kit);
}

/* Promises of min_isr members, itself included: with min_isr 1 no fence succeeds without it. */
static void test_who_may_read(void **state)
{
    UNUSED(state);
    for (unsigned min_isr = 1; min_isr <= 2; min_isr++) {
        ReplicaKit *kit = replica_kit_new(
            &(ReplicaKitOptions){.seed = 1, .members = 3, .min_isr = min_isr});
        assert_false(replica_can_read(replica_kit_replica(kit, A), 0));
        replica_kit_stand(kit, A);
        replica_kit_settle(kit);
        assert_int_equal(replica_kit_role(kit, A), ROLE_PRIMARY);
        assert_int_equal(replica_can_read(replica_kit_replica(kit, A), 0), min_isr == 1);
        replica_kit_free(kit);
    }
}

static void run_no_root(void *arg)
{
    (void)replica_init(arg, 1, (Uuid){{0}}, 1); /* aborts */
}

static void run_next_of_follower(void *arg)
{
    ReplicaKit *kit = arg;
    Lsn lsn;
    Term term;
    Sha256 prev;
    replica_next(replica_kit_replica(kit, B), &lsn, &term, &prev);
}

static void run_stored_too_much(void *arg)
{
    ReplicaKit *kit = arg;
    static Effects effects;
    replica_step(kit->members[B].replica, &(Event){.type = EVENT_STORED, .lsn = 1}, &effects);
}

static void run_no_event(void *arg)
{
    ReplicaKit *kit = arg;
    static Effects effects;
    replica_step(kit->members[B].replica, &(Event){.type = (EventType)99}, &effects);
}

static void test_misuse_aborts(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = replica_kit_new(&(ReplicaKitOptions){.seed = 1, .members = 3, .min_isr = 2});
    assert_aborts(run_no_root, kit, "id128_is_zero");
    assert_aborts(run_next_of_follower, kit, "replica_is_leading");
    assert_aborts(run_stored_too_much, kit, "last_lsn");
    assert_aborts(run_no_event, kit, "EVENT_SNAPSHOT_STORED");
    replica_kit_free(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role_names),
        cmocka_unit_test(test_next_place),
        cmocka_unit_test(test_who_may_read),
        cmocka_unit_test(test_misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
