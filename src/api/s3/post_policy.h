/* The policy of a POST form: a JSON document that its signer made, which says until when and with
 * which fields a form is taken.
 *   {"expiration": TIME, "conditions": [{"bucket": "b"}, ["eq", "$key", "a"],
 *    ["starts-with", "$key", "user/"], ["content-length-range", 1, 1000]]}
 * Pure; any thread. */
#ifndef HOLDFAST_API_S3_POST_POLICY_H
#define HOLDFAST_API_S3_POST_POLICY_H

#include "base/str.h"

/* A field of a form; names are told apart without case. */
typedef struct {
    Str name;
    Str value;
} PostField;

typedef struct {
    uint64_t size_min; /* bytes of the file */
    uint64_t size_max;
} PostLimits;

typedef enum {
    POST_POLICY_OK,
    POST_POLICY_MALFORMED,  /* InvalidPolicyDocument */
    POST_POLICY_EXPIRED,    /* AccessDenied, like the others */
    POST_POLICY_REFUSED,    /* a condition does not hold */
    POST_POLICY_EXTRA_FIELD /* a field that no condition is about */
} PostPolicyResult;

/* Does the policy take these fields at now_ms? size_max stays what it was without a condition about
 * it. On a refusal err has S3's text. Fields that need no condition (signature, policy, file, and
 * those that begin with x-ignore-) may be among them. */
PostPolicyResult post_policy_check(Str policy, const PostField *fields, size_t count,
                                   uint64_t now_ms, PostLimits *limits, Err *err);

#endif
