/* The replicas: events in, effects out; their messages to one another; the log items of each root.
 */
#include "service/engine_priv.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"

#define KEPT_FIRST 16
/* Messages that are delivered at once: whatever two replicas have to say to each other without end,
 * the core goes on, and the rest comes at its next turn. */
#define PUMP_MAX 20000
/* Items at the writer of a root that does not lead, of which more could not be written soon. */
#define BEHIND_ITEMS_MAX (ENGINE_LOG_MAX / 8 * 5)
/* Of entries whose bytes are in memory for members that may lack them: more, and those are read
 * from the log. */
#define KEPT_BYTES_MAX (64 * MIB)

/* --- entries in memory --- */

static void kept_grow(Kept *kept)
{
    size_t capacity = kept->capacity == 0 ? KEPT_FIRST : kept->capacity * 2;
    Sealed **items = mem_new_array(capacity, sizeof(Sealed *));
    for (size_t i = 0; i < kept->count; i++)
        items[i] = kept->items[(kept->first + i) % kept->capacity];
    mem_free(kept->items);
    kept->items = items;
    kept->capacity = capacity;
    kept->first = 0;
}

static void kept_release(Engine *engine, Sealed *sealed)
{
    ASSERT(engine->kept_bytes >= sealed_len(sealed));
    engine->kept_bytes -= sealed_len(sealed);
    sealed_drop_body(sealed);
    sealed_unref(sealed);
}

static void kept_pop(Engine *engine, Kept *kept)
{
    kept_release(engine, kept->items[kept->first]);
    kept->first = (kept->first + 1) % kept->capacity;
    kept->count--;
    kept->first_lsn++;
}

static void kept_add(Engine *engine, Kept *kept, Lsn lsn, Sealed *sealed)
{
    if (kept->count == 0) kept->first_lsn = lsn;
    ASSERT(lsn == kept->first_lsn + kept->count);
    if (kept->count == REPLICA_WINDOW) kept_pop(engine, kept);
    if (kept->count == kept->capacity) kept_grow(kept);
    kept->items[(kept->first + kept->count) % kept->capacity] = sealed_ref(sealed);
    kept->count++;
    engine->kept_bytes += sealed_len(sealed);
}

static void kept_cut(Engine *engine, Kept *kept, Lsn lsn)
{
    while (kept->count > 0 && kept->first_lsn + kept->count - 1 > lsn) {
        kept->count--;
        kept_release(engine, kept->items[(kept->first + kept->count) % kept->capacity]);
    }
}

void engine_forget(Engine *engine, EngineShard *shard, EngineMember *member)
{
    Kept *kept = &member->kept;
    Lsn lsn = replica_needless_lsn(member->replica);
    if (engine->kept_bytes > KEPT_BYTES_MAX) lsn = replica_commit_lsn(member->replica);
    if (kept->count == 0 || kept->first_lsn > lsn) return;
    while (kept->count > 0 && kept->first_lsn <= lsn)
        kept_pop(engine, kept);
    Event event = {.type = EVENT_FORGOTTEN, .lsn = kept->first_lsn - 1};
    if (engine->roots[member->root].failed) member->forgotten_lsn = event.lsn;
    engine_step(engine, shard, member, &event);
}

/* --- the log --- */

static LogItem *item_new(Engine *engine, const EngineMember *member, size_t bytes)
{
    LogItem *item = mem_new(sizeof *item + bytes);
    item->root = member->root;
    item->cuts = member->cuts;
    engine->roots[member->root].log_items++;
    return item;
}

static void send_to_log(Engine *engine, LogItem *item)
{
    engine->options.io.log(engine->options.io.ctx, item);
}

static void log_record(Engine *engine, EngineMember *member, Record *record)
{
    record->next = NULL;
    if (member->open_last == NULL)
        member->open_first = record;
    else
        member->open_last->next = record;
    member->open_last = record;
    if (engine->options.root_count > 1)
        kept_add(engine, &member->kept, record->entry.lsn, record->sealed);
    LogItem *item = item_new(engine, member, 0);
    item->record = record;
    engine->roots[member->root].log_bytes += record->log_len;
    send_to_log(engine, item);
}

