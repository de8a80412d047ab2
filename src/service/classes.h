/* Placement classes by number and by name: those that are there anyway, and a copy in memory of the
 * class records of the system shard. A class is never taken away, and its number, shards and copies
 * never change. Read by any thread, changed by the engine. Locks: LOCK_RANK_TABLE. */
#ifndef HOLDFAST_SERVICE_CLASSES_H
#define HOLDFAST_SERVICE_CLASSES_H

#include "format/class_record.h"
#include "place/place.h"
#include "store/store.h"

#define CLASSES_MAX (SHARD_CLASS_MAX + 1)

typedef struct Classes Classes;

/* How a class is kept at the moment, as the engine says it (EngineClass); of each class one,
 * changed by the core and read by any thread. */
typedef struct {
    _Atomic bool there;
    _Atomic bool failed;
    _Atomic bool full;           /* no space for uploads on the roots that must take them */
    _Atomic unsigned lead;       /* what is read now is read on this root */
    _Atomic unsigned members;    /* bit r: root r is to have its files */
    _Atomic unsigned in_sync;    /* bit r: root r is, and did not fail: large bodies go there too */
    _Atomic uint64_t read_until; /* what was looked up there may be given until then */
} ClassState;

typedef struct {
    PlacementClass rules;
    char name[CLASS_NAME_MAX + 1];
    uint64_t created_ms; /* 0: it was always there */
} ClassInfo;

/* standard: what buckets belong to that name no class; the system's shard is kept alike. */
Classes *classes_new(const PlacementClass *standard);
void classes_free(Classes *classes); /* NULL is fine */
/* Reads all of them from the store (committed ones; at start, when the system shard is ready). */
MUST_USE ErrCode classes_load(Classes *classes, StoreReader *reader, Err *err);
/* A committed one; the record's name is valid. */
void classes_put(Classes *classes, Str name, const ClassRecord *record);
/* False if there is no such class. The system's is none for buckets, and is not found by name. */
bool classes_find(Classes *classes, Str name, ClassInfo *out);
bool classes_get(Classes *classes, unsigned number, ClassInfo *out);
/* The lowest number that no class has; 0: all are taken. */
unsigned classes_free_number(Classes *classes);
/* Shards of all of them, with the system's. */
size_t classes_shard_count(Classes *classes);

AUTO_DEFINE(Classes, classes_free);

#endif
