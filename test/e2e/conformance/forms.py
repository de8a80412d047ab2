"""POST of a form: its signature and policy byte by byte, each field missing, empty, twice and another, conditions
and their borders, bodies cut anywhere, names and bytes of all kinds."""
import base64
import datetime
import hashlib
import json
import os
import re
import socket

from kit import CHECKSUMS, base64_of, checksum, code_of, content_md5, md5_of, quote
from s3_raw import REGION, mac, stamp

EDGE = 'edge'
SIGNING = ('x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature')


def document(conditions, fields, seconds=60, **more):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return json.dumps({'expiration': end.strftime('%Y-%m-%dT%H:%M:%S.000Z'),
                       'conditions': [*conditions, *({k: v} for k, v in fields.items())], **more})


class Form:
    """Makes forms for one bucket."""

    def __init__(self, t):
        self.t, self.raw, self.bucket = t, t.raw, t.bucket

    def fields(self, date=None):
        date = date or stamp()
        return {'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-date': date,
                'x-amz-credential': f'{self.raw.key_id}/{date[:8]}/{REGION}/s3/aws4_request'}

    def sign(self, conditions, seconds=60, date=None, text=None):
        """The fields that allow what conditions say."""
        fields = self.fields(date)
        text = document([{'bucket': self.bucket}, *conditions], fields, seconds) if text is None else text
        policy = base64_of(text.encode())
        return {**fields, 'policy': policy, 'x-amz-signature': mac(self.raw.signing_key(fields['x-amz-date']), policy).hex()}

    @staticmethod
    def body(fields, data=b'x', name='a.txt', edge=EDGE, end='--\r\n', behind=b''):
        out = b''.join(f'--{edge}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n'.encode()
                       + (v if isinstance(v, bytes) else v.encode()) + b'\r\n'
                       for k, v in (fields.items() if isinstance(fields, dict) else fields))
        if data is not None:
            out += (f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                    'Content-Type: text/x-part\r\n\r\n').encode() + data + b'\r\n'
        return out + behind + f'--{edge}{end}'.encode()

    def send(self, body, bucket=None, headers=(), edge=EDGE, **more):
        return self.raw.send('POST', f'/{bucket or self.bucket}', {
            'Content-Type': f'multipart/form-data; boundary={edge}', **dict(headers)}, body, **more)

    def post(self, fields, conditions=None, data=b'x', seconds=60, **more):
        """A form whose policy asks for just these fields, or what conditions say."""
        wanted = [{k: v} for k, v in fields.items()] if conditions is None else conditions
        return self.send(self.body({**fields, **self.sign(wanted, seconds)}, data, **more))


def run(t):
    f = Form(t)
    stored(t, f)
    names(t, f)
    signatures(t, f)
    policies(t, f)
    conditions(t, f)
    sizes(t, f)
    checksums(t, f)
    answers(t, f)
    truncated(t, f)
    shapes(t, f)


