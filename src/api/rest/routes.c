/* The table of routes: what the door takes, who may ask, who answers, and what the OpenAPI document
 * says of it. A row that a request can reach and the document does not show cannot be written. */
#include "api/rest/rest_priv.h"

#define E(code) BIT(code)
#define P(name) BIT(PARAM_##name)
#define H(name) BIT(HEADER_##name)
#define JSON "application/json"

/* Codes of refusals. What any request may meet: */
#define E_ANY                                                                                      \
    (E(ERR_BAD_HTTP) | E(ERR_INVALID) | E(ERR_URI_TOO_LONG) | E(ERR_HEADERS_TOO_LARGE) |           \
     E(ERR_REQUEST_TIMEOUT) | E(ERR_TOO_LARGE) | E(ERR_INCOMPLETE_BODY) | E(ERR_BUSY) |            \
     E(ERR_NO_MEMORY) | E(ERR_TOO_BIG) | E(ERR_ABORTED))
#define E_KEY (E_ANY | E(ERR_UNAUTHENTICATED) | E(ERR_FORBIDDEN))
#define E_STORE                                                                                    \
    (E_KEY | E(ERR_NOT_READY) | E(ERR_IO) | E(ERR_CORRUPT) | E(ERR_SYSTEM) | E(ERR_FORMAT_VERSION))
#define E_CHANGE                                                                                   \
    (E_STORE | E(ERR_NOT_PRIMARY) | E(ERR_SHUTTING_DOWN) | E(ERR_ROOT_FAILED) |                    \
     E(ERR_OUTCOME_UNKNOWN) | E(ERR_NO_SPACE) | E(ERR_TOO_FEW_COPIES))
#define E_ACT (E(ERR_NOT_FOUND) | E(ERR_PRECONDITION) | E(ERR_SHUTTING_DOWN))
#define E_NO_KEY E(ERR_NOT_IMPLEMENTED)
#define E_NAME (E(ERR_BAD_NAME) | E(ERR_KEY_TOO_LONG))
#define E_BODY                                                                                     \
    (E_CHANGE | E(ERR_DIGEST_MISMATCH) | E(ERR_PRECONDITION) | E(ERR_IDEMPOTENCY) |                \
     E(ERR_NOT_FOUND) | E(ERR_NO_BUCKET) | E(ERR_QUOTA_EXCEEDED))
#define E_READ                                                                                     \
    (E_STORE | E(ERR_NOT_FOUND) | E(ERR_NO_BUCKET) | E(ERR_PRECONDITION) | E(ERR_RANGE) |          \
     E(ERR_FILE_DAMAGED) | E(ERR_FOREIGN))
#define E_DELETE                                                                                   \
    (E_CHANGE | E(ERR_NOT_FOUND) | E(ERR_NO_BUCKET) | E(ERR_PRECONDITION) | E(ERR_IDEMPOTENCY))

#define P_READ                                                                                     \
    (P(VERSION) | P(IF_MATCH) | P(IF_NONE_MATCH) | P(IF_MODIFIED_SINCE) | P(IF_UNMODIFIED_SINCE))
#define P_RANGE (P(RANGE) | P(IF_RANGE))
#define P_CONTENT                                                                                  \
    (P(IF_MATCH) | P(IF_NONE_MATCH) | P(CACHE_CONTROL) | P(CONTENT_DISPOSITION) |                  \
     P(CONTENT_ENCODING) | P(CONTENT_LANGUAGE) | P(EXPIRES) | P(META) | P(REPR_DIGEST) |           \
     P(CONTENT_DIGEST) | P(ENDS) | P(CONTENT_MD5) | P(IDEMPOTENCY_KEY) | P(IF_UNMODIFIED_SINCE) |  \
     P(REQUIRE))
#define P_DELETE                                                                                   \
    (P(VERSION) | P(IF_MATCH) | P(IF_NONE_MATCH) | P(IF_UNMODIFIED_SINCE) | P(IDEMPOTENCY_KEY) |   \
     P(REQUIRE))

