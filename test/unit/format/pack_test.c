#include "testing.h"

#include "base/crc.h"
#include "examples.h"
#include "format/pack.h"

#include <string.h>

static uint8_t bytes[PACK_PAYLOAD_MAX];

static PackRecord body_record(void)
{
    PackRecord record = {.type = PACK_BODY, .entry = example_create()};
    record.stored_body = record.entry.inline_body;
    return record;
}

static Str encode(const PackRecord *record)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_record_encode(record, &enc);
    assert_false(enc.failed);
    assert_int_equal(enc.len, pack_record_len(record));
    assert_int_equal(enc.len % 8, 0);
    return str_of(bytes, enc.len);
}

static ErrCode decode(Str data, PackRecord *out, Err *err)
{
    size_t total = 0;
    TRY(pack_record_decode(data, out, &total, err));
    assert_int_equal(total, pack_record_len(out));
    return OK;
}

static void mend_crc(void)
{
    put_u32(bytes + 12, 0);
    put_u32(bytes + 12, crc32c(bytes, PACK_RECORD_HEADER_LEN + get_u32(bytes + 8)));
}

static void test_header(void **state)
{
    UNUSED(state);
    PackHeader in = {.root = example_id(0x10), .number = 77, .time_ms = 1760000000000};
    pack_header_encode(&in, bytes);
    assert_memory_equal(bytes, "HLFPACK1", 8);
    assert_int_equal(get_u32(bytes + 8), PACK_FORMAT);
    assert_memory_equal(bytes + 16, in.root.bytes, 16);
    assert_int_equal(get_u64(bytes + 32), 77);
    assert_true(get_u64(bytes + 40) == in.time_ms);
    Err err = {0};
    PackHeader out = {0};
    Str data = str_of(bytes, PACK_HEADER_LEN);
    assert_ok(pack_header_decode(data, &out, &err), &err);
    assert_true(id128_eq(out.root, in.root) && out.number == 77 && out.time_ms == in.time_ms);
    bytes[12] = 1;
    put_u32(bytes + 4092, crc32c(bytes, 4092));
    assert_code(pack_header_decode(data, &out, &err), ERR_CORRUPT, &err);
}

/* An entry comes back but for what packs do not keep. */
static void assert_kept(const Entry *in, const Entry *out)
{
    assert_int_equal(out->op, in->op);
    assert_true(out->shard == in->shard && out->flags == in->flags);
    assert_true(out->term == in->term && out->lsn == in->lsn && out->time_ms == in->time_ms);
    assert_true(id128_eq(out->file, in->file) && id128_eq(out->body, in->body));
    assert_true(out->bucket == in->bucket && out->size == in->size);
    assert_int_equal(version_id_cmp(out->target, in->target), 0);
    assert_true(sha256_eq(&out->body_digest, &in->body_digest));
    assert_true(str_eq(out->attrs, in->attrs) && str_eq(out->extents, in->extents));
    assert_int_equal(out->extent_count, in->extent_count);
    assert_true(id128_is_zero(out->record_id));
    assert_true(sha256_is_zero(&out->prev_hash) && sha256_is_zero(&out->checksum));
}

static void test_records(void **state)
{
    UNUSED(state);
    Err err = {0};
    PackRecord out;
    PackRecord in = body_record();
    assert_ok(decode(encode(&in), &out, &err), &err);
    assert_kept(&in.entry, &out.entry);
    assert_int_equal(out.type, PACK_BODY);
    assert_str(out.stored_body, "hello, world\n");
    assert_str(out.entry.inline_body, "hello, world\n");

    in.chunk_flags = CHUNK_FLAG_ZSTD;
    in.stored_body = STR("zz");
    assert_ok(decode(encode(&in), &out, &err), &err);
    assert_kept(&in.entry, &out.entry);
    assert_int_equal(out.chunk_flags, CHUNK_FLAG_ZSTD);
    assert_str(out.stored_body, "zz");
    assert_int_equal(out.entry.inline_body.len, 0);

    in = (PackRecord){.type = PACK_META, .entry = example_update()};
    assert_ok(decode(encode(&in), &out, &err), &err);
    assert_kept(&in.entry, &out.entry);
    assert_int_equal(out.stored_body.len, 0);

    in = (PackRecord){.type = PACK_TOMBSTONE, .entry = example_delete()};
    assert_ok(decode(encode(&in), &out, &err), &err);
    assert_kept(&in.entry, &out.entry);
    assert_int_equal(out.type, PACK_TOMBSTONE);
}

/* Any times come back: far before the file's own, and at both ends of 64 bits. */
static void test_times(void **state)
{
    UNUSED(state);
    static const uint64_t times[] = {
        0, 1, 1759999999999, 1760000000000, UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        Err err = {0};
        PackRecord out;
        PackRecord in = body_record();
        in.entry.time_ms = times[i];
        assert_ok(decode(encode(&in), &out, &err), &err);
        assert_true(out.entry.time_ms == times[i]);
    }
}

