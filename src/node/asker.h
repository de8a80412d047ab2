/* The thread that asks the control store for the core, which waits for no disk (decisions/0017). */
#ifndef HOLDFAST_NODE_ASKER_H
#define HOLDFAST_NODE_ASKER_H

#include "base/queue.h"
#include "service/engine.h"

typedef struct Asker Asker;

/* Jobs come back in told (not owned; has room for one). ERR_SYSTEM. */
MUST_USE ErrCode asker_open(Control *control, Queue *told, Asker **out, Err *err);
/* There is one at a time. */
void asker_ask(Asker *asker, ControlJob *job);
/* Behind the core; the control store has a limit of its own for how long it takes. NULL is fine. */
void asker_close(Asker *asker);

#endif
