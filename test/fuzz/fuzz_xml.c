/* XML: reading stays within its bounds, begins and ends pair up, and what the writer makes of any
 * text that XML can carry is read as it was. So are sets of tags and CORS rules, within their
 * limits. */
#include "api/s3/cors_rules.h"
#include "api/s3/tag_set.h"
#include "text/xml.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    unsigned depth;
    size_t ended;
    Buf last;
} Seen;

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    Seen *seen = ctx;
    UNUSED(err);
    ASSERT(name.len > 0 && depth == ++seen->depth && depth <= XML_DEPTH_MAX);
    return OK;
}

static ErrCode on_end(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Seen *seen = ctx;
    ASSERT(name.len > 0 && depth == seen->depth-- && text.len <= XML_TEXT_MAX);
    seen->ended++;
    buf_clear(&seen->last);
    return buf_append_str(&seen->last, text, err);
}

static ErrCode read(Str text, Seen *seen)
{
    XmlHandler handler = {.ctx = seen, .begin = on_begin, .end = on_end};
    *seen = (Seen){.depth = 0};
    buf_init(&seen->last, XML_TEXT_MAX);
    return xml_read(text, &handler, NULL);
}

static bool can_be_carried(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 && c != '\t' && c != '\n' && c != '\r') return false;
        if (c == 0xef) return false; /* U+FFFE and U+FFFF are in there */
    }
    return text.len <= XML_TEXT_MAX && str_is_utf8(text);
}

static void read_tags(Str input)
{
    AUTO_BUF(pairs, 128 * KIB);
    TagFault fault = TAG_FAULT_NONE;
    ErrCode code = tag_set_read_xml(input, TAGS_OF_OBJECT_MAX, &pairs, &fault, NULL);
    ASSERT(code == OK || code == ERR_INVALID || code == ERR_TOO_BIG);
    ASSERT((code == ERR_INVALID) == (fault != TAG_FAULT_NONE));
    if (code == OK) ASSERT(tag_set_count(buf_str(&pairs)) <= TAGS_OF_OBJECT_MAX);
}

static void read_rules(Str input)
{
    AUTO_BUF(first, 1 * MIB);
    AUTO_BUF(second, 1 * MIB);
    Arena arena;
    CorsRules rules;
    const char *fault = NULL;
    arena_init(&arena, 4 * MIB);
    ErrCode code = cors_rules_read(&arena, input, &rules, &fault, NULL);
    ASSERT(code == OK || code == ERR_INVALID || code == ERR_NO_MEMORY);
    if (code == OK && cors_rules_write(&rules, &first, NULL) == OK) {
        ASSERT(cors_rules_read(&arena, buf_str(&first), &rules, &fault, NULL) == OK);
        ASSERT(cors_rules_write(&rules, &second, NULL) == OK);
        ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    }
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str input = str_of(data, size);
    Seen seen;
    ErrCode code = read(input, &seen);
    ASSERT(code == OK || code == ERR_INVALID);
    if (code == OK) ASSERT(seen.depth == 0 && seen.ended > 0);
    buf_deinit(&seen.last);
    read_tags(input);
    read_rules(input);

    AUTO_BUF(out, 8 * size + 1024);
    XmlWriter xml;
    xml_writer_init(&xml, &out);
    xml_element(&xml, "a", input);
    ASSERT(xml_writer_end(&xml, NULL) == OK);
    if (!can_be_carried(input)) return 0;
    ASSERT(read(buf_str(&out), &seen) == OK);
    ASSERT(seen.ended == 1 && str_eq(buf_str(&seen.last), input));
    buf_deinit(&seen.last);
    return 0;
}
