#include "node/owed.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"

#define AGAIN_MS 10
/* That the log waits for the others to do without this root; votes stand behind it. Then the body
 * goes into the reserve. */
#define WAIT_NS UINT64_C(10000000000)
#define TOLD_NS                                                                                    \
    (3 * ENGINE_TICK_MS * UINT64_C(1000000)) /* by then the lead has heard that it lacks */

typedef struct {
    BodyId body;
    uint32_t number;
    uint64_t size;
} Debt;

struct Owed {
    OwedOptions options;
    _Atomic bool spared;
    _Atomic bool left;
    _Atomic bool lacks;
    _Atomic bool giving_up;
    uint64_t lacks_ns; /* since then it is said */
    Debt *debts;       /* the oldest first */
    size_t first;
    size_t count;
    size_t capacity;
};

Owed *owed_new(const OwedOptions *options)
{
    Owed *owed = mem_new(sizeof *owed);
    owed->options = *options;
    return owed;
}

void owed_free(Owed *owed)
{
    if (owed == NULL) return;
    mem_free(owed->debts);
    mem_free(owed);
}

void owed_set(Owed *owed, bool spared, bool left)
{
    atomic_store(&owed->spared, spared);
    atomic_store(&owed->left, left);
}

bool owed_lacks(const Owed *owed)
{
    return atomic_load(&owed->lacks);
}

void owed_give_up(Owed *owed)
{
    atomic_store(&owed->giving_up, true);
}

static void rest(Owed *owed)
{
    bool woken = wake_wait(owed->options.wake, AGAIN_MS);
    UNUSED(woken); /* either way it is tried again */
}

/* Is there no room for so much above the reserve, on a root that can be done without? */
static bool is_too_much(const Owed *owed, uint64_t size)
{
    DiskSpace space;
    if (!atomic_load(&owed->spared) || atomic_load(&owed->giving_up)) return false;
    if (disk_space(store_disk(owed->options.store), &space, NULL) != OK) return false;
    uint64_t reserve = disk_reserve(space.total);
    return space.free < reserve || space.free - reserve < size;
}

/* From another root; *from_bad: that one has it not, or not whole; *gone: it is not there. */
static ErrCode copy_body(Owed *owed, Store *other, const Debt *debt, bool *from_bad, bool *gone,
                         Err *err)
{
    AUTO(BlobReader, blob_reader_free) from = NULL;
    *from_bad = true;
    ErrCode code = blob_reader_open(store_blobs(other), debt->body, debt->number, &from, err);
    *gone = code == ERR_NOT_FOUND && !store_failed(other);
    if (code != OK) return code;
    return blob_copy(from, store_blobs(owed->options.store), from_bad, err);
}

/* ERR_NOT_FOUND: no root has it whole. *gone: it is on none: the file was deleted since. */
static ErrCode copy_from_any(Owed *owed, const Debt *debt, bool *gone, Err *err)
{
    *gone = true;
    for (unsigned i = 0; i < owed->options.other_count; i++) {
        bool from_bad = false;
        bool gone_there = false;
        ErrCode code = copy_body(owed, owed->options.others[i], debt, &from_bad, &gone_there, err);
        if (code == OK || !from_bad) return code;
        *gone = *gone && gone_there;
    }
    return ERR_NOT_FOUND;
}

static void tell(const Owed *owed, const Debt *debt, bool brought)
{
    char text[ID128_TEXT_LEN + 1];
    id128_text(debt->body, text);
    if (brought)
        LOG(INFO, "body.brought", "root=%u body=%s extent=%" PRIu32, owed->options.root, text,
            debt->number);
    else
        LOG(WARN, "body.missing", "root=%u body=%s extent=%" PRIu32, owed->options.root, text,
            debt->number);
}

/* Makes room for a debt, known on disk before an entry is durable without its body. */
static ErrCode owe(Owed *owed, const Debt *debt, Err *err)
{
    char text[ID128_TEXT_LEN + 1];
    TRY(store_owe(owed->options.store, err));
    if (owed->first > owed->capacity / 2) {
        memmove(owed->debts, owed->debts + owed->first, owed->count * sizeof *owed->debts);
        owed->first = 0;
    }
    if (owed->first + owed->count == owed->capacity) {
        owed->capacity = MAX(2 * owed->capacity, (size_t)16);
        owed->debts = mem_resize(owed->debts, owed->capacity * sizeof *owed->debts);
    }
    owed->debts[owed->first + owed->count++] = *debt;
    id128_text(debt->body, text);
    LOG(WARN, "body.owed", "root=%u body=%s extent=%" PRIu32 " bytes=%" PRIu64, owed->options.root,
        text, debt->number, debt->size);
    return OK;
}

/* Says that something lacks. Is it known, and is nothing acknowledged on this root's word? */
static bool may_owe(Owed *owed)
{
    uint64_t now = clock_boot_ns(owed->options.clock);
    if (!atomic_exchange(&owed->lacks, true)) owed->lacks_ns = now;
    return atomic_load(&owed->left) && now - owed->lacks_ns >= TOLD_NS;
}

/* Brings what is not there, or owes it. An upload may still be putting it there that was given up
 * while the disk stood still: its file in staging/ goes, one way or the other. */
static ErrCode bring(Owed *owed, const Debt *debt, Err *err)
{
    uint64_t began_ns = clock_boot_ns(owed->options.clock);
    for (;;) {
        bool there = false;
        bool gone = false;
        bool waits = clock_boot_ns(owed->options.clock) - began_ns < WAIT_NS;
        TRY(blob_exists(store_blobs(owed->options.store), debt->body, debt->number, &there, err));
        if (there) return OK;
        if (waits && is_too_much(owed, debt->size)) {
            ErrCode code = may_owe(owed) ? owe(owed, debt, err) : ERR_BUSY;
            if (code != ERR_BUSY) return code;
            rest(owed);
            continue;
        }
        ErrCode code = copy_from_any(owed, debt, &gone, err);
        if (code == ERR_EXISTS && !atomic_load(&owed->giving_up)) {
            rest(owed);
            continue;
        }
        if (code != OK && code != ERR_NOT_FOUND) return code;
        tell(owed, debt, code == OK);
        return OK;
    }
}

ErrCode owed_bring(Owed *owed, const LogItem *item, Err *err)
{
    uint32_t count = item->record == NULL ? 0 : item->record->entry.extent_count;
    for (uint32_t i = 0; owed->options.other_count > 0 && i < count; i++) {
        Extent extent = extent_at(item->record->entry.extents, i);
        Debt debt = {.body = extent.body, .number = extent.number, .size = extent.size};
        TRY(bring(owed, &debt, err));
    }
    if (owed->count == 0) atomic_store(&owed->lacks, false);
    return OK;
}

bool owed_take(Owed *owed)
{
    Err err = {0};
    bool there = false;
    if (owed->count == 0) return false;
    const Debt *debt = &owed->debts[owed->first];
    if (is_too_much(owed, debt->size) || atomic_load(&owed->giving_up)) return false;
    ErrCode code = blob_exists(store_blobs(owed->options.store), debt->body, debt->number, &there,
                               &err);
    bool gone = false;
    if (code == OK && !there) code = copy_from_any(owed, debt, &gone, &err);
    if (code != OK && !(code == ERR_NOT_FOUND && gone)) return false; /* it is still owed */
    if (!there) tell(owed, debt, code == OK);
    store_owes_less(owed->options.store);
    owed->first++;
    owed->count--;
    if (owed->count > 0) return true;
    owed->first = 0;
    atomic_store(&owed->lacks, false);
    return false;
}
