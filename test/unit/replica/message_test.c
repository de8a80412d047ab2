/* What peers may say: nothing of it may come to an assertion, however many roots it names, wherever
 * it ends, whoever says it. */
#include "replica_hostile.h"
#include "testing.h"

#include <string.h>

#include "base/mem.h"
#include "replica/replica.h"

#define SHARD ((ShardId)7)
#define SELF 1
#define PER_CONFIG (2 * MEMBERS_MAX)

typedef struct {
    Replica *replica;
    Effects effects;
    Message message;
    ShardConfig row;
    ShardConfig first; /* CONFIG of the log, lsn 1 */
    ShardConfig second;
} Fixture;

static Uuid root_of(unsigned i)
{
    Uuid root = {{0}};
    root.bytes[0] = (uint8_t)i;
    return root;
}

/* SELF and eight others, and nine learners; none of them in two. */
static ShardConfig config_of(unsigned set)
{
    ShardConfig config = {.cfg_uid = root_of(200 + set),
                          .version = 100 - set,
                          .term = 1,
                          .min_isr = 5,
                          .member_count = MEMBERS_MAX,
                          .learner_count = MEMBERS_MAX,
                          .isr = 3,
                          .primary = MEMBERS_MAX};
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        config.members[i] = (Member){root_of(10 + set * PER_CONFIG + i), 1};
        config.learners[i] = (Member){root_of(10 + set * PER_CONFIG + MEMBERS_MAX + i), 1};
    }
    config.members[0].root = root_of(SELF);
    return config;
}

static void step(Fixture *f, Event event)
{
    event.now_ns = 1000000 * REPLICA_MS;
    replica_step(f->replica, &event, &f->effects);
}

static unsigned count_sent(const Fixture *f, MessageType type)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < f->effects.count; i++) {
        const Effect *effect = &f->effects.items[i];
        count += effect->type == EFFECT_SEND && effect->message.type == type;
    }
    return count;
}

static const Effect *effect_of(const Fixture *f, EffectType type)
{
    for (uint32_t i = 0; i < f->effects.count; i++) {
        if (f->effects.items[i].type == type) return &f->effects.items[i];
    }
    return NULL;
}

/* Says to SELF what `message` holds. */
static void tell(Fixture *f, MessageType type, Uuid from)
{
    f->message.type = type;
    f->message.shard = SHARD;
    f->message.from = from;
    f->message.from_incarnation = 1;
    f->message.to = root_of(SELF);
    f->message.to_incarnation = 1;
    f->message.term = MAX(f->message.term, replica_term(f->replica));
    step(f, (Event){.type = EVENT_MESSAGE, .message = &f->message});
}

static void tell_all(Fixture *f, MessageType type, const ShardConfig *config, bool learners)
{
    for (unsigned i = 1; i < config->member_count; i++)
        tell(f, type, config->members[i].root);
    for (unsigned i = 0; learners && i < config->learner_count; i++)
        tell(f, type, config->learners[i].root);
}

static LogEntry entry_of(Lsn lsn, const ShardConfig *config)
{
    LogEntry entry = {.lsn = lsn, .term = 1, .is_config = config != NULL, .config = config};
    entry.hash.bytes[0] = (uint8_t)lsn;
    entry.prev_hash.bytes[0] = (uint8_t)(lsn - 1);
    return entry;
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    f->row = config_of(0);
    f->first = config_of(1);
    f->second = config_of(2);
    f->replica = replica_init(mem_new(replica_size()), SHARD, root_of(SELF), 1);
    const ReplicaState empty = {.shard = SHARD};
    step(f, (Event){.type = EVENT_RESTART, .state = &empty, .config = &f->row, .no_grace = true});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    mem_free(f->replica);
    mem_free(f);
    return 0;
}

/* A primary whose CONFIGs name others each time; the first is committed. */
static void take_configs(Fixture *f)
{
    f->message = (Message){.term = 1, .commit_lsn = 1, .entry_count = 3};
    f->message.entries[0] = entry_of(1, &f->first);
    f->message.entries[1] = entry_of(2, &f->second);
    f->message.entries[2] = entry_of(3, NULL);
    tell(f, MSG_APPEND, f->row.members[1].root);
    step(f, (Event){.type = EVENT_STATE_STORED, .term = 1});
    step(f, (Event){.type = EVENT_STORED, .lsn = 3});
    assert_int_equal(replica_commit_lsn(f->replica), 1);
    memset(&f->message, 0, sizeof f->message);
}

