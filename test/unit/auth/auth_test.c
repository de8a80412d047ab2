#include "testing.h"

#include "auth/auth.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 3
static AuthKey known[COUNT];
static const AuthKeys keys = {known, COUNT};

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const AuthKey *)a)->key.id, ((const AuthKey *)b)->key.id);
}

static int make_keys(void **state)
{
    static const char *const names[COUNT] = {"root", "alice", "bob"};
    static const unsigned rights[COUNT] = {RIGHTS_ALL, RIGHT_READ | RIGHT_LIST, 0};
    UNUSED(state);
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t random[KEY_RANDOM_LEN];
        random_bytes(i, random, sizeof random);
        key_generate(random, &known[i].key);
        known[i].key.id[2] = (char)('A' + i); /* in the order of their ids */
        (void)snprintf(known[i].name, sizeof known[i].name, "%s", names[i]); /* fits */
        known[i].rights = rights[i];
    }
    qsort(known, COUNT, sizeof known[0], compare_ids);
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

/* What grants give over buckets, files and prefixes. */
static void test_grants(void **state)
{
    UNUSED(state);
    const AuthGrant grants[] = {
        {auth_rights_of(GRANT_READ), STR("photos"), STR("in/")},
        {auth_rights_of(GRANT_READ), STR("photos"), STR("in/a/")},
        {auth_rights_of(GRANT_READ), STR("photos"), STR("b")},
        {auth_rights_of(GRANT_WRITE), STR("photos"), STR("in/a/")},
        {auth_rights_of(GRANT_READ | GRANT_ADMIN), STR("docs"), {NULL, 0}},
        {auth_rights_of(GRANT_WRITE), STR("*"), STR("tmp/")},
    };
    Identity who = {.key_id = STR("HF"), .grants = grants, .grant_count = ARRAY_LEN(grants)};
    static const struct {
        unsigned rights;
        const char *bucket, *key;
        ErrCode code;
    } files[] = {
        {RIGHT_READ, "photos", "in/x", OK},
        {RIGHT_READ, "photos", "in", ERR_FORBIDDEN},
        {RIGHT_WRITE, "photos", "in/x", ERR_FORBIDDEN},
        {RIGHT_READ | RIGHT_WRITE, "photos", "in/a/x", OK},
        {RIGHT_READ, "docs", "x", OK},
        {RIGHT_WRITE, "docs", "x", ERR_FORBIDDEN},
        {RIGHT_WRITE, "docs", "tmp/x", OK},
        {RIGHT_READ, "docs", "tmp/x", OK},
        {RIGHT_READ, "photo", "in/x", ERR_FORBIDDEN},
        {RIGHT_READ, "*", "in/x", ERR_FORBIDDEN},
        {RIGHT_READ, "", "in/x", ERR_FORBIDDEN},
        {RIGHT_ADMIN, "docs", "x", OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        Err err = {0};
        ErrCode code = auth_allows_file(&who, files[i].rights, str_from_cstr(files[i].bucket),
                                        str_from_cstr(files[i].key), &err);
        if (code != files[i].code) fail_msg("row %zu", i);
    }
    Err err = {0};
    assert_ok(auth_allows_bucket(&who, RIGHT_BUCKETS, STR("docs"), &err), &err);
    assert_code(auth_allows_bucket(&who, RIGHT_READ, STR("photos"), &err), ERR_FORBIDDEN, &err);
    assert_code(auth_allows(&who, RIGHT_ADMIN, &err), ERR_FORBIDDEN, &err);
    assert_code(auth_allows(&who, RIGHT_WRITE, &err), ERR_FORBIDDEN, &err);
    assert_ok(auth_allows_some(&who, RIGHT_WRITE, STR("photos"), &err), &err);
    assert_ok(auth_allows_some(&who, RIGHT_BUCKETS, (Str){NULL, 0}, &err), &err);
    assert_code(auth_allows_some(&who, RIGHT_BUCKETS, STR("photos"), &err), ERR_FORBIDDEN, &err);
    assert_true(auth_sees_bucket(&who, STR("any")) && !auth_sees_bucket(&who, (Str){NULL, 0}));
    assert_true(auth_sees_file(&who, STR("photos"), STR("bcd")));
    assert_false(auth_sees_file(&who, STR("photos"), STR("a")));
}

static void test_scope(void **state)
{
    UNUSED(state);
    const AuthGrant grants[] = {
        {RIGHT_LIST, STR("box"), STR("c/")},    {RIGHT_LIST, STR("box"), STR("a/b/")},
        {RIGHT_LIST, STR("box"), STR("a/b/c")}, {RIGHT_LIST, STR("*"), STR("a/")},
        {RIGHT_WRITE, STR("box"), STR("d/")},
    };
    Identity who = {.key_id = STR("HF"), .grants = grants, .grant_count = ARRAY_LEN(grants)};
    AuthScope scope;
    Err err = {0};
    assert_ok(auth_scope(&who, RIGHT_LIST, STR("box"), (Str){NULL, 0}, &scope, &err), &err);
    assert_int_equal(scope.count, 2);
    assert_str(scope.prefixes[0], "a/");
    assert_str(scope.prefixes[1], "c/");
    assert_ok(auth_scope(&who, RIGHT_LIST, STR("box"), STR("a/b"), &scope, &err), &err);
    assert_int_equal(scope.count, 0);
    assert_ok(auth_scope(&who, RIGHT_LIST, STR("box"), STR("c"), &scope, &err), &err);
    assert_int_equal(scope.count, 1);
    assert_code(auth_scope(&who, RIGHT_LIST, STR("box"), STR("d/"), &scope, &err), ERR_FORBIDDEN,
                &err);
    assert_code(auth_scope(&who, RIGHT_LIST, STR("other"), STR("c/"), &scope, &err), ERR_FORBIDDEN,
                &err);
    assert_code(auth_scope(&who, RIGHT_DELETE, STR("box"), STR(""), &scope, &err), ERR_FORBIDDEN,
                &err);
}

/* A key that has expired is none. */
static void test_expired(void **state)
{
    UNUSED(state);
    AuthKey key = known[0];
    const AuthKeys one = {&key, 1};
    Str id = str_from_cstr(key.key.id);
    assert_non_null(auth_find(&one, id, UINT64_MAX));
    key.expires_ms = 1000;
    assert_non_null(auth_find(&one, id, 999));
    assert_null(auth_find(&one, id, 1000));
    assert_null(auth_find(&one, str_slice(id, 0, 19), 999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),   cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_no_keys), cmocka_unit_test(test_no_header),
        cmocka_unit_test(test_rights),  cmocka_unit_test(test_grants),
        cmocka_unit_test(test_scope),   cmocka_unit_test(test_expired),
    };
    return cmocka_run_group_tests_name("auth", tests, make_keys, NULL);
}
