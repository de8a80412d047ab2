/* CRC32C (Castagnoli, reflected 0x82f63b78), by isa-l. crc32c("123456789") = 0xe3069283. */
#ifndef HOLDFAST_BASE_CRC_H
#define HOLDFAST_BASE_CRC_H

#include "base/check.h"

uint32_t crc32c(const void *data, size_t len);
/* Goes on from the crc of what came before (0 for nothing). */
uint32_t crc32c_more(uint32_t crc, const void *data, size_t len);

#endif
