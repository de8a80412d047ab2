/* What names and holds a root together; and files that are nobody's. */
#include "fsck/fsck_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth/key.h"
#include "control/local/local.h"

#define ROOT_KEY "root.key"
#define CONTROL_MEND "start the server: it makes a new one"

/* ---- root.json, control.json ---- */

typedef struct {
    uint64_t bytes;
    Disk *disk;
    const char *dir;
} Sizes;

static ErrCode add_size(void *ctx, const char *name, bool is_dir, Err *err)
{
    Sizes *sizes = ctx;
    DiskStat stat;
    char path[DISK_PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", sizes->dir, name);
    if (len < 0 || (size_t)len >= sizeof path) return OK;
    if (is_dir) {
        Sizes below = {.disk = sizes->disk, .dir = path};
        TRY(disk_list(sizes->disk, path, add_size, &below, err));
        sizes->bytes += below.bytes;
        return OK;
    }
    TRY(disk_stat(sizes->disk, path, &stat, err));
    sizes->bytes += stat.size;
    return OK;
}

/* Bytes to be read, for the progress; a guess where something can't be listed. */
static void sum_sizes(Fsck *fsck)
{
    static const char *const dirs[] = {"wal.segments", "wal.segments", "packs", "blobs"};
    static const char *const files[] = {"index.db", "index.db-wal", "wal.active", "wal.active"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        Sizes sizes = {.disk = fsck->disk, .dir = dirs[i]};
        DiskStat stat = {0};
        if (disk_stat(fsck->disk, dirs[i], &stat, NULL) == OK && stat.is_dir &&
            disk_list(fsck->disk, dirs[i], add_size, &sizes, NULL) == OK)
            fsck->total += sizes.bytes;
        if (disk_stat(fsck->disk, files[i], &stat, NULL) == OK && stat.exists)
            fsck->total += stat.size;
    }
}

static ErrCode check_root_json(Fsck *fsck, Err *err)
{
    Err why = {0};
    ErrCode code = root_read(fsck->disk, &fsck->root, &why);
    fsck->root_known = code == OK;
    if (code == OK) return OK;
    if (code == ERR_NOT_FOUND) {
        return fsck_say(fsck, FSCK_DAMAGE, "root", ROOT_FILE, 0, 0, "put a copy of it back", err,
                        "there is no %s", ROOT_FILE);
    }
    return fsck_say(fsck, FSCK_DAMAGE, "root", ROOT_FILE, 0, 0, "put a copy of it back", err, "%s",
                    err_text(&why));
}

static ErrCode check_control(Fsck *fsck, Err *err)
{
    Err why = {0};
    ControlLook look = {.exists = false};
    uint64_t own = fsck->root.incarnation;
    ErrCode code = control_local_look(fsck->disk, fsck->root.uuid, &look, &why);
    fsck->report.copies = look.copies;
    fsck->in_use = look.exists ? look.shards > 0 : own > 0;
    if (code != OK) {
        return fsck_say(fsck, FSCK_DAMAGE, "control", CONTROL_FILE, 0, 0, CONTROL_MEND, err, "%s",
                        err_text(&why));
    }
    if (!fsck->root_known) return OK;
    if (look.exists && look.incarnation == 0 && own > 0) {
        return fsck_say(fsck, FSCK_DAMAGE, "control", CONTROL_FILE, 0, 0,
                        "put the right one back, or move it away: the server makes a new one", err,
                        "it does not name this root");
    }
    /* control.json is written first, root.json follows: one start may lie between. */
    if (own <= look.incarnation && look.incarnation <= own + 1) return OK;
    if (!look.exists && own == 0) return OK;
    if (!look.exists) {
        return fsck_say(fsck, FSCK_DAMAGE, "control", CONTROL_FILE, 0, 0, CONTROL_MEND, err,
                        "there is no %s", CONTROL_FILE);
    }
    return fsck_say(fsck, FSCK_DAMAGE, "control", ROOT_FILE, 0, 0, "", err,
                    "%s is in incarnation %" PRIu64 " and %s in %" PRIu64, ROOT_FILE, own,
                    CONTROL_FILE, look.incarnation);
}

static ErrCode check_key(Fsck *fsck, Err *err)
{
    DiskStat stat;
    char *text = NULL;
    size_t len = 0;
    AccessKey key;
    TRY(disk_stat(fsck->disk, ROOT_KEY, &stat, err));
    if (!stat.exists) return OK; /* the next start makes one */
    if (stat.for_others) {
        TRY(fsck_say(fsck, FSCK_DAMAGE, "root-key", ROOT_KEY, 0, 0, "chmod 600", err,
                     "may be read or written by every user"));
    }
    if (stat.is_dir || disk_read_file(fsck->disk, ROOT_KEY, 1024, &text, &len, NULL) != OK) {
        return fsck_say(fsck, FSCK_DAMAGE, "root-key", ROOT_KEY, 0, 0, "", err, "can't be read");
    }
    Str line = str_of(text, len);
    if (str_ends_with(line, STR("\n"))) line.len--;
    bool good = key_parse(line, &key);
    explicit_bzero(text, len);
    mem_free(text);
    if (good) {
        key_wipe(&key);
        return OK;
    }
    return fsck_say(fsck, FSCK_DAMAGE, "root-key", ROOT_KEY, 0, 0,
                    "move it away for a new key, or put the right one back", err,
                    "does not hold one line ID.SECRET");
}

ErrCode fsck_check_root(Fsck *fsck, Err *err)
{
    DiskStat packs;
    DiskStat index;
    DiskStat log;
    DiskStat root;
    TRY(disk_stat(fsck->disk, ROOT_FILE, &root, err));
    TRY(disk_stat(fsck->disk, "packs", &packs, err));
    TRY(disk_stat(fsck->disk, "index.db", &index, err));
    TRY(disk_stat(fsck->disk, "wal.active", &log, err));
    if (!root.exists && !packs.exists && !index.exists && !log.exists) {
        return err_set(
            err, ERR_NOT_FOUND,
            "this is no data directory: it has neither root.json nor log, index or packs");
    }
    sum_sizes(fsck);
    TRY(check_root_json(fsck, err));
    TRY(check_control(fsck, err));
    return check_key(fsck, err);
}

/* ---- strangers ---- */

/* Names in the root that belong to it; a '*' at the end stands for anything. */
static const char *const own_names[] = {
    "root.json*",  "root.key*",    "control.json*", "risk.json*",  "lock",       "wal.active",
    "wal.spare.*", "wal.segments", "packs",         "blobs",       "index.db",   "index.db-wal",
    "staging",     "quarantine",   "rebuild*",      "scrub*",      "lost+found", "audit",
    "audit.key*",  "index.mark*",  "index.remade",  "bodies.owed", "recover"};

typedef struct {
    Fsck *fsck;
    const char *dir;
} Listing;

static bool is_own(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(own_names); i++) {
        Str own = str_from_cstr(own_names[i]);
        Str text = str_from_cstr(name);
        if (str_ends_with(own, STR("*"))) {
            own.len--;
            if (str_starts_with(text, own)) return true;
        } else if (str_eq(own, text)) {
            return true;
        }
    }
    return false;
}

