/* The audit log: its chain over files and starts, what verification finds, what a crash leaves, and
 * what becomes of lines that can't be written. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit/audit.h"
#include "audit/audit_verify.h"
#include "base/fault.h"
#include "base/log.h"
#include "disk/sim.h"

typedef struct {
    Disk *disk;
    ManualClock clock;
    Audit *audit;
    uint64_t file_size_max;
    unsigned files_max;
    bool apart;
} Fixture;

static const AuditKey key = {{1, 2, 3}};

static void open_log(Fixture *f)
{
    Err err = {0};
    AuditOptions options = {.disk = f->disk,
                            .key = key,
                            .clock = &f->clock.clock,
                            .file_size_max = f->file_size_max,
                            .files_max = f->files_max,
                            .apart = f->apart};
    assert_ok(audit_open(&options, &f->audit, &err), &err);
}

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_JSON, LOG_INFO);
    clock_manual_init(&f->clock, 1700000000000);
    f->file_size_max = AUDIT_LINE_MAX;
    f->files_max = 1000;
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    open_log(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    fault_reset();
    audit_close(f->audit);
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static void put(Fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "key-%u \"\x01", i);
        AuditRecord record = {.event = "audit.change",
                              .request_id = STR("0123456789abcdef0123456789abcdef"),
                              .peer = STR("127.0.0.1:1"),
                              .action = "put",
                              .bucket = STR("files"),
                              .key = str_from_cstr(name),
                              .status = 201,
                              .result = "ok"};
        audit_write(f->audit, &record);
    }
}

/* Verifies all; the code, *v as it ended and err. */
static ErrCode verify(const Fixture *f, AuditVerifier *v, Err *err)
{
    AuditFiles files = {0};
    AuditAnchor anchor;
    *v = (AuditVerifier){.key = &key, .anchor = &anchor};
    *err = (Err){0};
    ErrCode code = audit_anchor_read(f->disk, &key, &anchor, err);
    if (code == OK) code = audit_list(f->disk, &files, err);
    for (size_t i = 0; code == OK && i < files.count; i++) {
        char name[AUDIT_NAME_SIZE];
        audit_file_name(files.numbers[i], name);
        code = audit_verify_file(v, f->disk, name, name, err);
    }
    if (code == OK) code = audit_verify_end(v, "the log", err);
    v->anchor = NULL;
    mem_free(files.numbers);
    return code;
}

static uint64_t good_lines(const Fixture *f)
{
    AuditVerifier v;
    Err err;
    assert_ok(verify(f, &v, &err), &err);
    assert_true(v.last_seq - v.first_seq + 1 == v.lines);
    return v.lines;
}

static void assert_broken(const Fixture *f, const char *text)
{
    AuditVerifier v;
    Err err;
    assert_code(verify(f, &v, &err), ERR_CORRUPT, &err);
    if (strstr(err_text(&err), text) == NULL) fail_msg("%s; wanted: %s", err_text(&err), text);
}

/* ---- the chain ---- */

static void test_restarts(void **state)
{
    Fixture *f = *state;
    uint64_t lines = 1; /* started */
    for (unsigned i = 0; i < 5; i++) {
        put(f, 10);
        audit_close(TAKE(f->audit));
        open_log(f);
        lines += 12; /* and stopped, started */
        assert_true(good_lines(f) == lines);
    }
}

static void test_rotation(void **state)
{
    Fixture *f = *state;
    AuditFiles files = {0};
    Err err = {0};
    AuditVerifier v;
    put(f, 700);
    audit_sync(f->audit);
    assert_true(good_lines(f) == 701);
    assert_ok(audit_list(f->disk, &files, &err), &err);
    assert_true(files.count >= 3);
    mem_free(files.numbers);
    f->files_max = 2;
    audit_close(TAKE(f->audit));
    open_log(f);
    assert_ok(audit_list(f->disk, &files, &err), &err);
    assert_int_equal(files.count, 2);
    mem_free(files.numbers);
    assert_ok(verify(f, &v, &err), &err);
    assert_true(v.first_seq > 1 && v.last_seq == 703);
}

