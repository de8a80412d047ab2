#!/usr/bin/env python3
"""Reading from a real server when something is in the way: damage in the middle of an answer, files
cut short or deleted while they are sent, clients that do not read, and 10,000 idle connections.

    reads.py BINARY [TEST...]

Prints `LAYER reads required= executed= failed=`, where one test is one function below.
"""
import glob
import hashlib
import os
import resource
import shlex
import socket
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402
from smoke import content  # noqa: E402

BINARY = None
MIB = 1 << 20
IDLE, IDLE_LEAST, IDLE_BYTES = 10000, 8000, 4096
PAIRS, BURST = 61, 100  # bursts of GETs with idle connections beside them and without, and their GETs
ROUNDS = 5  # of pairs, each over new connections, until one says that they cost nothing
BUSY_RATIO = 1.5  # with, to without: of the quickest burst of each, by the clock and by the CPU's
REST_S, REST_CPU = 1.0, 0.05  # at rest the server takes at most this part of one CPU
FILES_EACH, FILES_OWN = 2, 600  # what the server counts with for a connection, and for itself
ROOM = IDLE + IDLE // 10  # connections: were they all taken, those at rest would be closed soon
OPTIONS = ('--connections', str(ROOM))
SLOW = 40


def expect(good, what):
    if not good:
        raise AssertionError(what)


def blob_of(server):
    return next(f for f in glob.glob(f'{server.data}/blobs/*/*/*') if os.path.isfile(f))


class Reader:
    """A GET whose answer is read as the test wants."""

    def __init__(self, server, key, small_window=False):
        self.socket = socket.socket()
        if small_window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.settimeout(60)
        self.socket.connect(('127.0.0.1', server.port))
        self.socket.sendall(f'GET {server.name_path("files", key)} HTTP/1.1\r\nHost: a\r\n'
                            f'Authorization: Bearer {server.key()}\r\n\r\n'.encode())
        self.head, self.body = None, b''

    def read(self, count=1 << 40):
        """Up to count bytes of body in all, the end or a reset."""
        parts, have, data = [], 0, b''
        while self.head is None:
            more = self.socket.recv(65536)
            expect(more, 'an answer')
            data += more
            if b'\r\n\r\n' in data:
                self.head, self.body = data.split(b'\r\n\r\n', 1)
        length = int(next(line.split(b':')[1] for line in self.head.split(b'\r\n')
                          if line.lower().startswith(b'content-length')))
        parts, have = [self.body], len(self.body)
        while have < min(count, length):
            try:
                more = self.socket.recv(MIB)
            except ConnectionResetError:
                break
            if not more:
                break
            parts.append(more)
            have += len(more)
        self.body = b''.join(parts)
        return self.body

    def close(self):
        self.socket.close()


def alive(server):
    expect(server.request('GET', '/readyz', key=None).status == 200, 'the server serves on')


def damage_in_the_middle(server):
    """What was verified arrives, the rest never: the connection is reset."""
    body = content(9 * MIB, 'middle')
    server.put('files', 'middle', body)
    with open(blob_of(server), 'r+b') as blob:
        blob.seek(7 * MIB + 5)
        byte = blob.read(1)[0]
        blob.seek(7 * MIB + 5)
        blob.write(bytes([byte ^ 8]))
    reader = Reader(server, 'middle')
    got = reader.read()
    reader.close()
    expect(b'200' in reader.head.split(b'\r\n')[0], 'an answer that began well')
    expect(len(got) <= 7 * MIB + 5 and body.startswith(got), f'only good bytes: {len(got)}')
    alive(server)


