/* What the files of the S3 door share. */
#ifndef HOLDFAST_API_S3_S3_PRIV_H
#define HOLDFAST_API_S3_S3_PRIV_H

#include "api/body/download.h"
#include "api/s3/s3.h"
#include "auth/aws_chunked.h"
#include "base/rng.h"
#include "service/parts.h"
#include "text/xml.h"

#define S3_BODY_MAX (5 * GIB) /* bytes of one PUT, and of a copy */
#define S3_FIND_TRIES 8       /* look-ups of a file whose bytes keep moving */
#define S3_USER_META_MAX (2 * KIB)
#define S3_TYPE_DEFAULT "binary/octet-stream" /* of a file that has no type */
/* Who owns everything: S3 shows 64 hex digits. */
#define S3_OWNER_ID "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"
#define S3_XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

typedef enum {
    S3_ERR_NONE,
#define S3_ERROR(name, text_code, status, code, text) S3_ERR_##name,
#include "api/s3/errors.def"
#undef S3_ERROR
    S3_ERR_COUNT
} S3Error;

/* Operations as metrics name them. */
typedef enum {
    S3_OP_NONE,
    S3_OP_PUT,
    S3_OP_COPY,
    S3_OP_GET,
    S3_OP_HEAD,
    S3_OP_ATTRIBUTES,
    S3_OP_ACL,
    S3_OP_PREFLIGHT,
    S3_OP_TAGS_GET,
    S3_OP_TAGS_PUT,
    S3_OP_TAGS_DELETE,
    S3_OP_DELETE,
    S3_OP_DELETE_MANY,
    S3_OP_LIST,
    S3_OP_UPLOAD_CREATE,
    S3_OP_UPLOAD_PART,
    S3_OP_UPLOAD_PART_COPY,
    S3_OP_UPLOAD_COMPLETE,
    S3_OP_UPLOAD_ABORT,
    S3_OP_UPLOAD_LIST,
    S3_OP_BUCKET_PUT,
    S3_OP_BUCKET_GET,
    S3_OP_BUCKET_DELETE,
    S3_OP_BUCKET_LIST,
    S3_OP_COUNT
} S3Op;

typedef enum { S3_SERVICE, S3_BUCKET, S3_OBJECT } S3Scope; /* what an address names */

typedef struct S3Call S3Call;
typedef struct S3Upload S3Upload;
typedef struct S3Form S3Form;
typedef struct S3DeleteMany S3DeleteMany;
typedef struct S3Multipart S3Multipart;

typedef struct {
    HttpMethod method;
    S3Scope scope;
    const char *param; /* of the query, which must be there; NULL: none */
    S3Op op;
    unsigned rights; /* of Right */
    void (*run)(S3Call *call);
    S3Error error; /* without run: the answer, if the bucket is there */
} S3Route;

/* The route of a request: by method, scope and the parameter that names something of its own. NULL
 * is S3's NotImplemented. */
const S3Route *s3_route(S3Call *call);

/* Of one loop, touched by its thread only. */
typedef struct {
    ServiceReader *reader; /* NULL until first needed */
    Rng rng;
    KeyView keys;
    SigV4Cache signing;
} S3Loop;

struct S3 {
    S3Options options;
    _Atomic(Service *) service; /* NULL: not there yet */
    _Atomic bool access_log;
    S3Loop *loops;
};

/* Checksums that clients choose from; the numbers are stored (docs/format.md). */
typedef enum {
    S3_CHECKSUM_NONE = 0,
    S3_CHECKSUM_CRC32 = 1,
    S3_CHECKSUM_CRC32C = 2,
    S3_CHECKSUM_CRC64NVME = 3,
    S3_CHECKSUM_SHA1 = 4,
    S3_CHECKSUM_SHA256 = 5
} S3Algorithm;
#define S3_CHECKSUM_MAX 32 /* bytes */
/* The second byte of ATTR_CHECKSUM. */
#define S3_CHECKSUM_FULL_OBJECT 0
#define S3_CHECKSUM_COMPOSITE 1 /* of the parts' checksums; how many they are follows, u16 */

