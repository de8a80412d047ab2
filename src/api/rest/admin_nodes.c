/* GET /v1/admin/nodes: the processes that serve the store, which is this one. GET /v1/admin/tasks:
 * what goes on in the background, each root's own and what is of all of them. */
#include "api/rest/rest_priv.h"

#include <unistd.h>

#include "store/compact.h"

#define NODES_JSON_MAX (64 * KIB)

static void uuid_json(JsonWriter *json, const RestRoot *root)
{
    char uuid[37];
    uuid_text(store_root(root->store)->uuid, uuid);
    json_write_cstr(json, uuid);
}

void rest_admin_nodes(RestCall *call)
{
    const Rest *rest = call->rest;
    RestRoot roots[ENGINE_ROOTS_MAX];
    size_t count = rest->node.roots(rest->node.ctx, roots);
    AUTO_BUF(body, NODES_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "nodes");
    json_write_array_begin(&json);
    json_write_object_begin(&json);
    json_write_key(&json, "id");
    uuid_json(&json, &roots[0]);
    json_member_bool(&json, "self", true);
    json_member_cstr(&json, "version", HOLDFAST_VERSION);
    json_member_u64(&json, "pid", (uint64_t)getpid());
    json_member_time_ms(&json, "started_at", rest->started_ms);
    json_member_bool(&json, "draining", atomic_load(&rest->draining));
    json_write_key(&json, "roots");
    json_write_array_begin(&json);
    for (size_t i = 0; i < count; i++)
        uuid_json(&json, &roots[i]);
    json_write_array_end(&json);
    json_write_object_end(&json);
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}

/* --- tasks --- */

typedef struct {
    const char *name;
    const RestRoot *root; /* NULL: of all */
    const char *state;
    const char *unit;
    uint64_t done;
    uint64_t left;
} Task;

static void task_json(JsonWriter *json, const Task *task)
{
    json_write_object_begin(json);
    json_member_cstr(json, "name", task->name);
    json_write_key(json, "root");
    if (task->root == NULL)
        json_write_null(json);
    else
        uuid_json(json, task->root);
    json_write_key(json, "directory");
    if (task->root == NULL)
        json_write_null(json);
    else
        json_write_cstr(json, task->root->directory);
    json_member_cstr(json, "state", task->state);
    json_member_cstr(json, "unit", task->unit);
    json_member_u64(json, "done", task->done);
    json_member_u64(json, "left", task->left);
    json_write_object_end(json);
}

static void root_tasks_json(JsonWriter *json, const RestRoot *root)
{
    ScrubStatus scrub;
    CompactStatus compact;
    scrub_status(root->scrub, &scrub);
    store_compact_status(root->store, &compact);
    size_t damaged = risk_files(store_risk(root->store));
    bool reads = scrub.area != SCRUB_WAITING;
    Task task = {.name = "scrub",
                 .root = root,
                 .state = scrub.paused ? "paused"
                          : reads      ? "running"
                                       : "waiting",
                 .unit = "bytes",
                 .done = scrub.bytes_done,
                 .left = reads ? scrub.bytes_total - MIN(scrub.bytes_total, scrub.bytes_done) : 0};
    task_json(json, &task);
    task = (Task){.name = "compaction",
                  .root = root,
                  .state = compact.pack != 0 ? "running" : "waiting",
                  .unit = "packs",
                  .done = compact.packs_retired,
                  .left = compact.pack != 0};
    task_json(json, &task);
    task = (Task){.name = "mending",
                  .root = root,
                  .state = damaged > root->ledger.helpless ? "running" : "waiting",
                  .unit = "files",
                  .done = root->ledger.mended,
                  .left = damaged};
    task_json(json, &task);
}

void rest_admin_tasks(RestCall *call)
{
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    RestCopies copies;
    size_t count = node->roots(node->ctx, roots);
    node->copies(node->ctx, &copies);
    AUTO_BUF(body, NODES_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "tasks");
    json_write_array_begin(&json);
    for (size_t i = 0; i < count; i++)
        root_tasks_json(&json, &roots[i]);
    const Task confirming = {.name = "confirming",
                             .state = copies.confirm.waiting > 0 ? "running" : "waiting",
                             .unit = "files",
                             .done = copies.confirm.confirmed,
                             .left = copies.confirm.waiting};
    task_json(&json, &confirming);
    json_write_array_end(&json);
    json_write_object_end(&json);
    rest_answer_json(call, 200, &json, &body);
}
