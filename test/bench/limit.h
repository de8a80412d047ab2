/* bench-limit: what this machine can do at most. The least work that a durable HTTP store can do:
 * bare epoll, a parser for exactly the requests that bench-load sends, group commit of small
 * bodies into a log, large bodies straight into files. No names, no index, no rights, no recovery:
 * a server is measured as a ratio to this one. See docs/benchmarks.md.
 *
 *   limit.c       workers: one thread, one listener (SO_REUSEPORT) and one epoll each
 *   limit_log.c   one thread: all PUTs that wait become one padded batch with one fdatasync
 *   limit_file.c  large files: a thread per upload, sendfile for downloads */
#ifndef HOLDFAST_TEST_BENCH_LIMIT_H
#define HOLDFAST_TEST_BENCH_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LIMIT_SMALL_MAX 65536                      /* bytes of a body that goes through the log */
#define LIMIT_INPUT_SIZE (LIMIT_SMALL_MAX + 16384) /* head and small body */
#define LIMIT_NAME_MAX 64
#define LIMIT_COPIES_MAX 3

typedef struct Worker Worker;
typedef struct LimitConn LimitConn;

struct LimitConn {
    int fd;
    Worker *worker;
    LimitConn *next; /* in the log's queue, then in the worker's list of answered ones */
    size_t len;      /* bytes in input */
    size_t head_len; /* of the request at the front of input; 0: not complete */
    uint64_t body_len;
    char name[LIMIT_NAME_MAX]; /* last component of the path */
    int file;                  /* being sent, or -1 */
    off_t file_at;
    off_t file_size;
    uint8_t input[LIMIT_INPUT_SIZE];
};

/* Says what failed, with errno, and ends the program. */
_Noreturn void limit_die(const char *what);
/* Sends all len bytes; waits where it must. False: the client is gone. */
bool limit_send(int fd, const void *data, size_t len);
/* An eventfd is written so that the worker looks at its list of answered connections. */
void limit_worker_answer(Worker *worker, LimitConn *first, LimitConn *last);
/* conn, which another thread had, is its worker's again. */
void limit_worker_resume(LimitConn *conn);

/* Makes dir/log, zero-written ahead, and starts the log's thread. workers: all of them, which get
 * their answered connections by limit_worker_answer(). */
void limit_log_start(const char *dir, Worker **workers, size_t worker_count);
/* A list of connections whose PUT is complete in input; one call per turn of a worker. */
void limit_log_push(LimitConn *first, LimitConn *last);

/* Do large bodies get an MD5, too? Set before the first of them. */
extern bool limit_file_md5;
/* How often each is written, 1 to LIMIT_COPIES_MAX. */
extern unsigned limit_file_copies;
/* A thread receives the body, hashes it, syncs, renames and answers, then resumes conn. */
void limit_file_put(LimitConn *conn, int dir_fd);
/* Opens the file conn->name and sends the head; false if there is none. */
bool limit_file_get(LimitConn *conn, int dir_fd);
/* Sends more: 1 all is out, 0 the socket is full or had its turn, -1 the client is gone. */
int limit_file_send(LimitConn *conn);

#endif
