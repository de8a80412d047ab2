/* holdfast bench: drives a server for a while and tells how fast it answered.
 *
 *   fill (PUT, not counted) -> measured, until the time is over -> all that was stored is deleted
 *
 * Files that may be read stand in `live`. A file is taken out of it before it is deleted, and not
 * while somebody reads it, so that every failure that is told is one. */
#include "cli/bench.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/latency.h"
#include "cli/settings.h"
#include "cli/show.h"
#include "config/config.h"

#define BLOCK_BYTES (1 * MIB) /* bodies are this, over and over */
#define SIZE_MAX_BYTES (64 * GIB)
#define SIZE_PRESET 4096
#define SECONDS_PRESET 10
#define LIVE_MAX 100000 /* more files are not kept: PUT writes over one of them */
#define FILL_FILES 64   /* before the measured time, or two a connection */
#define FILL_BYTES (256 * MIB)
#define PREFIX_SIZE 48
#define S3_URL_PRESET "http://127.0.0.1:9000"
#define REGION_PRESET "us-east-1"
#define TRIES 8 /* to find a file that nobody reads */

const CommandSpec spec_bench = {
    .name = "bench",
    .arguments = "[OPTIONS] [BUCKET]",
    .summary = "measures how fast a server answers",
    .usage = "bench [--size SIZE] [--mix MIX] [--seconds N] [--connections N] [--json] [BUCKET]\n"
             "bench --door s3 [--url URL] [--key ID.SECRET] [--region REGION] [OPTIONS] BUCKET",
    .text =
        "Stores, reads, lists and deletes files of one size below a prefix of its own in BUCKET\n"
        "(files, unless told) over several connections, and tells how many requests of each kind\n"
        "were answered, how fast, and how many failed. Nothing is tried again. At the end, also\n"
        "after Ctrl-C, it deletes what it has stored; a second Ctrl-C leaves it there. This side\n"
        "works in one thread: a fast server is not measured to its end.\n"
        "Multipart (of --door s3) is a whole file in parts of --part-size, one after the other.\n"
        "--door s3 asks any server of S3 at --url (http://127.0.0.1:9000, unless told), by\n"
        "Signature Version 4 and addresses by path; ID and SECRET are its access key and secret.",
    .example = "  holdfast bench --seconds 5\n"
               "  holdfast bench --size 1MiB --mix put=1,get=3 --connections 16 --json\n"
               "  holdfast bench --door s3 files",
    .options = OPTION_BENCH | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET,
    .args_max = 1,
};

typedef enum { PHASE_FILL, PHASE_MEASURE, PHASE_CLEAN } Phase;

typedef struct {
    uint32_t number; /* of its key */
    uint32_t readers;
} File;

typedef struct {
    uint64_t requests; /* that were answered well */
    uint64_t errors;
    uint64_t bytes;
    Latency latency;
} Figures;

typedef struct {
    ClientCall call;
    BenchOp op;
    uint32_t number;
    uint64_t begun_ns;
    uint64_t done_bytes; /* of the body, there or here */
    uint64_t body_bytes; /* that this request sends */
    BenchParts parts;    /* of a multipart */
    Buf key;
    Buf target;
    Buf headers;
    struct Bench *bench;
} Item;

typedef struct Bench {
    Session *session;
    const BenchDoor *door;
    Str bucket;
    char prefix[PREFIX_SIZE];
    uint64_t size; /* of each file */
    uint64_t part_size;
    uint64_t seconds;
    BenchMix mix;
    Phase phase;
    uint8_t *block;
    File *live;
    size_t live_count;
    uint32_t *where; /* in live, by number */
    uint32_t where_count;
    uint32_t next_number;
    uint32_t fill_left;
    uint64_t start_ns; /* of the measured time */
    uint64_t last_ns;  /* when its last request ended */
    Listing *listing;
    uint32_t clean_number; /* the next to delete, where there is no listing */
    char *s3_key;          /* "ID.SECRET", owned, like host */
    char *s3_host;
    uint64_t cleaned;
    uint64_t left; /* could not be deleted */
    Figures figures[BENCH_OPS];
} Bench;

