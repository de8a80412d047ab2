#!/usr/bin/env python3
"""End-to-end tests of what the REST door promises beyond single requests: repeats, races, buckets,
versions.

    rest.py BINARY [TEST...]

Prints `LAYER rest required= executed= failed=`, where one test is one function below; exits 1 if one
failed.
"""
import base64
import hashlib
import http.client
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from smoke import (INLINE_MAX, content, expect, expect_problem, form_of,  # noqa: E402
                   stored_files)
from suite import Suite  # noqa: E402

SUITE = Suite('rest')
test = SUITE.test
bare = SUITE.bare


def post(server, body, key, name=None, **more):
    """POST of a file with an Idempotency-Key."""
    target = '/v1/files?bucket=files' + (f'&key={name}' if name else '')
    return server.request('POST', target, body, headers={'Idempotency-Key': key, **more})


def together(count, function):
    """Calls function(0) … function(count - 1) at once; what each gave."""
    results = [None] * count
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        try:
            results[i] = function(i)
        except Exception as failure:  # pylint: disable=broad-except
            results[i] = failure

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


# --- Idempotency-Key ---

def expect_same(again, first, what=''):
    """The answer to a repeat is the first answer."""
    expect((again.status, again.headers['Idempotent-Replayed']), (first.status, 'true'), what)
    expect(again.json(), first.json(), what)
    for name in ('ETag', 'Location', 'Holdfast-File-Id', 'Holdfast-Version'):
        expect(again.headers[name], first.headers[name], what)


@test
def repeated_post(server):
    """With and without a name, small and large, before and after kill -9 and a clean stop."""
    made = []
    for size in (0, 10, INLINE_MAX + 1, 3 << 20):
        for name in (None, f'n{size}'):
            key = f'key {size} {name}'
            first = post(server, content(size), key, name, **{'Holdfast-Meta-A': 'b'})
            expect(first.status, 201, first.body)
            expect(first.headers['Idempotent-Replayed'], None)
            made.append((size, name, key, first))
            expect_same(post(server, content(size), key, name, **{'Holdfast-Meta-A': 'b'}), first)
    for how in ('kill', 'stop', 'kill'):
        getattr(server, how)()
        server.start()
        for size, name, key, first in made:
            again = post(server, content(size), f'"{key}"', name, **{'Holdfast-Meta-A': 'b'})
            expect_same(again, first, how)
    count = len(server.request('GET', '/v1/files?bucket=files').json()['files'])
    expect(count, len(made), 'files')
    size, name, key, first = made[1]
    expect(server.put('files', name, b'newer').status, 200)
    expect_same(post(server, content(size), key, name, **{'Holdfast-Meta-A': 'b'}), first)
    expect(server.get('files', name).body, b'newer')
    expect(server.request('DELETE', server.name_path('files', name)).status, 204)
    expect_same(post(server, content(size), key, name, **{'Holdfast-Meta-A': 'b'}), first)
    expect(server.get('files', name).status, 404)


@test
def repeats_leave_nothing(server):
    """The body of a repeat is not kept."""
    blobs = f'{server.data}/blobs'

    def stored():
        return sum(len(files) for _, _, files in os.walk(blobs))

    first = post(server, content(1 << 20), 'k', 'large')
    expect((first.status, stored()), (201, 1))
    for _ in range(3):
        expect_same(post(server, content(1 << 20), 'k', 'large'), first)
    expect(stored(), 1)


@test
def other_request(server):
    """The same key with another body, name, type or method is refused; another key is another
    request."""
    expect(post(server, b'body', 'k', 'a').status, 201)
    for answer in (post(server, b'other', 'k', 'a'), post(server, b'body', 'k', 'b'),
                   post(server, b'body', 'k'), post(server, content(INLINE_MAX + 1), 'k', 'a'),
                   post(server, b'body', 'k', 'a', **{'Content-Type': 'text/plain'}),
                   server.put('files', 'a', b'body', headers={'Idempotency-Key': 'k'}),
                   server.request('DELETE', server.name_path('files', 'a'),
                                  headers={'Idempotency-Key': 'k'})):
        expect_problem(answer, 409, 'idempotency')
    expect_problem(post(server, b'body', 'k2', 'a'), 409, 'exists')
    expect(server.get('files', 'a').body, b'body')
    for key in ('', '""', 'x' * 256, 'a\x7f'):
        expect(post(server, b'x', key, 'c').status, 400, key)
    expect(server.get('files', 'c').status, 404)


