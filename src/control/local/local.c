/* All rows live in memory; a change makes a new version of the whole, writes it to every root and
 * is in force when a majority has it. Two files may have one version and different contents, if a
 * change reached a minority and the process ended: they do not count for each other. control.json:
 *   {"format":1, "version":N, "base":M, "base_sha256":"…",
 *    "roots":[{"root":uuid,"incarnation":n,"verdict":"clean"}],
 *    "shards":[{"shard":n,"config":"hex of format/config_entry.h"}]} */
#include "control/local/local.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "control/control_priv.h"
#include "control/local/writers.h"
#include "text/json.h"

#define CONTROL_FORMAT 1
#define CONTROL_FILE_MAX (64 * MIB)
#define ROOTS_MAX 256

typedef struct {
    uint64_t version; /* 0: there is no file */
    Sha256 digest;    /* of the file */
    uint64_t base;    /* version that it was made of: that one was in force */
    Sha256 base_digest;
    ControlRoot roots[ROOTS_MAX];
    size_t root_count;
    ControlShard *shards; /* rising by shard */
    size_t shard_count;
} State;

typedef struct {
    Control control;
    Disk *disks[MEMBERS_MAX];
    size_t disk_count;
    State state;
    bool unknown; /* a write's outcome is not known: nothing may be built on it in this process … */
    Writers *writers; /* … but with these what was to be in force can still be: */
    bool has_pending;
    State pending;
} Local;

static Local *local_of(Control *control)
{
    return (Local *)control;
}

static const char *const verdict_names[] = {
    [ROOT_CLEAN] = "clean", [ROOT_SUSPECT] = "suspect", [ROOT_LOST] = "lost"};

static void state_deinit(State *state)
{
    mem_free(state->shards);
}

static void state_copy(State *out, const State *from)
{
    *out = *from;
    out->shards = mem_new_array(from->shard_count + 1, sizeof *out->shards);
    if (from->shard_count > 0) {
        memcpy(out->shards, from->shards, from->shard_count * sizeof *out->shards);
    }
}

