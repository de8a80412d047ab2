/* The OpenAPI 3.1 document, printed from the table of routes, describe.def and err.def. */
#include "api/rest/rest_priv.h"

#include <string.h>

#include "text/uri.h"

typedef struct {
    const char *where;
    const char *name;
    const char *type;
    bool required;
    const char *text;
} Param;

static const Param params[] = {
#define PARAM(name, where, wire, type, required, text) {where, wire, type, required, text},
#include "api/rest/describe.def"
};

typedef struct {
    const char *name;
    const char *text;
} Header;

static const Header headers[] = {
#define HEADER(name, wire, text) {wire, text},
#include "api/rest/describe.def"
};

typedef struct {
    const char *name;
    const char *text;
} Schema;

static const Schema schemas[] = {
#define SCHEMA(name, text) {#name, text},
#include "api/rest/describe.def"
};

typedef struct {
    const char *schema;
    const char *name;
    const char *type;
    const char *text; /* may be NULL */
} SchemaMember;

static const SchemaMember members[] = {
#define MEMBER(schema, name, type, text) {#schema, name, type, text},
#include "api/rest/describe.def"
};

typedef struct {
    const char *name;
    const char *pattern; /* may be NULL */
    size_t longest;      /* characters; 0: no limit */
    const char *example; /* may be NULL */
    const char *text;
} Named;

static const Named named[] = {
#define NAMED(name, pattern, longest, example, text) {#name, pattern, longest, example, text},
#include "api/rest/describe.def"
};

/* --- small helpers --- */

static void begin(JsonWriter *json, const char *key)
{
    json_write_key(json, key);
    json_write_object_begin(json);
}

static void end(JsonWriter *json)
{
    json_write_object_end(json);
}

static void member_text(JsonWriter *json, const char *text)
{
    if (text != NULL) json_member_cstr(json, "description", text);
}

/* A short text that is put together, on the stack: printing must not depend on memory elsewhere
 * than in the document itself. */
typedef struct {
    size_t len;
    char bytes[4 * KIB];
} Text;

static void text_add(Text *text, Str part)
{
    ASSERT(part.len <= sizeof text->bytes - text->len); /* the tables are not that long */
    memcpy(text->bytes + text->len, part.ptr, part.len);
    text->len += part.len;
}

static Str text_str(const Text *text)
{
    return str_of(text->bytes, text->len);
}

/* A value made of two strings. */
static void member_joined(JsonWriter *json, const char *key, const char *prefix, Str rest)
{
    Text text = {.len = 0};
    text_add(&text, str_from_cstr(prefix));
    text_add(&text, rest);
    json_member_str(json, key, text_str(&text));
}

/* --- types --- */

static void word_list(JsonWriter *json, Str words)
{
    bool more = true;
    json_write_key(json, "enum");
    json_write_array_begin(json);
    while (more) {
        Str word;
        more = str_split(words, '|', &word, &words);
        json_write_str(json, word);
    }
    json_write_array_end(json);
}

/* "string", or with null. */
static void member_type(JsonWriter *json, const char *type, bool nullable)
{
    if (!nullable) {
        json_member_cstr(json, "type", type);
        return;
    }
    json_write_key(json, "type");
    json_write_array_begin(json);
    json_write_cstr(json, type);
    json_write_cstr(json, "null");
    json_write_array_end(json);
}

/* Of a type with a name of its own: a reference. */
static void member_ref(JsonWriter *json, Str name, bool nullable)
{
    if (!nullable) {
        member_joined(json, "$ref", "#/components/schemas/", name);
        return;
    }
    json_write_key(json, "anyOf");
    json_write_array_begin(json);
    json_write_object_begin(json);
    member_joined(json, "$ref", "#/components/schemas/", name);
    end(json);
    json_write_object_begin(json);
    json_member_cstr(json, "type", "null");
    end(json);
    json_write_array_end(json);
}

