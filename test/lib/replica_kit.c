#include "replica_kit.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHARD ((ShardId)4097)
#define WAIT_NS (5000 * REPLICA_MS) /* longer than promises, grace and silence */

static const char *const message_names[] = {
    [MSG_APPEND] = "APPEND",     [MSG_APPENDED] = "APPENDED",   [MSG_MISMATCH] = "MISMATCH",
    [MSG_POLL] = "POLL",         [MSG_POLLED] = "POLLED",       [MSG_FENCE] = "FENCE",
    [MSG_FENCED] = "FENCED",     [MSG_HEARTBEAT] = "HEARTBEAT", [MSG_PROMISE] = "PROMISE",
    [MSG_SNAPSHOT] = "SNAPSHOT", [MSG_HAND_OVER] = "HAND_OVER",
};

/* --- small things --- */

static char name_of(unsigned member)
{
    return (char)('A' + member);
}

static unsigned member_of(const ReplicaKit *kit, Uuid root)
{
    for (unsigned i = 0; i < kit->count; i++) {
        if (id128_eq(kit->members[i].root, root)) return i;
    }
    return REPLICA_KIT_MAX;
}

static Uuid new_uid(ReplicaKit *kit)
{
    Uuid uid = {{0}};
    uint64_t id = ++kit->next_id;
    memcpy(uid.bytes, &id, sizeof id);
    uid.bytes[15] = 1;
    return uid;
}

/* Room for one more element of size bytes. */
static void *grow(void *items, size_t len, size_t *room, size_t size)
{
    if (len < *room) return items;
    *room = *room == 0 ? 16 : *room * 2;
    return mem_resize(items, *room * size);
}

PRINTF_LIKE(2, 3) static void say(ReplicaKit *kit, const char *format, ...)
{
    if (!kit->options.trace) return;
    char line[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ASSERT(len > 0 && (size_t)len < sizeof line);
    ErrCode code = buf_append(&kit->story, line, (size_t)len, NULL);
    ASSERT(code == OK);
}

PRINTF_LIKE(2, 3) static void broken(ReplicaKit *kit, const char *format, ...)
{
    if (kit->wrong[0] != '\0') return;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(kit->wrong, sizeof kit->wrong, format, args);
    va_end(args);
    ASSERT(len > 0);
}

static const Sha256 *hash_at(const ReplicaKitMember *m, Lsn lsn)
{
    return lsn == 0 || lsn > m->log_len ? NULL : &m->log[lsn - 1].hash;
}

static bool has_durable(const ReplicaKitMember *m, Lsn lsn, const Sha256 *hash)
{
    return lsn <= m->durable && sha256_eq(hash_at(m, lsn), hash);
}

/* --- invariants --- */

static void check_leaders_hold(ReplicaKit *kit, Lsn lsn, const Sha256 *hash, Term term)
{
    for (unsigned i = 0; i < kit->count; i++) {
        const ReplicaKitMember *m = &kit->members[i];
        ReplicaRole role = replica_kit_role(kit, i);
        if (role != ROLE_STARTING && role != ROLE_PRIMARY) continue;
        if (replica_term(m->replica) < term) continue; /* it does not know yet that it is over */
        const Sha256 *own = hash_at(m, lsn);
        if (own == NULL || !sha256_eq(own, hash)) {
            broken(kit, "I3: primary %c of term %u lacks lsn %" PRIu64, name_of(i),
                   replica_term(m->replica), lsn);
        }
    }
}

/* A primary calls lsn committed for the first time. */
static void check_new_commit(ReplicaKit *kit, unsigned who, Lsn lsn, const Sha256 *hash)
{
    const ReplicaKitMember *primary = &kit->members[who];
    const ShardConfig *config = replica_config(primary->replica);
    uint32_t have = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        unsigned at = member_of(kit, config->members[i].root);
        bool durable = has_durable(&kit->members[at], lsn, hash);
        have += durable;
        if ((config->isr >> i & 1) != 0 && !durable) {
            broken(kit, "I2: %c commits lsn %" PRIu64 ", not durable at %c, which is in sync",
                   name_of(who), lsn, name_of(at));
        }
    }
    if (have < config->min_isr) {
        broken(kit, "I2: %c commits lsn %" PRIu64 " with %u copies", name_of(who), lsn, have);
    }
    check_leaders_hold(kit, lsn, hash, primary->log[lsn - 1].term);
}

