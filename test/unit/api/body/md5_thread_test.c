#include "testing.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "api/body/md5_thread.h"
#include "base/fault.h"
#include "base/rng.h"
#include "base/thread.h"

#define PIECE_SIZE ((size_t)16 * KIB)
#define THREADS 12

typedef struct {
    Buffers *buffers;
    Md5Thread *thread;
} Fixture;

static void open_fixture(Fixture *f, size_t buffers)
{
    Err err = {0};
    assert_ok(buffers_open(buffers, PIECE_SIZE, &f->buffers, &err), &err);
    assert_ok(md5_thread_open(f->buffers, &f->thread, &err), &err);
}

static void close_fixture(Fixture *f)
{
    md5_thread_close(f->thread);
    buffers_close(f->buffers); /* asserts that all are back */
}

/* Waits for one: other bodies give theirs back without our doing. */
static Buffer *take_buffer(Buffers *pool)
{
    Buffer *buffer = NULL;
    while (buffers_take(pool, BUFFERS_IN, &buffer, NULL) != OK)
        usleep(100);
    return buffer;
}

/* Adds size random bytes in pieces of random lengths, empty ones too. */
static void add_body(const Fixture *f, Md5Stream *stream, Rng *rng, size_t size, HashCtx *wanted)
{
    while (size > 0) {
        Buffer *piece = take_buffer(f->buffers);
        piece->len = rng_chance(rng, 300000)   ? rng_below(rng, 200)
                     : rng_chance(rng, 500000) ? rng_below(rng, PIECE_SIZE + 1)
                                               : PIECE_SIZE;
        piece->len = MIN(piece->len, size);
        rng_bytes(rng, piece->data, piece->len);
        hash_update(wanted, piece->data, piece->len);
        size -= piece->len;
        md5_stream_add(stream, piece);
    }
}

static void check_body(const Fixture *f, Rng *rng, size_t size)
{
    uint8_t made[MD5_LEN];
    uint8_t digest[MD5_LEN];
    AUTO(HashCtx, hash_free) wanted = hash_new(HASH_MD5);
    Md5Stream *stream = md5_stream_new(f->thread);
    add_body(f, stream, rng, size, wanted);
    md5_stream_end(stream, made);
    hash_final(wanted, digest);
    assert_memory_equal(made, digest, MD5_LEN);
}

/* A body alone, of nothing, of less than a block, of many pieces. */
static void test_alone(void **state)
{
    static const size_t sizes[] = {
        0, 1, 63, 64, 65, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 40 * PIECE_SIZE + 7};
    UNUSED(state);
    Fixture f;
    Rng rng;
    rng_init(&rng, 1);
    open_fixture(&f, 64);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        check_body(&f, &rng, sizes[i]);
    close_fixture(&f);
}

typedef struct {
    const Fixture *f;
    uint64_t seed;
    Thread thread;
} Uploader;

/* Bodies of all sizes; some are given up. */
static void upload(void *arg)
{
    const Uploader *u = arg;
    Rng rng;
    rng_init(&rng, u->seed);
    for (int i = 0; i < 40; i++) {
        if (rng_chance(&rng, 200000)) {
            AUTO(HashCtx, hash_free) unused = hash_new(HASH_MD5);
            Md5Stream *stream = md5_stream_new(u->f->thread);
            add_body(u->f, stream, &rng, rng_below(&rng, 5 * PIECE_SIZE), unused);
            md5_stream_drop(stream);
        } else {
            check_body(u->f, &rng, rng_below(&rng, 20 * PIECE_SIZE));
        }
    }
}

/* More bodies than lanes, with many buffers and with so few that they are scarce all the time. */
static void test_many(void **state)
{
    static const size_t buffers[] = {4, 24, 256};
    UNUSED(state);
    for (size_t n = 0; n < ARRAY_LEN(buffers); n++) {
        Fixture f;
        Uploader uploaders[THREADS];
        Err err = {0};
        open_fixture(&f, buffers[n]);
        for (size_t i = 0; i < THREADS; i++) {
            uploaders[i] = (Uploader){.f = &f, .seed = 100 * n + i + 1};
            assert_ok(thread_start(&uploaders[i].thread, "uploader", upload, &uploaders[i], &err),
                      &err);
        }
        for (size_t i = 0; i < THREADS; i++)
            thread_join(&uploaders[i].thread);
        close_fixture(&f);
    }
}

/* A body whose client says nothing does not stop another one, nor keep its buffers. */
static void test_beside_a_silent_one(void **state)
{
    UNUSED(state);
    Fixture f;
    Rng rng;
    uint8_t made[MD5_LEN];
    uint8_t digest[MD5_LEN];
    rng_init(&rng, 5);
    open_fixture(&f, 64);
    AUTO(HashCtx, hash_free) wanted = hash_new(HASH_MD5);
    Md5Stream *silent = md5_stream_new(f.thread);
    add_body(&f, silent, &rng, PIECE_SIZE + 9, wanted);
    check_body(&f, &rng, 30 * PIECE_SIZE);
    for (int i = 0; i < 10000 && buffers_free_count(f.buffers) < 64; i++)
        usleep(1000);
    assert_int_equal(buffers_free_count(f.buffers), 64); /* gathered for a while, not for ever */
    add_body(&f, silent, &rng, 100, wanted);
    md5_stream_end(silent, made);
    hash_final(wanted, digest);
    assert_memory_equal(made, digest, MD5_LEN);
    close_fixture(&f);
}

static void test_given_up(void **state)
{
    UNUSED(state);
    Fixture f;
    Rng rng;
    rng_init(&rng, 6);
    open_fixture(&f, 64);
    AUTO(HashCtx, hash_free) unused = hash_new(HASH_MD5);
    md5_stream_drop(NULL);
    md5_stream_drop(md5_stream_new(f.thread));
    Md5Stream *stream = md5_stream_new(f.thread);
    add_body(&f, stream, &rng, 3 * PIECE_SIZE, unused);
    md5_stream_drop(stream);
    assert_int_equal(buffers_free_count(f.buffers), 64);
    close_fixture(&f);
}

static void test_no_thread(void **state)
{
    UNUSED(state);
    Err err = {0};
    Fixture f = {0};
    assert_ok(buffers_open(4, PIECE_SIZE, &f.buffers, &err), &err);
    fault_arm("thread.start", EAGAIN, 1, false);
    assert_int_equal(md5_thread_open(f.buffers, &f.thread, &err), ERR_SYSTEM);
    fault_reset();
    assert_null(f.thread);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_beside_a_silent_one),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
