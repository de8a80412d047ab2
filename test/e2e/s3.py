#!/usr/bin/env python3
"""The S3 door: boto3 does what programs do every day, and requests that are signed here, each part
of them wrong in turn, are answered as S3 would.

    s3.py BINARY [TEST...]

To be run by the Python of a venv with boto3 (`./dev s3-tools` makes it). Prints
`LAYER s3 required= executed= failed=`, where one test is one function below.
"""
import base64
import concurrent.futures
import hashlib
import json
import os
import socket
import sys
import time
import urllib.request
import zlib

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3_raw import CHUNKS, CHUNKS_TRAILER, EMPTY, TRAILER, UNSIGNED, Raw, code_of, stamp  # noqa: E402
from server import free_port  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3')
BIG = bytes(range(256)) * 4096  # 1 MiB: in blobs
ODD_KEYS = ['a b', 'a+b', 'a%20b', '%', 'ü/ß/漢字/🎈', '//', 'a//b', '/a', 'a/', '../x', '.', 'a?b#c',
            '&<>"\'', 'x' * 1024, "!*'();:@=,$[]", 'null', '~', '\\', 'a\tb', '\x01']


class Door:
    """A server with its S3 door open, a client, and raw requests to it."""

    def __init__(self, server):
        self.server = server
        self.port = int(server.s3_address.split(':')[1])
        self.raw = Raw(self.port, server.key())
        self.s3 = self.client()
        self.bucket = 'buc'

    def client(self, **config):
        key, secret = self.server.key().split('.')
        return boto3.client(
            's3', endpoint_url=f'http://127.0.0.1:{self.port}', aws_access_key_id=key,
            aws_secret_access_key=secret, region_name='us-east-1',
            config=Config(retries={'max_attempts': 0}, **{'signature_version': 's3v4', **config}))


def test(function):
    """Marks a test of the door: it has the buckets `bbb` and `buc`."""
    def call(server):
        door = Door(server)
        door.s3.create_bucket(Bucket='bbb')
        door.s3.create_bucket(Bucket='buc')
        function(door)
    options = ['--s3-domain', 's3.example']
    if function.__name__.endswith('_v2'):
        options += ['--s3-sigv2']
    return SUITE.at_both_doors(function, call, *options)


def refused(call, code, status, **arguments):
    """call is refused with S3's code and that status."""
    try:
        call(**arguments)
    except ClientError as error:
        got = error.response
        expect((got['Error']['Code'], got['ResponseMetadata']['HTTPStatusCode']), (code, status))
        return got
    raise AssertionError(f'{code} was expected, of {arguments}')


def md5_of(body):
    return f'"{hashlib.md5(body).hexdigest()}"'


@test
def buckets(door):
    s3 = door.s3
    expect([b['Name'] for b in s3.list_buckets()['Buckets']], ['bbb', 'buc', 'files'])
    s3.create_bucket(Bucket='buc')  # one's own, again
    west = {'LocationConstraint': 'eu-west-1'}
    refused(s3.create_bucket, 'IllegalLocationConstraintException', 400, Bucket='other',
            CreateBucketConfiguration=west)
    raw = door.raw.call('PUT', '/buc', region='eu-west-1')
    expect((raw.status, code_of(raw)), (409, 'BucketAlreadyOwnedByYou'))
    refused(s3.create_bucket, 'InvalidBucketName', 400, Bucket='No.Good.')
    expect(code_of(door.raw.call('PUT', '/fine-name', body=b'<a>')), 'MalformedXML')
    expect(code_of(door.raw.call('PUT', '/fine-name', body=b'<!DOCTYPE a><a/>')), 'MalformedXML')
    s3.head_bucket(Bucket='buc')
    refused(s3.head_bucket, '404', 404, Bucket='absent')
    expect(s3.get_bucket_location(Bucket='buc')['LocationConstraint'], None)
    refused(s3.get_bucket_location, 'NoSuchBucket', 404, Bucket='absent')
    expect('Status' in s3.get_bucket_versioning(Bucket='buc'), False)
    expect(s3.get_bucket_acl(Bucket='buc')['Grants'][0]['Permission'], 'FULL_CONTROL')
    for call, code in ((s3.get_bucket_policy, 'NoSuchBucketPolicy'),
                       (s3.get_bucket_lifecycle_configuration, 'NoSuchLifecycleConfiguration'),
                       (s3.get_bucket_cors, 'NoSuchCORSConfiguration'),
                       (s3.get_bucket_tagging, 'NoSuchTagSet')):
        refused(call, code, 404, Bucket='buc')
        refused(call, 'NoSuchBucket', 404, Bucket='absent')
    s3.put_object(Bucket='buc', Key='k', Body=b'')
    refused(s3.delete_bucket, 'BucketNotEmpty', 409, Bucket='buc')
    s3.delete_object(Bucket='buc', Key='k')
    s3.delete_bucket(Bucket='buc')
    refused(s3.delete_bucket, 'NoSuchBucket', 404, Bucket='buc')
    refused(s3.put_object, 'NoSuchBucket', 404, Bucket='buc', Key='k', Body=BIG)


