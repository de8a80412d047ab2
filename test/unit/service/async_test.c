/* When a change is answered: of a bucket whose writes are asynchronous, when the lead has it
 * synced, as far as the lag allows; of one that requires all, when every copy has it. */
#include <stdio.h>

#include "roots_kit.h"
#include "testing.h"

#define ROOTS 3
#define WAIT_MS 8000
#define LATE_MS 25000
#define CALLS 8

typedef struct {
    bool done;
    char key[32];
    Mutation m;
} Call;

typedef struct {
    Disk *disks[ROOTS];
    ManualClock clock;
    RootsKit kit;
    uint64_t starts;
    EngineLag lag;
    unsigned deaf; /* nothing comes from or goes to this root; ROOTS: none */
    Call calls[CALLS];
    unsigned used;
} Fixture;

static MailFate fate_of(void *ctx, const Message *message)
{
    const Fixture *f = ctx;
    if (f->deaf == ROOTS) return (MailFate){.copies = 1};
    Uuid uuid = f->kit.roots[f->deaf].info.uuid;
    bool lost = id128_eq(uuid, message->from) || id128_eq(uuid, message->to);
    return (MailFate){.copies = lost ? 0 : 1};
}

static void open_kit(Fixture *f)
{
    RootsKitOptions options = {.seed = ++f->starts,
                               .shards = 1,
                               .clock = &f->clock,
                               .mail = fate_of,
                               .mail_ctx = f,
                               .async_lag = f->lag};
    f->deaf = ROOTS;
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

/* What is under way is nobody's any more. */
static void forget_calls(Fixture *f)
{
    for (unsigned i = 0; i < f->used; i++)
        mutation_deinit(&f->calls[i].m);
    f->used = 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    roots_kit_end(&f->kit, f->disks, ROOTS);
    forget_calls(f);
    mem_free(f);
    return 0;
}

static void restart(Fixture *f)
{
    roots_kit_kill(&f->kit, f->disks, ROOTS);
    forget_calls(f);
    open_kit(f);
}

static void note_done(Mutation *m)
{
    Call *call = m->ctx;
    call->done = true;
}

static Call *call_new(Fixture *f, MutationType type, Str bucket)
{
    assert_true(f->used < CALLS);
    Call *call = &f->calls[f->used++];
    *call = (Call){.done = false};
    mutation_init(&call->m, type);
    call->m.bucket = bucket;
    call->m.done = note_done;
    call->m.ctx = call;
    return call;
}

static Call *submit(Fixture *f, Call *call)
{
    engine_submit(f->kit.engine, &call->m);
    engine_turn(f->kit.engine);
    return call;
}

/* PUT of key, whose body is its name. */
static Call *put_new(Fixture *f, Str bucket, const char *key)
{
    Call *call = call_new(f, MUTATION_PUT, bucket);
    snprintf(call->key, sizeof call->key, "%s", key);
    Str body = str_from_cstr(call->key);
    call->m.key = body;
    call->m.size = body.len;
    call->m.digest = sha256_of(body.ptr, body.len);
    call->m.inline_body = body;
    return call;
}

static Call *put(Fixture *f, Str bucket, const char *key)
{
    return submit(f, put_new(f, bucket, key));
}

/* A bucket with these settings, or other settings for it. */
static ErrCode set(Fixture *f, Str name, PlaceMode mode, PlaceRequire require)
{
    Call *call = call_new(f, MUTATION_BUCKET_CREATE, name);
    call->m.settings = (BucketSettings){
        .has_mode = mode != 0, .has_require = require != 0, .mode = mode, .require = require};
    submit(f, call);
    roots_kit_settle(&f->kit);
    assert_true(call->done);
    ErrCode code = call->m.code;
    mutation_deinit(&call->m);
    f->used--;
    return code;
}

/* The lead's log is synced; no other's. */
static void sync_lead(Fixture *f)
{
    unsigned lead = engine_lead(f->kit.engine);
    roots_kit_append(&f->kit, lead, SIZE_MAX);
    roots_kit_sync(&f->kit, lead);
}

static bool has(Fixture *f, unsigned root, Str bucket, const char *key)
{
    Err err = {0};
    AUTO_BUF(body, INLINE_MAX);
    ErrCode code = roots_kit_get_of(&f->kit, root, bucket, str_from_cstr(key), &body, &err);
    if (code == OK) assert_true(str_eq(buf_str(&body), str_from_cstr(key)));
    assert_true(code == OK || code == ERR_NOT_FOUND);
    return code == OK;
}

static void assert_durability(const Call *call, unsigned synced)
{
    assert_true(call->done);
    assert_int_equal(call->m.code, OK);
    assert_int_equal(call->m.durability.synced, synced);
    assert_int_equal(call->m.durability.copies, ROOTS);
}

static unsigned follower(const Fixture *f)
{
    return (engine_lead(f->kit.engine) + 1) % ROOTS;
}

static void test_lead_answers_alone(void **state)
{
    Fixture *f = *state;
    unsigned lead = engine_lead(f->kit.engine);
    assert_int_equal(set(f, STR("fast"), PLACE_ASYNC, 0), OK);
    Call *fast = put(f, STR("fast"), "a");
    Call *slow = put(f, STR("files"), "b");
    assert_false(fast->done);
    assert_false(has(f, lead, STR("fast"), "a"));
    sync_lead(f);
    assert_durability(fast, 1);
    assert_int_equal(fast->m.durability.disks, 1);
    assert_true(has(f, lead, STR("fast"), "a"));
    assert_false(slow->done);
    assert_false(has(f, lead, STR("files"), "b"));
    EngineAsync lag = engine_async(f->kit.engine);
    assert_int_equal(lag.entries, 1);
    assert_int_equal(lag.told, 1);
    assert_true(lag.bytes > 0);
    f->clock.boot_ns += 3000000;
    assert_int_equal(engine_async(f->kit.engine).age_ns, 3000000);
    assert_false(has(f, follower(f), STR("fast"), "a"));
    roots_kit_settle(&f->kit);
    assert_durability(slow, ROOTS);
    lag = engine_async(f->kit.engine);
    assert_true(lag.entries == 0 && lag.bytes == 0 && lag.age_ns == 0 && lag.told == 1);
    roots_kit_wait(&f->kit, 2 * ENGINE_TICK_MS);
    for (unsigned r = 0; r < ROOTS; r++)
        assert_true(has(f, r, STR("fast"), "a"));
}

/* A read sees the newest that was answered; what rests on that is refused as soon. */
static void test_reads_and_conditions(void **state)
{
    Fixture *f = *state;
    unsigned lead = engine_lead(f->kit.engine);
    assert_int_equal(set(f, STR("fast"), PLACE_ASYNC, 0), OK);
    put(f, STR("fast"), "a");
    sync_lead(f);
    Call *again = put_new(f, STR("fast"), "a");
    again->m.if_none_match = STR("*");
    submit(f, again);
    sync_lead(f); /* nothing is to be synced: a turn */
    engine_turn(f->kit.engine);
    assert_true(again->done);
    assert_int_equal(again->m.code, ERR_PRECONDITION);
    Call *gone = call_new(f, MUTATION_DELETE, STR("fast"));
    gone->m.key = STR("a");
    submit(f, gone);
    assert_true(has(f, lead, STR("fast"), "a"));
    sync_lead(f);
    assert_durability(gone, 1);
    assert_false(has(f, lead, STR("fast"), "a"));
    Call *missing = call_new(f, MUTATION_DELETE, STR("fast"));
    missing->m.key = STR("a");
    submit(f, missing);
    engine_turn(f->kit.engine);
    assert_true(missing->done);
    assert_int_equal(missing->m.code, ERR_NOT_FOUND);
    roots_kit_settle(&f->kit);
    assert_false(has(f, lead, STR("fast"), "a"));
}

/* A repeat is answered as the first was. */
static void test_repeat(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("fast"), PLACE_ASYNC, 0), OK);
    for (unsigned i = 0; i < 2; i++) {
        Call *call = put_new(f, STR("fast"), "a");
        call->m.has_request = true;
        call->m.request.bytes[0] = 7;
        submit(f, call);
        sync_lead(f);
        engine_turn(f->kit.engine);
        assert_durability(call, 1);
        assert_true(call->m.repeated == (i == 1));
    }
    assert_int_equal(engine_async(f->kit.engine).told, 1);
    roots_kit_settle(&f->kit);
}