def stored(t, f):
    for size in (0, 1, 2, 65535, 65536, 65537, 262143, 262144, 262145, 1 << 20):
        data = os.urandom(size)
        got = f.post({'key': 'sized'}, data=data)
        t.answer(f'{size} bytes', got, 204, body=b'', ETag=md5_of(data))
        t.answer(f'{size} bytes, read', t.call('GET', 'sized'), 200, body=data, ETag=md5_of(data))
    for name, data in (('its boundary but a byte', b'\r\n--edg'), ('ends like a boundary', b'a\r\n--edg\r'), ('new lines', b'\r\n\r\n--'),
                       ('two dashes', b'--edge'), ('zeros', bytes(1000)), ('all bytes', bytes(range(256)) * 300)):
        f.post({'key': 'odd'}, data=data)
        t.answer(f'a file of {name}', t.call('GET', 'odd'), 200, body=data)
    headers = {'Content-Type': 'text/a', 'Cache-Control': 'no-store', 'Content-Disposition': 'attachment', 'Content-Encoding': 'gzip',
               'Content-Language': 'de', 'Expires': 'Wed, 21 Oct 2026 07:28:00 GMT', 'x-amz-meta-a': 'b', 'x-amz-meta-long': 'c' * 1000}
    t.answer('headers', f.post({'key': 'h', **headers}), 204)
    got = t.call('GET', 'h')
    for name, value in headers.items():
        t.equal(f'header {name}', got.headers[name], value)
    t.answer('no type', f.post({'key': 'h'}), 204)
    t.equal('no type: the file part does not say it', t.call('GET', 'h').headers['Content-Type'], 'binary/octet-stream')
    t.answer('over another', f.post({'key': 'h'}, data=b'new'), 204)
    t.answer('over another, read', t.call('GET', 'h'), 200, body=b'new')
    for name in ('x-amz-server-side-encryption', 'x-amz-website-redirect-location', 'x-amz-object-lock-mode'):
        got = f.post({'key': 'no', name: 'x'})
        t.equal(f'field {name}', got.status >= 400, True, got.body)
    t.answer('storage class STANDARD', f.post({'key': 'h', 'x-amz-storage-class': 'STANDARD'}), 204)
    t.answer('storage class GLACIER', f.post({'key': 'no', 'x-amz-storage-class': 'GLACIER'}), 400, 'InvalidStorageClass')
    t.answer('acl private', f.post({'key': 'h', 'acl': 'private'}), 204)
    t.answer('acl public-read', f.post({'key': 'no', 'acl': 'public-read'}), 400, 'AccessControlListNotSupported')
    def tagged(*tags):
        pairs = ''.join(f'<Tag><Key>{k}</Key><Value>{v}</Value></Tag>' for k, v in tags)
        return f'<Tagging><TagSet>{pairs}</TagSet></Tagging>'
    for name, document_, code in (
            ('one', tagged(('a', 'b')), ''), ('ten', tagged(*((f'k{i}', 'v') for i in range(10))), ''), ('none', tagged(), ''),
            ('unicode', tagged(('ä', 'ö')), ''), ('an empty value', tagged(('a', '')), ''), ('eleven', tagged(*((f'k{i}', 'v') for i in range(11))), 'BadRequest'),
            ('twice', tagged(('a', 'b'), ('a', 'c')), 'InvalidTag'), ('no key', tagged(('', 'b')), 'InvalidTag'),
            ('a long key', tagged(('k' * 129, 'b')), 'InvalidTag'), ('a long value', tagged(('k', 'v' * 257)), 'InvalidTag'),
            ("the system's", tagged(('aws:a', 'b')), 'InvalidTag'), ('no XML', 'a=b', 'MalformedXML'), ('cut', '<Tagging><TagSet>', 'MalformedXML')):
        got = f.post({'key': 'tagged' if not code else 'no', 'tagging': document_})
        t.answer(f'tags: {name}', got, *((400, code) if code else (204, '')))
        if not code:
            kept = t.call('GET', 'tagged', {'tagging': ''}).body.decode()
            t.equal(f'tags: {name}, kept', re.findall('<Key>.*?</Value>', kept), re.findall('<Key>.*?</Value>', document_))
    t.answer('nothing of these is kept', t.call('GET', 'no'), 404, 'NoSuchKey')


