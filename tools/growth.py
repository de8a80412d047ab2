#!/usr/bin/env python3
"""Measures how holdfast behaves as the number of its files grows.

    growth.py [--quick] [--write] [--sizes N,N,…] [--body BYTES] [--dir DIR] [--lock FILE]
              [--fill NEW | --filled DIR] [--holdfast PROGRAM] [--tools DIR]

One server, one bucket, filled to each size in turn with files of --body bytes (256 unless given)
whose names, 40 bytes long, come in no order; a second server keeps as many files as the first
size, because lists of both are timed in turn. At each size, the server quiet: disk beside the
bodies, lists of 1,000 from random places, random GETs and PUTs of new names over 64 connections,
DELETE of 2,000 files, memory, clean stops and starts, idle memory. At the last size: kill -9 in the
middle of a full load of PUTs, and the start after it. A start counts as the median of three.

Filling takes most of the time. --fill NEW does nothing else and leaves the folder of a stopped
server for each size in NEW; --filled DIR measures such ones, once, for they grow by it. --lock
FILE: a shared flock on it is held while a piece is filled, an exclusive one while something is
timed (if it is to be had within 15 minutes), so that other work on the machine that takes it can
wait. How many cores others had meanwhile is in the column `others_cores` (0.3: a third of one core).

--write leaves the figures in docs/growth.csv and plots them as docs/growth.svg, anew after each
size. Bars (check_bars() below) are checked at every size that they speak of; a missed one is a
failed test. --quick: 10^4, 10^5 and 10^6 files. Ends with `LAYER growth required= executed=
failed=`. The folder in --dir is removed in the end, after a failure too.
"""
import argparse
import contextlib
import csv
import http.client
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

import bench
from bench import free_port
from machine import Machine

ROOT = bench.ROOT
CSV = os.path.join(ROOT, 'docs/growth.csv')
PLOT = os.path.join(ROOT, 'docs/growth.svg')
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
QUICK = (10_000, 100_000, 1_000_000)
CONNECTIONS = 64
FILL_CONNECTIONS = 256  # larger groups for the log: it takes less time
FILL_PIECE = 50_000  # PUTs, between which the lock is given up
PREFIX = 'department/project-000001/fold/'  # 31 bytes; a slash and eight digits follow
LIST_ROUNDS, LISTS = 5, 40  # rounds, lists of each server in one
PUTS = 20_000  # of new names that are timed, at most
GETS = 200_000  # random ones, …
FULL_GETS = 1_000_000  # … unless --quick: as many as files
DELETES = 2000
STARTS = 3  # of each kind, of which the median counts
TRIES = 3  # of what is too slow: the machine may have stood still
KILL_SECONDS = 4  # of load before kill -9, …
LOADED_MIN = 50  # … in whose last half second the log took so many records at least
IDLE_MAX = 20e6  # bytes resident
ANON_MAX = 64 << 20  # RssAnon beside the configured caches
BESIDE_MAX = 400  # bytes per file, …
BESIDE_FROM = 1_000_000  # … of so many; with fewer the log's spare segments weigh more than they
QUIET_SECONDS = 65  # after a minute without changes the spare segments are given back
SPARES_KEPT = 2
SETTLE_SECONDS = 240  # at most until the disk is as it stays
LIST_MAX = 2.0  # times the p50 of the first size
START_MAX = 2.0  # seconds, up to 10^6 files
KILLED_START_MAX = 5.0


