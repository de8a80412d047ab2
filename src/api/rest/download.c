/* A large file on its way out. A worker reads and verifies chunks into two buffers in turn, the
 * loop sends them: one is read while the other is sent. With one buffer (the pool was short) the
 * two take turns. Nothing is sent before the first chunk was verified; what is found damaged later
 * resets the connection, so that the client knows that it has not got it all. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>

#include "base/log.h"

typedef struct {
    uint8_t *data;
    size_t len;     /* bytes of a chunk; 0: free */
    Buffer *buffer; /* of the pool, or */
    void *heap;     /* chunks larger than the pool's buffers */
    size_t capacity;
} Piece;

struct Download {
    RestCall *call;
    LoopWork work;
    Blobs *blobs;
    RestFile file;
    Extent *extents;
    uint32_t extent; /* the reader's */
    uint64_t chunk;  /* next of it */
    BlobReader *reader;
    Piece pieces[2];
    unsigned piece_count;
    unsigned fill; /* next piece to read into */
    unsigned send; /* next piece to send */
    uint64_t sent; /* bytes */
    bool read_all; /* no chunk is left */
    bool busy;     /* the worker has reader, extent, chunk and the piece to fill */
    bool begun;    /* headers are on their way */
    bool sending;  /* on_written will come */
    bool gone;
    ErrCode work_code; /* the worker's answer */
    Err work_err;
    size_t work_len;
    ErrCode code; /* the first failure; the loop's */
    Err err;
};

static void step(Download *d);

void rest_download_free(Download *d)
{
    if (d == NULL) return;
    ASSERT(!d->busy);
    for (unsigned i = 0; i < ARRAY_LEN(d->pieces); i++) {
        buffer_release(d->pieces[i].buffer);
        mem_free(d->pieces[i].heap);
    }
    blob_reader_free(d->reader);
    mem_free(d->extents);
    mem_free(d);
}

/* --- on a worker --- */

static ErrCode open_extent(Download *d, Err *err)
{
    const Extent *extent = &d->extents[d->extent];
    TRY(blob_reader_open(d->blobs, extent->body, extent->number, &d->reader, err));
    if (blob_reader_footer(d->reader)->plain_size != extent->size) {
        return err_set(err, ERR_CORRUPT, "extent %" PRIu32 " has %" PRIu64 " bytes, not %" PRIu64,
                       d->extent, blob_reader_footer(d->reader)->plain_size, extent->size);
    }
    d->chunk = 0;
    return OK;
}

static ErrCode make_room(Piece *piece, size_t len, Err *err)
{
    if (piece->capacity >= len) return OK;
    TRY(mem_retake(&piece->heap, len, err));
    piece->data = piece->heap;
    piece->capacity = len;
    return OK;
}

static ErrCode read_chunk(Download *d, Err *err)
{
    Piece *piece = &d->pieces[d->fill];
    if (d->reader == NULL) TRY(open_extent(d, err));
    const BlobFooter *footer = blob_reader_footer(d->reader);
    TRY(make_room(piece, footer->chunk_size, err));
    TRY(blob_reader_chunk(d->reader, d->chunk, piece->data, &d->work_len, err));
    d->chunk++;
    if (d->chunk < footer->chunk_count) return OK;
    blob_reader_free(TAKE(d->reader));
    d->extent++;
    return OK;
}

static void work_read(void *arg)
{
    Download *d = arg;
    d->work_code = read_chunk(d, &d->work_err);
}

/* --- on the loop --- */

static void have_read(void *arg)
{
    Download *d = arg;
    d->busy = false;
    if (d->work_code == OK) {
        d->pieces[d->fill].len = d->work_len;
        d->fill = (d->fill + 1) % d->piece_count;
        d->read_all = d->extent == d->file.row.extent_count;
    } else {
        d->code = d->work_code;
        d->err = d->work_err;
    }
    step(d);
}

static void read_ahead(Download *d)
{
    if (d->busy || d->read_all || d->code != OK || d->pieces[d->fill].len != 0) return;
    d->busy = true;
    d->work = (LoopWork){.work = work_read, .done = have_read, .arg = d};
    loop_work(http_request_loop(d->call->req), &d->work);
}

/* Stored bytes are not what was written, or cannot be read. */
static bool is_damage(ErrCode code)
{
    return code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_IO;
}

