#include "replica_hostile.h"

#include <string.h>

#include "base/mem.h"
#include "replica/replica.h"

#define ROOTS 64
#define LOG_MAX 8192
#define PENDING_MAX 64
#define SHARD ((ShardId)7)

/* What its log was asked to keep, and has not kept yet. */
typedef struct {
    bool is_state;
    Lsn lsn;
    uint64_t cuts;
    Term term;
    Uuid voted_for;
} Pending;

typedef struct {
    const uint8_t *data;
    size_t size;
    size_t at;
    Replica *replica;
    uint64_t now_ns;
    Lsn base;
    LogEntry log[LOG_MAX]; /* of the entries behind base */
    size_t log_len;
    uint64_t cuts;
    Pending pending[PENDING_MAX];
    size_t pending_count;
    bool cas_open;
    ShardConfig cas;
    ShardConfig row;
    ShardConfig *configs[LOG_MAX]; /* that entries point to */
    size_t config_count;
    uint64_t next_id;
    bool quarantined;
    Message message;
    Effects effects;
} Hostile;

static uint8_t byte(Hostile *h)
{
    return h->at < h->size ? h->data[h->at++] : 0;
}

static Uuid root_of(unsigned i)
{
    Uuid root = {{0}};
    root.bytes[0] = (uint8_t)(i % ROOTS);
    return root; /* the first is no root at all */
}

static Uuid fresh(Hostile *h)
{
    Uuid uid = {{0}};
    uint64_t id = ++h->next_id;
    memcpy(uid.bytes, &id, sizeof id);
    uid.bytes[15] = 1;
    return uid;
}

/* Near `near`, or at one end of all numbers. */
static uint64_t number(Hostile *h, uint64_t near)
{
    uint8_t how = byte(h);
    if (how < 200) return near + (uint64_t)(how % 5) - 2;
    if (how < 225) return how - 200u;
    if (how < 240) return UINT64_MAX - (how - 225u);
    return near + ((uint64_t)1 << (how - 240) * 4);
}

static Sha256 hash_of(Hostile *h, Lsn lsn)
{
    Sha256 hash = {{0}};
    bool known = lsn > h->base && lsn - h->base <= h->log_len;
    if (known && byte(h) % 8 != 0) return h->log[lsn - h->base - 1].hash;
    hash.bytes[1] = byte(h) % 4;
    return hash;
}

static void make_config(Hostile *h, ShardConfig *out)
{
    memset(out, 0, sizeof *out);
    unsigned first = byte(h);
    bool lies = byte(h) % 8 == 0;
    out->cfg_uid = fresh(h);
    out->version = number(h, 3);
    out->term = (Term)number(h, replica_term(h->replica));
    out->member_count = lies ? byte(h) : 1 + byte(h) % MEMBERS_MAX;
    out->min_isr = lies ? byte(h) : 1 + byte(h) % out->member_count;
    out->learner_count = lies ? byte(h) : byte(h) % (MEMBERS_MAX + 1);
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        out->members[i] = (Member){root_of(first + i), byte(h) % 4};
        out->learners[i] = (Member){root_of(first + MEMBERS_MAX + i), byte(h) % 4};
    }
    out->isr = (uint16_t)(byte(h) & (lies ? 0xffffu : (1u << out->member_count) - 1));
    out->elr = (uint16_t)(byte(h) & (lies ? 0xffffu : (1u << out->member_count) - 1));
    out->primary = lies ? byte(h) : MEMBERS_MAX;
}

static void make_entries(Hostile *h, Message *m)
{
    m->entry_count = byte(h) % (REPLICA_SEND_MAX + 2);
    Sha256 prev = m->lsn_hash;
    Term term = (Term)number(h, m->term);
    for (uint32_t i = 0; i < MIN(m->entry_count, (uint32_t)REPLICA_SEND_MAX); i++) {
        uint8_t how = byte(h);
        LogEntry *entry = &m->entries[i];
        *entry = (LogEntry){.lsn = m->lsn + 1 + i, .term = term, .prev_hash = prev};
        if (how % 16 == 1) entry->lsn = number(h, entry->lsn);
        if (how % 16 == 2) entry->term = (Term)number(h, term);
        if (how % 16 == 3) entry->prev_hash = hash_of(h, entry->lsn);
        entry->hash = hash_of(h, entry->lsn);
        if (how % 4 == 0) {
            Uuid id = fresh(h);
            memcpy(entry->hash.bytes, id.bytes, sizeof id.bytes);
        }
        if (how % 8 == 4 && h->config_count < LOG_MAX) {
            entry->is_config = true;
            ShardConfig *config = mem_new(sizeof *config);
            make_config(h, config);
            h->configs[h->config_count++] = config;
            entry->config = how < 250 ? config : NULL;
        }
        prev = entry->hash;
    }
}

