#!/usr/bin/env python3
"""Which directories are copies of a store: new ones join, lost ones are replaced, stale ones catch up,
strangers are refused, and a start goes on without one that is no good.

    members.py BINARY [TEST...]

Prints `LAYER members required= executed= failed=`, where one test is one function below.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server, free_port  # noqa: E402
from smoke import content, expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('members')
bare = SUITE.bare
SIZES = (0, 3000, 70000, 300000, 3 << 20)
SECONDS = 60  # within which a copy must be whole


class Copies:
    """A server over several directories, and what was acknowledged."""

    def __init__(self, folder, names='abc', suite=SUITE):
        self.folder = folder
        self.suite = suite
        self.kept = {}
        self.server = None
        self.number = 0
        self.use(names)

    def use(self, names):
        """The next start is over these directories; the first is Server's own."""
        self.names = names
        more = [word for name in names[1:] for word in ('--data', self.dir(name))]
        self.server = Server(self.suite.binary, self.dir(names[0]), f'{self.folder}/log', more)

    def dir(self, name):
        return f'{self.folder}/{name}'

    def start(self):
        self.server.start()

    def put(self, count=10):
        """Files of all sizes; the reply's words on how safe the last one is."""
        said = None
        for _ in range(count):
            self.number += 1
            key = f'k{self.number % 60}'
            body = content(SIZES[self.number % len(SIZES)], self.number)
            answer = self.server.put('files', key, body)
            expect(answer.status in (200, 201), True, (answer.status, answer.body[:300]))
            self.kept[key] = body
            said = answer.headers['Holdfast-Durability']
        return said

    def check(self):
        for key, body in self.kept.items():
            got = self.server.get('files', key)
            expect((got.status, got.body == body), (200, True), (key, got.status != 200 and got.body))

    def wait(self, wanted):
        """Until a change is as safe as that."""
        end = time.monotonic() + SECONDS
        said = self.put(1)
        while not said.startswith(wanted):
            expect(time.monotonic() < end, True, said)
            time.sleep(0.2)
            said = self.put(1)

    def events(self, name):
        return [event for event in self.server.events() if event['event'] == name]

    def fsck(self):
        """Each directory by itself is whole, and has all files."""
        for name in self.names:
            done = subprocess.run([*self.suite.binary, 'fsck', self.dir(name)], capture_output=True,
                                  text=True, check=False)
            expect(done.returncode, 0, done.stdout + done.stderr)
            expect(f' {len(self.kept) + 1} files' in done.stdout, True, (name, len(self.kept), done.stdout))  # and a bucket

    def stop(self):
        expect(self.server.stop(), 0)

    def end(self):
        self.server.end()


def refused(copies, names, *words):
    """A start over these directories fails and says so; nothing was changed."""
    options = [word for name in names for word in ('--data', copies.dir(name))]
    done = subprocess.run([*SUITE.binary, 'serve', *options, '--s3', 'off', '--log-format', 'text', '--http',
                           f'127.0.0.1:{free_port()}'], capture_output=True, text=True, check=False,
                          timeout=60)
    expect(done.returncode != 0, True, done.stderr)
    for word in words:
        expect(word in done.stderr, True, (word, done.stderr))


@bare
def three_from_the_start(folder):
    copies = Copies(folder)
    try:
        copies.start()
        said = copies.put(30)
        expect(said, 'synced=3/3; disks=1; zones=1')
        copies.check()
        copies.server.kill()
        copies.start()
        copies.check()
        copies.wait('synced=3/3')
        copies.stop()
        copies.fsck()
    finally:
        copies.end()


@bare
def one_becomes_three(folder):
    """Two empty directories beside the one that has all files: they get them, and count from then on."""
    copies = Copies(folder, 'a')
    try:
        copies.start()
        expect(copies.put(40).startswith('synced=1/1'), True)
        copies.server.kill()
        copies.use('abc')
        copies.start()
        copies.wait('synced=3/3')
        copies.check()
        copies.stop()
        copies.use('bca')  # in whatever order
        copies.start()
        copies.check()
        copies.wait('synced=3/3')
        copies.stop()
        copies.fsck()
        refused(copies, 'b', '2 are needed', 'give all')
    finally:
        copies.end()


