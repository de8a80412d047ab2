#!/usr/bin/env python3
"""`holdfast recover --from`: one of three directories is damaged, emptied or gone, and is made anew
from another one. Every acknowledged file is then read from that directory alone, what was deleted
stays deleted, and what stood there is kept; also when the command is killed anywhere. What may not be
copied from is refused.

    recover.py BINARY [TEST...]

BINARY is a test build: HOLDFAST_FAULT kills the command at a chosen call. Prints
`LAYER recover required= executed= failed=`, where one test is one function below.
"""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from members import Copies, write_over  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('recover')
bare = SUITE.bare
KILLS = [*(f'recover.block=kill@{n}' for n in (1, 3)), *(f'recover.file=kill@{n}' for n in (1, 2, 5)),
         *(f'recover.step=kill@{n}' for n in range(1, 9)), *(f'recover.move=kill@{n}' for n in (1, 2, 5, 12, 30)),
         'disk.sync=kill@2', 'disk.sync=kill@9', 'disk.rename=kill@4', 'disk.unlink=kill@1']


class Store(Copies):
    """Three directories; files are deleted and overwritten too."""

    def __init__(self, folder, names='abc'):
        super().__init__(folder, names, SUITE)
        self.gone = set()

    def fill(self, count=60):
        self.put(count)
        for key in [key for number, key in enumerate(self.kept) if number % 4 == 1]:
            expect(self.server.request('DELETE', self.server.name_path('files', key)).status, 204)
            del self.kept[key]
            self.gone.add(key)
        self.put(7)
        expect(len(self.gone) > 3, True, self.gone)

    def put(self, count=10):
        said = super().put(count)
        self.gone -= set(self.kept)
        return said

    def copy(self, folder):
        """The same as it lies there, elsewhere."""
        other = Store(folder, self.names)
        other.kept, other.gone = dict(self.kept), set(self.gone)
        for name in self.names:
            shutil.copytree(self.dir(name), other.dir(name))
        shutil.copy(f'{self.folder}/log', other.folder)
        return other

    def salvaged(self, name):
        """What this directory alone holds is what was acknowledged, byte by byte."""
        out = f'{self.folder}/out-{name}'
        done = subprocess.run([*SUITE.binary, 'fsck', '--quiet', '--salvage', out, self.dir(name)],
                              capture_output=True, text=True, check=False)
        expect(done.returncode, 0, done.stdout + done.stderr)
        found = set(os.listdir(f'{out}/files'))
        expect(found, set(self.kept), (found ^ set(self.kept)))
        for key, body in self.kept.items():
            with open(f'{out}/files/{key}', 'rb') as file:
                expect(file.read() == body, True, key)
        shutil.rmtree(out)

    def check(self):
        super().check()
        for key in self.gone:
            expect(self.server.get('files', key).status, 404, key)

    def whole(self, name, behind=False, others=True):
        """It starts with the others, counts again, and has all, without another copy of the bodies.
        behind: files were stored since it was made; others: they are whole, too."""
        done = subprocess.run([*SUITE.binary, 'fsck', self.dir(name)], capture_output=True, text=True,
                              check=False)
        expect(done.returncode, 0, done.stdout + done.stderr)
        before = bodies(self.dir(name))
        if not behind:
            self.salvaged(name)
        seen = len(self.server.events())
        self.start()
        self.wait('synced=3/3')
        self.check()
        self.stop()
        after = bodies(self.dir(name))
        again = {path for path in before if path in after and after[path] != before[path]}
        expect(again, set())  # what has gone was overwritten or deleted since
        events = [event for event in self.server.events()[seen:] if event.get('root') == self.names.index(name)]
        said = {event['event'] for event in events}
        expect(behind or 'shard.snapshot_begun' not in said, True, said)
        brought = {event['body'] for event in events if event['event'] == 'body.brought'}
        expect({path for path in before if os.path.basename(path)[:-2] in brought}, set())
        expect(any('/packs/' in path for path in set(before) & set(after)), True, after)
        self.salvaged(name)
        if others:
            self.fsck()


def bodies(folder):
    """Packs and blobs, each with what would be another if it was written again."""
    return {path: os.stat(path).st_ino for where, _, files in os.walk(folder)
            for path in (f'{where}/{file}' for file in files)
            if '/quarantine/' not in path and ('/packs/' in path or '/blobs/' in path)}


