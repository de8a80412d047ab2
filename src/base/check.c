#include "base/check.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAMES_MAX 64

void check_failed(const char *file, int line, const char *condition)
{
    /* dprintf: nothing is buffered, so nothing is lost by abort(). */
    dprintf(STDERR_FILENO, "%s:%d: assertion failed: %s\n", file, line, condition);
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    if (count > 0) backtrace_symbols_fd(frames, count, STDERR_FILENO);
    abort();
}