def lose(folder, lost):
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(40)
        copies.server.kill()
        shutil.rmtree(copies.dir(lost))
        copies.start()
        copies.wait('synced=3/3')
        copies.check()
        copies.stop()
        copies.fsck()
        expect(len(copies.events('root.replaced')), 1)
    finally:
        copies.end()


@bare
def an_empty_directory_is_seeded(folder):
    lose(folder, 'c')


@bare
def the_first_directory_is_seeded(folder):
    """It has the root key, too: that is the others' as well."""
    lose(folder, 'a')


@bare
def one_after_the_other_is_replaced(folder):
    copies = Copies(folder)
    try:
        copies.start()
        for lost in 'abc':
            copies.put(15)
            copies.server.kill()
            shutil.rmtree(copies.dir(lost))
            copies.start()
            copies.wait('synced=3/3')
            end = time.monotonic() + SECONDS
            while len(copies.events('root.replaced')) < 'abc'.index(lost) + 1:
                expect(time.monotonic() < end, True)
                time.sleep(0.1)
        copies.check()
        copies.stop()
        copies.fsck()
    finally:
        copies.end()


@bare
def a_stale_one_catches_up(folder):
    """A directory as it was some time ago, put back by its backup."""
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(20)
        copies.server.kill()
        shutil.copytree(copies.dir('b'), copies.dir('old'))
        copies.start()
        copies.put(60)
        copies.server.kill()
        shutil.rmtree(copies.dir('b'))
        os.rename(copies.dir('old'), copies.dir('b'))
        copies.start()
        copies.check()
        copies.wait('synced=3/3')
        copies.check()
        copies.stop()
        copies.fsck()
    finally:
        copies.end()


@bare
def behind_every_log(folder):
    """Clean stops cut the logs: who was away meanwhile, or is new, gets what the others have stored."""
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(40)
        copies.stop()
        copies.use('ab')
        copies.start()
        expect(copies.put(40).startswith('synced=2/3'), True)
        time.sleep(4)  # who is not given is not taken for lost
        expect(copies.put(1).startswith('synced=2/3'), True)
        copies.stop()
        copies.use('abc')
        copies.start()
        copies.put(5)
        copies.wait('synced=3/3')
        copies.stop()
        copies.fsck()
        shutil.rmtree(copies.dir('a'))
        copies.start()
        copies.wait('synced=3/3')
        copies.check()
        copies.stop()
        copies.fsck()
    finally:
        copies.end()


@bare
def a_lost_index_brings_nothing_back(folder):
    """A directory was given a copy over older files, some of which were deleted meanwhile: its packs do not
    tell of that. When its index is lost, and made again, they stay gone: it gets its rows from the
    others."""
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(40)
        copies.stop()
        copies.use('ab')
        copies.start()
        gone = [f'k{number}' for number in range(1, 16)]
        for key in gone:
            expect(copies.server.request('DELETE', copies.server.name_path('files', key)).status, 204)
            del copies.kept[key]
        copies.put(10)
        copies.stop()
        copies.use('cab')
        copies.start()
        copies.wait('synced=3/3')
        expect(len(copies.events('shard.snapshot_stored')) > 0, True)
        copies.stop()
        remade = f'{copies.dir("c")}/index.remade'
        for name in ('index.db', 'index.db-wal'):
            if os.path.exists(f'{copies.dir("c")}/{name}'):
                os.remove(f'{copies.dir("c")}/{name}')
        done = subprocess.run([*SUITE.binary, 'recover', '--rebuild', 'index', '--yes', copies.dir('c')],
                              capture_output=True, text=True, check=False)
        expect((done.returncode in (0, 6), os.path.exists(remade)), (True, True), done.stdout + done.stderr)
        for kill in (True, False):
            copies.start()
            expect([copies.server.get('files', key).status for key in gone], [404] * len(gone))
            if kill:  # at any moment of it
                copies.server.kill()
        expect({e['seeded'] for e in copies.events('root.index_remade')}, {1})
        copies.check()
        copies.wait('synced=3/3')
        wait_until('the mark goes', lambda: not os.path.exists(remade))
        expect([copies.server.get('files', key).status for key in gone], [404] * len(gone))
        copies.stop()
        for name in 'abc':
            done = subprocess.run([*SUITE.binary, 'fsck', copies.dir(name)], capture_output=True, text=True,
                                  check=False)
            expect(f' {len(copies.kept) + 1} files' in done.stdout, True, (name, done.stdout))
    finally:
        copies.end()


