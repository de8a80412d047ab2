#!/usr/bin/env python3
"""Access keys: made, revoked, and what each may do, by both doors and the command line.

    keys.py BINARY [TEST...]

Python's standard library only. Prints `LAYER keys required= executed= failed=`, where one test is
one function below.
"""
import base64
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contract  # noqa: E402
from s3_raw import Raw, code_of  # noqa: E402
from smoke import expect, expect_problem  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('keys')
KEYS = '/v1/admin/keys'


def test(function):
    """Marks a test of a new server with both doors."""
    return SUITE.at_both_doors(function, function)


def s3(server, key):
    return Raw(int(server.s3_address.split(':')[1]), key)


def grant(rights, bucket, prefix=''):
    return {'bucket': bucket, 'prefix': prefix, 'rights': rights.split(',')}


def ask_key(server, *grants, name='test', key='root', **more):
    body = json.dumps({'name': name, 'grants': list(grants), **more})
    return server.request('POST', KEYS, body, key=key)


def make_key(server, *grants, **more):
    """A new key, as ID.SECRET."""
    got = ask_key(server, *grants, **more)
    expect(got.status, 201, got.body)
    made = got.json()
    return f'{made["id"]}.{made["secret"]}'


def id_of(key):
    return key.split('.')[0]


def revoke(server, key, by='root'):
    return server.request('DELETE', f'{KEYS}/{id_of(key)}', key=by)


def get(server, bucket, name, key='root'):
    return server.request('GET', server.name_path(bucket, name), key=key)


def put(server, bucket, name, body, key='root', headers=()):
    return server.request('PUT', server.name_path(bucket, name), body, headers, key=key)


def reads(server, key, bucket='files', name='a'):
    """What both doors answer to a GET of that file."""
    return (get(server, bucket, name, key).status,
            s3(server, key).call('GET', f'/{bucket}/{name}').status)


# ---- keys themselves ----

@test
def life(server):
    """Made, told without its secret, used by both doors, kept over restarts, revoked at once."""
    put(server, 'files', 'a', b'x')
    got = ask_key(server, grant('read', 'files'), name='Backup of Zoë')
    expect(got.headers['Cache-Control'], 'no-store')
    made = got.json()
    expect((made['name'], made['root'], made['expires_at'], len(made['secret'])),
           ('Backup of Zoë', False, None, 40))
    key = f'{made["id"]}.{made["secret"]}'
    basic = base64.b64encode(key.replace('.', ':').encode()).decode()
    expect(server.request('GET', '/v1/buckets', key=None,
                          headers={'Authorization': f'Basic {basic}'}).status, 200)
    for how in (None, 'kill', 'stop', 'index'):
        if how == 'index':
            server.stop()
            os.unlink(f'{server.data}/index.db')
        elif how:
            getattr(server, how)()
        if how:
            server.start()
        expect(reads(server, key), (200, 200), how)
        told = server.request('GET', f'{KEYS}/{made["id"]}')
        expect(made['secret'].encode() in told.body, False)
        expect(told.json(), {k: v for k, v in made.items() if k != 'secret'}, how)
        listed = server.request('GET', KEYS).json()
        expect(sorted(k['root'] for k in listed['keys']), [False, True], how)
    expect(revoke(server, key).status, 204)
    expect(reads(server, key), (401, 403))
    expect(code_of(s3(server, key).call('GET', '/files/a')), 'InvalidAccessKeyId')
    expect_problem(revoke(server, key), 404, 'not-found')
    expect_problem(server.request('GET', f'{KEYS}/{made["id"]}'), 404, 'not-found')
    server.kill()
    server.start()
    expect(reads(server, key), (401, 403))


@test
def bad_requests(server):
    """What is no key is refused, and none is made."""
    good = grant('read', 'files')
    for grants in ([], [{}], [good] * 33, [{'bucket': 'files', 'rights': []}],
                   [grant('own', 'files')], [grant('read', 'Bad')], [grant('read', '')],
                   [{**good, 'more': 1}], [grant('read', 'files', 'a\0b')], ['read'],
                   [{'bucket': 'files', 'rights': 'read'}]):
        expect(ask_key(server, *grants).status, 400, grants)
    for more in ({'name': ''}, {'name': 'x' * 65}, {'name': 'a\nb'}, {'other': 1},
                 {'expires_at': '2001-01-01T00:00:00Z'}, {'expires_at': 'never'}):
        expect(ask_key(server, good, **more).status, 400, more)
    long = [grant('read', 'files', f'{i}' + 'x' * 1000) for i in range(20)]
    expect(ask_key(server, *long).status, 413)
    for body in (b'', b'{', b'[]', b'{"name": "x"}'):
        expect(server.request('POST', KEYS, body).status, 400, body)
    expect(len(server.request('GET', KEYS).json()['keys']), 1)
    root = server.key().split('.')[0]
    got = server.request('DELETE', f'{KEYS}/{root}')
    expect_problem(got, 403, 'forbidden')
    expect(server.request('GET', f'{KEYS}/{root}').json()['root'], True)
    for name in ('x', 'HF0123456789ABCDEFGH', 'x' * 1500):
        expect_problem(server.request('DELETE', f'{KEYS}/{name}'), 404, 'not-found')


