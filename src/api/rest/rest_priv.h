/* What the files of the REST door share. */
#ifndef HOLDFAST_API_REST_REST_PRIV_H
#define HOLDFAST_API_REST_REST_PRIV_H

#include "api/body/download.h"
#include "api/rest/describe.h"
#include "api/rest/rest.h"
#include "base/rng.h"
#include "http/form.h"
#include "http/range.h"
#include "http/router.h"
#include "text/json.h"

#define BODY_SIZE_MAX (5 * 1024 * GIB) /* bytes of one file */
#define FIND_TRIES 8                   /* look-ups of a file whose bytes keep moving */
#define QUOTA_MAX ((1ULL << 53) - 1)   /* what every reader of JSON knows exactly */
#define USER_META_MAX (8 * KIB)        /* bytes of names and values of Holdfast-Meta-… */
#define REST_TYPE_DEFAULT "application/octet-stream" /* of a file that has no type */
#define FILE_JSON_MAX (1 * MIB) /* of one FILE object, every byte of it escaped */
#define FILE_JSON_USUAL 768     /* bytes that most take */

/* Operations as metrics name them; metrics.c has their names. */
typedef enum {
    REST_OP_NONE, /* no route fitted */
    REST_OP_PUT,
    REST_OP_POST,
    REST_OP_GET,
    REST_OP_HEAD,
    REST_OP_DELETE,
    REST_OP_DELETE_MANY,
    REST_OP_LIST,
    REST_OP_BUCKET_PUT,
    REST_OP_BUCKET_GET,
    REST_OP_BUCKET_DELETE,
    REST_OP_BUCKET_LIST,
    REST_OP_UPLOAD_CREATE,
    REST_OP_UPLOAD_HEAD,
    REST_OP_UPLOAD_PATCH,
    REST_OP_UPLOAD_DELETE,
    REST_OP_KEY_CREATE,
    REST_OP_KEY_REVOKE,
    REST_OP_CLASS_SET,
    REST_OP_ADMIN,
    REST_OP_HEALTH,
    REST_OP_METRICS,
    REST_OP_DOCS,
    REST_OP_COUNT
} RestOp;

typedef struct RestCall RestCall;

/* What is known to be damaged. */
typedef struct {
    uint64_t files;
    uint64_t places;
    uint64_t index_places; /* of these */
    uint64_t unlisted;
} RiskCounts;

/* What a route's rights have to be over. */
typedef enum {
    REACH_NONE,   /* it is open to all */
    REACH_FILE,   /* the file that the address names */
    REACH_BUCKET, /* all of the bucket that it names */
    REACH_SEEN,   /* any right over anything of that bucket; names of none are not told */
    REACH_ALL,    /* everything */
    REACH_LATER   /* over something; over what, the handler asks */
} RestReach;

typedef struct {
    RestOp op;
    RestReach reach;
    unsigned rights;  /* of Right; 0: open to all */
    bool needs_store; /* answered by 503 until the service is ready */
    void (*run)(RestCall *call);
    RestDescription about;
} RestRoute;

/* The one table of what the door takes, in routes.c; rows are RestRoute. */
extern const HttpRoute rest_routes[];
extern const size_t rest_route_count;

/* Of one loop, touched by its thread only. */
typedef struct {
    ServiceReader *reader; /* NULL until first needed */
    KeyView keys;
    Rng rng;
    Buf openapi; /* the document, printed when it is first asked for */
} RestLoop;

struct Rest {
    RestOptions options;
    RestNode node;
    _Atomic(Service *) service; /* NULL: not there yet; set after node */
    _Atomic bool draining;
    _Atomic bool access_log;
    _Atomic(const char *) phase;
    _Atomic uint64_t records;
    _Atomic uint64_t bytes;
    uint64_t started_ms;
    RestLoop *loops;
};

typedef struct Upload Upload;
typedef struct TusPatch TusPatch;

