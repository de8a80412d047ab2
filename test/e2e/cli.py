#!/usr/bin/env python3
"""End-to-end tests of the command line: the binary as people call it, against a real server, and
against one that lies where a real one must not.

    cli.py BINARY [TEST...]

BINARY may have words before it, such as `setarch -R`. Prints `LAYER cli required= executed=
failed=`, where one test is one function below; exits 1 if one failed.
"""
import hashlib
import importlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_kit import (MIB, Appender, Liar, bare, content, expect, files_below, holds,  # noqa: E402
                     main, test)
from ports import free_port  # noqa: E402
from server import Server  # noqa: E402

ODD_NAMES = ('plain', 'a b', '100%', '%41', 'a#b', 'a?b=c&d', 'ü', '日本語', "q'u\"o", 'back\\slash',
             '+plus+', ';,', '-r', '--', '...', 'new\nline', 'tab\there', 'x' * 255, '~', '*')


def make_tree(cli, name='tree'):
    """A tree with odd names and sizes at the edges."""
    for i, odd in enumerate(ODD_NAMES):
        cli.write(f'{name}/{odd}', content(i * 100, i))
        cli.write(f'{name}/dir {i}/{odd}', content(i, i))
    for size in (0, 1, 65536, 65537, MIB - 1, MIB, MIB + 1, 5 * MIB + 3):
        cli.write(f'{name}/sizes/{size}', content(size, size))
    cli.write(name + '/' + '/'.join('d' * 8 for _ in range(60)) + '/deep', b'deep')
    return cli.path(name)


def make_many(cli, count, name='many'):
    """Many small files and a few larger ones."""
    for i in range(count):
        size = 3 * MIB if i % 400 == 399 else (i * 37) % 9000
        cli.write(f'{name}/{i % 40}/f{i}', content(size, i))
    return cli.path(name)


def measures_memory(cli):
    """Sanitizers keep shadows of all that was touched, and what was freed."""
    return 'san' not in ' '.join(cli.binary)


def memory_of(cli, *args):
    """Peak memory in bytes of a command that must succeed, seen until a moment before its end.
    (The kernel's own figure at the end has that of this process in it, from before the exec.)"""
    peak = 0
    process = cli.start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with open(f'/proc/{process.pid}/status', encoding='ascii', errors='replace') as lines:
            found = [line.split()[1] for line in lines if line.startswith('VmHWM:')]
        peak = max([peak, *(int(kib) * 1024 for kib in found)])
        time.sleep(0.002)
    expect(process.returncode, 0, args)
    return peak


# ---- there and back ----

@test
def tree_there_and_back(cli):
    """Odd names and sizes come back as they were; what is no file is told."""
    root = make_tree(cli)
    os.symlink('/etc/passwd', os.path.join(root, 'link'))
    os.symlink('/etc', os.path.join(root, 'linked folder'))
    os.mkfifo(os.path.join(root, 'pipe'))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.join(root, 'socket'))
    done = cli.run('put', '-r', root, 'files/copy')
    for name in ('link', 'linked folder', 'pipe', 'socket'):
        holds(done.err, f'skipped: {name}: ')
    wanted = files_below(root)
    holds(done.err, f'stored {len(wanted)} files')
    holds(done.err, '4 skipped')
    cli.run('get', '-r', 'files/copy', 'back')
    expect(files_below(cli.path('back')), wanted, 'what came back')
    listed = [x['key'] for x in cli.run('ls', '-R', '--json', 'files').objects()]
    expect(sorted(os.fsencode(x) for x in listed), sorted(b'copy/' + x for x in wanted), 'keys')
    # Again, over what is there, and without a prefix; --connections 1.
    cli.run('put', '-r', root, 'files/copy', '-q', '--connections', '1')
    cli.run('get', '-r', 'files', 'all', '--connections=64')
    expect(files_below(cli.path('all', 'copy')), wanted, 'what came back of all')


@test
def single_files(cli):
    path = cli.write('one', b'hello')
    cli.run('put', path, 'files/a/one')
    cli.run('put', path, 'files/b/')
    cli.run('put', path, 'files')
    expect(sorted(cli.run('ls', '-R', 'files').lines()), ['a/one', 'b/one', 'one'], 'keys')
    cli.run('get', 'files/a/one', 'two')
    os.mkdir(cli.path('into'))
    cli.run('get', 'files/a/one', 'into')
    expect(files_below(cli.path('into')), {b'one': b'hello'}, 'a directory takes it')
    with open(cli.path('two'), 'rb') as file:
        expect(file.read(), b'hello', 'content')
    expect(cli.run('get', 'files/a/one', '-').raw, b'hello', 'standard output')
    cli.write('two', b'old and longer')
    cli.run('get', 'files/a/one', 'two')
    with open(cli.path('two'), 'rb') as file:
        expect(file.read(), b'hello', 'replaced')
    # A link given by hand is followed; keys that are no paths need a path.
    os.symlink('one', cli.path('by-link'))
    cli.run('put', 'by-link', 'files/../x//')
    expect(cli.run('get', 'files/../x//by-link', '-').raw, b'hello', 'odd key')
    # What is no regular file is never replaced.
    os.symlink('/dev/null', cli.path('null'))
    for target in ('null', '/dev/null'):
        holds(cli.run('get', 'files/one', target, status=4).err, 'stands in its place')


@test
def names_that_no_key_can_be(cli):
    """They fail, with their names, and the others go on."""
    os.makedirs(cli.path('tree'))
    for name in (b'good', b'latin-\xfc', b'\xff\xfe'):
        with open(os.path.join(os.fsencode(cli.path('tree')), name), 'wb') as file:
            file.write(name)
    long = '/'.join(['d' * 200] * 6)
    cli.write(f'tree/{long}/f', b'too long')
    done = cli.run('put', '-r', 'tree', 'files/t', '--json', status=1)
    holds(done.err, 'latin-\\xfc: the name is not UTF-8')
    holds(done.err, 'the key would have')
    holds(done.err, 'stored 1 file')
    holds(done.err, '3 failed')
    codes = sorted(x.get('error', {}).get('code', 'stored') for x in done.objects())
    expect(codes, ['bad-name', 'bad-name', 'key-too-long', 'stored'], 'json')
    expect(cli.run('ls', '-R', 'files').lines(), ['t/good'], 'keys')


