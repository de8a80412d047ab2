#!/usr/bin/env python3
"""End-to-end tests of placement classes: buckets whose files have one copy, two or three, on which
disks, what they need for a change, and what is lost and kept with a disk.

    classes.py BINARY [TEST...]

Prints `LAYER classes required= executed= failed=`, where one test is one function below; exits 1 if
one failed.
"""
import base64
import glob
import hashlib
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from copies import admin, synced, three, wait_for  # noqa: E402
from server import free_port  # noqa: E402
from s3_raw import Raw  # noqa: E402
from smoke import content, expect, expect_problem  # noqa: E402
from suite import Suite, remove_tree  # noqa: E402
import copies  # noqa: E402

SUITE = Suite('classes')
copies.SUITE = SUITE
copies.bare = SUITE.bare
CLASSES = '/v1/admin/classes'
LARGE = 3 << 20
NAMES = ('d', 'e', 'f')


def set_class(server, name, **settings):
    return server.request('PUT', f'{CLASSES}/{name}', json.dumps(settings))


def make(server, name, **settings):
    """A class and a bucket of that name in it; the class as it is told."""
    got = set_class(server, name, **settings)
    expect((got.status, got.json()['state']), (201, 'ok'), got.body)
    bucket = server.request('PUT', f'/v1/buckets/{name}', json.dumps({'class': name}))
    expect((bucket.status, bucket.json()['class']), (201, name), bucket.body)
    return got.json()


def make_three(server):
    return {name: make(server, name, copies=count, shards=4, min_isr=needed)
            for name, count, needed in (('one', 1, 1), ('two', 2, 2), ('all', 3, 2))}


def class_of(server, name):
    return server.request('GET', f'{CLASSES}/{name}').json()


def root_names(server, of):
    """The directories of the roots of a class: d, e and f."""
    roots = {r['uuid']: os.path.basename(r['directory']) for r in admin(server, 'roots').json()['roots']}
    return {roots[uuid] for uuid in of['roots']}


def lead_name(server, of):
    roots = {r['uuid']: os.path.basename(r['directory']) for r in admin(server, 'roots').json()['roots']}
    return roots[of['lead']]


def bodies(server):
    """Files of large bodies below each root."""
    return {name: {os.path.basename(path) for path in glob.glob(f'{server.folder}/{name}/blobs/*/*/*')
                   if os.path.isfile(path)} for name in NAMES}


def check(server, bucket, seed=0):
    for key, size in (('small', 100), ('large', LARGE)):
        got = server.get(bucket, key)
        expect((got.status, got.body == content(size, seed)), (200, True), f'{bucket} {key} {got.body[:200]}')


@three
def copies_on_disks(server):
    """A file has as many copies as its class says, on the disks that are told, and the answer says how
    many are synced; so over a restart and a kill."""
    expect([c['name'] for c in server.request('GET', CLASSES).json()['classes']], ['standard'])
    made = make_three(server)
    expect({n: (c['copies'], c['min_isr'], len(c['roots']), c['weak']) for n, c in made.items()},
           {'one': (1, 1, 1, False), 'two': (2, 2, 2, True), 'all': (3, 2, 3, False)})
    before = bodies(server)
    for name, of in made.items():
        small = server.put(name, 'small', content(100, 0))
        large = server.put(name, 'large', content(LARGE, 0))
        for answer in (small, large):
            expect((answer.status, synced(answer)), (201, f'synced={of["copies"]}/{of["copies"]}'))
            expect(answer.json()['durability']['copies'], of['copies'])
        now = bodies(server)
        expect({r for r in NAMES if now[r] - before[r]}, root_names(server, of), f'bodies of {name}')
        before = now
        check(server, name)
        listed = server.request('GET', f'/v1/files?bucket={name}').json()['files']
        expect([(f['key'], f['durability']['copies']) for f in listed],
               [('large', of['copies']), ('small', of['copies'])])
        expect(server.request('GET', f'/v1/files/{listed[0]["id"]}').status, 200)
        bucket = server.request('GET', f'/v1/buckets/{name}').json()
        expect((bucket['files'], bucket['bytes']), (2, LARGE + 100))
    for stop in (server.stop, server.kill):
        stop()
        server.start()
        for name, of in made.items():
            check(server, name)
            now = class_of(server, name)
            expect((now['roots'], now['state'], now['number']), (of['roots'], 'ok', of['number']), now)
            bucket = server.request('GET', f'/v1/buckets/{name}').json()
            expect((bucket['files'], bucket['bytes']), (2, LARGE + 100), 'counts')
    expect(server.put('one', 'small', content(100, 1)).status, 200)
    ledger = admin(server, 'ledger').json()
    expect((ledger['files'], ledger['below_target'], ledger['roots']), (6, 0, []), ledger)
    replicas = admin(server, 'replicas').json()['replicas']
    count = {}
    for copy in replicas:
        count[copy['shard'] >> 12] = count.get(copy['shard'] >> 12, 0) + 1
        expect(copy['member'], True, copy)
    expect(count, {0: 3, 1: 3 * 64, made['one']['number']: 4, made['two']['number']: 8,
                   made['all']['number']: 12})


