/* What conn.c (connections), body.c (bodies), respond.c (answers) and server.c share.
 *
 * A connection's states; each turn of http_conn_run() makes what progress it can:
 *
 *   SECURE (with TLS: the handshake; then IDLE)
 *   IDLE ─bytes─▶ HEAD ─parsed─▶ REQUEST ─answered─▶ IDLE, or HEAD if bytes wait (pipelining)
 *    │             │ refused       │ ├─body unread, small─▶ DRAIN ─all read─▶ IDLE or HEAD
 *    │             └──▶ REQUEST    │ └─must close─▶ LINGER (FIN sent, reads on) ─EOF, time─┐
 *    └──────────EOF, time──────────┴─broken, reset─────────────────────────────────▶ CLOSING
 *
 * CLOSING ends when the socket is closed and the handler has answered its request. */
#ifndef HOLDFAST_HTTP_HTTP_PRIV_H
#define HOLDFAST_HTTP_HTTP_PRIV_H

#include "base/queue.h"
#include "base/rng.h"
#include "http/server.h"
#include "net/tcp.h"
#include "text/dates.h"

/* Input of one request: its head, then as much of its body and of what was pipelined as fits. */
#define INPUT_SIZE (32 * 1024)
#define DRAIN_MAX (64 * KIB) /* of an unread body, to keep the connection */
#define TURN_MAX (2 * MIB)   /* bytes written before other connections get their turn */
/* More than a head: what came in as headers goes out again, beside what the server adds. */
#define HEADERS_OUT_MAX (24 * KIB)
#define SCRATCH_SIZE (16 * 1024) /* for what is read and dropped */
#define PIECES_MAX 6
#define TAIL_SIZE (4 * 1024)  /* of a file: what waits for room in the socket is copied */
#define CROWDED_PART 15       /* of io_timeout_ms, over which the speed of a client is looked at */
#define REQUESTS_KEPT 64      /* by a loop, with an arena's block; more are given back */
#define SHOWN_MIN (16 * 1024) /* body bytes that must be there before a scarce buffer is taken */

_Static_assert(INPUT_SIZE > HTTP_HEAD_MAX, "a head that is too large must be seen to be so");
_Static_assert(HEADERS_OUT_MAX >= HTTP_HEAD_MAX + 2 * KIB, "what was taken can be given back");

typedef struct HttpLoop HttpLoop;
typedef struct Conn Conn;

typedef enum {
    CONN_SECURE,
    CONN_IDLE,
    CONN_HEAD,
    CONN_REQUEST,
    CONN_DRAIN,
    CONN_LINGER,
    CONN_CLOSING
} ConnState;

typedef enum { ASK_NONE, ASK_COLLECT, ASK_READ } Ask;

typedef enum {
    ANSWER_NONE,
    ANSWER_BEGUN, /* http_respond_begin(): pieces follow */
    ANSWER_ENDED, /* a final call was made; what is left is sending */
    ANSWER_SENT
} Answer;

struct HttpRequest {
    Conn *conn;
    HttpLoop *loop;
    HttpRequest *next_free; /* in the loop's pool */
    HttpHead head;
    Arena arena;
    char id[HTTP_REQUEST_ID_SIZE];
    /* the handler's */
    void *ctx;
    void (*on_gone)(HttpRequest *req, void *ctx);
    void (*on_end)(HttpRequest *req, void *ctx);
    bool gone;
    bool counted; /* in the server's requests */
    /* how fast the client is, while others need what it holds */
    uint64_t received;     /* bytes, since the head */
    uint64_t window_ms;    /* when looked at first; 0: nobody does */
    uint64_t window_bytes; /* both ways, then */
    /* input: in[0..in_base) stays as it is, in[in_pos..in_len) is not taken yet */
    size_t in_base, in_pos, in_len;
    /* the body */
    Ask ask;
    HttpCollectFn collect_fn;
    HttpReadFn read_fn;
    size_t collect_max;
    bool body_done;        /* all of it was taken off the connection */
    bool body_told;        /* the handler heard of the end, or of a failure */
    bool keeps_partial;    /* a failed read gives what had come */
    bool continue_due;     /* the client waits for 100 Continue */
    ErrCode body_code;     /* not OK: the body can't be had */
    char body_detail[128]; /* why, if more than the code is known */
    uint64_t body_left;    /* Content-Length: bytes not taken yet */
    HttpChunked chunked;
    Buffer *buffer; /* being filled for ASK_READ */
    Buf collected;
    size_t collect_charged;    /* bytes of the server's budget */
    uint64_t progress_ms;      /* when the last byte came */
    uint64_t piece_end_ms;     /* by when the piece must be there, at the least rate */
    HttpRequest *next_waiting; /* for a body buffer */
    bool waiting;
    /* the answer */
    Answer answer;
    int status;
    bool head_sent;
    bool close_after;
    bool chunked_out;
    bool no_body_out;      /* HEAD, 204, 304 */
    bool out_failed;       /* headers did not fit */
    uint64_t announced;    /* bytes; HTTP_LENGTH_UNKNOWN */
    uint64_t written;      /* bytes of body handed to the kernel or pending */
    Buf headers;           /* the handler's, as lines */
    Buf body;              /* of http_respond_buf() */
    size_t answer_charged; /* bytes by http_respond_room() */
    char top[256];         /* status line and our headers */
    size_t top_len;
    char bottom[128]; /* framing headers and the empty line */
    size_t bottom_len;
    char chunk_line[24];
    uint8_t *tail;            /* of a file, TAIL_SIZE bytes; NULL until needed */
    HttpWrittenFn written_fn; /* to be called when a pending write is done */
    bool written_due;         /* written_fn is to be called with written_code */
    ErrCode written_code;
    size_t turn_bytes;  /* written without leaving the turn to others */
    bool turn_over;     /* written_fn waits for the next turn */
    size_t unsent;      /* of the pending write when last looked at */
    uint64_t unsent_ms; /* when that changed */
    uint64_t write_end_ms;
    uint8_t in[INPUT_SIZE]; /* last: not cleared */
};

