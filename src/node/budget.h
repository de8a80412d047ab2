/* Budget: what a server takes of its machine at most: memory, open files, places in queues. Made
 * once at start from what there is and what is configured, and told (events node.memory and
 * node.limits, `admin status`). Each number is kept to by who spends it: connections by the HTTP
 * server, requests by the door, buffers by their pool, and so on. Pure. */
#ifndef HOLDFAST_NODE_BUDGET_H
#define HOLDFAST_NODE_BUDGET_H

#include "base/mem.h"

#define BUDGET_BUFFERS_MAX 512
#define BUDGET_CONNECTIONS_LEAST 32
#define BUDGET_REQUESTS_LEAST 16
#define BUDGET_FILES_OWN 384 /* of log, packs, index, loops and connections that are told to go */
#define BUDGET_FILES_ROOT                                                                          \
    128 /* of each root beyond the first: its log, packs, index and bodies                         \
         */
#define BUDGET_FILES_CONNECTION 2 /* its socket, and the body that goes in or out */

/* What there is, and what is asked for. */
typedef struct {
    uint64_t memory;      /* bytes that the process may take; 0: not known, no bound */
    uint64_t open_files;  /* the limit of this process */
    uint64_t connections; /* as configured: fewer where there is no room */
    unsigned roots;       /* storage roots, 1 or more */
    unsigned loops;
    bool tls;             /* connections cost more */
    unsigned doors;       /* each has a reader of the index on each loop */
    uint64_t index_cache; /* bytes for each connection to the index */
    uint64_t body_cache;  /* bytes, all loops together */
    uint64_t locked;      /* bytes of the page cache that the system lets us lock */
} BudgetWish;

typedef struct {
    uint64_t connections; /* at once */
    uint64_t requests;    /* at once in the hands of the door */
    uint64_t buffers;     /* of BUFFERS_SIZE_DEFAULT: bodies under way */
    uint64_t queue;       /* changes that wait for the core */
    uint64_t backlog;     /* un-applied records at which writers wait */
    uint64_t open_files;  /* that all this needs */
    /* Bytes at most, and what they are for. */
    uint64_t index_bytes;
    uint64_t cache_bytes;
    uint64_t buffer_bytes;
    uint64_t collected_bytes; /* bodies that are taken in one piece */
    uint64_t answer_bytes;    /* large answers on their way out: listings, metrics */
    uint64_t locked_bytes;
    uint64_t backlog_log_bytes; /* un-applied records in the log at which writers wait … */
    uint64_t backlog_bytes;     /* … and what they take in memory */
    uint64_t connection_bytes;
    uint64_t request_bytes;
    uint64_t own_bytes; /* threads, code, pools of the loops, background work */
    uint64_t sum_bytes;
} Budget;

/* Open files that the server needs for itself. */
uint64_t budget_files_own(unsigned roots);
/* As much of wish as there is room for. Errors: ERR_CONFIG: not even the least of it fits; the text
 * names what was counted and which settings would make it smaller. */
MUST_USE ErrCode budget_make(const BudgetWish *wish, Budget *out, Err *err);

/* Segments of a log that are kept as spares when it is cut; segment_size in bytes, 0: the usual. */
unsigned budget_segments_recycled(uint64_t segment_size);

#endif