/* What a body is held against, and what is made of it. */
typedef struct {
    bool of_object; /* x-amz-checksum-… is not of this body */
    bool has_md5;
    uint8_t wanted_md5[MD5_LEN]; /* Content-MD5 */
    S3Algorithm algorithm;
    bool in_trailer; /* its value comes behind the body */
    bool has_checksum;
    uint8_t wanted[S3_CHECKSUM_MAX];
    /* Made while the body comes. */
    HashCtx *md5;
    Md5Stream *stream; /* makes the MD5 instead, of pieces that are given away; NULL: none */
    HashCtx *sha1;
    uint64_t crc;
    uint8_t made_md5[MD5_LEN];
} S3Checks;

/* A file that was found; its views are in the request's arena. */
typedef struct {
    FileRow row; /* without extents */
    Str bucket;  /* name */
    Str key;
} S3File;

/* One request. Lives in its arena; what it owns is given back when the request ends. */
struct S3Call {
    DownloadSlot out; /* first */
    S3 *s3;
    S3Loop *loop;
    HttpRequest *req;
    const S3Route *route;
    Service *service;
    KeyHold *keys; /* that it is held against; NULL: no key was looked for */
    SigV4 auth;    /* views into it */
    Str bucket;    /* name; empty: the service is meant */
    Str key;       /* decoded; empty: the bucket is meant */
    /* Those of the request, and behind them what its address says in their place; NULL: not known
     * yet. */
    const HttpHeader *headers;
    size_t header_count;
    S3Error refusal; /* S3's own code of what is refused */
    uint64_t start_ns;
    int status;   /* answered */
    ErrCode code; /* why, if it is a refusal */
    bool audited; /* the audit log has its line */
    uint64_t bytes_in;
    uint64_t bytes_out;
    /* A change. */
    Mutation mutation;
    bool changed;          /* something is done, by whatever mutation: never tell otherwise */
    bool has_room;         /* the answer's memory is charged already */
    Durability durability; /* of what was done or is given back; copies 0: of nothing */
    LoopTask task;
    void (*then)(S3Call *call); /* with the mutation's answer */
    Buf attrs;
    Buf body; /* small body */
    S3Checks checks;
    BucketUid bucket_uid;
    ShardId shard;
    ErrCode (*on_xml)(S3Call *call, Str xml, Err *err);
    AwsChunked *chunked; /* NULL: the body is not cut */
    S3Upload *upload;
    S3Form *form; /* the body is one; NULL: it is the content itself */
    bool is_copy;
    S3Multipart *multipart; /* an upload in parts */
    unsigned part;          /* the body is this one's; of a GET: it is asked for */
    unsigned parts_count;   /* of the file that is sent; 0: it did not come in parts */
    S3DeleteMany *delete_many;
    /* A content that is sent. */
    S3File *file;
    bool has_version; /* that is asked for: */
    VersionId version;
    bool was_marker;    /* a delete marker */
    uint64_t part_from; /* of the part that is asked for */
    uint64_t part_end;
    unsigned tries;
    bool partial;
    uint64_t range_from;
    uint64_t range_end;
};

/* --- s3.c --- */
/* The reader of the call's loop. */
MUST_USE ErrCode s3_reader(S3Call *call, ServiceReader **out, Err *err);
/* Decoded query parameter; ptr NULL: it is not there. ERR_INVALID. */
MUST_USE ErrCode s3_query(S3Call *call, const char *name, Str *value, Err *err);
/* The same of a key or a part of one: ERR_KEY_TOO_LONG. */
MUST_USE ErrCode s3_query_name(S3Call *call, const char *name, Str *value, Err *err);
bool s3_has_param(const S3Call *call, const char *name);
/* ptr NULL: it is not there. A presigned address can have x-amz-… parameters in place of
 * headers. */
