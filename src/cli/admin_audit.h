/* holdfast admin audit verify: on files, asks no server. */
#ifndef HOLDFAST_CLI_ADMIN_AUDIT_H
#define HOLDFAST_CLI_ADMIN_AUDIT_H

#include "cli/options.h"

/* The arguments are "audit", "verify" and what is to be verified. The exit status. */
int admin_audit(const ClientOptions *options);

#endif
