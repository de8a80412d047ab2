#!/usr/bin/env python3
"""Resumable uploads (tus 1.0) of a real server: every status with raw HTTP, broken connections,
kill -9 in the middle, a full disk (as root), and tus-js-client if its folder is given.

    tus.py BINARY [TEST…]        HOLDFAST_TUS_JS=FOLDER: where node finds tus-js-client

Prints `LAYER tus required= executed= failed=`.
"""
import base64
import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402
from smoke import content, expect, expect_problem  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('tus')
test, bare = SUITE.test, SUITE.bare
PIECE = 'application/offset+octet-stream'
HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def metadata(**pairs):
    return ','.join(f'{name} {b64(value)}' for name, value in pairs.items())


def tus(server, method, path, body=None, key='root', **headers):
    """One request with Tus-Resumable, unless that is given; _ in names of headers is -."""
    all_headers = {'Tus-Resumable': '1.0.0'}
    all_headers.update({name.replace('_', '-'): str(value) for name, value in headers.items()})
    return server.request(method, path, body, headers={n: v for n, v in all_headers.items()
                                                       if v != 'None'}, key=key)


def create(server, length, name='u', **more):
    """A new upload of files/NAME; its address."""
    answer = tus(server, 'POST', '/v1/uploads', Upload_Length=length,
                 Upload_Metadata=metadata(bucket='files', key=name), **more)
    expect(answer.status, 201, answer.body)
    return answer.headers['Location']


def patch(server, path, offset, body, **more):
    return tus(server, 'PATCH', path, body, Upload_Offset=offset, Content_Type=PIECE, **more)


def offset_of(server, path):
    answer = tus(server, 'HEAD', path)
    expect(answer.status, 200)
    return int(answer.headers['Upload-Offset'])


def open_uploads(server):
    return server.request('GET', '/v1/admin/status').json()['uploads']


def blob_files(server):
    """Files of large bodies, and of those on their way."""
    return [name for folder in ('blobs', 'staging')
            for _, _, names in os.walk(f'{server.data}/{folder}') for name in names]


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.05)


def expect_file(server, name, body):
    got = server.get('files', name)
    expect((got.status, len(got.body), got.body == body), (200, len(body), True))
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    expect(got.headers['Repr-Digest'], f'sha-256=:{digest}:')
    return got


# ---- the protocol ----

@test
def options(server):
    """What is there is told to anybody, and without a version."""
    for version in ('1.0.0', None, '9'):
        answer = tus(server, 'OPTIONS', '/v1/uploads', key=None, Tus_Resumable=version)
        expect(answer.status, 204)
        expect(answer.headers['Tus-Version'], '1.0.0')
        expect(answer.headers['Tus-Extension'].split(','),
               ['creation', 'creation-with-upload', 'creation-defer-length', 'expiration',
                'termination', 'checksum'])
        expect(answer.headers['Tus-Checksum-Algorithm'].split(',')[0], 'sha1')
        expect(int(answer.headers['Tus-Max-Size']) > 1 << 40, True)


@test
def life(server):
    """From POST to the file, which is one like others; what is known of the upload afterwards."""
    sent = metadata(bucket='files', key='a/ü', filename='ä.txt', filetype='text/plain',
                    colour='rot') + ',empty'
    answer = tus(server, 'POST', '/v1/uploads', Upload_Length=11, Upload_Metadata=sent)
    expect(answer.status, 201, answer.body)
    expect(answer.headers['Tus-Resumable'], '1.0.0')
    path = answer.headers['Location']
    head = tus(server, 'HEAD', path)
    expect((head.status, head.headers['Upload-Offset'], head.headers['Upload-Length']),
           (200, '0', '11'))
    expect((head.headers['Upload-Metadata'], head.headers['Cache-Control']), (sent, 'no-store'))
    expect(server.get('files', 'a/ü').status, 404)
    answer = patch(server, path, 0, b'hello ')
    expect((answer.status, answer.headers['Upload-Offset']), (204, '6'), answer.body)
    expect('Upload-Expires' in answer.headers, True)
    expect_problem(patch(server, path, 0, b'hello '), 409, 'upload-offset')
    expect_problem(patch(server, path, 7, b'orld'), 409, 'upload-offset')
    expect(server.get('files', 'a/ü').status, 404)
    last = patch(server, path, 6, b'world')
    expect((last.status, last.headers['Upload-Offset']), (204, '11'), last.body)
    expect(last.headers['Content-Location'], '/v1/buckets/files/files/a/%C3%BC')
    file = expect_file(server, 'a/ü', b'hello world')
    for name in ('Holdfast-File-Id', 'Holdfast-Version', 'ETag', 'Holdfast-Durability'):
        expect(last.headers[name], file.headers[name])
    expect(file.headers['Content-Type'], 'text/plain')
    expect(file.headers['Holdfast-Meta-Colour'], 'rot')
    expect(file.headers['Holdfast-Meta-Empty'], '')
    expect('%C3%A4.txt' in file.headers['Content-Disposition'], True)
    head = tus(server, 'HEAD', path)
    expect((head.status, head.headers['Upload-Offset'], head.headers['Upload-Length']),
           (200, '11', '11'))
    expect(head.headers['Holdfast-Version'], file.headers['Holdfast-Version'])
    expect(patch(server, path, 11, b'').status, 204)
    expect_problem(patch(server, path, 6, b'world'), 409, 'upload-offset')
    expect_problem(patch(server, path, 11, b'!'), 413, 'too-large')
    expect_problem(tus(server, 'DELETE', path), 410, 'gone')
    expect_file(server, 'a/ü', b'hello world')
    expect(server.request('DELETE', server.name_path('files', 'a/ü')).status, 204)
    expect(tus(server, 'HEAD', path).status, 410)
    wait_for('no upload', lambda: open_uploads(server)['open'] == 0)