/* Set by Ctrl-C. Not the session's, which would break off requests whose outcome is then not known:
 * a PUT that ends behind the listing of what to delete would be left. */
static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = number;
}

static void watch_stop(void)
{
    struct sigaction action = {.sa_handler = on_stop};
    action.sa_flags = (int)SA_RESETHAND; /* the second one ends the process */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static uint64_t now_ns(void)
{
    return clock_boot_ns(clock_real());
}

/* ---- files ---- */

static void live_add(Bench *bench, uint32_t number)
{
    if (bench->live_count == LIVE_MAX) return;
    while (number >= bench->where_count) {
        bench->where_count = MAX(2 * bench->where_count, (uint32_t)1024);
        bench->where = mem_resize(bench->where, bench->where_count * sizeof *bench->where);
    }
    bench->where[number] = (uint32_t)bench->live_count;
    bench->live[bench->live_count++] = (File){.number = number};
}

static File *live_any(Bench *bench)
{
    return &bench->live[rng_below(&bench->session->rng, bench->live_count)];
}

static File *live_find(Bench *bench, uint32_t number)
{
    if (number >= bench->where_count) return NULL;
    uint32_t at = bench->where[number]; /* of a file that is not live it says nothing */
    return at < bench->live_count && bench->live[at].number == number ? &bench->live[at] : NULL;
}

/* Takes a file that nobody reads out of live; false: there is none at hand. */
static bool live_take(Bench *bench, uint32_t *number)
{
    for (unsigned i = 0; i < TRIES && bench->live_count > bench->session->options.connections;
         i++) {
        File *file = live_any(bench);
        if (file->readers > 0) continue;
        *number = file->number;
        *file = bench->live[--bench->live_count];
        bench->where[file->number] = (uint32_t)(file - bench->live);
        return true;
    }
    return false;
}

/* ---- bodies ---- */

static ErrCode send_body(void *ctx, void *data, size_t max, size_t *len, Err *err)
{
    Item *item = ctx;
    if (stopped != 0) return err_set(err, ERR_ABORTED, "stopped");
    size_t at = (size_t)(item->done_bytes % BLOCK_BYTES);
    uint64_t left = item->body_bytes - item->done_bytes;
    *len = (size_t)MIN(MIN((uint64_t)max, left), (uint64_t)(BLOCK_BYTES - at));
    memcpy(data, item->bench->block + at, *len);
    item->done_bytes += *len;
    return OK;
}

static ErrCode rewind_body(void *ctx, Err *err)
{
    Item *item = ctx;
    UNUSED(err);
    item->done_bytes = 0;
    return OK;
}

static ErrCode receive_body(void *ctx, Str piece, Err *err)
{
    Item *item = ctx;
    UNUSED(err);
    item->done_bytes += piece.len;
    return OK;
}

/* ---- requests ---- */

static void choose(Bench *bench, Item *item)
{
    Rng *rng = &bench->session->rng;
    item->op = bench_mix_at(&bench->mix, (unsigned)rng_below(rng, bench->mix.sum));
    if (item->op == BENCH_GET && bench->live_count > 0) {
        File *file = live_any(bench);
        file->readers++;
        item->number = file->number;
        return;
    }
    if (item->op == BENCH_LIST) return;
    if (item->op == BENCH_DELETE && live_take(bench, &item->number)) return;
    if (item->op != BENCH_MULTIPART)
        item->op = BENCH_PUT; /* also where there is nothing to read or delete */
    item->number = bench->live_count < LIVE_MAX ? bench->next_number++ : live_any(bench)->number;
}

static ErrCode next_to_clean(Bench *bench, Item *item, bool *found, Err *err)
{
    if (bench->door->deletes_by_number) {
        *found = bench->clean_number < bench->next_number;
        item->op = BENCH_DELETE;
        if (!*found) return OK;
        return buf_printf(&item->key, err, "%s%08" PRIu32, bench->prefix, bench->clean_number++);
    }
    ListingEntry entry;
    TRY(listing_next(bench->listing, &entry, found, err));
    if (!*found) return OK;
    item->op = BENCH_DELETE;
    if (!str_starts_with(entry.file.key, str_from_cstr(bench->prefix)))
        return err_set(err, ERR_PEER, "the listing has a key outside of the prefix");
    return buf_append_str(&item->key, entry.file.key, err);
}

static ErrCode bench_next(void *ctx, void *arg, bool *found, Err *err)
{
    Bench *bench = ctx;
    Item *item = arg;
    item->bench = bench;
    buf_init(&item->key, REMOTE_TARGET_MAX);
    buf_init(&item->target, REMOTE_TARGET_MAX);
    buf_init(&item->headers, REMOTE_TARGET_MAX);
    bench_parts_init(&item->parts, bench->size, bench->part_size);
    if (bench->phase == PHASE_CLEAN) return next_to_clean(bench, item, found, err);
    if (bench->phase == PHASE_FILL) {
        *found = bench->fill_left > 0 && stopped == 0;
        if (!*found) return OK;
        bench->fill_left--;
        item->op = BENCH_PUT;
        item->number = bench->next_number++;
    } else {
        *found = stopped == 0 && now_ns() - bench->start_ns < bench->seconds * 1000000000ULL;
        if (!*found) return OK;
        choose(bench, item);
    }
    return buf_printf(&item->key, err, "%s%08" PRIu32, bench->prefix, item->number);
}

static void part_header(void *ctx, Str name, Str value)
{
    Item *item = ctx;
    bench_parts_header(&item->parts, name, value);
}

/* The body of a request: of a file, of a part, what completes an upload, or none. */
static void choose_body(const Bench *bench, Item *item)
{
    ClientCall *call = &item->call;
    bool parts = item->op == BENCH_MULTIPART;
    bool sends_part = parts && item->parts.step == BENCH_PARTS_SEND;
    bool completes = parts && item->parts.step == BENCH_PARTS_COMPLETE;
    bool sends = item->op == BENCH_PUT || sends_part;
    item->body_bytes = sends_part ? bench_parts_length(&item->parts) : bench->size;
    call->body = completes ? buf_str(&item->parts.xml) : (Str){NULL, 0};
    call->has_body = sends || completes;
    call->body_size = sends ? item->body_bytes : call->body.len;
    call->send = sends ? send_body : NULL;
    call->rewind = sends ? rewind_body : NULL;
    call->header_came = sends_part ? part_header : NULL;
    call->receive = item->op == BENCH_GET ? receive_body : NULL;
}

static ErrCode bench_begin(void *ctx, void *arg, Err *err)
{
    const Bench *bench = ctx;
    Item *item = arg;
    BenchTarget target = {.bucket = bench->bucket,
                          .prefix = str_from_cstr(bench->prefix),
                          .key = buf_str(&item->key),
                          .parts = &item->parts};
    TRY(bench->door->request(item->op, &target, &item->call, &item->target, &item->headers, err));
    item->call.ctx = item;
    choose_body(bench, item);
    item->done_bytes = 0;
    if (item->op != BENCH_MULTIPART || item->parts.step == BENCH_PARTS_BEGIN)
        item->begun_ns = now_ns();
    return OK;
}

static PoolNext bench_follow(void *ctx, void *arg, ErrCode code)
{
    Item *item = arg;
    Err failure = item->call.err;
    UNUSED(ctx);
    if (item->op != BENCH_MULTIPART) return POOL_OVER;
    if (code != OK && failure.code == OK)
        (void)err_set(&failure, code, "its answer is none of S3's");
    return bench_parts_further(&item->parts, code == OK ? NULL : &failure) ? POOL_FURTHER
                                                                           : POOL_OVER;
}

static ErrCode bench_end(void *ctx, void *arg, Err *err)
{
    const Bench *bench = ctx;
    Item *item = arg;
    if (item->op == BENCH_MULTIPART)
        return bench_parts_answer(&item->parts, buf_str(&item->call.answer), err);
    if (item->op != BENCH_GET || item->done_bytes == bench->size) return OK;
    return err_set(err, ERR_PEER, "the file has %" PRIu64 " bytes, not %" PRIu64, item->done_bytes,
                   bench->size);
}

static void count(Bench *bench, const Item *item, const Err *err)
{
    Figures *figures = &bench->figures[item->op];
    bool bodies = item->op == BENCH_PUT || item->op == BENCH_GET || item->op == BENCH_MULTIPART;
    uint64_t now = now_ns();
    bench->last_ns = now;
    if (err->code != OK) {
        figures->errors++;
        return;
    }
    figures->requests++;
    if (bodies) figures->bytes += bench->size;
    latency_add(&figures->latency, now - item->begun_ns);
}

static void bench_done(void *ctx, void *arg, const Err *err)
{
    Bench *bench = ctx;
    Item *item = arg;
    Session *session = bench->session;
    if (err->code == OK && item->parts.failure.code != OK) err = &item->parts.failure; /* aborted */
    bool stored = item->op == BENCH_PUT || item->op == BENCH_MULTIPART;
    bool broken_off = err->code == ERR_ABORTED && stopped != 0;
    if (bench->phase == PHASE_MEASURE && !broken_off) count(bench, item, err);
    if (bench->phase == PHASE_CLEAN) {
        bool gone = err->code == OK || err->code == ERR_NOT_FOUND;
        bench->cleaned += gone;
        bench->left += !gone;
    } else if (item->op == BENCH_GET) {
        File *file = live_find(bench, item->number);
        ASSERT(file != NULL && file->readers > 0);
        file->readers--;
    } else if (stored && err->code == OK && live_find(bench, item->number) == NULL) {
        live_add(bench, item->number);
    }
    if (err->code == OK)
        tally_done(&session->tally, 0, 0);
    else if (!broken_off)
        tally_fail(&session->tally, str_from_cstr(bench_op_name(item->op)), err);
    buf_deinit(&item->key);
    buf_deinit(&item->target);
    buf_deinit(&item->headers);
    bench_parts_deinit(&item->parts);
}

static void bench_state(void *ctx, ProgressState *state)
{
    UNUSED(ctx);
    UNUSED(state);
}

static void run_phase(Bench *bench, Phase phase)
{
    PoolOps ops = {.item_size = sizeof(Item),
                   .answer_max = 4 * MIB,
                   .next = bench_next,
                   .begin = bench_begin,
                   .end = bench_end,
                   .follow = bench_follow,
                   .done = bench_done,
                   .ctx = bench};
    bench->phase = phase;
    session_run(bench->session, &ops, bench_state);
}

/* Deletes all below the prefix, also what an answer never came for. */
static void clean(Bench *bench)
{
    Session *session = bench->session;
    Err err = {0};
    session->options.retry_for_ms = OPTIONS_RETRY_FOR_MS;
    ListingOptions listing = session_listing(session, bench->bucket, str_from_cstr(bench->prefix),
                                             0);
    if (bench->door->deletes_by_number || listing_open(&listing, &bench->listing, &err) == OK) {
        run_phase(bench, PHASE_CLEAN);
    }
    listing_close(TAKE(bench->listing));
    if (session->tally.ended != OK && session->tally.ended != ERR_NO_BUCKET) bench->left++;
    if (bench->left == 0) return;
    fprintf(stderr, "holdfast bench: not all was deleted; what is below %.*s/%s is left\n",
            STR_ARG(bench->bucket), bench->prefix);
}

/* ---- what it was ---- */

static double rate(uint64_t number, double seconds)
{
    return seconds > 0 ? (double)number / seconds : 0;
}

static void print_row(const char *name, const Figures *f, double seconds)
{
    char bytes[SHOW_SIZE_SIZE];
    show_size((uint64_t)rate(f->bytes, seconds), bytes);
    printf("%-9s %9" PRIu64 " %7" PRIu64 " %10.1f %12s/s %9.2f %9.2f %9.2f\n", name, f->requests,
           f->errors, rate(f->requests, seconds), bytes, latency_ms(&f->latency, 0.5),
           latency_ms(&f->latency, 0.99), (double)f->latency.max_ns / 1e6);
}

static void print_text(const Bench *bench, const Figures *total, double seconds)
{
    char size[SHOW_SIZE_SIZE];
    printf("%s, %s a file, %zu connections, %.1f s\n", client_url(bench->session->client),
           show_size(bench->size, size), bench->session->options.connections, seconds);
    printf("%-9s %9s %7s %10s %14s %9s %9s %9s\n", "", "requests", "errors", "a second", "bytes",
           "p50 ms", "p99 ms", "max ms");
    for (BenchOp op = 0; op < BENCH_OPS; op++) {
        const Figures *f = &bench->figures[op];
        if (f->requests + f->errors > 0) print_row(bench_op_name(op), f, seconds);
    }
    print_row("all", total, seconds);
}

static json_t *figures_json(const Figures *f, double seconds)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "requests", (json_int_t)f->requests,
                     "errors", (json_int_t)f->errors, "requests_per_second",
                     rate(f->requests, seconds), "bytes_per_second", rate(f->bytes, seconds),
                     "p50_ms", latency_ms(&f->latency, 0.5), "p99_ms",
                     latency_ms(&f->latency, 0.99), "max_ms", (double)f->latency.max_ns / 1e6);
}

