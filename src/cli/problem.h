/* Problem: what a failed request's answer says (RFC 9457 problem+json), as a row of err.def. Pure.
 */
#ifndef HOLDFAST_CLI_PROBLEM_H
#define HOLDFAST_CLI_PROBLEM_H

#include "base/str.h"

/* The code that the answer names, else the nearest one to its HTTP status; err's text is its
 * detail. status: 400..599. Never OK. */
ErrCode problem_read(int status, Str answer, Err *err);
/* Is it an answer of an S3 door? */
bool problem_is_s3(Str answer);
/* The row whose slug this is; OK: none. */
ErrCode problem_code(Str slug);

#endif
