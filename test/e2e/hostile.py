#!/usr/bin/env python3
"""Hostile and clumsy clients, operators and disks against a real `holdfast serve`.

    hostile.py BINARY

One server stands for all cases of a table, so that each of them must leave it whole. Prints
`LAYER hostile required= executed= failed=`; exits 1 if a case failed.
"""
import base64
import contextlib
import glob
import hashlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ports import free_port  # noqa: E402
from server import Server  # noqa: E402

BINARY = None
FILES = '/v1/buckets/files/files/'
REQUIRED = 336


class Cases:
    """Counts cases and tells those that fail."""

    def __init__(self):
        self.executed = 0
        self.failed = 0

    def check(self, name, good, seen=''):
        self.executed += 1
        if good:
            return
        self.failed += 1
        print(f'FAILED {name}: {str(seen)[:600]}', flush=True)


CASES = Cases()


def content(size, seed=0):
    return hashlib.shake_256(str(seed).encode()).digest(size)


def raw(port, data, half=False):
    """Bytes as they are; what comes back until the server closes or a minute is over."""
    with socket.create_connection(('127.0.0.1', port), timeout=60) as s:
        got = b''
        with contextlib.suppress(OSError):  # the answer may come, and end it, before all is sent
            s.sendall(data)
            if half:
                s.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while piece := s.recv(65536):
                got += piece
        return got


