"""Uploads in parts: numbers, sizes, orders, etags, what is replaced, done twice, ended, listed."""
import hashlib

from kit import CHECKSUMS, MIB, XMLNS, base64_of, checksum, content_md5, md5_of, text, tree

LEAST = 5 * MIB
FIRST = hashlib.shake_256(b'first').digest(LEAST)
LAST = b'the last part'
NUMBERS = {'1': True, '2': True, '9999': True, '10000': True, '0': False, '-1': False, '10001': False, '65537': False, '1.0': False,
           'x': False, '': False, '01': None, '+1': False, ' 1': False, '4294967297': False, '99999999999999999999': False}


def begin(t, key='k', **headers):
    got = t.call('POST', key, 'uploads=', headers={k.replace('_', '-'): v for k, v in headers.items()})
    assert got.status == 200, got.body
    return text(tree(got.body), 'UploadId')


def part(t, upload, number, body, key='k', headers=()):
    return t.call('PUT', key, {'partNumber': str(number), 'uploadId': upload}, body, headers)


def parts_xml(parts, xmlns=True):
    """parts: (number, etag) or (number, etag, more XML)."""
    rows = ''.join(f'<Part><PartNumber>{p[0]}</PartNumber><ETag>{p[1]}</ETag>{"".join(p[2:])}</Part>' for p in parts)
    name = 'CompleteMultipartUpload' + (' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' if xmlns else '')
    return f'<{name}>{rows}</CompleteMultipartUpload>'.encode()


def complete(t, upload, parts, key='k', **headers):
    body = parts if isinstance(parts, bytes) else parts_xml(parts)
    return t.call('POST', key, {'uploadId': upload}, body, {k.replace('_', '-'): v for k, v in headers.items()})


def abort(t, upload, key='k'):
    return t.call('DELETE', key, {'uploadId': upload})


def numbers(t):
    upload = begin(t)
    for number, good in NUMBERS.items():
        got = part(t, upload, number, LAST)
        if good is None:
            t.equal(f'part {number!r}: taken or refused', got.status in (200, 400), True)
        else:
            t.answer(f'part {number!r}', got, *((200, '') if good else (400, 'InvalidArgument')))
    listed = tree(t.call('GET', 'k', {'uploadId': upload}).body)
    t.equal('parts in order', [text(p, 'PartNumber') for p in listed.findall(XMLNS + 'Part')], ['1', '2', '9999', '10000'])
    for size, seen in (('1', ['1']), ('2', ['1', '2']), ('0', []), ('1000', ['1', '2', '9999', '10000'])):
        listed = tree(t.call('GET', 'k', {'uploadId': upload, 'max-parts': size}).body)
        t.equal(f'list of {size}', ([text(p, 'PartNumber') for p in listed.findall(XMLNS + 'Part')],
                                    text(listed, 'IsTruncated')), (seen, 'true' if 0 < len(seen) < 4 else 'false'))
    for after, seen in (('1', ['2', '9999', '10000']), ('2', ['9999', '10000']), ('9998', ['9999', '10000']), ('10000', [])):
        listed = tree(t.call('GET', 'k', {'uploadId': upload, 'part-number-marker': after}).body)
        t.equal(f'list after {after}', [text(p, 'PartNumber') for p in listed.findall(XMLNS + 'Part')], seen)
    for name, value in (('max-parts', '-1'), ('max-parts', 'x'), ('part-number-marker', '-1'), ('part-number-marker', 'x')):
        t.answer(f'list, {name} {value}', t.call('GET', 'k', {'uploadId': upload, name: value}), 400, 'InvalidArgument')
    t.answer('abort', abort(t, upload), 204, body=b'')
    t.answer('abort again', abort(t, upload), 404, 'NoSuchUpload')
    t.answer('part after it', part(t, upload, 1, LAST), 404, 'NoSuchUpload')
    t.answer('list after it', t.call('GET', 'k', {'uploadId': upload}), 404, 'NoSuchUpload')
    t.answer('complete after it', complete(t, upload, [(1, md5_of(LAST))]), 404, 'NoSuchUpload')
    t.equal('nothing was made', t.call('HEAD', 'k').status, 404)


