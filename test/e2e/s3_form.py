#!/usr/bin/env python3
"""POST forms at the S3 door, each made and signed here: what is taken, and what its policy refuses.

    s3_form.py BINARY [TEST...]

Python's standard library only. Prints `LAYER s3-form required= executed= failed=`, where one test is
one function below.
"""
import base64
import datetime
import hashlib
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3_raw import Raw, code_of, mac, stamp  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3-form')
EDGE = '----edge'


class Door:
    def __init__(self, server):
        self.server = server
        self.port = int(server.s3_address.split(':')[1])
        self.raw = Raw(self.port, server.key())

    def policy(self, conditions, seconds=60, raw=None):
        """The fields that sign a policy with these conditions beside those about themselves."""
        raw = raw or self.raw
        date = stamp()
        credential = f'{raw.key_id}/{date[:8]}/us-east-1/s3/aws4_request'
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        fields = {'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-credential': credential,
                  'x-amz-date': date}
        document = {'expiration': end.strftime('%Y-%m-%dT%H:%M:%SZ'),
                    'conditions': [*conditions, *({k: v} for k, v in fields.items())]}
        return self.sign(json.dumps(document), fields, raw)

    def sign(self, document, fields=None, raw=None):
        raw = raw or self.raw
        date = stamp()
        fields = fields or {'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-date': date,
                            'x-amz-credential': f'{raw.key_id}/{date[:8]}/us-east-1/s3/aws4_request'}
        policy = base64.b64encode(document.encode()).decode()
        signature = mac(raw.signing_key(fields['x-amz-date']), policy).hex()
        return {**fields, 'policy': policy, 'x-amz-signature': signature}

    def body(self, fields, data=b'x', name='a.txt', more=b''):
        out = b''.join(f'--{EDGE}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
                       for k, v in fields.items())
        if data is not None:
            out += (f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                    'Content-Type: text/x-part\r\n\r\n').encode() + data + b'\r\n'
        return out + more + f'--{EDGE}--\r\n'.encode()

    def send(self, body, bucket='files', headers=(), chunked=False):
        return self.raw.send('POST', f'/{bucket}', {
            'Content-Type': f'multipart/form-data; boundary={EDGE}', **dict(headers)}, body, chunked)

    def post(self, fields, conditions, data=b'x', bucket='files', raw=None, seconds=60, **more):
        signed = self.policy([{'bucket': bucket}, *conditions], seconds, raw)
        return self.send(self.body({**fields, **signed}, data, **more), bucket)


def test(function):
    """Marks a test of a new server, whose bucket is `files`."""
    return SUITE.at_both_doors(function, lambda server: function(Door(server)))


def refused(got, status, code, text=b''):
    expect((got.status, code_of(got)), (status, code), got.body)
    expect(text in got.body, True, got.body)


@test
def taken(door):
    """What a form stores is what a PUT with the fields as headers would; any size, cut anyhow."""
    fields = {'key': 'up/${filename}', 'Content-Type': 'text/plain', 'x-amz-meta-who': 'me',
              'Cache-Control': 'no-cache'}
    conditions = [['starts-with', '$key', 'up/'], ['starts-with', '$Content-Type', 'text/'],
                  {'x-amz-meta-who': 'me'}, ['eq', '$cache-control', 'no-cache']]
    big = bytes(range(256)) * 3000 + b'\r\n--' + EDGE[:5].encode()
    for data in (b'', b'x', b'\r\n--' + EDGE[:6].encode(), os.urandom(65536), big):
        got = door.post(fields, conditions, data, name='dir/b c.txt')
        expect(got.status, 204, got.body)
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        expect(got.headers['ETag'], etag)
        expect(got.headers['Location'].endswith('/files/up/b%20c.txt'), True)
        read = door.raw.call('GET', '/files/up/b%20c.txt')
        expect((read.body == data, read.headers['ETag'], read.headers['Content-Type'],
                read.headers['x-amz-meta-who'], read.headers['Cache-Control']),
               (True, etag, 'text/plain', 'me', 'no-cache'))
    fields = {'key': 'k', **door.policy([{'bucket': 'files'}, {'key': 'k'}])}
    body = door.body(fields, big, more=f'--{EDGE}\r\nContent-Disposition: form-data; '
                     'name="submit"\r\n\r\nbehind\r\n'.encode())
    for size in (1000, 65536, len(body)):
        pieces = [body[i:i + size] for i in range(0, len(body), size)]
        expect(door.send(iter(pieces), chunked=True).status, 204)
        expect(door.raw.call('GET', '/files/k').body == big, True, size)


