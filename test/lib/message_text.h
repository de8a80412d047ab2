/* One line of text of a message between replicas, for traces of simulated runs. */
#ifndef HOLDFAST_TEST_LIB_MESSAGE_TEXT_H
#define HOLDFAST_TEST_LIB_MESSAGE_TEXT_H

#include "replica/replica.h"

#define MESSAGE_TEXT_MAX 256

/* Writes type, sender and receiver (numbers that the caller gives their roots, -1: unknown; behind
 * the '/' the incarnations), term, lsn.term and what else the type says, NUL-terminated. */
void message_text(const Message *message, int from, int to, char out[MESSAGE_TEXT_MAX]);

#endif
