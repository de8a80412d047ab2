/* What was acknowledged before all copies had it is read back from each disk: whole, damaged,
 * replaced, late. */
#include "service/confirm.h"

#include <stdio.h>

#include "disk/sim.h"
#include "look.h"
#include "roots_kit.h"
#include "testing.h"

#define ROOTS 3
#define ALL 7u
#define BODY_LEN 3000

typedef struct {
    Disk *disks[ROOTS];
    ManualClock clock;
    RootsKit kit;
    Confirmer *confirmer;
    unsigned told; /* by the engine, … */
    unsigned none; /* … of which so many have no bytes */
    bool done;
    uint64_t read;
    bool stop;
} Fixture;

static void told(void *ctx, const Record *record)
{
    Fixture *f = ctx;
    Told *told = told_new(record);
    f->told++;
    if (told != NULL)
        confirmer_add(f->confirmer, told);
    else
        f->none++;
}

static bool pace(void *ctx, uint64_t bytes)
{
    Fixture *f = ctx;
    f->read += bytes;
    return !f->stop;
}

static void note_done(Mutation *m)
{
    Fixture *f = m->ctx;
    f->done = true;
}

static void submit(Fixture *f, Mutation *m)
{
    unsigned lead = engine_lead(f->kit.engine);
    m->done = note_done;
    m->ctx = f;
    f->done = false;
    engine_submit(f->kit.engine, m);
    engine_turn(f->kit.engine);
    roots_kit_append(&f->kit, lead, SIZE_MAX);
    roots_kit_sync(&f->kit, lead);
    roots_kit_settle(&f->kit);
    assert_true(f->done);
    assert_int_equal(m->code, OK);
    mutation_deinit(m);
}

static void put(Fixture *f, const char *key, unsigned seed, size_t len)
{
    Mutation m;
    uint8_t body[BODY_LEN];
    random_bytes(seed, body, sizeof body);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("fast");
    m.key = str_from_cstr(key);
    m.size = len;
    m.digest = sha256_of(body, len);
    m.inline_body = str_of(body, len);
    submit(f, &m);
}

static void apply(Fixture *f)
{
    Err err = {0};
    for (unsigned r = 0; r < ROOTS; r++)
        assert_ok(roots_kit_apply(&f->kit, r, &err), &err);
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Mutation m;
    clock_manual_init(&f->clock, 1700000000000);
    roots_kit_disks(f->disks, ROOTS);
    RootsKitOptions options = {
        .seed = 1, .shards = 1, .clock = &f->clock, .told = told, .mail_ctx = f};
    roots_kit_start(&f->kit, f->disks, ROOTS, &options, 8000);
    ConfirmOptions confirm = {
        .root_count = ROOTS, .clock = &f->clock.clock, .pace = pace, .ctx = f};
    for (unsigned r = 0; r < ROOTS; r++)
        confirm.stores[r] = f->kit.roots[r].store;
    f->confirmer = confirmer_new(&confirm);
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = STR("fast");
    m.settings = (BucketSettings){.has_mode = true, .mode = PLACE_ASYNC};
    submit(f, &m);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    confirmer_free(f->confirmer);
    roots_kit_end(&f->kit, f->disks, ROOTS);
    mem_free(f);
    return 0;
}

static ErrCode work_now(Fixture *f, unsigned in_sync, unsigned lead, Err *err)
{
    ConfirmClass classes[CLASSES_MAX] = {
        [PLACE_CLASS_STANDARD] = {.in_sync = in_sync, .lead = lead}};
    return confirmer_work(f->confirmer, classes, err);
}

/* A second later. */
static ConfirmStatus work(Fixture *f, unsigned in_sync)
{
    Err err = {0};
    ConfirmStatus status;
    roots_kit_wait(&f->kit, CONFIRM_AFTER_MS);
    unsigned lead = engine_lead(f->kit.engine);
    assert_ok(work_now(f, in_sync, lead, &err), &err);
    confirmer_status(f->confirmer, &status);
    return status;
}

static void assert_status(ConfirmStatus s, uint64_t confirmed, uint64_t unconfirmed,
                          uint64_t replaced, uint64_t waiting)
{
    assert_int_equal(s.confirmed, confirmed);
    assert_int_equal(s.unconfirmed, unconfirmed);
    assert_int_equal(s.replaced, replaced);
    assert_int_equal(s.waiting, waiting);
}

