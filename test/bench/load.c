/* bench-load: HTTP/1.1 load on 127.0.0.1 from one thread, keep-alive, no pipelining.
 *
 *   --port PORT --connections C   --seconds S or --requests N
 *   --mode put|get|mix|delete     mix: 70 % GET, 30 % PUT
 *   --size BYTES                  of bodies; a GET must bring exactly as many
 *   --path PREFIX                 the key follows as eight digits or more
 *   --first N                     PUT, DELETE: keys N, N+1, …   GET: 0 … --keys - 1 at random
 *   --scatter                     names that follow one another are far apart in the order of
 *                                 names: key K is the name K * 61,803,399 modulo 10^8
 *   --keys K  --auth TEXT  --seed N
 *   --pid PID (several)           the server's processes: its CPU time per request
 *   --drain                       count their CPU until they are quiet again
 *   --read                        copy bodies of GET into memory, as real clients do
 *
 * Prints one JSON object. A request fails if its status is not 2xx, its body has another length,
 * or its connection ends. Bodies of PUT are random bytes behind a stamp of their own, bodies of
 * GET beyond the first read are dropped in the kernel (MSG_TRUNC) without --read, so that the
 * client is cheap. */
#include "load_stats.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define HEAD_MAX 1024
#define INPUT_SIZE 16384 /* head of an answer and a small body */
#define DROP_SIZE (1U << 20)
#define PIDS_MAX 64
#define GET_PERCENT 70 /* of mix */
#define FAILURES_SHOWN 5
#define WAIT_MS 1000
#define SILENT_WAITS_MAX 60      /* counted: the clock of a machine that stood still jumps */
#define SCATTER_FACTOR 61803399U /* coprime to the modulus: no two keys below it meet */
#define SCATTER_MODULUS 100000000U

typedef enum { MODE_PUT, MODE_GET, MODE_MIX, MODE_DELETE } Mode;

typedef struct {
    uint16_t port;
    size_t connections;
    double seconds;
    uint64_t requests;
    Mode mode;
    uint64_t size;
    uint64_t first;
    uint64_t keys;
    uint64_t seed;
    const char *path;
    const char *auth;
    pid_t pids[PIDS_MAX];
    size_t pid_count;
    bool drain;
    bool scatter;
    bool read;
} Options;

typedef struct {
    int fd;
    bool busy;
    bool is_put;
    uint64_t started_ns;
    char head[HEAD_MAX];
    size_t head_len;
    char stamp[32];
    uint64_t out; /* bytes of head, stamp and body sent */
    uint64_t out_len;
    size_t in_len;
    bool in_body; /* the head of the answer is read */
    bool bad;     /* the answer is no success */
    uint64_t in_left;
    char in[INPUT_SIZE + 1];
} Conn;

static Options options = {.connections = 1, .size = 4096, .keys = 1, .path = "/", .seconds = 1};
static int epoll_fd;
static uint8_t *body; /* options.size bytes */
static uint8_t drop[DROP_SIZE];
static Histogram latencies;
static uint64_t begun, done, failed, bytes, random_state;
static uint64_t end_ns, last_ns;

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void fail(Conn *conn, const char *what)
{
    if (failed++ < FAILURES_SHOWN)
        fprintf(stderr, "bench-load: %s: %.*s\n", what, (int)strcspn(conn->in, "\r\n"), conn->in);
    if (failed > 1000 && done == 0) exit(1);
}

static void conn_open(Conn *conn)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    conn->busy = false;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect");
    int on = 1;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) != 0) die("epoll_ctl");
}

/* Sends what the socket takes; false: the connection is lost. */
static bool conn_send(Conn *conn)
{
    while (conn->out < conn->out_len) {
        struct iovec parts[3] = {
            {.iov_base = conn->head, .iov_len = conn->head_len},
            {.iov_base = conn->stamp, .iov_len = conn->is_put ? sizeof conn->stamp : 0},
            {.iov_base = body,
             .iov_len = conn->is_put ? (size_t)options.size - sizeof conn->stamp : 0}};
        uint64_t skip = conn->out;
        for (size_t i = 0; i < 3; i++) {
            size_t part = skip < parts[i].iov_len ? (size_t)skip : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + part;
            parts[i].iov_len -= part;
            skip -= part;
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
        ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) return errno == EAGAIN;
        conn->out += (uint64_t)n;
    }
    return true;
}

static bool may_begin(void)
{
    return options.requests > 0 ? begun < options.requests : now_ns() < end_ns;
}

static const char *method(const Conn *conn)
{
    if (conn->is_put) return "PUT";
    return options.mode == MODE_DELETE ? "DELETE" : "GET";
}

