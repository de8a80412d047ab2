/* What the files of the REST door share. */
#ifndef HOLDFAST_API_REST_REST_PRIV_H
#define HOLDFAST_API_REST_REST_PRIV_H

#include "api/rest/describe.h"
#include "api/rest/rest.h"
#include "base/rng.h"
#include "http/form.h"
#include "http/router.h"
#include "text/json.h"

#define BODY_SIZE_MAX (5 * 1024 * GIB) /* bytes of one file */
#define FIND_TRIES 8                   /* look-ups of a file whose bytes keep moving */
#define QUOTA_MAX ((1ULL << 53) - 1)   /* what every reader of JSON knows exactly */
#define USER_META_MAX (8 * KIB)        /* bytes of names and values of Holdfast-Meta-… */
#define REST_TYPE_DEFAULT "application/octet-stream" /* of a file that has no type */
#define FILE_JSON_MAX (1 * MIB) /* of one FILE object, every byte of it escaped */

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
    REST_OP_ADMIN,
    REST_OP_HEALTH,
    REST_OP_METRICS,
    REST_OP_DOCS,
    REST_OP_COUNT
} RestOp;

typedef struct RestCall RestCall;

typedef struct {
    RestOp op;
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
    Rng rng;
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

/* A form that is taken apart. In the request's arena. */
typedef struct {
    HttpForm form;
    bool part_seen;
    size_t carry_len; /* bytes of the file that come before those of the buffer in hand */
    char carry[4 + HTTP_FORM_BOUNDARY_MAX];
} RestForm;
typedef struct Download Download;
typedef struct DeleteMany DeleteMany;

/* One request. Lives in its arena; what it owns is given back when the request ends. */
struct RestCall {
    Rest *rest;
    RestLoop *loop;
    HttpRequest *req;
    const RestRoute *route;
    HttpMatch match;
    Identity identity;
    Service *service; /* NULL for routes that need none */
    uint64_t start_ns;
    int status;   /* answered */
    ErrCode code; /* why, if it is a refusal */
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
    RestForm *form; /* NULL: the body is the content itself */
    Download *download;
    DeleteMany *delete_many;
    unsigned tries; /* look-ups so far */
    bool partial;   /* the answer is bytes range_from..range_end of the content: 206 */
    uint64_t range_from;
    uint64_t range_end;
};

/* A file as it is told to clients. */
typedef struct {
    FileRow row;
    Str bucket; /* name */
    Str key;
    Durability durability;
} RestFile;

/* --- rest.c --- */
/* Who asks, into call->identity; for routes that are open to all, others know. ERR_UNAUTHENTICATED
 * if no key is shown or a wrong one. */
MUST_USE ErrCode rest_identify(RestCall *call, Err *err);
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
/* JSON made by writer into json (a local Buf; its memory is taken over). */
void rest_answer_json(RestCall *call, int status, JsonWriter *writer, Buf *json);

/* --- file_json.c --- */
void rest_file_json(JsonWriter *json, const RestFile *file);
/* Headers of GET and HEAD; for_write: of an answer to a write, without those of a content. */
void rest_file_headers(RestCall *call, const RestFile *file, bool for_write);
void rest_durability_header(RestCall *call, Durability durability);
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
/* Set the version's content type, and its file name; an empty one is none. ERR_INVALID,
 * ERR_HEADERS_TOO_LARGE. */
MUST_USE ErrCode rest_set_type(RestCall *call, Str type, Err *err);
MUST_USE ErrCode rest_set_file_name(RestCall *call, Str name, Err *err);
/* Walks repeated (name, value) of ATTR_USER_META and ATTR_HTTP_HEADERS; false at the end. */
bool rest_pairs_next(Dec *pairs, Str *name, Str *value);

/* The bytes of file could not be read back from place: lists it as damaged. err says why. */
void rest_damaged(RestCall *call, const RestFile *file, const char *place, uint64_t offset,
                  const Err *err);

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

/* --- files_get.c, download.c --- */
/* Looks the file up, again if its bytes moved meanwhile, and answers with it. */
void rest_get_find(RestCall *call);
/* Sends bytes from..end (from below end) of a file of extents (extent_count of them; heap memory,
 * taken over). */
void rest_download(RestCall *call, const RestFile *file, Extent *extents, uint64_t from,
                   uint64_t end);
void rest_download_free(Download *download); /* NULL is fine */

/* --- files_delete_many.c --- */
void rest_delete_many_free(DeleteMany *many); /* NULL is fine */

/* --- metrics.c --- */
void rest_metrics_register(void);
void download_metrics_register(void);
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
void rest_list(RestCall *call);
void rest_bucket_put(RestCall *call);
void rest_bucket_get(RestCall *call);
void rest_bucket_delete(RestCall *call);
void rest_bucket_list(RestCall *call);
void rest_admin_status(RestCall *call);
void rest_admin_wal(RestCall *call);
void rest_admin_shards(RestCall *call);
void rest_admin_scrub(RestCall *call);
void rest_admin_scrub_start(RestCall *call);
void rest_admin_scrub_pause(RestCall *call);
void rest_admin_scrub_resume(RestCall *call);
void rest_admin_risk(RestCall *call);

#endif
