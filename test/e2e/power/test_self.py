#!/usr/bin/env python3
"""Tests of what the rig of cuts believes: which states history.py allows, which images blocks.py makes.

Prints `LAYER power-self required= executed= failed=`.
"""
import json
import math
import os
import random
import sys
import tempfile

from blocks import MAGIC, RECORD, WAYS, Cuts
from history import DONE, EXISTS, SEEN, UNKNOWN, Event, History, file_at, told_by
from oracle import Value  # history.py knows the way there

INFINITE = math.inf
A, B = Value('a' * 64, 1, '01'), Value('b' * 64, 2, '02')
C = Value('c' * 64, 3, '03')
LOST = Value('d' * 64, 4)  # never answered

# What it is about, events (kind, value, start, end, life), cut, values that are possible; None: no File.
STATES = (
    ('nothing was asked yet', [(DONE, A, 5, 9, 1)], 5, None),
    ('it was under way', [(DONE, A, 5, 9, 1)], 6, [None, A]),
    ('it was answered', [(DONE, A, 5, 9, 1)], 9, [A]),
    ('a deletion was under way', [(DONE, A, 5, 9, 1), (DONE, None, 10, 14, 1)], 12, [A, None]),
    ('it was deleted', [(DONE, A, 5, 9, 1), (DONE, None, 10, 14, 1)], 14, [None]),
    ('it came back', [(DONE, A, 5, 9, 1), (DONE, None, 10, 14, 1), (DONE, B, 15, 19, 1)], 19, [B]),
    ('two were under way', [(DONE, B, 5, 9, 1), (DONE, A, 5, 10, 1)], 7, [None, B, A]),
    ('the newer was answered first', [(DONE, B, 5, 9, 1), (DONE, A, 5, 12, 1)], 10, [B]),
    ('the newer was answered, both were', [(DONE, B, 5, 9, 1), (DONE, A, 5, 12, 1)], 12, [B]),
    ('no answer', [(UNKNOWN, LOST, 5, INFINITE, 1)], 50, [None, LOST]),
    ('no answer to a deletion', [(DONE, A, 5, 9, 1), (UNKNOWN, None, 10, INFINITE, 1)], 50,
     [A, None]),
    ('no answer in a life before', [(UNKNOWN, LOST, 5, INFINITE, 1), (DONE, A, 9, 12, 2)], 12, [A]),
    ('no answer in the same life', [(UNKNOWN, LOST, 5, INFINITE, 1), (DONE, A, 9, 12, 1)], 12,
     [A, LOST]),
    ('a look settled it: absent', [(UNKNOWN, LOST, 5, INFINITE, 1), (SEEN, None, 9, 12, 2)], 12,
     [None]),
    ('a look settled it: there', [(UNKNOWN, LOST, 5, INFINITE, 1), (SEEN, C, 9, 12, 2)], 12, [C]),
    ('the look was after the cut', [(UNKNOWN, LOST, 5, INFINITE, 1), (SEEN, None, 9, 12, 2)], 11,
     [None, LOST]),
    ('refused since it exists', [(UNKNOWN, LOST, 5, INFINITE, 1), (EXISTS, None, 6, 9, 1)], 9, [LOST]),
    ('refused after the cut', [(UNKNOWN, LOST, 5, INFINITE, 1), (EXISTS, None, 6, 9, 1)], 8,
     [None, LOST]),
    ('only looked at, later', [(SEEN, A, 9, 12, 2)], 11, None),
)


class Answer:
    """As door.Reply."""

    def __init__(self, status, body=b'', headers=()):
        self.status = status
        self.body = body
        self.headers = dict(headers)

    def json(self):
        """The body as JSON."""
        return json.loads(self.body or b'{}')

    def code(self):
        """`code` of a problem."""
        return self.json().get('code', '')


