#include "testing.h"

#include "examples.h"
#include "format/row.h"

#include <string.h>

#define ROUNDS 5000

static uint8_t bytes[ROW_VALUE_MAX];

typedef struct {
    BucketUid bucket;
    uint8_t key[KEY_MAX];
    size_t key_len;
    VersionId version;
} Name;

/* Few different bytes and short keys, so that prefixes and equal parts are common. */
static Name random_name(Rng *rng)
{
    static const uint8_t letters[] = {0x01, 'a', 'b', 0x7f, 0xc3, 0xff};
    Name name = {.bucket = rng_below(rng, 3)};
    if (name.bucket == 2) name.bucket = rng_u64(rng);
    name.key_len = 1 + rng_below(rng, 4);
    if (rng_chance(rng, 10000)) name.key_len = KEY_MAX;
    for (size_t i = 0; i < name.key_len; i++)
        name.key[i] = letters[rng_below(rng, sizeof letters)];
    name.version = (VersionId){.term = (Term)rng_below(rng, 3), .lsn = rng_below(rng, 3)};
    if (rng_chance(rng, 100000)) name.version.term = (Term)rng_u64(rng);
    if (rng_chance(rng, 100000)) name.version.lsn = rng_u64(rng);
    return name;
}

static Str name_key(const Name *name)
{
    return str_of(name->key, name->key_len);
}

/* By bucket, then key as bytes, then newest version first. */
static int name_cmp(const Name *a, const Name *b)
{
    if (a->bucket != b->bucket) return a->bucket < b->bucket ? -1 : 1;
    int cmp = str_cmp(name_key(a), name_key(b));
    return cmp != 0 ? cmp : version_id_cmp(b->version, a->version);
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void test_name_order(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < ROUNDS; i++) {
        Name a = random_name(&rng);
        Name b = random_name(&rng);
        uint8_t a_key[ROW_KEY_MAX];
        uint8_t b_key[ROW_KEY_MAX];
        Str a_row = str_of(a_key, row_key_name(a_key, a.bucket, name_key(&a), a.version));
        Str b_row = str_of(b_key, row_key_name(b_key, b.bucket, name_key(&b), b.version));
        assert_int_equal(sign(str_cmp(a_row, b_row)), sign(name_cmp(&a, &b)));

        BucketUid bucket;
        Str key;
        VersionId version;
        assert_true(row_key_name_parse(a_row, &bucket, &key, &version));
        assert_true(bucket == a.bucket && str_eq(key, name_key(&a)));
        assert_int_equal(version_id_cmp(version, a.version), 0);
    }
}

/* Rows of versions that end sort by that time, and tell which version it is. */
static void test_expires_keys(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < ROUNDS; i++) {
        Name a = random_name(&rng);
        Name b = random_name(&rng);
        uint64_t a_ms = rng_u64(&rng);
        uint64_t b_ms = rng_u64(&rng);
        uint8_t a_key[ROW_KEY_MAX];
        uint8_t b_key[ROW_KEY_MAX];
        Str a_row = str_of(a_key, row_key_expires(a_key, a_ms, a.bucket, name_key(&a), a.version));
        Str b_row = str_of(b_key, row_key_expires(b_key, b_ms, b.bucket, name_key(&b), b.version));
        if (a_ms != b_ms) assert_int_equal(str_cmp(a_row, b_row) < 0, a_ms < b_ms);
        uint64_t ms = 0;
        BucketUid bucket = 0;
        Str key;
        VersionId version;
        assert_true(row_key_expires_parse(a_row, &ms, &bucket, &key, &version));
        assert_true(ms == a_ms && bucket == a.bucket && str_eq(key, name_key(&a)));
        assert_int_equal(version_id_cmp(version, a.version), 0);
        for (size_t cut = 0; cut < 10; cut++)
            assert_false(row_key_expires_parse(str_of(a_key, cut), &ms, &bucket, &key, &version));
        assert_false(
            row_key_expires_parse(str_of(a_key, a_row.len - 1), &ms, &bucket, &key, &version) &&
            version_id_cmp(version, a.version) == 0);
        a_key[0] = 'n';
        assert_false(row_key_expires_parse(a_row, &ms, &bucket, &key, &version));
    }
}