static void check_commit(ReplicaKit *kit, unsigned who, Lsn lsn)
{
    ReplicaKitMember *m = &kit->members[who];
    ReplicaRole role = replica_kit_role(kit, who);
    if (lsn > m->durable) {
        broken(kit, "I2: %c commits lsn %" PRIu64 " of its %" PRIu64, name_of(who), lsn,
               m->durable);
        return;
    }
    for (Lsn at = m->commit + 1; at <= lsn; at++) {
        const Sha256 *hash = hash_at(m, at);
        if (at <= kit->committed_len) {
            if (!sha256_eq(hash, &kit->committed[at - 1])) {
                broken(kit, "I4: %c commits another lsn %" PRIu64, name_of(who), at);
            }
            continue;
        }
        if (role != ROLE_STARTING && role != ROLE_PRIMARY) {
            broken(kit, "I2: follower %c is first to commit lsn %" PRIu64, name_of(who), at);
        }
        check_new_commit(kit, who, at, hash);
        kit->committed = grow(kit->committed, kit->committed_len, &kit->committed_room,
                              sizeof *kit->committed);
        kit->committed[kit->committed_len++] = *hash;
    }
    m->commit = MAX(m->commit, lsn);
}

/* A member has the fence quorum and may append. */
static void check_start(ReplicaKit *kit, unsigned who)
{
    const ReplicaKitMember *m = &kit->members[who];
    const ShardConfig *config = replica_config(m->replica);
    Term term = replica_term(m->replica);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const ReplicaKitMember *voter = &kit->members[member_of(kit, config->members[i].root)];
        for (size_t v = 0; v < voter->vote_count; v++) {
            votes += voter->votes[v].term == term && id128_eq(voter->votes[v].voted_for, m->root);
        }
    }
    uint32_t n = config->member_count;
    uint32_t quorum = MAX(n - config->min_isr + 1, n / 2 + 1);
    if (votes < quorum) broken(kit, "I8: %c starts with %u votes", name_of(who), votes);
    ASSERT(term < ARRAY_LEN(kit->leader));
    if (kit->leader[term] != 0) broken(kit, "I1: term %u has two primaries", term);
    kit->leader[term] = who + 1;
    kit->starts++;
    if (kit->committed_len > 0) {
        check_leaders_hold(kit, kit->committed_len, &kit->committed[kit->committed_len - 1], 0);
    }
}

static void check_sent(ReplicaKit *kit, unsigned who, const Message *m)
{
    const ReplicaKitMember *from = &kit->members[who];
    bool learner = who >= kit->options.members;
    if (learner && (m->type == MSG_FENCED || m->type == MSG_POLLED)) {
        broken(kit, "I9: learner %c answers a vote", name_of(who));
    }
    if (m->type == MSG_FENCED && m->granted &&
        (from->term != m->term || !id128_eq(from->voted_for, m->to))) {
        broken(kit, "I1: %c tells a vote in term %u that is not durable", name_of(who), m->term);
    }
    if (m->type != MSG_APPENDED) return;
    if (m->lsn > from->durable) {
        broken(kit, "I2: %c acknowledges lsn %" PRIu64 " of %" PRIu64, name_of(who), m->lsn,
               from->durable);
    }
    if (from->term < m->term) broken(kit, "%c acknowledges before its term", name_of(who));
}