@bare
def strangers_are_refused(folder):
    copies = Copies(folder)
    other = Copies(folder, 'x')
    try:
        other.start()
        other.put(5)
        other.stop()
        copies.start()
        copies.put(20)
        copies.stop()
        refused(copies, 'abx', 'different stores')
        shutil.copytree(copies.dir('a'), copies.dir('twin'))
        os.unlink(f'{copies.dir("twin")}/lock')
        refused(copies, ('a', 'b', 'twin'), 'same root')
        os.mkdir(copies.dir('plain'))
        with open(f'{copies.dir("plain")}/letter', 'w', encoding='ascii') as file:
            file.write('mine')
        refused(copies, ('a', 'b', 'plain'), 'plain')
        expect(os.listdir(copies.dir('plain')), ['letter'])
        refused(copies, 'ax', 'different stores')
        copies.start()
        copies.check()
        copies.wait('synced=3/3')
        copies.stop()
        copies.fsck()
        other.start()
        other.check()
        other.stop()
    finally:
        copies.end()
        other.end()


@bare
def what_was_replaced_stays_out(folder):
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(10)
        copies.server.kill()
        os.rename(copies.dir('c'), copies.dir('lost'))
        copies.start()
        copies.wait('synced=3/3')
        end = time.monotonic() + SECONDS
        while not copies.events('root.replaced'):
            expect(time.monotonic() < end, True)
            time.sleep(0.1)
        copies.stop()
        refused(copies, ('a', 'b', 'lost'), 'was replaced')
        copies.start()
        copies.check()
        copies.stop()
        copies.fsck()
    finally:
        copies.end()


def write_over(path, offset, data):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(data)


@bare
def a_start_goes_on_without_one(folder):
    """Its root.json can't be read, the others serve, and it catches up when it is mended."""
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(30)
        copies.stop()
        path = f'{copies.dir("b")}/root.json'
        with open(path, 'rb') as file:
            good = file.read()
        write_over(path, 20, b'????')
        copies.start()
        copies.check()
        expect(copies.put(30).startswith('synced=2/3'), True)
        expect([event['directory'] for event in copies.events('root.left_out')], [copies.dir('b')])
        copies.stop()
        with open(path, 'wb') as file:
            file.write(good)
        copies.start()
        copies.wait('synced=3/3')
        copies.check()
        copies.stop()
        copies.fsck()
        write_over(f'{copies.dir("a")}/root.json', 20, b'????')
        write_over(f'{copies.dir("c")}/root.json', 20, b'????')
        refused(copies, 'abc', '2 of 3 directories')
    finally:
        copies.end()


