/* The primary changes the configuration: REPLICATION.md section 5. The ISR changes by a
 * compare-and-swap first, of which a CONFIG tells afterwards; members and min_isr by a CONFIG
 * first, committed under the old and the new, and the row afterwards. */
#include <string.h>

#include "replica/replica_priv.h"

static bool same_members(const ShardConfig *a, const ShardConfig *b)
{
    if (a->member_count != b->member_count || a->min_isr != b->min_isr) return false;
    for (uint32_t i = 0; i < a->member_count; i++) {
        if (!id128_eq(a->members[i].root, b->members[i].root)) return false;
    }
    return true;
}

static bool same_learners(const ShardConfig *a, const ShardConfig *b)
{
    if (a->learner_count != b->learner_count) return false;
    for (uint32_t i = 0; i < a->learner_count; i++) {
        if (!id128_eq(a->learners[i].root, b->learners[i].root)) return false;
        if (a->learners[i].incarnation != b->learners[i].incarnation) return false;
    }
    return true;
}

static bool same_incarnations(const ShardConfig *a, const ShardConfig *b)
{
    for (uint32_t i = 0; i < a->member_count; i++) {
        if (a->members[i].incarnation != b->members[i].incarnation) return false;
    }
    return true;
}

static bool same_config(const ShardConfig *a, const ShardConfig *b)
{
    return same_members(a, b) && same_learners(a, b) && same_incarnations(a, b) &&
           a->isr == b->isr && a->elr == b->elr && a->primary == b->primary && a->term == b->term;
}

/* The bits of roots that `from` numbers, as `to` numbers them. */
static uint16_t carry_bits(const ShardConfig *from, uint16_t bits, const ShardConfig *to)
{
    uint16_t out = 0;
    for (uint32_t i = 0; i < from->member_count; i++) {
        uint32_t at = (bits >> i & 1) != 0 ? replica_config_index(to, from->members[i].root)
                                           : MEMBERS_MAX;
        if (at < MEMBERS_MAX) out = (uint16_t)(out | 1u << at);
    }
    return out;
}

ShardConfig replica_with_members(const ShardConfig *now, const ShardConfig *wanted)
{
    ShardConfig next = *now;
    memcpy(next.members, wanted->members, sizeof next.members);
    next.member_count = wanted->member_count;
    memcpy(next.learners, wanted->learners, sizeof next.learners);
    next.learner_count = wanted->learner_count;
    next.min_isr = wanted->min_isr;
    for (uint32_t i = 0; i < next.member_count; i++) {
        uint32_t at = replica_config_index(now, next.members[i].root);
        if (at == MEMBERS_MAX) continue;
        next.members[i].incarnation = MAX(next.members[i].incarnation,
                                          now->members[at].incarnation);
    }
    next.isr = carry_bits(now, now->isr, &next);
    next.elr = carry_bits(now, now->elr, &next);
    next.primary = now->primary < now->member_count
                       ? (uint16_t)replica_config_index(&next, now->members[now->primary].root)
                       : MEMBERS_MAX;
    return next;
}

static void act_by(Replica *r, const ShardConfig *config)
{
    r->config = *config;
    replica_peers_rebuild(r);
}

/* Is a CONFIG due that says what is in force? A shard of one member needs none. */
static bool config_due(const Replica *r)
{
    if (r->config.member_count + r->config.learner_count == 1) return false;
    const LogConfig *last = replica_log_config(r);
    return last == NULL || !same_config(&last->config, &r->config);
}

static void ask_for_config(Replica *r, const ShardConfig *config, Effects *effects)
{
    r->config_wanted = true;
    effect_add(effects, EFFECT_CONFIG)->config = *config;
}

/* The last committed CONFIG says who the members are, whatever the row says, which then follows. */
static void follow_log(Replica *r)
{
    const LogConfig *last = replica_log_config(r);
    if (last != NULL && !replica_config_pending(r) &&
        (!same_members(&last->config, &r->config) || !same_learners(&last->config, &r->config))) {
        ShardConfig next = replica_with_members(&r->config, &last->config);
        act_by(r, &next);
        r->row_differs = true;
    }
    r->config_owed = config_due(r);
}

/* START is committed, and with it every CONFIG of this log. */
void replica_begin_term(Replica *r, Effects *effects)
{
    const LogConfig *last = replica_log_config(r);
    if (last != NULL && replica_config_index(&last->config, r->root) == MEMBERS_MAX) {
        replica_hand_over(r, (Uuid){{0}}, effects); /* we were removed */
        return;
    }
    follow_log(r);
}