Str s3_header(const S3Call *call, const char *name);
/* Gives the call's mutation to the engine; then(call) runs on the loop, mutation.code set. */
void s3_submit(S3Call *call, void (*then)(S3Call *call));
/* Who sends it? Sets call->refusal. */
MUST_USE ErrCode s3_authenticate(S3Call *call, Err *err);
/* The same of a form with a policy. */
MUST_USE ErrCode s3_authenticate_policy(S3Call *call, const SigV4Policy *shown, Err *err);
/* The same by Signature Version 2, if that is taken. */
MUST_USE ErrCode s3_authenticate_policy_v2(S3Call *call, Str key_id, Str signature, Str policy,
                                           Err *err);

/* --- answer.c: final, like http_respond() --- */
/* Sets S3's own code of a refusal, and *is* the ErrCode: err gets S3's text unless text is given.*/
ErrCode s3_refuse(S3Call *call, S3Error error, const char *text, Err *err);
/* The same, where err has the text already. */
ErrCode s3_refuse_as(S3Call *call, S3Error error);
ErrCode s3_error_code(S3Error error);
/* By call->refusal if that is set, else by code. */
void s3_answer_error(S3Call *call, ErrCode code, const Err *err);
/* Holdfast-Durability, if the call has any; the answers below add it. */
void s3_durability_header(S3Call *call);
void s3_answer_empty(S3Call *call, int status);
/* XML made by writer into xml (a local Buf; its memory is taken over). */
void s3_answer_xml(S3Call *call, XmlWriter *writer, Buf *xml);
void s3_answer_xml_status(S3Call *call, int status, XmlWriter *writer, Buf *xml);
/* The code and text that one of many is refused with. */
const char *s3_code_text(ErrCode code);
const char *s3_text(ErrCode code, const Err *err);

/* --- attrs.c --- */
/* Each x-amz-… header is one that is understood, and asks for nothing that is not there. */
MUST_USE ErrCode s3_check_headers(S3Call *call, Err *err);
/* Content-Type, metadata, kept headers into call->attrs. */
MUST_USE ErrCode s3_read_attrs(S3Call *call, Err *err);
/* A condition's header as RFC 9110 has it: S3 takes an etag without quotes. */
MUST_USE ErrCode s3_condition(S3Call *call, const char *name, Str *condition, Err *err);
/* ERR_PRECONDITION in S3's words. */
ErrCode s3_no_precondition(Err *err);
/* If-Match and If-None-Match of the file that call->mutation is about. */
MUST_USE ErrCode s3_target_conditions(S3Call *call, Err *err);
/* The headers of a content. */
void s3_file_headers(S3Call *call, const S3File *file);
/* Those of 304. */
void s3_unchanged_headers(S3Call *call, const FileRow *row);
bool s3_pairs_next(Dec *pairs, Str *name, Str *value);
/* "\"etag\"" of a row. */
void s3_etag_header(S3Call *call, const FileRow *row);

/* --- hoisted.c --- */
/* Sets call->headers. */
MUST_USE ErrCode s3_take_headers(S3Call *call, Err *err);

/* --- checks.c --- */
/* Reads Content-MD5 and x-amz-checksum-… into call->checks. */
MUST_USE ErrCode s3_checks_read(S3Call *call, Err *err);
void s3_checks_begin(S3Call *call);
void s3_checks_update(S3Checks *checks, const void *data, size_t len);
/* Before the first byte: from now on s3_checks_update() leaves the MD5 out, and each piece that it
 * was given goes to the thread by s3_checks_hand_over(), which may wait. On a worker. */
void s3_checks_begin_stream(S3Checks *checks, Md5Thread *thread);
void s3_checks_hand_over(S3Checks *checks, Buffer *piece);
/* The body is over: is it what was announced? Sets etag and checksum in call->attrs. Any thread
 * that has the call. *error: why not. */
