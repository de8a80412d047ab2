/* Scrub as administrators see it: how far it is, go on, stop. */
#include "api/rest/rest_priv.h"

#define SCRUB_JSON_MAX (64 * KIB)

static const char *area_name(ScrubArea area)
{
    switch (area) {
    case SCRUB_LOG: return "log";
    case SCRUB_INDEX: return "index";
    case SCRUB_PACKS: return "packs";
    case SCRUB_FILES: return "files";
    case SCRUB_WAITING: break;
    }
    return "waiting";
}

static void member_time(JsonWriter *json, const char *key, uint64_t ms)
{
    json_write_key(json, key);
    if (ms == 0)
        json_write_null(json);
    else
        json_write_time_ms(json, ms);
}

static void members(JsonWriter *json, const ScrubStatus *status)
{
    json_member_cstr(json, "state", status->paused ? "paused" : area_name(status->area));
    json_member_u64(json, "pass", status->pass);
    member_time(json, "started_at", status->started_ms);
    member_time(json, "last_full_at", status->last_full_ms);
    json_member_u64(json, "pack", status->pack);
    json_member_u64(json, "verified_bytes", status->bytes_done);
    json_member_u64(json, "total_bytes", MAX(status->bytes_total, status->bytes_done));
    json_member_u64(json, "damaged", status->damaged);
    json_member_u64(json, "bytes_per_second", status->rate);
}

void rest_scrub_json(JsonWriter *json, Scrub *scrub)
{
    ScrubStatus status;
    scrub_status(scrub, &status);
    json_write_object_begin(json);
    members(json, &status);
    json_write_object_end(json);
}

/* Is there more left to read than of the other? */
static bool is_behind(const ScrubStatus *a, const ScrubStatus *b)
{
    bool a_waits = a->area == SCRUB_WAITING;
    bool b_waits = b->area == SCRUB_WAITING;
    if (a->paused != b->paused) return a->paused;
    if (a_waits != b_waits) return b_waits;
    return a->bytes_total - MIN(a->bytes_total, a->bytes_done) >
           b->bytes_total - MIN(b->bytes_total, b->bytes_done);
}

/* All of them as one: sums, the oldest times, and the state of the one that is furthest behind. */
static void add_status(ScrubStatus *sum, const ScrubStatus *one)
{
    ScrubStatus of = is_behind(one, sum) ? *one : *sum;
    of.bytes_done = sum->bytes_done + one->bytes_done;
    of.bytes_total = MAX(sum->bytes_total, sum->bytes_done) +
                     MAX(one->bytes_total, one->bytes_done);
    of.damaged = sum->damaged + one->damaged;
    of.rate = sum->rate + one->rate;
    of.pass = MIN(sum->pass, one->pass);
    of.started_ms = MIN(sum->started_ms, one->started_ms);
    of.last_full_ms = MIN(sum->last_full_ms, one->last_full_ms);
    *sum = of;
}

static void root_json(JsonWriter *json, const RestRoot *root, const ScrubStatus *status)
{
    char uuid[37];
    uuid_text(store_root(root->store)->uuid, uuid);
    json_write_object_begin(json);
    json_member_cstr(json, "root", uuid);
    json_member_cstr(json, "directory", root->directory);
    members(json, status);
    json_write_object_end(json);
}

void rest_admin_scrub(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    ScrubStatus each[ENGINE_ROOTS_MAX];
    ScrubStatus sum = {0};
    size_t count = node->roots(node->ctx, roots);
    for (size_t i = 0; i < count; i++) {
        scrub_status(roots[i].scrub, &each[i]);
        if (i == 0)
            sum = each[i];
        else
            add_status(&sum, &each[i]);
    }
    AUTO_BUF(body, SCRUB_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    members(&json, &sum);
    json_write_key(&json, "roots");
    json_write_array_begin(&json);
    for (size_t i = 0; i < count; i++)
        root_json(&json, &roots[i], &each[i]);
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

/* Each root has its own. */
static void on_all(const RestCall *call, void (*what)(Scrub *scrub))
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    size_t count = node->roots(node->ctx, roots);
    for (size_t i = 0; i < count; i++)
        what(roots[i].scrub);
}

void rest_admin_scrub_start(RestCall *call)
{
    on_all(call, scrub_start);
    rest_admin_scrub(call);
}

void rest_admin_scrub_pause(RestCall *call)
{
    on_all(call, scrub_pause);
    rest_admin_scrub(call);
}

void rest_admin_scrub_resume(RestCall *call)
{
    on_all(call, scrub_resume);
    rest_admin_scrub(call);
}
