/* Mending: what one of three roots has damaged comes from another, wherever in its packs and blobs
 * it stands, and is off the list only when it was read back. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"
#include "look.h"
#include "pack_truth.h"
#include "roots_kit.h"
#include "store/compare.h"
#include "store/mend_priv.h"
#include "store/rows.h"
#include "store/scrub.h"

#define ROOTS 3
#define FILES 40
#define BODY_LEN 3000
#define OWN 1 /* the root that is mended */

typedef struct {
    Disk *disks[ROOTS];
    ManualClock clock;
    RootsKit kit;
    Mender *mender;
    unsigned version[FILES];
    unsigned jobs;    /* handed to the applier */
    unsigned stop;    /* at that one; 0: never */
    bool overwrite;   /* file 3 is, before the next job */
    unsigned holders; /* of all classes, as MenderOptions has it; 0: all */
    uint64_t paced;
} Fixture;

static Store *own(Fixture *f)
{
    return f->kit.roots[OWN].store;
}

static Str key_of(unsigned i, char out[16])
{
    snprintf(out, 16, "f%03u", i);
    return str_from_cstr(out);
}

static void put(Fixture *f, unsigned i)
{
    char key[16];
    Err err = {0};
    uint8_t body[BODY_LEN];
    f->version[i]++;
    random_bytes(i * 100 + f->version[i], body, sizeof body);
    assert_ok(roots_kit_put(&f->kit, key_of(i, key), str_of(body, sizeof body), 5000, &err), &err);
}

static void apply_all(Fixture *f)
{
    Err err = {0};
    roots_kit_wait(&f->kit, 1000); /* each learns what is committed */
    for (unsigned r = 0; r < ROOTS; r++)
        assert_ok(roots_kit_apply(&f->kit, r, &err), &err);
}

static bool on_applier(void *ctx, void (*fn)(void *arg), void *arg)
{
    Fixture *f = ctx;
    if (++f->jobs == f->stop) return false;
    if (f->overwrite) {
        f->overwrite = false;
        put(f, 3);
        apply_all(f);
    }
    fn(arg);
    return true;
}

static bool pace(void *ctx, uint64_t bytes)
{
    Fixture *f = ctx;
    f->paced += bytes;
    return true;
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    fault_reset();
    clock_manual_init(&f->clock, 1700000000000);
    RootsKitOptions options = {.seed = 7, .shards = 2, .clock = &f->clock};
    roots_kit_disks(f->disks, ROOTS);
    roots_kit_start(&f->kit, f->disks, ROOTS, &options, 20000);
    for (unsigned i = 0; i < FILES; i++)
        put(f, i);
    apply_all(f);
    MenderOptions mender = {.sources = {f->kit.roots[0].store, f->kit.roots[2].store},
                            .source_count = 2,
                            .on_applier = on_applier,
                            .pace = pace,
                            .ctx = f};
    f->mender = mender_new(own(f), &mender);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    fault_reset();
    mender_free(f->mender);
    roots_kit_end(&f->kit, f->disks, ROOTS);
    mem_free(f);
    return 0;
}

static StoreFound find(Fixture *f, unsigned r, unsigned i)
{
    char key[16];
    StoreFound found = look_file(f->kit.roots[r].reader, f->kit.buckets, STR("files"),
                                 key_of(i, key));
    assert_false(found.in_log);
    return found;
}

static void flip(Fixture *f, unsigned r, unsigned i)
{
    char path[PACK_PATH_MAX];
    Err err = {0};
    StoreFound found = find(f, r, i);
    assert_int_not_equal(found.row.place.pack, 0);
    pack_path(found.row.place.pack, path);
    uint64_t byte = found.row.place.offset + found.row.place.length - 100;
    assert_ok(disk_sim_flip(f->disks[r], path, 8 * byte, &err), &err);
}

/* As a client, who does not see the list. */
static ErrCode get(Fixture *f, unsigned r, unsigned i)
{
    char key[16];
    uint8_t body[BODY_LEN];
    AUTO_BUF(got, INLINE_MAX);
    Err err = {0};
    ErrCode code = roots_kit_get(&f->kit, r, key_of(i, key), &got, &err);
    if (code != OK) return code;
    random_bytes(i * 100 + f->version[i], body, sizeof body);
    assert_true(str_eq(buf_str(&got), str_of(body, sizeof body)));
    return OK;
}