/* A name's prefix is that of its own rows only; a bucket's, of those whose key begins so. */
static void test_prefixes(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < ROUNDS; i++) {
        Name a = random_name(&rng);
        Name b = random_name(&rng);
        uint8_t row_bytes[ROW_KEY_MAX];
        uint8_t prefix_bytes[ROW_KEY_MAX];
        Str row = str_of(row_bytes, row_key_name(row_bytes, a.bucket, name_key(&a), a.version));
        size_t len = row_key_name_prefix(prefix_bytes, b.bucket, name_key(&b));
        bool same = a.bucket == b.bucket && str_eq(name_key(&a), name_key(&b));
        assert_int_equal(str_starts_with(row, str_of(prefix_bytes, len)), same);
        Str start = str_slice(name_key(&b), 0, rng_below(&rng, b.key_len + 1));
        len = row_key_bucket_prefix(prefix_bytes, b.bucket, start);
        bool within = a.bucket == b.bucket && str_starts_with(name_key(&a), start);
        assert_int_equal(str_starts_with(row, str_of(prefix_bytes, len)), within);
    }
}

static void test_name_parse_refuses(void **state)
{
    UNUSED(state);
    uint8_t key[ROW_KEY_MAX + 1] = {0};
    size_t len = row_key_name(key, 5, STR("k"), (VersionId){1, 2});
    BucketUid bucket = 99;
    Str name;
    VersionId version;
    assert_true(row_key_name_parse(str_of(key, len), &bucket, &name, &version));
    for (size_t cut = 0; cut < len; cut++)
        assert_false(row_key_name_parse(str_of(key, cut), &bucket, &name, &version));
    assert_false(row_key_name_parse(str_of(key, len + 1), &bucket, &name, &version));
    key[0] = 'i';
    assert_false(row_key_name_parse(str_of(key, len), &bucket, &name, &version));
    key[0] = 'n';
    key[9] = 0; /* the key holds a NUL */
    assert_false(row_key_name_parse(str_of(key, len), &bucket, &name, &version));
    memset(key + 9, 'k', ROW_KEY_MAX - 9);
    size_t too_long = 9 + KEY_MAX + 1;
    key[too_long] = 0;
    assert_false(row_key_name_parse(str_of(key, too_long + 13), &bucket, &name, &version));
    assert_int_equal(bucket, 5);
}

/* Numbers in keys are big endian, so that rows come in the order of the numbers. */
static void test_other_keys(void **state)
{
    UNUSED(state);
    uint8_t key[ROW_KEY_MAX];
    Id128 id = example_id(0x41);
    assert_true(str_eq(str_of(key, row_key_file(key, id)), STR("iCDEFGHIJKLMNOPAB")));
    assert_true(
        str_eq(str_of(key, row_key_extent(key, id, 0x0102)), STR("bABCDEFGHIJKLMNOP\0\0\1\2")));
    size_t len = row_key_garbage(key, id, 0x0102);
    assert_true(str_eq(str_of(key, len), STR("gABCDEFGHIJKLMNOP\0\0\1\2")));
    BodyId body;
    uint32_t number = 0;
    assert_true(row_key_garbage_parse(str_of(key, len), &body, &number));
    assert_true(id128_eq(body, id) && number == 0x0102);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(row_key_garbage_parse(str_of(key, cut), &body, &number));
    assert_false(row_key_garbage_parse(str_of(key, len + 1), &body, &number));
    assert_false(
        row_key_garbage_parse(str_of(key, row_key_extent(key, id, 0x0102)), &body, &number));
    assert_true(str_eq(str_of(key, row_key_applied(key, 0x0102)), STR("a\1\2")));
    assert_true(
        str_eq(str_of(key, row_key_request(key, 0x0102, id)), STR("rABCDEFGHIJKLMNOP\1\2")));
    assert_true(str_eq(str_of(key, row_key_request_prefix(key, id)), STR("rABCDEFGHIJKLMNOP")));
    assert_true(str_eq(str_of(key, row_key_request_expiry(key, 0x0304, 0x0102, id)),
                       STR("x\0\0\0\0\0\0\3\4\1\2ABCDEFGHIJKLMNOP")));
    assert_true(str_eq(str_of(key, row_key_pack(key, 0x0102)), STR("p\0\0\0\0\0\0\1\2")));
    assert_true(str_eq(str_of(key, row_key_bucket_stat(key, 0x0102)), STR("u\0\0\0\0\0\0\1\2")));
}

