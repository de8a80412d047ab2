#include "testing.h"

#include "base/crc.h"
#include "examples.h"
#include "format/blob_file.h"
#include "format/pack.h"

#include <string.h>

static uint8_t bytes[BLOB_FOOTER_LEN];

static BlobFooter example_footer(void)
{
    return (BlobFooter){
        .body = example_id(0x20),
        .extent = 7,
        .bucket = UINT64_C(0x1122334455667788),
        .shard = 0x1005,
        .plain_size = 600000,
        .stored_size = 500000,
        .chunk_size = CHUNK_SIZE_DEFAULT,
        .chunk_count = 3,
        .table_crc = 0xdeadbeef,
        .digest = example_digest(6),
        .time_ms = 1760000000000,
        .attrs = STR("\x01\x01k"),
    };
}

static ErrCode round_trip(const BlobFooter *in, BlobFooter *out, Err *err)
{
    blob_footer_encode(in, bytes);
    return blob_footer_decode(str_of(bytes, sizeof bytes), out, err);
}

static void test_footer(void **state)
{
    UNUSED(state);
    BlobFooter in = example_footer();
    BlobFooter out;
    Err err = {0};
    assert_ok(round_trip(&in, &out, &err), &err);
    assert_memory_equal(bytes, "HLFBLOB1", 8);
    assert_int_equal(get_u32(bytes + 12), 7);
    assert_memory_equal(bytes + 16, in.body.bytes, 16);
    assert_true(get_u64(bytes + 32) == in.bucket);
    assert_int_equal(get_u64(bytes + 40), 600000);
    assert_int_equal(get_u64(bytes + 48), 500000);
    assert_int_equal(get_u64(bytes + 56), 3);
    assert_int_equal(get_u32(bytes + 68), 0xdeadbeef);
    assert_memory_equal(bytes + 72, in.digest.bytes, 32);
    assert_memory_equal(bytes + 120, "\x01\x01k", 3);

    assert_true(id128_eq(out.body, in.body) && out.extent == 7 && out.bucket == in.bucket);
    assert_true(out.shard == 0x1005 && out.plain_size == 600000 && out.stored_size == 500000);
    assert_true(out.chunk_size == in.chunk_size && out.chunk_count == 3);
    assert_true(out.table_crc == in.table_crc && sha256_eq(&out.digest, &in.digest));
    assert_true(out.time_ms == in.time_ms && str_eq(out.attrs, in.attrs));
}

static void test_sizes(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t plain, stored, chunk, count;
        ErrCode code;
    } rows[] = {
        {0, 0, CHUNK_SIZE_MIN, 0, OK},
        {1, 1, CHUNK_SIZE_MIN, 1, OK},
        {64 * KIB, 64 * KIB, 64 * KIB, 1, OK},
        {64 * KIB + 1, 1, 64 * KIB, 2, OK},
        {EXTENT_SIZE_MAX, EXTENT_SIZE_MAX, CHUNK_SIZE_MAX, 1280, OK},
        {EXTENT_SIZE_MAX + 1, 0, CHUNK_SIZE_MAX, 1281, ERR_CORRUPT},
        {UINT64_MAX, 0, CHUNK_SIZE_MAX, 0, ERR_CORRUPT},
        {1, 2, CHUNK_SIZE_MIN, 1, ERR_CORRUPT},
        {1, 1, CHUNK_SIZE_MIN - 4096, 1, ERR_CORRUPT},
        {1, 1, CHUNK_SIZE_MAX + 4096, 1, ERR_CORRUPT},
        {1, 1, CHUNK_SIZE_MIN + 1, 1, ERR_CORRUPT},
        {1, 1, 0, 1, ERR_CORRUPT},
        {1, 1, CHUNK_SIZE_MIN, 0, ERR_CORRUPT},
        {1, 1, CHUNK_SIZE_MIN, 2, ERR_CORRUPT},
        {1, 1, CHUNK_SIZE_MIN, UINT64_MAX, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        BlobFooter in = example_footer();
        in.plain_size = rows[i].plain;
        in.stored_size = rows[i].stored;
        in.chunk_size = (uint32_t)rows[i].chunk;
        in.chunk_count = rows[i].count;
        Err err = {0};
        BlobFooter out = {.extent = 99};
        ErrCode code = round_trip(&in, &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
        if (code != OK) assert_int_equal(out.extent, 99);
    }
}

/* Those that fit whole are kept, in their order. */
static void test_attributes_that_fit(void **state)
{
    UNUSED(state);
    static char value[BLOB_FOOTER_ATTRS_MAX];
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("k"), &err), &err);
    /* type 1 byte, length 2 bytes: 3 + 3 + the value */
    assert_ok(attr_set(&attrs, ATTR_USER_META, str_of(value, BLOB_FOOTER_ATTRS_MAX - 6), &err),
              &err);
    BlobFooter in = example_footer();
    BlobFooter out;
    in.attrs = buf_str(&attrs);
    assert_ok(round_trip(&in, &out, &err), &err);
    assert_int_equal(out.attrs.len, BLOB_FOOTER_ATTRS_MAX);
    assert_ok(attr_set(&attrs, ATTR_USER_META, str_of(value, BLOB_FOOTER_ATTRS_MAX - 5), &err),
              &err);
    assert_ok(attr_set(&attrs, ATTR_TAGS, STR("t"), &err), &err);
    in.attrs = buf_str(&attrs);
    assert_ok(round_trip(&in, &out, &err), &err);
    assert_true(str_eq(out.attrs, STR("\x01\x01k")));
}

