"""The load: connections that write, overwrite, delete, race, read and list until the server dies.

A Load is one round: from a ready server to its end. Each answer is held against the oracle at
once, so a wrong one is found while the server still runs.
"""
import random
import threading
import time
from urllib.parse import quote

from door import BadAnswer, Broken
from oracle import File, Race, Shared, Value, Wrong

BUCKET = 'files'
INLINE_MAX = 65536      # bytes of a body that the log holds itself
LIVE_MAX = 6000         # files; beyond, a connection deletes as often as it creates
RACE_EVERY = 40         # acknowledged writes from one race to the next
SHARED_FILES = 12       # keys that all connections overwrite
DIRECTORY_FILES = 40    # keys of one connection under one prefix: a listing of one page
BUSY_S = 0.02           # pause after "try again"
LATER = ('busy', 'shutting-down', 'no-memory')  # codes of 503 that changed nothing
# Parts of keys that a careless server would take for something else.
ODD = ('', ' a b', '/../x', '//y', 'é€', '%2F', '?q=1&b', '+plus', '#hash', '.')

# What a connection does next, and how often.
ACTIONS = (('create', 56), ('edge', 4), ('large', 3), ('overwrite', 12), ('remove', 6),
           ('post', 3), ('shared', 4), ('read', 7), ('list', 2))


class Again(Wrong):
    """A read was refused for now: wrong unless the server is busy or stops."""


class Failing(Wrong):
    """An answer 5xx that says that the server can't: wrong unless its disk was taken away."""


def target_of(key):
    """The address of a key."""
    return f'/v1/buckets/{BUCKET}/files/{quote(key, safe="/")}'


class Load:
    """One round's connections and what they got done."""

    def __init__(self, oracle, server, number, seed):
        self.oracle = oracle
        self.number = number
        self.lock = threading.Lock()
        self.acknowledged = 0    # writes
        self.unanswered = 0      # connections that were cut with a request under way
        self.clean = False       # SIGTERM was sent: who gets no answer was not served
        self.gone = False        # the disk was taken away: refusals are expected, lies are not
        self.over = False        # each connection ends after its request
        self.failure = None      # the first thing that was wrong
        self.touched = set()     # Files that this round wrote to
        self.race = None         # the Race that is open
        self.races = []
        rng = random.Random(f'{seed}/load/{number}')
        self.pool = rng.randbytes(2 * 1024 * 1024)
        while len(oracle.shared) < SHARED_FILES:
            file = File(f'shared/{len(oracle.shared)}')
            oracle.add(file)
            oracle.shared.append(file)
        self.shared = [Shared(file) for file in oracle.shared]
        self.live = sum(1 for f in oracle.files.values() if f.maybe != [None])
        self.workers = [Worker(self, server, c, rng.randbytes(16))
                        for c in range(len(oracle.owned))]

    def start(self):
        """Starts all connections."""
        for worker in self.workers:
            worker.start()

    def ended(self):
        """How many connections have ended."""
        return sum(1 for worker in self.workers if not worker.is_alive())

    def join(self, timeout_s):
        """Waits for all connections to end, then says what their contests came to. They end with
        the server, or when `over` was set."""
        end = time.monotonic() + timeout_s
        for worker in self.workers:
            worker.join(max(0.0, end - time.monotonic()))
            if worker.is_alive():
                raise Wrong(f'connection {worker.number} does not end')
        if self.failure is not None:
            raise self.failure
        for race in self.races:
            file = race.finish()
            self.oracle.add(file)
            self.touched.add(file)
        self.touched.update(contest.finish() for contest in self.shared)

    def fail(self, error):
        """Keeps the first failure; the connections end."""
        with self.lock:
            self.failure = self.failure or error

    def count(self):
        """One more acknowledged write; now and then it opens a race."""
        with self.lock:
            self.acknowledged += 1
            if self.acknowledged % RACE_EVERY == 0:
                self.race = Race(f'race/{self.number}/{len(self.races)}')
                self.races.append(self.race)


