#include "cli/remote.h"

#include "text/uri.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE_MAX (64 * MIB) /* bytes of an answer with a page */

/* ---- addresses ---- */

ErrCode remote_file_target(Buf *out, Str bucket, Str key, Err *err)
{
    buf_clear(out);
    TRY(buf_append_str(out, STR("/v1/buckets/"), err));
    TRY(uri_encode(out, URI_ENCODE_ALL, bucket, err));
    TRY(buf_append_str(out, STR("/files/"), err));
    TRY(uri_encode(out, URI_ENCODE_PATH, key, err));
    return buf_append_zeros(out, 1, err);
}

ErrCode remote_version_target(Buf *out, Str bucket, Str key, const char *version, Err *err)
{
    TRY(remote_file_target(out, bucket, key, err));
    if (version == NULL) return OK;
    out->len--; /* the NUL goes behind it */
    TRY(buf_append_str(out, STR("?version="), err));
    TRY(uri_encode(out, URI_ENCODE_ALL, str_from_cstr(version), err));
    return buf_append_zeros(out, 1, err);
}

ErrCode remote_bucket_target(Buf *out, Str bucket, Err *err)
{
    buf_clear(out);
    TRY(buf_append_str(out, STR("/v1/buckets/"), err));
    TRY(uri_encode(out, URI_ENCODE_ALL, bucket, err));
    return buf_append_zeros(out, 1, err);
}

void remote_repeat_header(const ClientCall *call, Rng *rng, char header[REMOTE_REPEAT_SIZE])
{
    bool open = header[0] != '\0' && (call->status == 0 || call->status >= 500);
    if (open) return;
    int len = snprintf(header, REMOTE_REPEAT_SIZE, "Idempotency-Key: %016" PRIx64 "%016" PRIx64,
                       rng_u64(rng), rng_u64(rng));
    ASSERT(len > 0 && len < REMOTE_REPEAT_SIZE);
}

/* ---- FILE ---- */

static ErrCode parse(const json_t *object, RemoteFile *file, Err *err)
{
    Str digest = {NULL, 0};
    if (!json_is_object(object)) return err_set(err, ERR_INVALID, "it is no object");
    TRY(json_get_str(object, "bucket", &file->bucket, err));
    TRY(json_get_str(object, "key", &file->key, err));
    TRY(json_get_u64(object, "size", &file->size, err));
    TRY(json_get_optional_str(object, "sha256", &digest, err));
    TRY(json_get_optional_str(object, "updated_at", &file->updated_at, err));
    TRY(json_get_optional_str(object, "version", &file->version, err));
    file->latest = json_is_true(json_object_get(object, "latest"));
    file->delete_marker = json_is_true(json_object_get(object, "delete_marker"));
    if (digest.ptr == NULL) return OK;
    if (!hex_decode(digest, file->sha256.bytes, SHA256_LEN)) {
        return err_set(err, ERR_INVALID, "sha256 is not 64 hex digits");
    }
    file->has_sha256 = true;
    return OK;
}

ErrCode remote_file_parse(const json_t *object, RemoteFile *out, Err *err)
{
    RemoteFile file = {.json = object};
    ErrCode code = parse(object, &file, err);
    if (code != OK) return err_wrap(err, ERR_PEER, "the answer is not a FILE object");
    *out = file;
    return OK;
}

/* ---- listings ---- */

struct Listing {
    ListingOptions options;
    Buf base;   /* the query but for `after` */
    Buf target; /* of this page, terminated */
    Buf after;  /* where the next page goes on … */
    Buf after_version;
    ClientCall call;
    json_t *page;
    const json_t *files;
    const json_t *prefixes;
    size_t file_at;
    size_t prefix_at;
    bool last; /* no page follows */
};

static ErrCode make_base(Listing *listing, Err *err)
{
    const ListingOptions *options = &listing->options;
    Buf *base = &listing->base;
    TRY(buf_append_str(base, STR("/v1/files?bucket="), err));
    TRY(uri_encode(base, URI_ENCODE_ALL, options->bucket, err));
    TRY(buf_append_str(base, STR("&prefix="), err));
    TRY(uri_encode(base, URI_ENCODE_ALL, options->prefix, err));
    if (options->versions) TRY(buf_append_str(base, STR("&versions=true"), err));
    if (options->limit > 0) TRY(buf_printf(base, err, "&limit=%u", options->limit));
    if (options->delimiter == 0) return OK;
    TRY(buf_append_str(base, STR("&delimiter="), err));
    return uri_encode(base, URI_ENCODE_ALL, str_of(&options->delimiter, 1), err);
}

