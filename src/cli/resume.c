#include "cli/resume.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

#define NAME_LEN 32 /* hex digits */
#define FILE_MAX (RESUME_LOCATION_MAX + 128)

/* "/home/me/.local/state/holdfast/uploads", terminated. */
static ErrCode folder_path(Buf *out, Err *err)
{
    const char *base = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (base != NULL && base[0] == '/') {
        TRY(buf_printf(out, err, "%s/holdfast/uploads", base));
    } else if (home != NULL && home[0] == '/') {
        TRY(buf_printf(out, err, "%s/.local/state/holdfast/uploads", home));
    } else {
        return err_set(err, ERR_NOT_FOUND, "there is no home directory");
    }
    return buf_append_zeros(out, 1, err);
}

static void hash_text(HashCtx *hash, Str text)
{
    uint64_t len = text.len;
    hash_update(hash, &len, sizeof len);
    hash_update(hash, text.ptr, text.len);
}

/* The name of its file: which upload of which path. */
static ErrCode name_of(const ResumeOf *what, char out[NAME_LEN + 1], Err *err)
{
    char real[PATH_MAX];
    uint8_t digest[SHA256_LEN];
    if (realpath(what->path, real) == NULL) return err_set(err, ERR_NOT_FOUND, "the path is gone");
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    hash_text(hash, str_from_cstr(what->url));
    hash_text(hash, what->bucket);
    hash_text(hash, what->key);
    hash_text(hash, str_from_cstr(real));
    hash_final(hash, digest);
    hex_encode(digest, NAME_LEN / 2, out);
    return OK;
}

/* The first line: which file, and in which state. */
static ErrCode first_line(const ResumeOf *what, Buf *out, Err *err)
{
    const LocalFile *file = what->file;
    return buf_printf(out, err,
                      "device=%" PRIu64 " inode=%" PRIu64 " size=%" PRIu64 " mtime=%" PRId64
                      " ctime=%" PRId64 "\n",
                      file->device, file->inode, file->size, file->mtime_ns, file->ctime_ns);
}

static ErrCode file_path(const ResumeOf *what, Buf *out, Err *err)
{
    char name[NAME_LEN + 1];
    TRY(name_of(what, name, err));
    TRY(folder_path(out, err));
    out->len--; /* the NUL */
    TRY(buf_printf(out, err, "/%s", name));
    return buf_append_zeros(out, 1, err);
}

static ErrCode find(const ResumeOf *what, Buf *location, Err *err)
{
    AUTO_BUF(path, PATH_MAX);
    AUTO_BUF(text, FILE_MAX);
    AUTO_BUF(wanted, FILE_MAX);
    bool found = false;
    Str upload;
    Str rest;
    TRY(file_path(what, &path, err));
    TRY(local_read_all((const char *)path.data, &text, &found, err));
    if (!found) return OK;
    TRY(first_line(what, &wanted, err));
    if (!str_starts_with(buf_str(&text), buf_str(&wanted))) return OK;
    Str behind = str_slice(buf_str(&text), wanted.len, text.len - wanted.len);
    if (!str_split(behind, '\n', &upload, &rest) || upload.len == 0 || upload.ptr[0] != '/')
        return OK;
    for (size_t i = 0; i < upload.len; i++) {
        if ((uint8_t)upload.ptr[i] <= ' ' || upload.ptr[i] == 0x7f) return OK;
    }
    TRY(buf_append_str(location, upload, err));
    return buf_append_zeros(location, 1, err);
}

void resume_find(const ResumeOf *what, Buf *location)
{
    buf_clear(location);
    if (find(what, location, NULL) != OK) buf_clear(location);
}

/* Those of uploads that have ended long ago. */
static void remove_old(LocalDir *dir, const char *folder)
{
    const char *name = NULL;
    int64_t now_s = (int64_t)(clock_wall_ms(clock_real()) / 1000);
    while (local_dir_next(dir, &name, NULL) == OK && name != NULL) {
        LocalInfo info = {.type = LOCAL_OTHER};
        char path[PATH_MAX];
        if (local_dir_stat(dir, name, &info, NULL) != OK || info.type != LOCAL_FILE) continue;
        if (info.mtime_ns / 1000000000 > now_s - INT64_C(86400) * RESUME_KEPT_DAYS) continue;
        int len = snprintf(path, sizeof path, "%s/%s", folder, name);
        if (len > 0 && (size_t)len < sizeof path) local_remove(path);
    }
}

static ErrCode keep(const ResumeOf *what, Str location, Rng *rng, Err *err)
{
    AUTO_BUF(path, PATH_MAX);
    AUTO_BUF(text, FILE_MAX);
    AUTO(LocalDir, local_dir_close) dir = NULL;
    LocalNew file = LOCAL_NEW_NONE;
    char name[NAME_LEN + 1];
    TRY(name_of(what, name, err));
    TRY(folder_path(&path, err));
    TRY(first_line(what, &text, err));
    TRY(buf_printf(&text, err, "%.*s\n", STR_ARG(location)));
    TRY(local_make_dirs((const char *)path.data, err));
    TRY(local_dir_open(NULL, (const char *)path.data, &dir, err));
    remove_old(dir, (const char *)path.data);
    TRY(local_new_open(dir, str_from_cstr(name), rng, &file, err));
    ErrCode code = local_new_write(&file, buf_str(&text), err);
    if (code == OK) code = local_new_commit(&file, err);
    local_new_discard(&file);
    return code;
}

void resume_keep(const ResumeOf *what, Str location, Rng *rng)
{
    ErrCode code = keep(what, location, rng, NULL);
    UNUSED(code); /* nothing to go on with after a kill, that is all */
}

void resume_forget(const ResumeOf *what)
{
    AUTO_BUF(path, PATH_MAX);
    if (file_path(what, &path, NULL) == OK) local_remove((const char *)path.data);
}
