/* The threads that write large bodies: what is done, what stands still, what was given away. */
#include "blob/body_pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "testing.h"

typedef struct {
    BodyWork work;
    Wake gate; /* run() ends behind it, if it is to stand still */
    bool stands;
    _Atomic unsigned runs;
    _Atomic unsigned drops;
    Wake dropped;
} Piece;

static void piece_run(void *arg)
{
    Piece *piece = arg;
    atomic_fetch_add(&piece->runs, 1);
    if (!piece->stands) return;
    while (!wake_wait(&piece->gate, -1)) {}
}

static void piece_drop(void *arg)
{
    Piece *piece = arg;
    atomic_fetch_add(&piece->drops, 1);
    wake_set(&piece->dropped);
}

static void piece_init(Piece *piece, bool stands)
{
    *piece = (Piece){.stands = stands};
    wake_init(&piece->gate);
    wake_init(&piece->dropped);
    body_work_init(&piece->work, piece_run, piece_drop, piece);
}

static int setup(void **state)
{
    BodyPool *pool = NULL;
    assert_ok(body_pool_open(&pool, NULL), NULL);
    *state = pool;
    return 0;
}

static int teardown(void **state)
{
    body_pool_close(*state);
    return 0;
}

static void many(void **state)
{
    BodyPool *pool = *state;
    Piece pieces[100];
    for (unsigned i = 0; i < 100; i++)
        piece_init(&pieces[i], false);
    for (unsigned round = 1; round <= 20; round++) {
        for (unsigned i = 0; i < 100; i++)
            body_pool_begin(pool, &pieces[i].work, i % 2 == 0);
        for (unsigned i = 0; i < 100; i++) {
            assert_true(body_pool_wait(pool, &pieces[i].work));
            assert_int_equal(atomic_load(&pieces[i].runs), round);
        }
    }
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(atomic_load(&pieces[i].drops), 0);
    assert_int_equal(body_pool_still_ns(pool), 0);
}

/* One that stands still is given up after the time a disk has, not before; so is what waits behind
 * as many as there are threads, which is then never run. All are dropped when it goes on, once. */
static void stands_still(void **state)
{
    BodyPool *pool = *state;
    Piece pieces[BODY_POOL_THREADS + 1];
    uint64_t begun = clock_boot_ns(clock_real());
    for (unsigned i = 0; i <= BODY_POOL_THREADS; i++) {
        piece_init(&pieces[i], true);
        body_pool_begin(pool, &pieces[i].work, false);
    }
    assert_false(body_pool_wait(pool, &pieces[0].work));
    uint64_t took = clock_boot_ns(clock_real()) - begun;
    assert_true(took >= BODY_POOL_STILL_NS && took < 3 * BODY_POOL_STILL_NS);
    assert_true(body_pool_still_ns(pool) >= BODY_POOL_STILL_NS);
    for (unsigned i = 1; i <= BODY_POOL_THREADS; i++) {
        assert_false(body_pool_wait(pool, &pieces[i].work));
        assert_int_equal(atomic_load(&pieces[i].drops), 0);
    }
    for (unsigned i = 0; i < BODY_POOL_THREADS; i++)
        wake_set(&pieces[i].gate);
    for (unsigned i = 0; i <= BODY_POOL_THREADS; i++) {
        while (!wake_wait(&pieces[i].dropped, -1)) {}
        assert_int_equal(atomic_load(&pieces[i].drops), 1);
        assert_int_equal(atomic_load(&pieces[i].runs), i < BODY_POOL_THREADS);
    }
    Piece next;
    piece_init(&next, false);
    body_pool_begin(pool, &next.work, false);
    assert_true(body_pool_wait(pool, &next.work));
    assert_int_equal(body_pool_still_ns(pool), 0);
}

/* A root that was left is not waited for; one that is slow, and a sync, is. */
static void left(void **state)
{
    BodyPool *pool = *state;
    Piece piece;
    piece_init(&piece, true);
    body_pool_begin(pool, &piece.work, true);
    body_pool_leave(pool, true);
    uint64_t begun = clock_boot_ns(clock_real());
    assert_false(body_pool_wait(pool, &piece.work));
    assert_true(clock_boot_ns(clock_real()) - begun < BODY_POOL_STILL_NS);
    assert_int_equal(body_pool_still_ns(pool), 0); /* a sync may take longer */
    wake_set(&piece.gate);
    while (!wake_wait(&piece.dropped, -1)) {}
    body_pool_leave(pool, false);
    piece_init(&piece, false);
    body_pool_begin(pool, &piece.work, false);
    assert_true(body_pool_wait(pool, &piece.work));
}

static void given_away(void **state)
{
    BodyPool *pool = *state;
    Piece piece;
    piece_init(&piece, false);
    body_pool_give(pool, &piece.work);
    while (!wake_wait(&piece.dropped, -1)) {}
    assert_int_equal(atomic_load(&piece.runs), 0);
    assert_int_equal(atomic_load(&piece.drops), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many, setup, teardown),
        cmocka_unit_test_setup_teardown(stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(left, setup, teardown),
        cmocka_unit_test_setup_teardown(given_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