ErrCode listing_open(const ListingOptions *options, Listing **out, Err *err)
{
    AUTO(Listing, listing_close) listing = mem_new(sizeof *listing);
    listing->options = *options;
    buf_init(&listing->base, REMOTE_TARGET_MAX);
    buf_init(&listing->target, 2 * REMOTE_TARGET_MAX);
    buf_init(&listing->after, REMOTE_TARGET_MAX);
    buf_init(&listing->after_version, REMOTE_TARGET_MAX);
    client_call_init(&listing->call, PAGE_MAX);
    TRY(make_base(listing, err));
    /* The views are not ours to keep; base has what is needed of them. */
    listing->options.bucket = listing->options.prefix = (Str){NULL, 0};
    *out = TAKE(listing);
    return OK;
}

void listing_close(Listing *listing)
{
    if (listing == NULL) return;
    client_call_deinit(&listing->call);
    json_free(listing->page);
    buf_deinit(&listing->base);
    buf_deinit(&listing->target);
    buf_deinit(&listing->after);
    buf_deinit(&listing->after_version);
    mem_free(listing);
}

static ErrCode take_page(Listing *listing, json_t *page, Err *err)
{
    Str next = {NULL, 0};
    Str version = {NULL, 0};
    listing->files = json_object_get(page, "files");
    listing->prefixes = json_object_get(page, "prefixes");
    if (!json_is_array(listing->files) ||
        (listing->prefixes != NULL && !json_is_array(listing->prefixes))) {
        return err_set(err, ERR_PEER, "the answer is not a listing");
    }
    TRY(json_get_optional_str(page, "next", &next, err));
    TRY(json_get_optional_str(page, "next_version", &version, err));
    listing->last = next.ptr == NULL;
    bool same = str_eq(next, buf_str(&listing->after)) &&
                str_eq(version, buf_str(&listing->after_version));
    if (!listing->last && (next.len == 0 || same)) {
        return err_set(err, ERR_PEER, "the listing does not come forward");
    }
    buf_clear(&listing->after);
    buf_clear(&listing->after_version);
    TRY(buf_append_str(&listing->after_version, version, err));
    return buf_append_str(&listing->after, next, err);
}

static ErrCode fetch(Listing *listing, Err *err)
{
    ClientCall *call = &listing->call;
    json_free(TAKE(listing->page));
    listing->files = listing->prefixes = NULL;
    listing->file_at = listing->prefix_at = 0;
    buf_clear(&listing->target);
    TRY(buf_append_str(&listing->target, buf_str(&listing->base), err));
    if (listing->after.len > 0) {
        TRY(buf_append_str(&listing->target, STR("&after="), err));
        TRY(uri_encode(&listing->target, URI_ENCODE_ALL, buf_str(&listing->after), err));
    }
    if (listing->after_version.len > 0) {
        TRY(buf_append_str(&listing->target, STR("&after_version="), err));
        TRY(uri_encode(&listing->target, URI_ENCODE_ALL, buf_str(&listing->after_version), err));
    }
    TRY(buf_append_zeros(&listing->target, 1, err));
    call->method = "GET";
    call->target = (const char *)listing->target.data;
    TRY(client_run(listing->options.client, call, &listing->options.retry, err));
    json_t *page = NULL;
    ErrCode code = json_parse(buf_str(&call->answer), &page, err);
    if (code != OK) return err_wrap(err, ERR_PEER, "the listing");
    listing->page = page;
    buf_clear(&call->answer);
    return take_page(listing, page, err);
}

static Str prefix_at(const Listing *listing)
{
    const json_t *value = json_array_get(listing->prefixes, listing->prefix_at);
    return str_of(json_string_value(value), json_string_length(value));
}

ErrCode listing_next(Listing *listing, ListingEntry *out, bool *found, Err *err)
{
    for (;;) {
        size_t files = json_array_size(listing->files);
        size_t prefixes = json_array_size(listing->prefixes);
        if (listing->file_at < files || listing->prefix_at < prefixes) break;
        if (listing->page != NULL && listing->last) {
            *found = false;
            return OK;
        }
        TRY(fetch(listing, err));
    }
    ListingEntry entry = {0};
    bool has_file = listing->file_at < json_array_size(listing->files);
    bool has_prefix = listing->prefix_at < json_array_size(listing->prefixes);
    if (has_file) {
        TRY(remote_file_parse(json_array_get(listing->files, listing->file_at), &entry.file, err));
    }
    if (has_prefix && (!has_file || str_cmp(prefix_at(listing), entry.file.key) < 0)) {
        entry = (ListingEntry){.is_prefix = true, .file = {.key = prefix_at(listing)}};
        listing->prefix_at++;
    } else {
        listing->file_at++;
    }
    *out = entry;
    *found = true;
    return OK;
}
