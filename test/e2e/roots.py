#!/usr/bin/env python3
"""Copies on three roots under load, while one root after the other is lost, fills up, stalls, fails and
is overwritten, and while the process and the power go.

    roots.py BINARY [TEST...]

As root: it mounts file systems of its own, in namespaces that end with it. Clients of both doors write,
overwrite, delete, append and read all the while (roots_load.py). Each test injects faults, prints each,
and holds the server to this: what was acknowledged is read back right, through the server at any time
and in the end from each root that is whole by `holdfast fsck --salvage`; a root that is lost is left
within 5 s, and the log says so; writes go on with two copies, and Holdfast-Durability says how many
there are; what is whole again comes back in sync. Prints `LAYER roots required= executed= failed=`,
where a test is a fault or a test below.
"""
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.append(os.path.join(HERE, 'power'))
import rig  # noqa: E402
from roots_load import BEAT, BUCKET, Kept, Load, digest, read_all  # noqa: E402
from server import Server, free_port  # noqa: E402

BINARY = []
COUNT = 3
# Both without what the machine stood still meanwhile:
LEFT_S = 5.0       # a lost root is left by then,
LATE_S = 30.0      # or, where it stood still unseen, by then:
LATE_PART = 0.1    # at most so many of them
BACK_S = 90.0      # a whole one is in sync again by then
LONG_S = 180.0     # what only goes on has gone on by then, on a machine that is ten times slower
AT_ONCE = 3        # tests beside each other: they mostly wait
REQUIRED = 76      # faults of all tests
TESTS = []
FAULTS = []
LEFT = []          # seconds after which a root was left
LARGE = 4 << 20
SAY = threading.Lock()


def say(text):
    with SAY:
        print(text, flush=True)


def test(function):
    TESTS.append((function.__name__, function))
    return function


def for_each(*values):
    """A test for each value, which it gets as its second argument."""
    def make(function):
        for value in values:
            TESTS.append((f'{function.__name__}_{value}'.replace('.', '_'),
                          lambda folder, value=value: function(folder, value)))
        return function
    return make