MUST_USE ErrCode s3_checks_end(S3Call *call, const Sha256 *sha256, S3Error *error, Err *err);
/* The body is given up: a stream, if there is one, ends. On a worker, for it may wait. */
void s3_checks_stop(S3Checks *checks);
void s3_checks_deinit(S3Checks *checks);
/* Adds x-amz-checksum-… of a version. */
void s3_checksum_header(S3Call *call, Str attrs);
/* The same of a part, which has no kind of its own. */
void s3_part_checksum_header(S3Call *call, Str attrs);
/* The same in XML. */
void s3_part_checksum_xml(XmlWriter *xml, const UploadPart *part);
/* The same of an answer in XML. */
void s3_checksum_xml(XmlWriter *xml, Str attrs);
/* Of one algorithm. */
typedef struct {
    const char *name;   /* of x-amz-checksum-algorithm */
    const char *header; /* and its trailer */
    const char *xml;
    size_t len;
} S3Checksum;
extern const S3Checksum s3_checksums[S3_CHECKSUM_SHA256 + 1]; /* by S3Algorithm */
/* wanted bytes of Base64; false: it is not so. */
bool s3_checksum_decode(Str value, size_t wanted, uint8_t *out);
/* Makes ATTR_CHECKSUM of a file of parts, all of which have to have one by algorithm; len 0: it
 * gets none. out has PART_CHECKSUM_MAX + 2 bytes. */
size_t s3_checksum_of_parts(const UploadPart *parts, size_t count, S3Algorithm algorithm,
                            bool full_object, uint8_t *out);
/* What the client says that ATTR_CHECKSUM has to be, in a header. */
MUST_USE ErrCode s3_checksum_compare(S3Call *call, Str checksum, Err *err);
/* x-amz-checksum-algorithm and -type of CreateMultipartUpload. */
MUST_USE ErrCode s3_checksum_kind(S3Call *call, S3Algorithm *algorithm, bool *full_object,
                                  Err *err);
/* The value of ChecksumCRC32 and the like; NONE: that is no such element. ERR_INVALID. */
MUST_USE ErrCode s3_checksum_element(Str name, Str text, S3Algorithm *algorithm, uint8_t *out,
                                     Err *err);
/* What the answer to CreateMultipartUpload and ListParts tells: "COMPOSITE", "FULL_OBJECT". */
const char *s3_checksum_type(bool full_object);
S3Algorithm s3_algorithm(Str name); /* "CRC32"; NONE: there is no such */

/* --- body.c --- */
/* Bytes of the content, which S3 wants to know before. */
MUST_USE ErrCode s3_body_length(S3Call *call, uint64_t *length, Err *err);
/* Before the first byte of a content of that length. */
void s3_body_begin(S3Call *call, uint64_t length);
/* Takes apart all of a body in place, if it is cut: data[0..*out_len) is the content. */
MUST_USE ErrCode s3_body_decode(S3Call *call, uint8_t *data, size_t len, size_t *out_len, Err *err);
/* Of aws_chunked's results. */
MUST_USE ErrCode s3_chunked_error(AwsChunkedResult result, S3Error *error, Err *err);
/* Takes a body of at most max bytes of XML, held against all that was announced of it; fn answers,
 * unless it fails. */
void s3_collect_xml(S3Call *call, size_t max, ErrCode (*fn)(S3Call *call, Str xml, Err *err));

/* --- form.c --- */
/* Is it a POST of a form to a bucket? */
bool s3_is_form(const S3Call *call);
/* Takes the form apart as it comes; what its fields ask for is decided where its file begins. */
void s3_form(S3Call *call);
/* Leaves in the buffer only bytes of the file, behind those of *carry. */
MUST_USE ErrCode s3_form_filter(S3Call *call, Buffer *buffer, Str *carry, Err *err);
/* The body is over: sets the mutation's size. */
MUST_USE ErrCode s3_form_end(S3Call *call, Err *err);
void s3_form_done(S3Call *call); /* answers: the file is there */
void s3_form_free(S3Form *form); /* NULL is fine */

/* --- upload.c --- */
/* Takes the body in pieces: a small one goes to s3_put_inline(), a larger one into blobs and then
 * to s3_put_stored(). */