@test
def repeated_put_and_delete(server):
    """PUT and DELETE take the header, too."""
    key = {'Idempotency-Key': 'p'}
    first = server.put('files', 'a', b'1', headers=key)
    expect(first.status, 201)
    expect(server.put('files', 'a', b'2').status, 200)
    expect_same(server.put('files', 'a', b'1', headers=key), first)
    expect(server.get('files', 'a').body, b'2')
    path = server.name_path('files', 'a')
    for i in range(3):
        gone = server.request('DELETE', path, headers={'Idempotency-Key': 'd'})
        expect((gone.status, gone.headers['Idempotent-Replayed']), (204, 'true' if i else None))
        server.put('files', 'a', b'3')
    expect(server.get('files', 'a').body, b'3')
    by_id = f'/v1/files/{server.get("files", "a").headers["Holdfast-File-Id"]}'
    first = server.request('PUT', by_id, b'4', headers={'Idempotency-Key': 'i'})
    expect(first.status, 200)
    expect(server.put('files', 'a', b'5').status, 200)
    expect_same(server.request('PUT', by_id, b'4', headers={'Idempotency-Key': 'i'}), first)
    expect(server.request('DELETE', by_id).status, 204)
    expect_problem(server.request('PUT', by_id, b'4', headers={'Idempotency-Key': 'i'}), 404,
                   'not-found')


@test
def repeats_outlive_their_place(server):
    """What would be refused now is answered as the first time, if it was carried out: the bucket is
    gone, its quota is lower. Nothing of the body is kept, and another request is still refused."""
    set_bucket(server, 'box')

    def put(size, key, name, **more):
        return server.put('box', name, content(size), headers={'Idempotency-Key': key}, **more)

    def posted(size, key):
        return server.request('POST', '/v1/files?bucket=box', content(size),
                              headers={'Idempotency-Key': key})

    sizes = (0, 100, INLINE_MAX + 1, 1 << 20)
    firsts = [(size, put(size, f'put {size}', f'n{size}'), posted(size, f'post {size}'))
              for size in sizes]

    def check(what, code):
        for size, put_first, post_first in firsts:
            expect_same(put(size, f'put {size}', f'n{size}'), put_first, (what, size))
            expect_same(posted(size, f'post {size}'), post_first, (what, size))
        size = sizes[-1]
        expect_same(server.put('box', f'n{size}', iter([content(size)]), chunked=True,
                               headers={'Idempotency-Key': f'put {size}'}), firsts[-1][1], what)
        for body in (content(size, 1), content(100)):
            answer = server.put('box', f'n{size}', body, headers={'Idempotency-Key': f'put {size}'})
            expect_problem(answer, 409, 'idempotency')
        expect_problem(put(size, 'new', 'new'), *code)

    set_bucket(server, 'box', quota_bytes=1)
    check('quota', (403, 'quota-exceeded'))
    for file in server.request('GET', '/v1/files?bucket=box').json()['files']:
        expect(server.request('DELETE', f'/v1/files/{file["id"]}').status, 204)
    check('files are gone', (403, 'quota-exceeded'))
    expect(server.request('DELETE', '/v1/buckets/box').status, 204)
    for how in (None, 'kill'):
        if how:
            server.kill()
            server.start()
        check(f'bucket is gone {how}', (404, 'no-bucket'))
    server.stop()
    server.start()  # what is unlinked later is unlinked now
    expect([stored_files(server, folder) for folder in ('staging', 'blobs')], [[], []])