def wait_for(holds, seconds=60):
    """Until it holds, or that long: the case that needs it fails then."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


def statuses(got):
    return [int(s) for s in re.findall(rb'HTTP/1\.1 (\d{3}) ', got)]


def detail(got):
    match = re.search(rb'"detail":"((?:[^"\\]|\\.)*)"', got)
    return match.group(1).decode() if match else ''


def stored(server, folder):
    return [n for _, _, names in os.walk(f'{server.data}/{folder}') for n in names]


def request(server, method, target, headers='', body=b'', key=True):
    """A request of one connection, to be sent as it is."""
    auth = f'Authorization: Bearer {server.key()}\r\n' if key else ''
    if isinstance(headers, str):
        headers = headers.encode('latin-1')
    return (f'{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}'.encode() +
            headers +
            b'\r\n' + body)


# --- heads and bodies that others may read differently ---

FRAMINGS = [  # headers, body, status
    ('Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n', 400),
    ('Transfer-Encoding: chunked\r\nContent-Length: 3\r\n', b'0\r\n\r\n', 400),
    ('Content-Length: 3\r\nContent-Length: 3\r\n', b'abc', 400),
    ('Content-Length: 3\r\nContent-Length: 4\r\n', b'abc', 400),
    ('Content-Length: 3, 3\r\n', b'abc', 400),
    ('Content-Length: +3\r\n', b'abc', 400),
    ('Content-Length: -3\r\n', b'abc', 400),
    ('Content-Length: 0x3\r\n', b'abc', 400),
    ('Content-Length: 3 3\r\n', b'abc', 400),
    ('Content-Length:\r\n', b'abc', 400),
    ('Content-Length:\t3\r\n', b'abc', 400),
    ('Content-Length: 3 \r\n', b'abc', 400),
    ('Content-Length : 3\r\n', b'abc', 400),
    ('Content-Length: 99999999999999999999999\r\n', b'abc', 400),
    ('Content-Length: 9223372036854775807\r\n', b'abc', 413),
    ('Content-Length: 3\r\n', b'abc', 201),
    ('Transfer-Encoding: identity\r\n', b'abc', 400),
    ('Transfer-Encoding: gzip, chunked\r\n', b'abc', 400),
    ('Transfer-Encoding: chunked, chunked\r\n', b'abc', 400),
    ('Transfer-Encoding: chunked, identity\r\n', b'abc', 400),
    ('Transfer-Encoding: xchunked\r\n', b'abc', 400),
    ('Transfer-Encoding: "chunked"\r\n', b'abc', 400),
    ('Transfer-Encoding:\tchunked\r\n', b'abc', 400),
    ('Transfer-Encoding:\r\n chunked\r\n', b'abc', 400),
    ('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', b'abc', 400),
    ('X-A: 1\r\n folded\r\n', b'', 400),
    ('X-A: 1\nX-B: 2\r\n', b'', 400),
    ('X-A: 1\rX-B: 2\r\n', b'', 400),
    ('X-A: 1\0\r\n', b'', 400),
    ('X\0A: 1\r\n', b'', 400),
    (': 1\r\n', b'', 400),
    ('no colon\r\n', b'', 400),
    ('Host: y\r\n', b'', 400),
    ('Expect: 200-ok\r\nContent-Length: 3\r\n', b'abc', 417),
    ('X-A: ' + 'a' * 16384 + '\r\n', b'', 431),
    ('A: b\r\n' * 1000, b'', 431),
]
CHUNKS = [  # body, status, part of the detail
    (b'3\r\nabc\r\n0\r\n\r\n', 200, ''),
    (b'0000000000000003\r\nabc\r\n0\r\n\r\n', 200, ''),
    (b'3;a=b;c="x"\r\nabc\r\n0\r\n\r\n', 200, ''),
    (b'3\r\nabc\r\n0\r\nX-Content-Length: 9\r\n\r\n', 200, ''),
    (b'3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n', 400, 'trailer says'),
    (b'3\r\nabc\r\n0\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n', 400, 'trailer says'),
    (b'-1\r\nabc\r\n0\r\n\r\n', 400, 'hexadecimal'),
    (b'0x3\r\nabc\r\n0\r\n\r\n', 400, 'hexadecimal'),
    (b'3 \r\nabc\r\n0\r\n\r\n', 400, 'hexadecimal'),
    (b'\r\nabc\r\n0\r\n\r\n', 400, 'hexadecimal'),
    (b'3\nabc\n0\n\n', 400, 'hexadecimal'),
    (b'10000000000000003\r\nabc\r\n0\r\n\r\n', 400, 'too large'),
    (b'ffffffffffffffff\r\nabc\r\n0\r\n\r\n', 400, 'too large'),
    (b'3;a\nabc\r\n0\r\n\r\n', 400, 'extension'),
    (b'3;a="b\r\nabc\r\n0\r\n\r\n', 400, 'extension'),
    (b'3;' + b'a' * 20000 + b'\r\nabc\r\n0\r\n\r\n', 400, 'too long'),
    (b'3\r\nabcd\r\n0\r\n\r\n', 400, 'longer than its size'),
    (b'3\r\nabc\r\n0\r\nX-A: ' + b'b' * 40000 + b'\r\n\r\n', 400, 'too long'),
    (b'3\r\nabc\r\n0\r\n X: y\r\n\r\n', 400, 'token'),
]
LINES = [  # request line, status
    (b'GET', 400), (b'GET /healthz', 400), (b'GET  /healthz HTTP/1.1', 400),
    (b'GET\t/healthz\tHTTP/1.1', 400), (b'GET /healthz HTTP/1.1 ', 400),
    (b'GET /healthz http/1.1', 400), (b'GET /healthz HTTP/1.10', 400),
    (b'GET /healthz HTTP/2.0', 505),
    (b'PRI * HTTP/2.0', 505), (b'GET http://evil/healthz HTTP/1.1', 400),
    (b'GET http://x@x/healthz HTTP/1.1', 400), (b'GET http://x/healthz HTTP/1.1', 200),
    (b'CONNECT x:1 HTTP/1.1', 400), (b'get /healthz HTTP/1.1', 405),
    (b'BREW /healthz HTTP/1.1', 405),
    (b'GET /healthz#a HTTP/1.1', 400), (b'GET /\xc3\xbc HTTP/1.1', 400), (b'G\0T / HTTP/1.1', 400),
    (b'GET /' + b'a' * 8300 + b' HTTP/1.1', 414), (b'\x16\x03\x01\x02\x00\x01\x00\x01', 400),
    (b'GET /../healthz HTTP/1.1', 404), (b'GET //healthz HTTP/1.1', 404),
    (b'GET /%68ealthz HTTP/1.1', 404), (b'OPTIONS * HTTP/1.1', 404),
]


def framing(server):
    port = server.port
    poison = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'  # must never be answered after a refusal
    for headers, body, status in FRAMINGS:
        got = raw(port, request(server, 'PUT', FILES + 'fr', headers, body) + poison)
        CASES.check(f'framing {headers[:50]!r}', statuses(got) == [status], got)
        server.request('DELETE', FILES + 'fr')
    server.put('files', 'ch', b'old')
    for body, status, part in CHUNKS:
        got = raw(port, request(server, 'PUT', FILES + 'ch', 'Transfer-Encoding: chunked\r\n',
                                body) +
                  poison)
        kept = server.get('files', 'ch').body
        good = statuses(got) == [status] and part in detail(got) and kept in (b'abc', b'old')
        CASES.check(f'chunks {body[:30]!r}', good, (got, kept))
    for line, status in LINES:
        got = raw(port, line + b'\r\nHost: x\r\nConnection: close\r\n\r\n')
        CASES.check(f'line {line[:40]!r}', statuses(got) == [status], got)
    for head, status in ((b'GET /healthz HTTP/1.1\r\n\r\n', 400),
                         (b'GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n', 400),
                         (b'GET /healthz HTTP/1.0\r\n\r\n', 200),
                         (b'\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
                          200)):
        CASES.check(f'head {head[:40]!r}', statuses(raw(port, head)) == [status])


def bodies(server):
    """Lengths at the borders, too short, too long; a body that looks like a request."""
    port = server.port
    auth = f'Host: x\r\nAuthorization: Bearer {server.key()}\r\n'.encode()
    put = f'PUT {FILES}len HTTP/1.1\r\n'.encode() + auth
    last = b'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    for size in (0, 1, 65536, 65537, 262144, 3 * 262144):
        body = content(size, size)
        for piece in (262144, 65536, 1000):
            chunks = b''.join(b'%x\r\n' % len(body[i:i + piece]) + body[i:i + piece] + b'\r\n'
                              for i in range(0, size, piece))
            got = raw(port, put + b'Transfer-Encoding: chunked\r\n\r\n' + chunks + b'0\r\n\r\n' +
                      last)
            good = statuses(got)[1:] == [200] and server.get('files', 'len').body == body
            CASES.check(f'chunks of {piece} make {size}', good, got[:300])
    for sent in (0, 3, 70000):
        got = raw(port, put + b'Content-Length: 100000\r\n\r\n' + content(sent), half=True)
        CASES.check(f'{sent} of 100000 bytes', statuses(got) == [400]
                    and b'incomplete-body' in got, got)
    CASES.check('short body kept the old one', server.get('files', 'len').body == body)
    got = raw(port, put + b'Content-Length: 3\r\n\r\nabcdef\r\n\r\n')
    CASES.check('body longer than its length', statuses(got) == [200, 400], got)
    got = raw(port, b'PUT /v1/buckets/absent/files/x HTTP/1.1\r\n' + auth +
              b'Content-Length: %d\r\n\r\n' % len(last) + last + last)
    CASES.check('a request in a refused body', statuses(got) == [404, 200], got)
    get = b'GET /v1/buckets/files/files/len HTTP/1.1\r\n' + auth + b'\r\n'
    CASES.check('1000 pipelined', statuses(raw(port, get * 999 + last)) == [200] * 1000)
    for headers, status in (('', 401), (auth.decode() + 'Content-Range: bytes 0-1/2\r\n', 400)):
        headers = headers or 'Host: x\r\n'
        got = raw(port, f'PUT {FILES}len HTTP/1.1\r\n{headers}Expect: 100-continue\r\n'
                        f'Content-Length: 100000\r\n\r\n'.encode())
        CASES.check('Expect, refused early', statuses(got) == [status], got)
    got = raw(port, request(server, 'PUT', FILES + 'len', 'Content-Length: 3000000\r\n',
                            bytes(3000000), key=False))
    CASES.check('a large body without a key', statuses(got) == [401], got)


# --- names, parameters, headers ---

KEYS = [  # as sent, status
    ('%', 400), ('%1', 400), ('%zz', 400), ('%00', 400), ('a%00b', 400), ('%c0%af', 400),
    ('%e0%80%af', 400), ('%ed%a0%80', 400), ('%f4%90%80%80', 400), ('%ff', 400), ('x' * 1025, 400),
    ('%C3%A9' * 513, 400), ('', 404), ('x' * 1024, 201), ('%61' * 1024, 201), ('%C3%A9' * 512, 201),
    ('.', 201), ('..', 201), ('../x', 201), ('a//b', 201), ('/', 201), ('a/../../etc', 201),
    ('e%CC%81', 201), ('%C3%A9', 201), ('a%2Fb', 201), ('a/b', 200), ('%0d%0aX:%20y', 201),
]
BUCKETS = [('ab', 400), ('abc', 201), ('a' * 63, 201), ('a' * 64, 400), ('Abc', 400), ('a_b', 400),
           ('-ab', 400), ('ab-', 400), ('.ab', 400), ('ab.', 400), ('a..b', 400), ('1.2.3.4', 400),
           ('%66iles', 200), ('files%00', 400), ('files%2F', 400), ('..', 400), ('f%C3%BC', 400)]
QUERIES = [  # of a listing
    ('', 400), ('bucket=', 400), ('bucket=files&bucket=files', 400), ('bucket=fi%zz', 400),
    ('bucket=absent', 404), ('bucket=%66iles', 200), ('bucket=files&&', 200),
    ('bucket=files&limit=', 400),
    ('bucket=files&limit=0', 400), ('bucket=files&limit=1001', 400), ('bucket=files&limit=-1', 400),
    ('bucket=files&limit=abc', 400), ('bucket=files&limit=99999999999999999999', 400),
    ('bucket=files&limit=1000', 200), ('bucket=files&after=%ff%fe', 200),
    ('bucket=files&after=%00', 200),
    ('bucket=files&after=%C3', 200), ('bucket=files&after=' + 'z' * 1100, 400),
    ('bucket=files&prefix=%ff', 200), ('bucket=files&prefix=' + 'z' * 1100, 400),
    ('bucket=files&delimiter=ab', 400), ('bucket=files&delimiter=%C3%A9', 400),
    ('bucket=files&delimiter=%00', 400), ('bucket=files&delimiter=', 200),
]
DIGEST_OF_X = base64.b64encode(hashlib.sha256(b'x').digest()).decode()
DIGEST_OF_Y = base64.b64encode(hashlib.sha256(b'y').digest()).decode()
MD5_OF_X = base64.b64encode(hashlib.md5(b'x').digest()).decode()
HEADERS = [  # of a PUT of 'x' to a name that is there
    ('Content-Type: \xff\xfe\r\n', 200), ('Content-Type: ' + 'a' * 9000 + '\r\n', 431),
    ('Holdfast-Meta-: x\r\n', 400), ('Holdfast-Meta-a: ' + 'b' * 8200 + '\r\n', 431),
    ('Holdfast-Meta-a: \xff\r\n', 200), ('Holdfast-Meta-a: 1\r\nHoldfast-Meta-A: 2\r\n', 400),
    ('Repr-Digest: sha-256=:AAAA:\r\n', 400), ('Repr-Digest: sha-256=AAAA\r\n', 400),
    ('Repr-Digest: garbage\r\n', 400), ('Repr-Digest:\r\n', 400),
    (f'Repr-Digest: SHA-256=:{DIGEST_OF_X}:\r\n', 400),
    (f'Repr-Digest: sha-256=:{DIGEST_OF_X}:\r\n', 200),
    (f'Repr-Digest: sha-256=:{DIGEST_OF_Y}:\r\n', 400),
    (f'Content-Digest: sha-256=:{DIGEST_OF_Y}:\r\n', 400),
    (f'Repr-Digest: sha-512=:AA==:\r\nRepr-Digest: sha-256=:{DIGEST_OF_Y}:\r\n', 400),
    (f'Repr-Digest: sha-256=:{DIGEST_OF_X}:\r\nContent-Digest: sha-256=:{DIGEST_OF_Y}:\r\n', 400),
    ('Repr-Digest: md5=:AAAA:\r\n', 200), ('Content-MD5: xyz\r\n', 400),
    ('Content-MD5: nbuyMGkUqsajBAiSmxOuyA==\r\n', 400), ('Content-MD5:\r\n', 400),
    (f'Content-MD5: {MD5_OF_X}\r\n', 200),
    ('Idempotency-Key: x\r\n', 200), ('Idempotency-Key: \r\n', 400),
    ('Idempotency-Key: x\r\nIdempotency-Key: x\r\n', 400), ('Idempotency-Key: \xff\r\n', 400),
    ('Idempotency-Key: ' + 'x' * 256 + '\r\n', 400),
    ('If-Match: garbage\r\n', 400), ('If-Match:\r\n', 400), ('If-Match: "a" "b"\r\n', 400),
    ('If-Match: "a\r\n', 400), ('If-Match: *, "a"\r\n', 400), ('If-Match: W/"a"\r\n', 412),
    ('If-Match: ' + '"a",' * 2000 + '"a"\r\n', 400), ('If-Match: *\r\n', 200),
    ('If-None-Match: *\r\n', 412), ('If-None-Match: "x", W/"y"\r\n', 200),
    ('If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT\r\n', 412),
    ('If-Unmodified-Since: soon\r\n', 200),
    ('Content-Range: bytes 0-1/2\r\n', 400), ('Content-Disposition: a; filename="x\r\n', 400),
    ("Content-Disposition: a; filename*=UTF-8''%ff\r\n", 400),
    ("Content-Disposition: a; filename*=UTF-8''%00\r\n", 400),
]


def names(server):
    for key, status in KEYS:
        answer = server.request('PUT', FILES + key, b'x')
        CASES.check(f'key {key[:30]} ({len(key)})', answer.status == status, answer.body)
    keys = [f['key'] for f in server.request('GET', '/v1/files?bucket=files').json()['files']]
    CASES.check('normal forms stay distinct', {'\u00e9', 'e\u0301'} <= set(keys), keys)
    stray = sorted(os.listdir(os.path.dirname(server.data)))
    CASES.check('no key is a path', stray == ['d', 'log'], stray)
    for bucket, status in BUCKETS:
        answer = server.request('PUT', f'/v1/buckets/{bucket}')
        CASES.check(f'bucket {bucket}', answer.status == status, answer.body)
    for query, status in QUERIES:
        answer = server.request('GET', f'/v1/files?{query}')
        CASES.check(f'list {query[:50]}', answer.status == status, answer.body)
        json.loads(answer.body)
    server.put('files', 'hdr', b'x')
    for headers, status in HEADERS:
        got = raw(server.port, request(server, 'PUT', FILES + 'hdr', headers +
                                       'Content-Length: 1\r\n', b'x'))
        json.loads(got.split(b'\r\n\r\n', 1)[1])
        CASES.check(f'header {headers[:50]!r}', statuses(got) == [status], got)


def versions(server):
    file = server.put('files', 'v', b'x').json()
    by_name, by_id = FILES + 'v', '/v1/files/' + file['id']
    for version in ('garbage', '', '%00', '0' * 20, 'Z' * 20, file['version'] + '0'):
        for path in (by_name, by_id):
            for method in ('GET', 'DELETE'):
                answer = server.request(method, f'{path}?version={version}')
                CASES.check(f'{method} {path[:12]} of version {version}', answer.status == 404,
                            answer.body)
    CASES.check('still there',
                server.request('GET', f'{by_name}?version={file["version"]}').body == b'x')
    for text in ('0', '0' * 25, '0' * 27, 'O' * 26, 'Z' * 26, '0' * 26, '0' * 25 + '1', '%30' * 26):
        for method in ('GET', 'HEAD', 'PUT', 'DELETE'):
            answer = server.request(method, f'/v1/files/{text}', b'x' if method == 'PUT' else None)
            CASES.check(f'{method} id {text}', answer.status == 404, answer.body)
    gone = [server.request('DELETE', by_name).status for _ in range(2)]
    CASES.check('second DELETE', gone == [204, 404], gone)
    for path in ('/v1/files?bucket=files', '/v1/buckets', '/v1/buckets/files', '/v1/admin/status',
                 '/metrics',
                 '/healthz', '/readyz'):
        answer = server.request('HEAD', path)
        CASES.check(f'HEAD {path}', answer.status == 200 and answer.body == b'', answer.status)


def strangers(server):
    """Without a valid key all answers are the same, byte for byte but for ids and dates."""
    fid = server.put('files', 'there', b'x').json()['id']
    key = server.key()
    wrong = key[:-1] + ('a' if key[-1] != 'a' else 'b')
    paths = [FILES + 'there', FILES + 'absent', FILES + '%zz', '/v1/buckets/absent/files/x',
             '/v1/files/' + fid,
             '/v1/files/' + '0' * 26, '/v1/files?bucket=files', '/v1/files?limit=zz',
             '/v1/buckets/files',
             '/v1/buckets/absent', '/v1/admin/status', '/v1/nothing', '/v1']
    for auth in ('', f'Authorization: Bearer {wrong}\r\n', 'Authorization: Basic !!!\r\n'):
        for head in (False, True):
            seen = set()
            for method in ['HEAD'] if head else ['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'BREW']:
                for path in paths:
                    for more in ('', 'If-Match: garbage\r\nIf-None-Match: *\r\n'):
                        got = raw(server.port,
                                  f'{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
                                               f'{auth}{more}\r\n'.encode())
                        got = re.sub(rb'[0-9a-f]{32}', b'ID', re.sub(rb'Date: [^\r]*', b'', got))
                        seen.add(got)
            CASES.check(f'a stranger with {auth[:20]!r}', len(seen) == 1 and
                        b' 401 ' in seen.pop(), seen)


# --- time and numbers ---

def aborts(server):
    """500 clients that go away at every stage leave no blob, no descriptor and no memory."""
    folder = f'/proc/{server.process.pid}'

    def resident():
        with open(f'{folder}/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * 4096

    def leave(i):
        chunked, size = i % 5 == 0, (100, 65536, 65537, 1 << 20, 50 << 20)[i % 5]
        head = request(server, 'PUT', f'{FILES}gone{i}',
                       'Transfer-Encoding: chunked\r\n' if chunked else
                       f'Content-Length: {size}\r\n')
        body = content((0, 1, 60000, 262145, 600000)[i // 8 % 5], 1)[:size - 1]
        if chunked:
            body = b'40000\r\n' + content(262144) + b'\r\n40000\r\n' + body[:1000]
        data = (head[:i % len(head) + 1], head, head + body)[min(i % 8, 2)]
        with socket.create_connection(('127.0.0.1', server.port)) as s:
            s.sendall(data)
            if i % 8 in (3, 5):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            if i % 8 == 4:
                s.shutdown(socket.SHUT_WR)
    for i in range(100):
        leave(i)
    time.sleep(1)
    files, memory, blobs = len(os.listdir(f'{folder}/fd')), resident(), stored(server, 'blobs')
    for i in range(500):
        leave(i)
    wait_for(lambda: not stored(server, 'staging') and len(os.listdir(f'{folder}/fd')) <= files)
    CASES.check('aborted: staging', stored(server, 'staging') == [], stored(server, 'staging'))
    CASES.check('aborted: blobs', set(stored(server, 'blobs')) <= set(blobs))
    CASES.check('aborted: descriptors', len(os.listdir(f'{folder}/fd')) <= files + 2)
    if 'asan' not in ' '.join(BINARY):
        CASES.check('aborted: memory', resident() < memory + (16 << 20), (memory, resident()))
    listed = server.request('GET', '/v1/files?bucket=files&prefix=gone').json()['files']
    CASES.check('aborted: nothing listed', listed == [], listed[:2])


def half_open_for(server):
    """300 heads that never end, and one of which a byte comes now and then: what the latter was told
    after how many seconds, of which the machine stood still how many, and whether the server went on
    and the others were told the same."""
    began = time.monotonic()
    drip = socket.create_connection(('127.0.0.1', server.port))
    slow = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(300)]
    for s in slow:
        s.sendall(b'GET /healthz HTTP/1.1\r\nHost:')
    served = server.request('GET', '/healthz').status == 200
    drip.settimeout(0.25)
    got, late, sent = b'', 0.0, b''
    while time.monotonic() < began + 40 + late and not got:
        turn = time.monotonic()
        try:
            sent += b'E' if sent else b'G'
            drip.sendall(sent[-1:])
            got = drip.recv(1000)
        except socket.timeout:
            pass
        except OSError:  # it was told between a look and the next byte
            with contextlib.suppress(OSError):
                got = drip.recv(1000)
            break
        late += max(0.0, time.monotonic() - turn - 0.3)
    took = time.monotonic() - began
    slow[0].settimeout(60)
    told = b' 408 ' in slow[0].recv(1000)
    for s in slow + [drip]:
        s.close()
    return took, late, got, served, told


def half_open(server):
    """Heads that never end: the server goes on, and ends them after 10 s, and what the machine stands
    still."""
    for _ in range(3):
        took, late, got, served, told = half_open_for(server)
        in_time = b' 408 ' in got and 9 < took < 13 + late
        if in_time:
            break
    CASES.check('300 half open', served)
    CASES.check('slow head', in_time, (took, late, got))
    CASES.check('half open: told', told)


def slow(server, count, data):
    """Clients that send data and then neither send nor read."""
    clients = []
    for _ in range(count):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(('127.0.0.1', server.port))
        s.sendall(data)
        clients.append(s)
    time.sleep(0.5)
    return clients


def slow_bodies(server):
    """More slow uploads, or downloads, than there are buffers for one of them: the other goes on."""
    body = content(1 << 20) * 30
    server.put('files', 'big', body)
    begun = request(server, 'PUT', FILES + 'slow', 'Content-Length: 1000000\r\n', b'x' * 100)
    clients = slow(server, 450, begun)
    answer = server.get('files', 'big', connection=server.connect(40))
    CASES.check('a download beside 450 slow uploads', answer.body == body, answer.status)
    for s in clients:
        s.close()
    clients = slow(server, 450, request(server, 'GET', FILES + 'big'))
    answer = server.put('files', 'beside', body, connection=server.connect(40))
    CASES.check('an upload beside 450 slow downloads', answer.status == 201, answer.body)
    for s in clients:
        s.close()


def paused(server):
    """SIGSTOP for a while loses nothing."""
    server.process.send_signal(signal.SIGSTOP)
    with socket.create_connection(('127.0.0.1', server.port), timeout=60) as s:
        s.sendall(request(server, 'PUT', FILES + 'paused', 'Content-Length: 3\r\n', b'abc'))
        time.sleep(1)
        server.process.send_signal(signal.SIGCONT)
        CASES.check('SIGSTOP', b' 201 ' in s.recv(100))


def few_descriptors(folder):
    """Connections never take the descriptors that the log needs to rotate."""
    starter = ['sh', '-c', 'ulimit -n 480; exec "$@"', 'sh', *BINARY]
    server = Server(starter, f'{folder}/few', f'{folder}/few.log',
                    ['--segment-size', '64KiB']).start()
    slow = []
    try:
        connection = server.connect()
        connection.connect()
        slow = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(600)]
        seen = {server.put('files', f'{i}', content(20000, i), connection=connection).status
                for i in range(40)}
        CASES.check('rotation without free descriptors', seen == {201}, seen)
        for s in slow:
            s.close()
        slow = []
        end = time.monotonic() + 60
        while (status := server.put('files', 'x', b'x').status) == 503 and time.monotonic() < end:
            time.sleep(0.1)
        CASES.check('afterwards', status in (200, 201), status)
    finally:
        for s in slow:
            s.close()
        server.end()
    result = serve(folder, f'{folder}/few', limit=64)
    CASES.check('ulimit -n 64', result[0] == 2 and 'ulimit -n' in result[1], result)


# --- disks and operators ---

def serve(folder, data, address=None, limit=None):
    """A server that is to end by itself: status and text; -1 if it goes on."""
    command = [*BINARY, 'serve', '--data', data, '--s3', 'off',
               '--http', address or f'127.0.0.1:{free_port()}']
    if limit is not None:
        command = ['sh', '-c', f'ulimit -n {limit}; exec "$@"', 'sh', *command]
    with open(f'{folder}/serve.log', 'w+', encoding='utf-8') as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = -1
        out.seek(0)
        return status, out.read()


def flip(path, offset):
    with open(path, 'r+b') as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def damage(folder):
    """A byte that is not the one written is never sent."""
    server = Server(BINARY, f'{folder}/dam', f'{folder}/dam.log').start()
    try:
        small = {f's{i}': content(3000 + i, i) for i in range(8)}
        for key, body in small.items():
            server.put('files', key, body)
        large = content(3 << 20, 'large')
        server.put('files', 'large', large)
        server.stop()
        server.start()
        blob = next(f for f in glob.glob(f'{server.data}/blobs/*/*/*') if os.path.isfile(f))
        size = os.path.getsize(blob)
        for offset in (0, 4096, size // 2, 3 << 20, size - 100, size - 1):
            flip(blob, offset)
            try:
                answer = server.get('files', 'large')
                good = answer.status == 500 and answer.json()['code'] == 'file-damaged'
            except Exception as error:  # reset on the way: whatever it looks like
                good = 'reset' in str(error).lower() or 'incomplete' in str(error).lower()
            flip(blob, offset)
            CASES.check(f'blob damaged at {offset}', good)
        CASES.check('blob mended', server.get('files', 'large').body == large)
        for key, body in small.items():
            packs = [(p, open(p, 'rb').read().find(body))
                     for p in glob.glob(f'{server.data}/packs/*.pack')]
            path, at = max(packs, key=lambda p: p[1])
            flip(path, at + len(body) // 2)
            answer = server.get('files', key)
            CASES.check(f'pack damaged: {key}', at >= 0 and answer.status == 500 and
                        answer.json()['code'] == 'file-damaged', (at, answer.status))
        CASES.check('a damaged file goes', server.request('DELETE', FILES + 's0').status == 204)
        CASES.check('a damaged file is replaced', server.put('files', 's1',
                                                             b'new').status == 200 and
                    server.get('files', 's1').body == b'new')
        for i in range(30):
            server.put('files', f'n{i}', content(1000, i))
        server.kill()
        flip(f'{server.data}/wal.active', 20000)
        status, text = serve(folder, server.data)
        CASES.check('log damaged below what was durable', status == 6 and 'damaged' in text, text)
    finally:
        server.end()


def root_files(folder):
    server = Server(BINARY, f'{folder}/root', f'{folder}/root.log').start()
    data = server.data
    try:
        status, text = serve(folder, data)
        CASES.check('a second server', status == 4 and
                    f'pid {server.process.pid}, http {server.address}' in text, text)
        status, text = serve(folder, f'{folder}/other', server.address)
        CASES.check('port in use', status == 4 and server.address in text, text)
        server.stop()
        with open(f'{data}/root.key', encoding='ascii') as file:
            key = file.read()
        for what, text in (('empty', ''), ('two lines', key * 2), ('short', key[:20]),
                           ('large', key * 100),
                           ('NULs', '\0' * 61)):
            with open(f'{data}/root.key', 'w', encoding='ascii') as file:
                file.write(text)
            status, said = serve(folder, data)
            CASES.check(f'root.key {what}', status == 2 and 'ID.SECRET' in said, said)
        with open(f'{data}/root.key', 'w', encoding='ascii') as file:
            file.write(key)
        os.chmod(f'{data}/root.key', 0o644)
        status, text = serve(folder, data)
        CASES.check('root.key for all', status == 2 and 'chmod 600' in text, text)
        os.chmod(f'{data}/root.key', 0o600)
        with open(f'{data}/root.json', encoding='utf-8') as file:
            root = json.load(file)
        for what, text, part in (('empty', '', 'damaged'), ('cut', '{', 'damaged'),
                                 ('array', '[]', 'damaged'),
                                 ('newer', json.dumps({**root, 'format': 99}), 'newer'),
                                 ('format 0', json.dumps({**root, 'format': 0}), 'damaged'),
                                 ('level 99', json.dumps({**root, 'feature_level': 99}), 'newer')):
            with open(f'{data}/root.json', 'w', encoding='utf-8') as file:
                file.write(text)
            status, said = serve(folder, data)
            CASES.check(f'root.json {what}', status == 6 and part in said, said)
        os.unlink(f'{data}/root.json')
        status, text = serve(folder, data)
        os.unlink(f'{data}/lock')
        status, text = serve(folder, data)
        CASES.check('nothing is left there', not os.path.exists(f'{data}/lock'), os.listdir(data))
        CASES.check('root.json missing', status == 6 and 'put its root.json back' in text, text)
        for address in ('x', '127.0.0.1', '127.0.0.1:', '127.0.0.1:99999', '::1:9001'):
            status, text = serve(folder, f'{folder}/other', address)
            CASES.check(f'--http {address}', status == 2 and '127.0.0.1:9001' in text, text)
    finally:
        server.end()


def terminated(folder):
    """SIGTERM among 20 uploads: answered or not done, nothing half, nothing to replay."""
    server = Server(BINARY, f'{folder}/term', f'{folder}/term.log').start()
    try:
        kept, begun, lock = {}, threading.Barrier(21), threading.Lock()

        def write(worker):
            body = content((4 << 20) if worker % 2 else 50000, worker)
            connection = server.connect()
            begun.wait()
            for i in range(1000):
                try:
                    status = server.put('files', f'{worker}/{i}', body,
                                        connection=connection).status
                except Exception:  # closed: whatever it looks like
                    return
                if status != 201:
                    return
                with lock:
                    kept[f'{worker}/{i}'] = body
        threads = [threading.Thread(target=write, args=(w,)) for w in range(20)]
        for t in threads:
            t.start()
        begun.wait()
        wait_for(lambda: kept)
        time.sleep(0.5)
        CASES.check('SIGTERM: exit', server.stop() == 0)
        for t in threads:
            t.join()
        CASES.check('SIGTERM: staging', stored(server, 'staging') == [], stored(server, 'staging'))
        server.start()
        recovered = [e for e in server.events() if e['event'] == 'node.recovered'][-1]
        CASES.check('SIGTERM: nothing to replay', recovered['to_apply'] == 0, recovered)
        lost = [k for k, body in kept.items() if server.get('files', k).body != body]
        CASES.check('SIGTERM: all acknowledged is there', kept and lost == [], lost)
    finally:
        server.end()


def full_disk(folder):
    """A small file system that fills up, where mounting is allowed."""
    mount = f'{folder}/mnt'
    os.mkdir(mount)
    if os.geteuid() != 0 or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs',
                                            mount],
                                           stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print('full_disk: cannot mount a tmpfs here; its cases are not counted')
        return
    server = Server(BINARY, f'{mount}/d', f'{folder}/full.log')
    try:
        server.start()
        lowest, seen, body = [1 << 60], {}, content(10 << 20)

        def fill(worker):  # half of them without telling a length beforehand
            for i in range(2):
                pieces = (body[at:at + 100000] for at in range(0, len(body), 100000))
                seen[(worker, i)] = server.put(
                    'files', f'{worker}/{i}', pieces if worker % 2 else body,
                    chunked=worker % 2 == 1,
                    headers={'Transfer-Encoding': 'chunked'} if worker % 2 else {})
        fill(30)  # there is room for these; of the others all may run out of it at once
        threads = [threading.Thread(target=fill, args=(w,)) for w in range(30)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            space = os.statvfs(mount)
            lowest[0] = min(lowest[0], space.f_bavail * space.f_frsize)
            time.sleep(0.005)
        codes = {a.status for a in seen.values()}
        CASES.check('full: refused', codes == {201, 507}, codes)
        refused = next(a for a in seen.values() if a.status == 507).json()
        CASES.check('full: said so', refused['code'] == 'no-space' and refused['detail'] != '',
                    refused)
        CASES.check('full: the reserve stays', lowest[0] > 12 << 20, lowest[0])
        CASES.check('full: staging', stored(server, 'staging') == [], stored(server, 'staging'))
        kept = [k for k, a in seen.items() if a.status == 201]
        CASES.check('full: reads', all(server.get('files', f'{w}/{i}').body == body for w,
                                       i in kept[:3]))
        with open(f'{mount}/ballast', 'wb', buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
        gone = [server.request('DELETE', f'{FILES}{w}/{i}').status for w, i in kept[:4]]
        CASES.check('full to the brim: deletes', set(gone) == {204}, gone)
        os.unlink(f'{mount}/ballast')
        end = time.monotonic() + 60
        while (status := server.put('files', 'back',
                                    body).status) == 507 and time.monotonic() < end:
            time.sleep(0.2)
        CASES.check('full: uploads come back', status == 201, status)
        CASES.check('full: stops', server.stop() == 0)
        subprocess.run(['mount', '-o', 'remount,ro', mount], check=True)
        status, text = serve(folder, server.data)
        CASES.check('read-only', status == 5 and 'Read-only' in text, text)
    finally:
        server.end()
        subprocess.run(['umount', mount], check=False)


def guarded(name, function, *args):
    start = time.monotonic()
    try:
        function(*args)
    except Exception:  # whatever it is, the case failed
        CASES.check(name, False)
        traceback.print_exc(file=sys.stdout)
    print(f'{name} ({time.monotonic() - start:.1f} s)', flush=True)


def main(argv):
    global BINARY
    if len(argv) != 2:
        sys.exit(__doc__)
    BINARY = shlex.split(argv[1])
    BINARY[-1] = os.path.abspath(BINARY[-1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    folder = tempfile.mkdtemp(prefix='holdfast-hostile-')
    os.mkdir(f'{folder}/s')
    server = Server(BINARY, f'{folder}/s/d', f'{folder}/s/log')
    try:
        server.start()
        for function in (names, versions, framing, bodies, strangers, aborts, slow_bodies,
                         half_open, paused):
            guarded(function.__name__, function, server)
        CASES.check('the server that stood for all this stops cleanly', server.stop() == 0)
        bad = [e for e in server.events() if e['level'] == 'error']
        CASES.check('and has logged no error', bad == [], bad[:3])
        for function in (few_descriptors, root_files, damage, terminated, full_disk):
            guarded(function.__name__, function, folder)
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)
    print(f'LAYER hostile required={REQUIRED} executed={CASES.executed} failed={CASES.failed}')
    return 1 if CASES.failed or CASES.executed < REQUIRED else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
