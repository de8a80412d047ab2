/* A stream has a few slots. One with a piece, or with the mark of the body's end, goes to the
 * thread by its queue, and back by the stream's own when its turn is over:
 *
 *   caller: free slot --add, end--> queue --> thread: waiting, in order --hashed--> stream's back
 *
 * Since the end's slot is the last one, a stream whose slots are all back is the caller's alone. */
#include "api/body/md5_thread.h"

#include <stdatomic.h>

#include "base/md5_run.h"
#include "base/queue.h"
#include "base/thread.h"

#define SLOTS (MD5_STREAM_PENDING + 1) /* one for the end */
#define QUEUE_CAPACITY 1024            /* slots; who finds it full waits */
#define TAKEN_AT_ONCE 64
#define GATHER_MS 1

/* A piece, or the mark of the end. */
typedef struct {
    Md5Stream *stream;
    Buffer *piece; /* NULL: the end */
} Slot;

struct Md5Stream {
    Md5Thread *thread;
    Slot slots[SLOTS];
    Slot *free[SLOTS]; /* the caller's */
    size_t free_count;
    Queue *back;
    Md5Run *run;          /* the thread's from the first slot on until all are back */
    Slot *waiting[SLOTS]; /* the rest is always the thread's: a ring, the oldest first, */
    size_t head;
    size_t count;
    size_t done; /* bytes taken of the oldest */
    bool urgent; /* counted in the thread's */
    Md5Stream *next;
};

struct Md5Thread {
    Buffers *buffers;
    Queue *queue;
    Thread thread;
    atomic_size_t streams; /* that are there */
    /* The thread's own. Streams that have something waiting, who came first first. */
    Md5Stream *first;
    Md5Stream *last;
    size_t ready;
    size_t urgent; /* of those: full, or waited for */
};

/* --- the thread --- */

static void ring_check(const Md5Stream *s)
{
    ASSERT(s->count <= SLOTS && s->head < SLOTS);
    ASSERT(s->count > 0 || (!s->urgent && s->done == 0));
}

static Slot *oldest(const Md5Stream *s)
{
    ASSERT(s->count > 0);
    return s->waiting[s->head];
}

static void append(Md5Thread *t, Md5Stream *s)
{
    s->next = NULL;
    if (t->first == NULL)
        t->first = s;
    else
        t->last->next = s;
    t->last = s;
    t->ready++;
}

static Md5Stream *take_first(Md5Thread *t)
{
    Md5Stream *s = t->first;
    ASSERT(s != NULL && t->ready > 0);
    t->first = s->next;
    t->ready--;
    return s;
}

/* Somebody waits for it, or is about to. */
static void judge(Md5Thread *t, Md5Stream *s)
{
    size_t newest = (s->head + s->count + SLOTS - 1) % SLOTS;
    bool urgent = s->count >= MD5_STREAM_PENDING ||
                  (s->count > 0 && s->waiting[newest]->piece == NULL);
    if (urgent && !s->urgent) t->urgent++;
    if (!urgent && s->urgent) t->urgent--;
    s->urgent = urgent;
}

static void give_back(Slot *slot)
{
    ErrCode code = queue_push(slot->stream->back, slot);
    ASSERT(code == OK); /* it has room for all slots */
}

static void enqueue(Md5Thread *t, Slot *slot)
{
    Md5Stream *s = slot->stream;
    ring_check(s);
    ASSERT(s->count < SLOTS);
    if (s->count == 0 && slot->piece == NULL) {
        give_back(slot);
        return;
    }
    s->waiting[(s->head + s->count) % SLOTS] = slot;
    if (s->count++ == 0) append(t, s);
    judge(t, s);
}

/* Is there nothing to be gained by waiting? */
static bool is_due(Md5Thread *t)
{
    return t->urgent > 0 || t->ready >= MD5_LANES || t->ready >= atomic_load(&t->streams) ||
           !buffers_plenty(t->buffers, BUFFERS_IN);
}

static Slot *pop(Md5Stream *s)
{
    Slot *slot = oldest(s);
    s->head = (s->head + 1) % SLOTS;
    s->count--;
    return slot;
}

/* The oldest piece has been taken by len bytes more. */
static void advance(Md5Thread *t, Md5Stream *s, size_t len)
{
    Slot *piece = NULL;
    Slot *end = NULL;
    s->done += len;
    if (s->done == oldest(s)->piece->len) {
        piece = pop(s);
        s->done = 0;
        if (s->count > 0 && oldest(s)->piece == NULL) end = pop(s);
        buffer_release(TAKE(piece->piece));
    }
    judge(t, s);
    if (s->count > 0) append(t, s);
    ring_check(s);
    if (piece != NULL) give_back(piece);
    if (end != NULL) give_back(end); /* the stream may be gone now */
}

