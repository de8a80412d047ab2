#include "service/mutation.h"

#include <string.h>

void mutation_init(Mutation *mutation, MutationType type)
{
    memset(mutation, 0, sizeof *mutation);
    mutation->type = type;
    buf_init(&mutation->attr_buf, ATTRS_MAX);
    buf_init(&mutation->key_buf, KEY_MAX);
}

void mutation_deinit(Mutation *mutation)
{
    buf_deinit(&mutation->attr_buf);
    buf_deinit(&mutation->key_buf);
}
