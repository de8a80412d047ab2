#include "audit/audit_verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (64 * KIB)

/* One file as it is read. */
typedef struct {
    AuditVerifier *v;
    const char *name;
    uint64_t line; /* number in the file, from 1 */
} Walk;

static ErrCode check_start(const AuditVerifier *v, const Walk *walk, const AuditLine *line,
                           Err *err)
{
    if (v->key == NULL) return OK;
    Sha256 start = audit_start(v->key);
    if (line->seq == 1 && !sha256_eq(&line->prev, &start)) {
        return err_set(err, ERR_CORRUPT,
                       "%s line %" PRIu64 ": line 1 of the chain was not begun with this key",
                       walk->name, walk->line);
    }
    if (v->anchor != NULL && line->seq > v->anchor->first_seq) {
        return err_set(err, ERR_CORRUPT,
                       "%s line %" PRIu64 ": begins with number %" PRIu64 ": lines from %" PRIu64
                       " on were cut off before it",
                       walk->name, walk->line, line->seq, v->anchor->first_seq);
    }
    return OK;
}

/* What the anchor says of this line. */
static ErrCode check_anchor(AuditVerifier *v, const Walk *walk, const AuditLine *line,
                            const Sha256 *digest, Err *err)
{
    const AuditAnchor *anchor = v->anchor;
    if (anchor == NULL) return OK;
    bool good = line->seq != anchor->first_seq || sha256_eq(&line->prev, &anchor->first_prev);
    if (line->seq == anchor->last_seq) {
        good = good && sha256_eq(digest, &anchor->last);
        v->anchor_seen = good;
    }
    if (good) return OK;
    return err_set(err, ERR_CORRUPT,
                   "%s line %" PRIu64 ": is not what the anchor attests: it or one before it was "
                   "changed, and the chain made anew",
                   walk->name, walk->line);
}

static ErrCode check_line(Walk *walk, Str text, Err *err)
{
    AuditVerifier *v = walk->v;
    AuditLine line;
    walk->line++;
    if (!audit_line_parse(text, &line)) {
        return err_set(err, ERR_CORRUPT, "%s line %" PRIu64 ": is no line of an audit log",
                       walk->name, walk->line);
    }
    if (v->first_seq == 0) {
        TRY(check_start(v, walk, &line, err));
        v->first_seq = line.seq;
    } else if (line.seq != v->last_seq + 1) {
        return err_set(err, ERR_CORRUPT,
                       "%s line %" PRIu64 ": has number %" PRIu64 " where %" PRIu64
                       " was to come: lines were cut out, put in or moved",
                       walk->name, walk->line, line.seq, v->last_seq + 1);
    } else if (!sha256_eq(&line.prev, &v->last)) {
        return err_set(err, ERR_CORRUPT,
                       "%s line %" PRIu64 ": does not carry the digest of the line before it: one "
                       "of the two was changed",
                       walk->name, walk->line);
    }
    Sha256 digest = audit_digest(text);
    TRY(check_anchor(v, walk, &line, &digest, err));
    v->last_seq = line.seq;
    v->last = digest;
    v->lines++;
    v->good_end += text.len + 1;
    return OK;
}

/* The whole lines of data; *used bytes of it are done. */
static ErrCode check_lines(Walk *walk, Str data, size_t *used, Err *err)
{
    for (*used = 0;;) {
        Str rest = str_slice(data, *used, data.len);
        size_t len = str_find_char(rest, '\n');
        if (len == rest.len) return OK;
        TRY(check_line(walk, str_slice(rest, 0, len), err));
        *used += len + 1;
    }
}

ErrCode audit_verify_file(AuditVerifier *v, Disk *disk, const char *path, const char *name,
                          Err *err)
{
    AUTO(File, disk_close) file = NULL;
    AUTO(char, mem_free) data = mem_new(AUDIT_LINE_MAX + PIECE_BYTES);
    Walk walk = {.v = v, .name = name};
    if (v->torn_bytes > 0) {
        return err_set(err, ERR_CORRUPT, "%s line 1: the file before it ends within a line", name);
    }
    TRY(disk_open(disk, path, DISK_OPEN_READ, &file, err));
    v->files++;
    v->good_end = 0;
    size_t len = 0; /* bytes at hand */
    for (uint64_t at = 0;;) {
        size_t got = 0;
        size_t used = 0;
        TRY(disk_read(file, at, data + len, PIECE_BYTES, &got, err));
        at += got;
        len += got;
        TRY(check_lines(&walk, str_of(data, len), &used, err));
        len -= used;
        memmove(data, data + used, len);
        if (got == 0) break;
        if (len >= AUDIT_LINE_MAX) {
            return err_set(err, ERR_CORRUPT, "%s line %" PRIu64 ": is too long for one", name,
                           walk.line + 1);
        }
    }
    v->torn_bytes = len;
    return OK;
}

ErrCode audit_verify_end(const AuditVerifier *v, const char *name, Err *err)
{
    if (v->anchor == NULL || v->anchor->last_seq == 0 || v->anchor_seen) return OK;
    return err_set(err, ERR_CORRUPT,
                   "%s: ends with number %" PRIu64 ", but %" PRIu64
                   " is attested: lines were cut off at its end",
                   name, v->last_seq, v->anchor->last_seq);
}

/* ---- a directory ---- */

static ErrCode add_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    AuditFiles *files = ctx;
    uint64_t number = 0;
    UNUSED(err);
    if (is_dir || !audit_file_number(name, &number)) return OK;
    if ((files->count & (files->count - 1)) == 0) {
        files->numbers = mem_resize(files->numbers,
                                    MAX(2 * files->count, (size_t)1) * sizeof *files->numbers);
    }
    files->numbers[files->count++] = number;
    return OK;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

ErrCode audit_list(Disk *disk, AuditFiles *out, Err *err)
{
    AuditFiles files = {0};
    ErrCode code = disk_list(disk, "", add_name, &files, err);
    if (code != OK) {
        mem_free(files.numbers);
        return code;
    }
    if (files.count > 0) qsort(files.numbers, files.count, sizeof *files.numbers, compare_numbers);
    *out = files;
    return OK;
}

ErrCode audit_anchor_read(Disk *disk, const AuditKey *key, AuditAnchor *out, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    TRY(disk_read_file(disk, AUDIT_ANCHOR, AUDIT_ANCHOR_MAX, &text, &len, err));
    return audit_anchor_decode(str_of(text, len), key, out, err);
}