static size_t look(Fixture *f)
{
    Err err = {0};
    size_t mended = 0;
    assert_ok(mender_look(f->mender, &mended, &err), &err);
    return mended;
}

static size_t at_risk(Fixture *f)
{
    return risk_files(store_risk(own(f))) + risk_places(store_risk(own(f)));
}

/* All is read again, past caches; what is damaged is listed. */
static void scrub(Fixture *f)
{
    Err err = {0};
    ScrubOptions options = {.period_ms = 1000000, .rate_min = GIB, .rate_max = GIB};
    ScrubStatus status;
    AUTO(Scrub, scrub_free) scrub = NULL;
    assert_ok(scrub_open(own(f), &options, &scrub, &err), &err);
    scrub_start(scrub);
    do {
        uint64_t read = 0;
        uint64_t rest_ms = 0;
        assert_ok(scrub_work(scrub, MIB, &read, &rest_ms, &err), &err);
        if (scrub_doubts(scrub)) scrub_settle(scrub);
        scrub_status(scrub, &status);
    } while (status.area != SCRUB_WAITING);
}

static void whole_in_the_end(Fixture *f)
{
    Err err = {0};
    apply_all(f);
    assert_int_equal(at_risk(f), 0);
    scrub(f); /* records that nobody needs may be damaged: their pack goes */
    look(f);
    apply_all(f);
    scrub(f);
    assert_int_equal(at_risk(f), 0);
    for (unsigned i = 0; i < FILES; i++)
        assert_int_equal(get(f, OWN, i), OK);
    assert_ok(pack_truth_check(own(f), &err), &err);
}

static void nothing_to_do(void **state)
{
    Fixture *f = *state;
    assert_int_equal(look(f), 0);
    assert_int_equal(f->jobs, 0);
}

static void a_body_comes_from_another_root(void **state)
{
    Fixture *f = *state;
    MenderStatus status;
    flip(f, OWN, 5);
    PackPlace before = find(f, OWN, 5).row.place;
    assert_int_equal(get(f, OWN, 5), ERR_FILE_DAMAGED);
    assert_int_equal(at_risk(f), 1);
    assert_int_equal(look(f), 1);
    assert_int_equal(at_risk(f), 0);
    PackPlace after = find(f, OWN, 5).row.place;
    assert_true(after.pack != before.pack || after.offset != before.offset);
    assert_int_equal(get(f, OWN, 5), OK);
    mender_status(f->mender, &status);
    assert_int_equal(status.files, 1);
    assert_int_equal(status.helpless, 0);
    assert_true(status.entry_ms >= 1 && status.bytes >= BODY_LEN && f->paced > 0);
}

/* The first other root has it damaged, too. */
static void a_damaged_source_is_passed_over(void **state)
{
    Fixture *f = *state;
    flip(f, OWN, 5);
    flip(f, 0, 5);
    assert_int_equal(get(f, OWN, 5), ERR_FILE_DAMAGED);
    assert_int_equal(look(f), 1);
    assert_int_equal(get(f, OWN, 5), OK);
}

static void what_no_root_has_stays_listed(void **state)
{
    Fixture *f = *state;
    MenderStatus status;
    for (unsigned r = 0; r < ROOTS; r++)
        flip(f, r, 5);
    assert_int_equal(get(f, OWN, 5), ERR_FILE_DAMAGED);
    assert_int_equal(look(f), 0);
    assert_int_equal(at_risk(f), 1);
    mender_status(f->mender, &status);
    assert_int_equal(status.helpless, 1);
    scrub(f); /* its pack can't go either */
    assert_int_equal(look(f), 0);
    assert_int_equal(at_risk(f), 2);
    assert_int_equal(get(f, OWN, 6), OK);
}

static void what_moved_meanwhile_is_left(void **state)
{
    Fixture *f = *state;
    flip(f, OWN, 3);
    assert_int_equal(get(f, OWN, 3), ERR_FILE_DAMAGED);
    f->overwrite = true;
    assert_int_equal(look(f), 0);
    assert_int_equal(get(f, OWN, 3), OK);
    whole_in_the_end(f);
}

