#include "api/s3/cors_rules.h"

#include <string.h>

#include "text/xml.h"

const char *const cors_methods[CORS_METHODS] = {"GET", "PUT", "POST", "DELETE", "HEAD"};

/* --- reading --- */

typedef struct {
    Arena *arena;
    CorsRule *rules; /* CORS_RULES_MAX of them */
    size_t count;
    CorsItem **ends[3]; /* of the lists of the rule that is read */
    const char **fault;
} Reading;

static ErrCode fail(Reading *r, const char *text, Err *err)
{
    *r->fault = text;
    return err_set(err, ERR_INVALID, "the rules are not valid");
}

static ErrCode no_memory(Err *err)
{
    return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
}

static const char *const lists[] = {"AllowedOrigin", "AllowedHeader", "ExposeHeader"};

/* The number of a list's element in lists; ARRAY_LEN(lists): it is none. */
static size_t list_of(Str name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(lists) && !str_eq(name, str_from_cstr(lists[i])))
        i++;
    return i;
}

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    Reading *r = ctx;
    bool known = depth == 1   ? str_eq(name, STR("CORSConfiguration"))
                 : depth == 2 ? str_eq(name, STR("CORSRule"))
                 : depth == 3
                     ? list_of(name) < ARRAY_LEN(lists) || str_eq(name, STR("ID")) ||
                           str_eq(name, STR("AllowedMethod")) || str_eq(name, STR("MaxAgeSeconds"))
                     : false;
    if (!known) return fail(r, NULL, err);
    if (depth != 2) return OK;
    if (r->count == CORS_RULES_MAX) return fail(r, NULL, err);
    CorsRule *rule = &r->rules[r->count++];
    r->ends[0] = &rule->origins;
    r->ends[1] = &rule->headers;
    r->ends[2] = &rule->exposed;
    return OK;
}

static size_t count_stars(Str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '*';
    return count;
}

/* What a header can hold: printable ASCII. */
static bool is_plain(Str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= 0x20 || text.ptr[i] == 0x7f) return false;
    return text.len > 0;
}

static ErrCode add_item(Reading *r, size_t list, Str text, Err *err)
{
    if (!is_plain(text)) return fail(r, NULL, err);
    if (list == 2 && count_stars(text) > 0)
        return fail(r,
                    "ExposeHeader contains wildcard. We currently do not support wildcard for "
                    "ExposeHeader.",
                    err);
    if (count_stars(text) > 1)
        return fail(r,
                    list == 0 ? "AllowedOrigin can not have more than one wildcard."
                              : "AllowedHeader can not have more than one wildcard.",
                    err);
    CorsItem *item = arena_alloc(r->arena, sizeof *item);
    if (item == NULL) return no_memory(err);
    item->text = arena_dup(r->arena, text);
    if (item->text.ptr == NULL) return no_memory(err);
    *r->ends[list] = item;
    r->ends[list] = &item->next;
    return OK;
}

static ErrCode add_method(Reading *r, CorsRule *rule, Str text, Err *err)
{
    for (size_t i = 0; i < CORS_METHODS; i++) {
        if (!str_eq(text, str_from_cstr(cors_methods[i]))) continue;
        rule->methods |= 1U << i;
        return OK;
    }
    return fail(r, "Found unsupported HTTP method in CORS config.", err);
}

static ErrCode take_field(Reading *r, CorsRule *rule, Str name, Str text, Err *err)
{
    if (str_eq(name, STR("AllowedMethod"))) return add_method(r, rule, text, err);
    if (str_eq(name, STR("MaxAgeSeconds"))) {
        if (rule->has_max_age || !str_to_u64(text, INT32_MAX, &rule->max_age_s))
            return fail(r, NULL, err);
        rule->has_max_age = true;
        return OK;
    }
    if (rule->id.ptr != NULL || text.len > CORS_ID_MAX) return fail(r, NULL, err);
    rule->id = arena_dup(r->arena, text);
    return rule->id.ptr == NULL ? no_memory(err) : OK;
}

