#!/usr/bin/env python3
"""Multipart uploads at the S3 door: boto3, raw requests, kill -9, and who wins.

    s3_multipart.py BINARY [TEST...]

To be run by the Python of a venv with boto3 (`./dev s3-tools` makes it). Prints
`LAYER s3-multipart required= executed= failed=`, where one test is one function below.
"""
import base64
import concurrent.futures
import hashlib
import http.client
import os
import random
import sys
import threading
import time
import zlib

from boto3.s3.transfer import TransferConfig

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3 import Door, refused  # noqa: E402
from s3_raw import TRAILER, UNSIGNED, code_of  # noqa: E402
from server import free_port  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3-multipart')
MIB = 1 << 20
MIN = 5 * MIB  # of all parts but the last


def test(function):
    """Marks a test of the door: it has the bucket `buc`."""
    def run(folder):
        door = open_door(folder)
        try:
            function(door)
            expect(door.server.stop(), 0)
        finally:
            door.server.end()
    run.__name__ = function.__name__
    return SUITE.bare(run)


def open_door(folder, *options, fault=None):
    server = SUITE.server(folder, *options)
    server.s3_address = f'127.0.0.1:{free_port()}'
    server.fault = fault
    server.start()
    door = Door(server)
    door.s3.create_bucket(Bucket='buc')
    return door


def bytes_of(seed, size):
    return random.Random(seed).randbytes(size)


def create(door, key, **more):
    return door.s3.create_multipart_upload(Bucket='buc', Key=key, **more)['UploadId']


def put(door, key, upload, number, body, **more):
    return door.s3.upload_part(Bucket='buc', Key=key, UploadId=upload, PartNumber=number,
                               Body=body, **more)


def complete(door, key, upload, parts, **more):
    """parts: (number, etag) of each."""
    named = [{'PartNumber': n, 'ETag': e} for n, e in parts]
    return door.s3.complete_multipart_upload(Bucket='buc', Key=key, UploadId=upload,
                                             MultipartUpload={'Parts': named}, **more)


def etag_of(bodies):
    joined = b''.join(hashlib.md5(b).digest() for b in bodies)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(bodies)}"'


def read(door, key, **more):
    return door.s3.get_object(Bucket='buc', Key=key, **more)


def expect_file(door, key, body):
    got = read(door, key)['Body'].read()
    expect((len(got), got == body), (len(body), True))


def uploads(door, **more):
    return [u['UploadId'] for u in
            door.s3.list_multipart_uploads(Bucket='buc', **more).get('Uploads', [])]


def blob_files(door):
    return sorted(name for folder in ('blobs', 'staging')
                  for _, _, names in os.walk(f'{door.server.data}/{folder}') for name in names)


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.05)


# ---- from begin to end ----

@test
def life(door):
    """Parts in any order, one of them replaced; what the file is, at both doors."""
    bodies = [bytes_of(n, size) for n, size in ((1, MIN), (2, MIN + 7), (3, 100))]
    upload = create(door, 'a/ü', ContentType='text/x', Metadata={'colour': 'rot'},
                    CacheControl='no-cache')
    expect(uploads(door), [upload])
    refused(read, 'NoSuchKey', 404, door=door, key='a/ü')
    put(door, 'a/ü', upload, 2, bytes_of(9, MIN))
    tags = {n: put(door, 'a/ü', upload, n, bodies[n - 1])['ETag'] for n in (3, 1, 2)}
    expect(tags[2], f'"{hashlib.md5(bodies[1]).hexdigest()}"')
    listed = door.s3.list_parts(Bucket='buc', Key='a/ü', UploadId=upload)
    expect([(p['PartNumber'], p['ETag'], p['Size']) for p in listed['Parts']],
           [(n, tags[n], len(bodies[n - 1])) for n in (1, 2, 3)])
    before = blob_files(door)
    done = complete(door, 'a/ü', upload, [(n, tags[n]) for n in (1, 2, 3)])
    expect((done['ETag'], done['Key'], done['Bucket']), (etag_of(bodies), 'a/ü', 'buc'))
    expect(set(blob_files(door)) <= set(before), True)  # nothing was copied
    whole = b''.join(bodies)
    got = read(door, 'a/ü')
    expect((got['ETag'], got['ContentLength']), (etag_of(bodies), len(whole)))
    expect((got['ContentType'], got['Metadata'], got['CacheControl']),
           ('text/x', {'colour': 'rot'}, 'no-cache'))
    expect(got['Body'].read() == whole, True)
    part = read(door, 'a/ü', Range=f'bytes={MIN - 3}-{MIN + 3}')
    expect(part['Body'].read(), whole[MIN - 3:MIN + 4])
    rest = door.server.get('buc', 'a/ü')
    expect((rest.status, rest.headers['ETag'], rest.body == whole), (200, etag_of(bodies), True))
    listing = door.s3.list_objects_v2(Bucket='buc')['Contents']
    expect([(f['Key'], f['ETag'], f['Size']) for f in listing],
           [('a/ü', etag_of(bodies), len(whole))])
    expect(uploads(door), [])
    refused(door.s3.list_parts, 'NoSuchUpload', 404, Bucket='buc', Key='a/ü', UploadId=upload)
    # the replaced part and the rows are gone, the file's extents stay
    wait_for('what is not the file to go', lambda: len(blob_files(door)) == 3)
    wait_for('no row', lambda: open_uploads(door) == 0)
    expect_file(door, 'a/ü', whole)


