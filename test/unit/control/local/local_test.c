/* The local driver: a small file in every root. What stands on a majority is in force; a write that
 * failed leaves nothing to build on; a crash at any disk operation leaves the old state or the new.
 */
#include "../conformance.h"
#include "control/local/local.h"
#include "crash_states.h"
#include "local_fixture.h"
#include "testing.h"

#include "base/fault.h"
#include "text/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Sealed, if it is an object that is not: so that it is judged by what else is wrong with it. */
static void write_file(Disk *disk, const char *text)
{
    Err err = {0};
    AUTO_BUF(file, MIB);
    assert_ok(buf_append_str(&file, str_from_cstr(text), &err), &err);
    bool object = file.len > 2 && file.data[file.len - 1] == '}';
    if (object && strstr(text, "\"sha256\"") == NULL) assert_ok(json_seal(&file, &err), &err);
    assert_ok(disk_replace_durable(disk, CONTROL_FILE, buf_str(&file), &err), &err);
}

static void copy_file(Disk *from, Disk *to)
{
    AUTO(char, mem_free) text = read_file(from);
    write_file(to, text);
}

static void test_any_majority_will_do(void **state)
{
    Fixture *f = *state;
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    assert_ok(put_row(f, 1, 2, NULL), NULL);
    for (unsigned i = 0; i < ROOTS; i++) { /* a root is empty again */
        AUTO(char, mem_free) text = read_file(f->disks[i]);
        assert_ok(disk_unlink(f->disks[i], CONTROL_FILE, NULL), NULL);
        open_all(f);
        assert_int_equal(row_version(f), 2);
        write_file(f->disks[i], "{\"format\":1,\"ver");
        open_all(f); /* ... or damaged */
        assert_int_equal(row_version(f), 2);
        write_file(f->disks[i], text);
    }
    write_file(f->disks[1], "");
    assert_ok(put_row(f, 2, 3, NULL), NULL);
    open_all(f); /* the change has mended it */
    AUTO(char, mem_free) first = read_file(f->disks[0]);
    AUTO(char, mem_free) second = read_file(f->disks[1]);
    assert_string_equal(first, second);
}

/* Roots whose majority is gone are not taken for new ones. */
static void test_lost_majority_is_refused(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    for (uint8_t i = 0; i < 3; i++)
        assert_ok(put_row(f, i, (uint8_t)(i + 1), NULL), NULL);
    assert_ok(disk_unlink(f->disks[0], CONTROL_FILE, NULL), NULL);
    assert_ok(disk_unlink(f->disks[2], CONTROL_FILE, NULL), NULL);
    assert_code(open_some(f, 0, ROOTS, &err), ERR_CORRUPT, &err);
    write_file(f->disks[1], "junk");
    assert_code(open_some(f, 0, ROOTS, &err), ERR_CORRUPT, &err);
    assert_null(f->control);
}

static void test_minority_write_is_not_in_force(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    fail_writes_of(f, (bool[ROOTS]){false, true, true});
    assert_code(put_row(f, 1, 2, &err), ERR_OUTCOME_UNKNOWN, &err);
    fail_writes_of(f, (bool[ROOTS]){false, false, false});
    /* Nothing is built on what may or may not be. */
    uint64_t incarnation = 0;
    assert_code(put_row(f, 1, 3, &err), ERR_OUTCOME_UNKNOWN, &err);
    assert_code(control_register_root(f->control, conformance_root(0), &incarnation, &err),
                ERR_OUTCOME_UNKNOWN, &err);
    assert_code(control_set_verdict(f->control, conformance_root(0), ROOT_LOST, &err),
                ERR_OUTCOME_UNKNOWN, &err);
    assert_int_equal(row_version(f), 1);
    open_all(f);
    assert_int_equal(row_version(f), 1);
    assert_ok(put_row(f, 1, 4, &err), &err);
    open_all(f);
    assert_int_equal(row_version(f), 4);
}

/* Two minorities in a row, with different contents and one number: together they are no majority.
 */
