#include "search_world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "message_text.h"
#include "search_tables.h"

#define SHARD ((ShardId)4097)
#define BEGIN_NS (1000000 * REPLICA_MS)
#define CHANGE_KINDS 16 /* of one primary */

/* --- names --- */

Uuid search_root(unsigned member)
{
    Uuid root = {{0}};
    root.bytes[0] = (uint8_t)(member + 1);
    return root;
}

unsigned search_member_of(Uuid root)
{
    unsigned member = root.bytes[0] - 1u;
    return member < SEARCH_MEMBERS ? member : SEARCH_MEMBERS;
}

/* The next uid of a member: the same for whoever did the same before. */
static Uuid uid_of(const SearchWorld *w, unsigned m)
{
    Uuid uid = {{0}};
    uint32_t number = w->s.members[m].uids + 1;
    uid.bytes[0] = (uint8_t)(m + 1);
    memcpy(&uid.bytes[4], &number, sizeof number);
    uid.bytes[15] = 1;
    return uid;
}

void search_wrong(SearchWorld *w, const char *format, ...)
{
    if (w->wrong[0] != '\0') return;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(w->wrong, sizeof w->wrong, format, args);
    va_end(args);
    ASSERT(len > 0);
}

const char *search_action_name(SearchAction action)
{
    static const char *const names[ACT_COUNT] = {
        [ACT_DELIVER] = "deliver",
        [ACT_SYNC] = "sync",
        [ACT_STAND] = "stand",
        [ACT_TICK] = "tick",
        [ACT_WRITE] = "write",
        [ACT_CAS] = "cas",
        [ACT_CAS_DONE] = "cas-unknown",
        [ACT_CAS_IGNORED] = "cas-ignored",
        [ACT_CRASH] = "crash",
        [ACT_KILL] = "kill",
        [ACT_SUSPECT] = "suspect",
        [ACT_ROLL_BACK] = "roll-back",
        [ACT_JUMP] = "jump",
        [ACT_CHANGE] = "change",
        [ACT_HAND_OVER] = "hand-over",
        [ACT_CUT_LOG] = "cut-log",
        [ACT_ROW] = "row",
        [ACT_STREAMED] = "streamed",
    };
    return names[action >> 8];
}

static bool has_bug(const SearchWorld *w, SearchBug bug)
{
    return (w->bugs >> ((unsigned)REPLICA_BUG_COUNT + (unsigned)bug) & 1) != 0;
}

/* --- a log --- */

bool search_durable(const SearchWorld *w, unsigned m, Lsn lsn, const Sha256 *hash)
{
    if (m >= w->count) return false;
    const SearchLog *log = &w->s.members[m].durable;
    if (lsn <= log->base) return lsn < log->base || sha256_eq(&log->base_hash, hash);
    return lsn <= log->last && sha256_eq(&search_entry(log->ids[lsn])->hash, hash);
}

const ShardConfig *search_log_config(const SearchLog *log, unsigned back, Lsn *lsn, Term *term)
{
    for (Lsn at = log->last; at > log->base; at--) {
        const LogEntry *entry = search_entry(log->ids[at]);
        if (!entry->is_config || back-- > 0) continue;
        *lsn = at;
        *term = entry->term;
        return entry->config;
    }
    *lsn = log->base_config_lsn;
    *term = log->base_config_term;
    return back == 0 && log->base_config_lsn != 0 ? search_config(log->base_config) : NULL;
}

/* --- effects --- */

typedef struct {
    bool was_leading;
    bool start;
    bool stand;
    bool look;
    const ShardConfig *config;
    Uuid fetch_root; /* zero: nothing is asked for */
    Lsn fetch_lsn;
} Later;

static void step(SearchWorld *w, unsigned m, Event *event);

