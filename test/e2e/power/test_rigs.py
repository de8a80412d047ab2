#!/usr/bin/env python3
"""Tests of a rig: that it finds planted bugs, leaves nothing behind and says what it lacks.

    test_rigs.py shutdown|cuts [--binary build-test/holdfast]

A planted bug (src/base/fault.h) must make the rig fail within the cuts of a CI run, on the file system
of its row. Prints a line for each test, then `LAYER power-RIG-self required= executed= failed=`.
"""
import argparse
import glob
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CUTS = 100       # within which a bug is found
MINUTES = 6.0    # of one bug
ENDS_S = 60      # after a signal
BUGS = {
    'shutdown': (('ack-before-sync', 'xfs'), ('skip-dir-sync', 'ext4'), ('skip-pack-sync', 'xfs'),
                 ('skip-blob-sync', 'ext4')),
    'cuts': (('ack-before-sync', 'xfs'), ('skip-dir-sync', 'ext4'), ('skip-index-sync', 'xfs'),
             ('skip-pack-sync', 'ext4')),
}


class Rig:
    """A rig that runs; what it prints is kept in `said`. before: a statement that it begins with;
    directory: where it makes its own."""

    def __init__(self, name, *options, before='pass', directory=None):
        program = (f'import sys; sys.path.insert(0, {HERE!r}); import os, {name}; {before}; '
                   f'sys.exit({name}.start())')
        self.process = subprocess.Popen(
            [sys.executable, '-c', program, *options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {'TMPDIR': directory or tempfile.gettempdir()})
        self.said = ''

    def end(self, timeout_s):
        """Waits for its end; its exit status, -N for signal N."""
        self.said = self.process.communicate(timeout=timeout_s)[0].decode(errors='replace')
        return self.process.returncode


def finds(name, binary, bug, kind):
    """Does the rig find a bug? What is wrong, or ''; and what it found."""
    rig = Rig(name, '--binary', binary, '--plant', bug, '--file-system', kind, '--cuts', str(CUTS),
              '--minutes', str(MINUTES))
    try:
        status = rig.end(60 * MINUTES + 120)
    finally:
        rig.process.terminate()
    found = [line for line in rig.said.splitlines() if line.startswith('FAILED in ')]
    if status == 1 and found:
        return '', found[0]
    return f'not found; exit status {status}: {rig.said[-300:]}', ''


def leftovers(directory):
    """Loop devices, mounts and processes that use something in a directory."""
    found = []
    for path in glob.glob('/sys/block/loop*/loop/backing_file'):
        try:
            with open(path, encoding='utf-8') as file:
                found.append(file.read().strip())
        except OSError:
            pass  # it went meanwhile
    with open('/proc/self/mounts', encoding='utf-8') as mounts:
        found += [line.split()[1] for line in mounts]
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        try:
            with open(path, encoding='utf-8', errors='replace') as file:
                found += file.read().split('\0')
        except OSError:
            pass
    return {path for path in found if path.startswith(directory)}


def cleans_up(name, binary, number):
    """Does the rig end with a signal, and everything of it? What is wrong, or ''."""
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(name, '--binary', binary, directory=directory)
        busy, end = set(), time.monotonic() + 60
        while not busy and time.monotonic() < end and rig.process.poll() is None:
            time.sleep(0.2)
            busy = leftovers(directory)
        time.sleep(4)  # into its work
        rig.process.send_signal(number)
        try:
            rig.end(ENDS_S)
        except subprocess.TimeoutExpired:
            rig.process.kill()
            return f'it still runs {ENDS_S} s later'
        end = time.monotonic() + ENDS_S
        while leftovers(directory) and time.monotonic() < end:
            time.sleep(0.1)
        left = leftovers(directory)
        if number == signal.SIGTERM:  # SIGKILL leaves an empty directory
            left.update(os.listdir(directory))
        return f'left behind: {left}' if left or not busy else ''


def needs_root(name, binary):
    """What does the rig say without root? What is wrong, or ''."""
    rig = Rig(name, '--binary', binary, before='os.seteuid(65534)')
    status = rig.end(ENDS_S)
    wrong = status != 1 or 'needs root' not in rig.said or 'executed=0' not in rig.said
    return f'exit status {status}: {rig.said}' if wrong else ''


def main():
    parser = argparse.ArgumentParser(description='Tests of a rig; see the head of this file.')
    parser.add_argument('rig', choices=list(BUGS))
    parser.add_argument('--binary', default='build-test/holdfast')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    tests = [(f'finds {bug} on {kind}', finds, (bug, kind)) for bug, kind in BUGS[options.rig]]
    tests += [('ends with SIGTERM', lambda *a: (cleans_up(*a), ''), (signal.SIGTERM,)),
              ('ends with SIGKILL', lambda *a: (cleans_up(*a), ''), (signal.SIGKILL,)),
              ('needs root', lambda *a: (needs_root(*a), ''), ())]
    failed = 0
    for what, test, arguments in tests:
        begin = time.monotonic()
        wrong, found = test(options.rig, options.binary, *arguments)
        failed += wrong != ''
        print(f'{"FAILED" if wrong else "ok"}: {what}: {wrong or found[:200] or "yes"}; '
              f'{time.monotonic() - begin:.0f} s', flush=True)
    print(f'LAYER power-{options.rig}-self required={len(tests)} executed={len(tests)} '
          f'failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
