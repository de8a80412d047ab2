#include "blob/packs.h"

#include "base/fault.h"
#include "blob/packs_priv.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The appender:
 *
 *   no pack --append--> batch open --append--> batch open --sync--> batch closed --append--> ...
 *      ^                                                                |
 *      '------- the next record does not fit: batch synced, file closed '
 *
 * An error of writing or syncing ends it for good: after a failed sync nobody knows what the file
 * holds. A full disk and a lack of descriptors or memory do not: nothing of the batch is given up,
 * and the same call can be made again. */

#define PACK_OFFSET_MAX ((uint64_t)1 << 60) /* more is no offset but damage */
#define BATCH_WRITE_BYTES MIB /* a batch is handed to the disk in pieces of about this size */

static void packs_check(const Packs *packs)
{
    ASSERT(packs->active != NULL || (!packs->batch_open && packs->batch.len == 0));
    ASSERT(packs->batch_open || packs->batch.len == 0);
    ASSERT(packs->batch_open || packs->written % PACK_BLOCK == 0);
    ASSERT(packs->active == NULL || packs->written >= PACK_HEADER_LEN);
}

/* ---- life cycle ---- */

/* "7.pack" -> 7; 0 for any other name. */
static uint64_t pack_number_of(const char *name)
{
    Str text = str_from_cstr(name);
    Str suffix = STR(".pack");
    uint64_t number = 0;
    if (!str_ends_with(text, suffix)) return 0;
    Str digits = str_slice(text, 0, text.len - suffix.len);
    if (digits.len == 0 || digits.ptr[0] == '0') return 0;
    return str_to_u64(digits, UINT64_MAX - 1, &number) ? number : 0;
}

uint64_t pack_path_number(const char *path)
{
    const char folder[] = "packs/";
    return strncmp(path, folder, sizeof folder - 1) == 0 ? pack_number_of(path + sizeof folder - 1)
                                                         : 0;
}

typedef struct {
    uint64_t *numbers;
    size_t count;
    size_t capacity;
} NumberList;

static ErrCode list_number(void *ctx, const char *name, bool is_dir, Err *err)
{
    NumberList *list = ctx;
    uint64_t number = pack_number_of(name);
    UNUSED(err);
    if (is_dir || number == 0) return OK;
    if (list->count == list->capacity) {
        list->capacity = MAX(2 * list->capacity, (size_t)64);
        list->numbers = mem_resize(list->numbers, list->capacity * sizeof *list->numbers);
    }
    list->numbers[list->count++] = number;
    return OK;
}

static int number_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

ErrCode pack_numbers(Disk *disk, uint64_t **out, size_t *count, Err *err)
{
    NumberList list = {.numbers = mem_new_array(64, sizeof(uint64_t)), .capacity = 64};
    ErrCode code = disk_list(disk, "packs", list_number, &list, err);
    if (code != OK) {
        mem_free(list.numbers);
        return err_wrap(err, code, "list packs");
    }
    if (list.count > 0) qsort(list.numbers, list.count, sizeof *list.numbers, number_cmp);
    *out = list.numbers;
    *count = list.count;
    return OK;
}

ErrCode packs_list(Packs *packs, uint64_t **out, size_t *count, Err *err)
{
    return pack_numbers(packs->disk, out, count, err);
}

/* Syncs the newest pack: after kill -9 its end may stand in the page cache only, and who scans it
 * must find the same after a power failure. The packs before it were synced when it was made. */
