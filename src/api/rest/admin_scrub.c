/* Scrub as administrators see it: how far it is, go on, stop. */
#include "api/rest/rest_priv.h"

#define SCRUB_JSON_MAX (4 * KIB)

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

void rest_admin_scrub(RestCall *call)
{
    ScrubStatus status;
    scrub_status(call->rest->node.scrub, &status);
    AUTO_BUF(body, SCRUB_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_cstr(&json, "state", status.paused ? "paused" : area_name(status.area));
    json_member_u64(&json, "pass", status.pass);
    member_time(&json, "started_at", status.started_ms);
    member_time(&json, "last_full_at", status.last_full_ms);
    json_member_u64(&json, "pack", status.pack);
    json_member_u64(&json, "verified_bytes", status.bytes_done);
    json_member_u64(&json, "total_bytes", MAX(status.bytes_total, status.bytes_done));
    json_member_u64(&json, "damaged", status.damaged);
    json_member_u64(&json, "bytes_per_second", status.rate);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

void rest_admin_scrub_start(RestCall *call)
{
    scrub_start(call->rest->node.scrub);
    rest_admin_scrub(call);
}

void rest_admin_scrub_pause(RestCall *call)
{
    scrub_pause(call->rest->node.scrub);
    rest_admin_scrub(call);
}

void rest_admin_scrub_resume(RestCall *call)
{
    scrub_resume(call->rest->node.scrub);
    rest_admin_scrub(call);
}
