"""What is kept beside an object and told with it: standard headers, metadata, overrides of one
answer; what must be refused; the bodies of errors."""
import hashlib
import socket

from kit import BIG, md5_of, quote, re, tree
from s3_raw import UNSIGNED

KEPT = {'Content-Type': ('text/plain', 'a/b; c="d"', 'x' * 1024), 'Cache-Control': ('no-cache', 'max-age=1, public'),
        'Content-Disposition': ('inline', 'attachment; filename="a b.txt"', "attachment; filename*=UTF-8''%C3%BC"),
        'Content-Encoding': ('gzip', 'gzip,br'), 'Content-Language': ('de', 'de, en'),
        'Expires': ('Thu, 01 Jan 2099 00:00:00 GMT', '0', 'never')}
METADATA = {'a': '1', 'A-B': 'Upper', 'empty-not': 'x', 'with-dash': 'a-b', 'digits123': '0', 'spaces': 'a b', 'quotes': '"a"',
            'comma': 'a, b', 'percent': '%20', 'encoded': '=?UTF-8?Q?=C3=BC?=', 'long': 'v' * 1000}
# Headers that would change what the client gets: status and code.
REFUSED = {
    'x-amz-storage-class': {'GLACIER': (400, 'InvalidStorageClass'), 'STANDARD_IA': (400, 'InvalidStorageClass'),
                            'x': (400, 'InvalidStorageClass'), 'standard': None},
    'x-amz-server-side-encryption': {'AES256': (501, 'NotImplemented'), 'aws:kms': (501, 'NotImplemented')},
    'x-amz-server-side-encryption-customer-algorithm': {'AES256': (501, 'NotImplemented')},
    'x-amz-website-redirect-location': {'/x': (501, 'NotImplemented')},
    'x-amz-object-lock-mode': {'GOVERNANCE': (501, 'NotImplemented')},
    'x-amz-object-lock-legal-hold': {'ON': (501, 'NotImplemented')},
    'x-amz-object-lock-retain-until-date': {'2030-01-01T00:00:00Z': (501, 'NotImplemented')},
    'x-amz-security-token': {'x': (400, 'InvalidToken')},
    'x-amz-nobody-knows': {'x': (501, 'NotImplemented')},
}


def kept(t):
    for header, values in KEPT.items():
        for value in values:
            for size, body in (('small', b'x'), ('large', BIG)):
                got = t.call('PUT', 'k', body=body, headers={header: value})
                t.answer(f'{header}: {value[:40]}, {size}', got, 200)
            for method in ('GET', 'HEAD'):
                t.answer(f'{header}: {value[:40]}, {method}', t.call(method, 'k'), 200, **{header.replace('-', '_'): value})
    for name, value in METADATA.items():
        t.answer(f'metadata {name}', t.call('PUT', 'k', body=b'x', headers={f'x-amz-meta-{name}': value}), 200)
        t.answer(f'metadata {name}: told', t.call('HEAD', 'k'), 200, **{f'x-amz-meta-{name.lower()}': value})
    t.put('k', b'x')
    t.answer('an overwrite forgets', t.call('HEAD', 'k'), 200, x_amz_meta_long=None, Expires=None,
             Content_Type='binary/octet-stream')
    for name, headers, status in (('2 KiB', {'x-amz-meta-a': 'v' * 2047}, 200), ('2 KiB and one', {'x-amz-meta-a': 'v' * 2048}, 400),
                                  ('of many', {f'x-amz-meta-{i:02}': 'v' * 98 for i in range(20)}, 200),
                                  ('of too many', {f'x-amz-meta-{i:02}': 'v' * 101 for i in range(20)}, 400)):
        t.answer(f'metadata of {name}', t.call('PUT', 'k', body=b'x', headers=headers), status,
                 '' if status == 200 else 'MetadataTooLarge')


def overrides(t):
    t.call('PUT', 'k', body=b'x', headers={'Content-Type': 'own/type', 'Cache-Control': 'own'})
    for header, value in (('content-type', 'a/b'), ('cache-control', 'no-store'), ('content-disposition', 'attachment; filename="x y"'),
                          ('content-encoding', 'br'), ('content-language', 'fr'), ('expires', 'Thu, 01 Jan 2099 00:00:00 GMT')):
        for method in ('GET', 'HEAD'):
            got = t.call(method, 'k', {f'response-{header}': value})
            t.answer(f'override {header}, {method}', got, 200, **{header: value})
        got = t.call('GET', 'k', {f'response-{header}': ''})
        t.equal(f'override {header}, empty', got.status in (200, 400), True)
        for name, evil in (('line', 'a\r\nX-Evil: 1'), ('LF', 'a\nX-Evil: 1'), ('CR', 'a\rX-Evil: 1'), ('zero', 'a\0b'), ('escape', 'a\x1bb')):
            got = t.call('GET', 'k', {f'response-{header}': value + evil})
            t.equal(f'override {header}, {name}', (got.headers['X-Evil'], got.status in (200, 400)), (None, True))
    t.answer('overrides are not kept', t.call('HEAD', 'k'), 200, Content_Type='own/type', Cache_Control='own')


