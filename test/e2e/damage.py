#!/usr/bin/env python3
"""Damage: bytes of a real data directory are flipped, overwritten, zeroed and cut off at seeded
places of every kind of file, and `holdfast fsck` must name each.

    damage.py BINARY [--cases N] [--seed S] [TEST...]

Prints `LAYER damage required= executed= failed=`: one test is one damaged place, or one of the
functions below. A place that fsck does not name must be one of those that nobody reads, which
damage_kit.py lists; how many of each there were is printed.
"""
import argparse
import collections
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import damage_kit as kit  # noqa: E402

CASES = 320
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def expect(got, wanted, what=''):
    if got != wanted:
        raise AssertionError(f'{what}: {got!r}, not {wanted!r}')


def look(root, case):
    """One damaged place: what fsck says of it, 'found' or the reason why it need not be."""
    with kit.changed(case):
        unread = kit.nobody_reads(root, case)
        run = kit.fsck(root.data)
    covers = [f for f in run.findings if f['file'] == case.name and kit.covers(f, case)]
    if run.status == 6 and covers:
        return 'found'
    if run.status == 6:
        others = [(f['kind'], f['file'], f['offset'], f['length']) for f in run.findings
                  if f['level'] == 'damage']
        if unread is not None or kit.named_elsewhere(case, run.findings):
            return 'found'
        raise AssertionError(f'{case}: named elsewhere: {others[:5]}')
    expect(run.status, 0, f'{case}: {run.error}')
    if covers and case.name == 'index.db-wal':
        return 'a note: end of the index log'
    if unread is None:
        raise AssertionError(f'{case}: not found: {run.findings}')
    return unread


def places(binary, work, cases, seed):
    """The seeded places, over a directory of a clean stop and one of a kill -9."""
    rng = random.Random(seed)
    counts = collections.Counter()
    failed = []
    roots = [kit.Root(binary, os.path.join(work, name), stop) for name, stop in
             (('stopped', True), ('killed', False))]
    for number in range(cases):
        root = roots[number % len(roots)]
        case = kit.draw(root, rng, number)
        try:
            counts[(case.structure, look(root, case))] += 1
        except Exception:
            failed.append(number)
            print(f'FAIL place {number} (--seed {seed}): {case}', flush=True)
            traceback.print_exc(file=sys.stdout)
    for root in roots:
        run = kit.fsck(root.data)
        expect((run.status, run.damages()), (0, []), 'restored')
        expect(kit.tree_digest(root.data), root.digest, 'fsck changed something')
    for (structure, outcome), count in sorted(counts.items()):
        print(f'  {structure:14} {outcome:40} {count}')
    return failed


@test
def clean_is_clean(binary, work):
    """After a clean stop, after kill -9, twice, and in the middle of large bodies: 0 each time."""
    root = kit.Root(binary, os.path.join(work, 'clean'), True)
    for round_number in range(4):
        server = root.serve()
        kit.load(server, round_number + 10, 60)
        server.kill() if round_number % 2 == 0 else server.stop()
        before = kit.tree_digest(root.data)
        run = kit.fsck(root.data)
        expect((run.status, run.damages()), (0, []), f'round {round_number}')
        expect([f for f in run.findings if f['kind'] == 'stranger'], [], 'all names are its own')
        expect(kit.tree_digest(root.data), before, 'fsck changed something')


@test
def in_use_is_refused(binary, work):
    root = kit.Root(binary, os.path.join(work, 'used'), True)
    server = root.serve()
    run = kit.fsck(root.data)
    expect(run.status, 4)
    assert f'pid {server.process.pid}' in run.error, run.error
    server.stop()
    expect(kit.fsck(root.data).status, 0)
    expect(kit.fsck(os.path.join(work, 'absent')).status, 3)
    os.mkdir(os.path.join(work, 'empty'))
    expect(kit.fsck(os.path.join(work, 'empty')).status, 3)
    expect(os.listdir(os.path.join(work, 'empty')), [])


def saved_files(out):
    """What the manifest says was saved, read back: bodies by (bucket, key); and the keys of others."""
    saved, lost = {}, set()
    with open(os.path.join(out, 'MANIFEST.jsonl'), encoding='utf-8') as lines:
        for line in map(json.loads, lines):
            if not line['saved']:
                lost.add(line['key'])
                continue
            path = os.path.realpath(os.path.join(out, line['path']))
            assert path.startswith(os.path.realpath(out) + '/'), line
            with open(path, 'rb') as file:
                body = file.read()
            expect(hashlib.sha256(body).hexdigest(), line['sha256'])
            saved[line['key']] = body
    return saved, lost