@test
def nothing_outside_of_the_target(cli):
    """Keys that lead elsewhere are refused one by one, by name; links in the target too."""
    evil = ['p/../x', 'p/../../x', 'p//abs', 'p/a//b', 'p/./c', 'p/dir/', 'p/..', 'p/' + 'n' * 256,
            'p/out/file', 'p/file/below']
    for key in [*evil, 'p/good', 'p/sub/good', 'p/file']:
        cli.server.put('files', key, b'x')
    os.makedirs(cli.path('target'))
    os.makedirs(cli.path('elsewhere'))
    os.symlink(cli.path('elsewhere'), cli.path('target', 'out'))
    before = set(os.listdir(cli.folder))
    done = cli.run('get', '-r', 'files/p', 'target', '--json', '--connections', '1', status=1)
    refused = [x['key'] for x in done.objects() if 'error' in x]
    expect(sorted(refused), sorted(evil), 'refused')
    for key in evil[:4]:
        holds(done.err, f'failed: {key}: ')
    expect(files_below(cli.path('target')), {b'good': b'x', b'sub/good': b'x', b'file': b'x'}, 'got')
    expect(os.listdir(cli.path('elsewhere')), [], 'through a link')
    expect(set(os.listdir(cli.folder)), before, 'beside the target')


@test
def more_than_one_page(cli):
    """Listings of more than a page, and memory that does not grow with the number of files."""
    few = make_many(cli, 60, 'few')
    for i in range(2300):
        cli.write(f'lots/{i % 7}/{i}', b'%d' % i)
    small = memory_of(cli, 'put', '-r', few, 'files/few')
    large = memory_of(cli, 'put', '-r', 'lots', 'files/lots')
    if large > small + 2 * MIB and measures_memory(cli):
        raise AssertionError(f'{large} bytes for 2300 files, {small} for 60')
    wanted = files_below(cli.path('lots'))
    cli.run('get', '-r', 'files/lots', 'back')
    expect(files_below(cli.path('back')), wanted, 'what came back')
    expect(len(cli.run('ls', '-R', 'files/lots').lines()), 2300, 'lines')
    expect(cli.run('ls', 'files').lines(), ['few/', 'lots/'], 'folders')
    holds(cli.run('rm', '-r', 'files/lots').err, 'deleted 2300 files')
    cli.run('ls', 'files/lots', status=3)


@test
def large_files_stream(cli):
    """A file of 64 MiB through a client that never holds it."""
    with open(cli.path('large'), 'wb') as file:
        for i in range(64):
            file.write(content(MIB, i))
    for args in (('put', 'large', 'files/large'), ('get', 'files/large', 'back')):
        peak = memory_of(cli, *args)
        if peak > 24 * MIB and measures_memory(cli):
            raise AssertionError(f'{args[0]} took {peak} bytes')
    expect(subprocess.run(['cmp', 'large', 'back'], cwd=cli.folder, check=False).returncode, 0, 'cmp')


@test
def a_file_that_grows(cli):
    """What grows while it is sent is told, not passed off as whole."""
    path = cli.write('log', content(40 * MIB))
    with Appender(path):
        done = cli.run('put', path, 'files/log', status=5)
    holds(done.err, 'it changed while it was read: from ')


def count_body(listener, result):
    """Takes one request and counts its body for as long as bytes come."""
    connection, _ = listener.accept()
    connection.settimeout(60)
    data = b''
    while b'\r\n\r\n' not in data:
        data += connection.recv(65536)
    connection.settimeout(15)  # without more by then that was all
    head, _, body = data.partition(b'\r\n\r\n')
    lines = head.decode().lower().splitlines()
    result['announced'] = [int(x.split()[1]) for x in lines if x.startswith('content-length:')][0]
    result['came'] = len(body)
    connection.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
    try:
        while piece := connection.recv(MIB):
            result['came'] += len(piece)
    except TimeoutError:
        pass
    connection.close()


@bare
def nothing_beyond_the_announced_length(cli):
    """A server would take it for the next request."""
    path = cli.write('log', content(40 * MIB))
    result = {}
    with socket.create_server(('127.0.0.1', 0)) as listener:
        cli.env['HOLDFAST_URL'] = f'http://127.0.0.1:{listener.getsockname()[1]}'
        thread = threading.Thread(target=count_body, args=(listener, result))
        thread.start()
        with Appender(path):
            process = cli.start('put', path, 'files/log')
            thread.join()
            process.kill()
            process.communicate()
    expect(result['came'], result['announced'], 'bytes')


@test
def a_file_that_shrinks(cli):
    """What was begun is not stored; it is sent again as it is now."""
    path = cli.write('log', content(64 * MIB))
    process = cli.start('put', path, 'files/log')
    position = 0
    while position < MIB and process.poll() is None:
        for fd in os.listdir(f'/proc/{process.pid}/fd'):
            try:
                if os.readlink(f'/proc/{process.pid}/fd/{fd}') == path:
                    with open(f'/proc/{process.pid}/fdinfo/{fd}', encoding='ascii') as info:
                        position = int(info.readline().split()[1])
            except FileNotFoundError:
                pass
    process.send_signal(signal.SIGSTOP)
    os.truncate(path, 2 * MIB)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    expect(process.returncode, 0, err)
    stat = cli.run('stat', 'files/log', '--json').objects()[0]
    expect((stat['size'], stat['sha256']),
           (2 * MIB, hashlib.sha256(content(64 * MIB)[:2 * MIB]).hexdigest()), 'stored')
    # The first version is this one: nothing was stored before.
    expect(stat['created_at'], stat['updated_at'], 'times')


# ---- only what is new ----

def sent(cli, *args, **more):
    """Keys of the FILEs that a command with --json has stored, in their order."""
    done = cli.run(*args, '--json', **more)
    return sorted(x['key'] for x in done.objects() if 'sha256' in x), done


