#include "cli/admin_risk.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/show.h"

static uint64_t number(const json_t *object, const char *name)
{
    uint64_t value = 0;
    return json_get_optional_u64(object, name, &value, NULL) == OK ? value : 0;
}

static const char *text(const json_t *object, const char *name, char out[SHOW_NAME_SIZE])
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) return "?";
    return show_name(str_of(json_string_value(value), json_string_length(value)), out);
}

static void print_entry(const json_t *entry)
{
    char a[SHOW_NAME_SIZE];
    char b[SHOW_NAME_SIZE];
    char size[SHOW_SIZE_SIZE];
    if (json_is_string(json_object_get(entry, "id"))) {
        show_size(number(entry, "size"), size);
        printf("%s/%s\n", text(entry, "bucket", a), text(entry, "key", b));
        printf("  id %s, version %s, %s\n", text(entry, "id", a), text(entry, "version", b), size);
    } else {
        printf("(no file: a part of the server's own data)\n");
    }
    char dir[SHOW_NAME_SIZE];
    bool named = json_is_string(json_object_get(entry, "directory"));
    printf("  %s: %s%s%s, byte %" PRIu64 "\n", text(entry, "cause", a),
           named ? text(entry, "directory", dir) : "", named ? "/" : "", text(entry, "place", b),
           number(entry, "offset"));
    printf("  since %s, last seen %s\n", text(entry, "since", a), text(entry, "last_seen", b));
    if (json_string_length(json_object_get(entry, "detail")) > 0) {
        printf("  %s\n", text(entry, "detail", a));
    }
}

int admin_risk_print(const json_t *answer)
{
    uint64_t files = number(answer, "files");
    uint64_t places = number(answer, "places");
    uint64_t unlisted = number(answer, "unlisted");
    const json_t *entries = json_object_get(answer, "entries");
    size_t shown = json_array_size(entries);
    if (files + places + unlisted == 0) {
        puts("nothing is known to be damaged");
        return 0;
    }
    char file_count[SHOW_COUNT_SIZE];
    char place_count[SHOW_COUNT_SIZE];
    printf("damaged: %s and %s\n", show_count(files, "file", file_count),
           show_count(places, "other place", place_count));
    for (size_t i = 0; i < shown; i++)
        print_entry(json_array_get(entries, i));
    if (files + places > shown) {
        printf("and %" PRIu64 " more: GET /v1/admin/risk?after=NEXT\n", files + places - shown);
    }
    if (unlisted > 0) {
        printf("and more: damage was seen %" PRIu64 " times for which the list has no room\n",
               unlisted);
    }
    return err_info(ERR_FILE_DAMAGED)->exit_status;
}

/* --- ledger --- */

static void print_times(const json_t *entry)
{
    char a[SHOW_NAME_SIZE];
    bool known = json_is_string(json_object_get(entry, "done_at"));
    printf("  since %s", text(entry, "since", a));
    printf("; %s", text(entry, "action", a));
    if (known) printf("; done about %s", text(entry, "done_at", a));
    putchar('\n');
}

static void print_root(const json_t *root)
{
    char a[SHOW_NAME_SIZE];
    char b[SHOW_NAME_SIZE];
    char size[SHOW_SIZE_SIZE];
    char count[SHOW_COUNT_SIZE];
    bool why = json_is_string(json_object_get(root, "cause"));
    show_size(number(root, "bytes"), size);
    show_count(number(root, "files"), "file", count);
    printf("%s is %s%s%s%s: %s, %s\n", text(root, "directory", a), text(root, "why", b),
           why ? " (" : "", why ? json_string_value(json_object_get(root, "cause")) : "",
           why ? ")" : "", count, size);
    print_times(root);
}

static void print_damaged(const json_t *entry)
{
    char a[SHOW_NAME_SIZE];
    char b[SHOW_NAME_SIZE];
    if (json_is_string(json_object_get(entry, "id")))
        printf("%s/%s\n", text(entry, "bucket", a), text(entry, "key", b));
    else
        printf("(no file: a part of the server's own data)\n");
    printf("  damaged: %s/%s", text(entry, "directory", a), text(entry, "place", b));
    printf(", %s\n", text(entry, "cause", a));
    print_times(entry);
}

int admin_ledger_print(const json_t *answer)
{
    const json_t *roots = json_object_get(answer, "roots");
    const json_t *entries = json_object_get(answer, "entries");
    uint64_t below = number(answer, "below_target");
    uint64_t places = number(answer, "places");
    uint64_t copies = number(answer, "copies");
    char count[SHOW_COUNT_SIZE];
    char place_count[SHOW_COUNT_SIZE];
    printf("%s, each of them is to have %" PRIu64 " %s\n",
           show_count(number(answer, "files"), "file", count), copies,
           copies == 1 ? "copy" : "copies");
    if (below + places + number(answer, "unlisted") + json_array_size(roots) == 0) {
        puts("all of them have");
        return 0;
    }
    printf("below that: %s; %s damaged\n", show_count(below, "file", count),
           show_count(places, "other place", place_count));
    for (size_t i = 0; i < json_array_size(roots); i++)
        print_root(json_array_get(roots, i));
    for (size_t i = 0; i < json_array_size(entries); i++)
        print_damaged(json_array_get(entries, i));
    if (json_is_string(json_object_get(answer, "next")))
        puts("and more: GET /v1/admin/ledger?after=NEXT");
    return 1;
}