@test
def refusals(door):
    """Each way in which it can be wrong, and nothing is changed by it."""
    s3 = door.s3
    upload = create(door, 'k')
    one = put(door, 'k', upload, 1, b'x' * MIN)['ETag']
    two = put(door, 'k', upload, 2, b'small')['ETag']
    three = put(door, 'k', upload, 3, b'')['ETag']
    wrong = f'"{"0" * 32}"'
    for parts, code in (([(1, wrong)], 'InvalidPart'), ([(1, 'etag')], 'InvalidPart'),
                        ([(4, one)], 'InvalidPart'), ([(1, one), (10000, two)], 'InvalidPart'),
                        ([(2, two), (1, one)], 'InvalidPartOrder'),
                        ([(1, one), (1, one)], 'InvalidPartOrder'),
                        ([(1, one), (2, two), (3, three)], 'EntityTooSmall'),
                        ([(2, two), (3, three)], 'EntityTooSmall')):
        refused(complete, code, 400, door=door, key='k', upload=upload, parts=parts)
    path, query = '/buc/k', {'uploadId': upload}
    for body in (b'', b'<a/>', b'<CompleteMultipartUpload/>',
                 b'<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>'
                 b'</CompleteMultipartUpload>',
                 b'<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>x</ETag></Part>'
                 b'</CompleteMultipartUpload>',
                 b'<CompleteMultipartUpload><Part><Number>1</Number></Part>'
                 b'</CompleteMultipartUpload>', b'<CompleteMultipartUpload><Part>'):
        expect((code_of(door.raw.call('POST', path, query, body)), body), ('MalformedXML', body))
    for number in ('0', '10001', '-1', 'x', ''):
        answer = door.raw.call('PUT', path, {**query, 'partNumber': number}, b'x')
        expect((answer.status, code_of(answer)), (400, 'InvalidArgument'), number)
    absent = dict(Bucket='buc', Key='k', UploadId='0' * 26)
    for call, more in ((s3.upload_part, {'PartNumber': 1, 'Body': b'x'}), (s3.list_parts, {}),
                       (s3.abort_multipart_upload, {}), (s3.complete_multipart_upload, {
                           'MultipartUpload': {'Parts': [{'PartNumber': 1, 'ETag': one}]}})):
        refused(call, 'NoSuchUpload', 404, **absent, **more)
        refused(call, 'NoSuchUpload', 404, **{**absent, 'UploadId': 'none'}, **more)
        refused(call, 'NoSuchUpload', 404, **{**absent, 'UploadId': upload, 'Key': 'other'}, **more)
        refused(call, 'NoSuchBucket', 404, **{**absent, 'Bucket': 'absent'}, **more)
    refused(s3.create_multipart_upload, 'NoSuchBucket', 404, Bucket='absent', Key='k')
    answer = door.raw.call('PUT', path, {**query, 'partNumber': '1'}, b'y',
                           [('Content-MD5', base64.b64encode(b'0' * 16).decode())])
    expect((answer.status, code_of(answer)), (400, 'BadDigest'))
    expect([p['ETag'] for p in s3.list_parts(Bucket='buc', Key='k', UploadId=upload)['Parts']],
           [one, two, three])
    done = complete(door, 'k', upload, [(1, one), (2, two)])
    expect(done['ETag'], etag_of([b'x' * MIN, b'small']))
    expect_file(door, 'k', b'x' * MIN + b'small')


@test
def again(door):
    """A completion that is sent again is answered again; another one, and more parts, are not."""
    upload = create(door, 'k')
    one = put(door, 'k', upload, 1, b'x' * MIN)['ETag']
    two = put(door, 'k', upload, 2, b'end')['ETag']
    first = complete(door, 'k', upload, [(1, one), (2, two)], IfNoneMatch='*')
    second = complete(door, 'k', upload, [(1, one), (2, two)], IfNoneMatch='*')
    expect(second['ETag'], first['ETag'])
    door.server.kill()
    door.server.start()
    expect(complete(door, 'k', upload, [(1, one), (2, two)])['ETag'], first['ETag'])
    refused(complete, 'NoSuchUpload', 404, door=door, key='k', upload=upload, parts=[(1, one)])
    refused(put, 'NoSuchUpload', 404, door=door, key='k', upload=upload, number=3, body=b'z')
    refused(door.s3.abort_multipart_upload, 'NoSuchUpload', 404, Bucket='buc', Key='k',
            UploadId=upload)
    door.s3.delete_object(Bucket='buc', Key='k')
    refused(complete, 'NoSuchUpload', 404, door=door, key='k', upload=upload,
            parts=[(1, one), (2, two)])