/* Begins a request if there is one to make; false: the connection is lost. */
static bool conn_begin(Conn *conn)
{
    if (!may_begin()) {
        conn->busy = false;
        return true;
    }
    conn->is_put = options.mode == MODE_PUT ||
                   (options.mode == MODE_MIX && random_next() % 100 >= GET_PERCENT);
    bool fresh = conn->is_put || options.mode == MODE_DELETE;
    uint64_t key = fresh ? options.first + begun : random_next() % options.keys;
    if (options.scatter) key = key * SCATTER_FACTOR % SCATTER_MODULUS;
    begun++;
    int len = snprintf(conn->head, sizeof conn->head, "%s %s%08llu HTTP/1.1\r\nHost: 127.0.0.1\r\n",
                       method(conn), options.path, (unsigned long long)key);
    if (options.auth != NULL)
        len += snprintf(conn->head + len, sizeof conn->head - (size_t)len, "Authorization: %s\r\n",
                        options.auth);
    if (conn->is_put)
        len += snprintf(conn->head + len, sizeof conn->head - (size_t)len,
                        "Content-Type: application/octet-stream\r\nContent-Length: %llu\r\n",
                        (unsigned long long)options.size);
    len += snprintf(conn->head + len, sizeof conn->head - (size_t)len, "\r\n");
    conn->head_len = (size_t)len;
    memset(conn->stamp, '.', sizeof conn->stamp);
    memcpy(conn->stamp, &key, sizeof key);
    memcpy(conn->stamp + sizeof key, &options.seed, sizeof options.seed);
    conn->out = 0;
    conn->out_len = conn->head_len + (conn->is_put ? options.size : 0);
    conn->in_len = 0;
    conn->in_body = false;
    conn->bad = false;
    conn->busy = true;
    conn->started_ns = now_ns();
    return conn_send(conn);
}

/* The head of an answer, if it is complete. False: it is none. */
static bool conn_head(Conn *conn)
{
    conn->in[conn->in_len] = '\0';
    char *end = strstr(conn->in, "\r\n\r\n");
    if (end == NULL) return conn->in_len < INPUT_SIZE;
    char *length = strcasestr(conn->in, "\r\nContent-Length:");
    bool none = strncmp(conn->in, "HTTP/1.1 204", 12) == 0;
    if (length != NULL && length > end) length = NULL;
    if (strncmp(conn->in, "HTTP/1.1 ", 9) != 0 || (length == NULL && !none)) return false;
    conn->bad = conn->in[9] != '2';
    uint64_t body_len = length == NULL ? 0 : strtoull(length + 17, NULL, 10);
    bool is_get = !conn->is_put && options.mode != MODE_DELETE;
    if (!conn->bad && is_get && body_len != options.size) conn->bad = true;
    size_t got = conn->in_len - (size_t)(end + 4 - conn->in);
    if (got > body_len) return false;
    conn->in_left = body_len - got;
    conn->in_body = true;
    return true;
}

static void conn_done(Conn *conn)
{
    last_ns = now_ns();
    if (conn->bad) {
        fail(conn, method(conn));
        return;
    }
    done++;
    bytes += options.size;
    histogram_add(&latencies, last_ns - conn->started_ns);
}

/* Reads what there is, and begins the next request after an answer. False: connection lost. */
static bool conn_receive(Conn *conn)
{
    for (;;) {
        ssize_t n;
        if (!conn->in_body) {
            n = recv(conn->fd, conn->in + conn->in_len, INPUT_SIZE - conn->in_len, MSG_DONTWAIT);
        } else {
            size_t want = conn->in_left < DROP_SIZE ? (size_t)conn->in_left : DROP_SIZE;
            n = recv(conn->fd, drop, want, MSG_DONTWAIT | (options.read ? 0 : MSG_TRUNC));
        }
        if (n < 0) return errno == EAGAIN;
        if (n == 0 || !conn->busy) return false;
        if (conn->in_body) {
            conn->in_left -= (uint64_t)n;
        } else {
            conn->in_len += (size_t)n;
            if (!conn_head(conn)) return false;
        }
        if (conn->in_body && conn->in_left == 0) {
            conn_done(conn);
            /* The answer came before the whole body was sent: the connection is of no use. */
            return conn->out == conn->out_len && conn_begin(conn);
        }
    }
}

static void conn_event(Conn *conn, uint32_t events)
{
    bool was_busy = conn->busy;
    uint64_t before = done + failed;
    bool good = true;
    if ((events & EPOLLOUT) != 0 && conn->busy) good = conn_send(conn);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 || !good) good = conn_receive(conn) && good;
    if (good) return;
    if (was_busy && conn->busy && done + failed == before) fail(conn, "connection ended");
    close(conn->fd);
    conn_open(conn);
    if (!conn_begin(conn)) die("new connection");
}

