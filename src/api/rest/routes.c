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
     E(ERR_OUTCOME_UNKNOWN) | E(ERR_NO_SPACE))
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
     P(CONTENT_DIGEST) | P(CONTENT_MD5) | P(IDEMPOTENCY_KEY) | P(IF_UNMODIFIED_SINCE))
#define P_DELETE                                                                                   \
    (P(VERSION) | P(IF_MATCH) | P(IF_NONE_MATCH) | P(IF_UNMODIFIED_SINCE) | P(IDEMPOTENCY_KEY))

#define H_VERSION (H(ETAG) | H(FILE_ID) | H(VERSION) | H(DURABILITY))
#define H_CONTENT                                                                                  \
    (H_VERSION | H(LAST_MODIFIED) | H(ACCEPT_RANGES) | H(REPR_DIGEST) | H(NOSNIFF) | H(CSP) |      \
     H(DISPOSITION) | H(META) | H(CACHE_CONTROL) | H(CONTENT_ENCODING) | H(CONTENT_LANGUAGE) |     \
     H(EXPIRES) | H(CONTENT_MD5))
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
        304, NULL, NULL, H_VERSION, "If-None-Match or If-Modified-Since: no news."                 \
    }
#define A_CONTENT                                                                                  \
    {                                                                                              \
        200, "*/*", NULL, H_CONTENT, "The content."                                                \
    }
#define A_PART                                                                                     \
    {                                                                                              \
        206, "*/*", NULL, H_CONTENT | H(CONTENT_RANGE), "A part of the content."                   \
    }
#define A_HEAD                                                                                     \
    {                                                                                              \
        200, NULL, NULL, H_CONTENT, "What GET would answer, without the content."                  \
    }
#define A_DELETED                                                                                  \
    {                                                                                              \
        204, NULL, NULL, H(DURABILITY) | H(REPLAYED), "It is deleted."                             \
    }

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

