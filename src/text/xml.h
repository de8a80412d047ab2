/* XML both ways: XmlWriter appends elements to a Buf, escaped; xml_read() reads a small document
 * with expat and tells each element's begin and end. No document type is taken, so nothing of it
 * can grow. No state, any thread. */
#ifndef HOLDFAST_TEXT_XML_H
#define HOLDFAST_TEXT_XML_H

#include "base/buf.h"

#define XML_DEPTH_MAX 16
#define XML_TEXT_MAX (8 * 1024) /* bytes of one element's text */

/* A failure (Buf full) sticks and is told once, by xml_writer_end(). */
typedef struct {
    Buf *out;     /* not owned */
    ErrCode code; /* first failure */
} XmlWriter;

/* Begins with the declaration. */
void xml_writer_init(XmlWriter *writer, Buf *out);
/* OK, ERR_TOO_BIG or ERR_NO_MEMORY. */
MUST_USE ErrCode xml_writer_end(XmlWriter *writer, Err *err);
/* <name>; name may have attributes: "Error", "Result xmlns=\"…\"". */
void xml_begin(XmlWriter *writer, const char *name);
void xml_end(XmlWriter *writer, const char *name);
/* <name>text</name>. What XML 1.0 can't hold (most control characters, U+FFFE, U+FFFF, bytes that
 * are no UTF-8) becomes U+FFFD: whoever has such names asks for them in another encoding. */
void xml_element(XmlWriter *writer, const char *name, Str text);
void xml_element_cstr(XmlWriter *writer, const char *name, const char *text);
void xml_element_u64(XmlWriter *writer, const char *name, uint64_t value);

/* Of elements; depth is 1 for the root; name without a prefix. Anything but OK ends it. */
typedef struct {
    void *ctx;
    ErrCode (*begin)(void *ctx, unsigned depth, Str name, Err *err);
    /* text: what stood directly in it, spaces too unless there are elements in it; a view until the
     * next call */
    ErrCode (*end)(void *ctx, unsigned depth, Str name, Str text, Err *err);
} XmlHandler;
/* Reads one document. ERR_INVALID: it is not well-formed, has a document type, is too deep, or has
 * too long a text; else the handler's code. */
MUST_USE ErrCode xml_read(Str text, const XmlHandler *handler, Err *err);

#endif