@bare
def damage_is_mended_by_reading(folder):
    """Bytes of large bodies and of packs that were changed on the root that is read: clients get what
    they stored, large bodies are put back, and the list of damage says what is not."""
    copies = Copies(folder)
    try:
        copies.start()
        for number in range(6):
            body = content(3 << 20 if number % 2 else 3000, number)
            expect(copies.server.put('files', f'd{number}', body).status, 201)
            copies.kept[f'd{number}'] = body
        copies.stop()
        copies.start()
        roots = copies.server.request('GET', '/v1/admin/roots').json()['roots']
        whole = next(root['directory'] for root in roots if not root['leads'])
        blobs, packs = [], []
        for root in roots:
            for where, _, files in os.walk(root['directory']):
                if root['directory'] != whole:
                    blobs += [f'{where}/{file}' for file in files if '/blobs/' in where]
                    packs += [f'{where}/{file}' for file in files if where.endswith('/packs')]
        for path in blobs:
            write_over(path, 1000000, b'?' * 100)
        for path in packs:
            write_over(path, 4096, b'?' * max(0, os.path.getsize(path) - 4096))
        expect((len(blobs), len(packs) >= 2), (6, True))
        for _ in range(2):
            copies.check()
        expect(len(copies.events('body.mended')) >= 3, True, len(copies.events('body.mended')))
        lead = copies.server.request('GET', '/v1/admin/risk').json()
        expect(lead['files'] >= 1, True, lead)
        quarantined = [file for name in copies.names for file in os.listdir(f'{copies.dir(name)}/quarantine')]
        expect(len(quarantined) >= 3, True, quarantined)
        copies.stop()
        copies.start()
        copies.check()
        copies.stop()
    finally:
        copies.end()


def asked(copies, method, path):
    answer = copies.server.request(method, path)
    expect(answer.status, 200, answer.body)
    return answer.json()


def listed(copies):
    """All that is known to be damaged, one entry a page."""
    page = asked(copies, 'GET', '/v1/admin/risk?limit=1')
    entries = page['entries']
    while page['next']:
        page = asked(copies, 'GET', f'/v1/admin/risk?limit=1&after={page["next"]}')
        entries += page['entries']
    return entries


def scrubbed(copies):
    """All roots are read through once more; what was listed as damaged meanwhile, for a moment at least."""
    def scrub():
        return {root['directory']: root for root in asked(copies, 'GET', '/v1/admin/scrub')['roots']}
    wait_until('the pass before', lambda: all(root['state'] == 'waiting' for root in scrub().values()))
    before = scrub()
    asked(copies, 'POST', '/v1/admin/scrub/start')
    seen = {}

    def over():
        for entry in asked(copies, 'GET', '/v1/admin/ledger')['entries']:
            seen[entry['directory'], entry.get('key'), entry['place']] = entry
        return all(root['state'] == 'waiting' and root['pass'] > before[name]['pass']
                   for name, root in scrub().items())
    wait_until('the end of a pass', over)
    return list(seen.values()), scrub()


def wait_until(what, is_so):
    end = time.monotonic() + SECONDS
    while not is_so():
        expect(time.monotonic() < end, True, what)
        time.sleep(0.01)


def nothing_below(copies):
    ledger = asked(copies, 'GET', '/v1/admin/ledger')
    expect(ledger['files'] > 0 and ledger['copies'] == 3, True, ledger)
    return (ledger['below_target'], ledger['places'], ledger['roots'], ledger['entries']) == (0, 0, [], [])


