"""What damage.py stands on: real data directories, damage to them that is undone afterwards, and
which bytes nobody reads, by the tables of docs/format.md."""
import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import tempfile

from server import Server

BINARY = None
BLOCK = 4096
SERVERS = []


class Run:
    """A finished `holdfast fsck --json`."""

    def __init__(self, status, lines, error):
        self.status = status
        self.error = error
        self.findings = [line for line in lines if 'level' in line]
        self.total = lines[-1] if lines and 'damages' in lines[-1] else None

    def damages(self):
        return [f for f in self.findings if f['level'] == 'damage']


def run_fsck(*args):
    done = subprocess.run([*BINARY, 'fsck', '--json', *args], capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL, check=False)
    error = done.stderr.decode(errors='replace')
    if done.returncode not in (0, 2, 3, 4, 6) or 'Sanitizer' in error:
        raise AssertionError(f'fsck ended with {done.returncode}: {error}')
    return Run(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], error)


def fsck(data):
    return run_fsck(data)


def run_plain(*args):
    done = subprocess.run([*BINARY, 'fsck', *args], capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL, check=False)
    if b'Sanitizer' in done.stderr:
        raise AssertionError(done.stderr.decode(errors='replace'))
    return done


def serve_refused(root):
    """A start that must end by itself; its log is text."""
    return subprocess.run([*BINARY, 'serve', '--data', root.data, '--http', '127.0.0.1:0',
                           '--s3', 'off', '--log-format', 'text'], capture_output=True, timeout=30,
                          stdin=subprocess.DEVNULL, check=False)


def end_all():
    for server in SERVERS:
        server.end()


def files_below(data):
    return sorted(os.path.relpath(os.path.join(folder, name), data)
                  for folder, _, names in os.walk(data) for name in names)


def tree_digest(data, but=()):
    """Of all names and bytes, but those names and directories."""
    digest = hashlib.sha256()
    for name in files_below(data):
        if name in but or name.split('/')[0] in but:
            continue
        with open(os.path.join(data, name), 'rb') as file:
            digest.update(f'{name} {hashlib.sha256(file.read()).hexdigest()}\n'.encode())
    return digest.hexdigest()


SIZES = (0, 1, 700, 4096, 20000, 65536, 65537, 300000)


def load(server, seed, count, kept=None):
    """PUTs, overwrites and DELETEs; kept: what must be there, by key."""
    rng = random.Random(seed)
    for i in range(count):
        key = rng.choice((f'a/b{i}', f'k{i}', f'same{i % 5}', f'deep/er/{i}', f'odd//{i}', f'%41 {i}'))
        body = rng.randbytes(rng.choice(SIZES))
        status = server.put('files', key, body).status
        if status not in (200, 201):
            raise RuntimeError(f'PUT {key}: {status}')
        if kept is not None:
            kept[key] = body
        if i % 6 == 5:
            gone = f'same{rng.randrange(5)}'
            server.request('DELETE', server.name_path('files', gone))
            if kept is not None:
                kept.pop(gone, None)


class Root:
    """A data directory that holds files; self.files is what they must be."""

    def __init__(self, binary, data, stop):
        self.binary = binary
        self.data = data
        self.files = {}
        os.mkdir(data)
        for round_number in range(3):
            server = self.serve()
            load(server, hash_of(os.path.basename(data)) + round_number, 40, self.files)
            if stop or round_number == 1:
                server.stop()
            else:
                server.kill()
        self.digest = tree_digest(data)

    def serve(self):
        server = Server(self.binary, self.data, self.data + '.log')
        SERVERS.append(server)
        return server.start()

    def path(self, name):
        return os.path.join(self.data, name)


