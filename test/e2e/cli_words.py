"""Tests of the command line, part of cli.py: what it says to somebody who does not know it, where it
met something wrong. Python's standard library only."""
import os
import shutil
import socket
import subprocess

from cli_kit import Liar, bare, content, expect, holds, test
from ports import free_port
from server import Server


def says(cli, args, status, *parts):
    err = cli.run(*args, status=status).err
    for part in parts:
        holds(err, part)


@test
def what_is_meant_is_named(cli):
    """The bucket, the file as it was typed, and the command that comes next."""
    path = cli.write('one', b'hello')
    for args in (('put', path, 'Nope/a'), ('put', '-r', '.', 'Nope'), ('sync', '.', 'Nope'),
                 ('get', 'Nope/a', 'x'), ('get', '-r', 'Nope/a', 'x'), ('rm', 'Nope/a'),
                 ('rm', '-r', 'Nope/'), ('ls', 'Nope'), ('bucket', 'set', 'Nope', '--versions', 'on'),
                 ('bucket', 'remove', 'Nope'), ('bucket', 'list', 'Nope')):
        says(cli, args, 3, 'there is no bucket "Nope"; `holdfast bucket list` names all')
    says(cli, ('rm', 'files/none'), 3, 'files/none: there is no such file')
    says(cli, ('get', 'files/none', 'x'), 3, 'files/none: there is no such file')
    says(cli, ('bucket', 'create', 'box', '--versions', 'on'), 2, '`bucket create NAME`, then')
    says(cli, ('put', '-', 'files/a'), 2, 'standard input is not taken')
    cli.run('bucket', 'create', 'box')
    cli.run('bucket', 'set', 'box', '--versions', 'on')
    cli.run('put', path, 'box/a')
    cli.run('rm', 'box/a')
    says(cli, ('bucket', 'remove', 'box'), 4, 'files or versions of files', '`holdfast rm -r box/`', '--versions')
    cli.run('rm', '-r', '--versions', 'box/')
    cli.run('bucket', 'remove', 'box')


@test
def a_quota_that_is_reached(cli):
    """Says how to see what is used; that is told by `bucket list NAME`."""
    path = cli.write('one', content(1000))
    cli.run('bucket', 'create', 'box')
    cli.run('bucket', 'set', 'box', '--quota-files', '1', '--quota-bytes', '2KiB')
    cli.run('put', path, 'box/a')
    says(cli, ('put', path, 'box/b'), 4, '`holdfast bucket list box` tells how much is used')
    lines = dict(line.split(maxsplit=1) for line in cli.run('bucket', 'list', 'box').lines())
    expect((lines['name'], lines['files'], lines['size'], lines['versions']),
           ('box', '1 of at most 1', '1000 B of at most 2.0 KiB', 'off'))
    expect(cli.run('bucket', 'list', '--json', 'box').objects()[0]['files'], 1, 'json')
    cli.run('bucket', 'set', 'box', '--quota-files', 'none', '--quota-bytes', 'none')
    lines = dict(line.split(maxsplit=1) for line in cli.run('bucket', 'list', 'box').lines())
    expect((lines['files'], lines['size']), ('1', '1000 B'))


@bare
def another_door(cli):
    """The S3 door, TLS where there is none, no list of authorities: each says what to write instead."""
    port = free_port()
    server = Server(cli.binary, cli.path('data'), cli.path('log'))
    server.s3_address = f'127.0.0.1:{port}'
    server.start()
    try:
        cli.env['HOLDFAST_KEY'] = server.key()
        cli.env['HOLDFAST_URL'] = f'http://127.0.0.1:{port}'
        says(cli, ('ls', 'files'), 2, 'is a door for S3', '--url')
        cli.env['HOLDFAST_URL'] = f'https://{server.address}'
        says(cli, ('ls', 'files', '--ca', '/dev/null'), 2, '--ca /dev/null')
        if os.path.exists('/etc/ssl/certs/ca-certificates.crt'):
            says(cli, ('ls', 'files'), 2, 'speaks no TLS', 'http://')
        cli.env['HOLDFAST_URL'] = f'http://{server.address}'
        del cli.env['HOLDFAST_KEY']
        says(cli, ('ls', 'files'), 4, '--key-file FILE', 'root.key')
        says(cli, ('ls', 'files', '--key', 'ID.WRONG'), 4, '--key-file', 'root.key')
    finally:
        server.end()


