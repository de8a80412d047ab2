#include "base/address.h"
#include "testing.h"

#include <string.h>

static void good(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *host, *zone;
        bool v6;
        uint8_t first, last; /* of the address */
        uint16_t port;
    } rows[] = {
        {"127.0.0.1:9001", "127.0.0.1", "", false, 127, 1, 9001},
        {"localhost:80", "localhost", "", false, 127, 1, 80},
        {"0.0.0.0:0", "0.0.0.0", "", false, 0, 0, 0},
        {"1.2.3.4:65535", "1.2.3.4", "", false, 1, 4, 65535},
        {":9001", "", "", true, 0, 0, 9001},
        {"[]:1", "[]", "", true, 0, 0, 1},
        {"[::]:0", "[::]", "", true, 0, 0, 0},
        {"[::1]:9001", "[::1]", "", true, 0, 1, 9001},
        {"[fe80::2%lo]:1", "[fe80::2%lo]", "lo", true, 0xfe, 2, 1},
        /* The longest of both: more than INET6_ADDRSTRLEN together. */
        {"[fe80:0000:0000:0000:0000:ffff:255.255.255.254%0123456789abcde]:1",
         "[fe80:0000:0000:0000:0000:ffff:255.255.255.254%0123456789abcde]", "0123456789abcde", true,
         0xfe, 254, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Address address;
        if (!address_parse(str_from_cstr(rows[i].text), &address)) fail_msg("%s", rows[i].text);
        assert_str(address.host, rows[i].host);
        assert_string_equal(address.zone, rows[i].zone);
        assert_int_equal(address.v6, rows[i].v6);
        assert_int_equal(address.bytes[0], rows[i].first);
        assert_int_equal(address.bytes[rows[i].v6 ? 15 : 3], rows[i].last);
        assert_int_equal(address.port, rows[i].port);
    }
}

static void bad(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "",
        ":",
        "9001",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1: 1",
        "127.0.0.1:http",
        "127.0.0:1",
        "127.0.0.1%lo:1",
        "example.org:1",
        "::1:1",
        "[127.0.0.1]:1",
        "[localhost]:1",
        "[::1:1",
        "::1]:1",
        "[:1",
        "[%lo]:1",
        "[fe80::1%]:1",
        "[fe80::1%0123456789abcdef]:1", /* no interface has so long a name */
        "[fe80:0000:0000:0000:0000:ffff:0255.255.255.255]:1",
        "0000000000000000000000000000000000000000000000000000000127.0.0.1:1",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Address address = {.port = 7};
        if (address_parse(str_from_cstr(rows[i]), &address)) fail_msg("%s", rows[i]);
        assert_int_equal(address.port, 7);
    }
    Address address;
    assert_false(address_parse(str_of("[fe80::1%a\0b]:1", 15), &address));
    assert_false(address_parse((Str){NULL, 0}, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