@test
def refusals(server):
    """Each refusal of the protocol, and nothing changed by it."""
    meta = metadata(bucket='files', key='r')

    def post(status, code, body=None, **headers):
        expect_problem(tus(server, 'POST', '/v1/uploads', body, **headers), status, code)

    for version in (None, '0.2.2', '1.0'):
        answer = tus(server, 'POST', '/v1/uploads', Tus_Resumable=version, Upload_Length=1,
                     Upload_Metadata=meta)
        expect_problem(answer, 412, 'tus-version')
        expect(answer.headers['Tus-Version'], '1.0.0')
    answer = tus(server, 'POST', '/v1/uploads', key=None, Upload_Length=1, Upload_Metadata=meta)
    expect_problem(answer, 401, 'unauthenticated')
    expect(answer.headers['Tus-Resumable'], '1.0.0')
    post(400, 'invalid', Upload_Metadata=meta)
    post(400, 'invalid', Upload_Length=1, Upload_Defer_Length=1, Upload_Metadata=meta)
    post(400, 'invalid', Upload_Defer_Length=2, Upload_Metadata=meta)
    for length in ('-1', 'x', '1.5', '99999999999999999999'):
        post(400, 'invalid', Upload_Length=length, Upload_Metadata=meta)
    post(413, 'too-large', Upload_Length=(5 << 40) + 1, Upload_Metadata=meta)
    post(507, 'no-space', Upload_Length=5 << 40, Upload_Metadata=meta)
    post(400, 'invalid', Upload_Length=1)
    for bad in ('bucket', 'bucket !', ',', 'bucket ZmlsZXM=,', 'bucket ZmlsZXM=,k ZZ', 'ä YQ==',
                'bucket ZmlsZXM=,a/b YQ==', f'bucket ZmlsZXM=,meta {b64(bytes([255]))}',
                f'bucket ZmlsZXM=,filename {b64(bytes([255]))}'):
        expect(tus(server, 'POST', '/v1/uploads', Upload_Length=1,
                   Upload_Metadata=bad.encode().decode('latin-1')).status in (400, 404), True, bad)
    post(404, 'no-bucket', Upload_Length=1, Upload_Metadata=metadata(bucket='absent', key='r'))
    post(400, 'bad-name', Upload_Length=1, Upload_Metadata=metadata(bucket='files', key=b'\xff'))
    post(400, 'key-too-long', Upload_Length=1,
         Upload_Metadata=metadata(bucket='files', key='k' * 1025))
    post(431, 'headers-too-large', Upload_Length=1,
         Upload_Metadata=metadata(bucket='files', key='r', m='x' * 8192))
    post(415, 'media-type', b'x', Upload_Length=1, Upload_Metadata=meta)
    answer = tus(server, 'POST', '/v1/uploads', Upload_Length=1, Upload_Metadata=meta,
                 Repr_Digest='sha-256=:x:')
    expect_problem(answer, 400, 'invalid')
    expect('Location' in answer.headers, False, 'nothing is begun')
    post(413, 'too-large', b'xx', Upload_Length=1, Upload_Metadata=meta, Content_Type=PIECE)
    post(400, 'invalid', b'x', Upload_Length=1, Upload_Metadata=meta, Content_Type=PIECE,
         Upload_Checksum='crc32 AAAA')
    post(501, 'not-implemented', Upload_Length=1, Upload_Metadata=meta, If_Match='*')
    post(501, 'not-implemented', Upload_Length=1, Upload_Metadata=meta, Idempotency_Key='k')
    post(501, 'not-implemented', Upload_Length=1, Upload_Metadata=meta, Holdfast_Expires='60')
    expect(server.put('files', 'there', b'x').status, 201)
    post(409, 'exists', Upload_Length=1, If_None_Match='*',
         Upload_Metadata=metadata(bucket='files', key='there'))
    expect(open_uploads(server), {'open': 0, 'bytes': 0})
    path = create(server, 4, 'r')
    expect_problem(tus(server, 'PATCH', path, b'x', Upload_Offset=0), 415, 'media-type')
    expect_problem(tus(server, 'PATCH', path, b'x', Content_Type=PIECE), 400, 'invalid')
    expect_problem(patch(server, path, 'x', b'x'), 400, 'invalid')
    expect_problem(patch(server, path, 0, b'xxxxx'), 413, 'too-large')
    expect_problem(patch(server, path, 0, b'x', Upload_Length=5), 400, 'invalid')
    expect_problem(patch(server, path, 0, b'x', Upload_Checksum='sha1'), 400, 'invalid')
    expect_problem(patch(server, path, 0, b'x', Upload_Checksum='sha1 AAAA'), 400, 'invalid')
    expect_problem(patch(server, path, 0, b'x', Tus_Resumable=None), 412, 'tus-version')
    expect(tus(server, 'HEAD', path, Tus_Resumable=None).status, 412)
    expect_problem(tus(server, 'DELETE', path, Tus_Resumable='2'), 412, 'tus-version')
    expect(offset_of(server, path), 0)
    for wrong in ('/v1/uploads/x', '/v1/uploads/' + '0' * 26, '/v1/uploads/7' + 'Z' * 25):
        expect(tus(server, 'HEAD', wrong).status, 404)
        expect_problem(patch(server, wrong, 0, b'x'), 404, 'not-found')
        expect_problem(tus(server, 'DELETE', wrong), 404, 'not-found')
    expect(tus(server, 'GET', path).status, 405)
    expect(tus(server, 'PUT', '/v1/uploads').status, 405)


