#!/usr/bin/env python3
"""Runs a simulator with each planted bug of its table, and once without any.

    planted.py BUILD_DIR [NAME...]             storage: test/sim/planted.txt, sim_one_node
    planted.py BUILD_DIR --roots [NAME...]     test/sim/planted_roots.txt, sim_roots
    planted.py BUILD_DIR --protocol [NAME...]  test/sim/planted_protocol.txt, sim_protocol

All runs of one table have the same options, OPTIONS below, and differ in --plant NAME only. What the
table of the protocol gives to the search runs search_protocol with the options of that set, SETS. A
bug that nothing finds is a failure of the tests, and so is a run that fails without a bug, and a
switch that the table lacks. As many run at once as there are processors, at most two.
"""
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLES = os.path.join(ROOT, 'test', 'sim')
OPTIONS = ['--seed', '1', '--count', '500', '--until-failure']
SETS = {
    'elections': ['--set', 'elections', '--states', '20000', '--walks', '60000'],
    'members': ['--set', 'members', '--states', '20000', '--walks', '60000'],
    'polls': ['--set', 'polls', '--states', '20000', '--walks', '60000'],
}
GREEN = 'none'  # the run without a bug
SECONDS = 900  # for one run


def table_runs(table, program):
    """(name, command) of each bug, after that of none."""
    with open(os.path.join(TABLES, table), encoding='utf-8') as lines:
        names = [line.split()[0] for line in lines if line.strip() and not line.startswith('#')]
    program = [program, *OPTIONS]
    return [(GREEN, program)] + [(name, [*program, '--plant', name]) for name in names]


def protocol_runs(build):
    """The same; second in each row of the table is `sim`, or the set of the search that finds it."""
    runs = [(GREEN, ['test/sim_protocol', *OPTIONS])]
    named = []
    searched = set()
    with open(os.path.join(TABLES, 'planted_protocol.txt'), encoding='utf-8') as lines:
        rows = [line.split()[:2] for line in lines if line.strip() and not line.startswith('#')]
    for name, where in rows:
        named.append(name)
        if where == 'sim':
            runs.append((name, ['test/sim_protocol', *OPTIONS, '--plant', name]))
        else:
            searched.add(where)
            runs.append((name, ['test/search_protocol', *SETS[where], '--plant', name]))
    for where in sorted(searched):
        runs.append((f'{GREEN} of {where}', ['test/search_protocol', *SETS[where]]))
    told = subprocess.run([os.path.join(build, 'test/sim_protocol'), '--bugs'], text=True,
                          capture_output=True, check=True).stdout.split()
    if sorted(told) != sorted(named):
        sys.exit(f'the table and --bugs differ: {sorted(set(told) ^ set(named))}')
    return runs


def run(build, name, command):
    """(did the run end as it must?, what to say of it)"""
    begun = time.monotonic()
    try:
        done = subprocess.run([os.path.join(build, command[0]), *command[1:]], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS,
                              check=False)
    except subprocess.TimeoutExpired:
        return False, f'{name}: not done after {SECONDS} s'
    seconds = time.monotonic() - begun
    said = [line for line in (done.stdout + done.stderr).splitlines()
            if line.startswith(('seed ', 'found: '))]
    if name.startswith(GREEN):
        good = done.returncode == 0
        text = 'green' if good else said[0] if said else f'ended with {done.returncode}'
    else:
        good = done.returncode != 0 and bool(said)
        text = said[0] if good else 'NOT FOUND'
    return good, f'{name}: {text} ({seconds:.0f} s)'


def main():
    build = sys.argv[1]
    kind = sys.argv[2] if sys.argv[2:] and sys.argv[2] in ('--protocol', '--roots') else ''
    wanted = sys.argv[3 if kind else 2:]
    runs = {'--protocol': lambda: protocol_runs(build),
            '--roots': lambda: table_runs('planted_roots.txt', 'test/sim_roots'),
            '': lambda: table_runs('planted.txt', 'test/sim_one_node')}[kind]()
    runs = [(name, command) for name, command in runs if not wanted or name in wanted]
    print('each with', ' '.join(OPTIONS))
    missed = 0
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for good, text in pool.map(lambda one: run(build, *one), runs):
            missed += not good
            print(text, flush=True)
    layer = {'--protocol': 'protocol-planted', '--roots': 'roots-planted'}.get(kind, 'planted')
    print(f'LAYER {layer} required={len(runs)} executed={len(runs)} failed={missed}')
    return 1 if missed or not runs else 0


if __name__ == '__main__':
    sys.exit(main())