static void test_file_row_of_entry(void **state)
{
    UNUSED(state);
    Entry entry = example_create();
    FileRow row;
    file_row_of_entry(&entry, &row);
    assert_true(id128_eq(row.file, entry.file) && id128_eq(row.body, entry.body));
    assert_true(row.version.term == 3 && row.version.lsn == 70000);
    assert_int_equal(row.flags, ROW_FLAG_DIGEST_KNOWN);
    assert_true(row.created_ms == 1760000000000 && row.updated_ms == entry.time_ms);
    assert_true(row.size == 13 && row.place.pack == 0 && row.extent_count == 0);
    row.place = (PackPlace){.pack = 77, .offset = UINT64_MAX, .length = UINT32_MAX};

    Enc enc = enc_of(bytes, sizeof bytes);
    file_row_encode(&row, &enc);
    FileRow out;
    assert_true(file_row_decode(str_of(bytes, enc.len), &out));
    assert_true(id128_eq(out.file, row.file) && id128_eq(out.body, row.body));
    assert_true(out.created_ms == row.created_ms && out.updated_ms == row.updated_ms);
    assert_true(out.flags == row.flags && out.size == 13);
    assert_true(sha256_eq(&out.digest, &entry.body_digest));
    assert_true(out.place.pack == 77 && out.place.offset == UINT64_MAX);
    assert_int_equal(out.place.length, UINT32_MAX);
    Str value;
    assert_false(attr_get(out.attrs, ATTR_KEY, &value));
    assert_true(attr_get(out.attrs, ATTR_CONTENT_TYPE, &value));
    assert_str(value, "text/plain");
    assert_true(attr_get(out.attrs, 500, &value));
    assert_int_equal(out.version.lsn, 0); /* it is in the row's key */
}

static void test_file_row_kinds(void **state)
{
    UNUSED(state);
    Entry entry = example_update();
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    assert_ok(attr_set(&attrs, ATTR_KEY, STR("k"), &err), &err);
    assert_ok(attr_set_varint(&attrs, ATTR_CREATED_MS, 5, &err), &err);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_ID, STR("0123456789abcdef"), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_HASH, STR("h"), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_TAGS, STR("t"), &err), &err);
    entry.attrs = buf_str(&attrs);
    FileRow row;
    file_row_of_entry(&entry, &row);
    assert_true(row.created_ms == 5 && row.flags == ROW_FLAG_NULL_VERSION);
    Enc enc = enc_of(bytes, sizeof bytes);
    file_row_encode(&row, &enc);
    FileRow out;
    assert_true(file_row_decode(str_of(bytes, enc.len), &out));
    assert_true(out.created_ms == 5 && out.updated_ms == entry.time_ms && out.extent_count == 2);
    assert_true(str_eq(out.extents, entry.extents));
    Str value;
    assert_false(attr_get(out.attrs, ATTR_REQUEST_ID, &value));
    assert_false(attr_get(out.attrs, ATTR_REQUEST_HASH, &value));
    assert_true(attr_get(out.attrs, ATTR_TAGS, &value));
    for (size_t cut = 0; cut < enc.len - out.attrs.len; cut++)
        assert_false(file_row_decode(str_of(bytes, cut), &out));

    entry = example_delete();
    entry.flags = ENTRY_FLAG_DELETE_MARKER;
    file_row_of_entry(&entry, &row);
    assert_int_equal(row.flags, ROW_FLAG_DELETE_MARKER);
}

