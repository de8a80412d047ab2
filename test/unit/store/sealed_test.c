#include "store/sealed.h"

#include "testing.h"

static Entry entry_with(Buf *attrs, Op op, Str body)
{
    Err err = {0};
    assert_ok(attr_set(attrs, ATTR_KEY, STR("key"), &err), &err);
    Entry entry = {.op = op,
                   .shard = 1,
                   .flags = body.len > 0 ? ENTRY_FLAG_DIGEST_KNOWN : 0,
                   .term = 2,
                   .lsn = 3,
                   .bucket = 4,
                   .size = body.len,
                   .attrs = buf_str(attrs),
                   .inline_body = body};
    if (body.len > 0) entry.body_digest = sha256_of(body.ptr, body.len);
    entry_seal(&entry);
    return entry;
}

/* Its bytes are its own, and read back they are the entry. */
static void is_what_was_sealed(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(attrs, 256);
    AUTO_BUF(all, ENTRY_MAX);
    Entry entry = entry_with(&attrs, OP_CREATE, STR("the body"));
    Sealed *sealed = NULL;
    assert_ok(sealed_new(&entry, &sealed, &err), &err);
    buf_clear(&attrs);
    assert_ok(buf_append_str(&all, sealed_head(sealed), &err), &err);
    assert_ok(buf_append_str(&all, buf_str(&sealed->body), &err), &err);
    assert_int_equal(all.len, sealed_len(sealed));
    Entry again;
    assert_ok(entry_decode(buf_str(&all), true, &again, &err), &err);
    assert_true(sha256_eq(&again.checksum, &entry.checksum));
    assert_true(str_eq(entry_key(&sealed->entry), STR("key")));
    sealed_drop_body(sealed);
    sealed_unref(sealed);
}

/* The body lasts as long as somebody needs it, the head as long as anybody is there. */
static void counted(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(attrs, 256);
    Entry entry = entry_with(&attrs, OP_CREATE, STR("the body"));
    Sealed *sealed = NULL;
    assert_ok(sealed_new(&entry, &sealed, &err), &err);
    Sealed *other = sealed_ref(sealed);
    sealed_drop_body(sealed);
    assert_int_equal(other->body.len, 8);
    sealed_unref(sealed);
    uint32_t len = sealed_len(other);
    sealed_drop_body(other);
    assert_int_equal(other->body.len, 0);
    assert_int_equal(sealed_len(other), len);
    assert_true(str_eq(entry_key(&other->entry), STR("key")));
    sealed_unref(other);
}

static void config(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(attrs, 2048);
    uint8_t bytes[SHARD_CONFIG_LEN_MAX];
    ShardConfig said = {.cfg_uid = {{1}}, .version = 5, .min_isr = 1, .member_count = 1, .isr = 1};
    said.members[0].root = (Uuid){{9}};
    Enc enc = enc_of(bytes, sizeof bytes);
    shard_config_encode(&said, &enc);
    assert_ok(attr_set(&attrs, ATTR_CONFIG, str_of(bytes, enc.len), &err), &err);
    Entry entry = entry_with(&attrs, OP_CONFIG, (Str){NULL, 0});
    Sealed *sealed = NULL;
    assert_ok(sealed_new(&entry, &sealed, &err), &err);
    assert_non_null(sealed->config);
    assert_int_equal(sealed->config->version, 5);
    sealed_drop_body(sealed);
    sealed_unref(sealed);

    buf_clear(&attrs);
    entry = entry_with(&attrs, OP_CONFIG, (Str){NULL, 0});
    assert_code(sealed_new(&entry, &sealed, &err), ERR_CORRUPT, &err);
    buf_clear(&attrs);
    assert_ok(attr_set(&attrs, ATTR_CONFIG, STR("no configuration"), &err), &err);
    entry = entry_with(&attrs, OP_CONFIG, (Str){NULL, 0});
    assert_int_not_equal(sealed_new(&entry, &sealed, &err), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_was_sealed),
        cmocka_unit_test(counted),
        cmocka_unit_test(config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