static ErrCode on_end(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Reading *r = ctx;
    if (depth < 2) return OK;
    ASSERT(r->count > 0);
    CorsRule *rule = &r->rules[r->count - 1];
    if (depth == 2) /* both must be there */
        return rule->origins != NULL && rule->methods != 0 ? OK : fail(r, NULL, err);
    size_t list = list_of(name);
    text = str_trim(text);
    return list < ARRAY_LEN(lists) ? add_item(r, list, text, err)
                                   : take_field(r, rule, name, text, err);
}

ErrCode cors_rules_read(Arena *arena, Str xml, CorsRules *out, const char **fault, Err *err)
{
    Reading r = {.arena = arena, .fault = fault};
    XmlHandler handler = {.ctx = &r, .begin = on_begin, .end = on_end};
    *fault = NULL;
    r.rules = arena_alloc(arena, CORS_RULES_MAX * sizeof *r.rules);
    if (r.rules == NULL) return no_memory(err);
    TRY(xml_read(xml, &handler, err));
    if (r.count == 0) return fail(&r, NULL, err);
    *out = (CorsRules){.rules = r.rules, .count = r.count};
    return OK;
}

/* --- writing --- */

static void write_items(XmlWriter *xml, size_t list, const CorsItem *item)
{
    for (; item != NULL; item = item->next)
        xml_element(xml, lists[list], item->text);
}

ErrCode cors_rules_write(const CorsRules *rules, Buf *out, Err *err)
{
    XmlWriter xml = {.out = out}; /* without a declaration */
    xml_begin(&xml, "CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"");
    for (size_t i = 0; i < rules->count; i++) {
        const CorsRule *rule = &rules->rules[i];
        xml_begin(&xml, "CORSRule");
        if (rule->id.ptr != NULL) xml_element(&xml, "ID", rule->id);
        for (size_t m = 0; m < CORS_METHODS; m++)
            if ((rule->methods & 1U << m) != 0)
                xml_element_cstr(&xml, "AllowedMethod", cors_methods[m]);
        write_items(&xml, 0, rule->origins);
        write_items(&xml, 1, rule->headers);
        write_items(&xml, 2, rule->exposed);
        if (rule->has_max_age) xml_element_u64(&xml, "MaxAgeSeconds", rule->max_age_s);
        xml_end(&xml, "CORSRule");
    }
    xml_end(&xml, "CORSConfiguration");
    return xml_writer_end(&xml, err);
}

/* --- what they say of a request --- */

static bool eq(Str a, Str b, bool nocase)
{
    return nocase ? str_eq_nocase(a, b) : str_eq(a, b);
}

static bool matches(Str pattern, Str text, bool nocase)
{
    size_t star = str_find_char(pattern, '*');
    if (star == pattern.len) return eq(pattern, text, nocase);
    Str head = str_slice(pattern, 0, star);
    Str tail = str_slice(pattern, star + 1, pattern.len);
    return text.len >= head.len + tail.len && eq(head, str_slice(text, 0, head.len), nocase) &&
           eq(tail, str_slice(text, text.len - tail.len, tail.len), nocase);
}

static const CorsItem *find_item(const CorsItem *item, Str text, bool nocase)
{
    while (item != NULL && !matches(item->text, text, nocase))
        item = item->next;
    return item;
}

static bool has_method(const CorsRule *rule, Str method)
{
    for (size_t i = 0; i < CORS_METHODS; i++)
        if ((rule->methods & 1U << i) != 0 && str_eq(method, str_from_cstr(cors_methods[i])))
            return true;
    return false;
}

static bool has_headers(const CorsRule *rule, Str headers)
{
    while (headers.len > 0) {
        Str name;
        str_split(headers, ',', &name, &headers);
        name = str_trim(name);
        if (name.len > 0 && find_item(rule->headers, name, true) == NULL) return false;
    }
    return true;
}

const CorsRule *cors_rules_find(const CorsRules *rules, Str origin, Str method, Str headers,
                                bool *any)
{
    for (size_t i = 0; i < rules->count; i++) {
        const CorsRule *rule = &rules->rules[i];
        const CorsItem *item = find_item(rule->origins, origin, false);
        if (item == NULL || !has_method(rule, method) || !has_headers(rule, headers)) continue;
        *any = str_eq(item->text, STR("*"));
        return rule;
    }
    return NULL;
}
