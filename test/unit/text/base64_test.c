#include "testing.h"
#include "text/base64.h"

#include <string.h>

/* RFC 4648 section 10, and all 64 characters. */
static const struct {
    const char *plain;
    const char *text;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xef\xbe\xff", "++++/w=="},
};

static void encodes_and_decodes(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char text[20];
        uint8_t plain[8];
        size_t len = strlen(vectors[i].plain), got = 99;
        base64_encode(vectors[i].plain, len, text);
        assert_string_equal(text, vectors[i].text);
        assert_int_equal(strlen(text), base64_encoded_len(len));
        assert_true(base64_decode(str_from_cstr(text), plain, len, &got));
        assert_int_equal(got, len);
        assert_memory_equal(plain, vectors[i].plain, len);
        if (len > 0) assert_false(base64_decode(str_from_cstr(text), plain, len - 1, &got));
    }
}

static void round_trips_every_byte(void **state)
{
    UNUSED(state);
    uint8_t all[256], back[256];
    char text[345];
    for (size_t i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    for (size_t len = 0; len <= 256; len++) {
        size_t got;
        base64_encode(all, len, text);
        assert_true(base64_decode(str_from_cstr(text), back, sizeof back, &got));
        assert_int_equal(got, len);
        assert_memory_equal(back, all, len);
    }
}

static void refuses_other_forms(void **state)
{
    UNUSED(state);
    static const char *const bad[] = {
        "Zg",       "Zg=",     "Zg===", "Z===",  "====",     "=",    "Zm9v\n",
        "Zm9 ",     "Zh==",    "Zm9=",  "Zm-_",  "Zg==Zg==", "Zm=v", "Zm9v=",
        "Zm9v====", "\xc3Zg=", "Zm9",   " Zm9v", "Zm8",      "Zg=a"};
    uint8_t out[16];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (base64_decode(str_from_cstr(bad[i]), out, sizeof out, &len)) fail_msg("%s", bad[i]);
    assert_false(base64_decode(str_of("Zm9\0", 4), out, sizeof out, &len));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes),
        cmocka_unit_test(round_trips_every_byte),
        cmocka_unit_test(refuses_other_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
