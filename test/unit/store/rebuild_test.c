/* An index made again from packs, blobs and log is the one that the applier made, row for row. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "pack_truth.h"
#include "rebuild_kit.h"
#include "store/store_priv.h"

#define ROWS_MAX (4 * MIB)

/* Says where two dumps part. */
static bool same_rows(const Buf *a, const Buf *b)
{
    if (a->len == b->len && memcmp(a->data, b->data, a->len) == 0) return true;
    size_t at = 0;
    while (at < a->len && at < b->len && a->data[at] == b->data[at])
        at++;
    print_message("%zu and %zu bytes of rows part at %zu\n", a->len, b->len, at);
    return false;
}

/* Applies, checkpoints, crashes inside these, at random. */
static void live(RebuildKit *kit, unsigned steps)
{
    Err err = {0};
    for (unsigned i = 0; i < steps; i++) {
        unsigned pick = (unsigned)rng_below(&kit->rng, 40);
        if (pick == 0) {
            assert_ok(store_checkpoint(kit->store, &err), &err);
        } else if (pick < 4) {
            assert_ok(rebuild_kit_apply(kit, 1 + rng_below(&kit->rng, 30), &err), &err);
        } else if (pick == 4 && rng_below(&kit->rng, 4) == 0) {
            /* Between packs and index, say. */
            disk_sim_stop_at(kit->disk, rng_below(&kit->rng, 12));
            ErrCode code = rebuild_kit_apply(kit, 20, &err);
            if (code == OK) code = store_checkpoint(kit->store, &err);
            disk_sim_stop_at(kit->disk, UINT64_MAX);
            rebuild_kit_stop(kit, rng_below(&kit->rng, 2) == 0);
            assert_ok(rebuild_kit_open(kit, &err), &err);
        } else {
            assert_ok(rebuild_kit_change(kit, &err), &err);
        }
    }
}

/* After a crash the packs may be ahead of the index, and bodies that were unlinked may be back. */
static void settle(RebuildKit *kit)
{
    Err err = {0};
    uint64_t removed = 0;
    assert_ok(rebuild_kit_apply(kit, SIZE_MAX, &err), &err);
    assert_ok(store_checkpoint(kit->store, &err), &err);
    assert_ok(store_sweep_orphans(kit->store, &removed, &err), &err);
}

/* Rebuilds, and compares with the rows of before. */
static bool rebuild_and_compare(RebuildKit *kit)
{
    Err err = {0};
    RebuildReport report;
    RebuildOptions options = rebuild_kit_options(kit);
    AUTO_BUF(before, ROWS_MAX);
    AUTO_BUF(after, ROWS_MAX);
    rebuild_kit_dump(kit->disk, true, &before);
    assert_ok(rebuild_index(kit->disk, &options, &report, &err), &err);
    rebuild_kit_dump(kit->disk, true, &after);
    assert_int_equal(report.lost_entries, 0);
    assert_int_equal(report.damaged_bytes, 0);
    return same_rows(&before, &after);
}

static void test_same_rows(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 60; seed += TSAN_STRIDE) {
        RebuildKit kit;
        Err err = {0};
        rebuild_kit_init(&kit, seed);
        assert_ok(rebuild_kit_open(&kit, &err), &err);
        live(&kit, 60 + (unsigned)(seed % 5) * 150);
        settle(&kit);
        for (uint64_t i = 0; i < seed % 4 * 10; i++)
            assert_ok(rebuild_kit_change(&kit, &err), &err);
        if (seed % 2 == 0) assert_ok(rebuild_kit_apply(&kit, 7, &err), &err);
        if (seed % 6 == 0) assert_ok(store_close(kit.store, &err), &err);
        rebuild_kit_stop(&kit, false);
        bool same = rebuild_and_compare(&kit);
        if (!same) print_message("seed %d\n", (int)seed);
        assert_true(same);
        assert_ok(rebuild_kit_open(&kit, &err), &err); /* log and new index join */
        live(&kit, 50);
        rebuild_kit_stop(&kit, true);
        assert_ok(rebuild_kit_open(&kit, &err), &err);
        rebuild_kit_deinit(&kit);
    }
}

