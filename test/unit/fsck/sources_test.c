/* Who may be copied from: of three roots in sync, with rows, verdicts, names and logs as they may
 * turn out. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "fsck/sources.h"
#include "roots_kit.h"

#define ROOTS 3

typedef struct {
    Disk *disks[ROOTS];
    Disk *scratch;
    RootInfo info[ROOTS];
    ManualClock clock;
    Sources sources; /* 0 is the target, the others can be copied from */
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    RootsKit kit;
    Err err = {0};
    clock_manual_init(&f->clock, 1700000000000);
    roots_kit_disks(f->disks, ROOTS);
    assert_ok(disk_sim_new(9, &f->scratch, &err), &err);
    RootsKitOptions options = {.seed = 3, .shards = 1, .clock = &f->clock};
    roots_kit_start(&kit, f->disks, ROOTS, &options, 60000);
    for (int i = 0; i < 8; i++)
        assert_ok(roots_kit_put(&kit, STR("key"), STR("body"), 60000, &err), &err);
    roots_kit_wait(&kit, 5000);
    for (unsigned r = 0; r < ROOTS; r++) {
        f->info[r] = kit.roots[r].info;
        assert_ok(roots_kit_apply(&kit, r, &err), &err);
    }
    roots_kit_settle(&kit);
    roots_kit_drop(&kit);
    for (unsigned r = 0; r < ROOTS; r++) {
        disk_sim_kill(f->disks[r]);
        f->info[r].cluster = f->info[0].cluster; /* the kit has no node that makes them one */
        assert_ok(root_save(f->disks[r], &f->info[r], &err), &err);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    sources_deinit(&f->sources);
    for (unsigned r = 0; r < ROOTS; r++)
        disk_free(f->disks[r]);
    disk_free(f->scratch);
    mem_free(f);
    return 0;
}

static ErrCode read_all(Fixture *f, size_t named, Err *err)
{
    static const char *const names[] = {"a", "b", "c"};
    sources_deinit(&f->sources);
    f->sources = (Sources){.scratch = f->scratch, .count = ROOTS - 1};
    f->sources.target = (Source){.dir = names[0], .disk = f->disks[0]};
    for (unsigned r = 1; r < ROOTS; r++)
        f->sources.items[r - 1] = (Source){.dir = names[r], .disk = f->disks[r]};
    return sources_read(&f->sources, named, err);
}

/* Of b and c: empty, they can be copied from; else the reason has these words. */
static void expect_judged(Fixture *f, const char *b, const char *c)
{
    const char *wanted[] = {b, c};
    Err err = {0};
    assert_ok(read_all(f, SOURCES_MAX, &err), &err);
    assert_ok(sources_judge(&f->sources, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const char *why = f->sources.items[i].why;
        if (wanted[i][0] == '\0')
            assert_string_equal(why, "");
        else if (strstr(why, wanted[i]) == NULL)
            assert_string_equal(why, wanted[i]);
    }
}

static Control *open_control(Fixture *f)
{
    Control *control = NULL;
    Err err = {0};
    assert_ok(control_local_open(f->disks, ROOTS, &control, &err), &err);
    return control;
}

static void test_all_in_sync(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    bool whole = false;
    expect_judged(f, "", "");
    assert_true(sources_longest(&f->sources) < f->sources.count);
    assert_ok(sources_check_whole(&f->sources, 0, &err), &err);
    assert_ok(sources_target_whole(&f->sources, &whole, &err), &err);
    assert_true(whole);
}

static void test_verdicts(void **state)
{
    static const struct {
        RootVerdict verdict;
        const char *why;
    } rows[] = {{ROOT_SUSPECT, "SUSPECT"}, {ROOT_LOST, "replaced by another"}};
    Fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(Control, control_free) control = open_control(f);
        Err err = {0};
        assert_ok(control_set_verdict(control, f->info[1].uuid, rows[i].verdict, &err), &err);
        expect_judged(f, rows[i].why, "");
        assert_int_equal(sources_longest(&f->sources), 1);
    }
}

typedef struct {
    Uuid root;
    bool elr;
    ControlShard rows[8];
    size_t count;
} Change;

static ErrCode leave(void *ctx, const ControlShard *row, Err *err)
{
    Change *change = ctx;
    ControlShard *next = &change->rows[change->count];
    ShardConfig *config = &next->config;
    UNUSED(err);
    if (row->shard == SHARD_SYSTEM) return OK;
    *next = *row;
    uint32_t i = 0;
    while (!id128_eq(config->members[i].root, change->root))
        i++;
    config->parent_uid = config->cfg_uid;
    config->cfg_uid.bytes[0] ^= 0xff;
    config->version++;
    config->isr = (uint16_t)(config->isr & ~(1U << i));
    config->elr = (uint16_t)(change->elr ? config->elr | 1U << i : config->elr & ~(1U << i));
    if (config->primary == i) config->primary = MEMBERS_MAX;
    change->count++;
    return OK;
}