class Worker(threading.Thread):
    """One connection."""

    def __init__(self, load, server, number, seed):
        super().__init__(daemon=True, name=f'connection {number}')
        self.load = load
        self.number = number
        self.rng = random.Random(seed)
        self.door = server.door()
        self.owned = load.oracle.owned[number]
        self.first = len(self.owned)
        self.made = 0       # keys of this round
        self.bodies = 0
        self.raced = None   # the last Race that it took part in
        self.names = [name for name, _ in ACTIONS]
        self.weights = [weight for _, weight in ACTIONS]

    def run(self):
        try:
            while self.load.failure is None and not self.load.over:
                try:
                    self.step()
                except Again:
                    time.sleep(BUSY_S)
                except Failing as error:
                    if self.load.gone:
                        raise Broken(str(error), True) from None
                    raise
        except Broken as error:
            if error.sent:
                with self.load.lock:
                    self.load.unanswered += 1
        except (Wrong, BadAnswer) as error:
            self.load.fail(error)
        except Exception as error:  # a mistake of the test must fail it, not end a thread
            self.load.fail(Wrong(f'{self.name}: {error!r}'))
            raise
        finally:
            self.door.close()

    def step(self):
        """One request."""
        race = self.load.race
        if race is not None and race is not self.raced:
            self.raced = race
            self.enter(race)
            return
        action = self.rng.choices(self.names, self.weights)[0]
        if action == 'create' and self.load.live > LIVE_MAX and self.rng.random() < 0.6:
            action = 'remove'
        getattr(self, action)()

    # -- what is sent --

    def body(self, size):
        """A body unlike every other."""
        self.bodies += 1
        head = b'%d.%d.%d.' % (self.load.number, self.number, self.bodies)
        at = self.rng.randrange(len(self.load.pool) - size)
        return head + self.load.pool[at:at + size - len(head)]

    def small(self):
        """A small body, log-uniform from 200 B to 16 KiB."""
        return self.body(int(200 * 82 ** self.rng.random()))

    def new_file(self):
        """A File of this connection under a key that is new."""
        directory = self.made // DIRECTORY_FILES
        odd = self.rng.choice(ODD) if self.rng.random() < 0.1 else ''
        file = File(f'c{self.number}/{self.load.number}.{directory}/{self.made:04}{odd}')
        self.made += 1
        self.load.oracle.add(file, self.number)
        return file

    def own_file(self, present=False):
        """One of this connection's Files whose state is known, if present one that exists; None if
        none is found at once."""
        for _ in range(8):
            if self.owned:
                file = self.rng.choice(self.owned)
                if file.known() and not (present and file.value() is None):
                    return file
        return None

    def write(self, method, target, body, headers, accept, unanswered, chunked=False):
        """Sends a write. The reply if its status is in accept; None if it changed nothing.
        unanswered is called if nobody can tell; the connection then ends, or goes on."""
        try:
            reply = self.door.request(method, target, headers, body, chunked)
        except Broken as error:
            if error.sent and not self.load.clean:
                unanswered()
            raise
        if reply.status in accept:
            if reply.status < 300:
                self.load.count()
            return reply
        code = reply.code()
        if reply.status == 503 and code == 'outcome-unknown':
            unanswered()
            return None
        if reply.status == 503 and code in LATER:
            time.sleep(BUSY_S)
            return None
        if self.load.gone and reply.status >= 500 and code != 'root-failed':
            unanswered()  # root-failed: it was not begun
        raise (Failing if reply.status >= 500 else Wrong)(
            f'{method} {target} of {len(body)} bytes: {reply}')

    def told(self, reply, value):
        """Takes the version out of a FILE and holds the rest against what was sent."""
        file = reply.json()
        if file.get('sha256') != value.sha256 or file.get('size') != value.size:
            raise Wrong(f'stored {value}, answered {reply}')
        if file.get('etag') != value.etag() or not file.get('version'):
            raise Wrong(f'etag or version: {reply}')
        return Value(value.sha256, value.size, file['version'])

    def put(self, file, body, headers=(), chunked=False):
        """PUT by name of a File of this connection whose state is known."""
        value = Value.of(body)
        status = 201 if file.value() is None else 200
        self.load.touched.add(file)
        reply = self.write('PUT', target_of(file.key), body, headers, (status,),
                           lambda: file.unknown(value), chunked)
        if reply is not None:
            file.acknowledged(self.told(reply, value))
            self.load.live += status == 201

    # -- the actions --

    def create(self):
        """A small file under a new key."""
        self.put(self.new_file(), self.small())

    def edge(self):
        """A file about the size at which bodies leave the log."""
        self.put(self.new_file(), self.body(INLINE_MAX + self.rng.choice((-1, 0, 1, 1))))

    def large(self):
        """A file that is streamed, every other one without a length."""
        body = self.body(self.rng.randrange(300_000, 1_000_000))
        self.put(self.new_file(), body, chunked=self.rng.random() < 0.5)

    def overwrite(self):
        """New content for a key, absent ones included; on condition of its etag now and then."""
        file = self.own_file()
        if file is None:
            return
        headers = ()
        chance = self.rng.random()
        if chance < 0.1:
            other = Value.of(b'another content').etag()
            self.write('PUT', target_of(file.key), self.small(), (('If-Match', f'"{other}"'),),
                       (412,), lambda: None)  # may not be done, whatever the answer
            return
        if chance < 0.4 and file.value() is not None:
            headers = (('If-Match', f'"{file.value().etag()}"'),)
        large = self.rng.random() < 0.05
        self.put(file, self.body(self.rng.randrange(70_000, 300_000)) if large else self.small(),
                 headers)

    def remove(self):
        """DELETE, of an absent key too."""
        file = self.own_file(present=self.rng.random() < 0.9)
        if file is None:
            return
        status = 404 if file.value() is None else 204
        self.load.touched.add(file)
        reply = self.write('DELETE', target_of(file.key), b'', (), (status,),
                           lambda: file.unknown(None))
        if reply is not None:
            file.acknowledged(None)
            self.load.live -= status == 204

    def post(self):
        """A file without a name: the server gives it one."""
        body = self.small()
        value = Value.of(body)
        reply = self.write('POST', f'/v1/files?bucket={BUCKET}', body, (), (201,),
                           lambda: self.load.oracle.nameless.append(value))
        if reply is not None:
            file = File(reply.json().get('key', ''))
            file.acknowledged(self.told(reply, value))
            self.load.oracle.add(file, self.number)
            self.load.touched.add(file)

    def shared_write(self, contest, method, target, headers, accept):
        """A write to a contest; the status of its answer, or 0."""
        body = self.small()
        value = Value.of(body)
        reply = self.write(method, target, body, headers, accept,
                           lambda: contest.unanswered(value))
        if reply is None:
            return 0
        if reply.status < 300:
            contest.answered(self.told(reply, value))
        return reply.status

    def shared(self):
        """New content for a key that others overwrite at the same time."""
        contest = self.rng.choice(self.load.shared)
        self.shared_write(contest, 'PUT', target_of(contest.file.key), (), (200, 201))

    def enter(self, race):
        """Creates the race's key if nobody has: by PUT with If-None-Match, or by POST."""
        key = race.file.key
        if self.rng.random() < 0.5:
            status = self.shared_write(race, 'PUT', target_of(key), (('If-None-Match', '*'),),
                                       (201, 412))
        else:
            status = self.shared_write(race, 'POST', f'/v1/files?bucket={BUCKET}&key={quote(key)}',
                                       (), (201, 409))
        if status in (409, 412):
            race.refused()

    def read(self):
        """Reads a key of its own back while everything is on the move."""
        file = self.own_file()
        if file is not None:
            file.settle(read_file(self.door, file.key))

    def list(self):
        """Lists a prefix that only this connection writes to."""
        directory = self.rng.randrange(self.made // DIRECTORY_FILES + 1)
        prefix = f'c{self.number}/{self.load.number}.{directory}/'
        mine = [f for f in self.owned[self.first:] if f.key.startswith(prefix)]
        if any(not file.known() for file in mine):
            return
        seen = {key: value for key, value, _ in list_files(self.door, prefix)}
        for file in mine:
            file.settle(seen.pop(file.key, None))
        if seen:
            raise Wrong(f'listing of {prefix}: {sorted(seen)} were never there')


def answer_of_read(door, target):
    """The reply to a GET if it is 200 or 404. Raises Again, Failing or Wrong."""
    reply = door.request('GET', target)
    if reply.status in (200, 404):
        return reply
    if reply.status == 503 and reply.code() in LATER:
        raise Again(f'{target}: {reply}')
    raise (Failing if reply.status >= 500 else Wrong)(f'{target}: {reply}')


def read_file(door, key):
    """GETs a key: its Value, None if absent. Raises Wrong for any other answer."""
    reply = answer_of_read(door, target_of(key))
    if reply.status == 404:
        return None
    value = Value.of(reply.body, reply.headers.get('holdfast-version'))
    if not value.version or reply.headers.get('etag') != f'"{value.etag()}"':
        raise Wrong(f'GET {key}: {value} was sent with {reply.headers}')
    return value


def list_files(door, prefix=''):
    """All keys below prefix, page by page: (key, Value, id), in the order of the answers, which
    must be that of their bytes. Raises Wrong."""
    token = ''
    last = b''
    while True:
        target = f'/v1/files?bucket={BUCKET}&prefix={quote(prefix)}'
        if token:
            target += f'&after={quote(token, safe="")}'
        reply = answer_of_read(door, target)
        page = reply.json() if reply.status == 200 else {}
        if 'files' not in page or 'next' not in page:
            raise Wrong(f'{target}: {reply}')
        for file in page['files']:
            key = file['key'].encode()
            if key <= last or not key.startswith(prefix.encode()):
                raise Wrong(f'{target}: {key} after {last}')
            last = key
            yield file['key'], Value(file['sha256'], file['size'], file['version']), file['id']
        token = page['next']
        if not token:
            return