/* What a small file costs beside its body, key and attributes. */
static void test_overhead(void **state)
{
    UNUSED(state);
    PackRecord record = body_record();
    size_t len = encode(&record).len;
    assert_in_range(len - record.entry.attrs.len - record.stored_body.len, 0, 112);
}

static void test_where_no_record_is(void **state)
{
    UNUSED(state);
    Err err = {0};
    PackRecord out = {.chunk_flags = 99};
    PackRecord in = body_record();
    Str data = encode(&in);
    assert_int_equal(pack_record_peek(data), data.len);
    assert_int_equal(pack_record_peek(str_slice(data, 0, PACK_RECORD_HEADER_LEN)), data.len);
    assert_int_equal(pack_record_peek(str_slice(data, 0, PACK_RECORD_HEADER_LEN - 1)), 0);
    assert_code(decode((Str){0}, &out, &err), ERR_END, &err);
    assert_code(decode(str_slice(data, 0, 3), &out, &err), ERR_END, &err);
    for (size_t cut = 4; cut < data.len; cut++)
        assert_code(decode(str_slice(data, 0, cut), &out, &err), ERR_CORRUPT, &err);
    put_u32(bytes + 8, PACK_PAYLOAD_MAX + 1);
    assert_int_equal(pack_record_peek(data), 0);
    assert_code(decode(data, &out, &err), ERR_CORRUPT, &err);
    bytes[0] = 0;
    assert_int_equal(pack_record_peek(data), 0);
    assert_code(decode(data, &out, &err), ERR_END, &err);
    assert_int_equal(out.chunk_flags, 99);
}

static void test_damage(void **state)
{
    UNUSED(state);
    Err err = {0};
    PackRecord out;
    PackRecord in = body_record();
    Str data = encode(&in);
    size_t used = PACK_RECORD_HEADER_LEN + get_u32(bytes + 8);
    assert_true(used < data.len);
    for (size_t i = 0; i < used; i++) {
        bytes[i] ^= 0x20;
        assert_code(decode(data, &out, &err), i < 4 ? ERR_END : ERR_CORRUPT, &err);
        bytes[i] ^= 0x20;
    }
    bytes[used] = 1; /* the padding says nothing */
    assert_ok(decode(data, &out, &err), &err);
}

static void test_header_bytes(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        uint8_t value;
        ErrCode code;
    } rows[] = {
        {4, 0, ERR_CORRUPT},
        {4, PACK_TOMBSTONE + 1, ERR_FORMAT_VERSION},
        {4, PACK_META, ERR_CORRUPT}, /* with a body */
        {4, PACK_TOMBSTONE, ERR_CORRUPT},
        {5, 4, ERR_FORMAT_VERSION},
        {6, 1, ERR_CORRUPT},
        {7, 1, ERR_CORRUPT},
        {8, 0, ERR_CORRUPT},                  /* no payload */
        {16, 0x7f, ERR_CORRUPT},              /* core longer than it is */
        {16, 3, ERR_CORRUPT},                 /* core cut off */
        {17, OP_MAX + 1, ERR_FORMAT_VERSION}, /* operation */
        {17, OP_DELETE, ERR_CORRUPT},         /* in a PACK_BODY */
        {18, 0x40, ERR_FORMAT_VERSION},       /* flags */
        {19, 0x7f ^ 0x02, ERR_CORRUPT},       /* fields: other than there are */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        PackRecord out;
        PackRecord in = body_record();
        Str data = encode(&in);
        bytes[rows[i].at] = rows[i].value;
        if (rows[i].at == 8) memset(bytes + 9, 0, 3);
        mend_crc();
        ErrCode code = decode(data, &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s %s", i, err_info(code)->name, err.message);
    }
}

/* A record around a core given as bytes: for cores that no Entry makes. */
static Str record_of_core(PackType type, const void *core, size_t len)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_u32(&enc, PACK_RECORD_MAGIC);
    enc_u8(&enc, (uint8_t)type);
    enc_zeros(&enc, 3);
    enc_u32(&enc, (uint32_t)len + 1);
    enc_u32(&enc, 0);
    enc_str(&enc, str_of(core, len));
    mend_crc();
    enc_zeros(&enc, ALIGN_UP(enc.len, (size_t)8) - enc.len);
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