def names(t, f):
    for key in ('a b', 'a+b', 'a%b', 'a%20b', '//', 'a//b', './x', '../x', 'ä/ö', '日本語', '\U0001f600', 'a&b=c', 'a"b', "a'b", '<a>', 'a;b',
                'k' * 1024, 'ü' * 512, '$x', '${filenam}', '{}', 'a\tb'):
        got = f.post({'key': key})
        t.answer(f'key {key[:20]!r}', got, 204)
        t.answer(f'key {key[:20]!r}, read', t.call('GET', key), 200, body=b'x')
    for name, wanted in (('b.txt', 'up/b.txt'), ('d/b.txt', 'up/b.txt'), ('C:\\d\\b.txt', 'up/b.txt'), ('ä b.txt', 'up/ä b.txt')):
        got = f.post({'key': 'up/${filename}'}, [['starts-with', '$key', 'up/']], name=name)
        t.answer(f'file name {name}', got, 204)
        t.answer(f'file name {name}, read', t.call('HEAD', wanted), 200)
    t.answer('file name twice', f.post({'key': '${filename}-${filename}'}, [['starts-with', '$key', '']], name='n'), 204)
    t.answer('file name twice, read', t.call('HEAD', 'n-n'), 200)
    t.answer('key too long', f.post({'key': 'k' * 1025}), 400, 'KeyTooLongError')
    t.answer('key too long by its file name', f.post({'key': 'k' * 1000 + '${filename}'}, [['starts-with', '$key', 'k']], name='n' * 25),
             400, 'KeyTooLongError')
    t.equal('empty key', f.post({'key': ''}).status, 400)
    t.equal('empty file name as key', f.post({'key': '${filename}'}, [['starts-with', '$key', '']], name='').status, 400)
    t.answer('no key', f.post({}), 400, 'InvalidArgument')
    t.answer('no such bucket', f.send(f.body({'key': 'k', **f.sign([{'key': 'k'}])}), 'g-none'), 403, 'AccessDenied')
    fields = f.fields()
    policy = base64_of(document([{'bucket': 'g-none'}, {'key': 'k'}], fields).encode())
    signed = {**fields, 'policy': policy, 'x-amz-signature': mac(f.raw.signing_key(fields['x-amz-date']), policy).hex()}
    t.answer('no such bucket, allowed', f.send(f.body({'key': 'k', **signed}), 'g-none'), 404, 'NoSuchBucket')
    t.answer('the bucket as a field', f.post({'key': 'k', 'bucket': t.bucket}), 204)
    t.answer('another bucket as a field', f.send(f.body({'key': 'k', 'bucket': 'files', **f.sign([{'key': 'k'}])})), 403, 'AccessDenied')
    body = f.body({'key': 'by host', **f.sign([{'key': 'by host'}])})
    got = f.raw.send('POST', '/', {'Host': f'{t.bucket}.s3.example', 'Content-Type': f'multipart/form-data; boundary={EDGE}'}, body)
    t.answer('bucket by host', got, 204)
    t.answer('bucket by host, read', t.call('GET', 'by host'), 200, body=b'x')


