#include "wal_fixture.h"

#include "base/fault.h"
#include "disk/sim.h"
#include "testing.h"

WalFixture *wal_fixture_new(unsigned spares)
{
    WalFixture *fixture = mem_new(sizeof *fixture);
    assert_ok(disk_sim_new(1, &fixture->disk, &fixture->err), &fixture->err);
    kit_init(&fixture->kit, fixture->disk, 1);
    fixture->kit.options.spares = spares;
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    return fixture;
}

int wal_fixture_setup(void **state)
{
    *state = wal_fixture_new(0);
    return 0;
}

int wal_fixture_teardown(void **state)
{
    WalFixture *fixture = *state;
    fault_reset();
    kit_deinit(&fixture->kit);
    disk_free(fixture->disk);
    mem_free(fixture);
    return 0;
}

WalStats wal_fixture_stats(WalFixture *fixture)
{
    WalStats stats;
    wal_stats(fixture->kit.wal, &stats);
    return stats;
}