/* Three changes; the lag allows two. */
static void check_bound(Fixture *f, EngineLag lag, char first)
{
    f->lag = lag;
    restart(f);
    assert_true(roots_kit_ready(&f->kit, WAIT_MS));
    Call *calls[3];
    for (unsigned i = 0; i < 3; i++) {
        char key[2] = {(char)(first + (int)i), 0};
        calls[i] = put(f, STR("fast"), key);
    }
    sync_lead(f);
    assert_true(calls[0]->done && calls[1]->done && !calls[2]->done);
    assert_false(has(f, engine_lead(f->kit.engine), STR("fast"), calls[2]->key));
    assert_int_equal(engine_async(f->kit.engine).entries, 2);
    roots_kit_settle(&f->kit);
    assert_durability(calls[2], ROOTS);
}

static void test_lag_is_bounded(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("fast"), PLACE_ASYNC, 0), OK);
    Call *probe = put(f, STR("fast"), "x");
    sync_lead(f);
    uint64_t bytes = engine_async(f->kit.engine).bytes;
    assert_durability(probe, 1);
    roots_kit_settle(&f->kit);
    check_bound(f, (EngineLag){.entries = 2, .bytes = MIB, .ns = UINT64_MAX}, 'a');
    check_bound(f, (EngineLag){.entries = 100, .bytes = 2 * bytes + bytes / 2, .ns = UINT64_MAX},
                'k');
    f->lag = (EngineLag){.entries = 100, .bytes = MIB, .ns = 1000000};
    restart(f);
    Call *first = put(f, STR("fast"), "a");
    sync_lead(f);
    assert_durability(first, 1);
    f->clock.boot_ns += 1000001;
    Call *second = put(f, STR("fast"), "b");
    sync_lead(f);
    assert_false(second->done);
    roots_kit_settle(&f->kit);
    assert_durability(second, ROOTS);
}