/* A form that is taken apart. In the request's arena. */
typedef struct {
    HttpForm form;
    bool part_seen;
    size_t carry_len; /* bytes of the file that come before those of the buffer in hand */
    char carry[4 + HTTP_FORM_BOUNDARY_MAX];
} RestForm;
/* Several ranges of one content, on their way out. In the request's arena. */
typedef struct {
    HttpSpan spans[HTTP_RANGES_MAX]; /* apart, in the order in which they are sent */
    size_t count;                    /* 2 or more */
    char boundary[33];
} RestParts;
typedef struct DeleteMany DeleteMany;
typedef struct KeyWork KeyWork;

/* A file as it is told to clients. */
typedef struct {
    FileRow row;
    Str bucket; /* name */
    Str key;
    Durability durability;
    bool in_versions; /* of a list of all versions: is it the latest, is it a delete marker? */
    bool latest;
} RestFile;

/* One request. Lives in its arena; what it owns is given back when the request ends. */
struct RestCall {
    DownloadSlot out; /* first */
    Rest *rest;
    RestLoop *loop;
    HttpRequest *req;
    const RestRoute *route;
    HttpMatch match;
    KeyHold *keys;     /* that it is held against; NULL: no key was looked for */
    Identity identity; /* views into it */
    Service *service;  /* NULL for routes that need none */
    uint64_t start_ns;
    int status;   /* answered */
    ErrCode code; /* why, if it is a refusal */
    bool audited; /* the audit log has its line */
    bool changed; /* beside mutation: files are changed, which no failure may deny */
    uint64_t bytes_in;
    uint64_t bytes_out;
    /* A change. */
    Mutation mutation;
    LoopTask task;
    void (*then)(RestCall *call); /* with the mutation's answer */
    Buf attrs;                    /* encoded attributes of the new version */
    Buf body;                     /* small body that came in pieces */
    Sha256 wanted;                /* digest that the client announced */
    bool has_wanted;
    uint8_t wanted_md5[MD5_LEN]; /* likewise, by Content-MD5 */
    uint8_t md5[MD5_LEN];        /* of what arrived, if that is wanted */
    bool has_wanted_md5;
    BucketUid bucket; /* where it goes, as far as is known before */
    ShardId shard;
    Upload *upload;
    TusPatch *tus;
    RestForm *form; /* NULL: the body is the content itself */
    RestFile *file; /* that is sent; in the arena */
    DeleteMany *delete_many;
    KeyWork *key_work;
    unsigned tries;   /* look-ups so far */
    bool partial;     /* the answer is bytes range_from..range_end of the content: 206 */
    RestParts *parts; /* or these in its place; NULL: one range */
    uint64_t range_from;
    uint64_t range_end;
};

/* --- rest.c --- */
/* Who asks, into call->identity; for routes that are open to all, others know. ERR_UNAUTHENTICATED
 * if no key is shown or a wrong one. */
MUST_USE ErrCode rest_identify(RestCall *call, Err *err);
/* May the sender do what its route is for with this file? ERR_FORBIDDEN, or ERR_NOT_FOUND in the
 * words of what is not there, if it may not even know of it. */
MUST_USE ErrCode rest_allows_found(RestCall *call, const StoreFound *found, Err *err);
/* The same of the file of an id, which is looked up unless the sender may do it with all files.
 * ERR_NOT_FOUND, but for a change that was made before (the mutation has its request). */
MUST_USE ErrCode rest_allows_id(RestCall *call, FileId file, Err *err);
/* The reader of the call's loop; answers and returns false if it can't be opened. */
bool rest_reader(RestCall *call, ServiceReader **out);
/* Decoded query parameter; *found tells. On a bad one answers 400 and returns false. */
bool rest_query(RestCall *call, Str name, bool *found, Str *value);
/* Gives the call's mutation to the engine; then(call) runs on the loop, mutation.code set. */
void rest_submit(RestCall *call, void (*then)(RestCall *call));

