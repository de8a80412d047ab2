#include "audit/audit_key.h"

#include "base/rng.h"
#include <string.h>

#define TEXT_LEN ((size_t)2 * AUDIT_KEY_LEN)
#define FILE_MAX 1024

static ErrCode make_key(Disk *disk, AuditKey *out, Err *err)
{
    AuditKey key;
    char text[TEXT_LEN + 2];
    TRY(rng_secret(key.bytes, sizeof key.bytes, err));
    hex_encode(key.bytes, sizeof key.bytes, text);
    text[TEXT_LEN] = '\n';
    ErrCode code = disk_create_durable(disk, AUDIT_KEY_FILE, str_of(text, TEXT_LEN + 1), err);
    explicit_bzero(text, sizeof text);
    if (code == OK) *out = key;
    explicit_bzero(&key, sizeof key);
    return code;
}

ErrCode audit_key_read(Disk *disk, const char *path, AuditKey *out, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    TRY(disk_read_file(disk, path, FILE_MAX, &text, &len, err));
    Str line = str_of(text, len);
    if (str_ends_with(line, STR("\n"))) line.len--;
    AuditKey key;
    bool good = hex_decode(line, key.bytes, sizeof key.bytes);
    explicit_bzero(text, len);
    if (good) *out = key;
    explicit_bzero(&key, sizeof key);
    if (good) return OK;
    return err_set(err, ERR_CONFIG, "%s does not hold 64 hex digits", path);
}

ErrCode audit_key_open(Disk *disk, AuditKey *out, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, AUDIT_KEY_FILE, &stat, err));
    if (!stat.exists) return make_key(disk, out, err);
    if (stat.for_others)
        return err_set(err, ERR_CONFIG, AUDIT_KEY_FILE " may be read by every user: chmod 600 it");
    return audit_key_read(disk, AUDIT_KEY_FILE, out, err);
}