/* Index of the first row ≥ shard. */
static size_t shard_place(const State *state, ShardId shard)
{
    size_t low = 0;
    size_t high = state->shard_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (state->shards[middle].shard < shard)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static ControlShard *find_shard(const State *state, ShardId shard)
{
    size_t at = shard_place(state, shard);
    if (at == state->shard_count || state->shards[at].shard != shard) return NULL;
    return &state->shards[at];
}

static ControlRoot *find_root(State *state, Uuid root)
{
    for (size_t i = 0; i < state->root_count; i++) {
        if (id128_eq(state->roots[i].root, root)) return &state->roots[i];
    }
    return NULL;
}

static void put_shard(State *state, const ControlShard *row)
{
    ControlShard *old = find_shard(state, row->shard);
    if (old != NULL) {
        *old = *row;
        return;
    }
    size_t at = shard_place(state, row->shard);
    state->shards = mem_resize(state->shards, (state->shard_count + 2) * sizeof *state->shards);
    memmove(&state->shards[at + 1], &state->shards[at],
            (state->shard_count - at) * sizeof *state->shards);
    state->shards[at] = *row;
    state->shard_count++;
}

/* --- the file --- */

static void write_shard(JsonWriter *json, const ControlShard *row)
{
    uint8_t bytes[SHARD_CONFIG_LEN_MAX];
    char hex[2 * SHARD_CONFIG_LEN_MAX + 1];
    Enc enc = enc_of(bytes, sizeof bytes);
    shard_config_encode(&row->config, &enc);
    ASSERT(!enc.failed);
    hex_encode(bytes, enc.len, hex);
    json_write_object_begin(json);
    json_member_u64(json, "shard", row->shard);
    json_member_cstr(json, "config", hex);
    json_write_object_end(json);
}

static ErrCode encode(const State *state, Buf *out, Err *err)
{
    char digest[2 * SHA256_LEN + 1];
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    json_member_u64(&json, "format", CONTROL_FORMAT);
    json_member_u64(&json, "version", state->version);
    json_member_u64(&json, "base", state->base);
    hex_encode(state->base_digest.bytes, SHA256_LEN, digest);
    json_member_cstr(&json, "base_sha256", digest);
    json_write_key(&json, "roots");
    json_write_array_begin(&json);
    for (size_t i = 0; i < state->root_count; i++) {
        char uuid[37];
        uuid_text(state->roots[i].root, uuid);
        json_write_object_begin(&json);
        json_member_cstr(&json, "root", uuid);
        json_member_u64(&json, "incarnation", state->roots[i].incarnation);
        json_member_cstr(&json, "verdict", verdict_names[state->roots[i].verdict]);
        json_write_object_end(&json);
    }
    json_write_array_end(&json);
    json_write_key(&json, "shards");
    json_write_array_begin(&json);
    for (size_t i = 0; i < state->shard_count; i++)
        write_shard(&json, &state->shards[i]);
    json_write_array_end(&json);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    return json_seal(out, err);
}

static ErrCode read_root(const json_t *json, State *state, Err *err)
{
    Str uuid;
    Str verdict;
    ControlRoot row = {0};
    TRY(json_get_str(json, "root", &uuid, err));
    TRY(json_get_u64(json, "incarnation", &row.incarnation, err));
    TRY(json_get_str(json, "verdict", &verdict, err));
    for (unsigned i = ROOT_CLEAN; i <= ROOT_LOST; i++) {
        if (str_eq(verdict, str_from_cstr(verdict_names[i]))) row.verdict = (RootVerdict)i;
    }
    bool good = uuid_parse(uuid, &row.root) && row.verdict != 0 && state->root_count < ROOTS_MAX;
    if (!good || find_root(state, row.root) != NULL) {
        return err_set(err, ERR_CORRUPT, "the row of a root is malformed");
    }
    state->roots[state->root_count++] = row;
    return OK;
}

static ErrCode read_shard(const json_t *json, State *state, Err *err)
{
    uint64_t shard = 0;
    Str hex;
    TRY(json_get_u64(json, "shard", &shard, err));
    TRY(json_get_str(json, "config", &hex, err));
    uint8_t bytes[SHARD_CONFIG_LEN_MAX];
    size_t len = hex.len / 2;
    bool twice = shard < SHARD_COUNT_MAX && find_shard(state, (ShardId)shard) != NULL;
    if (twice || shard >= SHARD_COUNT_MAX || len > sizeof bytes || !hex_decode(hex, bytes, len)) {
        return err_set(err, ERR_CORRUPT, "the row of a shard is malformed");
    }
    ControlShard row = {.shard = (ShardId)shard};
    TRY(shard_config_decode(str_of(bytes, len), &row.config, err));
    put_shard(state, &row);
    return OK;
}

static ErrCode read_rows(const json_t *json, const char *name,
                         ErrCode (*decode_row)(const json_t *, State *, Err *), State *state,
                         Err *err)
{
    const json_t *rows = json_object_get(json, name);
    if (!json_is_array(rows)) return err_set(err, ERR_CORRUPT, "no list \"%s\"", name);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        TRY(decode_row(json_array_get(rows, i), state, err));
    }
    return OK;
}

static ErrCode decode(Str text, State *state, Err *err)
{
    AUTO(json_t, json_free) json = NULL;
    TRY(json_parse(text, &json, err));
    uint64_t format = 0;
    TRY(json_get_u64(json, "format", &format, err));
    if (format == 0) return err_set(err, ERR_CORRUPT, "format 0");
    if (format > CONTROL_FORMAT) {
        return err_set(err, ERR_FORMAT_VERSION,
                       "format %" PRIu64 " was written by a newer release; this one knows %d",
                       format, CONTROL_FORMAT);
    }
    TRY(json_check_seal(text, err));
    TRY(json_get_u64(json, "version", &state->version, err));
    TRY(json_get_u64(json, "base", &state->base, err));
    Str digest;
    TRY(json_get_str(json, "base_sha256", &digest, err));
    if (!hex_decode(digest, state->base_digest.bytes, SHA256_LEN)) {
        return err_set(err, ERR_CORRUPT, "base_sha256 is malformed");
    }
    if (state->version <= state->base) return err_set(err, ERR_CORRUPT, "its base is newer");
    state->digest = sha256_of(text.ptr, text.len);
    TRY(read_rows(json, "roots", read_root, state, err));
    return read_rows(json, "shards", read_shard, state, err);
}

