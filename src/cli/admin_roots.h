/* holdfast admin roots, replicas, evict, add, hand-over: the copies of a server. */
#ifndef HOLDFAST_CLI_ADMIN_ROOTS_H
#define HOLDFAST_CLI_ADMIN_ROOTS_H

#include "cli/session.h"

/* Print the answers of GET /v1/admin/roots and /replicas; the exit status: 1 if a copy is missing.
 */
int admin_roots_print(const json_t *answer);
int admin_replicas_print(const json_t *answer);
/* action ("evict", "add" or "hand-over") on the root that name is of: a directory as the server has
 * it, a UUID or its beginning. The exit status. */
int admin_roots_act(Session *session, const char *action, const char *name);

#endif