static void test_file_row_refuses(void **state)
{
    UNUSED(state);
    /* fields, flags, file (16 zeros), …, size */
    static const struct {
        Str head;
        Str tail;
        bool valid;
    } rows[] = {
        {STR_INIT("\x00\x00"), STR_INIT("\x05"), true},
        {STR_INIT("\x00\x07"), STR_INIT("\x05"), true},
        {STR_INIT("\x40\x00"), STR_INIT("\x05"), false},         /* unknown field */
        {STR_INIT("\x00\x08"), STR_INIT("\x05"), false},         /* unknown flag */
        {STR_INIT("\x00\x80\x80\x04"), STR_INIT("\x05"), false}, /* flags beyond 16 bits */
        {STR_INIT("\x01\x00"), STR_INIT("\x02\x05"), true},      /* created_ms 1 */
        {STR_INIT("\x01\x00"), STR_INIT("\x00\x05"), false},     /* there and zero */
        {STR_INIT("\x02\x00"), STR_INIT("\x01\x05"), true},      /* updated_ms -1 */
        {STR_INIT("\x02\x00"), STR_INIT("\x00\x05"), false},
        {STR_INIT("\x10\x00"), STR_INIT("\x05\x01\x00\x00"), true}, /* pack, offset, length */
        {STR_INIT("\x10\x00"), STR_INIT("\x05\x00\x00\x00"), false},
        {STR_INIT("\x10\x00"), STR_INIT("\x05\x01\x00\x80\x80\x80\x80\x10"), false},
        {STR_INIT("\x20\x00"), STR_INIT("\x05\x00"), false},     /* no extents */
        {STR_INIT("\x20\x00"), STR_INIT("\x05\x91\x4e"), false}, /* 10001 */
        {STR_INIT("\x20\x00"), STR_INIT("\x05\x01"), false},     /* one, cut off */
        {STR_INIT("\x00\x00"), STR_INIT("\x05\x02\x00"), true},
        {STR_INIT("\x00\x00"), STR_INIT("\x05\x02\x01"), false},  /* attributes cut off */
        {STR_INIT("\x00\x00"), STR_INIT("\x05\x01\x01k"), false}, /* the key */
        {STR_INIT("\x00\x00"), STR_INIT("\x05\x08\x00"), false},  /* a request id */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Enc enc = enc_of(bytes, sizeof bytes);
        enc_bytes(&enc, rows[i].head.ptr, rows[i].head.len);
        enc_zeros(&enc, 16);
        enc_bytes(&enc, rows[i].tail.ptr, rows[i].tail.len);
        FileRow row = {.size = 99};
        if (file_row_decode(str_of(bytes, enc.len), &row) != rows[i].valid) fail_msg("row %zu", i);
        assert_int_equal(row.size, rows[i].valid ? 5 : 99);
    }
}

/* DESIGN: at most 400 bytes on disk beside a body; this is the share of format: the pack record,
 * the rows 'n' and 'i', each with its key, for a key of 40 bytes and a content type. */
static void test_overhead(void **state)
{
    UNUSED(state);
    Err err = {0};
    Str key = STR("photos/2025/summer/beach/img_000123.jpeg");
    assert_int_equal(key.len, 40);
    AUTO_BUF(attrs, ATTRS_MAX);
    assert_ok(attr_set(&attrs, ATTR_KEY, key, &err), &err);
    assert_ok(attr_set(&attrs, ATTR_CONTENT_TYPE, STR("image/jpeg"), &err), &err);
    Entry entry = example_create();
    entry.attrs = buf_str(&attrs);
    PackRecord record = {.type = PACK_BODY, .entry = entry, .stored_body = entry.inline_body};
    size_t total = pack_record_len(&record) - entry.inline_body.len;
    uint8_t row_key[ROW_KEY_MAX];
    FileRow row;
    file_row_of_entry(&entry, &row);
    row.place = (PackPlace){.pack = 100, .offset = 60 * MIB, .length = 5000};
    Enc enc = enc_of(bytes, sizeof bytes);
    file_row_encode(&row, &enc);
    id_row_encode(entry.bucket, key, &enc);
    total += enc.len + row_key_name(row_key, entry.bucket, key, row.version);
    total += row_key_file(row_key, entry.file);
    assert_in_range(total, 250, 380);
}

