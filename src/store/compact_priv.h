/* What the files of compaction share; compact.h says how they work together. */
#ifndef HOLDFAST_STORE_COMPACT_PRIV_H
#define HOLDFAST_STORE_COMPACT_PRIV_H

#include "store/compact.h"
#include "store/store_priv.h"

#define COMPACT_STEP_RECORDS 256
#define COMPACT_STEP_BYTES (1 * MIB)
#define COMPACT_STEP_MAX (COMPACT_STEP_BYTES + PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8)

typedef enum {
    COMPACT_KIND_BODY = 1, /* its row says where it stands */
    COMPACT_KIND_WRITE,    /* a version without a body here */
    COMPACT_KIND_META,
    COMPACT_KIND_MARKER, /* a delete marker: a version */
    COMPACT_KIND_TOMBSTONE,
    COMPACT_KIND_REQUEST, /* what is left of a change whose file needs it no longer */
    COMPACT_KIND_CONTROL  /* of the shard, of no file */
} CompactKind;
CompactKind compact_kind(const Entry *entry);
/* The version whose row decides whether entry, of a kind before TOMBSTONE, is needed. */
VersionId compact_version(const Entry *entry);

typedef enum { COMPACT_MOVE = 1, COMPACT_NAMES, COMPACT_RETIRE } CompactStepKind;

typedef struct {
    PackPlace place; /* in the old pack */
    size_t at;       /* in CompactStep.records */
} CompactItem;

struct CompactStep {
    CompactStepKind kind;
    uint64_t pack;
    Buf records; /* MOVE: encoded, one behind the other */
    CompactItem items[COMPACT_STEP_RECORDS];
    size_t count;
    uint32_t *names; /* NAMES: rising; the Compactor's */
    size_t name_count;
    uint64_t rest_bytes; /* RETIRE: of records in the pack that are no bodies, as read */
};

/* --- compact_look.c: the reading side's questions --- */
typedef struct {
    uint32_t *items; /* rising, each once, behind names_sort() */
    size_t count;
    size_t capacity;
} Names;
void names_add(Names *names, uint32_t name);
void names_sort(Names *names);
bool names_have(const Names *names, uint32_t name);
void names_deinit(Names *names);

typedef struct {
    bool needed;
    bool tombstone; /* instead of needed */
    bool request;   /* the index has the row of its request */
} CompactLook;
/* Does the index still need record, which stands at place? */
MUST_USE ErrCode compact_look(IndexReader *reader, const PackRecord *record, const PackPlace *place,
                              CompactLook *out, Err *err);
/* The key of entry's request row; 0: it carries no request. */
size_t compact_request_key(const Entry *entry, uint8_t key[ROW_KEY_MAX]);
/* Is value, of a request row, that of entry? ERR_CORRUPT. */
MUST_USE ErrCode compact_request_is(Str value, const Entry *entry, bool *out, Err *err);
#define COMPACT_REQUEST_ATTRS_MAX 128
/* A record of which an index makes the request row of entry and nothing else; its attributes go to
 * the empty attrs, of COMPACT_REQUEST_ATTRS_MAX bytes. */
MUST_USE ErrCode compact_request_only(const Entry *entry, Buf *attrs, PackRecord *out, Err *err);
/* Is the name of tombstone entry held by an UPDATE that is newer and ends all before it? */
MUST_USE ErrCode compact_outlived(Store *store, IndexReader *reader, const Entry *entry, Buf *buf,
                                  bool *outlived, Err *err);
/* Adds those of names that pack may hold to *held. *known false: its names were never gathered. */
MUST_USE ErrCode compact_names_of(IndexReader *reader, uint64_t pack, const Names *names,
                                  Names *held, bool *known, Err *err);
/* The row of pack; zeros if there is none. */
MUST_USE ErrCode compact_pack_row(IndexReader *reader, uint64_t pack, PackRow *out, Err *err);

/* --- compact_move.c: the applier's --- */
/* Puts the row of a version, as it is in *row, under key. */
MUST_USE ErrCode store_put_row(Store *store, const uint8_t *key, size_t key_len, const FileRow *row,
                               Err *err);
/* Was nothing lost or half done by a step that failed so? */
bool store_step_harmless(ErrCode code);
/* A batch was committed that a checkpoint is to make durable. */
void store_note_dirty(Store *store);
/* Unlinks the packs that were retired before the last checkpoint. */
MUST_USE ErrCode store_unlink_retired(Store *store, Err *err);

#endif
