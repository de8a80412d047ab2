#include "testing.h"

#include "base/rng.h"
#include "format/attr.h"

#include <string.h>

#define TYPES 40 /* of the random test */

static void test_set_keeps_order(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    assert_ok(attr_set(&attrs, 500, STR("new"), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("k"), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_ETAG, STR(""), &err), &err);
    static const char wanted[] = "\x01\x01k\x03\x00\xf4\x03\x03new";
    assert_true(str_eq(buf_str(&attrs), str_of(wanted, sizeof wanted - 1)));
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("longer"), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_ETAG, (Str){0}, &err), &err);  /* removed */
    assert_ok(attr_set(&attrs, ATTR_OWNER, (Str){0}, &err), &err); /* was not there */
    static const char changed[] = "\x01\x06longer\xf4\x03\x03new";
    assert_true(str_eq(buf_str(&attrs), str_of(changed, sizeof changed - 1)));
    Str value;
    assert_true(attr_get(buf_str(&attrs), 500, &value));
    assert_str(value, "new");
    assert_false(attr_get(buf_str(&attrs), ATTR_ETAG, &value));
    assert_false(attr_get(buf_str(&attrs), 501, &value));
}

static void test_remove_from_nothing(void **state)
{
    UNUSED(state);
    AUTO_BUF(attrs, 16);
    assert_ok(attr_set(&attrs, ATTR_KEY, (Str){0}, NULL), NULL);
    assert_int_equal(attrs.len, 0);
}

static void test_varint(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    uint64_t number = 7;
    static const uint64_t values[] = {0, 127, 128, 1760000000000, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_ok(attr_set_varint(&attrs, ATTR_EXPIRES_MS, values[i], &err), &err);
        assert_true(attr_get_varint(buf_str(&attrs), ATTR_EXPIRES_MS, &number));
        assert_true(number == values[i]);
    }
    assert_false(attr_get_varint(buf_str(&attrs), ATTR_KEY, &number));
    static const Str bad[] = {STR_INIT(""), STR_INIT("\x80"), STR_INIT("\x80\x00"),
                              STR_INIT("\x01\x01")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_ok(attr_set(&attrs, ATTR_EXPIRES_MS, bad[i], &err), &err);
        assert_false(attr_get_varint(buf_str(&attrs), ATTR_EXPIRES_MS, &number));
    }
    assert_true(number == UINT64_MAX);
}

static void test_limits(void **state)
{
    UNUSED(state);
    Err err = {0};
    static char big[ATTRS_MAX + 1];
    AUTO_BUF(attrs, 2 * ATTRS_MAX);
    /* type 1 byte, length 3 bytes */
    assert_code(attr_set(&attrs, ATTR_KEY, str_of(big, ATTRS_MAX - 3), &err), ERR_TOO_BIG, &err);
    assert_code(attr_set(&attrs, ATTR_KEY, str_of(big, sizeof big), &err), ERR_TOO_BIG, &err);
    assert_int_equal(attrs.len, 0);
    assert_ok(attr_set(&attrs, ATTR_KEY, str_of(big, ATTRS_MAX - 4), &err), &err);
    assert_true(attrs_valid(buf_str(&attrs)));
    assert_code(attr_set(&attrs, ATTR_ETAG, STR(""), &err), ERR_TOO_BIG, &err);
    assert_int_equal(attrs.len, ATTRS_MAX);
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("k"), &err), &err);
    assert_int_equal(attrs.len, 3);

    AUTO_BUF(small, 8); /* the buffer's own maximum */
    assert_ok(attr_set(&small, ATTR_KEY, STR("abc"), &err), &err);
    assert_code(attr_set(&small, ATTR_ETAG, STR("defg"), &err), ERR_TOO_BIG, &err);
    assert_int_equal(small.len, 5);
}

static void test_valid(void **state)
{
    UNUSED(state);
    static const struct {
        Str attrs;
        bool valid;
    } rows[] = {
        {STR_INIT(""), true},
        {STR_INIT("\x01\x00"), true},
        {STR_INIT("\x01\x00\x02\x01x"), true},
        {STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"), true}, /* highest type */
        {STR_INIT("\x00\x00"), false},                                    /* type 0 */
        {STR_INIT("\x01\x00\x01\x00"), false},                            /* twice */
        {STR_INIT("\x02\x00\x01\x00"), false},                            /* falling */
        {STR_INIT("\x01"), false},
        {STR_INIT("\x01\x02x"), false},
        {STR_INIT("\x81\x00\x00"), false}, /* a longer form of 1 */
        {STR_INIT("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (attrs_valid(rows[i].attrs) != rows[i].valid) fail_msg("row %zu", i);
    }
    static uint8_t many[ATTRS_MAX + 2];
    Enc enc = enc_of(many, sizeof many);
    enc_varint(&enc, 1);
    enc_varint(&enc, ATTRS_MAX - 2); /* 1 + 3 bytes before it: too long by two */
    enc_zeros(&enc, ATTRS_MAX - 2);
    assert_false(attrs_valid(str_of(many, enc.len)));
}

static void test_next_stops_at_malformed(void **state)
{
    UNUSED(state);
    Str attrs = STR("\x01\x01k\x02\x09x");
    size_t pos = 0;
    Attr attr = {0};
    assert_true(attr_next(attrs, &pos, &attr));
    assert_int_equal(attr.type, ATTR_KEY);
    assert_str(attr.value, "k");
    assert_false(attr_next(attrs, &pos, &attr));
    assert_int_equal(pos, 3);
    Str value;
    assert_false(attr_get(attrs, 2, &value));
}

/* Random sets and removals against a plain table. */
static void test_random(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        Rng rng;
        rng_init(&rng, seed);
        AUTO_BUF(attrs, ATTRS_MAX);
        char values[TYPES + 1][200];
        size_t lens[TYPES + 1];
        bool there[TYPES + 1] = {false};
        for (int step = 0; step < 100; step++) {
            uint64_t type = 1 + rng_below(&rng, TYPES);
            there[type] = !rng_chance(&rng, 300000);
            lens[type] = rng_below(&rng, sizeof values[0]);
            rng_bytes(&rng, values[type], lens[type]);
            Str value = there[type] ? str_of(values[type], lens[type]) : (Str){0};
            assert_ok(attr_set(&attrs, type, value, NULL), NULL);
        }
        assert_true(attrs_valid(buf_str(&attrs)));
        for (uint64_t type = 1; type <= TYPES; type++) {
            Str value;
            assert_int_equal(attr_get(buf_str(&attrs), type, &value), there[type]);
            if (there[type]) assert_true(str_eq(value, str_of(values[type], lens[type])));
        }
    }
}

static void set_on_malformed(void *arg)
{
    ErrCode code = attr_set(arg, ATTR_KEY, STR("k"), NULL);
    UNUSED(code); /* does not get here */
}

static void test_set_asserts(void **state)
{
    UNUSED(state);
    AUTO_BUF(attrs, 16);
    assert_ok(buf_append(&attrs, "\x01", 1, NULL), NULL);
    assert_aborts(set_on_malformed, &attrs, "attrs_valid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_keeps_order), cmocka_unit_test(test_remove_from_nothing),
        cmocka_unit_test(test_varint),          cmocka_unit_test(test_limits),
        cmocka_unit_test(test_valid),           cmocka_unit_test(test_next_stops_at_malformed),
        cmocka_unit_test(test_random),          cmocka_unit_test(test_set_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
