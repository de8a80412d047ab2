/* The follower: takes only what joins its log, acknowledges only what is durable here and the
 * primary's, commits only what it was told and has. */
#include "replica_fixture.h"
#include "testing.h"

#include <string.h>

static Message only(ReplicaKit *kit)
{
    assert_int_equal(kit->bag_len, 1);
    Message message = *kit->bag[0];
    replica_kit_take(kit, 0, false);
    return message;
}

/* `count` entries of made-up contents behind lsn, whose hash is prev. */
static void fill(Message *m, Lsn lsn, Sha256 prev, uint32_t count, Term term, uint8_t content)
{
    m->lsn = lsn;
    m->lsn_hash = prev;
    m->entry_count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[2] = {content, (uint8_t)i};
        LogEntry *entry = &m->entries[i];
        *entry = (LogEntry){.lsn = lsn + 1 + i, .term = term, .prev_hash = prev};
        entry->hash = prev = sha256_of(bytes, sizeof bytes);
    }
}

/* An APPEND to C behind its entry lsn. */
static Message append_behind(const ReplicaKit *kit, Lsn lsn, uint32_t count, Term term,
                             uint8_t content)
{
    Message m = replica_kit_message(kit, MSG_APPEND, A, C);
    m.term = term;
    m.commit_lsn = 0;
    fill(&m, lsn, lsn == 0 ? (Sha256){{0}} : kit->members[C].log[lsn - 1].hash, count, term,
         content);
    return m;
}

static void test_acknowledges_after_stored(void **state)
{
    ReplicaKit *kit = *state;
    Message m = append_behind(kit, 3, 2, 1, 'x');
    replica_kit_deliver(kit, &m);
    assert_int_equal(kit->bag_len, 0);
    replica_kit_store(kit, C, 1);
    assert_int_equal(only(kit).lsn, 4);
    replica_kit_deliver(kit, &m); /* repeated: says how far it is by now */
    assert_int_equal(only(kit).lsn, 4);
    replica_kit_store(kit, C, 1);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_APPENDED);
    assert_int_equal(answer.lsn, 5);
    assert_true(id128_eq(answer.cfg_uid, replica_config(replica_kit_replica(kit, C))->cfg_uid));
    assert_int_equal(answer.from_incarnation, 1);
}

/* In a term that it has not stored yet it acknowledges nothing, even what is durable. */
static void test_term_is_durable_first(void **state)
{
    ReplicaKit *kit = *state;
    Message m = append_behind(kit, 2, 0, 4, 'x');
    replica_kit_deliver(kit, &m);
    assert_int_equal(kit->bag_len, 0);
    replica_kit_store_all(kit, C);
    Message answer = only(kit);
    assert_int_equal(answer.term, 4);
    assert_int_equal(answer.lsn, 2); /* entry 3 was not shown to be the new primary's */
    assert_int_equal(kit->members[C].term, 4);
}

/* The follower has a tail of a dead primary, durable; the new one shows a part below it. */
static void test_older_tail_is_not_acknowledged(void **state)
{
    ReplicaKit *kit = *state;
    Message tail = append_behind(kit, 3, 4, 1, 't');
    replica_kit_deliver(kit, &tail);
    Message m = append_behind(kit, 1, 0, 2, 'x');
    fill(&m, 1, kit->members[C].log[0].hash, 0, 2, 'x');
    m.entry_count = 1; /* entry 2, which it has */
    m.entries[0] = kit->members[C].log[1];
    m.commit_lsn = 7; /* of the new primary's log: 3..7 are other entries there */
    replica_kit_deliver(kit, &m);
    replica_kit_store_all(kit, C);
    for (size_t i = 0; i < kit->bag_len; i++) {
        assert_int_equal(kit->bag[i]->type, MSG_APPENDED);
        assert_in_range(kit->bag[i]->lsn, 0, 2);
    }
    assert_int_equal(replica_durable_lsn(replica_kit_replica(kit, C)), 7);
    assert_int_equal(replica_commit_lsn(replica_kit_replica(kit, C)), 2);
}

static void test_what_does_not_join_is_a_mismatch(void **state)
{
    ReplicaKit *kit = *state;
    Message gap = append_behind(kit, 3, 1, 1, 'x');
    gap.lsn = 9;
    gap.entries[0].lsn = 10;
    Message other_prev = append_behind(kit, 3, 1, 1, 'x');
    other_prev.lsn_hash = other_prev.entries[0].prev_hash = sha256_of("other", 5);
    Message *messages[] = {&gap, &other_prev};
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        replica_kit_deliver(kit, messages[i]);
        Message answer = only(kit);
        assert_int_equal(answer.type, MSG_MISMATCH);
        assert_int_equal(answer.lsn, 3);
        assert_memory_equal(&answer.lsn_hash, &kit->members[C].log[2].hash, sizeof(Sha256));
    }
    assert_int_equal(kit->members[C].log_len, 3);
}

