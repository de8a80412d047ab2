#include "node/root_key.h"

#include "base/rng.h"
#include <string.h>

#define FILE_MAX 1024

static ErrCode make_key(Disk *disk, AccessKey *out, Err *err)
{
    uint8_t random[KEY_RANDOM_LEN];
    char text[KEY_TEXT_LEN + 2];
    TRY(rng_secret(random, sizeof random, err));
    AccessKey key;
    key_generate(random, &key);
    explicit_bzero(random, sizeof random);
    key_text(&key, text);
    text[KEY_TEXT_LEN] = '\n';
    ErrCode code = disk_create_durable(disk, ROOT_KEY_FILE, str_of(text, KEY_TEXT_LEN + 1), err);
    explicit_bzero(text, sizeof text);
    if (code == OK) *out = key;
    key_wipe(&key);
    return code;
}

ErrCode root_key_open(Disk *disk, AccessKey *out, bool *made, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, ROOT_KEY_FILE, &stat, err));
    *made = !stat.exists;
    if (!stat.exists) return make_key(disk, out, err);
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
