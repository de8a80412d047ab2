/* The page that shows /openapi.json in a browser: three files of web/, in the binary, that need
 * nothing from any network. */
#include "api/rest/rest_priv.h"

extern const unsigned char web_docs_html[];
extern const size_t web_docs_html_size;
extern const unsigned char web_docs_css[];
extern const size_t web_docs_css_size;
extern const unsigned char web_docs_js[];
extern const size_t web_docs_js_size;

static void answer_part(RestCall *call, const char *type, const unsigned char *bytes, size_t size)
{
    HttpRequest *req = call->req;
    call->status = 200;
    call->bytes_out = size;
    http_header_add(req, "Content-Type", str_from_cstr(type));
    http_header_add(req, "X-Content-Type-Options", STR("nosniff"));
    http_header_add(req, "Content-Security-Policy",
                    STR("default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
                        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                        "frame-ancestors 'none'"));
    http_respond(req, 200, str_of(bytes, size));
}

void rest_docs_page(RestCall *call)
{
    answer_part(call, "text/html; charset=utf-8", web_docs_html, web_docs_html_size);
}

void rest_docs_part(RestCall *call)
{
    Str part = call->match.params[0];
    if (str_eq(part, STR("docs.css")))
        answer_part(call, "text/css; charset=utf-8", web_docs_css, web_docs_css_size);
    else if (str_eq(part, STR("docs.js")))
        answer_part(call, "text/javascript; charset=utf-8", web_docs_js, web_docs_js_size);
    else
        rest_answer_error(call, ERR_NO_ROUTE, NULL);
}