static void send_message(SearchWorld *w, unsigned m, const Message *message)
{
    search_check_sent(w, m, message);
    if (search_member_of(message->to) >= w->count) return;
    uint32_t id = table_message(message);
    for (uint32_t i = 0; i < w->s.bag_len; i++) {
        if (w->s.bag[i] == id) return; /* a repeat of what is still under way */
    }
    if (w->s.bag_len == SEARCH_BAG_MAX) {
        memmove(&w->s.bag[0], &w->s.bag[1], (SEARCH_BAG_MAX - 1) * sizeof w->s.bag[0]);
        w->s.bag_len--;
        w->dropped++;
    }
    w->s.bag[w->s.bag_len++] = id;
}

static void reset_log(SearchMember *member, const Effect *e)
{
    member->log.last = member->log.base = e->lsn;
    member->log.base_term = e->term;
    member->log.base_hash = e->hash;
    member->log.base_config_lsn = e->config_lsn;
    member->log.base_config = e->config_lsn != 0 ? table_config(&e->config) : 0;
    member->log.base_config_term = e->config_lsn != 0 ? e->config.term : 0;
    member->log.incomplete = true;
    member->log.complete_lsn = 0;
    member->commit = MAX(member->commit, e->lsn);
    member->cut_lsn = e->lsn;
    member->stream_lsn = e->lsn;
    member->cuts++;
    member->dirty = true;
}

static void store_entries(SearchWorld *w, SearchMember *member, const Effect *e)
{
    for (uint32_t i = 0; i < e->entry_count; i++) {
        Lsn lsn = e->entries[i].lsn;
        ASSERT(lsn == member->log.last + 1);
        if (lsn >= SEARCH_LOG_MAX) {
            w->ended = true;
            return;
        }
        member->log.last = lsn;
        member->log.ids[lsn] = table_entry(&e->entries[i]);
    }
    member->dirty = true;
}

static void carry_out(SearchWorld *w, unsigned m, const Effect *e, Later *later)
{
    SearchMember *member = &w->s.members[m];
    switch (e->type) {
    case EFFECT_STORE_ENTRIES: store_entries(w, member, e); break;
    case EFFECT_STORE_STATE:
        member->log.term = e->state.max_term;
        member->log.voted_for = e->state.voted_for;
        member->dirty = true;
        w->ended = w->ended || e->state.max_term >= SEARCH_TERM_MAX;
        break;
    case EFFECT_SEND: send_message(w, m, &e->message); break;
    case EFFECT_CAS:
        search_check_cas(w, m, &e->config);
        member->cas = table_config(&e->config);
        member->uids++;
        break;
    case EFFECT_START:
        search_check_start(w, m);
        later->start = true;
        break;
    case EFFECT_COMMIT: search_check_commit(w, m, e->lsn, later->was_leading); break;
    case EFFECT_QUARANTINE: search_wrong(w, "I5: %u is quarantined", m); break;
    case EFFECT_CONFIG: later->config = search_config(table_config(&e->config)); break;
    case EFFECT_TRUNCATE:
        if (e->lsn < member->commit) search_wrong(w, "I5: %u cuts below its commit", m);
        member->log.last = e->lsn;
        member->cuts++;
        member->dirty = true;
        break;
    case EFFECT_RESET: reset_log(member, e); break;
    case EFFECT_FETCH:
        later->fetch_root = e->root;
        later->fetch_lsn = e->lsn;
        break;
    case EFFECT_LOOK: later->look = true; break;
    case EFFECT_STAND: later->stand = true; break;
    case EFFECT_SNAPSHOT:
    case EFFECT_ROLE: break;
    }
}

static void append(SearchWorld *w, unsigned m, bool is_start, const ShardConfig *config)
{
    Event event = {.type = EVENT_APPEND,
                   .entry = {.is_start = is_start, .is_config = config != NULL, .config = config}};
    LogEntry *entry = &event.entry;
    replica_next(w->replicas[m], &entry->lsn, &entry->term, &entry->prev_hash);
    table_seal(entry, m);
    step(w, m, &event);
}

