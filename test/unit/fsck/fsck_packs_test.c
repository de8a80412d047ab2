/* The row of a pack that counts wrong is made right by fsck_repair(), with where its records end.
 */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "fsck/fsck.h"
#include "node_kit.h"

#define FILES 20

static const NodeKitOptions small = {.seed = 4, .shards = 2};

/* The row of pack 1; put: written instead. */
static PackRow pack_row(Disk *disk, const PackRow *put)
{
    AUTO(Index, index_free) index = NULL;
    uint8_t key_bytes[ROW_KEY_MAX];
    uint8_t bytes[64];
    Str key = str_of(key_bytes, row_key_pack(key_bytes, 1));
    Str value;
    PackRow row;
    bool flag = false;
    Err err = {0};
    assert_ok(index_open(disk, NULL, &index, &flag, &err), &err);
    assert_ok(index_begin(index, &err), &err);
    assert_ok(index_batch_get(index, key, &value, &flag, &err), &err);
    assert_true(flag && pack_row_decode(value, &row));
    if (put == NULL) return row;
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(put, &enc);
    assert_ok(index_put(index, key, str_of(bytes, enc.len), &err), &err);
    assert_ok(index_commit(index, &err), &err);
    assert_ok(index_checkpoint(index, &err), &err);
    return row;
}

static ErrCode note_kind(void *ctx, const FsckFinding *finding, Err *err)
{
    size_t *counts = ctx;
    UNUSED(err);
    if (strcmp(finding->kind, "pack-count") == 0) (*counts)++;
    return OK;
}

static size_t repair(Disk *disk)
{
    AUTO(Disk, disk_free) scratch = NULL;
    size_t counts = 0;
    FsckReport report;
    Err err = {0};
    assert_ok(disk_sim_new(2, &scratch, &err), &err);
    FsckOptions options = {.disk = disk, .scratch = scratch, .finding = note_kind, .ctx = &counts};
    assert_ok(fsck_repair(&options, &report, &err), &err);
    return counts;
}

static void test_end_is_kept(void **state)
{
    AUTO(Disk, disk_free) disk = NULL;
    NodeKit kit;
    Err err = {0};
    UNUSED(state);
    assert_ok(disk_sim_new(1, &disk, &err), &err);
    assert_ok(node_kit_open(&kit, disk, &small, &err), &err);
    assert_ok(node_kit_ready(&kit, &err), &err);
    for (int i = 0; i < FILES; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02d", i);
        assert_ok(node_kit_put(&kit, STR("files"), str_from_cstr(key), STR("body"), &err), &err);
    }
    assert_ok(node_kit_close(&kit, &err), &err);
    disk_sim_crash(disk);
    PackRow good = pack_row(disk, NULL);
    assert_true(good.end > PACK_HEADER_LEN && good.bytes > 0);
    for (int known = 0; known < 2; known++) {
        PackRow wrong = good;
        wrong.dead = good.bytes + 1;
        if (known == 0) wrong.end = 0;
        pack_row(disk, &wrong);
        assert_int_equal(repair(disk), 1);
        PackRow mended = pack_row(disk, NULL);
        assert_int_equal(mended.bytes, good.bytes);
        assert_int_equal(mended.dead, good.dead);
        assert_int_equal(mended.end, good.end);
        assert_int_equal(repair(disk), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