/* As much of up to eight streams as the shortest of their pieces has left. */
static void hash_some(Md5Thread *t)
{
    Md5Stream *streams[MD5_LANES];
    Md5Piece pieces[MD5_LANES];
    size_t len = SIZE_MAX;
    size_t count = MIN(t->ready, (size_t)MD5_LANES);
    for (size_t i = 0; i < count; i++) {
        Md5Stream *s = take_first(t);
        const Buffer *piece = oldest(s)->piece;
        streams[i] = s;
        pieces[i].run = s->run;
        pieces[i].data = piece->data + s->done;
        len = MIN(len, piece->len - s->done);
    }
    for (size_t i = 0; i < count; i++)
        pieces[i].len = len;
    md5_run_update(pieces, count);
    for (size_t i = 0; i < count; i++)
        advance(t, streams[i], len);
}

static void run(void *arg)
{
    Md5Thread *t = arg;
    for (;;) {
        void *slots[TAKEN_AT_ONCE];
        int wait_ms = t->ready == 0 ? -1 : is_due(t) ? 0 : GATHER_MS;
        size_t count = wait_ms == 0 ? queue_pop(t->queue, slots, TAKEN_AT_ONCE)
                                    : queue_pop_wait(t->queue, slots, TAKEN_AT_ONCE, wait_ms);
        if (count == 0 && t->ready == 0) break; /* closed */
        for (size_t i = 0; i < count; i++)
            enqueue(t, slots[i]);
        if (t->ready > 0 && (count == 0 || is_due(t))) hash_some(t);
    }
    ASSERT(t->urgent == 0);
}

ErrCode md5_thread_open(Buffers *buffers, Md5Thread **out, Err *err)
{
    AUTO(Md5Thread, md5_thread_close) t = mem_new(sizeof *t);
    t->buffers = buffers;
    t->queue = queue_new(QUEUE_CAPACITY);
    TRY(thread_start(&t->thread, "md5", run, t, err));
    *out = TAKE(t);
    return OK;
}

void md5_thread_close(Md5Thread *t)
{
    if (t == NULL) return;
    ASSERT(atomic_load(&t->streams) == 0);
    queue_close(t->queue);
    thread_join(&t->thread);
    queue_free(t->queue);
    mem_free(t);
}

/* --- who has a stream --- */

Md5Stream *md5_stream_new(Md5Thread *thread)
{
    Md5Stream *s = mem_new(sizeof *s);
    s->thread = thread;
    s->run = md5_run_new();
    s->back = queue_new(SLOTS);
    for (size_t i = 0; i < SLOTS; i++) {
        s->slots[i].stream = s;
        s->free[s->free_count++] = &s->slots[i];
    }
    atomic_fetch_add(&thread->streams, 1);
    return s;
}

/* Until least slots are free. */
static void wait_for_slots(Md5Stream *s, size_t least)
{
    while (s->free_count < least) {
        void *slots[SLOTS];
        size_t count = queue_pop_wait(s->back, slots, SLOTS, -1);
        for (size_t i = 0; i < count; i++)
            s->free[s->free_count++] = slots[i];
    }
}

static void hand_over(Md5Stream *s, Buffer *piece)
{
    ASSERT(s->free_count > 0);
    Slot *slot = s->free[--s->free_count];
    slot->piece = piece;
    ErrCode code = queue_push_wait(s->thread->queue, slot);
    ASSERT(code == OK); /* it is closed after all streams are gone */
}

void md5_stream_add(Md5Stream *s, Buffer *piece)
{
    if (piece->len == 0) {
        buffer_release(piece);
        return;
    }
    wait_for_slots(s, 2); /* one stays for the end */
    hand_over(s, piece);
}

/* All slots are back: the run is the caller's. */
static void finish(Md5Stream *s)
{
    wait_for_slots(s, 1);
    if (s->free_count < SLOTS) hand_over(s, NULL);
    wait_for_slots(s, SLOTS);
}

void md5_stream_end(Md5Stream *s, uint8_t out[MD5_LEN])
{
    finish(s);
    md5_run_final(s->run, out);
    md5_stream_drop(s);
}

void md5_stream_drop(Md5Stream *s)
{
    if (s == NULL) return;
    finish(s);
    atomic_fetch_sub(&s->thread->streams, 1);
    queue_free(s->back);
    md5_run_free(s->run);
    mem_free(s);
}