/* After a kill the file may be in the page cache only; what is read is acted on, so it must stay.
 */
static ErrCode make_durable(Disk *disk, Err *err)
{
    AUTO(File, disk_close) file = NULL;
    TRY(disk_open(disk, CONTROL_FILE, DISK_OPEN_READ, &file, err));
    TRY(disk_sync(file, err));
    return disk_sync_dir(disk, "", err);
}

static ErrCode read_file(Disk *disk, State *state, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    TRY(disk_read_file(disk, CONTROL_FILE, CONTROL_FILE_MAX, &text, &len, err));
    ErrCode code = decode(str_of(text, len), state, err);
    if (code == ERR_INVALID) code = ERR_CORRUPT;
    return code == OK ? OK : err_wrap(err, code, "%s", CONTROL_FILE);
}

static ErrCode read_disk(Disk *disk, State *state, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, CONTROL_FILE, &stat, err));
    if (!stat.exists) return OK; /* version 0 */
    TRY(make_durable(disk, err));
    return read_file(disk, state, err);
}

ErrCode control_local_look(Disk *disk, Uuid root, ControlLook *out, Err *err)
{
    DiskStat stat;
    AUTO(void, mem_free) memory = mem_new(sizeof(State));
    State *state = memory;
    TRY(disk_stat(disk, CONTROL_FILE, &stat, err));
    ErrCode code = stat.exists ? read_file(disk, state, err) : OK;
    const ControlRoot *row = find_root(state, root);
    if (code == OK) {
        *out = (ControlLook){.exists = stat.exists,
                             .version = state->version,
                             .incarnation = row == NULL ? 0 : row->incarnation,
                             .shards = state->shard_count};
        for (size_t i = 0; i < state->shard_count; i++)
            out->copies = MAX(out->copies, (unsigned)state->shards[i].config.member_count);
    }
    state_deinit(state);
    return code;
}

static size_t write_one_by_one(Local *local, Str text, Err *err)
{
    size_t done = 0;
    for (size_t i = 0; i < local->disk_count; i++) {
        if (local->disks[i] == NULL) continue;
        done += disk_replace_durable(local->disks[i], CONTROL_FILE, text, err) == OK;
    }
    return done;
}

/* next is in force; it is taken over. */
static void take_over(Local *local, State *next)
{
    state_deinit(&local->state);
    local->state = *next;
    next->shards = NULL;
}

/* Writes next to all roots; in force when a majority has it durably. */
static ErrCode change(Local *local, State *next, Err *err)
{
    next->base = local->state.version;
    next->base_digest = local->state.digest;
    next->version = local->state.version + 1;
    AUTO_BUF(out, CONTROL_FILE_MAX);
    TRY(encode(next, &out, err));
    next->digest = sha256_of(out.data, out.len);
    size_t done = local->writers == NULL
                      ? write_one_by_one(local, buf_str(&out), err)
                      : writers_write(local->writers, buf_str(&out), CONTROL_LOCAL_WAIT_MS, err);
    if (done * 2 > local->disk_count) {
        take_over(local, next);
        return OK;
    }
    local->unknown = true;
    if (local->writers != NULL) {
        local->has_pending = true;
        local->pending = *next;
        next->shards = NULL;
    }
    return err_wrap(err, ERR_OUTCOME_UNKNOWN, "%s could be written to %zu of %zu roots",
                    CONTROL_FILE, done, local->disk_count);
}