/* Not in sync in one shard; one of elr holds all that is committed. */
static void test_members_in_sync(void **state)
{
    static const struct {
        bool elr;
        const char *why;
    } rows[] = {{true, ""}, {false, "was not in sync"}};
    Fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(Control, control_free) control = open_control(f);
        Change change = {.root = f->info[2].uuid, .elr = rows[i].elr};
        Err err = {0};
        assert_ok(control_each_shard(control, leave, &change, &err), &err);
        assert_ok(control_cas(control, change.rows, change.count, &err), &err);
        expect_judged(f, "", rows[i].why);
    }
}

static void test_incarnations(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RootInfo other = f->info[1];
    other.incarnation--;
    assert_ok(root_save(f->disks[1], &other, &err), &err);
    expect_judged(f, "older copy", "");
    other.incarnation += 2;
    assert_ok(root_save(f->disks[1], &other, &err), &err);
    expect_judged(f, "started apart", "");
}

static void test_names(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RootInfo other = f->info[1];
    other.cluster.bytes[0] ^= 1;
    assert_ok(root_save(f->disks[1], &other, &err), &err);
    expect_judged(f, "another store", "");
    assert_code(read_all(f, 0, &err), ERR_PRECONDITION, &err);
    err_clear(&err);
    other = f->info[1];
    other.uuid = f->info[2].uuid;
    assert_ok(root_save(f->disks[1], &other, &err), &err);
    assert_ok(read_all(f, SOURCES_MAX, &err), &err);
    assert_code(sources_judge(&f->sources, &err), ERR_PRECONDITION, &err); /* only one is left */
    assert_non_null(strstr(f->sources.items[0].why, "is the same root"));
    assert_non_null(strstr(f->sources.items[1].why, "is the same root"));
    assert_int_equal(sources_longest(&f->sources), f->sources.count);
    err_clear(&err);
    other.uuid = f->info[0].uuid;
    assert_ok(root_save(f->disks[1], &other, &err), &err);
    assert_code(read_all(f, 0, &err), ERR_PRECONDITION, &err);
}

/* Nothing says of which store an emptied directory was. */
static void test_two_stores(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RootInfo other = f->info[1];
    other.cluster.bytes[0] ^= 1;
    assert_ok(root_save(f->disks[1], &other, &err), &err);
    assert_ok(disk_unlink(f->disks[0], ROOT_FILE, &err), &err);
    assert_code(read_all(f, SOURCES_MAX, &err), ERR_PRECONDITION, &err);
    err_clear(&err);
    assert_ok(read_all(f, 1, &err), &err);
}

/* What says who is in sync must stand in more than half of the directories. */
static void test_no_majority(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_ok(disk_unlink(f->disks[0], CONTROL_FILE, &err), &err);
    expect_judged(f, "", "");
    assert_ok(disk_unlink(f->disks[1], CONTROL_FILE, &err), &err);
    assert_ok(read_all(f, SOURCES_MAX, &err), &err);
    assert_code(sources_judge(&f->sources, &err), ERR_PRECONDITION, &err);
}

/* The shard's log of a root says something of its own, as a process would leave it. */
static void append_state(Fixture *f, unsigned r, bool reset, Lsn more)
{
    AUTO(Store, store_free) store = NULL;
    StoreOpened opened;
    ReplicaState state;
    Err err = {0};
    RootInfo info = f->info[r];
    info.incarnation++; /* of the log only */
    StoreOptions options = {.root = info, .clock = &f->clock.clock, .seed = 5};
    assert_ok(store_open(f->disks[r], &options, &store, &opened, &err), &err);
    store_replica_state(store, 0x1000, &state);
    if (reset) {
        state.last_lsn += more;
        assert_ok(store_log_reset(store, &state, &err), &err);
    } else {
        wal_note(store_wal(store), 0x1000, state.last_lsn + more, 0);
        assert_ok(store_log_state(store, &(ReplicaState){.shard = 0x1000}, &err), &err);
        assert_ok(store_log_sync(store, &err), &err);
        assert_ok(wal_rotate(store_wal(store), &err), &err); /* its CHECKPOINT tells */
    }
    assert_ok(store_log_sync(store, &err), &err);
}

static void test_incomplete(void **state)
{
    Fixture *f = *state;
    append_state(f, 1, true, 0);
    expect_judged(f, "not whole", "");
}

/* The target, damaged as it may be, or another one knows of more than there is. */
static void test_more_is_attested(void **state)
{
    Fixture *f = *state;
    append_state(f, 0, false, 5);
    expect_judged(f, "a attests", "a attests");
}

static void test_damaged(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    bool whole = true;
    assert_ok(disk_sim_damage(f->disks[0], "packs/1.pack", PACK_HEADER_LEN + 60, STR("????"), &err),
              &err);
    assert_ok(disk_sim_damage(f->disks[2], "packs/1.pack", PACK_HEADER_LEN + 60, STR("????"), &err),
              &err);
    expect_judged(f, "", "");
    assert_ok(sources_target_whole(&f->sources, &whole, &err), &err);
    assert_false(whole);
    assert_ok(sources_check_whole(&f->sources, 0, &err), &err);
    assert_code(sources_check_whole(&f->sources, 1, &err), ERR_CORRUPT, &err);
    assert_int_equal(sources_longest(&f->sources), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_in_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_members_in_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_incarnations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_majority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_incomplete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_is_attested, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