static void test_minorities_do_not_add_up(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    fail_writes_of(f, (bool[ROOTS]){true, true, false});
    assert_code(put_row(f, 1, 2, &err), ERR_OUTCOME_UNKNOWN, &err);
    open_all(f);
    fail_writes_of(f, (bool[ROOTS]){false, true, true});
    assert_code(put_row(f, 1, 3, &err), ERR_OUTCOME_UNKNOWN, &err);
    fail_writes_of(f, (bool[ROOTS]){false, false, false});
    open_all(f);
    assert_int_equal(row_version(f), 1);
    assert_ok(put_row(f, 1, 4, &err), &err);
    open_all(f);
    assert_int_equal(row_version(f), 4);
}

/* One number, two contents, and no third opinion: neither is in force. */
static void test_same_version_other_contents(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    AUTO(char, mem_free) first = read_file(f->disks[0]);
    fail_writes_of(f, (bool[ROOTS]){true, true, false});
    assert_code(put_row(f, 1, 2, &err), ERR_OUTCOME_UNKNOWN, &err);
    fail_writes_of(f, (bool[ROOTS]){false, false, false});
    AUTO(char, mem_free) hidden = read_file(f->disks[2]);
    write_file(f->disks[2], "not to be read today");
    open_all(f);
    fail_writes_of(f, (bool[ROOTS]){false, true, true});
    assert_code(put_row(f, 1, 3, &err), ERR_OUTCOME_UNKNOWN, &err);
    fail_writes_of(f, (bool[ROOTS]){false, false, false});
    write_file(f->disks[2], hidden);
    open_all(f);
    assert_int_equal(row_version(f), 1); /* all three read: the one below both */
    write_file(f->disks[1], "not to be read now");
    assert_code(open_some(f, 0, ROOTS, &err), ERR_CORRUPT, &err);
    copy_file(f->disks[0], f->disks[1]); /* somebody decides */
    open_all(f);
    assert_int_equal(row_version(f), 3);
    UNUSED(first);
}

/* What is on a majority is older than what a version was made of: that one was in force. */
static void test_base_is_missed(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    fail_writes_of(f, (bool[ROOTS]){false, true, false});
    assert_ok(put_row(f, 1, 2, &err), &err); /* on the first and last */
    fail_writes_of(f, (bool[ROOTS]){false, true, true});
    assert_code(put_row(f, 2, 3, &err), ERR_OUTCOME_UNKNOWN, &err);
    fail_writes_of(f, (bool[ROOTS]){false, false, false});
    open_all(f);
    assert_int_equal(row_version(f), 2);
    write_file(f->disks[2], "");
    assert_code(open_some(f, 0, ROOTS, &err), ERR_CORRUPT, &err);
}

/* A first start that was cut off twice is still a first start. */
static void test_first_start_cut_off(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (int i = 0; i < 3; i++) {
        open_all(f);
        assert_int_equal(row_version(f), 0);
        fail_writes_of(f, (bool[ROOTS]){false, true, true});
        assert_code(put_row(f, 0, (uint8_t)(i + 1), &err), ERR_OUTCOME_UNKNOWN, &err);
        fail_writes_of(f, (bool[ROOTS]){false, false, false});
    }
    open_all(f);
    assert_ok(put_row(f, 0, 9, &err), &err);
    open_all(f);
    assert_int_equal(row_version(f), 9);
}

#define BASE "\"base_sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\""

static void test_newer_release(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    write_file(f->disks[1],
               "{\"format\":2,\"version\":1,\"base\":0," BASE ",\"roots\":[],\"shards\":[]}");
    assert_code(open_some(f, 0, ROOTS, &err), ERR_FORMAT_VERSION, &err); /* one is enough */
    assert_code(open_some(f, 1, 1, &err), ERR_FORMAT_VERSION, &err);
    assert_non_null(strstr(err_text(&err), "newer release"));
    copy_file(f->disks[0], f->disks[1]);
    open_all(f);
}

#define GOOD_ROOT                                                                                  \
    "{\"root\":\"01000000-0000-0000-0000-000000000000\",\"incarnation\":1,\"verdict\":\"clean\"}"
