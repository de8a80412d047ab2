"""aws-chunked bodies: sizes, signatures, trailers, lengths, each of them wrong in turn."""
from kit import BIG, CHECKSUMS, checksum, code_of
from s3_raw import CHUNKS, CHUNKS_TRAILER, TRAILER

KINDS = {'signed': CHUNKS, 'signed, trailer': CHUNKS_TRAILER, 'trailer': TRAILER}


class Upload:
    """One PUT in chunks; everything about it can be another."""

    def __init__(self, t, kind, pieces, algorithm='crc32', **more):
        self.t, self.kind, self.pieces, self.algorithm = t, kind, pieces, algorithm
        self.body = b''.join(pieces)
        self.more = more

    def send(self, change=lambda wire: wire, key='k', framed=False):
        path, trailers = self.t.path(key), []
        name = f'x-amz-checksum-{self.algorithm}'
        headers = {'x-amz-decoded-content-length': str(len(self.body)), 'Content-Encoding': 'aws-chunked'}
        if self.kind != CHUNKS:
            headers['x-amz-trailer'] = name
            value = checksum(self.algorithm, self.body) if len(self.body) < 70000 or self.algorithm.startswith('sha') else ''
            trailers = [(name, value)]
        headers |= self.more.get('headers', {})
        headers = {k: v for k, v in headers.items() if v is not None}
        trailers = self.more.get('trailers', trailers)
        signed = self.t.raw.sign('PUT', path, headers=headers, body_hash=self.kind)
        if self.kind == TRAILER:
            wire = b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in self.pieces) + b'0\r\n'
            wire += ''.join(f'{k}:{v}\r\n' for k, v in trailers).encode() + b'\r\n'
        else:
            wire = self.t.raw.chunks(self.pieces, signed, trailers if self.kind == CHUNKS_TRAILER else None)
        wire = change(wire)
        if framed:
            signed['Transfer-Encoding'] = 'chunked'
            return self.t.raw.send('PUT', path, signed, iter([wire[:9], wire[9:]]), chunked=True)
        return self.t.raw.send('PUT', path, signed, wire)


def good(t):
    for kind, word in KINDS.items():
        for name, pieces in (('empty', []), ('one byte', [b'x']), ('small', [b'hello world']), ('8 KiB', [BIG[:8192]]),
                             ('two', [BIG[:8192], BIG[8192:8200]]), ('many', [BIG[i * 8192:][:8192] for i in range(6)] + [b'x'])):
            for framed in (False, True):
                got = Upload(t, word, pieces).send(framed=framed)
                t.answer(f'{kind}, {name}{", framed" if framed else ""}', got, 200)
            t.answer(f'{kind}, {name}: read', t.call('GET', 'k'), 200, body=b''.join(pieces), Content_Encoding=None)
        got = Upload(t, word, [BIG], 'sha256').send()
        t.answer(f'{kind}, large', got, 200)
        t.answer(f'{kind}, large: read', t.call('GET', 'k'), 200, body=BIG)
        got = Upload(t, word, [b'x'], headers={'Content-Encoding': 'aws-chunked,gzip'}).send()
        t.answer(f'{kind}, gzip inside', got, 200)
        t.answer(f'{kind}, gzip inside: read', t.call('GET', 'k'), 200, body=b'x', Content_Encoding='gzip')
        got = Upload(t, word, [b'x'], headers={'Content-Encoding': None}).send()
        t.answer(f'{kind}, encoding not told', got, 200)
        t.answer(f'{kind}, encoding not told: read', t.call('GET', 'k'), 200, body=b'x', Content_Encoding=None)
    for kind in ('signed, trailer', 'trailer'):
        for algorithm in CHECKSUMS:
            header = f'x-amz-checksum-{algorithm}'
            got = Upload(t, KINDS[kind], [b'hello world'], algorithm).send()
            t.answer(f'{kind}, {algorithm}', got, 200, **{header: checksum(algorithm, b'hello world')})