STORED = Answer(201, b'{"version": "01", "key": "k"}')
ABSENT_ONLY = (('If-None-Match', '*'),)
# method, headers, reply → kind, None: nothing is told
ANSWERS = (
    ('PUT', (), STORED, DONE), ('POST', (), STORED, DONE), ('DELETE', (), Answer(204), DONE),
    ('PUT', (), None, UNKNOWN), ('DELETE', (), None, UNKNOWN), ('GET', (), None, None),
    ('PUT', (), Answer(503, b'{"code": "outcome-unknown"}'), UNKNOWN),
    ('PUT', (), Answer(503, b'{"code": "busy"}'), None),
    ('PUT', ABSENT_ONLY, Answer(412), EXISTS), ('POST', (), Answer(409), EXISTS),
    ('PUT', (('If-Match', '"x"'),), Answer(412), None), ('DELETE', (), Answer(404), None),
    ('GET', (), Answer(404), SEEN),
    ('GET', (), Answer(200, b'body', {'holdfast-version': '01'}), SEEN),
)


def same(value, other):
    """Are two Values, or None, the same?"""
    if value is None or other is None:
        return value is other
    return (value.sha256, value.version) == (other.sha256, other.version)


def test_states():
    """file_at() allows exactly what may be."""
    for what, rows, cut, expected in STATES:
        file = file_at('key', [Event(*row) for row in rows], cut)
        found = None if file is None else file.maybe
        good = found == expected if expected is None or found is None else (
            len(found) == len(expected) and all(map(same, found, expected)))
        yield what, '' if good else f'{[str(v) for v in found or ()]}'


def test_answers():
    """told_by() reads answers as they are meant."""
    for method, headers, reply, kind in ANSWERS:
        told = told_by(method, headers, b'body', reply)
        found = told and told[0]
        yield (f'{method} {headers} {reply and reply.status}',
               '' if found == kind else f'{found}, not {kind}')


def test_nameless():
    """A POST without a key and an answer may have left a file, under any key, if it was sent."""
    history = History(lambda: 9)
    history.note('POST', '/v1/files?bucket=files', (), b'body', 5, None)
    early, late = history.at(5, 1), history.at(6, 1)
    yield 'a nameless file', '' if not early.nameless and len(late.nameless) == 1 else 'wrong'


def image_of(writes, cut, way, seed):
    """The image that a cut leaves of (offset, bytes) writes, None standing for a flush."""
    with tempfile.TemporaryDirectory() as directory:
        base, log, out = (os.path.join(directory, name) for name in ('base', 'log', 'out'))
        with open(base, 'wb') as file:
            file.write(b'.' * 65536)
        with open(log, 'wb') as file:
            for write in writes:
                offset, data = write or (0, b'')
                file.write(RECORD.pack(MAGIC, 1 if write else 2, offset, len(data)) + data)
        cuts = Cuts(base, log, 512)
        late = cuts.make(cut, way, random.Random(seed), out)
        cuts.close()
        with open(out, 'rb') as file:
            return file.read(), late


def test_images():
    """What is flushed is there, what comes later is not, of the rest it depends."""
    writes = [(8192, b'a' * 4096), None, (8192, b'b' * 4096), (16384, b'c' * 4096), None,
              (32768, b'd' * 4096)]
    seen = {way: set() for way in WAYS}
    for way in WAYS:
        for seed in range(60):
            image, late = image_of(writes, 4, way, seed)
            seen[way].add(image)
            if late != 2 or image[32768:36864] != b'.' * 4096 or b'.' in image[8192:12288]:
                yield way, 'a flushed write is lost, or a later one there'
            image, late = image_of(writes, 5, way, seed)
            if late != 0 or image[8192:12288] + image[16384:20480] != b'b' * 4096 + b'c' * 4096:
                yield way, 'behind the flush something is lost'
    counts = {way: len(images) for way, images in seen.items()}
    least = {'half': 4, 'torn': 30, 'first': 3, 'none': 1, 'all': 1}
    good = all(least[way] <= counts[way] <= (60 if way == 'torn' else least[way]) for way in WAYS)
    yield 'ways differ', '' if good else f'different images: {counts}'
    yield 'sectors are whole', '' if all(
        len(set(image[at:at + 512])) == 1 for image in seen['torn']
        for at in range(0, len(image), 512)) else 'a sector is torn'


def main():
    executed = failed = 0
    for test in (test_states, test_answers, test_nameless, test_images):
        for what, wrong in test():
            executed += 1
            failed += wrong != ''
            print(f'{"FAILED" if wrong else "ok"}: {test.__name__}: {what}: {wrong or "yes"}')
    required = len(STATES) + len(ANSWERS) + 3
    print(f'LAYER power-self required={required} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