def refused(t):
    t.put('k', b'before')
    for header, values in REFUSED.items():
        for value, wanted in values.items():
            if wanted is not None:
                t.answer(f'{header}: {value}', t.call('PUT', 'k', body=b'x', headers={header: value}), *wanted)
    t.answer('after all that', t.call('GET', 'k'), 200, body=b'before')
    t.answer('standard class', t.call('PUT', 'k', body=b'x', headers={'x-amz-storage-class': 'STANDARD'}), 200)
    t.answer('private', t.call('PUT', 'k', body=b'x', headers={'x-amz-acl': 'private'}), 200)


def bodies(t):
    path = t.path('cut')
    for name, length, sent in (('one byte short', 11, b'hello worl'), ('half', 200000, b'x' * 100000), ('none', 5, b'')):
        headers = t.raw.sign('PUT', path, headers={'Content-Length': str(length), 'Connection': 'close'}, body_hash=UNSIGNED)
        head = f'PUT {path} HTTP/1.1\r\n' + ''.join(f'{k}: {v}\r\n' for k, v in headers.items()) + '\r\n'
        with socket.create_connection(('127.0.0.1', t.raw.port), timeout=60) as connection:
            connection.sendall(head.encode() + sent)
            connection.shutdown(socket.SHUT_WR)
            out = b''
            while piece := connection.recv(65536):
                out += piece
        t.equal(f'cut off: {name}', (out == b'' or b' 400 ' in out[:20], t.call('HEAD', 'cut').status), (True, 404), out)
    signed = t.raw.sign('PUT', path, body_hash=UNSIGNED)
    got = t.raw.send('PUT', path, {**signed, 'Transfer-Encoding': 'chunked'}, iter([b'x']), chunked=True)
    t.answer('no length', got, 411, 'MissingContentLength')
    for name, length, code in (('5 GiB and one', 5 * 2 ** 30 + 1, 'EntityTooLarge'), ('64 bits', 2 ** 63, 'InvalidRequest')):
        signed = t.raw.sign('PUT', path, headers={'Content-Length': str(length)}, body_hash=UNSIGNED)
        got = t.raw.send('PUT', path, signed)
        t.answer(f'length {name}', got, 400, code)
    for size in (0, 1, 4095, 4096, 65535, 65536, 65537, 131072, 1 << 20, (1 << 20) + 1):
        body = hashlib.shake_256(str(size).encode()).digest(size)
        t.answer(f'{size} bytes', t.call('PUT', 'sized', body=body), 200, ETag=md5_of(body))
        t.answer(f'{size} bytes: read', t.call('GET', 'sized'), 200, body=body, ETag=md5_of(body), Content_Length=str(size))
        t.answer(f'{size} bytes: head', t.call('HEAD', 'sized'), 200, body=b'', ETag=md5_of(body), Content_Length=str(size))


def errors(t):
    """Each error tells its code, the resource and the id of its request; HEAD has no body."""
    for name, got, code in (('object', t.call('GET', 'absent<&>"'), 'NoSuchKey'), ('bucket', t.raw.call('GET', '/g-absent/k'), 'NoSuchBucket'),
                            ('argument', t.call('GET', query={'max-keys': 'x'}), 'InvalidArgument'),
                            ('access', t.raw.send('GET', t.path('k')), 'AccessDenied')):
        page = tree(got.body)
        t.equal(f'error of {name}', (page.tag, page.findtext('Code'), bool(page.findtext('Message')), page.findtext('RequestId'),
                                     page.findtext('HostId') is not None),
                ('Error', code, True, got.headers['x-amz-request-id'], True))
        t.equal(f'error of {name}: type', got.headers['Content-Type'], 'application/xml')
    ids = {t.call('GET', 'k').headers['x-amz-request-id'] for _ in range(5)}
    t.equal('each request has its own id', len(ids), 5)
    for name, key, status in (('absent', 'absent', 404), ('there', 'k', 200)):
        got = t.call('HEAD', key)
        t.equal(f'HEAD of {name}', (got.status, got.body), (status, b''))
    got = t.raw.send('HEAD', t.path('k'))
    t.equal('HEAD without a key', (got.status, got.body), (403, b''))
    date = t.call('HEAD', 'k').headers['Last-Modified']
    t.equal('Last-Modified', bool(re.fullmatch(r'\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT', date)), True, date)
    for method in ('PATCH', 'TRACE', 'FOO'):
        signed = t.raw.sign(method, t.path('k'))
        t.equal(f'method {method}', t.raw.send(method, t.path('k'), signed).status in (400, 405, 501), True)
    for param in ('restore', 'select', 'legal-hold', 'retention', 'torrent', 'website', 'analytics', 'inventory', 'metrics',
                  'intelligent-tiering', 'logging', 'notification', 'accelerate', 'requestPayment', 'policyStatus'):
        got = t.call('PUT', 'k', f'{param}=', b'x')
        t.answer(f'PUT ?{param}', got, 501, 'NotImplemented')
    t.answer('two operations at once', t.call('GET', 'k', 'acl=&uploadId=x'), 501, 'NotImplemented')
    t.answer('a parameter twice', t.call('GET', query='list-type=2&prefix=a&prefix=b'), 400, 'InvalidArgument')
    long = quote('x' * 3000)
    t.equal('a very long query', t.call('GET', query=f'list-type=2&prefix={long}').status in (200, 400), True)


def run(t):
    kept(t)
    overrides(t)
    refused(t)
    bodies(t)
    errors(t)