class Store:
    """The server under test, which is stopped and started on one directory."""

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.data = os.path.join(work, 'data')
        self.port = free_port()
        self.server = None

    def start(self):
        """Starts it; seconds until it was ready."""
        os.makedirs(os.path.join(self.work, 'run'), exist_ok=True)
        run = tempfile.mkdtemp(dir=os.path.join(self.work, 'run'))
        self.server = bench.Holdfast(self.options, run)
        self.server.port = self.port
        begin = time.monotonic()
        self.server.spawn([self.options.holdfast, 'serve', '--data', self.data, '--s3', 'off', '--http',
                           f'127.0.0.1:{self.port}'])
        self.server.wait(lambda: self.server.request('GET', '/readyz') == 200)
        seconds = time.monotonic() - begin
        with open(os.path.join(self.data, 'root.key'), encoding='ascii') as key:
            self.server.auth = 'Bearer ' + key.read().strip()
        self.server.small_path = '/v1/buckets/growth/files/' + PREFIX.replace('/', '%2F')
        return seconds

    def make_bucket(self):
        if self.server.request('PUT', '/v1/buckets/growth') not in (200, 201):
            raise RuntimeError('no bucket')

    def stop(self):
        self.server.stop()

    def kill(self):
        """Ends the server at once, if it runs."""
        if self.server and self.server.process:
            self.server.process.kill()
            self.server.process.wait()
            self.server.log.close()

    def cpu_seconds(self):
        return self.server.cpu_seconds()

    def load(self, mode, keys, connections=CONNECTIONS, **more):
        return bench.load(self.server, self.options, mode, connections, self.options.body,
                          extra=['--scatter', '--keys', str(keys)], **more)

    def memory(self, field):
        """A field of /proc/PID/status in bytes."""
        with open(f'/proc/{self.server.process.pid}/status', encoding='ascii') as lines:
            for line in lines:
                if line.startswith(field + ':'):
                    return int(line.split()[1]) * 1024
        raise RuntimeError(f'no {field}')

    def caches(self):
        """Bytes that its caches are configured to hold, as it told at start."""
        with open(self.server.log.name, encoding='utf-8') as lines:
            for line in lines:
                if '"node.memory"' in line:
                    told = json.loads(line)
                    return told['index'] + told['cache']
        raise RuntimeError('no node.memory in the log')

    def disk(self):
        """Bytes that the directory takes, but for the audit log: that one grows with the changes, up to
        what its settings say (1 GiB), not with the files."""
        total = 0
        for folder, _, names in os.walk(self.data):
            if os.path.relpath(folder, self.data) == 'audit':
                continue
            for name in names:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
        return total

    def spares(self):
        return sum(name.startswith('wal.spare.') for name in os.listdir(self.data))

    def settled_disk(self):
        """Bytes that the directory takes when the server has been quiet for a minute, the log has
        given its spare segments back, and nothing changes any more."""
        time.sleep(QUIET_SECONDS)
        end = time.monotonic() + SETTLE_SECONDS
        before, now = 0, self.disk()
        while (before != now or self.spares() > SPARES_KEPT) and time.monotonic() < end:
            time.sleep(2)
            before, now = now, self.disk()
        return now

    def list_us(self, connection, after):
        """µs that a list of 1,000 behind the name `after` takes."""
        path = f'/v1/files?bucket=growth&limit=1000&after={PREFIX.replace("/", "%2F")}{after:08d}'
        begin = time.perf_counter()
        connection.request('GET', path, headers={'Authorization': self.server.auth})
        answer = connection.getresponse()
        body = answer.read()
        taken = (time.perf_counter() - begin) * 1e6
        if answer.status != 200 or body.count(PREFIX.encode()) < 1000:
            raise RuntimeError(f'a list gave {answer.status}: {body[:200]}')
        return taken

    def written(self):
        """Records that its log took since it started."""
        connection = self.connect()
        connection.request('GET', '/metrics')
        text = connection.getresponse().read().decode()
        connection.close()
        name = 'holdfast_wal_appended_records_total'
        return sum(float(line.rsplit(' ', 1)[1]) for line in text.splitlines()
                   if line.startswith((name + ' ', name + '{')))

    def connect(self):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)


def checked(figures, what):
    if figures['failed'] or not figures['requests']:
        raise RuntimeError(f'{what}: {figures}')
    return figures


def fill(store, machine, have, size):
    while have < size:
        count = min(FILL_PIECE, size - have)
        with machine.shared():
            checked(store.load('put', 1, requests=count, first=have, connections=FILL_CONNECTIONS,
                               drain=have + count == size), 'PUT')
        have += count