@test
def answers(door):
    """success_action_status and success_action_redirect."""
    for status, wanted in (('200', 200), ('204', 204), ('201', 201), ('500', 204)):
        got = door.post({'key': 'a&b', 'success_action_status': status},
                        [{'key': 'a&b'}, {'success_action_status': status}])
        expect(got.status, wanted)
    got = door.post({'key': 'a&b', 'success_action_status': '201'},
                    [{'key': 'a&b'}, {'success_action_status': '201'}])
    expect(re.findall(rb'<(Bucket|Key)>(.*?)<', got.body),
           [(b'Bucket', b'files'), (b'Key', b'a&amp;b')])
    for where, then in (('http://h/x', '?'), ('http://h/x?y=1', '&')):
        got = door.post({'key': 'a&b', 'success_action_redirect': where},
                        [{'key': 'a&b'}, {'success_action_redirect': where}])
        expect(got.status, 303)
        expect(got.headers['Location'].startswith(f'{where}{then}bucket=files&key=a%26b&etag=%22'), True)
    got = door.post({'key': 'k', 'success_action_redirect': 'http://h/\r\nX: y'},
                    [{'key': 'k'}, ['starts-with', '$success_action_redirect', '']])
    refused(got, 400, 'InvalidArgument')


@test
def conditions(door):
    """Each condition that does not hold refuses the form, and nothing is kept."""
    key = {'key': 'no'}
    for fields, these in (
            (key, [{'key': 'other'}]), (key, [['eq', '$key', 'NO']]),
            (key, [['starts-with', '$key', 'x']]), (key, [key, {'x-amz-meta-a': 'b'}]),
            (key, []), ({**key, 'x-amz-meta-a': 'b'}, [key]), ({**key, 'submit': 'x'}, [key]),
            ({**key, 'Content-Type': 'text/a,image/b'}, [key, ['starts-with', '$Content-Type', 'text/']])):
        refused(door.post(fields, these), 403, 'AccessDenied', b'Invalid according to Policy')
    refused(door.post(key, [key], seconds=-5), 403, 'AccessDenied', b'Policy expired')
    signed = door.policy([key])
    refused(door.send(door.body({**key, **signed})), 403, 'AccessDenied', b'bucket')
    door.raw.call('PUT', '/other')
    signed = door.policy([{'bucket': 'other'}, key])
    refused(door.send(door.body({**key, **signed})), 403, 'AccessDenied')
    refused(door.post(key, [key, ['content-length-range', 2, 5]]), 400, 'EntityTooSmall')
    refused(door.post(key, [key, ['content-length-range', 0, 5]], b'123456'), 400, 'EntityTooLarge')
    refused(door.post(key, [key, ['content-length-range', 0, 99999]], bytes(1 << 20)), 400,
            'EntityTooLarge')
    refused(door.post(key, [key, ['content-length-range', 1 << 21, 1 << 22]], bytes(1 << 20)), 400,
            'EntityTooSmall')
    expect(door.raw.call('GET', '/files/no').status, 404)
    expect(door.post(key, [key, ['content-length-range', 3, 3]], b'123').status, 204)
    ignored = {'x-ignore-me': 'x', **key}
    expect(door.post(ignored, [key]).status, 204)


@test
def documents(door):
    """A policy that is none is refused as such, once its signature is right."""
    for document in ('', '[]', '{', '{}', '{"expiration": "2090-01-01T00:00:00Z"}',
                     '{"expiration": "soon", "conditions": []}',
                     '{"expiration": 5, "conditions": []}',
                     *('{"expiration": "2090-01-01T00:00:00Z", "conditions": [%s]}' % c for c in (
                         '5', '["eq", "$key"]', '["eq", "key", "k"]', '["is", "$key", "k"]',
                         '["eq", "$key", 5]', '{"key": 5}', '{"key": "k", "bucket": "files"}', '{}',
                         '["content-length-range", -1, 5]', '["content-length-range", "x", 5]'))):
        refused(door.send(door.body({'key': 'k', **door.sign(document)})), 400, 'InvalidPolicyDocument')
    signed = door.sign('{}')
    signed['policy'] = '!!'
    signed['x-amz-signature'] = mac(door.raw.signing_key(signed['x-amz-date']), '!!').hex()
    refused(door.send(door.body({'key': 'k', **signed})), 400, 'InvalidPolicyDocument')