def strangers(t):
    upload = begin(t)
    for name, other in (('another', 'A' * 26), ('empty', ''), ('short', 'x'), ('long', upload + 'A'),
                        ('path', '../../x'), ('unicode', 'ü' * 26)):
        wanted = [(404, 'NoSuchUpload')] * 4
        got = [part(t, other, 1, LAST), complete(t, other, [(1, md5_of(LAST))]), abort(t, other),
               t.call('GET', 'k', {'uploadId': other})]
        t.equal(f'upload id: {name}', [(g.status, g.body and text_code(g)) for g in got], wanted)
    for key, bucket in (('other', t.bucket), ('k', 'files')):
        path = f'/{bucket}/{key}'
        got = [t.raw.call('PUT', path, {'partNumber': '1', 'uploadId': upload}, LAST),
               t.raw.call('POST', path, {'uploadId': upload}, parts_xml([(1, md5_of(LAST))])),
               t.raw.call('GET', path, {'uploadId': upload}), t.raw.call('DELETE', path, {'uploadId': upload})]
        t.equal(f'of another name: {bucket} {key}', [(g.status, text_code(g)) for g in got], [(404, 'NoSuchUpload')] * 4)
    t.answer('it is still there', t.call('GET', 'k', {'uploadId': upload}), 200)
    abort(t, upload)


def text_code(got):
    return tree(got.body).findtext('Code')


def lists_of_parts(t):
    """What Complete is refused for, upon one upload of two parts; in the end it goes well."""
    upload = begin(t, x_amz_meta_a='b', Content_Type='c/d')
    one, two = part(t, upload, 1, FIRST).headers['ETag'], part(t, upload, 2, LAST).headers['ETag']
    t.equal('etags', (one, two), (md5_of(FIRST), md5_of(LAST)))
    for name, parts, code in (
            ('wrong order', [(2, two), (1, one)], 'InvalidPartOrder'), ('twice', [(1, one), (1, one)], 'InvalidPartOrder'),
            ('wrong etag', [(1, two), (2, two)], 'InvalidPart'), ('no etag of a part', [(1, '"x"'), (2, two)], 'InvalidPart'),
            ('absent', [(1, one), (3, two)], 'InvalidPart'), ('number 0', [(0, one)], 'MalformedXML'),
            ('number 10001', [(10001, one)], 'MalformedXML'), ('no number', [('', one)], 'MalformedXML'),
            ('none', [], 'MalformedXML'), ('empty etag', [(1, '')], 'InvalidPart'),
            ('checksum of another', [(1, one, '<ChecksumCRC32>AAAAAA==</ChecksumCRC32>')], 'InvalidPart')):
        t.answer(f'complete: {name}', complete(t, upload, parts), 400, code)
    for name, body in (('text', b'x'), ('nothing', b''), ('another root', b'<A/>'), ('open', parts_xml([(1, one)])[:-3]),
                       ('document type', b'<!DOCTYPE a>' + parts_xml([(1, one)])),
                       ('10001 parts', parts_xml([(i, one) for i in range(1, 10002)])), ('long', b' ' * (5 * MIB))):
        t.answer(f'complete: {name}', complete(t, upload, body), 400, 'MalformedXML')
    t.answer('complete: another size', complete(t, upload, [(1, one), (2, two)], x_amz_mp_object_size='7'), 400,
             'InvalidRequest')
    t.answer('complete: a condition', complete(t, upload, [(1, one), (2, two)], If_Match='"x"'), 404, 'NoSuchKey')
    # A part is replaced: the older etag is no part any more.
    other = part(t, upload, 2, b'replaced').headers['ETag']
    t.answer('complete: replaced part', complete(t, upload, [(1, one), (2, two)]), 400, 'InvalidPart')
    whole = f'"{hashlib.md5(hashlib.md5(FIRST).digest() + hashlib.md5(b"replaced").digest()).hexdigest()}-2"'
    for name, parts in (('quoted', [(1, one), (2, other)]), ('again, bare', [(1, one.strip('"')), (2, other.strip('"'))]),
                        ('again, escaped', [(1, one.replace('"', '&quot;')), (2, other.replace('"', '&#34;'))])):
        got = complete(t, upload, parts)
        t.equal(f'complete: {name}', (got.status, text(tree(got.body), 'ETag')), (200, whole))
    t.answer('complete: again, without namespace', complete(t, upload, parts_xml([(1, one), (2, other)], xmlns=False)), 200)
    t.answer('complete: again, otherwise', complete(t, upload, [(1, one)]), 404, 'NoSuchUpload')
    t.answer('the file', t.call('GET', 'k'), 200, body=FIRST + b'replaced', ETag=whole, x_amz_meta_a='b', Content_Type='c/d')
    for number, body in ((1, FIRST), (2, b'replaced')):
        got = t.call('GET', 'k', f'partNumber={number}')
        t.answer(f'the file, part {number}', got, 206, body=body, x_amz_mp_parts_count='2')
    t.answer('the file, part 3', t.call('GET', 'k', 'partNumber=3'), 416, 'InvalidPartNumber')
    got = t.call('GET', 'k', headers={'Range': f'bytes={LEAST - 2}-{LEAST + 1}'})
    t.answer('the file, over the border', got, 206, body=FIRST[-2:] + b're')


