/* Against the examples that AWS publishes with the signature's description (key pair, requests and
 * signatures are theirs), and each of their fields wrong by one byte. */
#include "testing.h"

#include "auth/sigv4.h"
#include "text/dates.h"
#include <string.h>

#define ID "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SCOPE "20130524/us-east-1/s3/aws4_request"
#define CREDENTIAL "Credential=" ID "/" SCOPE
#define NOW "2013-05-24T00:00:00Z"
#define HEADERS 8

static const AuthKey known = {.key = {ID, SECRET}, .name = "root", .rights = RIGHTS_ALL};
static const AuthKeys keys = {&known, 1};

typedef struct {
    const char *method, *path, *query;
    const char *headers[HEADERS][2]; /* the last one first without a name */
    SigV4Body body;
} Example;

#define BASE(authorization, hash)                                                                  \
    {"Host", "examplebucket.s3.amazonaws.com"},                                                    \
        {"Authorization", "AWS4-HMAC-SHA256 " CREDENTIAL "," authorization},                       \
        {"x-amz-content-sha256", hash},                                                            \
    {                                                                                              \
        "x-amz-date", "20130524T000000Z"                                                           \
    }

static const Example examples[] = {
    {"GET",
     "/test.txt",
     NULL,
     {BASE("SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature="
           "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
           EMPTY),
      {"Range", "bytes=0-9"}},
     SIGV4_BODY_HASHED},
    {"PUT",
     "/test%24file.text",
     NULL,
     {BASE("SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
           "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
           "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
      {"Date", "Fri, 24 May 2013 00:00:00 GMT"},
      {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
     SIGV4_BODY_HASHED},
    {"GET",
     "/",
     "lifecycle",
     {BASE("SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature="
           "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
           EMPTY)},
     SIGV4_BODY_HASHED},
    {"GET",
     "/",
     "prefix=J&max-keys=2",
     {BASE("SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
           "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
           EMPTY)},
     SIGV4_BODY_HASHED},
    {"GET",
     "/test.txt",
     "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" ID
     "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"
     "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
     "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
     {{"Host", "examplebucket.s3.amazonaws.com"}},
     SIGV4_BODY_UNSIGNED},
};
#define PRESIGNED 4

typedef struct {
    HttpHeader headers[HEADERS];
    SigV4Request request;
} Made;

static void make(const Example *e, Made *out)
{
    *out = (Made){.request = {.method = str_from_cstr(e->method),
                              .path = str_from_cstr(e->path),
                              .query = str_from_cstr(e->query),
                              .headers = out->headers}};
    for (size_t i = 0; i < HEADERS && e->headers[i][0] != NULL; i++) {
        out->headers[i].name = str_from_cstr(e->headers[i][0]);
        out->headers[i].value = str_from_cstr(e->headers[i][1]);
        out->request.header_count++;
    }
}

static uint64_t time_of(const char *text)
{
    uint64_t ms = 0;
    assert_true(date_parse_rfc3339(str_from_cstr(text), &ms));
    return ms;
}

static SigV4Result check(const SigV4Request *request, const char *when, SigV4 *out)
{
    SigV4Cache cache = {0};
    return sigv4_check(&keys, &cache, request, time_of(when), out);
}

/* A client's side: the same signatures, of the two examples that sign what it sends. */
static void test_signing(void **state)
{
    UNUSED(state);
    static const struct {
        const char *query, *signature;
    } rows[] = {
        {"lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    SigV4Signer signer = {.id = STR(ID),
                          .secret = STR(SECRET),
                          .region = STR("us-east-1"),
                          .host = STR("examplebucket.s3.amazonaws.com")};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_BUF(out, 4096);
        SigV4Sent sent = {.method = STR("GET"),
                          .path = STR("/"),
                          .query = str_from_cstr(rows[i].query),
                          .body = sha256_of("", 0)};
        /* Another day before: its key is not taken for this one's. */
        assert_ok(sigv4_headers(&signer, &sent, time_of("2013-05-23T23:59:59Z"), &out, NULL), NULL);
        buf_clear(&out);
        assert_ok(sigv4_headers(&signer, &sent, time_of(NOW), &out, NULL), NULL);
        assert_true(str_ends_with(buf_str(&out), str_from_cstr(rows[i].signature)));
        assert_true(str_starts_with(
            buf_str(&out), STR("x-amz-content-sha256: " EMPTY "\nx-amz-date: 20130524T000000Z\n")));
    }
}

static void test_examples(void **state)
{
    UNUSED(state);
    SigV4Cache cache = {0};
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        Made made;
        SigV4 found;
        make(&examples[i], &made);
        for (int again = 0; again < 2; again++) { /* then by the cached key */
            assert_int_equal(sigv4_check(&keys, &cache, &made.request, time_of(NOW), &found),
                             SIGV4_OK);
        }
        assert_str(found.identity.name, "root");
        assert_int_equal(found.body, examples[i].body);
        assert_int_equal(found.presigned, i == PRESIGNED);
        assert_string_equal(found.region, "us-east-1");
        assert_string_equal(found.chain.scope, SCOPE);
    }
    size_t used = 0;
    for (size_t i = 0; i < SIGV4_CACHE_MAX; i++)
        used += cache.entries[i].id[0] != '\0';
    assert_int_equal(used, 1);
}

/* A byte of what was signed is another. */
static Str changed(Str s, size_t at, char *room)
{
    memcpy(room, s.ptr, s.len);
    room[at] = room[at] == 'q' ? 'r' : 'q';
    return str_of(room, s.len);
}

static void refuses(const SigV4Request *request, const char *what)
{
    SigV4 found = {.presigned = true, .region = "untouched"};
    if (check(request, NOW, &found) == SIGV4_OK) fail_msg("taken: %s", what);
    assert_string_equal(found.region, "untouched");
}

static void test_one_byte_off(void **state)
{
    UNUSED(state);
    char room[1024];
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        Made made;
        make(&examples[i], &made);
        Str *fields[] = {&made.request.method, &made.request.path, &made.request.query};
        for (size_t f = 0; f < ARRAY_LEN(fields) + made.request.header_count; f++) {
            Str *field = f < ARRAY_LEN(fields) ? fields[f]
                                               : &made.headers[f - ARRAY_LEN(fields)].value;
            Str right = *field;
            for (size_t at = 0; at < right.len; at++) {
                *field = changed(right, at, room);
                refuses(&made.request, room);
            }
            *field = right;
        }
        SigV4 found;
        assert_int_equal(check(&made.request, NOW, &found), SIGV4_OK);
    }
}

static void test_times(void **state)
{
    UNUSED(state);
    static const struct {
        size_t example;
        const char *when;
        SigV4Result result;
    } cases[] = {
        {0, "2013-05-24T00:15:00Z", SIGV4_OK},
        {0, "2013-05-24T00:15:01Z", SIGV4_SKEWED},
        {0, "2013-05-23T23:45:00Z", SIGV4_OK},
        {0, "2013-05-23T23:44:59Z", SIGV4_SKEWED},
        {PRESIGNED, "2013-05-25T00:00:00Z", SIGV4_OK},
        {PRESIGNED, "2013-05-25T00:00:01Z", SIGV4_EXPIRED},
        {PRESIGNED, "2013-05-23T23:45:00Z", SIGV4_OK},
        {PRESIGNED, "2013-05-23T23:44:59Z", SIGV4_NOT_YET},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Made made;
        SigV4 found;
        make(&examples[cases[i].example], &made);
        assert_int_equal(check(&made.request, cases[i].when, &found), cases[i].result);
    }
}

/* Headers that a signature must cover, or that it can't be read with. */
static void test_forms(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name, *value;
        SigV4Result result;
    } cases[] = {
        {"x-amz-acl", "public-read", SIGV4_UNSIGNED_HEADER},
        {"X-AMZ-Meta-a", "b", SIGV4_UNSIGNED_HEADER},
        {"User-Agent", "not signed", SIGV4_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Made made;
        SigV4 found;
        make(&examples[0], &made);
        made.headers[made.request.header_count++] = (HttpHeader){
            .name = str_from_cstr(cases[i].name), .value = str_from_cstr(cases[i].value)};
        assert_int_equal(check(&made.request, NOW, &found), cases[i].result);
    }
    static const struct {
        const char *authorization;
        SigV4Result result;
    } headers[] = {
        {"AWS " ID ":c2lnbmF0dXJl", SIGV4_OLD},
        {"Bearer " ID "." SECRET, SIGV4_UNKNOWN_SCHEME},
        {"AWS4-HMAC-SHA256", SIGV4_BAD_HEADER},
        {"AWS4-HMAC-SHA256 " CREDENTIAL, SIGV4_BAD_HEADER},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ",SignedHeaders=host,Signature=12", SIGV4_BAD_HEADER},
        {"AWS4-HMAC-SHA256 " CREDENTIAL "," CREDENTIAL ",SignedHeaders=host,Signature=" EMPTY,
         SIGV4_BAD_HEADER},
        {"AWS4-HMAC-SHA256 Credential=" ID "/20130525/us-east-1/s3/aws4_request,"
         "SignedHeaders=host,Signature=" EMPTY,
         SIGV4_BAD_HEADER},
        {"AWS4-HMAC-SHA256 Credential=" ID "/20130524/us-east-1/iam/aws4_request,"
         "SignedHeaders=host,Signature=" EMPTY,
         SIGV4_BAD_HEADER},
        {"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLF/" SCOPE
         ",SignedHeaders=host,Signature=" EMPTY,
         SIGV4_UNKNOWN_KEY},
    };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        Made made;
        SigV4 found;
        make(&examples[0], &made);
        made.headers[1].value = str_from_cstr(headers[i].authorization);
        assert_int_equal(check(&made.request, NOW, &found), headers[i].result);
        assert_true(strlen(sigv4_text(headers[i].result)) > 0);
    }
}