@test
def contents(door):
    """Small, empty, large, just around the inline limit; ranges; HEAD; the other door's view."""
    s3, bucket = door.s3, door.bucket
    for body in (b'', b'x', BIG[:65536], BIG[:65537], BIG * 3 + b'x'):
        etag = s3.put_object(Bucket=bucket, Key='k', Body=body)['ETag']
        expect(etag, md5_of(body))
        got = s3.get_object(Bucket=bucket, Key='k')
        expect((got['Body'].read() == body, got['ETag'], got['ContentLength']),
               (True, etag, len(body)))
        head = s3.head_object(Bucket=bucket, Key='k')
        expect((head['ETag'], head['ContentLength'], head['ContentType']),
               (etag, len(body), 'binary/octet-stream'))
        rest = door.server.get(bucket, 'k')
        expect((rest.body == body, rest.headers['ETag']), (True, etag))
        if len(body) < 2:
            continue
        for header, part in (('bytes=0-0', body[:1]), ('bytes=-3', body[-3:]),
                             ('bytes=5-', body[5:]), ('bytes=10-19', body[10:20]),
                             (f'bytes=1-{10 ** 15}', body[1:])):
            got = s3.get_object(Bucket=bucket, Key='k', Range=header)
            expect((got['Body'].read() == part, got['ResponseMetadata']['HTTPStatusCode']),
                   (True, 206))
        refused(s3.get_object, 'InvalidRange', 416, Bucket=bucket, Key='k',
                Range=f'bytes={len(body)}-')
        expect(s3.head_object(Bucket=bucket, Key='k', Range='bytes=1-2')['ContentLength'], 2)
    door.server.put(bucket, 'of-rest', BIG)
    got = s3.get_object(Bucket=bucket, Key='of-rest')
    expect(got['Body'].read() == BIG, True)
    expect(got['ETag'], f'"{hashlib.sha256(BIG).hexdigest()[:40]}-1"')
    refused(s3.get_object, 'NoSuchKey', 404, Bucket=bucket, Key='absent')
    refused(s3.get_object, 'NoSuchBucket', 404, Bucket='absent', Key='k')
    refused(s3.get_object, 'InvalidArgument', 400, Bucket=bucket, Key='k', VersionId='abc')
    s3.get_object(Bucket=bucket, Key='k', VersionId='null')


@test
def survives(door):
    """What was acknowledged is there after kill -9, with etag and metadata."""
    s3, bucket, server = door.s3, door.bucket, door.server
    for i, body in enumerate((b'small', BIG)):
        s3.put_object(Bucket=bucket, Key=f'k{i}', Body=body, Metadata={'i': str(i)})
    server.kill()
    server.start()
    for i, body in enumerate((b'small', BIG)):
        got = s3.get_object(Bucket=bucket, Key=f'k{i}', ChecksumMode='ENABLED')
        expect((got['Body'].read() == body, got['ETag'], got['Metadata'], 'ChecksumCRC32' in got),
               (True, md5_of(body), {'i': str(i)}, True))


@test
def odd_keys(door):
    s3, bucket = door.s3, door.bucket
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        expect(s3.get_object(Bucket=bucket, Key=key)['Body'].read(), key.encode())
    pages = s3.get_paginator('list_objects_v2').paginate(Bucket=bucket,
                                                         PaginationConfig={'PageSize': 3})
    found = [c['Key'] for page in pages for c in page.get('Contents', [])]
    expect(found, sorted(ODD_KEYS, key=lambda k: k.encode()))
    pages = s3.get_paginator('list_objects').paginate(Bucket=bucket,
                                                      PaginationConfig={'PageSize': 2})
    expect([c['Key'] for page in pages for c in page.get('Contents', [])], found)
    for key in ODD_KEYS[:8]:
        source = {'Bucket': bucket, 'Key': key}
        s3.copy_object(Bucket=bucket, Key=f'copy of {key}', CopySource=source)
        expect(s3.get_object(Bucket=bucket, Key=f'copy of {key}')['Body'].read(), key.encode())
    refused(s3.put_object, 'KeyTooLongError', 400, Bucket=bucket, Key='x' * 1025, Body=b'')
    named = [{'Key': k} for k in ODD_KEYS if k != '\x01']
    gone = s3.delete_objects(Bucket=bucket, Delete={'Objects': named})
    expect(({d['Key'] for d in gone['Deleted']}, gone.get('Errors')),
           ({k['Key'] for k in named}, None))
    expect(s3.list_objects_v2(Bucket=bucket, Prefix='a')['KeyCount'], 0)


