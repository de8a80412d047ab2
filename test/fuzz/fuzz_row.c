/* Keys and values of index rows: test/lib/format_checks.h says what must hold. */
#include "format_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str input = str_of(data, size);
    check_row_key_name(input);
    check_file_row(input);
    check_id_row(input);
    check_applied_row(input);
    check_request_row(input);
    check_pack_row(input);
    check_names_part(input);
    check_bucket_stat(input);
    return 0;
}
