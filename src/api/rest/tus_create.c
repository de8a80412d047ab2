/* POST /v1/uploads: a new upload, with its first bytes or without. */
#include "api/rest/tus_priv.h"

#include <inttypes.h>
#include <string.h>

#include "api/door_headers.h"
#include "text/base64.h"
#include "text/uri.h"

/* --- Upload-Metadata: name BASE64, name BASE64, … --- */

typedef struct {
    RestCall *call;
    Buf meta; /* names and values for ATTR_USER_META */
    Str bucket;
    Str key;
    size_t meta_bytes;
} Metadata;

/* A name of user metadata is told as a header, Holdfast-Meta-NAME. */
static bool is_token(Str name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!good && (c == '\0' || strchr(others, c) == NULL)) return false;
    }
    return name.len > 0;
}

static ErrCode add_meta(Metadata *metadata, Str name, Str value, Err *err)
{
    if (!str_is_utf8(value))
        return err_set(err, ERR_INVALID, "Upload-Metadata: %.*s is not UTF-8", STR_ARG(name));
    metadata->meta_bytes += name.len + value.len;
    if (metadata->meta_bytes > USER_META_MAX)
        return err_set(err, ERR_HEADERS_TOO_LARGE, "metadata may have %d bytes together",
                       (int)USER_META_MAX);
    return rest_pairs_add(&metadata->meta, name, value, err);
}

/* Names that say what the file is; all others are kept as its metadata. filename and filetype are
 * what tus clients send of their own. */
static ErrCode take_pair(Metadata *metadata, Str name, Str value, Err *err)
{
    RestCall *call = metadata->call;
    if (str_eq(name, STR("bucket"))) {
        metadata->bucket = value;
    } else if (str_eq(name, STR("key"))) {
        metadata->key = value;
    } else if (str_eq(name, STR("content_type")) || str_eq(name, STR("filetype"))) {
        if (memchr(value.ptr, '\0', value.len) != NULL || !str_is_utf8(value))
            return err_set(err, ERR_INVALID, "Upload-Metadata: %.*s is no media type",
                           STR_ARG(name));
        return rest_set_type(call, value, err);
    } else if (str_eq(name, STR("filename"))) {
        return rest_set_file_name(call, value, err);
    } else {
        return add_meta(metadata, name, value, err);
    }
    return OK;
}

static ErrCode bad_pair(Str pair, Err *err)
{
    return err_set(err, ERR_INVALID, "Upload-Metadata: \"%.*s\" is not like NAME BASE64",
                   (int)MIN(pair.len, (size_t)60), pair.ptr);
}

static ErrCode read_pair(Metadata *metadata, Str pair, Err *err)
{
    Str name;
    Str encoded;
    bool has_value = str_split(pair, ' ', &name, &encoded);
    encoded = has_value ? str_trim(encoded) : STR(""); /* a name alone */
    size_t room = encoded.len / 4 * 3 + 1;
    uint8_t *bytes = arena_alloc(http_request_arena(metadata->call->req), room);
    if (bytes == NULL) return err_set(err, ERR_NO_MEMORY, "the request's memory is used up");
    size_t len = 0;
    if (!is_token(name) || !base64_decode(encoded, bytes, room, &len)) return bad_pair(pair, err);
    return take_pair(metadata, name, str_of(bytes, len), err);
}

static ErrCode read_metadata(Metadata *metadata, Str header, Err *err)
{
    Str rest = header;
    bool more = str_trim(header).len > 0;
    while (more) {
        Str pair;
        more = str_split(rest, ',', &pair, &rest);
        TRY(read_pair(metadata, str_trim(pair), err));
    }
    if (metadata->meta.len == 0) return OK;
    Buf *attrs = &metadata->call->attrs;
    TRY(attr_set(attrs, ATTR_USER_META, buf_str(&metadata->meta), err));
    return door_headers_fit(buf_str(attrs), err);
}

/* --- what the request asks for --- */

