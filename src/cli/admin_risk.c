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
    printf("  %s: %s, byte %" PRIu64 "\n", text(entry, "cause", a), text(entry, "place", b),
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
