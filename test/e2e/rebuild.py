#!/usr/bin/env python3
"""`holdfast recover --rebuild` on the data directory of a real server: each view is made again from the
others, also when the command is killed at many places, and every file reads back.

    rebuild.py BINARY [TEST...]

BINARY is a test build: HOLDFAST_FAULT kills the command at a chosen call. Prints
`LAYER rebuild required= executed= failed=`, where one test is one damaged directory.
"""
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402
from smoke import content  # noqa: E402

OPTIONS = ('--segment-size', '64KiB')
FILES = 300
KILLS = {
    'index': ['disk.write=kill@1', 'disk.write=kill@9', 'disk.write=kill@30', 'disk.sync=kill@2',
              'disk.sync=kill@5', 'disk.rename=kill@1', 'disk.rename=kill@2', 'disk.rename=kill@3',
              'rebuild.batch=kill@1', 'rebuild.swap=kill@1'],
    'packs': ['disk.write=kill@1', 'disk.write=kill@4', 'disk.sync=kill@1', 'disk.sync=kill@4',
              'disk.rename=kill@1', 'disk.rename=kill@2', 'rebuild.packs=kill@1'],
    'wal': ['disk.write=kill@2', 'disk.sync=kill@3', 'disk.rename=kill@2', 'rebuild.wal=kill@1',
            'rebuild.wal=kill@2', 'rebuild.wal=kill@3', 'rebuild.wal=kill@4', 'rebuild.wal=kill@5',
            'rebuild.wal=kill@6'],
}