def wait_for(what, holds, seconds):
    """Until holds() gives something that counts; that."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds} s: {what}')
        time.sleep(0.03)


class Keeper(Server):
    """A server whose root key is known even when its first directory is gone."""
    known = None

    def key(self):
        self.known = self.known or super().key()
        return self.known


class Cluster:
    """Three roots, each on what disk says: dir, ext4, xfs or tmpfs; their server and its load."""

    def __init__(self, folder, disk='dir', fault=None, options=()):
        self.folder = folder
        self.disk = disk
        self.mounts = [rig.Mount(f'{folder}/r{r}') for r in range(COUNT)]
        for r in range(COUNT):
            self.mount(r, new=True)
        self.dirs = [f'{folder}/r{r}/d' for r in range(COUNT)]
        more = [word for path in self.dirs[1:] for word in ('--data', path)]
        self.server = Keeper(BINARY, self.dirs[0], f'{folder}/log', [*more, *options], fault)
        self.server.s3_address = f'127.0.0.1:{free_port()}'
        self.load = None
        self.more = []  # Kept, that no connection owns
        self.name = os.path.basename(folder)

    def mount(self, r, new=False):
        image = f'{self.folder}/r{r}.img'
        if self.disk == 'tmpfs':
            rig.run('mount', '-t', 'tmpfs', '-o', 'size=1g', 'tmpfs', self.mounts[r].directory)
            self.mounts[r].mounted = True
        elif self.disk != 'dir':
            if new:
                rig.make_image(image, self.disk)
            self.mounts[r].mount(image, self.disk)

    def remount(self, r):
        self.mounts[r].umount()
        self.mount(r)

    def start(self):
        self.server.start()
        if self.load is None:
            self.load = self.new_load().start()
            self.wait_acknowledged(60)
        return self

    def new_load(self):
        return Load(self.server, self.name, large_max=200_000 if self.disk == 'tmpfs' else 600_000)

    def resume(self):
        """Goes on with the load that was stopped, and with its files."""
        load = self.new_load()
        for new, old in zip(load.workers, self.load.workers):
            new.files = old.files
        self.load = load.start()
        self.wait_acknowledged(60)

    def kill(self):
        self.server.kill()

    def end(self):
        if self.load is not None:
            self.load.over = True
        for mount in self.mounts:
            mount.thaw()  # or nothing that writes there ends
        self.server.end()
        for mount in self.mounts:
            mount.drop()

    # -- faults --

    def fault(self, what):
        """Tells a fault that is made now; the moment, and how much was logged before."""
        with SAY:
            FAULTS.append(f'{self.name}: {what}')
            print(f'  fault {len(FAULTS):3} {self.name}: {what}', flush=True)
        return time.monotonic(), len(self.server.events())

    def victim(self, who):
        """The root that leads, or the first that does not."""
        roots = self.server.request('GET', '/v1/admin/roots').json()['roots']
        lead = next(i for i, root in enumerate(roots) if root['leads'])
        return lead if who == 'lead' else (lead + 1) % COUNT

    # -- what must hold --

    def wait_acknowledged(self, count):
        """So many writes more."""
        goal = self.load.count + count
        wait_for(f'{count} more writes', lambda: self.load.failure or self.load.count >= goal,
                 LONG_S)
        self.load.check()

    def told(self, r, event, since):
        """Was that said of root r in the log, behind so many events?"""
        return any(e['event'] == event and e.get('directory') == self.dirs[r]
                   for e in self.server.events()[since:])

    def left(self, r, moment, at_once=True):
        """Root r is left, the log says so, and writes go on with two copies. In time, if it is lost at
        once."""
        begun, since = moment
        wait_for(f'root {r} is left', lambda: self.told(r, 'root.behind', since), LONG_S)
        took, stood = time.monotonic() - begun, BEAT.stood(begun)
        with SAY:
            if at_once:
                LEFT.append(took - stood)
            print(f'        {self.name}: left after {took:.1f} s, of which the machine stood still '
                  f'{stood:.1f} s', flush=True)
        if at_once and took - stood > LATE_S:
            raise AssertionError(f'root {r} was left {took - stood:.1f} s late')
        if at_once:
            self.copies(COUNT - 1)
        else:  # by each shard when it lacks something; until then it has what it says
            wait_for('all shards leave it', lambda: self.said_next() == {(COUNT - 1, COUNT)}, LONG_S)
        failed = self.load.failed
        self.wait_acknowledged(50)
        if self.load.failed != failed:
            raise AssertionError(f'{self.load.failed - failed} requests failed after the root was left')

    def back(self, r, moment):
        """Root r is in sync again."""
        wait_for(f'root {r} is back', lambda: self.told(r, 'root.in_sync', moment[1]), BACK_S)
        self.copies(COUNT)

    def all_in_sync(self):
        """All roots are in sync, and what is written now is on all."""
        def holds():
            self.load.check()
            roots = self.server.request('GET', '/v1/admin/roots').json()['roots']
            if not all(root['in_sync'] for root in roots):
                return False
            begun = time.monotonic()
            wait_for('writes', lambda: self.load.failure or len(self.load.since(begun)) > 20, 60)
            return all(one.synced == COUNT for one in self.load.since(begun))
        wait_for('all roots are in sync', holds, BACK_S)
        self.copies(COUNT)

    def said_next(self):
        """What writes that begin from now on say: copies that have it, and of how many."""
        begun = time.monotonic()
        wait_for('ten writes', lambda: self.load.failure or len(self.load.since(begun)) >= 10, LONG_S)
        self.load.check()
        return {(one.synced, one.copies) for one in self.load.since(begun)}

    def copies(self, count):
        """Of the writes that begin from now on each says that it has so many copies."""
        said = self.said_next()
        if said != {(count, COUNT)}:
            raise AssertionError(f'Holdfast-Durability is {said}, there are {count} copies')

    def finish(self, whole=range(COUNT), status=0):
        """Everything is read through the server and, after a clean stop, from each whole root."""
        self.load.stop()
        files = self.load.files() + self.more
        read_all(self.server, files)
        got = self.server.stop()
        if got != status:
            raise AssertionError(f'the server ended with {got}')
        for r in whole:
            self.salvage(r, files)
        say(f'        {self.name}: {self.load.count} acknowledged, {self.load.reads} read, refused: '
            f'{self.load.refused}')

    def salvage(self, r, files):
        """Root r alone has them all, right and whole."""
        out = f'{self.folder}/salvaged{r}'
        done = subprocess.run([*BINARY, 'fsck', '--quiet', '--salvage', out, self.dirs[r]],
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(f'fsck of root {r}: {done.returncode} {done.stdout}{done.stderr}')
        with open(f'{out}/MANIFEST.jsonl', encoding='utf-8') as lines:
            rows = [json.loads(line) for line in lines]
        there = {row['key']: row['sha256'] for row in rows if row['saved'] and row['bucket'] == BUCKET}
        for file in files:
            file.fits(there.pop(file.key, None))
        if there:
            raise AssertionError(f'root {r} has {sorted(there)[:5]}, which nobody wrote')
        shutil.rmtree(out)
        done = subprocess.run([*BINARY, 'fsck', '--quiet', '--json', self.dirs[r]],
                              capture_output=True, text=True, timeout=120, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        bad = [line for line in lines if line.get('level') == 'damage' and
               not (line['kind'] == 'index-lacks' and self.seeded())]
        if bad or done.returncode not in (0, 6):
            raise AssertionError(f'fsck of root {r}: {done.returncode} {bad} {done.stderr}')

    def seeded(self):
        """Was a snapshot put into a root that held files? What it took away has no tombstone there
        (docs/progress.md, In doubt)."""
        return any(e['event'] == 'shard.snapshot_stored' for e in self.server.events())


def with_cluster(folder, call, *args, **options):
    cluster = Cluster(folder, *args, **options)
    try:
        call(cluster.start())
    except BaseException:
        cluster.end()
        raise
    cluster.end()


# --- a root that is lost ---

def remove(path):
    """rm -rf, until nothing is made in it any more."""
    while os.path.exists(path):
        shutil.rmtree(path, ignore_errors=True)


@for_each('lead', 'follower')
def removed(folder, who):
    """rm -rf of a root, and kill -9; an empty directory in its place becomes a copy by itself."""
    def call(cluster):
        for _ in range(2):
            r = cluster.victim(who)
            moment = cluster.fault(f'rm -rf of root {r}, {who}')
            remove(cluster.dirs[r])
            cluster.left(r, moment)
            cluster.fault('kill -9 with two roots')
            cluster.kill()
            cluster.start()
            cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call)


@for_each('lead', 'follower')
def removed_at_the_end(folder, who):
    """rm -rf of a root and SIGTERM at once: the stop is clean, since the others are."""
    def call(cluster):
        r = cluster.victim(who)
        cluster.load.stop()
        read_all(cluster.server, cluster.load.files())
        cluster.fault(f'rm -rf of root {r}, {who}, just before SIGTERM')
        remove(cluster.dirs[r])
        status = cluster.server.stop()
        if status != 0:
            raise AssertionError(f'the server ended with {status}')
        for one in range(COUNT):
            if one != r:
                cluster.salvage(one, cluster.load.files())
    with_cluster(folder, call)


@test
def killed(folder):
    """kill -9, ten times; every other time while it starts, too."""
    def call(cluster):
        for number in range(10):
            cluster.wait_acknowledged(30)
            cluster.fault('kill -9')
            cluster.kill()
            if number % 2:
                cluster.server.start(wait=False)
                time.sleep(0.05 * number)
                cluster.fault('kill -9 at start')
                cluster.kill()
            cluster.start()
        cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call)


@for_each('ext4', 'xfs')
def power(folder, disk):
    """All roots' file systems are shut down without a flush, at once."""
    def call(cluster):
        for _ in range(3):
            cluster.wait_acknowledged(60)
            cluster.fault(f'power cut of three roots on {disk}')
            for mount in cluster.mounts:
                mount.shutdown()
            cluster.kill()
            for r in range(COUNT):
                cluster.remount(r)
            cluster.start()
        cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, disk)