static void fetch(SearchWorld *w, unsigned m, Uuid root, Lsn from)
{
    const SearchMember *member = &w->s.members[m];
    LogEntry found[REPLICA_SEND_MAX];
    Event event = {.type = EVENT_FETCHED, .root = root, .tail = found};
    for (Lsn at = from; from > member->cut_lsn && at <= member->log.last; at++) {
        if (event.tail_count == REPLICA_SEND_MAX) break;
        found[event.tail_count++] = *search_entry(member->log.ids[at]);
    }
    step(w, m, &event);
}

static void stand(SearchWorld *w, unsigned m)
{
    Event event = {
        .type = EVENT_STAND, .config = search_config(w->s.row), .new_cfg_uid = uid_of(w, m)};
    step(w, m, &event);
}

static void step(SearchWorld *w, unsigned m, Event *event)
{
    if (w->ended) return;
    Replica *replica = w->replicas[m];
    Later later = {.was_leading = replica_is_leading(replica)};
    event->now_ns = w->s.now_ns;
    w->touched |= 1u << m;
    w->stale |= 1u << m;
    w->steps++;
    replica_step(replica, event, &w->effects);
    uint32_t count = w->effects.count;
    for (uint32_t i = 0; i < count; i++)
        carry_out(w, m, &w->effects.items[i], &later);
    SearchMember *member = &w->s.members[m];
    if (member->log.incomplete && replica_role(replica) != ROLE_INCOMPLETE) {
        member->log.incomplete = false;
        member->stream_lsn = 0;
        member->dirty = true;
    }
    if (w->ended) return;
    if (later.start) append(w, m, true, NULL);
    if (later.config != NULL) append(w, m, false, later.config);
    if (!id128_is_zero(later.fetch_root)) fetch(w, m, later.fetch_root, later.fetch_lsn);
    if (later.look) {
        Event row = {.type = EVENT_ROW, .config = search_config(w->s.row)};
        step(w, m, &row);
    }
    if (later.stand && w->s.left.stands > 0) {
        w->s.left.stands--;
        stand(w, m);
    }
}

static void sync_log(SearchWorld *w, unsigned m)
{
    SearchMember *member = &w->s.members[m];
    const SearchLog *log = &member->log;
    bool state = log->term != member->durable.term ||
                 !id128_eq(log->voted_for, member->durable.voted_for);
    Event stored = {.type = EVENT_STORED, .lsn = log->last, .cuts = member->cuts};
    Event told = {.type = EVENT_STATE_STORED, .term = log->term, .voted_for = log->voted_for};
    member->durable = *log;
    member->dirty = false;
    if (state) {
        search_check_vote(w, m, told.term, told.voted_for);
        step(w, m, &told);
    }
    step(w, m, &stored);
}

/* --- life --- */

static void put_row(SearchWorld *w, const ShardConfig *row)
{
    w->s.row_before = w->s.row;
    w->s.row = table_config(row);
}

/* As the control store registers a root: it leaves isr and elr if others are in sync. */
static void register_root(SearchWorld *w, unsigned m)
{
    SearchMember *member = &w->s.members[m];
    ShardConfig row = *search_config(w->s.row);
    uint32_t at = replica_config_index(&row, search_root(m));
    row.parent_uid = row.cfg_uid;
    row.cfg_uid = uid_of(w, m);
    row.version++;
    member->incarnation++;
    member->uids++;
    if (at < MEMBERS_MAX) {
        row.members[at].incarnation = member->incarnation;
        uint16_t bit = (uint16_t)(1u << at);
        if ((row.isr & ~bit) != 0) {
            row.isr = (uint16_t)(row.isr & ~bit);
            row.elr = (uint16_t)(row.elr & ~bit);
        }
    }
    for (uint32_t i = 0; i < row.learner_count; i++) {
        if (search_member_of(row.learners[i].root) == m)
            row.learners[i].incarnation = member->incarnation;
    }
    put_row(w, &row);
}

