#!/usr/bin/env python3
"""Edges of the S3 door: requests that must be refused, and answers that must be exact, each signed
here and sent as it is.

    s3_wire.py BINARY [TEST...]

Python's standard library only. Prints `LAYER s3-wire required= executed= failed=`, where one test
is one function below.
"""
import base64
import glob
import hashlib
import os
import re
import sys
import xml.dom.minidom

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3_raw import UNSIGNED, Raw, code_of, stamp  # noqa: E402
from smoke import expect, expect_problem, form_of  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3-wire')
BIG = bytes(range(256)) * 1024  # 256 KiB: in blobs


class Door:
    def __init__(self, server):
        self.server = server
        self.port = int(server.s3_address.split(':')[1])
        self.raw = Raw(self.port, server.key())
        self.call = self.raw.call

    def put(self, key, body=b'x', **headers):
        got = self.call('PUT', f'/files/{key}', body=body,
                        headers={k.replace('_', '-'): v for k, v in headers.items()})
        expect(got.status, 200, got.body)
        return got


def test(function):
    """Marks a test of a new server, whose bucket is `files`."""
    return SUITE.at_both_doors(function, lambda server: function(Door(server)))


def refused(got, status, code, what=''):
    expect((got.status, code_of(got)), (status, code), f'{what} {got.body}')


def readable(door, key):
    """Both doors give it."""
    path = f'/files/{key}'
    return (door.call('GET', path).status, door.call('HEAD', path).status,
            door.server.get('files', key).status)


@test
def kept_headers(door):
    """What is acknowledged can be read: headers that no answer could hold are refused at once."""
    server, long = door.server, 'a' * 15900
    path = '/v1/buckets/files/files/'
    for target in (path + 'k', '/v1/files?bucket=files&key=k'):
        method = 'PUT' if target.endswith('files/k') else 'POST'
        expect_problem(server.request(method, target, b'x', headers={'Cache-Control': long}), 431,
                       'headers-too-large')
    form = form_of([(b'Content-Disposition: form-data; name="file"', b'x')])
    kind = 'multipart/form-data; boundary=bound'
    expect_problem(server.request('POST', '/v1/files?bucket=files&key=k', form,
                                  headers={'Content-Type': kind, 'Cache-Control': long}), 431,
                   'headers-too-large')
    refused(door.call('PUT', '/files/k', body=b'x', headers={'Cache-Control': long}), 400,
            'MetadataTooLarge')
    refused(door.call('PUT', '/files/k', body=BIG, headers={'Cache-Control': long}), 400,
            'MetadataTooLarge')
    door.put('from')
    refused(door.call('PUT', '/files/k', headers={
        'x-amz-copy-source': '/files/from', 'x-amz-metadata-directive': 'REPLACE',
        'Cache-Control': 'a' * 15500}), 400, 'MetadataTooLarge')
    expect(server.get('files', 'k').status, 404)
    # tus: names alone, each of which becomes a line.
    pairs = ','.join([f'bucket {base64.b64encode(b"files").decode()}', 'key a2V5']
                     + [f'n{i}' for i in range(1500)])
    got = server.request('POST', '/v1/uploads', headers={
        'Tus-Resumable': '1.0.0', 'Upload-Length': '0', 'Upload-Metadata': pairs})
    expect_problem(got, 431, 'headers-too-large')
    # By id, and as much as is taken, with the longest names in other headers of the same answer.
    name = '%C3%BC' * 341
    file = server.request('PUT', path + 'e%CC%88' * 340, b'x', headers={
        'Content-Disposition': f"attachment; filename*=UTF-8''{name}", 'Cache-Control': 'a' * 2500,
        'Content-Type': 'a' * 1024, 'Holdfast-Meta-a': 'm' * 3500, 'Holdfast-Meta-b': 'm' * 3500})
    expect(file.status, 201, file.body)
    by_id = '/v1/files/' + file.json()['id']
    expect(server.request('GET', by_id).status, 200)
    expect(server.request('HEAD', by_id).status, 200)
    expect_problem(server.request('PUT', by_id, b'x', headers={'Cache-Control': long}), 431,
                   'headers-too-large')
    expect(readable(door, 'e%CC%88' * 340)[:2], (200, 200))
    door.put('s3', Cache_Control='a' * 6000, Content_Disposition='b' * 4000, x_amz_meta_a='c' * 2000)
    expect(readable(door, 's3'), (200, 200, 200))


