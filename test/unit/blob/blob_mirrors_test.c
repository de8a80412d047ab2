/* A large body that is written to several roots at once, and copied from one to another: what fails
 * on one root is that root's, and nobody is left with a body that nothing names. */
#include "blob_fixture.h"

#include "base/fault.h"
#include "base/rng.h"
#include "blob/blobs_priv.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROOTS 3 /* the first is the one that counts */
#define LEN 200000

typedef struct {
    Fixture fixture;
    Disk *disks[ROOTS];
    Blobs *blobs[ROOTS];
    bool pooled; /* by threads of each */
} Roots;

static int setup(void **state)
{
    Roots *roots = mem_new(sizeof *roots);
    fault_reset();
    for (unsigned r = 0; r < ROOTS; r++) {
        Err err = {0};
        assert_ok(disk_sim_new(r + 1, &roots->disks[r], &err), &err);
        roots->fixture.disk = roots->disks[r];
        roots->blobs[r] = fixture_blobs(&roots->fixture, roots->disks[r]);
    }
    *state = roots;
    return 0;
}

static int setup_pools(void **state)
{
    setup(state);
    Roots *roots = *state;
    roots->pooled = true;
    for (unsigned r = 0; r < ROOTS; r++)
        assert_ok(blobs_start_pool(roots->blobs[r], NULL), NULL);
    return 0;
}

static int teardown(void **state)
{
    Roots *roots = *state;
    fault_reset();
    for (unsigned r = 0; r < ROOTS; r++) {
        blobs_stop_pool(roots->blobs[r]);
        blobs_free(roots->blobs[r]);
        disk_free(roots->disks[r]);
    }
    mem_free(roots);
    return 0;
}

static void start_again(Roots *roots)
{
    for (unsigned r = 0; r < ROOTS; r++) {
        blobs_stop_pool(roots->blobs[r]);
        blobs_free(roots->blobs[r]);
        roots->fixture.disk = roots->disks[r];
        roots->blobs[r] = fixture_blobs(&roots->fixture, roots->disks[r]);
        if (roots->pooled) assert_ok(blobs_start_pool(roots->blobs[r], NULL), NULL);
    }
}

static BodyId body_id(uint64_t n)
{
    BodyId body;
    random_bytes(n + 500, body.bytes, sizeof body.bytes);
    return body;
}

/* Body n to all roots; codes[r] is what came of it on mirror r. */
static ErrCode write_all(Roots *roots, uint64_t n, ErrCode codes[ROOTS], Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(uint8_t, mem_free) data = mem_new(LEN);
    Extent extent = {0};
    random_bytes(n, data, LEN);
    TRY(blob_writer_open(roots->blobs[0], body_id(n), 0, &writer, err));
    for (unsigned r = 1; r < ROOTS; r++)
        codes[r] = blob_writer_add_mirror(writer, roots->blobs[r], err);
    for (size_t at = 0; at < LEN; at += 50000)
        TRY(blob_writer_write(writer, data + at, 50000, err));
    ErrCode code = blob_writer_finish(writer, &(BlobInfo){.shard = 1}, &extent, err);
    for (unsigned i = 0; i < blob_writer_mirror_count(writer); i++) {
        Blobs *of = NULL;
        Err own = {0};
        ErrCode one = blob_writer_mirror(writer, i, &of, &own);
        for (unsigned r = 1; r < ROOTS; r++) {
            if (of == roots->blobs[r]) codes[r] = one;
        }
        if (one != OK) assert_int_equal(own.code, one);
    }
    return code;
}

/* OK, or why root has it not; ERR_ABORTED: other bytes. */
static ErrCode check(const Roots *roots, unsigned root, uint64_t n)
{
    Err err = {0};
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(uint8_t, mem_free) expected = mem_new(LEN);
    AUTO(uint8_t, mem_free) got = mem_new(LEN + CHUNK_SIZE_MIN);
    size_t at = 0;
    random_bytes(n, expected, LEN);
    TRY(blob_reader_open(roots->blobs[root], body_id(n), 0, &reader, &err));
    for (uint64_t i = 0; i < blob_reader_footer(reader)->chunk_count; i++) {
        size_t part = 0;
        TRY(blob_reader_chunk(reader, i, got + at, &part, &err));
        at += part;
    }
    return at == LEN && memcmp(got, expected, LEN) == 0 ? OK : ERR_ABORTED;
}

static ErrCode count_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    UNUSED(name);
    UNUSED(is_dir);
    UNUSED(err);
    ++*(size_t *)ctx;
    return OK;
}

