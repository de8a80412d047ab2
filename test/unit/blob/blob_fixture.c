#include "blob_fixture.h"

#include "base/fault.h"
#include "disk/posix.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static Fixture *fixture_new(void)
{
    Fixture *fixture = mem_new(sizeof *fixture);
    fault_reset();
    clock_manual_init(&fixture->clock, 1700000000000);
    random_bytes(99, fixture->root.bytes, sizeof fixture->root.bytes);
    return fixture;
}

int fixture_sim(void **state)
{
    Err err = {0};
    Fixture *fixture = fixture_new();
    assert_ok(disk_sim_new(7, &fixture->disk, &err), &err);
    *state = fixture;
    return 0;
}

int fixture_posix(void **state)
{
    Err err = {0};
    Fixture *fixture = fixture_new();
    fixture->dir = tmp_dir_new();
    assert_ok(disk_posix_open(fixture->dir, &fixture->disk, &err), &err);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    Fixture *fixture = *state;
    fault_reset();
    disk_free(fixture->disk);
    tmp_dir_remove(fixture->dir);
    mem_free(fixture);
    return 0;
}

Packs *fixture_packs(Fixture *fixture, Disk *disk, uint64_t pack_size)
{
    Err err = {0};
    Packs *packs = NULL;
    PacksOptions options = {
        .root = fixture->root, .pack_size = pack_size, .clock = &fixture->clock.clock};
    assert_ok(packs_open(disk != NULL ? disk : fixture->disk, &options, &packs, &err), &err);
    return packs;
}

Blobs *fixture_blobs(Fixture *fixture, Disk *disk)
{
    Err err = {0};
    Blobs *blobs = NULL;
    BlobsOptions options = {.root = fixture->root, .chunk_size = CHUNK_SIZE_MIN};
    assert_ok(blobs_open(disk != NULL ? disk : fixture->disk, &options, &blobs, &err), &err);
    return blobs;
}

TestRecord *test_record(uint64_t n, size_t len)
{
    Err err = {0};
    TestRecord *test = mem_new(sizeof *test);
    Entry *entry = &test->record.entry;
    assert_true(len <= RECORD_BODY_MAX);
    (void)snprintf(test->key, sizeof test->key, "key %" PRIu64, n); /* fits */
    buf_init(&test->attrs, ATTRS_MAX);
    assert_ok(attr_set(&test->attrs, ATTR_KEY, str_from_cstr(test->key), &err), &err);
    random_bytes(n, test->body, len);
    *entry = (Entry){.op = OP_CREATE,
                     .shard = 5,
                     .flags = ENTRY_FLAG_DIGEST_KNOWN,
                     .term = 1,
                     .lsn = n,
                     .bucket = 77,
                     .time_ms = 1700000000000 + n,
                     .size = len,
                     .body_digest = sha256_of(test->body, len),
                     .attrs = buf_str(&test->attrs)};
    random_bytes(n + 1000000, entry->file.bytes, sizeof entry->file.bytes);
    random_bytes(n + 2000000, entry->body.bytes, sizeof entry->body.bytes);
    test->record.type = PACK_BODY;
    test->record.stored_body = str_of(test->body, len);
    return test;
}

void test_record_free(TestRecord *record)
{
    if (record == NULL) return;
    buf_deinit(&record->attrs);
    mem_free(record);
}

bool test_record_is(const PackRecord *got, uint64_t n, size_t len)
{
    AUTO(TestRecord, test_record_free) test = test_record(n, len);
    const Entry *a = &test->record.entry;
    const Entry *b = &got->entry;
    return got->type == PACK_BODY && a->op == b->op && a->shard == b->shard &&
           a->flags == b->flags && a->term == b->term && a->lsn == b->lsn &&
           id128_eq(a->file, b->file) && a->bucket == b->bucket && a->time_ms == b->time_ms &&
           id128_eq(a->body, b->body) && a->size == b->size &&
           sha256_eq(&a->body_digest, &b->body_digest) && str_eq(a->attrs, b->attrs) &&
           str_eq(test->record.stored_body, got->stored_body);
}

ErrCode append_number(Packs *packs, uint64_t n, size_t len, PackPlace *place, Err *err)
{
    AUTO(TestRecord, test_record_free) test = test_record(n, len);
    return packs_append(packs, &test->record, place, err);
}

ErrCode read_number(Packs *packs, const PackPlace *place, uint64_t n, size_t len, Err *err)
{
    AUTO_BUF(buf, 2 * MIB);
    PackRecord record;
    TRY(packs_read(packs, place, true, &buf, &record, err));
    if (test_record_is(&record, n, len)) return OK;
    return err_set(err, ERR_ABORTED, "record %" PRIu64 " has other bytes", n);
}