@test
def abort(door):
    """What was uploaded goes, also while a part is on its way."""
    upload = create(door, 'k')
    for n in range(1, 4):
        put(door, 'k', upload, n, bytes_of(n, 100000))
    query = f'uploadId={upload}&partNumber=4'
    headers = door.raw.sign('PUT', '/buc/k', door_query(query), [('Content-Length', '200000')],
                            UNSIGNED)
    connection = http.client.HTTPConnection('127.0.0.1', door.port, timeout=120)
    connection.putrequest('PUT', f'/buc/k?{door_query(query)}', skip_host=True,
                          skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b'x' * 100000)
    door.s3.abort_multipart_upload(Bucket='buc', Key='k', UploadId=upload)
    connection.send(b'x' * 100000)
    answer = connection.getresponse()
    expect((answer.status, b'NoSuchUpload' in answer.read()), (404, True))
    connection.close()
    expect(uploads(door), [])
    refused(door.s3.abort_multipart_upload, 'NoSuchUpload', 404, Bucket='buc', Key='k',
            UploadId=upload)
    wait_for('its parts to go', lambda: blob_files(door) == [])


def door_query(text):
    """Sorted, as it is signed and sent."""
    return '&'.join(sorted(text.split('&')))


@test
def many(door):
    """More parts than a page has, of numbers up to 10,000, in parallel and in any order."""
    upload = create(door, 'many')
    numbers = random.Random(4).sample(range(2, 10000), 1098) + [1, 10000]
    random.Random(5).shuffle(numbers)
    names = {}

    def send(chosen):
        connection = http.client.HTTPConnection('127.0.0.1', door.port, timeout=300)
        for n in chosen:
            body = b'%d' % n
            query = f'partNumber={n}&uploadId={upload}'
            headers = door.raw.sign('PUT', '/buc/many', query, (), hashlib.sha256(body).hexdigest())
            connection.request('PUT', f'/buc/many?{query}', body, headers)
            answer = connection.getresponse()
            answer.read()
            expect(answer.status, 200)
            names[n] = answer.headers['ETag']
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(send, numbers[i::16]) for i in range(16)]:
            done.result()
    pages = door.s3.get_paginator('list_parts').paginate(Bucket='buc', Key='many', UploadId=upload)
    listed = [p['PartNumber'] for page in pages for p in page['Parts']]
    expect(listed == sorted(numbers), True)
    part = '<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>'
    body = ('<CompleteMultipartUpload>' + ''.join(part % (n, names[n]) for n in sorted(numbers))
            + '</CompleteMultipartUpload>').encode()
    answer = door.raw.call('POST', '/buc/many', {'uploadId': upload}, body)
    expect(code_of(answer), 'EntityTooSmall')  # as it has to be; what is one part is a file
    expect(uploads(door), [upload])
    done = complete(door, 'many', upload, [(10000, names[10000])])
    expect(done['ETag'], etag_of([b'10000']))
    expect_file(door, 'many', b'10000')
    wait_for('the other parts to go', lambda: len(blob_files(door)) == 1, 300)


# ---- kill -9 ----

@SUITE.bare
def killed(folder):
    """Whatever part was acknowledged is there after kill -9, and the upload goes on."""
    door = open_door(folder)
    try:
        upload = create(door, 'k', Metadata={'a': 'b'})
        bodies = {n: bytes_of(n, MIN + n) for n in range(1, 13)}
        told = {}
        chance = random.Random(11)

        def send(n):
            try:
                told[n] = put(door, 'k', upload, n, bodies[n])['ETag']
            except Exception:  # the server was killed: sent again
                pass

        turn = 0
        while len(told) < len(bodies):
            turn += 1  # a slow machine gets the time for some parts in the end
            left = [n for n in bodies if n not in told]
            timer = threading.Timer(chance.uniform(0.1, 0.6) * turn, door.server.process.kill)
            timer.start()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(send, left))
            timer.join()
            door.server.process.wait()
            door.server.start()
            listed = door.s3.list_parts(Bucket='buc', Key='k', UploadId=upload).get('Parts', [])
            there = {p['PartNumber']: p['ETag'] for p in listed}
            expect({n: there.get(n) for n in told}, told)
        complete(door, 'k', upload, sorted(told.items()))
        door.server.kill()
        door.server.start()
        expect_file(door, 'k', b''.join(bodies[n] for n in sorted(bodies)))
        expect(read(door, 'k')['Metadata'], {'a': 'b'})
        wait_for('what nobody knows to go', lambda: len(blob_files(door)) == len(bodies))
        expect(door.server.stop(), 0)
    finally:
        door.server.end()


