/* Compaction: what is needed stays readable, what is dead goes, what was deleted stays deleted,
 * also for who looks at packs alone. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"
#include "format/pack_mark.h"
#include "look.h"
#include "node_kit.h"
#include "pack_truth.h"
#include "store/compact_priv.h"

#define FILES 240
#define BODY_LEN 4000

static const NodeKitOptions small = {.seed = 3, .shards = 2, .pack_size = 128 * KIB};
static const CompactOptions eager = {.dead_percent = 50, .look_again_ms = 1};

typedef struct {
    Disk *disk;
    NodeKit kit;
    bool up;
    unsigned version[FILES]; /* 0: absent */
} Fixture;

static void start(Fixture *f, uint64_t seed)
{
    Err err = {0};
    NodeKitOptions options = small;
    options.seed = seed;
    assert_ok(node_kit_open(&f->kit, f->disk, &options, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    f->up = true;
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    start(f, 3);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    fault_reset();
    if (f->up) node_kit_drop(&f->kit);
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static Str key_of(unsigned i, char out[16])
{
    assert_int_equal(snprintf(out, 16, "file-%04u", i), 9);
    return str_from_cstr(out);
}

static void body_of(unsigned i, unsigned version, uint8_t out[BODY_LEN])
{
    Rng rng;
    rng_init(&rng, i * 1000 + version);
    for (size_t at = 0; at < BODY_LEN; at += 8) {
        uint64_t word = rng_u64(&rng);
        memcpy(out + at, &word, 8);
    }
}

static void put(Fixture *f, unsigned i)
{
    char key[16];
    uint8_t body[BODY_LEN];
    Err err = {0};
    f->version[i]++;
    body_of(i, f->version[i], body);
    assert_ok(node_kit_put(&f->kit, STR("files"), key_of(i, key), str_of(body, BODY_LEN), &err),
              &err);
}

static void delete_file(Fixture *f, unsigned i)
{
    char key[16];
    Err err = {0};
    f->version[i] = 0;
    assert_ok(node_kit_delete(&f->kit, STR("files"), key_of(i, key), &err), &err);
}

static void apply_all(Fixture *f)
{
    Err err = {0};
    size_t applied = 0;
    do {
        assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    } while (applied > 0);
}

static void checkpoint(Fixture *f)
{
    Err err = {0};
    assert_ok(store_checkpoint(f->kit.store, &err), &err);
}

static void check_files(Fixture *f)
{
    AUTO_BUF(got, MIB);
    for (unsigned i = 0; i < FILES; i++) {
        char key[16];
        uint8_t body[BODY_LEN];
        Err err = {0};
        ErrCode code = node_kit_get(&f->kit, STR("files"), key_of(i, key), &got, &err);
        if (f->version[i] == 0) {
            assert_code(code, ERR_NOT_FOUND, &err);
            continue;
        }
        assert_ok(code, &err);
        body_of(i, f->version[i], body);
        assert_int_equal(got.len, BODY_LEN);
        assert_memory_equal(got.data, body, BODY_LEN);
    }
}

static void check_truth(Fixture *f)
{
    Err err = {0};
    assert_ok(pack_truth_check(f->kit.store, &err), &err);
}

static void compact(Fixture *f)
{
    Err err = {0};
    assert_ok(compact_all(f->kit.store, &eager, NULL, &err), &err);
}

static size_t pack_count(Fixture *f)
{
    Err err = {0};
    uint64_t *numbers = NULL;
    size_t count = 0;
    assert_ok(packs_list(f->kit.store->packs, &numbers, &count, &err), &err);
    mem_free(numbers);
    return count;
}

static CompactStatus status_of(Fixture *f)
{
    CompactStatus status;
    store_compact_status(f->kit.store, &status);
    return status;
}

/* Files 0..FILES-1, applied; some 30 in a pack. */
static void fill(Fixture *f)
{
    for (unsigned i = 0; i < FILES; i++)
        put(f, i);
    apply_all(f);
}

static void test_space_comes_back(void **state)
{
    Fixture *f = *state;
    fill(f);
    size_t before = pack_count(f);
    for (unsigned i = 0; i < FILES; i++) {
        if (i % 10 != 0) delete_file(f, i);
    }
    apply_all(f);
    checkpoint(f);
    compact(f);
    check_files(f);
    check_truth(f);
    assert_in_range(pack_count(f), 1, before / 3);
    assert_true(status_of(f).packs_retired > 0 && status_of(f).bytes_freed > 0);
    /* What was gained is gained: nothing is left to do, and a restart finds it so. */
    size_t steps = 0;
    Err err = {0};
    assert_ok(compact_all(f->kit.store, &eager, &steps, &err), &err);
    node_kit_drop(&f->kit);
    disk_sim_crash(f->disk);
    start(f, 4);
    check_files(f);
    check_truth(f);
}

static void test_overwritten(void **state)
{
    Fixture *f = *state;
    for (unsigned round = 0; round < 4; round++) {
        fill(f);
        checkpoint(f);
        compact(f);
        check_files(f);
        check_truth(f);
    }
    assert_in_range(pack_count(f), 1, 2 * (FILES / 30) + 4);
}

/* A tombstone whose file's record is in an older pack that stays has to stay, too. */
static void old_and_deleted(Fixture *f)
{
    for (unsigned i = 0; i < 30; i++) /* the first pack, of which a third dies */
        put(f, i);
    apply_all(f);
    for (unsigned i = 100; i < 160; i++)
        put(f, i);
    for (unsigned i = 0; i < 10; i++)
        delete_file(f, i);
    for (unsigned i = 160; i < 200; i++)
        put(f, i);
    apply_all(f);
    for (unsigned i = 100; i < 200; i++) /* the packs with the tombstones die */
        delete_file(f, i);
    for (unsigned i = 200; i < 240; i++)
        put(f, i);
    apply_all(f);
    checkpoint(f);
}

static void test_tombstones_stay(void **state)
{
    Fixture *f = *state;
    old_and_deleted(f);
    compact(f);
    assert_true(status_of(f).packs_retired >= 2);
    check_files(f);
    check_truth(f);
}

static void test_dropped_tombstones_are_seen(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    old_and_deleted(f);
    fault_plant("compact-drops-tombstone", true);
    compact(f);
    assert_code(pack_truth_check(f->kit.store, &err), ERR_ABORTED, &err);
}

/* When the last record of the name is gone, the tombstone goes: a store that is filled and emptied
 * again and again does not grow. */
static void test_tombstones_go(void **state)
{
    Fixture *f = *state;
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < FILES; i++)
            put(f, i);
        for (unsigned i = 0; i < FILES; i++)
            delete_file(f, i);
        apply_all(f);
        checkpoint(f);
        compact(f);
        check_truth(f);
    }
    put(f, 1);
    apply_all(f);
    checkpoint(f);
    compact(f);
    check_files(f);
    check_truth(f);
    assert_true(status_of(f).tombstones_dropped >= FILES);
    assert_in_range(pack_count(f), 1, 4);
}

/* Turns until a step that moves records is ready. */
static void until_move(Compactor *c, Fixture *f)
{
    Err err = {0};
    CompactTurn turn = COMPACT_MORE;
    for (int i = 0; i < 1000; i++) {
        uint64_t read = 0;
        assert_ok(compactor_work(c, 64 * KIB, UINT64_MAX, &turn, &read, &err), &err);
        assert_int_not_equal(turn, COMPACT_NOTHING);
        if (turn != COMPACT_STEP) continue;
        if (compactor_step(c)->kind == COMPACT_MOVE) return;
        ErrCode code = store_compact(f->kit.store, compactor_step(c), &err);
        assert_ok(code, &err);
        compactor_done(c, code);
    }
    fail_msg("nothing to move");
}

static void mostly_dead(Fixture *f)
{
    fill(f);
    for (unsigned i = 0; i < FILES; i++) {
        if (i % 10 != 0) delete_file(f, i);
    }
    apply_all(f);
    checkpoint(f);
}

/* Fails to apply what waits, when some of it is in a pack behind newest and the index knows of none
 * of it yet: what a batch under way looks like. */
static void stop_between_packs_and_index(Fixture *f, uint64_t newest)
{
    for (uint64_t nth = 1; packs_newest(f->kit.store->packs) == newest; nth++) {
        Err err = {0};
        size_t applied = 0;
        fault_arm("disk.write", 28 /* ENOSPC */, nth, true);
        ErrCode code = store_apply(f->kit.store, 1000, &applied, &err);
        fault_reset();
        assert_code(code, ERR_NO_SPACE, &err);
    }
}

/* A pack is left alone until the index knows of all that stands in it. */
static void test_batch_under_way(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    fill(f);
    compact(f);
    uint64_t newest = packs_newest(f->kit.store->packs);
    for (unsigned more = 0; more < 15;) {
        put(f, 0);
        apply_all(f);
        if (packs_newest(f->kit.store->packs) > newest) more++;
    }
    newest = packs_newest(f->kit.store->packs); /* all but one of its bodies are dead */
    for (unsigned i = 1; i < 60; i++)
        put(f, i);
    stop_between_packs_and_index(f, newest);
    AUTO(Compactor, compactor_free) c = NULL;
    CompactTurn turn = COMPACT_MORE;
    assert_ok(compactor_open(f->kit.store, &eager, &c, &err), &err);
    while (turn == COMPACT_MORE) {
        uint64_t read = 0;
        assert_ok(compactor_work(c, 64 * KIB, UINT64_MAX, &turn, &read, &err), &err);
        assert_true(status_of(f).pack < newest);
    }
    compactor_free(TAKE(c));
    apply_all(f);
    checkpoint(f);
    compact(f);
    check_files(f);
    check_truth(f);
}

static void test_changed_meanwhile(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    AUTO(Compactor, compactor_free) c = NULL;
    mostly_dead(f);
    assert_ok(compactor_open(f->kit.store, &eager, &c, &err), &err);
    until_move(c, f);
    for (unsigned i = 0; i < FILES; i += 10) { /* between reading and moving */
        if (i % 20 == 0)
            delete_file(f, i);
        else
            put(f, i);
    }
    apply_all(f);
    uint64_t moved = status_of(f).bytes_moved;
    assert_ok(store_compact(f->kit.store, compactor_step(c), &err), &err);
    compactor_done(c, OK);
    assert_true(status_of(f).bytes_moved - moved < BODY_LEN); /* tombstones at most */
    check_files(f);
    compact(f);
    check_files(f);
    check_truth(f);
}

static void test_reader_looks_again(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Str body;
    mostly_dead(f);
    StoreFound found = look_file(f->kit.reader, f->kit.buckets, STR("files"), STR("file-0010"));
    assert_false(found.in_log);
    compact(f);
    assert_code(store_body(f->kit.reader, &found, &body, &err), ERR_NOT_FOUND, &err);
    check_files(f);
}

/* A pack with damage is left alone and told; what can be read of it still can. */
static void test_damage_stays(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    mostly_dead(f);
    AUTO(File, disk_close) file = NULL;
    uint8_t byte = 0;
    assert_ok(disk_open(f->disk, "packs/1.pack", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, 60000, &byte, 1, &err), &err);
    byte ^= 1;
    assert_ok(disk_write(file, 60000, &byte, 1, &err), &err);
    compact(f);
    assert_int_equal(risk_places(f->kit.store->risk), 1);
    DiskStat stat;
    assert_ok(disk_stat(f->disk, "packs/1.pack", &stat, &err), &err);
    assert_true(stat.exists);
    assert_ok(disk_stat(f->disk, "packs/2.pack", &stat, &err), &err);
    assert_false(stat.exists);
    check_files(f); /* the flipped bit is in a dead record */
}

static void test_without_room(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CompactTurn turn = COMPACT_MORE;
    AUTO(Compactor, compactor_free) c = NULL;
    mostly_dead(f);
    size_t before = pack_count(f);
    assert_ok(compactor_open(f->kit.store, &eager, &c, &err), &err);
    while (turn == COMPACT_MORE) {
        uint64_t read = 0;
        assert_ok(compactor_work(c, MIB, 4096, &turn, &read, &err), &err);
    }
    assert_int_equal(turn, COMPACT_NOTHING);
    assert_int_equal(pack_count(f), before);
    for (unsigned i = 0; i < FILES; i += 10)
        delete_file(f, i);
    apply_all(f);
    checkpoint(f);
    /* Packs of nothing but dead bodies need none. */
    turn = COMPACT_MORE;
    for (int i = 0; i < 100 && turn != COMPACT_NOTHING; i++) {
        uint64_t read = 0;
        assert_ok(compactor_work(c, MIB, 4096, &turn, &read, &err), &err);
        if (turn != COMPACT_STEP) continue;
        assert_int_equal(compactor_step(c)->kind, COMPACT_RETIRE);
        assert_ok(store_compact(f->kit.store, compactor_step(c), &err), &err);
        compactor_done(c, OK);
    }
    checkpoint(f);
    assert_true(pack_count(f) < before);
    check_files(f);
    check_truth(f);
}

/* A step that fails for want of room changes nothing, and goes well later. */
static void test_failed_step(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    AUTO(Compactor, compactor_free) c = NULL;
    mostly_dead(f);
    assert_ok(compactor_open(f->kit.store, &eager, &c, &err), &err);
    until_move(c, f);
    for (unsigned i = 0; i < 2; i++) {
        fault_arm("disk.write", ENOSPC, 1, true);
        ErrCode code = store_compact(f->kit.store, compactor_step(c), &err);
        fault_reset();
        assert_code(code, ERR_NO_SPACE, &err);
        check_files(f);
    }
    compactor_done(c, ERR_NO_SPACE);
    assert_false(store_failed(f->kit.store));
    compact(f);
    check_files(f);
    check_truth(f);
}

/* An index made from what compaction left says the same, also of what was deleted and made anew. */
static void test_rebuilt(void **state)
{
    Fixture *f = *state;
    for (unsigned round = 0; round < 3; round++) {
        Err err = {0};
        old_and_deleted(f);
        for (unsigned i = 0; i < FILES; i += 9 - round)
            put(f, i);
        for (unsigned i = 0; i < 5; i++)
            put(f, i); /* CREATE behind a tombstone, then UPDATE of it */
        apply_all(f);
        checkpoint(f);
        compact(f);
        check_truth(f);
        node_kit_drop(&f->kit);
        f->up = false;
        disk_sim_kill(f->disk);
        assert_ok(index_remove(f->disk, &err), &err);
        start(f, 50 + round);
        check_files(f);
        check_truth(f);
        for (unsigned i = 0; i < FILES; i += 7) { /* nothing older shows behind what is deleted */
            if (f->version[i] != 0) delete_file(f, i);
        }
        apply_all(f);
        check_files(f);
        check_truth(f);
        for (unsigned i = 0; i < FILES; i++) {
            if (f->version[i] != 0) delete_file(f, i);
        }
        apply_all(f);
        BucketUid bucket = look_bucket(f->kit.buckets, STR("files"));
        BucketStatRow stat;
        assert_ok(store_bucket_stat(f->kit.reader, bucket, &stat, &err), &err);
        assert_int_equal(stat.files, 0);
    }
}

/* --- requests --- */

static void put_request(Fixture *f, unsigned i, RequestId id)
{
    char key[16];
    uint8_t body[BODY_LEN];
    AUTO_BUF(attrs, 256);
    Err err = {0};
    Mutation m;
    f->version[i]++;
    body_of(i, f->version[i], body);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = key_of(i, key);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_ID, str_of(id.bytes, sizeof id.bytes), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_HASH, str_of(body, SHA256_LEN), &err), &err);
    m.attrs = buf_str(&attrs);
    m.inline_body = str_of(body, BODY_LEN);
    m.size = BODY_LEN;
    m.digest = sha256_of(body, BODY_LEN);
    assert_ok(node_kit_do(&f->kit, &m), &m.err);
    mutation_deinit(&m);
}

