/* Lines, names and anchors: what is written is read, and nothing else. */
#include "testing.h"

#include <string.h>

#include "audit/audit_line.h"

static const AuditKey key = {{1, 2, 3}};
static const AuditKey other = {{1, 2, 4}};

static void test_line(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(line, AUDIT_LINE_MAX);
    Sha256 prev = audit_start(&key);
    AuditLine parsed;
    assert_ok(audit_line_begin(&line, 18446744073709551615ULL, &err), &err);
    assert_ok(buf_append_str(&line, STR(",\"event\":\"x\""), &err), &err);
    assert_ok(audit_line_end(&line, &prev, &err), &err);
    assert_int_equal(line.data[line.len - 1], '\n');
    assert_true(audit_line_parse(str_slice(buf_str(&line), 0, line.len - 1), &parsed));
    assert_true(parsed.seq == UINT64_MAX);
    assert_true(sha256_eq(&parsed.prev, &prev));
    Sha256 foreign = audit_start(&other);
    assert_false(sha256_eq(&prev, &foreign));
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_no_line(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "",
        "{\"seq\":1,\"prev\":\"\"}",
        "{\"seq\":0,\"prev\":\"" HEX "\"}",
        "{\"seq\":-1,\"prev\":\"" HEX "\"}",
        "{\"seq\":1 ,\"prev\":\"" HEX "\"}",
        "{\"seq\":18446744073709551616,\"prev\":\"" HEX "\"}",
        "{\"sep\":1,\"prev\":\"" HEX "\"}",
        "{\"seq\":1,\"prev\":\"" HEX "0\"}",
        "{\"seq\":1,\"prev\":\"" HEX "\"} ",
        " {\"seq\":1,\"prev\":\"" HEX "\"}",
        "{\"seq\":1,\"prev\":\"g" HEX "\"}",
    };
    AuditLine parsed;
    assert_true(audit_line_parse(STR("{\"seq\":1,\"prev\":\"" HEX "\"}"), &parsed));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (audit_line_parse(str_from_cstr(rows[i]), &parsed)) fail_msg("%s", rows[i]);
    }
}

static void test_names(void **state)
{
    UNUSED(state);
    char name[AUDIT_NAME_SIZE];
    uint64_t number = 0;
    static const uint64_t numbers[] = {1, 999999999999ULL, 1000000000000ULL, UINT64_MAX};
    static const char *const bad[] = {"audit-.jsonl",
                                      "audit-1.jsonl",
                                      "audit-000000000000.jsonl",
                                      "audit-0000000000001.jsonl",
                                      "audit-000000000001.json",
                                      "anchor.json",
                                      "",
                                      "audit-00000000000a.jsonl"};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        audit_file_name(numbers[i], name);
        assert_true(audit_file_number(name, &number));
        assert_true(number == numbers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (audit_file_number(bad[i], &number)) fail_msg("%s", bad[i]);
    }
}

static void test_anchor(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(text, AUDIT_ANCHOR_MAX);
    AuditAnchor anchor = {.first_seq = 5, .last_seq = 77};
    AuditAnchor back;
    anchor.first_prev.bytes[0] = 9;
    anchor.last.bytes[31] = 7;
    assert_ok(audit_anchor_encode(&anchor, &key, &text, &err), &err);
    assert_ok(audit_anchor_decode(buf_str(&text), &key, &back, &err), &err);
    assert_true(back.first_seq == 5 && back.last_seq == 77);
    assert_true(sha256_eq(&back.first_prev, &anchor.first_prev));
    assert_true(sha256_eq(&back.last, &anchor.last));
    assert_code(audit_anchor_decode(buf_str(&text), &other, &back, &err), ERR_CORRUPT, &err);
    for (size_t i = 0; i + 1 < text.len; i++) { /* but the newline */
        text.data[i] ^= 1;
        assert_code(audit_anchor_decode(buf_str(&text), &key, &back, &err), ERR_CORRUPT, &err);
        text.data[i] ^= 1;
        Str cut = str_slice(buf_str(&text), 0, i);
        assert_code(audit_anchor_decode(cut, &key, &back, &err), ERR_CORRUPT, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_no_line),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_anchor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
