/* GET /v1/admin/ledger?after=&limit=: every file that has fewer copies than it is to have, why,
 * since when, what is being done about it, and until when. A root that is left out or behind as a
 * whole is one entry with its counts: the list of files names them. */
#include "api/rest/rest_priv.h"

#define LEDGER_JSON_MAX (16 * MIB)

static void member_time(JsonWriter *json, const char *key, uint64_t ms)
{
    json_write_key(json, key);
    if (ms == 0)
        json_write_null(json);
    else
        json_write_time_ms(json, ms);
}

/* --- roots --- */

static const char *why_of(const RestRoot *root)
{
    if (root->evicted) return "evicted";
    return root->out ? "failed" : "behind";
}

/* It can be in sync with all but a class that has no quorum any more: nobody leads that, so it
 * waits for what was lost. */
static bool waits_for_class(RestCall *call, unsigned root, Str *out)
{
    unsigned class = 0;
    ClassInfo info;
    const char *name = rest_class_failed(call, 1U << root, &class, &info);
    if (name == NULL) return false;
    *out = arena_printf(
        http_request_arena(call->req),
        "none: too many directories of placement class %s were out at once; put them back "
        "and restart the server, or take out with holdfast fsck --salvage OUT DIR what "
        "this one has of it",
        name);
    return out->ptr != NULL;
}

static const char *action_of(const RestRoot *root)
{
    if (root->evicted)
        return "none: it was evicted; holdfast admin add takes it back, as long as the others take "
               "changes, and so does the next start";
    if (root->out)
        return "none: mend its disk or put an empty directory in its place, then restart the "
               "server; it catches up, or is seeded, by itself";
    return "it catches up from the others";
}

static void root_json(RestCall *call, JsonWriter *json, unsigned number, const RestRoot *root)
{
    Str action = str_from_cstr(action_of(root));
    bool waits = !root->out && waits_for_class(call, number, &action);
    char uuid[37];
    uuid_text(store_root(root->store)->uuid, uuid);
    json_write_object_begin(json);
    json_member_cstr(json, "root", uuid);
    json_member_cstr(json, "directory", root->directory);
    json_member_cstr(json, "why", why_of(root));
    json_write_key(json, "cause");
    if (root->out)
        json_write_cstr(json, err_text(&root->cause));
    else
        json_write_null(json);
    json_member_u64(json, "files", root->ledger.files);
    json_member_u64(json, "bytes", root->ledger.bytes);
    json_member_u64(json, "lag_entries", root->lag_entries);
    member_time(json, "since", root->ledger.since_ms);
    json_member_str(json, "action", action);
    member_time(json, "done_at", waits ? 0 : root->ledger.done_ms);
    json_write_object_end(json);
}

/* A directory that was given and is not served. */
static void absent_json(JsonWriter *json, const RestAbsent *absent, const BucketStatRow *all,
                        uint64_t since_ms)
{
    json_write_object_begin(json);
    json_write_key(json, "root");
    json_write_null(json);
    json_member_cstr(json, "directory", absent->directory);
    json_member_cstr(json, "why", "absent");
    json_member_cstr(json, "cause", err_text(&absent->why));
    json_member_u64(json, "files", all->files);
    json_member_u64(json, "bytes", all->bytes);
    json_member_u64(json, "lag_entries", 0);
    json_member_time_ms(json, "since", since_ms);
    json_member_cstr(json, "action",
                     "none: mend the directory or put an empty one in its place, then restart the "
                     "server");
    json_write_key(json, "done_at");
    json_write_null(json);
    json_write_object_end(json);
}

/* --- damaged files and places --- */

/* Has another root the version, and not on its list? */
static bool is_elsewhere(const RestRoots *roots, unsigned r, const RiskEntry *entry)
{
    unsigned class = shard_class(file_id_shard(entry->file));
    unsigned members = service_class_now(roots->service, class).members;
    for (unsigned i = 0; i < roots->count; i++) {
        const RestRoot *other = &roots->items[i];
        if (i == r || (members >> i & 1) == 0 || !other->in_sync || other->out) continue;
        if (!risk_has(store_risk(other->store), entry->file, entry->version)) return true;
    }
    return false;
}

static void entry_members(JsonWriter *json, const RestRoots *roots, unsigned r,
                          const RiskEntry *entry)
{
    const RestRoot *root = &roots->items[r];
    Str place = str_from_cstr(entry->place);
    bool is_file = !id128_is_zero(entry->file);
    bool mends = is_file ? is_elsewhere(roots, r, entry) && !root->out
                         : roots->count > 1 && !root->out && str_starts_with(place, STR("packs/"));
    const char *action = "none: no root has it whole; put the file again, or delete it";
    if (mends)
        action = "it is mended from another root";
    else if (root->out)
        action = "none: its root is left out";
    else if (!is_file && str_starts_with(place, STR("index.db")))
        action =
            "none: stop the server, then holdfast recover --rebuild index DIR, or put an empty "
            "directory in the place of this one";
    else if (!is_file && roots->count == 1)
        action = "none: there is no other root; holdfast fsck DIR says what is lost";
    else if (!is_file)
        action = "none: put an empty directory in the place of this one; it is seeded";
    json_member_cstr(json, "why", "damaged");
    json_member_cstr(json, "action", action);
    member_time(json, "done_at", mends && is_file ? root->ledger.mended_ms : 0);
}

/* --- all --- */

static void roots_json(JsonWriter *json, RestCall *call, const RestRoots *roots,
                       const RestAbsent *absent, size_t absent_count, const BucketStatRow *all)
{
    json_write_key(json, "roots");
    json_write_array_begin(json);
    for (size_t i = 0; i < roots->count; i++) {
        if (roots->items[i].ledger.since_ms != 0)
            root_json(call, json, (unsigned)i, &roots->items[i]);
    }
    for (size_t i = 0; i < absent_count; i++)
        absent_json(json, &absent[i], all, call->rest->started_ms);
    json_write_array_end(json);
}

static void answer(RestCall *call, RiskQuery *query)
{
    const RestNode *node = &call->rest->node;
    RestRoots roots;
    RestAbsent absent[ENGINE_ROOTS_MAX];
    BucketStatRow all;
    roots.service = call->service;
    roots.count = node->roots(node->ctx, roots.items);
    size_t absent_count = node->absent(node->ctx, absent);
    RiskCounts risk = rest_risk_counts(roots.items, roots.count);
    uint64_t mended = 0;
    bool whole_root = absent_count > 0;
    for (size_t i = 0; i < roots.count; i++) {
        mended += roots.items[i].ledger.mended;
        whole_root = whole_root || roots.items[i].ledger.since_ms != 0;
    }
    buckets_totals(service_buckets(call->service), &all);
    AUTO_BUF(body, LEDGER_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_u64(&json, "copies",
                    service_durability(call->service, PLACE_CLASS_STANDARD).copies);
    json_member_u64(&json, "files", all.files);
    json_member_u64(&json, "below_target", whole_root ? all.files : risk.files);
    json_member_u64(&json, "places", risk.places);
    json_member_u64(&json, "unlisted", risk.unlisted);
    json_member_u64(&json, "mended", mended);
    roots_json(&json, call, &roots, absent, absent_count, &all);
    rest_risk_entries(&json, call, &roots, query, entry_members);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

void rest_admin_ledger(RestCall *call)
{
    Err err = {0};
    RiskQuery query = {.limit = 0};
    ErrCode code = rest_risk_query(call, &query, &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        answer(call, &query);
}
