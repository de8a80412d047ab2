/* The node's threads over a real directory: many submitters, one compare-and-swap point, a clean
 * stop that leaves nothing to replay. Under ThreadSanitizer this is the test of what the threads
 * share. */
#include "node_threads.h"
#include "testing.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/thread.h"

#define SUBMITTERS 4
#define EACH 150

static const NodeThreadsOptions options = {.shard_count = 8, .queue_max = 1024};

typedef struct {
    NodeThreads *node;
    unsigned number;
    unsigned won;
    unsigned failed;
} Submitter;

static ErrCode put(Submitter *s, const char *key, const char *body, bool only_new)
{
    Mutation m;
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = str_from_cstr(key);
    m.inline_body = str_from_cstr(body);
    m.size = m.inline_body.len;
    m.digest = sha256_of(body, m.inline_body.len);
    if (only_new) m.if_none_match = STR("*");
    ErrCode code = node_threads_submit(s->node, &m);
    mutation_deinit(&m);
    return code;
}

static bool holds(ServiceReader *reader, const char *key, const char *body)
{
    for (int tries = 0; tries < 8; tries++) {
        StoreFound found;
        Str got;
        Err err = {0};
        if (service_find(reader, STR("files"), str_from_cstr(key), NULL, &found, &err) != OK)
            return false;
        ErrCode code = service_body(reader, &found, &got, &err);
        if (code == OK) return str_eq(got, str_from_cstr(body));
        if (code != ERR_NOT_FOUND) return false; /* else it moved: look again */
    }
    return false;
}

/* Own keys, each read back at once; and one race with the others per round. */
static void submit_run(void *arg)
{
    Submitter *s = arg;
    ServiceReader *reader = NULL;
    Err err = {0};
    if (service_reader_open(s->node->service, &reader, &err) != OK) s->failed++;
    for (unsigned i = 0; i < EACH && s->failed == 0; i++) {
        char key[32];
        char body[64];
        snprintf(key, sizeof key, "own/%u/%u", s->number, i % 40);
        snprintf(body, sizeof body, "body %u of %u", i, s->number);
        if (put(s, key, body, false) != OK)
            s->failed++;
        else if (!holds(reader, key, body))
            s->failed++;
        snprintf(key, sizeof key, "race/%u", i);
        ErrCode code = put(s, key, "mine", true);
        if (code == OK)
            s->won++;
        else if (code != ERR_PRECONDITION)
            s->failed++;
    }
    service_reader_free(reader);
}

static void test_threads(void **state)
{
    UNUSED(state);
    NodeThreads node;
    NodeThreads *n = &node;
    node_threads_init(n, &options, 5);
    node_threads_start(n);
    Submitter submitters[SUBMITTERS];
    Thread threads[SUBMITTERS];
    Err err = {0};
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (Submitter){.node = n, .number = i};
        assert_ok(thread_start(&threads[i], "submitter", submit_run, &submitters[i], &err), &err);
    }
    unsigned won = 0;
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        thread_join(&threads[i]);
        assert_int_equal(submitters[i].failed, 0);
        won += submitters[i].won;
    }
    assert_int_equal(won, EACH); /* one winner in each round */
    /* Answers are out before the core tells how many it still owes. */
    for (int i = 0; i < 6000 && workers_in_flight(n->workers) > 0; i++)
        usleep(1000);
    assert_int_equal(workers_in_flight(n->workers), 0);
    node_threads_stop(n);
    node_threads_start(n);
    assert_int_equal(n->opened.unapplied, 0); /* nothing to replay after a clean stop */
    ServiceReader *reader = NULL;
    assert_ok(service_reader_open(n->service, &reader, &err), &err);
    assert_true(holds(reader, "own/0/39", "body 119 of 0"));
    assert_true(holds(reader, "race/0", "mine"));
    service_reader_free(reader);
    node_threads_stop(n);
    node_threads_deinit(n);
}

/* After the stop began nothing is taken, and nobody waits for ever. */
static void test_refuses_when_stopped(void **state)
{
    UNUSED(state);
    NodeThreads node;
    NodeThreads *n = &node;
    node_threads_init(n, &options, 6);
    node_threads_start(n);
    Err err = {0};
    assert_ok(workers_close(n->workers, &err), &err);
    Submitter s = {.node = n};
    assert_int_equal(put(&s, "late", "x", false), ERR_SHUTTING_DOWN);
    node_threads_free(n);
    node_threads_deinit(n);
}

typedef struct {
    Submitter submitter;
    ErrCode code;
    _Atomic bool done;
} OnePut;

static void one_put_run(void *arg)
{
    OnePut *one = arg;
    one->code = put(&one->submitter, "waits", "for room", false);
    atomic_store(&one->done, true);
}

/* Waits until the log has attested all of it and is quiet: what is written next is a change. */
static void wait_quiet(NodeThreads *n)
{
    WalStats before = {0};
    WalStats now = {0};
    for (int i = 0; i < 120 && (i == 0 || now.syncs != before.syncs); i++) {
        wal_stats(store_wal(n->store), &before);
        usleep(500000);
        wal_stats(store_wal(n->store), &now);
    }
    assert_int_equal(now.syncs, before.syncs);
}

/* A log that can't be written for want of space keeps what it was given, uploads are refused
 * meanwhile, and when there is room it goes on by itself. The same when the stop comes first. */
static void check_no_space(bool room_comes)
{
    NodeThreads node;
    NodeThreads *n = &node;
    Err err = {0};
    Thread thread;
    node_threads_init(n, &options, 7);
    node_threads_start(n);
    OnePut one = {.submitter = {.node = n}, .code = OK};
    Submitter other = {.node = n};
    wait_quiet(n);
    fault_arm("disk.write", ENOSPC, 1, true);
    assert_ok(thread_start(&thread, "submitter", one_put_run, &one, &err), &err);
    for (int i = 0; i < 6000 && !atomic_load(workers_full(n->workers)); i++)
        usleep(5000);
    assert_true(atomic_load(workers_full(n->workers)));
    usleep(300000); /* one more try */
    assert_false(atomic_load(&one.done));
    assert_int_equal(put(&other, "refused", "x", false), ERR_NO_SPACE);
    assert_false(workers_failed(n->workers));
    if (room_comes) fault_reset();
    for (int i = 0; room_comes && i < 6000 && !atomic_load(&one.done); i++)
        usleep(5000);
    if (!room_comes) {
        ErrCode code = workers_close(n->workers, &err);
        assert_int_equal(code, ERR_NO_SPACE); /* it ends, and says why */
    }
    thread_join(&thread);
    fault_reset();
    assert_int_equal(one.code, room_comes ? OK : ERR_OUTCOME_UNKNOWN);
    if (room_comes) {
        for (int i = 0; i < 6000 && atomic_load(workers_full(n->workers)); i++)
            usleep(5000);
        assert_int_equal(put(&other, "taken", "x", false), OK);
        node_threads_stop(n);
    } else {
        node_threads_free(n);
    }
    node_threads_deinit(n);
}

static void test_no_space(void **state)
{
    UNUSED(state);
    check_no_space(true);
}

static void test_no_space_at_the_end(void **state)
{
    UNUSED(state);
    check_no_space(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refuses_when_stopped),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_space_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