def at_best(most, measured):
    """The least of what measured() gives, which is called again while that is more than `most`."""
    least = measured()
    for _ in range(TRIES - 1):
        if least <= most:
            break
        least = min(least, measured())
    return least


def list_ratio(row, store, small):
    """One list of either server in turn, so that what else happens on the machine falls on both:
    the ratio is the median of the rounds' ratios of p50."""
    generator = random.Random(row['files'])
    large_connection, small_connection = store.connect(), small.connect()
    ratios, all_times = [], []
    for _ in range(LIST_ROUNDS):
        many, few = [], []
        for _ in range(LISTS):
            after = generator.randrange(80_000_000)  # 1,000 follow if there are 10^4 names
            few.append(small.list_us(small_connection, after))
            many.append(store.list_us(large_connection, after))
        ratios.append(statistics.median(many) / statistics.median(few))
        all_times += many
    large_connection.close()
    small_connection.close()
    row['list_p50_us'] = statistics.median(all_times)
    row['list_p99_us'] = sorted(all_times)[int(len(all_times) * 0.99)]
    return statistics.median(ratios)


def measure_load(row, store, mode, keys, **more):
    figures = checked(store.load(mode, keys, **more), mode)
    for key in ('per_second', 'p50_us', 'p99_us', 'cpu_us'):
        row[f'{mode}_{key}'] = figures[key]


def start_seconds(row, store, machine):
    """Median of the seconds until it is ready after a clean stop."""
    starts, stops, resident = [], [], []
    for _ in range(STARTS):
        with machine.timed([store]):
            begin = time.monotonic()
            store.stop()
            stops.append(time.monotonic() - begin)
            starts.append(store.start())
        time.sleep(1)
        resident.append(store.memory('VmRSS'))
    row['stop_seconds'] = statistics.median(stops)
    row['idle_bytes'] = statistics.median(resident)  # one start may find work to do
    return statistics.median(starts)


def measure_disk(store, size):
    """Bytes per file beside its body, in a dict."""
    waits = size >= BESIDE_FROM or not store.options.quick
    taken = store.settled_disk() if waits else store.disk()
    return {'disk_beside_bytes': taken / size - store.options.body}