@for_each('lead', 'follower')
def shut_down(folder, who):
    """A root's file system gives EIO from now on; mounted again it catches up."""
    def call(cluster):
        for _ in range(2):
            r = cluster.victim(who)
            moment = cluster.fault(f'EIO of everything on root {r}, {who}')
            cluster.mounts[r].shutdown()
            cluster.left(r, moment)
            cluster.fault('kill -9 with two roots')
            cluster.kill()
            cluster.remount(r)
            cluster.start()
            cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, 'xfs' if who == 'lead' else 'ext4')


@for_each('lead', 'follower')
def filled(folder, who):
    """Somebody else takes all space of a root, and gives it back."""
    def call(cluster):
        for _ in range(2):
            r = cluster.victim(who)
            moment = cluster.fault(f'no space on root {r}, {who}')
            hog = f'{cluster.mounts[r].directory}/hog'
            with open(hog, 'wb', buffering=0) as out:
                try:
                    while True:
                        out.write(bytes(1 << 20))
                except OSError:
                    pass
            if who == 'follower':  # when its log needs room, which is after so many bytes
                cluster.left(r, moment, at_once=False)
            else:  # its spare segments take small changes for a while
                cluster.wait_acknowledged(100)
            os.unlink(hog)
            cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, 'tmpfs', options=('--segment-size', '4MiB'))


