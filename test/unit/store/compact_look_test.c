/* Which packs compaction reads to find out whether they are worth it, and how often. */
#include "testing.h"

#include <stdio.h>

#include "disk/sim.h"
#include "format/attr.h"
#include "node_fixture.h"
#include "pack_truth.h"
#include "store/compact.h"

#define FILES 200
#define BODY_LEN 4000
#define SECOND_NS (1000ULL * 1000 * 1000)

static const NodeKitOptions small = {.seed = 3, .shards = 2, .pack_size = 128 * KIB};
static const CompactOptions eager = {.dead_percent = 50, .look_again_ms = 1};

static int setup(void **state)
{
    *state = node_fixture_new(&small);
    return 0;
}

static Str key_of(unsigned i, char out[16])
{
    int len = snprintf(out, 16, "file-%04u", i);
    assert_int_equal(len, 9);
    return str_from_cstr(out);
}

/* A file whose change carries a request. */
static void put(NodeFixture *f, unsigned i)
{
    char key[16];
    char body[BODY_LEN];
    AUTO_BUF(attrs, 256);
    Err err = {0};
    Mutation m;
    random_bytes(i, body, sizeof body);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = key_of(i, key);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_ID, str_of(body, sizeof(RequestId)), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_HASH, str_of(body, SHA256_LEN), &err), &err);
    m.attrs = buf_str(&attrs);
    m.inline_body = str_of(body, sizeof body);
    m.size = sizeof body;
    m.digest = sha256_of(body, sizeof body);
    assert_ok(node_kit_do(&f->kit, &m), &m.err);
    mutation_deinit(&m);
}

/* Compacts until nothing is left to do; returns the bytes that were read. */
static uint64_t work(NodeFixture *f, Compactor *c)
{
    uint64_t sum = 0;
    for (;;) {
        CompactTurn turn;
        uint64_t read = 0;
        Err err = {0};
        assert_ok(compactor_work(c, MIB, UINT64_MAX, &turn, &read, &err), &err);
        sum += read;
        if (turn == COMPACT_NOTHING) return sum;
        if (turn != COMPACT_STEP) continue;
        assert_ok(store_compact(f->kit.store, compactor_step(c), &err), &err);
        compactor_done(c, OK);
    }
}

/* Live bodies that carry requests are read once, and again only when enough of them died. */
static void test_live_requests(void **state)
{
    NodeFixture *f = *state;
    AUTO(Compactor, compactor_free) c = NULL;
    Err err = {0};
    char key[16];
    for (unsigned i = 0; i < FILES; i++)
        put(f, i);
    node_fixture_apply(f);
    assert_ok(compactor_open(f->kit.store, &eager, &c, &err), &err);
    uint64_t read = work(f, c);
    assert_true(read > FILES / 2 * BODY_LEN);
    f->kit.clock.boot_ns += SECOND_NS;
    assert_int_equal(work(f, c), 0);
    for (unsigned i = 0; i < FILES; i++) { /* each third: not worth it */
        if (i % 3 == 0)
            assert_ok(node_kit_delete(&f->kit, STR("files"), key_of(i, key), &err), &err);
    }
    node_fixture_apply(f);
    f->kit.clock.boot_ns += SECOND_NS;
    assert_true(work(f, c) < read / 2);
    for (unsigned i = 0; i < FILES; i++) {
        if (i % 3 == 1)
            assert_ok(node_kit_delete(&f->kit, STR("files"), key_of(i, key), &err), &err);
    }
    node_fixture_apply(f);
    f->kit.clock.boot_ns += SECOND_NS;
    assert_true(work(f, c) > read / 2);
    node_fixture_apply(f);
    CompactStatus status;
    store_compact_status(f->kit.store, &status);
    assert_true(status.packs_retired >= 4);
    assert_ok(pack_truth_check(f->kit.store, &err), &err);
    AUTO_BUF(body, MIB);
    for (unsigned i = 2; i < FILES; i += 3)
        assert_ok(node_kit_get(&f->kit, STR("files"), key_of(i, key), &body, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live_requests, setup, node_fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
