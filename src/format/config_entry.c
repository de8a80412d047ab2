/* ShardConfig, format 1: u8 format, cfg_uid 16, parent_uid 16, varints version, term, min_isr;
 * varint count of members, each root uuid 16 and varint incarnation; learners likewise; u16 isr,
 * u16 elr, u16 primary; varint unclean_epoch. */
#include "format/config_entry.h"

#include <inttypes.h>

#define CONFIG_FORMAT 1

_Static_assert(MEMBERS_MAX <= 16, "isr and elr are 16 bits");

static void members_encode(const Member *members, uint32_t count, Enc *enc)
{
    ASSERT(count <= MEMBERS_MAX);
    enc_varint(enc, count);
    for (uint32_t i = 0; i < count; i++) {
        enc_bytes(enc, members[i].root.bytes, sizeof members[i].root.bytes);
        enc_varint(enc, members[i].incarnation);
    }
}

void shard_config_encode(const ShardConfig *config, Enc *enc)
{
    enc_u8(enc, CONFIG_FORMAT);
    enc_bytes(enc, config->cfg_uid.bytes, sizeof config->cfg_uid.bytes);
    enc_bytes(enc, config->parent_uid.bytes, sizeof config->parent_uid.bytes);
    enc_varint(enc, config->version);
    enc_varint(enc, config->term);
    enc_varint(enc, config->min_isr);
    members_encode(config->members, config->member_count, enc);
    members_encode(config->learners, config->learner_count, enc);
    enc_u16(enc, config->isr);
    enc_u16(enc, config->elr);
    enc_u16(enc, config->primary);
    enc_varint(enc, config->unclean_epoch);
}

/* Reads a count and that many members into members[MEMBERS_MAX]. */
static ErrCode members_decode(Dec *dec, Member *members, uint32_t *count, Err *err)
{
    uint64_t found = dec_varint(dec);
    if (found > MEMBERS_MAX)
        return err_set(err, ERR_CORRUPT, "config of %" PRIu64 " members", found);
    for (uint64_t i = 0; i < found; i++) {
        dec_bytes(dec, members[i].root.bytes, sizeof members[i].root.bytes);
        members[i].incarnation = dec_varint(dec);
    }
    *count = (uint32_t)found;
    return OK;
}

/* No root stands twice, as member or learner. */
static bool roots_differ(const ShardConfig *config)
{
    uint32_t members = config->member_count;
    uint32_t total = members + config->learner_count;
    for (uint32_t i = 0; i < total; i++) {
        const Member *a = i < members ? &config->members[i] : &config->learners[i - members];
        for (uint32_t k = i + 1; k < total; k++) {
            const Member *b = k < members ? &config->members[k] : &config->learners[k - members];
            if (id128_eq(a->root, b->root)) return false;
        }
    }
    return true;
}

ErrCode shard_config_check(const ShardConfig *config, Err *err)
{
    uint32_t count = config->member_count;
    if (count > MEMBERS_MAX || config->learner_count > MEMBERS_MAX)
        return err_set(err, ERR_CORRUPT, "config of %" PRIu32 " members, %" PRIu32 " learners",
                       count, config->learner_count);
    if (count == 0 || config->min_isr == 0 || config->min_isr > count)
        return err_set(err, ERR_CORRUPT, "config of %" PRIu32 " members, min_isr %" PRIu32, count,
                       config->min_isr);
    if (((config->isr | config->elr) >> count) != 0)
        return err_set(err, ERR_CORRUPT, "isr %#x, elr %#x of %" PRIu32 " members", config->isr,
                       config->elr, count);
    if (config->primary >= count && config->primary != MEMBERS_MAX)
        return err_set(err, ERR_CORRUPT, "primary %u of %" PRIu32 " members", config->primary,
                       count);
    if (!roots_differ(config)) return err_set(err, ERR_CORRUPT, "config names a root twice");
    return OK;
}

ErrCode shard_config_decode(Str data, ShardConfig *out, Err *err)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned format = dec_u8(&dec);
    if (format == 0) return err_set(err, ERR_CORRUPT, "config of format 0");
    if (format > CONFIG_FORMAT)
        return err_set(err, ERR_FORMAT_VERSION, "config of format %u, up to %d is known", format,
                       CONFIG_FORMAT);
    ShardConfig config = {0};
    dec_bytes(&dec, config.cfg_uid.bytes, sizeof config.cfg_uid.bytes);
    dec_bytes(&dec, config.parent_uid.bytes, sizeof config.parent_uid.bytes);
    config.version = dec_varint(&dec);
    uint64_t term = dec_varint(&dec);
    uint64_t min_isr = dec_varint(&dec);
    if (term > UINT32_MAX || min_isr > MEMBERS_MAX)
        return err_set(err, ERR_CORRUPT, "config of term %" PRIu64 ", min_isr %" PRIu64, term,
                       min_isr);
    config.term = (Term)term;
    config.min_isr = (uint32_t)min_isr;
    TRY(members_decode(&dec, config.members, &config.member_count, err));
    TRY(members_decode(&dec, config.learners, &config.learner_count, err));
    config.isr = dec_u16(&dec);
    config.elr = dec_u16(&dec);
    config.primary = dec_u16(&dec);
    config.unclean_epoch = dec_varint(&dec);
    if (!dec_done(&dec)) return err_set(err, ERR_CORRUPT, "config of %zu bytes", data.len);
    TRY(shard_config_check(&config, err));
    *out = config;
    return OK;
}