@test
def pages(server):
    """A list in pages has each key once, in the order of their ids."""
    made = {id_of(make_key(server, grant('read', '*'), name=f'n{i}')) for i in range(7)}
    made.add(server.key().split('.')[0])
    found, after = [], ''
    while after is not None:
        page = server.request('GET', f'{KEYS}?limit=3&after={after}').json()
        found += [k['id'] for k in page['keys']]
        after = page['next']
    expect(found, sorted(made))


@test
def expiry(server):
    """From its time on a key is not valid; the list still has it."""
    def now():
        return datetime.datetime.now(datetime.timezone.utc)
    put(server, 'files', 'a', b'x')
    made = 0
    for seconds in (4, 10, 30):  # a slow machine needs more time until it has read
        end = now() + datetime.timedelta(seconds=seconds)
        key = make_key(server, grant('read', 'files'), expires_at=end.isoformat())
        made += 1
        before = reads(server, key)
        if now() < end:
            break
    expect(before, (200, 200))
    while now() <= end:
        time.sleep(0.05)
    expect(reads(server, key), (401, 403))
    expect(len(server.request('GET', KEYS).json()['keys']), 1 + made)


@test
def killed(server):
    """Through kill -9: what was answered is so, and a key is whole or not there."""
    put(server, 'files', 'a', b'x')
    known = {}
    for round in range(4):
        for i in range(6):
            known[make_key(server, grant('read', 'files'), name=f'{round}-{i}')] = True
        for key in list(known)[::5]:
            if known[key]:
                expect(revoke(server, key).status, 204)
                known[key] = False
        server.kill()
        server.start()
        for key, valid in known.items():
            expect(reads(server, key), (200, 200) if valid else (401, 403), key)
    listed = {k['id'] for k in server.request('GET', KEYS).json()['keys'] if not k['root']}
    expect(listed, {id_of(k) for k, valid in known.items() if valid})


@test
def silence(server):
    """No secret is in any log; who made and revoked what is in the audit log."""
    key = make_key(server, grant('admin', '*'), name='boss')
    other = make_key(server, grant('read', '*'), key=key)
    revoke(server, other, by=key)
    server.request('GET', '/v1/buckets', key=other)
    server.stop()
    secrets = [k.split('.')[1].encode() for k in (key, other, server.key())]
    logs = [server.log]
    for folder, _, names in os.walk(f'{server.data}/audit'):
        logs += [os.path.join(folder, name) for name in names]
    lines = []
    for path in logs:
        with open(path, 'rb') as file:
            data = file.read()
        for secret in secrets:
            expect(secret in data, False, path)
        lines += data.decode('utf-8', 'replace').splitlines()
    for action in ('key_create', 'key_revoke'):
        found = [line for line in lines if action in line and '"audit.change"' in line]
        expect(any(id_of(key) in line and id_of(other) in line for line in found), True, lines)
    for event in ('key.created', 'key.revoked'):
        expect(any(event in line and id_of(other) in line for line in lines), True, event)
    for name in ('root.key', 'index.db', 'wal.active'):
        expect(oct(os.stat(f'{server.data}/{name}').st_mode & 0o077), '0o0', name)
    for folder, _, names in os.walk(f'{server.data}/packs'):
        for name in names:
            expect(oct(os.stat(os.path.join(folder, name)).st_mode & 0o077), '0o0', name)


# ---- what a key may do: every route of both doors ----

WHO = {'none': [], 'elsewhere': [('read', 'other')], 'read': [('read', 'box')],
       'write': [('write', 'box')], 'admin': [('admin', 'box')], 'mighty': [('admin', '*')]}
# By route of /openapi.json: for each of WHO the status. {n} is another file each time.
NO = {'none': 403, 'elsewhere': 403, 'read': 403, 'write': 403, 'admin': 403, 'mighty': 403}
ADMIN = {**NO, 'mighty': 200}
OPEN = dict.fromkeys(WHO, 200)
BY_ID_READ = {**NO, 'none': 404, 'elsewhere': 404, 'read': 200}  # who reads something: 404
BY_ID_WRITE = {**NO, 'write': 200}


