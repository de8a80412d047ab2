#!/usr/bin/env python3
"""Damage in a running server, seen from outside: a file whose bytes were flipped or cut behind its
back stays listed, its GET says so, and every place that tells of it does.

    risk.py BINARY [TEST...]

Prints `LAYER risk required= executed= failed=`, where one test is one function below.
"""
import glob
import json
import os
import shlex
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import smoke  # noqa: E402
from server import Server  # noqa: E402
from smoke import content, expect, expect_problem  # noqa: E402

BINARY = None
SMALL, LARGE = 3000, 700000


def command(server, *args):
    """Status and output of the command line."""
    env = {**os.environ, 'HOLDFAST_URL': f'http://{server.address}', 'HOLDFAST_KEY': server.key()}
    result = subprocess.run([*BINARY, *args], env=env, capture_output=True, text=True, timeout=60,
                            check=False)
    return result.returncode, result.stdout


def flip(path, offset):
    with open(path, 'r+b') as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def find_bytes(server, pattern, part):
    """The one file of the root and the offset where part of a body stands."""
    for path in glob.glob(f'{server.data}/{pattern}', recursive=True):
        if not os.path.isfile(path):
            continue
        with open(path, 'rb') as file:
            at = file.read().find(part)
        if at >= 0:
            return path, at
    raise AssertionError(f'{pattern}: not there')


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.05)


def applied(server):
    wait_for('the applier', lambda: server.request('GET', '/v1/admin/status').json()['store']
             ['unapplied_records'] == 0)


def risk(server, query=''):
    answer = server.request('GET', f'/v1/admin/risk{query}')
    expect(answer.status, 200, answer.body)
    return answer.json()


def saved(server):
    """Entries of risk.json, which kill -9 leaves."""
    try:
        with open(f'{server.data}/risk.json', encoding='utf-8') as file:
            return len(json.load(file)['entries'])
    except FileNotFoundError:
        return 0


def metric(server, name):
    lines = server.request('GET', '/metrics', key=None).body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name + ' '))


def damage_both(server):
    """Two whole files, two damaged ones; the FILE objects of these."""
    bodies = {key: content(size, i) for i, (key, size) in enumerate(
        (('small', SMALL), ('large', LARGE), ('good', SMALL), ('good large', LARGE)))}
    files = {key: server.put('files', key, body).json() for key, body in bodies.items()}
    applied(server)
    places = {}
    for key in ('small', 'large'):
        part = bodies[key][1000:1100] if key == 'small' else bodies[key][600000:600100]
        path, at = find_bytes(server, 'packs/*' if key == 'small' else 'blobs/**', part)
        flip(path, at + 20)
        places[key] = os.path.relpath(path, server.data)
    return bodies, files, places


def told_everywhere(folder):
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        expect(risk(server), {'files': 0, 'places': 0, 'unlisted': 0, 'entries': [], 'next': None})
        expect(command(server, 'admin', 'risk'), (0, 'nothing is known to be damaged\n'))
        bodies, files, places = damage_both(server)
        for _ in range(3):
            expect_problem(server.get('files', 'small'), 500, 'file-damaged')
        try:  # the last chunk: the answer had begun
            expect(server.get('files', 'large').status, 500)
        except OSError:
            pass
        except Exception as error:  # IncompleteRead
            expect('Incomplete' in type(error).__name__, True, error)
        for key in ('good', 'good large'):
            expect(server.get('files', key).body == bodies[key], True, key)
        listed = risk(server)
        expect((listed['files'], listed['places'], listed['unlisted']), (2, 0, 0))
        by_key = {entry['key']: entry for entry in listed['entries']}
        for key in ('small', 'large'):
            entry, file = by_key[key], files[key]
            expect([entry[name] for name in ('kind', 'id', 'bucket', 'version', 'size', 'cause')],
                   ['file', file['id'], 'files', file['version'], file['size'], 'checksum'])
            expect(entry['place'], places[key])
            expect('since' in entry and entry['last_seen'] >= entry['since'], True)
        page = risk(server, '?limit=1')
        expect(len(page['entries']), 1)
        rest = risk(server, f'?limit=1&after={page["next"]}')
        expect((len(rest['entries']), rest['next']), (1, None))
        expect(page['entries'] + rest['entries'], listed['entries'])
        for query in ('?limit=0', '?limit=x', '?after=x'):
            expect_problem(server.request('GET', f'/v1/admin/risk{query}'), 400, 'invalid')
        names = [f['key'] for f in server.request('GET', '/v1/files?bucket=files').json()['files']]
        expect(names, sorted(bodies))
        expect(metric(server, 'holdfast_files_at_risk'), 2)
        status, text = command(server, 'admin', 'status')
        expect((status, text.splitlines()[0].startswith('damage: 2 file(s)')), (6, True), text)
        status, text = command(server, 'admin', 'risk')
        expect((status, 'files/small' in text, places['large'] in text), (6, True, True), text)
        told = [e for e in server.events() if e['event'] == 'file.at_risk']
        expect(sorted(e['key'] for e in told), ['large', 'small'])
    finally:
        server.end()


