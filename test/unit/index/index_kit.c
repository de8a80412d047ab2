#include "index_kit.h"

#include <stdio.h>
#include <string.h>

#define DELETE_CHANCE 250000
#define READ_CHANCE 125000

void kit_init(Kit *kit, uint64_t seed)
{
    *kit = (Kit){.seed = seed, .ops_max = 40, .big_chance = 60000};
}

static Rng rng_of(uint64_t seed, uint64_t a, uint64_t b)
{
    Rng rng;
    rng_init(&rng, seed * 1000003 + a * 8191 + b);
    return rng;
}

Str kit_key(uint32_t i, char out[64])
{
    Rng rng = rng_of(0, i, 1);
    int len = snprintf(out, 64, "k/%05u", i);
    size_t more = (size_t)rng_below(&rng, 50);
    memset(out + len, 'x', more);
    return str_of(out, (size_t)len + more);
}

Str kit_value(const Kit *kit, uint32_t i, uint32_t version, char *out)
{
    Rng rng = rng_of(kit->seed, i, version);
    if (i == 0) {
        memcpy(out, &version, sizeof version);
        return str_of(out, sizeof version);
    }
    size_t most = rng_chance(&rng, kit->big_chance) ? KIT_VALUE_MAX : 200;
    size_t len = (size_t)rng_below(&rng, most);
    rng_bytes(&rng, out, len);
    return str_of(out, len);
}

static ErrCode check_value(const Kit *kit, uint32_t i, uint32_t version, Str value, Err *err)
{
    char wanted[KIT_VALUE_MAX];
    if (str_eq(value, kit_value(kit, i, version, wanted))) return OK;
    return err_set(err, ERR_ABORTED, "key %u has a value that is not of version %u", i, version);
}

/* Reads key i and the first key from i on within the batch. */
static ErrCode read_back(const Kit *kit, Index *index, uint32_t i, Err *err)
{
    char key_bytes[64];
    Str key = kit_key(i, key_bytes);
    Str value = {0};
    bool found = false;
    TRY(index_batch_get(index, key, &value, &found, err));
    if (found != (kit->versions[i] != 0)) return err_set(err, ERR_ABORTED, "key %u: %d", i, found);
    if (found) TRY(check_value(kit, i, kit->versions[i], value, err));
    uint32_t next = i;
    while (next < KIT_KEYS && kit->versions[next] == 0)
        next++;
    Str got = {0};
    TRY(index_batch_first(index, key, STR("k/"), &got, &value, &found, err));
    if (found != (next < KIT_KEYS)) return err_set(err, ERR_ABORTED, "first from %u: %d", i, found);
    if (!found) return OK;
    if (!str_eq(got, kit_key(next, key_bytes))) return err_set(err, ERR_ABORTED, "first %u", i);
    return check_value(kit, next, kit->versions[next], value, err);
}

/* index may be NULL: only kit changes. */
static ErrCode put_version(Kit *kit, Index *index, uint32_t i, uint32_t version, Err *err)
{
    char key[64];
    char value[KIT_VALUE_MAX];
    kit->versions[i] = version;
    if (index == NULL) return OK;
    if (version == 0) return index_delete(index, kit_key(i, key), err);
    return index_put(index, kit_key(i, key), kit_value(kit, i, version, value), err);
}

static ErrCode apply(Kit *kit, Index *index, Err *err)
{
    uint32_t batch = kit->versions[0] + 1;
    Rng rng = rng_of(kit->seed, batch, 77);
    uint32_t ops = (uint32_t)rng_below(&rng, kit->ops_max) + 1;
    TRY(put_version(kit, index, 0, batch, err));
    for (uint32_t n = 0; n < ops; n++) {
        uint32_t i = (uint32_t)rng_below(&rng, KIT_KEYS - 1) + 1;
        bool gone = rng_chance(&rng, DELETE_CHANCE);
        TRY(put_version(kit, index, i, gone ? 0 : batch * 64 + n, err));
        uint32_t j = (uint32_t)rng_below(&rng, KIT_KEYS);
        if (rng_chance(&rng, READ_CHANCE) && index != NULL) TRY(read_back(kit, index, j, err));
    }
    return OK;
}

