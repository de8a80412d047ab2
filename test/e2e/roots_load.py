"""A load for a server that loses roots, and what it was promised. Unlike the load of kill/ it goes on
through refusals, restarts and answers that never come, and it keeps what each answer said of how safe
the write is."""
import base64
import hashlib
import os
import random
import sys
import threading
import time
from urllib.parse import quote, urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.append(os.path.join(HERE, 'kill'))
from door import BadAnswer, Broken, Door  # noqa: E402
from s3_raw import UNSIGNED, Raw  # noqa: E402

BUCKET = 'files'
KEYS_MAX = 150  # of one connection
# Refusals that say that nothing was done; after all others of 5xx that is not known.
NOTHING_DONE = ('busy', 'not-ready', 'shutting-down', 'no-memory', 'no-space')
# 500: what was under way on a root that fails, until the server has left it.
FAILURES = ('io', 'file-damaged', 'InternalError')
ACTIONS = (('small', 50), ('large', 8), ('remove', 8), ('read', 24), ('parts', 2))
PAUSE_S = 0.02  # after a refusal
BEAT_S = 0.05   # in which it is seen that the machine stands still
READ_S = 60     # a read that is refused for the moment is made again for so long


class Wrong(Exception):
    """The store answered what it must not."""


def digest(body):
    return hashlib.sha256(body).hexdigest()


class Kept:
    """A key: `maybe` are the digests that it may have, None standing for absence. The last is that of
    the newest request; the first of the last one that was acknowledged."""

    def __init__(self, key):
        self.key = key
        self.maybe = [None]
        self.history = []  # what was asked and answered, for whoever must explain it

    def note(self, begun, what, value, reply):
        answer = getattr(reply, 'status', reply)
        self.history.append(f'{begun % 1000:.3f}-{time.monotonic() % 1000:.3f} {what} '
                            f'{value and value[:6]}: {answer}')

    def fits(self, seen):
        """Holds what was read, or its absence, against it. Raises Wrong."""
        if seen not in self.maybe:
            raise Wrong(f'{self.key}: read {seen and seen[:12]}, may be '
                        f'{[one and one[:12] for one in self.maybe]}; {self.history[-12:]}')

    def settle(self, seen):
        """As fits(), when no request is under way any more."""
        self.fits(seen)
        self.maybe = [seen]


class Acknowledged:
    """When a write was begun and answered, and what the answer said of it."""

    def __init__(self, begun, text):
        self.begun = begun
        self.ended = time.monotonic()
        said = dict(part.strip().split('=') for part in text.split(';'))
        self.synced, self.copies = (int(n) for n in said['synced'].split('/'))
        self.disks = int(said['disks'])


class Load:
    """Connections that write and read until over."""

    def __init__(self, server, seed, connections=6, large_max=900_000):
        self.server = server
        self.large_max = large_max  # bytes of a body
        self.lock = threading.Lock()
        self.over = False
        self.paused = False
        self.failure = None
        self.answers = []   # Acknowledged, of the REST door
        self.count = 0      # acknowledged writes of all doors
        self.reads = 0      # that were answered with bytes, or 404
        self.reasons = {}   # code of a refusal -> the last one's text
        self.refused = {}   # code of a refusal -> how many
        self.failed = 0     # 500: as a root fails, what was under way there does
        self.pool = random.Random(seed).randbytes(2 << 20)
        self.workers = [Worker(self, c, f'{seed}/{c}') for c in range(connections)]

    def start(self):
        for worker in self.workers:
            worker.start()
        return self

    def files(self):
        return [file for worker in self.workers for file in worker.files.values()]

    def check(self):
        """Raises what a connection found wrong."""
        if self.failure is not None:
            raise self.failure

    def stop(self):
        """Ends all connections; raises what one found wrong."""
        self.over = True
        for worker in self.workers:
            worker.join(60)
            if worker.is_alive():
                raise Wrong(f'{worker.name} does not end')
        self.check()

    def fail(self, error):
        with self.lock:
            self.failure = self.failure or error

    def since(self, moment):
        """Answers of writes that began after that."""
        with self.lock:
            return [one for one in self.answers if one.begun > moment]


