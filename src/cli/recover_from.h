/* recover --from: a data directory made anew from another one of its store. */
#ifndef HOLDFAST_CLI_RECOVER_FROM_H
#define HOLDFAST_CLI_RECOVER_FROM_H

#include "cli/options.h"

#define RECOVER_OTHERS_MAX 16 /* directories that may be named beside DIR */

/* options->from is given, args are DIR and others. The exit status. */
int recover_from(const ClientOptions *options);

#endif