static ErrCode newest_sync(Packs *packs, Err *err)
{
    char path[PACK_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    uint64_t newest = atomic_load(&packs->newest);
    if (newest == 0) return OK;
    pack_path(newest, path);
    TRY(disk_open(packs->disk, path, DISK_OPEN_WRITE, &file, err));
    return disk_sync(file, err);
}

ErrCode packs_open(Disk *disk, const PacksOptions *options, Packs **out, Err *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    ASSERT(options->clock != NULL);
    TRY(disk_mkdir_durable(disk, "packs", err));

    AUTO(Packs, packs_free) packs = mem_new(sizeof *packs);
    packs->disk = disk;
    packs->root = options->root;
    packs->clock = options->clock;
    packs->pack_size = options->pack_size != 0 ? options->pack_size : PACK_SIZE_DEFAULT;
    buf_init(&packs->batch, BATCH_WRITE_BYTES + 2 * PACK_RECORD_MAX);
    pack_files_init(&packs->files, disk, options->root);
    TRY(packs_list(packs, &numbers, &count, err));
    atomic_init(&packs->newest, count > 0 ? numbers[count - 1] : 0);
    mem_free(numbers);
    TRY(newest_sync(packs, err));
    *out = TAKE(packs);
    return OK;
}

void packs_free(Packs *packs)
{
    if (packs == NULL) return;
    disk_close(packs->active);
    buf_deinit(&packs->batch);
    pack_files_deinit(&packs->files);
    mem_free(packs);
}

/* ---- appending ---- */

/* Passes code on, and ends the appender unless the call can be made again. */
static ErrCode packs_fail(Packs *packs, ErrCode code)
{
    bool again = code == ERR_NO_SPACE || code == ERR_SYSTEM || code == ERR_NO_MEMORY;
    if (code != OK && !again) packs->failed = true;
    return code;
}

static ErrCode packs_failed(Err *err)
{
    return err_set(err, ERR_ROOT_FAILED, "an earlier write or sync of a pack failed");
}

/* Hands the batch so far to the disk. */
static ErrCode batch_write(Packs *packs, Err *err)
{
    if (packs->batch.len == 0) return OK;
    ErrCode code = disk_write(packs->active, packs->written, packs->batch.data, packs->batch.len,
                              err);
    if (code != OK) {
        uint64_t number = atomic_load(&packs->newest);
        return packs_fail(packs, err_wrap(err, code, "append to pack %" PRIu64, number));
    }
    packs->written += packs->batch.len;
    buf_clear(&packs->batch);
    return OK;
}

static ErrCode batch_sync(Packs *packs, Err *err)
{
    int injected = fault_point("packs.sync");
    if (injected != 0) return err_set_errno(err, ERR_IO, injected, "sync pack");
    if (fault_planted("skip-pack-sync")) return OK;
    return disk_sync(packs->active, err);
}

/* Tells readers how much of the pack being written is synced. */
static void packs_share(Packs *packs, PackEnd synced)
{
    lock_take(&packs->files.lock);
    packs->shared = synced;
    lock_give(&packs->files.lock);
}

ErrCode packs_sync(Packs *packs, Err *err)
{
    packs_check(packs);
    if (packs->failed) return packs_failed(err);
    if (!packs->batch_open) return OK;

    size_t len = packs->batch.len;
    uint64_t end = packs->written + len;
    TRY(buf_append_zeros(&packs->batch, ALIGN_UP(end, (uint64_t)PACK_BLOCK) - end, err));
    ErrCode code = batch_write(packs, err);
    if (code != OK) {
        packs->batch.len = len; /* more records may come before the next try */
        return code;
    }
    /* From here the batch cannot be tried again: its zeros are written. */
    code = batch_sync(packs, err);
    if (code != OK) {
        packs->failed = true;
        return err_wrap(err, code, "sync pack %" PRIu64, atomic_load(&packs->newest));
    }
    packs->batch_open = false;
    packs->synced = (PackEnd){.pack = atomic_load(&packs->newest), .end = end};
    packs_share(packs, packs->synced);
    packs_check(packs);
    return OK;
}

/* Makes the next pack; durable, header and name, before anything is appended to it. */
static ErrCode pack_begin(Packs *packs, Err *err)
{
    uint8_t data[PACK_HEADER_LEN];
    char path[PACK_PATH_MAX];
    uint64_t number = atomic_load(&packs->newest) + 1;
    PackHeader header = {
        .root = packs->root, .number = number, .time_ms = clock_wall_ms(packs->clock)};
    pack_header_encode(&header, data);
    pack_path(number, path);
    /* A try that failed at its last step has left the file, with nothing in it but the header. */
    bool again = packs->tried == number;
    packs->tried = number;
    ErrCode code = again ? disk_replace_durable(packs->disk, path, str_of(data, sizeof data), err)
                         : disk_create_durable(packs->disk, path, str_of(data, sizeof data), err);
    if (code != OK) return packs_fail(packs, err_wrap(err, code, "make %s", path));
    atomic_store(&packs->newest, number); /* taken, even if it can't be opened */
    code = disk_open(packs->disk, path, DISK_OPEN_WRITE, &packs->active, err);
    if (code != OK) return packs_fail(packs, err_wrap(err, code, "make %s", path));
    packs->written = PACK_HEADER_LEN;
    packs_share(packs, (PackEnd){.pack = number, .end = PACK_HEADER_LEN});
    return OK;
}

ErrCode packs_leave(Packs *packs, Err *err)
{
    TRY(packs_sync(packs, err));
    disk_close(packs->active);
    packs->active = NULL;
    packs_check(packs);
    return OK;
}

/* Sees to it that len bytes and a mark fit into the pack and the buffer. */
static ErrCode batch_room(Packs *packs, size_t len, Err *err)
{
    uint64_t end = packs->written + packs->batch.len;
    bool empty = end == PACK_HEADER_LEN;
    if (packs->active != NULL && !empty && end + PACK_MARK_LEN + len > packs->pack_size) {
        TRY(packs_leave(packs, err));
    }
    if (packs->active == NULL) TRY(pack_begin(packs, err));
    if (packs->batch.len + len > BATCH_WRITE_BYTES) TRY(batch_write(packs, err));
    return buf_reserve(&packs->batch, PACK_MARK_LEN + len, err);
}

static void batch_add(Packs *packs, const PackRecord *record, size_t len)
{
    Buf *batch = &packs->batch;
    Enc enc = enc_of(batch->data + batch->len, batch->capacity - batch->len);
    pack_record_encode(record, &enc);
    ASSERT(!enc.failed && enc.len == len);
    batch->len += len;
}

static void batch_begin(Packs *packs)
{
    Buf *batch = &packs->batch;
    PackMark mark = {.root = packs->root,
                     .pack = atomic_load(&packs->newest),
                     .offset = packs->written,
                     .synced = packs->synced};
    ASSERT(batch->len == 0 && batch->capacity >= PACK_MARK_LEN);
    pack_mark_encode(&mark, batch->data);
    batch->len = PACK_MARK_LEN;
    packs->batch_open = true;
}

ErrCode packs_append(Packs *packs, const PackRecord *record, PackPlace *place, Err *err)
{
    packs_check(packs);
    if (packs->failed) return packs_failed(err);
    size_t len = pack_record_len(record);
    if (len > PACK_RECORD_MAX) return err_set(err, ERR_TOO_BIG, "pack record of %zu bytes", len);

    TRY(batch_room(packs, len, err));
    if (!packs->batch_open) batch_begin(packs);
    uint64_t offset = packs->written + packs->batch.len;
    batch_add(packs, record, len);
    *place = (PackPlace){
        .pack = atomic_load(&packs->newest), .offset = offset, .length = (uint32_t)len};
    packs_check(packs);
    return OK;
}

/* ---- reading ---- */

/* The body's own digest: the CRC before it only covers what was given to the pack. */
static ErrCode record_check_body(const PackRecord *record, Err *err)
{
    const Entry *entry = &record->entry;
    if (record->type != PACK_BODY) return OK;
    if (record->chunk_flags != 0)
        return err_set(err, ERR_FORMAT_VERSION, "the body is stored in a form not known here");
    if ((entry->flags & ENTRY_FLAG_DIGEST_KNOWN) == 0) return OK;
    Sha256 digest = sha256_of(record->stored_body.ptr, record->stored_body.len);
    if (!sha256_eq(&digest, &entry->body_digest))
        return err_set(err, ERR_CORRUPT, "the body does not have its SHA-256");
    return OK;
}

static ErrCode record_read(PackFile *file, const PackPlace *place, bool check_body, Buf *buf,
                           PackRecord *out, Err *err)
{
    size_t got = 0;
    size_t total = 0;
    PackRecord record;
    buf_clear(buf);
    TRY(buf_reserve(buf, place->length, err));
    TRY(disk_read(file->file, place->offset, buf->data, place->length, &got, err));
    buf->len = got;
    if (got < place->length)
        return err_set(err, ERR_CORRUPT, "the pack ends %zu bytes behind it", got);
    ErrCode code = pack_record_decode(buf_str(buf), &record, &total, err);
    if (code == ERR_END) return err_set(err, ERR_CORRUPT, "there is no record");
    if (code != OK) return code;
    if (total != place->length)
        return err_set(err, ERR_CORRUPT, "the record has %zu bytes instead of %" PRIu32, total,
                       place->length);
    if (check_body) TRY(record_check_body(&record, err));
    *out = record;
    return OK;
}

ErrCode packs_read(Packs *packs, const PackPlace *place, bool check_body, Buf *buf, PackRecord *out,
                   Err *err)
{
    PackFile *file = NULL;
    bool possible = place->pack != 0 && place->offset >= PACK_HEADER_LEN &&
                    place->offset <= PACK_OFFSET_MAX && place->length >= PACK_RECORD_HEADER_LEN &&
                    place->length <= PACK_RECORD_MAX;
    if (!possible)
        return err_set(err, ERR_CORRUPT, "no place in a pack: %" PRIu64 ", %" PRIu64 "+%" PRIu32,
                       place->pack, place->offset, place->length);
    TRY(pack_files_take(&packs->files, place->pack, &file, err));
    ErrCode code = record_read(file, place, check_body, buf, out, err);
    pack_files_give(&packs->files, file);
    if (code != OK)
        return err_wrap(err, code, "read pack %" PRIu64 " at %" PRIu64, place->pack, place->offset);
    return OK;
}

uint64_t packs_newest(const Packs *packs)
{
    return atomic_load(&packs->newest);
}

void packs_reserve(Packs *packs, uint64_t number)
{
    ASSERT(packs->active == NULL);
    if (number > atomic_load(&packs->newest)) atomic_store(&packs->newest, number);
}

ErrCode packs_remove(Packs *packs, uint64_t number, Err *err)
{
    char path[PACK_PATH_MAX];
    /* The highest number stays on the disk: it is how the next process knows which are used. */
    if (number >= atomic_load(&packs->newest))
        return err_set(err, ERR_BUSY, "pack %" PRIu64 " is the newest", number);
    pack_path(number, path);
    ErrCode code = disk_unlink(packs->disk, path, err);
    pack_files_forget(&packs->files, number); /* after it: who opens now finds nothing */
    if (code != OK && code != ERR_NOT_FOUND) return err_wrap(err, code, "remove %s", path);
    return OK;
}
