#!/usr/bin/env python3
"""End-to-end tests of versions and expiry: by the REST door and by the command line.

    versions.py BINARY [TEST...]

Prints `LAYER versions required= executed= failed=`, where one test is one function below; exits 1 if
one failed.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_kit import Cli  # noqa: E402
from smoke import INLINE_MAX, content, expect, expect_problem  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('versions')
test = SUITE.test
MARKER = 'Holdfast-Delete-Marker'


def settings(server, name, **values):
    return server.request('PUT', f'/v1/buckets/{name}', json.dumps(values))


def usage(server, name='box'):
    bucket = server.request('GET', f'/v1/buckets/{name}').json()
    return bucket['files'], bucket['bytes']


def listing(server, query='', bucket='box'):
    answer = server.request('GET', f'/v1/files?bucket={bucket}&versions=true{query}')
    expect(answer.status, 200, answer.body)
    return answer.json()


def rows(server, query='', bucket='box'):
    """(key, version, what it is) in the order of the list."""
    def kind(file):
        return ('marker' if file['delete_marker'] else 'file') + ('*' if file['latest'] else '')
    return [(f['key'], f['version'], kind(f)) for f in listing(server, query, bucket)['files']]


def put(server, key, body, bucket='box', **more):
    answer = server.put(bucket, key, body, **more)
    expect(answer.status in (200, 201), True, answer.body)
    return answer.json()['version']


def delete(server, path, version=None):
    return server.request('DELETE', path + (f'?version={version}' if version else ''))


def again(server, how):
    getattr(server, how)()
    server.start()


@test
def kept(server):
    """On: each version stays under its id, small or large, through restarts and a new index."""
    expect(settings(server, 'box', versions='on').json()['versions'], 'on')
    sizes = [10, INLINE_MAX + 1, 0, 2 << 20, 300]
    ids = [put(server, 'a', content(size, i)) for i, size in enumerate(sizes)]
    file = server.request('GET', '/v1/files?bucket=box').json()['files'][0]
    for how in (None, 'kill', 'stop', 'rebuild'):
        if how == 'rebuild':
            server.stop()
            os.unlink(f'{server.data}/index.db')
            server.start()
        elif how:
            again(server, how)
        expect([row[:2] for row in rows(server)], [('a', v) for v in reversed(ids)], how)
        expect([row[2] for row in rows(server)], ['file*'] + ['file'] * 4, how)
        expect(usage(server), (5, sum(sizes)), how)
        for i, (version, size) in enumerate(zip(ids, sizes)):
            for path in (server.name_path('box', 'a'), f'/v1/files/{file["id"]}'):
                got = server.request('GET', f'{path}?version={version}')
                expect((got.status, got.headers['Holdfast-Version']), (200, version), how)
                expect(got.body == content(size, i), True, (how, size))
                head = server.request('HEAD', f'{path}?version={version}')
                expect((head.status, int(head.headers['Content-Length'])), (200, size))
        part = server.get('box', f'a?version={ids[3]}'.replace('?', '%3F'))
        expect(part.status, 404)  # that is a key like others
    got = server.request('GET', server.name_path('box', 'a') + f'?version={ids[3]}',
                         headers={'Range': 'bytes=5-9'})
    expect((got.status, got.body), (206, content(2 << 20, 3)[5:10]))


@test
def markers(server):
    """DELETE leaves a marker, that can be taken away; DELETE of a version is for good."""
    settings(server, 'box', versions='on')
    path = server.name_path('box', 'a')
    first = server.put('box', 'a', b'1').json()
    second = put(server, 'a', b'22')
    gone = delete(server, path)
    marker = gone.headers[MARKER]
    expect((gone.status, len(marker)), (204, 20))
    for target in (path, f'/v1/files/{first["id"]}'):
        got = server.request('GET', target)
        expect_problem(got, 404, 'not-found')
        expect(got.headers[MARKER], marker)
        expect(server.request('HEAD', target).status, 404)
        expect_problem(server.request('GET', f'{target}?version={marker}'), 404, 'not-found')
        expect_problem(delete(server, target), 404, 'not-found')
    expect(server.request('GET', '/v1/files?bucket=box').json()['files'], [])
    expect(rows(server), [('a', marker, 'marker*'), ('a', second, 'file'),
                          ('a', first['version'], 'file')])
    expect(usage(server), (2, 3))
    expect_problem(server.request('DELETE', '/v1/buckets/box'), 409, 'bucket-not-empty')
    again(server, 'kill')
    made = server.put('box', 'a', b'333', headers={'If-None-Match': '*'})
    expect((made.status, made.json()['id']), (201, first['id']))
    gone = delete(server, path, made.json()['version'])
    expect((gone.status, gone.headers[MARKER]), (204, None))
    expect(server.get('box', 'a').status, 404)
    expect(delete(server, path, marker).status, 204)
    expect(server.get('box', 'a').body, b'22')
    expect(delete(server, path, second).status, 204)
    expect_problem(delete(server, path, second), 404, 'not-found')
    expect(server.get('box', 'a').body, b'1')
    expect(delete(server, f'/v1/files/{first["id"]}', first['version']).status, 204)
    expect((rows(server), usage(server)), ([], (0, 0)))
    expect(server.request('DELETE', '/v1/buckets/box').status, 204)


@test
def suspended(server):
    """Off, on, suspended: what takes the place of what; off is not to be had again."""
    expect(settings(server, 'box').json()['versions'], 'off')
    put(server, 'a', b'off')
    settings(server, 'box', versions='on')
    kept_one = put(server, 'a', b'on')
    expect(len(rows(server)), 2)
    expect(settings(server, 'box', versions='suspended').json()['versions'], 'suspended')
    again(server, 'kill')
    put(server, 'a', b'one')
    last = put(server, 'a', b'three')
    expect(rows(server), [('a', last, 'file*'), ('a', kept_one, 'file')])
    expect(usage(server), (2, 7))
    marker = delete(server, server.name_path('box', 'a')).headers[MARKER]
    expect(rows(server), [('a', marker, 'marker*'), ('a', kept_one, 'file')])
    expect_problem(settings(server, 'box', versions='off'), 400, 'invalid')
    expect_problem(settings(server, 'box', versions=True), 400, 'invalid')
    expect_problem(settings(server, 'box', versions='On'), 400, 'invalid')
    settings(server, 'other', versions='off')
    version = put(server, 'x', b'1', 'other')
    newer = put(server, 'x', b'2', 'other')
    path = server.name_path('other', 'x')
    expect_problem(delete(server, path, version), 404, 'not-found')
    expect_problem(server.request('GET', f'{path}?version={version}'), 404, 'not-found')
    expect(delete(server, path, newer).status, 204)


@test
def pages(server):
    """Pages of any size give each version once, in order; prefixes are rolled up."""
    settings(server, 'box', versions='on')
    want = []
    for key in ('a', 'a/b', 'a/c', 'b', 'b0'):
        ids = [put(server, key, b'x' * i) for i in range(5)]
        if key == 'b':
            ids.append(delete(server, server.name_path('box', key)).headers[MARKER])
        want += [(key, v) for v in reversed(ids)]
    for limit in (1, 2, 3, 5, 7, 26, 1000):
        got, query = [], ''
        while True:
            page = listing(server, f'&limit={limit}{query}')
            expect(len(page['files']) <= limit, True)
            got += [(f['key'], f['version']) for f in page['files']]
            if page['next'] is None:
                expect(page['next_version'], None)
                break
            query = f'&after={page["next"]}&after_version={page["next_version"]}'
        expect(got, want, limit)
    page = listing(server, '&delimiter=/&limit=8')
    expect([f['key'] for f in page['files']] + page['prefixes'], ['a'] * 5 + ['b'] * 2 + ['a/'])
    expect({row[0] for row in rows(server, '&prefix=a/')}, {'a/b', 'a/c'})
    middle = want[2]
    delete(server, server.name_path('box', middle[0]), middle[1])  # where a page ended
    page = listing(server, f'&after={middle[0]}&after_version={middle[1]}&limit=1')
    expect((page['files'][0]['key'], page['files'][0]['version']), want[3])
    expect_problem(server.request('GET', '/v1/files?bucket=box&versions=1'), 400, 'invalid')
    expect_problem(server.request('GET', '/v1/files?bucket=box&versions=true&after=a'
                                  '&after_version=x'), 400, 'invalid')


def whole(server):
    """fsck of the stopped root finds nothing."""
    server.stop()
    done = subprocess.run([*server.binary, 'fsck', server.data], capture_output=True, text=True,
                          check=False)
    expect(done.returncode, 0, done.stdout + done.stderr)
    server.start()


@test
def checked(server):
    """fsck understands versions, markers and files that end."""
    settings(server, 'box', versions='on')
    for i in range(4):
        put(server, 'a', content(100 * i))
        put(server, 'b', content(INLINE_MAX + i), headers={'Holdfast-Expires': '3600'})
    delete(server, server.name_path('box', 'a'))
    delete(server, server.name_path('box', 'b'), rows(server, '&prefix=b')[1][1])
    whole(server)
    settings(server, 'box', versions='suspended')
    put(server, 'a', b'null')
    delete(server, server.name_path('box', 'b'))
    whole(server)
    expect(len(rows(server)), 10)


def wait_for(what, seconds=60):
    """Until what() is true; the tests' own clock says no more than that it never was."""
    end = time.monotonic() + seconds
    while not what():
        expect(time.monotonic() < end, True, 'it never came to it')
        time.sleep(0.05)