def rest_table(ids, uploads):
    """(method, path of the document) → target, body, headers, statuses."""
    text = {'Content-Type': 'text/plain'}
    tus = {'Tus-Resumable': '1.0.0'}
    piece = {**tus, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': '0'}
    settings = json.dumps({'quota_files': 1000})
    name = '/v1/buckets/{bucket}/files/{key}'
    one = '/v1/buckets/{bucket}'
    key = json.dumps({'name': 'x', 'grants': [grant('read', '*')]})
    return {
        ('get', name): ('/v1/buckets/box/files/a', None, {}, {**NO, 'read': 200}),
        ('head', name): ('/v1/buckets/box/files/a', None, {}, {**NO, 'read': 200}),
        ('put', name): ('/v1/buckets/box/files/w{n}', b'x', text, {**NO, 'write': 201}),
        ('delete', name): ('/v1/buckets/box/files/d', None, {}, {**NO, 'write': 204}),
        ('get', '/v1/files'): ('/v1/files?bucket=box', None, {}, {**NO, 'read': 200}),
        ('post', '/v1/files'): ('/v1/files?bucket=box', b'x', text, {**NO, 'write': 201}),
        ('post', '/v1/files:delete'): ('/v1/files:delete', json.dumps({'ids': [ids['m']]}), {},
                                       {**NO, 'write': 200}),
        ('get', '/v1/files/{id}'): (f'/v1/files/{ids["a"]}', None, {}, BY_ID_READ),
        ('head', '/v1/files/{id}'): (f'/v1/files/{ids["a"]}', None, {}, BY_ID_READ),
        ('put', '/v1/files/{id}'): (f'/v1/files/{ids["a"]}', b'x', text, BY_ID_WRITE),
        ('delete', '/v1/files/{id}'): (f'/v1/files/{ids["i"]}', None, {}, {**NO, 'write': 204}),
        ('get', '/v1/buckets'): ('/v1/buckets', None, {}, OPEN),
        ('get', one): ('/v1/buckets/box', None, {},
                       {**NO, 'read': 200, 'write': 200, 'admin': 200, 'mighty': 200}),
        ('put', one): ('/v1/buckets/box', settings, {}, {**NO, 'admin': 200, 'mighty': 200}),
        ('delete', one): ('/v1/buckets/box', None, {}, {**NO, 'admin': 409, 'mighty': 409}),
        ('options', '/v1/uploads'): ('/v1/uploads', None, tus, dict.fromkeys(WHO, 204)),
        ('post', '/v1/uploads'): ('/v1/uploads?bucket=box&key=u{n}', b'',
                                  {**tus, 'Upload-Length': '9'}, {**NO, 'write': 201}),
        ('head', '/v1/uploads/{id}'): (f'/v1/uploads/{uploads[0]}', None, tus,
                                       {**NO, 'write': 200}),
        ('patch', '/v1/uploads/{id}'): (f'/v1/uploads/{uploads[0]}', b'x', piece,
                                        {**NO, 'write': 204}),
        ('delete', '/v1/uploads/{id}'): (f'/v1/uploads/{uploads[1]}', None, tus,
                                         {**NO, 'write': 204}),
        ('get', '/v1/admin/status'): ('/v1/admin/status', None, {}, ADMIN),
        ('get', '/v1/admin/wal'): ('/v1/admin/wal', None, {}, ADMIN),
        ('get', '/v1/admin/shards'): ('/v1/admin/shards', None, {}, ADMIN),
        ('get', '/v1/admin/replicas'): ('/v1/admin/replicas', None, {}, ADMIN),
        ('get', '/v1/admin/roots'): ('/v1/admin/roots', None, {}, ADMIN),
        ('get', '/v1/admin/nodes'): ('/v1/admin/nodes', None, {}, ADMIN),
        ('get', '/v1/admin/tasks'): ('/v1/admin/tasks', None, {}, ADMIN),
        ('post', '/v1/admin/roots/{root}/add'): ('/v1/admin/roots/none/add', None, {},
                                                 {**NO, 'mighty': 404}),
        ('post', '/v1/admin/roots/{root}/evict'): ('/v1/admin/roots/none/evict', None, {},
                                                   {**NO, 'mighty': 404}),
        ('post', '/v1/admin/roots/{root}/hand-over'): ('/v1/admin/roots/none/hand-over', None, {},
                                                       {**NO, 'mighty': 404}),
        ('get', '/v1/admin/ledger'): ('/v1/admin/ledger', None, {}, ADMIN),
        ('get', '/v1/admin/risk'): ('/v1/admin/risk', None, {}, ADMIN),
        ('get', '/v1/admin/scrub'): ('/v1/admin/scrub', None, {}, ADMIN),
        ('post', '/v1/admin/scrub/start'): ('/v1/admin/scrub/start', None, {}, ADMIN),
        ('post', '/v1/admin/scrub/pause'): ('/v1/admin/scrub/pause', None, {}, ADMIN),
        ('post', '/v1/admin/scrub/resume'): ('/v1/admin/scrub/resume', None, {}, ADMIN),
        ('post', KEYS): (KEYS, key, {}, {**NO, 'mighty': 201}),
        ('get', KEYS): (KEYS, None, {}, ADMIN),
        ('get', KEYS + '/{key_id}'): (f'{KEYS}/{ids["key"]}', None, {}, ADMIN),
        ('delete', KEYS + '/{key_id}'): (f'{KEYS}/{ids["key"]}', None, {}, {**NO, 'mighty': 204}),
        ('get', '/v1/admin/classes'): ('/v1/admin/classes', None, {}, ADMIN),
        ('get', '/v1/admin/classes/{class}'): ('/v1/admin/classes/standard', None, {}, ADMIN),
        ('put', '/v1/admin/classes/{class}'): ('/v1/admin/classes/c{n}', b'{}', {}, {**NO, 'mighty': 201}),
        ('get', '/metrics'): ('/metrics', None, {}, {**NO, 'mighty': 200}),
        ('get', '/healthz'): ('/healthz', None, {}, OPEN),
        ('get', '/readyz'): ('/readyz', None, {}, OPEN),
        ('get', '/openapi.json'): ('/openapi.json', None, {}, OPEN),
        ('get', '/docs'): ('/docs', None, {}, OPEN),
        ('get', '/docs/{part}'): ('/docs/docs.js', None, {}, OPEN),
    }


def begin_upload(server):
    got = server.request('POST', '/v1/uploads?bucket=box&key=t', b'',
                         {'Tus-Resumable': '1.0.0', 'Upload-Length': '9'})
    expect(got.status, 201, got.body)
    return got.headers['Location'].rsplit('/', 1)[1]


def fill(server):
    """Two buckets with files; ids by name."""
    ids = {}
    for bucket in ('box', 'other'):
        server.request('PUT', f'/v1/buckets/{bucket}')
        for name in 'adim':
            ids[name if bucket == 'box' else f'other/{name}'] = put(server, 
                bucket, name, b'x').json()['id']
    return ids


def make_all(server):
    """The keys of WHO; that of `none` may do things with a bucket that is not there."""
    return {who: make_key(server, *([grant(*g) for g in grants] or [grant('read', 'nowhere')]))
            for who, grants in WHO.items()}


@test
def rest_matrix(server):
    """Each route × each key: none, of elsewhere, read, write, admin. The document's routes are all
    there, and a refusal changes nothing."""
    ids = fill(server)
    ids['key'] = id_of(make_key(server, grant('read', 'box')))
    uploads = [begin_upload(server), begin_upload(server)]
    keys = make_all(server)
    table = rest_table(ids, uploads)
    document = contract.document(tuple(server.binary)).api
    routes = {(method, path) for path, methods in document['paths'].items() for method in methods
              if method in ('get', 'head', 'put', 'post', 'delete', 'patch', 'options')}
    expect(sorted(routes ^ set(table)), [], 'routes that the matrix or the document lacks')
    count = 0
    for (method, path), (target, body, headers, wanted) in table.items():
        # Who may not is asked first: what is deleted is there until then.
        for who in sorted(WHO, key=lambda w: wanted[w] < 300):
            count += 1
            got = server.request(method.upper(), target.replace('{n}', str(count)), body, headers,
                                 key=keys[who])
            expect(got.status, wanted[who], f'{method} {path} by {who}: {got.body}')
            if method != 'head' and got.status == 403 and 'forbidden' not in str(got.body):
                raise AssertionError(f'{method} {path} by {who}: {got.body}')
            if path == '/v1/files/{id}' and who == 'admin':
                expect(got.status, 403)
    names = {'none': [], 'elsewhere': ['other'], 'read': ['box'], 'write': ['box'], 'admin': ['box'],
             'mighty': ['box', 'files', 'other']}
    for who, wanted in names.items():
        got = server.request('GET', '/v1/buckets', key=keys[who]).json()['buckets']
        expect([b['name'] for b in got], wanted, who)


@test
def no_right_to_know(server):
    """Who has no right gets the same for what is there and what is not."""
    ids = fill(server)
    keys = make_all(server)
    gone = '00000000000000000000000001'

    def ask(who, method, target, body=None):
        got = server.request(method, target, body, key=keys[who])
        told = re.sub(rb'"request_id":"[^"]*"', b'', got.body)
        return got.status, told, got.headers.get('Holdfast-Delete-Marker')

    for who in ('none', 'elsewhere'):
        for method in ('GET', 'HEAD', 'PUT', 'DELETE'):
            body = b'x' if method == 'PUT' else None
            for there, absent in (('/v1/buckets/box/files/a', '/v1/buckets/box/files/zz'),
                                  ('/v1/buckets/box/files/a', '/v1/buckets/gone/files/a'),
                                  (f'/v1/files/{ids["a"]}', f'/v1/files/{gone}')):
                expect(ask(who, method, there, body), ask(who, method, absent, body),
                       f'{method} {there}')
        for there, absent in (('/v1/buckets/box', '/v1/buckets/gone'),
                              ('/v1/files?bucket=box', '/v1/files?bucket=gone')):
            expect(ask(who, 'GET', there), ask(who, 'GET', absent), there)
        raw = s3(server, keys[who])
        for method in ('GET', 'HEAD', 'PUT', 'DELETE'):
            for there, absent in (('/box/a', '/box/zz'), ('/box/a', '/gone/a'), ('/box', '/gone')):
                a, b = raw.call(method, there), raw.call(method, absent)
                expect((a.status, code_of(a)), (b.status, code_of(b)), f'{method} {there}')
                expect(a.status, 403)
    answer = server.request('POST', '/v1/files:delete', json.dumps({'ids': [ids['a'], gone]}),
                            key=make_key(server, grant('write', 'other')))
    expect([(r['status'], r['code']) for r in answer.json()['results']], [(404, 'not-found')] * 2)


@test
def prefixes(server):
    """Rights over the keys that begin with something: lists show those only, in pages, with
    delimiters and versions, and nothing else is reached."""
    server.request('PUT', '/v1/buckets/box', json.dumps({'versions': 'on'}))
    names = ['a', 'in/1', 'in/2', 'in/x/3', 'in/x/4', 'inner', 'out/1', 'out/y/2', 'z/1']
    for name in names:
        put(server, 'box', name, b'1')
        put(server, 'box', name, b'2')
    key = make_key(server, grant('read', 'box', 'in/'), grant('read', 'box', 'out/y'),
                   grant('read,write', 'box', 'in/x/'))
    raw = s3(server, key)
    seen = ['in/1', 'in/2', 'in/x/3', 'in/x/4', 'out/y/2']

    def rest_list(query, limit=1000):
        files, prefixes, after = [], [], ''
        while after is not None:
            got = server.request('GET', f'/v1/files?bucket=box&limit={limit}&after={after}{query}',
                                 key=key)
            expect(got.status, 200, got.body)
            page = got.json()
            files += [f['key'] for f in page['files']]
            prefixes += page['prefixes']
            after = page['next']
        return files, prefixes

    def s3_list(query):
        got = raw.call('GET', '/box', {'list-type': '2', **query})
        expect(got.status, 200, got.body)
        found = re.findall(rb'<Key>(.*?)</Key>|<CommonPrefixes><Prefix>(.*?)<', got.body)
        return ([k.decode() for k, _ in found if k], [p.decode() for _, p in found if p])

    for limit in (1000, 1, 2):
        expect(rest_list('', limit), (seen, []), limit)
        expect(rest_list('&delimiter=/', limit), ([], ['in/', 'out/']), limit)
        expect(rest_list('&prefix=in/&delimiter=/', limit), (['in/1', 'in/2'], ['in/x/']), limit)
    expect(rest_list('&prefix=in/x/'), (['in/x/3', 'in/x/4'], []))
    expect(s3_list({}), (seen, []))
    expect(s3_list({'delimiter': '/'}), ([], ['in/', 'out/']))
    expect(s3_list({'delimiter': '/', 'prefix': 'out/'}), ([], ['out/y/']))
    expect(s3_list({'delimiter': 'x/', 'prefix': 'in'}), (['in/1', 'in/2'], ['in/x/']))
    expect(s3_list({'start-after': 'in/2'})[0], seen[2:])
    for prefix in ('a', 'z/', 'inn', 'out/1'):
        expect_problem(server.request('GET', f'/v1/files?bucket=box&prefix={prefix}', key=key), 403,
                       'forbidden')
        expect(code_of(raw.call('GET', '/box', {'prefix': prefix})), 'AccessDenied')
        expect(code_of(raw.call('GET', '/box', {'prefix': prefix, 'versions': ''})), 'AccessDenied')
    got = raw.call('GET', '/box', {'versions': ''})
    expect([k.decode() for k in re.findall(rb'<Key>(.*?)</Key>', got.body)],
           [name for name in seen for _ in range(2)])
    # Going on behind a version of a name that is not shown shows none of it.
    hidden = server.request('GET', '/v1/files?bucket=box&versions=true&prefix=inner').json()['files']
    got = server.request('GET', '/v1/files?bucket=box&versions=true&after=inner&after_version='
                         + hidden[0]['version'], key=key).json()
    expect([f['key'] for f in got['files']], ['out/y/2'] * 2)
    for name in names:
        expect(reads(server, key, 'box', name), (200, 200) if name in seen else (403, 403), name)
        able = name.startswith('in/x/')
        expect(put(server, 'box', name, b'3', key=key).status, 200 if able else 403, name)
        expect(raw.call('PUT', f'/box/{name}', body=b'4').status, 200 if able else 403, name)
        expect(raw.call('DELETE', f'/box/{name}').status, 204 if able else 403, name)
    expect_problem(server.request('PUT', '/v1/buckets/box', key=key), 403, 'forbidden')
    expect_problem(server.request('POST', '/v1/files?bucket=box', b'x', key=key), 403, 'forbidden')
    expect(server.request('POST', '/v1/files?bucket=box&key=in/x/9', b'x', key=key).status, 201)


def s3_matrix_table(upload):
    """(method, scope, parameter) of src/api/s3/routes.c → address, query, body, headers, statuses of
    WHO; 2 stands for any success."""
    see = {**NO, 'read': 2, 'write': 2, 'admin': 2, 'mighty': 2}
    versioning = (b'<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>')
    absent = {**NO, 'read': 404, 'write': 404, 'admin': 404, 'mighty': 404}
    md5 = {'Content-MD5': 'x'}
    private = {'x-amz-acl': 'private'}
    cors = (b'<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>'
            b'<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>')
    tags = b'<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>'
    return {
        ('GET', 'SERVICE', ''): ('/', {}, b'', {}, dict.fromkeys(WHO, 2)),
        ('PUT', 'BUCKET', ''): ('/box', {}, b'', {}, {**NO, 'admin': 2, 'mighty': 2}),
        ('HEAD', 'BUCKET', ''): ('/box', {}, b'', {}, see),
        ('DELETE', 'BUCKET', ''): ('/box', {}, b'', {}, {**NO, 'admin': 409, 'mighty': 409}),
        ('GET', 'BUCKET', ''): ('/box', {}, b'', {}, {**NO, 'read': 2}),
        ('GET', 'BUCKET', 'location'): ('/box', {'location': ''}, b'', {}, see),
        ('GET', 'BUCKET', 'versioning'): ('/box', {'versioning': ''}, b'', {}, see),
        ('PUT', 'BUCKET', 'versioning'): ('/box', {'versioning': ''}, versioning, {},
                                          {**NO, 'admin': 2, 'mighty': 2}),
        ('GET', 'BUCKET', 'versions'): ('/box', {'versions': ''}, b'', {}, {**NO, 'read': 2}),
        ('GET', 'BUCKET', 'acl'): ('/box', {'acl': ''}, b'', {}, see),
        ('GET', 'BUCKET', 'uploads'): ('/box', {'uploads': ''}, b'', {}, {**NO, 'write': 2}),
        ('GET', 'BUCKET', 'policy'): ('/box', {'policy': ''}, b'', {}, absent),
        ('PUT', 'BUCKET', 'tagging'): ('/box', {'tagging': ''}, tags, {},
                                       {**NO, 'admin': 2, 'mighty': 2}),
        ('GET', 'BUCKET', 'tagging'): ('/box', {'tagging': ''}, b'', {}, see),
        ('DELETE', 'BUCKET', 'tagging'): ('/box', {'tagging': ''}, b'', {},
                                          {**NO, 'admin': 2, 'mighty': 2}),
        ('PUT', 'OBJECT', 'tagging'): ('/box/a', {'tagging': ''}, tags, {}, {**NO, 'write': 2}),
        ('GET', 'OBJECT', 'tagging'): ('/box/a', {'tagging': ''}, b'', {}, {**NO, 'read': 2}),
        ('DELETE', 'OBJECT', 'tagging'): ('/box/a', {'tagging': ''}, b'', {}, {**NO, 'write': 2}),
        ('PUT', 'BUCKET', 'cors'): ('/box', {'cors': ''}, cors, {}, {**NO, 'admin': 2, 'mighty': 2}),
        ('GET', 'BUCKET', 'cors'): ('/box', {'cors': ''}, b'', {}, see),
        ('DELETE', 'BUCKET', 'cors'): ('/box', {'cors': ''}, b'', {},
                                       {**NO, 'admin': 2, 'mighty': 2}),
        ('PUT', 'BUCKET', 'acl'): ('/box', {'acl': ''}, b'', private,
                                   {**NO, 'admin': 2, 'mighty': 2}),
        ('PUT', 'OBJECT', 'acl'): ('/box/a', {'acl': ''}, b'', private, {**NO, 'write': 2}),
        ('GET', 'OBJECT', 'attributes'): ('/box/a', {'attributes': ''}, b'',
                                          {'x-amz-object-attributes': 'ETag'}, {**NO, 'read': 2}),
        ('POST', 'BUCKET', 'delete'): ('/box', {'delete': ''}, b'<Delete/>', md5,
                                       {**NO, 'write': 400}),
        ('PUT', 'OBJECT', ''): ('/box/w', {}, b'x', {}, {**NO, 'write': 2}),
        ('GET', 'OBJECT', ''): ('/box/a', {}, b'', {}, {**NO, 'read': 2}),
        ('HEAD', 'OBJECT', ''): ('/box/a', {}, b'', {}, {**NO, 'read': 2}),
        ('GET', 'OBJECT', 'acl'): ('/box/a', {'acl': ''}, b'', {}, {**NO, 'read': 2}),
        ('GET', 'OBJECT', 'partNumber'): ('/box/a', {'partNumber': '1'}, b'', {},
                                          {**NO, 'read': 2}),
        ('HEAD', 'OBJECT', 'partNumber'): ('/box/a', {'partNumber': '1'}, b'', {},
                                           {**NO, 'read': 2}),
        ('POST', 'OBJECT', 'uploads'): ('/box/u', {'uploads': ''}, b'', {}, {**NO, 'write': 2}),
        ('PUT', 'OBJECT', 'partNumber+uploadId'): ('/box/t', {'partNumber': '1',
                                                              'uploadId': upload}, b'x', {},
                                                   {**NO, 'write': 2}),
        ('GET', 'OBJECT', 'uploadId'): ('/box/t', {'uploadId': upload}, b'', {},
                                        {**NO, 'write': 2}),
        ('POST', 'OBJECT', 'uploadId'): ('/box/t', {'uploadId': upload}, b'<x/>', {},
                                         {**NO, 'write': 400}),
        ('DELETE', 'OBJECT', 'uploadId'): ('/box/t', {'uploadId': upload}, b'', {},
                                           {**NO, 'write': 2}),
        ('DELETE', 'OBJECT', ''): ('/box/a', {}, b'', {}, {**NO, 'write': 2}),
    }


@test
def s3_matrix(server):
    """Each operation of the S3 door × each key."""
    fill(server)
    keys = make_all(server)
    root = s3(server, server.key())
    upload = re.search(rb'<UploadId>(\w+)<', root.call('POST', '/box/t', {'uploads': ''}).body)
    for (method, scope, param), (path, query, body, headers, wanted) in \
            s3_matrix_table(upload.group(1).decode()).items():
        for who in sorted(WHO, key=lambda w: wanted[w] < 300):
            got = s3(server, keys[who]).call(method, path, query, body, headers)
            status = 2 if 200 <= got.status < 300 else got.status
            expect(status, wanted[who], f'{method} {scope} ?{param} by {who}: {got.body}')
            if status == 403 and method != 'HEAD':
                expect(code_of(got), 'AccessDenied', f'{method} ?{param} by {who}')
    names = re.findall(rb'<Bucket><Name>(\w+)<', s3(server, keys['read']).call('GET', '/').body)
    expect(names, [b'box'])


@test
def s3_copies(server):
    """A copy needs the source read and the target written; DeleteObjects decides key by key."""
    fill(server)
    root = s3(server, server.key())
    root.call('PUT', '/box/t/b', body=b'x')
    both = make_key(server, grant('read', 'box'), grant('write', 'other'))
    only_write = make_key(server, grant('write', 'box'), grant('write', 'other'))
    only_read = make_key(server, grant('read', 'box'), grant('read', 'other'))
    for key, source, target, status in (
            (both, 'box/a', '/other/c', 200), (both, 'other/a', '/other/c', 403),
            (both, 'box/a', '/box/c', 403), (only_write, 'box/a', '/other/c', 403),
            (only_read, 'box/a', '/other/c', 403), (both, 'gone/a', '/other/c', 403),
            (both, 'other/zz', '/other/c', 403)):
        got = s3(server, key).call('PUT', target, headers={'x-amz-copy-source': source})
        expect(got.status, status, (source, target, got.body))
        upload = re.search(rb'<UploadId>(\w+)<', root.call('POST', target, {'uploads': ''}).body)
        query = {'partNumber': '1', 'uploadId': upload.group(1).decode()}
        got = s3(server, key).call('PUT', target, query, headers={'x-amz-copy-source': source})
        expect(got.status, status, (source, target, got.body))
    key = make_key(server, grant('write', 'box', 't/'), grant('read', 'box'))
    body = ('<Delete><Object><Key>t/b</Key></Object><Object><Key>a</Key></Object>'
            '<Object><Key>zz</Key></Object></Delete>').encode()
    digest = {'Content-MD5': base64.b64encode(hashlib.md5(body).digest()).decode()}
    got = s3(server, key).call('POST', '/box', {'delete': ''}, body, digest)
    expect(got.status, 200)
    expect(re.findall(rb'<Deleted><Key>(.*?)<', got.body), [b't/b'])
    expect(re.findall(rb'<Error><Key>(.*?)</Key><Code>(.*?)<', got.body),
           [(b'a', b'AccessDenied'), (b'zz', b'AccessDenied')])
    expect(get(server, 'box', 'a').status, 200)


@test
def uploads(server):
    """Uploads of one key are nobody's who may not write there: to others they are not there."""
    fill(server)
    here, there = make_key(server, grant('write', 'box')), make_key(server, grant('write', 'other'))
    tus = {'Tus-Resumable': '1.0.0'}
    got = server.request('POST', '/v1/uploads?bucket=box&key=u', b'',
                         {**tus, 'Upload-Length': '3'}, key=here)
    where = got.headers['Location']
    more = {**tus, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': '0'}
    for method, body, headers in (('HEAD', None, tus), ('PATCH', b'abc', more),
                                  ('DELETE', None, tus)):
        expect(server.request(method, where, body, headers, key=there).status, 404, method)
    expect(server.request('PATCH', where, b'abc', more, key=here).status, 204)
    expect(server.request('HEAD', where, None, tus, key=there).status, 404)
    expect(server.request('HEAD', where, None, tus, key=here).headers['Upload-Offset'], '3')
    expect(get(server, 'box', 'u').body, b'abc')
    got = server.request('POST', '/v1/uploads?bucket=box&key=u', b'',
                         {**tus, 'Upload-Length': '3'}, key=there)
    expect_problem(got, 403, 'forbidden')


@test
def repeats(server):
    """An Idempotency-Key is its key's own: another key's is another request; a DELETE by id is
    repeated by who may."""
    one, two = (make_key(server, grant('read,write', 'files')) for _ in range(2))
    again = {'Idempotency-Key': 'k'}
    first = put(server, 'files', 'a', b'x', headers=again, key=one)
    expect(first.status, 201)
    expect(put(server, 'files', 'a', b'x', headers=again, key=two).status, 200)
    got = put(server, 'files', 'a', b'x', headers=again, key=one)
    expect((got.status, got.headers['Idempotent-Replayed']), (201, 'true'))
    target = f'/v1/files/{first.json()["id"]}'
    again = {'Idempotency-Key': 'd'}
    for key, status in ((one, 204), (one, 204), (two, 404)):
        expect(server.request('DELETE', target, headers=again, key=key).status, status)


def with_sigv2(function):
    """Marks a test of a server that takes addresses presigned by Version 2."""
    return SUITE.at_both_doors(function, function, '--s3-sigv2')


@test
def sigv2_is_off(server):
    """Unless it is set, such an address is refused."""
    raw = s3(server, server.key())
    got = raw.send('GET', raw.presign_v2('GET', '/files'))
    expect((got.status, code_of(got)), (400, 'InvalidRequest'))


@with_sigv2
def sigv2(server):
    """Addresses presigned by Version 2: reads, writes, sub-resources; each byte of them wrong; what
    is not signed is not taken; only in an address."""
    raw = s3(server, server.key())
    put(server, 'files', 'a b', b'body')
    where = '/files/a%20b'

    def ask(method, target, headers=(), body=None, status=200, code=''):
        got = raw.send(method, target, headers, body)
        expect((got.status, code_of(got)), (status, code), f'{method} {target} {got.body}')
        return got

    expect(ask('GET', raw.presign_v2('GET', where)).body, b'body')
    got = ask('GET', raw.presign_v2('GET', where, query='response-content-type=text%2Fx'))
    expect(got.headers['Content-Type'], 'text/x')
    ask('GET', raw.presign_v2('GET', where, query='acl'))
    typed = {'Content-Type': 'text/plain', 'x-amz-meta-b': '2', 'X-Amz-Meta-A': '1'}
    ask('PUT', raw.presign_v2('PUT', '/files/n', headers=typed), typed, b'new')
    got = get(server, 'files', 'n')
    expect((got.body, got.headers['Content-Type'], got.headers['Holdfast-Meta-a']),
           (b'new', 'text/plain', '1'))
    denied = {'status': 403, 'code': 'SignatureDoesNotMatch'}
    ask('PUT', raw.presign_v2('PUT', '/files/n', headers=typed), {**typed, 'x-amz-meta-c': '3'}, b'x',
        **denied)
    ask('PUT', raw.presign_v2('PUT', '/files/n'), {'Content-Type': 'text/x'}, b'x', **denied)
    ask('DELETE', raw.presign_v2('GET', where), **denied)
    ask('GET', raw.presign_v2('GET', where).replace('a%20b', 'n'), **denied)
    target = raw.presign_v2('GET', where)
    at = target.index('Signature=') + len('Signature=')
    for i in (at, at + 5, at + 12):
        other = 'A' if target[i] not in 'A%23456789BCDEF' else 'z'
        if target[i - 2] != '%' and target[i - 1] != '%' and target[i] != '%':
            ask('GET', target[:i] + other + target[i + 1:], **denied)
    later = int(time.time()) + 90
    ask('GET', raw.presign_v2('GET', where, later).replace(str(later), str(later + 1)), **denied)
    ask('GET', raw.presign_v2('GET', where, int(time.time()) - 5), status=403, code='AccessDenied')
    ask('GET', target.replace('AWSAccessKeyId=HF', 'AWSAccessKeyId=HG'), status=403,
        code='InvalidAccessKeyId')
    for more in ('attributes', 'prefix=a', 'X-Id=x'):
        ask('GET', target + '&' + more, status=403, code='AccessDenied')
    for more in ('acl', 'x-amz-acl=private', 'x-amz-security-token=x', 'content-type=a'):
        ask('GET', target + '&' + more, **denied)
    for bad in (target + '&Expires=9', target.replace('Expires=', 'Expires=x'),
                target.split('&Signature')[0]):
        ask('GET', bad, status=400, code='AuthorizationQueryParametersError')
    ask('GET', target, {'Authorization': f'AWS {raw.key_id}:x'}, status=400,
        code='InvalidRequest')
    limited = s3(server, make_key(server, grant('read', 'files')))
    expect(limited.send('GET', limited.presign_v2('GET', where)).status, 200)
    expect(limited.send('DELETE', limited.presign_v2('DELETE', where)).status, 403)


@test
def many(server):
    """A thousand keys: each is found, also by its cached signing key, and one that is revoked
    is found no more."""
    put(server, 'files', 'a', b'x')
    connection = server.connect()
    body = json.dumps({'name': 'n', 'grants': [grant('read', 'files')]})
    keys = []
    for _ in range(300):
        got = server.request('POST', KEYS, body, connection=connection).json()
        keys.append(f'{got["id"]}.{got["secret"]}')
    for key in keys[::10]:
        expect(reads(server, key), (200, 200))
        expect(reads(server, key), (200, 200))
        expect(revoke(server, key).status, 204)
        expect(reads(server, key), (401, 403))
    expect(reads(server, keys[1]), (200, 200))


@test
def command(server):
    """holdfast key: create prints the key, list tells all of it but the secret, revoke ends it."""
    def run(*args, status=0, key=None):
        done = subprocess.run([*server.binary, 'key', *args, '--url', f'http://{server.address}',
                               '--key', key or server.key()],
                              capture_output=True, text=True, timeout=60)
        expect(done.returncode, status, f'{args}: {done.stdout} {done.stderr}')
        return done.stdout, done.stderr

    put(server, 'files', 'in/a', b'x')
    out, err = run('create', 'camera', 'read,write:files/in/', 'admin:cam', '--expires',
                   '2090-01-31T00:00:00Z')
    key = out.strip()
    expect('only time' in err, True)
    expect(reads(server, key, name='in/a'), (200, 200))
    expect(server.request('PUT', '/v1/buckets/cam', key=key).status, 201)
    out, _ = run('list')
    line = [line for line in out.splitlines() if id_of(key) in line][0]
    for word in ('camera', 'read,write:files/in/', 'admin:cam', 'until 2090-01-31T00:00:00.000Z'):
        expect(word in line, True, line)
    expect(key.split('.')[1] in out, False)
    lines = [json.loads(line) for line in run('list', '--json')[0].splitlines()]
    expect(sorted(k['name'] for k in lines), ['camera', 'root'])
    made = json.loads(run('create', 'j', 'read:*', '--json')[0])
    expect(reads(server, f'{made["id"]}.{made["secret"]}', name='in/a'), (200, 200))
    run('revoke', id_of(key))
    expect(reads(server, key, name='in/a'), (401, 403))
    run('revoke', id_of(key), status=3)
    run('revoke', server.key().split('.')[0], status=4)
    expect(json.loads(run('revoke', made['id'], '--json')[0]), {'id': made['id'], 'revoked': True})
    limited = make_key(server, grant('read', 'files'))
    run('list', status=4, key=limited)
    run('create', 'x', 'read:files', status=4, key=limited)
    for args in (('create',), ('create', 'x'), ('create', 'x', 'own:files'), ('create', 'x', 'read'),
                 ('create', 'x', 'read:No'), ('revoke',), ('revoke', 'a/b'), ('list', 'x'), ('make',),
                 ('list', '--expires', 'x')):
        run(*args, status=2)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