/* All of the records but the first some, so that tombstones and rows without a body are hit. */
static void overwrite_pack(Fixture *f, uint64_t pack)
{
    Err err = {0};
    char path[PACK_PATH_MAX];
    uint8_t junk[4096];
    AUTO(File, disk_close) file = NULL;
    uint64_t size = 0;
    pack_path(pack, path);
    memset(junk, '?', sizeof junk);
    assert_ok(disk_open(f->disks[OWN], path, DISK_OPEN_READ, &file, &err), &err);
    assert_ok(disk_size(file, &size, &err), &err);
    for (uint64_t at = 16384; at + sizeof junk <= size; at += 3 * sizeof junk)
        assert_ok(disk_sim_damage(f->disks[OWN], path, at, str_of(junk, sizeof junk), &err), &err);
}

static void a_pack_is_written_anew(void **state)
{
    Fixture *f = *state;
    MenderStatus status;
    uint64_t pack = find(f, OWN, 20).row.place.pack;
    overwrite_pack(f, pack);
    scrub(f);
    assert_true(risk_places(store_risk(own(f))) > 0);
    look(f);
    mender_status(f->mender, &status);
    assert_int_equal(status.packs, 1);
    for (unsigned i = 0; i < FILES; i++)
        assert_int_not_equal(find(f, OWN, i).row.place.pack, pack);
    whole_in_the_end(f);
}

static void a_pack_that_is_gone(void **state)
{
    Fixture *f = *state;
    char path[PACK_PATH_MAX];
    Err err = {0};
    uint64_t pack = find(f, OWN, 20).row.place.pack;
    put(f, 2); /* so that there is a newer one */
    apply_all(f);
    pack_path(pack, path);
    assert_ok(disk_unlink(f->disks[OWN], path, &err), &err);
    assert_ok(packs_leave(own(f)->packs, &err), &err);
    put(f, 4);
    apply_all(f);
    scrub(f);
    assert_true(at_risk(f) > 0);
    look(f);
    whole_in_the_end(f);
}

/* Older contents stand in a pack before the one whose records are lost: they stay ended. */
static void what_was_overwritten_stays_so(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_ok(packs_leave(own(f)->packs, &err), &err);
    for (unsigned i = 0; i < FILES; i++)
        put(f, i);
    apply_all(f);
    overwrite_pack(f, find(f, OWN, 20).row.place.pack);
    scrub(f);
    look(f);
    whole_in_the_end(f);
}

static void it_stops_when_told(void **state)
{
    Fixture *f = *state;
    flip(f, OWN, 5);
    overwrite_pack(f, find(f, OWN, 20).row.place.pack);
    scrub(f);
    for (f->stop = 1; f->stop < 100; f->stop++) {
        Err err = {0};
        size_t mended = 0;
        f->jobs = 0;
        ErrCode code = mender_look(f->mender, &mended, &err);
        if (code == OK) break;
        assert_int_equal(code, ERR_SHUTTING_DOWN);
    }
    assert_true(f->stop > 3 && f->stop < 100);
    f->stop = 0;
    look(f);
    whole_in_the_end(f);
}

static void a_failed_step_is_told(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    size_t mended = 0;
    flip(f, OWN, 5);
    assert_int_equal(get(f, OWN, 5), ERR_FILE_DAMAGED);
    fault_arm("mend.step", EIO, 1, false);
    assert_int_equal(mender_look(f->mender, &mended, &err), ERR_IO);
    assert_true(store_failed(own(f)));
    assert_int_equal(at_risk(f), 1);
    err_clear(&err);
    assert_ok(mender_look(f->mender, &mended, &err), &err); /* nothing more is tried */
    assert_int_equal(at_risk(f), 1);
}

/* --- rows that differ --- */

static Str row_key_of(Fixture *f, unsigned r, unsigned i, uint8_t out[ROW_KEY_MAX])
{
    char key[16];
    StoreFound found = find(f, r, i);
    return str_of(out, row_key_name(out, found.bucket, key_of(i, key), found.row.version));
}

/* As a bug would, that loses a row when it is applied. */
static void lose_row(Fixture *f, unsigned r, unsigned i)
{
    Err err = {0};
    Store *store = f->kit.roots[r].store;
    uint8_t bytes[ROW_KEY_MAX];
    char key[16];
    StoreFound found = find(f, r, i);
    Str row_key = row_key_of(f, r, i, bytes);
    Rows rows;
    assert_ok(index_begin(store->index, &err), &err);
    rows_begin(&rows, store->index, &store->value_buf);
    assert_ok(rows_drop_version(&rows, found.bucket, key_of(i, key), row_key, &found.row, &err),
              &err);
    assert_ok(rows_flush(&rows, &err), &err);
    assert_ok(index_commit(store->index, &err), &err);
}