#define FILE_WITH(roots, shards)                                                                   \
    "{\"format\":1,\"version\":3,\"base\":2," BASE ",\"roots\":[" roots "],\"shards\":[" shards "]}"

static void test_damaged_files(void **state)
{
    Fixture *f = *state;
    static const char *const good[] = {FILE_WITH("", ""), FILE_WITH(GOOD_ROOT, "")};
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"format\":0,\"version\":3,\"base\":2," BASE ",\"roots\":[],\"shards\":[]}",
        "{\"format\":1,\"version\":0,\"base\":0," BASE ",\"roots\":[],\"shards\":[]}",
        "{\"format\":1,\"version\":3,\"base\":3," BASE ",\"roots\":[],\"shards\":[]}",
        "{\"format\":1,\"version\":3,\"base\":2," BASE ",\"roots\":[]}",
        "{\"format\":1,\"version\":3,\"base\":2," BASE ",\"roots\":7,\"shards\":[]}",
        "{\"format\":1,\"version\":\"3\",\"base\":2," BASE ",\"roots\":[],\"shards\":[]}",
        "{\"format\":1,\"version\":3,\"base\":2,\"base_sha256\":\"00\",\"roots\":[],\"shards\":[]}",
        FILE_WITH("{}", ""),
        FILE_WITH("7", ""),
        FILE_WITH(GOOD_ROOT "," GOOD_ROOT, ""),
        FILE_WITH("{\"root\":\"x\",\"incarnation\":1,\"verdict\":\"clean\"}", ""),
        FILE_WITH("{\"root\":\"01000000-0000-0000-0000-000000000000\",\"incarnation\":1,"
                  "\"verdict\":\"fine\"}",
                  ""),
        FILE_WITH("", "{\"shard\":1}"),
        FILE_WITH("", "{\"shard\":1,\"config\":\"\"}"),
        FILE_WITH("", "{\"shard\":1,\"config\":\"0g\"}"),
        FILE_WITH("", "{\"shard\":1,\"config\":\"01\"}"),
        FILE_WITH("", "{\"shard\":70000,\"config\":\"01\"}"),
    };
    Err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        write_file(f->disks[0], good[i]);
        assert_ok(open_some(f, 0, 1, &err), &err);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_file(f->disks[0], bad[i]);
        ErrCode code = open_some(f, 0, 1, &err);
        if (code != ERR_CORRUPT) fail_msg("%s: %s", bad[i], err_info(code)->name);
    }
}

/* A row that stands twice, and rows that are too long. */
static void test_damaged_rows(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_ok(open_some(f, 0, 1, &err), &err);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    AUTO(char, mem_free) text = read_file(f->disks[0]);
    char *row = strstr(text, "{\"shard\"");
    char *seal = strstr(text, ",\"sha256\"");
    assert_non_null(row);
    assert_non_null(seal);
    memcpy(seal, "}", 2);
    char bad[4096];
    snprintf(bad, sizeof bad, "%.*s,%s", (int)(strlen(text) - 2), text, row);
    write_file(f->disks[0], bad);
    assert_code(open_some(f, 0, 1, &err), ERR_CORRUPT, &err);
    snprintf(bad, sizeof bad, FILE_WITH("", "{\"shard\":1,\"config\":\"%02400d\"}"), 0);
    write_file(f->disks[0], bad);
    assert_code(open_some(f, 0, 1, &err), ERR_CORRUPT, &err);
}

/* Any flipped bit is seen, and named. */
static void test_flipped_bits(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_ok(open_some(f, 0, 1, &err), &err);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    AUTO(char, mem_free) text = read_file(f->disks[0]);
    for (size_t bit = 0; bit < strlen(text) * 8; bit++) {
        assert_ok(disk_sim_flip(f->disks[0], CONTROL_FILE, bit, &err), &err);
        ErrCode code = open_some(f, 0, 1, &err);
        if (code != ERR_CORRUPT && code != ERR_FORMAT_VERSION)
            fail_msg("bit %zu: %s", bit, err_info(code)->name);
        assert_non_null(strstr(err_text(&err), CONTROL_FILE));
        assert_ok(disk_sim_flip(f->disks[0], CONTROL_FILE, bit, &err), &err);
    }
    assert_ok(open_some(f, 0, 1, &err), &err);
}

