/* Making, recognizing and removing index.db, outside SQLite's own reading of it. */
#ifndef HOLDFAST_INDEX_INDEX_FILE_H
#define HOLDFAST_INDEX_INDEX_FILE_H

#include "index/conn.h"

/* Makes an empty index.db if there is none (*created), whole or not at all; otherwise looks at its
 * header: ERR_CORRUPT, ERR_FORMAT_VERSION. */
MUST_USE ErrCode index_file_ensure(Disk *disk, Vfs *vfs, bool *created, Err *err);
/* Looks at the header of an index.db that is there; errors as above, ERR_NOT_FOUND. */
MUST_USE ErrCode index_file_look(Disk *disk, Err *err);
/* The same question to SQLite, which sees page 1 as the log has it. */
MUST_USE ErrCode index_file_verify(Conn *conn, Err *err);
MUST_USE ErrCode index_file_remove(Disk *disk, Err *err);

#endif