def measure(row, store, small, machine):
    """Measures a server that has row['files'] files, to which it adds; how many it has then."""
    size = row['files']
    puts = min(PUTS, size // 2)
    with machine.timed([store, small]):
        row['list_ratio'] = at_best(LIST_MAX, lambda: list_ratio(row, store, small))
    with machine.timed([store]):
        gets = GETS if store.options.quick else max(GETS, min(size, FULL_GETS))
        measure_load(row, store, 'get', size, requests=gets)
        row['anon_bytes'] = store.memory('RssAnon')
        row['cache_bytes'] = store.caches()
    with machine.timed([store]):
        measure_load(row, store, 'put', 1, requests=puts, first=size, drain=True)
        have = size + puts - DELETES
        measure_load(row, store, 'delete', 1, requests=DELETES, first=have, drain=True)
    row['start_seconds'] = at_best(START_MAX, lambda: start_seconds(row, store, machine))
    row['others_cores'] = machine.others_cores()
    return have


def kill_loaded(store, written):
    """Kills it; before, what its log took in the last half second goes to written."""
    before = store.written()
    time.sleep(0.5)
    written.append(store.written() - before)
    store.server.process.kill()


def killed_start_seconds(store, machine, begin):
    """Kills it under load; median of the seconds until it is ready again. Of each kill begin() gives
    the first key of the load."""
    starts, written = [], []
    for i in range(TRIES * STARTS):
        if len(starts) == STARTS:
            break
        killer = threading.Timer(KILL_SECONDS, kill_loaded, (store, written))
        with machine.timed([store]):
            killer.start()
            # It must still be loaded when it is killed; its failures then are the point.
            store.load('put', 1, seconds=KILL_SECONDS + 5, first=begin())
            killer.join()
            store.kill()
            seconds = store.start()
        if len(written) == i + 1 and written[-1] >= LOADED_MIN:
            starts.append(seconds)
    if len(starts) < STARTS:
        raise RuntimeError(f'it was killed without a load: {written} records in the last half '
                           f'seconds, {LOADED_MIN} are the least')
    print(f'ready after kill -9: {", ".join(f"{start:.2f}" for start in starts)} s; others had '
          f'{machine.others_cores():.2f} cores', flush=True)
    return statistics.median(starts)


def measure_killed(store, machine, size):
    first = itertools.count(size, 1_000_000)
    return at_best(KILLED_START_MAX,
                   lambda: killed_start_seconds(store, machine, lambda: next(first)))


def check_bars(rows, killed):
    """(what, measured, at most) of every bar."""
    first = rows[0]
    for row in rows:
        size = row['files']
        if size >= BESIDE_FROM:
            yield f'{size:,} files: disk beside the bodies', row['disk_beside_bytes'], BESIDE_MAX
        yield f'{size:,} files: resident when idle', row['idle_bytes'], IDLE_MAX
        yield (f'{size:,} files: RssAnon after random GETs, beside {row["cache_bytes"]:.0f} of '
               'caches', row['anon_bytes'] - row['cache_bytes'], ANON_MAX)
        if row is not first:
            yield (f'{size:,} files: p50 of a list to that of {first["files"]:,}',
                   row['list_ratio'], LIST_MAX)
        if size <= 1_000_000:
            yield f'{size:,} files: start after a clean stop, s', row['start_seconds'], START_MAX
    yield 'start after kill -9 at full load, s', killed, KILLED_START_MAX


def write_csv(rows):
    with open(CSV, 'w', encoding='utf-8', newline='') as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator='\n')
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f'{value:.6g}' if isinstance(value, float) else value
                             for key, value in row.items()})


def plot(rows):
    import matplotlib  # only --write needs it
    matplotlib.use('svg')
    matplotlib.rcParams['svg.hashsalt'] = 'holdfast'
    from matplotlib import pyplot
    files = [row['files'] for row in rows]
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), layout='constrained')
    panels = (
        ('requests per second, 64 connections', 1, False,
         (('PUT', 'put_per_second'), ('GET', 'get_per_second'), ('DELETE', 'delete_per_second'))),
        ('p50, ms', 1e-3, False,
         (('PUT', 'put_p50_us'), ('GET', 'get_p50_us'), ('list of 1,000', 'list_p50_us'))),
        ('p99, ms', 1e-3, True, (('PUT', 'put_p99_us'), ('GET', 'get_p99_us'),
                                 ('list of 1,000', 'list_p99_us'))),
        ('disk beside the bodies, bytes per file', 1, False, (('', 'disk_beside_bytes'),)),
        ('memory, MiB', 1 / (1 << 20), False,
         (('idle, resident', 'idle_bytes'), ('anonymous after GETs', 'anon_bytes'))),
        ('seconds', 1, False, (('start', 'start_seconds'), ('stop', 'stop_seconds'))),
    )
    for axis, (title, scale, logarithmic, lines) in zip(axes.flat, panels):
        for label, key in lines:
            axis.plot(files, [row[key] * scale for row in rows], marker='o', label=label or None)
        axis.set_xscale('log')
        axis.set_title(title)
        axis.set_xlabel('files')
        if logarithmic:
            axis.set_yscale('log')
        else:
            axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if len(lines) > 1:
            axis.legend()
    figure.savefig(PLOT, metadata={'Date': None})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--quick', action='store_true', help='10^4, 10^5 and 10^6 files')
    parser.add_argument('--write', action='store_true', help='leave docs/growth.csv and .svg')
    parser.add_argument('--sizes', help='numbers of files, rising')
    parser.add_argument('--body', type=int, default=256, help='bytes of each file, from 32')
    parser.add_argument('--dir', default=ROOT, help='on the disk to measure')
    parser.add_argument('--lock', help='a file that is locked while something is timed')
    parser.add_argument('--fill', metavar='NEW', help='only fill, and leave a folder of each size')
    parser.add_argument('--filled', metavar='DIR', help='measure once what --fill left there')
    parser.add_argument('--holdfast', default=os.path.join(ROOT, 'build-release/holdfast'))
    parser.add_argument('--tools', default=os.path.join(ROOT, 'build-test/test'))
    options = parser.parse_args()
    options.seconds = 1.0
    options.keys = 1
    sizes = QUICK if options.quick else SIZES[:5]
    if options.write:
        importlib.import_module('matplotlib')  # so that it is missed before hours have passed
    options.sizes = [int(n) for n in options.sizes.split(',')] if options.sizes else sizes
    return options


