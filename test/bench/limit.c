/* bench-limit --port PORT --dir DIR [--threads N] [--keys N] [--size BYTES] [--md5] [--copies N]
 *
 * PUT …/NAME: up to 64 KiB is answered when its batch is synced, more when its file is, with its
 * SHA-256; with --md5 the MD5 that S3 needs, with --copies written so many times.
 *
 * GET …/NAME: a name that starts with 'L' is a file that was PUT; any other name ends in digits and
 * is a record of --size bytes in a mapped file of --keys records.
 *
 * Prints "ready" when it listens. Ends by a signal. */
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define EVENTS_MAX 256

struct Worker {
    int epoll;
    int listener;
    int wake; /* eventfd */
    pthread_t thread;
    pthread_mutex_t lock;
    LimitConn *answered;             /* under lock */
    LimitConn *put_first, *put_last; /* of this turn, for the log */
};

static int dir_fd;
static const uint8_t *records; /* record_count of record_size bytes */
static uint64_t record_count = 100000;
static uint64_t record_size = 4096;
static char record_head[160]; /* of the answer to a GET of a record */
static size_t record_head_len;

static const char put_answer[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
static const char lost_answer[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

_Noreturn void limit_die(const char *what)
{
    perror(what);
    exit(1);
}

bool limit_send(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) /* an answer of a few KiB fits an empty socket buffer */
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static void conn_free(LimitConn *conn)
{
    if (conn->file >= 0) close(conn->file);
    close(conn->fd);
    free(conn);
}

static void conn_watch(LimitConn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(conn->worker->epoll, operation, conn->fd, &event) != 0) limit_die("epoll_ctl");
}

void limit_worker_answer(Worker *worker, LimitConn *first, LimitConn *last)
{
    pthread_mutex_lock(&worker->lock);
    last->next = worker->answered;
    worker->answered = first;
    pthread_mutex_unlock(&worker->lock);
    uint64_t one = 1;
    if (write(worker->wake, &one, sizeof one) != sizeof one) limit_die("eventfd");
}

void limit_worker_resume(LimitConn *conn)
{
    conn->len = 0;
    conn_watch(conn, EPOLL_CTL_ADD, EPOLLIN);
}

static void worker_accept(Worker *worker)
{
    int fd = accept4(worker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    LimitConn *conn = malloc(sizeof *conn);
    if (conn == NULL) limit_die("malloc");
    conn->fd = fd;
    conn->worker = worker;
    conn->len = 0;
    conn->file = -1;
    conn_watch(conn, EPOLL_CTL_ADD, EPOLLIN);
}

/* The head at the front of input: its length, name and body length. False: it is no request. */
static bool conn_parse(LimitConn *conn, bool *is_put)
{
    conn->head_len = 0;
    const char *in = (const char *)conn->input;
    const char *end = memmem(in, conn->len, "\r\n\r\n", 4);
    if (end == NULL) return conn->len < LIMIT_INPUT_SIZE;
    const char *line_end = memmem(in, conn->len, " HTTP/1.1\r\n", 11);
    const char *name = line_end == NULL ? NULL : memrchr(in, '/', (size_t)(line_end - in));
    if (name == NULL || line_end - name > LIMIT_NAME_MAX) return false;
    size_t name_len = (size_t)(line_end - name) - 1;
    memcpy(conn->name, name + 1, name_len);
    conn->name[name_len] = '\0';
    *is_put = in[0] == 'P';
    conn->body_len = 0;
    for (const char *at = line_end; at < end;) {
        const char *line = at + 2;
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            conn->body_len = strtoull(line + 15, NULL, 10);
        at = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (at == NULL) break;
    }
    conn->head_len = (size_t)(end + 4 - in);
    return true;
}

static bool conn_get(LimitConn *conn)
{
    conn->len = 0;
    if (conn->name[0] == 'L') {
        if (!limit_file_get(conn, dir_fd))
            return limit_send(conn->fd, lost_answer, sizeof lost_answer - 1);
        int sent = limit_file_send(conn);
        if (sent == 0) conn_watch(conn, EPOLL_CTL_MOD, EPOLLOUT);
        return sent >= 0;
    }
    const char *digits = conn->name + strcspn(conn->name, "0123456789");
    uint64_t record = strtoull(digits, NULL, 10) % record_count;
    struct iovec parts[2] = {
        {.iov_base = record_head, .iov_len = record_head_len},
        {.iov_base = (void *)(uintptr_t)(records + record * record_size), .iov_len = record_size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    return sent == (ssize_t)(record_head_len + record_size);
}

/* A request may be complete; false: the connection is to be closed. */
static bool conn_request(LimitConn *conn)
{
    bool is_put = false;
    if (conn->head_len == 0 && !conn_parse(conn, &is_put)) return false;
    if (conn->head_len == 0) return true;
    if (conn->input[0] != 'P') return conn_get(conn);
    if (conn->body_len > LIMIT_SMALL_MAX) {
        conn_watch(conn, EPOLL_CTL_DEL, 0);
        limit_file_put(conn, dir_fd);
        return true;
    }
    if (conn->len < conn->head_len + conn->body_len) return true;
    Worker *worker = conn->worker;
    conn->next = NULL;
    if (worker->put_first == NULL)
        worker->put_first = conn;
    else
        worker->put_last->next = conn;
    worker->put_last = conn;
    return true;
}

static void conn_event(LimitConn *conn, uint32_t events)
{
    if (conn->file >= 0) {
        int sent = limit_file_send(conn);
        if (sent > 0)
            conn_watch(conn, EPOLL_CTL_MOD, EPOLLIN);
        else if (sent < 0 || (events & EPOLLHUP) != 0)
            conn_free(conn);
        return;
    }
    ssize_t n = recv(conn->fd, conn->input + conn->len, LIMIT_INPUT_SIZE - conn->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        conn_free(conn);
        return;
    }
    if (conn->len == 0) conn->head_len = 0;
    conn->len += (size_t)n;
    if (!conn_request(conn)) conn_free(conn);
}

static void worker_answered(Worker *worker)
{
    uint64_t count;
    if (read(worker->wake, &count, sizeof count) < 0 && errno != EAGAIN) limit_die("eventfd");
    pthread_mutex_lock(&worker->lock);
    LimitConn *conn = worker->answered;
    worker->answered = NULL;
    pthread_mutex_unlock(&worker->lock);
    while (conn != NULL) {
        LimitConn *next = conn->next;
        conn->len = 0;
        if (!limit_send(conn->fd, put_answer, sizeof put_answer - 1)) conn_free(conn);
        conn = next;
    }
}

static void *worker_run(void *arg)
{
    Worker *worker = arg;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(worker->epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) limit_die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &worker->listener)
                worker_accept(worker);
            else if (events[i].data.ptr == &worker->wake)
                worker_answered(worker);
            else
                conn_event(events[i].data.ptr, events[i].events);
        }
        if (worker->put_first != NULL) {
            limit_log_push(worker->put_first, worker->put_last);
            worker->put_first = NULL;
        }
    }
    return NULL;
}

static Worker *worker_new(uint16_t port)
{
    Worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) limit_die("calloc");
    pthread_mutex_init(&worker->lock, NULL);
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (worker->epoll < 0 || worker->wake < 0 || worker->listener < 0) limit_die("worker");
    int on = 1;
    setsockopt(worker->listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(worker->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(worker->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(worker->listener, 1024) != 0)
        limit_die("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &worker->listener};
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &worker->wake};
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->listener, &event) != 0 ||
        epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->wake, &wake) != 0)
        limit_die("epoll_ctl");
    return worker;
}

