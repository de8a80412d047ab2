#!/usr/bin/env python3
"""What the server takes of its machine is planned at start, told, and kept to, however many clients
come and however slow they are; a good client is served beside them.

    limits.py BINARY [TEST...]

Prints `LAYER limits required= executed= failed=`, where one test is one function below.
"""
import base64
import collections
import hashlib
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import free_port  # noqa: E402
from s3_raw import UNSIGNED, Raw, code_of  # noqa: E402
from smoke import content, expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('limits')
test, bare = SUITE.test, SUITE.bare
MIB = 1 << 20
CROWD = 5000
ROOM = 7000  # connections: that many are no crowd
FILES_SERVER = 384 + 2 * ROOM  # open files that it counts with
SERVED_SECONDS = 60  # within which a good client is served, on a machine that is ten times slower
BIG = 4 * MIB


def told(server, event):
    return next(line for line in server.events() if line['event'] == event)


def field(server, name):
    """A field of /proc/PID/status in bytes."""
    with open(f'/proc/{server.process.pid}/status', encoding='ascii') as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ':'))


def within_the_sum(server):
    """Its memory never exceeded what it told at start."""
    plan = told(server, 'node.memory')
    peak, now = field(server, 'VmHWM'), field(server, 'RssAnon')
    print(f'       at most {peak / MIB:.0f} MiB of {plan["sum"] / MIB:.0f} were taken')
    expect(peak <= plan['sum'], True, f'VmHWM {peak} of {plan["sum"]}')
    expect(now <= plan['sum'] - plan['locked'], True, f'RssAnon {now} of {plan["sum"]}')


@bare
def planned(folder):
    """The sum is that of its parts and fits; `admin status` tells the same; what can't fit is refused."""
    server = SUITE.server(folder, '--memory', '1GiB', '--connections', '3000').start()
    try:
        plan, limits = told(server, 'node.memory'), told(server, 'node.limits')
        parts = ('index', 'cache', 'buffers', 'collected', 'answers', 'locked', 'backlog',
                 'connections', 'requests', 'own')
        expect(plan['sum'], sum(plan[part] for part in parts))
        expect((plan['of'], plan['sum'] <= 1 << 30), (1 << 30, True))
        status = server.request('GET', '/v1/admin/status').json()['limits']
        wanted = {name: limits[name] for name in ('connections', 'requests', 'buffers', 'queue', 'open_files')}
        expect(status, {**wanted, 'memory_bytes': plan['sum'], 'memory_of_bytes': 1 << 30})
        env = {**os.environ, 'HOLDFAST_URL': f'http://{server.address}', 'HOLDFAST_KEY': server.key()}
        shown = subprocess.run([*SUITE.binary, 'admin', 'status'], env=env, check=True,
                               capture_output=True, text=True).stdout
        expect(f'{limits["connections"]} connections, {limits["requests"]} requests' in shown, True, shown)
        with open(f'/proc/{server.process.pid}/limits', encoding='ascii') as lines:
            files = next(int(line.split()[3]) for line in lines if line.startswith('Max open files'))
        expect(files >= limits['open_files'], True, files)
        expect(server.stop(), 0)
    finally:
        server.end()
    done = subprocess.run([*SUITE.binary, 'serve', '--data', f'{folder}/none', '--http',
                           f'127.0.0.1:{free_port()}', '--memory', '100MiB', '--log-format', 'text'],
                          capture_output=True, text=True, check=False, timeout=60)
    expect(done.returncode, 2, done.stderr)
    expect('may take 100 MiB of memory and needs' in done.stderr, True, done.stderr)
    expect(os.path.exists(f'{folder}/none'), False, 'nothing was made')


