#!/usr/bin/env python3
"""End-to-end tests of `holdfast serve`: a real process, real sockets, every operation of the REST
door once, a few at their edges.

    smoke.py BINARY [TEST...]

BINARY may have words before it, such as "setarch -R build-tsan/holdfast". Prints `LAYER smoke required= executed= failed=`, where one test is one function below; exits 1 if one
failed.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ports import free_port  # noqa: E402
from server import Server  # noqa: E402

BINARY = None
TESTS = []
INLINE_MAX = 65536
SIZES = (0, 1, 4096, INLINE_MAX, INLINE_MAX + 1, 262144, 262145, 20 << 20)
ODD_KEYS = ('a b', 'ü/ö.txt', '100%', '%41', 'a//b', '../x', './.', '/', 'a?b=c&d', 'q"u\'o\\te', '#',
            '+plus+', 'tab\there', '日本語', 'x' * 1024, 'a;b,c', '..', 'line\nbreak')


def test(function):
    """Marks a test: it gets a server of its own, started, in an empty directory."""
    TESTS.append(function)
    return function


def bare(function):
    """Marks a test that starts its servers itself."""
    function.bare = True
    TESTS.append(function)
    return function


def content(size, seed=0):
    """Bytes that compress badly and are the same each time."""
    block = hashlib.shake_256(str(seed).encode()).digest(min(size, 1 << 20))
    return (block * (size // max(1, len(block)) + 1))[:size] if size else b''


def expect(got, wanted, what=''):
    if got != wanted:
        raise AssertionError(f'{what}: {got!r}, not {wanted!r}')


def expect_problem(answer, status, code):
    expect(answer.status, status, answer.body)
    problem = answer.json()
    expect(answer.headers['Content-Type'], 'application/problem+json')
    expect((problem['status'], problem['code']), (status, code), problem)
    expect(problem['request_id'], answer.headers['X-Request-Id'])


# --- contents ---

@test
def sizes(server):
    """Every size comes back, sent with a length and in chunks, on one connection."""
    connection = server.connect()
    for size in SIZES:
        body = content(size, size)
        for chunked in (False, True):
            key = f'{size}{"c" if chunked else ""}'
            pieces = iter([body[i:i + 100000] for i in range(0, size, 100000)])
            answer = server.put('files', key, pieces if chunked else body, chunked=chunked,
                                headers={'Transfer-Encoding': 'chunked'} if chunked else {},
                                connection=connection)
            expect(answer.status, 201, key)
            file = answer.json()
            expect(file['sha256'], hashlib.sha256(body).hexdigest(), key)
            expect(file['size'], size)
            expect(file['durability'], {'synced': 1, 'copies': 1, 'disks': 1, 'zones': 1})
            expect(answer.headers['Holdfast-Durability'], 'synced=1/1; disks=1; zones=1')
            got = server.get('files', key, connection=connection)
            expect(got.status, 200)
            expect(got.body == body, True, f'body of {key}')
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            expect(got.headers['Repr-Digest'], f'sha-256=:{digest}:')
            expect(got.headers['ETag'], f'"{file["etag"]}"')
    connection.close()


@test
def names(server):
    """Keys are bytes, never paths."""
    for i, key in enumerate(ODD_KEYS):
        expect(server.put('files', key, content(10, i)).status, 201, key)
    for i, key in enumerate(ODD_KEYS):
        got = server.get('files', key)
        expect((got.status, got.body), (200, content(10, i)), key)
    page = server.request('GET', '/v1/files?bucket=files').json()
    expect([f['key'] for f in page['files']], sorted(ODD_KEYS, key=lambda k: k.encode()))
    expect(sorted(os.listdir(os.path.dirname(server.data))), ['d', 'log'], 'stray files')
    for raw, status in (('%00', 400), ('%ff', 400), ('x' * 1025, 400), ('%zz', 400)):
        answer = server.request('PUT', f'/v1/buckets/files/files/{raw}', b'x')
        expect(answer.status, status, raw)


@test
def by_id(server):
    """POST, and the file's id instead of its name."""
    made = server.request('POST', '/v1/files?bucket=files&key=a%2Fb', b'one')
    expect(made.status, 201)
    expect(made.headers['Location'], '/v1/buckets/files/files/a/b')
    file = made.json()
    path = '/v1/files/' + file['id']
    expect(server.request('GET', path).body, b'one')
    expect_problem(server.request('POST', '/v1/files?bucket=files&key=a%2Fb', b'two'), 409, 'exists')
    changed = server.request('PUT', path, content(100000))
    expect(changed.status, 200)
    expect(changed.json()['id'], file['id'])
    expect(changed.json()['key'], 'a/b')
    expect(changed.json()['created_at'], file['created_at'])
    expect(server.get('files', 'a/b').body, content(100000))
    version = changed.json()['version']
    expect(server.request('GET', f'{path}?version={version}').status, 200)
    expect(server.request('GET', f'{path}?version={file["version"]}').status, 404)
    expect(server.request('DELETE', f'{path}?version={file["version"]}').status, 404)
    expect(server.request('DELETE', path).status, 204)
    for method in ('GET', 'HEAD', 'PUT', 'DELETE'):
        expect(server.request(method, path, b'' if method == 'PUT' else None).status, 404, method)
    unnamed = server.request('POST', '/v1/files?bucket=files', b'x').json()
    expect(len(unnamed['key']), 26)
    expect(server.get('files', unnamed['key']).body, b'x')
    expect_problem(server.request('GET', '/v1/files/nonsense'), 404, 'not-found')