def digests(folder, below=''):
    """Of every file, by its path; recover/ and the lock are not the root's."""
    found = {}
    for where, _, files in os.walk(f'{folder}/{below}'):
        for file in files:
            path = f'{where}/{file}'
            name = os.path.relpath(path, f'{folder}/{below}')
            if name == 'lock' or name.startswith('recover/'):
                continue
            with open(path, 'rb') as data:
                found[name] = hashlib.sha256(data.read()).hexdigest()
    return found


def recover(*args, fault=None):
    env = dict(os.environ)
    if fault is not None:
        env['HOLDFAST_FAULT'] = fault
    done = subprocess.run([*SUITE.binary, 'recover', *args], capture_output=True, text=True, check=False,
                          env=env, timeout=120)
    return done.returncode, done.stdout + done.stderr


def refused(status, *args, words=()):
    """args end in the directory, in which nothing changes."""
    folder = args[-1]
    before = digests(folder) if os.path.exists(folder) else None
    got, text = recover(*args)
    expect(got, status, text)
    for word in words:
        expect(word in text, True, (word, text))
    expect(digests(folder) if os.path.exists(folder) else None, before)


def stopped(folder, clean=True, count=60):
    store = Store(folder)
    store.start()
    store.fill(count)
    if clean:
        store.stop()
    else:
        store.server.kill()
    return store


def overwrite(paths):
    for path in paths:
        write_over(path, 4096, b'?' * max(0, os.path.getsize(path) - 4096))


def files_below(folder):
    return [f'{where}/{file}' for where, _, files in os.walk(folder) for file in files]


def damage_packs(folder):
    overwrite(files_below(f'{folder}/packs'))


def damage_log(folder):
    overwrite([f'{folder}/wal.active', *files_below(f'{folder}/wal.segments')])


def damage_index(folder):
    overwrite([f'{folder}/index.db'])


def damage_blobs(folder):
    overwrite(files_below(f'{folder}/blobs'))


def damage_name(folder):
    write_over(f'{folder}/root.json', 20, b'????')


def damage_half(folder):
    """Half of it is gone, and the other half is no good."""
    shutil.rmtree(f'{folder}/blobs')
    os.unlink(f'{folder}/index.db')
    damage_packs(folder)


def made_anew(folder, damage, name, clean):
    store = stopped(folder, clean)
    try:
        damage(store.dir(name))
        old = digests(store.dir(name))
        status, text = recover('--from', 'auto', store.dir(name))
        expect(status, 0, text)
        expect('copying from ' in text, True, text)
        aside = digests(store.dir(name), 'quarantine/before_recover_1')
        left = {path: digest for path, digest in old.items() if path.startswith(('audit', 'root.key', 'quarantine'))}
        moved = {path: digest for path, digest in old.items() if path not in left}
        expect(aside, moved)
        now = digests(store.dir(name))
        expect({path: now.get(path) for path in left}, left)
        store.whole(name)
    finally:
        store.end()


@bare
def packs_overwritten(folder):
    made_anew(folder, damage_packs, 'b', True)


@bare
def packs_overwritten_after_a_kill(folder):
    made_anew(folder, damage_packs, 'c', False)


@bare
def log_overwritten(folder):
    made_anew(folder, damage_log, 'a', False)


@bare
def index_overwritten(folder):
    made_anew(folder, damage_index, 'a', True)


@bare
def blobs_overwritten(folder):
    made_anew(folder, damage_blobs, 'c', True)


@bare
def root_json_overwritten(folder):
    made_anew(folder, damage_name, 'b', False)


@bare
def half_of_it_gone(folder):
    made_anew(folder, damage_half, 'b', True)


def gone(folder, name, clean, make):
    store = stopped(folder, clean)
    try:
        shutil.rmtree(store.dir(name))
        if make:
            os.mkdir(store.dir(name))
        status, text = recover('--from', store.dir('b'), '--json', store.dir(name))
        expect(status, 0, text)
        said = [json.loads(line) for line in text.splitlines()]
        expect((said[-1]['from'], 'aside' in said[-1]), (store.dir('b'), False), text)
        store.whole(name)
    finally:
        store.end()