#define H_VERSION (H(ETAG) | H(FILE_ID) | H(VERSION) | H(DURABILITY))
#define H_CONTENT                                                                                  \
    (H_VERSION | H(LAST_MODIFIED) | H(ACCEPT_RANGES) | H(REPR_DIGEST) | H(NOSNIFF) | H(CSP) |      \
     H(DISPOSITION) | H(ENDS) | H(META) | H(CACHE_CONTROL) | H(CONTENT_ENCODING) |                 \
     H(CONTENT_LANGUAGE) | H(EXPIRES) | H(CONTENT_MD5))
#define H_PAGE (H(NOSNIFF) | H(CSP))

#define A_CREATED                                                                                  \
    {                                                                                              \
        201, JSON, "File", H_VERSION | H(LOCATION) | H(REPLAYED), "The file is new."               \
    }
#define A_WRITTEN                                                                                  \
    {                                                                                              \
        200, JSON, "File", H_VERSION | H(REPLAYED), "The file has a new version."                  \
    }
#define A_UNCHANGED                                                                                \
    {                                                                                              \
        304, NULL, NULL, H_VERSION | H(LAST_MODIFIED) | H(CACHE_CONTROL) | H(EXPIRES),             \
            "If-None-Match or If-Modified-Since: no news."                                         \
    }
#define A_CONTENT                                                                                  \
    {                                                                                              \
        200, "*/*", NULL, H_CONTENT, "The content."                                                \
    }
#define A_PART                                                                                     \
    {                                                                                              \
        206, "*/*", NULL, H_CONTENT | H(CONTENT_RANGE),                                            \
            "A part of the content, or several as multipart/byteranges."                           \
    }
#define A_HEAD                                                                                     \
    {                                                                                              \
        200, NULL, NULL, H_CONTENT, "What GET would answer, without the content."                  \
    }
#define A_DELETED                                                                                  \
    {                                                                                              \
        204, NULL, NULL, H(DURABILITY) | H(REPLAYED) | H(DELETE_MARKER), "It is deleted."          \
    }

#define E_TUS (E_STORE | E(ERR_TUS_VERSION) | E(ERR_NOT_FOUND) | E(ERR_GONE))
#define E_TUS_BODY                                                                                 \
    (E_CHANGE | E_NAME | E(ERR_TUS_VERSION) | E(ERR_MEDIA_TYPE) | E(ERR_CHECKSUM_MISMATCH) |       \
     E(ERR_UPLOAD_OFFSET) | E(ERR_NOT_FOUND) | E(ERR_GONE) | E(ERR_EXISTS) | E(ERR_NO_BUCKET) |    \
     E(ERR_QUOTA_EXCEEDED) | E(ERR_DIGEST_MISMATCH) | E_NO_KEY)
#define H_TUS (H(TUS_RESUMABLE) | H(CACHE_CONTROL))
#define H_UPLOAD                                                                                   \
    (H_TUS | H(UPLOAD_OFFSET) | H(UPLOAD_EXPIRES) | H_VERSION | H(CONTENT_LOCATION) |              \
     H(REPR_DIGEST))
#define ALWAYS_TUS .always = H_TUS | H(TUS_VERSION)
#define ALWAYS_UPLOAD .always = H_UPLOAD | H(UPLOAD_LENGTH) | H(LOCATION) | H(TUS_VERSION)
#define TEXT_TUS_KEPT                                                                              \
    "What Upload-Offset of the answer counts is kept; of a body that broke off, what HEAD tells. "
#define TEXT_TUS_END                                                                               \
    "After the last byte the file is there: the answer has its id, version and Content-Location. "

#define TEXT_HEAD "The same as GET without the content; If-Range and Range are passed over."
#define TEXT_NO_KEY "An Idempotency-Key is refused."
#define TEXT_BODY                                                                                  \
    "The body is the content. What the headers alone decide is refused before the body is read "   \
    "(Expect: 100-continue). Content-Type is kept."