def signatures(t, f):
    key = {'key': 'forged'}
    good = f.sign([key])

    def ask(**other):
        fields = {**key, **good, **{k.replace('_', '-'): v for k, v in other.items()}}
        return f.send(f.body({k: v for k, v in fields.items() if v is not None}))
    for at, digit in enumerate(good['x-amz-signature']):
        wrong = good['x-amz-signature'][:at] + ('0' if digit != '0' else '1') + good['x-amz-signature'][at + 1:]
        t.answer(f'signature, digit {at}', ask(x_amz_signature=wrong), 403, 'SignatureDoesNotMatch')
    for name, wrong in (('short', good['x-amz-signature'][:-1]), ('long', good['x-amz-signature'] + '0'), ('empty', ''),
                        ('no hex', 'g' * 64), ('upper case', good['x-amz-signature'].upper()), ('behind a space', ' ' + good['x-amz-signature'])):
        got = ask(x_amz_signature=wrong)
        t.equal(f'signature, {name}', (got.status in (400, 403), code_of(got) in ('SignatureDoesNotMatch', 'InvalidArgument')),
                (True, True), got.body)
    policy = good['policy']
    for at in range(0, len(policy), 9):
        wrong = policy[:at] + ('A' if policy[at] != 'A' else 'B') + policy[at + 1:]
        t.answer(f'policy, byte {at}', ask(policy=wrong), 403, 'SignatureDoesNotMatch')
    date = good['x-amz-date']
    for at in range(len(date)):
        wrong = date[:at] + ('9' if date[at] != '9' else '8') + date[at + 1:]
        got = ask(x_amz_date=wrong)
        t.equal(f'date, byte {at}', (got.status in (400, 403), code_of(got) != ''), (True, True), got.body)
    credential = good['x-amz-credential']
    for at in range(len(credential)):
        wrong = credential[:at] + ('x' if credential[at] != 'x' else 'y') + credential[at + 1:]
        got = ask(x_amz_credential=wrong)
        t.equal(f'credential, byte {at}', got.status in (400, 403), True, got.body)
    for name in SIGNING:
        under = name.replace('-', '_')
        t.answer(f'without {name}', ask(**{under: None}), 400, 'InvalidArgument')
        t.answer(f'empty {name}', ask(**{under: ''}), 400, 'InvalidArgument')
        fields = [*key.items(), *good.items(), (name, good[name])]
        t.answer(f'twice {name}', f.send(f.body(fields)), 400, 'MalformedPOSTRequest')
        t.answer(f'{name} in capitals', f.send(f.body({**key, **{k.upper() if k == name else k: v for k, v in good.items()}})), 204)
    t.answer('without policy', ask(policy=None), 403, 'AccessDenied')
    t.equal('empty policy', ask(policy='').status in (400, 403), True)
    t.answer('policy twice', f.send(f.body([*key.items(), *good.items(), ('policy', policy)])), 400, 'MalformedPOSTRequest')
    t.answer('a session token', ask(x_amz_security_token='x'), 400, 'InvalidToken')
    for algorithm in ('AWS4-HMAC-SHA1', 'AWS4-ECDSA-P256-SHA256', 'aws4-hmac-sha256', 'x'):
        got = ask(x_amz_algorithm=algorithm)
        t.equal(f'algorithm {algorithm}', got.status in (400, 403, 501), True, got.body)
    for shift in (-1000, -86400 * 6, 86400, 1200):
        got = f.send(f.body({**key, **f.sign([key], date=stamp(shift))}))
        t.equal(f'signed {shift} s away', got.status in ((204,) if shift < 0 else (204, 403)), True, got.body)
    t.answer('signed headers do not help', f.send(f.body(key), headers=f.raw.sign('POST', f'/{t.bucket}')), 403, 'AccessDenied')
    other = {'AWSAccessKeyId': f.raw.key_id, 'signature': 'x', 'policy': policy, **key}
    t.equal('by Version 2, which is off', f.send(f.body(other)).status in (400, 403), True)
    t.answer('nothing was forged', ask(), 204)