static void print_json(const Bench *bench, const Figures *total, double seconds)
{
    AUTO(json_t, json_free) ops = json_object();
    for (BenchOp op = 0; op < BENCH_OPS; op++)
        json_object_set_new(ops, bench_op_name(op), figures_json(&bench->figures[op], seconds));
    AUTO(json_t, json_free)
    all = json_pack("{s:s, s:s, s:s%, s:I, s:I, s:f, s:O, s:o, s:I, s:b}", "door",
                    bench->door->name, "url", client_url(bench->session->client), "bucket",
                    bench->bucket.ptr, bench->bucket.len, "size", (json_int_t)bench->size,
                    "connections", (json_int_t)bench->session->options.connections, "seconds",
                    seconds, "operations", ops, "total", figures_json(total, seconds), "deleted",
                    (json_int_t)bench->cleaned, "all_deleted", bench->left == 0);
    if (all != NULL) session_json_line(all);
}

static void print_figures(const Bench *bench)
{
    AUTO(void, mem_free) memory = mem_new(sizeof(Figures));
    Figures *total = memory;
    double seconds = (double)(bench->last_ns - MIN(bench->last_ns, bench->start_ns)) / 1e9;
    for (BenchOp op = 0; op < BENCH_OPS; op++) {
        const Figures *f = &bench->figures[op];
        total->requests += f->requests;
        total->errors += f->errors;
        total->bytes += f->bytes;
        total->latency.total += f->latency.total;
        total->latency.max_ns = MAX(total->latency.max_ns, f->latency.max_ns);
        for (size_t i = 0; i < ARRAY_LEN(f->latency.counts); i++)
            total->latency.counts[i] += f->latency.counts[i];
    }
    if (bench->session->options.json)
        print_json(bench, total, seconds);
    else
        print_text(bench, total, seconds);
}

