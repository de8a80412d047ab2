#!/usr/bin/env python3
"""End-to-end tests of what people see of a server that keeps several copies: what a change may
require, what administrators are told and may do, metrics.

    copies.py BINARY [TEST...]

Prints `LAYER copies required= executed= failed=`, where one test is one function below; exits 1 if
one failed.
"""
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from smoke import content, expect, expect_problem  # noqa: E402
from server import free_port  # noqa: E402
from suite import Suite, remove_tree  # noqa: E402

SUITE = Suite('copies')
bare = SUITE.bare


def three(function):
    """A test whose server keeps its files on folder/d, folder/e and folder/f."""
    def run(folder):
        server = SUITE.server(folder, '--data', f'{folder}/e', '--data', f'{folder}/f')
        server.folder = folder
        server.s3_address = f'127.0.0.1:{free_port()}'
        server.start()
        try:
            function(server)
        finally:
            server.end()
    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    return bare(run)


def wait_for(what, holds, seconds=60):
    """Until holds() gives something that counts; that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f'in {seconds} s: {what}')


def require(count):
    return {'Holdfast-Require': f'synced={count}'}


def synced(answer):
    return answer.headers['Holdfast-Durability'].split(';')[0]


def wait_all_in_sync(server):
    wait_for('three copies in sync', lambda: server.put('files', 'probe', b'x', headers=require(3)).status < 300)


def lose(server, name):
    """A root's directory is gone; waits until the server goes on without it."""
    remove_tree(f'{server.folder}/{name}')
    wait_for('a root is left out', lambda: synced(server.put('files', 'probe', b'x')) == 'synced=2/3')


# --- Holdfast-Require ---

@three
def require_is_met_or_refused(server):
    """With three copies synced=3 is taken; with one lost it is refused, before anything is written,
    and synced=2 still taken. What is no synced=N is 400."""
    wait_all_in_sync(server)
    for count in (1, 2, 3):
        answer = server.put('files', f'n{count}', b'abc', headers=require(count))
        expect((answer.status, synced(answer)), (201, 'synced=3/3'), answer.body)
    for bad in ('synced=0', 'synced=10', 'synced=', 'synced=3;', 'synced=-1', 'disks=2', '3', ''):
        expect_problem(server.put('files', 'bad', b'abc', headers={'Holdfast-Require': bad}), 400, 'invalid')
    expect_problem(server.put('files', 'bad', b'abc', headers=require(4)), 503, 'too-few-copies')
    expect(server.get('files', 'bad').status, 404)
    lose(server, 'f')
    answer = server.put('files', 'large', b'abc', headers=require(3))
    expect_problem(answer, 503, 'too-few-copies')
    expect(answer.headers['Retry-After'] is not None, True, 'Retry-After')
    expect('2 of 3' in answer.json()['detail'], True, answer.body)
    expect(server.get('files', 'large').status, 404)
    expect(server.put('files', 'large', b'abc', headers=require(2)).status, 201)
    for method, path in (('DELETE', server.name_path('files', 'n1')), ('PUT', '/v1/buckets/other'),
                         ('POST', '/v1/files?bucket=files')):
        expect_problem(server.request(method, path, b'{}' if method != 'DELETE' else None,
                                      headers=require(3)), 503, 'too-few-copies')
    expect(server.get('files', 'n1', headers=require(3)).status, 200, 'a read requires nothing')


@three
def require_refuses_before_the_body(server):
    """A client that waits for 100 Continue is refused without having sent its body."""
    wait_all_in_sync(server)
    connection = server.connect()
    connection.putrequest('PUT', server.name_path('files', 'big'))
    connection.putheader('Authorization', f'Bearer {server.key()}')
    connection.putheader('Content-Length', str(1 << 30))
    connection.putheader('Expect', '100-continue')
    connection.putheader('Holdfast-Require', 'synced=9')
    connection.endheaders()
    expect(connection.getresponse().status, 503)