@test
def not_a_file(server):
    """An upload is no file, by its id or in a listing, and a file is no upload."""
    path = create(server, 4, 'n')
    expect(patch(server, path, 0, b'ab').status, 204)
    by_id = path.replace('/v1/uploads/', '/v1/files/')
    for method, body in (('GET', None), ('PUT', b'x'), ('DELETE', None)):
        expect_problem(server.request(method, by_id, body), 404, 'not-found')
    expect(server.request('GET', '/v1/files?bucket=files').json()['files'], [])
    bucket = server.request('GET', '/v1/buckets/files').json()
    expect((bucket['files'], bucket['bytes']), (0, 0))
    id_of_file = server.put('files', 'f', b'x').json()['id']
    expect(tus(server, 'HEAD', f'/v1/uploads/{id_of_file}').status, 404)
    expect_problem(tus(server, 'DELETE', f'/v1/uploads/{id_of_file}'), 404, 'not-found')
    expect_problem(patch(server, f'/v1/uploads/{id_of_file}', 1, b'x'), 404, 'not-found')
    expect(server.get('files', 'f').body, b'x')
    expect(offset_of(server, path), 2)


@test
def method_override(server):
    """Who cannot send PATCH or DELETE sends POST."""
    path = create(server, 3, 'o')
    expect(override(server, path, b'ab', 'PATCH', {'Upload-Offset': '0', 'Content-Type': PIECE}),
           204)
    expect(offset_of(server, path), 2)
    expect(override(server, path, None, 'HEAD', {}), 200)
    expect(override(server, path, None, 'DELETE', {}), 204)
    expect(tus(server, 'HEAD', path).status, 410)


def override(server, path, body, method, headers):
    """Past the contract, which does not know what POST means here."""
    connection = server.connect()
    connection.request('POST', path, body, {
        'Tus-Resumable': '1.0.0', 'Authorization': f'Bearer {server.key()}',
        'X-HTTP-Method-Override': method, **headers})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@test
def checksums(server):
    """460 keeps nothing of the request, small or large, and the upload goes on."""
    body = content(300000, 1)
    path = create(server, 2 * len(body), 'c')
    for name in ('sha1', 'sha256', 'md5'):
        wrong = f'{name} {b64(hashlib.new(name, b"other").digest())}'
        expect_problem(patch(server, path, 0, body, Upload_Checksum=wrong), 460,
                       'checksum-mismatch')
        expect_problem(patch(server, path, 0, b'small', Upload_Checksum=wrong), 460,
                       'checksum-mismatch')
    expect((offset_of(server, path), blob_files(server)), (0, []))
    offset = 0
    for name, size in (('sha1', 100), ('sha256', 200000), ('md5', 99900)):
        right = f'{name} {b64(hashlib.new(name, body[offset:offset + size]).digest())}'
        answer = patch(server, path, offset, body[offset:offset + size], Upload_Checksum=right)
        expect(answer.status, 204, answer.body)
        offset += size
    wrong = f'sha1 {b64(hashlib.sha1(body[1:]).digest())}'
    expect_problem(patch(server, path, offset, body, Upload_Checksum=wrong), 460,
                   'checksum-mismatch')
    expect(server.get('files', 'c').status, 404)
    right = f'sha1 {b64(hashlib.sha1(body).digest())}'
    expect(patch(server, path, offset, body, Upload_Checksum=right).status, 204)
    expect_file(server, 'c', body + body)


@test
def digest_of_the_whole(server):
    """Repr-Digest with the last bytes: a file of another content does not come to be."""
    def digest(body):
        return f'sha-256=:{b64(hashlib.sha256(body).digest())}:'

    for size in (20, 200000):
        body = content(size)
        path = create(server, size, f'w{size}')
        expect(patch(server, path, 0, body[:-10], Repr_Digest=digest(b'not the end')).status, 204)
        answer = patch(server, path, size - 10, body[-10:], Repr_Digest=digest(b'other'))
        expect_problem(answer, 400, 'digest-mismatch')
        expect_problem(patch(server, path, size - 10, body[-10:], Repr_Digest='sha-256=:x:'), 400,
                       'invalid')
        expect(offset_of(server, path), size - 10)
        expect(server.get('files', f'w{size}').status, 404)
        answer = patch(server, path, size - 10, body[-10:], Repr_Digest=digest(body))
        expect((answer.status, answer.headers['Repr-Digest']), (204, digest(body)), answer.body)
        expect(tus(server, 'HEAD', path).headers['Repr-Digest'], digest(body))
        expect_file(server, f'w{size}', body)


