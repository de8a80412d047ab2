/* The log of bench-limit: a file that was written with zeros and synced before, used round and
 * round. A batch is records (a header of 64 bytes with length and CRC32C, then the body) padded to
 * 4 KiB; one pwrite, one fdatasync, then one wake-up per worker. */
#include "limit.h"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_SIZE (256U << 20)
#define BATCH_MAX (4U << 20) /* bytes; it always has room for one more record */
#define PAD 4096U

typedef struct {
    uint32_t magic;
    uint32_t crc; /* CRC32C of the body */
    uint64_t number;
    uint64_t body_len;
    char name[40];
} RecordHeader;

_Static_assert(sizeof(RecordHeader) == 64, "the layout of a record");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static LimitConn *queue_first, *queue_last; /* under lock */

static Worker **all_workers;
static size_t all_count;
static int log_fd;
static uint8_t *batch;
static uint64_t log_at;
static uint64_t record_number;

void limit_log_push(LimitConn *first, LimitConn *last)
{
    pthread_mutex_lock(&lock);
    bool was_empty = queue_first == NULL;
    if (was_empty)
        queue_first = first;
    else
        queue_last->next = first;
    queue_last = last;
    pthread_mutex_unlock(&lock);
    if (was_empty) pthread_cond_signal(&filled);
}

static size_t record_add(size_t at, const LimitConn *conn)
{
    const uint8_t *body = conn->input + conn->head_len;
    RecordHeader header = {
        .magic = 0x4c494d54, .number = ++record_number, .body_len = conn->body_len};
    header.crc = crc32_iscsi((unsigned char *)(uintptr_t)body, (int)conn->body_len, ~0U);
    memccpy(header.name, conn->name, '\0', sizeof header.name);
    memcpy(batch + at, &header, sizeof header);
    memcpy(batch + at + sizeof header, body, conn->body_len);
    return at + sizeof header + conn->body_len;
}

static void batch_write(size_t len)
{
    size_t padded = (len + PAD - 1) / PAD * PAD;
    memset(batch + len, 0, padded - len);
    if (log_at + padded > LOG_SIZE) log_at = 0;
    if (pwrite(log_fd, batch, padded, (off_t)log_at) != (ssize_t)padded || fdatasync(log_fd) != 0)
        limit_die("log");
    log_at += padded;
}

/* Gives the connections of list, all synced, back to their workers. */
static void batch_answer(LimitConn *list)
{
    for (size_t i = 0; i < all_count; i++) {
        LimitConn *first = NULL, *last = NULL, *rest = NULL;
        for (LimitConn *conn = list, *next; conn != NULL; conn = next) {
            next = conn->next;
            bool here = conn->worker == all_workers[i];
            conn->next = here ? first : rest;
            if (here) {
                last = first == NULL ? conn : last;
                first = conn;
            } else {
                rest = conn;
            }
        }
        if (first != NULL) limit_worker_answer(all_workers[i], first, last);
        list = rest;
    }
}

static void *log_run(void *arg)
{
    (void)arg;
    LimitConn *waiting = NULL; /* taken from the queue, not in a batch yet */
    for (;;) {
        if (waiting == NULL) {
            pthread_mutex_lock(&lock);
            while (queue_first == NULL)
                pthread_cond_wait(&filled, &lock);
            waiting = queue_first;
            queue_first = queue_last = NULL;
            pthread_mutex_unlock(&lock);
        }
        LimitConn *list = waiting;
        size_t len = 0;
        while (waiting != NULL) {
            len = record_add(len, waiting);
            LimitConn *taken = waiting;
            waiting = waiting->next;
            if (len > BATCH_MAX || waiting == NULL) {
                taken->next = NULL;
                break;
            }
        }
        batch_write(len);
        batch_answer(list);
    }
    return NULL;
}

static void log_make(const char *dir)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/log", dir) >= (int)sizeof path) limit_die(dir);
    log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t room = BATCH_MAX + sizeof(RecordHeader) + LIMIT_SMALL_MAX + PAD;
    batch = aligned_alloc(PAD, (room + PAD - 1) / PAD * PAD);
    if (log_fd < 0 || batch == NULL) limit_die(path);
    memset(batch, 0, room);
    for (uint64_t at = 0; at < LOG_SIZE; at += BATCH_MAX)
        if (pwrite(log_fd, batch, BATCH_MAX, (off_t)at) != BATCH_MAX) limit_die(path);
    if (fsync(log_fd) != 0) limit_die(path);
}

void limit_log_start(const char *dir, Worker **workers, size_t worker_count)
{
    log_make(dir);
    all_workers = workers;
    all_count = worker_count;
    pthread_t thread;
    if (pthread_create(&thread, NULL, log_run, NULL) != 0) limit_die("pthread_create");
}