class Client:
    """One of a crowd: what it sends at first, what each second, and how much it reads then."""

    def __init__(self, kind, port, first, drip):
        self.kind = kind
        self.drip = drip
        self.status = None
        self.retry_after = False
        self.over = False
        self.got = b''
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(('127.0.0.1', port))
        self.socket.setblocking(False)
        self.send(first)

    def send(self, data):
        try:
            self.socket.send(data)
        except BlockingIOError:
            pass
        except OSError:
            pass  # reading tells

    def step(self):
        if self.over:
            return
        try:
            piece = self.socket.recv(512)
        except BlockingIOError:
            piece = None
        except OSError:
            piece = b''
        if piece == b'':
            self.over = True
            self.socket.close()
            return
        if self.status is None and piece is not None:
            self.got += piece
            match = re.match(rb'HTTP/1\.1 (\d{3}) ', self.got)
            self.status = int(match.group(1)) if match else None
            self.retry_after = b'\r\nRetry-After: ' in self.got
        if self.drip and self.status is None:
            self.send(self.drip)


class Crowd:
    """Clients of all kinds that never hurry, until it ends."""

    def __init__(self, server, count):
        auth = f'Host: a\r\nAuthorization: Bearer {server.key()}\r\n'
        kinds = (('reader', f'GET {server.name_path("files", "big")} HTTP/1.1\r\n{auth}\r\n', ''),
                 ('writer', f'PUT {server.name_path("files", "slow")} HTTP/1.1\r\n{auth}'
                            'Content-Length: 1000000\r\n\r\n', 'some bytes'),
                 ('drip', 'GET /healthz HTTP/1.1\r\n', 'X'),
                 ('half-open', '', ''))
        self.clients = []
        self.failure = None
        self.ending = threading.Event()
        for i in range(count):
            kind, first, drip = kinds[i % 3 if i % 10 else 3]
            self.clients.append(Client(kind, server.port, first.encode(), drip.encode()))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending.is_set():
            start = time.monotonic()
            try:
                for client in self.clients:
                    client.step()
            except Exception as failure:  # told by end()
                self.failure = failure
                return
            self.ending.wait(max(0.0, start + 1 - time.monotonic()))

    def end(self):
        self.ending.set()
        self.thread.join()
        for client in self.clients:
            client.socket.close()
        if self.failure is not None:
            raise self.failure

    def statuses(self, kind):
        return collections.Counter(c.status for c in self.clients if c.kind == kind)


def serve_good_client(server, seconds):
    """What a client meets that does as it should: how often it was told to come back, and the longest
    time that it was not served."""
    end = time.monotonic() + seconds
    served = time.monotonic()
    worst, refused, rounds = 0.0, 0, 0
    while time.monotonic() < end or (not rounds and time.monotonic() < served + SERVED_SECONDS):
        expect(server.request('GET', '/healthz', key=None).status, 200)
        body = content(200000 if rounds % 2 else 3000, rounds)
        put = server.put('files', 'good', body)
        get = server.get('files', 'good') if put.status < 300 else put
        for answer in (put, get):
            if answer.status == 503:
                refused += 1
                expect(int(answer.headers['Retry-After']) >= 1, True)
        if get.status == 200 and put.status in (200, 201):
            expect(get.body == body, True, 'its bytes')
            worst = max(worst, time.monotonic() - served)
            served = time.monotonic()
            rounds += 1
        else:
            time.sleep(0.2)
    worst = max(worst, time.monotonic() - served)
    print(f'       a good client: {rounds} rounds, {refused} times told to come back, '
          f'{worst:.1f} s at most without being served')
    expect(rounds > 0 and worst <= SERVED_SECONDS, True, (rounds, worst))
    return refused


def settle(server):
    """Waits until only the asking connection is left."""
    end = time.monotonic() + 120
    while server.request('GET', '/v1/admin/status').json()['connections'] > 1:
        expect(time.monotonic() < end, True, 'the connections go')
        time.sleep(0.1)


def beside_a_crowd(folder, memory, connections):
    server = SUITE.server(folder, '--connections', str(connections), '--memory', memory,
                          '--index-cache', '4MiB', '--cache', '8MiB', '--threads', '2').start()
    crowd = None
    try:
        limits = told(server, 'node.limits')
        count = min(CROWD, limits['connections'] - 100)
        if count < CROWD:
            print(f'       {count} clients instead of {CROWD}: of open files and memory there is no more')
        server.put('files', 'big', content(BIG))
        crowd = Crowd(server, count)
        refused = serve_good_client(server, 20)
        within_the_sum(server)
        crowd.end()
        tally = {kind: dict(crowd.statuses(kind)) for kind in ('reader', 'writer', 'drip', 'half-open')}
        print(f'       {tally}')
        expect([c.got for c in crowd.clients if c.status == 503 and not c.retry_after], [])
        settle(server)
        expect(server.get('files', 'big').body == content(BIG), True, 'afterwards')
        expect([e for e in server.events() if e['level'] == 'error'], [])
        expect(server.stop(), 0)
        return limits, tally, refused
    finally:
        if crowd is not None and not crowd.ending.is_set():
            crowd.end()
        server.end()


