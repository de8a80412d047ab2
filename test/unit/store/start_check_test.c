/* Packs that are missing, empty or cut off are noticed at start; their files are listed, the others
 * are served, and nothing new is ever put under a lost pack's number. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "look.h"
#include "node_kit.h"
#include "store/rebuild.h"

#define FILES 60
#define BODY_LEN 4000

/* Some 30 files a pack. */
static const NodeKitOptions small = {.seed = 3, .shards = 2, .pack_size = 128 * KIB};

typedef struct {
    Disk *disk;
    NodeKit kit;
    StoreFound found[FILES]; /* where each file was; no views of it are used */
    uint64_t packs;          /* the highest number */
} Fixture;

static void key_of(int i, char out[16])
{
    int len = snprintf(out, 16, "k%02d", i);
    assert_true(len > 0 && len < 16);
}

static void put(Fixture *f, int i)
{
    char key[16];
    char body[BODY_LEN];
    Err err = {0};
    key_of(i, key);
    random_bytes((uint64_t)i, body, sizeof body);
    assert_ok(
        node_kit_put(&f->kit, STR("files"), str_from_cstr(key), str_of(body, sizeof body), &err),
        &err);
}

static void apply_all(Fixture *f)
{
    Err err = {0};
    assert_ok(node_kit_apply(&f->kit, &err), &err);
}

static StoreFound find(Fixture *f, int i)
{
    char key[16];
    key_of(i, key);
    StoreFound found = look_file(f->kit.reader, f->kit.buckets, STR("files"), str_from_cstr(key));
    return found;
}

static void start(Fixture *f)
{
    Err err = {0};
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
}

