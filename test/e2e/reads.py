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
IDLE, IDLE_BYTES = 10000, 4096
FILES_EACH, FILES_OWN = 2, 600  # what the server counts with for a connection, and for itself
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
        self.socket.settimeout(30)
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
    end = time.monotonic() + 20
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
    expect(time.monotonic() - start < 10, 'a fast client is not held up')
    for reader in slow:
        expect(reader.read() == body, 'a slow client gets it')
        reader.close()


def memory(server):
    with open(f'/proc/{server.process.pid}/status', encoding='ascii') as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('VmRSS:'))


def idle_connections(server):
    """10,000 connections at rest after a request cost at most 4 KiB of memory each. Fewer, where the
    limit of open files is lower."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = IDLE if hard < 0 else min(IDLE, (hard - FILES_OWN) // FILES_EACH)
    server.put('files', 'small', b'x' * 4096)
    server.get('files', 'small')
    before = memory(server)
    request = b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'
    connections = []
    try:
        for i in range(count):
            one = socket.socket()
            one.settimeout(30)
            one.bind((f'127.0.0.{2 + i % 2}', 0))
            one.connect(('127.0.0.1', server.port))
            connections.append(one)
            one.sendall(request)
            answer = one.recv(4096)
            expect(answer.startswith(b'HTTP/1.1 200'), f'connection {i}: {answer[:200]}')
        each = (memory(server) - before) / count
        print(f'       {count} connections: {each:.0f} bytes of memory each')
        expect(each <= IDLE_BYTES, f'{each:.0f} bytes are at most {IDLE_BYTES}')
        expect(server.get('files', 'small').status == 200, 'one more is served')
    finally:
        for one in connections:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            one.close()


def a_hot_file_is_cached(server):
    """Read twice, it comes out of the cache; replaced, the new one does."""
    def count(name):
        text = server.request('GET', '/metrics', key=None).body.decode()
        return next(int(line.split()[1]) for line in text.split('\n')
                    if line.startswith(f'holdfast_cache_{name}_total '))
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


def main(argv):
    global BINARY
    BINARY = shlex.split(argv[1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < IDLE + 1000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 1000, max(hard, IDLE + 1000)))
    chosen = [test for test in TESTS if not argv[2:] or test.__name__ in argv[2:]]
    failed = 0
    for test in chosen:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix='holdfast-reads-') as folder:
            server = Server(BINARY, f'{folder}/d', f'{folder}/log',
                            options=('--connections', str(IDLE + 100)))
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
