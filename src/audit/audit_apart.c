/* Lines that a thread of their own writes, so that who is heard waits for no disk. */
#include "audit/audit_priv.h"

#include <string.h>

#define POP_MAX 64

/* A record with its texts. */
typedef struct {
    AuditRecord record;
    char bytes[];
} Copy;

/* The texts of a record, which must be copied; what is not a Str is static. */
static void each_text(AuditRecord *r, void (*fn)(Str *text, void *ctx), void *ctx)
{
    Str *texts[] = {&r->request_id, &r->peer, &r->key_id,  &r->bucket, &r->key,
                    &r->path,       &r->file, &r->version, &r->detail};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        fn(texts[i], ctx);
}

static void add_len(Str *text, void *ctx)
{
    *(size_t *)ctx += text->len;
}

static void move_text(Str *text, void *ctx)
{
    char **at = ctx;
    if (text->len > 0) memcpy(*at, text->ptr, text->len);
    *text = str_of(*at, text->len);
    *at += text->len;
}

static Copy *copy_of(const AuditRecord *record)
{
    AuditRecord texts = *record;
    size_t len = 0;
    each_text(&texts, add_len, &len);
    Copy *copy = mem_new(sizeof *copy + len);
    char *at = copy->bytes;
    copy->record = *record;
    each_text(&copy->record, move_text, &at);
    return copy;
}

/* Ends when the queue is closed and empty. */
static void writer_run(void *arg)
{
    Audit *audit = arg;
    void *items[POP_MAX];
    for (;;) {
        size_t count = queue_pop_wait(audit->queue, items, POP_MAX, -1);
        if (count == 0) return;
        for (size_t i = 0; i < count; i++) {
            Copy *copy = items[i];
            atomic_store(&audit->since_ns, clock_boot_ns(audit->options.clock));
            audit_write_now(audit, &copy->record);
            atomic_store(&audit->since_ns, 0);
            mem_free(copy);
        }
    }
}

ErrCode audit_start_writer(Audit *audit, Err *err)
{
    audit->queue = queue_new(AUDIT_QUEUE_MAX);
    ErrCode code = thread_start(&audit->writer, "audit-writer", writer_run, audit, err);
    if (code != OK) queue_free(TAKE(audit->queue));
    return code;
}

void audit_stop_writer(Audit *audit)
{
    if (audit->queue == NULL) return;
    queue_close(audit->queue);
    thread_join(&audit->writer);
    queue_free(TAKE(audit->queue));
}

bool audit_hand_over(Audit *audit, const AuditRecord *record)
{
    Copy *copy = copy_of(record);
    if (queue_push(audit->queue, copy) == OK) return true;
    mem_free(copy);
    return false;
}
