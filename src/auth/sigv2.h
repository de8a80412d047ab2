/* Signature Version 2 in an address, as older programs presign it (boto3 still does, unless told
 * otherwise): AWSAccessKeyId, Expires (seconds since 1970) and Signature, an HMAC-SHA1. It covers
 * method, path, Content-MD5, Content-Type, x-amz-… headers and the parameters that name something
 * of an object or bucket; an address with any other parameter is refused, so that nothing that the
 * signer did not sign changes what is done. The policy of a form is signed likewise. Pure: the
 * caller tells the time. */
#ifndef HOLDFAST_AUTH_SIGV2_H
#define HOLDFAST_AUTH_SIGV2_H

#include "auth/sigv4.h"

/* Does the request show such a signature? */
bool sigv2_is_presigned(const SigV4Request *request);
/* Who signed it, at now_ms (since 1970)? host_bucket: the bucket that the host names; empty: none.
 * *out is set for SIGV4_OK only: its body is unsigned, its region us-east-1. */
SigV4Result sigv2_check(const AuthKeys *keys, const SigV4Request *request, Str host_bucket,
                        uint64_t now_ms, SigV4 *out);
/* The same for a form's policy, as it came: its fields AWSAccessKeyId and signature. *out has no
 * body. */
SigV4Result sigv2_check_policy(const AuthKeys *keys, Str key_id, Str signature, Str policy,
                               uint64_t now_ms, SigV4 *out);

#endif