static void note_vote(ReplicaKit *kit, unsigned who, Term term, Uuid voted_for)
{
    ReplicaKitMember *m = &kit->members[who];
    if (id128_is_zero(voted_for)) return;
    for (size_t i = 0; i < m->vote_count; i++) {
        if (m->votes[i].term != term) continue;
        if (!id128_eq(m->votes[i].voted_for, voted_for)) {
            broken(kit, "I1: %c voted twice in term %u", name_of(who), term);
        }
        return;
    }
    m->votes = grow(m->votes, m->vote_count, &m->vote_room, sizeof *m->votes);
    m->votes[m->vote_count++] = (ReplicaKitVote){term, voted_for};
}

/* --- the story --- */

static void say_message(ReplicaKit *kit, const char *before, char who, const Message *m)
{
    say(kit, "%s%c %s term %u", before, who, message_names[m->type], m->term);
    switch (m->type) {
    case MSG_APPEND:
        say(kit, " after %" PRIu64, m->lsn);
        if (m->entry_count > 0) {
            say(kit, ": %" PRIu64 "..%" PRIu64, m->lsn + 1, m->lsn + m->entry_count);
        }
        say(kit, " commit %" PRIu64 "\n", m->commit_lsn);
        break;
    case MSG_FENCED:
        say(kit, " %s", m->granted ? "granted" : "refused");
        __attribute__((fallthrough));
    case MSG_APPENDED:
    case MSG_MISMATCH:
    case MSG_POLL:
    case MSG_POLLED:
    case MSG_FENCE:
    case MSG_HEARTBEAT:
    case MSG_PROMISE:
    case MSG_SNAPSHOT:
    case MSG_HAND_OVER: say(kit, " lsn %" PRIu64 "\n", m->lsn); break;
    }
}

static void say_names(ReplicaKit *kit, const ShardConfig *config, uint16_t bits)
{
    for (uint32_t i = 0; i < config->member_count; i++) {
        if ((bits >> i & 1) != 0) say(kit, "%c", name_of(i));
    }
}

static void say_effect(ReplicaKit *kit, const Effect *e)
{
    switch (e->type) {
    case EFFECT_STORE_ENTRIES:
        say(kit, "    store %" PRIu64 "..%" PRIu64 "\n", e->entries[0].lsn,
            e->entries[e->entry_count - 1].lsn);
        break;
    case EFFECT_STORE_STATE:
        say(kit, "    store term %u vote %c\n", e->state.max_term,
            id128_is_zero(e->state.voted_for) ? '-' : name_of(member_of(kit, e->state.voted_for)));
        break;
    case EFFECT_SEND:
        if (e->message.type == MSG_HEARTBEAT && !kit->options.heartbeats) break;
        say_message(kit, "    to ", name_of(member_of(kit, e->message.to)), &e->message);
        break;
    case EFFECT_CAS:
        say(kit, "    cas term %u primary %c isr ", e->config.term, name_of(e->config.primary));
        say_names(kit, &e->config, e->config.isr);
        say(kit, "\n");
        break;
    case EFFECT_START: say(kit, "    start\n"); break;
    case EFFECT_COMMIT: say(kit, "    commit %" PRIu64 "\n", e->lsn); break;
    case EFFECT_ROLE: say(kit, "    %s\n", replica_role_name(e->role)); break;
    case EFFECT_QUARANTINE: say(kit, "    quarantine\n"); break;
    case EFFECT_CONFIG:
        if (!kit->options.configs) break;
        say(kit, "    config isr ");
        say_names(kit, &e->config, e->config.isr);
        say(kit, "\n");
        break;
    case EFFECT_TRUNCATE: say(kit, "    cut behind %" PRIu64 "\n", e->lsn); break;
    case EFFECT_RESET: say(kit, "    begin anew behind %" PRIu64 "\n", e->lsn); break;
    case EFFECT_FETCH: say(kit, "    fetch from %" PRIu64 "\n", e->lsn); break;
    case EFFECT_SNAPSHOT: say(kit, "    snapshot at %" PRIu64 "\n", e->lsn); break;
    case EFFECT_LOOK: say(kit, "    look at the row\n"); break;
    case EFFECT_STAND: say(kit, "    asks to stand\n"); break;
    }
}

/* --- effects --- */

