#include "base/fault.h"
#include "net/tcp.h"
#include "testing.h"

#include <errno.h>
#include <string.h>

static void parses_addresses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *formatted; /* NULL: refused */
    } rows[] = {
        {"127.0.0.1:9001", "127.0.0.1:9001"},
        {"localhost:80", "127.0.0.1:80"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"[::1]:9001", "[::1]:9001"},
        {":9001", "[::]:9001"},
        {"[]:1", "[::]:1"},
        {"127.0.0.1", NULL},
        {"127.0.0.1:", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:-1", NULL},
        {"127.0.0.1:http", NULL},
        {"127.0.0:1", NULL},
        {"example.org:1", NULL},
        {"::1:1", NULL},
        {"[127.0.0.1]:1", NULL},
        {"[::1:1", NULL},
        {"", NULL},
        {"0000000000000000000000000000000000000000000000000000000127.0.0.1:1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        TcpAddress address;
        Err err;
        char text[TCP_ADDRESS_SIZE];
        ErrCode code = tcp_address_parse(rows[i].text, &address, &err);
        if (rows[i].formatted == NULL) {
            assert_code(code, ERR_CONFIG, &err);
            continue;
        }
        assert_ok(code, &err);
        tcp_address_format(&address, text);
        assert_string_equal(text, rows[i].formatted);
    }
}

static void accept_nothing(void *ctx, TcpListener *listener)
{
    UNUSED(ctx);
    UNUSED(listener);
}

static void claims_and_listens(void **state)
{
    UNUSED(state);
    Err err;
    Loop *loop;
    TcpAddress address;
    TcpListener *listeners[2], *none = NULL;
    char text[TCP_ADDRESS_SIZE];
    assert_ok(loop_open(0, &loop, &err), &err);
    assert_ok(tcp_address_parse("127.0.0.1:0", &address, &err), &err);
    assert_ok(tcp_address_claim(&address, &err), &err);
    assert_int_not_equal(tcp_address_port(&address), 0);
    for (int i = 0; i < 2; i++)
        assert_ok(tcp_listen(loop, &address, accept_nothing, NULL, &listeners[i], &err), &err);
    assert_code(tcp_address_claim(&address, &err), ERR_IN_USE, &err);
    tcp_address_format(&address, text);
    assert_non_null(strstr(err_text(&err), text));
    for (int i = 0; i < 2; i++)
        tcp_listener_close(listeners[i]);
    tcp_listener_close(NULL);
    fault_arm("net.bind", EADDRNOTAVAIL, 1, true);
    assert_code(tcp_address_claim(&address, &err), ERR_SYSTEM, &err);
    assert_code(tcp_listen(loop, &address, accept_nothing, NULL, &none, &err), ERR_SYSTEM, &err);
    assert_int_equal(err.errno_value, EADDRNOTAVAIL);
    assert_null(none);
    fault_reset();
    loop_close(loop);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_addresses),
        cmocka_unit_test(claims_and_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
