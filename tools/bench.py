#!/usr/bin/env python3
"""Measures holdfast beside this machine's own limit and nginx, in one run.

    bench.py [--quick] [--write] [--bars] [--only REGEX] [--servers limit,holdfast,nginx]
             [--rounds N] [--seconds S] [--keys N] [--large N] [--dir DIR]
             [--holdfast PROGRAM] [--tools DIR]

All servers run at the same time in a network namespace of their own with reno (root only; else in
this one, which the table says). Each row is loaded in turn, A B C A B C, and a ratio is the median
of the rounds' ratios, so what else happens on the machine falls on all of them. CPU is the
server's (all threads, user and system, until it is quiet again) per request. What is compared:
see docs/benchmarks.md, which --write brings up to date.

A row has failed if a request failed or none was made. Rows of holdfast have bars (BARS below): the
table says for each whether it was reached, and with --bars a missed one is a failure too; without,
a short run on a busy machine says little. Ends with `LAYER bench required= executed= failed=`;
exits 1 if a row failed. All figures of all rounds are left in build-logs/bench.json.
"""
import argparse
import ctypes
import datetime
import http.client
import json
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(ROOT, 'test/e2e'))
from ports import free_port  # noqa: E402

DOCUMENT = os.path.join(ROOT, 'docs/benchmarks.md')
BEGIN, END = '<!-- figures: begin -->', '<!-- figures: end -->'
RECORD = os.path.join(ROOT, 'build-logs/bench.json')
SMALL, LARGE = 4096, 64 << 20
LARGE_KEYS = 4
CLONE_NEWNET = 0x40000000
START_SECONDS = 60
NGINX_CONF = '''daemon off; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/error.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {{ listen 127.0.0.1:{port} reuseport backlog=1024; root {dir}/files; }}
}}
'''


@dataclass
class Row:
    """One kind of load."""
    name: str
    mode: str  # put, get or mix
    connections: int
    size: int
    bars: tuple = ()
    seconds: float = 0  # per round and server in a full run; 0: as all rows
    figures: dict = field(default_factory=dict)  # server name -> list of results, one per round
    problems: list = field(default_factory=list)

    def large(self):
        return self.size == LARGE


@dataclass(frozen=True)
class Bar:
    """What holdfast must reach in a row."""
    kind: str  # limit, nginx: ratio of requests per second; cpu: µs; raw: p50 in raw synced writes
    value: float

    def measured(self, row, raw_us):
        if self.kind in ('limit', 'nginx'):
            return ratio(row, 'holdfast', self.kind)
        if self.kind == 'cpu':
            return median(row, 'holdfast', 'cpu_us')
        p50_us = median(row, 'holdfast', 'p50_us')
        return None if p50_us is None or not raw_us else p50_us / raw_us

    def reached(self, row, raw_us):
        """None: it was not measured."""
        value = self.measured(row, raw_us)
        if value is None:
            return None
        return value >= self.value if self.kind in ('limit', 'nginx') else value <= self.value

    def text(self, row, raw_us):
        value = self.measured(row, raw_us)
        words = {'limit': '≥ {} × limit', 'nginx': '≥ {} × nginx', 'cpu': '≤ {} µs CPU',
                 'raw': '≤ {} × raw write'}[self.kind].format(f'{self.value:g}')
        verdict = {True: 'yes', False: 'no', None: 'not measured'}[self.reached(row, raw_us)]
        return f'{words}: {verdict}' + ('' if value is None else f' ({value:.2f})')


ROWS = [
    Row('GET 4 KiB, 1 connection', 'get', 1, SMALL),
    Row('GET 4 KiB, 64 connections', 'get', 64, SMALL, (Bar('nginx', 0.9),)),
    Row('PUT 4 KiB, 1 connection', 'put', 1, SMALL, (Bar('raw', 1.5),)),
    Row('PUT 4 KiB, 64 connections', 'put', 64, SMALL, (Bar('limit', 0.5), Bar('cpu', 60)), 60),
    Row('70 % GET 30 % PUT 4 KiB, 64 connections', 'mix', 64, SMALL, (Bar('limit', 0.55),)),
    Row('GET 64 MiB, 1 connection', 'get', 1, LARGE, (Bar('nginx', 0.9),)),
    Row('GET 64 MiB, 8 connections', 'get', 8, LARGE, (Bar('nginx', 0.8),)),
    Row('PUT 64 MiB, 1 connection', 'put', 1, LARGE),
    Row('PUT 64 MiB, 4 connections', 'put', 4, LARGE, (Bar('limit', 0.8),)),
]