def cut_short_while_served(server):
    """The pages of a mapped file go: no crash, and no byte that is not the file's."""
    body = content(64 * MIB, 'cut')
    server.put('files', 'cut', body)
    reader = Reader(server, 'cut', small_window=True)
    reader.read(100000)
    os.truncate(blob_of(server), MIB // 2)
    got = reader.read()
    reader.close()
    expect(len(got) < len(body) and body.startswith(got), f'only good bytes: {len(got)}')
    alive(server)


def deleted_while_served(server):
    """A body is not unlinked under a reader."""
    body = content(48 * MIB, 'deleted')
    server.put('files', 'deleted', body)
    reader = Reader(server, 'deleted', small_window=True)
    reader.read(100000)
    expect(server.request('DELETE', server.name_path('files', 'deleted')).status == 204, 'deleted')
    end = time.monotonic() + 60
    while [f for f in glob.glob(f'{server.data}/blobs/*/*/*') if os.path.isfile(f)]:
        expect(time.monotonic() < end, 'the blob is unlinked')
        time.sleep(0.05)
    expect(hashlib.sha256(reader.read()).digest() == hashlib.sha256(body).digest(), 'all of it')
    reader.close()


def slow_readers(server):
    """Clients that do not read hold up nobody, and get all of it when they do."""
    body = content(16 * MIB, 'slow')
    server.put('files', 'slow', body)
    slow = [Reader(server, 'slow', small_window=True) for _ in range(SLOW)]
    for reader in slow:
        reader.read(1)
    start = time.monotonic()
    for _ in range(3):
        expect(server.get('files', 'slow').body == body, 'a fast client gets it')
    expect(time.monotonic() - start < 30, 'a fast client is not held up')  # slow ones are for a minute
    for reader in slow:
        expect(reader.read() == body, 'a slow client gets it')
        reader.close()


def memory(server):
    with open(f'/proc/{server.process.pid}/status', encoding='ascii') as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('VmRSS:'))


def idle(server, count):
    """Connections at rest after a request."""
    request = b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'
    connections = []
    try:
        for i in range(count):
            one = socket.socket()
            connections.append(one)
            one.settimeout(60)
            one.bind((f'127.0.0.{2 + i % 2}', 0))
            one.connect(('127.0.0.1', server.port))
            one.sendall(request)
            answer = one.recv(4096)
            expect(answer.startswith(b'HTTP/1.1 200'), f'connection {i}: {answer[:200]}')
    except BaseException:
        end_all(connections)
        raise
    return connections


def end_all(connections):
    for one in connections:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        one.close()


def metric(server, name):
    text = server.request('GET', '/metrics', key=None).body.decode()
    return next(int(line.split()[1]) for line in text.split('\n') if line.startswith(f'{name} '))


class Busy:
    """A connection on which one GET follows the other."""

    def __init__(self, server):
        self.server = server
        server.put('files', 'small', b'x' * 4096)
        self.reader = Reader(server, 'small')
        expect(self.reader.read() == b'x' * 4096, 'its bytes')
        self.request = (f'GET {server.name_path("files", "small")} HTTP/1.1\r\nHost: a\r\n'
                        f'Authorization: Bearer {server.key()}\r\n\r\n').encode()
        self.length = len(self.reader.head) + 4 + 4096  # of each answer

    def burst(self):
        """Seconds that BURST GETs take, and seconds of CPU that the server takes for them."""
        worked, start = cpu_s(self.server), time.perf_counter()
        for _ in range(BURST):
            self.reader.socket.sendall(self.request)
            have = b''
            while len(have) < self.length:
                more = self.reader.socket.recv(65536)
                expect(more, 'the connection stays')
                have += more
            expect(have.startswith(b'HTTP/1.1 200') and have.endswith(b'x' * 4096), have[:200])
        return time.perf_counter() - start, cpu_s(self.server) - worked


def cpu_s(server):
    """Seconds of CPU that all threads of the server took so far."""
    total = 0
    for path in glob.glob(f'/proc/{server.process.pid}/task/*/schedstat'):
        try:
            with open(path, encoding='ascii') as file:
                total += int(file.read().split()[0])
        except OSError:
            pass  # of a thread that has just ended
    return total / 1e9


class Quickest:
    """Of bursts to one server, the least they took: what disturbs only some of them is not in it, what
    each request costs is. By the clock and, where the kernel counts it, of CPU."""

    def __init__(self, server):
        self.server = server
        self.took = self.worked = float('inf')

    def burst(self, busy):
        took, worked = busy.burst()
        self.took = min(self.took, took)
        self.worked = min(self.worked, worked)


def busy_costs(server, other):
    """Holds what a GET of server takes against what one of other does, in turn. Where the scheduler
    puts a thread stays for a while, so that it begins again with other connections, and later."""
    here, there = Quickest(server), Quickest(other)
    for number in range(ROUNDS):
        time.sleep(number)
        pair = [(each, Busy(each.server)) for each in (here, there)]
        for _ in range(PAIRS):
            for each, busy in pair:
                each.burst(busy)
        for _, busy in pair:
            busy.reader.close()
        ratio = here.took / there.took
        cpu = here.worked / there.worked if there.worked > 0 else 1.0
        if 1 / BUSY_RATIO <= min(ratio, cpu) and max(ratio, cpu) <= BUSY_RATIO:
            break  # else one of them was disturbed all the time, whichever it was
    print(f'       a busy connection: {ratio:.2f} times what it takes without them, {cpu:.2f} times the '
          f'CPU, after {number + 1} rounds')
    expect(ratio <= BUSY_RATIO, f'{ratio:.2f} times is at most {BUSY_RATIO}')
    expect(cpu <= BUSY_RATIO, f'{cpu:.2f} times the CPU is at most {BUSY_RATIO}')


