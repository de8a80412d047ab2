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

/* Which pending units image number `way` keeps; from the middle on most of them. */
static void choose_kept(const CrashWork *crash, size_t way, Rng *rng, uint64_t *keep, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        uint64_t random = rng_u64(rng);
        keep[i] = way == 0 ? 0 : way == 1 ? UINT64_MAX : random;
        if (way > crash->ways / 2) keep[i] |= rng_u64(rng);
    }
}

size_t crash_everywhere(Fixture *fixture, const CrashWork *crash, size_t *images)
{
    size_t bad = 0;
    Rng rng;
    rng_init(&rng, crash->seed);
    *images = 0;
    for (uint64_t stop = 0;; stop++) {
        Err err = {0};
        AUTO(Disk, disk_free) disk = NULL;
        assert_ok(disk_sim_new(stop, &disk, &err), &err);
        disk_sim_stop_at(disk, stop);
        crash->work(fixture, disk, crash->run);
        bool stopped = disk_sim_stopped(disk);
        size_t words = (disk_sim_pending(disk) + 63) / 64 + 1;
        AUTO(uint64_t, mem_free) keep = mem_new_array(words, sizeof *keep);
        for (size_t way = 0; way < crash->ways; way++) {
            AUTO(Disk, disk_free) image = NULL;
            choose_kept(crash, way, &rng, keep, words);
            assert_ok(disk_sim_crash_image(disk, keep, stop, &image, &err), &err);
            bad += crash->violations(fixture, image, crash->run);
            ++*images;
        }
        if (!stopped) return bad;
    }
}

void crash_shows_bugs(Fixture *fixture, const CrashWork *crash, const char *const *bugs,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t images = 0;
        fault_plant(bugs[i], true);
        size_t bad = crash_everywhere(fixture, crash, &images);
        fault_reset();
        if (bad == 0) fail_msg("%s was not seen", bugs[i]);
    }
}
