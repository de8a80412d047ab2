#include "testing.h"

#include "base/crc.h"
#include "examples.h"
#include "format/frame.h"

#include <string.h>

static uint8_t bytes[256];

static Frame example_frame(size_t payload_len)
{
    return (Frame){
        .kind = FRAME_STATE,
        .length = (uint32_t)payload_len,
        .segment_uuid = example_id(0x70),
        .pos = {.segment = 12, .offset = 0x5000},
        .durable = {.segment = 11, .offset = 0x4000},
    };
}

/* frame and payload in bytes. */
static Str encode(const Frame *frame, Str payload)
{
    frame_encode(frame, payload, bytes);
    memcpy(bytes + FRAME_LEN, payload.ptr, payload.len);
    return str_of(bytes, FRAME_LEN + payload.len);
}

static void mend_crc(size_t len)
{
    put_u32(bytes + 12, 0);
    put_u32(bytes + 12, crc32c(bytes, len));
}

static void test_table(void **state)
{
    UNUSED(state);
    Frame in = example_frame(5);
    Str data = encode(&in, STR("state"));
    assert_memory_equal(bytes, "HFR1", 4);
    assert_int_equal(get_u32(bytes + 4), FRAME_STATE);
    assert_int_equal(get_u32(bytes + 8), 5);
    assert_memory_equal(bytes + 16, in.segment_uuid.bytes, 16);
    assert_int_equal(get_u64(bytes + 32), 12);
    assert_int_equal(get_u64(bytes + 40), 0x5000);
    assert_int_equal(get_u64(bytes + 48), 11);
    assert_int_equal(get_u64(bytes + 56), 0x4000);

    Err err = {0};
    Frame out;
    Str payload;
    assert_ok(frame_decode(data, &out, &payload, &err), &err);
    assert_str(payload, "state");
    assert_int_equal(out.kind, FRAME_STATE);
    assert_int_equal(out.length, 5);
    assert_true(id128_eq(out.segment_uuid, in.segment_uuid));
    assert_int_equal(wal_pos_cmp(out.pos, in.pos), 0);
    assert_int_equal(wal_pos_cmp(out.durable, in.durable), 0);
}

static void test_where_no_frame_is(void **state)
{
    UNUSED(state);
    Err err = {0};
    Frame out = {.length = 99};
    Str payload;
    static const char zeros[128];
    assert_code(frame_decode((Str){0}, &out, &payload, &err), ERR_END, &err);
    assert_code(frame_decode(str_of(zeros, 128), &out, &payload, &err), ERR_END, &err);
    assert_code(frame_decode(STR("HFR"), &out, &payload, &err), ERR_END, &err);
    assert_code(frame_decode(STR("HFR1"), &out, &payload, &err), ERR_CORRUPT, &err);
    Frame in = example_frame(5);
    Str data = encode(&in, STR("state"));
    assert_code(frame_decode(str_slice(data, 0, FRAME_LEN - 1), &out, &payload, &err), ERR_CORRUPT,
                &err);
    assert_code(frame_decode(str_slice(data, 0, data.len - 1), &out, &payload, &err), ERR_CORRUPT,
                &err);
    assert_int_equal(out.length, 99);
}

static void test_damage(void **state)
{
    UNUSED(state);
    Err err = {0};
    Frame out;
    Str payload;
    Frame in = example_frame(5);
    Str data = encode(&in, STR("state"));
    for (size_t i = 4; i < data.len; i++) {
        bytes[i] ^= 0x10;
        assert_code(frame_decode(data, &out, &payload, &err), ERR_CORRUPT, &err);
        bytes[i] ^= 0x10;
    }
    put_u32(bytes + 8, UINT32_MAX);
    assert_code(frame_decode(data, &out, &payload, &err), ERR_CORRUPT, &err);
}

/* What a newer release may have written is told apart from damage. */
static void test_unknown(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {{4, 0}, {4, FRAME_KIND_MAX + 1}, {5, 1}, {6, 1}, {7, 0x80}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        Frame out;
        Str payload;
        Frame in = example_frame(0);
        Str data = encode(&in, STR(""));
        bytes[rows[i].at] = rows[i].value;
        assert_code(frame_decode(data, &out, &payload, &err), ERR_CORRUPT, &err);
        mend_crc(data.len);
        assert_code(frame_decode(data, &out, &payload, &err), ERR_FORMAT_VERSION, &err);
    }
}

static void test_kinds(void **state)
{
    UNUSED(state);
    for (int kind = FRAME_ENTRY; kind <= FRAME_KIND_MAX; kind++) {
        Err err = {0};
        Frame in = example_frame(0);
        in.kind = (FrameKind)kind;
        Frame out;
        Str payload;
        assert_ok(frame_decode(encode(&in, STR("")), &out, &payload, &err), &err);
        assert_int_equal(out.kind, kind);
    }
}

static void test_totals(void **state)
{
    UNUSED(state);
    assert_int_equal(frame_total(0), 64);
    assert_int_equal(frame_total(1), 72);
    assert_int_equal(frame_total(8), 72);
    assert_int_equal(frame_total(9), 80);
}

static void test_positions(void **state)
{
    UNUSED(state);
    WalPos a = {.segment = 1, .offset = 9};
    WalPos b = {.segment = 2, .offset = 0};
    WalPos c = {.segment = 2, .offset = 1};
    assert_true(wal_pos_cmp(a, b) < 0 && wal_pos_cmp(b, a) > 0);
    assert_true(wal_pos_cmp(b, c) < 0 && wal_pos_cmp(c, b) > 0);
    assert_int_equal(wal_pos_cmp(c, c), 0);
}

static void test_truncate(void **state)
{
    UNUSED(state);
    Err err = {0};
    Truncate in = {.shard = 0x1005, .from = 7, .term = 3, .hash = example_digest(1)};
    truncate_encode(&in, bytes);
    Truncate out = {0};
    assert_ok(truncate_decode(str_of(bytes, TRUNCATE_LEN), &out, &err), &err);
    assert_int_equal(out.shard, 0x1005);
    assert_int_equal(out.from, 7);
    assert_int_equal(out.term, 3);
    assert_true(sha256_eq(&out.hash, &in.hash));
    assert_code(truncate_decode(str_of(bytes, TRUNCATE_LEN - 1), &out, &err), ERR_CORRUPT, &err);
    assert_code(truncate_decode(str_of(bytes, TRUNCATE_LEN + 1), &out, &err), ERR_CORRUPT, &err);
    put_u64(bytes + 2, 0);
    assert_code(truncate_decode(str_of(bytes, TRUNCATE_LEN), &out, &err), ERR_CORRUPT, &err);
}

static void encode_wrong_length(void *arg)
{
    Frame frame = example_frame(3);
    frame_encode(&frame, STR("four"), arg);
}

static void test_asserts(void **state)
{
    UNUSED(state);
    assert_aborts(encode_wrong_length, bytes, "payload.len");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_where_no_frame_is),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_kinds),     cmocka_unit_test(test_totals),
        cmocka_unit_test(test_positions), cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
