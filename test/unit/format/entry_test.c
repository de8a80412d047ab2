#include "testing.h"

#include "examples.h"
#include "format/entry.h"

#include <string.h>

static uint8_t bytes[ENTRY_MAX];

static Str encode(const Entry *entry)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    entry_encode(entry, &enc);
    assert_false(enc.failed);
    assert_int_equal(enc.len, entry_len(entry));
    return str_of(bytes, enc.len);
}

/* The offsets of docs/format.md. */
static void test_table(void **state)
{
    UNUSED(state);
    Entry entry = example_delete();
    entry.attrs = STR("\x01\x01k");
    entry_seal(&entry);
    Str data = encode(&entry);
    assert_int_equal(data.len, 224 + 3);
    assert_memory_equal(bytes, "HFE1", 4);
    assert_int_equal(get_u32(bytes + 4), ENTRY_FORMAT | OP_DELETE << 16);
    assert_int_equal(get_u32(bytes + 8), 0x1005u << 16); /* no flags, shard */
    assert_int_equal(get_u32(bytes + 12), 4);
    assert_int_equal(get_u64(bytes + 16), 70002);
    assert_memory_equal(bytes + 24, entry.record_id.bytes, 16);
    assert_memory_equal(bytes + 40, entry.file.bytes, 16);
    assert_true(get_u64(bytes + 56) == entry.bucket);
    assert_int_equal(get_u64(bytes + 64), 70000);
    assert_int_equal(get_u32(bytes + 72), 3);
    assert_int_equal(get_u32(bytes + 76), 3);
    assert_true(get_u64(bytes + 80) == entry.time_ms);
    assert_memory_equal(bytes + 152, entry.prev_hash.bytes, 32);
    assert_memory_equal(bytes + 184, entry.checksum.bytes, 32);
    assert_int_equal(get_u64(bytes + 216), 0);
}

/* Everything that goes in comes out, as views into the data. */
static void test_fields(void **state)
{
    UNUSED(state);
    Entry in = example_create();
    Str data = encode(&in);
    Err err = {0};
    Entry out;
    assert_ok(entry_decode(data, true, &out, &err), &err);
    assert_int_equal(out.op, OP_CREATE);
    assert_int_equal(out.shard, in.shard);
    assert_int_equal(out.flags, in.flags);
    assert_int_equal(out.term, in.term);
    assert_int_equal(out.lsn, in.lsn);
    assert_true(id128_eq(out.record_id, in.record_id) && id128_eq(out.file, in.file));
    assert_true(out.bucket == in.bucket && out.time_ms == in.time_ms && out.size == in.size);
    assert_true(id128_eq(out.body, in.body));
    assert_true(sha256_eq(&out.body_digest, &in.body_digest));
    assert_true(sha256_eq(&out.prev_hash, &in.prev_hash));
    assert_true(sha256_eq(&out.checksum, &in.checksum));
    assert_str(entry_key(&out), "docs/a.txt");
    assert_str(out.inline_body, "hello, world\n");
    assert_ptr_equal(out.attrs.ptr, data.ptr + ENTRY_HEADER_LEN);
    Str unknown;
    assert_true(attr_get(out.attrs, 500, &unknown));
    assert_str(unknown, "kept");

    Entry update = example_update();
    assert_ok(entry_decode(encode(&update), true, &out, &err), &err);
    assert_int_equal(out.extent_count, 2);
    Extent second = extent_at(out.extents, 1);
    assert_true(id128_eq(second.body, example_id(0x60)));
    assert_int_equal(second.number, 7);
    assert_int_equal(second.size, 5);
    assert_true(sha256_is_zero(&second.digest));
    assert_int_equal(extent_at(out.extents, 0).size, 300 * MIB);
    Entry none = example_delete();
    assert_int_equal(entry_key(&none).len, 0);
}

/* The same checksum whether attributes and extents stand side by side or apart. */
static void test_seal(void **state)
{
    UNUSED(state);
    Entry apart = example_update();
    Entry joined;
    assert_ok(entry_decode(encode(&apart), true, &joined, NULL), NULL);
    entry_seal(&joined);
    assert_true(sha256_eq(&joined.checksum, &apart.checksum));
    joined.attrs = (Str){0};
    entry_seal(&joined);
    assert_false(sha256_eq(&joined.checksum, &apart.checksum));
    /* Not with encode(): joined's views lie in its bytes. */
    uint8_t again[1024];
    Enc enc = enc_of(again, sizeof again);
    entry_encode(&joined, &enc);
    assert_false(enc.failed);
    Entry decoded;
    assert_ok(entry_decode(str_of(again, enc.len), true, &decoded, NULL), NULL);
}