static void start(SearchWorld *w, unsigned m, bool suspect, bool no_grace)
{
    SearchMember *member = &w->s.members[m];
    const SearchLog *log = &member->log;
    w->replicas[m] = replica_init(w->replicas[m], SHARD, search_root(m), member->incarnation);
    replica_plant(w->replicas[m], w->bugs & ((UINT64_C(1) << REPLICA_BUG_COUNT) - 1));
    Lsn first = MAX(log->base, MIN(member->cut_lsn, MIN(member->commit, log->last))) + 1;
    LogEntry tail[SEARCH_LOG_MAX];
    LogConfig configs[2];
    ReplicaState state = {.shard = SHARD,
                          .max_term = log->term,
                          .voted_for = log->voted_for,
                          .last_lsn = log->last,
                          .last_term = log->base_term,
                          .last_hash = log->base_hash,
                          .commit_lsn = MIN(member->commit, log->last)};
    state.applied_lsn = state.commit_lsn;
    if (log->last > log->base) {
        state.last_term = search_entry(log->ids[log->last])->term;
        state.last_hash = search_entry(log->ids[log->last])->hash;
    }
    Event event = {.type = EVENT_RESTART,
                   .state = &state,
                   .config = search_config(w->s.row),
                   .tail = tail,
                   .tail_prev_term = first - 1 > log->base ? search_entry(log->ids[first - 1])->term
                                                           : log->base_term,
                   .configs = configs,
                   .no_grace = no_grace,
                   .suspect = suspect,
                   .incomplete = log->incomplete,
                   .complete_lsn = log->complete_lsn};
    if (has_bug(w, SEARCH_BUG_VOTES_CUT)) {
        state.max_term = state.last_term;
        state.voted_for = (Uuid){{0}};
    }
    for (Lsn at = first; at <= log->last; at++)
        tail[event.tail_count++] = *search_entry(log->ids[at]);
    for (unsigned back = has_bug(w, SEARCH_BUG_NO_PREV_CONFIG) ? 1 : 2; back-- > 0;) {
        LogConfig *config = &configs[event.config_count];
        const ShardConfig *known = search_log_config(log, back, &config->lsn, &config->term);
        if (known == NULL) continue;
        config->config = *known;
        event.config_count++;
    }
    member->cuts = 0;
    member->stream_lsn = 0;
    step(w, m, &event);
}

static void restart(SearchWorld *w, unsigned m, SearchActionType how)
{
    SearchMember *member = &w->s.members[m];
    if (how == ACT_CRASH) member->log = member->durable;
    search_check_vote(w, m, member->log.term, member->log.voted_for);
    if (!has_bug(w, SEARCH_BUG_PAGE_CACHE)) { /* "sync the log's tail" */
        member->durable = member->log;
        member->dirty = false;
    }
    if (member->log.last < member->commit) search_wrong(w, "I5: %u lost what it committed", m);
    register_root(w, m);
    start(w, m, how == ACT_SUSPECT, false);
}

/* --- the control store --- */

static void decide_cas(SearchWorld *w, unsigned m, SearchActionType fate)
{
    SearchMember *member = &w->s.members[m];
    const ShardConfig *asked = search_config(member->cas);
    member->cas = 0;
    const ShardConfig *row = search_config(w->s.row);
    bool good = fate != ACT_CAS_IGNORED && id128_eq(row->cfg_uid, asked->parent_uid);
    if (good) put_row(w, asked);
    Event event = {.type = good ? EVENT_CAS_DONE : EVENT_CAS_REFUSED,
                   .config = search_config(w->s.row),
                   .new_cfg_uid = asked->cfg_uid};
    if (fate != ACT_CAS) {
        event.type = EVENT_CAS_UNKNOWN;
        event.config = NULL;
    }
    step(w, m, &event);
}

