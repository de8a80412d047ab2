/* DeleteObjects: up to 1,000 keys in one write to the log. What it takes of memory to the end, its
 * answer too, is charged to the door's budget and there before any key is deleted: from then on
 * nothing is left that could keep it from telling of each key what became of it. */
#include <string.h>

#include "api/s3/s3_priv.h"

#define BODY_MAX (2 * MIB)
#define KEYS_MAX 1000
#define OBJECT_TAGS 4 /* of an object at least, begins and ends */
#define RESULT_MAX                                                                                 \
    (2 * KIB)          /* bytes of XML about one key beside it: a message is 6 × 256 at most */
#define ESCAPED_MORE 5 /* bytes that escaping one of a key adds at most */
#define CHANGE_BYTES                                                                               \
    (2 * KIB) /* that a change takes beside itself, its own copy of the key included */

typedef struct {
    Str key; /* in the texts */
    size_t key_at;
    bool has_key;
    Str version; /* in the texts, too; len 0: none is named */
    size_t version_at;
    ErrCode refusal; /* of the version that is named, or of the sender's rights */
    bool gone;       /* there is none of that name */
    bool was_marker; /* it is a delete marker */
    bool submitted;
    Mutation mutation;
} Item;

struct S3DeleteMany {
    S3Call *call;
    Item *items;
    size_t count;
    size_t room; /* items that there is memory for */
    bool quiet;
    Buf texts; /* keys, one behind the other */
    Buf answer;
    _Atomic size_t left; /* mutations that are not answered */
};

void s3_delete_many_free(S3DeleteMany *many)
{
    if (many == NULL) return;
    for (size_t i = 0; i < many->count; i++)
        mutation_deinit(&many->items[i].mutation);
    buf_deinit(&many->texts);
    buf_deinit(&many->answer);
    mem_free(many->items);
    mem_free(many);
}

static void write_error(XmlWriter *xml, Str key, const char *code, const char *text)
{
    xml_begin(xml, "Error");
    xml_element(xml, "Key", key);
    xml_element_cstr(xml, "Code", code);
    xml_element_cstr(xml, "Message", text);
    xml_end(xml, "Error");
}

static void write_versions(XmlWriter *xml, const Item *item)
{
    const Mutation *m = &item->mutation;
    char version[VERSION_ID_TEXT_LEN + 1];
    bool marked = item->submitted && m->code == OK && m->marked;
    if (item->version.len > 0) xml_element(xml, "VersionId", item->version);
    if (!marked && !item->was_marker) return;
    xml_element_cstr(xml, "DeleteMarker", "true");
    if (!marked) {
        xml_element(xml, "DeleteMarkerVersionId", item->version);
        return;
    }
    s3_version_text(&m->row, version);
    xml_element_cstr(xml, "DeleteMarkerVersionId", version);
}

static void write_result(const S3DeleteMany *many, XmlWriter *xml, const Item *item)
{
    ErrCode code = item->submitted ? item->mutation.code : item->refusal;
    s3_audit_deleted(many->call, item->key, item->gone ? ERR_NOT_FOUND : code);
    if (item->gone) {
        write_error(xml, item->key, "NoSuchVersion", "The specified version does not exist.");
    } else if (!item->submitted) {
        write_error(xml, item->key, s3_code_text(code),
                    code == ERR_FORBIDDEN ? "Access Denied" : "Invalid version id specified");
    } else if (code != OK && code != ERR_NOT_FOUND) {
        write_error(xml, item->key, s3_code_text(code), s3_text(code, &item->mutation.err));
    } else if (!many->quiet) {
        xml_begin(xml, "Deleted");
        xml_element(xml, "Key", item->key);
        write_versions(xml, item);
        xml_end(xml, "Deleted");
    }
}

static void answer(S3Call *call)
{
    S3DeleteMany *many = call->delete_many;
    XmlWriter xml;
    xml_writer_init(&xml, &many->answer);
    xml_begin(&xml, "DeleteResult" S3_XMLNS);
    for (size_t i = 0; i < many->count; i++)
        write_result(many, &xml, &many->items[i]);
    for (size_t i = 0; i < many->count; i++) {
        const Item *item = &many->items[i];
        if (!item->submitted || item->mutation.code != OK) continue;
        const Durability *one = &item->mutation.durability;
        if (!call->changed || one->synced < call->durability.synced) call->durability = *one;
        call->changed = true; /* the fewest copies: what is true of all */
    }
    xml_end(&xml, "DeleteResult");
    s3_answer_xml(call, &xml, &many->answer);
}

