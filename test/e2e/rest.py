#!/usr/bin/env python3
"""End-to-end tests of what the REST door promises beyond single requests: repeats, races, buckets,
versions.

    rest.py BINARY [TEST...]

Prints `LAYER rest required= executed= failed=`, where one test is one function below; exits 1 if one
failed.
"""
import json
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from smoke import INLINE_MAX, content, expect, expect_problem  # noqa: E402
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
        expect_problem(answer, 422, 'idempotency')
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
    was carried out once."""
    for round_ in range(4):
        done = threading.Event()

        def send(i, round_=round_, done=done):
            key = f'{round_}-{i}'
            try:
                answer = post(server, content(200, i), key)
                if i == 5:
                    done.set()
                return key, i, answer
            except (OSError, json.JSONDecodeError):
                return key, i, None
            except Exception:  # http.client's, when the connection ends  # pylint: disable=broad-except
                return key, i, None

        killer = threading.Thread(target=lambda done=done: (done.wait(60), server.kill()))
        killer.start()
        answers = together(24, send)
        done.set()
        killer.join()
        server.start()
        for key, i, first in answers:
            again = post(server, content(200, i), key)
            expect(again.status, 201, again.body)
            if first is not None and first.status == 201:
                expect_same(again, first, key)
            expect_same(post(server, content(200, i), key),
                        again if first is None or first.status != 201 else first, key)
    files = server.request('GET', '/v1/files?bucket=files').json()['files']
    expect(len(files), 4 * 24)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
