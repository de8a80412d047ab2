/* What `holdfast bucket list` and `holdfast ls` without a bucket share. */
#ifndef HOLDFAST_CLI_BUCKET_H
#define HOLDFAST_CLI_BUCKET_H

#include "cli/session.h"

/* Names all buckets on standard output; the exit status. */
int bucket_list(Session *session);

#endif
