/* What a message may say. A peer sent it, so nothing of it is asserted; but what the state machine
 * takes for granted of its own log and configurations must hold of what it takes in. */
#include "replica/replica_priv.h"

static bool config_sane(const ShardConfig *config)
{
    return config->term < TERM_LAST && shard_config_check(config, NULL) == OK;
}

/* Does this type carry the CONFIG that config_lsn names? */
static bool carries_config(const Message *in)
{
    bool may = in->type == MSG_POLL || in->type == MSG_FENCE || in->type == MSG_SNAPSHOT ||
               (in->type == MSG_FENCED && in->granted);
    return may && in->config_lsn != 0;
}

/* Entries behind (lsn, hash), each behind the one before it, in terms that rise up to the
 * sender's. */
static bool entries_sane(const Message *in)
{
    if (in->entry_count > REPLICA_SEND_MAX) return false;
    Term term = 1;
    for (uint32_t i = 0; i < in->entry_count; i++) {
        const LogEntry *entry = &in->entries[i];
        const Sha256 *prev = i == 0 ? &in->lsn_hash : &in->entries[i - 1].hash;
        if (entry->lsn != in->lsn + 1 + i || !sha256_eq(&entry->prev_hash, prev)) return false;
        if (entry->term < term || entry->term > in->term) return false;
        if (entry->is_config && (entry->config == NULL || !config_sane(entry->config)))
            return false;
        term = entry->term;
    }
    return true;
}

bool replica_message_sane(const Message *in)
{
    if (id128_is_zero(in->from)) return false; /* a vote for nobody is none */
    if (in->term >= TERM_LAST || in->lsn > LSN_LAST) return false;
    if (in->type == MSG_APPEND) return entries_sane(in);
    if (in->type == MSG_SNAPSHOT && (in->lsn == 0 || in->lsn_term == 0)) return false;
    if (!carries_config(in)) return true;
    /* A CONFIG is an entry of a log that ends at (lsn_term, lsn). */
    return in->config_lsn <= in->lsn && in->config_term <= in->lsn_term && config_sane(&in->config);
}
