#include "examples.h"

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
#include "format_checks.h"

#include <string.h>

#define SHARD shard_id(1, 5)
#define TIME_MS UINT64_C(1760000000000)

static const char body[] = "hello, world\n";
#define BODY ((Str){body, sizeof body - 1})

Id128 example_id(uint8_t first)
{
    Id128 id;
    for (size_t i = 0; i < sizeof id.bytes; i++)
        id.bytes[i] = (uint8_t)(first + i);
    return id;
}

Sha256 example_digest(uint8_t byte)
{
    return sha256_of(&byte, 1);
}

static FileId example_file(void)
{
    FileId file = example_id(0xa0);
    static const uint8_t head[] = {0x10, 0x05, 0x01, 0x99, 0xc8, 0x2c, 0xc0, 0x00}; /* TIME_MS */
    memcpy(file.bytes, head, sizeof head);
    return file;
}

/* 1 "docs/a.txt", 2 "text/plain", 500 (unknown) "kept" */
static Str example_attrs(void)
{
    static uint8_t data[64];
    Enc enc = enc_of(data, sizeof data);
    enc_varint(&enc, ATTR_KEY);
    enc_str(&enc, STR("docs/a.txt"));
    enc_varint(&enc, ATTR_CONTENT_TYPE);
    enc_str(&enc, STR("text/plain"));
    enc_varint(&enc, 500);
    enc_str(&enc, STR("kept"));
    return str_of(data, enc.len);
}

/* Two extents of 300 MiB and 5 bytes, the second of another body. */
static Str example_extents(void)
{
    static uint8_t data[2 * EXTENT_LEN];
    Extent first = {.body = example_id(0x20), .size = 300 * MIB, .digest = example_digest(1)};
    Extent second = {.body = example_id(0x60), .number = 7, .size = 5};
    Enc enc = enc_of(data, sizeof data);
    extent_encode(&first, &enc);
    extent_encode(&second, &enc);
    return str_of(data, enc.len);
}

Entry example_create(void)
{
    Entry entry = {
        .op = OP_CREATE,
        .shard = SHARD,
        .flags = ENTRY_FLAG_DIGEST_KNOWN | ENTRY_FLAG_KEEP_OLDER,
        .term = 3,
        .lsn = 70000,
        .record_id = example_id(0x01),
        .file = example_file(),
        .bucket = UINT64_C(0x1122334455667788),
        .time_ms = TIME_MS + 2,
        .body = example_id(0x40),
        .size = BODY.len,
        .body_digest = sha256_of(body, BODY.len),
        .prev_hash = example_digest(2),
        .attrs = example_attrs(),
        .inline_body = BODY,
    };
    entry_seal(&entry);
    return entry;
}

Entry example_update(void)
{
    Entry entry = example_create();
    entry.op = OP_UPDATE;
    entry.flags = ENTRY_FLAG_NULL_VERSION;
    entry.lsn++;
    entry.size = 300 * MIB + 5;
    entry.body_digest = (Sha256){0};
    entry.inline_body = (Str){0};
    entry.extents = example_extents();
    entry.extent_count = 2;
    entry_seal(&entry);
    return entry;
}

Entry example_delete(void)
{
    Entry entry = {
        .op = OP_DELETE,
        .shard = SHARD,
        .term = 4,
        .lsn = 70002,
        .record_id = example_id(0x02),
        .file = example_file(),
        .bucket = UINT64_C(0x1122334455667788),
        .target = {.term = 3, .lsn = 70000},
        .time_ms = TIME_MS + 86400000,
        .prev_hash = example_digest(3),
    };
    entry_seal(&entry);
    return entry;
}

/* Tags of the version that example_update() makes. */
static void encode_entry_meta(Enc *enc)
{
    static const uint8_t attrs[] = {ATTR_KEY, 3, 'k', 'e', 'y', ATTR_TAGS, 4, 1, 'a', 1, 'b'};
    Entry entry = {
        .op = OP_META,
        .shard = SHARD,
        .term = 4,
        .lsn = 70003,
        .record_id = example_id(0x03),
        .file = example_file(),
        .bucket = UINT64_C(0x1122334455667788),
        .target = {.term = 3, .lsn = 70001},
        .time_ms = TIME_MS + 90000000,
        .prev_hash = example_digest(4),
        .attrs = {(const char *)attrs, sizeof attrs},
    };
    entry_seal(&entry);
    entry_encode(&entry, enc);
}

