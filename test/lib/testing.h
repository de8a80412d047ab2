/* What all unit tests share: cmocka with the headers that it wants before it, and assertions that
 * speak of our types. One thread. */
#ifndef HOLDFAST_TEST_LIB_TESTING_H
#define HOLDFAST_TEST_LIB_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* call gives OK, or the test fails with the text of *err (an Err *, may be NULL). */
#define assert_ok(call, err) testing_code((call), OK, (err), #call, __FILE__, __LINE__)
/* call gives this code. */
#define assert_code(call, code, err) testing_code((call), (code), (err), #call, __FILE__, __LINE__)
/* s (a Str) holds the bytes of text (a C string). */
#define assert_str(s, text) testing_str((s), str_from_cstr(text), __FILE__, __LINE__)
/* run(arg) in a child process aborts, and its stderr holds text. Nothing of it reaches this one. */
#define assert_aborts(run, arg, text) testing_aborts((run), (arg), (text), __FILE__, __LINE__)

void testing_code(ErrCode got, ErrCode wanted, const Err *err, const char *call, const char *file,
                  int line);
void testing_str(Str got, Str wanted, const char *file, int line);
void testing_aborts(void (*run)(void *arg), void *arg, const char *text, const char *file,
                    int line);

/* The setup of a group of tests: errors alone are logged, and nowhere, where thousands of lines
 * would be no help to who reads the output. */
int testing_silent(void **state);

/* Long loops of tests that have one thread take every TSAN_STRIDE-th case in a build with
 * ThreadSanitizer, which makes them ten times as long and has no second thread to find a race with.
 * Each case elsewhere. It has no divisor in common with 2 to 6, by which cases differ. */
#define TSAN_STRIDE 1
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef TSAN_STRIDE
#define TSAN_STRIDE 7
#endif
#endif

/* A new empty directory under $TMPDIR or /tmp; tmp_dir_remove() deletes it with all in it and frees
 * the name. NULL is fine. */
char *tmp_dir_new(void);
void tmp_dir_remove(char *path);
/* A terminated "dir/name", freed by mem_free(). */
char *tmp_path(const char *dir, const char *name);
/* len bytes that look random, the same for the same seed. */
void random_bytes(uint64_t seed, void *out, size_t len);

AUTO_DEFINE(char, tmp_dir_remove);

#endif
