#!/usr/bin/env python3
"""The container image: built from a Debian base, healthy under its own health check, its PID 1 ends on
SIGTERM and has everything after it was started again. As root, with podman and mmdebstrap; the base is
the chroot that the deb layer keeps. Prints `LAYER container required= executed= failed=`.

    container.py
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from deb import IN_TREE, TOP, TREE, expect, run  # noqa: E402
from ports import free_port  # noqa: E402

NAME = f'holdfast-test-{os.getpid()}'
LIMIT_S = 120


class Podman:
    """podman with a store of its own below folder, without systemd."""

    def __init__(self, folder):
        self.words = ['podman', '--root', f'{folder}/store', '--runroot', f'{folder}/run',
                      '--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--runtime', 'runc',
                      '--events-backend', 'file']

    def run(self, *args, status=0):
        return run(*self.words, *args, status=status)

    def image(self):
        return json.loads(self.run('inspect', 'localhost/holdfast'))[0]

    def health_check(self):
        """The words of the command; the first in the list says that it is one."""
        return self.image()['Healthcheck']['Test'][1:]

    def state(self):
        return json.loads(self.run('inspect', NAME))[0]['State']


def base(podman):
    """The image of the base."""
    if not os.path.exists(TREE):
        os.makedirs(os.path.dirname(TREE), exist_ok=True)
        run('mmdebstrap', '--mode=root', '--format=tar', '--variant=minbase', f'--include={IN_TREE}',
            'bookworm', TREE + '.new')
        os.rename(TREE + '.new', TREE)
    podman.run('import', TREE, 'localhost/holdfast-base')
    return 'localhost/holdfast-base'


def build(podman, base_image):
    env = {**os.environ, 'PODMAN': ' '.join(podman.words), 'BASE': base_image,
           'BUILD_OPTIONS': '--network host --isolation chroot --layers=false'}
    run('sh', 'tools/image.sh', 'localhost/holdfast', cwd=TOP, env=env)
    expect(podman.image()['Config']['User'], 'holdfast', 'user')
    expect(podman.health_check()[0], '/bin/sh', 'health check')


def ready(podman, port):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=10) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        if not podman.state()['Running']:
            break
        time.sleep(0.1)
    raise AssertionError(f'the container is not ready: {podman.run("logs", NAME, status=None)[-2000:]}')


def limits():
    """Those of this process: podman's own may be more than a container in a container may have."""
    words = []
    for name, number in (('nofile', resource.RLIMIT_NOFILE), ('nproc', resource.RLIMIT_NPROC)):
        hard = resource.getrlimit(number)[1]
        most = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
        words += ['--ulimit', f'{name}={most}:{most}']
    return words


def stops(podman):
    begin = time.monotonic()
    podman.run('stop', '-t', str(LIMIT_S), NAME)
    state = podman.state()
    expect((state['Running'], state['ExitCode']), (False, 0), 'after SIGTERM')
    expect(time.monotonic() - begin < LIMIT_S - 10, True, 'it had to be killed')


def runs(podman, port):
    """Healthy, PID 1 is the server, not root; ends on SIGTERM; what was stored is there again."""
    podman.run('run', '-d', '--name', NAME, '--network', 'host', *limits(),
               '-e', f'HOLDFAST_HTTP=127.0.0.1:{port}', '-e', 'HOLDFAST_S3=off',
               '-e', f'HOLDFAST_URL=http://127.0.0.1:{port}',
               '-v', 'holdfast-data:/data', 'localhost/holdfast')
    ready(podman, port)
    podman.run('healthcheck', 'run', NAME)
    expect(podman.run('exec', NAME, 'cat', '/proc/1/comm').strip(), 'holdfast', 'PID 1')
    expect(podman.run('exec', NAME, 'id', '-un').strip(), 'holdfast', 'user')
    podman.run('exec', NAME, 'holdfast', 'put', '/etc/debian_version', 'files/kept')
    stops(podman)
    podman.run('start', NAME)
    ready(podman, port)
    podman.run('exec', NAME, 'holdfast', 'stat', 'files/kept')
    podman.run('exec', NAME, 'holdfast', 'admin', 'audit', 'verify', '/data')
    podman.run('exec', '-e', 'HOLDFAST_URL=http://127.0.0.1:1', NAME, *podman.health_check(), status=1)
    stops(podman)


def main():
    executed = failed = 0
    with tempfile.TemporaryDirectory(prefix='holdfast-container-') as folder:
        podman = Podman(folder)
        for name, function in (('build', lambda: build(podman, base(podman))),
                               ('run', lambda: runs(podman, free_port()))):
            executed += 1
            begin = time.monotonic()
            try:
                function()
                print(f'ok {name} {time.monotonic() - begin:.0f} s', flush=True)
            except Exception as problem:  # noqa: BLE001  (a test may fail in any way)
                failed += 1
                print(f'FAILED {name}: {problem}', flush=True)
                break
        subprocess.run([*podman.words, 'rm', '-f', '-t', '1', NAME], capture_output=True, check=False)
        subprocess.run([*podman.words, 'system', 'reset', '-f'], capture_output=True, check=False)
    print(f'LAYER container required=2 executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
