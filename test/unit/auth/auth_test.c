#include "testing.h"

#include "auth/auth.h"
#include <stdio.h>
#include <string.h>

#define COUNT 3
static AuthKey known[COUNT];
static const AuthKeys keys = {known, COUNT};

static int make_keys(void **state)
{
    static const char *const names[COUNT] = {"root", "alice", "bob"};
    static const unsigned rights[COUNT] = {RIGHTS_ALL, RIGHT_READ | RIGHT_LIST, 0};
    UNUSED(state);
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t random[KEY_RANDOM_LEN];
        random_bytes(i, random, sizeof random);
        key_generate(random, &known[i].key);
        (void)snprintf(known[i].name, sizeof known[i].name, "%s", names[i]); /* fits */
        known[i].rights = rights[i];
    }
    return 0;
}

static ErrCode identify(const AuthKeys *with, const AccessKey *key, Identity *out, Err *err)
{
    char text[KEY_TEXT_LEN + 1];
    char header[KEY_TEXT_LEN + 16];
    key_text(key, text);
    (void)snprintf(header, sizeof header, "Bearer %s", text); /* fits */
    return auth_identify(with, &(AuthRequest){.authorization = str_from_cstr(header)}, out, err);
}

static void test_known(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < COUNT; i++) {
        Err err = {0};
        Identity who;
        assert_ok(identify(&keys, &known[i].key, &who, &err), &err);
        assert_str(who.name, known[i].name);
        assert_str(who.key_id, known[i].key.id);
        assert_int_equal(who.rights, known[i].rights);
    }
}

/* Each character of id and secret matters, and the answer is the same. */
static void test_wrong(void **state)
{
    UNUSED(state);
    char text[ERR_MESSAGE_MAX] = "";
    for (size_t i = 0; i < KEY_ID_LEN + KEY_SECRET_LEN; i++) {
        Err err = {0};
        Identity who = {.rights = 99};
        AccessKey key = known[1].key;
        char *c = i < KEY_ID_LEN ? &key.id[i] : &key.secret[i - KEY_ID_LEN];
        *c = *c == 'Q' ? 'R' : 'Q';
        assert_code(identify(&keys, &key, &who, &err), ERR_UNAUTHENTICATED, &err);
        assert_int_equal(who.rights, 99);
        if (i == 0) memcpy(text, err.message, sizeof text);
        assert_string_equal(err.message, text);
        assert_null(strstr(err.message, key.id));
    }
    /* One's id with another's secret. */
    Err err = {0};
    Identity who;
    AccessKey mixed = known[0].key;
    memcpy(mixed.secret, known[1].key.secret, sizeof mixed.secret);
    assert_code(identify(&keys, &mixed, &who, &err), ERR_UNAUTHENTICATED, &err);
    assert_string_equal(err.message, text);
}

static void test_no_keys(void **state)
{
    Err err = {0};
    Identity who;
    UNUSED(state);
    assert_code(identify(&(AuthKeys){0}, &known[0].key, &who, &err), ERR_UNAUTHENTICATED, &err);
}

static void test_no_header(void **state)
{
    static const char *const headers[] = {"", "Bearer", "Bearer x", "Basic eA==", "Digest a=b"};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        Err err = {0};
        Identity who;
        AuthRequest request = {.authorization = str_from_cstr(headers[i])};
        assert_code(auth_identify(&keys, &request, &who, &err), ERR_UNAUTHENTICATED, &err);
        assert_code(auth_identify(&keys, &request, &who, NULL), ERR_UNAUTHENTICATED, NULL);
    }
}

static void test_rights(void **state)
{
    Err err = {0};
    Identity who;
    UNUSED(state);
    assert_int_equal(RIGHTS_ALL, 0x3f);
    assert_ok(identify(&keys, &known[0].key, &who, &err), &err);
    assert_ok(auth_allows(&who, RIGHTS_ALL, &err), &err);
    assert_ok(identify(&keys, &known[1].key, &who, &err), &err);
    assert_ok(auth_allows(&who, RIGHT_READ, &err), &err);
    assert_ok(auth_allows(&who, RIGHT_READ | RIGHT_LIST, &err), &err);
    assert_code(auth_allows(&who, RIGHT_READ | RIGHT_WRITE, &err), ERR_FORBIDDEN, &err);
    assert_code(auth_allows(&who, RIGHT_ADMIN, &err), ERR_FORBIDDEN, &err);
    assert_ok(identify(&keys, &known[2].key, &who, &err), &err);
    assert_code(auth_allows(&who, RIGHT_READ, &err), ERR_FORBIDDEN, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),   cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_no_keys), cmocka_unit_test(test_no_header),
        cmocka_unit_test(test_rights),
    };
    return cmocka_run_group_tests_name("auth", tests, make_keys, NULL);
}
