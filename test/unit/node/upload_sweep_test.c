/* The sweep of uploads over a simulated disk, with an engine that answers when the test lets it. */
#include "testing.h"

#include <stdatomic.h>

#include "base/hash_run.h"
#include "look.h"
#include "node/upload_sweep.h"
#include "node_fixture.h"

static const NodeKitOptions options = {.seed = 11, .shards = 4};
static const _Atomic bool yes = true;

#define EVERY_MS 60000
#define LIFE_MS 1000
#define HELD_MAX 4

typedef struct {
    NodeFixture *node;
    Service *service;
    ServiceReader *reader;
    UploadSweep *sweep;
    Mutation *held[HELD_MAX]; /* handed in, not decided yet */
    size_t held_count;
    Rng rng;
} Fixture;

static ErrCode hold(void *ctx, Mutation *m)
{
    Fixture *f = ctx;
    assert_true(f->held_count < HELD_MAX);
    f->held[f->held_count++] = m;
    return OK;
}

/* The engine decides what was handed in. */
static void answer(Fixture *f)
{
    for (size_t i = 0; i < f->held_count; i++)
        engine_submit(f->node->kit.engine, f->held[i]);
    f->held_count = 0;
    node_kit_settle(&f->node->kit);
}

static int setup(void **state)
{
    Err err = {0};
    Fixture *f = mem_new(sizeof *f);
    f->node = node_fixture_new(&options);
    rng_init(&f->rng, 5);
    ServiceOptions service = {.stores = {f->node->kit.store},
                              .buckets = f->node->kit.buckets,
                              .submit = hold,
                              .submit_ctx = f,
                              .ready = &yes};
    f->service = service_new(&service);
    assert_ok(service_reader_open(f->service, &f->reader, &err), &err);
    f->sweep = upload_sweep_new(f->service, &f->node->kit.clock.clock, EVERY_MS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    upload_sweep_free(f->sweep);
    answer(f);
    service_reader_free(f->reader);
    service_free(f->service);
    node_fixture_free(f->node);
    mem_free(f);
    return 0;
}

static uint64_t now_ms(const Fixture *f)
{
    return f->node->kit.clock.wall_ms;
}

/* An empty upload's row: a new one, or in the place of that version of it. good: with a record. */
static FileId write_row(Fixture *f, FileId id, VersionId version, uint64_t expires_ms, bool good)
{
    Mutation m;
    Err err = {0};
    uint8_t saved[HASH_RUN_STATE_MAX];
    AUTO_BUF(attrs, ATTRS_MAX);
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    BucketUid bucket = look_bucket(f->node->kit.buckets, STR("files"));
    UploadRecord record = {.bucket = bucket,
                           .key = STR("u"),
                           .expires_ms = expires_ms,
                           .hash = str_of(saved, hash_run_save(run, saved))};
    bool fresh = id128_is_zero(id);
    mutation_init(&m, fresh ? MUTATION_CREATE : MUTATION_UPDATE);
    if (good) assert_ok(upload_attrs(&record, &attrs, &err), &err);
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    standard.shard_count = (uint16_t)options.shards;
    ShardId shard = place_shard_of(&standard, bucket, STR("u"));
    m.upload = true;
    m.file = fresh ? file_id_make(shard, 1, &f->rng) : id;
    m.version = version;
    m.attrs = buf_str(&attrs);
    m.digest = sha256_of("", 0);
    assert_code(node_kit_do(&f->node->kit, &m), OK, &m.err);
    FileId written = m.row.file;
    mutation_deinit(&m);
    return written;
}

static FileId create(Fixture *f)
{
    return write_row(f, (FileId){{0}}, (VersionId){0}, now_ms(f) + LIFE_MS, true);
}

static ErrCode find(Fixture *f, FileId id, UploadFound *found)
{
    Err err = {0};
    upload_found_init(found);
    return service_find_upload(f->reader, id, false, now_ms(f), found, &err);
}

static void expect_found(Fixture *f, FileId id, ErrCode code)
{
    UploadFound found;
    assert_code(find(f, id, &found), code, NULL);
    upload_found_deinit(&found);
}

static uint64_t work(Fixture *f, ErrCode code)
{
    Err err = {0};
    uint64_t rest_ms = 0;
    assert_code(upload_sweep_work(f->sweep, &rest_ms, &err), code, &err);
    return rest_ms;
}

/* A step that hands a change in. */
static void hand_in(Fixture *f)
{
    assert_true(work(f, OK) < EVERY_MS);
    assert_int_equal(f->held_count, 1);
}

/* A step never waits: the log may have no room until the thread that sweeps has compacted. */
static void test_waits_for_nobody(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    FileId other = create(f);
    assert_int_equal(work(f, OK), EVERY_MS); /* none is over */
    f->node->kit.clock.wall_ms += LIFE_MS;
    uint64_t rest_ms = work(f, OK);
    assert_int_equal(f->held_count, 1);
    for (int i = 0; i < 20; i++) { /* not answered: it comes again, later and later */
        uint64_t next_ms = work(f, OK);
        assert_true(next_ms >= rest_ms && next_ms < EVERY_MS);
        assert_int_equal(f->held_count, 1);
        rest_ms = next_ms;
    }
    assert_true(rest_ms >= 100);
    answer(f);
    assert_true(work(f, OK) < EVERY_MS); /* and on to the other */
    answer(f);
    assert_int_equal(work(f, OK), EVERY_MS);
    assert_int_equal(f->held_count, 0);
    expect_found(f, id, ERR_GONE);
    expect_found(f, other, ERR_GONE);
}

/* One that got bytes between the look and the decision has more time again. */
static void test_goes_on_meanwhile(void **state)
{
    Fixture *f = *state;
    UploadFound found;
    FileId id = create(f);
    assert_code(find(f, id, &found), OK, NULL);
    VersionId version = found.version;
    upload_found_deinit(&found);
    f->node->kit.clock.wall_ms += LIFE_MS;
    hand_in(f);
    write_row(f, id, version, now_ms(f) + LIFE_MS, true);
    answer(f);
    assert_int_equal(work(f, OK), EVERY_MS);
    expect_found(f, id, OK);
    f->node->kit.clock.wall_ms += LIFE_MS;
    hand_in(f);
    answer(f);
    assert_int_equal(work(f, OK), EVERY_MS);
    expect_found(f, id, ERR_GONE);
}

/* A row that nobody can decode is told and kept, and keeps nobody from those behind it. */
static void test_damaged_row(void **state)
{
    Fixture *f = *state;
    FileId bad = write_row(f, (FileId){{0}}, (VersionId){0}, 0, false);
    FileId ids[2];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = create(f);
    f->node->kit.clock.wall_ms += LIFE_MS;
    unsigned told = 0;
    for (int i = 0; i < 10; i++) {
        Err err = {0};
        uint64_t rest_ms = 0;
        ErrCode code = upload_sweep_work(f->sweep, &rest_ms, &err);
        assert_true(code == OK || code == ERR_CORRUPT);
        told += code != OK;
        answer(f);
        if (rest_ms == EVERY_MS) break;
    }
    assert_int_equal(told, 1);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        expect_found(f, ids[i], ERR_GONE);
    expect_found(f, bad, ERR_CORRUPT);
}

/* Freed before the engine has answered: nothing is left over, and the change is made. */
static void test_freed_before_the_answer(void **state)
{
    Fixture *f = *state;
    FileId id = create(f);
    f->node->kit.clock.wall_ms += LIFE_MS;
    hand_in(f);
    upload_sweep_free(TAKE(f->sweep));
    answer(f);
    expect_found(f, id, ERR_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits_for_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goes_on_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_before_the_answer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
