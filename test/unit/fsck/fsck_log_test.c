/* What fsck says of a root that was stopped amid a snapshot from another one: nothing that is not
 * so. Its log begins anew at some place and its index is at another. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "fsck/fsck.h"
#include "fsck/fsck_priv.h"
#include "node_kit.h"

#define FILES 20

static const NodeKitOptions small = {.seed = 4, .shards = 1};

typedef struct {
    size_t incomplete;
    char first[64]; /* the first damage's kind */
} Found;

static ErrCode note(void *ctx, const FsckFinding *finding, Err *err)
{
    Found *found = ctx;
    UNUSED(err);
    if (strcmp(finding->kind, "incomplete") == 0) found->incomplete++;
    if (finding->level == FSCK_DAMAGE && found->first[0] == '\0')
        snprintf(found->first, sizeof found->first, "%s", finding->kind);
    return OK;
}

static Found look(Disk *disk)
{
    AUTO(Disk, disk_free) scratch = NULL;
    Found found = {0};
    FsckReport report;
    Err err = {0};
    assert_ok(disk_sim_new(2, &scratch, &err), &err);
    FsckOptions options = {.disk = disk, .scratch = scratch, .finding = note, .ctx = &found};
    assert_ok(fsck_run(&options, &report, &err), &err);
    return found;
}

static void fill(NodeKit *kit, Disk *disk)
{
    Err err = {0};
    assert_ok(node_kit_open(kit, disk, &small, &err), &err);
    assert_ok(node_kit_ready(kit, &err), &err);
    for (int i = 0; i < FILES; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02d", i);
        assert_ok(node_kit_put(kit, STR("files"), str_from_cstr(key), STR("body"), &err), &err);
    }
    assert_ok(node_kit_apply(kit, &err), &err);
}

/* The log of all shards begins anew at base; cut: nothing is left of what was before. */
static void begin_anew(NodeKit *kit, Lsn base, bool cut)
{
    static const ShardId shards[] = {SHARD_SYSTEM, 0x1000};
    Err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        ReplicaState state = {.shard = shards[i], .last_lsn = base, .last_term = 1};
        memset(&state.last_hash, 7, sizeof state.last_hash);
        assert_ok(store_log_reset(kit->store, &state, &err), &err);
    }
    assert_ok(store_log_sync(kit->store, &err), &err);
    if (!cut) return;
    WalStats stats;
    assert_ok(wal_rotate(store_wal(kit->store), &err), &err);
    wal_stats(store_wal(kit->store), &stats);
    assert_ok(wal_cut(store_wal(kit->store), stats.active_segment, &err), &err);
}

/* The shards are whole again, by what their log says. */
static void end_anew(NodeKit *kit)
{
    static const ShardId shards[] = {SHARD_SYSTEM, 0x1000};
    Err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        ReplicaState state = {.shard = shards[i]};
        assert_ok(store_log_state(kit->store, &state, &err), &err);
    }
    assert_ok(store_log_sync(kit->store, &err), &err);
}

static void test_incomplete_is_no_damage(void **state)
{
    UNUSED(state);
    static const Lsn bases[] = {2, 1000}; /* the index is behind, or ahead of it */
    for (size_t i = 0; i < 2 * ARRAY_LEN(bases); i++) {
        AUTO(Disk, disk_free) disk = NULL;
        NodeKit kit;
        Err err = {0};
        assert_ok(disk_sim_new(1, &disk, &err), &err);
        fill(&kit, disk);
        begin_anew(&kit, bases[i / 2], i % 2 == 1);
        node_kit_drop(&kit);
        disk_sim_kill(disk);
        Found found = look(disk);
        assert_string_equal(found.first, "");
        assert_int_equal(found.incomplete, 1);
    }
}

/* Once it is said to be whole, log and index must agree. */
static void test_whole_again_is_judged(void **state)
{
    UNUSED(state);
    AUTO(Disk, disk_free) disk = NULL;
    NodeKit kit;
    Err err = {0};
    assert_ok(disk_sim_new(1, &disk, &err), &err);
    fill(&kit, disk);
    begin_anew(&kit, 2, true);
    end_anew(&kit);
    node_kit_drop(&kit);
    disk_sim_kill(disk);
    Found found = look(disk);
    assert_string_equal(found.first, "log-short");
    assert_int_equal(found.incomplete, 0);
}

static ErrCode note_mend(void *ctx, const FsckFinding *finding, Err *err)
{
    UNUSED(err);
    *(const char **)ctx = finding->mend;
    return OK;
}

/* A view that is damaged is made again from the others only where there is no other copy. */
static void test_advice_rests_on_copies(void **state)
{
    static const struct {
        unsigned copies;
        const char *mend;
        const char *told;
    } rows[] = {
        {1, FSCK_MEND_INDEX, FSCK_MEND_INDEX}, {3, FSCK_MEND_INDEX, FSCK_MEND_COPY},
        {3, FSCK_MEND_PACKS, FSCK_MEND_COPY},  {3, FSCK_MEND_REPAIR, FSCK_MEND_REPAIR},
        {0, FSCK_MEND_PACKS, FSCK_MEND_PACKS}, {3, "", ""},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        const char *told = NULL;
        FsckOptions options = {.finding = note_mend, .ctx = &told};
        Fsck fsck = {.options = &options, .report.copies = rows[i].copies};
        FsckFinding finding = {.level = FSCK_DAMAGE, .mend = rows[i].mend};
        assert_ok(fsck_tell(&fsck, &finding, &err), &err);
        assert_string_equal(told, rows[i].told);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incomplete_is_no_damage),
        cmocka_unit_test(test_whole_again_is_judged),
        cmocka_unit_test(test_advice_rests_on_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