static void test_small_rows(void **state)
{
    UNUSED(state);
    Enc enc = enc_of(bytes, sizeof bytes);
    BucketUid bucket;
    Str key;
    id_row_encode(7, STR("k"), &enc);
    assert_true(id_row_decode(str_of(bytes, enc.len), &bucket, &key));
    assert_true(bucket == 7 && str_eq(key, STR("k")));
    assert_false(id_row_decode(str_of(bytes, 8), &bucket, &key));
    assert_false(id_row_decode(str_of(bytes, 7), &bucket, &key));
    assert_false(id_row_decode(str_of(bytes, 8 + KEY_MAX + 1), &bucket, &key));

    AppliedRow applied = {.lsn = UINT64_MAX, .term = UINT32_MAX, .hash = example_digest(1)};
    AppliedRow applied_out = {0};
    enc = enc_of(bytes, sizeof bytes);
    applied_row_encode(&applied, &enc);
    assert_true(applied_row_decode(str_of(bytes, enc.len), &applied_out));
    assert_true(applied_out.lsn == UINT64_MAX && applied_out.term == UINT32_MAX);
    assert_true(sha256_eq(&applied_out.hash, &applied.hash));
    for (size_t len = 0; len <= enc.len + 1; len++)
        assert_int_equal(applied_row_decode(str_of(bytes, len), &applied_out), len == enc.len);
    enc = enc_of(bytes, sizeof bytes);
    enc_varint(&enc, 1);
    enc_varint(&enc, UINT64_C(1) << 32);
    enc_zeros(&enc, SHA256_LEN);
    assert_false(applied_row_decode(str_of(bytes, enc.len), &applied_out));
}

static void test_request_keys(void **state)
{
    UNUSED(state);
    uint8_t key[ROW_KEY_MAX];
    RequestId id;
    RequestId got;
    ShardId shard = 0;
    uint64_t expiry = 0;
    memset(id.bytes, 7, sizeof id.bytes);
    size_t len = row_key_request(key, 0x1234, id);
    assert_true(row_key_request_parse(str_of(key, len), &shard));
    assert_int_equal(shard, 0x1234);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(row_key_request_parse(str_of(key, cut), &shard));
    assert_false(row_key_request_parse(str_of(key, len + 1), &shard));
    len = row_key_request_expiry(key, 99, 0x4321, id);
    assert_false(row_key_request_parse(str_of(key, 19), &shard)); /* of another kind */
    assert_true(row_key_request_expiry_parse(str_of(key, len), &expiry, &shard, &got));
    assert_true(expiry == 99 && shard == 0x4321 && id128_eq(got, id));
    for (size_t cut = 0; cut < len; cut++)
        assert_false(row_key_request_expiry_parse(str_of(key, cut), &expiry, &shard, &got));
    key[0] = 'r';
    assert_false(row_key_request_expiry_parse(str_of(key, len), &expiry, &shard, &got));
}

/* Which row an entry makes: of a NOOP that stands for another change, that one's. */
static void test_request_row_of_entry(void **state)
{
    UNUSED(state);
    AUTO_BUF(attrs, 256);
    Err err = {0};
    RequestId id;
    RequestId got;
    RequestRow row;
    uint8_t op = OP_DELETE;
    Sha256 hash = sha256_of("x", 1);
    memset(id.bytes, 7, sizeof id.bytes);
    Entry entry = {.op = OP_UPDATE, .term = 2, .lsn = 5, .time_ms = 77};
    assert_false(request_row_of_entry(&entry, &got, &row));
    assert_ok(attr_set(&attrs, ATTR_REQUEST_ID, str_of(id.bytes, 15), &err), &err);
    entry.attrs = buf_str(&attrs);
    assert_false(request_row_of_entry(&entry, &got, &row)); /* no id of ours */
    assert_ok(attr_set(&attrs, ATTR_REQUEST_ID, str_of(id.bytes, 16), &err), &err);
    entry.attrs = buf_str(&attrs);
    assert_true(request_row_of_entry(&entry, &got, &row));
    assert_true(id128_eq(got, id) && row.op == OP_UPDATE && row.time_ms == 77);
    assert_true(row.version.term == 2 && row.version.lsn == 5);
    assert_true(sha256_is_zero(&row.request_hash));
    assert_ok(attr_set(&attrs, ATTR_REQUEST_HASH, str_of(hash.bytes, SHA256_LEN), &err), &err);
    assert_ok(attr_set(&attrs, ATTR_REQUEST_OP, str_of(&op, 1), &err), &err);
    entry.attrs = buf_str(&attrs);
    assert_true(request_row_of_entry(&entry, &got, &row));
    assert_true(row.op == OP_DELETE && sha256_eq(&row.request_hash, &hash));
    op = OP_MAX + 1;
    assert_ok(attr_set(&attrs, ATTR_REQUEST_OP, str_of(&op, 1), &err), &err);
    entry.attrs = buf_str(&attrs);
    assert_true(request_row_of_entry(&entry, &got, &row));
    assert_int_equal(row.op, OP_UPDATE); /* a number that is none is passed over */
}