const HttpRoute rest_routes[] = {
    ROUTE(GET, BY_NAME, REST_OP_GET, RIGHT_READ, true, rest_get,
          ABOUT("getFile", "Files", "A file's content", .params = P_READ | P_RANGE,
                .answers = {A_CONTENT, A_PART, A_UNCHANGED}, .errors = E_READ | E_NAME)),
    ROUTE(PUT, BY_NAME, REST_OP_PUT, RIGHT_WRITE, true, rest_put_name,
          ABOUT("putFile", "Files", "Writes a file, new or not", TEXT_BODY, P_CONTENT, BODY_CONTENT,
                {A_CREATED, A_WRITTEN}, E_BODY | E_NAME)),
    ROUTE(HEAD, BY_NAME, REST_OP_HEAD, RIGHT_READ, true, rest_get,
          ABOUT("headFile", "Files", "What is known of a file", TEXT_HEAD, P_READ,
                .answers = {A_HEAD, A_UNCHANGED}, .errors = E_READ | E_NAME)),
    ROUTE(DELETE, BY_NAME, REST_OP_DELETE, RIGHT_DELETE, true, rest_delete_name,
          ABOUT("deleteFile", "Files", "Deletes a file", .params = P_DELETE, .answers = {A_DELETED},
                .errors = E_DELETE | E_NAME)),
    ROUTE(GET, "/v1/files", REST_OP_LIST, RIGHT_LIST, true, rest_list,
          ABOUT("listFiles", "Files", "Names the files of a bucket",
                .params = P(BUCKET) | P(PREFIX) | P(DELIMITER) | P(AFTER) | P(LIMIT),
                .answers = {{200, JSON, "FileList", 0, "A page, in the order of the keys."}},
                .errors = E_STORE | E(ERR_NO_BUCKET) | E(ERR_KEY_TOO_LONG))),
    ROUTE(POST, "/v1/files", REST_OP_POST, RIGHT_WRITE, true, rest_post,
          ABOUT("postFile", "Files", "Writes a new file", TEXT_BODY, P(BUCKET) | P(KEY) | P_CONTENT,
                BODY_CONTENT_OR_FORM, {A_CREATED}, E_BODY | E_NAME | E(ERR_EXISTS))),
    ROUTE(POST, "/v1/files:delete", REST_OP_DELETE_MANY, RIGHT_DELETE, true, rest_delete_many,
          ABOUT("deleteFiles", "Files by id", "Deletes many files",
                "One write to the log keeps all of it. " TEXT_NO_KEY, 0, BODY_DELETE_MANY,
                {{200, JSON, "DeleteResults", H(DURABILITY), "What became of each."}},
                E_CHANGE | E_NO_KEY)),
    ROUTE(GET, BY_ID, REST_OP_GET, RIGHT_READ, true, rest_get,
          ABOUT("getFileById", "Files by id", "A file's content", .params = P_READ | P_RANGE,
                .answers = {A_CONTENT, A_PART, A_UNCHANGED}, .errors = E_READ)),
    ROUTE(PUT, BY_ID, REST_OP_PUT, RIGHT_WRITE, true, rest_put_id,
          ABOUT("putFileById", "Files by id", "Writes a new version", TEXT_BODY, P_CONTENT,
                BODY_CONTENT, {A_WRITTEN}, E_BODY | E_NAME)),
    ROUTE(HEAD, BY_ID, REST_OP_HEAD, RIGHT_READ, true, rest_get,
          ABOUT("headFileById", "Files by id", "What is known of a file", TEXT_HEAD, P_READ,
                .answers = {A_HEAD, A_UNCHANGED}, .errors = E_READ)),
    ROUTE(DELETE, BY_ID, REST_OP_DELETE, RIGHT_DELETE, true, rest_delete_id,
          ABOUT("deleteFileById", "Files by id", "Deletes a file", .params = P_DELETE,
                .answers = {A_DELETED}, .errors = E_DELETE)),
    ROUTE(GET, "/v1/buckets", REST_OP_BUCKET_LIST, RIGHT_LIST, true, rest_bucket_list,
          ABOUT("listBuckets", "Buckets", "Names the buckets", .params = P(AFTER),
                .answers = {{200, JSON, "BucketList", 0, "A page, in the order of the names."}},
                .errors = E_STORE)),
    ROUTE(GET, BUCKET, REST_OP_BUCKET_GET, RIGHT_LIST, true, rest_bucket_get,
          ABOUT("getBucket", "Buckets", "What is known of a bucket",
                .answers = {{200, JSON, "Bucket", 0, "The bucket."}},
                .errors = E_STORE | E(ERR_NO_BUCKET))),
    ROUTE(PUT, BUCKET, REST_OP_BUCKET_PUT, RIGHT_BUCKETS, true, rest_bucket_put,
          ABOUT("putBucket", "Buckets", "Makes a bucket, or changes its settings", TEXT_NO_KEY,
                .body = BODY_SETTINGS,
                .answers = {{201, JSON, "Bucket", H(DURABILITY), "The bucket is new."},
                            {200, JSON, "Bucket", H(DURABILITY), "The bucket was there."}},
                .errors = E_CHANGE | E_NO_KEY | E(ERR_BAD_BUCKET_NAME))),
    ROUTE(DELETE, BUCKET, REST_OP_BUCKET_DELETE, RIGHT_BUCKETS, true, rest_bucket_delete,
          ABOUT("deleteBucket", "Buckets", "Deletes an empty bucket", TEXT_NO_KEY,
                .answers = {A_DELETED},
                .errors = E_CHANGE | E_NO_KEY | E(ERR_NO_BUCKET) | E(ERR_BUCKET_NOT_EMPTY))),
    ROUTE(GET, "/v1/admin/status", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_status,
          ABOUT("getStatus", "Administration", "The state of the server",
                .answers = {{200, JSON, "Status", 0, "The state."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/wal", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_wal,
          ABOUT("getWal", "Administration", "The state of the log",
                .answers = {{200, JSON, "Wal", 0, "The state."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/shards", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_shards,
          ABOUT("getShards", "Administration", "The state of each shard",
                .answers = {{200, JSON, "Shards", 0, "The shards."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/risk", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_risk,
          ABOUT("getRisk", "Administration", "What is damaged", .params = P(AFTER_TOKEN) | P(LIMIT),
                .answers = {{200, JSON, "Risk", 0, "A page."}}, .errors = E_STORE)),
    ROUTE(GET, "/v1/admin/scrub", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_scrub,
          ABOUT("getScrub", "Administration", "How far scrub is",
                .answers = {{200, JSON, "Scrub", 0, "How far it is."}}, .errors = E_STORE)),
    ROUTE(POST, "/v1/admin/scrub/start", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_scrub_start,
          ABOUT("startScrub", "Administration", "Scrub goes on, and begins now if it waits",
                .answers = {{200, JSON, "Scrub", 0, "How far it is."}},
                .errors = E_STORE | E_NO_KEY)),
    ROUTE(POST, "/v1/admin/scrub/pause", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_scrub_pause,
          ABOUT("pauseScrub", "Administration", "Scrub stops, over restarts too",
                .answers = {{200, JSON, "Scrub", 0, "How far it is."}},
                .errors = E_STORE | E_NO_KEY)),
    ROUTE(POST, "/v1/admin/scrub/resume", REST_OP_ADMIN, RIGHT_ADMIN, true, rest_admin_scrub_resume,
          ABOUT("resumeScrub", "Administration", "Scrub goes on",
                .answers = {{200, JSON, "Scrub", 0, "How far it is."}},
                .errors = E_STORE | E_NO_KEY)),
    ROUTE(GET, "/healthz", REST_OP_HEALTH, 0, false, rest_healthz,
          ABOUT("getHealth", "Server", "Whether the process answers",
                .answers = {{200, JSON, "Health", 0, "It does."}}, .errors = E_ANY)),
    ROUTE(GET, "/readyz", REST_OP_HEALTH, 0, false, rest_readyz,
          ABOUT("getReadiness", "Server", "Whether files are served",
                .answers = {{200, JSON, "Readiness", 0, "They are."},
                            {503, JSON, "Readiness", 0, "They are not; phase says why."}},
                .errors = E_ANY)),
    ROUTE(
        GET, "/metrics", REST_OP_METRICS, 0, false, rest_metrics,
        ABOUT(
            "getMetrics", "Server", "Metrics for Prometheus",
            "In OpenMetrics, if Accept names it. Of buckets only for a key that may administrate.",
            .answers = {{200, "text/plain", NULL, H(VARY), "The metrics."},
                        {200, "application/openmetrics-text", NULL, H(VARY), NULL}},
            .errors = E_STORE)),
    ROUTE(GET, "/openapi.json", REST_OP_DOCS, 0, false, rest_openapi,
          ABOUT("getOpenApi", "Server", "This document",
                .answers = {{200, JSON, "", 0, "OpenAPI 3.1."}}, .errors = E_ANY)),
    ROUTE(GET, "/docs", REST_OP_DOCS, 0, false, rest_docs_page,
          ABOUT("getDocs", "Server", "This document as a page to read",
                .answers = {{200, "text/html", NULL, H_PAGE, "The page."}}, .errors = E_ANY)),
    ROUTE(GET, "/docs/{part}", REST_OP_DOCS, 0, false, rest_docs_part,
          ABOUT("getDocsPart", "Server", "The page's script and style",
                .answers = {{200, "text/*", NULL, H_PAGE, "docs.js or docs.css."}},
                .errors = E_ANY | E(ERR_NO_ROUTE))),
};

const size_t rest_route_count = ARRAY_LEN(rest_routes);