def sizes(t):
    upload = begin(t)
    small, last = part(t, upload, 1, FIRST[:-1]).headers['ETag'], part(t, upload, 2, LAST).headers['ETag']
    t.answer('one byte short', complete(t, upload, [(1, small), (2, last)]), 400, 'EntityTooSmall')
    t.answer('only the last, small', complete(t, upload, [(2, last)]), 200)
    t.answer('only the last, read', t.call('GET', 'k'), 200, body=LAST)
    upload = begin(t)
    empty = part(t, upload, 7, b'').headers['ETag']
    t.answer('of nothing', complete(t, upload, [(7, empty)]), 200)
    t.answer('of nothing, read', t.call('GET', 'k'), 200, body=b'')
    upload = begin(t)
    t.answer('a part too large', t.raw.send('PUT', t.path('k') + f'?partNumber=1&uploadId={upload}', t.raw.sign(
        'PUT', t.path('k'), f'partNumber=1&uploadId={upload}', {'Content-Length': str(5 * 1024 * MIB + 1)},
        'UNSIGNED-PAYLOAD')), 400, 'EntityTooLarge')
    for name, headers, code in (('MD5', {'Content-MD5': content_md5(b'x')}, 'BadDigest'),
                                ('no MD5', {'Content-MD5': 'x'}, 'InvalidDigest'),
                                ('CRC32', {'x-amz-checksum-crc32': 'AAAAAA=='}, 'BadDigest')):
        t.answer(f'a part with another {name}', part(t, upload, 1, LAST, headers=headers), 400, code)
    got = t.call('PUT', 'k', {'partNumber': '1', 'uploadId': upload}, LAST, body_hash='0' * 64)
    t.answer('a part with another SHA-256', got, 400, 'XAmzContentSHA256Mismatch')
    t.equal('none of these is there', tree(t.call('GET', 'k', {'uploadId': upload}).body).findall(XMLNS + 'Part'), [])
    abort(t, upload)


def copies(t):
    t.put('source', FIRST + b'and more')
    source = f'/{t.bucket}/source'
    upload = begin(t)

    def copy(number, **headers):
        return part(t, upload, number, b'', headers={'x-amz-copy-source': source,
                                                     **{k.replace('_', '-'): v for k, v in headers.items()}})
    size = LEAST + 8
    t.answer('copy: first', copy(1, x_amz_copy_source_range=f'bytes=0-{LEAST - 1}'), 200)
    t.answer('copy: last', copy(2, x_amz_copy_source_range=f'bytes={LEAST}-{size - 1}'), 200)
    for name, sent in (('beyond', f'bytes=0-{size}'), ('far beyond', f'bytes={size}-{size + 1}'), ('open', 'bytes=5-'),
                       ('from the end', 'bytes=-5'), ('backwards', 'bytes=5-4'), ('several', 'bytes=0-1,3-4'), ('no unit', '0-4'),
                       ('none', ''), ('text', 'bytes=a-b')):
        got = copy(3, x_amz_copy_source_range=sent)
        t.equal(f'copy, range {name}', (got.status, text_code(got) in ('InvalidArgument', 'InvalidRange', 'InvalidRequest')),
                (400 if got.status != 416 else 416, True))
    t.answer('copy: a condition', copy(3, x_amz_copy_source_if_match='"x"'), 412, 'PreconditionFailed')
    listed = [(int(text(p, 'PartNumber')), text(p, 'ETag'))
              for p in tree(t.call('GET', 'k', {'uploadId': upload}).body).findall(XMLNS + 'Part')]
    t.equal('copy: the parts', listed, [(1, md5_of(FIRST)), (2, md5_of(b'and more'))])
    t.answer('copy: complete', complete(t, upload, listed), 200)
    t.answer('copy: read', t.call('GET', 'k'), 200, body=FIRST + b'and more')


