#include "format_checks.h"

#include "base/crc.h"
#include "format/blob_file.h"
#include "format/bucket.h"
#include "format/class_record.h"
#include "format/config_entry.h"
#include "format/frame.h"
#include "format/key_record.h"
#include "format/pack.h"
#include "format/pack_mark.h"
#include "format/row.h"
#include "format/segment.h"
#include "format/upload.h"
#include <string.h>

#define BLOCK_LEN 4096
#define MEND_MAX ((size_t)256 * 1024) /* longer input is not tried with a mended checksum */

/* What decoding gave is encoded here; large enough for anything that decodes. */
static uint8_t encoded[2 * 1024 * 1024];
static uint8_t mended[MEND_MAX];

static Enc enc_fresh(void)
{
    return enc_of(encoded, sizeof encoded);
}

/* enc holds exactly data. */
static void assert_same(const Enc *enc, Str data)
{
    ASSERT(!enc->failed && str_eq(str_of(enc->data, enc->len), data));
}

/* Decoding set err to the code that it gave. */
static void assert_explained(ErrCode code, const Err *err)
{
    ASSERT(code != OK && err->code == code && err->message[0] != '\0');
    ASSERT(code == ERR_CORRUPT || code == ERR_FORMAT_VERSION || code == ERR_END);
}