static void stop(Fixture *f)
{
    Err err = {0};
    assert_ok(risk_save(store_risk(f->kit.store), true, &err), &err);
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    start(f);
    for (int i = 0; i < FILES; i++)
        put(f, i);
    apply_all(f);
    for (int i = 0; i < FILES; i++) {
        f->found[i] = find(f, i);
        f->packs = MAX(f->packs, f->found[i].row.place.pack);
    }
    assert_true(f->packs >= 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    node_kit_drop(&f->kit);
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static bool listed(Fixture *f, int i, RiskCause cause)
{
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    char key[16];
    key_of(i, key);
    while (risk_next(store_risk(f->kit.store), &cursor, &entry)) {
        if (!id128_is_zero(entry.file) &&
            str_eq(str_of(entry.key, entry.key_len), str_from_cstr(key)))
            return entry.cause == cause;
    }
    return false;
}

/* The files of pack behind `size` are listed as missing, the others can be read; and the pack. */
static void expect_listed(Fixture *f, uint64_t pack, uint64_t size)
{
    char path[PACK_PATH_MAX];
    size_t lost = 0;
    pack_path(pack, path);
    for (int i = 0; i < FILES; i++) {
        const PackPlace *place = &f->found[i].row.place;
        bool is_lost = place->pack == pack && place->offset + place->length > size;
        StoreFound found = find(f, i);
        Str body;
        Err err = {0};
        assert_int_equal(listed(f, i, RISK_MISSING), is_lost);
        ErrCode code = store_body(f->kit.reader, &found, &body, &err);
        assert_true(is_lost ? code != OK : code == OK);
        lost += is_lost;
        assert_int_equal(listed(f, i, RISK_MISSING),
                         is_lost); /* a read does not call it otherwise */
    }
    assert_int_equal(risk_files(store_risk(f->kit.store)), lost);
    assert_int_equal(risk_places(store_risk(f->kit.store)), 1);
    assert_true(lost > 0);
}

/* The highest pack of the first so many files. */
static uint64_t packs_of(Fixture *f, int files)
{
    uint64_t packs = 0;
    for (int i = 0; i < files; i++)
        packs = MAX(packs, find(f, i).row.place.pack);
    return packs;
}

/* Takes a pack's bytes from `size` on away; *whole: all of them, for put_back(). */
static void cut(Fixture *f, uint64_t pack, uint64_t size, Buf *whole)
{
    char path[PACK_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    Err err = {0};
    pack_path(pack, path);
    assert_ok(disk_read_file(f->disk, path, MIB, &text, &len, &err), &err);
    buf_clear(whole);
    assert_ok(buf_append(whole, text, len, &err), &err);
    assert_true(size < len);
    assert_ok(disk_open(f->disk, path, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_truncate(file, size, &err), &err);
}

static void put_back(Fixture *f, uint64_t pack, const Buf *whole)
{
    char path[PACK_PATH_MAX];
    Err err = {0};
    pack_path(pack, path);
    assert_ok(disk_replace_durable(f->disk, path, buf_str(whole), &err), &err);
}

static void lose(Fixture *f, uint64_t pack)
{
    char path[PACK_PATH_MAX];
    Err err = {0};
    pack_path(pack, path);
    assert_ok(disk_unlink(f->disk, path, &err), &err);
}

static void test_missing(void **state)
{
    Fixture *f = *state;
    AUTO_BUF(whole, MIB);
    stop(f);
    cut(f, 1, 0, &whole);
    lose(f, 1);
    start(f);
    expect_listed(f, 1, 0);
    stop(f);
    start(f); /* still so, and not listed twice */
    expect_listed(f, 1, 0);
    stop(f);
    put_back(f, 1, &whole);
    start(f);
    assert_int_equal(risk_files(store_risk(f->kit.store)) + risk_places(store_risk(f->kit.store)),
                     0);
}

static void test_empty(void **state)
{
    Fixture *f = *state;
    AUTO_BUF(whole, MIB);
    stop(f);
    cut(f, 1, 0, &whole);
    start(f);
    expect_listed(f, 1, 0);
    stop(f);
    put_back(f, 1, &whole);
    start(f);
    assert_int_equal(risk_files(store_risk(f->kit.store)) + risk_places(store_risk(f->kit.store)),
                     0);
}

/* In the middle of a record: what is before it is read as ever. */
static void test_cut_off(void **state)
{
    Fixture *f = *state;
    AUTO_BUF(whole, MIB);
    stop(f);
    cut(f, 1, 50000, &whole);
    start(f);
    expect_listed(f, 1, 50000);
}

/* Of several packs, one missing, one cut off and one whole in turn, each file is of its own. */
static void test_several(void **state)
{
    Fixture *f = *state;
    AUTO_BUF(whole, MIB);
    size_t lost = 0;
    for (int i = FILES; i < 4 * FILES; i++)
        put(f, i);
    apply_all(f);
    uint64_t packs = packs_of(f, 4 * FILES);
    assert_true(packs >= 8);
    stop(f);
    for (uint64_t pack = 1; pack <= packs; pack++) {
        if (pack % 3 == 0) continue;
        cut(f, pack, pack % 3 == 1 ? 0 : 50000, &whole);
        if (pack % 3 == 1) lose(f, pack);
    }
    start(f);
    for (int i = 0; i < 4 * FILES; i++) {
        PackPlace place = find(f, i).row.place;
        uint64_t kept = place.pack % 3 == 0 ? UINT64_MAX : place.pack % 3 == 1 ? 0 : 50000;
        bool is_lost = place.offset + place.length > kept;
        assert_int_equal(listed(f, i, RISK_MISSING), is_lost);
        lost += is_lost;
    }
    assert_int_equal(risk_files(store_risk(f->kit.store)), lost);
    assert_int_equal(risk_places(store_risk(f->kit.store)), packs - packs / 3);
}

/* The number of a lost pack that was the newest does not come up again. */
static void test_newest(void **state)
{
    Fixture *f = *state;
    stop(f);
    lose(f, f->packs);
    start(f);
    expect_listed(f, f->packs, 0);
    put(f, 99);
    apply_all(f);
    assert_int_equal(find(f, 99).row.place.pack, f->packs + 1);
    stop(f);
    start(f);
    expect_listed(f, f->packs, 0);
}

/* Deleted, a file is off the list; and so is a lost pack of which nothing is needed any more. */
static void test_deleted(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    stop(f);
    lose(f, 1);
    start(f);
    for (int i = 0; i < FILES; i++) {
        char key[16];
        key_of(i, key);
        assert_ok(node_kit_delete(&f->kit, STR("files"), str_from_cstr(key), &err), &err);
    }
    apply_all(f);
    assert_int_equal(risk_files(store_risk(f->kit.store)), 0);
    stop(f);
    start(f);
    assert_int_equal(risk_files(store_risk(f->kit.store)), 0);
}

/* After a rebuild of the packs nothing is counted in the lost one, and its number stays taken. */
static void test_rebuilt(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    RebuildReport report;
    ManualClock clock;
    clock_manual_init(&clock, 1700000000000);
    RebuildOptions options = {.root = f->kit.root, .clock = &clock.clock, .seed = 1};
    stop(f);
    lose(f, f->packs);
    for (int turn = 0; turn < 2; turn++) {
        assert_ok(rebuild_packs(f->disk, &options, &report, &err), &err);
        assert_true(report.damaged_files > 0);
    }
    start(f);
    assert_int_equal(risk_places(store_risk(f->kit.store)), 0);
    put(f, 99);
    apply_all(f);
    assert_true(find(f, 99).row.place.pack > f->packs);
}

/* Writes the row of a pack as a release before, or a repair, may have left it. */
static void forget_end(Fixture *f, uint64_t pack)
{
    AUTO(Index, index_free) index = NULL;
    uint8_t key_bytes[ROW_KEY_MAX];
    uint8_t bytes[64];
    Str key = str_of(key_bytes, row_key_pack(key_bytes, pack));
    Str value;
    PackRow row;
    bool flag = false;
    Err err = {0};
    assert_ok(index_open(f->disk, NULL, &index, &flag, &err), &err);
    assert_ok(index_begin(index, &err), &err);
    assert_ok(index_batch_get(index, key, &value, &flag, &err), &err);
    assert_true(flag && pack_row_decode(value, &row));
    assert_true(row.bytes > 0 && row.end > 0);
    row.end = 0;
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(&row, &enc);
    assert_ok(index_put(index, key, str_of(bytes, enc.len), &err), &err);
    assert_ok(index_commit(index, &err), &err);
    assert_ok(index_checkpoint(index, &err), &err);
}

/* Where the index counts records and does not say how far they reach, nothing looks torn: a bad
 * record among them is damage, and what follows it is served. */
static void test_end_not_known(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    char path[PACK_PATH_MAX];
    DiskStat before;
    DiskStat after;
    const PackPlace *place = NULL;
    for (int i = 0; i < FILES && place == NULL; i++) {
        if (f->found[i].row.place.pack == f->packs) place = &f->found[i].row.place;
    }
    assert_non_null(place);
    stop(f);
    forget_end(f, f->packs);
    pack_path(f->packs, path);
    assert_ok(disk_sim_flip(f->disk, path, 8 * (place->offset + 500), &err), &err);
    assert_ok(disk_stat(f->disk, path, &before, &err), &err);
    start(f);
    assert_ok(disk_stat(f->disk, path, &after, &err), &err);
    assert_int_equal(after.size, before.size);
    for (int i = 0; i < FILES; i++) {
        StoreFound found = find(f, i);
        Str body;
        bool bad = found.row.place.pack == place->pack && found.row.place.offset == place->offset;
        assert_true((store_body(f->kit.reader, &found, &body, &err) == OK) == !bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebuilt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_not_known, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
