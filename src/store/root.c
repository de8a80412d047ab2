#include "store/root.h"

#include <inttypes.h>
#include <string.h>

#include "format/segment.h"
#include "text/dates.h"
#include "text/json.h"

#define ROOT_JSON_MAX (16 * 1024)

ErrCode root_save(Disk *disk, const RootInfo *info, Err *err)
{
    AUTO_BUF(out, ROOT_JSON_MAX);
    char root[37];
    char cluster[37];
    char storage[37];
    uuid_text(info->uuid, root);
    uuid_text(root_storage(info), storage);
    uuid_text(info->cluster, cluster);
    JsonWriter json;
    json_writer_init(&json, &out);
    json_write_object_begin(&json);
    json_member_u64(&json, "format", ROOT_FORMAT);
    json_member_cstr(&json, "root_uuid", root);
    json_member_cstr(&json, "cluster_uuid", cluster);
    json_member_cstr(&json, "storage_uuid", storage);
    json_member_u64(&json, "incarnation", info->incarnation);
    json_member_u64(&json, "feature_level", info->feature_level);
    json_member_time_ms(&json, "created_at", info->created_ms);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    TRY(json_seal(&out, err));
    TRY(buf_append(&out, "\n", 1, err));
    return disk_replace_durable(disk, ROOT_FILE, buf_str(&out), err);
}

static ErrCode root_decode(Str text, RootInfo *out, Err *err)
{
    AUTO(json_t, json_free) json = NULL;
    TRY(json_parse(text, &json, err));
    uint64_t format = 0;
    uint64_t level = 0;
    TRY(json_get_u64(json, "format", &format, err));
    if (format == 0) return err_set(err, ERR_INVALID, "there is no format 0");
    if (format > ROOT_FORMAT) {
        return err_set(err, ERR_FORMAT_VERSION,
                       "format %" PRIu64 " was written by a newer release; this one knows %d",
                       format, ROOT_FORMAT);
    }
    RootInfo info = {0};
    Str root;
    Str cluster;
    Str storage;
    Str created;
    TRY(json_get_str(json, "root_uuid", &root, err));
    TRY(json_get_str(json, "cluster_uuid", &cluster, err));
    TRY(json_get_str(json, "created_at", &created, err));
    TRY(json_get_u64(json, "incarnation", &info.incarnation, err));
    TRY(json_get_u64(json, "feature_level", &level, err));
    if (level > FEATURE_LEVEL) {
        return err_set(err, ERR_FORMAT_VERSION,
                       "feature level %" PRIu64 " needs a newer release; this one knows %d", level,
                       FEATURE_LEVEL);
    }
    TRY(json_check_seal(text, err));
    TRY(json_get_str(json, "storage_uuid", &storage, err));
    info.feature_level = (uint32_t)level;
    if (!uuid_parse(root, &info.uuid) || !uuid_parse(cluster, &info.cluster) ||
        !uuid_parse(storage, &info.storage) || !date_parse_rfc3339(created, &info.created_ms) ||
        id128_is_zero(info.uuid)) {
        return err_set(err, ERR_INVALID, "a uuid or time is malformed");
    }
    *out = info;
    return OK;
}

typedef struct {
    char name[64]; /* of something that is not ours, "" if none */
} Strangers;

/* Temporary files of a creation that a crash cut off are ours. */
static ErrCode look_for_strangers(void *ctx, const char *name, bool is_dir, Err *err)
{
    UNUSED(is_dir);
    UNUSED(err);
    Strangers *strangers = ctx;
    Str s = str_from_cstr(name);
    bool ours = str_eq(s, STR("lost+found")) || str_eq(s, STR(ROOT_LOCK_FILE)) ||
                str_starts_with(s, STR(ROOT_FILE)) || str_eq(s, STR("root.key")) ||
                str_starts_with(s, STR("root.key."));
    if (!ours) {
        size_t len = MIN(s.len, sizeof strangers->name - 1);
        memcpy(strangers->name, name, len);
        strangers->name[len] = '\0';
    }
    return OK;
}

static ErrCode root_create(Disk *disk, Rng *rng, Clock *clock, RootInfo *out, Err *err)
{
    RootInfo info = {.uuid = id128_random(rng),
                     .cluster = id128_random(rng),
                     .created_ms = clock_wall_ms(clock),
                     .feature_level = FEATURE_LEVEL};
    TRY(root_save(disk, &info, err));
    *out = info;
    return OK;
}

ErrCode root_read(Disk *disk, RootInfo *out, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    TRY(disk_read_file(disk, ROOT_FILE, ROOT_JSON_MAX, &text, &len, err));
    ErrCode code = root_decode(str_of(text, len), out, err);
    if (code == ERR_INVALID || code == ERR_CORRUPT) {
        return err_wrap(err, ERR_CORRUPT,
                        ROOT_FILE " is damaged; put a copy of it back (it names this root and "
                                  "changes little)");
    }
    return code == OK ? OK : err_wrap(err, code, "%s", ROOT_FILE);
}

/* In a directory without root.json nothing but ours may lie; said before anything is put there. */
static ErrCode check_strangers(Disk *disk, Err *err)
{
    Strangers strangers = {.name = ""};
    TRY(disk_list(disk, "", look_for_strangers, &strangers, err));
    if (strangers.name[0] == '\0') return OK;
    return err_set(err, ERR_FOREIGN,
                   "the directory holds other files (\"%s\") and no %s; give an empty one, or if "
                   "files are stored in this one, put its %s back",
                   strangers.name, ROOT_FILE, ROOT_FILE);
}

/* A copy from another directory that was cut off, where nothing else is or it has begun to take
 * its place. */
static ErrCode check_recovered(Disk *disk, bool exists, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, exists ? ROOT_RECOVER_READY : ROOT_RECOVER_DIR, &stat, err));
    if (!stat.exists) return OK;
    return err_set(err, ERR_CORRUPT,
                   "`holdfast recover --from` was cut off here: run it again, it goes on");
}

static ErrCode check_directory(Disk *disk, bool *exists, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, ROOT_FILE, &stat, err));
    *exists = stat.exists;
    TRY(check_recovered(disk, stat.exists, err));
    return stat.exists ? OK : check_strangers(disk, err);
}

ErrCode root_tell(Disk *disk, Str who, Err *err)
{
    AUTO(File, disk_close) file = NULL;
    TRY(disk_open(disk, ROOT_LOCK_FILE, DISK_OPEN_WRITE, &file, err));
    TRY(disk_write(file, 0, who.ptr, who.len, err));
    return disk_truncate(file, who.len, err);
}

ErrCode root_open(Disk *disk, Str who, Rng *rng, Clock *clock, RootInfo *out, Err *err)
{
    char holder[128] = "";
    bool exists = false;
    TRY(check_directory(disk, &exists, err));
    ErrCode code = disk_lock(disk, ROOT_LOCK_FILE, who, holder, sizeof holder, err);
    if (code == ERR_IN_USE) {
        err_clear(err);
        return err_set(err, ERR_IN_USE, "the directory is in use by %s",
                       holder[0] == '\0' ? "another process" : holder);
    }
    if (code != OK) return code;
    TRY(check_directory(disk, &exists, err)); /* another process may have been faster */
    if (!exists) return root_create(disk, rng, clock, out, err);
    return root_read(disk, out, err);
}