/* Lists the file as damaged, at the chunk that was to be read next. */
static void note_damage(Download *d)
{
    char place[BLOB_PATH_MAX];
    uint64_t offset = d->reader == NULL ? 0 : d->chunk * blob_reader_footer(d->reader)->chunk_size;
    ASSERT(d->extent < d->file.row.extent_count);
    blob_path(d->extents[d->extent].body, d->extents[d->extent].number, place);
    rest_damaged(d->call, &d->file, place, offset, &d->err);
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
        code = err_wrap(&err, ERR_FILE_DAMAGED, "extent %" PRIu32, d->extent);
    }
    if (!d->begun) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->status = 200;
    call->code = d->gone ? ERR_ABORTED : code;
    call->bytes_out = d->sent;
    if (!d->gone) {
        LOG(ERROR, "http.failed", "request_id=" LOG_STR " code=%s error=" LOG_STR,
            LOG_ARG(http_request_id(call->req)), err_info(code)->slug, LOG_CSTR(err_text(&err)));
    }
    http_respond_abort(call->req);
}

static void on_written(HttpRequest *req, void *ctx, ErrCode code)
{
    Download *d = ((RestCall *)ctx)->download;
    UNUSED(req);
    d->sending = false;
    d->gone = d->gone || code != OK;
    d->pieces[d->send].len = 0;
    d->send = (d->send + 1) % d->piece_count;
    step(d);
}

/* Sends what is read, as far as the client takes it. */
static void send_pieces(Download *d)
{
    HttpRequest *req = d->call->req;
    if (!d->begun) {
        rest_file_headers(d->call, &d->file, false);
        http_respond_begin(req, 200, d->file.row.size);
        d->begun = true;
    }
    while (!d->sending && !d->gone && d->pieces[d->send].len > 0) {
        Piece *piece = &d->pieces[d->send];
        if (piece->len > d->file.row.size - d->sent) {
            d->code = err_set(&d->err, ERR_CORRUPT, "the extents hold more than the file");
            return;
        }
        d->sent += piece->len;
        switch (http_respond_write(req, str_of(piece->data, piece->len), on_written)) {
        case HTTP_WRITE_LATER: d->sending = true; break;
        case HTTP_WRITE_GONE: d->gone = true; break;
        case HTTP_WRITE_DONE:
            piece->len = 0;
            d->send = (d->send + 1) % d->piece_count;
            break;
        }
        read_ahead(d);
    }
}

static void step(Download *d)
{
    if (d->code == OK && !d->gone) {
        read_ahead(d);
        if (d->begun || d->pieces[d->send].len > 0) send_pieces(d);
    }
    if (d->busy) return;
    if (d->gone || (d->code != OK && !d->sending)) {
        give_up(d);
        return;
    }
    if (!d->read_all || d->sending || d->pieces[d->send].len > 0) return;
    d->call->status = 200;
    d->call->bytes_out = d->sent;
    if (d->sent == d->file.row.size) {
        service_whole(d->call->service, d->file.row.file, d->file.row.version);
    }
    http_respond_end(d->call->req); /* fewer bytes than announced: an abort */
}

static ErrCode check_sizes(const Download *d, Err *err)
{
    uint64_t left = d->file.row.size;
    for (uint32_t i = 0; i < d->file.row.extent_count; i++) {
        if (d->extents[i].size > left) break;
        left -= d->extents[i].size;
        if (i + 1 == d->file.row.extent_count && left == 0) return OK;
    }
    return err_set(err, ERR_FILE_DAMAGED, "the extents do not make up the size");
}

void rest_download(RestCall *call, const RestFile *file, Extent *extents)
{
    Download *d = mem_new(sizeof *d);
    d->call = call;
    d->blobs = store_blobs(service_store(call->service));
    d->file = *file;
    d->extents = extents;
    call->download = d;
    Err err = {0};
    ErrCode code = check_sizes(d, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    Buffers *pool = call->rest->options.buffers;
    for (; d->piece_count < ARRAY_LEN(d->pieces); d->piece_count++) {
        Piece *piece = &d->pieces[d->piece_count];
        if (d->piece_count > 0 && !buffers_plenty(pool)) break;
        code = buffers_take(pool, BUFFERS_OUT, &piece->buffer, &err);
        if (code != OK) break;
        piece->data = piece->buffer->data;
        piece->capacity = piece->buffer->capacity;
    }
    if (d->piece_count == 0)
        rest_answer_error(call, code, &err);
    else
        step(d);
}