/* The primary's entry has its record already, and was counted when it was decided. What the lead is
 * given by another primary, which was ahead of it, is under way from here on. */
static void log_entries(Engine *engine, EngineShard *shard, EngineMember *member,
                        const Effect *effect)
{
    EngineRoot *root = &engine->roots[member->root];
    Record *appending = TAKE(engine->appending);
    if (appending != NULL) {
        ASSERT(effect->entry_count == 1 && effect->entries[0].handle == appending->sealed);
        log_record(engine, member, appending);
        return;
    }
    for (uint32_t i = 0; i < effect->entry_count; i++) {
        Record *record = store_add(root->store, effect->entries[i].handle);
        log_record(engine, member, record);
        if (member->root == shard->group->lead) engine_count_open(engine, shard, record, false);
    }
}

static void log_state(Engine *engine, EngineMember *member, const ReplicaState *state)
{
    LogItem *item = item_new(engine, member, 0);
    item->state = *state;
    send_to_log(engine, item);
}

/* What was written before the cut of its member that it fell to is void. */
static void note_logged(EngineMember *member, Lsn lsn, uint64_t cuts)
{
    if (cuts < member->logged_cuts) return;
    member->logged_cuts = cuts;
    member->logged_lsn = lsn;
    member->logged_news = true;
}

/* Of what is open nothing above lsn counts any more. */
static void drop_open(Engine *engine, EngineShard *shard, EngineMember *member, Lsn lsn)
{
    EngineRoot *root = &engine->roots[member->root];
    Record **link = &member->open_first;
    Record *last = NULL;
    while (*link != NULL && (*link)->entry.lsn <= lsn) {
        last = *link;
        link = &last->next;
    }
    Record *gone = *link;
    *link = NULL;
    member->open_last = last;
    kept_cut(engine, &member->kept, lsn);
    if (member->root == shard->group->lead) shard->told_lsn = MIN(shard->told_lsn, lsn);
    while (gone != NULL) {
        Record *next = gone->next;
        ASSERT(gone->request == NULL); /* answered when this root ceased to lead */
        if (member->root == shard->group->lead) engine_count_open(engine, shard, gone, true);
        store_cut(root->store, gone);
        gone = next;
    }
}

/* Nothing above lsn counts any more: all of it is open (I5). */
static void cut(Engine *engine, EngineShard *shard, EngineMember *member, const Effect *effect)
{
    drop_open(engine, shard, member, effect->lsn);
    member->cuts++;
    member->logged_lsn = MIN(member->logged_lsn, effect->lsn);
    if (fault_planted("cut-without-truncate")) {
        note_logged(member, effect->lsn, member->cuts);
        store_voided(engine->roots[member->root].store, shard->shard);
        return;
    }
    LogItem *item = item_new(engine, member, 0);
    item->is_truncate = true;
    item->truncate = (Truncate){
        .shard = shard->shard, .from = effect->lsn + 1, .term = effect->term, .hash = effect->hash};
    send_to_log(engine, item);
}

/* The log begins anew; what is stored counts no more. */
static void reset(Engine *engine, EngineShard *shard, EngineMember *member, const Effect *effect)
{
    LOG_TO(OPERATIONS, WARN, "shard.snapshot_begun", "shard=%u root=%u lsn=%" PRIu64, shard->shard,
           member->root, effect->lsn);
    drop_open(engine, shard, member, 0);
    store_reset(engine->roots[member->root].store, shard->shard, effect->lsn);
    member->cuts++;
    member->logged_lsn = effect->lsn;
    member->logged_news = false;
    member->wants_seed = false; /* not before it is durable */
    member->seed_base = effect->lsn;
    LogItem *item = item_new(engine, member, SHARD_CONFIG_LEN_MAX);
    Enc enc = enc_of(item->bytes, SHARD_CONFIG_LEN_MAX);
    if (effect->config_lsn != 0) shard_config_encode(&effect->config, &enc);
    ASSERT(!enc.failed);
    item->is_reset = true;
    item->state = (ReplicaState){.shard = shard->shard,
                                 .last_lsn = effect->lsn,
                                 .last_term = effect->term,
                                 .last_hash = effect->hash,
                                 .config_lsn = effect->config_lsn,
                                 .config = str_of(item->bytes, enc.len)};
    send_to_log(engine, item);
}