@bare
def crowd_with_room(folder):
    """5,000 clients for which there is memory: the slow are let be, the good client never waits."""
    limits, tally, refused = beside_a_crowd(folder, '16GiB', ROOM)
    if limits['connections'] == ROOM:
        expect(limits['requests'], ROOM)
        expect((set(tally['writer']), set(tally['half-open'])), ({None}, {None}), tally)
    expect(refused, 0)
    expect(tally['drip'].get(408, 0) > 0, True, 'slow heads are ended')


@bare
def crowd_without_room(folder):
    """5,000 clients, and memory for a tenth of their requests: more are told to come back, the slow
    ones that were admitted give way, and nothing is taken beyond the plan."""
    limits, tally, _ = beside_a_crowd(folder, '1GiB', CROWD + 200)
    expect(limits['requests'] < CROWD * 0.2, True, limits)
    expect(tally['reader'].get(503, 0) > 0 and tally['writer'].get(503, 0) > 0, True, tally)


@bare
def held_buffers(folder):
    """Uploads that take all buffers, showing enough to get one each, and then send nothing: they give way
    to one that goes on, long before they would be ended for that."""
    server = SUITE.server(folder, '--memory', '700MiB', '--index-cache', '4MiB', '--cache', '0B',
                          '--connections', '900').start()
    slow = []
    try:
        first = (f'PUT {server.name_path("files", "slow")} HTTP/1.1\r\nHost: a\r\n'
                 f'Authorization: Bearer {server.key()}\r\nContent-Length: 1000000\r\n\r\n').encode()
        buffers = told(server, 'node.limits')['buffers']
        for _ in range(buffers):  # twice as many as uploads may have
            slow.append(Client('writer', server.port, first + b'x' * 40000, b''))
        start = time.monotonic()
        expect(server.put('files', 'good', content(200000)).status, 201)
        took = time.monotonic() - start
        print(f'       an upload waited {took:.1f} s for {buffers} that stood still')
        expect(took < 40, True, took)  # of the 60 s after which any of them ends
        within_the_sum(server)
        for client in slow:
            client.socket.close()
        settle(server)
        expect([e for e in server.events() if e['level'] == 'error'], [])
        expect(server.stop(), 0)
    finally:
        for client in slow:
            client.socket.close()
        server.end()


@bare
def large_answers(folder):
    """Listings that nobody takes off the connection hold their memory: beyond its plan they are refused."""
    server = SUITE.server(folder, '--memory', '700MiB', '--index-cache', '4MiB', '--cache', '0B',
                          '--connections', '500').start()
    readers = []
    try:
        for i in range(450):
            put = server.put('files', f'{i}', b'', headers={'Holdfast-Meta-Long': 'm' * 8000})
            expect(put.status, 201)
        request = ('GET /v1/files?bucket=files HTTP/1.1\r\nHost: a\r\n'
                   f'Authorization: Bearer {server.key()}\r\n\r\n').encode()
        page = server.request('GET', '/v1/files?bucket=files')
        expect(len(page.body) > 3 * MIB, True, len(page.body))
        most = told(server, 'node.memory')['answers'] // len(page.body)
        statuses = collections.Counter()
        for _ in range(most * 3):  # the system's buffers take some of the first ones
            reader = Client('list', server.port, request, '')
            readers.append(reader)
            end = time.monotonic() + 60
            while reader.status is None and time.monotonic() < end:
                reader.step()
            statuses[reader.status] += 1
        print(f'       {dict(statuses)} of listings that nobody reads')
        expect(set(statuses), {200, 503})
        expect(all(r.retry_after for r in readers if r.status == 503), True)
        within_the_sum(server)
        expect(server.put('files', 'x', b'x').status, 201)
        for reader in readers:
            reader.socket.close()
        settle(server)
        expect(server.request('GET', '/v1/files?bucket=files').status, 200)
        expect(server.stop(), 0)
    finally:
        for reader in readers:
            reader.socket.close()
        server.end()


