/* The checksum of a page of index.db, in the 8 bytes that SQLite reserves at the end of each page:
 * page number le32, then CRC32C le32 over everything before it. The number is stored as well as
 * summed, so a page that was written to the wrong place is found and named. Format: README.md.
 * Pure: no state, any thread. */
#ifndef HOLDFAST_INDEX_PAGE_SUM_H
#define HOLDFAST_INDEX_PAGE_SUM_H

#include "base/check.h"

#define PAGE_SIZE_BYTES 4096
#define PAGE_RESERVED_BYTES 8

/* Writes number (from 1) and checksum into the reserved bytes of page (PAGE_SIZE_BYTES). */
void page_sum_set(uint8_t *page, uint32_t number);
/* Is page what page_sum_set() left, under this number? */
bool page_sum_ok(const uint8_t *page, uint32_t number);
/* The page number that page claims to be. */
uint32_t page_sum_number(const uint8_t *page);
/* Nothing but zeros: a page of the file that was never written (a hole). */
bool page_is_zero(const uint8_t *page);

#endif
