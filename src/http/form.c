/*   MARGIN ──delimiter──▶ LINE ──CR LF──▶ HEAD ──empty line──▶ DATA ──delimiter──▶ LINE
 *                          └──"--"──▶ DONE: what follows is passed over
 *
 * A delimiter begins with the only CR it holds, so when one turns out not to be complete, what was
 * matched is data (and comes back as a piece of the delimiter itself), and matching begins anew
 * with the byte in hand. */
#include "http/form.h"

#include <string.h>

#include "http/params.h"

enum { MARGIN, LINE, LINE_LF, LINE_DASH, HEAD, DATA, DONE };

bool http_form_is(Str content_type)
{
    Str type = http_params_begin(&content_type);
    return str_eq_nocase(type, STR("multipart/form-data"));
}

/* bchars of RFC 2046 section 5.1.1; a space may not be the last. */
static bool boundary_good(Str boundary)
{
    if (boundary.len == 0 || boundary.len > HTTP_FORM_BOUNDARY_MAX) return false;
    for (size_t i = 0; i < boundary.len; i++) {
        char c = boundary.ptr[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
        if (!good) return false;
    }
    return boundary.ptr[boundary.len - 1] != ' ';
}

ErrCode http_form_init(HttpForm *form, Str content_type, Err *err)
{
    AUTO_BUF(boundary, HTTP_FORM_NAME_MAX);
    Str rest = content_type;
    Str type = http_params_begin(&rest);
    bool found = str_eq_nocase(type, STR("multipart/form-data"));
    while (found) {
        Str name;
        TRY(http_params_next(&rest, &name, &boundary, &found, err));
        if (found && str_eq_nocase(name, STR("boundary"))) break;
    }
    if (!found || !boundary_good(buf_str(&boundary))) {
        return err_set(err, ERR_INVALID,
                       "a form's Content-Type names a boundary of 1 to %d characters",
                       HTTP_FORM_BOUNDARY_MAX);
    }
    *form = (HttpForm){.state = MARGIN, .matched = 2}; /* as if a line had just ended */
    memcpy(form->delimiter, "\r\n--", 4);
    memcpy(form->delimiter + 4, boundary.data, boundary.len);
    form->delimiter_len = 4 + boundary.len;
    return OK;
}

bool http_form_ended(const HttpForm *form)
{
    return form->state == DONE;
}

static HttpFormNext refuse(const char *why, Err *err)
{
    ErrCode code = err_set(err, ERR_INVALID, "the form: %s", why);
    return code == OK ? HTTP_FORM_MORE : HTTP_FORM_FAILED;
}

/* Up to the next delimiter: true with *piece if there is data before it (or it is not one). */
static bool take_data(HttpForm *form, const char *data, size_t len, size_t *at, Str *piece)
{
    if (form->matched == 0) {
        const char *cr = memchr(data + *at, '\r', len - *at);
        size_t plain = cr == NULL ? len - *at : (size_t)(cr - (data + *at));
        if (plain > 0) {
            *piece = str_of(data + *at, plain);
            *at += plain;
            return true;
        }
    }
    while (*at < len && form->matched < form->delimiter_len &&
           data[*at] == form->delimiter[form->matched]) {
        form->matched++;
        ++*at;
    }
    if (form->matched == form->delimiter_len) {
        form->matched = 0;
        form->state = LINE;
        return false;
    }
    if (*at == len || form->matched == 0) return false;
    *piece = str_of(form->delimiter, form->matched);
    form->matched = 0;
    return true;
}

/* Before the first part. False: too much of it. */
static bool take_margin(HttpForm *form, const char *data, size_t len, size_t *at)
{
    Str piece = {NULL, 0};
    while (*at < len && form->state == MARGIN) {
        if (take_data(form, data, len, at, &piece)) form->margin += piece.len;
        if (form->margin > HTTP_FORM_MARGIN_MAX) return false;
    }
    return true;
}

/* A byte of a part's headers. True: they are over. */
static bool head_ends(HttpForm *form, char c)
{
    form->head[form->head_len++] = c;
    Str head = str_of(form->head, form->head_len);
    return str_eq(head, STR("\r\n")) || str_ends_with(head, STR("\r\n\r\n"));
}

/* One byte behind a delimiter or of a head. NULL, or what is wrong; *part: the headers are over. */
static const char *take_byte(HttpForm *form, char c, bool *part)
{
    switch (form->state) {
    case LINE:
        if (c == ' ' || c == '\t') return NULL; /* transport padding */
        if (c != '\r' && c != '-') return "a boundary is followed by neither a line nor `--`";
        form->state = c == '\r' ? LINE_LF : LINE_DASH;
        return NULL;
    case LINE_LF:
        if (c != '\n') return "a bare carriage return";
        form->state = HEAD;
        form->head_len = 0;
        return NULL;
    case LINE_DASH:
        if (c != '-') return "a boundary is followed by neither a line nor `--`";
        form->state = DONE;
        form->margin = 0;
        return NULL;
    default:
        ASSERT(form->state == HEAD);
        if (form->head_len == HTTP_FORM_HEAD_MAX) return "the headers of a part are too long";
        *part = head_ends(form, c);
        if (*part) form->state = DATA;
        return NULL;
    }
}

HttpFormNext http_form_next(HttpForm *form, const char *data, size_t len, size_t *used, Str *piece,
                            Err *err)
{
    size_t at = 0;
    *used = 0;
    while (at < len) {
        if (form->state == DATA) {
            bool got = take_data(form, data, len, &at, piece);
            *used = at;
            if (got) return HTTP_FORM_DATA;
        } else if (form->state == MARGIN) {
            if (!take_margin(form, data, len, &at)) return refuse("no part begins", err);
        } else if (form->state == DONE) {
            form->margin += len - at;
            at = len;
            if (form->margin > HTTP_FORM_MARGIN_MAX) return refuse("too much follows it", err);
        } else {
            bool part = false;
            const char *wrong = take_byte(form, data[at++], &part);
            *used = at;
            if (wrong != NULL) return refuse(wrong, err);
            if (part) return HTTP_FORM_PART;
            if (form->state == DONE) return HTTP_FORM_END;
        }
    }
    *used = at;
    return HTTP_FORM_MORE;
}

/* --- a part's headers --- */

void http_form_part_init(HttpFormPart *part)
{
    *part = (HttpFormPart){.is_file = false};
    buf_init(&part->name, HTTP_FORM_NAME_MAX);
    buf_init(&part->file_name, HTTP_FORM_NAME_MAX);
    buf_init(&part->content_type, HTTP_FORM_HEAD_MAX);
}

void http_form_part_deinit(HttpFormPart *part)
{
    buf_deinit(&part->name);
    buf_deinit(&part->file_name);
    buf_deinit(&part->content_type);
}

/* Browsers write `"`, CR and LF of a name as %22, %0D and %0A (HTML, section 4.10.22.8), and
 * nothing else: a %41 is three characters. */
static void unescape(Buf *name)
{
    static const struct {
        const char *text;
        uint8_t byte;
    } rows[] = {{"%22", '"'}, {"%0D", '\r'}, {"%0A", '\n'}};
    size_t out = 0;
    for (size_t in = 0; in < name->len; out++) {
        uint8_t byte = name->data[in];
        size_t taken = 1;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (!str_eq(str_slice(buf_str(name), in, 3), str_from_cstr(rows[i].text))) continue;
            byte = rows[i].byte;
            taken = 3;
        }
        name->data[out] = byte;
        in += taken;
    }
    name->len = out;
}