/* Change number kind of what m acts by; false: there is none. */
static bool make_change(const SearchWorld *w, unsigned m, unsigned kind, ShardConfig *out)
{
    *out = *replica_config(w->replicas[m]);
    if (kind == 0) return out->min_isr++ < out->member_count;
    if (kind == 1) return out->min_isr-- > MAX(out->member_count / 2, 1u);
    if (kind == 2) {
        if (out->learner_count == 0 || out->member_count == MEMBERS_MAX) return false;
        out->members[out->member_count++] = out->learners[0];
        out->learner_count = 0;
        return true;
    }
    uint32_t at = kind - 3;
    if (at >= out->member_count || out->member_count <= 2) return false;
    if (search_member_of(out->members[at].root) == m) return false;
    out->member_count--;
    memmove(&out->members[at], &out->members[at + 1],
            (out->member_count - at) * sizeof out->members[0]);
    out->min_isr = MIN(out->min_isr, out->member_count);
    return true;
}

/* --- actions --- */

typedef struct {
    SearchAction *out;
    unsigned count;
} ActionList;

static void offer(ActionList *list, SearchActionType type, unsigned arg)
{
    ASSERT(list->count < SEARCH_ACTIONS_MAX);
    list->out[list->count++] = (SearchAction)((unsigned)type << 8 | arg);
}

static void offer_at(const SearchWorld *w, ActionList *list, unsigned m)
{
    const SearchBudget *left = &w->s.left;
    const SearchMember *member = &w->s.members[m];
    ReplicaRole role = replica_role(w->replicas[m]);
    if (member->dirty) offer(list, ACT_SYNC, m);
    if (member->cas != 0) {
        offer(list, ACT_CAS, m);
        if (left->unknown > 0) offer(list, ACT_CAS_DONE, m);
        if (left->unknown > 0) offer(list, ACT_CAS_IGNORED, m);
    }
    if (member->stream_lsn != 0 && member->log.incomplete) offer(list, ACT_STREAMED, m);
    bool may = role == ROLE_FOLLOWER || role == ROLE_CANDIDATE;
    if (may && left->stands > 0) offer(list, ACT_STAND, m);
    bool leads = role == ROLE_PRIMARY || role == ROLE_STARTING;
    if (left->ticks > 0 && (leads || role == ROLE_CANDIDATE)) offer(list, ACT_TICK, m);
    if (left->crashes > 0) {
        offer(list, ACT_KILL, m);
        if (member->dirty) offer(list, ACT_CRASH, m);
    }
    if (left->suspects > 0) offer(list, ACT_SUSPECT, m);
    if (left->rows > 0 && role != ROLE_CANDIDATE) offer(list, ACT_ROW, m);
    if (left->cuts > 0 && member->commit > member->cut_lsn) offer(list, ACT_CUT_LOG, m);
    if (role != ROLE_PRIMARY) return;
    if (left->writes > 0 && replica_can_append(w->replicas[m])) offer(list, ACT_WRITE, m);
    if (left->hand_overs > 0) offer(list, ACT_HAND_OVER, m);
    ShardConfig change;
    for (unsigned kind = 0; left->changes > 0 && kind < 3 + SEARCH_MEMBERS; kind++) {
        if (make_change(w, m, kind, &change)) offer(list, ACT_CHANGE, m * CHANGE_KINDS + kind);
    }
}

unsigned search_actions(const SearchWorld *w, SearchAction *out)
{
    ActionList list = {.out = out};
    if (w->ended) return 0;
    for (unsigned i = 0; i < w->s.bag_len; i++)
        offer(&list, ACT_DELIVER, i);
    for (unsigned m = 0; m < w->count; m++)
        offer_at(w, &list, m);
    if (w->s.left.jumps > 0) offer(&list, ACT_JUMP, 0);
    if (w->s.left.roll_backs > 0 && w->s.row_before != 0) offer(&list, ACT_ROLL_BACK, 0);
    return list.count;
}