/* What only the lead has is lost with it, and with it alone; the others go on. */
static void test_lost_with_the_lead(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("fast"), PLACE_ASYNC, 0), OK);
    put(f, STR("fast"), "kept");
    roots_kit_settle(&f->kit);
    roots_kit_wait(&f->kit, 2 * ENGINE_TICK_MS);
    unsigned lead = engine_lead(f->kit.engine);
    f->deaf = lead;
    Call *call = put(f, STR("fast"), "gone");
    sync_lead(f);
    assert_durability(call, 1);
    assert_true(has(f, lead, STR("fast"), "gone"));
    roots_kit_disk_fails(f->disks[lead], true);
    Call *unknown = put(f, STR("fast"), "unknown");
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_true(unknown->done);
    assert_int_equal(unknown->m.code, ERR_OUTCOME_UNKNOWN);
    assert_int_not_equal(engine_lead(f->kit.engine), lead);
    assert_int_equal(engine_async(f->kit.engine).entries, 0);
    assert_false(has(f, engine_lead(f->kit.engine), STR("fast"), "gone"));
    assert_true(has(f, engine_lead(f->kit.engine), STR("fast"), "kept"));
    put(f, STR("fast"), "later");
    roots_kit_settle(&f->kit);
    roots_kit_disk_fails(f->disks[lead], false);
    restart(f);
    roots_kit_wait(&f->kit, WAIT_MS);
    for (unsigned r = 0; r < ROOTS; r++) {
        assert_false(has(f, r, STR("fast"), "gone"));
        assert_true(has(f, r, STR("fast"), "kept") && has(f, r, STR("fast"), "later"));
    }
}

/* A lead that only stalls, and was cut off, has the longest log: nothing that it told is lost. */
static void test_kept_when_the_lead_moves(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("fast"), PLACE_ASYNC, 0), OK);
    unsigned lead = engine_lead(f->kit.engine);
    EngineHealth health[ENGINE_ROOTS_MAX] = {{0}};
    f->deaf = lead;
    Call *call = put(f, STR("fast"), "a");
    sync_lead(f);
    assert_durability(call, 1);
    health[lead].sync_age_ns = UINT64_C(1500000000); /* another takes the lead */
    engine_tick(f->kit.engine, health);
    assert_int_not_equal(engine_lead(f->kit.engine), lead);
    assert_int_equal(engine_async(f->kit.engine).entries, 0);
    f->deaf = ROOTS;
    roots_kit_wait(&f->kit, WAIT_MS);
    for (unsigned r = 0; r < ROOTS; r++)
        assert_true(has(f, r, STR("fast"), "a"));
    assert_int_equal(engine_in_sync(f->kit.engine), 7);
}