@contextlib.contextmanager
def served(options, folder):
    """A server on a folder, which is made if need be; killed in the end."""
    new = not os.path.exists(folder)
    os.makedirs(folder, exist_ok=True)
    store = Store(options, folder)
    try:
        store.start()
        if new:
            store.make_bucket()
        yield store
    finally:
        store.kill()


def write_all(options, rows):
    print(json.dumps(rows[-1]), flush=True)
    if options.write:
        write_csv(rows)
        plot(rows)


def run(options, machine, work):
    """Fills and measures, size by size: (rows, seconds until ready after kill -9)"""
    rows = []
    with served(options, os.path.join(work, 'store')) as store, \
            served(options, os.path.join(work, 'small')) as small:
        fill(small, machine, 0, options.sizes[0])
        have = 0
        for size in options.sizes:
            fill(store, machine, have, size)
            rows.append({'files': size, **measure_disk(store, size)})
            have = measure(rows[-1], store, small, machine)
            write_all(options, rows)
        return rows, measure_killed(store, machine, have)


def run_fill(options, machine):
    """Fills, and leaves a stopped server's folder of each size."""
    os.mkdir(options.fill)
    growing = os.path.join(options.fill, 'growing')
    have = 0
    for size in options.sizes:
        with served(options, growing) as store:
            fill(store, machine, have, size)
            row = {'files': size, **measure_disk(store, size)}
            store.stop()
        print(json.dumps(row), flush=True)
        folder = os.path.join(options.fill, str(size))
        with machine.shared():
            if size == options.sizes[-1]:
                os.rename(growing, folder)
            else:
                shutil.copytree(growing, folder)
        with open(os.path.join(folder, 'row.json'), 'w', encoding='ascii') as out:
            json.dump(row, out)
        have = size


def run_filled(options, machine, work):
    """Measures what run_fill() left, which is used up by it: as run()."""
    rows = []
    with served(options, os.path.join(work, 'small')) as small:
        fill(small, machine, 0, options.sizes[0])
        for size in options.sizes:
            folder = os.path.join(options.filled, str(size))
            with open(os.path.join(folder, 'row.json'), encoding='ascii') as text:
                rows.append(json.load(text))
            with served(options, folder) as store:
                have = measure(rows[-1], store, small, machine)
                write_all(options, rows)
                killed = None
                if size == options.sizes[-1]:
                    killed = measure_killed(store, machine, have)
    return rows, killed


def stop_at(number, _):
    signal.signal(number, signal.SIG_IGN)  # while the folder is removed
    sys.exit(128 + number)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, stop_at)
    print(bench.enter_namespace())
    machine = Machine(options.lock)
    if options.fill:
        run_fill(options, machine)
        return 0
    with tempfile.TemporaryDirectory(prefix='build-growth-', dir=options.dir) as work:
        rows, killed = (run_filled if options.filled else run)(options, machine, work)
    executed = failed = 0
    for what, value, most in check_bars(rows, killed):
        executed += 1
        failed += value > most
        print(f'{"FAILED" if value > most else "ok"}: {what}: {value:,.2f}, at most {most:,.0f}')
    print(f'LAYER growth required={executed} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
