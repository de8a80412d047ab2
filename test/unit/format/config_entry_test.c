#include "testing.h"

#include "examples.h"
#include "format/config_entry.h"

#include <string.h>

static uint8_t bytes[1024];

static ShardConfig three_members(void)
{
    return (ShardConfig){
        .cfg_uid = example_id(0x31),
        .parent_uid = example_id(0x32),
        .version = 300,
        .term = UINT32_MAX,
        .min_isr = 2,
        .member_count = 3,
        .members = {{example_id(0x10), 9}, {example_id(0x11), 1}, {example_id(0x12), UINT64_MAX}},
        .learner_count = 1,
        .learners = {{example_id(0x13), 2}},
        .isr = 3,
        .elr = 4,
        .primary = MEMBERS_MAX,
        .unclean_epoch = 1,
    };
}

static Str encode(const ShardConfig *config)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    shard_config_encode(config, &enc);
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

static void test_fields(void **state)
{
    UNUSED(state);
    ShardConfig in = three_members();
    ShardConfig out;
    Err err = {0};
    assert_ok(shard_config_decode(encode(&in), &out, &err), &err);
    assert_true(id128_eq(out.cfg_uid, in.cfg_uid) && id128_eq(out.parent_uid, in.parent_uid));
    assert_true(out.version == 300 && out.term == UINT32_MAX && out.min_isr == 2);
    assert_true(out.member_count == 3 && out.learner_count == 1);
    assert_true(out.isr == 3 && out.elr == 4 && out.primary == MEMBERS_MAX);
    assert_true(out.unclean_epoch == 1);
    for (size_t i = 0; i < 3; i++) {
        assert_true(id128_eq(out.members[i].root, in.members[i].root));
        assert_true(out.members[i].incarnation == in.members[i].incarnation);
    }
    assert_true(id128_eq(out.learners[0].root, in.learners[0].root));
    assert_true(id128_is_zero(out.members[3].root)); /* unused places are zero */
}

static void test_full(void **state)
{
    UNUSED(state);
    ShardConfig in = {.min_isr = MEMBERS_MAX, .member_count = MEMBERS_MAX, .isr = 0x1ff};
    in.learner_count = MEMBERS_MAX;
    for (uint8_t i = 0; i < MEMBERS_MAX; i++) {
        in.members[i].root = example_id(i);
        in.learners[i].root = example_id((uint8_t)(100 + i));
    }
    ShardConfig out;
    Err err = {0};
    assert_ok(shard_config_decode(encode(&in), &out, &err), &err);
    in.learners[8].root = in.members[0].root;
    assert_code(shard_config_decode(encode(&in), &out, &err), ERR_CORRUPT, &err);
}

static void no_members(ShardConfig *config)
{
    config->member_count = 0;
}
static void no_min_isr(ShardConfig *config)
{
    config->min_isr = 0;
}
static void min_isr_high(ShardConfig *config)
{
    config->min_isr = 4;
}
static void min_isr_all(ShardConfig *config)
{
    config->min_isr = 3;
}
static void min_isr_huge(ShardConfig *config)
{
    config->min_isr = UINT32_MAX;
}
static void isr_beyond(ShardConfig *config)
{
    config->isr = 8;
}
static void elr_beyond(ShardConfig *config)
{
    config->elr = 0x8000;
}
static void primary_last(ShardConfig *config)
{
    config->primary = 2;
}
static void primary_beyond(ShardConfig *config)
{
    config->primary = 3;
}
static void primary_huge(ShardConfig *config)
{
    config->primary = MEMBERS_MAX + 1;
}
static void member_twice(ShardConfig *config)
{
    config->members[2].root = config->members[0].root;
}
static void member_learns(ShardConfig *config)
{
    config->learners[0].root = config->members[1].root;
}

static void test_rules(void **state)
{
    UNUSED(state);
    static const struct {
        void (*change)(ShardConfig *config);
        ErrCode code;
    } rows[] = {
        {no_members, ERR_CORRUPT},   {no_min_isr, ERR_CORRUPT},   {min_isr_high, ERR_CORRUPT},
        {min_isr_all, OK},           {min_isr_huge, ERR_CORRUPT}, {isr_beyond, ERR_CORRUPT},
        {elr_beyond, ERR_CORRUPT},   {primary_last, OK},          {primary_beyond, ERR_CORRUPT},
        {primary_huge, ERR_CORRUPT}, {member_twice, ERR_CORRUPT}, {member_learns, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ShardConfig config = three_members();
        rows[i].change(&config);
        Err err = {0};
        ShardConfig out = {.version = 99};
        ErrCode code = shard_config_decode(encode(&config), &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
        if (code != OK) assert_int_equal(out.version, 99);
    }
}

static void test_bytes(void **state)
{
    UNUSED(state);
    Err err = {0};
    ShardConfig config = three_members();
    Str data = encode(&config);
    ShardConfig out;
    for (size_t cut = 0; cut < data.len; cut++)
        assert_code(shard_config_decode(str_slice(data, 0, cut), &out, &err), ERR_CORRUPT, &err);
    bytes[data.len] = 0; /* one too many */
    assert_code(shard_config_decode(str_of(bytes, data.len + 1), &out, &err), ERR_CORRUPT, &err);
    bytes[0] = 0;
    assert_code(shard_config_decode(data, &out, &err), ERR_CORRUPT, &err);
    bytes[0] = 2;
    assert_code(shard_config_decode(data, &out, &err), ERR_FORMAT_VERSION, &err);

    /* format, two uids, version, then a term of 33 bits; and a count of 10 members */
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_u8(&enc, 1);
    enc_zeros(&enc, 32);
    enc_varint(&enc, 1);
    size_t at = enc.len;
    enc_varint(&enc, UINT64_C(1) << 32);
    enc_zeros(&enc, 100);
    assert_code(shard_config_decode(str_of(bytes, enc.len), &out, &err), ERR_CORRUPT, &err);
    assert_non_null(strstr(err.message, "term 4294967296"));
    enc.len = at;
    enc_varint(&enc, 1);
    enc_varint(&enc, 1);
    enc_varint(&enc, MEMBERS_MAX + 1);
    enc_zeros(&enc, 400);
    assert_code(shard_config_decode(str_of(bytes, enc.len), &out, &err), ERR_CORRUPT, &err);
    assert_non_null(strstr(err.message, "10 members"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