struct Conn {
    Tcp tcp;                     /* first */
    char peer[TCP_ADDRESS_SIZE]; /* "" until somebody asked */
    HttpLoop *loop;
    Conn *prev, *next;
    HttpRequest *req; /* NULL while idle */
    ConnState state;
    bool running; /* http_conn_run() is on the stack */
    bool full;    /* there are too many: it is told so once the handshake is done */
    bool eof;     /* the client sends no more */
    bool direct;  /* the read under way goes into the body's own memory */
    bool tcp_closed;
    bool soon_posted;
    LoopTask soon;
    uint64_t deadline_ms; /* of IDLE, HEAD, DRAIN, LINGER; boot clock of the loop */
    uint64_t drained;     /* bytes dropped in DRAIN */
};

/* The last summand: what malloc and libuv add. */
_Static_assert(sizeof(HttpRequest) + sizeof(Conn) + 1024 <= HTTP_CONNECTION_BYTES, "as promised");
_Static_assert(HTTP_REQUEST_ARENA_MAX + HEADERS_OUT_MAX + TAIL_SIZE <= HTTP_REQUEST_BYTES,
               "as promised");

/* What a server has on one loop. */
struct HttpLoop {
    HttpServer *server;
    Loop *loop;
    TcpListener *listener;
    TlsContext *tls; /* NULL: none */
    LoopTimer *tick;
    Conn *conns;
    HttpRequest *free_requests;
    size_t free_count;
    HttpRequest *waiting_head, *waiting_tail; /* for a body buffer, in order */
    unsigned watcher;
    LoopTask buffers_task;
    _Atomic bool buffers_posted;
    Rng rng;
    uint64_t date_s; /* second of date */
    char date[DATE_HTTP_SIZE];
    uint8_t scratch[SCRATCH_SIZE];
};

struct HttpServer {
    HttpServerOptions options;
    TcpAddress address;
    HttpLoop *loops;
    _Atomic size_t connections;
    _Atomic size_t requests;   /* in handlers' hands */
    _Atomic size_t collecting; /* bytes charged to collect_max_bytes */
    _Atomic size_t answering;  /* and to answer_max_bytes */
    _Atomic bool draining;
    _Atomic bool closing;
    Queue *empty; /* gets an item when the last connection ends */
};

typedef enum { HTTP_COUNT_BYTES_IN, HTTP_COUNT_BYTES_OUT, HTTP_COUNT_REFUSED } HttpCount;

/* conn.c */
void http_conn_accept(void *ctx, TcpListener *listener);
/* Makes what progress there is; nested calls leave it to the outer one. conn may be freed. */
void http_conn_run(Conn *conn);
/* http_conn_run() in a later turn of the loop; for what is not urgent for a running
 * http_conn_run(). */
void http_conn_next_turn(Conn *conn);
/* The same, unless http_conn_run() is under way and will see to it. */
void http_conn_soon(Conn *conn);
/* The answer is out, or given up: ends the request. conn may be freed. */
void http_conn_answered(Conn *conn);
/* The client is lost; reset says how the socket is closed. */
void http_conn_lost(Conn *conn, bool reset);
void http_conn_tick(void *arg);
void http_conn_close_all(HttpLoop *loop, bool idle_only);
void http_conn_free_pool(HttpLoop *loop);

/* body.c */
void http_body_begin(HttpRequest *req);
/* Where the next read goes if it is the body's own memory; false: into the input. */
bool http_body_room(HttpRequest *req, uint8_t **data, size_t *capacity);
void http_body_arrived(HttpRequest *req, size_t len);
/* Serves what is asked as far as possible; true if the handler was called. */
bool http_body_step(HttpRequest *req);
/* Nobody asks any more. */
void http_body_cancel(HttpRequest *req);
/* Drops what is there of an unread body. */
void http_body_drop(HttpRequest *req);
/* Nothing of the body can come any more. */
void http_body_fail(HttpRequest *req, ErrCode code);
/* Not OK if the body is late, or waits for a buffer for too long. */
ErrCode http_body_late(const HttpRequest *req, uint64_t now_ms);
/* Gives all memory back. */
void http_body_end(HttpRequest *req);
void http_body_buffers_free(void *arg); /* task: buffers came back */

/* respond.c */
void http_respond_problem(HttpRequest *req, int status, ErrCode code, const char *detail);
/* The pending write is done. */
void http_respond_written(HttpRequest *req);
void http_respond_free(HttpRequest *req);

/* server.c */
void http_count(HttpCount what, uint64_t add);
/* Connections there were before this one. */
size_t http_conn_begun(HttpServer *server);
void http_conn_ended(HttpServer *server);

#endif