static void run_answer(void *arg)
{
    answer(arg);
}

/* On the engine's thread. */
static void one_done(Mutation *m)
{
    S3DeleteMany *many = m->ctx;
    S3Call *call = many->call;
    if (atomic_fetch_sub(&many->left, 1) > 1) return;
    call->task = (LoopTask){.fn = run_answer, .arg = call};
    loop_post(http_request_loop(call->req), &call->task);
}

/* --- the body --- */

static bool is_any(Str name, const char *a, const char *b)
{
    return str_eq(name, str_from_cstr(a)) || str_eq(name, str_from_cstr(b));
}

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    S3DeleteMany *many = ctx;
    bool known = depth == 1   ? str_eq(name, STR("Delete"))
                 : depth == 2 ? is_any(name, "Object", "Quiet")
                 : depth == 3 ? is_any(name, "Key", "VersionId")
                              : false;
    if (!known && depth == 3 && many->count > 0) {
        return err_set(err, ERR_NOT_IMPLEMENTED, "%.*s of an object is not implemented",
                       (int)MIN(name.len, (size_t)64), name.ptr);
    }
    if (!known) return err_set(err, ERR_INVALID, "an element that is not known");
    if (depth != 2 || !str_eq(name, STR("Object"))) return OK;
    if (many->count == many->room) return err_set(err, ERR_INVALID, "more than %d keys", KEYS_MAX);
    mutation_init(&many->items[many->count++].mutation, MUTATION_DELETE);
    return OK;
}

static ErrCode on_element(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    S3DeleteMany *many = ctx;
    if (depth == 2 && str_eq(name, STR("Quiet"))) {
        many->quiet = str_eq_nocase(str_trim(text), STR("true"));
        if (!many->quiet && !str_eq_nocase(str_trim(text), STR("false")))
            return err_set(err, ERR_INVALID, "Quiet is true or false");
        return OK;
    }
    if (many->count == 0) return OK;
    Item *item = &many->items[many->count - 1];
    if (depth == 3 && str_eq(name, STR("VersionId"))) {
        item->version_at = many->texts.len;
        item->version.len = text.len;
        return buf_append_str(&many->texts, text, err);
    }
    if (depth == 3 && str_eq(name, STR("Key"))) {
        if (item->has_key) return err_set(err, ERR_INVALID, "two keys of one object");
        item->has_key = true;
        item->key_at = many->texts.len;
        item->key.len = text.len;
        return buf_append_str(&many->texts, text, err);
    } else if (depth == 2 && (!item->has_key || item->key.len == 0)) {
        return err_set(err, ERR_INVALID, "an object has no key");
    }
    return OK;
}