def rest_costs(server):
    """At rest all connections together cost next to no CPU."""
    least = float('inf')
    for _ in range(ROUNDS):
        worked = cpu_s(server)
        time.sleep(REST_S)
        least = min(least, (cpu_s(server) - worked) / REST_S)
        if least <= REST_CPU:
            break
    print(f'       at rest: {least * 100:.1f} % of a CPU')
    expect(least <= REST_CPU, f'{least:.2f} of a CPU at rest is at most {REST_CPU}')


def idle_connections(server):
    """10,000 connections at rest after a request cost at most 4 KiB of memory each, and the busy ones
    no speed: one is timed in turn with one to a second server, that has no others."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = IDLE if hard < 0 else min(IDLE, (hard - FILES_OWN) // FILES_EACH * 10 // 11)
    if count < IDLE:
        print(f'       the limit of open files, {hard}, allows {count} connections')
    expect(count >= IDLE_LEAST, f'{count} connections are enough to say something')
    server.put('files', 'small', b'x' * 4096)
    server.get('files', 'small')
    before = memory(server)
    connections = idle(server, count)
    try:
        each = (memory(server) - before) / count
        print(f'       {count} connections: {each:.0f} bytes of memory each')
        expect(each <= IDLE_BYTES, f'{each:.0f} bytes are at most {IDLE_BYTES}')
        expect(server.get('files', 'small').status == 200, 'one more is served')
        other = Server(BINARY, f'{server.data}-other', server.log + '-other', options=OPTIONS)
        try:
            other.start()
            busy_costs(server, other)
            rest_costs(server)
            expect(other.stop() == 0, 'an orderly stop')
        finally:
            other.end()
        stay = metric(server, 'holdfast_http_connections')
        expect(stay >= count, f'{stay} of {count} connections stay')
    finally:
        end_all(connections)


def a_hot_file_is_cached(server):
    """Read twice, it comes out of the cache; replaced, the new one does."""
    def count(name):
        return metric(server, f'holdfast_cache_{name}_total')

    server.put('files', 'hot', content(4096, 1))
    server.stop()  # all is in packs then
    server.start()
    for _ in range(50):
        expect(server.get('files', 'hot').body == content(4096, 1), 'its bytes')
    expect(count('hits') >= 40 and 1 <= count('misses') <= 10, 'hits and misses')
    server.put('files', 'hot', content(4096, 2))
    for _ in range(50):
        expect(server.get('files', 'hot').body == content(4096, 2), 'the new bytes')


TESTS = (damage_in_the_middle, cut_short_while_served, deleted_while_served, slow_readers,
         idle_connections, a_hot_file_is_cached)


def raise_limit():
    """Of open files: to what the idle connections need here, and in the server, which raises its own
    up to the hard one. That one only root can raise, and not everywhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_OWN + FILES_EACH * ROOM:
        wanted = FILES_OWN + FILES_EACH * ROOM
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))
            hard = wanted
        except (ValueError, OSError) as refusal:
            print(f'the limit of open files stays {hard}: {refusal}')
    if soft != resource.RLIM_INFINITY and soft < IDLE + 1000:
        soft = IDLE + 1000 if hard == resource.RLIM_INFINITY else min(IDLE + 1000, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main(argv):
    global BINARY
    BINARY = shlex.split(argv[1])
    raise_limit()
    chosen = [test for test in TESTS if not argv[2:] or test.__name__ in argv[2:]]
    failed = 0
    for test in chosen:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix='holdfast-reads-') as folder:
            server = Server(BINARY, f'{folder}/d', f'{folder}/log', options=OPTIONS)
            try:
                server.start()
                test(server)
                expect(server.stop() == 0, 'an orderly stop')
                print(f'ok     {test.__name__} ({time.monotonic() - start:.1f} s)')
            except Exception as error:  # whatever it is, the next test is to run
                failed += 1
                print(f'FAILED {test.__name__}: {error!r}')
            finally:
                server.end()
    print(f'LAYER reads required={len(chosen)} executed={len(chosen)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
