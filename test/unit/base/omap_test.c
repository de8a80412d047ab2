#include "testing.h"

#include "base/omap.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

static void test_empty(void **state)
{
    UNUSED(state);
    AUTO(OMap, omap_free) map = omap_new(1);
    assert_null(omap_get(map, STR("")));
    assert_null(omap_remove(map, STR("a")));
    assert_null(omap_first(map, STR("")));
    assert_int_equal(omap_count(map), 0);
    omap_free(NULL);
}

static void test_keys(void **state)
{
    UNUSED(state);
    /* In the order of memcmp, a prefix first. */
    static const Str keys[] = {
        STR_INIT(""),   STR_INIT("\0"), STR_INIT("\0a"),  STR_INIT("a"),    STR_INIT("a\0"),
        STR_INIT("aa"), STR_INIT("b"),  STR_INIT("\x7f"), STR_INIT("\x80"), STR_INIT("\xff\xff")};
    AUTO(OMap, omap_free) map = omap_new(1);
    char values[ARRAY_LEN(keys)];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        size_t mixed = i * 7 % ARRAY_LEN(keys);
        char copy[4];
        memcpy(copy, keys[mixed].ptr, keys[mixed].len);
        assert_null(omap_put(map, str_of(copy, keys[mixed].len), &values[mixed]));
        memset(copy, '#', sizeof copy); /* the map has its own copy */
    }
    const OMapNode *node = omap_first(map, STR(""));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_non_null(node);
        assert_true(str_eq(omap_key(node), keys[i]));
        assert_ptr_equal(omap_value(node), &values[i]);
        assert_ptr_equal(omap_get(map, keys[i]), &values[i]);
        assert_ptr_equal(omap_first(map, keys[i]), node);
        node = omap_next(node);
    }
    assert_null(node);
    assert_null(omap_first(map, STR("\xff\xff\0")));
    assert_ptr_equal(omap_value(omap_first(map, STR("ab"))), &values[6]);
    assert_ptr_equal(omap_put(map, STR("a"), &values[0]), &values[3]); /* gives the old one */
    assert_ptr_equal(omap_get(map, STR("a")), &values[0]);
    assert_int_equal(omap_count(map), ARRAY_LEN(keys));
}

#define MODEL_KEYS 300

/* The model: which of 300 keys are in, and with what value. */
static void assert_like_model(const OMap *map, void *const *model)
{
    size_t count = 0;
    const OMapNode *node = omap_first(map, STR(""));
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        if (model[i] == NULL) continue;
        char key[8];
        snprintf(key, sizeof key, "%04zu", i);
        assert_non_null(node);
        assert_str(omap_key(node), key);
        assert_ptr_equal(omap_value(node), model[i]);
        node = omap_next(node);
        count++;
    }
    assert_null(node);
    assert_int_equal(omap_count(map), count);
}

static void test_model(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        Rng rng;
        rng_init(&rng, seed);
        AUTO(OMap, omap_free) map = omap_new(seed);
        void *model[MODEL_KEYS] = {NULL};
        static char values[100];
        for (int step = 0; step < 5000; step++) {
            size_t i = rng_below(&rng, MODEL_KEYS);
            char text[8];
            snprintf(text, sizeof text, "%04zu", i);
            Str key = str_from_cstr(text);
            /* Grows for a time, then shrinks for one. */
            if (rng_chance(&rng, step / 1000 % 2 == 0 ? 700000 : 200000)) {
                void *value = &values[rng_below(&rng, sizeof values)];
                assert_ptr_equal(omap_put(map, key, value), model[i]);
                model[i] = value;
            } else {
                assert_ptr_equal(omap_remove(map, key), model[i]);
                model[i] = NULL;
            }
            assert_ptr_equal(omap_get(map, key), model[i]);
            if (step % 100 == 0) assert_like_model(map, model);
        }
        assert_like_model(map, model);
    }
}

static void put_null(void *arg)
{
    omap_put(arg, STR("a"), NULL);
}

static void test_bugs(void **state)
{
    UNUSED(state);
    AUTO(OMap, omap_free) map = omap_new(1);
    assert_aborts(put_null, map, "value != NULL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