def other_than(r):
    return [one for one in range(COUNT) if one != r]


@for_each('lead', 'follower')
def frozen(folder, who):
    """A root's disk stands still: it is left, the others go on, and it catches up when it goes on."""
    def call(cluster):
        for _ in range(2):
            r = cluster.victim(who)
            moment = cluster.fault(f'root {r}, {who}, is frozen')
            cluster.mounts[r].freeze()
            cluster.left(r, moment)
            cluster.wait_acknowledged(200)
            back = cluster.fault(f'root {r} goes on')
            cluster.mounts[r].thaw()
            cluster.back(r, back)
        cluster.finish()
    with_cluster(folder, call, 'ext4' if who == 'lead' else 'xfs')


@test
def frozen_at_the_ends(folder):
    """With one root frozen a start goes on without it, and a stop is clean and closes the others, of
    which each has all; thawed it is one again at the next start."""
    def call(cluster):
        r = cluster.victim('follower')
        moment = cluster.fault(f'root {r} is frozen, and the server is stopped')
        cluster.mounts[r].freeze()
        cluster.left(r, moment)
        cluster.load.stop()
        files = cluster.load.files()
        read_all(cluster.server, files)
        cluster.server.process.send_signal(signal.SIGTERM)
        wait_for('the others are closed', lambda: cluster.told(r, 'root.stands_still', moment[1]), 60)
        wait_for('the stop', lambda: any(e['event'] == 'node.stopped' for e in cluster.server.events()), 60)
        time.sleep(1)  # to let the others' directories go
        for one in other_than(r):
            cluster.salvage(one, files)
        cluster.mounts[r].thaw()
        if cluster.server.process.wait(60) != 0:
            raise AssertionError(f'the stop ended with {cluster.server.process.returncode}')
        cluster.fault(f'root {r} is frozen before the start')
        cluster.mounts[r].freeze()
        cluster.start()
        if not any(e['event'] == 'root.left_out' for e in cluster.server.events()):
            raise AssertionError('nobody said that a root is left out')
        read_all(cluster.server, files)
        cluster.mounts[r].thaw()
        cluster.kill()
        cluster.start()
        cluster.resume()
        cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, 'ext4')