void replica_settle_configs(Replica *r, Effects *effects)
{
    if (r->role != ROLE_PRIMARY || r->config_wanted || replica_config_pending(r)) return;
    if (r->change_open) { /* committed under the old and the new: the row follows */
        r->change_open = false;
        follow_log(r);
    }
    if (!r->config_owed || r->last_lsn - r->commit_lsn >= REPLICA_WINDOW / 2) return;
    r->config_owed = false;
    if (config_due(r)) ask_for_config(r, &r->config, effects);
}

/* A root registers before it says a word, so its word is enough. Who was in sync stays required
 * until the row says otherwise. */
void replica_note_life(Replica *r, Uuid root, uint64_t incarnation)
{
    ShardConfig next = r->config;
    uint32_t at = replica_config_index(&next, root);
    bool news = false;
    if (at < MEMBERS_MAX && incarnation > next.members[at].incarnation) {
        next.members[at].incarnation = incarnation;
        uint16_t bit = (uint16_t)(1u << at);
        next.isr = (uint16_t)(next.isr & ~bit);
        next.elr = (uint16_t)(next.elr & ~bit);
        news = true;
    }
    for (uint32_t i = 0; i < next.learner_count; i++) {
        if (!id128_eq(next.learners[i].root, root)) continue;
        if (incarnation <= next.learners[i].incarnation) continue;
        next.learners[i].incarnation = incarnation;
        news = true;
    }
    if (!news) return;
    PeerMask required = replica_required(r);
    act_by(r, &next);
    r->maybe |= required;
    r->row_differs = true;
}

/* Incarnations that the row knows and we did not. */
static void take_new_lives(Replica *r, const ShardConfig *row)
{
    for (uint32_t i = 0; i < row->member_count; i++)
        replica_note_life(r, row->members[i].root, row->members[i].incarnation);
    for (uint32_t i = 0; i < row->learner_count; i++)
        replica_note_life(r, row->learners[i].root, row->learners[i].incarnation);
}

/* The row in force is this. We act by our log and by what we asked for; a row that says otherwise
 * is replaced (rolled back, or a root registered), unless it is of a higher term: then somebody
 * else was told that he may try, and we let him or stand again. Whom it calls in sync is required
 * until then. */
static void see_row(Replica *r, const ShardConfig *row, Effects *effects)
{
    if (row->term > r->term) {
        replica_step_down(r, effects);
        return;
    }
    uint32_t self = replica_config_index(row, r->root);
    if (self < MEMBERS_MAX && row->members[self].incarnation > r->incarnation) {
        replica_step_down(r, effects); /* another life of ours was registered */
        return;
    }
    take_new_lives(r, row);
    r->row_unknown = false;
    r->row_uid = row->cfg_uid;
    if (replica_bug(r, REPLICA_BUG_ROW_COUNTS) && self < MEMBERS_MAX) act_by(r, row);
    r->row_differs = !same_config(&r->config, row);
    if (r->row_differs && row->term == r->term) r->maybe |= replica_mask(r, row, row->isr);
}

static void primary_answered(Replica *r, const Event *event, Effects *effects)
{
    if (r->cas != CAS_SENT || !id128_eq(event->new_cfg_uid, r->new_cfg_uid)) return;
    r->cas = CAS_NONE;
    bool as_done = event->type == EVENT_CAS_UNKNOWN && replica_bug(r, REPLICA_BUG_UNKNOWN_IS_DONE);
    if (event->type == EVENT_CAS_UNKNOWN && !as_done) { /* required stays what it may be */
        r->row_unknown = true;
        effect_plain(effects, EFFECT_LOOK);
        return;
    }
    if (event->type == EVENT_CAS_REFUSED) {
        if (event->config != NULL) see_row(r, event->config, effects);
        return;
    }
    r->row_uid = r->asked.cfg_uid;
    r->row_differs = false;
    r->maybe = 0;
    act_by(r, &r->asked);
    if (r->role != ROLE_PRIMARY || r->change_open || replica_config_pending(r))
        r->config_owed = true;
    else
        follow_log(r); /* a change may have been committed since we asked */
    replica_advance_commit(r, effects);
    replica_settle_configs(r, effects);
}