@test
def lists(door):
    s3, bucket = door.s3, door.bucket
    keys = [f'{a}/{b}' for a in 'abc' for b in range(4)] + ['d', 'x--y--z', 'x--y']
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b'1')

    def page(**more):
        got = s3.list_objects_v2(Bucket=bucket, **more)
        return ([c['Key'] for c in got.get('Contents', [])],
                [p['Prefix'] for p in got.get('CommonPrefixes', [])], got['IsTruncated'])

    expect(page(Delimiter='/'), (['d', 'x--y', 'x--y--z'], ['a/', 'b/', 'c/'], False))
    expect(page(Prefix='b/', Delimiter='/'), ([f'b/{i}' for i in range(4)], [], False))
    expect(page(StartAfter='b/2', Delimiter='/')[0:2], (['d', 'x--y', 'x--y--z'], ['c/']))
    expect(page(Delimiter='--'), (sorted(k for k in keys if '--' not in k), ['x--'], False))
    expect(page(Delimiter='--', Prefix='x--'), (['x--y'], ['x--y--'], False))
    expect(page(MaxKeys=0), ([], [], False))
    expect(page(MaxKeys=2), (['a/0', 'a/1'], [], True))
    for delimiter in ('/', '--', ''):
        seen, token = [], {}
        while True:
            got = s3.list_objects_v2(Bucket=bucket, MaxKeys=1, Delimiter=delimiter, **token)
            seen += [c['Key'] for c in got.get('Contents', [])]
            seen += [p['Prefix'] for p in got.get('CommonPrefixes', [])]
            expect(got['KeyCount'], 1)
            if not got['IsTruncated']:
                break
            token = {'ContinuationToken': got['NextContinuationToken']}
        files, prefixes, _ = page(Delimiter=delimiter)
        expect(seen, sorted(files + prefixes))
    first = s3.list_objects(Bucket=bucket, Delimiter='/', MaxKeys=1)
    expect((first['NextMarker'], first['IsTruncated']), ('a/', True))
    second = s3.list_objects(Bucket=bucket, Delimiter='/', MaxKeys=1, Marker='a/')
    expect(second['CommonPrefixes'][0]['Prefix'], 'b/')
    expect('Owner' in s3.list_objects_v2(Bucket=bucket, FetchOwner=True)['Contents'][0], True)
    expect('Owner' in s3.list_objects_v2(Bucket=bucket)['Contents'][0], False)
    refused(s3.list_objects_v2, 'InvalidArgument', 400, Bucket=bucket, ContinuationToken='!')
    refused(s3.list_objects_v2, 'NoSuchBucket', 404, Bucket='absent')
    for query in ('max-keys=x', 'max-keys=-1', 'list-type=3', 'encoding-type=x'):
        expect(code_of(door.raw.call('GET', f'/{bucket}', query)), 'InvalidArgument', query)
    # As s3fs sends it: a slash that its signature has encoded.
    headers = door.raw.sign('GET', f'/{bucket}', 'max-keys=2&prefix=a%2F')
    expect(door.raw.send('GET', f'/{bucket}?prefix=a/&max-keys=2', headers).status, 200)


@test
def metadata(door):
    s3, bucket = door.s3, door.bucket
    told = {'ContentType': 'text/plain; charset=utf-8', 'CacheControl': 'no-cache',
            'ContentDisposition': 'attachment; filename="a b.txt"', 'ContentEncoding': 'gzip',
            'ContentLanguage': 'de', 'Metadata': {'a': '1', 'long': 'x' * 1900}}
    s3.put_object(Bucket=bucket, Key='k', Body=b'1', **told)
    for got in (s3.head_object(Bucket=bucket, Key='k'), s3.get_object(Bucket=bucket, Key='k')):
        expect({name: got[name] for name in told}, told)
    expect(door.server.get(bucket, 'k').headers['Holdfast-Meta-a'], '1')
    got = s3.get_object(Bucket=bucket, Key='k', ResponseContentType='a/b', ResponseExpires=1,
                        ResponseCacheControl='private', ResponseContentLanguage='fr',
                        ResponseContentDisposition='inline', ResponseContentEncoding='x')
    expect((got['ContentType'], got['CacheControl'], got['ContentLanguage'],
            got['ContentDisposition'], got['ContentEncoding']),
           ('a/b', 'private', 'fr', 'inline', 'x'))
    refused(s3.put_object, 'MetadataTooLarge', 400, Bucket=bucket, Key='k', Body=b'1',
            Metadata={'a': 'x' * 2048})
    for more, code, status in (
            ({'StorageClass': 'GLACIER'}, 'InvalidStorageClass', 400),
            ({'ACL': 'public-read'}, 'AccessControlListNotSupported', 400),
            ({'ServerSideEncryption': 'AES256'}, 'NotImplemented', 501),
            ({'WebsiteRedirectLocation': '/x'}, 'NotImplemented', 501),
            ({'ObjectLockLegalHoldStatus': 'ON'}, 'NotImplemented', 501)):
        refused(s3.put_object, code, status, Bucket=bucket, Key='k', Body=b'2', **more)
    expect(s3.get_object(Bucket=bucket, Key='k')['Body'].read(), b'1')
    s3.put_object(Bucket=bucket, Key='k', Body=b'1', ACL='private', StorageClass='STANDARD')
    refused(s3.get_object_torrent, 'NotImplemented', 501, Bucket=bucket, Key='k')


@test
def copies(door):
    s3, bucket = door.s3, door.bucket
    for name, body in (('small', b'small'), ('big', BIG * 10 + b'x')):
        s3.put_object(Bucket=bucket, Key=name, Body=body, Metadata={'a': '1'}, ContentType='a/b')
        source = {'Bucket': bucket, 'Key': name}
        done = s3.copy_object(Bucket='bbb', Key='c', CopySource=source)['CopyObjectResult']
        expect(done['ETag'], md5_of(body))
        got = s3.get_object(Bucket='bbb', Key='c')
        expect((got['Body'].read() == body, got['Metadata'], got['ContentType'], got['ETag']),
               (True, {'a': '1'}, 'a/b', md5_of(body)))
        refused(s3.copy_object, 'InvalidRequest', 400, Bucket=bucket, Key=name, CopySource=source)
        s3.copy_object(Bucket=bucket, Key=name, CopySource=source, MetadataDirective='REPLACE',
                       Metadata={'b': '2'}, ContentType='c/d')
        got = s3.get_object(Bucket=bucket, Key=name)
        expect((got['Body'].read() == body, got['Metadata'], got['ContentType']),
               (True, {'b': '2'}, 'c/d'))
        for more in ({'CopySourceIfMatch': '"x"'}, {'CopySourceIfNoneMatch': md5_of(body)},
                     {'CopySourceIfUnmodifiedSince': 1}, {'CopySourceIfModifiedSince': 2 ** 32}):
            refused(s3.copy_object, 'PreconditionFailed', 412, Bucket=bucket, Key='no',
                    CopySource=source, **more)
        refused(s3.get_object, 'NoSuchKey', 404, Bucket=bucket, Key='no')
        s3.copy_object(Bucket=bucket, Key='yes', CopySource=source, CopySourceIfMatch=md5_of(body))
        s3.delete_object(Bucket=bucket, Key=name)
        expect(s3.get_object(Bucket='bbb', Key='c')['Body'].read() == body, True)
    refused(s3.copy_object, 'NoSuchKey', 404, Bucket=bucket, Key='no', CopySource=f'{bucket}/none')
    refused(s3.copy_object, 'NoSuchBucket', 404, Bucket=bucket, Key='no', CopySource='none/none')


