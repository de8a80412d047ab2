/* bench-replay: how long a start takes to verify and replay a log, with one thread and with more.
 *
 *   bench-replay --dir DIR [--entries N] [--size BYTES] [--rounds N] [--threads T] [--segment
 * BYTES]
 *
 * Makes a log of N entries of BYTES in DIR (64 shards, none applied), then opens it in turn with
 * one thread and with T, from the page cache, as after kill -9. Prints one JSON object: medians in
 * seconds, and the ratio of one thread to T. DIR is to be empty; what was made there stays. */
#include "disk/posix.h"
#include "store/store.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX 99
#define SHARDS 64
#define BATCH 64

typedef struct {
    const char *dir;
    uint64_t entries;
    uint64_t size;
    uint64_t segment;
    unsigned rounds;
    unsigned threads;
} Options;

static uint8_t body[INLINE_MAX];

_Noreturn static void die(const char *what, const Err *err)
{
    fprintf(stderr, "bench-replay: %s: %s\n", what, err_text(err));
    exit(1);
}

static Store *store_made(Disk *disk, const Options *options, uint64_t incarnation, unsigned threads,
                         StoreOpened *opened)
{
    Err err = {0};
    Store *store = NULL;
    StoreOptions made = {.root = {.uuid = {{1}}, .cluster = {{2}}, .incarnation = incarnation},
                         .wal_segment_size = options->segment,
                         .verify_threads = threads,
                         .clock = clock_real(),
                         .seed = incarnation};
    if (store_open(disk, &made, &store, opened, &err) != OK) die("open", &err);
    return store;
}

static void log_one(Store *store, Rng *rng, uint64_t number, uint64_t size, Entry last[SHARDS])
{
    Err err = {0};
    char key[64];
    ShardId shard = shard_id(1, number % SHARDS);
    Entry *before = &last[number % SHARDS];
    (void)snprintf(key, sizeof key, "replayed/%031" PRIu64, number); /* 40 bytes */
    AUTO_BUF(attrs, ATTRS_MAX);
    if (attr_set(&attrs, ATTR_KEY, str_from_cstr(key), &err) != OK) die("entry", &err);
    rng_bytes(rng, body, 32);
    Entry entry = {.op = OP_CREATE,
                   .shard = shard,
                   .flags = ENTRY_FLAG_DIGEST_KNOWN,
                   .term = 1,
                   .lsn = before->lsn + 1,
                   .bucket = 7,
                   .file = file_id_make(shard, 1, rng),
                   .record_id = id128_random(rng),
                   .prev_hash = before->checksum,
                   .time_ms = 1,
                   .size = size,
                   .attrs = buf_str(&attrs),
                   .inline_body = str_of(body, size),
                   .body_digest = sha256_of(body, size)};
    entry_seal(&entry);
    Sealed *sealed = NULL;
    if (sealed_new(&entry, &sealed, &err) != OK) die("entry", &err);
    Record *record = store_add(store, sealed);
    sealed_drop_body(sealed);
    sealed_unref(sealed);
    if (store_log_append(store, record, &err) != OK) die("append", &err);
    if (number % BATCH == BATCH - 1 && store_log_sync(store, &err) != OK) die("sync", &err);
    store_logged(store, record); /* gives the body's memory back */
    *before = entry;
}

static void log_make(Disk *disk, const Options *options)
{
    static Entry last[SHARDS];
    Err err = {0};
    Rng rng;
    StoreOpened opened;
    rng_init(&rng, 1);
    Store *store = store_made(disk, options, 1, 1, &opened);
    for (uint64_t i = 0; i < options->entries; i++)
        log_one(store, &rng, i, options->size, last);
    if (store_log_sync(store, &err) != OK) die("sync", &err);
    store_free(store);
}

static double open_seconds(Disk *disk, const Options *options, uint64_t incarnation,
                           unsigned threads)
{
    StoreOpened opened;
    uint64_t start = clock_boot_ns(clock_real());
    Store *store = store_made(disk, options, incarnation, threads, &opened);
    uint64_t end = clock_boot_ns(clock_real());
    store_free(store);
    if (opened.unapplied != options->entries) {
        fprintf(stderr, "bench-replay: %" PRIu64 " entries replayed\n", opened.unapplied);
        exit(1);
    }
    return (double)(end - start) / 1e9;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, order);
    return values[count / 2];
}

static void measure(Disk *disk, const Options *options)
{
    double one[ROUNDS_MAX];
    double many[ROUNDS_MAX];
    double ratios[ROUNDS_MAX];
    uint64_t incarnation = 2;
    for (unsigned i = 0; i < options->rounds; i++) {
        one[i] = open_seconds(disk, options, incarnation++, 1);
        many[i] = open_seconds(disk, options, incarnation++, options->threads);
        ratios[i] = one[i] / many[i];
    }
    double ratio = median(ratios, options->rounds);
    double one_median = median(one, options->rounds);
    double many_median = median(many, options->rounds);
    printf("{\"entries\": %" PRIu64 ", \"size\": %" PRIu64 ", \"threads\": %u, "
           "\"one_seconds\": %.3f, \"threads_seconds\": %.3f, \"ratio\": %.2f}\n",
           options->entries, options->size, options->threads, one_median, many_median, ratio);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"dir", 1, NULL, 'd'},     {"entries", 1, NULL, 'n'},
                                          {"size", 1, NULL, 's'},    {"rounds", 1, NULL, 'r'},
                                          {"threads", 1, NULL, 't'}, {"segment", 1, NULL, 'g'},
                                          {NULL, 0, NULL, 0}};
    Options options = {.entries = 100000, .size = 4096, .rounds = 3, .threads = 2};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'd': options.dir = optarg; break;
        case 'n': options.entries = strtoull(optarg, NULL, 10); break;
        case 's': options.size = strtoull(optarg, NULL, 10); break;
        case 'r': options.rounds = (unsigned)strtoul(optarg, NULL, 10); break;
        case 't': options.threads = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'g': options.segment = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (options.dir == NULL || options.entries < 1 || options.size < 32 ||
        options.size > INLINE_MAX || options.rounds < 1 || options.rounds > ROUNDS_MAX ||
        options.threads < 1 || options.threads > WAL_THREADS_MAX) {
        fprintf(stderr, "usage: bench-replay --dir DIR [--entries N] [--size 32..65536] "
                        "[--rounds N] [--threads 1..8] [--segment BYTES]\n");
        return 2;
    }
    Err err = {0};
    Disk *disk = NULL;
    if (disk_posix_open(options.dir, &disk, &err) != OK) die(options.dir, &err);
    log_make(disk, &options);
    measure(disk, &options);
    disk_free(disk);
    return 0;
}