@test
def deferred_length(server):
    """The length comes later: with bytes, or after the last one."""
    for number, together in enumerate((True, False)):
        answer = tus(server, 'POST', f'/v1/uploads?bucket=files&key=d{number}',
                     Upload_Defer_Length=1)
        expect(answer.status, 201, answer.body)
        path = answer.headers['Location']
        expect(patch(server, path, 0, b'one').status, 204)
        head = tus(server, 'HEAD', path)
        expect((head.headers['Upload-Defer-Length'], head.headers['Upload-Length']), ('1', None))
        expect_problem(patch(server, path, 3, b'', Upload_Length=2), 400, 'invalid')
        if together:
            expect(patch(server, path, 3, b'tw', Upload_Length=6).status, 204)
            expect(tus(server, 'HEAD', path).headers['Upload-Length'], '6')
            expect_problem(patch(server, path, 5, b'o', Upload_Length=7), 400, 'invalid')
            expect(patch(server, path, 5, b'o', Upload_Length=6).status, 204)
        else:
            expect(patch(server, path, 3, b'two').status, 204)
            expect(server.get('files', f'd{number}').status, 404)
            expect(patch(server, path, 6, b'', Upload_Length=6).status, 204)
        expect_file(server, f'd{number}', b'onetwo')


@test
def with_upload(server):
    """POST brings the first bytes, all bytes, or says that there are none; keys by themselves."""
    for size, first in ((10, 4), (10, 10), (0, 0), (400000, 400000), (400000, 100000)):
        body = content(size, 5)
        answer = tus(server, 'POST', '/v1/uploads', body[:first], Upload_Length=size,
                     Content_Type=PIECE,
                     Upload_Metadata=metadata(bucket='files', key=f'{size}/{first}'))
        expect((answer.status, answer.headers['Upload-Offset']), (201, str(first)), answer.body)
        if first < size:
            expect(patch(server, answer.headers['Location'], first, body[first:]).status, 204)
        else:
            expect(answer.headers['Content-Location'],
                   f'/v1/buckets/files/files/{size}/{first}')
        expect_file(server, f'{size}/{first}', body)
    answer = tus(server, 'POST', '/v1/uploads', b'abc', Upload_Length=3, Content_Type=PIECE,
                 Upload_Metadata=metadata(bucket='files', filename='n.txt'))
    expect(server.request('GET', f'/v1/files/{answer.headers["Holdfast-File-Id"]}').body, b'abc')


@test
def existing(server):
    """An upload is a new version of what is there, unless it has to be new."""
    first = server.put('files', 'e', b'old').json()
    path = create(server, 3, 'e')
    expect(server.get('files', 'e').body, b'old')
    last = patch(server, path, 0, b'new')
    expect((last.status, last.headers['Holdfast-File-Id']), (204, first['id']))
    path = create(server, 3, 'e2', If_None_Match='*')
    expect(server.put('files', 'e2', b'meanwhile').status, 201)
    expect_problem(patch(server, path, 0, b'abc'), 409, 'exists')
    expect(server.get('files', 'e2').body, b'meanwhile')
    expect(server.request('DELETE', server.name_path('files', 'e2')).status, 204)
    expect(patch(server, path, 0, b'abc').status, 204)
    expect_file(server, 'e2', b'abc')


@test
def quota(server):
    """Told at once if no room could ever be made; else decided when the file comes to be."""
    settings = json.dumps({'quota_bytes': 1000})
    expect(server.request('PUT', '/v1/buckets/small', settings).status, 201)
    meta = metadata(bucket='small', key='q')
    answer = tus(server, 'POST', '/v1/uploads', Upload_Length=1001, Upload_Metadata=meta)
    expect_problem(answer, 403, 'quota-exceeded')
    answer = tus(server, 'POST', '/v1/uploads', Upload_Length=600, Upload_Metadata=meta)
    path = answer.headers['Location']
    expect(patch(server, path, 0, bytes(500)).status, 204)
    expect(server.request('PUT', server.name_path('small', 'other'), bytes(600)).status, 201)
    expect_problem(patch(server, path, 500, bytes(100)), 403, 'quota-exceeded')
    expect(offset_of(server, path), 500)
    expect(server.request('DELETE', server.name_path('small', 'other')).status, 204)
    expect(patch(server, path, 500, bytes(100)).status, 204)
    expect(server.request('GET', '/v1/buckets/small').json()['bytes'], 600)


# ---- ends ----

@test
def termination(server):
    """Nothing of an ended upload stays, small or large."""
    for size in (100, 3 * MIB):
        path = create(server, size + 1, 't')
        expect(patch(server, path, 0, content(size, 1)).status, 204)
        expect(tus(server, 'DELETE', path).status, 204)
        expect(tus(server, 'HEAD', path).status, 410)
        expect_problem(patch(server, path, size, b'x'), 410, 'gone')
        expect_problem(tus(server, 'DELETE', path), 410, 'gone')
    wait_for('space', lambda: blob_files(server) == [])
    wait_for('no upload', lambda: open_uploads(server) == {'open': 0, 'bytes': 0})
    expect(server.get('files', 't').status, 404)


