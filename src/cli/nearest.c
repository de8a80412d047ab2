#include "cli/nearest.h"

#include <string.h>

/* Letters that two words share in their order: enough to see what was meant. */
static size_t likeness(const char *a, const char *b)
{
    size_t same = 0;
    for (; *a != '\0'; a++) {
        const char *at = strchr(b, *a);
        if (at == NULL) continue;
        same++;
        b = at + 1;
    }
    return same;
}

bool nearest_is(const char *typed, const char *known, size_t *best)
{
    size_t longer = MAX(strlen(typed), strlen(known));
    size_t score = MAX(likeness(typed, known), likeness(known, typed));
    if (longer - score > (longer < 8 ? 1 : 2) || score <= *best) return false;
    *best = score;
    return true;
}