/* What was to be in force, and may be: the same once more. */
static bool complete(Local *local, Err *err)
{
    if (!local->has_pending) return false;
    size_t done = writers_repeat(local->writers, CONTROL_LOCAL_WAIT_MS, err);
    if (done * 2 <= local->disk_count) return false;
    take_over(local, &local->pending);
    local->has_pending = false;
    local->unknown = false;
    return true;
}

/* Begins a change: a copy to work on. */
static ErrCode begin(Local *local, State *next, Err *err)
{
    if (local->unknown && !complete(local, err)) {
        return err_set(err, ERR_OUTCOME_UNKNOWN, "an earlier change of %s has an unknown outcome",
                       CONTROL_FILE);
    }
    state_copy(next, &local->state);
    return OK;
}

/* --- the driver --- */

static void local_free(Control *control)
{
    Local *local = local_of(control);
    bool stopped = control_local_stop_writers(control, UINT32_MAX);
    ASSERT(stopped);
    state_deinit(&local->state);
    if (local->has_pending) state_deinit(&local->pending);
    mem_free(local);
}

static ErrCode local_get(Control *control, ShardId shard, ShardConfig *out, bool *found, Err *err)
{
    UNUSED(err);
    const ControlShard *row = find_shard(&local_of(control)->state, shard);
    *found = row != NULL;
    if (row != NULL) *out = row->config;
    return OK;
}

static ErrCode cas_rows(State *next, const ControlShard *rows, size_t count, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        const ControlShard *old = find_shard(next, rows[i].shard);
        Uuid uid = old == NULL ? (Uuid){{0}} : old->config.cfg_uid;
        if (!id128_eq(uid, rows[i].config.parent_uid)) {
            return err_set(err, ERR_PRECONDITION, "shard %u was changed by somebody else",
                           rows[i].shard);
        }
        put_shard(next, &rows[i]);
    }
    return OK;
}

static ErrCode local_cas(Control *control, const ControlShard *rows, size_t count, Err *err)
{
    Local *local = local_of(control);
    State next;
    TRY(begin(local, &next, err));
    ErrCode code = cas_rows(&next, rows, count, err);
    if (code == OK) code = change(local, &next, err);
    state_deinit(&next);
    return code;
}

static ErrCode raise_incarnation(State *next, Uuid root, uint64_t *incarnation, Err *err)
{
    ControlRoot *row = find_root(next, root);
    if (row == NULL && next->root_count == ROOTS_MAX) {
        return err_set(err, ERR_TOO_BIG, "more than %d roots", ROOTS_MAX);
    }
    if (row == NULL) {
        row = &next->roots[next->root_count++];
        *row = (ControlRoot){.root = root, .verdict = ROOT_CLEAN};
    }
    if (row->verdict == ROOT_LOST) {
        return err_set(err, ERR_FORBIDDEN, "this root was declared lost");
    }
    *incarnation = ++row->incarnation;
    for (size_t i = 0; i < next->shard_count; i++) {
        control_follow_incarnation(&next->shards[i].config, root, row->incarnation);
    }
    return OK;
}

static ErrCode local_register_root(Control *control, Uuid root, uint64_t *incarnation, Err *err)
{
    Local *local = local_of(control);
    State next;
    uint64_t raised = 0;
    TRY(begin(local, &next, err));
    ErrCode code = raise_incarnation(&next, root, &raised, err);
    if (code == OK) code = change(local, &next, err);
    if (code == OK) *incarnation = raised;
    state_deinit(&next);
    return code;
}

static ErrCode local_set_verdict(Control *control, Uuid root, RootVerdict verdict, Err *err)
{
    Local *local = local_of(control);
    State next;
    TRY(begin(local, &next, err));
    ControlRoot *row = find_root(&next, root);
    ErrCode code = row == NULL ? err_set(err, ERR_NOT_FOUND, "there is no such root") : OK;
    if (row != NULL) row->verdict = verdict;
    if (code == OK) code = change(local, &next, err);
    state_deinit(&next);
    return code;
}

