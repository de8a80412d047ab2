#include "cli/walk.h"

#include <string.h>

typedef struct {
    LocalDir *dir;
    size_t path_len; /* of walk->path at this directory, '/' included */
} Level;

struct Walk {
    Buf path; /* of the entry, below the root */
    size_t depth;
    Level levels[WALK_DEPTH_MAX];
};

ErrCode walk_open(const char *root, Walk **out, Err *err)
{
    LocalDir *dir = NULL;
    TRY(local_dir_open(NULL, root, &dir, err));
    Walk *walk = mem_new(sizeof *walk);
    buf_init(&walk->path, WALK_PATH_MAX);
    walk->levels[0] = (Level){.dir = dir};
    walk->depth = 1;
    *out = walk;
    return OK;
}

void walk_close(Walk *walk)
{
    if (walk == NULL) return;
    while (walk->depth > 0)
        local_dir_close(walk->levels[--walk->depth].dir);
    buf_deinit(&walk->path);
    mem_free(walk);
}

/* Goes into name, which is at the end of walk->path. */
static ErrCode enter(Walk *walk, const char *name, Err *err)
{
    if (walk->depth == WALK_DEPTH_MAX) {
        return err_set(err, ERR_TOO_BIG, "directories are more than %d deep", WALK_DEPTH_MAX);
    }
    LocalDir *dir = NULL;
    TRY(local_dir_open(walk->levels[walk->depth - 1].dir, name, &dir, err));
    ErrCode code = buf_append_str(&walk->path, STR("/"), err);
    if (code != OK) {
        local_dir_close(dir);
        return code;
    }
    walk->levels[walk->depth++] = (Level){.dir = dir, .path_len = walk->path.len};
    return OK;
}

static WalkEntry entry_of(const Walk *walk, WalkKind kind, uint64_t size)
{
    return (WalkEntry){.kind = kind, .relative = buf_str(&walk->path), .size = size};
}

/* name has just been read from the innermost directory. *done: *out is what walk_next() gives. */
static void look_at(Walk *walk, const char *name, WalkEntry *out, bool *done, Err *err)
{
    const Level *level = &walk->levels[walk->depth - 1];
    LocalType type = LOCAL_OTHER;
    uint64_t size = 0;
    *done = true;
    ErrCode code = buf_append_str(&walk->path, str_from_cstr(name), err);
    if (code == OK) code = local_dir_stat(level->dir, name, &type, &size, err);
    if (code == OK && type == LOCAL_DIR) {
        code = enter(walk, name, err);
        *done = code != OK;
    }
    if (code == ERR_NOT_FOUND) { /* gone since: as if it had never been there */
        *done = false;
    } else if (code != OK) {
        *out = entry_of(walk, WALK_FAILED, 0);
    } else if (type == LOCAL_FILE) {
        *out = entry_of(walk, WALK_FILE, size);
    } else if (type != LOCAL_DIR) {
        code = err_set(err, ERR_INVALID, "%s",
                       type == LOCAL_LINK ? "a symbolic link" : "a device, socket or pipe");
        *out = entry_of(walk, WALK_SKIPPED, 0);
        ASSERT(code == ERR_INVALID);
    }
}

WalkEntry walk_next(Walk *walk, Err *err)
{
    while (walk->depth > 0) {
        Level *level = &walk->levels[walk->depth - 1];
        const char *name = NULL;
        walk->path.len = level->path_len;
        ErrCode code = local_dir_next(level->dir, &name, err);
        if (code == OK && name != NULL) {
            WalkEntry entry;
            bool done = false;
            look_at(walk, name, &entry, &done, err);
            if (done) return entry;
            continue;
        }
        local_dir_close(level->dir);
        walk->depth--;
        if (code != OK) return entry_of(walk, WALK_FAILED, 0);
    }
    return (WalkEntry){.kind = WALK_END};
}