static void test_bodies(void **state)
{
    UNUSED(state);
    static const struct {
        const char *hash;
        SigV4Result result;
    } cases[] = {
        {"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", SIGV4_OTHER_ALGORITHM},
        {"unsigned", SIGV4_BAD_BODY_HASH},
        {"", SIGV4_BAD_BODY_HASH},
        /* These can be read, so that it is the signature which is wrong. */
        {"UNSIGNED-PAYLOAD", SIGV4_WRONG},
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SIGV4_WRONG},
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", SIGV4_WRONG},
        {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", SIGV4_WRONG},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Made made;
        SigV4 found;
        make(&examples[0], &made);
        made.headers[2].value = str_from_cstr(cases[i].hash);
        assert_int_equal(check(&made.request, NOW, &found), cases[i].result);
    }
    Made made;
    SigV4 found;
    make(&examples[0], &made);
    made.headers[2].name = STR("x-other");
    assert_int_equal(check(&made.request, NOW, &found), SIGV4_NO_BODY_HASH);
    made.headers[3].name = STR("x-other");
    assert_int_equal(check(&made.request, NOW, &found), SIGV4_NO_DATE);
    made.request.header_count = 1;
    assert_int_equal(check(&made.request, NOW, &found), SIGV4_NONE);
}

/* More scopes than the cache holds. */
static void test_cache(void **state)
{
    UNUSED(state);
    SigV4Cache cache = {0};
    Made made;
    SigV4 found;
    for (int round = 0; round < 3; round++) {
        make(&examples[0], &made);
        assert_int_equal(sigv4_check(&keys, &cache, &made.request, time_of(NOW), &found), SIGV4_OK);
        for (int at = 0; at < 3 * SIGV4_CACHE_MAX; at++) {
            char text[] = "AWS4-HMAC-SHA256 Credential=" ID
                          "/20130524/xx/s3/aws4_request,SignedHeaders=host;range;"
                          "x-amz-content-sha256;x-amz-date,Signature=" EMPTY;
            char *region = strstr(text, "/xx/") + 1;
            region[0] = (char)('a' + at / 16);
            region[1] = (char)('a' + at % 16);
            made.headers[1].value = str_from_cstr(text);
            assert_int_equal(sigv4_check(&keys, &cache, &made.request, time_of(NOW), &found),
                             SIGV4_WRONG);
        }
    }
    sigv4_cache_wipe(&cache);
    for (size_t i = 0; i < SIGV4_CACHE_MAX; i++)
        assert_int_equal(cache.entries[i].id[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),     cmocka_unit_test(test_signing),
        cmocka_unit_test(test_one_byte_off), cmocka_unit_test(test_times),
        cmocka_unit_test(test_forms),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
