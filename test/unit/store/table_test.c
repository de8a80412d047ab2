/* The table of un-applied records against a plain list, with random changes. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "store/table.h"

#define NAMES 6
#define RECORDS 400

/* What the table should hold: records oldest first. */
typedef struct {
    Record *records[RECORDS];
    size_t count;
} Plain;

static Record *make(Rng *rng, Lsn lsn, unsigned name)
{
    char key[8];
    snprintf(key, sizeof key, "k%u", name);
    AUTO_BUF(attrs, 256);
    Err err = {0};
    assert_ok(attr_set(&attrs, ATTR_KEY, str_from_cstr(key), &err), &err);
    Entry entry = {.op = OP_CREATE,
                   .shard = 1,
                   .flags = ENTRY_FLAG_DIGEST_KNOWN,
                   .term = 1,
                   .lsn = lsn,
                   .bucket = 1 + name % 2,
                   .file = {.bytes = {1, (uint8_t)name}},
                   .body = id128_random(rng),
                   .size = 3,
                   .attrs = buf_str(&attrs),
                   .inline_body = STR("abc")};
    entry.body_digest = sha256_of("abc", 3);
    entry_seal(&entry);
    Sealed *sealed = NULL;
    assert_ok(sealed_new(&entry, &sealed, &err), &err);
    Record *record = record_new(sealed);
    sealed_drop_body(sealed); /* the record has its own */
    sealed_unref(sealed);
    return record;
}

static const Record *expected(const Plain *plain, unsigned name, bool committed_only)
{
    char key[8];
    snprintf(key, sizeof key, "k%u", name);
    for (size_t i = plain->count; i-- > 0;) {
        const Record *r = plain->records[i];
        if (!str_eq(r->key, str_from_cstr(key))) continue;
        if (!committed_only || r->state == RECORD_COMMITTED) return r;
    }
    return NULL;
}

static void compare(Table *table, const Plain *plain)
{
    assert_int_equal(table_count(table), plain->count);
    table_read_lock(table);
    for (unsigned name = 0; name < NAMES; name++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", name);
        FileId file = {.bytes = {1, (uint8_t)name}};
        for (int committed = 0; committed < 2; committed++) {
            const Record *want = expected(plain, name, committed);
            assert_ptr_equal(table_find(table, 1 + name % 2, str_from_cstr(key), committed), want);
            assert_ptr_equal(table_find_id(table, file, committed), want);
            assert_null(table_find(table, 2 - name % 2, str_from_cstr(key), committed));
        }
    }
    /* Names of bucket 1 in order, committed ones only. */
    Str from = STR("");
    for (unsigned name = 0; name < NAMES; name += 2) {
        const Record *want = expected(plain, name, true);
        if (want == NULL) continue;
        Str key = {NULL, 0};
        assert_ptr_equal(table_next_name(table, 1, from, name == 0, true, &key), want);
        from = key;
    }
    Str key = {NULL, 0};
    assert_null(table_next_name(table, 1, from, from.len == 0, true, &key));
    table_unlock(table);
}

/* Each record goes its way: added, logged, committed, removed, the oldest of a name first. */
static void test_model(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        Rng rng;
        rng_init(&rng, seed);
        Table *table = table_new(seed);
        Plain plain = {.count = 0};
        Lsn lsn = 0;
        for (int step = 0; step < RECORDS; step++) {
            size_t pick = plain.count == 0 ? 0 : (size_t)rng_below(&rng, plain.count);
            Record *r = plain.count == 0 ? NULL : plain.records[pick];
            if (r == NULL || rng_below(&rng, 2) == 0) {
                r = make(&rng, ++lsn, (unsigned)rng_below(&rng, NAMES));
                r->min_segment = lsn / 10 + 1;
                table_add(table, r);
                plain.records[plain.count++] = r;
            } else if (r->pos.segment == 0) {
                assert_int_equal(r->sealed->body.len, 3);
                table_logged(table, r, (WalPos){r->min_segment + 1, 4096});
                assert_int_equal(r->sealed->body.len, 0);
            } else if (r->state == RECORD_PENDING) {
                table_commit(table, r);
            } else {
                table_remove(table, r);
                plain.count--;
                memmove(&plain.records[pick], &plain.records[pick + 1],
                        (plain.count - pick) * sizeof plain.records[0]);
            }
            compare(table, &plain);
        }
        uint64_t oldest = UINT64_MAX;
        for (size_t i = 0; i < plain.count; i++) {
            const Record *r = plain.records[i];
            oldest = MIN(oldest, r->pos.segment != 0 ? r->pos.segment : r->min_segment);
        }
        assert_int_equal(table_oldest_segment(table), oldest);
        table_free(table); /* with what is left in it */
    }
}

static void test_bucket_busy(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 1);
    Table *table = table_new(1);
    Record *r = make(&rng, 1, 0);
    assert_false(table_bucket_busy(table, 1));
    table_add(table, r);
    assert_true(table_bucket_busy(table, 1));
    assert_false(table_bucket_busy(table, 2));
    table_logged(table, r, (WalPos){1, 4096});
    table_commit(table, r);
    assert_false(table_bucket_busy(table, 1));
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_bucket_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
