#!/usr/bin/env python3
"""The audit log of a real server: what stands in it, over kill -9 and rotation, what `holdfast admin
audit verify` finds, what happens when it can't be written, and that no secret is in any output.

    audit.py BINARY [TEST...]

BINARY is a test build. Prints `LAYER audit required= executed= failed=`.
"""
import glob
import http.client
import json
import os
import re
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from smoke import expect, expect_problem  # noqa: E402
from suite import Suite  # noqa: E402

suite = Suite('audit')


def verify(*args):
    """Exit status and what it says."""
    done = subprocess.run([*suite.binary, 'admin', 'audit', 'verify', *args], capture_output=True,
                          text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def files(server):
    return sorted(glob.glob(f'{server.data}/audit/audit-*.jsonl'))


def lines(server):
    found = []
    for name in files(server):
        with open(name, encoding='utf-8') as text:
            found += [json.loads(line) for line in text]
    return found


def line_of(server, answer):
    """The line of the request that was answered so; one, or one of each of its files."""
    found = [e for e in lines(server) if e.get('request_id') == answer.headers['X-Request-Id']]
    expect(len(found), 1, found)
    return found[0]


def told(line):
    return {name: line.get(name) for name in ('event', 'action', 'bucket', 'key', 'status', 'result')}


@suite.test
def what(server):
    """Each change and each refusal has its line: who, what, result, request, address."""
    key_id = server.key().split('.')[0]
    stored = server.put('files', 'a "b"/ü', b'hello')
    line = line_of(server, stored)
    expect(told(line), {'event': 'audit.change', 'action': 'put', 'bucket': 'files', 'key': 'a "b"/ü',
                        'status': 201, 'result': 'ok'})
    expect((line['key_id'], line['bytes'], line['file'], line['stream']),
           (key_id, 5, stored.json()['id'], 'audit'))
    expect(re.fullmatch(r'127\.0\.0\.1:\d+', line['peer']) is not None, True, line)
    refused = server.put('files', 'a "b"/ü', b'x', headers={'If-None-Match': '*'})
    expect((line_of(server, refused)['result'], refused.status), ('precondition', 412))
    gone = server.request('DELETE', server.name_path('files', 'nothing'))
    expect(told(line_of(server, gone))['result'], 'not-found')
    made = server.request('PUT', '/v1/buckets/second')
    expect(told(line_of(server, made)), {'event': 'audit.change', 'action': 'bucket_put',
                                         'bucket': 'second', 'key': None, 'status': 201, 'result': 'ok'})
    scrub = server.request('POST', '/v1/admin/scrub/start')
    expect((line_of(server, scrub)['action'], line_of(server, scrub)['path']),
           ('admin', '/v1/admin/scrub/start'))
    many = server.request('POST', '/v1/files:delete', json.dumps({'ids': [stored.json()['id'], 'x']}))
    expect(sorted((e['action'], e['result']) for e in lines(server)
                  if e.get('request_id') == many.headers['X-Request-Id']),
           [('delete', 'not-found'), ('delete', 'ok'), ('delete_many', 'ok')])
    for key in (None, f'{key_id}.{"x" * 40}'):
        line = line_of(server, server.request('GET', '/v1/buckets/files/files/q?secret=1', key=key))
        expect((line['event'], line['action'], line['path'], line['status']),
               ('audit.refused', 'GET', '/v1/buckets/files/files/q', 401))
    before = len(lines(server))
    expect(server.get('files', 'nothing').status, 404)
    expect(len(lines(server)), before, 'reads have no line')
    expect([e['seq'] for e in lines(server)], list(range(1, before + 1)))


@suite.bare
def no_secrets(folder):
    """Neither secrets nor bodies stand in any output, and each line says which stream it is of."""
    server = suite.server(folder, '--access-log', '--audit-log', '--log-level', 'debug').start()
    try:
        body = b'the-body-of-a-file'
        expect(server.put('files', 'f', body).status, 201)
        wrong = 'HF' + 'A' * 18 + '.' + 'sEcReT' * 6 + 'abcd'
        expect(server.request('GET', server.name_path('files', 'f'), key=wrong).status, 401)
        expect(server.request('GET', '/v1/buckets', key='nonsense-key').status, 401)
        metrics = server.request('GET', '/metrics').body.decode()
        status = server.request('GET', '/v1/admin/status').body.decode()
        server.process.send_signal(1)  # SIGHUP
        expect(server.stop(), 0)
        outputs = [metrics, status, verify(server.data)[1]]
        for name in (server.log, *files(server), f'{server.data}/audit/anchor.json'):
            with open(name, encoding='utf-8') as text:
                outputs.append(text.read())
        with open(f'{server.data}/audit.key', encoding='ascii') as text:
            audit_key = text.read().strip()
        expect(os.stat(f'{server.data}/audit.key').st_mode & 0o077, 0)
        for secret in (server.key().split('.')[1], audit_key, wrong.split('.')[1], 'nonsense-key',
                       body.decode()):
            for output in outputs:
                expect(secret in output, False, f'{secret[:6]}... in {output[:60]}')
        streams = {e['stream'] for e in server.events()}
        expect(streams, {'operations', 'system', 'security', 'audit'})
        for event in server.events():
            if event['event'].startswith('http.') and event['event'] != 'http.listening':
                expect(len(event['request_id']), 32, event)
    finally:
        server.end()


@suite.bare
def killed(folder):
    """kill -9 under load, again and again: what was answered has its line, the chain goes on."""
    server = suite.server(folder, '--audit-file-size', '64KiB').start()
    try:
        ids = set()
        lock = threading.Lock()

        def write(worker, number):
            connection = server.connect()
            try:
                for i in range(100000):
                    answer = server.put('files', f'{number}/{worker}/{i}', b'x', connection=connection)
                    with lock:
                        ids.add(answer.headers['X-Request-Id'])
                        if len(ids) >= wanted:
                            enough.set()
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
        for number in range(3):
            enough = threading.Event()
            wanted = len(ids) + 200
            threads = [threading.Thread(target=write, args=(w, number)) for w in range(3)]
            for thread in threads:
                thread.start()
            expect(enough.wait(120), True)
            server.kill()
            for thread in threads:
                thread.join()
            if number == 1:
                with open(files(server)[-1], 'ab') as last:
                    last.write(b'{"seq":12345,"ts":"20')
            expect(verify(server.data)[0], 0, verify(server.data)[1])
            server.start()
        expect(ids - {e.get('request_id') for e in lines(server)}, set(), 'no line')
        expect(server.stop(), 0)
        expect(len(files(server)) > 1, True, 'it never rotated')
        expect([e['seq'] for e in lines(server)], list(range(1, len(lines(server)) + 1)))
        expect('audit.torn' in {e['event'] for e in lines(server)}, True)
        status, said = verify(server.data)
        expect((status, 'attested up to number' in said), (0, True), said)
    finally:
        server.end()


@suite.bare
def broken(folder):
    """An edit, a cut at either end and a missing file are found and named; exit status 6."""
    server = suite.server(folder, '--audit-file-size', '64KiB').start()
    try:
        for i in range(300):
            server.put('files', f'{i}', b'x')
        expect(server.stop(), 0)
        names = files(server)
        expect(len(names) >= 2, True)
        texts = {name: open(name, 'rb').read() for name in names}

        def spoiled(name, text, *args):
            with open(name, 'wb') as out:
                out.write(text)
            status, said = verify(*(args or (server.data,)))
            with open(name, 'wb') as out:
                out.write(texts[name])
            expect((status, os.path.basename(name) in said), (6, True), said)
            return said
        first, last = names[0], names[-1]
        said = spoiled(first, texts[first].replace(b'"key":"10"', b'"key":"11"'))
        line = next(i for i, text in enumerate(texts[first].split(b'\n')) if b'"key":"10"' in text)
        expect(f'line {line + 2}: ' in said, True, said)
        expect('line' in spoiled(first, texts[first].replace(b'"key":"10"', b'"key":"11"'), *names), True)
        spoiled(first, texts[first][texts[first].index(b'\n') + 1:])
        spoiled(last, texts[last][:texts[last].rindex(b'\n', 0, -1) + 1])
        os.rename(first, f'{folder}/away')
        expect(verify(server.data)[0], 6)
        expect(verify(*names[1:])[0], 0, 'files alone')
        os.rename(f'{folder}/away', first)
        expect(verify(server.data)[0], 0, verify(server.data)[1])
        report = json.loads(verify('--json', f'{server.data}/audit')[1])
        expect((report['good'], report['attested'], report['files']), (True, True, len(names)))
        expect(verify(f'{folder}/nothing')[0], 3)
        expect(verify()[0], 2)
    finally:
        server.end()


@suite.bare
def unwritable(folder):
    """The file can't be written: changes go on and the log has their lines, or with audit-strict
    none is made; an event and a metric tell, and the chain tells how many it lacks."""
    server = suite.server(folder)
    server.fault = 'audit.write=fail:ENOSPC@4+'
    server.start()
    try:
        answers = [server.put('files', f'{i}', b'x') for i in range(5)]
        expect({a.status for a in answers}, {201})
        events = server.events()
        expect([e['stream'] for e in events if e['event'] == 'audit.failed'], ['operations'])
        told_of = {e.get('request_id') for e in events if e['event'] == 'audit.line'}
        have = {e.get('request_id') for e in lines(server)}
        expect({a.headers['X-Request-Id'] for a in answers} - told_of - have, set())
        expect('\nholdfast_audit_failing 1\n' in server.request('GET', '/metrics').body.decode(), True)
        server.options = ['--audit-strict']
        server.fault = 'audit.write=fail:ENOSPC@2+'
        server.stop()
        server.start()
        expect(server.put('files', '0', b'y').status, 200)  # the line that fails
        expect_problem(server.put('files', '0', b'z'), 503, 'busy')
        expect_problem(server.request('DELETE', server.name_path('files', '1')), 503, 'busy')
        expect(server.get('files', '0').body, b'y')
        server.fault = None
        server.stop()
        server.start()
        expect(server.put('files', '0', b'z').status, 200)
        expect(server.stop(), 0)
        expect(verify(server.data)[0], 0, verify(server.data)[1])
    finally:
        server.end()


@suite.bare
def elsewhere(folder):
    """audit-dir, audit-files, each line synced before its answer; and none of it."""
    server = suite.server(folder, '--audit-dir', f'{folder}/elsewhere', '--audit-files', '2',
                          '--audit-file-size', '64KiB', '--audit-sync', '0ms').start()
    try:
        for i in range(160):
            server.put('files', f'{i % 5}' + 'k' * 900, b'x')
        expect(server.stop(), 0)
        expect(os.path.exists(f'{server.data}/audit'), False)
        names = glob.glob(f'{folder}/elsewhere/audit-*.jsonl')
        expect(len(names), 2)
        status, said = verify('--audit-key', f'{server.data}/audit.key', f'{folder}/elsewhere')
        expect((status, 'attested' in said), (0, True), said)
        server.options = ['--audit=false']
        server.start()
        expect(server.put('files', 'x', b'x').status, 201)
        expect(server.stop(), 0)
        expect(os.path.exists(f'{server.data}/audit'), False)
    finally:
        server.end()


if __name__ == '__main__':
    sys.exit(suite.main(sys.argv, __doc__))