/* The members of a schema that type (describe.def) stands for. */
static void members_of_type(JsonWriter *json, Str type)
{
    bool nullable = str_ends_with(type, STR("?"));
    if (nullable) type = str_slice(type, 0, type.len - 1);
    if (type.ptr[0] == '[') {
        ASSERT(!nullable);
        json_member_cstr(json, "type", "array");
        begin(json, "items");
        members_of_type(json, str_slice(type, 1, type.len - 2));
        end(json);
    } else if (str_eq(type, STR("integer"))) {
        member_type(json, "integer", nullable);
        json_write_key(json, "minimum");
        json_write_u64(json, 0);
    } else if (str_eq(type, STR("limit"))) {
        json_member_cstr(json, "type", "integer");
        json_member_u64(json, "minimum", 1);
        json_member_u64(json, "maximum", 1000);
    } else if (str_eq(type, STR("quota"))) {
        member_type(json, "integer", nullable);
        json_member_u64(json, "minimum", 0);
        json_member_u64(json, "maximum", QUOTA_MAX);
    } else if (str_eq(type, STR("boolean"))) {
        member_type(json, "boolean", nullable);
    } else if (str_eq(type, STR("string"))) {
        member_type(json, "string", nullable);
    } else if (str_eq(type, STR("time"))) {
        member_type(json, "string", nullable);
        json_member_cstr(json, "format", "date-time");
    } else if (str_eq(type, STR("map"))) {
        json_member_cstr(json, "type", "object");
        begin(json, "additionalProperties");
        json_member_cstr(json, "type", "string");
        end(json);
    } else if (type.ptr[0] >= 'A' && type.ptr[0] <= 'Z') {
        member_ref(json, type, nullable);
    } else {
        member_type(json, "string", nullable);
        word_list(json, type);
    }
}

static void object_schema(JsonWriter *json, const Schema *schema)
{
    begin(json, schema->name);
    json_member_cstr(json, "type", "object");
    json_member_cstr(json, "description", schema->text);
    begin(json, "properties");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const SchemaMember *m = &members[i];
        if (strcmp(m->schema, schema->name) != 0) continue;
        Str name = str_from_cstr(m->name);
        json_write_key_str(json, str_slice(name, 0, str_find_char(name, '?')));
        json_write_object_begin(json);
        members_of_type(json, str_from_cstr(m->type));
        member_text(json, m->text);
        end(json);
    }
    end(json);
    json_write_key(json, "required");
    json_write_array_begin(json);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        bool mine = strcmp(members[i].schema, schema->name) == 0;
        if (mine && strchr(members[i].name, '?') == NULL) json_write_cstr(json, members[i].name);
    }
    json_write_array_end(json);
    end(json);
}

static void named_schema(JsonWriter *json, const Named *type)
{
    begin(json, type->name);
    json_member_cstr(json, "type", "string");
    if (type->pattern != NULL) json_member_cstr(json, "pattern", type->pattern);
    if (type->longest > 0) json_member_u64(json, "maxLength", type->longest);
    if (type->example != NULL) {
        json_write_key(json, "examples");
        json_write_array_begin(json);
        json_write_cstr(json, type->example);
        json_write_array_end(json);
    }
    json_member_cstr(json, "description", type->text);
    end(json);
}

static void components(JsonWriter *json)
{
    begin(json, "components");
    begin(json, "securitySchemes");
    begin(json, "bearer");
    json_member_cstr(json, "type", "http");
    json_member_cstr(json, "scheme", "bearer");
    json_member_cstr(json, "description", "ID.SECRET, as in root.key");
    end(json);
    begin(json, "basic");
    json_member_cstr(json, "type", "http");
    json_member_cstr(json, "scheme", "basic");
    json_member_cstr(json, "description", "The ID as user, the SECRET as password");
    end(json);
    end(json);
    begin(json, "headers");
    for (size_t i = 0; i < HEADER_COUNT; i++) {
        begin(json, headers[i].name);
        json_member_cstr(json, "description", headers[i].text);
        begin(json, "schema");
        json_member_cstr(json, "type", "string");
        end(json);
        end(json);
    }
    end(json);
    begin(json, "schemas");
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        named_schema(json, &named[i]);
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
        object_schema(json, &schemas[i]);
    end(json);
    end(json);
}

/* --- parameters and bodies --- */

static void parameter(JsonWriter *json, const char *where, Str name, bool required, Str type,
                      const char *text)
{
    json_write_object_begin(json);
    json_member_str(json, "name", name);
    json_member_cstr(json, "in", where);
    json_member_bool(json, "required", required);
    member_text(json, text);
    begin(json, "schema");
    members_of_type(json, type);
    end(json);
    end(json);
}