/* The head with its body handed on apart is the whole entry. */
static void test_encode_head(void **state)
{
    UNUSED(state);
    Entry entry = example_create();
    uint8_t head[512];
    Enc enc = enc_of(head, sizeof head);
    entry_encode_head(&entry, &enc);
    enc_bytes(&enc, entry.inline_body.ptr, entry.inline_body.len);
    assert_true(str_eq(str_of(head, enc.len), encode(&entry)));
    Enc narrow = enc_of(head, entry_len(&entry) - 1);
    entry_encode(&entry, &narrow);
    assert_true(narrow.failed);
}

/* The digest alone stands for the body: only check_body sees that it changed. */
static void test_check_body(void **state)
{
    UNUSED(state);
    Entry entry = example_create();
    Str data = encode(&entry);
    bytes[data.len - 1] ^= 1;
    Err err = {0};
    Entry out;
    assert_ok(entry_decode(data, false, &out, &err), &err);
    assert_code(entry_decode(data, true, &out, &err), ERR_CORRUPT, &err);
}

static void no_term(Entry *entry)
{
    entry->term = 0;
}
static void no_lsn(Entry *entry)
{
    entry->lsn = 0;
}
static void first_with_prev(Entry *entry)
{
    entry->lsn = 1;
}
static void first_without_prev(Entry *entry)
{
    entry->lsn = 1;
    entry->prev_hash = (Sha256){0};
}
static void target_on_create(Entry *entry)
{
    entry->target = (VersionId){1, 1};
}
static void half_target(Entry *entry)
{
    *entry = example_delete();
    entry->target.term = 0;
}
static void marker_on_create(Entry *entry)
{
    entry->flags |= ENTRY_FLAG_DELETE_MARKER;
}
static void marker(Entry *entry)
{
    *entry = example_delete();
    entry->flags = ENTRY_FLAG_DELETE_MARKER;
}
static void marker_and_all(Entry *entry)
{
    *entry = example_delete();
    entry->flags = ENTRY_FLAG_DELETE_MARKER | ENTRY_FLAG_ALL_VERSIONS;
}
static void all_on_update(Entry *entry)
{
    entry->op = OP_UPDATE;
    entry->flags = ENTRY_FLAG_DIGEST_KNOWN | ENTRY_FLAG_ALL_VERSIONS;
}
static void all_and_keep(Entry *entry)
{
    entry->flags |= ENTRY_FLAG_ALL_VERSIONS | ENTRY_FLAG_KEEP_OLDER;
}
static void all_on_create(Entry *entry)
{
    entry->flags = ENTRY_FLAG_DIGEST_KNOWN | ENTRY_FLAG_ALL_VERSIONS;
}
static void flag_unknown(Entry *entry)
{
    entry->flags |= 1 << 5;
}
static void op_unknown(Entry *entry)
{
    entry->op = (Op)(OP_MAX + 1);
}
static void op_none(Entry *entry)
{
    entry->op = (Op)0;
}
static void attrs_malformed(Entry *entry)
{
    entry->attrs = STR("\x01\x00\x01\x00");
}
static void digest_without_flag(Entry *entry)
{
    entry->flags = 0;
}
static void body_without_digest(Entry *entry)
{
    entry->flags = 0;
    entry->body_digest = (Sha256){0};
}
static void body_on_delete(Entry *entry)
{
    entry->op = OP_DELETE;
}
static void body_id_on_start(Entry *entry)
{
    *entry = example_delete();
    entry->op = OP_START;
    entry->target = (VersionId){0};
    entry->body = example_id(1);
}
static void size_on_start(Entry *entry)
{
    body_id_on_start(entry);
    entry->body = (BodyId){{0}};
    entry->size = 1;
}
static void inline_on_start(Entry *entry)
{
    size_on_start(entry);
    entry->size = 0;
    entry->inline_body = STR("x");
}
static void extents_on_delete(Entry *entry)
{
    Entry update = example_update();
    *entry = example_delete();
    entry->extents = update.extents;
    entry->extent_count = update.extent_count;
}
static void meta(Entry *entry)
{
    *entry = example_delete();
    entry->op = OP_META;
}
static void start(Entry *entry)
{
    body_id_on_start(entry);
    entry->body = (BodyId){{0}};
}
static void size_wrong(Entry *entry)
{
    entry->size++;
}
static void empty_body(Entry *entry)
{
    entry->size = 0;
    entry->inline_body = (Str){0};
    entry->body_digest = sha256_of("", 0);
}
static void empty_body_wrong_digest(Entry *entry)
{
    empty_body(entry);
    entry->body_digest = example_digest(1);
}
static void extents_and_body(Entry *entry)
{
    Entry update = example_update();
    entry->extents = update.extents;
    entry->extent_count = update.extent_count;
}
static void extents_size_wrong(Entry *entry)
{
    *entry = example_update();
    entry->size--;
}