/* The same of one that gets a row wrong. */
static void spoil_row(Fixture *f, unsigned r, unsigned i)
{
    Err err = {0};
    Store *store = f->kit.roots[r].store;
    uint8_t bytes[ROW_KEY_MAX];
    StoreFound found = find(f, r, i);
    Str row_key = row_key_of(f, r, i, bytes);
    FileRow row = found.row;
    row.digest.bytes[0] ^= 1;
    assert_ok(index_begin(store->index, &err), &err);
    assert_ok(store_put_row(store, bytes, row_key.len, &row, &err), &err);
    assert_ok(index_commit(store->index, &err), &err);
}

static unsigned holders(void *ctx, unsigned class_number)
{
    const Fixture *f = ctx;
    UNUSED(class_number);
    return f->holders;
}

/* With the first count others. */
static CompareStatus compare_with(Fixture *f, unsigned r, unsigned count)
{
    Err err = {0};
    CompareStatus status;
    MenderOptions options = {.on_applier = on_applier, .pace = pace, .ctx = f};
    if (f->holders != 0) options.holders = holders;
    for (unsigned i = 0; i < ROOTS && options.source_count < count; i++) {
        if (i != r) options.sources[options.source_count++] = f->kit.roots[i].store;
    }
    AUTO(Comparer, comparer_free) comparer = comparer_new(f->kit.roots[r].store, &options);
    assert_ok(comparer_pass(comparer, &err), &err);
    comparer_status(comparer, &status);
    return status;
}

static CompareStatus compare(Fixture *f, unsigned r)
{
    return compare_with(f, r, ROOTS - 1);
}

static uint64_t counted(Fixture *f, unsigned r)
{
    Err err = {0};
    BucketStatRow all;
    assert_ok(store_totals(f->kit.roots[r].store, &all, &err), &err);
    return all.files;
}

static void roots_are_alike(void **state)
{
    Fixture *f = *state;
    for (unsigned i = 0; i < FILES; i += 3)
        put(f, i);
    apply_all(f);
    for (unsigned r = 0; r < ROOTS; r++) {
        CompareStatus status = compare(f, r);
        assert_true(status.rows >= FILES);
        assert_int_equal(status.differences + status.unsettled, 0);
    }
    assert_int_equal(f->jobs, 0);
}

/* Any root may be the one, the lead too: the two others decide. */
static void rows_that_are_lost_or_wrong(void **state)
{
    Fixture *f = *state;
    for (unsigned r = 0; r < ROOTS; r++) {
        uint64_t files = counted(f, r);
        lose_row(f, r, 5);
        lose_row(f, r, FILES - 1);
        spoil_row(f, r, 7);
        assert_int_equal(counted(f, r), files - 2);
        assert_int_equal(get(f, r, 5), ERR_NOT_FOUND);
        assert_int_equal(compare(f, (r + 1) % ROOTS).differences, 0);
        CompareStatus status = compare(f, r);
        assert_int_equal(status.differences, 3);
        assert_int_equal(status.mended, 3);
        for (unsigned i = 0; i < FILES; i++)
            assert_int_equal(get(f, r, i), OK);
        assert_int_equal(counted(f, r), files);
        assert_int_equal(compare(f, r).differences, 0);
    }
}

static void a_row_that_only_one_has(void **state)
{
    Fixture *f = *state;
    uint64_t files = counted(f, OWN);
    lose_row(f, 0, 5);
    lose_row(f, 2, 5);
    CompareStatus status = compare(f, OWN);
    assert_int_equal(status.differences, 1);
    assert_int_equal(status.mended, 1);
    assert_int_equal(get(f, OWN, 5), ERR_NOT_FOUND);
    assert_int_equal(counted(f, OWN), files - 1);
    assert_int_equal(compare(f, 0).differences, 0);
}

/* Three roots, three opinions: nobody is asked to believe another. */
static void no_two_agree(void **state)
{
    Fixture *f = *state;
    lose_row(f, 0, 5);
    spoil_row(f, OWN, 5);
    for (unsigned r = 0; r < ROOTS; r++) {
        CompareStatus status = compare(f, r);
        assert_int_equal(status.differences, 1);
        assert_int_equal(status.undecided, 1);
        assert_int_equal(status.mended, 0);
    }
    assert_int_equal(get(f, 0, 5), ERR_NOT_FOUND);
    assert_int_equal(f->jobs, 0);
}

