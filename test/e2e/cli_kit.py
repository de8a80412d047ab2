"""What the end-to-end tests of the command line are made with: the binary as people call it, content,
and a server that lies where a real one must not. Python's standard library only."""
import base64
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

from server import Server

MIB = 1 << 20
TESTS = []


class Done:
    """What a command did."""

    def __init__(self, process, seconds):
        self.status = process.returncode
        self.raw = process.stdout
        self.out = process.stdout.decode('utf-8', 'replace')
        self.err = process.stderr.decode('utf-8', 'replace')
        self.seconds = seconds

    def lines(self):
        return self.out.splitlines()

    def objects(self):
        return [json.loads(line) for line in self.lines()]


class Cli:
    """The binary (a list of words) with an environment of its own: no other settings, no proxy."""

    def __init__(self, binary, folder, server=None):
        self.binary = binary
        self.folder = folder
        self.server = server
        self.env = {'HOME': os.path.join(folder, 'home'), 'PATH': os.environ['PATH'],
                    'no_proxy': '*', 'LC_ALL': 'C.UTF-8'}
        for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS'):
            if name in os.environ:
                self.env[name] = os.environ[name]
        if server is not None:
            self.env['HOLDFAST_URL'] = f'http://{server.address}'
            self.env['HOLDFAST_KEY'] = server.key()

    def start(self, *args, **more):
        return subprocess.Popen([*self.binary, *args], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=more.get('stdout', subprocess.PIPE),
                                stderr=more.get('stderr', subprocess.PIPE), cwd=self.folder)

    def run(self, *args, status=0, timeout=180):
        """Runs it and checks the exit status (None: any)."""
        begin = time.monotonic()
        done = Done(subprocess.run([*self.binary, *args], env=self.env, stdin=subprocess.DEVNULL,
                                   capture_output=True, cwd=self.folder, timeout=timeout,
                                   check=False), time.monotonic() - begin)
        if status is not None and done.status != status:
            raise AssertionError(f'{args} ended with {done.status}, not {status}:\n{done.out[-2000:]}'
                                 f'\n{done.err[-2000:]}')
        return done

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, data):
        """A file below the folder; its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(data)
        return path


def content(size, seed=0):
    """Bytes that compress badly and are the same each time."""
    block = hashlib.shake_256(str(seed).encode()).digest(min(size, MIB))
    return (block * (size // max(1, len(block)) + 1))[:size] if size else b''


def files_below(root):
    """{name below root: bytes} of the regular files, names as bytes."""
    found = {}
    root = os.fsencode(root)
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, 'rb') as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


class Appender:
    """Appends lines to a file as long as it lasts."""

    def __init__(self, path):
        self.path = path
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.append)

    def append(self):
        with open(self.path, 'ab', buffering=0) as file:
            while not self.stop.wait(0.0005):
                file.write(b'line\n')

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *args):
        self.stop.set()
        self.thread.join()


class Liar:
    """Answers as the REST door does, but for what a test changes. Also sets the client's server."""

    def __init__(self, cli, slow=False):
        self.bodies = {}        # key: bytes
        self.wrong_put = False  # the answer has another digest
        self.wrong_get = False  # so have the bytes
        self.busy = 0           # so many requests get 503 first
        self.cut = 0            # so many answers to GET break off
        self.keys = None        # keys that a listing has instead
        self.etags = {}         # key: the ETag that a listing has, unless "1"; None: it has none
        self.given = {}         # "METHOD /path": (status, body) to answer
        self.before = None      # called with method and key before each answer
        self.requests = []
        self.matches = {}       # key: If-Match of its DELETE
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def answer(self, status, body, headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                step = 20000 if slow else max(1, len(body))
                cut = liar.cut > 0 and status == 200 and '/buckets/' in self.path
                if cut:
                    liar.cut -= 1
                    body = body[:len(body) // 2]
                for at in range(0, len(body), step):
                    self.wfile.write(body[at:at + step])
                    if slow and '/buckets/' in self.path:
                        time.sleep(0.05)
                if cut:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)

            def handle_one(self):
                url = urllib.parse.urlsplit(self.path)
                key = urllib.parse.unquote(url.path.removeprefix('/v1/buckets/files/files/'))
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                liar.requests.append((self.command, key))
                if liar.before is not None:
                    liar.before(self.command, key)
                if f'{self.command} {url.path}' in liar.given:
                    self.answer(*liar.given[f'{self.command} {url.path}'])
                elif liar.busy > 0:
                    liar.busy -= 1
                    self.answer(503, b'{"code": "busy", "detail": "wait"}')
                elif self.command == 'PUT':
                    digest = hashlib.sha256(b'other' if liar.wrong_put else body).hexdigest()
                    self.answer(201, json.dumps({'bucket': 'files', 'key': key, 'size': len(body),
                                                 'sha256': digest}).encode())
                elif self.command == 'DELETE':
                    liar.matches[key] = self.headers.get('If-Match')
                    self.answer(200, b'{}')
                elif url.path == '/v1/files':
                    keys = liar.keys or sorted(liar.bodies)
                    self.answer(200, json.dumps({'files': [
                        {'bucket': 'files', 'key': k, 'size': 1, 'sha256': None,
                         'etag': liar.etags.get(k, '1')} for k in keys],
                        'prefixes': [], 'next': None}).encode())
                else:
                    body = liar.bodies[key]
                    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
                    if liar.wrong_get:
                        body = body[:-1] + b'!'
                    self.answer(200, body, [('Repr-Digest', f'sha-256=:{digest}:')])

            do_GET = do_PUT = do_DELETE = handle_one

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None
        cli.env['HOLDFAST_URL'] = f'http://127.0.0.1:{self.server.server_port}'
        cli.env['HOLDFAST_KEY'] = 'ID.SECRET'

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


# ---- tests ----

def test(function):
    """Marks a test: it gets a Cli with a server of its own, started, in an empty directory."""
    TESTS.append(function)
    return function


def bare(function):
    """Marks a test that needs no server, or starts its own."""
    function.bare = True
    TESTS.append(function)
    return function


def expect(got, wanted, what=''):
    if got != wanted:
        raise AssertionError(f'{what}: {got!r}, not {wanted!r}')


def holds(text, part):
    if part not in text:
        raise AssertionError(f'{part!r} is not in {text!r}')


def run_one(binary, function):
    """True if it passed."""
    folder = tempfile.mkdtemp(prefix='holdfast-cli-')
    log = folder + '.log'
    server = None
    begin = time.monotonic()
    try:
        if getattr(function, 'bare', False):
            function(Cli(binary, folder))
        else:
            server = Server(binary, folder + '.data', log).start()
            function(Cli(binary, folder, server))
        print(f'ok {function.__name__} {time.monotonic() - begin:.1f} s', flush=True)
        return True
    except Exception:  # noqa: BLE001  (a test may fail in any way)
        print(f'FAILED {function.__name__}', flush=True)
        traceback.print_exc(file=sys.stdout)
        if os.path.exists(log):
            with open(log, encoding='utf-8', errors='replace') as lines:
                print(''.join(lines.readlines()[-15:]))
        return False
    finally:
        if server is not None:
            server.end()
        for path in (folder, folder + '.data'):
            shutil.rmtree(path, ignore_errors=True)
        if os.path.exists(log):
            os.unlink(log)


def main(layer, argv):
    """Runs the tests that argv names, or all; the exit status."""
    if not argv:
        sys.exit(f'usage: {layer}.py BINARY [TEST...]')
    binary = argv[0].split()
    binary[-1] = os.path.abspath(binary[-1])
    tests = [t for t in TESTS if not argv[1:] or t.__name__ in argv[1:]]
    failed = sum(0 if run_one(binary, function) else 1 for function in tests)
    print(f'LAYER {layer} required={len(tests)} executed={len(tests)} failed={failed}')
    return 1 if failed or not tests else 0
