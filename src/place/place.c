#include "place/place.h"

_Static_assert(PLACE_SHARDS_MAX <= UINT16_MAX, "shard_count is 16 bits");
_Static_assert(PLACE_COPIES_MAX <= UINT8_MAX, "copies is 8 bits");

uint8_t place_min_isr_default(uint8_t copies)
{
    ASSERT(copies >= 1 && copies <= PLACE_COPIES_MAX);
    return (uint8_t)(copies / 2 + 1);
}

PlacementClass placement_class_default(uint8_t number, uint8_t copies)
{
    ASSERT(number <= SHARD_CLASS_MAX);
    return (PlacementClass){
        .number = number,
        .shard_count = number == PLACE_CLASS_SYSTEM ? 1 : PLACE_SHARDS_DEFAULT,
        .copies = copies,
        .min_isr = place_min_isr_default(copies),
        .mode = PLACE_SYNC,
        .require = PLACE_REQUIRE_IN_SYNC,
    };
}

ErrCode placement_class_check(const PlacementClass *class, Err *err)
{
    unsigned number = class->number;
    if (number > SHARD_CLASS_MAX)
        return err_set(err, ERR_CONFIG, "placement class %u: numbers go up to %d", number,
                       SHARD_CLASS_MAX);
    if (class->shard_count < 1 || class->shard_count > PLACE_SHARDS_MAX)
        return err_set(err, ERR_CONFIG, "placement class %u: %u shards, 1 to %d are possible",
                       number, class->shard_count, PLACE_SHARDS_MAX);
    if (number == PLACE_CLASS_SYSTEM && class->shard_count != 1)
        return err_set(err, ERR_CONFIG, "placement class 0: %u shards, the system has one",
                       class->shard_count);
    if (class->copies < 1 || class->copies > PLACE_COPIES_MAX)
        return err_set(err, ERR_CONFIG, "placement class %u: %u copies, 1 to %d are possible",
                       number, class->copies, PLACE_COPIES_MAX);
    if (class->min_isr < 1 || class->min_isr > class->copies)
        return err_set(err, ERR_CONFIG, "placement class %u: min_isr %u of %u copies", number,
                       class->min_isr, class->copies);
    if (class->mode != PLACE_SYNC && class->mode != PLACE_ASYNC)
        return err_set(err, ERR_CONFIG, "placement class %u: mode %d is none", number,
                       (int)class->mode);
    if (class->require != PLACE_REQUIRE_IN_SYNC && class->require != PLACE_REQUIRE_ALL)
        return err_set(err, ERR_CONFIG, "placement class %u: require %d is none", number,
                       (int)class->require);
    return OK;
}

bool placement_class_is_weak(const PlacementClass *class)
{
    return class->copies == 2 || (class->copies > 1 && class->min_isr == 1);
}

const char *placement_class_name(uint8_t number)
{
    if (number == PLACE_CLASS_SYSTEM) return "system";
    if (number == PLACE_CLASS_STANDARD) return "standard";
    return NULL;
}

ShardId place_shard_of(const PlacementClass *class, BucketUid bucket, Str key)
{
    ASSERT(key.len >= 1 && key.len <= KEY_MAX);
    return shard_of_key(class->number, class->shard_count, bucket, key);
}
