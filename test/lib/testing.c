#include "testing.h"

#include "base/log.h"
#include "base/rng.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

void testing_code(ErrCode got, ErrCode wanted, const Err *err, const char *call, const char *file,
                  int line)
{
    if (got == wanted) return;
    print_error("%s: %s, not %s", call, err_info(got)->name, err_info(wanted)->name);
    if (got != OK && err != NULL) {
        print_error(": %s (%s:%d)", err_text(err), err->file == NULL ? "?" : err->file, err->line);
    }
    print_error("\n");
    _fail(file, line);
}

void testing_str(Str got, Str wanted, const char *file, int line)
{
    if (str_eq(got, wanted)) return;
    print_error("\"%.*s\" (%zu bytes) is not \"%.*s\" (%zu bytes)\n", STR_ARG(got), got.len,
                STR_ARG(wanted), wanted.len);
    _fail(file, line);
}

void testing_aborts(void (*run)(void *arg), void *arg, const char *text, const char *file, int line)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* cmocka and sanitizers may have a handler; no core file. */
        signal(SIGABRT, SIG_DFL);
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        if (dup2(ends[1], STDERR_FILENO) < 0) _exit(2);
        close(ends[0]);
        close(ends[1]);
        run(arg);
        _exit(0);
    }
    close(ends[1]);
    static char output[64 * 1024];
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], output + len, sizeof output - 1 - len)) > 0)
        len += (size_t)got;
    output[len] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, text) != NULL) return;
    print_error("no abort with \"%s\": wait status %d, stderr: %s\n", text, status, output);
    _fail(file, line);
}

int testing_silent(void **state)
{
    UNUSED(state);
    log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_ERROR);
    return 0;
}

char *tmp_dir_new(void)
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || base[0] == '\0') base = "/tmp";
    char *path = tmp_path(base, "holdfast-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *where)
{
    UNUSED(stat);
    UNUSED(kind);
    UNUSED(where);
    return remove(path);
}

void tmp_dir_remove(char *path)
{
    if (path == NULL) return;
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        print_error("%s could not be removed\n", path);
    }
    mem_free(path);
}

char *tmp_path(const char *dir, const char *name)
{
    size_t size = strlen(dir) + 1 + strlen(name) + 1;
    char *path = mem_new(size);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

void random_bytes(uint64_t seed, void *out, size_t len)
{
    Rng rng;
    rng_init(&rng, seed);
    rng_bytes(&rng, out, len);
}