def policies(t, f):
    key = {'key': 'policy'}
    for seconds in (-1, -60, -10 ** 8):
        t.answer(f'expired {seconds}', f.post(key, seconds=seconds), 403, 'AccessDenied')
    for seconds in (30, 86400 * 365):
        t.answer(f'expires in {seconds}', f.post(key, seconds=seconds), 204)
    head = '{"expiration": "2090-01-01T00:00:00Z", "conditions": '
    broken = {
        'empty': '', 'a list': '[]', 'a number': '5', 'null': 'null', 'cut': '{"expiration":', 'an empty object': '{}', 'no conditions':
        '{"expiration": "2090-01-01T00:00:00Z"}', 'no expiration': '{"conditions": []}', 'expiration is a number':
        '{"expiration": 5, "conditions": []}', 'expiration is no time': '{"expiration": "soon", "conditions": []}',
        'month 13': '{"expiration": "2090-13-01T00:00:00Z", "conditions": []}', 'conditions are an object': head + '{}}',
        'something behind': head + '[]} x', 'a condition is a number': head + '[5]}', 'a condition is null': head + '[null]}',
        'two words': head + '[["eq", "$key"]]}', 'four words': head + '[["eq", "$key", "k", "k"]]}', 'no dollar': head + '[["eq", "key", "k"]]}',
        'another operator': head + '[["ends-with", "$key", "k"]]}', 'a value is a number': head + '[["eq", "$key", 5]]}',
        'an object of two': head + '[{"key": "k", "bucket": "b"}]}', 'an empty condition': head + '[{}]}', 'an empty list': head + '[[]]}',
        'a member is a number': head + '[{"key": 5}]}', 'a size below zero': head + '[["content-length-range", -1, 5]]}',
        'a size is a word': head + '[["content-length-range", "x", 5]]}', 'a size too large': head + '[["content-length-range", 0, 99999999999999999999]]}',
        'not UTF-8': None}
    for name, text in broken.items():
        fields = f.fields()
        raw = b'{"expiration": "\xff"}' if text is None else text.encode()
        policy = base64_of(raw)
        signed = {**fields, 'policy': policy, 'x-amz-signature': mac(f.raw.signing_key(fields['x-amz-date']), policy).hex()}
        got = f.send(f.body({**key, **signed}))
        wanted = ('InvalidPolicyDocument', 'AccessDenied') if name == 'empty' else ('InvalidPolicyDocument',)
        t.equal(f'a policy that is broken: {name}', (got.status in (400, 403), code_of(got) in wanted), (True, True), got.body)
    many = [['starts-with', '$key', '']] * 120
    t.answer('many conditions', f.post(key, many), 204)
    t.answer('too many conditions', f.post(key, many * 2), 400, 'InvalidPolicyDocument')
    t.equal('a deep document', f.send(f.body({**key, **f.sign([], text='[' * 5000)})).status, 400)
    t.answer('policy of another key', f.send(f.body({'key': 'else', **f.sign([key])})), 403, 'AccessDenied')
    t.answer('policy without the bucket', f.send(f.body({**key, **f.sign([], text=document([key], f.fields()))})), 403, 'AccessDenied')


def conditions(t, f):
    base = {'key': 'user/eric/a', 'x-amz-meta-tag': 'Some,Tag', 'Content-Type': 'image/png'}
    cover = [['starts-with', '$x-amz-meta-tag', ''], ['starts-with', '$Content-Type', '']]
    for name, condition, good in (
            ('eq', ['eq', '$key', 'user/eric/a'], True), ('eq in capitals', ['EQ', '$KEY', 'user/eric/a'], True),
            ('an object', {'key': 'user/eric/a'}, True), ('an object in capitals', {'Key': 'user/eric/a'}, True),
            ('starts-with', ['starts-with', '$key', 'user/eric/'], True), ('starts-with all', ['starts-with', '$key', 'user/eric/a'], True),
            ('starts-with nothing', ['starts-with', '$key', ''], True), ('starts-with more', ['starts-with', '$key', 'user/eric/ab'], False),
            ('starts-with another', ['starts-with', '$key', 'User/'], False), ('eq another', ['eq', '$key', 'user/eric/b'], False),
            ('eq its beginning', ['eq', '$key', 'user/eric'], False), ('eq empty', ['eq', '$key', ''], False),
            ('an object with another', {'key': 'x'}, False)):
        got = f.post(base, [condition, *cover])
        t.answer(f'key, {name}', got, *((204, '') if good else (403, 'AccessDenied')))
    for name, value, prefix, good in (
            ('one type', 'image/png', 'image/', True), ('two types', 'image/png,image/gif', 'image/', True),
            ('two types, one another', 'image/png,text/html', 'image/', False), ('another first', 'text/html,image/png', 'image/', False),
            ('any', 'x', '', True)):
        fields = {'key': 'types', 'Content-Type': value}
        got = f.post(fields, [{'key': 'types'}, ['starts-with', '$Content-Type', prefix]])
        t.answer(f'types, {name}', got, *((204, '') if good else (403, 'AccessDenied')))
    for name in ('x-amz-meta-a', 'Cache-Control', 'success_action_status', 'submit', 'acl', 'x-amz-storage-class', 'Content-MD5'):
        got = f.post({'key': 'extra', name: 'x'}, [{'key': 'extra'}])
        t.answer(f'field without a condition: {name}', got, 403, 'AccessDenied')
        got = f.post({'key': 'extra'}, [{'key': 'extra'}, {name: 'x'}])
        t.answer(f'condition without a field: {name}', got, 403, 'AccessDenied')
    for name in ('x-ignore-a', 'X-Ignore-B', 'x-ignore-'):
        t.answer(f'ignored field {name}', f.post({'key': 'ignored', name: 'x'}, [{'key': 'ignored'}]), 204)
    for name in SIGNING[:-1]:
        fields = f.fields()
        text = document([{'bucket': t.bucket}, {'key': 'k'}], {k: v for k, v in fields.items() if k != name})
        t.answer(f'no condition about {name}', f.send(f.body({'key': 'k', **f.sign([], text=text)})), 403, 'AccessDenied')
    t.answer('all must hold', f.post({'key': 'k'}, [{'key': 'k'}, ['starts-with', '$key', 'x']]), 403, 'AccessDenied')
    t.answer('without a condition nothing is kept', t.call('GET', 'extra'), 404, 'NoSuchKey')


