"""Tests of the command line, part of cli.py: a large file whose transfer was cut goes on where it
was. All bytes pass a gate that counts them, stops them at a given place, and breaks connections.
Python's standard library only."""
import hashlib
import os
import signal
import socket
import threading
import time

from cli_kit import MIB, Cli, content, expect, holds, test

LARGE = 128 * MIB  # of put: where pieces begin
PART = 16 * MIB    # of get


class Gate:
    """A TCP proxy before the server of a Cli, with an end to what it lets through: `limit` bytes in
    the direction `up` (to the server) or down. Sets the client's server."""

    def __init__(self, cli, up, limit=None):
        self.cli = cli
        self.target = ('127.0.0.1', cli.server.port)
        self.up = up
        self.limit = limit      # None: no end
        self.passed = 0         # bytes in that direction, through all connections
        self.reached = threading.Event()
        self.wake = threading.Condition()
        self.open = []
        self.listener = socket.create_server(('127.0.0.1', 0))
        cli.env['HOLDFAST_URL'] = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self.wake:
                self.open.append(pair)
            for source, sink, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.pump, args=(source, sink, up, pair),
                                 daemon=True).start()

    def take(self, wanted):
        """How many of so many bytes may pass now; waits at the end."""
        with self.wake:
            while self.limit is not None and self.passed >= self.limit:
                self.reached.set()
                self.wake.wait()
            room = wanted if self.limit is None else min(wanted, self.limit - self.passed)
            return room

    def pump(self, source, sink, up, pair):
        try:
            while True:
                room = self.take(65536) if up == self.up else 65536
                data = source.recv(room)
                if not data:
                    break
                sink.sendall(data)
                if up == self.up:
                    with self.wake:
                        self.passed += len(data)
        except OSError:
            pass
        for side in pair:
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def move(self, limit):
        """Another end."""
        with self.wake:
            self.limit = limit
            self.reached.clear()
            self.wake.notify_all()

    def wait(self):
        if not self.reached.wait(120):
            raise AssertionError(f'only {self.passed} bytes came')

    def cut(self):
        """Breaks all connections, as a network does."""
        with self.wake:
            pairs, self.open = self.open, []
        for pair in pairs:
            for side in pair:
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.move(None)
        self.cut()
        self.listener.close()
        self.cli.env['HOLDFAST_URL'] = f'http://{self.cli.server.address}'