class Root:
    """A copy of a stopped data directory, and what must be in it."""

    def __init__(self, binary, template, folder):
        self.binary = binary
        self.data = os.path.join(folder, 'data')
        self.log = os.path.join(folder, 'log')
        self.files = dict(template.files)
        self.gone = list(template.gone)
        shutil.copytree(template.data, self.data)

    def path(self, *names):
        return os.path.join(self.data, *names)

    def recover(self, kind, *options, fault=None):
        """Exit status and the lines of the command."""
        env = dict(os.environ)
        if fault is not None:
            env['HOLDFAST_FAULT'] = fault
        done = subprocess.run([*self.binary, 'recover', '--rebuild', kind, '--json', *options,
                               self.data], capture_output=True, env=env, timeout=60, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, lines, done.stderr.decode()

    def server(self):
        return Server(self.binary, self.data, self.log, OPTIONS)

    def verify(self, damaged=()):
        """A server starts, twice, and every file reads back; then fsck finds nothing."""
        for _ in range(2):
            server = self.server().start()
            try:
                for key, body in self.files.items():
                    answer = server.get('files', key)
                    if key in damaged:
                        expect(answer.status, 500, key)
                        expect(answer.json()['code'], 'file-damaged', key)
                        continue
                    expect(answer.status, 200, key)
                    expect(hashlib.sha256(answer.body).digest(), hashlib.sha256(body).digest(), key)
                for key in self.gone:
                    expect(server.get('files', key).status, 404, key)
                listed = server.request('GET', '/v1/files?bucket=files&limit=1000').json()['files']
                expect({file['key'] for file in listed} ^ set(self.files), set(), 'list')
                expect(server.put('files', 'new', b'new').status in (200, 201), True, 'put')
                expect(server.request('DELETE', server.name_path('files', 'new')).status, 204, 'rm')
                expect(server.stop(), 0, 'stop')
            finally:
                server.end()
        checked = subprocess.run([*self.binary, 'fsck', '--quiet', self.data], capture_output=True,
                                 timeout=60, check=False)
        expect(checked.returncode, 6 if damaged else 0, checked.stdout.decode()[:1000])


class Template:
    """Files, updates and deletes; log cut behind the index (or not: killed)."""

    def __init__(self, binary, folder, clean):
        self.data = os.path.join(folder, 'clean' if clean else 'killed')
        self.files = {}
        self.gone = []
        server = Server(binary, self.data, self.data + '.log', OPTIONS).start()
        try:
            connection = server.connect()
            for i in range(FILES):
                body = content(100000 if i % 40 == 0 else 500 + i % 7 * 900, i)
                self.put(server, f'k{i}', body, connection)
            for i in range(0, FILES, 3):
                self.put(server, f'k{i}', content(700, 1000 + i), connection)
            for i in range(0, FILES, 5):
                server.request('DELETE', server.name_path('files', f'k{i}'), connection=connection)
                del self.files[f'k{i}']
                self.gone.append(f'k{i}')
            connection.close()
            if clean:
                expect(server.stop(), 0, 'stop')
            else:
                server.kill()
        finally:
            server.end()

    def put(self, server, key, body, connection):
        expect(server.put('files', key, body, connection=connection).status in (200, 201), True, key)
        self.files[key] = body


def expect(got, wanted, what=''):
    if got != wanted:
        raise AssertionError(f'{what}: {got!r}, not {wanted!r}')


def flip(path, offset):
    with open(path, 'r+b') as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def newest_quarantined(root):
    return sorted(os.listdir(root.path('quarantine')))


# --- index ---

def index_lost(root):
    os.unlink(root.path('index.db'))
    status, lines, _ = root.recover('index')
    expect(status, 0, lines)
    root.verify()


def index_damaged(root):
    flip(root.path('index.db'), 20)
    status, lines, _ = root.recover('index')
    expect(status, 0, lines)
    expect('index.db.1' in newest_quarantined(root), True, 'quarantine')
    root.verify()


def index_lost_at_start(root):
    os.unlink(root.path('index.db'))
    root.verify()
    events = [event['event'] for event in root.server().events()]
    expect('node.index_rebuilt' in events, True, 'event')


def index_killed(root, fault):
    flip(root.path('index.db'), 20)
    status, _, text = root.recover('index', fault=fault)
    expect(status, -signal.SIGKILL, f'{fault}: {text}')
    if len(fault) % 2 == 0:
        status, lines, _ = root.recover('index')
        expect(status, 0, lines)
    root.verify()


# --- packs ---

def damaged_key(root):
    """Flips a bit in a body of the first pack, and says whose."""
    path = root.path('packs', '1.pack')
    with open(path, 'rb') as file:
        data = file.read()
    for key, body in root.files.items():
        at = data.find(body)
        if len(body) < 60000 and at > 0:
            flip(path, at + 50)
            return key
    raise AssertionError('no body found in packs/1.pack')


def packs_damaged(root):
    key = damaged_key(root)
    status, lines, _ = root.recover('packs')
    expect(status, 6, lines)
    lost = [line['key'] for line in lines if line.get('loss') == 'damaged-file']
    expect(lost, [key], 'losses')
    expect('1.pack.1' in newest_quarantined(root), True, 'quarantine')
    root.verify(damaged=[key])
    index_lost_after_that(root, key)


def told_losses(root):
    """A lost body is told with its bucket's name."""
    key = damaged_key(root)
    done = subprocess.run([*root.binary, 'recover', '--rebuild', 'packs', '--quiet', root.data],
                          capture_output=True, timeout=60, check=False)
    text = done.stdout.decode()
    expect((done.returncode, f'the body of files/{key}' in text), (6, True), text)
    expect('1 damaged file' in text and '1 damaged files' not in text, True, text)


def index_lost_after_that(root, key):
    """The new packs are as good for an index as the old ones, but for what was lost."""
    os.unlink(root.path('index.db'))
    status, lines, _ = root.recover('index')
    expect(status, 0, lines)
    del root.files[key]
    root.gone = [gone for gone in root.gone if gone != key]
    root.verify()


def packs_mended_by_the_log(root):
    server = root.server().start()  # applies what the kill left, and cuts nothing yet
    server.kill()
    if not os.path.exists(root.path('packs', '1.pack')):
        return
    key = damaged_key(root)
    status, lines, _ = root.recover('packs')
    held = status == 0
    expect(held or status == 6, True, lines)
    root.verify(damaged=[] if held else [key])


def packs_killed(root, fault):
    key = damaged_key(root)
    status, _, text = root.recover('packs', fault=fault)
    expect(status, -signal.SIGKILL, f'{fault}: {text}')
    status, lines, _ = root.recover('packs')
    expect(status, 6, lines)
    root.verify(damaged=[key])


# --- log ---

def lose_log(root):
    os.unlink(root.path('wal.active'))
    shutil.rmtree(root.path('wal.segments'))


def control(root):
    """What fsck finds of control.json and root.json."""
    done = subprocess.run([*root.binary, 'fsck', '--json', root.data], capture_output=True,
                          timeout=60, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [line for line in found if line.get('kind') in ('control', 'root')]


def wal_lost(root):
    lose_log(root)
    before = sorted(os.listdir(root.data))
    status, lines, text = root.recover('wal')
    expect(status, 6, lines)
    expect('--yes' in text, True, text)
    expect(sorted(os.listdir(root.data)), sorted(set(before) | {'rebuild'}), 'unchanged')
    status, lines, _ = root.recover('wal', '--yes')
    expect(status, 6, lines)
    expect(any(line.get('loss') == 'lost-tail' for line in lines), True, 'losses')
    expect(control(root), [], 'control.json names the root by its new identity')
    root.verify()


def wal_and_control_lost(root):
    """control.json missing, or damaged, is no reason not to make a new log."""
    lose_log(root)
    for wreck in (os.unlink, lambda path: flip(path, 100)):
        copy = root.path('..', f'copy {wreck.__name__}')
        shutil.copytree(root.data, copy)
        wreck(os.path.join(copy, 'control.json'))
        one = Root.__new__(Root)
        one.__dict__.update(root.__dict__, data=copy)
        status, lines, text = one.recover('wal', '--yes')
        expect(status, 6, f'{lines} {text}')
        expect(control(one), [], wreck.__name__)
        one.verify()


def wal_whole(root):
    status, lines, _ = root.recover('wal', '--yes')
    expect(status, 4, lines)
    root.verify()


def wal_killed(root, fault):
    lose_log(root)
    status, _, text = root.recover('wal', '--yes', fault=fault)
    expect(status, -signal.SIGKILL, f'{fault}: {text}')
    status, lines, text = root.recover('wal', '--yes')
    expect(status in (0, 4, 6), True, f'{lines} {text}')
    expect(control(root), [], 'control.json')
    root.verify()


def all_lost_but_packs(root):
    lose_log(root)
    os.unlink(root.path('index.db'))
    status, lines, text = root.recover('index')
    expect(status, 0, f'{lines} {text}')
    status, lines, text = root.recover('wal', '--yes')
    expect(status, 6, f'{lines} {text}')
    root.verify()


def tests():
    for test in (index_lost, index_damaged, index_lost_at_start, packs_damaged, told_losses, wal_lost,
                 wal_and_control_lost, wal_whole,
                 all_lost_but_packs):
        yield test.__name__, True, test
    yield 'packs_mended_by_the_log', False, packs_mended_by_the_log
    for kind, run in (('index', index_killed), ('packs', packs_killed), ('wal', wal_killed)):
        for fault in KILLS[kind]:
            yield f'{kind}_{fault}', True, lambda root, run=run, fault=fault: run(root, fault)


def main():
    binary = shlex.split(sys.argv[1])
    binary[-1] = os.path.abspath(binary[-1])
    chosen = [test for test in tests() if not sys.argv[2:] or test[0] in sys.argv[2:]]
    executed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        templates = {clean: Template(binary, folder, clean) for clean in (True, False)}
        for name, clean, test in chosen:
            executed += 1
            place = tempfile.mkdtemp(dir=folder)
            try:
                test(Root(binary, templates[clean], place))
                print(f'ok     {name}', flush=True)
            except Exception:  # pylint: disable=broad-except
                failed += 1
                print(f'FAILED {name}\n{traceback.format_exc()}', flush=True)
            shutil.rmtree(place)
    print(f'LAYER rebuild required={len(chosen)} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
