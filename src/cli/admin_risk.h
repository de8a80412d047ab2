/* holdfast admin risk and ledger: what is damaged, what has too few copies. */
#ifndef HOLDFAST_CLI_ADMIN_RISK_H
#define HOLDFAST_CLI_ADMIN_RISK_H

#include "text/json.h"

/* Prints the answer of GET /v1/admin/risk; the exit status. */
int admin_risk_print(const json_t *answer);
/* The same of GET /v1/admin/ledger. */
int admin_ledger_print(const json_t *answer);

#endif
