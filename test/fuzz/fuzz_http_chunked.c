/* The decoder of chunked bodies: the same bytes and the same end however the input is cut and
 * whatever is given back. */
#include "http/parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    HttpChunk result;
    size_t at;      /* bytes taken */
    uint64_t bytes; /* of body */
    uint64_t hash;  /* of body */
} Outcome;

static Outcome decode(const char *text, size_t size, size_t step, bool give_back)
{
    Outcome out = {.result = HTTP_CHUNK_MORE};
    HttpChunked chunked;
    HttpRefusal refusal = {0};
    size_t given = 0;
    http_chunked_init(&chunked);
    while (out.result == HTTP_CHUNK_MORE || out.result == HTTP_CHUNK_DATA) {
        if (out.at == given) {
            if (given == size) break;
            given = MIN(given + step, size);
        }
        Str piece;
        size_t used = 0;
        out.result = http_chunked_next(&chunked, text + out.at, given - out.at, &used, &piece,
                                       &refusal);
        if (out.result == HTTP_CHUNK_FAILED) break;
        ASSERT(used <= given - out.at);
        out.at += used;
        if (out.result != HTTP_CHUNK_DATA) continue;
        ASSERT(piece.len > 0 && piece.ptr + piece.len == text + out.at);
        size_t back = give_back ? piece.len / 2 : 0;
        http_chunked_unread(&chunked, back);
        out.at -= back;
        out.bytes += piece.len - back;
        for (size_t i = 0; i < piece.len - back; i++)
            out.hash = out.hash * 31 + (uint8_t)piece.ptr[i];
    }
    if (out.result != HTTP_CHUNK_END && out.result != HTTP_CHUNK_FAILED)
        out.result = HTTP_CHUNK_MORE;
    if (out.result == HTTP_CHUNK_FAILED) out.at = 0; /* what was used before is not told */
    return out;
}

static bool same(Outcome a, Outcome b)
{
    return a.result == b.result && a.at == b.at && a.bytes == b.bytes && a.hash == b.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    Outcome whole = decode(text, size, SIZE_MAX, false);
    size_t step = size > 0 ? data[size - 1] % 17u + 1 : 1;
    Outcome cut = decode(text, size, step, false), back = decode(text, size, step, true);
    ASSERT(same(whole, cut) && same(whole, back));
    return 0;
}