static size_t staged(const Roots *roots, unsigned root)
{
    Err err = {0};
    size_t count = 0;
    assert_ok(disk_list(roots->disks[root], "staging", count_name, &count, &err), &err);
    return count;
}

static void all_have_it(void **state)
{
    Roots *roots = *state;
    Err err = {0};
    ErrCode codes[ROOTS] = {OK};
    assert_ok(write_all(roots, 1, codes, &err), &err);
    for (unsigned r = 0; r < ROOTS; r++) {
        assert_int_equal(codes[r], OK);
        assert_int_equal(check(roots, r, 1), OK);
        assert_int_equal(staged(roots, r), 0);
    }
}

/* Each call in turn fails once, on whichever root it is. A mirror that says OK has it whole; if the
 * writer says that it failed, no mirror has it. */
static void nth_call_fails(void **state)
{
    static const struct {
        const char *prefix;
        int error;
    } rows[] = {{"disk.", EIO}, {"disk.", ENOSPC}, {"blob.finish", EIO}};
    Roots *roots = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t mirrors_failed = 0;
        size_t mains_failed = 0;
        bool fired = true;
        for (uint64_t n = 1; fired; n++) {
            Err err = {0};
            ErrCode codes[ROOTS] = {OK};
            uint64_t number = 1000 * (i + 1) + n;
            start_again(roots);
            fault_arm_any(rows[i].prefix, rows[i].error, n, false);
            ErrCode code = write_all(roots, number, codes, &err);
            fault_reset();
            fired = code != OK || codes[1] != OK || codes[2] != OK;
            mains_failed += code != OK;
            if (code == OK) assert_int_equal(check(roots, 0, number), OK);
            for (unsigned r = 1; r < ROOTS; r++) {
                ErrCode has = check(roots, r, number);
                mirrors_failed += codes[r] != OK;
                assert_true(has == OK || has == ERR_NOT_FOUND);
                if (code == OK && codes[r] == OK) assert_int_equal(has, OK);
                if (code != OK) assert_int_equal(has, ERR_NOT_FOUND);
            }
        }
        /* Of a few calls by several threads chance has it whose fails. */
        bool few = i == 2;
        assert_true(mirrors_failed + mains_failed > 0);
        if (!few || !roots->pooled) assert_true(mirrors_failed > 0);
        if (!few) assert_true(mains_failed > 0);
    }
}

/* A mirror without room, or whose sync fails, is none any more; the others don't notice. */
static void one_disk_fails(Roots *roots, const SimDiskFaults *faults, ErrCode expected)
{
    Err err = {0};
    SimDiskFaults none = {0};
    ErrCode codes[ROOTS] = {OK};
    disk_sim_set_faults(roots->disks[1], faults);
    assert_ok(write_all(roots, 1, codes, &err), &err);
    disk_sim_set_faults(roots->disks[1], &none);
    assert_int_equal(codes[1], expected);
    assert_int_equal(codes[2], OK);
    assert_int_equal(check(roots, 0, 1), OK);
    assert_int_equal(check(roots, 1, 1), ERR_NOT_FOUND);
    assert_int_equal(check(roots, 2, 1), OK);
    if (roots->pooled) { /* by its end it has done away with all */
        blobs_stop_pool(roots->blobs[1]);
        assert_ok(blobs_start_pool(roots->blobs[1], NULL), NULL);
    }
    assert_int_equal(staged(roots, 1), 0);
    assert_ok(write_all(roots, 2, codes, &err), &err);
    assert_int_equal(codes[1], expected == ERR_ROOT_FAILED ? ERR_ROOT_FAILED : OK);
    assert_int_equal(codes[2], OK);
}

static void a_mirror_is_full(void **state)
{
    one_disk_fails(*state, &(SimDiskFaults){.no_space = 1000000}, ERR_NO_SPACE);
}

static void a_mirror_does_not_sync(void **state)
{
    one_disk_fails(*state, &(SimDiskFaults){.sync_error = 1000000}, ERR_ROOT_FAILED);
}

static void a_mirror_does_not_write(void **state)
{
    one_disk_fails(*state, &(SimDiskFaults){.write_error = 1000000}, ERR_IO);
}

/* The mirrors may be done by then: what nobody will name is taken away. */
static void the_main_fails(void **state)
{
    Roots *roots = *state;
    Err err = {0};
    ErrCode codes[ROOTS] = {OK};
    disk_sim_set_faults(roots->disks[0], &(SimDiskFaults){.sync_error = 1000000});
    assert_code(write_all(roots, 1, codes, &err), ERR_ROOT_FAILED, &err);
    for (unsigned r = 0; r < ROOTS; r++) {
        assert_int_equal(check(roots, r, 1), ERR_NOT_FOUND);
        assert_int_equal(staged(roots, r), 0);
    }
}

