/* What the drivers of this folder share. */
#ifndef HOLDFAST_CONTROL_CONTROL_PRIV_H
#define HOLDFAST_CONTROL_CONTROL_PRIV_H

#include "control/control.h"

/* A row that names root as member or learner follows its new incarnation, under another uid: alone
 * in sync it stays so (nobody else has what it has), otherwise it leaves isr and elr. */
void control_follow_incarnation(ShardConfig *config, Uuid root, uint64_t incarnation);

#endif
