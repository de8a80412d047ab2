#include "testing.h"

#include "auth/key.h"
#include "text/base64.h"
#include <string.h>

#define ID "HF0123456789ABCDEFGH"
#define SECRET "0123456789abcdefghijABCDEFGHIJ0123456789"

static void test_generate(void **state)
{
    UNUSED(state);
    uint8_t random[KEY_RANDOM_LEN] = {0};
    AccessKey key;
    AccessKey parsed;
    char text[KEY_TEXT_LEN + 1];
    key_generate(random, &key);
    key_text(&key, text);
    assert_string_equal(text, "HFAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

    size_t counts[256] = {0};
    for (uint64_t seed = 0; seed < 500; seed++) {
        random_bytes(seed, random, sizeof random);
        key_generate(random, &key);
        key_text(&key, text);
        assert_true(key_parse(str_from_cstr(text), &parsed));
        assert_memory_equal(&key, &parsed, sizeof key);
        for (size_t i = 0; i < KEY_SECRET_LEN; i++)
            counts[(unsigned char)key.secret[i]]++;
    }
    size_t used = 0;
    for (size_t c = 0; c < 256; c++) {
        if (counts[c] == 0) continue;
        used++;
        assert_in_range(counts[c], 20000 / 62 / 2, 20000 / 62 * 2);
    }
    assert_int_equal(used, 62);

    /* Every byte counts. */
    AccessKey other;
    random_bytes(1, random, sizeof random);
    key_generate(random, &key);
    for (size_t i = 0; i < sizeof random; i += 4) {
        random[i] ^= 1;
        key_generate(random, &other);
        assert_memory_not_equal(&key, &other, sizeof key);
        random[i] ^= 1;
    }
}

static void test_parse(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {ID "." SECRET, true},
        {"AKIAIOSFODNN7EXAMPLE." SECRET, true},
        {"", false},
        {".", false},
        {ID, false},
        {ID ":" SECRET, false},
        {ID "." SECRET "\n", false},
        {" " ID "." SECRET, false},
        {ID "." SECRET "x", false},
        {ID "x." SECRET, false},
        {"hf0123456789abcdefgh." SECRET, false},
        {"HF0123456789ABCDEFG-." SECRET, false},
        {"HF0123456789ABCDEFG@." SECRET, false}, /* beside A */
        {"HF0123456789ABCDEFG[." SECRET, false}, /* beside Z */
        {"HF0123456789ABCDEFG/." SECRET, false}, /* beside 0 */
        {ID ".0123456789abcdefghijABCDEFGHIJ012345678", false},
        {ID ".0123456789abcdefghijABCDEFGHIJ012345678+", false},
        {ID ".0123456789abcdefghijABCDEFGHIJ012345678`", false},
        {ID ".0123456789abcdefghijABCDEFGHIJ012345678{", false},
        {ID ".0123456789abcdefghijABCDEFGHIJ01234567\xc3\xa4", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AccessKey key = {.id = "untouched"};
        bool good = key_parse(str_from_cstr(rows[i].text), &key);
        if (good != rows[i].good) fail_msg("%s", rows[i].text);
        if (good)
            assert_string_equal(key.secret, SECRET);
        else
            assert_string_equal(key.id, "untouched");
    }
    char with_nul[] = ID "." SECRET;
    AccessKey key;
    with_nul[30] = '\0';
    assert_false(key_parse(str_of(with_nul, KEY_TEXT_LEN), &key));
}

static void test_bearer(void **state)
{
    UNUSED(state);
    static const struct {
        const char *header;
        bool good;
    } rows[] = {
        {"Bearer " ID "." SECRET, true},
        {"bearer " ID "." SECRET, true},
        {"BEARER   " ID "." SECRET, true},
        {"", false},
        {" ", false},
        {"Bearer", false},
        {"Bearer ", false},
        {"Bearer\t" ID "." SECRET, false},
        {"Bearer" ID "." SECRET, false},
        {" Bearer " ID "." SECRET, false},
        {"Bearer " ID "." SECRET " ", false},
        {"Bearer " ID "." SECRET ", Basic x", false},
        {"Bearer " ID ":" SECRET, false},
        {"Token " ID "." SECRET, false},
        {ID "." SECRET, false},
        {"Basic " ID "." SECRET, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AccessKey key;
        bool good = key_parse_authorization(str_from_cstr(rows[i].header), &key);
        if (good != rows[i].good) fail_msg("%s", rows[i].header);
        if (!good) continue;
        assert_string_equal(key.id, ID);
        assert_string_equal(key.secret, SECRET);
    }
}

/* "Basic " and the base64 form of pair, with what stands behind it. */
static bool basic(const char *pair, const char *behind, AccessKey *out)
{
    char header[512] = "Basic ";
    size_t len = strlen(pair);
    assert_true(base64_encoded_len(len) + strlen(behind) + 7 < sizeof header);
    base64_encode(pair, len, header + 6);
    size_t end = 6 + base64_encoded_len(len);
    memcpy(header + end, behind, strlen(behind) + 1);
    return key_parse_authorization(str_from_cstr(header), out);
}

static void test_basic(void **state)
{
    UNUSED(state);
    AccessKey key;
    assert_true(basic(ID ":" SECRET, "", &key));
    assert_string_equal(key.id, ID);
    assert_string_equal(key.secret, SECRET);
    /* As curl -u writes it. */
    assert_true(key_parse_authorization(
        STR("basic SEYwMTIzNDU2Nzg5QUJDREVGR0g6MDEyMzQ1Njc4OWFiY2RlZmdoaWpBQkNERUZHSElKMDEyMzQ1N"
            "jc4OQ=="),
        &key));
    assert_false(basic(ID "." SECRET, "", &key));
    assert_false(basic(ID ":" SECRET, "=", &key));
    assert_false(basic(ID ":" SECRET, " ", &key));
    assert_false(basic(ID ":" SECRET ":", "", &key));
    assert_false(basic(ID ":", "", &key));
    assert_false(basic("", "", &key));
    assert_false(basic(ID ":" SECRET ID ":" SECRET ID ":" SECRET, "", &key));
    assert_false(key_parse_authorization(STR("Basic ****"), &key));
}

static void test_wipe(void **state)
{
    UNUSED(state);
    static const char zeros[KEY_SECRET_LEN + 1];
    AccessKey key;
    assert_true(key_parse(STR(ID "." SECRET), &key));
    key_wipe(&key);
    assert_memory_equal(key.secret, zeros, sizeof key.secret);
    assert_string_equal(key.id, ID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate), cmocka_unit_test(test_parse),
        cmocka_unit_test(test_bearer),   cmocka_unit_test(test_basic),
        cmocka_unit_test(test_wipe),
    };
    return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