static ErrCode local_list_roots(Control *control, ControlRoot *out, size_t max, size_t *count,
                                Err *err)
{
    UNUSED(err);
    const State *state = &local_of(control)->state;
    size_t n = MIN(max, state->root_count);
    if (n > 0) memcpy(out, state->roots, n * sizeof *out);
    *count = state->root_count;
    return OK;
}

static ErrCode local_each_shard(Control *control,
                                ErrCode (*fn)(void *ctx, const ControlShard *row, Err *err),
                                void *ctx, Err *err)
{
    const State *state = &local_of(control)->state;
    for (size_t i = 0; i < state->shard_count; i++)
        TRY(fn(ctx, &state->shards[i], err));
    return OK;
}

static const ControlOps local_ops = {.name = "local",
                                     .free = local_free,
                                     .get = local_get,
                                     .cas = local_cas,
                                     .register_root = local_register_root,
                                     .set_verdict = local_set_verdict,
                                     .list_roots = local_list_roots,
                                     .each_shard = local_each_shard};

/* Is `other` the same, or made of it, or of what came later? */
static bool supports(const State *other, const State *state)
{
    if (other->version == state->version) return sha256_eq(&other->digest, &state->digest);
    if (other->base != state->version) return other->base > state->version;
    return sha256_eq(&other->base_digest, &state->digest);
}

/* The highest version that stands on a majority. With one root that is what it holds; with several
 * a version on a minority was never in force. */
static ErrCode choose(const State *states, const ErrCode *read, size_t count, size_t *chosen,
                      Err *err)
{
    const State *best = NULL;
    uint64_t base = 0;
    ErrCode unread = OK;
    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        if (read[i] != OK) {
            unread = read[i];
            continue;
        }
        base = MAX(base, states[i].base);
        for (size_t j = 0; j < count; j++)
            same += read[j] == OK && supports(&states[j], &states[i]);
        if (same * 2 > count && (best == NULL || states[i].version > best->version)) {
            best = &states[i];
        }
    }
    /* The base of any version was in force; and where a file can't be read, there was one. */
    bool lost = best != NULL && (best->version < base || (best->version == 0 && unread != OK));
    if (best == NULL || lost) {
        if (unread != OK) return err_wrap(err, unread, "no majority of the roots is readable");
        return err_set(err, ERR_CORRUPT, "no " CONTROL_FILE " stands on a majority of the roots");
    }
    *chosen = (size_t)(best - states);
    return OK;
}

static Control *local_new(Disk *const *disks, size_t count, const State *chosen)
{
    Local *local = mem_new(sizeof *local);
    local->control.ops = &local_ops;
    local->disk_count = count;
    for (size_t i = 0; i < count; i++)
        local->disks[i] = disks[i];
    state_copy(&local->state, chosen);
    return &local->control;
}

ErrCode control_local_open(Disk *const *disks, size_t count, Control **out, Err *err)
{
    ASSERT(count >= 1 && count <= MEMBERS_MAX);
    AUTO(void, mem_free) memory = mem_new_array(count, sizeof(State));
    State *states = memory;
    ErrCode read[MEMBERS_MAX] = {OK};
    ErrCode code = OK;
    for (size_t i = 0; i < count && code == OK; i++) {
        if (disks[i] == NULL)
            read[i] = err_set(err, ERR_IO, "a root is missing");
        else
            read[i] = read_disk(disks[i], &states[i], err);
        if (read[i] == ERR_FORMAT_VERSION) code = read[i]; /* a newer release: hands off */
    }
    size_t chosen = 0;
    if (code == OK) code = choose(states, read, count, &chosen, err);
    if (code == OK) *out = local_new(disks, count, &states[chosen]);
    for (size_t i = 0; i < count; i++)
        state_deinit(&states[i]);
    return code;
}