def make_large(cli, size, name='large'):
    """A file of so many bytes; its SHA-256 in hex. The first byte of each MiB tells which it is."""
    body = bytearray(content(MIB))
    digest = hashlib.sha256()
    with open(cli.path(name), 'wb') as file:
        for i in range(-(-size // MIB)):
            body[:4] = i.to_bytes(4, 'big')
            piece = body[:min(MIB, size - i * MIB)]
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def sent_again(passed, size, breaks=1):
    """Share of a file that passed more than once, for each break; heads of requests count with it."""
    share = (passed - size) / size / breaks
    print(f'  moved again for each break, with all heads: {100 * share:.2f} %')
    if share >= 0.01:
        raise AssertionError(f'{passed} bytes for a file of {size} with {breaks} breaks')
    if share < 0:
        raise AssertionError(f'only {passed} of {size} bytes passed the gate')


def state_files(cli):
    folder = cli.path('home', '.local', 'state', 'holdfast', 'uploads')
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def stored_digest(cli, key):
    return cli.run('stat', f'files/{key}', '--json').objects()[0]['sha256']


@test
def put_goes_on_in_a_file(cli):
    """Ctrl-C, kill -9 of client and server, a lost connection: less than 1 % is sent again."""
    size = LARGE + 12345
    digest = make_large(cli, size)
    with Gate(cli, up=True, limit=20 * MIB + 300000) as gate:
        process = cli.start('put', 'large', 'files/large')
        gate.wait()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        expect(process.returncode, 130, err)
        holds(err.decode(), 'of 1 file that is not done are kept; the same command goes on there')
        expect(cli.server.get('files', 'large').status, 404, 'nothing is visible')
        expect(len(state_files(cli)), 1, 'uploads remembered')
        gate.cut()
        gate.move(50 * MIB + 300000)
        process = cli.start('put', 'large', 'files/large')
        gate.wait()
        process.kill()
        process.communicate()
        gate.cut()
        gate.move(80 * MIB + 300000)
        process = cli.start('put', 'large', 'files/large', '--json')
        gate.wait()
        gate.cut()                       # the same process goes on
        gate.move(110 * MIB + 300000)
        gate.wait()
        cli.server.kill()
        gate.move(None)
        time.sleep(0.2)
        cli.server.start(wait=False)
        out, err = process.communicate(timeout=120)
        expect(process.returncode, 0, err)
        sent_again(gate.passed, size, breaks=4)
    holds(err.decode(), 'trying again for up to')
    holds(err.decode(), 'of it by an earlier run')
    holds(out.decode(), '"resumed":')
    expect(stored_digest(cli, 'large'), digest, 'stored')
    expect(state_files(cli), [], 'uploads remembered')
    stat = cli.run('stat', 'files/large', '--json').objects()[0]
    expect(stat['meta']['mtime'].split('.')[0], str(int(os.stat(cli.path('large')).st_mtime)), 'mtime')


def digest_of(path):
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


@test
def put_never_goes_on_with_another_file(cli):
    """What changed in the meantime is sent from its beginning, though size and time are as before;
    so is what the server has forgotten."""
    path = cli.path('large')
    make_large(cli, LARGE)
    before = os.stat(path)
    with Gate(cli, up=True) as gate:
        def stop_in_the_middle():
            """What the state file says of the upload, and its path."""
            gate.move(gate.passed + 10 * MIB)
            process = cli.start('put', 'large', 'files/large')
            gate.wait()
            process.kill()
            process.communicate()
            gate.cut()
            gate.move(None)
            expect(len(state_files(cli)), 1, 'uploads remembered')
            name = cli.path('home', '.local', 'state', 'holdfast', 'uploads', state_files(cli)[0])
            with open(name, encoding='ascii') as file:
                return name, file.read().splitlines()[1]

        stop_in_the_middle()
        with open(path, 'r+b') as file:
            file.seek(5)
            file.write(b'changed')
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        name, upload = stop_in_the_middle()
        # The state that is kept lies about the file: the server refuses what would come of it.
        with open(path, 'r+b') as file:
            file.write(b'once more')
        now = os.stat(path)
        with open(name, 'w', encoding='ascii') as file:
            file.write(f'device={now.st_dev} inode={now.st_ino} size={now.st_size} '
                       f'mtime={now.st_mtime_ns} ctime={now.st_ctime_ns}\n{upload}\n')
        done = cli.run('put', 'large', 'files/large', timeout=200)
        expect('earlier run' in done.err, False, done.err)
        expect(stored_digest(cli, 'large'), digest_of(path), 'stored')
        expect(state_files(cli), [], 'uploads remembered')
        versions = cli.run('stat', 'files/large', '--json').objects()[0]
        expect(versions['created_at'], versions['updated_at'], 'no other was ever visible')
        # An upload that is no more there.
        name, upload = stop_in_the_middle()
        answer = cli.server.request('DELETE', upload, headers={'Tus-Resumable': '1.0.0'})
        expect(answer.status, 204, answer.body)
        done = cli.run('put', 'large', 'files/large', timeout=200)
        expect('earlier run' in done.err, False, done.err)
        expect(stored_digest(cli, 'large'), digest_of(path), 'stored')
        expect(state_files(cli), [], 'uploads remembered')


@test
def trees_go_on_in_a_file(cli):
    """put -r and get -r, beside small files; sync; no home to remember anything in."""
    os.makedirs(cli.path('tree', 'sub'))
    digest = make_large(cli, LARGE, 'tree/sub/large')
    for i in range(20):
        cli.write(f'tree/{i}', content(i * 1000, i))
    with Gate(cli, up=True, limit=60 * MIB) as gate:
        process = cli.start('put', '-r', 'tree', 'files/t')
        gate.wait()
        process.kill()
        process.communicate()
        gate.cut()
        gate.move(None)
        done = cli.run('sync', 'tree', 'files/t', timeout=120)
        holds(done.err, 'of it by an earlier run')
        sent_again(gate.passed, LARGE + sum(i * 1000 for i in range(20)))
    expect(stored_digest(cli, 't/sub/large'), digest, 'stored')
    with Gate(cli, up=False, limit=40 * MIB) as gate:
        process = cli.start('get', '-r', 'files/t', 'back')
        gate.wait()
        wait_for_bytes(cli.path('back', 'sub'), 30 * MIB)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        gate.move(None)
        holds(cli.run('get', '-r', 'files/t', 'back', timeout=120).err, 'of it by an earlier run')
    expect(sorted(os.listdir(cli.path('back', 'sub'))), ['large'], 'left over')
    expect(digest_of(cli.path('back', 'sub', 'large')), digest, 'fetched')
    del cli.env['HOME']
    cli.env['HOLDFAST_URL'] = f'http://{cli.server.address}'
    cli.run('put', 'tree/sub/large', 'files/homeless', timeout=120)
    expect(stored_digest(cli, 'homeless'), digest, 'without a home')


def part_of(folder):
    """(name, size) of the part of a file that lies there, or None."""
    names = [x for x in os.listdir(folder) if x.startswith('.holdfast-')] if os.path.isdir(folder) else []
    if not names:
        return None
    try:
        return names[0], os.stat(os.path.join(folder, names[0])).st_size
    except FileNotFoundError:
        return None


def wait_for_bytes(folder, size, seconds=120):
    """Until what has come is on this side's disk, so that no socket holds it back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        part = part_of(folder)
        if part is not None and part[1] >= size:
            return part
        time.sleep(0.01)
    raise AssertionError(f'no part of {size} bytes came: {part_of(folder)}')


@test
def get_goes_on_in_a_file(cli):
    """Ctrl-C, kill -9 of client and server, a lost connection: less than 1 % is fetched again."""
    size = LARGE + 4321
    digest = make_large(cli, size)
    cli.run('put', 'large', 'files/large', timeout=120)
    os.mkdir(cli.path('in'))
    with Gate(cli, up=False, limit=20 * MIB) as gate:
        process = cli.start('get', 'files/large', 'in/back')
        gate.wait()
        wait_for_bytes(cli.path('in'), 20 * MIB - 65536)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        expect(process.returncode, 130, err)
        holds(err.decode(), 'of 1 file that is not done are kept; the same command goes on there')
        gate.move(50 * MIB)
        process = cli.start('get', 'files/large', 'in/back')
        gate.wait()
        wait_for_bytes(cli.path('in'), 50 * MIB - 65536)
        process.kill()
        process.communicate()
        gate.move(80 * MIB)
        process = cli.start('get', 'files/large', 'in/back', '--json')
        gate.wait()
        wait_for_bytes(cli.path('in'), 80 * MIB - 65536)
        gate.cut()
        gate.move(110 * MIB)
        gate.wait()
        wait_for_bytes(cli.path('in'), 110 * MIB - 131072)
        cli.server.kill()
        gate.move(None)
        time.sleep(0.2)
        cli.server.start(wait=False)
        out, err = process.communicate(timeout=120)
        expect(process.returncode, 0, err)
        sent_again(gate.passed, size)
    holds(err.decode(), 'of it by an earlier run')
    holds(out.decode(), '"resumed":')
    expect(os.listdir(cli.path('in')), ['back'], 'left over')
    expect(digest_of(cli.path('in', 'back')), digest, 'fetched')
    # To a pipe the bytes go on within one run.
    cli.server.wait_ready()
    with Gate(cli, up=False, limit=30 * MIB) as gate:
        with open(cli.path('piped'), 'wb') as pipe:
            process = cli.start('cat', 'files/large', stdout=pipe)
            gate.wait()
            gate.cut()
            gate.move(None)
            _, err = process.communicate(timeout=120)
        expect(process.returncode, 0, err)
    expect(digest_of(cli.path('piped')), digest, 'piped')


@test
def get_never_goes_on_with_another_file(cli):
    """Another version there, other bytes in the part, a part that is whole."""
    size = PART + 99
    first = make_large(cli, size, 'one')
    cli.run('put', 'one', 'files/f')
    os.mkdir(cli.path('in'))

    gate = Gate(cli, up=False)

    def fetch(limit=None):
        """Fetches it, or is killed after so many bytes."""
        if limit is None:
            return cli.run('get', 'files/f', 'in/f').err
        gate.move(gate.passed + limit)
        process = cli.start('get', 'files/f', 'in/f')
        gate.wait()
        part = wait_for_bytes(cli.path('in'), limit - 65536)
        process.kill()
        process.communicate()
        gate.cut()
        gate.move(None)
        return part

    def got():
        expect(os.listdir(cli.path('in')), ['f'], 'left over')
        return digest_of(cli.path('in', 'f'))

    name, _ = fetch(8 * MIB)
    with open(cli.path('in', name), 'r+b') as file:
        file.seek(MIB)
        file.write(b'damaged')
    holds(fetch(), 'fetched 1 file')
    expect(got(), first, 'with other bytes in the part')
    fetch(8 * MIB)
    with open(cli.path('one'), 'r+b') as file:
        file.write(b'another version')
    second = digest_of(cli.path('one'))
    cli.run('put', 'one', 'files/f')
    expect('earlier run' in fetch(), False, 'another version')
    expect(got(), second, 'another version')
    # All of it came, but its name did not.
    name, _ = fetch(8 * MIB)
    with open(cli.path('one'), 'rb') as whole, open(cli.path('in', name), 'wb') as part:
        part.write(whole.read())
    os.unlink(cli.path('in', 'f'))
    holds(fetch(), '16.0 MiB of it by an earlier run')
    expect(got(), second, 'a whole part')
    with gate:
        pass


# ---- an answer that is lost ----

def until(found, seconds=120):
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            raise AssertionError('it was not done')
        time.sleep(0.02)


def with_lost_answer(cli, args, done, then):
    """Runs a command whose first answer never comes: when done() is true the change was made, then()
    does what somebody else does meanwhile, and the command asks again."""
    with Gate(cli, up=False, limit=0) as gate:
        process = cli.start(*args)
        until(done)
        then()
        gate.cut()
        gate.move(None)
        out, err = process.communicate(timeout=120)
    expect(process.returncode, 0, (args, out, err))


@test
def a_lost_answer_is_no_second_change(cli):
    """What was asked for again is not done again: what others did in between stays."""
    other = Cli(cli.binary, cli.folder, cli.server)
    theirs = cli.write('theirs', b'theirs')
    cli.run('bucket', 'create', 'kept')
    cli.run('bucket', 'set', 'kept', '--versions', 'on')

    def versions():
        return [x['size'] for x in other.run('ls', '--json', '--versions', 'kept').objects()]

    for size in (5, 3 * MIB):
        key = f'kept/{size}'
        mine = cli.write(f'mine-{size}', content(size))
        with_lost_answer(cli, ('put', mine, key), lambda: other.run('stat', key, status=None).status == 0,
                         lambda: other.run('put', theirs, key))
        expect(other.run('cat', key).raw, b'theirs', 'the later one')
        with_lost_answer(cli, ('rm', key), lambda: other.run('stat', key, status=None).status == 3,
                         lambda: other.run('put', theirs, key))
        expect(other.run('cat', key).raw, b'theirs', 'the later one')
    # Newest first; the markers of the deletes have no bytes.
    expect(versions(), [len(b'theirs'), 0, len(b'theirs'), 3 * MIB, len(b'theirs'), 0, len(b'theirs'), 5],
           'versions')