def salvage(root, out):
    run = kit.run_plain('--salvage', out, root.data)
    return (run.returncode, *saved_files(out))


def damage_blob(root, salvaged):
    """Damages a blob of a file; its key. Of a root that was killed fsck also tells of blobs that the
    log, once read, drops: those are passed over."""
    with open(os.path.join(salvaged, 'MANIFEST.jsonl'), encoding='utf-8') as lines:
        versions = {(line['key'], line['version']) for line in map(json.loads, lines)}
    for blob in kit.files_below(root.data):
        if not blob.startswith('blobs/'):
            continue
        with open(root.path(blob), 'r+b') as file:
            file.seek(1000)
            old = file.read(6)
            file.seek(1000)
            file.write(b'damage')
        run = kit.fsck(root.data)
        expect(run.status, 6)
        owners = [f['owner'] for f in run.damages() if f['file'] == blob]
        if (owners[0]['key'], owners[0]['version']) in versions:
            return {owner['key'] for owner in owners}
        with open(root.path(blob), 'r+b') as file:
            file.seek(1000)
            file.write(old)
    raise AssertionError('no blob of a file')


@test
def salvage_gives_what_is_whole(binary, work):
    """Of a whole root all, of roots that a server refuses, or that have no index, all that is whole."""
    root = kit.Root(binary, os.path.join(work, 'root'), False)
    status, saved, lost = salvage(root, os.path.join(work, 'whole'))
    expect((status, lost, saved == root.files), (0, set(), True), 'whole')
    os.rename(root.path('index.db'), os.path.join(work, 'index.db'))
    status, saved, lost = salvage(root, os.path.join(work, 'no-index'))
    expect((status, lost, saved == root.files), (0, set(), True), 'without an index')
    os.rename(os.path.join(work, 'index.db'), root.path('index.db'))
    wrong = damage_blob(root, os.path.join(work, 'whole'))
    status, saved, lost = salvage(root, os.path.join(work, 'blob'))
    expect((status, lost), (6, wrong))
    expect(saved == {k: v for k, v in root.files.items() if k not in wrong}, True, 'all others')
    expect(kit.run_plain('--salvage', os.path.join(work, 'blob'), root.data).returncode, 4)
    expect(kit.run_plain('--salvage', os.path.join(root.data, 'out'), root.data).returncode, 4)
    expect(os.path.exists(os.path.join(root.data, 'out')), False)


@test
def salvage_is_on_disk(binary, work):
    """What salvage has written is synced before the manifest names it, that before the end; a sync
    that fails is told."""
    root = kit.Root(binary, os.path.join(work, 'root'), False)
    trace = os.path.join(work, 'trace')

    def salvage_under(out, *words):
        return subprocess.run(
            ['strace', '-f', '-o', trace, '-e', 'trace=syncfs,renameat', *words, *binary, 'fsck',
             '--salvage', os.path.join(work, out), root.data], capture_output=True, text=True, check=False)

    expect(salvage_under('good').returncode, 0)
    with open(trace, encoding='ascii', errors='replace') as lines:
        calls = [m.group(1) for m in (re.match(r'\d+ +(\w+)\(', line) for line in lines) if m]
    expect((set(calls[:-3]), calls[-3:]), ({'renameat'}, ['syncfs', 'renameat', 'syncfs']), 'order')
    for which in ('1', '2'):
        run = salvage_under('bad' + which, '-e', f'inject=syncfs:error=EIO:when={which}')
        expect(run.returncode, 5, run.stderr)
        expect('not all of it is on disk' in run.stderr, True, run.stderr)


@test
def refused_start_says_where_and_what(binary, work):
    """Damage in the log, at an attested place: the server names file, position and command."""
    root = kit.Root(binary, os.path.join(work, 'root'), True)
    for name, at in (('wal.active', 4096 + 70), ('wal.active', 17), ('root.json', 40)):
        with open(root.path(name), 'r+b') as file:
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ 4]))
        # A start raises the incarnation, writes its name into the lock, and itself down in the audit
        # log, before it reads the log.
        own = (('lock', 'root.json', 'control.json', 'audit', 'audit.key')
               if name.startswith('wal') else ('lock',))
        before = kit.tree_digest(root.data, own)
        done = kit.serve_refused(root)
        expect(done.returncode, 6, name)
        text = done.stderr.decode()
        for wanted in (name, f'holdfast fsck {root.data}', '--salvage'):
            assert wanted in text, (wanted, text)
        assert not name.startswith('wal') or 'offset' in text, text
        expect(kit.tree_digest(root.data, own), before, f'{name}: changed')
        expect(kit.fsck(root.data).status, 6, name)
        with open(root.path(name), 'r+b') as file:
            file.seek(at)
            file.write(old)
    root.serve().stop()


