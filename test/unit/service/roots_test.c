/* Several roots in one process: what is acknowledged is on each that is in sync; one that fails is
 * left behind, and catches up from the others' logs when it is there again. */
#include <stdio.h>

#include "disk/sim.h"
#include "roots_kit.h"
#include "service/engine_priv.h"
#include "store/store_priv.h"
#include "testing.h"

#define ROOTS 3
#define WAIT_MS 8000

typedef struct {
    Disk *disks[ROOTS];
    ManualClock clock;
    RootsKit kit;
    uint64_t starts;
    unsigned puts;
    uint64_t still_ns; /* how long a disk has stood still */
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

static Str text(char out[32], const char *what, unsigned number)
{
    int len = snprintf(out, 32, "%s %u", what, number);
    assert_in_range(len, 1, 31);
    return str_of(out, (size_t)len);
}

/* Another disk in place of root's, empty. */
static void replace_disk(Fixture *f, unsigned root)
{
    Err err = {0};
    disk_free(f->disks[root]);
    assert_ok(disk_sim_new(100 + root, &f->disks[root], &err), &err);
}

static void note_done(Mutation *m)
{
    *(bool *)m->ctx = true;
}

static void put(Fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        char body[32];
        Err err = {0};
        unsigned number = f->puts++;
        assert_ok(roots_kit_put(&f->kit, text(key, "key", number), text(body, "body", number),
                                WAIT_MS, &err),
                  &err);
    }
}

/* Does root have committed all that was ever acknowledged? */
static void check(Fixture *f, unsigned root)
{
    AUTO_BUF(got, INLINE_MAX);
    for (unsigned i = 0; i < f->puts; i++) {
        char key[32];
        char body[32];
        Err err = {0};
        assert_ok(roots_kit_get(&f->kit, root, text(key, "key", i), &got, &err), &err);
        assert_true(str_eq(buf_str(&got), text(body, "body", i)));
    }
}

static void apply_all(Fixture *f)
{
    Err err = {0};
    for (unsigned r = 0; r < ROOTS; r++) {
        if (!f->kit.roots[r].dead) assert_ok(roots_kit_apply(&f->kit, r, &err), &err);
    }
}

static void restart(Fixture *f)
{
    roots_kit_kill(&f->kit, f->disks, ROOTS);
    open_kit(f);
}

