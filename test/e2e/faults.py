#!/usr/bin/env python3
"""A real server whose Nth system call fails, for many call sites and many N: it may refuse, it may
even stop, but it may not crash, hang, or lose what it acknowledged.

    faults.py BINARY [SITE...]

BINARY is a test build: HOLDFAST_FAULT makes the site fail. Each run starts on a fresh directory, does a
fixed list of requests, stops by SIGTERM, starts again without the fault, and compares. Prints
`LAYER faults required= executed= failed=`, where one test is one run.
"""
import http.client
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402
from smoke import content, stored_files  # noqa: E402

# Site, error, and which calls of it fail: each of the first ones, then in growing steps.
SITES = (
    ('disk.open', 'EMFILE'), ('disk.read', 'EIO'), ('disk.write', 'EIO'), ('disk.write', 'ENOSPC'),
    ('disk.sync', 'EIO'), ('disk.sync_dir', 'EIO'), ('disk.rename', 'EIO'), ('disk.unlink', 'EIO'),
    ('disk.space', 'EIO'), ('disk.stat', 'EIO'), ('disk.size', 'EIO'), ('disk.mkdir', 'ENOSPC'),
    ('blob.finish', 'EIO'), ('packs.sync', 'EIO'), ('store.apply', 'EIO'), ('store.cut', 'EIO'),
    ('wal.batch', 'EIO'), ('mem.take', 'ENOMEM'), ('pool.take', 'ENOMEM'),
    ('net.accept', 'EMFILE'), ('net.read', 'ECONNRESET'), ('net.write', 'EPIPE'),
    ('thread.start', 'EAGAIN'),
)
CALLS = (1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 180)
SMALL, LARGE = 300, 300000
PARALLEL = 4
LOST = (OSError, http.client.HTTPException)


class Model:
    """What may be under each key: contents, None for nothing. What has an unknown outcome may still
    take effect at any later time."""

    def __init__(self):
        self.now = {}   # certain, or one of several since an unknown outcome
        self.late = {}  # unknown outcomes

    def may(self, key):
        return self.now.get(key, {None}) | self.late.get(key, set())

    def change(self, key, new, outcome):
        """outcome: True acknowledged, False refused, None unknown."""
        if outcome is True:
            self.now[key] = {new}
        elif outcome is None:
            self.late.setdefault(key, set()).add(new)


def outcome_of(answer, good):
    if answer.status in good:
        return True
    return False if code_of(answer) not in ('outcome-unknown', 'root-failed', None) else None


def code_of(answer):
    """Of a problem; None if the answer is none (no memory even for that)."""
    try:
        return answer.json().get('code')
    except ValueError:
        return None


def work(server, model):
    """The requests. A lost connection is an unknown outcome."""
    steps = [('a', SMALL), ('b', LARGE), ('a', SMALL + 1), ('b', LARGE + 1), ('c', SMALL), ('c', None),
             ('d', LARGE), ('d', None), ('e', 0)]
    for i, (key, size) in enumerate(steps):
        body = None if size is None else content(size, i)
        try:
            if body is None:
                answer = server.request('DELETE', server.name_path('files', key))
                good = (204,)
            else:
                answer = server.put('files', key, body)
                good = (200, 201)
            model.change(key, body, outcome_of(answer, good))
        except LOST:
            model.change(key, body, None)
        try:
            got = server.get('files', key)
            if got.status == 200 and got.body not in model.may(key):
                raise AssertionError(f'step {i}: {key} is not what was written: {answer.status} '
                                     f'{answer.body!r}, then {len(got.body)} bytes')
        except LOST:
            pass


def check(server, model):
    for key in set(model.now) | set(model.late):
        may = model.may(key)
        got = server.get('files', key)
        found = got.body if got.status == 200 else None
        if got.status not in (200, 404) or found not in may:
            raise AssertionError(f'{key}: status {got.status}, {len(got.body)} bytes, may be '
                                 f'{[None if m is None else len(m) for m in may]}')
    if stored_files(server, 'staging'):
        raise AssertionError(f'staging: {stored_files(server, "staging")}')


def wait_up(server):
    """Until it is ready, or says that its root has failed (reads go on), or has ended."""
    end = time.monotonic() + 60
    while server.process.poll() is None:
        try:
            answer = server.request('GET', '/readyz', key=None)
            if answer.status == 200 or answer.json().get('phase') == 'failed':
                return
        except (*LOST, ValueError):
            pass
        if time.monotonic() > end:
            raise AssertionError('it neither serves nor ends')
        time.sleep(0.02)


def run(binary, folder, fault):
    """One run; whether the fault was reached can't be told from outside, so it is not asked."""
    server = Server(binary, f'{folder}/d', f'{folder}/log', fault=fault, timeout=10)
    model = Model()
    try:
        server.start(wait=False)
        wait_up(server)
        if server.process.poll() is None:
            work(server, model)
            time.sleep(0.05)
        status = server.stop(60) if server.process.poll() is None else server.process.returncode
        if status < 0 and status != -signal.SIGTERM:  # it was ending already
            raise AssertionError(f'ended by signal {-status}')
        with open(server.log, encoding='utf-8', errors='replace') as log:
            if 'Sanitizer' in log.read():
                raise AssertionError('a sanitizer complained')
        server.fault, server.timeout = None, 60
        server.start()
        check(server, model)
        if server.stop() != 0:
            raise AssertionError('the second stop failed')
    finally:
        server.end()


def run_one(binary, fault):
    """Why the run failed, or None."""
    folder = tempfile.mkdtemp(prefix='holdfast-faults-')
    try:
        run(binary, folder, fault)
        return None
    except Exception:  # whatever it is, the run failed
        tail = ''
        if os.path.exists(f'{folder}/log'):
            with open(f'{folder}/log', encoding='utf-8', errors='replace') as lines:
                tail = ''.join(lines.readlines()[-30:])
        return traceback.format_exc() + tail
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    binary = shlex.split(argv[1])
    binary[-1] = os.path.abspath(binary[-1])
    chosen = [(site, error) for site, error in SITES if not argv[2:] or site in argv[2:]]
    executed = failed = 0
    with ThreadPoolExecutor(PARALLEL) as pool:
        for site, error in chosen:
            faults = [f'{site}=fail:{error}@{call}' for call in CALLS]
            reasons = list(pool.map(lambda fault: run_one(binary, fault), faults))
            executed += len(reasons)
            failed += sum(reason is not None for reason in reasons)
            for fault, reason in zip(faults, reasons):
                if reason is not None:
                    print(f'FAILED {fault}\n{reason}')
            print(f'{"FAILED" if any(reasons) else "ok    "} {site} {error}', flush=True)
    print(f'LAYER faults required={len(chosen) * len(CALLS)} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