@test
def head_and_delete(server):
    body = content(300000)
    server.put('files', 'big', body)
    server.put('files', 'small', b'12345')
    for key, size in (('big', 300000), ('small', 5)):
        head = server.request('HEAD', server.name_path('files', key))
        got = server.get('files', key)
        expect(head.status, 200)
        expect(head.body, b'')
        expect(head.headers['Content-Length'], str(size))
        expect(head.headers['Accept-Ranges'], 'bytes')
        for name in got.headers:
            if name not in ('Date', 'X-Request-Id'):
                expect(head.headers[name], got.headers[name], name)
    for status in (204, 404):
        expect(server.request('DELETE', server.name_path('files', 'big')).status, status)
    expect(server.get('files', 'big').status, 404)
    expect(server.request('HEAD', server.name_path('files', 'big')).status, 404)
    expect_problem(server.get('nosuchbucket', 'x'), 404, 'no-bucket')


@test
def overwritten(server):
    """PUT of a name that is there: the same file, another version."""
    first = server.put('files', 'k', b'one')
    second = server.put('files', 'k', b'two')
    expect((first.status, second.status), (201, 200))
    expect(second.json()['id'], first.json()['id'])
    expect(second.json()['version'] != first.json()['version'], True, 'version')
    expect(server.get('files', 'k').body, b'two')


@test
def metadata(server):
    sent = {'Content-Type': 'text/x-test; charset=utf-8', 'Holdfast-Meta-Author': 'Ada L.',
            'Holdfast-Meta-x-y': '', 'Cache-Control': 'max-age=5', 'Content-Encoding': 'br',
            'Content-Disposition': 'attachment; filename="plain.txt"; filename*=UTF-8\'\'%C3%BC.txt'}
    file = server.put('files', 'm', b'x', headers=sent).json()
    expect(file['meta'], {'author': 'Ada L.', 'x-y': ''})
    expect(file['content_type'], sent['Content-Type'])
    expect(file['name'], 'ü.txt')
    got = server.get('files', 'm')
    for name in ('Content-Type', 'Holdfast-Meta-Author', 'Cache-Control', 'Content-Encoding'):
        expect(got.headers[name], sent[name], name)
    expect(got.headers['Content-Disposition'],
           'attachment; filename="__.txt"; filename*=UTF-8\'\'%C3%BC.txt')
    expect(got.headers['Content-Security-Policy'], 'sandbox')
    big = {f'Holdfast-Meta-{i}': 'x' * 1000 for i in range(9)}
    expect(server.put('files', 'm2', b'x', headers=big).status, 431)
    expect(server.get('files', 'm2').status, 404)
    expect(server.put('files', 'm2', b'x', headers={'Content-Disposition': 'a; filename="x'}).status,
           400)


@test
def digests(server):
    """A body that is not the announced one leaves nothing behind."""
    for size in (10, 300000, 3 << 20):
        body = content(size)
        right = base64.b64encode(hashlib.sha256(body).digest()).decode()
        wrong = base64.b64encode(hashlib.sha256(b'other').digest()).decode()
        answer = server.put('files', 'd', body, headers={'Repr-Digest': f'sha-256=:{wrong}:'})
        expect_problem(answer, 400, 'digest-mismatch')
        expect(server.get('files', 'd').status, 404)
        answer = server.put('files', 'd', body,
                            headers={'Repr-Digest': f'sha-512=:AAAA:, sha-256=:{right}:'})
        expect(answer.status, 201, size)
        expect(server.request('DELETE', server.name_path('files', 'd')).status, 204)
    expect(server.put('files', 'd', b'x', headers={'Repr-Digest': 'sha-256=:short:'}).status, 400)
    expect_stored(server, 'staging', lambda names: not names)


def expect_stored(server, folder, fine):
    """Waits until fine(names) of the files in a folder; what is unlinked is unlinked behind answers."""
    end = time.monotonic() + 60
    while not fine(stored_files(server, folder)) and time.monotonic() < end:
        time.sleep(0.02)
    expect(fine(stored_files(server, folder)), True, stored_files(server, folder))


def stored_files(server, folder):
    return sorted(name for _, _, names in os.walk(os.path.join(server.data, folder))
                  for name in names)