@bare
def expiry(folder):
    """What gets no byte for so long is ended, its space comes back; bytes renew it."""
    server = SUITE.server(folder, '--upload-expiry', '8s').start()
    try:
        path = create(server, 2 * MIB + 1, 'x')
        expect(patch(server, path, 0, content(2 * MIB, 1)).status, 204)
        gone = create(server, 5, 'bucket-goes')
        expect(server.request('PUT', '/v1/buckets/goes').status, 201)
        answer = tus(server, 'POST', '/v1/uploads?bucket=goes&key=k', Upload_Length=1)
        lost = answer.headers['Location']
        expect(server.request('DELETE', '/v1/buckets/goes').status, 204)
        wait_for('expiry', lambda: tus(server, 'HEAD', path).status == 410)
        wait_for('expiry', lambda: tus(server, 'HEAD', gone).status == 410)
        wait_for('no upload', lambda: open_uploads(server) == {'open': 0, 'bytes': 0})
        expect(tus(server, 'HEAD', lost).status, 410)
        expect_problem(patch(server, path, 2 * MIB, b'x'), 410, 'gone')
        wait_for('space', lambda: blob_files(server) == [])
        expect(any(e['event'] == 'upload.expired' for e in server.events()), True)
        metrics = server.request('GET', '/metrics').body.decode()
        expect('\nholdfast_uploads_open 0\n' in metrics, True)
        expired = [line for line in metrics.splitlines()
                   if line.startswith('holdfast_uploads_expired_total ')]
        expect(expired, ['holdfast_uploads_expired_total 3'])
        expect(server.stop(), 0)
    finally:
        server.end()


# ---- many pieces, broken connections, races ----

@test
def tiny_pieces(server):
    """Hundreds of small requests make few extents, and the right bytes."""
    rng = random.Random(7)
    body = content(400000, 3)
    path = create(server, len(body), 'tiny')
    connection = server.connect()
    offset = 0
    while offset < len(body):
        size = min(rng.choice((1, 100, 1000, 5000)), len(body) - offset)
        if offset > 150000:
            size = min(size * 20, len(body) - offset)
        answer = server.request('PATCH', path, body[offset:offset + size], connection=connection,
                                headers={'Tus-Resumable': '1.0.0', 'Upload-Offset': str(offset),
                                         'Content-Type': PIECE})
        expect(answer.status, 204, answer.body)
        offset += size
        expect(answer.headers['Upload-Offset'], str(offset))
    connection.close()
    wait_for('merged extents', lambda: len(blob_files(server)) <= 24)
    expect_file(server, 'tiny', body)
    expect(server.request('DELETE', server.name_path('files', 'tiny')).status, 204)
    wait_for('space', lambda: blob_files(server) == [])


def break_off(server, path, offset, body, announced):
    """Sends body as the beginning of so many bytes, then closes."""
    with socket.create_connection(('127.0.0.1', server.port)) as s:
        head = (f'PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key()}\r\n'
                f'Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Type: {PIECE}\r\n'
                f'Content-Length: {announced}\r\n\r\n')
        s.sendall(head.encode() + body)


@test
def broken_connection(server):
    """What came before the connection broke is kept, to the byte, without a word of the client."""
    body = content(30 * MIB, 9)
    path = create(server, len(body), 'broken')
    offset = 0
    for size in (1, 1000, 70000, 5 * MIB, 20 * MIB):
        break_off(server, path, offset, body[offset:offset + size], len(body) - offset)
        wait_for('the bytes', lambda: offset_of(server, path) == offset + size)
        offset += size
    expect(patch(server, path, offset, body[offset:]).status, 204)
    expect_file(server, 'broken', body)
    # With a checksum nothing of a broken body is kept: it cannot be compared.
    path = create(server, 200000, 'broken2')
    with socket.create_connection(('127.0.0.1', server.port)) as s:
        s.sendall((f'PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key()}\r\n'
                   f'Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: {PIECE}\r\n'
                   f'Upload-Checksum: sha1 {b64(bytes(20))}\r\nContent-Length: 200000\r\n\r\n'
                   ).encode() + body[:150000])
    wait_for('the end of it', lambda: server.request(
        'GET', '/metrics').body.decode().find('holdfast_requests_in_flight{door="rest"} 1\n') > 0)
    expect(offset_of(server, path), 0)
    expect(patch(server, path, 0, body[:200000]).status, 204)
    expect_file(server, 'broken2', body[:200000])


@test
def deleted_under_download(server):
    """A file of several extents is read to its end though it is deleted meanwhile, then its space
    comes back; nobody calls it damaged."""
    body = content(50 * MIB, 3)
    path = create(server, len(body), 'k')
    expect(patch(server, path, 0, body).status, 204)
    extents = len(blob_files(server))
    expect(extents > 2, True, extents)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.settimeout(60)
        s.connect(('127.0.0.1', server.port))
        s.sendall((f'GET {server.name_path("files", "k")} HTTP/1.1\r\nHost: x\r\nConnection: close'
                   f'\r\nAuthorization: Bearer {server.key()}\r\n\r\n').encode())
        reply = s.makefile('rb')
        while reply.readline() != b'\r\n':
            pass
        got = reply.read(MIB)
        expect(server.request('DELETE', server.name_path('files', 'k')).status, 204)
        for number in range(5):  # the applier takes that up, and what nothing names goes
            server.put('files', f'other{number}', b'x')
            time.sleep(0.5)
        got += reply.read()
    expect(got == body, True, len(got))
    wait_for('space', lambda: blob_files(server) == [])
    expect(server.request('GET', '/v1/admin/risk').json()['files'], 0)


