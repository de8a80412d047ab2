/* CORS rules: what S3 takes and refuses, what they say of a request, and that what is stored is
 * read back as it was. */
#include "testing.h"

#include <string.h>

#include "api/s3/cors_rules.h"

#define ROOT(rules) "<CORSConfiguration>" rules "</CORSConfiguration>"
#define RULE(more) "<CORSRule>" more "</CORSRule>"
#define ORIGIN(text) "<AllowedOrigin>" text "</AllowedOrigin>"
#define METHOD(text) "<AllowedMethod>" text "</AllowedMethod>"
#define HEADER(text) "<AllowedHeader>" text "</AllowedHeader>"
#define GOOD ORIGIN("http://a") METHOD("GET")

static void test_refused(void **state)
{
    static const struct {
        const char *xml;
        const char *fault; /* begins with; NULL: malformed */
    } rows[] = {
        {"", NULL},
        {"<Other/>", NULL},
        {ROOT(""), NULL},
        {ROOT("<Other/>"), NULL},
        {ROOT(RULE("")), NULL},
        {ROOT(RULE(METHOD("GET"))), NULL},
        {ROOT(RULE(ORIGIN("*"))), NULL},
        {ROOT(RULE(GOOD "<Other/>")), NULL},
        {ROOT(RULE(GOOD "<MaxAgeSeconds>x</MaxAgeSeconds>")), NULL},
        {ROOT(RULE(GOOD "<MaxAgeSeconds>-1</MaxAgeSeconds>")), NULL},
        {ROOT(RULE(GOOD "<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>1</MaxAgeSeconds>")), NULL},
        {ROOT(RULE(GOOD "<ID>a</ID><ID>b</ID>")), NULL},
        {ROOT(RULE(ORIGIN("") METHOD("GET"))), NULL},
        {ROOT(RULE(ORIGIN("a&#10;b") METHOD("GET"))), NULL},
        {ROOT(RULE(ORIGIN("ä") METHOD("GET"))), NULL},
        {ROOT(RULE(ORIGIN("<b/>") METHOD("GET"))), NULL},
        {ROOT(RULE(ORIGIN("http://*.*") METHOD("GET"))), "AllowedOrigin"},
        {ROOT(RULE(GOOD HEADER("*-*"))), "AllowedHeader"},
        {ROOT(RULE(GOOD "<ExposeHeader>x-*</ExposeHeader>")), "ExposeHeader"},
        {ROOT(RULE(ORIGIN("*") METHOD("PATCH"))), "Found unsupported HTTP method"},
        {ROOT(RULE(ORIGIN("*") METHOD("get"))), "Found unsupported HTTP method"},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Arena arena;
        CorsRules rules;
        Err err = {0};
        const char *fault = NULL;
        arena_init(&arena, 256 * KIB);
        ErrCode code = cors_rules_read(&arena, str_from_cstr(rows[i].xml), &rules, &fault, &err);
        assert_int_equal(code, ERR_INVALID);
        if (rows[i].fault == NULL)
            assert_null(fault);
        else
            assert_true(str_starts_with(str_from_cstr(fault), str_from_cstr(rows[i].fault)));
        arena_deinit(&arena);
    }
}