static ErrCode stranger(void *ctx, const char *name, bool is_dir, Err *err)
{
    const Listing *listing = ctx;
    UNUSED(is_dir);
    if (is_own(name)) return OK;
    return fsck_say(listing->fsck, FSCK_NOTE, "stranger", name, 0, 0, "", err,
                    "nothing here is called so; Holdfast does not touch it");
}

static ErrCode kept(void *ctx, const char *name, bool is_dir, Err *err)
{
    const Listing *listing = ctx;
    char path[DISK_PATH_MAX];
    UNUSED(is_dir);
    int len = snprintf(path, sizeof path, "%s/%s", listing->dir, name);
    if (len < 0 || (size_t)len >= sizeof path) return OK;
    bool staged = strcmp(listing->dir, "staging") == 0;
    return fsck_say(listing->fsck, FSCK_NOTE, staged ? "staging" : "quarantine", path, 0, 0, "",
                    err,
                    staged ? "an upload that was not acknowledged; the next start removes it"
                           : "was put aside earlier");
}

ErrCode fsck_check_strangers(Fsck *fsck, Err *err)
{
    static const char *const dirs[] = {"staging", "quarantine"};
    Listing listing = {.fsck = fsck, .dir = ""};
    TRY(disk_list(fsck->disk, "", stranger, &listing, err));
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        DiskStat stat;
        listing.dir = dirs[i];
        TRY(disk_stat(fsck->disk, dirs[i], &stat, err));
        if (stat.exists && stat.is_dir) TRY(disk_list(fsck->disk, dirs[i], kept, &listing, err));
    }
    return OK;
}
