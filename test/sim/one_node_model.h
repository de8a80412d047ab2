/* What the one-node simulator knows must be true: for each key the value that was last
 * acknowledged, and after a crash the values that may have been. One thread. */
#ifndef HOLDFAST_TEST_SIM_ONE_NODE_MODEL_H
#define HOLDFAST_TEST_SIM_ONE_NODE_MODEL_H

#include "node_kit.h"

#define MODEL_BUCKETS 2
#define MODEL_KEYS 14 /* in each bucket */
#define MODEL_OPS 24  /* under way at once */

typedef uint64_t ValueId; /* 0: absent */

typedef enum {
    OP_KIND_PUT,
    OP_KIND_NEW,
    OP_KIND_CAS,
    OP_KIND_DELETE,
    OP_KIND_CAS_DELETE,
    OP_KIND_BUCKET_CREATE,
    OP_KIND_BUCKET_DELETE
} OpKind;

/* One change under way. */
typedef struct {
    bool used;
    bool answered;
    OpKind kind;
    unsigned bucket;
    unsigned key;
    ValueId value;    /* what it writes */
    ValueId expected; /* CAS: what must be there */
    bool may_refuse;  /* at some moment since its submission its condition did not hold */
    bool may_miss;    /* … the key was absent */
    bool may_lack;    /* … the bucket was absent */
    Mutation m;
    Extent extent;
    Buf body;
    char etag[ETAG_MAX + 2];
} ModelOp;

typedef struct {
    ValueId values[MODEL_BUCKETS][MODEL_KEYS];
    bool buckets[MODEL_BUCKETS];
    ModelOp ops[MODEL_OPS];
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
Str model_key_name(unsigned key);
/* The bytes that stand for value; the same each time. */
void model_body(ValueId value, Buf *out);
/* "\"etag\"" of value. */
void model_etag(ValueId value, char out[ETAG_MAX + 2]);
/* The op was submitted: what may it be told? Call before engine_submit(). */
void model_submitted(Model *model, ModelOp *op);
/* The op was answered with op->m.code. */
void model_answered(Model *model, ModelOp *op);
/* The process died: what was under way may or may not have happened. */
void model_crashed(Model *model);
/* Reads all keys and lists of a ready node. after_crash: unknown outcomes are settled by what is
 * seen. */
void model_compare(Model *model, NodeKit *kit, bool after_crash);
void model_fail(Model *model, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