static void encode_entry_create(Enc *enc)
{
    Entry entry = example_create();
    entry_encode(&entry, enc);
}

static void encode_entry_update(Enc *enc)
{
    Entry entry = example_update();
    entry_encode(&entry, enc);
}

static void encode_entry_delete(Enc *enc)
{
    Entry entry = example_delete();
    entry_encode(&entry, enc);
}

/* A frame around payload, as it stands in a segment but for the padding. */
static void encode_frame(FrameKind kind, Str payload, Enc *enc)
{
    Frame frame = {
        .kind = kind,
        .length = (uint32_t)payload.len,
        .segment_uuid = example_id(0x70),
        .pos = {.segment = 12, .offset = 0x5000},
        .durable = {.segment = 12, .offset = 0x4000},
    };
    uint8_t bytes[FRAME_LEN];
    frame_encode(&frame, payload, bytes);
    enc_bytes(enc, bytes, sizeof bytes);
    enc_bytes(enc, payload.ptr, payload.len);
}

static void encode_frame_entry(Enc *enc)
{
    uint8_t data[512];
    Enc inner = enc_of(data, sizeof data);
    encode_entry_delete(&inner);
    encode_frame(FRAME_ENTRY, str_of(data, inner.len), enc);
}

static void encode_frame_attest(Enc *enc)
{
    encode_frame(FRAME_ATTEST, (Str){0}, enc);
}

static void encode_truncate(Enc *enc)
{
    Truncate truncate = {.shard = SHARD, .from = 70001, .term = 3, .hash = example_digest(4)};
    uint8_t bytes[TRUNCATE_LEN];
    truncate_encode(&truncate, bytes);
    enc_bytes(enc, bytes, sizeof bytes);
}

static void encode_segment_header(Enc *enc)
{
    SegmentHeader header = {
        .root = example_id(0x10),
        .incarnation = 9,
        .uuid = example_id(0x70),
        .id = 12,
        .capacity = 1 * MIB,
        .feature_level = FEATURE_LEVEL,
        .prev_uuid = example_id(0x80),
        .prev_end = 0xfe000,
        .time_ms = TIME_MS,
    };
    uint8_t bytes[SEGMENT_HEADER_LEN];
    segment_header_encode(&header, bytes);
    enc_bytes(enc, bytes, sizeof bytes);
}

static void encode_config(Enc *enc)
{
    ShardConfig config = {
        .cfg_uid = example_id(0x31),
        .parent_uid = example_id(0x32),
        .version = 300,
        .term = 4,
        .min_isr = 2,
        .member_count = 3,
        .members = {{example_id(0x10), 9}, {example_id(0x11), 1}, {example_id(0x12), 128}},
        .learner_count = 1,
        .learners = {{example_id(0x13), 2}},
        .isr = 3,
        .elr = 4,
        .primary = 1,
        .unclean_epoch = 1,
    };
    shard_config_encode(&config, enc);
}

static ReplicaState example_state(ShardId shard, Str config)
{
    return (ReplicaState){
        .shard = shard,
        .max_term = 4,
        .voted_for = example_id(0x11),
        .last_lsn = 70002,
        .last_term = 4,
        .last_hash = example_digest(5),
        .commit_lsn = 70001,
        .applied_lsn = 69000,
        .config_lsn = config.len == 0 ? 0 : 12,
        .config = config,
    };
}

static void encode_replica_state(Enc *enc)
{
    uint8_t data[256];
    Enc config = enc_of(data, sizeof data);
    encode_config(&config);
    ReplicaState state = example_state(SHARD, str_of(data, config.len));
    replica_state_encode(&state, enc);
}