@three
def require_at_the_s3_door(server):
    """The same header counts there, unsigned; its refusal is an error of S3."""
    wait_all_in_sync(server)
    key_id, secret = server.key().split('.', 1)

    def put(count):
        run = subprocess.run(
            ['curl', '-s', '-o', '-', '-w', '%{http_code}', '--aws-sigv4', 'aws:amz:us-east-1:s3',
             '--user', f'{key_id}:{secret}', '-H', f'Holdfast-Require: {count}', '-T', '-',
             '-H', 'x-amz-content-sha256: UNSIGNED-PAYLOAD', '-H', 'Content-Length: 3',
             '-H', 'Transfer-Encoding:', f'http://{server.s3_address}/files/s3'],
            input=b'abc', capture_output=True, timeout=60, check=True)
        return run.stdout.decode()

    expect(put('synced=3')[-3:], '200')
    refused = put('synced=4')
    expect((refused[-3:], '<Code>ServiceUnavailable</Code>' in refused), ('503', True), refused)
    expect(put('synced=x')[-3:], '400')


# --- what a bucket's writes are ---

def settings(server, bucket, **wanted):
    return server.request('PUT', f'/v1/buckets/{bucket}', json.dumps(wanted))


def writes_of(server, bucket):
    answer = server.request('GET', f'/v1/buckets/{bucket}').json()
    return answer['writes'], answer['require']


@three
def writes_are_set(server):
    """Over REST and the command line; what is not named stays, also over a restart; async and all
    contradict each other."""
    expect(writes_of(server, 'files'), ('sync', 'in-sync'))
    expect(settings(server, 'new', writes='async').status, 201)
    expect(writes_of(server, 'new'), ('async', 'in-sync'))
    for wanted in ({'require': 'all'}, {'writes': 'fast'}, {'writes': None}, {'require': 'any'},
                   {'require': 3}, {'writes': 'Sync'}):
        expect_problem(settings(server, 'new', **wanted), 400, 'invalid')
    expect_problem(settings(server, 'both', writes='async', require='all'), 400, 'invalid')
    expect(server.request('GET', '/v1/buckets/both').status, 404)
    expect(settings(server, 'new', quota_files=5).json()['writes'], 'async')
    answer = settings(server, 'new', writes='sync', require='all').json()
    expect((answer['writes'], answer['require'], answer['quota_files']), ('sync', 'all', 5))
    expect(server.stop(), 0)
    server.start()
    expect(writes_of(server, 'new'), ('sync', 'all'))

    def holdfast(*words, status=0):
        done = subprocess.run([*server.binary, 'bucket', *words, '--url', f'http://{server.address}',
                               '--key', server.key()], capture_output=True, timeout=60, check=False,
                              encoding='utf-8')
        expect(done.returncode, status, done.stderr)
        return done.stdout + done.stderr

    said = holdfast('set', 'new', '--require', 'in-sync', '--writes', 'async')
    expect('writes are async; require is in-sync' in said, True, said)
    expect(writes_of(server, 'new'), ('async', 'in-sync'))
    shown = [line.split() for line in holdfast('list', 'new').splitlines()]
    expect((['writes', 'async'] in shown, ['require', 'in-sync'] in shown), (True, True), shown)
    holdfast('set', 'new', '--require', 'all', status=2)
    holdfast('set', 'new', '--writes', 'slow', status=2)