def with_s3(folder, *options):
    """A small server with both doors, and what signs for the S3 door."""
    server = SUITE.server(folder, '--memory', '700MiB', '--index-cache', '4MiB', '--cache', '0B', *options)
    server.s3_address = f'127.0.0.1:{free_port()}'
    server.start()
    return server, Raw(int(server.s3_address.split(':')[1]), server.key())


def raw_request(method, target, headers, more=''):
    lines = ''.join(f'{name}: {value}\r\n' for name, value in headers.items())
    return f'{method} {target} HTTP/1.1\r\n{lines}{more}\r\n'.encode()


@bare
def s3_requests(folder):
    """The S3 door has its share of all requests: one more is told SlowDown, with Retry-After, before anything of
    it is done; the REST door is not touched by that, and nor is the S3 door by a crowd at the REST door."""
    server, raw = with_s3(folder, '--connections', '3000')
    slow = []
    try:
        most = told(server, 'node.limits')['requests'] // 2
        expect(raw.call('PUT', '/files/there', body=b'x').status, 200)
        for door in ('s3', 'rest'):
            for i in range(most):
                path = f'/files/slow{i}'
                first = raw_request('PUT', path, raw.sign('PUT', path, body_hash=UNSIGNED), 'Content-Length: 100000\r\n')
                if door == 'rest':
                    first = raw_request('PUT', server.name_path('files', 'slow'), {
                        'Host': 'a', 'Authorization': f'Bearer {server.key()}'}, 'Content-Length: 100000\r\n')
                slow.append(Client('writer', raw.port if door == 's3' else server.port, first, b''))
            end = time.monotonic() + 60
            s3, rest = None, None
            while time.monotonic() < end and 503 not in (s3, rest):
                got = raw.call('GET', '/files/there')
                s3, rest = got.status, server.get('files', 'there').status
            expect((s3, rest), (503, 200) if door == 's3' else (200, 503), f'{most} slow uploads at {door}')
            if door == 's3':
                expect((code_of(got), int(got.headers['Retry-After']) >= 1), ('SlowDown', True), got.body)
                put = raw.call('PUT', '/files/there', body=b'not this')
                removed = raw.call('DELETE', '/files/there')
                form = raw.send('POST', '/files', {'Content-Type': 'multipart/form-data; boundary=b'}, b'--b--')
                options = raw.send('OPTIONS', '/files/there', {'Origin': 'http://a', 'Access-Control-Request-Method': 'GET'})
                expect([a.status for a in (put, removed, form, options)], [503] * 4)
                expect(server.get('files', 'there').body, b'x')
            for client in slow:
                client.socket.close()
            settle(server)
            end = time.monotonic() + 60
            while time.monotonic() < end and raw.call('GET', '/files/there').status == 503:
                time.sleep(0.1)
            expect(raw.call('GET', '/files/there').body, b'x')
        within_the_sum(server)
        expect([e for e in server.events() if e['level'] == 'error'], [])
        expect(server.stop(), 0)
    finally:
        for client in slow:
            client.socket.close()
        server.end()


def deletion(names):
    return ('<Delete>' + ''.join(f'<Object><Key>{name}</Key></Object>' for name in names) + '</Delete>').encode()