@test
def racing_pieces(server):
    """Of requests for one offset one wins, the others hear 409, and the file is the winners'."""
    bodies = [bytes([65 + i]) * 90000 for i in range(6)]
    path = create(server, 10 * 90000, 'race')
    whole = b''
    with ThreadPoolExecutor(len(bodies)) as pool:
        for turn in range(10):
            answers = list(pool.map(lambda b: patch(server, path, len(whole), b), bodies))
            statuses = sorted(a.status for a in answers)
            won = [b for a, b in zip(answers, bodies) if a.status == 204]
            expect(len(won), 1, statuses)
            expect(set(statuses) <= {204, 409, 410, 413}, True, statuses)
            whole += won[0]
            expect(offset_of(server, path), len(whole))
    expect_file(server, 'race', whole)
    wait_for('no orphan', lambda: len(blob_files(server)) <= 10)


@test
def racing_ends(server):
    """The last byte and the end of the upload: exactly one of them happens."""
    outcomes = set()
    for turn in range(30):
        path = create(server, 2, f'end{turn}')
        with ThreadPoolExecutor(2) as pool:
            last = pool.submit(patch, server, path, 0, b'ab')
            ended = pool.submit(tus, server, 'DELETE', path)
            statuses = (last.result().status, ended.result().status)
        there = server.get('files', f'end{turn}').status
        expect((statuses, there) in (((204, 410), 200), ((410, 204), 404)), True,
               (statuses, there))
        expect(tus(server, 'HEAD', path).status, 200 if there == 200 else 410)
        outcomes.add(there)
    wait_for('no upload', lambda: open_uploads(server) == {'open': 0, 'bytes': 0})


@test
def parallel(server):
    """Uploads beside one another, in pieces."""
    def one(number):
        body = content(3 * MIB + number, number)
        path = create(server, len(body), f'p{number}')
        for offset in range(0, len(body), 700000):
            expect(patch(server, path, offset, body[offset:offset + 700000]).status, 204)
        expect_file(server, f'p{number}', body)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(16)))
    expect(server.request('GET', '/v1/buckets/files').json()['files'], 16)


# ---- kill -9, a start, a full disk ----

def resume(server, path, body, pieces):
    """Goes on until the file is there, through connections that end; the offsets that HEAD told."""
    told = []
    while True:
        try:
            offset = offset_of(server, path)
            told.append(offset)
            if offset == len(body):
                return told
            size = next(pieces)
            answer = patch(server, path, offset, body[offset:offset + size])
            expect(answer.status, 204, answer.body)
            told.append(int(answer.headers['Upload-Offset']))
        except (OSError, http.client.HTTPException):
            start_again(server)


def start_again(server):
    """Until it is ready between two kills."""
    while True:
        server.process.wait(60)
        try:
            server.start()
            return
        except RuntimeError:
            if server.process.poll() != -9:
                raise


@bare
def killed(folder):
    """100 MiB through kill -9 at random moments: no acknowledged byte is sent again or lost."""
    rng = random.Random(3)
    server = SUITE.server(folder).start()
    body = content(100 * MIB, 4)
    try:
        path = create(server, len(body), 'k')
        sizes = iter(lambda: rng.choice((1, 3000, 200000, 40 * MIB, 100 * MIB)), None)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(resume, server, path, body, sizes)
            for _ in range(8):
                time.sleep(rng.random() * 0.4)
                if done.done():
                    break
                if server.process.poll() is None:
                    server.process.kill()
                wait_for('a start', lambda: done.done() or server.process.poll() is None)
            told = done.result(300)
        expect(told, sorted(told), 'offsets never go back')
        expect_file(server, 'k', body)
        wait_for('no upload', lambda: open_uploads(server) == {'open': 0, 'bytes': 0})
        expect(server.stop(), 0)
        expect_whole(server)
    finally:
        server.end()


def expect_whole(server):
    found = subprocess.run([*server.binary, 'fsck', server.data], capture_output=True, check=False)
    expect(found.returncode, 0, found.stdout[-2000:] + found.stderr[-2000:])


@bare
def killed_at_places(folder):
    """kill -9 where it matters: an extent without its row, a file whose upload is still there, rows
    and extents that are not applied."""
    for number, fault in enumerate(('blob.finish=kill@2', 'upload.file_made=kill@1',
                                    'store.apply=kill@2', 'store.cut=kill@2')):
        server = SUITE.server(f'{folder}/{number}', '--upload-expiry', '1h')
        os.mkdir(f'{folder}/{number}')
        server.fault = fault
        server.start()
        server.fault = None
        body = content(900000, number)
        try:
            told = []
            path = create(server, len(body), 'k')
            try:
                for offset in range(0, len(body), 300000):
                    answer = patch(server, path, offset, body[offset:offset + 300000])
                    expect(answer.status, 204, answer.body)
                    told.append(int(answer.headers['Upload-Offset']))
            except (OSError, http.client.HTTPException):
                pass
            if fault.startswith('store.'):
                wait_for('the kill', lambda: write_until_killed(server))
            server.process.wait(60)
            server.start()
            offset = offset_of(server, path)
            expect(offset >= (told or [0])[-1], True, (fault, offset, told))
            if fault.startswith('upload.'):
                expect(offset, len(body))
            expect_resumed(server, path, body, offset)
            wait_for('no upload', lambda: open_uploads(server) == {'open': 0, 'bytes': 0})
            wait_for('no orphan', lambda: len(blob_files(server)) <= 3)
            expect(server.stop(), 0)
            expect_whole(server)
        finally:
            server.end()