/* Of a parameter in a path, by its name there. */
static Str path_type(Str name)
{
    if (str_eq(name, STR("bucket"))) return STR("BucketName");
    if (str_eq(name, STR("key"))) return STR("Key");
    if (str_eq(name, STR("id"))) return STR("FileId");
    if (str_eq(name, STR("root"))) return STR("Uuid");
    if (str_eq(name, STR("key_id"))) return STR("KeyId");
    if (str_eq(name, STR("class"))) return STR("ClassName");
    return STR("docs.js|docs.css");
}

/* Takes the next {name} or {name...} off the pattern. */
static bool next_path_param(Str *pattern, Str *name)
{
    Str before;
    Str rest;
    if (!str_split(*pattern, '{', &before, &rest)) return false;
    bool closed = str_split(rest, '}', name, pattern);
    ASSERT(closed);
    if (str_ends_with(*name, STR("..."))) *name = str_slice(*name, 0, name->len - 3);
    return true;
}

static void parameters(JsonWriter *json, const HttpRoute *route, const RestDescription *about)
{
    Str pattern = str_from_cstr(route->pattern);
    Str name;
    json_write_key(json, "parameters");
    json_write_array_begin(json);
    while (next_path_param(&pattern, &name)) {
        bool is_key = str_eq(name, STR("key"));
        parameter(json, "path", name, true, path_type(name),
                  is_key ? "Percent-encoded; %2F and / are the same." : NULL);
    }
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        const Param *p = &params[i];
        if ((about->params & BIT(i)) == 0) continue;
        parameter(json, p->where, str_from_cstr(p->name), p->required, str_from_cstr(p->type),
                  p->text);
    }
    json_write_array_end(json);
}

static void any_content(JsonWriter *json, const char *media)
{
    begin(json, media);
    begin(json, "schema");
    end(json);
    end(json);
}

static void request_body(JsonWriter *json, RestBody body)
{
    if (body == BODY_NONE) return;
    begin(json, "requestBody");
    json_member_bool(json, "required",
                     body == BODY_DELETE_MANY || body == BODY_PIECE || body == BODY_KEY);
    begin(json, "content");
    if (body == BODY_DELETE_MANY || body == BODY_SETTINGS || body == BODY_KEY ||
        body == BODY_CLASS) {
        begin(json, "application/json");
        begin(json, "schema");
        Str schema = body == BODY_SETTINGS ? STR("BucketSettings")
                     : body == BODY_KEY    ? STR("KeyRequest")
                     : body == BODY_CLASS  ? STR("ClassSettings")
                                           : STR("DeleteMany");
        member_ref(json, schema, false);
        end(json);
        end(json);
        end(json);
        end(json);
        return;
    }
    if (body == BODY_PIECE || body == BODY_FIRST_PIECE) {
        any_content(json, "application/offset+octet-stream");
        end(json);
        end(json);
        return;
    }
    any_content(json, body == BODY_CONTENT ? "*/*" : "application/octet-stream");
    if (body == BODY_CONTENT_OR_FORM) {
        any_content(json, "*/*");
        begin(json, "multipart/form-data");
        begin(json, "schema");
        json_member_cstr(json, "type", "object");
        begin(json, "properties");
        begin(json, "file");
        json_member_cstr(json, "description", "The content; its type and file name are kept.");
        json_member_cstr(json, "type", "string");
        json_member_cstr(json, "format", "binary");
        end(json);
        end(json);
        json_write_key(json, "required");
        json_write_array_begin(json);
        json_write_cstr(json, "file");
        json_write_array_end(json);
        json_member_bool(json, "additionalProperties", false);
        end(json);
        end(json);
    }
    end(json);
    end(json);
}

/* --- answers --- */

static void header_ref(JsonWriter *json, const char *name)
{
    begin(json, name);
    member_joined(json, "$ref", "#/components/headers/", str_from_cstr(name));
    end(json);
}

static void answer_headers(JsonWriter *json, int status, uint64_t set)
{
    if (status == 401) set |= BIT(HEADER_WWW_AUTHENTICATE);
    if (status == 416) set |= BIT(HEADER_CONTENT_RANGE);
    if (status == 503) set |= BIT(HEADER_RETRY_AFTER);
    set |= BIT(HEADER_REQUEST_ID);
    begin(json, "headers");
    for (size_t i = 0; i < HEADER_COUNT; i++) {
        if ((set & BIT(i)) != 0) header_ref(json, headers[i].name);
    }
    end(json);
}

