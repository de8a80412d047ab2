#include "node/budget.h"

#include <inttypes.h>

#include "api/rest/rest.h"
#include "disk/file_map.h"
#include "http/server.h"
#include "net/tls.h"
#include "store/store.h"
#include "wal/wal.h"

#define OWN_BYTES (48 * MIB)  /* stacks, code, SQLite's own, the allocator, background work */
#define LOOP_BYTES (12 * MIB) /* of each loop: requests that are kept, a listing being made */
#define BACKLOG_LEAST 10000
#define RECYCLED_BYTES (48 * MIB) /* of segments kept as spares when a log is cut */
#define RECYCLED_MAX 48
#define RECORD_BYTES (1 * KIB) /* of an un-applied record: itself, its place in three maps */
#define READER_INDEXES 2       /* connections of a reader to the index */
/* Connections to the index of each root beside those of the loops: its applier, its reader in the
 * engine, and the one of its background work. */
#define ROOT_INDEXES (1 + 2 * READER_INDEXES)
#define ROOT_BYTES (8 * MIB)  /* of each root beyond the first: its threads, log and packs */
#define KEPT_BYTES (64 * MIB) /* several roots: entries that one of them may still lack */

/* value, but not below least nor above most. */
static uint64_t within(uint64_t value, uint64_t least, uint64_t most)
{
    return MIN(MAX(value, least), most);
}

/* What does not depend on how many clients there are, as parts of the memory where that is
 * small. */
static void make_fixed(const BudgetWish *wish, uint64_t memory, Budget *b)
{
    uint64_t of_loops = (uint64_t)wish->loops * wish->doors * READER_INDEXES; /* on the lead */
    b->index_bytes = (of_loops + ROOT_INDEXES * wish->roots) * wish->index_cache;
    b->cache_bytes = wish->body_cache;
    b->buffers = within(memory / 16 / BUFFERS_SIZE_DEFAULT, 32, BUDGET_BUFFERS_MAX);
    b->buffer_bytes = b->buffers * BUFFERS_SIZE_DEFAULT;
    b->collected_bytes = within(memory / 32, 8 * MIB, 64 * MIB);
    b->answer_bytes = within(memory / 32, 32 * MIB, 256 * MIB);
    b->locked_bytes = MIN(wish->locked, within(memory / 16, 8 * MIB, FILE_MAP_BUDGET_MAX));
    b->backlog = within(memory / 16 / RECORD_BYTES, BACKLOG_LEAST, STORE_BACKLOG_MAX);
    b->backlog_log_bytes = within(memory / 16, 32 * MIB, STORE_BACKLOG_BYTES_MAX);
    /* Bodies are shared by the roots; what each knows of a record is its own. */
    b->backlog_bytes = wish->roots * b->backlog * RECORD_BYTES + b->backlog_log_bytes;
    if (wish->roots > 1) b->backlog_bytes += KEPT_BYTES;
    b->own_bytes = OWN_BYTES + wish->loops * LOOP_BYTES + (wish->roots - 1) * ROOT_BYTES;
    b->sum_bytes = b->index_bytes + b->cache_bytes + b->buffer_bytes + b->collected_bytes +
                   b->answer_bytes + b->locked_bytes + b->backlog_bytes + b->own_bytes;
}

static uint64_t connection_bytes(const BudgetWish *wish)
{
    return HTTP_CONNECTION_BYTES + (wish->tls ? TLS_CONNECTION_BYTES : 0);
}

static uint64_t request_bytes(const BudgetWish *wish)
{
    return REST_REQUEST_BYTES + (wish->tls ? TLS_REQUEST_BYTES : 0);
}

/* Connections get at most half of what is left, requests the rest: a connection that asks for
 * nothing costs little, and each request needs one. */
static void share(const BudgetWish *wish, uint64_t left, Budget *b)
{
    b->connections = within(left / 2 / connection_bytes(wish), 1, b->connections);
    b->connection_bytes = b->connections * connection_bytes(wish);
    b->requests = within((left - b->connection_bytes) / request_bytes(wish), 1, b->connections);
    b->request_bytes = b->requests * request_bytes(wish);
    b->sum_bytes += b->connection_bytes + b->request_bytes;
}

uint64_t budget_files_own(unsigned roots)
{
    return BUDGET_FILES_OWN + (roots - 1) * (uint64_t)BUDGET_FILES_ROOT;
}

static ErrCode fit_files(const BudgetWish *wish, uint64_t least, Budget *b, Err *err)
{
    uint64_t own = budget_files_own(wish->roots);
    uint64_t needed = own + BUDGET_FILES_CONNECTION * least;
    if (wish->open_files < needed)
        return err_set(err, ERR_CONFIG,
                       "this process may open %" PRIu64 " files and needs %" PRIu64
                       " or more: raise the limit (ulimit -n, LimitNOFILE= of systemd)",
                       wish->open_files, needed);
    uint64_t most = (wish->open_files - own) / BUDGET_FILES_CONNECTION;
    b->connections = MIN(wish->connections, most);
    return OK;
}

static ErrCode no_room(const BudgetWish *wish, const Budget *b, uint64_t needed, Err *err)
{
    return err_set(
        err, ERR_CONFIG,
        "the server may take %" PRIu64 " MiB of memory and needs %" PRIu64 " or more (%" PRIu64
        " for pages of the index, %" PRIu64 " for small files): set index-cache, cache "
        "or threads lower, or give it more memory",
        wish->memory / MIB, needed / MIB + 1, b->index_bytes / MIB, b->cache_bytes / MIB);
}

ErrCode budget_make(const BudgetWish *wish, Budget *out, Err *err)
{
    Budget b = {0};
    uint64_t memory = wish->memory == 0 ? UINT64_MAX : wish->memory;
    uint64_t least = MIN(wish->connections, (uint64_t)BUDGET_CONNECTIONS_LEAST);
    ASSERT(wish->roots >= 1 && wish->loops >= 1 && wish->connections >= 1);
    TRY(fit_files(wish, least, &b, err));
    make_fixed(wish, memory, &b);
    uint64_t clients = 2 * MAX(least * connection_bytes(wish),
                               (uint64_t)BUDGET_REQUESTS_LEAST * request_bytes(wish));
    if (b.sum_bytes > memory || memory - b.sum_bytes < clients)
        return no_room(wish, &b, b.sum_bytes + clients, err);
    share(wish, memory - b.sum_bytes, &b);
    b.queue = within(b.requests + 64, 64, 1U << 20); /* a request has one change at a time */
    b.open_files = budget_files_own(wish->roots) + BUDGET_FILES_CONNECTION * b.connections;
    ASSERT(b.sum_bytes <= memory && b.open_files <= wish->open_files);
    *out = b;
    return OK;
}

/* Making a spare costs 1 MiB of zeros and two syncs; a burst cuts as many as it uses. */
unsigned budget_segments_recycled(uint64_t segment_size)
{
    uint64_t size = segment_size != 0 ? segment_size : WAL_SEGMENT_SIZE_DEFAULT;
    return (unsigned)MIN(RECYCLED_BYTES / size, (uint64_t)RECYCLED_MAX);
}
