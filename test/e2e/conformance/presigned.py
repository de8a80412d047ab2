"""Presigned addresses: times, each parameter missing, twice, or another."""
import re

from s3_raw import UNSIGNED, encode_query, stamp

PARAMS = ('X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Expires', 'X-Amz-SignedHeaders', 'X-Amz-Signature')


def run(t):
    t.put('a b', b'secret')
    raw, path = t.raw, t.path('a b')
    t.answer('GET', raw.send('GET', raw.presign('GET', path)), 200, body=b'secret')
    t.answer('HEAD', raw.send('HEAD', raw.presign('HEAD', path)), 200, body=b'')
    t.answer('GET again', raw.send('GET', raw.presign('GET', path)), 200, body=b'secret')
    t.answer('PUT', raw.send('PUT', raw.presign('PUT', t.path('new')), body=b'new'), 200)
    t.answer('PUT, large', raw.send('PUT', raw.presign('PUT', t.path('new')), body=b'n' * 100000), 200)
    t.answer('DELETE', raw.send('DELETE', raw.presign('DELETE', t.path('new'))), 204)
    t.answer('list', raw.send('GET', raw.presign('GET', t.path(), more={'list-type': '2', 'prefix': 'a b'})), 200)
    t.answer('response header', raw.send('GET', raw.presign('GET', path, more={'response-content-type': 'a/b'})), 200,
             Content_Type='a/b')
    t.answer('range, not signed', raw.send('GET', raw.presign('GET', path), {'Range': 'bytes=0-2'}), 206, body=b'sec')
    url = raw.presign('GET', path)
    for method in ('PUT', 'DELETE', 'POST'):
        got = raw.send(method, url, body=b'' if method != 'DELETE' else None)
        t.equal(f'for GET, used to {method}', (got.status in (403, 501), b'secret' in got.body), (True, False))
    t.answer('for GET, used to HEAD', raw.send('HEAD', url), 403, body=b'')
    for expires, status, code in (('1', 200, ''), ('604800', 200, ''), ('60', 200, ''),
                                  ('0', 400, 'AuthorizationQueryParametersError'), ('604801', 400, 'AuthorizationQueryParametersError'),
                                  ('-1', 400, 'AuthorizationQueryParametersError'), ('', 400, 'AuthorizationQueryParametersError'),
                                  ('1.5', 400, 'AuthorizationQueryParametersError'), ('x', 400, 'AuthorizationQueryParametersError'),
                                  ('99999999999999999999', 400, 'AuthorizationQueryParametersError'),
                                  ('4294967297', 400, 'AuthorizationQueryParametersError')):
        t.answer(f'expires {expires!r}', raw.send('GET', raw.presign('GET', path, expires=expires)), status, code)
    for shift, expires, good in ((-50, '60', True), (-70, '60', False), (-604700, '604800', True), (-604900, '604800', False),
                                 (800, '60', True), (1000, '60', False), (-2000, '3600', True), (10 ** 8, '60', False)):
        got = raw.send('GET', raw.presign('GET', path, expires=expires, date=stamp(shift)))
        t.answer(f'made {shift} s away, for {expires} s', got, *((200, '') if good else (403, 'AccessDenied')))
    for name in PARAMS:
        without = re.sub(f'{name}=[^&]*&?', '', url).rstrip('&?')
        got = raw.send('GET', without)
        t.equal(f'without {name}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)
        value = re.search(f'{name}=([^&]*)', url).group(1)
        twice = raw.send('GET', f'{url}&{name}={value}')
        t.equal(f'twice {name}', (twice.status in (400, 403), b'secret' in twice.body), (True, False), twice.body)
        empty = raw.send('GET', url.replace(f'{name}={value}', f'{name}='))
        t.equal(f'empty {name}', (empty.status in (400, 403), b'secret' in empty.body), (True, False), empty.body)
    for name, changed in (('another key', url.replace('a%20b', 'a%20c')), ('another bucket', url.replace(t.bucket, 'files')),
                          ('one more parameter', url + '&x=y'), ('one more, empty', url + '&x'), ('a version', url + '&versionId=null'),
                          ('a response header', url + '&response-content-type=a'), ('another algorithm', url.replace('SHA256', 'SHA512')),
                          ('another region', url.replace('us-east-1', 'us-east-2')), ('another service', url.replace('%2Fs3%2F', '%2Fec2%2F')),
                          ('upper-case signature', url[:-64] + url[-64:].upper()), ('short signature', url[:-1]),
                          ('long signature', url + '0'), ('path unescaped', url.replace('a%20b', 'a+b'))):
        got = raw.send('GET', changed)
        t.equal(f'changed: {name}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)
    signature = url[-64:]
    for at in range(0, 64, 7):
        char = '0' if signature[at] != '0' else '1'
        got = raw.send('GET', url[:-64] + signature[:at] + char + signature[at + 1:])
        t.answer(f'signature, digit {at}', got, 403, 'SignatureDoesNotMatch')
    # Headers that the address says were signed.
    date = stamp()
    query = {'X-Amz-Algorithm': 'AWS4-HMAC-SHA256', 'X-Amz-Date': date, 'X-Amz-Expires': '60',
             'X-Amz-Credential': f'{raw.key_id}/{date[:8]}/us-east-1/s3/aws4_request', 'X-Amz-SignedHeaders': 'content-type;host'}
    text = encode_query(query)
    made = raw.signature('PUT', t.path('typed'), text, {'host': raw.host(), 'content-type': 'a/b'}, ['content-type', 'host'],
                         UNSIGNED, date)
    target = f'{t.path("typed")}?{text}&X-Amz-Signature={made}'
    t.answer('signed header: as signed', raw.send('PUT', target, {'Content-Type': 'a/b'}, b'x'), 200)
    t.answer('signed header: another', raw.send('PUT', target, {'Content-Type': 'a/c'}, b'x'), 403, 'SignatureDoesNotMatch')
    got = raw.send('PUT', target, body=b'x')
    t.equal('signed header: not there', got.status, 403, got.body)
    got = raw.send('PUT', raw.presign('PUT', t.path('typed')), {'x-amz-meta-a': 'b'}, b'x')
    t.equal('an x-amz- header that is not signed', got.status, 403, got.body)
    t.answer('a session token', raw.send('GET', raw.presign('GET', path, more={'X-Amz-Security-Token': 'x'})), 400, 'InvalidToken')