static ErrCode read_length(RestCall *call, UploadRecord *record, Err *err)
{
    Str defer = http_request_header(call->req, STR("upload-defer-length"));
    TRY(tus_number(call, STR("upload-length"), &record->has_length, &record->length, err));
    if (defer.ptr != NULL && !str_eq(defer, STR("1")))
        return err_set(err, ERR_INVALID, "Upload-Defer-Length can only be 1");
    if ((defer.ptr != NULL) == record->has_length)
        return err_set(err, ERR_INVALID, "either Upload-Length or Upload-Defer-Length is needed");
    if (record->length > BODY_SIZE_MAX)
        return err_set(err, ERR_TOO_LARGE, "a file has at most %" PRIu64 " bytes",
                       (uint64_t)BODY_SIZE_MAX);
    return OK;
}

static ErrCode read_conditions(RestCall *call, UploadRecord *record, Err *err)
{
    static const char *const others[] = {"if-match", "if-modified-since", "if-unmodified-since"};
    Str none = http_request_header(call->req, STR("if-none-match"));
    record->create_only = none.ptr != NULL;
    bool good = none.ptr == NULL || str_eq(none, STR("*"));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        good = good && http_request_header(call->req, str_from_cstr(others[i])).ptr == NULL;
    if (!good)
        return err_set(err, ERR_NOT_IMPLEMENTED,
                       "the only condition of an upload is If-None-Match: *");
    if (http_request_header(call->req, STR("holdfast-expires")).ptr != NULL)
        return err_set(err, ERR_NOT_IMPLEMENTED,
                       "Holdfast-Expires is taken by POST and PUT of files, not by an upload");
    return OK;
}

/* Bucket and key: of the metadata, else of the query. */
static ErrCode read_target(RestCall *call, Metadata *metadata, UploadRecord *record, Err *err)
{
    Arena *arena = http_request_arena(call->req);
    Str query = http_request_query(call->req);
    bool found = false;
    BucketRecord bucket;
    if (metadata->bucket.ptr == NULL)
        TRY(uri_query_get(arena, query, STR("bucket"), &found, &metadata->bucket, err));
    if (metadata->key.ptr == NULL)
        TRY(uri_query_get(arena, query, STR("key"), &found, &metadata->key, err));
    if (metadata->bucket.ptr == NULL)
        return err_set(err, ERR_INVALID, "Upload-Metadata says no bucket, nor does ?bucket=");
    TRY(auth_allows_some(&call->identity, RIGHT_WRITE, metadata->bucket, err));
    if (!buckets_find(service_buckets(call->service), metadata->bucket, &bucket))
        return err_set(err, ERR_NO_BUCKET, "there is no such bucket");
    if (metadata->key.ptr == NULL) { /* a name that nobody has */
        char text[ID128_TEXT_LEN + 1];
        id128_text(id128_random(&call->loop->rng), text);
        metadata->key = arena_dup(arena, str_from_cstr(text));
        record->create_only = true;
    }
    TRY(auth_allows_file(&call->identity, RIGHT_WRITE, metadata->bucket, metadata->key, err));
    if (!key_valid(metadata->key))
        return err_set(err, metadata->key.len > KEY_MAX ? ERR_KEY_TOO_LONG : ERR_BAD_NAME,
                       "a key has 1 to %d bytes of UTF-8 without NUL", KEY_MAX);
    record->bucket = bucket.uid;
    record->key = metadata->key;
    /* What no deletion could make room for; the rest is decided when the file comes to be. */
    if (bucket.quota_bytes > 0 && record->length > bucket.quota_bytes)
        return err_set(err, ERR_QUOTA_EXCEEDED,
                       "%" PRIu64 " bytes are more than the bucket's quota of %" PRIu64,
                       record->length, bucket.quota_bytes);
    return OK;
}

/* A file that must be new is refused now if it is there, not after the last byte. */
static ErrCode check_new(RestCall *call, const UploadRecord *record, Str bucket, Err *err)
{
    StoreFound found;
    if (!record->create_only) return OK;
    if (call->loop->reader == NULL)
        TRY(service_reader_open(call->service, &call->loop->reader, err));
    ErrCode code = service_find(call->loop->reader, bucket, record->key, NULL, &found, err);
    if (code == OK) return err_set(err, ERR_EXISTS, "there is already a file of this name");
    return code == ERR_NOT_FOUND ? OK : code;
}