static bool entry_as_is(Str data)
{
    Err err = {0};
    Entry entry;
    ErrCode code = entry_decode(data, false, &entry, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    ASSERT(entry_len(&entry) == data.len);
    Enc enc = enc_fresh();
    entry_encode(&entry, &enc);
    assert_same(&enc, data);
    Entry sealed = entry;
    entry_seal(&sealed);
    ASSERT(sha256_eq(&sealed.checksum, &entry.checksum));
    Entry checked;
    return entry_decode(data, true, &checked, NULL) == OK;
}

bool check_entry(Str data)
{
    if (data.len >= ENTRY_HEADER_LEN && data.len <= MEND_MAX) {
        memcpy(mended, data.ptr, data.len);
        memset(mended + 184, 0, SHA256_LEN);
        uint64_t covered = ENTRY_HEADER_LEN + (uint64_t)get_u32(mended + 76) +
                           (uint64_t)get_u32(mended + 112) * EXTENT_LEN;
        Sha256 checksum = sha256_of(mended, MIN(covered, data.len));
        memcpy(mended + 184, checksum.bytes, SHA256_LEN);
        entry_as_is(str_of(mended, data.len));
    }
    return entry_as_is(data);
}

static bool frame_as_is(Str data)
{
    Err err = {0};
    Frame frame;
    Str payload;
    ErrCode code = frame_decode(data, &frame, &payload, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    ASSERT(payload.len == frame.length && payload.ptr == data.ptr + FRAME_LEN);
    uint8_t again[FRAME_LEN];
    frame_encode(&frame, payload, again);
    ASSERT(memcmp(again, data.ptr, FRAME_LEN) == 0);
    return true;
}

bool check_frame(Str data)
{
    if (data.len >= FRAME_LEN && data.len <= MEND_MAX) {
        memcpy(mended, data.ptr, data.len);
        put_u32(mended + 12, 0);
        uint64_t covered = FRAME_LEN + (uint64_t)get_u32(mended + 8);
        put_u32(mended + 12, crc32c(mended, MIN(covered, data.len)));
        frame_as_is(str_of(mended, data.len));
    }
    return frame_as_is(data);
}

bool check_truncate(Str data)
{
    Err err = {0};
    Truncate truncate;
    ErrCode code = truncate_decode(data, &truncate, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    truncate_encode(&truncate, encoded);
    ASSERT(str_eq(str_of(encoded, TRUNCATE_LEN), data));
    return true;
}

static bool segment_header_as_is(Str data)
{
    Err err = {0};
    SegmentHeader header;
    ErrCode code = segment_header_decode(data, &header, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    segment_header_encode(&header, encoded);
    ASSERT(str_eq(str_of(encoded, SEGMENT_HEADER_LEN), data));
    return true;
}

static bool pack_header_as_is(Str data)
{
    Err err = {0};
    PackHeader header;
    ErrCode code = pack_header_decode(data, &header, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    pack_header_encode(&header, encoded);
    ASSERT(str_eq(str_of(encoded, PACK_HEADER_LEN), data));
    return true;
}

static bool blob_footer_as_is(Str data)
{
    Err err = {0};
    BlobFooter footer;
    ErrCode code = blob_footer_decode(data, &footer, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    blob_footer_encode(&footer, encoded);
    ASSERT(str_eq(str_of(encoded, BLOB_FOOTER_LEN), data));
    return true;
}

/* data, then data filled up to a block with its CRC mended. */
static bool check_block(Str data, bool (*as_is)(Str data))
{
    size_t len = MIN(data.len, (size_t)BLOCK_LEN - 4);
    memset(mended, 0, BLOCK_LEN);
    if (len > 0) memcpy(mended, data.ptr, len);
    put_u32(mended + BLOCK_LEN - 4, crc32c(mended, BLOCK_LEN - 4));
    as_is(str_of(mended, BLOCK_LEN));
    return as_is(data);
}

bool check_segment_header(Str data)
{
    return check_block(data, segment_header_as_is);
}

bool check_pack_header(Str data)
{
    return check_block(data, pack_header_as_is);
}

bool check_blob_footer(Str data)
{
    return check_block(data, blob_footer_as_is);
}

/* Later fields of a state are passed over, so the encoding may be shorter; what it holds must then
 * be read the same. */
static void assert_same_state(const ReplicaState *a, const ReplicaState *b)
{
    static uint8_t first[64 * 1024];
    if (replica_state_len(a) > sizeof first) return;
    Enc one = enc_of(first, sizeof first);
    replica_state_encode(a, &one);
    Enc two = enc_fresh();
    replica_state_encode(b, &two);
    ASSERT(two.len == replica_state_len(b));
    assert_same(&two, str_of(first, one.len));
}

bool check_replica_state(Str data)
{
    ReplicaState state;
    Dec dec = dec_of(data.ptr, data.len);
    if (!replica_state_decode(&dec, &state)) {
        ASSERT(dec.failed);
        return false;
    }
    Enc enc = enc_fresh();
    replica_state_encode(&state, &enc);
    ASSERT(!enc.failed && enc.len <= dec.pos);
    if (enc.len == dec.pos) assert_same(&enc, str_slice(data, 0, dec.pos));
    ReplicaState again;
    Dec in = dec_of(encoded, enc.len);
    ASSERT(replica_state_decode(&in, &again) && dec_done(&in));
    assert_same_state(&state, &again);
    return dec_done(&dec);
}

bool check_checkpoint(Str data)
{
    Err err = {0};
    CheckpointReader reader;
    ErrCode code = checkpoint_open(data, &reader, &err);
    Enc enc = enc_fresh();
    enc_varint(&enc, code == OK ? reader.left : 0);
    bool found = code == OK;
    while (found) {
        ReplicaState state;
        code = checkpoint_next(&reader, &state, &found, &err);
        if (code != OK) break;
        if (found) replica_state_encode(&state, &enc);
    }
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    ASSERT(!enc.failed && enc.len <= data.len);
    if (enc.len == data.len) assert_same(&enc, data);
    return true;
}

bool check_shard_config(Str data)
{
    Err err = {0};
    ShardConfig config;
    ErrCode code = shard_config_decode(data, &config, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    Enc enc = enc_fresh();
    shard_config_encode(&config, &enc);
    assert_same(&enc, data);
    return true;
}

static bool pack_record_as_is(Str data)
{
    Err err = {0};
    PackRecord record;
    size_t total = 0;
    ErrCode code = pack_record_decode(data, &record, &total, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    ASSERT(total <= data.len && total % 8 == 0);
    ASSERT(pack_record_len(&record) == total && pack_record_peek(data) == total);
    Enc enc = enc_fresh();
    pack_record_encode(&record, &enc);
    ASSERT(!enc.failed && enc.len == total);
    /* The padding is no part of the record. */
    size_t used = PACK_RECORD_HEADER_LEN + get_u32(data.ptr + 8);
    ASSERT(memcmp(encoded, data.ptr, used) == 0);
    return true;
}

bool check_pack_record(Str data)
{
    if (data.len >= PACK_RECORD_HEADER_LEN && data.len <= MEND_MAX) {
        memcpy(mended, data.ptr, data.len);
        put_u32(mended + 12, 0);
        uint64_t covered = PACK_RECORD_HEADER_LEN + (uint64_t)get_u32(mended + 8);
        put_u32(mended + 12, crc32c(mended, MIN(covered, data.len)));
        pack_record_as_is(str_of(mended, data.len));
    }
    return pack_record_as_is(data);
}

static bool pack_mark_as_is(Str data)
{
    PackMark mark;
    if (!pack_mark_decode(data, &mark)) return false;
    pack_mark_encode(&mark, encoded);
    ASSERT(memcmp(encoded, data.ptr, PACK_MARK_LEN) == 0);
    return true;
}

bool check_pack_mark(Str data)
{
    if (data.len >= PACK_MARK_LEN) {
        memcpy(mended, data.ptr, PACK_MARK_LEN);
        put_u32(mended + 56, crc32c(mended, 56));
        pack_mark_as_is(str_of(mended, PACK_MARK_LEN));
    }
    return pack_mark_as_is(data);
}

bool check_chunk_row(Str data)
{
    ChunkRow row;
    Dec dec = dec_of(data.ptr, data.len);
    if (!chunk_row_decode(&dec, &row)) return false;
    Enc enc = enc_fresh();
    chunk_row_encode(&row, &enc);
    assert_same(&enc, str_slice(data, 0, BLOB_CHUNK_ROW_LEN));
    return dec_done(&dec);
}

bool check_row_key_name(Str data)
{
    BucketUid bucket;
    Str key;
    VersionId version;
    if (!row_key_name_parse(data, &bucket, &key, &version)) return false;
    ASSERT(str_eq(str_of(encoded, row_key_name(encoded, bucket, key, version)), data));
    ASSERT(str_starts_with(data, str_of(encoded, row_key_name_prefix(encoded, bucket, key))));
    return true;
}

bool check_file_row(Str data)
{
    FileRow row;
    if (!file_row_decode(data, &row)) return false;
    Enc enc = enc_fresh();
    file_row_encode(&row, &enc);
    assert_same(&enc, data);
    char etag[ETAG_MAX];
    file_row_etag(&row, etag);
    ASSERT(etag[0] != '\0' && memchr(etag, '\0', sizeof etag) != NULL);
    return true;
}

bool check_id_row(Str data)
{
    BucketUid bucket;
    Str key;
    if (!id_row_decode(data, &bucket, &key)) return false;
    Enc enc = enc_fresh();
    id_row_encode(bucket, key, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_applied_row(Str data)
{
    AppliedRow row;
    if (!applied_row_decode(data, &row)) return false;
    Enc enc = enc_fresh();
    applied_row_encode(&row, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_request_row(Str data)
{
    RequestRow row;
    if (!request_row_decode(data, &row)) return false;
    Enc enc = enc_fresh();
    request_row_encode(&row, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_pack_row(Str data)
{
    PackRow row;
    if (!pack_row_decode(data, &row)) return false;
    Enc enc = enc_fresh();
    pack_row_encode(&row, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_names_part(Str data)
{
    size_t count = 0;
    if (!names_part_decode(data, &count)) return false;
    Enc enc = enc_fresh();
    for (size_t i = 0; i < count; i++) {
        uint32_t name = names_part_at(data, i);
        names_part_encode(&name, 1, &enc);
    }
    assert_same(&enc, data);
    return true;
}

bool check_bucket_stat(Str data)
{
    BucketStatRow row;
    if (!bucket_stat_decode(data, &row)) return false;
    Enc enc = enc_fresh();
    bucket_stat_encode(&row, &enc);
    assert_same(&enc, data);
    return true;
}

/* Every attribute is found, and set one by one from the last to the first they are data again. */
bool check_attrs(Str data)
{
    if (!attrs_valid(data)) return false;
    AUTO_BUF(again, ATTRS_MAX);
    static Attr found[ATTRS_MAX / 2];
    size_t count = 0;
    size_t pos = 0;
    while (attr_next(data, &pos, &found[count])) {
        Str value;
        ASSERT(attr_get(data, found[count].type, &value) && value.ptr == found[count].value.ptr);
        count++;
    }
    ASSERT(pos == data.len);
    if (count > 64) return true; /* the rest is quadratic */
    for (size_t i = count; i-- > 0;) {
        Str value = found[i].value;
        if (value.ptr == NULL) value.ptr = "";
        ErrCode code = attr_set(&again, found[i].type, value, NULL);
        ASSERT(code == OK);
    }
    ASSERT(str_eq(buf_str(&again), data));
    return true;
}

bool check_bucket_record(Str data)
{
    Err err = {0};
    BucketRecord record;
    ErrCode code = bucket_record_decode(data, &record, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    Enc enc = enc_fresh();
    bucket_record_encode(&record, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_upload_record(Str data)
{
    Err err = {0};
    UploadRecord record;
    ErrCode code = upload_record_decode(data, &record, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    Enc enc = enc_fresh();
    upload_record_encode(&record, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_class_record(Str data)
{
    Err err = {0};
    ClassRecord record;
    ErrCode code = class_record_decode(data, &record, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    Enc enc = enc_fresh();
    class_record_encode(&record, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_key_record(Str data)
{
    Err err = {0};
    KeyRecord record;
    ErrCode code = key_record_decode(data, &record, &err);
    if (code != OK) {
        assert_explained(code, &err);
        return false;
    }
    Enc enc = enc_fresh();
    key_record_encode(&record, &enc);
    assert_same(&enc, data);
    return true;
}

bool check_ids(Str data)
{
    bool any = false;
    char text[64];
    Id128 id;
    if (id128_parse(data, &id)) {
        id128_text(id, text);
        ASSERT(str_eq_nocase(data, str_from_cstr(text)));
        any = true;
    }
    if (uuid_parse(data, &id)) {
        uuid_text(id, text);
        ASSERT(str_eq_nocase(data, str_from_cstr(text)));
        any = true;
    }
    VersionId version;
    if (version_id_parse(data, &version)) {
        version_id_text(version, text);
        ASSERT(str_eq_nocase(data, str_from_cstr(text)));
        any = true;
    }
    if (bucket_name_valid(data)) {
        ASSERT(data.len >= BUCKET_NAME_MIN && data.len <= BUCKET_NAME_MAX && key_valid(data));
        any = true;
    }
    if (key_valid(data)) {
        ShardId shard = shard_of_key(1, 64, data.len, data);
        ASSERT(shard_class(shard) == 1 && shard_number(shard) < 64);
    }
    return any;
}
