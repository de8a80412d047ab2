#!/usr/bin/env python3
"""Measures what compaction costs clients: PUT load with compaction at work and without, in turn.

    bench_compaction.py [--pairs N] [--seconds S] [--files N] [--bar] [--dir DIR] [--lock FILE]
                        [--holdfast PROGRAM] [--tools DIR]

One root with packs of which two thirds are dead (files of two names were written side by side, those
of the one were deleted), enough for all turns, under 64 connections that PUT new files (4 KiB,
durable). Each turn the server is stopped and started again on this root, one time with its default
`compact-rate` and one time with 0, else with the same options; which of the two goes first changes
from pair to pair. The figure is the median over the pairs of PUT p99 with compaction divided by
that without; the bar is 2.

A pair counts only if compaction moved something in its turn with, and nothing in the one without.
--lock FILE: an exclusive flock on it is held during each pair, a shared one while the root is
filled, so that other work on the machine that takes it can wait; how many cores others had during
a pair all the same is printed. Ends with `LAYER bench-compaction required= executed= failed=`.
"""
import argparse
import copy
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402
from machine import Machine  # noqa: E402

CONNECTIONS = 64
BAR = 2.0


class Root(bench.Server):
    """One data directory, served with or without compaction."""
    name = 'holdfast'
    small_path = '/v1/buckets/bench/files/new-'

    def start(self, *options):
        data = os.path.join(self.dir, 'data')
        self.spawn([self.options.holdfast, 'serve', '--data', data, '--s3', 'off', '--http',
                    f'127.0.0.1:{self.port}', '--scrub-period', '0ms', *options])
        self.wait(lambda: self.request('GET', '/readyz') == 200)
        with open(os.path.join(data, 'root.key'), encoding='ascii') as key:
            self.auth = 'Bearer ' + key.read().strip()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def metrics(self):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.port}/metrics') as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in
                re.findall(r'^(holdfast_compact\w+) (\S+)$', text, re.M)}


def fill(server, options):
    """Packs whose files are by two thirds deleted."""
    def step(mode, path, connections, count):
        own = copy.copy(server)  # another path
        own.small_path = f'/v1/buckets/bench/files/{path}-'
        figures = bench.load(own, options, mode, connections, bench.SMALL, requests=count,
                             drain=mode == 'delete')
        if figures['failed'] > 0:
            raise RuntimeError(f'{mode} of {path}: {figures["failed"]} failed')
    server.start('--compact-rate', '0')
    if server.request('PUT', '/v1/buckets/bench') not in (200, 201):
        raise RuntimeError('no bucket')
    third = options.files // 3
    kept = threading.Thread(target=step, args=('put', 'kept', 21, third))
    kept.start()
    step('put', 'gone', 42, 2 * third)
    kept.join()
    step('delete', 'gone', CONNECTIONS, 2 * third)
    server.stop()


def turn(server, options, number, compacts):
    """Figures of one turn."""
    server.start(*([] if compacts else ['--compact-rate', '0']))
    figures = bench.load(server, options, 'put', CONNECTIONS, bench.SMALL,
                         first=number * 100_000_000, seconds=options.seconds)
    figures.update(server.metrics())
    server.stop()
    return figures


def worked(figures):
    return figures['holdfast_compaction_moved_bytes_total'] > 0


def print_turn(label, figures):
    print(f'  {label:8} {figures["per_second"]:8,.0f} PUT/s  p50 {figures["p50_us"] / 1000:6.2f} ms'
          f'  p99 {figures["p99_us"] / 1000:7.2f} ms; {figures["holdfast_compaction_packs_total"]:.0f} '
          f'packs compacted, {figures["holdfast_compaction_moved_bytes_total"] / 2 ** 20:.1f} MiB moved, '
          f'{figures["holdfast_compaction_freed_bytes_total"] / 2 ** 20:.0f} MiB freed', flush=True)


def run_pairs(server, options):
    """The pairs (with, without) that count, and what is wrong with the others."""
    pairs, problems = [], []
    machine = Machine(options.lock)
    with machine.shared():
        fill(server, options)
    for i in range(options.pairs):
        print(f'pair {i + 1}', flush=True)
        figures = {}
        with machine.timed([server]):
            for compacts in ((True, False) if i % 2 == 0 else (False, True)):
                figures[compacts] = turn(server, options, 2 * i + compacts, compacts)
                print_turn('with' if compacts else 'without', figures[compacts])
        print(f'  others had {machine.others_cores():.2f} cores', flush=True)
        if figures[True]['failed'] + figures[False]['failed'] > 0:
            problems.append(f'pair {i + 1}: requests failed')
        elif not worked(figures[True]) or worked(figures[False]):
            problems.append(f'pair {i + 1}: compaction had no work, or worked where it must not')
        else:
            pairs.append((figures[True], figures[False]))
    return pairs, problems


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--pairs', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=60.0, help='of each turn')
    parser.add_argument('--files', type=int, default=600_000, help='that stand there first')
    parser.add_argument('--bar', action='store_true', help='a ratio above 2 is a failure')
    parser.add_argument('--dir', default=bench.ROOT, help='on the disk to measure')
    parser.add_argument('--lock', help='a file that is locked while something is timed')
    parser.add_argument('--holdfast', default=os.path.join(bench.ROOT, 'build-release/holdfast'))
    parser.add_argument('--tools', default=os.path.join(bench.ROOT, 'build-test/test'))
    options = parser.parse_args()
    options.keys = options.files  # bench.load()'s
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    network = bench.enter_namespace()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='build-bench-', dir=options.dir) as work:
        server = Root(options, work)
        try:
            pairs, problems = run_pairs(server, options)
        finally:
            server.stop()
    ratios = [a['p99_us'] / b['p99_us'] for a, b in pairs]
    if ratios:
        median = statistics.median(ratios)
        print(f'PUT p99 with compaction / without: median {median:.2f} of '
              + ', '.join(f'{ratio:.2f}' for ratio in ratios)
              + f'; {options.pairs} pairs of {options.seconds:g} s, {network}, '
              f'{time.monotonic() - began:.0f} s in all')
        print(f'PUT/s with / without: median '
              f'{statistics.median(a["per_second"] / b["per_second"] for a, b in pairs):.2f}')
        if options.bar and median > BAR:
            problems.append(f'the median is above {BAR:g}')
    for problem in problems:
        print(f'FAILED {problem}')
    with open(os.path.join(bench.ROOT, 'build-logs/bench-compaction.json'), 'w',
              encoding='utf-8') as out:
        json.dump(pairs, out, indent=1)
    print(f'LAYER bench-compaction required={options.pairs} executed={options.pairs} '
          f'failed={len(problems)}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
