"""Version 4 signatures in headers: each part one byte off in turn, what is canonical, dates, hashes."""
from kit import code_of, quote
from s3_raw import stamp

UNSIGNED = 'UNSIGNED-PAYLOAD'


def other(char):
    """Another of the same kind."""
    return {'0': '1', '9': '8', 'a': 'b', 'f': 'e', 'z': 'y', 'Z': 'Y', 'A': 'B'}.get(char, chr(ord(char) + 1))


def refused(t, name, got):
    """The case: not taken, whatever the code, and nothing of the object told."""
    t.equal(name, (got.status in (400, 403), b'secret' in got.body), (True, False), (got.status, got.body))


def one_byte_off(t):
    """Of a request that is good: each character of each signed part is another, one at a time."""
    query = 'response-content-type=a%2Fb&x-id=GetObject'
    path = t.path('k')
    good = t.raw.sign('GET', path, query, {'x-amz-meta-x': 'value', 'Range': 'bytes=0-5'})
    t.answer('as it is', t.raw.send('GET', f'{path}?{query}', good), 206, body=b'secret')
    authorization = good['Authorization']
    for at, char in enumerate(authorization):
        if not char.isalnum():
            continue
        changed = authorization[:at] + other(char) + authorization[at + 1:]
        refused(t, f'Authorization, byte {at}', t.raw.send('GET', f'{path}?{query}', {**good, 'Authorization': changed}))
    for header in ('Host', 'x-amz-date', 'x-amz-content-sha256', 'x-amz-meta-x', 'Range'):
        value = good[header]
        for at, char in enumerate(value):
            if not char.isalnum() or header == 'Range' and at < 6:
                continue
            changed = value[:at] + other(char) + value[at + 1:]
            refused(t, f'{header}, byte {at}', t.raw.send('GET', f'{path}?{query}', {**good, header: changed}))
    for at, char in enumerate(query):
        if char.isalnum() and query[at - 1] != '%' and query[at - 2] != '%':
            changed = query[:at] + other(char) + query[at + 1:]
            refused(t, f'query, byte {at}', t.raw.send('GET', f'{path}?{changed}', good))
    for at, char in enumerate(path):
        if char.isalnum():
            changed = path[:at] + other(char) + path[at + 1:]
            refused(t, f'path, byte {at}', t.raw.send('GET', f'{changed}?{query}', good))
    for method in ('PUT', 'DELETE', 'POST', 'OPTIONS', 'PATCH'):
        got = t.raw.send(method, f'{path}?{query}', good)
        t.equal(f'method {method}', got.status >= 400 and b'secret' not in got.body, True, got.body)
    t.equal('still there', t.call('GET', 'k').body, b'secret')


def parts(t):
    """The Authorization header as no client writes it."""
    path = t.path('k')
    good = t.raw.sign('GET', path)
    whole = good['Authorization']
    credential = whole.split('Credential=')[1].split(',')[0]
    signature = whole.split('Signature=')[1]
    names = whole.split('SignedHeaders=')[1].split(',')[0]
    head = 'AWS4-HMAC-SHA256'
    for name, value, code in (
            ('empty', '', None), ('algorithm only', head, 'AuthorizationHeaderMalformed'),
            ('another algorithm', whole.replace('SHA256', 'SHA512'), None), ('basic', 'Basic YTpi', 'InvalidRequest'),
            ('lower case', whole.replace(head, head.lower()), None),
            ('no credential', f'{head} SignedHeaders={names}, Signature={signature}', 'AuthorizationHeaderMalformed'),
            ('no headers', f'{head} Credential={credential}, Signature={signature}', 'AuthorizationHeaderMalformed'),
            ('no signature', f'{head} Credential={credential}, SignedHeaders={names}', 'AuthorizationHeaderMalformed'),
            ('empty credential', whole.replace(credential, ''), 'AuthorizationHeaderMalformed'),
            ('short credential', whole.replace(credential, credential.rsplit('/', 1)[0]), 'AuthorizationHeaderMalformed'),
            ('long credential', whole.replace(credential, credential + '/x'), 'AuthorizationHeaderMalformed'),
            ('another service', whole.replace('/s3/', '/sqs/'), 'AuthorizationHeaderMalformed'),
            ('another end', whole.replace('aws4_request', 'aws5_request'), 'AuthorizationHeaderMalformed'),
            ('another key', whole.replace(t.raw.key_id, 'AKIAIOSFODNN7EXAMPLE'), 'InvalidAccessKeyId'),
            ('empty signature', whole.replace(signature, ''), None), ('short signature', whole[:-1], None),
            ('long signature', whole + '0', None), ('upper-case signature', whole.replace(signature, signature.upper()), None),
            ('signature of zeros', whole.replace(signature, '0' * 64), 'SignatureDoesNotMatch'),
            ('no signed headers', whole.replace(names, ''), None), ('host only', whole.replace(names, 'host'), None),
            ('without host', whole.replace('host;', ''), None), ('headers unsorted', whole.replace(
                names, ';'.join(reversed(names.split(';')))), None), ('headers in upper case', whole.replace(names, names.upper()), None),
            ('a header that is not there', whole.replace(names, names + ';x-none'), None),
            ('very long', whole + 'x' * 6000, None)):
        got = t.raw.send('GET', path, {**good, 'Authorization': value})
        if code is None:
            refused(t, f'header: {name}', got)
        else:
            t.equal(f'header: {name}', (got.status in (400, 403), code_of(got)), (True, code))
    t.answer('no header at all', t.raw.send('GET', path), 403, 'AccessDenied')
    both = {**good, 'Authorization': whole}
    refused(t, 'in header and address', t.raw.send('GET', t.raw.presign('GET', path), both))
    missing = {k: v for k, v in good.items() if k != 'x-amz-date'}
    refused(t, 'no date', t.raw.send('GET', path, missing))
    missing = {k: v for k, v in good.items() if k != 'x-amz-content-sha256'}
    refused(t, 'no hash', t.raw.send('GET', path, missing))
    for name in ('x-amz-meta-y', 'x-amz-acl', 'x-amz-copy-source', 'x-amz-date-of'):
        refused(t, f'not signed: {name}', t.raw.send('GET', path, {**good, name: 'private'}))
    t.answer('not signed, and no x-amz: taken', t.raw.send('GET', path, {**good, 'Accept': '*/*'}), 200, body=b'secret')