def sizes(t, f):
    for low, high, size, code in ((0, 0, 0, ''), (0, 0, 1, 'EntityTooLarge'), (1, 1, 0, 'EntityTooSmall'), (1, 1, 1, ''), (1, 1, 2, 'EntityTooLarge'),
                                  (5, 10, 4, 'EntityTooSmall'), (5, 10, 5, ''), (5, 10, 10, ''), (5, 10, 11, 'EntityTooLarge'),
                                  (10, 5, 7, 'any'), (0, 262143, 262144, 'EntityTooLarge'), (0, 262144, 262144, ''), (262145, 1 << 30, 262144, 'EntityTooSmall'),
                                  (0, 1 << 62, 3, ''), ('2', '3', 2, ''), ('2', '3', 4, 'EntityTooLarge')):
        key = f'size-{low}-{high}-{size}'
        got = f.post({'key': key}, [{'key': key}, ['content-length-range', low, high]], b's' * size)
        if code == 'any':
            t.equal(f'{size} bytes of {low} to {high}', got.status, 400, got.body)
        else:
            t.answer(f'{size} bytes of {low} to {high}', got, *((400, code) if code else (204, '')))
        t.equal(f'{size} bytes of {low} to {high}, kept', t.call('HEAD', key).status, 404 if code else 200)
    ranges = [{'key': 'two'}, ['content-length-range', 0, 10], ['content-length-range', 5, 20]]
    for size, status in ((4, 400), (5, 204), (10, 204), (11, 400)):
        t.equal(f'two ranges, {size} bytes', f.post({'key': 'two'}, ranges, b's' * size).status, status)


def checksums(t, f):
    data = b'checked ' * 20000
    for name in CHECKSUMS:
        field = f'x-amz-checksum-{name}'
        t.answer(f'{name}', f.post({'key': 'sum', field: checksum(name, data)}, data=data), 204)
        got = t.call('HEAD', 'sum', headers={'x-amz-checksum-mode': 'ENABLED'})
        t.equal(f'{name}, told', got.headers[field], checksum(name, data))
        t.answer(f'{name} of another', f.post({'key': 'bad', field: checksum(name, b'y')}, data=data), 400, 'BadDigest')
        t.answer(f'{name} that is none', f.post({'key': 'bad', field: '!'}, data=data), 400, 'InvalidRequest')
    t.answer('MD5', f.post({'key': 'sum', 'Content-MD5': content_md5(data)}, data=data), 204)
    t.answer('MD5 of another', f.post({'key': 'bad', 'Content-MD5': content_md5(b'y')}, data=data), 400, 'BadDigest')
    t.answer('MD5 that is none', f.post({'key': 'bad', 'Content-MD5': 'x'}, data=data), 400, 'InvalidDigest')
    t.answer('of another checksum nothing is kept', t.call('GET', 'bad'), 404, 'NoSuchKey')


