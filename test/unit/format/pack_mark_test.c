#include "testing.h"

#include "base/crc.h"
#include "examples.h"
#include "format/pack_mark.h"

static void test_mark(void **state)
{
    UNUSED(state);
    PackMark in = {.root = example_id(0x10),
                   .pack = 7,
                   .offset = 0x3000,
                   .synced = {.pack = 6, .end = 0x2f48}};
    uint8_t bytes[PACK_MARK_LEN + 1] = {0};
    pack_mark_encode(&in, bytes);
    assert_memory_equal(bytes, "HLFPMRK1", 8);
    assert_memory_equal(bytes + 8, in.root.bytes, 16);
    assert_int_equal(get_u64(bytes + 24), 7);
    assert_int_equal(get_u64(bytes + 32), 0x3000);
    assert_int_equal(get_u64(bytes + 40), 6);
    assert_int_equal(get_u64(bytes + 48), 0x2f48);

    PackMark out = {0};
    assert_true(pack_mark_decode(str_of(bytes, sizeof bytes), &out));
    assert_true(id128_eq(out.root, in.root));
    assert_true(out.pack == 7 && out.offset == 0x3000);
    assert_true(out.synced.pack == 6 && out.synced.end == 0x2f48);
}

static void test_damage(void **state)
{
    UNUSED(state);
    PackMark mark = {.root = example_id(0x10), .pack = 7};
    uint8_t bytes[PACK_MARK_LEN];
    pack_mark_encode(&mark, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 0x08;
        assert_false(pack_mark_decode(str_of(bytes, sizeof bytes), &mark));
        assert_false(pack_mark_decode(str_of(bytes, i), &mark));
        bytes[i] ^= 0x08;
    }
    bytes[0] = 'X'; /* another magic, rightly summed */
    put_u32(bytes + 56, crc32c(bytes, 56));
    assert_false(pack_mark_decode(str_of(bytes, sizeof bytes), &mark));
    assert_int_equal(mark.pack, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mark),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