/* A root with all applied, the same each time. */
static void make_root(RebuildKit *kit, uint64_t seed, unsigned steps)
{
    Err err = {0};
    rebuild_kit_init(kit, seed);
    assert_ok(rebuild_kit_open(kit, &err), &err);
    live(kit, steps);
    settle(kit);
    assert_ok(store_close(kit->store, &err), &err);
    rebuild_kit_stop(kit, false);
}

typedef ErrCode Rebuild(Disk *disk, const RebuildOptions *options, RebuildReport *report, Err *err);

/* Rebuilds on a disk that stops before operation `stop`, by a kill or, every other time, by a loss
 * of power. false: it was done before that. */
static bool cut_off(Disk *disk, Rebuild *rebuild, const RebuildOptions *options, uint64_t stop)
{
    RebuildReport report;
    Err err = {0};
    disk_sim_stop_at(disk, stop);
    ErrCode code = rebuild(disk, options, &report, &err);
    bool cut = disk_sim_stopped(disk);
    assert_true(code == OK || cut);
    disk_sim_stop_at(disk, UINT64_MAX);
    if (stop % 2 == 0)
        disk_sim_kill(disk);
    else
        disk_sim_crash(disk);
    return cut;
}

/* Stopped before each of its disk operations, by a kill or a loss of power, and run again: by the
 * command or, every other time, by the start of the store. */
static void test_cut_off_anywhere(void **state)
{
    UNUSED(state);
    bool cut = true;
    uint64_t stop = 0;
    for (; cut; stop += TSAN_STRIDE) {
        RebuildKit kit;
        RebuildReport report;
        Err err = {0};
        AUTO_BUF(before, ROWS_MAX);
        AUTO_BUF(after, ROWS_MAX);
        make_root(&kit, 5, 150);
        rebuild_kit_dump(kit.disk, false, &before);
        RebuildOptions options = rebuild_kit_options(&kit);
        cut = cut_off(kit.disk, rebuild_index, &options, stop);
        if (stop % 3 == 0) {
            assert_ok(rebuild_kit_open(&kit, &err), &err);
            rebuild_kit_stop(&kit, false);
        } else {
            assert_ok(rebuild_index(kit.disk, &options, &report, &err), &err);
        }
        rebuild_kit_dump(kit.disk, false, &after);
        assert_true(same_rows(&before, &after));
        rebuild_kit_deinit(&kit);
    }
    assert_true(stop > 20);
}

/* root.json once there is one: the log's rebuild writes it. */
static RebuildOptions options_now(RebuildKit *kit)
{
    Err err = {0};
    RootInfo info;
    if (root_read(kit->disk, &info, &err) == OK) kit->root = info;
    RebuildOptions options = rebuild_kit_options(kit);
    options.accept_loss = true;
    return options;
}

/* The log's rebuild, the same. The head of the active segment is damaged. */
static void test_log_cut_off_anywhere(void **state)
{
    UNUSED(state);
    bool cut = true;
    uint64_t stop = 0;
    for (; cut; stop += TSAN_STRIDE) {
        RebuildKit kit;
        RebuildReport report;
        Err err = {0};
        AUTO_BUF(before, ROWS_MAX);
        AUTO_BUF(after, ROWS_MAX);
        make_root(&kit, 5, 60);
        rebuild_kit_dump(kit.disk, false, &before);
        assert_ok(disk_sim_flip(kit.disk, "wal.active", 8 * 20, &err), &err);
        RebuildOptions options = options_now(&kit);
        cut = cut_off(kit.disk, rebuild_wal, &options, stop);
        options = options_now(&kit);
        ErrCode code = rebuild_wal(kit.disk, &options, &report, &err);
        assert_true(code == OK || code == ERR_PRECONDITION);
        rebuild_kit_dump(kit.disk, false, &after);
        assert_true(same_rows(&before, &after));
        options = options_now(&kit);
        assert_ok(rebuild_kit_open(&kit, &err), &err);
        live(&kit, 20);
        rebuild_kit_deinit(&kit);
    }
    assert_true(stop > 20);
}

typedef struct {
    unsigned skip; /* bodies before it */
    PackPlace place;
} NthBody;

static ErrCode take_nth(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    UNUSED(err);
    NthBody *out = ctx;
    if (record->type != PACK_BODY) return OK;
    if (out->skip > 0)
        out->skip--;
    else if (out->place.length == 0)
        out->place = *place;
    return OK;
}

