"""Signature Version 2, where it is set: presigned addresses and forms, each byte another, each parameter missing,
empty, twice and one more, old and far times; what it does not cover is not taken."""
import base64
import hashlib
import hmac
import json
import re
import time
import urllib.parse

from kit import code_of, encode_query, md5_of, text, tree
from s3_raw import REGION, mac, stamp

OPTIONS = ['--s3-sigv2']
PARAMS = ('AWSAccessKeyId', 'Expires', 'Signature')
EDGE = 'edge'


def run(t):
    t.put('a b', b'secret', Content_Type='text/a')
    works(t)
    times(t)
    changed(t)
    parameters(t)
    headers(t)
    elsewhere(t)
    forms(t)


def works(t):
    raw, path = t.raw, t.path('a b')
    t.answer('GET', raw.send('GET', raw.presign_v2('GET', path)), 200, body=b'secret')
    t.answer('HEAD', raw.send('HEAD', raw.presign_v2('HEAD', path)), 200, body=b'')
    t.answer('GET again', raw.send('GET', raw.presign_v2('GET', path)), 200, body=b'secret')
    t.answer('range', raw.send('GET', raw.presign_v2('GET', path), {'Range': 'bytes=0-2'}), 206, body=b'sec')
    t.answer('condition', raw.send('GET', raw.presign_v2('GET', path), {'If-None-Match': md5_of(b'secret')}), 304)
    for size in (0, 1, 65536, 65537, 300000):
        data = b'n' * size
        t.answer(f'PUT {size}', raw.send('PUT', raw.presign_v2('PUT', t.path('new')), body=data), 200, ETag=md5_of(data))
        t.answer(f'PUT {size}, read', raw.send('GET', raw.presign_v2('GET', t.path('new'))), 200, body=data)
    t.answer('PUT in pieces', raw.send('PUT', raw.presign_v2('PUT', t.path('new')), body=iter([b'a', b'b' * 70000]), chunked=True), 411,
             'MissingContentLength')
    t.answer('DELETE', raw.send('DELETE', raw.presign_v2('DELETE', t.path('new'))), 204)
    t.answer('DELETE again', raw.send('DELETE', raw.presign_v2('DELETE', t.path('new'))), 204)
    for key in ('ä/ö', 'a+b', 'a%b', '//', "a'b", 'a&b=c', '日本', 'k' * 1024):
        where = t.path(key)
        t.answer(f'PUT {key[:9]!r}', raw.send('PUT', raw.presign_v2('PUT', where), body=b'x'), 200)
        t.answer(f'GET {key[:9]!r}', raw.send('GET', raw.presign_v2('GET', where)), 200, body=b'x')
    for query in ('acl', 'tagging'):
        t.answer(f'GET ?{query}', raw.send('GET', raw.presign_v2('GET', path, query=query)), 200)
    for query in ('acl', 'location', 'versioning', 'versions', 'uploads', 'requestPayment', 'logging', 'notification'):
        t.answer(f'GET bucket ?{query}', raw.send('GET', raw.presign_v2('GET', t.path(), query=query)), 200)
    for query, code in (('cors', 'NoSuchCORSConfiguration'), ('policy', 'NoSuchBucketPolicy'), ('lifecycle', 'NoSuchLifecycleConfiguration'),
                        ('website', 'NoSuchWebsiteConfiguration'), ('replication', 'ReplicationConfigurationNotFoundError')):
        t.answer(f'GET bucket ?{query}', raw.send('GET', raw.presign_v2('GET', t.path(), query=query)), 404, code)
    t.answer('a list', raw.send('GET', raw.presign_v2('GET', t.path())), 200)
    for name, value in (('response-content-type', 'a/b'), ('response-cache-control', 'no-store'), ('response-content-language', 'de'),
                        ('response-content-disposition', 'attachment; filename="a b"'), ('response-content-encoding', 'x')):
        got = raw.send('GET', raw.presign_v2('GET', path, query=f'{name}={urllib.parse.quote(value, safe="")}'))
        t.equal(name, (got.status, got.headers[name[9:]]), (200, value))
    url = raw.presign_v2('POST', t.path('parts'), query='uploads')
    upload = text(tree(raw.send('POST', url, body=b'').body), 'UploadId')
    query = f'partNumber=1&uploadId={upload}'
    part = raw.send('PUT', raw.presign_v2('PUT', t.path('parts'), query=query), body=b'part')
    t.answer('UploadPart', part, 200, ETag=md5_of(b'part'))
    body = f'<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part.headers["ETag"]}</ETag></Part></CompleteMultipartUpload>'
    t.answer('Complete', raw.send('POST', raw.presign_v2('POST', t.path('parts'), query=f'uploadId={upload}'), body=body.encode()), 200)
    t.answer('of parts', raw.send('GET', raw.presign_v2('GET', t.path('parts'))), 200, body=b'part')


