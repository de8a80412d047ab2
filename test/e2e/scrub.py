#!/usr/bin/env python3
"""Scrub of a running server, seen from outside: damage is found before anybody asks for the file, and
nothing else is called damage.

    scrub.py BINARY [TEST...]

Prints `LAYER scrub required= executed= failed=`, where one test is one function below.
"""
import os
import shlex
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import risk as kit  # noqa: E402
import smoke  # noqa: E402
from risk import applied, command, find_bytes, flip, metric, risk, wait_for  # noqa: E402
from server import Server  # noqa: E402
from smoke import content, expect, expect_problem  # noqa: E402

SMALL, LARGE = 3000, 700000
FILES = 60  # one in so many is large:
LARGE_EVERY = 10
FAST = ('--scrub-rate-min', '1GiB', '--scrub-rate-max', '1GiB')


def serve(folder, *options):
    return Server(kit.BINARY, f'{folder}/d', f'{folder}/log', options).start()


def scrub(server, verb=None):
    answer = server.request(*(('GET', '/v1/admin/scrub') if verb is None
                              else ('POST', f'/v1/admin/scrub/{verb}')))
    expect(answer.status, 200, answer.body)
    return answer.json()


def whole_pass(server, seconds=90):
    """Starts a pass and waits until it, or the one that was under way, has ended."""
    wait_for('the pass before', lambda: scrub(server)['state'] == 'waiting', seconds)
    before = scrub(server)['pass']
    scrub(server, 'start')

    def ended():
        now = scrub(server)
        return now['pass'] > before and now['state'] == 'waiting'
    wait_for('a pass', ended, seconds)
    return scrub(server)


def put_files(server):
    """Key -> body; all in packs and blobs."""
    bodies = {}
    connection = server.connect()
    for i in range(FILES):
        key = f'file {i:03d}'
        bodies[key] = content(LARGE if i % LARGE_EVERY == 0 else SMALL, i)
        expect(server.put('files', key, bodies[key], connection=connection).status, 201, key)
    applied(server)
    return bodies


def damage(server, bodies, keys):
    """Flips a byte of each. Key -> file of the root."""
    places = {}
    for key in keys:
        large = len(bodies[key]) == LARGE
        at_body = 600000 if large else 1000
        path, at = find_bytes(server, 'blobs/**' if large else 'packs/*',
                              bodies[key][at_body:at_body + 100])
        flip(path, at + 20)
        places[key] = os.path.relpath(path, server.data)
    return places


def listed(server):
    """Key -> entry of the files of `admin risk`."""
    return {e['key']: e for e in risk(server)['entries'] if e['kind'] == 'file'}


def found_and_cleared(folder):
    server = serve(folder, *FAST)
    try:
        bodies = put_files(server)
        first = whole_pass(server)
        expect((first['damaged'], risk(server)['entries']), (0, []))
        expect(first['verified_bytes'] > sum(map(len, bodies.values())), True, first)
        hurt = ('file 010', 'file 020', 'file 033', 'file 044')
        places = damage(server, bodies, hurt)
        expect(listed(server), {})  # nobody has looked yet
        expect(whole_pass(server)['damaged'] >= len(hurt), True)
        found = listed(server)
        expect(sorted(found), sorted(hurt))
        expect({key: found[key]['place'] for key in hurt}, places)
        expect({found[key]['cause'] for key in hurt}, {'checksum'})
        status, text = command(server, 'admin', 'risk')
        expect((status, [key for key in hurt if f'files/{key}' not in text]), (6, []), text)
        expect(command(server, 'admin', 'scrub')[0], 6)
        for key, body in bodies.items():
            if key in hurt and len(body) == SMALL:
                expect_problem(server.get('files', key), 500, 'file-damaged')
            elif key not in hurt:
                expect(server.get('files', key).body == body, True, key)
        for key in hurt[:1] + hurt[2:3]:
            expect(server.put('files', key, b'new').status, 200)
        for key in hurt[1:2] + hurt[3:]:
            expect(server.request('DELETE', server.name_path('files', key)).status, 204)
        wait_for('the list to be empty of files', lambda: listed(server) == {})
        expect(metric(server, 'holdfast_files_at_risk'), 0)
        whole_pass(server)
        expect(listed(server), {})  # their old bytes are no file's
        expect(server.stop(), 0)
    finally:
        server.end()


def goes_on_after_kill(folder):
    """A slow pass; paused, it stays so over kill -9, and goes on from where it was."""
    server = serve(folder, '--scrub-rate-min', '256KiB', '--scrub-rate-max', '1MiB')
    try:
        wait_for('the first pass', lambda: scrub(server)['state'] == 'waiting')
        put_files(server)
        scrub(server, 'start')
        wait_for('half a megabyte', lambda: scrub(server)['verified_bytes'] > 500000)
        scrub(server, 'pause')
        wait_for('scrub.json', lambda: b'"paused":true' in saved(server))
        before = scrub(server)
        expect(before['state'], 'paused')
        expect(before['verified_bytes'] < before['total_bytes'], True, before)
        server.kill()
        server.start()
        time.sleep(1.5)
        after = scrub(server)
        same = ('state', 'pass', 'started_at', 'pack', 'verified_bytes')
        expect([after[name] for name in same], [before[name] for name in same])
        expect(after['total_bytes'] > after['verified_bytes'], True, after)
        scrub(server, 'resume')
        wait_for('more', lambda: scrub(server)['verified_bytes'] > before['verified_bytes'])
        expect(scrub(server)['pass'], before['pass'])
        scrub(server, 'pause')
        expect(server.stop(), 0)
        server.options = list(FAST)
        server.start()
        expect(scrub(server)['state'], 'paused')
        scrub(server, 'resume')
        wait_for('its end', lambda: scrub(server)['state'] == 'waiting', 40)
        expect((scrub(server)['pass'], scrub(server)['damaged']), (before['pass'], 0))
        expect(risk(server)['entries'], [])
    finally:
        server.end()


