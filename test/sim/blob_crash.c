/* Crash states of packs and blobs: what was acknowledged is there, whole; what was not has no
 * effect, and is never half there. */
#include "crash_states.h"

#include "base/clock.h"
#include "base/rng.h"
#include "blob/blobs.h"
#include "blob/packs.h"

#include <inttypes.h>
#include <string.h>

static const Uuid root = {{1, 2, 3}};

/* len bytes that follow from n, from a generator that all share. */
static void fill(uint64_t n, uint8_t *out, size_t len)
{
    Rng rng;
    rng_init(&rng, n);
    rng_bytes(&rng, out, len);
}

static Id128 id_of(uint64_t n)
{
    Id128 id;
    fill(n + 1000, id.bytes, sizeof id.bytes);
    return id;
}

/* ---- packs ---- */

#define RECORDS 30
#define BODY_MAX 4200
#define PACK_SIZE (48 * KIB)

typedef struct {
    PackPlace places[RECORDS];
    size_t appended; /* places known */
    size_t synced;   /* records that must be there */
} PackOracle;

static void *pack_oracle_new(uint64_t seed)
{
    UNUSED(seed);
    return mem_new(sizeof(PackOracle));
}

static size_t body_len(size_t i)
{
    return (i % 4) * (BODY_MAX / 3);
}

static void record_make(size_t i, uint8_t body[BODY_MAX], PackRecord *out)
{
    size_t len = body_len(i);
    fill(i, body, len);
    *out = (PackRecord){.type = PACK_BODY,
                        .entry = {.op = OP_CREATE,
                                  .shard = 1,
                                  .flags = ENTRY_FLAG_DIGEST_KNOWN,
                                  .term = 1,
                                  .lsn = i + 1,
                                  .file = id_of(i),
                                  .bucket = 5,
                                  .body = id_of(i + 100),
                                  .size = len,
                                  .body_digest = sha256_of(body, len)},
                        .stored_body = str_of(body, len)};
}

static bool record_is(const PackRecord *got, size_t i)
{
    uint8_t body[BODY_MAX];
    PackRecord wanted;
    record_make(i, body, &wanted);
    return got->entry.lsn == i + 1 && id128_eq(got->entry.file, wanted.entry.file) &&
           id128_eq(got->entry.body, wanted.entry.body) &&
           str_eq(got->stored_body, wanted.stored_body);
}

static ErrCode packs_opened(Disk *disk, Packs **out, Err *err)
{
    static ManualClock clock;
    clock_manual_init(&clock, 1);
    PacksOptions options = {.root = root, .pack_size = PACK_SIZE, .clock = &clock.clock};
    return packs_open(disk, &options, out, err);
}

/* Batches of one to six records, of which a pack takes a few. */
static ErrCode packs_run(Disk *disk, void *ctx, Err *err)
{
    PackOracle *oracle = ctx;
    AUTO(Packs, packs_free) packs = NULL;
    TRY(packs_opened(disk, &packs, err));
    for (size_t i = 0; i < RECORDS; i++) {
        uint8_t body[BODY_MAX];
        PackRecord record;
        record_make(i, body, &record);
        TRY(packs_append(packs, &record, &oracle->places[i], err));
        oracle->appended = i + 1;
        if (i % 9 != 0 && i % 9 != 3 && i % 9 != 8) continue;
        TRY(packs_sync(packs, err));
        oracle->synced = i + 1;
    }
    return OK;
}

static ErrCode note_record(void *ctx, const PackRecord *record, const PackPlace *place, Err *err)
{
    uint64_t *found = ctx;
    uint64_t lsn = record->entry.lsn;
    if (lsn == 99) return OK; /* an earlier recovery's */
    if (lsn < 1 || lsn > RECORDS || !record_is(record, lsn - 1))
        return err_set(err, ERR_ABORTED, "a record that nobody wrote, at %" PRIu64, place->offset);
    *found |= (uint64_t)1 << (lsn - 1);
    return OK;
}

static ErrCode packs_scan_all(Packs *packs, uint64_t *found, Err *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    TRY(packs_list(packs, &numbers, &count, err));
    AUTO(uint64_t, mem_free) owned = numbers;
    for (size_t i = 0; i < count; i++) {
        uint64_t torn_at = 0;
        TRY(packs_scan(packs, owned[i], note_record, found, &torn_at, err));
    }
    return OK;
}

