#include "base/guard.h"

#include "base/crc.h"
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <threads.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)16)

/* A file of PAGES pages, mapped; *fd stays open. */
static uint8_t *map_file(int *fd)
{
    char name[] = "/tmp/holdfast-guard-XXXXXX";
    *fd = mkstemp(name);
    assert_true(*fd >= 0);
    assert_int_equal(unlink(name), 0);
    uint8_t bytes[PAGE];
    for (size_t i = 0; i < PAGES; i++) {
        random_bytes(i, bytes, sizeof bytes);
        assert_int_equal(write(*fd, bytes, sizeof bytes), sizeof bytes);
    }
    void *data = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, *fd, 0);
    assert_true(data != MAP_FAILED);
    return data;
}

static void reads_what_is_there(void **state)
{
    UNUSED(state);
    int fd;
    uint32_t crc = 0;
    uint8_t *data = map_file(&fd);
    guard_install();
    assert_true(guard_crc32c(data, PAGES * PAGE, &crc));
    assert_int_equal(crc, crc32c(data, PAGES * PAGE));
    assert_true(guard_crc32c(data, 0, &crc));
    assert_int_equal(crc, 0);
    munmap(data, PAGES * PAGE);
    close(fd);
}

/* Again and again: the first fault must leave the thread able to meet the next one. */
static void a_missing_page_is_false(void **state)
{
    UNUSED(state);
    int fd;
    uint8_t *data = map_file(&fd);
    guard_install();
    assert_int_equal(ftruncate(fd, 5 * PAGE), 0);
    for (int i = 0; i < 100; i++) {
        uint32_t crc = 77;
        assert_false(guard_crc32c(data, PAGES * PAGE, &crc));
        assert_int_equal(crc, 77);
        assert_true(guard_crc32c(data, 5 * PAGE, &crc));
        assert_int_equal(crc, crc32c(data, 5 * PAGE));
    }
    munmap(data, PAGES * PAGE);
    close(fd);
}

static int read_often(void *arg)
{
    uint8_t *data = arg;
    int failed = 0;
    for (int i = 0; i < 200; i++) {
        uint32_t crc;
        failed += guard_crc32c(data, PAGES * PAGE, &crc) ? 0 : 1;
        failed += guard_crc32c(data, PAGE, &crc) ? 0 : 1000;
    }
    return failed;
}

static void threads_do_not_meet(void **state)
{
    UNUSED(state);
    int fd[2];
    uint8_t *data[2] = {map_file(&fd[0]), map_file(&fd[1])};
    thrd_t threads[2];
    int failed[2];
    guard_install();
    assert_int_equal(ftruncate(fd[0], PAGE), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(thrd_create(&threads[i], read_often, data[i]), thrd_success);
    for (int i = 0; i < 2; i++)
        assert_int_equal(thrd_join(threads[i], &failed[i]), thrd_success);
    assert_int_equal(failed[0], 200);
    assert_int_equal(failed[1], 0);
    for (int i = 0; i < 2; i++) {
        munmap(data[i], PAGES * PAGE);
        close(fd[i]);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there),
        cmocka_unit_test(a_missing_page_is_false),
        cmocka_unit_test(threads_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
