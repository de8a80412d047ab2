/* Each page of index.db damaged in turn: the node starts, by itself made whole again if the page is
 * needed for that, and serves every file but those whose rows stand on the page. */
#include "testing.h"

#include <stdio.h>

#include "disk/sim.h"
#include "look.h"
#include "node_kit.h"

#define FILES 500
#define LARGE 3           /* of them: with a body in blobs/ */
#define FILES_A_PAGE 100  /* at most */
#define PAGES_AT_LEAST 15 /* so that the tree has a root and leaves */

static const NodeKitOptions small = {.seed = 11, .shards = 2};

typedef struct {
    Disk *disk;
    NodeKit kit;
    Buf body;
    Buf text;
    uint64_t met; /* lost files and risk places of starts that made no new index, over the pages */
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    buf_init(&f->body, MIB);
    buf_init(&f->text, MIB);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    buf_deinit(&f->body);
    buf_deinit(&f->text);
    mem_free(f);
    return 0;
}

static Str key_of(int i, char out[16])
{
    int len = snprintf(out, 16, "k%03d", i);
    assert_true(len > 0 && len < 16);
    return str_of(out, (size_t)len);
}

/* What file i holds after round `round`. */
static Str body_of(Fixture *f, int i, int round)
{
    char text[64];
    Err err = {0};
    int len = snprintf(text, sizeof text, "body %d of round %d, ", i, round);
    size_t wanted = i < LARGE ? INLINE_MAX + 1000 : (size_t)len;
    buf_clear(&f->text);
    while (f->text.len < wanted)
        assert_ok(buf_append(&f->text, text, (size_t)len, &err), &err);
    return buf_str(&f->text);
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
    assert_ok(node_kit_close(&f->kit, &err), &err);
    disk_sim_crash(f->disk); /* what is synced remains */
}

static void put(Fixture *f, int i, int round)
{
    char key[16];
    Err err = {0};
    assert_ok(node_kit_put(&f->kit, STR("files"), key_of(i, key), body_of(f, i, round), &err),
              &err);
}

/* A root with FILES files, of which the log has a newer round of every `newer`th beyond the index
 * (0: of none). */
static Disk *make(Fixture *f, int newer)
{
    Err err = {0};
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    start(f);
    for (int i = 0; i < FILES; i++)
        put(f, i, 0);
    stop(f);
    for (int i = 0; newer > 0 && i < FILES; i += newer) {
        if (i == 0) start(f);
        put(f, i, 1);
    }
    if (newer > 0) node_kit_drop(&f->kit);
    disk_sim_crash(f->disk);
    return TAKE(f->disk);
}

/* How many files can't be read; none gives other bytes than its own. */
static int count_lost(Fixture *f, int newer)
{
    int lost = 0;
    for (int i = 0; i < FILES; i++) {
        char key[16];
        Err err = {0};
        int round = newer > 0 && i % newer == 0;
        ErrCode code = node_kit_get(&f->kit, STR("files"), key_of(i, key), &f->body, &err);
        if (code == ERR_CORRUPT) {
            lost++;
            continue;
        }
        assert_ok(code, &err);
        assert_true(str_eq(buf_str(&f->body), body_of(f, i, round)));
    }
    return lost;
}

/* What the bucket holds is known; or more is counted than it holds, if older versions can't be
 * read.
 */
static void check_usage(Fixture *f, bool exact)
{
    BucketStatRow usage;
    buckets_usage(f->kit.buckets, look_bucket(f->kit.buckets, STR("files")), &usage);
    assert_true(exact ? usage.files == FILES : usage.files >= FILES);
}

/* Returns whether the index was made again. */
static bool check_page(Fixture *f, uint64_t page, int newer)
{
    size_t applied = 0;
    Err err = {0};
    assert_ok(disk_sim_flip(f->disk, "index.db", page * 8 * INDEX_PAGE_BYTES + 777, &err), &err);
    start(f);
    bool rebuilt = f->kit.opened.index_rebuilt;
    int lost = count_lost(f, newer);
    assert_true(lost <= (rebuilt ? 0 : FILES_A_PAGE));
    check_usage(f, rebuilt || newer == 0);
    if (!rebuilt) f->met += (uint64_t)lost + risk_places(store_risk(f->kit.store));
    if (lost > 0) assert_true(risk_places(store_risk(f->kit.store)) > 0);
    ErrCode code = store_apply(f->kit.store, FILES, &applied, &err);
    assert_true(code == OK || code == ERR_CORRUPT); /* then the root takes no more changes */
    assert_true(count_lost(f, newer) <= (rebuilt ? 0 : FILES_A_PAGE));
    node_kit_drop(&f->kit);
    return rebuilt;
}

static void check_pages(Fixture *f, int newer)
{
    AUTO(Disk, disk_free) made = make(f, newer);
    DiskStat stat;
    Err err = {0};
    uint64_t rebuilt = 0;
    assert_ok(disk_stat(made, "index.db", &stat, &err), &err);
    uint64_t pages = stat.size / INDEX_PAGE_BYTES;
    assert_true(pages >= PAGES_AT_LEAST);
    for (uint64_t page = 0; page < pages; page++) {
        f->disk = disk_sim_copy(made, page + 1);
        rebuilt += check_page(f, page, newer);
        disk_free(TAKE(f->disk));
    }
    assert_true(rebuilt > 0 && rebuilt < pages / 2);
    assert_true(f->met > 0); /* the damage hit what is read, else nothing was tried */
}

static void test_clean_stop(void **state)
{
    check_pages(*state, 0);
}

static void test_all_to_replay(void **state)
{
    check_pages(*state, 1);
}

static void test_some_to_replay(void **state)
{
    check_pages(*state, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clean_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_to_replay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_some_to_replay, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
