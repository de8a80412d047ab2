/* Lists of entity tags: the parts lie inside, and the verdict does not depend on the etag. */
#include "http/conditions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str header = str_of(data, size), rest = header, tag = {NULL, 0};
    bool weak = false, matches = false, strong = false;
    ErrCode code = http_etag_match(header, HTTP_COMPARE_WEAK, true, STR("a"), &matches, NULL);
    ASSERT(code == OK || code == ERR_INVALID);
    HttpEtagNext next = http_etag_next(&rest, &tag, &weak);
    if (next == HTTP_ETAG_BAD) ASSERT(code == ERR_INVALID);
    if (next != HTTP_ETAG_ITEM) return 0;
    ASSERT(tag.ptr >= header.ptr && tag.ptr + tag.len < header.ptr + header.len);
    ASSERT(http_etag_match(header, HTTP_COMPARE_WEAK, true, tag, &matches, NULL) == code);
    if (code == OK) ASSERT(matches);
    ASSERT(http_etag_match(header, HTTP_COMPARE_STRONG, true, tag, &strong, NULL) == code);
    if (code == OK && !weak) ASSERT(strong);
    return 0;
}
