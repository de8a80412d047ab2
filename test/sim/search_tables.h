/* What never changes once it is made, kept once by its contents: entries, configurations, messages.
 * Of the whole process; never freed. */
#ifndef HOLDFAST_TEST_SIM_SEARCH_TABLES_H
#define HOLDFAST_TEST_SIM_SEARCH_TABLES_H

#include "replica/replica.h"

uint64_t table_mix(uint64_t hash, uint64_t value);
uint64_t table_mix_uuid(uint64_t hash, Uuid uuid);
uint64_t table_mix_config(uint64_t hash, const ShardConfig *config);

/* Numbers, from 1 on; the same for the same contents. */
uint32_t table_entry(const LogEntry *entry);
uint32_t table_config(const ShardConfig *config);
uint32_t table_message(const Message *message);
const Message *search_message(uint32_t id);
/* The hash of an entry that member `who` appends: of all that it is, and of the entry before. */
void table_seal(LogEntry *entry, unsigned who);

#endif
