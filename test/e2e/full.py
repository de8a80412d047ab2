#!/usr/bin/env python3
"""A disk that fills up: a real server on a small file system of its own (tmpfs, or ext4 on a loop
device), as root.

    full.py BINARY [tmpfs|ext4]

Fills it with bodies of every size class until uploads are refused, deletes, lists, reads, waits until
uploads are taken again by themselves, kills the server on the full disk, and takes the last bytes away
from behind its back. Every acknowledged file is read back. Prints `LAYER full required= executed=
failed=`, where one test is one line below.
"""
import contextlib
import hashlib
import http.client
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402
from smoke import content, expect, expect_problem  # noqa: E402

SIZE = 96 << 20       # bytes of the file system
RESERVE = 16 << 20    # the server's, of so small a one
SMALL = 1000          # bodies of 300 bytes, most of them deleted when no byte is left
SIZES = (0, 300, 65536, 65537, 300000, 4 << 20)


class Filler:
    """Uploads, and what was acknowledged of them."""

    def __init__(self, server):
        self.server = server
        self.kept = {}
        self.number = 0

    def put(self, size):
        """Status of one more upload; 507 must be told in words."""
        self.number += 1
        key = f'{size}/{self.number:06}'
        body = content(size, self.number)
        answer = self.server.put('files', key, body)
        if answer.status == 201:
            self.kept[key] = hashlib.sha256(body).hexdigest()
        elif answer.status == 507:
            expect_problem(answer, 507, 'no-space')
            expect(len(answer.json()['detail']) > 20, True, answer.body)
        else:
            raise AssertionError(f'{answer.status} {answer.body}')
        return answer.status

    def fill(self, size):
        """Until so large a body is refused."""
        for _ in range(100000):
            if self.put(size) == 507:
                return
        raise AssertionError('it never fills up')

    def delete(self, key):
        expect(self.server.request('DELETE', self.server.name_path('files', key)).status, 204, key)
        del self.kept[key]

    def check(self):
        """Everything acknowledged, whole; nothing else is listed."""
        listed, after = [], ''
        while after is not None:
            query = f'&after={after}' if after else ''
            page = self.server.request('GET', f'/v1/files?bucket=files{query}').json()
            listed += [file['key'] for file in page['files']]
            after = page['next']
        expect(listed, sorted(self.kept))
        for key, digest in self.kept.items():
            got = self.server.get('files', key)
            expect((got.status, hashlib.sha256(got.body).hexdigest()), (200, digest), key)


def free(server):
    stat = os.statvfs(server.data)
    return stat.f_bavail * stat.f_frsize


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.1)


