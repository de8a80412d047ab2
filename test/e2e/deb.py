#!/usr/bin/env python3
"""The Debian package in a chroot of its own: installed, started as its unit does, upgraded with files
and a changed configuration in place, removed, purged. As root, with dpkg, mmdebstrap and lintian; the
chroot's tree is kept in build-tools, as it takes minutes to fetch.

    deb.py
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IN_TREE = ('libuv1,libsqlite3-0,libssl3,libjansson4,libexpat1,libyaml-0-2,libisal2,libzstd1,libcurl4,'
           'adduser,curl,procps,init-system-helpers')
TREE = os.path.join(TOP, 'build-tools', f'chroot-{zlib.crc32(IN_TREE.encode()):08x}.tar')
CONFIG = '/etc/holdfast/holdfast.yaml'
KEY = '/var/lib/holdfast/root.key'
URL = 'http://127.0.0.1:29001'


def run(*args, status=0, **more):
    done = subprocess.run(args, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                          **more)
    if status is not None and done.returncode != status:
        raise AssertionError(f'{args} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}')
    return done.stdout + done.stderr


def build(version):
    env = {**os.environ, 'DEB_VERSION': version}
    return os.path.join(TOP, run('sh', 'tools/deb.sh', cwd=TOP, env=env).splitlines()[-1])


class Chroot:
    def __init__(self, path):
        self.path = path
        self.server = None
        self.mounts = []

    def open(self):
        path = self.path
        if not os.path.exists(TREE):
            os.makedirs(os.path.dirname(TREE), exist_ok=True)
            said = run('mmdebstrap', '--mode=root', '--format=tar', '--variant=minbase',
                       f'--include={IN_TREE}', 'bookworm', TREE + '.new', status=None)
            if 'success' in said:
                os.rename(TREE + '.new', TREE)
        if os.path.exists(TREE):
            run('tar', '-C', path, '-xpf', TREE)
        else:
            print('no chroot from the network: over this system, whose changes are thrown away')
            self.overlay(path)
        self.mount('-t', 'proc', 'proc', self.file('/proc'))

    def mount(self, *args):
        run('mount', *args)
        self.mounts.append(args[-1])

    def overlay(self, path):
        """This system below path; what changes stands in memory."""
        os.mkdir(path + '.changes')
        self.mount('-t', 'tmpfs', 'tmpfs', path + '.changes')
        for name in ('upper', 'work'):
            os.mkdir(f'{path}.changes/{name}')
        self.mount('-t', 'overlay', 'overlay', '-o',
                   f'lowerdir=/,upperdir={path}.changes/upper,workdir={path}.changes/work', path)

    def file(self, name):
        return self.path + name

    def run(self, *args, status=0):
        return run('chroot', self.path, '/usr/bin/env', 'DEBIAN_FRONTEND=noninteractive',
                   'LC_ALL=C.UTF-8', f'HOLDFAST_KEY_FILE={KEY}', f'HOLDFAST_URL={URL}', *args,
                   status=status)

    def install(self, package):
        shutil.copy(package, self.file('/tmp/p.deb'))
        return self.run('dpkg', '-i', '/tmp/p.deb')

    def start(self):
        """What ExecStart= of the unit says, as its user."""
        with open(self.file('/lib/systemd/system/holdfast.service'), encoding='utf-8') as unit:
            lines = dict(x.strip().split('=', 1) for x in unit if '=' in x and x[0] != '#')
        words = ['setpriv', f'--reuid={lines["User"]}', f'--regid={lines["Group"]}', '--init-groups',
                 '--no-new-privs', *lines['ExecStart'].split()]
        with open(self.file('/tmp/log'), 'ab') as log:
            self.server = subprocess.Popen(['chroot', self.path, *words], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)
        end = time.monotonic() + 120
        while subprocess.run(['curl', '-fs', URL + '/readyz'], capture_output=True,
                             check=False).returncode != 0:
            if time.monotonic() > end or self.server.poll() is not None:
                with open(self.file('/tmp/log'), encoding='utf-8', errors='replace') as log:
                    raise AssertionError('the server is not ready: ' + log.read()[-2000:])
            time.sleep(0.1)

    def stop(self):
        self.server.terminate()
        if self.server.wait(120) != 0:
            raise AssertionError(f'the server ended with {self.server.returncode}')
        self.server = None

    def end(self):
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        for path in reversed(self.mounts):
            subprocess.run(['umount', '-l', path], check=False)


def expect(got, wanted, what):
    if got != wanted:
        raise AssertionError(f'{what}: {got!r}, not {wanted!r}')


def installs_upgrades_and_goes(box, first, second):
    for path in ('/bin/bash', CONFIG):
        expect(os.path.exists(box.file(path)), path != CONFIG, path)
    box.install(first)
    expect('holdfast' in box.run('id', 'holdfast'), True, 'user')
    expect(oct(os.stat(box.file('/var/lib/holdfast')).st_mode & 0o777), '0o700', 'rights')
    for path in ('/usr/share/man/man1/holdfast.1.gz', '/lib/systemd/system/holdfast.service',
                 '/usr/share/bash-completion/completions/holdfast',
                 '/usr/share/zsh/vendor-completions/_holdfast',
                 '/usr/share/fish/vendor_completions.d/holdfast.fish'):
        # minbase leaves manual pages out in some set-ups; the package itself has them.
        expect(path in box.run('dpkg', '-L', 'holdfast'), True, path)
    expect(box.run('holdfast', 'config', 'check', CONFIG), f'{CONFIG}: good\n', 'configuration')
    with open(box.file(CONFIG), 'a', encoding='utf-8') as file:
        file.write('http: 127.0.0.1:29001\n')
    box.start()
    box.run('holdfast', 'put', '/etc/debian_version', 'files/kept')
    box.stop()

    said = box.install(second)  # never asks, keeps what was changed
    expect('29001' in open(box.file(CONFIG), encoding='utf-8').read(), True, said)
    expect(box.run('dpkg-query', '-W', '-f', '${Version}', 'holdfast'), '2', 'version')
    box.start()
    box.run('holdfast', 'get', 'files/kept', '/tmp/back')
    box.run('cmp', '/etc/debian_version', '/tmp/back')
    box.stop()

    box.run('dpkg', '-r', 'holdfast')
    for path, there in (('/usr/bin/holdfast', False), (CONFIG, True), (KEY, True),
                        ('/lib/systemd/system/holdfast.service', False)):
        expect(os.path.exists(box.file(path)), there, path)
    said = box.run('dpkg', '-P', 'holdfast')
    expect('are kept; remove them yourself' in said, True, said)
    expect((os.path.exists(box.file(CONFIG)), os.path.exists(box.file(KEY))), (False, True), 'purged')
    expect(box.run('dpkg', '--audit'), '', 'dpkg')
    # And again over what was kept.
    box.install(second)
    with open(box.file(CONFIG), 'a', encoding='utf-8') as file:
        file.write('http: 127.0.0.1:29001\n')
    box.start()
    box.run('holdfast', 'stat', 'files/kept')
    box.stop()


def unit_is_good(package, folder):
    run('dpkg-deb', '-x', package, folder)
    unit = os.path.join(folder, 'lib/systemd/system/holdfast.service')
    text = open(unit, encoding='utf-8').read().replace('/usr/bin/holdfast',
                                                       os.path.join(folder, 'usr/bin/holdfast'))
    with open(unit, 'w', encoding='utf-8') as file:
        file.write(text)
    expect(run('systemd-analyze', 'verify', '--man=no', unit), '', 'systemd-analyze')


def main():
    tests = failed = 0
    with tempfile.TemporaryDirectory(prefix='holdfast-deb-') as folder:
        first, second = build('1'), build('2')
        box = None

        def in_chroot():
            nonlocal box
            os.mkdir(folder + '/root')
            box = Chroot(folder + '/root')
            box.open()
            installs_upgrades_and_goes(box, first, second)

        def lintian():
            run('lintian', '--allow-root', '--fail-on', 'error,warning', '--suppress-tags', ','.join((
                'initial-upload-closes-no-bugs', 'bogus-mail-host', 'bogus-mail-host-in-debian-changelog')), second)

        for name, function in (('lintian', lintian),
                               ('unit', lambda: unit_is_good(second, folder + '/unit')),
                               ('chroot', in_chroot)):
            tests += 1
            try:
                function()
                print(f'ok {name}', flush=True)
            except Exception as problem:  # noqa: BLE001  (a test may fail in any way)
                failed += 1
                print(f'FAILED {name}: {problem}', flush=True)
        if box is not None:
            box.end()
    print(f'LAYER deb required={tests} executed={tests} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