static void test_all_or_none(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("whole"), 0, PLACE_REQUIRE_ALL), OK);
    Call *call = put(f, STR("whole"), "a");
    roots_kit_settle(&f->kit);
    assert_durability(call, ROOTS);
    engine_root_failed(f->kit.engine, follower(f));
    roots_kit_wait(&f->kit, WAIT_MS);
    call = put(f, STR("whole"), "b");
    assert_true(call->done);
    assert_int_equal(call->m.code, ERR_TOO_FEW_COPIES);
    assert_false(has(f, engine_lead(f->kit.engine), STR("whole"), "b"));
    Call *by_id = call_new(f, MUTATION_DELETE_FILE, (Str){NULL, 0});
    by_id->m.file = f->calls[0].m.row.file;
    submit(f, by_id);
    assert_true(by_id->done);
    assert_int_equal(by_id->m.code, ERR_TOO_FEW_COPIES);
    assert_true(has(f, engine_lead(f->kit.engine), STR("whole"), "a"));
    call = put(f, STR("files"), "c");
    roots_kit_settle(&f->kit);
    assert_durability(call, ROOTS - 1);
}

/* One copy is dropped when the change is in the log: it is answered when that copy has it, or told
 * to be unknown. */
static void check_dropped(Fixture *f, bool comes_back)
{
    unsigned deaf = follower(f);
    f->deaf = deaf;
    Call *call = put(f, STR("whole"), comes_back ? "x" : "y");
    roots_kit_settle(&f->kit);
    assert_false(call->done);
    roots_kit_wait(&f->kit, WAIT_MS);
    assert_int_equal(engine_in_sync(f->kit.engine), 7U & ~(1U << deaf));
    assert_true(has(f, engine_lead(f->kit.engine), STR("whole"), comes_back ? "x" : "y"));
    assert_false(call->done);
    if (comes_back) f->deaf = ROOTS;
    roots_kit_wait(&f->kit, LATE_MS);
    assert_true(call->done);
    assert_int_equal(call->m.code, comes_back ? OK : ERR_OUTCOME_UNKNOWN);
    if (comes_back) assert_durability(call, ROOTS);
}

static void test_all_waits(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("whole"), 0, PLACE_REQUIRE_ALL), OK);
    check_dropped(f, true);
    check_dropped(f, false);
}

static void check_record(const Fixture *f, Str name, PlaceMode mode, PlaceRequire require)
{
    BucketRecord record;
    assert_true(buckets_find(f->kit.buckets, name, &record));
    assert_int_equal(record.mode, mode);
    assert_int_equal(record.require, require);
}

static void test_settings(void **state)
{
    Fixture *f = *state;
    assert_int_equal(set(f, STR("plain"), 0, 0), OK);
    check_record(f, STR("plain"), PLACE_SYNC, PLACE_REQUIRE_IN_SYNC);
    assert_int_equal(set(f, STR("both"), PLACE_ASYNC, PLACE_REQUIRE_ALL), ERR_INVALID);
    assert_false(buckets_find(f->kit.buckets, STR("both"), &(BucketRecord){0}));
    assert_int_equal(set(f, STR("plain"), PLACE_ASYNC, 0), OK);
    assert_int_equal(set(f, STR("plain"), 0, PLACE_REQUIRE_ALL), ERR_INVALID);
    check_record(f, STR("plain"), PLACE_ASYNC, PLACE_REQUIRE_IN_SYNC);
    assert_int_equal(set(f, STR("whole"), 0, PLACE_REQUIRE_ALL), OK);
    assert_int_equal(set(f, STR("whole"), PLACE_ASYNC, 0), ERR_INVALID);
    restart(f);
    check_record(f, STR("plain"), PLACE_ASYNC, PLACE_REQUIRE_IN_SYNC);
    check_record(f, STR("whole"), PLACE_SYNC, PLACE_REQUIRE_ALL);
    assert_int_equal(set(f, STR("plain"), PLACE_SYNC, PLACE_REQUIRE_ALL), OK);
    check_record(f, STR("plain"), PLACE_SYNC, PLACE_REQUIRE_ALL);
    assert_int_equal(set(f, STR("plain"), 0, PLACE_REQUIRE_IN_SYNC), OK);
    restart(f);
    check_record(f, STR("plain"), PLACE_SYNC, PLACE_REQUIRE_IN_SYNC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lead_answers_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_and_conditions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lag_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_with_the_lead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept_when_the_lead_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