static bool is_error_of(uint64_t errors, size_t code, int status)
{
    return (errors & BIT(code)) != 0 && err_info((ErrCode)code)->http_status == status;
}

/* "`code`: text; …" of all errors with this status. */
static void error_text(JsonWriter *json, const RestAnswer *answer, uint64_t errors, int status)
{
    Text text = {.len = 0};
    if (answer != NULL) {
        text_add(&text, str_from_cstr(answer->text));
        text_add(&text, STR(" "));
    }
    for (size_t i = 1; i < ERR_CODE_COUNT; i++) {
        const ErrInfo *info = err_info((ErrCode)i);
        if (!is_error_of(errors, i, status)) continue;
        text_add(&text, STR("`"));
        text_add(&text, str_from_cstr(info->slug));
        text_add(&text, STR("`: "));
        text_add(&text, str_from_cstr(info->text));
        text_add(&text, STR(". "));
    }
    json_member_str(json, "description", str_trim(text_str(&text)));
}

static void problem_content(JsonWriter *json, uint64_t errors, int status)
{
    begin(json, "application/problem+json");
    begin(json, "schema");
    json_write_key(json, "allOf");
    json_write_array_begin(json);
    json_write_object_begin(json);
    member_ref(json, STR("Problem"), false);
    end(json);
    json_write_object_begin(json);
    begin(json, "properties");
    begin(json, "code");
    json_write_key(json, "enum");
    json_write_array_begin(json);
    for (size_t i = 1; i < ERR_CODE_COUNT; i++) {
        if (is_error_of(errors, i, status)) json_write_cstr(json, err_info((ErrCode)i)->slug);
    }
    json_write_array_end(json);
    end(json);
    end(json);
    end(json);
    json_write_array_end(json);
    end(json);
    end(json);
}

static void answer_content(JsonWriter *json, const RestAnswer *answer)
{
    if (answer->schema == NULL) {
        any_content(json, answer->media);
        return;
    }
    begin(json, answer->media);
    begin(json, "schema");
    if (answer->schema[0] == '\0')
        json_member_cstr(json, "type", "object");
    else
        member_ref(json, str_from_cstr(answer->schema), false);
    end(json);
    end(json);
}

/* Of all answers with this status: their headers; *good is the first, which has the text. */
static uint64_t find_answer(const RestDescription *about, int status, const RestAnswer **good)
{
    uint64_t set = 0;
    *good = NULL;
    for (size_t i = 0; i < ANSWERS_MAX; i++) {
        if (about->answers[i].status != status) continue;
        if (*good == NULL) *good = &about->answers[i];
        set |= about->answers[i].headers;
    }
    return set;
}

static void contents(JsonWriter *json, const RestDescription *about, int status, bool has_errors)
{
    begin(json, "content");
    for (size_t i = 0; i < ANSWERS_MAX; i++) {
        const RestAnswer *one = &about->answers[i];
        if (one->status == status && one->media != NULL) answer_content(json, one);
    }
    if (has_errors) problem_content(json, about->errors, status);
    end(json);
}

static void answer(JsonWriter *json, const RestDescription *about, int status, bool is_head)
{
    const RestAnswer *good;
    bool has_errors = false;
    uint64_t set = find_answer(about, status, &good);
    for (size_t i = 1; i < ERR_CODE_COUNT; i++)
        has_errors = has_errors || is_error_of(about->errors, i, status);
    if (good == NULL && !has_errors) return;
    char key[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                   (char)('0' + status % 10), '\0'};
    begin(json, key);
    error_text(json, good, about->errors, status);
    if (status == 404 && (about->params & BIT(PARAM_VERSION)) != 0)
        set |= BIT(HEADER_DELETE_MARKER);
    answer_headers(json, status, set | about->always);
    if (!is_head && (has_errors || (good != NULL && good->media != NULL)))
        contents(json, about, status, has_errors);
    end(json);
}

/* How a key is shown; none need be if that is optional. */
static void security(JsonWriter *json, bool optional)
{
    static const char *const names[] = {"bearer", "basic"};
    json_write_key(json, "security");
    json_write_array_begin(json);
    if (optional) {
        json_write_object_begin(json);
        end(json);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_write_object_begin(json);
        json_write_key(json, names[i]);
        json_write_array_begin(json);
        json_write_array_end(json);
        end(json);
    }
    json_write_array_end(json);
}

