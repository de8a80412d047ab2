/* Short stories of a cluster, told as text in golden/: whoever changes the protocol changes a story
 * and reads it. HOLDFAST_UPDATE=1 writes them anew. */
#include "replica_kit.h"
#include "source_dir.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_story(const ReplicaKit *kit, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, SOURCE_DIR "/test/unit/replica/golden/%s.txt", name);
    assert_string_equal(kit->wrong, "");
    if (getenv("HOLDFAST_UPDATE") != NULL) {
        FILE *out = fopen(path, "w");
        assert_non_null(out);
        assert_int_equal(fwrite(kit->story.data, 1, kit->story.len, out), kit->story.len);
        assert_int_equal(fclose(out), 0);
    }
    static char golden[64 * 1024];
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    size_t len = fread(golden, 1, sizeof golden - 1, in);
    fclose(in);
    golden[len] = '\0';
    assert_str(buf_str(&kit->story), golden);
}

static ReplicaKit *cluster(unsigned members, uint32_t min_isr)
{
    return replica_kit_new(
        &(ReplicaKitOptions){.seed = 1, .members = members, .min_isr = min_isr, .trace = true});
}

static void test_write_alone(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = cluster(1, 1);
    replica_kit_stand(kit, 0);
    replica_kit_settle(kit);
    assert_true(replica_kit_append(kit, 0));
    replica_kit_settle(kit);
    expect_story(kit, "write_alone");
    replica_kit_free(kit);
}

static void test_write_with_three_members(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = cluster(3, 2);
    replica_kit_stand(kit, 0);
    replica_kit_settle(kit);
    assert_true(replica_kit_append(kit, 0));
    replica_kit_settle(kit);
    replica_kit_tick(kit, 0); /* tells the commit */
    replica_kit_settle(kit);
    expect_story(kit, "write_three");
    replica_kit_free(kit);
}

/* An entry that was acknowledged outlives its primary; one that was not may or may not. */
static void test_primary_dies(void **state)
{
    UNUSED(state);
    ReplicaKit *kit = cluster(3, 2);
    replica_kit_stand(kit, 0);
    replica_kit_settle(kit);
    assert_true(replica_kit_append(kit, 0));
    replica_kit_settle(kit);
    assert_true(replica_kit_append(kit, 0));
    replica_kit_lose(kit, MSG_APPEND, 0, 2);
    replica_kit_pass(kit, MSG_APPEND, 0, 1);
    replica_kit_store_all(kit, 1);
    replica_kit_stop(kit, 0, 0);
    replica_kit_stand(kit, 2); /* B is ahead: yields to it */
    replica_kit_settle(kit);
    replica_kit_stand(kit, 1);
    replica_kit_settle(kit);
    assert_int_equal(replica_kit_role(kit, 1), ROLE_PRIMARY);
    assert_int_equal(replica_commit_lsn(replica_kit_replica(kit, 1)), 4);
    expect_story(kit, "primary_dies");
    replica_kit_free(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_write_alone),
                                       cmocka_unit_test(test_write_with_three_members),
                                       cmocka_unit_test(test_primary_dies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
