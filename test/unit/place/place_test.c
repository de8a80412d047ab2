#include "testing.h"

#include "place/place.h"

#include <string.h>

static void test_defaults(void **state)
{
    UNUSED(state);
    static const uint8_t min_isr[] = {0, 1, 2, 2, 3, 3, 4, 4, 5, 5}; /* by copies */
    for (uint8_t copies = 1; copies <= PLACE_COPIES_MAX; copies++) {
        assert_int_equal(place_min_isr_default(copies), min_isr[copies]);
        PlacementClass class = placement_class_default(PLACE_CLASS_STANDARD, copies);
        Err err = {0};
        assert_ok(placement_class_check(&class, &err), &err);
        assert_int_equal(class.shard_count, 64);
        assert_int_equal(class.min_isr, min_isr[copies]);
        assert_int_equal(class.mode, PLACE_SYNC);
        assert_int_equal(class.require, PLACE_REQUIRE_IN_SYNC);
        /* Two sets of min_isr copies always share one. */
        assert_true(2 * class.min_isr > copies);
    }
    PlacementClass system = placement_class_default(PLACE_CLASS_SYSTEM, 3);
    assert_int_equal(system.shard_count, 1);
    assert_ok(placement_class_check(&system, NULL), NULL);
    assert_string_equal(placement_class_name(0), "system");
    assert_string_equal(placement_class_name(1), "standard");
    assert_null(placement_class_name(2));
}

static void test_check(void **state)
{
    UNUSED(state);
    static const struct {
        PlacementClass class;
        const char *wrong; /* a word of the message; NULL: nothing is wrong */
    } rows[] = {
        {{15, 1, 1, 1, PLACE_SYNC, PLACE_REQUIRE_ALL}, NULL},
        {{2, 4096, 9, 1, PLACE_ASYNC, PLACE_REQUIRE_IN_SYNC}, NULL},
        {{2, 64, 3, 3, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, NULL},
        {{16, 64, 3, 2, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "numbers"},
        {{2, 0, 3, 2, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "0 shards"},
        {{2, 4097, 3, 2, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "4097 shards"},
        {{0, 2, 3, 2, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "the system has one"},
        {{2, 64, 0, 0, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "0 copies"},
        {{2, 64, 10, 2, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "10 copies"},
        {{2, 64, 3, 0, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "min_isr 0"},
        {{2, 64, 3, 4, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC}, "min_isr 4"},
        {{2, 64, 3, 2, (PlaceMode)0, PLACE_REQUIRE_IN_SYNC}, "mode 0"},
        {{2, 64, 3, 2, PLACE_SYNC, (PlaceRequire)3}, "require 3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        ErrCode code = placement_class_check(&rows[i].class, &err);
        if (code != (rows[i].wrong == NULL ? OK : ERR_CONFIG)) fail_msg("row %zu", i);
        if (rows[i].wrong != NULL && strstr(err.message, rows[i].wrong) == NULL)
            fail_msg("row %zu: %s", i, err.message);
    }
}

static void test_weak(void **state)
{
    UNUSED(state);
    static const struct {
        uint8_t copies, min_isr;
        bool weak;
    } rows[] = {{1, 1, false}, {2, 1, true},  {2, 2, true},
                {3, 1, true},  {3, 2, false}, {5, 3, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        PlacementClass class = placement_class_default(1, rows[i].copies);
        class.min_isr = rows[i].min_isr;
        assert_int_equal(placement_class_is_weak(&class), rows[i].weak);
    }
}

/* Inside the class, the same each time, and spread evenly. */
static void test_shards(void **state)
{
    UNUSED(state);
    PlacementClass class = placement_class_default(1, 3);
    unsigned counts[PLACE_SHARDS_DEFAULT] = {0};
    for (uint32_t i = 0; i < 64000; i++) {
        uint8_t key[4];
        put_u32(key, i);
        ShardId shard = place_shard_of(&class, 7, str_of(key, sizeof key));
        assert_int_equal(shard_class(shard), 1);
        assert_true(shard_number(shard) < PLACE_SHARDS_DEFAULT);
        assert_int_equal(shard, shard_of_key(1, 64, 7, str_of(key, sizeof key)));
        counts[shard_number(shard)]++;
    }
    for (size_t i = 0; i < PLACE_SHARDS_DEFAULT; i++)
        assert_in_range(counts[i], 850, 1150);
    PlacementClass system = placement_class_default(PLACE_CLASS_SYSTEM, 3);
    assert_int_equal(place_shard_of(&system, BUCKET_UID_SYSTEM, STR("bucket/files")), SHARD_SYSTEM);
}

static void empty_key(void *arg)
{
    place_shard_of(arg, 7, (Str){0});
}

static void test_asserts(void **state)
{
    UNUSED(state);
    PlacementClass class = placement_class_default(1, 3);
    assert_aborts(empty_key, &class, "key.len");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_check),
        cmocka_unit_test(test_weak),     cmocka_unit_test(test_shards),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
