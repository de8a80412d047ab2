/* Policies of POST forms: any bytes give an answer, the same each time, with a text where they are
 * refused; a policy without conditions takes no field, and none takes what has expired. */
#include "api/s3/post_policy.h"

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS 1369353600000       /* 2013-05-24T00:00:00Z */
#define FOREVER_MS 253402300799999 /* the last moment of 9999 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const PostField fields[] = {{STR_INIT("key"), STR_INIT("user/a")},
                                       {STR_INIT("Content-Type"), STR_INIT("text/a,text/b")},
                                       {STR_INIT("policy"), STR_INIT("x")},
                                       {STR_INIT("bucket"), STR_INIT("box")}};
    Str policy = str_of(data, size);
    PostLimits limits = {.size_max = 1000};
    PostLimits again = limits;
    Err err = {0};
    Err other = {0};
    PostPolicyResult first = post_policy_check(policy, fields, ARRAY_LEN(fields), NOW_MS, &limits,
                                               &err);
    ASSERT(first == POST_POLICY_OK || err.message[0] != '\0');
    ASSERT(post_policy_check(policy, fields, ARRAY_LEN(fields), NOW_MS, &again, &other) == first);
    ASSERT(limits.size_min == again.size_min && limits.size_max == again.size_max);
    ASSERT(limits.size_max <= 1000);
    ASSERT(post_policy_check(policy, fields, 1, FOREVER_MS, &again, NULL) != POST_POLICY_OK);
    return 0;
}