@test
def one_deletes(door):
    """If-Match of a deletion lets one client win; what is absent matches nothing."""
    etag = door.put('k').headers['ETag']
    refused(door.call('DELETE', '/files/k', headers={'If-Match': '"' + '0' * 32 + '"'}), 412,
            'PreconditionFailed')
    expect(door.call('DELETE', '/files/k', headers={'If-Match': etag}).status, 204)
    refused(door.call('DELETE', '/files/k', headers={'If-Match': etag}), 404, 'NoSuchKey')
    refused(door.call('DELETE', '/files/k', headers={'If-Match': '*'}), 412, 'PreconditionFailed')
    expect(door.call('DELETE', '/files/k').status, 204)
    door.put('k')
    expect(door.call('DELETE', '/files/k', headers={'If-Match': '*'}).status, 204)


@test
def parameters(door):
    """A signature is for one operation: a parameter's name is written in one way only, and once."""
    door.put('k', b'secret')
    for method, sent, signed in (('GET', '%61cl', 'acl='), ('DELETE', '%74agging', 'tagging='),
                                 ('DELETE', 't%61gging=', 'tagging='),
                                 ('PUT', 'upload%49d=x&partNumber=1', 'partNumber=1&uploadId=x'),
                                 ('GET', 'acl&acl', 'acl=&acl='),
                                 ('GET', 'versionId=null&versionId=null',
                                  'versionId=null&versionId=null')):
        headers = door.raw.sign(method, '/files/k', signed)
        got = door.raw.send(method, f'/files/k?{sent}', headers, b'' if method == 'PUT' else None)
        refused(got, 400, 'InvalidArgument', sent)
    expect(door.call('GET', '/files/k').body, b'secret')


@test
def metadata_joined(door):
    """Of a name that is there many times all values are kept, or the whole is refused."""
    def send(count, length, **more):
        headers = ''.join(f'x-amz-meta-a: {i:03}{"v" * (length - 3)}\r\n' for i in range(count))
        joined = ','.join(f'{i:03}{"v" * (length - 3)}' for i in range(count))
        signed = door.raw.sign('PUT', '/files/k', headers={'x-amz-meta-a': joined, **more})
        text = ''.join(f'{k}: {v}\r\n' for k, v in signed.items() if k != 'x-amz-meta-a')
        return door.raw.exchange(
            f'PUT /files/k HTTP/1.1\r\n{text}{headers}Content-Length: 0\r\nConnection: close\r\n\r\n')
    for count, length in ((88, 140), (80, 160), (60, 220)):
        got = send(count, length)
        expect((got.split()[1], b'MetadataTooLarge' in got), (b'400', True), got[:200])
    expect(door.call('GET', '/files/k').status, 404)
    expect(send(20, 50).split()[1], b'200')
    expect(len(door.call('HEAD', '/files/k').headers['x-amz-meta-a']), 20 * 51 - 1)


def blobs(door):
    return {p for p in glob.glob(door.server.data + '/blobs/**/*', recursive=True)
            if os.path.isfile(p)}


@test
def lost_sources(door):
    """A copy of a file whose blob is gone or altered says so, and the file is listed in risk."""
    before = blobs(door)
    door.put('lost', os.urandom(300000))
    made = blobs(door) - before
    expect(len(made), 1)
    path = made.pop()
    with open(path, 'rb') as file:
        whole = bytearray(file.read())
    whole[1000] ^= 1
    begun = door.call('POST', '/files/parts', 'uploads=')
    upload = re.search(rb'<UploadId>(.*?)</UploadId>', begun.body).group(1).decode()
    copy = {'x-amz-copy-source': '/files/lost'}
    for content in (None, bytes(whole)):
        os.unlink(path)
        if content is not None:
            with open(path, 'wb') as file:
                file.write(content)
        refused(door.call('PUT', '/files/copy', headers=copy), 500, 'InternalError')
        refused(door.call('PUT', '/files/parts', {'partNumber': '1', 'uploadId': upload},
                          headers=copy), 500, 'InternalError')
        if content is None:
            with open(path, 'wb') as file:
                file.write(b'')
        risk = door.server.request('GET', '/v1/admin/risk').json()
        expect([f['key'] for f in risk['entries']], ['lost'], risk)
    expect(door.call('GET', '/files/copy').status, 404)


