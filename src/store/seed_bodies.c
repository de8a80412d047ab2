#include "store/seed_bodies.h"

#include <string.h>

#include "base/queue.h"
#include "base/thread.h"
#include "base/wake.h"

#define COPIES_MAX 64 /* under way */
#define AGAIN_MS 10
#define TRIES_MAX 500 /* of a body that another copies: 5 s */

/* Whose: the owner's, while it stands in a queue nobody's, else the thread's that took it. */
typedef struct {
    SeedBodies *bodies;
    Extent extent;
    BlobInfo info;
    void *attrs; /* of info */
    ErrCode code;
    Err err;
} Copy;

struct SeedBodies {
    Blobs *from;
    Blobs *to;
    unsigned thread_count;
    unsigned tries_max;
    Thread threads[SEED_THREADS_MAX];
    Queue *to_copy;
    Queue *copied;
    Copy *copies[COPIES_MAX]; /* under way, in no order */
    size_t count;
    ErrCode failed; /* the first error since the last wait; OK: none */
    Err err;
};

SeedBodies *seed_bodies_new(Blobs *from, Blobs *to, unsigned threads)
{
    ASSERT(threads <= SEED_THREADS_MAX);
    SeedBodies *bodies = mem_new(sizeof *bodies);
    bodies->from = from;
    bodies->to = to;
    bodies->thread_count = threads;
    bodies->tries_max = threads > 0 ? TRIES_MAX : 0; /* without threads nobody else does anything */
    bodies->to_copy = queue_new(COPIES_MAX);
    bodies->copied = queue_new(COPIES_MAX);
    return bodies;
}

/* --- the copy --- */

static ErrCode copy_chunks(BlobReader *reader, BlobWriter *writer, Err *err)
{
    const BlobFooter *footer = blob_reader_footer(reader);
    AUTO(void, mem_free) data = mem_new_array(footer->chunk_size, 1);
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        size_t len = 0;
        TRY(blob_reader_chunk(reader, i, data, &len, err));
        TRY(blob_writer_write(writer, data, len, err));
    }
    return OK;
}

static ErrCode copy_once(const SeedBodies *bodies, const Extent *extent, const BlobInfo *info,
                         Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    Extent copied;
    Sha256 digest;
    static const Sha256 unknown = {{0}};
    TRY(blob_reader_open(bodies->from, extent->body, extent->number, &reader, err));
    TRY(blob_writer_open_here(bodies->to, extent->body, extent->number, &writer, err));
    TRY(copy_chunks(reader, writer, err));
    blob_writer_digest(writer, &digest);
    if (blob_writer_size(writer) != extent->size ||
        (!sha256_eq(&extent->digest, &unknown) && !sha256_eq(&extent->digest, &digest)))
        return err_set(err, ERR_CORRUPT, "a large body is not what its file's row says");
    return blob_writer_finish(writer, info, &copied, err);
}

/* The log's writer may be bringing the same body: then that one does. */
static ErrCode copy_extent(const SeedBodies *bodies, const Extent *extent, const BlobInfo *info,
                           Err *err)
{
    Wake rest; /* of nobody: it only takes its time */
    bool there = false;
    wake_init(&rest);
    ErrCode code = copy_once(bodies, extent, info, err);
    for (unsigned i = 0; code == ERR_EXISTS && !there && i < bodies->tries_max; i++) {
        err_clear(err);
        bool woken = wake_wait(&rest, AGAIN_MS);
        ASSERT(!woken);
        code = blob_exists(bodies->to, extent->body, extent->number, &there, err);
        if (code == OK && !there) code = copy_once(bodies, extent, info, err);
    }
    wake_deinit(&rest);
    if (code != ERR_EXISTS) return code;
    return err_set(err, ERR_BUSY, "another copies a large body");
}

/* Ends when the queue is closed and empty. */
static void copier_run(void *arg)
{
    SeedBodies *bodies = arg;
    void *item = NULL;
    while (queue_pop_wait(bodies->to_copy, &item, 1, -1) == 1) {
        Copy *copy = item;
        copy->code = copy_extent(bodies, &copy->extent, &copy->info, &copy->err);
        ErrCode code = queue_push(bodies->copied, copy);
        ASSERT(code == OK); /* there is room for all that can be under way */
    }
}

ErrCode seed_bodies_start(SeedBodies *bodies, Err *err)
{
    for (unsigned i = 0; i < bodies->thread_count; i++)
        TRY(thread_start(&bodies->threads[i], "seed-body", copier_run, bodies, err));
    return OK;
}

/* --- the owner --- */

/* Waits for one of those under way. */
static void take_one(SeedBodies *bodies)
{
    void *item = NULL;
    size_t got = queue_pop_wait(bodies->copied, &item, 1, -1);
    ASSERT(got == 1 && bodies->count > 0);
    Copy *copy = item;
    size_t at = 0;
    while (bodies->copies[at] != copy)
        at++;
    bodies->copies[at] = bodies->copies[--bodies->count];
    if (copy->code != OK && bodies->failed == OK) {
        bodies->failed = copy->code;
        bodies->err = copy->err;
    }
    mem_free(copy->attrs);
    mem_free(copy);
}

static bool is_under_way(const SeedBodies *bodies, const Extent *extent)
{
    for (size_t i = 0; i < bodies->count; i++) {
        const Extent *one = &bodies->copies[i]->extent;
        if (id128_eq(one->body, extent->body) && one->number == extent->number) return true;
    }
    return false;
}

static void begin(SeedBodies *bodies, const Extent *extent, const BlobInfo *info)
{
    Copy *copy = mem_new(sizeof *copy);
    copy->extent = *extent;
    copy->info = *info;
    copy->attrs = mem_new_array(info->attrs.len + 1, 1);
    if (info->attrs.len > 0) memcpy(copy->attrs, info->attrs.ptr, info->attrs.len);
    copy->info.attrs = str_of(copy->attrs, info->attrs.len);
    bodies->copies[bodies->count++] = copy;
    ErrCode code = queue_push(bodies->to_copy, copy);
    ASSERT(code == OK); /* as long as COPIES_MAX are not under way there is room */
}

ErrCode seed_bodies_add(SeedBodies *bodies, const Extent *extent, const BlobInfo *info, Err *err)
{
    bool there = false;
    if (is_under_way(bodies, extent)) return OK; /* two files have it */
    TRY(blob_exists(bodies->to, extent->body, extent->number, &there, err));
    if (there) return OK;
    if (bodies->thread_count == 0) return copy_extent(bodies, extent, info, err);
    while (bodies->count == COPIES_MAX)
        take_one(bodies);
    if (bodies->failed != OK) {
        *err = bodies->err;
        return bodies->failed;
    }
    begin(bodies, extent, info);
    return OK;
}

ErrCode seed_bodies_wait(SeedBodies *bodies, Err *err)
{
    while (bodies->count > 0)
        take_one(bodies);
    ErrCode code = bodies->failed;
    bodies->failed = OK;
    if (code != OK && err != NULL) *err = bodies->err;
    return code;
}

void seed_bodies_stop(SeedBodies *bodies)
{
    ASSERT(bodies->count == 0);
    queue_close(bodies->to_copy);
    for (unsigned i = 0; i < bodies->thread_count; i++)
        thread_join(&bodies->threads[i]);
    bodies->thread_count = 0;
}

void seed_bodies_free(SeedBodies *bodies)
{
    if (bodies == NULL) return;
    seed_bodies_stop(bodies);
    queue_free(bodies->to_copy);
    queue_free(bodies->copied);
    mem_free(bodies);
}