/* --- copies --- */

static ErrCode copy(Roots *roots, uint64_t n, bool *from_bad, Err *err)
{
    AUTO(BlobReader, blob_reader_free) from = NULL;
    assert_ok(blob_reader_open(roots->blobs[0], body_id(n), 0, &from, err), err);
    return blob_copy(from, roots->blobs[1], from_bad, err);
}

static void only_main(Roots *roots, uint64_t n)
{
    Err err = {0};
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(uint8_t, mem_free) data = mem_new(LEN);
    Extent extent = {0};
    random_bytes(n, data, LEN);
    assert_ok(blob_writer_open(roots->blobs[0], body_id(n), 0, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, data, LEN, &err), &err);
    assert_ok(blob_writer_finish(writer, &(BlobInfo){.shard = 1}, &extent, &err), &err);
}

static void a_copy(void **state)
{
    Err err = {0};
    bool from_bad = true;
    only_main(*state, 1);
    assert_ok(copy(*state, 1, &from_bad, &err), &err);
    assert_false(from_bad);
    assert_int_equal(check(*state, 1, 1), OK);
}

/* A changed byte is never copied, and whose fault it was is told. */
static void a_copy_of_damage(void **state)
{
    Roots *roots = *state;
    char path[BLOB_PATH_MAX];
    Err err = {0};
    bool from_bad = false;
    only_main(roots, 1);
    blob_path(body_id(1), 0, path);
    assert_ok(disk_sim_damage(roots->disks[0], path, 150000, STR("other"), &err), &err);
    assert_code(copy(roots, 1, &from_bad, &err), ERR_CORRUPT, &err);
    assert_true(from_bad);
    assert_int_equal(check(roots, 1, 1), ERR_NOT_FOUND);
    assert_int_equal(staged(roots, 1), 0);
}

/* What can't be written is not the other's fault; the next try succeeds once there is room. */
static void a_copy_without_room(void **state)
{
    Roots *roots = *state;
    Err err = {0};
    bool from_bad = true;
    only_main(roots, 1);
    disk_sim_set_faults(roots->disks[1], &(SimDiskFaults){.no_space = 1000000});
    assert_code(copy(roots, 1, &from_bad, &err), ERR_NO_SPACE, &err);
    assert_false(from_bad);
    disk_sim_set_faults(roots->disks[1], &(SimDiskFaults){0});
    assert_ok(copy(roots, 1, &from_bad, &err), &err);
    assert_int_equal(check(roots, 1, 1), OK);
}

/* --- a root whose directory is gone --- */

/* No client is told that its file is not there: it is the root that is not. */
static void directory_is_gone(void **state)
{
    Fixture *fixture = *state;
    Err err = {0};
    Extent extent = {0};
    AUTO(Blobs, blobs_free) blobs = fixture_blobs(fixture, NULL);
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    BlobWriter *none = NULL;
    char path[4096];
    char moved[4096];
    snprintf(path, sizeof path, "%s/staging", fixture->dir);
    snprintf(moved, sizeof moved, "%s/moved", fixture->dir);
    assert_ok(blob_writer_open(blobs, body_id(1), 0, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "abc", 3, &err), &err);
    assert_int_equal(rename(path, moved), 0);
    assert_code(blob_writer_open(blobs, body_id(2), 0, &none, &err), ERR_IO, &err);
    ErrCode code = blob_writer_finish(writer, &(BlobInfo){.shard = 1}, &extent, &err);
    assert_true(code == ERR_IO || code == ERR_ROOT_FAILED);
    assert_int_equal(rename(moved, path), 0);
}

#define ROW(test)                                                                                  \
    {                                                                                              \
#test, test, setup, teardown, NULL                                                         \
    }
#define ROW_POOLS(test)                                                                            \
    {                                                                                              \
#test " with threads", test, setup_pools, teardown, NULL                                   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(all_have_it),
        ROW(nth_call_fails),
        ROW(a_mirror_is_full),
        ROW(a_mirror_does_not_sync),
        ROW(a_mirror_does_not_write),
        ROW(the_main_fails),
        ROW_POOLS(all_have_it),
        ROW_POOLS(nth_call_fails),
        ROW_POOLS(a_mirror_is_full),
        ROW_POOLS(a_mirror_does_not_sync),
        ROW_POOLS(a_mirror_does_not_write),
        ROW_POOLS(a_copy),
        ROW(a_copy),
        ROW(a_copy_of_damage),
        ROW(a_copy_without_room),
        {"directory_is_gone", directory_is_gone, fixture_posix, fixture_teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
