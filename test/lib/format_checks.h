/* What must hold for any bytes given to the decoders of src/format: they end with an error, or
 * with something that encodes to the same bytes again. Used by the fuzz targets on what libFuzzer
 * thinks of and by the unit tests on damaged examples. A violation aborts (ASSERT). Structures
 * with a checksum are tried as they are and again with the checksum mended, so that the checks
 * behind it are reached. Each gives true if data itself was accepted. One thread. */
#ifndef HOLDFAST_TEST_LIB_FORMAT_CHECKS_H
#define HOLDFAST_TEST_LIB_FORMAT_CHECKS_H

#include "base/str.h"

bool check_entry(Str data);
bool check_frame(Str data);
bool check_truncate(Str data);
bool check_segment_header(Str data); /* shorter data is filled up with zeros, as in all blocks */
bool check_checkpoint(Str data);
bool check_replica_state(Str data);
bool check_shard_config(Str data);
bool check_pack_header(Str data);
bool check_pack_record(Str data);
bool check_pack_mark(Str data);
bool check_blob_footer(Str data);
bool check_chunk_row(Str data);
bool check_row_key_name(Str data);
bool check_file_row(Str data);
bool check_id_row(Str data);
bool check_applied_row(Str data);
bool check_request_row(Str data);
bool check_pack_row(Str data);
bool check_names_part(Str data);
bool check_bucket_stat(Str data);
bool check_attrs(Str data);
bool check_bucket_record(Str data);
bool check_upload_record(Str data);
bool check_class_record(Str data);
bool check_key_record(Str data);
bool check_ids(Str data); /* every text form */

#endif