@test
def expires(server):
    """From its time on a file is gone, in all ways to ask for it; the header's three forms."""
    soon = 2
    begin = time.time()
    first = server.put('files', 'soon', b'x', headers={'Holdfast-Expires': str(soon)}).json()
    stays = server.put('files', 'stays', b'x').json()
    expect(stays['expires_at'], None)
    late = '2090-01-02T03:04:05.678Z'
    dated = server.put('files', 'late', content(INLINE_MAX + 1),
                       headers={'Holdfast-Expires': late}).json()
    expect(dated['expires_at'], late)
    again_dated = server.put('files', 'late', b'x', headers={
        'Holdfast-Expires': 'Mon, 02 Jan 2090 03:04:05 GMT'}).json()
    expect(again_dated['expires_at'], '2090-01-02T03:04:05.000Z')
    expect(server.get('files', 'late').headers['Holdfast-Expires'], '2090-01-02T03:04:05.000Z')
    expect(server.get('files', 'stays').headers['Holdfast-Expires'], None)
    form = server.request('POST', '/v1/files?bucket=files&key=posted', b'x',
                          headers={'Holdfast-Expires': '3600'}).json()
    expect(form['expires_at'] > first['expires_at'], True)
    wait_for(lambda: server.get('files', 'soon').status == 404)
    expect(time.time() - begin > soon - 0.1, True, 'too early')
    path = f'/v1/files/{first["id"]}'
    for target in (path, f'{path}?version={first["version"]}',
                   server.name_path('files', 'soon') + f'?version={first["version"]}'):
        expect(server.request('GET', target).status, 404, target)
        expect(server.request('HEAD', target).status, 404, target)
    expect(server.request('DELETE', path).status, 404)
    expect(server.request('PUT', path, b'x').status, 404)
    expect([f['key'] for f in server.request('GET', '/v1/files?bucket=files').json()['files']],
           ['late', 'posted', 'stays'])
    again(server, 'kill')
    expect(server.get('files', 'soon').status, 404)
    made = server.put('files', 'soon', b'y', headers={'If-None-Match': '*'})
    expect((made.status, made.json()['id'] != first['id']), (201, True))
    for value in ('', '0', '-1', '1.5', 'tomorrow', '2000-01-01T00:00:00Z', '2026-02-30T00:00:00Z',
                  '99999999999'):
        expect_problem(server.put('files', 'bad', b'x', headers={'Holdfast-Expires': value}), 400,
                       'invalid')
    whole(server)


