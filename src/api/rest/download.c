/* A large file on its way out. Bytes are verified into two pieces in turn (download_fill.c) and
 * sent by the loop: one is verified while the other is sent. Nothing is sent before its chunk was
 * verified; what is found damaged after the headers resets the connection, so that the client knows
 * that it has not got it all.
 *
 * Who verifies: the loop itself if the bytes are in memory, at most a window between two turns of
 * other connections; else a worker, which waits for the disk. Handing windows that are in memory to
 * a worker cost more than it gained, see docs/benchmarks.md.
 *
 * A slow client: when the socket is full and mapped memory is scarce, the pieces are given back;
 * when there is room again, the rest is verified anew. */
#include "api/rest/download_priv.h"

#include <inttypes.h>

#include "base/log.h"

#define AGAIN_MS 20 /* until memory is asked for again, in the middle of a file */

struct Download {
    RestCall *call;
    LoopWork work;
    LoopTimer *again; /* memory was short; NULL: none */
    RestFile file;
    Extent *extents;
    Fill fill;
    Piece pieces[PIECES];
    unsigned next; /* piece to fill */
    unsigned send; /* piece to send */
    uint64_t from; /* the first that is sent */
    uint64_t sent; /* next byte of the file to send */
    bool busy;     /* a worker has fill and pieces[next] */
    bool cold;     /* the next bytes may have to be waited for: a worker fills */
    bool whole;    /* the range is all of the file */
    bool begun;    /* headers are on their way */
    bool sending;  /* on_written will come */
    bool held;     /* it sends from the piece's own memory, which must stay until then */
    bool gone, must_wait;
    ErrCode work_code; /* the worker's answer */
    Err work_err;
    ErrCode code; /* the first failure; the loop's */
    Err err;
};

static void step(Download *d);

static int status(const Download *d)
{
    return d->call->partial ? 206 : 200;
}

void rest_download_free(Download *d)
{
    if (d == NULL) return;
    ASSERT(!d->busy);
    loop_timer_free(d->again);
    for (unsigned i = 0; i < PIECES; i++)
        download_piece_clear(&d->pieces[i], true);
    blob_reader_free(d->fill.reader);
    mem_free(d->extents);
    mem_free(d);
}

/* --- filling --- */

static void on_again(void *arg)
{
    Download *d = arg;
    loop_timer_free(TAKE(d->again));
    step(d);
}

/* One piece was filled, or not. */
static void have_filled(Download *d, ErrCode code, const Err *err)
{
    if (code == OK) {
        d->next = (d->next + 1) % PIECES;
    } else if (code == ERR_BUSY && d->begun) {
        Loop *loop = http_request_loop(d->call->req);
        d->again = loop_timer_new(loop, AGAIN_MS, 0, on_again, d);
    } else {
        d->code = code;
        d->err = *err;
    }
}

static void work_fill(void *arg)
{
    Download *d = arg;
    d->work_code = download_fill(&d->fill, &d->pieces[d->next], &d->work_err);
}

/* The socket is full and others need the memory: gives the pieces back. Mapped ones only; a buffer
 * was paid for by a copy and belongs to another budget. */
static void give_back(Download *d)
{
    if (d->busy || !d->sending || !file_map_scarce()) return;
    for (unsigned i = 0; i < PIECES; i++)
        if (d->pieces[i].len > 0 && d->pieces[i].data != NULL) return;
    for (unsigned i = PIECES; i > 0; i--) {
        Piece *piece = &d->pieces[(d->send + i - 1) % PIECES]; /* the one sent first comes last */
        if (piece->len == 0) continue;
        d->fill.pos -= piece->len;
        if (piece->last != NULL) { /* which must stay open, whatever becomes of its name */
            blob_reader_free(d->fill.reader);
            d->fill.reader = TAKE(piece->last);
        }
        if (piece->extent != d->fill.extent) {
            ASSERT(piece->extent + 1 == d->fill.extent);
            d->fill.extent = piece->extent;
            d->fill.extent_from -= d->extents[piece->extent].size;
        }
        download_piece_clear(piece, false);
    }
    ASSERT(d->fill.pos == d->sent);
    d->next = d->send;
}

static void have_work(void *arg)
{
    Download *d = arg;
    d->busy = false;
    d->cold = !d->pieces[d->next].was_resident;
    have_filled(d, d->work_code, &d->work_err);
    give_back(d);
    step(d);
}

static bool may_fill(const Download *d)
{
    return !d->busy && d->again == NULL && d->code == OK && d->fill.pos < d->fill.end &&
           d->pieces[d->next].len == 0 && !(d->sending && file_map_scarce());
}

/* By a worker, if the disk is to be waited for: also ahead of what is being sent. */
static void fill_there(Download *d)
{
    if (!d->cold || !may_fill(d)) return;
    d->busy = true;
    d->work = (LoopWork){.work = work_fill, .done = have_work, .arg = d};
    loop_work(http_request_loop(d->call->req), &d->work);
}

/* On the loop, if nothing has to be waited for. */
static void fill_here(Download *d)
{
    bool done = false;
    Err err = {0};
    if (!may_fill(d)) return;
    ErrCode code = download_fill_now(&d->fill, &d->pieces[d->next], &done, &err);
    d->cold = !done;
    if (done) have_filled(d, code, &err);
}

/* --- sending --- */
/* Stored bytes are not what was written, or cannot be read. */
static bool is_damage(ErrCode code)
{
    return code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_IO;
}

/* Lists the file as damaged, at the chunk that could not be verified. */
static void note_damage(Download *d)
{
    char place[BLOB_PATH_MAX];
    const Fill *fill = &d->fill;
    ASSERT(fill->bad_extent < d->file.row.extent_count);
    blob_path(d->extents[fill->bad_extent].body, d->extents[fill->bad_extent].number, place);
    rest_damaged(d->call, &d->file, place, fill->bad_offset, &d->err);
}

