#include "cli/walk.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX (4 * GIB) /* bytes of the names in one directory */

typedef struct {
    LocalDir *dir;
    size_t path_len; /* of walk->path at this directory, '/' included */
    /* WALK_SORTED: what is in it, read when it was entered. */
    Buf names;     /* terminated, one behind the other; those of directories end in '/' */
    char **sorted; /* into names */
    size_t count;
    size_t at; /* of sorted */
} Level;

struct Walk {
    WalkOrder order;
    Buf path; /* of the entry, below the root */
    size_t depth;
    Level levels[WALK_DEPTH_MAX];
};

/* ---- one directory in order ---- */

/* 'a' < 'a-b' < 'a/' < 'aa': with its '/' a directory's name stands where its files' keys do. */
static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ErrCode add_name(Level *level, const char *name, Err *err)
{
    bool known = false;
    bool is_dir = local_dir_was_dir(level->dir, &known);
    if (!known) {
        LocalInfo info = {.type = LOCAL_OTHER};
        ErrCode code = local_dir_stat(level->dir, name, &info, err);
        if (code == ERR_NOT_FOUND) return OK; /* gone since */
        /* What can't be looked at is met again, and told, in its turn. */
        is_dir = code == OK && info.type == LOCAL_DIR;
    }
    TRY(buf_append_str(&level->names, str_from_cstr(name), err));
    if (is_dir) TRY(buf_append_str(&level->names, STR("/"), err));
    level->count++;
    return buf_append_zeros(&level->names, 1, err);
}

static ErrCode read_names(Level *level, Err *err)
{
    for (;;) {
        const char *name = NULL;
        TRY(local_dir_next(level->dir, &name, err));
        if (name == NULL) break;
        TRY(add_name(level, name, err));
    }
    level->sorted = mem_new_array(MAX(level->count, (size_t)1), sizeof *level->sorted);
    char *name = (char *)level->names.data;
    for (size_t i = 0; i < level->count; i++) {
        level->sorted[i] = name;
        name += strlen(name) + 1;
    }
    if (level->count > 1) qsort(level->sorted, level->count, sizeof *level->sorted, by_name);
    return OK;
}

static ErrCode next_name(Walk *walk, Level *level, const char **name, Err *err)
{
    if (walk->order == WALK_ANY_ORDER) return local_dir_next(level->dir, name, err);
    *name = NULL;
    if (level->at == level->count) return OK;
    char *next = level->sorted[level->at++];
    size_t len = strlen(next);
    if (len > 0 && next[len - 1] == '/') next[len - 1] = '\0';
    *name = next;
    return OK;
}

static void leave(Walk *walk)
{
    ASSERT(walk->depth > 0);
    Level *level = &walk->levels[--walk->depth];
    local_dir_close(level->dir);
    buf_deinit(&level->names);
    mem_free(level->sorted);
    *level = (Level){0};
}

/* dir becomes the innermost level, and the walk's, whatever is returned. */
static ErrCode push(Walk *walk, LocalDir *dir, Err *err)
{
    Level *level = &walk->levels[walk->depth++];
    *level = (Level){.dir = dir, .path_len = walk->path.len};
    buf_init(&level->names, NAMES_MAX);
    if (walk->order == WALK_ANY_ORDER) return OK;
    ErrCode code = read_names(level, err);
    if (code != OK) leave(walk);
    return code;
}

/* ---- the walk ---- */

ErrCode walk_open(const char *root, WalkOrder order, Walk **out, Err *err)
{
    LocalDir *dir = NULL;
    TRY(local_dir_open(NULL, root, &dir, err));
    AUTO(Walk, walk_close) walk = mem_new(sizeof *walk);
    walk->order = order;
    buf_init(&walk->path, WALK_PATH_MAX);
    TRY(push(walk, dir, err));
    *out = TAKE(walk);
    return OK;
}

void walk_close(Walk *walk)
{
    if (walk == NULL) return;
    while (walk->depth > 0)
        leave(walk);
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
    return push(walk, dir, err);
}

static WalkEntry entry_of(const Walk *walk, WalkKind kind, const LocalInfo *info)
{
    return (WalkEntry){.kind = kind,
                       .relative = buf_str(&walk->path),
                       .size = info == NULL ? 0 : info->size,
                       .mtime_ns = info == NULL ? 0 : info->mtime_ns};
}

/* name has just been read from the innermost directory. *done: *out is what walk_next() gives. */
static void look_at(Walk *walk, const char *name, WalkEntry *out, bool *done, Err *err)
{
    const Level *level = &walk->levels[walk->depth - 1];
    LocalInfo info = {.type = LOCAL_OTHER};
    *done = true;
    ErrCode code = buf_append_str(&walk->path, str_from_cstr(name), err);
    if (code == OK) code = local_dir_stat(level->dir, name, &info, err);
    if (code == OK && info.type == LOCAL_DIR) {
        code = enter(walk, name, err);
        *done = code != OK;
    }
    if (code == ERR_NOT_FOUND) { /* gone since: as if it had never been there */
        *done = false;
    } else if (code != OK) {
        *out = entry_of(walk, WALK_FAILED, NULL);
    } else if (info.type == LOCAL_FILE) {
        *out = entry_of(walk, WALK_FILE, &info);
    } else if (info.type != LOCAL_DIR) {
        code = err_set(err, ERR_INVALID, "%s",
                       info.type == LOCAL_LINK ? "a symbolic link" : "a device, socket or pipe");
        *out = entry_of(walk, WALK_SKIPPED, NULL);
        ASSERT(code == ERR_INVALID);
    }
}

WalkEntry walk_next(Walk *walk, Err *err)
{
    while (walk->depth > 0) {
        Level *level = &walk->levels[walk->depth - 1];
        const char *name = NULL;
        walk->path.len = level->path_len;
        ErrCode code = next_name(walk, level, &name, err);
        if (code == OK && name != NULL) {
            WalkEntry entry;
            bool done = false;
            look_at(walk, name, &entry, &done, err);
            if (done) return entry;
            continue;
        }
        leave(walk);
        if (code != OK) return entry_of(walk, WALK_FAILED, NULL);
    }
    return (WalkEntry){.kind = WALK_END};
}
