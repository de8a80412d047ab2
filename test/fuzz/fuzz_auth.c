/* Authorization headers: what is taken for a key is one, reads back as itself, and lets nobody in
 * but its owner. */
#include "auth/auth.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "HF0123456789ABCDEFGH"
#define SECRET "0123456789abcdefghijABCDEFGHIJ0123456789"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const AuthKey known = {.key = {ID, SECRET}, .name = "root", .rights = RIGHTS_ALL};
    const AuthKeys keys = {&known, 1};
    AccessKey key;
    AccessKey again;
    Identity who;
    char text[KEY_TEXT_LEN + 1];
    Str header = str_of(data, size);

    bool parsed = key_parse_authorization(header, &key);
    if (parsed) {
        key_text(&key, text);
        ASSERT(strlen(text) == KEY_TEXT_LEN);
        ASSERT(key_parse(str_from_cstr(text), &again));
        ASSERT(memcmp(&key, &again, sizeof key) == 0);
    }
    bool owner = parsed && strcmp(key.id, ID) == 0 && strcmp(key.secret, SECRET) == 0;
    ErrCode code = auth_identify(&keys, &(AuthRequest){.authorization = header}, &who, NULL);
    ASSERT(code == (owner ? OK : ERR_UNAUTHENTICATED));
    if (owner) ASSERT(str_eq(who.name, STR("root")) && who.rights == RIGHTS_ALL);
    return 0;
}