/* The rows of all requests, one behind the other. */
static void request_rows(Fixture *f, Buf *out)
{
    Err err = {0};
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    buf_clear(out);
    assert_ok(index_reader_open(f->kit.store->index, &reader, &err), &err);
    assert_ok(index_scan(reader, STR("r"), &cursor, &err), &err);
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        assert_ok(index_next(cursor, &key, &value, &found, &err), &err);
        if (!found || (key.ptr[0] != 'r' && key.ptr[0] != 'x')) return;
        assert_ok(buf_append_str(out, key, &err), &err);
        assert_ok(buf_append_str(out, value, &err), &err);
    }
}

/* What was deleted or overwritten goes out of the packs, and an index made of what is left still
 * knows which requests there were, to the byte. */
static void test_requests_outlive_their_files(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Rng rng;
    AUTO_BUF(before, MIB);
    AUTO_BUF(after, MIB);
    rng_init(&rng, 1);
    for (unsigned i = 0; i < FILES; i++)
        put_request(f, i, id128_random(&rng));
    for (unsigned i = 0; i < FILES; i++) {
        if (i % 3 == 0)
            put_request(f, i, id128_random(&rng)); /* of an UPDATE, too */
        else
            delete_file(f, i);
    }
    for (unsigned i = 0; i < FILES; i += 3)
        delete_file(f, i);
    apply_all(f);
    checkpoint(f);
    request_rows(f, &before);
    assert_true(before.len > FILES * 100);
    size_t packs = pack_count(f);
    for (int i = 0; i < 3; i++) { /* also of what was moved before */
        compact(f);
        put(f, 0);
        apply_all(f);
        checkpoint(f);
    }
    assert_in_range(pack_count(f), 1, packs / 3);
    check_truth(f);
    node_kit_drop(&f->kit);
    f->up = false;
    disk_sim_kill(f->disk);
    assert_ok(index_remove(f->disk, &err), &err);
    start(f, 60);
    assert_true(f->kit.opened.index_rebuilt);
    request_rows(f, &after);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.data, before.data, before.len);
    check_files(f);
    check_truth(f);
}