/* The records for GET: written to a file, mapped and in memory. */
static void records_make(void)
{
    int fd = openat(dir_fd, "records", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = record_count * record_size;
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) limit_die("records");
    uint64_t *words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (words == MAP_FAILED) limit_die("mmap");
    close(fd);
    for (size_t i = 0; i < size / sizeof *words; i++)
        words[i] = i * 0x9E3779B97F4A7C15U;
    records = (const uint8_t *)words;
    record_head_len = (size_t)snprintf(record_head, sizeof record_head,
                                       "HTTP/1.1 200 OK\r\nContent-Type: "
                                       "application/octet-stream\r\nContent-Length: %llu\r\n\r\n",
                                       (unsigned long long)record_size);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, NULL, 'p'},    {"dir", 1, NULL, 'd'},
                                          {"threads", 1, NULL, 't'}, {"keys", 1, NULL, 'k'},
                                          {"size", 1, NULL, 's'},    {"md5", 0, NULL, 'm'},
                                          {"copies", 1, NULL, 'c'},  {NULL, 0, NULL, 0}};
    uint16_t port = 0;
    size_t threads = 2;
    const char *dir = NULL;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'p': port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'd': dir = optarg; break;
        case 't': threads = strtoul(optarg, NULL, 10); break;
        case 'k': record_count = strtoull(optarg, NULL, 10); break;
        case 's': record_size = strtoull(optarg, NULL, 10); break;
        case 'm': limit_file_md5 = true; break;
        case 'c': limit_file_copies = (unsigned)strtoul(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (port == 0 || dir == NULL || threads < 1 || threads > WORKERS_MAX || record_count < 1 ||
        record_size < 8 || limit_file_copies < 1 || limit_file_copies > LIMIT_COPIES_MAX) {
        fprintf(stderr,
                "usage: bench-limit --port PORT --dir DIR [--threads 1..%d] [--keys N] "
                "[--size BYTES] [--md5] [--copies 1..%d]\n",
                WORKERS_MAX, LIMIT_COPIES_MAX);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) limit_die(dir);
    records_make();
    Worker *workers[WORKERS_MAX];
    for (size_t i = 0; i < threads; i++)
        workers[i] = worker_new(port);
    limit_log_start(dir, workers, threads);
    for (size_t i = 0; i < threads; i++)
        if (pthread_create(&workers[i]->thread, NULL, worker_run, workers[i]) != 0)
            limit_die("pthread_create");
    printf("ready\n");
    fflush(stdout);
    for (;;)
        pause();
}