@test
def a_tree_goes_on_where_it_was(cli):
    """What is there already is not sent or fetched again: below 1 % of the bytes after a cut."""
    root = make_many(cli, 800)
    whole = files_below(root)
    process = cli.start('put', '-r', root, 'files/k', '--json', '--connections', '2')
    for _ in range(600):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    first = 600 + len(process.stdout.read().splitlines())
    process.wait()
    expect(process.returncode, 130, 'stopped')
    kept, done = sent(cli, 'put', '-r', root, 'files/k')
    if not 0 < len(kept) <= len(whole) - first:
        raise AssertionError(f'{first} and {len(kept)} of {len(whole)}')
    holds(done.err, f'{len(whole) - len(kept)} unchanged')
    again, done = sent(cli, 'put', '-r', root, 'files/k')
    expect(again, [], 'the third time')
    holds(done.err, 'stored 0 files')
    holds(done.err, f'{len(whole)} unchanged')
    expect(len(sent(cli, 'put', '-r', '--force', root, 'files/k')[0]), len(whole), '--force')
    # The same on the way back; what differs here in size, content or kind is fetched.
    cli.run('get', '-r', 'files/k', 'back')
    changed = sorted(whole)[:3]
    os.unlink(os.path.join(os.fsencode(cli.path('back')), changed[0]))
    with open(os.path.join(os.fsencode(cli.path('back')), changed[1]), 'ab') as file:
        file.write(b'x')
    with open(os.path.join(os.fsencode(cli.path('back')), changed[2]), 'r+b') as file:
        file.write(bytes([whole[changed[2]][0] ^ 1]))
    again, done = sent(cli, 'get', '-r', 'files/k', 'back')
    expect(again, ['k/' + os.fsdecode(x) for x in changed], 'fetched')
    expect(files_below(cli.path('back')), whole, 'what came back')
    expect(len(sent(cli, 'get', '-rf', 'files/k', 'back')[0]), len(whole), '--force')


def would(cli, *args):
    """{key: (action, reason)} of a --dry-run."""
    objects = cli.run('sync', '--dry-run', *args, '--json').objects()
    return {x['key']: (x['would'], x.get('reason')) for x in objects}


@test
def sync_sends_what_has_changed(cli):
    root = make_tree(cli)
    whole = files_below(root)
    name = '日本語'
    expect(len(would(cli, root, 'files/s')), len(whole), 'a dry run')
    cli.run('ls', 'files/s', status=3)
    keys, done = sent(cli, 'sync', root, 'files/s')
    expect(keys, sorted('s/' + os.fsdecode(x) for x in whole), 'the first time')
    expect(sent(cli, 'sync', root, 'files/s')[0], [], 'the second time')
    # Another size; the same size and another time; another time only.
    cli.write('tree/plain', b'longer than it was')
    cli.write(f'tree/{name}', content(len(whole[name.encode()]), 'other'))
    os.utime(cli.path('tree', 'ü'), (1, 1))
    cli.write('tree/new/one', b'new')
    wanted = {'s/plain': ('store', 'size'), f's/{name}': ('store', 'content'),
              's/new/one': ('store', 'new')}
    expect(would(cli, root, 'files/s'), wanted, 'a dry run')
    text = cli.run('sync', '-n', root, 'files/s')
    holds(text.out, 'store s/new/one (new)')
    holds(text.err, 'would store 3 files')
    keys, done = sent(cli, 'sync', root, 'files/s')
    expect(keys, sorted(wanted), 'changed')
    holds(done.err, f'{len(whole) - 2} unchanged')
    # Size and time as they were, other content: only --checksum sees it.
    before = os.stat(cli.path('tree', 'plain'))
    cli.write('tree/plain', b'LONGER than it was')
    os.utime(cli.path('tree', 'plain'), ns=(before.st_atime_ns, before.st_mtime_ns))
    expect(would(cli, root, 'files/s'), {}, 'trusted')
    expect(would(cli, root, 'files/s', '--checksum'), {'s/plain': ('store', 'content')}, 'not trusted')
    cli.run('sync', '-c', root, 'files/s')
    cli.run('get', '-r', 'files/s', 'back')
    expect(files_below(cli.path('back')), files_below(root), 'what came back')


@test
def sync_deletes_below_the_prefix_only(cli):
    for i in range(5):
        cli.write(f'tree/d/{i}', b'x')
    cli.run('sync', 'tree', 'files/p')
    others = ['p', 'p-q/d/1', 'p0', 'o/d/1', 'pp', 'P/d/1']
    extra = ['p/a//b', 'p/../x', 'p/d', 'p/d/1/below a file', 'p/z', 'p/link/1', 'p/linked']
    for key in [*others, *extra]:
        cli.server.put('files', key, b'other')
    os.symlink('/tmp', cli.path('tree', 'link'))
    os.symlink('/etc/passwd', cli.path('tree', 'linked'))
    os.unlink(cli.path('tree', 'd', '3'))
    before = cli.run('ls', '-R', 'files').lines()
    cli.run('sync', 'tree', 'files/p')
    expect(cli.run('ls', '-R', 'files').lines(), before, 'without --delete')
    gone = {'p/a//b', 'p/../x', 'p/d', 'p/d/1/below a file', 'p/z', 'p/d/3'}
    expect(would(cli, '--delete', 'tree', 'files/p'), {k: ('delete', None) for k in gone}, 'a dry run')
    expect(cli.run('ls', '-R', 'files').lines(), before, 'after a dry run')
    done = cli.run('sync', '--delete', 'tree', 'files/p', '--json')
    expect({x['key'] for x in done.objects() if x.get('deleted')}, gone, 'deleted')
    holds(done.err, '6 deleted')
    holds(done.err, 'skipped: p/linked: kept, for here a link')
    expect(cli.run('ls', '-R', 'files').lines(), [x for x in before if x not in gone], 'left')
    # A disk that is not mounted, a bucket's name alone, a folder that can't be read.
    os.makedirs(cli.path('empty'))
    holds(cli.run('sync', '--delete', 'empty', 'files/p', status=2).err, 'there are no files in')
    holds(cli.run('sync', '--delete', 'tree', 'files', status=2).err, 'write files/')
    cli.run('sync', 'absent', 'files/p', '--delete', status=3)
    cli.run('sync', cli.write('one', b'x'), 'files/p', '--delete', status=2)
    expect(cli.run('ls', '-R', 'files').lines(), [x for x in before if x not in gone], 'left')
    cli.run('sync', '--delete', 'tree', 'files/')
    expect(sorted(cli.run('ls', '-R', 'files').lines()), [f'd/{i}' for i in (0, 1, 2, 4)], 'all')