void s3_upload(S3Call *call);
/* What of a file of ours is copied. */
typedef struct {
    Extent *extents; /* count of them, heap memory, taken over; NULL: memory has the file */
    uint32_t count;
    Store *store; /* that they were found in */
    Str memory;
    uint64_t from; /* bytes from … up to end */
    uint64_t end;
    const S3File *file;
} S3CopySource;
/* The same with bytes of a file of ours. */
void s3_upload_copy(S3Call *call, const S3CopySource *source);
/* After a refusal of the mutation: removes what was stored, then answers. */
void s3_upload_remove(S3Call *call, ErrCode code, const Err *err);
void s3_upload_free(S3Upload *upload); /* NULL is fine */

/* --- put.c --- */
/* Takes a body of that length, which is the mutation's; everything else of that is set. */
void s3_put_body(S3Call *call, uint64_t length);
/* A small body is there whole; it stays until the request ends. */
void s3_put_inline(S3Call *call, Str body);
/* The body of the mutation is stored and was checked. */
void s3_put_stored(S3Call *call);
/* Bucket and key of the mutation, before the body is taken. */
MUST_USE ErrCode s3_check_name(S3Call *call, Err *err);

/* --- get.c --- */
/* A copy of what was found in the call's arena. */
MUST_USE ErrCode s3_file_copy(S3Call *call, const StoreFound *found, Str bucket, S3File *out,
                              Err *err);
MUST_USE ErrCode s3_extents_copy(const StoreFound *found, Extent **out, Err *err);

/* The version that the address names, or the current one; a view into the loop's reader. */
MUST_USE ErrCode s3_find_object(S3Call *call, StoreFound *found, Err *err);
/* How many parts a file came in; 0: it came as one body. */
unsigned s3_parts_of(const FileRow *row);

/* --- cors.c --- */
/* Into the answer, whatever it will be: what the bucket's rules tell a page of another origin. */
void s3_cors_headers(S3Call *call);

/* --- tagging.c --- */
/* x-amz-tagging into call->attrs. */
MUST_USE ErrCode s3_read_tags(S3Call *call, Err *err);
/* A document of tags likewise. */
MUST_USE ErrCode s3_read_tags_xml(S3Call *call, Str xml, Err *err);
/* x-amz-tagging-count, if there are any. */
void s3_tags_header(S3Call *call, Str attrs);
/* Sets (or with value.ptr NULL removes) an attribute of the call's bucket; then(call) answers. */
void s3_bucket_set_attr(S3Call *call, AttrType type, Str value, void (*then)(S3Call *call));

/* --- versions.c --- */
/* The text of a version: "null", or its own. */
void s3_version_text(const FileRow *row, char out[VERSION_ID_TEXT_LEN + 1]);
/* x-amz-version-id of a version of the call's bucket, if that keeps versions. */
void s3_version_header(S3Call *call, const FileRow *row);
/* The version of a text; zero: where a bucket keeps none, "null" is the only one that there is.
 * ERR_INVALID; the refusal NoSuchVersion. */
MUST_USE ErrCode s3_version_named(S3Call *call, Str bucket, Str key, Str text, VersionId *out,
                                  Err *err);
/* The same of ?versionId=, if it is there, into call->version. */
MUST_USE ErrCode s3_check_version(S3Call *call, Err *err);
/* ERR_INVALID: it is there. */
MUST_USE ErrCode s3_refuse_version(S3Call *call, Err *err);
/* What is told of service_find()'s ERR_NOT_FOUND, and whether it is for a delete marker; named: a
 * version was asked for. */
ErrCode s3_not_found(S3Call *call, const StoreFound *found, bool named, Err *err);

void s3_delete_many_free(S3DeleteMany *many); /* NULL is fine */