@three
def all_copies_or_none(server):
    """With one lost, a change of a bucket that requires all is refused, at both doors, before its
    body; by name and by id. Other buckets go on."""
    wait_all_in_sync(server)
    expect(settings(server, 'whole', require='all').status, 201)
    answer = wait_for('a change', lambda: (lambda a: a if a.status == 201 else None)(
        server.put('whole', 'a', b'abc')))
    expect(synced(answer), 'synced=3/3')
    file = answer.json()
    lose(server, 'f')
    refused = server.put('whole', 'b', bytes(1000))
    expect_problem(refused, 503, 'too-few-copies')
    expect(refused.headers['Retry-After'] is not None, True, 'Retry-After')
    for method, path in (('DELETE', server.name_path('whole', 'a')), ('DELETE', f'/v1/files/{file["id"]}'),
                         ('PUT', f'/v1/files/{file["id"]}'), ('POST', '/v1/files?bucket=whole')):
        expect_problem(server.request(method, path, None if method == 'DELETE' else b'x'), 503,
                       'too-few-copies')
    key_id, secret = server.key().split('.', 1)
    done = subprocess.run(
        ['curl', '-s', '-o', '-', '-w', '%{http_code}', '--aws-sigv4', 'aws:amz:us-east-1:s3',
         '--user', f'{key_id}:{secret}', '-H', 'x-amz-content-sha256: UNSIGNED-PAYLOAD', '-T', '-',
         '-H', 'Content-Length: 3', '-H', 'Transfer-Encoding:', f'http://{server.s3_address}/whole/s3'],
        input=b'abc', capture_output=True, timeout=60, check=True).stdout.decode()
    expect((done[-3:], '<Code>ServiceUnavailable</Code>' in done), ('503', True), done)
    connection = server.connect()
    connection.putrequest('PUT', server.name_path('whole', 'big'))
    connection.putheader('Authorization', f'Bearer {server.key()}')
    connection.putheader('Content-Length', str(1 << 30))
    connection.putheader('Expect', '100-continue')
    connection.endheaders()
    expect(connection.getresponse().status, 503)
    expect([server.get('whole', key).status for key in ('a', 'b', 's3')], [200, 404, 404])
    expect(server.put('files', 'b', b'abc').status, 201)
    expect(settings(server, 'whole', require='in-sync').status, 200, 'that is no change of its files')
    expect(server.put('whole', 'b', b'abc').status, 201)


@three
def async_is_told_as_it_is(server):
    """An answer says how many copies had it, which now and then is not all; it is read at once, a
    repeat is answered, and all have it soon after."""
    wait_all_in_sync(server)
    expect(settings(server, 'fast', writes='async').status, 201)
    told, early = {}, 0
    for i in range(400):
        for key in (f'k{i % 7}', f'once{i}'):
            answer = server.put('fast', key, b'%d' % i)
            expect(answer.status < 300, True, answer.body)
            told[synced(answer)] = told.get(synced(answer), 0) + 1
            expect(server.get('fast', key).body, b'%d' % i)
        early += synced(answer) != 'synced=3/3'
        expect(synced(server.put('files', 'x', b'x')), 'synced=3/3')
        if i >= 40 and early:
            break
    print(f'of {i + 1} answers: {told}')
    expect(bool(set(told) - {'synced=3/3'}), True, told)
    expect(set(told) <= {'synced=1/3', 'synced=2/3', 'synced=3/3'}, True, told)
    expect(server.request('DELETE', server.name_path('fast', 'k1')).status, 204)
    expect(server.get('fast', 'k1').status, 404)
    expect_problem(server.put('fast', 'k2', b'x', headers={'If-None-Match': '*'}), 412, 'precondition')
    large = os.urandom(300000)
    expect(server.put('fast', 'large', large).status, 201)
    expect(server.get('fast', 'large').body, large)
    wait_for('nothing is missing', lambda: admin(server, 'roots').json()['async']['entries'] == 0)
    lag = admin(server, 'roots').json()['async']
    expect((lag['bytes'], lag['seconds'], lag['total'] >= 1), (0, 0, True), lag)
    now = values(server)
    expect((now['holdfast_async_lag_entries'], now['holdfast_async_lag_bytes'],
            now['holdfast_async_lag_seconds']), (0, 0, 0))
    expect(now['holdfast_async_changes_total'] >= lag['total'], True)
    status, out = run(server, 'roots')
    expect((status, 'async: ' in out), (0, True), out)

    def confirmed():
        lag = admin(server, 'roots').json()['async']
        return lag if lag['confirmed'] >= early and values(server)['holdfast_async_confirmed_total'] >= early else None

    lag = wait_for('all that is there was read back', confirmed)
    expect((lag['unconfirmed'], lag['confirmed'] + lag['unread'] <= lag['total']), (0, True), lag)
    print(f'read back: {lag}')
    server.kill()
    server.start()
    for key in ('k2', 'k3', 'k4'):
        expect(server.get('fast', key).status, 200, key)
    expect(server.get('fast', 'large').body, large)


# --- what administrators are told ---

def admin(server, path, method='GET', **more):
    return server.request(method, f'/v1/admin/{path}', **more)


