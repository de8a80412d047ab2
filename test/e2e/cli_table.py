"""Tests of the command line, part of cli.py: what holds for each command of the table. Python's
standard library only."""
import json
import os
import signal

from cli_kit import bare, content, expect, holds, test
from ports import free_port
from server import Server


def table(cli):
    """{name: what `help --json` says of it}."""
    return {x['name']: x for x in cli.run('help', '--json').objects()}


def stopped_copy(cli):
    """A data directory whose server has stopped."""
    server = Server(cli.binary, cli.path('copy'), cli.path('copy.log')).start()
    server.put('files', 'x', b'x')
    expect(server.stop(), 0, 'stop')
    return cli.path('copy')


def serve_once(cli, *args):
    """Starts `serve`, reads what it says, stops it."""
    process = cli.start('serve', *args, '--http', f'127.0.0.1:{free_port()}', '--s3', 'off')
    line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    expect(process.returncode, 0, err)
    return [json.loads(line), *(json.loads(x) for x in out.splitlines())]


@test
def json_of_every_command(cli):
    """Each command of the table takes --json; with it, standard output is objects, a line each.
    Commands that are not here yet fail this test: what they print belongs here too."""
    data = stopped_copy(cli)
    cli.write('one', content(100))
    cli.write('tree/two', content(200))
    good = cli.write('good.yaml', b'log-level: warn\n')
    bad = cli.write('bad.yaml', b'log-level: loud\n')
    runs = {
        'put': [(('one', 'files/one'), 0), (('-r', 'tree', 'files/t'), 0), (('none', 'files/x'), 3)],
        'sync': [(('tree', 'files/s'), 0), (('--dry-run', 'tree', 'files/new'), 0)],
        'get': [(('files/one', 'back'), 0), (('-r', 'files', 'all'), 0), (('files/none', 'x'), 3)],
        'ls': [(('-R', 'files'), 0), ((), 0)],
        'stat': [(('files/one',), 0)],
        'class': [(('create', 'pair', '--copies', '1'), 0), (('list',), 0), (('list', 'pair'), 0),
                  (('set', 'pair', '--writes', 'async'), 0)],
        'bucket': [(('create', 'box'), 0), (('list',), 0), (('set', 'box', '--quota-files', '3'), 0),
                   (('remove', 'box'), 0)],
        'key': [(('create', 'n', 'read:files'), 0), (('list',), 0)],
        'admin': [((verb,), 0) for verb in ('status', 'wal', 'shards', 'risk', 'ledger', 'scrub')],
        'bench': [(('--seconds', '1', '--connections', '2'), 0)],
        'fsck': [((data,), 0)],
        'recover': [(('--rebuild', 'index', data), 0)],
        'doctor': [((), None)],
        'config': [((), 0), (('check', good), 0), (('check', bad), 2), (('docs',), 0)],
        'help': [((), 0), (('put',), 0)],
        'man': [((), 0)],
        'completion': [((shell,), 0) for shell in ('bash', 'zsh', 'fish')],
        'openapi': [((), 0)],
        'version': [((), 0)],
        'rm': [(('files/one',), 0), (('-r', 'files/t'), 0)],
    }
    other = {'serve', 'cat'}  # tried below
    commands = table(cli)
    expect(sorted(commands), sorted({*runs, *other}), 'commands of the table and of this test')
    for name, about in commands.items():
        expect([x['name'] for x in about['options'] if x['name'] == 'json'], ['json'],
               f'{name} has no --json')
        for part in ('usage', 'text', 'example', 'summary'):
            expect(bool(about[part]), True, f'{name}: {part}')
    for name, tries in runs.items():
        for args, status in tries:
            done = cli.run(name, *args, '--json', status=status)
            try:
                objects = done.objects()
            except ValueError as error:
                raise AssertionError(f'{name} {args} prints {done.out[:300]!r}') from error
            quiet = name == 'bucket' and args[0] == 'remove'  # a deletion has nothing to tell
            if status == 3 and name == 'put':
                continue  # nothing was begun
            expect(bool(objects) or quiet, True, f'{name} {args}: nothing is printed')
            expect(all(isinstance(x, dict) for x in objects), True, f'{name} {args}')
    # Standard output has the content, so the object goes to standard error.
    cli.server.put('files', 'one', content(100))
    done = cli.run('cat', '--json', 'files/one')
    expect((done.raw, json.loads(done.err)['size']), (content(100), 100), 'cat')
    holds(cli.run('cat', '--json', 'files/none', status=3).err, '{"key":"none","error":{"code":"not-')
    expect(cli.run('get', '--json', '-q', 'files/one', '-').raw, content(100), 'get to a pipe')
    started = serve_once(cli, '--json', '--data', data)
    expect(len(started), 1, started)
    expect(sorted(started[0]), ['data', 'disks', 'http', 'key_file', 'pid', 'roots', 's3', 'version'], 'serve')
    expect((started[0]['data'], started[0]['s3'], os.path.exists(started[0]['key_file'])),
           (data, None, True), started)


@bare
def config_as_json(cli):
    """Each setting, as docs/configuration.md has it; a bad file is told as an object too."""
    settings = cli.run('config', '--json').objects()
    docs = cli.run('config', 'docs').out
    for setting in settings:
        holds(docs, f'| `{setting["name"]}` | {setting["default"] or ""} |')
    expect(len(settings) > 20, True, len(settings))
    bad = cli.write('bad.yaml', b'log-levle: warn\n')
    done = cli.run('config', 'check', '--json', bad, status=2)
    error = done.objects()[0]['error']
    expect(error['code'], 'config', error)
    holds(error['detail'], 'log-level')