@test
def preconditions(server):
    for size in (5, 100000):
        key = f'p{size}'
        none = {'If-None-Match': '*', 'Cache-Control': 'max-age=5', 'Expires': 'Wed, 21 Oct 2065 07:28:00 GMT'}
        expect(server.put('files', key, content(size), headers={'If-Match': '*'}).status, 412)
        made = server.put('files', key, content(size), headers=none)
        expect(made.status, 201)
        etag = made.headers['ETag']
        expect_problem(server.put('files', key, b'other', headers=none), 412, 'precondition')
        expect(server.put('files', key, content(size), headers={'If-Match': '"x"'}).status, 412)
        unchanged = server.get('files', key, headers={'If-None-Match': f'"x", W/{etag}'})
        expect(unchanged.status, 304)
        for name in ('ETag', 'Last-Modified', 'Cache-Control', 'Expires'):  # RFC 9110, 15.4.5
            expect(unchanged.headers[name], server.get('files', key).headers[name], name)
        expect(server.get('files', key, headers={'If-Match': '"x"'}).status, 412)
        expect(server.get('files', key, headers={'If-Match': etag}).status, 200)
        seen = server.get('files', key).headers['Last-Modified']
        expect(server.get('files', key, headers={'If-Modified-Since': seen}).status, 304)
        expect(server.get('files', key, headers={'If-Unmodified-Since': seen}).status, 200)
        expect(server.put('files', key, content(size, 1), headers={'If-Match': etag}).status, 200)
        gone = server.request('DELETE', server.name_path('files', key), headers={'If-Match': etag})
        expect(gone.status, 412)
    expect_stored(server, 'blobs', lambda names: len(names) <= 2)


