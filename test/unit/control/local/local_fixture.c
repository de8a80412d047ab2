#include "local_fixture.h"

#include "../conformance.h"
#include "testing.h"

#include "base/fault.h"
#include "control/local/local.h"

int fixture_setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    for (unsigned i = 0; i < ROOTS; i++)
        assert_ok(disk_sim_new(i + 1, &f->disks[i], NULL), NULL);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    Fixture *f = *state;
    fault_reset();
    control_free(f->control);
    for (unsigned i = 0; i < ROOTS; i++)
        disk_free(f->disks[i]);
    mem_free(f);
    return 0;
}

ErrCode open_some(Fixture *f, unsigned first, unsigned count, Err *err)
{
    control_free(f->control);
    f->control = NULL;
    return control_local_open(&f->disks[first], count, &f->control, err);
}

void open_all(Fixture *f)
{
    Err err = {0};
    assert_ok(open_some(f, 0, ROOTS, &err), &err);
}

ErrCode put_row(Fixture *f, uint8_t parent, uint8_t uid, Err *err)
{
    ControlShard row = conformance_row(5, 1, parent, uid);
    return control_cas(f->control, &row, 1, err);
}

uint64_t row_version(Fixture *f)
{
    ShardConfig config = {0};
    bool found = false;
    assert_ok(control_get(f->control, 5, &config, &found, NULL), NULL);
    return config.version;
}

char *read_file(Disk *disk)
{
    char *text = NULL;
    size_t len = 0;
    Err err = {0};
    assert_ok(disk_read_file(disk, CONTROL_FILE, MIB, &text, &len, &err), &err);
    return text;
}

void fail_writes_of(Fixture *f, const bool *fails)
{
    for (unsigned i = 0; i < ROOTS; i++) {
        disk_sim_set_faults(f->disks[i], &(SimDiskFaults){.write_error = fails[i] ? 1000000 : 0});
    }
}