def admin_ledger(copies, *options):
    done = subprocess.run([*SUITE.binary, 'admin', 'ledger', *options, '--url',
                           f'http://127.0.0.1:{copies.server.port}', '--key', copies.server.key()],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def differing(copies):
    """The comparisons that ended with a difference."""
    return [event for event in copies.events('ledger.compared') if event['differences'] > 0]


@bare
def a_lost_row_is_put_in(folder):
    """A bug of the applier of one root loses a row of its index: the others have it, and it is put right
    behind the next pass of scrub."""
    copies = Copies(folder)
    try:
        copies.server.options += ['--scrub-rate-min', '1GiB', '--scrub-rate-max', '1GiB']
        copies.server.fault = 'apply.lose_row=fail:EIO@20'
        copies.start()
        copies.put(60)
        scrubbed(copies)
        wait_until('the difference', lambda: differing(copies))
        told = copies.events('ledger.difference')
        expect([(event['what'], event['mended']) for event in told], [('lacks', 'yes')], told)
        count = len(copies.events('ledger.compared'))
        scrubbed(copies)
        wait_until('all are compared again', lambda: len(copies.events('ledger.compared')) >= count + 3)
        expect({event['differences'] for event in copies.events('ledger.compared')[-3:]}, {0})
        copies.check()
        copies.stop()
        copies.fsck()
        for name in copies.names:
            salvaged(copies, name)
    finally:
        copies.end()


@bare
def of_two_roots_a_lost_row_is_told(folder):
    """The same with two roots: nobody can say who is wrong, so it is told, and neither is changed."""
    copies = Copies(folder, 'ab')
    try:
        copies.server.options += ['--scrub-rate-min', '1GiB', '--scrub-rate-max', '1GiB']
        copies.server.fault = 'apply.lose_row=fail:EIO@20'
        copies.start()
        copies.put(60)
        scrubbed(copies)
        # The pass before may have been compared late, and have told it as well.
        wait_until('both tell it', lambda: len({event['root'] for event in copies.events('ledger.difference')}) == 2)
        told = copies.events('ledger.difference')
        expect({(event['what'], event['mended']) for event in told}, {('undecided', 'no')}, told)
        expect(len({event['key'] for event in told}), 1, told)
        wait_until('both are through', lambda: len(differing(copies)) >= len(told))
        expect({(event['differences'], event['undecided']) for event in differing(copies)}, {(1, 1)})
        copies.stop()
    finally:
        copies.end()


@bare
def the_ledger_tells_of_roots(folder):
    """A root that is left out, one that catches up, a directory that is no good: each is told while it is
    so, with what is below its target, and no more when it is over."""
    copies = Copies(folder)
    try:
        copies.start()
        copies.put(60)
        wait_until('the ledger to be empty', lambda: nothing_below(copies))
        status, text = admin_ledger(copies)
        expect((status, 'all of them have' in text), (0, True), text)
        root = next(root for root in asked(copies, 'GET', '/v1/admin/roots')['roots'] if not root['leads'])
        asked(copies, 'POST', f'/v1/admin/roots/{root["uuid"]}/evict')
        wait_until('it is told', lambda: asked(copies, 'GET', '/v1/admin/ledger')['roots'])
        copies.put(60)
        ledger = asked(copies, 'GET', '/v1/admin/ledger')
        told = ledger['roots'][0]
        expect([told[name] for name in ('root', 'directory', 'why', 'done_at')],
               [root['uuid'], root['directory'], 'evicted', None])
        expect((told['files'] > 10, told['bytes'] > 1000000, ledger['below_target']),
               (True, True, ledger['files']), ledger)
        expect((told['action'].startswith('none: '), len(ledger['roots'])), (True, 1), told)
        status, text = admin_ledger(copies)
        expect((status, f'{root["directory"]} is evicted' in text), (1, True), text)
        below = [line for line in copies.server.request('GET', '/metrics', key=None).body.decode().splitlines()
                 if line.startswith('holdfast_files_below_target{') and root['uuid'] in line]
        expect(float(below[0].split()[1]) > 10, True, below)
        expect([event['why'] for event in copies.events('ledger.root_below')], ['evicted'])
        copies.stop()
        copies.start()
        wait_until('it has caught up', lambda: nothing_below(copies))
        copies.stop()
        write_over(f'{copies.dir("b")}/root.json', 20, b'????')
        copies.start()
        wait_until('it is told', lambda: asked(copies, 'GET', '/v1/admin/ledger')['roots'])
        told = asked(copies, 'GET', '/v1/admin/ledger')['roots'][0]
        expect((told['root'], told['directory'], told['why']), (None, copies.dir('b'), 'absent'))
        expect(admin_ledger(copies, '--json')[0], 0)
        copies.stop()
    finally:
        copies.end()


@bare
def many_read_what_is_damaged(folder):
    """Eight clients at once for a large body that is damaged on the root that is read: one of them has it mended,
    and the others wait for that."""
    copies = Copies(folder)
    try:
        copies.start()
        body = content(64 << 20, 1)
        expect(copies.server.put('files', 'large', body).status, 201)
        roots = asked(copies, 'GET', '/v1/admin/roots')['roots']
        lead = next(root['directory'] for root in roots if root['leads'])
        blob = max((f'{where}/{file}' for where, _, files in os.walk(f'{lead}/blobs') for file in files),
                   key=os.path.getsize)
        for turn in range(3):
            write_over(blob, 1000, bytes([turn]) * 5000)
            got = [None] * 8

            def read(i):
                answer = copies.server.get('files', 'large')
                got[i] = (answer.status, answer.body == body or answer.json()['code'])
            threads = [threading.Thread(target=read, args=(i,)) for i in range(len(got))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            expect(set(got) <= {(200, True), (503, 'busy')} and (200, True) in got, True, got)
        expect(copies.server.get('files', 'large').body == body, True, 'afterwards')
        copies.stop()
    finally:
        copies.end()


@bare
def damage_of_each_root_is_mended(folder):
    """Scrub finds damage on each root in turn; list, status and scrub name its directory. It is mended
    from the others, read back, and in the end everything is read from each root alone."""
    copies = Copies(folder)
    try:
        copies.server.options += ['--scrub-rate-min', '1GiB', '--scrub-rate-max', '1GiB']
        copies.start()
        copies.put(60)
        for count, name in enumerate('abc', 1):
            copies.stop()
            copies.start()
            bad = copies.dir(name)
            pack = max((f'{bad}/packs/{file}' for file in os.listdir(f'{bad}/packs')), key=os.path.getsize)
            if name == 'c':
                os.unlink(pack)
            else:
                write_over(pack, 8192, b'?' * (os.path.getsize(pack) - 8192))
            blob = max((f'{where}/{file}' for where, _, files in os.walk(f'{bad}/blobs') for file in files),
                       key=os.path.getsize)
            write_over(blob, 1000000, b'?' * 100)
            seen, scrub = scrubbed(copies)
            expect({entry['directory'] for entry in seen}, {bad}, seen)
            expect({(entry['why'], entry['action'].split(':')[0] == 'none') for entry in seen}, {('damaged', False)}, seen)
            expect({entry['place'].split('/')[0] for entry in seen}, {'packs', 'blobs'}, seen)
            expect({name for name, root in scrub.items() if root['damaged'] > 0}, {bad}, scrub)
            wait_until('the list to be empty', lambda: listed(copies) == [])
            wait_until('the ledger to be empty', lambda: nothing_below(copies))
            expect(asked(copies, 'GET', '/v1/admin/status')['risk'],
                   {'files': 0, 'places': 0, 'index_places': 0, 'unlisted': 0})
            seen, scrub = scrubbed(copies)
            expect((seen, {root['damaged'] for root in scrub.values()}), ([], {0}))
            expect(len(copies.events('ledger.mended')) > 0, True)
            expect(len(copies.events('ledger.pack_mended')), count)
            copies.put(20)
            copies.check()
        copies.stop()
        copies.fsck()
        for name in copies.names:
            salvaged(copies, name)
    finally:
        copies.end()


def salvaged(copies, name):
    """All that was acknowledged is in that directory alone."""
    out = f'{copies.folder}/salvaged-{name}'
    done = subprocess.run([*SUITE.binary, 'fsck', '--quiet', '--salvage', out, copies.dir(name)],
                          capture_output=True, text=True, check=False)
    expect(done.returncode, 0, done.stdout + done.stderr)
    with open(f'{out}/MANIFEST.jsonl', encoding='utf-8') as lines:
        rows = [json.loads(line) for line in lines]
    there = {row['key']: row['sha256'] for row in rows if row['saved'] and row['bucket'] == 'files'}
    expect(there, {key: hashlib.sha256(body).hexdigest() for key, body in copies.kept.items()})


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