ErrCode log_item_append(Store *store, const LogItem *item, Err *err)
{
    if (item->record != NULL) return store_log_append(store, item->record, err);
    if (item->is_truncate) return store_log_truncate(store, &item->truncate, err);
    if (item->is_reset) return store_log_reset(store, &item->state, err);
    return store_log_state(store, &item->state, err);
}

static ShardId item_shard(const LogItem *item)
{
    if (item->record != NULL) return item->record->entry.shard;
    return item->is_truncate ? item->truncate.shard : item->state.shard;
}

static void step_state_stored(Engine *engine, EngineShard *shard, EngineMember *member)
{
    Event event = {
        .type = EVENT_STATE_STORED, .term = member->state_term, .voted_for = member->state_vote};
    if (!member->state_news || engine->roots[member->root].failed) return;
    member->state_news = false;
    engine_step(engine, shard, member, &event);
}

void engine_logged(Engine *engine, LogItem *item)
{
    EngineRoot *root = &engine->roots[item->root];
    ASSERT(root->log_items > 0);
    root->log_items--;
    if (item->record != NULL) root->log_bytes -= item->record->log_len;
    if (item->code != OK) {
        if (item->record != NULL) store_not_logged(item->record);
        engine_root_failed(engine, item->root);
        mem_free(item);
        return;
    }
    EngineShard *shard = engine_shard(engine, item_shard(item));
    EngineMember *member = &shard->on[item->root];
    if (item->record != NULL) {
        Lsn lsn = item->record->entry.lsn;
        store_logged(root->store, item->record); /* it may be gone */
        note_logged(member, lsn, item->cuts);
    } else if (item->is_truncate || item->is_reset) {
        bool newest = item->cuts == member->cuts;
        Lsn end = item->is_reset ? item->state.last_lsn : item->truncate.from - 1;
        note_logged(member, end, item->cuts);
        if (newest) store_voided(root->store, shard->shard);
        if (newest && item->is_reset) member->wants_seed = true;
    } else if (!shard->group->failed) {
        member->state_news = true;
        member->state_term = item->state.max_term;
        member->state_vote = item->state.voted_for;
        step_state_stored(engine, shard, member);
    }
    mem_free(item);
}

void engine_step_stored(Engine *engine)
{
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        if (shard->group->failed) continue;
        for (unsigned r = 0; r < engine->options.root_count; r++) {
            EngineMember *member = &shard->on[r];
            if (!member->logged_news || engine->roots[r].failed) continue;
            member->logged_news = false;
            Event event = {
                .type = EVENT_STORED, .lsn = member->logged_lsn, .cuts = member->logged_cuts};
            engine_step(engine, shard, member, &event);
        }
    }
}

/* Its class was begun without it: by what another root knows of its row. */
static ErrCode start_late(Engine *engine, EngineShard *shard, EngineMember *member, Err *err)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        if (!shard->on[r].restarted) continue;
        const ShardConfig *config = replica_config(shard->on[r].replica);
        return engine_member_restart(engine, shard, member, config, err);
    }
    return OK; /* nobody was there: the class is broken */
}

ErrCode engine_step_owed(Engine *engine, unsigned root, Err *err)
{
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        EngineMember *member = &shard->on[root];
        if (shard->group->broken) continue;
        if (!member->restarted) TRY(start_late(engine, shard, member, err));
        if (member->forgotten_lsn != 0) {
            Event forgotten = {.type = EVENT_FORGOTTEN, .lsn = member->forgotten_lsn};
            member->forgotten_lsn = 0;
            engine_step(engine, shard, member, &forgotten);
        }
        Event event = {.type = EVENT_CAS_UNKNOWN, .new_cfg_uid = member->cas_uid};
        if (shard->group->failed) continue;
        step_state_stored(engine, shard, member);
        if (!member->cas_lost) continue;
        member->cas_lost = false;
        engine_step(engine, shard, member, &event);
    }
    return OK;
}