def times(t):
    raw, path, now = t.raw, t.path('a b'), int(time.time())
    for name, expires, status in (('in 5 s', now + 5, 200), ('in a year', now + 31536000, 200), ('in 100 years', now + 3153600000, 200),
                                  ('a second ago', now - 2, 403), ('in 1970', 1, 403), ('at 0', 0, 403)):
        got = raw.send('GET', raw.presign_v2('GET', path, expires))
        t.answer(f'expires {name}', got, status, *(['AccessDenied'] if status == 403 else []))
    for expires in ('-1', 'x', '1.5', '1e10', '+5', ' 5', '99999999999999999999', '0x7fffffff', '18446744073709551616'):
        got = raw.send('GET', raw.presign_v2('GET', path, urllib.parse.quote(expires)).replace(f'Expires={expires}', 'Expires=' + urllib.parse.quote(
            expires, safe='')))
        t.equal(f'expires {expires!r}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)


def changed(t):
    raw, path = t.raw, t.path('a b')
    url = raw.presign_v2('GET', path)
    signature = urllib.parse.unquote(re.search('Signature=(.*)', url)[1])
    base = url[:url.index('Signature=')] + 'Signature='
    for at, char in enumerate(signature[:27]):  # of the last digit two bits are none
        other = signature[:at] + ('A' if char != 'A' else 'B') + signature[at + 1:]
        t.answer(f'signature, byte {at}', raw.send('GET', base + urllib.parse.quote(other, safe='')), 403, 'SignatureDoesNotMatch')
    for name, other in (('short', signature[:-1]), ('long', signature + '='), ('of zeros', 'A' * 27 + '='), ('lower case', signature.lower()),
                        ('twice as long', signature * 2), ('behind a space', ' ' + signature)):
        got = raw.send('GET', base + urllib.parse.quote(other, safe=''))
        t.equal(f'signature, {name}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)
    key_id = raw.key_id
    for at in range(len(key_id)):
        other = key_id[:at] + ('X' if key_id[at] != 'X' else 'Y') + key_id[at + 1:]
        t.answer(f'key id, byte {at}', raw.send('GET', url.replace(key_id, other)), 403, 'InvalidAccessKeyId')
    expires = re.search(r'Expires=(\d+)', url)[1]
    for at in range(len(expires)):
        other = expires[:at] + str((int(expires[at]) + 1) % 10) + expires[at + 1:]
        got = raw.send('GET', url.replace(expires, other))
        t.equal(f'expires, digit {at}', (got.status, code_of(got) in ('SignatureDoesNotMatch', 'AccessDenied')), (403, True), got.body)
    for method in ('PUT', 'DELETE', 'POST', 'HEAD'):
        got = raw.send(method, url, body=b'' if method in ('PUT', 'POST') else None)
        t.equal(f'for GET, used to {method}', got.status in (403, 501), True, got.body)
    for name, other in (('another key', url.replace('a%20b', 'a%20c')), ('another bucket', url.replace(t.bucket, 'files')),
                        ('a slash more', url.replace('a%20b', 'a%20b/')), ('a plus', url.replace('a%20b', 'a+b')),
                        ('path escaped in lower case', url.replace('%20', '%2520')), ('the bucket', url.replace('/a%20b', ''))):
        got = raw.send('GET', other)
        t.equal(f'changed: {name}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)
    other_key = raw.send('GET', url.replace(f'AWSAccessKeyId={key_id}', 'AWSAccessKeyId=' + key_id.lower()))
    t.equal('key id in lower case', other_key.status, 403)


def parameters(t):
    raw, path = t.raw, t.path('a b')
    url = raw.presign_v2('GET', path)
    for name in PARAMS:
        value = re.search(f'{name}=([^&]*)', url)[1]
        for kind, other in (('without', re.sub(f'{name}=[^&]*&?', '', url).rstrip('&?')), ('twice', f'{url}&{name}={value}'),
                            ('empty', url.replace(f'{name}={value}', f'{name}=')), ('without a value', url.replace(f'{name}={value}', name)),
                            ('in lower case', url.replace(f'{name}=', f'{name.lower()}='))):
            got = raw.send('GET', other)
            t.equal(f'{kind}: {name}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)
        moved = url.replace(f'{name}={value}', '').replace('&&', '&').replace('?&', '?').rstrip('&') + f'&{name}={value}'
        t.answer(f'last: {name}', raw.send('GET', moved), 200, body=b'secret')
    for more in ('x=y', 'x', 'prefix=a', 'delimiter=/', 'max-keys=1', 'list-type=2', 'attributes', 'encryption', 'object-lock', 'legal-hold',
                 'retention', 'X-Id=GetObject', 'x-id=GetObject', 'marker=a', 'start-after=a', 'acl', 'versionId=null', 'partNumber=1', 'uploads',
                 'response-content-type=a', 'x-amz-acl=private', 'x-amz-meta-a=b', 'x-amz-security-token=x', 'content-type=a', 'content-md5=a',
                 'X-Amz-Algorithm=AWS4-HMAC-SHA256', '%41cl', 'a%00b'):
        for where in (f'{url}&{more}', url.replace('?', f'?{more}&')):
            got = raw.send('GET', where)
            t.equal(f'one more: {more}, {"last" if where.endswith(more) else "first"}', (got.status in (400, 403, 501), b'secret' in got.body),
                    (True, False), got.body)
    for name in ('x-id', 'prefix', 'attributes'):
        got = raw.send('GET', raw.presign_v2('GET', path, query=name))
        t.equal(f'signed, but none of its own: {name}', got.status in (400, 403), True, got.body)


def headers(t):
    raw = t.raw
    amz = {'x-amz-meta-b': '2', 'X-Amz-Meta-A': '1', 'x-amz-meta-long': 'l' * 500}
    typed = {**amz, 'Content-Type': 'text/plain'}
    where = t.path('typed')
    url = raw.presign_v2('PUT', where, headers=typed)
    t.answer('headers', raw.send('PUT', url, typed, b'x'), 200)
    got = t.call('GET', 'typed')
    t.equal('headers, kept', (got.headers['Content-Type'], got.headers['x-amz-meta-a'], got.headers['x-amz-meta-b']), ('text/plain', '1', '2'))
    for name in typed:
        t.answer(f'without {name}', raw.send('PUT', url, {k: v for k, v in typed.items() if k != name}, b'x'), 403, 'SignatureDoesNotMatch')
        t.answer(f'another {name}', raw.send('PUT', url, {**typed, name: typed[name] + 'x'}, b'x'), 403, 'SignatureDoesNotMatch')
    for name, value in (('x-amz-meta-c', '3'), ('x-amz-acl', 'private'), ('x-amz-tagging', 'a=b'), ('x-amz-copy-source', '/files/x'),
                        ('x-amz-security-token', 'x')):
        t.answer(f'one more {name}', raw.send('PUT', url, {**typed, name: value}, b'x'), 403, 'SignatureDoesNotMatch')
    md5 = {'Content-MD5': base64.b64encode(hashlib.md5(b'x').digest()).decode()}
    with_md5 = raw.presign_v2('PUT', where, headers=md5)
    t.answer('Content-MD5', raw.send('PUT', with_md5, md5, b'x'), 200)
    t.answer('Content-MD5, another body', raw.send('PUT', with_md5, md5, b'y'), 400, 'BadDigest')
    t.answer('Content-MD5, not sent', raw.send('PUT', with_md5, {}, b'x'), 403, 'SignatureDoesNotMatch')
    t.answer('Content-MD5, not signed', raw.send('PUT', raw.presign_v2('PUT', where), md5, b'x'), 403, 'SignatureDoesNotMatch')
    query = encode_query({'x-amz-meta-q': 'in the address'})
    signed = raw.presign_v2('PUT', where, headers={'x-amz-meta-q': 'in the address'})
    t.answer('x-amz- in the address', raw.send('PUT', f'{signed}&{query}', {}, b'x'), 200)
    t.equal('x-amz- in the address, kept', t.call('GET', 'typed').headers['x-amz-meta-q'], 'in the address')
    t.answer('x-amz- in the address and as a header', raw.send('PUT', f'{signed}&{query}', {'x-amz-meta-q': 'in the address'}, b'x'), 403,
             'SignatureDoesNotMatch')
    date = raw.presign_v2('GET', where)
    t.answer('a Date header does not count', raw.send('GET', date, {'Date': 'Thu, 01 Jan 1970 00:00:00 GMT'}), 200)


def elsewhere(t):
    raw, path = t.raw, t.path('a b')
    url = raw.presign_v2('GET', path)
    for name, value in (('AWS', f'AWS {raw.key_id}:x'), ('Bearer', 'Bearer x'), ('empty', '')):
        got = raw.send('GET', url, {'Authorization': value})
        t.equal(f'beside Authorization {name}', (got.status in (400, 403), b'secret' in got.body), (True, False), got.body)
    signed = raw.sign('GET', path)
    t.equal('beside a header of Version 4', raw.send('GET', url, signed).status in (400, 403), True)
    date = stamp()
    text_ = f'GET\n\n\n{date}\n{path}'
    made = base64.b64encode(hmac.new(raw.secret.encode(), text_.encode(), hashlib.sha1).digest()).decode()
    t.answer('Version 2 in a header', raw.send('GET', path, {'Authorization': f'AWS {raw.key_id}:{made}', 'Date': date}), 400, 'InvalidRequest')
    t.answer('Version 4 is taken as ever', raw.send('GET', raw.presign('GET', path)), 200, body=b'secret')
    by_host = re.sub(f'^/{t.bucket}', '', url)
    host = {'Host': f'{t.bucket}.s3.example'}
    t.answer('bucket by host', raw.send('GET', by_host, host), 200, body=b'secret')
    got = raw.send('GET', by_host, {'Host': 'files.s3.example'})
    t.equal('another bucket by host', (got.status, b'secret' in got.body), (403, False))
    t.answer('no such key', raw.send('GET', raw.presign_v2('GET', t.path('none'))), 404, 'NoSuchKey')
    t.answer('no such bucket', raw.send('GET', raw.presign_v2('GET', '/g-none/x')), 404, 'NoSuchBucket')


def forms(t):
    raw = t.raw

    def policy(conditions, end='2090-01-01T00:00:00Z'):
        return base64.b64encode(json.dumps({'expiration': end, 'conditions': [{'bucket': t.bucket}, *conditions]}).encode()).decode()

    def signed(document, secret=None):
        made = hmac.new((secret or raw.secret).encode(), document.encode(), hashlib.sha1).digest()
        return {'AWSAccessKeyId': raw.key_id, 'policy': document, 'signature': base64.b64encode(made).decode()}

    def send(fields, data=b'form'):
        body = b''.join(f'--{EDGE}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items())
        body += f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode() + data
        return raw.send('POST', t.path(), {'Content-Type': f'multipart/form-data; boundary={EDGE}'}, body + f'\r\n--{EDGE}--\r\n'.encode())
    key = {'key': 'form'}
    good = {**key, **signed(policy([key]))}
    t.answer('form', send(good), 204, ETag=md5_of(b'form'))
    t.answer('form, read', t.call('GET', 'form'), 200, body=b'form')
    t.answer('form, large', send(good, b'f' * 300000), 204)
    signature = good['signature']
    for at in range(27):
        other = signature[:at] + ('A' if signature[at] != 'A' else 'B') + signature[at + 1:]
        t.answer(f'form: signature, byte {at}', send({**good, 'signature': other}), 403, 'SignatureDoesNotMatch')
    for at in range(0, len(good['policy']), 5):
        other = good['policy'][:at] + ('A' if good['policy'][at] != 'A' else 'B') + good['policy'][at + 1:]
        t.answer(f'form: policy, byte {at}', send({**good, 'policy': other}), 403, 'SignatureDoesNotMatch')
    for name in ('AWSAccessKeyId', 'signature', 'policy'):
        got = send({k: v for k, v in good.items() if k != name})
        t.equal(f'form: without {name}', got.status in (400, 403), True, got.body)
        got = send({**good, name: ''})
        t.equal(f'form: empty {name}', got.status in (400, 403), True, got.body)
    t.answer('form: another key id', send({**good, 'AWSAccessKeyId': 'HF' + 'X' * 18}), 403, 'InvalidAccessKeyId')
    t.answer('form: another secret', send({**key, **signed(policy([key]), 'x' * 40)}), 403, 'SignatureDoesNotMatch')
    t.answer('form: another key', send({**good, 'key': 'else'}), 403, 'AccessDenied')
    t.answer('form: expired', send({**key, **signed(policy([key], '2020-01-01T00:00:00Z'))}), 403, 'AccessDenied')
    t.answer('form: no document', send({**key, **signed(base64.b64encode(b'{}').decode())}), 400, 'InvalidPolicyDocument')
    t.answer('form: a field more', send({**good, 'x-amz-meta-a': 'b'}), 403, 'AccessDenied')
    date = stamp()
    both = {'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-date': date, 'x-amz-credential': f'{raw.key_id}/{date[:8]}/{REGION}/s3/aws4_request'}
    document = policy([key, *({k: v} for k, v in both.items())])
    four = {**key, **both, **signed(document), 'x-amz-signature': mac(raw.signing_key(date), document).hex()}
    t.answer('form: both signatures', send(four), 204)
    t.answer('form: both, Version 4 wrong', send({**four, 'x-amz-signature': '0' * 64}), 403, 'SignatureDoesNotMatch')
    tags = '<Tagging><TagSet><Tag><Key>a</Key><Value>b&amp;c</Value></Tag></TagSet></Tagging>'
    t.answer('form: tags', send({**key, 'tagging': tags, **signed(policy([key, {'tagging': tags}]))}), 204)
    t.equal('form: tags, read', re.findall('<(Key|Value)>(.*?)<', t.call('GET', 'form', {'tagging': ''}).body.decode()),
            [('Key', 'a'), ('Value', 'b&amp;c')])
    for wrong, code in (('x', 'MalformedXML'), ('<Tagging/>', ''), ('<Tagging><TagSet><Tag><Key/><Value/></Tag></TagSet></Tagging>', 'InvalidTag')):
        got = send({**key, 'tagging': wrong, **signed(policy([key, {'tagging': wrong}]))})
        t.equal(f'form: tags {wrong[:20]!r}', got.status == 400 or not code, True, got.body)
