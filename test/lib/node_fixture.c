#include "node_fixture.h"

#include "disk/sim.h"
#include "testing.h"

void node_fixture_open(NodeFixture *f)
{
    Err err = {0};
    assert_ok(node_kit_open(&f->kit, f->disk, &f->options, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
}

NodeFixture *node_fixture_new(const NodeKitOptions *options)
{
    NodeFixture *f = mem_new(sizeof *f);
    Err err = {0};
    f->options = *options;
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    node_fixture_open(f);
    return f;
}

void node_fixture_free(NodeFixture *f)
{
    if (f == NULL) return;
    node_kit_drop(&f->kit);
    disk_free(f->disk);
    mem_free(f);
}

void node_fixture_apply(NodeFixture *f)
{
    Err err = {0};
    assert_ok(node_kit_apply(&f->kit, &err), &err);
}

void node_fixture_stop(NodeFixture *f)
{
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
}

void node_fixture_restart(NodeFixture *f, bool clean)
{
    Err err = {0};
    if (clean) {
        assert_ok(node_kit_close(&f->kit, &err), &err);
        disk_sim_kill(f->disk);
    } else {
        node_kit_drop(&f->kit);
        disk_sim_crash(f->disk);
    }
    node_fixture_open(f);
}

static void count_done(Mutation *m)
{
    ++*(unsigned *)m->ctx;
}

void node_fixture_submit(NodeFixture *f, Mutation *m, unsigned *done)
{
    m->done = count_done;
    m->ctx = done;
    engine_submit(f->kit.engine, m);
}

int node_fixture_teardown(void **state)
{
    node_fixture_free(*state);
    return 0;
}