static void put_message(ReplicaKit *kit, const Message *message)
{
    Message *copy = mem_new(sizeof *copy);
    *copy = *message;
    kit->bag = grow(kit->bag, kit->bag_len, &kit->bag_room, sizeof *kit->bag);
    kit->bag[kit->bag_len++] = copy;
}

static void add_item(ReplicaKitMember *m, const ReplicaKitItem *item)
{
    m->items = grow(m->items, m->item_count, &m->item_room, sizeof *m->items);
    m->items[m->item_count++] = *item;
}

static void store_entries(ReplicaKitMember *m, const Effect *effect)
{
    for (uint32_t i = 0; i < effect->entry_count; i++) {
        const LogEntry *entry = &effect->entries[i];
        ASSERT(entry->lsn == m->log_len + 1);
        m->log = grow(m->log, m->log_len, &m->log_room, sizeof *m->log);
        m->log[m->log_len++] = *entry;
        add_item(m, &(ReplicaKitItem){.lsn = entry->lsn});
    }
}

static void ask_cas(ReplicaKit *kit, unsigned who, const ShardConfig *config)
{
    if (kit->cas_count == ARRAY_LEN(kit->cas)) return; /* lost on the way: never answered */
    kit->cas[kit->cas_count++] = (ReplicaKitCas){
        .member = who, .incarnation = kit->members[who].incarnation, .asked = *config};
}

typedef enum { APPEND_PLAIN, APPEND_START, APPEND_CONFIG } AppendKind;
static void append(ReplicaKit *kit, unsigned who, AppendKind kind, const ShardConfig *config);

/* What is behind lsn is gone, and what was to be stored of it. */
static void cut(ReplicaKitMember *m, Lsn lsn)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->item_count; i++) {
        if (m->items[i].is_state || m->items[i].lsn <= lsn) m->items[kept++] = m->items[i];
    }
    m->item_count = kept;
    m->log_len = lsn;
    m->durable = MIN(m->durable, lsn);
    m->cuts++;
}

static const ShardConfig *keep_config(ReplicaKit *kit, const ShardConfig *config)
{
    ShardConfig *copy = mem_new(sizeof *copy);
    *copy = *config;
    kit->configs = grow(kit->configs, kit->config_count, &kit->config_room, sizeof *kit->configs);
    kit->configs[kit->config_count++] = copy;
    return copy;
}

static void step(ReplicaKit *kit, unsigned who, const Event *event)
{
    ReplicaKitMember *m = &kit->members[who];
    bool start = false;
    const ShardConfig *config = NULL;
    Event timed = *event;
    timed.now_ns = kit->now_ns;
    kit->steps++;
    replica_step(m->replica, &timed, &kit->effects);
    for (uint32_t i = 0; i < kit->effects.count; i++) {
        const Effect *e = &kit->effects.items[i];
        say_effect(kit, e);
        switch (e->type) {
        case EFFECT_STORE_ENTRIES: store_entries(m, e); break;
        case EFFECT_STORE_STATE:
            add_item(m, &(ReplicaKitItem){.is_state = true,
                                          .term = e->state.max_term,
                                          .voted_for = e->state.voted_for});
            break;
        case EFFECT_SEND:
            check_sent(kit, who, &e->message);
            if (e->message.type != MSG_HEARTBEAT || kit->options.heartbeats) {
                put_message(kit, &e->message);
            }
            break;
        case EFFECT_TRUNCATE: cut(m, e->lsn); break;
        case EFFECT_CONFIG:
            if (kit->options.configs) config = keep_config(kit, &e->config);
            break;
        case EFFECT_RESET:
        case EFFECT_FETCH:
        case EFFECT_SNAPSHOT:
        case EFFECT_LOOK:
        case EFFECT_STAND: break; /* the simulator's */
        case EFFECT_CAS: ask_cas(kit, who, &e->config); break;
        case EFFECT_START:
            check_start(kit, who);
            start = true;
            break;
        case EFFECT_COMMIT: check_commit(kit, who, e->lsn); break;
        case EFFECT_ROLE: break;
        case EFFECT_QUARANTINE: broken(kit, "I5: %c is quarantined", name_of(who)); break;
        }
    }
    if (start) append(kit, who, APPEND_START, NULL);
    if (config != NULL) append(kit, who, APPEND_CONFIG, config);
}