@test
def two_lost(folder):
    """With one root left writes are refused for a reason that is told, and reads go on; with all back
    everything is there."""
    def call(cluster):
        probe = Kept('probe')
        cluster.more.append(probe)
        for who in ('lead', 'follower'):
            first = cluster.victim(who)
            moment = cluster.fault(f'EIO of root {first}, {who}')
            cluster.mounts[first].shutdown()
            cluster.left(first, moment)
            second = cluster.victim(who)
            if second == first:
                second = next(r for r in range(COUNT) if r not in (first, cluster.victim('lead')))

            def refused():
                return sum(cluster.load.refused.get(code, 0) for code in ('root-failed', 'too-few-copies'))
            cluster.fault(f'EIO of root {second}, too')
            before = refused()
            cluster.mounts[second].shutdown()
            wait_for('writes are refused', lambda: cluster.load.failure or refused() > before, 60)
            cluster.load.check()
            probe.maybe.append(digest(b'x'))  # its outcome may be unknown
            answer = cluster.server.put('files', 'probe', b'x')
            if answer.status != 503 or len(answer.json()['detail']) < 20:
                raise AssertionError(f'{answer.status} {answer.body}')
            reads = cluster.load.reads
            wait_for('reads go on', lambda: cluster.load.failure or cluster.load.reads > reads + 20, 60)
            count = cluster.load.count
            time.sleep(1)
            if cluster.load.count != count:
                raise AssertionError('a write was acknowledged on one root')
            cluster.fault('kill -9 with one root')
            cluster.kill()
            for r in (first, second):
                cluster.remount(r)
            cluster.start()
            cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, 'ext4')


def free_of(path):
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def blobs_of(directory):
    return {name for _, _, names in os.walk(f'{directory}/blobs') for name in names}


class Large:
    """Files of 4 MiB, beside the load's."""

    def __init__(self, server):
        self.server, self.kept = server, {}

    def put(self, count, *statuses):
        for _ in range(count):
            key, body = f'large {len(self.kept)}', os.urandom(LARGE)
            answer = self.server.put(BUCKET, key, body)
            if answer.status not in statuses:
                raise AssertionError(f'{key}: {answer.status} {answer.body[:300]}')
            self.kept[key] = digest(body)

    def delete(self, keys):
        for key in keys:
            status = self.server.request('DELETE', self.server.name_path(BUCKET, key)).status
            if status != 204:
                raise AssertionError(f'DELETE {key}: {status}')
            del self.kept[key]

    def check(self):
        for key, wanted in self.kept.items():
            got = self.server.get(BUCKET, key)
            if got.status != 200 or digest(got.body) != wanted:
                raise AssertionError(f'{key}: {got.status}, {len(got.body)} bytes')