@SUITE.bare
def killed_at_places(folder):
    """kill -9 where it matters: the file is made and the rows are there; rows are applied, the log
    is cut. The completion sent again finds the file, and what is not the file's goes."""
    for number, fault in enumerate(('upload.file_made=kill@1', 'store.apply=kill@2',
                                    'store.cut=kill@2', 'blob.finish=kill@3')):
        os.makedirs(f'{folder}/{number}', exist_ok=True)
        door = open_door(f'{folder}/{number}')
        try:
            expect(door.server.stop(), 0)
            door.server.fault = fault
            door.server.start()
            door.server.fault = None
            bodies = [bytes_of(1, MIN), bytes_of(2, MIN), b'end']
            upload, tags, done = None, {}, None
            while done is None:
                try:
                    upload = upload or create(door, 'k')
                    for n, body in enumerate(bodies, 1):
                        if n not in tags:
                            tags[n] = put(door, 'k', upload, n, body)['ETag']
                    if fault.startswith('store.'):
                        write_until_killed(door)
                    done = complete(door, 'k', upload, sorted(tags.items()))
                except Exception:  # killed: it goes on where it was
                    expect(door.server.process.wait(120) != 0, True, fault)
                    fault = ''
                    door.server.start()
            expect(fault, '')
            expect(done['ETag'], etag_of(bodies))
            expect_file(door, 'k', b''.join(bodies))
            wait_for('the rows to go', lambda: open_uploads(door) == 0)
            wait_for('orphans to go', lambda: len(blob_files(door)) == 3)
            expect(door.server.stop(), 0)
        finally:
            door.server.end()


def open_uploads(door):
    return door.server.request('GET', '/v1/admin/status').json()['uploads']['open']


def write_until_killed(door):
    """Small files, until the applier or the cut of the log dies."""
    for n in range(100000):
        door.s3.put_object(Bucket='buc', Key=f'small{n % 50}', Body=b'x' * 30000)
        if door.server.process.poll() is not None:
            break
    raise RuntimeError('it was not killed')


@SUITE.bare
def expiry(folder):
    """What gets no part for so long goes; what gets one stays, and so do files."""
    door = open_door(folder, '--upload-expiry', '8s')
    try:
        idle, busy = create(door, 'idle'), create(door, 'busy')
        put(door, 'idle', idle, 1, bytes_of(1, 100000))
        n = 0
        while idle in uploads(door):
            n += 1
            put(door, 'busy', busy, n % 9 + 1, bytes_of(n, 70000))
            expect(n < 100000, True)
        expect(uploads(door), [busy])
        refused(put, 'NoSuchUpload', 404, door=door, key='idle', upload=idle, number=2, body=b'x')
        body = bytes_of('end', 70000)
        tag = put(door, 'busy', busy, 1, body)['ETag']
        complete(door, 'busy', busy, [(1, tag)])
        wait_for('all but the file to go', lambda: len(blob_files(door)) == 1)
        expect_file(door, 'busy', body)
        told = [e for e in door.server.events() if e['event'] == 'upload.expired']
        expect([e['upload'] for e in told], [idle])
        expect(door.server.stop(), 0)
    finally:
        door.server.end()


# ---- who wins ----

@test
def conditions(door):
    """If-None-Match and If-Match of a completion; what is refused can be completed otherwise."""
    s3 = door.s3
    old = s3.put_object(Bucket='buc', Key='k', Body=b'old')['ETag']
    upload = create(door, 'k')
    parts = [(1, put(door, 'k', upload, 1, b'new')['ETag'])]
    refused(complete, 'PreconditionFailed', 412, door=door, key='k', upload=upload, parts=parts,
            IfNoneMatch='*')
    refused(complete, 'PreconditionFailed', 412, door=door, key='k', upload=upload, parts=parts,
            IfMatch='"x"')
    expect_file(door, 'k', b'old')
    expect(uploads(door), [upload])
    complete(door, 'k', upload, parts, IfMatch=old)
    expect_file(door, 'k', b'new')
    upload = create(door, 'absent')
    parts = [(1, put(door, 'absent', upload, 1, b'new')['ETag'])]
    refused(complete, 'NoSuchKey', 404, door=door, key='absent', upload=upload, parts=parts,
            IfMatch=old)
    complete(door, 'absent', upload, parts, IfNoneMatch='*')