@bare
def a_full_server(cli):
    """The summary of a tree says what to do before it is tried again."""
    cli.write('tree/a', b'a')
    with Liar(cli) as liar:
        liar.given = {'PUT /v1/buckets/files/files/t/a': (507, b'{"code": "no-space", "detail": "full"}')}
        says(cli, ('put', '-r', 'tree', 'files/t'), 5, 'a: full', 'make room on the server, then give the command again')


def refused(cli, args, status, *parts):
    """A start that must fail, with these words on its last line."""
    done = subprocess.run([*cli.binary, 'serve', '--log-format', 'text', *args], env=cli.env, cwd=cli.folder,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode, status, (args, done.stderr))
    for part in parts:
        holds(done.stderr.splitlines()[-1] if status != 2 else done.stderr, part)


@bare
def starts_that_are_refused(cli):
    """Ports, addresses, rights and options that can't be: what is wrong, and what to give."""
    port = free_port()
    with socket.create_server(('127.0.0.1', port)):
        refused(cli, ('--data', 'data', '--http', f'127.0.0.1:{port}', '--s3', 'off'), 4,
                f'listen on 127.0.0.1:{port}: it is in use', 'ss -ltnp')
    refused(cli, ('--data', 'data', '--http', f'127.0.0.1:{port}', '--s3', f'127.0.0.1:{port}'), 2,
            'http and s3 are both', 'a port of its own')
    refused(cli, ('--data', 'data', '--http', f'198.51.100.7:{port}', '--s3', 'off'), 5,
            'this machine has no such address')
    refused(cli, ('--data', 'data', '--audit', 'false'), 2, 'write --audit=false')
    refused(cli, ('--data', 'data', '--log-level', 'loud'), 2, 'is not debug, info, warn or error\n')


@bare
def a_directory_of_somebody_else(cli):
    """Rights are told as such, with the user who has to have them; it is not worth trying again."""
    if os.geteuid() != 0:
        return
    place = cli.path('data')
    os.mkdir(place, 0o700)
    os.chmod(cli.folder, 0o755)
    binary = cli.binary
    # A copy that another user may run, wherever the build stands.
    copy = cli.path('holdfast')
    shutil.copy(binary[-1], copy)
    os.chmod(copy, 0o755)
    done = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', *binary[:-1], copy,
                           'serve', '--data', place, '--http', f'127.0.0.1:{free_port()}', '--s3', 'off',
                           '--log-format', 'text'], env=cli.env, capture_output=True, text=True, timeout=60,
                          check=False)
    expect(done.returncode, 4, done.stderr)
    holds(done.stderr, f'open {place}: it and all in it must belong to user 65534')


@bare
def a_lost_root_key(cli):
    """A directory that served and has no key gets a new one, and says that the one before is over."""
    server = Server(cli.binary, cli.path('data'), cli.path('log'))
    server.start()
    try:
        was = server.key()
        expect([e for e in server.events() if e['event'] == 'node.root_key_was_missing'], [], 'at first')
        expect(server.stop(), 0)
        os.rename(cli.path('data', 'root.key'), cli.path('kept.key'))
        server.start()
        told = [e for e in server.events() if e['event'] == 'node.root_key_was_missing']
        expect([(e['level'], e['file']) for e in told], [('warn', 'root.key')], 'told')
        cli.env['HOLDFAST_URL'] = f'http://{server.address}'
        cli.run('ls', 'files', '--key', was, status=4)
        cli.run('ls', 'files', '--key-file', cli.path('data', 'root.key'))
        expect(server.stop(), 0)
        os.replace(cli.path('kept.key'), cli.path('data', 'root.key'))
        server.start()
        cli.run('ls', 'files', '--key', was)
        expect(server.stop(), 0)
    finally:
        server.end()
