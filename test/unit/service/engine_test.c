/* The core over the simulated disk: changes, conditions at one place, restarts, lists. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "look.h"
#include "node_kit.h"

static const NodeKitOptions small = {.seed = 7, .shards = 4};

typedef struct {
    Disk *disk;
    NodeKit kit;
    Buf body;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    buf_init(&f->body, 4 * MIB);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    node_kit_drop(&f->kit);
    disk_free(f->disk);
    buf_deinit(&f->body);
    mem_free(f);
    return 0;
}

static void reopen(Fixture *f, bool clean)
{
    Err err = {0};
    if (clean) {
        assert_ok(node_kit_close(&f->kit, &err), &err);
        disk_sim_kill(f->disk); /* the process ends */
    } else {
        node_kit_drop(&f->kit);
        disk_sim_crash(f->disk);
    }
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
}

static void expect(Fixture *f, const char *key, const char *body)
{
    Err err = {0};
    assert_ok(node_kit_get(&f->kit, STR("files"), str_from_cstr(key), &f->body, &err), &err);
    assert_str(buf_str(&f->body), body);
}

static void test_put_get_delete(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Str files = STR("files");
    assert_ok(node_kit_put(&f->kit, files, STR("a"), STR("one"), &err), &err);
    expect(f, "a", "one");
    assert_ok(node_kit_put(&f->kit, files, STR("a"), STR("two"), &err), &err);
    expect(f, "a", "two");
    assert_ok(node_kit_put(&f->kit, files, STR("empty"), STR(""), &err), &err);
    expect(f, "empty", "");
    assert_ok(node_kit_delete(&f->kit, files, STR("a"), &err), &err);
    assert_code(node_kit_get(&f->kit, files, STR("a"), &f->body, &err), ERR_NOT_FOUND, NULL);
    assert_code(node_kit_delete(&f->kit, files, STR("a"), &err), ERR_NOT_FOUND, NULL);
    assert_code(node_kit_put(&f->kit, STR("nobucket"), STR("a"), STR("x"), &err), ERR_NO_BUCKET,
                NULL);
    assert_code(node_kit_put(&f->kit, files, STR(""), STR("x"), &err), ERR_BAD_NAME, NULL);
    assert_code(node_kit_put(&f->kit, files, STR("\xff"), STR("x"), &err), ERR_BAD_NAME, NULL);
}

/* Every way from the log to the views: un-applied, applied, restarted clean and by power failure.
 */
static void test_kept_everywhere(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    char key[32];
    char body[64];
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 40; i++) {
            snprintf(key, sizeof key, "k%03d", i);
            snprintf(body, sizeof body, "body %d of round %d", i, round);
            assert_ok(
                node_kit_put(&f->kit, STR("files"), str_from_cstr(key), str_from_cstr(body), &err),
                &err);
        }
        size_t applied = 0;
        if (round % 3 == 1) assert_ok(store_apply(f->kit.store, 25, &applied, &err), &err);
        if (round % 3 == 2) {
            do {
                assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
            } while (applied > 0);
            assert_int_equal(store_backlog(f->kit.store), 0);
            assert_ok(store_checkpoint(f->kit.store, &err), &err);
        }
        if (round == 3 || round == 4) reopen(f, round == 3);
        for (int i = 0; i < 40; i++) {
            snprintf(key, sizeof key, "k%03d", i);
            snprintf(body, sizeof body, "body %d of round %d", i, round);
            expect(f, key, body);
        }
    }
}

static void test_large_body(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    AUTO(char, mem_free) data = mem_new(300000);
    random_bytes(3, data, 300000);
    Str large = str_of(data, 300000);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("large"), large, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_ok(node_kit_get(&f->kit, STR("files"), STR("large"), &f->body, &err), &err);
        assert_true(str_eq(buf_str(&f->body), large));
        if (i < 2) reopen(f, i == 0);
    }
    /* Overwritten: the old extent is unlinked behind the checkpoint. */
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("large"), STR("small now"), &err), &err);
    reopen(f, true);
    expect(f, "large", "small now");
    uint64_t removed = 1;
    assert_ok(store_sweep_orphans(f->kit.store, &removed, &err), &err);
    assert_int_equal(removed, 0);
}

static void test_nothing_to_replay(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(key), STR("x"), &err), &err);
    }
    assert_ok(node_kit_close(&f->kit, &err), &err);
    disk_sim_kill(f->disk);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_int_equal(f->kit.opened.unapplied, 0);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    expect(f, "99", "x");
}

typedef struct {
    Mutation m;
    bool done;
} Racer;

static void racer_done(Mutation *m)
{
    ((Racer *)m->ctx)->done = true;
}