/* The place of the nth body in the oldest pack. */
static PackPlace nth_body(RebuildKit *kit, unsigned nth)
{
    Err err = {0};
    uint64_t torn = 0;
    Packs *packs = NULL;
    NthBody body = {.skip = nth};
    PacksOptions options = {.root = kit->root.uuid, .clock = &kit->clock.clock};
    assert_ok(packs_open(kit->disk, &options, &packs, &err), &err);
    assert_ok(packs_scan(packs, 1, take_nth, &body, &torn, &err), &err);
    packs_free(packs);
    assert_true(body.place.length > 0);
    return body.place;
}

/* Rebuilds the packs of a root with one damaged body, cut off at stop, and runs it again. */
static bool packs_cut_at(uint64_t stop, uint64_t *damaged)
{
    RebuildKit kit;
    RebuildReport report;
    Err err = {0};
    make_root(&kit, 7, 200);
    PackPlace place = nth_body(&kit, 0);
    assert_ok(disk_sim_flip(kit.disk, "packs/1.pack", 8 * (place.offset + 40), &err), &err);
    RebuildOptions options = rebuild_kit_options(&kit);
    bool cut = cut_off(kit.disk, rebuild_packs, &options, stop);
    assert_ok(rebuild_packs(kit.disk, &options, &report, &err), &err);
    *damaged = report.damaged_files;
    /* Each row that names a pack now names a good record, but for those that are told. */
    assert_ok(rebuild_packs(kit.disk, &options, &report, &err), &err);
    assert_int_equal(report.damaged_files, *damaged);
    assert_int_equal(report.applied, 0);
    assert_ok(rebuild_kit_open(&kit, &err), &err);
    live(&kit, 20);
    rebuild_kit_deinit(&kit);
    return cut;
}

static void test_packs_cut_off_anywhere(void **state)
{
    UNUSED(state);
    uint64_t stops = 0;
    uint64_t whole = 0;
    uint64_t damaged = 0;
    assert_false(packs_cut_at(1000000, &whole));
    for (bool cut = true; cut; stops += TSAN_STRIDE) {
        cut = packs_cut_at(stops, &damaged);
        assert_int_equal(damaged, whole);
    }
    assert_true(stops > 10);
}

/* Files whose body is lost when a bit of the nth body's record, `at` bytes into it, is wrong. */
static uint64_t lost_with(unsigned nth, uint64_t at)
{
    RebuildKit kit;
    RebuildReport report;
    Err err = {0};
    rebuild_kit_init(&kit, 9);
    assert_ok(rebuild_kit_open(&kit, &err), &err);
    for (int i = 0; i < 40; i++)
        assert_ok(rebuild_kit_change(&kit, &err), &err);
    assert_ok(rebuild_kit_apply(&kit, SIZE_MAX, &err), &err); /* one batch */
    assert_ok(store_close(kit.store, &err), &err);
    rebuild_kit_stop(&kit, false);
    PackPlace place = nth_body(&kit, nth);
    assert_ok(disk_unlink(kit.disk, "wal.active", &err), &err); /* which would mend it */
    assert_ok(disk_sim_flip(kit.disk, "packs/1.pack", 8 * (place.offset + at), &err), &err);
    RebuildOptions options = rebuild_kit_options(&kit);
    assert_ok(rebuild_packs(kit.disk, &options, &report, &err), &err);
    rebuild_kit_deinit(&kit);
    return report.damaged_files;
}

/* Where the head of a damaged record is gone, and with it its length, those behind it in its batch
 * are kept all the same: rows say where they are. */
static void test_what_stands_behind_damage_is_kept(void **state)
{
    UNUSED(state);
    uint64_t lost = 0;
    for (unsigned nth = 0; nth < 12; nth++) {
        uint64_t with_head = lost_with(nth, 40);
        assert_int_equal(lost_with(nth, 0), with_head);
        lost += with_head;
    }
    assert_true(lost > 0);
}

static void count_loss(void *ctx, const RebuildLoss *loss)
{
    unsigned *counts = ctx;
    counts[loss->kind]++;
}