@test
def keys_that_are_not_kept(server):
    """Where a request can't be told from its repeat, the header is refused: its sender counts on it."""
    file = server.request('POST', '/v1/files?bucket=files', b'x').json()
    set_bucket(server, 'box')
    ids = json.dumps({'ids': [file['id']]})
    for method, path, body in (('POST', '/v1/files:delete', ids), ('POST', '/v1/files:delete', None),
                               ('PUT', '/v1/buckets/new', None),
                               ('PUT', '/v1/buckets/box', '{"quota_files": 7}'),
                               ('DELETE', '/v1/buckets/box', None),
                               ('POST', '/v1/admin/scrub/pause', None)):
        for key in ('k', ''):
            answer = server.request(method, path, body, headers={'Idempotency-Key': key})
            expect_problem(answer, 501, 'not-implemented')
            expect('Idempotency-Key' in answer.json()['detail'], True, answer.body)
    expect(server.request('GET', f'/v1/files/{file["id"]}').body, b'x')
    expect(server.request('GET', '/v1/buckets/new').status, 404)
    expect(server.request('GET', '/v1/buckets/box').json()['quota_files'], None)


@test
def repeats_at_once(server):
    """Sent by many at the same time, once with bodies that take a while: one file."""
    for size in (100, 2 << 20):
        answers = together(16, lambda _, size=size: post(server, content(size), f'at once {size}'))
        firsts = [a for a in answers if a.headers['Idempotent-Replayed'] is None]
        expect(len(firsts), 1)
        for answer in answers:
            if answer is not firsts[0]:
                expect_same(answer, firsts[0])
    expect(len(server.request('GET', '/v1/files?bucket=files').json()['files']), 2)


@test
def repeats_across_kills(server):
    """Killed in the middle of them: what the clients did not hear they ask again, and each request
    was carried out once. Goes on until some were heard of and some were not."""
    heard = unheard = rounds = 0
    while rounds < 4 or (rounds < 40 and not (heard and unheard)):
        done = threading.Event()

        def send(i, round_=rounds, done=done):
            key = f'{round_}-{i}'
            try:
                answer = post(server, content(200, i), key)
                done.set()
                return key, i, answer
            except (OSError, http.client.HTTPException):
                return key, i, None

        killer = threading.Thread(target=lambda done=done: (done.wait(60), server.kill()))
        killer.start()
        answers = together(24, send)
        done.set()
        killer.join()
        server.start()
        for key, i, first in answers:
            expect(first is None or first.status in (201, 503), True, first and first.status)
            unheard += first is None
            heard += first is not None
            again = post(server, content(200, i), key)
            expect(again.status, 201, again.body)
            if first is not None and first.status == 201:
                expect_same(again, first, key)
            expect_same(post(server, content(200, i), key),
                        again if first is None or first.status != 201 else first, key)
        rounds += 1
    print(f'       {heard} answers were heard, {unheard} were not, in {rounds} rounds')
    expect(heard > 0 and unheard > 0, True, 'some answers came before the kill, some did not')
    files = server.request('GET', '/v1/files?bucket=files&limit=1000').json()['files']
    expect(len(files), rounds * 24)


# --- conditions ---

RACERS = 32
ROUNDS = 100
LONG_AGO = 'Mon, 01 Jan 2001 00:00:00 GMT'
LATER = 'Fri, 01 Jan 2100 00:00:00 GMT'


