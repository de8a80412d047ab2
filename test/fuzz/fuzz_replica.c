/* Messages of hostile peers: test/lib/replica_hostile.h. */
#include "replica_hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return replica_hostile_run(data, size) == 0;
}