/* The worker is idle and something went wrong. */
static void give_up(Download *d)
{
    RestCall *call = d->call;
    Err err = d->err;
    ErrCode code = d->code;
    if (d->code == ERR_NOT_FOUND && !d->begun && call->tries < FIND_TRIES) {
        call->download = NULL; /* replaced and unlinked meanwhile: look again */
        rest_download_free(d);
        rest_get_find(call);
        return;
    }
    if (!d->gone && is_damage(code)) {
        note_damage(d);
        code = err_wrap(&err, ERR_FILE_DAMAGED, "extent %" PRIu32, d->fill.bad_extent);
    }
    if (!d->begun) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->status = status(d);
    call->code = d->gone ? ERR_ABORTED : code;
    call->bytes_out = d->sent - d->from;
    if (!d->gone) {
        LOG(ERROR, "http.failed", "request_id=" LOG_STR " code=%s error=" LOG_STR,
            LOG_ARG(http_request_id(call->req)), err_info(code)->slug, LOG_CSTR(err_text(&err)));
    }
    http_respond_abort(call->req);
}

/* count bytes of the piece to send are on their way and no longer needed. */
static void piece_sent(Download *d, size_t count)
{
    Piece *piece = &d->pieces[d->send];
    ASSERT(count <= piece->len);
    piece->len -= count;
    piece->from += count;
    d->sent += count;
    if (piece->len > 0) return;
    download_piece_clear(piece, false);
    d->send = (d->send + 1) % PIECES;
}

static void on_written(HttpRequest *req, void *ctx, ErrCode code)
{
    Download *d = ((RestCall *)ctx)->download;
    UNUSED(req);
    d->sending = false;
    d->gone = d->gone || code != OK;
    if (d->held) piece_sent(d, d->pieces[d->send].len);
    d->held = false;
    step(d);
}

static void send_piece(Download *d)
{
    HttpRequest *req = d->call->req;
    Piece *piece = &d->pieces[d->send];
    size_t taken = 0;
    HttpWrite result;
    if (piece->data != NULL) {
        result = http_respond_write(req, str_of(piece->data, piece->len), on_written);
        if (result == HTTP_WRITE_DONE) taken = piece->len;
    } else {
        result = http_respond_file(req, piece->fd, piece->from, piece->len, &taken, on_written);
    }
    d->sending = result == HTTP_WRITE_LATER;
    d->held = d->sending && piece->data != NULL;
    d->gone = d->gone || result == HTTP_WRITE_GONE;
    if (result == HTTP_WRITE_FAILED) {
        d->code = err_set(&d->err, ERR_CORRUPT, "verified bytes can't be read any more");
        d->fill.bad_extent = piece->extent;
        d->fill.bad_offset = piece->from;
    }
    if (taken > 0) piece_sent(d, taken);
}

/* Is the piece to send verified? While a worker is busy, the one that it fills is its own. */
static bool piece_ready(const Download *d)
{
    bool filling = d->busy && d->send == d->next;
    return !filling && d->pieces[d->send].len > 0;
}

/* Sends what is verified, as far as the client takes it. */
static void send_pieces(Download *d)
{
    if (!d->begun) {
        rest_file_headers(d->call, &d->file, false);
        http_respond_begin(d->call->req, status(d), d->fill.end - d->sent);
        d->begun = true;
    }
    while (!d->sending && !d->gone && d->code == OK) {
        if (!piece_ready(d)) fill_here(d);
        fill_there(d);
        if (!piece_ready(d)) break;
        send_piece(d);
    }
    give_back(d);
}

static void step(Download *d)
{
    if (d->code == OK && !d->gone) {
        fill_there(d);
        if (d->begun || piece_ready(d)) send_pieces(d);
    }
    if (d->busy) return;
    if (d->gone || (d->code != OK && !d->sending)) {
        give_up(d);
        return;
    }
    if (d->sent < d->fill.end || d->sending) return;
    d->call->status = status(d);
    d->call->bytes_out = d->sent - d->from;
    if (d->whole) service_whole(d->call->service, d->file.row.file, d->file.row.version);
    http_respond_end(d->call->req);
}

/* The extents make up the file's size, none of them empty. */
static ErrCode check_sizes(const Download *d, Err *err)
{
    uint64_t left = d->file.row.size;
    for (uint32_t i = 0; i < d->file.row.extent_count; i++) {
        if (d->extents[i].size > left || d->extents[i].size == 0) break;
        left -= d->extents[i].size;
        if (i + 1 == d->file.row.extent_count && left == 0) return OK;
    }
    return err_set(err, ERR_FILE_DAMAGED, "the extents do not make up the size");
}

void rest_download(RestCall *call, const RestFile *file, Extent *extents, uint64_t from,
                   uint64_t end)
{
    ASSERT(from <= end && end <= file->row.size);
    Download *d = mem_new(sizeof *d);
    d->call = call;
    d->file = *file;
    d->extents = extents;
    call->download = d;
    Err err = {0};
    ErrCode code = check_sizes(d, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    ASSERT(from < end);
    d->whole = from == 0 && end == file->row.size;
    d->cold = true; /* the extent is to be opened */
    d->from = from;
    d->sent = from;
    d->fill = (Fill){.blobs = store_blobs(service_store(call->service)),
                     .buffers = call->rest->options.buffers,
                     .extents = extents,
                     .pos = from,
                     .end = end};
    while (d->fill.extent_from + extents[d->fill.extent].size <= from)
        d->fill.extent_from += extents[d->fill.extent++].size;
    step(d);
}