ErrCode control_local_copy(Control *control, Disk *disk, Err *err)
{
    const State *state = &local_of(control)->state;
    AUTO_BUF(out, CONTROL_FILE_MAX);
    TRY(encode(state, &out, err));
    Sha256 digest = sha256_of(out.data, out.len);
    ASSERT(sha256_eq(&digest, &state->digest)); /* one value has one encoding */
    return disk_replace_durable(disk, CONTROL_FILE, buf_str(&out), err);
}

ErrCode control_local_start_writers(Control *control, Err *err)
{
    Local *local = local_of(control);
    ASSERT(local->writers == NULL);
    return writers_open(local->disks, local->disk_count, CONTROL_FILE, &local->writers, err);
}

bool control_local_stop_writers(Control *control, uint32_t timeout_ms)
{
    Local *local = local_of(control);
    if (!writers_close(local->writers, timeout_ms)) return false;
    local->writers = NULL;
    return true;
}

void control_local_spread(Control *control, Disk *const *disks, size_t count)
{
    Local *local = local_of(control);
    ASSERT(count >= 1 && count <= MEMBERS_MAX && local->writers == NULL);
    local->disk_count = count;
    for (size_t i = 0; i < count; i++)
        local->disks[i] = disks[i];
}

/* --- one root --- */

#define QUARANTINE "quarantine"

/* Moves control.json there, under a name that is free. */
static ErrCode put_aside(Disk *disk, uint64_t incarnation, Err *err)
{
    DiskStat stat = {.exists = true};
    char to[DISK_PATH_MAX];
    TRY(disk_mkdir_durable(disk, QUARANTINE, err));
    for (uint64_t n = incarnation; stat.exists; n++) {
        snprintf(to, sizeof to, QUARANTINE "/" CONTROL_FILE ".%" PRIu64, n); /* fits */
        TRY(disk_stat(disk, to, &stat, err));
    }
    return disk_rename_durable(disk, CONTROL_FILE, to, err);
}

/* Does any row name root? After a rebuild of the log only those of shards may. */
static bool names_root(State *state, Uuid root)
{
    if (find_root(state, root) != NULL) return true;
    for (size_t i = 0; i < state->shard_count; i++) {
        const ShardConfig *config = &state->shards[i].config;
        for (uint32_t m = 0; m < config->member_count; m++) {
            if (id128_eq(config->members[m].root, root)) return true;
        }
    }
    return false;
}

static ErrCode look_alone(Disk *disk, const ControlAlone *alone, State *state, ControlFound *found,
                          Err *err)
{
    Err why = {0};
    ErrCode code = read_disk(disk, state, &why);
    if (code == OK && state->version > 0) {
        found->in_use = state->shard_count > 0;
        if (names_root(state, alone->root)) return OK;
        return err_set(err, ERR_FOREIGN,
                       CONTROL_FILE " is another directory's: it does not name this root; put the "
                                    "right one back, or move it away and a new one is made");
    }
    if (code != OK && code != ERR_CORRUPT) return err_set(err, code, "%s", err_text(&why));
    if (code == ERR_CORRUPT) {
        TRY(put_aside(disk, alone->incarnation, err));
        found->damaged = true;
        found->why = why;
    }
    found->remade = found->damaged || alone->incarnation > 0;
    found->in_use = found->remade;
    state_deinit(state);
    *state = (State){0};
    if (alone->incarnation == 0) return OK;
    state->roots[state->root_count++] = (ControlRoot){
        .root = alone->root, .incarnation = alone->incarnation, .verdict = ROOT_CLEAN};
    return OK;
}

ErrCode control_local_open_alone(Disk *disk, const ControlAlone *alone, Control **out,
                                 ControlFound *found, Err *err)
{
    AUTO(void, mem_free) memory = mem_new(sizeof(State));
    State *state = memory;
    ControlFound result = {0};
    ErrCode code = look_alone(disk, alone, state, &result, err);
    if (code == OK) {
        *out = local_new(&disk, 1, state);
        *found = result;
    }
    state_deinit(state);
    return code;
}