def roots_of(server):
    answer = admin(server, 'roots')
    expect(answer.status, 200, answer.body)
    return {root['directory'].rsplit('/', 1)[1]: root for root in answer.json()['roots']}


def run(server, *words):
    """holdfast admin WORDS; its exit status and output."""
    done = subprocess.run(
        [*server.binary, 'admin', *words, '--url', f'http://{server.address}', '--key', server.key()],
        capture_output=True, timeout=60, check=False, encoding='utf-8')
    return done.returncode, done.stdout + done.stderr


@three
def roots_are_listed(server):
    """Each with its directory, device and verdict; one leads, all are in sync; the command line says
    the same."""
    wait_all_in_sync(server)
    answer = admin(server, 'roots').json()
    expect((answer['synced'], answer['copies'], answer['needed']), (3, 3, 2))
    roots = roots_of(server)
    expect(sorted(roots), ['d', 'e', 'f'])
    expect([r['verdict'] for r in roots.values()], ['ok'] * 3)
    expect(sorted(r['leads'] for r in roots.values()), [False, False, True])
    expect(len({r['uuid'] for r in roots.values()}), 3)
    device = os.stat(server.data).st_dev
    for root in roots.values():
        expect(root['device'], f'{os.major(device)}:{os.minor(device)}')
        expect(root['disk']['free_bytes'] > 0, True)
        expect(root['log']['last_sync_age_ms'] is not None, True)
        expect(root['risk']['files'], 0)
    status, out = run(server, 'roots')
    expect((status, out.startswith('ok: 3 of 3 copies in sync')), (0, True), out)
    for root in roots.values():
        expect(root['directory'] in out and root['uuid'] in out, True, out)
    expect(run(server, 'status')[0], 0)
    status, out = run(server, 'roots', '--json')
    expect(json.loads(out)['copies'], 3)


@three
def replicas_and_shards(server):
    """Each shard has a copy on each root, one of them primary; none lags at rest."""
    wait_all_in_sync(server)
    replicas = admin(server, 'replicas').json()['replicas']
    expect(len(replicas), 3 * 65)
    for shard in {r['shard'] for r in replicas}:
        roles = sorted(r['role'] for r in replicas if r['shard'] == shard)
        expect(roles, ['follower', 'follower', 'primary'], f'shard {shard}')
    wait_for('no lag', lambda: all(r['lag']['entries'] == 0
                                   for r in admin(server, 'replicas').json()['replicas']))
    shards = admin(server, 'shards').json()['shards']
    for shard in shards:
        expect((len(shard['members']), len(shard['isr']), shard['elr'], shard['needed']), (3, 3, [], 2))
    status, out = run(server, 'replicas')
    expect((status, len(out.splitlines())), (0, 1 + 3 * 65), out[:300])


@three
def a_lost_root_is_told(server):
    """Which, and why: in status, roots, readyz, the exit status and the events; and a lag grows."""
    wait_all_in_sync(server)
    lose(server, 'f')
    for i in range(20):
        server.put('files', f'more{i}', bytes(1000))
    roots = roots_of(server)
    expect((roots['f']['verdict'], roots['f']['in_sync']), ('failed', False))
    cause = roots['f']['cause']  # whoever comes first: the look at the directory, or the next file
    expect('root.json is gone' in cause or 'No such file' in cause, True, cause)
    expect((roots['d']['verdict'], roots['e']['verdict']), ('ok', 'ok'))
    wait_for('a lag of bytes', lambda: roots_of(server)['f']['lag']['entries'] >= 20)
    lag = roots_of(server)['f']['lag']
    expect(lag['bytes'] is None or lag['bytes'] >= 20 * 1000, True, lag)
    expect(lag['seconds'] >= 1, True, lag)
    status, out = run(server, 'status')
    expect((status, out.startswith('degraded: 2 of 3 copies are in sync')), (1, True), out)
    expect(f'{server.folder}/f' in out.splitlines()[0], True, out)
    first = out.splitlines()[0]
    expect('root.json is gone' in first or 'No such file' in first, True, out)
    status, out = run(server, 'roots')
    expect((status, out.startswith('degraded')), (1, True), out)
    brief = {r['directory'][-1]: r for r in admin(server, 'status').json()['roots']}
    expect((brief['f']['verdict'], brief['d']['verdict']), ('failed', 'ok'))
    ready = server.request('GET', '/readyz', key=None)
    expect((ready.status, ready.json()['synced'], ready.json()['copies']), (200, 2, 3))
    events = [event['event'] for event in server.events()]
    expect(('root.failed' in events, 'root.behind' in events), (True, True))