@test
def repeats(server):
    """A repeat within 24 hours is the same request, with the first one's time."""
    headers = {'Holdfast-Expires': '600', 'Idempotency-Key': 'k'}
    first = server.put('files', 'a', b'x', headers=headers)
    time.sleep(0.01)
    second = server.put('files', 'a', b'x', headers=headers)
    expect((second.status, second.headers['Idempotent-Replayed']), (201, 'true'))
    expect(second.json(), first.json())
    headers['Holdfast-Expires'] = '601'
    expect_problem(server.put('files', 'a', b'x', headers=headers), 409, 'idempotency')


@SUITE.bare
def deleted(folder):
    """Later it is deleted for good: bytes, counts, and for a bucket nothing is left of it."""
    server = SUITE.server(folder, '--expiry-wait', '0ms').start()
    try:
        settings(server, 'box')
        for i in range(150):
            put(server, f'k{i}', b'x', headers={'Holdfast-Expires': '1'})
        put(server, 'large', content(1 << 20), headers={'Holdfast-Expires': '1'})
        put(server, 'stays', b'stays')
        wait_for(lambda: usage(server) == (1, 5), 120)
        expect(server.get('box', 'stays').body, b'stays')
        whole(server)
        expect(delete(server, server.name_path('box', 'stays')).status, 204)
        expect(server.request('DELETE', '/v1/buckets/box').status, 204)
        expect(server.stop(), 0)
    finally:
        server.end()