static void test_unreadable_root(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(put_row(f, 0, 1, NULL), NULL);
    SimDiskFaults faults = {.read_error = 1000000};
    disk_sim_set_faults(f->disks[0], &faults);
    open_all(f); /* the two others agree */
    assert_int_equal(row_version(f), 1);
    assert_code(open_some(f, 0, 1, &err), ERR_IO, &err); /* unreadable is not damaged */
    disk_sim_set_faults(f->disks[1], &faults);
    assert_code(open_some(f, 0, ROOTS, &err), ERR_IO, &err);
}

static void test_too_many_roots(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    uint64_t incarnation = 0;
    assert_ok(open_some(f, 0, 1, &err), &err);
    for (unsigned i = 0; i < 256; i++) {
        Uuid root = {{(uint8_t)i, 1, 1}};
        assert_ok(control_register_root(f->control, root, &incarnation, &err), &err);
    }
    Uuid one_more = {{7, 7, 7}};
    assert_code(control_register_root(f->control, one_more, &incarnation, &err), ERR_TOO_BIG, &err);
    assert_ok(open_some(f, 0, 1, &err), &err);
    size_t count = 0;
    ControlRoot root;
    assert_ok(control_list_roots(f->control, &root, 1, &count, &err), &err);
    assert_int_equal(count, 256);
}

/* Every call below fails once: the change is there whole, or not, and a failure is told as unknown
 * (or, before anything was written, as what it is). */
static void test_every_call_fails_once(void **state)
{
    UNUSED(state);
    static const int errnos[] = {EIO, ENOSPC};
    for (size_t e = 0; e < ARRAY_LEN(errnos); e++) {
        for (uint64_t nth = 1;; nth++) {
            Fixture *f = NULL;
            void *made = NULL;
            assert_int_equal(fixture_setup(&made), 0);
            f = made;
            assert_ok(open_some(f, 0, 1, NULL), NULL);
            assert_ok(put_row(f, 0, 1, NULL), NULL);
            fault_arm_any("", errnos[e], nth, false);
            Err err = {0};
            ErrCode code = put_row(f, 1, 2, &err);
            fault_reset();
            disk_sim_crash(f->disks[0]);
            assert_ok(open_some(f, 0, 1, &err), &err);
            uint64_t found = row_version(f);
            assert_true(found == 2 || (found == 1 && code != OK));
            if (code != OK && code != ERR_OUTCOME_UNKNOWN) {
                assert_int_equal(code, ERR_NO_MEMORY);
                assert_int_equal(found, 1);
            }
            assert_int_equal(fixture_teardown(&made), 0);
            if (code == OK) break; /* beyond the last call */
        }
    }
}

/* --- crash states of one root --- */

typedef struct {
    unsigned asked; /* changes */
    unsigned done;
} Oracle;

static void *oracle_new(uint64_t seed)
{
    UNUSED(seed);
    return mem_new(sizeof(Oracle));
}

static ErrCode crash_run(Disk *disk, void *ctx, Err *err)
{
    Oracle *oracle = ctx;
    AUTO(Control, control_free) control = NULL;
    TRY(control_local_open(&disk, 1, &control, err));
    for (uint8_t i = 0; i < 4; i++) {
        ControlShard rows[2] = {conformance_row(5, 1, i, (uint8_t)(i + 1)),
                                conformance_row(9, 3, i, (uint8_t)(i + 1))};
        oracle->asked++;
        TRY(control_cas(control, rows, 2, err));
        oracle->done++;
    }
    return OK;
}