/* --- reading the log for a member that lacks what it has --- */

/* Of entries that nobody keeps in memory. Where they stand is not known, or the log was cut there:
 * that member begins anew. */
static void fetch(Engine *engine, EngineShard *shard, EngineMember *member, Lsn lsn, Uuid to)
{
    const Store *store = engine->roots[member->root].store;
    if (member->fetching) return; /* asked for again at a tick */
    FetchJob *job = mem_new(sizeof *job);
    job->root = member->root;
    job->shard = shard->shard;
    job->to = to;
    while (job->count < REPLICA_SEND_MAX && lsn <= replica_durable_lsn(member->replica)) {
        WalPos *place = &job->places[job->count];
        if (!store_place(store, shard->shard, lsn, place, &job->lens[job->count])) break;
        job->count++;
        lsn++;
    }
    if (job->count == 0) {
        Event event = {.type = EVENT_FETCHED, .root = to};
        mem_free(job);
        if (engine->options.io.seed != NULL) engine_step(engine, shard, member, &event);
        return;
    }
    member->fetching = true;
    engine->options.io.fetch(engine->options.io.ctx, job);
}

void fetch_job_read(FetchJob *job, Store *store)
{
    Err err = {0};
    for (uint32_t i = 0; i < job->count; i++) {
        if (store_fetch(store, job->places[i], job->lens[i], &job->sealed[i], &err) != OK) {
            LOG(DEBUG, "shard.fetch_failed", "shard=%u error=" LOG_STR, job->shard,
                LOG_CSTR(err_text(&err)));
            return;
        }
        job->read++;
    }
}

LogEntry engine_log_entry(Sealed *sealed)
{
    const Entry *entry = &sealed->entry;
    return (LogEntry){.lsn = entry->lsn,
                      .term = entry->term,
                      .prev_hash = entry->prev_hash,
                      .hash = entry->checksum,
                      .is_start = entry->op == OP_START,
                      .is_config = entry->op == OP_CONFIG,
                      .config = sealed->config,
                      .handle = sealed};
}

static void drop_bodies(FetchJob *job)
{
    for (uint32_t i = 0; i < job->read; i++) {
        sealed_drop_body(job->sealed[i]);
        sealed_unref(job->sealed[i]);
    }
}

void fetch_job_free(FetchJob *job)
{
    drop_bodies(job);
    mem_free(job);
}

void engine_fetched(Engine *engine, FetchJob *job)
{
    EngineShard *shard = engine_shard(engine, job->shard);
    EngineMember *member = &shard->on[job->root];
    LogEntry tail[REPLICA_SEND_MAX];
    member->fetching = false;
    for (uint32_t i = 0; i < job->read; i++)
        tail[i] = engine_log_entry(job->sealed[i]);
    Event event = {.type = EVENT_FETCHED, .root = job->to, .tail = tail, .tail_count = job->read};
    bool may = job->read > 0 || engine->options.io.seed != NULL; /* else that member waits */
    if (may) engine_step(engine, shard, member, &event);
    fetch_job_free(job);
}

/* --- messages --- */

bool engine_root_of(const Engine *engine, Uuid uuid, unsigned *root)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        if (!id128_eq(store_root(engine->roots[r].store)->uuid, uuid)) continue;
        *root = r;
        return true;
    }
    return false;
}

static void enqueue(Engine *engine, Mail *mail)
{
    mail->next = NULL;
    if (engine->mail_last == NULL)
        engine->mail_first = mail;
    else
        engine->mail_last->next = mail;
    engine->mail_last = mail;
}

static Mail *mail_new(const Message *message, unsigned turns)
{
    Mail *mail = mem_resize(NULL, sizeof *mail); /* not zeroed: most of it is unused */
    size_t used = offsetof(Message, entries) + message->entry_count * sizeof(LogEntry);
    memcpy(&mail->message, message, used);
    mail->turns = turns;
    for (uint32_t i = 0; i < message->entry_count; i++)
        sealed_ref(message->entries[i].handle);
    return mail;
}