static void elect(Fixture *f)
{
    step(f, (Event){.type = EVENT_STAND, .new_cfg_uid = root_of(250)});
    assert_int_equal(count_sent(f, MSG_POLL), 3 * (MEMBERS_MAX - 1));
    tell_all(f, MSG_POLLED, &f->row, false);
    tell_all(f, MSG_POLLED, &f->first, false);
    ShardConfig asked = {0};
    for (unsigned i = 1; asked.term == 0; i++) {
        assert_true(i < MEMBERS_MAX);
        tell(f, MSG_POLLED, f->second.members[i].root);
        const Effect *cas = effect_of(f, EFFECT_CAS);
        if (cas != NULL) asked = cas->config;
    }
    step(f, (Event){.type = EVENT_CAS_DONE, .config = &asked, .new_cfg_uid = asked.cfg_uid});
    assert_int_equal(count_sent(f, MSG_FENCE), 3 * (MEMBERS_MAX - 1));
    step(f, (Event){.type = EVENT_STATE_STORED, .term = asked.term, .voted_for = root_of(SELF)});
}

/* An answer to the fence knows of a CONFIG above ours that names yet others: 54 peers. */
static void test_everybody_is_somebody_else(void **state)
{
    Fixture *f = *state;
    take_configs(f);
    elect(f);
    f->message = (Message){.granted = true, .lsn = 3, .lsn_term = 1};
    f->message.config_lsn = 3;
    f->message.config_term = 1;
    f->message.config = config_of(3);
    tell(f, MSG_FENCED, f->row.members[1].root);
    step(f, (Event){.type = EVENT_TICK});
    assert_int_equal(count_sent(f, MSG_FENCE), 4 * (MEMBERS_MAX - 1) - 1);
    /* … but not one that its own log can't hold. */
    f->message.config_lsn = 4;
    tell(f, MSG_FENCED, f->row.members[2].root);
    step(f, (Event){.type = EVENT_TICK});
    assert_int_equal(count_sent(f, MSG_FENCE), 4 * (MEMBERS_MAX - 1) - 1);
}

/* A tick has most to say: a heartbeat, a snapshot and its announcement for each of them. */
static void test_a_tick_for_all_of_them(void **state)
{
    Fixture *f = *state;
    take_configs(f);
    elect(f);
    f->message = (Message){.granted = true};
    const Effect *start = NULL;
    const ShardConfig *sets[] = {&f->row, &f->first, &f->second};
    for (unsigned i = 0; i < 3 * MEMBERS_MAX && start == NULL; i++) {
        if (i % MEMBERS_MAX == 0) continue;
        tell(f, MSG_FENCED, sets[i / MEMBERS_MAX]->members[i % MEMBERS_MAX].root);
        start = effect_of(f, EFFECT_START);
    }
    assert_non_null(start);
    LogEntry entry = entry_of(4, NULL);
    entry.is_start = true;
    entry.term = replica_term(f->replica);
    step(f, (Event){.type = EVENT_APPEND, .entry = entry});
    f->message = (Message){.unsound = true};
    tell_all(f, MSG_APPENDED, &f->row, true);
    tell_all(f, MSG_APPENDED, &f->first, false);
    tell_all(f, MSG_APPENDED, &f->second, true);
    step(f, (Event){.type = EVENT_TICK, .new_cfg_uid = root_of(251)});
    unsigned peers = 3 * (MEMBERS_MAX - 1) + 2 * MEMBERS_MAX;
    assert_int_equal(count_sent(f, MSG_HEARTBEAT), peers);
    assert_int_equal(count_sent(f, MSG_SNAPSHOT), peers);
    assert_true(f->effects.count >= 3 * peers);
}

/* An election in the last term would make the next one the first. */
static void test_terms_end(void **state)
{
    Fixture *f = *state;
    f->message = (Message){.term = UINT32_MAX - 1};
    tell(f, MSG_HEARTBEAT, f->row.members[1].root);
    assert_int_equal(replica_term(f->replica), UINT32_MAX - 1);
    step(f, (Event){.type = EVENT_STAND, .new_cfg_uid = root_of(250)});
    assert_int_equal(f->effects.count, 0);
    assert_int_equal(replica_role(f->replica), ROLE_FOLLOWER);
}