class Server:
    """A server in a directory of its own. path: of small files, to which a number is added."""
    name = ''
    modes = ('put', 'get', 'mix')
    small_path = '/k'
    large_path = '/L'
    drains = False  # works on after its answers

    def __init__(self, options, work):
        self.options = options
        self.dir = os.path.join(work, self.name)
        os.mkdir(self.dir)
        self.port = free_port()
        self.auth = None
        self.log = open(os.path.join(self.dir, 'output'), 'wb')
        self.process = None

    def spawn(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT)

    def wait(self, ready):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        with open(self.log.name, encoding='utf-8', errors='replace') as text:
            raise RuntimeError(f'{self.name} did not start:\n{text.read()[-3000:]}')

    def request(self, method, path):
        """Status of one request without a body."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=10)
        try:
            headers = {'Authorization': self.auth} if self.auth else {}
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def pids(self):
        return [self.process.pid]

    def cpu_seconds(self):
        """CPU time of the running process; one that ended is among this process's children."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        with open(f'/proc/{self.process.pid}/stat', encoding='ascii') as text:
            fields = text.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Limit(Server):
    name = 'limit'

    def start(self):
        self.spawn([os.path.join(self.options.tools, 'bench-limit'), '--port', str(self.port),
                    '--dir', self.dir, '--keys', str(self.options.keys)])
        self.wait(lambda: os.path.getsize(self.log.name) > 0 and self.request('GET', '/k0') == 200)
        load(self, self.options, 'put', 1, LARGE, requests=LARGE_KEYS)


class Holdfast(Server):
    name = 'holdfast'
    small_path = '/v1/buckets/bench/files/k'
    large_path = '/v1/buckets/bench/files/L'
    drains = True

    def start(self):
        data = os.path.join(self.dir, 'data')
        self.spawn([self.options.holdfast, 'serve', '--data', data, '--s3', 'off', '--http',
                    f'127.0.0.1:{self.port}'])
        self.wait(lambda: self.request('GET', '/readyz') == 200)
        with open(os.path.join(data, 'root.key'), encoding='ascii') as key:
            self.auth = 'Bearer ' + key.read().strip()
        status = self.request('PUT', '/v1/buckets/bench')
        if status not in (200, 201):
            raise RuntimeError(f'holdfast: making a bucket gave {status}')
        load(self, self.options, 'put', 64, SMALL, requests=self.options.keys, drain=True)
        load(self, self.options, 'put', 1, LARGE, requests=LARGE_KEYS, drain=True)


class Nginx(Server):
    name = 'nginx'
    modes = ('get',)

    def start(self):
        files = os.path.join(self.dir, 'files')
        os.mkdir(files)
        generator = random.Random(1)
        for prefix, count, size in (('k', self.options.keys, SMALL), ('L', LARGE_KEYS, LARGE)):
            for i in range(count):
                with open(f'{files}/{prefix}{i:08d}', 'wb') as out:
                    out.write(generator.randbytes(size))
        path = os.path.join(self.dir, 'nginx.conf')
        with open(path, 'w', encoding='ascii') as conf:
            user = 'user root;' if os.geteuid() == 0 else ''
            conf.write(NGINX_CONF.format(dir=self.dir, port=self.port, user=user))
        self.spawn([nginx_program(), '-p', self.dir, '-c', path])
        self.wait(lambda: self.request('GET', '/k00000000') == 200)

    def pids(self):
        path = f'/proc/{self.process.pid}/task/{self.process.pid}/children'
        with open(path, encoding='ascii') as children:
            return [self.process.pid] + [int(pid) for pid in children.read().split()]


SERVERS = {server.name: server for server in (Limit, Holdfast, Nginx)}


def nginx_program():
    unpacked = os.path.join(ROOT, 'build-tools/usr/sbin')
    return shutil.which('nginx') or shutil.which('nginx', path=f'/usr/sbin:/usr/local/sbin:{unpacked}')


def congestion_control():
    with open('/proc/sys/net/ipv4/tcp_congestion_control', encoding='ascii') as text:
        return text.read().strip()


def enter_namespace():
    """A network namespace with reno for this process and its children; it ends with them. Returns
    words for the table."""
    if os.geteuid() != 0:
        return f'no namespace (not root), {congestion_control()}'
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        return f'no namespace ({os.strerror(ctypes.get_errno())}), {congestion_control()}'
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    with open('/proc/sys/net/ipv4/tcp_congestion_control', 'w', encoding='ascii') as out:
        out.write('reno')
    return f'network namespace, {congestion_control()}'