static void operation(JsonWriter *json, const HttpRoute *route)
{
    static const char *const verbs[] = {
        [HTTP_METHOD_GET] = "get",       [HTTP_METHOD_HEAD] = "head",
        [HTTP_METHOD_PUT] = "put",       [HTTP_METHOD_POST] = "post",
        [HTTP_METHOD_DELETE] = "delete", [HTTP_METHOD_OPTIONS] = "options",
        [HTTP_METHOD_PATCH] = "patch"};
    const RestRoute *row = route->row;
    const RestDescription *about = &row->about;
    begin(json, verbs[route->method]);
    json_member_cstr(json, "operationId", about->id);
    json_write_key(json, "tags");
    json_write_array_begin(json);
    json_write_cstr(json, about->tag);
    json_write_array_end(json);
    json_member_cstr(json, "summary", about->summary);
    member_text(json, about->text);
    if (row->rights == 0 && (about->errors & BIT(ERR_UNAUTHENTICATED)) != 0) {
        security(json, true);      /* a key shows more */
    } else if (row->rights == 0) { /* open to all */
        json_write_key(json, "security");
        json_write_array_begin(json);
        json_write_array_end(json);
    }
    parameters(json, route, about);
    request_body(json, about->body);
    begin(json, "responses");
    for (int status = 200; status < 600; status++)
        answer(json, about, status, route->method == HTTP_METHOD_HEAD);
    end(json);
    end(json);
}

/* --- the whole --- */

static bool is_first_of_path(size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (strcmp(rest_routes[i].pattern, rest_routes[at].pattern) == 0) return false;
    }
    return true;
}

/* The pattern with {key} for {key...}: OpenAPI knows no rest of a path. */
static void path_key(JsonWriter *json, const char *pattern)
{
    Str text = str_from_cstr(pattern);
    if (!str_ends_with(text, STR("...}"))) {
        json_write_key(json, pattern);
        return;
    }
    Text key = {.len = 0};
    text_add(&key, str_slice(text, 0, text.len - 4));
    text_add(&key, STR("}"));
    json_write_key_str(json, text_str(&key));
}

static void paths(JsonWriter *json)
{
    begin(json, "paths");
    for (size_t i = 0; i < rest_route_count; i++) {
        if (!is_first_of_path(i)) continue;
        path_key(json, rest_routes[i].pattern);
        json_write_object_begin(json);
        for (size_t j = i; j < rest_route_count; j++) {
            if (strcmp(rest_routes[j].pattern, rest_routes[i].pattern) == 0)
                operation(json, &rest_routes[j]);
        }
        end(json);
    }
    end(json);
}

ErrCode rest_openapi_print(Buf *out, Err *err)
{
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    json_member_cstr(&json, "openapi", "3.1.0");
    begin(&json, "info");
    json_member_cstr(&json, "title", "Holdfast");
    json_member_cstr(&json, "version", HOLDFAST_VERSION);
    json_member_cstr(
        &json, "description",
        "A durable file store: what is answered by 200 or 201 is kept. Times are RFC "
        "3339 in UTC. What may be tried again is 503 with Retry-After; "
        "`outcome-unknown` means that the change may or may not have been made. HEAD "
        "is taken wherever GET is. Where the setting cors-origins names origins, answers "
        "to pages of these have Access-Control-Allow-Origin and "
        "Access-Control-Expose-Headers, and OPTIONS with "
        "Access-Control-Request-Method needs no key: 204.");
    end(&json);
    json_write_key(&json, "servers");
    json_write_array_begin(&json);
    json_write_object_begin(&json);
    json_member_cstr(&json, "url", "/");
    end(&json);
    json_write_array_end(&json);
    security(&json, false);
    paths(&json);
    components(&json);
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

void rest_openapi(RestCall *call)
{
    Err err = {0};
    Buf *document = &call->loop->openapi;
    ErrCode code = document->len > 0 ? OK : rest_openapi_print(document, &err);
    if (code != OK) {
        buf_clear(document);
        rest_answer_error(call, code, &err);
        return;
    }
    call->status = 200;
    call->bytes_out = document->len;
    http_header_add(call->req, "Content-Type", STR("application/json"));
    http_respond(call->req, 200, buf_str(document));
}