@test
def sync_keeps_what_it_cannot_see(cli):
    """A folder that can't be read is told; what is below it stays, all else goes on."""
    if os.geteuid() == 0:
        run_as = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    else:
        run_as = []
    for name in ('a/1', 'b/2', 'c/3'):
        cli.write('tree/' + name, name.encode())
    cli.run('sync', 'tree', 'files/p')
    cli.server.put('files', 'p/b/4', b'x')
    cli.server.put('files', 'p/d', b'x')
    os.chmod(cli.path('tree', 'b'), 0)
    os.chmod(cli.folder, 0o755)
    cli.write('tree/c/5', b'5')
    saved, cli.binary = cli.binary, [*run_as, *cli.binary]
    try:
        done = cli.run('sync', '--delete', 'tree', 'files/p', status=1)
    finally:
        cli.binary = saved
        os.chmod(cli.path('tree', 'b'), 0o755)
    holds(done.err, 'failed: b: cannot open the directory: Permission denied')
    holds(done.err, 'kept, for nobody can tell')
    expect(cli.run('ls', '-R', 'files').lines(), ['p/a/1', 'p/b/2', 'p/b/4', 'p/c/3', 'p/c/5'], 'left')


# ---- kills ----

def kill_while(cli, process, counts):
    """Kills and restarts the server when that many lines have come out of the process."""
    lines = 0
    counts = list(counts)
    for _ in process.stdout:
        lines += 1
        if counts and lines >= counts[0]:
            counts.pop(0)
            cli.server.kill()
            time.sleep(0.2)
            cli.server.start(wait=False)
    process.wait()
    expect(counts, [], 'kills that were not made')
    return lines


@test
def put_survives_kills(cli):
    root = make_many(cli, 1200)
    wanted = files_below(root)
    with open(cli.path('errors'), 'wb') as errors:
        process = cli.start('put', '-r', root, 'files/k', '--json', stderr=errors)
        lines = kill_while(cli, process, (200, 700))
    with open(cli.path('errors'), encoding='utf-8') as errors:
        text = errors.read()
    expect(process.returncode, 0, text)
    expect(lines, len(wanted), 'lines')
    holds(text, 'trying again for up to 1 min 0 s')
    cli.server.wait_ready()
    cli.run('get', '-r', 'files/k', 'back')
    expect(files_below(cli.path('back')), wanted, 'what came back')


@test
def get_and_rm_survive_kills(cli):
    root = make_many(cli, 1200)
    cli.run('put', '-r', root, 'files/k')
    with open(cli.path('errors'), 'wb') as errors:
        process = cli.start('get', '-r', 'files/k', 'back', '--json', stderr=errors)
        kill_while(cli, process, (300, 800))
    expect(process.returncode, 0, 'get')
    expect(files_below(cli.path('back')), files_below(root), 'what came back')
    process = cli.start('rm', '-r', 'files/k', '--json', '-q')
    kill_while(cli, process, (300, 800))
    expect(process.returncode, 0, process.stderr.read())
    cli.server.wait_ready()
    expect(cli.run('ls', '-R', 'files').lines(), [], 'what is left')


@test
def a_server_that_stays_away(cli):
    """The run ends once the time for retries is over, with "worth retrying"."""
    root = make_many(cli, 800)
    process = cli.start('put', '-r', root, 'files/k', '--json', '--retry-for', '4s')
    for _ in range(50):
        process.stdout.readline()
    cli.server.kill()
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    expect(process.returncode, 5, err)
    holds(err.decode(), 'cannot connect to')
    holds(err.decode(), 'ended before all was done')
    if time.monotonic() - begin > 30:  # of the minute that is preset
        raise AssertionError('it took too long')


