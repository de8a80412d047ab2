/* Nearest: what a mistyped word was probably meant to be. Pure. */
#ifndef HOLDFAST_CLI_NEAREST_H
#define HOLDFAST_CLI_NEAREST_H

#include "base/check.h"

/* Is known near enough to typed to ask whether it is meant, and nearer than those that were looked
 * at before? *best is theirs, 0 at first; the nearer one's then. */
bool nearest_is(const char *typed, const char *known, size_t *best);

#endif