def answers(t, f):
    for status, wanted in (('200', 200), ('201', 201), ('204', 204), ('', 204), ('202', 204), ('404', 204), ('x', 204), ('2000', 204)):
        got = f.post({'key': 'a&b', 'success_action_status': status})
        t.equal(f'status {status!r}', got.status, wanted, got.body)
    got = f.post({'key': 'ä &b', 'success_action_status': '201'})
    seen = re.findall(r'<(Bucket|Key|ETag|Location)>(.*?)</', got.body.decode())
    t.equal('201, what it tells', sorted(seen), sorted([
        ('Bucket', t.bucket), ('Key', 'ä &amp;b'), ('ETag', md5_of(b'x').replace('"', '&quot;')),
        ('Location', f'http://{f.raw.host()}/{t.bucket}/{quote("ä &b", "/")}')]))
    for where, wanted in (('http://h/', 'http://h/?'), ('http://h/?a=b', 'http://h/?a=b&'), ('/local', '/local?')):
        for name in ('success_action_redirect', 'redirect'):
            got = f.post({'key': 'k', name: where})
            t.equal(f'{name} to {where}', (got.status, got.headers['Location']),
                    (303, f'{wanted}bucket={t.bucket}&key=k&etag=%22{hashlib.md5(b"x").hexdigest()}%22'))
    got = f.post({'key': 'k', 'success_action_redirect': 'http://h/', 'success_action_status': '201'})
    t.equal('redirect before status', got.status, 303)
    for where in ('http://h/\r\nX: y', 'http://h/\n', 'http://h/ x', 'http://h/\x7f'):
        got = f.post({'key': 'refused', 'success_action_redirect': where})
        t.answer(f'redirect to {where!r}', got, 400, 'InvalidArgument')
    t.answer('of a wrong address nothing is kept', t.call('GET', 'refused'), 404, 'NoSuchKey')