#define ROUTE(verb, path, ...)                                                                     \
    {                                                                                              \
        HTTP_METHOD_##verb, path, &(const RestRoute)                                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ABOUT(...) .about = {__VA_ARGS__}
#define BY_NAME "/v1/buckets/{bucket}/files/{key...}"
#define BY_ID "/v1/files/{id}"
#define BUCKET "/v1/buckets/{bucket}"
#define UPLOADS "/v1/uploads"
#define ROOTS "/v1/admin/roots"
#define KEYS "/v1/admin/keys"
#define CLASSES "/v1/admin/classes"
#define KEY_BY_ID "/v1/admin/keys/{key_id}"
#define UPLOAD "/v1/uploads/{id}"

const HttpRoute rest_routes[] = {
    ROUTE(GET, BY_NAME, REST_OP_GET, REACH_FILE, RIGHT_READ, true, rest_get,
          ABOUT("getFile", "Files", "A file's content", .params = P_READ | P_RANGE,
                .answers = {A_CONTENT, A_PART, A_UNCHANGED}, .errors = E_READ | E_NAME)),
    ROUTE(PUT, BY_NAME, REST_OP_PUT, REACH_FILE, RIGHT_WRITE, true, rest_put_name,
          ABOUT("putFile", "Files", "Writes a file, new or not", TEXT_BODY, P_CONTENT, BODY_CONTENT,
                .answers = {A_CREATED, A_WRITTEN}, .errors = E_BODY | E_NAME)),
    ROUTE(HEAD, BY_NAME, REST_OP_HEAD, REACH_FILE, RIGHT_READ, true, rest_get,
          ABOUT("headFile", "Files", "What is known of a file", TEXT_HEAD, P_READ,
                .answers = {A_HEAD, A_UNCHANGED}, .errors = E_READ | E_NAME)),
    ROUTE(DELETE, BY_NAME, REST_OP_DELETE, REACH_FILE, RIGHT_DELETE, true, rest_delete_name,
          ABOUT("deleteFile", "Files", "Deletes a file", .params = P_DELETE, .answers = {A_DELETED},
                .errors = E_DELETE | E_NAME)),
    ROUTE(GET, "/v1/files", REST_OP_LIST, REACH_LATER, RIGHT_LIST, true, rest_list,
          ABOUT("listFiles", "Files", "Names the files of a bucket",
                .params = P(BUCKET) | P(PREFIX) | P(DELIMITER) | P(AFTER) | P(LIMIT) | P(VERSIONS) |
                          P(AFTER_VERSION),
                .answers = {{200, JSON, "FileList", 0, "A page, in the order of the keys."}},
                .errors = E_STORE | E(ERR_NO_BUCKET) | E(ERR_KEY_TOO_LONG))),
    ROUTE(POST, "/v1/files", REST_OP_POST, REACH_LATER, RIGHT_WRITE, true, rest_post,
          ABOUT("postFile", "Files", "Writes a new file", TEXT_BODY, P(BUCKET) | P(KEY) | P_CONTENT,
                BODY_CONTENT_OR_FORM, .answers = {A_CREATED},
                .errors = E_BODY | E_NAME | E(ERR_EXISTS))),
    ROUTE(POST, "/v1/files:delete", REST_OP_DELETE_MANY, REACH_LATER, RIGHT_DELETE, true,
          rest_delete_many,
          ABOUT("deleteFiles", "Files by id", "Deletes many files",
                "One write to the log keeps all of it. " TEXT_NO_KEY, P(REQUIRE), BODY_DELETE_MANY,
                .answers = {{200, JSON, "DeleteResults", H(DURABILITY), "What became of each."}},
                .errors = E_CHANGE | E_NO_KEY)),
    ROUTE(GET, BY_ID, REST_OP_GET, REACH_LATER, RIGHT_READ, true, rest_get,
          ABOUT("getFileById", "Files by id", "A file's content", .params = P_READ | P_RANGE,
                .answers = {A_CONTENT, A_PART, A_UNCHANGED}, .errors = E_READ)),
    ROUTE(PUT, BY_ID, REST_OP_PUT, REACH_LATER, RIGHT_WRITE, true, rest_put_id,
          ABOUT("putFileById", "Files by id", "Writes a new version", TEXT_BODY, P_CONTENT,
                BODY_CONTENT, .answers = {A_WRITTEN}, .errors = E_BODY | E_NAME)),
    ROUTE(HEAD, BY_ID, REST_OP_HEAD, REACH_LATER, RIGHT_READ, true, rest_get,
          ABOUT("headFileById", "Files by id", "What is known of a file", TEXT_HEAD, P_READ,
                .answers = {A_HEAD, A_UNCHANGED}, .errors = E_READ)),
    ROUTE(DELETE, BY_ID, REST_OP_DELETE, REACH_LATER, RIGHT_DELETE, true, rest_delete_id,
          ABOUT("deleteFileById", "Files by id", "Deletes a file", .params = P_DELETE,
                .answers = {A_DELETED}, .errors = E_DELETE)),
    ROUTE(GET, "/v1/buckets", REST_OP_BUCKET_LIST, REACH_SEEN, RIGHT_LIST, true, rest_bucket_list,
          ABOUT("listBuckets", "Buckets", "Names the buckets", .params = P(AFTER),
                .answers = {{200, JSON, "BucketList", 0, "A page, in the order of the names."}},
                .errors = E_STORE)),
    ROUTE(GET, BUCKET, REST_OP_BUCKET_GET, REACH_SEEN, RIGHT_LIST, true, rest_bucket_get,
          ABOUT("getBucket", "Buckets", "What is known of a bucket",
                .answers = {{200, JSON, "Bucket", 0, "The bucket."}},
                .errors = E_STORE | E(ERR_NO_BUCKET))),
    ROUTE(PUT, BUCKET, REST_OP_BUCKET_PUT, REACH_BUCKET, RIGHT_BUCKETS, true, rest_bucket_put,
          ABOUT("putBucket", "Buckets", "Makes a bucket, or changes its settings", TEXT_NO_KEY,
                P(REQUIRE), .body = BODY_SETTINGS,
                .answers = {{201, JSON, "Bucket", H(DURABILITY), "The bucket is new."},
                            {200, JSON, "Bucket", H(DURABILITY), "The bucket was there."}},
                .errors = E_CHANGE | E_NO_KEY | E(ERR_BAD_BUCKET_NAME))),
    ROUTE(DELETE, BUCKET, REST_OP_BUCKET_DELETE, REACH_BUCKET, RIGHT_BUCKETS, true,
          rest_bucket_delete,
          ABOUT("deleteBucket", "Buckets", "Deletes an empty bucket", TEXT_NO_KEY, P(REQUIRE),
                .answers = {A_DELETED},
                .errors = E_CHANGE | E_NO_KEY | E(ERR_NO_BUCKET) | E(ERR_BUCKET_NOT_EMPTY))),
    ROUTE(OPTIONS, UPLOADS, REST_OP_DOCS, REACH_NONE, 0, false, rest_tus_options,
          ABOUT("getUploadOptions", "Resumable uploads", "What of tus is there",
                .answers = {{204, NULL, NULL,
                             H(TUS_RESUMABLE) | H(TUS_VERSION) | H(TUS_EXTENSION) |
                                 H(TUS_MAX_SIZE) | H(TUS_ALGORITHM),
                             "tus 1.0."}},
                .errors = E_ANY, ALWAYS_TUS)),
    ROUTE(POST, UPLOADS, REST_OP_UPLOAD_CREATE, REACH_LATER, RIGHT_WRITE, true, rest_tus_create,
          ABOUT("createUpload", "Resumable uploads", "Begins an upload",
                "With its first bytes as body, or without. " TEXT_TUS_END TEXT_NO_KEY,
                P(TUS_RESUMABLE) | P(UPLOAD_BUCKET) | P(UPLOAD_KEY) | P(UPLOAD_NEW) |
                    P(UPLOAD_LENGTH) | P(UPLOAD_DEFER) | P(UPLOAD_METADATA) | P(UPLOAD_CHECKSUM) |
                    P(UPLOAD_DIGEST) | P(REQUIRE),
                BODY_FIRST_PIECE,
                {{201, NULL, NULL, H_UPLOAD | H(LOCATION), "The upload goes on."}}, E_TUS_BODY,
                ALWAYS_UPLOAD)),
    ROUTE(HEAD, UPLOAD, REST_OP_UPLOAD_HEAD, REACH_LATER, RIGHT_WRITE, true, rest_tus_head,
          ABOUT("headUpload", "Resumable uploads", "How far an upload is",
                .params = P(TUS_RESUMABLE),
                .answers = {{200, NULL, NULL,
                             H_UPLOAD | H(UPLOAD_LENGTH) | H(UPLOAD_DEFER) | H(UPLOAD_METADATA),
                             "Upload-Offset says it."}},
                .errors = E_TUS, ALWAYS_TUS)),
    ROUTE(PATCH, UPLOAD, REST_OP_UPLOAD_PATCH, REACH_LATER, RIGHT_WRITE, true, rest_tus_patch,
          ABOUT("patchUpload", "Resumable uploads", "Goes on with an upload",
                TEXT_TUS_KEPT TEXT_TUS_END TEXT_NO_KEY,
                P(TUS_RESUMABLE) | P(UPLOAD_OFFSET) | P(UPLOAD_LENGTH) | P(UPLOAD_CHECKSUM) |
                    P(UPLOAD_DIGEST) | P(REQUIRE),
                BODY_PIECE, {{204, NULL, NULL, H_UPLOAD | H(UPLOAD_LENGTH), "It is kept."}},
                E_TUS_BODY, ALWAYS_UPLOAD)),
    ROUTE(DELETE, UPLOAD, REST_OP_UPLOAD_DELETE, REACH_LATER, RIGHT_WRITE, true, rest_tus_delete,
          ABOUT("deleteUpload", "Resumable uploads", "Ends an upload", TEXT_NO_KEY,
                P(TUS_RESUMABLE) | P(REQUIRE), BODY_NONE,
                {{204, NULL, NULL, H_TUS, "Nothing of it is kept."}}, E_TUS | E_CHANGE | E_NO_KEY,
                ALWAYS_TUS)),
    ROUTE(GET, "/v1/admin/status", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_status,
          ABOUT("getStatus", "Administration", "The state of the server",
                .answers = {{200, JSON, "Status", 0, "The state."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/wal", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_wal,
          ABOUT("getWal", "Administration", "The state of the log",
                .answers = {{200, JSON, "Wal", 0, "The state."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/shards", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_shards,
          ABOUT("getShards", "Administration", "The state of each shard",
                .answers = {{200, JSON, "Shards", 0, "The shards."}}, .errors = E_STORE)),
    ROUTE(GET, ROOTS, REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_roots,
          ABOUT("getRoots", "Administration", "The storage roots: one copy each",
                .answers = {{200, JSON, "Roots", 0, "The roots."}}, .errors = E_STORE)),
    ROUTE(POST, ROOTS "/{root}/hand-over", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true,
          rest_admin_hand_over,
          ABOUT("handOver", "Administration", "Has this root lead",
                "Changes wait until those under way are committed. " TEXT_NO_KEY,
                .answers = {{200, JSON, "Roots", 0, "It leads."}},
                .errors = E_STORE | E_NO_KEY | E_ACT)),
    ROUTE(POST, ROOTS "/{root}/evict", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true,
          rest_admin_evict,
          ABOUT("evictRoot", "Administration",
                "Leaves a root out until it is added, or the next start",
                "Refused if too few would be in sync without it. " TEXT_NO_KEY,
                .answers = {{200, JSON, "Roots", 0, "It is left out."}},
                .errors = E_STORE | E_NO_KEY | E_ACT)),
    ROUTE(POST, ROOTS "/{root}/add", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_add,
          ABOUT("addRoot", "Administration", "Takes back a root that was evicted",
                "It catches up, and then it is in sync. " TEXT_NO_KEY,
                .answers = {{200, JSON, "Roots", 0, "It is a copy again."}},
                .errors = E_STORE | E_NO_KEY | E_ACT)),
    ROUTE(GET, "/v1/admin/replicas", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true,
          rest_admin_replicas,
          ABOUT("getReplicas", "Administration", "The copy of each shard on each root",
                .answers = {{200, JSON, "Replicas", 0, "The copies."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/nodes", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_nodes,
          ABOUT("getNodes", "Administration", "The processes that serve the store",
                .answers = {{200, JSON, "Nodes", 0, "The nodes."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/tasks", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_tasks,
          ABOUT("getTasks", "Administration", "What goes on in the background",
                .answers = {{200, JSON, "Tasks", 0, "The tasks."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/ledger", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_ledger,
          ABOUT("getLedger", "Administration",
                "Which files have fewer copies than they are to have",
                .params = P(AFTER_TOKEN) | P(LIMIT),
                .answers = {{200, JSON, "Ledger", 0, "Roots, and a page of files."}},
                .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/risk", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_risk,
          ABOUT("getRisk", "Administration", "What is damaged, on all roots",
                .params = P(AFTER_TOKEN) | P(LIMIT), .answers = {{200, JSON, "Risk", 0, "A page."}},
                .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/scrub", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_admin_scrub,
          ABOUT("getScrub", "Administration", "How far scrub is",
                .answers = {{200, JSON, "Scrubs", 0, "How far it is."}}, .errors = E_STORE)),
    ROUTE(POST, "/v1/admin/scrub/start", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true,
          rest_admin_scrub_start,
          ABOUT("startScrub", "Administration", "Scrub goes on, and begins now if it waits",
                .answers = {{200, JSON, "Scrubs", 0, "How far it is."}},
                .errors = E_STORE | E_NO_KEY)),
    ROUTE(POST, "/v1/admin/scrub/pause", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true,
          rest_admin_scrub_pause,
          ABOUT("pauseScrub", "Administration", "Scrub stops, over restarts too",
                .answers = {{200, JSON, "Scrubs", 0, "How far it is."}},
                .errors = E_STORE | E_NO_KEY)),
    ROUTE(POST, "/v1/admin/scrub/resume", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true,
          rest_admin_scrub_resume,
          ABOUT("resumeScrub", "Administration", "Scrub goes on",
                .answers = {{200, JSON, "Scrubs", 0, "How far it is."}},
                .errors = E_STORE | E_NO_KEY)),
    ROUTE(
        POST, KEYS, REST_OP_KEY_CREATE, REACH_ALL, RIGHT_ADMIN, true, rest_key_create,
        ABOUT("createKey", "Access keys", "Makes an access key",
              "The answer is the only one that tells its secret. Both doors take it. " TEXT_NO_KEY,
              P(REQUIRE), BODY_KEY,
              .answers = {{201, JSON, "NewKey", H(DURABILITY) | H(CACHE_CONTROL), "It is made."}},
              .errors = E_CHANGE | E_NO_KEY | E(ERR_QUOTA_EXCEEDED) | E(ERR_GONE))),
    ROUTE(GET, KEYS, REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_key_list,
          ABOUT("listKeys", "Access keys", "Names the access keys, without their secrets",
                .params = P(AFTER) | P(LIMIT),
                .answers = {{200, JSON, "KeyList", 0, "A page, in the order of their ids."}},
                .errors = E_STORE)),
    ROUTE(GET, KEY_BY_ID, REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_key_get,
          ABOUT("getKey", "Access keys", "What is known of an access key, but for its secret",
                .answers = {{200, JSON, "AccessKey", H(CACHE_CONTROL), "The key."}},
                .errors = E_STORE | E(ERR_NOT_FOUND))),
    ROUTE(
        DELETE, KEY_BY_ID, REST_OP_KEY_REVOKE, REACH_ALL, RIGHT_ADMIN, true, rest_key_revoke,
        ABOUT("revokeKey", "Access keys", "Revokes an access key",
              "No request that begins afterwards is let in by it. The root key stays. " TEXT_NO_KEY,
              P(REQUIRE), .answers = {A_DELETED},
              .errors = E_CHANGE | E_NO_KEY | E(ERR_NOT_FOUND))),
    ROUTE(GET, CLASSES, REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_class_list,
          ABOUT("listClasses", "Placement classes", "Names the placement classes",
                .answers = {{200, JSON, "ClassList", 0, "All of them, by number."}},
                .errors = E_STORE)),
    ROUTE(GET, CLASSES "/{class}", REST_OP_ADMIN, REACH_ALL, RIGHT_ADMIN, true, rest_class_get,
          ABOUT("getClass", "Placement classes", "How a placement class is kept",
                .answers = {{200, JSON, "Class", 0, "The class."}},
                .errors = E_STORE | E(ERR_NOT_FOUND))),
    ROUTE(PUT, CLASSES "/{class}", REST_OP_CLASS_SET, REACH_ALL, RIGHT_ADMIN, true, rest_class_put,
          ABOUT("putClass", "Placement classes", "Makes a placement class, or changes its settings",
                "At most 14 can be made; none is ever removed. " TEXT_NO_KEY, P(REQUIRE),
                BODY_CLASS,
                .answers = {{201, JSON, "Class", H(DURABILITY), "The class is new."},
                            {200, JSON, "Class", H(DURABILITY), "The class was there."}},
                .errors = E_CHANGE | E_NO_KEY | E(ERR_QUOTA_EXCEEDED))),
    ROUTE(GET, "/healthz", REST_OP_HEALTH, REACH_NONE, 0, false, rest_healthz,
          ABOUT("getHealth", "Server", "Whether the process answers",
                .answers = {{200, JSON, "Health", 0, "It does."}}, .errors = E_ANY)),
    ROUTE(GET, "/readyz", REST_OP_HEALTH, REACH_NONE, 0, false, rest_readyz,
          ABOUT("getReadiness", "Server", "Whether files are served",
                .answers = {{200, JSON, "Readiness", 0, "They are."},
                            {503, JSON, "Readiness", 0, "They are not; phase says why."}},
                .errors = E_ANY)),
    ROUTE(
        GET, "/metrics", REST_OP_METRICS, REACH_NONE, 0, false, rest_metrics,
        ABOUT(
            "getMetrics", "Server", "Metrics for Prometheus",
            "In OpenMetrics, if Accept names it. Of buckets only for a key that may administrate.",
            .answers = {{200, "text/plain", NULL, H(VARY), "The metrics."},
                        {200, "application/openmetrics-text", NULL, H(VARY), NULL}},
            .errors = E_STORE)),
    ROUTE(GET, "/openapi.json", REST_OP_DOCS, REACH_NONE, 0, false, rest_openapi,
          ABOUT("getOpenApi", "Server", "This document",
                .answers = {{200, JSON, "", 0, "OpenAPI 3.1."}}, .errors = E_ANY)),
    ROUTE(GET, "/docs", REST_OP_DOCS, REACH_NONE, 0, false, rest_docs_page,
          ABOUT("getDocs", "Server", "This document as a page to read",
                .answers = {{200, "text/html", NULL, H_PAGE, "The page."}}, .errors = E_ANY)),
    ROUTE(GET, "/docs/{part}", REST_OP_DOCS, REACH_NONE, 0, false, rest_docs_part,
          ABOUT("getDocsPart", "Server", "The page's script and style",
                .answers = {{200, "text/*", NULL, H_PAGE, "docs.js or docs.css."}},
                .errors = E_ANY | E(ERR_NO_ROUTE))),
};

const size_t rest_route_count = ARRAY_LEN(rest_routes);