/* The version that is named, and is it a delete marker? What is wrong with it is the item's. */
static ErrCode find_version(S3Call *call, Item *item, Err *err)
{
    ServiceReader *reader = NULL;
    StoreFound found;
    Mutation *m = &item->mutation;
    Err own = {0};
    item->refusal = s3_version_named(call, call->bucket, item->key, item->version, &m->version,
                                     &own);
    item->gone = call->refusal == S3_ERR_NO_VERSION;
    call->refusal = S3_ERR_NONE;
    if (item->gone) item->refusal = OK;
    if (item->refusal != OK || item->gone || m->version.lsn == 0) return OK;
    TRY(s3_reader(call, &reader, err));
    ErrCode code = service_find(reader, call->bucket, item->key, &m->version, &found, &own);
    item->was_marker = code == ERR_NOT_FOUND && (found.row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    return OK;
}

/* Takes all memory that the list can need, its answer too. In that keys are longer by what must be
 * escaped of them; what stands escaped in the list already takes a quarter more at most (a
 * tabulator). */
static ErrCode take_room(S3DeleteMany *many, Str body, Err *err)
{
    size_t tags = 0;
    size_t specials = 0;
    void *items = NULL;
    for (size_t i = 0; i < body.len; i++) {
        uint8_t c = (uint8_t)body.ptr[i];
        tags += c == '<';
        specials += c < ' ' || c == '"' || c == '&' || c == '<' || c == '>';
    }
    many->room = MIN((size_t)KEYS_MAX, tags / OBJECT_TAGS + 1);
    size_t item_bytes = many->room * sizeof *many->items;
    size_t answer_bytes = body.len + body.len / 4 + ESCAPED_MORE * specials +
                          (many->room + 1) * RESULT_MAX;
    size_t sum = item_bytes + answer_bytes + body.len + many->room * CHANGE_BYTES;
    if (!http_respond_room(many->call->req, sum))
        return err_set(err, ERR_BUSY, "too many large requests are under way; try again");
    many->call->has_room = true;
    buf_init(&many->texts, MAX(body.len, (size_t)1));
    buf_init(&many->answer, answer_bytes);
    TRY(buf_reserve(&many->texts, body.len, err));
    TRY(buf_reserve(&many->answer, answer_bytes, err));
    TRY(mem_take(item_bytes, &items, err));
    memset(items, 0, item_bytes);
    many->items = items;
    return OK;
}

static ErrCode read_body(S3DeleteMany *many, Str body, Err *err)
{
    XmlHandler handler = {.ctx = many, .begin = on_begin, .end = on_element};
    TRY(take_room(many, body, err));
    ErrCode code = xml_read(body, &handler, err);
    if (code == OK && many->count == 0) code = err_set(err, ERR_INVALID, "there is no object");
    if (code == ERR_INVALID) return s3_refuse(many->call, S3_ERR_MALFORMED_XML, NULL, err);
    for (size_t i = 0; i < many->count; i++) {
        Item *item = &many->items[i];
        item->key.ptr = (const char *)many->texts.data + item->key_at;
        item->version.ptr = (const char *)many->texts.data + item->version_at;
        item->refusal = auth_allows_file(&many->call->auth.identity, RIGHT_DELETE,
                                         many->call->bucket, item->key, NULL);
        if (code == OK && item->refusal == OK && item->version.len > 0)
            code = find_version(many->call, item, err);
    }
    return code;
}

/* Each key becomes a mutation, behind the one before. */
static Mutation *chain(S3DeleteMany *many)
{
    Mutation *first = NULL;
    Mutation **link = &first;
    size_t count = 0;
    for (size_t i = 0; i < many->count; i++) {
        Item *item = &many->items[i];
        Mutation *m = &item->mutation;
        if (item->gone || item->refusal != OK) continue;
        item->submitted = true;
        m->bucket = many->call->bucket;
        m->key = item->key;
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

static ErrCode on_body(S3Call *call, Str body, Err *err)
{
    S3DeleteMany *many = call->delete_many;
    TRY(read_body(many, body, err));
    Mutation *first = chain(many);
    if (first != NULL) return service_submit(call->service, first);
    answer(call);
    return OK;
}

/* S3 wants something to be announced of the body. */
static bool is_announced(const S3Call *call)
{
    const HttpHead *head = http_request_head(call->req);
    if (s3_header(call, "content-md5").ptr != NULL || s3_header(call, "x-amz-trailer").ptr != NULL)
        return true;
    for (size_t i = 0; i < head->header_count; i++) {
        Str name = head->headers[i].name;
        Str rest = str_slice(name, 15, name.len);
        if (!str_eq_nocase(str_slice(name, 0, 15), STR("x-amz-checksum-"))) continue;
        /* These say how, not what. */
        if (!str_eq_nocase(rest, STR("mode")) && !str_eq_nocase(rest, STR("type")) &&
            !str_eq_nocase(rest, STR("algorithm")))
            return true;
    }
    return false;
}

void s3_delete_many(S3Call *call)
{
    BucketRecord record;
    Err err = {0};
    ErrCode code = OK;
    if (!buckets_find(service_buckets(call->service), call->bucket, &record)) {
        code = err_set(&err, ERR_NO_BUCKET, "The specified bucket does not exist");
    } else if (!is_announced(call)) {
        code = s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "Missing required header for this request: Content-MD5 OR "
                         "x-amz-checksum-*",
                         &err);
    }
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    S3DeleteMany *many = mem_new(sizeof *many);
    many->call = call;
    call->delete_many = many;
    s3_collect_xml(call, BODY_MAX, on_body);
}
