/* Forms: the same parts, bytes and end however the input is cut. */
#include "http/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    bool failed;
    bool ended;
    uint64_t parts;
    uint64_t hash; /* of parts and their bytes */
} Outcome;

static void add(Outcome *out, Str piece)
{
    for (size_t i = 0; i < piece.len; i++)
        out->hash = out->hash * 31 + (uint8_t)piece.ptr[i];
}

static void note_part(Outcome *out, const HttpForm *form)
{
    HttpFormPart part;
    Err err = {0};
    out->parts++;
    http_form_part_init(&part);
    if (http_form_part(form, &part, &err) == OK) {
        ASSERT(part.name.len <= HTTP_FORM_NAME_MAX);
        add(out, buf_str(&part.name));
        add(out, buf_str(&part.file_name));
    }
    http_form_part_deinit(&part);
}

static Outcome take_apart(Str type, const char *text, size_t size, size_t step)
{
    Outcome out = {0};
    HttpForm form;
    Err err = {0};
    out.failed = http_form_init(&form, type, &err) != OK;
    for (size_t at = 0; at < size && !out.failed;) {
        size_t given = MIN(step, size - at), used = 0;
        Str piece = {NULL, 0};
        HttpFormNext next = http_form_next(&form, text + at, given, &used, &piece, &err);
        ASSERT(used <= given && (next != HTTP_FORM_MORE || used == given));
        at += used;
        if (next == HTTP_FORM_PART) note_part(&out, &form);
        if (next == HTTP_FORM_DATA) ASSERT(piece.len > 0);
        if (next == HTTP_FORM_DATA) add(&out, piece);
        out.failed = next == HTTP_FORM_FAILED;
    }
    out.ended = !out.failed && http_form_ended(&form);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str type, body;
    bool split = str_split(str_of(data, size), '\n', &type, &body);
    if (!split) return 0;
    Outcome whole = take_apart(type, body.ptr, body.len, SIZE_MAX);
    size_t step = size > 0 ? data[size - 1] % 17u + 1 : 1;
    Outcome cut = take_apart(type, body.ptr, body.len, step);
    ASSERT(whole.failed == cut.failed);
    if (whole.failed) return 0; /* how far it came before is not told */
    ASSERT(whole.ended == cut.ended && whole.parts == cut.parts && whole.hash == cut.hash);
    return 0;
}
