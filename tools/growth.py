#!/usr/bin/env python3
"""Measures how holdfast behaves as the number of its files grows.

    growth.py [--quick] [--write] [--sizes N,N,…] [--body BYTES] [--dir DIR]
              [--holdfast PROGRAM] [--tools DIR]

One server, one bucket, filled to each size in turn with files of --body bytes (256 unless given)
whose names, 40 bytes long, come in no order. At each size, the server quiet: PUT and random GET
over 64 connections, lists of 1,000 from random places, DELETE of 2,000 files, memory, disk beside
the bodies, a clean stop and start, idle memory, and memory after random GETs. At the last size:
kill -9 in the middle of a full load of PUTs, and the start after it.

--write leaves the figures in docs/growth.csv and plots them as docs/growth.svg. Bars (BARS below)
are checked at every size that they speak of; a missed one is a failed test. --quick: 10^4, 10^5
and 10^6 files. Ends with `LAYER growth required= executed= failed=`.
"""
import argparse
import csv
import http.client
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time

import bench

ROOT = bench.ROOT
CSV = os.path.join(ROOT, 'docs/growth.csv')
PLOT = os.path.join(ROOT, 'docs/growth.svg')
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
QUICK = (10_000, 100_000, 1_000_000)
CONNECTIONS = 64
PREFIX = 'department/project-000001/fold/'  # 31 bytes; a slash and eight digits follow
LISTS = 200
DELETES = 2000
GET_SECONDS = 5
IDLE_MAX = 20e6  # bytes resident
ANON_MAX = 64 << 20  # RssAnon beside the configured caches
BESIDE_MAX = 400  # bytes per file, …
BESIDE_FROM = 1_000_000  # … of so many; with fewer the log's spare segments weigh more than they
QUIET_SECONDS = 70  # after a minute without changes the spare segments are given back
START_MAX = 2.0  # seconds, up to 10^6 files
KILLED_START_MAX = 5.0