def temporary(folder):
    """Names of the files there that have no name of their own yet."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if name.startswith('.holdfast-')]


@bare
def interrupted(cli):
    """Ctrl-C in the middle of files: 130, and nothing half is left."""
    body = content(3 * MIB)
    with Liar(cli, slow=True) as liar:
        liar.bodies = {f'd/{i}': body for i in range(20)}
        process = cli.start('get', '-r', 'files/d', 'target')
        end = time.monotonic() + 60
        while time.monotonic() < end and not temporary(cli.path('target')):
            time.sleep(0.02)
        if not temporary(cli.path('target')):
            raise AssertionError('nothing was under way')
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    expect(process.returncode, 130, err)
    holds(err.decode(), 'stopped')
    expect(temporary(cli.path('target')), [], 'left over')
    for name, data in files_below(cli.path('target')).items():
        expect(data, body, name)


# ---- answers ----

@test
def exit_codes(cli):
    path = cli.write('one', b'x')
    os.mkdir(cli.path('empty'))
    usage = [[], ['put'], ['put', path], ['put', path, 'files/a', 'b'], ['put', '--nonsense'],
             ['put', '-x', path, 'files/a'], ['put', path, '/a'], ['put', '.', 'files/a'],
             ['put', '-r', path, 'files/a'], ['get', 'files', 'x'], ['get', '-r', 'files', '-'],
             ['ls', '--connections', '0', 'files'], ['ls', '--json=1', 'files'],
             ['put', path, 'files/a', '--connections', '65'], ['put', '--retry-for', 'soon', path, 'f'],
             ['rm', 'files'], ['rm', '-r', 'files'], ['bucket', 'paint', 'x'], ['bucket', 'create'],
             ['bucket', 'create', 'X'], ['admin', 'nothing'], ['nothing'],
             ['ls', 'files', '--url', 'ftp://x'], ['ls', 'files', '--key', 'a b']]
    for args in usage:
        done = cli.run(*args, status=2)
        if not done.err:
            raise AssertionError(f'{args}: nothing is said')
    for args in (['get', 'files/none', 'x'], ['stat', 'files/none'], ['rm', 'files/none'],
                 ['rm', '-r', 'files/none'], ['get', '-r', 'files/none', 'x'], ['ls', 'none-such'],
                 ['ls', 'files/none'], ['put', path, 'none-such/a'], ['put', 'absent', 'files/a'],
                 ['bucket', 'remove', 'none-such'], ['put', '-r', 'home-less', 'files']):
        done = cli.run(*args, status=3)
        expect(len(done.err.splitlines()), 1, f'{args}: {done.err}')
    cli.run('put', '-r', 'empty', 'files/a')
    cli.run('put', path, 'files/a')
    cli.run('bucket', 'remove', 'files', status=4)
    cli.env['HOLDFAST_KEY'] = 'HF00000000000000000000.wrong'
    for args in (['ls', 'files'], ['put', path, 'files/a'], ['admin', 'status']):
        cli.run(*args, status=4)
    # A wrong key ends a run at once: it is said once and not for each file.
    make_many(cli, 60)
    done = cli.run('put', '-r', 'many', 'files/m', '--connections', '1', status=4)
    expect(len(done.err.splitlines()), 1, done.err)
    del cli.env['HOLDFAST_KEY']
    holds(cli.run('ls', 'files', status=4).err, 'HOLDFAST_KEY')


@bare
def no_server(cli):
    url = f'http://127.0.0.1:{free_port()}'
    cli.env['HOLDFAST_URL'] = url
    path = cli.write('one', b'x')
    for args in (['ls', 'files'], ['put', path, 'files/a'], ['get', 'files/a', 'x'], ['rm', 'files/a'],
                 ['admin', 'status'], ['put', '-r', '.', 'files/a'], ['bucket', 'list']):
        done = cli.run(*args, status=5)
        holds(done.err, f'cannot connect to {url}: Connection refused; is the server running? '
                        '`holdfast serve`')
        if done.seconds > 30:  # of the minute for which others are waited for
            raise AssertionError(f'{args} took {done.seconds} s')
    # Asked to, it waits for one that was never there.
    done = cli.run('ls', 'files', '--retry-for', '1s', status=5)
    if not 0.9 < done.seconds < 30:
        raise AssertionError(f'--retry-for 1s took {done.seconds} s')


@test
def json_and_stat(cli):
    path = cli.write('one', b'hello')
    digest = hashlib.sha256(b'hello').hexdigest()
    put = cli.run('put', path, 'files/ä b', '--json').objects()
    expect([(x['key'], x['size'], x['sha256']) for x in put], [('ä b', 5, digest)], 'put')
    stat = cli.run('stat', 'files/ä b', '--json').objects()
    expect(stat, put, 'stat')
    expect(cli.run('ls', 'files', '--json').objects(), put, 'ls')
    text = cli.run('stat', 'files/ä b').out
    for part in (digest, put[0]['id'], 'size          5 (5 B)', 'on disk in 1 of 1 copy'):
        holds(text, part)
    got = cli.run('get', 'files/ä b', 'x', '--json').objects()
    expect([(x['key'], x['sha256']) for x in got], [('ä b', digest)], 'get')
    # A key that another begins with is not it.
    cli.run('stat', 'files/ä', status=3)
    expect(cli.run('rm', 'files/ä b', '--json').objects(),
           [{'bucket': 'files', 'key': 'ä b', 'deleted': True}], 'rm')
    lost = cli.run('rm', 'files/ä b', '--json', status=3).objects()
    expect(lost[0]['error']['code'], 'not-found', 'rm again')


@test
def listings(cli):
    for key, size in (('a', 1), ('b/c', 20), ('b/d/e', 300), ('bb', 4000), ('z\x1b[31m', 1)):
        cli.server.put('files', key, b'x' * size)
    expect(cli.run('ls', 'files').lines(), ['a', 'b/', 'bb', 'z\\x1b[31m'], 'one level')
    expect(cli.run('ls', '-R', 'files').lines(), ['a', 'b/c', 'b/d/e', 'bb', 'z\\x1b[31m'], 'all')
    expect(cli.run('ls', 'files/b/').lines(), ['b/c', 'b/d/'], 'a folder')
    expect(cli.run('ls', 'files/b').lines(), ['b/', 'bb'], 'a prefix')
    expect(cli.run('ls', 'files/b/d').lines(), ['b/d/e'], 'a folder without its /')
    lines = cli.run('ls', '-l', 'files').lines()
    expect([x.split()[0] for x in lines], ['1', '-', '4000', '1'], 'sizes')
    expect(len({x.index(x.split(maxsplit=2)[2]) for x in lines}), 1, 'columns')
    json_lines = cli.run('ls', 'files', '--json').objects()
    expect([x.get('key', x.get('prefix')) for x in json_lines], ['a', 'b/', 'bb', 'z\x1b[31m'], 'json')
    cli.run('bucket', 'create', 'empty')
    expect(cli.run('ls', 'empty').out, '', 'an empty bucket')


@test
def listings_in_other_orders(cli):
    """-t, -S and -r as ls has them; folders have neither time nor size and go last; -R goes with all."""
    for key, size in (('b', 30), ('a', 10), ('d/x', 7), ('c', 20)):
        cli.server.put('files', key, b'x' * size)
        time.sleep(0.01)  # times have milliseconds
    for flags, wanted in ((('-S',), 'b c a d/'), (('-Sr',), 'd/ a c b'), (('-t',), 'c a b d/'),
                          (('-t', '--reverse'), 'd/ b a c'), (('-r',), 'd/ c b a'),
                          (('-RS',), 'b c a d/x'), (('-Rt',), 'c d/x a b'), (('--time', '-l'), None)):
        lines = cli.run('ls', *flags, 'files').lines()
        if wanted is not None:
            expect(lines, wanted.split(), flags)
    expect([x['key'] for x in cli.run('ls', '-RS', '--json', 'files').objects()],
           ['b', 'c', 'a', 'd/x'], 'json')
    for i in range(1100):
        cli.server.put('files', f'many/{i}', b'x' * (i % 50))
    sizes = [int(x.split()[0]) for x in cli.run('ls', '-lSr', 'files/many/').lines()]
    expect((len(sizes), sizes), (1100, sorted(sizes)), 'over pages')


@test
def listings_for_people(cli):
    """ls without a bucket, sizes as people read them, cat."""
    body = content(1536 << 10)
    path = cli.write('big', body)
    cli.run('put', path, 'files/big')
    cli.run('bucket', 'create', 'other')
    expect([line.split()[-1] for line in cli.run('ls').lines()], ['files', 'other'])
    expect([line['name'] for line in cli.run('ls', '--json').objects()], ['files', 'other'])
    holds(cli.run('ls', '-l', 'files').out, str(len(body)))
    for flags in (('-lh',), ('-l', '--human'), ('-h', '-l')):
        holds(cli.run('ls', *flags, 'files').out, ' 1.5 MiB ')
    holds(cli.run('ls', '--help').out, '-h, --human')
    expect(cli.run('cat', 'files/big').raw == body, True, 'cat')
    expect(cli.run('cat', 'files/absent', status=3).out, '')
    cli.run('cat', status=2)
    cli.run('cat', 'files', status=2)


@test
def buckets(cli):
    holds(cli.run('bucket', 'create', 'photos').err, 'created')
    holds(cli.run('bucket', 'create', 'photos').err, 'already')
    expect([x.split()[1] for x in cli.run('bucket', 'list').lines()], ['files', 'photos'], 'list')
    names = [x['name'] for x in cli.run('bucket', 'list', '--json').objects()]
    expect(names, ['files', 'photos'], 'json')
    cli.server.put('photos', 'x', b'x')
    cli.run('bucket', 'remove', 'photos', status=4)
    cli.run('rm', 'photos/x')
    cli.run('bucket', 'remove', 'photos')
    expect(len(cli.run('bucket', 'list').lines()), 1, 'list')


@test
def quotas(cli):
    """bucket set: what is named is set, the rest stays; none takes a quota away."""
    cli.run('bucket', 'create', 'box')

    def now():
        bucket = cli.server.request('GET', '/v1/buckets/box').json()
        return bucket['quota_bytes'], bucket['quota_files']

    for args, said, wanted in ((('--quota-bytes', '10GiB'), '10.0 GiB', (10 << 30, None)),
                               (('--quota-files=7',), '7 files', (10 << 30, 7)),
                               (('--quota-bytes', '300'), '300 B', (300, 7)),
                               (('--quota-files', 'none'), 'any number of files', (300, None)),
                               (('--quota-bytes', 'none', '--quota-files', '5'), 'any size', (None, 5))):
        holds(cli.run('bucket', 'set', 'box', *args).err, said)
        expect(now(), wanted, args)
    answer = cli.run('bucket', 'set', 'box', '--quota-files', '6', '--json').objects()[0]
    expect((answer['name'], answer['quota_files']), ('box', 6), 'json')
    expect(cli.run('bucket', 'set', 'box', '--quota-files', '5', '-q').err, '', 'quiet')
    for args in (('set', 'box'), ('set', '--quota-files', '1'), ('set', 'box', '--quota-files', '1KiB'),
                 ('set', 'box', '--quota-files', '0'), ('set', 'box', '--quota-bytes', '1.5GiB'),
                 ('set', 'box', '--quota-bytes', '0'), ('set', 'box', '--quota-bytes', '9007199254740992'),
                 ('create', 'other', '--quota-files', '1'), ('list', '--quota-files', '1')):
        holds(cli.run('bucket', *args, status=2).err, 'holdfast bucket: ')
    cli.run('bucket', 'set', 'none-such', '--quota-files', '1', status=3)
    expect(cli.server.request('GET', '/v1/buckets/none-such').status, 404, 'is not made')
    expect(now(), (None, 5), 'refused ones change nothing')


@test
def admin(cli):
    cli.server.put('files', 'x', b'x')
    lines = cli.run('admin', 'status').lines()
    if not lines[0].startswith('ok'):
        raise AssertionError(lines[0])
    expect(cli.run('admin', 'status', '--json').objects()[0]['pid'], cli.server.process.pid, 'pid')
    wal = cli.run('admin', 'wal').out
    for part in ('segments', 'durable up to', 'attested up to', 'appended'):
        holds(wal, part)
    expect(cli.run('admin', 'wal', '--json').objects()[0]['failed'], False, 'wal')
    holds(cli.run('admin', 'shards').out, 'primary')


@test
def admin_scrub(cli):
    def state():
        return cli.run('admin', 'scrub', '--json').objects()[0]['state']
    cli.server.put('files', 'x', b'x')
    holds(cli.run('admin', 'scrub', 'pause').out, 'paused')
    expect(state(), 'paused', 'state')
    done = cli.run('admin', 'scrub', 'resume', '--json').objects()[0]
    expect(done['state'] != 'paused', True, 'resumed')
    cli.run('admin', 'scrub', 'pause')
    expect(cli.run('admin', 'scrub', 'start', '--json').objects()[0]['damaged'], 0, 'started')
    expect(state() != 'paused', True, 'started')
    for args in (['scrub', 'stop'], ['status', 'start'], ['scrub', 'start', 'pause']):
        cli.run('admin', *args, status=2)


@test
def settings(cli):
    """Flags go before the environment, that before the file."""
    key = cli.env.pop('HOLDFAST_KEY')
    url = cli.env.pop('HOLDFAST_URL')
    config = cli.write('home/.config/holdfast/config.yaml', f'url: {url}/\nkey: {key}\n'.encode())
    cli.run('ls', 'files')
    cli.env['HOLDFAST_URL'] = f'http://127.0.0.1:{free_port()}'
    cli.run('ls', 'files', status=5)
    cli.run('ls', 'files', '--url', url)
    del cli.env['HOLDFAST_URL']
    cli.env['HOLDFAST_KEY'] = 'HF00000000000000000000.wrong'
    cli.run('ls', 'files', status=4)
    cli.run('ls', 'files', '--key', key)
    del cli.env['HOLDFAST_KEY']
    cli.env['HOLDFAST_KEY_FILE'] = os.path.join(cli.server.data, 'root.key')
    cli.write('home/.config/holdfast/config.yaml', f'url: "{url}"\n'.encode())
    cli.run('ls', 'files')
    cli.write('home/.config/holdfast/config.yaml', b'url: [1, 2\n')
    holds(cli.run('ls', 'files', status=2).err, config)


def events_named(server, name):
    return [event for event in server.events() if event['event'] == name]


@bare
def server_settings(cli):
    """A file of settings: printed, checked, served with, and read again on SIGHUP."""
    example = cli.run('config').out
    path = cli.write('example.yaml', example.encode())
    holds(cli.run('config', 'check', path).out, 'good')
    for text, said in (('threads: 99\n', ':1: threads: "99" is not 0..64'),
                       ('\nthreds: 1\n', ':2: there is no setting "threds"; do you mean threads?'),
                       ('a: [\n', path + ':')):
        cli.write('example.yaml', text.encode())
        holds(cli.run('config', 'check', path, status=2).err, said)
        holds(cli.run('serve', '--config', path, '--data', 'never', status=2).err, said)
    holds(cli.run('config', 'check', 'absent.yaml', status=2).err, 'absent.yaml')
    holds(cli.run('config', 'nonsense', status=2).err, 'nonsense')

    cli.write('example.yaml', b'log-level: warn\nsegment-size: 64KiB\n')
    server = Server(cli.binary, os.path.join(cli.folder, 'configured'),
                    os.path.join(cli.folder, 'configured.log'), ['--config', path])
    try:
        server.start()
        expect(events_named(server, 'node.recovered'), [], 'below the level')
        cli.write('example.yaml', b'log-level: info\nsegment-size: 128KiB\naccess-log: true\n')
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while not events_named(server, 'config.reloaded') and time.monotonic() < end:
            time.sleep(0.02)
        expect([e['name'] for e in events_named(server, 'config.needs_restart')], ['segment-size'])
        server.request('GET', '/healthz')
        server.request('GET', '/v1/buckets')
        expect(len(events_named(server, 'http.request')) >= 1, True, 'access log')
        cli.write('example.yaml', b'log-level: loud\n')
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while not events_named(server, 'config.rejected') and time.monotonic() < end:
            time.sleep(0.02)
        holds(events_named(server, 'config.rejected')[0]['error'], ':1: log-level: "loud"')
        expect(server.request('GET', '/v1/buckets').status, 200)
        expect(server.stop(), 0)
    finally:
        server.end()


@bare
def help_texts(cli):
    names = ('put', 'get', 'cat', 'ls', 'stat', 'rm', 'bucket', 'admin')
    whole = cli.run('help').out
    for name in names:
        holds(whole, f'  {name} ')
        text = cli.run(name, '--help').out
        short = '    --help' if name == 'ls' else '-h, --help'
        for part in (f'usage: holdfast {name} ', '--url URL', 'example:', short):
            holds(text, part)
        expect(cli.run('help', name).out, text, name)
        if max(len(line) for line in text.splitlines()) > 100:
            raise AssertionError(f'{name}: a line is too long')
    holds(cli.run('version').out, 'holdfast ')


@test
def progress_on_a_terminal(cli):
    """A line that moves, on a terminal only, and none with --quiet. The server is held for a second,
    for a run that is over at once has nothing to show."""
    make_many(cli, 500)
    for quiet in (False, True):
        outer, inner = pty.openpty()
        server = cli.server.process
        server.send_signal(signal.SIGSTOP)
        threading.Timer(1.0, server.send_signal, (signal.SIGCONT,)).start()
        process = cli.start('put', '-r', 'many', 'files/p', *(['-q'] if quiet else []), stderr=inner)
        os.close(inner)
        text = b''
        while True:
            try:
                piece = os.read(outer, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.close(outer)
        expect(process.wait(), 0, text)
        expect(b'\r' in text.replace(b'\r\n', b''), not quiet, text)
        expect(b'/500 files' in text, not quiet, text)


# ---- a server that lies ----

@bare
def other_bytes_are_found(cli):
    """A digest that does not fit is damage, both ways; nothing wrong is left here."""
    small = cli.write('small', b'hello')
    large = cli.write('large', content(2 * MIB))
    with Liar(cli) as liar:
        liar.wrong_put = True
        for path in (small, large):
            done = cli.run('put', path, 'files/x', status=6)
            holds(done.err, 'other bytes')
        expect(len(liar.requests), 6, 'three attempts each')
        liar.bodies['x'] = b'hello'
        liar.wrong_get = True
        holds(cli.run('get', 'files/x', 'back', status=6).err, 'SHA-256')
        cli.run('get', '-r', 'files', 'tree', status=6)
        expect(sorted(os.listdir(cli.folder)), ['large', 'small', 'tree'], 'left')
        expect(os.listdir(cli.path('tree')), [], 'left in the tree')
        cli.run('get', 'files/x', '-', status=1)


@bare
def busy_and_broken(cli):
    """503 and broken answers are tried again; how often is bounded."""
    path = cli.write('one', b'hello')
    with Liar(cli) as liar:
        liar.busy = 3
        cli.run('put', path, 'files/x')
        expect(len(liar.requests), 4, 'attempts')
        liar.busy = 2
        cli.run('ls', 'files', status=0)
        liar.bodies['x'] = content(300000)
        liar.cut = 4
        cli.run('get', 'files/x', 'back')
        with open(cli.path('back'), 'rb') as file:
            expect(file.read(), content(300000), 'content')
        liar.requests.clear()
        liar.cut = 1 << 30
        cli.run('get', 'files/x', 'never', '--retry-for', '1s', status=5)
        if not 20 <= len(liar.requests) <= 40:
            raise AssertionError(f'{len(liar.requests)} attempts')
        liar.cut = 0
        liar.busy = 1 << 30
        done = cli.run('put', path, 'files/x', '--retry-for', '500ms', status=5)
        holds(done.err, 'wait')


@bare
def listings_that_lie(cli):
    """Keys outside of the prefix end the run; nothing is written."""
    cli.write('mine/zz', b'x')
    with Liar(cli) as liar:
        for keys in (['elsewhere'], ['../../x'], ['p'], ['q/x']):
            liar.keys = keys
            holds(cli.run('get', '-r', 'files/p', 'target', status=5).err, 'outside of the prefix')
            holds(cli.run('rm', '-r', 'files/p', status=5).err, 'outside of the prefix')
            holds(cli.run('sync', '--delete', 'mine', 'files/p', status=5).err,
                  'outside of the prefix')
        liar.keys = ['p/zz', 'p/a']
        holds(cli.run('sync', '--delete', 'mine', 'files/p', status=5).err, 'not in order')
        expect([x for x in liar.requests if x[0] == 'DELETE'], [], 'deletes')
    expect(os.listdir(cli.path('target')), [], 'left')


@bare
def deletes_name_the_version(cli):
    """What is listed without an ETag that If-Match can name is kept: a later version may be there."""
    cli.write('mine/zz', b'x')
    with Liar(cli) as liar:
        liar.keys = ['p/a', 'p/b', 'p/c', 'p/d', 'p/e']
        liar.etags = {'p/b': None, 'p/c': 'x' * 300, 'p/d': '1"\r\nX: y', 'p/e': ''}
        would_be = cli.run('sync', '--delete', '--dry-run', '--json', 'mine', 'files/p', status=1)
        expect([x['key'] for x in would_be.objects() if x.get('would') == 'delete'], ['p/a'], 'a dry run')
        expect([x for x in liar.requests if x[0] != 'GET'], [], 'sent in a dry run')
        done = cli.run('sync', '--delete', 'mine', 'files/p', status=1)
        expect(liar.matches, {'p/a': '"1"'}, 'deletes')
        for key in liar.etags:
            holds(done.err, f'failed: {key}: kept, for the listing')


@bare
def a_file_that_comes_back_is_kept(cli):
    """Before each attempt to delete it there, it is looked for here."""
    cli.write('mine/zz', b'x')
    with Liar(cli) as liar:
        liar.keys = ['p/a', 'p/zz']

        def come_back(method, _):
            if method == 'DELETE':
                cli.write('mine/a', b'x')
                liar.busy = 1
        liar.before = come_back
        done = cli.run('sync', '--delete', 'mine', 'files/p')
        expect([x for x in liar.requests if x[0] == 'DELETE'], [('DELETE', 'p/a')], 'deletes')
        holds(done.err, 'skipped: p/a: it came back here')


@bare
def broken_answers_about_buckets(cli):
    """The server's mistake, whatever the command wanted."""
    with Liar(cli) as liar:
        good, no_json, no_bucket = b'{"name": "b"}', b'nonsense', b'{"name": "b", "quota_files": "x"}'
        for was, now, status in ((good, good, 0), (no_json, good, 5), (good, no_json, 5),
                                 (good, no_bucket, 5)):
            liar.given = {'GET /v1/buckets/b': (200, was), 'PUT /v1/buckets/b': (200, now)}
            done = cli.run('bucket', 'set', 'b', '--quota-files', '1', status=status)
            holds(done.err, "b takes " if status == 0 else "the server's answer")
        liar.given = {'GET /v1/buckets': (200, b'{"buckets": [{"name": 1}]}')}
        holds(cli.run('bucket', 'list', status=5).err, "the server's answer")