ErrCode kit_batch(Kit *kit, Index *index, Err *err)
{
    Kit next = *kit;
    TRY(index_begin(index, err));
    ErrCode code = apply(&next, index, err);
    if (code == OK) code = index_commit(index, err);
    if (code != OK) {
        index_rollback(index);
        return code;
    }
    *kit = next;
    return OK;
}

void kit_replay(Kit *kit, uint32_t batches)
{
    memset(kit->versions, 0, sizeof kit->versions);
    while (kit->versions[0] < batches) {
        ErrCode code = apply(kit, NULL, NULL);
        ASSERT(code == OK);
    }
}

ErrCode kit_batches(IndexReader *reader, uint32_t *out, Err *err)
{
    char key[64];
    Str value = {0};
    bool found = false;
    TRY(index_get(reader, kit_key(0, key), &value, &found, err));
    uint32_t batches = 0;
    if (found) {
        if (value.len != sizeof batches) return err_set(err, ERR_ABORTED, "row 0 is strange");
        memcpy(&batches, value.ptr, sizeof batches);
    }
    *out = batches;
    return OK;
}

static ErrCode compare_next(const Kit *kit, IndexCursor *cursor, uint32_t *i, Err *err)
{
    char key_bytes[64];
    Str key = {0};
    Str value = {0};
    bool found = false;
    while (*i < KIT_KEYS && kit->versions[*i] == 0)
        ++*i;
    TRY(index_next(cursor, &key, &value, &found, err));
    if (found != (*i < KIT_KEYS)) {
        return err_set(err, ERR_ABORTED, "%s at key %u", found ? "a row too many" : "no row", *i);
    }
    if (!found) return OK;
    if (!str_eq(key, kit_key(*i, key_bytes))) {
        return err_set(err, ERR_ABORTED, "%.*s instead of key %u", STR_ARG(key), *i);
    }
    TRY(check_value(kit, *i, kit->versions[*i], value, err));
    ++*i;
    return OK;
}

static ErrCode compare_cursor(const Kit *kit, IndexCursor *cursor, Err *err)
{
    char key[64];
    uint32_t i = 0;
    while (i < KIT_KEYS)
        TRY(compare_next(kit, cursor, &i, err));
    TRY(compare_next(kit, cursor, &i, err)); /* still at the end */
    for (uint32_t at = 0; at < KIT_KEYS; at += 37) {
        TRY(index_seek(cursor, kit_key(at, key), err));
        i = at;
        TRY(compare_next(kit, cursor, &i, err));
        if (i < KIT_KEYS) TRY(compare_next(kit, cursor, &i, err));
    }
    return OK;
}

ErrCode kit_compare(const Kit *kit, IndexReader *reader, Err *err)
{
    char key[64];
    IndexCursor *cursor = NULL;
    TRY(index_scan(reader, str_of(NULL, 0), &cursor, err));
    ErrCode code = compare_cursor(kit, cursor, err);
    index_cursor_close(cursor);
    if (code != OK) return code;
    for (uint32_t i = 0; i < KIT_KEYS; i += 7) {
        Str value = {0};
        bool found = false;
        TRY(index_get(reader, kit_key(i, key), &value, &found, err));
        if (found != (kit->versions[i] != 0)) return err_set(err, ERR_ABORTED, "get %u", i);
        if (found) TRY(check_value(kit, i, kit->versions[i], value, err));
    }
    return OK;
}

ErrCode kit_compare_range(Kit *kit, Index *index, uint32_t least, uint32_t most, uint32_t *found,
                          Err *err)
{
    uint32_t batches = 0;
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(index, &reader, err));
    TRY(kit_batches(reader, &batches, err));
    if (batches < least || batches > most) {
        return err_set(err, ERR_ABORTED, "%u batches instead of %u to %u", batches, least, most);
    }
    kit_replay(kit, batches);
    TRY(kit_compare(kit, reader, err));
    if (found != NULL) *found = batches;
    return OK;
}
