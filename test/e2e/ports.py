"""Ports for servers under test. Python's standard library only."""
import os
import random
import socket
import threading

# Below those that connections are given, so that no client of this machine takes the port of a
# server that is down. Who runs several tests at once gives each a range: TEST_PORTS=A-B,
# B not among them.
FIRST, LAST = 20000, 30000

_taken = set()  # by this process: a server that restarts finds its own free
_lock = threading.Lock()


def port_range():
    """The range: its first, and the one behind its last."""
    given = os.environ.get('TEST_PORTS', f'{FIRST}-{LAST}')
    first, last = given.split('-')
    return int(first), int(last)


def free_port(rng=None):
    """A port that nobody listens on, another one each time."""
    rng = rng or random.SystemRandom()
    while True:
        port = rng.randrange(*port_range())
        with _lock:
            if port in _taken:
                continue
            _taken.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue
