"""Preconditions over both doors at once: of any number of writers exactly one wins."""
import concurrent.futures
import threading

from conformance.multipart import LAST, begin, complete, part
from kit import md5_of

ROUNDS = 6
WRITERS = 12


def race(t, works):
    """Lets all go at once; what each returned."""
    gate = threading.Barrier(len(works))

    def one(work):
        gate.wait(60)
        return work()
    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def s3_put(t, key, body, **headers):
    return lambda: t.call('PUT', key, body=body, headers={k.replace('_', '-'): v for k, v in headers.items()}).status == 200


def rest_put(t, key, body, **headers):
    headers = {k.replace('_', '-'): v for k, v in headers.items()}
    return lambda: t.server.put(t.bucket, key, body, headers=headers).status in (200, 201)


def winner(t, name, key, bodies, won):
    t.equal(f'{name}: one wins', sum(won), 1)
    t.equal(f'{name}: and is there', t.call('GET', key).body, bodies[won.index(True)] if sum(won) == 1 else None)


def run(t):
    for turn in range(ROUNDS):
        bodies = [f'{turn}/{i}'.encode() * (1 if i % 3 else 20000) for i in range(WRITERS)]
        doors = [s3_put if i % 2 else rest_put for i in range(WRITERS)]
        key = f'new {turn}'
        won = race(t, [door(t, key, body, If_None_Match='*') for door, body in zip(doors, bodies)])
        winner(t, f'to be new {turn}', key, bodies, won)
        etag = t.call('HEAD', key).headers['ETag']
        bodies = [b'again ' + body for body in bodies]  # the same ones would have the same etag
        won = race(t, [door(t, key, body, If_Match=etag) for door, body in zip(doors, bodies)])
        winner(t, f'to match {turn}', key, bodies, won)
        # Copies, completions and puts of both doors.
        t.put('source', b'copied')
        uploads = [begin(t, f'mixed {turn}') for _ in range(3)]
        for upload in uploads:
            part(t, upload, 1, LAST, f'mixed {turn}')
        works = [lambda u=u: complete(t, u, [(1, md5_of(LAST))], f'mixed {turn}', If_None_Match='*').status == 200 for u in uploads]
        works += [s3_put(t, f'mixed {turn}', b'', If_None_Match='*', x_amz_copy_source=f'/{t.bucket}/source')] * 2
        works += [s3_put(t, f'mixed {turn}', b'put', If_None_Match='*'), rest_put(t, f'mixed {turn}', b'rest', If_None_Match='*')]
        won = race(t, works)
        winner(t, f'mixed {turn}', f'mixed {turn}', [LAST] * 3 + [b'copied'] * 2 + [b'put', b'rest'], won)
        # A deletion against writes, all of the same version.
        t.put('k', b'first')
        etag = md5_of(b'first')
        works = [lambda: t.call('DELETE', 'k', headers={'If-Match': etag}).status == 204] * 3
        works += [s3_put(t, 'k', b'second', If_Match=etag), rest_put(t, 'k', b'third', If_Match=etag)]
        won = race(t, works)
        t.equal(f'delete or write {turn}: one wins', sum(won), 1)
        got = t.call('GET', 'k')
        wanted = {3: b'second', 4: b'third'}.get(won.index(True)) if True in won else None
        t.equal(f'delete or write {turn}: and so it is', got.body if wanted else got.status, wanted or 404)
        # One upload completed many times at once is one file.
        upload = begin(t, 'once')
        part(t, upload, 1, LAST, 'once')
        won = race(t, [lambda: complete(t, upload, [(1, md5_of(LAST))], 'once').status == 200] * 4)
        t.equal(f'completed at once {turn}', (True in won, t.call('GET', 'once').body), (True, LAST))