static void test_cores(void **state)
{
    UNUSED(state);
    /* op, flags, fields, shard (2), term, lsn, optional fields, time */
    static const struct {
        Str core;
        ErrCode code;
    } rows[] = {
        {STR_INIT("\x0a\x00\x00\x05\x10\x01\x02\x00"), OK},
        {STR_INIT("\x0a\x00\x00\x05\x10\x01\x02\x00\x00"), ERR_CORRUPT}, /* a byte too many */
        {STR_INIT("\x0a\x00\x00\x05\x10\x00\x02\x00"), ERR_CORRUPT},     /* term 0 */
        {STR_INIT("\x0a\x00\x00\x05\x10\x80\x80\x80\x80\x10\x02\x00"), ERR_CORRUPT},
        {STR_INIT("\x0a\x00\x10\x05\x10\x01\x02\x00\x00"), ERR_CORRUPT}, /* size there and zero */
        {STR_INIT("\x0a\x00\x40\x05\x10\x01\x02\x00\x00"), ERR_CORRUPT}, /* attributes likewise */
        {STR_INIT("\x0a\x00\x40\x05\x10\x01\x02\x00\x02\x20\x00"), OK},
        {STR_INIT("\x0a\x00\x40\x05\x10\x01\x02\x00\x02\x00\x00"), ERR_CORRUPT}, /* type 0 */
        {STR_INIT("\x0a\x00\x40\x05\x10\x01\x02\x00\x81\x80\x04"), ERR_CORRUPT}, /* 65537 bytes */
        {STR_INIT("\x01\x00\x90\x01\x05\x10\x01\x02\x00\x05\x91\x4e"), ERR_CORRUPT}, /* 10001 */
        {STR_INIT("\x0a\x00\x80\x02\x05\x10\x01\x02\x00"), ERR_FORMAT_VERSION},
        {STR_INIT("\x0a\x80\x80\x04\x00\x05\x10\x01\x02\x00"), ERR_FORMAT_VERSION},
        {STR_INIT("\x0a"), ERR_CORRUPT},
        {STR_INIT(""), ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        PackRecord out;
        Str core = rows[i].core;
        ErrCode code = decode(record_of_core(PACK_META, core.ptr, core.len), &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s %s", i, err_info(code)->name, err.message);
    }
}

/* Type, operation and body contradict each other. */
static void test_rules(void **state)
{
    UNUSED(state);
    Err err = {0};
    PackRecord out;
    PackRecord record = {.type = PACK_BODY, .entry = example_update()};
    uint8_t extents[EXTENT_LEN];
    Enc enc = enc_of(extents, sizeof extents);
    Extent extent = {.body = example_id(1), .size = 5};
    extent_encode(&extent, &enc);
    record.entry.size = 5;
    record.entry.extent_count = 1;
    record.entry.extents = str_of(extents, sizeof extents);
    assert_code(decode(encode(&record), &out, &err), ERR_CORRUPT, &err); /* extents */
    record.type = PACK_META;
    assert_ok(decode(encode(&record), &out, &err), &err);
    record = (PackRecord){.type = PACK_META, .entry = example_create()};
    assert_code(decode(encode(&record), &out, &err), ERR_CORRUPT, &err); /* the body is missing */
    record = (PackRecord){.type = PACK_META, .entry = example_delete()};
    assert_code(decode(encode(&record), &out, &err), ERR_CORRUPT, &err);
    record = (PackRecord){.type = PACK_META, .entry = example_update(), .chunk_flags = 1};
    assert_code(decode(encode(&record), &out, &err), ERR_CORRUPT, &err);
    record = body_record();
    record.chunk_flags = CHUNK_FLAG_ZSTD;
    record.entry.size = INLINE_MAX + 1;
    assert_code(decode(encode(&record), &out, &err), ERR_CORRUPT, &err);
    record.entry.size = INLINE_MAX;
    assert_ok(decode(encode(&record), &out, &err), &err);
    record.chunk_flags = 0; /* plain, and not of its size */
    assert_code(decode(encode(&record), &out, &err), ERR_CORRUPT, &err);

    record = body_record(); /* an empty file has a record like others */
    record.entry.size = 0;
    record.entry.body_digest = sha256_of("", 0);
    record.stored_body = (Str){0};
    assert_ok(decode(encode(&record), &out, &err), &err);
    record.type = PACK_META;
    assert_ok(decode(encode(&record), &out, &err), &err);
}

/* Records one after the other, with more behind. */
static void test_in_a_row(void **state)
{
    UNUSED(state);
    PackRecord records[] = {body_record(),
                            {.type = PACK_META, .entry = example_update()},
                            {.type = PACK_TOMBSTONE, .entry = example_delete()}};
    Enc enc = enc_of(bytes, sizeof bytes);
    for (size_t i = 0; i < ARRAY_LEN(records); i++)
        pack_record_encode(&records[i], &enc);
    Str rest = str_of(bytes, enc.len);
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        Err err = {0};
        PackRecord out;
        size_t total;
        assert_ok(pack_record_decode(rest, &out, &total, &err), &err);
        assert_kept(&records[i].entry, &out.entry);
        rest = str_slice(rest, total, rest.len);
    }
    assert_int_equal(rest.len, 0);
    Enc narrow = enc_of(bytes, pack_record_len(&records[0]) - 1);
    pack_record_encode(&records[0], &narrow);
    assert_true(narrow.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_overhead),
        cmocka_unit_test(test_where_no_record_is),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_header_bytes),
        cmocka_unit_test(test_cores),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