def full(filler):
    """Many small bodies, then large bodies until none fits, then ever smaller ones: all are refused."""
    expect([filler.put(300) for _ in range(SMALL)], [201] * SMALL)
    for size in (4 << 20, 300000, 65537, 65536):
        filler.fill(size)
    expect(free(filler.server) < 2 * RESERVE, True, free(filler.server))
    expect(free(filler.server) > RESERVE // 2, True, free(filler.server))
    expect(filler.server.request('GET', '/readyz', key=None).status, 200)


@contextlib.contextmanager
def hardly_runs(server, name):
    """A thread of the server that gets next to nothing of one CPU, as on a machine with much to do."""
    tasks = f'/proc/{server.process.pid}/task'
    thread = next(int(task) for task in os.listdir(tasks)
                  if open(f'{tasks}/{task}/comm', encoding='utf-8').read().strip() == name)
    cpus = os.sched_getaffinity(thread)
    cpu = min(cpus)
    hog = subprocess.Popen([sys.executable, '-c', 'while True: pass'],
                           preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    try:
        os.sched_setaffinity(thread, {cpu})
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        hog.kill()
        hog.wait()
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(thread, cpus)


def behind(filler):
    """Bodies that go through the log, faster than they are put in their place: the reserve stays."""
    for key in [key for key in filler.kept if key.startswith(str(4 << 20))]:
        filler.delete(key)
    wait_for('space', lambda: free(filler.server) > SIZE // 2)
    wait_for('uploads', lambda: filler.put(300000) == 201)
    with hardly_runs(filler.server, 'applier'):
        filler.fill(65536)
        expect(free(filler.server) > RESERVE // 2, True, free(filler.server))
    wait_for('rest', lambda: free(filler.server) > RESERVE // 2)
    filler.check()


def killed(filler):
    """kill -9 on the full disk: it starts again, and has everything."""
    filler.server.kill()
    filler.server.start()
    filler.check()


def deletes(filler):
    """Deletes work, their space comes back, and uploads are taken again without a restart."""
    before = free(filler.server)
    for key in [key for key in filler.kept if key.startswith(str(4 << 20))][:4]:
        filler.delete(key)
    wait_for('space', lambda: free(filler.server) > before + (12 << 20))
    wait_for('uploads', lambda: filler.put(300000) == 201)
    expect([filler.put(size) for size in SIZES], [201] * len(SIZES))


@contextlib.contextmanager
def no_room(server):
    """Somebody else has every byte that is left."""
    ballast = f'{server.data}/../ballast'
    with open(ballast, 'wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    try:
        yield
    finally:
        os.remove(ballast)


def no_byte_left(filler):
    """Somebody else takes the rest: the root does not fail, and when the rest is back, goes on."""
    server = filler.server
    with ThreadPoolExecutor(1) as pool:
        with no_room(server):
            wait_for('refusal', lambda: filler.put(300) == 507)
            filler.check()
            keys = [key for key in filler.kept if key.startswith('300/')][:SMALL - 20]
            deleted = pool.submit(lambda: [filler.delete(key) for key in keys])
            # The log uses its spares up, and waits with the next segment.
            wait_for('the log to wait',
                     lambda: any(e['event'] == 'wal.waits' for e in server.events()))
            expect(deleted.done(), False)
            expect(server.request('GET', '/v1/admin/status').json()['failed'], False)
            expect(server.get('files', keys[-1]).status, 200)
        deleted.result(60)
    wait_for('uploads', lambda: filler.put(300) == 201)
    expect(server.request('GET', '/v1/admin/status').json()['failed'], False)
    filler.check()


def delete_until_refused(filler, keys):
    """The key of which nobody knows, or None."""
    for key in keys:
        try:
            status = filler.server.request('DELETE', filler.server.name_path('files', key)).status
        except (OSError, http.client.HTTPException):
            return key
        if status != 204:
            return key
        del filler.kept[key]
    return None


def stopped(filler):
    """SIGTERM while the log has no room: it ends in the time it has, and what it said is so."""
    server = filler.server
    for key in [key for key in filler.kept if key.startswith(str(4 << 20))]:
        filler.delete(key)
    wait_for('uploads', lambda: filler.put(4 << 20) == 201)
    expect([filler.put(300) for _ in range(SMALL)], [201] * SMALL)
    keys = [key for key in filler.kept if key.startswith('300/')][:SMALL - 20]
    waits = [e['event'] for e in server.events()].count('wal.waits')
    with no_room(server), ThreadPoolExecutor(1) as pool:
        deleted = pool.submit(delete_until_refused, filler, keys)
        wait_for('the log to wait', lambda: [e['event'] for e in server.events()].count(
            'wal.waits') > waits)
        server.stop(60)
        unsure = deleted.result(60)
    server.start()
    if unsure is not None and server.get('files', unsure).status == 404:
        del filler.kept[unsure]
    filler.check()


def again(filler):
    """Full once more, killed, emptied, and stopped as any server."""
    filler.fill(4 << 20)
    filler.server.kill()
    filler.server.start()
    filler.check()
    for key in list(filler.kept):
        filler.delete(key)
    wait_for('space', lambda: free(filler.server) > SIZE // 2)
    wait_for('uploads', lambda: filler.put(4 << 20) == 201)  # the server looks at space now and then
    filler.check()
    expect(filler.server.stop(), 0)


TESTS = (full, killed, deletes, no_byte_left, behind, stopped, again)


def mount(kind, folder):
    """A file system of SIZE bytes at folder/m."""
    point = f'{folder}/m'
    os.mkdir(point)
    if kind == 'tmpfs':
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={SIZE}', 'tmpfs', point], check=True)
        return point
    image = f'{folder}/image'
    with open(image, 'wb') as file:
        file.truncate(SIZE)
    subprocess.run(['mkfs.ext4', '-q', '-m', '0', image], check=True)
    subprocess.run(['mount', '-o', 'loop', image, point], check=True)
    return point


def run(binary, kind):
    """Numbers of tests that were executed and that failed."""
    folder = tempfile.mkdtemp(prefix='holdfast-full-')
    executed = failed = 0
    point = server = None
    try:
        point = mount(kind, folder)
        server = Server(binary, f'{point}/d', f'{folder}/log',
                        options=('--segment-size', '64KiB', '--drain-timeout', '2s')).start()
        filler = Filler(server)
        for function in TESTS:
            start = time.monotonic()
            executed += 1
            function(filler)
            print(f'ok     {kind} {function.__name__} ({time.monotonic() - start:.1f} s)', flush=True)
    except Exception:  # whatever it is, the test failed, and those behind it are not run
        failed += 1
        print(f'FAILED {kind}\n{traceback.format_exc()}')
        if os.path.exists(f'{folder}/log'):
            with open(f'{folder}/log', encoding='utf-8', errors='replace') as lines:
                print(''.join(lines.readlines()[-15:]))
    finally:
        if server is not None:
            server.end()
        if point is not None:
            subprocess.run(['umount', point], check=True)
        shutil.rmtree(folder, ignore_errors=True)
    return executed, failed


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    binary = shlex.split(argv[1])
    binary[-1] = os.path.abspath(binary[-1])
    kinds = argv[2:] or ['tmpfs', 'ext4']
    results = [run(binary, kind) for kind in kinds]
    executed = sum(r[0] for r in results)
    failed = sum(r[1] for r in results)
    print(f'LAYER full required={len(kinds) * len(TESTS)} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
