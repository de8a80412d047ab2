/* Placement classes: each keeps its files on as many roots as it has copies, and stands on a lead
 * of its own. */
#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "look.h"
#include "roots_kit.h"
#include "service/engine_priv.h"
#include "testing.h"

#define ROOTS 3
#define WAIT_MS 8000
#define FILES 12 /* of each bucket: some in each shard */

typedef struct {
    Disk *disks[ROOTS];
    ManualClock clock;
    RootsKit kit;
    uint64_t starts;
} Fixture;

static void open_kit(Fixture *f)
{
    RootsKitOptions options = {.seed = ++f->starts, .shards = 2, .clock = &f->clock};
    roots_kit_start(&f->kit, f->disks, ROOTS, &options, WAIT_MS);
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    clock_manual_init(&f->clock, 1700000000000);
    roots_kit_disks(f->disks, ROOTS);
    open_kit(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    roots_kit_end(&f->kit, f->disks, ROOTS);
    mem_free(f);
    return 0;
}

static void kill_all(Fixture *f)
{
    roots_kit_kill(&f->kit, f->disks, ROOTS);
}

static void restart(Fixture *f)
{
    kill_all(f);
    open_kit(f);
}

/* Does a change; what it came to, and why, into *err. */
static ErrCode act(Fixture *f, Mutation *m, Err *err)
{
    ErrCode code = roots_kit_do(&f->kit, m, WAIT_MS);
    err_clear(err);
    if (code != OK) *err = m->err;
    mutation_deinit(m);
    return code;
}

/* Ticks in which root `still` does nothing, and says so. */
static void stand_still(Fixture *f, unsigned still, unsigned ticks)
{
    EngineHealth health[ENGINE_ROOTS_MAX] = {{0}};
    for (unsigned i = 0; i < ticks; i++) {
        f->clock.boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        health[still].sync_age_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        engine_tick(f->kit.engine, health);
        for (unsigned r = 0; r < ROOTS; r++) {
            if (r == still) continue;
            roots_kit_append(&f->kit, r, SIZE_MAX);
            roots_kit_sync(&f->kit, r);
            roots_kit_fetch(&f->kit, r);
        }
        roots_kit_control_run(&f->kit);
        roots_kit_control_tell(&f->kit, true);
        engine_turn(f->kit.engine);
    }
}

static ErrCode set_class(Fixture *f, const char *name, ClassSettings settings, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_CLASS_SET);
    m.key = str_from_cstr(name);
    m.class_settings = settings;
    return act(f, &m, err);
}

static ErrCode make_bucket(Fixture *f, const char *name, const char *class, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = str_from_cstr(name);
    m.settings = (BucketSettings){.has_class = true, .class = str_from_cstr(class)};
    return act(f, &m, err);
}

/* A class of so many copies and a bucket of that name in it; the number of the class. */
static unsigned new_class(Fixture *f, const char *name, unsigned copies, unsigned min_isr)
{
    Err err = {0};
    ClassInfo info;
    ClassSettings settings = {.has_copies = true,
                              .copies = copies,
                              .has_min_isr = min_isr != 0,
                              .min_isr = min_isr,
                              .has_shards = true,
                              .shards = 2};
    assert_ok(set_class(f, name, settings, &err), &err);
    assert_ok(make_bucket(f, name, name, &err), &err);
    assert_true(classes_find(f->kit.engine->options.classes, str_from_cstr(name), &info));
    roots_kit_wait(&f->kit, 4 * ENGINE_TICK_MS);
    return info.rules.number;
}

static ErrCode put_one(Fixture *f, const char *bucket, unsigned number, Durability *out, Err *err)
{
    char text[32];
    Mutation m;
    snprintf(text, sizeof text, "%s %u", bucket, number);
    Str body = str_from_cstr(text);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = str_from_cstr(bucket);
    m.key = body;
    m.size = body.len;
    m.digest = sha256_of(body.ptr, body.len);
    m.inline_body = body;
    ErrCode code = roots_kit_do(&f->kit, &m, WAIT_MS);
    err_clear(err);
    if (code != OK) *err = m.err;
    *out = m.durability;
    mutation_deinit(&m);
    return code;
}