def one_batch_before(server, number):
    """Writes until the log has made one batch less than that; False: it made more by itself."""
    def batches():
        return server.request('GET', '/v1/admin/wal').json()['syncs']
    while batches() < number - 2:
        expect(server.put('files', 'x', b'x').status in (200, 201), True)
        time.sleep(0.12)  # it attests what it wrote, by a batch of its own
    time.sleep(0.5)
    return batches() == number - 1


@bare
def unknown_end(folder):
    """The log fails under a whole upload whose client is gone: the file it replaces is there after a
    restart, or the new one, whole."""
    old, new = content(100000, 1), content(2 * MIB, 2)
    for number in range(40, 60):
        server = SUITE.server(f'{folder}/{number}', '--threads', '1')
        os.mkdir(f'{folder}/{number}')
        server.fault = f'wal.batch=fail:EIO@{number}'
        server.start()
        server.fault = None
        try:
            expect(server.put('files', 'a', old).status, 201)
            path = create(server, len(new), 'a')
            if not one_batch_before(server, number):
                continue
            with socket.create_connection(('127.0.0.1', server.port)) as s:
                s.sendall((f'PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer '
                           f'{server.key()}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n'
                           f'Content-Type: {PIECE}\r\nTransfer-Encoding: chunked\r\n\r\n'
                           f'{len(new):x}\r\n').encode() + new + b'\r\n')  # and no last chunk
                wait_for('the bytes', lambda: len(blob_files(server)) == 2)
            wait_for('the failure', lambda: server.request(
                'GET', '/v1/admin/status').json()['failed'])
            wait_for('the end of it', lambda: server.request('GET', '/metrics').body.decode().find(
                'holdfast_requests_in_flight{door="rest"} 1\n') > 0)
            server.kill()
            server.start()
            got = server.get('files', 'a')
            expect((got.status, got.body in (old, new)), (200, True), got.body[:100])
            expect(server.stop(), 0)
            expect_whole(server)
            return
        finally:
            server.end()
    raise AssertionError('the log was never one batch before its failure')


@bare
def swept_while_it_comes(folder):
    """An upload ends by its time while a slow client sends its first piece: the client hears it, and
    nobody else anything."""
    server = SUITE.server(folder, '--upload-expiry', '2s', '--threads', '1').start()
    size = 18 * MIB  # a piece is named by the row when it has 16
    try:
        with socket.create_connection(('127.0.0.1', server.port), 60) as s:
            s.sendall((f'POST /v1/uploads?bucket=files&key=k HTTP/1.1\r\nHost: x\r\nAuthorization: '
                       f'Bearer {server.key()}\r\nTus-Resumable: 1.0.0\r\nUpload-Length: {size}\r\n'
                       f'Content-Type: {PIECE}\r\nContent-Length: {size}\r\n\r\n').encode())
            s.sendall(content(MIB, 1))
            wait_for('the end of it', lambda: any(e['event'] == 'upload.expired'
                                                  for e in server.events()))
            try:
                s.sendall(content(size - MIB, 2))
            except OSError:
                pass  # the answer is there before all is sent
            status = int(s.makefile('rb').readline().split()[1])
        expect(status in (404, 410), True, status)
        wait_for('space', lambda: blob_files(server) == [])
        expect(server.stop(), 0)
    finally:
        server.end()


def write_until_killed(server):
    try:
        server.put('files', 'other', b'x')
    except (OSError, http.client.HTTPException):
        pass
    return server.process.poll() is not None


def expect_resumed(server, path, body, offset):
    if offset < len(body):
        expect(patch(server, path, offset, body[offset:]).status, 204)
    expect_file(server, 'k', body)


