/* Md5Thread: a thread that makes the MD5s of all bodies on their way in, up to eight at once
 * (base/md5_run.h). A worker that has hashed and written a piece hands its buffer over and goes on
 * with the next piece; the digest is waited for at the body's end. While several bodies come the
 * thread lets pieces gather, for a millisecond at most, so that there is something to do side by
 * side; not when a body is alone, is waited for, or when buffers get scarce. Nothing is shared but
 * queues: a piece belongs to the thread until its buffer is back in the pool.
 *
 * It never waits for a worker, so a worker may wait for it. */
#ifndef HOLDFAST_API_BODY_MD5_THREAD_H
#define HOLDFAST_API_BODY_MD5_THREAD_H

#include "base/err.h"
#include "base/hash.h"
#include "net/buffers.h"

#define MD5_STREAM_PENDING 3 /* pieces of a body that the thread has at most */

typedef struct Md5Thread Md5Thread;
/* One body. Belongs to one thread at a time. */
typedef struct Md5Stream Md5Stream;

/* buffers: the pool that pieces come from; outlives the Md5Thread. Errors: ERR_SYSTEM. */
MUST_USE ErrCode md5_thread_open(Buffers *buffers, Md5Thread **out, Err *err);
/* Ends the thread; no stream is left. NULL is fine. */
void md5_thread_close(Md5Thread *thread);

Md5Stream *md5_stream_new(Md5Thread *thread);
/* Takes the next piece over: a buffer of the pool, which gets it back. Waits while the thread has
 * MD5_STREAM_PENDING pieces of this body. */
void md5_stream_add(Md5Stream *stream, Buffer *piece);
/* Waits for what was added; writes the MD5 of all of it and frees the stream. */
void md5_stream_end(Md5Stream *stream, uint8_t out[MD5_LEN]);
/* The same without a digest. NULL is fine. */
void md5_stream_drop(Md5Stream *stream);

AUTO_DEFINE(Md5Thread, md5_thread_close);

#endif