static void encode_replica_state_before(Enc *enc)
{
    uint8_t data[256];
    Enc config = enc_of(data, sizeof data);
    encode_config(&config);
    ReplicaState state = example_state(SHARD, str_of(data, config.len));
    state.before_lsn = 9;
    state.before = str_of(data, config.len);
    replica_state_encode(&state, enc);
}

static void encode_replica_state_incomplete(Enc *enc)
{
    uint8_t data[256];
    Enc config = enc_of(data, sizeof data);
    encode_config(&config);
    ReplicaState state = example_state(SHARD, str_of(data, config.len));
    state.incomplete = true;
    replica_state_encode(&state, enc);
}

static void encode_checkpoint(Enc *enc)
{
    ReplicaState system = example_state(SHARD_SYSTEM, (Str){0});
    enc_varint(enc, 2);
    replica_state_encode(&system, enc);
    encode_replica_state(enc);
}

static void encode_pack_header(Enc *enc)
{
    PackHeader header = {.root = example_id(0x10), .number = 77, .time_ms = TIME_MS};
    uint8_t bytes[PACK_HEADER_LEN];
    pack_header_encode(&header, bytes);
    enc_bytes(enc, bytes, sizeof bytes);
}

static void encode_pack_body(Enc *enc)
{
    PackRecord record = {.type = PACK_BODY, .entry = example_create(), .stored_body = BODY};
    pack_record_encode(&record, enc);
}

static void encode_pack_body_sealed(Enc *enc)
{
    PackRecord record = {
        .type = PACK_BODY,
        .chunk_flags = CHUNK_FLAG_ZSTD | CHUNK_FLAG_AES_GCM,
        .entry = example_create(),
        .stored_body = STR("\x01\x02 not plain"),
    };
    pack_record_encode(&record, enc);
}

static void encode_pack_meta(Enc *enc)
{
    PackRecord record = {.type = PACK_META, .entry = example_update()};
    pack_record_encode(&record, enc);
}

static void encode_pack_tombstone(Enc *enc)
{
    PackRecord record = {.type = PACK_TOMBSTONE, .entry = example_delete()};
    pack_record_encode(&record, enc);
}

static void encode_pack_mark(Enc *enc)
{
    PackMark mark = {.root = example_id(0x10),
                     .pack = 77,
                     .offset = 0x3000,
                     .synced = {.pack = 77, .end = 0x2f48}};
    uint8_t bytes[PACK_MARK_LEN];
    pack_mark_encode(&mark, bytes);
    enc_bytes(enc, bytes, sizeof bytes);
}

static void encode_blob_footer(Enc *enc)
{
    BlobFooter footer = {
        .body = example_id(0x20),
        .extent = 7,
        .bucket = UINT64_C(0x1122334455667788),
        .shard = SHARD,
        .plain_size = 600000,
        .stored_size = 500000,
        .chunk_size = CHUNK_SIZE_DEFAULT,
        .chunk_count = 3,
        .table_crc = 0xdeadbeef,
        .digest = example_digest(6),
        .time_ms = TIME_MS,
        .attrs = example_attrs(),
    };
    uint8_t bytes[BLOB_FOOTER_LEN];
    blob_footer_encode(&footer, bytes);
    enc_bytes(enc, bytes, sizeof bytes);
}

static void encode_chunk_row(Enc *enc)
{
    ChunkRow row = {.stored_len = 200000, .flags = CHUNK_FLAG_AES_GCM, .crc = 0x01020304};
    Id128 tag = example_id(0xe0);
    memcpy(row.tag, tag.bytes, sizeof row.tag);
    chunk_row_encode(&row, enc);
}

static void encode_row_key_name(Enc *enc)
{
    uint8_t key[ROW_KEY_MAX];
    VersionId version = {.term = 3, .lsn = 70000};
    size_t len = row_key_name(key, UINT64_C(0x1122334455667788), STR("docs/a.txt"), version);
    enc_bytes(enc, key, len);
}