static void test_request_row(void **state)
{
    UNUSED(state);
    RequestRow in = {.op = OP_DELETE,
                     .file = example_id(1),
                     .version = {.term = 3, .lsn = 4},
                     .time_ms = 5,
                     .request_hash = example_digest(1)};
    RequestRow out;
    Enc enc = enc_of(bytes, sizeof bytes);
    request_row_encode(&in, &enc);
    assert_true(request_row_decode(str_of(bytes, enc.len), &out));
    assert_true(out.op == OP_DELETE && id128_eq(out.file, in.file) && out.time_ms == 5);
    assert_int_equal(version_id_cmp(out.version, in.version), 0);
    assert_true(sha256_eq(&out.request_hash, &in.request_hash));
    for (size_t len = 0; len <= enc.len + 1; len++)
        assert_int_equal(request_row_decode(str_of(bytes, len), &out), len == enc.len);
    bytes[0] = 0;
    assert_false(request_row_decode(str_of(bytes, enc.len), &out));
    bytes[0] = OP_MAX + 1;
    assert_false(request_row_decode(str_of(bytes, enc.len), &out));
    in.version.term = UINT32_MAX;
    enc = enc_of(bytes, sizeof bytes);
    request_row_encode(&in, &enc);
    assert_true(request_row_decode(str_of(bytes, enc.len), &out));
    bytes[21] = 0x1f; /* the fifth byte of the term: 33 bits */
    assert_false(request_row_decode(str_of(bytes, enc.len), &out));
}

static void test_counts(void **state)
{
    UNUSED(state);
    PackRow pack = {.bytes = 300, .dead = UINT64_MAX, .unsure = 7, .end = 4096};
    PackRow pack_out = {0};
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(&pack, &enc);
    assert_true(pack_row_decode(str_of(bytes, enc.len), &pack_out));
    assert_true(pack_out.bytes == 300 && pack_out.dead == UINT64_MAX);
    assert_true(pack_out.unsure == 7 && pack_out.end == 4096);
    for (size_t len = 0; len <= enc.len + 1; len++)
        assert_int_equal(pack_row_decode(str_of(bytes, len), &pack_out), len == enc.len);

    BucketStatRow stat = {.files = 1, .bytes = 300};
    BucketStatRow stat_out = {0};
    enc = enc_of(bytes, sizeof bytes);
    bucket_stat_encode(&stat, &enc);
    assert_true(bucket_stat_decode(str_of(bytes, enc.len), &stat_out));
    assert_true(stat_out.files == 1 && stat_out.bytes == 300);
    assert_false(bucket_stat_decode((Str){0}, &stat_out));
}

/* A pack's rows: their keys and no others' are parsed; all parts of its names stand together. */
static void test_pack_keys(void **state)
{
    UNUSED(state);
    uint8_t key[ROW_KEY_MAX];
    uint8_t prefix[ROW_KEY_MAX];
    uint64_t pack = 0;
    Str row = str_of(key, row_key_pack(key, 258));
    assert_true(row_key_pack_parse(row, &pack) && pack == 258);
    assert_false(row_key_retired_parse(row, &pack));
    assert_false(row_key_pack_parse(str_slice(row, 0, row.len - 1), &pack));
    row = str_of(key, row_key_retired(key, 259));
    assert_true(row_key_retired_parse(row, &pack) && pack == 259);
    assert_false(row_key_pack_parse(row, &pack));
    Str parts = str_of(prefix, row_key_names_prefix(prefix, 258));
    row = str_of(key, row_key_names(key, 258, 1));
    assert_true(str_starts_with(row, parts) && row.len == parts.len + 4);
}

