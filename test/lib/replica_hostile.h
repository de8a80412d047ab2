/* One replica among peers that say whatever bytes make them say: who they are, terms, places in
 * logs, CONFIGs, chains of entries that nearly fit. Its own driver is an honest one: what it asks
 * for is done, at once or later. Whatever is said, it must never come to an assertion. */
#ifndef HOLDFAST_TEST_LIB_REPLICA_HOSTILE_H
#define HOLDFAST_TEST_LIB_REPLICA_HOSTILE_H

#include <stddef.h>
#include <stdint.h>

/* Runs what data[size] spell, and returns how many events that were. */
size_t replica_hostile_run(const uint8_t *data, size_t size);

#endif