class Worker(threading.Thread):
    """One connection to each door, and keys of its own."""

    def __init__(self, load, number, seed):
        super().__init__(daemon=True, name=f'connection {number}')
        self.load = load
        self.number = number
        self.rng = random.Random(seed)
        self.files = {}
        server = load.server
        key = server.key()
        self.rest = Door(server.port, key)
        port = int(server.s3_address.rsplit(':', 1)[1])
        self.s3 = Door(port, '')
        self.raw = Raw(port, key)

    def run(self):
        names = [name for name, _ in ACTIONS]
        weights = [weight for _, weight in ACTIONS]
        try:
            while not self.load.over and self.load.failure is None:
                if self.load.paused:
                    time.sleep(PAUSE_S)
                    continue
                getattr(self, self.rng.choices(names, weights)[0])()
        except (Wrong, BadAnswer) as error:
            self.load.fail(error)
        except Exception as error:  # a mistake of the test must fail it, not end a thread
            self.load.fail(Wrong(f'{self.name}: {error!r}'))
            raise
        finally:
            self.rest.close()
            self.s3.close()

    # -- requests --

    def ask(self, method, file, body=b'', s3=False):
        """One request for a key; None if it was refused for now or had no answer, which is counted."""
        target = f'/v1/buckets/{BUCKET}/files/{quote(file.key)}'
        headers = ()
        if s3:
            target = f'/{BUCKET}/{quote(file.key)}'
            signed = self.raw.sign(method, target, body_hash=UNSIGNED)
            headers = tuple((n, v) for n, v in signed.items() if n != 'Host')
        return self.send(self.s3 if s3 else self.rest, method, target, headers, body)

    def send(self, door, method, target, headers=(), body=b''):
        """The reply, or None: nobody knows what came of it; or a refusal that did nothing."""
        try:
            reply = door.request(method, target, headers, body)
        except Broken as error:
            time.sleep(PAUSE_S)
            return None if error.sent else 'refused'
        if reply.status < 500:
            return reply
        return self.refusal(reply, target)

    def refusal(self, reply, target):
        """What a 5xx comes to. Raises Wrong if it says nothing that a client can use."""
        text = reply.body.decode(errors='replace')
        code = reply.code() or text.split('<Code>')[-1].split('</Code>')[0]
        with self.load.lock:
            self.load.refused[code] = self.load.refused.get(code, 0) + 1
            self.load.reasons[code] = text[:400]
            self.load.failed += reply.status == 500
        if reply.status not in (503, 507) and code not in FAILURES or not text:
            raise Wrong(f'{target}: {reply}')
        time.sleep(PAUSE_S)
        return 'refused' if code in NOTHING_DONE else None

    def written(self, file, value, begun, reply):
        """Takes the reply of a write in, which leaves value."""
        file.note(begun, 'write', value, reply)
        if reply == 'refused':
            return
        if reply is None:
            file.maybe.append(value)
            return
        ok = (200, 201, 204) + ((404,) if value is None and None in file.maybe else ())
        if reply.status not in ok:
            raise Wrong(f'write of {file.key}: {reply}')
        file.maybe = [value]
        with self.load.lock:
            self.load.count += 1
            if 'holdfast-durability' in reply.headers:
                self.load.answers.append(
                    Acknowledged(begun, reply.headers['holdfast-durability']))

    # -- actions --

    def pick(self):
        """A key that is new, or one of those that are there."""
        if not self.files or (len(self.files) < KEYS_MAX and self.rng.random() < 0.7):
            key = f'w{self.number}/{len(self.files):04}'
            self.files[key] = Kept(key)
            return self.files[key]
        return self.rng.choice(list(self.files.values()))

    def body(self, size):
        head = b'%d %d %d ' % (self.number, self.rng.getrandbits(60), size)
        at = self.rng.randrange(len(self.load.pool) - size)
        return head + self.load.pool[at:at + size]

    def put(self, size):
        file, body = self.pick(), self.body(size)
        begun = time.monotonic()
        reply = self.ask('PUT', file, body, s3=self.rng.random() < 0.3)
        self.written(file, digest(body), begun, reply)

    def small(self):
        self.put(int(200 * 82 ** self.rng.random()))

    def large(self):
        self.put(self.rng.randrange(66_000, self.load.large_max))

    def remove(self):
        file = self.pick()
        begun = time.monotonic()
        self.written(file, None, begun, self.ask('DELETE', file, s3=self.rng.random() < 0.3))

    def read(self):
        file = self.pick()
        reply = self.ask('GET', file, s3=self.rng.random() < 0.3)
        if reply is None or reply == 'refused':
            return
        if reply.status not in (200, 404):
            raise Wrong(f'GET {file.key}: {reply}')
        file.fits(digest(reply.body) if reply.status == 200 else None)
        with self.load.lock:
            self.load.reads += 1

    def parts(self):
        """An upload of one file in two appended pieces, at the resumable door."""
        file = self.pick()
        body = self.body(150_000)
        begun = time.monotonic()
        reply = self.send(self.rest, 'POST', '/v1/uploads', (
            ('Tus-Resumable', '1.0.0'), ('Upload-Length', str(len(body))),
            ('Upload-Metadata', f'bucket {encoded(BUCKET)},key {encoded(file.key)}')))
        if reply is None or reply == 'refused':
            return
        if reply.status != 201:
            raise Wrong(f'upload of {file.key}: {reply}')
        where = urlsplit(reply.headers['location']).path
        for at, end in ((0, 70_000), (70_000, len(body))):
            reply = self.send(self.rest, 'PATCH', where, (
                ('Tus-Resumable', '1.0.0'), ('Upload-Offset', str(at)),
                ('Content-Type', 'application/offset+octet-stream')), body[at:end])
            if end < len(body) and (reply is None or reply == 'refused'):
                return
            if end < len(body) and reply.status != 204:
                raise Wrong(f'PATCH of {file.key}: {reply}')
        self.written(file, digest(body), begun, reply)


