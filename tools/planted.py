#!/usr/bin/env python3
"""Runs each planted bug of test/sim/planted.txt: its command must fail, and say for which seed.

A bug that no seed finds is a failure of the tests. Usage: planted.py BUILD_DIR
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, 'test', 'sim', 'planted.txt')
SECONDS = 240  # for one bug


def rows():
    with open(TABLE, encoding='utf-8') as lines:
        for line in lines:
            if line.strip() and not line.startswith('#'):
                name, command = line.split(None, 1)
                yield name, command.split()


def found(build, command):
    """What the program said when it found the bug, or None."""
    program = os.path.join(build, 'test', command[0])
    try:
        run = subprocess.run([program, *command[1:]], stdin=subprocess.DEVNULL, text=True,
                             capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    if run.returncode == 0:
        return None
    said = [line for line in (run.stdout + run.stderr).splitlines()
            if line.startswith('seed ') or 'assertion failed' in line]
    return said[0] if said else None


def main():
    build = sys.argv[1]
    executed = missed = 0
    for name, command in rows():
        executed += 1
        said = found(build, command)
        missed += said is None
        print(f'{name}: {said or "NOT FOUND"}', flush=True)
    print(f'LAYER planted required={executed} executed={executed} failed={missed}')
    return 1 if missed or not executed else 0


if __name__ == '__main__':
    sys.exit(main())
