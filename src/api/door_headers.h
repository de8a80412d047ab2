/* The headers that a version is given back with, at whatever door: user metadata, and headers kept
 * as they were sent. Pure. */
#ifndef HOLDFAST_API_DOOR_HEADERS_H
#define HOLDFAST_API_DOOR_HEADERS_H

#include "base/err.h"
#include "base/str.h"

/* Bytes of all of them as lines of an answer; with type, file name, Location and what the server
 * adds they fit into the headers of one (HEADERS_OUT_MAX of src/http). */
#define DOOR_HEADERS_MAX (12 * KIB)

/* ERR_HEADERS_TOO_LARGE: an answer could not hold what attrs (of a version) keep. Asked before
 * anything is stored, for what is acknowledged must be readable. */
MUST_USE ErrCode door_headers_fit(Str attrs, Err *err);

#endif
