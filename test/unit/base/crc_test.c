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

static uint64_t slow_crc64nvme(const uint8_t *data, size_t len)
{
    uint64_t crc = ~(uint64_t)0;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x9a6c9329ac4bc9b5 & -(crc & 1));
    }
    return ~crc;
}

/* Long pieces are folded, and what is left of them is not: each length around a border, also behind
 * something. */
static void test_crc64_against_slow(void **state)
{
    UNUSED(state);
    uint8_t data[2200];
    random_bytes(4, data, sizeof data);
    for (size_t len = 0; len < 2100; len += len < 700 ? 1 : 61) {
        for (size_t offset = 0; offset < 16; offset += 5) {
            uint64_t slow = slow_crc64nvme(data + offset, len);
            assert_true(crc64nvme_more(0, data + offset, len) == slow);
            size_t cut = len / 3;
            uint64_t first = crc64nvme_more(0, data + offset, cut);
            assert_true(crc64nvme_more(first, data + offset + cut, len - cut) == slow);
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

/* What clients of S3 send: the check values of their definitions, and in pieces. */
static void test_others(void **state)
{
    UNUSED(state);
    assert_int_equal(crc32_more(0, "123456789", 9), 0xcbf43926);
    assert_true(crc64nvme_more(0, "123456789", 9) == 0xae8b14860a799888ULL);
    assert_int_equal(crc32_more(0, "hello world", 11), 0x0d4a1185); /* as a client sent it */
    assert_int_equal(crc32_more(0, "", 0), 0);
    assert_true(crc64nvme_more(0, "", 0) == 0);
    uint8_t data[200];
    random_bytes(3, data, sizeof data);
    uint32_t whole32 = crc32_more(0, data, sizeof data);
    uint64_t whole64 = crc64nvme_more(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        uint32_t first32 = crc32_more(0, data, cut);
        uint64_t first64 = crc64nvme_more(0, data, cut);
        assert_int_equal(crc32_more(first32, data + cut, sizeof data - cut), whole32);
        assert_true(crc64nvme_more(first64, data + cut, sizeof data - cut) == whole64);
    }
}

/* Of every border, and of a second piece that is long. */
static void test_join(void **state)
{
    UNUSED(state);
    uint8_t data[700];
    random_bytes(3, data, sizeof data);
    for (size_t at = 0; at <= sizeof data; at += 35) {
        const uint8_t *second = data + at;
        size_t len = sizeof data - at;
        assert_int_equal(crc32_join(crc32_more(0, data, at), crc32_more(0, second, len), len),
                         crc32_more(0, data, sizeof data));
        assert_int_equal(crc32c_join(crc32c(data, at), crc32c(second, len), len),
                         crc32c(data, sizeof data));
        assert_true(crc64nvme_join(crc64nvme_more(0, data, at), crc64nvme_more(0, second, len),
                                   len) == crc64nvme_more(0, data, sizeof data));
    }
    /* A gigabyte of zeros, by halves. */
    uint64_t whole = crc64nvme_more(0, "", 1);
    for (uint64_t len = 1; len < GIB; len *= 2)
        whole = crc64nvme_join(whole, whole, len);
    uint64_t pairs = crc64nvme_more(0, "\0", 2);
    for (uint64_t len = 2; len < GIB; len *= 2)
        pairs = crc64nvme_join(pairs, pairs, len);
    assert_true(whole == pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_against_slow),
        cmocka_unit_test(test_more),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_crc64_against_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
