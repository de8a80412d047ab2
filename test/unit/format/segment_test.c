#include "testing.h"

#include "base/rng.h"
#include "examples.h"
#include "format/segment.h"

#include <string.h>

static uint8_t bytes[16 * 1024];

static SegmentHeader example_header(void)
{
    return (SegmentHeader){
        .root = example_id(0x10),
        .incarnation = 9,
        .uuid = example_id(0x70),
        .id = 12,
        .capacity = 1 * MIB,
        .feature_level = FEATURE_LEVEL,
        .prev_uuid = example_id(0x80),
        .prev_end = 0xfe000,
        .time_ms = 1760000000000,
    };
}

static void test_header(void **state)
{
    UNUSED(state);
    SegmentHeader in = example_header();
    segment_header_encode(&in, bytes);
    assert_memory_equal(bytes, "HLFSEGW1", 8);
    assert_int_equal(get_u32(bytes + 8), SEGMENT_FORMAT);
    assert_int_equal(get_u32(bytes + 12), FEATURE_LEVEL);
    assert_memory_equal(bytes + 16, in.root.bytes, 16);
    assert_int_equal(get_u64(bytes + 32), 9);
    assert_memory_equal(bytes + 40, in.uuid.bytes, 16);
    assert_int_equal(get_u64(bytes + 56), 12);
    assert_true(get_u64(bytes + 64) == 1 * MIB);
    assert_memory_equal(bytes + 72, in.prev_uuid.bytes, 16);
    assert_int_equal(get_u64(bytes + 88), 0xfe000);
    assert_true(get_u64(bytes + 96) == in.time_ms);

    Err err = {0};
    SegmentHeader out;
    assert_ok(segment_header_decode(str_of(bytes, SEGMENT_HEADER_LEN), &out, &err), &err);
    assert_true(id128_eq(out.root, in.root) && id128_eq(out.uuid, in.uuid));
    assert_true(id128_eq(out.prev_uuid, in.prev_uuid));
    assert_true(out.incarnation == 9 && out.id == 12 && out.capacity == in.capacity);
    assert_true(out.prev_end == in.prev_end && out.time_ms == in.time_ms);
    assert_int_equal(out.feature_level, FEATURE_LEVEL);
}

static void test_feature_level(void **state)
{
    UNUSED(state);
    Err err = {0};
    SegmentHeader header = example_header();
    header.feature_level = FEATURE_LEVEL + 1;
    segment_header_encode(&header, bytes);
    header.id = 99;
    Str data = str_of(bytes, SEGMENT_HEADER_LEN);
    assert_code(segment_header_decode(data, &header, &err), ERR_FORMAT_VERSION, &err);
    assert_int_equal(header.id, 99);
    bytes[500] = 1; /* reserved, but the CRC speaks first */
    assert_code(segment_header_decode(data, &header, &err), ERR_CORRUPT, &err);
}

static ReplicaState random_state(Rng *rng, ShardId shard, Str config)
{
    ReplicaState state = {.shard = shard, .config = config};
    state.max_term = (Term)rng_u64(rng);
    state.voted_for = id128_random(rng);
    state.last_lsn = rng_u64(rng);
    state.last_term = (Term)rng_u64(rng);
    rng_bytes(rng, state.last_hash.bytes, SHA256_LEN);
    state.commit_lsn = rng_u64(rng);
    state.applied_lsn = rng_u64(rng);
    state.config_lsn = rng_u64(rng);
    return state;
}

static bool state_eq(const ReplicaState *a, const ReplicaState *b)
{
    return a->shard == b->shard && a->max_term == b->max_term &&
           id128_eq(a->voted_for, b->voted_for) && a->last_lsn == b->last_lsn &&
           a->last_term == b->last_term && sha256_eq(&a->last_hash, &b->last_hash) &&
           a->commit_lsn == b->commit_lsn && a->applied_lsn == b->applied_lsn &&
           a->config_lsn == b->config_lsn && str_eq(a->config, b->config) &&
           a->incomplete == b->incomplete && a->before_lsn == b->before_lsn &&
           str_eq(a->before, b->before);
}

static void test_state(void **state)
{
    UNUSED(state);
    static char config[300];
    memset(config, 'c', sizeof config);
    Rng rng;
    rng_init(&rng, 1);
    for (size_t len = 0; len < sizeof config; len++) {
        ReplicaState in = random_state(&rng, (ShardId)len, str_of(config, len));
        if (len % 2 == 1) {
            in.before_lsn = 1 + rng_below(&rng, 1000);
            in.before = str_of(config, rng_below(&rng, len));
        }
        in.incomplete = len % 3 == 0;
        Enc enc = enc_of(bytes, sizeof bytes);
        replica_state_encode(&in, &enc);
        assert_int_equal(enc.len, replica_state_len(&in));
        Dec dec = dec_of(bytes, enc.len);
        ReplicaState out;
        assert_true(replica_state_decode(&dec, &out) && dec_done(&dec));
        assert_true(state_eq(&in, &out));
    }
}