@bare
def views_made_again(folder):
    """An upload that goes on is in every view: index, packs and log are made again, and it goes on."""
    server = SUITE.server(folder).start()
    bodies = {'small': content(5000, 1), 'large': content(5 * MIB, 2)}
    try:
        paths = {name: create(server, len(body), name) for name, body in bodies.items()}
        for name, body in bodies.items():
            expect(patch(server, paths[name], 0, body[:len(body) // 2]).status, 204)
        for view in ('index', 'packs', 'wal'):
            expect(server.stop(), 0)
            if view == 'wal':
                os.remove(f'{server.data}/wal.active')
                shutil.rmtree(f'{server.data}/wal.segments')
            done = subprocess.run([*server.binary, 'recover', '--rebuild', view, '--yes',
                                   server.data], capture_output=True, check=False)
            # A log that is made again says what may be lost, though here nothing is.
            expect(done.returncode, 6 if view == 'wal' else 0, done.stdout + done.stderr)
            server.start()
            for name, body in bodies.items():
                expect(offset_of(server, paths[name]), len(body) // 2, (view, name))
        for name, body in bodies.items():
            expect(patch(server, paths[name], len(body) // 2, body[len(body) // 2:]).status, 204)
            expect_file(server, name, body)
        expect(server.stop(), 0)
        expect_whole(server)
    finally:
        server.end()


@bare
def disk_full(folder):
    """507 keeps what was kept; with space the upload goes on, and nothing else is needed."""
    point = f'{folder}/m'
    os.mkdir(point)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={96 * MIB}', 'tmpfs', point], check=True)
    server = Server(SUITE.binary, f'{point}/d', f'{folder}/log',
                    options=('--segment-size', '64KiB')).start()
    body = content(40 * MIB, 6)
    try:
        path = create(server, len(body), 'f')
        expect(patch(server, path, 0, body[:20 * MIB]).status, 204)
        ballast = f'{point}/ballast'
        with open(ballast, 'wb') as file:
            stat = os.statvfs(point)
            file.write(bytes(max(0, stat.f_bavail * stat.f_frsize - 20 * MIB)))
        wait_for('refusal', lambda: patch(server, path, 20 * MIB, body[20 * MIB:]).status == 507)
        expect(offset_of(server, path), 20 * MIB)
        wait_for('refusal', lambda: tus(server, 'POST', '/v1/uploads?bucket=files&key=g',
                                        Upload_Length=30 * MIB).status == 507)
        # Without a length it is taken up to where no room is left: what is named stays.
        os.truncate(ballast, max(0, os.path.getsize(ballast) - 8 * MIB))
        wait_for('room', lambda: tus(server, 'POST', '/v1/uploads?bucket=files&key=h',
                                     Upload_Length=1 * MIB).status == 201)
        connection = server.connect()
        connection.request('PATCH', path, iter([body[20 * MIB:]]), {
            'Tus-Resumable': '1.0.0', 'Authorization': f'Bearer {server.key()}',
            'Upload-Offset': str(20 * MIB), 'Content-Type': PIECE}, encode_chunked=True)
        expect(connection.getresponse().status, 507)
        connection.close()
        kept = offset_of(server, path)
        expect(20 * MIB <= kept < len(body), True, kept)
        os.remove(ballast)

        def goes_on():
            offset = offset_of(server, path)
            return offset == len(body) or patch(server, path, offset,
                                                body[offset:]).status == 204
        wait_for('space', goes_on)
        expect_file(server, 'f', body)
        expect(server.stop(), 0)
    finally:
        server.end()
        subprocess.run(['umount', '-l', point], check=False)


# ---- a client that others wrote ----

def js(server, folder, *args):
    """Runs tus.js with tus-js-client; its last line."""
    env = dict(os.environ, NODE_PATH=os.path.join(os.environ['HOLDFAST_TUS_JS'], 'node_modules'))
    return subprocess.Popen(['node', f'{HERE}/tus.js', f'http://{server.address}/v1/uploads',
                             server.key(), f'{folder}/file', f'{folder}/urls.json', *args],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def expect_js(process):
    out, _ = process.communicate(timeout=300)
    expect(process.returncode, 0, out[-3000:])
    return json.loads(out.splitlines()[-1])


@bare
def js_client(folder):
    """tus-js-client: at once, in pieces, with the length told late, in parallel with itself."""
    server = SUITE.server(folder).start()
    body = content(9 * MIB + 5, 8)
    with open(f'{folder}/file', 'wb') as file:
        file.write(body)
    try:
        for name, extra in (('at-once', []), ('pieces', ['chunkSize=2000000']),
                            ('creation', ['uploadDataDuringCreation=true']),
                            ('late', ['uploadLengthDeferred=true', 'chunkSize=3000000']),
                            ('tiny', ['chunkSize=700000'])):
            told = expect_js(js(server, folder, f'key=js/{name}', *extra))
            expect(told['path'].startswith('/v1/uploads/'), True, told)
            file = expect_file(server, f'js/{name}', body)
            expect(file.headers['Content-Type'], 'text/plain')
        told = expect_js(js(server, folder, 'key=js/ended', 'chunkSize=1000000', 'abortAfter=1'))
        expect(tus(server, 'HEAD', told['path']).status in (404, 410), True)
        expect(server.get('files', 'js/ended').status, 404)
        expect(server.stop(), 0)
    finally:
        server.end()


@bare
def js_client_through_kills(folder):
    """100 MiB by tus-js-client, which retries by itself, while the server is killed twice."""
    server = SUITE.server(folder).start()
    body = content(100 * MIB, 11)
    with open(f'{folder}/file', 'wb') as file:
        file.write(body)
    try:
        process = js(server, folder, 'key=js/kills', 'chunkSize=6000000')
        for turn in range(2):
            wait_for('bytes', lambda: process.poll() is not None or
                     open_uploads(server)['bytes'] >= (turn + 1) * 12 * MIB)
            expect(process.poll(), None, 'the client is still at it')
            server.kill()
            server.start()
        expect_js(process)
        expect_file(server, 'js/kills', body)
        expect(server.stop(), 0)
    finally:
        server.end()


@bare
def js_client_begins_again(folder):
    """A client that is killed and started again goes on where it was."""
    server = SUITE.server(folder).start()
    body = content(60 * MIB, 12)
    with open(f'{folder}/file', 'wb') as file:
        file.write(body)
    try:
        process = js(server, folder, 'key=js/again', 'chunkSize=6000000')
        wait_for('bytes', lambda: open_uploads(server)['bytes'] >= 12000000)
        process.kill()
        process.communicate()
        told = expect_js(js(server, folder, 'key=js/again', 'chunkSize=6000000'))
        expect((told['resumed_at'] or 0) >= 12000000, True, told)
        expect_file(server, 'js/again', body)
        wait_for('no upload', lambda: open_uploads(server)['open'] == 0)
        expect(server.stop(), 0)
    finally:
        server.end()


if __name__ == '__main__':
    if 'HOLDFAST_TUS_JS' not in os.environ:
        SUITE.leave_out('js_', 'HOLDFAST_TUS_JS does not name a folder with tus-js-client; '
                        '`./dev tus-tools` makes build-tools/tus')
    sys.exit(SUITE.main(sys.argv, __doc__))