def saved(server):
    with open(f'{server.data}/scrub.json', 'rb') as file:
        return file.read()


class Writer(threading.Thread):
    """Overwrites, deletes and reads its own keys until it is told to stop."""

    def __init__(self, server, number):
        super().__init__()
        self.server = server
        self.number = number
        self.ending = False
        self.wrong = None

    def run(self):
        connection = self.server.connect()
        turn = 0
        while not self.ending and self.wrong is None:
            turn += 1
            key = f'w{self.number} {turn % 50}'
            body = content(LARGE if turn % 40 == 0 else SMALL, turn)
            put = self.server.put('files', key, body, connection=connection)
            got = self.server.get('files', key, connection=connection)
            if put.status not in (200, 201) or got.body != body:
                self.wrong = f'{key}: {put.status} {got.status}'
            if turn % 3 == 0:
                path = self.server.name_path('files', key)
                self.server.request('DELETE', path, connection=connection)
            time.sleep(0.01)  # scrub puts its pieces off while a request is under way


def healthy_under_load(folder):
    """Passes one after the other beside writers and compaction: nothing is damaged."""
    server = serve(folder, '--compact-rate', '64MiB', '--compact-dead', '5', *FAST)
    writers = []
    try:
        bodies = put_files(server)
        for key in list(bodies)[1:FILES:2]:  # packs with something dead in them …
            expect(server.request('DELETE', server.name_path('files', key)).status, 204)
            del bodies[key]
        expect(server.stop(), 0)
        server.start()  # … that are not written to any more
        writers = [Writer(server, number) for number in range(3)]
        for writer in writers:
            writer.start()
        passes = 0
        end = time.monotonic() + 12
        while time.monotonic() < end or (passes < 2 and time.monotonic() < end + 60):
            expect(whole_pass(server)['damaged'], 0, f'pass {passes}')
            passes += 1
        for writer in writers:
            writer.ending = True
            writer.join()
        expect([writer.wrong for writer in writers], [None] * len(writers))
        expect(risk(server)['entries'], [])
        expect(passes >= 2, True, f'{passes} passes')
        expect(metric(server, 'holdfast_compaction_packs_total') >= 1, True, 'compaction had no work')
        for key, body in bodies.items():
            expect(server.get('files', key).body == body, True, key)
        expect(server.stop(), 0)
    finally:
        for writer in writers:
            writer.ending = True
        server.end()


def damaged_index(folder):
    """A page of index.db that nobody asks for is found, told in status's first line, and gone from it
    when the index was made again."""
    server = serve(folder, *FAST)
    try:
        connection = server.connect()
        names = [f'{i:04d} {"n" * 300}' for i in range(600)]
        for i, name in enumerate(names):
            expect(server.put('files', name, content(100, i), connection=connection).status, 201)
        applied(server)
        expect(server.stop(), 0)
        server.start()
        expect(whole_pass(server)['damaged'], 0)
        with open(f'{server.data}/index.db', 'rb') as file:
            at = file.read().find(names[300].encode())
        flip(f'{server.data}/index.db', at + 10)
        expect(whole_pass(server)['damaged'] >= 1, True)
        places = [e for e in risk(server)['entries'] if e['kind'] == 'place']
        expect([(e['place'], e['offset'], e['cause']) for e in places],
               [('index.db', at // 4096 * 4096, 'checksum')])
        status, text = command(server, 'admin', 'status')
        expect((status, text.startswith('damage: index damaged')), (6, True), text)
        expect('holdfast recover --rebuild index' in text.splitlines()[0], True, text)
        expect(metric(server, 'holdfast_index_places_at_risk'), 1)
        expect([e['place'] for e in server.events() if e['event'] == 'place.at_risk'], ['index.db'])
        server.kill()
        command(server, 'recover', '--rebuild', 'index', '--quiet', server.data)
        server.start()
        expect(risk(server)['entries'], [])
        for i, name in enumerate(names):
            expect(server.get('files', name).body == content(100, i), True, name)
        expect(command(server, 'admin', 'status')[1].startswith('ok'), True)
        expect(whole_pass(server)['damaged'], 0)
        expect(server.stop(), 0)
    finally:
        server.end()


TESTS = (found_and_cleared, goes_on_after_kill, healthy_under_load, damaged_index)


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    kit.BINARY = shlex.split(argv[1])
    kit.BINARY[-1] = os.path.abspath(kit.BINARY[-1])
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
    print(f'LAYER scrub required={len(chosen)} executed={len(chosen)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
