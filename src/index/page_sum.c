#include "index/page_sum.h"

#include "base/codec.h"
#include "base/crc.h"
#include <string.h>

enum {
    NUMBER_AT = PAGE_SIZE_BYTES - PAGE_RESERVED_BYTES,
    CRC_AT = PAGE_SIZE_BYTES - 4,
};

void page_sum_set(uint8_t *page, uint32_t number)
{
    ASSERT(number > 0);
    put_u32(page + NUMBER_AT, number);
    put_u32(page + CRC_AT, crc32c(page, CRC_AT));
}

bool page_sum_ok(const uint8_t *page, uint32_t number)
{
    return get_u32(page + NUMBER_AT) == number && get_u32(page + CRC_AT) == crc32c(page, CRC_AT);
}

uint32_t page_sum_number(const uint8_t *page)
{
    return get_u32(page + NUMBER_AT);
}

bool page_is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_SIZE_BYTES - 1) == 0;
}