static void append(ReplicaKit *kit, unsigned who, AppendKind kind, const ShardConfig *config)
{
    Event event = {.type = EVENT_APPEND,
                   .entry = {.is_start = kind == APPEND_START,
                             .is_config = kind == APPEND_CONFIG,
                             .config = config}};
    LogEntry *entry = &event.entry;
    replica_next(kit->members[who].replica, &entry->lsn, &entry->term, &entry->prev_hash);
    uint64_t content[3] = {++kit->next_id, entry->lsn, entry->term};
    uint8_t bytes[sizeof content + SHA256_LEN];
    memcpy(bytes, content, sizeof content);
    memcpy(bytes + sizeof content, entry->prev_hash.bytes, SHA256_LEN);
    entry->hash = sha256_of(bytes, sizeof bytes);
    say(kit, "%c appends %s%" PRIu64 "\n", name_of(who),
        kind == APPEND_START    ? "START "
        : kind == APPEND_CONFIG ? "CONFIG "
                                : "",
        entry->lsn);
    step(kit, who, &event);
}

/* --- life --- */

/* The last two CONFIGs of its log, oldest first; how many there are. */
static uint32_t log_configs(const ReplicaKitMember *m, LogConfig out[2])
{
    uint32_t count = 0;
    for (size_t i = 0; i < m->log_len; i++) {
        const LogEntry *entry = &m->log[i];
        if (!entry->is_config) continue;
        if (count == 2) out[0] = out[1];
        count = MIN(count + 1, 2u);
        out[count - 1] = (LogConfig){.lsn = entry->lsn, .term = entry->term};
        out[count - 1].config = *entry->config;
    }
    return count;
}

static void restart(ReplicaKit *kit, unsigned who)
{
    ReplicaKitMember *m = &kit->members[who];
    mem_free(m->replica);
    m->replica = replica_init(mem_new(replica_size()), SHARD, m->root, m->incarnation);
    m->up = true;
    ReplicaState state = {.shard = SHARD,
                          .max_term = m->term,
                          .voted_for = m->voted_for,
                          .last_lsn = m->log_len,
                          .commit_lsn = m->commit_noted,
                          .applied_lsn = m->commit_noted};
    if (m->log_len > 0) {
        state.last_term = m->log[m->log_len - 1].term;
        state.last_hash = m->log[m->log_len - 1].hash;
    }
    if (state.last_lsn < m->commit) broken(kit, "I5: %c lost what it committed", name_of(who));
    m->cuts = 0;
    LogConfig configs[2];
    Event event = {.type = EVENT_RESTART,
                   .state = &state,
                   .config = &kit->row,
                   .tail = m->log,
                   .tail_count = (uint32_t)m->log_len,
                   .configs = configs,
                   .config_count = log_configs(m, configs)};
    say(kit, "%c restarts, term %u lsn %" PRIu64 "\n", name_of(who), state.max_term,
        state.last_lsn);
    step(kit, who, &event);
}

ReplicaKit *replica_kit_new(const ReplicaKitOptions *options)
{
    ASSERT(options->members >= 1 && options->members + options->learners <= REPLICA_KIT_MAX);
    ReplicaKit *kit = mem_new(sizeof *kit);
    kit->options = *options;
    kit->next_id = options->seed << 32;
    kit->now_ns = WAIT_NS;
    kit->count = options->members + options->learners;
    buf_init(&kit->story, 1 * MIB);
    ShardConfig *row = &kit->row;
    *row = (ShardConfig){.cfg_uid = new_uid(kit),
                         .version = 1,
                         .min_isr = options->min_isr,
                         .member_count = options->members,
                         .learner_count = options->learners,
                         .isr = (uint16_t)((1u << options->members) - 1),
                         .primary = MEMBERS_MAX};
    for (unsigned i = 0; i < kit->count; i++) {
        ReplicaKitMember *m = &kit->members[i];
        m->root = new_uid(kit);
        m->incarnation = 1;
        Member member = {.root = m->root, .incarnation = 1};
        if (i < options->members)
            row->members[i] = member;
        else
            row->learners[i - options->members] = member;
    }
    kit->row_before = *row;
    for (unsigned i = 0; i < kit->count; i++)
        restart(kit, i);
    return kit;
}