@test
def one_winner(door):
    """Of completions, PUTs of this door and of REST that all want a name to be new one has it."""
    def by_upload(key, n):
        upload = create(door, key)
        body = b'upload %d' % n
        tag = put(door, key, upload, 1, body)['ETag']
        barrier.wait()
        return won(lambda: complete(door, key, upload, [(1, tag)], IfNoneMatch='*')), body

    def by_put(key, n):
        body = b'put %d' % n
        barrier.wait()
        return won(lambda: door.s3.put_object(Bucket='buc', Key=key, Body=body,
                                              IfNoneMatch='*')), body

    def by_rest(key, n):
        body = b'rest %d' % n
        barrier.wait()
        return door.server.put('buc', key, body, headers={'If-None-Match': '*'}).status == 201, body

    def won(call):
        try:
            call()
            return True
        except door.s3.exceptions.ClientError as error:
            expect(error.response['Error']['Code'], 'PreconditionFailed')
            return False

    ways = [by_upload, by_upload, by_upload, by_put, by_rest]
    for turn in range(8):
        barrier = threading.Barrier(len(ways), timeout=120)
        with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
            results = [r.result() for r in
                       [pool.submit(way, f'k{turn}', n) for n, way in enumerate(ways)]]
        winners = [body for has_won, body in results if has_won]
        expect(len(winners), 1)
        expect_file(door, f'k{turn}', winners[0])


@test
def one_fate(door):
    """Of a completion, another one and an end by Abort exactly one happens."""
    for turn in range(10):
        key = f'k{turn}'
        upload = create(door, key)
        one = put(door, key, upload, 1, b'x' * MIN)['ETag']
        two = put(door, key, upload, 2, b'y')['ETag']
        calls = [lambda: complete(door, key, upload, [(1, one), (2, two)]),
                 lambda: complete(door, key, upload, [(1, one)]),
                 lambda: door.s3.abort_multipart_upload(Bucket='buc', Key=key, UploadId=upload)]

        def run(n):
            try:
                calls[n]()
                return n
            except door.s3.exceptions.ClientError as error:
                expect(error.response['Error']['Code'], 'NoSuchUpload')
                return None
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            happened = [n for n in pool.map(run, range(3)) if n is not None]
        expect(len(happened), 1)
        if happened == [2]:
            refused(read, 'NoSuchKey', 404, door=door, key=key)
        else:
            expect_file(door, key, b'x' * MIN + (b'y' if happened == [0] else b''))
        expect(uploads(door), [])


@test
def replaced_while_completed(door):
    """A part that is sent again while its upload is completed: the file is the one or the other, and
    stays so when what is not needed is gone."""
    for turn in range(6):
        key = f'k{turn}'
        upload = create(door, key)
        old, new = bytes_of(turn, 300000), bytes_of(turn + 100, 300000)
        tag = put(door, key, upload, 1, old)['ETag']

        def replace():
            try:
                return put(door, key, upload, 1, new)['ETag']
            except door.s3.exceptions.ClientError as error:
                expect(error.response['Error']['Code'], 'NoSuchUpload')

        def finish():
            try:
                return complete(door, key, upload, [(1, tag)])
            except door.s3.exceptions.ClientError as error:
                expect(error.response['Error']['Code'], 'InvalidPart')
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            replaced, finished = pool.submit(replace), pool.submit(finish)
            replaced, finished = replaced.result(), finished.result()
        if finished is None:
            complete(door, key, upload, [(1, replaced)])
        expect_file(door, key, old if finished else new)
        wait_for('the rest to go', lambda: len(blob_files(door)) == turn + 1)
        expect_file(door, key, old if finished else new)


# ---- copies, lists, checksums, parts of a file ----

