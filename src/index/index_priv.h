/* What index.c (writer) and reader.c share. */
#ifndef HOLDFAST_INDEX_INDEX_PRIV_H
#define HOLDFAST_INDEX_INDEX_PRIV_H

#include "index/conn.h"
#include "index/index.h"
#include "index/index_mark.h"
#include "index/pending.h"
#include <stdatomic.h>

typedef enum {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_PUT,
    STMT_DELETE,
    STMT_GET,
    STMT_FIRST,
    STMT_COUNT,
} StmtId;

struct Index {
    Vfs *vfs;
    Conn conn; /* the writer's */
    IndexMark *mark;
    uint64_t log_frames; /* in index.db-wal, as of the last commit; 0: none since it was opened */
    sqlite3_stmt *stmts[STMT_COUNT];
    IndexOptions options; /* without zeros */
    bool in_batch;
    Pending pending; /* of the batch: before any read in it and its commit they are written */
    Buf key;         /* what index_batch_first() gave */
    Buf value;       /* what index_batch_get() and _first() gave */
    _Atomic uint64_t rows_written;
    _Atomic unsigned readers;
};

#endif