def wrong(t):
    t.put('wrong', b'before')
    for kind, word in KINDS.items():
        for size, pieces in (('small', [b'hello world']), ('large', [BIG, BIG])):
            for name, change, codes in (
                    ('cut at the end', lambda w: w[:-2], 'IncompleteBody'), ('cut in the middle', lambda w: w[:len(w) // 2], 'IncompleteBody'),
                    ('only its begin', lambda w: w[:3], 'IncompleteBody'), ('nothing', lambda w: b'', 'IncompleteBody'),
                    ('a byte behind', lambda w: w + b'x', 'IncompleteBody'), ('a chunk behind', lambda w: w + b'1\r\nx\r\n', 'IncompleteBody'),
                    ('no hex', lambda w: b'g' + w, 'InvalidChunkSizeError'), ('negative', lambda w: b'-' + w, 'InvalidChunkSizeError'),
                    ('0x', lambda w: b'0x' + w, 'InvalidChunkSizeError'), ('space', lambda w: b' ' + w, 'InvalidChunkSizeError'),
                    ('endless', lambda w: b'f' * 20 + w, 'InvalidChunkSizeError'),
                    ('LF only', lambda w: w.replace(b'\r\n', b'\n', 1), 'InvalidChunkSizeError'),
                    ('long line', lambda w: b'0' * 9000 + w, 'InvalidChunkSizeError'),
                    ('a byte of it', lambda w: w.replace(b'hello', b'hallo').replace(BIG[100:120], b'x' * 20, 1),
                     'SignatureDoesNotMatch BadDigest'),
                    ('size one less', lambda w: (b'%x' % (int(w[:w.find(b'b') + 1] or b'b', 16) - 1) + w[1:]) if w[:1] == b'b' else
                     b'3ffff' + w[5:], 'SignatureDoesNotMatch InvalidChunkSizeError IncompleteBody')):
                got = Upload(t, word, pieces, 'sha1').send(change, key='wrong')
                t.equal(f'{kind}, {size}, {name}', (got.status in (400, 403), code_of(got) in codes.split()), (True, True), got.body)
        for name, more in (('one too few', -1), ('one too many', 1)):
            told = {'x-amz-decoded-content-length': str(11 + more)}
            got = Upload(t, word, [b'hello world'], headers=told).send(key='wrong')
            t.answer(f'{kind}, length {name}', got, 400, 'IncompleteBody')
        for value in ('', 'x', '-1', '1.0', '99999999999999999999999'):
            got = Upload(t, word, [b'hello world'], headers={'x-amz-decoded-content-length': value}).send(key='wrong')
            t.equal(f'{kind}, length {value!r}', got.status in (400, 411), True, got.body)
        got = Upload(t, word, [b'x'], headers={'x-amz-decoded-content-length': None}).send(key='wrong')
        t.answer(f'{kind}, no length', got, 411, 'MissingContentLength')
    t.answer('small chunks', Upload(t, CHUNKS, [b'a', b'b']).send(key='wrong'), 403, 'InvalidChunkSizeError')
    t.answer('nothing wrong was kept', t.call('GET', 'wrong'), 200, body=b'before')


def signatures(t):
    """A chunk's signature, one digit off; chunks in another order; a signature of another request."""
    for kind in ('signed', 'signed, trailer'):
        for at in (0, 1, 31, 63):
            def change(wire, at=at):
                begin = wire.index(b'chunk-signature=') + 16 + at
                return wire[:begin] + (b'0' if wire[begin:begin + 1] != b'0' else b'1') + wire[begin + 1:]
            got = Upload(t, KINDS[kind], [b'hello world']).send(change, key='wrong')
            t.answer(f'{kind}, digit {at}', got, 403, 'SignatureDoesNotMatch')
        one, two = BIG[:8192], BIG[8192:16384]

        def swap(wire):
            at = wire.index(b'\r\n' + b'2000;') + 2
            end = wire.index(b'\r\n0;') + 2
            return wire[at:end] + wire[:at] + wire[end:]
        t.answer(f'{kind}, swapped', Upload(t, KINDS[kind], [one, two]).send(swap, key='wrong'), 403, 'SignatureDoesNotMatch')

        def double(wire):
            at = wire.index(b'\r\n' + b'2000;') + 2
            return wire[:at] + wire[:at] + wire[wire.index(b'\r\n0;') + 2:]
        t.answer(f'{kind}, the first twice', Upload(t, KINDS[kind], [one, two]).send(double, key='wrong'), 403, 'SignatureDoesNotMatch')
        for name, text in (('no signature', b'b\r\n'), ('another name', b'b;chunk-signatur=' + b'0' * 64 + b'\r\n'),
                           ('short', b'b;chunk-signature=' + b'0' * 63 + b'\r\n'), ('empty', b'b;chunk-signature=\r\n')):
            got = Upload(t, KINDS[kind], [b'hello world']).send(lambda w, x=text: x + w[w.index(b'\r\n') + 2:], key='wrong')
            t.equal(f'{kind}, signature: {name}', got.status in (400, 403), True, got.body)


def trailers(t):
    name, value = 'x-amz-checksum-crc32', checksum('crc32', b'hello world')
    for kind in ('signed, trailer', 'trailer'):
        for what, told, codes in (
                ('absent', [], 'MalformedTrailerError SignatureDoesNotMatch'), ('another', [('x-amz-checksum-crc32c', value)], 'MalformedTrailerError'),
                ('one more', [(name, value), ('x-amz-meta-a', 'b')], 'MalformedTrailerError'), ('twice', [(name, value)] * 2, 'MalformedTrailerError'),
                ('wrong', [(name, 'AAAAAA==')], 'BadDigest'), ('empty', [(name, '')], 'InvalidRequest'), ('short', [(name, 'AAAA')], 'InvalidRequest'),
                ('no name', [('', value)], 'MalformedTrailerError')):
            got = Upload(t, KINDS[kind], [b'hello world'], trailers=told).send(key='wrong')
            t.equal(f'{kind}, trailer {what}', (got.status in (400, 403), code_of(got) in codes.split()), (True, True), got.body)
        for announced in ('x-amz-checksum-md4', 'x', f'{name},x-amz-checksum-sha1', 'content-type'):
            got = Upload(t, KINDS[kind], [b'hello world'], headers={'x-amz-trailer': announced}).send(key='wrong')
            t.equal(f'{kind}, announced {announced}', got.status, 400, got.body)
        got = Upload(t, KINDS[kind], [b'hello world'], headers={'x-amz-trailer': None}, trailers=[(name, value)]).send(key='wrong')
        t.equal(f'{kind}, not announced', got.status in (400, 403), True, got.body)
        got = Upload(t, KINDS[kind], [b'hello world'], headers={'x-amz-checksum-sha1': checksum('sha1', b'hello world')}).send(key='wrong')
        t.answer(f'{kind}, and one in a header', got, 400, 'InvalidRequest')

    def off(wire):
        at = wire.index(b'x-amz-trailer-signature:') + 24
        return wire[:at] + (b'0' if wire[at:at + 1] != b'0' else b'1') + wire[at + 1:]
    t.answer('signature of the trailer, a digit off', Upload(t, CHUNKS_TRAILER, [b'hello world']).send(off, key='wrong'), 403,
             'SignatureDoesNotMatch')
    got = Upload(t, CHUNKS_TRAILER, [b'hello world']).send(lambda w: w[:w.index(b'x-amz-trailer-signature')] + b'\r\n', key='wrong')
    t.answer('signature of the trailer, absent', got, 403, 'SignatureDoesNotMatch')
    t.answer('after all that', t.call('GET', 'wrong'), 200, body=b'before')


def run(t):
    good(t)
    wrong(t)
    signatures(t)
    trailers(t)