@test
def conditions_of_reads(server):
    """RFC 9110 section 13.2.2, in its order."""
    made = server.put('files', 'a', b'x')
    etag = made.headers['ETag']
    when = server.get('files', 'a').headers['Last-Modified']
    for headers, status in (
            ({'If-Match': etag}, 200), ({'If-Match': '*'}, 200), ({'If-Match': '"x"'}, 412),
            ({'If-None-Match': etag}, 304), ({'If-None-Match': '*'}, 304),
            ({'If-None-Match': f'W/{etag}'}, 304), ({'If-None-Match': '"x"'}, 200),
            ({'If-Match': f'W/{etag}'}, 412),
            ({'If-Modified-Since': when}, 304), ({'If-Modified-Since': LATER}, 304),
            ({'If-Modified-Since': LONG_AGO}, 200), ({'If-Modified-Since': 'soon'}, 200),
            ({'If-Unmodified-Since': when}, 200), ({'If-Unmodified-Since': LONG_AGO}, 412),
            ({'If-Unmodified-Since': 'soon'}, 200),
            ({'If-Match': etag, 'If-Unmodified-Since': LONG_AGO}, 200),
            ({'If-None-Match': '"x"', 'If-Modified-Since': when}, 200),
            ({'If-Match': etag, 'If-None-Match': etag}, 304)):
        for method in ('GET', 'HEAD'):
            answer = server.request(method, server.name_path('files', 'a'), headers=headers)
            expect(answer.status, status, f'{method} {headers}')
    for headers in ({'If-Match': '*'}, {'If-None-Match': '*'}):  # ignored, as it is 404 without
        expect(server.get('files', 'absent', headers=headers).status, 404)


@test
def conditions_of_writes(server):
    """Of PUT, by name and by id, and DELETE."""
    made = server.put('files', 'a', b'x')
    id_path = f'/v1/files/{made.json()["id"]}'
    path = server.name_path('files', 'a')
    for headers, status in (
            ({'If-Unmodified-Since': LONG_AGO}, 412), ({'If-Unmodified-Since': LATER}, 200),
            ({'If-Unmodified-Since': 'soon'}, 200), ({'If-Match': '"x"'}, 412),
            ({'If-Match': '*', 'If-Unmodified-Since': LONG_AGO}, 200),
            ({'If-None-Match': '*'}, 412), ({'If-None-Match': '"x"'}, 200)):
        for target in (path, id_path):
            answer = server.request('PUT', target, b'y', headers=headers)
            expect(answer.status, status, f'{target} {headers}')
    expect_problem(server.put('files', 'absent', b'x', headers={'If-Match': '*'}), 412,
                   'precondition')
    expect(server.get('files', 'absent').status, 404)
    expect(server.put('files', 'new', b'x', headers={'If-Unmodified-Since': LONG_AGO}).status, 201)
    for headers, status in (
            ({'If-Unmodified-Since': LONG_AGO}, 412), ({'If-Match': '"x"'}, 412),
            ({'If-None-Match': '*'}, 412), ({'If-Match': '*'}, 204)):
        expect(server.request('DELETE', path, headers=headers).status, status, headers)
    expect(server.request('DELETE', path, headers={'If-Match': '*'}).status, 404)


class Racers:
    """Clients with a connection each that start together, again and again."""

    def __init__(self, server, count=RACERS):
        self.server = server
        self.key = server.key()
        self.connections = [server.connect() for _ in range(count)]

    def race(self, method, path, bodies, headers):
        """The statuses that they got; None: none."""
        def run(i):
            try:
                return self.server.request(method, path, bodies[i], headers=headers, key=self.key,
                                           connection=self.connections[i]).status
            except (OSError, http.client.HTTPException):
                self.connections[i].close()
                return None
        return together(len(self.connections), run)

    def close(self):
        for connection in self.connections:
            connection.close()


@test
def one_winner(server):
    """Each round a file is made, replaced and deleted by whoever comes first, and by nobody else."""
    racers = Racers(server)
    path = server.name_path('files', 'lock')
    none = [None] * RACERS
    for round_ in range(ROUNDS):
        bodies = [f'{round_} {i}'.encode() for i in range(RACERS)]
        got = racers.race('PUT', path, bodies, {'If-None-Match': '*'})
        expect(sorted(set(got)), [201, 412], round_)
        expect(got.count(201), 1, round_)
        file = server.get('files', 'lock')
        expect(file.body, bodies[got.index(201)], round_)
        got = racers.race('PUT', path, [b'+' + b for b in bodies], {'If-Match': file.headers['ETag']})
        expect((got.count(200), got.count(412)), (1, RACERS - 1), round_)
        file = server.get('files', 'lock')
        expect(file.body, b'+' + bodies[got.index(200)], round_)
        got = racers.race('DELETE', path, none, {'If-Match': file.headers['ETag']})
        # Who comes after the winner is refused, or finds no file any more.
        expect((got.count(204), got.count(412) + got.count(404)), (1, RACERS - 1), round_)
        expect(server.get('files', 'lock').status, 404)
    racers.close()