/* --- a torn end --- */

static uint64_t pack_size(Fixture *f, const char *path)
{
    DiskStat stat;
    Err err = {0};
    assert_ok(disk_stat(f->disk, path, &stat, &err), &err);
    return stat.size;
}

/* The last batch of pack 1, files 15 and 16, of which the index was not told, looks as if a loss of
 * power had torn its first record only. */
static void tear_last_batch(Fixture *f)
{
    Err err = {0};
    size_t applied = 0;
    uint64_t size = pack_size(f, "packs/1.pack");
    put(f, 15);
    put(f, 16);
    fault_arm("disk.write", 28 /* ENOSPC */, 2, true); /* the index's; the packs' comes before */
    assert_code(store_apply(f->kit.store, 1000, &applied, &err), ERR_NO_SPACE, &err);
    fault_reset();
    assert_true(pack_size(f, "packs/1.pack") > size);
    node_kit_drop(&f->kit);
    f->up = false;
    disk_sim_crash(f->disk);
    assert_ok(disk_sim_flip(f->disk, "packs/1.pack", 8 * (size + PACK_MARK_LEN + 1000), &err),
              &err);
}

/* What stands whole behind a torn record is not taken for what the pack holds when everything that
 * came after it is gone: the log's part of it, its second record, and the tombstone. */
