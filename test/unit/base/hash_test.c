#include "testing.h"

#include "base/hash.h"
#include "base/thread.h"

#include <string.h>

static void assert_hex(const void *bytes, size_t len, const char *hex)
{
    char text[65];
    hex_encode(bytes, len, text);
    assert_string_equal(text, hex);
}

static char million_a[1000000];

/* FIPS 180-2 appendix B, RFC 1321 appendix A.5. */
static void test_known(void **state)
{
    UNUSED(state);
    memset(million_a, 'a', sizeof million_a);
    const struct {
        Str data;
        const char *sha256, *md5;
    } rows[] = {
        {STR_INIT(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "d41d8cd98f00b204e9800998ecf8427e"},
        {{NULL, 0},
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "d41d8cd98f00b204e9800998ecf8427e"},
        {STR_INIT("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         "900150983cd24fb0d6963f7d28e17f72"},
        {STR_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
         "8215ef0796a20bcaaae116d3876c664a"},
        {{million_a, sizeof million_a},
         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
         "7707d6ae4e027c70eea2a935c2296f21"},
    };
    AUTO(HashCtx, hash_free) sha256 = hash_new(HASH_SHA256);
    AUTO(HashCtx, hash_free) md5 = hash_new(HASH_MD5);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str data = rows[i].data;
        Sha256 digest = sha256_of(data.ptr, data.len);
        assert_hex(digest.bytes, SHA256_LEN, rows[i].sha256);
        uint8_t out[SHA256_LEN + 1];
        out[SHA256_LEN] = out[MD5_LEN] = 0xee;
        hash_update(sha256, data.ptr, data.len);
        hash_final(sha256, out); /* resets: the next row starts afresh */
        assert_hex(out, SHA256_LEN, rows[i].sha256);
        assert_int_equal(out[SHA256_LEN], 0xee);
        out[MD5_LEN] = 0xee;
        hash_update(md5, data.ptr, data.len);
        hash_final(md5, out);
        assert_hex(out, MD5_LEN, rows[i].md5);
        assert_int_equal(out[MD5_LEN], 0xee);
    }
    hash_free(NULL);
}

static void test_pieces(void **state)
{
    UNUSED(state);
    uint8_t data[300];
    random_bytes(1, data, sizeof data);
    Sha256 whole = sha256_of(data, sizeof data);
    AUTO(HashCtx, hash_free) ctx = hash_new(HASH_SHA256);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        Sha256 joined = sha256_of2(data, cut, data + cut, sizeof data - cut);
        assert_true(sha256_eq(&joined, &whole));
        hash_update(ctx, "left over", 9);
        hash_reset(ctx);
        hash_update(ctx, data, cut);
        hash_update(ctx, data + cut, sizeof data - cut);
        hash_final(ctx, joined.bytes);
        assert_true(sha256_eq(&joined, &whole));
    }
}

static void test_compare(void **state)
{
    UNUSED(state);
    Sha256 zero = {{0}};
    assert_true(sha256_is_zero(&zero));
    for (size_t i = 0; i < SHA256_LEN; i++) {
        Sha256 other = {{0}};
        other.bytes[i] = 0x10;
        assert_false(sha256_is_zero(&other));
        assert_false(sha256_eq(&other, &zero));
    }
}

/* RFC 4231: cases 1, 2, 4, 6 and 7, and an empty key. */
static void test_hmac(void **state)
{
    UNUSED(state);
    uint8_t key_b[20], key_up[25], key_long[131], data_cd[50];
    memset(key_b, 0x0b, sizeof key_b);
    memset(key_long, 0xaa, sizeof key_long);
    memset(data_cd, 0xcd, sizeof data_cd);
    for (size_t i = 0; i < sizeof key_up; i++)
        key_up[i] = (uint8_t)(i + 1);
    const char *long_data = "This is a test using a larger than block-size key and a larger than "
                            "block-size data. The key needs to be hashed before being used by the "
                            "HMAC algorithm.";
    const struct {
        Str key, data;
        const char *mac;
    } rows[] = {
        {str_of(key_b, 20), STR("Hi There"),
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {STR("Jefe"), STR("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {str_of(key_up, 25), str_of(data_cd, 50),
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        {str_of(key_long, 131), STR("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {str_of(key_long, 131), str_from_cstr(long_data),
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
        /* No key is an empty one, not the one before. */
        {{NULL, 0}, {NULL, 0}, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
        {STR(""), STR(""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Sha256 mac = hmac_sha256(rows[i].key.ptr, rows[i].key.len, rows[i].data.ptr,
                                 rows[i].data.len);
        assert_hex(mac.bytes, SHA256_LEN, rows[i].mac);
    }
}

static void hash_much(void *arg)
{
    bool *right = arg;
    uint8_t data[100];
    random_bytes(3, data, sizeof data);
    Sha256 first = sha256_of(data, sizeof data);
    Sha256 first_mac = hmac_sha256("k", 1, data, sizeof data);
    *right = true;
    for (int i = 0; i < 2000; i++) {
        Sha256 again = sha256_of(data, sizeof data);
        Sha256 mac = hmac_sha256("k", 1, data, sizeof data);
        *right = *right && sha256_eq(&first, &again) && sha256_eq(&first_mac, &mac);
    }
}

/* Contexts are the threads' own and end with them (the sanitizers watch). */
static void test_threads(void **state)
{
    UNUSED(state);
    Thread threads[4];
    bool right[4] = {false};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(thread_start(&threads[i], "hash", hash_much, &right[i], NULL), NULL);
    }
    for (size_t i = 0; i < 4; i++) {
        thread_join(&threads[i]);
        assert_true(right[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),   cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_compare), cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
