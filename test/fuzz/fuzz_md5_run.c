/* MD5 of several runs at once, against OpenSSL's of each alone. The first byte chooses the way,
 * each further pair the run and the length of its next piece, whose bytes follow from there. */
#include <string.h>

#include "base/hash.h"
#include "base/md5_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    Md5Run *runs[MD5_LANES];
    HashCtx *wanted[MD5_LANES];
    Md5Piece pieces[MD5_LANES]; /* that wait to be taken together */
    size_t count;
    Md5Way way;
} Fuzz;

static void flush(Fuzz *f)
{
    if (f->count == 0) return;
    if (f->way == MD5_WAY_COUNT)
        md5_run_update(f->pieces, f->count);
    else
        md5_run_update_by(f->way, f->pieces, f->count);
    f->count = 0;
}

static void add(Fuzz *f, size_t lane, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->pieces[i].run != f->runs[lane]) continue;
        flush(f); /* a run is in one piece at a time */
        break;
    }
    hash_update(f->wanted[lane], data, len);
    f->pieces[f->count++] = (Md5Piece){f->runs[lane], data, len};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Fuzz f = {.count = 0};
    if (size == 0) return 0;
    f.way = (Md5Way)(data[0] % (MD5_WAY_COUNT + 1));
    if (f.way < MD5_WAY_COUNT && !md5_way_usable(f.way)) f.way = MD5_PORTABLE;
    for (size_t i = 0; i < MD5_LANES; i++) {
        f.runs[i] = md5_run_new();
        f.wanted[i] = hash_new(HASH_MD5);
    }
    for (size_t at = 1; at + 2 <= size; at += 2) {
        size_t wanted = 2 * (size_t)data[at + 1];
        add(&f, data[at] % MD5_LANES, data + at, MIN(wanted, size - at));
    }
    flush(&f);
    for (size_t i = 0; i < MD5_LANES; i++) {
        uint8_t made[MD5_LEN];
        uint8_t wanted[MD5_LEN];
        md5_run_final(f.runs[i], made);
        hash_final(f.wanted[i], wanted);
        ASSERT(memcmp(made, wanted, MD5_LEN) == 0);
        md5_run_free(f.runs[i]);
        hash_free(f.wanted[i]);
    }
    return 0;
}