/* ---- the command ---- */

static ErrCode read_options(Bench *bench, Err *err)
{
    const ClientOptions *o = &bench->session->options;
    bench->bucket = str_from_cstr(o->arg_count > 0 ? o->args[0] : "files");
    bench->size = SIZE_PRESET;
    bench->seconds = SECONDS_PRESET;
    if (o->size != NULL &&
        (!config_parse_size(str_from_cstr(o->size), &bench->size) || bench->size > SIZE_MAX_BYTES))
        return err_set(err, ERR_USAGE, "--size \"%s\" is not 0..64GiB, such as 4KiB", o->size);
    bench->part_size = BENCH_PART_SIZE_PRESET;
    if (o->part_size != NULL &&
        (!config_parse_size(str_from_cstr(o->part_size), &bench->part_size) ||
         bench->part_size < BENCH_PART_SIZE_MIN || bench->part_size > SIZE_MAX_BYTES))
        return err_set(err, ERR_USAGE, "--part-size \"%s\" is not 5MiB..64GiB", o->part_size);
    if (bench->size / bench->part_size >= BENCH_PARTS_MAX)
        return err_set(err, ERR_USAGE, "--part-size: a file has at most %d parts", BENCH_PARTS_MAX);
    if (o->seconds != NULL &&
        (!str_to_u64(str_from_cstr(o->seconds), 86400, &bench->seconds) || bench->seconds == 0))
        return err_set(err, ERR_USAGE, "--seconds \"%s\" is not 1..86400", o->seconds);
    return bench_mix_parse(str_from_cstr(o->mix != NULL ? o->mix : BENCH_MIX_PRESET), &bench->mix,
                           err);
}

