/* Segment header, one block (block_priv.h), little endian:
 *
 *     0  magic "HLFSEGW1"   8     64  capacity       8
 *     8  format             4     72  prev uuid     16
 *    12  feature level      4     88  prev end       8
 *    16  root uuid         16     96  time_ms        8
 *    32  incarnation        8    104  zeros
 *    40  segment uuid      16   4092  crc32c         4
 *    56  segment id         8
 *
 * State: varint length of the rest, then fixed fields of 90 bytes (replica_state_encode() names
 * them in order), varint length of the config and the config; if there is one before it, its lsn
 * u64, varint length and bytes. Whatever follows in that length was added by a later release and is
 * passed over: what must not be passed over raises the feature level. */
#include "format/segment.h"

#include "format/block_priv.h"
#include "format/varint_priv.h"
#include <inttypes.h>

#define STATE_INCOMPLETE 1 /* of the flags, a byte that is there if it is not 0 */
#define STATE_FIXED_LEN 90
#define WHAT "segment header"

_Static_assert(SEGMENT_HEADER_LEN == BLOCK_LEN, "a header is one block");
_Static_assert(STATE_FIXED_LEN == 2 + 4 + 16 + 8 + 4 + SHA256_LEN + 8 + 8 + 8, "fields of a state");

void segment_header_encode(const SegmentHeader *header, uint8_t out[SEGMENT_HEADER_LEN])
{
    Enc enc = block_begin(out, SEGMENT_MAGIC, SEGMENT_FORMAT);
    enc_u32(&enc, header->feature_level);
    enc_bytes(&enc, header->root.bytes, sizeof header->root.bytes);
    enc_u64(&enc, header->incarnation);
    enc_bytes(&enc, header->uuid.bytes, sizeof header->uuid.bytes);
    enc_u64(&enc, header->id);
    enc_u64(&enc, header->capacity);
    enc_bytes(&enc, header->prev_uuid.bytes, sizeof header->prev_uuid.bytes);
    enc_u64(&enc, header->prev_end);
    enc_u64(&enc, header->time_ms);
    ASSERT(enc.len == 104);
    block_end(&enc);
}

ErrCode segment_header_decode(Str data, SegmentHeader *out, Err *err)
{
    Dec dec;
    TRY(block_open(data, SEGMENT_MAGIC, SEGMENT_FORMAT, WHAT, &dec, err));
    SegmentHeader header = {.feature_level = dec_u32(&dec)};
    if (header.feature_level > FEATURE_LEVEL)
        return err_set(err, ERR_FORMAT_VERSION, "feature level %" PRIu32 ", up to %d is known",
                       header.feature_level, FEATURE_LEVEL);
    dec_bytes(&dec, header.root.bytes, sizeof header.root.bytes);
    header.incarnation = dec_u64(&dec);
    dec_bytes(&dec, header.uuid.bytes, sizeof header.uuid.bytes);
    header.id = dec_u64(&dec);
    header.capacity = dec_u64(&dec);
    dec_bytes(&dec, header.prev_uuid.bytes, sizeof header.prev_uuid.bytes);
    header.prev_end = dec_u64(&dec);
    header.time_ms = dec_u64(&dec);
    TRY(block_close(&dec, WHAT, err));
    *out = header;
    return OK;
}

static size_t str_len(Str str)
{
    return varint_len(str.len) + str.len;
}

/* Behind its own length. */
static size_t state_len(const ReplicaState *state)
{
    size_t len = STATE_FIXED_LEN + str_len(state->config);
    if (state->before_lsn == 0 && !state->incomplete) return len;
    len += 8 + str_len(state->before);
    return state->incomplete ? len + 1 : len;
}

size_t replica_state_len(const ReplicaState *state)
{
    size_t len = state_len(state);
    return varint_len(len) + len;
}

void replica_state_encode(const ReplicaState *state, Enc *enc)
{
    enc_varint(enc, state_len(state));
    enc_u16(enc, state->shard);
    enc_u32(enc, state->max_term);
    enc_bytes(enc, state->voted_for.bytes, sizeof state->voted_for.bytes);
    enc_u64(enc, state->last_lsn);
    enc_u32(enc, state->last_term);
    enc_bytes(enc, state->last_hash.bytes, SHA256_LEN);
    enc_u64(enc, state->commit_lsn);
    enc_u64(enc, state->applied_lsn);
    enc_u64(enc, state->config_lsn);
    enc_str(enc, state->config);
    if (state->before_lsn == 0 && !state->incomplete) return;
    enc_u64(enc, state->before_lsn);
    enc_str(enc, state->before);
    if (state->incomplete) enc_u8(enc, STATE_INCOMPLETE);
}

bool replica_state_decode(Dec *dec, ReplicaState *out)
{
    Str bytes = dec_str(dec);
    if (dec->failed) return false;
    Dec in = dec_of(bytes.ptr, bytes.len);
    ReplicaState state = {.shard = dec_u16(&in)};
    state.max_term = dec_u32(&in);
    dec_bytes(&in, state.voted_for.bytes, sizeof state.voted_for.bytes);
    state.last_lsn = dec_u64(&in);
    state.last_term = dec_u32(&in);
    dec_bytes(&in, state.last_hash.bytes, SHA256_LEN);
    state.commit_lsn = dec_u64(&in);
    state.applied_lsn = dec_u64(&in);
    state.config_lsn = dec_u64(&in);
    state.config = dec_str(&in);
    if (!in.failed && !dec_done(&in)) {
        state.before_lsn = dec_u64(&in);
        state.before = dec_str(&in);
    }
    unsigned flags = in.failed || dec_done(&in) ? 0 : dec_u8(&in);
    state.incomplete = (flags & STATE_INCOMPLETE) != 0;
    bool known = (flags & ~(unsigned)STATE_INCOMPLETE) == 0;
    if (in.failed || !known || (state.before_lsn == 0 && state.before.len > 0)) {
        dec->failed = true;
        return false;
    }
    *out = state;
    return true;
}

ErrCode checkpoint_open(Str payload, CheckpointReader *out, Err *err)
{
    Dec dec = dec_of(payload.ptr, payload.len);
    uint64_t count = dec_varint(&dec);
    if (dec.failed || count > SHARD_COUNT_MAX)
        return err_set(err, ERR_CORRUPT, "checkpoint without a sound count");
    *out = (CheckpointReader){.dec = dec, .left = count};
    return OK;
}

ErrCode checkpoint_next(CheckpointReader *reader, ReplicaState *out, bool *found, Err *err)
{
    if (reader->left == 0) {
        if (!dec_done(&reader->dec))
            return err_set(err, ERR_CORRUPT, "bytes behind the last state of a checkpoint");
        *found = false;
        return OK;
    }
    ReplicaState state;
    if (!replica_state_decode(&reader->dec, &state))
        return err_set(err, ERR_CORRUPT, "checkpoint is cut off, %" PRIu64 " states missing",
                       reader->left);
    if (state.shard < reader->shard_min)
        return err_set(err, ERR_CORRUPT, "shard %u of a checkpoint is out of order", state.shard);
    reader->shard_min = (uint32_t)state.shard + 1;
    reader->left--;
    *out = state;
    *found = true;
    return OK;
}