static bool is_far_behind(const Engine *engine, unsigned root)
{
    return engine->roots[root].log_items >= BEHIND_ITEMS_MAX ||
           engine->roots[root].log_bytes >= engine->options.backlog_bytes_max;
}

static void post(Engine *engine, const Message *message)
{
    const EngineIo *io = &engine->options.io;
    unsigned to = 0;
    MailFate fate = {.copies = 1};
    if (!engine_root_of(engine, message->to, &to) || engine->roots[to].failed) return; /* lost */
    /* Whose log does not keep up gets no more: that is as if it were lost, and is sent again. */
    if (message->entry_count > 0 && is_far_behind(engine, to)) return;
    if (io->mail != NULL) fate = io->mail(io->ctx, message);
    for (unsigned i = 0; i < fate.copies; i++) {
        Mail *mail = mail_new(message, fate.turns);
        if (fate.turns == 0) {
            enqueue(engine, mail);
        } else {
            mail->next = engine->mail_late;
            engine->mail_late = mail;
        }
    }
}

void engine_mail_due(Engine *engine)
{
    Mail **link = &engine->mail_late;
    while (*link != NULL) {
        Mail *mail = *link;
        if (--mail->turns > 0) {
            link = &mail->next;
            continue;
        }
        *link = mail->next;
        enqueue(engine, mail);
    }
}

static void mail_free(Mail *mail)
{
    for (uint32_t i = 0; i < mail->message.entry_count; i++) {
        Sealed *sealed = mail->message.entries[i].handle;
        sealed_drop_body(sealed);
        sealed_unref(sealed);
    }
    mem_free(mail);
}

static void deliver(Engine *engine, Mail *mail)
{
    unsigned to = 0;
    EngineShard *shard = engine_shard(engine, mail->message.shard);
    Event event = {.type = EVENT_MESSAGE, .message = &mail->message};
    if (engine_root_of(engine, mail->message.to, &to))
        engine_step(engine, shard, &shard->on[to], &event);
}

void engine_mail_free(Engine *engine)
{
    while (engine->mail_first != NULL) {
        Mail *mail = engine->mail_first;
        engine->mail_first = mail->next;
        mail_free(mail);
    }
    engine->mail_last = NULL;
    while (engine->mail_late != NULL) {
        Mail *mail = engine->mail_late;
        engine->mail_late = mail->next;
        mail_free(mail);
    }
}

/* At most *left messages, which it lowers. */
static void deliver_mail(Engine *engine, size_t *left)
{
    for (; engine->mail_first != NULL && *left > 0; --*left) {
        Mail *mail = engine->mail_first;
        engine->mail_first = mail->next;
        if (engine->mail_first == NULL) engine->mail_last = NULL;
        deliver(engine, mail);
        mail_free(mail);
    }
}

void engine_pump(Engine *engine)
{
    if (engine->pumping) return;
    engine->pumping = true;
    size_t left = PUMP_MAX;
    while ((engine->mail_first != NULL && left > 0) || engine_control_due(engine)) {
        deliver_mail(engine, &left);
        engine_control(engine);
    }
    engine->pumping = false;
}

/* --- effects --- */

/* An entry of the shard's own: neither can fail but for want of memory. */
static void append_own(Engine *engine, EngineShard *shard, EngineMember *member, Entry *entry)
{
    Err err = {0};
    ErrCode code = engine_append_on(engine, member, entry, NULL, &err);
    if (code == OK) return;
    /* A node that is not ready yet gives up, so that it can be started again; later this shard
     * stays unready. */
    if (!engine->ready) engine->failed = true;
    LOG(ERROR, "engine.start_failed", "shard=%u error=" LOG_STR, shard->shard,
        LOG_CSTR(err_text(&err)));
}