/* --- rest_answer.c: final, like http_respond() --- */
/* err (may be NULL) is told to the client for refusals, to the log for failures of ours. */
void rest_answer_error(RestCall *call, ErrCode code, const Err *err);
void rest_answer_empty(RestCall *call, int status);
/* Is there memory for an answer that its reader may take slowly? Else it frees body, answers 503
 * and returns false. Once a call. */
MUST_USE bool rest_answer_room(RestCall *call, Buf *body);
/* JSON made by writer into json (a local Buf; its memory is taken over). */
void rest_answer_json(RestCall *call, int status, JsonWriter *writer, Buf *json);

/* --- cors.c --- */
/* Adds to any answer what lets pages of the origins that are configured read it. Answers itself,
 * and returns true, if a browser asks before such a page's request whether it may be sent. */
MUST_USE bool rest_cors(RestCall *call);

/* --- file_json.c --- */
void rest_file_json(JsonWriter *json, const RestFile *file);
Str rest_content_type(const FileRow *row);
/* Headers of GET and HEAD; for_write: of an answer to a write, without those of a content. */
void rest_file_headers(RestCall *call, const RestFile *file, bool for_write);
/* Those of 304. */
void rest_unchanged_headers(RestCall *call, const RestFile *file);
/* Repr-Digest, if the version's SHA-256 is known. */
void rest_digest_header(RestCall *call, const FileRow *row);
/* Holdfast-Require, if it is there: are so many copies of class in sync, before the body is read?
 */
MUST_USE ErrCode rest_require(RestCall *call, unsigned class, Err *err);
void rest_durability_header(RestCall *call, Durability durability);
/* Holdfast-Delete-Marker: version, which stands where the file was. */
void rest_marker_header(RestCall *call, VersionId version);
/* A copy of found, without extents, in the call's arena. ERR_NO_MEMORY; ERR_NOT_FOUND: its bucket
 * went meanwhile. */
MUST_USE ErrCode rest_file_copy(RestCall *call, const StoreFound *found, RestFile *out, Err *err);

/* --- file_attrs.c --- */
/* Reads If-Match, If-None-Match and If-Unmodified-Since into call->mutation. */
void rest_read_conditions(RestCall *call);
/* Reads Content-Type, Content-Disposition (those of a form's part come with it), Holdfast-Meta-…,
 * kept headers into call->attrs, Repr-Digest or Content-Digest into call->wanted, and Content-MD5
 * into call->wanted_md5. ERR_INVALID; ERR_HEADERS_TOO_LARGE. */
MUST_USE ErrCode rest_read_attrs(RestCall *call, Err *err);
/* Repr-Digest alone into call->wanted: of a request whose body is a part of the content.
 * ERR_INVALID. */
MUST_USE ErrCode rest_read_repr_digest(RestCall *call, Err *err);
/* Set the version's content type, and its file name; an empty one is none. ERR_INVALID,
 * ERR_HEADERS_TOO_LARGE. */
MUST_USE ErrCode rest_set_type(RestCall *call, Str type, Err *err);
MUST_USE ErrCode rest_set_file_name(RestCall *call, Str name, Err *err);
/* Holdfast-Expires into call->mutation. ERR_INVALID. */
MUST_USE ErrCode rest_read_expires(RestCall *call, Err *err);
/* Walks repeated (name, value) of ATTR_USER_META and ATTR_HTTP_HEADERS; false at the end. */
bool rest_pairs_next(Dec *pairs, Str *name, Str *value);
/* Appends one to pairs; the name goes into lower case. */
MUST_USE ErrCode rest_pairs_add(Buf *pairs, Str name, Str value, Err *err);

/* --- idempotency.c --- */
/* Reads Idempotency-Key, if there is one, into call->mutation; once. ERR_INVALID. */
MUST_USE ErrCode rest_read_request_key(RestCall *call, Err *err);
/* What makes the mutation what it is, into its request_hash; when all of it is known. */
void rest_hash_request(RestCall *call);