def load(server, options, mode, connections, size, requests=0, first=0, drain=False, seconds=0,
         extra=()):
    """Runs bench-load against server. Its figures."""
    large = size == LARGE
    command = [os.path.join(options.tools, 'bench-load'), '--port', str(server.port), '--mode',
               mode, '--connections', str(connections), '--size', str(size), '--path',
               server.large_path if large else server.small_path, '--first', str(first),
               '--keys', str(LARGE_KEYS if large else options.keys),
               '--seed', str(random.getrandbits(32))]
    command += (['--requests', str(requests)] if requests
                else ['--seconds', str(seconds or options.seconds)])
    command += extra
    if server.auth:
        command += ['--auth', server.auth]
    for pid in server.pids():
        command += ['--pid', str(pid)]
    if drain:
        command.append('--drain')
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         check=False)
    try:
        figures = json.loads(run.stdout)
    except ValueError:
        figures = {'requests': 0, 'failed': 1}
    if requests and figures['requests'] != requests:
        figures['failed'] = max(1, figures['failed'])
    if run.stderr:
        figures['stderr'] = run.stderr.strip()
    return figures


def measure(row, server, options, round_number):
    first, requests = 0, 0
    if row.large() and row.mode == 'put':
        requests = max(options.large, row.connections)
    elif row.mode != 'get':
        # Keys that no other round or row has written.
        first = (1 + ROWS.index(row) * 1000 + round_number) * 100_000_000
    figures = load(server, options, row.mode, row.connections, row.size, requests=requests,
                   first=first, drain=server.drains and row.mode != 'get',
                   seconds=0 if options.short else row.seconds,
                   extra=['--read'] if row.large() and row.mode == 'get' else [])
    if figures['failed'] > 0 or figures['requests'] == 0:
        row.problems.append(f'{server.name}: {figures["failed"]} failed, {figures["requests"]} '
                            f'done: {figures.get("stderr", "")}')
    row.figures.setdefault(server.name, []).append(figures)


def raw_write_us(directory, count=500):
    """p50 of one synced 4 KiB write into zero-written space, in µs: what a PUT cannot beat."""
    path = os.path.join(directory, 'raw')
    block = os.urandom(4096)
    times = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, bytes(4096 * count), 0)
        os.fsync(fd)
        for i in range(count):
            start = time.perf_counter_ns()
            os.pwrite(fd, block, 4096 * i)
            os.fdatasync(fd)
            times.append((time.perf_counter_ns() - start) / 1000)
    finally:
        os.close(fd)
        os.unlink(path)
    return statistics.median(times)


def median(row, server, key):
    values = [figures[key] for figures in row.figures.get(server, []) if figures['requests'] > 0]
    return statistics.median(values) if values else None


def ratio(row, server, to, key='per_second'):
    """Median of the rounds' ratios."""
    pairs = zip(row.figures.get(server, []), row.figures.get(to, []))
    values = [a[key] / b[key] for a, b in pairs
              if a['requests'] > 0 and b['requests'] > 0 and b[key] > 0]
    return statistics.median(values) if values else None


def number(value, large=False):
    if value is None:
        return '–'
    if large or value < 10:
        return f'{value:.1f}' if large else f'{value:.2f}'
    return f'{value:,.0f}'


def micros(value):
    if value is None:
        return '–'
    return f'{value / 1000:,.1f} ms' if value >= 10_000 else f'{value:,.0f} µs'


def cpu(value):
    if value is None:
        return '–'
    return f'{value / 1000:,.1f} ms' if value >= 1000 else f'{value:,.1f} µs'


def table(rows, raw_us):
    lines = ['| load | server | requests/s | MiB/s | p50 | p99 | CPU per request | to limit | '
             'to nginx | bar |', '|---|---|---|---|---|---|---|---|---|---|']
    for row in rows:
        for server in row.figures:
            def get(key, row=row, server=server):
                return median(row, server, key)
            ratios = []
            for to in ('limit', 'nginx'):
                value = None if to == server else ratio(row, server, to)
                ratios.append('' if value is None else f'{value:.2f}')
            bars = row.bars if server == 'holdfast' else ()
            ratios.append('; '.join(bar.text(row, raw_us[row.name]) for bar in bars))
            lines.append(' | '.join([
                f'| {row.name}', server, number(get('per_second'), row.large()),
                number(get('mib_per_second')), micros(get('p50_us')), micros(get('p99_us')),
                cpu(get('cpu_us')), *ratios]) + ' |')
    return '\n'.join(lines)


def command_output(*command):
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True, check=False)
    return run.stdout.strip()


