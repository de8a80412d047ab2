/* CRC32C (Castagnoli, reflected 0x82f63b78), by isa-l. crc32c("123456789") = 0xe3069283. And the
 * two others that clients of S3 send: CRC32 (reflected 0xedb88320, as in gzip), of "123456789"
 * 0xcbf43926, by isa-l; CRC64NVME (reflected 0x9a6c9329ac4bc9b5), 0xae8b14860a799888,
 * by multiplication without carry where the processor has it, else by tables. */
#ifndef HOLDFAST_BASE_CRC_H
#define HOLDFAST_BASE_CRC_H

#include "base/check.h"

uint32_t crc32c(const void *data, size_t len);
/* Goes on from the crc of what came before (0 for nothing). */
uint32_t crc32c_more(uint32_t crc, const void *data, size_t len);
uint32_t crc32_more(uint32_t crc, const void *data, size_t len);
uint64_t crc64nvme_more(uint64_t crc, const void *data, size_t len);

/* The crc of two pieces, one behind the other, of their crcs and the bytes of the second. */
uint32_t crc32_join(uint32_t first, uint32_t second, uint64_t second_len);
uint32_t crc32c_join(uint32_t first, uint32_t second, uint64_t second_len);
uint64_t crc64nvme_join(uint64_t first, uint64_t second, uint64_t second_len);

#endif
