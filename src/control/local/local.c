/* All rows live in memory; a change makes a new version of the whole, writes it to every root and
 * is in force when a majority has it. control.json:
 *   {"format":1, "version":N, "roots":[{"root":uuid,"incarnation":n,"verdict":"clean"}],
 *    "shards":[{"shard":n,"config":"hex of format/config_entry.h"}]} */
#include "control/local/local.h"

#include <inttypes.h>
#include <string.h>

#include "text/json.h"

#define CONTROL_FORMAT 1
#define CONTROL_FILE_MAX (64 * MIB)
#define ROOTS_MAX 256
#define CONFIG_BYTES_MAX 1024

typedef struct {
    uint64_t version;
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
    bool unknown; /* a write's outcome is not known: nothing may be built on it in this process */
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
    uint8_t bytes[CONFIG_BYTES_MAX];
    char hex[2 * CONFIG_BYTES_MAX + 1];
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
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    json_member_u64(&json, "format", CONTROL_FORMAT);
    json_member_u64(&json, "version", state->version);
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
    return json_writer_end(&json, err);
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
    if (!uuid_parse(uuid, &row.root) || row.verdict == 0 || state->root_count == ROOTS_MAX) {
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
    uint8_t bytes[CONFIG_BYTES_MAX];
    size_t len = hex.len / 2;
    if (shard >= SHARD_COUNT_MAX || len > sizeof bytes || !hex_decode(hex, bytes, len)) {
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
    if (format > CONTROL_FORMAT) {
        return err_set(err, ERR_FORMAT_VERSION,
                       "format %" PRIu64 " was written by a newer release; this one knows %d",
                       format, CONTROL_FORMAT);
    }
    TRY(json_get_u64(json, "version", &state->version, err));
    TRY(read_rows(json, "roots", read_root, state, err));
    return read_rows(json, "shards", read_shard, state, err);
}

static ErrCode read_disk(Disk *disk, State *state, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, CONTROL_FILE, &stat, err));
    if (!stat.exists) return OK; /* version 0 */
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    TRY(disk_read_file(disk, CONTROL_FILE, CONTROL_FILE_MAX, &text, &len, err));
    ErrCode code = decode(str_of(text, len), state, err);
    if (code == ERR_INVALID) code = ERR_CORRUPT;
    return code == OK ? OK : err_wrap(err, code, "%s", CONTROL_FILE);
}

/* Writes next to all roots; in force when a majority has it durably. */
static ErrCode change(Local *local, State *next, Err *err)
{
    next->version = local->state.version + 1;
    AUTO_BUF(out, CONTROL_FILE_MAX);
    TRY(encode(next, &out, err));
    size_t done = 0;
    for (size_t i = 0; i < local->disk_count; i++) {
        ErrCode code = disk_replace_durable(local->disks[i], CONTROL_FILE, buf_str(&out), err);
        if (code == OK) done++;
    }
    if (done * 2 <= local->disk_count) {
        local->unknown = true;
        return err_wrap(err, ERR_OUTCOME_UNKNOWN, "%s could be written to %zu of %zu roots",
                        CONTROL_FILE, done, local->disk_count);
    }
    state_deinit(&local->state);
    local->state = *next;
    next->shards = NULL;
    return OK;
}

/* Begins a change: a copy to work on. */
static ErrCode begin(Local *local, State *next, Err *err)
{
    if (local->unknown) {
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
    state_deinit(&local->state);
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

/* Rows that name root follow its new incarnation: alone it stays in sync, beside others it must be
 * found caught up again (REPLICATION.md section 1). */
static void follow_incarnation(State *state, Uuid root, uint64_t incarnation)
{
    for (size_t i = 0; i < state->shard_count; i++) {
        ShardConfig *config = &state->shards[i].config;
        for (uint32_t j = 0; j < config->member_count; j++) {
            if (!id128_eq(config->members[j].root, root)) continue;
            uint16_t bit = (uint16_t)(1u << j);
            config->members[j].incarnation = incarnation;
            if ((config->isr & bit) == 0 || config->isr == bit) continue;
            config->isr = (uint16_t)(config->isr & ~bit);
        }
    }
}

static ErrCode local_register_root(Control *control, Uuid root, uint64_t *incarnation, Err *err)
{
    Local *local = local_of(control);
    State next;
    TRY(begin(local, &next, err));
    size_t i = 0;
    while (i < next.root_count && !id128_eq(next.roots[i].root, root))
        i++;
    ErrCode code = OK;
    if (i == ROOTS_MAX) {
        code = err_set(err, ERR_TOO_BIG, "more than %d roots", ROOTS_MAX);
    } else if (i < next.root_count && next.roots[i].verdict == ROOT_LOST) {
        code = err_set(err, ERR_FORBIDDEN, "this root was declared lost");
    } else {
        if (i == next.root_count) {
            next.roots[next.root_count++] = (ControlRoot){.root = root, .verdict = ROOT_CLEAN};
        }
        uint64_t raised = ++next.roots[i].incarnation;
        follow_incarnation(&next, root, raised);
        code = change(local, &next, err);
        if (code == OK) *incarnation = raised;
    }
    state_deinit(&next);
    return code;
}

static ErrCode local_set_verdict(Control *control, Uuid root, RootVerdict verdict, Err *err)
{
    Local *local = local_of(control);
    State next;
    TRY(begin(local, &next, err));
    size_t i = 0;
    while (i < next.root_count && !id128_eq(next.roots[i].root, root))
        i++;
    ErrCode code = OK;
    if (i == next.root_count) {
        code = err_set(err, ERR_NOT_FOUND, "there is no such root");
    } else {
        next.roots[i].verdict = verdict;
        code = change(local, &next, err);
    }
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

/* The highest version that stands on a majority. With one root that is what it holds; with several
 * a version on a minority was never in force. */
static ErrCode choose(State *states, const bool *readable, size_t count, size_t *chosen, Err *err)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        if (!readable[i]) continue;
        size_t same = 0;
        for (size_t j = 0; j < count; j++) {
            if (readable[j] && states[j].version >= states[i].version) same++;
        }
        if (same * 2 <= count) continue;
        if (!found || states[i].version > states[*chosen].version) *chosen = i;
        found = true;
    }
    if (!found)
        return err_wrap(err, ERR_CORRUPT, "no majority of the roots has a readable " CONTROL_FILE);
    return OK;
}

ErrCode control_local_open(Disk *const *disks, size_t count, Control **out, Err *err)
{
    ASSERT(count >= 1 && count <= MEMBERS_MAX);
    AUTO(void, mem_free) memory = mem_new_array(count, sizeof(State));
    State *states = memory;
    bool readable[MEMBERS_MAX] = {false};
    ErrCode code = OK;
    for (size_t i = 0; i < count; i++) {
        ErrCode read = read_disk(disks[i], &states[i], err);
        readable[i] = read == OK;
        if (read == ERR_FORMAT_VERSION) code = read; /* a newer release was here: hands off */
    }
    size_t chosen = 0;
    if (code == OK) code = choose(states, readable, count, &chosen, err);
    if (code == OK) {
        Local *local = mem_new(sizeof *local);
        local->control.ops = &local_ops;
        local->disk_count = count;
        for (size_t i = 0; i < count; i++)
            local->disks[i] = disks[i];
        state_copy(&local->state, &states[chosen]);
        *out = &local->control;
    }
    for (size_t i = 0; i < count; i++)
        state_deinit(&states[i]);
    return code;
}
