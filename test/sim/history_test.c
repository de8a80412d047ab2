/* The check of histories: each row is one key's history as a text, a letter an event. */
#include "history.h"
#include "testing.h"

#include <ctype.h>
#include <string.h>

static void land(History *h, uint64_t op, const char *values)
{
    uint64_t list[HISTORY_VALUES];
    unsigned count = 0;
    for (; values[count] != ' ' && values[count] != '\0'; count++)
        list[count] = (uint64_t)(values[count] - '0');
    history_fell_back(h, op, list, count);
}

/* Events, separated by spaces: "wN=V" write V begins as operation N, "nN=V" create, "sN=E>V" swap,
 * "dN" delete; "+N" it was done, "-N" it was refused, "!" the outcomes of what is left are settled,
 * "rV" a read that saw V, "fN" what was acknowledged may be lost from now on, "lN=V…" it was by
 * now, or one of these is there. N and V are one digit. */
static bool has_order(const char *text, HistoryStats *stats)
{
    History *h = history_new();
    uint64_t op[10];
    unsigned key = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == ' ') continue;
        unsigned n = *at == '!' ? 0 : (unsigned)(at[1] - '0');
        switch (*at) {
        case 'w': op[n] = history_begin(h, 0, HISTORY_WRITE, (uint64_t)(at[3] - '0'), 0); break;
        case 'n': op[n] = history_begin(h, 0, HISTORY_CREATE, (uint64_t)(at[3] - '0'), 0); break;
        case 's':
            op[n] = history_begin(h, 0, HISTORY_SWAP, (uint64_t)(at[5] - '0'),
                                  (uint64_t)(at[3] - '0'));
            break;
        case 'd': op[n] = history_begin(h, 0, HISTORY_DELETE, 0, 0); break;
        case '+': history_done(h, op[n]); break;
        case '-': history_refused(h, op[n]); break;
        case '!': history_settled(h); break;
        case 'r': history_read(h, 0, n, history_now(h)); break;
        case 'f': op[n] = history_fall_back(h, 0); break;
        case 'l': land(h, op[n], at + 3); break;
        default: fail_msg("%s", text);
        }
        while (at[1] != ' ' && at[1] != '\0')
            at++;
    }
    bool good = history_check(h, &key, stats);
    history_free(h);
    return good;
}

static void orders(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"r0", true},
        {"r1", false},
        {"w1=1 +1 r1", true},
        {"w1=1 +1 r0", false},            /* lost */
        {"w1=1 r0 r1 +1 r1", true},       /* under way: not yet, then done */
        {"w1=1 r1 r0 +1", false},         /* seen, then not */
        {"w1=1 w2=2 +1 +2 r1", true},     /* either is the last */
        {"w1=1 w2=2 +1 +2 r1 r2", false}, /* but not both */
        {"w1=1 +1 w2=2 +2 r1", false},    /* stale */
        {"n1=1 n2=2 +1 -2 r1", true},
        {"n1=1 n2=2 +1 +2", false}, /* two winners */
        {"n1=1 -1", false},         /* refused for no reason */
        {"w1=1 +1 s2=1>2 s3=1>3 +2 -3 r2", true},
        {"w1=1 +1 s2=1>2 s3=1>3 +2 +3", false}, /* two winners */
        {"w1=1 +1 s2=1>2 -2", false},
        {"w1=1 +1 d2 +2 r0", true},
        {"w1=1 +1 d2 +2 r1", false}, /* it came back */
        {"d1 -1", true},
        {"d1 +1", false},
        {"w1=1 +1 w2=2 ! r1", true},     /* unknown: never */
        {"w1=1 +1 w2=2 ! r2", true},     /* unknown: done */
        {"w1=1 +1 w2=2 ! r1 r2", false}, /* after the start it cannot come any more */
        {"w1=1 +1 w2=2 ! r2 r1", false}, /* seen, then lost */
        {"w1=1 +1 s2=1>2 w3=3 ! r3 d4 +4 r0", true},
        {"w1=1 +1 s2=1>2 s3=2>3 ! r3", true},      /* one after the other */
        {"w1=1 +1 s2=4>2 s3=2>3 ! r3", false},     /* what it rests on cannot have been */
        {"w1=1 +1 w2=2 +2 r2 f3 l3=12 r1", true},  /* the last is lost … */
        {"w1=1 +1 w2=2 +2 r2 f3 l3=12 r2", true},  /* … or not … */
        {"w1=1 +1 w2=2 +2 r2 f3 l3=12 r0", false}, /* … and nothing else */
        {"w1=1 +1 w2=2 +2 f3 l3=12 r1 r2", false}, /* what is lost does not come back */
        {"w1=1 +1 w2=2 +2 r1 f3 l3=12 r1", false}, /* before that it must be seen */
        {"w1=1 +1 f3 w2=2 +2 l3=012 r2", true},    /* a change meanwhile: behind it */
        {"w1=1 +1 f3 w2=2 +2 l3=012 r0", true},    /* or before it */
        {"w1=1 +1 f3 l3=01 w2=2 +2 r1", false},    /* not what comes later */
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        HistoryStats stats = {0};
        if (has_order(rows[i].text, &stats) != rows[i].good) fail_msg("\"%s\"", rows[i].text);
        assert_int_equal(stats.gave_up, 0);
    }
}

/* Keys are apart; a read may have begun long ago; more than fit the search are left out. */
static void keys_and_moments(void **state)
{
    HistoryStats stats = {0};
    unsigned key = 9;
    UNUSED(state);
    History *h = history_new();
    uint64_t moment = history_now(h);
    history_done(h, history_begin(h, 1, HISTORY_WRITE, 5, 0));
    history_read(h, 0, 0, history_now(h));
    history_read(h, 1, 0, moment);
    history_done(h, history_begin(h, 1, HISTORY_CHANGE, 6, 0));
    history_void(h, history_begin(h, 1, HISTORY_CREATE, 7, 0));
    history_done(h, HISTORY_NONE);
    assert_true(history_check(h, &key, &stats));
    assert_int_equal(stats.ops, 4);
    history_read(h, 1, 0, history_now(h));
    assert_false(history_check(h, &key, &stats));
    assert_int_equal(key, 1);
    history_free(h);
    h = history_new();
    for (int i = 0; i < 100; i++)
        history_begin(h, 0, HISTORY_CREATE, 1, 0);
    history_read(h, 0, 2, history_now(h));
    stats = (HistoryStats){0};
    assert_true(history_check(h, &key, &stats));
    assert_int_equal(stats.gave_up, 1);
    history_free(h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders),
        cmocka_unit_test(keys_and_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