@test
def race(server):
    """32 clients make one name; one wins, and its content is there."""
    for size in (20, 100000):
        results = {}
        barrier = threading.Barrier(32)

        def make(i, size=size, results=results, barrier=barrier):
            connection = server.connect()
            connection.connect()
            barrier.wait()
            results[i] = server.put('files', f'r{size}', content(size, i), connection=connection,
                                    headers={'If-None-Match': '*'}).status
            connection.close()
        threads = [threading.Thread(target=make, args=(i,)) for i in range(32)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        expect(sorted(results.values()), [201] + [412] * 31)
        winner = next(i for i, status in results.items() if status == 201)
        expect(server.get('files', f'r{size}').body == content(size, winner), True, 'content')


# --- names ---

def pages(server, query):
    """All pages of a listing: keys, prefixes, count of pages."""
    keys, prefixes, count, after = [], [], 0, None
    while True:
        more = '' if after is None else '&after=' + urllib.parse.quote(after, safe='')
        page = server.request('GET', f'/v1/files?bucket=files{query}{more}').json()
        keys += [f['key'] for f in page['files']]
        prefixes += page['prefixes']
        count += 1
        after = page['next']
        if after is None:
            return keys, prefixes, count


@test
def listing(server):
    names_made = sorted(['a', 'b/1', 'b/2', 'b/c/3', 'd'] + [f'e/{i:03}' for i in range(40)] + ['ü/1'],
                        key=lambda k: k.encode())
    connection = server.connect()
    for name in names_made:
        server.put('files', name, b'x', connection=connection)
    server.request('DELETE', server.name_path('files', 'd'))
    names_made.remove('d')
    for limit in (1, 3, 7, 1000):
        expect(pages(server, f'&limit={limit}')[0], names_made, limit)
        keys, prefixes, _ = pages(server, f'&delimiter=/&limit={limit}')
        expect((keys, prefixes), (['a'], ['b/', 'e/', 'ü/']), limit)
    expect(pages(server, '&prefix=b/&delimiter=/')[:2], (['b/1', 'b/2'], ['b/c/']))
    expect(pages(server, '&prefix=b/&limit=2')[0], ['b/1', 'b/2', 'b/c/3'])
    expect(pages(server, '&prefix=nothing')[0], [])
    expect(pages(server, '&after=e/037')[0], ['e/038', 'e/039', 'ü/1'])
    for bad in ('&limit=0', '&limit=1001', '&limit=x', '&delimiter=ab', '&prefix=%zz',
                '&limit=1&limit=2'):
        expect(server.request('GET', f'/v1/files?bucket=files{bad}').status, 400, bad)
    expect(server.request('GET', '/v1/files').status, 400)
    expect_problem(server.request('GET', '/v1/files?bucket=absent'), 404, 'no-bucket')


@test
def buckets(server):
    def path(name):
        return f'/v1/buckets/{name}'
    expect(server.request('PUT', path('second')).status, 201)
    expect(server.request('PUT', path('second')).status, 200)
    expect(server.request('GET', path('second')).json()['name'], 'second')
    listed = server.request('GET', '/v1/buckets').json()
    expect([b['name'] for b in listed['buckets']], ['files', 'second'])
    expect(listed['next'], None)
    server.put('second', 'x', b'1')
    expect(server.get('files', 'x').status, 404)
    expect_problem(server.request('DELETE', path('second')), 409, 'bucket-not-empty')
    server.request('DELETE', server.name_path('second', 'x'))
    expect(server.request('DELETE', path('second')).status, 204)
    expect_problem(server.request('DELETE', path('second')), 404, 'no-bucket')
    expect(server.request('GET', path('second')).status, 404)
    expect(server.put('second', 'x', b'1').status, 404)
    for bad in ('ab', 'Upper', 'a..b', '1.2.3.4', 'x' * 64, 'a_b', '-ab'):
        expect_problem(server.request('PUT', path(bad)), 400, 'bad-bucket-name')


# --- strangers ---

@test
def wrong_keys(server):
    """Without the key everything looks the same, there or not."""
    server.put('files', 'there', b'x')
    good = server.key()
    wrong = good[:-1] + ('a' if good[-1] != 'a' else 'b')
    paths = ('/v1/buckets/files/files/there', '/v1/buckets/files/files/absent', '/v1/nothing',
             '/v1/buckets/absent', '/v1/admin/status', '/v1/files?bucket=files')
    for key in (None, wrong, 'HF' + 'A' * 18 + '.' + 'b' * 40, 'x'):
        answers = set()
        for path in paths:
            answer = server.request('GET', path, key=key)
            expect(answer.status, 401)
            expect('Bearer' in answer.headers['WWW-Authenticate'], True)
            problem = answer.json()
            del problem['request_id']
            answers.add(json.dumps(problem))
        expect(len(answers), 1, answers)
    basic = base64.b64encode(good.replace('.', ':', 1).encode()).decode()
    expect(server.request('GET', paths[0], key=None,
                          headers={'Authorization': f'Basic {basic}'}).status, 200)
    expect(stat.S_IMODE(os.stat(os.path.join(server.data, 'root.key')).st_mode), 0o600)
    with open(server.log, encoding='utf-8') as log:
        expect(good.split('.')[1] in log.read(), False, 'secret in the log')


@test
def refusals(server):
    expect_problem(server.request('GET', '/nothing'), 404, 'no-route')
    answer = server.request('DELETE', '/v1/files')
    expect_problem(answer, 405, 'method')
    expect(answer.headers['Allow'], 'GET, HEAD, POST')
    expect(server.request('POST', '/v1/files', b'x').status, 400)
    expect(server.put('files', 'x', b'x', headers={'Content-Range': 'bytes 0-0/2'}).status, 400)
    for length, status in ((4 << 40, 507), (6 << 40, 413)):
        raw = raw_request(server, f'PUT /v1/buckets/files/files/x HTTP/1.1\r\nHost: x\r\n'
                                  f'Authorization: Bearer {server.key()}\r\n'
                                  f'Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n')
        expect(raw.split(b' ')[1], str(status).encode(), raw[:200])
    raw = raw_request(server, 'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n'
                              'Content-Length: 2\r\n\r\n')
    expect(raw.split(b' ')[1], b'400')


@test
def ranges(server):
    """Parts of small and large files; If-Range; what lies beyond."""
    for size in (1, 1000, 65536, 300000, 5 << 20):
        body = content(size)
        key = f'range-{size}'
        etag = server.put('files', key, body).headers['ETag']
        modified = server.get('files', key).headers['Last-Modified']
        spans = [('0-0', 0, 1), ('0-', 0, size), ('-1', size - 1, size), (f'-{size * 2}', 0, size),
                 (f'{size // 2}-{size}', size // 2, size), (f'{size - 1}-', size - 1, size),
                 (f'{size // 3}-{size // 2}', size // 3, size // 2 + 1),
                 (f'0-{size // 2},{size // 3}-', 0, size)]
        for text, begin, end in spans:
            for validator in (None, etag, modified):
                headers = {'Range': f'bytes={text}'}
                if validator:
                    headers['If-Range'] = validator
                answer = server.get('files', key, headers=headers)
                expect(answer.status, 206, text)
                expect(answer.headers['Content-Range'], f'bytes {begin}-{end - 1}/{size}')
                expect(answer.body == body[begin:end], True, f'{size}: {text}')
        for headers in ({'Range': 'bytes=0-0', 'If-Range': '"other"'}, {'Range': 'lines=0-1'},
                        {'Range': 'bytes=1-0'}, {'Range': 'bytes=0-0', 'If-Range': 'W/' + etag}):
            answer = server.get('files', key, headers=headers)
            expect((answer.status, answer.body == body), (200, True), headers)
        answer = server.get('files', key, headers={'Range': f'bytes={size}-'})
        expect_problem(answer, 416, 'range')
        expect(answer.headers['Content-Range'], f'bytes */{size}')
        answer = server.get('files', key, headers={'Range': 'bytes=0-0', 'If-None-Match': etag})
        expect(answer.status, 304)
        head = server.request('HEAD', server.name_path('files', key),
                              headers={'Range': 'bytes=0-0'})
        expect((head.status, head.headers['Content-Length']), (200, str(size)))
    server.put('files', 'empty', b'')
    expect(server.get('files', 'empty', headers={'Range': 'bytes=0-'}).status, 416)


def byte_ranges(head, body):
    """The parts of a multipart/byteranges answer: (Content-Type, Content-Range, bytes)."""
    boundary = re.search(r'multipart/byteranges; boundary=(\w{32})(?:\r|$)', head).group(1).encode()
    pieces = (b'\r\n' + body).split(b'\r\n--' + boundary)
    expect((pieces[0], pieces[-1]), (b'', b'--\r\n'))
    parts = []
    for piece in pieces[1:-1]:
        fields, _, part = piece.partition(b'\r\n\r\n')
        names = dict(line.split(': ', 1) for line in fields.decode().split('\r\n')[1:])
        parts.append((names['Content-Type'], names['Content-Range'], part))
    return parts


@test
def several_ranges(server):
    """Ranges that lie apart come as parts, in the order in which they were asked for."""
    for size in (1000, 65536, 300000, 5 << 20):
        body = content(size)
        key = f'ranges-{size}'
        etag = server.put('files', key, body, headers={'Content-Type': 'text/x-a'}).headers['ETag']
        edge = min(size - 10, 262144)
        for spans in (((0, 1), (size - 1, size)), ((size // 2, size), (0, 10)),
                      ((edge - 1, edge + 1), (0, 3), (edge + 5, size), (5, edge - 3)),
                      tuple((i * 60, i * 60 + 7) for i in range(15, -1, -1))):
            text = 'bytes=' + ', '.join(f'{begin}-{end - 1}' for begin, end in spans)
            answer = server.get('files', key, headers={'Range': text, 'If-Range': etag})
            expect((answer.status, answer.headers['Content-Range'], answer.headers['ETag']), (206, None, etag))
            expect(int(answer.headers['Content-Length']), len(answer.body))
            parts = byte_ranges('multipart/' + answer.headers['Content-Type'].split('/')[1], answer.body)
            expect([part[:2] for part in parts],
                   [('text/x-a', f'bytes {begin}-{end - 1}/{size}') for begin, end in spans])
            expect([part[2] == body[begin:end] for part, (begin, end) in zip(parts, spans)], [True] * len(spans))
        for headers in ({'Range': 'bytes=' + ','.join(f'{i * 3}-{i * 3}' for i in range(17))},
                        {'Range': 'bytes=0-0,-1', 'If-Range': '"other"'}):
            answer = server.get('files', key, headers=headers)
            expect((answer.status, answer.body == body), (200, True), headers)
        server.put('files', key, body, headers={'Content-Encoding': 'x'})
        expect(server.get('files', key, headers={'Range': 'bytes=0-0,-1'}).status, 200)
        expect(server.get('files', key, headers={'Range': 'bytes=0-0'}).status, 206)


@test
def several_ranges_slowly(server):
    """A client takes the parts of a large file slowly, while that is deleted: it gets them all."""
    size = 24 << 20
    body = content(size)
    server.put('files', 'gone', body)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(60)
        s.connect(('127.0.0.1', server.port))
        s.sendall(f'GET {server.name_path("files", "gone")} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'
                  f'Authorization: Bearer {server.key()}\r\n'
                  f'Range: bytes=1-{size // 2},{size // 2 + 2}-\r\n\r\n'.encode())
        got = s.recv(1000)
        expect(server.request('DELETE', server.name_path('files', 'gone')).status, 204)
        expect_stored(server, 'blobs', lambda names: not names)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        pieces = [got]
        while piece := s.recv(1 << 16):
            pieces.append(piece)
    head, _, rest = b''.join(pieces).partition(b'\r\n\r\n')
    expect(head.startswith(b'HTTP/1.1 206 '), True, head)
    parts = byte_ranges(head.decode(), rest)
    expect([part[2] for part in parts] == [body[1:size // 2 + 1], body[size // 2 + 2:]], True)
    expect(server.request('GET', '/v1/admin/risk').json()['files'], 0)


def form_of(parts, boundary=b'bound', end=b'--\r\n'):
    """A multipart/form-data body of (headers, content) pairs."""
    body = b''.join(b'--' + boundary + b'\r\n' + head + b'\r\n\r\n' + content_ + b'\r\n'
                    for head, content_ in parts)
    return body + b'--' + boundary + end


@test
def forms(server):
    """POST of multipart/form-data, as browsers and `curl -F file=@NAME` send it."""
    headers = {'Content-Type': 'multipart/form-data; boundary=bound'}
    file_head = (b'Content-Disposition: form-data; name="file"; filename="a b.txt"\r\n'
                 b'Content-Type: text/plain')
    # Sizes around what stays in memory, what a buffer holds, and boundaries cut by buffers.
    near = b'\r\n--boun' * 40000
    bodies = [b'', b'x', content(65536), content(65537), content(1 << 20), near, near[3:], near[5:]]
    bodies += [content((1 << 18) - 140 + i) + b'\r\n--bounx' for i in range(0, 40, 3)]
    for chunked in (False, True):
        for i, body in enumerate(bodies):
            key = f'form-{i}-{chunked}'
            form = form_of([(file_head, body)])
            pieces = iter([form[j:j + 50000] for j in range(0, len(form), 50000)])
            answer = server.request('POST', f'/v1/files?bucket=files&key={key}',
                                    pieces if chunked else form, headers=headers, chunked=chunked)
            expect(answer.status, 201, answer.body)
            file = json.loads(answer.body)
            expect((file['name'], file['content_type'], file['size'], file['sha256']),
                   ('a b.txt', 'text/plain', len(body), hashlib.sha256(body).hexdigest()))
            got = server.get('files', key)
            expect(got.body == body, True, key)
            expect(got.headers['Content-Type'], 'text/plain')
    good = form_of([(file_head, b'x')])
    for form, status in ((good[:-4], 400), (good[:20], 400), (b'', 400), (form_of([]), 400),
                         (form_of([(file_head, b'x'), (file_head, b'y')]), 400),
                         (form_of([(b'Content-Disposition: form-data; name="other"', b'x')]), 400),
                         (form_of([(b'Content-Type: text/plain', b'x')]), 400),
                         (form_of([(file_head, content(1 << 20))], end=b'-x'), 400)):
        answer = server.request('POST', '/v1/files?bucket=files&key=refused', form, headers=headers)
        expect(answer.status, status, form[:100])
    digest = {**headers, 'Repr-Digest': 'sha-256=:' + base64.b64encode(bytes(32)).decode() + ':'}
    expect(server.request('POST', '/v1/files?bucket=files', good, headers=digest).status, 400)
    bare_type = {'Content-Type': 'multipart/form-data'}
    expect(server.request('POST', '/v1/files?bucket=files', good, headers=bare_type).status, 400)
    expect(server.get('files', 'refused').status, 404)
    expect_stored(server, 'staging', lambda names: not names)
    # By PUT the bytes are a content like others.
    server.put('files', 'raw', good, headers=headers)
    expect(server.get('files', 'raw').body, good)


def raw_request(server, text):
    """Bytes as they are; all that comes back until the server closes."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=60) as s:
        s.sendall(text.encode())
        got = b''
        while True:
            piece = s.recv(65536)
            if not piece:
                return got
            got += piece


@test
def broken_uploads(server):
    """A client that goes away in its upload leaves nothing behind."""
    for size, sent in ((50000, 100), (1 << 20, 500000), (8 << 20, 3 << 20)):
        with socket.create_connection(('127.0.0.1', server.port), timeout=60) as s:
            s.sendall(f'PUT /v1/buckets/files/files/x HTTP/1.1\r\nHost: x\r\n'
                      f'Authorization: Bearer {server.key()}\r\n'
                      f'Content-Length: {size}\r\n\r\n'.encode() + content(sent))
    expect_stored(server, 'staging', lambda names: not names)
    expect_stored(server, 'blobs', lambda names: not names)
    expect(server.get('files', 'x').status, 404)
    server.put('files', 'big', content(20 << 20))
    with socket.create_connection(('127.0.0.1', server.port), timeout=60) as s:
        s.sendall(f'GET /v1/buckets/files/files/big HTTP/1.1\r\nHost: x\r\n'
                  f'Authorization: Bearer {server.key()}\r\n\r\n'.encode())
        s.recv(1000)
    expect(server.request('GET', '/healthz').status, 200)


@test
def slow_reader(server):
    """A download that began before its file was replaced gets the old content, whole."""
    old, new = content(20 << 20, 1), content(20 << 20, 2)
    server.put('files', 'k', old)
    connection = server.connect()
    connection.request('GET', server.name_path('files', 'k'),
                       headers={'Authorization': f'Bearer {server.key()}'})
    response = connection.getresponse()
    begin = response.read(1000)
    expect(server.put('files', 'k', new).status, 200)
    time.sleep(1.5)  # apply and checkpoint
    expect(begin + response.read() == old, True, 'old content')
    connection.close()
    expect(server.get('files', 'k').body == new, True, 'new content')


@bare
def flat_memory(folder):
    """A large upload and download need no more memory than small ones."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        server.put('files', 'small', content(1 << 20))
        server.get('files', 'small')
        before = server.memory_peak()
        block = content(1 << 20)
        answer = server.put('files', 'large', (block for _ in range(400)),
                            headers={'Content-Length': str(400 << 20)})
        expect(answer.status, 201)
        connection = server.connect()
        connection.request('GET', server.name_path('files', 'large'),
                           headers={'Authorization': f'Bearer {server.key()}'})
        response = connection.getresponse()
        digest = hashlib.sha256()
        while piece := response.read(1 << 20):
            digest.update(piece)
        connection.close()
        expect(digest.hexdigest(), answer.json()['sha256'])
        grown = server.memory_peak() - before
        if 'san' not in ' '.join(BINARY):  # sanitizers keep shadows of all that was touched
            expect(grown <= 8 << 20, True, f'{grown} bytes more')
    finally:
        server.end()


# --- what administrators see ---

@test
def admin(server):
    server.put('files', 'k', b'x')
    status = server.request('GET', '/v1/admin/status').json()
    expect(status['pid'], server.process.pid)
    expect((status['buckets'], status['shards'], status['failed']), (1, 65, False))
    wal = server.request('GET', '/v1/admin/wal').json()
    expect(wal['appended_records'] >= 66, True, wal)
    shards = server.request('GET', '/v1/admin/shards').json()['shards']
    expect(len(shards), 65)
    expect({s['role'] for s in shards}, {'primary'})
    ready = server.request('GET', '/readyz', key=None)
    expect((ready.status, ready.json()['ready']), (200, True))
    expect(server.request('GET', '/healthz', key=None).json()['status'], 'ok')


@test
def metrics(server):
    """Well-formed, and they count."""
    connection = server.connect()  # one loop: an answer is counted before the next is begun
    server.put('files', 'k', content(1000), connection=connection)
    server.get('files', 'absent', connection=connection)
    text = server.request('GET', '/metrics', key=None, connection=connection).body.decode()
    connection.close()
    samples, types = {}, {}
    for line in text.splitlines():
        words = line.split(' ')
        if line.startswith('# TYPE '):
            expect(words[2] in types, False, f'{words[2]} twice')
            types[words[2]] = words[3]
        elif not line.startswith('#'):
            name, value = line.rsplit(' ', 1)
            expect(name in samples, False, f'{name} twice')
            samples[name] = float(value)
    for name in samples:
        family = name.split('{')[0]
        for suffix in ('_bucket', '_sum', '_count'):
            if family.endswith(suffix) and family[:-len(suffix)] in types:
                family = family[:-len(suffix)]
        expect(family in types, True, f'{name} has no TYPE')
        expect(family.startswith(('holdfast_', 'process_', 'http_server_')), True, name)
        expect(types[family] == 'counter', family.endswith('_total'), family)
    count = 'http_server_request_duration_seconds_count{door="rest",op="%s",code="%d"}'
    expect(samples[count % ('put', 201)], 1)
    expect(samples[count % ('get', 404)], 1)
    expect(samples['holdfast_errors_total{door="rest",code="not-found"}'], 1)
    expect(samples['holdfast_request_body_bytes_total{door="rest",op="put"}'], 1000)
    expect(samples['holdfast_requests_in_flight{door="rest"}'], 1)
    expect(samples['holdfast_ready'], 1)
    free = [value for name, value in samples.items()
            if name.startswith('holdfast_storage_free_bytes{root="')]
    expect(len(free) == 1 and free[0] > 0, True, free)
    expect(any(name.startswith('holdfast_wal_') for name in samples), True, 'the log')


@bare
def access_log(folder):
    server = Server(BINARY, f'{folder}/d', f'{folder}/log', ['--access-log']).start()
    try:
        answer = server.request('GET', '/v1/files?bucket=files&prefix=secret')
        server.stop()
        lines = [e for e in server.events() if e['event'] == 'http.request']
        line = next(e for e in lines if e['request_id'] == answer.headers['X-Request-Id'])
        expect((line['method'], line['path'], line['status']), ('GET', '/v1/files', 200))
        with open(server.log, encoding='utf-8') as log:
            expect('secret' in log.read(), False)
    finally:
        server.end()


# --- starts and stops ---

@bare
def killed(folder):
    """kill -9 while clients write: all that was acknowledged is there."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log', ['--segment-size', '64KiB']).start()
    try:
        kept = {}
        statuses = set()
        lock = threading.Lock()
        for round_number in range(3):
            done = threading.Event()

            def write(worker, round_number=round_number, done=done):
                connection = server.connect()
                for i in range(10000):
                    size = (10, 3000, 70000)[i % 3]
                    key = f'{round_number}/{worker}/{i}'
                    try:
                        answer = server.put('files', key, content(size, key), connection=connection)
                    except (OSError, http.client.HTTPException):
                        return
                    with lock:
                        kept[key] = size
                        statuses.add(answer.status)
                    if done.is_set():
                        return
            threads = [threading.Thread(target=write, args=(w,)) for w in range(4)]
            for t in threads:
                t.start()
            wanted = len(kept) + 150
            while len(kept) < wanted and any(t.is_alive() for t in threads):
                time.sleep(0.01)
            server.kill()
            done.set()
            for t in threads:
                t.join()
            expect((len(kept) >= wanted, statuses), (True, {201}))
            server.start()
        connection = server.connect()
        for key, size in kept.items():
            got = server.get('files', key, connection=connection)
            expect((got.status, got.body == content(size, key)), (200, True), key)
        connection.close()
        listed = set(pages(server, '')[0])
        expect(set(kept) - listed, set(), 'not listed')
    finally:
        server.end()


@bare
def stopped(folder):
    """SIGTERM finishes what is under way and leaves nothing to replay."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        for i in range(50):
            server.put('files', f'{i}', content(100))
        body = content(4 << 20)
        with socket.create_connection(('127.0.0.1', server.port), timeout=60) as s:
            s.sendall(f'PUT /v1/buckets/files/files/last HTTP/1.1\r\nHost: x\r\n'
                      f'Authorization: Bearer {server.key()}\r\n'
                      f'Content-Length: {len(body)}\r\n\r\n'.encode() + body[:1 << 20])
            expect_stored(server, 'staging', lambda names: len(names) == 1)  # it is under way
            server.process.terminate()
            time.sleep(0.3)
            expect(server.process.poll(), None, 'it did not wait')
            s.sendall(body[1 << 20:])
            expect(s.recv(100).split(b' ')[1], b'201')
        expect(server.process.wait(60), 0)
        events = [e['event'] for e in server.events()]
        expect(events[-1], 'node.stopped')
        server.start()
        recovered = [e for e in server.events() if e['event'] == 'node.recovered'][-1]
        expect(recovered['to_apply'], 0, recovered)
        expect(recovered['records'] <= 1, True, recovered)  # the CHECKPOINT at the head
        expect(server.get('files', 'last').body == body, True)
        expect(server.get('files', '49').status, 200)
        expect(server.stop(), 0)
    finally:
        server.end()


@bare
def failed_root(folder):
    """A body whose sync fails: the root takes no more writes, reads go on, a restart has the rest."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log', fault='blob.finish=fail:EIO@2').start()
    try:
        big, small = content(300000), content(300)
        expect(server.put('files', 'big', big).status, 201)
        expect(server.put('files', 'small', small).status, 201)
        expect_problem(server.put('files', 'lost', big), 503, 'root-failed')
        end = time.monotonic() + 60
        while server.request('GET', '/readyz', key=None).status != 503 and time.monotonic() < end:
            time.sleep(0.02)
        expect(server.request('GET', '/readyz', key=None).json()['phase'], 'failed')
        expect('blob' in server.request('GET', '/readyz', key=None).json()['cause'], True)
        expect_problem(server.put('files', 'small', b'other'), 503, 'root-failed')
        expect_problem(server.request('DELETE', server.name_path('files', 'small')), 503,
                       'root-failed')
        expect(server.get('files', 'big').body == big, True)
        expect(server.get('files', 'small').body, small)
        expect(server.get('files', 'lost').status, 404)
        expect(server.request('GET', '/v1/admin/status').json()['failed'], True)
        expect(server.stop() != 0, True, 'exit status')
        server.fault = None
        server.start()
        expect(server.get('files', 'big').body == big, True)
        expect(server.get('files', 'small').body, small)
        expect(server.get('files', 'lost').status, 404)
        expect(server.put('files', 'lost', big).status, 201)
        expect_stored(server, 'blobs', lambda names: len(names) == 2)
    finally:
        server.end()


def run_serve(*args, env=None):
    """A server that ends by itself: exit status and what it said."""
    result = subprocess.run([*BINARY, 'serve', '--s3', 'off', *args], stdin=subprocess.DEVNULL,
                            text=True, capture_output=True, timeout=30, env={**os.environ, **(env or {})},
                            check=False)
    return result.returncode, result.stderr + result.stdout


@bare
def second_server(folder):
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        status, text = run_serve('--data', server.data, '--http', f'127.0.0.1:{free_port()}')
        expect(status, 4, text)
        for part in (f'pid {server.process.pid}', server.address, 'in use'):
            expect(part in text, True, text)
        status, text = run_serve('--data', f'{folder}/other', '--http', server.address)
        expect((status, server.address in text), (4, True), text)
        expect(server.request('GET', '/healthz').status, 200)
    finally:
        server.end()


@bare
def refused_directories(folder):
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    server.stop()
    address = f'127.0.0.1:{free_port()}'
    root = os.path.join(server.data, 'root.json')
    with open(root, encoding='utf-8') as file:
        info = json.load(file)
    with open(root, 'w', encoding='utf-8') as file:
        json.dump({**info, 'format': 99}, file)
    status, text = run_serve('--data', server.data, '--http', address)
    expect((status, 'newer' in text), (6, True), text)
    os.mkdir(f'{folder}/foreign')
    with open(f'{folder}/foreign/thesis.txt', 'w', encoding='utf-8') as file:
        file.write('mine')
    status, text = run_serve('--data', f'{folder}/foreign', '--http', address)
    expect((status, 'thesis.txt' in text), (6, True), text)
    expect(os.listdir(f'{folder}/foreign').count('root.json'), 0)
    with open(f'{folder}/plain', 'w', encoding='utf-8') as file:
        file.write('x')
    status, text = run_serve('--data', f'{folder}/plain', '--http', address)
    expect(status != 0, True, text)


@bare
def options(folder):
    data = f'{folder}/d'
    for args, part in (
            ((), '--data'), (('--data', data, '--segment-sise', '1MiB'), '--segment-size'),
            (('--data', data, '--segment-size', '1KiB'), '64KiB..1GiB'),
            (('--data', data, '--data', data + '2', '--data', data + '3', '--data', data + '4'), 'at most 3'), (('--data', data, 'x'), '"x"'),
            (('--data', data, '--s3', 'nowhere'), 'ADDRESS:PORT'), (('--data',), 'value'),
            (('--data', data, '--log-level', 'loud'), 'debug')):
        status, text = run_serve(*args)
        expect((status, part in text), (2, True), text)
    status, text = run_serve('--data', data, env={'HOLDFAST_THREADS': '999'})
    expect((status, 'HOLDFAST_THREADS' in text), (2, True), text)
    status, text = run_serve('--help')
    expect((status, '--segment-size' in text), (0, True))
    expect(os.path.exists(data), False)


def run_one(function):
    """Runs one test in a folder of its own; the reason why it failed, or None."""
    folder = tempfile.mkdtemp(prefix='holdfast-smoke-')
    server = None
    try:
        if getattr(function, 'bare', False):
            function(folder)
        else:
            server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
            function(server)
            expect(server.stop(), 0, 'exit status')
        return None
    except Exception:  # whatever it is, the test failed
        log = f'{folder}/log'
        tail = ''
        if os.path.exists(log):
            with open(log, encoding='utf-8', errors='replace') as lines:
                tail = ''.join(lines.readlines()[-15:])
        return traceback.format_exc() + tail
    finally:
        if server is not None:
            server.end()
        shutil.rmtree(folder, ignore_errors=True)


def main(argv):
    global BINARY
    if len(argv) < 2:
        sys.exit(__doc__)
    BINARY = shlex.split(argv[1])
    BINARY[-1] = os.path.abspath(BINARY[-1])
    chosen = [t for t in TESTS if not argv[2:] or t.__name__ in argv[2:]]
    failed = 0
    for function in chosen:
        start = time.monotonic()
        reason = run_one(function)
        print(f'{"ok    " if reason is None else "FAILED"} {function.__name__}'
              f' ({time.monotonic() - start:.1f} s)', flush=True)
        if reason is not None:
            failed += 1
            print(reason, flush=True)
    required = len(chosen) if argv[2:] else len(TESTS)
    print(f'LAYER smoke required={required} executed={len(chosen)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