def tus(server, method, target, body=None, **headers):
    return server.request(method, target, body, headers={
        'Tus-Resumable': '1.0.0', 'Content-Type': 'application/offset+octet-stream',
        **{name.replace('_', '-'): value for name, value in headers.items()}})


@three
def required_of_the_class(server):
    """Holdfast-Require is held against the copies of the class, by whatever request: nothing is done when
    they can't be had, though the server has more roots; before the body, if that is announced."""
    make(server, 'one', copies=1, shards=4, min_isr=1)
    many = {'Holdfast-Require': 'synced=2'}
    enough = {'Holdfast-Require': 'synced=1'}
    kept = server.put('one', 'kept', b'abc').json()['id']
    other = server.put('files', 'kept', b'abc').json()['id']
    whom = ','.join(f'{n} {base64.b64encode(v).decode()}' for n, v in (('bucket', b'one'), ('key', b't')))
    expect_problem(tus(server, 'POST', '/v1/uploads', Upload_Length='5', Upload_Metadata=whom, **many),
                   503, 'too-few-copies')
    begun = tus(server, 'POST', '/v1/uploads', Upload_Length='5', Upload_Metadata=whom, **enough)
    expect(begun.status, 201, begun.body)
    where = begun.headers['Location']
    expect_problem(tus(server, 'PATCH', where, b'hello', Upload_Offset='0', **many), 503, 'too-few-copies')
    expect_problem(tus(server, 'DELETE', where, **many), 503, 'too-few-copies')
    expect(tus(server, 'HEAD', where).headers['Upload-Offset'], '0')
    expect(server.get('one', 't').status, 404)
    ended = tus(server, 'PATCH', where, b'hello', Upload_Offset='0', **enough)
    expect((ended.status, synced(ended)), (204, 'synced=1/1'), ended.body)
    for ids in ([kept], [other, kept], [kept, other]):
        expect_problem(server.request('POST', '/v1/files:delete', json.dumps({'ids': ids}), headers=many),
                       503, 'too-few-copies')
    expect((server.get('one', 'kept').status, server.get('files', 'kept').status), (200, 200))
    nobody = '70000000000000000000000000'
    gone = server.request('POST', '/v1/files:delete', json.dumps({'ids': [other, nobody]}), headers=many)
    expect([r['status'] for r in gone.json()['results']], [204, 404], gone.body)
    expect_problem(server.request('PUT', f'/v1/files/{kept}', b'x', headers=many), 503, 'too-few-copies')
    expect_problem(server.request('PUT', f'/v1/files/{nobody}', b'x', headers=many), 404, 'not-found')
    connection = server.connect()
    try:
        connection.putrequest('PUT', server.name_path('one', 'new'))
        for name, value in {**many, 'Authorization': f'Bearer {server.key()}', 'Content-Length': '5',
                            'Expect': '100-continue'}.items():
            connection.putheader(name, value)
        connection.endheaders()
        expect(connection.getresponse().status, 503, 'before the body')
    finally:
        connection.close()
    expect(server.get('one', 'new').status, 404)


