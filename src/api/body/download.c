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
#include "api/body/download.h"

#include <inttypes.h>

#include "api/body/download_priv.h"
#include "base/log.h"

/* Until it is tried again; before the first byte, which is refused in the end, ever later.
 */
#define AGAIN_MS 20
#define AGAIN_MAX_MS 320
#define FIRST_WAIT_MS 3000

struct Download {
    DownloadOptions options;
    LoopWork work;
    LoopTimer *again;   /* it waits; NULL: it does not */
    uint64_t waited_ms; /* for the first byte */
    uint64_t again_ms;  /* until it is tried again */
    Extent *extents;
    Fill fill;
    Piece pieces[PIECES];
    unsigned next;   /* piece to fill */
    unsigned send;   /* piece to send */
    uint64_t sent;   /* next byte of the file to send */
    uint64_t out;    /* bytes that were sent, those between parts included */
    size_t part;     /* of several, the one that is being sent; their count: behind the last */
    size_t text_len; /* bytes of text that are still to be sent */
    char text[DOWNLOAD_PART_TEXT_MAX];
    bool pinned;  /* its extents stay, whatever becomes of the file */
    bool busy;    /* a worker has fill and pieces[next] */
    bool cold;    /* the next bytes may have to be waited for: a worker fills */
    bool whole;   /* the range is all of the file */
    bool begun;   /* headers are on their way */
    bool sending; /* on_written will come */
    bool held;    /* it sends from the piece's own memory, which must stay until then */
    bool gone, must_wait;
    ErrCode work_code; /* the worker's answer */
    Err work_err;
    ErrCode code; /* the first failure; the loop's */
    Err err;
};

static void step(Download *d);