@test
def if_range(door):
    etag = door.put('k', b'0123456789').headers['ETag']
    for validator, status, body in ((etag, 206, b'56789'), (etag.strip('"'), 206, b'56789'),
                                    ('"' + '0' * 32 + '"', 200, b'0123456789'),
                                    ('*', 200, b'0123456789'),
                                    ('Mon, 01 Jan 2001 00:00:00 GMT', 200, b'0123456789')):
        got = door.call('GET', '/files/k', headers={'If-Range': validator, 'Range': 'bytes=5-'})
        expect((got.status, got.body), (status, body), validator)


@test
def one_signature(door):
    """The signature of an address is no signature of a header, where it would never expire."""
    door.put('k')
    date = stamp(-300)
    query = door.raw.presign('GET', '/files/k', '10', date).split('?')[1]
    bare, signature = query.split('&X-Amz-Signature=')
    header = (f'AWS4-HMAC-SHA256 Credential={door.raw.key_id}/{date[:8]}/us-east-1/s3/aws4_request, '
              f'SignedHeaders=host, Signature={signature}')
    shown = {'Host': door.raw.host(), 'x-amz-content-sha256': UNSIGNED, 'Authorization': header,
             'x-amz-date': date}
    for target in (f'/files/k?{bare}', f'/files/k?{query}'):
        refused(door.raw.send('GET', target, shown), 400, 'InvalidArgument', target)
    # Signed as a header has it: the parameters of an address beside it are refused all the same.
    refused(door.call('GET', '/files/k', bare), 400, 'InvalidArgument')


@test
def xml_forms(door):
    """Documents that are indented, and names that XML cannot hold."""
    for indent in (8, 64):
        space = '\n' + ' ' * indent
        text = '<Delete>' + ''.join(f'{space}<Object>{space}<Key>n{i}</Key>{space}</Object>'
                                    for i in range(1000)) + '\n</Delete>'
        md5 = base64.b64encode(hashlib.md5(text.encode()).digest()).decode()
        got = door.call('POST', '/files', 'delete=', text.encode(), {'Content-MD5': md5})
        expect((got.status, got.body.count(b'<Deleted>')), (200, 1000), got.body[:200])
    for name in ('ctl%01x', 'non%EF%BF%BFx', 'non%EF%BF%BEx'):
        door.put(name)
    for query in ('', 'prefix=%FF', 'list-type=2&prefix=ctl%01', 'delimiter=%01'):
        got = door.call('GET', '/files', '&'.join(sorted(query.split('&'))))
        expect(got.status, 200, got.body)
        xml.dom.minidom.parseString(got.body)
    got = door.call('GET', '/files', 'encoding-type=url&prefix=ctl')
    expect(b'<Key>ctl%01x</Key>' in got.body, True, got.body)


@test
def markers(door):
    """A list that goes on within a rolled-up prefix does not tell it again, however long the
    delimiter is."""
    for key in ('p/a', 'p/b', 'q', 'r::a', 'r::b', 's'):
        door.put(key)

    def names(query):
        got = door.call('GET', '/files', query)
        return re.findall(r'<(?:Key|Prefix)>([^<]+)<', got.body.decode())

    expect(names('delimiter=%2F&list-type=2&start-after=p%2Fa'), ['q', 'r::a', 'r::b', 's'])
    expect(names('delimiter=%2F&marker=p%2Fa'), ['q', 'r::a', 'r::b', 's'])
    expect(names('delimiter=%3A%3A&list-type=2&start-after=r%3A%3Aa'), ['s'])
    expect(names('delimiter=%3A&marker=r%3A%3Aa'), ['s'])
    expect(names('delimiter=%2F&marker=p')[-1], 'p/')  # before all of them