/* What was synced is found, by place and by scan, and appending goes on. */
static ErrCode packs_verify(Disk *disk, const void *ctx, uint64_t *outcome, Err *err)
{
    const PackOracle *oracle = ctx;
    uint64_t found = 0;
    uint8_t body[BODY_MAX];
    PackRecord record;
    PackPlace place;
    AUTO(Packs, packs_free) packs = NULL;
    AUTO_BUF(buf, MIB);
    TRY(packs_opened(disk, &packs, err));
    for (size_t i = 0; i < oracle->appended; i++) {
        ErrCode code = packs_read(packs, &oracle->places[i], true, &buf, &record, err);
        if (code != OK && i < oracle->synced) return err_wrap(err, code, "record %zu", i + 1);
        if (code == OK && !record_is(&record, i))
            return err_set(err, ERR_ABORTED, "record %zu has other bytes", i + 1);
    }
    TRY(packs_scan_all(packs, &found, err));
    for (size_t i = 0; i < oracle->synced; i++)
        if ((found >> i & 1) == 0) return err_set(err, ERR_ABORTED, "no record %zu", i + 1);
    record_make(98, body, &record);
    TRY(packs_append(packs, &record, &place, err));
    TRY(packs_sync(packs, err));
    *outcome = found;
    return OK;
}

/* ---- blobs ---- */

#define BLOBS 3
static const size_t sizes[BLOBS] = {5000, 0, 66000};

typedef struct {
    size_t finished; /* extents that must be there */
} BlobOracle;

static void *blob_oracle_new(uint64_t seed)
{
    UNUSED(seed);
    return mem_new(sizeof(BlobOracle));
}

static ErrCode blobs_opened(Disk *disk, Blobs **out, Err *err)
{
    return blobs_open(disk, &(BlobsOptions){.root = root, .chunk_size = CHUNK_SIZE_MIN}, out, err);
}

static ErrCode blob_write(Blobs *blobs, size_t i, Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    AUTO(uint8_t, mem_free) data = mem_new(sizes[i] + 1);
    Extent extent;
    fill(i, data, sizes[i]);
    TRY(blob_writer_open(blobs, id_of(i), 7, &writer, err));
    TRY(blob_writer_write(writer, data, sizes[i], err));
    return blob_writer_finish(writer, &(BlobInfo){.shard = 1}, &extent, err);
}

static ErrCode blobs_run(Disk *disk, void *ctx, Err *err)
{
    BlobOracle *oracle = ctx;
    AUTO(Blobs, blobs_free) blobs = NULL;
    TRY(blobs_opened(disk, &blobs, err));
    for (size_t i = 0; i < BLOBS; i++) {
        TRY(blob_write(blobs, i, err));
        oracle->finished = i + 1;
    }
    return OK;
}

static ErrCode blob_verify(Blobs *blobs, size_t i, Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(uint8_t, mem_free) wanted = mem_new(sizes[i] + 1);
    AUTO(uint8_t, mem_free) got = mem_new(sizes[i] + CHUNK_SIZE_MIN);
    size_t len = 0;
    fill(i, wanted, sizes[i]);
    TRY(blob_reader_open(blobs, id_of(i), 7, &reader, err));
    for (uint64_t chunk = 0; chunk < blob_reader_footer(reader)->chunk_count; chunk++) {
        size_t part = 0;
        TRY(blob_reader_chunk(reader, chunk, got + len, &part, err));
        len += part;
    }
    if (len != sizes[i] || memcmp(wanted, got, len) != 0)
        return err_set(err, ERR_ABORTED, "extent of body %zu has other bytes", i);
    return OK;
}

static ErrCode refuse_staged(void *ctx, const char *name, bool is_dir, Err *err)
{
    UNUSED(ctx);
    UNUSED(is_dir);
    return err_set(err, ERR_ABORTED, "staging/%s is left", name);
}

/* Each finished extent is whole; any other is whole or not there, and promises nothing: no entry
 * names it. */
static ErrCode blobs_verify(Disk *disk, const void *ctx, uint64_t *outcome, Err *err)
{
    const BlobOracle *oracle = ctx;
    AUTO(Blobs, blobs_free) blobs = NULL;
    TRY(blobs_opened(disk, &blobs, err));
    TRY(disk_list(disk, "staging", refuse_staged, NULL, err));
    for (size_t i = 0; i < BLOBS; i++) {
        ErrCode code = blob_verify(blobs, i, err);
        if (code != OK && (code != ERR_NOT_FOUND || i < oracle->finished))
            return err_wrap(err, code, "body %zu of %zu finished", i, oracle->finished);
    }
    *outcome = 0;
    return OK;
}

int main(void)
{
    static const CrashWorkload packs = {.name = "packs",
                                        .oracle_new = pack_oracle_new,
                                        .oracle_free = mem_free,
                                        .run = packs_run,
                                        .verify = packs_verify};
    static const CrashWorkload blobs = {.name = "blobs",
                                        .oracle_new = blob_oracle_new,
                                        .oracle_free = mem_free,
                                        .run = blobs_run,
                                        .verify = blobs_verify};
    CrashStates *states = crash_states_new(&(CrashOptions){
        .seed = 1, .required = 20000, .sampled = 2500, .recovery_per_million = 20000});
    crash_states_run(states, &packs);
    crash_states_run(states, &blobs);
    return crash_states_finish(states);
}
