#include "node/root_key.h"

#include "base/rng.h"
#include "format/config_entry.h"
#include <string.h>

#define FILE_MAX 1024

static ErrCode make_key(AccessKey *out, Err *err)
{
    uint8_t random[KEY_RANDOM_LEN];
    TRY(rng_secret(random, sizeof random, err));
    key_generate(random, out);
    explicit_bzero(random, sizeof random);
    return OK;
}

static ErrCode write_key(Disk *disk, const AccessKey *key, Err *err)
{
    char text[KEY_TEXT_LEN + 2];
    key_text(key, text);
    text[KEY_TEXT_LEN] = '\n';
    ErrCode code = disk_create_durable(disk, ROOT_KEY_FILE, str_of(text, KEY_TEXT_LEN + 1), err);
    explicit_bzero(text, sizeof text);
    return code;
}

static ErrCode read_key(Disk *disk, AccessKey *out, bool *there, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, ROOT_KEY_FILE, &stat, err));
    *there = stat.exists;
    if (!stat.exists) return OK;
    if (stat.for_others) {
        return err_set(err, ERR_CONFIG,
                       ROOT_KEY_FILE " may be read by every user: chmod 600 it; if somebody may "
                                     "have seen it, move it away for a new key");
    }
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    if (stat.size <= FILE_MAX && !stat.is_dir) {
        TRY(disk_read_file(disk, ROOT_KEY_FILE, FILE_MAX, &text, &len, err));
    }
    Str line = str_of(text, len);
    if (str_ends_with(line, STR("\n"))) line.len--;
    bool good = key_parse(line, out);
    if (text != NULL) explicit_bzero(text, len);
    if (good) return OK;
    return err_set(err, ERR_CONFIG,
                   ROOT_KEY_FILE " does not hold one line ID.SECRET; put the right one back, or "
                                 "move the file away for a new key");
}

/* Those that are there must be one. */
static ErrCode read_keys(Disk *const *disks, unsigned count, AccessKey *out, bool *there, bool *any,
                         Err *err)
{
    *any = false;
    for (unsigned i = 0; i < count; i++) {
        AccessKey key;
        TRY(read_key(disks[i], &key, &there[i], err));
        if (!there[i]) continue;
        bool same = !*any || (strcmp(key.id, out->id) == 0 && strcmp(key.secret, out->secret) == 0);
        *out = key;
        key_wipe(&key);
        *any = true;
        if (!same)
            return err_set(err, ERR_CONFIG,
                           ROOT_KEY_FILE " of two directories hold different keys; move the wrong "
                                         "one away");
    }
    return OK;
}

ErrCode root_key_open(Disk *const *disks, unsigned count, AccessKey *out, bool *made, Err *err)
{
    bool there[MEMBERS_MAX] = {false};
    bool any = false;
    ASSERT(count >= 1 && count <= MEMBERS_MAX);
    TRY(read_keys(disks, count, out, there, &any, err));
    *made = !any;
    if (!any) TRY(make_key(out, err));
    for (unsigned i = 0; i < count; i++) {
        if (!there[i]) TRY(write_key(disks[i], out, err));
    }
    return OK;
}