def kept_and_cleared(folder):
    """Over kill -9; until the file is deleted, overwritten, or whole again."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        bodies, _, places = damage_both(server)
        path, at = find_bytes(server, 'packs/*', bodies['good'][1000:1100])
        flip(path, at)
        for key in ('small', 'large', 'good'):
            try:
                server.get('files', key)
            except Exception:  # cut off: expected of the large one
                expect(key, 'large')
        expect(risk(server)['files'], 3)
        wait_for('all of it in risk.json', lambda: saved(server) == 3)
        server.kill()
        server.start()
        expect(risk(server)['files'], 3)
        expect(server.put('files', 'small', b'new').status, 200)
        expect(server.request('DELETE', server.name_path('files', 'large')).status, 204)
        wait_for('both to go', lambda: risk(server)['files'] == 1)
        flip(path, at)
        expect(server.get('files', 'good').body == bodies['good'], True)
        expect(risk(server)['entries'], [])
        expect(command(server, 'admin', 'status')[1].startswith('ok'), True)
        expect(metric(server, 'holdfast_files_at_risk'), 0)
        ended = {e['key']: e['why'] for e in server.events() if e['event'] == 'file.risk_ended'}
        expect(ended, {'small': 'gone', 'large': 'gone', 'good': 'whole'})
        expect(server.stop(), 0)
        server.start()
        expect(risk(server)['entries'], [])
        expect(places['small'] != '', True)
    finally:
        server.end()


def missing_bodies(folder):
    """A pack and a blob that somebody removed."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        expect(server.put('files', 'small', content(SMALL)).status, 201)
        expect(server.put('files', 'large', content(LARGE)).status, 201)
        applied(server)
        server.kill()
        for path in glob.glob(f'{server.data}/packs/*') + glob.glob(f'{server.data}/blobs/*/*/*'):
            os.remove(path)
        server.start()
        expect_problem(server.get('files', 'small'), 500, 'file-damaged')
        expect_problem(server.get('files', 'large'), 500, 'file-damaged')
        entries = {e['key']: e for e in risk(server)['entries'] if e['kind'] == 'file'}
        expect({key: e['cause'] for key, e in entries.items()},
               {'small': 'missing', 'large': 'missing'})
        expect(server.request('GET', '/v1/files?bucket=files').status, 200)
    finally:
        server.end()


def noticed_at_start(folder):
    """A pack that is gone, empty or cut off is told at start, before anybody asks for its files; the
    others are served, and put back it is whole again."""
    server = Server(BINARY, f'{folder}/d', f'{folder}/log').start()
    try:
        for key in ('a', 'b'):
            expect(server.put('files', key, content(SMALL, ord(key))).status, 201)
        applied(server)
        expect(server.stop(), 0)
        server.start()  # another pack
        expect(server.put('files', 'other', content(SMALL, 3)).status, 201)
        applied(server)
        expect(server.stop(), 0)
        server.start()
        expect(risk(server)['entries'], [])
        expect(server.stop(), 0)
        path, at = find_bytes(server, 'packs/*', content(SMALL, ord('b'))[:100])
        expect(find_bytes(server, 'packs/*', content(SMALL, 3)[:100])[0] != path, True)
        with open(path, 'rb') as file:
            whole = file.read()
        for left, lost in ((None, ['a', 'b']), (0, ['a', 'b']), (at, ['b'])):
            os.remove(path)
            if left is not None:
                with open(path, 'wb') as file:
                    file.write(whole[:left])
            begun = len(server.events())
            server.start()
            found = risk(server)
            files = {e['key']: (e['cause'], e['place']) for e in found['entries']
                     if e['kind'] == 'file'}
            place = os.path.relpath(path, server.data)
            expect(files, {key: ('missing', place) for key in lost}, f'{left} bytes left')
            expect([(e['place'], e['cause']) for e in found['entries'] if e['kind'] == 'place'],
                   [(place, 'missing')])
            told = [e for e in server.events()[begun:] if e['event'] == 'store.pack_missing']
            expect([e['files'] for e in told], [len(lost)])
            status, text = command(server, 'admin', 'status')
            expect((status, text.startswith('damage: ')), (6, True), text)
            for key in lost:
                expect_problem(server.get('files', key), 500, 'file-damaged')
            expect({e['cause'] for e in risk(server)['entries']}, {'missing'})
            expect(server.get('files', 'other').body == content(SMALL, 3), True)
            expect(server.put('files', 'new', b'new').status in (200, 201), True)
            expect(server.stop(), 0)
            with open(path, 'wb') as file:
                file.write(whole)
            server.start()
            expect(risk(server)['entries'], [])
            expect(command(server, 'admin', 'status')[1].startswith('ok'), True)
            expect(server.stop(), 0)
    finally:
        server.end()


TESTS = (told_everywhere, kept_and_cleared, missing_bodies, noticed_at_start)


def main(argv):
    global BINARY
    if len(argv) < 2:
        sys.exit(__doc__)
    BINARY = shlex.split(argv[1])
    BINARY[-1] = os.path.abspath(BINARY[-1])
    chosen = [t for t in TESTS if not argv[2:] or t.__name__ in argv[2:]]
    failed = 0
    for function in chosen:
        function.bare = True
        start = time.monotonic()
        reason = smoke.run_one(function)
        print(f'{"ok    " if reason is None else "FAILED"} {function.__name__}'
              f' ({time.monotonic() - start:.1f} s)', flush=True)
        if reason is not None:
            failed += 1
            print(reason, flush=True)
    print(f'LAYER risk required={len(chosen)} executed={len(chosen)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