@bare
def directory_gone(folder):
    gone(folder, 'c', True, False)


@bare
def first_directory_emptied_after_a_kill(folder):
    """It had the audit log and was the first to hold the root key."""
    gone(folder, 'a', False, True)


@bare
def from_one_that_waits_for_others(folder):
    """What is to be given the others' rows or bodies first is no source; another one is taken."""
    store = stopped(folder)
    try:
        damage_packs(store.dir('a'))
        for mark in ('index.remade', 'bodies.owed'):
            with open(f'{store.dir("b")}/{mark}', 'wb'):
                pass
            refused(4, '--from', store.dir('b'), store.dir('a'), words=(mark,))
            os.unlink(f'{store.dir("b")}/{mark}')
        with open(f'{store.dir("b")}/index.remade', 'wb'):
            pass
        status, text = recover('--from', 'auto', store.dir('a'))
        expect((status, f'copying from {store.dir("c")}' in text), (0, True), text)
    finally:
        store.end()


def make_class(store, name, copies):
    """With a file in its bucket; the directories that keep it."""
    server = store.server
    settings = json.dumps({'copies': copies, 'shards': 4})
    expect(server.request('PUT', f'/v1/admin/classes/{name}', settings).status, 201)
    expect(server.request('PUT', f'/v1/buckets/{name}', json.dumps({'class': name})).status, 201)
    expect(server.put(name, 'a', name.encode() * 50000).status, 201)
    roots = {root['uuid']: os.path.basename(root['directory'])
             for root in server.request('GET', '/v1/admin/roots').json()['roots']}
    return {roots[uuid] for uuid in server.request('GET', f'/v1/admin/classes/{name}').json()['roots']}


@bare
def with_placement_classes(folder):
    """What a class keeps on other roots only is none of the damaged one's: that is made anew from a
    root that has all the rest. Of what too few have without it nothing is moved, and the class told."""
    store = stopped(folder)
    try:
        store.start()
        one = make_class(store, 'one', 1)
        store.server.kill()
        damaged, other = sorted(set('abc') - one)
        refused(4, '--from', store.dir(other), store.dir(min(one)), words=('placement class 2', '0 of 1', '--salvage'))
        damage_packs(store.dir(damaged))
        status, text = recover('--from', store.dir(other), store.dir(damaged))
        expect(status, 0, text)
        store.start()
        store.wait('synced=3/3')
        store.check()
        expect(store.server.get('one', 'a').body, b'one' * 50000)
        expect(store.server.put('one', 'b', b'x').status, 201)
        two = make_class(store, 'two', 2)
        store.stop()
        refused(4, '--from', 'auto', store.dir(max(two)), words=('placement class 3', '1 of 2', '--salvage'))
        for name in 'abc':
            done = subprocess.run([*SUITE.binary, 'fsck', store.dir(name)], capture_output=True, text=True, check=False)
            expect(done.returncode, 0, done.stdout + done.stderr)
    finally:
        store.end()


@bare
def each_directory_in_turn(folder):
    """Also from one that was made anew before; each joins before the next goes."""
    store = stopped(folder)
    try:
        for name in 'abc':
            damage_packs(store.dir(name))
            status, text = recover('--from', 'auto', store.dir(name))
            expect(status, 0, text)
            store.start()
            store.wait('synced=3/3')
            store.fill(8)
            store.stop()
        for name in 'abc':
            store.salvaged(name)
        store.fsck()
    finally:
        store.end()


@bare
def from_one_that_was_seeded(folder):
    """Its packs lack tombstones of what the snapshot took away, which looks as if rows were lost: so
    it is asked for; and nothing of that comes back."""
    store = stopped(folder)
    try:
        store.use('ab')
        store.start()
        for key in list(store.kept)[::3]:
            expect(store.server.request('DELETE', store.server.name_path('files', key)).status, 204)
            del store.kept[key]
            store.gone.add(key)
        store.put(20)
        store.stop()
        store.use('abc')
        store.start()
        store.wait('synced=3/3')
        store.stop()
        damage_packs(store.dir('a'))
        status, text = recover('--from', store.dir('b'), store.dir('a'))
        expect(status, 0, text)
        store.start()
        store.wait('synced=3/3')
        store.stop()
        damage_index(store.dir('b'))
        status, text = recover('--from', store.dir('c'), store.dir('b'))
        if status != 0:  # it was seeded, not caught up from a log
            expect((status, 'index-lacks' in text, '--yes' in text), (6, True, True), text)
            status, text = recover('--yes', '--from', store.dir('c'), store.dir('b'))
        expect((status, 'index-lacks' in text), (0, False), text)
        store.start()
        store.wait('synced=3/3')
        store.check()
        store.stop()
        for name in 'abc':
            store.salvaged(name)
    finally:
        store.end()