@test
def deleted_many(door):
    """What only says how a checksum is to be made is no checksum."""
    door.put('k')
    body = b'<Delete><Object><Key>k</Key></Object></Delete>'
    for name, value in (('mode', 'ENABLED'), ('algorithm', 'CRC32')):
        got = door.call('POST', '/files', 'delete=', body, {f'x-amz-checksum-{name}': value})
        refused(got, 400, 'InvalidRequest', name)
    expect(door.call('GET', '/files/k').status, 200)


@test
def presigned_headers(door):
    """x-amz-… in an address counts as the header would, or is refused as that."""
    raw = door.raw

    def put(**more):
        target = raw.presign('PUT', '/files/k', more=more)
        return raw.send('PUT', target, body=b'x')

    for name, value, status, code in (
            ('x-amz-acl', 'public-read', 400, 'AccessControlListNotSupported'),
            ('x-amz-server-side-encryption', 'AES256', 501, 'NotImplemented'),
            ('x-amz-storage-class', 'GLACIER', 400, 'InvalidStorageClass'),
            ('x-amz-tagging', 'a=%f', 400, 'InvalidArgument'),
            ('x-amz-meta-a', 'x' * 2100, 400, 'MetadataTooLarge'),
            ('x-amz-meta-a\r\nSet-Cookie: a', 'b', 400, 'InvalidArgument'),
            ('x-amz-meta-a', 'b\r\nSet-Cookie: a=b', 400, 'InvalidArgument')):
        refused(put(**{name: value}), status, code, name)
    expect(door.call('GET', '/files/k').status, 404)
    got = put(**{'x-amz-meta-owner': 'me & you', 'x-amz-meta-b': '1', 'x-amz-acl': 'private',
                 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-sdk-checksum-algorithm': 'CRC32'})
    expect(got.status, 200, got.body)
    head = door.call('HEAD', '/files/k').headers
    expect((head['x-amz-meta-owner'], head['x-amz-meta-b']), ('me & you', '1'))
    target = raw.presign('GET', '/files/k', more={'x-amz-checksum-mode': 'ENABLED'})
    expect('x-amz-checksum-crc64nvme' in raw.send('GET', target).headers, True)
    got = raw.send('PUT', raw.presign('PUT', '/files/copy', more={'x-amz-copy-source': '/files/k'}),
                   body=b'')
    expect((got.status, b'CopyObjectResult' in got.body), (200, True), got.body)
    expect(door.call('GET', '/files/copy').body, b'x')


@test
def addresses(door):
    """Parameters that an operation does not take, addresses without a bucket, lists of buckets."""
    door.put('k')
    source = {'x-amz-copy-source': '/files/k'}
    got = door.call('PUT', '/files/copy', 'versionId=nonsense', headers=source)
    expect(got.status in (400, 404, 501), True, got.body)
    expect(door.call('GET', '/files/copy').status, 404)
    refused(door.call('GET', '//key'), 400, 'InvalidBucketName')
    for name in ('aaa-1', 'aaa-2', 'aaa-3', 'bbb'):
        expect(door.call('PUT', f'/{name}').status, 200)

    def names(query):
        text = door.call('GET', '/', query).body.decode()
        token = re.search('<ContinuationToken>(.*?)<', text)
        return re.findall('<Name>(.*?)<', text), token and token.group(1)

    expect(names({}), (['aaa-1', 'aaa-2', 'aaa-3', 'bbb', 'files'], None))
    expect(names({'prefix': 'aaa'}), (['aaa-1', 'aaa-2', 'aaa-3'], None))
    expect(names({'prefix': 'aaa', 'max-buckets': '2'}), (['aaa-1', 'aaa-2'], 'aaa-2'))
    expect(names({'prefix': 'aaa', 'max-buckets': '2', 'continuation-token': 'aaa-2'}),
           (['aaa-3'], None))
    expect(names({'continuation-token': 'x' * 200}), ([], None))
    for value in ('0', 'x', '-1'):
        refused(door.call('GET', '/', {'max-buckets': value}), 400, 'InvalidArgument')
    for query in ({'delimiter': 'é' * 700, 'encoding-type': 'url'}, {'prefix': 'a' * 1100},
                  {'marker': 'a' * 1030 + '::', 'delimiter': '::'},
                  {'list-type': '2', 'start-after': 'a' * 1030}):
        refused(door.call('GET', '/files', query), 400, 'KeyTooLongError')


@test
def unread_heads(door):
    """What no handler sees is refused in S3's words too."""
    for head in ('GET /' + 'a' * 9000 + ' HTTP/1.1\r\nHost: a\r\n\r\n', 'nonsense\r\n\r\n',
                 'GET / HTTP/1.1\r\nHost: a\r\nA: ' + 'b' * 17000 + '\r\n\r\n'):
        got = door.raw.exchange(head)
        top, body = got.split(b'\r\n\r\n', 1)
        expect(b'x-amz-request-id: ' in top and b'application/xml' in top, True, got)
        expect(xml.dom.minidom.parseString(body).documentElement.tagName, 'Error')
    got = door.server.request('GET', '/' + 'a' * 9000)
    expect_problem(got, 414, 'uri-too-long')


CORS = b"""<CORSConfiguration><CORSRule><ID>one</ID>
 <AllowedOrigin>http://*.example</AllowedOrigin>
 <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>
 <AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>content-type</AllowedHeader>
 <ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-amz-version-id</ExposeHeader>
 <MaxAgeSeconds>600</MaxAgeSeconds></CORSRule>
 <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>
</CORSConfiguration>"""


@test
def cors(door):
    """The rules of a bucket: kept through a kill -9, told to pages of other origins."""
    raw, call = door.raw, door.call
    door.put('k', b'1')
    page = {'Origin': 'http://a.example'}

    def ask(method='PUT', path='/files/k', **more):
        asked = {**page, 'Access-Control-Request-Method': method, **more}
        return raw.send('OPTIONS', path, {k.replace('_', '-'): v for k, v in asked.items() if v})

    refused(call('GET', '/files', 'cors='), 404, 'NoSuchCORSConfiguration')
    refused(ask(), 403, 'AccessForbidden')
    refused(ask(path='/absent/k'), 403, 'AccessForbidden')
    expect('access-control-allow-origin' in call('GET', '/files/k', headers=page).headers, False)
    for wrong, code in ((b'', 'MalformedXML'), (b'<CORSConfiguration/>', 'MalformedXML'),
                        (CORS.replace(b'PUT', b'PATCH'), 'InvalidRequest'),
                        (CORS.replace(b'http://*.', b'*.*'), 'InvalidRequest')):
        refused(call('PUT', '/files', 'cors=', wrong), 400, code, wrong)
    refused(call('PUT', '/absent', 'cors=', CORS), 404, 'NoSuchBucket')
    expect(call('PUT', '/files', 'cors=', CORS).status, 200)
    door.server.kill()
    door.server.start()
    got = call('GET', '/files', 'cors=').body
    expect(re.findall(rb'<(ID|MaxAgeSeconds)>([^<]*)<', got),
           [(b'ID', b'one'), (b'MaxAgeSeconds', b'600')])
    got = ask(Access_Control_Request_Headers='x-amz-date, Content-Type')
    told = {k.lower(): v for k, v in got.headers.items()}
    expect((got.status, told['access-control-allow-origin'], told['access-control-allow-methods'],
            told['access-control-allow-headers'], told['access-control-max-age'],
            told['access-control-allow-credentials'], 'Origin' in told['vary']),
           (200, 'http://a.example', 'GET, PUT', 'x-amz-date, Content-Type', '600', 'true', True))
    refused(ask('DELETE'), 403, 'AccessForbidden')
    refused(ask(Access_Control_Request_Headers='x-other'), 403, 'AccessForbidden')
    refused(ask(Origin='http://a.other'), 403, 'AccessForbidden')
    refused(ask(Origin=''), 400, 'BadRequest')
    refused(ask(''), 400, 'BadRequest')
    got = ask('HEAD', Origin='null')
    expect((got.status, got.headers['Access-Control-Allow-Origin'],
            'Access-Control-Allow-Credentials' in got.headers), (200, '*', False))
    for method, status in (('GET', 200), ('PUT', 200), ('HEAD', 200)):
        got = call(method, '/files/k', headers=page, body=b'1' if method == 'PUT' else b'')
        wanted = '*' if method == 'HEAD' else 'http://a.example'
        expect((got.status, got.headers['Access-Control-Allow-Origin']), (status, wanted))
    expect(call('GET', '/files/k', headers=page).headers['Access-Control-Expose-Headers'],
           'ETag, x-amz-version-id')
    got = raw.send('GET', '/files/k', page)  # a page is to see why it is refused
    refused(got, 403, 'AccessDenied')
    expect(got.headers['Access-Control-Allow-Origin'], 'http://a.example')
    got = call('DELETE', '/files/k', headers=page)
    expect((got.status, 'Access-Control-Allow-Origin' in got.headers), (204, False))
    expect(call('DELETE', '/files', 'cors=').status, 204)
    refused(ask(), 403, 'AccessForbidden')
    many = CORS.split(b'<CORSRule>')[1].split(b'</CORSRule>')[0]
    for count, status in ((100, 200), (101, 400)):
        rules = b'<CORSRule>' + many.replace(b'\n', b'') + b'</CORSRule>'
        body = b'<CORSConfiguration>' + rules * count + b'</CORSConfiguration>'
        expect(call('PUT', '/files', 'cors=', body).status, status, len(body))


@test
def unset(door):
    """What is never set is told as S3 does; setting it is not implemented."""
    door.put('k', b'1')
    for param, status, code in (
            ('policy', 404, 'NoSuchBucketPolicy'), ('policyStatus', 404, 'NoSuchBucketPolicy'),
            ('lifecycle', 404, 'NoSuchLifecycleConfiguration'),
            ('encryption', 404, 'ServerSideEncryptionConfigurationNotFoundError'),
            ('replication', 404, 'ReplicationConfigurationNotFoundError'),
            ('website', 404, 'NoSuchWebsiteConfiguration'),
            ('object-lock', 404, 'ObjectLockConfigurationNotFoundError'),
            ('publicAccessBlock', 404, 'NoSuchPublicAccessBlockConfiguration'),
            ('ownershipControls', 404, 'OwnershipControlsNotFoundError'),
            ('notification', 200, ''), ('logging', 200, ''), ('accelerate', 200, ''),
            ('requestPayment', 200, ''), ('inventory', 200, ''), ('analytics', 200, ''),
            ('metrics', 200, ''), ('intelligent-tiering', 200, '')):
        refused(door.call('GET', '/files', f'{param}='), status, code, param)
        refused(door.call('GET', '/absent', f'{param}='), 404, 'NoSuchBucket', param)
        refused(door.call('PUT', '/files', f'{param}=', b'<a/>'), 501, 'NotImplemented', param)
        got = door.call('DELETE', '/files', f'{param}=')
        drops = param in ('policy', 'lifecycle', 'encryption', 'replication', 'website',
                          'publicAccessBlock', 'ownershipControls')
        expect((got.status, code_of(got)), (204, '') if drops else (501, 'NotImplemented'), param)
    for param in ('inventory', 'analytics', 'metrics', 'intelligent-tiering'):
        refused(door.call('GET', '/files', {param: '', 'id': 'a'}), 404, 'NoSuchConfiguration', param)
    for param in ('retention', 'legal-hold'):
        refused(door.call('GET', '/files/k', f'{param}='), 404, 'NoSuchObjectLockConfiguration')
        refused(door.call('GET', '/files/absent', f'{param}='), 404, 'NoSuchKey')
        refused(door.call('PUT', '/files/k', f'{param}=', b'<a/>'), 501, 'NotImplemented')
    for method, param in (('POST', 'restore='), ('POST', 'select=&select-type=2'),
                          ('GET', 'torrent=')):
        refused(door.call(method, '/files/k', param), 501, 'NotImplemented', param)
    expect(door.call('GET', '/files/k').body, b'1')


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