def hash_of(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big')


# ---- damage ----

class Case:
    """Bytes [offset, offset + len(new)) of file `name` become new, or the file is cut at offset."""

    def __init__(self, root, structure, name, how, offset, old, new):
        self.root = root
        self.structure = structure
        self.name = name
        self.how = how
        self.offset = offset
        self.old = old
        self.new = new

    def __str__(self):
        return f'{self.how} of {self.name} at {self.offset}, {len(self.old)} bytes'

    def changed_at(self):
        """Offsets of the bytes that are others now."""
        if self.how == 'cut':
            return [self.offset, self.offset + len(self.old) - 1]
        return [self.offset + i for i, (a, b) in enumerate(zip(self.old, self.new)) if a != b]


def structure_of(name):
    for prefix, structure in (('wal.active', 'log'), ('wal.segments/', 'log'), ('packs/', 'pack'),
                              ('blobs/', 'blob'), ('index.db-wal', 'index log'),
                              ('index.db', 'index'), ('root.json', 'root.json'),
                              ('control.json', 'control.json')):
        if name.startswith(prefix):
            return structure
    return None


def draw(root, rng, number):
    """A place in a kind of structure, each kind as often as the others."""
    names = {}
    for name in files_below(root.data):
        structure = structure_of(name)
        if structure is not None and os.path.getsize(root.path(name)) > 0:
            names.setdefault(structure, []).append(name)
    order = sorted(names)
    structure = order[number // 2 % len(order)]
    while True:
        name = rng.choice(names[structure])
        with open(root.path(name), 'rb') as file:
            data = file.read()
        how = rng.choice(('flip', 'flip', 'flip', 'write', 'zero', 'cut'))
        end = read_end(structure, name, root, data)
        offset = rng.randrange(end) if rng.randrange(3) else rng.randrange(min(end, 64))
        length = {'flip': 1, 'write': rng.randrange(1, 65), 'zero': rng.randrange(1, 5000),
                  'cut': len(data) - offset}[how]
        old = data[offset:offset + length]
        if how == 'flip':
            new = bytes([old[0] ^ 1 << rng.randrange(8)])
        elif how == 'write':
            new = rng.randbytes(len(old))
        else:
            new = bytes(len(old)) if how == 'zero' else b''
        if new != old:
            return Case(root, structure, name, how, offset, old, new)


@contextlib.contextmanager
def changed(case):
    path = case.root.path(case.name)
    try:
        with open(path, 'r+b') as file:
            if case.how == 'cut':
                file.truncate(case.offset)
            else:
                file.seek(case.offset)
                file.write(case.new)
        yield
    finally:
        with open(path, 'r+b') as file:
            file.seek(case.offset)
            file.write(case.old)


def covers(finding, case):
    """The finding holds a byte that was changed, or is about the file as a whole."""
    start, length = finding['offset'], finding['length']
    if length == 0:
        return True
    return any(start <= at < start + length for at in case.changed_at()) or \
        (case.how == 'cut' and start <= case.offset <= start + length)


def named_elsewhere(case, findings):
    """What one damaged file makes others contradict: its own identity, of which there is no second."""
    return case.structure in ('root.json', 'control.json') and any(
        f['level'] == 'damage' for f in findings)


# ---- what nobody reads ----

def frames_end(data, start=BLOCK):
    """Where the frames of a segment end: they are walked by their lengths."""
    at = start
    while at + 64 <= len(data) and data[at:at + 4] == b'HFR1' and \
            data[at + 16:at + 32] == data[40:56] and struct.unpack_from('<Q', data, at + 40)[0] == at:
        length = struct.unpack_from('<I', data, at + 8)[0]
        at += 64 + (length + 7) // 8 * 8
        if -at % BLOCK < 64:
            at += -at % BLOCK
    return at


def read_end(structure, name, root, data):
    """Behind it there may be what nobody reads; nearly all draws fall before it."""
    if structure == 'log':
        return min(frames_end(data) + 64, len(data))
    return len(data)


def padding_of_pack(data):
    """Offsets of zeros behind payloads, up to a multiple of 8, and the reserved end of marks."""
    unread = set()
    at = BLOCK
    while at + 64 <= len(data):
        if data[at:at + 8] != b'HLFPMRK1':
            break
        unread.update(range(at + 60, at + 64))
        at += 64
        while data[at:at + 4] == b'HPR1':
            length = struct.unpack_from('<I', data, at + 8)[0]
            end = at + 16 + length
            at = (end + 7) // 8 * 8
            unread.update(range(end, at))
        at = (at + BLOCK - 1) // BLOCK * BLOCK
    return unread


def varint(data, at):
    """The number at data[at:], and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def counted_end(root, name):
    """Where the last record of a pack ends that the index knows of: a kill -9 can come between the
    pack's batch and the index's, and then the log holds what stands behind. Row `p` of
    docs/format.md, read by plain SQLite from a copy. No row, or an end of 0: nothing is known."""
    number = int(os.path.basename(name).split('.')[0])
    with tempfile.TemporaryDirectory() as copy:
        for part in ('index.db', 'index.db-wal'):
            if os.path.exists(root.path(part)):
                shutil.copy(root.path(part), copy)
        with contextlib.closing(sqlite3.connect(os.path.join(copy, 'index.db'))) as index:
            row = index.execute('SELECT v FROM kv WHERE k = ?',
                                (b'p' + struct.pack('>Q', number),)).fetchone()
    if row is None:
        return 1 << 63
    at = 0
    for _ in range(4):
        value, at = varint(row[0], at)
    return value or 1 << 63


def nobody_reads(root, case):
    """Why the changed bytes need not be found; None: they must be. Asked with the damage in place."""
    with open(root.path(case.name), 'rb') as file:
        data = file.read()
    whole = bytearray(data[:case.offset] + case.old + data[case.offset + len(case.new):])
    at = case.changed_at()
    if case.how == 'cut':
        at = []
    if case.structure == 'root.json' and case.offset == len(whole) - 1:
        return "the line's end behind the object"
    if case.structure == 'log' and at and min(at) >= frames_end(whole):
        return 'behind the end of the log'
    if case.structure == 'pack' and case.how == 'cut' and not any(case.old):
        return 'padding of records and marks'
    if case.structure == 'pack' and at and set(at) <= padding_of_pack(whole):
        return 'padding of records and marks'
    if case.structure == 'pack' and at and min(at) >= counted_end(root, case.name):
        return 'records that the index does not count: the log holds them'
    if case.structure == 'index' and at:
        pages = pages_in_log(root.path('index.db-wal'))
        if all(byte // BLOCK + 1 in pages for byte in at):
            return 'pages of which the index log holds newer ones'
    if case.structure == 'index log':
        return unread_of_index_log(whole, at, case)
    return None


def pages_in_log(path):
    """Numbers of the pages in the whole transactions of an index log."""
    with open(path, 'rb') as file:
        whole = file.read()
    pages, some = set(), set()
    for at in range(32, len(whole) - BLOCK - 23, 24 + BLOCK):
        page, size = struct.unpack_from('>II', whole, at)
        if whole[at + 8:at + 16] != whole[16:24]:
            break
        some.add(page)
        if size:
            pages |= some
    return pages


def unread_of_index_log(whole, at, case):
    """Behind the last transaction that is whole nothing is read, and frames of earlier logs stand."""
    salts = bytes(whole[16:24])
    frame = 24 + BLOCK
    last = 0
    count = (len(whole) - 32) // frame
    for i in range(count):
        head = whole[32 + i * frame:32 + i * frame + 24]
        if bytes(head[8:16]) != salts:
            break
        if head[4:8] != b'\0\0\0\0':
            last = i + 1
    first = min(at) if at else case.offset
    if first >= 32 + last * frame:
        return 'behind the last transaction'
    if case.how == 'cut' and case.offset > 0:
        return 'the index log, cut: as a crash leaves it'
    return None