static void run(void)
{
    Conn *conns = calloc(options.connections, sizeof *conns);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (conns == NULL || epoll_fd < 0) die("start");
    for (size_t i = 0; i < options.connections; i++)
        conn_open(&conns[i]);
    last_ns = now_ns();
    end_ns = last_ns + (uint64_t)(options.seconds * 1e9);
    for (size_t i = 0; i < options.connections; i++)
        if (!conn_begin(&conns[i])) die("first request");
    struct epoll_event events[EVENTS_MAX];
    int silent_waits = 0;
    for (bool busy = true; busy;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, WAIT_MS);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++)
            conn_event(events[i].data.ptr, events[i].events);
        busy = may_begin();
        for (size_t i = 0; i < options.connections && !busy; i++)
            busy = conns[i].busy;
        silent_waits = count == 0 ? silent_waits + 1 : 0;
        if (silent_waits == SILENT_WAITS_MAX) {
            fprintf(stderr, "bench-load: no answer for 60 s\n");
            failed++;
            break;
        }
    }
    for (size_t i = 0; i < options.connections; i++)
        close(conns[i].fd);
    free(conns);
}

static void report(uint64_t start_ns, CpuTime server, double own_s, double drained_s)
{
    double wall_s = (double)(last_ns - start_ns) / 1e9;
    double per = done > 0 ? 1e6 / (double)done : 0;
    printf("{\"requests\": %llu, \"failed\": %llu, \"seconds\": %.4f, \"per_second\": %.1f, "
           "\"mib_per_second\": %.2f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, "
           "\"cpu_us\": %.2f, \"user_us\": %.2f, \"system_us\": %.2f, \"client_cpu_us\": %.2f, "
           "\"drained_s\": %.2f}\n",
           (unsigned long long)done, (unsigned long long)failed, wall_s,
           wall_s > 0 ? (double)done / wall_s : 0,
           wall_s > 0 ? (double)bytes / wall_s / (1 << 20) : 0, histogram_us(&latencies, 0.5),
           histogram_us(&latencies, 0.99), (double)latencies.max_ns / 1000.0,
           (server.user_s + server.system_s) * per, server.user_s * per, server.system_s * per,
           own_s * per, drained_s);
}

static bool parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},     {"connections", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'},
        {"requests", 1, NULL, 'n'}, {"mode", 1, NULL, 'm'},        {"size", 1, NULL, 'z'},
        {"path", 1, NULL, 'u'},     {"first", 1, NULL, 'f'},       {"keys", 1, NULL, 'k'},
        {"auth", 1, NULL, 'a'},     {"seed", 1, NULL, 'e'},        {"pid", 1, NULL, 'i'},
        {"drain", 0, NULL, 'd'},    {"scatter", 0, NULL, 'x'},     {"read", 0, NULL, 'r'},
        {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'p': options.port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'c': options.connections = strtoul(optarg, NULL, 10); break;
        case 's': options.seconds = strtod(optarg, NULL); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        case 'm':
            options.mode = optarg[0] == 'p'   ? MODE_PUT
                           : optarg[0] == 'g' ? MODE_GET
                           : optarg[0] == 'd' ? MODE_DELETE
                                              : MODE_MIX;
            break;
        case 'z': options.size = strtoull(optarg, NULL, 10); break;
        case 'u': options.path = optarg; break;
        case 'f': options.first = strtoull(optarg, NULL, 10); break;
        case 'k': options.keys = strtoull(optarg, NULL, 10); break;
        case 'a': options.auth = optarg; break;
        case 'e': options.seed = strtoull(optarg, NULL, 10); break;
        case 'i':
            if (options.pid_count < PIDS_MAX)
                options.pids[options.pid_count++] = (pid_t)strtol(optarg, NULL, 10);
            break;
        case 'd': options.drain = true; break;
        case 'x': options.scatter = true; break;
        case 'r': options.read = true; break;
        default: return false;
        }
    }
    return options.port != 0 && options.connections > 0 && options.keys > 0 &&
           options.size >= sizeof((Conn *)0)->stamp &&
           strlen(options.path) + (options.auth == NULL ? 0 : strlen(options.auth)) < 512;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "bench-load: see the head of test/bench/load.c for the options\n");
        return 2;
    }
    random_state = (options.seed + 1) * 0x9E3779B97F4A7C15U;
    body = malloc(options.size + sizeof(uint64_t));
    if (body == NULL) die("malloc");
    for (uint64_t i = 0; i < options.size; i += sizeof(uint64_t)) {
        uint64_t word = random_next();
        memcpy(body + i, &word, sizeof word);
    }
    CpuTime before = cpu_time(options.pids, options.pid_count);
    pid_t self = getpid();
    CpuTime own_before = cpu_time(&self, 1);
    uint64_t start_ns = now_ns();
    run();
    CpuTime own = cpu_time(&self, 1);
    double drained_s = 0;
    if (options.drain) drained_s = cpu_wait_quiet(options.pids, options.pid_count, 60);
    CpuTime after = cpu_time(options.pids, options.pid_count);
    after.user_s -= before.user_s;
    after.system_s -= before.system_s;
    report(start_ns, after, own.user_s + own.system_s - own_before.user_s - own_before.system_s,
           drained_s);
    return failed > 0 || done == 0 ? 1 : 0;
}