static void test_terms_end_of_the_row(void **state)
{
    Fixture *f = *state;
    f->row.term = UINT32_MAX - 1;
    step(f, (Event){.type = EVENT_STAND, .config = &f->row, .new_cfg_uid = root_of(250)});
    assert_int_equal(replica_role(f->replica), ROLE_FOLLOWER);
    assert_int_equal(count_sent(f, MSG_POLL), 0);
}

/* Nobody but who is polled knows of that term. */
static void test_terms_end_of_who_is_polled(void **state)
{
    Fixture *f = *state;
    step(f, (Event){.type = EVENT_STAND, .new_cfg_uid = root_of(250)});
    for (unsigned i = 1; i < MEMBERS_MAX; i++) {
        f->message = (Message){.term = UINT32_MAX - 1};
        tell(f, MSG_POLLED, f->row.members[i].root);
        assert_null(effect_of(f, EFFECT_CAS));
    }
    assert_int_equal(replica_role(f->replica), ROLE_FOLLOWER);
}

/* What is refused, before anything of it is believed: the term above ours is not taken in. */
static void refused(Fixture *f, MessageType type)
{
    f->message.term = 9;
    tell(f, type, f->row.members[1].root);
    assert_int_equal(f->effects.count, 0);
    assert_int_equal(replica_term(f->replica), 0);
}

static void test_configs_that_are_none(void **state)
{
    Fixture *f = *state;
    static const MessageType types[] = {MSG_FENCE, MSG_SNAPSHOT};
    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        for (unsigned wrong = 0; wrong < 7; wrong++) {
            f->message = (Message){.lsn = 5, .lsn_term = 2, .config_lsn = 4, .config_term = 2};
            ShardConfig *config = &f->message.config;
            *config = config_of(1);
            if (wrong == 0) config->member_count = MEMBERS_MAX + 1;
            if (wrong == 1) config->learner_count = UINT32_MAX;
            if (wrong == 2) config->min_isr = 0;
            if (wrong == 3) config->member_count = 0;
            if (wrong == 4) config->term = UINT32_MAX;
            if (wrong == 5) f->message.config_lsn = 6;
            if (wrong == 6) config->members[1].root = config->members[2].root;
            refused(f, types[i]);
        }
    }
}

static void test_ends_of_numbers(void **state)
{
    Fixture *f = *state;
    f->message = (Message){.lsn = UINT64_MAX};
    refused(f, MSG_SNAPSHOT);
    f->message = (Message){.entry_count = REPLICA_SEND_MAX + 1};
    refused(f, MSG_APPEND);
    f->message = (Message){.term = UINT32_MAX};
    tell(f, MSG_HEARTBEAT, f->row.members[1].root);
    assert_int_equal(replica_term(f->replica), 0);
}

/* A vote for no root would be none. */
static void test_a_candidate_without_a_name(void **state)
{
    Fixture *f = *state;
    f->message = (Message){.term = 3, .config_lsn = 1};
    f->message.config = f->row;
    tell(f, MSG_FENCE, root_of(0));
    assert_int_equal(f->effects.count, 0);
}

/* A refusal tells no CONFIG: nobody would count it, and there is none in it. */
static void test_refusals_carry_no_config(void **state)
{
    Fixture *f = *state;
    take_configs(f);
    f->message = (Message){.term = 5};
    tell(f, MSG_FENCE, f->row.members[2].root); /* its log is shorter */
    assert_int_equal(count_sent(f, MSG_FENCED), 1);
    const Effect *answer = effect_of(f, EFFECT_SEND);
    if (answer == NULL) return;
    assert_false(answer->message.granted);
    assert_int_equal(answer->message.config_lsn, 0);
}

static void test_bytes_by_chance(void **state)
{
    UNUSED(state);
    enum { SIZE = 12000 };
    uint8_t *data = mem_new(SIZE);
    size_t events = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        random_bytes(seed, data, SIZE);
        events += replica_hostile_run(data, SIZE);
    }
    mem_free(data);
    assert_true(events > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everybody_is_somebody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_tick_for_all_of_them, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terms_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terms_end_of_the_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terms_end_of_who_is_polled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_configs_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_of_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_candidate_without_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals_carry_no_config, setup, teardown),
        cmocka_unit_test(test_bytes_by_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
