#!/usr/bin/env python3
"""A real server whose files are mostly deleted: the space comes back while clients read and write, the
process is killed with kill -9 in the middle of it, and every acknowledged file is read back.

    compact.py BINARY [ROUNDS]

Prints `LAYER compact required= executed= failed=`; one test is one kill, and the last one the space.
"""
import http.client
import os
import random
import shlex
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402

FILES, SIZE = 4000, 12000
PACKS = 5
KEPT = 10  # one in so many stays
LOST = (OSError, http.client.HTTPException)


def body_of(key, version):
    return random.Random(f'{key} {version}').randbytes(SIZE)


def packs_bytes(data):
    total = 0
    folder = os.path.join(data, 'packs')
    for name in os.listdir(folder):
        try:
            total += os.stat(os.path.join(folder, name)).st_size
        except FileNotFoundError:
            pass  # unlinked meanwhile
    return total


class Client(threading.Thread):
    """Overwrites and reads its own keys until it is told to stop or the server goes."""

    def __init__(self, server, number, acked):
        super().__init__()
        self.server = server
        self.number = number
        self.acked = acked  # key -> set of versions it may hold
        self.wrong = None
        self.ending = False

    def one(self, connection, draw, key, turn):
        if draw.random() < 0.4:
            version = max(self.acked[key] | {0}) + 1
            before = set(self.acked[key])
            self.acked[key] = before | {version}
            answer = self.server.put('files', key, body_of(key, version), connection=connection)
            if answer.status in (200, 201):
                self.acked[key] = {version}
        else:
            answer = self.server.get('files', key, connection=connection)
            good = [body_of(key, v) for v in self.acked[key] if v > 0]
            if answer.status != 200 or answer.body not in good:
                self.wrong = f'turn {turn}: {key}: status {answer.status}'

    def run(self):
        draw = random.Random(f'{self.number} {time.monotonic()}')
        keys = [key for key in self.acked if hash_of(key) % 3 == self.number]
        try:
            connection = self.server.connect()
            turn = 0
            while not self.ending and self.wrong is None:
                turn += 1
                self.one(connection, draw, draw.choice(keys), turn)
        except LOST:
            pass  # killed


def hash_of(key):
    return int(key.split('-')[1])


def fill(server, acked):
    connection = server.connect()
    for i in range(FILES):
        if i % (FILES // PACKS) == 0 and i > 0:
            server.stop()  # a process never writes to a pack of the one before
            server.start()
            connection = server.connect()
        key = f'file-{i:05d}'
        answer = server.put('files', key, body_of(key, 1), connection=connection)
        assert answer.status == 201, answer.status
        acked[key] = {1}


def delete_most(server, acked):
    connection = server.connect()
    for i in range(FILES):
        key = f'file-{i:05d}'
        if i % KEPT == 0:
            continue
        answer = server.request('DELETE', server.name_path('files', key), connection=connection)
        assert answer.status == 204, answer.status
        del acked[key]


def check_all(server, acked):
    """What is wrong, or None."""
    connection = server.connect()
    for i in range(FILES):
        key = f'file-{i:05d}'
        answer = server.get('files', key, connection=connection)
        if key not in acked:
            if answer.status != 404:
                return f'{key} was deleted and answers {answer.status}'
            continue
        if answer.status != 200:
            return f'{key}: {answer.status}'
        fits = [v for v in acked[key] if v > 0 and answer.body == body_of(key, v)]
        if not fits:
            return f'{key} holds another body'
        acked[key] = set(fits)
    return None


def run(binary, folder, rounds):
    data = os.path.join(folder, 'data')
    server = Server(binary, data, os.path.join(folder, 'log'), ['--compact-rate', '32MiB'])
    acked = {}
    failed = 0
    try:
        server.start()
        fill(server, acked)
        server.stop()
        server.start()
        full = packs_bytes(data)
        delete_most(server, acked)
        for turn in range(rounds):
            clients = [Client(server, number, acked) for number in range(3)]
            for client in clients:
                client.start()
            time.sleep(0.4 + random.random() * 1.2)
            server.kill()
            for client in clients:
                client.join()
            server.start()
            wrong = next((c.wrong for c in clients if c.wrong), None) or check_all(server, acked)
            failed += wrong is not None
            print(f'kill {turn + 1}: {wrong or "all there"}, packs {packs_bytes(data) >> 10} KiB '
                  f'of {full >> 10}', flush=True)
        end = time.monotonic() + 300
        live = sum(1 for _ in acked) * SIZE
        while packs_bytes(data) > 2 * live + (16 << 20) and time.monotonic() < end:
            time.sleep(0.2)
        left = packs_bytes(data)
        began = sum(1 for e in server.events() if e['event'] == 'compact.began')
        unlinked = sum(1 for e in server.events() if e['event'] == 'compact.unlinked')
        good = left <= 2 * live + (16 << 20) and check_all(server, acked) is None
        failed += not good
        print(f'{full >> 20} MiB of packs became {left >> 20} MiB, {live >> 20} MiB live; {began} '
              f'compactions begun, {unlinked} packs unlinked')
        failed += server.stop() != 0
    finally:
        server.end()
    return failed


def main():
    binary = shlex.split(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    folder = tempfile.mkdtemp(prefix='holdfast-compact-')
    try:
        failed = run(binary, folder, rounds)
    finally:
        shutil.rmtree(folder)
    print(f'LAYER compact required={rounds + 1} executed={rounds + 1} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