@bare
def s3_delete_many(folder):
    """DeleteObjects takes the memory of its answer before it deletes: without, it is told SlowDown and nothing is
    gone; with it, each key gets its own result in a 200, however slowly that is read."""
    server, raw = with_s3(folder, '--connections', '500')
    readers = []
    try:
        kept = [f'{i:04d}' + '"' * 1020 for i in range(1000)]  # each byte of a name becomes six
        for name in ('0000', '0999'):
            path = '/files/' + name + '%22' * 1020
            expect(raw.call('PUT', path, body=b'x').status, 200)
        body = deletion(kept)
        expect(len(body) < 2 * MIB, True, len(body))

        def first(body):
            signed = raw.sign('POST', '/files', 'delete=', {'x-amz-checksum-sha256': base64.b64encode(
                hashlib.sha256(body).digest()).decode()}, hashlib.sha256(body).hexdigest())
            return raw_request('POST', '/files?delete=', signed, f'Content-Length: {len(body)}\r\n') + body
        statuses = collections.Counter()
        for _ in range(4):
            reader = Client('delete', raw.port, b'', '')
            readers.append(reader)
            reader.socket.setblocking(True)
            reader.socket.sendall(first(body))
            reader.socket.setblocking(False)
            end = time.monotonic() + 60
            while reader.status is None and time.monotonic() < end:
                reader.step()
            statuses[reader.status] += 1
        print(f'       {dict(statuses)} of deletions whose results nobody reads')
        expect(set(statuses), {200, 503})
        expect(all(r.retry_after for r in readers if r.status == 503), True)
        expect(raw.call('PUT', '/files/still', body=b'x').status, 200)
        small = deletion(['still'])
        # Even a small list is refused when there is no room for its answer, and then nothing is gone.
        large = raw.exchange(first(deletion(['still', *kept[1:]])).replace(b'Host:', b'Connection: close\r\nHost:', 1))
        expect((large.split()[1], b'<Code>SlowDown</Code>' in large), (b'503', True), large[:300])
        expect(raw.call('GET', '/files/still').status, 200)
        within_the_sum(server)
        # One of the slow ones reads on: all its results are there.
        slow = next(r for r in readers if r.status == 200)
        slow.socket.setblocking(True)
        end = time.monotonic() + 60
        while b'</DeleteResult>' not in slow.got[-100:] and time.monotonic() < end:
            slow.got += slow.socket.recv(1 << 20)
        expect(slow.got.count(b'<Deleted>'), len(kept))
        for reader in readers:
            reader.socket.close()
        settle(server)
        got = raw.exchange(first(small).replace(b'Host:', b'Connection: close\r\nHost:', 1))
        expect(got.count(b'<Deleted>'), 1, got[:300])
        expect(raw.call('GET', '/files/still').status, 404)
        expect([e for e in server.events() if e['level'] == 'error'], [])
        expect(server.stop(), 0)
    finally:
        for reader in readers:
            reader.socket.close()
        server.end()


@test
def lingering_close(server):
    """A refused upload's client goes on sending for seconds: it can read the answer all the same."""
    piece = bytes(256 * 1024)
    for key, length, status in (('', 1 << 30, 401), (f'Authorization: Bearer {server.key()}\r\n', 1 << 43, 413)):
        with socket.create_connection(('127.0.0.1', server.port), timeout=60) as s:
            s.sendall(f'PUT /v1/buckets/files/files/x HTTP/1.1\r\nHost: a\r\n{key}'
                      f'Content-Length: {length}\r\n\r\n'.encode())
            sent, end = 0, time.monotonic() + 2
            while time.monotonic() < end or (sent <= 8 * MIB and time.monotonic() < end + 2):
                s.sendall(piece)
                sent += len(piece)
                time.sleep(0.01)
            got = b''
            while b'request_id' not in got:
                more = s.recv(65536)
                expect(more != b'', True, got)
                got += more
            expect(got.startswith(f'HTTP/1.1 {status} '.encode()), True, got[:200])
            expect(b'\r\nConnection: close\r\n' in got, True, got)
            expect(sent > 8 * MIB, True, f'{sent} bytes were taken')
            # It is not read for ever: after some seconds the connection ends.
            try:
                while time.monotonic() < end + 60:
                    s.sendall(piece)
                expect(False, True, 'it was read for a minute')
            except (BrokenPipeError, ConnectionResetError):
                pass


def raise_limit():
    """Of open files, as the server's and our own need: as root also the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(FILES_SERVER, CROWD + 500)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))
            hard = wanted
        except (ValueError, OSError) as refusal:
            print(f'the limit of open files stays {hard}: {refusal}')
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


if __name__ == '__main__':
    raise_limit()
    sys.exit(SUITE.main(sys.argv, __doc__))