/* ---- what verification finds ---- */

static Str read_log(const Fixture *f, uint64_t number, char **text)
{
    char name[AUDIT_NAME_SIZE];
    size_t len = 0;
    Err err = {0};
    audit_file_name(number, name);
    assert_ok(disk_read_file(f->disk, name, 1 << 20, text, &len, &err), &err);
    return str_of(*text, len);
}

static void write_log(const Fixture *f, uint64_t number, Str text)
{
    char name[AUDIT_NAME_SIZE];
    Err err = {0};
    audit_file_name(number, name);
    assert_ok(disk_replace_durable(f->disk, name, text, &err), &err);
}

/* Where line number `line` (from 1) begins. */
static size_t line_at(Str text, unsigned line)
{
    size_t at = 0;
    while (--line > 0)
        at += str_find_char(str_slice(text, at, text.len), '\n') + 1;
    return at;
}

static void test_edited(void **state)
{
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    put(f, 10);
    audit_sync(f->audit);
    Str log = read_log(f, 1, &text);
    for (unsigned line = 1; line <= 11; line++) {
        char wanted[80];
        char *place = text + line_at(log, line) + 20; /* in its time */
        snprintf(wanted, sizeof wanted,
                 "audit-000000000001.jsonl line %u: ", line == 11 ? 11 : line + 1);
        (*place)++;
        write_log(f, 1, log);
        assert_broken(f, wanted);
        (*place)--;
    }
    write_log(f, 1, log);
    assert_true(good_lines(f) == 11);
}

static void test_cut(void **state)
{
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    put(f, 10);
    audit_sync(f->audit);
    Str log = read_log(f, 1, &text);
    write_log(f, 1, str_slice(log, 0, line_at(log, 11)));
    assert_broken(f, "lines were cut off at its end");
    write_log(f, 1, str_slice(log, line_at(log, 2), log.len));
    assert_broken(f, "line 1: begins with number 2");
    AUTO(char, mem_free) other = mem_new(log.len);
    size_t from = line_at(log, 4);
    size_t to = line_at(log, 6);
    memcpy(other, text, from);
    memcpy(other + from, text + to, log.len - to);
    write_log(f, 1, str_of(other, log.len - (to - from)));
    assert_broken(f, "line 4: has number 6 where 4 was to come");
    Err err = {0};
    assert_ok(disk_unlink(f->disk, "audit-000000000001.jsonl", &err), &err);
    assert_broken(f, "cut off at its end");
}

/* Somebody without the key changes a line and makes all that follow anew. */
static void test_made_anew(void **state)
{
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    AUTO_BUF(forged, 1 << 20);
    Err err = {0};
    put(f, 10);
    audit_sync(f->audit);
    Str rest = read_log(f, 1, &text);
    Sha256 prev = audit_start(&key);
    for (unsigned line = 1; rest.len > 0; line++) {
        size_t len = str_find_char(rest, '\n');
        size_t at = forged.len;
        Str body = str_slice(rest, 0, len - 75); /* without ,"prev":"…"} */
        assert_ok(buf_append_str(&forged, body, &err), &err);
        if (line == 3) forged.data[at + 20]++;
        assert_ok(audit_line_end(&forged, &prev, &err), &err);
        prev = audit_digest(str_of(forged.data + at, forged.len - at - 1));
        rest = str_slice(rest, len + 1, rest.len);
    }
    write_log(f, 1, buf_str(&forged));
    assert_broken(f, "line 11: is not what the anchor attests");
    /* A start touches nothing of it, and says so. */
    audit_close(TAKE(f->audit));
    write_log(f, 1, buf_str(&forged));
    open_log(f);
    assert_broken(f, "audit-0000000000");
    AUTO(char, mem_free) next = NULL;
    Str log = read_log(f, 2, &next);
    assert_true(strstr(next, "audit.broken") != NULL && log.len > 0);
}

static void test_anchor_gone(void **state)
{
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    Err err = {0};
    audit_close(TAKE(f->audit));
    assert_ok(disk_unlink(f->disk, AUDIT_ANCHOR, &err), &err);
    open_log(f);
    (void)read_log(f, 2, &text); /* for its text */
    assert_non_null(strstr(text, "anchor.json is not there"));
}