/* Of two roots nobody says which is wrong: both tell of it, and neither is changed. */
static void of_two_none_is_believed(void **state)
{
    Fixture *f = *state;
    assert_int_equal(compare_with(f, 0, 1).differences, 0);
    lose_row(f, 0, 5);
    spoil_row(f, OWN, 7);
    for (unsigned r = 0; r <= OWN; r++) {
        CompareStatus status = compare_with(f, r, 1); /* roots 0 and 1 */
        assert_int_equal(status.differences, 2);
        assert_int_equal(status.undecided, 2);
        assert_int_equal(status.mended, 0);
    }
    assert_int_equal(f->jobs, 0);
    assert_int_equal(get(f, 0, 5), ERR_NOT_FOUND);
    assert_int_equal(get(f, OWN, 5), OK);
}

/* A class of which one root, or two, are to have the files: the others lack nothing. */
static void who_has_no_class_lacks_nothing(void **state)
{
    Fixture *f = *state;
    lose_row(f, 2, 5);
    f->holders = 1 | 2; /* the own root and the first other one */
    assert_int_equal(compare(f, 0).differences, 0);
    assert_int_equal(compare(f, 2).undecided, 1);
    f->holders = 2 | 4; /* the others only */
    assert_int_equal(compare(f, 2).differences, 0);
    f->holders = 1;
    assert_int_equal(compare(f, 2).differences, 0);
    f->holders = 0;
    assert_int_equal(compare(f, 2).mended, 1);
}

/* Indexes that were made of packs may both lack what the third has: they don't say what is right.
 */
static void who_was_remade_decides_nothing(void **state)
{
    Fixture *f = *state;
    lose_row(f, 0, 5);
    lose_row(f, 2, 5);
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        StoreShard *shard = f->kit.roots[2].store->shards[i];
        if (shard != NULL) shard->remade = true;
    }
    CompareStatus status = compare(f, OWN);
    assert_int_equal(status.undecided, 1);
    assert_int_equal(status.mended, 0);
    assert_int_equal(get(f, OWN, 5), OK);
}

/* Another root has applied more: that is no difference. */
static void who_is_behind_is_not_wrong(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    put(f, 3);
    put(f, 4);
    roots_kit_wait(&f->kit, 1000);
    assert_ok(roots_kit_apply(&f->kit, 0, &err), &err);
    assert_ok(roots_kit_apply(&f->kit, 2, &err), &err);
    CompareStatus status = compare(f, OWN);
    assert_int_equal(status.differences, 0);
    assert_true(status.unsettled > 0);
    apply_all(f);
    assert_int_equal(compare(f, OWN).unsettled, 0);
    assert_int_equal(get(f, OWN, 3), OK);
}

/* The row is looked at, then the file is overwritten before the applier has the step. */
static void what_was_applied_meanwhile_is_left(void **state)
{
    Fixture *f = *state;
    lose_row(f, OWN, 3);
    f->overwrite = true;
    CompareStatus status = compare(f, OWN);
    assert_int_equal(status.differences, 0);
    assert_int_equal(get(f, OWN, 3), OK);
}

static void a_row_that_cant_be_put_in(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    MenderOptions options = {.sources = {f->kit.roots[0].store, f->kit.roots[2].store},
                             .source_count = 2,
                             .on_applier = on_applier,
                             .pace = pace,
                             .ctx = f};
    AUTO(Comparer, comparer_free) comparer = comparer_new(own(f), &options);
    lose_row(f, OWN, 5);
    f->stop = 1;
    assert_int_equal(comparer_pass(comparer, &err), ERR_SHUTTING_DOWN);
    f->stop = 0;
    err_clear(&err);
    fault_arm("compare.step", EIO, 1, false);
    assert_int_equal(comparer_pass(comparer, &err), ERR_IO);
    assert_true(store_failed(own(f)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_to_do, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_comes_from_another_root, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_source_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(what_no_root_has_stays_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_moved_meanwhile_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pack_is_written_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pack_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_overwritten_stays_so, setup, teardown),
        cmocka_unit_test_setup_teardown(it_stops_when_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_step_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(roots_are_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_that_are_lost_or_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(a_row_that_only_one_has, setup, teardown),
        cmocka_unit_test_setup_teardown(no_two_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_none_is_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_no_class_lacks_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_remade_decides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_behind_is_not_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_applied_meanwhile_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_row_that_cant_be_put_in, setup, teardown),
    };
    return cmocka_run_group_tests(tests, testing_silent, NULL);
}