static void all_have_it(void **state)
{
    Fixture *f = *state;
    put(f, 40);
    roots_kit_wait(&f->kit, 500); /* the others are told what is committed */
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
    apply_all(f);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
    restart(f);
    put(f, 10);
    roots_kit_wait(&f->kit, 500);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

static void one_fails_and_comes_back(Fixture *f, unsigned root)
{
    bool led = engine_lead(f->kit.engine) == root;
    Err err = {0};
    put(f, 10);
    roots_kit_disk_fails(f->disks[root], true);
    if (led) { /* nobody knows of the one under way; of the others it must not matter */
        assert_code(roots_kit_put(&f->kit, STR("unknown"), STR("x"), WAIT_MS, &err),
                    ERR_OUTCOME_UNKNOWN, &err);
    }
    put(f, 10); /* of a follower's failure nobody hears */
    assert_true(f->kit.roots[root].dead);
    check(f, engine_lead(f->kit.engine));
    assert_int_not_equal(engine_lead(f->kit.engine), root);
    roots_kit_disk_fails(f->disks[root], false);
    restart(f);
    put(f, 10);
    roots_kit_wait(&f->kit, 5000);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
    apply_all(f);
    restart(f);
    roots_kit_wait(&f->kit, 1000);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

static void a_follower_fails(void **state)
{
    Fixture *f = *state;
    one_fails_and_comes_back(f, (engine_lead(f->kit.engine) + 1) % ROOTS);
}

static void the_lead_fails(void **state)
{
    Fixture *f = *state;
    one_fails_and_comes_back(f, engine_lead(f->kit.engine));
}

/* One that is nearly there is required before it is added; when it does not come, what waited for
 * it alone goes on. Here it lacks entries that no log has any more. */
static void one_never_catches_up(void **state)
{
    Fixture *f = *state;
    put(f, 6);
    roots_kit_disk_fails(f->disks[1], true);
    put(f, 6);
    roots_kit_wait(&f->kit, 3000);
    apply_all(f);
    apply_all(f);
    roots_kit_disk_fails(f->disks[1], false);
    restart(f);
    for (unsigned i = 0; i < 20; i++) {
        put(f, 1); /* within WAIT_MS */
        roots_kit_wait(&f->kit, 250);
    }
    check(f, engine_lead(f->kit.engine));
}

/* Nothing is committed while the others' logs stand still, which nobody calls failed here: whoever
 * waits is told in the end, and what was told to be unknown may come. */
static void nobody_waits_for_ever(void **state)
{
    Fixture *f = *state;
    EngineHealth well[ENGINE_ROOTS_MAX] = {{0}};
    unsigned lead = engine_lead(f->kit.engine);
    bool done = false;
    Mutation m;
    put(f, 3);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = STR("late");
    m.inline_body = STR("x");
    m.size = 1;
    m.digest = sha256_of("x", 1);
    m.done = note_done;
    m.ctx = &done;
    engine_submit(f->kit.engine, &m);
    for (unsigned i = 0; i < 100 && !done; i++) {
        f->clock.boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        engine_tick(f->kit.engine, well);
        roots_kit_append(&f->kit, lead, SIZE_MAX);
        roots_kit_sync(&f->kit, lead);
        if (i < 70) assert_false(done); /* 17.5 s */
    }
    assert_true(done);
    assert_int_equal(m.code, ERR_OUTCOME_UNKNOWN);
    mutation_deinit(&m);
    roots_kit_settle(&f->kit);
    assert_true(roots_kit_ready(&f->kit, WAIT_MS));
    put(f, 3);
}

static void stop(Fixture *f)
{
    roots_kit_kill(&f->kit, f->disks, ROOTS);
}

/* A new disk in place of one becomes a member, and the lost one is none any more. */
static void replaced(Fixture *f, unsigned root)
{
    put(f, 20);
    roots_kit_wait(&f->kit, 500);
    stop(f);
    replace_disk(f, root);
    open_kit(f);
    put(f, 10);
    roots_kit_wait(&f->kit, 20000);
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
    assert_int_equal(engine_durability(f->kit.engine).copies, 3);
    assert_int_equal(engine_durability(f->kit.engine).synced, 3);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

static void a_disk_is_replaced(void **state)
{
    replaced(*state, 2);
    restart(*state);
}

/* One after the other all disks are new ones, and the store is the same. */
static void all_disks_are_replaced(void **state)
{
    for (unsigned r = 0; r < ROOTS; r++)
        replaced(*state, r);
}

/* With two of three gone nothing is acknowledged, and nothing that was is lost. */
static void two_fail(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    put(f, 10);
    roots_kit_disk_fails(f->disks[1], true);
    roots_kit_disk_fails(f->disks[2], true);
    ErrCode code = roots_kit_put(&f->kit, STR("unknown"), STR("x"), WAIT_MS, &err);
    assert_true(code == ERR_OUTCOME_UNKNOWN || code == ERR_ROOT_FAILED);
    check(f, engine_lead(f->kit.engine));
    roots_kit_disk_fails(f->disks[1], false);
    roots_kit_disk_fails(f->disks[2], false);
    restart(f);
    put(f, 10);
    roots_kit_wait(&f->kit, 5000);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

/* A directory is lost, and a new one stands in its place: another root, which is given everything
 * and replaces the other as a member. Then the next one. */
static void new_roots(void **state)
{
    Fixture *f = *state;
    put(f, 40);
    apply_all(f);
    for (unsigned r = 0; r < ROOTS; r++) {
        roots_kit_kill(&f->kit, f->disks, ROOTS);
        replace_disk(f, r);
        open_kit(f);
        put(f, 5);
        roots_kit_wait(&f->kit, 20000);
        apply_all(f);
        assert_int_equal(engine_in_sync(f->kit.engine), 7);
        for (unsigned i = 0; i < ROOTS; i++)
            check(f, i);
    }
    restart(f);
    put(f, 5);
    roots_kit_wait(&f->kit, 2000);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

/* What was cut is void by the logs' own word: they are given up as far as the index is. */
static void expect_no_log_held(Fixture *f)
{
    for (unsigned r = 0; r < ROOTS; r++) {
        for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
            const StoreShard *shard = f->kit.roots[r].store->shards[i];
            if (shard != NULL) assert_int_equal(shard->void_segment, 0);
        }
    }
}

/* One that was away while the others gave up their logs: the same, but it stays who it is. */
static void one_is_behind_the_logs(void **state)
{
    Fixture *f = *state;
    unsigned away = (engine_lead(f->kit.engine) + 1) % ROOTS;
    put(f, 10);
    apply_all(f);
    roots_kit_disk_fails(f->disks[away], true);
    put(f, 300);
    apply_all(f);
    roots_kit_disk_fails(f->disks[away], false);
    restart(f);
    put(f, 300);
    apply_all(f);
    roots_kit_wait(&f->kit, 10000);
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
    expect_no_log_held(f);
}

static ErrCode delete_one(Fixture *f, Str key)
{
    bool done = false;
    Mutation m;
    mutation_init(&m, MUTATION_DELETE);
    m.bucket = STR("files");
    m.key = key;
    m.done = note_done;
    m.ctx = &done;
    engine_submit(f->kit.engine, &m);
    roots_kit_settle(&f->kit);
    for (unsigned i = 0; i < 40 && !done; i++)
        roots_kit_wait(&f->kit, ENGINE_TICK_MS);
    assert_true(done);
    ErrCode code = m.code;
    mutation_deinit(&m);
    return code;
}

static void expect_gone(Fixture *f, unsigned root, const char *what, unsigned count)
{
    AUTO_BUF(got, INLINE_MAX);
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        assert_code(roots_kit_get(&f->kit, root, text(key, what, i), &got, NULL), ERR_NOT_FOUND,
                    NULL);
    }
}

static void lose_index(Fixture *f, unsigned root)
{
    Err err = {0};
    assert_ok(disk_unlink(f->disks[root], "index.db", &err), &err);
    assert_ok(disk_unlink(f->disks[root], "index.db-wal", &err), &err);
    assert_ok(disk_sync_dir(f->disks[root], "", &err), &err);
}

/* A root whose packs hold files that a snapshot took away loses its index: made again of the packs
 * it has them, so it is no lead, counts for nothing, and is given the others' rows. Cut off after
 * any time, that goes on at the next start. */
static void an_index_is_lost(Fixture *f, unsigned away)
{
    bool led = engine_lead(f->kit.engine) == away;
    char key[32];
    Err err = {0};
    for (unsigned i = 0; i < 10; i++)
        assert_ok(roots_kit_put(&f->kit, text(key, "gone", i), STR("x"), WAIT_MS, &err), &err);
    put(f, 10);
    roots_kit_wait(&f->kit, 500);
    apply_all(f);
    roots_kit_disk_fails(f->disks[away], true);
    if (led)
        assert_code(roots_kit_put(&f->kit, STR("unknown"), STR("x"), WAIT_MS, &err),
                    ERR_OUTCOME_UNKNOWN, &err);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(delete_one(f, text(key, "gone", i)), OK);
    put(f, 300);
    apply_all(f);
    roots_kit_disk_fails(f->disks[away], false);
    restart(f);
    put(f, 300);
    apply_all(f);
    roots_kit_wait(&f->kit, 10000);
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
    apply_all(f);
    expect_gone(f, away, "gone", 10);
    for (unsigned cut = 0; cut < 4; cut++) {
        stop(f);
        if (cut == 0) lose_index(f, away);
        open_kit(f);
        assert_int_not_equal(engine_lead(f->kit.engine), away);
        expect_gone(f, engine_lead(f->kit.engine), "gone", 10);
        if (cut == 0) assert_true(store_is_remade(f->kit.roots[away].store));
        roots_kit_wait(&f->kit, cut * 250);
    }
    put(f, 10);
    roots_kit_wait(&f->kit, 10000);
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
    apply_all(f);
    assert_false(store_is_remade(f->kit.roots[away].store));
    for (unsigned r = 0; r < ROOTS; r++) {
        check(f, r);
        expect_gone(f, r, "gone", 10);
    }
    restart(f);
    assert_false(store_is_remade(f->kit.roots[away].store));
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
}

static void a_followers_index_is_lost(void **state)
{
    Fixture *f = *state;
    an_index_is_lost(f, (engine_lead(f->kit.engine) + 1) % ROOTS);
}

static void the_leads_index_is_lost(void **state)
{
    Fixture *f = *state;
    an_index_is_lost(f, engine_lead(f->kit.engine));
}

/* Where all lost theirs there is nobody to ask. */
static void all_indexes_are_lost(void **state)
{
    Fixture *f = *state;
    put(f, 30);
    roots_kit_wait(&f->kit, 500);
    apply_all(f);
    stop(f);
    for (unsigned r = 0; r < ROOTS; r++)
        lose_index(f, r);
    open_kit(f);
    put(f, 3);
    roots_kit_wait(&f->kit, 3000);
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

/* A log whose sync takes longer than a tick: whoever stands is left alone until its vote is there.
 */
static void slow_logs(void **state)
{
    Fixture *f = *state;
    EngineHealth well[ENGINE_ROOTS_MAX] = {{0}};
    unsigned lead = engine_lead(f->kit.engine);
    put(f, 5);
    engine_root_failed(f->kit.engine, lead);
    for (unsigned i = 0; i < 60 && !engine_may_read(f->kit.engine); i++) {
        f->clock.boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        engine_tick(f->kit.engine, well);
        for (unsigned r = 0; r < ROOTS; r++) {
            if (i % 3 == 0) roots_kit_append(&f->kit, r, SIZE_MAX);
            if (i % 3 == 2) roots_kit_sync(&f->kit, r);
        }
        roots_kit_control_run(&f->kit);
        roots_kit_control_tell(&f->kit, true);
    }
    assert_int_not_equal(engine_lead(f->kit.engine), lead);
    assert_true(engine_may_read(f->kit.engine));
    check(f, engine_lead(f->kit.engine));
}

/* Nothing of a while is told to a root that is left out: taken back it goes on from there, whatever
 * its log and the control store had to say, and has what the others have. */
static void a_root_is_added(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (unsigned turn = 0; turn < 9; turn++) {
        unsigned away = (engine_lead(f->kit.engine) + turn % ROOTS) % ROOTS;
        assert_ok(engine_add(f->kit.engine, away, &err), &err); /* it is in */
        put(f, 3);
        assert_ok(engine_evict(f->kit.engine, away, &err), &err);
        while (engine_is_moving(f->kit.engine))
            roots_kit_wait(&f->kit, ENGINE_TICK_MS);
        assert_true(engine_root_is_evicted(f->kit.engine, away));
        if (turn % 3 > 0) put(f, turn < 6 ? 3 : 40);
        if (turn % 3 > 1) roots_kit_wait(&f->kit, 3000);
        assert_ok(engine_add(f->kit.engine, away, &err), &err);
        assert_false(engine_root_is_out(f->kit.engine, away));
        put(f, 3);
        roots_kit_wait(&f->kit, 6000);
        assert_int_equal(engine_in_sync(f->kit.engine), 7);
        apply_all(f);
        for (unsigned r = 0; r < ROOTS; r++)
            check(f, r);
    }
    unsigned failed = (engine_lead(f->kit.engine) + 1) % ROOTS;
    assert_ok(engine_evict(f->kit.engine, failed, &err), &err);
    engine_root_failed(f->kit.engine, failed);
    assert_code(engine_add(f->kit.engine, failed, &err), ERR_PRECONDITION, &err);
    assert_true(engine_root_is_out(f->kit.engine, failed));
}

/* Ticks in which root `still` does nothing, and says so; the control store answers, or not. */
static void stand_still(Fixture *f, unsigned still, unsigned ticks, bool answers)
{
    EngineHealth health[ENGINE_ROOTS_MAX] = {{0}};
    for (unsigned i = 0; i < ticks; i++) {
        f->clock.boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        f->still_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        health[still].sync_age_ns = f->still_ns;
        engine_tick(f->kit.engine, health);
        for (unsigned r = 0; r < ROOTS; r++) {
            if (r == still) continue;
            roots_kit_append(&f->kit, r, SIZE_MAX);
            roots_kit_sync(&f->kit, r);
            roots_kit_fetch(&f->kit, r);
        }
        if (answers) roots_kit_control_run(&f->kit);
        if (answers) roots_kit_control_tell(&f->kit, true);
    }
}

static bool all_done(const bool *done, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!done[i]) return false;
    }
    return true;
}

static void submit(Fixture *f, Mutation *m, bool *done)
{
    mutation_init(m, MUTATION_PUT);
    m->bucket = STR("files");
    m->key = STR("still");
    m->size = 1;
    m->digest = sha256_of("x", 1);
    m->inline_body = STR("x");
    m->done = note_done;
    m->ctx = done;
    engine_submit(f->kit.engine, m);
}

/* A disk stands still, be it the lead's or another's: what is put then is kept within 5 s by the
 * others; when it goes on, that root has all. Without the control store nobody is left, and nobody
 * is told what is not so. */
static void a_disk_stands_still(void **state)
{
    Fixture *f = *state;
    for (unsigned i = 0; i < 2; i++) {
        unsigned still = (engine_lead(f->kit.engine) + i) % ROOTS;
        bool done = false;
        Mutation m;
        put(f, 3);
        f->still_ns = 0;
        if (i == 0) stand_still(f, still, 6, true); /* the lead is left */
        submit(f, &m, &done);
        stand_still(f, still, 6, false);
        assert_true(i == 0 || !done);
        stand_still(f, still, 14, true);
        assert_true(done);
        assert_int_equal(m.code, OK);
        mutation_deinit(&m);
        assert_int_not_equal(engine_lead(f->kit.engine), still);
        assert_int_equal(engine_in_sync(f->kit.engine) >> still & 1, 0);
        roots_kit_wait(&f->kit, 8000);
        assert_int_equal(engine_in_sync(f->kit.engine), (1u << ROOTS) - 1);
        check(f, still);
    }
}

/* Ticks in which the log of root `slow` takes long, though it goes on. */
static void be_slow(Fixture *f, unsigned slow, unsigned ticks)
{
    EngineHealth health[ENGINE_ROOTS_MAX] = {{0}};
    for (unsigned r = 0; r < ROOTS; r++)
        health[r].sync_p99_ns = r == slow ? UINT64_C(900000000) : 1000000;
    for (unsigned i = 0; i < ticks; i++) {
        f->clock.boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        engine_tick(f->kit.engine, health);
        roots_kit_settle(&f->kit);
    }
}

/* The lead goes to a root that is dropped in the same moment: those in sync take it back, though
 * the root stays slow for as long as it likes. */
static void the_lead_goes_to_one_that_is_dropped(void **state)
{
    Fixture *f = *state;
    unsigned slow = (engine_lead(f->kit.engine) + 1) % ROOTS;
    put(f, 3);
    be_slow(f, slow, 60);
    assert_int_equal(engine_in_sync(f->kit.engine) >> slow & 1, 0);
    engine_move_lead(f->kit.engine, f->kit.engine->base, slow, "asked");
    be_slow(f, slow, 40);
    assert_int_not_equal(engine_lead(f->kit.engine), slow);
    assert_true(engine_may_read(f->kit.engine));
    check(f, engine_lead(f->kit.engine));
}

/* Ticks in which root `full` has no room, and those of `roomy` have plenty. */
static void be_full(Fixture *f, unsigned full, unsigned roomy, unsigned ticks)
{
    EngineHealth health[ENGINE_ROOTS_MAX] = {{0}};
    for (unsigned r = 0; r < ROOTS; r++) {
        health[r].full = r == full;
        health[r].roomy = (roomy >> r & 1) != 0;
    }
    for (unsigned i = 0; i < ticks; i++) {
        f->clock.boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        engine_tick(f->kit.engine, health);
        roots_kit_settle(&f->kit);
    }
}

/* A lead without room hands the lead over, once it has been so for a second, to one that has
 * plenty; where none has it stays. It does not come back for having room again. */
static void a_full_lead_hands_over(void **state)
{
    Fixture *f = *state;
    unsigned lead = engine_lead(f->kit.engine);
    unsigned next = (lead + 2) % ROOTS;
    put(f, 3);
    be_full(f, lead, 0, 20);
    assert_int_equal(engine_lead(f->kit.engine), lead);
    be_full(f, ROOTS, 7, 1);
    be_full(f, lead, 1u << next, 3);
    assert_int_equal(engine_lead(f->kit.engine), lead);
    be_full(f, lead, 1u << next, 5);
    assert_int_equal(engine_lead(f->kit.engine), next);
    put(f, 3);
    be_full(f, ROOTS, 7, 60);
    assert_int_equal(engine_lead(f->kit.engine), next);
    assert_int_equal(engine_in_sync(f->kit.engine), (1u << ROOTS) - 1);
    for (unsigned r = 0; r < ROOTS; r++)
        check(f, r);
}

/* At a stop nobody waits for it. */
static void idle_but_for_one_that_stands_still(void **state)
{
    Fixture *f = *state;
    bool done = false;
    unsigned still = (engine_lead(f->kit.engine) + 1) % ROOTS;
    Mutation m;
    submit(f, &m, &done);
    stand_still(f, still, 3, true);
    assert_false(engine_idle(f->kit.engine));
    stand_still(f, still, 12, true);
    assert_true(done);
    assert_true(engine_idle(f->kit.engine));
    mutation_deinit(&m);
}

/* However much others write, it is given only so much; and it catches up. */
static void little_is_given_to_one_that_stands_still(void **state)
{
    Fixture *f = *state;
    unsigned still = (engine_lead(f->kit.engine) + 1) % ROOTS;
    size_t most = 0;
    stand_still(f, still, 1, true);
    for (unsigned i = 0; i < 400; i++) {
        bool done[128] = {false};
        Mutation m[128];
        for (unsigned k = 0; k < 128; k++)
            submit(f, &m[k], &done[k]);
        for (unsigned t = 0; t < 40 && !all_done(done, 128); t++)
            stand_still(f, still, 1, true);
        assert_true(all_done(done, 128));
        for (unsigned k = 0; k < 128; k++)
            mutation_deinit(&m[k]);
        size_t waiting = 0;
        for (const LogItem *item = f->kit.roots[still].log_first; item != NULL; item = item->next)
            waiting++;
        most = MAX(most, waiting);
        for (unsigned r = 0; r < ROOTS; r++) {
            if (r != still) assert_ok(roots_kit_apply(&f->kit, r, NULL), NULL);
        }
    }
    assert_true(most > 1000);
    assert_true(most <= ENGINE_LOG_MAX / 8 * 5 + 256);
    roots_kit_wait(&f->kit, 20000);
    assert_int_equal(engine_in_sync(f->kit.engine), (1u << ROOTS) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_disk_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lead_goes_to_one_that_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_lead_hands_over, setup, teardown),
        cmocka_unit_test_setup_teardown(idle_but_for_one_that_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(little_is_given_to_one_that_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(all_have_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_follower_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lead_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(two_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(one_never_catches_up, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_waits_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(all_disks_are_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_root_is_added, setup, teardown),
        cmocka_unit_test_setup_teardown(new_roots, setup, teardown),
        cmocka_unit_test_setup_teardown(one_is_behind_the_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_followers_index_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(the_leads_index_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(all_indexes_are_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