def dates(t):
    path = t.path('k')
    for shift, code in ((0, ''), (-800, ''), (800, ''), (-1000, 'RequestTimeTooSkewed'), (1000, 'RequestTimeTooSkewed'),
                        (-86400, 'RequestTimeTooSkewed'), (86400, 'RequestTimeTooSkewed'), (-10 ** 9, 'RequestTimeTooSkewed')):
        got = t.raw.call('GET', path, date=stamp(shift))
        t.answer(f'date {shift}', got, 403 if code else 200, code)
    for date in ('20260101', '2026-01-01T00:00:00Z', '20261301T000000Z', '20260132T000000Z', '20260101T250000Z', 'x' * 16, '',
                 stamp() + 'x', stamp()[:-1], stamp().lower()):
        refused(t, f'date {date!r}', t.raw.call('GET', path, date=date) if date else t.raw.send(
            'GET', path, {**t.raw.sign('GET', path), 'x-amz-date': ''}))
    yesterday = stamp(-86400)[:8]
    good = t.raw.sign('GET', path)
    refused(t, 'scope of another day', t.raw.send('GET', path, {**good, 'Authorization': good['Authorization'].replace(
        f'/{stamp()[:8]}/', f'/{yesterday}/')}))
    for region in ('us-east-1', 'eu-west-1', 'x', 'a' * 60):
        t.answer(f'region {region[:10]}', t.raw.call('GET', path, region=region), 200, body=b'secret')


def canonical(t):
    """What is the same request: spaces, order, escapes."""
    path = t.path('k')
    for name, value in (('spaces inside', 'a   b'), ('spaces around', '  a  '), ('empty', ''), ('comma', 'a,b'), ('tab', 'a\tb'),
                        ('UTF-8', 'ü'), ('long', 'v' * 1500), ('quotes', '"a  b"')):
        sent = t.raw.sign('PUT', path, headers={'x-amz-meta-v': value.encode().decode('latin-1')}, body_hash=UNSIGNED) \
            if name != 'UTF-8' else None
        if sent is None:
            continue
        got = t.raw.send('PUT', path, sent, b'secret')
        t.answer(f'header value: {name}', got, 200)
    for name, sent, signed in (('sorted', 'list-type=2&max-keys=1', 'list-type=2&max-keys=1'),
                               ('unsorted', 'max-keys=1&list-type=2', 'list-type=2&max-keys=1'),
                               ('no value', 'uploads', 'uploads='), ('empty value', 'uploads=', 'uploads='),
                               ('slash raw', 'list-type=2&prefix=a/b', 'list-type=2&prefix=a%2Fb'),
                               ('lower-case hex', 'list-type=2&prefix=%c3%bc', 'list-type=2&prefix=%C3%BC'),
                               ('unicode', 'list-type=2&prefix=%F0%9F%8E%88', 'list-type=2&prefix=%F0%9F%8E%88'),
                               ('equals sign', 'list-type=2&prefix=a=b', 'list-type=2&prefix=a%3Db'),
                               ('tilde', 'list-type=2&prefix=~', 'list-type=2&prefix=~')):
        got = t.raw.send('GET', f'{t.path()}?{sent}', t.raw.sign('GET', t.path(), signed))
        t.answer(f'query: {name}', got, 200)
    for key in ('a b', 'a+b', '~', "!*'()", 'ü', '%', 'a/b//c', '=&'):
        t.put(key, key.encode())
        raw = f'/{t.bucket}/' + quote(key, '/')
        t.answer(f'path: {key}', t.raw.call('GET', raw), 200, body=key.encode())


def hashes(t):
    path = t.path('h')
    for name, body_hash, code in (('of another body', '0' * 64, 'XAmzContentSHA256Mismatch'), ('text', 'x', 'InvalidRequest'),
                                  ('short', '0' * 63, 'InvalidRequest'), ('upper case', None, None),
                                  ('another word', 'UNSIGNED', 'InvalidRequest'),
                                  ('by key pairs', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'NotImplemented')):
        if body_hash is None:
            continue
        for size, body in (('small', b'x'), ('large', b'x' * 100000)):
            got = t.raw.call('PUT', path, body=body, body_hash=body_hash)
            t.answer(f'hash {name}, {size}', got, 501 if code == 'NotImplemented' else 400, code)
    t.equal('hash: nothing was kept', t.call('HEAD', 'h').status, 404)
    t.answer('hash: unsigned', t.raw.call('PUT', path, body=b'x', body_hash=UNSIGNED), 200)
    t.answer('hash: of a GET', t.raw.call('GET', path, body_hash='0' * 64), 400, 'XAmzContentSHA256Mismatch')


def run(t):
    t.put('k', b'secret')
    one_byte_off(t)
    parts(t)
    dates(t)
    canonical(t)
    hashes(t)