@three
def durability_at_the_s3_door(server):
    """Each change, and what is read, says how many copies of the class have it."""
    expect(server.stop(), 0)
    server.s3_address = f'127.0.0.1:{free_port()}'
    server.start()
    raw = Raw(int(server.s3_address.split(':')[1]), server.key())
    make_three(server)
    wait_for('three copies', lambda: synced(server.put('files', 'k', b'x')) == 'synced=3/3')
    for bucket, wanted in (('one', 'synced=1/1'), ('two', 'synced=2/2'), ('all', 'synced=3/3')):
        def call(method, path, query='', body=b'', of=bucket, status=200, **headers):
            got = raw.call(method, f'/{of}{path}', query, body,
                           {name.replace('_', '-'): value for name, value in headers.items()})
            expect((got.status, synced(got)), (status, wanted), (method, path, query, got.body))
            return got
        call('PUT', '/small', body=b'abc')
        call('PUT', '/large', body=content(LARGE, 1))
        call('GET', '/small')
        call('HEAD', '/large')
        call('GET', '/large', status=206, Range='bytes=5-9')
        call('PUT', '/copy', x_amz_copy_source='/files/k')
        call('PUT', '/small', 'tagging=', b'<Tagging><TagSet/></Tagging>')
        begun = call('POST', '/parts', 'uploads=')
        upload = re.search(rb'<UploadId>(.*)</UploadId>', begun.body).group(1).decode()
        etag = call('PUT', '/parts', f'partNumber=1&uploadId={upload}', b'part').headers['ETag']
        call('POST', '/parts', f'uploadId={upload}', (
            '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>'
            f'<ETag>{etag}</ETag></Part></CompleteMultipartUpload>').encode())
        listed = b'<Delete><Object><Key>copy</Key></Object></Delete>'
        call('POST', '', 'delete=', listed,
             Content_MD5=base64.b64encode(hashlib.md5(listed).digest()).decode())
        call('DELETE', '/small', status=204)
    got = raw.call('GET', '/one/small')
    expect((got.status, got.headers['Holdfast-Durability']), (404, None))


@three
def refused(server):
    """What no class can be, and what no bucket; nothing is changed by it."""
    make(server, 'two', copies=2)
    for wanted in ({'copies': 0}, {'copies': 4}, {'copies': -1}, {'copies': '2'}, {'min_isr': 0},
                   {'copies': 2, 'min_isr': 3}, {'copies': 2, 'min_isr': 1}, {'min_isr': 1}, {'min_isr': 3}, {'shards': 0}, {'shards': 4097}, {'shards': 1.5},
                   {'writes': 'fast'}, {'require': 1}, {'writes': 'async', 'require': 'all'},
                   {'zones': 2}, {'copies': None}):
        expect_problem(set_class(server, 'new', **wanted), 400, 'invalid')
    for name in ('Two', 'a_b', 'system', 'standard', 'x' * 33, '-a'):
        expect_problem(set_class(server, name, copies=1), 400, 'invalid')
    for body in ('[]', '{', 'null', '"one"'):
        expect(server.request('PUT', f'{CLASSES}/new', body).status, 400, body)
    for wanted in ({'copies': 3}, {'shards': 5}):
        expect_problem(set_class(server, 'two', **wanted), 400, 'invalid')
    expect_problem(server.request('GET', f'{CLASSES}/new'), 404, 'not-found')
    for place in ('/v1/files/50000000000000000000000000', '/v1/uploads/50000000000000000000000000'):
        for method in ('GET', 'DELETE') if 'files' in place else ('PATCH', 'DELETE'):
            headers = {'Tus-Resumable': '1.0.0', 'Upload-Offset': '0',
                       'Content-Type': 'application/offset+octet-stream'}
            got = server.request(method, place, b'x' if method == 'PATCH' else None, headers)
            expect(got.status, 404, f'{method} of an id of no class: {got.body}')
    for bucket, name in (('new', 'none'), ('new', 'system'), ('two', 'standard'), ('files', 'two'), ('new', 7)):
        expect_problem(server.request('PUT', f'/v1/buckets/{bucket}', json.dumps({'class': name})), 400,
                       'invalid')
    expect(server.request('GET', '/v1/buckets/new').status, 404)
    expect(server.request('PUT', '/v1/buckets/two', json.dumps({'class': 'two'})).status, 200)
    expect([c['name'] for c in server.request('GET', CLASSES).json()['classes']], ['standard', 'two'])
    many = {'Holdfast-Require': 'synced=3'}
    expect_problem(server.put('two', 'x', b'x', headers=many), 503, 'too-few-copies')
    expect_problem(server.put('two', 'x', content(LARGE, 0), headers=many), 503, 'too-few-copies')
    expect(server.get('two', 'x').status, 404)
    expect(synced(server.put('two', 'x', b'x', headers={'Holdfast-Require': 'synced=2'})), 'synced=2/2')


