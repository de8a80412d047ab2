#include "cli/key_path.h"

#include <string.h>

static ErrCode check_segment(Str segment, Err *err)
{
    if (segment.len == 0) return err_set(err, ERR_BAD_NAME, "the key has an empty segment (//)");
    if (str_eq(segment, STR(".")) || str_eq(segment, STR(".."))) {
        return err_set(err, ERR_BAD_NAME, "the key has a segment %.*s", STR_ARG(segment));
    }
    if (segment.len > PATH_SEGMENT_MAX) {
        return err_set(err, ERR_BAD_NAME, "a segment of the key is longer than %d bytes",
                       PATH_SEGMENT_MAX);
    }
    return OK;
}

ErrCode key_path_check(Str key, Err *err)
{
    if (key.len == 0) return err_set(err, ERR_BAD_NAME, "the key leaves no name for a file");
    if (key.ptr[0] == '/') return err_set(err, ERR_BAD_NAME, "the key begins with /");
    if (key.ptr[key.len - 1] == '/') return err_set(err, ERR_BAD_NAME, "the key ends in /");
    if (memchr(key.ptr, '\0', key.len) != NULL) {
        return err_set(err, ERR_BAD_NAME, "the key holds a NUL");
    }
    bool more = true;
    while (more) {
        Str segment;
        Str rest;
        more = str_split(key, '/', &segment, &rest);
        TRY(check_segment(segment, err));
        key = rest;
    }
    return OK;
}

ErrCode key_check(Str key, Err *err)
{
    if (key.len == 0) return err_set(err, ERR_BAD_NAME, "the key is empty");
    if (key.len > KEY_MAX) {
        return err_set(err, ERR_KEY_TOO_LONG,
                       "the key would have %zu bytes, at most %d are allowed", key.len, KEY_MAX);
    }
    if (!str_is_utf8(key)) return err_set(err, ERR_BAD_NAME, "the name is not UTF-8");
    if (memchr(key.ptr, '\0', key.len) != NULL) {
        return err_set(err, ERR_BAD_NAME, "the key holds a NUL");
    }
    return OK;
}

ErrCode key_split(const char *arg, Str *bucket, Str *key, Err *err)
{
    Str head;
    Str tail;
    /* Without a '/' the tail is empty, which is what is wanted. */
    bool found = str_split(str_from_cstr(arg), '/', &head, &tail);
    if (head.len == 0) {
        return err_set(err, ERR_USAGE, "\"%s\" names no bucket; write BUCKET/KEY", arg);
    }
    *bucket = head;
    *key = found ? tail : STR("");
    return OK;
}

Str path_base_name(Str path)
{
    while (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    size_t from = path.len;
    while (from > 0 && path.ptr[from - 1] != '/')
        from--;
    return str_slice(path, from, path.len - from);
}