/* What can have no effect any more is forgotten: answers of an earlier term, or to whoever asks no
 * more. */
static bool is_void(const SearchWorld *w, const Message *message)
{
    unsigned m = search_member_of(message->to);
    const Replica *r = w->replicas[m];
    bool answer = message->type == MSG_APPENDED || message->type == MSG_PROMISE ||
                  message->type == MSG_MISMATCH || message->type == MSG_FENCED;
    if (message->to_incarnation < w->s.members[m].incarnation)
        return answer || message->type == MSG_POLLED || message->type == MSG_APPEND;
    if (message->type == MSG_POLLED) return r->role != ROLE_CANDIDATE;
    if (message->type == MSG_PROMISE && message->term == r->term) return !replica_is_leading(r);
    return answer && message->term < r->term;
}

static void forget_void(SearchWorld *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->s.bag_len; i++) {
        if (!is_void(w, search_message(w->s.bag[i]))) w->s.bag[kept++] = w->s.bag[i];
    }
    w->s.bag_len = kept;
}

static void settle_logs(SearchWorld *w)
{
    for (unsigned m = 0; m < w->count; m++) {
        while (w->s.members[m].dirty && !w->ended && w->wrong[0] == '\0')
            sync_log(w, m);
    }
}

static void say_message(const Message *message)
{
    char text[MESSAGE_TEXT_MAX];
    message_text(message, (int)search_member_of(message->from), (int)search_member_of(message->to),
                 text);
    printf("    %s\n", text);
}

static void deliver(SearchWorld *w, unsigned i)
{
    const Message *message = search_message(w->s.bag[i]);
    w->s.bag_len--;
    memmove(&w->s.bag[i], &w->s.bag[i + 1], (w->s.bag_len - i) * sizeof w->s.bag[0]);
    if (w->trace) say_message(message);
    Event event = {.type = EVENT_MESSAGE, .message = message};
    step(w, search_member_of(message->to), &event);
}

static void tick(SearchWorld *w, unsigned m)
{
    Event event = {.type = EVENT_TICK, .new_cfg_uid = uid_of(w, m), .sync_p99_ns = REPLICA_MS};
    step(w, m, &event);
}

static void change(SearchWorld *w, unsigned arg)
{
    unsigned m = arg / CHANGE_KINDS;
    ShardConfig wanted;
    if (!make_change(w, m, arg % CHANGE_KINDS, &wanted)) return;
    Event event = {.type = EVENT_CHANGE, .config = &wanted, .new_cfg_uid = uid_of(w, m)};
    w->s.members[m].uids++;
    step(w, m, &event);
}

static void streamed(SearchWorld *w, unsigned m)
{
    SearchMember *member = &w->s.members[m];
    Event event = {.type = EVENT_SNAPSHOT_STORED, .lsn = w->s.committed_len, .cuts = member->cuts};
    member->stream_lsn = 0;
    member->log.complete_lsn = event.lsn;
    member->dirty = true;
    step(w, m, &event);
}

