/* Keys and paths. A key is bytes and never a path; these are the only places where one becomes the
 * other. Pure. */
#ifndef HOLDFAST_CLI_KEY_PATH_H
#define HOLDFAST_CLI_KEY_PATH_H

#include "base/buf.h"

#define KEY_MAX 1024         /* bytes of a key, as the server has it */
#define PATH_SEGMENT_MAX 255 /* bytes of a file's name, as Linux has it */

/* May key, relative to a target directory, be a file below it? Not if it is empty, absolute, has
 * an empty, "." or ".." segment or one longer than a file's name, ends in '/', or holds a NUL:
 * ERR_BAD_NAME says which. What passes names a place below the target, provided that no symbolic
 * link is followed on the way. */
MUST_USE ErrCode key_path_check(Str key, Err *err);
/* May the server take it as a key (1..1024 bytes of UTF-8 without NUL)? ERR_BAD_NAME,
 * ERR_KEY_TOO_LONG. */
MUST_USE ErrCode key_check(Str key, Err *err);
/* "bucket/key" → both; without '/' the key is empty. ERR_USAGE without a bucket. */
MUST_USE ErrCode key_split(const char *arg, Str *bucket, Str *key, Err *err);
/* The last segment of a path or key ("a/b" → "b", "a/b/" → "b", "/" and "" → ""). */
Str path_base_name(Str path);

#endif