@test
def conditions(door):
    s3, bucket = door.s3, door.bucket
    s3.put_object(Bucket=bucket, Key='k', Body=b'1', IfNoneMatch='*')
    refused(s3.put_object, 'PreconditionFailed', 412, Bucket=bucket, Key='k', Body=b'2',
            IfNoneMatch='*')
    refused(s3.put_object, 'PreconditionFailed', 412, Bucket=bucket, Key='k', Body=BIG,
            IfMatch='"x"')
    refused(s3.put_object, 'NoSuchKey', 404, Bucket=bucket, Key='absent', Body=b'2',
            IfMatch=md5_of(b'1'))
    s3.put_object(Bucket=bucket, Key='k', Body=b'2', IfMatch=md5_of(b'1'))
    expect(s3.get_object(Bucket=bucket, Key='k', IfMatch=md5_of(b'2'))['Body'].read(), b'2')
    s3.get_object(Bucket=bucket, Key='k', IfMatch=md5_of(b'2').strip('"'))
    refused(s3.get_object, 'PreconditionFailed', 412, Bucket=bucket, Key='k', IfMatch='"x"')
    refused(s3.get_object, '304', 304, Bucket=bucket, Key='k', IfNoneMatch=md5_of(b'2'))
    refused(s3.get_object, '304', 304, Bucket=bucket, Key='k', IfModifiedSince=2 ** 32)
    refused(s3.get_object, 'PreconditionFailed', 412, Bucket=bucket, Key='k', IfUnmodifiedSince=1)
    refused(s3.delete_object, 'PreconditionFailed', 412, Bucket=bucket, Key='k', IfMatch='"x"')
    refused(s3.delete_object, 'NoSuchKey', 404, Bucket=bucket, Key='absent', IfMatch='"x"')
    s3.delete_object(Bucket=bucket, Key='k', IfMatch=md5_of(b'2'))
    s3.delete_object(Bucket=bucket, Key='k')

    def race(i):
        if i % 2:
            headers = {'If-None-Match': '*'}
            return door.server.put(bucket, 'race', str(i).encode(), headers=headers).status == 201
        raw = door.raw.call('PUT', f'/{bucket}/race', body=str(i).encode(),
                            headers={'If-None-Match': '*'})
        return raw.status == 200

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        expect(sum(pool.map(race, range(16))), 1)


@test
def checksums(door):
    """Each algorithm in a header is kept and given back; a wrong one leaves nothing behind."""
    s3, bucket = door.s3, door.bucket
    for body in (b'hello world', BIG):
        made = {'CRC32': zlib.crc32(body).to_bytes(4, 'big'), 'SHA1': hashlib.sha1(body).digest(),
                'SHA256': hashlib.sha256(body).digest()}
        for name, value in made.items():
            field = f'Checksum{name}'
            text = base64.b64encode(value).decode()
            done = s3.put_object(Bucket=bucket, Key='k', Body=body, **{field: text})
            got = s3.get_object(Bucket=bucket, Key='k', ChecksumMode='ENABLED')
            expect((done[field], got[field], got['Body'].read() == body), (text, text, True))
            head = s3.head_object(Bucket=bucket, Key='k')
            expect(field in head, False)
            wrong = base64.b64encode(bytes(len(value))).decode()
            refused(s3.put_object, 'BadDigest', 400, Bucket=bucket, Key='new', Body=body,
                    **{field: wrong})
        refused(s3.put_object, 'BadDigest', 400, Bucket=bucket, Key='new', Body=body,
                ContentMD5=base64.b64encode(bytes(16)).decode())
    raw = door.raw
    for header, value, code in (
            ('Content-MD5', 'x', 'InvalidDigest'), ('x-amz-checksum-crc32', 'x', 'InvalidRequest'),
            ('x-amz-checksum-md4', 'AAAA', 'InvalidRequest'),
            ('x-amz-sdk-checksum-algorithm', 'CRC32', 'InvalidRequest'),
            ('x-amz-trailer', 'x-amz-checksum-crc32', 'InvalidRequest')):
        got = raw.call('PUT', f'/{bucket}/new', body=b'x', headers={header: value})
        expect((got.status, code_of(got)), (400, code), header)
    # CRC32C and CRC64NVME of "123456789", by their definitions; the second is made unasked.
    for name, value in (('crc32c', 0xe3069283.to_bytes(4, 'big')),
                        ('crc64nvme', 0xae8b14860a799888.to_bytes(8, 'big'))):
        text = base64.b64encode(value).decode()
        got = raw.call('PUT', f'/{bucket}/k', body=b'123456789',
                       headers={f'x-amz-checksum-{name}': text})
        expect((got.status, got.headers[f'x-amz-checksum-{name}']), (200, text))
    got = raw.call('PUT', f'/{bucket}/k', body=b'123456789')
    expect(got.headers['x-amz-checksum-crc64nvme'], text)
    two = {'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-crc32c': 'AAAAAA=='}
    expect(code_of(raw.call('PUT', f'/{bucket}/new', body=b'', headers=two)), 'InvalidRequest')
    refused(s3.head_object, '404', 404, Bucket=bucket, Key='new')