/* --- multipart.c --- */
struct S3Multipart {
    UploadFound upload;
    PartsRemoval removal;
    void (*removed)(S3Call *call);
    Extent *extents; /* of the file to be */
};
void s3_multipart_free(S3Multipart *multipart); /* NULL is fine */
/* Looks ?uploadId= up, into call->multipart; it is of this bucket and key, or its file
 * (upload.done) is. Sets the refusal NoSuchUpload. */
MUST_USE ErrCode s3_find_upload(S3Call *call, Err *err);
/* The same; NoSuchUpload if it is over. */
MUST_USE ErrCode s3_find_open_upload(S3Call *call, Err *err);
/* Deletes the upload's parts, with row its row before; then(call) runs on the loop. What stays for
 * a failure the sweep of uploads takes away. */
void s3_remove_parts(S3Call *call, bool row, void (*then)(S3Call *call));
/* ?partNumber=; ERR_INVALID. */
MUST_USE ErrCode s3_part_number(S3Call *call, unsigned *out, Err *err);
/* Before a body of a part: the mutation, and what it is held against. ERR_INVALID: it has a
 * checksum of another kind than the upload. */
MUST_USE ErrCode s3_part_begin(S3Call *call, Err *err);
/* --- list.c --- */
/* A name as encoding-type asks for it. */
void s3_write_name(XmlWriter *xml, bool url, const char *element, Str name);
void s3_write_owner(XmlWriter *xml, const char *element);
/* The text of a number in the query, at most max, which it is without one. ERR_INVALID. */
MUST_USE ErrCode s3_query_number(S3Call *call, const char *name, uint64_t max, uint64_t *out,
                                 Err *err);

/* --- audit.c --- */
/* Once a request, when status and code are known and nothing was sent yet. */
void s3_audit(S3Call *call);
/* A file of many that are deleted by one request. */
void s3_audit_deleted(S3Call *call, Str key, ErrCode code);
/* ERR_BUSY: it is a change, which must not be made now. */
MUST_USE ErrCode s3_audit_allows(const S3Call *call, Err *err);

/* --- metrics.c --- */
const char *s3_op_name(S3Op op);
void s3_metrics_register(void);
void s3_metrics_begin(void);
void s3_metrics_end(const S3Call *call, uint64_t ns);

/* --- handlers, named by routes.c --- */
void s3_bucket_list(S3Call *call);
void s3_bucket_put(S3Call *call);
void s3_bucket_head(S3Call *call);
void s3_bucket_delete(S3Call *call);
void s3_bucket_location(S3Call *call);
void s3_bucket_versioning(S3Call *call);
void s3_bucket_set_versioning(S3Call *call);
void s3_list_versions(S3Call *call);
void s3_bucket_cors(S3Call *call);
void s3_bucket_set_cors(S3Call *call);
void s3_bucket_drop_cors(S3Call *call);
void s3_bucket_unset(S3Call *call);
void s3_bucket_drop_unset(S3Call *call);
void s3_preflight(S3Call *call); /* of whoever: it is not signed */
void s3_acl(S3Call *call);       /* of a bucket, or of an object */
void s3_set_acl(S3Call *call);
void s3_attributes(S3Call *call);
void s3_object_unset(S3Call *call);
void s3_bucket_uploads(S3Call *call);
void s3_bucket_tags(S3Call *call);
void s3_bucket_set_tags(S3Call *call);
void s3_bucket_drop_tags(S3Call *call);
void s3_object_tags(S3Call *call);
void s3_object_set_tags(S3Call *call);
void s3_object_drop_tags(S3Call *call);
void s3_list(S3Call *call);
void s3_put(S3Call *call);
void s3_copy(S3Call *call); /* a PUT with x-amz-copy-source */
void s3_get(S3Call *call);
void s3_delete(S3Call *call);
void s3_delete_many(S3Call *call);
void s3_multipart_create(S3Call *call);
void s3_part_put(S3Call *call);
void s3_part_copy(S3Call *call); /* a PUT of a part with x-amz-copy-source */
void s3_multipart_complete(S3Call *call);
void s3_multipart_abort(S3Call *call);
void s3_part_list(S3Call *call);

#endif
