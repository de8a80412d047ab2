/* holdfast stat: what the server knows of a file. */
#include "cli/session.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/show.h"
#include <inttypes.h>
#include <stdio.h>

const CommandSpec spec_stat = {
    .name = "stat",
    .arguments = "BUCKET/KEY",
    .summary = "tells what is known of a file",
    .usage = "stat [--version ID] BUCKET/KEY",
    .text =
        "Tells what the server knows of a file: id, version, size, SHA-256, times, and how safe\n"
        "it is. --json gives the FILE object of the REST interface.",
    .example = "  holdfast stat files/2026/report.pdf",
    .options = OPTION_JSON | OPTION_QUIET | OPTION_VERSION,
    .args_min = 1,
    .args_max = 1,
};

static void print_text(const json_t *object, const char *name)
{
    char shown[SHOW_NAME_SIZE];
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) return;
    Str text = str_of(json_string_value(value), json_string_length(value));
    printf("%-13s %s\n", name, show_name(text, shown));
}

static void print_meta(const json_t *meta)
{
    const char *name;
    json_t *value;
    /* The macro wants an object that it could change, and does not. */
    void *iter = json_object_iter((json_t *)(uintptr_t)meta);
    for (; iter != NULL; iter = json_object_iter_next((json_t *)(uintptr_t)meta, iter)) {
        char key_shown[SHOW_NAME_SIZE];
        char shown[SHOW_NAME_SIZE];
        name = json_object_iter_key(iter);
        value = json_object_iter_value(iter);
        if (!json_is_string(value)) continue;
        Str text = str_of(json_string_value(value), json_string_length(value));
        printf("meta          %s: %s\n", show_name(str_from_cstr(name), key_shown),
               show_name(text, shown));
    }
}

static void print_durability(const json_t *durability)
{
    uint64_t synced = 0;
    uint64_t copies = 0;
    uint64_t disks = 0;
    if (json_get_u64(durability, "synced", &synced, NULL) != OK ||
        json_get_u64(durability, "copies", &copies, NULL) != OK ||
        json_get_u64(durability, "disks", &disks, NULL) != OK) {
        return;
    }
    printf("durability    on disk in %" PRIu64 " of %" PRIu64 " cop%s, on %" PRIu64 " disk%s\n",
           synced, copies, copies == 1 ? "y" : "ies", disks, disks == 1 ? "" : "s");
}

static void print_file(const RemoteFile *file)
{
    static const char *const before[] = {"bucket", "key", "id", "version"};
    static const char *const after[] = {"sha256", "etag",       "content_type",
                                        "name",   "created_at", "updated_at"};
    char size[SHOW_SIZE_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        print_text(file->json, before[i]);
    printf("%-13s %" PRIu64 " (%s)\n", "size", file->size, show_size(file->size, size));
    for (size_t i = 0; i < ARRAY_LEN(after); i++)
        print_text(file->json, after[i]);
    print_meta(json_object_get(file->json, "meta"));
    print_durability(json_object_get(file->json, "durability"));
}

/* The listing has whole FILE objects, and the key itself is the first of those it begins. */
static ErrCode find(Session *session, Err *err)
{
    Str bucket;
    Str key;
    TRY(key_split(session->options.args[0], &bucket, &key, err));
    if (key.len == 0) return err_set(err, ERR_USAGE, "a key is missing; write BUCKET/KEY");
    AUTO(Listing, listing_close) listing = NULL;
    const char *version = session->options.version;
    ListingOptions options = session_listing(session, bucket, key, 0);
    options.versions = version != NULL;
    if (version == NULL) options.limit = 1;
    TRY(listing_open(&options, &listing, err));
    ListingEntry entry;
    bool found = false;
    bool wanted = false;
    do {
        TRY(listing_next(listing, &entry, &found, err));
        found = found && str_eq(entry.file.key, key);
        wanted = version == NULL || str_eq_nocase(entry.file.version, str_from_cstr(version));
    } while (found && !wanted);
    if (!found) return err_set(err, ERR_NOT_FOUND, "%s", err_info(ERR_NOT_FOUND)->text);
    if (session->options.json) {
        session_json_line(entry.file.json);
    } else {
        print_file(&entry.file);
    }
    return OK;
}

int command_stat(int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, &spec_stat, argc, argv, &status)) return status;
    if (find(&session, &err) != OK) {
        status = session_fail(&session, str_from_cstr(session.options.args[0]), &err);
    }
    return session_end(&session, status);
}