static void put(Fixture *f, const char *bucket, unsigned synced, unsigned copies)
{
    for (unsigned i = 0; i < FILES; i++) {
        Err err = {0};
        Durability d;
        assert_ok(put_one(f, bucket, i, &d, &err), &err);
        assert_int_equal(d.synced, synced);
        assert_int_equal(d.copies, copies);
    }
}

static unsigned count_on(Fixture *f, unsigned root, const char *bucket)
{
    unsigned count = 0;
    AUTO_BUF(body, INLINE_MAX);
    for (unsigned i = 0; i < FILES; i++) {
        char text[32];
        Err err = {0};
        snprintf(text, sizeof text, "%s %u", bucket, i);
        Str key = str_from_cstr(text);
        ErrCode code = roots_kit_get_of(&f->kit, root, str_from_cstr(bucket), key, &body, &err);
        assert_true(code == OK || code == ERR_NOT_FOUND);
        if (code == OK) assert_true(str_eq(buf_str(&body), key));
        count += code == OK;
    }
    return count;
}

/* Bit r: root r has all files of bucket; others must have none. */
static unsigned holders(Fixture *f, const char *bucket)
{
    unsigned mask = 0;
    roots_kit_wait(&f->kit, 2 * ENGINE_TICK_MS);
    for (unsigned r = 0; r < ROOTS; r++) {
        unsigned count = count_on(f, r, bucket);
        assert_true(count == 0 || count == FILES);
        mask |= (count > 0 ? 1U : 0U) << r;
    }
    return mask;
}

static uint64_t usage(Fixture *f, const char *bucket)
{
    BucketStatRow row;
    buckets_usage(f->kit.buckets, look_bucket(f->kit.buckets, str_from_cstr(bucket)), &row);
    return row.files;
}

static void test_copies(void **state)
{
    Fixture *f = *state;
    unsigned one = new_class(f, "one", 1, 0);
    unsigned two = new_class(f, "two", 2, 0);
    unsigned all = new_class(f, "all", 3, 2);
    put(f, "one", 1, 1);
    put(f, "two", 2, 2);
    put(f, "all", 3, 3);
    put(f, "files", 3, 3);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(__builtin_popcount(holders(f, "one")), 1);
        assert_int_equal(__builtin_popcount(holders(f, "two")), 2);
        assert_int_equal(holders(f, "all"), 7);
        assert_int_equal(holders(f, "files"), 7);
        EngineClass c = engine_class(f->kit.engine, one);
        assert_int_equal(c.members, holders(f, "one"));
        assert_int_equal(1U << c.lead, c.members);
        assert_int_equal(c.needed, 1);
        assert_true(c.read_until == UINT64_MAX);
        c = engine_class(f->kit.engine, two);
        assert_int_equal(c.members, holders(f, "two"));
        assert_int_equal(c.in_sync, c.members);
        assert_int_equal(c.needed, 2);
        assert_int_equal(engine_class(f->kit.engine, all).needed, 2);
        assert_int_equal(engine_class(f->kit.engine, PLACE_CLASS_STANDARD).needed, 2);
        assert_int_equal(usage(f, "one"), FILES);
        assert_int_equal(usage(f, "two"), FILES);
        assert_int_equal(usage(f, "files"), FILES);
        restart(f);
    }
    put(f, "one", 1, 1);
    put(f, "two", 2, 2);
    assert_int_equal(usage(f, "two"), FILES);
    assert_false(engine_class(f->kit.engine, 9).there);
}