static void append_start(Engine *engine, EngineShard *shard, EngineMember *member)
{
    Entry entry = {.op = OP_START, .shard = shard->shard};
    append_own(engine, shard, member, &entry);
}

static void append_config(Engine *engine, EngineShard *shard, EngineMember *member,
                          const ShardConfig *config)
{
    uint8_t bytes[SHARD_CONFIG_LEN_MAX];
    AUTO_BUF(attrs, sizeof bytes + 64);
    Enc enc = enc_of(bytes, sizeof bytes);
    shard_config_encode(config, &enc);
    ASSERT(!enc.failed);
    ErrCode code = attr_set(&attrs, ATTR_CONFIG, str_of(bytes, enc.len), NULL);
    ASSERT(code == OK); /* it fits */
    Entry entry = {.op = OP_CONFIG, .shard = shard->shard, .attrs = buf_str(&attrs)};
    append_own(engine, shard, member, &entry);
}

static void change_role(Engine *engine, const EngineShard *shard, const EngineMember *member,
                        ReplicaRole role)
{
    LOG(DEBUG, "shard.role", "shard=%u root=%u role=%s term=%u", shard->shard, member->root,
        replica_role_name(role), replica_term(member->replica));
    UNUSED(engine);
}

/* What must wait until all effects are copied out, since it steps a replica again. */
typedef struct {
    bool start;
    bool look;
    bool stand;
    bool quarantined;
    bool has_config;
    ShardConfig config;
    Lsn commit;
    unsigned fetches;
    struct {
        Lsn lsn;
        Uuid to;
    } fetch[ENGINE_ROOTS_MAX];
} Later;

static void note_fetch(Later *later, const Effect *effect)
{
    if (later->fetches == ENGINE_ROOTS_MAX) return; /* asked for again at a tick */
    later->fetch[later->fetches].lsn = effect->lsn;
    later->fetch[later->fetches++].to = effect->root;
}

static void carry_out_one(Engine *engine, EngineShard *shard, EngineMember *member,
                          const Effect *effect, Later *later)
{
    switch (effect->type) {
    case EFFECT_STORE_ENTRIES: log_entries(engine, shard, member, effect); break;
    case EFFECT_STORE_STATE: log_state(engine, member, &effect->state); break;
    case EFFECT_CAS: engine_ask_swap(engine, shard->shard, member->root, &effect->config); break;
    case EFFECT_START: later->start = true; break;
    case EFFECT_COMMIT: later->commit = effect->lsn; break;
    case EFFECT_ROLE: change_role(engine, shard, member, effect->role); break;
    case EFFECT_SEND: post(engine, &effect->message); break;
    case EFFECT_TRUNCATE: cut(engine, shard, member, effect); break;
    case EFFECT_LOOK: later->look = true; break;
    case EFFECT_STAND: later->stand = true; break;
    case EFFECT_QUARANTINE: later->quarantined = true; break;
    case EFFECT_FETCH: note_fetch(later, effect); break;
    case EFFECT_CONFIG:
        later->has_config = true;
        later->config = effect->config;
        break;
    case EFFECT_RESET: reset(engine, shard, member, effect); break;
    case EFFECT_SNAPSHOT: break; /* it begins when the other's log did anew: engine_start_seeds() */
    }
}

static void carry_out_later(Engine *engine, EngineShard *shard, EngineMember *member,
                            const Later *later)
{
    if (later->commit != 0) engine_commit_to(engine, shard, member, later->commit);
    if (later->start) append_start(engine, shard, member);
    if (later->has_config) append_config(engine, shard, member, &later->config);
    for (unsigned i = 0; i < later->fetches; i++)
        fetch(engine, shard, member, later->fetch[i].lsn, later->fetch[i].to);
    if (later->look) engine_ask_look(engine, shard->shard, member->root);
    if (later->stand) {
        Event event = {.type = EVENT_STAND, .new_cfg_uid = id128_random(&engine->rng)};
        engine_step(engine, shard, member, &event);
    }
    if (later->quarantined) engine_root_failed(engine, member->root);
}