void replica_kit_free(ReplicaKit *kit)
{
    if (kit == NULL) return;
    for (unsigned i = 0; i < kit->count; i++) {
        mem_free(kit->members[i].replica);
        mem_free(kit->members[i].log);
        mem_free(kit->members[i].items);
        mem_free(kit->members[i].votes);
    }
    for (size_t i = 0; i < kit->bag_len; i++)
        mem_free(kit->bag[i]);
    mem_free(kit->bag);
    mem_free(kit->committed);
    for (size_t i = 0; i < kit->config_count; i++)
        mem_free(kit->configs[i]);
    mem_free(kit->configs);
    buf_deinit(&kit->story);
    mem_free(kit);
}

/* The first count items of the log are durable. */
static void make_durable(ReplicaKit *kit, unsigned who, size_t count)
{
    ReplicaKitMember *m = &kit->members[who];
    for (size_t i = 0; i < count; i++) {
        const ReplicaKitItem *item = &m->items[i];
        Term term = item->is_state ? item->term : m->log[item->lsn - 1].term;
        if (!item->is_state) m->durable = item->lsn;
        if (term < m->term) continue;
        if (item->is_state) {
            m->voted_for = item->voted_for;
            note_vote(kit, who, term, item->voted_for);
        } else if (term > m->term) {
            m->voted_for = (Uuid){{0}};
        }
        m->term = term;
    }
    m->item_count -= count;
    if (m->item_count > 0) {
        memmove(m->items, m->items + count, m->item_count * sizeof *m->items);
    }
}

void replica_kit_stop(ReplicaKit *kit, unsigned member, size_t keep)
{
    ReplicaKitMember *m = &kit->members[member];
    if (!m->up) return;
    say(kit, "%c stops\n", name_of(member));
    m->up = false;
    make_durable(kit, member, MIN(keep, m->item_count));
    m->item_count = 0;
    m->log_len = m->durable;
}

void replica_kit_start(ReplicaKit *kit, unsigned member)
{
    ReplicaKitMember *m = &kit->members[member];
    if (m->up) return;
    ShardConfig row = kit->row;
    m->incarnation++;
    for (uint32_t i = 0; i < row.member_count; i++) {
        if (!id128_eq(row.members[i].root, m->root)) continue;
        uint16_t bit = (uint16_t)(1u << i);
        row.members[i].incarnation = m->incarnation;
        if ((row.isr & ~bit) == 0) continue;
        row.isr = (uint16_t)(row.isr & ~bit);
        row.elr = (uint16_t)(row.elr & ~bit);
    }
    for (uint32_t i = 0; i < row.learner_count; i++) {
        if (id128_eq(row.learners[i].root, m->root)) row.learners[i].incarnation = m->incarnation;
    }
    replica_kit_set_row(kit, &row);
    restart(kit, member);
    kit->now_ns += WAIT_NS;
}

/* --- events --- */

void replica_kit_stand(ReplicaKit *kit, unsigned member)
{
    if (!kit->members[member].up) return;
    kit->now_ns += WAIT_NS;
    Event event = {.type = EVENT_STAND, .new_cfg_uid = new_uid(kit)};
    if (!kit->blind) event.config = &kit->row;
    say(kit, "%c stands\n", name_of(member));
    step(kit, member, &event);
}

