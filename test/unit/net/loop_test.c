#include "base/clock.h"
#include "base/mem.h"
#include "net/loop.h"
#include "testing.h"

#include <pthread.h>

#define POSTERS 4
#define POSTS 5000

typedef struct {
    Loop *loop;
    LoopTask tasks[POSTS];
    unsigned next; /* the post that must come next; the loop's */
} Poster;

static Loop *open_and_start(unsigned index)
{
    Err err;
    Loop *loop;
    assert_ok(loop_open(index, &loop, &err), &err);
    assert_ok(loop_start(loop, &err), &err);
    return loop;
}

typedef struct {
    Poster *poster;
    unsigned number;
} Post;

static Post posts[POSTERS][POSTS];

static void run_post(void *arg)
{
    Post *post = arg;
    assert_true(loop_is_mine(post->poster->loop));
    assert_int_equal(post->poster->next, post->number);
    post->poster->next++;
}

static void *post_all(void *arg)
{
    Poster *poster = arg;
    for (size_t i = 0; i < POSTS; i++)
        loop_post(poster->loop, &poster->tasks[i]);
    return NULL;
}

static void nothing(void *arg)
{
    UNUSED(arg);
}

/* Posts of one thread run in order, none is lost, none is late for loop_call(). */
static void runs_posts_in_order(void **state)
{
    UNUSED(state);
    static Poster posters[POSTERS];
    pthread_t threads[POSTERS];
    Loop *loop = open_and_start(3);
    assert_int_equal(loop_index(loop), 3);
    assert_false(loop_is_mine(loop));
    for (size_t p = 0; p < POSTERS; p++) {
        posters[p].loop = loop;
        for (unsigned i = 0; i < POSTS; i++) {
            posts[p][i] = (Post){&posters[p], i};
            posters[p].tasks[i] = (LoopTask){.fn = run_post, .arg = &posts[p][i]};
        }
        assert_int_equal(pthread_create(&threads[p], NULL, post_all, &posters[p]), 0);
    }
    for (size_t p = 0; p < POSTERS; p++)
        assert_int_equal(pthread_join(threads[p], NULL), 0);
    loop_call(loop, nothing, NULL);
    for (size_t p = 0; p < POSTERS; p++)
        assert_int_equal(posters[p].next, POSTS);
    loop_close(loop);
}

typedef struct {
    LoopTask task;
    Loop *loop;
    _Atomic unsigned runs;
} Again;

static void run_again(void *arg)
{
    Again *again = arg;
    if (++again->runs < 100) loop_post(again->loop, &again->task);
}

/* What is posted before loop_close() is done, also from the loop itself. */
static void runs_what_was_posted_before_closing(void **state)
{
    UNUSED(state);
    Again again = {.loop = open_and_start(0)};
    again.task = (LoopTask){.fn = run_again, .arg = &again};
    loop_call(again.loop, run_again, &again);
    while (true) {
        unsigned before = again.runs;
        loop_call(again.loop, nothing, NULL);
        if (again.runs == before && before == 100) break;
    }
    loop_close(again.loop);
    assert_int_equal(again.runs, 100);
    Err err;
    assert_ok(loop_open(1, &again.loop, &err), &err); /* never started */
    assert_true(loop_is_mine(again.loop));
    loop_call(again.loop, nothing, NULL);
    loop_close(again.loop);
    loop_close(NULL);
}

typedef struct {
    Loop *loop;
    LoopTimer *timer;
    unsigned fires;
    uint64_t first_ms;
} Timing;

static void on_fire(void *arg)
{
    Timing *timing = arg;
    if (timing->fires++ == 0) timing->first_ms = clock_boot_ns(clock_real()) / 1000000;
    if (timing->fires == 3) {
        loop_timer_free(timing->timer);
        timing->timer = NULL;
    }
}

static void start_timer(void *arg)
{
    Timing *timing = arg;
    timing->timer = loop_timer_new(timing->loop, 30, 5, on_fire, timing);
    loop_timer_free(loop_timer_new(timing->loop, 0, 1, on_fire, NULL)); /* never fires */
    loop_timer_free(NULL);
}

static void fires_timers(void **state)
{
    UNUSED(state);
    uint64_t start_ms = clock_boot_ns(clock_real()) / 1000000;
    Timing timing = {.loop = open_and_start(0)};
    loop_call(timing.loop, start_timer, &timing);
    loop_close(timing.loop); /* ends when the timer is gone */
    assert_int_equal(timing.fires, 3);
    assert_true(timing.first_ms - start_ms >= 29);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_posts_in_order),
        cmocka_unit_test(runs_what_was_posted_before_closing),
        cmocka_unit_test(fires_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
