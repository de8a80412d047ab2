/* /healthz: the process answers. /readyz: it serves; until then how far recovery is. */
#include "api/rest/rest_priv.h"

#define HEALTH_JSON_MAX 1024

void rest_healthz(RestCall *call)
{
    AUTO_BUF(body, HEALTH_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_cstr(&json, "status", "ok");
    json_member_cstr(&json, "version", HOLDFAST_VERSION);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

static const char *phase_of(Rest *rest, Service *service)
{
    if (atomic_load(&rest->draining)) return "stopping";
    if (service == NULL) return atomic_load(&rest->phase);
    if (rest->node.failed(rest->node.ctx)) return "failed";
    return service_ready(service) ? "serving" : "electing";
}

void rest_cause_json(Rest *rest, JsonWriter *json)
{
    Err cause = {0};
    json_write_key(json, "cause");
    if (rest->node.failed(rest->node.ctx)) rest->node.cause(rest->node.ctx, &cause);
    if (cause.code != OK)
        json_write_cstr(json, err_text(&cause));
    else
        json_write_null(json);
}

void rest_readyz(RestCall *call)
{
    Rest *rest = call->rest;
    Service *service = atomic_load_explicit(&rest->service, memory_order_acquire);
    bool ready = service != NULL && service_ready(service) && !atomic_load(&rest->draining) &&
                 !rest->node.failed(rest->node.ctx);
    AUTO_BUF(body, HEALTH_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_bool(&json, "ready", ready);
    json_member_cstr(&json, "phase", phase_of(rest, service));
    if (service != NULL) {
        Durability d = service_durability(service, PLACE_CLASS_STANDARD);
        rest_cause_json(rest, &json);
        json_member_u64(&json, "synced", d.synced);
        json_member_u64(&json, "copies", d.copies);
    }
    json_member_u64(&json, "records", atomic_load(&rest->records));
    json_member_u64(&json, "bytes", atomic_load(&rest->bytes));
    json_write_object_end(&json);
    rest_answer_json(call, ready ? 200 : 503, &json, &body);
}
