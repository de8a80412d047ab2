/* Risk: what of one root is known to be damaged: files whose stored bytes could not be read back as
 * they were written, and places that belong to no file (a page of index.db, a log segment). Written
 * by whoever finds damage (GET, scrub, compaction, the applier), read by administrators.
 *
 * It is a list for people, no source of truth: damage is found again by reading. So risk.json is
 * written some time after a change (risk_save(), the applier's, at most once a second), and one
 * that cannot be read goes to quarantine/ and the list begins anew. Format: docs/format.md.
 *
 * At most RISK_MAX entries; what is found beyond is only counted (risk_unlisted()).
 *
 * Threads: every function but risk_open() and risk_free() may be called by any thread, with locks
 * up to LOCK_RANK_QUEUE held; risk_save() by one thread at a time, with none. */
#ifndef HOLDFAST_STORE_RISK_H
#define HOLDFAST_STORE_RISK_H

#include "base/clock.h"
#include "disk/disk.h"
#include "format/ids.h"

#define RISK_FILE "risk.json"
#define RISK_MAX 10000
#define RISK_DETAIL_MAX 200 /* bytes of text kept */

typedef struct Risk Risk;

typedef enum {
    RISK_CHECKSUM = 1, /* bytes are there but not those that were written */
    RISK_UNREADABLE,   /* the disk does not give them (EIO, a mapped page that can't be read) */
    RISK_MISSING,      /* the file or its end is not there */
    RISK_FOREIGN       /* another file's, shard's or root's stand there */
} RiskCause;

/* Why a read failed with this code. */
RiskCause risk_cause_of(ErrCode code);
/* "checksum", "unreadable", "missing", "foreign". */
const char *risk_cause_name(RiskCause cause);

/* Damage, as its finder tells it; everything is copied. */
typedef struct {
    FileId
        file; /* all zero: a place that belongs to no file; the next four are then not looked at */
    VersionId version;
    BucketUid bucket;
    Str key;
    uint64_t size; /* bytes of the version's body */
    RiskCause cause;
    const char *place;  /* path in the root: "packs/7.pack", at most DISK_PATH_MAX */
    uint64_t offset;    /* of the record, chunk or page in it */
    const char *detail; /* err_text(); NULL: none; cut at RISK_DETAIL_MAX */
} RiskFound;

/* Notes damage. A file (or place and offset) that is listed already gets the new cause, place and
 * time; a new one is logged, once, as file.at_risk or place.at_risk. */
void risk_add(Risk *risk, const RiskFound *found);

typedef enum {
    RISK_WHOLE = 1, /* it was read again, all of it, and every checksum was right */
    RISK_GONE       /* deleted or overwritten; the pack, segment or page is no more */
} RiskEnd;

/* Takes a version off the list; cheap and without effect if it is not listed. */
void risk_clear(Risk *risk, FileId file, VersionId version, RiskEnd why);
/* The same for a place that belongs to no file. */
void risk_clear_place(Risk *risk, const char *place, uint64_t offset, RiskEnd why);
/* The same for all offsets of it. */
void risk_clear_path(Risk *risk, const char *place, RiskEnd why);
/* A scrub begins that will read everything: what was only counted will be found again. */
void risk_recount(Risk *risk);

/* --- reading --- */
size_t risk_files(const Risk *risk);        /* listed */
size_t risk_places(const Risk *risk);       /* the same */
size_t risk_index_places(const Risk *risk); /* of these places those of index.db */
uint64_t risk_unlisted(const Risk *risk);   /* sightings for which there was no room; may count one
                                               file more than once */

/* Is the version listed? */
bool risk_has(Risk *risk, FileId file, VersionId version);

typedef struct {
    FileId file; /* all zero: a place */
    VersionId version;
    BucketUid bucket;
    uint8_t key[KEY_MAX];
    size_t key_len;
    uint64_t size;
    RiskCause cause;
    char place[DISK_PATH_MAX + 1];
    uint64_t offset;
    char detail[RISK_DETAIL_MAX + 1];
    uint64_t since_ms; /* first seen, wall clock */
    uint64_t seen_ms;  /* last seen */
} RiskEntry;

/* Where a walk stands: all zero before the first. */
#define RISK_CURSOR_MAX (DISK_PATH_MAX + 10)
typedef struct {
    uint8_t key[RISK_CURSOR_MAX];
    size_t len;
} RiskCursor;

/* The next entry behind *cursor, which moves there: files by id and version, then places; false at
 * the end. What is added or cleared meanwhile may be seen or not. */
bool risk_next(Risk *risk, RiskCursor *cursor, RiskEntry *out);

/* --- life --- */
/* Reads risk.json of disk, if it is there. number: of this start, names what goes to quarantine.
 * Errors: ERR_IO, ERR_NO_SPACE, ERR_SYSTEM, ERR_FORMAT_VERSION. */
MUST_USE ErrCode risk_open(Disk *disk, Clock *clock, uint64_t number, Risk **out, Err *err);
void risk_free(Risk *risk); /* saves nothing; NULL is fine */
/* Writes risk.json durably if something changed and a second has passed since the last time; with
 * force, at once. ERR_NO_SPACE, ERR_SYSTEM, ERR_NO_MEMORY: call again later. ERR_IO: nothing more
 * is written by this process (rule 1 of TESTING.md); the list in memory goes on. */
MUST_USE ErrCode risk_save(Risk *risk, bool force, Err *err);

AUTO_DEFINE(Risk, risk_free);

#endif