/* Racers in one batch, none of them logged before the last is decided: one wins. */
static void test_one_winner(void **state)
{
    Fixture *f = *state;
    Racer racers[8];
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        Mutation *m = &racers[i].m;
        mutation_init(m, MUTATION_PUT);
        m->bucket = STR("files");
        m->key = STR("lock");
        m->if_none_match = STR("*");
        m->inline_body = STR("mine");
        m->size = 4;
        m->digest = sha256_of("mine", 4);
        m->done = racer_done;
        m->ctx = &racers[i];
        racers[i].done = false;
        engine_submit(f->kit.engine, m);
    }
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        assert_false(racers[i].done); /* a refusal waits for what it rests on */
    }
    node_kit_settle(&f->kit);
    unsigned winners = 0;
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        assert_true(racers[i].done);
        if (racers[i].m.code == OK)
            winners++;
        else
            assert_int_equal(racers[i].m.code, ERR_PRECONDITION);
        mutation_deinit(&racers[i].m);
    }
    assert_int_equal(winners, 1);
}

/* To the second, of what is there, and only without If-Match. */
static void test_unmodified_since(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    f->kit.clock.wall_ms += 5000 - f->kit.clock.wall_ms % 1000;
    uint64_t now_ms = f->kit.clock.wall_ms;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
    static const struct {
        const char *key;
        MutationType type;
        int64_t ms; /* beside the change's second */
        bool any;   /* If-Match: * as well */
        ErrCode code;
    } rows[] = {{"a", MUTATION_PUT, -1, false, ERR_PRECONDITION},
                {"a", MUTATION_DELETE, -1, false, ERR_PRECONDITION},
                {"a", MUTATION_PUT, -1, true, OK},
                {"a", MUTATION_PUT, 999, false, OK},
                {"b", MUTATION_PUT, -1, false, OK},
                {"absent", MUTATION_DELETE, -1, false, ERR_NOT_FOUND},
                {"a", MUTATION_DELETE, 0, false, OK}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Mutation m;
        mutation_init(&m, rows[i].type);
        m.bucket = STR("files");
        m.key = str_from_cstr(rows[i].key);
        m.has_unmodified_since = true;
        m.unmodified_since_ms = (uint64_t)((int64_t)now_ms + rows[i].ms);
        if (rows[i].any) m.if_match = STR("*");
        assert_code(node_kit_do(&f->kit, &m), rows[i].code, &m.err);
        mutation_deinit(&m);
    }
}

static void test_buckets(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = STR("photos");
    assert_code(node_kit_do(&f->kit, &m), OK, &m.err);
    assert_code(node_kit_do(&f->kit, &m), ERR_BUCKET_EXISTS, NULL);
    assert_ok(node_kit_put(&f->kit, STR("photos"), STR("p"), STR("1"), &err), &err);
    m.type = MUTATION_BUCKET_DELETE;
    assert_code(node_kit_do(&f->kit, &m), ERR_BUCKET_NOT_EMPTY, NULL);
    reopen(f, false);
    assert_code(node_kit_do(&f->kit, &m), ERR_BUCKET_NOT_EMPTY, NULL);
    assert_ok(node_kit_delete(&f->kit, STR("photos"), STR("p"), &err), &err);
    assert_code(node_kit_do(&f->kit, &m), OK, &m.err);
    assert_code(node_kit_do(&f->kit, &m), ERR_NO_BUCKET, NULL);
    assert_code(node_kit_put(&f->kit, STR("photos"), STR("p"), STR("1"), &err), ERR_NO_BUCKET,
                NULL);
    /* A new bucket of that name inherits nothing. */
    m.type = MUTATION_BUCKET_CREATE;
    assert_code(node_kit_do(&f->kit, &m), OK, &m.err);
    assert_code(node_kit_get(&f->kit, STR("photos"), STR("p"), &f->body, &err), ERR_NOT_FOUND,
                NULL);
    m.bucket = STR("No");
    assert_code(node_kit_do(&f->kit, &m), ERR_BAD_BUCKET_NAME, NULL);
    mutation_deinit(&m);
}

