#include "testing.h"

#include "text/xml.h"

typedef struct {
    Buf told; /* "+name", "-name=text;" */
    const char *fail_at;
} Told;

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    Told *told = ctx;
    if (told->fail_at != NULL && str_eq(name, str_from_cstr(told->fail_at)))
        return err_set(err, ERR_NOT_IMPLEMENTED, "asked for");
    return buf_printf(&told->told, err, "+%u%.*s", depth, STR_ARG(name));
}

static ErrCode on_end(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Told *told = ctx;
    return buf_printf(&told->told, err, "-%u%.*s=%.*s;", depth, STR_ARG(name), STR_ARG(text));
}

static ErrCode run(Str text, Told *told, Err *err)
{
    XmlHandler handler = {.ctx = told, .begin = on_begin, .end = on_end};
    buf_clear(&told->told);
    return xml_read(text, &handler, err);
}

static void test_read(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"<a/>", "+1a-1a=;"},
        {"<?xml version='1.0'?>\n<a x='1'>b<c>d &amp; &#101;</c>f</a>\n",
         "+1a+2c-2c=d & e;-1a=bf;"},
        {"<n:a xmlns:n='u'><n:b> x </n:b></n:a>", "+1a+2b-2b= x ;-1a=;"},
        {"<a><![CDATA[<&>]]></a>", "+1a-1a=<&>;"},
        {"<a>\xc3\xbc</a>", "+1a-1a=\xc3\xbc;"},
        {"<a>\n  <b> </b>\n  <b/>x \n</a>", "+1a+2b-2b= ;+2b-2b=;-1a=x ;"},
    };
    Told told = {.fail_at = NULL};
    buf_init(&told.told, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Err err = {0};
        assert_ok(run(str_from_cstr(cases[i].text), &told, &err), &err);
        assert_str(buf_str(&told.told), cases[i].told);
    }
    buf_deinit(&told.told);
}

static void test_refused(void **state)
{
    UNUSED(state);
    static const char *const texts[] = {"<a:/>",
                                        "<a><b:>x</b:></a>",
                                        "",
                                        "x",
                                        "<a>",
                                        "<a></b>",
                                        "<a/><b/>",
                                        "<!DOCTYPE a><a/>",
                                        "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
                                        "<a>&e;</a>",
                                        "<a>\xff</a>",
                                        "<a>\x01</a>"};
    Told told = {.fail_at = NULL};
    buf_init(&told.told, 4096);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        Err err = {0};
        assert_code(run(str_from_cstr(texts[i]), &told, &err), ERR_INVALID, &err);
    }
    Err err = {0};
    told.fail_at = "b";
    assert_code(run(STR("<a><b/></a>"), &told, &err), ERR_NOT_IMPLEMENTED, &err);
    assert_str(buf_str(&told.told), "+1a");
    buf_deinit(&told.told);
}

/* Depth and length are bounded. */
static void test_limits(void **state)
{
    UNUSED(state);
    Told told = {.fail_at = NULL};
    Err err = {0};
    AUTO_BUF(text, 4 * XML_TEXT_MAX);
    buf_init(&told.told, 4 * XML_TEXT_MAX);
    for (int i = 0; i < XML_DEPTH_MAX; i++)
        assert_ok(buf_append_str(&text, STR("<a>"), &err), &err);
    for (int i = 0; i < XML_DEPTH_MAX; i++)
        assert_ok(buf_append_str(&text, STR("</a>"), &err), &err);
    assert_ok(run(buf_str(&text), &told, &err), &err);
    Str inner = str_of(text.data, text.len);
    AUTO_BUF(deeper, 8192);
    assert_ok(buf_printf(&deeper, &err, "<a>%.*s</a>", STR_ARG(inner)), &err);
    assert_code(run(buf_str(&deeper), &told, &err), ERR_INVALID, &err);
    for (size_t extra = 0; extra < 2; extra++) {
        buf_clear(&text);
        assert_ok(buf_append_str(&text, STR("<a>"), &err), &err);
        for (size_t i = 0; i < XML_TEXT_MAX + extra; i++)
            assert_ok(buf_append(&text, "x", 1, &err), &err);
        assert_ok(buf_append_str(&text, STR("</a>"), &err), &err);
        assert_code(run(buf_str(&text), &told, &err), extra == 0 ? OK : ERR_INVALID, &err);
    }
    buf_deinit(&told.told);
}

static void test_write(void **state)
{
    UNUSED(state);
    XmlWriter xml;
    Err err = {0};
    AUTO_BUF(out, 4096);
    xml_writer_init(&xml, &out);
    xml_begin(&xml, "a x=\"1\"");
    xml_element_cstr(&xml, "b", "<&>\"'\r\n\x01 \xc3\xbc");
    xml_element_u64(&xml, "c", UINT64_MAX);
    xml_element(&xml, "d", (Str){NULL, 0});
    xml_end(&xml, "a");
    assert_ok(xml_writer_end(&xml, &err), &err);
    assert_str(buf_str(&out), "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a x=\"1\"><b>&lt;&amp;"
                              "&gt;&quot;'&#xd;&#xa;\xef\xbf\xbd \xc3\xbc</b>"
                              "<c>18446744073709551615</c><d></d></a>");
    /* What XML can't hold, and what it can at the edges of that. */
    buf_clear(&out);
    xml = (XmlWriter){.out = &out};
    xml_element_cstr(&xml, "e",
                     "\xef\xbf\xbf.\xef\xbf\xbe.\xff\xc3.\xf4\x8f\xbf\xbf\xef\xbf\xbd\x7f\t");
    assert_ok(xml_writer_end(&xml, &err), &err);
    assert_str(buf_str(&out), "<e>\xef\xbf\xbd.\xef\xbf\xbd.\xef\xbf\xbd\xef\xbf\xbd."
                              "\xf4\x8f\xbf\xbf\xef\xbf\xbd&#x7f;&#x9;</e>");
    AUTO_BUF(small, 60);
    xml_writer_init(&xml, &small);
    xml_element_cstr(&xml, "a", "0123456789012345678901234567890");
    assert_code(xml_writer_end(&xml, &err), ERR_TOO_BIG, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