def truncated(t, f):
    fields = {'key': 'cut', **f.sign([{'key': 'cut'}])}
    for size in (10, 100000):
        whole = f.body(fields, b'd' * size)
        start = whole.index(b'd' * 10)
        for at in sorted({0, 1, 5, 7, 60, 200, start - 30, start - 1, start, start + 1, start + size - 1, start + size, start + size + 2,
                          start + size + 5, len(whole) - 9, len(whole) - 5, len(whole) - 4}):
            got = f.send(whole[:at])
            t.equal(f'form of {size} bytes cut at {at - start} of its file', (got.status, code_of(got) in ('MalformedPOSTRequest', 'InvalidArgument')),
                    (400, True), got.body)
        for at in (start + size // 2, len(whole) - 3):
            head = (f'POST /{t.bucket} HTTP/1.1\r\nHost: {f.raw.host()}\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary={EDGE}\r\n'
                    f'Content-Length: {len(whole) + 10}\r\n\r\n').encode()
            with socket.create_connection(('127.0.0.1', f.raw.port), timeout=60) as connection:
                connection.sendall(head + whole[:at])
                connection.shutdown(1)
                answer = connection.recv(65536)
            t.equal(f'a client that leaves, {size} bytes, at {at - start}', answer[:12] in (b'', b'HTTP/1.1 400'), True, answer)
        t.answer(f'cut, {size} bytes: nothing is kept', t.call('GET', 'cut'), 404, 'NoSuchKey')
    whole = f.body(fields, b'pieces' * 1000)
    for size in (1, 2, 3, 7, 64, 1000):
        if size > 1 or len(whole) < 20000:
            got = f.send(iter([whole[i:i + size] for i in range(0, len(whole), size)]), chunked=True)
            t.answer(f'in pieces of {size}', got, 204)
    t.answer('in pieces, read', t.call('GET', 'cut'), 200, body=b'pieces' * 1000)


def shapes(t, f):
    fields = {'key': 'shape', **f.sign([{'key': 'shape'}])}
    whole = f.body(fields)
    t.answer('no file', f.send(f.body(fields, None)), 400, 'InvalidArgument')
    t.answer('only its end', f.send(b'--edge--\r\n'), 400, 'InvalidArgument')
    t.answer('another boundary', f.send(whole, edge='other'), 400, 'MalformedPOSTRequest')
    t.answer('no boundary', f.raw.send('POST', f'/{t.bucket}', {'Content-Type': 'multipart/form-data'}, whole), 400, 'MalformedPOSTRequest')
    t.answer('an empty boundary', f.raw.send('POST', f'/{t.bucket}', {'Content-Type': 'multipart/form-data; boundary='}, whole), 400,
             'MalformedPOSTRequest')
    t.answer('a quoted boundary', f.raw.send('POST', f'/{t.bucket}', {'Content-Type': f'multipart/form-data; boundary="{EDGE}"'}, whole), 204)
    long = 'b' * 70
    t.answer('a boundary of 70', f.send(f.body(fields, edge=long), edge=long), 204)
    t.answer('a boundary of 1', f.send(f.body(fields, edge='b'), edge='b'), 204)
    t.equal('a boundary of 71', f.send(f.body(fields, edge=long + 'b'), edge=long + 'b').status, 400)
    t.answer('something before', f.send(b'preamble\r\n' + whole), 204)
    t.answer('something behind', f.send(whole + b'epilogue'), 204)
    behind = b'--edge\r\nContent-Disposition: form-data; name="submit"\r\n\r\nUpload\r\n'
    t.answer('a field behind the file', f.send(f.body(fields, behind=behind)), 204)
    key_behind = b'--edge\r\nContent-Disposition: form-data; name="key"\r\n\r\nother\r\n'
    t.answer('a key behind the file', f.send(f.body(fields, behind=key_behind)), 204)
    t.answer('a key behind the file is none', t.call('GET', 'other'), 404, 'NoSuchKey')
    t.answer('the key twice', f.send(f.body([('key', 'shape'), *fields.items()])), 400, 'MalformedPOSTRequest')
    t.answer('the key twice, in capitals', f.send(f.body([('KEY', 'shape'), *fields.items()])), 400, 'MalformedPOSTRequest')
    t.answer('fields too long', f.send(f.body({'x-ignore-a': 'x' * 20480, **fields})), 400, 'MalformedPOSTRequest')
    t.answer('too many fields', f.send(f.body({**{f'x-ignore-{i}': '' for i in range(70)}, **fields})), 400, 'MalformedPOSTRequest')
    t.answer('a field of zero bytes', f.send(f.body({**fields, 'x-ignore-z': b'\0\0'})), 204)
    got = f.send(whole.replace(b'Content-Disposition: form-data; name="key"', b'X: y'))
    t.equal('a part without a name', got.status, 400, got.body)
    lower = whole.replace(b'Content-Disposition', b'content-disposition')
    t.answer('headers in lower case', f.send(lower), 204)
    for content_type, status in (('application/x-www-form-urlencoded', 403), ('text/plain', 403), ('multipart/mixed; boundary=edge', 403)):
        got = f.raw.send('POST', f'/{t.bucket}', {'Content-Type': content_type}, whole)
        t.equal(f'as {content_type}', (got.status in (400, status, 501), got.status < 300), (True, False), got.body)
    got = f.raw.send('POST', f'/{t.bucket}/key', {'Content-Type': f'multipart/form-data; boundary={EDGE}'}, whole)
    t.equal('to a key', got.status >= 400, True, got.body)
    got = f.raw.send('PUT', f'/{t.bucket}', {'Content-Type': f'multipart/form-data; boundary={EDGE}'}, whole)
    t.equal('as PUT', got.status >= 400, True, got.body)
    t.answer('decoded policy is told to nobody', f.send(f.body({**fields, 'x-amz-signature': '0' * 64})), 403, 'SignatureDoesNotMatch')
    assert base64.b64decode(fields['policy'])