def checksums(t):
    for name in CHECKSUMS:
        element = f'Checksum{name.upper()}'
        for kind in ('FULL_OBJECT', 'COMPOSITE'):
            got = t.call('POST', 'k', 'uploads=', headers={'x-amz-checksum-algorithm': name.upper(), 'x-amz-checksum-type': kind})
            can = name != 'crc64nvme' if kind == 'COMPOSITE' else name.startswith('crc')
            t.equal(f'begin: {name} {kind}', got.status, 200 if can else 400, got.body)
            if not can:
                continue
            upload = text(tree(got.body), 'UploadId')
            listed = tree(t.call('GET', query='uploads=').body).find(XMLNS + 'Upload')
            t.equal(f'uploads: {name} {kind}', (text(listed, 'ChecksumAlgorithm'), text(listed, 'ChecksumType')), (name.upper(), kind))
            header = f'x-amz-checksum-{name}'
            wrong = part(t, upload, 1, LAST, headers={header: checksum(name, b'x')})
            t.answer(f'part: {name} {kind} wrong', wrong, 400, 'BadDigest')
            made = part(t, upload, 1, LAST, headers={header: checksum(name, LAST)})
            t.answer(f'part: {name} {kind} right', made, 200, **{header: checksum(name, LAST)})
            more = f'<{element}>{checksum(name, LAST)}</{element}>'
            done = complete(t, upload, [(1, md5_of(LAST), more)])
            wanted = checksum(name, LAST) if kind == 'FULL_OBJECT' else base64_of(
                CHECKSUMS[name](CHECKSUMS[name](LAST))) + '-1'
            t.equal(f'complete: {name} {kind}', (done.status, text(tree(done.body), element)), (200, wanted))
            got = t.call('HEAD', 'k', headers={'x-amz-checksum-mode': 'ENABLED'})
            t.answer(f'told: {name} {kind}', got, 200, **{header: wanted, 'x-amz-checksum-type': kind})
            if name == 'sha256':
                got = t.call('GET', 'k', 'attributes=', headers={'x-amz-object-attributes': 'ObjectParts'})
                told = [text(p, element) for p in tree(got.body).iter(XMLNS + 'Part')]
                t.equal('attributes: its part', told, [checksum(name, LAST)])


def uploads_listed(t):
    made = sorted((key, begin(t, key)) for key in ('a/1', 'a/1', 'a/2', 'b', 'ü'))

    def page(**query):
        got = tree(t.call('GET', query={'uploads': '', **{k.replace('_', '-'): v for k, v in query.items()}}).body)
        return ([(text(u, 'Key'), text(u, 'UploadId')) for u in got.findall(XMLNS + 'Upload')],
                [text(p, 'Prefix') for p in got.findall(XMLNS + 'CommonPrefixes')], got)
    t.equal('uploads: keys', [u[0] for u in page()[0]], [u[0] for u in made])
    t.equal('uploads: all', sorted(page()[0]), made)
    t.equal('uploads: prefix', [u[0] for u in page(prefix='a/')[0]], ['a/1', 'a/1', 'a/2'])
    t.equal('uploads: delimiter', ([u[0] for u in page(delimiter='/')[0]], page(delimiter='/')[1]), (['b', 'ü'], ['a/']))
    t.equal('uploads: marker', [u[0] for u in page(key_marker='a/2')[0]], ['b', 'ü'])
    found, marks = [], {}
    for _ in range(10):
        some, _, got = page(max_uploads='1', **marks)
        found += some
        if text(got, 'IsTruncated') != 'true':
            break
        marks = {'key_marker': text(got, 'NextKeyMarker'), 'upload_id_marker': text(got, 'NextUploadIdMarker')}
    t.equal('uploads: page by page', sorted(found), made)
    for name, value in (('max-uploads', '-1'), ('max-uploads', 'x'), ('encoding-type', 'x')):
        t.answer(f'uploads: {name} {value}', t.call('GET', query={'uploads': '', name: value}), 400, 'InvalidArgument')
    for key, upload in made:
        abort(t, upload, key)
    t.equal('uploads: none', page()[0], [])


def conditions(t):
    t.put('there', b'there')
    for name, key, headers, status, code in (
            ('to be new, absent', 'new', {'If_None_Match': '*'}, 200, ''),
            ('to be new, there', 'there', {'If_None_Match': '*'}, 412, 'PreconditionFailed'),
            ('to match, there', 'there', {'If_Match': md5_of(b'there')}, 200, ''),
            ('to match another', 'there', {'If_Match': '"x"'}, 412, 'PreconditionFailed'),
            ('to match, absent', 'absent', {'If_Match': '"x"'}, 404, 'NoSuchKey')):
        t.put('there', b'there')
        upload = begin(t, key)
        etag = part(t, upload, 1, LAST, key).headers['ETag']
        t.answer(f'complete {name}', complete(t, upload, [(1, etag)], key, **headers), status, code)
        if status != 200:
            t.answer(f'complete {name}: then without', complete(t, upload, [(1, etag)], key), 200)


def run(t):
    numbers(t)
    strangers(t)
    lists_of_parts(t)
    sizes(t)
    copies(t)
    checksums(t)
    uploads_listed(t)
    conditions(t)