static void test_torn_end_does_not_come_back(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (unsigned i = 0; i < 15; i++)
        put(f, i);
    apply_all(f);
    tear_last_batch(f);
    start(f, 5);
    check_truth(f);
    for (unsigned i = 100; i < 130; i++)
        put(f, i);
    apply_all(f);
    delete_file(f, 16);
    for (unsigned i = 100; i < 130; i++)
        delete_file(f, i);
    for (unsigned round = 0; round < 4; round++) { /* the packs with the tombstones die, too */
        for (unsigned i = 200; i < 240; i++)
            put(f, i);
        apply_all(f);
        checkpoint(f);
        compact(f);
    }
    assert_true(status_of(f).tombstones_dropped > 0);
    assert_int_equal(risk_places(f->kit.store->risk), 0);
    check_files(f);
    assert_ok(node_kit_close(&f->kit, &err), &err);
    f->up = false;
    disk_sim_kill(f->disk); /* and its lock with it */
    assert_ok(index_remove(f->disk, &err), &err);
    start(f, 6);
    check_files(f);
    check_truth(f);
    compact(f);
    assert_int_equal(risk_places(f->kit.store->risk), 0);
}

/* A damaged pack is made again without what is dead, but with what is left of its requests. */
static void test_requests_outlive_damage(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Rng rng;
    AUTO_BUF(before, MIB);
    AUTO_BUF(after, MIB);
    rng_init(&rng, 1);
    for (unsigned i = 0; i < FILES; i++)
        put_request(f, i, id128_random(&rng));
    for (unsigned i = 0; i < FILES; i++) {
        if (i % 5 != 0) delete_file(f, i);
    }
    apply_all(f);
    checkpoint(f);
    compact(f);
    for (unsigned i = 1; i < 20; i += 5) /* dead ones that are not compacted yet */
        put_request(f, i, id128_random(&rng));
    for (unsigned i = 1; i < 20; i += 5)
        delete_file(f, i);
    put(f, 2); /* the one that is damaged, in the pack with what compaction left */
    apply_all(f);
    request_rows(f, &before);
    char key[16];
    StoreFound found = look_file(f->kit.reader, f->kit.buckets, STR("files"), key_of(2, key));
    assert_true(found.row.place.pack > 1);
    PackPlace place = found.row.place;
    ManualClock clock;
    clock_manual_init(&clock, 1700000000000);
    RebuildOptions options = {.root = f->kit.root, .clock = &clock.clock};
    RebuildReport report;
    assert_ok(node_kit_close(&f->kit, &err), &err);
    f->up = false;
    disk_sim_kill(f->disk);
    char path[PACK_PATH_MAX];
    pack_path(place.pack, path);
    assert_ok(disk_sim_flip(f->disk, path, 8 * (place.offset + 2000), &err), &err);
    assert_ok(rebuild_packs(f->disk, &options, &report, &err), &err);
    assert_int_equal(report.damaged_files, 1);
    assert_ok(index_remove(f->disk, &err), &err);
    start(f, 61);
    request_rows(f, &after);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.data, before.data, before.len);
    f->version[2] = 0; /* lost, as it was told */
    check_files(f);
    check_truth(f);
}