/* Effects are copied out one by one: carrying one out may step the same replica again. */
void engine_step(Engine *engine, EngineShard *shard, EngineMember *member, Event *event)
{
    if (engine->roots[member->root].failed || shard->group->broken) return;
    if (event->type == EVENT_RESTART) member->restarted = true;
    Later later = {.start = false};
    event->now_ns = clock_boot_ns(engine->options.clock);
    replica_step(member->replica, event, &engine->effects);
    for (uint32_t i = 0; i < engine->effects.count; i++)
        carry_out_one(engine, shard, member, &engine->effects.items[i], &later);
    carry_out_later(engine, shard, member, &later);
}

/* --- life --- */

void engine_members_init(Engine *engine, EngineShard *shard, uint8_t *memory, size_t stride)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        const RootInfo *root = store_root(engine->roots[r].store);
        shard->on[r].root = r;
        shard->on[r].replica = replica_init(memory + r * stride, shard->shard, root->uuid,
                                            root->incarnation);
    }
}

void engine_members_free(Engine *engine, EngineShard *shard)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        Kept *kept = &shard->on[r].kept;
        while (kept->count > 0)
            kept_pop(engine, kept);
        mem_free(kept->items);
    }
}

/* What the log has behind the index, as the replica takes it; the newest of it. */
static uint32_t read_tail(const EngineMember *member, LogEntry *tail)
{
    uint32_t count = 0;
    for (Record *r = member->open_first; r != NULL; r = r->next)
        count++;
    uint32_t skip = count > REPLICA_WINDOW ? count - REPLICA_WINDOW : 0;
    uint32_t at = 0;
    for (Record *r = member->open_first; r != NULL; r = r->next) {
        if (at >= skip) tail[at - skip] = engine_log_entry(r->sealed);
        at++;
    }
    return count - skip;
}

static ErrCode read_config(Lsn lsn, Str bytes, LogConfig *configs, uint32_t *count, Err *err)
{
    LogConfig config = {.lsn = lsn};
    if (lsn == 0) return OK;
    TRY(shard_config_decode(bytes, &config.config, err));
    config.term = config.config.term;
    configs[(*count)++] = config;
    return OK;
}

/* The last committed CONFIG and what is behind it: there is at most one that is not committed. */
static ErrCode read_configs(const ReplicaState *state, LogConfig configs[2], uint32_t *count,
                            Err *err)
{
    TRY(read_config(state->before_lsn, state->before, configs, count, err));
    return read_config(state->config_lsn, state->config, configs, count, err);
}

ErrCode engine_member_restart(Engine *engine, EngineShard *shard, EngineMember *member,
                              const ShardConfig *config, Err *err)
{
    Store *store = engine->roots[member->root].store;
    ReplicaState state;
    store_replica_state(store, shard->shard, &state);
    member->open_first = store_replayed(store, shard->shard);
    for (Record *r = member->open_first; r != NULL; r = r->next)
        member->open_last = r;
    member->logged_lsn = state.last_lsn;
    Event event = {.type = EVENT_RESTART, .state = &state, .config = config};
    AUTO(void, mem_free) memory = mem_new_array(REPLICA_WINDOW, sizeof(LogEntry));
    LogConfig configs[2];
    if (engine->options.root_count > 1) {
        event.tail = memory;
        event.tail_count = read_tail(member, memory);
        event.tail_prev_term = store_applied_term(store, shard->shard);
        event.incomplete = state.incomplete && !fault_planted("incomplete-forgotten");
        member->wants_seed = state.incomplete; /* the log goes on where it began anew */
        member->seed_base = member->open_first != NULL ? member->open_first->entry.lsn - 1
                                                       : state.last_lsn;
        event.suspect = engine_is_suspect(engine, shard, member, config);
        event.no_grace = true; /* every root that could have promised lived in this process */
        event.configs = configs;
        TRY(read_configs(&state, configs, &event.config_count, err));
    }
    engine_step(engine, shard, member, &event);
    event = (Event){.type = EVENT_FORGOTTEN, .lsn = state.last_lsn};
    engine_step(engine, shard, member, &event);
    return OK;
}