/* What no pack and no log holds is told, and nothing is touched until that is accepted. */
static void test_losses(void **state)
{
    UNUSED(state);
    RebuildKit kit;
    RebuildReport report;
    DiskStat stat;
    Err err = {0};
    unsigned counts[4] = {0};
    make_root(&kit, 7, 300);
    PackPlace place = nth_body(&kit, 0);
    assert_ok(disk_sim_flip(kit.disk, "packs/1.pack", 8 * (place.offset + 40), &err), &err);
    RebuildOptions options = rebuild_kit_options(&kit);
    options.loss = count_loss;
    options.ctx = counts;
    assert_code(rebuild_index(kit.disk, &options, &report, &err), ERR_CORRUPT, NULL);
    assert_int_equal(report.lost_entries, 1);
    assert_int_equal(report.damaged_bytes, place.length);
    assert_int_equal(counts[REBUILD_LOST_ENTRIES], 1);
    assert_int_equal(counts[REBUILD_DAMAGED_PACK], 1);
    assert_ok(disk_stat(kit.disk, "quarantine/index.db.1", &stat, &err), &err);
    assert_false(stat.exists);
    options.accept_loss = true;
    assert_ok(rebuild_index(kit.disk, &options, &report, &err), &err);
    assert_ok(disk_stat(kit.disk, "quarantine/index.db.1", &stat, &err), &err);
    assert_true(stat.exists);
    assert_ok(rebuild_kit_open(&kit, &err), &err);
    rebuild_kit_deinit(&kit);
}

/* The last batch of packs has a bad record, as when a crash cut it off; the log holds all. The new
 * index names nothing behind it: compaction reads the pack up to there, and would take such a row
 * for proof of damage. */
static void mend_from_log(unsigned nth)
{
    RebuildKit kit;
    RebuildReport report;
    Err err = {0};
    rebuild_kit_init(&kit, 9);
    assert_ok(rebuild_kit_open(&kit, &err), &err);
    for (int i = 0; i < 40; i++)
        assert_ok(rebuild_kit_change(&kit, &err), &err);
    assert_ok(rebuild_kit_apply(&kit, SIZE_MAX, &err), &err); /* one batch, and not cut */
    rebuild_kit_stop(&kit, false);
    PackPlace place = nth_body(&kit, nth);
    assert_ok(disk_sim_flip(kit.disk, "packs/1.pack", 8 * (place.offset + 40), &err), &err);
    RebuildOptions options = rebuild_kit_options(&kit);
    assert_ok(rebuild_index(kit.disk, &options, &report, &err), &err);
    assert_int_equal(report.lost_entries, 0);
    assert_true(report.applied < report.records);
    assert_ok(rebuild_kit_open(&kit, &err), &err);
    assert_true(kit.opened.unapplied > 0);
    assert_ok(rebuild_kit_apply(&kit, SIZE_MAX, &err), &err);
    CompactOptions compact = {.dead_percent = 1};
    size_t steps = 0;
    assert_ok(compact_all(kit.store, &compact, &steps, &err), &err);
    assert_true(steps > 0);
    assert_int_equal(risk_places(kit.store->risk), 0);
    rebuild_kit_deinit(&kit);
}

/* Damage to what the log still holds loses nothing: it is applied from there again. */
static void test_damage_that_the_log_mends(void **state)
{
    UNUSED(state);
    for (unsigned nth = 0; nth < 10; nth++)
        mend_from_log(nth);
}

static bool found_planted(const char *name)
{
    bool same = true;
    for (uint64_t seed = 1; seed <= 20 && same; seed++) {
        RebuildKit kit;
        Err err = {0};
        rebuild_kit_init(&kit, seed);
        assert_ok(rebuild_kit_open(&kit, &err), &err);
        live(&kit, 200);
        settle(&kit);
        rebuild_kit_stop(&kit, false);
        fault_plant(name, true);
        same = rebuild_and_compare(&kit);
        fault_reset();
        rebuild_kit_deinit(&kit);
    }
    return !same;
}

static void test_planted(void **state)
{
    UNUSED(state);
    assert_true(found_planted("rebuild-without-tombstones"));
    assert_true(found_planted("rebuild-oldest-wins"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_rows),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_log_cut_off_anywhere),
        cmocka_unit_test(test_packs_cut_off_anywhere),
        cmocka_unit_test(test_what_stands_behind_damage_is_kept),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_damage_that_the_log_mends),
        cmocka_unit_test(test_planted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
