#!/usr/bin/env python3
"""End-to-end tests of holdfast doctor.

    doctor.py BINARY [TEST...]
"""
import os
import resource
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from certificates import Authority  # noqa: E402
from cli_kit import bare, expect, holds, main, test  # noqa: E402
from ports import free_port  # noqa: E402


def look(cli, *args, status=0):
    """{check: line} of a doctor that ends with status."""
    done = cli.run('doctor', '--json', *args, status=status)
    for line in done.objects():
        expect('advice' in line, line['level'] != 'OK', line)
    return {x['check']: x for x in done.objects()}


@bare
def a_good_directory(cli):
    cli.env['HOLDFAST_HTTP'] = f'127.0.0.1:{free_port()}'
    os.mkdir(cli.path('data'), 0o700)
    seen = look(cli, 'data')
    for check in ('rights', 'sync', 'space', 'file system', 'clock', 'open files', 'memory', 'kernel',
                  'port'):
        expect(check in seen, True, check)
    expect((seen['rights']['level'], seen['port']['level']), ('OK', 'OK'), 'levels')
    holds(seen['sync']['detail'], '4 KiB are on disk after')
    expect(os.listdir(cli.path('data')), [], 'left over')
    text = cli.run('doctor', 'data').out
    holds(text, 'OK    rights ')
    holds(text, ' to mend (FAIL)')
    quiet = cli.run('doctor', '-q', 'data').out
    expect('OK ' in quiet, False, quiet)
    # ./data unless given; one that is not there yet.
    expect(look(cli)['rights']['detail'], seen['rights']['detail'], 'unless given')
    holds(look(cli, 'none/such')['rights']['detail'], 'is not there; it can be made in')
    expect(os.path.exists(cli.path('none')), False, 'made')


@bare
def bad_directories(cli):
    os.mkdir(cli.path('open'), 0o700)
    os.chmod(cli.path('open'), 0o777)
    expect(look(cli, 'open')['rights']['level'], 'WARN', 'open to all')
    os.mkdir(cli.path('data'), 0o700)
    cli.write('data/root.key', b'ID.SECRET')
    os.chmod(cli.path('data', 'root.key'), 0o644)
    expect(look(cli, 'data', status=1)['root.key']['level'], 'FAIL', 'a key for all')
    os.chmod(cli.path('data', 'root.key'), 0o600)
    expect(look(cli, 'data')['root.key']['level'], 'OK', 'a key')
    holds(cli.run('doctor', 'data/root.key', status=2).err, 'is no directory')
    cli.run('doctor', 'a', 'b', status=2)
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
        line = look(cli, folder, status=1)['file system']
        expect((line['level'], line['detail']), ('FAIL', 'tmpfs'), 'memory')
    if os.geteuid() == 0:
        os.chmod(cli.folder, 0o755)
        os.chmod(cli.path('data'), 0o755)
        saved, cli.binary = cli.binary, ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups',
                                         *cli.binary]
        line = look(cli, 'data', status=1)['rights']
        cli.binary = saved
        expect(line['level'], 'FAIL', 'not this user\'s')


@bare
def a_directory_that_cannot_be_opened(cli):
    """It is there, so that nothing was measured is no good news."""
    os.mkdir(cli.path('data'), 0)
    os.chmod(cli.folder, 0o755)
    if os.geteuid() == 0:
        cli.binary = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', *cli.binary]
    line = look(cli, 'data', status=1)['sync']
    expect(line['level'], 'FAIL', line)
    holds(line['detail'], 'Permission denied')


@bare
def limits(cli):
    def fewer():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    os.mkdir(cli.path('data'), 0o700)
    done = subprocess.run([*cli.binary, 'doctor', 'data'], env=cli.env, cwd=cli.folder, text=True,
                          capture_output=True, preexec_fn=fewer, check=False)
    expect(done.returncode, 1, done.stdout + done.stderr)
    holds(done.stdout, 'WARN  open files   at most 1024')
    holds(done.stdout, 'WARN  locked pages at most 64.0 KiB')
    holds(done.stdout, 'FAIL  file size    at most 1.0 GiB')


@bare
def ports(cli):
    os.mkdir(cli.path('data'), 0o700)
    with socket.create_server(('127.0.0.1', 0)) as listener:
        cli.env['HOLDFAST_HTTP'] = '127.0.0.1:%d' % listener.getsockname()[1]
        expect(look(cli, 'data')['port']['level'], 'WARN', 'in use')
    cli.env['HOLDFAST_HTTP'] = 'nonsense'
    expect(look(cli, 'data', status=1)['settings']['level'], 'FAIL', 'no address')


@bare
def certificates(cli):
    """Rights of the key, whose it is, dates, names; settings from a file."""
    authority = Authority(cli.path('authority'))
    cert, key, config = cli.path('tls.pem'), cli.path('tls.key'), cli.path('holdfast.yaml')
    os.mkdir(cli.path('data'), 0o700)
    cli.write('holdfast.yaml', f'data: {cli.path("data")}\nhttp: 127.0.0.1:{free_port()}\n'
                               f's3: 0.0.0.0:{free_port()}\n'
                               f's3-domain: files.test\ntls-cert: {cert}\ntls-key: {key}\n'.encode())
    authority.make(cert, key)
    seen = look(cli, '--config', config)
    for check, part in (('certificate', 'is good until'), ('tls key', key), ('tls names', '*.files.test')):
        expect((seen[check]['level'], part in seen[check]['detail']), ('OK', True), check)
    holds(seen['rights']['detail'], cli.path('data'))
    os.chmod(key, 0o644)
    holds(look(cli, '--config', config, status=1)['tls key']['detail'], 'mode 644')
    authority.make(cert, key, last=29, extension='subjectAltName=DNS:other.test')
    lines = [x for x in cli.run('doctor', '--json', '--config', config).objects() if x['level'] == 'WARN']
    said = ' '.join(x['detail'] for x in lines)
    for part in ('it ends in 28 days', '127.0.0.1, where the server listens, is not among other.test',
                 '*.files.test, of s3-domain, is not among its names'):
        holds(said, part)
    authority.make(cert, key, first=-9, last=-1)
    line = look(cli, '--config', config, status=1)['certificate']
    expect((line['level'], 'has expired' in line['detail']), ('FAIL', True), line)
    authority.make(cli.path('other.pem'), key)
    line = look(cli, '--config', config, status=1)['certificate']
    holds(line['detail'], 'is not the key of the first certificate')
    cli.env['HOLDFAST_TLS_CERT'] = ''
    line = look(cli, '--config', config, status=1)['settings']
    holds(line['detail'], 'tls-key is set and tls-cert is not')


@test
def beside_a_server(cli):
    """It may look at a directory that is served, and leaves nothing there."""
    cli.server.put('files', 'x', b'x')
    cli.env['HOLDFAST_HTTP'] = cli.server.address
    before = sorted(os.listdir(cli.server.data))
    seen = look(cli, cli.server.data)
    expect((seen['root.key']['level'], seen['port']['level']), ('OK', 'WARN'), 'levels')
    expect('doctor.probe' in os.listdir(cli.server.data), False, before)
    expect(cli.server.stop(), 0, 'stop')
    cli.run('fsck', cli.server.data)


if __name__ == '__main__':
    sys.exit(main('doctor', sys.argv[1:]))