def killed(store, old, fault, then, start):
    try:
        status, text = recover('--from', 'auto', store.dir('b'), fault=fault)
        expect(status, -signal.SIGKILL, (fault, text))
        status, text = recover('--from', 'auto', store.dir('b'), fault=then)
        expect(status in (0, 4, -signal.SIGKILL), True, (fault, text))  # 4: it was done before
        status, text = recover('--from', 'auto', store.dir('b'))
        done = status == 0 or 'the store does not know' in text or 'is whole' in text
        expect(done, True, (fault, then, text))
        expect(digests(store.dir('b'), 'quarantine/before_recover_1'), old, (fault, then))
        store.salvaged('b')
        if start:
            store.whole('b')
    finally:
        store.end()


@bare
def killed_anywhere(folder):
    """And run again, until it is through: the new root is whole, the old one is kept whole."""
    store = stopped(folder, count=20)
    try:
        damage_packs(store.dir('b'))
        old = {path: digest for path, digest in digests(store.dir('b')).items()
               if not path.startswith(('audit', 'root.key', 'quarantine'))}
        for number, fault in enumerate(KILLS):
            os.mkdir(f'{folder}/{number}')
            again = store.copy(f'{folder}/{number}')
            killed(again, old, fault, KILLS[-1 - number], number % 6 == 0)
            shutil.rmtree(f'{folder}/{number}')
    finally:
        store.end()


@bare
def cut_off_in_the_middle(folder):
    """While it takes the other's place the server goes on without it; what was copied is not copied
    again; and one that was emptied is no directory for a new store."""
    store = stopped(folder)
    try:
        damage_packs(store.dir('c'))
        status, text = recover('--from', 'auto', store.dir('c'), fault='recover.step=kill@4')
        expect(status, -signal.SIGKILL, text)
        store.start()
        expect(store.put(1).startswith('synced=2/3'), True)
        expect([event['directory'] for event in store.events('root.left_out')], [store.dir('c')])
        store.stop()
        status, text = recover('--from', 'auto', store.dir('c'))
        expect(status, 0, text)
        store.whole('c', behind=True)
        shutil.rmtree(store.dir('b'))
        status, text = recover('--from', 'auto', '--json', store.dir('b'), fault='recover.file=kill@9')
        expect(status, -signal.SIGKILL, text)
        status, text = recover('--from', json.loads(text.splitlines()[-1])['source'], '--json', store.dir('b'))
        expect((status, json.loads(text.splitlines()[-1])['files_kept'] >= 8), (0, True), text)
        store.whole('b')
    finally:
        store.end()


@bare
def without_room(folder):
    store = stopped(folder)
    try:
        damage_index(store.dir('a'))
        old = digests(store.dir('a'))
        status, text = recover('--from', 'auto', store.dir('a'), fault='disk.write=fail:ENOSPC@5+')
        expect(status, 5, text)
        expect(digests(store.dir('a')), old)
        status, text = recover('--from', 'auto', store.dir('a'))
        expect(status, 0, text)
        store.whole('a')
    finally:
        store.end()


@bare
def damaged_sources(folder):
    """Named, and nothing is pretended: another whole one is taken, or none."""
    store = stopped(folder)
    try:
        damage_packs(store.dir('a'))
        damage_blobs(store.dir('b'))
        refused(6, '--from', store.dir('b'), store.dir('a'), words=('damage ', '/b is damaged itself', 'blobs/'))
        status, text = recover('--from', 'auto', store.dir('a'))
        expect(status, 0, text)
        expect(('not from ' in text, f'copying from {store.dir("c")}' in text), (True, True), text)
        store.whole('a', others=False)
        damage_packs(store.dir('a'))
        damage_packs(store.dir('b'))
        damage_log(store.dir('c'))
        refused(6, '--from', 'auto', store.dir('a'), words=('no directory of the store is whole', '--salvage'))
    finally:
        store.end()


