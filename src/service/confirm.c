#include "service/confirm.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"

#define NS_PER_MS UINT64_C(1000000)

typedef struct Item Item;
struct Item {
    Item *next;
    Told *told;
    unsigned whole; /* bit r: it was read back from root r */
    uint64_t due_ns;
};

struct Confirmer {
    ConfirmOptions options;
    StoreReader *readers[ENGINE_ROOTS_MAX]; /* during a call */
    Item *first; /* by due_ns: each that is put off goes behind all others */
    Item *last;
    Buf record;
    _Atomic uint64_t confirmed;
    _Atomic uint64_t unconfirmed;
    _Atomic uint64_t replaced;
    _Atomic uint64_t passed_over;
    _Atomic uint64_t waiting;
};

Told *told_new(const Record *record)
{
    const Entry *entry = &record->entry;
    if (entry->op != OP_CREATE && entry->op != OP_UPDATE) return NULL;
    Told *told = mem_new(sizeof *told + record->key.len);
    told->bucket = entry->bucket;
    told->version = (VersionId){.term = entry->term, .lsn = entry->lsn};
    told->told_ns = record->told_ns;
    told->class = shard_class(entry->shard);
    told->key_len = (uint32_t)record->key.len;
    memcpy(told->key, record->key.ptr, record->key.len);
    return told;
}

Confirmer *confirmer_new(const ConfirmOptions *options)
{
    ASSERT(options->pace != NULL && options->root_count <= ENGINE_ROOTS_MAX);
    Confirmer *c = mem_new(sizeof *c);
    c->options = *options;
    buf_init(&c->record, PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8);
    return c;
}

static Item *take_first(Confirmer *c)
{
    Item *item = c->first;
    c->first = item->next;
    if (c->first == NULL) c->last = NULL;
    atomic_fetch_sub(&c->waiting, 1);
    return item;
}

static void put_last(Confirmer *c, Item *item)
{
    item->next = NULL;
    if (c->last == NULL)
        c->first = item;
    else
        c->last->next = item;
    c->last = item;
    atomic_fetch_add(&c->waiting, 1);
}

static void item_free(Item *item)
{
    mem_free(item->told);
    mem_free(item);
}

static void close_readers(Confirmer *c)
{
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++)
        store_reader_free(TAKE(c->readers[r]));
}

void confirmer_free(Confirmer *c)
{
    if (c == NULL) return;
    while (c->first != NULL)
        item_free(take_first(c));
    close_readers(c);
    buf_deinit(&c->record);
    mem_free(c);
}

void confirmer_passed_over(Confirmer *c, uint64_t count)
{
    atomic_fetch_add(&c->passed_over, count);
}

void confirmer_add(Confirmer *c, Told *told)
{
    if (atomic_load(&c->waiting) >= CONFIRM_MAX) {
        confirmer_passed_over(c, 1);
        mem_free(told);
        return;
    }
    Item *item = mem_new(sizeof *item);
    item->told = told;
    item->due_ns = told->told_ns + CONFIRM_AFTER_MS * NS_PER_MS;
    put_last(c, item);
}

static ErrCode open_reader(Confirmer *c, unsigned root, Err *err)
{
    if (c->readers[root] != NULL) return OK;
    return store_reader_open(c->options.stores[root], &c->readers[root], err);
}

static void tell(const Confirmer *c, const Item *item, unsigned root, const Err *why)
{
    char uuid[37];
    char version[VERSION_ID_TEXT_LEN + 1];
    uuid_text(store_root(c->options.stores[root])->uuid, uuid);
    version_id_text(item->told->version, version);
    LOG_TO(OPERATIONS, WARN, "async.unconfirmed",
           "root=%s key=" LOG_STR " version=\"%s\" error=" LOG_STR, uuid,
           LOG_ARG(str_of(item->told->key, item->told->key_len)), version, LOG_CSTR(err_text(why)));
}

/* Does the lead still have it? */
static ErrCode is_there(Confirmer *c, const Item *item, unsigned lead, bool *there, Err *err)
{
    StoreFound found;
    const Told *told = item->told;
    TRY(open_reader(c, lead, err));
    return store_look(c->readers[lead], told->bucket, str_of(told->key, told->key_len), STORE_EXACT,
                      told->version, STORE_COMMITTED, &found, there, err);
}

/* Reads it back from each root in in_sync that has not told yet. READ_BACK_BAD: *root is one that
 * can't; *out LATER: *root is one that does not have it in its place yet. */
static ErrCode read_all(Confirmer *c, Item *item, unsigned in_sync, ReadBack *out, unsigned *root,
                        Err *err)
{
    const Told *told = item->told;
    *out = READ_BACK_WHOLE;
    for (unsigned r = 0; r < c->options.root_count; r++) {
        ReadBack one = READ_BACK_WHOLE;
        if ((in_sync >> r & 1) == 0 || (item->whole >> r & 1) != 0) continue;
        TRY(open_reader(c, r, err));
        TRY(read_back_version(c->readers[r], told->bucket, str_of(told->key, told->key_len),
                              told->version, &c->record, c->options.pace, c->options.ctx, &one,
                              err));
        if (one == READ_BACK_WHOLE) {
            item->whole |= 1u << r;
            continue;
        }
        *out = one;
        *root = r;
        if (one == READ_BACK_BAD) return OK;
    }
    return OK;
}

/* *done: it needs no other look. */
static ErrCode confirm(Confirmer *c, Item *item, unsigned in_sync, unsigned lead, bool *done,
                       Err *err)
{
    uint64_t now = clock_boot_ns(c->options.clock);
    ReadBack what = READ_BACK_LATER;
    unsigned root = lead;
    bool there = false;
    Err why = {0};
    TRY(is_there(c, item, lead, &there, err));
    *done = true;
    if (!there) {
        atomic_fetch_add(&c->replaced, 1);
        return OK;
    }
    ErrCode code = read_all(c, item, in_sync, &what, &root, &why);
    if (code != OK) return err_set(err, code, "%s", err_text(&why));
    if (what == READ_BACK_WHOLE) {
        atomic_fetch_add(&c->confirmed, 1);
        return OK;
    }
    *done = what == READ_BACK_BAD || now - item->told->told_ns >= CONFIRM_LATE_MS * NS_PER_MS;
    if (!*done) return OK;
    if (what == READ_BACK_LATER)
        (void)err_set(&why, ERR_NOT_FOUND, "it is not in its place after a minute"); /* told */
    atomic_fetch_add(&c->unconfirmed, 1);
    tell(c, item, root, &why);
    return OK;
}

ErrCode confirmer_work(Confirmer *c, const ConfirmClass classes[CLASSES_MAX], Err *err)
{
    uint64_t now = clock_boot_ns(c->options.clock);
    ErrCode code = OK;
    while (code == OK && c->first != NULL && c->first->due_ns <= now) {
        Item *item = take_first(c);
        bool done = false;
        const ConfirmClass *class = &classes[item->told->class];
        code = confirm(c, item, class->in_sync, class->lead, &done, err);
        if (code == OK && done) {
            item_free(item);
            continue;
        }
        item->due_ns = now + CONFIRM_AFTER_MS * NS_PER_MS;
        put_last(c, item);
    }
    close_readers(c);
    return code;
}

void confirmer_status(const Confirmer *c, ConfirmStatus *out)
{
    *out = (ConfirmStatus){.confirmed = atomic_load(&c->confirmed),
                           .unconfirmed = atomic_load(&c->unconfirmed),
                           .replaced = atomic_load(&c->replaced),
                           .passed_over = atomic_load(&c->passed_over),
                           .waiting = atomic_load(&c->waiting)};
}
