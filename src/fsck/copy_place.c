/* What was copied takes the place of what is there, file by file: the old ones aside, then
 * recover/moved, then the new ones in. Which phase it is, not what a file looks like, says whose
 * file stands at a name; so any part of it may be done again. root.json goes first and comes last.
 */
#include "fsck/copy_priv.h"

#include <stdio.h>
#include <string.h>

/* What of a root is the root's; a '*' at the end stands for anything. Its key, its audit log and
 * what is nobody's stay. */
static const char *const own[] = {
    "root.json",    "root.json.*", "control.json*", "risk.json*",   "wal.active",   "wal.spare.*",
    "wal.segments", "packs",       "blobs",         "index.db",     "index.db-wal", "index.mark*",
    "staging",      "rebuild",     "scrub*",        "index.remade", "bodies.owed"};

typedef struct {
    Disk *disk;
    const char *from; /* with its '/', or "" */
    const char *to;
    bool any;
} Move;

static ErrCode move_to(const Move *move, const char *path, char out[DISK_PATH_MAX], Err *err)
{
    char dir[DISK_PATH_MAX];
    const char *name = path + strlen(move->from);
    int len = snprintf(out, DISK_PATH_MAX, "%s%s", move->to, name);
    if (len < 0 || len >= DISK_PATH_MAX)
        return err_set(err, ERR_INVALID, "%s: too long a name to be moved", path);
    const char *slash = strrchr(out, '/');
    if (slash == NULL) return OK;
    memcpy(dir, out, (size_t)(slash - out));
    dir[slash - out] = '\0';
    DiskStat stat;
    TRY(disk_stat(move->disk, dir, &stat, err));
    return stat.exists ? OK : disk_mkdir_durable(move->disk, dir, err);
}

/* Both directories are synced when the one it came from is through. */
static ErrCode move_file(void *ctx, const char *path, Err *err)
{
    Move *move = ctx;
    char to[DISK_PATH_MAX];
    DiskStat stat;
    TRY(move_to(move, path, to, err));
    TRY(disk_stat(move->disk, to, &stat, err));
    if (stat.exists) return err_set(err, ERR_EXISTS, "%s is there already", to);
    move->any = true;
    TRY(disk_rename(move->disk, path, to, err));
    return copy_pass("recover.move", err);
}

static ErrCode move_dir_done(void *ctx, const char *path, Err *err)
{
    const Move *move = ctx;
    char to[DISK_PATH_MAX];
    DiskStat stat;
    int len = snprintf(to, sizeof to, "%s%s", move->to, path + strlen(move->from));
    if (len < 0 || (size_t)len >= sizeof to) return OK;
    TRY(disk_stat(move->disk, to, &stat, err));
    if (stat.exists) TRY(disk_sync_dir(move->disk, to, err));
    return disk_sync_dir(move->disk, path, err);
}

static ErrCode move_name(Move *move, const char *name, Err *err)
{
    char path[DISK_PATH_MAX];
    DiskStat stat;
    int len = snprintf(path, sizeof path, "%s%s", move->from, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_INVALID, "%s: too long a name to be moved", name);
    TRY(disk_stat(move->disk, path, &stat, err));
    if (!stat.exists) return OK;
    if (stat.is_dir) return copy_walk(move->disk, path, move_file, move_dir_done, move, err);
    return move_file(move, path, err);
}

typedef struct {
    char names[256][64];
    size_t count;
} Own;

static bool is_own(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        Str pattern = str_from_cstr(own[i]);
        Str text = str_from_cstr(name);
        if (str_ends_with(pattern, STR("*"))) {
            pattern.len--;
            if (str_starts_with(text, pattern)) return true;
        } else if (str_eq(pattern, text)) {
            return true;
        }
    }
    return false;
}

static ErrCode note_own(void *ctx, const char *name, bool is_dir, Err *err)
{
    Own *found = ctx;
    UNUSED(is_dir);
    UNUSED(err);
    if (!is_own(name) || strlen(name) >= sizeof found->names[0]) return OK;
    if (found->count == ARRAY_LEN(found->names)) return OK;
    memcpy(found->names[found->count++], name, strlen(name) + 1);
    return OK;
}

/* All that is a root's in dir; "": at the top. */
static ErrCode list_own(Disk *disk, const char *dir, Own *out, Err *err)
{
    out->count = 0;
    return disk_list(disk, dir, note_own, out, err);
}

static ErrCode sync_top(Disk *disk, const char *dir, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, dir, &stat, err));
    if (stat.exists) TRY(disk_sync_dir(disk, dir, err));
    return disk_sync_dir(disk, "", err);
}

static ErrCode move_old(Disk *disk, const char *aside, bool *any, Err *err)
{
    char to[80];
    snprintf(to, sizeof to, "%s/", aside); /* fits */
    AUTO(void, mem_free) memory = mem_new(sizeof(Own));
    Own *names = memory;
    Move move = {.disk = disk, .from = "", .to = to};
    TRY(move_name(&move, ROOT_FILE, err)); /* from here on no server takes it for a root */
    TRY(sync_top(disk, aside, err));
    TRY(list_own(disk, "", names, err));
    for (size_t i = 0; i < names->count; i++)
        TRY(move_name(&move, names->names[i], err));
    DiskStat stat;
    TRY(disk_stat(disk, aside, &stat, err));
    *any = stat.exists;
    return sync_top(disk, aside, err);
}

static ErrCode move_new(Disk *disk, Err *err)
{
    AUTO(void, mem_free) memory = mem_new(sizeof(Own));
    Own *names = memory;
    Move move = {.disk = disk, .from = COPY_ROOT_DIR "/", .to = ""};
    TRY(list_own(disk, COPY_ROOT_DIR, names, err));
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->names[i], ROOT_FILE) == 0) continue;
        TRY(move_name(&move, names->names[i], err));
    }
    TRY(sync_top(disk, COPY_ROOT_DIR, err));
    TRY(copy_pass("recover.step", err));
    TRY(move_name(&move, ROOT_FILE, err));
    return sync_top(disk, COPY_ROOT_DIR, err);
}

static ErrCode unlink_durable(Disk *disk, const char *path, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, path, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_unlink(disk, path, err));
    return disk_sync_dir(disk, ROOT_RECOVER_DIR, err);
}

ErrCode copy_root_place(Disk *target, CopyRootReport *report, Err *err)
{
    AUTO(char, mem_free) aside = NULL;
    RootInfo info;
    size_t len = 0;
    DiskStat moved;
    DiskStat stat;
    TRY(disk_read_file(target, ROOT_RECOVER_READY, sizeof report->aside - 1, &aside, &len, err));
    TRY(copy_pass("recover.step", err));
    TRY(disk_stat(target, COPY_MOVED, &moved, err));
    if (!moved.exists) {
        bool any = false;
        TRY(move_old(target, aside, &any, err));
        TRY(copy_pass("recover.step", err));
        TRY(disk_create_durable(target, COPY_MOVED, STR(""), err));
    }
    TRY(copy_pass("recover.step", err));
    TRY(move_new(target, err));
    TRY(copy_pass("recover.step", err));
    TRY(root_read(target, &info, err));
    TRY(disk_stat(target, aside, &stat, err));
    report->root = info.uuid;
    if (stat.exists) memcpy(report->aside, aside, len + 1);
    TRY(unlink_durable(target, COPY_PLAN, err));
    TRY(unlink_durable(target, ROOT_RECOVER_READY, err));
    TRY(copy_pass("recover.step", err));
    return unlink_durable(target, COPY_MOVED, err);
}