@three
def too_few_are_told(server):
    """With one of three left, changes are 503 with the reason, at once and with Retry-After."""
    wait_all_in_sync(server)
    lose(server, 'f')
    remove_tree(f'{server.folder}/e')
    answer = wait_for('no changes', lambda: (lambda a: a if a.status == 503 else None)(
        server.put('files', 'probe', b'x')))
    wait_for('the reason', lambda: 'copies are needed' in server.put('files', 'probe', b'x').json()['detail'])
    answer = server.put('files', 'probe', bytes(200000))
    expect_problem(answer, 503, 'root-failed')
    detail = answer.json()['detail']
    expect(detail.startswith('2 of 3 copies are needed, 1 is left: root '), True, detail)
    expect(answer.headers['Retry-After'] is not None, True)
    expect(run(server, 'status')[1].startswith('failed: '), True)
    expect(server.request('GET', '/readyz', key=None).status, 503)


@three
def the_lead_is_handed_over(server):
    """While clients write: no outcome is unknown, everything acknowledged is there, and it takes less
    than two seconds, but where the machine stood still."""
    wait_all_in_sync(server)
    stop, lost, done = [], [], []

    def write(number):
        i = 0
        while not stop:
            answer = server.put('files', f'w{number}-{i}', f'{number} {i}'.encode())
            if answer.status == 201:
                done.append((f'w{number}-{i}', f'{number} {i}'.encode()))
            elif 'unknown' in answer.json()['code']:
                lost.append(answer.json())
            i += 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    moved, quick = [], 0
    while quick < 3 and len(moved) < 6:
        roots = roots_of(server)
        target = next(name for name, root in roots.items() if not root['leads'])
        begin = time.monotonic()
        answer = admin(server, f'roots/{roots[target]["uuid"]}/hand-over', 'POST')
        moved.append(time.monotonic() - begin)
        quick += moved[-1] < 2
        expect(answer.status, 200, answer.body)
        expect(roots_of(server)[target]['leads'], True)
        wait_for('all in sync', lambda: all(r['in_sync'] for r in roots_of(server).values()))
    stop.append(True)
    for thread in threads:
        thread.join()
    expect(lost, [])
    expect(len(done) > 20, True, f'{len(done)} written')
    for key, body in done:
        answer = server.get('files', key)
        expect((answer.status, answer.body), (200, body), key)
    expect(quick, 3, moved)
    print(f'handed over in {", ".join(f"{s:.2f}" for s in moved)} s, {len(done)} written')
    expect(admin(server, 'roots').json()['lead_moves'] >= 3, True)
    nobody = '00000000-0000-0000-0000-000000000001'
    expect(admin(server, f'roots/{nobody}/hand-over', 'POST').status, 404)
    expect(admin(server, 'roots/x/evict', 'POST').status, 404)


@three
def roots_are_evicted(server):
    """By the command line: first the lead, then no other, since two are needed. Back after a
    restart."""
    wait_all_in_sync(server)
    roots = roots_of(server)
    lead = next(name for name, root in roots.items() if root['leads'])
    other = next(name for name, root in roots.items() if not root['leads'])
    status, out = run(server, 'evict', roots[lead]['directory'])
    expect(status, 0, out)
    now = roots_of(server)
    expect((now[lead]['verdict'], now[lead]['leads']), ('evicted', False))
    expect('administrator' in now[lead]['cause'], True)
    expect(synced(server.put('files', 'after', b'abc')), 'synced=2/3')
    expect(run(server, 'evict', roots[lead]['uuid'])[0], 0, 'again')
    status, out = run(server, 'evict', roots[other]['uuid'][:13])
    expect((status, 'are needed' in out), (4, True), out)
    expect(run(server, 'evict', 'nothing')[0], 3)
    expect(run(server, 'evict')[0], 2)
    answer = admin(server, f'roots/{roots[lead]["uuid"]}/hand-over', 'POST')
    expect(answer.status, 412, answer.body)
    expect(server.stop(), 0)
    server.start()
    expect(server.get('files', 'after').body, b'abc')
    expect(roots_of(server)[lead]['verdict'] in ('ok', 'behind'), True)


