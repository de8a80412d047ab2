/* How one parser reads one connection, as a line of JSON for test/e2e/parsers.py:
 *   {"messages": [{"method", "target", "headers": [[NAME, VALUE]…], "body", "minor", "keep"}…],
 *    "end": "more" | "body" | "error" | "closed"}
 * Bytes are told in hex. Only whole messages are in the list. Behind the last of
 * them: "more": nothing, or the beginning of a head; "body": a head was accepted and its body is
 * not all there (ours tells the two apart); "closed": the connection takes no other message. */
#ifndef HOLDFAST_TEST_PARSERS_VIEW_H
#define HOLDFAST_TEST_PARSERS_VIEW_H

#include "base/buf.h"

#define VIEW_MAX (16 * MIB)

typedef struct {
    Str method;
    Str target;
    Str body;
    unsigned minor;
    bool keep; /* the connection takes another message */
} ViewMessage;

/* Calls read for each connection on stdin (4 bytes of length, little endian, then its bytes), which
 * adds what it sees to messages and returns the end, and prints that. The exit status. */
int view_all(const char *(*read)(Buf *messages, const char *data, size_t len));
/* One more header of the next message. */
void view_header(Buf *headers, Str name, Str value);
void view_message(Buf *messages, const ViewMessage *message, const Buf *headers);
/* buf_append(), for which there is always room. */
void view_put(Buf *out, const void *data, size_t len);

#endif