@bare
def servers_that_run(folder):
    store = stopped(folder)
    try:
        damage_packs(store.dir('c'))
        store.use('ab')
        store.start()
        pid = f'pid {store.server.process.pid}'
        refused(4, '--from', 'auto', store.dir('c'), words=(pid, 'is in use', 'stop it first'))
        refused(4, '--from', store.dir('a'), store.dir('c'), words=(pid,))
        status, text = recover('--from', store.dir('c'), store.dir('b'))
        expect((status, pid in text), (4, True), text)
        store.check()
        store.stop()
    finally:
        store.end()


@bare
def what_may_not_be_copied_from(folder):
    store = stopped(folder)
    other = Store(folder, 'x')
    try:
        other.start()
        other.put(5)
        other.stop()
        a, b, c = (store.dir(name) for name in 'abc')
        refused(4, '--from', 'auto', b, words=('is whole and in sync', '--yes'))
        shutil.copytree(a, f'{folder}/old')
        old = f'{folder}/elsewhere'
        os.mkdir(old)
        os.rename(f'{folder}/old', f'{old}/a')
        damage_packs(b)
        refused(4, '--from', store.dir('x'), b, words=('another store',))
        refused(4, '--from', b, b, words=('is to be made anew',))
        shutil.copytree(b, f'{old}/b')
        refused(4, '--from', f'{old}/b', b, words=('copy of', 'itself'))
        refused(4, '--from', f'{old}/a', b, words=('is the same root',))
        refused(3, '--from', f'{folder}/nothing', b)
        os.mkdir(f'{folder}/plain')
        refused(4, '--from', f'{folder}/plain', b, words=("can't be copied from",))
        with open(f'{folder}/plain/letter', 'w', encoding='ascii') as file:
            file.write('mine')
        refused(4, '--from', a, f'{folder}/plain', words=('letter',))
        shutil.rmtree(f'{folder}/plain')
        store.start()  # b is left alone: its packs are damaged, and it is read from another
        store.put(3)
        store.stop()
        shutil.rmtree(a)
        shutil.copytree(f'{old}/a', a)  # as it was before the last start
        refused(4, '--from', a, b, words=('older copy',))
        status, text = recover('--from', 'auto', b)
        expect((status, f'copying from {c}' in text), (0, True), text)
    finally:
        store.end()
        other.end()


@bare
def who_was_not_in_sync(folder):
    """It lacks what was acknowledged meanwhile."""
    store = stopped(folder)
    try:
        store.use('ab')
        store.start()
        expect(store.put(20).startswith('synced=2/3'), True)
        store.stop()
        store.use('abc')
        damage_packs(store.dir('a'))
        refused(4, '--from', store.dir('c'), store.dir('a'), words=('not in sync',))
        status, text = recover('--from', 'auto', store.dir('a'))
        expect((status, f'copying from {store.dir("b")}' in text), (0, True), text)
        store.whole('a')
        for name in 'bc':
            shutil.rmtree(store.dir(name))
        refused(4, '--from', 'auto', store.dir('b'), words=('more than half are needed',))
    finally:
        store.end()


@bare
def a_newer_format(folder):
    store = stopped(folder)
    try:
        damage_packs(store.dir('a'))
        path = f'{store.dir("b")}/root.json'
        with open(path, encoding='ascii') as file:
            text = file.read()
        with open(path, 'w', encoding='ascii') as file:
            file.write(text.replace('"format":1', '"format":9'))
        refused(4, '--from', store.dir('b'), store.dir('a'), words=('newer release',))
    finally:
        store.end()


@bare
def names_that_are_odd(folder):
    odd = ('a b', "it's \u00e4\x1b[1m", '-c')
    store = Store(folder, odd)
    try:
        store.start()
        store.fill(40)
        store.stop()
        for name in odd[1:]:
            shutil.rmtree(store.dir(name))
            status, text = recover('--from', 'auto', store.dir(name))
            expect((status, '\x1b' in text), (0, False), text)
            store.start()
            store.wait('synced=3/3')
            store.stop()
            store.salvaged(name)
    finally:
        store.end()


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