/* Of a class with one copy nobody else can go on; of all others they do. */
static void test_the_only_copy_fails(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Durability d;
    unsigned one = new_class(f, "one", 1, 0);
    unsigned two = new_class(f, "two", 2, 0);
    unsigned lost = engine_class(f->kit.engine, one).lead;
    put(f, "one", 1, 1);
    put(f, "two", 2, 2);
    put(f, "files", 3, 3);
    roots_kit_disk_fails(f->disks[lost], true);
    assert_code(put_one(f, "one", 0, &d, &err), ERR_OUTCOME_UNKNOWN, &err);
    assert_true(engine_class(f->kit.engine, one).failed);
    assert_code(put_one(f, "one", 0, &d, &err), ERR_ROOT_FAILED, &err);
    roots_kit_wait(&f->kit, WAIT_MS);
    put(f, "files", 2, 3);
    bool kept = (engine_class(f->kit.engine, two).members >> lost & 1) == 0;
    assert_int_equal(engine_class(f->kit.engine, two).failed, !kept);
    if (kept) assert_ok(put_one(f, "two", 0, &d, &err), &err);
    assert_false(engine_failed(f->kit.engine));
    roots_kit_disk_fails(f->disks[lost], false);
    restart(f);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_int_equal(count_on(f, lost, "one"), FILES);
    put(f, "one", 1, 1);
    put(f, "two", 2, 2);
    put(f, "files", 3, 3);
    assert_int_equal(usage(f, "one"), FILES);
}

/* The one that leads is needed, for no quorum of two could tell that it does so no more: the class
 * is read only until it is back. Without the other one it goes on, if that is enough. */
static void one_of_two_fails(Fixture *f, bool lead)
{
    Err err = {0};
    Durability d;
    unsigned two = new_class(f, "two", 2, 0);
    EngineClass before = engine_class(f->kit.engine, two);
    unsigned other = (unsigned)__builtin_ctz(before.members & ~(1U << before.lead));
    unsigned lost = lead ? before.lead : other;
    put(f, "two", 2, 2);
    roots_kit_disk_fails(f->disks[lost], true);
    ErrCode code = put_one(f, "two", 0, &d, &err);
    assert_int_equal(code, ERR_OUTCOME_UNKNOWN);
    roots_kit_wait(&f->kit, WAIT_MS);
    EngineClass after = engine_class(f->kit.engine, two);
    assert_true(after.failed);
    assert_int_equal(after.lead, before.lead);
    assert_int_equal(count_on(f, before.lead, "two"), FILES);
    assert_true(after.read_until > clock_boot_ns(&f->clock.clock));
    assert_code(put_one(f, "two", 0, &d, &err), ERR_ROOT_FAILED, &err);
    put(f, "files", 2, 3);
    roots_kit_disk_fails(f->disks[lost], false);
    restart(f);
    roots_kit_wait(&f->kit, WAIT_MS);
    after = engine_class(f->kit.engine, two);
    assert_int_equal(after.members, before.members);
    assert_int_equal(after.in_sync, before.members);
    assert_int_equal(holders(f, "two"), before.members);
    put(f, "two", 2, 2);
}

static void test_lead_of_two_fails(void **state)
{
    one_of_two_fails(*state, true);
}

static void test_other_of_two_fails(void **state)
{
    one_of_two_fails(*state, false);
}

static void heal(Fixture *f)
{
    Err err = {0};
    for (unsigned r = 0; r < ROOTS; r++)
        assert_ok(roots_kit_apply(&f->kit, r, &err), &err);
    roots_kit_wait(&f->kit, 4 * WAIT_MS);
}

/* Another root in place of one that a class of two needs: all others heal, and that class, of which
 * no quorum is left, waits for the one that it names, which is not forgotten. */
