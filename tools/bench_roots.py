#!/usr/bin/env python3
"""Measures a server with three storage roots beside one with one root, in one run.

    bench_roots.py [--rounds N] [--seconds S] [--keys N] [--large N] [--only REGEX] [--bars]
                   [--dir DIR] [--holdfast PROGRAM] [--tools DIR]

Both servers, and bench-limit writing large bodies three times, run at the same time in a network
namespace with reno (root only); rows are loaded in turn, and a ratio is the median of the rounds'.
Three roots stand on one disk here, which takes every byte three times. Reseed: a root of at least
1 GiB is given an empty directory in its place while PUTs of 4 KiB go on; beside it the time of
copying the same files. Ends with `LAYER bench-roots …`; exits 1 if a request failed, or with --bars
if a bar is missed.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bench
from bench import LARGE, SMALL, Holdfast, Limit, Row, load, median, ratio

RESEED_BYTES = 1 << 30
RESEED_SECONDS = 300


class One(Holdfast):
    name = 'one'


class Three(Holdfast):
    name = 'three'
    roots = 3

    def data(self):
        return [os.path.join(self.dir, f'data{i}') for i in range(self.roots)]

    def serve(self):
        command = [self.options.holdfast, 'serve', '--s3', 'off', '--http',
                   f'127.0.0.1:{self.port}']
        for data in self.data():
            command += ['--data', data]
        self.spawn(command)
        self.wait(lambda: self.request('GET', '/readyz') == 200)
        with open(os.path.join(self.data()[0], 'root.key'), encoding='ascii') as key:
            self.auth = 'Bearer ' + key.read().strip()

    def start(self):
        self.serve()
        status = self.request('PUT', '/v1/buckets/bench')
        if status not in (200, 201):
            raise RuntimeError(f'three: making a bucket gave {status}')
        load(self, self.options, 'put', 64, SMALL, requests=self.options.keys, drain=True)
        load(self, self.options, 'put', 1, LARGE, requests=bench.LARGE_KEYS, drain=True)

    def in_sync(self):
        text = subprocess.run(
            [self.options.holdfast, 'admin', 'roots', '--json', '--url',
             f'http://127.0.0.1:{self.port}', '--key', self.auth.split()[1]],
            capture_output=True, text=True, check=False).stdout
        return f'"synced":{self.roots}' in text.replace(' ', '')

    def end(self):
        self.process.terminate()
        self.process.wait(120)


class Written(Limit):
    """The limit program, which writes large bodies three times."""
    name = 'limit'

    def start(self):
        self.spawn([os.path.join(self.options.tools, 'bench-limit'), '--port', str(self.port),
                    '--dir', self.dir, '--keys', str(self.options.keys), '--copies', '3'])
        self.wait(lambda: os.path.getsize(self.log.name) > 0 and self.request('GET', '/k0') == 200)


# Row, server that it is compared with, key, bar, and whether more is better.
ROWS = [
    (Row('PUT 4 KiB, 64 connections', 'put', 64, SMALL), 'one', 'per_second', 0.5, True),
    (Row('PUT 4 KiB, 1 connection', 'put', 1, SMALL), 'one', 'p50_us', 1.6, False),
    (Row('PUT 64 MiB, 4 connections', 'put', 4, LARGE), 'limit', 'per_second', 0.8, True),
    (Row('GET 4 KiB, 64 connections', 'get', 64, SMALL), 'one', 'per_second', 0.95, True),
]


def tree_bytes(path):
    return sum(os.path.getsize(os.path.join(folder, name))
               for folder, _, names in os.walk(path) for name in names)


def copy_seconds(source, target):
    """Time of copying the files of a root, synced."""
    begun = time.monotonic()
    shutil.copytree(source, target)
    subprocess.run(['sync', '-f', target], check=True)
    seconds = time.monotonic() - begun
    shutil.rmtree(target)
    return seconds


def reseed(server, options):
    """(p99 before, p99 while, seconds of it, seconds of a copy) of 4 KiB PUTs, 64 connections."""
    missing = RESEED_BYTES - tree_bytes(server.data()[2])
    if missing > 0:
        load(server, options, 'put', 1, LARGE, requests=1 + missing // LARGE, drain=True)
    before = load(server, options, 'put', 64, SMALL, first=7_000_000_000, drain=True)
    server.end()
    copied = copy_seconds(server.data()[2], os.path.join(server.dir, 'copy'))
    shutil.rmtree(server.data()[2])
    os.mkdir(server.data()[2])
    server.serve()
    begun = time.monotonic()
    done = []
    watch = threading.Thread(target=lambda: done.append(wait_in_sync(server, begun)))
    watch.start()
    figures = []
    while watch.is_alive():
        figures.append(load(server, options, 'put', 64, SMALL, seconds=2,
                            first=8_000_000_000 + len(figures) * 10_000_000))
    watch.join()
    failed = sum(one['failed'] for one in figures) + before['failed']
    while_p99 = statistics.median(one['p99_us'] for one in figures)
    return before['p99_us'], while_p99, done[0], copied, failed


def wait_in_sync(server, begun):
    while not server.in_sync():
        if time.monotonic() - begun > RESEED_SECONDS:
            return None
        time.sleep(0.1)
    return time.monotonic() - begun


def say_row(row, to, key, bar, more):
    value = ratio(row, 'three', to, key)
    reached = value is not None and (value >= bar if more else value <= bar)
    ours, theirs = median(row, 'three', key), median(row, to, key)
    sign = '≥' if more else '≤'
    print(f'| {row.name} | {key} | {bench.number(ours, row.large())} | {to} '
          f'{bench.number(theirs, row.large())} | {"–" if value is None else f"{value:.2f}"} | '
          f'{sign} {bar} | {"reached" if reached else "missed"} |', flush=True)
    return reached


def run_row(item, servers, options):
    """Loads a row in turn; is its bar reached, and what failed?"""
    row, to, key, bar, more = item
    for i in range(options.rounds):
        for server in (servers['three'], servers[to]):
            first, requests = 0, 0
            if row.large():
                requests = options.large
            elif row.mode == 'put':
                first = (1 + [one[0] for one in ROWS].index(row)) * 1_000_000_000 + i * 10_000_000
            figures = load(server, options, row.mode, row.connections, row.size, first=first,
                           requests=requests, drain=server.drains and row.mode == 'put')
            row.figures.setdefault(server.name, []).append(figures)
            if figures['failed'] > 0 or figures['requests'] == 0:
                row.problems.append(f'{server.name}: {figures}')
    return say_row(row, to, key, bar, more), row.problems


def run_reseed(server, options):
    before, during, seconds, copied, failed = reseed(server, options)
    reached = seconds is not None and during <= 2 * before and seconds <= 3 * copied
    text = f'not within {RESEED_SECONDS} s' if seconds is None else f'{seconds:.1f} s'
    print(f'| reseed of 1 GiB beside PUT 4 KiB, 64 connections | p99 | {bench.micros(during)} | '
          f'before {bench.micros(before)} | {during / before:.2f} | ≤ 2 | |\n'
          f'| the same | time | {text} | copy {copied:.1f} s | '
          f'{"–" if seconds is None else f"{seconds / copied:.2f}"} | ≤ 3 | '
          f'{"reached" if reached else "missed"} |', flush=True)
    return reached, [f'reseed: {failed} requests failed'] if failed else []


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--seconds', type=float, default=4)
    parser.add_argument('--keys', type=int, default=20_000)
    parser.add_argument('--large', type=int, default=8)
    parser.add_argument('--only', default='', help='rows whose name matches')
    parser.add_argument('--bars', action='store_true', help='a missed bar is a failure')
    parser.add_argument('--dir', default=bench.ROOT, help='on the disk to measure')
    parser.add_argument('--holdfast', default=os.path.join(bench.ROOT, 'build-release/holdfast'))
    parser.add_argument('--tools', default=os.path.join(bench.ROOT, 'build-test/test'))
    return parser.parse_args()


def main():
    options = arguments()
    options.short = True
    print(bench.enter_namespace())
    rows = [item for item in ROWS if re.search(options.only, item[0].name)]
    wants_reseed = re.search(options.only, 'reseed') is not None
    servers = {}
    results = []
    with tempfile.TemporaryDirectory(prefix='build-bench-', dir=options.dir) as work:
        try:
            for kind in (One, Three, Written):
                servers[kind.name] = kind(options, work)
                servers[kind.name].start()
            print('| load | what | three roots | beside | ratio | bar | |\n|---|---|---|---|---|---|---|')
            results += [run_row(item, servers, options) for item in rows]
            if wants_reseed:
                servers['one'].stop()
                results.append(run_reseed(servers['three'], options))
        finally:
            for server in servers.values():
                server.stop()
    print(bench.machine(options, ''))
    for _, problems in results:
        for problem in problems:
            print(f'FAILED {problem}')
    missed = sum(1 for reached, _ in results if not reached) if options.bars else 0
    failed = sum(1 for _, problems in results if problems) + missed
    print(f'LAYER bench-roots required={len(rows) + wants_reseed} executed={len(results)} '
          f'failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