@test
def chunked(door):
    """aws-chunked of each kind, small and large, whole and wrong."""
    raw, bucket = door.raw, door.bucket
    path = f'/{bucket}/chunked'

    def put(pieces, kind, change=None, checksum=None, framed=False, announced=None):
        body = b''.join(pieces)
        crc = base64.b64encode(zlib.crc32(body).to_bytes(4, 'big')).decode()
        headers = {'x-amz-decoded-content-length': str(announced or len(body)),
                   'Content-Encoding': 'aws-chunked,gzip'}
        if kind != CHUNKS:
            headers['x-amz-trailer'] = 'x-amz-checksum-crc32'
        signed = raw.sign('PUT', path, headers=headers, body_hash=kind)
        trailer = [('x-amz-checksum-crc32', checksum or crc)]
        if kind == TRAILER:
            wire = b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in pieces)
            wire += f'0\r\n{trailer[0][0]}:{trailer[0][1]}\r\n\r\n'.encode()
        else:
            wire = raw.chunks(pieces, signed, trailer if kind == CHUNKS_TRAILER else None)
        if change:
            wire = change(wire)
        if framed:
            signed['Transfer-Encoding'] = 'chunked'
            return raw.send('PUT', path, signed, iter([wire[:7], wire[7:]]), chunked=True)
        return raw.send('PUT', path, signed, wire)

    for kind in (CHUNKS, CHUNKS_TRAILER, TRAILER):
        for pieces in ([b'hello world'], [BIG[:65536], BIG[:1000]], [BIG] * 3 + [b'x'], [b'a' * 9000]):
            for framed in (False, True):
                done = put(pieces, kind, framed=framed)
                expect(done.status, 200, done.body)
                got = door.s3.get_object(Bucket=bucket, Key='chunked')
                expect((got['Body'].read() == b''.join(pieces), got['ContentEncoding']),
                       (True, 'gzip'))
        empty = put([], kind)
        expect(empty.status, 200, empty.body)
        door.s3.put_object(Bucket=bucket, Key='chunked', Body=b'before')
        for pieces in ([b'hello world'], [BIG, BIG]):
            for change, codes in (
                    (lambda w: w[:-2], ('IncompleteBody',)),
                    (lambda w: w[:len(w) // 2], ('IncompleteBody',)),
                    (lambda w: w.replace(b'hell', b'hall').replace(BIG[:99], BIG[1:100]),
                     ('SignatureDoesNotMatch', 'BadDigest')),
                    (lambda w: b'zz' + w, ('InvalidChunkSizeError',)),
                    (lambda w: w + b'x', ('IncompleteBody',))):
                done = put(pieces, kind, change)
                expect(code_of(done) in codes, True, f'{kind} {done.body}')
            expect(code_of(put(pieces, kind, announced=5)), 'IncompleteBody')
            if kind != CHUNKS:
                expect(code_of(put(pieces, kind, checksum='AAAAAA==')), 'BadDigest')
                expect(code_of(put(pieces, kind, checksum='x')), 'InvalidRequest')
                odd = put(pieces, kind, lambda w: w.replace(b'crc32:', b'crc33:'))
                expect(code_of(odd) in ('MalformedTrailerError', 'SignatureDoesNotMatch'), True)
        expect(door.s3.get_object(Bucket=bucket, Key='chunked')['Body'].read(), b'before')
    small = put([b'a', b'b'], CHUNKS)
    expect((small.status, code_of(small)), (403, 'InvalidChunkSizeError'))


@test
def signatures(door):
    """One byte off in each part, dates, hashes, and what is not signed at all."""
    raw, bucket = door.raw, door.bucket
    path = f'/{bucket}/k'
    expect(raw.call('PUT', path, body=b'1', headers={'x-amz-meta-a': 'b'}).status, 200)
    good = raw.sign('GET', path, 'response-expires=x')

    def code(method='GET', target=f'{path}?response-expires=x', **changed):
        headers = {**good, **{k.replace('_', '-'): v for k, v in changed.items()}}
        return code_of(raw.send(method, target, headers))

    expect(code(), '')
    wrong = 'SignatureDoesNotMatch'
    authorization = good['Authorization']
    last = authorization[-1]
    for got, wanted in (
            (code(Authorization=authorization[:-1] + ('0' if last != '0' else '1')), wrong),
            (code(target=f'{path}?response-expires=y'), wrong), (code(target=path), wrong),
            (code(target=f'/{bucket}/l?response-expires=x'), wrong),
            (code(Host=f'localhost:{door.port}'), wrong),
            (code(x_amz_content_sha256=UNSIGNED), wrong),
            (code(x_amz_content_sha256='x'), 'InvalidRequest'),
            (code(x_amz_date=stamp(1)[:8] + 'T000000Z'), None),
            (code(x_amz_meta_x='y'), 'AccessDenied'),
            (code(Authorization=authorization.replace(raw.key_id, 'HF' + 'A' * 18)),
             'InvalidAccessKeyId'),
            (code(Authorization=authorization.replace('/s3/', '/ec2/')),
             'AuthorizationHeaderMalformed'),
            (code(Authorization=authorization.replace('us-east-1', 'us-east-2')), wrong),
            (code(Authorization='AWS4-HMAC-SHA256'), 'AuthorizationHeaderMalformed'),
            (code(Authorization='AWS a:b'), 'InvalidRequest'),
            (code(Authorization=f'Bearer {door.server.key()}'), 'InvalidRequest')):
        expect(got != '' if wanted is None else got, wanted is None or wanted)
    head = raw.send('HEAD', path, {**good, 'x-amz-meta-x': 'y'})
    expect((head.status, head.body), (403, b''))
    for shift, wanted in ((-890, ''), (890, ''), (-910, 'RequestTimeTooSkewed'),
                          (910, 'RequestTimeTooSkewed')):
        expect(code_of(raw.call('GET', path, date=stamp(shift))), wanted, str(shift))
    for region in ('eu-west-1', 'anything'):
        expect(raw.call('GET', path, region=region).status, 200)
    expect(code_of(raw.call('PUT', path, body=b'2', body_hash=EMPTY)), 'XAmzContentSHA256Mismatch')
    expect(code_of(raw.call('PUT', path, body=BIG, body_hash=EMPTY)), 'XAmzContentSHA256Mismatch')
    expect(code_of(raw.call('GET', path, body_hash='0' * 64)), 'XAmzContentSHA256Mismatch')
    expect(raw.call('PUT', path, body=BIG, body_hash=UNSIGNED).status, 200)
    anonymous = raw.send('GET', path)
    expect((anonymous.status, code_of(anonymous)), (403, 'AccessDenied'))
    expect(code_of(raw.send('GET', '/', {})), 'AccessDenied')
    expect('x-amz-request-id' in anonymous.headers, True)


@test
def presigned_v2(door):
    """boto3's addresses by Signature Version 2, in the path and by the host's name."""
    old = door.client(signature_version='s3')
    where = {'Bucket': door.bucket, 'Key': 'a b/ü+%'}
    ask = door.raw.send
    for method, operation, more, body in (
            ('PUT', 'put_object', {'ContentType': 'text/x', 'Metadata': {'who': 'me'}}, b'v2'),
            ('GET', 'get_object', {'ResponseContentType': 'a/b'}, None), ('HEAD', 'head_object', {}, None),
            ('GET', 'get_object_acl', {}, None), ('DELETE', 'delete_object', {}, None)):
        url = old.generate_presigned_url(operation, Params={**where, **more}, ExpiresIn=60)
        expect('AWSAccessKeyId=' in url, True, url)
        headers = {'Content-Type': 'text/x'} if body else {}
        got = ask(method, url.split(str(door.port), 1)[1], headers, body)
        expect(got.status in (200, 204), True, f'{operation} {url} {got.body}')
        if operation == 'get_object':
            expect((got.body, got.headers['Content-Type'], got.headers['x-amz-meta-who']),
                   (b'v2', 'a/b', 'me'))


def post_by(door, client, old):
    """What boto3's generate_presigned_post makes is taken: fields and policy as it makes them."""
    made = client.generate_presigned_post(
        door.bucket, 'up/${filename}', Fields={'Content-Type': 'text/plain', 'acl': 'private'},
        Conditions=[['starts-with', '$Content-Type', 'text/'], {'acl': 'private'},
                    ['content-length-range', 1, 100]], ExpiresIn=60)
    expect('AWSAccessKeyId' in made['fields'], old, made)
    for data, status in ((b'a file', 204), (b'', 400), (b'x' * 101, 400)):
        body = b''.join(f'--e\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
                        for k, v in made['fields'].items())
        body += (b'--e\r\nContent-Disposition: form-data; name="file"; filename="n.txt"\r\n\r\n' + data
                 + b'\r\n--e--\r\n')
        got = door.raw.send('POST', made['url'].split(str(door.port), 1)[1],
                            {'Content-Type': 'multipart/form-data; boundary=e'}, body)
        expect(got.status, status, got.body)
    got = door.s3.get_object(Bucket=door.bucket, Key='up/n.txt')
    expect((got['Body'].read(), got['ContentType']), (b'a file', 'text/plain'))


@test
def presigned_post(door):
    """boto3's forms."""
    post_by(door, door.s3, False)


@test
def presigned_post_v2(door):
    """boto3's forms signed by Version 2, which it makes unless it is told s3v4."""
    post_by(door, door.client(signature_version='s3'), True)


@test
def presigned(door):
    raw, bucket = door.raw, door.bucket
    path = f'/{bucket}/a%20b'
    door.s3.put_object(Bucket=bucket, Key='a b', Body=b'1')
    expect(raw.send('GET', raw.presign('GET', path)).body, b'1')
    expect(raw.send('PUT', raw.presign('PUT', path), body=b'2').status, 200)
    more = {'response-content-type': 'a/b', 'x-id': 'GetObject'}
    got = raw.send('GET', raw.presign('GET', path, more=more))
    expect((got.body, got.headers['Content-Type']), (b'2', 'a/b'))
    # A checksum of the empty body in the address, as a client was seen to presign it.
    more = {'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-sdk-checksum-algorithm': 'CRC32'}
    expect(raw.send('PUT', raw.presign('PUT', path, more=more), body=b'3').status, 200)
    url = raw.presign('GET', path)
    for target, wanted in (
            (url[:-1] + ('0' if url[-1] != '0' else '1'), 'SignatureDoesNotMatch'),
            (url.replace('a%20b', 'a%20c'), 'SignatureDoesNotMatch'),
            (url.replace('Expires=60', 'Expires=61'), 'SignatureDoesNotMatch'),
            (url + '&x=y', 'SignatureDoesNotMatch'),
            (raw.presign('GET', path, date=stamp(-70)), 'AccessDenied'),
            (raw.presign('GET', path, date=stamp(1000)), 'AccessDenied'),
            (raw.presign('GET', path, expires='0'), 'AuthorizationQueryParametersError'),
            (raw.presign('GET', path, expires='604801'), 'AuthorizationQueryParametersError'),
            (raw.presign('GET', path, expires='x'), 'AuthorizationQueryParametersError'),
            (f'{path}?AWSAccessKeyId=x&Signature=y&Expires=1', 'InvalidRequest')):
        expect(code_of(raw.send('GET', target)), wanted, target)
    expect(code_of(raw.send('DELETE', url)), 'SignatureDoesNotMatch')
    made = door.client().generate_presigned_url('get_object',
                                                Params={'Bucket': bucket, 'Key': 'a b'})
    with urllib.request.urlopen(made, timeout=60) as answer:
        expect(answer.read(), b'3')


@test
def addresses(door):
    """Buckets in the host's name; a slash behind the bucket; what is in no table."""
    raw, bucket = door.raw, door.bucket
    door.s3.put_object(Bucket=bucket, Key='x/y', Body=b'1')
    host = f'{bucket}.s3.example'
    expect(raw.call('GET', '/x/y', host=host).body, b'1')
    expect(raw.call('GET', '/x/y', host=f'{host}:80').body, b'1')
    expect(b'<Key>x/y</Key>' in raw.call('GET', '/', host=host).body, True)
    expect(b'<Buckets>' in raw.call('GET', '/', host='s3.example').body, True)
    expect(raw.call('HEAD', f'/{bucket}/').status, 200)
    expect(raw.call('PUT', '/new-one/').status, 200)
    for method, path, query, status in (
            ('POST', f'/{bucket}/k', 'restore=', 501), ('PUT', f'/{bucket}', 'policy', 501),
            ('GET', f'/{bucket}', 'metadataTable', 501), ('DELETE', f'/{bucket}/x/y', 'retention', 501),
            ('GET', f'/{bucket}/x/y', 'torrent', 501), ('POST', f'/{bucket}/x/y', '', 501),
            ('DELETE', '/', '', 501), ('PATCH', f'/{bucket}/x/y', '', 501),
            ('GET', f'/{bucket}/x/y', 'acl&tagging', 501),
            ('GET', f'/{bucket}/%ff', '', 400), ('GET', f'/{bucket}/%00', '', 400)):
        # `a` is signed as `a=`.
        signed = '&'.join(p if '=' in p else f'{p}=' for p in query.split('&')) if query else ''
        headers = raw.sign(method, path, signed)
        got = raw.send(method, path + (f'?{query}' if query else ''), headers,
                       b'' if method in ('PUT', 'POST', 'PATCH') else None)
        expect(got.status, status, f'{method} {path}?{query} {got.body}')
    expect(door.s3.get_object(Bucket=bucket, Key='x/y')['Body'].read(), b'1')


@test
def broken_bodies(door):
    """No length, too long, cut off: nothing is there afterwards."""
    raw, bucket = door.raw, door.bucket
    path = f'/{bucket}/k'
    headers = raw.sign('PUT', path, body_hash=UNSIGNED)
    got = raw.send('PUT', path, {**headers, 'Transfer-Encoding': 'chunked'}, iter([b'x']), True)
    expect((got.status, code_of(got)), (411, 'MissingContentLength'))
    headers = raw.sign('PUT', path, body_hash=CHUNKS)
    expect(code_of(raw.send('PUT', path, headers, b'x')), 'MissingContentLength')
    headers = raw.sign('PUT', path, headers={'Content-Length': str(6 * 2 ** 30)},
                       body_hash=UNSIGNED)
    expect(code_of(raw.send('PUT', path, headers)), 'EntityTooLarge')
    for length in (100, 200000):
        headers = raw.sign('PUT', path, headers={'Content-Length': str(length)},
                           body_hash=UNSIGNED)
        text = f'PUT {path} HTTP/1.1\r\n' + ''.join(f'{k}: {v}\r\n' for k, v in headers.items())
        with socket.create_connection(('127.0.0.1', door.port), timeout=60) as connection:
            connection.sendall(text.encode() + b'\r\n' + b'x' * (length - 1))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    refused(door.s3.head_object, '404', 404, Bucket=bucket, Key='k')
    expect(door.s3.list_objects_v2(Bucket=bucket)['KeyCount'], 0)


@test
def deletes_many(door):
    s3, raw, bucket = door.s3, door.raw, door.bucket
    for i in range(20):
        s3.put_object(Bucket=bucket, Key=f'k{i}', Body=b'1')
    gone = s3.delete_objects(Bucket=bucket, Delete={
        'Quiet': True, 'Objects': [{'Key': f'k{i}'} for i in range(9)]})
    expect(('Deleted' in gone, 'Errors' in gone), (False, False))
    gone = s3.delete_objects(Bucket=bucket, Delete={'Objects': [
        {'Key': 'k9'}, {'Key': 'k10', 'VersionId': 'x'}, {'Key': 'k11', 'VersionId': 'null'},
        {'Key': 'x' * 1025}]})
    expect([(d['Key'], d.get('VersionId')) for d in gone['Deleted']], [('k9', None), ('k11', 'null')])
    expect([e['Code'] for e in gone['Errors']], ['InvalidArgument', 'KeyTooLongError'])
    expect(s3.list_objects_v2(Bucket=bucket)['KeyCount'], 9)

    def send(body, **headers):
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        return raw.call('POST', f'/{bucket}', 'delete=', body,
                        {'Content-MD5': md5, **{k.replace('_', '-'): v for k, v in headers.items()}})

    one = b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>k12</Key></Object></Delete>'
    for body in (b'', b'x', b'<Delete/>', b'<Delete><Object/></Delete>', one[:-1],
                 b'<Delete><Object><Key></Key></Object></Delete>', b'<A>' + one + b'</A>',
                 b'<!DOCTYPE a [<!ENTITY e "x">]>' + one,
                 b'<Delete>' + b'<Object><Key>a</Key></Object>' * 1001 + b'</Delete>'):
        got = send(body)
        expect((got.status, code_of(got)), (400, 'MalformedXML'), body[:60])
    expect(code_of(send(one, Content_MD5='AAAAAAAAAAAAAAAAAAAAAA==')), 'BadDigest')
    bare = raw.call('POST', f'/{bucket}', 'delete=', one)
    expect(code_of(bare), 'InvalidRequest')
    with_etag = one.replace(b'</Key>', b'</Key><ETag>x</ETag>')
    expect(code_of(send(with_etag)), 'NotImplemented')
    expect(s3.list_objects_v2(Bucket=bucket)['KeyCount'], 9)
    expect(send(one).status, 200)
    expect(s3.list_objects_v2(Bucket=bucket)['KeyCount'], 8)


@test
def metrics(door):
    s3, bucket = door.s3, door.bucket
    s3.put_object(Bucket=bucket, Key='k', Body=b'12345')
    s3.get_object(Bucket=bucket, Key='k')['Body'].read()
    refused(s3.get_object, 'NoSuchKey', 404, Bucket=bucket, Key='absent')
    text = door.server.request('GET', '/metrics').body.decode()
    for line in ('holdfast_request_body_bytes_total{door="s3",op="put"} 5',
                 'holdfast_response_body_bytes_total{door="s3",op="get"} 5',
                 'holdfast_errors_total{door="s3",code="not-found"} 1',
                 'holdfast_requests_in_flight{door="s3"} 0'):
        expect(line in text, True, line)


@test
def audit(door):
    """Changes and refusals stand in the audit log, without anything of the secret."""
    s3, bucket = door.s3, door.bucket
    s3.put_object(Bucket=bucket, Key='k', Body=b'12345')
    s3.delete_objects(Bucket=bucket, Delete={'Objects': [{'Key': 'k'}]})
    refused(s3.delete_bucket, 'NoSuchBucket', 404, Bucket='absent')
    door.raw.send('GET', f'/{bucket}/k')
    folder = os.path.join(door.server.data, 'audit')
    text = ''
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding='utf-8') as file:
            text += file.read()
    lines = [json.loads(line) for line in text.splitlines() if '"s3"' in line]
    told = [(line['event'], line['action'], line.get('bucket'), line.get('key'), line['result'])
            for line in lines]
    for line in (('audit.change', 'put', bucket, 'k', 'ok'),
                 ('audit.change', 'delete', bucket, 'k', 'ok'),
                 ('audit.change', 'bucket_delete', 'absent', None, 'no-bucket'),
                 ('audit.refused', 'GET', None, None, 'unauthenticated')):
        expect(told.count(line), 1, told)
    expect(door.raw.secret in text, False)


@SUITE.bare
def ports(folder):
    """The door can be closed; one that is taken is named."""
    server = SUITE.server(folder).start()
    server.s3_address = server.address
    expect(server.stop(), 0)
    server.s3_address = f'127.0.0.1:{free_port()}'
    server.start()
    other = SUITE.server(f'{folder}/other')
    os.mkdir(f'{folder}/other')
    other.s3_address = server.s3_address
    try:
        other.start(wait=False)
        end = time.monotonic() + 60
        while other.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        expect(other.process.poll(), 4)
        with open(other.log, encoding='utf-8') as log:
            expect(server.s3_address in log.read(), True)
    finally:
        other.end()
        server.end()


@SUITE.bare
def preset_port_is_taken(folder):
    """Nobody asked for the S3 door: the REST door is served without it, and the log says so."""
    server = SUITE.server(folder)
    server.s3_address = ''
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(('127.0.0.1', 9000))
            taken.listen(1)
        except OSError:
            pass  # by somebody else: as good
        server.start()
        expect(server.put('files', 'k', b'x').status, 201)
        told = [event for event in server.events() if event['event'] == 'node.s3_not_open']
        expect([event['address'] for event in told], ['127.0.0.1:9000'])
        expect(server.stop(), 0)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