static void encode_file_row(Enc *enc)
{
    Entry entry = example_create();
    FileRow row;
    file_row_of_entry(&entry, &row);
    row.place = (PackPlace){.pack = 77, .offset = 0x3040, .length = 144};
    file_row_encode(&row, enc);
}

static void encode_file_row_extents(Enc *enc)
{
    Entry entry = example_update();
    FileRow row;
    file_row_of_entry(&entry, &row);
    row.created_ms -= 1000;
    file_row_encode(&row, enc);
}

static void encode_id_row(Enc *enc)
{
    id_row_encode(UINT64_C(0x1122334455667788), STR("docs/a.txt"), enc);
}

static void encode_applied_row(Enc *enc)
{
    AppliedRow row = {.lsn = 70002, .term = 4, .hash = example_digest(7)};
    applied_row_encode(&row, enc);
}

static void encode_request_row(Enc *enc)
{
    RequestRow row = {
        .op = OP_CREATE,
        .file = example_file(),
        .version = {.term = 3, .lsn = 70000},
        .time_ms = TIME_MS,
        .request_hash = example_digest(8),
    };
    request_row_encode(&row, enc);
}

static void encode_pack_row(Enc *enc)
{
    PackRow row = {.bytes = 64 * MIB, .dead = 300, .unsure = 5000, .end = 64 * MIB + 8};
    pack_row_encode(&row, enc);
}

static void encode_names_part(Enc *enc)
{
    uint32_t names[3] = {1, name_hash(7, STR("a/b")), UINT32_MAX};
    names_part_encode(names, ARRAY_LEN(names), enc);
}

static void encode_bucket_stat(Enc *enc)
{
    BucketStatRow row = {.files = 1000000, .bytes = 5 * GIB};
    bucket_stat_encode(&row, enc);
}

static void encode_attrs(Enc *enc)
{
    Str attrs = example_attrs();
    enc_bytes(enc, attrs.ptr, attrs.len);
}

static void encode_bucket_record(Enc *enc)
{
    BucketRecord record = {
        .uid = UINT64_C(0x1122334455667788),
        .phase = BUCKET_OPEN,
        .versioning = VERSIONING_SUSPENDED,
        .placement_class = 1,
        .created_ms = TIME_MS,
        .quota_bytes = 10 * GIB,
        .extra = example_attrs(),
    };
    bucket_record_encode(&record, enc);
}

static void encode_class_record(Enc *enc)
{
    ClassRecord record = {.number = 2,
                          .shard_count = 64,
                          .copies = 2,
                          .min_isr = 1,
                          .mode = PLACE_ASYNC,
                          .require = PLACE_REQUIRE_IN_SYNC,
                          .created_ms = TIME_MS,
                          .extra = STR("\x64\x05later")};
    class_record_encode(&record, enc);
}

static void encode_key_record(Enc *enc)
{
    KeyRecord record = {
        .secret = STR("0123456789abcdefghijABCDEFGHIJ0123456789"),
        .label = STR("backup"),
        .created_ms = TIME_MS,
        .expires_ms = 1760000000000,
        .grants = {{GRANT_READ | GRANT_WRITE, STR("photos"), STR("in/")},
                   {GRANT_ADMIN, STR("*"), {NULL, 0}}},
        .grant_count = 2,
        .extra = STR("\x64\x05later"),
    };
    key_record_encode(&record, enc);
}

static void encode_id_text(Enc *enc)
{
    char text[ID128_TEXT_LEN + 1];
    id128_text(example_file(), text);
    enc_bytes(enc, text, ID128_TEXT_LEN);
}

static void encode_upload_record(Enc *enc)
{
    UploadRecord record = {
        .bucket = UINT64_C(0x1122334455667788),
        .key = STR("docs/a"),
        .create_only = true,
        .has_length = true,
        .length = 70000,
        .expires_ms = 1760000000000,
        .owner = STR("root"),
        .attrs = STR("\x02\x03"
                     "a/b"),
        .metadata = STR("bucket ZmlsZXM="),
        .hash = STR("state"),
        .extra = STR("\x64\x05later"),
    };
    upload_record_encode(&record, enc);
}