@for_each('lead', 'follower', 'killed')
def little_room(folder, who):
    """A root has no room above its reserve. It leads no more, large bodies are taken by the others, it is
    left, and keeps its reserve; deletions reach it, and when those have made room it has all, and is in
    sync again: also over kill -9."""
    def call(cluster):
        cluster.load.stop()
        large = Large(cluster.server)
        large.put(30, 201)
        old = list(large.kept)
        r = cluster.victim('lead' if who == 'lead' else 'follower')
        top = cluster.mounts[r].directory
        space = os.statvfs(top)
        reserve = max(16 << 20, min(space.f_blocks * space.f_frsize // 20, 1 << 30))
        wanted = reserve // 2 if who == 'lead' else reserve + (2 << 20)
        moment = cluster.fault(f'little room on root {r}, {who}')
        with open(f'{top}/hog', 'wb') as out:
            os.posix_fallocate(out.fileno(), 0, free_of(top) - wanted)
        before = free_of(top)
        if who == 'lead':
            wait_for('the lead is another', lambda: cluster.victim('lead') != r, 30)
        large.put(6, 201)
        wait_for(f'root {r} is left', lambda: cluster.told(r, 'root.behind', moment[1]), LATE_S)
        wait_for('it owes bodies', lambda: len([e for e in cluster.server.events()[moment[1]:]
                                                if e['event'] == 'body.owed']) >= 5, LATE_S)
        if free_of(top) < before - (8 << 20):
            raise AssertionError(f'{free_of(top)} bytes are left of {before}')
        if who == 'killed':
            cluster.fault('kill -9 with bodies owed')
            cluster.kill()
            cluster.server.start()
        large.check()
        large.delete(old)
        wait_for('all are in sync', lambda: all(
            root['in_sync'] for root in cluster.server.request('GET', '/v1/admin/roots').json()['roots']), BACK_S)
        wait_for('all have the bodies', lambda: len({frozenset(blobs_of(path)) for path in cluster.dirs}) == 1,
                 BACK_S)
        wait_for('nothing is owed', lambda: not os.path.exists(f'{cluster.dirs[r]}/bodies.owed'), BACK_S)
        large.check()
        large.delete(list(large.kept))
        os.unlink(f'{top}/hog')
        cluster.resume()
        cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, 'tmpfs', options=('--segment-size', '1MiB'))


# --- bytes that are overwritten ---

def overwrite(path, rng):
    """dd of random bytes over a part of it."""
    size = os.path.getsize(path)
    with open(path, 'r+b') as file:
        file.seek(rng.randrange(max(1, size // 2)))
        file.write(rng.randbytes(min(max(1, size // 4), 16384)))


def stored(data, what):
    """Files of a kind, the largest first."""
    found = []
    for where, _, names in os.walk(data):
        for name in names:
            path = os.path.join(where, name)
            kind = ('packs' if where.endswith('/packs') else
                    'blobs' if '/blobs/' in where else
                    'segments' if name in ('wal.active', 'wal.segments') or '/wal' in where else name)
            if kind == what and os.path.getsize(path) > 0:
                found.append(path)
    return sorted(found, key=os.path.getsize, reverse=True)


@for_each('packs', 'blobs', 'index.db', 'control.json')
def overwritten_running(folder, what):
    """A follower's files are overwritten while it serves: clients see nothing of it."""
    def call(cluster):
        rng = random.Random(what)
        cluster.wait_acknowledged(400)
        r = cluster.victim('follower')
        paths = wait_for(f'{what} of root {r}', lambda: stored(cluster.dirs[r], what), 60)
        for path in paths[:2]:
            cluster.fault(f'dd over {what} of root {r}')
            overwrite(path, rng)
        cluster.wait_acknowledged(100)
        cluster.finish(whole=[one for one in range(COUNT) if one != r])
    with_cluster(folder, call)


def ask(cluster, method, path):
    answer = cluster.server.request(method, path)
    if answer.status != 200:
        raise AssertionError(f'{method} {path}: {answer.status} {answer.body}')
    return answer.json()


@for_each('lead', 'follower')
def overwritten_and_mended(folder, who):
    """Packs and bodies of a root are overwritten under load: the ledger tells it while it is true and is
    empty in the end; then the two other roots are removed, and this one has everything."""
    def call(cluster):
        rng = random.Random(who)
        cluster.wait_acknowledged(400)
        r = cluster.victim(who)
        directory = cluster.dirs[r]
        for what in ('packs', 'blobs'):
            for path in wait_for(f'{what} of root {r}', lambda what=what: stored(directory, what), 60)[:2]:
                cluster.fault(f'dd over {what} of root {r}, {who}')
                overwrite(path, rng)
        before = {root['directory']: root['pass'] for root in ask(cluster, 'GET', '/v1/admin/scrub')['roots']}
        ask(cluster, 'POST', '/v1/admin/scrub/start')
        told = []
        quiet = time.monotonic() + 20  # it yields to clients: however fast they are, it ends

        def scrubbed():
            told.extend(ask(cluster, 'GET', '/v1/admin/ledger')['entries'])
            ask(cluster, 'POST', '/v1/admin/scrub/start')
            cluster.load.paused = time.monotonic() > quiet
            time.sleep(0.2)
            return all(root['pass'] > before[root['directory']] + 1
                       for root in ask(cluster, 'GET', '/v1/admin/scrub')['roots'])
        wait_for('everything is read again', scrubbed, 90)
        cluster.load.paused = False
        if not told or {entry['directory'] for entry in told} != {directory}:
            raise AssertionError(f'the ledger told {told[:3]}')

        def mended():
            ledger = ask(cluster, 'GET', '/v1/admin/ledger')
            return not ledger['entries'] and not ledger['roots'] and ledger['below_target'] == 0
        wait_for('the ledger is empty', mended, 60)
        cluster.wait_acknowledged(100)
        cluster.load.stop()
        files = cluster.load.files() + cluster.more
        read_all(cluster.server, files)
        if cluster.server.stop() != 0:
            raise AssertionError('the stop was not clean')
        for other in range(COUNT):
            if other != r:
                cluster.fault(f'rm -rf of root {other} in the end')
                remove(cluster.dirs[other])
        cluster.salvage(r, files)
    with_cluster(folder, call, options=('--scrub-rate-min', '64MiB', '--scrub-rate-max', '256MiB'))


@for_each('packs', 'blobs', 'index.db', 'control.json')
def overwritten_down(folder, what):
    """Any root's files are overwritten while it is down: what clients read is right."""
    def call(cluster):
        rng = random.Random(what)
        cluster.wait_acknowledged(400)
        for r in range(2):
            wait_for(f'{what} of root {r}', lambda r=r: stored(cluster.dirs[r], what), 60)
            time.sleep(1)
            cluster.kill()
            cluster.fault(f'dd over {what} of root {r} while it is down')
            overwrite(stored(cluster.dirs[r], what)[0], rng)
            cluster.start()
            cluster.wait_acknowledged(100)
            if what in ('packs', 'blobs'):
                break  # another root has what this one lost
        cluster.finish(whole=[COUNT - 1])
    with_cluster(folder, call)


# --- calls that fail ---

@for_each(*[f'{site}={errno}@{nth}' for site, errno, nths in (
    ('disk.sync', 'EIO', (60, 301)), ('disk.write', 'EIO', (90, 777)), ('disk.write', 'ENOSPC', (120,)),
    ('packs.sync', 'EIO', (3,)), ('blob.finish', 'EIO', (2, 7)), ('wal.batch', 'EIO', (40, 200)),
    ('disk.rename', 'EIO', (60,)), ('disk.open', 'EIO', (150,))) for nth in nths])
def call_fails(folder, spec):
    """The Nth call of a kind fails, on whichever root: one root may be lost by it, no file."""
    site, rest = spec.split('=')

    def call(cluster):
        cluster.fault(f'{site} fails: {rest}')
        cluster.wait_acknowledged(300)
        cluster.kill()
        cluster.server.fault = None
        cluster.start()
        cluster.all_in_sync()
        cluster.finish()
    with_cluster(folder, call, fault=f'{site}=fail:{rest}')


# --- the run ---

def run_all(directory, chosen):
    """Runs tests, some at once; how many failed."""
    queue = list(chosen)
    failed = []

    def work():
        while True:
            try:
                name, function = queue.pop(0)
            except IndexError:
                return
            folder = os.path.join(directory, name)
            os.mkdir(folder)
            begun = time.monotonic()
            try:
                function(folder)
                say(f'ok     {name} ({time.monotonic() - begun:.1f} s)')
            except Exception:  # whatever it is, the test failed
                tail = ''
                if os.path.exists(f'{folder}/log'):
                    with open(f'{folder}/log', encoding='utf-8', errors='replace') as lines:
                        tail = ''.join(lines.readlines()[-25:])
                failed.append(name)
                say(f'FAILED {name} ({time.monotonic() - begun:.1f} s)\n{traceback.format_exc()}{tail}')
            shutil.rmtree(folder, ignore_errors=True)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(failed)


def main(directory):
    chosen = [t for t in TESTS if not sys.argv[2:] or any(t[0].startswith(n) for n in sys.argv[2:])]
    begun = time.monotonic()
    BEAT.start()
    failed = run_all(directory, chosen)
    say(f'{len(FAULTS)} faults, {len(chosen)} tests, {time.monotonic() - begun:.0f} s')
    late = [seconds for seconds in LEFT if seconds > LEFT_S]
    if len(late) > max(1, LATE_PART * len(LEFT)):
        say(f'FAILED {len(late)} of {len(LEFT)} lost roots were left late: {sorted(late)}')
        failed += 1
    required = len(TESTS) + REQUIRED if not sys.argv[2:] else len(chosen)
    print(f'LAYER roots required={required} executed={len(FAULTS) + len(chosen)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BINARY[:] = shlex.split(sys.argv[1])
    BINARY[-1] = os.path.abspath(BINARY[-1])
    why = rig.missing()
    if why:
        sys.exit(f'roots.py: {why}')
    sys.exit(rig.contained(main))