static void make_message(Hostile *h)
{
    Message *m = &h->message;
    memset(m, 0, offsetof(Message, entries));
    m->type = (MessageType)(1 + byte(h) % (MESSAGE_TYPE_MAX + 1));
    m->shard = SHARD;
    m->from = root_of(byte(h));
    m->from_incarnation = byte(h) % 4;
    m->to = root_of(1);
    m->to_incarnation = byte(h) % 16 == 0 ? byte(h) : 2;
    m->term = (Term)number(h, replica_term(h->replica));
    m->cfg_uid = h->row.cfg_uid;
    m->lsn = number(h, replica_last_lsn(h->replica));
    m->lsn_term = (Term)number(h, replica_term(h->replica));
    m->lsn_hash = hash_of(h, m->lsn);
    m->commit_lsn = number(h, replica_last_lsn(h->replica));
    uint8_t flags = byte(h);
    m->granted = (flags & 1) != 0;
    m->unsound = (flags & 6) == 6;
    m->seeding = (flags & 8) != 0;
    m->config_lsn = (flags & 16) != 0 ? number(h, m->lsn) : 0;
    m->config_term = (Term)number(h, m->lsn_term);
    if (m->config_lsn != 0) make_config(h, &m->config);
    m->sent_ns = number(h, h->now_ns);
    m->sync_age_ns = number(h, 0);
    m->sync_p99_ns = number(h, 0);
    m->target = root_of(byte(h) % 4);
    if (m->type == MSG_APPEND) make_entries(h, m);
}

static void step(Hostile *h, Event *event);

static void keep(Hostile *h, Pending pending)
{
    if (h->pending_count == PENDING_MAX) { /* a disk that is slow is not for ever */
        memmove(&h->pending[0], &h->pending[1], (PENDING_MAX - 1) * sizeof h->pending[0]);
        h->pending_count--;
    }
    h->pending[h->pending_count++] = pending;
}

static void keep_entries(Hostile *h, const Effect *effect)
{
    for (uint32_t i = 0; i < effect->entry_count; i++) {
        const LogEntry *entry = &effect->entries[i];
        if (h->log_len == LOG_MAX) { /* the oldest are cut away */
            memmove(&h->log[0], &h->log[LOG_MAX / 2], LOG_MAX / 2 * sizeof h->log[0]);
            h->log_len -= LOG_MAX / 2;
            h->base += LOG_MAX / 2;
        }
        ASSERT(entry->lsn == h->base + h->log_len + 1);
        h->log[h->log_len++] = *entry;
        keep(h, (Pending){.lsn = entry->lsn, .cuts = h->cuts});
    }
}

static void append(Hostile *h, bool is_start, const ShardConfig *config)
{
    ReplicaRole role = replica_role(h->replica);
    if (role != (is_start ? ROLE_STARTING : ROLE_PRIMARY) && config == NULL) return;
    if (role != ROLE_STARTING && role != ROLE_PRIMARY) return;
    if (config == NULL && !replica_can_append(h->replica)) return;
    Event event = {.type = EVENT_APPEND,
                   .entry = {.is_start = is_start, .is_config = config != NULL, .config = config}};
    LogEntry *entry = &event.entry;
    replica_next(h->replica, &entry->lsn, &entry->term, &entry->prev_hash);
    Uuid id = fresh(h);
    memcpy(entry->hash.bytes, id.bytes, sizeof id.bytes);
    step(h, &event);
}

static void fetch(Hostile *h, Uuid root, Lsn from)
{
    Event event = {.type = EVENT_FETCHED, .root = root};
    if (from > h->base && from - h->base <= h->log_len) {
        event.tail = &h->log[from - h->base - 1];
        event.tail_count = (uint32_t)MIN(h->log_len - (from - h->base - 1), (size_t)20);
    }
    step(h, &event);
}

typedef struct {
    bool start;
    const ShardConfig *config;
    bool fetch;
    Uuid root;
    Lsn lsn;
} Later;

static void carry_out(Hostile *h, const Effect *e, Later *later)
{
    switch (e->type) {
    case EFFECT_STORE_ENTRIES: keep_entries(h, e); break;
    case EFFECT_STORE_STATE:
        keep(h, (Pending){
                    .is_state = true, .term = e->state.max_term, .voted_for = e->state.voted_for});
        break;
    case EFFECT_CAS:
        h->cas_open = true;
        h->cas = e->config;
        break;
    case EFFECT_START: later->start = true; break;
    case EFFECT_CONFIG:
        if (h->config_count == LOG_MAX) break;
        h->configs[h->config_count] = mem_new(sizeof(ShardConfig));
        *h->configs[h->config_count] = e->config;
        later->config = h->configs[h->config_count++];
        break;
    case EFFECT_TRUNCATE:
        h->cuts++;
        h->log_len = e->lsn > h->base ? (size_t)(e->lsn - h->base) : 0;
        break;
    case EFFECT_RESET:
        h->cuts++;
        h->log_len = 0;
        h->base = e->lsn;
        keep(h, (Pending){.lsn = e->lsn, .cuts = h->cuts});
        break;
    case EFFECT_FETCH:
        later->fetch = true;
        later->root = e->root;
        later->lsn = e->lsn;
        break;
    case EFFECT_QUARANTINE: h->quarantined = true; break;
    case EFFECT_SEND:
    case EFFECT_COMMIT:
    case EFFECT_ROLE:
    case EFFECT_SNAPSHOT:
    case EFFECT_LOOK:
    case EFFECT_STAND: break;
    }
}

