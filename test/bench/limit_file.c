/* Large files of bench-limit. An upload has a thread of its own: receive, SHA-256 (and MD5, as an
 * etag of S3 needs it, if that is asked for), write (several copies, if that is), sync, rename and
 * the directory's sync. The
 * kernel is not told to begin writing earlier (sync_file_range): the thread then waits for the disk
 * while its client could send. */
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (256U << 10)
#define TURN_BYTES (2U << 20) /* of sendfile before other connections */

_Static_assert(PIECE > LIMIT_INPUT_SIZE, "what came with the head fits a piece");

bool limit_file_md5;
unsigned limit_file_copies = 1;

typedef struct {
    LimitConn *conn;
    int dir_fd;
} Upload;

/* The same bytes in files of their own. */
typedef struct {
    int fds[LIMIT_COPIES_MAX];
    char names[LIMIT_COPIES_MAX][LIMIT_NAME_MAX + 8]; /* while they are written */
    char finals[LIMIT_COPIES_MAX][LIMIT_NAME_MAX + 8];
} Copies;

typedef struct {
    EVP_MD_CTX *sha256;
    EVP_MD_CTX *md5; /* NULL: none */
} Digests;

static EVP_MD_CTX *digest_new(const EVP_MD *kind)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest == NULL || EVP_DigestInit_ex(digest, kind, NULL) != 1) limit_die("digest");
    return digest;
}

/* Of the last one it writes, the first bytes are shown. */
static void digest_end(EVP_MD_CTX *digest, uint8_t *out)
{
    if (digest != NULL && EVP_DigestFinal_ex(digest, out, NULL) != 1) limit_die("digest");
    EVP_MD_CTX_free(digest);
}

static void copies_open(Copies *copies, const LimitConn *conn, int dir_fd)
{
    for (unsigned i = 0; i < limit_file_copies; i++) {
        char *name = copies->names[i];
        char *final = copies->finals[i];
        snprintf(name, sizeof copies->names[i], "%s.%d.%u", conn->name, conn->fd, i);
        snprintf(final, sizeof copies->finals[i], i == 0 ? "%s" : "%s,%u", conn->name, i);
        copies->fds[i] = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (copies->fds[i] < 0) limit_die(name);
    }
}

static void copies_finish(const Copies *copies, int dir_fd)
{
    for (unsigned i = 0; i < limit_file_copies; i++) {
        if (fdatasync(copies->fds[i]) != 0 ||
            renameat(dir_fd, copies->names[i], dir_fd, copies->finals[i]) != 0)
            limit_die(copies->names[i]);
    }
    if (fsync(dir_fd) != 0) limit_die("directory");
}

static void upload_write(const Copies *to, const uint8_t *data, size_t len, Digests *hash,
                         uint64_t *at)
{
    if (EVP_DigestUpdate(hash->sha256, data, len) != 1) limit_die("sha256");
    if (hash->md5 != NULL && EVP_DigestUpdate(hash->md5, data, len) != 1) limit_die("md5");
    for (unsigned i = 0; i < limit_file_copies; i++) {
        if (pwrite(to->fds[i], data, len, (off_t)*at) != (ssize_t)len) limit_die("pwrite");
    }
    *at += len;
}

/* The whole body into each copy, in writes of PIECE; false: the client went away. */
static bool upload_receive(LimitConn *conn, const Copies *to, Digests *hash)
{
    uint8_t *piece = malloc(PIECE);
    if (piece == NULL) limit_die("malloc");
    size_t held = conn->len - conn->head_len; /* came with the head */
    memcpy(piece, conn->input + conn->head_len, held);
    uint64_t at = 0;
    while (at < conn->body_len) {
        uint64_t left = conn->body_len - at;
        size_t want = left < PIECE ? (size_t)left : PIECE;
        ssize_t n = recv(conn->fd, piece + held, want - held, MSG_WAITALL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        held += (size_t)n;
        if (held < want) continue;
        upload_write(to, piece, held, hash, &at);
        held = 0;
    }
    free(piece);
    return at == conn->body_len;
}

static void socket_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);
    flags = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (fcntl(fd, F_SETFL, flags) != 0) limit_die("fcntl");
}

static void *upload_run(void *arg)
{
    Upload *upload = arg;
    LimitConn *conn = upload->conn;
    Copies copies;
    copies_open(&copies, conn, upload->dir_fd);
    Digests hash = {.sha256 = digest_new(EVP_sha256()),
                    .md5 = limit_file_md5 ? digest_new(EVP_md5()) : NULL};
    socket_blocking(conn->fd, true);
    bool all = upload_receive(conn, &copies, &hash);
    uint8_t digest[EVP_MAX_MD_SIZE];
    digest_end(hash.sha256, digest);
    digest_end(hash.md5, digest);
    if (all) copies_finish(&copies, upload->dir_fd);
    for (unsigned i = 0; i < limit_file_copies; i++)
        close(copies.fds[i]);
    socket_blocking(conn->fd, false);
    free(upload);
    char answer[160];
    int len = snprintf(answer, sizeof answer,
                       "HTTP/1.1 201 Created\r\nX-Digest: %02x%02x%02x%02x\r\n"
                       "Content-Length: 0\r\n\r\n",
                       digest[0], digest[1], digest[2], digest[3]);
    if (all && limit_send(conn->fd, answer, (size_t)len)) {
        limit_worker_resume(conn);
    } else {
        close(conn->fd);
        free(conn);
    }
    return NULL;
}

void limit_file_put(LimitConn *conn, int dir_fd)
{
    Upload *upload = malloc(sizeof *upload);
    if (upload == NULL) limit_die("malloc");
    *upload = (Upload){.conn = conn, .dir_fd = dir_fd};
    pthread_t thread;
    if (pthread_create(&thread, NULL, upload_run, upload) != 0 || pthread_detach(thread) != 0)
        limit_die("pthread_create");
}

bool limit_file_get(LimitConn *conn, int dir_fd)
{
    struct stat info;
    int fd = openat(dir_fd, conn->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    if (fstat(fd, &info) != 0) limit_die("fstat");
    conn->file = fd;
    conn->file_at = 0;
    conn->file_size = info.st_size;
    char head[160];
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                       "Content-Length: %lld\r\n\r\n",
                       (long long)info.st_size);
    return send(conn->fd, head, (size_t)len, MSG_NOSIGNAL | MSG_MORE) == len;
}

int limit_file_send(LimitConn *conn)
{
    size_t turn = TURN_BYTES;
    while (conn->file_at < conn->file_size && turn > 0) {
        ssize_t n = sendfile(conn->fd, conn->file, &conn->file_at, turn);
        if (n < 0 && errno == EAGAIN) return 0;
        if (n <= 0) return -1;
        turn -= (size_t)n;
    }
    if (conn->file_at < conn->file_size) return 0;
    close(conn->file);
    conn->file = -1;
    return 1;
}