void replica_kit_tick(ReplicaKit *kit, unsigned member)
{
    if (!kit->members[member].up) return;
    Event event = {.type = EVENT_TICK,
                   .new_cfg_uid = kit->options.configs ? new_uid(kit) : (Uuid){{0}}};
    say(kit, "%c ticks\n", name_of(member));
    step(kit, member, &event);
}

bool replica_kit_append(ReplicaKit *kit, unsigned member)
{
    const ReplicaKitMember *m = &kit->members[member];
    if (!m->up || replica_role(m->replica) != ROLE_PRIMARY) return false;
    if (!replica_can_append(m->replica)) return false;
    append(kit, member, APPEND_PLAIN, NULL);
    return true;
}

void replica_kit_store(ReplicaKit *kit, unsigned member, size_t count)
{
    ReplicaKitMember *m = &kit->members[member];
    if (!m->up || m->item_count == 0 || count == 0) return;
    for (size_t left = MIN(count, m->item_count); left > 0;) {
        const ReplicaKitItem first = m->items[0];
        size_t run = 1;
        while (!first.is_state && run < left && !m->items[run].is_state)
            run++;
        make_durable(kit, member, run);
        left -= run;
        Event event = {
            .type = EVENT_STATE_STORED, .term = first.term, .voted_for = first.voted_for};
        if (!first.is_state)
            event = (Event){.type = EVENT_STORED, .lsn = m->durable, .cuts = m->cuts};
        if (first.is_state)
            say(kit, "%c stored term %u\n", name_of(member), first.term);
        else
            say(kit, "%c stored %" PRIu64 "\n", name_of(member), m->durable);
        step(kit, member, &event);
    }
}

void replica_kit_store_all(ReplicaKit *kit, unsigned member)
{
    while (kit->members[member].up && kit->members[member].item_count > 0) {
        replica_kit_store(kit, member, SIZE_MAX);
    }
}

/* --- messages --- */

void replica_kit_deliver(ReplicaKit *kit, const Message *message)
{
    unsigned to = member_of(kit, message->to);
    if (to == REPLICA_KIT_MAX || !kit->members[to].up) return;
    unsigned from = member_of(kit, message->from);
    say(kit, "%c from ", name_of(to));
    say_message(kit, "", from == REPLICA_KIT_MAX ? '?' : name_of(from), message);
    Event event = {.type = EVENT_MESSAGE, .message = message};
    step(kit, to, &event);
}

void replica_kit_take(ReplicaKit *kit, size_t i, bool deliver)
{
    Message *message = kit->bag[i];
    kit->bag_len--;
    memmove(&kit->bag[i], &kit->bag[i + 1], (kit->bag_len - i) * sizeof(Message *));
    if (deliver) replica_kit_deliver(kit, message);
    mem_free(message);
}

void replica_kit_repeat(ReplicaKit *kit, size_t i)
{
    put_message(kit, kit->bag[i]);
}

static bool message_is(const ReplicaKit *kit, const Message *m, MessageType type, unsigned from,
                       unsigned to)
{
    return (type == 0 || m->type == type) &&
           (from == REPLICA_KIT_MAX || member_of(kit, m->from) == from) &&
           (to == REPLICA_KIT_MAX || member_of(kit, m->to) == to);
}

bool replica_kit_pass(ReplicaKit *kit, MessageType type, unsigned from, unsigned to)
{
    for (size_t i = 0; i < kit->bag_len; i++) {
        if (!message_is(kit, kit->bag[i], type, from, to)) continue;
        replica_kit_take(kit, i, true);
        return true;
    }
    return false;
}

void replica_kit_lose(ReplicaKit *kit, MessageType type, unsigned from, unsigned to)
{
    for (size_t i = kit->bag_len; i > 0; i--) {
        if (message_is(kit, kit->bag[i - 1], type, from, to)) replica_kit_take(kit, i - 1, false);
    }
}