@test
def part_copy(door):
    """Parts out of files, large and small, whole and in ranges, under conditions."""
    s3 = door.s3
    large, small = bytes_of(1, 12 * MIB + 5), b'0123456789'
    tag = s3.put_object(Bucket='buc', Key='large ü', Body=large)['ETag']
    s3.put_object(Bucket='buc', Key='small', Body=small)
    upload = create(door, 'k')

    def copy(number, key, **more):
        return s3.upload_part_copy(Bucket='buc', Key='k', UploadId=upload, PartNumber=number,
                                   CopySource={'Bucket': 'buc', 'Key': key}, **more)

    ranges = [(0, MIN - 1), (262143, MIN + 262144), (7 * MIB, 12 * MIB + 4)]
    parts, bodies = [], []
    for n, (first, last) in enumerate(ranges, 1):
        got = copy(n, 'large ü', CopySourceRange=f'bytes={first}-{last}', CopySourceIfMatch=tag)
        bodies.append(large[first:last + 1])
        expect(got['CopyPartResult']['ETag'], f'"{hashlib.md5(bodies[-1]).hexdigest()}"')
        parts.append((n, got['CopyPartResult']['ETag']))
    parts.append((4, copy(4, 'large ü')['CopyPartResult']['ETag']))
    parts.append((5, copy(5, 'small', CopySourceRange='bytes=3-6')['CopyPartResult']['ETag']))
    bodies += [large, small[3:7]]
    for bad in ('bytes=5-3', 'bytes=0-10', '0-3', 'bytes=-3', 'bytes=3-', 'bytes=a-b'):
        refused(copy, 'InvalidArgument', 400, number=6, key='small', CopySourceRange=bad)
    refused(copy, 'PreconditionFailed', 412, number=6, key='small', CopySourceIfMatch='"x"')
    refused(copy, 'PreconditionFailed', 412, number=6, key='large ü', CopySourceIfNoneMatch=tag)
    refused(copy, 'NoSuchKey', 404, number=6, key='absent')
    refused(s3.upload_part_copy, 'NoSuchUpload', 404, Bucket='buc', Key='k', UploadId='x',
            PartNumber=1, CopySource={'Bucket': 'buc', 'Key': 'small'})
    done = complete(door, 'k', upload, parts)
    expect(done['ETag'], etag_of(bodies))
    s3.delete_object(Bucket='buc', Key='large ü')
    wait_for('the source to go', lambda: len(blob_files(door)) == 5)
    expect_file(door, 'k', b''.join(bodies))
    # a file of parts as a source, over the borders of its parts
    upload = create(door, 'k2')
    got = s3.upload_part_copy(Bucket='buc', Key='k2', UploadId=upload, PartNumber=1,
                              CopySource='buc/k', CopySourceRange=f'bytes={MIN - 9}-{2 * MIN}')
    complete(door, 'k2', upload, [(1, got['CopyPartResult']['ETag'])])
    expect_file(door, 'k2', b''.join(bodies)[MIN - 9:2 * MIN + 1])
    copied = s3.copy_object(Bucket='buc', Key='k3', CopySource='buc/k')['CopyObjectResult']
    whole = b''.join(bodies)
    expect(copied['ETag'], f'"{hashlib.md5(whole).hexdigest()}"')
    expect_file(door, 'k3', whole)


@test
def lists(door):
    """ListMultipartUploads by prefix, delimiter and pages; ListParts by pages."""
    keys = ['a', 'a/1', 'a/2', 'b', 'b', 'b', 'c/x/1', 'c/x/2', 'ä ö', 'z&<']
    made = [(key, create(door, key)) for key in keys]
    ended = create(door, 'ended')
    door.s3.abort_multipart_upload(Bucket='buc', Key='ended', UploadId=ended)
    door.s3.create_bucket(Bucket='other')
    door.s3.create_multipart_upload(Bucket='other', Key='a')
    tus = door.server.request('POST', '/v1/uploads', None,
                              {'Tus-Resumable': '1.0.0', 'Upload-Length': '10',
                               'Upload-Metadata': 'bucket YnVj,key YQ=='})
    expect(tus.status, 201)
    wanted = sorted(made, key=lambda pair: (pair[0].encode(), made.index(pair)))

    def look(**more):
        answer = door.s3.list_multipart_uploads(Bucket='buc', **more)
        return ([(u['Key'], u['UploadId']) for u in answer.get('Uploads', [])],
                [p['Prefix'] for p in answer.get('CommonPrefixes', [])], answer)

    # ids of one key sort by time, to the millisecond
    expect(sorted(look()[0]), sorted(wanted))
    expect([key for key, _ in look()[0]], [key for key, _ in wanted])
    wanted = look()[0]
    expect(look(Prefix='a')[0], [p for p in wanted if p[0].startswith('a')])
    expect(look(Delimiter='/')[:2], ([p for p in wanted if '/' not in p[0]], ['a/', 'c/']))
    expect(look(Prefix='c/', Delimiter='/')[:2], ([], ['c/x/']))
    for size in (1, 2, 3, 100):
        got, prefixes, marker = [], [], {}
        while True:
            some, rolled, answer = look(MaxUploads=size, Delimiter='/', **marker)
            got += some
            prefixes += rolled
            expect(len(some) + len(rolled) <= size, True)
            if not answer['IsTruncated']:
                break
            marker = {'KeyMarker': answer['NextKeyMarker'],
                      'UploadIdMarker': answer.get('NextUploadIdMarker', '')}
        expect((got, prefixes), ([p for p in wanted if '/' not in p[0]], ['a/', 'c/']), size)
    pages = door.s3.get_paginator('list_multipart_uploads').paginate(
        Bucket='buc', PaginationConfig={'PageSize': 4})
    expect([(u['Key'], u['UploadId']) for page in pages for u in page['Uploads']], wanted)
    expect(look(KeyMarker='b')[0], [p for p in wanted if p[0] > 'b'])
    refused(look, 'InvalidArgument', 400, EncodingType='x')
    refused(door.s3.list_multipart_uploads, 'NoSuchBucket', 404, Bucket='absent')
    key, upload = made[0]
    for n in (5, 1, 10000, 77):
        put(door, key, upload, n, b'%d' % n)
    pages = door.s3.get_paginator('list_parts').paginate(
        Bucket='buc', Key=key, UploadId=upload, PaginationConfig={'PageSize': 1})
    expect([p['PartNumber'] for page in pages for p in page.get('Parts', [])], [1, 5, 77, 10000])
    listed = door.s3.list_parts(Bucket='buc', Key=key, UploadId=upload, PartNumberMarker=5)
    expect([p['PartNumber'] for p in listed['Parts']], [77, 10000])