/* Both rows are of one change, at least of the last that was acknowledged. */
static ErrCode crash_verify(Disk *disk, const void *ctx, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = ctx;
    AUTO(Control, control_free) control = NULL;
    ShardConfig rows[2] = {{.version = 0}, {.version = 0}};
    bool found = false;
    TRY(control_local_open(&disk, 1, &control, err));
    TRY(control_get(control, 5, &rows[0], &found, err));
    TRY(control_get(control, 9, &rows[1], &found, err));
    uint64_t version = rows[0].version;
    if (rows[1].version != version || version < oracle->done || version > oracle->asked) {
        return err_set(err, ERR_ABORTED, "rows %" PRIu64 " and %" PRIu64 " of %u, %u done",
                       rows[0].version, rows[1].version, oracle->asked, oracle->done);
    }
    *outcome = version;
    return OK;
}

static uint64_t crash_failures(const char *planted)
{
    static const CrashWorkload workload = {.name = "control",
                                           .oracle_new = oracle_new,
                                           .oracle_free = mem_free,
                                           .run = crash_run,
                                           .verify = crash_verify};
    AUTO(CrashStates, crash_states_free)
    states = crash_states_new(
        &(CrashOptions){.seed = 1, .quiet = true, .recovery_per_million = 20000});
    if (planted != NULL) fault_plant(planted, true);
    crash_states_run(states, &workload);
    fault_reset();
    CrashCounts counts = crash_states_counts(states);
    if (planted == NULL) assert_in_range(counts.distinct, 15, 1000);
    return counts.failed;
}

static void test_crash_at_every_operation(void **state)
{
    UNUSED(state);
    assert_int_equal(crash_failures(NULL), 0);
    assert_true(crash_failures("skip-sync") > 0);
    assert_true(crash_failures("skip-dir-sync") > 0);
}

/* Power fails in the middle of a change of three roots: one is stopped at each of its operations,
 * those behind it are not reached. */
static void test_crash_with_three_roots(void **state)
{
    UNUSED(state);
    unsigned seen[2] = {0};
    for (unsigned at = 0; at < ROOTS; at++) {
        for (uint64_t stop = 0; stop < 8; stop++) {
            void *made = NULL;
            assert_int_equal(fixture_setup(&made), 0);
            Fixture *f = made;
            Err err = {0};
            open_all(f);
            assert_ok(put_row(f, 0, 1, NULL), NULL);
            for (unsigned i = at; i < ROOTS; i++) {
                disk_sim_stop_at(f->disks[i], i == at ? stop : 0);
            }
            ErrCode code = put_row(f, 1, 2, &err);
            for (unsigned i = 0; i < ROOTS; i++)
                disk_sim_crash(f->disks[i]);
            open_all(f);
            uint64_t version = row_version(f);
            assert_true(version == 2 || (version == 1 && code != OK));
            seen[version - 1]++;
            assert_ok(put_row(f, (uint8_t)version, 3, &err), &err);
            open_all(f);
            assert_int_equal(row_version(f), 3);
            assert_int_equal(fixture_teardown(&made), 0);
        }
    }
    assert_true(seen[0] > 5 && seen[1] > 5);
}

/* --- one root that is alone --- */

static Uuid root_uuid(uint8_t n)
{
    return (Uuid){{n, 1, 2, 3}};
}

#define KNOWN 4 /* the incarnation that root.json tells of */

static ErrCode open_alone(Fixture *f, uint64_t incarnation, ControlFound *found, Err *err)
{
    ControlAlone alone = {.root = root_uuid(1), .incarnation = incarnation};
    control_free(f->control);
    f->control = NULL;
    return control_local_open_alone(f->disks[0], &alone, &f->control, found, err);
}

/* The root is raised above what root.json knows, with one write. */
static void expect_raised(Fixture *f, uint64_t wanted)
{
    Err err = {0};
    uint64_t raised = 0;
    ControlLook look;
    assert_ok(control_raise_root(f->control, root_uuid(1), wanted - 1, &raised, &err), &err);
    assert_int_equal(raised, wanted);
    assert_ok(control_local_look(f->disks[0], root_uuid(1), &look, &err), &err);
    assert_true(look.exists);
    assert_int_equal(look.incarnation, wanted);
}