static ErrCode read_disposition(Str value, HttpFormPart *part, bool *named, Err *err)
{
    AUTO_BUF(text, HTTP_FORM_HEAD_MAX);
    Str rest = value;
    if (!str_eq_nocase(http_params_begin(&rest), STR("form-data"))) return OK;
    for (;;) {
        Str name;
        bool found = false;
        TRY(http_params_next(&rest, &name, &text, &found, err));
        if (!found) return OK;
        bool is_name = str_eq_nocase(name, STR("name"));
        bool is_file_name = str_eq_nocase(name, STR("filename"));
        if (!is_name && !is_file_name) continue;
        Buf *out = is_name ? &part->name : &part->file_name;
        *named = *named || is_name;
        part->is_file = part->is_file || is_file_name;
        unescape(&text);
        buf_clear(out);
        TRY(buf_append_str(out, buf_str(&text), err));
    }
}

ErrCode http_form_part(const HttpForm *form, HttpFormPart *part, Err *err)
{
    ASSERT(form->state == DATA);
    bool named = false;
    Str rest = str_of(form->head, form->head_len);
    while (rest.len > 0) {
        Str line;
        Str name;
        Str value;
        bool more = str_split(rest, '\n', &line, &rest);
        UNUSED(more); /* each line ends in one */
        if (!str_split(line, ':', &name, &value)) continue;
        if (value.len > 0 && value.ptr[value.len - 1] == '\r') value.len--;
        value = str_trim(value);
        if (str_eq_nocase(name, STR("content-disposition"))) {
            TRY(read_disposition(value, part, &named, err));
        } else if (str_eq_nocase(name, STR("content-type"))) {
            buf_clear(&part->content_type);
            TRY(buf_append_str(&part->content_type, value, err));
        }
    }
    if (!named) return err_set(err, ERR_INVALID, "the form: a part has no name");
    return OK;
}