@test
def other_doors(door):
    """An upload of tus is none of S3's, and the other way round."""
    tus = {'Tus-Resumable': '1.0.0'}
    upload = create(door, 'k')
    tag = put(door, 'k', upload, 1, b'x')['ETag']
    for method in ('HEAD', 'DELETE'):
        expect(door.server.request(method, f'/v1/uploads/{upload}', None, tus).status, 404)
    piece = {**tus, 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream'}
    expect(door.server.request('PATCH', f'/v1/uploads/{upload}', b'x', piece).status, 404)
    made = door.server.request('POST', '/v1/uploads', None, {
        **tus, 'Upload-Length': '10', 'Upload-Metadata': 'bucket YnVj,key YQ=='})
    other = made.headers['Location'].split('/')[-1]
    refused(put, 'NoSuchUpload', 404, door=door, key='a', upload=other, number=1, body=b'x')
    refused(door.s3.list_parts, 'NoSuchUpload', 404, Bucket='buc', Key='a', UploadId=other)
    refused(door.s3.abort_multipart_upload, 'NoSuchUpload', 404, Bucket='buc', Key='a',
            UploadId=other)
    expect(uploads(door), [upload])
    complete(door, 'k', upload, [(1, tag)])
    expect(door.server.request('HEAD', f'/v1/uploads/{upload}', None, tus).status, 404)
    expect(door.server.request('HEAD', made.headers['Location'], None, tus).status, 200)


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, 'big')).decode()


@test
def checksums(door):
    """Composite and of all bytes: made, held against what the client says, stored and told."""
    bodies = [bytes_of(1, MIN), bytes_of(2, 123457)]
    whole = b''.join(bodies)
    sha = [hashlib.sha256(b).digest() for b in bodies]
    sha1 = [hashlib.sha1(b).digest() for b in bodies]
    crcs = [zlib.crc32(b).to_bytes(4, 'big') for b in bodies]

    def run(key, algorithm, more, header, value, kind):
        upload = create(door, key, **more)
        part_more = {'ChecksumAlgorithm': algorithm} if algorithm else {}
        parts = []
        for n, body in enumerate(bodies, 1):
            got = put(door, key, upload, n, body, **part_more)
            parts.append({'PartNumber': n, 'ETag': got['ETag'],
                          **{k: v for k, v in got.items() if k.startswith('Checksum')}})
        arguments = dict(Bucket='buc', Key=key, UploadId=upload, MultipartUpload={'Parts': parts})
        if value is not None:
            refused(door.s3.complete_multipart_upload, 'BadDigest', 400, **arguments,
                    **{header: base64.b64encode(b'0' * len(base64.b64decode(
                        value.split('-')[0]))).decode()})
            arguments[header] = value
        done = door.s3.complete_multipart_upload(**arguments)
        expect((done.get('ChecksumType'), value is None or done[header] == value), (kind, True))
        head = door.s3.head_object(Bucket='buc', Key=key, ChecksumMode='ENABLED')
        expect((head.get('ChecksumType'), head[header]), (kind, done[header]))
        return done[header]

    def composite(make, parts):
        return base64.b64encode(make(b''.join(parts))).decode() + '-2'

    def raw32(data):
        return zlib.crc32(data).to_bytes(4, 'big')

    run('sha256', 'SHA256', {'ChecksumAlgorithm': 'SHA256'}, 'ChecksumSHA256',
        composite(lambda d: hashlib.sha256(d).digest(), sha), 'COMPOSITE')
    run('sha1', 'SHA1', {'ChecksumAlgorithm': 'SHA1'}, 'ChecksumSHA1',
        composite(lambda d: hashlib.sha1(d).digest(), sha1), 'COMPOSITE')
    run('crc32', 'CRC32', {'ChecksumAlgorithm': 'CRC32'}, 'ChecksumCRC32', composite(raw32, crcs),
        'COMPOSITE')
    run('full32', 'CRC32', {'ChecksumAlgorithm': 'CRC32', 'ChecksumType': 'FULL_OBJECT'},
        'ChecksumCRC32', crc32(whole), 'FULL_OBJECT')
    # what nobody asked for is CRC64NVME of all bytes, as of a PUT
    door.s3.put_object(Bucket='buc', Key='one', Body=b'')
    raw = door.raw.call('PUT', '/buc/one', body=whole)
    upload = door.raw.call('POST', '/buc/plain', 'uploads=')
    plain = upload.body.split(b'<UploadId>')[1].split(b'<')[0].decode()
    parts = ''
    for n, body in enumerate(bodies, 1):
        got = door.raw.call('PUT', '/buc/plain', {'partNumber': str(n), 'uploadId': plain}, body)
        parts += (f'<Part><PartNumber>{n}</PartNumber><ETag>{got.headers["ETag"]}</ETag></Part>')
    xml = f'<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>'.encode()
    for size, code in ((len(whole) + 1, 'InvalidRequest'), (len(whole), '')):
        got = door.raw.call('POST', '/buc/plain', {'uploadId': plain}, xml,
                            [('x-amz-mp-object-size', str(size))])
        expect(code_of(got), code)
    expect(raw.headers['x-amz-checksum-crc64nvme'].encode() in got.body, True)
    for algorithm, kind in (('SHA256', 'FULL_OBJECT'), ('CRC64NVME', 'COMPOSITE')):
        refused(create, 'InvalidRequest', 400, door=door, key='k', ChecksumAlgorithm=algorithm,
                ChecksumType=kind)
    upload = create(door, 'k', ChecksumAlgorithm='SHA256')
    refused(put, 'InvalidRequest', 400, door=door, key='k', upload=upload, number=1, body=b'x',
            ChecksumAlgorithm='SHA1')


