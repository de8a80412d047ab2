#include "blob_fixture.h"

#include "base/thread.h"
#include "blob/packs_priv.h"
#include <dirent.h>
#include <stdatomic.h>
#include <string.h>

static size_t cached_count(const PackFiles *files)
{
    size_t count = 0;
    for (size_t i = 0; i < PACK_FILES_MAX; i++)
        count += files->slots[i] != NULL;
    return count;
}

static bool is_cached(const PackFiles *files, uint64_t number)
{
    for (size_t i = 0; i < PACK_FILES_MAX; i++)
        if (files->slots[i] != NULL && files->slots[i]->number == number) return true;
    return false;
}

static size_t descriptor_count(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* One record a pack. */
static Packs *many_packs(Fixture *fixture, PackPlace *places, size_t count)
{
    Err err = {0};
    Packs *packs = fixture_packs(fixture, NULL, 4096);
    for (size_t i = 0; i < count; i++)
        assert_ok(append_number(packs, i + 1, 100, &places[i], &err), &err);
    assert_ok(packs_sync(packs, &err), &err);
    return packs;
}

static void test_least_recently_used(void **state)
{
    Err err = {0};
    enum { COUNT = PACK_FILES_MAX + 20 };
    PackPlace places[COUNT];
    AUTO(Packs, packs_free) packs = many_packs(*state, places, COUNT);
    size_t before = descriptor_count();
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < COUNT; i++) {
            assert_ok(read_number(packs, &places[i], i + 1, 100, &err), &err);
            assert_ok(read_number(packs, &places[0], 1, 100, &err), &err); /* stays in use */
        }
    assert_int_equal(cached_count(&packs->files), PACK_FILES_MAX);
    assert_in_range(descriptor_count(), 0, before + PACK_FILES_MAX);
    assert_true(is_cached(&packs->files, 1));
    assert_true(is_cached(&packs->files, COUNT));
    assert_false(is_cached(&packs->files, 2));
    assert_false(is_cached(&packs->files, COUNT - PACK_FILES_MAX + 1));
    assert_true(is_cached(&packs->files, COUNT - PACK_FILES_MAX + 2));
}

/* With a reader in every cached file the next ones are opened for one use. */
static void test_all_in_use(void **state)
{
    Err err = {0};
    enum { COUNT = PACK_FILES_MAX + 2 };
    PackPlace places[COUNT];
    PackFile *taken[COUNT];
    AUTO(Packs, packs_free) packs = many_packs(*state, places, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(pack_files_take(&packs->files, i + 1, &taken[i], &err), &err);
    assert_true(taken[0]->cached);
    assert_false(taken[COUNT - 1]->cached);
    assert_ok(read_number(packs, &places[COUNT - 1], COUNT, 100, &err), &err);
    for (size_t i = 0; i < COUNT; i++)
        pack_files_give(&packs->files, taken[i]);
    assert_int_equal(cached_count(&packs->files), PACK_FILES_MAX);
}

static void test_forget(void **state)
{
    Err err = {0};
    PackPlace places[3];
    PackFile *taken = NULL;
    PackFile *again = NULL;
    AUTO(Packs, packs_free) packs = many_packs(*state, places, 3);
    assert_ok(pack_files_take(&packs->files, 1, &taken, &err), &err);
    assert_ok(pack_files_take(&packs->files, 1, &again, &err), &err);
    assert_ptr_equal(taken, again);
    pack_files_give(&packs->files, again);
    assert_ok(packs_remove(packs, 1, &err), &err);
    assert_false(is_cached(&packs->files, 1));

    /* Who is in it reads on; nobody else finds it. */
    uint8_t byte = 0;
    assert_ok(disk_read_all(taken->file, 0, &byte, 1, &err), &err);
    assert_code(pack_files_take(&packs->files, 1, &again, &err), ERR_NOT_FOUND, &err);
    pack_files_give(&packs->files, taken);
    pack_files_forget(&packs->files, 99);
}

/* ---- readers beside the appender ---- */

#define RACE_RECORDS 400
typedef struct {
    Packs *packs;
    PackPlace places[RACE_RECORDS];
    _Atomic size_t synced;
    _Atomic size_t wrong;
    _Atomic size_t reads;
    _Atomic bool done;
} Race;

static size_t race_len(size_t i)
{
    return 50 + i % 100;
}

static void race_reader(void *arg)
{
    Race *race = arg;
    Rng rng;
    rng_init(&rng, 5);
    while (!atomic_load(&race->done)) {
        Err err = {0};
        size_t synced = atomic_load(&race->synced);
        if (synced == 0) continue;
        size_t i = (size_t)rng_below(&rng, synced);
        if (read_number(race->packs, &race->places[i], i + 1, race_len(i), &err) != OK)
            race->wrong++;
        race->reads++;
    }
}

static ErrCode race_scanned(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    Race *race = ctx;
    uint64_t n = record->entry.lsn;
    UNUSED(place);
    UNUSED(err);
    if (n == 0 || n > RACE_RECORDS || !test_record_is(record, n, race_len(n - 1))) race->wrong++;
    return OK;
}

static void race_scanner(void *arg)
{
    Race *race = arg;
    while (!atomic_load(&race->done)) {
        Err err = {0};
        uint64_t torn_at = 0;
        uint64_t newest = atomic_load(&race->packs->newest);
        for (uint64_t n = newest > 2 ? newest - 2 : 1; n <= newest; n++)
            if (packs_scan(race->packs, n, race_scanned, race, &torn_at, &err) != OK ||
                torn_at != 0)
                race->wrong++;
    }
}

static void test_readers_and_appender(void **state)
{
    Err err = {0};
    AUTO(Race, mem_free) race = mem_new(sizeof *race);
    AUTO(Packs, packs_free) packs = fixture_packs(*state, NULL, 32 * KIB);
    Thread threads[3] = {0};
    race->packs = packs;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_ok(
            thread_start(&threads[i], "reader", i < 2 ? race_reader : race_scanner, race, &err),
            &err);
    for (size_t i = 0; i < RACE_RECORDS; i++) {
        assert_ok(append_number(packs, i + 1, race_len(i), &race->places[i], &err), &err);
        if (i % 5 != 4) continue;
        assert_ok(packs_sync(packs, &err), &err);
        atomic_store(&race->synced, i + 1);
    }
    while (atomic_load(&race->reads) < 100 && atomic_load(&race->wrong) == 0)
        read_number(packs, &race->places[0], 1, race_len(0), &err);
    atomic_store(&race->done, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(&threads[i]);
    assert_int_equal(atomic_load(&race->wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_least_recently_used),
        ON_BOTH(test_all_in_use),
        ON_BOTH(test_forget),
        ON_BOTH(test_readers_and_appender),
    };
    return cmocka_run_group_tests_name("pack_files", tests, NULL, NULL);
}
