#!/usr/bin/env python3
"""A day of minio-py at an S3 door, as s3_clients.py asks for it.

    s3_clients_minio.py HOST:PORT KEY_ID SECRET FOLDER CA|-

Streams of unknown length, parts, ranges, odd names, lists, copies and parts put together. Any
difference is an AssertionError.
"""
import hashlib
import io
import os
import sys

import minio
import urllib3
from minio.commonconfig import ComposeSource, CopySource, REPLACE
from minio.deleteobjects import DeleteObject

MIB = 1 << 20
BUCKET = 'by-minio'
ODD = ['a b', 'a+b', 'a%20b', '%', 'ü/ß/漢字/🎈', 'a?b#c', '&<>"\'', 'x' * 1024, "!*'();:@=,$[]", '~', '\\']


def content(size, seed):
    """Bytes that differ from seed to seed, and from place to place."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


def expect(got, wanted):
    assert got == wanted, f'{got!r:.300} instead of {wanted!r:.300}'


def read(client, key, **more):
    got = client.get_object(BUCKET, key, **more)
    try:
        return got.read()
    finally:
        got.close()
        got.release_conn()


def refused(code, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except minio.error.S3Error as error:
        expect(error.code, code)
        return
    raise AssertionError(f'{code} was expected of {arguments}')


def files(client):
    keys = [f'many/{i % 3}/{i}' for i in range(60)] + ODD
    for key in keys:
        client.put_object(BUCKET, key, io.BytesIO(key.encode()), len(key.encode()))
    for key in ODD:
        expect(read(client, key), key.encode())
    found = [o.object_name for o in client.list_objects(BUCKET, recursive=True)]
    expect(found, sorted(keys, key=lambda k: k.encode()))
    found = [o.object_name for o in client.list_objects(BUCKET, recursive=True, use_api_v1=True)]
    expect(found, sorted(keys, key=lambda k: k.encode()))
    expect([o.object_name for o in client.list_objects(BUCKET, prefix='many/')], ['many/0/', 'many/1/', 'many/2/'])
    expect(list(client.remove_objects(BUCKET, [DeleteObject(k) for k in keys])), [])
    expect(list(client.list_objects(BUCKET)), [])


def large(client, folder):
    """A stream whose end nobody knows, a file, ranges, copies, and one file made of two."""
    body = content(17 * MIB + 3, 'large')
    client.put_object(BUCKET, 'stream', io.BytesIO(body), -1, part_size=5 * MIB, metadata={'a': 'b'},
                      content_type='a/b')
    stat = client.stat_object(BUCKET, 'stream')
    expect((stat.size, stat.content_type, stat.metadata['x-amz-meta-a']), (len(body), 'a/b', 'b'))
    client.fget_object(BUCKET, 'stream', f'{folder}/back')
    with open(f'{folder}/back', 'rb') as file:
        expect(file.read() == body, True)
    client.fput_object(BUCKET, 'file', f'{folder}/back')
    for first, length in ((0, 1), (5 * MIB - 9, 20), (len(body) - 1, 1)):
        expect(read(client, 'file', offset=first, length=length) == body[first:first + length], True)
    client.copy_object(BUCKET, 'copy', CopySource(BUCKET, 'stream'))
    client.copy_object(BUCKET, 'copy', CopySource(BUCKET, 'copy'), metadata_directive=REPLACE,
                       metadata={'c': 'd'})
    expect(client.stat_object(BUCKET, 'copy').metadata['x-amz-meta-c'], 'd')
    client.compose_object(BUCKET, 'both', [ComposeSource(BUCKET, 'stream'), ComposeSource(BUCKET, 'file')])
    expect(read(client, 'both') == body + body, True)


def others(client, http):
    refused('NoSuchKey', client.stat_object, BUCKET, 'absent')
    refused('NoSuchKey', client.get_object, BUCKET, 'absent')
    url = client.presigned_put_object(BUCKET, 'a b')
    expect(http.request('PUT', url, body=b'presigned').status, 200)
    expect(http.request('GET', client.presigned_get_object(BUCKET, 'a b')).data, b'presigned')
    client.set_bucket_versioning(BUCKET, minio.versioningconfig.VersioningConfig(minio.commonconfig.ENABLED))
    expect(client.get_bucket_versioning(BUCKET).status, 'Enabled')
    first = client.put_object(BUCKET, 'v', io.BytesIO(b'1'), 1).version_id
    client.put_object(BUCKET, 'v', io.BytesIO(b'2'), 1)
    client.remove_object(BUCKET, 'v')
    expect(read(client, 'v', version_id=first), b'1')
    for one in list(client.list_objects(BUCKET, recursive=True, include_version=True)):
        client.remove_object(BUCKET, one.object_name, version_id=one.version_id)
    client.remove_bucket(BUCKET)
    expect(client.bucket_exists(BUCKET), False)


def main(address, key_id, secret, folder, ca):
    os.makedirs(folder, exist_ok=True)
    http = urllib3.PoolManager(timeout=60, retries=False, **({} if ca == '-' else {'ca_certs': ca}))
    client = minio.Minio(address, access_key=key_id, secret_key=secret, secure=ca != '-', http_client=http)
    client.make_bucket(BUCKET)
    expect(client.bucket_exists(BUCKET), True)
    expect(BUCKET in [b.name for b in client.list_buckets()], True)
    files(client)
    large(client, folder)
    others(client, http)


if __name__ == '__main__':
    main(*sys.argv[1:])
