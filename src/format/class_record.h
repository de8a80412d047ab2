/* The record of a placement class: value of ATTR_CLASS_RECORD of the file "class/NAME" in the
 * system name space (bucket uid 0, system shard). Pure. */
#ifndef HOLDFAST_FORMAT_CLASS_RECORD_H
#define HOLDFAST_FORMAT_CLASS_RECORD_H

#include "format/bucket.h"
#include "format/config_entry.h"

#define CLASS_KEY_PREFIX "class/"
#define CLASS_NAME_MAX 32
#define CLASS_NUMBER_FIRST 2        /* of those that are records: 0 and 1 are there anyway */
#define CLASS_RECORD_MAX (4 * 1024) /* bytes of an encoded record */

typedef struct {
    uint8_t number;       /* 2..15 */
    uint16_t shard_count; /* 1..4096; never changes, like number and copies */
    uint8_t copies;       /* 1..9 */
    uint8_t min_isr;      /* 1..copies */
    PlaceMode mode;
    PlaceRequire require; /* PLACE_REQUIRE_IN_SYNC with PLACE_ASYNC */
    uint64_t created_ms;
    Str extra; /* attributes of later releases, kept */
} ClassRecord;

/* 1..32 of [a-z0-9-], first and last a letter or digit; not "system", not "standard". */
bool class_name_valid(Str name);
/* enc->failed beyond its room, as always. */
void class_record_encode(const ClassRecord *record, Enc *enc);
/* *out holds views into data. ERR_CORRUPT; ERR_FORMAT_VERSION of a newer release. */
MUST_USE ErrCode class_record_decode(Str data, ClassRecord *out, Err *err);

#endif
