/* Addresses that a server listens on, as text: "127.0.0.1:9001", "[::1]:9001",
 * "[fe80::1%eth0]:9001", ":9001" (all interfaces, v6 and v4), "localhost:9001" (v4). No lookup by
 * DNS, and nobody is asked if the interface is there. Pure. */
#ifndef HOLDFAST_BASE_ADDRESS_H
#define HOLDFAST_BASE_ADDRESS_H

#include "base/str.h"

#define ADDRESS_ZONE_SIZE 16 /* IF_NAMESIZE: the name of an interface and a NUL */

typedef struct {
    Str host; /* as written, with brackets; a view; empty: all interfaces */
    bool v6;
    uint8_t bytes[16];            /* as in a packet; of v4 the first 4 */
    char zone[ADDRESS_ZONE_SIZE]; /* behind '%'; "": none */
    uint16_t port;
} Address;

/* False: it is none, and *out is unchanged. */
bool address_parse(Str text, Address *out);

#endif