@test
def part_numbers(door):
    """GET and HEAD of one part of a file."""
    bodies = [bytes_of(1, MIN), bytes_of(2, MIN + 1), b'end']
    upload = create(door, 'k')
    parts = [(n, put(door, 'k', upload, n, body)['ETag'])
             for n, body in ((2, bodies[0]), (5, bodies[1]), (9, bodies[2]))]
    complete(door, 'k', upload, parts)
    start = 0
    for n, body in enumerate(bodies, 1):
        got = read(door, 'k', PartNumber=n)
        expect((got['PartsCount'], got['ContentLength'], got['Body'].read() == body),
               (3, len(body), True))
        expect(got['ContentRange'],
               f'bytes {start}-{start + len(body) - 1}/{sum(map(len, bodies))}')
        expect(got['ResponseMetadata']['HTTPStatusCode'], 206)
        head = door.s3.head_object(Bucket='buc', Key='k', PartNumber=n)
        expect((head['PartsCount'], head['ContentLength'], head['ETag']),
               (3, len(body), etag_of(bodies)))
        start += len(body)
    refused(read, 'InvalidPartNumber', 416, door=door, key='k', PartNumber=4)
    refused(read, 'InvalidRequest', 400, door=door, key='k', PartNumber=1, Range='bytes=0-1')
    refused(read, 'InvalidArgument', 400, door=door, key='k', PartNumber=0)
    door.s3.put_object(Bucket='buc', Key='one', Body=b'one')
    got = read(door, 'one', PartNumber=1)
    expect((got['Body'].read(), 'PartsCount' in got), (b'one', False))
    refused(read, 'InvalidPartNumber', 416, door=door, key='one', PartNumber=2)


@test
def programs(door):
    """upload_file, download_file and copy of boto3, which cut by themselves; a body with a trailer."""
    folder = os.path.dirname(door.server.data)
    body = bytes_of(7, 20 * MIB + 3)
    with open(f'{folder}/up', 'wb') as file:
        file.write(body)
    config = TransferConfig(multipart_threshold=MIN, multipart_chunksize=MIN)
    door.s3.upload_file(f'{folder}/up', 'buc', 'k', Config=config)
    expect(door.s3.head_object(Bucket='buc', Key='k')['ETag'].endswith('-5"'), True)
    door.s3.download_file('buc', 'k', f'{folder}/down', Config=config)
    with open(f'{folder}/down', 'rb') as file:
        expect(file.read() == body, True)
    door.s3.copy({'Bucket': 'buc', 'Key': 'k'}, 'buc', 'copy', Config=config)
    expect_file(door, 'copy', body)
    upload = create(door, 't')
    chunked = b'5\r\nhello\r\n0\r\nx-amz-checksum-crc32:' + crc32(b'hello').encode() + b'\r\n\r\n'
    query = f'partNumber=1&uploadId={upload}'
    headers = door.raw.sign('PUT', '/buc/t', query, [
        ('x-amz-decoded-content-length', '5'), ('x-amz-trailer', 'x-amz-checksum-crc32')], TRAILER)
    answer = door.raw.send('PUT', f'/buc/t?{query}', headers, chunked)
    expect((answer.status, answer.headers['x-amz-checksum-crc32']), (200, crc32(b'hello')))
    complete(door, 't', upload, [(1, answer.headers['ETag'])])
    expect_file(door, 't', b'hello')


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