@three
def roots_are_added(server):
    """An evicted root is taken back without a restart: the one that led, at once and after changes of all
    kinds; it has what was changed meanwhile, may lead, and others may be evicted then."""
    wait_all_in_sync(server)
    kept = {}
    for turn, changes in enumerate((0, 40, 300, 0)):
        lead = next(name for name, root in roots_of(server).items() if root['leads'])
        where = roots_of(server)[lead]['directory']
        expect(run(server, 'add', where)[0], 0, 'is in')
        expect(run(server, 'evict', where)[0], 0)
        for i in range(changes):
            key = f'k{i % 150}'
            kept[key] = content(70000 if i % 50 == 7 else 100 + i, turn)
            expect(server.put('files', key, kept[key]).status in (200, 201), True, key)
        if changes > 100:
            expect(server.request('DELETE', server.name_path('files', 'k3')).status, 204)
            del kept['k3']
        status, out = run(server, 'add', roots_of(server)[lead]['uuid'])
        expect(status, 0, out)
        expect(roots_of(server)[lead]['verdict'] in ('ok', 'behind'), True, roots_of(server)[lead])
        wait_all_in_sync(server)
        expect((roots_of(server)[lead]['verdict'], roots_of(server)[lead]['cause']), ('ok', None))
        status, out = run(server, 'hand-over', where)
        expect(status, 0, out)
        wait_all_in_sync(server)
        for key, body in kept.items():
            expect(server.get('files', key).body == body, True, key)
        expect(server.get('files', 'k3').status, 200 if 'k3' in kept else 404)
    expect(synced(server.put('files', 'after', b'abc')), 'synced=3/3')
    uuid = roots_of(server)['e']['uuid']
    added = [event for event in server.events() if event['event'] == 'root.added']
    expect(len(added), 4, added)
    expect(run(server, 'add', 'nothing')[0], 3)
    expect(run(server, 'add')[0], 2)
    expect(admin(server, f'roots/{uuid}/add', 'POST').status, 200)
    wait_for('the ledger to be empty', lambda: admin(server, 'ledger').json()['roots'] == [])


@bare
def one_root_has_no_other(folder):
    """Nothing to hand over to, nothing to evict; the answers are shaped as with three."""
    server = SUITE.server(folder).start()
    try:
        roots = roots_of(server)
        expect((roots['d']['leads'], roots['d']['verdict']), (True, 'ok'))
        for action in ('hand-over', 'evict', 'add'):
            answer = admin(server, f'roots/{roots["d"]["uuid"]}/{action}', 'POST')
            expect(answer.status, 412, answer.body)
        expect(len(admin(server, 'replicas').json()['replicas']), 65)
        expect(run(server, 'roots')[0], 0)
    finally:
        server.end()


@three
def nodes_and_tasks(server):
    """The process with its roots; each root's scrub, compaction and mending, and what they have done."""
    wait_all_in_sync(server)
    nodes = admin(server, 'nodes').json()['nodes']
    expect([(node['pid'], node['self'], node['roots']) for node in nodes],
           [(server.process.pid, True, [root['uuid'] for root in roots_of(server).values()])])
    expect(server.events()[-1]['node'] == nodes[0]['id'][:8], True, nodes)
    for i in range(20):
        server.put('files', f'k{i}', b'x' * 1000)
    expect(admin(server, 'scrub/start', 'POST').status, 200)

    def scrubbed():
        tasks = admin(server, 'tasks').json()['tasks']
        of = {(task['name'], os.path.basename(task['directory'] or '')): task for task in tasks}
        expect(sorted(of), sorted([(name, root) for root in 'def' for name in (
            'scrub', 'compaction', 'mending')] + [('confirming', '')]))
        return all(of['scrub', root]['done'] > 1000 and of['scrub', root]['state'] == 'waiting' for root in 'def')
    wait_for('scrub to be done', scrubbed)
    expect(admin(server, 'scrub/pause', 'POST').status, 200)
    expect({task['state'] for task in admin(server, 'tasks').json()['tasks'] if task['name'] == 'scrub'}, {'paused'})
    for view, words in (('nodes', nodes[0]['id']), ('tasks', 'paused')):
        status, out = run(server, view)
        expect((status, words in out), (0, True), out)