/* Of a body of so many bytes. */
static Sha256 digest_of_body(const Bench *bench, uint64_t size)
{
    Sha256 digest;
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    for (uint64_t done = 0; done < size;) {
        size_t len = (size_t)MIN(size - done, (uint64_t)BLOCK_BYTES);
        hash_update(hash, bench->block, len);
        done += len;
    }
    hash_final(hash, digest.bytes);
    return digest;
}

/* "HOST:PORT" of an address, as libcurl sends it. */
static ErrCode host_of(const char *url, char **out, Err *err)
{
    Str text = str_from_cstr(url);
    size_t skip = str_starts_with(text, STR("https://")) ? 8 : 7;
    Str host = str_slice(text, skip, text.len);
    if (str_find_char(host, '/') < host.len)
        return err_set(err, ERR_USAGE, "the address of an S3 server has no path: %s", url);
    bool preset = skip == 8 ? str_ends_with(host, STR(":443")) : str_ends_with(host, STR(":80"));
    if (preset) host.len -= skip == 8 ? 4 : 3;
    *out = mem_new(host.len + 1);
    memcpy(*out, host.ptr, host.len);
    return OK;
}

static ErrCode open_s3(Bench *bench, Err *err)
{
    Session *session = bench->session;
    ClientOptions options = session->options;
    Settings settings = {0};
    Str id;
    Str secret;
    if (options.url == NULL) options.url = S3_URL_PRESET;
    TRY(settings_read(&options, &settings, err));
    ErrCode code = host_of(settings.url, &bench->s3_host, err);
    if (code == OK && settings.key == NULL)
        code = err_set(err, ERR_USAGE, "S3 requests are signed: --key ID.SECRET or HOLDFAST_KEY");
    if (code == OK) code = session_reopen(session, settings.url, NULL, settings.ca, err);
    bench->s3_key = TAKE(settings.key);
    settings_deinit(&settings);
    TRY(code);
    if (!str_split(str_from_cstr(bench->s3_key), '.', &id, &secret) || id.len == 0 ||
        secret.len == 0 || secret.len > SIGV4_SECRET_MAX || id.len > SIGV4_SECRET_MAX)
        return err_set(err, ERR_USAGE, "the key is not of the form ID.SECRET");
    Str region = str_from_cstr(options.region != NULL ? options.region : REGION_PRESET);
    if (region.len == 0 || region.len > SIGV4_REGION_MAX)
        return err_set(err, ERR_USAGE, "--region has 1 to %d bytes", SIGV4_REGION_MAX);
    SigV4Signer signer = {
        .id = id, .secret = secret, .region = region, .host = str_from_cstr(bench->s3_host)};
    bool parts = bench->mix.weights[BENCH_MULTIPART] > 0;
    BenchBodies bodies = {.file = digest_of_body(bench, bench->size)};
    if (parts) bodies.part = digest_of_body(bench, bench->part_size);
    if (parts) bodies.last = digest_of_body(bench, bench->size % bench->part_size);
    bench->door = &bench_door_s3;
    bench_s3_init(&signer, &bodies);
    return OK;
}

