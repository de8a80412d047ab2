#include "testing.h"

#include "base/codec.h"
#include "base/rng.h"

#include <string.h>

static void encode_all(Enc *enc)
{
    enc_u8(enc, 0x01);
    enc_u16(enc, 0x0302);
    enc_u32(enc, 0x07060504);
    enc_u64(enc, 0x0f0e0d0c0b0a0908);
    enc_u64_be(enc, 0x1011121314151617);
    enc_u32_be(enc, 0x18191a1b);
    enc_varint(enc, 300);
    enc_bytes(enc, "xyz", 3);
    enc_str(enc, STR("ab"));
    enc_zeros(enc, 2);
}

static const uint8_t all[] = {
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
    0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a,
    0x1b, 0xac, 0x02, 'x',  'y',  'z',  0x02, 'a',  'b',  0x00, 0x00,
};

static void test_encode(void **state)
{
    UNUSED(state);
    uint8_t out[sizeof all];
    memset(out, 0xee, sizeof out);
    Enc enc = enc_of(out, sizeof out);
    encode_all(&enc);
    assert_false(enc.failed);
    assert_int_equal(enc.len, sizeof all);
    assert_memory_equal(out, all, sizeof all);
}

static void test_encode_nothing(void **state)
{
    UNUSED(state);
    Enc enc = enc_of(NULL, 0);
    enc_bytes(&enc, NULL, 0);
    enc_zeros(&enc, 0);
    assert_false(enc.failed);
    assert_int_equal(enc.len, 0);
    enc_str(&enc, (Str){NULL, 0}); /* its length takes a byte */
    assert_true(enc.failed);
}

/* With any smaller room: failed, and no byte behind the room touched. */
static void test_encode_short(void **state)
{
    UNUSED(state);
    for (size_t room = 0; room < sizeof all; room++) {
        uint8_t out[sizeof all + 1];
        memset(out, 0xee, sizeof out);
        Enc enc = enc_of(out, room);
        encode_all(&enc);
        assert_true(enc.failed);
        assert_true(enc.len <= room);
        assert_memory_equal(out, all, enc.len);
        for (size_t i = enc.len; i < sizeof out; i++)
            assert_int_equal(out[i], 0xee);
        /* It stays failed, even for what would fit. */
        size_t len = enc.len;
        enc_bytes(&enc, NULL, 0);
        if (room > 0) enc_u8(&enc, 0);
        assert_true(enc.failed);
        assert_int_equal(enc.len, len);
    }
}

static void test_decode(void **state)
{
    UNUSED(state);
    Dec dec = dec_of(all, sizeof all);
    assert_int_equal(dec_left(&dec), sizeof all);
    assert_int_equal(dec_u8(&dec), 0x01);
    assert_int_equal(dec_u16(&dec), 0x0302);
    assert_int_equal(dec_u32(&dec), 0x07060504);
    assert_int_equal(dec_u64(&dec), 0x0f0e0d0c0b0a0908);
    assert_int_equal(dec_u64_be(&dec), 0x1011121314151617);
    assert_int_equal(dec_u32_be(&dec), 0x18191a1b);
    assert_int_equal(dec_varint(&dec), 300);
    char xyz[3];
    dec_bytes(&dec, xyz, 3);
    assert_memory_equal(xyz, "xyz", 3);
    assert_str(dec_str(&dec), "ab");
    assert_false(dec_done(&dec));
    Str zeros = dec_view(&dec, 2);
    assert_int_equal(zeros.len, 2);
    assert_ptr_equal(zeros.ptr, all + sizeof all - 2); /* a view, no copy */
    assert_true(dec_done(&dec));
    assert_int_equal(dec_left(&dec), 0);
    dec_bytes(&dec, NULL, 0);
    assert_true(dec_done(&dec));
    assert_int_equal(dec_u8(&dec), 0);
    assert_true(dec.failed);
    assert_false(dec_done(&dec));
}