def encoded(text):
    """As tus writes metadata."""
    return base64.b64encode(text.encode()).decode()


class Beat(threading.Thread):
    """Sleeps, again and again: what that takes beyond the sleep the machine had other things to do, and
    neither this test nor its servers went on."""

    def __init__(self):
        super().__init__(daemon=True)
        self.beats = []  # when each began, and how late it was

    def run(self):
        while True:
            begun = time.monotonic()
            time.sleep(BEAT_S)
            self.beats.append((begun, time.monotonic() - begun - BEAT_S))

    def stood(self, begun):
        """Seconds since then that were lost so."""
        late, ended = 0.0, begun
        for at, seconds in reversed(self.beats[:]):
            if at < begun:
                break
            late += seconds
            ended = max(ended, at + BEAT_S + seconds)
        return late + max(0.0, time.monotonic() - ended - BEAT_S)  # with the one under way


BEAT = Beat()


def read_all(server, files, threads=4):
    """Reads every file through the server and settles it. Raises Wrong."""
    queue = list(files)
    errors = []

    def work():
        door = Door(server.port, server.key())
        try:
            while queue and not errors:
                file = queue.pop()
                path = f'/v1/buckets/{BUCKET}/files/{quote(file.key)}'
                reply = door.request('GET', path)
                end = time.monotonic() + READ_S
                while reply.status == 503 and time.monotonic() < end:  # it says when to come again
                    time.sleep(0.2)
                    reply = door.request('GET', path)
                if reply.status not in (200, 404):
                    raise Wrong(f'GET {file.key}: {reply}')
                file.settle(digest(reply.body) if reply.status == 200 else None)
        except IndexError:
            pass  # another took the last
        except (Wrong, Broken, BadAnswer) as error:
            errors.append(error)
        finally:
            door.close()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