static void test_a_root_is_replaced(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    unsigned two = new_class(f, "two", 2, 0);
    unsigned all = new_class(f, "all", 3, 2);
    EngineClass before = engine_class(f->kit.engine, two);
    unsigned gone = (unsigned)__builtin_ctz(before.members & ~(1U << before.lead));
    put(f, "two", 2, 2);
    put(f, "all", 3, 3);
    put(f, "files", 3, 3);
    kill_all(f);
    Disk *old = f->disks[gone];
    assert_ok(disk_sim_new(100, &f->disks[gone], &err), &err);
    open_kit(f);
    heal(f);
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
    assert_int_equal(engine_class(f->kit.engine, all).in_sync, 7);
    assert_int_equal(engine_class(f->kit.engine, two).read_until, 0);
    put(f, "all", 3, 3);
    put(f, "files", 3, 3);
    kill_all(f);
    disk_free(f->disks[gone]);
    f->disks[gone] = old;
    open_kit(f);
    heal(f);
    assert_int_equal(engine_class(f->kit.engine, two).in_sync, before.members);
    assert_int_equal(holders(f, "two"), before.members);
    put(f, "two", 2, 2);
    put(f, "all", 3, 3);
    put(f, "files", 3, 3);
}

static void test_leads_are_moved(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    unsigned one = new_class(f, "one", 1, 0);
    unsigned all = new_class(f, "all", 3, 2);
    unsigned only = engine_class(f->kit.engine, one).lead;
    unsigned to = (engine_lead(f->kit.engine) + 1) % ROOTS;
    put(f, "one", 1, 1);
    put(f, "all", 3, 3);
    assert_ok(engine_hand_over(f->kit.engine, to, &err), &err);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_int_equal(engine_lead(f->kit.engine), to);
    assert_int_equal(engine_class(f->kit.engine, all).lead, to);
    assert_int_equal(engine_class(f->kit.engine, one).lead, only);
    put(f, "one", 1, 1);
    put(f, "all", 3, 3);
    assert_code(engine_evict(f->kit.engine, only, &err), ERR_PRECONDITION, &err);
    assert_non_null(strstr(err_text(&err), "class one"));
    unsigned next = (only + 1) % ROOTS;
    assert_ok(engine_evict(f->kit.engine, next, &err), &err);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_true(engine_root_is_out(f->kit.engine, next));
    assert_int_not_equal(engine_class(f->kit.engine, all).lead, next);
    put(f, "one", 1, 1);
    put(f, "all", 2, 3);
}

/* Its replicas of the class start when it is taken back, and it becomes a member like others. */
static void test_made_while_one_is_out(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (unsigned i = 0; i < ROOTS; i++) {
        char name[8];
        unsigned away = (engine_lead(f->kit.engine) + i) % ROOTS;
        snprintf(name, sizeof name, "all%u", i);
        assert_ok(engine_evict(f->kit.engine, away, &err), &err);
        roots_kit_wait(&f->kit, WAIT_MS);
        unsigned class = new_class(f, name, ROOTS, 2);
        put(f, name, 2, 3);
        assert_ok(engine_add(f->kit.engine, away, &err), &err);
        roots_kit_wait(&f->kit, WAIT_MS);
        assert_int_equal(engine_class(f->kit.engine, class).in_sync, 7);
        put(f, name, 3, 3);
    }
}

/* A class that stalls goes on by itself; without one of those that it waits for it could not. */
static void test_who_is_waited_for_stays(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    unsigned two = new_class(f, "two", 2, 2);
    unsigned members = engine_class(f->kit.engine, two).members;
    unsigned lead = engine_class(f->kit.engine, two).lead;
    unsigned other = (unsigned)__builtin_ctz(members & ~(1U << lead));
    stand_still(f, other, 60);
    assert_int_equal(engine_class(f->kit.engine, two).in_sync, 1U << lead);
    assert_code(engine_evict(f->kit.engine, other, &err), ERR_PRECONDITION, &err);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_int_equal(engine_class(f->kit.engine, two).in_sync, members);
    put(f, "two", 2, 2);
}