def bench_of(cli, kinds, *args):
    """Its report of a run in which requests of each kind were made: on a slow machine a second has few,
    and which is drawn by lot."""
    for seconds in (1, 5, 30):
        report = cli.run('bench', '--seconds', str(seconds), '--json', *args).objects()[0]
        if all(report['operations'].get(kind, {'requests': 0})['requests'] > 0 for kind in kinds):
            break
    return report


@test
def bench(cli):
    """Figures of each kind of request; what it stored is gone at the end, also after Ctrl-C."""
    kinds = ('put', 'get', 'list', 'delete')
    report = bench_of(cli, kinds, '--size', '70KiB', '--connections', '4', '--mix',
                      'put=2,get=3,list=1,delete=2')
    expect((report['door'], report['size'], report['connections'], report['all_deleted']),
           ('rest', 70 << 10, 4, True))
    for name in kinds:
        figures = report['operations'][name]
        expect((figures['requests'] > 0, figures['errors']), (True, 0), name)
        expect(0 < figures['p50_ms'] <= figures['p99_ms'] <= figures['max_ms'], True, figures)
    expect(report['total']['requests'],
           sum(f['requests'] for f in report['operations'].values()))
    expect(cli.run('ls', '-R', 'files/').out, '')
    text = cli.run('bench', '--seconds', '1', '--mix', 'get=1', '--size', '0').out
    holds(text, 'p99 ms')
    expect('put' in text, False, text)
    process = cli.start('bench', '--seconds', '600')
    end = time.monotonic() + 60
    while cli.run('ls', '-R', 'files/').out == '' and time.monotonic() < end:
        pass
    process.send_signal(signal.SIGINT)
    expect(process.wait(60), 130)
    expect(cli.run('ls', '-R', 'files/').out, '')
    holds(cli.run('bench', 'no-such-bucket', status=3).err, 'there is no bucket "no-such-bucket"')
    for args in (('--mix', 'post=1'), ('--seconds', '0'), ('--size', 'much'), ('a', 'b')):
        cli.run('bench', *args, status=2)


