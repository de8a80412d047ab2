#include "message_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static PRINTF_LIKE(2, 3) void add(char out[MESSAGE_TEXT_MAX], const char *format, ...)
{
    size_t used = strlen(out);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(out + used, MESSAGE_TEXT_MAX - used, format, args);
    va_end(args);
    ASSERT(len >= 0 && (size_t)len < MESSAGE_TEXT_MAX - used);
}

void message_text(const Message *m, int from, int to, char out[MESSAGE_TEXT_MAX])
{
    static const char *const names[] = {
        [MSG_APPEND] = "APPEND",     [MSG_APPENDED] = "APPENDED",   [MSG_MISMATCH] = "MISMATCH",
        [MSG_POLL] = "POLL",         [MSG_POLLED] = "POLLED",       [MSG_FENCE] = "FENCE",
        [MSG_FENCED] = "FENCED",     [MSG_HEARTBEAT] = "HEARTBEAT", [MSG_PROMISE] = "PROMISE",
        [MSG_SNAPSHOT] = "SNAPSHOT", [MSG_HAND_OVER] = "HAND_OVER",
    };
    bool known = m->type >= 1 && m->type <= MESSAGE_TYPE_MAX;
    out[0] = '\0';
    add(out, "%s %d/%" PRIu64 " -> %d/%" PRIu64 ", term %u, lsn %" PRIu64 ".%u, commit %" PRIu64,
        known ? names[m->type] : "?", from, m->from_incarnation, to, m->to_incarnation, m->term,
        m->lsn, m->lsn_term, m->commit_lsn);
    if (m->entry_count > 0) {
        const LogEntry *first = &m->entries[0];
        const LogEntry *last = &m->entries[m->entry_count - 1];
        add(out, ", entries %" PRIu64 ".%u to %" PRIu64 ".%u", first->lsn, first->term, last->lsn,
            last->term);
    }
    if (m->granted) add(out, ", granted");
    if (m->unsound) add(out, ", unsound");
    if (m->seeding) add(out, ", seeding");
}
