#include "replica_fixture.h"

#include "testing.h"

int replica_fixture_setup(void **state)
{
    ReplicaKit *kit = replica_kit_new(
        &(ReplicaKitOptions){.seed = 3, .members = 3, .learners = 1, .min_isr = 2});
    replica_kit_stand(kit, A);
    replica_kit_settle(kit);
    for (int i = 0; i < 2; i++) {
        assert_true(replica_kit_append(kit, A));
        replica_kit_settle(kit);
    }
    assert_string_equal(kit->wrong, "");
    assert_int_equal(kit->members[C].log_len, 3);
    *state = kit;
    return 0;
}

int replica_fixture_teardown(void **state)
{
    ReplicaKit *kit = *state;
    assert_string_equal(kit->wrong, "");
    replica_kit_free(kit);
    return 0;
}

bool replica_fixture_votes(ReplicaKit *kit)
{
    Message ask = replica_kit_message(kit, MSG_FENCE, C, B);
    ask.term = 2;
    replica_kit_deliver(kit, &ask);
    replica_kit_store_all(kit, B);
    bool voted = kit->bag_len > 0;
    replica_kit_lose(kit, 0, REPLICA_KIT_MAX, REPLICA_KIT_MAX);
    return voted;
}