/* Part known, part new; and another entry where one stands that is not committed. */
static void test_overlap(void **state)
{
    ReplicaKit *kit = *state;
    Message first = append_behind(kit, 3, 2, 1, 'x');
    replica_kit_deliver(kit, &first);
    Message longer = append_behind(kit, 3, 4, 1, 'x');
    replica_kit_deliver(kit, &longer);
    assert_int_equal(kit->members[C].log_len, 7);
    Message other = append_behind(kit, 5, 2, 1, 'y');
    replica_kit_deliver(kit, &other);
    assert_int_equal(only(kit).type, MSG_MISMATCH);
    assert_int_equal(kit->members[C].log_len, 7);
    assert_memory_equal(&kit->members[C].log[6].hash, &longer.entries[3].hash, sizeof(Sha256));
}

static void test_old_term_is_told_ours(void **state)
{
    ReplicaKit *kit = *state;
    Message ask = replica_kit_message(kit, MSG_FENCE, B, C);
    ask.term = 6;
    replica_kit_deliver(kit, &ask);
    Message m = append_behind(kit, 3, 1, 1, 'x');
    replica_kit_deliver(kit, &m);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_MISMATCH);
    assert_int_equal(answer.term, 6);
    assert_int_equal(kit->members[C].log_len, 3);
    /* ... and the old primary steps down at that. */
    replica_kit_deliver(kit, &answer);
    assert_int_equal(replica_kit_role(kit, A), ROLE_FOLLOWER);
    assert_int_equal(replica_term(replica_kit_replica(kit, A)), 6);
    assert_false(replica_kit_append(kit, A));
}

static void test_commit_is_told_and_has(void **state)
{
    ReplicaKit *kit = *state;
    const Replica *c = replica_kit_replica(kit, C);
    assert_int_equal(replica_commit_lsn(c), 2); /* rode on entry 3 */
    Message m = append_behind(kit, 3, 0, 1, 'x');
    m.commit_lsn = 3;
    replica_kit_deliver(kit, &m);
    assert_int_equal(replica_commit_lsn(c), 3);
    (void)only(kit);  /* the acknowledgement */
    m.commit_lsn = 2; /* an old message */
    replica_kit_deliver(kit, &m);
    assert_int_equal(replica_commit_lsn(c), 3);
    (void)only(kit); /* the same again */
}

/* Above what is durable here nothing is called committed, though it is: a store could not apply it
 * before its log has it. */
static void test_commit_waits_for_the_own_log(void **state)
{
    ReplicaKit *kit = *state;
    const Replica *c = replica_kit_replica(kit, C);
    assert_true(replica_kit_append(kit, A));
    assert_true(replica_kit_append(kit, A));
    replica_kit_store_all(kit, A);
    replica_kit_pass(kit, MSG_APPEND, A, C);
    replica_kit_pass(kit, MSG_APPEND, A, C);
    Message m = replica_kit_message(kit, MSG_APPEND, A, C);
    m.commit_lsn = 4;
    replica_kit_deliver(kit, &m);
    assert_int_equal(replica_commit_lsn(c), 3);
}

/* What a primary says contradicts what is committed here: this replica stops, untouched. */
static void test_contradiction_quarantines(void **state)
{
    ReplicaKit *kit = *state;
    Message m = append_behind(kit, 1, 1, 2, 'y'); /* another entry 2, which is committed */
    replica_kit_deliver(kit, &m);
    assert_int_equal(replica_kit_role(kit, C), ROLE_QUARANTINED);
    assert_string_equal(kit->wrong, "I5: C is quarantined");
    kit->wrong[0] = '\0';
    m = replica_kit_message(kit, MSG_FENCE, B, C);
    m.term = 9;
    size_t before = kit->bag_len;
    replica_kit_deliver(kit, &m);
    replica_kit_stand(kit, C);
    replica_kit_tick(kit, C);
    assert_int_equal(kit->bag_len, before);
    assert_int_equal(kit->members[C].log_len, 3);
}