/* Lists the bucket "files" into out as "a,b/,c"; pages of `limit`. */
static void list(Fixture *f, const char *prefix, char delimiter, char *out, size_t size)
{
    Err err = {0};
    out[0] = '\0';
    AUTO_BUF(after, KEY_MAX);
    for (;;) {
        StoreListOptions options = {.bucket = look_bucket(f->kit.buckets, STR("files")),
                                    .prefix = str_from_cstr(prefix),
                                    .delimiter = delimiter,
                                    .after = buf_str(&after)};
        StoreList *l = NULL;
        assert_ok(store_list_open(f->kit.reader, &options, &l, &err), &err);
        bool found = false;
        for (int i = 0; i < 2; i++) { /* pages of two, so that every way to go on is taken */
            StoreFound file;
            bool is_prefix = false;
            assert_ok(store_list_next(l, &file, &is_prefix, &found, &err), &err);
            if (!found) break;
            size_t len = strlen(out);
            snprintf(out + len, size - len, "%s%.*s", len > 0 ? "," : "", STR_ARG(file.key));
            buf_clear(&after);
            assert_ok(buf_append_str(&after, file.key, &err), &err);
        }
        store_list_close(l);
        if (!found) return;
    }
}

static void test_list(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    static const char *const keys[] = {"a",    "a/1",   "a/2",  "a/b/3", "b",
                                       "dir/", "dir/x", "dir0", "z"};
    char out[256];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(keys[i]), STR("x"), &err),
                  &err);
        size_t applied = 0;
        if (i == 4) assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    }
    for (int round = 0; round < 3; round++) {
        list(f, "", 0, out, sizeof out);
        assert_string_equal(out, "a,a/1,a/2,a/b/3,b,dir/,dir/x,dir0,z");
        list(f, "", '/', out, sizeof out);
        assert_string_equal(out, "a,a/,b,dir/,dir0,z");
        list(f, "a/", '/', out, sizeof out);
        assert_string_equal(out, "a/1,a/2,a/b/");
        list(f, "dir", 0, out, sizeof out);
        assert_string_equal(out, "dir/,dir/x,dir0");
        if (round < 2) reopen(f, round == 0);
    }
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a/1"), &err), &err);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a/2"), &err), &err);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a/b/3"), &err), &err);
    list(f, "", '/', out, sizeof out);
    assert_string_equal(out, "a,b,dir/,dir0,z");
}

/* Writers wait when the applier is behind by bytes, and go on when it has caught up. */
static void test_backlog_bytes(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
    NodeKitOptions options = small;
    options.backlog_bytes_max = 20000;
    assert_ok(node_kit_open(&f->kit, f->disk, &options, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    size_t applied = 0;
    assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    char body[15000];
    random_bytes(1, body, sizeof body);
    Racer racers[3];
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        Mutation *m = &racers[i].m;
        mutation_init(m, MUTATION_CREATE);
        m->bucket = STR("files");
        m->inline_body = str_of(body, sizeof body);
        m->size = sizeof body;
        m->digest = sha256_of(body, sizeof body);
        m->done = racer_done;
        m->ctx = &racers[i];
        racers[i].done = false;
        engine_submit(f->kit.engine, m);
        node_kit_settle(&f->kit);
    }
    assert_true(racers[0].done && racers[1].done);
    assert_false(racers[2].done);
    assert_true(store_backlog_bytes(f->kit.store) >= 30000);
    assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    assert_int_equal(store_backlog_bytes(f->kit.store), 0);
    node_kit_settle(&f->kit);
    assert_true(racers[2].done);
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        assert_int_equal(racers[i].m.code, OK);
        mutation_deinit(&racers[i].m);
    }
}

static void submit_racer(Fixture *f, Racer *racer, Str body)
{
    Mutation *m = &racer->m;
    mutation_init(m, MUTATION_CREATE);
    m->bucket = STR("files");
    m->inline_body = body;
    m->size = body.len;
    m->digest = sha256_of(body.ptr, body.len);
    m->done = racer_done;
    m->ctx = racer;
    racer->done = false;
    engine_submit(f->kit.engine, m);
}

static void tick_after(Fixture *f, uint64_t seconds)
{
    EngineHealth none[ENGINE_ROOTS_MAX] = {{0}};
    f->kit.clock.boot_ns += seconds * UINT64_C(1000000000);
    engine_tick(f->kit.engine, none);
}

/* The log takes nothing, as when it has no room: who waits for it is told so in the end, and what
 * was told to be unknown may come. */
static void test_late(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    char body[15000];
    Racer racers[3];
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
    NodeKitOptions options = small;
    options.backlog_bytes_max = 20000;
    assert_ok(node_kit_open(&f->kit, f->disk, &options, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    assert_ok(node_kit_apply(&f->kit, &err), &err);
    random_bytes(1, body, sizeof body);
    for (size_t i = 0; i < ARRAY_LEN(racers); i++)
        submit_racer(f, &racers[i], str_of(body, sizeof body));
    tick_after(f, 19);
    assert_false(racers[0].done || racers[1].done || racers[2].done);
    tick_after(f, 1);
    assert_true(racers[0].done && racers[1].done && racers[2].done);
    assert_int_equal(racers[0].m.code, ERR_OUTCOME_UNKNOWN);
    assert_int_equal(racers[1].m.code, ERR_OUTCOME_UNKNOWN);
    assert_int_equal(racers[2].m.code, ERR_BUSY); /* it was never appended */
    assert_int_equal(engine_in_flight(f->kit.engine), 0);
    for (size_t i = 0; i < ARRAY_LEN(racers); i++)
        mutation_deinit(&racers[i].m);
    node_kit_settle(&f->kit);
    assert_ok(node_kit_apply(&f->kit, &err), &err);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("next"), STR("x"), &err), &err);
}