Message replica_kit_message(const ReplicaKit *kit, MessageType type, unsigned from, unsigned to)
{
    const ReplicaKitMember *m = &kit->members[from];
    Message message = {.type = type,
                       .shard = SHARD,
                       .from = m->root,
                       .from_incarnation = m->incarnation,
                       .to = kit->members[to].root,
                       .to_incarnation = kit->members[to].incarnation,
                       .term = replica_term(m->replica),
                       .cfg_uid = replica_config(m->replica)->cfg_uid,
                       .lsn = m->log_len,
                       .commit_lsn = replica_commit_lsn(m->replica)};
    if (m->log_len > 0) {
        message.lsn_term = m->log[m->log_len - 1].term;
        message.lsn_hash = m->log[m->log_len - 1].hash;
    }
    return message;
}

/* --- the control store --- */

void replica_kit_cas_decide(ReplicaKit *kit, size_t i, ReplicaKitCasFate fate)
{
    ReplicaKitCas *cas = &kit->cas[i];
    ASSERT(!cas->decided);
    cas->decided = true;
    cas->answer = EVENT_CAS_UNKNOWN;
    if (fate == KIT_CAS_UNKNOWN_IGNORED) return;
    bool good = id128_eq(cas->asked.parent_uid, kit->row.cfg_uid);
    if (good) {
        kit->row_before = kit->row;
        kit->row = cas->asked;
    }
    cas->in_force = kit->row;
    if (fate == KIT_CAS_PLAIN) cas->answer = good ? EVENT_CAS_DONE : EVENT_CAS_REFUSED;
}

void replica_kit_cas_tell(ReplicaKit *kit, size_t i)
{
    ReplicaKitCas cas = kit->cas[i];
    ASSERT(cas.decided);
    kit->cas_count--;
    memmove(&kit->cas[i], &kit->cas[i + 1], (kit->cas_count - i) * sizeof kit->cas[0]);
    const ReplicaKitMember *m = &kit->members[cas.member];
    if (!m->up || m->incarnation != cas.incarnation) return;
    Event event = {.type = cas.answer, .new_cfg_uid = cas.asked.cfg_uid};
    if (cas.answer != EVENT_CAS_UNKNOWN) event.config = &cas.in_force;
    say(kit, "%c is told cas %s\n", name_of(cas.member),
        cas.answer == EVENT_CAS_DONE      ? "done"
        : cas.answer == EVENT_CAS_REFUSED ? "refused"
                                          : "unknown");
    step(kit, cas.member, &event);
}

void replica_kit_set_row(ReplicaKit *kit, const ShardConfig *row)
{
    ShardConfig next = *row;
    next.parent_uid = kit->row.cfg_uid;
    next.cfg_uid = new_uid(kit);
    kit->row_before = kit->row;
    kit->row = next;
}

void replica_kit_roll_back(ReplicaKit *kit)
{
    /* Incarnations are not taken back: a root's own log refuses to open with an old one. */
    ShardConfig row = kit->row_before;
    for (uint32_t i = 0; i < row.member_count; i++) {
        row.members[i].incarnation = kit->row.members[i].incarnation;
    }
    kit->row = row;
}

/* --- until quiet --- */

void replica_kit_settle(ReplicaKit *kit)
{
    bool moved = true;
    while (moved && kit->wrong[0] == '\0') {
        moved = false;
        while (kit->cas_count > 0) {
            if (!kit->cas[0].decided) replica_kit_cas_decide(kit, 0, KIT_CAS_PLAIN);
            replica_kit_cas_tell(kit, 0);
            moved = true;
        }
        for (size_t left = kit->bag_len; left > 0; left--) {
            replica_kit_take(kit, 0, true);
            moved = true;
        }
        for (unsigned i = 0; i < kit->count; i++) {
            moved = moved || (kit->members[i].up && kit->members[i].item_count > 0);
            replica_kit_store_all(kit, i);
        }
    }
}

const Replica *replica_kit_replica(const ReplicaKit *kit, unsigned member)
{
    return kit->members[member].replica;
}

ReplicaRole replica_kit_role(const ReplicaKit *kit, unsigned member)
{
    const ReplicaKitMember *m = &kit->members[member];
    return m->up ? replica_role(m->replica) : ROLE_FOLLOWER;
}