def race_seconds(server):
    """How long a race takes on this machine, from before the first request to after the last answer."""
    taken = []
    for i in range(3):
        racers = Racers(server)
        start = time.monotonic()
        racers.race('PUT', server.name_path('files', f'timed{i}'), [b'x'] * RACERS, {'If-None-Match': '*'})
        taken.append(time.monotonic() - start)
        racers.close()
    return sorted(taken)[1]


@test
def one_winner_across_kills(server):
    """The server is killed in the middle of a race: at most one was told that it won, and then it is
    the one whose content is there. Goes on until some races had a winner and some were cut off."""
    decided = cut_off = rounds = 0
    span = 1.3 * race_seconds(server)
    while rounds < 12 or (rounds < 60 and not (decided and cut_off)):
        key = f'lock{rounds}'
        path = server.name_path('files', key)
        conditions = {'If-None-Match': '*'}
        before = None
        if rounds % 2 == 1:
            before = b'before'
            conditions = {'If-Match': server.put('files', key, before).headers['ETag']}
        racers = Racers(server)
        bodies = [f'{rounds} {i}'.encode() for i in range(RACERS)]
        # From before the first answer to after the last, from round to round.
        timer = threading.Timer(span * (rounds % 12) / 11, server.kill)
        timer.start()
        got = racers.race('PUT', path, bodies, conditions)
        timer.join()
        racers.close()
        server.start()
        winners = [i for i, status in enumerate(got) if status in (200, 201)]
        expect(len(winners) <= 1, True, got)
        expect(set(got) <= {200, 201, 412, 503, None}, True, got)
        now = server.get('files', key)
        body = now.body if now.status == 200 else None
        decided += bool(winners)
        cut_off += None in got
        if winners:
            expect(body, bodies[winners[0]], rounds)
        else:
            expect(body == before or body in bodies, True, body)
        if 412 in got:  # told only when what it rests on was kept
            expect(body in bodies, True, body)
        rounds += 1
    print(f'       of {rounds} races {decided} told a winner, {cut_off} were cut off; '
          f'the kills came within {span:.3f} s')
    expect(decided > 0 and cut_off > 0, True, 'some races told a winner, some were cut off')


# --- digests ---

