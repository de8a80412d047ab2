#include "api/s3/post_policy.h"

#include <string.h>

#include "text/dates.h"
#include "text/json.h"

#define CONDITIONS_MAX 128

typedef struct {
    const PostField *fields;
    size_t count;
    bool seen[CONDITIONS_MAX]; /* by field: a condition is about it */
    PostLimits *limits;
    Err *err;
} Check;

static PostPolicyResult malformed(Check *check, const char *text)
{
    (void)err_set(check->err, ERR_INVALID, "Invalid Policy: %s", text); /* for its text */
    return POST_POLICY_MALFORMED;
}

static bool is_free(Str name)
{
    static const char *const names[] = {"policy", "x-amz-signature", "file", "signature",
                                        "AWSAccessKeyId"};
    Str ignored = STR("x-ignore-");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_nocase(name, str_from_cstr(names[i]))) return true;
    return str_eq_nocase(str_slice(name, 0, ignored.len), ignored);
}

/* The value of a field, and that a condition is about it; empty if there is none. */
static Str value_of(Check *check, Str name)
{
    for (size_t i = 0; i < check->count; i++) {
        if (!str_eq_nocase(check->fields[i].name, name)) continue;
        check->seen[i] = true;
        return check->fields[i].value;
    }
    return (Str){NULL, 0};
}

static PostPolicyResult refuse(Check *check, const char *op, Str name, Str wanted)
{
    (void)err_set(check->err, ERR_FORBIDDEN, /* for its text */
                  "Invalid according to Policy: Policy Condition failed: [\"%s\", \"$%.*s\", "
                  "\"%.*s\"]",
                  op, (int)MIN(name.len, (size_t)64), name.ptr, (int)MIN(wanted.len, (size_t)64),
                  wanted.ptr);
    return POST_POLICY_REFUSED;
}

static PostPolicyResult check_eq(Check *check, Str name, Str wanted)
{
    Str value = value_of(check, name);
    return value.ptr != NULL && str_eq(value, wanted) ? POST_POLICY_OK
                                                      : refuse(check, "eq", name, wanted);
}

/* Of several types, with commas between them, each. */
static PostPolicyResult check_starts(Check *check, Str name, Str wanted)
{
    Str value = value_of(check, name);
    bool list = str_eq_nocase(name, STR("Content-Type"));
    bool good = value.ptr != NULL || wanted.len == 0;
    for (bool more = good && value.ptr != NULL; more;) {
        Str item = value;
        more = list && str_split(value, ',', &item, &value);
        good = good && str_starts_with(item, wanted);
    }
    return good ? POST_POLICY_OK : refuse(check, "starts-with", name, wanted);
}

/* A number, or its digits as a string. */
static bool read_size(const json_t *value, uint64_t *out)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    return json_is_string(value) &&
           str_to_u64(str_from_cstr(json_string_value(value)), INT64_MAX, out);
}

static PostPolicyResult check_list(Check *check, const json_t *list)
{
    const char *op = json_string_value(json_array_get(list, 0));
    if (op == NULL || json_array_size(list) != 3)
        return malformed(check, "a condition is [OPERATOR, NAME, VALUE]");
    if (strcasecmp(op, "content-length-range") == 0) {
        uint64_t min = 0;
        uint64_t max = 0;
        if (!read_size(json_array_get(list, 1), &min) || !read_size(json_array_get(list, 2), &max))
            return malformed(check, "content-length-range has two numbers");
        check->limits->size_min = MAX(check->limits->size_min, min);
        check->limits->size_max = MIN(check->limits->size_max, max);
        return POST_POLICY_OK;
    }
    const char *name = json_string_value(json_array_get(list, 1));
    const json_t *value = json_array_get(list, 2);
    if (name == NULL || name[0] != '$' || !json_is_string(value))
        return malformed(check, "a condition names a field as $NAME, and its value is a string");
    Str wanted = str_of(json_string_value(value), json_string_length(value));
    if (strcasecmp(op, "eq") == 0) return check_eq(check, str_from_cstr(name + 1), wanted);
    if (strcasecmp(op, "starts-with") == 0)
        return check_starts(check, str_from_cstr(name + 1), wanted);
    return malformed(check, "the operators are eq, starts-with and content-length-range");
}

static PostPolicyResult check_object(Check *check, json_t *object)
{
    const char *name = NULL;
    json_t *value = NULL;
    if (json_object_size(object) != 1)
        return malformed(check, "an object of a condition has one member");
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value)) return malformed(check, "a field's value is a string");
        return check_eq(check, str_from_cstr(name),
                        str_of(json_string_value(value), json_string_length(value)));
    }
    return POST_POLICY_OK;
}

static PostPolicyResult check_all(Check *check, const json_t *conditions)
{
    if (!json_is_array(conditions)) return malformed(check, "there are no conditions");
    if (json_array_size(conditions) > CONDITIONS_MAX)
        return malformed(check, "too many conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        json_t *condition = json_array_get(conditions, i);
        PostPolicyResult result = json_is_object(condition) ? check_object(check, condition)
                                  : json_is_array(condition)
                                      ? check_list(check, condition)
                                      : malformed(check, "a condition is a "
                                                         "list or an object");
        if (result != POST_POLICY_OK) return result;
    }
    for (size_t i = 0; i < check->count; i++) {
        Str name = check->fields[i].name;
        if (check->seen[i] || is_free(name)) continue;
        (void)err_set(check->err, ERR_FORBIDDEN, /* for its text */
                      "Invalid according to Policy: Extra input fields: %.*s",
                      (int)MIN(name.len, (size_t)64), name.ptr);
        return POST_POLICY_EXTRA_FIELD;
    }
    return POST_POLICY_OK;
}

PostPolicyResult post_policy_check(Str policy, const PostField *fields, size_t count,
                                   uint64_t now_ms, PostLimits *limits, Err *err)
{
    AUTO(json_t, json_free) root = NULL;
    Check check = {.fields = fields, .count = count, .limits = limits, .err = err};
    uint64_t expires_ms = 0;
    ASSERT(count <= CONDITIONS_MAX);
    if (json_parse(policy, &root, NULL) != OK || !json_is_object(root))
        return malformed(&check, "it is no JSON object");
    const json_t *expiration = json_object_get(root, "expiration");
    if (!json_is_string(expiration) ||
        !date_parse_rfc3339(str_from_cstr(json_string_value(expiration)), &expires_ms))
        return malformed(&check, "expiration is no time");
    if (expires_ms <= now_ms) {
        (void)err_set(err, ERR_FORBIDDEN, /* for its text */
                      "Invalid according to Policy: Policy expired.");
        return POST_POLICY_EXPIRED;
    }
    return check_all(&check, json_object_get(root, "conditions"));
}