/* --- upload.c --- */
/* Takes the body in pieces: one of at most INLINE_MAX bytes goes to rest_put_inline(), a larger one
 * into blobs and then to rest_put_stored(). length is HTTP_LENGTH_UNKNOWN if it is not known. */
void rest_upload(RestCall *call, uint64_t length);
/* After a refusal of the mutation: removes what was stored, then answers. */
void rest_upload_remove(RestCall *call, ErrCode code, const Err *err);
/* Removes what was stored, for a change that was made before, then goes on with then(call); at once
 * if nothing was stored. */
void rest_upload_discard(RestCall *call, void (*then)(RestCall *call));
void rest_upload_free(Upload *upload); /* NULL is fine */

/* --- tus_patch.c --- */
void rest_tus_free(TusPatch *patch); /* NULL is fine */

/* --- form.c --- */
/* Is it a POST of multipart/form-data? By PUT such bytes are a content like others. */
bool rest_is_form(const RestCall *call);
/* Makes call->form, if the headers are those of a form that can be taken. ERR_INVALID,
 * ERR_NO_MEMORY. */
MUST_USE ErrCode rest_form_begin(RestCall *call, Err *err);
/* Leaves in the buffer only the bytes of the file, behind those in form->carry. ERR_INVALID. */
MUST_USE ErrCode rest_form_filter(RestCall *call, Buffer *buffer, Err *err);
/* The body is over. ERR_INCOMPLETE_BODY, ERR_INVALID: the form is not whole. */
MUST_USE ErrCode rest_form_end(RestCall *call, Err *err);

/* --- files_put.c --- */
/* A small body is there whole; it stays until the request ends. */
void rest_put_inline(RestCall *call, Str body);
/* The body of the mutation is stored. */
void rest_put_stored(RestCall *call);

/* --- parts.c --- */
#define REST_PART_TEXT_MAX DOWNLOAD_PART_TEXT_MAX
/* Makes call->parts of spans; leaves it NULL if the content can only be answered as a whole.
 * ERR_NO_MEMORY. */
MUST_USE ErrCode rest_parts_begin(RestCall *call, const RestFile *file, const HttpSpan *spans,
                                  size_t count, Err *err);
/* What stands before the bytes of part at, or, at == count, behind the last; its length. */
size_t rest_part_text(const RestParts *parts, const RestFile *file, size_t at,
                      char out[REST_PART_TEXT_MAX]);
/* Bytes of the whole answer. */
uint64_t rest_parts_length(const RestParts *parts, const RestFile *file);
/* The whole answer, of a content that is body. As buf_append(). */
MUST_USE ErrCode rest_parts_of(const RestParts *parts, const RestFile *file, Str body, Buf *out,
                               Err *err);

/* --- files_delete_many.c --- */
void rest_delete_many_free(DeleteMany *many); /* NULL is fine */

/* --- admin_keys.c --- */
void rest_key_free(KeyWork *work); /* NULL is fine */

/* --- audit.c --- */
/* Once a request, when status and code are known and nothing was sent yet. */
void rest_audit(RestCall *call);
/* A file of many that are deleted by one request. */
void rest_audit_deleted(RestCall *call, Str id, ErrCode code);
/* ERR_BUSY: it is a change, which must not be made now. */
MUST_USE ErrCode rest_audit_allows(const RestCall *call, Err *err);

/* --- metrics.c --- */
const char *rest_op_name(RestOp op);
void rest_metrics_register(void);
void rest_metrics_begin(void);
void rest_metrics_end(const RestCall *call, uint64_t ns);

/* --- health.c --- */
/* Member "cause": why the root failed, or null. */
void rest_cause_json(Rest *rest, JsonWriter *json);