@three
def settings_change(server):
    """Writes and require of buckets that come after; what is not named stays."""
    make(server, 'most', copies=3)
    expect(class_of(server, 'most')['min_isr'], 2)
    got = set_class(server, 'most', min_isr=2, writes='async')
    expect((got.status, got.json()['min_isr'], got.json()['writes'], got.json()['copies']),
           (200, 2, 'async', 3), got.body)
    expect(server.request('PUT', '/v1/buckets/late', json.dumps({'class': 'most'})).json()['writes'], 'async')
    expect(server.request('GET', '/v1/buckets/most').json()['writes'], 'sync')
    got = set_class(server, 'most', writes='sync', require='all')
    expect((got.json()['writes'], got.json()['require']), ('sync', 'all'), got.body)
    expect(server.request('PUT', '/v1/buckets/whole', json.dumps({'class': 'most'})).json()['require'], 'all')
    needed = {s['needed'] for s in admin(server, 'shards').json()['shards']
              if s['class'] == class_of(server, 'most')['number']}
    expect(needed, {2})


@three
def all_ways_in(server):
    """Files of classes through the S3 door, in parts, by tus, copied from class to class; and repeats."""
    made = make_three(server)
    s3 = Raw(int(server.s3_address.split(':')[1]), server.key())
    uploads = {}
    for number, name in enumerate(made):
        body = content(LARGE, number)
        expect(s3.call('PUT', f'/{name}/s3', body=body).status, 200)
        expect(s3.call('GET', f'/{name}/s3').body == body, True)
        for other in made:
            got = s3.call('PUT', f'/{other}/from-{name}', headers={'x-amz-copy-source': f'/{name}/s3'})
            expect(got.status, 200, got.body)
            expect(server.get(other, f'from-{name}').body == body, True, f'{name} to {other}')
        begun = s3.call('POST', f'/{name}/parts', {'uploads': ''})
        upload = uploads[name] = re.search(rb'<UploadId>(\w+)<', begun.body).group(1).decode()
        tags = []
        for part in (1, 2):
            got = s3.call('PUT', f'/{name}/parts', {'partNumber': str(part), 'uploadId': upload},
                          content(5 << 20, part))
            tags.append(got.headers['ETag'])
        listed = s3.call('GET', f'/{name}', {'uploads': ''}).body.decode()
        expect(re.findall(r'<UploadId>(\w+)<', listed), [upload])
        xml = ''.join(f'<Part><PartNumber>{i + 1}</PartNumber><ETag>{tag}</ETag></Part>'
                      for i, tag in enumerate(tags))
        got = s3.call('POST', f'/{name}/parts', {'uploadId': upload},
                      f'<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>'.encode())
        expect(got.status, 200, got.body)
        expect(server.get(name, 'parts').body == content(5 << 20, 1) + content(5 << 20, 2), True)
        tus = {'Tus-Resumable': '1.0.0'}
        got = server.request('POST', f'/v1/uploads?bucket={name}&key=tus', b'',
                             {**tus, 'Upload-Length': str(LARGE)})
        place = got.headers['Location']
        for half in (0, 1):
            piece = body[half * LARGE // 2:(half + 1) * LARGE // 2]
            got = server.request('PATCH', place, piece, {
                **tus, 'Content-Type': 'application/offset+octet-stream',
                'Upload-Offset': str(half * LARGE // 2)})
            expect(got.status in (200, 201, 204), True, got.body)
        expect(server.get(name, 'tus').body == body, True, 'by tus')
        once = {'Idempotency-Key': f'key-{name}'}
        first = server.put(name, 'once', b'x', headers=once)
        again = server.put(name, 'once', b'x', headers=once)
        expect((first.headers['Holdfast-Version'], again.headers['Idempotent-Replayed']),
               (again.headers['Holdfast-Version'], 'true'), again.headers)
        expect_problem(server.put('files', 'once', b'x', headers=once), 409, 'idempotency')
        ids = [f['id'] for f in server.request('GET', f'/v1/files?bucket={name}&prefix=from').json()['files']]
        gone = server.request('POST', '/v1/files:delete', json.dumps({'ids': ids})).json()['results']
        expect([r['status'] for r in gone], [204] * (number + 1))
    server.kill()
    server.start()
    s3 = Raw(int(server.s3_address.split(':')[1]), server.key())
    for number, name in enumerate(made):
        expect(s3.call('GET', f'/{name}/s3').body == content(LARGE, number), True)
        expect(server.get(name, 'from-one').status, 404)
        expect(server.put(name, 'once', b'x', headers={'Idempotency-Key': f'key-{name}'}).
               headers['Idempotent-Replayed'], 'true')
        for key in [f['key'] for f in server.request('GET', f'/v1/files?bucket={name}').json()['files']]:
            expect(server.request('DELETE', server.name_path(name, key)).status, 204)
        expect(server.request('DELETE', f'/v1/buckets/{name}').status, 204)


@three
def the_only_copy_is_lost(server):
    """With its disk a class of one copy takes and gives nothing, and says why; all others go on."""
    made = make_three(server)
    for name in (*made, 'files'):
        expect(server.put(name, 'small', content(100, 0)).status, 201)
        expect(server.put(name, 'large', content(LARGE, 0)).status, 201)
    lost = lead_name(server, made['one'])
    remove_tree(f'{server.folder}/{lost}')
    wait_for('a root is left out', lambda: synced(server.put('files', 'probe', b'x')) == 'synced=2/3')
    wait_for('the class says so', lambda: class_of(server, 'one')['state'] == 'failed')
    expect_problem(server.put('one', 'new', b'x'), 503, 'root-failed')
    expect_problem(server.put('one', 'new', content(LARGE, 0)), 503, 'root-failed')
    expect(synced(server.put('all', 'new', b'x')), 'synced=2/3')
    check(server, 'files')
    check(server, 'all')
    expect(server.get('one', 'large').status in (404, 500, 503), True)
    expect(server.put('files', 'new', b'x').status, 201)
    bucket = server.request('PUT', '/v1/buckets/more')
    expect(bucket.status, 201)
    ledger = admin(server, 'ledger').json()
    expect([os.path.basename(r['directory']) for r in ledger['roots']], [lost], ledger)
    server.kill()
    server.start()  # an empty directory is in its place now
    wait_for('it is a copy again', lambda: synced(server.put('files', 'probe', b'x')) == 'synced=3/3', 60)
    expect(class_of(server, 'one')['state'], 'failed')
    expect_problem(server.put('one', 'new', b'x'), 503, 'root-failed')
    expect_problem(server.get('one', 'large'), 503, 'not-ready')
    expect('placement class' in server.get('one', 'large').json()['detail'], True)
    expect_problem(server.request('DELETE', '/v1/buckets/one'), 503, 'root-failed')
    expect(admin(server, 'status').json()['classes_failed'], ['one'])
    status, out = copies.run(server, 'status')
    expect((status, out.splitlines()[0].startswith('failed: '), 'class one:' in out), (5, True, True), out)
    failed = [event for event in server.events() if event['event'] == 'engine.class_failed']
    expect([event['class'] for event in failed], [made['one']['number']] * 2, failed)
    check(server, 'files')
    wait_for('all has its copies again', lambda: class_of(server, 'all')['synced'] == 3, 60)
    check(server, 'all')
    expect(synced(server.put('all', 'new', b'x')), 'synced=3/3')


@three
def one_of_two_is_lost(server):
    """With an empty directory in the place of one of its two a class is not led any more: what is there is
    counted, the ledger says what to do, and so does the first line of the status."""
    made = make_three(server)
    expect(server.put('two', 'small', content(100, 0)).status, 201)
    expect(server.put('two', 'large', content(LARGE, 0)).status, 201)
    lost, kept = sorted(root_names(server, made['two']))
    only = root_names(server, made['one'])
    expect(server.stop(), 0)
    remove_tree(f'{server.folder}/{lost}')
    server.start()
    wait_for('it is a copy again', lambda: synced(server.put('files', 'probe', b'x')) == 'synced=3/3', 60)
    expect(admin(server, 'status').json()['classes_failed'],
           ['one', 'two'] if only == {lost} else ['two'])
    status, out = copies.run(server, 'status')
    expect((status, 'two' in out.splitlines()[0]), (5, True), out)
    bucket = server.request('GET', '/v1/buckets/two').json()
    expect((bucket['files'], bucket['bytes']), (2, 100 + LARGE), bucket)
    ledger = wait_for('the ledger', lambda: [r for r in admin(server, 'ledger').json()['roots']
                                             if os.path.basename(r['directory']) == kept])
    expect((ledger[0]['why'], ledger[0]['action'].startswith('none: '), 'two' in ledger[0]['action']),
           ('behind', True, True), ledger)


@three
def leads_are_handed_over(server):
    """To a root that keeps the class; the one of a single copy stays, and its root can't be left out."""
    made = make_three(server)
    for name in made:
        server.put(name, 'small', content(100, 0))
        server.put(name, 'large', content(LARGE, 0))
    roots = {os.path.basename(r['directory']): r for r in admin(server, 'roots').json()['roots']}
    only = lead_name(server, made['one'])
    for to in NAMES:
        got = server.request('POST', f'/v1/admin/roots/{roots[to]["uuid"]}/hand-over')
        expect(got.status, 200, got.body)
        wait_for('the lead', lambda to=to: lead_name(server, class_of(server, 'all')) == to)
        expect(lead_name(server, class_of(server, 'one')), only)
        for name in made:
            wait_for(f'{name} is read', lambda name=name: server.get(name, 'small').status == 200)
            check(server, name)
            expect(server.put(name, 'small', content(100, 0)).status, 200)
    got = server.request('POST', f'/v1/admin/roots/{roots[only]["uuid"]}/evict')
    expect_problem(got, 412, 'precondition')
    expect('class' in got.json()['detail'], True, got.body)


@three
def by_the_command_line(server):
    """holdfast class, and bucket create --class."""
    def run(*words, status=0):
        done = subprocess.run([*server.binary, *words, '--url', f'http://{server.address}', '--key',
                               server.key()], capture_output=True, timeout=60, check=False, encoding='utf-8')
        expect(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    expect('3 of 3 copies in sync, changes need 2' in run('class', 'list'), True)
    said = run('class', 'create', 'pairs', '--copies', '2', '--min-isr', '2', '--shards', '8')
    expect(('2 of 2 copies in sync, changes need 2' in said, 'no quorum' in said), (True, True), said)
    run('bucket', 'create', 'builds', '--class', 'pairs')
    expect('class         pairs' in run('bucket', 'list', 'builds'), True)
    told = json.loads(run('class', 'list', 'pairs', '--json'))
    expect((told['shards'], told['copies'], told['weak']), (8, 2, True))
    expect('changes need 2' in run('class', 'set', 'pairs', '--min-isr', '2'), True)
    with open(f'{server.folder}/file', 'wb') as file:
        file.write(content(LARGE, 0))
    run('put', f'{server.folder}/file', 'builds/file')
    run('get', 'builds/file', f'{server.folder}/back')
    with open(f'{server.folder}/back', 'rb') as file:
        expect(file.read() == content(LARGE, 0), True)
    for words, status in ((('class', 'set', 'none', '--min-isr', '1'), 3), (('class', 'set', 'pairs'), 2),
                          (('class', 'set', 'pairs', '--copies', '1'), 2), (('class', 'create'), 2),
                          (('class', 'create', 'No'), 2), (('class', 'list', '--copies', '1'), 2),
                          (('class', 'remove', 'pairs'), 2), (('class', 'create', 'x', '--copies', 'two'), 2),
                          (('bucket', 'create', 'y', '--class', 'none'), 2),
                          (('bucket', 'set', 'builds', '--class', 'standard'), 2)):
        run(*words, status=status)


@SUITE.test
def with_one_directory(server):
    """There are classes too; more copies than directories are refused."""
    expect_problem(set_class(server, 'two', copies=2), 400, 'invalid')
    make(server, 'one', copies=1, writes='async')
    expect(synced(server.put('one', 'a', b'x')), 'synced=1/1')
    expect(server.put('one', 'b', content(LARGE, 0)).status, 201)
    tag = base64.b64encode(os.urandom(6)).decode()
    expect(server.put('one', 'c', tag.encode(), headers={'Holdfast-Expires': '1'}).status, 201)
    wait_for('it ends by itself', lambda: server.get('one', 'c').status == 404, 60)
    server.kill()
    server.start()
    expect(server.get('one', 'b').body == content(LARGE, 0), True)
    expect(server.request('PUT', '/v1/buckets/one', json.dumps({'versions': 'on'})).status, 200)
    expect(server.put('one', 'a', b'y').status, 200)
    versions = server.request('GET', '/v1/files?bucket=one&versions=true&prefix=a').json()['files']
    expect(len(versions), 2)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
