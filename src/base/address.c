#include "base/address.h"

#include <arpa/inet.h>
#include <net/if.h>

_Static_assert(ADDRESS_ZONE_SIZE == IF_NAMESIZE, "the names that the kernel gives");

static bool parse_zone(Str host, size_t percent, Address *out)
{
    if (percent == host.len) return true;
    Str zone = str_slice(host, percent + 1, host.len);
    return zone.len > 0 && str_to_cstr(zone, out->zone, sizeof out->zone);
}

static bool parse_host(Str host, Address *out)
{
    char text[INET6_ADDRSTRLEN];
    bool bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed) host = str_slice(host, 1, host.len - 2);
    out->v6 = bracketed || host.len == 0;
    if (host.len == 0) host = STR("::");
    if (str_eq(host, STR("localhost"))) host = STR("127.0.0.1");
    size_t percent = out->v6 ? str_find_char(host, '%') : host.len;
    return parse_zone(host, percent, out) &&
           str_to_cstr(str_slice(host, 0, percent), text, sizeof text) &&
           inet_pton(out->v6 ? AF_INET6 : AF_INET, text, out->bytes) == 1;
}

bool address_parse(Str text, Address *out)
{
    uint64_t port = 0;
    size_t behind = text.len; /* the last ':', for a v6 address has more */
    while (behind > 0 && text.ptr[behind - 1] != ':')
        behind--;
    if (behind == 0) return false;
    if (!str_to_u64(str_slice(text, behind, text.len), UINT16_MAX, &port)) return false;
    Address address = {.host = str_slice(text, 0, behind - 1), .port = (uint16_t)port};
    if (!parse_host(address.host, &address)) return false;
    *out = address;
    return true;
}