@bare
def bench_of_s3(cli):
    """Any S3 server: ours by its own door; each kind of request, nothing left, refusals told."""
    server = Server(cli.binary, cli.path('d'), cli.path('log'))
    server.s3_address = f'127.0.0.1:{free_port()}'
    server.start()
    try:
        url = f'http://{server.s3_address}'
        cli.env['HOLDFAST_KEY'] = server.key()
        kinds = ('put', 'get', 'list', 'delete')
        report = bench_of(cli, kinds, '--door', 's3', '--url', url, '--size', '1100KiB', '--connections', '4',
                          '--mix', 'put=2,get=3,list=1,delete=2', 'files')
        expect((report['door'], report['url'], report['all_deleted']), ('s3', url, True))
        for name in kinds:
            figures = report['operations'][name]
            expect((figures['requests'] > 0, figures['errors']), (True, 0), name)
        kinds = ('multipart', 'get')
        parts = bench_of(cli, kinds, '--door', 's3', '--url', url, '--size', '11MiB', '--part-size', '5MiB',
                         '--connections', '2', '--mix', 'multipart=1,get=1', 'files')
        for name in kinds:
            figures = parts['operations'][name]
            expect((figures['requests'] > 0, figures['errors'], figures['bytes_per_second'] > 0), (True, 0, True), name)
        expect(parts['all_deleted'], True)
        listed = cli.run('ls', '-R', 'files/', '--url', f'http://{server.address}').out
        expect(listed, '', 'what is left')
        holds(cli.run('bench', '--door', 's3', '--url', url, 'absent', status=None).err, 'NoSuchBucket')
        key_id = server.key().split('.')[0]
        done = cli.run('bench', '--door', 's3', '--url', url, '--key', f'{key_id}.wrong', status=4)
        holds(done.err, 'SignatureDoesNotMatch')
        for args in (('--door', 'ftp'), ('--region', 'x'), ('--mix', 'multipart=1'), ('--part-size', '4MiB'), ('--door', 's3', '--url', url + '/path'),
                     ('--door', 's3', '--key', 'nonsense')):
            cli.run('bench', *args, status=2)
        expect(server.stop(), 0)
    finally:
        server.end()


for more in ('cli_resume', 'cli_table', 'cli_words'):  # their tests go with these
    importlib.import_module(more)

if __name__ == '__main__':
    sys.exit(main('cli', sys.argv[1:]))
