/* POST /v1/files:delete: many files by their ids, in one go: their changes stand side by side in
 * the log, and one sync keeps them all. Each has its own result. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define IDS_MAX 1000
#define BODY_MAX (128 * KIB)
#define ID_BYTES_MAX 64 /* as sent; more is no id, and would be repeated in its result */
#define RESULT_MAX 512  /* bytes of JSON of one result: each byte of the id in six, and the rest */

typedef struct {
    Str text; /* as it was sent; a view into the body */
    bool submitted;
    ErrCode refusal; /* of the sender's rights */
    Mutation mutation;
} Item;

struct DeleteMany {
    RestCall *call;
    Item *items;
    size_t count;
    _Atomic size_t left; /* mutations that are not answered */
    json_t *ids;         /* holds the texts */
};

void rest_delete_many_free(DeleteMany *many)
{
    if (many == NULL) return;
    for (size_t i = 0; i < many->count; i++)
        mutation_deinit(&many->items[i].mutation);
    json_free(many->ids);
    mem_free(many->items);
    mem_free(many);
}

static ErrCode code_of(const Item *item)
{
    if (item->refusal != OK) return item->refusal;
    return item->submitted ? item->mutation.code : ERR_NOT_FOUND;
}

static void result_json(JsonWriter *json, const Item *item)
{
    ErrCode code = code_of(item);
    json_write_object_begin(json);
    json_member_str(json, "id", item->text);
    json_member_u64(json, "status", code == OK ? 204 : (uint64_t)err_info(code)->http_status);
    json_write_key(json, "code");
    if (code == OK)
        json_write_null(json);
    else
        json_write_cstr(json, err_info(code)->slug);
    json_write_object_end(json);
}

static void answer(RestCall *call)
{
    DeleteMany *many = call->delete_many;
    const Mutation *done = NULL;
    AUTO_BUF(body, IDS_MAX * RESULT_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_write_key(&json, "results");
    json_write_array_begin(&json);
    for (size_t i = 0; i < many->count; i++) {
        const Item *item = &many->items[i];
        result_json(&json, item);
        rest_audit_deleted(call, item->text, code_of(item));
        if (!item->submitted || item->mutation.code != OK) continue;
        const Mutation *m = &item->mutation; /* what is true of all: the one with the fewest */
        if (done == NULL || m->durability.synced < done->durability.synced) done = m;
    }
    json_write_array_end(&json);
    json_write_object_end(&json);
    if (done != NULL) {
        call->changed = true;
        rest_durability_header(call, done->durability);
    }
    rest_answer_json(call, 200, &json, &body);
}

static void run_answer(void *arg)
{
    answer(arg);
}

/* On the engine's thread. */
static void one_done(Mutation *m)
{
    DeleteMany *many = m->ctx;
    RestCall *call = many->call;
    if (atomic_fetch_sub(&many->left, 1) > 1) return;
    call->task = (LoopTask){.fn = run_answer, .arg = call};
    loop_post(http_request_loop(call->req), &call->task);
}

static ErrCode read_ids(DeleteMany *many, Str body, Err *err)
{
    TRY(json_parse(body, &many->ids, err));
    const json_t *ids = json_is_object(many->ids) ? json_object_get(many->ids, "ids") : NULL;
    size_t count = json_is_array(ids) ? json_array_size(ids) : 0;
    if (count == 0 || count > IDS_MAX || json_object_size(many->ids) != 1) {
        return err_set(err, ERR_INVALID, "the body is {\"ids\": [\"ID\", …]} with 1 to %d ids",
                       IDS_MAX);
    }
    void *items = NULL;
    TRY(mem_take(count * sizeof *many->items, &items, err));
    memset(items, 0, count * sizeof *many->items);
    many->items = items;
    many->count = count;
    for (size_t i = 0; i < count; i++)
        mutation_init(&many->items[i].mutation, MUTATION_DELETE_FILE);
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_string(id) || json_string_length(id) > ID_BYTES_MAX)
            return err_set(err, ERR_INVALID, "an id is a string of %d characters", ID128_TEXT_LEN);
        many->items[i].text = str_of(json_string_value(id), json_string_length(id));
    }
    return OK;
}

/* All or none, as far as that can be told before. */
static ErrCode check_required(DeleteMany *many, Err *err)
{
    for (size_t i = 0; i < many->count; i++) {
        FileId file;
        if (!id128_parse(many->items[i].text, &file)) continue;
        TRY(rest_require(many->call, shard_class(file_id_shard(file)), err));
    }
    return OK;
}

/* What is an id becomes a mutation, behind the one before. */
static Mutation *chain(DeleteMany *many)
{
    Mutation *first = NULL;
    Mutation **link = &first;
    size_t count = 0;
    for (size_t i = 0; i < many->count; i++) {
        Item *item = &many->items[i];
        Mutation *m = &item->mutation;
        if (!id128_parse(item->text, &m->file)) continue;
        item->refusal = rest_allows_id(many->call, m->file, NULL);
        if (item->refusal != OK) continue;
        item->submitted = true;
        m->require_synced = many->call->mutation.require_synced;
        m->done = one_done;
        m->ctx = many;
        *link = m;
        link = &m->also;
        count++;
    }
    atomic_store(&many->left, count);
    return first;
}

static void on_collected(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    RestCall *call = ctx;
    DeleteMany *many = call->delete_many;
    Err err = {0};
    UNUSED(req);
    if (code == OK) code = read_ids(many, body, &err);
    if (code == OK) code = check_required(many, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    Mutation *first = chain(many);
    if (first == NULL) {
        answer(call);
        return;
    }
    code = service_submit(call->service, first);
    if (code != OK) rest_answer_error(call, code, NULL);
}

void rest_delete_many(RestCall *call)
{
    DeleteMany *many = mem_new(sizeof *many);
    many->call = call;
    call->delete_many = many;
    http_request_collect(call->req, BODY_MAX, on_collected);
}
