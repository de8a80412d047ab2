/* Scrub: what is stored is read again and verified, slowly, so that damage is found while a good
 * copy still exists elsewhere.
 *
 *   log     closed segments: header, frames by CRC
 *   index   pages of index.db by their checksums
 *   packs   each from its first byte: marks, records by CRC, bodies by SHA-256, and the end that
 * the index knows of; and packs that the index counts and that are not there files   the rows of
 * the index in order: extents of large bodies (footer, chunk table, each chunk, SHA-256 of the
 * whole), and which files a damaged pack has lost
 *
 * Reads go past the page cache (DISK_OPEN_DIRECT): it is the disk that is to be verified, not a
 * copy in memory, and what clients read stays cached. Dropping pages behind the reads would verify
 * cached copies and evict the clients' pages.
 *
 * Nothing is false damage: a pack or body that vanishes meanwhile is passed over, and what looks
 * damaged counts only if its row still says so afterwards. Damage goes to Risk, with the file's
 * name. Where it stands is kept in scrub.json (docs/format.md), so that a restart goes on. The
 * background thread owns it; scrub_status(), scrub_start(), scrub_pause() and scrub_resume() are
 * for any thread. */
#ifndef HOLDFAST_STORE_SCRUB_H
#define HOLDFAST_STORE_SCRUB_H

#include "store/store.h"

#define SCRUB_FILE "scrub.json"

typedef struct Scrub Scrub;

/* Numbers as in scrub.json; a pass goes through log, index, packs, files. */
typedef enum {
    SCRUB_WAITING = 1,
    SCRUB_PACKS = 2,
    SCRUB_FILES = 3,
    SCRUB_LOG = 4,
    SCRUB_INDEX = 5
} ScrubArea;

typedef struct {
    uint64_t period_ms; /* everything is read once in so long */
    uint64_t rate_min;  /* bytes a second, while there is something to read */
    uint64_t rate_max;
} ScrubOptions;

typedef struct {
    ScrubArea area;
    bool paused;
    uint64_t pass;           /* number of the one under way or last ended, from 1 */
    uint64_t started_ms;     /* of that pass, wall clock */
    uint64_t last_full_ms;   /* when a pass last came to its end; 0: never */
    uint64_t segment;        /* SCRUB_LOG: the last that was read */
    uint64_t page;           /* SCRUB_INDEX: the last that was read */
    uint64_t pack;           /* SCRUB_PACKS: in hand, or the last that was read */
    uint64_t bytes_done;     /* verified in this pass */
    uint64_t bytes_total;    /* about, of this pass */
    uint64_t damaged;        /* places and files found damaged in this pass */
    uint64_t bytes_verified; /* since the process began */
    uint64_t rate;           /* bytes a second at which it goes on now */
    uint64_t needed;         /* bytes a second without which it would come too late */
} ScrubStatus;

/* Reads scrub.json; what is no good is begun anew. The store must outlive it. ERR_IO … */
MUST_USE ErrCode scrub_open(Store *store, const ScrubOptions *options, Scrub **out, Err *err);
/* Saves where it stands. NULL is fine. */
void scrub_free(Scrub *scrub);
/* Reads about `bytes` more; *read how many, *rest_ms how long to rest then (beside clients longer).
 * Errors: what the index or the disk answered beside damage; it goes on with the next turn. */
MUST_USE ErrCode scrub_work(Scrub *scrub, uint64_t bytes, uint64_t *read, uint64_t *rest_ms,
                            Err *err);
/* A page of the index looks damaged, and only the applier's thread can tell: it is to call
 * scrub_settle(), while the owner waits. */
bool scrub_doubts(const Scrub *scrub);
void scrub_settle(Scrub *scrub);
/* How long clients may put the next piece off after one of `read` bytes, at most most_ms:
 * everything is to be read within its time however busy they are. */
uint64_t scrub_put_off_ms(uint64_t read, uint64_t needed_rate, uint64_t most_ms);
void scrub_status(Scrub *scrub, ScrubStatus *out);
/* Stops it until it is started or resumed, over restarts too (from the owner's next turn on). */
void scrub_pause(Scrub *scrub);
/* Goes on where it was. */
void scrub_resume(Scrub *scrub);
/* Goes on; a pass that waits for its time begins at once. */
void scrub_start(Scrub *scrub);

AUTO_DEFINE(Scrub, scrub_free);

#endif