static void test_malformed_is_ignored(void **state)
{
    ReplicaKit *kit = *state;
    Message rows[9];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        rows[i] = append_behind(kit, 3, 2, 1, 'x');
    rows[0].entry_count = REPLICA_SEND_MAX + 1;
    rows[1].entries[1].lsn = 9;
    rows[2].entries[1].prev_hash = sha256_of("other", 5);
    rows[3].entries[1].term = 2; /* above the sender's */
    rows[4].entries[0].term = 0;
    rows[5].term = 0;
    rows[6].term = UINT32_MAX;
    rows[7].shard++;
    rows[8].from = kit->members[C].root; /* from ourselves */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        replica_kit_deliver(kit, &rows[i]);
        assert_int_equal(kit->bag_len, 0);
        assert_int_equal(kit->members[C].log_len, 3);
    }
    /* Terms that fall at the joint are no chain of one history. */
    Message m = append_behind(kit, 3, 1, 5, 'x');
    replica_kit_deliver(kit, &m);
    Message back = append_behind(kit, 4, 1, 5, 'z');
    back.entries[0].term = 4;
    replica_kit_deliver(kit, &back);
    assert_int_equal(only(kit).type, MSG_MISMATCH);
    assert_int_equal(kit->members[C].log_len, 4);
}

/* Of a later release: counted and ignored. */
static void test_unknown_messages_do_nothing(void **state)
{
    ReplicaKit *kit = *state;
    Message m = replica_kit_message(kit, MSG_APPEND, A, C);
    m.type = (MessageType)(MESSAGE_TYPE_MAX + 1);
    m.term = 9;
    Event event = {.type = EVENT_MESSAGE, .message = &m};
    static Effects effects;
    replica_step(kit->members[C].replica, &event, &effects);
    assert_int_equal(effects.count, 0);
    assert_int_equal(replica_term(replica_kit_replica(kit, C)), 1);
}

/* A new primary shows that what C has behind lsn 3 is not of its lineage. */
static void test_tail_is_cut_by_lineage(void **state)
{
    ReplicaKit *kit = *state;
    Message tail = append_behind(kit, 3, 4, 1, 't');
    replica_kit_deliver(kit, &tail);
    replica_kit_store(kit, C, 2); /* the rest is still to be stored */
    Message m = append_behind(kit, 4, 1, 2, 'n');
    replica_kit_deliver(kit, &m);
    assert_int_equal(kit->members[C].log_len, 5);
    assert_memory_equal(&kit->members[C].log[4].hash, &m.entries[0].hash, sizeof(Sha256));
    const Replica *c = replica_kit_replica(kit, C);
    assert_int_equal(replica_durable_lsn(c), 4);
    /* The sync of what was cut is not taken for that of what stands there now. */
    static Effects effects;
    Event late = {.type = EVENT_STORED, .lsn = 5, .cuts = 0};
    replica_step(kit->members[C].replica, &late, &effects);
    assert_int_equal(replica_durable_lsn(c), 4);
    replica_kit_store_all(kit, C);
    assert_int_equal(replica_durable_lsn(c), 5);
}

static void test_another_life_of_the_root(void **state)
{
    ReplicaKit *kit = *state;
    Message m = append_behind(kit, 3, 1, 1, 'x');
    m.to_incarnation++;
    replica_kit_deliver(kit, &m);
    m.to_incarnation = 0;
    replica_kit_deliver(kit, &m);
    assert_int_equal(kit->bag_len, 0);
    m.type = MSG_HEARTBEAT; /* a primary that does not know is told */
    replica_kit_deliver(kit, &m);
    Message answer = only(kit);
    assert_int_equal(answer.type, MSG_MISMATCH);
    assert_int_equal(answer.from_incarnation, 1);
    assert_int_equal(kit->members[C].log_len, 3);
}

/* A learner copies and says how far it is; that counts for nothing. */
static void test_learner_copies(void **state)
{
    ReplicaKit *kit = *state;
    Message m = replica_kit_message(kit, MSG_APPEND, A, LEARNER);
    fill(&m, 0, (Sha256){{0}}, 2, 1, 'l');
    m.commit_lsn = 0;
    replica_kit_deliver(kit, &m);
    replica_kit_store_all(kit, LEARNER);
    replica_kit_take(kit, 0, false); /* that its term is durable */
    Message answer = only(kit);
    assert_int_equal(answer.lsn, 2);
    replica_kit_deliver(kit, &answer);
    assert_int_equal(__builtin_popcount(replica_synced(replica_kit_replica(kit, A), 2)), 3);
    assert_int_equal(replica_config(replica_kit_replica(kit, A))->member_count, 3);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, replica_fixture_setup, replica_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_acknowledges_after_stored),
        TEST(test_term_is_durable_first),
        TEST(test_older_tail_is_not_acknowledged),
        TEST(test_what_does_not_join_is_a_mismatch),
        TEST(test_overlap),
        TEST(test_old_term_is_told_ours),
        TEST(test_commit_is_told_and_has),
        TEST(test_commit_waits_for_the_own_log),
        TEST(test_contradiction_quarantines),
        TEST(test_malformed_is_ignored),
        TEST(test_unknown_messages_do_nothing),
        TEST(test_tail_is_cut_by_lineage),
        TEST(test_another_life_of_the_root),
        TEST(test_learner_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