/* Every kind of read on one byte less than it needs: failed, zeros, and failed from then on. */
static void test_decode_short(void **state)
{
    UNUSED(state);
    uint8_t in[16];
    memset(in, 0x7f, sizeof in); /* not 0: zeros must come from the failure */
    for (int kind = 0; kind < 9; kind++) {
        static const size_t needs[] = {1, 2, 4, 8, 8, 4, 5, 5, 1};
        Dec dec = dec_of(in, needs[kind] - 1);
        uint8_t bytes[5] = {1, 1, 1, 1, 1};
        uint64_t value = 1;
        switch (kind) {
        case 0: value = dec_u8(&dec); break;
        case 1: value = dec_u16(&dec); break;
        case 2: value = dec_u32(&dec); break;
        case 3: value = dec_u64(&dec); break;
        case 4: value = dec_u64_be(&dec); break;
        case 5: value = dec_u32_be(&dec); break;
        case 6:
            dec_bytes(&dec, bytes, 5);
            assert_memory_equal(bytes, "\0\0\0\0\0", 5);
            value = 0;
            break;
        case 7: value = dec_view(&dec, 5).len; break;
        default: value = dec_varint(&dec); break;
        }
        assert_true(dec.failed);
        assert_int_equal(value, 0);
        assert_int_equal(dec_left(&dec), 0);
        assert_int_equal(dec_u8(&dec), 0);
        assert_true(dec.failed);
    }
    Dec dec = dec_of(in, 16); /* a string of 127 bytes in 16 */
    assert_int_equal(dec_str(&dec).len, 0);
    assert_true(dec.failed);
    dec = dec_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10); /* of 2^64-1 bytes */
    assert_int_equal(dec_str(&dec).len, 0);
    assert_true(dec.failed);
    dec = dec_of(NULL, 0);
    assert_true(dec_done(&dec));
    assert_int_equal(dec_view(&dec, 0).len, 0);
    assert_true(dec_done(&dec));
}

static void test_varint(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t value;
        size_t len;
    } rows[] = {
        {0, 1},
        {1, 1},
        {127, 1},
        {128, 2},
        {16383, 2},
        {16384, 3},
        {UINT32_MAX, 5},
        {UINT64_MAX >> 1, 9},
        {(UINT64_MAX >> 1) + 1, 10},
        {UINT64_MAX, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t out[10];
        Enc enc = enc_of(out, sizeof out);
        enc_varint(&enc, rows[i].value);
        assert_int_equal(enc.len, rows[i].len);
        Dec dec = dec_of(out, enc.len);
        assert_int_equal(dec_varint(&dec), rows[i].value);
        assert_true(dec_done(&dec));
    }
    static const Str bad[] = {
        STR_INIT(""),
        STR_INIT("\x80"),
        STR_INIT("\x80\x00"),                                     /* longer than needed */
        STR_INIT("\xff\x80\x00"),                                 /* the same */
        STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),     /* 2^64 and more */
        STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81"),     /* goes on after 10 bytes */
        STR_INIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), /* 11 bytes */
        STR_INIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Dec dec = dec_of(bad[i].ptr, bad[i].len);
        assert_int_equal(dec_varint(&dec), 0);
        assert_true(dec.failed);
    }
}

/* Whatever decodes encodes to the same bytes: each number has one form only. */
static void test_varint_canonical(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 1);
    size_t decoded = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t in[12];
        rng_bytes(&rng, in, sizeof in);
        for (size_t j = 0; j < rng_below(&rng, 12); j++)
            in[j] |= 0x80;
        Dec dec = dec_of(in, sizeof in);
        uint64_t value = dec_varint(&dec);
        if (dec.failed) continue;
        uint8_t out[12];
        Enc enc = enc_of(out, sizeof out);
        enc_varint(&enc, value);
        assert_int_equal(enc.len, dec.pos);
        assert_memory_equal(out, in, enc.len);
        decoded++;
    }
    assert_true(decoded > 10000);
}

static void test_fixed(void **state)
{
    UNUSED(state);
    for (size_t offset = 0; offset < 8; offset++) {
        uint8_t out[16] = {0};
        put_u32(out + offset, 0x04030201);
        assert_memory_equal(out + offset, "\1\2\3\4\0", 5);
        assert_int_equal(get_u32(out + offset), 0x04030201);
        put_u64(out + offset, 0xf807060504030201);
        assert_memory_equal(out + offset, "\1\2\3\4\5\6\7\xf8", 8);
        assert_int_equal(get_u64(out + offset), 0xf807060504030201);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),           cmocka_unit_test(test_encode_nothing),
        cmocka_unit_test(test_encode_short),     cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_short),     cmocka_unit_test(test_varint),
        cmocka_unit_test(test_varint_canonical), cmocka_unit_test(test_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