void replica_on_cas(Replica *r, const Event *event, Effects *effects)
{
    if (!id128_eq(event->new_cfg_uid, r->new_cfg_uid)) return; /* of an attempt that we gave up */
    if (r->role == ROLE_CANDIDATE && r->cas == CAS_SENT) {
        replica_cas_answered(r, event, effects);
    } else if (replica_is_leading(r)) {
        primary_answered(r, event, effects);
    }
}

void replica_on_row(Replica *r, const Event *event, Effects *effects)
{
    if (replica_is_leading(r)) {
        if (r->start_lsn == 0 || r->cas == CAS_SENT) return; /* its answer says more */
        see_row(r, event->config, effects);
        replica_advance_commit(r, effects);
        replica_settle_configs(r, effects);
    } else if (r->role != ROLE_CANDIDATE) {
        replica_set_config(r, event->config, effects);
    }
}

/* What the row should say now: dead members out, caught-up ones in. "Drop x: CAS isr − {x} (into
 * elr when isr falls below min_isr)"; once commits are possible again, elr may miss some. */
static ShardConfig next_row(const Replica *r)
{
    ShardConfig next = r->config;
    PeerMask drop = replica_to_drop(r);
    uint16_t out = replica_bits(r, &next, drop);
    uint16_t in = replica_bits(r, &next, replica_to_add(r) & ~drop);
    uint16_t left = (uint16_t)((next.isr & ~out) | in);
    if ((uint32_t)__builtin_popcount(left) < next.min_isr)
        next.elr = (uint16_t)((next.elr | (next.isr & out)) & ~left);
    else
        next.elr = 0;
    next.isr = left;
    return next;
}

void replica_tick_configs(Replica *r, Uuid fresh_uid, Effects *effects)
{
    if (r->row_unknown) effect_plain(effects, EFFECT_LOOK);
    replica_settle_configs(r, effects);
    if (r->cas == CAS_SENT || r->row_unknown || id128_is_zero(fresh_uid)) return;
    ShardConfig next = next_row(r);
    /* A swap of which nobody knows the outcome may yet come into force behind the row that was
     * read: another one on that row, of whatever it says, ends that. */
    bool doubt = (r->maybe & ~replica_mask(r, &r->config, r->config.isr)) != 0;
    if (!doubt && !r->row_differs && same_config(&next, &r->config)) return;
    next.term = r->term;
    next.version++;
    next.parent_uid = r->row_uid;
    next.cfg_uid = fresh_uid;
    r->new_cfg_uid = fresh_uid;
    r->asked = next;
    r->maybe |= replica_mask(r, &next, next.isr); /* "first require its acks" */
    r->cas = CAS_SENT;
    effect_add(effects, EFFECT_CAS)->config = next;
}

/* How many roots of a are not members of b. */
static uint32_t missing_in(const ShardConfig *a, const ShardConfig *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->member_count; i++) {
        count += replica_config_index(b, a->members[i].root) == MEMBERS_MAX;
    }
    return count;
}

static bool one_step(const Replica *r, const ShardConfig *wanted)
{
    if (wanted->member_count < 1 || wanted->member_count > MEMBERS_MAX) return false;
    if (wanted->min_isr < 1 || wanted->min_isr > wanted->member_count) return false;
    if (wanted->learner_count > MEMBERS_MAX) return false;
    if (replica_config_index(wanted, r->root) == MEMBERS_MAX) return false; /* hand over first */
    uint32_t changes = missing_in(wanted, &r->config) + missing_in(&r->config, wanted) +
                       (wanted->min_isr != r->config.min_isr);
    return changes == 1 || (changes == 0 && !same_learners(wanted, &r->config));
}

/* "One at a time … no CONFIG until every earlier CONFIG in the log and an entry of the own term are
 * committed, and the store row agrees." Nothing happens if that is not so: asked again, later. */
void replica_on_change(Replica *r, const Event *event, Effects *effects)
{
    if (r->role != ROLE_PRIMARY || r->config_wanted) return;
    bool quiet = !replica_config_pending(r) && !r->config_owed && !r->change_open &&
                 !r->row_differs && !r->row_unknown && r->cas == CAS_NONE;
    if (!quiet && !replica_bug(r, REPLICA_BUG_CONFIGS_AT_ONCE)) return;
    if (!one_step(r, event->config)) return;
    ShardConfig next = replica_with_members(&r->config, event->config);
    next.version++;
    next.parent_uid = r->row_uid;
    next.cfg_uid = event->new_cfg_uid;
    r->change_open = true;
    ask_for_config(r, &next, effects);
}
