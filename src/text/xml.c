#include "text/xml.h"

#include <expat.h>
#include <inttypes.h>
#include <string.h>

/* --- writing --- */

static void put(XmlWriter *writer, Str text)
{
    if (writer->code == OK) writer->code = buf_append_str(writer->out, text, NULL);
}

void xml_writer_init(XmlWriter *writer, Buf *out)
{
    *writer = (XmlWriter){.out = out};
    put(writer, STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"));
}

ErrCode xml_writer_end(XmlWriter *writer, Err *err)
{
    if (writer->code == OK) return OK;
    return err_set(err, writer->code, "an XML document of more than %zu bytes", writer->out->max);
}

void xml_begin(XmlWriter *writer, const char *name)
{
    put(writer, STR("<"));
    put(writer, str_from_cstr(name));
    put(writer, STR(">"));
}

void xml_end(XmlWriter *writer, const char *name)
{
    put(writer, STR("</"));
    put(writer, str_from_cstr(name));
    put(writer, STR(">"));
}

/* Bytes of text's first character if XML 1.0 can hold it as it is; 0: not, or it is no UTF-8. */
static size_t plain_len(Str text)
{
    unsigned char c = (unsigned char)text.ptr[0];
    if (c < 0x80) return c >= 0x20 || c == '\t' || c == '\n' || c == '\r' ? 1 : 0;
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    Str first = str_slice(text, 0, len);
    bool none = str_eq(first, STR("\xef\xbf\xbe")) || str_eq(first, STR("\xef\xbf\xbf"));
    return first.len == len && !none && str_is_utf8(first) ? len : 0;
}

static void put_escaped(XmlWriter *writer, char c)
{
    switch (c) {
    case '&': put(writer, STR("&amp;")); return;
    case '<': put(writer, STR("&lt;")); return;
    case '>': put(writer, STR("&gt;")); return;
    case '"': put(writer, STR("&quot;")); return;
    default: break;
    }
    if (writer->code == OK)
        writer->code = buf_printf(writer->out, NULL, "&#x%x;", (unsigned)(unsigned char)c);
}

/* Bytes that go with text's first character, of which len are written. */
static size_t gone_len(Str text, size_t len)
{
    bool none = len == 0 && (unsigned char)text.ptr[0] == 0xef && text.len >= 3 &&
                str_is_utf8(str_slice(text, 0, 3)); /* U+FFFE, U+FFFF */
    return none ? 3 : MAX(len, (size_t)1);
}

static bool is_plain(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 0x20 && byte < 0x7f && c != '&' && c != '<' && c != '>' && c != '"';
}

void xml_element(XmlWriter *writer, const char *name, Str text)
{
    xml_begin(writer, name);
    while (text.len > 0) {
        size_t plain = 0;
        while (plain < text.len && is_plain(text.ptr[plain]))
            plain++;
        put(writer, str_slice(text, 0, plain));
        text = str_slice(text, plain, text.len);
        if (text.len == 0) break;
        size_t len = plain_len(text);
        if (len == 0)
            put(writer, STR("\xef\xbf\xbd")); /* U+FFFD */
        else if (len == 1)
            put_escaped(writer, text.ptr[0]);
        else
            put(writer, str_slice(text, 0, len));
        text = str_slice(text, gone_len(text, len), text.len);
    }
    xml_end(writer, name);
}

void xml_element_cstr(XmlWriter *writer, const char *name, const char *text)
{
    xml_element(writer, name, str_from_cstr(text));
}

void xml_element_u64(XmlWriter *writer, const char *name, uint64_t value)
{
    xml_begin(writer, name);
    if (writer->code == OK) writer->code = buf_printf(writer->out, NULL, "%" PRIu64, value);
    xml_end(writer, name);
}

/* --- reading --- */

typedef struct {
    const XmlHandler *handler;
    XML_Parser parser;
    unsigned depth;
    Buf text[XML_DEPTH_MAX + 1];    /* of each open element … */
    bool parent[XML_DEPTH_MAX + 1]; /* … and whether it has others in it */
    ErrCode code;
    Err *err;
} Reading;

static void stop(Reading *r, ErrCode code)
{
    if (code == OK || r->code != OK) return;
    r->code = code;
    XML_StopParser(r->parser, XML_FALSE);
}

static Str local_name(const XML_Char *name)
{
    const char *colon = strrchr(name, ':');
    return str_from_cstr(colon == NULL ? name : colon + 1);
}

static bool is_space(Str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (memchr(" \t\n\r", text.ptr[i], 4) == NULL) return false;
    return true;
}

static void XMLCALL on_begin(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    Reading *r = ctx;
    UNUSED(attributes);
    if (r->code != OK) return;
    if (local_name(name).len == 0) {
        stop(r, err_set(r->err, ERR_INVALID, "an element's name ends in a colon"));
        return;
    }
    if (r->depth == XML_DEPTH_MAX) {
        stop(r, err_set(r->err, ERR_INVALID, "elements are nested too deeply"));
        return;
    }
    r->parent[r->depth] = true;
    if (is_space(buf_str(&r->text[r->depth]))) buf_clear(&r->text[r->depth]);
    r->depth++;
    r->parent[r->depth] = false;
    buf_clear(&r->text[r->depth]);
    stop(r, r->handler->begin(r->handler->ctx, r->depth, local_name(name), r->err));
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
    Reading *r = ctx;
    if (r->code != OK) return;
    ASSERT(r->depth > 0);
    stop(r, r->handler->end(r->handler->ctx, r->depth, local_name(name),
                            buf_str(&r->text[r->depth]), r->err));
    r->depth--;
}

static void XMLCALL on_text(void *ctx, const XML_Char *text, int len)
{
    Reading *r = ctx;
    if (r->code != OK || r->depth == 0) return;
    /* Between elements it only makes a document look well. */
    if (r->parent[r->depth] && is_space(str_of(text, (size_t)len))) return;
    if (buf_append(&r->text[r->depth], text, (size_t)len, NULL) != OK)
        stop(r, err_set(r->err, ERR_INVALID, "an element's text is too long"));
}

static void XMLCALL on_doctype(void *ctx, const XML_Char *name, const XML_Char *system,
                               const XML_Char *public, int internal)
{
    Reading *r = ctx;
    UNUSED(name);
    UNUSED(system);
    UNUSED(public);
    UNUSED(internal);
    stop(r, err_set(r->err, ERR_INVALID, "a document type is not taken"));
}

ErrCode xml_read(Str text, const XmlHandler *handler, Err *err)
{
    Reading r = {.handler = handler, .err = err};
    r.parser = XML_ParserCreate("UTF-8");
    if (r.parser == NULL) return err_set(err, ERR_NO_MEMORY, "read XML");
    for (size_t i = 0; i < ARRAY_LEN(r.text); i++)
        buf_init(&r.text[i], XML_TEXT_MAX);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    bool fits = text.len <= INT32_MAX;
    enum XML_Status status = fits ? XML_Parse(r.parser, text.ptr, (int)text.len, XML_TRUE)
                                  : XML_STATUS_ERROR;
    if (status != XML_STATUS_OK && r.code == OK) {
        r.code = err_set(err, ERR_INVALID, "XML: %s in line %lu",
                         XML_ErrorString(XML_GetErrorCode(r.parser)),
                         XML_GetCurrentLineNumber(r.parser));
    }
    XML_ParserFree(r.parser);
    for (size_t i = 0; i < ARRAY_LEN(r.text); i++)
        buf_deinit(&r.text[i]);
    return r.code;
}