/* A later release adds a field: it is passed over, and the next state is found. */
static void test_state_with_later_field(void **state)
{
    UNUSED(state);
    uint8_t plain[256];
    Rng rng;
    rng_init(&rng, 2);
    ReplicaState in = random_state(&rng, 5, STR("config"));
    in.before_lsn = 7;
    in.before = STR("before");
    in.incomplete = true; /* the last field there is */
    Enc one = enc_of(plain, sizeof plain);
    replica_state_encode(&in, &one);
    assert_int_equal(plain[0], one.len - 1);
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_varint(&enc, one.len - 1 + 4);
    enc_bytes(&enc, plain + 1, one.len - 1);
    enc_bytes(&enc, "late", 4);
    enc_u8(&enc, 42);
    Dec dec = dec_of(bytes, enc.len);
    ReplicaState out;
    assert_true(replica_state_decode(&dec, &out));
    assert_true(state_eq(&in, &out));
    assert_int_equal(dec_u8(&dec), 42);
    assert_true(dec_done(&dec));
}

/* A flag that is not known would change what the state means. */
static void test_state_with_unknown_flag(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 2);
    ReplicaState in = random_state(&rng, 5, STR("config"));
    in.incomplete = true;
    Enc enc = enc_of(bytes, sizeof bytes);
    replica_state_encode(&in, &enc);
    assert_int_equal(bytes[enc.len - 1], 1);
    bytes[enc.len - 1] = 3;
    Dec dec = dec_of(bytes, enc.len);
    ReplicaState out;
    assert_false(replica_state_decode(&dec, &out));
}

static void test_state_cut_off(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 3);
    ReplicaState in = random_state(&rng, 5, STR("config"));
    Enc enc = enc_of(bytes, sizeof bytes);
    replica_state_encode(&in, &enc);
    for (size_t cut = 0; cut < enc.len; cut++) {
        Dec dec = dec_of(bytes, cut);
        ReplicaState out = {.shard = 99};
        assert_false(replica_state_decode(&dec, &out));
        assert_true(dec.failed && out.shard == 99);
    }
    bytes[0]--; /* its own length is one short */
    Dec dec = dec_of(bytes, enc.len);
    ReplicaState out;
    assert_false(replica_state_decode(&dec, &out));
    assert_true(dec.failed);
}

/* The states of shards into bytes as a CHECKPOINT that says count. */
static Str checkpoint_of(uint64_t count, const ShardId *shards, size_t shard_count)
{
    Rng rng;
    rng_init(&rng, 4);
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_varint(&enc, count);
    for (size_t i = 0; i < shard_count; i++) {
        ReplicaState state = random_state(&rng, shards[i], STR("c"));
        replica_state_encode(&state, &enc);
    }
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

/* Reads all states; *count of them came. */
static ErrCode read_all(Str payload, size_t *count, Err *err)
{
    CheckpointReader reader;
    *count = 0;
    TRY(checkpoint_open(payload, &reader, err));
    for (bool found = true; found;) {
        ReplicaState state;
        TRY(checkpoint_next(&reader, &state, &found, err));
        if (found) ++*count;
    }
    return OK;
}

static void test_checkpoint(void **state)
{
    UNUSED(state);
    static const ShardId rising[] = {0, 0x1000, 0x1001, 0xffff};
    static const ShardId falling[] = {0x1000, 0};
    static const ShardId twice[] = {7, 7};
    Err err = {0};
    size_t count;
    assert_ok(read_all(checkpoint_of(4, rising, 4), &count, &err), &err);
    assert_int_equal(count, 4);
    assert_ok(read_all(checkpoint_of(0, rising, 0), &count, &err), &err);
    assert_int_equal(count, 0);
    assert_code(read_all(checkpoint_of(3, rising, 4), &count, &err), ERR_CORRUPT, &err);
    assert_int_equal(count, 3);
    assert_code(read_all(checkpoint_of(5, rising, 4), &count, &err), ERR_CORRUPT, &err);
    assert_int_equal(count, 4);
    assert_code(read_all(checkpoint_of(2, falling, 2), &count, &err), ERR_CORRUPT, &err);
    assert_int_equal(count, 1);
    assert_code(read_all(checkpoint_of(2, twice, 2), &count, &err), ERR_CORRUPT, &err);
    assert_code(read_all(checkpoint_of(SHARD_COUNT_MAX + 1, rising, 4), &count, &err), ERR_CORRUPT,
                &err);
    assert_int_equal(count, 0);
    assert_code(read_all((Str){0}, &count, &err), ERR_CORRUPT, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_feature_level),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_state_with_later_field),
        cmocka_unit_test(test_state_cut_off),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_state_with_unknown_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