/* ---- crashes ---- */

static void test_torn(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    File *file = NULL;
    uint64_t size = 0;
    DiskStat torn;
    put(f, 3);
    audit_close(TAKE(f->audit));
    assert_ok(disk_open(f->disk, "audit-000000000001.jsonl", DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_size(file, &size, &err), &err);
    assert_ok(disk_write(file, size, "{\"seq\":6,\"ts", 12, &err), &err);
    disk_close(file);
    assert_true(good_lines(f) == 5); /* by itself no damage */
    open_log(f);
    assert_true(good_lines(f) == 7); /* audit.torn, audit.started */
    assert_ok(disk_stat(f->disk, "torn-000000000006", &torn, &err), &err);
    assert_true(torn.exists && torn.size == 12);
}

/* Power fails at any moment: what was attested is there, and the chain goes on. */
static void test_power_loss(void **state)
{
    Fixture *f = *state;
    unsigned torn = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t attested;
        AuditVerifier v;
        Err err;
        put(f, (unsigned)(seed % 7));
        audit_sync(f->audit);
        assert_ok(verify(f, &v, &err), &err);
        attested = v.last_seq;
        put(f, (unsigned)(seed * 13 % 90)); /* fills files now and then */
        disk_sim_stop_at(f->disk, 0);
        audit_close(TAKE(f->audit)); /* writes nothing */
        disk_sim_crash(f->disk);
        open_log(f);
        assert_ok(verify(f, &v, &err), &err);
        assert_true(v.last_seq > attested);
        DiskStat stat;
        char name[AUDIT_NAME_SIZE];
        for (uint64_t seq = attested; seq < v.last_seq; seq++) {
            snprintf(name, sizeof name, "torn-%012" PRIu64, seq);
            assert_ok(disk_stat(f->disk, name, &stat, &err), &err);
            torn += stat.exists;
        }
    }
    assert_true(torn > 0); /* or it was not tried */
}

/* ---- lines that can't be written ---- */

static void test_full_disk(void **state)
{
    if (!HOLDFAST_FAULTS) skip();
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    put(f, 1);
    fault_arm("disk.write", ENOSPC, 1, true);
    put(f, 3);
    assert_false(audit_works(f->audit));
    fault_reset();
    put(f, 1);
    assert_true(audit_works(f->audit));
    audit_sync(f->audit);
    assert_true(good_lines(f) == 4);
    (void)read_log(f, 1, &text); /* for its text */
    assert_non_null(strstr(text, "\"event\":\"audit.lost\",\"detail\":\"lines=3\""));
}

/* Works again by itself, without a line to write. */
static void test_sync_probes(void **state)
{
    if (!HOLDFAST_FAULTS) skip();
    Fixture *f = *state;
    fault_arm("disk.write", EIO, 1, false);
    put(f, 1);
    assert_false(audit_works(f->audit));
    audit_sync(f->audit);
    assert_true(audit_works(f->audit));
    assert_true(good_lines(f) == 2);
}

/* After a failed sync the file takes no more lines (fsyncgate). */
static void test_failed_sync(void **state)
{
    if (!HOLDFAST_FAULTS) skip();
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    put(f, 1);
    fault_arm("disk.sync", EIO, 1, false);
    audit_sync(f->audit);
    assert_false(audit_works(f->audit));
    put(f, 1);
    assert_true(audit_works(f->audit));
    audit_sync(f->audit);
    assert_true(good_lines(f) == 4);
    assert_true(read_log(f, 2, &text).len > 0);
}

