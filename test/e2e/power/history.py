"""What was asked of a store and answered, against the writes to its disk.

A RecordingDoor notes before each request and after its answer how many writes and flushes the disk
has logged (blocklog.c). So for a cut of power behind any of them it can be told what the store must
hold: what was answered before; perhaps what was under way; nothing that was asked for later.
"""
import math
import os
import sys
import threading
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'kill'))
from door import Broken, Door  # noqa: E402
from oracle import File, Oracle, Value  # noqa: E402

NAMED = '/v1/buckets/files/files/'

DONE, UNKNOWN, EXISTS, SEEN = 'done', 'unknown', 'exists', 'seen'


class Event:
    """A request whose answer tells something of a key. start, end: records that the disk's log held
    before it was sent and after it was answered; end is infinite if it was not.
    DONE: value was stored, None: deleted. UNKNOWN: perhaps it was. EXISTS: refused because the key is
    there. SEEN: a read showed value, None: nothing."""
    __slots__ = ('kind', 'value', 'start', 'end', 'life')

    def __init__(self, kind, value, start, end, life):
        self.kind = kind
        self.value = value
        self.start = start
        self.end = end
        self.life = life  # of the server: 1 for its first process


def key_of(target):
    """The key that a target names; None for a POST without a key and for a listing."""
    if target.startswith(NAMED):
        return unquote(target.removeprefix(NAMED))
    return parse_qs(urlsplit(target).query).get('key', [None])[0]


def told_by(method, headers, body, reply):
    """(kind, value) that a reply, None if none came, tells of the key of a request; None: nothing."""
    sent = None if method == 'DELETE' else Value.of(body)
    if reply is None or (reply.status == 503 and reply.code() == 'outcome-unknown'):
        return None if method == 'GET' else (UNKNOWN, sent)
    if method == 'GET':
        if reply.status == 404:
            return SEEN, None
        if reply.status != 200:
            return None
        return SEEN, Value.of(reply.body, reply.headers.get('holdfast-version'))
    if reply.status in (200, 201, 204):
        if sent is not None:
            sent.version = reply.json()['version']
        return DONE, sent
    if reply.status == 409 or (reply.status == 412 and ('If-None-Match', '*') in headers):
        return EXISTS, None
    return None


class History:
    """All Events, by key. position: how many records the disk's log holds now."""

    def __init__(self, position):
        self.position = position
        self.life = 0
        self.lock = threading.Lock()
        self.events = {}    # key → Events, in the order of their answers
        self.nameless = []  # Events of POSTs without a key and an answer

    def note(self, method, target, headers, body, start, reply):
        """Takes a request in that has ended just now."""
        told = told_by(method, headers, body, reply)
        key = key_of(target)
        if told is None or (method == 'GET' and key is None):
            return
        end = math.inf if told[0] == UNKNOWN else self.position()
        event = Event(*told, start, end, self.life)
        if key is None and reply is not None:
            key = reply.json().get('key')
        with self.lock:
            if key is None:
                self.nameless.append(event)
            else:
                self.events.setdefault(key, []).append(event)

    def at(self, cut, connections):
        """The Oracle of a cut behind the first `cut` records; connections as of Oracle."""
        oracle = Oracle(connections)
        oracle.nameless = [e.value for e in self.nameless if e.start < cut]
        for key, events in self.events.items():
            file = file_at(key, events, cut)
            if file is not None:
                oracle.add(file)
        return oracle


def file_at(key, events, cut):
    """The File of a key at a cut; None if it can't be there yet."""
    base = None     # what was answered last
    late = []       # Events that may have been done
    version = ''
    exists = touched = False
    for event in events:
        before = event.end <= cut
        if event.start >= cut or (event.kind in (SEEN, EXISTS) and not before):
            continue
        touched = True
        if event.kind == EXISTS:
            exists = True
        elif event.kind == SEEN:
            base, late, exists = event.value, [], False
        elif not before:
            late.append(event)
        else:
            late = [e for e in late if e.life == event.life]
            if event.value is None:
                base = None
            elif event.value.version > version:
                base = event.value
        if before and event.value is not None:
            version = max(version, event.value.version)
    if not touched:
        return None
    # What was answered after the cut has a version: what is older than the last before it is gone.
    values = [e.value for e in late
              if e.value is None or e.value.version is None or e.value.version > version]
    file = File(key)
    file.version = version
    file.maybe = values if exists and base is None else [base] + values
    return file


class RecordingDoor(Door):
    """A Door that tells a History of each request."""

    def __init__(self, history, port, key):
        super().__init__(port, key)
        self.history = history

    def request(self, method, target, headers=(), body=b'', chunked=False):
        start = self.history.position()
        try:
            reply = super().request(method, target, headers, body, chunked)
        except Broken as error:
            if error.sent:
                self.history.note(method, target, headers, body, start, None)
            raise
        self.history.note(method, target, headers, body, start, reply)
        return reply