class Store:
    """The server under test, which is stopped and started on one directory."""

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.data = os.path.join(work, 'data')
        self.port = bench.free_port()
        self.server = None
        self.auth = None

    def start(self):
        """Starts it; seconds until it was ready."""
        os.makedirs(os.path.join(self.work, 'run'), exist_ok=True)
        run = tempfile.mkdtemp(dir=os.path.join(self.work, 'run'))
        self.server = bench.Holdfast(self.options, run)
        self.server.port = self.port
        begin = time.monotonic()
        self.server.spawn([self.options.holdfast, 'serve', '--data', self.data, '--http',
                           f'127.0.0.1:{self.port}'])
        self.server.wait(lambda: self.server.request('GET', '/readyz') == 200)
        seconds = time.monotonic() - begin
        with open(os.path.join(self.data, 'root.key'), encoding='ascii') as key:
            self.auth = 'Bearer ' + key.read().strip()
        self.server.auth = self.auth
        self.server.small_path = '/v1/buckets/growth/files/' + PREFIX.replace('/', '%2F')
        return seconds

    def stop(self):
        self.server.stop()

    def kill(self):
        self.server.process.kill()
        self.server.process.wait()
        self.server.log.close()

    def load(self, mode, keys, **more):
        return bench.load(self.server, self.options, mode, CONNECTIONS, self.options.body,
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
        """Bytes that the directory takes."""
        total = 0
        for folder, _, names in os.walk(self.data):
            for name in names:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
        return total

    def lists(self, count):
        """Latencies of lists of 1,000 from random names, in µs."""
        generator = random.Random(count)
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        times = []
        for _ in range(LISTS):
            after = PREFIX.replace('/', '%2F') + f'{generator.randrange(90_000_000):08d}'
            begin = time.perf_counter()
            connection.request('GET', f'/v1/files?bucket=growth&limit=1000&after={after}',
                               headers={'Authorization': self.auth})
            answer = connection.getresponse()
            body = answer.read()
            times.append((time.perf_counter() - begin) * 1e6)
            if answer.status != 200:
                raise RuntimeError(f'a list gave {answer.status}: {body[:200]}')
        connection.close()
        return times


def checked(figures, what):
    if figures['failed'] or not figures['requests']:
        raise RuntimeError(f'{what}: {figures}')
    return figures


def fill(store, row, have, size):
    put = checked(store.load('put', 1, requests=size - have, first=have, drain=True), 'PUT')
    row['put_per_second'] = put['per_second']
    row['put_p50_us'] = put['p50_us']
    row['put_p99_us'] = put['p99_us']
    row['put_cpu_us'] = put['cpu_us']


def measure(store, size, have):
    """Fills up to size and measures; a row of the table."""
    row = {'files': size}
    fill(store, row, have, size)
    time.sleep(QUIET_SECONDS if size >= BESIDE_FROM else 2)
    row['disk_beside_bytes'] = store.disk() / size - store.options.body
    listed = store.lists(size)
    row['list_p50_us'] = statistics.median(listed)
    row['list_p99_us'] = sorted(listed)[int(len(listed) * 0.99)]
    get = checked(store.load('get', size, seconds=GET_SECONDS), 'GET')
    row['get_per_second'] = get['per_second']
    row['get_p50_us'] = get['p50_us']
    row['get_p99_us'] = get['p99_us']
    row['anon_bytes'] = store.memory('RssAnon')
    row['cache_bytes'] = store.caches()
    gone = checked(store.load('delete', 1, requests=DELETES, first=size - DELETES, drain=True),
                   'DELETE')
    row['delete_per_second'] = gone['per_second']
    row['delete_p50_us'] = gone['p50_us']
    checked(store.load('put', 1, requests=DELETES, first=size - DELETES, drain=True), 'PUT')
    begin = time.monotonic()
    store.stop()
    row['stop_seconds'] = time.monotonic() - begin
    row['start_seconds'] = store.start()
    time.sleep(1)
    row['idle_bytes'] = store.memory('VmRSS')
    return row


def killed_start(store, size):
    """Kills it under load; seconds until it is ready again."""
    pid = os.fork()
    if pid == 0:
        time.sleep(5)
        store.server.process.send_signal(signal.SIGKILL)
        os._exit(0)
    store.load('put', 1, seconds=8, first=size)  # its failures are the point
    os.waitpid(pid, 0)
    store.kill()
    return store.start()


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
                   row['list_p50_us'] / first['list_p50_us'], 2)
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
        axis.set_ylim(bottom=None if logarithmic else 0)
        if logarithmic:
            axis.set_yscale('log')
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
    parser.add_argument('--holdfast', default=os.path.join(ROOT, 'build-release/holdfast'))
    parser.add_argument('--tools', default=os.path.join(ROOT, 'build-test/test'))
    options = parser.parse_args()
    options.seconds = 1.0
    options.keys = 1
    sizes = QUICK if options.quick else SIZES[:5]
    options.sizes = [int(n) for n in options.sizes.split(',')] if options.sizes else sizes
    return options


def run(options, work):
    rows = []
    store = Store(options, work)
    store.start()
    try:
        if store.server.request('PUT', '/v1/buckets/growth') not in (200, 201):
            raise RuntimeError('no bucket')
        have = 0
        for size in options.sizes:
            rows.append(measure(store, size, have))
            have = size
            print(json.dumps(rows[-1]), flush=True)
        return rows, killed_start(store, have)
    finally:
        store.server.stop()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(bench.enter_namespace())
    with tempfile.TemporaryDirectory(prefix='build-growth-', dir=options.dir) as work:
        rows, killed = run(options, work)
    executed = failed = 0
    for what, value, most in check_bars(rows, killed):
        executed += 1
        failed += value > most
        print(f'{"FAILED" if value > most else "ok"}: {what}: {value:,.2f}, at most {most:,.0f}')
    if options.write:
        write_csv(rows)
        plot(rows)
    print(f'LAYER growth required={executed} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