@three
def only_administrators_may(server):
    """Another key sees nothing of it; an eviction is in the audit log."""
    made = server.request('POST', '/v1/admin/keys', json.dumps(
        {'name': 'k', 'grants': [{'bucket': 'files', 'rights': ['read', 'write', 'admin']}]}))
    expect(made.status, 201, made.body)
    key = f'{made.json()["id"]}.{made.json()["secret"]}'
    uuid = roots_of(server)['f']['uuid']
    for path in ('roots', 'replicas', 'shards', 'nodes', 'tasks'):
        expect(admin(server, path, key=key).status, 403, path)
        expect(admin(server, path, key=None).status, 401, path)
    for action in ('evict', 'add', 'hand-over'):
        expect(admin(server, f'roots/{uuid}/{action}', 'POST', key=key).status, 403, action)
    wait_all_in_sync(server)
    expect(admin(server, f'roots/{uuid}/evict', 'POST').status, 200)
    lines = []
    for name in os.listdir(server.data):
        if name.startswith('audit'):
            path = os.path.join(server.data, name)
            files = [os.path.join(path, f) for f in os.listdir(path)] if os.path.isdir(path) else [path]
            for file in files:
                with open(file, encoding='utf-8', errors='replace') as text:
                    lines += text.readlines()
    expect(any(f'{uuid}/evict' in line for line in lines), True, lines[-5:])


# --- metrics ---

def values(server):
    """{name{labels}: value} of /metrics."""
    text = server.request('GET', '/metrics', key=None).body.decode()
    return {name: float(value) for name, value in
            (line.rsplit(' ', 1) for line in text.splitlines() if not line.startswith('#'))}


@three
def metrics_name_roots(server):
    """Each root has values of its own, of compaction and scrub too; a lost one is seen."""
    wait_all_in_sync(server)
    roots = roots_of(server)
    told = values(server)
    for root in roots.values():
        label = f'{{root="{root["uuid"]}"}}'
        for name in ('storage_free_bytes', 'root_in_sync', 'root_leads', 'root_lag_entries', 'root_lag_bytes',
                     'scrub_damaged', 'scrub_last_full_age_seconds', 'compaction_packs_total'):
            expect(f'holdfast_{name}{label}' in told, True, f'{name}{label}')
        expect(told[f'holdfast_root_leads{label}'], float(root['leads']))
    expect((told['holdfast_copies_synced'], told['holdfast_copies_wanted'],
            told['holdfast_copies_needed']), (3, 3, 2))
    lose(server, 'f')
    wait_for('the metrics say so', lambda: values(server)['holdfast_copies_synced'] == 2)
    told = values(server)
    label = f'{{root="{roots["f"]["uuid"]}"}}'
    expect((told[f'holdfast_root_in_sync{label}'], told[f'holdfast_storage_failed{label}']), (0, 1))
    expect(told['holdfast_sync_changes_total'] >= 1, True)
    expect(told['holdfast_lead_moves_total'], 1 if roots['f']['leads'] else 0)


@bare
def serve_says_what_is_survived(folder):
    """--json lists the directories, and on how many disks they are."""
    port = free_port()
    server = subprocess.Popen(
        [*SUITE.binary, 'serve', '--json', '--s3', 'off', '--http', f'127.0.0.1:{port}',
         '--data', f'{folder}/a', '--data', f'{folder}/b', '--data', f'{folder}/c'],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        line = json.loads(server.stdout.readline())
        expect(line['roots'], [f'{folder}/{name}' for name in 'abc'])
        expect((line['data'], line['disks']), (f'{folder}/a', 1))
    finally:
        server.terminate()
        expect(server.wait(60), 0)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
