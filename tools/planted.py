#!/usr/bin/env python3
"""Runs the simulator with each planted bug of test/sim/planted.txt, and once without any.

All runs have the same options, OPTIONS below, and differ in --plant NAME only. A bug that no seed
finds is a failure of the tests, and so is a seed that fails without a bug. As many run at once as
there are processors, at most two. Usage: planted.py BUILD_DIR [NAME...]
"""
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, 'test', 'sim', 'planted.txt')
OPTIONS = ['--seed', '1', '--count', '500', '--until-failure']
GREEN = 'none'  # the run without a bug
SECONDS = 900  # for one run


def names():
    with open(TABLE, encoding='utf-8') as lines:
        return [line.split()[0] for line in lines if line.strip() and not line.startswith('#')]


def run(build, name):
    """(did the run end as it must?, what to say of it)"""
    plant = [] if name == GREEN else ['--plant', name]
    command = [os.path.join(build, 'test', 'sim_one_node'), *OPTIONS, *plant]
    begun = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, capture_output=True,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False, f'{name}: not done after {SECONDS} s'
    seconds = time.monotonic() - begun
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith('seed ')]
    if name == GREEN:
        good = done.returncode == 0
        text = 'green' if good else said[0] if said else f'ended with {done.returncode}'
    else:
        good = done.returncode != 0 and bool(said)
        text = said[0] if good else 'NOT FOUND'
    return good, f'{name}: {text} ({seconds:.0f} s)'


def main():
    build = sys.argv[1]
    wanted = sys.argv[2:] or [GREEN, *names()]
    print('each with', ' '.join(OPTIONS))
    missed = 0
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for good, text in pool.map(lambda name: run(build, name), wanted):
            missed += not good
            print(text, flush=True)
    print(f'LAYER planted required={len(wanted)} executed={len(wanted)} failed={missed}')
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