static void test_bytes(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        uint8_t value;
        ErrCode code;
    } rows[] = {
        {114, 1, ERR_CORRUPT},    /* reserved */
        {116, 2, ERR_CORRUPT},    /* attributes cut: a byte stands behind them */
        {117, 0x0d, ERR_CORRUPT}, /* more attributes than there may be */
        {119, 0xff, ERR_CORRUPT}, /* and than there is room for */
        {120, 0, ERR_CORRUPT},    /* type 0 */
        {4000, 1, ERR_CORRUPT},   /* reserved */
        {8, 2, ERR_FORMAT_VERSION},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        BlobFooter footer = example_footer();
        blob_footer_encode(&footer, bytes);
        bytes[rows[i].at] = rows[i].value;
        put_u32(bytes + 4092, crc32c(bytes, 4092));
        Err err = {0};
        ErrCode code = blob_footer_decode(str_of(bytes, sizeof bytes), &footer, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
    }
}

static void test_chunk_rows(void **state)
{
    UNUSED(state);
    static const struct {
        uint32_t stored_len;
        uint8_t flags;
        uint8_t tag;
        bool valid;
    } rows[] = {
        {1, 0, 0, true},
        {CHUNK_SIZE_MAX, CHUNK_FLAG_ZSTD, 0, true},
        {5, CHUNK_FLAG_AES_GCM, 1, true},
        {5, CHUNK_FLAG_AES_GCM | CHUNK_FLAG_ZSTD, 0, true},
        {5, CHUNK_FLAG_ZSTD, 1, false}, /* a tag of nothing */
        {0, 0, 0, false},
        {CHUNK_SIZE_MAX + 1, 0, 0, false},
        {5, 4, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ChunkRow in = {.stored_len = rows[i].stored_len, .flags = rows[i].flags, .crc = 0x01020304};
        in.tag[15] = rows[i].tag;
        Enc enc = enc_of(bytes, sizeof bytes);
        chunk_row_encode(&in, &enc);
        assert_int_equal(enc.len, BLOB_CHUNK_ROW_LEN);
        Dec dec = dec_of(bytes, enc.len);
        ChunkRow out = {0};
        if (chunk_row_decode(&dec, &out) != rows[i].valid) fail_msg("row %zu", i);
        if (!rows[i].valid) continue;
        assert_true(dec_done(&dec) && out.stored_len == in.stored_len && out.flags == in.flags);
        assert_true(out.crc == in.crc && memcmp(out.tag, in.tag, sizeof in.tag) == 0);
        dec = dec_of(bytes, enc.len - 1);
        assert_false(chunk_row_decode(&dec, &out));
        bytes[6] = 1; /* reserved */
        dec = dec_of(bytes, enc.len);
        assert_false(chunk_row_decode(&dec, &out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_footer),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_attributes_that_fit),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_chunk_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