void download_free(Download *d)
{
    if (d == NULL) return;
    ASSERT(!d->busy);
    loop_timer_free(d->again);
    for (unsigned i = 0; i < PIECES; i++)
        download_piece_clear(&d->pieces[i], true);
    blob_reader_free(d->fill.reader);
    for (unsigned i = 0; i < d->fill.mends; i++)
        blob_reader_free(d->fill.mended[i]);
    if (d->pinned) blobs_unpin(d->fill.blobs, d->extents, d->options.row.extent_count);
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

/* Memory is short, which slow clients hold for a moment only (give_back()), or somebody mends what
 * is damaged. A file that is not begun waits for that, too, and is refused when it lasts. */
static bool wait_a_while(Download *d)
{
    uint64_t ms = AGAIN_MS;
    d->cold = true; /* so that a worker tries again, wherever it was met */
    if (!d->begun) {
        if (d->waited_ms >= FIRST_WAIT_MS) return false;
        ms = d->again_ms = d->again_ms == 0 ? AGAIN_MS : MIN(d->again_ms * 2, AGAIN_MAX_MS);
        d->waited_ms += ms;
    }
    d->again = loop_timer_new(http_request_loop(d->options.req), ms, 0, on_again, d);
    return true;
}

/* One piece was filled, or not. */
static void have_filled(Download *d, ErrCode code, const Err *err)
{
    if (code == OK) {
        d->next = (d->next + 1) % PIECES;
    } else if (code != ERR_BUSY || !wait_a_while(d)) {
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
    loop_work(http_request_loop(d->options.req), &d->work);
}

/* On the loop, if nothing has to be waited for. */
static void fill_here(Download *d)
{
    bool done = false;
    Err err = {0};
    if (!may_fill(d)) return;
    ErrCode code = download_fill_now(&d->fill, &d->pieces[d->next], &done, &err);
    bool mends = done && download_is_damage(code) && service_has_copies(d->options.service);
    d->cold = !done || mends; /* a worker meets it again, and may wait for other disks */
    if (done && !mends) have_filled(d, code, &err);
}

/* --- sending --- */
/* Lists the file as damaged, at the chunk that could not be verified. */
static void note_damage(Download *d)
{
    char place[BLOB_PATH_MAX];
    const Fill *fill = &d->fill;
    ASSERT(fill->bad_extent < d->options.row.extent_count);
    blob_path(d->extents[fill->bad_extent].body, d->extents[fill->bad_extent].number, place);
    RiskFound found = {.file = d->options.row.file,
                       .version = d->options.row.version,
                       .key = d->options.key,
                       .size = d->options.row.size,
                       .cause = risk_cause_of(d->err.code),
                       .place = place,
                       .offset = fill->bad_offset,
                       .detail = err_text(&d->err)};
    service_damaged(d->options.service, d->options.bucket, found);
}

/* The worker is idle and something went wrong. */
static void give_up(Download *d)
{
    const DownloadDoor *door = &d->options.door;
    Err err = d->err;
    ErrCode code = d->code;
    if (d->code == ERR_NOT_FOUND && !d->begun && door->again != NULL) {
        door->again(d->options.ctx); /* replaced and unlinked meanwhile */
        return;
    }
    if (!d->gone && download_is_damage(code)) {
        note_damage(d);
        code = err_wrap(&err, ERR_FILE_DAMAGED, "extent %" PRIu32, d->fill.bad_extent);
    }
    if (!d->begun) {
        door->refuse(d->options.ctx, code, &err);
        return;
    }
    HttpRequest *req = d->options.req;
    if (!d->gone) {
        LOG(ERROR, "http.failed", "request_id=" LOG_STR " code=%s error=" LOG_STR,
            LOG_ARG(http_request_id(req)), err_info(code)->slug, LOG_CSTR(err_text(&err)));
    }
    door->ended(d->options.ctx, d->gone ? ERR_ABORTED : code, d->out);
    http_respond_abort(req);
}

/* Of a file that goes meanwhile the next part can only be read by who has it open. */
static void keep_reader(Download *d, Piece *piece)
{
    if (d->options.span_count == 0 || d->sent < d->fill.end || piece->last == NULL) return;
    ASSERT(d->fill.reader == NULL && piece->extent + 1 == d->fill.extent);
    d->fill.reader = TAKE(piece->last);
    d->fill.extent = piece->extent;
    d->fill.extent_from -= d->extents[piece->extent].size;
}

/* count bytes of the piece to send are on their way and no longer needed. */
static void piece_sent(Download *d, size_t count)
{
    Piece *piece = &d->pieces[d->send];
    ASSERT(count <= piece->len);
    piece->len -= count;
    piece->from += count;
    d->sent += count;
    d->out += count;
    if (piece->len > 0) return;
    keep_reader(d, piece);
    download_piece_clear(piece, false);
    d->send = (d->send + 1) % PIECES;
}

static void on_written(HttpRequest *req, void *ctx, ErrCode code)
{
    Download *d = ((DownloadSlot *)ctx)->download;
    UNUSED(req);
    d->sending = false;
    d->gone = d->gone || code != OK;
    if (d->held) piece_sent(d, d->pieces[d->send].len);
    d->held = false;
    step(d);
}

static void send_piece(Download *d)
{
    HttpRequest *req = d->options.req;
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

static void send_text(Download *d)
{
    HttpWrite result = http_respond_write(d->options.req, str_of(d->text, d->text_len), on_written);
    d->sending = result == HTTP_WRITE_LATER;
    d->gone = d->gone || result == HTTP_WRITE_GONE;
    d->out += d->text_len;
    d->text_len = 0;
}

/* Where the filler is to go on for bytes from..end. */
static void seek(Download *d, uint64_t from, uint64_t end)
{
    Fill *fill = &d->fill;
    bool inside = from >= fill->extent_from &&
                  from < fill->extent_from + d->extents[fill->extent].size;
    if (!inside) {
        blob_reader_free(TAKE(fill->reader));
        fill->extent = 0;
        fill->extent_from = 0;
        while (fill->extent_from + d->extents[fill->extent].size <= from)
            fill->extent_from += d->extents[fill->extent++].size;
    }
    fill->pos = from;
    fill->end = end;
    d->sent = from;
    d->cold = fill->reader == NULL; /* the extent is to be opened */
}

/* All of a range is sent: the next one, or what ends them. False: that was all. */
static bool next_part(Download *d)
{
    const DownloadOptions *o = &d->options;
    if (d->part == o->span_count) return false;
    d->part++;
    d->text_len = o->door.part_text(o->ctx, d->part, d->text);
    if (d->part < o->span_count) seek(d, o->spans[d->part].from, o->spans[d->part].end);
    return true;
}

/* Sends what is verified, as far as the client takes it. */
static void send_pieces(Download *d)
{
    if (!d->begun) {
        d->options.door.headers(d->options.ctx);
        http_respond_begin(d->options.req, d->options.status, d->options.length);
        d->begun = true;
    }
    while (!d->sending && !d->gone && d->code == OK) {
        if (d->text_len > 0) {
            send_text(d);
            continue;
        }
        if (d->sent == d->fill.end) {
            if (!next_part(d)) break;
            continue;
        }
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
    const FileRow *row = &d->options.row;
    if (d->whole) service_whole(d->options.service, row->file, row->version);
    d->options.door.ended(d->options.ctx, OK, d->out);
    http_respond_end(d->options.req);
}

/* The extents make up the file's size, none of them empty. */
static ErrCode check_sizes(const Download *d, Err *err)
{
    uint64_t left = d->options.row.size;
    for (uint32_t i = 0; i < d->options.row.extent_count; i++) {
        if (d->extents[i].size > left || d->extents[i].size == 0) break;
        left -= d->extents[i].size;
        if (i + 1 == d->options.row.extent_count && left == 0) return OK;
    }
    return err_set(err, ERR_FILE_DAMAGED, "the extents do not make up the size");
}

/* Extents are opened one after the other: those of one version stay until all are sent. What was
 * looked up may be gone, and some of them with it, before they are held: ERR_NOT_FOUND. */
static ErrCode hold_extents(Download *d, Err *err)
{
    const FileRow *row = &d->options.row;
    StoreFound found;
    if (row->extent_count < 2) return OK; /* it is opened at once, or gone */
    blobs_pin(d->fill.blobs, d->extents, row->extent_count);
    d->pinned = true;
    return service_find_id(d->options.reader, row->file, &row->version, &found, err);
}

void download_start(const DownloadOptions *options)
{
    uint64_t from = options->from;
    uint64_t end = options->end;
    Download *d = mem_new(sizeof *d);
    d->options = *options;
    d->extents = options->extents;
    ASSERT(options->ctx->download == NULL);
    options->ctx->download = d;
    Err err = {0};
    ErrCode code = check_sizes(d, &err);
    if (code != OK) {
        options->door.refuse(options->ctx, code, &err);
        return;
    }
    Store *store = service_reader_store(options->reader);
    d->fill = (Fill){.service = options->service,
                     .store = store,
                     .blobs = store_blobs(store),
                     .buffers = options->buffers,
                     .extents = options->extents};
    code = hold_extents(d, &err);
    if (code == ERR_NOT_FOUND && options->door.again != NULL) {
        options->door.again(options->ctx);
        return;
    }
    if (code != OK) {
        options->door.refuse(options->ctx, code, &err);
        return;
    }
    if (options->span_count > 0) {
        from = options->spans[0].from;
        end = options->spans[0].end;
        d->text_len = options->door.part_text(options->ctx, 0, d->text);
    }
    ASSERT(from < end && end <= options->row.size);
    d->whole = from == 0 && end == options->row.size;
    seek(d, from, end);
    step(d);
}