static uint8_t two_extents[2 * EXTENT_LEN];
static void extents_of(Entry *entry, uint64_t first, uint64_t second)
{
    *entry = example_update();
    Extent extent = {.body = example_id(1), .size = first};
    Enc enc = enc_of(two_extents, sizeof two_extents);
    extent_encode(&extent, &enc);
    extent.size = second;
    extent_encode(&extent, &enc);
    entry->extents = str_of(two_extents, sizeof two_extents);
    entry->size = first + second;
}
static void extent_empty(Entry *entry)
{
    extents_of(entry, 5, 0);
}
static void extents_overflow(Entry *entry)
{
    extents_of(entry, UINT64_MAX, 6);
}
static void extents_largest(Entry *entry)
{
    extents_of(entry, UINT64_MAX - 1, 1);
}

/* Sealed entries that break a rule: the checksum does not hide it. */
static void test_rules(void **state)
{
    UNUSED(state);
    static const struct {
        void (*change)(Entry *entry); /* of example_create() */
        ErrCode code;
    } rows[] = {
        {no_term, ERR_CORRUPT},
        {no_lsn, ERR_CORRUPT},
        {first_with_prev, ERR_CORRUPT},
        {first_without_prev, OK},
        {target_on_create, ERR_CORRUPT},
        {half_target, ERR_CORRUPT},
        {marker_on_create, ERR_CORRUPT},
        {marker, OK},
        {marker_and_all, ERR_CORRUPT},
        {all_on_update, ERR_CORRUPT},
        {all_and_keep, ERR_CORRUPT},
        {all_on_create, OK},
        {flag_unknown, ERR_FORMAT_VERSION},
        {op_unknown, ERR_FORMAT_VERSION},
        {op_none, ERR_CORRUPT},
        {attrs_malformed, ERR_CORRUPT},
        {digest_without_flag, ERR_CORRUPT},
        {body_without_digest, ERR_CORRUPT},
        {body_on_delete, ERR_CORRUPT},
        {body_id_on_start, ERR_CORRUPT},
        {size_on_start, ERR_CORRUPT},
        {inline_on_start, ERR_CORRUPT},
        {extents_on_delete, ERR_CORRUPT},
        {meta, OK},
        {start, OK},
        {size_wrong, ERR_CORRUPT},
        {empty_body, OK},
        {empty_body_wrong_digest, ERR_CORRUPT},
        {extents_and_body, ERR_CORRUPT},
        {extents_size_wrong, ERR_CORRUPT},
        {extent_empty, ERR_CORRUPT},
        {extents_overflow, ERR_CORRUPT},
        {extents_largest, OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Entry entry = example_create();
        rows[i].change(&entry);
        entry_seal(&entry);
        Err err = {0};
        Entry out = {.lsn = 99};
        ErrCode code = entry_decode(encode(&entry), true, &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
        if (code != OK) assert_int_equal(out.lsn, 99);
    }
}

/* Header bytes that no Entry can have, the checksum mended. */
static void test_header_bytes(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        uint8_t value;
        ErrCode code;
    } rows[] = {
        {0, 'X', ERR_CORRUPT},      {4, 0, ERR_CORRUPT},
        {4, 2, ERR_FORMAT_VERSION}, {7, 1, ERR_FORMAT_VERSION}, /* operation 257 */
        {216, 1, ERR_CORRUPT},      {223, 1, ERR_CORRUPT},
        {78, 2, ERR_CORRUPT},  /* 128 KiB of attributes */
        {114, 1, ERR_CORRUPT}, /* 65536 extents */
        {118, 2, ERR_CORRUPT}, /* 128 KiB inline */
        {116, 12, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Entry entry = example_create();
        Str data = encode(&entry);
        bytes[rows[i].at] = rows[i].value;
        memset(bytes + 184, 0, 32);
        Sha256 checksum = sha256_of(bytes, ENTRY_HEADER_LEN + entry.attrs.len);
        memcpy(bytes + 184, checksum.bytes, 32);
        Err err = {0};
        Entry out;
        ErrCode code = entry_decode(data, true, &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
    }
    Entry entry = example_create();
    entry.op = (Op)77;
    entry_seal(&entry);
    Err err = {0};
    assert_code(entry_decode(encode(&entry), true, &entry, &err), ERR_FORMAT_VERSION, &err);
    assert_non_null(strstr(err.message, "77"));
}

static void test_largest(void **state)
{
    UNUSED(state);
    static char body[INLINE_MAX];
    Entry entry = example_create();
    entry.inline_body = str_of(body, sizeof body);
    entry.size = sizeof body;
    entry.body_digest = sha256_of(body, sizeof body);
    entry_seal(&entry);
    Err err = {0};
    Entry out;
    assert_ok(entry_decode(encode(&entry), true, &out, &err), &err);
    assert_int_equal(out.inline_body.len, INLINE_MAX);

    static uint8_t extents[EXTENTS_MAX * EXTENT_LEN];
    Enc enc = enc_of(extents, sizeof extents);
    Extent extent = {.body = example_id(1), .size = 5 * GIB};
    for (uint32_t i = 0; i < EXTENTS_MAX; i++) {
        extent.number = i;
        extent_encode(&extent, &enc);
    }
    entry = example_update();
    entry.extents = str_of(extents, sizeof extents);
    entry.extent_count = EXTENTS_MAX;
    entry.size = EXTENTS_MAX * (5 * GIB);
    entry_seal(&entry);
    assert_ok(entry_decode(encode(&entry), true, &out, &err), &err);
    assert_int_equal(extent_at(out.extents, EXTENTS_MAX - 1).number, EXTENTS_MAX - 1);
}

static void encode_unsealed(void *arg)
{
    Entry entry = example_create();
    entry.checksum = (Sha256){0};
    entry_encode(&entry, arg);
}

static void test_asserts(void **state)
{
    UNUSED(state);
    Enc enc = enc_of(bytes, sizeof bytes);
    assert_aborts(encode_unsealed, &enc, "checksum");
}

static void test_op_names(void **state)
{
    UNUSED(state);
    assert_string_equal(op_name(OP_CREATE), "CREATE");
    assert_string_equal(op_name(OP_NOOP), "NOOP");
    assert_string_equal(op_name((Op)(OP_MAX + 1)), "?");
    for (int op = OP_CREATE; op <= OP_MAX; op++)
        assert_string_not_equal(op_name((Op)op), "?");
}

/* entry_ends(), of a version at lsn 5 that is the null version or not. */
static void test_ends(void **state)
{
    UNUSED(state);
    enum {
        KEEP = ENTRY_FLAG_KEEP_OLDER,
        NULLS = ENTRY_FLAG_NULL_VERSION,
        MARK = ENTRY_FLAG_DELETE_MARKER,
        ALL = ENTRY_FLAG_ALL_VERSIONS
    };
    static const struct {
        Op op;
        unsigned flags;
        Lsn target;
        bool ends;      /* a version that is not null */
        bool ends_null; /* one that is */
        bool makes_null;
    } rows[] = {
        {OP_CREATE, 0, 0, true, true, true},
        {OP_CREATE, ALL, 0, true, true, true},
        {OP_UPDATE, 0, 0, true, true, true},
        {OP_UPDATE, KEEP, 0, false, false, false},
        {OP_UPDATE, KEEP | NULLS, 0, false, true, true},
        {OP_CREATE, KEEP | NULLS, 0, false, true, true},
        {OP_DELETE, ALL, 0, true, true, false},
        {OP_DELETE, 0, 0, true, true, false},
        {OP_DELETE, MARK, 0, false, false, false},
        {OP_DELETE, MARK | NULLS, 0, false, true, true},
        {OP_DELETE, 0, 5, true, true, false},
        {OP_DELETE, 0, 6, false, false, false},
        {OP_DELETE, NULLS, 6, false, true, true},
        {OP_DELETE, ALL, 6, true, true, false},
        {OP_DELETE, ALL | NULLS, 4, false, false, true},
        {OP_META, 0, 5, false, false, false},
        {OP_NOOP, 0, 0, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Entry entry = {.op = rows[i].op, .flags = (uint16_t)rows[i].flags, .term = 1, .lsn = 9};
        if (rows[i].target != 0) entry.target = (VersionId){.term = 1, .lsn = rows[i].target};
        VersionId version = {.term = 1, .lsn = 5};
        assert_int_equal(entry_ends(&entry, version, false), rows[i].ends);
        assert_int_equal(entry_ends(&entry, version, true), rows[i].ends_null);
        assert_int_equal(entry_makes_null(&entry), rows[i].makes_null);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_seal),         cmocka_unit_test(test_encode_head),
        cmocka_unit_test(test_check_body),   cmocka_unit_test(test_rules),
        cmocka_unit_test(test_header_bytes), cmocka_unit_test(test_largest),
        cmocka_unit_test(test_asserts),      cmocka_unit_test(test_op_names),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