/* The longest key, at the end of a page: the list goes on behind it. */
static void test_list_longest_key(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    char longest[KEY_MAX + 1];
    memset(longest, 'y', KEY_MAX);
    longest[KEY_MAX] = '\0';
    assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(longest), STR("x"), &err), &err);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("z"), STR("x"), &err), &err);
    char out[2 * KEY_MAX];
    list(f, "", 0, out, sizeof out);
    assert_int_equal(strlen(out), KEY_MAX + 2);
    assert_string_equal(out + KEY_MAX, ",z");
    list(f, longest, '/', out, sizeof out);
    assert_string_equal(out, longest);
}

/* The applier or a body's sync failed: what is asked from then on is refused, nothing is kept. */
static void test_refuses_writes(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("one"), &err), &err);
    engine_root_refuses(f->kit.engine, 0);
    assert_true(engine_failed(f->kit.engine));
    assert_code(node_kit_put(&f->kit, STR("files"), STR("a"), STR("two"), &err), ERR_ROOT_FAILED,
                NULL);
    assert_code(node_kit_delete(&f->kit, STR("files"), STR("a"), &err), ERR_ROOT_FAILED, NULL);
    expect(f, "a", "one");
}

/* Metadata that leaves no room for the key: the client's fault, and nothing happens. */
static void test_too_much_metadata(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Mutation m;
    AUTO_BUF(attrs, ATTRS_MAX);
    AUTO(char, mem_free) meta = mem_new(ATTRS_MAX);
    memset(meta, 'm', ATTRS_MAX);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = STR("key");
    m.digest = sha256_of(NULL, 0);
    for (size_t room = 4; room < 8; room++) { /* the attribute's own head has 4 bytes */
        buf_clear(&attrs);
        Str value = str_of(meta, ATTRS_MAX - room);
        assert_ok(attr_set(&attrs, ATTR_USER_META, value, &err), &err);
        m.attrs = buf_str(&attrs);
        assert_code(node_kit_do(&f->kit, &m), ERR_TOO_LARGE, NULL);
    }
    assert_code(node_kit_get(&f->kit, STR("files"), STR("key"), &f->body, &err), ERR_NOT_FOUND,
                NULL);
    m.attrs = str_of(NULL, 0);
    assert_code(node_kit_do(&f->kit, &m), OK, &m.err);
    mutation_deinit(&m);
}

/* A control.json of another directory: said at the start, instead of never being ready. */
static void test_foreign_control(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    NodeKit other;
    Disk *other_disk = NULL;
    assert_ok(disk_sim_new(2, &other_disk, &err), &err);
    NodeKitOptions options = small;
    options.seed = 8;
    assert_ok(node_kit_open(&other, other_disk, &options, &err), &err);
    assert_ok(disk_read_file(f->disk, CONTROL_FILE, MIB, &text, &len, &err), &err);
    node_kit_drop(&other);
    disk_sim_kill(other_disk);
    assert_ok(disk_replace_durable(other_disk, CONTROL_FILE, str_of(text, len), &err), &err);
    for (int i = 0; i < 3; i++) {
        ErrCode code = node_kit_open(&other, other_disk, &options, &err);
        assert_code(code, ERR_FOREIGN, NULL);
        assert_non_null(strstr(err_text(&err), "control.json"));
        disk_sim_kill(other_disk);
    }
    disk_free(other_disk);
}

/* control.json is lost: the log knows the terms, and no incarnation comes twice. */
static void test_lost_control(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (int i = 0; i < 3; i++)
        reopen(f, true);
    uint64_t incarnation = f->kit.root.incarnation;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("one"), &err), &err);
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
    assert_ok(disk_unlink(f->disk, CONTROL_FILE, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    assert_true(f->kit.root.incarnation > incarnation);
    expect(f, "a", "one");
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("two"), &err), &err);
    reopen(f, false);
    expect(f, "a", "two");
}