@test
def control_is_made_again(binary, work):
    """Missing or damaged it is made again, said in the log, and the old one is kept."""
    root = kit.Root(binary, os.path.join(work, 'root'), True)
    path = root.path('control.json')
    for was in ('missing', 'damaged'):
        if was == 'missing':
            os.unlink(path)
        else:
            with open(path, 'r+b') as file:
                file.seek(100)
                file.write(b'\0')
        found = kit.fsck(root.data)
        expect((found.status, [f['file'] for f in found.damages()]), (6, ['control.json']), was)
        server = root.serve()
        told = [e for e in server.events() if e['event'] == 'control.remade']
        expect(told[-1]['was'], was)
        expect(len(told), 1 if was == 'missing' else 2)
        kept = [n for n in kit.files_below(root.data) if n.startswith('quarantine/control.json')]
        expect(len(kept), 0 if was == 'missing' else 1)
        for key, body in root.files.items():
            expect(server.get('files', key).body == body, True, key)
        expect(server.stop(), 0)
        expect(kit.fsck(root.data).status, 0, was)


@test
def emptied_root_is_refused(binary, work):
    """Log, index and packs gone, with control.json and without: no empty store takes their place."""
    root = kit.Root(binary, os.path.join(work, 'root'), True)
    for name in ('wal.segments', 'packs'):
        shutil.rmtree(root.path(name))
    for name in kit.files_below(root.data):
        if name.startswith(('wal.', 'index.db')):
            os.unlink(root.path(name))
    for turn in range(4):
        if turn == 2:
            os.unlink(root.path('control.json'))
        done = kit.serve_refused(root)
        expect(done.returncode, 6, turn)
        text = done.stderr.decode()
        for wanted in ('wal.active', 'index.db', 'packs', f'holdfast fsck {root.data}', '--salvage'):
            assert wanted in text, (wanted, text)
    found = {f['kind'] for f in kit.fsck(root.data).damages()}
    expect('log-missing' in found, True, found)
    for kind in ('index', 'packs', 'wal'):  # nothing to make a view of; above all no empty one
        done = subprocess.run([*binary, 'recover', '--rebuild', kind, '--yes', root.data],
                              capture_output=True, timeout=60, check=False)
        expect(done.returncode in (3, 6), True, done.stderr)
    expect(kit.serve_refused(root).returncode, 6)


@test
def repair_puts_orphans_aside(binary, work):
    root = kit.Root(binary, os.path.join(work, 'root'), True)
    blob = next(name for name in kit.files_below(root.data) if name.startswith('blobs/'))
    orphan = blob[:-1] + '7'
    shutil.copy(root.path(blob), root.path(orphan))
    run = kit.fsck(root.data)
    expect([f['file'] for f in run.findings if f['kind'] == 'orphan'], [orphan])
    expect(kit.run_fsck('--repair', root.data).status, 0)
    expect(os.path.exists(root.path(orphan)), False)
    expect(len([n for n in kit.files_below(root.data) if n.startswith('quarantine/')]), 1)
    expect(kit.fsck(root.data).status, 0)
    status, saved, lost = salvage(root, os.path.join(work, 'out'))
    expect((status, lost, saved == root.files), (0, set(), True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('binary', type=shlex.split)
    parser.add_argument('--cases', type=int, default=CASES)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--name', default='damage')
    parser.add_argument('tests', nargs='*')
    args = parser.parse_args()
    kit.BINARY = [os.path.abspath(args.binary[0]), *args.binary[1:]]
    work = tempfile.mkdtemp(prefix='holdfast-damage-')
    executed = failed = 0
    try:
        chosen = [t for t in TESTS if not args.tests or t.__name__ in args.tests]
        for function in chosen:
            started = time.monotonic()
            executed += 1
            folder = os.path.join(work, function.__name__)
            os.mkdir(folder)
            try:
                function(kit.BINARY, folder)
                print(f'ok   {function.__name__} {time.monotonic() - started:.1f} s', flush=True)
            except Exception:
                failed += 1
                print(f'FAIL {function.__name__}')
                traceback.print_exc(file=sys.stdout)
            shutil.rmtree(folder)
        if not args.tests:
            executed += args.cases
            failed += len(places(kit.BINARY, work, args.cases, args.seed))
    finally:
        kit.end_all()
        shutil.rmtree(work)
    print(f'LAYER {args.name} required={len(TESTS) + args.cases} executed={executed} '
          f'failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