/* Not before it is in its place, on every root. */
static void test_whole(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    ConfirmStatus status;
    put(f, "a", 1, BODY_LEN);
    put(f, "empty", 1, 0);
    assert_int_equal(f->told, 2);
    assert_ok(work_now(f, ALL, 0, &err), &err);
    confirmer_status(f->confirmer, &status);
    assert_status(status, 0, 0, 0, 2); /* too early */
    assert_status(work(f, ALL), 1, 0, 0, 1);
    for (unsigned r = 0; r < ROOTS - 1; r++)
        assert_ok(roots_kit_apply(&f->kit, r, &err), &err);
    assert_status(work(f, ALL), 1, 0, 0, 1);
    assert_int_equal(f->read, 2 * BODY_LEN);
    assert_ok(roots_kit_apply(&f->kit, ROOTS - 1, &err), &err);
    assert_status(work(f, ALL), 2, 0, 0, 0);
    assert_int_equal(f->read, 3 * BODY_LEN); /* each once */
    for (unsigned r = 0; r < ROOTS; r++)
        assert_int_equal(risk_files(store_risk(f->kit.roots[r].store)), 0);
}

static void flip(Fixture *f, unsigned r, const char *key)
{
    char path[PACK_PATH_MAX];
    Err err = {0};
    StoreFound found = look_file(f->kit.roots[r].reader, f->kit.buckets, STR("fast"),
                                 str_from_cstr(key));
    assert_false(found.in_log);
    pack_path(found.row.place.pack, path);
    uint64_t byte = found.row.place.offset + found.row.place.length - 100;
    assert_ok(disk_sim_flip(f->disks[r], path, 8 * byte, &err), &err);
}

/* On one root: told, listed there, and no other; where that one is not in sync nobody asks it. */
static void test_damaged(void **state)
{
    Fixture *f = *state;
    put(f, "a", 1, BODY_LEN);
    roots_kit_wait(&f->kit, 1000);
    apply(f);
    flip(f, 1, "a");
    assert_status(work(f, ALL), 0, 1, 0, 0);
    for (unsigned r = 0; r < ROOTS; r++)
        assert_int_equal(risk_files(store_risk(f->kit.roots[r].store)), r == 1);
    put(f, "b", 2, BODY_LEN);
    roots_kit_wait(&f->kit, 1000);
    apply(f);
    flip(f, 1, "b");
    assert_status(work(f, ALL & ~2u), 1, 1, 0, 0);
}

/* A root that is in sync, they say, and has it not in its place. */
static void test_late(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    put(f, "a", 1, BODY_LEN);
    for (unsigned r = 0; r < ROOTS - 1; r++)
        assert_ok(roots_kit_apply(&f->kit, r, &err), &err);
    roots_kit_wait(&f->kit, CONFIRM_LATE_MS - 5000);
    assert_status(work(f, ALL), 0, 0, 0, 1);
    roots_kit_wait(&f->kit, 5000);
    assert_status(work(f, ALL), 0, 1, 0, 0);
}

/* Newer ones took its place: nothing is to be had of it. A DELETE has no bytes. */
static void test_replaced(void **state)
{
    Fixture *f = *state;
    Mutation m;
    put(f, "a", 1, BODY_LEN);
    put(f, "a", 2, BODY_LEN);
    roots_kit_wait(&f->kit, 1000);
    apply(f);
    assert_status(work(f, ALL), 1, 0, 1, 0);
    put(f, "a", 3, BODY_LEN);
    mutation_init(&m, MUTATION_DELETE);
    m.bucket = STR("fast");
    m.key = STR("a");
    submit(f, &m);
    assert_int_equal(f->told, 4);
    assert_int_equal(f->none, 1);
    assert_status(work(f, ALL), 1, 0, 2, 0);
}

/* One that is stopped in the middle goes on later; too many are passed over. */
static void test_stops_and_bounds(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    put(f, "a", 1, BODY_LEN);
    roots_kit_wait(&f->kit, CONFIRM_AFTER_MS);
    apply(f);
    f->stop = true;
    ErrCode code = work_now(f, ALL, engine_lead(f->kit.engine), &err);
    assert_code(code, ERR_SHUTTING_DOWN, &err);
    f->stop = false;
    assert_status(work(f, ALL), 1, 0, 0, 0);
    for (unsigned i = 0; i <= CONFIRM_MAX; i++)
        confirmer_add(f->confirmer, mem_new(sizeof(Told)));
    confirmer_passed_over(f->confirmer, 4);
    ConfirmStatus status;
    confirmer_status(f->confirmer, &status);
    assert_int_equal(status.passed_over, 5);
    assert_int_equal(status.waiting, CONFIRM_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stops_and_bounds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