static void act(SearchWorld *w, SearchActionType type, unsigned arg)
{
    SearchBudget *left = &w->s.left;
    Event event = {0};
    switch (type) {
    case ACT_DELIVER: deliver(w, arg); break;
    case ACT_SYNC: sync_log(w, arg); break;
    case ACT_STAND:
        left->stands--;
        stand(w, arg);
        break;
    case ACT_TICK:
        left->ticks--;
        tick(w, arg);
        break;
    case ACT_WRITE:
        left->writes--;
        append(w, arg, false, NULL);
        break;
    case ACT_CAS_DONE:
    case ACT_CAS_IGNORED:
        left->unknown--;
        decide_cas(w, arg, type);
        break;
    case ACT_CAS: decide_cas(w, arg, type); break;
    case ACT_CRASH:
    case ACT_KILL:
        left->crashes--;
        restart(w, arg, type);
        break;
    case ACT_SUSPECT:
        left->suspects--;
        restart(w, arg, type);
        break;
    case ACT_ROLL_BACK:
        left->roll_backs--;
        w->s.row = w->s.row_before;
        w->s.row_before = 0;
        break;
    case ACT_JUMP:
        left->jumps--;
        w->s.now_ns += SEARCH_JUMP_NS;
        break;
    case ACT_CHANGE:
        left->changes--;
        change(w, arg);
        break;
    case ACT_HAND_OVER:
        left->hand_overs--;
        event.type = EVENT_HAND_OVER;
        step(w, arg, &event);
        break;
    case ACT_CUT_LOG:
        left->cuts--;
        w->s.members[arg].cut_lsn = w->s.members[arg].commit;
        break;
    case ACT_ROW:
        left->rows--;
        event = (Event){.type = EVENT_ROW, .config = search_config(w->s.row)};
        step(w, arg, &event);
        break;
    case ACT_STREAMED: streamed(w, arg); break;
    case ACT_COUNT: ASSERT(false); break;
    }
}

/* Delivers the first POLL or POLLED; false: there is none. */
static bool deliver_poll(SearchWorld *w)
{
    for (uint32_t i = 0; i < w->s.bag_len; i++) {
        MessageType type = search_message(w->s.bag[i])->type;
        if (type != MSG_POLL && type != MSG_POLLED) continue;
        deliver(w, i);
        return true;
    }
    return false;
}

void search_act(SearchWorld *w, SearchAction action)
{
    act(w, (SearchActionType)(action >> 8), action & 0xff);
    do {
        if (w->s.left.lazy == 0) settle_logs(w);
    } while (w->s.left.instant > 0 && w->wrong[0] == '\0' && deliver_poll(w));
    if (w->wrong[0] == '\0') search_check_reads(w);
    forget_void(w);
}

/* --- the whole --- */

/* Delivers and decides until nothing is under way. */
static void settle(SearchWorld *w)
{
    bool more = true;
    while (more && w->wrong[0] == '\0') {
        more = false;
        settle_logs(w);
        if (w->s.bag_len > 0) {
            deliver(w, 0);
            more = true;
        }
        for (unsigned m = 0; m < w->count; m++) {
            if (w->s.members[m].cas == 0) continue;
            decide_cas(w, m, ACT_CAS);
            more = true;
        }
    }
}

SearchWorld *search_new(const SearchBudget *budget, uint64_t bugs, bool trace)
{
    SearchWorld *w = mem_new(sizeof *w);
    w->bugs = bugs;
    w->count = 3u + (budget->spare > 0);
    w->s.now_ns = BEGIN_NS;
    ShardConfig row = {.version = 1,
                       .min_isr = budget->min_isr,
                       .member_count = 3,
                       .isr = 7,
                       .learner_count = budget->spare,
                       .primary = MEMBERS_MAX};
    row.cfg_uid.bytes[0] = 0xff;
    for (unsigned m = 0; m < w->count; m++) {
        if (m < 3)
            row.members[m] = (Member){search_root(m), 1};
        else
            row.learners[0] = (Member){search_root(m), 1};
    }
    w->s.row = table_config(&row);
    for (unsigned m = 0; m < w->count; m++) {
        w->replicas[m] = mem_new(replica_size());
        w->s.members[m].incarnation = 1;
        start(w, m, false, true);
    }
    stand(w, 0);
    settle(w);
    tick(w, 0);
    settle(w);
    ASSERT(replica_role(w->replicas[0]) == ROLE_PRIMARY);
    w->s.left = *budget;
    w->s.row_before = 0;
    w->trace = trace;
    return w;
}

void search_free(SearchWorld *w)
{
    if (w == NULL) return;
    for (unsigned m = 0; m < w->count; m++)
        mem_free(w->replicas[m]);
    mem_free(w);
}
