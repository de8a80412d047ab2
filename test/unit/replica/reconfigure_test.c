/* The row of the control store: what an unknown outcome, or an old answer, leaves required. */
#include "replica_fixture.h"
#include "testing.h"

/* A leads with B in sync, and asks for C as well: the request is at the control store. */
static int setup(void **state)
{
    ReplicaKit *kit = replica_kit_new(&(ReplicaKitOptions){
        .seed = 9, .members = 3, .min_isr = 2, .configs = true, .heartbeats = true});
    ShardConfig row = kit->row;
    row.isr = 3;
    replica_kit_set_row(kit, &row);
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    for (int i = 0; i < 20 && kit->cas_count == 0; i++) {
        kit->now_ns += 250 * REPLICA_MS;
        replica_kit_tick(kit, A);
        if (kit->cas_count == 0) replica_kit_settle(kit);
    }
    assert_int_equal(kit->cas_count, 1);
    assert_int_equal(kit->cas[0].asked.isr, 7);
    *state = kit;
    return 0;
}

static bool requires_c(const ReplicaKit *kit)
{
    return replica_requires(replica_kit_replica(kit, A), kit->members[C].root);
}

static void tell_row(ReplicaKit *kit, const ShardConfig *row)
{
    Event event = {.type = EVENT_ROW, .config = row, .now_ns = kit->now_ns};
    replica_step(kit->members[A].replica, &event, &kit->effects);
}

/* Nothing is heard of C for a while: from then on it is not about to be added, which alone would
 * require it. */
static void lose_sight_of_c(ReplicaKit *kit)
{
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    kit->now_ns += REPLICA_LEASE_NS + REPLICA_MS;
    replica_kit_tick(kit, A);
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    assert_int_equal(kit->cas_count, 0); /* the row must be read first */
}

/* Each read of the row, and the one that comes with a refusal, may be of a moment ago. */
static void test_old_rows_end_no_doubt(void **state)
{
    ReplicaKit *kit = *state;
    ShardConfig old = kit->row;
    replica_kit_cas_decide(kit, 0, KIT_CAS_UNKNOWN_DONE);
    replica_kit_cas_tell(kit, 0);
    lose_sight_of_c(kit);
    assert_true(requires_c(kit));
    tell_row(kit, &old);
    assert_true(requires_c(kit));
    replica_kit_tick(kit, A); /* another one, on what was read */
    assert_int_equal(kit->cas_count, 1);
    assert_true(id128_eq(kit->cas[0].asked.parent_uid, old.cfg_uid));
    replica_kit_cas_decide(kit, 0, KIT_CAS_PLAIN);
    assert_int_equal(kit->cas[0].answer, EVENT_CAS_REFUSED);
    kit->cas[0].in_force = old;
    replica_kit_cas_tell(kit, 0);
    assert_true(requires_c(kit));
    ShardConfig older = old;
    older.cfg_uid.bytes[0] ^= 1;
    tell_row(kit, &older);
    assert_true(requires_c(kit));
}

/* A swap that is done ends it: all that were on the same row, or an older one, can't be any more.
 */
static void test_a_swap_ends_doubt(void **state)
{
    ReplicaKit *kit = *state;
    replica_kit_cas_decide(kit, 0, KIT_CAS_UNKNOWN_IGNORED);
    replica_kit_cas_tell(kit, 0);
    assert_true(requires_c(kit));
    tell_row(kit, &kit->row);
    replica_kit_stop(kit, C, 0);
    kit->now_ns += 2 * REPLICA_DROP_NS;
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    Message heard = replica_kit_message(kit, MSG_APPENDED, B, A);
    heard.lsn = kit->members[B].durable;
    replica_kit_deliver(kit, &heard);
    replica_kit_tick(kit, A);
    assert_int_equal(kit->cas_count, 1);
    assert_int_equal(kit->cas[0].asked.isr, 3);
    replica_kit_cas_decide(kit, 0, KIT_CAS_PLAIN);
    replica_kit_cas_tell(kit, 0);
    assert_false(requires_c(kit));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_old_rows_end_no_doubt, setup,
                                        replica_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_swap_ends_doubt, setup, replica_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
