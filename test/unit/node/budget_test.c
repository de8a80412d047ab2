/* What is planned with what there is: the sum fits, small machines take fewer clients, and what
 * can't work is refused by a text that says what to change. */
#include "node/budget.h"
#include "testing.h"

#include "api/rest/rest.h"
#include "net/tls.h"
#include <string.h>

static BudgetWish wish_of(uint64_t memory)
{
    return (BudgetWish){.memory = memory,
                        .open_files = 20384,
                        .connections = 10000,
                        .roots = 1,
                        .loops = 2,
                        .doors = 1,
                        .index_cache = 16 * MIB,
                        .body_cache = 32 * MIB,
                        .locked = 64 * MIB};
}

static void check(const BudgetWish *wish, const Budget *b)
{
    assert_int_equal(b->sum_bytes, b->index_bytes + b->cache_bytes + b->buffer_bytes +
                                       b->collected_bytes + b->answer_bytes + b->locked_bytes +
                                       b->backlog_bytes + b->connection_bytes + b->request_bytes +
                                       b->own_bytes);
    assert_true(wish->memory == 0 || b->sum_bytes <= wish->memory);
    assert_true(b->open_files <= wish->open_files);
    uint64_t connection = HTTP_CONNECTION_BYTES + (wish->tls ? TLS_CONNECTION_BYTES : 0);
    uint64_t request = REST_REQUEST_BYTES + (wish->tls ? TLS_REQUEST_BYTES : 0);
    assert_int_equal(b->connection_bytes, b->connections * connection);
    assert_int_equal(b->request_bytes, b->requests * request);
    assert_true(b->connections >= 1 && b->connections <= wish->connections);
    assert_true(b->requests >= 1 && b->requests <= b->connections);
    assert_true(b->queue >= b->requests);
}

static void test_large(void **state)
{
    UNUSED(state);
    Budget b;
    Err err = {0};
    for (uint64_t memory = 0; memory <= 64 * GIB; memory += 32 * GIB) {
        BudgetWish wish = wish_of(memory);
        assert_ok(budget_make(&wish, &b, &err), &err);
        check(&wish, &b);
        assert_int_equal(b.connections, 10000);
        assert_int_equal(b.requests, 10000);
        assert_int_equal(b.buffers, BUDGET_BUFFERS_MAX);
        assert_int_equal(b.open_files, 20384);
        assert_int_equal(b.index_bytes, 9 * 16 * MIB);
    }
}

/* Every size there is: it fits or it is refused, never less than the least, never shrinking. */
static void check_every_memory(bool tls)
{
    Budget b;
    Budget before = {0};
    for (uint64_t mib = 1; mib < 16384; mib += 7) {
        BudgetWish wish = wish_of(mib * MIB);
        Err err = {0};
        wish.tls = tls;
        if (budget_make(&wish, &b, &err) != OK) {
            assert_int_equal(err.code, ERR_CONFIG);
            assert_int_equal(before.connections, 0);
            assert_non_null(strstr(err_text(&err), "index-cache"));
            continue;
        }
        check(&wish, &b);
        assert_true(b.connections >= BUDGET_CONNECTIONS_LEAST);
        assert_true(b.requests >= BUDGET_REQUESTS_LEAST);
        assert_true(b.buffers >= before.buffers && b.answer_bytes >= before.answer_bytes);
        before = b;
    }
    assert_true(before.connections == 10000);
}

static void test_every_memory(void **state)
{
    UNUSED(state);
    check_every_memory(false);
    check_every_memory(true);
}

/* Each root brings an applier, a reader of the engine and one of background work, records of its
 * own and files; what all share is counted once. */
static void test_roots(void **state)
{
    UNUSED(state);
    Budget one;
    Budget three;
    Err err = {0};
    BudgetWish wish = wish_of(0);
    wish.open_files = 100000;
    assert_ok(budget_make(&wish, &one, &err), &err);
    wish.roots = 3;
    assert_ok(budget_make(&wish, &three, &err), &err);
    check(&wish, &three);
    assert_int_equal(three.index_bytes - one.index_bytes, 2 * 5 * 16 * MIB);
    assert_int_equal(three.backlog_bytes - one.backlog_bytes, 2 * one.backlog * KIB + 64 * MIB);
    assert_int_equal(three.own_bytes - one.own_bytes, 2 * 8 * MIB);
    assert_int_equal(three.open_files - one.open_files, 2 * BUDGET_FILES_ROOT);
    assert_int_equal(three.cache_bytes, one.cache_bytes);
    wish.memory = three.index_bytes + 128 * MIB; /* the least of the rest does not fit */
    assert_code(budget_make(&wish, &three, &err), ERR_CONFIG, &err);
}

static void test_small(void **state)
{
    UNUSED(state);
    Budget b;
    Err err = {0};
    BudgetWish wish = wish_of(448 * MIB);
    assert_ok(budget_make(&wish, &b, &err), &err);
    check(&wish, &b);
    assert_true(b.connections < 10000 && b.requests < b.connections);
    wish.memory = 128 * MIB;
    assert_int_equal(budget_make(&wish, &b, &err), ERR_CONFIG);
    wish = (BudgetWish){.memory = 400 * MIB,
                        .open_files = 1024,
                        .connections = 1,
                        .roots = 1,
                        .loops = 1,
                        .doors = 1,
                        .index_cache = 1 * MIB};
    assert_ok(budget_make(&wish, &b, &err), &err);
    check(&wish, &b);
    assert_int_equal(b.connections, 1);
}

static void test_open_files(void **state)
{
    UNUSED(state);
    Budget b;
    Err err = {0};
    BudgetWish wish = wish_of(0);
    wish.open_files = 1024;
    assert_ok(budget_make(&wish, &b, &err), &err);
    assert_int_equal(b.connections, (1024 - BUDGET_FILES_OWN) / BUDGET_FILES_CONNECTION);
    check(&wish, &b);
    wish.open_files = 447;
    assert_int_equal(budget_make(&wish, &b, &err), ERR_CONFIG);
    assert_non_null(strstr(err_text(&err), "ulimit -n"));
    wish.open_files = 448;
    err_clear(&err);
    assert_ok(budget_make(&wish, &b, &err), &err);
    wish.connections = 1; /* needs fewer */
    wish.open_files = 386;
    assert_ok(budget_make(&wish, &b, &err), &err);
}

/* As many bytes of spares whatever a segment holds, but no more than 48 of them. */
static void test_segments_recycled(void **state)
{
    UNUSED(state);
    assert_int_equal(budget_segments_recycled(0), 48);
    assert_int_equal(budget_segments_recycled(64 * KIB), 48);
    assert_int_equal(budget_segments_recycled(4 * MIB), 12);
    assert_int_equal(budget_segments_recycled(64 * MIB), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large),      cmocka_unit_test(test_every_memory),
        cmocka_unit_test(test_roots),      cmocka_unit_test(test_small),
        cmocka_unit_test(test_open_files), cmocka_unit_test(test_segments_recycled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