def machine(options, network):
    with open('/proc/cpuinfo', encoding='utf-8') as text:
        model = re.search(r'^model name\s*:\s*(.*)$', text.read(), re.M)
    changed = '' if command_output('git', 'status', '--porcelain', '-uno') == '' else ' and changes'
    return (f'{datetime.date.today().isoformat()}, commit '
            f'{command_output("git", "rev-parse", "--short=10", "HEAD")}{changed}; '
            f'{os.cpu_count()} × {model.group(1) if model else platform.machine()}, Linux '
            f'{platform.release()}, '
            f'{command_output("stat", "-f", "-c", "%T", options.dir)}; {network}; '
            f'{options.rounds} rounds of {options.seconds:g} s, load average '
            f'{os.getloadavg()[0]:.1f} when it ended; {options.keys:,} files of 4 KiB, '
            f'{LARGE_KEYS} of 64 MiB')


def write_document(text):
    with open(DOCUMENT, encoding='utf-8') as document:
        before, rest = document.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(DOCUMENT, 'w', encoding='utf-8') as document:
        document.write(f'{before}{BEGIN}\n{text}\n{END}{after}')


def run_rows(rows, servers, options, work):
    """Loads all rows. Row name -> p50 of raw writes between its rounds, in µs."""
    medians = {}
    for row in rows:
        raw = []
        turn = [server for server in servers if row.mode in server.modes]
        for i in range(options.rounds):
            raw.append(raw_write_us(work))
            for server in turn:
                measure(row, server, options, i)
        print(f'{row.name}: ' + ', '.join(
            f'{server.name} {number(median(row, server.name, "per_second"), row.large())}/s '
            f'{cpu(median(row, server.name, "cpu_us"))}' for server in turn), flush=True)
        medians[row.name] = statistics.median(raw)
        for bar in row.bars:
            if options.bars and bar.reached(row, medians[row.name]) is not True:
                row.problems.append(bar.text(row, medians[row.name]))
        for problem in row.problems:
            print(f'  FAILED {problem}', flush=True)
    return medians


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--quick', action='store_true', help='a smoke test, at most 90 s')
    parser.add_argument('--write', action='store_true', help='put the table in docs/benchmarks.md')
    parser.add_argument('--bars', action='store_true', help='a missed bar is a failure')
    parser.add_argument('--only', default='', help='rows whose name matches')
    parser.add_argument('--servers', default='limit,holdfast,nginx')
    parser.add_argument('--rounds', type=int)
    parser.add_argument('--seconds', type=float, help='per row, round and server')
    parser.add_argument('--keys', type=int, help='files of 4 KiB that GET draws from')
    parser.add_argument('--large', type=int, help='uploads of 64 MiB per row, round and server')
    parser.add_argument('--dir', default=ROOT, help='on the disk to measure')
    parser.add_argument('--holdfast', default=os.path.join(ROOT, 'build-release/holdfast'))
    parser.add_argument('--tools', default=os.path.join(ROOT, 'build-test/test'))
    options = parser.parse_args()
    options.short = options.quick or options.seconds is not None
    quick = {'rounds': 1, 'seconds': 1.0, 'keys': 5000, 'large': 2}
    full = {'rounds': 7, 'seconds': 4.0, 'keys': 100_000, 'large': 8}
    for key, value in (quick if options.quick else full).items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    return options


def main():
    options = arguments()
    # Ends by SIGTERM as by Ctrl-C: servers are stopped and the directory is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = [name for name in options.servers.split(',') if name]
    if 'nginx' in names and nginx_program() is None:
        print('nginx is not installed: its lines are left out')
        names.remove('nginx')
    rows = [row for row in ROWS if re.search(options.only, row.name)]
    network = enter_namespace()
    print(network)
    servers = []
    with tempfile.TemporaryDirectory(prefix='build-bench-', dir=options.dir) as work:
        try:
            for name in names:
                servers.append(SERVERS[name](options, work))
                servers[-1].start()
            raw_us = run_rows(rows, servers, options, work)
        finally:
            for server in servers:
                server.stop()
    head = machine(options, network)
    raw = statistics.median(raw_us.values()) if raw_us else 0.0
    text = (f'{head}. One raw 4 KiB write with fdatasync into zero-written space, as p50 between '
            f'the rounds: {raw:.0f} µs.\n\n{table(rows, raw_us)}')
    print(f'\n{text}\n')
    with open(RECORD, 'w', encoding='utf-8') as out:
        json.dump({'about': head, 'raw_write_us': raw_us,
                   'rows': {row.name: row.figures for row in rows}}, out, indent=1)
    if options.write:
        write_document(text)
    executed = sum(1 for row in rows if row.figures)
    failed = sum(1 for row in rows if row.problems)
    print(f'LAYER bench required={len(rows)} executed={executed} failed={failed}')
    return 1 if failed or executed < len(rows) else 0


if __name__ == '__main__':
    sys.exit(main())