/* Killed, or without power, at any step. */
static void test_crash_between_steps(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    mostly_dead(f);
    for (unsigned stop = 1; stop < 40; stop++) {
        AUTO(Compactor, compactor_free) c = NULL;
        CompactTurn turn = COMPACT_MORE;
        unsigned steps = 0;
        assert_ok(compactor_open(f->kit.store, &eager, &c, &err), &err);
        while (turn != COMPACT_NOTHING && steps < stop) {
            uint64_t read = 0;
            assert_ok(compactor_work(c, 64 * KIB, UINT64_MAX, &turn, &read, &err), &err);
            if (turn != COMPACT_STEP) continue;
            assert_ok(store_compact(f->kit.store, compactor_step(c), &err), &err);
            compactor_done(c, OK);
            if (++steps % 3 == 0) checkpoint(f);
        }
        compactor_free(TAKE(c));
        node_kit_drop(&f->kit);
        f->up = false;
        if (stop % 2 == 0)
            disk_sim_crash(f->disk);
        else
            disk_sim_kill(f->disk);
        start(f, 100 + stop);
        check_files(f);
        check_truth(f);
        for (unsigned i = stop % 7; i < FILES; i += 7)
            put(f, i);
        for (unsigned i = stop % 3; i < FILES; i += 3) {
            if (f->version[i] != 0) delete_file(f, i);
        }
        apply_all(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_space_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tombstones_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dropped_tombstones_are_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tombstones_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_looks_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebuilt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_outlive_their_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_end_does_not_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_outlive_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_between_steps, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
