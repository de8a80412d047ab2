#!/usr/bin/env python3
"""Tests of the process tests: a store that lies must be found out, an honest one must pass.

A store in this process speaks as much of the REST door as load.py uses, loses its connections when
told, and breaks one promise at a time. Prints `LAYER e2e-self required= executed= failed=`.
"""
import hashlib
import json
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import check
import load
from door import Door
from oracle import Oracle, Wrong

NAMED = '/v1/buckets/files/files/'
WRITES = 300  # acknowledged before a crash

# What a store may do wrong: while it runs, or what a crash does to it.
LIES_RUNNING = ('two-winners', 'nobody-won', 'stale-read', 'old-version', 'wrong-digest',
                'short-body', 'if-match-ignored', 'listing-order', 'breaks-off', 'status-500')
LIES_CRASH = ('lose-last', 'lose-first', 'resurrect', 'wrong-byte', 'older-content',
              'listing-lacks', 'listing-more', 'listing-digest', 'unknown-flips', 'new-version')


class Store(ThreadingHTTPServer):
    """The store: {key: [body, version]}; lie is what it does wrong, or ''."""
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, lie):
        super().__init__(('127.0.0.1', 0), Handler)
        self.lie = lie
        self.port = self.server_address[1]
        self.files = {}
        self.former = {}   # what was deleted or overwritten
        self.order = []    # keys as they were last written
        self.held = []     # writes that were done and not answered: (key, body)
        self.unlisted = set()
        self.extra = []
        self.versions = 0
        self.writes = 0
        self.guard = threading.Lock()
        self.sockets = set()
        self.down = False
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def door(self):
        """A connection, as Server.door()."""
        return Door(self.port, 'ID.SECRET')

    def crash(self):
        """Cuts all connections, then does what a crash of a lying store does."""
        with self.guard:
            self.down = True
            for sock in list(self.sockets):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def recover(self):
        """Serves again."""
        files = self.files
        last = [key for key in self.order if key in files and not key.startswith('shared')]
        gone = [key for key in self.former if key not in files]
        changed = [key for key in self.former if key in files and not key.startswith('shared')]
        if self.lie == 'lose-last':
            del files[last[-10]]  # later ones may not have been answered
        elif self.lie == 'lose-first':
            del files[last[0]]
        elif self.lie == 'resurrect':
            files[gone[0]] = self.former[gone[0]]
        elif self.lie == 'wrong-byte':
            body = bytearray(files[last[-1]][0])
            body[len(body) // 2] ^= 1
            files[last[-1]][0] = bytes(body)
        elif self.lie == 'older-content':
            files[changed[0]] = self.former[changed[0]]
        elif self.lie == 'new-version':
            files[last[0]][1] = self.next_version()
        elif self.lie == 'listing-lacks':
            self.unlisted.add(last[-1])
        elif self.lie == 'listing-more':
            self.extra.append(('zz', b'nobody wrote this'))
        elif self.lie == 'listing-digest':
            self.extra.append((last[-1], b'another body'))
            self.unlisted.add(last[-1])
        self.down = False

    def next_version(self):
        """A version higher than all before."""
        self.versions += 1
        return f'{self.versions:020}'

    def server_close(self):
        self.crash()
        super().server_close()

    def handle_error(self, request, client_address):
        pass  # a client that went away


class Handler(BaseHTTPRequestHandler):
    """One connection."""
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        super().setup()
        self.server.sockets.add(self.connection)

    def finish(self):
        self.server.sockets.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass  # cut by crash()

    def log_message(self, *_):
        pass

    def body(self):
        """The body that was sent."""
        if self.headers.get('Transfer-Encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('Content-Length', 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(parts)

    def reply(self, status, body=b'', headers=()):
        """Answers, unless the store is down."""
        if self.server.down:
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def describe(self, key, body, version):
        """The FILE object."""
        sha = hashlib.sha256(body).hexdigest()
        if self.server.lie == 'wrong-digest' and self.server.writes == WRITES // 2:
            sha = sha[::-1]
        return {'id': key, 'key': key, 'version': version, 'size': len(body), 'sha256': sha,
                'etag': sha[:40] + '-1'}

    def store(self, key, body):
        """Stores under the guard; the FILE."""
        store = self.server
        if key in store.files:
            store.former.setdefault(key, store.files[key])
        version = store.next_version()
        store.files[key] = [body, version]
        store.order.append(key)
        store.writes += 1
        if store.lie == 'old-version' and store.writes > WRITES // 2:
            version = '0'
        return json.dumps(self.describe(key, body, version)).encode()

    def refused(self, key, create_only):
        """The status that a precondition gives, or 0."""
        store = self.server
        exists = key in store.files
        if create_only and (exists or store.lie == 'nobody-won') and store.lie != 'two-winners':
            return 409 if self.command == 'POST' else 412
        wanted = self.headers.get('If-Match')
        if wanted is None or store.lie == 'if-match-ignored':
            return 0
        etag = hashlib.sha256(store.files[key][0]).hexdigest()[:40] if exists else ''
        return 0 if wanted == f'"{etag}-1"' else 412

    def write(self, key, create_only, always_created=False):
        """PUT and POST."""
        store = self.server
        body = self.body()
        with store.guard:
            status = self.refused(key, create_only)
            if status == 0 and not store.down:
                created = key not in store.files
                answer = self.store(key, body)
                if store.lie == 'breaks-off' and store.writes == WRITES // 2:
                    self.connection.shutdown(socket.SHUT_RDWR)
        if status != 0:
            self.reply(status, b'{}')
            return
        if store.down:
            self.close_connection = True
            return
        if store.lie == 'status-500' and store.writes >= WRITES // 2:
            self.reply(500, b'{"code": "io"}')
            return
        self.reply(201 if created or always_created else 200, answer)

    def do_PUT(self):
        self.write(unquote(self.path.removeprefix(NAMED)), 'If-None-Match' in self.headers)

    def do_POST(self):
        key = parse_qs(urlsplit(self.path).query).get('key', [None])[0]
        self.write(key or f'{random.randrange(10 ** 25):026}', key is not None, True)

    def do_DELETE(self):
        store = self.server
        key = unquote(self.path.removeprefix(NAMED))
        with store.guard:
            old = None
            if not store.down:
                old = store.files.pop(key, None)
                if old is not None:
                    store.former[key] = old
        self.reply(204 if old is not None else 404)

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == '/v1/files':
            self.list(parse_qs(url.query))
            return
        store = self.server
        key = unquote(self.path.removeprefix(NAMED))
        with store.guard:
            file = store.files.get(key)
            if store.lie == 'stale-read' and key in store.former:
                file = store.former[key]
        if file is None:
            self.reply(404)
            return
        body, version = file
        etag = hashlib.sha256(body).hexdigest()[:40]
        if store.lie == 'short-body' and len(body) > 9000:
            body = body[:-1]
        self.reply(200, body, (('ETag', f'"{etag}-1"'), ('Holdfast-Version', version)))

    def list(self, query):
        """GET /v1/files, in pages of 100."""
        store = self.server
        prefix = query.get('prefix', [''])[0]
        after = query.get('after', [''])[0]
        with store.guard:
            rows = [(key, body, version) for key, (body, version) in store.files.items()
                    if key not in store.unlisted]
            rows += [(key, body, store.files.get(key, [b'', '0'])[1]) for key, body in store.extra]
        rows = sorted((r for r in rows if r[0].startswith(prefix)), key=lambda r: r[0].encode())
        rows = [r for r in rows if r[0].encode() > after.encode()]
        page = [self.describe(*row) for row in rows[:100]]
        if store.lie == 'listing-order':
            page.reverse()
        token = page[-1]['key'] if len(rows) > 100 else None
        self.reply(200, json.dumps({'files': page, 'prefixes': [], 'next': token}).encode())


def flip_unknown(store, oracle):
    """A file that was there after the crash is gone later."""
    for key, file in oracle.files.items():
        if file.value() is not None:
            del store.files[key]
            return


def run(lie):
    """One load, crash and look at a store; raises Wrong."""
    store = Store(lie)
    oracle = Oracle(4)
    try:
        for number in range(2):
            round_ = load.Load(oracle, store, number, f'self/{lie}')
            round_.start()
            end = time.monotonic() + 60
            while round_.acknowledged < WRITES and round_.failure is None:
                if lie == 'breaks-off' and round_.ended() > 0:
                    raise Wrong('a connection broke')  # what Killer.wait() says
                if time.monotonic() > end:
                    raise AssertionError(f'{lie}: {round_.acknowledged} writes in 60 s')
                time.sleep(0.002)
            store.crash()
            round_.join(60)
            if number == 1:
                store.recover()
            store.down = False
            check.check(oracle, store, round_.touched, full=number == 1)
        if lie == 'unknown-flips':
            flip_unknown(store, oracle)
            check.check(oracle, store, (), full=True)
        return round_.unanswered
    finally:
        store.server_close()
        store.shutdown()


def main():
    executed = failed = 0
    for lie in ('', *LIES_RUNNING, *LIES_CRASH):
        said = ''
        try:
            unanswered = run(lie)
            if lie == '' and unanswered == 0:
                said = 'no request was under way at the crash'
        except Wrong as error:
            said = str(error) or 'wrong'
        executed += 1
        good = (said == '') == (lie == '')
        failed += not good
        print(f'{"ok" if good else "FAILED"}: {lie or "honest"}: {said[:160] or "nothing found"}')
    print(f'LAYER e2e-self required={executed} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