/* --- handlers, named by rest.c --- */
void rest_healthz(RestCall *call);
void rest_readyz(RestCall *call);
void rest_metrics(RestCall *call);
void rest_openapi(RestCall *call);
void rest_docs_page(RestCall *call);
void rest_docs_part(RestCall *call);
void rest_put_name(RestCall *call);
void rest_put_id(RestCall *call);
void rest_post(RestCall *call);
void rest_get(RestCall *call);
void rest_delete_name(RestCall *call);
void rest_delete_id(RestCall *call);
void rest_delete_many(RestCall *call);
void rest_tus_options(RestCall *call);
void rest_tus_create(RestCall *call);
void rest_tus_head(RestCall *call);
void rest_tus_patch(RestCall *call);
void rest_tus_delete(RestCall *call);
void rest_list(RestCall *call);
void rest_bucket_put(RestCall *call);
void rest_bucket_get(RestCall *call);
void rest_bucket_delete(RestCall *call);
void rest_bucket_list(RestCall *call);
void rest_key_create(RestCall *call);
void rest_key_list(RestCall *call);
void rest_key_get(RestCall *call);
/* buckets.c: words of settings that classes have too. */
const char *rest_writes_name(PlaceMode mode);
const char *rest_require_name(PlaceRequire require);
MUST_USE ErrCode rest_read_writes(const json_t *value, PlaceMode *out, Err *err);
MUST_USE ErrCode rest_read_require(const json_t *value, PlaceRequire *out, Err *err);
/* classes.c */
void rest_class_list(RestCall *call);
void rest_class_get(RestCall *call);
void rest_class_put(RestCall *call);
void rest_key_revoke(RestCall *call);
void rest_admin_status(RestCall *call);
void rest_admin_wal(RestCall *call);
void rest_admin_shards(RestCall *call);
void rest_admin_nodes(RestCall *call);
void rest_admin_tasks(RestCall *call);
void rest_admin_scrub(RestCall *call);
void rest_admin_scrub_start(RestCall *call);
void rest_admin_scrub_pause(RestCall *call);
void rest_admin_scrub_resume(RestCall *call);
void rest_admin_risk(RestCall *call);
void rest_admin_ledger(RestCall *call);
void rest_admin_roots(RestCall *call);
void rest_admin_replicas(RestCall *call);
void rest_admin_hand_over(RestCall *call);
void rest_admin_evict(RestCall *call);
void rest_admin_add(RestCall *call);

/* --- admin.c, admin_risk.c, admin_scrub.c, admin_roots.c: parts of answers --- */
/* Members disk, risk and store. */
void rest_store_json(JsonWriter *json, const StoreStatus *status, const RiskCounts *risk);
void rest_risk_json(JsonWriter *json, const RiskCounts *risk);
/* All of them, as administrators are told of them. */
typedef struct {
    RestRoot items[ENGINE_ROOTS_MAX];
    const Service *service; /* the ledger's */
    size_t count;
} RestRoots;
/* A page of the lists of damage of all roots, one behind the other. */
typedef struct {
    unsigned root; /* of the list in hand */
    RiskCursor cursor;
    size_t limit;
} RiskQuery;
/* From the parameters after and limit. ERR_INVALID. */
MUST_USE ErrCode rest_risk_query(RestCall *call, RiskQuery *query, Err *err);
/* More members of an entry of root r. */
typedef void (*RestEntryFn)(JsonWriter *json, const RestRoots *roots, unsigned r,
                            const RiskEntry *entry);
/* Members entries, each with what members adds (NULL: nothing), and next. */
void rest_risk_entries(JsonWriter *json, RestCall *call, const RestRoots *roots, RiskQuery *query,
                       RestEntryFn members);
/* Of all these roots together. */
RiskCounts rest_risk_counts(const RestRoot *roots, size_t count);
void rest_scrub_json(JsonWriter *json, Scrub *scrub);
/* The next class behind *class (0 at first) that failed and is kept by one of roots, by bits (0:
 * whoever keeps it): its name, in *out; NULL: there is none. */
const char *rest_class_failed(RestCall *call, unsigned roots, unsigned *class, ClassInfo *out);
/* Members durability, roots and classes_failed. */
void rest_copies_json(RestCall *call, JsonWriter *json);

#endif