/* control.json is damaged: as if it were lost, and it is kept. */
static void test_damaged_control(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    DiskStat stat;
    reopen(f, true);
    uint64_t incarnation = f->kit.root.incarnation;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("one"), &err), &err);
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
    assert_ok(disk_sim_flip(f->disk, CONTROL_FILE, 400, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_true(f->kit.found.damaged);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    assert_true(f->kit.root.incarnation > incarnation);
    expect(f, "a", "one");
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("two"), &err), &err);
    reopen(f, false);
    assert_false(f->kit.found.remade);
    expect(f, "a", "two");
    char path[64];
    snprintf(path, sizeof path, "quarantine/control.json.%u", (unsigned)incarnation);
    assert_ok(disk_stat(f->disk, path, &stat, &err), &err);
    assert_true(stat.exists);
}

typedef struct {
    Disk *disk;
    const char *dir;
} Emptying;

static ErrCode remove_file(void *ctx, const char *name, bool is_dir, Err *err)
{
    const Emptying *emptying = ctx;
    char path[DISK_PATH_MAX];
    if (is_dir) return OK;
    snprintf(path, sizeof path, "%s/%s", emptying->dir, name);
    return disk_unlink(emptying->disk, path, err);
}

/* Log, index and packs are gone: refused as often as it is tried, whether control.json is there or
 * not, instead of beginning an empty store. */
static void test_emptied(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    NodeKit kit;
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("one"), &err), &err);
    reopen(f, true);
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
    for (int i = 0; i < 2; i++) {
        Emptying emptying = {.disk = f->disk, .dir = i == 0 ? "packs" : "wal.segments"};
        assert_ok(disk_list(f->disk, emptying.dir, remove_file, &emptying, &err), &err);
    }
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(disk_unlink(f->disk, "wal.active", &err), &err);
    for (int i = 0; i < 4; i++) {
        if (i == 2) assert_ok(disk_unlink(f->disk, CONTROL_FILE, &err), &err);
        assert_code(node_kit_open(&kit, f->disk, &small, &err), ERR_CORRUPT, NULL);
        assert_non_null(strstr(err_text(&err), "wal.active"));
        disk_sim_kill(f->disk);
        err_clear(&err);
    }
}

/* A body that nothing names goes at the next start; but after an index was made again, perhaps
 * without the record that named it, it is kept in quarantine/. */
static void test_orphans_after_rebuild(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Extent extents[2];
    static char large[300000];
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("one"), &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(extents); i++) {
        Mutation m;
        char path[BLOB_PATH_MAX];
        char kept[128];
        char id[ID128_TEXT_LEN + 1];
        DiskStat there;
        DiskStat quarantined;
        bool rebuild = i == 0;
        mutation_init(&m, MUTATION_PUT);
        assert_ok(node_kit_body(&f->kit, &m, str_of(large, sizeof large), &extents[i], &err), &err);
        mutation_deinit(&m);
        blob_path(extents[i].body, extents[i].number, path);
        id128_text(extents[i].body, id);
        snprintf(kept, sizeof kept, "quarantine/%s.%u.1", id, extents[i].number);
        RebuildOptions options = {.root = f->kit.root, .clock = &f->kit.clock.clock};
        RebuildReport report;
        assert_ok(node_kit_close(&f->kit, &err), &err);
        disk_sim_kill(f->disk);
        if (rebuild) assert_ok(rebuild_index(f->disk, &options, &report, &err), &err);
        assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
        assert_ok(node_kit_ready(&f->kit, &err), &err);
        assert_ok(disk_stat(f->disk, path, &there, &err), &err);
        assert_ok(disk_stat(f->disk, kept, &quarantined, &err), &err);
        assert_false(there.exists);
        assert_int_equal(quarantined.exists, rebuild);
        expect(f, "a", "one");
    }
}

static uint64_t ticking(Clock *clock)
{
    return ++((ManualClock *)(void *)clock)->wall_ms;
}

/* A new file's two times are one, however slow the machine is; an update's are not. */
static void test_times(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    f->kit.clock.clock.wall_ms = ticking;
    for (int i = 0; i < 2; i++) {
        assert_ok(node_kit_put(&f->kit, STR("files"), STR("a"), STR("x"), &err), &err);
        StoreFound found = look_file(f->kit.reader, f->kit.buckets, STR("files"), STR("a"));
        assert_int_equal(found.row.created_ms == found.row.updated_ms, i == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_to_replay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_winner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unmodified_since, setup, teardown),
        cmocka_unit_test_setup_teardown(test_buckets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much_metadata, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_control, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_control, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_control, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emptied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orphans_after_rebuild, setup, teardown),
        cmocka_unit_test_setup_teardown(test_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backlog_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_longest_key, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
