/* A request's head with a signature of whatever form: nobody gets in, for none of these is signed;
 * reading it stays within its bounds, and the result has a text. The input is a head, as the parser
 * takes it. */
#include "auth/sigv4.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS 1369353600000 /* 2013-05-24T00:00:00Z */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const AuthKey known = {
        .key = {"HF0123456789ABCDEFGH", "0123456789abcdefghijABCDEFGHIJ0123456789"},
        .name = "root",
        .rights = RIGHTS_ALL};
    const AuthKeys keys = {&known, 1};
    static HttpHead head;
    HttpRefusal refusal;
    size_t used = 0;
    http_head_init(&head);
    if (http_head_parse(&head, (const char *)data, size, &used, &refusal) != HTTP_PARSE_DONE)
        return 0;
    SigV4Request request = {.method = head.method_text,
                            .path = head.path,
                            .query = head.query,
                            .headers = head.headers,
                            .header_count = head.header_count};
    SigV4Cache cache = {0};
    SigV4 found;
    SigV4Result first = sigv4_check(&keys, &cache, &request, NOW_MS, &found);
    ASSERT(first != SIGV4_OK);
    ASSERT(sigv4_check(&keys, &cache, &request, NOW_MS, &found) == first);
    ASSERT(strlen(sigv4_text(first)) > 0);
    return 0;
}