@test
def signatures(door):
    """Each part of the signature wrong; keys that may not write there."""
    key = {'key': 'k'}
    good = door.policy([{'bucket': 'files'}, key])

    def ask(**other):
        fields = {**key, **good, **{k.replace('_', '-'): v for k, v in other.items()}}
        return door.send(door.body({k: v for k, v in fields.items() if v is not None}))

    for i in range(0, 64, 7):
        c = good['x-amz-signature'][i]
        wrong = good['x-amz-signature'][:i] + ('0' if c != '0' else '1') + good['x-amz-signature'][i + 1:]
        refused(ask(x_amz_signature=wrong), 403, 'SignatureDoesNotMatch')
    other = base64.b64encode(base64.b64decode(good['policy']) + b' ').decode()
    refused(ask(policy=other), 403, 'SignatureDoesNotMatch')
    credential = good['x-amz-credential']
    refused(ask(x_amz_credential=credential.replace('us-east-1', 'eu-west-1')), 403,
            'SignatureDoesNotMatch')
    refused(ask(x_amz_credential='HF0123456789ABCDEFGH' + credential[20:]), 403, 'InvalidAccessKeyId')
    for name in ('x_amz_algorithm', 'x_amz_credential', 'x_amz_date', 'x_amz_signature'):
        refused(ask(**{name: None}), 400, 'InvalidArgument')
        refused(ask(**{name: 'x'}), 400, 'InvalidArgument')
    refused(ask(policy=None), 403, 'AccessDenied')
    refused(ask(x_amz_security_token='x'), 400, 'InvalidToken')
    refused(ask(key=None), 400, 'InvalidArgument')
    body = json.dumps({'name': 'n', 'grants': [
        {'bucket': 'files', 'prefix': 'in/', 'rights': ['write']},
        {'bucket': 'files', 'rights': ['read']}]})
    made = door.server.request('POST', '/v1/admin/keys', body).json()
    raw = Raw(door.port, f'{made["id"]}.{made["secret"]}')
    expect(door.post({'key': 'in/a'}, [{'key': 'in/a'}], raw=raw).status, 204)
    refused(door.post(key, [key], raw=raw), 403, 'AccessDenied')
    door.server.request('DELETE', f'/v1/admin/keys/{made["id"]}')
    refused(door.post({'key': 'in/a'}, [{'key': 'in/a'}], raw=raw), 403, 'InvalidAccessKeyId')


@test
def broken_forms(door):
    """Bodies that are no form, forms without a file, with too much, or of what is not there."""
    key = {'key': 'k'}
    fields = {**key, **door.policy([{'bucket': 'files'}, key])}
    whole = door.body(fields, b'some bytes')
    for body in (b'', b'x', whole[:-8], whole[:200], b'--' + EDGE.encode() + b'--\r\n'):
        got = door.send(body)
        expect((got.status, code_of(got) in ('MalformedPOSTRequest', 'InvalidArgument')), (400, True),
               (body[-20:], got.body))
    refused(door.send(door.body(fields, None)), 400, 'InvalidArgument')
    twice = door.body(key, None)[:-len(EDGE) - 6] + whole
    refused(door.send(twice), 400, 'MalformedPOSTRequest')
    refused(door.send(door.body({**fields, 'x-ignore-a': 'x' * 30000})), 400, 'MalformedPOSTRequest')
    many = {**{f'x-ignore-{i}': 'x' for i in range(70)}, **fields}
    refused(door.send(door.body(many)), 400, 'MalformedPOSTRequest')
    got = door.raw.send('POST', '/files', {'Content-Type': 'multipart/form-data'}, whole)
    refused(got, 400, 'MalformedPOSTRequest')
    refused(door.post(key, [key], bucket='gone'), 404, 'NoSuchBucket')
    acl = {'acl': 'public-read'}
    got = door.post({**key, **acl}, [key, acl])
    expect(got.status >= 400, True)
    refused(door.post({**key, 'tagging': '<x/>'}, [key, {'tagging': '<x/>'}]), 400, 'MalformedXML')
    refused(door.post({'key': 'x' * 1025}, [['starts-with', '$key', '']]), 400, 'KeyTooLongError')
    md5 = {'x-amz-checksum-sha256': base64.b64encode(hashlib.sha256(b'y').digest()).decode()}
    refused(door.post({**key, **md5}, [key, md5]), 400, 'BadDigest')
    md5 = {'Content-MD5': base64.b64encode(hashlib.md5(b'y').digest()).decode()}
    refused(door.post({**key, **md5}, [key, md5]), 400, 'BadDigest')
    refused(door.send(whole, headers=md5), 400, 'InvalidArgument')
    good = {'x-amz-checksum-sha256': base64.b64encode(hashlib.sha256(b'x').digest()).decode()}
    expect(door.post({**key, **good}, [key, good]).status, 204)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