static void test_find(void **state)
{
    static const char xml[] = ROOT(RULE("<ID>one</ID>" ORIGIN("http://a") ORIGIN(
        "http://*.b:8080") METHOD("GET") METHOD("PUT") HEADER("x-amz-*") HEADER("Content-Type"))
                                       RULE(ORIGIN("*") METHOD("GET") METHOD("HEAD")
                                                HEADER("*") "<MaxAgeSeconds>5</MaxAgeSeconds>"));
    static const struct {
        const char *origin;
        const char *method;
        const char *headers;
        int rule; /* -1: none */
    } rows[] = {
        {"http://a", "GET", "", 0},
        {"http://a", "PUT", "", 0},
        {"http://a", "DELETE", "", -1},
        {"http://a", "HEAD", "", 1},
        {"HTTP://A", "PUT", "", -1},
        {"http://x.b:8080", "PUT", "", 0},
        {"http://.b:8080", "PUT", "", 0},
        {"http://b:8080", "PUT", "", -1},
        {"http://x.b:80", "PUT", "", -1},
        {"http://a", "PUT", "X-AMZ-Date, content-type", 0},
        {"http://a", "PUT", "x-other", -1},
        {"http://a", "PUT", "x-amz-date,x-other", -1},
        {"http://a", "GET", "x-other", 1},
        {"null", "GET", "", 1},
        {"null", "PUT", "", -1},
        {"http://a", "OPTIONS", "", -1},
        {"http://a", "", "", -1},
    };
    Arena arena;
    CorsRules rules;
    Err err = {0};
    const char *fault = NULL;
    UNUSED(state);
    arena_init(&arena, 256 * KIB);
    assert_ok(cors_rules_read(&arena, STR(xml), &rules, &fault, &err), &err);
    assert_int_equal(rules.count, 2);
    assert_true(rules.rules[1].has_max_age && !rules.rules[0].has_max_age);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool any = false;
        const CorsRule *rule = cors_rules_find(&rules, str_from_cstr(rows[i].origin),
                                               str_from_cstr(rows[i].method),
                                               str_from_cstr(rows[i].headers), &any);
        assert_int_equal(rule == NULL ? -1 : rule - rules.rules, rows[i].rule);
        assert_int_equal(any, rows[i].rule == 1);
    }
    arena_deinit(&arena);
}

static void test_written(void **state)
{
    static const char xml[] = ROOT(
        "\n " RULE("<ID>a&amp;b</ID>" ORIGIN("http://a") METHOD("HEAD") METHOD("GET") HEADER(
            "*") "<ExposeHeader>ETag</ExposeHeader> <MaxAgeSeconds> 30 </MaxAgeSeconds>") "\n");
    static const char want[] =
        "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CORSRule>"
        "<ID>a&amp;b</ID><AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod>"
        "<AllowedOrigin>http://a</AllowedOrigin><AllowedHeader>*</AllowedHeader>"
        "<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds></CORSRule>"
        "</CORSConfiguration>";
    Arena arena;
    CorsRules rules;
    Err err = {0};
    const char *fault = NULL;
    AUTO_BUF(first, 64 * KIB);
    AUTO_BUF(second, 64 * KIB);
    UNUSED(state);
    arena_init(&arena, 256 * KIB);
    assert_ok(cors_rules_read(&arena, STR(xml), &rules, &fault, &err), &err);
    assert_ok(cors_rules_write(&rules, &first, &err), &err);
    assert_str(buf_str(&first), want);
    assert_ok(cors_rules_read(&arena, buf_str(&first), &rules, &fault, &err), &err);
    assert_ok(cors_rules_write(&rules, &second, &err), &err);
    assert_str(buf_str(&second), want);
    arena_deinit(&arena);
}

/* A hundred rules and no more. */
static void test_many(void **state)
{
    AUTO_BUF(xml, 256 * KIB);
    Err err = {0};
    UNUSED(state);
    for (unsigned count = CORS_RULES_MAX; count <= CORS_RULES_MAX + 1; count++) {
        Arena arena;
        CorsRules rules;
        const char *fault = NULL;
        arena_init(&arena, 256 * KIB);
        buf_clear(&xml);
        assert_ok(buf_append_str(&xml, STR("<CORSConfiguration>"), &err), &err);
        for (unsigned i = 0; i < count; i++)
            assert_ok(buf_append_str(&xml, STR(RULE(GOOD)), &err), &err);
        assert_ok(buf_append_str(&xml, STR("</CORSConfiguration>"), &err), &err);
        ErrCode code = cors_rules_read(&arena, buf_str(&xml), &rules, &fault, &err);
        assert_int_equal(code, count == CORS_RULES_MAX ? OK : ERR_INVALID);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