/* The first bytes of the upload, if it comes with any. */
static ErrCode check_body(RestCall *call, const UploadRecord *record, Err *err)
{
    uint64_t length = 0;
    bool known = http_request_length(call->req, &length);
    Str type = http_request_header(call->req, STR("content-type"));
    if (known && length == 0) return OK;
    if (!str_eq_nocase(type, STR("application/offset+octet-stream")))
        return err_set(err, ERR_MEDIA_TYPE,
                       "a body is taken as application/offset+octet-stream only");
    if (known && record->has_length && length > record->length)
        return err_set(err, ERR_TOO_LARGE, "the body is longer than Upload-Length");
    HashKind kind;
    uint8_t wanted[TUS_CHECKSUM_MAX];
    size_t len = 0;
    return tus_read_checksum(call, &kind, wanted, &len, err);
}

static ErrCode read_request(RestCall *call, UploadRecord *record, Err *err)
{
    Metadata metadata = {.call = call, .bucket = {NULL, 0}, .key = {NULL, 0}};
    record->metadata = http_request_header(call->req, STR("upload-metadata"));
    record->owner = call->identity.name;
    buf_init(&metadata.meta, 2 * USER_META_MAX);
    ErrCode code = read_length(call, record, err);
    if (code == OK) code = read_conditions(call, record, err);
    if (code == OK) code = rest_read_repr_digest(call, err);
    if (code == OK) code = read_metadata(&metadata, record->metadata, err);
    if (code == OK) code = read_target(call, &metadata, record, err);
    buf_deinit(&metadata.meta);
    TRY(code);
    TRY(check_new(call, record, metadata.bucket, err));
    TRY(check_body(call, record, err));
    return service_admit_upload(call->service, record->length, err);
}

static void created(RestCall *call)
{
    Mutation *m = &call->mutation;
    UploadFound upload;
    Err err = {0};
    if (m->code != OK) {
        rest_answer_error(call, m->code, &m->err);
        return;
    }
    char id[ID128_TEXT_LEN + 1];
    id128_text(m->row.file, id);
    http_header_addf(call->req, "Location", "/v1/uploads/%s", id);
    upload_found_init(&upload);
    upload.id = m->row.file;
    upload.version = m->row.version;
    Str record;
    ErrCode code = buf_append_str(&upload.attrs, m->row.attrs, &err);
    if (code == OK && !attr_get(buf_str(&upload.attrs), ATTR_UPLOAD_RECORD, &record))
        code = err_set(&err, ERR_CORRUPT, "the new upload has no record");
    if (code == OK) code = upload_record_decode(record, &upload.record, &err);
    if (code != OK) {
        upload_found_deinit(&upload);
        rest_answer_error(call, code, &err);
        return;
    }
    tus_take_body(call, &upload);
}

void rest_tus_create(RestCall *call)
{
    UploadRecord record = {.has_length = false};
    Mutation *m = &call->mutation;
    Err err = {0};
    if (!tus_begin(call)) return;
    ErrCode code = read_request(call, &record, &err);
    AUTO_BUF(attrs, ATTRS_MAX);
    record.attrs = buf_str(&call->attrs);
    uint64_t now_ms = clock_wall_ms(call->rest->options.clock);
    record.expires_ms = now_ms + call->rest->options.upload_expiry_ms;
    if (code == OK) code = upload_attrs(&record, &attrs, &err);
    if (code == OK) {
        buf_clear(&call->attrs); /* the record has them; now they are the row's */
        code = buf_append_str(&call->attrs, buf_str(&attrs), &err);
    }
    BucketRecord bucket;
    bool there = code == OK &&
                 buckets_by_uid(service_buckets(call->service), record.bucket, &bucket);
    if (code == OK && !there) code = err_set(&err, ERR_NO_BUCKET, "there is no such bucket");
    if (code == OK) code = rest_require(call, bucket.placement_class, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->bucket = record.bucket;
    call->shard = service_shard(call->service, &bucket, record.key);
    m->type = MUTATION_CREATE;
    m->upload = true;
    m->file = file_id_make(call->shard, now_ms, &call->loop->rng);
    m->attrs = buf_str(&call->attrs);
    m->digest = sha256_of("", 0);
    rest_submit(call, created);
}