@test
def quota(server):
    """All versions count."""
    settings(server, 'box', versions='on', quota_bytes=10, quota_files=3)
    first = put(server, 'a', b'12345')
    put(server, 'a', b'1234')
    expect_problem(server.put('box', 'a', b'12'), 403, 'quota-exceeded')
    expect(delete(server, server.name_path('box', 'a')).status, 204)
    expect_problem(server.put('box', 'b', b'12'), 403, 'quota-exceeded')
    expect(delete(server, server.name_path('box', 'a'), first).status, 204)
    put(server, 'b', b'12')
    put(server, 'b', b'')
    expect_problem(server.put('box', 'c', b''), 403, 'quota-exceeded')
    expect(usage(server), (3, 6))


@test
def command_line(server):
    """bucket set --versions, ls --versions, get, cat, stat and rm --version, rm -r --versions."""
    folder = tempfile.mkdtemp(prefix='versions-', dir=os.path.dirname(server.data))
    cli = Cli(server.binary, folder, server)
    run = cli.run
    run('bucket', 'create', 'box')
    expect('versions are on' in run('bucket', 'set', 'box', '--versions', 'on').err, True)
    run('bucket', 'set', 'box', '--versions', 'off', status=2)
    for text in ('one', 'two'):
        with open(f'{folder}/{text}', 'w', encoding='ascii') as out:
            out.write(text)
        run('put', f'{folder}/{text}', 'box/dir/a')
    run('rm', 'box/dir/a')
    lines = run('ls', '-R', '--versions', 'box').lines()
    expect([(line[21], line[23:]) for line in lines],
           [('-', 'dir/a'), (' ', 'dir/a'), (' ', 'dir/a')])
    marker, second, first = [line.split()[0] for line in lines]
    expect(run('cat', '--version', first, 'box/dir/a').out, 'one')
    run('get', '--version', second, 'box/dir/a', 'got')
    with open(f'{folder}/got', encoding='ascii') as got:
        expect(got.read(), 'two')
    run('cat', 'box/dir/a', status=3)
    expect(json.loads(run('stat', '--json', '--version', first, 'box/dir/a').out)['size'], 3)
    run('stat', 'box/dir/a', status=3)
    run('rm', '--version', marker, 'box/dir/a')
    expect(run('cat', 'box/dir/a').out, 'two')
    run('get', '-r', '--version', first, 'box/', 'x', status=2)
    run('rm', '--versions', 'box/dir/a', status=2)
    run('rm', '-r', 'box/')
    run('bucket', 'remove', 'box', status=4)
    run('rm', '-r', '--versions', 'box/')
    expect(rows(server), [])
    run('bucket', 'remove', 'box')


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