static ErrCode open_door(Bench *bench, Err *err)
{
    const ClientOptions *o = &bench->session->options;
    bench->door = &bench_door_rest;
    if (o->door == NULL || strcmp(o->door, "rest") == 0) {
        if (o->region != NULL) return err_set(err, ERR_USAGE, "--region is of --door s3");
        if (bench->mix.weights[BENCH_MULTIPART] == 0) return OK;
        return err_set(err, ERR_USAGE, "--mix: multipart is of --door s3");
    }
    if (strcmp(o->door, "s3") == 0) return open_s3(bench, err);
    return err_set(err, ERR_USAGE, "--door \"%s\" is neither rest nor s3", o->door);
}

static int run(Bench *bench)
{
    Session *session = bench->session;
    uint64_t files = MAX((uint64_t)FILL_FILES, 2 * (uint64_t)session->options.connections);
    if (bench->size > 0) files = MIN(files, MAX(FILL_BYTES / bench->size, (uint64_t)1));
    bench->fill_left = (uint32_t)files;
    session->options.retry_for_ms = 0;
    snprintf(bench->prefix, sizeof bench->prefix, "holdfast-bench-%016" PRIx64 "/",
             rng_u64(&session->rng)); /* fits */
    watch_stop();
    run_phase(bench, PHASE_FILL);
    /* A wrong key, no bucket: for sure nothing is stored. */
    bool refused = session->tally.files == 0 && session->tally.failed > 0 &&
                   !err_info(session->tally.failure)->retry;
    if (refused && session->tally.ended == OK) session->tally.ended = session->tally.failure;
    bool filled = session->tally.ended == OK && stopped == 0;
    bench->start_ns = bench->last_ns = now_ns();
    if (filled) run_phase(bench, PHASE_MEASURE);
    session->tally.interrupted = stopped != 0;
    int status = tally_exit_status(&session->tally, false);
    Tally tally = session->tally;
    session->tally = (Tally){0};
    if (tally.files + tally.failed > 0 && !refused) clean(bench);
    session->tally = tally;
    if (filled) print_figures(bench);
    session->options.quiet = true;                /* what failed only: the figures are told */
    session_report(session, "answered", refused); /* 64 times the same says no more than once */
    return status == 0 && bench->left > 0 ? 1 : status;
}

int command_bench(int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, &spec_bench, argc, argv, &status)) return status;
    AUTO(void, mem_free) memory = mem_new(sizeof(Bench)); /* its histograms */
    Bench *bench = memory;
    bench->session = &session;
    bench->block = mem_new(BLOCK_BYTES);
    rng_bytes(&session.rng, bench->block, BLOCK_BYTES);
    ErrCode code = read_options(bench, &err);
    if (code == OK) code = open_door(bench, &err);
    if (code == OK) {
        bench->live = mem_new_array(LIVE_MAX, sizeof *bench->live);
        status = run(bench);
        mem_free(bench->live);
        mem_free(bench->where);
    } else if (code == ERR_USAGE) {
        status = command_usage(spec_bench.name, "%s", err_text(&err));
    } else {
        status = command_fail(spec_bench.name, &err);
    }
    if (bench->s3_key != NULL) explicit_bzero(bench->s3_key, strlen(bench->s3_key));
    mem_free(bench->s3_key);
    mem_free(bench->s3_host);
    mem_free(bench->block);
    return session_end(&session, status);
}