static size_t count_quarantined(Disk *disk)
{
    size_t count = 0;
    for (unsigned i = 0; i < 20; i++) {
        char path[64];
        DiskStat stat;
        snprintf(path, sizeof path, "quarantine/control.json.%u", i);
        assert_ok(disk_stat(disk, path, &stat, NULL), NULL);
        count += stat.exists;
    }
    return count;
}

static void test_alone(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    ControlFound found;
    assert_ok(open_alone(f, 0, &found, &err), &err); /* a new one */
    assert_true(!found.in_use && !found.remade && !found.damaged);
    expect_raised(f, 1);
    assert_ok(open_alone(f, 1, &found, &err), &err); /* killed before shards were made */
    assert_true(!found.in_use && !found.remade);
    assert_ok(put_row(f, 0, 1, &err), &err);
    assert_ok(open_alone(f, 1, &found, &err), &err);
    assert_true(found.in_use && !found.remade);
    assert_int_equal(row_version(f), 1);
}

/* Missing: begun anew with what root.json knows. */
static void test_alone_missing(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    ControlFound found;
    assert_ok(open_alone(f, KNOWN, &found, &err), &err);
    assert_true(found.in_use && found.remade && !found.damaged);
    expect_raised(f, KNOWN + 1);
    assert_ok(open_alone(f, KNOWN + 1, &found, &err), &err);
    assert_false(found.remade);
    assert_int_equal(row_version(f), 0); /* nobody knows what it was: made by who asks */
}

/* Damaged: the same, and the old one is kept, each under a name of its own. */
static void test_alone_damaged(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    ControlFound found;
    for (size_t i = 1; i <= 3; i++) {
        write_file(f->disks[0], "{\"format\":1,\"ver");
        assert_ok(open_alone(f, KNOWN, &found, &err), &err);
        assert_true(found.in_use && found.remade && found.damaged);
        assert_non_null(strstr(err_text(&found.why), CONTROL_FILE));
        assert_int_equal(count_quarantined(f->disks[0]), i);
    }
    assert_ok(open_alone(f, KNOWN, &found, &err), &err); /* killed before the new one was written */
    assert_true(found.remade && !found.damaged);
    expect_raised(f, KNOWN + 1);
}

/* What is not damage is not put aside. */
static void test_alone_refused(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    ControlFound found;
    write_file(f->disks[0], "{\"format\":2}");
    assert_code(open_alone(f, KNOWN, &found, &err), ERR_FORMAT_VERSION, NULL);
    assert_ok(disk_unlink(f->disks[0], CONTROL_FILE, &err), &err);
    uint64_t raised = 0;
    assert_ok(open_some(f, 0, 1, &err), &err);
    assert_ok(control_register_root(f->control, root_uuid(2), &raised, &err), &err);
    AUTO(char, mem_free) before = read_file(f->disks[0]);
    assert_code(open_alone(f, KNOWN, &found, &err), ERR_FOREIGN, NULL);
    AUTO(char, mem_free) after = read_file(f->disks[0]);
    assert_string_equal(before, after);
    assert_int_equal(count_quarantined(f->disks[0]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_any_majority_will_do),
        TEST(test_lost_majority_is_refused),
        TEST(test_minority_write_is_not_in_force),
        TEST(test_minorities_do_not_add_up),
        TEST(test_same_version_other_contents),
        TEST(test_base_is_missed),
        TEST(test_first_start_cut_off),
        TEST(test_newer_release),
        TEST(test_damaged_files),
        TEST(test_damaged_rows),
        TEST(test_flipped_bits),
        TEST(test_unreadable_root),
        TEST(test_too_many_roots),
        TEST(test_alone),
        TEST(test_alone_missing),
        TEST(test_alone_damaged),
        TEST(test_alone_refused),
        cmocka_unit_test(test_every_call_fails_once),
        cmocka_unit_test(test_crash_at_every_operation),
        cmocka_unit_test(test_crash_with_three_roots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