/* A line that was written in part, and then a failed sync: the file that is left is whole lines. */
static void test_ragged_and_failed_sync(void **state)
{
    if (!HOLDFAST_FAULTS) skip();
    Fixture *f = *state;
    char name[AUDIT_NAME_SIZE];
    AUTO(char, mem_free) text = NULL;
    DiskStat stat;
    File *file;
    put(f, 1);
    fault_arm("disk.write", ENOSPC, 1, true);
    put(f, 1);
    fault_reset();
    audit_file_name(1, name);
    assert_ok(disk_stat(f->disk, name, &stat, NULL), NULL);
    assert_ok(disk_open(f->disk, name, DISK_OPEN_WRITE, &file, NULL), NULL);
    assert_ok(disk_write(file, stat.size, "{\"seq\":", 7, NULL), NULL);
    disk_close(file);
    fault_arm("disk.truncate", EIO, 1, true);
    fault_arm("disk.sync", EIO, 1, false);
    audit_sync(f->audit);
    fault_reset();
    put(f, 1);
    assert_true(audit_works(f->audit));
    audit_sync(f->audit);
    assert_true(good_lines(f) == 4); /* started, put, lost, put */
    assert_true(read_log(f, 2, &text).len > 0);
}

/* The sync before a file is left fails: the next line is in another, and no second sync is asked
 * what became of the first (fsyncgate). */
static void test_failed_sync_of_rotation(void **state)
{
    if (!HOLDFAST_FAULTS) skip();
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    fault_arm("disk.sync", EIO, 1, false);
    while (audit_works(f->audit))
        put(f, 1);
    assert_true(read_log(f, 2, &text).len == 0);
    put(f, 1);
    assert_true(audit_works(f->audit));
    audit_sync(f->audit);
    (void)good_lines(f); /* that it is good */
}

/* Each call fails once: what was said to be attested is there, and verification is content. */
static void test_each_fault(void **state)
{
    if (!HOLDFAST_FAULTS) skip();
    Fixture *f = *state;
    f->files_max = 2;
    for (uint64_t nth = 1; nth <= 40; nth++) {
        audit_close(TAKE(f->audit));
        fault_arm_any("disk.", EIO, nth, false);
        AuditOptions options = {.disk = f->disk,
                                .key = key,
                                .clock = &f->clock.clock,
                                .file_size_max = f->file_size_max,
                                .files_max = f->files_max};
        if (audit_open(&options, &f->audit, NULL) == OK) {
            put(f, 220);
            audit_sync(f->audit);
            audit_close(TAKE(f->audit));
        }
        fault_reset();
        open_log(f);
        audit_sync(f->audit);
        (void)good_lines(f); /* that it is good */
    }
}

static void test_refused(void **state)
{
    Fixture *f = *state;
    AUTO(char, mem_free) text = NULL;
    AuditRecord record = {.event = "audit.refused", .status = 401, .result = "unauthenticated"};
    for (unsigned i = 0; i < AUDIT_REFUSED_MAX + 50; i++)
        assert_true(audit_refused(f->audit, &record) == (i < AUDIT_REFUSED_MAX));
    f->clock.boot_ns += 1000000000;
    audit_sync(f->audit);
    assert_true(good_lines(f) == 1 + AUDIT_REFUSED_MAX + 1);
    (void)read_log(f, 1, &text); /* for its text */
    assert_non_null(strstr(text, "\"event\":\"audit.refused_more\",\"detail\":\"count=50\""));
}

/* A thread writes: all lines are there in the end, in one chain; more than may wait are told by the
 * log and counted. */
static void test_a_thread_writes(void **state)
{
    Fixture *f = *state;
    audit_close(f->audit);
    uint64_t before = good_lines(f);
    f->apart = true;
    f->file_size_max = 1000000;
    open_log(f);
    put(f, 3000);
    AuditRecord refused = {.event = "audit.refused", .detail = STR("no")};
    for (unsigned i = 0; i < 2 * AUDIT_REFUSED_MAX; i++)
        assert_int_equal(audit_refused(f->audit, &refused), i < AUDIT_REFUSED_MAX);
    f->clock.boot_ns += 2000000000;
    audit_sync(f->audit);
    assert_true(audit_works(f->audit));
    audit_close(f->audit);
    f->audit = NULL;
    /* started, stopped, and how many were refused more */
    assert_int_equal(good_lines(f), before + 3000 + AUDIT_REFUSED_MAX + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_thread_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_anchor_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_power_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync_probes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ragged_and_failed_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_sync_of_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
