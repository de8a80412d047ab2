/* What the one-node simulator knows must be true: for each key the value that was last
 * acknowledged, and after a crash the values that may have been. One thread. */
#ifndef HOLDFAST_TEST_SIM_ONE_NODE_MODEL_H
#define HOLDFAST_TEST_SIM_ONE_NODE_MODEL_H

#include "history.h"
#include "node_kit.h"

#define MODEL_BUCKETS 2
#define MODEL_KEYS 14  /* in each bucket, with names of ours */
#define MODEL_RANDOM 3 /* and with names that the engine makes */
#define MODEL_SLOTS (MODEL_KEYS + MODEL_RANDOM)
#define MODEL_OPS 24 /* under way at once */

typedef uint64_t ValueId; /* 0: absent */

typedef enum {
    OP_KIND_PUT,
    OP_KIND_NEW,
    OP_KIND_CAS,
    OP_KIND_DELETE,
    OP_KIND_CAS_DELETE,
    OP_KIND_CREATE,    /* only if the name is free */
    OP_KIND_NEW_NAME,  /* under a name that the engine makes */
    OP_KIND_UPDATE_ID, /* by file id */
    OP_KIND_DELETE_ID,
    OP_KIND_BUCKET_CREATE,
    OP_KIND_BUCKET_DELETE,
    OP_KIND_REPEAT /* of a request that was acknowledged: changes nothing */
} OpKind;

#define MODEL_REQUESTS 8

/* A change that was acknowledged and carried a request id. */
typedef struct {
    RequestId id;
    Sha256 hash;
    unsigned bucket;
    unsigned key;
    ShardId shard;
    FileId file;
    VersionId version;
} ModelRequest;

/* One of unknown outcome. */
typedef struct {
    RequestId id;
    Sha256 hash;
    unsigned bucket;
    unsigned key;
    ValueId value;
    bool seen; /* the value was there after the crash: it was made */
} ModelUnsure;

/* One change under way. */
typedef struct {
    bool used;
    bool answered;
    OpKind kind;
    unsigned bucket;
    unsigned key;
    ValueId value;      /* what it writes */
    ValueId expected;   /* CAS: what must be there */
    FileId file;        /* by id: which */
    bool may_refuse;    /* at some moment since its submission its condition did not hold */
    bool may_miss;      /* … the key was absent */
    bool may_lack;      /* … the bucket was absent */
    bool may_exceed;    /* … it would have exceeded its bucket's quota */
    uint64_t files_max; /* the highest quotas of its bucket since then */
    uint64_t bytes_max;
    uint64_t event; /* its number in the history */
    Mutation m;
    Extent extent;
    Buf body;
    char etag[ETAG_MAX + 2];
    ModelRequest first; /* REPEAT: of which */
    bool other_hash;    /* … with the hash of another request */
    bool retries;       /* a request of unknown outcome is sent again … */
    bool was_made;      /* … and had been made */
} ModelOp;

#define MODEL_VALUES 256 /* submitted in one run */

typedef struct {
    ValueId values[MODEL_BUCKETS][MODEL_SLOTS];
    FileId ids[MODEL_BUCKETS][MODEL_SLOTS]; /* of the file there, or that was there last */
    char random[MODEL_BUCKETS][MODEL_RANDOM][ID128_TEXT_LEN + 1]; /* "": not made yet */
    ModelRequest requests[MODEL_REQUESTS];                        /* the newest ones */
    size_t request_count;
    ModelUnsure unsure[MODEL_REQUESTS];
    size_t unsure_count;
    bool buckets[MODEL_BUCKETS];
    uint64_t quota_files[MODEL_BUCKETS]; /* 0: none */
    uint64_t quota_bytes[MODEL_BUCKETS];
    ModelOp ops[MODEL_OPS];
    History *history;
    struct {
        ValueId value;
        Sha256 digest;
    } submitted[MODEL_VALUES];
    size_t submitted_count;
    bool reads_may_fail; /* with ERR_IO or ERR_FILE_DAMAGED; never with other bytes */
    uint64_t acknowledged;
    uint64_t refused;
    uint64_t unknown;
    bool failed;
    char failure[400];
} Model;

void model_init(Model *model);
void model_deinit(Model *model);
/* A free op, or NULL. */
ModelOp *model_take(Model *model);
void model_release(ModelOp *op);
Str model_bucket_name(unsigned bucket);
/* Empty: a name that the engine is to make. */
Str model_key_name(const Model *model, unsigned bucket, unsigned key);
/* The slot of a key; MODEL_SLOTS: none. */
unsigned model_slot(const Model *model, unsigned bucket, Str key);
/* Is an op on this slot under way? */
bool model_slot_busy(const Model *model, unsigned bucket, unsigned key);
/* The bytes that stand for value; the same each time. */
void model_body(ValueId value, Buf *out);
/* "\"etag\"" of value. */
void model_etag(ValueId value, char out[ETAG_MAX + 2]);
/* Makes op a repeat of a request that was acknowledged; false: there is none. other_hash: under the
 * same id, another one. */
bool model_repeat(Model *model, ModelOp *op, Rng *rng);
/* Makes op, a PUT without a target, one that sends a request of unknown outcome again; false: there
 * is none. */
bool model_retry(Model *model, ModelOp *op);
/* The op was submitted: what may it be told? Call before engine_submit(). */
void model_submitted(Model *model, ModelOp *op);
/* The op was answered with op->m.code. */
void model_answered(Model *model, ModelOp *op);
/* The process died: what was under way may or may not have happened. */
void model_crashed(Model *model);
/* Every change that was acknowledged is applied: the index has the rows of their requests. */
void model_check_requests(Model *model, NodeKit *kit);
/* Nothing waits to be applied: the index counts what the buckets hold. */
void model_check_usage(Model *model, NodeKit *kit);
/* A client saw value under a name, looking since moment. */
void model_saw(Model *model, unsigned bucket, unsigned key, ValueId value, uint64_t moment);
/* Does the history of every key have an order? */
void model_check_history(Model *model, HistoryStats *stats);
/* Which submitted value has this digest? 0: none. */
ValueId model_value_of_digest(const Model *model, const Sha256 *digest);
/* Is got the body of some value? 0: no. */
ValueId model_value_of(const Buf *got);
/* Reads all keys and lists of a ready node. after_crash: unknown outcomes are settled by what is
 * seen. */
void model_compare(Model *model, NodeKit *kit, bool after_crash);
/* The disk could not be read, and may be so. */
bool model_excuses(const Model *model, ErrCode code);
void model_fail(Model *model, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
