#!/usr/bin/env python3
"""A day of boto3 at an S3 door, as s3_clients.py asks for it; any version of boto3 will do.

    s3_clients_boto.py URL KEY_ID SECRET FOLDER CA|-

Many files, odd names, parts, ranges, lists, copies, conditions, versions. Any difference is an
AssertionError.
"""
import concurrent.futures
import hashlib
import io
import os
import ssl
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20
BUCKET = 'by-boto'
ODD = ['a b', 'a+b', 'a%20b', '%', 'ü/ß/漢字/🎈', '//', 'a//b', '/a', 'a/', 'a?b#c', '&<>"\'', 'x' * 1024,
       "!*'();:@=,$[]", '~', '\\']
PARTS = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)


def content(size, seed):
    """Bytes that differ from seed to seed, and from place to place."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


def expect(got, wanted):
    assert got == wanted, f'{got!r:.300} instead of {wanted!r:.300}'


def refused(call, code, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        expect(error.response['Error']['Code'], code)
        return
    raise AssertionError(f'{code} was expected of {arguments}')


def buckets(s3):
    s3.create_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET)  # one's own, again
    s3.head_bucket(Bucket=BUCKET)
    expect(BUCKET in [b['Name'] for b in s3.list_buckets()['Buckets']], True)
    s3.get_bucket_location(Bucket=BUCKET)
    s3.get_bucket_acl(Bucket=BUCKET)
    refused(s3.head_bucket, '404', Bucket='absent')


def files(s3):
    """Many in parallel, with odd names; lists of both versions; deletes of all at once."""
    keys = [f'many/{i % 3}/{i}' for i in range(60)] + ODD
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(s3.put_object, Bucket=BUCKET, Key=k, Body=k.encode()) for k in keys]:
            made.result()
    for i in range(12):  # empty ones and others by turns on few connections
        s3.put_object(Bucket=BUCKET, Key='many/0/0', Body=b'' if i % 2 else b'x')
    for key in ODD:
        expect(s3.get_object(Bucket=BUCKET, Key=key)['Body'].read(), key.encode())
    for name in ('list_objects', 'list_objects_v2'):
        pages = s3.get_paginator(name).paginate(Bucket=BUCKET, PaginationConfig={'PageSize': 7})
        found = [c['Key'] for page in pages for c in page.get('Contents', [])]
        expect(found, sorted(keys, key=lambda k: k.encode()))
        got = getattr(s3, name)(Bucket=BUCKET, Prefix='many/', Delimiter='/')
        expect([p['Prefix'] for p in got['CommonPrefixes']], ['many/0/', 'many/1/', 'many/2/'])
    gone = s3.delete_objects(Bucket=BUCKET, Delete={'Objects': [{'Key': k} for k in keys]})
    expect((len(gone['Deleted']), 'Errors' in gone), (len(keys), False))


def large(s3, folder):
    """In parts up and down, a range over their border, a copy of parts."""
    body = content(21 * MIB + 5, 'large')
    told = {'ContentType': 'a/b', 'Metadata': {'a': '1'}}
    s3.upload_fileobj(io.BytesIO(body), BUCKET, 'large', ExtraArgs=told, Config=PARTS)
    head = s3.head_object(Bucket=BUCKET, Key='large')
    expect((head['ContentLength'], head['ContentType'], head['Metadata']), (len(body), 'a/b', {'a': '1'}))
    s3.download_file(BUCKET, 'large', f'{folder}/large', Config=PARTS)
    with open(f'{folder}/large', 'rb') as file:
        expect(file.read() == body, True)
    s3.copy({'Bucket': BUCKET, 'Key': 'large'}, BUCKET, 'copy', Config=PARTS)
    for first, last in ((0, 0), (5 * MIB - 9, 5 * MIB + 9), (20 * MIB, len(body) - 1)):
        got = s3.get_object(Bucket=BUCKET, Key='copy', Range=f'bytes={first}-{last}')
        expect(got['Body'].read() == body[first:last + 1], True)
    expect(s3.get_object(Bucket=BUCKET, Key='copy', PartNumber=2)['Body'].read() == body[5 * MIB:10 * MIB], True)


def parts(s3):
    """An upload by hand: parts in no order, one replaced, lists, ended."""
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key='hand')['UploadId']
    own = {'Bucket': BUCKET, 'Key': 'hand', 'UploadId': upload}
    made = {}
    for number, seed in ((2, 'b'), (1, 'x'), (1, 'a')):
        body = content(5 * MIB, seed)
        made[number] = s3.upload_part(PartNumber=number, Body=body, **own)['ETag']
    listed = s3.list_parts(**own)['Parts']
    expect([(p['PartNumber'], p['ETag']) for p in listed], sorted(made.items()))
    expect([u['Key'] for u in s3.list_multipart_uploads(Bucket=BUCKET)['Uploads']], ['hand'])
    s3.complete_multipart_upload(MultipartUpload={
        'Parts': [{'PartNumber': n, 'ETag': etag} for n, etag in sorted(made.items())]}, **own)
    got = s3.get_object(Bucket=BUCKET, Key='hand')['Body'].read()
    expect(got == content(5 * MIB, 'a') + content(5 * MIB, 'b'), True)
    other = s3.create_multipart_upload(Bucket=BUCKET, Key='hand')['UploadId']
    s3.abort_multipart_upload(Bucket=BUCKET, Key='hand', UploadId=other)
    refused(s3.list_parts, 'NoSuchUpload', Bucket=BUCKET, Key='hand', UploadId=other)


def copies(s3):
    s3.put_object(Bucket=BUCKET, Key='from', Body=b'1', Metadata={'a': '1'})
    source = {'Bucket': BUCKET, 'Key': 'from'}
    s3.copy_object(Bucket=BUCKET, Key='to', CopySource=source)
    expect(s3.head_object(Bucket=BUCKET, Key='to')['Metadata'], {'a': '1'})
    s3.copy_object(Bucket=BUCKET, Key='from', CopySource=source, MetadataDirective='REPLACE', Metadata={'b': '2'})
    expect(s3.head_object(Bucket=BUCKET, Key='from')['Metadata'], {'b': '2'})
    refused(s3.copy_object, 'PreconditionFailed', Bucket=BUCKET, Key='to', CopySource=source,
            CopySourceIfMatch='"x"')


def conditions(s3):
    etag = s3.put_object(Bucket=BUCKET, Key='k', Body=b'1')['ETag']
    s3.get_object(Bucket=BUCKET, Key='k', IfMatch=etag)
    refused(s3.get_object, '304', Bucket=BUCKET, Key='k', IfNoneMatch=etag)
    refused(s3.get_object, 'PreconditionFailed', Bucket=BUCKET, Key='k', IfMatch='"x"')
    refused(s3.get_object, 'NoSuchKey', Bucket=BUCKET, Key='absent')
    wanted = s3.meta.service_model.operation_model('PutObject').input_shape.members
    if 'IfNoneMatch' in wanted:  # newer ones
        refused(s3.put_object, 'PreconditionFailed', Bucket=BUCKET, Key='k', Body=b'2', IfNoneMatch='*')
    for name in ('CRC32', 'SHA1', 'SHA256'):
        s3.put_object(Bucket=BUCKET, Key='k', Body=name.encode(), ChecksumAlgorithm=name)
        got = s3.get_object(Bucket=BUCKET, Key='k', ChecksumMode='ENABLED')
        expect((got['Body'].read(), f'Checksum{name}' in got), (name.encode(), True))


def presigned(s3, context):
    url = s3.generate_presigned_url('put_object', Params={'Bucket': BUCKET, 'Key': 'a b'})
    request = urllib.request.Request(url, b'presigned', method='PUT')
    request.add_unredirected_header('Content-Type', '')
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        expect(answer.status, 200)
    url = s3.generate_presigned_url('get_object', Params={'Bucket': BUCKET, 'Key': 'a b'})
    with urllib.request.urlopen(url, context=context, timeout=60) as answer:
        expect(answer.read(), b'presigned')


def versions(s3):
    """Kept, hidden by a marker, and all taken away again."""
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={'Status': 'Enabled'})
    expect(s3.get_bucket_versioning(Bucket=BUCKET)['Status'], 'Enabled')
    first = s3.put_object(Bucket=BUCKET, Key='v', Body=b'1')['VersionId']
    s3.put_object(Bucket=BUCKET, Key='v', Body=b'2')
    s3.delete_object(Bucket=BUCKET, Key='v')
    refused(s3.get_object, 'NoSuchKey', Bucket=BUCKET, Key='v')
    expect(s3.get_object(Bucket=BUCKET, Key='v', VersionId=first)['Body'].read(), b'1')
    for page in s3.get_paginator('list_object_versions').paginate(Bucket=BUCKET):
        for one in page.get('Versions', []) + page.get('DeleteMarkers', []):
            s3.delete_object(Bucket=BUCKET, Key=one['Key'], VersionId=one['VersionId'])
    s3.delete_bucket(Bucket=BUCKET)


def main(url, key_id, secret, folder, ca):
    verify = None if ca == '-' else ca
    config = {'retries': {'max_attempts': 0}, 'signature_version': 's3v4', 's3': {'addressing_style': 'path'}}
    s3 = boto3.client('s3', endpoint_url=url, aws_access_key_id=key_id, aws_secret_access_key=secret,
                      region_name='us-east-1', verify=verify, config=Config(**config))
    os.makedirs(folder, exist_ok=True)
    context = ssl.create_default_context(cafile=ca) if verify else None
    buckets(s3)
    files(s3)
    large(s3, folder)
    parts(s3)
    copies(s3)
    conditions(s3)
    presigned(s3, context)
    versions(s3)


if __name__ == '__main__':
    main(*sys.argv[1:])