static void test_names_part(void **state)
{
    UNUSED(state);
    static const uint32_t names[] = {0, 5, 0x80000000u, UINT32_MAX};
    size_t count = 9;
    Enc enc = enc_of(bytes, sizeof bytes);
    names_part_encode(names, ARRAY_LEN(names), &enc);
    Str part = str_of(bytes, enc.len);
    assert_true(names_part_decode(part, &count));
    assert_int_equal(count, ARRAY_LEN(names));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(names_part_at(part, i), names[i]);
    assert_false(names_part_decode(str_slice(part, 0, part.len - 1), &count));
    assert_true(names_part_decode((Str){NULL, 0}, &count) && count == 0);
    bytes[0] = 5; /* the same twice */
    assert_false(names_part_decode(part, &count));
    /* Bucket and key both count. */
    assert_int_not_equal(name_hash(1, STR("a")), name_hash(2, STR("a")));
    assert_int_not_equal(name_hash(1, STR("a")), name_hash(1, STR("b")));
}

static void test_etag(void **state)
{
    UNUSED(state);
    static char longest[ETAG_MAX];
    memset(longest, 'e', sizeof longest);
    char etag[ETAG_MAX];
    Err err = {0};
    AUTO_BUF(attrs, ATTRS_MAX);
    FileRow row = {.flags = ROW_FLAG_DIGEST_KNOWN, .digest = sha256_of("abc", 3)};
    row.version = (VersionId){.term = 1, .lsn = 2};
    file_row_etag(&row, etag);
    assert_string_equal(etag, "ba7816bf8f01cfea414140de5dae2223b00361a3-1");
    row.flags = 0;
    file_row_etag(&row, etag);
    assert_string_equal(etag, "0000000G000000000002");

    static const struct {
        Str value;
        bool used;
    } rows[] = {
        {STR_INIT("900150983cd24fb0d6963f7d28e17f72"), true},
        {{longest, ETAG_MAX - 1}, true},
        {{longest, ETAG_MAX}, false}, /* does not fit */
        {STR_INIT(""), false},
        {STR_INIT("a\0b"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_ok(attr_set(&attrs, ATTR_ETAG, rows[i].value, &err), &err);
        row.attrs = buf_str(&attrs);
        file_row_etag(&row, etag);
        bool used = str_eq(str_from_cstr(etag), rows[i].value);
        if (used != rows[i].used) fail_msg("row %zu: %s", i, etag);
        if (!used) assert_string_equal(etag, "0000000G000000000002");
    }
}

static void key_with_nul(void *arg)
{
    row_key_name_prefix(arg, 1, STR("a\0b"));
}

static void key_too_long(void *arg)
{
    static char key[KEY_MAX + 2];
    row_key_bucket_prefix(arg, 1, str_of(key, sizeof key));
}

static void test_asserts(void **state)
{
    UNUSED(state);
    assert_aborts(key_with_nul, bytes, "key");
    assert_aborts(key_too_long, bytes, "KEY_MAX");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_order),     cmocka_unit_test(test_expires_keys),
        cmocka_unit_test(test_prefixes),       cmocka_unit_test(test_name_parse_refuses),
        cmocka_unit_test(test_other_keys),     cmocka_unit_test(test_file_row_of_entry),
        cmocka_unit_test(test_file_row_kinds), cmocka_unit_test(test_file_row_refuses),
        cmocka_unit_test(test_overhead),       cmocka_unit_test(test_small_rows),
        cmocka_unit_test(test_request_keys),   cmocka_unit_test(test_request_row_of_entry),
        cmocka_unit_test(test_request_row),    cmocka_unit_test(test_counts),
        cmocka_unit_test(test_pack_keys),      cmocka_unit_test(test_names_part),
        cmocka_unit_test(test_etag),           cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
