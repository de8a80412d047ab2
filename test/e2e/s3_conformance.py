#!/usr/bin/env python3
"""The edges of the S3 door, case by case: what S3 answers to requests that clients rarely send, and
that attackers and mistakes do.

    s3_conformance.py BINARY [GROUP...]

One server for all that need no OPTIONS of their own; one file of test/e2e/conformance per group of
operations, one bucket each.
Python's standard library only. Prints `LAYER s3-conformance required= executed= failed=`, where one
test is one case.
"""
import importlib
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, 'conformance')]
from kit import Cases  # noqa: E402
from server import Server, free_port  # noqa: E402

GROUPS = sorted(name[:-3] for name in os.listdir(os.path.join(HERE, 'conformance'))
                if name.endswith('.py') and name != 'kit.py')


def run_group(server, name):
    """How many cases were judged, and what was wrong."""
    start = time.monotonic()
    bucket = 'g-' + name.replace('_', '-')
    cases = Cases(name, server, bucket)
    made = cases.call('PUT')
    if made.status != 200:
        return 0, [f'{name}: no bucket: {made.body}']
    cases.run(importlib.import_module(f'conformance.{name}').run)
    print(f'{"FAILED" if cases.failures else "ok    "} {name}: {len(cases.names)} cases'
          f' ({time.monotonic() - start:.1f} s)', flush=True)
    for failure in cases.failures:
        print(f'    {failure}', flush=True)
    return len(cases.names), cases.failures


def run_groups(binary, folder, options, names):
    """A server of these options and the groups that need it; cases executed and failed."""
    os.mkdir(folder)
    server = Server([binary], f'{folder}/d', f'{folder}/log', ['--s3-domain', 's3.example', *options])
    server.s3_address = f'127.0.0.1:{free_port()}'
    executed = failed = 0
    try:
        server.start()
        for name in names:
            count, failures = run_group(server, name)
            executed += count
            failed += len(failures)
        if server.stop() != 0:
            print('FAILED: the server did not end with 0')
            failed += 1
    finally:
        server.end()
    return executed, failed


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    folder = tempfile.mkdtemp(prefix='holdfast-s3-conformance-')
    servers = {}
    for name in argv[2:] or GROUPS:
        options = getattr(importlib.import_module(f'conformance.{name}'), 'OPTIONS', [])
        servers.setdefault(tuple(options), []).append(name)
    executed = failed = 0
    try:
        for i, (options, names) in enumerate(servers.items()):
            counts = run_groups(os.path.abspath(argv[1]), f'{folder}/{i}', options, names)
            executed += counts[0]
            failed += counts[1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f'LAYER s3-conformance required=1 executed={max(executed, failed)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