static void test_settings(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Durability d;
    unsigned two = new_class(f, "two", 3, 0);
    const ClassSettings all_three = {.has_min_isr = true, .min_isr = 3};
    const ClassSettings most = {.has_min_isr = true, .min_isr = 2};
    const ClassSettings slow = {.has_mode = true, .mode = PLACE_ASYNC};
    assert_int_equal(engine_class(f->kit.engine, two).needed, 2);
    assert_code(set_class(f, "two", all_three, &err), ERR_INVALID, &err);
    assert_ok(set_class(f, "two", most, &err), &err);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_int_equal(engine_class(f->kit.engine, two).needed, 2);
    assert_ok(set_class(f, "two", slow, &err), &err);
    assert_ok(make_bucket(f, "slow", "two", &err), &err);
    BucketRecord record;
    assert_true(buckets_find(f->kit.buckets, STR("slow"), &record));
    assert_int_equal(record.mode, PLACE_ASYNC);
    assert_int_equal(record.placement_class, two);
    assert_true(buckets_find(f->kit.buckets, STR("two"), &record));
    assert_int_equal(record.mode, PLACE_SYNC); /* it was made before */
    assert_ok(put_one(f, "slow", 0, &d, &err), &err);
    restart(f);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_int_equal(engine_class(f->kit.engine, two).needed, 2);
}

/* What is refused, and changes nothing. */
static void test_refusals(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    new_class(f, "two", 2, 0);
    const ClassSettings four = {.has_copies = true, .copies = 4};
    const ClassSettings none = {.has_copies = true, .copies = 0};
    const ClassSettings high = {.has_copies = true, .copies = 2, .has_min_isr = true, .min_isr = 3};
    const ClassSettings low = {.has_copies = true, .copies = 2, .has_min_isr = true, .min_isr = 1};
    const ClassSettings empty = {.has_shards = true, .shards = 0};
    const ClassSettings many = {.has_shards = true, .shards = 4097};
    const ClassSettings much = {.has_shards = true, .shards = 4096};
    const ClassSettings both = {
        .has_mode = true, .mode = PLACE_ASYNC, .has_require = true, .require = PLACE_REQUIRE_ALL};
    const ClassSettings other = {.has_copies = true, .copies = 3};
    const ClassSettings usual = {.has_copies = false};
    assert_code(set_class(f, "x", four, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "x", none, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "x", high, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "x", low, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "x", empty, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "x", many, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "x", much, &err), ERR_QUOTA_EXCEEDED, &err);
    assert_code(set_class(f, "x", both, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "two", other, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "Two", usual, &err), ERR_INVALID, &err);
    assert_code(set_class(f, "standard", usual, &err), ERR_INVALID, &err);
    assert_code(make_bucket(f, "bad", "x", &err), ERR_INVALID, &err);
    assert_code(make_bucket(f, "bad", "system", &err), ERR_INVALID, &err);
    assert_code(make_bucket(f, "two", "standard", &err), ERR_INVALID, &err);
    assert_ok(make_bucket(f, "two", "two", &err), &err);
    assert_int_equal(classes_free_number(f->kit.engine->options.classes), 3);
    for (unsigned i = 3; i < CLASSES_MAX; i++) {
        char name[8];
        const ClassSettings small = {.has_shards = true, .shards = 1};
        snprintf(name, sizeof name, "c%u", i);
        assert_ok(set_class(f, name, small, &err), &err);
    }
    assert_code(set_class(f, "x", usual, &err), ERR_QUOTA_EXCEEDED, &err);
    assert_ok(make_bucket(f, "last", "c15", &err), &err);
    restart(f);
    put(f, "last", 3, 3);
}

/* Holdfast-Require is of the copies of the class. */
static void test_require(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    new_class(f, "two", 2, 0);
    for (unsigned copies = 1; copies <= 3; copies++) {
        Mutation m;
        mutation_init(&m, MUTATION_PUT);
        m.bucket = STR("two");
        m.key = STR("a");
        m.digest = sha256_of("", 0);
        m.require_synced = copies;
        ErrCode code = act(f, &m, &err);
        assert_int_equal(code, copies <= 2 ? OK : ERR_TOO_FEW_COPIES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_only_copy_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lead_of_two_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_of_two_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_root_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leads_are_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_made_while_one_is_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_waited_for_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_require, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