static void encode_upload_parts(Enc *enc)
{
    UploadRecord record = {
        .bucket = UINT64_C(0x1122334455667788),
        .key = STR("docs/a"),
        .expires_ms = 1760000000000,
        .parts = true,
        .checksum = 3,
        .full_object = true,
        .owner = STR("root"),
        .attrs = STR("\x02\x03"
                     "a/b"),
        .extra = STR("\x64\x05later"),
    };
    upload_record_encode(&record, enc);
}

static void encode_uuid_text(Enc *enc)
{
    char text[37];
    uuid_text(example_id(0x70), text);
    enc_bytes(enc, text, 36);
}

static void encode_version_text(Enc *enc)
{
    char text[VERSION_ID_TEXT_LEN + 1];
    version_id_text((VersionId){.term = 3, .lsn = 70000}, text);
    enc_bytes(enc, text, VERSION_ID_TEXT_LEN);
}

#define ROW(name, corpus, check, ...)                                                              \
    {                                                                                              \
#name, corpus, encode_##name, check, __VA_ARGS__                                           \
    }
const Example examples[] = {
    ROW(entry_create, "entry", check_entry, .guarded = true),
    ROW(entry_update, "entry", check_entry, .guarded = true),
    ROW(entry_delete, "entry", check_entry, .guarded = true),
    ROW(entry_meta, "entry", check_entry, .guarded = true),
    ROW(frame_entry, "frame", check_frame, .guarded = true),
    ROW(frame_attest, "frame", check_frame, .guarded = true),
    ROW(truncate, "frame", check_truncate, .guarded = false),
    ROW(segment_header, "segment", check_segment_header, .block = true, .guarded = true),
    ROW(replica_state, "segment", check_replica_state, .guarded = false),
    ROW(replica_state_before, "segment", check_replica_state, .guarded = false),
    ROW(replica_state_incomplete, "segment", check_replica_state, .guarded = false),
    ROW(checkpoint, "segment", check_checkpoint, .guarded = false),
    ROW(config, "config_entry", check_shard_config, .guarded = false),
    ROW(pack_header, "pack", check_pack_header, .block = true, .guarded = true),
    ROW(pack_body, "pack", check_pack_record, .guarded = false), /* not its padding */
    ROW(pack_body_sealed, "pack", check_pack_record, .guarded = false),
    ROW(pack_meta, "pack", check_pack_record, .guarded = false),
    ROW(pack_tombstone, "pack", check_pack_record, .guarded = false),
    ROW(pack_mark, "pack", check_pack_mark, .guarded = true),
    ROW(blob_footer, "blob_file", check_blob_footer, .block = true, .guarded = true),
    ROW(chunk_row, "blob_file", check_chunk_row, .guarded = false),
    ROW(row_key_name, "row", check_row_key_name, .guarded = false),
    ROW(file_row, "row", check_file_row, .guarded = false),
    ROW(file_row_extents, "row", check_file_row, .guarded = false),
    ROW(id_row, "row", check_id_row, .guarded = false),
    ROW(applied_row, "row", check_applied_row, .guarded = false),
    ROW(request_row, "row", check_request_row, .guarded = false),
    ROW(pack_row, "row", check_pack_row, .guarded = false),
    ROW(names_part, "row", check_names_part, .guarded = false),
    ROW(bucket_stat, "row", check_bucket_stat, .guarded = false),
    ROW(attrs, "attr", check_attrs, .guarded = false),
    ROW(bucket_record, "bucket", check_bucket_record, .guarded = false),
    ROW(class_record, "class_record", check_class_record, .guarded = false),
    ROW(key_record, "key_record", check_key_record, .guarded = false),
    ROW(upload_record, "upload", check_upload_record, .guarded = false),
    ROW(upload_parts, "upload", check_upload_record, .guarded = false),
    ROW(id_text, "ids", check_ids, .guarded = false),
    ROW(uuid_text, "ids", check_ids, .guarded = false),
    ROW(version_text, "ids", check_ids, .guarded = false),
};
const size_t example_count = ARRAY_LEN(examples);