def md5_of(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def sha256_of(body):
    return f'sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:'


@test
def digests(server):
    """Content-MD5 and Repr-Digest are compared with what arrived, and come with the content."""
    for size in (0, 5, INLINE_MAX + 1, 5 << 20):
        body = content(size, 3)
        key = f'{size}'
        for name, right in (('Content-MD5', md5_of(body)), ('Repr-Digest', sha256_of(body))):
            wrong = (md5_of if name == 'Content-MD5' else sha256_of)(body + b'.')
            answer = server.put('files', key, body, headers={name: wrong})
            expect_problem(answer, 400, 'digest-mismatch')
            expect(server.get('files', key).status, 404)
            for chunked in (False, True):
                pieces = iter([body[i:i + 70000] for i in range(0, size, 70000)])
                made = server.put('files', key, pieces if chunked else body, chunked=chunked,
                                  headers={name: right, **(
                                      {'Transfer-Encoding': 'chunked'} if chunked else {})})
                expect(made.status in (200, 201), True, made.body)
                got = server.get('files', key)
                expect(got.body == body, True)
                expect(got.headers['Repr-Digest'], sha256_of(body))
                expect(got.headers['Content-MD5'], right if name == 'Content-MD5' else None)
            if size > 0 and name == 'Content-MD5':  # it is not that of a part
                part = server.get('files', key, headers={'Range': 'bytes=0-0'})
                expect((part.status, part.headers['Content-MD5']), (206, None))
                head = server.request('HEAD', server.name_path('files', key))
                expect(head.headers['Content-MD5'], right)
            expect(server.request('DELETE', server.name_path('files', key)).status, 204)
    blobs = sum(len(files) for _, _, files in os.walk(f'{server.data}/staging'))
    expect(blobs, 0, 'left in staging')


# --- many at once ---

def delete_many(server, ids):
    return server.request('POST', '/v1/files:delete', json.dumps({'ids': ids}))


@test
def deleted_many(server):
    """A result for each id, in their order; one go of the log; after kill -9 they are gone."""
    sizes = [100] * 500 + [INLINE_MAX + 1] * 3
    made = [server.request('POST', '/v1/files?bucket=files', content(size, i)).json()
            for i, size in enumerate(sizes)]
    ids = [file['id'] for file in made]
    kept = ids.pop(7)
    strange = '0' * 26
    asked = ids + [strange, 'x', '', ids[0], 'ü']
    before = server.request('GET', '/v1/admin/wal').json()['syncs']
    answer = delete_many(server, asked)
    syncs = server.request('GET', '/v1/admin/wal').json()['syncs'] - before
    expect(answer.status, 200, answer.body)
    expect(answer.headers['Holdfast-Durability'], 'synced=1/1; disks=1; zones=1')
    results = answer.json()['results']
    expect([r['id'] for r in results], asked)
    expect([(r['status'], r['code']) for r in results],
           [(204, None)] * len(ids) + [(404, 'not-found')] * 5)
    expect(syncs <= 8, True, f'{syncs} syncs')
    server.kill()
    server.start()
    files = server.request('GET', '/v1/files?bucket=files').json()['files']
    expect([f['id'] for f in files], [kept])
    expect([r['status'] for r in delete_many(server, [kept, kept]).json()['results']], [204, 404])


@test
def deleted_many_refused(server):
    """What is no list of 1 to 1000 ids changes nothing."""
    file = server.request('POST', '/v1/files?bucket=files', b'x').json()
    for body in ('', 'x', '[]', '{}', '{"ids": []}', '{"ids": "x"}', '{"ids": [1]}',
                 json.dumps({'ids': [file['id'], 7]}), json.dumps({'ids': [file['id']], 'x': 1}),
                 json.dumps({'ids': [file['id']] * 1001})):
        answer = server.request('POST', '/v1/files:delete', body)
        expect_problem(answer, 400, 'invalid')
    for long in ('x' * 65, '\x7f' * 70000):  # raw in the body; escaped, its result had no room
        answer = server.request('POST', '/v1/files:delete',
                                json.dumps({'ids': [file['id'], long]}, ensure_ascii=False))
        expect_problem(answer, 400, 'invalid')
    answer = server.request('POST', '/v1/files:delete',
                            json.dumps({'ids': ['\x7f' * 64] * 1000}, ensure_ascii=False))
    expect((answer.status, len(answer.json()['results'])), (200, 1000))
    big = json.dumps({'ids': ['x' * 1000] * 200})
    expect(server.request('POST', '/v1/files:delete', big).status, 413)
    expect(server.request('GET', '/v1/files:delete').status, 405)
    expect(server.request('POST', '/v1/files:delete', '{}', key=None).status, 401)
    expect(server.request('GET', f'/v1/files/{file["id"]}').body, b'x')


# --- buckets ---

def set_bucket(server, name, **settings):
    return server.request('PUT', f'/v1/buckets/{name}', json.dumps(settings) if settings else None)


def usage(server, name):
    bucket = server.request('GET', f'/v1/buckets/{name}').json()
    return bucket['files'], bucket['bytes']


@test
def counts(server):
    """Files and bytes of a bucket are exact at every moment, also behind restarts."""
    expect(set_bucket(server, 'box').status, 201)
    sizes = {}

    def check(what):
        expect(usage(server, 'box'), (len(sizes), sum(sizes.values())), what)

    check('empty')
    for i, size in enumerate((0, 10, INLINE_MAX, INLINE_MAX + 1, 1 << 20, 10)):
        server.put('box', f'{i}', content(size))
        sizes[i] = size
        check(f'made {i}')
    for i, size in ((1, 500), (4, 3), (3, 0)):
        server.put('box', f'{i}', content(size, 1))
        sizes[i] = size
        check(f'replaced {i}')
    for how in ('kill', 'stop', 'kill'):
        getattr(server, how)()
        server.start()
        check(how)
        i = min(sizes)
        server.request('DELETE', server.name_path('box', f'{i}'))
        del sizes[i]
        check('deleted')
    listed = {b['name']: (b['files'], b['bytes'])
              for b in server.request('GET', '/v1/buckets').json()['buckets']}
    expect(listed, {'box': (len(sizes), sum(sizes.values())), 'files': (0, 0)})


@test
def settings(server):
    """Quotas are set with the bucket or later, changed, and taken away."""
    made = set_bucket(server, 'box', quota_files=3)
    expect((made.status, made.json()['quota_files'], made.json()['quota_bytes']), (201, 3, None))
    expect(set_bucket(server, 'box').json()['quota_files'], 3)
    now = set_bucket(server, 'box', quota_bytes=100)
    expect((now.status, now.json()['quota_files'], now.json()['quota_bytes']), (200, 3, 100))
    server.kill()
    server.start()
    now = server.request('GET', '/v1/buckets/box').json()
    expect((now['quota_files'], now['quota_bytes']), (3, 100))
    now = set_bucket(server, 'box', quota_files=None, quota_bytes=7).json()
    expect((now['quota_files'], now['quota_bytes']), (None, 7))
    for body in ('x', '[]', '{"quota_files": 9007199254740992}', '{"quota_files": -1}', '{"quota_files": "1"}',
                 '{"quota": 1}', '{"quota_bytes": 1.5}'):
        expect_problem(server.request('PUT', '/v1/buckets/box', body), 400, 'invalid')
    expect(server.request('GET', '/v1/buckets/box').json()['quota_bytes'], 7)


@test
def quotas(server):
    """What would exceed a quota is refused, clearly, and what makes less is not."""
    set_bucket(server, 'box', quota_files=2, quota_bytes=1000)
    expect(server.put('box', 'a', content(600)).status, 201)
    expect_problem(server.put('box', 'b', content(401)), 403, 'quota-exceeded')
    expect(server.put('box', 'b', content(400)).status, 201)
    expect_problem(server.put('box', 'c', b''), 403, 'quota-exceeded')
    expect(server.put('box', 'a', content(600, 1)).status, 200)
    expect_problem(server.put('box', 'a', content(601)), 403, 'quota-exceeded')
    id_ = server.get('box', 'a').headers['Holdfast-File-Id']
    expect_problem(server.request('PUT', f'/v1/files/{id_}', content(601)), 403, 'quota-exceeded')
    expect_problem(server.put('box', 'a', content(INLINE_MAX + 1)), 403, 'quota-exceeded')
    expect_problem(server.put('box', 'a', iter([content(300000)] * 3), chunked=True,
                              headers={'Transfer-Encoding': 'chunked'}), 403, 'quota-exceeded')
    expect(server.get('box', 'a').body, content(600, 1))
    set_bucket(server, 'box', quota_bytes=10)  # below what is there: only growth is refused
    expect_problem(server.put('box', 'a', content(601)), 403, 'quota-exceeded')
    expect(server.put('box', 'a', content(5)).status, 200)
    expect(server.request('DELETE', server.name_path('box', 'b')).status, 204)
    expect(server.put('box', 'c', content(5)).status, 201)
    expect(usage(server, 'box'), (2, 10))
    stored = sum(len(files) for part in ('blobs', 'staging')
                 for _, _, files in os.walk(f'{server.data}/{part}'))
    expect(stored, 0, 'bodies of refused uploads')


@test
def quota_below_a_file(server):
    """A file larger than the quota may be made smaller by name and by id, though what it becomes is
    still more than the quota; what is sure to make more is refused before the body is read."""
    set_bucket(server, 'box')
    id_path = f'/v1/files/{server.put("box", "a", content(100)).json()["id"]}'
    big = f'/v1/files/{server.put("box", "b", content(4 << 20)).json()["id"]}'
    set_bucket(server, 'box', quota_bytes=50)
    expect(server.put('box', 'a', content(60)).status, 200)
    expect(server.request('PUT', id_path, content(55)).status, 200)
    expect_problem(server.put('box', 'a', content(56)), 403, 'quota-exceeded')
    expect_problem(server.put('box', 'c', content(56)), 403, 'quota-exceeded')
    expect_problem(server.request('POST', '/v1/files?bucket=box', content(56)), 403, 'quota-exceeded')
    expect(server.put('box', 'b', content(2 << 20)).status, 200)
    expect(server.request('PUT', big, content(1 << 20)).status, 200)
    expect(usage(server, 'box'), (2, 55 + (1 << 20)))
    for method, target, size in (('PUT', server.name_path('box', 'b'), 2 << 20),
                                 ('POST', '/v1/files?bucket=box', 51)):
        connection = server.connect()
        connection.putrequest(method, target)
        for name, value in (('Authorization', f'Bearer {server.key()}'), ('Content-Length', size),
                            ('Expect', '100-continue')):
            connection.putheader(name, value)
        connection.endheaders()  # nothing of the body
        expect(connection.getresponse().status, 403, method)
        connection.close()
    set_bucket(server, 'forms', quota_bytes=10)  # what is around a form's file does not count
    form = form_of([(b'Content-Disposition: form-data; name="file"', content(10))])
    headers = {'Content-Type': 'multipart/form-data; boundary=bound'}
    expect(server.request('POST', '/v1/files?bucket=forms', form, headers=headers).status, 201)
    expect_problem(server.request('POST', '/v1/files?bucket=forms', form, headers=headers), 403,
                   'quota-exceeded')


@test
def quota_races(server):
    """32 clients at once do not pass a quota, and it is used up to its end."""
    racers = Racers(server)
    for round_ in range(20):
        name = f'box{round_}'
        by_files = round_ % 2 == 0
        set_bucket(server, name, **({'quota_files': 5} if by_files else {'quota_bytes': 5 * 70}))

        def put(i, name=name):
            return server.request('PUT', server.name_path(name, f'{i}'), content(70), key=racers.key,
                                  connection=racers.connections[i]).status

        got = together(RACERS, put)
        expect((got.count(201), got.count(403)), (5, RACERS - 5), round_)
        expect(usage(server, name), (5, 350), round_)
    racers.close()


@test
def deleted_under_uploads(server):
    """A bucket that is deleted while files come into it: every upload that was acknowledged is there,
    or was told that there is no such bucket. Goes on until it was refused, and was not."""
    racers = Racers(server, 9)
    deleted = rounds = 0
    while rounds < 60 or (rounds < 400 and deleted in (0, rounds)):
        round_ = rounds
        rounds += 1
        set_bucket(server, 'box')
        path = server.name_path('box', f'{round_}')

        def act(i, path=path):
            if i == 0:
                return server.request('DELETE', '/v1/buckets/box', key=racers.key,
                                      connection=racers.connections[0]).status
            return server.request('PUT', f'{path}-{i}', b'x', key=racers.key,
                                  connection=racers.connections[i]).status

        got = together(9, act)
        expect(got[0] in (204, 409), True, got)
        expect(set(got[1:]) <= {201, 404}, True, got)
        if got[0] == 204:  # all of them came behind it
            deleted += 1
            expect(set(got[1:]), {404}, round_)
            expect(server.request('GET', '/v1/buckets/box').status, 404)
            continue
        files = server.request('GET', '/v1/files?bucket=box').json()['files']
        kept = {f['key'] for f in files}
        expect({f'{round_}-{i}' for i in range(1, 9) if got[i] == 201} <= kept, True, got)
        for file in files:
            server.request('DELETE', f'/v1/files/{file["id"]}')
    racers.close()
    print(f'       deleted in {deleted} of {rounds} rounds')
    expect(0 < deleted < rounds, True, 'deleted in some rounds, refused in some')


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