static void step(Hostile *h, Event *event)
{
    event->now_ns = h->now_ns;
    replica_step(h->replica, event, &h->effects);
    Later later = {0};
    for (uint32_t i = 0; i < h->effects.count; i++)
        carry_out(h, &h->effects.items[i], &later);
    if (later.start) append(h, true, NULL);
    if (later.config != NULL) append(h, false, later.config);
    if (later.fetch) fetch(h, later.root, later.lsn);
}

static void store_next(Hostile *h)
{
    if (h->pending_count == 0) return;
    Pending next = h->pending[0];
    memmove(&h->pending[0], &h->pending[1], --h->pending_count * sizeof h->pending[0]);
    Event event = {.type = next.is_state ? EVENT_STATE_STORED : EVENT_STORED,
                   .lsn = next.lsn,
                   .cuts = next.cuts,
                   .term = next.term,
                   .voted_for = next.voted_for};
    step(h, &event);
}

static void answer_cas(Hostile *h, uint8_t how)
{
    if (!h->cas_open) return;
    h->cas_open = false;
    Event event = {.type = how % 4 == 0   ? EVENT_CAS_UNKNOWN
                           : how % 4 == 1 ? EVENT_CAS_REFUSED
                                          : EVENT_CAS_DONE,
                   .new_cfg_uid = h->cas.cfg_uid};
    if (how % 4 != 1) h->row = h->cas;
    if (how % 4 != 0) event.config = &h->row;
    step(h, &event);
}

static void change(Hostile *h)
{
    ShardConfig wanted = *replica_config(h->replica);
    switch (byte(h) % 3) {
    case 0: wanted.min_isr = byte(h) % 10; break;
    case 1:
        if (wanted.learner_count > 0) wanted.learner_count--;
        break;
    default:
        if (wanted.member_count == MEMBERS_MAX) return;
        wanted.members[wanted.member_count++] = (Member){root_of(40 + byte(h) % 20), 1};
        if (shard_config_check(&wanted, NULL) != OK) return;
        break;
    }
    Event event = {.type = EVENT_CHANGE, .config = &wanted, .new_cfg_uid = fresh(h)};
    step(h, &event);
}

static void one_event(Hostile *h)
{
    uint8_t what = byte(h);
    Event event = {.type = EVENT_TICK};
    if (what < 150) {
        make_message(h);
        event = (Event){.type = EVENT_MESSAGE, .message = &h->message};
        step(h, &event);
    } else if (what < 190) {
        store_next(h);
    } else if (what < 205) {
        answer_cas(h, byte(h));
    } else if (what < 215) {
        h->now_ns += (uint64_t)byte(h) * 100 * REPLICA_MS;
        event.new_cfg_uid = fresh(h);
        step(h, &event);
    } else if (what < 225) {
        event = (Event){.type = EVENT_STAND, .config = &h->row, .new_cfg_uid = fresh(h)};
        step(h, &event);
    } else if (what < 235) {
        append(h, false, NULL);
    } else if (what < 240) {
        change(h);
    } else if (what < 245) {
        event = (Event){.type = EVENT_ROW, .config = &h->row};
        step(h, &event);
    } else if (what < 250) {
        event = (Event){.type = EVENT_HAND_OVER, .root = root_of(byte(h))};
        step(h, &event);
    } else {
        event = (Event){.type = EVENT_SNAPSHOT_STORED,
                        .lsn = number(h, replica_last_lsn(h->replica)),
                        .cuts = h->cuts};
        step(h, &event);
    }
}

static void begin(Hostile *h)
{
    h->now_ns = 1000000 * REPLICA_MS;
    unsigned members = 1 + byte(h) % 5;
    h->row = (ShardConfig){.cfg_uid = fresh(h),
                           .version = 1,
                           .min_isr = members / 2 + 1,
                           .member_count = members,
                           .isr = (uint16_t)((1u << members) - 1),
                           .primary = MEMBERS_MAX};
    for (unsigned i = 0; i < members; i++)
        h->row.members[i] = (Member){root_of(1 + i), 2};
    h->replica = replica_init(mem_new(replica_size()), SHARD, root_of(1), 2);
    ReplicaState state = {.shard = SHARD};
    Event event = {.type = EVENT_RESTART, .state = &state, .config = &h->row, .no_grace = true};
    step(h, &event);
}

size_t replica_hostile_run(const uint8_t *data, size_t size)
{
    Hostile *h = mem_new(sizeof *h);
    h->data = data;
    h->size = size;
    begin(h);
    size_t events = 1;
    for (; h->at < h->size && !h->quarantined; events++)
        one_event(h);
    for (size_t i = 0; i < h->config_count; i++)
        mem_free(h->configs[i]);
    mem_free(h->replica);
    mem_free(h);
    return events;
}
