#include "testing.h"

#include "base/crc.h"
#include "format/block_priv.h"

#include <string.h>

#define MAGIC UINT64_C(0x3130545345544248)
#define WHAT "test block"

static uint8_t block[BLOCK_LEN];

static void encode(uint32_t format, uint32_t field)
{
    Enc enc = block_begin(block, MAGIC, format);
    enc_u32(&enc, field);
    block_end(&enc);
}

static void mend_crc(void)
{
    put_u32(block + BLOCK_LEN - 4, crc32c(block, BLOCK_LEN - 4));
}

static ErrCode decode(size_t len, Err *err)
{
    Dec dec;
    TRY(block_open(str_of(block, len), MAGIC, 3, WHAT, &dec, err));
    assert_int_equal(dec_u32(&dec), 77);
    return block_close(&dec, WHAT, err);
}

static void test_block(void **state)
{
    UNUSED(state);
    Err err = {0};
    for (uint32_t format = 1; format <= 3; format++) {
        encode(format, 77);
        assert_ok(decode(BLOCK_LEN, &err), &err);
    }
    assert_int_equal(get_u32(block + BLOCK_LEN - 4), crc32c(block, BLOCK_LEN - 4));
    assert_true(get_u64(block) == MAGIC);
    assert_code(decode(BLOCK_LEN - 1, &err), ERR_CORRUPT, &err);
    assert_code(decode(0, &err), ERR_CORRUPT, &err);
    assert_non_null(strstr(err.message, WHAT));
}

static void test_formats(void **state)
{
    UNUSED(state);
    Err err = {0};
    encode(4, 77);
    assert_code(decode(BLOCK_LEN, &err), ERR_FORMAT_VERSION, &err);
    encode(0, 77);
    assert_code(decode(BLOCK_LEN, &err), ERR_CORRUPT, &err);
    /* A flipped bit in the number is damage, no newer format. */
    encode(3, 77);
    block[8] ^= 4;
    assert_code(decode(BLOCK_LEN, &err), ERR_CORRUPT, &err);
}

static void test_damage(void **state)
{
    UNUSED(state);
    Err err = {0};
    encode(3, 77);
    for (size_t i = 0; i < BLOCK_LEN; i += 13) {
        block[i] ^= 1;
        assert_code(decode(BLOCK_LEN, &err), ERR_CORRUPT, &err);
        block[i] ^= 1;
    }
    block[0] ^= 1; /* another magic, rightly summed */
    mend_crc();
    assert_code(decode(BLOCK_LEN, &err), ERR_CORRUPT, &err);
}

static void test_reserved(void **state)
{
    UNUSED(state);
    static const size_t places[] = {16, 2000, BLOCK_LEN - 5};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        Err err = {0};
        encode(3, 77);
        block[places[i]] = 1;
        mend_crc();
        assert_code(decode(BLOCK_LEN, &err), ERR_CORRUPT, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
