/* Records of placement classes: test/lib/format_checks.h says what must hold. */
#include "format_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str input = str_of(data, size);
    check_class_record(input);
    return 0;
}
