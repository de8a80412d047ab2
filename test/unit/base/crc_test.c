#include "testing.h"

#include "base/crc.h"

#include <string.h>
#include <sys/mman.h>

/* RFC 3720, appendix B.4, and the check value of the catalogue of parametrised CRCs. */
static void test_known(void **state)
{
    UNUSED(state);
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    const struct {
        const void *data;
        size_t len;
        uint32_t crc;
    } rows[] = {
        {"123456789", 9, 0xe3069283}, {zeros, 32, 0x8a9136aa}, {ones, 32, 0x62a8ab43},
        {up, 32, 0x46dd794e},         {down, 32, 0x113fdb5c},  {NULL, 0, 0},
        {"a", 1, 0xc1d04330},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(crc32c(rows[i].data, rows[i].len), rows[i].crc);
        assert_int_equal(crc32c_more(0, rows[i].data, rows[i].len), rows[i].crc);
    }
}

/* Bit by bit from the polynomial, against all lengths and alignments that fast code
 * treats apart. */
static uint32_t slow_crc32c(const uint8_t *data, size_t len)
{
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1));
    }
    return ~crc;
}

static void test_against_slow(void **state)
{
    UNUSED(state);
    uint8_t data[1100];
    random_bytes(1, data, sizeof data);
    for (size_t len = 0; len < 1024; len += len < 300 ? 1 : 97) {
        for (size_t offset = 0; offset < 16; offset += 5) {
            assert_int_equal(crc32c(data + offset, len), slow_crc32c(data + offset, len));
        }
    }
}

static void test_more(void **state)
{
    UNUSED(state);
    uint8_t data[200];
    random_bytes(2, data, sizeof data);
    uint32_t whole = crc32c(data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        uint32_t crc = crc32c(data, cut);
        assert_int_equal(crc32c_more(crc, data + cut, sizeof data - cut), whole);
    }
}

/* Longer than one call of isa-l takes: pages that are not written cost no memory. */
static void test_huge(void **state)
{
    UNUSED(state);
    size_t half = (size_t)1 << 29;
    size_t len = 2 * half + 4096;
    uint8_t *data = mmap(NULL, len, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(data, MAP_FAILED);
    (void)madvise(data, len, MADV_HUGEPAGE); /* fewer page faults, where there are such pages */
    data[0] = 1;
    data[len - 1] = 2;
    uint32_t crc = crc32c_more(crc32c(data, half), data + half, half);
    assert_int_equal(crc32c(data, len), crc32c_more(crc, data + 2 * half, 4096));
    munmap(data, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_against_slow),
        cmocka_unit_test(test_more),
        cmocka_unit_test(test_huge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
